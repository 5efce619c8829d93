# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# inet - programs that know nothing of circuits: their TCP sockets become circuits where the
# operator connects them, and stay TCP's where it does not.
#
# lab: --timeout 1800
. "$TOP/selftests/e2e/common.sh"

# Two guests with a network between them as well. Lines have the addresses of the guests' network
# cards, and one more each that only the exchange knows.
setup() {
	local g
	guests_up g1 g2
	for g in g1 g2; do
		"$CIRCUIT" line set "$g" addr "10.77.0.${g#g}" addr "$(guest_ip "$g")" addr "fd00:77::${g#g}"
		# Where only the exchange leads, TCP had better know that it does not.
		guest_exec "$g" "ip route add unreachable 10.77.0.0/24 2>/dev/null; true"
		guest_exec "$g" "mkdir /tmp/www; head -c 3000000 /dev/urandom >/tmp/www/file"
	done
}

redirect() { # GUEST on|off
	guest_exec "$1" "echo $([ "$2" = on ] && echo 1 || echo 0) >/proc/sys/net/circuit/redirect"
}

serve() { # GUEST PORT: a web server, which is not ours
	guest_bg "$1" "httpd$2" "httpd -f -p $2 -h /tmp/www"
	wait_for 10 guest_exec "$1" "netstat -ltn | grep -q ':$2 '"
}

# fetch FROM URL: with wget, which is not ours either; checksum, and how many calls it took.
fetch() {
	local before sum
	before=$(line_get "$1" calls-out)
	sum=$(guest_exec "$1" "wget -q -O - $2 | sha256sum") || return
	echo "${sum%% *} $(($(line_get "$1" calls-out) - before))"
}
sum_of() { # GUEST
	local sum
	sum=$(guest_exec "$1" "sha256sum </tmp/www/file") && echo "${sum%% *}"
}

off_at_first() {
	local sum
	sum=$(sum_of g2)
	serve g2 8000
	expect "$sum 0" "$(fetch g1 "http://$(guest_ip g2):8000/file")"
}

both_redirected() {
	local sum
	sum=$(sum_of g2)
	redirect g1 on
	redirect g2 on
	serve g2 8001
	expect "$sum 1" "$(fetch g1 http://10.77.0.2:8001/file)" "an address of the exchange's"
	expect "$sum 1" "$(fetch g1 "http://$(guest_ip g2):8001/file")" "the card's address"
	expect "$sum 1" "$(fetch g1 "http://[fd00:77::2]:8001/file")" "IPv6"
}

# Who listens at one address is found there, and nowhere else.
one_address() {
	local sum ip
	sum=$(sum_of g2)
	ip=$(guest_ip g2)
	guest_bg g2 one "httpd -f -p $ip:8003 -h /tmp/www"
	wait_for 10 guest_exec g2 "netstat -ltn | grep -q ' $ip:8003 '"
	expect "$sum 1" "$(fetch g1 "http://$ip:8003/file")" "the card's address"
	fails guest_exec g1 "wget -q -O /dev/null http://10.77.0.2:8003/file"
	guest_bg_kill g2 one
}

# The server was there before, or is not redirected: TCP, over the network.
server_native() {
	local sum
	sum=$(sum_of g2)
	expect "$sum 0" "$(fetch g1 "http://$(guest_ip g2):8000/file")"
}
# And its socket takes both at once.
client_native() {
	local sum
	sum=$(sum_of g2)
	redirect g1 off
	expect "$sum 0" "$(fetch g1 "http://$(guest_ip g2):8001/file")"
	redirect g1 on
	expect "$sum 1" "$(fetch g1 "http://$(guest_ip g2):8001/file")"
}
local_native() {
	local sum
	sum=$(sum_of g2)
	expect "$sum 0" "$(fetch g2 "http://127.0.0.1:8001/file")" loopback
	expect "$sum 0" "$(fetch g2 "http://$(guest_ip g2):8001/file")" "own address"
}

# Whoever has the kernel connect is no program: 9p over TCP, which a circuit would lead to a server.
kernels_sockets() {
	local before
	guest_exec g1 "modprobe 9p 2>/dev/null; modprobe 9pnet_fd 2>/dev/null; mkdir -p /tmp/9p
		grep -q 9p /proc/filesystems" || t_skip "a kernel without 9p"
	before=$(line_get g1 calls-out)
	refuses "No route to host" g1 "mount -t 9p -o trans=tcp,port=8001 10.77.0.2 /tmp/9p"
	expect "$before" "$(line_get g1 calls-out)" calls
	expect "$(sum_of g2) 1" "$(fetch g1 http://10.77.0.2:8001/file)" "a program's"
}

