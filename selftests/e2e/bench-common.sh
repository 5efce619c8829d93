# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# bench-common.sh - how figures are made and kept, for the scenarios bench*.sh and icount.sh.
#
# /out/raw has a line for each measurement, /out/conditions what it was made under:
#
#	TEST[@X] CONTENDER REPEAT NAME=VALUE...
#	NAME<tab>VALUE
#
# X is what is varied. Of a test, contenders take turns within each repeat. The names are those of
# selftests/bench/figures.h and of snapshot() below; selftests/bench/report makes tables of it all.
# BENCH=quick has one short repeat, to see that it works.
. "$TOP/selftests/e2e/common.sh"

RAW=/out/raw
COUNTED="g1 g2" # guests whose doings are
# Servers are started once for all.
export LAB_BG=7200
BENCH_HOST=${CIRCUIT%/tools/*}/tests/bench
QUICK=''
[ "${BENCH:-full}" = full ] || QUICK=1
REPEATS=${QUICK:+1}
REPEATS=${REPEATS:-5}
# ms N: how long that takes
ms() { echo $((QUICK ? $1 / 5 : $1)); }

raw_begin() {
	: >"$RAW"
	mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
	{
		printf 'repeats\t%s\n' "$REPEATS"
		printf 'host kernel\t%s\n' "$(uname -rv)"
		printf 'guest kernel\t%s\n' "$GUEST_KVER"
		printf 'accelerator\t%s\n' "$LAB_ACCELERATOR"
		printf 'processors\t%s\n' "$(nproc)"
		printf 'memory\t%s\n' "$(awk '/^MemTotal/ { print $2, $3 }' /proc/meminfo)"
		awk -F '\t*: ' '/^model name|^flags/ && !seen[$1]++ { print "processor " $1 "\t" $2 }' /proc/cpuinfo
		printf 'kvm\t%s\n' "$(cd /sys/module && grep -H . kvm/parameters/halt_poll_ns kvm_amd/parameters/avic \
			kvm_intel/parameters/enable_apicv 2>/dev/null | xargs)"
	} >/out/conditions
}

# --- guests that are lost ---------------------------------------------------------------------

# Where each of L1's processors has a thread of the emulator's, a guest may end, or hang, without a word
# (Documentation/testing.rst). A scenario with a function in AGAIN that boots its guests has the test once more in which
# that was, as if nothing had been; how often is among the conditions.
AGAIN='' LOST=0 RAW_BEFORE=0
t_begins() { RAW_BEFORE=$(stat -c %s "$RAW"); }
t_again() {
	local g boot=$AGAIN before=$RAW_BEFORE lost=''
	[ -n "$boot" ] && [ "$LOST" -lt 5 ] || return 0
	for g in $COUNTED; do
		{ guest_alive "$g" && guest_exec -t 10 "$g" true >/dev/null 2>&1; } || lost=1
	done
	[ -n "$lost" ] || return 0
	LOST=$((LOST + 1))
	printf 'guests lost\t%s\n' "$LOST" >>/out/conditions
	truncate -s "$before" "$RAW"
	AGAIN=''
	t_run -t 240 "guests anew: one was lost" anew "$boot"
	AGAIN=$boot
	# shellcheck disable=SC2034 # t_run looks
	LAB_AGAIN=1
}
anew() { # BOOT
	[ ! -e "$LAB_RUN/bench.vsock" ] || servers_down || true
	lab_clear || true
	"$1"
}

# --- two guests with servers ------------------------------------------------------------------

listeners() { [ "$(line_get g2 listeners)" -ge "$1" ]; }
turn_redirect() { guest_exec "$1" "echo $2 >/proc/sys/net/circuit/redirect"; }
tcp_listens() { guest_exec "$1" "grep -q ':1B5A .* 0A ' /proc/net/tcp"; } # 7002

pair_up() {
	local g
	host_up >/dev/null
	for g in g1 g2; do
		guest_alive "$g" && continue
		# Memory for a thousand circuits whose rings have the size they have by default.
		! "$CIRCUIT" line show "$g" >/dev/null 2>&1 || "$CIRCUIT" line del "$g"
		"$CIRCUIT" line add "$g" circuits 12000 memory 1G
		# All the guest's memory is there from the start: what it uses later costs the host
		# nothing more, and is not mistaken for what a circuit costs.
		guest_start "$g" --line "$g" --net --no-wait -- -mem-prealloc
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
		"$CIRCUIT" line set "$g" addr "$(guest_ip $g)"
		turn_redirect "$g" 0
	done
}
# Who answers what run() asks.
servers_up() {
	guest_bg g2 serve-circuit "bench serve circuit 7000"
	wait_for 10 listeners 3
	guest_bg g2 serve-busy "bench serve busy 7010"
	wait_for 10 listeners 6
	guest_bg g2 serve-seqpacket "bench serve seqpacket 7000"
	guest_bg g2 serve-dgram "bench serve dgram 7000"
	wait_for 10 listeners 8
	guest_bg g2 serve-zero "zero serve 7020"
	wait_for 10 listeners 10
	guest_bg g2 serve-tcp "bench serve tcp 7000"
	guest_bg g2 serve-udp "bench serve udp 7000"
	wait_for 10 guest_exec g2 "grep -q ':1B58 ' /proc/net/udp"
	# The same program, redirected.
	turn_redirect g2 1
	guest_bg g2 serve-flow "bench serve udp 7030"
	wait_for 10 listeners 11
	turn_redirect g2 0
	guest_bg g1 serve-tcp "bench serve tcp 7000"
	guest_bg g1 serve-unix "bench serve unix 7000"
	wait_for 10 tcp_listens g1
	wait_for 10 tcp_listens g2
	wait_for 10 guest_exec g1 "grep -q @bench-7002 /proc/net/unix"
	# A session of its own: the end of a test is not its.
	setsid "$BENCH_HOST" serve vsock 7000 >/dev/null 2>&1 {LAB_OUT}>&- &
	echo $! >"$LAB_RUN/bench.vsock"
	wait_for 10 guest_exec g1 "bench rtt vsock 2 7000 1 >/dev/null"
}
pair() {
	pair_up
	servers_up
}
servers_down() { # those in guests end with the scenario
	kill -KILL -- "-$(<"$LAB_RUN/bench.vsock")"
}

# How many doorbells' time guests spin for, before they sleep; what they do by themselves if there is no N.
spinning() { # [N]
	local g file=/sys/module/circuit_guest/parameters/spin_doorbells
	for g in g1 g2; do
		guest_exec $g "test -s /tmp/spin || cat $file >/tmp/spin; echo ${1:-\$(cat /tmp/spin)} >$file"
	done
}

# --- measuring ---------------------------------------------------------------------------------

# What has been counted up to now. Of each guest: VM exits, those because there was nothing to do, and interrupts
# injected; the time that its VMM's threads ran, its processors' among them, and its vhost threads; doorbells
# that its line's guest has rung, interrupts it was sent, messages of its signalling, and what the operator
# charges it. And how long the host's processors were busy, in ticks of its clock.
snapshot() {
	local g pid t n name time vhost json dir
	for g in $COUNTED; do
		[ -e "$LAB_GUESTS/$g" ] || continue
		read -r pid <"$LAB_GUESTS/$g/pid"
		dir=(/sys/kernel/debug/kvm/"$pid"-*)
		for t in exits halt_exits irq_injections; do
			read -r n <"${dir[0]}/$t"
			echo "$g.$t $n"
		done
		time=0 vhost=0
		# A thread of the kernel, or since 6.4 of the VMM's.
		[ -s "$LAB_GUESTS/$g/vhost" ] || grep -l "^vhost-$pid$" /proc/[0-9]*/task/*/comm \
			>"$LAB_GUESTS/$g/vhost" 2>/dev/null || true
		for t in /proc/"$pid"/task/*; do
			read -r name <"$t/comm" && read -r n _ <"$t/schedstat" || continue
			[ "$name" = "vhost-$pid" ] || time=$((time + n))
		done
		while read -r t; do
			read -r n _ <"${t%comm}schedstat" || continue
			vhost=$((vhost + n))
		done <"$LAB_GUESTS/$g/vhost"
		echo "$g.vmm-ns $time"
		echo "$g.vhost-ns $vhost"
		json=$("$CIRCUIT" -j -s line show "$g")
		# As json_get(), and without a process for each: they take time here.
		for t in doorbells interrupts messages cpu-ns; do
			[[ $json =~ \"$t\":\"?([^,\"}]*) ]]
			echo "$g.$t ${BASH_REMATCH[1]}"
		done
	done
	awk '/^cpu / { printf "host.busy-ns %.0f\n", ($2 + $3 + $4 + $7 + $8) * 10000000 }' /proc/stat
}

# measure TEST CONTENDER REPEAT COMMAND...: what it prints, and what was counted meanwhile.
measure() {
	local before after out
	before=$(snapshot)
	out=$("${@:4}")
	after=$(snapshot)
	[ -n "$out" ]
	# shellcheck disable=SC2046,SC2086 # words
	echo "$1 $2 $3" $out $(awk 'NR == FNR { before[$1] = $2; next }
		{ printf "%s=%.0f\n", $1, $2 - before[$1] }' <(echo "$before") <(echo "$after")) >>"$RAW"
}

# run TEST CONTENDER REPEAT COMMAND ARG...: a test of bench.c or zero.c in g1, against what that
# contender's name says.
run() {
	local test=$1 who=$2 rep=$3 command=$4 where=g2 how=$2 port=7000 program=bench
	shift 4
	case $who in
	tcp | udp) where=$(guest_ip g2) ;;
	busy) port=7010 ;;
	flow) where=$(guest_ip g2) how=udp port=7030 ;;
	map | copy) program=zero port=7020 ;;
	vsock) where=2 ;;
	loopback) where=127.0.0.1 how=tcp ;;
	esac
	[ "$who" != flow ] || turn_redirect g1 1
	measure "$test" "$who" "$rep" guest_exec -t 100 g1 "$program $command $how $where $port $*"
	[ "$who" != flow ] || turn_redirect g1 0
}

# turns TEST REPEAT "CONTENDER..." COMMAND ARG...: one after the other, and another first each time
turns() {
	local test=$1 rep=$2 who i
	local -a all
	read -ra all <<<"$3"
	shift 3
	for ((i = 0; i < ${#all[@]}; i++)); do
		who=${all[$(((i + rep) % ${#all[@]}))]}
		run "$test" "$who" "$rep" "$@"
	done
}

# What asking a guest to do something costs by itself: tables of costs have that subtracted.
nothing() { # REPEAT
	measure nothing none "$1" guest_exec g1 "echo n=1"
}

# Figures of bench.c made on a machine on which an instruction takes 1 ns (lab --icount): how many there were.
instructions() {
	awk '{
		out = ""
		for (i = 1; i <= NF; i++) {
			split($i, v, "=")
			got[v[1]] = v[2]
			if (v[1] == "n" || v[1] == "bytes") out = out $i " "
		}
		printf "%sinstructions=%.0f\n", out, ("ns" in got) ? got["ns"] : got["n"] * got["mean"]
	}'
}

# What the kernel and processes hold: free memory, and what can be had back at once.
free_kib() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree:/ { print $2 }' /proc/meminfo
}
guest_free_kib() { # GUEST
	guest_exec "$1" "sync; echo 3 >/proc/sys/vm/drop_caches; awk '/^MemFree:/ { print \$2 }' /proc/meminfo"
}
