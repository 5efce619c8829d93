# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# lib.sh - what a scenario can call, inside L1 (the host under test).
#
# Guests (state is kept in files under /run/lab/guest/NAME, so all of this works from subshells):
#   guest_start NAME [OPTION]...    start a KVM guest and wait until it takes commands
#       --line LINE    start the VMM through `$CIRCUIT line run LINE -- ...` (adds the ivshmem device)
#       --netns X      the VMM is in that network namespace of the host's, and LINE is of its exchange; not
#                      with --net
#       --net          virtio-net with vhost-net on bridge br0: address $(guest_ip NAME)
#       --smp N        processors (1)          --mem MB     memory (256; 384 for a debug kernel)
#       --no-wait      do not wait; guest_ready NAME does
#       --nomod        do not load the guest module    --modargs "A=1 B=2"  its parameters
#       --append ARGS  more kernel command line        -- ARG...  more arguments for QEMU
#       --initramfs FILE   unpacked over the guest's own; repeatable. Takes twice its size of memory
#                      while it is unpacked, and its size from then on
#   guest_ready NAME [S]            wait until the agent answers (120 s)
#   guest_exec [-i] [-t S] NAME CMD...   run `sh -c "CMD..."` in the guest, stdout and stderr apart, its exit
#                                   code; -i: with this stdin; 124: timeout (60 s), 125: guest gone
#   guest_bg NAME ID CMD...         start a command; guest_wait NAME ID [S] gives its exit code and
#                                   prints its output; guest_bg_log NAME ID is the file it goes to;
#                                   guest_bg_kill NAME ID ends it
#   guest_put NAME FILE DEST        guest_get NAME FILE DEST
#   guest_kill9 NAME                SIGKILL to the VMM, returns when it is gone
#   guest_reboot NAME               reboot inside the same VMM process, returns when it is back
#   guest_stop NAME                 power off, returns when the VMM is gone
#   guest_panic NAME [reboot]       panic it through sysrq; the VMM ends (or: the guest reboots)
#   guest_qmp NAME JSON...          talk to the VMM
#   guest_alive NAME   guest_pid NAME   guest_ip NAME   guest_cid NAME   guest_list
#
# Tests:
#   t_run [-t S] NAME FUNCTION [ARG]...  run FUNCTION as one test in a subshell under set -e: it
#                                   passes when it returns 0 in time (60 s) and neither the host nor
#                                   any guest has logged a splat
#                                   A scenario may have a function t_begins, called before each test,
#                                   and t_again, called when one has failed without a splat: if it sets
#                                   LAB_AGAIN, the test is run once more, and that counts
#   t_fail WHY    t_skip WHY        end the running test (or report one: t_fail -n NAME WHY)
#   t_note TEXT                     a line "# TEXT" in the results, e.g. a measurement
#   wait_for S CMD...               poll until CMD succeeds; fails after S seconds
#   expect WANT GOT [WHAT]          fail unless equal
#   fails CMD...                    succeed if CMD fails (a plain "! CMD" does not trip set -e)
#   splat_expected host|NAME REGEX  the running test causes log lines that match; all others count
#   splat_forget                    ignore what has been logged up to now
#   splat_scan                      print new splats of the host and all guests; fails if there are
#
# host-init calls lab_scenario for each scenario; lab_finish in the end: kmemleak of guests and host,
# last splats, the verdict. Booting is what takes longest here, so a scenario leaves its guests,
# lines and our module on the host to the next (but not what it started with guest_bg), and takes
# what it finds; one that takes guests down says so, in a line "# lab: takes guests down", and the
# lab looks for leaks before. When a scenario has failed, the next finds nothing.

LAB_RUN=/run/lab
LAB_GUESTS=$LAB_RUN/guest

# Results go to the stream that was stdout when this file was read, whatever a test redirects.
exec {LAB_OUT}>&1
exec {LAB_TICK}<> <(:) # nothing ever comes: reading it with a timeout is a tick without a process
touch "$LAB_RUN/results"