# What circuit(8) says in a guest of sockets: state, path and reason.
socks_to() { # GUEST ADDRESS:PORT
	guest_exec "$1" "circuit -o socks" | sed -n "s/ [^ ]* -> ${2//[/\\[} .*//p"
}
natives() { # GUEST REASON: how many sockets stayed TCP's for it
	local out
	out=$(guest_exec "$1" "circuit -o -s socks")
	[[ $out =~ native\ $2\ ([0-9]+) ]] || { echo 0; return; }
	echo "${BASH_REMATCH[1]}"
}
connected_to() { socks_to "$1" "$2" | grep -q estab; }

# Each socket says which path it took, and why.
why() {
	local before remote
	guest_bg g1 circuit "tail -f /dev/null | nc 10.77.0.2 8001"
	guest_bg g1 native "tail -f /dev/null | nc $(guest_ip g2) 8000"
	wait_for 10 connected_to g1 10.77.0.2:8001
	wait_for 10 connected_to g1 "$(guest_ip g2):8000"
	expect "estab circuit" "$(socks_to g1 10.77.0.2:8001)"
	expect "estab native reason no-listener" "$(socks_to g1 "$(guest_ip g2):8000")"
	remote=$(guest_exec g1 "circuit -o socks" | sed -n 's/.* 10.77.0.1:\([0-9]*\) -> .*/\1/p')
	expect "estab circuit" "$(socks_to g2 "[::ffff:10.77.0.1]:$remote")" "the far end"
	expect "listen both" "$(socks_listening g2 8001)"
	guest_bg_kill g1 circuit
	guest_bg_kill g1 native
	before=$(natives g1 this-machine)
	guest_exec g1 "nc 127.0.0.1 1 </dev/null; true"
	expect $((before + 1)) "$(natives g1 this-machine)"
	before=$(natives g1 no-address)
	guest_exec g1 "nc 10.99.0.1 1 </dev/null; true"
	expect $((before + 1)) "$(natives g1 no-address)"
	# Refused it has no path; what there is to be known is why.
	"$CIRCUIT" policy load - <<<$'default connect\nreject type stream to line g2 port 9009'
	guest_exec g1 "nc 10.77.0.2 9009 </dev/null" && return 1
	"$CIRCUIT" policy load - <<<'default connect'
	guest_exec g1 "circuit -o -s socks" | grep -q 'refused policy 1'
	guest_exec g1 "circuit -s socks"
	[ "$(line_get g1 calls-native)" -gt 0 ]
}

# An operator that is not waited for, nor hears the guest at once.
impatient() {
	local file=/sys/module/circuit_guest/parameters/ask_timeout before i
	before=$(natives g1 timeout)
	guest_exec g1 "cp $file /tmp/patience; echo 0 >$file"
	"$CIRCUIT" line set g1 doorbells 100/s
	# So many that the line is not listened to for most of the time.
	guest_bg g1 noise "peer outcomes g2 1 1000000"
	for ((i = 0; i < 30 && $(natives g1 timeout) == before; i++)); do
		fetch g1 "http://$(guest_ip g2):8001/file" >/dev/null
	done
	guest_bg_kill g1 noise
	"$CIRCUIT" line set g1 doorbells none
	guest_exec g1 "cat /tmp/patience >$file"
	more_than "$before" natives g1 timeout
	expect "$(sum_of g2) 1" "$(fetch g1 "http://$(guest_ip g2):8001/file")" "with patience"
}

