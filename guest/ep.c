// SPDX-License-Identifier: GPL-2.0
/*
 * Endpoints: what makes a socket, of whichever family, an end of circuits.
 *
 * States are TCP's, as far as they can be told apart from outside: TCP_CLOSE,
 * TCP_SYN_SENT, TCP_ESTABLISHED, TCP_LISTEN. What the far end and the operator do
 * arrives in the tasklet, which changes the state, sk_err and sk_shutdown under
 * sk_lock.slock and wakes whoever waits; see guest.h for the order of locks.
 *
 * close() needs no lingering: what was written is in memory that the far end can
 * read until it hangs up as well, so HANGUP goes out at once. SO_LINGER with a
 * timeout waits for the far end to have read everything: between guests that is more
 * than TCP promises, over a trunk the reader is the operator, who has given it to TCP.
 */
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <net/tcp_states.h>
#include "guest.h"
#include "trace.h"

static unsigned int call_timeout = 127;
module_param(call_timeout, uint, 0644);
MODULE_PARM_DESC(call_timeout, "seconds before an unanswered call fails with ETIMEDOUT");

/* Nobody answered the call in time; or a batch had no end. */
static void call_timer(struct timer_list *t)
{
	struct circuit_ep *ep = compat_from_timer(ep, t, timer);
	struct sock *sk = ep->sk;
	struct circuit *c;

	circuit_ep_lock(ep);
	if (ep->c)
		circuit_tx_told(ep->c);
	/* If it is pending again, then for another call. */
	c = timer_pending(&ep->timer) ? NULL : ep->call;
	if (c)
		circuit_get(c);
	circuit_ep_unlock(ep);
	if (c) {
		if (circuit_cancel(c))
			circuit_ep_refused(ep, c, ETIMEDOUT, CIRCUIT_REASON_TIMEOUT);
		circuit_put(c);
	}
	sock_put(sk);
}

/**
 * circuit_ep_init - make an endpoint
 * @ep: the memory for it, zeroed
 * @sk: its socket, of which a reference is consumed
 * @free: what to do when it has had its day; RCU readers may still look at it then
 */
void circuit_ep_init(struct circuit_ep *ep, struct sock *sk, void (*free)(struct circuit_ep *ep))
{
	refcount_set(&ep->ref, 1);
	ep->free = free;
	ep->sk = sk;
	ep->state = TCP_CLOSE;
	init_completion(&ep->decided);
	timer_setup(&ep->timer, call_timer, 0);
	mutex_init(&ep->tx_mutex);
	mutex_init(&ep->rx_mutex);
}

/* The connection has ended, by an error unless that is 0. slock is held. */
static void ep_end(struct circuit_ep *ep, int err, u32 reason)
{
	struct circuit *c = ep->c;

	ep->reason = reason;
	trace_circuit_sock_ended(ep->sk, err, reason);
	if (c) {
		c->rx_final = READ_ONCE(c->rx.prod->tail);
		smp_store_release(&c->ended, true);	/* pairs with circuit_rx_may() */
	}
	if (ep->soft) {
		ep->error = err;
	} else {
		WRITE_ONCE(ep->sk->sk_err, err);
		WRITE_ONCE(ep->sk->sk_shutdown, SHUTDOWN_MASK);
	}
	/* As in tcp_reset(): the error is there before the state says so. */
	smp_store_release(&ep->state, TCP_CLOSE);
	complete_all(&ep->decided);
}

/* Tell who waits that the connection has ended. */
static void ep_ended(struct circuit_ep *ep)
{
	if (!ep->soft)
		sk_error_report(ep->sk);
	if (ep->moved)
		ep->moved(ep);
	ep->sk->sk_state_change(ep->sk);
}

/* Rings are what buffers are to TCP, and SO_*BUF tells the size as it does there. */
static void ep_established(struct circuit_ep *ep, struct circuit *c)
{
	trace_circuit_sock_connected(ep->sk, c);
	if (!ep->soft) {
		ep->sk->sk_sndbuf = 2 * c->tx.size;
		ep->sk->sk_rcvbuf = 2 * c->rx.size;
	}
	smp_store_release(&ep->c, c);
	smp_store_release(&ep->state, TCP_ESTABLISHED);
	complete_all(&ep->decided);
}

