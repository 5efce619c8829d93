# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# trunk - guests and the world outside of the exchange, over the host's TCP. The world is a network
# namespace of the host's behind a veth, where programs are as native as can be; or one at the end of
# a wire, between two network cards.
#
# lab: --timeout 1200 --wire
# lab: takes guests down
. "$TOP/selftests/e2e/common.sh"

PEER=$(dirname "$CIRCUIT")/../tests/peer
V4=192.0.2.2 V6=2001:db8::2

WORLD=out # the namespace
out() { ip netns exec $WORLD "$@"; }
# world ID CMD...: something that runs there while guests call it.
world() {
	local id=$1
	shift
	ip netns exec $WORLD "$@" >"$LAB_RUN/world.$id" 2>&1 </dev/null {LAB_OUT}>&- &
	echo $! >"$LAB_RUN/world.$id.pid"
}
world_log() { cat "$LAB_RUN/world.$1"; }
world_end() { # ID: its output, once it has ended by itself
	wait_for 60 world_gone "$1"
	world_log "$1"
}
world_gone() { ! lab_running "$(<"$LAB_RUN/world.$1.pid")"; }
world_kill() { kill -KILL "$(<"$LAB_RUN/world.$1.pid")" && wait_for 10 world_gone "$1"; }
world_listens() { # PORT
	wait_for 10 sh -c "ip netns exec $WORLD ss -Hltn sport = :$1 | grep -q ."
}

setup() {
	guests_up g1 g2
	namespace out 2
	ip address add 2001:db8::1/64 dev to-out
	ip -n out address add 2001:db8::2/64 dev eth0
	"$CIRCUIT" trunk add wan
	"$CIRCUIT" line set g1 addr 10.77.0.1 addr fd00:77::1 trunk wan
	"$CIRCUIT" line set g2 addr 10.77.0.2
	guest_exec g1 "echo 1 >/proc/sys/net/circuit/redirect"
	guest_exec g2 "echo 1 >/proc/sys/net/circuit/redirect"
	wait_for 10 busybox ping -c 1 -W 1 $V4
}

# says GUEST TEXT ARG...: peer fails there, and says so.
says() {
	local guest=$1 text=$2 out
	shift 2
	if out=$(guest_exec "$guest" "peer $*" 2>&1); then
		echo "it worked: $out"
		return 1
	fi
	grep -q "$text" <<<"$out" || { echo "$out"; return 1; }
}

trunk_transfer() { # ADDRESS BYTES
	local port=$((RANDOM + 2000)) here there v6=
	[[ $1 != *:* ]] || v6=6
	world swap "$PEER" "tcp$v6" swap-listen "$port" "$2"
	world_listens "$port"
	here=$(guest_exec -t 170 g1 "peer swap tcp:$1 $port $2")
	there=$(world_end swap)
	expect "${here% *}" "${there#* }" "checksum one way"
	expect "${here#* }" "${there% *}" "checksum the other way"
}

# What circuit(8) says of circuits that end in sockets is what its schema has.
as_the_schema_has_it() {
	local dir=$LAB_RUN/json
	mkdir -p "$dir"
	"$CIRCUIT" -j -s show >"$dir/show"
	"$CIRCUIT" -j -s trunk show >"$dir/trunk"
	"$CIRCUIT" -j -s expose show >"$dir/expose"
	"$TOP/tools/check-json" "$dir"
}
socket_get() { # KEY: of the first circuit that ends in one
	local json
	json=$("$CIRCUIT" -j show)
	json_get "${json#*\"socket\"}" "$1"
}

# What the program is told, and what circuit(8) tells.
addresses() {
	world echo "$PEER" tcp echo 7
	world_listens 7
	guest_bg g1 nc "tail -f /dev/null | nc $V4 7"
	wait_for 10 sh -c "'$CIRCUIT' -j show | grep -q '\"trunk\":\"wan\"'"
	"$CIRCUIT" -s show
	expect 192.0.2.1 "$(socket_get local)"
	expect $V4 "$(socket_get remote)"
	expect established "$(socket_get state)"
	[ "$(socket_get cwnd)" -gt 0 ]
	as_the_schema_has_it
	guest_exec g1 "circuit -o socks" | grep "estab circuit 10.77.0.1:[0-9]* -> $V4:7 "
	"$CIRCUIT" -s trunk show | grep 'circuits 1'
	guest_bg_kill g1 nc
	wait_for 10 line_idle g1
	world_kill echo
}

errors() {
	says g1 'Connection refused' send tcp:$V4 99 1
	says g1 'Connection refused' send tcp:$V6 99 1
	ip route add unreachable 198.51.100.0/25
	ip route add prohibit 198.51.100.128/25
	says g1 'No route to host' send tcp:198.51.100.1 80 1
	says g1 'Permission denied' send tcp:198.51.100.129 80 1
	says g1 'Network is unreachable' send tcp:203.0.113.1 80 1
	says g1 'Connection refused' send tcp:$V4 0 1
	says g1 'Connection refused' send tcp:$V4 0 1
	ip route del unreachable 198.51.100.0/25
	ip route del prohibit 198.51.100.128/25
	# Nobody answers at all.
	echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
	ip route add 198.51.100.0/24 via $V4
	ip -n out route add blackhole 198.51.100.0/24
	says g1 'Connection timed out' send tcp:198.51.100.1 80 1
	echo 6 >/proc/sys/net/ipv4/tcp_syn_retries
	ip route del 198.51.100.0/24 via $V4
}

