/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One end's view of a circuit's rings.
 *
 * The ABI and its barrier pairs R1 to R3 are described in linux/circuit_ring.h;
 * the comments here name the pair at each use. Both modules use these
 * functions, for signalling as for everything else.
 *
 * The far end is hostile. Each word it owns is loaded exactly once per
 * decision, checked against what this end knows by itself, and only the
 * checked copy is used. What this end published is never read back, but from a process that
 * had the rings mapped, which is no better (guest/map.c). A check
 * that fails returns -EPROTO, after which the caller resets the circuit; no
 * value the far end stores makes these functions touch memory outside the ring.
 *
 * Locking: a struct circuit_tx or circuit_rx belongs to whoever holds the lock
 * its owner says protects it; nothing in here locks. The two directions of a
 * circuit are independent of each other.
 */
#ifndef _CIRCUIT_RING_H
#define _CIRCUIT_RING_H

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/barrier.h>
#include <linux/circuit_ring.h>

/**
 * struct circuit_tx - the writing side of a ring
 * @prod: this end's words
 * @cons: the far end's words
 * @data: the ring
 * @size: its size in bytes, a power of two
 * @tail: index after the last byte published
 * @head: the far end's head, as last seen and checked
 * @bytes: total published
 * @others: total that was published by a process that had the ring mapped; a statistic
 */
struct circuit_tx {
	struct circuit_producer		*prod;
	const struct circuit_consumer	*cons;
	u8				*data;
	u32				size;
	u32				tail;
	u32				head;
	u64				bytes;
	u64				others;
};

/**
 * struct circuit_rx - the reading side of a ring
 * @cons: this end's words
 * @prod: the far end's words
 * @data: the ring
 * @size: its size in bytes, a power of two
 * @head: index after the last byte released
 * @tail: the far end's tail, as last seen and checked
 * @bytes: total released
 * @others: total that was released by a process that had the ring mapped; a statistic
 */
struct circuit_rx {
	struct circuit_consumer		*cons;
	const struct circuit_producer	*prod;
	const u8			*data;
	u32				size;
	u32				head;
	u32				tail;
	u64				bytes;
	u64				others;
};

/**
 * struct circuit_urgent - what the reading side knows of urgent data
 * @mark: the far end's @urgent, as last seen
 * @seen: there has been one
 * @gone: the urgent byte is behind the head
 * @taken: it was received by itself; the owner's
 */
struct circuit_urgent {
	u32	mark;
	bool	seen;
	bool	gone;
	bool	taken;
};

/**
 * struct circuit_span - up to two contiguous pieces of a ring
 * @off: offsets into the ring
 * @len: lengths in bytes; @len[1] is zero unless the span wraps
 */
struct circuit_span {
	u32	off[2];
	u32	len[2];
};

/**
 * circuit_ring_size_ok - may a ring be that large?
 * @size: size in bytes
 */
static inline bool circuit_ring_size_ok(u32 size)
{
	return is_power_of_2(size) && size >= CIRCUIT_RING_MIN && size <= CIRCUIT_RING_MAX;
}

/**
 * circuit_bytes - size of a circuit in memory
 * @size0: size of ring 0, valid
 * @size1: size of ring 1, valid
 */
static inline u32 circuit_bytes(u32 size0, u32 size1)
{
	return CIRCUIT_CTRL_SIZE + size0 + size1;
}

/**
 * circuit_need_notify - does moving an index pass the other side's event?
 * @event: the other side's event, as loaded
 * @new: index after the move
 * @old: index before the move
 *
 * vring_need_event() with 32-bit indices.
 */
static inline bool circuit_need_notify(u32 event, u32 new, u32 old)
{
	return (u32)(new - event - 1) < (u32)(new - old);
}

static inline struct circuit_span circuit_span(u32 size, u32 index, u32 len)
{
	struct circuit_span s;

	s.off[0] = index & (size - 1);
	s.off[1] = 0;
	s.len[0] = min(len, size - s.off[0]);
	s.len[1] = len - s.len[0];
	return s;
}

/**
 * circuit_ring_init - take up one end of a circuit
 * @tx: the ring this end writes
 * @rx: the ring this end reads
 * @ctrl: the control page
 * @data0: ring 0
 * @size0: size of ring 0, checked by the caller with circuit_ring_size_ok()
 * @data1: ring 1
 * @size1: size of ring 1, likewise
 * @end: which end this is, 0 or 1
 *
 * Both ends start from indices of zero in a control page zeroed by the operator. An
 * event of zero would be passed by the first byte; a reader that has not armed its
 * event yet wants to hear of that one, a writer does not.
 */
