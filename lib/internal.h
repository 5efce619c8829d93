/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libcircuit's inside: one handle, two directions, two transports.
 *
 * ring.c	the data path; knows nothing of transports
 * wait.c	looking, learning for how long, sleeping
 * socket.c	transport: a circuit that a kernel module maps; its doorbell is an ioctl
 * local.c	transport: a circuit in a memfd; its doorbell is a byte on a socket of AF_UNIX
 * handle.c	what is left: closing, errors, counters
 *
 * The far end is hostile. Each word it owns is loaded once per decision, checked against what this
 * end knows by itself, and only the checked copy is used; what this end has published is never read
 * back. So is a message's head, which lies in the ring.
 *
 * Who may touch what: struct tx is the writing thread's, struct rx the reading thread's; what is
 * above them is set before the handle is given out, or atomic. The barrier pairs R1 to R3 are those
 * of linux/circuit_ring.h.
 */
#ifndef _LIBCIRCUIT_INTERNAL_H
#define _LIBCIRCUIT_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include "circuit.h"

#define EXPORT		__attribute__((visibility("default")))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define LINE		128	/* two cache lines: processors fetch pairs */

#define MESSAGE_HEAD	((uint32_t)sizeof(struct circuit_message))
#define DATAGRAM_HEAD	((uint32_t)sizeof(struct circuit_datagram))
#define ERROR_MAX	511u	/* the largest errno that a process sees */
#define SPIN_DEFAULT	100000	/* ns */

/* Where a fuzzer changes what the far end could have changed by now. */
#ifdef CIRCUIT_FUZZ
void circuit_fuzz_hook(void);
#else
static inline void circuit_fuzz_hook(void) {}
#endif

