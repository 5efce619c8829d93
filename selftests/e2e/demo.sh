# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# demo - a real file from one VM to another: over a circuit, and over virtio-net with
# vhost-net and a bridge; the same file, the same two VMs.
#
# As a check it is done with a file of DEMO_MIB, and with guests that other scenarios have left.
#
# lab: --timeout 240
. "$TOP/selftests/e2e/common.sh"

FILE=/tmp/file
MIB=${DEMO_MIB:-128}
ALICE=alice BOB=bob
! { guest_alive g1 && guest_alive g2; } || ALICE=g1 BOB=g2

say() { t_note "$*"; }

boot() {
	local g
	if [ "$ALICE" = g1 ]; then
		guests_up g1 g2
		return
	fi
	host_up >/dev/null
	"$CIRCUIT" line add alice
	"$CIRCUIT" line add bob
	for g in alice bob; do
		guest_start "$g" --line "$g" --net --mem 1024 --no-wait
	done
	for g in alice bob; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
	done
}

# A file that is not all zeroes: the guest's own kernel and programs, over and over.
make_file() {
	guest_exec -t 60 "$ALICE" "while cat /init /usr/local/bin/* /bin/busybox 2>/dev/null; do :; done |
		dd of=$FILE bs=1M count=$MIB iflag=fullblock 2>/dev/null; ls -l $FILE | awk '{print \$5}'"
}

# put SCRIPT WHAT: let alice send; how long it took goes to $LAB_RUN/WHAT.s
put() {
	guest_bg "$ALICE" put "s=\$(cut -d' ' -f1 /proc/uptime); $1
		e=\$(cut -d' ' -f1 /proc/uptime); echo took \$s \$e"
}
put_done() { # WHAT
	guest_wait "$ALICE" put 100 | awk '$1 == "took" { s = $3 - $2; printf "%.2f\n", (s > 0 ? s : 0.01) }' >"$LAB_RUN/$1.s"
	guest_wait "$BOB" get 60
	[ -s "$LAB_RUN/$1.s" ] || { echo "nobody said how long it took"; return 1; }
	guest_exec -t 60 "$BOB" "md5sum <$FILE.$1; rm $FILE.$1" >"$LAB_RUN/$1.sum"
}
rate() { awk -v mib="$MIB" -v s="$1" 'BEGIN { printf "%.0f", mib * 8.388608 / s }'; }

# The first to write a file would also be the first to touch the guest's memory.
touch_memory() {
	guest_exec -t 60 "$BOB" "dd if=/dev/zero of=$FILE bs=1M count=$MIB 2>/dev/null; rm $FILE"
}

over_circuit() {
	guest_bg "$BOB" get "circuit-cat -l 2000 >$FILE.circuit </dev/null"
	wait_for 10 listening "$BOB"
	put "circuit-cat $BOB 2000 <$FILE >/dev/null"
	wait_for 10 a_circuit
	"$CIRCUIT" -s show | sed 's/^/    /' | while read -r line; do say "  $line"; done
	put_done circuit
}
listening() { [ "$(line_get "$1" listeners)" = 1 ]; }
# Or it is over already, as it may be with a small file.
a_circuit() {
	"$CIRCUIT" -j show | grep -q '"bytes":[1-9]' ||
		{ [ -n "${DEMO_MIB:-}" ] && [ -e "$(guest_dir "$ALICE")/bg.put.status" ]; }
}

over_virtio() {
	# A standard input that never ends, or nc would hang up on the sender.
	guest_bg "$BOB" get "mkfifo $FILE.in; nc -l -p 2000 >$FILE.tcp <>$FILE.in"
	wait_for 10 guest_exec "$BOB" "grep -q ':07D0 .* 0A ' /proc/net/tcp /proc/net/tcp6"
	put "nc $(guest_ip "$BOB") 2000 <$FILE"
	put_done tcp
}

same() { # WHAT
	expect "$SUM" "$(cut -d' ' -f1 <"$LAB_RUN/$1.sum")" "checksum over $1"
}

t_run -t 90 "host up: circuit line add $ALICE; circuit line add $BOB; two VMs attached" boot
say "$ALICE makes a file of $MIB MiB"
SIZE=$(make_file)
SUM=$(guest_exec -t 60 "$ALICE" "md5sum <$FILE" | cut -d' ' -f1)
say "its MD5 sum is $SUM"
touch_memory
say "in $BOB:   circuit-cat -l 2000 >file"
say "in $ALICE: circuit-cat $BOB 2000 <file       meanwhile, on the host, circuit -s show:"
t_run -t 90 "the file went over a circuit" over_circuit
t_run "the checksum is right" same circuit
say "now the same with nc over virtio-net, vhost-net and a bridge"
t_run -t 90 "the file went over virtio-net" over_virtio
t_run "the checksum is right" same tcp
C=$(<"$LAB_RUN/circuit.s") T=$(<"$LAB_RUN/tcp.s")
say ""
say "$SIZE bytes over a circuit:    $C s, $(rate "$C") Mbit/s"
say "$SIZE bytes over virtio-net:   $T s, $(rate "$T") Mbit/s"
say "ratio: $(awk -v a="$T" -v b="$C" 'BEGIN { printf "%.1f", a / b }')  (an emulated host: believe the ratio, not the figures)"
t_run "what each line did: circuit -s line show" "$CIRCUIT" -s line show
"$CIRCUIT" -s line show | while read -r line; do say "  $line"; done