# One service only, with all below it, in whatever network namespace.
one_cgroup() {
	local sum cg=/sys/fs/cgroup/service url=http://10.77.0.2:8001/file
	sum=$(sum_of g2)
	redirect g1 off
	guest_exec g1 "grep -q cgroup2 /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup; mkdir -p $cg/worker"
	in_cgroup() { # COMMAND
		guest_exec g1 "echo 0 >$cg/worker/cgroup.procs; $1 | sha256sum"
	}
	expect "$(sha256sum </dev/null)" "$(in_cgroup "wget -q -O - $url 2>/dev/null")" "not yet"
	guest_exec g1 "circuit redirect add cgroup service"
	fails guest_exec g1 "circuit redirect add cgroup $cg"
	expect "$sum  -" "$(in_cgroup "wget -q -O - $url")" "in a cgroup below"
	expect "$sum  -" "$(in_cgroup "unshare -n wget -q -O - $url")" "in a network namespace"
	fails guest_exec g1 "wget -q -O /dev/null $url" # elsewhere there is no way to that address
	guest_exec g1 "circuit redirect show" | grep -qx 'cgroup /service'
	guest_exec g1 "circuit redirect del cgroup service"
	fails guest_exec g1 "circuit redirect del cgroup service"
	fails guest_exec g1 "circuit redirect add cgroup /tmp"
	expect "network namespace off" "$(guest_exec g1 "circuit redirect show")"
	# One that goes takes what was said of it along.
	guest_exec g1 "mkdir $cg/gone; circuit redirect add cgroup service/gone; rmdir $cg/gone"
	expect "network namespace off" "$(guest_exec g1 "circuit redirect show")"
}

# What the programs of a cgroup are to see goes where they see it.
filtered() {
	local sum cg=/sys/fs/cgroup/filtered url
	url=http://$(guest_ip g2):8001/file
	sum=$(sum_of g2)
	redirect g1 on
	guest_exec g1 "mkdir -p $cg/worker"
	fetch_in() { # CGROUP
		local before sum
		before=$(line_get g1 calls-out)
		sum=$(guest_exec g1 "echo 0 >$1/cgroup.procs; wget -q -O - $url | sha256sum") || return
		echo "${sum%% *} $(($(line_get g1 calls-out) - before))"
	}
	expect "$sum 1" "$(fetch_in $cg/worker)" "without programs"
	guest_bg g1 late "echo 0 >$cg/worker/cgroup.procs; rm -f /tmp/late; mkfifo /tmp/late
		exec peer tcp late 7020 /tmp/late 5"
	wait_for 10 grep -q listening "$(guest_bg_log g1 late)"
	if ! guest_exec g1 "peer filter $cg"; then
		redirect g1 off
		guest_bg_kill g1 late
		t_skip "programs cannot be attached to cgroups"
	fi
	expect "$sum 0" "$(fetch_in $cg/worker)" "with one"
	expect "$sum 1" "$(fetch g1 "$url")" "elsewhere"
	expect "listen both" "$(socks_listening g1 7020)" "a listener that has heard of none"
	guest_exec g1 "echo >/tmp/late" # and now of this one
	wait_for 10 listens_natively
	guest_bg_kill g1 late
	redirect g1 off
}

listens_natively() { [ "$(socks_listening g1 7020)" = "listen native reason option" ]; }

# Options that a circuit cannot honour are a reason.
options() {
	local case before
	redirect g1 on
	for case in inet_filter inet_fastopen_send inet_ulp inet_mark udp_filter udp_txtime; do
		before=$(natives g1 option)
		guest_exec g1 "stream_test --inet 10.77.0.1 $([[ $case = udp_* ]] && echo --dgram) -t $case"
		[ "$(natives g1 option)" -gt "$before" ] || { echo "$case: no reason"; return 1; }
	done
}

# Nor does a broadcast to the guest's own network go anywhere else.
broadcasts() {
	local before
	before=$(natives g1 this-machine)
	refuses "Permission denied" g1 "peer dgram-ask udp:10.99.0.255 9 1 1"
	expect $((before + 1)) "$(natives g1 this-machine)"
}

# One program only: by a cgroup, or by a library where that may not be.
one_program() {
	local sum url=http://10.77.0.2:8001/file
	sum=$(sum_of g2)
	expect "$sum  -" "$(guest_exec g1 "circuit exec -- sh -c 'wget -q -O - $url | sha256sum'")"
	fails guest_exec g1 "wget -q -O /dev/null $url"
	expect 3 "$(guest_exec g1 "circuit exec -- sh -c 'exit 3'; echo \$?")" "its exit code"
	expect 127 "$(guest_exec g1 "circuit exec /nowhere 2>/dev/null; echo \$?")" "no such program"
	guest_exec g1 "circuit redirect del cgroup circuit-exec"
	guest_bg g2 echo "bench serve tcp 7010"
	wait_for 10 guest_exec g2 "netstat -ltn | grep -q ':7010 '"
	fails guest_exec g1 "bench_dynamic rtt tcp 10.77.0.2 7010 5"
	guest_exec g1 "circuit exec --preload -- bench_dynamic rtt tcp 10.77.0.2 7010 5"
	guest_exec g1 "su nobody -s /bin/sh -c 'circuit exec -- bench_dynamic rtt tcp 10.77.0.2 7010 5'" \
		2>&1 | grep 'static programs'
	guest_bg_kill g2 echo
	redirect g1 on
}

