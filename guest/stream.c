// SPDX-License-Identifier: GPL-2.0
/*
 * SOCK_STREAM: bytes between user memory and rings.
 *
 * As with TCP, writers that block may find each other's data in between. Data is
 * handed over in pieces, so that the far end works on one while the next is copied.
 */
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include "trace.h"
#include "transfer.h"

#define PIECE	(32u << 10)

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
	int err;

	err = circuit_tx_begin(ep, msg, &timeo);
	if (unlikely(err))
		return err;
	mutex_lock(&ep->tx_mutex);
	for (;;) {
		struct circuit *c = circuit_ep_rings(ep);
		int space;
		u32 n;

		err = c ? circuit_tx_ours(ep, c) : 0;
		if (unlikely(err))
			break;
		err = -EPIPE;
		if (unlikely(!c || circuit_tx_broken(ep)))
			break;
		err = 0;
		if (done == len)
			break;
		space = circuit_tx_may(c, 1, 1, 0);
		if (unlikely(space <= 0)) {
			if (space < 0) {
				circuit_ep_kill(ep, c);
				continue;
			}
			err = -EAGAIN;
			if (!timeo) {
				set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
				circuit_tx_watch(c, circuit_tx_lowat(c));
				if (circuit_tx_may(c, 1, 1, min_t(size_t, len - done, SZ_1G)))
					continue;
				trace_circuit_sock_stall(sk, c, true);
				break;
			}
			err = sock_intr_errno(timeo);
			if (signal_pending(current))
				break;
			circuit_tx_wait(ep, c, 1, min_t(size_t, len - done, SZ_1G), &timeo);
			continue;
		}
		n = circuit_copy_in(&c->tx, 0, min3((size_t)space, len - done, (size_t)PIECE),
				    &msg->msg_iter);
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
			circuit_tell(c);
		done += n;
		/* Nobody will ever read this: TCP's far end would answer with a RST. */
		if (unlikely(circuit_tx_lost(&c->tx, &c->tx.tail)))
			circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		if (unlikely(full))
			break;
	}
	/* Cut short, as it turns out: then it was the last that has been taken. */
	if (unlikely(oob && done && done < len && !full) && circuit_ep_rings(ep) &&
	    !ep->c->tx_mapped) {
		tx_urgent(ep->c, 0);
		circuit_tell(ep->c);
	}
	mutex_unlock(&ep->tx_mutex);
	if (done)
		return done;
	return err ? sk_stream_error(sk, msg->msg_flags, err) : 0;
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
			circuit_tell(c);
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
	err = circuit_rx_ours(ep, c);
	if (err)
		goto unlock;
	err = -EINVAL;
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
	} else if (!(flags & MSG_TRUNC) && !circuit_copy_out(&c->rx, off, 1, &msg->msg_iter)) {
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

		err = c ? circuit_rx_ours(ep, c) : 0;
		if (unlikely(err))
			break;
		if (likely(c)) {
			/* Before the data: after FIN there is no more of it. */
			ring = circuit_rx_flags(&c->rx);
			avail = circuit_rx_avail(&c->rx);
			if (unlikely(ring < 0 || avail < 0)) {
				ring = 0;
				avail = 0;
				circuit_ep_kill(ep, c);
			} else {
				avail = circuit_rx_may(c, avail, &ring, &held) - skip;
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
						circuit_tell(c);
					continue;
				}
				if (off)
					n = min(n, off);
			}
			if (!(flags & MSG_TRUNC)) {
				n = circuit_copy_out(&c->rx, skip, n, &msg->msg_iter);
				if (unlikely(!n)) {
					err = -EFAULT;
					break;
				}
			}
			done += n;
			if (flags & MSG_PEEK)
				skip += n;
			else if (circuit_rx_release(&c->rx, n))
				circuit_tell(c);
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
			if (c && circuit_rx_rearm(c, skip))
				continue;
			break;
		}
		err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		err = 0;
		/* Never less than there is already, which a peek leaves where it is. */
		circuit_rx_wait(ep, c, skip, c ? max_t(size_t, skip + 1,
					 min_t(size_t, target - done + skip, c->rx.size / 2)) : 1,
			&timeo);
	}
	if (done)
		circuit_rx_rewatch(ep);
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
	if (unlikely(circuit_rx_ours(ep, c))) {
		avail = circuit_map_readable(c);
		ring = circuit_rx_flags(&c->rx);
		want = 1;
		goto seen;
	}
	ring = circuit_rx_flags(&c->rx);
	avail = circuit_rx_avail(&c->rx);
	want = c->messages ? circuit_message_want(c) :
			     clamp_t(u32, READ_ONCE(sk->sk_rcvlowat), 1, c->rx.size / 2);
	if (unlikely(avail >= 0 && !c->messages && rx_urgent(ep, c, &off))) {
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
		circuit_rx_watch(c, max_t(u32, want, avail + 1));
		ring = circuit_rx_flags(&c->rx);
		avail = circuit_rx_avail(&c->rx);
	}
	if (ring >= 0)
		avail = circuit_rx_may(c, avail, &ring, &held);
