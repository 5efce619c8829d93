/* SPDX-License-Identifier: GPL-2.0 */
/*
 * enum circuit_reason for people: a word, which JSON has as well, and what circuit-cat says.
 */
#ifndef CIRCUIT_TOOLS_REASON_H
#define CIRCUIT_TOOLS_REASON_H

#include <linux/circuit.h>

static const struct {
	const char *name, *text;
} reasons[CIRCUIT_REASON_GUEST_MAX] = {
	[CIRCUIT_REASON_NONE] = { "none", "nothing went wrong" },
	[CIRCUIT_REASON_NO_LINE] = { "no-line", "no such line" },
	[CIRCUIT_REASON_LINE_DOWN] = { "line-down", "no guest is running on that line" },
	[CIRCUIT_REASON_NO_LISTENER] = { "no-listener", "nobody listens there" },
	[CIRCUIT_REASON_TIMEOUT] = { "timeout", "not answered in time" },
	[CIRCUIT_REASON_QUOTA_CIRCUITS] = { "quota-circuits", "a line has all the circuits it may have" },
	[CIRCUIT_REASON_QUOTA_MEMORY] = { "quota-memory", "a line has all the memory it may have" },
	[CIRCUIT_REASON_QUOTA_PENDING] = { "quota-pending", "a line has too many calls waiting" },
	[CIRCUIT_REASON_QUOTA_LISTENERS] = { "quota-listeners", "the line has all the listeners it may have" },
	[CIRCUIT_REASON_NO_MEMORY] = { "no-memory", "the host is out of memory, or a window is full" },
	[CIRCUIT_REASON_PORT_IN_USE] = { "port-in-use", "the port is in use" },
	[CIRCUIT_REASON_INVALID] = { "invalid", "the operator did not understand" },
	[CIRCUIT_REASON_PEER_RESET] = { "peer-reset", "the far end aborted" },
	[CIRCUIT_REASON_PEER_GONE] = { "peer-gone", "the far guest is gone" },
	[CIRCUIT_REASON_LINE_DELETED] = { "line-deleted", "a line was deleted" },
	[CIRCUIT_REASON_VIOLATION] = { "violation", "the far end broke the ring's rules" },
	[CIRCUIT_REASON_NO_ADDRESS] = { "no-address", "no line has that address, and no trunk leads there" },
	[CIRCUIT_REASON_NOT_YOURS] = { "not-yours", "the line does not have the caller's address" },
	[CIRCUIT_REASON_TUPLE_IN_USE] = { "tuple-in-use", "there is such a connection already, or no free port" },
	[CIRCUIT_REASON_TRUNK] = { "trunk", "the host's network has refused or ended it" },
	[CIRCUIT_REASON_NO_TRUNK] = { "no-trunk", "the trunk's network namespace is gone" },
	[CIRCUIT_REASON_HOST_ADDRESS] = { "host-address", "the address is the host's own" },
	[CIRCUIT_REASON_POLICY] = { "policy", "the host's policy does not allow it" },
	[CIRCUIT_REASON_RATE] = { "rate", "more calls a second than are allowed" },
	[CIRCUIT_REASON_ADMINISTRATOR] = { "administrator", "the host's administrator has ended it" },
	[CIRCUIT_REASON_NO_OPERATOR] = { "no-operator", "this machine has no line that is up" },
	[CIRCUIT_REASON_THIS_MACHINE] = { "this-machine", "the address is this machine's own" },
	[CIRCUIT_REASON_OPTION] = { "option", "the socket has an option that circuits do not have" },
	[CIRCUIT_REASON_NAMESPACE] = { "namespace", "the socket's network namespace may not use the line" },
	[CIRCUIT_REASON_KERNEL] = { "kernel", "the socket is the kernel's own" },
};

#endif