# Each network namespace has a switch of its own, off at first.
one_namespace() {
	local sum url=http://10.77.0.2:8001/file
	sum=$(sum_of g2)
	redirect g1 on
	expect 0 "$(guest_exec g1 "unshare -n cat /proc/sys/net/circuit/redirect")" "in a new namespace"
	fails guest_exec g1 "unshare -n wget -q -O /dev/null $url"
	redirect g1 off
	expect "$sum  -" "$(guest_exec g1 "unshare -n sh -c \"echo 1 >/proc/sys/net/circuit/redirect; wget -q -O - $url\" | sha256sum")"
	expect 0 "$(guest_exec g1 "cat /proc/sys/net/circuit/redirect")" "everywhere else"
	fails guest_exec g1 "wget -q -O /dev/null $url"
	redirect g1 on
}

# A program that knows of circuits asks for them, whatever is redirected.
by_protocol() {
	local before kind
	redirect g1 off
	for kind in "" --dgram; do
		before=$(line_get g1 calls-out)
		guest_exec -t 60 g1 "stream_test --inet 10.77.0.1 $kind --protocol 261 --quick -t connect -t boundaries \
			-t two_ways" >"$LAB_RUN/protocol" || { cat "$LAB_RUN/protocol"; return 1; }
		t_note "$(($(line_get g1 calls-out) - before)) calls, $(tail -1 "$LAB_RUN/protocol")"
		more_than "$before" line_get g1 calls-out
	done
	redirect g1 on
}

# What programs see of TCP and UDP sockets on circuits is what TCP and UDP have them see: to an address of
# this very line that the guest does not know to be its own.
semantics() { # HOW ADDRESS [OPTION]
	local log=/out/stream_test.$1${3:-}.$GUEST_KIND before
	# Of the kernel's TLS there may be nothing in this kernel.
	guest_exec g1 "for m in tls gcm ctr ghash_generic; do modprobe \$m; done 2>/dev/null || true"
	before=$(line_get g1 calls-out)
	guest_exec -t 190 g1 "stream_test --inet $2 ${3:-} --quick" >"$log" || true
	t_note "$(($(line_get g1 calls-out) - before)) calls, $(tail -1 "$log")"
	grep '^not ok' "$log" || true
	grep -q '# passed [0-9]* failed 0 ' "$log"
	echo $(($(line_get g1 calls-out) - before)) >"$LAB_RUN/calls"
}
semantics_redirected() { # HOW ADDRESS [OPTION]
	semantics "$1" "$2" "${3:-}"
	[ "$(<"$LAB_RUN/calls")" -gt 100 ]
}
# The same kernel's TCP and UDP, case by case.
semantics_native() { # [OPTION]
	semantics native 127.0.0.1 "${1:-}"
	expect 0 "$(<"$LAB_RUN/calls")" "calls"
	diff "/out/stream_test.native${1:-}.$GUEST_KIND" "/out/stream_test.v4${1:-}.$GUEST_KIND"
}

# ask_udp FROM ADDRESS PORT: 20 datagrams there and back; how many calls that took.
ask_udp() {
	local before
	before=$(line_get "$1" calls-out)
	guest_exec "$1" "bench rtt udp $2 $3 20 >/dev/null" || return
	echo $(($(line_get "$1" calls-out) - before))
}
udp_server() { # GUEST PORT
	guest_bg "$1" "udp$2" "bench serve udp $2"
	wait_for 10 guest_exec "$1" "netstat -lun | grep -q ':$2 '"
}

