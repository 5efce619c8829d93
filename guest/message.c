// SPDX-License-Identifier: GPL-2.0
/*
 * SOCK_SEQPACKET: messages between user memory and rings.
 *
 * A message is written and published as a whole, and read as a whole: it is a record of
 * linux/circuit_ring.h. What poll() and waiting are about is otherwise as with streams, in
 * stream.c; only that there is room when there is room for the message that did not fit.
 */
#include <linux/sched/signal.h>
#include "trace.h"
#include "transfer.h"

/**
 * circuit_message_put - write a message behind what is published
 * @c: the circuit, in whose ring there is room for it; its ep->tx_mutex is held
 * @msg: what it is
 * @len: how much of it
 *
 * Return: 0 or -EFAULT.
 */
int circuit_message_put(struct circuit *c, struct msghdr *msg, u32 len)
{
	struct circuit_tx *tx = &c->tx;
	u32 flags = msg->msg_flags & MSG_EOR ? CIRCUIT_MESSAGE_EOR : 0;
	int err = circuit_copy_message(tx, sizeof(struct circuit_message), len, &msg->msg_iter);

	if (unlikely(err))
		return err;
	circuit_message_head(tx, len, flags);
	WRITE_ONCE(c->tx_messages, c->tx_messages + 1);
	return 0;
}

/**
 * circuit_message_sendmsg - sendmsg() of a socket of messages
 * @ep: the endpoint
 * @msg: what to send
 * @len: how much of it
 *
 * Return: @len, or a negative errno: as TCP, but -ENOTCONN if there never was a connection, and
 * -EMSGSIZE for what will never fit.
 */
int circuit_message_sendmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len)
{
	struct sock *sk = ep->sk;
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	struct circuit *c;
	int err, room;
	u32 need;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	err = circuit_tx_begin(ep, msg, &timeo);
	if (unlikely(err))
		return err;
	mutex_lock(&ep->tx_mutex);
	for (;;) {
		c = circuit_ep_rings(ep);
		err = c ? circuit_tx_ours(ep, c) : 0;
		if (unlikely(err))
			break;
		/* Unlike TCP, but like AF_UNIX, where nothing ever was. */
		err = c || READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) ? -EPIPE : -ENOTCONN;
		if (unlikely(!c || circuit_tx_broken(ep)))
			break;
		err = -EMSGSIZE;
		if (unlikely(len > c->tx.size - sizeof(struct circuit_message)))
			break;
		need = circuit_message_bytes(len);
		room = circuit_tx_may(c, need, need, timeo ? 0 : need);
		if (likely(room > 0)) {
			err = circuit_message_put(c, msg, len);
			if (unlikely(err))
				break;
			c->tx_need = 0;
			circuit_tx_tell(ep, c, circuit_tx_publish(&c->tx, need),
					msg->msg_flags & MSG_BATCH);
			/* Nobody will ever read this: TCP's far end would answer with a RST. */
			if (unlikely(circuit_tx_lost(&c->tx, &c->tx.tail)))
				circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
			break;
		}
		if (room < 0) {
			circuit_ep_kill(ep, c);
			continue;
		}
		err = -EAGAIN;
		if (!timeo) {
			set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
			c->tx_need = need;
			circuit_tx_watch(c, circuit_tx_lowat(c));
			if (circuit_tx_may(c, need, need, need))
				continue;
			trace_circuit_sock_stall(sk, c, true);
			break;
		}
		err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		circuit_tx_wait(ep, c, need, need, &timeo);
	}
	/* There may be no end of the batch. */
	if (unlikely(err && c))
		circuit_tx_told(c);
	mutex_unlock(&ep->tx_mutex);
	return err ? sk_stream_error(sk, msg->msg_flags, err) : len;
}

/**
 * circuit_message_want - how much has to come, or to be allowed, before something can be received?
 * @c: the circuit; its ep->rx_mutex is held, and circuit_rx_avail() was called
 *
 * Return: what the next message takes of the ring; 1 if there is none, or none that makes sense.
 */
u32 circuit_message_want(struct circuit *c)
{
	struct circuit_message head;

	if (c->rx.tail == c->rx.head || circuit_rx_message(&c->rx, &head))
		return 1;
	return circuit_message_bytes(head.len);
}

/**
 * circuit_message_take - read the next message
 * @c: the circuit, in whose ring there is something; its ep->rx_mutex is held
 * @msg: where to
 * @len: how much at most
 * @flags: MSG_*
 * @may: how much the operator allows to be read
 * @want: set to how much of the ring it takes, if that is more
 *
 * Return: what recvmsg() does, or -EBUSY with @want set, or -EPROTO.
 */
int circuit_message_take(struct circuit *c, struct msghdr *msg, size_t len, int flags, u32 may,
			 u32 *want)
{
	struct circuit_message head;
	u32 n;

	if (circuit_rx_message(&c->rx, &head))
		return -EPROTO;
	if (unlikely(circuit_message_bytes(head.len) > may)) {
		*want = circuit_message_bytes(head.len);
		return -EBUSY;
	}
	n = min_t(size_t, head.len, len);
	if (circuit_copy_out(&c->rx, sizeof(head), n, &msg->msg_iter) != n)
		return -EFAULT;
	if (n < head.len)
		msg->msg_flags |= MSG_TRUNC;
	if (head.flags & CIRCUIT_MESSAGE_EOR)
		msg->msg_flags |= MSG_EOR;
	if (!(flags & MSG_PEEK)) {
		WRITE_ONCE(c->rx_messages, c->rx_messages + 1);
		if (circuit_rx_release(&c->rx, circuit_message_bytes(head.len)))
			circuit_tell(c);
	}
	return flags & MSG_TRUNC ? head.len : n;
}

