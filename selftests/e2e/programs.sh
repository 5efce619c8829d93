# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# programs - what people run, as Debian builds it, with its TCP sockets as circuits; and with one
# side's as TCP's, which the other must not notice.
#
# lab: --timeout 2700
# lab: takes guests down
. "$TOP/selftests/e2e/programs-common.sh"

# --- nginx, curl, wrk ----------------------------------------------------------------------------

# Gets a file of each size COUNT times on one connection, and says what it has got.
curl_get() { # COUNT [OPTION...]
	local size want got
	for size in 1k 1m; do
		want=$(sum_real g2 "/srv/www/$size")
		in_real g1 "rm -f /tmp/got.*; curl -sSf ${*:2} http://$ip/$size?[1-$1] -o /tmp/got.#1"
		got=$(guest_exec g1 "sha256sum /real/tmp/got.* | cut -d' ' -f1 | sort | uniq -c")
		expect "$1 $want" "$(echo $got)" "$1 times $size"
	done
}
curl_put() {
	# nginx does not take it, but has to read it all to say so on a connection that goes on.
	expect '405 405' "$(in_real g1 "curl -sS -o /tmp/1 -o /tmp/2 -w \"%{http_code} \" -H Expect: \
		--data-binary @/srv/www/1m http://$ip/1k http://$ip/1k" | xargs)" status
}
wrk() { # SIZE OPTION...: without errors, and a good number of requests
	local out seconds
	for seconds in 1 5 20; do # until one is served in that time
		out=$(in_real g1 "wrk -t1 -c4 -d${seconds}s --timeout 20s ${*:2} http://$ip/$1")
		echo "$out"
		! grep -E 'Socket errors|Non-2xx' <<<"$out" || return 1
		[[ $out =~ ([0-9]+)\ requests\ in ]]
		[ "${BASH_REMATCH[1]}" -eq 0 ] || break
	done
	[ "${BASH_REMATCH[1]}" -gt 0 ]
	t_note "wrk $1 ${*:2}: $(grep -oE 'Requests/sec.*' <<<"$out")"
}
nginx_curl() {
	serve 80 nginx
	circuits curl_get 5
	circuits curl_get 3 -H "Connection:\ close"
	circuits curl_get 5 --no-keepalive --parallel
	circuits curl_put
}
nginx_wrk() {
	local size
	for size in 1k 1m; do
		circuits wrk $size
		circuits wrk $size -H "Connection:\ close"
	done
}
nginx_native() {
	tcp_client curl_get 2
	tcp_client wrk 1k
	serve_no_more 80
	serve -n 80 nginx
	tcp curl_get 2
	tcp wrk 1k
	serve_no_more 80
}

# --- Redis ---------------------------------------------------------------------------------------

redis_benchmark() { # OPTION...
	local out
	out=$(in_real g1 "redis-benchmark -h $ip -c 20 -t set,get,lpush -q $*" | tr '\r' '\n' |
		grep 'requests per second')
	expect 3 "$(grep -cE '^[A-Z].*: [0-9.]+ requests' <<<"$out")" "results of $out"
	t_note "redis-benchmark $*: $(sed -E 's/([A-Z_0-9]+).*: ([0-9.]+) requests.*/\1 \2/' <<<"$out" | xargs)/s"
}
# A megabyte there and back; and a subscriber gets what is published.
redis_values() {
	local want
	want=$(sum_real g1 /srv/www/1m)
	expect OK "$(in_real g1 "redis-cli -h $ip -x set big </srv/www/1m")"
	expect "$want" "$(in_real g1 "redis-cli -h $ip --raw get big | head -c 1048576 | sha256sum" | cut -d' ' -f1)"
	guest_bg g1 subscriber "$(real "exec redis-cli -h $ip subscribe news")"
	wait_for 20 grep -q subscribe "$(guest_bg_log g1 subscriber)"
	expect 1 "$(in_real g1 "redis-cli -h $ip publish news extra")" subscribers
	wait_for 20 grep -q extra "$(guest_bg_log g1 subscriber)"
	guest_bg_kill g1 subscriber
}
redis() {
	serve 6379 redis-server /etc/redis.conf
	circuits redis_values
	circuits redis_benchmark -n 400
	circuits redis_benchmark -n 4000 -P 16
	tcp_client redis_values
	serve_no_more 6379
	serve -n 6379 redis-server /etc/redis.conf
	tcp redis_values
	tcp redis_benchmark -n 1000 -P 16
	serve_no_more 6379
}

