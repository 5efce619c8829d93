// SPDX-License-Identifier: GPL-2.0
/*
 * SOCK_DGRAM: datagrams between user memory and the rings of a circuit to the operator.
 *
 * Each is a record of linux/circuit_ring.h with whom it is for, or from. The operator switches
 * them, and is believed about whom they are from. Between it and here nothing is lost but what
 * there is no room for when it comes; it counts that.
 *
 * A process that has mapped the circuit writes such records itself, and gets what comes from
 * anybody: to whom the socket is connected only the kernel knows, and the process.
 */
#include <linux/sched/signal.h>
#include "trace.h"
#include "transfer.h"

static bool is_peer(const struct circuit_peer *peer, const struct circuit_datagram *head)
{
	return head->port == peer->port && !memcmp(head->line, peer->line, sizeof(peer->line));
}

/*
 * Look at the next datagram. Those that are not from whom the socket is connected to are passed
 * over, and errors become the socket's, if they are about that one. @ep->rx_mutex is held.
 *
 * Returns 1 and its head, 0 if there is none, or -EPROTO.
 */
static int datagram_next(struct circuit_ep *ep, struct circuit *c, const struct circuit_peer *peer,
			 struct circuit_datagram *head)
{
	int flags, avail, ret;
	bool told = false;

	for (;;) {
		/* Before the data: the operator has hung up only after the last of it. */
		flags = circuit_rx_flags(&c->rx);
		avail = circuit_rx_avail(&c->rx);
		ret = min(flags, avail);
		if (ret < 0)
			break;
		if (!avail) {
			if (flags)
				circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
			ret = 0;
			break;
		}
		/* A process may have written it. Those from ERESTARTSYS on are the kernel's own. */
		ret = -EPROTO;
		if (circuit_rx_datagram(&c->rx, head) || head->flags & ~CIRCUIT_DATAGRAM_ERROR ||
		    head->error >= ERESTARTSYS || !head->error != !head->flags)
			break;
		ret = 1;
		if (likely(!head->flags && (!peer->port || is_peer(peer, head))))
			break;
		if (head->error && is_peer(peer, head)) {
			WRITE_ONCE(ep->sk->sk_err, head->error);
			sk_error_report(ep->sk);
		}
		told |= circuit_rx_release(&c->rx, circuit_datagram_bytes(head->len));
		cond_resched();
	}
	if (told)
		circuit_tell(c);
	return ret;
}

/* What the operator has said of datagrams that were sent, as far as nothing is before that. */
static void datagram_errors(struct circuit_ep *ep, const struct circuit_peer *peer)
{
	struct circuit_datagram head;
	struct circuit *c;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (peer->port && c && !circuit_rx_ours(ep, c) && datagram_next(ep, c, peer, &head) < 0)
		circuit_ep_kill(ep, c);
	mutex_unlock(&ep->rx_mutex);
}

static int datagram_put(struct circuit_tx *tx, struct msghdr *msg,
			const struct circuit_datagram *head)
{
	int err = circuit_copy_message(tx, sizeof(*head), head->len, &msg->msg_iter);

	if (likely(!err))
		circuit_datagram_head(tx, head);
	return err;
}

/**
 * circuit_datagram_sendmsg - sendmsg() of a socket of datagrams
 * @ep: the endpoint
 * @peer: whom it is connected to
 * @msg: what to send
 * @head: its head: how much, and to whom
 *
 * Return: how much, or a negative errno, as UDP; -ENETDOWN if there is no operator any more, -EBUSY
 * if a process has the circuit mapped.
 */
