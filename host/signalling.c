// SPDX-License-Identifier: GPL-2.0
/*
 * Signalling: what guests say, and what they are told.
 *
 * A line's work reads the guest's messages one by one, each copied out of the
 * ring before anything looks at it. No message is taken from a guest that leaves
 * its own unread: the work goes on only when there is room for an answer and
 * nothing is owed. So answers to a guest's own messages need no queue, and what
 * other guests cause (ALERT, RESET, a late CONNECTED or REFUSED) is kept in the
 * ends of circuits, bounded by the line's quotas: nothing is allocated here.
 *
 * What a guest says is heard at once, by a thread of high priority, as long as that takes no more
 * than SIG_FAST percent of a processor and the line's cap has something left; what is beyond that,
 * or is not done in one turn of it, is a job of the line's (share.h). So one call costs no more
 * than waking one thread, and a storm of them what other work for the line would: it has its share
 * of the threads, and its cap.
 *
 * Everything under exchange->lock.
 */
#include <linux/string.h>
#include "host.h"
#include "trace.h"

/* Percent of a processor that signalling of one line may have before others' turns. */
#define SIG_FAST	25

static const u8 sig_body[] = {
	[CIRCUIT_SIG_HELLO]	= sizeof(struct circuit_sig_hello),
	[CIRCUIT_SIG_LISTEN]	= sizeof(struct circuit_sig_listen),
	[CIRCUIT_SIG_UNLISTEN]	= 0,
	[CIRCUIT_SIG_CALL]	= sizeof(struct circuit_sig_call),
	[CIRCUIT_SIG_CANCEL]	= 0,
	[CIRCUIT_SIG_ANSWER]	= sizeof(struct circuit_sig_answer),
	[CIRCUIT_SIG_HANGUP]	= sizeof(struct circuit_sig_hangup),
	[CIRCUIT_SIG_OPTIONS]	= sizeof(struct circuit_sig_options),
	[CIRCUIT_SIG_WANT]	= sizeof(struct circuit_sig_want),
};

static const u16 reason_errno[CIRCUIT_REASON_MAX] = {
	[CIRCUIT_REASON_NONE]			= 0,
	[CIRCUIT_REASON_NO_LINE]		= EHOSTUNREACH,
	[CIRCUIT_REASON_LINE_DOWN]		= EHOSTUNREACH,
	[CIRCUIT_REASON_NO_LISTENER]		= ECONNREFUSED,
	[CIRCUIT_REASON_TIMEOUT]		= ETIMEDOUT,
	[CIRCUIT_REASON_QUOTA_CIRCUITS]		= ENOBUFS,
	[CIRCUIT_REASON_QUOTA_MEMORY]		= ENOBUFS,
	[CIRCUIT_REASON_QUOTA_PENDING]		= EAGAIN,
	[CIRCUIT_REASON_QUOTA_LISTENERS]	= ENOBUFS,
	[CIRCUIT_REASON_NO_MEMORY]		= ENOMEM,
	[CIRCUIT_REASON_PORT_IN_USE]		= EADDRINUSE,
	[CIRCUIT_REASON_INVALID]		= EINVAL,
	[CIRCUIT_REASON_PEER_RESET]		= ECONNRESET,
	[CIRCUIT_REASON_PEER_GONE]		= ECONNRESET,
	[CIRCUIT_REASON_LINE_DELETED]		= ECONNRESET,
	[CIRCUIT_REASON_VIOLATION]		= ECONNRESET,
	[CIRCUIT_REASON_NO_ADDRESS]		= EHOSTUNREACH,
	[CIRCUIT_REASON_NOT_YOURS]		= EADDRNOTAVAIL,
	[CIRCUIT_REASON_TUPLE_IN_USE]		= EADDRNOTAVAIL,
	[CIRCUIT_REASON_TRUNK]			= ECONNRESET,
	[CIRCUIT_REASON_NO_TRUNK]		= ENETUNREACH,
	[CIRCUIT_REASON_HOST_ADDRESS]		= EHOSTUNREACH,
	[CIRCUIT_REASON_POLICY]			= ECONNREFUSED,
	[CIRCUIT_REASON_RATE]			= EAGAIN,
	[CIRCUIT_REASON_ADMINISTRATOR]		= ECONNRESET,
};

