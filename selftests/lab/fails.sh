# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# fails - tests that fail, each in its way. For selftests/lab/run.

wrong() { exit 3; }
hangs() {
	sleep 1000 &
	echo $! >"$LAB_RUN/left"
	wait
}
warns() { echo "<6>WARNING: of a test's" >/dev/kmsg; }
ended() { fails lab_running "$(<"$LAB_RUN/left")"; }

t_run "wrong" wrong
t_run -t 2 "hangs" hangs
t_run "warns" warns
t_run "has ended" ended
exit 1
