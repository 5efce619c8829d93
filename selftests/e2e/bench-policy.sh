# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-policy - what the policy costs, in instructions, of a machine on which each takes a
# nanosecond: to decide about a call, and to put a table in force, with rules of four kinds
# (line and port, prefix and ports, group and prefix, port and user), none of which matches. Figures
# go to /out/raw:
#
#	decide RULES INSTRUCTIONS
#	load RULES INSTRUCTIONS-IN-THE-KERNEL
#
# lab: --timeout 300 --icount
. "$TOP/selftests/e2e/common.sh"

RAW=/out/raw
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
			awk -v n="$n" '{ s += $1 } END { print "load", n, s }' >>"$RAW"
		"$CIRCUIT" explain g1 10.77.0.2:80
		for _ in $(seq 20); do
			echo "explain g1 10.77.0.2:80"
		done >"$LAB_RUN/batch"
		timed circuit_judge -- "$CIRCUIT" -b "$LAB_RUN/batch" | sed "s/^/decide $n /" >>"$RAW"
	done
	echo nop >$TRACE/current_tracer
	cat "$RAW"
	expect 100 "$(grep -c ^decide "$RAW")" "decisions"
}

: >"$RAW"
t_run "a tracer" setup
t_run -t 200 "tables of up to ten thousand rules" curve
