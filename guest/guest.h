/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest: one line to the operator, and sockets that become circuits.
 *
 * Objects
 *
 *  transport	What the line hangs on, today an ivshmem device (ivshmem.c): a
 *		window, a doorbell, an interrupt.
 *  line	The signalling client (line.c). Referenced by its transport while
 *		the device is bound, and by every circuit and listener; the window
 *		stays mapped until the last reference is gone, so that a socket
 *		may touch its rings whatever becomes of the device.
 *  circuit	A call or a connection. Referenced by its socket, by the line's
 *		table (as a call, then under its number, until HANGUP), and while
 *		its message waits to be sent.
 *  listener	A published port and its accept queue. Referenced by its socket,
 *		by the line's table until the socket is closed, and while a
 *		message of its waits to be sent.
 *  map		A circuit that processes have mapped (map.c). The circuit's; each mapping
 *		references that, and so keeps the window.
 *  endpoint	What makes a socket an end of circuits (ep.c). Referenced by its
 *		socket until that is released, and references it. Attention finds it
 *		through circuit->ep under RCU, so both are freed after a grace period.
 *
 * Contexts: the interrupt schedules the line's tasklet, which takes the marks,
 * receives signalling and wakes sockets. Everything else is process context.
 *
 * Locks, outermost first
 *
 *  lock_sock()		system calls that change what a socket is
 *  listeners_lock	(inet.c) the list of TCP listeners
 *  ep->tx_mutex, ep->rx_mutex
 *			one direction of a circuit each: the private indices, and
 *			ep->c itself, which changes only under both
 *  sk_lock.slock	ep->state, sk_err, sk_shutdown, ep->call; taken with
 *			bottom halves off, also by the tasklet, whether or not
 *			somebody owns the socket
 *  sk_callback_lock	while SIGURG is sent
 *  lst->lock		the accept queue, and who is not in it yet; bottom halves off. Who waits is
 *			woken without it
 *  line->tx_lock	the outgoing side of signalling; bottom halves off
 *
 * mmap_lock is inside the mutexes of an endpoint, as whoever copies from user memory takes it, so
 * mmap() only tries those. map->lock is inside mmap_lock, and nothing is taken under it but what
 * puts a page into a page table.
 *
 * redirect_lock (redirect.c) is by itself: what is redirected, and whether the probes
 * are armed. It is held while they are set, and never under any of the above.
 *
 * The line's three tables are xarrays with their own locks, taken with bottom
 * halves off; the tasklet reads them under RCU.
 */
#ifndef _CIRCUIT_GUEST_H
#define _CIRCUIT_GUEST_H

#include <linux/completion.h>
#include <linux/in6.h>
#include <linux/interrupt.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/sock.h>
#include <linux/circuit.h>
#include <linux/circuit_ring.h>
#include <linux/circuit_sig.h>
#include "../ring/attn.h"
#include "../ring/ring.h"
#include "compat.h"

struct circuit_line;
struct circuit_map;

/* Marks and messages handled in one run of the tasklet. */
#define CIRCUIT_GUEST_BUDGET	256

/**
 * struct circuit_transport - what a line hangs on
 * @dev: for messages
 * @window: the mapped window, write-back
 * @base: its physical address
 * @size: its size in bytes
 * @vectors: by how many interrupts the operator can be heard, one for each processor or fewer
 * @doorbell: ring the operator; any context
 * @unmap: undo the mapping; called when the last user of the window is gone,
 *	after circuit_line_detach() and perhaps after the device
 * @priv: the transport's own
 */
struct circuit_transport {
	struct device	*dev;
	void		*window;
	phys_addr_t	base;
	u64		size;
	unsigned int	vectors;
	void		(*doorbell)(struct circuit_transport *t);
	void		(*unmap)(struct circuit_transport *t);
	void		*priv;
};

/**
 * struct circuit_out - a message that waits to be sent
 * @node: in line->out
 * @msg: the message
 * @lazy: it need not be noticed at once
 * @sent: called under line->tx_lock when it has left, or will never leave
 */
