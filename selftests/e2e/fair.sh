# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# fair - one noisy guest moves nobody: what lines get of a network interface, what a line's round trips
# are like beside another one's doings, and whether all that the operator's threads do is charged.
# The world is a network namespace behind a veth.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"
. "$TOP/selftests/e2e/fair-common.sh"

MANY=100 # flows of the third line
WINDOWS=$((5 * LAB_SLOW)) # seconds
RATE=$((12 / LAB_SLOW)) # Mbit/s: little enough for the queue to be where it is wanted

setup() {
	fair_up
	nft -f - <<-EOF
	table inet fair {
		counter one { }
		counter two { }
		counter exposed { }
		counter datagrams { }
		chain input {
			type filter hook input priority 0
			tcp dport 8001 counter name one
			tcp dport 8002 counter name two
		}
		chain output {
			type filter hook output priority 0
			meta mark 0x102 tcp sport 8002 counter name exposed
			meta mark 0x101 udp dport 7 counter name datagrams
		}
	}
	EOF
}

# What a test that has failed has left is not the next one's.
calm() {
	local n id
	for n in 1 2 3; do
		for id in flows busy noise box; do
			[ ! -e "$(guest_dir g$n)/bg.$id.pid" ] || guest_bg_kill g$n $id
		done
	done
	tc qdisc del dev to-out root 2>/dev/null || true
	tc qdisc del dev to-out clsact 2>/dev/null || true
}

# --- marks ---------------------------------------------------------------------------------------

marks() {
	expect 2 "$(line_get g2 mark)"
	"$CIRCUIT" line show g2 | grep -q 'mark 2'
	bad 'not a number or too large' line set g2 mark 0x100000000
	guest_bg g2 sink "peer tcp sink 9000"
	guest_bg g1 sink "peer tcp sink 9000"
	wait_for 10 guest_exec g2 "netstat -ltn | grep -q ':9000 '"
	wait_for 10 guest_exec g1 "netstat -ltn | grep -q ':9000 '"
	"$CIRCUIT" trunk add in mark 0x100
	"$CIRCUIT" expose add g1:9000 on 192.0.2.1:8001 trunk in
	"$CIRCUIT" expose add g2:9000 on 192.0.2.1:8002 trunk in
	out "$TESTS/peer" send tcp:192.0.2.1 8002 100000
	guest_exec g1 "peer dgram-ask udp:$WORLD_V4 7 3 100"
	nft list counter inet fair exposed | grep 'packets [1-9]'
	nft list counter inet fair datagrams | grep 'packets [1-9]'
}

fastest() { awk '/^window/ && $NF > most { most = $NF } END { print most }' "$LAB_RUN/windows"; }
# One and many flows, all that there is to share; and what the third does not use, these do.
shares() {
	local n two
	tc qdisc add dev to-out root handle 1: tbf rate ${RATE}mbit burst 64kb limit 16mb
	classes to-out 1 1 1
	by_mark to-out
	flows 1 1
	flows 3 $MANY
	settled "1 3"
	windows $((3 * LAB_SLOW)) 3
	shares_note "1, 0 and $MANY flows"
	by_weight 5 1 0 1
	two=$(fastest)
	flows 2 10
	settled "1 2 3"
	windows $WINDOWS 3
	shares_note "1, 10 and $MANY flows, alike"
	by_weight 5 1 1 1
	# Two had all that three have, when the host had time for it.
	[ "$two" -gt $(($(fastest) * 80 / 100)) ]
	weights 1 2 4
	settled "1 2 3"
	windows $WINDOWS 3
	shares_note "1, 10 and $MANY flows, 1:2:4"
	by_weight 5 1 2 4
	# Whoever measures has to see a difference: without classes it is by flows.
	tc qdisc replace dev to-out parent 1:1 handle 3: bfifo limit 1mb
	settled 3
	windows $((3 * LAB_SLOW)) 3
	shares_note "1, 10 and $MANY flows without classes"
	fails by_weight 50 1 1 1
	tc qdisc del dev to-out root
	for n in 1 2 3; do
		guest_bg_kill g$n flows
	done
	for n in 1 2 3; do
		wait_for 60 no_circuits g$n
	done
}

