// SPDX-License-Identifier: GPL-2.0
/*
 * Circuits, as the operator knows them.
 *
 * A circuit starts as a call in line->calls, or as an ALERT; gets a number and a
 * place in line->circuits; and leaves that with HANGUP, which is sent exactly
 * once. Each table holds a reference, and so does a message on its way.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/slab.h>
#include "guest.h"

#define WANT_MAX	(256u << 10)	/* bytes asked for beforehand */
#define WANT_MESSAGES	1024u		/* messages, likewise */

/**
 * circuit_alloc - make a circuit
 * @line: its line
 * @gfp: how to allocate
 *
 * Return: a circuit with one reference, or NULL.
 */
struct circuit *circuit_alloc(struct circuit_line *line, gfp_t gfp)
{
	struct circuit *c = kzalloc(sizeof(*c), gfp);

	if (!c)
		return NULL;
	refcount_set(&c->ref, 1);
	refcount_inc(&line->ref);
	c->line = line;
	INIT_LIST_HEAD(&c->out.node);
	INIT_LIST_HEAD(&c->options.node);
	INIT_LIST_HEAD(&c->want.node);
	INIT_LIST_HEAD(&c->queue);
	return c;
}

/**
 * circuit_get - take a reference
 * @c: the circuit
 *
 * Return: @c.
 */
struct circuit *circuit_get(struct circuit *c)
{
	refcount_inc(&c->ref);
	return c;
}

/**
 * circuit_put - drop a reference
 * @c: the circuit
 *
 * Context: process, or any in which the line is known to have another user.
 */
void circuit_put(struct circuit *c)
{
	if (!refcount_dec_and_test(&c->ref))
		return;
	circuit_map_free(c->map);
	circuit_line_put(c->line);
	kfree_rcu(c, rcu);
}

static void circuit_sent(struct circuit_out *out)
{
	circuit_put(container_of(out, struct circuit, out));
}

static bool circuit_post(struct circuit *c)
{
	circuit_get(c);
	c->out.sent = circuit_sent;
	return circuit_line_post(c->line, &c->out);
}

/* What the operator's policy may want to know of the caller, who is at work. */
static void circuit_hint(const struct circuit_line *line, struct circuit_sig_call *call)
{
	if (!(line->welcome.features & CIRCUIT_SIG_F_HINTS))
		return;
	call->hints = CIRCUIT_SIG_HINT_UID;
	call->uid = from_kuid(&init_user_ns, current_euid());
#ifdef CONFIG_CGROUPS
	call->hints |= CIRCUIT_SIG_HINT_CGROUP;
	rcu_read_lock();
	call->cgroup = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
#endif
}

/**
 * circuit_place - place a call
 * @c: a new circuit, not shared yet
 * @ep: the calling endpoint, which must outlive the call
 * @call: whom to call
 *
 * Context: process, that of the caller.
 *
 * Return: 0, and the tasklet will report what becomes of it; -ENOMEM, or -ENETDOWN.
 */
int circuit_place(struct circuit *c, struct circuit_ep *ep, const struct circuit_sig_call *call)
{
	struct circuit_line *line = c->line;
	int err;

	c->ep = ep;
	c->peer_port = call->port;
	c->messages = call->type != CIRCUIT_SIG_STREAM;
	if (call->flags & CIRCUIT_SIG_IP) {	/* whose line that is, the answer tells */
		c->ip = true;
		memcpy(&c->remote, call->dst, sizeof(c->remote));
	} else {
		memcpy(c->peer, call->line[0] ? call->line : line->name, CIRCUIT_NAME_SIZE);
	}

	circuit_get(c);		/* the table's: who finds it there may drop it */
	err = xa_alloc_cyclic_bh(&line->calls, &c->call, c, xa_limit_31b, &line->next_call,
				 GFP_KERNEL);
	if (err < 0) {
		circuit_put(c);
		return -ENOMEM;
	}

	c->out.msg.type = CIRCUIT_SIG_CALL;
	c->out.msg.ref = c->call;
	c->out.msg.call = *call;
	circuit_hint(line, &c->out.msg.call);
	circuit_post(c);
	/* The line may have gone down before the call was in its table. */
	if (!circuit_line_up(line) && circuit_cancel(c))
		return -ENETDOWN;
	return 0;
}