struct circuit_out {
	struct list_head	node;
	struct circuit_sig	msg;
	bool			lazy;
	void			(*sent)(struct circuit_out *out);
};

enum circuit_guest_state {
	CIRCUIT_GUEST_STARTING,
	CIRCUIT_GUEST_UP,
	CIRCUIT_GUEST_DOWN,
};

/**
 * struct circuit_line - the line of this VM
 * @ref: see above
 * @rcu: for circuit_line_get()
 * @t: what it hangs on
 * @state: &enum circuit_guest_state; leaves UP only once
 * @epoch: ours
 * @version: of the signalling protocol, in force
 * @name: given by the operator
 * @welcome: limits given by the operator
 * @hdr: the operator's page
 * @attn_in: marks from the operator
 * @attn_out: marks for the operator
 * @door_ns: what a doorbell costs at its cheapest, in ns
 * @wait: woken on every interrupt while somebody waits for a change of state
 * @tasklet: see above
 * @rx: incoming signalling, the tasklet's
 * @tx_lock: see above
 * @tx: outgoing signalling
 * @kick_owed: something was sent without a notification that was due
 * @kick: delivers that notification
 * @out: messages that wait to be sent
 * @unmap: takes circuits away from those who have mapped them
 * @circuits: number -> struct circuit
 * @calls: reference -> struct circuit, not yet decided
 * @listeners: reference -> struct circuit_listener
 * @next_call: where the search for a free reference starts
 * @next_listener: likewise
 */
struct circuit_line {
	refcount_t			ref;
	struct rcu_head			rcu;
	struct circuit_transport	*t;
	int				state;
	u32				epoch;
	u16				version;
	char				name[CIRCUIT_NAME_SIZE];
	struct circuit_sig_welcome	welcome;
	struct circuit_line_hdr		*hdr;
	struct circuit_attn		*attn_in;
	struct circuit_attn		*attn_out;
	u32				door_ns;
	wait_queue_head_t		wait;
	struct tasklet_struct		tasklet;
	struct circuit_rx		rx;

	spinlock_t			tx_lock;
	struct circuit_tx		tx;
	bool				kick_owed;
	struct timer_list		kick;
	struct list_head		out;
	struct work_struct		unmap;

	struct xarray			circuits;
	struct xarray			calls;
	struct xarray			listeners;
	u32				next_call;
	u32				next_listener;
};

/**
 * struct circuit - one end of a circuit, or a call that may become one
 * @ref: see above
 * @rcu: for the tasklet
 * @line: the line, referenced
 * @ep: the endpoint, NULL before accept(), after close(), and while a circuit takes the
 *	place of its call
 * @call: reference of the call until it is decided
 * @index: number of the circuit
 * @end: which end this is
 * @reason: enum circuit_reason of what ended it
 * @tx: the ring this end writes; ep->tx_mutex
 * @rx: the ring this end reads; ep->rx_mutex
 * @peer_port: the far end's port
 * @peer: the far end's line
 * @local_port: this end's port
 * @local: this end's IP address, if @ip
 * @remote: the far end's, if @ip
 * @ip: the call was to an IP address
 * @messages: the rings hold messages, or datagrams
 * @map: as processes have mapped it, NULL if none ever has; set once, see map.c
 * @tx_mapped: the ring this end writes is a process's, or was and has not been taken over; changes
 *	under ep->tx_mutex
 * @rx_mapped: the same of the ring this end reads; ep->rx_mutex
 * @tx_flags: CIRCUIT_TX_* set so far; ep->tx_mutex
 * @tx_need: room for the message that there was none for last, or 0; ep->tx_mutex
 * @owes: the far end was not told of what was written last, see circuit_tx_tell()
 * @ended: the connection has ended, and nothing behind @rx_final counts any more
 * @rx_final: index after the last byte that had come by then
 * @urg: urgent data; ep->rx_mutex
 * @seen_tail: last tail that woke readers; the tasklet's
 * @seen_head: last head that woke writers; the tasklet's
 * @seen_flags: last flags of the far end that were acted upon; the tasklet's
 * @seen_urgent: last mark of urgent data that somebody was told of, and bit 32; the endpoint's lock
 * @rx_backoff: how often in a row spinning for data was in vain; ep->rx_mutex
 * @tx_backoff: how often in a row spinning for room was; ep->tx_mutex
 * @doorbells: notifications sent
 * @wakeups: notifications received
 * @out: CALL, CANCEL or HANGUP
 * @hungup: HANGUP has been said; line->tx_lock
 * @options: OPTIONS
 * @limits: CIRCUIT_SIG_LIMIT_*; the tasklet's
 * @tx_upto: bytes that may be sent in all, if that is limited; likewise
 * @rx_upto: bytes that may be received in all; likewise
 * @tx_messages: messages that were written; ep->tx_mutex
 * @rx_messages: messages that were read; ep->rx_mutex
 * @tx_messages_upto: as @tx_upto
 * @rx_messages_upto: as @rx_upto
 * @want: WANT
 * @wanting: what it has said that was not answered, of CIRCUIT_SIG_LIMIT_TX and _TX_MESSAGES;
 *	line->tx_lock
 * @queue: in the accept queue, or among the listener's deferred ones
 * @deferred: the listener, while it is among those; listener's lock
 * @patience: until when it is, in jiffies
 */
