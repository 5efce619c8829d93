# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# desk - what the administrator sees and may do: limits of lines and groups, what is going on,
# requests that are not right, and who may make none.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"

TESTS=$(dirname "$CIRCUIT")/../tests

outcomes() { guest_exec -t 50 g1 "peer outcomes $2 $3 $1" | paste -sd,; }
becomes() { expect "$1" "$(outcomes 1 "$2" "$3")" "$2 port $3"; }
group_get() { # NAME KEY
	local json
	json=$("$CIRCUIT" -j group show "$1") || return
	json_get "$json" "$2"
}
group_is() { [ "$(group_get "$1" "$2")" = "$3" ]; }
hold() { # PORT N: so many circuits of g1's to g2 that stay, until let_go
	guest_bg g2 hold "peer hold-listen $1 $2 4096"
	guest_bg g1 hold "mkfifo /tmp/held; peer hold g2 $1 $2 4096 /tmp/held"
	wait_for 20 grep -q 'all work' "$(guest_bg_log g1 hold)"
}
let_go() {
	guest_exec g1 ": >/tmp/held; rm /tmp/held"
	guest_wait g1 hold
	guest_wait g2 hold
}

setup() {
	local g
	guests_up g1 g2
	# What other scenarios have left of cables goes when a guest starts over.
	for g in g1 g2; do
		wait_for 10 guest_exec "$g" "rmmod circuit_guest"
		guest_exec "$g" "modprobe circuit_guest"
		wait_for 20 line_is "$g" up
		expect 0 "$(line_get "$g" memory)"
	done
	"$CIRCUIT" policy load - <<<'default connect'
	"$CIRCUIT" line set g1 addr 10.77.0.1 group web group all calls none
	"$CIRCUIT" line set g2 addr 10.77.0.2 group db group all
	guest_exec g1 "echo 1 >/proc/sys/net/circuit/redirect"
	guest_exec g2 "echo 1 >/proc/sys/net/circuit/redirect"
	guest_bg g2 seven "peer echo 7"
	guest_bg g2 tcp7 "peer tcp echo 7"
	wait_for 10 group_is db listeners 2
	becomes "connected 1" g2 7
	becomes "connected 1" tcp:10.77.0.2 7
}

# What the lines of a group have together, and what that means for each.
groups() {
	expect 2 "$(group_get all lines)" "lines"
	hold 3300 5
	expect "5 5 10" "$(group_get web circuits) $(group_get db circuits) $(group_get all circuits)"
	# A line takes along what it has.
	"$CIRCUIT" line set g1 group blue
	fails "$CIRCUIT" group show web 2>&1 | grep 'no such group'
	expect "5 5" "$(group_get blue circuits) $(group_get all circuits)"
	"$CIRCUIT" line set g1 group web group all
	expect "5 10" "$(group_get web circuits) $(group_get all circuits)"
	# The fewest that anybody has left.
	"$CIRCUIT" group set web circuits 5
	becomes "ENOBUFS 1" g2 7
	becomes "ENOBUFS 1" tcp:10.77.0.2 7
	"$CIRCUIT" group set web circuits 6
	becomes "connected 1" g2 7
	"$CIRCUIT" group set all circuits 11
	becomes "ENOBUFS 1" g2 7
	"$CIRCUIT" group set all circuits none
	becomes "connected 1" g2 7
	let_go
	wait_for 10 group_is web circuits 0
	"$CIRCUIT" group set web circuits none
	# A cable is charged to both of its lines, and so twice to a group of both. There is one of 2M
	# between them, which is given up for another, that has to be smaller, and so on.
	expect 4194304 "$(group_get all memory)"
	"$CIRCUIT" group set all memory 3M
	guest_bg g1 self "peer echo 71"
	wait_for 10 group_is web listeners 1
	becomes "connected 1" g1 71
	expect 2097152 "$(group_get all memory)"
	becomes "connected 1" g2 7
	expect "2097152 1048576" "$(group_get all memory) $(line_get g1 memory)"
	# Those of others are given up as well: g2's with itself for g1's with itself.
	"$CIRCUIT" group set all memory 5M
	guest_exec g2 "peer outcomes g2 7 1"
	expect 4194304 "$(group_get all memory)"
	"$CIRCUIT" group set all memory 3M
	becomes "connected 1" g1 71
	expect "2097152 0" "$(group_get all memory) $(line_get g2 memory)"
	guest_bg_kill g1 self
	wait_for 10 group_is web listeners 0
	"$CIRCUIT" group set all memory 4M
	guest_bg g2 hold "peer hold-listen 3301 20 524288"
	fails guest_exec g1 "peer hold g2 3301 20 524288" 2>&1 | grep 'No buffer space'
	guest_bg_kill g2 hold
	"$CIRCUIT" group set all memory 512M listeners 2
	fails guest_exec g2 "peer echo 8" 2>&1 | grep 'No buffer space'
	"$CIRCUIT" group set all listeners 3
	guest_bg g2 eight "peer echo 8"
	wait_for 10 group_is all listeners 3
	guest_bg_kill g2 eight
	wait_for 10 group_is all listeners 2
	"$CIRCUIT" group del all
	"$CIRCUIT" group del web
	fails "$CIRCUIT" group del web 2>&1 | grep 'no limits'
	bad 'no such group' group del nobody
	bad 'no setting' group set web what 5
	bad 'name' group set 'a b' circuits 5
}

