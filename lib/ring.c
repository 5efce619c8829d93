// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The data path: what circuit.h says under tx, rx and msg.
 *
 * The far end's words are fetched when what is known of them does not do. As long as there is room
 * for what is written, and something left of what was seen to have arrived, neither end touches the
 * other's lines.
 */
#include <string.h>
#include "internal.h"

/* So often in a row nothing is found before lazily released space is returned. */
#define VAIN	64

/* --- writing -------------------------------------------------------------------------------- */

static uint32_t tx_free(const struct tx *tx)
{
	return tx->size - (tx->tail - tx->head);
}

/* Look at the head: it may only move forward, and not beyond what was published. */
static int tx_refresh(struct circuit *c)
{
	struct tx *tx = &c->tx;
	/* R2: what was read before this head may be overwritten. */
	uint32_t head = load_acquire(&tx->cons->head);

	if (unlikely(head - tx->head > tx->pub - tx->head))
		return circuit_violated(c);
	tx->head = head;
	return 0;
}

/* Is there a reason not to write other than that there is no room? */
static int tx_ended(struct circuit *c)
{
	struct tx *tx = &c->tx;
	uint32_t flags;

	if (unlikely(tx->shut))
		return -EPIPE;
	flags = load(&tx->cons->flags);
	if (unlikely(flags & ~CIRCUIT_RX_FLAGS))
		return circuit_violated(c);
	if (unlikely(load(&c->rx.prod->flags) & CIRCUIT_TX_RST))
		return -ECONNRESET;
	if (unlikely(tx->closed || flags & CIRCUIT_RX_CLOSED)) {
		tx->closed = true;
		return -EPIPE;
	}
	return -circuit_hup(c);
}

/*
 * Room for so many bytes, at most the ring's size? 0, EAGAIN, or why there will not be any more.
 */
int circuit_tx_room(struct circuit *c, uint32_t want)
{
	int ret;

	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	if (tx_free(&c->tx) < want) {
		ret = tx_refresh(c);
		if (!ret)
			ret = tx_ended(c);
		if (ret)
			return ret;
		return tx_free(&c->tx) < want ? -EAGAIN : 0;
	}
	if (unlikely(c->tx.shut || c->tx.closed))
		return -EPIPE;
	return 0;
}

/* As above, and remember what was wanted. */
static int tx_need(struct circuit *c, uint32_t want)
{
	int ret = circuit_tx_room(c, want);

	c->tx.want = ret ? want : 1;
	return ret;
}

EXPORT ssize_t circuit_tx_reserve(struct circuit *c, void **data, size_t min)
{
	struct tx *tx = &c->tx;
	int ret;

	if (unlikely(c->messages))
		return -EINVAL;
	if (unlikely(min > tx->size))
		return -EMSGSIZE;
	/* Not in crumbs: look for more before the last quarter is given out. */
	if (tx_free(tx) < tx->size / 4 && !circuit_broken(c)) {
		ret = tx_refresh(c);
		if (ret)
			return ret;
	}
	ret = tx_need(c, min ? min : 1);
	if (unlikely(ret))
		return ret;
	*data = tx->data + (tx->tail & (tx->size - 1));
	tx->room = tx_free(tx);
	return tx->room;
}

EXPORT int circuit_tx_fill(struct circuit *c, size_t len)
{
	struct tx *tx = &c->tx;

	if (unlikely(len > tx->room || c->messages))
		return -EINVAL;
	tx->room -= len;
	tx->tail += len;
	return 0;
}

static int tx_kick(struct circuit *c)
{
	int ret = c->transport->kick(c);

	c->tx.due = ret == -ENOBUFS;
	count(&c->tx.kicks, 1);
	return ret;
}

EXPORT int circuit_tx_publish(struct circuit *c)
{
	struct tx *tx = &c->tx;
	uint32_t old = tx->pub, new = tx->tail, flags, event;

	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	if (old == new)
		return unlikely(tx->due) ? tx_kick(c) : 0;
	tx->pub = new;
	count(&tx->bytes, new - old);
	__atomic_store_n(&tx->prod->bytes, tx->bytes, __ATOMIC_RELAXED);
	store_release(&tx->prod->tail, new);	/* R1 */
	full_barrier();				/* R3, active side */
	event = load(&tx->cons->event);
	flags = load(&tx->cons->flags);
	/* If it has its magic after the barrier, it was the circuit that was written to. */
	if (unlikely(load(&c->ctrl->magic) != CIRCUIT_RING_MAGIC || flags & ~CIRCUIT_RX_FLAGS))
		return circuit_violated(c);
	if (unlikely(flags & CIRCUIT_RX_CLOSED)) {
		tx->closed = true;
		return -EPIPE;
	}
	if (unlikely(need_notify(event, new, old) || tx->due))
		return tx_kick(c);
	return -circuit_hup(c);
}

