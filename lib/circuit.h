/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libcircuit: circuits without a copy, and without a system call while both ends are busy.
 *
 * A circuit is two rings of bytes in memory that its two ends share, one for each direction, and
 * a page of words that say how far each end has got (linux/circuit_ring.h). This library maps the
 * circuit of a connected socket into the process and lets it write and read in place. The same is
 * to be had without any module between two processes of one machine: circuit_offer() and
 * circuit_accept() share a circuit over a socket of AF_UNIX.
 *
 *	writing a stream			reading it
 *	circuit_tx_reserve()	where to	circuit_rx_peek()	what is there
 *	circuit_tx_fill()	done, go on	circuit_rx_release()	done with it
 *	circuit_tx_publish()	the far end may see it
 *
 *	writing messages			reading them
 *	circuit_msg_reserve()	where to	circuit_msg_peek()	some of what is there
 *	circuit_msg_fill()	done, go on	circuit_msg_release()	done with these
 *	circuit_tx_publish()	the far end may see them
 *
 * None of these sleeps; what cannot be done now fails with EAGAIN, and circuit_wait() waits for it.
 *
 * Return values: calls return a negative errno value if they fail, and leave errno alone. All sizes
 * are in bytes, all times in nanoseconds.
 *
 * Errors of every call on a circuit, which are final once they are returned:
 *	EPROTO		the far end broke the rules of the ring
 *	ESTALE		the mapping has lost its circuit (sockets only; see circuit(7))
 *	ECONNRESET	the far end died, or aborted; or what else SO_ERROR said
 * Of a connected socket of datagrams of AF_CIRCUIT, circuit_msg_peek() may say what became of one
 * that was sent (ECONNREFUSED, EHOSTUNREACH, EACCES, ENOBUFS, or what a policy says): once, and it
 * is not final. Who reads gets the last only after all that did arrive. EINVAL is a mistake in how
 * the call was used (a call for messages on a stream, more released than there was), and changes
 * nothing.
 *
 * Threads: the two directions are independent. At any time one thread may make the calls that
 * write, circuit_wait(CIRCUIT_OUT) among them, and one those that read, circuit_wait(CIRCUIT_IN)
 * among them. circuit_error(), circuit_fd() and circuit_stats() are anybody's. All else is for one
 * thread alone. There are no hidden threads, no signal handlers and no locks; after opening, no
 * memory is allocated.
 *
 * The cost of telling: publishing takes a full memory barrier, tens of times what filling in eight
 * bytes takes, and makes the far end's processor fetch the line. So fill as much as there is at
 * hand, then publish once. Space that was read is returned to the far end lazily for the same
 * reason: when it has become a quarter of the ring, when circuit_rx_peek() or circuit_msg_peek()
 * has found nothing often enough, in circuit_wait(), and by circuit_rx_publish().
 *
 * The far end is not to be trusted. It can break its circuit, which the calls then say, and change
 * at any time what it has sent, even while it is being read: copy what is decided upon before
 * deciding. It cannot make the library touch memory other than the circuit's.
 */
#ifndef _CIRCUIT_H
#define _CIRCUIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/circuit.h>
#include <linux/circuit_ring.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct circuit - one end of a circuit, in this process
 */
struct circuit;

/* Flags of circuit_offer(). */
#define CIRCUIT_MESSAGES	(1u << 0)	/* messages, not a stream */

/* What circuit_wait() waits for. */
#define CIRCUIT_IN		(1u << 0)	/* something to read, or the end */
#define CIRCUIT_OUT		(1u << 1)	/* room to write in */

/**
 * struct circuit_view - a message, where it is
 * @data: its first byte
 * @len: its length
 * @flags: CIRCUIT_MESSAGE_*, that is CIRCUIT_MESSAGE_EOR or 0
 * @next: circuit_msg_peek() sets it for circuit_msg_release(); otherwise unused
 * @reserved: likewise
 */
struct circuit_view {
	const void	*data;
	uint32_t	len;
	uint32_t	flags;
	uint32_t	next;
	uint32_t	reserved;
};

/**
 * struct circuit_stats - what circuit_stats() tells
 * @tx_size: size of the ring this end writes
 * @rx_size: size of the ring this end reads
 * @messages: 1 if it carries messages, 0 if a stream
 * @end: 0 on the calling or offering side, 1 on the other
 * @tx_bytes: published since the circuit began, heads of messages included
 * @rx_bytes: released, likewise
 * @tx_kicks: times that publishing had to notify the far end
 * @rx_kicks: times that releasing had to
 * @spins: times that circuit_wait() found in time what it waited for
 * @sleeps: times that it slept
 */
