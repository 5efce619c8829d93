# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# common.sh - what the end-to-end scenarios share. Sourced inside L1, after lib.sh.
#
# Guests carry circuit-cat, the tester ("peer", see peer.c) and stream_test.

host_up() {
	[ -e /sys/module/circuit_host ] || insmod "$CIRCUIT_HOST_KO"
	test -c /dev/circuit
	# Everybody may call everybody, but where it is about who may.
	"$CIRCUIT" policy default connect
	"$CIRCUIT" line show
}

# line_get NAME KEY: one figure of a line, from the JSON. By the shell's own means: Python takes
# most of a second to start on an instrumented kernel, and this is what tests wait with.
line_get() {
	local json
	json=$("$CIRCUIT" -j -s line show "$1") || return
	json_get "$json" "$2"
}
json_get() { # JSON KEY: the first value of that name
	[[ $1 =~ \"$2\":\"?([^,\"}]*) ]] || return
	echo "${BASH_REMATCH[1]}"
}

# guests_up NAME...: guests with a network, each on the line of its name. Those that another
# scenario has left are taken as they are, and the lines made as new.
guests_up() {
	local g smp
	host_up
	for g; do
		if ! guest_alive "$g" || ! line_is "$g" up; then
			! guest_alive "$g" || guest_kill9 "$g"
			! "$CIRCUIT" line show "$g" >/dev/null 2>&1 || "$CIRCUIT" line del "$g"
			"$CIRCUIT" line add "$g"
			# Where most of what races in a guest would, there are processors to race on.
			smp=1
			[ "$g" != g1 ] || smp=2
			guest_start "$g" --line "$g" --net --smp $smp --no-wait
		fi
		"$CIRCUIT" line set "$g" circuits 12000 memory 256M addr none
	done
	for g; do
		guest_ready "$g"
		wait_for 20 line_is "$g" up
		wait_for 10 line_idle "$g"
		guest_exec "$g" "echo 0 >/proc/sys/net/circuit/redirect; rm -rf /tmp/*"
	done
}

line_is() { # NAME STATE
	[ "$(line_get "$1" state)" = "$2" ]
}

# What a line uses, as one word: nothing is 0/0/0.
line_usage() {
	local json
	json=$("$CIRCUIT" -j -s line show "$1") || return
	echo "$(json_get "$json" circuits)/$(json_get "$json" pending)/$(json_get "$json" listeners)"
}
line_idle() { [ "$(line_usage "$1")" = 0/0/0 ]; }

no_circuits() { [ "$(line_get "$1" circuits)" = 0 ]; }

nothing_left() {
	local g
	for g in $("$CIRCUIT" -j line show | grep -o '"name":"[^"]*' | cut -d'"' -f4); do
		wait_for 20 line_idle "$g" || { line_usage "$g"; "$CIRCUIT" -s show; return 1; }
	done
	expect '[]' "$("$CIRCUIT" -j show | tr -d ' \n')" "circuits"
}

# In a guest or on the host with the debug kernel: have /proc/self/fail-nth fail the Nth allocation of a
# process, whatever it is for, and say nothing of it.
# shellcheck disable=SC2034
NTH='
echo N > /sys/kernel/debug/failslab/ignore-gfp-wait
echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-wait
echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
echo 0 > /sys/kernel/debug/failslab/verbose
echo 0 > /sys/kernel/debug/fail_page_alloc/verbose
'

# A namespace of the host's for the world beyond it.
namespace() { # NAME NUMBER: with an Ethernet to the host, 192.0.NUMBER.0/24
	ip netns add "$1"
	ip link add "to-$1" type veth peer name eth0 netns "$1"
	echo 0 >"/proc/sys/net/ipv6/conf/to-$1/accept_dad"
	ip netns exec "$1" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad'
	ip address add "192.0.$2.1/24" dev "to-$1"
	ip address add "2001:db8:$2::1/64" dev "to-$1"
	ip -n "$1" address add "192.0.$2.2/24" dev eth0
	ip -n "$1" address add "2001:db8:$2::2/64" dev eth0
	ip link set "to-$1" up
	ip -n "$1" link set eth0 up
	ip -n "$1" link set lo up
}

# A network card, with a wire to one of another namespace, called far: 192.0.4.0/24. Needs lab --wire.
wire_up() {
	modprobe e1000 2>/dev/null || true
	ip netns add far
	ip link set eth1 netns far
	echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
	ip address add 192.0.4.1/24 dev eth0
	ip -n far address add 192.0.4.2/24 dev eth1
	ip link set eth0 up
	ip -n far link set eth1 up
	ip -n far link set lo up
	wait_for 20 busybox ping -c 1 -W 1 192.0.4.2
}

# transfer FROM TO BYTES: over a circuit, checksums compared.
transfer() {
	local port=$((RANDOM + 2000)) sum
	guest_bg "$2" "recv$port" "peer recv $port"
	sum=$(guest_exec -t 120 "$1" "peer send $2 $port $3")
	expect "$sum" "$(guest_wait "$2" "recv$port")" "checksum"
}

# transfer_both BYTES: one connection, both directions at once.
transfer_both() {
	local here there
	guest_bg g2 both "peer swap-listen 3000 $1"
	here=$(guest_exec -t 170 g1 "peer swap g2 3000 $1")
	there=$(guest_wait g2 both)
	# Each prints what it sent and what it received.
	expect "${here% *}" "${there#* }" "checksum one way"
	expect "${here#* }" "${there% *}" "checksum the other way"
}

calls() { # SEQUENTIAL PARALLEL
	guest_bg g2 calls "peer echo 3100"
	guest_exec -t 110 g1 "peer calls g2 3100 $1 $2"
	guest_bg_kill g2 calls
	if grep unclean "$(guest_bg_log g2 calls)"; then
		return 1
	fi
}

# Connections that have to live through what happens to others: stay, then stayed whenever something
# has happened, and in the end stay_end.
stay() { # GUEST ID ["seq"] LINE PORT
	guest_bg "$1" "stay.$2" "peer ${*:3:$#-4} stay ${*: -2} /tmp/stay.$2"
	wait_for 10 guest_exec "$1" "test -s /tmp/stay.$2"
}
stayed() { guest_exec -t 50 "$1" "peer stayed /tmp/stay.*"; } # GUEST
stay_end() { # GUEST ID...
	local id ids=("${@:2}")
	stayed "$1"
	for id in "${ids[@]}"; do
		guest_bg_kill "$1" "stay.$id"
	done
	guest_exec "$1" "cd /tmp && rm ${ids[*]/#/stay.}"
}

# What circuit(8) says in a guest of who listens there: path and reason.
socks_listening() { # GUEST PORT
	guest_exec "$1" "circuit -o socks" | sed -n "s/ [^ ]*:$2 recv-q .*//p" | grep '^listen'
}

refused() { # LINE PORT TEXT
	local out
	if out=$(guest_exec g2 "peer send $1 $2 1" 2>&1); then
		echo "it worked: $out"
		return 1
	fi
	grep -q "$3" <<<"$out" || { echo "$out"; return 1; }
}

many() { # N
	local before after
	before=$(line_get g1 memory)
	guest_bg g2 hold "peer hold-listen 3200 $1 4096"
	guest_exec -t 220 g1 "peer hold g2 3200 $1 4096"
	after=$(line_get g1 memory)
	t_note "$1 circuits with 4 KiB rings: $(((after - before) / $1)) bytes each"
	# 2 rings, a control page, and what does not fit the cables exactly
	[ $(((after - before) / $1)) -lt $((3 * 4096 + 8192)) ]
	guest_wait g2 hold
}

# Messages, and streams beside them.
messages() {
	local before
	guest_bg g2 swap "peer seq swap-listen 3500 3000000"
	guest_exec -t 50 g1 "peer seq swap g2 3500 3000000"
	guest_wait g2 swap
	# Each has its own ports.
	guest_bg g2 seq "peer seq echo 3500"
	guest_bg g2 stream "peer echo 3500"
	guest_exec g1 "peer seq calls g2 3500 20 2 && peer calls g2 3500 20 2"
	"$CIRCUIT" policy load - <<<$'default connect\nreject type seqpacket to line g2'
	fails guest_exec g1 "peer seq calls g2 3500 1 1"
	guest_exec g1 "peer calls g2 3500 20 2"
	"$CIRCUIT" policy load - <<<'default connect'
	guest_bg_kill g2 seq
	guest_bg_kill g2 stream
	guest_bg g2 drain "peer seq drain 3501"
	guest_bg g1 flood "peer seq flood g2 3501"
	wait_for 20 sh -c "'$CIRCUIT' show | grep -q 'g2:3501.*seqpacket'"
	wait_for 20 sh -c "'$CIRCUIT' -j show | grep -q '\"bytes\":[1-9].*\"type\":\"seqpacket\"'"
	# A message goes through as a whole or not at all, however little is allowed at a time.
	"$CIRCUIT" line set g1 send 100k/s
	before=$(line_get g1 send-waits)
	wait_for 20 more_than "$before" line_get g1 send-waits
	guest_bg_kill g1 flood
	guest_wait g2 drain | tail -1
	guest_bg g2 swap "peer seq swap-listen 3500 300000"
	guest_exec -t 50 g1 "peer seq swap g2 3500 300000"
	guest_wait g2 swap
	"$CIRCUIT" line set g1 send none
	guest_exec -t 190 g1 "stream_test --seqpacket --quick" | tee "/out/messages.$GUEST_KIND" |
		grep -E '^(not ok|#)' || true
	grep -q '# passed [0-9]* failed 0 ' "/out/messages.$GUEST_KIND"
}
# Datagrams, which the operator switches one by one.
datagrams() {
	local size before rate
	guest_bg g2 box "peer dgram-echo 3600"
	guest_bg g2 other "peer dgram-echo 3601"
	wait_for 20 guest_exec g1 "peer dgram-ask g2 3600 1 8"
	wait_for 20 guest_exec g1 "peer dgram-ask g2 3601 1 8"
	for size in 0 1 1400 65507; do
		guest_exec -t 60 g1 "peer dgram-ask g2 3600 100 $size"
	done
	"$CIRCUIT" show | grep -q 'dgram'
	# Policy is asked about flows: at once, and whoever may be called may answer.
	"$CIRCUIT" policy load - <<<$'default reject\nconnect type dgram from line g1 to line g2 port 3600'
	guest_exec g1 "peer dgram-ask g2 3600 20 100"
	refuses "Connection refused" g1 "peer dgram-ask g2 3601 1 1"
	refuses "Permission denied" g1 "peer dgram-echo 3602"
	"$CIRCUIT" policy load - <<<$'default connect\nreject type dgram to line g2 port 3600 error EPERM'
	refuses "Operation not permitted" g1 "peer dgram-ask g2 3600 1 1"
	guest_exec g1 "peer dgram-ask g2 3601 20 100"
	"$CIRCUIT" policy load - <<<'default connect'
	guest_exec g1 "peer dgram-ask g2 3600 20 100"
	# Who floods one socket has no more than that; and is limited like who sends streams.
	guest_bg g1 flood "peer dgram-flood g2 3600"
	guest_exec -t 60 g1 "peer dgram-ask g2 3601 20 100"
	guest_exec -t 60 g2 "peer dgram-ask g2 3601 20 100"
	"$CIRCUIT" line set g1 send 200k/s
	before=$(line_get g1 send-waits)
	wait_for 20 more_than "$before" line_get g1 send-waits
	"$CIRCUIT" line set g1 send none
	# A rule's bytes count there and back, and have nobody wait who writes to others.
	"$CIRCUIT" policy load - <<<$'default connect\nconnect type dgram to line g2 port 3600 bytes 100k/s'
	wait_for 20 rule_waits
	guest_exec -t 60 g1 "peer dgram-ask g2 3601 20 100"
	rate=$(line_rate g2 bytes-in)
	t_note "datagrams at 100 KiB/s: $((rate >> 10)) KiB/s"
	[ "$rate" -gt 40000 ]
	[ "$rate" -lt 140000 ]
	guest_bg_kill g1 flood
	"$CIRCUIT" policy load - <<<'default connect'
	guest_exec g1 "peer dgram-ask g2 3600 20 100"
	guest_bg_kill g2 box
	guest_bg_kill g2 other
	guest_exec -t 190 g1 "stream_test --dgram --quick" | tee "/out/datagrams.$GUEST_KIND" |
		grep -E '^(not ok|#)' || true
	grep -q '# passed [0-9]* failed 0 ' "/out/datagrams.$GUEST_KIND"
}
refuses() { # WHY GUEST COMMAND
	local said
	said=$(fails guest_exec "$2" "$3 2>&1")
	[[ $said == *"$1"* ]] || { echo "$3: $said, not $1"; return 1; }
}
# message_rate GUEST PROTO ADDRESS PORT: short messages that arrive in a second, sent as fast as may be
message_rate() {
	local sum
	sum=$(guest_exec -t 90 "$1" "bench messages $2 $3 $4 64 1 3000") || return
	rate_of "$sum"
}
rate_of() { awk -F '[= ]' '{ print int($2 * 1e9 / $4) }' <<<"$1"; } # n=COUNT ns=TIME...
# About as many messages a second as there may be: never much more, and on a slow host perhaps less.
rate_is() { # LIMIT RATE
	t_note "limited to $1 messages a second: $2"
	if [ "$HOST_KIND" = stock ]; then
		[ "$2" -gt $(($1 * 70 / 100)) ]
	else
		[ "$2" -gt $(($1 * 20 / 100)) ]
	fi
	[ "$2" -lt $(($1 * 125 / 100)) ]
}
rule_waits() { "$CIRCUIT" -s policy | grep -q 'bytes 100k/s # .*waits [1-9]'; }
counter_rate() { # line_get|group_get NAME COUNTER: by how many a second it goes up
	local before from
	from=$(lab_now)
	before=$("$@")
	sleep 2 # what is measured
	echo $((($("$@") - before) * 1000000 / ($(lab_now) - from)))
}
line_rate() { counter_rate line_get "$@"; } # LINE COUNTER
more_than() { [ "$("${@:2}")" -gt "$1" ]; }

semantics() {
	guest_exec -t 190 g1 "stream_test --quick" | tee "/out/stream_test.$GUEST_KIND" | grep -E '^(not ok|#)' || true
	grep -q '# passed [0-9]* failed 0 ' "/out/stream_test.$GUEST_KIND"
}

lines() {
	"$CIRCUIT" line add t1 memory 16M circuits 10 ring-default 8k
	expect 16777216 "$(line_get t1 memory-max)"
	expect detached "$(line_get t1 state)"
	"$CIRCUIT" line set t1 memory 8M
	expect 8388608 "$(line_get t1 memory-max)"
	bad 'a line of that name exists' line add t1
	# Neither a line nor half of one comes of what somebody has already.
	"$CIRCUIT" line set t1 addr 10.77.1.1
	bad 'a line has that address already' line add t2 addr 10.77.1.2 addr 10.77.1.1
	bad 'no such line' line show t2
	"$CIRCUIT" line add t2 addr 10.77.1.2
	bad 'a line has that address already' line set t2 addr 10.77.1.3 addr 10.77.1.1 group all
	expect 10.77.1.2 "$("$CIRCUIT" -j line show t2 | grep -o '10\.77\.1\.[0-9]*')" addresses
	"$CIRCUIT" line set t1 addr 10.77.1.3
	"$CIRCUIT" line del t2
	"$CIRCUIT" line del t1
	bad 'no such line' line show t1
}

# bad TEXT ARG...: the command fails and says TEXT.
bad() {
	local text=$1 out
	shift
	if out=$("$CIRCUIT" "$@" 2>&1); then
		echo "accepted: $*"
		return 1
	fi
	grep -qi -- "$text" <<<"$out" || { echo "$*: $out"; return 1; }
}

lines_bad() {
	local before
	before=$("$CIRCUIT" line show)
	bad 'name' line add 'a b'
	bad 'power of two' line add x window 1500M
	bad 'out of range' line add x window 1M
	bad 'power of two' line add x ring 5000
	bad 'larger' line add x ring 8k ring-default 16k
	bad 'out of range' line add x circuits 40000
	bad 'no such line' line del x
	bad 'no such line' line set x circuits 5
	bad 'no such line: x' line run x -- true
	expect "$before" "$("$CIRCUIT" line show)" lines
}

# What a VMM may get wrong when it attaches itself; of the last, nothing is wrong.
attach_bad() {
	"$CIRCUIT" line add x
	python3 -c '
import array, ctypes, errno, fcntl, os, struct
libc = ctypes.CDLL(None)
kick, call, more = (libc.eventfd(0, 0) for _ in range(3))
null = os.open("/dev/null", os.O_RDWR)
dev = os.open("/dev/circuit", os.O_RDWR)
def attach(call=call, vectors=0, fds=(), size=64, flags=0, pad=0, line=b"x", address=None, extra=b""):
    fds = array.array("i", fds)
    address = address if address is not None else fds.buffer_info()[0] if fds else 0
    arg = struct.pack("<II32siiIIQ", size, flags, line, kick, call, vectors, pad, address) + extra
    try:
        return fcntl.ioctl(dev, 0xcc01, bytearray(arg))
    except OSError as e:
        return errno.errorcode[e.errno]
def expect(want, got):
    assert got == want, f"{want}, not {got}"
expect("EINVAL", attach(size=40))
expect("EINVAL", attach(flags=1))
expect("EINVAL", attach(pad=1))
expect("EINVAL", attach(line=b"a b"))
expect("ENODEV", attach(line=b"nobody"))
expect("E2BIG", attach(size=72, extra=b"1" * 8))
expect("E2BIG", attach(size=1 << 20))
expect("EBADF", attach(call=-1))
expect("EINVAL", attach(call=null))
expect("EINVAL", attach(vectors=64, fds=[more] * 64))
expect("EINVAL", attach(vectors=0xffffffff, fds=[more]))
expect("EFAULT", attach(vectors=1))
expect("EFAULT", attach(vectors=1, address=0xffff888000000000))
expect("EBADF", attach(vectors=2, fds=[more, -1]))
expect("EINVAL", attach(vectors=2, fds=[more, null]))
window = attach(vectors=63, fds=[more] * 63)
assert isinstance(window, int), window
expect("EBUSY", attach())
os.close(window)
window = attach(size=48)
assert isinstance(window, int), window
os.close(window)
window = attach(size=72, extra=bytes(8))
assert isinstance(window, int), window
'
	"$CIRCUIT" line del x
}

# Devices that look like a line's to PCI: some are not, some are of another age or broken. The
# module says what is wrong, once, leaves them alone and takes the one good line.
window() { # FILE SIZE [SIGNALLING-VERSION CLAIMED-SIZE]
	python3 -c '
import struct, sys
path, size, *header = sys.argv[1:]
with open(path, "wb") as f:
    if header:
        version, claimed = map(int, header)
        f.write(struct.pack("<IHHIIQ", 0x454e494c, version, version, 4096, 0, claimed))
    f.truncate(int(size))' "$@"
}
odd_devices() {
	local m=$((1 << 20)) g=$((1 << 30)) args=() i=0 name dir=/dev/shm log text
	window $dir/foreign $m
	window $dir/newer $m 9 $m
	window $dir/small $m 1 $m
	window $dir/liar $m 1 $g
	window $dir/stranger $g 1 $g
	window $dir/uncached $g 1 $g
	for name in foreign newer small liar stranger uncached; do
		args+=(-object "memory-backend-file,id=$name,share=on,mem-path=$dir/$name,size=$(stat -c %s $dir/$name)"
			-device "ivshmem-plain,memdev=$name,addr=1$((i++))") # hexadecimal
	done
	"$CIRCUIT" line add odd
	guest_start odd --line odd --nomod --append iomem=relaxed -- "${args[@]}"
	# What is mapped uncached already cannot be mapped another way (unless the mapping is taken
	# away when a driver comes, hence iomem=relaxed). The slot is 0x15.
	guest_bg odd map 'peer map /sys/bus/pci/devices/0000:00:15.0/resource2'
	wait_for 10 grep -q mapped "$(guest_bg_log odd map)"
	# By the device's alias, as udev would.
	# shellcheck disable=SC2016
	guest_exec odd 'modprobe "$(cat /sys/bus/pci/devices/0000:00:10.0/modalias)"'
	wait_for 20 line_is odd up
	log=$(guest_exec odd 'dmesg | grep "circuit:"')
	for text in '00:11.0: circuit: operator speaks versions 9 to 9, this module 1 to 1' \
			'00:12.0: circuit: window of 1 MiB is too small, need 1024' \
			'00:13.0: circuit: window of 1048576 bytes, but the operator made it 1073741824' \
			'00:14.0: circuit: the device has peer id 0, not 1' \
			'00:15.0: circuit: window at .* is mapped uncached' \
			'circuit: line odd up'; do
		grep -q "$text" <<<"$log" || { echo "no: $text"; echo "$log"; return 1; }
	done
	expect 6 "$(wc -l <<<"$log")" "lines in the log"
	transfer odd odd 100000
	guest_bg_kill odd map
	# And by the family's: no module, and a program that wants a socket.
	guest_exec odd "rmmod circuit_guest"
	wait_for 10 line_is odd attached
	guest_bg odd echo "peer echo 77"
	wait_for 20 line_is odd up
	guest_exec odd "peer calls odd 77 1 1"
	guest_stop odd
	"$CIRCUIT" line del odd
	(cd $dir && rm foreign newer small liar stranger uncached)
}

# The lab's own promise: it sees what a kernel warns of, wherever, and where a guest cannot be asked any more,
# from its console; once, and nothing else.
splats_seen() {
	local found where console=$LAB_GUESTS/g1/console
	splat_scan
	echo "<6>WARNING: seen on the host" >/dev/kmsg
	guest_exec g1 'echo "<6>WARNING: seen in the guest" >/dev/kmsg; echo "WARNING: seen on the console" >/dev/ttyS0'
	wait_for 10 grep -q "WARNING: seen on the console" "$console"
	fails splat_scan >"$LAB_RUN/found"
	found=$(<"$LAB_RUN/found")
	for where in "host: .*host" "g1: .*guest" "g1: .*console"; do
		expect 1 "$(grep -c "^${where%% *} .*WARNING: seen .* ${where##*\*}$" <<<"$found")" "$where: $found"
	done
	echo "<6>lab: begin WARNING: harmless" >/dev/kmsg
	splat_scan
}

attach_twice() {
	bad 'busy\|attached' line run g1 -- true
}