/**
 * circuit_reason_errno - what an application sees of a reason
 * @reason: a valid reason
 *
 * Return: a positive errno, or 0 for CIRCUIT_REASON_NONE.
 */
int circuit_reason_errno(enum circuit_reason reason)
{
	return reason_errno[reason];
}

/* Without CIRCUIT_SIG_IP there is nothing that belongs to it. */
static bool sig_flags_ok(u32 flags, u32 known, const u8 *addrs, size_t len)
{
	return !(flags & ~known) && (flags & CIRCUIT_SIG_IP || (!flags && !memchr_inv(addrs, 0, len)));
}

/**
 * circuit_sig_check - is this a message a guest may send?
 * @msg: a private copy
 *
 * Only the form is checked: a known type, and zeroes wherever the type has no
 * meaning. Values are the business of whoever acts on them.
 *
 * Return: 0 or -EPROTO.
 */
int circuit_sig_check(const struct circuit_sig *msg)
{
	u32 len;

	if (!msg->type || msg->type >= ARRAY_SIZE(sig_body) || msg->reserved)
		return -EPROTO;
	len = sig_body[msg->type];
	if (memchr_inv(msg->body + len, 0, sizeof(msg->body) - len))
		return -EPROTO;
	switch (msg->type) {
	case CIRCUIT_SIG_HELLO:
		return msg->ref || msg->hello.reserved ? -EPROTO : 0;
	case CIRCUIT_SIG_LISTEN:
		return sig_flags_ok(msg->listen.flags, CIRCUIT_SIG_IP | CIRCUIT_SIG_V6ONLY |
				    CIRCUIT_SIG_REUSEPORT, msg->listen.addr,
				    sizeof(msg->listen.addr)) ? 0 : -EPROTO;
	case CIRCUIT_SIG_CALL:
		if (msg->call.flags & CIRCUIT_SIG_IP &&
		    memchr_inv(msg->call.line, 0, sizeof(msg->call.line)))
			return -EPROTO;
		if (msg->call.hints & ~(CIRCUIT_SIG_HINT_UID | CIRCUIT_SIG_HINT_CGROUP) ||
		    (msg->call.uid && !(msg->call.hints & CIRCUIT_SIG_HINT_UID)) ||
		    (msg->call.cgroup && !(msg->call.hints & CIRCUIT_SIG_HINT_CGROUP)))
			return -EPROTO;
		return sig_flags_ok(msg->call.flags, CIRCUIT_SIG_IP, msg->call.dst,
				    sizeof(msg->call.dst) + sizeof(msg->call.src)) ? 0 : -EPROTO;
	case CIRCUIT_SIG_WANT:
		return msg->ref ? -EPROTO : 0;
	case CIRCUIT_SIG_HANGUP:
		return msg->ref || msg->hangup.reason >= CIRCUIT_REASON_MAX ? -EPROTO : 0;
	case CIRCUIT_SIG_OPTIONS:
		return msg->ref || msg->options.flags & ~CIRCUIT_SIG_KEEPALIVE ? -EPROTO : 0;
	default:
		return 0;
	}
}

/*
 * Is there room for one more message to the guest? If not, the guest will ring
 * when there is.
 */
static int sig_room(struct circuit_line *line)
{
	int space = circuit_tx_space(&line->tx);

	if (space >= 0 && space < CIRCUIT_SIG_SIZE) {
		circuit_tx_arm(&line->tx, CIRCUIT_SIG_SIZE);
		space = circuit_tx_space(&line->tx);
		if (space < CIRCUIT_SIG_SIZE)
			trace_circuit_sig_stall(line);
	}
	return space < 0 ? space : space >= CIRCUIT_SIG_SIZE;
}