# Published ports: what there is no room for any more fails, or listens on the guest's own network only.
listeners() {
	"$CIRCUIT" line set g1 listeners 2
	expect 2 "$(line_get g1 listeners-max)"
	guest_bg g1 one "peer echo 81"
	guest_bg g1 tcp "peer tcp echo 82"
	wait_for 10 listens g1 82 both
	expect 2 "$(line_get g1 listeners)"
	refuses "listen: No buffer space available" g1 "peer echo 83"
	refuses "listen: No buffer space available" g1 "peer seq echo 81"
	guest_bg g1 late "rm -f /tmp/late; mkfifo /tmp/late; peer tcp late 84 /tmp/late 8"
	wait_for 10 listens g1 84 'native reason quota-listeners'
	expect 2 "$(line_get g1 listeners)"
	# It is called there, and the others by circuits as before.
	expect "connected 1" "$(guest_exec g2 "peer outcomes tcp:$(guest_ip g1) 84 1")"
	guest_exec g2 "peer calls tcp:10.77.0.1 82 1 1 && peer calls g1 81 1 1"
	# It listens once more when there is room.
	"$CIRCUIT" line set g1 listeners 3
	guest_exec g1 "echo >/tmp/late"
	wait_for 10 listens g1 84 both
	guest_exec g2 "peer calls tcp:10.77.0.1 84 1 1"
	"$CIRCUIT" line set g1 listeners 1024
	guest_bg_kill g1 one
	guest_bg_kill g1 tcp
	guest_bg_kill g1 late
	wait_for 10 line_idle g1
}
listens() { [ "$(socks_listening "$1" "$2")" = "listen $3" ]; } # GUEST PORT PATH

# Calls that wait, and calls per second.
rates() {
	"$CIRCUIT" policy load - <<<$'default connect\ndrop on call port 9'
	"$CIRCUIT" group set web pending 2
	guest_bg g1 one "exec peer outcomes g2 9 1"
	guest_bg g1 two "exec peer outcomes tcp:10.77.0.2 9 1"
	wait_for 10 group_is web pending 2
	becomes "EAGAIN 1" g2 9
	becomes "EAGAIN 1" tcp:10.77.0.2 9
	guest_bg_kill g1 one
	guest_bg_kill g1 two
	wait_for 10 group_is web pending 0
	"$CIRCUIT" group set web pending none calls 1/s
	outcomes 50 g2 7 | tee "$LAB_RUN/rates"
	grep '^connected [1-9][0-9]*,EAGAIN [1-9][0-9]*$' "$LAB_RUN/rates"
	outcomes 50 tcp:10.77.0.2 7 | tee "$LAB_RUN/rates"
	grep 'EAGAIN [1-9][0-9]*' "$LAB_RUN/rates"
	[ "$(group_get web calls-limited)" -gt 0 ]
	"$CIRCUIT" group del web
	"$CIRCUIT" line set g1 calls 1/s
	outcomes 50 g2 7 | grep 'EAGAIN [1-9][0-9]*'
	[ "$(line_get g1 calls-limited)" -gt 0 ]
	"$CIRCUIT" line set g1 calls none
	expect "connected 50" "$(outcomes 50 g2 7)"
	bad 'not a number' line set g1 calls 0
	"$CIRCUIT" policy load - <<<'default connect'
}