lab_say() { echo "$*" >&"$LAB_OUT"; }
lab_now() { local s; s=$EPOCHREALTIME; echo "${s%.*}${s#*.}"; }
lab_since() { # MICROSECONDS: seconds since then, one decimal
	local t=$((($(lab_now) - $1) / 100000))
	echo "$((t / 10)).$((t % 10))"
}

# Limits in seconds are for the stock kernel on a machine that boots L1 in LAB_BOOT_SECONDS; an
# instrumented kernel gets more, and so does a machine that is slower, or busy.
LAB_SLOW=1 LAB_BOOT_SECONDS=10
[ "$HOST_KIND" = stock ] || LAB_BOOT_SECONDS=40
[ "$HOST_KIND$GUEST_KIND" = stockstock ] || LAB_SLOW=3
[ "${LAB_STARTED%.*}" -le "$LAB_BOOT_SECONDS" ] ||
	LAB_SLOW=$((LAB_SLOW * (1 + (${LAB_STARTED%.*} > 2 * LAB_BOOT_SECONDS ? 2 : 1))))

# Has the time that the run may take passed (lab: LAB_UNTIL)? Then no test is begun any more.
LAB_NO_TIME='the time for this run is over'
lab_over() { [ -n "${LAB_UNTIL:-}" ] && [ "$EPOCHSECONDS" -ge "$LAB_UNTIL" ]; }

# What L1 does next takes at most S seconds, or L1 is stuck: the runner outside ends it, see lab.
lab_due() { # S WHAT
	echo "$(($1 * LAB_SLOW)) $2" >/out/due # who reads half of it reads it again
}

wait_for() { # S CMD...
	local end=$((SECONDS + $1 * LAB_SLOW))
	shift
	until "$@"; do
		if [ "$SECONDS" -gt "$end" ]; then
			echo "timeout: $*" >&2
			return 1
		fi
		read -rt 0.05 -u "$LAB_TICK" || true
	done
}

expect() {
	[ "$1" = "$2" ] && return
	echo "expected ${3:-}: $1" >&2
	echo "got: $2" >&2
	return 1
}

fails() { ! "$@"; }

# --- guests ----------------------------------------------------------------------------------

guest_dir() {
	[ -d "$LAB_GUESTS/$1" ] || { echo "no guest $1" >&2; return 1; }
	echo "$LAB_GUESTS/$1"
}
guest_cid() { cat "$LAB_GUESTS/$1/cid"; }
guest_pid() { cat "$LAB_GUESTS/$1/pid"; }
guest_ip() { echo "10.99.0.$(guest_cid "$1")"; }
guest_list() { ls "$LAB_GUESTS"; }