/* Send a message for which sig_room() has said that there is room. */
static void sig_send(struct circuit_line *line, const struct circuit_sig *msg)
{
	struct circuit_span s = circuit_tx_span(&line->tx, CIRCUIT_SIG_SIZE);

	memcpy(line->tx.data + s.off[0], msg, CIRCUIT_SIG_SIZE);
	trace_circuit_sig_send(line, msg);
	if (circuit_tx_publish(&line->tx, CIRCUIT_SIG_SIZE))
		circuit_notify(line, 0);
}

static void sig_send_status(struct circuit_line *line, u16 type, u32 ref, u32 error,
			    enum circuit_reason reason, u32 index)
{
	struct circuit_sig msg;

	memset(&msg, 0, sizeof(msg));	/* all of it goes to the guest */
	msg.type = type;
	msg.ref = ref;
	msg.status.error = error;
	msg.status.reason = reason;
	msg.status.index = index;
	sig_send(line, &msg);
}

static void sig_send_setup(struct circuit_end *end)
{
	struct circuit *c = circuit_of_end(end);
	struct circuit_end *far = circuit_far_end(end);
	struct circuit_sig msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = end->nr ? CIRCUIT_SIG_ALERT : CIRCUIT_SIG_CONNECTED;
	msg.ref = end->nr ? c->listener_ref : c->ref;
	msg.circuit.index = end->index;
	msg.circuit.end = end->nr;
	msg.circuit.size[0] = c->size[0];
	msg.circuit.size[1] = c->size[1];
	msg.circuit.offset = circuit_cable_offset(c->cable, end->line, c->first);
	msg.circuit.port = far->port;
	msg.circuit.local_port = end->port;
	msg.circuit.flags = c->ip ? CIRCUIT_SIG_IP : 0;
	msg.circuit.limits = circuit_meter_limits(end);
	memcpy(msg.circuit.line, far->line->name, CIRCUIT_NAME_SIZE);
	memcpy(msg.circuit.local, &end->addr, sizeof(end->addr));
	memcpy(msg.circuit.remote, &far->addr, sizeof(far->addr));
	sig_send(end->line, &msg);
}

static void sig_send_proceeding(struct circuit_line *line, const struct circuit *c)
{
	struct circuit_sig msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = CIRCUIT_SIG_PROCEEDING;
	msg.ref = c->ref;
	msg.circuit.port = c->end[1].port;
	msg.circuit.local_port = c->end[0].port;
	msg.circuit.flags = CIRCUIT_SIG_IP;
	/* The world answers soon, or never; a listener when it pleases. */
	if (c->local)
		memcpy(msg.circuit.line, line->ex->trunk->name, sizeof(msg.circuit.line));
	memcpy(msg.circuit.local, &c->end[0].addr, sizeof(msg.circuit.local));
	memcpy(msg.circuit.remote, &c->end[1].addr, sizeof(msg.circuit.remote));
	sig_send(line, &msg);
}

/* Have a line's own job look after it. Its window or the caller keeps the line. */
static void sig_later(struct circuit_line *line)
{
	circuit_line_get(line);
	if (!circuit_job_kick(&line->sig_job))
		circuit_line_put(line);
}

/**
 * circuit_sig_kick - a guest has something to say
 * @win: its window
 *
 * Context: any but the wake-up of an eventfd.
 */
void circuit_sig_kick(struct circuit_window *win)
{
	struct circuit_line *line = win->line;

	if (likely(circuit_cap_left(&line->sig_fast, SIG_FAST * CIRCUIT_CAP_PERCENT, ktime_get_ns()) &&
		   circuit_share_left(&line->account->share)))
		queue_work(circuit_wq, &win->sig_work);
	else
		sig_later(line);
}

static void sig_send_allow(struct circuit_end *end)
{
	const u32 *bytes = end->allow[CIRCUIT_BYTES], *messages = end->allow[CIRCUIT_MESSAGES];
	struct circuit_sig msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = CIRCUIT_SIG_ALLOW;
	msg.allow.index = end->index;
	msg.allow.limits = circuit_meter_limits(end) | end->anew;
	msg.allow.tx_bytes = bytes[CIRCUIT_SEND];
	msg.allow.rx_bytes = bytes[CIRCUIT_RECEIVE];
	msg.allow.tx_messages = messages[CIRCUIT_SEND];
	msg.allow.rx_messages = messages[CIRCUIT_RECEIVE];
	memset(end->allow, 0, sizeof(end->allow));
	sig_send(end->line, &msg);
	if (end->anew & (CIRCUIT_SIG_LIMIT_TX_ANEW | CIRCUIT_SIG_LIMIT_TX_MESSAGES_ANEW)) {
		circuit_meter_told(end, end->line->tx.tail);
		sig_later(end->line);	/* to hear when it is taken */
	}
	end->anew = 0;
}

