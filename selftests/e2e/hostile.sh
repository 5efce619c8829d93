# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# hostile - a guest that breaks every rule there is. The host and the other guests go on,
# nothing is logged that should not be, and nothing is left behind.
#
# lab: --timeout 1200
. "$TOP/selftests/e2e/common.sh"

setup() {
	guests_up g1 g2 g3
	# The third has no honest module any more. Known by address, too, and with a program that is
	# called by it.
	wait_for 10 guest_exec g3 "rmmod circuit_guest"
	wait_for 10 line_is g3 attached
	"$CIRCUIT" line set g3 circuits 100 memory 16M addr 10.77.0.9
	"$CIRCUIT" line set g1 addr 10.77.0.1
	"$CIRCUIT" line set g2 addr 10.77.0.2 addr fd00:77::2
	guest_exec g1 "echo 1 >/proc/sys/net/circuit/redirect"
	guest_exec g2 "echo 1 >/proc/sys/net/circuit/redirect"
	guest_bg g2 web "mkdir /tmp/www; echo works >/tmp/www/x; httpd -f -p 7 -h /tmp/www"
	guest_bg g2 redirected "peer tcp echo 9"
	# Not before it is published: such a call would be left to TCP, which has no way to that address.
	wait_for 10 published g2 2
	guest_bg g2 victim "peer echo 7"
	guest_bg g2 messages "peer seq echo 7"
	guest_bg g2 bystander "peer echo 8"
	guest_bg g2 box "peer dgram-echo 3600"
	guest_bg g2 udp "peer dgram-echo udp:7"
	wait_for 10 guest_exec g2 "netstat -lun | grep -q ':7 '"
	# The world, which both g1 and the third may call.
	namespace out 2
	"$CIRCUIT" trunk add wan
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" line set g3 trunk wan
	setsid ip netns exec out "$(dirname "$CIRCUIT")/../tests/peer" tcp echo 7 >/dev/null 2>&1 {LAB_OUT}>&- &
	echo $! >"$LAB_RUN/world"
	# What g1 and g2 have with each other from now on lives through all there is to come.
	stay g1 stream g2 8
	stay g1 messages seq g2 7
	stay g1 redirected tcp:10.77.0.2 9
	others_ok
}
published() { [ "$(line_get "$1" listeners)" -ge "$2" ]; } # LINE N
others_ok() {
	guest_exec -t 50 g1 "peer stayed /tmp/stay.* && peer calls g2 8 20 2 && peer seq calls g2 7 5 2 && peer dgram-ask g2 3600 5 100 &&
		peer calls tcp:192.0.2.2 7 5 2 && peer dgram-ask udp:10.77.0.2 7 5 100"
	expect works "$(guest_exec -t 50 g1 "wget -q -O - http://10.77.0.2:7/x")"
}

attack() { # NAME
	attack_begin "$1"
	attack_end "$1"
}
attack_begin() {
	local seconds=3
	[ "$HOST_KIND" = stock ] || seconds=1
	BEFORE=$(line_get g3 violations)
	guest_bg g3 "$1" "insmod /lib/circuit_hostile.ko attack=$1 seconds=$seconds victim=g2 port=7 \
		world=192.0.2.2"
}
attack_end() {
	local after ret
	while :; do
		ret=0
		guest_wait g3 "$1" 0 || ret=$?
		[ "$ret" -eq 124 ] || break	# still at it
		others_ok
	done
	expect 0 "$ret" "insmod"
	guest_exec g3 "dmesg | grep 'circuit_hostile: $1:' | tail -1; rmmod circuit_hostile"
	after=$(line_get g3 violations)
	t_note "$1: $((after - BEFORE)) violations"
	guest_exec g3 "dmesg | grep -q 'circuit_hostile: $1: .*result 0'"
	others_ok
}

# Versions that the operator does not speak: it says so to the guest, and in its log now and then.
versions() {
	local before from said
	from=$(lab_now)
	before=$(versions_logged)
	attack version
	said=$(($(versions_logged) - before))
	t_note "version: $said lines in the log"
	[ "$said" -gt 0 ]
	# At most ten in five seconds, wherever those begin.
	[ "$said" -le $((20 + ($(lab_now) - from) / 500000)) ]
}
versions_logged() { dmesg | grep -c 'circuit: line g3: guest speaks versions' || true; }

# Who rings and has nothing to tell is not heard more than 1,000 times a second, and nobody else notices.
doorbells() {
	local masked served storms from
	from=$(lab_now)
	masked=$(line_get g3 doorbells-masked)
	served=$(line_get g3 doorbells)
	storms=$(line_get g3 doorbells-storms)
	attack doorbells
	masked=$(($(line_get g3 doorbells-masked) - masked))
	served=$(($(line_get g3 doorbells) - served))
	t_note "doorbells: $served served, $masked masked, in $(($(line_get g3 doorbells-storms) - storms)) masks"
	# If there are more than are heard, which it takes a host for that has time for them.
	[ "$(rounds doorbells)" -lt 6000 ] || [ "$masked" -gt 0 ]
	# At once, and what is heard at the end of each mask.
	storms=$(($(line_get g3 doorbells-storms) - storms))
	[ "$served" -le $((($(lab_now) - from) / 1000 + 256 + storms)) ]
	expect 0 "$(line_get g1 doorbells-storms)" "storms of g1's"
	expect 0 "$(line_get g2 doorbells-storms)" "storms of g2's"
	# It is heard again, for all that it marks; what it marks for nothing it is not heard for.
	storms=$(line_get g3 doorbells-storms)
	attack marks
	[ "$(rounds marks)" -lt 6000 ] || [ "$(line_get g3 doorbells-storms)" -gt "$storms" ]
}
rounds() { # ATTACK
	guest_exec g3 "dmesg | sed -n 's/.*circuit_hostile: $1: \([0-9]*\) rounds.*/\1/p' | tail -1"
}