static inline void circuit_ring_init(struct circuit_tx *tx, struct circuit_rx *rx,
				     struct circuit_ctrl *ctrl, void *data0, u32 size0,
				     void *data1, u32 size1, unsigned int end)
{
	*tx = (struct circuit_tx) {
		.prod = &ctrl->dir[end].prod,
		.cons = &ctrl->dir[end].cons,
		.data = end ? data1 : data0,
		.size = end ? size1 : size0,
	};
	*rx = (struct circuit_rx) {
		.cons = &ctrl->dir[!end].cons,
		.prod = &ctrl->dir[!end].prod,
		.data = end ? data0 : data1,
		.size = end ? size0 : size1,
	};
	WRITE_ONCE(tx->prod->event, U32_MAX);
}

/**
 * circuit_tx_space - how much can be written
 * @tx: the ring
 *
 * Return: free bytes, or -EPROTO if the far end's head is impossible: it may
 * only move forward, and not beyond what was published.
 */
static inline int circuit_tx_space(struct circuit_tx *tx)
{
	/* R2: what was read before this head may be overwritten. */
	u32 head = virt_load_acquire(&tx->cons->head);

	if (unlikely(head - tx->head > tx->tail - tx->head))
		return -EPROTO;
	tx->head = head;
	return tx->size - (tx->tail - head);
}

/**
 * circuit_tx_span - where the next bytes go
 * @tx: the ring
 * @len: how many, at most what circuit_tx_space() said
 */
static inline struct circuit_span circuit_tx_span(const struct circuit_tx *tx, u32 len)
{
	return circuit_span(tx->size, tx->tail, len);
}

/**
 * circuit_tx_publish - hand written bytes to the far end
 * @tx: the ring
 * @len: how many were written at circuit_tx_span()
 *
 * Return: true if the far end wants to be notified.
 */
static inline bool circuit_tx_publish(struct circuit_tx *tx, u32 len)
{
	u32 old = tx->tail;

	WRITE_ONCE(tx->tail, old + len);
	WRITE_ONCE(tx->bytes, tx->bytes + len);
	WRITE_ONCE(tx->prod->bytes, tx->bytes + tx->others);
	virt_store_release(&tx->prod->tail, tx->tail);	/* R1 */
	virt_mb();					/* R3, active side */
	return circuit_need_notify(READ_ONCE(tx->cons->event), tx->tail, old);
}

/**
 * circuit_tx_arm - ask to be told when there is room
 * @tx: the ring
 * @want: how much room, 1 to the ring's size
 *
 * The caller must look at circuit_tx_space() again before it sleeps.
 */
static inline void circuit_tx_arm(struct circuit_tx *tx, u32 want)
{
	WRITE_ONCE(tx->prod->event, tx->tail + want - tx->size - 1);
	virt_mb();					/* R3, sleepy side */
}

/**
 * circuit_tx_flag - tell the far end that this end has finished or aborted
 * @tx: the ring
 * @flags: CIRCUIT_TX_* to be set in addition to @set
 * @set: CIRCUIT_TX_* that are set
 *
 * To be followed by a notification.
 */
static inline void circuit_tx_flag(struct circuit_tx *tx, u32 flags, u32 set)
{
	virt_store_release(&tx->prod->flags, set | flags);
	virt_mb();
}

/**
 * circuit_tx_urgent - the last of the next bytes is urgent
 * @tx: the ring
 * @len: how many of them
 * @flags: CIRCUIT_TX_* that are set
 *
 * To be called before they are published, or with 0 afterwards for the last that was; and
 * to be followed by a notification.
 */
static inline void circuit_tx_urgent(struct circuit_tx *tx, u32 len, u32 flags)
{
	WRITE_ONCE(tx->prod->urgent, tx->tail + len);
	virt_store_release(&tx->prod->flags, flags | CIRCUIT_TX_URG);
}

/**
 * circuit_rx_avail - how much can be read
 * @rx: the ring
 *
 * Return: bytes, or -EPROTO if the far end's tail is impossible: it may only
 * move forward, and not beyond the ring's size from the head.
 */