# --- PostgreSQL ----------------------------------------------------------------------------------

psql() { # GUEST HOST STATEMENT: sum of what it prints, of which there is something
	in_real "$1" "psql -h $2 -U postgres -Atqc \"$3\" >/tmp/rows; test -s /tmp/rows"
	sum_real "$1" /tmp/rows
}
pgbench() { # OPTION...
	local out
	out=$(in_real -t 100 g1 "pgbench -h $ip -U postgres -n $* postgres 2>&1") || { echo "$out"; return 1; }
	echo "$out"
	grep -q 'number of failed transactions: 0 ' <<<"$out"
	t_note "pgbench $*: $(grep -E '^tps' <<<"$out")"
}
pg_copy() {
	local all='copy (select * from pgbench_accounts order by aid limit 20000) to stdout' sum
	sum=$(psql g2 /run/postgresql "$all")
	expect "$sum" "$(psql g1 "$ip" "$all")" "what is copied out"
	in_real g1 "psql() { command psql -h $ip -U postgres -Atqc \"\$1\" 2>&1; }
		psql \"drop table if exists rows; create table rows (like pgbench_accounts)\"
		psql \"copy rows from stdin\" </tmp/rows"
	expect "$sum" "$(psql g2 /run/postgresql "${all/pgbench_accounts/rows}")" "what is copied in"
}
postgres() {
	pg_serve
	circuits pg_copy
	circuits pgbench -S -c 4 -t 50
	circuits pgbench -S -c 2 -t 10 -C
	circuits pgbench -c 2 -t 20 -M prepared
	tcp_client pg_copy
	pg_stop
	pg_serve -n
	tcp pgbench -S -c 4 -t 20
	pg_stop
}

# --- OpenSSH, rsync ------------------------------------------------------------------------------

ssh_fetch() {
	in_real g1 "ssh $ip cat /srv/www/1m >/tmp/got"
	expect "$(sum_real g2 /srv/www/1m)" "$(sum_real g1 /tmp/got)"
}
ssh_commands() {
	ssh_fetch
	# both ways at once, and the exit code
	in_real g1 "ssh $ip cat </srv/www/1m >/tmp/got"
	expect "$(sum_real g1 /srv/www/1m)" "$(sum_real g1 /tmp/got)" echo
	expect 7 "$(in_real g1 "ssh $ip exit 7 || echo \$?")" "exit code"
	expect ok "$(in_real g1 "ssh -tt $ip echo ok 2>/dev/null" | tr -d '\r')" "on a terminal"
}
ssh_copy() {
	in_real g1 "rm -f /tmp/got; scp -q $ip:/srv/www/1m /tmp/got; scp -q /tmp/got $ip:/tmp/got"
	expect "$(sum_real g2 /srv/www/1m) $(sum_real g2 /srv/www/1m)" \
		"$(sum_real g1 /tmp/got) $(sum_real g2 /tmp/got)" "there and back"
}
# A connection within: nginx of g2, by way of sshd.
ssh_forward() {
	guest_bg g1 forward "$(real "exec ssh -N -L /tmp/web:localhost:80 $ip")"
	wait_for 60 guest_exec g1 "test -S /real/tmp/web"
	in_real g1 "curl -sSf --unix-socket /tmp/web http://localhost/1m -o /tmp/got"
	expect "$(sum_real g2 /srv/www/1m)" "$(sum_real g1 /tmp/got)"
	guest_bg_kill g1 forward
}
tree_sums() { # GUEST DIR
	guest_exec "$1" "cd /real$2 && find . -type f | sort | xargs sha256sum" | sha256sum
}
rsync_tree() {
	local tree=/usr/lib/python3.11/encodings
	in_real g1 "rm -rf /tmp/tree; rsync -a $ip:$tree/ /tmp/tree"
	expect "$(tree_sums g2 $tree)" "$(tree_sums g1 /tmp/tree)" "fetched"
	# and back, with one file changed
	in_real g1 "echo >>/tmp/tree/aliases.py; rsync -a --delete --checksum /tmp/tree/ $ip:/tmp/tree"
	expect "$(tree_sums g1 /tmp/tree)" "$(tree_sums g2 /tmp/tree)" "sent back"
}
openssh() {
	serve 22 /usr/sbin/sshd -D -e
	circuits ssh_commands
	circuits ssh_copy
	serve 80 nginx
	circuits ssh_forward
	serve_no_more 80
	tcp_client ssh_fetch
	serve_no_more 22
	serve -n 22 /usr/sbin/sshd -D -e
	tcp ssh_fetch
	serve_no_more 22
}
rsync_ssh() {
	serve 22 /usr/sbin/sshd -D -e
	circuits rsync_tree
	tcp_client rsync_tree
	serve_no_more 22
}