static void sig_send_owed(struct circuit_end *end)
{
	u8 what = end->owe & -end->owe;

	end->owe &= ~what;
	if (!end->owe)
		list_del_init(&end->owed);
	switch (what) {
	case CIRCUIT_OWE_REFUSED:
		sig_send_status(end->line, CIRCUIT_SIG_REFUSED, circuit_of_end(end)->ref,
				end->error ?: circuit_reason_errno(end->reason), end->reason, 0);
		circuit_drop(circuit_of_end(end));
		break;
	case CIRCUIT_OWE_SETUP:
		sig_send_setup(end);
		break;
	case CIRCUIT_OWE_RESET:
		sig_send_status(end->line, CIRCUIT_SIG_RESET, 0,
				end->error ?: circuit_reason_errno(end->reason), end->reason,
				end->index);
		break;
	case CIRCUIT_OWE_ALLOW:
		sig_send_allow(end);
		break;
	}
}

/**
 * circuit_sig_flush - send a guest what it is owed, as far as there is room
 * @line: the guest's line, its exchange locked
 */
void circuit_sig_flush(struct circuit_line *line)
{
	while (!list_empty(&line->owed)) {
		int room = sig_room(line);

		if (room < 0)
			circuit_line_fault(line, "impossible index in the signalling circuit");
		if (room <= 0)
			return;
		sig_send_owed(list_first_entry(&line->owed, struct circuit_end, owed));
	}
}

/**
 * circuit_sig_owe - tell a guest something about a circuit, now or later
 * @end: the guest's end of it; its exchange is locked
 * @what: one of CIRCUIT_OWE_*
 * @reason: for REFUSED and RESET
 *
 * Room is looked for without faulting the line, since the caller may be at work
 * on it; if there is none, the line's own work sends the message.
 */
void circuit_sig_owe(struct circuit_end *end, u8 what, enum circuit_reason reason)
{
	struct circuit_line *line = end->line;

	if (line->is_trunk) {
		circuit_local_owe(circuit_of_end(end)->local, what, reason);
		return;
	}
	if (reason)
		end->reason = reason;
	if (!end->owe)
		list_add_tail(&end->owed, &line->owed);
	end->owe |= what;
	while (!list_empty(&line->owed) && sig_room(line) > 0)
		sig_send_owed(list_first_entry(&line->owed, struct circuit_end, owed));
	/* Having asked for room, we may not hear of what was taken; the work asks again. */
	if (!list_empty(&line->steps))
		sig_later(line);
}

/**
 * circuit_sig_forget - owe nothing about an end any more
 * @end: the end; its exchange is locked
 *
 * A call that was refused, and now is not even told so, is freed.
 */
void circuit_sig_forget(struct circuit_end *end)
{
	u8 owe = end->owe;

	if (!owe)
		return;
	list_del_init(&end->owed);
	end->owe = 0;
	if (owe & CIRCUIT_OWE_REFUSED)
		circuit_drop(circuit_of_end(end));
}

/**
 * circuit_sig_start - set the signalling circuit up for a new epoch
 * @line: the line, reset, its exchange locked
 * @win: its window
 */
