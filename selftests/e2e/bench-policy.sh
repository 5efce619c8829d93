# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-policy - what the policy costs, in instructions, of a machine on which each takes a
# nanosecond: to decide about a call, and to put a table in force, with rules of four kinds
# (line and port, prefix and ports, group and prefix, port and user), none of which matches. And what a
# connection beside such rules costs two guests that have the same processor as the host, and it.
#
# lab: --timeout 560 --icount --mem 6144
. "$TOP/selftests/e2e/bench-common.sh"

TRACE=/sys/kernel/tracing

setup() {
	host_up
	"$CIRCUIT" line add g1 addr 10.77.0.1 group web
	"$CIRCUIT" line add g2 addr 10.77.0.2
	mountpoint -q $TRACE || mount -t tracefs none $TRACE
	echo function_graph >$TRACE/current_tracer
	echo 4096 >$TRACE/buffer_size_kb
	echo nofuncgraph-overhead >$TRACE/trace_options
}

# Have FUNCTION... timed by the tracer, each as a whole, while COMMAND runs; prints ns.
timed() { # FUNCTION... -- COMMAND...
	: >$TRACE/set_ftrace_filter
	while [ "$1" != -- ]; do
		echo "$1" >>$TRACE/set_ftrace_filter
		shift
	done
	shift
	echo 0 >$TRACE/trace
	echo 1 >$TRACE/tracing_on
	"$@" >/dev/null
	echo 0 >$TRACE/tracing_on
	awk '$2 ~ /^[0-9.]+$/ && $3 == "us" { printf "%d\n", $2 * 1000 }' $TRACE/trace
}

table() { # N
	echo "default connect"
	awk -v n="$1" 'BEGIN {
		for (i = 0; i < n; i++) {
			if (i % 4 == 0) printf "reject from line vm%d port %d\n", i, i + 1000
			if (i % 4 == 1) printf "connect to 11.%d.%d.0/24 port %d-%d\n", i / 256, i % 256, i, i + 99
			if (i % 4 == 2) printf "native from group g%d to 2001:db8:%x::/48\n", i % 100, i
			if (i % 4 == 3) printf "reject port %d uid %d\n", i + 1000, i
		} }'
}

curve() {
	local n
	for n in 0 10 100 1000 10000; do
		table "$n" >"$LAB_RUN/table"
		timed circuit_nl_policy_new circuit_nl_policy_add circuit_nl_policy_commit -- \
			"$CIRCUIT" policy load "$LAB_RUN/table" |
			awk -v n="$n" '{ s += $1 } END { printf "policy-load@%d policy 1 n=1 instructions=%d\n", n, s }' >>"$RAW"
		"$CIRCUIT" explain g1 10.77.0.2:80
		for _ in $(seq 20); do
			echo "explain g1 10.77.0.2:80"
		done >"$LAB_RUN/batch"
		timed circuit_judge -- "$CIRCUIT" -b "$LAB_RUN/batch" |
			awk -v n="$n" '{ printf "policy-decide@%d policy %d n=1 instructions=%d\n", n, NR, $1 }' >>"$RAW"
	done
	echo nop >$TRACE/current_tracer
	cat "$RAW"
	expect 100 "$(grep -c ^policy-decide "$RAW")" "decisions"
}

# Connections while there are rules, none of which matches, and while there are none.
guests() {
	local g
	for g in g1 g2; do
		guest_start "$g" --line "$g" --no-wait
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 60 line_is "$g" up
	done
	guest_bg g2 serve "bench serve circuit 7000"
	wait_for 60 listens
}
listens() { [ "$(line_get g2 listeners)" -gt 0 ]; }
connections() {
	local n i got
	for i in $(seq "$REPEATS"); do
		for n in 0 10000; do
			table "$n" >"$LAB_RUN/table"
			"$CIRCUIT" policy load "$LAB_RUN/table"
			got=$(guest_exec -t 120 g1 "bench rate circuit g2 7000 500" | instructions)
			echo "policy-rate $([ "$n" = 0 ] && echo none || echo rules) $i $got" >>"$RAW"
		done
	done
	grep ^policy-rate "$RAW"
	expect $((2 * REPEATS)) "$(grep -c '^policy-rate .* n=[1-9]' "$RAW")" "measurements"
}

raw_begin
t_run "a tracer" setup
t_run -t 200 "tables of up to ten thousand rules" curve
t_run -t 180 "two guests" guests
t_run -t 180 "connections beside ten thousand rules, and beside none" connections