struct circuit_stats {
	uint32_t	tx_size;
	uint32_t	rx_size;
	uint32_t	messages;
	uint32_t	end;
	uint64_t	tx_bytes;
	uint64_t	rx_bytes;
	uint64_t	tx_kicks;
	uint64_t	rx_kicks;
	uint64_t	spins;
	uint64_t	sleeps;
};

/**
 * circuit_open - map the circuit of a connected socket
 * @c: set to the handle
 * @fd: a socket that is a circuit: of AF_CIRCUIT, or of AF_INET and AF_INET6 where it has become
 *	one; stream, SOCK_SEQPACKET, or a connected SOCK_DGRAM
 *
 * A socket of datagrams of AF_CIRCUIT exchanges them with whom it is connected to now; those of
 * others, which the operator does not keep from it, are passed over.
 *
 * Until circuit_close(), read() and write() on the socket fail with EBUSY; shutdown() and close()
 * do what they always do. @fd stays the caller's, and must stay open.
 *
 * Return: 0 or a negative errno: ENOTCONN, EBUSY if it is mapped already, EOPNOTSUPP or ENODEV if
 * it is no circuit or one that may not be mapped, ENOMEM, EPROTO if what the kernel says is not
 * understood.
 */
int circuit_open(struct circuit **c, int fd);

/**
 * circuit_offer - make a circuit and offer it to the process at the other end of a socket
 * @c: set to the handle
 * @sock: a connected stream socket of AF_UNIX (socketpair() will do), which is the circuit's from
 *	now on: it carries notifications, and its end is the end of the circuit. It stays the
 *	caller's to close, after circuit_close(), and must stay open until then
 * @tx_size: size of the ring to write; a power of two from CIRCUIT_RING_MIN to CIRCUIT_LOCAL_MAX
 * @rx_size: size of the ring to read, likewise
 * @flags: CIRCUIT_MESSAGES or 0
 *
 * Does not wait for the other process, which calls circuit_accept(). What is written meanwhile, it
 * will find.
 *
 * Return: 0 or a negative errno: EINVAL, EOPNOTSUPP if @sock is no such socket, ENOMEM, EMFILE,
 * what memfd_create(2), mmap(2) and sendmsg(2) fail with.
 */
int circuit_offer(struct circuit **c, int sock, size_t tx_size, size_t rx_size,
		  unsigned int flags);
#define CIRCUIT_LOCAL_MAX	(1u << 30)

/**
 * circuit_accept - take a circuit that was offered
 * @c: set to the handle
 * @sock: the other end of circuit_offer()'s socket. All that is said there applies
 * @max: the largest ring to accept; memory is charged to whom first writes to it. 0 for any
 *
 * Waits for the offer if @sock is a blocking socket; SO_RCVTIMEO limits that. The memory that
 * comes with the offer is mapped only if its size is sealed.
 *
 * Return: 0 or a negative errno: EAGAIN if there is no offer yet, ECONNRESET if the other end is
 * gone, EPROTO if it sent something else or memory that is not as it must be, EFBIG if a ring is
 * larger than @max, EINTR, EOPNOTSUPP, ENOMEM, EMFILE.
 */
int circuit_accept(struct circuit **c, int sock, size_t max);

/**
 * circuit_shutdown - say that nothing more will be written
 * @c: the circuit
 *
 * Publishes what was filled in. The far end reads all of it, then the end of the stream. On a
 * socket this is shutdown(SHUT_WR), of which the receiver of datagrams of AF_CIRCUIT hears nothing.
 *
 * Return: 0 or a negative errno.
 */
int circuit_shutdown(struct circuit *c);

/**
 * circuit_close - unmap a circuit
 * @c: the circuit, or NULL
 *
 * Publishes all that was filled in and released. A socket goes on as an ordinary one, at the point
 * where the mapping has left it. A circuit of circuit_offer() and circuit_accept() ends: the far
 * end reads all that was published and then the end of the stream; or ECONNRESET if something it
 * has sent was not read here. Any pointer into the circuit is invalid afterwards.
 */
void circuit_close(struct circuit *c);

/**
 * circuit_detach - unmap a circuit without a word
 * @c: the circuit, or NULL
 *
 * For the one of two processes that does not use it after fork(): they share the circuit, and only
 * one of them may use it. The far end learns nothing; of a circuit of circuit_offer() or
 * circuit_accept() it learns ECONNRESET when the last descriptor of the socket is closed.
 */
void circuit_detach(struct circuit *c);

/**
 * circuit_fd - the descriptor it was opened with
 * @c: the circuit
 */
int circuit_fd(const struct circuit *c);

/**
 * circuit_error - has it broken?
 * @c: the circuit
 *
 * Return: 0, or the positive errno value that calls fail with.
 */