EXPORT int circuit_tx_commit(struct circuit *c, size_t len)
{
	int ret = circuit_tx_fill(c, len);

	return unlikely(ret) ? ret : circuit_tx_publish(c);
}

EXPORT ssize_t circuit_write(struct circuit *c, const void *data, size_t len)
{
	ssize_t room;
	void *to;
	int ret;

	if (!len)
		return c->messages ? -EINVAL : 0;
	room = circuit_tx_reserve(c, &to, 1);
	if (unlikely(room < 0))
		return room;
	if (len > (size_t)room)
		len = room;
	memcpy(to, data, len);
	ret = circuit_tx_commit(c, len);
	return unlikely(ret && ret != -ENOBUFS) ? ret : (ssize_t)len;
}

EXPORT int circuit_msg_reserve(struct circuit *c, void **data, size_t max)
{
	struct tx *tx = &c->tx;
	uint64_t need;
	int ret;

	if (unlikely(!c->messages))
		return -EINVAL;
	if (unlikely(max > tx->size - c->head))
		return -EMSGSIZE;
	need = message_bytes(c, max);
	ret = tx_need(c, need);
	if (unlikely(ret))
		return ret;
	tx->room = need;
	*data = tx->data + (tx->tail & (tx->size - 1)) + c->head;
	return 0;
}

EXPORT int circuit_msg_fill(struct circuit *c, size_t len, unsigned int flags)
{
	struct circuit_message head = { .len = len, .flags = flags };
	struct circuit_datagram datagram;
	struct tx *tx = &c->tx;
	uint64_t need;
	uint8_t *to;

	if (unlikely(!c->messages || flags & ~CIRCUIT_MESSAGE_FLAGS || len > tx->room))
		return -EINVAL;
	need = message_bytes(c, len);
	if (unlikely(need > tx->room || (flags && circuit_datagrams(c))))
		return -EINVAL;
	to = tx->data + (tx->tail & (tx->size - 1));
	if (circuit_datagrams(c)) {
		datagram = c->peer;
		datagram.len = len;
		memcpy(to, &datagram, sizeof(datagram));
	} else {
		memcpy(to, &head, sizeof(head));
	}
	tx->room = 0;
	tx->tail += need;
	/*
	 * Small ones follow soon: the far end has read where they will be, and their lines have to
	 * come back.
	 */
	if (need <= LINE) {
		to = tx->data + (tx->tail & (tx->size - 1));
		prefetch_write(to);
		prefetch_write(to + LINE);
	}
	return 0;
}

EXPORT int circuit_msg_commit(struct circuit *c, size_t len, unsigned int flags)
{
	int ret = circuit_msg_fill(c, len, flags);

	return unlikely(ret) ? ret : circuit_tx_publish(c);
}

EXPORT int circuit_msg_send(struct circuit *c, const struct circuit_view *views, unsigned int count)
{
	unsigned int done;
	void *data;
	int ret = c->messages ? 0 : -EINVAL, pub;

	for (done = 0; done < count; done++) {
		ret = circuit_msg_reserve(c, &data, views[done].len);
		if (unlikely(ret))
			break;
		memcpy(data, views[done].data, views[done].len);
		ret = circuit_msg_fill(c, views[done].len, views[done].flags);
		if (unlikely(ret))
			break;
	}
	if (!done)
		return ret;
	pub = circuit_tx_publish(c);
	return unlikely(pub && pub != -ENOBUFS) ? pub : (int)done;
}

/* --- reading -------------------------------------------------------------------------------- */

static uint32_t rx_avail(const struct rx *rx)
{
	return rx->tail - rx->head;
}

/*
 * Look at the tail: it may only move forward, not farther than the far end knows to be free, and by
 * whole messages where there are any.
 */
