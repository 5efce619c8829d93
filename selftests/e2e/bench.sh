# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench - circuits against TCP, and for messages UDP, over virtio-net, vhost-net and a bridge, between
# the same two guests, in turns; and circuits that are mapped against those that are not. Raw figures go to /out/raw, one line for each measurement:
#
#	TEST PROTO REPEAT EXITS-1 EXITS-2 IRQS-1 IRQS-2 FIGURES...
#
# lab: --timeout 1200 --threads multi --mem 6144
. "$TOP/selftests/e2e/common.sh"

REPEATS=${1:-5}
RAW=/out/raw

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
	echo "line $(((before - $(free_kib)) * 1024 / 20))" >>"$RAW.memory"
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	for i in $(seq 20); do
		"$CIRCUIT" line del "idle$i"
	done
	for g in g1 g2; do
		"$CIRCUIT" line add "$g" circuits 12000
		# All the guest's memory is there from the start: what it uses later costs the host
		# nothing more, and is not mistaken for what a circuit costs.
		guest_start "$g" --line "$g" --net --no-wait -- -mem-prealloc
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
	done
	guest_bg g2 serve-circuit "bench serve circuit 7000"
	guest_bg g2 serve-tcp "bench serve tcp 7000"
	wait_for 10 guest_exec g2 "grep -q ':1B59 .* 0A ' /proc/net/tcp"
	guest_bg g2 serve-seqpacket "bench serve seqpacket 7000"
	guest_bg g2 serve-dgram "bench serve dgram 7000"
	guest_bg g2 serve-udp "bench serve udp 7000"
	wait_for 10 guest_exec g2 "grep -q ':1B58 ' /proc/net/udp"
	wait_for 10 listeners 4
	# The same program, redirected.
	for g in g1 g2; do
		"$CIRCUIT" line set $g addr "$(guest_ip $g)"
	done
	redirect g2 1
	guest_bg g2 serve-flow "bench serve udp 7002"
	wait_for 10 guest_exec g2 "grep -q ':1B5A ' /proc/net/udp"
	redirect g2 0
	wait_for 10 listeners 5
	guest_bg g2 serve-zero "zero serve 7004"
	wait_for 10 listeners 7
}
redirect() { guest_exec "$1" "echo $2 >/proc/sys/net/circuit/redirect"; }
listeners() { [ "$(line_get g2 listeners)" = "$1" ]; }
# What the kernel and processes hold: free memory, and what can be had back at once.
free_kib() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree:/ { print $2 }' /proc/meminfo
}

# counters: VM exits and injected interrupts of both guests
counters() {
	local g what
	for what in exits irq_injections; do
		for g in g1 g2; do
			cat "/sys/kernel/debug/kvm/$(cat "$(guest_dir $g)/pid")"-*/$what
		done
	done | paste -sd' '
}

measure() { # TEST PROTO REPEAT COMMAND ARG...
	local test=$1 proto=$2 rep=$3 run=$4 where=g2 how=$2 port=7000 program=bench before after out
	shift 4
	case $proto in
	tcp | udp | flow) where=$(guest_ip g2) ;;
	map | copy) program=zero port=7004 ;;
	esac
	if [ "$proto" = flow ]; then
		how=udp port=7002
		redirect g1 1
	fi
	read -ra before < <(counters)
	out=$(guest_exec -t 60 g1 "$program $run $how $where $port $*")
	read -ra after < <(counters)
	[ "$proto" != flow ] || redirect g1 0
	echo "$test $proto $rep $((after[0] - before[0])) $((after[1] - before[1])) \
$((after[2] - before[2])) $((after[3] - before[3])) $out" >>"$RAW"
}

once() { # REPEAT
	local proto size
	for proto in circuit tcp; do
		measure rtt $proto "$1" rtt 1000
	done
	for size in 64 4096 65536 262144; do
		for proto in circuit tcp; do
			measure "stream-$size" $proto "$1" stream $size 1500
		done
	done
	for proto in circuit tcp; do
		measure rate $proto "$1" rate 2000
	done
}

messages() { # REPEAT
	local proto test
	for proto in seqpacket udp; do
		measure message-rtt $proto "$1" rtt 500
	done
	for test in "64 1" "64 64" "1400 1"; do
		for proto in seqpacket udp; do
			# shellcheck disable=SC2086
			measure "messages-${test/ /x}" $proto "$1" messages $test 1500
		done
	done
}

# Datagrams, which the operator switches.
datagrams() { # REPEAT
	local proto test
	for proto in dgram udp; do
		measure datagram-rtt $proto "$1" rtt 500
	done
	for test in "64 1" "64 64" "1400 1"; do
		for proto in dgram udp; do
			# shellcheck disable=SC2086
			measure "datagrams-${test/ /x}" $proto "$1" messages $test 1500
		done
	done
}

# Datagrams of programs that know nothing of circuits.
flows() { # REPEAT
	local proto test
	for proto in flow udp; do
		measure udp-rtt $proto "$1" rtt 500
	done
	for test in "64 1" "64 64" "1400 1"; do
		for proto in flow udp; do
			# shellcheck disable=SC2086
			measure "udp-${test/ /x}" $proto "$1" messages $test 1500
		done
	done
}

# Circuits that are mapped, and the same work done by send() and recv().
mapped() { # REPEAT
	local how size
	for how in map copy; do
		measure zero-rtt $how "$1" rtt 500
	done
	for size in 4096 65536; do
		for how in map copy; do
			measure "zero-$size" $how "$1" stream $size 1500
		done
	done
	for size in 1 64; do
		for how in map copy; do
			measure "zero-messages-64x$size" $how "$1" messages 64 $size 1500
		done
	done
}

# The same round trips when nobody spins: what notification costs.
no_spinning() {
	local i
	for g in g1 g2; do
		guest_exec $g "echo 0 >/sys/module/circuit_guest/parameters/spin_doorbells"
	done
	for i in $(seq "$REPEATS"); do
		measure rtt-sleeping circuit "$i" rtt 500
		measure rtt-sleeping tcp "$i" rtt 500
	done
}

idle_circuits() {
	local before after
	guest_bg g2 hold "peer hold-listen 3200 10000 4096"
	wait_for 10 listeners 8
	before=$(free_kib)
	guest_bg g1 hold "mkfifo /tmp/go; peer hold g2 3200 10000 4096 /tmp/go"
	wait_for 250 grep -q 'all work' "$(guest_bg_log g1 hold)"
	after=$(free_kib)
	guest_exec g1 "echo >/tmp/go"
	guest_wait g1 hold
	guest_wait g2 hold
	echo "circuit $(((before - after) * 1024 / 10000))" >>"$RAW.memory"
}

: >"$RAW"
: >"$RAW.memory"
mount -t debugfs none /sys/kernel/debug 2>/dev/null || true
t_run -t 120 "two guests, with circuits and with virtio-net" boot
for r in $(seq "$REPEATS"); do
	t_run -t 120 "repeat $r of $REPEATS" once "$r"
done
for r in $(seq "$REPEATS"); do
	t_run -t 120 "messages, $r of $REPEATS" messages "$r"
	t_run -t 120 "datagrams, $r of $REPEATS" datagrams "$r"
	t_run -t 120 "UDP over circuits, $r of $REPEATS" flows "$r"
	t_run -t 120 "mapped circuits, $r of $REPEATS" mapped "$r"
done
t_run -t 120 "without spinning" no_spinning
# What does not depend on the processor needs no second look.
if grep -qw erms /proc/cpuinfo; then
		t_run -t 400 "10,000 idle circuits" idle_circuits
fi
