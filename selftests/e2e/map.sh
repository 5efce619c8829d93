# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# map - processes that have mapped their circuits, and what can happen to them.
#
# lab: --timeout 900
# lab: takes guests down
. "$TOP/selftests/e2e/common.sh"

setup() {
	guests_up g1 g2
	"$CIRCUIT" line set g1 addr 10.77.0.1 addr fd00:77::1
	"$CIRCUIT" line set g2 addr 10.77.0.2
	guest_exec g1 "ip route add unreachable 10.77.0.0/24 2>/dev/null; true"
	echo_up
}
REDIRECT="echo 1 >/proc/sys/net/circuit/redirect"
# An echo of each kind; that of datagrams has a circuit by itself, see box_up.
echo_up() {
	guest_bg g2 echo "$REDIRECT; peer echo 3700 & peer seq echo 3701 & peer tcp echo 3702 & exec peer dgram-echo udp:3703"
	wait_for 20 grep -q bound "$(guest_bg_log g2 echo)"
	wait_for 20 guest_exec g1 "$REDIRECT; peer calls g2 3700 1 1 && peer seq calls g2 3701 1 1 &&
		peer calls tcp:10.77.0.2 3702 1 1 && peer dgram-ask udp:10.77.0.2 3703 1 1"
}
box_up() {
	guest_bg g2 box "peer dgram-echo 3704"
	wait_for 20 grep -q bound "$(guest_bg_log g2 box)"
}

# The cases of selftests/stream about mappings, in one guest.
cases() { # NAME OPTION...
	local log=/out/stream_test.map.$1.$GUEST_KIND
	guest_exec -t 290 g1 "stream_test --map --quick ${*:2}" | tee "$log" | grep -E '^(not ok|#)' || true
	grep -q '# passed [1-9][0-9]* failed 0 ' "$log"
}
# Four processes that map, unmap, close, fork and kill: more rounds than the cases above have time for. All there
# is, and of what scribbles: soak.sh.
many_rounds() {
	guest_exec -t 290 g1 "stream_test --map --rounds 300 -t map_interleavings" | tee /out/rounds
	grep -q '# passed 1 failed 0 ' /out/rounds
}
cases_redirected() { # NAME ADDRESS [OPTION...]
	local before
	guest_exec g1 "$REDIRECT"
	before=$(line_get g1 calls-out)
	cases "$1" --inet "$2" "${@:3}" || return
	guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect"
	t_note "$(($(line_get g1 calls-out) - before)) calls"
	[ $(($(line_get g1 calls-out) - before)) -gt 10 ]
}

# The same while limits come and go, which take mappings away at any time.
limits_come_and_go() {
	while :; do
		"$CIRCUIT" line set g1 send 10M/s
		read -rt 0.$((RANDOM % 3))$((RANDOM % 10)) -u "$LAB_TICK" || true
		"$CIRCUIT" line set g1 send none
		read -rt 0.$((RANDOM % 3))$((RANDOM % 10)) -u "$LAB_TICK" || true
	done
}
under_limits() {
	local limits
	limits_come_and_go >/dev/null {LAB_OUT}>&- &
	limits=$!
	guest_exec -t 250 g1 "$REDIRECT; for how in '' --seqpacket --dgram '--inet 10.77.0.1' '--inet fd00:77::1 --dgram'; do
		stream_test -v --map --limits --rounds 10 -t map_interleavings \$how
	done" | tee /out/limits || true
	kill "$limits"
	wait "$limits" || true
	"$CIRCUIT" line set g1 send none
	expect 5 "$(grep -c '# passed 1 failed 0 ' /out/limits)" "kinds of sockets"
}

# Who is in the middle of it when a limit comes, which stays.
writes_on() {
	local how
	for how in '' '' '' '--inet 10.77.0.1'; do
		guest_bg g1 writer "$REDIRECT; stream_test --map --limits -t map_limited_writer $how"
		wait_for 20 grep -q 'it writes' "$(guest_bg_log g1 writer)"
		read -rt 0.$((RANDOM % 3))$((RANDOM % 10)) -u "$LAB_TICK" || true
		"$CIRCUIT" line set g1 send 10M/s
		guest_wait g1 writer 30
		"$CIRCUIT" line set g1 send none
	done
}

