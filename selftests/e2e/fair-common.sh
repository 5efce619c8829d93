# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# fair-common.sh - lines with marks, a world to talk to, a victim and aggressors: what fair and
# bench-fair share. Sourced after common.sh.

TESTS=$(dirname "$CIRCUIT")/../tests
WORLD_V4=192.0.2.2

out() { ip netns exec out "$@"; }
# In sessions of their own: the end of a test is not theirs.
fair_world() { # CMD...: something that runs in the world
	setsid ip netns exec out "$@" >/dev/null 2>&1 </dev/null {LAB_OUT}>&- &
	echo $! >>"$LAB_RUN/fair.pids"
}
fair_listens() { # PORT
	wait_for 10 sh -c "ip netns exec out ss -Hltn sport = :$1 | grep -q ."
}

# Three guests, each on a line with the mark of its number, which is sent away to a port of its own in
# the world. g1 is the victim, and g2 whom it talks to; g3 is the one who makes the noise.
fair_up() {
	local n
	guests_up g1 g2 g3
	namespace out 2
	: >"$LAB_RUN/fair.pids"
	"$CIRCUIT" trunk add wan mark 0x100
	for n in 1 2 3; do
		# What a ring holds is what has still to be sent when a flow is to end.
		"$CIRCUIT" line set g$n addr 10.77.0.$n trunk wan mark $n ring-default 16k
		guest_exec g$n "echo 1 >/proc/sys/net/circuit/redirect"
		fair_world "$TESTS/peer" tcp sink 900$n
	done
	fair_world "$TESTS/bench" serve tcp 7000
	fair_world "$TESTS/bench" serve tcp 7100
	fair_world "$TESTS/peer" dgram-echo udp:7
	for n in 9001 9002 9003 7000 7101; do
		fair_listens $n
	done
	wait_for 10 sh -c "ip netns exec out ss -Hlun sport = :7 | grep -q ."
	out nft -f - <<-EOF
	table inet fair {
		counter one { }
		counter two { }
		counter three { }
		chain input {
			type filter hook input priority 0
			tcp dport 9001 counter name one
			tcp dport 9002 counter name two
			tcp dport 9003 counter name three
		}
	}
	EOF
	guest_bg g2 serve "bench serve circuit 7000"
	wait_for 10 guest_exec g1 "bench rtt circuit g2 7000 1"
	wait_for 10 guest_exec g1 "bench rtt tcp $WORLD_V4 7000 1"
}
fair_down() {
	local n
	for n in 1 2 3; do
		"$CIRCUIT" line set g$n addr none trunk none mark 0 ring-default 128k
		guest_exec g$n "echo 0 >/proc/sys/net/circuit/redirect"
	done
	guest_bg_kill g2 serve
	world_ends
	nothing_left
	"$CIRCUIT" trunk del wan
	ip netns del out
}
world_ends() {
	local n
	while read -r n; do
		kill -- "-$n" 2>/dev/null || true
	done <"$LAB_RUN/fair.pids"
}

# --- shares of an interface ------------------------------------------------------------------------

# What trunk.rst has tc(8) told, but for what tells lines apart: a class for each, and one for the rest.
classes() { # DEVICE WEIGHT...
	local dev=$1 n=0 weight
	shift
	tc qdisc add dev "$dev" parent 1:1 handle 2: drr
	for weight; do
		n=$((n + 1))
		tc class add dev "$dev" parent 2: classid 2:$n drr quantum $((1514 * weight))
	done
	tc class add dev "$dev" parent 2: classid 2:ff drr quantum 1514
	tc filter add dev "$dev" parent 2: protocol all prio 2 matchall classid 2:ff
}
by_mark() { # DEVICE: the three lines
	local n
	for n in 1 2 3; do
		tc filter add dev "$1" parent 2: protocol all prio 1 handle $n/0xff fw classid 2:$n
	done
}
weights() { # WEIGHT...
	local n=0 weight
	for weight; do
		n=$((n + 1))
		tc class change dev to-out parent 2: classid 2:$n drr quantum $((1514 * weight))
	done
}

flows() { # LINE FLOWS
	guest_bg "g$1" flows "peer busy tcp:$WORLD_V4 900$1 $2 4096"
	wait_for 60 grep -q busy "$(guest_bg_log "g$1" flows)"
}