# --- iperf3 --------------------------------------------------------------------------------------

iperf() { # OPTION...
	local out
	out=$(in_real g1 "iperf3 -J -t 1 $*") || { echo "$out"; return 1; }
	t_note "iperf3 $*: $(python3 -c '
import json, sys
end = json.load(sys.stdin)["end"]
sent, received = end["sum_sent"], end["sum_received"]
# What is in flight at the end is not counted, but it was sent.
assert 0 < received["bytes"] <= sent["bytes"], end
print(int(received["bits_per_second"] / 1e6), "Mbit/s")' <<<"$out")"
}
iperf_udp() { # OPTION...
	local out
	out=$(in_real g1 "iperf3 -J -t 1 -u $*") || { echo "$out"; return 1; }
	t_note "iperf3 -u $*: $(python3 -c '
import json, sys
sum = json.load(sys.stdin)["end"]["sum"]
assert sum["packets"] > 0 and sum["lost_packets"] < sum["packets"] / 2, sum
print(int(sum["bits_per_second"] / 1e6), "Mbit/s,", sum["lost_packets"], "of", sum["packets"], "lost")' <<<"$out")"
}
udp_sent() { guest_exec g1 "awk '/^Udp:/ { n = \$5 } END { print n }' /proc/net/snmp"; }
# udp_circuits CMD...: as circuits, and none of it has the kernel's UDP seen.
udp_circuits() {
	local sent
	sent=$(udp_sent)
	circuits "$@"
	expect "$sent" "$(udp_sent)" "datagrams of UDP's"
}
# udp_native CMD...: by IPv4, as g1's own UDP has it.
udp_native() {
	local sent calls
	redirect g1 off
	sent=$(udp_sent)
	calls=$(line_get g1 calls-out)
	"$@"
	echo "$(($(udp_sent) - sent)) datagrams of UDP's: $*"
	[ "$(udp_sent)" -gt "$sent" ]
	expect "$calls" "$(line_get g1 calls-out)" "calls: $*"
	redirect g1 on
}
iperf3() {
	serve 5201 iperf3 -s
	circuits iperf -c "$ip"
	circuits iperf -c "$ip" -P 8
	circuits iperf -c "$ip" -R
	circuits iperf -c "$ip6" -6
	udp_circuits iperf_udp -c "$ip" -b 50M
	udp_circuits iperf_udp -c "$ip" -b 10M -P 4
	udp_circuits iperf_udp -c "$ip" -b 50M -R
	udp_native iperf_udp -c "$ip" -b 10M
	tcp_client iperf -c "$ip6" -6 -R
	serve_no_more 5201
	serve -n 5201 iperf3 -s
	tcp iperf -c "$ip" -P 2
	serve_no_more 5201
}

# --- names, over UDP -------------------------------------------------------------------------------

# serve_udp [-n] PORT CMD...: as serve.
serve_udp() {
	local kind=on
	[ "$1" != -n ] || { kind=off; shift; }
	redirect g2 "$kind"
	guest_bg g2 "server$1" "$(real "exec ${*:2}")"
	wait_for 60 receives "$1" || { cat "$(guest_bg_log g2 "server$1")"; false; }
	redirect g2 on
}
receives() { guest_exec g2 "netstat -lun | grep -q ':$1 '"; }
ask_names() { # OPTION...
	local i
	for i in 1 2 3; do
		expect "192.0.2.$i" "$(in_real g1 "dig +short +tries=1 $* name$i.test")" "name$i"
	done
	expect "2001:db8::1" "$(in_real g1 "dig +short +tries=1 $* name1.test AAAA")"
}
DNSMASQ=(dnsmasq -k -C /dev/null --user=root --no-resolv --no-hosts --pid-file= --address=/name1.test/192.0.2.1
	--address=/name2.test/192.0.2.2 --address=/name3.test/192.0.2.3 --address=/name1.test/2001:db8::1)
