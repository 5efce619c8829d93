/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ring ABI: what the two ends of a circuit share.
 *
 * A circuit is one control page followed by two byte rings. End 0 is the
 * calling end and writes ring 0; end 1 is the called end and writes ring 1.
 * Everything is page aligned, so a process can be given one circuit and
 * nothing else.
 *
 *	offset
 *	0x0000	+----------------------------------------------+
 *		| control page	(struct circuit_ctrl)	       |
 *		|   0x000 geometry	written by the operator|
 *		|   0x080 ring 0 producer	owner: end 0   |
 *		|   0x100 ring 0 consumer	owner: end 1   |
 *		|   0x180 ring 1 producer	owner: end 1   |
 *		|   0x200 ring 1 consumer	owner: end 0   |
 *		|   0x280 zero to the end of the page	       |
 *	0x1000	+----------------------------------------------+
 *		| ring 0: size[0] bytes, end 0 -> end 1	       |
 *		+----------------------------------------------+
 *		| ring 1: size[1] bytes, end 1 -> end 0	       |
 *		+----------------------------------------------+
 *
 * Ownership. Each word is written by the one end named as its owner and only
 * read by the other. Nobody needs to read what it wrote itself: an end keeps
 * its own indices private and only publishes copies. What the other end
 * publishes is read once, checked, and only the checked copy used; an end that
 * finds a value out of range resets the circuit.
 *
 * Indices run freely over 32 bits: the byte with index i is at offset
 * i & (size - 1), sizes being powers of two. tail - head is the number of bytes
 * in the ring and must not exceed its size.
 *
 * Barrier contract. These three pairs are all there is.
 *
 *  [R1] producer: write data; store-release tail.
 *	 consumer: load-acquire tail; read data.
 *  [R2] consumer: read data; store-release head.
 *	 producer: load-acquire head; overwrite data.
 *  [R3] notification, the same both ways (store buffering, so full barriers):
 *	 active side: store index; full barrier; load the other's event.
 *	 sleepy side: store event; full barrier; load the other's index again.
 *	 At least one of the two sees the other's store: either the active side
 *	 notifies or the sleepy side does not go to sleep.
 *  An urgent byte is announced by R1: @urgent, then the flag URG, then the tail.
 *  FIN and RST follow the data by R1: they are stored after the last tail with
 *	 release semantics, and an end that sees FIN with acquire semantics sees
 *	 the final tail when it loads it afterwards.
 *
 * Events. A consumer that wants to be told when the tail has gone beyond index
 * e stores e in its @event; a producer does the same for the head. Whoever
 * moves an index from old to new notifies if (new - e - 1) < (new - old) in
 * unsigned 32-bit arithmetic (virtio's event index, with wider words). An event
 * is used up by the notification; nothing needs to be disarmed. An end stores
 * 0xffffffff in its producer's event before it writes, or the first byte released
 * would be worth a notification.
 */
#ifndef _UAPI_LINUX_CIRCUIT_RING_H
#define _UAPI_LINUX_CIRCUIT_RING_H

#include <linux/types.h>

#define CIRCUIT_RING_MAGIC	0x54435243	/* "CRCT" on a little-endian machine */
#define CIRCUIT_RING_VERSION	1

#define CIRCUIT_CTRL_SIZE	4096
#define CIRCUIT_RING_MIN	4096u		/* bytes */
#define CIRCUIT_RING_MAX	(512u << 10)	/* bytes: two of them and a page fit a cable */

/* Flags of struct circuit_producer. They are only ever set, never cleared. */
#define CIRCUIT_TX_FIN		(1u << 0)	/* nothing follows the present tail */
#define CIRCUIT_TX_RST		(1u << 1)	/* this end has aborted */
#define CIRCUIT_TX_URG		(1u << 2)	/* @urgent says which byte is, or was */
#define CIRCUIT_TX_END		(CIRCUIT_TX_FIN | CIRCUIT_TX_RST)
#define CIRCUIT_TX_FLAGS	(CIRCUIT_TX_END | CIRCUIT_TX_URG)

/* Flags of struct circuit_consumer. They are only ever set, never cleared. */
#define CIRCUIT_RX_CLOSED	(1u << 0)	/* this end has hung up, see below */
#define CIRCUIT_RX_FLAGS	CIRCUIT_RX_CLOSED

/*
 * CIRCUIT_RX_CLOSED is part of hanging up, and of nothing less: with its final head
 * and its own FIN or RST before it, it says that nobody is left at that end who would
 * want to be told of anything. The other end need not mark the circuit any more.
 */

/**
 * struct circuit_producer - the writing end's half of one ring
 * @tail: index after the last byte written
 * @flags: CIRCUIT_TX_*
 * @event: notify me when the head goes beyond this index
 * @urgent: index after the last urgent byte; stored before the tail that covers it, or
 *	after it where a send is cut short: the byte may have been read by then
 * @bytes: total written; a statistic for show commands that nobody relies on
 * @lost: datagrams that there was no room for; likewise
 * @pad: zero
 */
struct circuit_producer {
	__u32	tail;
	__u32	flags;
	__u32	event;
	__u32	urgent;
	__u64	bytes;
	__u64	lost;
	__u8	pad[96];
};

/**
 * struct circuit_consumer - the reading end's half of one ring
 * @head: index after the last byte released
 * @flags: CIRCUIT_RX_*
 * @event: notify me when the tail goes beyond this index
 * @pad: zero
 */
struct circuit_consumer {
	__u32	head;
	__u32	flags;
	__u32	event;
	__u8	pad[116];
};

/*
 * What the bytes of a ring are is a matter of the two sockets. Those of SOCK_STREAM see them as
 * they are. Those of SOCK_SEQPACKET write messages: each is a struct circuit_message, @len bytes,
 * and what is missing to the next multiple of CIRCUIT_MESSAGE_ALIGN, which means nothing. Head and
 * tail move by whole messages, so a head never wraps, and an end that finds anything else resets
 * the circuit.
 */
#define CIRCUIT_MESSAGE_ALIGN	8u		/* bytes */

/* @flags of struct circuit_message. */
#define CIRCUIT_MESSAGE_EOR	(1u << 0)	/* ends a record, as MSG_EOR has it */
#define CIRCUIT_MESSAGE_FLAGS	CIRCUIT_MESSAGE_EOR

/**
 * struct circuit_message - head of a message
 * @len: bytes of the message
 * @flags: CIRCUIT_MESSAGE_*
 */
struct circuit_message {
	__u32	len;
	__u32	flags;
};

/* @flags of struct circuit_datagram. */
#define CIRCUIT_DATAGRAM_ERROR	(1u << 0)	/* from the operator: what became of one that was sent */

/**
 * struct circuit_datagram - head of a datagram
 * @len: bytes of the datagram; 0 if it is an error
 * @flags: CIRCUIT_DATAGRAM_*
 * @port: for whom it is, or from whom
 * @error: a positive errno if it is an error, and the rest is whom it is about; otherwise 0
 * @line: the name of that one's line, padded with NULs; all NULs for the sender's own
 *
 * The rings of SOCK_DGRAM hold these instead of struct circuit_message, and their far end is the
 * operator, whoever else they are exchanged with. A head may wrap.
 */
struct circuit_datagram {
	__u32	len;
	__u32	flags;
	__u32	port;
	__u32	error;
	__u8	line[32];
};

/**
 * struct circuit_dir - one direction
 * @prod: owned by the writing end
 * @cons: owned by the reading end
 */
struct circuit_dir {
	struct circuit_producer	prod;
	struct circuit_consumer	cons;
};

/**
 * struct circuit_ctrl - the control page
 * @magic: CIRCUIT_RING_MAGIC
 * @version: CIRCUIT_RING_VERSION
 * @size: sizes of ring 0 and ring 1 in bytes
 * @data: offsets of ring 0 and ring 1 from the start of the control page
 * @pad: zero
 * @dir: @dir[i] is written by end i and read by end 1 - i
 * @pad2: zero
 *
 * The geometry is for a process that mapped its circuit. A kernel end takes the
 * same numbers from the signalling message that announced the circuit.
 */
struct circuit_ctrl {
	__u32			magic;
	__u32			version;
	__u32			size[2];
	__u32			data[2];
	__u8			pad[104];
	struct circuit_dir	dir[2];
	__u8			pad2[3456];
};

#if defined(__KERNEL__) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L)
#ifdef __KERNEL__
#include <linux/build_bug.h>
#define CIRCUIT_ABI_ASSERT(x)	static_assert(x)
#else
#define CIRCUIT_ABI_ASSERT(x)	_Static_assert(x, #x)
#endif
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_producer) == 128);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_consumer) == 128);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_message) == CIRCUIT_MESSAGE_ALIGN);
CIRCUIT_ABI_ASSERT(sizeof(struct circuit_ctrl) == CIRCUIT_CTRL_SIZE);
CIRCUIT_ABI_ASSERT(__builtin_offsetof(struct circuit_producer, bytes) == 16);
CIRCUIT_ABI_ASSERT(__builtin_offsetof(struct circuit_ctrl, dir) == 0x80);
CIRCUIT_ABI_ASSERT(__builtin_offsetof(struct circuit_ctrl, pad2) == 0x280);
#endif

#endif /* _UAPI_LINUX_CIRCUIT_RING_H */