# Servers of UDP take what comes either way.
udp_either_way() {
	redirect g1 off
	redirect g2 off
	udp_server g2 9000
	redirect g2 on
	udp_server g2 9001
	expect 0 "$(ask_udp g1 "$(guest_ip g2)" 9000)" "calls, both native"
	expect 0 "$(ask_udp g1 "$(guest_ip g2)" 9001)" "calls, client native"
	redirect g1 on
	expect 1 "$(ask_udp g1 "$(guest_ip g2)" 9001)" "calls, both redirected"
	"$CIRCUIT" -s show
	expect 1 "$(ask_udp g1 10.77.0.2 9001)" "calls, an address of the exchange's"
	expect 0 "$(ask_udp g1 "$(guest_ip g2)" 9000)" "calls, server native"
	expect 0 "$(ask_udp g2 127.0.0.1 9001)" "calls, loopback"
	udp_why
	guest_bg_kill g2 udp9000
}

# As of TCP, each socket says why; once, however often the operator is asked.
udp_why() {
	local before asked
	before=$(natives g1 no-listener)
	asked=$(line_get g1 calls-native)
	guest_bg g1 native "peer dgram-numbers udp:$(guest_ip g2) 9000 10000"
	wait_for 20 more_than $((asked + 2)) line_get g1 calls-native
	expect "estab native reason no-listener" "$(socks_to g1 "$(guest_ip g2):9000")"
	guest_exec g1 "circuit -o socks" | grep -- "-> $(guest_ip g2):9000 .* dgram"
	expect $((before + 1)) "$(natives g1 no-listener)" "native sockets"
	guest_bg_kill g1 native
	guest_bg g1 circuit "peer dgram-numbers udp:$(guest_ip g2) 9001 10000"
	wait_for 10 connected_to g1 "$(guest_ip g2):9001"
	expect "estab circuit" "$(socks_to g1 "$(guest_ip g2):9001")"
	guest_bg_kill g1 circuit
}

# A flow whose way changes is read as it was sent: what UDP has received first. (g1's first datagrams are UDP's, by policy.)
udp_in_order() {
	local before ms=30
	[ "$HOST_KIND$GUEST_KIND" = stockstock ] || ms=60
	before=$(line_get g1 calls-out)
	guest_exec g2 "rm -f /tmp/go; mkfifo /tmp/go"
	guest_bg g2 ordered "peer dgram-ordered udp:9103 150 /tmp/go"
	wait_for 10 grep -q bound "$(guest_bg_log g2 ordered)"
	"$CIRCUIT" policy load - <<<$'default connect\nnative type dgram port 9103'
	guest_bg g1 count "peer dgram-numbers udp:$(guest_ip g2) 9103 150 $ms"
	wait_for 10 connected_to g1 "$(guest_ip g2):9103"
	expect "estab native reason policy" "$(socks_to g1 "$(guest_ip g2):9103")"
	"$CIRCUIT" policy load - <<<'default connect'
	guest_wait g1 count
	guest_exec g2 "echo >/tmp/go"
	guest_wait g2 ordered
	expect $((before + 1)) "$(line_get g1 calls-out)" "calls"
}

# What is said of UDP by type is not said of TCP, and what a flow may send is limited as a circuit's.
udp_policy() {
	local ip
	ip=$(guest_ip g2)
	"$CIRCUIT" policy load - <<<$'default connect\nreject type dgram to line g2 port 9001 error EPERM'
	refuses "Operation not permitted" g1 "bench rtt udp $ip 9001 5"
	[[ $("$CIRCUIT" explain g1 "$ip:9001" type dgram) == *reject* ]]
	[[ $("$CIRCUIT" explain g1 "$ip:9001") != *reject* ]]
	"$CIRCUIT" policy load - <<<$'default reject\nconnect type dgram'
	expect 1 "$(ask_udp g1 "$ip" 9001)" "calls"
	"$CIRCUIT" policy load - <<<$'default connect\nreject on listen type dgram port 9002'
	udp_server g2 9002
	expect 0 "$(ask_udp g1 "$ip" 9002)" "calls to what may not be published"
	guest_bg_kill g2 udp9002
	"$CIRCUIT" policy load - <<<'default connect'
}

