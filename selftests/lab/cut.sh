# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# cut - the time for a run is over in the middle of a scenario. For selftests/lab/run.

t_run "in time" true
export LAB_UNTIL=$((EPOCHSECONDS + 2))
t_run "cut short" sleep 1000
t_run "not begun" false
