# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-fair - what one line's noise is to another: round trips alone and beside it, to another guest and
# to the world, over circuits and over virtio-net, vhost-net, a bridge and the host's forwarding, in turns;
# shares of an interface, and what is charged. Raw figures go to /out/raw:
#
#	TEST PROTO REPEAT FIGURES...
#
#	rtt-PATH-NOISE	every round trip in ns; NOISE is what a third guest does, or alone; PATH trunk or vm
#	shares-WEIGHTS	of each of three lines' 1, 10 and 500 flows, a window of a second: percent, then bytes
#	charged-LOAD	ns charged to lines, and ns that the operator's workers ran
#
# lab: --timeout 3600 --threads multi --mem 6144
. "$TOP/selftests/e2e/common.sh"
. "$TOP/selftests/e2e/fair-common.sh"

REPEATS=${1:-3}
FLOWS=500 BUSY=1000 ROUNDS=500 WINDOWS=20
RAW=/out/raw

boot() {
	fair_up
	# The contender's way to the world, and to the other guest.
	out ip route add default via 192.0.2.1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	guest_exec g2 "echo 0 >/proc/sys/net/circuit/redirect"
	guest_bg g2 serve-tcp "bench serve tcp 7000"
	wait_for 10 guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect; bench rtt tcp $(guest_ip g2) 7000 1 &&
		bench rtt tcp $WORLD_V4 7000 1"
}

# NOISE REPEAT: on each path alone, and beside it, with circuits and without.
beside() {
	local proto path on
	for proto in circuit tcp; do
		on=$([ $proto = tcp ] || echo 1)
		for g in g1 g3; do
			guest_exec $g "echo ${on:-0} >/proc/sys/net/circuit/redirect"
		done
		for path in trunk vm; do
			echo "rtt-$path-alone $proto $2 $(victim $path $ROUNDS "${proto#circuit}")" >>"$RAW"
		done
		noise_begin "$1" $BUSY
		for path in trunk vm; do
			echo "rtt-$path-$1 $proto $2 $(victim $path $ROUNDS "${proto#circuit}")" >>"$RAW"
		done
		noise_end "$1"
	done
}

shared() { # REPEAT
	local n
	for n in 1 2 3; do
		guest_exec g$n "echo 1 >/proc/sys/net/circuit/redirect"
	done
	tc qdisc add dev to-out root handle 1: tbf rate 40mbit burst 32kb limit 16mb
	classes to-out 1 1 1
	by_mark to-out
	flows 1 1
	flows 2 10
	flows 3 $FLOWS
	for n in "1 1 1" "1 2 4"; do
		# shellcheck disable=SC2086
		weights $n
		settled "1 2 3"
		windows $WINDOWS 3 | sed -n "s/^window/shares-${n// /:} circuit $1/p" >>"$RAW"
	done
	tc qdisc del dev to-out root
	for n in 1 2 3; do
		guest_bg_kill g$n flows
	done
	for n in 1 2 3; do
		wait_for 60 no_circuits g$n
	done
}

charges() { # REPEAT
	local load
	for load in streams writes datagrams; do
		echo "charged-$load circuit $1 $(charge $load 5)" >>"$RAW"
	done
}

down() {
	guest_bg_kill g2 serve-tcp
	fair_down
}

: >"$RAW"
t_run -t 240 "three guests, with circuits and with virtio-net" boot
for r in $(seq "$REPEATS"); do
	for noise in connections connects writes stream doorbells; do
		t_run -t 400 "beside $noise, repeat $r of $REPEATS" beside $noise "$r"
	done
	t_run -t 240 "shares of an interface, repeat $r of $REPEATS" shared "$r"
	t_run -t 120 "what is charged, repeat $r of $REPEATS" charges "$r"
done
t_run "down" down