int circuit_error(const struct circuit *c);

/**
 * circuit_stats - sizes and counters
 * @c: the circuit
 * @stats: to be filled in
 * @size: sizeof(*stats); that of a later or earlier version of the library is fine
 */
void circuit_stats(const struct circuit *c, struct circuit_stats *stats, size_t size);

/**
 * circuit_tx_reserve - where the next bytes of a stream go
 * @c: the circuit
 * @data: set to the first byte; contiguous, also where the ring wraps
 * @min: how many bytes are needed, at most the ring's size; 0 is 1
 *
 * The same place is given again until something has been filled in.
 *
 * Return: how many bytes there are, at least @min; or a negative errno: EAGAIN if there are fewer,
 * and CIRCUIT_OUT waits for @min from now on; EMSGSIZE if there never will be; EPIPE if the far end
 * has closed, or this end has shut down.
 */
ssize_t circuit_tx_reserve(struct circuit *c, void **data, size_t min);

/**
 * circuit_tx_fill - the next bytes are there
 * @c: the circuit
 * @len: how many, at most what circuit_tx_reserve() returned. More may be filled in afterwards
 *	without another call of that, as long as the sum is no more
 *
 * The far end does not see them before circuit_tx_publish().
 *
 * Return: 0, or EINVAL as a negative errno.
 */
int circuit_tx_fill(struct circuit *c, size_t len);

/**
 * circuit_tx_publish - let the far end see all that was filled in
 * @c: the circuit
 *
 * A system call if the far end sleeps, none otherwise. Does nothing if nothing was filled in.
 *
 * Return: 0 or a negative errno; EPIPE if the far end will not read it; ENOBUFS if it could not be
 * notified for want of memory: another call tries that again.
 */
int circuit_tx_publish(struct circuit *c);

/**
 * circuit_tx_commit - circuit_tx_fill() and circuit_tx_publish()
 * @c: the circuit
 * @len: how many bytes
 *
 * Return: what they do.
 */
int circuit_tx_commit(struct circuit *c, size_t len);

/**
 * circuit_write - copy bytes into a stream and publish them
 * @c: the circuit
 * @data: the bytes
 * @len: how many
 *
 * Return: how many there was room for, at least one unless @len is 0; or a negative errno, as
 * circuit_tx_reserve().
 */
ssize_t circuit_write(struct circuit *c, const void *data, size_t len);

/**
 * circuit_rx_peek - what has arrived of a stream
 * @c: the circuit
 * @data: set to the first byte; contiguous, also where the ring wraps
 * @min: how many bytes are needed, at most the ring's size; 0 is 1
 *
 * Return: how many bytes there are, at least @min unless the far end has ended before; 0 at the end
 * of the stream; or a negative errno: EAGAIN if there are fewer, and CIRCUIT_IN waits for @min from
 * now on; EMSGSIZE if there never will be.
 */
ssize_t circuit_rx_peek(struct circuit *c, const void **data, size_t min);

/**
 * circuit_rx_release - done with the first bytes
 * @c: the circuit
 * @len: how many, at most what circuit_rx_peek() returned since the last release
 *
 * The far end may write there when this has been published, which happens by itself sooner or
 * later, see above.
 *
 * Return: 0 or a negative errno.
 */
int circuit_rx_release(struct circuit *c, size_t len);

/**
 * circuit_rx_publish - let the far end have all that was released
 * @c: the circuit
 *
 * A system call if the far end sleeps for want of room, none otherwise. For whoever is going to do
 * something else for long; otherwise not needed.
 *
 * Return: 0 or a negative errno.
 */
int circuit_rx_publish(struct circuit *c);

/**
 * circuit_read - copy bytes out of a stream and release them
 * @c: the circuit
 * @data: where to
 * @len: how many at most
 *
 * Return: how many, 0 at the end of the stream or if @len is 0, or a negative errno, as
 * circuit_rx_peek().
 */
ssize_t circuit_read(struct circuit *c, void *data, size_t len);

/**
 * circuit_msg_reserve - where the next message goes
 * @c: the circuit
 * @data: set to its first byte; contiguous, and aligned to CIRCUIT_MESSAGE_ALIGN
 * @max: how long it may become, at most the ring's size less sizeof(struct circuit_message), or
 *	sizeof(struct circuit_datagram) with datagrams of AF_CIRCUIT
 *
 * Return: 0 or a negative errno: EAGAIN if there is no room, and CIRCUIT_OUT waits for it from now
 * on; EMSGSIZE if there never will be; EPIPE if the far end has closed, or this end has shut down.
 */
int circuit_msg_reserve(struct circuit *c, void **data, size_t max);