# From the world: in the queue of a device that all that comes goes through.
shares_received() {
	local WAY=in n
	calm
	modprobe ifb numifbs=0
	ip link add ifb-out txqueuelen 1000 type ifb
	ip link set ifb-out up
	tc qdisc add dev to-out clsact
	tc filter add dev to-out ingress protocol all matchall action mirred egress redirect dev ifb-out
	tc qdisc add dev ifb-out root handle 1: tbf rate ${RATE}mbit burst 64kb limit 16mb
	classes ifb-out 1 2
	for n in 1 2; do
		tc filter add dev ifb-out parent 2: protocol ip prio 1 u32 match ip dport 800$n 0xffff classid 2:$n
	done
	fair_world "$TESTS/peer" busy tcp:192.0.2.1 8001 1 4096
	fair_world "$TESTS/peer" busy tcp:192.0.2.1 8002 50 4096
	settled "1 2"
	windows $WINDOWS 2
	shares_note "1 and 50 flows from the world, 1:2"
	by_weight 10 1 2
	tc qdisc del dev to-out clsact
	ip link del ifb-out
	"$CIRCUIT" expose del 192.0.2.1:8001 trunk in
	"$CIRCUIT" expose del 192.0.2.1:8002 trunk in
	"$CIRCUIT" trunk del in
	guest_bg_kill g1 sink
	guest_bg_kill g2 sink
}

# --- what is charged ---------------------------------------------------------------------------------

# charged KIND LEAST: so many of a thousand parts of it
charged() {
	local ns permille
	calm
	read -ra ns < <(charge "$1" 4)
	permille=$((ns[0] * 1000 / ns[1]))
	t_note "$1: charged $((ns[0] / 1000000)) ms, worked $((ns[1] / 1000000)) ms: $((permille / 10)).$((permille % 10)) %"
	[ "${ns[1]}" -gt 200000000 ]
	[ $permille -ge "$2" ]
	[ $permille -le 1050 ]
}

# --- round trips beside noise ------------------------------------------------------------------------

# Of figures of round trips the median and the 99th percentile.
microseconds() { tr ' ' '\n' | awk -F= '$1 == "p50" || $1 == "p99" { printf "%d ", $2 / 1000 } END { print "" }'; }

# The victim alone, and beside KIND of noise. There is one thread for all lines: whose turn it is is the
# operator's choice alone. If it went by circuits the victim would wait for all of the other's, each time.
noise() { # KIND
	local path alone beside threads late=
	calm
	threads=$(<$WQ/max_active)
	echo 1 >$WQ/max_active
	for path in world vm; do
		victim $path 100 | microseconds >"$LAB_RUN/alone.$path"
	done
	noise_begin "$1" $MANY
	for path in world vm; do
		victim $path 100 | microseconds >"$LAB_RUN/beside.$path"
	done
	noise_end "$1"
	echo "$threads" >$WQ/max_active
	for path in world vm; do
		read -ra alone <"$LAB_RUN/alone.$path"
		read -ra beside <"$LAB_RUN/beside.$path"
		t_note "$path, p50 and p99 alone: ${alone[0]} and ${alone[1]} us, beside $1: ${beside[0]} and ${beside[1]} us"
		[ "${beside[0]}" -lt $((10 * alone[0] + 20000)) ] || late="$late $path"
	done
	expect '' "$late" "late beside $1"
}

ended() {
	nft delete table inet fair
	fair_down
}

t_run -t 240 "three lines and the world" setup
t_run "marks of lines" marks
t_run -t 120 "shares of an interface, out" shares
t_run -t 60 "shares of an interface, in" shares_received
t_run "streams are charged" charged streams 700
t_run "small writes are charged" charged writes 700
t_run "datagrams are charged" charged datagrams 600
for kind in connections connects writes stream datagrams boxes doorbells; do
	t_run -t 90 "round trips beside another line's $kind" noise $kind
done
t_run "nothing is left" ended
