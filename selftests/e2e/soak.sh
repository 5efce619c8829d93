# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# soak - the cases of selftests/stream at full size, which other scenarios run with --quick: ten times
# the data; map, unmap, close, fork and kill in thousands of interleavings; a thousand processes that write
# whatever they like wherever they can. For `make soak`; no part of `make check`.
#
# lab: --timeout 7200
. "$TOP/selftests/e2e/common.sh"

setup() {
	guests_up g1
	"$CIRCUIT" line set g1 addr 10.77.0.1 addr fd00:77::1
	guest_exec g1 "ip route add unreachable 10.77.0.0/24 2>/dev/null; true"
}

# Both ends of everything are in one guest: what differs from two is whose window shows the cable.
cases() { # NAME OPTION...
	local log=/out/soak.$1.$GUEST_KIND
	guest_exec -t 1800 g1 "stream_test ${*:2}" | tee "$log" | grep -E '^(not ok|#)' || true
	grep -q '# passed [1-9][0-9]* failed 0 ' "$log"
}
redirected() { # NAME OPTION...
	guest_exec g1 "echo 1 >/proc/sys/net/circuit/redirect"
	cases "$@" || return
	guest_exec g1 "echo 0 >/proc/sys/net/circuit/redirect"
}

t_run -t 120 "a guest" setup
t_run -t 1800 "soak: mapped streams" cases map-stream --map
t_run -t 1800 "soak: mapped messages" cases map-messages --map --seqpacket
t_run -t 1800 "soak: mapped datagrams" cases map-datagrams --map --dgram
t_run -t 1800 "soak: mapped TCP sockets" redirected map-tcp --map --inet 10.77.0.1
t_run -t 1800 "soak: mapped UDP sockets" redirected map-udp --map --inet fd00:77::1 --dgram
t_run -t 1800 "soak: streams" cases stream
t_run -t 1800 "soak: messages" cases messages --seqpacket
t_run -t 1800 "soak: datagrams" cases datagrams --dgram
t_run -t 1800 "soak: TCP sockets" redirected tcp --inet 10.77.0.1
t_run -t 1800 "soak: UDP sockets" redirected udp --inet fd00:77::1 --dgram
t_run -t 120 "soak: nothing left" nothing_left