int circuit_datagram_sendmsg(struct circuit_ep *ep, const struct circuit_peer *peer,
			     struct msghdr *msg, const struct circuit_datagram *head)
{
	struct sock *sk = ep->sk;
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	u32 need = circuit_datagram_bytes(head->len);
	struct circuit *c;
	int err, space;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	err = circuit_tx_begin(ep, msg, &timeo);
	if (unlikely(err))
		return err;
	datagram_errors(ep, peer);
	mutex_lock(&ep->tx_mutex);
	for (;;) {
		c = circuit_ep_rings(ep);
		err = c ? circuit_tx_ours(ep, c) : 0;
		if (unlikely(err))
			break;
		err = sock_error(sk);
		if (err)
			break;
		err = -ENETDOWN;
		if (!c || READ_ONCE(ep->state) != TCP_ESTABLISHED)
			break;
		err = -EPIPE;
		if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			break;
		err = -EMSGSIZE;
		if (head->len > c->tx.size - sizeof(*head))
			break;
		space = circuit_tx_space(&c->tx);
		if (unlikely(space < 0)) {
			circuit_ep_kill(ep, c);
			continue;
		}
		if (likely(space >= (int)need)) {
			err = datagram_put(&c->tx, msg, head);
			if (unlikely(err))
				break;
			c->tx_need = 0;
			circuit_tx_tell(ep, c, circuit_tx_publish(&c->tx, need),
					msg->msg_flags & MSG_BATCH);
			break;
		}
		err = -EAGAIN;
		if (!timeo) {
			set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
			c->tx_need = need;
			circuit_tx_watch(c, circuit_tx_lowat(c));
			if (circuit_tx_space(&c->tx) >= (int)need)
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
	return err ?: head->len;
}

static int datagram_take(struct circuit *c, struct msghdr *msg, size_t len, int flags,
			 const struct circuit_datagram *head)
{
	struct sockaddr_circuit *from = msg->msg_name;
	u32 n = min_t(size_t, head->len, len);

	if (circuit_copy_out(&c->rx, sizeof(*head), n, &msg->msg_iter) != n)
		return -EFAULT;
	if (from) {
		memset(from, 0, sizeof(*from));
		from->sc_family = AF_CIRCUIT;
		from->sc_port = head->port;
		memcpy(from->sc_line, head->line, sizeof(from->sc_line));
		from->sc_line[CIRCUIT_NAME_SIZE - 1] = 0;
		msg->msg_namelen = sizeof(*from);
	}
	if (n < head->len)
		msg->msg_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK) && circuit_rx_release(&c->rx, circuit_datagram_bytes(head->len)))
		circuit_tell(c);
	return flags & MSG_TRUNC ? head->len : n;
}

/**
 * circuit_datagram_recvmsg - recvmsg() of a socket of datagrams
 * @ep: the endpoint
 * @peer: whom it is connected to; may change
 * @msg: where to
 * @len: how much at most; what does not fit of a datagram is lost
 * @flags: MSG_*
 *
 * Return: bytes received, or the datagram's with MSG_TRUNC; or a negative errno, as UDP, and
 * -ENETDOWN if there is no operator any more, -EBUSY if a process has the circuit mapped.
 */
int circuit_datagram_recvmsg(struct circuit_ep *ep, const struct circuit_peer *peer,
			     struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = ep->sk;
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	struct circuit_datagram head;
	u32 lost = 0;
	int ret;

	mutex_lock(&ep->rx_mutex);
	for (;;) {
		int state = smp_load_acquire(&ep->state);
		struct circuit *c = circuit_ep_rings(ep);
		int next = 0;

		ret = c ? circuit_rx_ours(ep, c) : 0;
		if (unlikely(ret))
			break;
		if (likely(c && state == TCP_ESTABLISHED))
			next = datagram_next(ep, c, peer, &head);
		if (unlikely(next < 0))
			circuit_ep_kill(ep, c);
		ret = sock_error(sk);
		if (unlikely(ret))
			break;
		if (likely(next > 0)) {
			ret = datagram_take(c, msg, len, flags, &head);
			lost = READ_ONCE(c->rx.prod->lost);
			break;
		}
		ret = -ENETDOWN;
		if (!c || state != TCP_ESTABLISHED || READ_ONCE(ep->state) != TCP_ESTABLISHED)
			break;
		ret = 0;
		if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
			break;
		ret = -EAGAIN;
		if (!timeo) {
			if (circuit_rx_rearm(c, 0))
				continue;
			break;
		}
		ret = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		circuit_rx_wait(ep, c, 0, 1, &timeo);
	}
	if (ret >= 0)
		circuit_rx_rewatch(ep);
	mutex_unlock(&ep->rx_mutex);
	if (ret >= 0 && sock_flag(sk, SOCK_RXQ_OVFL) && lost)
		put_cmsg(msg, SOL_SOCKET, SO_RXQ_OVFL, sizeof(lost), &lost);
	return ret;
}