/**
 * circuit_msg_fill - the message is there
 * @c: the circuit
 * @len: its length, at most what was reserved, 0 included
 * @flags: CIRCUIT_MESSAGE_EOR or 0; 0 for datagrams of AF_CIRCUIT
 *
 * The next takes a circuit_msg_reserve() again. circuit_tx_publish() lets the far end see them.
 *
 * Return: 0, or EINVAL as a negative errno.
 */
int circuit_msg_fill(struct circuit *c, size_t len, unsigned int flags);

/**
 * circuit_msg_commit - circuit_msg_fill() and circuit_tx_publish()
 * @c: the circuit
 * @len: as there
 * @flags: as there
 *
 * Return: what they do.
 */
int circuit_msg_commit(struct circuit *c, size_t len, unsigned int flags);

/**
 * circuit_msg_send - copy messages into a circuit and publish them at once
 * @c: the circuit
 * @views: the messages; @next and @reserved are not looked at
 * @count: how many
 *
 * Return: how many there was room for, at least one unless @count is 0; or a negative errno, as
 * circuit_msg_reserve().
 */
int circuit_msg_send(struct circuit *c, const struct circuit_view *views, unsigned int count);

/**
 * circuit_msg_peek - messages that have arrived
 * @c: the circuit
 * @views: to be filled in, in order
 * @count: how many at most, at least 1
 *
 * The first is the one after the last released: the same are given again until they are.
 *
 * Return: how many; 0 at the end; or a negative errno: EAGAIN if there is none. With datagrams of
 * AF_CIRCUIT that may also be when circuit_wait() has said that there is something, which was not
 * from the peer; and an errno that tells of one that was sent is given once, but a final one again
 * and again.
 */
int circuit_msg_peek(struct circuit *c, struct circuit_view *views, unsigned int count);

/**
 * circuit_msg_release - done with messages
 * @c: the circuit
 * @last: the last of those that are done with; those before it are, too
 *
 * As circuit_rx_release() for all else.
 *
 * Return: 0 or a negative errno.
 */
int circuit_msg_release(struct circuit *c, const struct circuit_view *last);

/**
 * circuit_wait - wait until something can be done
 * @c: the circuit
 * @events: CIRCUIT_IN for what circuit_rx_peek() or circuit_msg_peek() did not find, CIRCUIT_OUT
 *	for the room that circuit_tx_reserve() or circuit_msg_reserve() did not find, or both
 * @timeout: nanoseconds; 0 only looks, less waits for ever
 *
 * Looks for a while, see circuit_spin(), then sleeps. Publishes first what was released
 * (CIRCUIT_IN) or filled in (CIRCUIT_OUT); who waits for an answer to what has only been filled in
 * waits for ever. Even with a timeout of 0 it asks whether the other process or the connection
 * still lives, which nothing else does.
 *
 * On a socket it sleeps in poll(), which goes by the events that were armed for what was asked for;
 * who polls without circuit_arm() is woken for a byte to read, or a quarter of the ring to write
 * in.
 *
 * Return: those of @events that have come true, the end of the stream and a closed far end among
 * them; 0 if time is up; or a negative errno: EINTR if a signal handler has run while it slept.
 */
int circuit_wait(struct circuit *c, unsigned int events, int64_t timeout);

/**
 * circuit_arm - get ready for a sleep in an event loop of the caller's own
 * @c: the circuit
 * @events: as of circuit_wait()
 * @poll: set to what to poll circuit_fd() for: POLLIN, POLLOUT or both; EPOLLIN and EPOLLOUT are
 *	the same. Not necessarily what @events is: a circuit of circuit_offer() has notifications to
 *	read for either
 *
 * Everything that circuit_wait(@c, @events, 0) does; and if it would return 0, from now on the
 * descriptor will become ready when something has come true. Call it again after the descriptor was
 * ready, before the next sleep. Edge-triggered use is fine. Only one thread may do so of a circuit,
 * for both directions.
 *
 * Return: as circuit_wait(); who gets 0 may sleep. On a socket, CIRCUIT_OUT may be ready before
 * there is the room that was asked for.
 */
int circuit_arm(struct circuit *c, unsigned int events, short *poll);

/**
 * circuit_spin - how long circuit_wait() may look before it sleeps
 * @c: the circuit
 * @max: nanoseconds; 0 never looks twice. 100,000 unless set; 0 for a circuit of circuit_offer()
 *	and circuit_accept() on a machine of one processor
 *
 * Within that, it learns: it looks longer if that would have saved a sleep, and less if it was in
 * vain.
 */
void circuit_spin(struct circuit *c, uint32_t max);

#ifdef __cplusplus
}
#endif

#endif /* _CIRCUIT_H */