# The host's own services are none of a guest's business, unless the administrator says so.
host_address() {
	"$PEER" tcp echo 7 >/dev/null 2>&1 {LAB_OUT}>&- &
	local pid=$!
	wait_for 10 sh -c "ss -Hltn sport = :7 | grep -q ."
	says g1 'No route to host' calls tcp:192.0.2.1 7 1 1
	says g1 'No route to host' calls tcp:2001:db8::1 7 1 1
	"$CIRCUIT" trunk add inside host
	"$CIRCUIT" line set g1 trunk inside
	guest_exec g1 "peer calls tcp:192.0.2.1 7 1 1"
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del inside
	kill "$pid"
}

no_trunk() {
	local before
	before=$(line_get g2 calls-native)
	fails guest_exec g2 "nc -w 2 $V4 99 </dev/null"
	[ "$(line_get g2 calls-native)" -gt "$before" ]
}

parallel() { # N
	world hold "$PEER" tcp hold-listen 3200 "$1" 4096
	world_listens 3200
	guest_exec -t 110 g1 "ulimit -n 8192; peer hold tcp:$V4 3200 $1 4096"
	world_end hold
}

# Calls that the world does not answer for a while: all wait, in nobody's way, and are connected once it does.
in_flight() { # N
	local log
	"$CIRCUIT" line set g1 pending $(($1 + 100))
	world echo "$PEER" tcp6 echo 7
	world_listens 7
	cut_off
	guest_bg g1 pile "rm -f /tmp/pile; mkfifo /tmp/pile; peer pile tcp:$V4 7 $1 /tmp/pile"
	log=$(guest_bg_log g1 pile)
	wait_for 60 grep -qx '0 taken' "$log"
	expect "$1" "$(line_get g1 pending)" "calls that wait"
	guest_exec g1 "peer calls tcp:$V6 7 20 2"
	cut_on
	guest_exec g1 "echo >/tmp/pile"
	expect $'0 taken\n'"$1 taken"$'\nall work' "$(guest_wait g1 pile 110)"
	wait_for 20 line_idle g1
	"$CIRCUIT" line set g1 pending 256
	world_kill echo
}

trunk_calls() { # SEQUENTIAL PARALLEL
	world echo "$PEER" tcp echo 7
	world_listens 7
	guest_exec -t 110 g1 "peer calls tcp:$V4 7 $1 $2"
	world_kill echo
	fails grep unclean "$LAB_RUN/world.echo"
}

# A process has its end mapped; at the other is the host, who keeps to limits himself, so it keeps the mapping. What
# it writes anywhere in there nobody else is hurt by: neither one that has mapped his, nor others.
mapped() {
	local rounds=100
	[ "$HOST_KIND$GUEST_KIND" = stockstock ] || rounds=30
	world echo "$PEER" tcp6 echo 7
	world_listens 7
	udp_echo box 7
	udp_echo prey 9
	guest_exec -t 50 g1 "peer echo-mapped tcp:$V4 7 3000000 && peer echo-mapped tcp:$V6 7 1000000 &&
		peer echo-mapped udp:$V4 7 1000000"
	stay g1 stream tcp:$V4 7
	stay g1 mapped mapped tcp:$V4 7
	stay g1 datagrams mapped udp:$V4 7
	"$CIRCUIT" line set g1 send 100k/s
	stayed g1
	# Datagrams that there is no leave to receive are lost, and where there are very many some may be, too.
	stay_end g1 datagrams
	"$CIRCUIT" line set g1 receive 100k/s
	stayed g1
	guest_exec g1 "peer echo-mapped tcp:$V4 7 30000"
	"$CIRCUIT" line set g1 send none receive none
	guest_exec -t 50 g1 "peer scribble tcp:$V4 7 $rounds"
	guest_exec -t 50 g1 "peer scribble udp:$V4 9 $rounds"
	stay_end g1 stream mapped
	guest_exec g1 "peer calls tcp:$V4 7 5 1 && peer dgram-ask udp:$V4 7 5 100"
	wait_for 20 line_idle g1
	expect '[]' "$("$CIRCUIT" -j show | tr -d ' \n')" circuits
	world_kill echo
	world_kill box
	world_kill prey
}

# Two guests on one stack, with streams and datagrams.
shared() {
	local g before
	"$CIRCUIT" line set g2 trunk wan
	before="$(line_get g1 calls-out) $(line_get g2 calls-out)"
	world echo "$PEER" tcp echo 7
	world_listens 7
	udp_echo box 7
	for g in g1 g2; do
		guest_bg "$g" calls "peer calls tcp:$V4 7 1 100"
		guest_bg "$g" asks "peer dgram-ask udp:$V4 7 100 1000"
	done
	for g in g1 g2; do
		guest_wait "$g" calls 110
		guest_wait "$g" asks
	done
	expect "$((${before% *} + 101)) $((${before#* } + 101))" \
		"$(line_get g1 calls-out) $(line_get g2 calls-out)" "calls of both"
	world_kill echo
	world_kill box
	fails grep unclean "$LAB_RUN/world.echo"
	for g in g1 g2; do
		wait_for 10 line_idle "$g"
	done
	"$CIRCUIT" line set g2 trunk none
}