static int rx_refresh(struct circuit *c)
{
	struct rx *rx = &c->rx;
	/* R1: what was written before this tail may be read. */
	uint32_t tail = load_acquire(&rx->prod->tail);

	if (unlikely(tail - rx->pub > rx->size || tail - rx->pub < rx->tail - rx->pub ||
		     (c->messages && tail % CIRCUIT_MESSAGE_ALIGN)))
		return circuit_violated(c);
	rx->tail = tail;
	return 0;
}

/*
 * So many bytes? 1, 0 if there are not and no more will come, EAGAIN if they may still come, or
 * another error. What there is counts even after the far end has gone.
 */
int circuit_rx_some(struct circuit *c, uint32_t want)
{
	struct rx *rx = &c->rx;
	uint32_t flags;
	int hup, ret;

	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	if (rx_avail(rx) >= want)
		return 1;
	ret = rx_refresh(c);
	if (unlikely(ret))
		return ret;
	if (rx_avail(rx) >= want)
		return 1;
	/* In this order: who is gone has said FIN before that, and the tail before FIN. */
	hup = circuit_hup(c);
	flags = load_acquire(&rx->prod->flags);
	if (unlikely(flags & ~CIRCUIT_TX_FLAGS))
		return circuit_violated(c);
	if (likely(!hup && !(flags & CIRCUIT_TX_END)))
		return -EAGAIN;
	ret = rx_refresh(c);
	if (unlikely(ret))
		return ret;
	if (rx_avail(rx) >= want)
		return 1;
	if (flags & CIRCUIT_TX_RST)
		return hup ? -hup : -ECONNRESET;
	return flags & CIRCUIT_TX_FIN ? 0 : -hup;
}

static int rx_kick(struct circuit *c)
{
	int ret = c->transport->kick(c);

	c->rx.due = ret == -ENOBUFS;
	count(&c->rx.kicks, 1);
	/* Nobody there to be told; whether there is more to be read is another matter. */
	return ret == -ENOBUFS || circuit_broken(c) ? ret : 0;
}

EXPORT int circuit_rx_publish(struct circuit *c)
{
	struct rx *rx = &c->rx;
	uint32_t old = rx->pub, new = rx->head;

	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	rx->vain = 0;
	if (old == new)
		return unlikely(rx->due) ? rx_kick(c) : 0;
	rx->pub = new;
	store_release(&rx->cons->head, new);	/* R2 */
	full_barrier();				/* R3, active side */
	if (unlikely(need_notify(load(&rx->prod->event), new, old) || rx->due))
		return rx_kick(c);
	return 0;
}

/* As circuit_rx_some(), and remember what was wanted. Who finds nothing returns what he can. */
static int rx_need(struct circuit *c, uint32_t want)
{
	struct rx *rx = &c->rx;
	int ret = circuit_rx_some(c, want), err;

	if (likely(ret > 0)) {
		rx->want = 1;
		rx->vain = 0;
		return ret;
	}
	rx->want = want;
	if (ret == -EAGAIN && rx->head != rx->pub && ++rx->vain >= VAIN) {
		err = circuit_rx_publish(c);
		if (err && err != -ENOBUFS)
			return err;
	}
	return ret;
}

static int rx_release(struct circuit *c, uint32_t len)
{
	struct rx *rx = &c->rx;
	int ret;

	rx->head += len;
	count(&rx->bytes, len);
	if (rx->head - rx->pub < rx->size / 4)
		return 0;
	ret = circuit_rx_publish(c);
	return ret == -ENOBUFS ? 0 : ret;	/* it is due */
}

EXPORT ssize_t circuit_rx_peek(struct circuit *c, const void **data, size_t min)
{
	struct rx *rx = &c->rx;
	int ret;

	if (unlikely(c->messages))
		return -EINVAL;
	if (unlikely(min > rx->size))
		return -EMSGSIZE;
	ret = rx_need(c, min ? min : 1);
	if (unlikely(ret < 0) && (ret == -EAGAIN || !rx_avail(rx) || circuit_broken(c)))
		return ret;
	*data = rx->data + (rx->head & (rx->size - 1));
	return rx_avail(rx);
}

EXPORT int circuit_rx_release(struct circuit *c, size_t len)
{
	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	if (unlikely(len > rx_avail(&c->rx) || c->messages))
		return -EINVAL;
	return rx_release(c, len);
}