/**
 * circuit_ep_connected - a call was answered
 * @ep: its endpoint, valid under RCU
 * @c: the circuit, set up
 *
 * Context: the tasklet.
 *
 * Return: false if the socket no longer wants it.
 */
bool circuit_ep_connected(struct circuit_ep *ep, struct circuit *c)
{
	bool wanted;

	circuit_ep_lock(ep);
	wanted = ep->call == c;
	if (wanted) {
		ep->call = NULL;
		/* Before anybody knows: who sends at once may set it, see circuit_tx_tell(). */
		sk_stop_timer(ep->sk, &ep->timer);
		WRITE_ONCE(c->ep, ep);
		ep_established(ep, c);
	}
	circuit_ep_unlock(ep);
	if (wanted) {
		if (ep->tell)
			ep->tell(ep, c);
		ep->sk->sk_state_change(ep->sk);
		sk_wake_async(ep->sk, SOCK_WAKE_IO, POLL_OUT);
	}
	return wanted;
}

/**
 * circuit_ep_refused - a call was refused
 * @ep: its endpoint, valid under RCU
 * @c: the call
 * @err: positive errno
 * @reason: enum circuit_reason
 *
 * Context: the tasklet or process.
 */
void circuit_ep_refused(struct circuit_ep *ep, struct circuit *c, int err, u32 reason)
{
	bool wanted;

	circuit_ep_lock(ep);
	wanted = ep->call == c;
	if (wanted) {
		ep->call = NULL;
		sk_stop_timer(ep->sk, &ep->timer);
		ep_end(ep, err, reason);
	}
	circuit_ep_unlock(ep);
	if (wanted) {
		ep_ended(ep);
		circuit_put(c);
	}
}

/**
 * circuit_ep_verdict - the operator says what it makes of a call to an IP address
 * @ep: its endpoint, valid under RCU
 * @c: the call
 * @native: the call is none of its; otherwise it waits for the listener
 * @reason: enum circuit_reason
 *
 * Context: the tasklet.
 */
void circuit_ep_verdict(struct circuit_ep *ep, struct circuit *c, bool native, u32 reason)
{
	bool wanted;

	circuit_ep_lock(ep);
	wanted = ep->call == c;
	if (wanted) {
		ep->reason = reason;
		ep->native = native;
		if (native) {
			ep->call = NULL;
			sk_stop_timer(ep->sk, &ep->timer);
			WRITE_ONCE(ep->state, TCP_CLOSE);
		}
		complete_all(&ep->decided);
	}
	circuit_ep_unlock(ep);
	if (wanted) {
		ep->sk->sk_state_change(ep->sk);
		if (native)
			circuit_put(c);
	}
}

/**
 * circuit_ep_fail - a call has come to nothing before it was one
 * @ep: the endpoint, closed; its socket is owned
 * @err: positive errno, which the socket gets as if the call had been refused
 * @reason: enum circuit_reason
 */
void circuit_ep_fail(struct circuit_ep *ep, int err, u32 reason)
{
	circuit_ep_lock(ep);
	ep_end(ep, err, reason);
	circuit_ep_unlock(ep);
}

/**
 * circuit_ep_reset - a connection was cut off
 * @ep: its endpoint, valid under RCU
 * @c: the circuit
 * @err: positive errno
 * @reason: enum circuit_reason
 *
 * What is in the ring can still be read, as with TCP.
 *
 * Context: any but hard interrupt.
 */
void circuit_ep_reset(struct circuit_ep *ep, struct circuit *c, int err, u32 reason)
{
	bool done;
	u32 flags;

	circuit_ep_lock(ep);
	done = READ_ONCE(ep->c) != c || ep->state == TCP_CLOSE;
	if (!done) {
		/*
		 * After the far end's FIN, TCP calls it a broken pipe. Where the line has gone there is a
		 * page instead of the ring, in which others may have written.
		 */
		flags = circuit_line_up(c->line) ? READ_ONCE(c->rx.prod->flags) : c->seen_flags;
		if (err == ECONNRESET && flags & CIRCUIT_TX_FIN)
			err = EPIPE;
		ep_end(ep, err, reason);
	}
	circuit_ep_unlock(ep);
	if (!done)
		ep_ended(ep);
}

