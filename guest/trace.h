/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM circuit_guest

#if !defined(_CIRCUIT_GUEST_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _CIRCUIT_GUEST_TRACE_H

#include <linux/tracepoint.h>
#include <net/tcp_states.h>
#include "guest.h"

DECLARE_EVENT_CLASS(circuit_sock_reason,
	TP_PROTO(const struct sock *sk, u32 ino, u32 reason),
	TP_ARGS(sk, ino, reason),
	TP_STRUCT__entry(
		__field(const void *, sk)
		__field(u32, ino)
		__field(u16, family)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->sk = sk;
		__entry->ino = ino;
		__entry->family = sk->sk_family;
		__entry->reason = reason;
	),
	TP_printk("sk=%p ino=%u family=%u reason=%u", __entry->sk, __entry->ino,
		  __entry->family, __entry->reason)
);

DEFINE_EVENT(circuit_sock_reason, circuit_sock_native,
	TP_PROTO(const struct sock *sk, u32 ino, u32 reason),
	TP_ARGS(sk, ino, reason)
);

DEFINE_EVENT(circuit_sock_reason, circuit_sock_refused,
	TP_PROTO(const struct sock *sk, u32 ino, u32 reason),
	TP_ARGS(sk, ino, reason)
);

TRACE_EVENT(circuit_sock_connected,
	TP_PROTO(const struct sock *sk, const struct circuit *c),
	TP_ARGS(sk, c),
	TP_STRUCT__entry(
		__field(const void *, sk)
		__field(u32, index)
		__field(u8, end)
		__field(u32, local_port)
		__field(u32, peer_port)
		__array(u8, local, 16)
		__array(u8, remote, 16)
	),
	TP_fast_assign(
		__entry->sk = sk;
		__entry->index = c->index;
		__entry->end = c->end;
		__entry->local_port = c->local_port;
		__entry->peer_port = c->peer_port;
		memcpy(__entry->local, &c->local, sizeof(c->local));
		memcpy(__entry->remote, &c->remote, sizeof(c->remote));
	),
	TP_printk("sk=%p circuit=%u end=%u %pI6c.%u %pI6c.%u", __entry->sk, __entry->index,
		  __entry->end, __entry->local, __entry->local_port, __entry->remote,
		  __entry->peer_port)
);

TRACE_EVENT(circuit_sock_ended,
	TP_PROTO(const struct sock *sk, int err, u32 reason),
	TP_ARGS(sk, err, reason),
	TP_STRUCT__entry(
		__field(const void *, sk)
		__field(int, err)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->sk = sk;
		__entry->err = err;
		__entry->reason = reason;
	),
	TP_printk("sk=%p err=%d reason=%u", __entry->sk, __entry->err, __entry->reason)
);

TRACE_EVENT(circuit_sock_stall,
	TP_PROTO(const struct sock *sk, const struct circuit *c, bool writes),
	TP_ARGS(sk, c, writes),
	TP_STRUCT__entry(
		__field(const void *, sk)
		__field(u32, index)
		__field(bool, writes)
		__field(bool, limited)
	),
	TP_fast_assign(
		__entry->sk = sk;
		__entry->index = c->index;
		__entry->writes = writes;
		__entry->limited = writes && !circuit_tx_allowed(c);
	),
	TP_printk("sk=%p circuit=%u %s", __entry->sk, __entry->index,
		  !__entry->writes ? "has nothing to read" :
		  __entry->limited ? "may not write more now" : "has no room to write")
);

#endif /* _CIRCUIT_GUEST_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