# The far side is killed: its kernel resets. The near one is: so does ours.
far_killed() {
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	wait_for 10 grep -q flooding "$(guest_bg_log g1 flood)"
	world_kill drain
	guest_wait g1 flood | grep -E 'reset by peer|Broken pipe'
}
near_killed() {
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q flooding "$(guest_bg_log g1 flood)"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	guest_bg_kill g1 flood
	world_end drain | tail -1 | grep -E '^end$|reset by peer'
	wait_for 10 line_idle g1
}

# Who closes with SO_LINGER for no time resets, either way.
resets() {
	world echo "$PEER" tcp echo 7
	world_listens 7
	guest_exec g1 "peer reset tcp:$V4 7"
	wait_for 10 grep 'unclean: recv: Connection reset by peer' "$LAB_RUN/world.echo"
	world_kill echo
	guest_bg g1 echo "peer tcp echo 8090"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8090 '"
	"$CIRCUIT" expose add g1:8090 on 192.0.2.1:90
	out "$PEER" reset tcp:192.0.2.1 90
	wait_for 10 grep 'unclean: recv: Connection reset by peer' "$(guest_bg_log g1 echo)"
	guest_bg_kill g1 echo
	"$CIRCUIT" expose del 192.0.2.1:90
	wait_for 10 line_idle g1
}

# Both directions of trunks, and datagrams, are told apart.
charged() {
	local use
	for use in relay signalling policy trunk-send trunk-receive datagrams; do
		[ "$(line_get g1 cpu-$use-ns)" -gt 0 ] || { echo "nothing for $use"; return 1; }
	done
}

# Nobody reads at the far side: the guest stops, with no more memory than it had, and nobody else does.
flood_bytes() { # of the circuit to port 9
	local json
	json=$("$CIRCUIT" -j show)
	grep '"remote-port":9[,}]' <<<"${json//\"id\":/$'\n'}" | grep -o '"bytes":[0-9]*'
}
stands_still() {
	local before
	ss -Htno dst $V4:9 | grep -q persist || return
	before=$(flood_bytes)
	read -rt 0.3 -u "$LAB_TICK" || true # what is looked for is that nothing happens
	expect "$before" "$(flood_bytes)" 2>/dev/null
}
stuck() {
	local before memory
	world stop sh -c "exec '$PEER' tcp drain 9"
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.stop"
	kill -STOP "$(<"$LAB_RUN/world.stop.pid")"
	wait_for 20 stands_still
	before=$(flood_bytes)
	memory=$(line_get g1 memory)
	echo "$before, memory $memory"
	trunk_transfer $V4 5000000
	trunk_calls 50 2
	wait_for 10 one_circuit g1
	expect "$before" "$(flood_bytes)" "what has been sent"
	# Cables that calls before this have left may have been given up.
	[ "$(line_get g1 memory)" -le "$memory" ]
	kill -CONT "$(<"$LAB_RUN/world.stop.pid")"
	world_kill stop
	guest_wait g1 flood
}

# Nobody reads in the guest: the world stops, the host keeps no more than a socket may, and nobody else is concerned.
unread() {
	local before mem
	guest_bg g1 drain "peer tcp drain 8090"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8090 '"
	"$CIRCUIT" expose add g1:8090 on 192.0.2.1:90
	world flood "$PEER" flood tcp:192.0.2.1 90
	wait_for 10 grep -q draining "$(guest_bg_log g1 drain)"
	guest_exec g1 'kill -STOP $(pidof peer)'
	wait_for 20 sh -c "ip netns exec $WORLD ss -Htno dst 192.0.2.1:90 | grep -q persist"
	trunk_transfer $V4 5000000
	trunk_calls 50 2
	wait_for 10 one_circuit g1
	mem=$(ss -Htnm src 192.0.2.1:90 | grep -oE 'skmem:\(r[0-9]+,rb[0-9]+')
	t_note "$mem"
	[[ $mem =~ r([0-9]+),rb([0-9]+) ]]
	[ "${BASH_REMATCH[1]}" -gt 0 ]
	[ "${BASH_REMATCH[1]}" -le $((2 * BASH_REMATCH[2])) ]
	before=$(line_get g1 bytes-in)
	guest_exec g1 'kill -CONT $(pidof peer)'
	wait_for 20 more_than $((before + 5000000)) line_get g1 bytes-in
	world_kill flood
	guest_wait g1 drain | tail -1 | grep -E '^end$|reset by peer'
	"$CIRCUIT" expose del 192.0.2.1:90
	wait_for 10 line_idle g1
}

exposed() {
	local before
	guest_bg g1 echo "peer tcp6 echo 8080"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8080 '"
	"$CIRCUIT" expose add g1:8080 on 192.0.2.1:80
	"$CIRCUIT" expose add g1:8080 on '[2001:db8::1]:80'
	before=$(line_get g1 calls-in)
	out "$PEER" calls tcp:192.0.2.1 80 20 5
	out "$PEER" calls tcp:2001:db8::1 80 20 5
	expect $((before + 200)) "$(line_get g1 calls-in)" "calls of g1"
	"$CIRCUIT" -s expose show | grep 'accepted 100 refused 0 waiting 0'
	# The guest knows who calls.
	world nc sh -c "sleep 100 | busybox nc 192.0.2.1 80"
	wait_for 10 sh -c "'$CIRCUIT' -j show | grep -q '\"remote\":\"192.0.2.2\"'"
	guest_exec g1 "circuit -o socks" | grep "estab circuit \[::ffff:10.77.0.1\]:8080 -> \[::ffff:192.0.2.2\]:"
	as_the_schema_has_it
	world_kill nc
	bad 'listens there' expose add g1:8080 on 192.0.2.1:80
	bad 'does not have that address' expose add g1:8080 on 192.0.2.9:80
	bad 'no such line' expose add g9:8080 on 192.0.2.1:81
	bad 'nothing is exposed' expose del 192.0.2.1:81
	# Nobody there any more: reset, and no harm.
	guest_bg_kill g1 echo
	fails out timeout 10 "$PEER" calls tcp:192.0.2.1 80 1 1
	"$CIRCUIT" expose del 192.0.2.1:80
	"$CIRCUIT" expose del '[2001:db8::1]:80'
	fails out timeout 10 "$PEER" send tcp:192.0.2.1 99 1
	wait_for 10 line_idle g1
}