/**
 * circuit_cancel - forget a call
 * @c: the call
 *
 * Context: process or bottom half; the caller holds a reference.
 *
 * Return: true if the call is forgotten, false if it has been decided.
 */
bool circuit_cancel(struct circuit *c)
{
	struct circuit_line *line = c->line;
	bool unsent;

	if (xa_cmpxchg_bh(&line->calls, c->call, c, NULL, GFP_ATOMIC) != c)
		return false;
	spin_lock_bh(&line->tx_lock);
	unsent = !list_empty(&c->out.node);
	if (unsent)
		list_del_init(&c->out.node);
	spin_unlock_bh(&line->tx_lock);
	if (unsent) {
		circuit_put(c);		/* the message's */
	} else {
		memset(&c->out.msg, 0, sizeof(c->out.msg));
		c->out.msg.type = CIRCUIT_SIG_CANCEL;
		c->out.msg.ref = c->call;
		circuit_post(c);
	}
	circuit_put(c);			/* the table's */
	return true;
}

/**
 * circuit_setup - take up a circuit that the operator has connected
 * @c: the call, or a new circuit
 * @msg: body of CONNECTED or ALERT, a private copy
 *
 * Context: bottom half.
 *
 * Return: 0, -EPROTO if the message makes no sense, or -ENOMEM.
 */
int circuit_setup(struct circuit *c, const struct circuit_sig_circuit *msg)
{
	struct circuit_line *line = c->line;
	struct circuit_ctrl *ctrl;
	u64 bytes;
	void *data;
	int err;

	if (!msg->index || msg->index > CIRCUIT_INDEX_MAX || msg->end > 1 ||
	    !circuit_ring_size_ok(msg->size[0]) || !circuit_ring_size_ok(msg->size[1]))
		return -EPROTO;
	bytes = circuit_bytes(msg->size[0], msg->size[1]);
	if (msg->offset % CIRCUIT_PAGE || msg->offset < CIRCUIT_WINDOW_SLOT ||
	    msg->offset > line->t->size - bytes)
		return -EPROTO;
	ctrl = line->t->window + msg->offset;
	data = ctrl + 1;
	circuit_ring_init(&c->tx, &c->rx, ctrl, data, msg->size[0], data + msg->size[0],
			  msg->size[1], msg->end);
	c->index = msg->index;
	c->end = msg->end;
	c->peer_port = msg->port;
	memcpy(c->peer, msg->line, CIRCUIT_NAME_SIZE);
	c->peer[CIRCUIT_NAME_SIZE - 1] = 0;
	c->local_port = msg->local_port;
	c->ip = msg->flags & CIRCUIT_SIG_IP;
	c->limits = msg->limits;
	c->tx_upto = CIRCUIT_SIG_ALLOWANCE;
	c->rx_upto = CIRCUIT_SIG_ALLOWANCE;
	c->tx_messages_upto = CIRCUIT_SIG_MESSAGES;
	c->rx_messages_upto = CIRCUIT_SIG_MESSAGES;
	memcpy(&c->local, msg->local, sizeof(c->local));
	memcpy(&c->remote, msg->remote, sizeof(c->remote));

	circuit_get(c);
	err = xa_insert_bh(&line->circuits, c->index, c, GFP_ATOMIC);
	if (err) {
		circuit_put(c);
		return err == -ENOMEM ? err : -EPROTO;
	}
	return 0;
}

/**
 * circuit_hangup - be through with a circuit
 * @c: the circuit, set up, or with nothing but a number; no longer in use
 * @flags: CIRCUIT_TX_* to leave for the far end
 * @reason: not CIRCUIT_REASON_NONE if the operator has to tell the far end
 *
 * Whatever the far end has not read yet it may still read.
 *
 * Context: process or bottom half; the caller holds a reference.
 */