# Who sends as fast as he can to one socket keeps no other from being heard, of the same guests or the other way.
udp_flood() {
	local g
	for g in g1 g2; do
		guest_bg "$g" heard "peer dgram-echo udp:9102"
		wait_for 10 grep -q bound "$(guest_bg_log "$g" heard)"
	done
	guest_bg g2 flooded "peer dgram-echo udp:9101"
	wait_for 10 grep -q bound "$(guest_bg_log g2 flooded)"
	guest_bg g1 flood "peer dgram-flood udp:$(guest_ip g2) 9101"
	wait_for 10 grep -q flooding "$(guest_bg_log g1 flood)"
	guest_exec g1 "peer dgram-ask udp:$(guest_ip g2) 9102 200 100"
	guest_exec g2 "peer dgram-ask udp:$(guest_ip g1) 9102 200 1400"
	"$CIRCUIT" -s show
	guest_bg_kill g1 flood
	guest_bg_kill g2 flooded
	for g in g1 g2; do
		guest_bg_kill "$g" heard
	done
}

# So many datagrams a second, and whoever floods one socket with them leaves others their part.
udp_messages() {
	local rate=500 ip g
	[ "$HOST_KIND$GUEST_KIND" = stockstock ] || rate=250
	ip=$(guest_ip g2)
	"$CIRCUIT" line set g1 send-messages $rate/s
	rate_is $rate "$(message_rate g1 udp "$ip" 9001)"
	[ "$(line_get g1 send-messages-waits)" -gt 0 ]
	for g in g1 g2; do
		guest_bg "$g" heard "peer dgram-echo udp:9102"
		wait_for 10 grep -q bound "$(guest_bg_log "$g" heard)"
	done
	guest_bg g2 flooded "peer dgram-echo udp:9101"
	wait_for 10 grep -q bound "$(guest_bg_log g2 flooded)"
	guest_bg g1 flood "peer dgram-flood udp:$ip 9101"
	wait_for 10 grep -q flooding "$(guest_bg_log g1 flood)"
	guest_exec -t 60 g1 "peer dgram-ask udp:$ip 9102 200 100"
	guest_bg_kill g1 flood
	guest_bg_kill g2 flooded
	for g in g1 g2; do
		guest_bg_kill "$g" heard
	done
	"$CIRCUIT" line set g1 send-messages none
}

# What a line may place of calls does not matter where there is another way, and where nobody is called.
udp_limits() {
	local ip before
	ip=$(guest_ip g2)
	"$CIRCUIT" line set g1 calls 1/s
	# All at once: on a slow machine one takes a second.
	guest_exec g1 "rm -f /tmp/asked; for i in 1 2 3 4 5 6 7 8; do
		{ bench rtt udp $ip 9001 5 >/dev/null && echo asked >>/tmp/asked; } & done; wait"
	expect 8 "$(guest_exec g1 "wc -l </tmp/asked")" "who were answered"
	before=$(line_get g1 calls-limited)
	[ "$before" -gt 0 ]
	for _ in 1 2 3 4 5; do
		refuses "Connection refused" g1 "bench rtt udp 10.99.0.1 9 1"
	done
	expect "$before" "$(line_get g1 calls-limited)" "limited calls to nobody"
	"$CIRCUIT" line set g1 calls none
}

# Rings are memory of the line's, and what has none goes the other way.
udp_memory() {
	local ip before
	ip=$(guest_ip g2)
	guest_bg g2 heard "peer dgram-echo udp:9102"
	wait_for 10 grep -q bound "$(guest_bg_log g2 heard)"
	before=$(line_get g1 calls-refused)
	"$CIRCUIT" line set g1 memory 2M
	guest_exec -t 60 g1 "rm -f /tmp/asked; for i in \$(seq 24); do
		{ peer dgram-ask udp:$ip 9102 200 1000 >/dev/null && echo asked >>/tmp/asked; } & done; wait"
	expect 24 "$(guest_exec g1 "wc -l </tmp/asked")" "who were answered"
	[ "$(line_get g1 calls-refused)" -gt "$before" ]
	[ "$(line_get g1 memory)" -le $((2 << 20)) ]
	"$CIRCUIT" line set g1 memory 256M
	guest_bg_kill g2 heard
}

# A line that goes takes flows, and is not missed where there is a network; then there are new ones.
udp_line_comes_back() {
	local ip
	ip=$(guest_ip g2)
	guest_bg g1 asks "while :; do bench rtt udp $ip 9001 20 >/dev/null || echo failed; done"
	line_leaves
	line_returns
	guest_bg_kill g1 asks
	expect 1 "$(ask_udp g1 10.77.0.2 9001)" "calls"
	guest_bg_kill g2 udp9001
}

