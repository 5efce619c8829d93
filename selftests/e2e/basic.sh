# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# basic - two VMs, one operator: calls and transfers that should work, and errors that
# should be exact.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"

t_run -t 30 "host module loads" host_up
t_run "lines: create, show, change, delete" lines
t_run "lines: bad input is refused and leaves nothing" lines_bad
t_run -t 120 "two guests attach" guests_up g1 g2
t_run "the lab sees splats" splats_seen
t_run "a second VM cannot attach to the same line" attach_twice

t_run -t 120 "devices that are no line, or a bad one" odd_devices

for size in 0 1 4095 4096 65537 1000000 $((16 << 20)) $((256 << 20)); do
	t_run -t 180 "transfer of $size bytes both ways at once" transfer_both "$size"
done
t_run -t 120 "1000 calls in sequence" calls 1000 1
t_run -t 120 "200 calls at once" calls 1 200
t_run "call refused: nobody listens" refused g1 99 'Connection refused'
t_run "call refused: no such line" refused nobody 99 'No route to host'
t_run "call to oneself" transfer g1 g1 100000
t_run -t 200 "socket semantics within one guest" semantics
t_run -t 200 "messages" messages
t_run -t 300 "datagrams" datagrams
t_run "circuits, memory and listeners are back to nothing" nothing_left
# Instrumented kernels get through a tenth of that in the time.
many=10000
[ "$HOST_KIND$GUEST_KIND" = stockstock ] || many=1000
t_run -t 120 "$many circuits on one line" many $many
t_run "nothing left of them" nothing_left
