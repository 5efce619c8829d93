# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# inet - programs that know nothing of circuits: their TCP sockets become circuits where the
# operator connects them, and stay TCP's where it does not.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"

# Two guests with a network between them as well. Lines have the addresses of the guests' network
# cards, and one more each that only the exchange knows.
setup() {
	local g
	host_up
	for g in g1 g2; do
		"$CIRCUIT" line add "$g" circuits 12000
		guest_start "$g" --line "$g" --net --no-wait
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
		"$CIRCUIT" line set "$g" addr "10.77.0.${g#g}" addr "$(guest_ip "$g")" addr "fd00:77::${g#g}"
		# Where only the exchange leads, TCP had better know that it does not.
		guest_exec "$g" "ip route add unreachable 10.77.0.0/24"
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

# What TCP promises, of TCP sockets on circuits: to an address of this very line that the guest
# does not know to be its own.
semantics_redirected() {
	local log=/out/stream_test.inet.$GUEST_KIND before
	before=$(line_get g1 calls-out)
	guest_exec -t 190 g1 "stream_test --inet 10.77.0.1 --quick" | tee "$log" | grep -E '^(not ok|#)' || true
	t_note "$(($(line_get g1 calls-out) - before)) calls, $(tail -1 "$log")"
	[ "$(line_get g1 calls-out)" -gt $((before + 100)) ]
	grep -q '# passed [0-9]* failed 0 ' "$log"
}

# A line that goes takes its circuits; who listens goes on as TCP, and is published again.
line_comes_back() {
	local sum
	sum=$(sum_of g2)
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in 0000:*; do echo $d > unbind; done'
	wait_for 10 line_is g2 attached
	expect "$sum 0" "$(fetch g1 "http://$(guest_ip g2):8001/file")" "without a line"
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in /sys/bus/pci/devices/*; do
		[ "$(cat $d/vendor)$(cat $d/device)" = 0x1af40x1110 ] && basename $d > bind; done; true'
	wait_for 10 line_is g2 up
	wait_for 10 published g2
	expect "$sum 1" "$(fetch g1 "http://10.77.0.2:8001/file")" "with it again"
}
published() { [ "$(line_get "$1" listeners)" -gt 0 ]; }

# The probes come and go while sockets are made, and nobody notices.
switching() {
	local sum
	sum=$(sum_of g2)
	guest_bg g1 fetches "while :; do wget -q -O /tmp/got http://$(guest_ip g2):8001/file &&
		sha256sum </tmp/got || echo failed; done"
	guest_exec -t 100 g1 'i=0; while [ $i -lt 1000 ]; do
		echo 1 >/proc/sys/net/circuit/redirect; echo 0 >/proc/sys/net/circuit/redirect; i=$((i + 1)); done'
	guest_bg_kill g1 fetches
	expect "$sum  -" "$(sort -u "$(guest_bg_log g1 fetches)")" "what was fetched"
	redirect g1 on
}

# Sockets that may become circuits hold the module, others do not, and neither does TIME_WAIT.
module_goes() {
	fails guest_exec g2 "rmmod circuit_guest"
	guest_bg_kill g2 httpd8001
	redirect g2 off
	wait_for 10 guest_exec g2 "rmmod circuit_guest"
	expect "$(sum_of g2) 0" "$(fetch g1 "http://$(guest_ip g2):8000/file")"
	guest_exec g2 "modprobe circuit_guest"
	wait_for 10 line_is g2 up
}

t_run -t 120 "two guests on a network" setup
t_run "nothing is redirected at first" off_at_first
t_run "both redirected: circuits" both_redirected
t_run "server not redirected: TCP" server_native
t_run "client not redirected: TCP" client_native
t_run "loopback and own addresses: TCP" local_native
t_run -t 200 "TCP's semantics on circuits" semantics_redirected
t_run -t 120 "a line goes and comes back" line_comes_back
t_run -t 120 "switched on and off 1000 times under load" switching
t_run "the module goes when no socket needs it" module_goes