# Bytes that have arrived from each line in the world; with WAY=in, from the world for each.
arrived() {
	local where=(out)
	[ "${WAY:-out}" = out ] || where=()
	${where[@]+"${where[@]}"} nft list counters table inet fair | awk '/bytes/ { printf "%s ", $4 } END { print "" }'
}
more_arrived() { # BYTES "LINE..." BEFORE...: of each of these lines
	arrived | awk -v least="$1" -v lines="$2" -v before="${*:3}" '{
		n = split(lines, l)
		split(before, b)
		for (i = 1; i <= n; i++)
			if ($l[i] - b[l[i]] < least)
				exit 1
	}'
}
settled() { # "LINE...": the queues are full, and what these lines send goes by turns
	local before
	before=$(arrived)
	# shellcheck disable=SC2086
	wait_for 30 more_arrived 100000 "$1" $before
}

# windows N LINES: percents that the first LINES have of N windows of a second, and of all of them, and
# bytes per second.
windows() {
	local i
	for ((i = 0; i <= $1; i++)); do
		echo "$(arrived) $(lab_now)"
		[ "$i" -eq "$1" ] || sleep 1 # what is measured
	done | awk -v n="$2" '
	function shares(from,  i, sum, line) {
		for (i = 1; i <= n; i++)
			sum += $i - from[i]
		for (i = 1; i <= n; i++)
			line = line sprintf("%.2f ", sum ? 100 * ($i - from[i]) / sum : 0)
		return line sprintf("%d", sum * 1000000 / ($NF - from[NF]))
	}
	NR == 1 { split($0, first) }
	NR > 1 { print "window", shares(last) }
	{ split($0, last) }
	END { print "all", shares(first) }' >"$LAB_RUN/windows"
	cat "$LAB_RUN/windows"
}
# by_weight PERCENT WEIGHT...: all of the windows are so near to what each line is to have, and most of
# them half as near by themselves, or but for one packet as large as they get (GSO), which is in the one window or
# in the next. Who has nothing to send has no weight.
by_weight() {
	awk -v most="$1" -v weights="${*:2}" '
	BEGIN { n = split(weights, w); for (i = 1; i <= n; i++) sum += w[i] }
	{
		off = far = 0
		for (i = 1; i <= n; i++) {
			part = (w[i] ? w[i] : sum / 100) / sum
			d = $(i + 1) / part - 100 * (w[i] > 0)
			d = d < 0 ? -d : d
			off = d > off ? d : off
			far = far || d > 2 * most && d / 100 * part * $NF > 65536
		}
		if ($1 == "window") { windows++; good += !far }
		else whole = off
	}
	END { print "off by", whole, "%"; exit !(whole <= most && 2 * good > windows) }' "$LAB_RUN/windows"
}
shares_note() { t_note "$1: $(sed -n 's/^all //p' "$LAB_RUN/windows" | awk '{ $NF = "% of " $NF " bytes/s" } 1')"; }

# --- what is charged ----------------------------------------------------------------------------