/**
 * circuit_ep_kill - the far end broke the ring's rules
 * @ep: the endpoint
 * @c: its circuit
 *
 * Context: process or bottom half.
 */
void circuit_ep_kill(struct circuit_ep *ep, struct circuit *c)
{
	pr_warn_ratelimited("circuit: circuit %u: line %s broke the ring's rules, reset\n",
			    c->index, c->peer);
	circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_VIOLATION);
}

/**
 * circuit_ep_unlistened - the line went down under a listener
 * @ep: its endpoint, valid under RCU
 *
 * Context: any but hard interrupt.
 */
void circuit_ep_unlistened(struct circuit_ep *ep)
{
	circuit_ep_lock(ep);
	if (ep->overlay) {
		ep->reason = CIRCUIT_REASON_LINE_DELETED;
		WRITE_ONCE(ep->state, TCP_CLOSE);
		circuit_ep_unlock(ep);
		return;
	}
	ep_end(ep, ENETDOWN, CIRCUIT_REASON_LINE_DELETED);
	circuit_ep_unlock(ep);
	sk_error_report(ep->sk);
	ep->sk->sk_state_change(ep->sk);
}

/**
 * circuit_ep_leave_rings - wait for those at work in a socket's rings, and take them from those who
 * mapped them
 * @ep: the endpoint, referenced
 * @c: its circuit, or what was; its line is down, or it may not be mapped
 *
 * Context: process.
 */
void circuit_ep_leave_rings(struct circuit_ep *ep, const struct circuit *c)
{
	bool lost;

	mutex_lock(&ep->tx_mutex);
	mutex_lock(&ep->rx_mutex);
	lost = ep->c == c && circuit_map_lose(ep->c);
	mutex_unlock(&ep->rx_mutex);
	mutex_unlock(&ep->tx_mutex);
	/* The kernel goes by its own indices now, and has to arm them for who sleeps in poll(). */
	if (lost)
		ep->sk->sk_state_change(ep->sk);
}

/*
 * What a process has left behind that had the circuit mapped is the kernel's, or resets the
 * connection.
 */
static void ep_take_back(struct circuit_ep *ep)
{
	struct circuit *c;

	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (c)
		circuit_tx_ours(ep, c);
	mutex_unlock(&ep->tx_mutex);
	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c)
		circuit_rx_ours(ep, c);
	mutex_unlock(&ep->rx_mutex);
}

/* Act upon what the far end said about the stream as a whole. */
static void ep_flags(struct circuit_ep *ep, struct circuit *c, u32 flags)
{
	struct sock *sk = ep->sk;

	if (flags & ~(CIRCUIT_TX_FLAGS | CIRCUIT_RX_CLOSED << 16)) {
		circuit_ep_kill(ep, c);
		return;
	}
	/* Nothing comes any more, or goes: the socket has no use for it. */
	if (ep->soft && flags) {
		c->seen_flags = flags;
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		return;
	}
	if (flags & CIRCUIT_TX_FIN && !(c->seen_flags & CIRCUIT_TX_FIN)) {
		circuit_ep_lock(ep);
		if (ep->c == c)
			WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
		circuit_ep_unlock(ep);
	}
	c->seen_flags = flags;
	/* Closed for good with something of ours unread is a RST in TCP's eyes. */
	if (flags & CIRCUIT_TX_RST || circuit_tx_lost(&c->tx, circuit_tx_tail_at(c))) {
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		return;
	}
	sk->sk_state_change(sk);
	if (flags & CIRCUIT_TX_FIN)
		sk_wake_async(sk, SOCK_WAKE_WAITD, POLL_IN);
}