void circuit_hangup(struct circuit *c, u32 flags, enum circuit_reason reason)
{
	struct circuit_line *line = c->line;
	bool raised = false;

	WRITE_ONCE(c->ep, NULL);
	if (xa_cmpxchg_bh(&line->circuits, c->index, c, NULL, GFP_ATOMIC) == c)
		circuit_put(c);
	/* When the line is down, the window may show anything by now. */
	if (c->tx.prod && circuit_line_up(line)) {
		/* In this order: to the far end, what it writes is lost only after FIN. */
		circuit_tx_flag(&c->tx, flags, c->tx_flags);
		circuit_rx_close(&c->rx);
		/* A far end that has hung up before has nobody left to tell. */
		raised = circuit_tx_open(&c->tx) && circuit_line_raise(line, c->index);
	}
	/* Nothing comes after HANGUP. */
	spin_lock_bh(&line->tx_lock);
	c->hungup = true;
	if (!list_empty(&c->options.node)) {
		list_del_init(&c->options.node);
		refcount_dec(&c->ref);		/* the caller has another */
	}
	if (!list_empty(&c->want.node)) {
		list_del_init(&c->want.node);
		refcount_dec(&c->ref);
	}
	spin_unlock_bh(&line->tx_lock);
	memset(&c->out.msg, 0, sizeof(c->out.msg));
	c->out.msg.type = CIRCUIT_SIG_HANGUP;
	c->out.msg.hangup.index = c->index;
	c->out.msg.hangup.reason = reason;
	/* One doorbell for both, mark and message. */
	if (!circuit_post(c) && raised)
		circuit_line_doorbell(line);
}

static void options_sent(struct circuit_out *out)
{
	circuit_put(container_of(out, struct circuit, options));
}

/**
 * circuit_tell_options - tell the operator what a socket's options are now
 * @c: its circuit
 * @sk: the socket
 * @fill: says what they are, under line->tx_lock, so that the last to be told are the
 *	last that there are
 *
 * What an earlier call has said, and has not left yet, is replaced. As long as none was
 * set nothing need be said.
 *
 * Context: process or bottom half; the caller holds a reference.
 */
void circuit_tell_options(struct circuit *c, const struct sock *sk,
			  void (*fill)(struct circuit_sig_options *options, const struct sock *sk))
{
	struct circuit_line *line = c->line;
	struct circuit_sig_options options = {};
	bool kick = false;

	spin_lock_bh(&line->tx_lock);
	fill(&options, sk);
	if (!c->hungup && (c->options.sent || memchr_inv(&options, 0, sizeof(options)))) {
		c->options.sent = options_sent;
		c->options.msg.type = CIRCUIT_SIG_OPTIONS;
		c->options.msg.options = options;
		c->options.msg.options.index = c->index;
		if (list_empty(&c->options.node)) {
			circuit_get(c);
			kick = circuit_line_queue(line, &c->options);
		}
	}
	spin_unlock_bh(&line->tx_lock);
	if (kick)
		circuit_line_notify(line, 0);
}

static void want_sent(struct circuit_out *out)
{
	circuit_put(container_of(out, struct circuit, want));
}

/*
 * Of what is there too little left to send @len bytes, or a message? CIRCUIT_SIG_LIMIT_TX and
 * _TX_MESSAGES.
 */
static u32 lacks(const struct circuit *c, u32 len, u32 *bytes)
{
	u32 limits = smp_load_acquire(&c->limits), what = 0;
	s64 left = READ_ONCE(c->tx_upto) - c->tx.bytes;

	*bytes = len - clamp_t(s64, left, 0, len);
	if (limits & CIRCUIT_SIG_LIMIT_TX && *bytes)
		what |= CIRCUIT_SIG_LIMIT_TX;
	left = READ_ONCE(c->tx_messages_upto) - c->tx_messages;
	if (limits & CIRCUIT_SIG_LIMIT_TX_MESSAGES && left <= 0)
		what |= CIRCUIT_SIG_LIMIT_TX_MESSAGES;
	return what;
}

/**
 * circuit_want - ask the operator for leave to send more
 * @c: the circuit, all that was allowed used up; its ep->tx_mutex is held
 * @len: how much there is to send
 *
 * Whoever sends much asks for more than that, or he would ask all the time. circuit_ep_allowed()
 * follows; the caller looks at circuit_tx_allowed() again before it sleeps.
 *
 * Context: process; the caller holds a reference.
 */