names_udp() {
	serve_udp 53 "${DNSMASQ[@]}"
	udp_circuits ask_names "@$ip"
	udp_circuits ask_names "@$ip6"
	circuits ask_names +tcp "@$ip"
	udp_native ask_names "@$ip"
	serve_no_more 53
}

# --- chrony --------------------------------------------------------------------------------------

# The server serves its own clock. Nobody sets one here: that is what -x and -Q are for.
CHRONYD=(chronyd -d -x -u root -f /tmp/server.conf)
chrony_serves() { # [-n]
	guest_exec g2 "printf \"local stratum 5\nallow all\ncmdport 0\nbindcmdaddress /\npidfile /tmp/chronyd.pid\n\" \
		>/real/tmp/server.conf"
	serve_udp "$@" 123 "${CHRONYD[@]}"
}
# By how much the client's clock differs from an address's. Its log has where it knows from when each datagram was sent and
# received: the kernel (K), or only itself (D).
chrony_asks() { # ADDRESS
	local out
	guest_exec g1 "printf \"server $1 iburst\ncmdport 0\nbindcmdaddress /\npidfile /tmp/chronyd.pid\n\" \
		>/real/tmp/client.conf; printf \"log rawmeasurements\nlogdir /tmp\n\" >>/real/tmp/client.conf
		rm -f /real/tmp/measurements.log"
	out=$(in_real -t 50 g1 "chronyd -Q -t 40 -u root -f /tmp/client.conf 2>&1") || { echo "$out"; return 1; }
	t_note "$1: $(grep -oE 'System clock wrong by [-0-9.]+ seconds' <<<"$out")"
	grep -q 'System clock wrong by' <<<"$out"
	out=$(guest_exec g1 "cat /real/tmp/measurements.log")
	echo "$out"
	grep -q ' [DK] [DK] *$' <<<"$out"
}
chrony_is_told() { # ADDRESS: all of it by the kernel
	local out
	out=$(chrony_asks "$1")
	echo "$out"
	grep -q ' K K *$' <<<"$out"
	! grep -E ' D [DK] *$| [DK] D *$' <<<"$out"
}
chrony() {
	chrony_serves
	udp_circuits chrony_is_told "$ip"
	udp_circuits chrony_is_told "$ip6"
	udp_native chrony_asks "$ip"
	serve_no_more 123
}

# --- sockperf ------------------------------------------------------------------------------------

sockperf_run() { # TEST OPTION...
	local out
	out=$(in_real g1 "sockperf $1 -i $ip -p 11111 -t 2 ${*:2} 2>&1") || { echo "$out"; return 1; }
	! grep -E 'dropped messages = [1-9]|out-of-order messages = [1-9]|duplicated messages = [1-9]' <<<"$out"
	t_note "sockperf $*: $(grep -oE 'avg-latency=[0-9.]+|Message Rate is [0-9]+' <<<"$out" | head -1)"
}
sockperf() {
	serve_udp 11111 sockperf server -i "$ip" -p 11111
	udp_circuits sockperf_run ping-pong
	udp_circuits sockperf_run ping-pong -m 1400 --nonblocked
	udp_circuits sockperf_run throughput -m 64 --mps 1000
	udp_native sockperf_run ping-pong
	serve_no_more 11111
}

# --- HTTP/3 ----------------------------------------------------------------------------------------

quic_fetch() { # SIZE REQUESTS PARALLEL
	expect "$2 $(sum_real g2 "/srv/www/$1")" "$(in_real -t 50 g1 "quic fetch $2 $3 https://$ip:9443/$1")" "$2 times $1"
}
http3() {
	serve_udp 9443 quic serve :9443 /srv/www
	udp_circuits quic_fetch 1k 20 4
	udp_circuits quic_fetch 1m 2 2
	udp_native quic_fetch 1k 20 4
	serve_no_more 9443
}

# --- WireGuard -----------------------------------------------------------------------------------

