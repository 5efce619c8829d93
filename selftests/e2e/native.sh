# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# native - what redirection costs the sockets that stay TCP's: in instructions, of a machine on
# which each takes a nanosecond, with the guest module loaded and no line.
#
# lab: --timeout 300 --icount
. "$TOP/selftests/e2e/bench-common.sh"

take() { # CASE TEST COMMAND...
	local out i
	for i in $(seq "$REPEATS"); do
		out=$("$BENCH_HOST" "${@:3}" | instructions)
		echo "native-$2 $1 $i $out" >>"$RAW"
	done
}
all() { # CASE
	local server
	take "$1" socket socket tcp 5000
	"$BENCH_HOST" serve tcp 7000 &
	server=$!
	wait_for 10 listening
	take "$1" rate rate tcp 127.0.0.1 7000 100
	take "$1" stream stream tcp 127.0.0.1 7000 65536 100
	take "$1" rtt rtt tcp 127.0.0.1 7000 500
	kill "$server"
	pkill -f 'bench serve'
}
listening() { grep -q ':1B5A .* 0A ' /proc/net/tcp; }

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

raw_begin
t_run -t 120 "without the module" off
t_run -t 120 "with it" loaded
t_run -t 120 "redirected" on
cat "$RAW"
