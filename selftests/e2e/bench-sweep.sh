# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-sweep - what becomes of figures when something is varied: the size of messages, both ways; how many
# connections there are; what else a connection's guest does. With the guests of bench.sh, if it has left them.
#
# lab: --timeout 4000 --threads multi --mem 6144
. "$TOP/selftests/e2e/bench-common.sh"

sizes=(1 16 64 256 1024 4096 16384 65536 262144 1048576)
counts=(1 10 100 1000)
lengths=(16 64 256 1024 1400)
held=1000
if [ "$QUICK" ]; then
	sizes=(1 64 4096 65536 1048576) counts=(1 100) lengths=(16 1400)
fi

streams() { # REPEAT
	local size who
	for size in "${sizes[@]}"; do
		who="circuit tcp busy vsock loopback unix"
		# A piece is in the ring as a whole, and rings have 128 KiB.
		[ "$size" -lt 64 ] || [ "$size" -gt 65536 ] || who+=" map"
		turns "out@$size" "$1" "$who" stream "$size" "$(ms 500)"
		turns "in@$size" "$1" "circuit tcp busy vsock" pull "$size" "$(ms 500)"
	done
}

connections() { # REPEAT
	local count
	for count in "${counts[@]}"; do
		turns "many@$count" "$1" "circuit tcp" many "$count" 1 "$(ms 1000)"
		turns "many-4096@$count" "$1" "circuit tcp" many "$count" 4096 "$(ms 1000)"
	done
	turns "set-up" "$1" "circuit tcp vsock loopback unix" rate "$(ms 1000)"
}

# Round trips of one connection beside a stream of another, of the same two guests.
load() { # REPEAT
	turns loaded "$1" "circuit tcp vsock" loaded "$(ms 3000)"
}

lengths() { # REPEAT
	local length
	for length in "${lengths[@]}"; do
		turns "message@$length" "$1" "seqpacket dgram flow udp" messages "$length" 1 "$(ms 500)"
	done
}

# What an idle connection takes of the host's memory, and of both guests'. Once: kernels keep some of what was
# used for the next, an idle cable among it.
memory() { # CONTENDER
	local where=g2 before after log
	[ "$1" != tcp ] || where=$(guest_ip g2)
	before=("$(free_kib)" "$(guest_free_kib g1)" "$(guest_free_kib g2)")
	guest_bg g1 hold "exec bench hold $1 $where 7000 $held"
	log=$(guest_bg_log g1 hold)
	wait_for 100 grep -q ready "$log" || { cat "$log"; return 1; }
	after=("$(free_kib)" "$(guest_free_kib g1)" "$(guest_free_kib g2)")
	guest_bg_kill g1 hold
	echo "memory $1 1 n=$held host-bytes=$(((before[0] - after[0]) * 1024))" \
		"guest-bytes=$(((before[1] - after[1] + before[2] - after[2]) * 1024))" >>"$RAW"
	wait_for 60 none_held
}
none_held() { [ "$(line_get g1 circuits)" -le 2 ]; }
memories() {
	memory circuit
	memory tcp
}

[ -s /out/conditions ] || raw_begin
t_run -t 120 "two guests to sweep with" pair
AGAIN=pair
t_run -t 240 "memory of $held idle connections" memories
for r in $(seq "$REPEATS"); do
	t_run -t 60 "nothing, $r of $REPEATS" nothing "$r"
	t_run -t 600 "sizes of writes, $r of $REPEATS" streams "$r"
	t_run -t 400 "connections, $r of $REPEATS" connections "$r"
	t_run -t 120 "load, $r of $REPEATS" load "$r"
	t_run -t 120 "sizes of messages, $r of $REPEATS" lengths "$r"
done
t_run "down" servers_down
