/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The switch operator: objects, ownership, locks.
 *
 * Objects
 *
 *  exchange	One per network namespace: the directory and all that is in it.
 *		Referenced by its namespace until that goes, and by its lines, trunks,
 *		legs and exposures.
 *  line	Configuration, usage and counters of one VM's attachment. Outlives
 *		its VMs. Referenced by the directory until it is deleted, by its
 *		window while a VM is attached, by the ends of its circuits and by the
 *		operator's ends of those.
 *  window	One attachment of a VM to a line: the file the VMM maps, the
 *		eventfds, the signalling circuit. Owned by that file: its release
 *		is the only thing that frees a window.
 *  pair	Two lines (or one and itself) that have called each other, with
 *		the cables between them. Ends when either window does.
 *  cable	Contiguous memory that shows in the windows of a pair.
 *  circuit	One call, from the moment it is placed. Freed when both ends have
 *		hung up; each end is on its line's list from the time it has a
 *		number until then.
 *  listener	A port that a guest has published.
 *  trunk	A way to a stack of the host's, immutable.
 *  local end	The end of a circuit that is the operator's own.
 *  leg		A local end that is a socket of such a stack.
 *  box	A local end that is a guest's socket of datagrams.
 *  loan	A piece of a ring that such a socket sends without a copy. Keeps its leg,
 *		and the circuit from being freed.
 *  tap		Somebody who looks at what a circuit carries.
 *  exposure	A port of such a stack where a line's listener can be called.
 *  policy	Who may call whom, see policy.h.
 *  quota	What a line may have, and the lines of a group together, see quota.h.
 *  account	What it has cost, see account.h, and its share of the processors, see share.h.
 *  bell	How often it may ring, see bell.h.
 *  meter	How many bytes per second they may send and receive, see meter.h.
 *
 * Locks
 *
 *  exchange->lock  mutex. Everything that changes any of the above, and all
 *		reading and writing of signalling circuits. Never taken in
 *		interrupt context; outermost but for RTNL-like locks of callers
 *		(genl's mutex in netlink.c) and the next two.
 *  tap->mutex	A tap's reader; outside exchange->lock, see tap.c.
 *  box->lock	A box's ring to its guest; outside exchange->lock, and never two at
 *		once, see box.c.
 *  page lock	Of the pages of cables, inside exchange->lock: see window.c.
 *  RCU		The relay runs in hard interrupt context and takes no lock. It
 *		reads line->win, line->ends and the ends of a circuit; hence
 *		windows, circuits, local ends and lines are freed after a grace period.
 *
 *  job		Of a local end, see share.h. Owns its rings, and the socket of a leg, and is the only
 *		one that hangs up for it; takes exchange->lock, outside of socket locks.
 *
 * Contexts: doorbells arrive in the wake-up of an eventfd, interrupts off; they
 * queue an irq_work (relay.c), or not if they come too often (bell.c), which queues a
 * work or kicks a job for signalling (signalling.c), or queues a work for what exceeds its
 * budget. Timers end masks of doorbells (bell.c) and waits for caps (share.c), in hard
 * interrupts. Callbacks of sockets and of loans come in any context and only kick the job of
 * their leg or exposure. Everything else is process context: those jobs and works, system calls,
 * the release of a netlink socket (drafts, netlink_policy.c), and the delayed works of an exchange,
 * for calls that get no answer (decide.c) and for meters (meter.c).
 * These hold a reference to it while they are queued, and are stopped when the namespace goes.
 *
 * A VM ends in three phases. window_release() unhooks the doorbell and stops its bell;
 * circuit_line_reset() hangs up for the guest whatever it had, so that the far ends learn of it,
 * and the window comes off its line, after which nothing starts the bell's timer; after a grace
 * period the window goes.
 */
#ifndef _CIRCUIT_HOST_H
#define _CIRCUIT_HOST_H

#include <linux/eventfd.h>
#include <linux/in6.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/poll.h>
#include <linux/ratelimit.h>
#include <linux/rhashtable.h>
#include <linux/types.h>
#include <linux/u64_stats_sync.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>
#include <net/tcp.h>
#include <linux/circuit.h>
#include <linux/circuit_netlink.h>
#include <linux/circuit_ring.h>
#include <linux/circuit_sig.h>
#include "../ring/attn.h"
#include "../ring/ring.h"
#include "account.h"
#include "bell.h"
#include "compat.h"
#include "meter.h"
#include "policy.h"

struct circuit_cable;
struct circuit_leg;
struct circuit_tap;
struct circuit_window;

/* Defaults and bounds of a line's configuration. */
#define CIRCUIT_WINDOW_DEFAULT		(1ull << 30)
#define CIRCUIT_WINDOW_MAX		(1ull << 40)
#define CIRCUIT_MEMORY_DEFAULT		(256ull << 20)
#define CIRCUIT_CIRCUITS_DEFAULT	4096
#define CIRCUIT_PENDING_DEFAULT		256
#define CIRCUIT_LISTENERS_DEFAULT	1024
#define CIRCUIT_LISTENERS_MAX		16384
#define CIRCUIT_RING_DEFAULT		(128u << 10)
#define CIRCUIT_BACKLOG_MAX		CIRCUIT_INDEX_MAX
#define CIRCUIT_ADDRS_MAX		64
#define CIRCUIT_TRUNKS_MAX		256
#define CIRCUIT_LINE_TRUNKS_MAX		8
#define CIRCUIT_TRUNK_TO_MAX		64
#define CIRCUIT_EXPOSURES_MAX		4096
#define CIRCUIT_EXPOSE_BACKLOG		1024
/* Seconds, if the trunk does not say. */
#define CIRCUIT_TRUNK_IDLE		120
/* Rings of datagrams from the world: holds the longest. */
#define CIRCUIT_DATAGRAM_RING		(128u << 10)

/* Ports tried before a call to an IP address is refused for want of one. */
#define CIRCUIT_PORT_TRIES		1024

/* Messages of one line handled before others get the exchange's lock. */
#define CIRCUIT_SIG_BUDGET		64
/* Nanoseconds after which a turn is over, too. */
#define CIRCUIT_SIG_TURN		(500 * NSEC_PER_USEC)
/* Marks relayed in one interrupt; the rest is left to a work. */
#define CIRCUIT_RELAY_BUDGET		64

/**
 * struct circuit_exchange - the operator of one network namespace
 * @ref: see above
 * @lock: see above
 * @net: the namespace, NULL once it is going away
 * @lines: lines by name
 * @addrs: IP addresses of lines
 * @services: listeners by line and port
 * @tuples: circuits between IP addresses, by addresses and ports
 * @subjects: names that rules may speak of
 * @groups: those of them that are groups
 * @by_id: lines by number, for dumps
 * @circuits: circuits by number, for dumps
 * @idle_cables: cables of pairs that have no circuits, in some order
 * @trunk: stands for the host's stacks where a circuit or a cable has lines; has no
 *	window, no guest and no number
 * @trunks: struct circuit_trunk
 * @nr_trunks: how many
 * @exposures: struct circuit_exposure
 * @nr_exposures: how many
 * @policy: in force
 * @generation: changes with every policy that comes into force
 * @drafts: struct circuit_nl_draft, policies that are being made
 * @nr_drafts: how many
 * @unanswered: calls that get no answer, in the order in which they were placed
 * @expire: delayed work that ends them; holds a reference to the exchange while it is queued
 * @next_due: when that is to run
 * @wanting: struct circuit_flow, of those who wait for what meters let through
 * @turns: number of the last turn in which they were served, never 0
 * @turn: delayed work that serves them; holds a reference to the exchange while it is queued
 * @deciding: nanoseconds that the policy has taken for decisions
 * @audit: how often the log is told
 * @next_circuit: number of the next circuit
 * @switches: changes with what the policy's answers about datagrams depend on; see box.c
 * @seq: changes whenever a line, a group, a trunk or an exposure comes or goes, for consistent
 *	dumps
 */
struct circuit_exchange {
	struct kref		ref;
	struct mutex		lock;
	struct net		*net;
	struct rhashtable	lines;
	struct rhashtable	addrs;
	struct rhltable		services;
	struct rhashtable	tuples;
	struct rhashtable	subjects;
	struct list_head	groups;
	struct xarray		by_id;
	struct xarray		circuits;
	struct list_head	idle_cables;
	struct circuit_line	*trunk;
	struct list_head	trunks;
	u32			nr_trunks;
	struct list_head	exposures;
	u32			nr_exposures;
	struct circuit_policy	*policy;
	u32			generation;
	struct list_head	drafts;
	u32			nr_drafts;
	struct list_head	unanswered;
	struct delayed_work	expire;
	ktime_t			next_due;
	struct list_head	wanting;
	u32			turns;
	struct delayed_work	turn;
	u64			deciding;
	struct ratelimit_state	audit;
	u64			next_circuit;
	u32			seq;
	u32			switches;
};

/*
 * What is counted of a line: where it happens, in any context, per processor; see
 * circuit_line_add(). Bytes are counted when the line hangs up, and looked up in the rings before.
 */
enum circuit_line_counter {
	CIRCUIT_COUNT_CALLS_OUT,
	CIRCUIT_COUNT_CALLS_IN,
	CIRCUIT_COUNT_CALLS_REFUSED,
	CIRCUIT_COUNT_CALLS_NATIVE,
	CIRCUIT_COUNT_RESETS,
	CIRCUIT_COUNT_VIOLATIONS,
	CIRCUIT_COUNT_DOORBELLS,
	CIRCUIT_COUNT_DOORBELLS_MASKED,
	CIRCUIT_COUNT_DOORBELLS_LIMITED,
	CIRCUIT_COUNT_DOORBELLS_STORMS,
	CIRCUIT_COUNT_INTERRUPTS,
	CIRCUIT_COUNT_MESSAGES,
	CIRCUIT_COUNT_BYTES_OUT,
	CIRCUIT_COUNT_BYTES_IN,
	CIRCUIT_NR_COUNTERS,
};

struct circuit_line_stats {
	u64_stats_t		n[CIRCUIT_NR_COUNTERS];
	struct u64_stats_sync	syncp;
};

/**
 * struct circuit_stats - what is counted of a circuit, per processor
 * @marks: how often what end i had to tell was passed on
 * @syncp: for them
 */
struct circuit_stats {
	u64_stats_t		marks[2];
	struct u64_stats_sync	syncp;
};

/**
 * struct circuit_line_config - what the administrator decides about a line
 * @window: size of the window, bytes
 * @ring_max: largest ring, bytes
 * @ring_default: size of a ring nobody asked a size for, bytes
 */
struct circuit_line_config {
	u64	window;
	u32	ring_max;
	u32	ring_default;
};

/**
 * struct circuit_line - one line
 * @ref: see above
 * @rcu: for the relay
 * @node: in exchange->lines
 * @ex: the exchange, referenced
 * @name: NUL-padded
 * @id: number, unique in the exchange
 * @deleted: no longer in the directory
 * @is_trunk: it is its exchange's @trunk
 * @party: as rules of the policy see it
 * @cfg: configuration
 * @win: the attached window
 * @epoch: of the running guest, 0 for none
 * @features: CIRCUIT_SIG_F_* agreed upon with it
 * @ready: HELLO was answered: calls may be placed and received
 * @fault: out of service until the next epoch
 * @quota: what it may have and has; never more circuits than CIRCUIT_INDEX_MAX
 * @ends: circuit number -> struct circuit_end
 * @pairs: number of the other line -> struct circuit_pair
 * @listeners: the guest's listeners by its own reference
 * @calls: the guest's undecided calls by its own reference
 * @owed: ends with messages that did not fit the signalling circuit
 * @steps: struct circuit_flow, of those whose writers are being told that they are limited
 * @addrs: its IP addresses, struct circuit_addr
 * @trunks: where calls to addresses that are no line's go, the first choice first
 * @nr_trunks: how many
 * @locals: the operator's ends of its circuits, legs until they have closed their sockets
 * @nr_locals: how many
 * @next_port: where the search for a port to give starts
 * @tx: signalling, operator to guest
 * @rx: signalling, guest to operator
 * @sig_job: hears what the guest has to say that it could not say at once; has a reference while it
 *	is kicked
 * @sig_fast: what that has used of what it may at once, as @due of struct circuit_cap
 * @setups: how many of its calls took how long to be set up, see linux/circuit_netlink.h
 * @account: what it has cost, referenced
 * @stats: counters
 */
struct circuit_line {
	struct kref			ref;
	struct rcu_head			rcu;
	struct rhash_head		node;
	struct circuit_exchange		*ex;
	char				name[CIRCUIT_NAME_SIZE];
	u32				id;
	bool				deleted;
	bool				is_trunk;
	struct circuit_party		party;
	struct circuit_line_config	cfg;

	struct circuit_window __rcu	*win;
	u32				epoch;
	u64				features;
	bool				ready;
	bool				fault;

	struct circuit_quota		quota;

	struct xarray			ends;
	struct xarray			pairs;
	struct xarray			listeners;
	struct xarray			calls;
	struct list_head		owed;
	struct list_head		steps;
	struct list_head		addrs;
	struct circuit_trunk		*trunks[CIRCUIT_LINE_TRUNKS_MAX];
	unsigned int			nr_trunks;
	struct list_head		locals;
	u32				nr_locals;
	u32				next_port;

	struct circuit_tx		tx;
	struct circuit_rx		rx;
	struct circuit_job		sig_job;
	atomic64_t			sig_fast;

	u64				setups[CIRCUIT_SETUPS];
	struct circuit_account		*account;
	struct circuit_line_stats __percpu *stats;
};

/**
 * circuit_line_add - add to a line's counter
 * @line: the line, referenced or under RCU
 * @what: which
 * @n: how much
 *
 * Context: any.
 */
static inline void circuit_line_add(struct circuit_line *line, enum circuit_line_counter what, u64 n)
{
	struct circuit_line_stats *stats = get_cpu_ptr(line->stats);
	unsigned long flags = u64_stats_update_begin_irqsave(&stats->syncp);

	u64_stats_add(&stats->n[what], n);
	u64_stats_update_end_irqrestore(&stats->syncp, flags);
	put_cpu_ptr(line->stats);
}

/**
 * circuit_line_count - count one for a line
 * @line: the line, referenced or under RCU
 * @what: what
 *
 * Context: any.
 */
static inline void circuit_line_count(struct circuit_line *line, enum circuit_line_counter what)
{
	circuit_line_add(line, what, 1);
}

/**
 * struct circuit_addr - an IP address of a line
 * @node: in exchange->addrs
 * @addr: the address
 * @line: the line
 * @list: in line->addrs, in the order they were given
 */
struct circuit_addr {
	struct rhash_head	node;
	struct in6_addr		addr;
	struct circuit_line	*line;
	struct list_head	list;
};

/**
 * struct circuit_window - one VM attached to a line
 * @line: the line, referenced
 * @rcu: for the relay
 * @inode: of the window's file; its address space is what gets unmapped
 * @size: bytes
 * @slots: slot number -> struct circuit_cable, see window.c
 * @scratch: what shows wherever nothing else does
 * @area: the line's own area, CIRCUIT_LINE_AREA bytes
 * @kick_file: the doorbell's eventfd; the reference keeps @wait from a surprise
 * @kick: the doorbell
 * @wait: hooked to @kick
 * @poll: used once, to hook it
 * @bell: whether it is heard
 * @relay: takes marks from the guest
 * @relay_work: what was beyond the budget
 * @sig_work: signalling, at once
 * @vectors: how many interrupts the guest's device has, at least 1
 * @call: those
 */
struct circuit_window {
	struct circuit_line	*line;
	struct rcu_head		rcu;
	struct inode		*inode;
	u64			size;
	struct xarray		slots;
	struct page		*scratch;
	void			*area;
	struct file		*kick_file;
	struct eventfd_ctx	*kick;
	wait_queue_entry_t	wait;
	poll_table		poll;
	struct circuit_bell	bell;
	struct irq_work		relay;
	struct work_struct	relay_work;
	struct work_struct	sig_work;
	unsigned int		vectors;
	struct eventfd_ctx	*call[];
};

static inline struct circuit_line_hdr *circuit_window_hdr(struct circuit_window *win)
{
	return win->area + CIRCUIT_OFF_LINE;
}

static inline u32 circuit_window_epoch(const struct circuit_window *win)
{
	const struct circuit_guest_hdr *guest = win->area + CIRCUIT_OFF_GUEST;

	return virt_load_acquire(&guest->epoch);
}

/**
 * circuit_window_vector - by which vector does a guest want to be interrupted?
 * @win: its window
 * @index: for this circuit, 0 for signalling
 *
 * Return: a vector that its device has.
 */
static inline unsigned int circuit_window_vector(const struct circuit_window *win, u32 index)
{
	const struct circuit_guest_hdr *guest = win->area + CIRCUIT_OFF_GUEST;
	unsigned int vector;

	if (win->vectors == 1 || !index)
		return 0;
	vector = READ_ONCE(guest->vector[index % CIRCUIT_STEERED]);
	return vector < win->vectors ? array_index_nospec(vector, win->vectors) : 0;
}

/**
 * struct circuit_pair - the cables between two lines
 * @line: the lines, in no particular order, perhaps the same twice
 * @cables: those with room for more circuits first
 */
struct circuit_pair {
	struct circuit_line	*line[2];
	struct list_head	cables;
};

/**
 * struct circuit_cable - memory shared by the windows of a pair
 * @node: in pair->cables
 * @idle: in exchange->idle_cables, while it has no circuits
 * @pair: the pair, NULL once it has ended
 * @rcu: for the fault handler
 * @page: first page
 * @npages: how many
 * @used: how many are carved out
 * @circuits: how many circuits use them
 * @side: per line of the pair: the line (referenced, charged), its window at
 *	the time, the slot where it shows, and how many ends the line has in it;
 *	the second is unused if a line is paired with itself
 * @map: which pages are carved out
 */
struct circuit_cable {
	struct list_head	node;
	struct list_head	idle;
	struct circuit_pair	*pair;
	struct rcu_head		rcu;
	struct page		*page;
	u32			npages;
	u32			used;
	u32			circuits;
	struct {
		struct circuit_line	*line;
		struct circuit_window	*win;
		u32			slot;
		u32			ends;
	} side[2];
	unsigned long		map[];
};

/* What the operator owes a guest about one end of a circuit. */
#define CIRCUIT_OWE_REFUSED	BIT(0)
#define CIRCUIT_OWE_SETUP	BIT(1)	/* CONNECTED or ALERT */
#define CIRCUIT_OWE_RESET	BIT(2)
#define CIRCUIT_OWE_ALLOW	BIT(3)

/**
 * struct circuit_end - one end of a circuit
 * @line: its line, referenced
 * @index: its number on that line, 0 if it has none
 * @port: its port
 * @addr: its IP address, :: if it has none
 * @nr: which end: 0 calls, 1 is called
 * @hungup: its guest is through with it, or never had it
 * @told: a mark was passed on when it had said in the circuit that it is
 * @owe: CIRCUIT_OWE_*
 * @reason: why it was refused or reset
 * @error: the errno of that, 0 for the reason's own
 * @owed: in line->owed while @owe is not 0
 * @allow: bytes, and messages, more that its guest may send, and receive, and has not been told of
 * @anew: CIRCUIT_SIG_LIMIT_*_ANEW: all that it may, from now on
 */
struct circuit_end {
	struct circuit_line	*line;
	u32			index;
	u32			port;
	struct in6_addr		addr;
	u8			nr;
	bool			hungup;
	bool			told;
	u8			owe;
	u8			reason;
	u16			error;
	struct list_head	owed;
	u32			allow[CIRCUIT_UNITS][CIRCUIT_WAYS];
	u32			anew;
};

/**
 * struct circuit_tuple - what no two circuits between IP addresses share
 * @src: the caller's address
 * @dst: the address called
 * @sport: the caller's port
 * @dport: the port called
 */
struct circuit_tuple {
	struct in6_addr	src;
	struct in6_addr	dst;
	u32		sport;
	u32		dport;
};

/**
 * struct circuit - one call and what becomes of it
 * @rcu: for the relay
 * @id: number, unique in the exchange
 * @node: in exchange->tuples, if @entered
 * @tuple: the key there
 * @ip: the call was to an IP address
 * @entered: it is in exchange->tuples
 * @ref: the caller's name for the call
 * @type: CIRCUIT_SIG_STREAM, _SEQPACKET, or _DGRAM: then end 1 is a box
 * @start: when it was placed
 * @listener: while the call waits for it
 * @wait: in listener->waiting, then; or in exchange->unanswered
 * @due: when it leaves that
 * @connected: it was, whether or not it still is: there are a control page and flows
 * @ended: the policy has ended it
 * @uid: the user who calls, as the guest has it
 * @cgroup: the cgroup that calls, likewise
 * @hints: CIRCUIT_SIG_HINT_*: which of these are told
 * @rule: number of the rule that decided, from 1; 0 if none did
 * @ring_max: what that said of rings, 0: nothing
 * @listener_ref: the called guest's name for the listener, for ALERT
 * @size: of the rings, bytes; before the set-up as far as the caller wished
 * @cable: where it was carved from, NULL before the set-up
 * @first: its first page there
 * @ctrl: its control page from the set-up on; there for as long as an RCU reader has found an end
 * @local: the end that is the operator's own, if one is; referenced
 * @meters: those of the rule that decided, referenced, if it has any
 * @flow: @flow[unit][i] is what end i writes, as meters see it
 * @held: that socket has still something of a ring
 * @tap: who captures what it carries, if somebody does
 * @end: its ends
 * @stats: what is counted, per processor
 */
struct circuit {
	struct rcu_head		rcu;
	u64			id;
	struct rhash_head	node;
	struct circuit_tuple	tuple;
	bool			ip;
	bool			entered;
	u32			ref;
	u32			type;
	ktime_t			start;
	struct circuit_listener	*listener;
	struct list_head	wait;
	ktime_t			due;
	bool			connected;
	bool			ended;
	u32			uid;
	u64			cgroup;
	u32			hints;
	u32			rule;
	u32			ring_max;
	u32			listener_ref;
	u32			size[2];
	struct circuit_cable	*cable;
	u32			first;
	struct circuit_ctrl	*ctrl;
	struct circuit_local	*local;
	struct circuit_meters	*meters;
	struct circuit_flow	flow[CIRCUIT_UNITS][2];
	bool			held;
	struct circuit_tap	*tap;
	struct circuit_end	end[2];
	struct circuit_stats __percpu *stats;
};

static inline struct circuit *circuit_of_end(struct circuit_end *end)
{
	return container_of(end, struct circuit, end[end->nr]);
}

static inline struct circuit_end *circuit_far_end(struct circuit_end *end)
{
	return &circuit_of_end(end)->end[!end->nr];
}

/* How many bytes an end has written, if it can be believed. */
static inline u64 circuit_end_bytes(struct circuit_end *end)
{
	return READ_ONCE(circuit_of_end(end)->ctrl->dir[end->nr].prod.bytes);
}

/**
 * struct circuit_service - where a listener can be found
 * @line: number of its line
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_SEQPACKET
 * @port: its port
 * @ip: 1 if it is called by IP address, 0 if by the line's name
 */
struct circuit_service {
	u32	line;
	u32	type;
	u32	port;
	u32	ip;
};

/**
 * struct circuit_listener - a published port
 * @node: in exchange->services
 * @key: its key there
 * @addr: its IP address, or that of any host
 * @flags: CIRCUIT_SIG_V6ONLY, CIRCUIT_SIG_REUSEPORT
 * @line: its line; a listener never outlives its guest
 * @ref: the guest's name for it
 * @backlog: most calls that may be alerted and not answered
 * @queued: how many are
 * @tx_size: wanted size of the rings the called side writes, 0: no wish
 * @rx_size: wanted size of the rings the called side reads, 0: no wish
 * @waiting: calls waiting for @queued to fall below @backlog
 */
struct circuit_listener {
	struct rhlist_head	node;
	struct circuit_service	key;
	struct in6_addr		addr;
	u32			flags;
	struct circuit_line	*line;
	u32			ref;
	u32			backlog;
	u32			queued;
	u32			tx_size;
	u32			rx_size;
	struct list_head	waiting;
};

/**
 * struct circuit_trunk_config - what the administrator decides about a trunk
 * @source: addresses that calls come from, of IPv4 and of IPv6; :: for any
 * @to: where it leads
 * @nr_to: how many of them there are; 0: everywhere
 * @host: it leads to the host's own addresses, too
 * @congestion: congestion control, empty for the namespace's default
 * @mark: for SO_MARK
 * @tos: type of service or traffic class
 * @pacing: most bytes per second, 0 for no limit
 * @user_timeout: for TCP_USER_TIMEOUT, milliseconds
 * @mss: for TCP_MAXSEG
 * @idle: seconds after which circuits of datagrams end on which nothing is said, 0 for the default
 */
struct circuit_trunk_config {
	struct in6_addr	source[2];
	struct circuit_prefix to[CIRCUIT_TRUNK_TO_MAX];
	u32	nr_to;
	bool	host;
	char	congestion[TCP_CA_NAME_MAX];
	u32	mark;
	u8	tos;
	u64	pacing;
	u32	user_timeout;
	u32	mss;
	u32	idle;
};

/**
 * struct circuit_trunk - a way to a stack of the host's
 * @ref: see above
 * @list: in exchange->trunks
 * @name: NUL-padded
 * @cfg: configuration
 * @ex: its exchange, referenced
 * @netns: number of its namespace, 0 if that is the exchange's
 * @net: its namespace, not referenced; NULL once it is gone
 * @abroad: in a list of those with a namespace of their own
 * @users: lines and exposures that have it
 * @calls: calls placed or taken over it
 * @refused: those of them that came to nothing
 * @circuits: legs
 */
struct circuit_trunk {
	struct kref			ref;
	struct list_head		list;
	char				name[CIRCUIT_NAME_SIZE];
	struct circuit_trunk_config	cfg;
	struct circuit_exchange		*ex;
	unsigned int			netns;
	struct net			*net;
	struct list_head		abroad;
	u32				users;
	atomic64_t			calls;
	atomic64_t			refused;
	atomic_t			circuits;
};

struct circuit_udp;

/**
 * struct circuit_exposure - a port of the host's where a listener can be called
 * @ref: of its exchange, of its job and its work, and of calls that wait
 * @rcu: for callbacks of its socket
 * @list: in exchange->exposures
 * @ex: the exchange, referenced
 * @line: the line, not referenced; NULL once it is to go
 * @port: the listener's port
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_DGRAM: TCP's or UDP's
 * @trunk: for its sockets, or NULL
 * @addr: the host's address, :: for any, ::ffff:0.0.0.0 for any of IPv4
 * @host_port: the host's port
 * @sock: listens there, if it is TCP's
 * @udp: is there, if it is UDP's
 * @account: its line's, referenced
 * @native_ready: its callback as it was
 * @job: takes calls
 * @retry: kicks it, when there was no memory for one
 * @accepted: calls
 * @refused: those of them that came to nothing
 * @waiting: those that wait for the listener
 */
struct circuit_exposure {
	struct kref		ref;
	struct rcu_head		rcu;
	struct list_head	list;
	struct circuit_exchange	*ex;
	struct circuit_line	*line;
	u32			port;
	u32			type;
	struct circuit_trunk	*trunk;
	struct in6_addr		addr;
	u16			host_port;
	struct socket		*sock;
	struct circuit_udp	*udp;
	struct circuit_account	*account;
	void			(*native_ready)(struct sock *sk);
	struct circuit_job	job;
	struct delayed_work	retry;
	atomic64_t		accepted;
	atomic64_t		refused;
	atomic_t		waiting;
};

struct circuit_socket_info;

/**
 * struct circuit_local_ops - what is done with a circuit's local end
 * @look: there may be something to do; the end's job, one at a time
 * @setup: the circuit has its rings; its exchange is locked
 * @hungup: the guest has hung up, or there will be no circuit; likewise, perhaps more than
 *	once; may be NULL
 * @trunk: the name of its trunk, NULL if it has come in without one, or hung up; likewise; NULL if
 *	it has nothing to do with trunks
 * @info: what there is to say of its socket, false if there is none; likewise
 */
struct circuit_local_ops {
	void (*look)(struct circuit_local *local);
	void (*setup)(struct circuit_local *local);
	void (*hungup)(struct circuit_local *local);
	const char *(*trunk)(const struct circuit_local *local);
	bool (*info)(struct circuit_local *local, struct circuit_socket_info *info);
};

/**
 * struct circuit_local - the end of a circuit that is the operator's own, see local.c
 * @ref: see there
 * @rcu: for marks
 * @ops: what is done with it
 * @job: see there
 * @account: who pays for it, referenced
 * @turn: while it looks: the thread's
 * @ex: the exchange, referenced
 * @c: the circuit; set until it is freed, under the exchange's lock
 * @line: the guest's line, referenced, from when there is a circuit
 * @siblings: in line->locals
 * @nr: which end of it
 * @reset: enum circuit_reason, when the far end is gone; under the exchange's lock
 * @tx: to the guest
 * @rx: from the guest
 */
struct circuit_local {
	struct kref		ref;
	struct rcu_head		rcu;
	const struct circuit_local_ops *ops;
	struct circuit_job	job;
	struct circuit_account	*account;
	struct circuit_turn	*turn;
	struct circuit_exchange	*ex;
	struct circuit		*c;
	struct circuit_line	*line;
	struct list_head	siblings;
	u8			nr;
	u8			reset;
	struct circuit_tx	tx;
	struct circuit_rx	rx;
};

/**
 * struct circuit_socket_info - what can be told of a local end's socket
 * @local: its address
 * @remote: the far end's
 * @local_port: its port
 * @remote_port: the far end's
 * @state: TCP_*, 0 if it is not one of TCP's, and then the rest is not told
 * @congestion: its congestion control
 * @zerocopy: bytes it was given to send without a copy
 * @info: as TCP_INFO
 */
struct circuit_socket_info {
	struct in6_addr	local;
	struct in6_addr	remote;
	u16		local_port;
	u16		remote_port;
	u8		state;
	char		congestion[TCP_CA_NAME_MAX];
	u64		zerocopy;
	struct tcp_info	info;
};

/**
 * struct circuit_lender - what a leg has lent to its socket
 * @loans: struct loan, the oldest first
 * @bytes: of the ring from its head on, lent or to be released after what is
 * @total: bytes ever lent
 * @copy_until: rx->bytes before which nothing is lent
 * @futile: somebody copies them after all
 * @notify: something was released that the guest wants to be notified of
 */
struct circuit_lender {
	struct list_head	loans;
	u32			bytes;
	u64			total;
	u64			copy_until;
	bool			futile;
	bool			notify;
};

/* directory.c */
int circuit_directory_init(struct circuit_exchange *ex);
void circuit_directory_destroy(struct circuit_exchange *ex);
bool circuit_name_ok(const char *name);
struct circuit_line *circuit_directory_line(struct circuit_exchange *ex, const char *name);
int circuit_directory_add_line(struct circuit_exchange *ex, struct circuit_line *line);
void circuit_directory_del_line(struct circuit_exchange *ex, struct circuit_line *line);
struct circuit_line *circuit_directory_addr(struct circuit_exchange *ex,
					    const struct in6_addr *addr);
int circuit_directory_add_addr(struct circuit_exchange *ex, struct circuit_addr *addr);
void circuit_directory_del_addr(struct circuit_exchange *ex, struct circuit_addr *addr);
struct circuit_listener *circuit_directory_listener(struct circuit_exchange *ex,
						    const struct circuit_line *line, u32 type,
						    u32 port,
						    const struct in6_addr *addr, u32 hash);
int circuit_directory_add_tuple(struct circuit_exchange *ex, struct circuit *c);
void circuit_directory_del_tuple(struct circuit_exchange *ex, struct circuit *c);
int circuit_directory_add_listener(struct circuit_exchange *ex, struct circuit_listener *lst);
void circuit_directory_del_listener(struct circuit_exchange *ex, struct circuit_listener *lst);

/* exchange.c */
struct circuit_exchange *circuit_exchange(struct net *net);
struct circuit_exchange *circuit_exchange_get(struct circuit_exchange *ex);
void circuit_exchange_put(struct circuit_exchange *ex);
int circuit_exchange_init(void);
void circuit_exchange_exit(void);

/* line.c */
int circuit_line_create(struct circuit_exchange *ex, const char *name,
			const struct circuit_line_config *cfg, const struct circuit_limits *limits);
void circuit_line_set_groups(struct circuit_line *line, struct circuit_subject **groups,
			     unsigned int n, struct circuit_pools *pools);
int circuit_line_set_addrs(struct circuit_line *line, const struct in6_addr *addrs,
			   unsigned int n, unsigned int *bad);
void circuit_line_delete(struct circuit_line *line);
struct circuit_line *circuit_line_get(struct circuit_line *line);
void circuit_line_put(struct circuit_line *line);
struct circuit_window *circuit_line_window(struct circuit_line *line);
enum circuit_line_state circuit_line_state(const struct circuit_line *line);
void circuit_line_stats(struct circuit_line *line, u64 sum[CIRCUIT_NR_COUNTERS]);
void circuit_line_setup(struct circuit_line *line, u64 ns);
void circuit_line_reset(struct circuit_line *line, enum circuit_reason reason);
void circuit_line_fault(struct circuit_line *line, const char *what);

void circuit_line_set_trunks(struct circuit_line *line, struct circuit_trunk **trunks,
			     unsigned int n);
struct circuit_line *circuit_line_trunk(struct circuit_exchange *ex);

/* window.c */
int circuit_window_attach(struct circuit_exchange *ex, const char *name, int kick_fd,
			  const s32 *call_fds, unsigned int vectors);
struct page *circuit_window_page(struct circuit_window *win, u64 off);
int circuit_window_show(struct circuit_window *win, struct circuit_cable *cable, u32 *slot);
void circuit_window_revoke(struct circuit_window *win, struct circuit_cable *cable, u32 slot);

/* cable.c */
struct circuit_cable *circuit_cable_alloc(u32 bytes, u32 most);
void circuit_cable_free(struct circuit_cable *cable);
int circuit_cable_carve(struct circuit_cable *cable, u32 bytes);
void circuit_cable_return(struct circuit_cable *cable, u32 first, u32 bytes);
enum circuit_reason circuit_pair_carve(struct circuit_line *a, struct circuit_line *b,
				       struct circuit *c);
void circuit_pair_return(struct circuit *c);
void circuit_cable_count(struct circuit_cable *cable, const struct circuit_line *line, int ends);
void circuit_pair_end(struct circuit_line *line);
u64 circuit_cable_offset(const struct circuit_cable *cable, const struct circuit_line *line,
			 u32 first);

/* call.c */
void circuit_listener_serve(struct circuit_listener *lst);
int circuit_listen(struct circuit_line *line, u32 ref, const struct circuit_sig_listen *req,
		   enum circuit_reason *reason);
void circuit_query_of(const struct circuit *c, struct circuit_query *query);
void circuit_refuse(struct circuit *c, enum circuit_reason reason);
struct circuit_listener *circuit_listener_find(struct circuit_line *line, u32 ref);
void circuit_unlisten(struct circuit_listener *lst, enum circuit_reason reason);
int circuit_answer(struct circuit_listener *lst, u32 count);

/* What the operator has to say to a call at once. */
enum circuit_verdict {
	CIRCUIT_VERDICT_CONNECTED,	/* CONNECTED is owed */
	CIRCUIT_VERDICT_WAITS,
	CIRCUIT_VERDICT_REFUSED,
	CIRCUIT_VERDICT_NATIVE,
};
int circuit_call(struct circuit_line *line, u32 ref, const struct circuit_sig_call *req,
		 enum circuit_reason *reason, u16 *error);
void circuit_cancel(struct circuit_line *line, u32 ref);
void circuit_cut_off(struct circuit_end *end, enum circuit_reason reason);
bool circuit_type_ok(u32 type, bool ip);

/* Is it a circuit of a socket of datagrams to the operator, who switches them? */
static inline bool circuit_is_box(const struct circuit *c)
{
	return c->type == CIRCUIT_SIG_DGRAM && !c->ip;
}

u64 circuit_marks(const struct circuit *c, unsigned int nr);
void circuit_hangup(struct circuit_end *end, enum circuit_reason reason);
void circuit_unhold(struct circuit *c);
void circuit_drop(struct circuit *c);
void circuit_call_answered(struct circuit *c);
void circuit_call_failed(struct circuit *c, enum circuit_reason reason, int error);
int circuit_call_from_trunk(struct circuit_line *line, u32 port, u32 type,
			    struct circuit_local *from, const struct in6_addr *addr, u16 src_port);

/* signalling.c */
int circuit_sig_check(const struct circuit_sig *msg);
void circuit_sig_owe(struct circuit_end *end, u8 what, enum circuit_reason reason);
void circuit_sig_forget(struct circuit_end *end);
void circuit_sig_flush(struct circuit_line *line);
void circuit_sig_start(struct circuit_line *line, struct circuit_window *win);
void circuit_sig_init(struct circuit_line *line);
void circuit_sig_kick(struct circuit_window *win);
void circuit_sig_work(struct work_struct *work);
int circuit_reason_errno(enum circuit_reason reason);

/* trunk.c */
struct circuit_trunk *circuit_trunk_get(struct circuit_trunk *trunk);
void circuit_trunk_put(struct circuit_trunk *trunk);
struct circuit_trunk *circuit_trunk_find(struct circuit_exchange *ex, const char *name);
int circuit_trunk_add(struct circuit_exchange *ex, const char *name,
		      const struct circuit_trunk_config *cfg, struct net *net);
int circuit_trunk_del(struct circuit_exchange *ex, struct circuit_trunk *trunk);
void circuit_trunk_use(struct circuit_trunk *trunk, int n);
void circuit_trunk_net_gone(struct net *net);
struct net *circuit_trunk_net(struct circuit_trunk *trunk, struct circuit_exchange *ex);
struct circuit_trunk *circuit_trunk_for(struct circuit_line *line, const struct in6_addr *dst);
bool circuit_trunk_leads_to(const struct circuit_trunk *trunk, const struct in6_addr *dst);
bool circuit_trunk_reaches(const struct circuit_trunk *trunk, struct net *net,
			   const struct in6_addr *dst);
int circuit_trunk_setup(const struct circuit_trunk *trunk, u32 mark, struct socket *sock);
int circuit_trunk_bind(const struct circuit_trunk *trunk, struct socket *sock);
int circuit_sockaddr(const struct in6_addr *addr, u16 port, struct sockaddr_storage *ss);
void circuit_sockaddr_read(const struct sockaddr_storage *ss, struct in6_addr *addr, u16 *port);

/* lend.c */
void circuit_lender_init(struct circuit_lender *lender);
int circuit_lend(struct circuit_lender *lender, struct circuit_local *leg, struct socket *sock,
		 struct circuit_rx *rx, u32 len, int flags);
void circuit_lend_reap(struct circuit_lender *lender, struct circuit_rx *rx);
void circuit_lend_starved(struct circuit_lender *lender, const struct circuit_rx *rx,
			  const struct sock *sk);

/* local.c */
void circuit_local_get(struct circuit_local *local);
void circuit_local_put(struct circuit_local *local);
void circuit_local_hurry(struct circuit_local *local);
void circuit_local_kick(struct circuit_local *local);
struct circuit_local *circuit_local_alloc(struct circuit_exchange *ex,
					  struct circuit_account *account, size_t size,
					  const struct circuit_local_ops *ops);
void circuit_local_join(struct circuit_local *local, struct circuit *c, unsigned int nr,
			struct circuit_line *line);
void circuit_local_part(struct circuit_local *local);
void circuit_local_leave(struct circuit_local *local);
void circuit_locals_reset(struct circuit_line *line, enum circuit_reason reason);
void circuit_local_owe(struct circuit_local *local, u8 what, enum circuit_reason reason);
u32 circuit_local_allowed(struct circuit_local *local, unsigned int nr);
void circuit_local_used(struct circuit_local *local, unsigned int nr, u32 bytes, u32 allowed);
u32 circuit_local_want(struct circuit_local *local, unsigned int nr, u32 least, u32 bytes);

/* leg.c */
int circuit_leg_dial(struct circuit *c, struct circuit_trunk *trunk);
int circuit_leg_accept(struct circuit_exposure *exp, struct socket *sock,
		       struct circuit_turn *turn);
struct circuit_leg *circuit_leg_of(const struct circuit *c);
void circuit_leg_options(struct circuit_leg *leg, const struct circuit_sig_options *options);

/* udp.c */
int circuit_udp_init(void);
void circuit_udp_exit(void);
int circuit_udp_dial(struct circuit *c, struct circuit_trunk *trunk);
struct circuit_udp *circuit_udp_expose(struct circuit_exposure *exp, struct socket *sock);
void circuit_udp_unexpose(struct circuit_udp *udp);

/* box.c */
#define CIRCUIT_PACE_MAX	16u		/* datagrams that are left where they are */
#define CIRCUIT_PACE_TRY	4u		/* and for a try */
#define CIRCUIT_PACE_ALONE	32u		/* waits without an answer before that */
#define CIRCUIT_PACE_WAKES	4u		/* for as long as to be woken so often takes, ... */
#define CIRCUIT_PACE_DELAY_MIN	50000u		/* ... but at least so many ns, ... */
#define CIRCUIT_PACE_DELAY_MAX	1000000u	/* ... and at most */

/**
 * struct circuit_pace - how fast datagrams come that nobody answers
 * @count: so many since there was nothing left to read
 * @ahead: and so many were waited for
 * @alone: how often in a row for one, and nobody has answered
 * @wakes: what it takes to be woken, in ns
 */
struct circuit_pace {
	u32	count;
	u32	ahead;
	u32	alone;
	u32	wakes;
};

void circuit_pace_woken(struct circuit_pace *pace, u64 ns);
u32 circuit_pace_delay(const struct circuit_pace *pace);
u32 circuit_pace_ahead(struct circuit_pace *pace, bool answered);
enum circuit_reason circuit_box_open(struct circuit *c);

/* expose.c */
int circuit_expose(struct circuit_line *line, u32 type, u32 port, struct circuit_trunk *trunk,
		   const struct in6_addr *addr, u16 host_port);
struct circuit_exposure *circuit_exposure_find(struct circuit_exchange *ex, u32 type,
					       struct circuit_trunk *trunk,
					       const struct in6_addr *addr, u16 host_port);
void circuit_unexpose(struct circuit_exposure *exp);
void circuit_unexpose_line(struct circuit_exchange *ex, const struct circuit_line *line);
void circuit_unexpose_flush(void);
void circuit_unexpose_trunk(struct circuit_exchange *ex, const struct circuit_trunk *trunk);
struct circuit_exposure *circuit_exposure_wait(struct circuit_exposure *exp);
void circuit_exposure_done(struct circuit_exposure *exp, bool refused);
void circuit_exposure_closed(void);

/* relay.c */
void circuit_relay(struct irq_work *work);
void circuit_relay_work(struct work_struct *work);
void circuit_notify(struct circuit_line *line, u32 index);
void circuit_interrupt(struct circuit_line *line, struct circuit_window *win, u32 index);

/**
 * circuit_end_left - does an end say in the circuit that it has hung up?
 * @end: the end, protected by RCU or the exchange's lock
 *
 * Both guests can write there, and change their minds: one that lies about itself cuts the other
 * off, or leaves it as it is, and one that lies about the other is not told. The cable is there
 * for as long as an RCU reader has found the end.
 */
static inline bool circuit_end_left(struct circuit_end *end)
{
	const struct circuit_dir *dir = circuit_of_end(end)->ctrl->dir;

	return READ_ONCE(dir[end->nr].prod.flags) & CIRCUIT_TX_END &&
	       READ_ONCE(dir[!end->nr].cons.flags) & CIRCUIT_RX_CLOSED;
}

/**
 * circuit_end_notify - call an end's attention to its circuit
 * @end: an end that has a number, protected by RCU or the exchange's lock
 *
 * Context: any but the wake-up of an eventfd.
 */
static inline void circuit_end_notify(struct circuit_end *end)
{
	if (end->line->is_trunk)
		circuit_local_kick(circuit_of_end(end)->local);
	else
		circuit_notify(end->line, end->index);
}

/* tap.c */
int circuit_tap(struct circuit_exchange *ex, u64 id);
void circuit_tap_end(struct circuit *c);

/* netlink.c */
int circuit_netlink_init(void);
void circuit_netlink_exit(void);
void circuit_event_line(const struct circuit_line *line, enum circuit_event type,
			enum circuit_reason reason);
void circuit_event_call(const struct circuit *c, enum circuit_event type,
			enum circuit_reason reason);
void circuit_event_policy(struct circuit_exchange *ex);
void circuit_nl_drop_drafts(struct circuit_exchange *ex);

extern struct workqueue_struct *circuit_wq, *circuit_slow_wq, *circuit_trunk_wq;

#endif /* _CIRCUIT_HOST_H */