struct circuit {
	refcount_t		ref;
	struct rcu_head		rcu;
	struct circuit_line	*line;
	struct circuit_ep	*ep;
	u32			call;
	u32			index;
	u8			end;
	u8			reason;
	struct circuit_tx	tx;
	struct circuit_rx	rx;
	u32			peer_port;
	char			peer[CIRCUIT_NAME_SIZE];
	u32			local_port;
	struct in6_addr		local;
	struct in6_addr		remote;
	bool			ip;
	bool			messages;
	struct circuit_map	*map;
	bool			tx_mapped;
	bool			rx_mapped;
	u32			tx_flags;
	u32			tx_need;
	bool			owes;
	bool			ended;
	u32			rx_final;
	struct circuit_urgent	urg;
	u32			seen_tail;
	u32			seen_head;
	u32			seen_flags;
	u64			seen_urgent;
	u8			rx_backoff;
	u8			tx_backoff;
	u64			doorbells;
	u64			wakeups;
	struct circuit_out	out;
	bool			hungup;
	struct circuit_out	options;
	u32			limits;
	u64			tx_upto;
	u64			rx_upto;
	u64			tx_messages;
	u64			rx_messages;
	u64			tx_messages_upto;
	u64			rx_messages_upto;
	struct circuit_out	want;
	u8			wanting;
	struct list_head	queue;
	struct circuit_listener	*deferred;
	unsigned long		patience;
};

/**
 * struct circuit_listener - a published port
 * @refs: see above
 * @rcu: for the tasklet
 * @line: the line, referenced
 * @ep: the endpoint, valid under RCU while the listener is in the line's table
 * @ref: the operator's handle
 * @what: port and the like, for LISTEN, with the sizes of rings told last
 * @backlog: most calls in @queue, as told to the operator
 * @lock: see above
 * @queue: circuits to be accepted
 * @queued: how many
 * @deferred: circuits that have not said anything yet (TCP_DEFER_ACCEPT)
 * @patience: when one of them is to be accepted all the same; holds a reference while it is pending
 * @closed: the socket no longer listens
 * @answered: how many were accepted and not yet reported; line->tx_lock
 * @error: the operator's answer to LISTEN, negative errno
 * @reason: its reason
 * @decided: that answer has arrived
 * @told: the operator has been told of it; line->tx_lock
 * @out: LISTEN, UNLISTEN
 * @answer: ANSWER
 */
struct circuit_listener {
	refcount_t		refs;
	struct rcu_head		rcu;
	struct circuit_line	*line;
	struct circuit_ep	*ep;
	u32			ref;
	struct circuit_sig_listen what;
	u32			backlog;
	spinlock_t		lock;
	struct list_head	queue;
	u32			queued;
	struct list_head	deferred;
	struct timer_list	patience;
	bool			closed;
	u32			answered;
	int			error;
	u32			reason;
	bool			decided;
	bool			told;
	struct circuit_out	out;
	struct circuit_out	answer;
};