# Bytes per second, of what there is already and of what comes.
byte_rates() {
	local before after rule rate=256

	# Less than what the slowest of guests can do.
	[ "$HOST_KIND" = stock ] || rate=64
	guest_bg g2 drain "peer drain 3411"
	guest_bg g1 flood "peer flood g2 3411"
	wait_for 10 grep -q draining "$(guest_bg_log g2 drain)"
	wait_for 20 faster_than $((rate * 3 / 2))
	"$CIRCUIT" line set g1 send ${rate}k/s
	"$CIRCUIT" line show g1 | grep "send ${rate}k/s"
	sends about $rate line_get g1 send-waits
	[ "$("$CIRCUIT" -j stat g1 | json_of send-waits)" -gt 0 ]
	"$CIRCUIT" line set g2 receive $((rate / 4))k/s
	sends about $((rate / 4)) line_get g2 receive-waits
	"$CIRCUIT" line set g2 receive none
	"$CIRCUIT" line set g1 send none
	wait_for 20 faster_than $((rate * 3 / 2))
	# A group's is for its lines together, and for each circuit of theirs the same.
	"$CIRCUIT" group set web send ${rate}k/s
	guest_bg g2 drain2 "peer drain 3412"
	guest_bg g1 flood2 "peer flood g2 3412"
	wait_for 10 grep -q draining "$(guest_bg_log g2 drain2)"
	sends about $rate group_get web send-waits
	before=$("$CIRCUIT" -j show)
	sleep 3	# what is measured
	after=$("$CIRCUIT" -j show)
	before="$(sent_to 3411 <<<"$before") $(sent_to 3412 <<<"$before")"
	after="$(sent_to 3411 <<<"$after") $(sent_to 3412 <<<"$after")"
	within 70 140 $((${after% *} - ${before% *})) $((${after#* } - ${before#* }))
	"$CIRCUIT" group del web
	guest_bg_kill g1 flood2
	guest_bg_kill g2 drain2
	guest_bg_kill g1 flood
	guest_bg_kill g2 drain
	# A rule's, of what it has connected: each way by itself.
	# (It hits once more for each call that comes before the other side listens.)
	"$CIRCUIT" policy load - <<<"default connect"$'\n'"connect to line g2 port 3413 bytes ${rate}k/s"
	guest_bg g2 swap "peer swap-listen 3413 $((rate * 3072))"
	before=$(lab_now)
	guest_exec -t 60 g1 "peer swap g2 3413 $((rate * 3072))"
	guest_wait g2 swap
	t_note "three seconds' worth each way: $(lab_since "$before") s"
	awk -v s="$(lab_since "$before")" 'BEGIN { exit !(s > 2.5) }'
	rule=$("$CIRCUIT" -s policy | grep bytes)
	grep "^connect to line g2 port 3413 bytes ${rate}k/s # hits [1-9][0-9]* waits [1-9]" <<<"$rule"
	"$CIRCUIT" policy load - <<<'default connect'
	bad 'at least 1 KiB/s' line set g1 send 1000
	bad 'at least 1 KiB/s' group set web receive 1/s
	bad 'at least 1 KiB/s' policy add connect to line g2 bytes 5/s
	bad 'out of range' line set g1 send 1025G/s
}
# Messages per second, whatever they are long; streams have none.
message_rates() {
	local rate=500 free waits
	[ "$HOST_KIND$GUEST_KIND" = stockstock ] || rate=250
	waits=$(line_get g1 send-waits)
	guest_bg g2 seq "bench serve seqpacket 3420"
	guest_bg g2 box "bench serve dgram 3430"
	wait_for 20 guest_exec g1 "bench messages seqpacket g2 3420 64 1 10 >/dev/null 2>&1"
	wait_for 20 guest_exec g1 "bench messages dgram g2 3430 64 1 10 >/dev/null 2>&1"
	free=$(message_rate g1 seqpacket g2 3420)
	[ "$free" -gt $((2 * rate)) ]
	"$CIRCUIT" line set g1 send-messages $rate/s
	"$CIRCUIT" line show g1 | grep "send-messages $rate/s"
	rate_is $rate "$(message_rate g1 seqpacket g2 3420)"
	[ "$(line_get g1 send-messages-waits)" -gt 0 ]
	[ "$("$CIRCUIT" -j stat g1 | json_of send-messages-waits)" -gt 0 ]
	rate_is $rate "$(message_rate g1 dgram g2 3430)"
	transfer g1 g2 3000000
	expect "$waits" "$(line_get g1 send-waits)" "waits of bytes"
	# Of bytes there may be fewer.
	"$CIRCUIT" line set g1 send $((rate * 72 / 2))/s
	rate_is $((rate / 2)) "$(message_rate g1 seqpacket g2 3420)"
	"$CIRCUIT" line set g1 send none send-messages none
	[ "$(message_rate g1 seqpacket g2 3420)" -gt $((2 * rate)) ]
	# Those who receive, and a group's.
	"$CIRCUIT" line set g2 receive-messages $rate/s
	rate_is $rate "$(message_rate g1 seqpacket g2 3420)"
	rate_is $rate "$(message_rate g1 dgram g2 3430)"
	"$CIRCUIT" line set g2 receive-messages none
	"$CIRCUIT" group set web send-messages $rate/s
	"$CIRCUIT" group show | grep "send-messages $rate/s"
	rate_is $rate "$(message_rate g1 seqpacket g2 3420)"
	[ "$(group_get web send-messages-waits)" -gt 0 ]
	"$CIRCUIT" group del web
	guest_bg_kill g2 seq
	guest_bg_kill g2 box
	bad 'not a number' line set g1 send-messages 0
	bad 'not a number' group set web receive-messages 5000000000
}
json_of() { python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$1"; }
# KiB that g1 sends in a second, measured for S.
sending() { # S
	local a b from to
	from=$(date +%s%N)
	a=$("$CIRCUIT" -j stat g1)
	sleep "$1"	# what is measured
	to=$(date +%s%N)
	b=$("$CIRCUIT" -j stat g1)
	echo $((($(json_of bytes-out <<<"$b") - $(json_of bytes-out <<<"$a")) * 1000000 /
		((to - from) / 1000) / 1024))
}
faster_than() { [ "$(sending 0.5)" -gt "$1" ]; }
# Never much more than it should be; an emulated and instrumented host may be late with its turns,
# and then it is less.
within() { # LEAST MOST A B: A is so many percent of B
	awk -v l="$1" -v m="$2" -v a="$3" -v b="$4" 'BEGIN { print a, b; exit !(a > b * l / 100 && a < b * m / 100) }'
}
sends() { # about KIB/S, once the count that CMD... prints says that somebody waits for that
	local got
	wait_for 20 counts_beyond "$("${@:3}")" "${@:3}"
	got=$(sending 3)
	t_note "limited to $2 KiB/s: $got KiB/s"
	case $HOST_KIND in
	stock) within 70 120 "$got" "$2" ;;
	*) within 25 130 "$got" "$2" ;;
	esac
}
counts_beyond() { [ "$("${@:2}")" -gt "$1" ]; }
sent_to() { # PORT, of what is shown
	python3 -c '
import json, sys
print(sum(c["caller"]["bytes"] for c in json.load(sys.stdin) if c["called"]["port"] == int(sys.argv[1])))' "$1"
}

# One circuit, and one call, ended by hand.
ended_by_hand() {
	local id
	guest_bg g2 drain "peer drain 3401"
	guest_bg g1 flood "peer flood g2 3401"
	wait_for 10 grep -q draining "$(guest_bg_log g2 drain)"
	wait_for 10 sh -c "'$CIRCUIT' -j show | grep -q '\"port\":3401'"
	# Each side tells the other of what it writes and reads.
	wait_for 10 sh -c "'$CIRCUIT' -j show | grep -q '\"marks\":[1-9].*\"port\":3401.*\"marks\":[1-9]'"
	id=$("$CIRCUIT" -o show | sed -n 's/^\([0-9]*\) .*g2:3401 .*/\1/p')
	"$CIRCUIT" circuit reset "$id"
	guest_wait g1 flood | tail -1 | grep -i 'broken pipe\|reset by peer'
	guest_wait g2 drain | tail -1 | grep 'reset by peer'
	bad 'no such circuit' circuit reset "$id"
	"$CIRCUIT" policy load - <<<$'default connect\ndrop on call port 9'
	guest_bg g1 waits "exec peer outcomes g2 9 1"
	wait_for 10 sh -c "'$CIRCUIT' -j line show g1 | grep -q '\"pending\":1'"
	id=$("$CIRCUIT" -o show | sed -n 's/^\([0-9]*\) .*pending.*/\1/p')
	"$CIRCUIT" circuit reset "$id"
	expect "ECONNREFUSED 1" "$(guest_wait g1 waits)"
	"$CIRCUIT" policy load - <<<'default connect'
}

# What happens is told by tracepoints, where it happens. (Of a guest's start, trunks and violations: not here.)
traced() {
	local trace=/sys/kernel/tracing event missing=0
	[ -d $trace/events/circuit_host ] || t_skip "a kernel without trace events"
	echo 1 >$trace/events/circuit_host/enable
	guest_exec g1 "echo 1 >$trace/events/circuit_guest/enable"
	ended_by_hand # first: it may be more than there is room for
	"$CIRCUIT" policy load - <<<$'default connect\nreject port 9 error EACCES\ndrop port 10'
	becomes "EACCES 1" g2 9
	becomes "EACCES 1" tcp:10.77.0.2 9
	guest_bg g1 waits "exec peer outcomes g2 10 1"
	wait_for 10 sh -c "'$CIRCUIT' -j line show g1 | grep -q '\"pending\":1'"
	guest_bg_kill g1 waits
	"$CIRCUIT" policy load - <<<'default connect'
	fails guest_exec g1 "nc -w 1 192.0.2.2 99 </dev/null"
	"$CIRCUIT" line set g1 doorbells 100/s
	guest_exec -t 50 g1 "peer calls g2 7 50 2"
	"$CIRCUIT" line set g1 doorbells none
	guest_bg g2 box "peer dgram-echo 3600"
	wait_for 10 grep -q bound "$(guest_bg_log g2 box)"
	guest_exec g1 "peer dgram-ask g2 3600 5 1"
	guest_bg_kill g2 box
	echo 0 >$trace/events/circuit_host/enable
	cat $trace/trace >"$LAB_RUN/trace"
	guest_exec g1 "echo 0 >$trace/events/circuit_guest/enable; cat $trace/trace; : >$trace/trace" >>"$LAB_RUN/trace"
	: >$trace/trace
	for event in call decide connected refused native cancel reset hangup doorbell interrupt throttle look sig_receive \
		sig_send sock_native sock_refused sock_connected sock_ended sock_stall; do
		grep -m 1 " circuit_$event: " "$LAB_RUN/trace" || { echo "circuit_$event has said nothing"; missing=1; }
	done
	return $missing
}

# What the operator's time was spent for is all of it, and for nothing that was not done.
accounted() { # JSON USE...: those that there are to be
	local use sum=0 ns
	for use in relay signalling policy trunk-send trunk-receive datagrams timers; do
		ns=$(json_get "$1" "cpu-$use-ns")
		sum=$((sum + ns))
		case " ${*:2} " in
		*" $use "*) [ "$ns" -gt 0 ] || { echo "nothing for $use"; return 1; } ;;
		esac
	done
	expect "$sum" "$(json_get "$1" cpu-ns)" "sum of all uses"
}

# Doorbells: those beyond the limit are late, not lost.
doorbells() {
	local before served from
	"$CIRCUIT" line set g1 doorbells 100/s
	expect 100 "$(line_get g1 doorbells-max)"
	"$CIRCUIT" line show g1 | grep -q 'doorbells 100/s'
	bad 'at least 100' line set g1 doorbells 99/s
	before=$(line_get g1 doorbells)
	from=$(lab_now)
	guest_exec -t 50 g1 "peer calls g2 7 50 2"
	served=$(($(line_get g1 doorbells) - before))
	from=$((($(lab_now) - from) / 1000))
	t_note "doorbells: $served served in $from ms, $(line_get g1 doorbells-masked) masked"
	[ "$(line_get g1 doorbells-limited)" -gt 0 ]
	[ "$(line_get g1 doorbells-masked)" -gt 0 ]
	expect 0 "$(line_get g1 doorbells-storms)" "storms"
	[ "$served" -le $((from * 102 / 1000 + 10)) ]
	transfer g1 g2 1000000
	"$CIRCUIT" -s line show g1 | grep -q 'masked [1-9][0-9]* for the limit [1-9]'
	"$CIRCUIT" line set g1 doorbells none
	# Those of a group's lines together.
	bad 'at least 100' group set all doorbells 1
	"$CIRCUIT" line set g1 group web group all
	"$CIRCUIT" group set all doorbells 100/s
	before=$(line_get g1 doorbells-limited)
	guest_exec -t 50 g1 "peer calls g2 7 50 2"
	[ "$(line_get g1 doorbells-limited)" -gt "$before" ]
	"$CIRCUIT" group del all
	before=$(line_get g1 doorbells-limited)
	guest_exec -t 50 g1 "peer calls g2 7 50 2"
	expect "$before" "$(line_get g1 doorbells-limited)" "masks without a limit"
}

# Whose turn it is: weights, and how long work waits. Datagrams that the operator switches are such work.
turns() {
	# A thread that may go on has to get a processor, besides.
	local before after key least=20000000
	[ "$HOST_KIND" = stock ] || least=2000000
	"$CIRCUIT" line set g1 weight 300
	expect 300 "$(line_get g1 weight)"
	"$CIRCUIT" line show g1 | grep -q 'weight 300'
	bad 'out of range' line set g1 weight 9
	bad 'out of range' line set g1 weight 1001
	expect 300 "$(line_get g1 weight)"
	"$CIRCUIT" line set g1 mark 0x10
	expect 16 "$(line_get g1 mark)"
	"$CIRCUIT" line show g1 | grep -q 'mark 16'
	"$CIRCUIT" line set g1 mark 0
	before=$("$CIRCUIT" -j stat g1)
	guest_bg g2 box "peer dgram-echo 3440"
	wait_for 20 guest_exec g1 "peer dgram-ask g2 3440 1 8"
	guest_exec g1 "peer dgram-ask g2 3440 50 100"
	guest_bg_kill g2 box
	after=$("$CIRCUIT" -j stat g1)
	[ "$(json_get "$after" looks)" -gt "$(json_get "$before" looks)" ]
	for key in queued served; do
		[ "$(json_get "$after" $key-p50-ns)" -gt 0 ]
		[ "$(json_get "$after" $key-p99-ns)" -ge "$(json_get "$after" $key-p50-ns)" ]
	done
	"$CIRCUIT" stat g1 | grep -q 'work in threads: looks [1-9]'
	"$CIRCUIT" top count 1 delay 1 | grep -q queue
	# No more of a processor than so much, however many datagrams there are to be switched.
	bad 'not a number' line set g1 cpu 0
	bad 'not a number' line set g1 cpu 101
	"$CIRCUIT" line set g1 cpu 10%
	expect 10 "$(line_get g1 cpu-max)"
	"$CIRCUIT" line show g1 | grep -q 'cpu 10%'
	guest_bg g2 box "peer dgram-echo 3440"
	wait_for 20 guest_exec g1 "peer dgram-ask g2 3440 1 8"
	guest_bg g1 flood "peer dgram-flood g2 3440"
	before=$(line_get g1 cpu-waited-ns)
	wait_for 20 more_than "$before" line_get g1 cpu-waited-ns
	after=$(line_rate g1 cpu-datagrams-ns)
	t_note "a line with 10 % of a processor: $((after / 1000)) us/s"
	# What a circuit is looked at for is a part of that on a slow host, and paid for in the next seconds.
	[ "$after" -gt $least ]
	[ "$after" -lt 140000000 ]
	"$CIRCUIT" -s line show g1 | grep -q 'waited [1-9]'
	"$CIRCUIT" line set g1 cpu none
	# The same of a group. What g2 costs by answering counts as well.
	bad 'not a number' group set all weight 0
	bad 'out of range' group set all weight 1000001
	"$CIRCUIT" line set g1 group web group all
	"$CIRCUIT" line set g2 group db group all
	"$CIRCUIT" group set all cpu 15% weight 150
	"$CIRCUIT" group show all | grep -q 'weight 150 cpu 15%'
	expect "15 150" "$(group_get all cpu-max) $(group_get all weight)"
	before=$(line_get g1 cpu-waited-ns)
	wait_for 20 more_than "$before" line_get g1 cpu-waited-ns
	after=$(counter_rate group_get all cpu-datagrams-ns)
	t_note "a group with 15 % of a processor: $((after / 1000)) us/s"
	[ "$after" -gt $least ]
	[ "$after" -lt 200000000 ]
	"$CIRCUIT" group del all
	fails sh -c "'$CIRCUIT' group show all | grep limits"
	guest_bg_kill g1 flood
	wait_for 20 guest_exec g2 "peer dgram-ask g2 3440 1 8"	# once there is room
	guest_exec -t 50 g2 "peer dgram-ask g2 3440 20 100"
	guest_bg_kill g2 box
	"$CIRCUIT" line set g1 weight 100
	fails sh -c "'$CIRCUIT' line show g1 | grep weight"
}

same_cost() { # LINE GROUP
	[ "$(line_get "$1" cpu-ns) $(line_get "$1" bytes-in)" = "$(group_get "$2" cpu-ns) $(group_get "$2" bytes-in)" ]
}

# What is told of what lines do, while they do it.
watched() {
	local before after bytes
	before=$("$CIRCUIT" -j stat g1)
	guest_exec g1 "peer calls g2 7 20 1"
	after=$("$CIRCUIT" -j stat g1)
	expect 20 $(($(json_get "$after" setups) - $(json_get "$before" setups))) "set-ups"
	# An echo is of one byte each way at least.
	bytes=$(($(json_get "$after" bytes-out) - $(json_get "$before" bytes-out)))
	[ "$bytes" -ge 20 ]
	expect "$bytes" $(($(json_get "$after" bytes-in) - $(json_get "$before" bytes-in))) "bytes back"
	[ "$(json_get "$after" setup-p99-ns)" -ge "$(json_get "$after" setup-p50-ns)" ]
	[ "$(json_get "$after" setup-p50-ns)" -gt 256 ]
	[ "$(json_get "$after" cpu-ns)" -gt "$(json_get "$before" cpu-ns)" ]
	accounted "$after" relay signalling policy timers
	# What others have left in the account is there still, and no more of it.
	expect "$(json_get "$before" cpu-trunk-send-ns)" "$(json_get "$after" cpu-trunk-send-ns)" "for trunks"
	"$CIRCUIT" stat g1 | grep "operator's CPU time: .* relay .* signalling .* policy "
	# A group has cost what its lines have.
	"$CIRCUIT" line set g2 group db group idle
	accounted "$("$CIRCUIT" -j group show idle)" relay signalling
	wait_for 10 same_cost g2 idle
	"$CIRCUIT" line set g2 group db
	"$CIRCUIT" stat g1 | grep '|@'

	guest_bg g2 drain "peer drain 3402"
	guest_bg g1 flood "peer flood g2 3402"
	wait_for 10 grep -q draining "$(guest_bg_log g2 drain)"
	"$CIRCUIT" top count 2 delay 1 sort out/s >"$LAB_RUN/top"
	cat "$LAB_RUN/top"
	# The one who sends is first, and at the rate at which the other one receives.
	tail -2 "$LAB_RUN/top" | head -1 | grep '^g1 .*up  *[1-9]'
	"$CIRCUIT" top circuits count 1 delay 1 | tee "$LAB_RUN/top"
	grep ' g1:[0-9]* > g2:3402  *connected  *[1-9]' "$LAB_RUN/top"
	guest_bg_kill g1 flood
	guest_bg_kill g2 drain
}

# What a circuit carries, as a tool for packets reads it.
captured() {
	local id tap sum
	guest_bg g2 swap "peer swap-listen 3403 3000000"
	guest_bg g1 swap "mkfifo /tmp/go; : </tmp/go; peer swap g2 3403 3000000"
	guest_bg g2 drain "peer drain 3404"
	guest_bg g1 flood "peer flood g2 3404"
	wait_for 10 grep -q draining "$(guest_bg_log g2 drain)"
	id=$("$CIRCUIT" -o show | sed -n 's/^\([0-9]*\) .*g2:3404 .*/\1/p')
	"$CIRCUIT" circuit capture "$id" to "$LAB_RUN/cap" 2>"$LAB_RUN/cap.said" &
	tap=$!
	wait_for 10 sh -c "'$CIRCUIT' show | grep -q 'g2:3404 .*captured'"
	fails "$CIRCUIT" circuit capture "$id" to /dev/null 2>&1 | grep 'captures it already'
	dmesg | grep "circuit $id is captured by circuit"
	wait_for 10 test -s "$LAB_RUN/cap"
	kill -INT $tap
	wait $tap
	cat "$LAB_RUN/cap.said"
	grep "^circuit $id: g1:[0-9]* > g2:3404: [1-9][0-9]* bytes there, 0 back" "$LAB_RUN/cap.said"
	fails sh -c "'$CIRCUIT' show | grep captured"
	guest_bg_kill g1 flood
	guest_bg_kill g2 drain
	guest_bg_kill g1 swap
	guest_bg_kill g2 swap

	# All of a dialogue, from the beginning of the capture to the end of the circuit.
	guest_bg g2 talk "circuit-cat -l 3405 </dev/null"
	guest_bg g1 talk "mkfifo /tmp/say; (cat /tmp/say; cat /tmp/say) | circuit-cat g2 3405"
	wait_for 10 sh -c "'$CIRCUIT' show | grep -q g2:3405"
	id=$("$CIRCUIT" -o show | sed -n 's/^\([0-9]*\) .*g2:3405 .*/\1/p')
	"$CIRCUIT" circuit capture "$id" to "$LAB_RUN/cap" 2>"$LAB_RUN/cap.said" &
	tap=$!
	wait_for 10 sh -c "'$CIRCUIT' show | grep -q 'g2:3405 .*captured'"
	guest_exec g1 "echo first >/tmp/say"
	wait_for 10 grep -aq first "$LAB_RUN/cap"
	guest_exec g1 "seq 10000 >/tmp/say"
	wait $tap
	guest_wait g1 talk
	guest_wait g2 talk | cksum
	cat "$LAB_RUN/cap.said"
	grep ': 48900 bytes there, 0 back, 0 gaps' "$LAB_RUN/cap.said"
	sum=$({ echo first; seq 10000; } | cksum)
	expect "$sum" "$("$TOP/selftests/e2e/pcapng-payload" "$LAB_RUN/cap" | cksum)" "checksum"
	fails "$CIRCUIT" circuit capture 999999 to /dev/null 2>&1 | grep 'there is none'
	setpriv --reuid 1000 --clear-groups sh -c "! '$CIRCUIT' circuit capture 1 to /dev/null"
}

# Events by kind.
told() {
	"$CIRCUIT" monitor policy >"$LAB_RUN/told.policy" &
	local policy=$! call all
	"$CIRCUIT" monitor call >"$LAB_RUN/told.call" &
	call=$!
	"$CIRCUIT" -j monitor >"$LAB_RUN/told.all" &
	all=$!
	wait_for 20 told_of_policy
	wait_for 20 told_of_call
	kill $policy $call $all
	grep '^policy generation' "$LAB_RUN/told.policy"
	fails grep -v '^policy ' "$LAB_RUN/told.policy"
	fails grep '^policy ' "$LAB_RUN/told.call"
	grep '^connected line g1 peer g2' "$LAB_RUN/told.call"
	grep '"event":"connected"' "$LAB_RUN/told.all"
}
told_of_policy() {
	"$CIRCUIT" policy default connect
	grep -q '^policy' "$LAB_RUN/told.policy" && grep -q '"event":"policy"' "$LAB_RUN/told.all"
}
told_of_call() {
	guest_exec g1 "peer outcomes g2 7 1" >/dev/null
	grep -q connected "$LAB_RUN/told.call" && grep -q '"event":"connected"' "$LAB_RUN/told.all"
}

# Who is no administrator, or one of something else.
not_for_everybody() {
	setpriv --reuid 1000 --clear-groups "$TESTS/nlfuzz" denied
	fails setpriv --reuid 1000 --clear-groups timeout 10 "$CIRCUIT" monitor 2>&1 | tee "$LAB_RUN/denied"
	grep 'events of line: Operation not permitted' "$LAB_RUN/denied"
	# In a namespace of one's own there is an exchange of one's own, with nothing in it.
	ip netns add elsewhere
	expect '[]' "$("$CIRCUIT" -n elsewhere -j line show)"
	expect '[]' "$("$CIRCUIT" -n elsewhere -j group show)"
	expect '[]' "$("$CIRCUIT" -n elsewhere -j show)"
	"$CIRCUIT" -n elsewhere line add g1
	"$CIRCUIT" -n elsewhere line del g1
	ip netns del elsewhere
	# And an administrator there, in a user namespace, is none here.
	setpriv --reuid 1000 --clear-groups unshare -rn "$CIRCUIT" line add mine
	fails "$CIRCUIT" line show mine
	setpriv --reuid 1000 --clear-groups unshare -r "$TESTS/nlfuzz" denied
}

fuzz() {
	local seed said n=3000
	[ "$HOST_KIND" = stock ] || n=1000
	ip netns add fuzz
	for seed in 1 2 3 $RANDOM; do
		said=$(ip netns exec fuzz timeout 120 "$TESTS/nlfuzz" "$seed" "$n")
		t_note "$said"
	done
	"$CIRCUIT" -n fuzz line show | wc -l
	"$CIRCUIT" -n fuzz policy | wc -l
	# With all that it has made.
	ip netns del fuzz
	becomes "connected 1" g2 7
}

# Everything that is told in JSON is what the schema says.
json() {
	local dir=$LAB_RUN/json
	mkdir -p "$dir"
	"$CIRCUIT" group set web circuits 100 calls 1000/s
	"$CIRCUIT" trunk add wan to 192.0.2.0/24 congestion reno
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" expose add g2:7 on 127.0.0.1:7777
	"$CIRCUIT" policy load - <<<$'default connect\nreject from group web to line g2 port 1-9 uid 5 comment "a b"\ntrunk wan to 192.0.2.0/24 calls 5/s log\nconnect to line g2'
	hold 3300 2
	"$CIRCUIT" -j -s line show >"$dir/line"
	"$CIRCUIT" -j group show >"$dir/group"
	"$CIRCUIT" -j trunk show >"$dir/trunk"
	"$CIRCUIT" -j expose show >"$dir/expose"
	"$CIRCUIT" -j -s policy show >"$dir/policy"
	"$CIRCUIT" -j explain g1 10.77.0.2:7 >"$dir/explain"
	"$CIRCUIT" -j -s show >"$dir/show"
	"$CIRCUIT" -j stat >"$dir/stat"
	guest_exec g1 "circuit -j socks" >"$dir/socks"
	cp "$LAB_RUN/told.all" "$dir/monitor"
	let_go
	"$TOP/tools/check-json" "$dir"
	"$CIRCUIT" expose del 127.0.0.1:7777
	"$CIRCUIT" policy load - <<<'default connect'
	"$CIRCUIT" line set g1 trunk none
	"$CIRCUIT" trunk del wan
	"$CIRCUIT" group del web
}

ended() {
	"$CIRCUIT" line set g1 addr none group none
	"$CIRCUIT" line set g2 addr none group none
	expect '[]' "$("$CIRCUIT" -j group show)"
	guest_bg_kill g2 seven
	guest_bg_kill g2 tcp7
	nothing_left
}

t_run -t 120 "two guests" setup
t_run -t 120 "limits of groups" groups
t_run "a line's published ports" listeners
t_run "calls that wait, and calls per second" rates
t_run -t 150 "bytes per second" byte_rates
t_run -t 240 "messages per second" message_rates
t_run "doorbells per second" doorbells
t_run "weights, and waiting for threads" turns
t_run "a circuit reset by hand" ended_by_hand
t_run -t 120 "tracepoints" traced
t_run "what lines do" watched
t_run "what a circuit carries" captured
t_run "events by kind" told
t_run "only for administrators" not_for_everybody
t_run -t 500 "requests that are nearly right" fuzz
t_run "JSON as the schema has it" json
t_run "nothing is left" ended