# Two guests, a tunnel between them, whose packets are datagrams of a program's.
tunnel() { # on|off: g2's are circuits'
	local g n=0 other
	declare -A public
	for g in g1 g2; do
		if ! guest_exec "$g" "[ -e /dev/net/tun ]"; then
			guest_put "$g" "$(modinfo -n tun)" /tmp/tun.ko
			guest_exec "$g" "insmod /tmp/tun.ko"
		fi
		guest_exec "$g" "mkdir -p /real/var/run/wireguard"
		redirect "$g" on
		[ "$g" = g1 ] || redirect "$g" "$1"
		guest_bg "$g" wg "$(real "exec wireguard-go -f wg0")"
		wait_for 20 guest_exec "$g" "ip link show wg0"
		public[$g]=$(in_real "$g" "umask 077; wg genkey >/tmp/key; wg pubkey </tmp/key")
	done
	for g in g1 g2; do
		n=$((n + 1))
		other=g$((3 - n))
		in_real "$g" "wg set wg0 listen-port 51820 private-key /tmp/key peer ${public[$other]} \
			allowed-ips 10.200.0.0/24"
		# Over a trunk g2 learns where g1 is from what comes.
		[ "$g$1" = g2off ] || in_real "$g" "wg set wg0 peer ${public[$other]} endpoint $(guest_ip $other):51820"
		guest_exec "$g" "ip address add 10.200.0.$n/24 dev wg0 && ip link set wg0 up"
	done
	wait_for 20 guest_exec g1 "ping -c 1 -W 2 10.200.0.2"
}
# TCP through the tunnel, which is TCP.
through_tunnel() {
	local sum
	redirect g1 off
	serve -n 80 nginx
	sum=$(in_real g1 "curl -sSf http://10.200.0.2/1m" | sha256sum | cut -d' ' -f1)
	expect "$(sum_real g2 /srv/www/1m)" "$sum"
	serve_no_more 80
	redirect g1 on
}
tunnel_no_more() {
	local g
	for g in g1 g2; do
		guest_bg_kill "$g" wg
		redirect "$g" on
	done
}
wireguard() {
	local sent bytes
	sent=$(udp_sent)
	tunnel on
	bytes=$(($(line_get g1 bytes-in) + $(line_get g1 bytes-out)))
	through_tunnel
	"$CIRCUIT" -s show
	"$CIRCUIT" show | grep -E 'g[12]/.*:51820 -> g[12]/.*:51820 connected dgram'
	bytes=$(($(line_get g1 bytes-in) + $(line_get g1 bytes-out) - bytes))
	t_note "$bytes bytes on circuits; $(($(udp_sent) - sent)) datagrams were UDP's"
	# All that curl has got. What was sent before the path was known may have been UDP's.
	[ "$bytes" -gt 1048576 ]
	[ $(($(udp_sent) - sent)) -lt 20 ]
	tunnel_no_more
}
# From a guest without a network card to one with nothing else.
trunk_tunnel() {
	local sent
	sent=$(udp_sent)
	tunnel off
	through_tunnel
	"$CIRCUIT" -s show
	"$CIRCUIT" show | grep -E "g1/.*:51820 -> .*$ip:51820 .*dgram"
	expect "$sent" "$(udp_sent)" "datagrams of UDP's"
	tunnel_no_more
}

# --- netcat --------------------------------------------------------------------------------------

nc_there() {
	guest_bg g2 nc "$(real "exec nc.openbsd -l -N 9000 </dev/null >/tmp/nc")"
	wait_for 20 guest_exec g2 "netstat -ltn | grep -q ':9000 '"
	in_real g1 "nc.openbsd -N $1 9000 </srv/www/1m"
	guest_wait g2 nc
	expect "$(sum_real g1 /srv/www/1m)" "$(sum_real g2 /tmp/nc)"
}
nc_back() {
	guest_bg g2 nc "$(real "exec nc.openbsd -l -N 9000 </srv/www/1m")"
	wait_for 20 guest_exec g2 "netstat -ltn | grep -q ':9000 '"
	expect "$(sum_real g2 /srv/www/1m)" "$(in_real g1 "nc.openbsd -d $1 9000" | sha256sum | cut -d' ' -f1)"
	guest_wait g2 nc
}
netcat() {
	circuits nc_there "$ip"
	circuits nc_back "$ip"
	tcp_client nc_back "$ip"
	redirect g2 off
	tcp nc_there "$ip"
	redirect g2 on
	# Nobody there: at once, by either.
	expect "refused" "$(in_real g1 "nc.openbsd -v -w 5 $ip 9999 2>&1 || true" | grep -o refused)"
	serve 9001 nc.openbsd -lk 9001
	circuits in_real g1 "nc.openbsd -z $ip 9001; nc.openbsd -z $ip 9001"
	serve_no_more 9001
}

