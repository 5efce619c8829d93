# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-fair - what one line's noise is to another: round trips alone and beside it, to another guest and
# to the world, over circuits and over virtio-net, vhost-net, a bridge and the host's forwarding, in turns;
# shares of an interface, and what is charged. Of round trips, "alone" is the contender.
#
# lab: --timeout 3600 --threads multi --mem 6144
. "$TOP/selftests/e2e/bench-common.sh"
. "$TOP/selftests/e2e/fair-common.sh"

[ -n "$QUICK" ] || REPEATS=3
FLOWS=(1 10 500) BUSY=2500
ROUNDS=$((QUICK ? 100 : 500)) # there is no 99th percentile of less
WINDOWS=$((QUICK ? 4 : 20))

boot() {
	fair_up
	# The contender's way to the world, and to the other guest.
	out ip route add default via 192.0.2.1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	turn_redirect g2 0
	guest_bg g2 serve-tcp "bench serve tcp 7000"
	turn_redirect g1 0
	wait_for 10 guest_exec g1 "bench rtt tcp $(guest_ip g2) 7000 1 && bench rtt tcp $WORLD_V4 7000 1"
}

boot_anew() {
	world_ends
	ip netns del out
	boot
}

# trips TEST CONTENDER REPEAT PATH [tcp]
trips() {
	local got
	got=$(victim "$4" $ROUNDS "${@:5}")
	[ -n "$got" ]
	echo "$1 $2 $3 $got" >>"$RAW"
}

# NOISE REPEAT: on each path alone, and beside it, with circuits and without.
beside() {
	local g tcp path
	for tcp in '' tcp; do
		for g in g1 g3; do
			turn_redirect $g $((${#tcp} == 0))
		done
		for path in world vm; do
			trips "$path-$1${tcp:+-tcp}" alone "$2" $path $tcp
		done
		noise_begin "$1" $BUSY
		for path in world vm; do
			trips "$path-$1${tcp:+-tcp}" "${tcp:-circuit}" "$2" $path $tcp
		done
		noise_end "$1"
	done
}

# shared_by REPEAT WEIGHT...: of windows, which are repeats of their own; off is the line that is so most.
shared_by() {
	awk -v before=$((($1 - 1) * WINDOWS)) -v weights="${*:2}" -v flows="${FLOWS[*]}" '
	BEGIN {
		n = split(weights, w)
		split(flows, f)
		for (i = 1; i <= n; i++) {
			sum += w[i]
			test = test (i > 1 ? ":" : "shares-") w[i]
		}
	}
	/^window/ {
		off = 0
		line = test " circuit " (before + ++windows)
		for (i = 1; i <= n; i++) {
			d = $(i + 1) * sum / w[i] - 100
			d = d < 0 ? -d : d
			off = d > off ? d : off
			line = line " share-" f[i] "=" $(i + 1)
		}
		printf "%s off=%.2f byte-rate=%d\n", line, off, $(n + 2)
	}'
}

shared() { # REPEAT
	local n
	for n in 1 2 3; do
		turn_redirect g$n 1
	done
	tc qdisc add dev to-out root handle 1: tbf rate 40mbit burst 32kb limit 16mb
	classes to-out 1 1 1
	by_mark to-out
	for n in 1 2 3; do
		flows $n "${FLOWS[n - 1]}"
	done
	for n in "1 1 1" "1 2 4"; do
		# shellcheck disable=SC2086
		weights $n
		settled "1 2 3"
		# shellcheck disable=SC2086
		windows $WINDOWS 3 | shared_by "$1" $n >>"$RAW"
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
	local load got
	for load in streams writes datagrams; do
		got=$(charge $load $((QUICK ? 1 : 5)))
		echo "charged-$load circuit $1 charged-ns=${got% *} worked-ns=${got#* }" >>"$RAW"
	done
}

down() {
	guest_bg_kill g2 serve-tcp
	fair_down
}

raw_begin
COUNTED="g1 g2 g3"
t_run -t 240 "three guests, with circuits and with virtio-net" boot
AGAIN=boot_anew
for r in $(seq "$REPEATS"); do
	for noise in connections connects writes stream doorbells; do
		t_run -t 400 "beside $noise, repeat $r of $REPEATS" beside $noise "$r"
	done
	t_run -t 240 "shares of an interface, repeat $r of $REPEATS" shared "$r"
	t_run -t 120 "what is charged, repeat $r of $REPEATS" charges "$r"
done
t_run "down" down
