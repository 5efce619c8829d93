// SPDX-License-Identifier: GPL-2.0
/*
 * Listeners, as the operator knows them, and the circuits that wait to be accepted.
 *
 * A listener is in line->listeners while it is published, or about to be. The table holds a
 * reference, and so does each message on its way.
 *
 * A circuit waits in the queue, of which accept() takes the oldest. Where TCP_DEFER_ACCEPT is set
 * it gets there when its far end has said something, as TCP has it, or when the time for that is up:
 * lst->patience, which holds a reference while it is pending or running, and is not started again
 * once the listener is closed.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "inet.h"

#define LISTEN_TIMEOUT	(10 * HZ)

static void listener_free(struct circuit_listener *lst)
{
	circuit_line_put(lst->line);
	kfree_rcu(lst, rcu);
}

/**
 * circuit_listener_put - drop a reference
 * @lst: the listener
 *
 * Context: as circuit_put().
 */
void circuit_listener_put(struct circuit_listener *lst)
{
	if (refcount_dec_and_test(&lst->refs))
		listener_free(lst);
}

/* Has the far end said anything, be it that there is nothing to say? */
static bool has_said(const struct circuit *c)
{
	const struct circuit_producer *prod = c->rx.prod;

	return virt_load_acquire(&prod->flags) & (CIRCUIT_TX_FIN | CIRCUIT_TX_RST) ||
	       READ_ONCE(prod->tail) != c->rx.head || READ_ONCE(c->reason);
}

/* To the accept queue; the listener is locked. */
static void listener_queue(struct circuit_listener *lst, struct circuit *c)
{
	WRITE_ONCE(c->deferred, NULL);
	list_move_tail(&c->queue, &lst->queue);
	lst->queued++;
}

/* There is one to accept. Under RCU, and the listener was not closed before. */
static void listener_wake(struct circuit_listener *lst)
{
	struct sock *sk = lst->ep->sk;

	sk->sk_data_ready(sk);
}

/* Those who have said nothing so far are to be accepted as they are. */
static void listener_patience(struct timer_list *t)
{
	struct circuit_listener *lst = compat_from_timer(lst, t, patience);
	struct circuit *c, *next;
	unsigned long end = 0;
	bool more = false, keep = false;
	unsigned int ready = 0;

	rcu_read_lock();
	spin_lock(&lst->lock);
	list_for_each_entry_safe(c, next, &lst->deferred, queue) {
		if (time_after_eq(jiffies, c->patience)) {
			listener_queue(lst, c);
			ready++;
		} else if (!more || time_before(c->patience, end)) {
			end = c->patience;
			more = true;
		}
	}
	/* If it is pending already, circuit_listener_add() has started it, with a reference of its own. */
	if (more)
		keep = !mod_timer(&lst->patience, end);
	spin_unlock(&lst->lock);
	/* Each wakes one of those who wait for one. */
	while (ready--)
		listener_wake(lst);
	if (!keep)
		circuit_listener_put(lst);
	rcu_read_unlock();
}

static void listener_sent(struct circuit_out *out)
{
	struct circuit_listener *lst = container_of(out, struct circuit_listener, out);

	lst->told = true;
	circuit_listener_put(lst);
}

static void listener_answered(struct circuit_out *out)
{
	circuit_listener_put(container_of(out, struct circuit_listener, answer));
}

/**
 * circuit_listener_create - make a listener
 * @line: its line
 * @ep: its endpoint
 * @what: what to publish; the backlog is filled in later
 *
 * Return: a listener with one reference, or NULL.
 */
struct circuit_listener *circuit_listener_create(struct circuit_line *line, struct circuit_ep *ep,
						 const struct circuit_sig_listen *what)
{
	struct circuit_listener *lst = kzalloc(sizeof(*lst), GFP_KERNEL);

	if (!lst)
		return NULL;
	refcount_set(&lst->refs, 1);
	refcount_inc(&line->ref);
	lst->line = line;
	lst->ep = ep;
	lst->what = *what;
	spin_lock_init(&lst->lock);
	INIT_LIST_HEAD(&lst->queue);
	INIT_LIST_HEAD(&lst->deferred);
	timer_setup(&lst->patience, listener_patience, 0);
	INIT_LIST_HEAD(&lst->out.node);
	INIT_LIST_HEAD(&lst->answer.node);
	lst->out.sent = listener_sent;
	lst->answer.sent = listener_answered;
	return lst;
}