void circuit_sig_start(struct circuit_line *line, struct circuit_window *win)
{
	struct circuit_guest_hdr *guest = win->area + CIRCUIT_OFF_GUEST;
	struct circuit_ctrl *ctrl = win->area + CIRCUIT_OFF_SIG;
	void *data = ctrl + 1;

	memset(win->area + CIRCUIT_OFF_ATTN_GUEST, 0, CIRCUIT_PAGE);
	/* Whoever was here before may have had more vectors. */
	memset(guest->vector, 0, sizeof(guest->vector));
	memset(&ctrl->dir[1].prod, 0, sizeof(ctrl->dir[1].prod));
	memset(&ctrl->dir[0].cons, 0, sizeof(ctrl->dir[0].cons));
	circuit_ring_init(&line->tx, &line->rx, ctrl, data, CIRCUIT_SIG_RING,
			  data + CIRCUIT_SIG_RING, CIRCUIT_SIG_RING, 1);
}

static void sig_hello(struct circuit_line *line, const struct circuit_sig_hello *req)
{
	u16 version = min_t(u16, req->version_max, CIRCUIT_SIG_VERSION_MAX);
	struct circuit_sig msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = CIRCUIT_SIG_WELCOME;
	msg.welcome.version = version;
	msg.welcome.features = line->features = req->features & CIRCUIT_SIG_FEATURES;
	msg.welcome.ring_default = line->cfg.ring_default;
	msg.welcome.ring_max = line->cfg.ring_max;
	msg.welcome.circuits_max = line->quota.limits.max[CIRCUIT_CIRCUITS];
	if (req->version_min > req->version_max || version < req->version_min ||
	    version < CIRCUIT_SIG_VERSION_MIN) {
		pr_info_ratelimited("circuit: line %s: guest speaks versions %u to %u, operator %u to %u\n",
				    line->name, req->version_min, req->version_max,
				    CIRCUIT_SIG_VERSION_MIN, CIRCUIT_SIG_VERSION_MAX);
		msg.welcome.version = 0;
		msg.welcome.error = EPROTONOSUPPORT;
	} else {
		line->ready = true;
	}
	memcpy(msg.welcome.name, line->name, CIRCUIT_NAME_SIZE);
	sig_send(line, &msg);
	if (line->ready)
		circuit_event_line(line, CIRCUIT_EVENT_LINE_UP, CIRCUIT_REASON_NONE);
}

static int sig_call(struct circuit_line *line, const struct circuit_sig *msg)
{
	enum circuit_reason reason = CIRCUIT_REASON_NONE;
	u16 error = 0;
	int verdict;

	if (msg->call.hints && !(line->features & CIRCUIT_SIG_F_HINTS))
		return -EPROTO;
	verdict = circuit_call(line, msg->ref, &msg->call, &reason, &error);
	switch (verdict) {
	case CIRCUIT_VERDICT_REFUSED:
		sig_send_status(line, CIRCUIT_SIG_REFUSED, msg->ref,
				error ?: circuit_reason_errno(reason), reason, 0);
		return 0;
	case CIRCUIT_VERDICT_NATIVE:
		sig_send_status(line, CIRCUIT_SIG_NATIVE, msg->ref,
				circuit_reason_errno(reason), reason, 0);
		return 0;
	case CIRCUIT_VERDICT_WAITS:
		if (msg->call.flags & CIRCUIT_SIG_IP)
			sig_send_proceeding(line, xa_load(&line->calls, msg->ref));
		return 0;
	case CIRCUIT_VERDICT_CONNECTED:
		return 0;
	default:
		return verdict;
	}
}