void circuit_want(struct circuit *c, u32 len)
{
	struct circuit_sig_want *want = &c->want.msg.want;
	struct circuit_line *line = c->line;
	bool kick = false, queued;
	u32 what, bytes;

	spin_lock_bh(&line->tx_lock);
	what = lacks(c, len, &bytes) & ~c->wanting;
	if (!c->hungup && what) {
		c->wanting |= what;
		/* What has not left yet can still say more. */
		queued = !list_empty(&c->want.node);
		if (!queued) {
			memset(&c->want.msg, 0, sizeof(c->want.msg));
			c->want.sent = want_sent;
			c->want.msg.type = CIRCUIT_SIG_WANT;
			want->index = c->index;
		}
		if (what & CIRCUIT_SIG_LIMIT_TX)
			want->bytes = max_t(u32, bytes, clamp_t(u64, c->tx.bytes / 4,
								CIRCUIT_SIG_ALLOWANCE, WANT_MAX));
		if (what & CIRCUIT_SIG_LIMIT_TX_MESSAGES)
			want->messages = clamp_t(u64, c->tx_messages / 4, CIRCUIT_SIG_MESSAGES,
						 WANT_MESSAGES);
		if (!queued) {
			circuit_get(c);
			kick = circuit_line_queue(line, &c->want);
		}
	}
	spin_unlock_bh(&line->tx_lock);
	if (kick)
		circuit_line_notify(line, 0);
}

/**
 * circuit_allow - the operator says what may be sent and received
 * @c: the circuit
 * @msg: body of ALLOW, a private copy
 *
 * Context: the tasklet.
 */
void circuit_allow(struct circuit *c, const struct circuit_sig_allow *msg)
{
	u64 sent = c->tx_upto, received = c->rx_upto;
	u32 answered = 0;

	/* Whoever is at work in the ring meanwhile is in it by one piece at most. */
	if (msg->limits & CIRCUIT_SIG_LIMIT_TX_ANEW)
		sent = READ_ONCE(c->tx.bytes);
	WRITE_ONCE(c->tx_upto, sent + msg->tx_bytes);
	/*
	 * The far end asks for more when it has sent what it was allowed to, of which at most a
	 * ring is not read, or when it has just been told of the limit, and then it has a little
	 * left.
	 */
	if (msg->limits & CIRCUIT_SIG_LIMIT_RX_ANEW)
		received = READ_ONCE(c->rx.bytes);
	else if (msg->rx_bytes)
		received = min(received, READ_ONCE(c->rx.bytes) + 2ull * c->rx.size);
	WRITE_ONCE(c->rx_upto, received + msg->rx_bytes);
	/* And the same of messages, of which there are at most so many in a ring. */
	sent = c->tx_messages_upto;
	if (msg->limits & CIRCUIT_SIG_LIMIT_TX_MESSAGES_ANEW)
		sent = READ_ONCE(c->tx_messages);
	WRITE_ONCE(c->tx_messages_upto, sent + msg->tx_messages);
	received = c->rx_messages_upto;
	if (msg->limits & CIRCUIT_SIG_LIMIT_RX_MESSAGES_ANEW)
		received = READ_ONCE(c->rx_messages);
	else if (msg->rx_messages)
		received = min(received, READ_ONCE(c->rx_messages) +
			       2ull * (c->rx.size / sizeof(struct circuit_message)));
	WRITE_ONCE(c->rx_messages_upto, received + msg->rx_messages);
	smp_store_release(&c->limits, msg->limits);
	/* A process cannot be trusted to keep to it; pairs with the one in map_circuit(). */
	smp_mb();
	if (unlikely(READ_ONCE(c->tx_mapped) && msg->limits))
		schedule_work(&c->line->unmap);
	if (msg->tx_bytes || !(msg->limits & CIRCUIT_SIG_LIMIT_TX))
		answered |= CIRCUIT_SIG_LIMIT_TX;
	if (msg->tx_messages || !(msg->limits & CIRCUIT_SIG_LIMIT_TX_MESSAGES))
		answered |= CIRCUIT_SIG_LIMIT_TX_MESSAGES;
	spin_lock_bh(&c->line->tx_lock);
	c->wanting &= ~answered;
	spin_unlock_bh(&c->line->tx_lock);
	circuit_ep_allowed(c);
}