# Bytes per second of what the world sends, and of what is sent there.
byte_rates() {
	local start took way
	guest_bg g1 echo "peer tcp echo 8081"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8081 '"
	"$CIRCUIT" expose add g1:8081 on 192.0.2.1:81
	for way in receive send; do
		"$CIRCUIT" line set g1 "$way" 256k/s
		start=$(lab_now)
		out "$PEER" swap tcp:192.0.2.1 81 1000000
		took=$(lab_since "$start")
		t_note "1 MB there and back, $way 256k/s: $took s"
		# The last of it is sent by a leg whose guest has hung up.
		awk -v s="$took" 'BEGIN { exit !(s > 3 && s < 30) }'
		[ "$("$CIRCUIT" -j stat g1 | tr , '\n' | sed -n "s/.*\"$way-waits\"://p")" -gt 0 ]
		"$CIRCUIT" line set g1 "$way" none
	done
	# And of a rule that lets the world in.
	"$CIRCUIT" policy load - <<<$'default connect\nconnect on expose to line g1 bytes 256k/s'
	start=$(lab_now)
	out "$PEER" swap tcp:192.0.2.1 81 1000000
	took=$(lab_since "$start")
	t_note "1 MB there and back, by a rule of 256k/s: $took s"
	awk -v s="$took" 'BEGIN { exit !(s > 3 && s < 30) }'
	"$CIRCUIT" -s policy | grep 'bytes 256k/s # hits [1-9][0-9]* waits [1-9]'
	"$CIRCUIT" policy load - <<<'default connect'
	guest_bg_kill g1 echo
	"$CIRCUIT" expose del 192.0.2.1:81
	wait_for 10 line_idle g1
}

# Datagrams there and back, of all sizes, over both protocols.
udp_echo() { # ID PORT
	world "$1" "$PEER" dgram-echo "udp:$2"
	wait_for 10 grep -q bound "$LAB_RUN/world.$1"
}
udp_out() {
	local size before
	udp_echo echo 7
	before=$(line_get g1 calls-out)
	for size in 1 1400 9000 65507; do
		guest_exec g1 "peer dgram-ask udp:$V4 7 20 $size"
	done
	for size in 1 1400 9000 65527; do
		guest_exec g1 "peer dgram-ask udp:$V6 7 20 $size"
	done
	expect $((before + 8)) "$(line_get g1 calls-out)" "calls of g1"
	"$CIRCUIT" explain g1 $V4:7 type dgram | grep trunk
	world_kill echo
	wait_for 10 line_idle g1
}

# One port of the guest's is one port of the host's, whomever it talks to; and idle flows end, and begin again.
udp_ports() {
	local i ports before
	"$CIRCUIT" trunk add quick idle 5
	"$CIRCUIT" line set g1 trunk quick
	for i in 1 2 3; do
		udp_echo "echo$i" $((7000 + i))
	done
	guest_exec g1 "mkfifo /tmp/again"
	guest_bg g1 spread "peer dgram-spread udp:$V4 7001 3 /tmp/again"
	wait_for 30 grep -q answered "$(guest_bg_log g1 spread)"
	"$CIRCUIT" -s show
	ports=$("$CIRCUIT" -j show | grep -o '"local-port":[0-9]*' | sort -u | wc -l)
	expect 1 "$ports" "ports of the host's"
	as_the_schema_has_it
	before=$(line_get g1 calls-out)
	wait_for 30 no_circuits g1
	guest_exec g1 "echo >/tmp/again"
	guest_wait g1 spread || { cat "$(guest_bg_log g1 spread)"; return 1; }
	expect $((before + 3)) "$(line_get g1 calls-out)" "calls of g1"
	wait_for 10 line_idle g1
	for i in 1 2 3; do
		world_kill "echo$i"
	done
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del quick
}

one_circuit() { [ "$(line_get "$1" circuits)" = 1 ]; }

udp_errors() {
	udp_echo echo 7
	says g1 'Connection refused' dgram-ask udp:$V4 99 2 1
	says g1 'Connection refused' dgram-ask udp:$V6 99 2 1
	says g1 'Network is unreachable' dgram-ask udp:203.0.113.1 99 2 1
	says g1 'No route to host' dgram-ask udp:192.0.2.1 99 2 1
	# One's error is nobody else's.
	guest_bg g1 asks "peer dgram-ask udp:$V4 7 2000 100"
	for _ in 1 2 3 4 5; do
		says g1 'Connection refused' dgram-ask udp:$V4 99 2 1
	done
	guest_wait g1 asks
	"$CIRCUIT" policy load - <<<$'default connect\nreject type dgram to trunks port 7 error EPERM'
	says g1 'Operation not permitted' dgram-ask udp:$V4 7 2 1
	"$CIRCUIT" policy load - <<<'default connect'
	guest_exec g1 "peer dgram-ask udp:$V4 7 2 1"
	world_kill echo
	wait_for 10 line_idle g1
}