static int sig_handle(struct circuit_line *line, const struct circuit_sig *msg)
{
	enum circuit_reason reason = CIRCUIT_REASON_NONE;
	struct circuit_listener *lst;
	struct circuit_end *end;
	int err;

	if (circuit_sig_check(msg))
		return -EPROTO;
	if (line->ready != (msg->type != CIRCUIT_SIG_HELLO))
		return -EPROTO;

	switch (msg->type) {
	case CIRCUIT_SIG_HELLO:
		sig_hello(line, &msg->hello);
		return 0;
	case CIRCUIT_SIG_LISTEN:
		err = circuit_listen(line, msg->ref, &msg->listen, &reason);
		if (err == -EPROTO)
			return err;
		/* There is room for one message: this first, then those that find room. */
		sig_send_status(line, CIRCUIT_SIG_LISTENING, msg->ref, -err, reason, 0);
		if (!err)
			circuit_listener_serve(circuit_listener_find(line, msg->ref));
		return 0;
	case CIRCUIT_SIG_UNLISTEN:
		lst = circuit_listener_find(line, msg->ref);
		if (lst)	/* or it crossed our refusal */
			circuit_unlisten(lst, CIRCUIT_REASON_NO_LISTENER);
		return 0;
	case CIRCUIT_SIG_CALL:
		return sig_call(line, msg);
	case CIRCUIT_SIG_CANCEL:
		circuit_cancel(line, msg->ref);
		return 0;
	case CIRCUIT_SIG_ANSWER:
		lst = circuit_listener_find(line, msg->ref);
		return lst ? circuit_answer(lst, msg->answer.count) : -EPROTO;
	case CIRCUIT_SIG_OPTIONS:
		end = xa_load(&line->ends, msg->options.index);
		if (!end || !(line->features & CIRCUIT_SIG_F_OPTIONS))
			return -EPROTO;
		if (circuit_leg_of(circuit_of_end(end)))
			circuit_leg_options(circuit_leg_of(circuit_of_end(end)), &msg->options);
		return 0;
	case CIRCUIT_SIG_WANT:
		end = xa_load(&line->ends, msg->want.index);
		if (!end || !(line->features & CIRCUIT_SIG_F_RATE) ||
		    (msg->want.messages && !(line->features & CIRCUIT_SIG_F_MESSAGES)))
			return -EPROTO;
		if (circuit_of_end(end)->local)		/* which sees to that by itself */
			return 0;
		if (msg->want.bytes)
			circuit_meter_want(circuit_of_end(end), CIRCUIT_BYTES, end->nr,
					   msg->want.bytes);
		/*
		 * By that the end may have lost its number: it was reset, or the circuit is gone.
		 */
		end = xa_load(&line->ends, msg->want.index);
		if (end && msg->want.messages)
			circuit_meter_want(circuit_of_end(end), CIRCUIT_MESSAGES, end->nr,
					   msg->want.messages);
		return 0;
	case CIRCUIT_SIG_HANGUP:
		end = xa_load(&line->ends, msg->hangup.index);
		if (!end)
			return -EPROTO;
		reason = msg->hangup.reason;
		if (reason && reason != CIRCUIT_REASON_VIOLATION)
			reason = CIRCUIT_REASON_PEER_RESET;
		circuit_hangup(end, reason);
		return 0;
	}
	return -EPROTO;
}

/*
 * If others wait until the guest has taken a message, have it ring when it has. Returns true if it
 * has meanwhile.
 */
static bool sig_steps(struct circuit_line *line)
{
	struct circuit_flow *flow;

	flow = list_first_entry_or_null(&line->steps, struct circuit_flow, step);
	if (!flow)
		return false;
	circuit_tx_arm(&line->tx, line->tx.size - (line->tx.tail - flow->told));
	return circuit_tx_space(&line->tx) >= 0 && (s32)(line->tx.head - flow->told) >= 0;
}

/* Returns true if the budget, or the time, ended before the messages did. */
static bool sig_receive(struct circuit_line *line, u64 ns)
{
	struct circuit_span s;
	struct circuit_sig msg;
	u64 end = ktime_get_ns() + ns;
	int budget, room, avail;
	bool notify = false;

	for (budget = CIRCUIT_SIG_BUDGET; budget; budget--) {
		circuit_meter_step(line);
		circuit_sig_flush(line);
		if (line->fault || !list_empty(&line->owed))
			goto out;
		room = sig_room(line);
		avail = circuit_rx_avail(&line->rx);
		if (room < 0 || avail < 0 || avail % CIRCUIT_SIG_SIZE) {
			circuit_line_fault(line, "impossible index in the signalling circuit");
			return false;
		}
		if (!room)
			goto out;
		if (!avail) {
			circuit_rx_arm(&line->rx, CIRCUIT_SIG_SIZE);
			if (!circuit_rx_avail(&line->rx) && !sig_steps(line))
				goto out;
			continue;
		}
		s = circuit_rx_span(&line->rx, 0, CIRCUIT_SIG_SIZE);
		memcpy(&msg, line->rx.data + s.off[0], sizeof(msg));
		barrier_data(&msg);
		notify |= circuit_rx_release(&line->rx, CIRCUIT_SIG_SIZE);
		circuit_line_count(line, CIRCUIT_COUNT_MESSAGES);
		trace_circuit_sig_receive(line, &msg);
		if (sig_handle(line, &msg)) {
			circuit_line_fault(line, "malformed or impossible signalling message");
			return false;
		}
		if (ktime_get_ns() > end) {
			budget = 0;
			break;
		}
	}
out:
	if (notify)
		circuit_notify(line, 0);
	return !budget;
}

