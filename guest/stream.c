// SPDX-License-Identifier: GPL-2.0
/*
 * SOCK_STREAM: bytes between user memory and rings.
 *
 * Each direction is served under its own mutex, which is let go of while asleep:
 * as with TCP, writers that block may find each other's data in between. Data is
 * handed over in pieces, so that the far end works on one while the next is copied.
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
#include <linux/poll.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <net/tcp_states.h>
#include "guest.h"
#include "trace.h"

#define PIECE	(32u << 10)

#define BACKOFF_MAX	8	/* vain attempts before spinning ends */

static unsigned int spin_doorbells = 6;
module_param(spin_doorbells, uint, 0644);
MODULE_PARM_DESC(spin_doorbells, "spin before sleeping for as long as so many doorbells take");

/*
 * copy_from_iter() and copy_to_iter() would check, at the price of a search among
 * all vmalloc areas, that the kernel's end of the copy is one object. A span is
 * within its ring by construction, so the unchecked forms will do.
 */
static u32 copy_in(struct circuit_tx *tx, u32 len, struct iov_iter *from)
{
	struct circuit_span s = circuit_tx_span(tx, len);
	size_t n;

	n = _copy_from_iter(tx->data + s.off[0], s.len[0], from);
	if (s.len[1] && n == s.len[0])
		n += _copy_from_iter(tx->data + s.off[1], s.len[1], from);
	return n;
}

static u32 copy_out(struct circuit_rx *rx, u32 skip, u32 len, struct iov_iter *to)
{
	struct circuit_span s = circuit_rx_span(rx, skip, len);
	size_t n;

	n = _copy_to_iter(rx->data + s.off[0], s.len[0], to);
	if (s.len[1] && n == s.len[0])
		n += _copy_to_iter(rx->data + s.off[1], s.len[1], to);
	return n;
}

static void notify(struct circuit *c)
{
	c->doorbells++;
	circuit_line_notify(c->line, c->index);
}

/*
 * How much of @len bytes may be written: what there is room for, as far as the operator allows it. If that
 * is nothing though there is room, and the caller is about to wait for it, the operator is asked.
 * tx_mutex is held. Returns -EPROTO as circuit_tx_space().
 */
static int tx_room(struct circuit *c, u32 len, bool wait)
{
	int space = circuit_tx_space(&c->tx);
	u32 allowed;

	if (space <= 0)
		return space;
	allowed = circuit_tx_allowed(c);
	if (unlikely(!allowed && wait)) {
		circuit_want(c, len);
		allowed = circuit_tx_allowed(c);
	}
	return min_t(u32, space, allowed);
}

/*
 * How many of @avail bytes in the ring may be read, which is all of them unless the far end has not kept
 * to what it was allowed, or was faster than what this end is told. Then the stream has not ended, either,
 * and circuit_ep_allowed() tells when to look again.
 */
static int rx_allowed(const struct circuit *c, int avail, int *flags, bool *held)
{
	u32 allowed = circuit_rx_allowed(c);

	*held = avail > 0 && avail > allowed;
	if (likely(!*held))
		return avail;
	*flags &= ~CIRCUIT_TX_FIN;
	return allowed;
}

/* How much room makes a socket writeable to poll() again. */
static u32 tx_lowat(const struct circuit_tx *tx)
{
	return tx->size / 4;
}

/* The longest it pays to spin on this circuit, in ns. */
static u64 spin_max(const struct circuit *c)
{
	return (u64)READ_ONCE(c->line->door_ns) * min(READ_ONCE(spin_doorbells), 1000u);
}

/*
 * Spin until the free-running index *@word has got to or beyond @goal, for at most
 * @max ns less what @backoff takes off. Returns true if it has.
 */
static bool spin(const struct sock *sk, const u32 *word, u32 goal, u64 max, u8 *backoff)
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
		if (need_resched() || signal_pending(current) || READ_ONCE(sk->sk_err))
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

