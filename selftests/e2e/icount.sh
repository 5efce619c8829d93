# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# icount - what an operation takes: of instructions, on a machine on which each takes a nanosecond, of
# the programs, both guests' kernels and the host together, one processor being all there is. What that is does
# not depend on what else this machine does, so selftests/bench/icount.bounds says how much it may be.
#
# lab: --timeout 1500 --icount
. "$TOP/selftests/e2e/bench-common.sh"

boot() {
	local g
	host_up >/dev/null
	for g in g1 g2; do
		"$CIRCUIT" line add "$g"
		guest_start "$g" --line "$g" --net --no-wait
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 60 line_is "$g" up
		"$CIRCUIT" line set "$g" addr "$(guest_ip $g)"
	done
	guest_bg g2 circuit "bench serve circuit 7000"
	guest_bg g2 tcp "bench serve tcp 7000"
	guest_bg g2 seqpacket "bench serve seqpacket 7000"
	guest_bg g2 dgram "bench serve dgram 7000"
	guest_bg g2 udp "bench serve udp 7000"
	wait_for 60 listeners 5
	wait_for 60 tcp_listens g2
	turn_redirect g2 1
	guest_bg g2 flow "bench serve udp 7030"
	wait_for 60 listeners 6
}

take() { # TEST CONTENDER REPEAT COMMAND ARG...
	local where=g2 how=$2 port=7000
	case $2 in
	tcp | udp) where=$(guest_ip g2) ;;
	flow) where=$(guest_ip g2) how=udp port=7030 ;;
	esac
	measure "$1" "$2" "$3" counted "bench $4 $how $where $port ${*:5}"
}
counted() { guest_exec -t 60 g1 "$1" | instructions; }
operations() { # REPEAT
	local who
	nothing "$1"
	for who in circuit tcp; do
		take rtt $who "$1" rtt 200
		take rate $who "$1" rate 100
		take stream $who "$1" stream 65536 50
	done
	take message-one seqpacket "$1" messages 64 1 20
	take datagram dgram "$1" messages 64 1 20
	turn_redirect g1 1
	take udp flow "$1" messages 64 1 20
	turn_redirect g1 0
	take udp udp "$1" messages 64 1 20
	spinning 0
	take rtt-sleeping circuit "$1" rtt 100
	spinning
}

REPEATS=3
raw_begin
t_run -t 600 "two guests whose instructions are counted" boot
for r in $(seq "$REPEATS"); do
	t_run -t 400 "operations, $r of $REPEATS" operations "$r"
done
