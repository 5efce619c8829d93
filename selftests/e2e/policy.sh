# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# policy - who may call whom: rules of every kind, seen from the guests, from the administrator
# and from who is neither.
#
# lab: --timeout 1500
. "$TOP/selftests/e2e/common.sh"

OUT=192.0.2.2

load() { "$CIRCUIT" policy load -; }
# outcomes N WHERE PORT: what becomes of N calls of g1's, on one line
outcomes() { guest_exec -t 50 g1 "peer outcomes $2 $3 $1" | paste -sd,; }
becomes() { expect "$1" "$(outcomes 1 "$2" "$3")" "$2 port $3"; }
hits() { # N: of rule N
	"$CIRCUIT" -s policy | sed -n "s/.*# hits \([0-9]*\).*/\1/p" | sed -n "$(($1 + 1))p"
}
decides() { # WANT ARG...: what explain says, before the colon's first comma
	expect "$1" "$("$CIRCUIT" -j explain "${@:2}" | sed 's/.*"verdict":"\([a-z]*\)".*/\1/')" "explain ${*:2}"
}

nothing_at_first() {
	host_up
	ip netns add fresh
	expect "default reject" "$("$CIRCUIT" -n fresh policy)"
	ip netns del fresh
}

setup() {
	guests_up g1 g2
	namespace out 2
	"$CIRCUIT" trunk add wan to 192.0.2.0/24
	"$CIRCUIT" line set g1 addr 10.77.0.1 addr fd00:77::1 trunk wan group web group blue
	"$CIRCUIT" line set g2 addr 10.77.0.2 addr fd00:77::2 group db
	for g in g1 g2; do
		guest_exec "$g" "echo 1 >/proc/sys/net/circuit/redirect"
		guest_exec "$g" "ip route add unreachable 10.77.0.0/24 2>/dev/null; true"
	done
	guest_bg g2 seven "peer echo 7"
	guest_bg g2 tcp7 "peer tcp6 echo 7"
	setsid ip netns exec out "$(dirname "$CIRCUIT")/../tests/peer" tcp echo 7 >/dev/null 2>&1 {LAB_OUT}>&- &
	echo $! >"$LAB_RUN/world"
	wait_for 10 published 2
	becomes "connected 1" g2 7
	becomes "connected 1" tcp:10.77.0.2 7
	becomes "connected 1" tcp:$OUT 7
}
published() { [ "$(line_get g2 listeners)" = "$1" ]; }

by_default() {
	"$CIRCUIT" policy default reject
	becomes "ECONNREFUSED 1" g2 7
	becomes "ECONNREFUSED 1" tcp:10.77.0.2 7
	becomes "ECONNREFUSED 1" tcp:fd00:77::2 7
	becomes "ECONNREFUSED 1" tcp:$OUT 7
	# What is none of the exchange's business is still none of it.
	becomes "EHOSTUNREACH 1" tcp:10.77.0.3 7
	fails guest_exec g1 "peer echo 70" 2>&1 | grep "Permission denied"
	decides reject g1 g2:7
	decides reject g1 10.77.0.2:7
	decides native g1 10.77.0.3:7
	decides reject g1 listen 70
	"$CIRCUIT" policy default connect
	becomes "connected 1" g2 7
}

verdicts() {
	load <<-'P'
		default reject
		reject on call from line g1 to line g2 port 8 error EACCES
		native to 10.77.0.2/32 port 9 comment "its own network has no way there"
		connect on call,listen from group web to group db port 7-9
		trunk wan to 192.0.2.0/24 port 7 ring 16k
		reject to trunks error ENETUNREACH
		connect on listen port 70
	P
	becomes "EACCES 1" g2 8
	becomes "EACCES 1" tcp:10.77.0.2 8
	becomes "EHOSTUNREACH 1" tcp:10.77.0.2 9
	becomes "connected 1" g2 7
	becomes "connected 1" tcp:10.77.0.2 7
	becomes "connected 1" tcp:fd00:77::2 7
	becomes "ECONNREFUSED 1" g2 10
	"$CIRCUIT" line set g1 trunk none
	becomes "connected 1" tcp:$OUT 7
	"$CIRCUIT" line set g1 trunk wan
	becomes "ENETUNREACH 1" tcp:$OUT 8
	expect "2 1 3 1 1 0" "$(hits 1) $(hits 2) $(hits 3) $(hits 4) $(hits 5) $(hits 6)" "hits"
	decides reject g1 g2:8
	decides native g1 10.77.0.2:9
	decides connect g1 g2:7
	decides trunk g1 $OUT:7
	decides reject g1 $OUT:8
	decides reject g2 10.77.0.1:7
	decides connect g2 listen 70
	expect "2 1 3 1 1 0" "$(hits 1) $(hits 2) $(hits 3) $(hits 4) $(hits 5) $(hits 6)" "hits after explain"
	guest_bg g1 seventy "peer echo 70"
	wait_for 10 sh -c "'$CIRCUIT' -s policy | grep -q 'port 70 # hits 1'"
	guest_bg_kill g1 seventy
}

