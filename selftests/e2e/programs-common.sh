# shellcheck shell=bash disable=SC1091,SC2016,SC2034
# SPDX-License-Identifier: GPL-2.0
#
# programs-common.sh - two guests with Debian's programs: for programs.sh and bench-programs.sh.
. "$TOP/selftests/e2e/common.sh"
shopt -s inherit_errexit # in $(...) as well, the first failure counts

# The programs are in a root of their own, see tools/lab/mkprograms. What belongs to whom is not in
# the image.
setup() {
	local g more=0
	[ "$GUEST_KIND" = stock ] || more=128
	# These guests are not like those of others.
	lab_clear || { echo "what is there cannot be taken down"; return 1; }
	host_up
	for g in g1 g2; do
		"$CIRCUIT" line add "$g" circuits 12000
	done
	guest_start g1 --line g1 --net --no-wait --mem $((480 + more)) --initramfs "$PROGRAMS/programs.cpio" \
		--initramfs "$PROGRAMS/dig.cpio"
	guest_start g2 --line g2 --net --no-wait --mem $((576 + more)) --initramfs "$PROGRAMS/programs.cpio" \
		--initramfs "$PROGRAMS/postgresql.cpio"
	for g in g1 g2; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
		"$CIRCUIT" line set "$g" addr "$(guest_ip "$g")" addr "$(guest_ip6 "$g")"
		guest_exec "$g" 'set -e
			mkdir -p /dev/pts /dev/shm
			mount -t devpts -o ptmxmode=0666 devpts /dev/pts
			mount -t tmpfs -o mode=1777 tmpfs /dev/shm
			for d in proc sys dev; do mount --rbind /$d /real/$d; done
			mount -t tmpfs -o mode=1777 tmpfs /real/tmp
			chown 106:111 /real/var/lib/redis
			chown -R 105:110 /real/run/postgresql /real/var/lib/postgresql'
		redirect "$g" on
	done
}
guest_ip6() { echo "fd99::$(guest_cid "$1")"; }

redirect() { # GUEST on|off
	guest_exec "$1" "echo $([ "$2" = on ] && echo 1 || echo 0) >/proc/sys/net/circuit/redirect"
}

PG=/usr/lib/postgresql/15/bin
# in_real [-t S] GUEST SCRIPT: by the shell of that root. Single quotes it cannot have.
in_real() {
	local script=${*: -1}
	guest_exec "${@:1:$#-1}" "$(real "$script")"
}
# By that shell, since busybox would take programs for its own that have names like them.
real() {
	echo "exec env -i HOME=/root LC_ALL=C \
		PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PG chroot /real /bin/sh -euc '$1'"
}

# serve PORT CMD...: in g2, and wait until it listens. Its sockets are circuits; serve -n: TCP's.
serve() {
	local kind=on
	[ "$1" != -n ] || { kind=off; shift; }
	wait_for 10 fails listens "$1"
	redirect g2 "$kind"
	guest_bg g2 "server$1" "$(real "exec ${*:2}")"
	wait_for 60 listens "$1" || { cat "$(guest_bg_log g2 "server$1")"; false; }
	redirect g2 on
}
listens() { guest_exec g2 "netstat -ltn | grep -q ':$1 '"; }
serve_no_more() { guest_bg_kill g2 "server$1"; }

# circuits CMD..., tcp CMD...: run it, and see what has carried it: all that g1 has called. (Not to be
# called where a failure is tested for: the shell would not stop at one within CMD.)
circuits() {
	local calls opens made start
	start=$(lab_now)
	calls=$(line_get g1 calls-out)
	opens=$(tcp_opens)
	"$@"
	made=$(($(line_get g1 calls-out) - calls))
	echo "$made circuits, $(lab_since "$start") s: $*"
	[ "$made" -gt 0 ]
	expect "$opens" "$(tcp_opens)" "connections of TCP's: $*"
}
tcp() {
	local calls opens made start
	start=$(lab_now)
	calls=$(line_get g1 calls-out)
	opens=$(tcp_opens)
	"$@"
	made=$(($(tcp_opens) - opens))
	echo "$made connections of TCP's, $(lab_since "$start") s: $*"
	[ "$made" -gt 0 ]
	expect "$calls" "$(line_get g1 calls-out)" "calls: $*"
}
tcp_opens() { guest_exec g1 "awk '/^Tcp: [0-9]/ { print \$6 }' /proc/net/snmp"; }
# The same with a client that is not redirected.
tcp_client() {
	redirect g1 off
	tcp "$@"
	redirect g1 on
}

sum_real() { # GUEST FILE
	local sum
	sum=$(guest_exec "$1" "sha256sum </real$2") && echo "${sum%% *}"
}

pg_serve() { # [-n]
	serve "$@" 5432 /usr/sbin/chroot --userspec=postgres:postgres / \
		$PG/postgres -D /var/lib/postgresql/data
}
pg_stop() { # not in the middle of a transaction, or the next start is a recovery
	guest_exec g2 'kill -INT $(head -1 /real/var/lib/postgresql/data/postmaster.pid)'
	guest_wait g2 server5432
}
