# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# faults - every allocation on every set-up path fails in turn: the call, listen or attach
# fails with a clean error and the next one works. On the side or sides that have the debug kernel.
#
# lab: --timeout 1200
. "$TOP/selftests/e2e/common.sh"

setup() {
	local g
	guests_up g1 g2
	[ "$GUEST_KIND" = stock ] || guest_exec g1 "$NTH"
	[ "$HOST_KIND" = stock ] || sh -c "$NTH"
	guest_bg g2 echo "peer echo 6000"
	guest_bg g2 seq "peer seq echo 6000"
	guest_bg g2 box "peer dgram-echo 6000"
	guest_exec g1 "peer calls g2 6000 5 1 && peer seq calls g2 6000 5 1"
	wait_for 20 grep -q bound "$(guest_bg_log g2 box)"
	guest_exec g1 "peer dgram-ask g2 6000 5 100"
	# TCP and UDP between the two, which only circuits lead to.
	for g in g1 g2; do
		"$CIRCUIT" line set "$g" addr "10.77.0.${g#g}"
		guest_exec "$g" "ip route add unreachable 10.77.0.0/24 2>/dev/null; echo 1 >/proc/sys/net/circuit/redirect"
	done
	guest_bg g2 tcp "peer tcp echo 6010"
	guest_bg g2 udp "peer dgram-echo udp:6010"
	wait_for 20 grep -q bound "$(guest_bg_log g2 udp)"
	guest_exec g1 "peer calls tcp:10.77.0.2 6010 5 1"
	guest_exec g1 "peer dgram-ask udp:10.77.0.2 6010 5 100"
}

# In the guest: every allocation of socket, bind, listen, connect, accept, send, recv, mmap.
guest_nth() {
	guest_exec -t 100 g1 "peer nth g2 6000"
	guest_exec g1 "peer calls g2 6000 5 1"
	guest_exec -t 100 g1 "peer nth tcp:10.77.0.2 6010"
	guest_exec g1 "peer calls tcp:10.77.0.2 6010 5 1"
	# In a namespace where nothing has been remembered yet.
	guest_exec -t 100 g1 'unshare -n sh -c "ip link set lo up; peer tcp echo 6011 >/dev/null 2>&1 &
		peer calls tcp:127.0.0.1 6011 1 1 && echo 1 >/proc/sys/net/circuit/redirect &&
		peer nth tcp:127.0.0.1 6011; ret=\$?; kill \$!; exit \$ret"'
}

# The same of messages and datagrams, and of UDP.
guest_nth_messages() {
	guest_exec -t 100 g1 "peer seq nth g2 6000"
	guest_exec g1 "peer seq calls g2 6000 5 1"
	guest_exec -t 100 g1 "peer dgram-nth g2 6000"
	guest_exec g1 "peer dgram-ask g2 6000 5 100"
	guest_exec -t 100 g1 "peer dgram-nth udp:10.77.0.2 6010"
	guest_exec g1 "peer dgram-ask udp:10.77.0.2 6010 5 100"
}

# And of redirection, which is armed anew only when it has been off for a while.
guest_redirect() {
	guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect"
	wait_for 20 guest_exec g1 "! grep -q inet_create /sys/kernel/debug/kprobes/list"
	guest_exec -t 100 g1 'cd /proc/sys/net/circuit && peer nth-write redirect 1 redirect 0 4000'
	expect 1 "$(guest_exec g1 "cat /proc/sys/net/circuit/redirect")"
	guest_exec g1 "grep inet_create /sys/kernel/debug/kprobes/list"
	guest_exec g1 "peer calls tcp:10.77.0.2 6010 5 1 && peer dgram-ask udp:10.77.0.2 6010 5 100"
}