# A small ring for who may have no greater one.
rings() {
	printf 'default connect\nconnect to line g2 ring 4k\n' | load
	guest_bg g2 hold "peer hold-listen 3300 1 65536"
	guest_bg g1 held "mkfifo /tmp/held; peer hold g2 3300 1 65536 /tmp/held"
	wait_for 20 sh -c "'$CIRCUIT' -j show | grep -q '\"ring\":4096'"
	fails sh -c "'$CIRCUIT' -j show | grep -q '\"ring\":65536'"
	guest_exec g1 ": >/tmp/held"
	guest_wait g2 hold
}

dropped() {
	echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
	printf 'default connect\ndrop on call port 7\n' | load
	becomes "ETIMEDOUT 1" g2 7
	becomes "ETIMEDOUT 1" tcp:10.77.0.2 7
	becomes "ETIMEDOUT 1" tcp:$OUT 7
	echo 6 >/proc/sys/net/ipv4/tcp_syn_retries
	# and if the caller has no such patience
	guest_bg g1 waits "exec peer outcomes g2 7 1"
	wait_for 10 sh -c "'$CIRCUIT' -j line show g1 | grep -q '\"pending\":1'"
	guest_bg_kill g1 waits
	wait_for 10 line_idle g1
}

rates() {
	printf 'default connect\nconnect on call port 7 calls 1/s\n' | load
	outcomes 100 g2 7 | tee "$LAB_RUN/rates"
	# What came in the time that this took, which is less than a second for each.
	grep -q '^connected [1-9][0-9]*,EAGAIN [1-9][0-9]*$' "$LAB_RUN/rates"
	"$CIRCUIT" -s policy | grep 'limited [1-9]'
}

hints() {
	printf 'default connect\nreject on call uid 1000 error EPERM\n' | load
	becomes "connected 1" g2 7
	expect "EPERM 1" "$(guest_exec g1 "peer as 1000 outcomes g2 7 1")"
	expect "EPERM 1" "$(guest_exec g1 "peer as 1000 outcomes tcp:10.77.0.2 7 1")"
	expect "connected 1" "$(guest_exec g1 "peer as 1001 outcomes g2 7 1")"
	decides reject g1 g2:7 uid 1000
	decides connect g1 g2:7 uid 1001
	guest_exec g1 "mkdir -p /tmp/cg && mount -t cgroup2 none /tmp/cg && mkdir -p /tmp/cg/x"
	local id
	id=$(guest_exec g1 "stat -c %i /tmp/cg/x")
	printf 'default connect\nreject on call cgroup %s error EPERM\n' "$id" | load
	becomes "connected 1" g2 7
	expect "EPERM 1" "$(guest_exec g1 "sh -c 'echo \$\$ >/tmp/cg/x/cgroup.procs; exec peer outcomes g2 7 1'")"
	guest_exec g1 "rmdir /tmp/cg/x; umount /tmp/cg"
}