/**
 * circuit_listener_post - ask the operator to publish a listener, or to change its backlog
 * @lst: the listener
 * @backlog: calls that may wait in its queue, at least 1
 *
 * What is asked after that is answered after that.
 *
 * Return: 0, or -ENOMEM, and then the listener is of no use.
 */
int circuit_listener_post(struct circuit_listener *lst, u32 backlog)
{
	struct circuit_line *line = lst->line;
	struct sock *sk = lst->ep->sk;
	struct circuit_sig *msg = &lst->out.msg;
	bool first = !lst->ref, queued;
	int err;

	if (first) {
		err = xa_alloc_cyclic_bh(&line->listeners, &lst->ref, lst, xa_limit_31b,
					 &line->next_listener, GFP_KERNEL);
		if (err < 0)
			return -ENOMEM;
		refcount_inc(&lst->refs);
	}
	/* An earlier one that was given up may still wait to be sent: send this instead. */
	spin_lock_bh(&line->tx_lock);
	queued = !list_empty(&lst->out.node);
	lst->backlog = backlog;
	lst->decided = false;
	msg->type = CIRCUIT_SIG_LISTEN;
	msg->ref = lst->ref;
	WRITE_ONCE(lst->what.tx_size, circuit_ep_wish(sk, SOCK_SNDBUF_LOCK, sk->sk_sndbuf));
	WRITE_ONCE(lst->what.rx_size, circuit_ep_wish(sk, SOCK_RCVBUF_LOCK, sk->sk_rcvbuf));
	msg->listen = lst->what;
	msg->listen.backlog = backlog;
	spin_unlock_bh(&line->tx_lock);
	if (!queued) {
		refcount_inc(&lst->refs);
		circuit_line_post(line, &lst->out);
	}
	return 0;
}

/**
 * circuit_listener_publish - publish a listener, or change its backlog
 * @lst: the listener
 * @backlog: calls that may wait in its queue, at least 1
 *
 * Sleeps until the operator has answered.
 *
 * Return: 0, what the operator said, -EINTR if killed, -ETIMEDOUT, -ENETDOWN or
 * -ENOMEM. After a failure of the first call the listener is of no use.
 */
int circuit_listener_publish(struct circuit_listener *lst, u32 backlog)
{
	struct circuit_line *line = lst->line;
	long left;
	int err;

	err = circuit_listener_post(lst, backlog);
	if (err)
		return err;
	left = wait_event_killable_timeout(line->wait, smp_load_acquire(&lst->decided) ||
					   !circuit_line_up(line), LISTEN_TIMEOUT);
	if (lst->decided)
		return lst->error;
	if (!circuit_line_up(line))
		return -ENETDOWN;
	return left < 0 ? -EINTR : -ETIMEDOUT;
}

/**
 * circuit_listener_add - a call has come in
 * @lst: its listener, in the line's table
 * @c: the circuit; its reference is consumed
 *
 * Context: the tasklet.
 *
 * Return: false if the listener was closed meanwhile, and then the reference is not consumed.
 */
bool circuit_listener_add(struct circuit_listener *lst, struct circuit *c)
{
	unsigned long patience = 0;
	bool ready;

	if (lst->what.flags & CIRCUIT_SIG_IP && lst->what.type == CIRCUIT_SIG_STREAM)
		patience = circuit_inet_deferral(lst->ep->sk);
	spin_lock_bh(&lst->lock);
	if (lst->closed) {
		spin_unlock_bh(&lst->lock);
		return false;
	}
	/* What is said after it is armed is told. */
	if (patience)
		circuit_rx_arm(&c->rx, 1);
	ready = !patience || has_said(c);
	if (ready) {
		listener_queue(lst, c);
	} else {
		c->patience = jiffies + patience;
		WRITE_ONCE(c->deferred, lst);
		list_add_tail(&c->queue, &lst->deferred);
		if (!timer_reduce(&lst->patience, c->patience))
			refcount_inc(&lst->refs);
	}
	spin_unlock_bh(&lst->lock);
	if (ready)
		listener_wake(lst);
	return true;
}