# --- event loops: Python's asyncio, Go -----------------------------------------------------------

streams() { # ADDRESS
	in_real g1 "streams talk $1 9100 10 10" | tee -a "$LAB_RUN/streams"
}
asyncio() {
	rm -f "$LAB_RUN/streams"
	serve 9100 streams serve 9100
	circuits streams "$ip"
	circuits streams "$ip6"
	tcp_client streams "$ip"
	serve_no_more 9100
	serve -n 9100 streams serve 9100
	tcp streams "$ip"
	expect '' "$(cat "$(guest_bg_log g2 server9100)")" "what the server complains of"
	serve_no_more 9100
	# Sizes are random, but always the same.
	expect 4 "$(uniq -c "$LAB_RUN/streams" | awk '{ print $1 }')" "times the same number of bytes"
}
go_fetch() { # SIZE REQUESTS PARALLEL keep|close
	expect "$2 $(sum_real g2 "/srv/www/$1")" "$(in_real g1 "web fetch $2 $3 $4 http://$ip:9200/$1")"
}
go() {
	serve 9200 web serve :9200 /srv/www
	circuits go_fetch 1k 50 5 keep
	circuits go_fetch 1k 50 5 close
	circuits go_fetch 1m 4 2 keep
	circuits go_fetch 1m 4 2 close
	tcp_client go_fetch 1k 20 5 close
	serve_no_more 9200
	serve -n 9200 web serve :9200 /srv/www
	tcp go_fetch 1m 4 2 keep
	serve_no_more 9200
}

# --- over a trunk --------------------------------------------------------------------------------