lab_running() { # PID: there and not a zombie
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	[[ ${stat##*) } != Z* ]]
}
guest_alive() {
	local pid
	pid=$(cat "$LAB_GUESTS/$1/pid" 2>/dev/null) && lab_running "$pid"
}
lab_gone() { ! guest_alive "$1"; }

lab_bridge() {
	[ -e /sys/class/net/br0 ] && return
	modprobe bridge
	ip link add br0 type bridge
	ip address add 10.99.0.1/24 dev br0
	echo 0 >/proc/sys/net/ipv6/conf/br0/accept_dad
	ip address add fd99::1/64 dev br0
	ip link set br0 up
}

# QEMU takes one file; each is padded, so the kernel finds the next. (And were it not for rootfstype,
# it would have a tmpfs for them that is full at half of the memory.)
lab_initramfs() { # FILE...
	local joined
	joined=$LAB_RUN/initramfs.$(cksum <<<"$*" | cut -d' ' -f1)
	[ -e "$joined" ] || { cat "$@" >"$joined.new" && mv "$joined.new" "$joined"; } || return
	echo "$joined"
}

guest_start() {
	# A host that has much to do may take long to answer.
	local modargs=ask_timeout=20000
	local name=$1 line='' netns='' net='' smp=1 mem=256 wait=1 append='' extra=() cid dir cmd=() qemu
	local initramfs=("$GUEST_INITRD") initrd
	shift
	# ACPI's interpreter is slow when it is instrumented, and has nothing to say here.
	[ "$GUEST_KIND" = stock ] || mem=384 append=' acpi=off'
	while [ $# -gt 0 ]; do
		case $1 in
		--line) line=$2; shift ;;
		--netns) netns=$2; shift ;;
		--net) net=1 ;;
		--smp) smp=$2; shift ;;
		--mem) mem=$2; shift ;;
		--no-wait) wait='' ;;
		--nomod) append+=' lab.nomod' ;;
		--modargs) modargs+=,${2// /,}; shift ;;
		--append) append+=" $2"; shift ;;
		--initramfs) initramfs+=("$2"); append+=' rootfstype=ramfs'; shift ;;
		--) shift; extra=("$@"); break ;;
		*) echo "guest_start: $1?" >&2; return 2 ;;
		esac
		shift
	done
	if guest_alive "$name"; then
		echo "guest $name is running" >&2
		return 1
	fi
	dir=$LAB_GUESTS/$name
	if [ -d "$dir" ]; then # a later life of the same guest: same number, the log goes on
		cid=$(<"$dir/cid")
	else
		# mkdir is atomic, so concurrent callers get different numbers
		cid=3
		until mkdir "$LAB_RUN/cid.$cid" 2>/dev/null; do cid=$((cid + 1)); done
		mkdir "$dir"
		echo "$cid" >"$dir/cid"
		: >"$dir/console"
		: >"$dir/qemu.log"
	fi
	echo 0 >"$dir/kmsg.seq"
	initrd=$GUEST_INITRD
	[ ${#initramfs[@]} -eq 1 ] || initrd=$(lab_initramfs "${initramfs[@]}") || return
	append+=" lab.modargs=$modargs"
	[ -z "$net" ] || append+=" lab.ip=10.99.0.$cid"
	# A processor that stands still for a minute is no splat: this machine may have had no time for it. What
	# hangs is found by the limit of its test.
	# shellcheck disable=SC2054 # qemu's commas
	qemu=(qemu-system-x86_64 -nodefaults -no-user-config -display none
		-name "$name" -M 'q35,usb=off,vmport=off,graphics=off,sata=off,smbus=off,hpet=off'
		-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
		-enable-kvm -cpu host,-xsave -smp "$smp,sockets=$smp" -m "$mem" -action reboot=shutdown
		-kernel "$GUEST_IMAGE" -initrd "$initrd"
		-append "console=ttyS0 panic=-1 oops=panic loglevel=5 log_buf_len=1M watchdog_thresh=60 tsc=reliable nokaslr mitigations=off pci=noearly,lastbus=0 lab.name=$name$append"
		-chardev "file,id=console,path=$dir/console,append=on" -serial chardev:console
		-qmp "unix:$dir/qmp,server=on,wait=off"
		-device "vhost-vsock-pci,guest-cid=$cid,romfile=")
	if [ -n "$net" ]; then
		lab_bridge
		if [ ! -e "/sys/class/net/tap$cid" ]; then
			ip tuntap add "tap$cid" mode tap vnet_hdr
			ip link set "tap$cid" master br0 up
		fi
		qemu+=(-netdev "tap,id=net,ifname=tap$cid,script=no,downscript=no,vhost=on"
			-device "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:99:00:$(printf %02x "$cid")")
	fi
	[ -z "$line" ] || cmd=("${CIRCUIT:?no circuit(8) given to the lab}" line run "$line" --)
	[ -z "$netns" ] || cmd=(ip netns exec "$netns" ${cmd[@]+"${cmd[@]}"})
	cmd+=("${qemu[@]}" ${extra[@]+"${extra[@]}"})
	printf '%q ' "${cmd[@]}" >"$dir/cmd"
	lab_spawn "$dir" || return
	if [ ! -e "$dir/tail" ]; then # the log outside follows, for when L1 itself does not survive
		tail -n +1 -s 0.5 -f "$dir/console" >"/out/guest.$name.console" 2>/dev/null {LAB_OUT}>&- &
		echo $! >"$dir/tail"
	fi
	[ -z "$wait" ] || guest_ready "$name"
}

lab_spawn() { # DIR: start the VMM
	local cmd
	eval "cmd=($(<"$1/cmd"))"
	rm -f "$1/qmp" "$1/pid"
	# A session of its own: the end of a test must not end its guests. The shell writes its own
	# pid, which stays the VMM's through exec.
	# shellcheck disable=SC2016
	setsid bash -c 'echo $$ >"$0/pid.new"; mv "$0/pid.new" "$0/pid"; exec "$@"' "$1" "${cmd[@]}" \
		</dev/null >>"$1/qemu.log" 2>&1 {LAB_OUT}>&- &
	wait_for 20 test -e "$1/pid"
}

guest_ready() { # NAME [S]
	local dir end
	dir=$(guest_dir "$1") || return
	end=$((SECONDS + ${2:-120} * LAB_SLOW))
	until "$LABCTL" wait "$(<"$dir/cid")" 3 "$(<"$dir/pid")" 2>"$dir/wait"; do
		if ! guest_alive "$1" || [ "$SECONDS" -gt "$end" ]; then
			echo "guest $1 did not come up:" >&2
			cat "$dir/wait" >&2
			tail -5 "$dir/qemu.log" >&2
			tail -15 "$dir/console" >&2
			return 1
		fi
	done
}

guest_exec() {
	local opts=()
	while [[ $1 == -* ]]; do
		opts+=("$1")
		[ "$1" != -t ] || { opts+=("$(($2 * LAB_SLOW))"); shift; }
		shift
	done
	local cid
	cid=$(guest_cid "$1") || return 125
	shift
	"$LABCTL" exec ${opts[@]+"${opts[@]}"} -- "$cid" "$@"
}

guest_bg_log() { echo "$LAB_GUESTS/$1/bg.$2.log"; }

guest_bg() { # NAME ID CMD...: at most 10 minutes, of a stock kernel, or LAB_BG seconds
	local name=$1 id=$2 base
	shift 2
	base=$(guest_dir "$name")/bg.$id || return
	rm -f "$base".*
	# shellcheck disable=SC2016
	setsid bash -c 'echo $$ >"$0.pid"; "$@" >"$0.log" 2>&1; echo $? >"$0.new"; mv "$0.new" "$0.status"' \
		"$base" "$LABCTL" exec -t $((${LAB_BG:-600} * LAB_SLOW)) -- "$(guest_cid "$name")" "$@" </dev/null >/dev/null 2>&1 \
		{LAB_OUT}>&- &
	wait_for 20 test -s "$base.pid"
}

guest_wait() { # NAME ID [S]
	local base
	base=$(guest_dir "$1")/bg.$2 || return 125
	if ! wait_for "${3:-60}" test -e "$base.status"; then
		[ ! -e "$base.log" ] || cat "$base.log"
		return 124
	fi
	cat "$base.log"
	return "$(<"$base.status")"
}

guest_bg_kill() { # NAME ID: the agent kills the command's session when the client goes away
	local base pid
	base=$(guest_dir "$1")/bg.$2 || return
	[ ! -e "$base.status" ] || return 0
	pid=$(<"$base.pid")
	kill -KILL -- "-$pid" 2>/dev/null || true
	[ -e "$base.status" ] || echo 137 >"$base.status"
}

guest_put() {
	local mode
	mode=$(stat -c %a "$2") || return
	guest_exec -i -t 120 "$1" "cat > '$3' && chmod $mode '$3'" <"$2"
}
guest_get() { guest_exec "$1" "cat '$2'" >"$3"; }

guest_qmp() {
	local dir
	dir=$(guest_dir "$1") || return
	shift
	"$LABCTL" qmp "$dir/qmp" "$@"
}

# Fetch the rest of the guest's log while it can be asked; what is found counts at the next scan.
lab_last_words() {
	! guest_alive "$1" || "$LABCTL" sweep "$LAB_RUN" /out >>"$LAB_RUN/early" || true
}

guest_kill9() {
	lab_last_words "$1"
	kill -KILL "$(guest_pid "$1")"
	wait_for 20 lab_gone "$1"
}

guest_stop() {
	guest_alive "$1" || return 0
	lab_last_words "$1"
	"$LABCTL" poweroff "$(guest_cid "$1")" || true
	if ! wait_for "${2:-30}" lab_gone "$1"; then
		echo "guest $1 does not power off" >&2
		guest_kill9 "$1"
		return 1
	fi
}

lab_booted_again() { # NAME BOOT-ID
	local id
	id=$("$LABCTL" exec -t 1 -- "$(guest_cid "$1")" cat /proc/sys/kernel/random/boot_id 2>/dev/null) &&
		[ -n "$id" ] && [ "$id" != "$2" ]
}

guest_reboot() { # NAME [HOW]: HOW is a guest command that ends in a reboot
	local id
	id=$(guest_exec "$1" cat /proc/sys/kernel/random/boot_id) || return
	lab_last_words "$1"
	guest_qmp "$1" '{"execute":"set-action","arguments":{"reboot":"reset"}}' >/dev/null || return
	echo 0 >"$LAB_GUESTS/$1/kmsg.seq"
	if [ -n "${2:-}" ]; then
		guest_exec -t 3 "$1" "$2" >/dev/null 2>&1 || true
	else
		"$LABCTL" reboot "$(guest_cid "$1")" || return
	fi
	wait_for 120 lab_booted_again "$1" "$id" || return
	guest_qmp "$1" '{"execute":"set-action","arguments":{"reboot":"shutdown"}}' >/dev/null
}

guest_panic() { # NAME [reboot]
	splat_expected "$1" 'sysrq: Trigger a crash|Kernel panic - not syncing: sysrq|NULL pointer dereference'
	if [ "${2:-}" = reboot ]; then
		guest_reboot "$1" 'echo c >/proc/sysrq-trigger'
	else
		lab_last_words "$1"
		guest_exec -t 3 "$1" 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1 || true
		wait_for 30 lab_gone "$1"
	fi
}

# --- splats ----------------------------------------------------------------------------------

cat >"$LAB_RUN/splat.re" <<'END'
\bBUG\b|\bWARNING:|\bOops\b|KASAN|KCSAN|UBSAN
possible circular locking|possible recursive locking|possible irq lock inversion
inconsistent lock state|inconsistent .* usage|suspicious RCU|bad unlock balance
lock held when returning|held lock freed|Invalid wait context|DEBUG_LOCKS_WARN
MAX_(LOCK|STACK_TRACE).* too low
rcu.*detected.*stall|detected stalls|unreferenced object|refcount_t:|general protection fault
soft lockup|hard LOCKUP|hung_task|hung task|blocked for more than
(list_add|list_del|plist).*corruption|scheduling while atomic|sleeping function called
unable to handle|[Kk]ernel panic|Bad page state|Bad rss-counter|stack overflow|ODEBUG:
unregister_netdevice: waiting|Objects remaining in|Slab .*corrupt|leaked reference
Out of memory: Killed|Memory cgroup out of memory|\[lab\] [0-9]+ records lost
END

# Known to be harmless, each for a reason: our own markers name tests; nested KVM does not know
# some MSRs; the emulated processor's XSAVE area looks odd from a nested guest; mitigations=off;
# the firmware under emulation; a kernel that says at boot what it has been built with.
cat >"$LAB_RUN/harmless.re" <<'END'
lab: (begin|end) 
(Unhandled|unhandled|ignored) (WRMSR|RDMSR|wrmsr|rdmsr)
fpu__init_system_xstate|XSAVE consistency problem
Spectre|RETBleed|SRSO|MDS:|TAA:
Firmware (Bug|Warn)
KernelAddressSanitizer initialized
END

# What QEMU says when a VM dies or a device is abused.
cat >"$LAB_RUN/vmm.re" <<'END'
kvm run failed|Unhandled|Assertion|Bad address|Aborted|internal error|KVM: entry failed
END

# All kernel logs: fetch, append to /out/*.dmesg, print new splats and fail if there are any.
splat_scan() {
	local status=0
	"$LABCTL" sweep "$LAB_RUN" /out || status=$?
	if [ -s "$LAB_RUN/early" ]; then # found by lab_last_words
		cat "$LAB_RUN/early"
		: >"$LAB_RUN/early"
		status=1
	fi
	return "$status"
}

splat_expected() { echo "$2" >>"$LAB_RUN/expected.$1"; }

splat_forget() {
	splat_scan >/dev/null || true
}

# --- tests -----------------------------------------------------------------------------------

lab_result() { # pass|fail|skip NAME TEXT
	echo "$1 $2" >>"$LAB_RUN/results"
	mapfile -t LAB_RESULTS <"$LAB_RUN/results"
	case $1 in
	pass) lab_say "ok ${#LAB_RESULTS[@]} - $2 ($3)" ;;
	skip) lab_say "ok ${#LAB_RESULTS[@]} - $2 # SKIP $3" ;;
	fail) lab_say "not ok ${#LAB_RESULTS[@]} - $2 ($3)" ;;
	esac
}