udp_exposed() {
	local before
	guest_bg g1 echo "peer dgram-echo udp:5300"
	wait_for 10 grep -q bound "$(guest_bg_log g1 echo)"
	"$CIRCUIT" expose add g1:5300 on 192.0.2.1:53 type dgram
	"$CIRCUIT" expose add g1:5300 on 0.0.0.0:54 type dgram
	"$CIRCUIT" expose add g1:5300 on '[::]:54' type dgram
	"$CIRCUIT" expose show | grep 'on 192.0.2.1:53 type dgram'
	"$CIRCUIT" explain expose from $V4 to g1:5300 type dgram
	before=$(line_get g1 calls-in)
	out "$PEER" dgram-ask udp:192.0.2.1 53 50 9000
	out "$PEER" dgram-ask udp:192.0.2.1 54 50 1
	# an answer comes from where the question went, whichever address that is
	ip address add 192.0.2.77/24 dev to-out
	out "$PEER" dgram-ask udp:192.0.2.77 54 5 1
	ip address del 192.0.2.77/24 dev to-out
	out "$PEER" dgram-ask udp:2001:db8::1 54 50 65527
	expect $((before + 4)) "$(line_get g1 calls-in)" "calls of g1"
	"$CIRCUIT" -s expose show
	bad 'listens there' expose add g1:5300 on 192.0.2.1:53 type dgram
	bad 'neither stream nor dgram' expose add g1:5300 on 192.0.2.1:55 type raw
	bad 'nothing is exposed' expose del 192.0.2.1:53
	# A port that is taken back is free, though there are flows, and one that is busy.
	world flood "$PEER" dgram-flood udp:192.0.2.1 53
	wait_for 10 grep -q flooding "$LAB_RUN/world.flood"
	"$CIRCUIT" expose del 192.0.2.1:53 type dgram
	"$CIRCUIT" expose add g1:5300 on 192.0.2.1:53 type dgram
	world_kill flood 2>/dev/null || true
	# Who comes back from the same port is answered, too.
	out "$PEER" dgram-ask udp:192.0.2.1 53 5 1
	# Nobody there any more: lost, and no harm.
	guest_bg_kill g1 echo
	fails out timeout 2 "$PEER" dgram-ask udp:192.0.2.1 53 1 1
	"$CIRCUIT" -s expose show | grep 'on 192.0.2.1:53 .*refused [1-9]'
	"$CIRCUIT" expose del 192.0.2.1:53 type dgram
	"$CIRCUIT" expose del 0.0.0.0:54 type dgram
	"$CIRCUIT" expose del '[::]:54' type dgram
	wait_for 10 line_idle g1
}

# What is lost on its way to a guest that does not read is counted, wherever it is lost: in the ring, while the call
# waits for the guest to take it, or in the host's socket.
udp_lost() { # N SIZE SOCKETS
	local counted line
	guest_bg g1 count "rm -f /tmp/count; mkfifo /tmp/count; peer dgram-count udp:5300 /tmp/count"
	wait_for 10 grep -q bound "$(guest_bg_log g1 count)"
	"$CIRCUIT" expose add g1:5300 on 192.0.2.1:53 type dgram
	out "$PEER" dgram-burst udp:192.0.2.1 53 "$1" "$2" "$3"
	# Nobody says when the host is through with it.
	wait_for 20 udp_is_quiet
	guest_exec g1 "echo >/tmp/count"
	wait_for 30 grep -q silence "$(guest_bg_log g1 count)"
	[ "$3" -gt 1 ] || "$CIRCUIT" -s show | grep 'lost [1-9]'
	out "$PEER" dgram-burst udp:192.0.2.1 53 1 1 1
	guest_wait g1 count
	line=$(grep ^got "$(guest_bg_log g1 count)")
	t_note "$line"
	read -r _ counted _ line <<<"$line"
	[ "$line" -gt 0 ]
	expect $(($1 * $3 + 1)) $((counted + line)) "datagrams"
	"$CIRCUIT" expose del 192.0.2.1:53 type dgram
	wait_for 10 line_idle g1
}
udp_is_quiet() { ss -Hlun src 192.0.2.1:53 | grep -q '^[^ ]* *0 '; }

# Datagrams per second, to the world and from it, which the operator counts.
udp_messages() {
	local rate=500 got
	[ "$HOST_KIND$GUEST_KIND" = stockstock ] || rate=250
	world sink "$(dirname "$PEER")/bench" serve udp 9
	wait_for 10 sh -c "ip netns exec $WORLD ss -Hlun sport = :9 | grep -q ."
	"$CIRCUIT" line set g1 send-messages $rate/s
	rate_is $rate "$(message_rate g1 udp $V4 9)"
	[ "$(line_get g1 send-messages-waits)" -gt 0 ]
	"$CIRCUIT" line set g1 send-messages none
	world_kill sink
	guest_bg g1 sink "bench serve udp 5300"
	"$CIRCUIT" expose add g1:5300 on 192.0.2.1:53 type dgram
	wait_for 10 guest_exec g1 "netstat -lun | grep -q ':5300 '"
	"$CIRCUIT" line set g1 receive-messages $rate/s
	got=$(out timeout 90 "$(dirname "$PEER")/bench" messages udp 192.0.2.1 53 64 1 3000)
	rate_is $rate "$(rate_of "$got")"
	[ "$(line_get g1 receive-messages-waits)" -gt 0 ]
	"$CIRCUIT" line set g1 receive-messages none
	guest_bg_kill g1 sink
	"$CIRCUIT" expose del 192.0.2.1:53 type dgram
	wait_for 10 line_idle g1
}