# libcircuit and its examples, between two guests.
library() {
	local before way
	guest_bg g2 rpc "circuit-rpc -l :3711"
	guest_exec g2 "echo here >/tmp/small; head -c 20000000 /dev/urandom >/tmp/file"
	guest_bg g2 file "circuit-file -l :3712 /tmp"
	guest_bg g2 zero "zero serve 3713"
	wait_for 20 guest_exec g1 "circuit-rpc -n 10 g2:3711 >/dev/null 2>&1"
	wait_for 20 guest_exec g1 "circuit-file g2:3712 small >/dev/null 2>&1"
	wait_for 20 guest_exec g1 "zero rtt map g2 3713 5 >/dev/null 2>&1"
	wait_for 20 guest_exec g1 "zero messages map g2 3713 64 1 1 >/dev/null 2>&1"
	guest_exec -t 50 g1 "circuit-rpc -n 300 -s 1000 g2:3711"
	before=$(line_get g1 calls-out)
	expect "$(guest_exec g2 "sha256sum </tmp/file")" \
		"$(guest_exec -t 50 g1 "circuit-file g2:3712 file | sha256sum")"
	fails guest_exec g1 "circuit-file g2:3712 nothing 2>/dev/null"
	guest_exec g1 "zero rtt map g2 3713 50 >/dev/null"
	guest_exec g1 "zero stream map g2 3713 65536 200; zero messages map g2 3713 64 64 200"
	expect 5 $(($(line_get g1 calls-out) - before)) "calls"
	guest_bg g2 box "peer dgram-echo 3714"
	wait_for 20 guest_exec g1 "peer dgram-ask g2 3714 1 8"
	for way in map copy; do
		guest_exec -t 50 g1 "zero ask $way g2 3714 1400 100 && zero ask $way g2 3714 0 3 && zero ask $way g2 3714 65507 10" >/dev/null
		refuses "Connection refused" g1 "zero ask $way g2 3715 100 1"
	done
	guest_bg_kill g2 box
	guest_bg_kill g2 rpc
	guest_bg_kill g2 file
	guest_bg_kill g2 zero
}

# A process of g1's writes anything anywhere in circuits that it has mapped, to a program in g2 that has not
# mapped its ends and one that has. Nobody else's suffer.
scribbles() {
	local rounds=100
	[ "$GUEST_KIND" = stock ] || rounds=30
	guest_bg g2 rpc "circuit-rpc -l :3711"
	guest_bg g2 messages "peer seq echo 3700"
	stay g1 stream g2 3700
	stay g1 messages seq g2 3700
	wait_for 20 guest_exec g1 "circuit-rpc -n 10 g2:3711 >/dev/null 2>&1"
	guest_exec -t 50 g1 "peer scribble g2 3700 $rounds && peer seq scribble g2 3700 $rounds"
	# Until what is written there has been more than a server could bear.
	for _ in 1 2 3 4 5; do
		guest_exec -t 50 g1 "peer seq scribble g2 3711 $rounds"
		! grep -q 'a client: ' "$(guest_bg_log g2 rpc)" || break
	done
	stay_end g1 stream messages
	guest_exec g1 "circuit-rpc -n 10 g2:3711 && peer calls g2 3700 5 1 && peer seq calls g2 3700 5 1"
	# Whom rpc has in a process of its own each is gone.
	wait_for 20 guest_exec g2 '[ $(pidof circuit-rpc | wc -w) = 1 ]'
	grep -c 'a client: ' "$(guest_bg_log g2 rpc)"
	guest_bg_kill g2 rpc
	guest_bg_kill g2 messages
	wait_for 20 line_idle g1
	expect '[]' "$("$CIRCUIT" -j show | tr -d ' \n')" circuits
}

# One that has its kernel believe that the far end has closed already: that one is told all the same.
no_calls() { [ "$("$CIRCUIT" -j show | tr -d ' \n')" = '[]' ]; }
lies() {
	guest_exec g1 "peer lie g2 3700"
	wait_for 10 no_calls
}

# hold: processes of g1's have circuits to g2 mapped, one of each kind of socket, and wait.
KINDS="stream seq tcp udp"
declare -A HOLDERS=(
	[stream]="hold-mapped g2 3700"
	[seq]="seq hold-mapped g2 3701"
	[tcp]="hold-mapped tcp:10.77.0.2 3702"
	[udp]="hold-mapped udp:10.77.0.2 3703"
	[box]="dgram hold-mapped g2 3704"
)
hold() { # KINDS [lost]
	local kind
	for kind in $1; do
		guest_bg g1 "hold.$kind" "$REDIRECT; peer ${HOLDERS[$kind]} ${2:-}"
	done
	for kind in $1; do
		wait_for 20 grep -q mapped "$(guest_bg_log g1 "hold.$kind")"
	done
	guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect" # which holds the module as well
}
held() { # KINDS TEXT...: what they said in the end
	local kind
	for kind in $1; do
		expect "$(printf '%s\n' mapped "${@:2}")" "$(guest_wait g1 "hold.$kind" 30)" "$kind"
	done
}

