# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# native - what redirection costs the sockets that stay TCP's: in instructions, of a machine on
# which each takes a nanosecond, with the guest module loaded and no line. Figures go to /out/raw:
#
#	TEST CASE REPEAT UNITS INSTRUCTIONS
#
# lab: --timeout 300 --icount
. "$TOP/selftests/e2e/common.sh"

RAW=/out/raw
BENCH=${CIRCUIT%/tools/*}/tests/bench

measure() { # CASE TEST COMMAND...
	local out i
	for i in 1 2 3 4 5; do
		out=$("${@:3}")
		echo "$2 $1 $i $out" >>"$RAW"
	done
}
all() { # CASE
	local server
	measure "$1" socket "$BENCH" socket tcp 5000
	"$BENCH" serve tcp 7000 &
	server=$!
	wait_for 10 listening
	measure "$1" rate "$BENCH" rate tcp 127.0.0.1 7000 100
	measure "$1" stream "$BENCH" stream tcp 127.0.0.1 7000 65536 100
	measure "$1" rtt rtt
	kill "$server"
	pkill -f 'bench serve'
}
listening() { grep -q ':1B59 .* 0A ' /proc/net/tcp; }
rtt() { "$BENCH" rtt tcp 127.0.0.1 7000 500 | tr ' ' '\n' | awk '{ s += $1 } END { print NR, s }'; }

off() { all off; }
loaded() {
	insmod "$CIRCUIT_GUEST_KO"
	all loaded
}
on() {
	echo 1 >/proc/sys/net/circuit/redirect
	all on
	echo 0 >/proc/sys/net/circuit/redirect
}

: >"$RAW"
t_run -t 120 "without the module" off
t_run -t 120 "with it" loaded
t_run -t 120 "redirected" on
cat "$RAW"