# What a trunk's sockets are told, they do.
told() {
	local c json rate before start nft=''
	for c in cubic bbr dctcp; do
		[ "$HOST_KIND" = stock ] || [ $c = cubic ] || continue # has no others
		"$CIRCUIT" trunk add told congestion $c
		"$CIRCUIT" line set g1 trunk told
		trunk_transfer $V4 300000
		drained
		json=$("$CIRCUIT" -j show)
		# Where the far end does without ECN, that is the name of the one that dctcp becomes.
		json=$(json_get "$json" congestion)
		expect $c "${json%-reno}" "congestion control"
		drained_no_more
		"$CIRCUIT" line set g1 trunk wan
		"$CIRCUIT" trunk del told
	done
	! modprobe nf_tables 2>/dev/null || ! command -v nft >/dev/null || nft=1
	"$CIRCUIT" trunk add told pacing 256k mss 600 dscp 46
	"$CIRCUIT" line set g1 trunk told
	[ -z "$nft" ] || nft -f - <<-'EOF'
	table inet guests {
		counter marked { }
		counter others { }
		chain output {
			type filter hook output priority 0
			tcp dport 9 ip dscp 46 counter name marked
			tcp dport 9 ip dscp != 46 counter name others
		}
	}
	EOF
	drained
	before=$(acked) start=$(lab_now)
	sleep 2 # what is measured
	rate=$((($(acked) - before) * 1000000 / ($(lab_now) - start)))
	t_note "paced at 256 KiB/s: $((rate >> 10)) KiB/s"
	[ "$rate" -gt 100000 ]
	[ "$rate" -lt 350000 ]
	c=$(ss -Htin dst $V4:9 | grep -oE ' mss:[0-9]+')
	[ "${c#*:}" -le 600 ]
	[ "${c#*:}" -gt 500 ]
	drained_no_more
	if [ -n "$nft" ]; then
		nft list counter inet guests marked | grep 'packets [1-9]'
		nft list counter inet guests others | grep 'packets 0 '
		nft delete table inet guests
	fi
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del told
}
acked() { ss -Htin dst $V4:9 | grep -oE 'bytes_acked:[0-9]+' | cut -d: -f2; }
drained() { # a flood that somebody reads
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	wait_for 10 flows
}
flows() { [ -n "$(acked)" ] && [ "$(acked)" -gt 1000 ]; }
drained_no_more() {
	world_kill drain
	guest_wait g1 flood
	wait_for 10 line_idle g1
}