static void ep_write_space(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

/**
 * circuit_ep_urgent - the far end has sent urgent data
 * @ep: the endpoint
 * @c: its circuit
 * @mark: index after the urgent byte
 *
 * Urgent data may follow urgent data: the mark tells, not the flag. Whoever sees it first,
 * a reader or the tasklet, sends the signal; and who is told that it is no news can rely on
 * the signal having been sent, since its handler wants to find the urgent byte.
 *
 * Context: process or bottom half.
 *
 * Return: true if it is news.
 */
bool circuit_ep_urgent(struct circuit_ep *ep, struct circuit *c, u32 mark)
{
	struct sock *sk = ep->sk;
	u64 seen = BIT_ULL(32) | mark;
	bool news;

	if (smp_load_acquire(&c->seen_urgent) == seen)
		return false;
	circuit_ep_lock(ep);
	news = c->seen_urgent != seen;
	if (news) {
		/* The file goes after sock_orphan(). */
		read_lock(&sk->sk_callback_lock);
		sk_send_sigurg(sk);
		read_unlock(&sk->sk_callback_lock);
		smp_store_release(&c->seen_urgent, seen);
	}
	circuit_ep_unlock(ep);
	return news;
}

/**
 * circuit_ep_attention - the far end has moved
 * @c: the circuit
 *
 * Wakes those, and only those, for whom something has changed; what exactly, they
 * find out by themselves.
 *
 * Context: the tasklet.
 */
void circuit_ep_attention(struct circuit *c)
{
	struct circuit_ep *ep = READ_ONCE(c->ep);
	u32 flags, tail, head;

	if (!ep) {
		circuit_listener_look(c);
		return;
	}
	c->wakeups++;
	/* Flags before the tail, so that a FIN is not seen before the data. */
	flags = virt_load_acquire(&c->rx.prod->flags) |
		READ_ONCE(c->tx.cons->flags) << 16;
	tail = READ_ONCE(c->rx.prod->tail);
	head = READ_ONCE(c->tx.cons->head);
	/* Before the data, which a reader would otherwise have read when he hears of it. */
	if (flags & CIRCUIT_TX_URG && !c->messages &&
	    circuit_ep_urgent(ep, c, READ_ONCE(c->rx.prod->urgent)) && tail == c->seen_tail)
		ep->sk->sk_data_ready(ep->sk);
	if (tail != c->seen_tail) {
		c->seen_tail = tail;
		if (ep->moved)
			ep->moved(ep);
		ep->sk->sk_data_ready(ep->sk);
	}
	if (flags != c->seen_flags)
		ep_flags(ep, c, flags);
	if (head != c->seen_head) {
		c->seen_head = head;
		ep_write_space(ep->sk);
	}
}

/**
 * circuit_ep_allowed - the operator allows something
 * @c: the circuit
 *
 * Context: the tasklet.
 */
void circuit_ep_allowed(struct circuit *c)
{
	struct circuit_ep *ep = READ_ONCE(c->ep);

	if (!ep)
		return;
	if (ep->moved)
		ep->moved(ep);
	ep->sk->sk_data_ready(ep->sk);
	ep_write_space(ep->sk);
}

/**
 * circuit_ep_call - place a call
 * @ep: an endpoint that is closed; its socket is owned
 * @line: the line to call through
 * @call: whom to call; ring sizes are filled in as the socket's options say
 *
 * What an earlier connection has left behind is cleared.
 *
 * Return: 0, and the state tells what becomes of the call; -ENOMEM, or -ENETDOWN if
 * the line goes down.
 */
int circuit_ep_call(struct circuit_ep *ep, struct circuit_line *line,
		    struct circuit_sig_call *call)
{
	struct sock *sk = ep->sk;
	struct circuit *c;
	int err;

	c = circuit_alloc(line, GFP_KERNEL);
	if (!c)
		return -ENOMEM;
	circuit_ep_disconnect(ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
	circuit_ep_lock(ep);
	if (!ep->soft) {
		sk->sk_shutdown = 0;
		sk->sk_err = 0;
	}
	ep->reason = CIRCUIT_REASON_NONE;
	reinit_completion(&ep->decided);
	ep->native = false;
	ep->call = circuit_get(c);
	ep->state = TCP_SYN_SENT;
	sk_reset_timer(sk, &ep->timer, jiffies + min(call_timeout, 86400u) * HZ);
	circuit_ep_unlock(ep);

	call->tx_size = circuit_ep_wish(sk, SOCK_SNDBUF_LOCK, sk->sk_sndbuf) ?: call->tx_size;
	call->rx_size = circuit_ep_wish(sk, SOCK_RCVBUF_LOCK, sk->sk_rcvbuf) ?: call->rx_size;
	err = circuit_place(c, ep, call);
	if (err)
		circuit_ep_refused(ep, c, -err, CIRCUIT_REASON_NO_MEMORY);
	circuit_put(c);
	return err;
}

/**
 * circuit_ep_wait - wait until a call is decided
 * @ep: the endpoint; its socket is owned, and let go of meanwhile
 * @timeo: how long, in jiffies
 *
 * Return: what is left of @timeo.
 */
long circuit_ep_wait(struct circuit_ep *ep, long timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;

	add_wait_queue(sk_sleep(sk), &wait);
	while (READ_ONCE(ep->state) == TCP_SYN_SENT) {
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
		if (signal_pending(current) || !timeo)
			break;
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return timeo;
}

/**
 * circuit_ep_adopt - take up a circuit that waited to be accepted
 * @ep: a new endpoint
 * @c: the circuit; the queue's reference is consumed
 */
void circuit_ep_adopt(struct circuit_ep *ep, struct circuit *c)
{
	/* Who maps it is found by it. */
	circuit_ep_lock(ep);
	WRITE_ONCE(c->ep, ep);
	ep_established(ep, c);
	circuit_ep_unlock(ep);
	if (ep->tell)
		ep->tell(ep, c);
	smp_mb();	/* pairs with the one in sig_reset() */
	if (READ_ONCE(c->reason))
		circuit_ep_reset(ep, c, ECONNRESET, c->reason);
	/* Whatever happened while the circuit was nobody's: have it looked at. */
	rcu_read_lock();	/* circuit_line_detach() waits before it kills the tasklet */
	if (circuit_line_up(c->line)) {
		circuit_attn_raise(c->line->attn_in, c->index);
		tasklet_schedule(&c->line->tasklet);
	}
	rcu_read_unlock();
}

/**
 * circuit_ep_disconnect - give a connection or call up
 * @ep: the endpoint; its socket is owned, or nobody else can have it
 * @flags: CIRCUIT_TX_* to leave for the far end
 * @reason: as for circuit_hangup()
 */
void circuit_ep_disconnect(struct circuit_ep *ep, u32 flags, enum circuit_reason reason)
{
	struct circuit *call, *c;

	circuit_ep_lock(ep);
	call = ep->call;
	ep->call = NULL;
	smp_store_release(&ep->state, TCP_CLOSE);
	sk_stop_timer(ep->sk, &ep->timer);
	circuit_ep_unlock(ep);
	if (call) {
		/* If this is too late, the tasklet finds the call unwanted. */
		circuit_cancel(call);
		circuit_put(call);
	}

	mutex_lock(&ep->tx_mutex);
	mutex_lock(&ep->rx_mutex);
	c = ep->c;
	circuit_ep_lock(ep);
	WRITE_ONCE(ep->c, NULL);
	circuit_ep_unlock(ep);
	if (c) {
		circuit_map_lose(c);	/* before others may have it */
		if (circuit_line_up(c->line))
			circuit_tx_ours(ep, c);	/* which clears what was not published */
		circuit_hangup(c, flags, reason);
		circuit_put(c);
	}
	mutex_unlock(&ep->rx_mutex);
	mutex_unlock(&ep->tx_mutex);
	sk_stop_timer(ep->sk, &ep->timer);	/* whoever was writing may have set it */
}

/**
 * circuit_ep_unlisten - withdraw an endpoint's listener, if it has one
 * @ep: the endpoint; its socket is owned
 */
void circuit_ep_unlisten(struct circuit_ep *ep)
{
	struct circuit_listener *lst = ep->lst;

	/* Out of poll()'s sight before it is freed. */
	WRITE_ONCE(ep->lst, NULL);
	if (lst)
		circuit_listener_close(lst);
}

/* Nothing follows; tx_mutex is held, so no writer is at work. */
static void ep_fin(struct circuit_ep *ep)
{
	struct circuit *c = circuit_ep_rings(ep);

	if (!c || ep->state == TCP_CLOSE || c->tx_flags & CIRCUIT_TX_FIN)
		return;
	circuit_tx_flag(&c->tx, CIRCUIT_TX_FIN, c->tx_flags);
	c->tx_flags |= CIRCUIT_TX_FIN;
	circuit_line_notify(c->line, c->index);
}

/**
 * circuit_ep_shutdown - shutdown() of a connection, or of what was one
 * @ep: the endpoint; its socket is owned
 * @how: RCV_SHUTDOWN, SEND_SHUTDOWN or both
 */
void circuit_ep_shutdown(struct circuit_ep *ep, int how)
{
	struct sock *sk = ep->sk;

	/* FIN follows the last byte: wait for a writer at work. */
	mutex_lock(&ep->tx_mutex);
	if (how & SEND_SHUTDOWN)
		ep_fin(ep);
	circuit_ep_lock(ep);
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
	circuit_ep_unlock(ep);
	mutex_unlock(&ep->tx_mutex);
}

static void ep_linger(struct circuit_ep *ep)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;
	long timeo = sk->sk_lingertime;

	mutex_lock(&ep->tx_mutex);
	ep_fin(ep);
	mutex_unlock(&ep->tx_mutex);
	add_wait_queue(sk_sleep(sk), &wait);
	while (timeo && !circuit_stream_drained(ep) && ep->state == TCP_ESTABLISHED &&
	       !signal_pending(current)) {
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
}

/**
 * circuit_ep_close - close() of an endpoint
 * @ep: the endpoint; its socket is owned
 */
void circuit_ep_close(struct circuit_ep *ep)
{
	struct sock *sk = ep->sk;
	u32 flags = CIRCUIT_TX_FIN;

	circuit_ep_unlisten(ep);
	if (ep->c && sk->sk_type != SOCK_DGRAM) {
		ep_take_back(ep);
		/*
		 * As tcp_close(): unread data, or linger of zero, is an abort. And what was
		 * reset has no orderly end, even if the far side is not told by others yet.
		 */
		if (ep->state == TCP_CLOSE || circuit_stream_unread(ep) ||
		    (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime))
			flags = CIRCUIT_TX_RST;
		else if (sock_flag(sk, SOCK_LINGER) && !(current->flags & PF_EXITING))
			ep_linger(ep);
	}
	circuit_ep_disconnect(ep, flags, CIRCUIT_REASON_NONE);
	sk->sk_shutdown = SHUTDOWN_MASK;
}

/**
 * circuit_ep_getsockopt - getsockopt() at level SOL_CIRCUIT
 * @ep: the endpoint
 * @optname: CIRCUIT_SO_*
 * @optval: where to
 * @optlen: how much at most, and how much it is
 *
 * Return: 0, -ENOTCONN if there is no circuit, -ENOPROTOOPT, -EINVAL or -EFAULT.
 */
int circuit_ep_getsockopt(struct circuit_ep *ep, int optname, char __user *optval, int __user *optlen)
{
	struct circuit_info info = {};
	struct circuit *c;
	u32 reason;
	void *val;
	int len;

	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	lock_sock(ep->sk);
	reason = ep->reason;
	c = ep->c;
	if (c) {
		info.index = c->index;
		info.end = c->end;
		info.reason = reason;
		info.tx_size = c->tx.size;
		info.rx_size = c->rx.size;
		info.tx_doorbells = READ_ONCE(c->doorbells);
		info.rx_wakeups = READ_ONCE(c->wakeups);
		/* What is told of indices is checked, unless a process has them. */
		ep_take_back(ep);
		mutex_lock(&ep->tx_mutex);
		mutex_lock(&ep->rx_mutex);
		info.mapped = circuit_map_state(c);
		if (!(c->tx_mapped || c->rx_mapped) || circuit_ep_rings(ep)) {
			info.tx_bytes = circuit_tx_total(c);
			info.rx_bytes = circuit_rx_total(c);
			info.tx_tail = circuit_tx_tail(c);
			info.rx_head = circuit_rx_head(c);
		}
		mutex_unlock(&ep->rx_mutex);
		mutex_unlock(&ep->tx_mutex);
	}
	release_sock(ep->sk);
	switch (optname) {
	case CIRCUIT_SO_REASON:
		val = &reason;
		len = min_t(int, len, sizeof(reason));
		break;
	case CIRCUIT_SO_INFO:
		if (!info.index)
			return -ENOTCONN;
		val = &info;
		len = min_t(int, len, sizeof(info));
		break;
	default:
		return -ENOPROTOOPT;
	}
	if (copy_to_user(optval, val, len) || put_user(len, optlen))
		return -EFAULT;
	return 0;
}