t_note() { lab_say "# $*"; }

t_fail() {
	if [ "${1:-}" = -n ]; then
		lab_result fail "$2" "${*:3}"
	else
		echo "t_fail: $*" >&2
		exit 1
	fi
}

t_skip() {
	if [ "${1:-}" = -n ]; then
		lab_result skip "$2" "${*:3}"
	else
		echo "$*" >"$LAB_RUN/skip"
		exit 77
	fi
}

lab_mark() { # TEXT: into the logs of the host and of every guest
	"$LABCTL" mark "$LAB_RUN" "$*"
}

t_run() {
	local asked=60 limit name pid timer start status=0 log splats why='' monitor
	if [ "$1" = -t ]; then
		asked=$2
		shift 2
	fi
	if lab_over; then
		: >"$LAB_RUN/over"
		exit 0
	fi
	limit=$((asked * LAB_SLOW))
	name=$1
	shift
	mapfile -t LAB_RESULTS <"$LAB_RUN/results"
	log="/out/test.$((${#LAB_RESULTS[@]} + 1)).log"
	rm -f "$LAB_RUN/skip" "$LAB_RUN/timeout" "$LAB_RUN"/expected.*
	! declare -F t_begins >/dev/null || t_begins
	lab_mark "begin $name"
	# What was logged between tests counts for the test that follows it.
	start=$(lab_now)
	lab_due "$((limit / LAB_SLOW + 60))" "$name"
	case $- in *m*) monitor=1 ;; *) monitor='' ;; esac
	set -m # a process group of its own, so that a timeout ends what the function started
	(
		set +m
		set -eu
		"$@"
	) </dev/null >"$log" 2>&1 &
	pid=$!
	(
		set +m
		exec {LAB_OUT}>&- >/dev/null 2>&1
		left=$limit
		[ -z "${LAB_UNTIL:-}" ] || left=$((LAB_UNTIL - EPOCHSECONDS))
		if [ "$left" -lt "$limit" ]; then
			sleep $((left > 0 ? left : 0))
			: >"$LAB_RUN/cut"
		else
			sleep "$limit"
			: >"$LAB_RUN/timeout"
		fi
		kill -KILL -- "-$pid"
	) &
	timer=$!
	[ -n "$monitor" ] || set +m
	wait "$pid" 2>/dev/null || status=$?
	kill -KILL -- "-$timer" 2>/dev/null || true
	wait "$timer" 2>/dev/null || true
	lab_due 120 "what follows \"$name\""
	kill -KILL -- "-$pid" 2>/dev/null || true # what the function left behind in its group
	if ! splats=$(splat_scan 2>&1); then
		why='splat'
	elif [ -e "$LAB_RUN/cut" ]; then
		lab_say "# lab: cut short after $(lab_since "$start") s: $name"
		tail -5 "$log" | sed 's/^/#   /' >&"$LAB_OUT"
		exit 0
	elif [ -e "$LAB_RUN/timeout" ]; then
		why="timeout after $limit s"
	elif [ "$status" -ne 0 ] && [ ! -e "$LAB_RUN/skip" ]; then
		why="exit code $status"
	fi
	if [ -n "$why" ] && [ -z "$splats" ] && declare -F t_again >/dev/null; then
		LAB_AGAIN=''
		t_again
		if [ -n "$LAB_AGAIN" ]; then
			t_note "again: $name ($why, $(lab_since "$start") s)"
			t_run -t "$asked" "$name" "$@"
			return 0
		fi
	fi
	if [ -n "$why" ]; then
		lab_result fail "$name" "$why, $(lab_since "$start") s"
		tail -40 "$log" | sed 's/^/#   /' >&"$LAB_OUT"
		[ -z "$splats" ] || printf '%s\n' "$splats" | sed 's/^/#   splat: /' >&"$LAB_OUT"
		return 0
	fi
	[ "$LAB_VERBOSE" = 0 ] || sed 's/^/#   /' "$log" >&"$LAB_OUT"
	if [ "$status" -eq 77 ] && [ -e "$LAB_RUN/skip" ]; then
		lab_result skip "$name" "$(<"$LAB_RUN/skip")"
	else
		lab_result pass "$name" "$(lab_since "$start") s"
	fi
}