# The same of a device that the driver is to take, and of the module being loaded.
guest_attach() {
	# The kernel makes files in /proc/irq without looking whether it could, and then misses them.
	splat_expected g1 'WARNING: .* remove_proc_entry\+'
	guest_exec -t 100 g1 'cd /sys/bus/pci/drivers/circuit_guest && d=$(echo 0000:*) && echo $d >unbind &&
		peer nth-write bind $d unbind'
	wait_for 10 line_is g1 up
	guest_exec g1 "peer calls g2 6000 5 1"
}
guest_load() {
	local device
	# Redirection holds the module.
	guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect"
	splat_expected g1 'WARNING: .* event_define_fields\+'	# of a trace event there was no memory for
	device=$(guest_exec g1 'cd /sys/bus/pci/drivers/circuit_guest && echo 0000:*')
	wait_for 10 guest_exec g1 "rmmod circuit_guest"
	guest_exec -t 100 g1 'echo 0 >/sys/bus/pci/drivers_autoprobe
		peer nth-insmod /lib/modules/*/circuit_guest.ko circuit_guest &&
		echo 1 >/sys/bus/pci/drivers_autoprobe'
	line_is g1 attached
	guest_exec g1 "echo $device >/sys/bus/pci/drivers/circuit_guest/bind; echo 1 >/proc/sys/net/circuit/redirect"
	wait_for 10 line_is g1 up
	guest_exec g1 "peer calls g2 6000 5 1"
	# The kernel loses the name of a slab cache whose files in /sys it has no memory for. Nothing else is
	# lost; what is must be 5 s old to be found.
	guest_exec -t 100 g1 'f=/sys/kernel/debug/kmemleak; sleep 6; echo scan >$f; echo scan >$f
		[ "$(grep -c "unreferenced object" $f)" = "$(grep -c "] sysfs_slab_add+" $f)" ] || { cat $f; exit 1; }
		echo clear >$f'
}

# Everything that one of our modules allocates fails at random, one time in seven. Only
# ours: a failure counts if the module's text is on the stack. But for TCP's FIN and RST, in two
# functions next to each other: if there is no memory for those, they are never sent, and the other
# side waits for good.
# shellcheck disable=SC2016
RANDOM_ON='
set -- $(grep "^MODULE " /proc/modules)
start=$6 end=$(printf "0x%x" $(($6 + $2)))
set -- $(awk "/ tcp_send_fin\$/ { start = \$1 } seen { print start, \$1; exit }
	/ tcp_send_active_reset\$/ { seen = 1 }" /proc/kallsyms)
for d in /sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc; do
	echo 0 >$d/verbose; echo N >$d/ignore-gfp-wait
	echo $start >$d/require-start; echo $end >$d/require-end
	echo 0x$1 >$d/reject-start; echo 0x$2 >$d/reject-end
	echo 1 >$d/interval; echo -1 >$d/times; echo 15 >$d/probability
done'
# shellcheck disable=SC2016
RANDOM_OFF='for d in /sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc; do
	echo 0 >$d/probability; done'

# sixty [WHOM PORT]: how many of sixty attempts work; none may hang.
sixty() {
	guest_exec -t 60 g1 "peer attempts ${1:-g2} ${2:-6000} 60" ||
		{ "$CIRCUIT" -s show; "$CIRCUIT" -s line show; return 1; } >&2
}
# asked ADDRESS PORT: how many of thirty that ask one datagram each are answered.
asked() { guest_exec -t 60 g1 "peer dgram-attempts udp:$1 $2 30"; }

# circuit(8), which may find that there is no memory, and nothing else wrong: TCP has several words for that.
short=0
wants() { # ARG...
	local said
	said=$("$CIRCUIT" "$@" 2>&1 >/dev/null </dev/null) && return
	grep -qE 'Cannot allocate memory|No buffer space|Too many open files in system|somebody listens' <<<"$said" || {
		echo "$*: $said" >&2
		exit 1
	}
	short=$((short + 1))
	return 1
}
gets() { until wants "$@"; do :; done; } # ARG...: in the end
all_there_is() {
	"$CIRCUIT" -j line show | grep -o '"name":"[^"]*'
	"$CIRCUIT" trunk show
	"$CIRCUIT" expose show
	"$CIRCUIT" group show
}

# What the administrator makes is made as a whole or not at all, and goes: a table, and some of each of the rest.
tables() {
	local i json to
	for i in 0 1; do
		printf '%s\n' "default connect" "connect to line g2 calls 1000/s comment \"t$i\"" \
			"connect from group x$i to 192.0.2.$i bytes 1M/s log comment \"t$i\"" \
			"reject on listen port 9 uid $i comment \"t$i\"" >"$LAB_RUN/table.$i"
	done
	gets policy load "$LAB_RUN/table.0"
	for i in $(seq 8); do
		wants policy load "$LAB_RUN/table.$((i % 2))" || true
		until json=$("$CIRCUIT" -j policy show 2>/dev/null); do :; done
		expect 3 "$(grep -o '"comment":"t[01]"' <<<"$json" | wc -l)" "rules of $json"
		expect 1 "$(grep -o '"comment":"t[01]"' <<<"$json" | sort -u | wc -l)" "tables of $json"
	done
	for i in $(seq 3); do
		for to in 192.0.2.0/24 2001:db8::/32; do
			! wants trunk add "t$i" host to $to congestion reno idle 5 || gets trunk del "t$i"
		done
		! wants expose add g2:6010 on 127.0.0.1:6021 || gets expose del 127.0.0.1:6021
		! wants expose add g2:6010 on 127.0.0.1:6021 type dgram || gets expose del 127.0.0.1:6021 type dgram
		! wants group set "x$((i % 2))" circuits 5 calls 5/s send 1M/s cpu 50 || gets group del "x$((i % 2))"
	done
	[ "$short" -gt 0 ]
	t_note "$short times there was no memory for what the administrator wanted"
}

host_random() {
	local ok i json there listens listened
	there=$(all_there_is)
	listened=$(line_get g2 listeners)
	"$CIRCUIT" line add half addr 10.77.1.1 group half1
	trap 'sh -c "$RANDOM_OFF"' EXIT
	bash -c "${RANDOM_ON/MODULE/circuit_host}"
	ok=$(sixty)
	for i in $(seq 8); do
		wants line add "f$i" || continue
		"$CIRCUIT" -j line show >/dev/null 2>&1 || true
		gets line del "f$i"
	done
	# What is changed at once is changed as a whole or not at all.
	for i in $(seq 1 16); do
		"$CIRCUIT" line set half addr "10.77.1.$((i % 2))" group "half$((i % 2))" >/dev/null 2>&1 || true
		until json=$("$CIRCUIT" -j line show half 2>/dev/null); do :; done
		expect "$(grep -o '10\.77\.1\.[01]' <<<"$json")" "10.77.1.$(grep -o 'half[01]' <<<"$json" | tr -d half)"
	done
	tables
	listens=$(guest_exec -t 60 g2 "peer listens 6005 60")
	sh -c "$RANDOM_OFF"
	"$CIRCUIT" line del half
	t_note "$ok of 60 calls and $listens of 60 listeners worked while the operator's allocations failed"
	guest_exec g1 "peer calls g2 6000 20 2"
	[ "$ok" -lt 60 ]
	[ "$listens" -lt 60 ]
	# With memory, all of that works, and nothing of it is left.
	expect 5 "$(guest_exec g2 "peer listens 6005 5")" "listeners"
	wait_for 10 listens_as_before "$listened"
	"$CIRCUIT" policy load "$LAB_RUN/table.1"
	"$CIRCUIT" policy load - <<<'default connect'
	"$CIRCUIT" trunk add t1 host to 192.0.2.0/24
	"$CIRCUIT" expose add g2:6010 on 127.0.0.1:6021 trunk t1
	bad 'lines or exposed ports have that trunk' trunk del t1
	"$CIRCUIT" expose del 127.0.0.1:6021 trunk t1
	"$CIRCUIT" trunk del t1
	"$CIRCUIT" group set x1 circuits 5
	"$CIRCUIT" group del x1
	expect "$there" "$(all_there_is)" "lines, trunks, exposed ports and groups"
}
listens_as_before() { [ "$(line_get g2 listeners)" = "$1" ]; } # N

# The same of calls to the host's stack and from there.
trunk_random() {
	local peer out in udp_out udp_in pid
	peer=$(dirname "$CIRCUIT")/../tests/peer
	ip address add 192.0.2.99/32 dev lo
	"$peer" tcp echo 6001 >/dev/null 2>&1 {LAB_OUT}>&- &
	pid=$!
	"$CIRCUIT" trunk add wan host
	"$CIRCUIT" line set g1 trunk wan
	guest_bg g1 echo "peer tcp echo 6002"
	"$CIRCUIT" expose add g1:6002 on 192.0.2.99:6003
	"$peer" dgram-echo udp:6001 >/dev/null 2>&1 {LAB_OUT}>&- &
	pid="$pid $!"
	guest_bg g1 udp "peer dgram-echo udp:6002"
	"$CIRCUIT" expose add g1:6002 on 192.0.2.99:6003 type dgram
	wait_for 20 grep -q bound "$(guest_bg_log g1 udp)"
	wait_for 20 sh -c "ss -Hlun sport = :6001 | grep -q ."
	guest_exec g1 "peer calls tcp:192.0.2.99 6001 5 1"
	timeout 20 "$peer" calls tcp:192.0.2.99 6003 5 1
	guest_exec g1 "peer dgram-ask udp:192.0.2.99 6001 5 100"
	timeout 20 "$peer" dgram-ask udp:192.0.2.99 6003 5 100
	trap 'sh -c "$RANDOM_OFF"' EXIT
	bash -c "${RANDOM_ON/MODULE/circuit_host}"
	out=$(sixty tcp:192.0.2.99 6001)
	in=$(timeout 120 "$peer" attempts tcp:192.0.2.99 6003 60) ||
		{ "$CIRCUIT" -s show; "$CIRCUIT" -s expose show; ss -atien; return 1; } >&2
	udp_out=$(asked 192.0.2.99 6001)
	udp_in=$(timeout 120 "$peer" dgram-attempts udp:192.0.2.99 6003 30)
	sh -c "$RANDOM_OFF"
	t_note "$out of 60 calls out and $in of 60 in worked while the operator's allocations failed"
	t_note "of 30 datagrams each were answered: $udp_out out, $udp_in in"
	guest_exec g1 "peer calls tcp:192.0.2.99 6001 20 2"
	timeout 60 "$peer" calls tcp:192.0.2.99 6003 20 2
	guest_exec g1 "peer dgram-ask udp:192.0.2.99 6001 20 100"
	timeout 20 "$peer" dgram-ask udp:192.0.2.99 6003 20 100
	[ "$in" -lt 60 ]
	[ $((udp_out + udp_in)) -lt 60 ]
	guest_bg_kill g1 echo
	guest_bg_kill g1 udp
	"$CIRCUIT" expose del 192.0.2.99:6003
	"$CIRCUIT" expose del 192.0.2.99:6003 type dgram
	"$CIRCUIT" line set g1 trunk none
	wait_for 20 "$CIRCUIT" trunk del wan
	# shellcheck disable=SC2086 # two
	kill $pid
	ip address del 192.0.2.99/32 dev lo
}

guest_random() { # GUEST
	local ok tcp udp
	guest_exec "$1" "${RANDOM_ON/MODULE/circuit_guest}"
	ok=$(sixty)
	tcp=$(sixty tcp:10.77.0.2 6010)
	udp=$(asked 10.77.0.2 6010)
	guest_exec "$1" "$RANDOM_OFF"
	t_note "while the allocations of $1 failed worked $ok of 60 calls, $tcp of 60 of TCP's, and $udp of 30 of UDP's"
	guest_exec g1 "peer calls g2 6000 20 2"
	guest_exec g1 "peer calls tcp:10.77.0.2 6010 20 2"
	guest_exec g1 "peer dgram-ask udp:10.77.0.2 6010 20 100"
	[ $((ok + tcp + udp)) -lt 150 ]
}

# Attaching a VM, the same way.
host_attach() {
	"$CIRCUIT" line add f
	python3 - "$CIRCUIT" <<'P'
import os, subprocess, sys
n, failed = 1, 0
while True:
    pid = os.fork()
    if not pid:
        # Inherited over exec; what runs is "true", attached for a moment.
        with open("/proc/thread-self/fail-nth", "w") as f:
            f.write(str(n))
        os.execv(sys.argv[1], [sys.argv[1], "line", "run", "f", "--", "/bin/true"])
    _, status = os.waitpid(pid, 0)
    failed += status != 0
    n += 1
    if n > 120:
        break
print(failed, "of", n - 1, "attempts failed")
sys.exit(not failed)
P
	"$CIRCUIT" line run f -- /bin/true
	"$CIRCUIT" line del f
}

ended() {
	guest_bg_kill g2 echo
	guest_bg_kill g2 seq
	guest_bg_kill g2 box
	guest_bg_kill g2 tcp
	guest_bg_kill g2 udp
	nothing_left
}

if [ "$HOST_KIND$GUEST_KIND" = stockstock ]; then
	t_skip -n "faults" "needs a debug kernel"
	return
fi
t_run -t 120 "two guests" setup
if [ "$GUEST_KIND" = debug ]; then
	t_run -t 120 "guest: every allocation fails once" guest_nth
	t_run -t 120 "guest: every allocation of messages and datagrams fails once" guest_nth_messages
	t_run -t 120 "guest: every allocation of redirection fails once" guest_redirect
	t_run -t 120 "guest: every allocation of an attach fails once" guest_attach
	t_run -t 120 "guest: allocations of loading the module fail" guest_load
	t_run -t 120 "calling guest: allocations fail at random" guest_random g1
	t_run -t 120 "called guest: allocations fail at random" guest_random g2
fi
if [ "$HOST_KIND" = debug ]; then
	t_run -t 200 "operator: allocations fail at random" host_random
	t_run -t 120 "operator: allocations fail at random, over a trunk" trunk_random
	t_run -t 120 "operator: every allocation of an attach fails once" host_attach
fi
t_run "nothing is left" ended