# One guest, two stacks; what a stack's sockets are like is the administrator's choice.
stacks() {
	local json pid drain before
	namespace blue 3
	# The guest's side of blue: the same network from inside the other namespace.
	"$CIRCUIT" trunk add blue netns blue to 192.0.3.0/24 congestion reno dscp 10 mark 7 source 192.0.3.2
	"$CIRCUIT" line set g1 trunk blue trunk wan
	"$PEER" tcp echo 17 >/dev/null 2>&1 {LAB_OUT}>&- &
	pid=$!
	"$PEER" tcp drain 19 >"$LAB_RUN/drain" 2>&1 {LAB_OUT}>&- &
	drain=$!
	wait_for 10 sh -c "ss -Hltn sport = :17 | grep -q . && ss -Hltn sport = :19 | grep -q ."
	# From blue, that is a neighbour's address; over wan, the host's own.
	guest_exec g1 "peer calls tcp:192.0.3.1 17 5 1"
	guest_bg g1 nc "tail -f /dev/null | nc 192.0.3.1 17"
	wait_for 10 sh -c "'$CIRCUIT' -j show | grep -q '\"trunk\":\"blue\"'"
	json=$("$CIRCUIT" -j show)
	expect 192.0.3.2 "$(json_get "${json#*\"socket\"}" local)"
	expect reno "$(json_get "${json#*\"socket\"}" congestion)"
	bad 'lines or exposed' trunk del blue
	guest_bg_kill g1 nc
	# A port of that stack's leads to the guest, and of no other.
	guest_bg g1 echo "peer tcp echo 8080"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8080 '"
	bad 'does not have that address' expose add g1:8080 on 192.0.3.2:80
	"$CIRCUIT" expose add g1:8080 on 192.0.3.2:80 trunk blue
	"$PEER" calls tcp:192.0.3.2 80 5 2
	guest_bg_kill g1 echo
	# The namespace is deleted under load: what is established lives, and keeps it, as long as a program's would.
	guest_bg g1 flood "peer flood tcp:192.0.3.1 19"
	guest_bg g1 calls "while peer calls tcp:192.0.3.1 17 1 1; do echo called; done"
	wait_for 10 grep -q draining "$LAB_RUN/drain"
	wait_for 10 more_than 2 times_called
	ip netns del blue
	before="$(times_called) $(line_get g1 bytes-out)"
	wait_for 10 more_than $((${before% *} + 2)) times_called
	wait_for 10 more_than $((${before#* } + 1000000)) line_get g1 bytes-out
	# Then it goes between two calls, or in the middle of one.
	guest_bg_kill g1 flood
	guest_wait g1 calls | tail -1
	wait_for 10 line_idle g1
	wait_for 20 sh -c "'$CIRCUIT' trunk show | grep -q gone"
	expect '[]' "$("$CIRCUIT" -j expose show | tr -d ' \n')" "exposed ports"
	says g1 'Network is unreachable' send tcp:192.0.3.1 17 1
	# All of IPv6 is nothing of IPv4.
	"$CIRCUIT" trunk add six to ::/0 source 2001:db8::9
	"$CIRCUIT" line set g1 trunk six trunk wan
	says g1 'Cannot assign requested address' send tcp:$V6 17 1
	says g1 'Connection refused' send tcp:$V4 99 1
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del six
	"$CIRCUIT" trunk del blue
	kill "$pid"
	tail --pid="$drain" -f /dev/null # it has come to an end
	bad 'no such congestion' trunk add x congestion nonsense
	bad 'no such trunk' line set g1 trunk x
	bad 'trunk of that name' trunk add wan
	bad 'network namespace' trunk add x netns /dev/null
}

times_called() { grep -c called "$(guest_bg_log g1 calls)" || true; }

# The kernel at the other end no longer answers, nor says why.
cut_off() { ip -n out route add blackhole 192.0.2.1/32; }
cut_on() { ip -n out route del blackhole 192.0.2.1/32; }
probing() { ss -Htno "$@" | grep -q 'timer:(keepalive'; }

# What the guest's program says of keeping alive is so of the host's socket. More probes are answered
# than may be lost, before none is any more: it is not for want of data that the connection ends.
kept_alive() {
	local how probes
	for how in early late; do
		world drain "$PEER" tcp drain 9
		world_listens 9
		guest_bg g1 idle "peer idle tcp:$V4 9 $how"
		wait_for 10 probing dst $V4
		probes=$(probes)
		wait_for 20 probed $((probes + 4))
		expect idle "$(cat "$(guest_bg_log g1 idle)")"
		cut_off
		guest_wait g1 idle | tail -1 | grep 'timed out'
		cut_on
		world_end drain | tail -1 | grep 'reset by peer'
	done
	# and of one that was taken
	guest_bg g1 idle "peer tcp idle-listen 8080"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':8080 '"
	"$CIRCUIT" expose add g1:8080 on 192.0.2.1:80
	world idle "$PEER" idle tcp:192.0.2.1 80 late
	wait_for 10 probing src 192.0.2.1
	cut_off
	guest_wait g1 idle | tail -1 | grep 'timed out'
	cut_on
	world_end idle
	"$CIRCUIT" expose del 192.0.2.1:80
	wait_for 10 line_idle g1
}
probes() { nstat -asz TcpExtTCPKeepAlive | awk '/KeepAlive/ { print $2 }'; }
probed() { [ "$(probes)" -ge "$1" ]; }

# The administrator's limit for data that is not acknowledged.
blackhole() {
	"$CIRCUIT" trunk add short user-timeout 2000
	"$CIRCUIT" line set g1 trunk short
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	cut_off
	wait_for 5 more_than 0 socket_get unacked
	guest_wait g1 flood | tail -1 | grep 'timed out'
	cut_on
	world_kill drain
	wait_for 10 line_idle g1
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del short
}

urgent() {
	world urgent "$PEER" tcp urgent-listen 9
	world_listens 9
	expect 'abc X' "$(guest_exec g1 "peer urgent tcp:$V4 9")" "urgent data from the world"
	expect 'abc X' "$(world_end urgent)" "urgent data from the guest"
}

# A long way, and a bad one.
netem() {
	tc qdisc add dev to-out root netem delay 20ms loss 1%
	trunk_transfer $V4 3000000
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	wait_for 10 slow
	wait_for 30 more_than 0 socket_get retrans
	wait_for 10 more_than 0 socket_get delivery-rate
	world_kill drain
	guest_wait g1 flood
	tc qdisc del dev to-out root
}
slow() { [ "$(socket_get rtt-us)" -ge 20000 ]; }

# nftables has the same to say of a guest's connections as of the host's own.
firewall() {
	modprobe nf_tables 2>/dev/null && command -v nft >/dev/null || t_skip "a kernel without nftables"
	"$CIRCUIT" trunk add marked mark 9 user-timeout 2000
	"$CIRCUIT" line set g1 trunk marked
	nft -f - <<-'EOF'
	table inet guests {
		counter refused { }
		counter dropped { }
		chain output {
			type filter hook output priority 0
			meta mark 9 tcp dport 80 counter name refused reject with tcp reset
		}
	}
	EOF
	says g1 'Connection refused' send tcp:$V4 80 1
	nft list counter inet guests refused | grep 'packets [1-9]'
	# one that is established
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	nft add rule inet guests output meta mark 9 tcp dport 9 counter name dropped drop
	guest_wait g1 flood | tail -1 | grep 'timed out'
	nft list counter inet guests dropped | grep 'packets [1-9]'
	nft delete table inet guests
	world_kill drain
	"$CIRCUIT" line set g1 trunk wan
	"$CIRCUIT" trunk del marked
}

zerocopy() { # BYTES: at least so many have been sent without a copy, on one circuit
	"$CIRCUIT" -j show | grep -o '"zerocopy":[0-9]*' |
		awk -F: -v least="$1" '$2 >= least { found = 1 } END { exit !found }'
}
# What g1 sends is checked at the other end, and TCP has some of its ring when the cable is cut.
lent() {
	local WORLD=far
	[ -e /run/netns/far ] || wire_up
	world check "$PEER" tcp check 9
	world_listens 9
	guest_bg g1 send "peer send tcp:192.0.4.2 9 4000000000"
	wait_for 30 zerocopy 1000000
	out ip link set eth1 down
}
# Over real cards nobody copies what the guest has written: not for TCP, not on its way, and not when
# some of it is lost and has to be sent again.
wire() {
	local WORLD=far
	[ -e /run/netns/far ] || wire_up
	trunk_transfer 192.0.4.2 20000000
	lent
	"$CIRCUIT" -s show
	# The guest's program ends while some of its ring is lent: the pages stay what they are, whatever others send.
	guest_bg_kill g1 send
	wait_for 10 line_idle g1
	(WORLD=out && trunk_transfer $V4 1000000)
	out ip link set eth1 up
	world_end check | tail -1 | grep -E '^end after [0-9]{7,} bytes'
	# What is lost is sent again.
	tc qdisc add dev eth0 root netem loss 2% delay 1ms
	trunk_transfer 192.0.4.2 3000000
	tc qdisc del dev eth0 root
	wait_for 20 line_idle g1
}

# A VM dies with data on its way: the world is told.
vmm_killed() {
	world drain "$PEER" tcp drain 9
	world_listens 9
	guest_bg g1 flood "peer flood tcp:$V4 9"
	wait_for 10 grep -q draining "$LAB_RUN/world.drain"
	# Another has said all it has to say, to somebody who does not listen yet.
	world late "$PEER" tcp drain 10
	world_listens 10
	kill -STOP "$(<"$LAB_RUN/world.late.pid")"
	guest_bg g1 send "peer send tcp:$V4 10 8000000"
	wait_for 10 sh -c "ip netns exec out ss -Htn sport = :10 | grep -q ESTAB"
	# And of a third the network card has the pages.
	lent
	guest_kill9 g1
	world_end drain | tail -1 | grep 'reset by peer'
	kill -CONT "$(<"$LAB_RUN/world.late.pid")"
	world_end late | tail -1 | grep 'reset by peer'
	wait_for 20 line_idle g1
	ip netns exec far ip link set eth1 up
	world_kill check
	fails grep 'not what was sent' "$LAB_RUN/world.check"
}

wget_file() {
	mkdir -p "$LAB_RUN/www"
	head -c 3000000 /dev/urandom >"$LAB_RUN/www/file"
	world httpd busybox httpd -f -p 80 -h "$LAB_RUN/www"
	world_listens 80
	expect "$(sha256sum <"$LAB_RUN/www/file")" "$(guest_exec g1 "wget -q -O - http://$V4/file | sha256sum")"
	world_kill httpd
}

nothing() {
	nothing_left
	"$CIRCUIT" line set g1 trunk none
	"$CIRCUIT" trunk del wan
	ip netns del out
	ip netns del far
	expect '[]' "$("$CIRCUIT" -j trunk show | tr -d ' \n')"
}

t_run -t 120 "two guests and the world" setup
t_run "without a trunk there is no way out" no_trunk
for bytes in 0 1 65537 50000000; do
	t_run -t 180 "transfer of $bytes bytes both ways" trunk_transfer $V4 $bytes
done
t_run "transfer over IPv6" trunk_transfer $V6 1000000
t_run "addresses, and what can be seen" addresses
t_run "errors are the stack's" errors
t_run "the host's own addresses" host_address
t_run -t 120 "500 calls in sequence" trunk_calls 500 1
t_run -t 120 "100 calls at once" trunk_calls 1 100
t_run -t 120 "1000 connections at once" parallel 1000
calls=2000
[ "$HOST_KIND$GUEST_KIND" = stockstock ] || calls=300
t_run -t 180 "$calls calls in flight" in_flight $calls
t_run "the far side is killed" far_killed
t_run "the near side is killed" near_killed
t_run "either side resets" resets
t_run "a far side that is stuck" stuck
t_run "a guest that does not read" unread
t_run "a guest's program, unmodified" wget_file
t_run "urgent data" urgent
t_run "keep-alive" kept_alive
t_run "the far side is not heard of any more" blackhole
t_run -t 120 "a long way that loses packets" netem
t_run "nftables" firewall
t_run -t 240 "network cards, and nothing copied" wire
t_run "exposed ports" exposed
t_run -t 120 "UDP: datagrams to the world" udp_out
t_run "UDP: errors are the stack's" udp_errors
t_run -t 120 "UDP: ports, and idle flows" udp_ports
t_run -t 120 "UDP: ports of the host's lead to a guest" udp_exposed
t_run "UDP: what a guest has no room for is counted" udp_lost 3000 1400 1
t_run "UDP: so is what comes before it takes the call" udp_lost 20 1400 132
t_run -t 120 "UDP: datagrams per second" udp_messages
t_run "what the operator has done is charged" charged
t_run "bytes per second" byte_rates
t_run "two guests on one stack" shared
t_run "a stack's sockets are as they are told to be" told
t_run "stacks, and one that goes" stacks
# It writes what it likes to its counters, too: what those of g1 say is of no use after that.
t_run -t 120 "a process has its end mapped" mapped
t_run "a VM is killed with data on its way" vmm_killed
t_run "nothing is left" nothing