line_leaves() {
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in 0000:*; do echo $d > unbind; done'
	wait_for 10 line_is g2 attached
}
line_returns() {
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in /sys/bus/pci/devices/*; do
		[ "$(cat $d/vendor)$(cat $d/device)" = 0x1af40x1110 ] && basename $d > bind; done; true'
	wait_for 10 line_is g2 up
	wait_for 10 published g2
}

# The kernel's own tests of sockets go as they go without redirection.
kernels_own() {
	local test name native redirected n=0
	for test in "${CIRCUIT%/tools/*}"/kernel/*; do
		[ -x "$test" ] || t_skip "they were not built"
		name=$(basename "$test")
		guest_put g1 "$test" "/tmp/$name"
		redirect g1 off
		native=$(kernels_test "$name")
		redirect g1 on
		redirected=$(kernels_test "$name")
		[ "$native" = 0 ] || t_note "$name fails natively"
		expect "$native" "$redirected" "$name" || { guest_exec g1 "tail -20 /tmp/$name.log"; return 1; }
		n=$((n + (native == 0)))
	done
	t_note "$n tests"
	[ $n -ge 5 ]
}
# Some bind ports that a run before has left in TIME_WAIT if it was slow: a failure counts if it is one every time.
kernels_test() {
	guest_exec -t 50 g1 "cd /tmp; for i in 1 2 3; do ./$1 >$1.log 2>&1 && break; done; echo \$?"
}

# A line that goes takes its circuits; who listens goes on as TCP, and is published again.
line_comes_back() {
	local sum
	redirect g1 on
	sum=$(sum_of g2)
	line_leaves
	expect "$sum 0" "$(fetch g1 "http://$(guest_ip g2):8001/file")" "without a line"
	line_returns
	expect "$sum 1" "$(fetch g1 "http://10.77.0.2:8001/file")" "with it again"
}
published() { [ "$(line_get "$1" listeners)" -gt 0 ]; }

# The probes come and go while sockets are made, and nobody notices.
switching() {
	local sum
	sum=$(sum_of g2)
	fetches_start
	guest_exec -t 100 g1 'i=0; while [ $i -lt 1000 ]; do
		echo 1 >/proc/sys/net/circuit/redirect; echo 0 >/proc/sys/net/circuit/redirect; i=$((i + 1)); done'
	wait_for 60 guest_exec g1 "[ -s /tmp/fetched ]" # what was fetched meanwhile, to the end
	expect "$sum  -" "$(fetches_end)" "what was fetched"
	redirect g1 on
}
# Fetch the file again and again, and tell how that was.
fetches_start() {
	guest_exec g1 ": >/tmp/fetched"
	guest_bg g1 fetches "while :; do wget -q -O /tmp/got http://$(guest_ip g2):8001/file &&
		sha256sum </tmp/got || echo failed; done >>/tmp/fetched"
}
fetches_end() {
	guest_bg_kill g1 fetches
	guest_exec g1 "sort -u /tmp/fetched"
}

# The module comes and goes while sockets are made, and nobody notices.
coming_and_going() {
	local sum
	sum=$(sum_of g2)
	fetches_start
	for _ in 1 2 3; do
		redirect g1 on
		fails guest_exec g1 "rmmod circuit_guest 2>/dev/null"
		wait_for 10 has_called g1
		redirect g1 off
		wait_for 10 guest_exec g1 "rmmod circuit_guest 2>/dev/null"
		guest_exec g1 "modprobe circuit_guest"
		wait_for 20 line_is g1 up
	done
	wait_for 60 guest_exec g1 "[ -s /tmp/fetched ]"
	expect "$sum  -" "$(fetches_end)" "what was fetched"
	redirect g1 on
}
# Calls since the guest's module was loaded.
has_called() { [[ $(guest_exec "$1" "circuit -o -s socks") =~ total:\ out\ [1-9] ]]; }

# Sockets that may become circuits hold the module, others do not, whatever state of TCP's they are in: one has ended
# and waits (TIME_WAIT), and one has data for somebody who does not read, and no program any more.
module_goes() {
	local ip
	ip=$(guest_ip g1)
	fails guest_exec g2 "rmmod circuit_guest"
	guest_bg_kill g2 httpd8001
	redirect g1 off
	redirect g2 on
	guest_bg g1 recv "peer tcp recv 7021"
	guest_bg g1 drain "peer tcp drain 7022"
	wait_for 10 guest_exec g1 "[ \$(netstat -ltn | grep -c ':702[12] ') = 2 ]"
	guest_exec g2 "peer send tcp:$ip 7021 1000"
	guest_bg g2 flood "peer flood tcp:$ip 7022"
	wait_for 10 grep -q draining "$(guest_bg_log g1 drain)"
	guest_exec g1 "killall -STOP peer"
	# Until there is no window any more, and that is asked for: nothing more of it arrives.
	wait_for 20 guest_exec g2 "grep -q ':1B6E 01 [0-9A-F]*:[0-9A-F]* 04:' /proc/net/tcp"
	guest_bg_kill g2 flood
	wait_for 10 tcp_has g2 FIN_WAIT1 7022
	wait_for 10 tcp_has g2 TIME_WAIT 7021
	redirect g2 off
	wait_for 10 guest_exec g2 "rmmod circuit_guest"
	tcp_has g2 FIN_WAIT1 7022
	expect "$(sum_of g2) 0" "$(fetch g1 "http://$(guest_ip g2):8000/file")"
	guest_exec g1 "killall -CONT peer"
	expect end "$(guest_wait g1 drain | tail -1)" "what was left behind"
	wait_for 10 fails tcp_has g2 FIN_WAIT1 7022
	guest_exec g2 "modprobe circuit_guest"
	wait_for 10 line_is g2 up
}
# tcp_has GUEST STATE PORT: a connection to that port; of those that send, one that has something to send.
tcp_has() {
	local what='[1-9][0-9]*'
	[ "$2" != TIME_WAIT ] || what=0
	guest_exec "$1" "netstat -tn" | grep -q "^tcp *[0-9]* *$what [^ ].*:$3 *$2"
}

t_run -t 120 "two guests on a network" setup
t_run "nothing is redirected at first" off_at_first
t_run "both redirected: circuits" both_redirected
t_run "a listener at one address" one_address
t_run "sockets of the kernel's own: TCP" kernels_sockets
t_run "server not redirected: TCP" server_native
t_run "client not redirected: TCP" client_native
t_run "loopback and own addresses: TCP" local_native
t_run "each socket says which path it took, and why" why
t_run "an operator that takes too long: TCP" impatient
t_run "redirected: a cgroup" one_cgroup
t_run "native: a cgroup with a firewall" filtered
t_run "redirected: a program" one_program
t_run "redirected: a network namespace" one_namespace
t_run -t 90 "circuits by their protocol" by_protocol
t_run "native: options that circuits cannot honour" options
t_run "native: broadcasts" broadcasts
t_run -t 200 "TCP's semantics on circuits: IPv4" semantics_redirected v4 10.77.0.1
t_run "UDP: either way" udp_either_way
t_run "UDP: in order, whichever the way" udp_in_order
t_run "UDP: policy" udp_policy
t_run "UDP: limits of calls" udp_limits
t_run "UDP: datagrams per second" udp_messages
t_run "UDP: a flood" udp_flood
t_run "UDP: a line goes and comes back" udp_line_comes_back
t_run "UDP: memory of rings" udp_memory
t_run -t 200 "UDP's semantics on circuits: IPv4" semantics_redirected v4 10.77.0.1 --dgram
# What differs between these is decided in a few places: once is enough on slow kernels.
if [ "$HOST_KIND$GUEST_KIND" = stockstock ]; then
	t_run -t 200 "the same of TCP itself" semantics_native
	t_run -t 200 "TCP's semantics on circuits: IPv6" semantics_redirected v6 fd00:77::1
	t_run -t 200 "TCP's semantics on circuits: IPv4-mapped IPv6" semantics_redirected mapped ::ffff:10.77.0.1
	t_run -t 200 "the same as IPv4 of UDP itself" semantics_native --dgram
	t_run -t 200 "UDP's semantics on circuits: IPv6" semantics_redirected v6 fd00:77::1 --dgram
	t_run -t 200 "UDP's semantics on circuits: IPv4-mapped IPv6" semantics_redirected mapped ::ffff:10.77.0.1 --dgram
	t_run -t 180 "the kernel's own tests, redirected" kernels_own
fi
t_run -t 120 "a line goes and comes back" line_comes_back
t_run -t 180 "switched on and off 1000 times under load" switching
t_run -t 120 "the module comes and goes under load" coming_and_going
t_run "the module goes when no socket needs it" module_goes
