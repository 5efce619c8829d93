/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM circuit_host

#if !defined(_CIRCUIT_HOST_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _CIRCUIT_HOST_TRACE_H

#include <linux/tracepoint.h>
#include "host.h"

TRACE_EVENT(circuit_epoch,
	TP_PROTO(const struct circuit_line *line, u32 epoch),
	TP_ARGS(line, epoch),
	TP_STRUCT__entry(
		__string(line, line->name)
		__field(u32, epoch)
	),
	TP_fast_assign(
		compat_assign_str(line, line->name);
		__entry->epoch = epoch;
	),
	TP_printk("line=%s epoch=%u", __get_str(line), __entry->epoch)
);

TRACE_EVENT(circuit_violation,
	TP_PROTO(const struct circuit_line *line, const char *what),
	TP_ARGS(line, what),
	TP_STRUCT__entry(
		__string(line, line->name)
		__string(what, what)
	),
	TP_fast_assign(
		compat_assign_str(line, line->name);
		compat_assign_str(what, what);
	),
	TP_printk("line=%s %s", __get_str(line), __get_str(what))
);

TRACE_EVENT(circuit_look,
	TP_PROTO(const struct circuit_account *account, u64 queued, u64 served),
	TP_ARGS(account, queued, served),
	TP_STRUCT__entry(
		__string(line, account->name)
		__field(u64, queued)
		__field(u64, served)
	),
	TP_fast_assign(
		compat_assign_str(line, account->name);
		__entry->queued = queued;
		__entry->served = served;
	),
	TP_printk("line=%s queued=%llu served=%llu", __get_str(line), __entry->queued,
		  __entry->served)
);

DECLARE_EVENT_CLASS(circuit_sig,
	TP_PROTO(const struct circuit_line *line, const struct circuit_sig *msg),
	TP_ARGS(line, msg),
	TP_STRUCT__entry(
		__string(line, line->name)
		__field(u16, type)
		__field(u32, ref)
	),
	TP_fast_assign(
		compat_assign_str(line, line->name);
		__entry->type = msg->type;
		__entry->ref = msg->ref;
	),
	TP_printk("line=%s type=%s ref=%u", __get_str(line),
		  __print_symbolic(__entry->type,
				   { CIRCUIT_SIG_HELLO, "HELLO" },
				   { CIRCUIT_SIG_LISTEN, "LISTEN" },
				   { CIRCUIT_SIG_UNLISTEN, "UNLISTEN" },
				   { CIRCUIT_SIG_CALL, "CALL" },
				   { CIRCUIT_SIG_CANCEL, "CANCEL" },
				   { CIRCUIT_SIG_ANSWER, "ANSWER" },
				   { CIRCUIT_SIG_HANGUP, "HANGUP" },
				   { CIRCUIT_SIG_OPTIONS, "OPTIONS" },
				   { CIRCUIT_SIG_WELCOME, "WELCOME" },
				   { CIRCUIT_SIG_LISTENING, "LISTENING" },
				   { CIRCUIT_SIG_CONNECTED, "CONNECTED" },
				   { CIRCUIT_SIG_REFUSED, "REFUSED" },
				   { CIRCUIT_SIG_ALERT, "ALERT" },
				   { CIRCUIT_SIG_RESET, "RESET" },
				   { CIRCUIT_SIG_NATIVE, "NATIVE" },
				   { CIRCUIT_SIG_PROCEEDING, "PROCEEDING" }),
		  __entry->ref)
);

DEFINE_EVENT(circuit_sig, circuit_sig_receive,
	TP_PROTO(const struct circuit_line *line, const struct circuit_sig *msg),
	TP_ARGS(line, msg)
);

DEFINE_EVENT(circuit_sig, circuit_sig_send,
	TP_PROTO(const struct circuit_line *line, const struct circuit_sig *msg),
	TP_ARGS(line, msg)
);

TRACE_EVENT(circuit_call,
	TP_PROTO(const struct circuit *c, const char *called),
	TP_ARGS(c, called),
	TP_STRUCT__entry(
		__field(u64, id)
		__string(line, c->end[0].line->name)
		__array(char, called, CIRCUIT_NAME_SIZE)
		__field(u32, port)
	),
	TP_fast_assign(
		__entry->id = c->id;
		compat_assign_str(line, c->end[0].line->name);
		memcpy(__entry->called, called, CIRCUIT_NAME_SIZE);
		__entry->called[CIRCUIT_NAME_SIZE - 1] = 0;
		__entry->port = c->end[1].port;
	),
	TP_printk("circuit=%llu line=%s called=%s port=%u", __entry->id, __get_str(line),
		  __entry->called, __entry->port)
);

TRACE_EVENT(circuit_decide,
	TP_PROTO(const struct circuit_query *query, const struct circuit_decision *decision),
	TP_ARGS(query, decision),
	TP_STRUCT__entry(
		__field(u8, op)
		__field(u8, to)
		__field(u8, verdict)
		__field(u32, rule)
		__field(u32, port)
		__array(u8, saddr, 16)
		__array(u8, daddr, 16)
	),
	TP_fast_assign(
		__entry->op = query->op;
		__entry->to = query->to;
		__entry->verdict = decision->verdict;
		__entry->rule = decision->rule ? decision->rule->nr + 1 : 0;
		__entry->port = query->port;
		memcpy(__entry->saddr, &query->saddr, 16);
		memcpy(__entry->daddr, &query->daddr, 16);
	),
	TP_printk("op=%u to=%u saddr=%pI6c daddr=%pI6c port=%u verdict=%u rule=%u", __entry->op,
		  __entry->to, __entry->saddr, __entry->daddr, __entry->port, __entry->verdict,
		  __entry->rule)
);

