# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# bench-programs - what programs make of circuits, and of TCP over virtio-net, vhost-net and a
# bridge between the same two guests, in turns; and between a guest and the world, over a trunk and
# over the guest's network card and the host's forwarding. What is "own" in the figures is how much of its
# processor the server's guest has spent in programs, and not in the kernel or idle: what no way of moving
# bytes could make faster.
#
# lab: --timeout 1800 --threads multi
. "$TOP/selftests/e2e/bench-common.sh"
. "$TOP/selftests/e2e/programs-common.sh"

# A server of the right kind, what a client makes of it, and the server's end.
turn() { # TEST REPEAT
	local proto kind ip
	ip=$(guest_ip g2)
	for proto in circuit tcp; do
		[ "$proto" = circuit ] && kind=() || kind=(-n)
		"serve_$1" ${kind[@]+"${kind[@]}"}
		if [ "$proto" = circuit ]; then
			circuits put "$1" "$proto" "$2"
		else
			tcp put "$1" "$proto" "$2"
		fi
		"stop_$1"
	done
}
put() { # TEST PROTO REPEAT
	measure "$1" "$2" "$3" with_own "$1"
}
with_own() {
	local out before after
	read -ra before < <(guest_exec g2 "head -1 /proc/stat")
	out=$("run_$1")
	read -ra after < <(guest_exec g2 "head -1 /proc/stat")
	[[ $out =~ [0-9] ]]
	# user, nice, system, idle, iowait, irq, softirq
	awk -v out="$out" 'BEGIN {
		n = split(ARGV[1], before); split(ARGV[2], after)
		for (i = 1; i <= 7; i++) {
			d = after[i] - before[i]
			all += d
			if (i < 3) own += d
		}
		print out, "own=" own / all
	}' "${before[*]:1}" "${after[*]:1}"
}

serve_nginx() { serve "$@" 80 nginx; }
stop_nginx() { serve_no_more 80; }
wrk_figures() { # OPTION...
	in_real g1 "${WRK[*]} $* http://$ip/1k" | figures_of_wrk
}
serve_nginx-keep() { serve_nginx "$@"; }
stop_nginx-keep() { stop_nginx; }
run_nginx-keep() { wrk_figures; }
serve_nginx-close() { serve_nginx "$@"; }
stop_nginx-close() { stop_nginx; }
run_nginx-close() { wrk_figures -H "Connection:\ close"; }

serve_redis() { serve "$@" 6379 redis-server /etc/redis.conf; }
stop_redis() { serve_no_more 6379; }
run_redis() {
	in_real g1 "redis-benchmark -h $ip -c 10 -n 2000 -t get -q" | tr '\r' '\n' |
		sed -nE 's/^GET: ([0-9.]+) requests per second.*/rate=\1/p'
}

serve_memcached() { serve "$@" 11211 memcached -u root -t 1 -U 0; }
stop_memcached() { serve_no_more 11211; }
run_memcached() {
	in_real g1 "memcslap -N -s $ip:11211 -t get -c 4 -e 500 2>&1" |
		sed -nE 's/^Time to get +([0-9]+) keys by .*: +([0-9.]+) seconds.*/\1 \2/p' |
		awk '{ printf "n=%d ns=%.0f\n", $1, $2 * 1e9 }'
}

serve_pgbench() { pg_serve "$@"; }
stop_pgbench() { pg_stop; }
run_pgbench() {
	in_real -t 100 g1 "pgbench -h $ip -U postgres -n -S -c ${1:-1} -T 4 postgres 2>/dev/null" |
		sed -nE 's/^tps = ([0-9.]+).*/rate=\1/p'
}
# With several clients the server never waits, and its own processor time is what counts.
serve_pgbench-4() { serve_pgbench "$@"; }
stop_pgbench-4() { stop_pgbench; }
run_pgbench-4() { run_pgbench 4; }

serve_iperf3() { serve "$@" 5201 iperf3 -s; }
stop_iperf3() { serve_no_more 5201; }
run_iperf3() {
	in_real g1 "iperf3 -J -t 2 -c $ip" | python3 -c '
import json, sys
got = json.load(sys.stdin)["end"]["sum_received"]
print("bytes=%d ns=%d" % (got["bytes"], got["seconds"] * 1e9))'
}

# The world is a namespace behind a veth, with the same programs.
world_up() {
	namespace out 2
	ip -n out route add default via 192.0.2.1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	mkdir -p "$LAB_RUN/world"
	(cd "$LAB_RUN/world" && cpio -id --quiet <"$PROGRAMS/programs.cpio")
	mount --rbind /dev "$LAB_RUN/world/real/dev"
	"$CIRCUIT" trunk add wan
	"$CIRCUIT" line set g1 trunk wan
	setsid ip netns exec out chroot "$LAB_RUN/world/real" nginx >/dev/null 2>&1 {LAB_OUT}>&- &
	guest_bg g1 nginx "$(real "exec nginx")"
	wait_for 60 guest_exec g1 "netstat -ltn | grep -q ':80 '"
	"$CIRCUIT" expose add g1:80 on 192.0.2.1:8080
}
in_world() { ip netns exec out chroot "$LAB_RUN/world/real" "$@"; }
figures_of_wrk() {
	awk '
		$1 == "99%" { unit = $2; sub(/[0-9.]+/, "", unit)
			p99 = $2 * (unit == "us" ? 1000 : unit == "ms" ? 1000000 : 1000000000) }
		$1 == "Requests/sec:" { printf "rate=%s p99=%d\n", $2, p99 }'
}
WRK=(wrk -t1 -c4 -d3s --timeout 20s --latency)
world_turn() { # REPEAT
	local calls
	calls=$(line_get g1 calls-out)
	echo "wrk-out circuit $1 $(in_real g1 "${WRK[*]} http://192.0.2.2/1k" | figures_of_wrk)" >>"$RAW"
	[ "$(line_get g1 calls-out)" -gt "$calls" ]
	redirect g1 off
	calls=$(line_get g1 calls-out)
	echo "wrk-out tcp $1 $(in_real g1 "${WRK[*]} http://192.0.2.2/1k" | figures_of_wrk)" >>"$RAW"
	expect "$calls" "$(line_get g1 calls-out)" "calls of g1"
	redirect g1 on
	calls=$(line_get g1 calls-in)
	echo "wrk-in circuit $1 $(in_world "${WRK[@]}" http://192.0.2.1:8080/1k | figures_of_wrk)" >>"$RAW"
	[ "$(line_get g1 calls-in)" -gt "$calls" ]
	calls=$(line_get g1 calls-in)
	echo "wrk-in tcp $1 $(in_world "${WRK[@]}" "http://$(guest_ip g1)/1k" | figures_of_wrk)" >>"$RAW"
	expect "$calls" "$(line_get g1 calls-in)" "calls for g1"
}

raw_begin
[ -n "$PROGRAMS" ] || { t_fail -n "programs" "no image of them, see tools/lab/mkprograms"; return; }
t_run -t 180 "two guests with programs" setup
AGAIN=setup
for r in $(seq "$REPEATS"); do
	t_run "asking, $r of $REPEATS" nothing "$r"
	for test in nginx-keep nginx-close redis memcached pgbench pgbench-4 iperf3; do
		t_run -t 150 "$test, $r of $REPEATS" turn "$test" "$r"
	done
done
AGAIN=''
t_run -t 120 "the world" world_up
for r in $(seq "$REPEATS"); do
	t_run -t 90 "wrk, over a trunk, $r of $REPEATS" world_turn "$r"
done