EXPORT ssize_t circuit_read(struct circuit *c, void *data, size_t len)
{
	const void *from;
	ssize_t ret;
	int err;

	if (!len)
		return c->messages ? -EINVAL : 0;
	ret = circuit_rx_peek(c, &from, 1);
	if (ret <= 0)
		return ret;
	if (len > (size_t)ret)
		len = ret;
	memcpy(data, from, len);
	err = rx_release(c, len);
	return unlikely(err) ? err : (ssize_t)len;
}

/* What is at an index where a message should be. */
enum found {
	FOUND_NONE,	/* none */
	FOUND_MESSAGE,
	FOUND_ERROR,	/* what became of a datagram that was sent to the peer: @flags is an errno */
	FOUND_OTHER,	/* a datagram that is not from the peer, or an error that is not about him */
};

/* A checked copy of the head of the message at that index; of @head only @len and @flags count. */
static enum found rx_message(const struct circuit *c, uint32_t index, struct circuit_message *head)
{
	const struct rx *rx = &c->rx;
	const uint32_t *p = (const uint32_t *)(rx->data + (index & (rx->size - 1)));

	head->len = load(p);
	head->flags = load(p + 1);
	if (unlikely(head->flags & ~CIRCUIT_MESSAGE_FLAGS ||
		     message_bytes(c, head->len) > rx->tail - index))
		return FOUND_NONE;
	return FOUND_MESSAGE;
}

/* The same of datagrams. */
static enum found rx_datagram(const struct circuit *c, uint32_t index, struct circuit_message *head)
{
	const struct rx *rx = &c->rx;
	const uint8_t *at = rx->data + (index & (rx->size - 1));
	const struct circuit_datagram *d = (const void *)at;
	uint32_t error;

	if (unlikely(rx->tail - index < DATAGRAM_HEAD))
		return FOUND_NONE;
	head->len = load(&d->len);
	head->flags = load(&d->flags);
	error = load(&d->error);
	if (unlikely(head->flags & ~CIRCUIT_DATAGRAM_ERROR || !error != !head->flags ||
		     error > ERROR_MAX || (error && head->len) ||
		     message_bytes(c, head->len) > rx->tail - index))
		return FOUND_NONE;
	head->flags = error;
	if (unlikely(load(&d->port) != c->peer.port ||
		     memcmp(d->line, c->peer.line, sizeof(d->line))))
		return FOUND_OTHER;
	return error ? FOUND_ERROR : FOUND_MESSAGE;
}

EXPORT int circuit_msg_peek(struct circuit *c, struct circuit_view *views, unsigned int count)
{
	struct rx *rx = &c->rx;
	struct circuit_message head;
	uint32_t index = rx->head;
	unsigned int n = 0;
	enum found found;
	int ret, err;

	if (unlikely(!c->messages || !count))
		return -EINVAL;
	ret = rx_need(c, 1);
	if (unlikely(ret <= 0))
		return ret;
	for (; n < count && n < INT32_MAX && index != rx->tail; index += message_bytes(c, head.len)) {
		found = circuit_datagrams(c) ? rx_datagram(c, index, &head) :
					       rx_message(c, index, &head);
		if (likely(found == FOUND_MESSAGE)) {
			views[n].data = rx->data + (index & (rx->size - 1)) + c->head;
			views[n].len = head.len;
			views[n].flags = head.flags;
			views[n].next = index + message_bytes(c, head.len);
			views[n].reserved = 0;
			n++;
			continue;
		}
		/* Behind a message it waits until that is released. */
		if (n)
			break;
		if (found == FOUND_NONE)
			return circuit_violated(c);
		err = rx_release(c, message_bytes(c, head.len));
		if (unlikely(err))
			return err;
		/*
		 * That somebody's rate of calls is exceeded is not that there is nothing to read.
		 */
		if (found == FOUND_ERROR)
			return head.flags == EAGAIN ? -ENOBUFS : -(int)head.flags;
	}
	return n ? (int)n : -EAGAIN;
}

EXPORT int circuit_msg_release(struct circuit *c, const struct circuit_view *last)
{
	uint32_t len = last->next - c->rx.head;

	if (unlikely(circuit_broken(c)))
		return -circuit_broken(c);
	if (unlikely(!c->messages || !len || len > rx_avail(&c->rx) ||
		     len % CIRCUIT_MESSAGE_ALIGN))
		return -EINVAL;
	return rx_release(c, len);
}