static inline int circuit_rx_avail(struct circuit_rx *rx)
{
	/* R1: what was written before this tail may be read. */
	u32 tail = virt_load_acquire(&rx->prod->tail);

	if (unlikely(tail - rx->head > rx->size ||
		     tail - rx->head < rx->tail - rx->head))
		return -EPROTO;
	rx->tail = tail;
	return tail - rx->head;
}

/**
 * circuit_rx_span - where the next bytes are
 * @rx: the ring
 * @skip: how many to pass over
 * @len: how many, @skip + @len at most what circuit_rx_avail() said
 */
static inline struct circuit_span circuit_rx_span(const struct circuit_rx *rx, u32 skip, u32 len)
{
	return circuit_span(rx->size, rx->head + skip, len);
}

/**
 * circuit_rx_release - give read bytes back to the far end
 * @rx: the ring
 * @len: how many, at most what circuit_rx_avail() said
 *
 * Return: true if the far end wants to be notified.
 */
static inline bool circuit_rx_release(struct circuit_rx *rx, u32 len)
{
	u32 old = rx->head;

	rx->head = old + len;
	WRITE_ONCE(rx->bytes, rx->bytes + len);
	virt_store_release(&rx->cons->head, rx->head);	/* R2 */
	virt_mb();					/* R3, active side */
	return circuit_need_notify(READ_ONCE(rx->prod->event), rx->head, old);
}

/**
 * circuit_message_bytes - what a message takes of a ring
 * @len: its length, at most the ring's size less that of a head
 */
static inline u32 circuit_message_bytes(u32 len)
{
	return round_up(sizeof(struct circuit_message) + len, CIRCUIT_MESSAGE_ALIGN);
}

/**
 * circuit_message_head - write the head of the next message
 * @tx: the ring, with room for circuit_message_bytes() of @len
 * @len: its length
 * @flags: CIRCUIT_MESSAGE_*
 *
 * circuit_tx_publish() of all of it follows.
 */
static inline void circuit_message_head(struct circuit_tx *tx, u32 len, u32 flags)
{
	struct circuit_message head = { .len = len, .flags = flags };
	struct circuit_span s = circuit_tx_span(tx, sizeof(head));

	memcpy(tx->data + s.off[0], &head, s.len[0]);
	memcpy(tx->data + s.off[1], (u8 *)&head + s.len[0], s.len[1]);
}

/**
 * circuit_rx_message - look at the next message
 * @rx: the ring, for which circuit_rx_avail() said that there is something
 * @head: set to a checked copy of its head
 *
 * Return: 0, or -EPROTO if it is none: flags that do not exist, or more bytes than there are.
 */
static inline int circuit_rx_message(const struct circuit_rx *rx, struct circuit_message *head)
{
	u32 avail = rx->tail - rx->head;

	if (unlikely((avail | rx->head) % CIRCUIT_MESSAGE_ALIGN))
		return -EPROTO;
	memcpy(head, rx->data + (rx->head & (rx->size - 1)), sizeof(*head));
	barrier_data(head);	/* once; from here on it is the copy */
	if (unlikely(head->flags & ~CIRCUIT_MESSAGE_FLAGS || head->len > avail - sizeof(*head) ||
		     circuit_message_bytes(head->len) > avail))
		return -EPROTO;
	return 0;
}

/**
 * circuit_datagram_bytes - what a datagram takes of a ring
 * @len: its length, at most the ring's size less that of a head
 */
static inline u32 circuit_datagram_bytes(u32 len)
{
	return round_up(sizeof(struct circuit_datagram) + len, CIRCUIT_MESSAGE_ALIGN);
}

/**
 * circuit_datagram_head - write the head of the next datagram
 * @tx: the ring, with room for circuit_datagram_bytes() of @head->len
 * @head: the head
 *
 * circuit_tx_publish() of all of it follows.
 */
static inline void circuit_datagram_head(struct circuit_tx *tx, const struct circuit_datagram *head)
{
	struct circuit_span s = circuit_tx_span(tx, sizeof(*head));

	memcpy(tx->data + s.off[0], head, s.len[0]);
	memcpy(tx->data + s.off[1], (const u8 *)head + s.len[0], s.len[1]);
}

/**
 * circuit_rx_datagram - look at the next datagram
 * @rx: the ring, for which circuit_rx_avail() said that there is something
 * @head: set to a copy of its head, of which the length is checked
 *
 * Return: 0, or -EPROTO if there are fewer bytes than it says.
 */
