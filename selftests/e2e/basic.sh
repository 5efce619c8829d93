# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# basic - two VMs, one operator: calls and transfers that should work, and errors that
# should be exact.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"

# circuit-cat's options, exit codes, and what it says when there is no circuit.
cats() {
	local out log code=0
	guest_bg g2 cat "sleep 1000 | circuit-cat -l -k -v 3700"
	log=$(guest_bg_log g2 cat)
	wait_for 10 grep -q 'waiting on port 3700' "$log"
	# With -N the circuit's sending side stays open, and so the circuit.
	guest_bg g1 open "echo one | circuit-cat -N -b 8192 g2 3700"
	wait_for 10 grep -q '^one$' "$log"
	expect 8192 "$(json_get "$("$CIRCUIT" -j show)" ring)" "size of a ring"
	fails guest_wait g1 open 1
	guest_bg_kill g1 open
	# The next caller (-k); what it is told (-v), and how much went (-s).
	out=$(guest_exec g1 "echo second | circuit-cat -s -v -w 20 g2 3700 2>&1")
	[[ $out == *"connected"*"sent 7, received 0 bytes"* ]] || { echo "$out"; return 1; }
	wait_for 10 grep -q '^second$' "$log"
	expect 2 "$(grep -c 'call from g1:' "$log")" calls
	# Nobody is given up before the backlog is full.
	guest_exec g2 "mkfifo /tmp/late"
	guest_bg g2 late "peer late 3701 /tmp/late"
	guest_bg g1 fill 'for i in 1 2 3 4; do circuit-cat g2 3701 </dev/null & done; wait'
	wait_for 10 more_than 0 line_get g1 pending
	refuses "Connection timed out" g1 "circuit-cat -w 1 g2 3701 </dev/null"
	guest_bg_kill g1 fill
	guest_bg_kill g2 late
	# What most people see first: the default of the policy.
	"$CIRCUIT" policy load - <<<'default reject'
	refuses "Connection refused: the host's policy" g1 "circuit-cat g2 3700 </dev/null"
	refuses "Permission denied: the host's policy" g1 "circuit-cat -l 3702"
	"$CIRCUIT" policy load - <<<'default connect'
	guest_bg_kill g2 cat
	refuses "nobody listens" g1 "circuit-cat g2 3700 </dev/null"
	guest_exec g1 "circuit-cat g2 3700 </dev/null" || code=$?
	expect 1 "$code" "exit code"
	refuses "no such line" g1 "circuit-cat nobody 3700 </dev/null"
	refuses "not a number of seconds" g1 "circuit-cat -w abc g2 3700"
	wait_for 20 line_idle g1
	wait_for 20 line_idle g2
}

# Interrupts for circuits that g1 has had: on each of its processors.
interrupts() { guest_exec g1 "awk '/ circuit-/ { a += \$2; b += \$3 } END { print a, b }' /proc/interrupts"; }

# Whoever waits is woken by an interrupt on his own processor.
steered() {
	local param=/sys/module/circuit_guest/parameters/spin_doorbells spin cpu before after
	expect 2 "$(guest_exec g1 nproc)" processors
	guest_bg g2 serve "bench serve circuit 7000"
	wait_for 20 guest_exec g1 "bench rtt circuit g2 7000 1"
	spin=$(guest_exec g1 "cat $param; echo 0 >$param")
	# shellcheck disable=SC2064
	trap "guest_exec g1 'echo $spin >$param'" EXIT
	for cpu in 0 1; do
		read -ra before < <(interrupts)
		guest_exec g1 "taskset -c $cpu bench rtt circuit g2 7000 400"
		read -ra after < <(interrupts)
		echo "on processor $cpu: ${before[*]} -> ${after[*]}"
		[ $((after[cpu] - before[cpu])) -gt 200 ]
		[ $((after[1 - cpu] - before[1 - cpu])) -lt 100 ]
	done
	guest_bg_kill g2 serve
	wait_for 20 line_idle g1
}

# Instrumented kernels get through a part of it in the time.
most=$((256 << 20)) in_sequence=1000 many=10000
[ "$HOST_KIND$GUEST_KIND" = stockstock ] || most=$((64 << 20)) in_sequence=300 many=1000

t_run -t 30 "host module loads" host_up
t_run "lines: create, show, change, delete" lines
t_run "lines: bad input is refused and leaves nothing" lines_bad
t_run "attaching: bad arguments are refused" attach_bad
t_run -t 120 "two guests attach" guests_up g1 g2
t_run "the lab sees splats" splats_seen
t_run "a second VM cannot attach to the same line" attach_twice

t_run -t 120 "devices that are no line, or a bad one" odd_devices

for size in 0 1 4095 4096 65537 1000000 $((16 << 20)) $most; do
	t_run -t 180 "transfer of $size bytes both ways at once" transfer_both "$size"
done
t_run -t 120 "$in_sequence calls in sequence" calls $in_sequence 1
t_run -t 120 "200 calls at once" calls 1 200
t_run "call refused: nobody listens" refused g1 99 'Connection refused'
t_run "call refused: no such line" refused nobody 99 'No route to host'
t_run "circuit-cat" cats
t_run "call to oneself" transfer g1 g1 100000
t_run "interrupts come to the processor of who waits" steered
t_run -t 200 "socket semantics within one guest" semantics
t_run -t 200 "messages" messages
t_run -t 300 "datagrams" datagrams
t_run "circuits, memory and listeners are back to nothing" nothing_left
t_run -t 240 "$many circuits on one line" many $many
t_run "nothing left of them" nothing_left