/**
 * struct circuit_ep - what makes a socket an end of circuits
 * @ref: held by the socket until it is released
 * @free: called when nobody holds it any more
 * @tell: called when there is a circuit, to tell what the socket's options are; in any
 *	context but hard interrupt; may be NULL
 * @moved: called when the far end has written, when something is allowed, and when the connection
 *	has ended; in any context but hard interrupt; may be NULL
 * @sk: the socket, referenced
 * @state: TCP_CLOSE, TCP_SYN_SENT, TCP_ESTABLISHED or TCP_LISTEN; changes under slock
 * @reason: enum circuit_reason of the last failure
 * @decided: the operator has said what it makes of the call to an IP address, or to itself
 * @native: it was that the call is none of its
 * @trunk: it was that the call goes over a trunk
 * @overlay: the socket is a TCP or UDP socket as well, which goes on without a line
 * @soft: the socket goes on without this circuit, and is not told that it has ended
 * @error: if so: positive errno of that end
 * @timer: gives up @call, or tells what @c owes; holds a reference of the socket while it is
 *	pending
 * @call: the call in progress; slock
 * @lst: the listener; lock_sock() to change
 * @tx_mutex: see above
 * @rx_mutex: see above
 * @c: the circuit, referenced; NULL if there is none. Its rings are not to be
 *	touched once its line is down: circuit_ep_rings()
 */
struct circuit_ep {
	refcount_t		ref;
	void			(*free)(struct circuit_ep *ep);
	void			(*tell)(struct circuit_ep *ep, struct circuit *c);
	void			(*moved)(struct circuit_ep *ep);
	struct sock		*sk;
	int			state;
	u32			reason;
	struct completion	decided;
	bool			native;
	bool			trunk;
	bool			overlay;
	bool			soft;
	int			error;
	struct timer_list	timer;
	struct circuit		*call;
	struct circuit_listener	*lst;
	struct mutex		tx_mutex;
	struct mutex		rx_mutex;
	struct circuit		*c;
};

/* line.c */
struct circuit_line *circuit_line_get(void);
void circuit_line_put(struct circuit_line *line);
struct circuit_line *circuit_line_attach(struct circuit_transport *t);
int circuit_line_start(struct circuit_line *line);
void circuit_line_quiesce(struct circuit_line *line);
void circuit_line_detach(struct circuit_line *line);
void circuit_line_interrupt(struct circuit_line *line);
bool circuit_line_up(const struct circuit_line *line);
void circuit_line_doorbell(struct circuit_line *line);
bool circuit_line_raise(struct circuit_line *line, u32 index);
void circuit_line_notify(struct circuit_line *line, u32 index);
bool circuit_line_post(struct circuit_line *line, struct circuit_out *out);
bool circuit_line_queue(struct circuit_line *line, struct circuit_out *out);

/* circuit.c */
struct circuit *circuit_alloc(struct circuit_line *line, gfp_t gfp);
struct circuit *circuit_get(struct circuit *c);
void circuit_put(struct circuit *c);
int circuit_place(struct circuit *c, struct circuit_ep *ep, const struct circuit_sig_call *call);
bool circuit_cancel(struct circuit *c);
int circuit_setup(struct circuit *c, const struct circuit_sig_circuit *msg);
void circuit_hangup(struct circuit *c, u32 flags, enum circuit_reason reason);
void circuit_want(struct circuit *c, u32 len);
void circuit_allow(struct circuit *c, const struct circuit_sig_allow *msg);

/* Where the index after the last byte published is found, whoever published it. */
static inline const u32 *circuit_tx_tail_at(const struct circuit *c)
{
	return unlikely(smp_load_acquire(&c->tx_mapped)) ? &c->tx.prod->tail : &c->tx.tail;
}

static inline u32 circuit_tx_tail(const struct circuit *c)
{
	return READ_ONCE(*circuit_tx_tail_at(c));
}

/* Index after the last byte released, whoever did. */
static inline u32 circuit_rx_head(const struct circuit *c)
{
	return unlikely(smp_load_acquire(&c->rx_mapped)) ? READ_ONCE(c->rx.cons->head) :
							   READ_ONCE(c->rx.head);
}