TRACE_EVENT(circuit_cancel,
	TP_PROTO(const struct circuit *c),
	TP_ARGS(c),
	TP_STRUCT__entry(
		__field(u64, id)
	),
	TP_fast_assign(
		__entry->id = c->id;
	),
	TP_printk("circuit=%llu", __entry->id)
);

TRACE_EVENT(circuit_connected,
	TP_PROTO(const struct circuit *c, u64 ns),
	TP_ARGS(c, ns),
	TP_STRUCT__entry(
		__field(u64, id)
		__string(line, c->end[0].line->name)
		__string(called, c->end[1].line->name)
		__field(u32, port)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->id = c->id;
		compat_assign_str(line, c->end[0].line->name);
		compat_assign_str(called, c->end[1].line->name);
		__entry->port = c->end[1].port;
		__entry->ns = ns;
	),
	TP_printk("circuit=%llu line=%s called=%s port=%u ns=%llu", __entry->id,
		  __get_str(line), __get_str(called), __entry->port, __entry->ns)
);

DECLARE_EVENT_CLASS(circuit_verdict,
	TP_PROTO(const struct circuit *c, u32 reason),
	TP_ARGS(c, reason),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->id = c->id;
		__entry->reason = reason;
	),
	TP_printk("circuit=%llu reason=%u", __entry->id, __entry->reason)
);

DEFINE_EVENT(circuit_verdict, circuit_refused,
	TP_PROTO(const struct circuit *c, u32 reason),
	TP_ARGS(c, reason)
);

DEFINE_EVENT(circuit_verdict, circuit_native,
	TP_PROTO(const struct circuit *c, u32 reason),
	TP_ARGS(c, reason)
);

DECLARE_EVENT_CLASS(circuit_end,
	TP_PROTO(const struct circuit *c, u32 end, u32 reason),
	TP_ARGS(c, end, reason),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, end)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->id = c->id;
		__entry->end = end;
		__entry->reason = reason;
	),
	TP_printk("circuit=%llu end=%u reason=%u", __entry->id, __entry->end, __entry->reason)
);

DEFINE_EVENT(circuit_end, circuit_hangup,
	TP_PROTO(const struct circuit *c, u32 end, u32 reason),
	TP_ARGS(c, end, reason)
);

/* An end is to be told that it was cut off. */
DEFINE_EVENT(circuit_end, circuit_reset,
	TP_PROTO(const struct circuit *c, u32 end, u32 reason),
	TP_ARGS(c, end, reason)
);

DECLARE_EVENT_CLASS(circuit_bell,
	TP_PROTO(const struct circuit_line *line),
	TP_ARGS(line),
	TP_STRUCT__entry(
		__string(line, line->name)
	),
	TP_fast_assign(
		compat_assign_str(line, line->name);
	),
	TP_printk("line=%s", __get_str(line))
);

DEFINE_EVENT(circuit_bell, circuit_doorbell,
	TP_PROTO(const struct circuit_line *line),
	TP_ARGS(line)
);

TRACE_EVENT(circuit_interrupt,
	TP_PROTO(const struct circuit_line *line, unsigned int vector),
	TP_ARGS(line, vector),
	TP_STRUCT__entry(
		__string(line, line->name)
		__field(u32, vector)
	),
	TP_fast_assign(
		compat_assign_str(line, line->name);
		__entry->vector = vector;
	),
	TP_printk("line=%s vector=%u", __get_str(line), __entry->vector)
);

/* A line has to wait, for so long: enum circuit_throttle says why. */
TRACE_EVENT(circuit_throttle,
	TP_PROTO(const char *line, u32 why, u64 ns),
	TP_ARGS(line, why, ns),
	TP_STRUCT__entry(
		__string(line, line)
		__field(u32, why)
		__field(u64, ns)
	),
	TP_fast_assign(
		compat_assign_str(line, line);
		__entry->why = why;
		__entry->ns = ns;
	),
	TP_printk("line=%s %s ns=%llu", __get_str(line),
		  __print_symbolic(__entry->why,
				   { CIRCUIT_THROTTLE_LIMIT, "doorbells" },
				   { CIRCUIT_THROTTLE_STORM, "storm" },
				   { CIRCUIT_THROTTLE_CPU, "cpu" }),
		  __entry->ns)
);

/* A guest leaves its messages unread. */
DEFINE_EVENT(circuit_bell, circuit_sig_stall,
	TP_PROTO(const struct circuit_line *line),
	TP_ARGS(line)
);

/* One side of a trunk call takes no more for now: the socket, or else the guest. */
TRACE_EVENT(circuit_stall,
	TP_PROTO(const struct circuit *c, bool socket),
	TP_ARGS(c, socket),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(bool, socket)
	),
	TP_fast_assign(
		__entry->id = c->id;
		__entry->socket = socket;
	),
	TP_printk("circuit=%llu %s", __entry->id, __entry->socket ? "socket" : "guest")
);

#endif /* _CIRCUIT_HOST_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