# The world's calls to a port that is exposed.
exposed() {
	"$CIRCUIT" expose add g2:7 on 192.0.2.1:77
	printf 'default reject\nconnect on expose from 192.0.2.2 to line g2 port 7\n' | load
	ip netns exec out "$(dirname "$CIRCUIT")/../tests/peer" outcomes tcp:192.0.2.1 77 1
	ip netns exec out timeout 20 "$(dirname "$CIRCUIT")/../tests/peer" calls tcp:192.0.2.1 77 3 1
	decides connect expose from 192.0.2.2 to g2:7
	decides reject expose from 192.0.2.3 to g2:7
	ip -n out address add 192.0.2.3/24 dev eth0
	ip -n out route add 192.0.2.1 dev eth0 src 192.0.2.3
	# TCP has taken the call before it is known who calls: what the caller sees is the end of it.
	fails ip netns exec out timeout 20 "$(dirname "$CIRCUIT")/../tests/peer" calls tcp:192.0.2.1 77 1 1
	ip -n out route del 192.0.2.1 dev eth0
	"$CIRCUIT" expose del 192.0.2.1:77
	wait_for 10 line_idle_but_listening g2
}
line_idle_but_listening() { [[ $(line_usage "$1") == 0/0/* ]]; }

# What is connected goes on under another table, until it is told otherwise.
reapplied() {
	"$CIRCUIT" policy flush
	"$CIRCUIT" policy default connect
	guest_bg g2 one "peer drain 3401"
	guest_bg g2 two "peer drain 3402"
	guest_bg g1 one "peer flood g2 3401"
	guest_bg g1 two "peer flood g2 3402"
	wait_for 10 grep -q draining "$(guest_bg_log g2 one)"
	wait_for 10 grep -q draining "$(guest_bg_log g2 two)"
	"$CIRCUIT" policy add reject on call port 3401
	becomes "ECONNREFUSED 1" g2 3401
	fails grep -q reset "$(guest_bg_log g1 one)"
	"$CIRCUIT" policy reapply | grep -w 1
	guest_wait g1 one | tail -1 | grep -i 'broken pipe\|reset by peer'
	guest_wait g2 one | tail -1 | grep 'reset by peer'
	fails grep -q reset "$(guest_bg_log g1 two)"
	"$CIRCUIT" policy reapply | grep -w 0
	guest_bg_kill g1 two
	guest_bg_kill g2 two
}

# Those that dial: to whom nobody answers.
reapplied_dialling() {
	local away=192.0.2.99

	ip neigh replace "$away" lladdr 02:00:00:00:00:99 dev "$(ip -o route get "$OUT" | sed 's/.* dev \([^ ]*\).*/\1/')" nud permanent
	"$CIRCUIT" trunk add other to 192.0.2.0/24
	printf 'default connect\ntrunk wan port 7\n' | load
	guest_bg g1 dials "exec peer outcomes tcp:$away 7 1"
	wait_for 10 sh -c "'$CIRCUIT' -j line show g1 | grep -q '\"pending\":1'"
	"$CIRCUIT" policy reapply | grep -w 0
	printf 'default connect\ntrunk other port 7\n' | load
	"$CIRCUIT" policy reapply | grep -w 1
	expect "ECONNREFUSED 1" "$(guest_wait g1 dials)"
	printf 'default connect\n' | load
	wait_for 10 line_idle g1
	"$CIRCUIT" trunk del other
}

# Ten thousand rules, and back again byte for byte.
many() {
	local start end
	{
		echo "default connect"
		awk 'BEGIN {
			for (i = 0; i < 10000; i++) {
				if (i % 4 == 0) printf "reject from line vm%d port %d\n", i, i
				if (i % 4 == 1) printf "connect to 10.%d.%d.0/24 port %d-%d\n", i / 256, i % 256, i, i + 99
				if (i % 4 == 2) printf "native from group g%d to 2001:db8:%x::/48\n", i % 100, i
				if (i % 4 == 3) printf "reject port %d uid %d comment \"number %d\"\n", i, i, i
			} }'
	} >"$LAB_RUN/table"
	"$CIRCUIT" policy check "$LAB_RUN/table" >"$LAB_RUN/canonical"
	start=$(date +%s%N)
	"$CIRCUIT" policy load "$LAB_RUN/canonical"
	end=$(date +%s%N)
	t_note "10,000 rules loaded in $(((end - start) / 1000000)) ms, emulated"
	"$CIRCUIT" policy >"$LAB_RUN/shown"
	cmp "$LAB_RUN/canonical" "$LAB_RUN/shown"
	becomes "connected 1" g2 7
	# One that is wrong, and everything stays as it is.
	sed '5000s/.*/trunk nowhere port 5/' "$LAB_RUN/canonical" >"$LAB_RUN/wrong"
	fails "$CIRCUIT" policy load "$LAB_RUN/wrong" 2>&1 | grep 'wrong:5000: .*no such trunk'
	"$CIRCUIT" policy | cmp "$LAB_RUN/canonical" -
}

# Either table or the other: one with half of each, or none at all, would say something else.
atomically() {
	local n=500 i
	[ "$HOST_KIND" = stock ] || n=100
	awk 'BEGIN { print "default connect"; for (i = 0; i < 99; i++) print "reject error EACCES port " i }' >"$LAB_RUN/a"
	sed 's/EACCES/EPERM/' "$LAB_RUN/a" >"$LAB_RUN/b"
	"$CIRCUIT" policy load "$LAB_RUN/a"
	guest_bg g1 storm "while :; do peer outcomes g2 98 20; done"
	wait_for 20 grep -q EACCES "$(guest_bg_log g1 storm)"
	for ((i = 0; i < n; i++)); do
		printf 'policy load %s\n' "$LAB_RUN/b" "$LAB_RUN/a"
	done | "$CIRCUIT" -b -
	"$CIRCUIT" policy load "$LAB_RUN/b"
	wait_for 60 sh -c "[ \$(grep -c EPERM '$(guest_bg_log g1 storm)') -gt 1 ]"
	guest_bg_kill g1 storm
	expect "EACCES EPERM" "$(cut -d' ' -f1 "$(guest_bg_log g1 storm)" | sort -u | paste -sd' ')"
}

audited() {
	"$CIRCUIT" policy load - <<<'default reject'
	becomes "ECONNREFUSED 1" g2 7
	"$CIRCUIT" policy add reject port 7
	becomes "ECONNREFUSED 1" g2 7
	dmesg | grep 'circuit: policy: line g1: call .*rejected by default'
	dmesg | grep 'circuit: policy: line g1: call .*rejected by rule 1'
}

edited() {
	"$CIRCUIT" policy load - <<<'default connect'
	"$CIRCUIT" policy add reject port 1
	"$CIRCUIT" policy add reject port 2
	"$CIRCUIT" policy add at 2 reject port 3
	expect "default connect,reject port 1,reject port 3,reject port 2" "$("$CIRCUIT" policy | paste -sd,)"
	"$CIRCUIT" policy del 2
	expect "default connect,reject port 1,reject port 2" "$("$CIRCUIT" policy | paste -sd,)"
	fails "$CIRCUIT" policy del 3
	fails "$CIRCUIT" policy add trunk nowhere 2>&1 | grep 'no such trunk'
	"$CIRCUIT" policy add trunk wan port 5
	fails "$CIRCUIT" trunk del wan
	"$CIRCUIT" policy flush
	expect "default connect" "$("$CIRCUIT" policy)"
}

not_for_everybody() {
	fails setpriv --reuid 1000 --clear-groups "$CIRCUIT" policy
	fails setpriv --reuid 1000 --clear-groups "$CIRCUIT" policy default connect
	fails setpriv --reuid 1000 --clear-groups "$CIRCUIT" explain g1 g2:7
}

ended() {
	kill "$(<"$LAB_RUN/world")"
	"$CIRCUIT" policy load - <<<'default connect'
	"$CIRCUIT" line set g1 trunk none addr none group none
	"$CIRCUIT" line set g2 addr none group none
	guest_bg_kill g2 seven
	guest_bg_kill g2 tcp7
	wait_for 20 "$CIRCUIT" trunk del wan
	ip netns del out
	nothing_left
}

t_run "nothing is allowed at first" nothing_at_first
t_run -t 120 "two guests" setup
t_run "the default verdict" by_default
t_run "verdicts" verdicts
t_run "the size of rings" rings
t_run -t 120 "calls that get no answer" dropped
t_run "calls per second" rates
t_run "users and cgroups, as far as the guest tells" hints
t_run "the world's calls" exposed
t_run "what is no longer allowed" reapplied
t_run "nor dialled" reapplied_dialling
t_run -t 120 "ten thousand rules" many
t_run -t 300 "one table or the other" atomically
t_run "the log" audited
t_run "rules added and deleted" edited
t_run "only for administrators" not_for_everybody
t_run "nothing is left" ended