static inline int circuit_rx_datagram(const struct circuit_rx *rx, struct circuit_datagram *head)
{
	u32 avail = rx->tail - rx->head;
	struct circuit_span s;

	if (unlikely((avail | rx->head) % CIRCUIT_MESSAGE_ALIGN || avail < sizeof(*head)))
		return -EPROTO;
	s = circuit_rx_span(rx, 0, sizeof(*head));
	memcpy(head, rx->data + s.off[0], s.len[0]);
	memcpy((u8 *)head + s.len[0], rx->data + s.off[1], s.len[1]);
	barrier_data(head);	/* once; from here on it is the copy */
	if (unlikely(head->len > avail - sizeof(*head) || circuit_datagram_bytes(head->len) > avail))
		return -EPROTO;
	return 0;
}

/**
 * circuit_rx_arm - ask to be told when there is something to read
 * @rx: the ring
 * @want: how much, 1 to the ring's size
 *
 * The caller must look at circuit_rx_avail() again before it sleeps.
 */
static inline void circuit_rx_arm(struct circuit_rx *rx, u32 want)
{
	WRITE_ONCE(rx->cons->event, rx->head + want - 1);
	virt_mb();					/* R3, sleepy side */
}

/**
 * circuit_rx_flags - what the far end said about the stream
 * @rx: the ring
 *
 * Return: CIRCUIT_TX_END of the far end, or -EPROTO for a flag that does not
 * exist. After FIN, circuit_rx_avail() tells the final number of bytes.
 */
static inline int circuit_rx_flags(const struct circuit_rx *rx)
{
	u32 flags = virt_load_acquire(&rx->prod->flags);

	return unlikely(flags & ~CIRCUIT_TX_FLAGS) ? -EPROTO : (int)(flags & CIRCUIT_TX_END);
}

/**
 * circuit_rx_urgent - is there an urgent byte ahead?
 * @rx: the ring, after circuit_rx_avail()
 * @urg: what is known so far
 * @off: set to how far behind the head it is, less than the ring's size, though it may
 *	not have come yet
 *
 * What lies elsewhere has been read, or is a lie; that harms nobody but its stream.
 */
static inline bool circuit_rx_urgent(const struct circuit_rx *rx, struct circuit_urgent *urg,
				     u32 *off)
{
	u32 mark;

	if (likely(!(virt_load_acquire(&rx->prod->flags) & CIRCUIT_TX_URG)))
		return false;
	mark = READ_ONCE(rx->prod->urgent);
	if (!urg->seen || mark != urg->mark)
		*urg = (struct circuit_urgent) { .mark = mark, .seen = true };
	*off = mark - 1 - rx->head;
	if (*off >= rx->size)
		urg->gone = true;
	return !urg->gone;
}

/**
 * circuit_rx_close - tell the far end that nothing will be read any more
 * @rx: the ring
 */
static inline void circuit_rx_close(struct circuit_rx *rx)
{
	virt_store_release(&rx->cons->flags, CIRCUIT_RX_CLOSED);
}

/**
 * circuit_tx_open - may the far end still read?
 * @tx: the ring
 *
 * It says that it will not when it hangs up, after all that it has to say.
 */
static inline bool circuit_tx_open(const struct circuit_tx *tx)
{
	return !(virt_load_acquire(&tx->cons->flags) & CIRCUIT_RX_CLOSED);
}

/**
 * circuit_tx_lost - has something been written that will never be read?
 * @tx: the ring
 * @tail: where the index after the last byte written is found
 *
 * That is so when the far end has closed without having read all of it. Having
 * written and found the far end closed is not enough: it may have read that first.
 * Needs no lock against the writing side; what that adds meanwhile is lost as well.
 *
 * Return: 1 or 0, or -EPROTO for a flag that does not exist.
 */
static inline int circuit_tx_lost(const struct circuit_tx *tx, const u32 *tail)
{
	u32 flags = virt_load_acquire(&tx->cons->flags);

	if (unlikely(flags & ~CIRCUIT_RX_FLAGS))
		return -EPROTO;
	/* The final head, by the acquire above. */
	return flags & CIRCUIT_RX_CLOSED && READ_ONCE(tx->cons->head) != READ_ONCE(*tail);
}

#endif /* _CIRCUIT_RING_H */