# A storm of calls waits for the line's turns, not only for a thread of its own.
storm_of_calls() {
	local before after used
	before=$(looks g3) used=$(line_get g3 cpu-ns)
	attack calls
	after=$(looks g3)
	t_note "calls: $((after - before)) turns, $((($(line_get g3 cpu-ns) - used) / 1000000)) ms"
	[ "$after" -gt "$before" ]
	# And it has no more of the operator's time than the line may, at once or in turns.
	"$CIRCUIT" line set g3 cpu 1%
	before=$(line_get g3 cpu-waited-ns)
	attack calls
	[ "$(line_get g3 cpu-waited-ns)" -gt "$before" ]
	"$CIRCUIT" line set g3 cpu none
}
looks() { json_get "$("$CIRCUIT" -j stat "$1")" looks; }

# Whatever a guest says of itself, the policy knows whose line it is.
gains_nothing() {
	local before refused
	"$CIRCUIT" policy load - <<<$'default connect\nreject from line g3\nreject to line g3'
	before="$(line_get g3 calls-out) $(line_get g3 calls-in)"
	refused=$(line_get g3 calls-refused)
	# Its lies are of all kinds, and those that end it may come before any call, again and again on a slow host.
	for _ in 1 2 3 4 5; do
		attack lies
		[ "$(line_get g3 calls-refused)" -eq "$refused" ] || break
	done
	expect "$before" "$(line_get g3 calls-out) $(line_get g3 calls-in)" "calls"
	expect 0 "$(line_get g3 listeners)" "listeners"
	[ "$(line_get g3 calls-refused)" -gt "$refused" ]
	"$CIRCUIT" policy load - <<<'default connect'
}

# Who does not ask whether he may send is not listened to, and nobody else has less for it.
sends_too_much() {
	"$CIRCUIT" line set g3 send 64k/s
	attack rate
	guest_exec g3 "dmesg | grep 'bytes taken' | tail -1"
	# What it has to ask about is limited now, and it does.
	attack rings
	"$CIRCUIT" line set g3 send none
	"$CIRCUIT" line set g3 send-messages 100/s
	attack messages
	guest_exec g3 "dmesg | grep 'messages taken' | tail -1"
	"$CIRCUIT" line set g3 send-messages none
	# A limit that comes later: of what was written when it did not know of it, all gets there.
	attack_begin limit
	wait_for 20 guest_exec g3 "dmesg | grep 'circuit_hostile: sends'"
	"$CIRCUIT" line set g3 send 64k/s
	attack_end limit
	guest_exec g3 "dmesg | grep 'bytes taken after' | tail -1"
	"$CIRCUIT" line set g3 send none
}

gone() {
	guest_kill9 g3
	wait_for 20 line_is g3 detached
	expect 0/0/0 "$(line_usage g3)"
	expect 0 "$(line_get g3 memory)"
	others_ok
	stay_end g1 stream messages redirected
	guest_bg_kill g2 victim
	guest_bg_kill g2 messages
	guest_bg_kill g2 redirected
	guest_bg_kill g2 bystander
	guest_bg_kill g2 box
	guest_bg_kill g2 udp
	guest_bg_kill g2 web
	kill "$(<"$LAB_RUN/world")"
	"$CIRCUIT" line set g1 trunk none
	"$CIRCUIT" line set g3 trunk none
	wait_for 20 line_idle g1
	wait_for 20 line_idle g2
	wait_for 20 nothing_shown
	"$CIRCUIT" trunk del wan
	ip netns del out
}

nothing_shown() { [ "$("$CIRCUIT" -j show | tr -d ' \n')" = '[]' ]; }

# A line that was put out of service comes back with an honest guest.
honest_again() {
	guest_start g3 --line g3 --net
	wait_for 20 line_is g3 up
	transfer g3 g2 100000
	transfer g1 g3 100000
}

t_run -t 120 "two guests and an evil one" setup
for a in garbage lies index scribble window epochs rings records flows datagrams forge trunk; do
	t_run "attack: $a" attack "$a"
done
t_run "attack: version" versions
t_run "attacks: doorbells, marks" doorbells
t_run "attack: calls" storm_of_calls
t_run "lies to a policy that allows nothing" gains_nothing
t_run "sends more than it may" sends_too_much
t_run "the evil guest is gone, and so is all it had" gone
t_run "its line serves an honest guest" honest_again