/**
 * circuit_message_take_more - read messages that follow one that was read, and are like it
 * @c: the circuit; its ep->rx_mutex is held
 * @msg: where to, behind the first one, which was not cut short
 * @size: how long that was; others are, too, but that the last may be shorter
 * @most: how many bytes at most; none is cut short
 * @flags: MSG_*, those that circuit_message_take() had
 * @may: how much the operator allows to be read, from where the first one was
 *
 * Return: bytes.
 */
u32 circuit_message_take_more(struct circuit *c, struct msghdr *msg, u32 size, u32 most, int flags,
			      u32 may)
{
	u32 first = circuit_message_bytes(size), need, n = 0, count = 0, got = 0;
	struct circuit_rx rx = c->rx;	/* nothing of it is seen but here */
	struct circuit_message head;
	s64 messages = S64_MAX;

	if (smp_load_acquire(&c->limits) & CIRCUIT_SIG_LIMIT_RX_MESSAGES)
		messages = READ_ONCE(c->rx_messages_upto) - c->rx_messages;
	if (flags & MSG_PEEK) {
		rx.head += first;
		messages--;
	}
	may -= first;
	for (head.len = size; head.len == size && messages > 0; messages--) {
		if (rx.head == rx.tail || circuit_rx_message(&rx, &head))
			break;
		need = circuit_message_bytes(head.len);
		if (!head.len || head.len > min(size, most - got) || need > may)
			break;
		if (circuit_copy_out(&rx, sizeof(head), head.len, &msg->msg_iter) != head.len)
			break;
		rx.head += need;
		may -= need;
		n += need;
		got += head.len;
		count++;
	}
	if (n && !(flags & MSG_PEEK)) {
		WRITE_ONCE(c->rx_messages, c->rx_messages + count);
		if (circuit_rx_release(&c->rx, n))
			circuit_tell(c);
	}
	return got;
}

/**
 * circuit_message_recvmsg - recvmsg() of a socket of messages
 * @ep: the endpoint
 * @msg: where to
 * @len: how much at most; what does not fit of a message is lost
 * @flags: MSG_*
 *
 * Return: bytes received, or the message's with MSG_TRUNC; 0 at the end; or a negative errno,
 * as TCP.
 */
int circuit_message_recvmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = ep->sk;
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	int ret;

	if (unlikely(flags & MSG_ERRQUEUE))
		return -EAGAIN;
	if (unlikely(flags & MSG_OOB))
		return -EOPNOTSUPP;
	if (unlikely(READ_ONCE(ep->state) == TCP_LISTEN))
		return -ENOTCONN;
	mutex_lock(&ep->rx_mutex);
	for (;;) {
		/* What was said before the rings are looked at is true of what they hold. */
		int state = smp_load_acquire(&ep->state);
		int shut = smp_load_acquire(&sk->sk_shutdown);
		int failed = smp_load_acquire(&sk->sk_err);
		struct circuit *c = circuit_ep_rings(ep);
		int ring = 0, avail = 0;
		bool held = false;
		u32 want = 1;

		ret = c ? circuit_rx_ours(ep, c) : 0;
		if (unlikely(ret))
			break;
		if (likely(c)) {
			/* Before the data: after FIN there is no more of it. */
			ring = circuit_rx_flags(&c->rx);
			avail = circuit_rx_avail(&c->rx);
			ret = min(ring, avail);
		}
		if (likely(ret >= 0 && avail > 0)) {
			avail = circuit_rx_may(c, avail, &ring, &held);
			ret = circuit_message_take(c, msg, len, flags, avail, &want);
			if (likely(ret >= 0))
				circuit_rx_rewatch(ep);
			if (likely(ret != -EPROTO && ret != -EBUSY))
				break;
		}
		if (unlikely(ret < 0 && ret != -EBUSY)) {
			circuit_ep_kill(ep, c);
			ring = 0;
		}
		if (unlikely(ring & CIRCUIT_TX_RST && state != TCP_CLOSE)) {
			circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
			continue;
		}
		if (failed) {
			ret = sock_error(sk);
			break;
		}
		ret = 0;
		if (ring & CIRCUIT_TX_FIN || (shut & RCV_SHUTDOWN && !held))
			break;
		ret = -ENOTCONN;
		if (state != TCP_ESTABLISHED && state != TCP_SYN_SENT)
			break;
		ret = -EAGAIN;
		if (!timeo) {
			if (c && want == 1 && circuit_rx_rearm(c, 0))
				continue;
			break;
		}
		ret = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		circuit_rx_wait(ep, c, 0, want, &timeo);
	}
	mutex_unlock(&ep->rx_mutex);
	return ret;
}

/**
 * circuit_message_next - SIOCINQ: how long is the next message?
 * @ep: the endpoint
 *
 * Return: bytes, 0 if there is none.
 */
u32 circuit_message_next(struct circuit_ep *ep)
{
	struct circuit_message head = {};
	struct circuit *c;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c && circuit_rx_ours(ep, c))
		head.len = circuit_map_data(c);	/* how long it is the process knows */
	else if (c && (circuit_rx_avail(&c->rx) <= 0 || circuit_rx_message(&c->rx, &head)))
		head.len = 0;
	mutex_unlock(&ep->rx_mutex);
	return head.len;
}