# g2 is none of the exchange's any more: a machine with an ordinary network card, at the end of the
# host's bridge, and with ordinary sockets. g1 has no network any more, only its line: it reaches the
# other over the host's TCP and is reached over it.
trunk_on() {
	guest_exec g1 "ip link set eth0 down; ip address flush dev eth0"
	"$CIRCUIT" trunk add wan
	"$CIRCUIT" line set g2 addr none
	"$CIRCUIT" line set g1 addr 10.77.0.1 addr fd00:77::1 trunk wan
}
trunk_calls() { # that were answered: some programs also ask for names that nobody knows
	local json
	json=$("$CIRCUIT" -j -s trunk show)
	echo $(($(json_get "$json" calls) - $(json_get "$json" calls-refused)))
}
over_trunk() { # CMD...: by circuits, and all of them over the trunk
	local before opened dialled
	before="$(trunk_calls) $(line_get g1 calls-out)"
	circuits "$@"
	opened=$(($(line_get g1 calls-out) - ${before#* }))
	dialled=$(($(trunk_calls) - ${before% *}))
	# A program that ends may leave calls behind that are dialled, and then cancelled.
	echo "$opened circuits, $dialled calls over the trunk"
	[ "$dialled" -ge "$opened" ]
}
git_there() { # a repository, cloned, changed and sent back
	in_real g2 "rm -rf /tmp/repo.git; git init -q --bare -b main /tmp/repo.git"
	in_real g1 "rm -rf /tmp/work; git init -q -b main /tmp/work; cd /tmp/work
		cp -r /usr/lib/python3.11/encodings .; git add .
		git -c user.name=me -c user.email=me@example.org commit -qm one
		git push -q $ip:/tmp/repo.git main
		rm -rf /tmp/clone; git clone -q $ip:/tmp/repo.git /tmp/clone; cd /tmp/clone; git fsck"
	expect "$(in_real g2 "git -C /tmp/repo.git rev-parse main")" \
		"$(in_real g1 "git -C /tmp/clone rev-parse HEAD")" "what was cloned"
}
# A name is asked for over TCP, and so called.
names() {
	serve -n 53 names 53 "$ip"
	in_real g1 "printf \"nameserver $ip\noptions use-vc\n\" >/etc/resolv.conf
		echo \"hosts: files dns\" >/etc/nsswitch.conf"
	over_trunk in_real g1 "curl -sSf http://www.example.org/1m -o /tmp/got"
	expect "$(sum_real g2 /srv/www/1m)" "$(sum_real g1 /tmp/got)"
	serve_no_more 53
}
trunk_out() {
	trunk_on
	serve -n 80 nginx
	names
	over_trunk curl_get 5
	over_trunk curl_get 5 --no-keepalive --parallel
	over_trunk curl_put
	over_trunk wrk 1k
	over_trunk wrk 1m -H "Connection:\ close"
	serve_no_more 80
	serve -n 22 /usr/sbin/sshd -D -e
	over_trunk ssh_commands
	over_trunk rsync_tree
	over_trunk git_there
	serve_no_more 22
	serve -n 5201 iperf3 -s
	over_trunk iperf -c "$ip"
	over_trunk iperf -c "$ip" -P 8
	over_trunk iperf -c "$ip" -R
	over_trunk iperf -c "$ip6" -6
	serve_no_more 5201
	serve -n 9200 web serve :9200 /srv/www
	over_trunk go_fetch 1k 50 5 close
	serve_no_more 9200
	serve_udp -n 53 "${DNSMASQ[@]}"
	over_trunk ask_names "@$ip"
	over_trunk ask_names "@$ip6"
	serve_no_more 53
	serve_udp -n 9443 quic serve :9443 /srv/www
	over_trunk quic_fetch 1k 20 4
	over_trunk quic_fetch 1m 2 2
	serve_no_more 9443
}
trunk_time() {
	chrony_serves -n
	over_trunk chrony_is_told "$ip"
	over_trunk chrony_is_told "$ip6"
	serve_no_more 123
}
# nginx in the guest, and the world fetches.
trunk_in() {
	local calls out
	guest_bg g1 nginx "$(real "exec nginx")"
	wait_for 60 guest_exec g1 "netstat -ltn | grep -q ':80 '"
	"$CIRCUIT" expose add g1:80 on 10.99.0.1:8080
	redirect g2 off
	calls=$(line_get g1 calls-in)
	expect "$(sum_real g1 /srv/www/1m)" "$(in_real g2 "curl -sSf http://10.99.0.1:8080/1m" | sha256sum | cut -d' ' -f1)"
	for how in "" "-H Connection:\ close"; do
		out=$(in_real g2 "wrk -t1 -c4 -d1s --timeout 20s $how http://10.99.0.1:8080/1k")
		echo "$out"
		! grep -E 'Socket errors|Non-2xx' <<<"$out" || return 1
		[[ $out =~ ([0-9]+)\ requests\ in ]] && [ "${BASH_REMATCH[1]}" -gt 0 ]
		t_note "wrk 1k $how, inwards: $(grep -oE 'Requests/sec.*' <<<"$out")"
	done
	echo "$(($(line_get g1 calls-in) - calls)) circuits"
	[ "$(line_get g1 calls-in)" -gt "$calls" ]
	"$CIRCUIT" expose del 10.99.0.1:8080
	guest_bg_kill g1 nginx
	"$CIRCUIT" line set g1 trunk none
	"$CIRCUIT" trunk del wan
}

if [ -z "$PROGRAMS" ]; then
	t_skip -n "programs" "no image of them, see tools/lab/mkprograms"
	return
fi
t_run -t 120 "two guests with programs" setup
ip=$(guest_ip g2) ip6=$(guest_ip6 g2)
t_run -t 120 "nginx and curl" nginx_curl
t_run -t 120 "nginx and wrk" nginx_wrk
t_run -t 120 "nginx and curl, one side native" nginx_native
t_run -t 120 "Redis" redis
t_run -t 150 "PostgreSQL" postgres
t_run -t 150 "OpenSSH" openssh
t_run -t 120 "rsync over ssh" rsync_ssh
t_run -t 120 "iperf3" iperf3
t_run -t 90 "names over UDP: dnsmasq, dig" names_udp
t_run -t 120 "time over UDP: chrony" chrony
t_run -t 90 "sockperf" sockperf
t_run -t 120 "HTTP/3" http3
t_run -t 90 "WireGuard" wireguard
t_run -t 60 "netcat" netcat
t_run -t 120 "Python, asyncio" asyncio
t_run -t 120 "Go, net/http" go
t_run -t 180 "out over a trunk, without a network card: DNS, curl, wrk, ssh, rsync, git, iperf3, Go, HTTP/3" trunk_out
t_run -t 90 "time over a trunk, without a network card: chrony" trunk_time
t_run -t 90 "WireGuard over a trunk, without a network card" trunk_tunnel
t_run -t 90 "in over a trunk: nginx" trunk_in
t_run "circuits, memory and listeners are back to nothing" nothing_left