static void sig_epoch(struct circuit_line *line, struct circuit_window *win, u32 epoch)
{
	struct circuit_line_hdr *hdr = circuit_window_hdr(win);

	circuit_line_reset(line, CIRCUIT_REASON_PEER_GONE);
	line->fault = false;
	if (epoch)
		circuit_sig_start(line, win);
	WRITE_ONCE(line->epoch, epoch);
	WRITE_ONCE(hdr->reason, CIRCUIT_REASON_NONE);
	WRITE_ONCE(hdr->state, CIRCUIT_LINE_UP);
	virt_store_release(&hdr->epoch, epoch);
	trace_circuit_epoch(line, epoch);
	circuit_interrupt(line, win, 0);
}

/* Hear a guest for a while. Returns true if it has more to say. */
static bool sig_serve(struct circuit_line *line, struct circuit_turn *turn, u64 ns)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit_window *win;
	bool more = false;
	u32 epoch, seen;
	u64 deciding;

	mutex_lock(&ex->lock);
	deciding = ex->deciding;
	win = circuit_line_window(line);
	if (win && !line->deleted) {
		epoch = circuit_window_epoch(win);
		if (epoch != line->epoch)
			sig_epoch(line, win, epoch);
		seen = line->rx.head + line->tx.tail;
		if (line->epoch && !line->fault)
			more = sig_receive(line, ns);
		/* What it has said, and what there was no room to tell it before it rang. */
		seen = line->rx.head + line->tx.tail - seen;
		circuit_bell_told(win, seen / CIRCUIT_SIG_SIZE, local_clock());
	}
	circuit_turn_charge_part(turn, CIRCUIT_USE_POLICY, ex->deciding - deciding);
	mutex_unlock(&ex->lock);
	circuit_turn_charge(turn, CIRCUIT_USE_SIGNALLING);
	return more;
}

/**
 * circuit_sig_work - hear a guest, at once
 * @work: of its window
 */
void circuit_sig_work(struct work_struct *work)
{
	struct circuit_line *line = container_of(work, struct circuit_window, sig_work)->line;
	struct circuit_turn turn;
	bool more;
	u64 ns;

	circuit_turn_begin(&turn, line->account);
	more = sig_serve(line, &turn, CIRCUIT_SIG_TURN);
	ns = circuit_clock_read(&turn.clock);
	circuit_cap_use(&line->sig_fast, SIG_FAST * CIRCUIT_CAP_PERCENT, ns, ktime_get_ns());
	circuit_share_charge(&line->account->share, ns);
	circuit_turn_charge_rest(&turn);
	circuit_turn_end(&turn);
	if (more)
		sig_later(line);
}

static enum circuit_job_end sig_look(struct circuit_job *job, struct circuit_turn *turn)
{
	struct circuit_line *line = container_of(job, struct circuit_line, sig_job);

	if (sig_serve(line, turn, CIRCUIT_QUANTUM))
		sig_later(line);
	return CIRCUIT_JOB_DONE;
}

static void sig_idle(struct circuit_job *job)
{
	circuit_line_put(container_of(job, struct circuit_line, sig_job));
}

static const struct circuit_job_ops sig_job_ops = {
	.look = sig_look,
	.idle = sig_idle,
};

/**
 * circuit_sig_init - prepare a new line's signalling
 * @line: the line, with its account
 */
void circuit_sig_init(struct circuit_line *line)
{
	circuit_job_init(&line->sig_job, line->account, &sig_job_ops);
}
