# shellcheck shell=bash disable=SC1091,SC2016
# SPDX-License-Identifier: GPL-2.0
#
# programs - what people run, as Debian builds it, with its TCP sockets as circuits; and with one
# side's as TCP's, which the other must not notice.
#
# lab: --timeout 900
. "$TOP/selftests/e2e/common.sh"

# The programs are in a root of their own, see tools/lab/mkprograms. What belongs to whom is not in
# the image.
setup() {
	local g
	host_up
	for g in g1 g2; do
		"$CIRCUIT" line add "$g" circuits 12000
		guest_start "$g" --line "$g" --net --no-wait --initramfs "$PROGRAMS" --mem 640
	done
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
		"$CIRCUIT" line set "$g" addr "$(guest_ip "$g")" addr "$(guest_ip6 "$g")"
		guest_exec "$g" 'set -e
			for d in proc sys dev; do mount --rbind /$d /real/$d; done
			mkdir -p /dev/pts /dev/shm
			mount -t devpts -o ptmxmode=0666 devpts /real/dev/pts
			mount -t tmpfs tmpfs /real/dev/shm
			chmod 1777 /real/tmp /real/dev/shm
			chown -R 105:110 /real/var/lib/postgresql /real/run/postgresql
			chown -R 106:111 /real/var/lib/redis'
		redirect "$g" on
	done
	ip=$(guest_ip g2)
}
guest_ip6() { echo "fd99::$(guest_cid "$1")"; }

redirect() { # GUEST on|off
	guest_exec "$1" "echo $([ "$2" = on ] && echo 1 || echo 0) >/proc/sys/net/circuit/redirect"
}

# in_real [-i] [-t S] GUEST CMD...: in that root, by its shell
in_real() {
	local opts=()
	while [[ $1 == -* ]]; do
		opts+=("$1")
		[ "$1" != -t ] || { opts+=("$2"); shift; }
		shift
	done
	guest_exec ${opts[@]+"${opts[@]}"} "$1" "$REAL ${*:2}"
}
REAL='exec env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C chroot /real'
sh_real() { # [-t S] GUEST SCRIPT
	local script=${*: -1}
	in_real "${@:1:$#-1}" "sh -euc '$script'"
}

# serve PORT CMD...: in g2, and wait until it listens. Its sockets are circuits; serve -n: TCP's.
serve() {
	local kind=on
	[ "$1" != -n ] || { kind=off; shift; }
	redirect g2 "$kind"
	guest_bg g2 "server$1" "$REAL ${*:2}"
	wait_for 60 listens "$1" || { cat "$(guest_bg_log g2 "server$1")"; return 1; }
	redirect g2 on
}
listens() {
	[ ! -e "$LAB_GUESTS/g2/bg.server$1.status" ] &&
		guest_exec g2 "netstat -ltn | grep -q ':$1 '"
}
serve_no_more() { guest_bg_kill g2 "server$1"; }

# circuits CMD..., tcp CMD...: run it, and see what carried it. CMD calls from g1.
circuits() {
	local before made
	before=$(line_get g1 calls-out)
	"$@" || return
	made=$(($(line_get g1 calls-out) - before))
	echo "$made circuits: $*"
	[ "$made" -gt 0 ]
}
tcp() {
	local before
	before=$(line_get g1 calls-out)
	"$@" || return
	expect "$before" "$(line_get g1 calls-out)" "no calls: $*"
}
# The same with a client that is not redirected.
tcp_client() {
	redirect g1 off
	tcp "$@" || return
	redirect g1 on
}

sum_real() { # GUEST FILE
	local sum
	sum=$(guest_exec "$1" "sha256sum </real$2") && echo "${sum%% *}"
}

# --- nginx, curl, wrk ----------------------------------------------------------------------------

# Gets a file of each size COUNT times on one connection, and says what it has got.
curl_get() { # COUNT [OPTION...]
	local size want got
	for size in 1k 1m; do
		want=$(sum_real g2 "/srv/www/$size")
		sh_real g1 "rm -f /tmp/got.*; curl -sSf ${*:2} http://$ip/$size?[1-$1] -o /tmp/got.#1"
		got=$(guest_exec g1 "sha256sum /real/tmp/got.* | cut -d' ' -f1 | sort | uniq -c")
		expect "$1 $want" "$(echo $got)" "$1 times $size"
	done
}
curl_put() {
	# nginx does not take it, but has to read it all to say so on a connection that goes on.
	expect '405 405' "$(sh_real g1 "curl -sS -o /tmp/1 -o /tmp/2 -w \"%{http_code} \" -H Expect: \
		--data-binary @/srv/www/1m http://$ip/1k http://$ip/1k" | xargs)" status
}
wrk() { # SIZE OPTION...: without errors, and a good number of requests
	local out
	out=$(in_real g1 "wrk -t1 -c4 -d2s --timeout 20s ${*:2} http://$ip/$1")
	echo "$out"
	! grep -E 'Socket errors|Non-2xx' <<<"$out" || return 1
	[[ $out =~ ([0-9]+)\ requests\ in ]] && [ "${BASH_REMATCH[1]}" -gt 0 ]
	t_note "wrk $1 ${*:2}: $(grep -oE 'Requests/sec.*' <<<"$out")"
}
nginx_curl() {
	serve 80 nginx
	circuits curl_get 5
	circuits curl_get 3 -H "Connection:\ close"
	circuits curl_get 5 --no-keepalive --parallel
	circuits curl_put
}
nginx_wrk() {
	local size
	for size in 1k 1m; do
		circuits wrk $size
		circuits wrk $size -H "Connection:\ close"
	done
}
nginx_native() {
	tcp_client curl_get 2
	tcp_client wrk 1k
	serve_no_more 80
	wait_for 10 fails listens 80
	serve -n 80 nginx
	tcp curl_get 2
	tcp wrk 1k
	serve_no_more 80
}

t_run -t 120 "two guests with programs" setup
# Subshells are where tests run, so what setup has found is found again.
ip=$(guest_ip g2)
t_run -t 120 "nginx and curl" nginx_curl
t_run -t 120 "nginx and wrk" nginx_wrk
t_run -t 120 "nginx and curl, one side native" nginx_native