/* How many bytes this end has sent, whoever did. */
static inline u64 circuit_tx_total(const struct circuit *c)
{
	u64 n = READ_ONCE(c->tx.bytes) + READ_ONCE(c->tx.others);

	return READ_ONCE(c->tx_mapped) ? n + (u32)(circuit_tx_tail(c) - READ_ONCE(c->tx.tail)) : n;
}

/* How many it has received. */
static inline u64 circuit_rx_total(const struct circuit *c)
{
	u64 n = READ_ONCE(c->rx.bytes) + READ_ONCE(c->rx.others);

	return READ_ONCE(c->rx_mapped) ? n + (u32)(circuit_rx_head(c) - READ_ONCE(c->rx.head)) : n;
}

/**
 * circuit_steer - have interrupts for a circuit come to this processor
 * @c: a circuit of which a thread is going to wait for something
 *
 * Nothing depends on it.
 */
static inline void circuit_steer(const struct circuit *c)
{
	const struct circuit_transport *t = c->line->t;
	struct circuit_guest_hdr *guest = t->window + CIRCUIT_OFF_GUEST;
	u8 *slot = &guest->vector[c->index % CIRCUIT_STEERED], vector;

	if (t->vectors == 1)
		return;
	vector = raw_smp_processor_id() % t->vectors;
	if (READ_ONCE(*slot) != vector)
		WRITE_ONCE(*slot, vector);
}

/* A thread's ways to ask for interrupts, under ep->tx_mutex and ep->rx_mutex; see ring.h. */
static inline void circuit_tx_watch(struct circuit *c, u32 want)
{
	circuit_steer(c);
	circuit_tx_arm(&c->tx, want);
}

static inline void circuit_rx_watch(struct circuit *c, u32 want)
{
	circuit_steer(c);
	circuit_rx_arm(&c->rx, want);
}

/*
 * How much may be sent now, as far as the operator is concerned: nothing if that would be a message
 * too many.
 */
static inline u32 circuit_tx_allowed(const struct circuit *c)
{
	u32 limits = smp_load_acquire(&c->limits);

	if (likely(!(limits & (CIRCUIT_SIG_LIMIT_TX | CIRCUIT_SIG_LIMIT_TX_MESSAGES))))
		return U32_MAX;
	if (limits & CIRCUIT_SIG_LIMIT_TX_MESSAGES &&
	    (s64)(READ_ONCE(c->tx_messages_upto) - c->tx_messages) <= 0)
		return 0;
	if (!(limits & CIRCUIT_SIG_LIMIT_TX))
		return U32_MAX;
	return clamp_t(s64, READ_ONCE(c->tx_upto) - c->tx.bytes, 0, S32_MAX);
}

/* The same of what may be received. */
static inline u32 circuit_rx_allowed(const struct circuit *c)
{
	u32 limits = smp_load_acquire(&c->limits);

	if (likely(!(limits & (CIRCUIT_SIG_LIMIT_RX | CIRCUIT_SIG_LIMIT_RX_MESSAGES))))
		return U32_MAX;
	if (limits & CIRCUIT_SIG_LIMIT_RX_MESSAGES &&
	    (s64)(READ_ONCE(c->rx_messages_upto) - c->rx_messages) <= 0)
		return 0;
	if (!(limits & CIRCUIT_SIG_LIMIT_RX))
		return U32_MAX;
	return clamp_t(s64, READ_ONCE(c->rx_upto) - c->rx.bytes, 0, S32_MAX);
}

void circuit_tell_options(struct circuit *c, const struct sock *sk,
			  void (*fill)(struct circuit_sig_options *options, const struct sock *sk));

/* listener.c */
struct circuit_listener *circuit_listener_create(struct circuit_line *line, struct circuit_ep *ep,
						 const struct circuit_sig_listen *what);
void circuit_listener_put(struct circuit_listener *lst);
int circuit_listener_post(struct circuit_listener *lst, u32 backlog);
int circuit_listener_publish(struct circuit_listener *lst, u32 backlog);
bool circuit_listener_add(struct circuit_listener *lst, struct circuit *c);
void circuit_listener_look(struct circuit *c);
void circuit_listener_close(struct circuit_listener *lst);
struct circuit *circuit_listener_pop(struct circuit_listener *lst);