static inline uint32_t load_acquire(const uint32_t *p)
{
	circuit_fuzz_hook();
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint32_t load(const uint32_t *p)
{
	circuit_fuzz_hook();
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void store_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline void store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Compilers know it of the newest processors only; the others of x86-64 ignore it. */
static inline void prefetch_write(const uint8_t *p)
{
#ifdef __x86_64__
	asm volatile("prefetchw %0" : : "m" (*p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Counters of one thread that others may look at. */
static inline void count(uint64_t *p, uint64_t n)
{
	__atomic_store_n(p, *p + n, __ATOMIC_RELAXED);
}

/* The rule of events, see linux/circuit_ring.h. */
static inline bool need_notify(uint32_t event, uint32_t new, uint32_t old)
{
	return (uint32_t)(new - event - 1) < (uint32_t)(new - old);
}

/**
 * struct spin - for how long it looks before it sleeps
 * @ns: at present
 * @vain: times in a row that it looked and slept nevertheless
 * @rest: waits to come in which nothing is learned
 * @hits: waits that looking has ended
 * @sleeps: and that it has not
 */
struct spin {
	uint32_t	ns;
	uint32_t	vain;
	uint32_t	rest;
	uint64_t	hits;
	uint64_t	sleeps;
};

/**
 * struct tx - the writing side
 * @prod: this end's words
 * @cons: the far end's words
 * @data: the ring, twice
 * @size: its size
 * @tail: index after the last byte filled in
 * @pub: index after the last byte published
 * @head: the far end's head, as last seen and checked
 * @room: bytes reserved from @tail on
 * @want: bytes that circuit_wait() waits for
 * @shut: CIRCUIT_TX_END that this end has said
 * @closed: the far end has said that it will not read
 * @due: a notification has failed and is due
 * @spin: how long it looks for room
 * @bytes: published in total
 * @kicks: notifications
 */
struct tx {
	struct circuit_producer	*prod;
	const struct circuit_consumer	*cons;
	uint8_t		*data;
	uint32_t	size;
	uint32_t	tail;
	uint32_t	pub;
	uint32_t	head;
	uint32_t	room;
	uint32_t	want;
	uint32_t	shut;
	bool		closed;
	bool		due;
	struct spin	spin;
	uint64_t	bytes;
	uint64_t	kicks;
};

/**
 * struct rx - the reading side
 * @cons: this end's words
 * @prod: the far end's words
 * @data: the ring, twice
 * @size: its size
 * @head: index after the last byte released
 * @pub: index after the last byte whose release was published
 * @tail: the far end's tail, as last seen and checked
 * @want: bytes that circuit_wait() waits for
 * @vain: times in a row that nothing was found
 * @due: a notification has failed and is due
 * @spin: how long it looks for bytes
 * @bytes: released in total
 * @kicks: notifications
 */
struct rx {
	struct circuit_consumer	*cons;
	const struct circuit_producer	*prod;
	const uint8_t	*data;
	uint32_t	size;
	uint32_t	head;
	uint32_t	pub;
	uint32_t	tail;
	uint32_t	want;
	uint32_t	vain;
	bool		due;
	struct spin	spin;
	uint64_t	bytes;
	uint64_t	kicks;
};

/**
 * struct transport - what differs between transports
 * @kick: ring the far end's doorbell. 0, ENOBUFS if it is to be tried again, or another negative
 *	errno that is the end
 * @check: see whether the far end lives, and forget doorbells that have been rung; does not sleep
 * @sleep: sleep until the doorbell is rung, @seq is no longer the handle's, or @timeout (ns,
 *	negative: none) is over; 0 or EINTR. It need not have a reason to return
 * @lost: the control page has no magic: why?
 * @shutdown: pass on what circuit_shutdown() has to say, if it does not do so by a flag
 * @events: what to poll for
 * @flags: the flags in the control page are this end's to set
 * @near: the far end runs on the same processors, as that of a socket does not unless the VM calls
 *	itself
 */
struct transport {
	int	(*kick)(struct circuit *c);
	void	(*check)(struct circuit *c);
	int	(*sleep)(struct circuit *c, unsigned int events, uint32_t seq, int64_t timeout);
	int	(*lost)(struct circuit *c);
	int	(*shutdown)(struct circuit *c);
	short	(*events)(unsigned int events);
	bool	flags;
	bool	near;
};

/**
 * struct circuit - one end of a circuit
 * @ctrl: the control page
 * @map: the mapping, which begins with it
 * @map_len: its length
 * @transport: its transport
 * @fd: the caller's descriptor
 * @end: which end this is
 * @messages: it carries messages, or datagrams
 * @head: bytes before each of them: MESSAGE_HEAD or DATAGRAM_HEAD
 * @peer: with whom datagrams are exchanged, as the head of one to him
 * @spin_max: see circuit_spin()
 * @error: a positive errno: the circuit is broken
 * @hup: a positive errno: the far end is gone. What it has left may be read, then this is the error
 * @seq: incremented when doorbells have been forgotten, or @hup set; local.c
 * @polling: a thread watches the doorbell; local.c
 * @following: threads that wait for @seq; local.c
 * @tx: the writing thread's
 * @rx: the reading thread's
 */
struct circuit {
	struct circuit_ctrl	*ctrl;
	void			*map;
	size_t			map_len;
	const struct transport	*transport;
	int			fd;
	unsigned int		end;
	bool			messages;
	uint32_t		head;
	struct circuit_datagram	peer;
	uint32_t		spin_max;
	int			error;
	int			hup;

	uint32_t		seq __attribute__((aligned(LINE)));
	uint32_t		polling;
	uint32_t		following;

	struct tx		tx __attribute__((aligned(LINE)));
	struct rx		rx __attribute__((aligned(LINE)));
};

static inline bool circuit_datagrams(const struct circuit *c)
{
	return c->head == DATAGRAM_HEAD;
}

/* What a message of so many bytes takes of a ring. */
static inline uint64_t message_bytes(const struct circuit *c, uint64_t len)
{
	return (c->head + len + CIRCUIT_MESSAGE_ALIGN - 1) / CIRCUIT_MESSAGE_ALIGN *
	       CIRCUIT_MESSAGE_ALIGN;
}

/* Sizes that do not take 32-bit indices beyond what they can tell apart. */
static inline bool ring_size_ok(uint64_t size)
{
	return size >= CIRCUIT_RING_MIN && size <= CIRCUIT_LOCAL_MAX && !(size & (size - 1));
}

static inline int circuit_broken(const struct circuit *c)
{
	return __atomic_load_n(&c->error, __ATOMIC_RELAXED);
}

static inline int circuit_hup(const struct circuit *c)
{
	return __atomic_load_n(&c->hup, __ATOMIC_ACQUIRE);
}

/* handle.c */
struct circuit *circuit_new(const struct transport *transport, int fd);
void circuit_setup(struct circuit *c, void *map, unsigned int end, uint32_t tx_size,
		   uint32_t rx_size, uint32_t tx_index, uint32_t rx_index);
int circuit_fail(struct circuit *c, int error);
int circuit_violated(struct circuit *c);

/* local.c */
int circuit_offer_at(struct circuit **c, int sock, size_t tx_size, size_t rx_size,
		     unsigned int flags, uint32_t tx_index, uint32_t rx_index);

/* ring.c */
int circuit_tx_room(struct circuit *c, uint32_t want);
int circuit_rx_some(struct circuit *c, uint32_t want);

#endif /* _LIBCIRCUIT_INTERNAL_H */
