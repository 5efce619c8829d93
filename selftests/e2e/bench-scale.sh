# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-scale - what becomes of figures when there are more guests, in pairs that have nothing to do with each
# other, and when two guests use more of their processors. The host's own processors are busy in any case: what
# counts is what a round trip costs them.
#
# lab: --timeout 2400 --threads multi --mem 6144
. "$TOP/selftests/e2e/bench-common.sh"

PAIRS=(1 2 4) # s1 calls s2, s3 calls s4...
CPUS=(1 2 4) # that s1 and s2 have
COUNT=10 # connections of each program
COUNTED="s1 s2 s3 s4 s5 s6 s7 s8"

boot() {
	local g smp cpu
	host_up >/dev/null
	for g in $COUNTED; do
		smp=1
		[[ $g != s[12] ]] || smp=${CPUS[-1]}
		"$CIRCUIT" line add "$g"
		guest_start "$g" --line "$g" --net --smp "$smp" --no-wait
	done
	for g in $COUNTED; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
	done
	for g in s2 s4 s6 s8; do
		serve $g 0
	done
	for ((cpu = 1; cpu < CPUS[-1]; cpu++)); do
		serve s2 $cpu
	done
}

# Each processor that calls has one that answers.
port() { echo $((7000 + 10 * $1)); } # PROCESSOR
serve() { # GUEST PROCESSOR
	local port caller=s$((${1#s} - 1)) who where
	port=$(port "$2")
	for who in circuit tcp; do
		where=$1
		[ $who = circuit ] || where=$(guest_ip "$1")
		guest_bg "$1" "serve-$who-$2" "taskset -c $2 bench serve $who $port"
		wait_for 20 guest_exec "$caller" "bench many $who $where $port 1 1 1"
	done
}

# Of programs that run at once, each of which has printed a line: all they have done, the quantiles of one in the
# middle, and the worst of the worst.
together() {
	awk '{
		for (i = 1; i <= NF; i++) {
			split($i, v, "=")
			got[v[1], NR] = v[2]
		}
		n += got["n", NR]
		ns = got["ns", NR] > ns ? got["ns", NR] : ns
		p50[NR] = got["p50", NR]
		p99 = got["p99", NR] > p99 ? got["p99", NR] : p99
	}
	END {
		for (i = 1; i <= NR; i++)
			for (j = i; j > 1 && p50[j] < p50[j - 1]; j--) {
				t = p50[j]; p50[j] = p50[j - 1]; p50[j - 1] = t
			}
		printf "n=%d ns=%.0f p50=%.0f p99=%.0f\n", n, ns, p50[int((NR + 1) / 2)], p99
	}'
}

# programs CONTENDER "GUEST PROCESSOR"...: one on each of these, to the guest that the guest calls
programs() {
	local who=$1 one g cpu where
	shift
	for one; do
		read -r g cpu <<<"$one"
		where=s$((${g#s} + 1))
		[ "$who" = circuit ] || where=$(guest_ip "$where")
		guest_bg "$g" "many$cpu" "taskset -c $cpu bench many $who $where $(port "$cpu") $COUNT 1 $(ms 2000)"
	done
	for one; do
		read -r g cpu <<<"$one"
		guest_wait "$g" "many$cpu" 60
	done | together
}

once() { # REPEAT
	local n i who all
	measure nothing none "$1" programs_none
	for n in "${PAIRS[@]}"; do
		all=()
		for ((i = 0; i < n; i++)); do
			all+=("s$((2 * i + 1)) 0")
		done
		for who in circuit tcp; do
			measure "guests@$((2 * n))" $who "$1" programs $who "${all[@]}"
		done
	done
	for n in "${CPUS[@]}"; do
		all=()
		for ((i = 0; i < n; i++)); do
			all+=("s1 $i")
		done
		for who in circuit tcp; do
			measure "cpus@$n" $who "$1" programs $who "${all[@]}"
		done
	done
}
programs_none() {
	guest_bg s1 none true
	guest_wait s1 none
	echo "n=1"
}

raw_begin
t_run -t 300 "eight guests" boot
for r in $(seq "$REPEATS"); do
	t_run -t 240 "pairs and processors, $r of $REPEATS" once "$r"
done