/**
 * circuit_listener_look - something has happened to a circuit that is nobody's yet
 * @c: the circuit
 *
 * If its listener has it wait for what it says, that may be over.
 *
 * Context: any but hard interrupt, under RCU.
 */
void circuit_listener_look(struct circuit *c)
{
	struct circuit_listener *lst = READ_ONCE(c->deferred);
	bool wake = false;

	if (!lst || !has_said(c))
		return;
	spin_lock_bh(&lst->lock);
	if (c->deferred) {
		listener_queue(lst, c);
		wake = true;
	}
	spin_unlock_bh(&lst->lock);
	if (wake)
		listener_wake(lst);
}

/**
 * circuit_listener_close - withdraw a listener
 * @lst: the listener; its endpoint's reference is consumed
 *
 * Calls in its queue are reset.
 *
 * Context: process.
 */
void circuit_listener_close(struct circuit_listener *lst)
{
	struct circuit_line *line = lst->line;
	struct circuit *c;
	bool unsent, told;

	spin_lock_bh(&lst->lock);
	lst->closed = true;
	list_for_each_entry(c, &lst->deferred, queue)
		WRITE_ONCE(c->deferred, NULL);
	list_splice_tail_init(&lst->deferred, &lst->queue);
	spin_unlock_bh(&lst->lock);
	if (compat_timer_delete_sync(&lst->patience))
		circuit_listener_put(lst);
	if (lst->ref) {
		if (xa_cmpxchg_bh(&line->listeners, lst->ref, lst, NULL, GFP_KERNEL) == lst)
			circuit_listener_put(lst);
		spin_lock_bh(&line->tx_lock);
		/* A LISTEN that never left needs no UNLISTEN, but its answer is not known. */
		unsent = !list_empty(&lst->out.node);
		if (unsent)
			list_del_init(&lst->out.node);
		told = lst->told;
		if (!list_empty(&lst->answer.node)) {
			list_del_init(&lst->answer.node);
			refcount_dec(&lst->refs);
		}
		spin_unlock_bh(&line->tx_lock);
		if (unsent)
			circuit_listener_put(lst);
		if (told && (!lst->decided || !lst->error)) {
			memset(&lst->out.msg, 0, sizeof(lst->out.msg));
			lst->out.msg.type = CIRCUIT_SIG_UNLISTEN;
			lst->out.msg.ref = lst->ref;
			refcount_inc(&lst->refs);
			circuit_line_post(line, &lst->out);
		}
	}
	while ((c = list_first_entry_or_null(&lst->queue, struct circuit, queue))) {
		list_del_init(&c->queue);
		circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		circuit_put(c);
	}
	/* The tasklet may still look at the listener and the endpoint: both are freed by RCU. */
	circuit_listener_put(lst);
}

/**
 * circuit_listener_pop - take the oldest circuit from the accept queue
 * @lst: the listener
 *
 * The operator learns that there is room: at once if half of the backlog has been
 * answered, otherwise with the next message or a little later.
 *
 * Context: process.
 *
 * Return: the circuit with the queue's reference, or NULL.
 */
struct circuit *circuit_listener_pop(struct circuit_listener *lst)
{
	struct circuit_line *line = lst->line;
	struct circuit *c;
	bool post;

	spin_lock_bh(&lst->lock);
	c = list_first_entry_or_null(&lst->queue, struct circuit, queue);
	if (c) {
		list_del_init(&c->queue);
		lst->queued--;
	}
	spin_unlock_bh(&lst->lock);
	if (!c)
		return NULL;

	spin_lock_bh(&line->tx_lock);
	lst->answered++;
	post = list_empty(&lst->answer.node);
	if (post) {
		lst->answer.msg.type = CIRCUIT_SIG_ANSWER;
		lst->answer.msg.ref = lst->ref;
		lst->answer.msg.answer.count = 0;
	}
	lst->answer.msg.answer.count++;
	lst->answer.lazy = lst->answered * 2 < lst->backlog;
	if (!lst->answer.lazy)
		lst->answered = 0;
	spin_unlock_bh(&line->tx_lock);
	if (post) {
		refcount_inc(&lst->refs);
		circuit_line_post(line, &lst->answer);
	}
	return c;
}