/* ep.c */
static inline void circuit_ep_lock(struct circuit_ep *ep)
	__acquires(&ep->sk->sk_lock.slock)
{
	spin_lock_bh(&ep->sk->sk_lock.slock);
}

static inline void circuit_ep_unlock(struct circuit_ep *ep)
	__releases(&ep->sk->sk_lock.slock)
{
	spin_unlock_bh(&ep->sk->sk_lock.slock);
}

/*
 * The circuit of an endpoint if its rings may be used, with tx_mutex or rx_mutex held:
 * a line that goes down waits for the mutexes before it lets go of the window.
 */
static inline struct circuit *circuit_ep_rings(const struct circuit_ep *ep)
{
	return ep->c && circuit_line_up(ep->c->line) ? ep->c : NULL;
}

/* What a socket wishes a ring's size to be: the figure in SO_*BUF is doubled. */
static inline u32 circuit_ep_wish(const struct sock *sk, u32 lock, int buf)
{
	return sk->sk_userlocks & lock ? max(buf / 2, 1) : 0;
}

/**
 * struct circuit_peer - whom a socket of datagrams is connected to
 * @port: the port, 0 if it is not
 * @line: the line's name, padded
 *
 * Changes under ep->rx_mutex.
 */
struct circuit_peer {
	u32	port;
	char	line[CIRCUIT_NAME_SIZE];
};

static inline void circuit_ep_put(struct circuit_ep *ep)
{
	if (refcount_dec_and_test(&ep->ref))
		ep->free(ep);
}

void circuit_ep_init(struct circuit_ep *ep, struct sock *sk, void (*free)(struct circuit_ep *ep));
bool circuit_ep_connected(struct circuit_ep *ep, struct circuit *c);
void circuit_ep_refused(struct circuit_ep *ep, struct circuit *c, int err, u32 reason);
void circuit_ep_reset(struct circuit_ep *ep, struct circuit *c, int err, u32 reason);
void circuit_ep_kill(struct circuit_ep *ep, struct circuit *c);
void circuit_ep_verdict(struct circuit_ep *ep, struct circuit *c, bool native, u32 reason);
void circuit_ep_fail(struct circuit_ep *ep, int err, u32 reason);
void circuit_ep_unlistened(struct circuit_ep *ep);
void circuit_ep_leave_rings(struct circuit_ep *ep, const struct circuit *c);
bool circuit_ep_urgent(struct circuit_ep *ep, struct circuit *c, u32 mark);
void circuit_ep_attention(struct circuit *c);
void circuit_ep_allowed(struct circuit *c);
int circuit_ep_call(struct circuit_ep *ep, struct circuit_line *line,
		    struct circuit_sig_call *call);
long circuit_ep_wait(struct circuit_ep *ep, long timeo);
void circuit_ep_adopt(struct circuit_ep *ep, struct circuit *c);
void circuit_ep_disconnect(struct circuit_ep *ep, u32 flags, enum circuit_reason reason);
void circuit_ep_unlisten(struct circuit_ep *ep);
void circuit_ep_shutdown(struct circuit_ep *ep, int how);
void circuit_ep_close(struct circuit_ep *ep);

int circuit_ep_getsockopt(struct circuit_ep *ep, int optname, char __user *optval, int __user *optlen);

/* map.c */
int circuit_map(struct circuit_ep *ep, struct vm_area_struct *vma, struct file *file);
int circuit_map_kick(struct circuit_ep *ep);
u32 circuit_map_state(const struct circuit *c);
bool circuit_map_lose(struct circuit *c);
void circuit_map_free(struct circuit_map *map);
int circuit_map_take_tx(struct circuit_ep *ep, struct circuit *c);
int circuit_map_take_rx(struct circuit_ep *ep, struct circuit *c);
u32 circuit_map_room(const struct circuit *c);
u32 circuit_map_data(const struct circuit *c);
bool circuit_map_writable(struct circuit *c);
bool circuit_map_readable(struct circuit *c);

