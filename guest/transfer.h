/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between user memory and rings: what streams and messages have in common.
 *
 * The owner of a direction's mutex may use that direction's functions; those that wait
 * let go of it while asleep. See transfer.c.
 */
#ifndef _CIRCUIT_TRANSFER_H
#define _CIRCUIT_TRANSFER_H

#include <linux/uio.h>
#include <net/tcp_states.h>
#include "guest.h"

/*
 * copy_from_iter() and copy_to_iter() would check, at the price of a search among
 * all vmalloc areas, that the kernel's end of the copy is one object. A span is
 * within its ring by construction, so the unchecked forms will do.
 */

/**
 * circuit_copy_in - copy from user memory into a ring
 * @tx: the ring
 * @skip: where, in bytes after what is published
 * @len: how much, @skip + @len at most what circuit_tx_space() said
 * @from: the user's memory
 *
 * Return: how much was copied, less than @len if the memory is bad.
 */
static inline u32 circuit_copy_in(struct circuit_tx *tx, u32 skip, u32 len, struct iov_iter *from)
{
	struct circuit_span s = circuit_span(tx->size, tx->tail + skip, len);
	size_t n;

	n = _copy_from_iter(tx->data + s.off[0], s.len[0], from);
	if (s.len[1] && n == s.len[0])
		n += _copy_from_iter(tx->data + s.off[1], s.len[1], from);
	return n;
}

/**
 * circuit_copy_message - copy a message from user memory into a ring, or nothing
 * @tx: the ring
 * @skip: how long its head is
 * @len: how long it is, @skip + @len at most what circuit_tx_space() said
 * @from: the user's memory
 *
 * What was not published is in nobody's count of what the ring holds, and who has its memory next
 * may see it.
 *
 * Return: 0 or -EFAULT.
 */
static inline int circuit_copy_message(struct circuit_tx *tx, u32 skip, u32 len,
				       struct iov_iter *from)
{
	struct circuit_span s;

	if (likely(circuit_copy_in(tx, skip, len, from) == len))
		return 0;
	s = circuit_span(tx->size, tx->tail + skip, len);
	memset(tx->data + s.off[0], 0, s.len[0]);
	memset(tx->data + s.off[1], 0, s.len[1]);
	return -EFAULT;
}

/**
 * circuit_copy_out - copy from a ring to user memory
 * @rx: the ring
 * @skip: from where, in bytes after what is released
 * @len: how much, @skip + @len at most what circuit_rx_avail() said
 * @to: the user's memory
 *
 * Return: how much was copied, less than @len if the memory is bad.
 */
static inline u32 circuit_copy_out(struct circuit_rx *rx, u32 skip, u32 len, struct iov_iter *to)
{
	struct circuit_span s = circuit_rx_span(rx, skip, len);
	size_t n;

	n = _copy_to_iter(rx->data + s.off[0], s.len[0], to);
	if (s.len[1] && n == s.len[0])
		n += _copy_to_iter(rx->data + s.off[1], s.len[1], to);
	return n;
}

/* Have the far end look at the circuit. */
static inline void circuit_tell(struct circuit *c)
{
	c->doorbells++;
	circuit_line_notify(c->line, c->index);
}

/**
 * circuit_rx_may - how much of what is there may be read
 * @c: the circuit
 * @avail: what circuit_rx_avail() said
 * @flags: what circuit_rx_flags() said; FIN is taken out if something is held back
 * @held: set if something is
 *
 * That is all of it unless the far end has not kept to what it was allowed, or was faster than what
 * this end is told. Then the stream has not ended, either, and circuit_ep_allowed() tells when to
 * look again.
 */
static inline int circuit_rx_may(const struct circuit *c, int avail, int *flags, bool *held)
{
	u32 allowed = circuit_rx_allowed(c);

	/* Who was cut off does not go on writing. */
	if (unlikely(smp_load_acquire(&c->ended)))
		avail = clamp_t(s32, c->rx_final - c->rx.head, 0, avail);
	*held = avail > 0 && avail > allowed;
	if (likely(!*held))
		return avail;
	*flags &= ~CIRCUIT_TX_FIN;
	return allowed;
}

/* How much room makes a socket writeable to poll() again. */
static inline u32 circuit_tx_lowat(const struct circuit *c)
{
	return max(c->tx.size / 4, c->tx_need);	/* which is 0 for streams */
}

/* Can nothing be written any more? */
static inline bool circuit_tx_broken(const struct circuit_ep *ep)
{
	const struct sock *sk = ep->sk;

	return READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ||
	       READ_ONCE(ep->state) != TCP_ESTABLISHED;
}

void circuit_tx_tell(struct circuit_ep *ep, struct circuit *c, bool notify, bool more);
int circuit_tx_begin(struct circuit_ep *ep, struct msghdr *msg, long *timeo);
int circuit_tx_may(struct circuit *c, u32 room, u32 least, u32 len);
void circuit_tx_wait(struct circuit_ep *ep, struct circuit *c, u32 need, u32 len, long *timeo);
void circuit_rx_wait(struct circuit_ep *ep, struct circuit *c, u32 skip, u32 want, long *timeo);
bool circuit_rx_spin(struct circuit_ep *ep, struct circuit *c,
		     bool (*over)(struct circuit_ep *ep));
void circuit_rx_slept(struct circuit_ep *ep, struct circuit *c, u64 ns);
int circuit_message_put(struct circuit *c, struct msghdr *msg, u32 len);
int circuit_message_take(struct circuit *c, struct msghdr *msg, size_t len, int flags, u32 may,
			 u32 *want);
u32 circuit_message_take_more(struct circuit *c, struct msghdr *msg, u32 size, u32 most, int flags,
			      u32 may);
bool circuit_rx_rearm(struct circuit *c, u32 seen);
void circuit_rx_rewatch(struct circuit_ep *ep);

#endif /* _CIRCUIT_TRANSFER_H */