# Pages of a window are mapped with the memory type that the kernel has on record for them, see
# track_pfn_insert(): write-back, for all of it. (To be mapped is not enough, see odd_devices in common.sh.)
cached() {
	local start end
	hold stream
	read -r start end _ < <(guest_exec g1 "sed -n 3p /sys/bus/pci/drivers/circuit_guest/0000:*/resource")
	end=$(printf '0x%016x' $((end + 1)))
	expect "PAT: [mem $start-$end] write-back" \
		"$(guest_exec g1 "grep $start /sys/kernel/debug/x86/pat_memtype_list")"
	killed_holders stream
}
far_process_dies() {
	hold "$KINDS"
	guest_exec g2 'kill -9 $(pidof peer)'
	held "stream seq tcp" ended "Broken pipe"
	held udp ended "Connection refused"
	echo_up
}
far_guest_dies() {
	hold "$KINDS"
	guest_kill9 g2
	held "stream seq tcp" ended "Connection reset by peer"
	held udp ended "Network is unreachable"
	wait_for 20 line_idle g1
	guest_start g2 --line g2 --net
	wait_for 20 line_is g2 up
	echo_up
}
killed_holders() { # KINDS
	local kind
	guest_exec g1 'kill -9 $(pidof peer)'
	wait_for 20 line_idle g1
	for kind in $1; do
		expect mapped "$(guest_wait g1 "hold.$kind" 30 || true)" "$kind"
	done
}
killed() {
	box_up
	hold "$KINDS box"
	killed_holders "$KINDS box"
	guest_bg_kill g2 box
}
# A limit of bytes and a mapping exclude each other, and the connection goes on without the mapping; but where the
# far end is the operator's, who keeps to the limit, it goes on with it.
limited() {
	local kind
	box_up
	stay g1 box dgram mapped g2 3704
	hold "$KINDS" lost
	"$CIRCUIT" line set g1 send 10M
	held "$KINDS" "lost, Stale file handle" works
	for kind in $KINDS; do
		refuses "Operation not supported" g1 "$REDIRECT; peer ${HOLDERS[$kind]}"
	done
	stay_end g1 box
	"$CIRCUIT" line set g1 send none
	guest_bg_kill g2 box
	hold "$KINDS"
	killed_holders "$KINDS"
}
# Who has mapped what leads nowhere any more has memory of his own, and his socket says why.
held_in_vain() {
	held "stream seq tcp box" "lost, Stale file handle" "Connection reset by peer"
	held udp "lost, Stale file handle" "Network is unreachable"
	guest_bg_kill g2 box
}
line_goes() {
	box_up
	hold "$KINDS box" lost
	refuses "temporarily unavailable" g1 "rmmod circuit_guest"
	"$CIRCUIT" line del g1
	held_in_vain
	guest_kill9 g1
	"$CIRCUIT" line add g1 circuits 12000
	guest_start g1 --line g1 --net --smp 2
	wait_for 20 line_is g1 up
	wait_for 20 guest_exec g1 "peer calls g2 3700 1 1"
}
device_goes() {
	box_up
	hold "$KINDS box" lost
	guest_exec g1 'cd /sys/bus/pci/drivers/circuit_guest && for d in 0000:*; do echo $d > unbind; done'
	held_in_vain
	wait_for 20 guest_exec g1 "rmmod circuit_guest"
	guest_exec g1 "modprobe circuit_guest"
	wait_for 20 line_is g1 up
	wait_for 20 guest_exec g1 "peer calls g2 3700 1 1"
}

through() {
	guest_bg_kill g2 echo
	nothing_left
}

t_run -t 120 "two guests" setup
t_run -t 300 "mapped circuits of AF_CIRCUIT: streams" cases stream
t_run "mapped circuits of AF_CIRCUIT: messages" cases messages --seqpacket
t_run "mapped circuits of AF_CIRCUIT: datagrams" cases datagrams --dgram
[ "$HOST_KIND$GUEST_KIND" != stockstock ] || t_run -t 300 "mapped circuits: 1,200 rounds of interleavings" many_rounds
t_run -t 300 "mapped circuits while limits come and go" under_limits
t_run "mapped circuits: one writes on as a limit comes" writes_on
t_run -t 300 "mapped circuits of TCP sockets" cases_redirected tcp 10.77.0.1
t_run -t 300 "mapped circuits of UDP sockets" cases_redirected udp fd00:77::1 --dgram
t_run -t 180 "libcircuit between two guests" library
t_run "mapped: a process scribbles at another guest" scribbles
t_run "mapped: a process lies to its kernel about the far end" lies
t_run "mapped: as write-back memory" cached
t_run "mapped: the far process dies" far_process_dies
t_run "mapped: this process dies" killed
t_run "mapped: a limit is set" limited
t_run "mapped: the far guest dies" far_guest_dies
t_run "mapped: the device goes" device_goes
t_run "mapped: the line is deleted" line_goes
t_run "nothing left" through