/*
 * May the kernel write to a circuit's ring? -EBUSY if a process has it mapped, otherwise 0. If one
 * had and has left behind what cannot be, the connection is reset. ep->tx_mutex is held.
 */
static inline int circuit_tx_ours(struct circuit_ep *ep, struct circuit *c)
{
	return likely(!c->tx_mapped) ? 0 : circuit_map_take_tx(ep, c);
}

/* The same of reading; ep->rx_mutex is held. */
static inline int circuit_rx_ours(struct circuit_ep *ep, struct circuit *c)
{
	return likely(!c->rx_mapped) ? 0 : circuit_map_take_rx(ep, c);
}

/* transfer.c, for who does not transfer anything */
void circuit_tx_told(struct circuit *c);

/* stream.c */
int circuit_stream_sendmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len);
int circuit_stream_recvmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len, int flags);
__poll_t circuit_stream_poll(struct circuit_ep *ep, __poll_t events);
u32 circuit_stream_unread(struct circuit_ep *ep);
bool circuit_stream_ended(struct circuit_ep *ep);
u32 circuit_stream_inq(struct circuit_ep *ep);
bool circuit_stream_at_mark(struct circuit_ep *ep);
u32 circuit_stream_unsent(struct circuit_ep *ep);
bool circuit_stream_drained(struct circuit_ep *ep);

/* message.c */
int circuit_message_sendmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len);
u32 circuit_message_want(struct circuit *c);
int circuit_message_recvmsg(struct circuit_ep *ep, struct msghdr *msg, size_t len, int flags);
u32 circuit_message_next(struct circuit_ep *ep);

/* datagram.c */
int circuit_datagram_sendmsg(struct circuit_ep *ep, const struct circuit_peer *peer,
			     struct msghdr *msg, const struct circuit_datagram *head);
int circuit_datagram_recvmsg(struct circuit_ep *ep, const struct circuit_peer *peer,
			     struct msghdr *msg, size_t len, int flags);
__poll_t circuit_datagram_poll(struct circuit_ep *ep, const struct circuit_peer *peer,
			       __poll_t events);
u32 circuit_datagram_length(struct circuit_ep *ep, const struct circuit_peer *peer);

/* af_circuit.c */
int circuit_family_init(void);
void circuit_family_exit(void);

/* inet.c */
int circuit_inet_for_listeners(int (*fn)(struct sock *sk, struct circuit_ep *ep, void *arg),
			       void *arg);
void circuit_inet_line_up(void);
int circuit_inet_init(void);
void circuit_inet_register(void);
void circuit_inet_unregister(void);

/* udp.c */
void circuit_udp_line_up(void);
int circuit_udp_init(void);
void circuit_udp_exit(void);
void circuit_udp_register(void);
void circuit_udp_unregister(void);

/* path.c */
void circuit_path_native(struct socket *sock, u32 reason);
void circuit_path_refused(const struct sock *sk, u32 reason);
void circuit_path_count(const struct sock *sk, bool out);
int circuit_path_for_natives(struct net *net, unsigned long *pos,
			     int (*fn)(u32 ino, u32 reason, void *arg), void *arg);
u64 circuit_path_calls(struct net *net, bool out);
u64 circuit_path_natives(struct net *net, u32 reason);
u64 circuit_path_refusals(struct net *net, u32 reason);
int circuit_path_init(void);
void circuit_path_exit(void);

/* redirect.c */
int circuit_redirect_cgroup(u64 id, bool on);
int circuit_redirect_for_cgroups(unsigned long *pos, int (*fn)(u64 id, void *arg), void *arg);
bool circuit_redirect_allowed(struct sock *sk);
int circuit_redirect_init(void);
void circuit_redirect_start(void);
void circuit_redirect_exit(void);

/* netlink.c */
int circuit_guest_netlink_init(void);
void circuit_guest_netlink_exit(void);

/* ivshmem.c */
int circuit_ivshmem_init(void);
void circuit_ivshmem_exit(void);

#endif /* _CIRCUIT_GUEST_H */
