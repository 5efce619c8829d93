# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-trunk - a guest and the world: circuits over a trunk against the guest's own TCP over
# virtio-net, vhost-net, a bridge and the host's forwarding, and against a program of the host's own,
# in turns. The world is a network namespace behind a veth, or behind a wire between two network cards, over
# which nobody copies what has been lent to TCP. The contender "host" is a program of the host's. What it
# takes to notify a guest is measured between two of them.
#
# lab: --timeout 1500 --threads multi --mem 6144 --wire
. "$TOP/selftests/e2e/bench-common.sh"

V4=192.0.2 WORLD=out

out() { ip netns exec "$WORLD" "$@"; }

boot() {
	guests_up g1 g2
	ip netns add out
	ip link add to-out type veth peer name eth0 netns out
	ip address add 192.0.2.1/24 dev to-out
	ip -n out address add 192.0.2.2/24 dev eth0
	ip link set to-out up
	ip -n out link set eth0 up
	ip -n out link set lo up
	ip -n out route add default via 192.0.2.1
	wire_up
	ip -n far route add default via 192.0.4.1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	"$CIRCUIT" trunk add wan
	"$CIRCUIT" line set g1 addr 10.77.0.1 trunk wan
	# Sessions of their own: the end of a test is not theirs.
	setsid ip netns exec out "$BENCH_HOST" serve tcp 7000 >/dev/null 2>&1 {LAB_OUT}>&- &
	setsid ip netns exec far "$BENCH_HOST" serve tcp 7000 >/dev/null 2>&1 {LAB_OUT}>&- &
	setsid "$BENCH_HOST" serve tcp 7000 >/dev/null 2>&1 {LAB_OUT}>&- &
	turn_redirect g1 1
	guest_bg g1 serve "bench serve tcp 7000"
	wait_for 10 tcp_listens g1
	guest_bg g2 serve "bench serve circuit 7000"
	wait_for 10 listeners 3
	for V4 in 192.0.2 192.0.4; do
		"$CIRCUIT" expose add g1:7000 on $V4.1:7100
		"$CIRCUIT" expose add g1:7001 on $V4.1:7101
	done
	V4=192.0.2
	wait_for 10 out "$BENCH_HOST" rtt tcp $V4.1 7100 1
	wait_for 10 out "$BENCH_HOST" rtt tcp "$(guest_ip g1)" 7000 1
	V4=192.0.4 WORLD=far
	wait_for 10 out "$BENCH_HOST" rtt tcp $V4.1 7100 1
	wait_for 10 out "$BENCH_HOST" rtt tcp "$(guest_ip g1)" 7000 1
}

guest_bench() { guest_exec -t 60 g1 "bench $*"; }

outward() { # TEST REPEAT COMMAND ARG...: the guest calls, with all paths in turn
	local test=$1 rep=$2 run=$3
	shift 3
	turn_redirect g1 1
	measure "$test" circuit "$rep" guest_bench "$run" tcp $V4.2 7000 "$@"
	turn_redirect g1 0
	measure "$test" tcp "$rep" guest_bench "$run" tcp $V4.2 7000 "$@"
	turn_redirect g1 1
	measure "$test" host "$rep" "$BENCH_HOST" "$run" tcp $V4.2 7000 "$@"
}

inward() { # the world calls
	local test=$1 rep=$2 run=$3
	shift 3
	measure "$test" circuit "$rep" out "$BENCH_HOST" "$run" tcp $V4.1 7100 "$@"
	measure "$test" tcp "$rep" out "$BENCH_HOST" "$run" tcp "$(guest_ip g1)" 7000 "$@"
	measure "$test" host "$rep" out "$BENCH_HOST" "$run" tcp $V4.1 7000 "$@"
}

once() { # REPEAT
	nothing "$1"
	outward out-rtt "$1" rtt 1000
	inward in-rtt "$1" rtt 1000
	spinning 0
	turns notification "$1" circuit rtt 500
	spinning
	for size in 4096 65536; do
		outward out-stream-$size "$1" stream $size "$(ms 1500)"
		inward in-stream-$size "$1" stream $size "$(ms 1500)"
	done
	outward out-rate "$1" rate "$(ms 2000)"
	inward in-rate "$1" rate "$(ms 2000)"
}

wire() { # REPEAT
	local V4=192.0.4 WORLD=far
	outward wire-out-stream-65536 "$1" stream 65536 "$(ms 1500)"
	inward wire-in-stream-65536 "$1" stream 65536 "$(ms 1500)"
}

done_with() {
	pkill -f 'bench serve tcp'
	guest_bg_kill g1 serve
	guest_bg_kill g2 serve
	"$CIRCUIT" line set g1 trunk none
	"$CIRCUIT" trunk del wan
	ip netns del out
	ip netns del far
}

raw_begin
t_run -t 120 "a guest with a trunk and a network card" boot
for r in $(seq "$REPEATS"); do
	t_run -t 180 "repeat $r of $REPEATS" once "$r"
	t_run -t 120 "by a wire, $r of $REPEATS" wire "$r"
done
t_run "down" done_with
