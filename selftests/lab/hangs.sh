# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# hangs - what does not end outside of a test. For selftests/lab/run.

lab_due 2 "nothing"
sleep 1000
