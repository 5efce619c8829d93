# shellcheck shell=bash disable=SC1091
# SPDX-License-Identifier: GPL-2.0
#
# life - everything that can end does end, in every way it can, while it is in use; and
# everybody else goes on.
#
# lab: --timeout 1200
# lab: takes guests down
. "$TOP/selftests/e2e/common.sh"

# A bystander: two lines' worth of calls that must never notice anything, and a connection of its own.
bystander_ok() { guest_exec -t 50 g3 "peer stayed /tmp/stay.* && peer calls g3 4000 20 1"; }

setup() {
	guests_up g1 g2 g3
	guest_bg g3 bystander "peer echo 4000"
	stay g3 own g3 4000
	bystander_ok
}

# load PORT: data flows from g1 to g2 until something happens; waits until it does flow. What g1 has
# with others, beside it, goes on: beside_ok.
load() {
	stay g1 beside g3 4000
	guest_bg g2 "drain$1" "peer drain $1"
	guest_bg g1 "flood$1" "peer flood g2 $1"
	wait_for 20 flowing "$1"
}
beside_ok() { stay_end g1 beside; }
flowing() { # PORT: the caller has sent more than a mebibyte
	local json
	json=$("$CIRCUIT" -j show line g1) || return
	[[ $json =~ \"bytes\":([0-9]+),[^}]*\},\"called\":\{\"line\":\"[^\"]*\",\"port\":$1, ]] &&
		[ "${BASH_REMATCH[1]}" -gt $((1 << 20)) ]
}
ended_with() { # GUEST ID TEXT...
	local out guest=$1 id=$2
	shift 2
	out=$(guest_wait "$guest" "$id" 30) || true
	for text; do
		! grep -qx "$text" <<<"$out" || return 0
	done
	echo "$guest $id: $out, not $*"
	return 1
}

reader_killed() {
	load 5001
	guest_exec g2 'kill -9 $(pidof peer)'
	ended_with g1 flood5001 'Connection reset by peer' 'Broken pipe'
	beside_ok
	both_idle
}
writer_killed() {
	load 5002
	guest_bg_kill g1 flood5002
	ended_with g2 drain5002 'end' 'Connection reset by peer'
	beside_ok
	both_idle
}
both_idle() {
	wait_for 20 line_idle g1
	wait_for 20 line_idle g2
	bystander_ok
}

# g2 listens for one in its queue, and answers nobody until told to; g1 calls.
backlog_full() { # CALLS [BACKLOG-THEN]
	local log
	guest_bg g2 late "rm -f /tmp/late; mkfifo /tmp/late; peer late 5020 /tmp/late $2"
	wait_for 10 grep -q listening "$(guest_bg_log g2 late)"
	guest_bg g1 pile "rm -f /tmp/pile; mkfifo /tmp/pile; peer pile g2 5020 $1 /tmp/pile"
	log=$(guest_bg_log g1 pile)
	wait_for 20 grep -q taken "$log"
	expect '2 taken' "$(cat "$log")"
	expect $(($1 - 2)) "$(line_get g1 pending)" "calls that wait"
	guest_exec g2 "echo >/tmp/late"
	guest_exec g1 "echo >/tmp/pile"
	expect $'2 taken\n'"$1 taken"$'\nall work' "$(guest_wait g1 pile)"
	guest_bg_kill g2 late
	both_idle
}

# A call that nobody takes in time; and one that is taken, but its caller does not run until its time is over, and may
# find that out first: both are forgotten on either side.
times_out() {
	local timeout=/sys/module/circuit_guest/parameters/call_timeout calls start
	guest_bg g2 late "rm -f /tmp/late; mkfifo /tmp/late; peer late 5030 /tmp/late"
	wait_for 10 grep -q listening "$(guest_bg_log g2 late)"
	expect 'connected 2' "$(guest_exec g1 "peer outcomes g2 5030 2")"
	expect 'ETIMEDOUT, reason 4' "$(guest_exec g1 "echo 1 >$timeout; peer why g2 5030")"
	wait_for 10 line_idle g1
	calls=$(line_get g1 calls-out)
	guest_bg g1 why "echo 4 >$timeout; peer why g2 5030"
	wait_for 3 more_than 0 line_get g1 pending
	guest_qmp g1 '{"execute":"stop"}'
	start=$(lab_now)
	guest_exec g2 "echo >/tmp/late"
	wait_for 10 more_than "$calls" line_get g1 calls-out
	wait_for 10 more_than $((start + 4000000)) lab_now
	guest_qmp g1 '{"execute":"cont"}'
	# A clock of the guest's that was stopped with it leaves the answer time to come first.
	guest_wait g1 why | grep -qx 'ETIMEDOUT, reason 4\|connected, reason 0'
	guest_exec g1 "echo 127 >$timeout"
	guest_bg_kill g2 late
	both_idle
}

vmm_killed() {
	load 5003
	guest_kill9 g2
	ended_with g1 flood5003 'Connection reset by peer' 'Broken pipe'
	beside_ok
	wait_for 20 line_idle g1
	wait_for 20 line_is g2 detached
	expect 0 "$(line_get g2 memory)" "memory of the dead"
	refused_as g1 g2 'No route to host'
	guest_start g2 --line g2 --net
	wait_for 20 line_is g2 up
	transfer g1 g2 1000000
	bystander_ok
}
vmm_of_writer_killed() {
	load 5004
	guest_kill9 g1
	ended_with g2 drain5004 'end' 'Connection reset by peer'
	wait_for 20 line_idle g2
	guest_start g1 --line g1 --net --smp 2
	wait_for 20 line_is g1 up
	transfer g1 g2 1000000
}
refused_as() { # GUEST LINE TEXT
	local out
	if out=$(guest_exec "$1" "peer send $2 99 1" 2>&1); then
		return 1
	fi
	grep -q "$3" <<<"$out" || { echo "$out"; return 1; }
}

rebooted() {
	load 5005
	guest_reboot g2
	ended_with g1 flood5005 'Connection reset by peer' 'Broken pipe'
	beside_ok
	wait_for 30 line_is g2 up
	transfer g1 g2 1000000
	transfer g2 g1 1000000
}
panicked() {
	load 5006
	guest_panic g2 reboot
	ended_with g1 flood5006 'Connection reset by peer' 'Broken pipe'
	beside_ok
	wait_for 30 line_is g2 up
	transfer g1 g2 1000000
	both_idle
}

module_pinned() {
	load 5007
	fails guest_exec g2 "rmmod circuit_guest"
	guest_bg_kill g1 flood5007
	ended_with g2 drain5007 'end' 'Connection reset by peer'
	beside_ok
}
module_reloaded() {
	for _ in 1 2 3 4 5; do
		wait_for 10 guest_exec g2 "rmmod circuit_guest"
		wait_for 10 line_is g2 attached
		refused_as g1 g2 'No route to host'
		guest_exec g2 "modprobe circuit_guest || insmod /lib/modules/*/circuit_guest.ko"
		wait_for 10 line_is g2 up
		transfer g1 g2 100000
	done
}
device_unbound() {
	load 5008
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in 0000:*; do echo $d > unbind; done'
	ended_with g1 flood5008 'Connection reset by peer' 'Broken pipe'
	beside_ok
	ended_with g2 drain5008 'Connection reset by peer'
	wait_for 10 line_is g2 attached
	guest_exec g2 'cd /sys/bus/pci/drivers/circuit_guest && for d in /sys/bus/pci/devices/*; do
		[ "$(cat $d/vendor)$(cat $d/device)" = 0x1af40x1110 ] && basename $d > bind; done; true'
	wait_for 10 line_is g2 up
	transfer g1 g2 100000
}

line_deleted() {
	load 5009
	"$CIRCUIT" line del g2
	ended_with g1 flood5009 'Connection reset by peer' 'Broken pipe'
	beside_ok
	ended_with g2 drain5009 'Connection reset by peer'
	refused_as g1 g2 'No route to host'
	wait_for 20 line_idle g1
	guest_alive g2
	refused_as g2 g1 'unreachable'
	bystander_ok
	guest_stop g2
	"$CIRCUIT" line add g2 circuits 12000
	guest_start g2 --line g2 --net
	wait_for 20 line_is g2 up
	transfer g1 g2 100000
}

quota() {
	local out
	"$CIRCUIT" line set g1 memory 2M
	guest_bg g2 hold "peer hold-listen 5010 100 524288"
	out=$(guest_exec g1 "peer hold g2 5010 100 524288" 2>&1) && return 1
	grep -q 'No buffer space' <<<"$out"
	guest_bg_kill g2 hold
	"$CIRCUIT" line set g1 memory 256M circuits 5
	guest_bg g2 hold "peer hold-listen 5011 100 4096"
	out=$(guest_exec g1 "peer hold g2 5011 100 4096" 2>&1) && return 1
	grep -q 'No buffer space' <<<"$out"
	guest_bg_kill g2 hold
	"$CIRCUIT" line set g1 circuits 12000
	both_idle
}

# g1 does not close its ends. They cost g2, which has closed its own, nothing that it needs.
left_behind() {
	"$CIRCUIT" line set g2 memory 2M
	guest_bg g2 hold "peer hold-listen 5012 100 4096"
	guest_bg g1 hold "rm -f /tmp/hold; mkfifo /tmp/hold; peer hold g2 5012 100 4096 /tmp/hold"
	wait_for 20 grep -q 'all work' "$(guest_bg_log g1 hold)"
	guest_exec g2 'kill -9 $(pidof peer)'
	wait_for 20 line_idle g2
	[ "$(line_get g1 circuits)" -ge 100 ]
	transfer g3 g2 1000
	guest_bg_kill g1 hold
	"$CIRCUIT" line set g2 memory 256M
	both_idle
}

monitor_tells() {
	local monitor
	"$CIRCUIT" -j monitor >"$LAB_RUN/monitor" &
	monitor=$!
	wait_for 10 started
	transfer g1 g2 1000
	wait_for 10 told connected
	wait_for 10 told released
	kill "$monitor" # by its pid: bash may take the whole process group for the job, us as well
}
started() { # events reach the monitor once it has joined the group
	"$CIRCUIT" line set g1 circuits 12000
	told line-set
}
told() { grep -q "\"event\":\"$1\"" "$LAB_RUN/monitor"; }

# Each network namespace has an exchange of its own, here with a VM at a line of the same name as one
# outside, and goes with all it has when the namespace does.
netns_gone() {
	local users red=("$CIRCUIT" -n red)
	stay_end g3 own
	guest_bg_kill g3 bystander
	guest_stop g3
	wait_for 20 line_is g3 detached
	users=$(module_users)
	ip netns add red
	"${red[@]}" policy default connect
	"${red[@]}" line add g3
	"${red[@]}" line add g1
	"${red[@]}" line add lonely
	fails "$CIRCUIT" line show lonely
	guest_start g3 --netns red --line g3
	wait_for 20 in_red g3 up
	in_red g1 detached
	line_is g3 detached
	refused_as g1 g3 'No route to host'
	refused_as g3 g1 'No route to host'
	guest_bg g3 echo "peer echo 4000"
	stay g3 own g3 4000
	expect '[]' "$("$CIRCUIT" -j show | tr -d ' \n')" "circuits outside"
	"${red[@]}" show line g3 | grep -q 'g3:4000'
	line_idle g3
	transfer g2 g1 100000
	[ "$(module_users)" -gt "$users" ]
	ip netns del red	# the VMM is in it yet
	transfer g3 g3 100000
	stay_end g3 own
	stay g3 own g3 4000
	guest_kill9 g3
	wait_for 60 module_used_by "$users"	# fewer, if not all of the first VMM was gone then
}
in_red() { [ "$(json_get "$("$CIRCUIT" -n red -j line show "$1")" state)" = "$2" ]; } # LINE STATE
module_users() { awk '$1 == "circuit_host" { print $3 }' /proc/modules; }
module_used_by() { [ "$(module_users)" -le "$1" ]; }

host_unload() {
	local g
	fails rmmod circuit_host
	for g in g1 g2 g3; do
		"$CIRCUIT" line del "$g"
	done
	fails rmmod circuit_host	# the VMs hold their windows
	for g in g1 g2; do
		guest_stop "$g"
	done
	wait_for 20 rmmod circuit_host
}
host_load() {
	splat_expected host 'WARNING: .* event_define_fields\+'	# of a trace event there was no memory for
	sh -c "$NTH"
	"$(dirname "$CIRCUIT")/../tests/peer" nth-insmod "$CIRCUIT_HOST_KO" circuit_host
}
host_again() {
	guests_up g1 g2
	transfer g1 g2 100000
}

t_run -t 120 "three guests" setup
t_run "backlog full, and emptied" backlog_full 8 ''
# More than fit the signalling circuit at once.
t_run "backlog full, and enlarged" backlog_full 250 512
t_run "a call times out, and one is answered when its time is over" times_out
t_run "reader killed mid-transfer" reader_killed
t_run "writer killed mid-transfer" writer_killed
t_run -t 120 "VMM of the reader killed under load, and back" vmm_killed
t_run -t 120 "VMM of the writer killed under load, and back" vmm_of_writer_killed
t_run -t 120 "guest rebooted under load" rebooted
t_run -t 120 "guest panics under load and reboots" panicked
t_run "guest module cannot be unloaded in use" module_pinned
t_run -t 120 "guest module unloaded and loaded, five times" module_reloaded
t_run "device unbound under load" device_unbound
t_run -t 120 "line deleted under load" line_deleted
t_run "quotas of memory and circuits" quota
t_run "a far end that does not close holds no quota" left_behind
t_run "monitor tells it all" monitor_tells
t_run -t 240 "a network namespace is an exchange of its own" netns_gone
t_run "host module unloads" host_unload
[ "$HOST_KIND" = stock ] || t_run -t 120 "host module: allocations of loading it fail" host_load
t_run -t 120 "host module loads again" host_again
