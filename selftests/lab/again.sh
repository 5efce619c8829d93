# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0
#
# again - a scenario that has the first test that fails made once more. For selftests/lab/run.
tries=0
t_again() {
	tries=$((tries + 1))
	[ "$tries" -ne 1 ] || LAB_AGAIN=1
}
second_time() {
	[ ! -e "$LAB_RUN/tried" ] || return 0
	: >"$LAB_RUN/tried"
	return 4
}

t_run "the second time" second_time
t_run "never" false
