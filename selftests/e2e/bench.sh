# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench - circuits against TCP, and for messages UDP, over virtio-net, vhost-net and a bridge, between
# the same two guests, in turns; circuits that are mapped against those that are not; and round trips
# of others as well, for comparison: programs that spin, vsock to the host, and within one guest.
#
# lab: --timeout 3000 --threads multi --mem 6144
. "$TOP/selftests/e2e/bench-common.sh"

boot() {
	host_up >/dev/null
	# What an idle line costs: a process that attaches twenty.
	local cmd=(sh -c 'echo ready >/run/lab/idle; exec tail -f /dev/null') before i
	for i in $(seq 20); do
		"$CIRCUIT" line add "idle$i"
		cmd=("$CIRCUIT" line run "idle$i" -- "${cmd[@]}")
	done
	before=$(free_kib)
	"${cmd[@]}" </dev/null >/dev/null 2>&1 &
	local pid=$!
	wait_for 20 test -s /run/lab/idle
	echo "memory-line circuit 1 n=20 host-bytes=$(((before - $(free_kib)) * 1024))" >>"$RAW"
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	for i in $(seq 20); do
		"$CIRCUIT" line del "idle$i"
	done
	pair
}

once() { # REPEAT
	local size
	nothing "$1"
	turns rtt "$1" "circuit tcp busy vsock loopback unix" rtt 1000
	for size in 64 4096 65536 262144; do
		turns stream-$size "$1" "circuit tcp" stream $size "$(ms 1500)"
	done
	turns rate "$1" "circuit tcp" rate "$(ms 2000)"
}

# Messages; datagrams, which the operator switches; and those of programs that know nothing of circuits.
messages() { # REPEAT NAME NAME-OF-RTT CONTENDERS
	local test
	turns "$3" "$1" "$4" rtt 500
	for test in "64 1" "64 64" "1400 1"; do
		# shellcheck disable=SC2086
		turns "$2-${test/ /x}" "$1" "$4" messages $test "$(ms 1500)"
	done
}

# Circuits that are mapped, and the same work done by send() and recv().
mapped() { # REPEAT
	local size
	turns zero-rtt "$1" "map copy" rtt 500
	for size in 4096 65536; do
		turns zero-$size "$1" "map copy" stream $size "$(ms 1500)"
	done
	for size in 1 64; do
		turns zero-messages-64x$size "$1" "map copy" messages 64 $size "$(ms 1500)"
	done
}

# The same round trips when nobody spins: what notification costs.
no_spinning() {
	local i
	spinning 0
	for i in $(seq "$REPEATS"); do
		turns rtt-sleeping "$i" "circuit tcp" rtt 500
	done
	spinning
}

idle_circuits() { # N
	local before after listening
	listening=$(line_get g2 listeners)
	guest_bg g2 hold "peer hold-listen 3200 $1 4096"
	wait_for 10 listeners $((listening + 1))
	before=$(free_kib)
	guest_bg g1 hold "mkfifo /tmp/go; peer hold g2 3200 $1 4096 /tmp/go"
	wait_for 250 grep -q 'all work' "$(guest_bg_log g1 hold)"
	after=$(free_kib)
	guest_exec g1 ": >/tmp/go; rm /tmp/go" # who opens it may be gone before anything is written
	guest_wait g1 hold
	guest_wait g2 hold
	echo "memory-circuit circuit 1 n=$1 host-bytes=$(((before - after) * 1024))" >>"$RAW"
}

raw_begin
t_run -t 240 "two guests, with circuits and with virtio-net" boot
AGAIN=pair
for r in $(seq "$REPEATS"); do
	t_run -t 240 "repeat $r of $REPEATS" once "$r"
done
for r in $(seq "$REPEATS"); do
	t_run -t 240 "messages, $r of $REPEATS" messages "$r" messages message-rtt "seqpacket udp"
	t_run -t 240 "datagrams, $r of $REPEATS" messages "$r" datagrams datagram-rtt "dgram udp"
	t_run -t 240 "UDP over circuits, $r of $REPEATS" messages "$r" udp udp-rtt "flow udp"
	t_run -t 240 "mapped circuits, $r of $REPEATS" mapped "$r"
done
t_run -t 240 "without spinning" no_spinning
# What does not depend on the processor needs no second look.
if grep -qw erms /proc/cpuinfo; then
	t_run -t 400 "idle circuits" idle_circuits $((QUICK ? 1000 : 10000))
fi
t_run "down" servers_down