# --- the end ---------------------------------------------------------------------------------

# kmemleak reports an object when two scans in a row found it unreferenced and unchanged and it is
# more than 5 s old, and takes it back when a later scan finds a reference: scan, scan, look, and
# where there is something, scan again before believing it.
# shellcheck disable=SC2016
LAB_KMEMLEAK='f=/sys/kernel/debug/kmemleak
test -e $f || exit 0
echo scan >$f || { echo "kmemleak has switched itself off"; exit 3; }
echo scan >$f
test -n "$(head -c 1 $f)" || exit 0
echo scan >$f
cat $f
test -z "$(head -c 1 $f)"'

leak_of() { # host|NAME: prints what has leaked; how it went is left in LAB_RUN/leak.NAME
	local code=0
	if [ "$1" = host ]; then
		sh -c "$LAB_KMEMLEAK" || code=$?
	else
		guest_exec -t 180 "$1" "$LAB_KMEMLEAK" || code=$?
	fi
	echo "$code" >"$LAB_RUN/leak.$1"
}

# All at once: the scan of one machine keeps one processor busy.
leak_scan() { # host|guests: what has leaked there counts as a failed test
	local name names=() pids=() start text
	[ "$LAB_LEAK" = 1 ] || return 0
	if [ "$1" = host ]; then
		[ "$HOST_KIND" != debug ] || names=(host)
	elif [ "$GUEST_KIND" = debug ]; then
		for name in $(guest_list); do
			# Of a test that was cut short there may be one that has not booted.
			[ ! -e "$LAB_RUN/cut" ] || guest_ready "$name" 1 2>/dev/null || continue
			! guest_alive "$name" || names+=("$name")
		done
	fi
	[ ${#names[@]} -gt 0 ] || return 0
	lab_due 200 "looking for leaks in ${names[*]}"
	start=$(lab_now)
	# What was lost in the last moments must come of age.
	read -rt 6 -u "$LAB_TICK" || true
	for name in "${names[@]}"; do
		leak_of "$name" >"$LAB_RUN/leaked.$name" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}"
	lab_due 120 "what follows the leaks"
	text=$(for name in "${names[@]}"; do
		[ "$(<"$LAB_RUN/leak.$name")" -eq 0 ] || sed "s/^/$name: /" "$LAB_RUN/leaked.$name"
	done)
	if [ -n "$text" ]; then
		printf '%s\n' "$text" >>/out/kmemleak
		lab_result fail "kmemleak" "$(grep -c 'unreferenced object' <<<"$text") objects, /out/kmemleak"
		head -60 <<<"$text" | sed 's/^/#   /' >&"$LAB_OUT"
	else
		lab_say "# lab: no leaks in ${names[*]} ($(lab_since "$start") s)"
	fi
}

splat_test() { # WHEN: a splat outside of all tests counts as a failed one
	local text
	[ -e "$LAB_RUN/cut" ] || rm -f "$LAB_RUN"/expected.*
	if ! text=$(splat_scan 2>&1); then
		lab_result fail "$1" "the kernel log of the host or of a guest"
		printf '%s\n' "$text" | sed 's/^/#   splat: /' >&"$LAB_OUT"
	fi
}

lab_count() { grep -c "^$1 " "$LAB_RUN/results"; }

# What a scenario has left running in guests ends with it.
lab_rest() {
	local name id
	for name in $(guest_list); do
		for id in "$LAB_GUESTS/$name"/bg.*.pid; do
			id=${id##*/bg.}
			[ ! -e "$LAB_GUESTS/$name/bg.$id" ] || guest_bg_kill "$name" "${id%.pid}"
		done
	done
}

# Back to the beginning: no guests, no lines, no module of ours on the host.
lab_clear() {
	local name
	for name in $(guest_list); do
		! guest_alive "$name" || kill -KILL "$(guest_pid "$name")"
		wait_for 20 lab_gone "$name"
		kill "$(cat "$LAB_GUESTS/$name/tail")" 2>/dev/null
		cp "$LAB_GUESTS/$name/qemu.log" "/out/guest.$name.qemu.log"
		cp "$LAB_GUESTS/$name/console" "/out/guest.$name.console"
		rm -rf "${LAB_GUESTS:?}/$name"
	done
	rm -f "$LAB_RUN"/initramfs.* # hundreds of megabytes of memory
	[ -e /sys/module/circuit_host ] || return 0
	for name in $("$CIRCUIT" -j line show | grep -o '"name":"[^"]*' | cut -d'"' -f4); do
		"$CIRCUIT" line del "$name"
	done
	for name in $("$CIRCUIT" -j trunk show | grep -o '"name":"[^"]*' | cut -d'"' -f4); do
		"$CIRCUIT" trunk del "$name"
	done
	wait_for 20 rmmod circuit_host
}

lab_scenario() { # FILE
	local name status=0 tests failed logs
	name=$(basename "$1" .sh)
	if lab_over; then
		lab_result skip "$name" "$LAB_NO_TIME"
		return 0
	fi
	rm -f "$LAB_RUN/over" "$LAB_RUN/cut"
	! grep -q '^# lab: takes guests down' "$1" || leak_scan guests
	tests=$(wc -l <"$LAB_RUN/results")
	failed=$(lab_count fail)
	lab_say "# lab: $name"
	bash -euo pipefail -c '. "$LAB/lib.sh"; . "$0"' "$1" || status=$?
	[ "$status" -eq 0 ] || t_fail -n "$name" "ended with exit code $status"
	[ ! -e "$LAB_RUN/over" ] && [ ! -e "$LAB_RUN/cut" ] || lab_result skip "$name: the rest" "$LAB_NO_TIME"
	splat_test "$name: splats after its last test"
	lab_rest
	[ "$(lab_count fail)" -ne "$failed" ] || return 0
	lab_clear || true
	# Later guests of the same names would write over the logs.
	logs=/out/$name.$tests
	mkdir "$logs"
	mv /out/guest.* "$logs"
}

lab_finish() {
	local passed failed skipped fault
	leak_scan guests
	if [ -e "$LAB_RUN/cut" ]; then # and what the test would have cleaned up is not
		for fault in failslab fail_page_alloc fail_usercopy; do
			[ ! -e /sys/kernel/debug/$fault ] || echo 0 >/sys/kernel/debug/$fault/probability
		done
		ip -all netns delete
	fi
	lab_clear || [ -e "$LAB_RUN/cut" ] || t_fail -n "the end" "what was used cannot be taken down"
	# Inodes and the like are most of what there is to scan, and nothing that matters here.
	[ "$HOST_KIND" != debug ] || echo 2 >/proc/sys/vm/drop_caches
	leak_scan host
	splat_test "final splat scan"
	passed=$(lab_count pass)
	failed=$(lab_count fail)
	skipped=$(lab_count skip)
	if [ $((passed + failed + skipped)) -eq 0 ]; then
		lab_say "not ok - no test was run"
		failed=1
	fi
	lab_say "# lab: $(cut -d' ' -f1 /proc/uptime) s in L1"
	echo "$passed passed, $failed failed, $skipped skipped" >/out/verdict.new
	mv /out/verdict.new /out/verdict
}