static bool tx_broken(const struct circuit_ep *ep)
{
	const struct sock *sk = ep->sk;

	return READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ||
	       READ_ONCE(ep->state) != TCP_ESTABLISHED;
}

/* Wait for room for some of @len bytes. tx_mutex is held on entry and exit. */
static void tx_wait(struct circuit_ep *ep, struct circuit *c, u32 len, long *timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = ep->sk;
	u64 max = spin_max(c), start;

	/* The operator does not answer as fast as the far end reads. */
	if (!circuit_tx_space(&c->tx) &&
	    spin(sk, &c->tx.cons->head, c->tx.head + c->tx.size / 4, max, &c->tx_backoff))
		return;
	add_wait_queue(sk_sleep(sk), &wait);
	circuit_tx_arm(&c->tx, c->tx.size / 2);
	if (!tx_room(c, len, true) && !tx_broken(ep)) {
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

/* Wait until a call in progress is decided, as sk_stream_wait_connect(). */
static int tx_wait_connect(struct circuit_ep *ep, long *timeo)
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

/* No ancillary data means anything here; what TCP would ignore is ignored. */
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

/* The last of the next @n bytes is urgent, or of those before them. */
static void tx_urgent(struct circuit *c, u32 n)
{
	circuit_tx_urgent(&c->tx, n, c->tx_flags);
	c->tx_flags |= CIRCUIT_TX_URG;
}

/**
 * circuit_stream_sendmsg - sendmsg() of a stream socket
 * @ep: the endpoint
 * @msg: what to send
 * @len: how much of it
 *
 * MSG_MORE is accepted and has nothing to wait for: there are no segments.
 *
 * Return: bytes sent, or a negative errno, as TCP.
 */
int circuit_stream_sendmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len)
{
	struct sock *sk = ep->sk;
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	size_t done = 0;
	bool oob = msg->msg_flags & MSG_OOB, full = false, last;
	int err = 0;

	if (unlikely(msg->msg_controllen)) {
		err = check_control(msg);
		if (err)
			return err;
	}
	if (unlikely(READ_ONCE(ep->state) == TCP_SYN_SENT)) {
		err = tx_wait_connect(ep, &timeo);
		if (err)
			return err;
	}
	mutex_lock(&ep->tx_mutex);
	for (;;) {
		struct circuit *c = circuit_ep_rings(ep);
		int space;
		u32 n;

		err = -EPIPE;
		if (unlikely(!c || tx_broken(ep)))
			break;
		err = 0;
		if (done == len)
			break;
		space = tx_room(c, 0, false);
		if (unlikely(space <= 0)) {
			if (space < 0) {
				circuit_ep_kill(ep, c);
				continue;
			}
			err = -EAGAIN;
			if (!timeo) {
				set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
				circuit_tx_arm(&c->tx, tx_lowat(&c->tx));
				if (tx_room(c, min_t(size_t, len - done, SZ_1G), true))
					continue;
				trace_circuit_sock_stall(sk, c, true);
				break;
			}
			err = sock_intr_errno(timeo);
			if (signal_pending(current))
				break;
			tx_wait(ep, c, min_t(size_t, len - done, SZ_1G), &timeo);
			continue;
		}
		n = copy_in(&c->tx, min3((size_t)space, len - done, (size_t)PIECE), &msg->msg_iter);
		if (unlikely(!n)) {
			err = -EFAULT;
			break;
		}
		/* The last byte that is taken is the urgent one. */
		full = oob && !timeo && n == space;
		last = full || (oob && done + n == len);
		if (unlikely(last))
			tx_urgent(c, n);
		if (circuit_tx_publish(&c->tx, n) || last)
			notify(c);
		done += n;
		/* Nobody will ever read this: TCP's far end would answer with a RST. */
		if (unlikely(circuit_tx_lost(&c->tx)))
			circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		if (unlikely(full))
			break;
	}
	/* Cut short, as it turns out: then it was the last that has been taken. */
	if (unlikely(oob && done && done < len && !full) && circuit_ep_rings(ep)) {
		tx_urgent(ep->c, 0);
		notify(ep->c);
	}
	mutex_unlock(&ep->tx_mutex);
	if (done)
		return done;
	return err ? sk_stream_error(sk, msg->msg_flags, err) : 0;
}

/* Wait for data. rx_mutex is held on entry and exit; @c may be NULL. */
static void rx_wait(struct circuit_ep *ep, struct circuit *c, u32 skip, u32 want, long *timeo)
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
		max = spin_max(c);
#ifdef CONFIG_NET_RX_BUSY_POLL
		max = max(max, (u64)READ_ONCE(sk->sk_ll_usec) * NSEC_PER_USEC);
#endif
		/* What it may not take yet does not come by spinning. */
		if (circuit_rx_allowed(c) >= want &&
		    spin(sk, &c->rx.prod->tail, c->rx.head + want, max, &c->rx_backoff))
			return;
	}
	add_wait_queue(sk_sleep(sk), &wait);
	if (c) {
		circuit_rx_arm(&c->rx, want);
		flags = circuit_rx_flags(&c->rx);
		avail = circuit_rx_avail(&c->rx);
		if (flags >= 0)
			avail = rx_allowed(c, avail, &flags, &held);
		idle = avail < (int)want && !flags;
		/* Nobody reads past the mark, so nobody waits for what is behind it. */
		urg = c->urg;
		if (circuit_rx_urgent(&c->rx, &urg, &off) && off >= skip && (int)off < avail)
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

/*
 * Ask to be told of what goes beyond @seen bytes. Returns true if something has
 * already, so that nobody will tell.
 */
static bool rx_rearm(struct circuit *c, u32 seen)
{
	int flags, avail;

	circuit_rx_arm(&c->rx, seen + 1);
	/* Data after flags, or FIN might be taken for the end before the last of it. */
	flags = circuit_rx_flags(&c->rx);
	avail = circuit_rx_avail(&c->rx);
	if (unlikely(avail > 0 && avail > circuit_rx_allowed(c)))
		return flags < 0 || flags & CIRCUIT_TX_RST;	/* circuit_ep_allowed() will tell */
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

/*
 * Is there an urgent byte ahead? rx_mutex is held, and circuit_rx_avail() was called. As in
 * tcp_check_urg(), one that has not been passed when another comes is dropped.
 */
static bool rx_urgent(struct circuit_ep *ep, struct circuit *c, u32 *off)
{
	struct circuit_urgent old = c->urg;
	struct circuit_rx *rx = &c->rx;

	if (likely(!circuit_rx_urgent(rx, &c->urg, off)))
		return false;
	circuit_ep_urgent(ep, c, c->urg.mark);
	if (old.seen && !old.gone && old.mark != c->urg.mark && old.mark - 1 == rx->head &&
	    rx->tail != rx->head && !sock_flag(ep->sk, SOCK_URGINLINE)) {
		if (circuit_rx_release(rx, 1))
			notify(c);
		--*off;
	}
	return true;
}

/* recv(MSG_OOB), as tcp_recv_urg(). */
static int recv_urgent(struct circuit_ep *ep, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = ep->sk;
	struct circuit *c;
	int avail, err;
	u32 off;

	mutex_lock(&ep->rx_mutex);
	err = -EINVAL;
	c = circuit_ep_rings(ep);
	if (!c || sock_flag(sk, SOCK_URGINLINE))
		goto unlock;
	avail = circuit_rx_avail(&c->rx);
	if (avail < 0) {
		circuit_ep_kill(ep, c);
		goto unlock;
	}
	if (!rx_urgent(ep, c, &off) || c->urg.taken)
		goto unlock;
	avail = c->rx.tail - c->rx.head;
	err = -ENOTCONN;
	if (READ_ONCE(ep->state) == TCP_CLOSE && !sock_flag(sk, SOCK_DONE))
		goto unlock;
	if (off >= avail) {
		/* It is on its way: this does not wait for it. */
		err = READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN ? 0 : -EAGAIN;
		goto unlock;
	}
	msg->msg_flags |= MSG_OOB;
	err = 1;
	if (!len) {
		msg->msg_flags |= MSG_TRUNC;
		err = 0;
	} else if (!(flags & MSG_TRUNC) && !copy_out(&c->rx, off, 1, &msg->msg_iter)) {
		err = -EFAULT;
	}
	if (err >= 0 && !(flags & MSG_PEEK))
		c->urg.taken = true;
unlock:
	mutex_unlock(&ep->rx_mutex);
	return err;
}

/**
 * circuit_stream_recvmsg - recvmsg() of a stream socket
 * @ep: the endpoint
 * @msg: where to
 * @len: how much at most
 * @flags: MSG_*
 *
 * Return: bytes received, 0 at the end of the stream, or a negative errno, as TCP.
 */
int circuit_stream_recvmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = ep->sk;
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	size_t target = sock_rcvlowat(sk, flags & MSG_WAITALL, len);
	size_t done = 0;
	u32 skip = 0;
	int err = 0;

	if (unlikely(flags & MSG_ERRQUEUE))
		return -EAGAIN;
	if (unlikely(READ_ONCE(ep->state) == TCP_LISTEN))
		return -ENOTCONN;
	if (unlikely(flags & MSG_OOB))
		return recv_urgent(ep, msg, len, flags);
	mutex_lock(&ep->rx_mutex);
	while (done < len || !len) {
		/* What was said before the rings are looked at is true of what they hold. */
		int state = smp_load_acquire(&ep->state);
		int shut = smp_load_acquire(&sk->sk_shutdown);
		int failed = smp_load_acquire(&sk->sk_err);
		struct circuit *c = circuit_ep_rings(ep);
		int ring = 0, avail = 0;
		bool urgent, held = false;

		if (likely(c)) {
			/* Before the data: after FIN there is no more of it. */
			ring = circuit_rx_flags(&c->rx);
			avail = circuit_rx_avail(&c->rx);
			if (unlikely(ring < 0 || avail < 0)) {
				ring = 0;
				avail = 0;
				circuit_ep_kill(ep, c);
			} else {
				avail = rx_allowed(c, avail, &ring, &held) - skip;
			}
		}
		if (avail > 0) {
			u32 n = min3((size_t)avail, len - done, (size_t)PIECE);
			u32 head = c->rx.head, off;

			if (unlikely(!n))
				break;	/* nothing was asked for */
			/* No recv() goes past the urgent byte, which is not part of the stream. */
			urgent = rx_urgent(ep, c, &off);
			if (unlikely(c->rx.head != head))
				continue;
			if (unlikely(urgent && off >= skip)) {
				off -= skip;
				if (!off && done)
					break;
				/* SIGURG's handler wants to find it. */
				err = timeo ? sock_intr_errno(timeo) : -EAGAIN;
				if (!off && signal_pending(current))
					break;
				err = 0;
				if (!off && !sock_flag(sk, SOCK_URGINLINE)) {
					if (flags & MSG_PEEK)
						skip++;
					else if (circuit_rx_release(&c->rx, 1))
						notify(c);
					continue;
				}
				if (off)
					n = min(n, off);
			}
			if (!(flags & MSG_TRUNC)) {
				n = copy_out(&c->rx, skip, n, &msg->msg_iter);
				if (unlikely(!n)) {
					err = -EFAULT;
					break;
				}
			}
			done += n;
			if (flags & MSG_PEEK)
				skip += n;
			else if (circuit_rx_release(&c->rx, n))
				notify(c);
			continue;
		}
		if (done >= target && (done || !len))
			break;
		if (unlikely(ring & CIRCUIT_TX_RST && state != TCP_CLOSE)) {
			circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
			continue;
		}
		if (failed) {
			err = done ? 0 : sock_error(sk);
			break;
		}
		if (ring & CIRCUIT_TX_FIN || (shut & RCV_SHUTDOWN && !held))
			break;
		err = -ENOTCONN;
		if (state != TCP_ESTABLISHED && state != TCP_SYN_SENT)
			break;
		err = -EAGAIN;
		if (!timeo) {
			if (c && rx_rearm(c, skip))
				continue;
			break;
		}
		err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		err = 0;
		/* Never less than there is already, which a peek leaves where it is. */
		rx_wait(ep, c, skip, c ? max_t(size_t, skip + 1,
					 min_t(size_t, target - done + skip, c->rx.size / 2)) : 1,
			&timeo);
	}
	if (done && rx_watched(sk)) {
		struct circuit *c = circuit_ep_rings(ep);

		if (c && rx_rearm(c, c->rx.tail - c->rx.head))
			sk->sk_data_ready(sk);
	}
	mutex_unlock(&ep->rx_mutex);
	return done ?: err;
}

static __poll_t rx_poll(struct circuit_ep *ep)
{
	struct sock *sk = ep->sk;
	struct circuit *c;
	__poll_t mask = 0;
	int ring, avail;
	u32 want, off;
	bool held;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (!c)
		goto unlock;
	want = clamp_t(u32, READ_ONCE(sk->sk_rcvlowat), 1, c->rx.size / 2);
	ring = circuit_rx_flags(&c->rx);
	avail = circuit_rx_avail(&c->rx);
	if (unlikely(avail >= 0 && rx_urgent(ep, c, &off))) {
		avail = c->rx.tail - c->rx.head;
		if ((int)off < avail && !c->urg.taken)
			mask |= EPOLLPRI;
		if (!off && !sock_flag(sk, SOCK_URGINLINE))
			want++;
	}
	if (avail >= 0) {
		/*
		 * Even if there is enough already: whoever waits for edges is told of
		 * each arrival, and looks here again before the next.
		 */
		circuit_rx_arm(&c->rx, max_t(u32, want, avail + 1));
		ring = circuit_rx_flags(&c->rx);
		avail = circuit_rx_avail(&c->rx);
	}
	if (ring >= 0)
		avail = rx_allowed(c, avail, &ring, &held);
	if (ring < 0 || avail < 0)
		circuit_ep_kill(ep, c);
	else if (ring & CIRCUIT_TX_RST)
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
	else if (ring & CIRCUIT_TX_FIN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (avail >= (int)want)
		mask |= EPOLLIN | EPOLLRDNORM;
unlock:
	mutex_unlock(&ep->rx_mutex);
	return mask;
}

static __poll_t tx_poll(struct circuit_ep *ep)
{
	struct circuit *c;
	__poll_t mask = 0;
	int space, want;

	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (!c || READ_ONCE(ep->sk->sk_shutdown) & SEND_SHUTDOWN) {
		mask = EPOLLOUT | EPOLLWRNORM;
		goto unlock;
	}
	want = tx_lowat(&c->tx);
	space = circuit_tx_space(&c->tx);
	if (space >= 0 && space < want) {
		circuit_tx_arm(&c->tx, want);
		space = circuit_tx_space(&c->tx);
	}
	if (space < 0)
		circuit_ep_kill(ep, c);
	else if (space >= want && tx_room(c, want, true) > 0)
		mask = EPOLLOUT | EPOLLWRNORM;
unlock:
	mutex_unlock(&ep->tx_mutex);
	return mask;
}

static __poll_t listen_poll(struct circuit_ep *ep)
{
	struct circuit_listener *lst;
	__poll_t mask = 0;

	rcu_read_lock();
	lst = READ_ONCE(ep->lst);
	if (lst && READ_ONCE(lst->queued))
		mask = EPOLLIN | EPOLLRDNORM;
	rcu_read_unlock();
	return mask;
}

/**
 * circuit_stream_poll - poll() of a stream socket
 * @ep: the endpoint; the caller has seen to sock_poll_wait()
 * @events: those that are asked for
 *
 * The events, and which of them come together, are those of tcp_poll().
 */
__poll_t circuit_stream_poll(struct circuit_ep *ep, __poll_t events)
{
	struct sock *sk = ep->sk;
	__poll_t mask = 0;
	int state, shutdown;

	state = smp_load_acquire(&ep->state);
	if (state == TCP_LISTEN)
		return listen_poll(ep);
	if (state != TCP_SYN_SENT) {
		mask |= rx_poll(ep);
		if (events & (EPOLLOUT | EPOLLWRNORM))
			mask |= tx_poll(ep);
	}
	/* Only now: the looks into the rings may have ended the connection. */
	state = smp_load_acquire(&ep->state);
	shutdown = READ_ONCE(sk->sk_shutdown);
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (mask & EPOLLRDHUP && shutdown & SEND_SHUTDOWN)
		mask |= EPOLLHUP;
	if (state == TCP_CLOSE)
		mask |= EPOLLHUP;
	if (shutdown & SEND_SHUTDOWN)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (READ_ONCE(sk->sk_err) || !skb_queue_empty_lockless(&sk->sk_error_queue))
		mask |= EPOLLERR;
	return mask;
}

/**
 * circuit_stream_unread - bytes that recv() would find
 * @ep: the endpoint
 */
u32 circuit_stream_unread(struct circuit_ep *ep)
{
	int avail = 0;

	mutex_lock(&ep->rx_mutex);
	if (circuit_ep_rings(ep))
		avail = circuit_rx_avail(&ep->c->rx);
	mutex_unlock(&ep->rx_mutex);
	return max(avail, 0);
}

/**
 * circuit_stream_inq - SIOCINQ: bytes that recv() would find without passing the mark
 * @ep: the endpoint
 */
u32 circuit_stream_inq(struct circuit_ep *ep)
{
	struct circuit *c;
	int avail = 0;
	u32 off;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c) {
		avail = circuit_rx_avail(&c->rx);
		if (avail >= 0 && rx_urgent(ep, c, &off) && !sock_flag(ep->sk, SOCK_URGINLINE))
			avail = min_t(int, off, c->rx.tail - c->rx.head);
	}
	mutex_unlock(&ep->rx_mutex);
	return max(avail, 0);
}

/**
 * circuit_stream_at_mark - SIOCATMARK: is the next byte the urgent one?
 * @ep: the endpoint
 */
bool circuit_stream_at_mark(struct circuit_ep *ep)
{
	struct circuit *c;
	bool ret = false;
	u32 off;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c && circuit_rx_avail(&c->rx) >= 0)
		ret = rx_urgent(ep, c, &off) && !off;
	mutex_unlock(&ep->rx_mutex);
	return ret;
}

/**
 * circuit_stream_unsent - bytes the far end has not read
 * @ep: the endpoint
 */
u32 circuit_stream_unsent(struct circuit_ep *ep)
{
	int space = 0;
	u32 unsent = 0;

	mutex_lock(&ep->tx_mutex);
	if (circuit_ep_rings(ep)) {
		space = circuit_tx_space(&ep->c->tx);
		if (space >= 0)
			unsent = ep->c->tx.size - space;
	}
	mutex_unlock(&ep->tx_mutex);
	return unsent;
}

/**
 * circuit_stream_drained - has the far end read everything?
 * @ep: the endpoint
 *
 * If not, the socket is woken when it has.
 */
bool circuit_stream_drained(struct circuit_ep *ep)
{
	bool drained = true;

	mutex_lock(&ep->tx_mutex);
	if (circuit_ep_rings(ep)) {
		struct circuit_tx *tx = &ep->c->tx;

		circuit_tx_arm(tx, tx->size);
		drained = circuit_tx_space(tx) == tx->size;
	}
	mutex_unlock(&ep->tx_mutex);
	return drained;
}
