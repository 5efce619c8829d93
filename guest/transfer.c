// SPDX-License-Identifier: GPL-2.0
/*
 * Between user memory and rings: waiting for data and for room.
 *
 * Each direction is served under its own mutex, which is let go of while asleep.
 *
 * Being woken costs the far end a doorbell, and this one an interrupt and a few VM
 * exits. So a side first spins for up to as long as that takes, as measured: at worst
 * it wastes as much again as it could have saved. It does so less and less while it
 * turns out to be in vain, and not at all if anybody else wants the processor.
 *
 * A side that is about to sleep arms its event and looks again (pair R3 of
 * linux/circuit_ring.h); the far end then raises a mark when it passes the event,
 * and the tasklet wakes the socket.
 */
#include <linux/module.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "trace.h"
#include "transfer.h"

#define BACKOFF_MAX	8	/* vain attempts before spinning ends */

static unsigned int spin_doorbells = 6;
module_param(spin_doorbells, uint, 0644);
MODULE_PARM_DESC(spin_doorbells, "spin before sleeping for as long as so many doorbells take");

/* The longest it pays to spin on this circuit, in ns. */
static u64 spin_max(const struct circuit *c)
{
	return (u64)READ_ONCE(c->line->door_ns) * min(READ_ONCE(spin_doorbells), 1000u);
}

/* Likewise, for data, which the socket's user may have said, too (SO_BUSY_POLL). */
static u64 rx_spin_max(const struct sock *sk, const struct circuit *c)
{
	u64 max = spin_max(c);

#ifdef CONFIG_NET_RX_BUSY_POLL
	max = max(max, (u64)READ_ONCE(sk->sk_ll_usec) * NSEC_PER_USEC);
#endif
	return max;
}

/*
 * Spin until the free-running index *@word has got to or beyond @goal, for at most
 * @max ns less what @backoff takes off, or until @over. Returns true if it has.
 */
static bool spin(struct circuit_ep *ep, const u32 *word, u32 goal, u64 max, u8 *backoff,
		 bool (*over)(struct circuit_ep *ep))
{
	u64 end;

	if (!max || *backoff >= BACKOFF_MAX)
		return false;
	end = local_clock() + (max >> *backoff);
	do {
		if ((s32)(READ_ONCE(*word) - goal) >= 0) {
			*backoff = 0;
			return true;
		}
		if (need_resched() || signal_pending(current) || READ_ONCE(ep->sk->sk_err) ||
		    (over && over(ep)))
			return false;
		cpu_relax();
	} while (local_clock() < end);
	++*backoff;
	return false;
}

/* After a sleep of @ns: would spinning have been better? */
static void spin_learn(u64 ns, u64 max, u8 *backoff)
{
	if (ns < max)
		*backoff = 0;
}

/* None of the ancillary data means anything here; what TCP would ignore is ignored. */
static int check_control(struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for_each_cmsghdr(cmsg, msg) {
		if (!CMSG_OK(msg, cmsg))
			return -EINVAL;
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type != SCM_RIGHTS &&
		    cmsg->cmsg_type != SCM_CREDENTIALS)
			return -EINVAL;
	}
	return 0;
}