seen:
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
	want = circuit_tx_lowat(c);
	if (unlikely(circuit_tx_ours(ep, c))) {
		if (circuit_map_writable(c))
			mask = EPOLLOUT | EPOLLWRNORM;
		goto unlock;
	}
	space = circuit_tx_space(&c->tx);
	if (space >= 0 && space < want)
		circuit_tx_watch(c, want);
	space = circuit_tx_may(c, want, max(c->tx_need, 1u), want);
	if (space < 0)
		circuit_ep_kill(ep, c);
	else if (space)
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

/* What is there to be read, whoever does; 0 if nothing makes sense. rx_mutex is held. */
static u32 rx_unread(struct circuit_ep *ep, struct circuit *c)
{
	if (unlikely(circuit_rx_ours(ep, c)))
		return circuit_map_data(c);
	return max(circuit_rx_avail(&c->rx), 0);
}

/**
 * circuit_stream_unread - bytes that recv() would find
 * @ep: the endpoint
 */
u32 circuit_stream_unread(struct circuit_ep *ep)
{
	u32 avail = 0;

	mutex_lock(&ep->rx_mutex);
	if (circuit_ep_rings(ep))
		avail = rx_unread(ep, ep->c);
	mutex_unlock(&ep->rx_mutex);
	return avail;
}

/**
 * circuit_stream_ended - has the stream an end that is known?
 * @ep: the endpoint, whose socket may not have been told of it yet
 *
 * There may be something before that to be read.
 */
bool circuit_stream_ended(struct circuit_ep *ep)
{
	bool ended = READ_ONCE(ep->sk->sk_shutdown) & RCV_SHUTDOWN;
	struct circuit *c;
	int flags;

	if (ended)
		return true;
	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c) {
		flags = circuit_rx_flags(&c->rx);
		ended = flags > 0 && flags & CIRCUIT_TX_FIN;
	}
	mutex_unlock(&ep->rx_mutex);
	return ended;
}

/**
 * circuit_stream_inq - SIOCINQ: bytes that recv() would find without passing the mark
 * @ep: the endpoint
 */
u32 circuit_stream_inq(struct circuit_ep *ep)
{
	struct circuit *c;
	u32 avail = 0, off;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c) {
		avail = rx_unread(ep, c);
		if (!c->rx_mapped && rx_urgent(ep, c, &off) && !sock_flag(ep->sk, SOCK_URGINLINE))
			avail = min(off, c->rx.tail - c->rx.head);
	}
	mutex_unlock(&ep->rx_mutex);
	return avail;
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
	if (c && !circuit_rx_ours(ep, c) && circuit_rx_avail(&c->rx) >= 0)
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
	struct circuit *c;
	u32 unsent = 0;
	int space;

	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (c) {
		space = circuit_tx_ours(ep, c) ? circuit_map_room(c) : circuit_tx_space(&c->tx);
		if (space >= 0)
			unsent = c->tx.size - space;
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
	struct circuit *c;

	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (c && circuit_tx_ours(ep, c)) {
		circuit_steer(c);
		WRITE_ONCE(c->tx.prod->event, circuit_tx_tail(c) - 1);
		virt_mb();		/* R3, sleepy side */
		drained = circuit_map_room(c) == c->tx.size;
	} else if (c) {
		circuit_tx_watch(c, c->tx.size);
		drained = circuit_tx_space(&c->tx) == c->tx.size;
	}
	mutex_unlock(&ep->tx_mutex);
	return drained;
}