# The workers of circuit_trunk get a priority that no other workqueue's have, and so become a pool of
# their own: how long their threads have been on a processor is what the kernel's scheduler says.
NICE=-7
WQ=/sys/devices/virtual/workqueue/circuit_trunk
workers() {
	local stat file
	for file in /proc/[0-9]*/stat; do
		stat=$(<"$file") 2>/dev/null || continue
		[[ $stat == *"(kworker/u"* ]] || continue
		# shellcheck disable=SC2086
		set -- ${stat##*) }
		[ "${17}" != $NICE ] || echo "${file%/stat}/schedstat"
	done
}
workers_ns() { awk '{ sum += $1 } END { printf "%.0f\n", sum }' "$@"; }
# To all lines, but for what is done in interrupts and by the other workqueue.
charged_ns() {
	"$CIRCUIT" -j -s line show | grep -oE '"cpu-(trunk-send|trunk-receive|datagrams)-ns":[0-9]*' |
		awk -F: '{ sum += $2 } END { printf "%.0f\n", sum }'
}
# Both at one time, as far as can be: "CHARGED WORKED".
cpu_times() { # WORKER...
	local before after charged
	before=$(workers_ns "$@")
	charged=$(charged_ns)
	after=$(workers_ns "$@")
	echo "$charged $(((before + after) / 2))"
}
# charge KIND S: ns charged and worked, while two lines do that for so many seconds
charge() {
	local n files before after nice charged
	nice=$(<$WQ/nice)
	echo $NICE >$WQ/nice
	for n in 1 2; do
		case $1 in
		streams) guest_bg g$n busy "peer busy tcp:$WORLD_V4 900$n $((n * n)) 65536" ;;
		writes) guest_bg g$n busy "peer busy tcp:$WORLD_V4 900$n 8 1" ;;
		datagrams) guest_bg g$n busy "echo busy; peer dgram-flood udp:$WORLD_V4 7" ;;
		esac
	done
	for n in 1 2; do
		wait_for 30 grep -q busy "$(guest_bg_log g$n busy)"
	done
	charged=$(charged_ns)
	wait_for 30 more_than $((charged + 200000000)) charged_ns
	mapfile -t files < <(workers)
	read -ra before < <(cpu_times "${files[@]}")
	sleep "$2" # what is measured
	mapfile -t files < <(workers) # those that are new had worked for nothing before
	read -ra after < <(cpu_times "${files[@]}")
	for n in 1 2; do
		guest_bg_kill g$n busy
	done
	echo "$nice" >$WQ/nice
	echo "$((after[0] - before[0])) $((after[1] - before[1]))"
}

# --- the victim's round trips, and who disturbs them ---------------------------------------------

# Quantiles of round trips, see figures.h.
victim() { # world|vm N [tcp]: tcp is the guest's own
	case $1:${3:-} in
	world:*) guest_exec -t 110 g1 "bench rtt tcp $WORLD_V4 7000 $2" ;;
	vm:tcp) guest_exec -t 110 g1 "bench rtt tcp $(guest_ip g2) 7000 $2" ;;
	vm:) guest_exec -t 110 g1 "bench rtt circuit g2 7000 $2" ;;
	esac
}
world_calls() { out nstat -asz TcpPassiveOpens | awk '/Passive/ { print $2 }'; }
noise_begin() { # KIND CONNECTIONS: g3 makes it, until noise_end
	local before
	case $1 in
	connections) guest_bg g3 noise "peer busy tcp:$WORLD_V4 9003 $2 4096" ;;
	connects) guest_bg g3 noise "bench rate tcp $WORLD_V4 7100 600000" ;;
	writes) guest_bg g3 noise "peer busy tcp:$WORLD_V4 9003 8 1" ;;
	stream) guest_bg g3 noise "peer busy tcp:$WORLD_V4 9003 1 262144" ;;
	datagrams) guest_bg g3 noise "peer dgram-flood udp:$WORLD_V4 7" ;;
	boxes) # through the operator, to itself: it is nobody else's processor that takes them
		guest_bg g3 box "peer dgram-echo 3600"
		wait_for 20 grep -q bound "$(guest_bg_log g3 box)"
		guest_bg g3 noise "peer dgram-flood g3 3600"
		;;
	doorbells)
		wait_for 20 no_circuits g3
		guest_exec g3 "echo 0 >/proc/sys/net/circuit/redirect"
		wait_for 10 guest_exec g3 "rmmod circuit_guest"
		before=$(line_get g3 doorbells)
		guest_bg g3 noise "insmod /lib/circuit_hostile.ko attack=doorbells seconds=600"
		wait_for 20 more_than $((before + 1000)) line_get g3 doorbells
		;;
	esac
	case $1 in
	connects) wait_for 20 more_than "$(($(world_calls) + 20))" world_calls ;;
	connections | writes | stream) wait_for 60 grep -q busy "$(guest_bg_log g3 noise)" ;;
	datagrams | boxes) wait_for 60 grep -q flooding "$(guest_bg_log g3 noise)" ;;
	esac
}
noise_end() {
	guest_bg_kill g3 noise
	[ "$1" != boxes ] || guest_bg_kill g3 box
	case $1 in
	doorbells)
		wait_for 20 guest_exec g3 "! grep -q ^circuit_hostile /proc/modules || rmmod circuit_hostile"
		guest_exec g3 "modprobe circuit_guest"
		wait_for 20 line_is g3 up
		guest_exec g3 "echo 1 >/proc/sys/net/circuit/redirect"
		;;
	*) wait_for 60 no_circuits g3 ;;
	esac
}