/* Is there something to read? If not, the tasklet will tell. */
static bool datagram_readable(struct circuit_ep *ep, const struct circuit_peer *peer)
{
	struct circuit_datagram head;
	struct circuit *c;
	int next = 0;

	mutex_lock(&ep->rx_mutex);
	do {
		c = circuit_ep_rings(ep);
		if (!c || READ_ONCE(ep->state) != TCP_ESTABLISHED)
			break;
		if (unlikely(circuit_rx_ours(ep, c))) {
			next = circuit_map_readable(c);
			goto out;
		}
		next = datagram_next(ep, c, peer, &head);
		if (next < 0)
			circuit_ep_kill(ep, c);
		/* Whoever waits for edges is told of each arrival, too. */
	} while (!next && READ_ONCE(ep->state) == TCP_ESTABLISHED && circuit_rx_rearm(c, 0));
	if (next > 0)
		circuit_rx_rearm(c, c->rx.tail - c->rx.head);
out:
	mutex_unlock(&ep->rx_mutex);
	return next > 0;
}

static bool datagram_writable(struct circuit_ep *ep)
{
	struct circuit *c;
	bool ret = true;
	int space;
	u32 want;

	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (c && unlikely(circuit_tx_ours(ep, c))) {
		ret = circuit_map_writable(c);
	} else if (c) {
		want = circuit_tx_lowat(c);
		space = circuit_tx_space(&c->tx);
		if (space >= 0 && space < (int)want) {
			circuit_tx_watch(c, want);
			space = circuit_tx_space(&c->tx);
		}
		if (space < 0)
			circuit_ep_kill(ep, c);
		ret = space >= (int)want;
	}
	mutex_unlock(&ep->tx_mutex);
	return ret;
}

/**
 * circuit_datagram_poll - poll() of a socket of datagrams
 * @ep: the endpoint; the caller has seen to sock_poll_wait()
 * @peer: whom it is connected to; may change
 * @events: those that are asked for
 *
 * The events are those of datagram_poll().
 */
__poll_t circuit_datagram_poll(struct circuit_ep *ep, const struct circuit_peer *peer,
			       __poll_t events)
{
	struct sock *sk = ep->sk;
	__poll_t mask = 0;
	int shutdown;

	if (datagram_readable(ep, peer))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (events & (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND) && datagram_writable(ep))
		mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	shutdown = READ_ONCE(sk->sk_shutdown);
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
	if (shutdown == SHUTDOWN_MASK)
		mask |= EPOLLHUP;
	return mask;
}

/**
 * circuit_datagram_length - SIOCINQ: how long is the next datagram?
 * @ep: the endpoint
 * @peer: whom it is connected to; may change
 *
 * Return: bytes, 0 if there is none.
 */
u32 circuit_datagram_length(struct circuit_ep *ep, const struct circuit_peer *peer)
{
	struct circuit_datagram head = {};
	struct circuit *c;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c && circuit_rx_ours(ep, c))
		head.len = circuit_map_data(c);	/* how long it is the process knows */
	else if (!c || datagram_next(ep, c, peer, &head) <= 0)
		head.len = 0;
	mutex_unlock(&ep->rx_mutex);
	return head.len;
}