/* Wait until a call in progress is decided, as sk_stream_wait_connect(). */
static int wait_connect(struct circuit_ep *ep, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;
	int err = 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (READ_ONCE(ep->state) == TCP_SYN_SENT) {
		err = -EAGAIN;
		if (!*timeo)
			break;
		err = sock_intr_errno(*timeo);
		if (signal_pending(current))
			break;
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
		err = 0;
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}

/**
 * circuit_tx_told - tell the far end of what it is owed, if anything is
 * @c: the circuit
 *
 * Context: process or bottom half.
 */
void circuit_tx_told(struct circuit *c)
{
	if (READ_ONCE(c->owes) && xchg(&c->owes, false) && circuit_line_up(c->line))
		circuit_tell(c);
}

/**
 * circuit_tx_tell - something was written
 * @ep: the endpoint; its tx_mutex is held
 * @c: its circuit
 * @notify: what circuit_tx_publish() has said
 * @more: more follows at once, as sendmmsg() has it
 *
 * The far end is told at the end of a batch; or, should it not be the end that was announced, at
 * the next tick.
 */
void circuit_tx_tell(struct circuit_ep *ep, struct circuit *c, bool notify, bool more)
{
	if (!more) {
		if (notify)
			WRITE_ONCE(c->owes, true);
		circuit_tx_told(c);
	} else if (notify && !xchg(&c->owes, true)) {
		/* The timer takes the lock: it does not drop its reference before it has it. */
		circuit_ep_lock(ep);
		sk_reset_timer(ep->sk, &ep->timer, jiffies + 1);
		circuit_ep_unlock(ep);
	}
}

/**
 * circuit_tx_begin - what sendmsg() begins with
 * @ep: the endpoint
 * @msg: what is to be sent
 * @timeo: how long it may take, in jiffies; what is left of that
 *
 * Looks at the ancillary data, and waits until a call in progress is decided.
 *
 * Return: 0, -EINVAL, -EAGAIN, or what a signal leads to.
 */
int circuit_tx_begin(struct circuit_ep *ep, struct msghdr *msg, long *timeo)
{
	int err;

	if (unlikely(msg->msg_controllen)) {
		err = check_control(msg);
		if (err)
			return err;
	}
	return unlikely(READ_ONCE(ep->state) == TCP_SYN_SENT) ? wait_connect(ep, timeo) : 0;
}

/**
 * circuit_tx_may - how much may be written
 * @c: the circuit; its ep->tx_mutex is held
 * @room: how much room there has to be, 1 to the ring's size
 * @least: how much of it the operator has to allow, at most @room
 * @len: how much there is to write, 0 if the caller is not about to wait
 *
 * If there is room, but the operator does not allow that, it is asked for @len bytes in all.
 *
 * Return: bytes, 0 if the caller has to wait, or -EPROTO as circuit_tx_space().
 */
int circuit_tx_may(struct circuit *c, u32 room, u32 least, u32 len)
{
	int space = circuit_tx_space(&c->tx);
	u32 allowed;

	if (space < 0)
		return space;
	if (space < room)
		return 0;
	allowed = circuit_tx_allowed(c);
	if (unlikely(allowed < least && len)) {
		circuit_want(c, len);
		allowed = circuit_tx_allowed(c);
	}
	return unlikely(allowed < least) ? 0 : min_t(u32, space, allowed);
}

/**
 * circuit_tx_wait - wait until something can be written
 * @ep: the endpoint; its tx_mutex is held, and let go of meanwhile
 * @c: its circuit
 * @need: how much has to go at once, 1 to the ring's size
 * @len: how much there is to write
 * @timeo: how long, in jiffies; what is left of it
 *
 * It may return early. The circuit may have ended meanwhile.
 */
void circuit_tx_wait(struct circuit_ep *ep, struct circuit *c, u32 need, u32 len, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;
	int space = circuit_tx_space(&c->tx);
	u64 max = spin_max(c), start;

	circuit_tx_told(c);
	/* The operator does not answer as fast as the far end reads. */
	if (space >= 0 && space < need &&
	    spin(ep, &c->tx.cons->head,
		 c->tx.head + min(max(c->tx.size / 4, need - space), c->tx.size - space), max,
		 &c->tx_backoff, NULL))
		return;
	add_wait_queue(sk_sleep(sk), &wait);
	circuit_tx_watch(c, max(c->tx.size / 2, need));
	if (!circuit_tx_may(c, need, need, len) && !circuit_tx_broken(ep)) {
		trace_circuit_sock_stall(sk, c, true);
		mutex_unlock(&ep->tx_mutex);
		start = local_clock();
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
		start = local_clock() - start;
		mutex_lock(&ep->tx_mutex);
		if (ep->c == c)
			spin_learn(start, max, &c->tx_backoff);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
}

/**
 * circuit_rx_wait - wait for data
 * @ep: the endpoint; its rx_mutex is held, and let go of meanwhile
 * @c: its circuit, or NULL if its call is not decided yet
 * @skip: bytes that the caller has seen, and left where they are
 * @want: how many there have to be, 1 to the ring's size
 * @timeo: how long, in jiffies; what is left of it
 *
 * It may return early. The circuit may have ended meanwhile.
 */
void circuit_rx_wait(struct circuit_ep *ep, struct circuit *c, u32 skip, u32 want, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;
	int state = c ? TCP_ESTABLISHED : TCP_SYN_SENT;
	struct circuit_urgent urg;
	u64 max = 0, start;
	bool idle, held = false;
	int avail, flags;
	u32 off;

	if (c) {
		max = rx_spin_max(sk, c);
		/* What it may not take yet does not come by spinning. */
		if (circuit_rx_allowed(c) >= want &&
		    spin(ep, &c->rx.prod->tail, c->rx.head + want, max, &c->rx_backoff, NULL))
			return;
	}
	add_wait_queue(sk_sleep(sk), &wait);
	if (c) {
		circuit_rx_watch(c, want);
		flags = circuit_rx_flags(&c->rx);
		avail = circuit_rx_avail(&c->rx);
		if (flags >= 0)
			avail = circuit_rx_may(c, avail, &flags, &held);
		idle = avail < (int)want && !flags;
		/* Nobody reads past the mark, so nobody waits for what is behind it. */
		urg = c->urg;
		if (!c->messages && circuit_rx_urgent(&c->rx, &urg, &off) && off >= skip &&
		    (int)off < avail)
			idle = false;
	} else {
		idle = true;
	}
	if (idle && !READ_ONCE(sk->sk_err) &&
	    (held || !(READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)) &&
	    READ_ONCE(ep->state) == state) {
		if (c)
			trace_circuit_sock_stall(sk, c, false);
		mutex_unlock(&ep->rx_mutex);
		start = local_clock();
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
		start = local_clock() - start;
		mutex_lock(&ep->rx_mutex);
		if (c && ep->c == c)
			spin_learn(start, max, &c->rx_backoff);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
}

/**
 * circuit_rx_spin - wait for data for as long as it is worth, without going to sleep
 * @ep: the endpoint; its rx_mutex is held
 * @c: its circuit, in whose ring there is nothing
 * @over: is there something else to do than to wait for this?
 *
 * Who goes to sleep then and is woken calls circuit_rx_slept().
 *
 * Return: true if something has come.
 */
bool circuit_rx_spin(struct circuit_ep *ep, struct circuit *c,
		     bool (*over)(struct circuit_ep *ep))
{
	return spin(ep, &c->rx.prod->tail, c->rx.head + 1, rx_spin_max(ep->sk, c),
		    &c->rx_backoff, over);
}

/**
 * circuit_rx_slept - it was not worth it, or was it?
 * @ep: the endpoint; its rx_mutex is held
 * @c: its circuit
 * @ns: how long there was nothing to do after it was over
 */
void circuit_rx_slept(struct circuit_ep *ep, struct circuit *c, u64 ns)
{
	spin_learn(ns, rx_spin_max(ep->sk, c), &c->rx_backoff);
}

/**
 * circuit_rx_rearm - ask to be told of what is yet to come
 * @c: the circuit; its ep->rx_mutex is held
 * @seen: how many bytes the caller knows of
 *
 * Return: true if more has come already, so that nobody will tell.
 */
bool circuit_rx_rearm(struct circuit *c, u32 seen)
{
	int flags, avail;

	circuit_rx_watch(c, seen + 1);
	/* Data after flags, or FIN might be taken for the end before the last of it. */
	flags = circuit_rx_flags(&c->rx);
	avail = circuit_rx_avail(&c->rx);
	if (unlikely(avail > 0 && avail > circuit_rx_allowed(c)))
		return circuit_rx_allowed(c) > seen || flags < 0 ||
		       flags & CIRCUIT_TX_RST;	/* circuit_ep_allowed() will tell of the rest */
	return avail != seen || flags;
}

/* Does somebody wait for edges, who will not look again by himself? */
static bool rx_watched(struct sock *sk)
{
	struct socket_wq *wq;
	bool ret;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	ret = skwq_has_sleeper(wq) || (wq && wq->fasync_list);
	rcu_read_unlock();
	return ret;
}

/**
 * circuit_rx_rewatch - something was read: see to it that those who wait for edges hear of more
 * @ep: the endpoint; its rx_mutex is held
 */
void circuit_rx_rewatch(struct circuit_ep *ep)
{
	struct sock *sk = ep->sk;
	struct circuit *c;

	if (!rx_watched(sk))
		return;
	c = circuit_ep_rings(ep);
	if (c && !c->rx_mapped && circuit_rx_rearm(c, c->rx.tail - c->rx.head))
		sk->sk_data_ready(sk);
}
