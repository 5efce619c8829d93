// SPDX-License-Identifier: GPL-2.0
/*
 * Datagrams over trunks: circuits whose far end is UDP of the host's.
 *
 *	DIALS --+--> TALKS --> GONE
 *	WAITS --+
 *
 * A guest's socket that sends to somebody who is not on a line has a circuit with him, a flow,
 * whose rings hold messages. Its other end is the operator's: what the guest writes goes out of a
 * UDP socket, and what comes there from him goes into the ring. All flows of a guest's port that
 * take the same trunk go through the same socket, so that the world sees them come from one port,
 * whomever they are with; what comes from others is not for anybody. A port that is exposed has a
 * socket as well, and there who sends something is a call to the guest, unless there is a flow with
 * him.
 *
 * A socket (struct circuit_udp) is referenced by its flows, by the exposure, and by its work, which
 * takes out what it has received and puts it into the rings of the flows, which it finds by whom
 * they are with. It does so for all of them in turn: what does not fit into a ring is lost, and
 * counted there. A flow's own work (see local.c) sends, and waits when the socket takes no more.
 * Both write to the flow's ring, which has a lock for that, outside of the exchange's.
 *
 * A flow ends when the guest hangs up, when there is an ICMP message that nobody listens at the
 * other end, when the exposure is taken back, and when nothing was heard of either end for a while:
 * as with any translation of addresses, nobody says when it is over. Then the next datagram begins
 * another.
 */
#include <linux/errqueue.h>
#include <linux/hashtable.h>
#include <linux/icmp.h>
#include <linux/in.h>
#include <linux/jhash.h>
#include <linux/module.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <linux/uio.h>
#include <net/ipv6.h>
#include <net/udp.h>
#include "host.h"
#include "trace.h"

/* Datagrams, and bytes, before others get their turn. */
#define QUANTUM		256
#define QUANTUM_BYTES	(256u << 10)
/* Datagrams for a call that waits, and calls of an exposure that do. */
#define EARLY		16
#define EARLY_BYTES	(128u << 10)
#define BACKLOG		128
/* To send a datagram, while there are errors of others. */
#define TRIES		8
/* Calls a second to a port that is exposed. */
#define CALLS		1000
/* Seconds: the least of what trunks say, of those that have been heard of one end only. */
#define UNREPLIED	30

enum flow_state {
	FLOW_DIALS,
	FLOW_WAITS,
	FLOW_TALKS,
	FLOW_GONE,
};

/**
 * struct circuit_udp - a UDP socket of the host's
 * @ref: see above
 * @job: receives, and closes the socket when nobody has a reference
 * @account: its line's, referenced
 * @turn: while it receives: the thread's
 * @sock: the socket
 * @ex: its exchange, referenced
 * @exp: who takes calls, referenced; under the exchange's lock; NULL if nobody does
 * @exposed: somebody did
 * @calls: limits those that it takes, likewise
 * @strangers: flows with those who have called, and were not answered
 * @flows: those that go through it, likewise
 * @node: in sockets, if it is a guest port's
 * @line: its line's number
 * @trunk: and its trunk, referenced
 * @port: the guest's port
 * @lock: of @blocked; bottom halves off
 * @blocked: flows that wait until there is room again, referenced
 * @errors: how many were reported, of whichever flow
 * @drops: what the socket had no room for, as far as it was counted; by its work
 * @told: the flow that the turn has put something into last, whose guest wants to know, referenced,
 *	or NULL
 * @native: the callbacks of the socket as they were
 */
struct circuit_udp {
	struct kref		ref;
	struct circuit_job	job;
	struct circuit_account	*account;
	struct circuit_turn	*turn;
	struct socket		*sock;
	struct circuit_exchange	*ex;
	struct circuit_exposure	*exp;
	bool			exposed;
	struct circuit_bucket	calls;
	atomic_t		strangers;
	struct list_head	flows;
	struct hlist_node	node;
	u64			line;
	struct circuit_trunk	*trunk;
	u16			port;
	spinlock_t		lock;
	struct list_head	blocked;
	atomic_t		errors;
	u32			drops;
	struct udp_flow		*told;
	struct {
		void	(*data_ready)(struct sock *sk);
		void	(*error_report)(struct sock *sk);
		void	(*write_space)(struct sock *sk);
	} native;
};

/**
 * struct udp_key - what a flow is found by
 * @udp: the socket
 * @addr: whom it is with, IPv4 as IPv4-mapped IPv6
 * @port: and at which port
 * @scope: the interface that his address or ours means something on, 0 if they do everywhere
 */
struct udp_key {
	const struct circuit_udp *udp;
	struct in6_addr		addr;
	u32			port;
	u32			scope;
};

/**
 * struct udp_flow - one circuit
 * @local: must be first
 * @state: of the work's, but for the step to TALKS, which is made under the exchange's lock
 * @trunk: the trunk, referenced, or NULL; given up under the exchange's lock
 * @exp: the exposure that it came from, referenced, while it waits
 * @net: where to make a socket, referenced, until then
 * @udp: the socket, referenced; set before it talks, given up under the exchange's lock
 * @key: see above
 * @hash: in flows, if @entered
 * @entered: it is
 * @siblings: in udp->flows, if @udp
 * @source: the address of the host's that its datagrams come from, :: if the socket knows
 * @blocked: in udp->blocked
 * @error: an ICMP message has come: positive errno
 * @lingers: the guest has hung up
 * @last: index after the last byte that it had written then
 * @idle: looks whether it is
 * @used: when it was used last, in jiffies
 * @stranger: it is one of udp->strangers
 * @said: the guest has sent something
 * @heard: and received something
 * @expired: it was idle for long enough, when the timer looked
 * @cut: there is to be an end to it at once
 * @lock: of local.tx, and of the next six
 * @open: it takes datagrams
 * @broken: the guest has broken a rule of @local.tx
 * @asked: for leave to put more into the ring; nothing is until there is a kick
 * @lost: how many datagrams it has not taken
 * @early: datagrams that came before there was a ring
 * @early_bytes: memory of these
 */
struct udp_flow {
	struct circuit_local	local;
	enum flow_state		state;
	struct circuit_trunk	*trunk;
	struct circuit_exposure	*exp;
	struct net		*net;
	struct circuit_udp	*udp;
	struct udp_key		key;
	struct rhash_head	hash;
	bool			entered;
	struct list_head	siblings;
	struct in6_addr		source;
	struct list_head	blocked;
	int			error;
	bool			lingers;
	u32			last;
	struct timer_list	idle;
	unsigned long		used;
	bool			stranger;
	bool			said;
	bool			heard;
	bool			expired;
	bool			cut;
	struct mutex		lock;
	bool			open;
	bool			broken;
	bool			asked;
	u64			lost;
	struct sk_buff_head	early;
	u32			early_bytes;
};

static struct rhashtable flows;
static const struct rhashtable_params flows_params = {
	.head_offset = offsetof(struct udp_flow, hash),
	.key_offset = offsetof(struct udp_flow, key),
	.key_len = sizeof(struct udp_key),
	.automatic_shrinking = true,
};

/* Of guests' ports. */
static DEFINE_HASHTABLE(sockets, 8);
static DEFINE_MUTEX(sockets_lock);

static struct udp_flow *flow_of(struct circuit_local *local)
{
	return container_of(local, struct udp_flow, local);
}

/* --- sockets ----------------------------------------------------------------------------- */

static void udp_release(struct kref *ref)
{
	struct circuit_udp *udp = container_of(ref, struct circuit_udp, ref);

	/* Not by whoever drops the last reference, which may be an interrupt. */
	circuit_job_hurry(&udp->job);
}

static void udp_put(struct circuit_udp *udp)
{
	kref_put(&udp->ref, udp_release);
}

static void udp_kick(struct circuit_udp *udp)
{
	if (kref_get_unless_zero(&udp->ref) && !circuit_job_kick(&udp->job))
		udp_put(udp);
}

static void udp_event(struct sock *sk)
{
	struct circuit_udp *udp;

	read_lock_bh(&sk->sk_callback_lock);
	udp = sk->sk_user_data;
	if (udp)
		udp_kick(udp);
	read_unlock_bh(&sk->sk_callback_lock);
}

static void udp_error(struct sock *sk)
{
	struct circuit_udp *udp;

	read_lock_bh(&sk->sk_callback_lock);
	udp = sk->sk_user_data;
	if (udp) {
		atomic_inc(&udp->errors);
		udp_kick(udp);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void udp_write_space(struct sock *sk)
{
	struct udp_flow *flow, *next;
	struct circuit_udp *udp;
	LIST_HEAD(woken);

	if (!sock_writeable(sk))
		return;
	read_lock_bh(&sk->sk_callback_lock);
	udp = sk->sk_user_data;
	if (udp && !list_empty_careful(&udp->blocked)) {
		spin_lock_bh(&udp->lock);
		list_for_each_entry_safe(flow, next, &udp->blocked, blocked) {
			list_del_init(&flow->blocked);
			circuit_local_kick(&flow->local);
			circuit_local_put(&flow->local);
		}
		spin_unlock_bh(&udp->lock);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static int udp_hook(struct circuit_udp *udp)
{
	struct sock *sk = udp->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data) {		/* a BPF program was faster */
		write_unlock_bh(&sk->sk_callback_lock);
		return -EBUSY;
	}
	udp->native.data_ready = sk->sk_data_ready;
	udp->native.error_report = sk->sk_error_report;
	udp->native.write_space = sk->sk_write_space;
	sk->sk_user_data = udp;
	sk->sk_data_ready = udp_event;
	sk->sk_error_report = udp_error;
	sk->sk_write_space = udp_write_space;
	write_unlock_bh(&sk->sk_callback_lock);
	return 0;
}

static void udp_unhook(struct circuit_udp *udp)
{
	struct sock *sk = udp->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data == udp) {
		sk->sk_user_data = NULL;
		sk->sk_data_ready = udp->native.data_ready;
		sk->sk_error_report = udp->native.error_report;
		sk->sk_write_space = udp->native.write_space;
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/* The last reference is gone. */
static void udp_close(struct circuit_udp *udp)
{
	mutex_lock(&sockets_lock);
	hash_del(&udp->node);
	mutex_unlock(&sockets_lock);
	if (udp->sock) {
		udp_unhook(udp);
		sock_release(udp->sock);
	}
	if (udp->exposed)
		circuit_exposure_closed();
	circuit_trunk_put(udp->trunk);
	circuit_exchange_put(udp->ex);
	circuit_account_put(udp->account);
	kfree(udp);
	module_put(THIS_MODULE);
}

static const struct circuit_job_ops udp_job_ops;

/* The socket is consumed, even if there is an error. It is bound. */
static struct circuit_udp *udp_make(struct circuit_exchange *ex, struct circuit_account *account,
				    struct socket *sock)
{
	struct circuit_udp *udp = kzalloc(sizeof(*udp), GFP_KERNEL_ACCOUNT);
	struct sock *sk = sock->sk;
	int err;

	if (!udp) {
		sock_release(sock);
		return ERR_PTR(-ENOMEM);
	}
	__module_get(THIS_MODULE);	/* as the caller has */
	kref_init(&udp->ref);
	INIT_LIST_HEAD(&udp->flows);
	INIT_LIST_HEAD(&udp->blocked);
	spin_lock_init(&udp->lock);
	udp->account = circuit_account_get(account);
	circuit_job_init(&udp->job, account, &udp_job_ops);
	udp->ex = circuit_exchange_get(ex);
	udp->sock = sock;
	/* Of whom an ICMP message is says the queue of errors only. */
	if (sk->sk_family == AF_INET)
		ip_sock_set_recverr(sk);
	else
		ip6_sock_set_recverr(sk);
	err = udp_hook(udp);
	if (err) {
		udp_put(udp);
		return ERR_PTR(err);
	}
	udp_kick(udp);		/* what has happened before may have been missed */
	return udp;
}

/* --- flows ----------------------------------------------------------------------------------- */

/* How long a flow that talks may be silent. */
static unsigned long flow_patience(const struct udp_flow *flow)
{
	const struct circuit_trunk *trunk = flow->trunk;
	u32 idle = CIRCUIT_TRUNK_IDLE;

	if (trunk && trunk->cfg.idle)
		idle = trunk->cfg.idle;
	if (!READ_ONCE(flow->said) || !READ_ONCE(flow->heard))
		idle = min_t(u32, idle, UNREPLIED);
	return idle * HZ;
}

static void flow_idle(struct timer_list *t)
{
	struct udp_flow *flow = compat_from_timer(flow, t, idle);
	unsigned long due = READ_ONCE(flow->used) + flow_patience(flow);

	if (time_before(jiffies, due)) {
		mod_timer(&flow->idle, due);
		return;
	}
	WRITE_ONCE(flow->expired, true);
	circuit_local_kick(&flow->local);
}

static struct udp_flow *flow_alloc(struct circuit_exchange *ex, struct circuit_account *account,
				   struct circuit_trunk *trunk);

/* A flow that is about to end has had its place in the table. The exchange is locked. */
static void flow_supersede(const struct udp_key *key)
{
	struct udp_flow *flow = rhashtable_lookup_fast(&flows, key, flows_params);
	const struct circuit *c = flow ? flow->local.c : NULL;

	if (!flow || (c && !(c->connected && (c->end[0].hungup || c->end[1].hungup))))
		return;
	rhashtable_remove_fast(&flows, &flow->hash, flows_params);
	flow->entered = false;
}

/* Enter a flow among those of a socket, which is referenced by that. The exchange is locked. */
static int flow_enter(struct udp_flow *flow, struct circuit_udp *udp)
{
	int err;

	flow->key.udp = udp;
	flow_supersede(&flow->key);
	err = rhashtable_lookup_insert_fast(&flows, &flow->hash, flows_params);
	if (err)
		return err;
	flow->entered = true;
	kref_get(&udp->ref);
	flow->udp = udp;
	list_add(&flow->siblings, &udp->flows);
	return 0;
}

/* Returns the flow that a socket has with somebody, referenced, or NULL. */
static struct udp_flow *flow_find(const struct circuit_udp *udp, const struct in6_addr *addr, u16 port,
				  int scope)
{
	struct udp_key key = { .udp = udp, .addr = *addr, .port = port, .scope = scope };
	struct udp_flow *flow;

	rcu_read_lock();
	flow = rhashtable_lookup(&flows, &key, flows_params);
	if (flow && !kref_get_unless_zero(&flow->local.ref))
		flow = NULL;
	rcu_read_unlock();
	return flow;
}

/* By its work only. */
static void flow_is_known(struct udp_flow *flow, struct circuit_udp *udp)
{
	if (flow->stranger)
		atomic_dec(&udp->strangers);
	flow->stranger = false;
}

static void flow_close(struct udp_flow *flow)
{
	struct circuit_exchange *ex = flow->local.ex;
	struct circuit_trunk *trunk = flow->trunk;
	struct circuit_udp *udp = flow->udp;
	bool waited = false;

	flow->state = FLOW_GONE;
	mutex_lock(&flow->lock);
	flow->open = false;
	__skb_queue_purge(&flow->early);
	mutex_unlock(&flow->lock);
	if (flow->net)
		put_net(flow->net);
	flow->net = NULL;
	compat_timer_delete_sync(&flow->idle);
	if (udp) {
		spin_lock_bh(&udp->lock);
		waited = !list_empty(&flow->blocked);
		list_del_init(&flow->blocked);
		spin_unlock_bh(&udp->lock);
	}
	mutex_lock(&ex->lock);
	if (flow->entered)
		rhashtable_remove_fast(&flows, &flow->hash, flows_params);
	flow->entered = false;
	if (udp) {
		list_del(&flow->siblings);
		flow_is_known(flow, udp);
	}
	flow->udp = NULL;
	flow->trunk = NULL;
	circuit_local_part(&flow->local);
	mutex_unlock(&ex->lock);
	if (waited)
		circuit_local_put(&flow->local);
	if (udp)
		udp_put(udp);
	if (trunk)
		atomic_dec(&trunk->circuits);
	circuit_trunk_put(trunk);
	if (flow->exp)
		circuit_exposure_done(flow->exp, true);
	flow->exp = NULL;
	/* Not by whoever drops the last reference, which may be an interrupt. */
	flow->local.ex = NULL;
	circuit_exchange_put(ex);
}

/* The flow has hung up: for @reason with @error, or because it is over. */
static void flow_hangup(struct udp_flow *flow, enum circuit_reason reason, int error)
{
	struct circuit_local *local = &flow->local;
	struct circuit_end *end = &local->c->end[local->nr];

	mutex_lock(&flow->lock);
	flow->open = false;
	mutex_unlock(&flow->lock);
	/* The ring does not say which error it is: it is told of that only. */
	if (!error) {
		circuit_rx_close(&local->rx);
		circuit_tx_flag(&local->tx, reason ? CIRCUIT_TX_RST : CIRCUIT_TX_FIN, 0);
	}
	mutex_lock(&local->ex->lock);
	if (error)
		circuit_far_end(end)->error = error;
	circuit_hangup(end, reason);
	mutex_unlock(&local->ex->lock);
	flow_close(flow);
}

static void flow_violation(struct udp_flow *flow)
{
	circuit_line_count(flow->local.line, CIRCUIT_COUNT_VIOLATIONS);
	flow_hangup(flow, CIRCUIT_REASON_VIOLATION, 0);
}

/* --- before there is a circuit -------------------------------------------------------------- */

/* Has the call been given up, or refused? */
static bool flow_alone(struct udp_flow *flow)
{
	bool alone;

	mutex_lock(&flow->local.ex->lock);
	alone = !flow->local.c;
	mutex_unlock(&flow->local.ex->lock);
	if (alone)
		flow_close(flow);
	return alone;
}

/* Until the listener has taken the call, or the port is not exposed any more. */
static void flow_wait(struct udp_flow *flow)
{
	mutex_lock(&flow->local.ex->lock);
	if (READ_ONCE(flow->cut) && flow->local.c && flow->state == FLOW_WAITS)
		circuit_call_failed(flow->local.c, CIRCUIT_REASON_TRUNK, ECONNREFUSED);
	mutex_unlock(&flow->local.ex->lock);
	flow_alone(flow);
}

static void flow_failed(struct udp_flow *flow, enum circuit_reason reason, int err)
{
	atomic64_inc(&flow->trunk->refused);
	mutex_lock(&flow->local.ex->lock);
	if (flow->local.c)
		circuit_call_failed(flow->local.c, reason, -err);
	mutex_unlock(&flow->local.ex->lock);
	flow_close(flow);
}

static struct socket *flow_socket(struct udp_flow *flow)
{
	bool v6 = !ipv6_addr_v4mapped(&flow->key.addr);
	struct socket *sock;
	int err;

	/* A program's socket in all respects: it holds its namespace, and outlives us. */
	err = __sock_create(flow->net, v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, IPPROTO_UDP, &sock, 0);
	if (err == -ENFILE)
		err = -ENOMEM;	/* what it is; send() does not know that one */
	if (err)
		return ERR_PTR(err);
	err = circuit_trunk_setup(flow->trunk, READ_ONCE(flow->local.account->mark), sock);
	if (!err && v6)
		err = ip6_sock_set_v6only(sock->sk);
	if (!err)
		err = circuit_trunk_bind(flow->trunk, sock);
	if (err) {
		sock_release(sock);
		return ERR_PTR(err);
	}
	return sock;
}

/* Returns the socket of a guest's port, referenced. */
static struct circuit_udp *udp_of_port(struct udp_flow *flow, u64 line, u16 port)
{
	int family = ipv6_addr_v4mapped(&flow->key.addr) ? AF_INET : AF_INET6;
	u32 key = jhash_3words(lower_32_bits(line), upper_32_bits(line), port, family);
	struct circuit_udp *udp;
	struct socket *sock;

	mutex_lock(&sockets_lock);
	hash_for_each_possible(sockets, udp, node, key)
		if (udp->line == line && udp->port == port && udp->trunk == flow->trunk &&
		    udp->ex == flow->local.ex && udp->sock->sk->sk_family == family &&
		    kref_get_unless_zero(&udp->ref)) {
			/* Its work may have found that nobody has it. */
			udp_kick(udp);
			goto unlock;
		}
	sock = flow_socket(flow);
	udp = IS_ERR(sock) ? ERR_CAST(sock) : udp_make(flow->local.ex, flow->local.account,
								  sock);
	if (IS_ERR(udp))
		goto unlock;
	udp->line = line;
	udp->port = port;
	udp->trunk = circuit_trunk_get(flow->trunk);
	hash_add(sockets, &udp->node, key);
unlock:
	mutex_unlock(&sockets_lock);
	return udp;
}

/* Whose port is it? False if nobody's any more. */
static bool flow_caller(struct udp_flow *flow, u64 *line, u16 *port)
{
	struct circuit *c;

	mutex_lock(&flow->local.ex->lock);
	c = flow->local.c;
	if (c) {
		*line = c->end[0].line->id;
		*port = c->end[0].port;
	}
	mutex_unlock(&flow->local.ex->lock);
	return c;
}

static void flow_dial(struct udp_flow *flow)
{
	enum circuit_reason reason = CIRCUIT_REASON_TRUNK;
	struct circuit_udp *udp = NULL;
	int err = -EHOSTUNREACH;
	u64 line;
	u16 port;

	if (!flow_caller(flow, &line, &port)) {
		flow_close(flow);
		return;
	}
	if (!flow->net) {
		reason = CIRCUIT_REASON_NO_TRUNK;
		err = -ENETUNREACH;
	} else if (!circuit_trunk_reaches(flow->trunk, flow->net, &flow->key.addr)) {
		reason = CIRCUIT_REASON_HOST_ADDRESS;
	} else {
		udp = udp_of_port(flow, line, port);
		err = PTR_ERR_OR_ZERO(udp);
	}
	if (err) {
		flow_failed(flow, reason, err);
		return;
	}
	put_net(flow->net);
	flow->net = NULL;
	mutex_lock(&flow->local.ex->lock);
	err = flow_enter(flow, udp);
	if (!err && flow->local.c)
		circuit_call_answered(flow->local.c);
	mutex_unlock(&flow->local.ex->lock);
	udp_put(udp);
	if (err)
		flow_failed(flow, err == -EEXIST ? CIRCUIT_REASON_TUPLE_IN_USE : CIRCUIT_REASON_NO_MEMORY,
			    err == -EEXIST ? -EADDRINUSE : -ENOMEM);
	/* It talks now, or there was no room for it. */
	else if (smp_load_acquire(&flow->state) != FLOW_TALKS)
		flow_close(flow);
	else
		circuit_local_kick(&flow->local);
}

/* --- from the world --------------------------------------------------------------------------- */

/* Copy a datagram behind the head of a message. */
static int flow_copy(struct circuit_tx *tx, const struct sk_buff *skb)
{
	struct circuit_span s = circuit_span(tx->size, tx->tail + sizeof(struct circuit_message),
					     skb->len);

	return skb_copy_bits(skb, 0, tx->data + s.off[0], s.len[0]) ?:
	       skb_copy_bits(skb, s.len[0], tx->data, s.len[1]);
}

/* Put a datagram into the ring, @flow->lock is held. Returns true if the guest wants to be told. */
static bool flow_put(struct udp_flow *flow, const struct sk_buff *skb)
{
	struct circuit_local *local = &flow->local;
	u32 need = circuit_message_bytes(skb->len), allowed;
	int space;

	space = circuit_tx_space(&local->tx);
	allowed = circuit_local_allowed(local, local->nr);
	if (unlikely(allowed < need && !flow->asked)) {
		flow->asked = true;	/* before there may be an answer */
		allowed = circuit_local_want(local, local->nr, need, need);
		if (allowed >= need)
			flow->asked = false;
	}
	if (unlikely(space < (int)need || allowed < need || flow_copy(&local->tx, skb))) {
		WRITE_ONCE(local->tx.prod->lost, ++flow->lost);
		if (space < 0) {
			WRITE_ONCE(flow->broken, true);
			circuit_local_kick(local);
		}
		return false;
	}
	circuit_message_head(&local->tx, skb->len, 0);
	circuit_local_used(local, local->nr, need, allowed);
	WRITE_ONCE(flow->used, jiffies);
	WRITE_ONCE(flow->heard, true);
	return circuit_tx_publish(&local->tx, need);
}

/*
 * What came before there was a ring; @flow->lock is held. Returns true if the guest wants to be
 * told.
 */
static bool flow_put_early(struct udp_flow *flow)
{
	bool notify = false;
	struct sk_buff *skb;

	while (flow->open && unlikely(skb = __skb_dequeue(&flow->early))) {
		/* And those that there was no room for even before. */
		WRITE_ONCE(flow->local.tx.prod->lost, flow->lost);
		notify |= flow_put(flow, skb);
		consume_skb(skb);
	}
	return notify;
}

/* The datagram is consumed. Returns true if the guest wants to be told. */
static bool flow_deliver(struct udp_flow *flow, struct sk_buff *skb)
{
	bool notify = false;

	mutex_lock(&flow->lock);
	/* Once it talks it is open, until it is not any more. */
	if (unlikely(smp_load_acquire(&flow->state) == FLOW_WAITS)) {
		if (skb_queue_len(&flow->early) < EARLY &&
		    flow->early_bytes + skb->truesize <= EARLY_BYTES) {
			flow->early_bytes += skb->truesize;
			__skb_queue_tail(&flow->early, skb);
			skb = NULL;
		} else {
			flow->lost++;
		}
		circuit_local_kick(&flow->local);	/* it may talk by now */
	} else if (flow->open) {
		notify = flow_put_early(flow);
		notify |= flow_put(flow, skb);
	}
	mutex_unlock(&flow->lock);
	consume_skb(skb);
	return notify;
}

/*
 * What the socket has had no room for is of nobody knows which flow, but the guest's: it is counted
 * in the one that goes on.
 */
static void flow_count_drops(struct udp_flow *flow, struct circuit_udp *udp)
{
	u32 drops = compat_sk_drops(udp->sock->sk);

	if (likely(drops == udp->drops))
		return;
	mutex_lock(&flow->lock);
	if (smp_load_acquire(&flow->state) == FLOW_TALKS && flow->open) {
		flow->lost += drops - udp->drops;
		udp->drops = drops;
		WRITE_ONCE(flow->local.tx.prod->lost, flow->lost);
	}
	mutex_unlock(&flow->lock);
}

/*
 * The turn goes on with somebody else, or has ended: tell the guest that something was put there
 * for.
 */
static void udp_tell(struct circuit_udp *udp)
{
	struct udp_flow *flow = udp->told;

	if (!flow)
		return;
	udp->told = NULL;
	mutex_lock(&flow->lock);
	if (flow->open)
		circuit_end_notify(circuit_far_end(&flow->local.c->end[flow->local.nr]));
	mutex_unlock(&flow->lock);
	circuit_local_put(&flow->local);
}

/* From whom is a datagram, and to which address of the host's? */
static bool datagram_parse(const struct sk_buff *skb, struct in6_addr *from, u16 *port,
			   struct in6_addr *to)
{
	*port = ntohs(udp_hdr(skb)->source);
	if (skb->protocol == htons(ETH_P_IP)) {
		ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, from);
		ipv6_addr_set_v4mapped(ip_hdr(skb)->daddr, to);
	} else {
		*from = ipv6_hdr(skb)->saddr;
		*to = ipv6_hdr(skb)->daddr;
	}
	return *port && skb->pkt_type == PACKET_HOST;
}

static int datagram_scope(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IPV6) &&
	       (ipv6_addr_type(&ipv6_hdr(skb)->saddr) | ipv6_addr_type(&ipv6_hdr(skb)->daddr)) &
	       IPV6_ADDR_LINKLOCAL ? inet6_iif(skb) : 0;
}

/*
 * Who calls may be anybody, and say that he is somebody else: there are to be only so many calls a
 * second, and those that the guest has not answered may not have all that its line may have.
 */
static bool udp_takes_calls(struct circuit_udp *udp, const struct circuit_exposure *exp)
{
	const struct circuit_quota *quota = &exp->line->quota;

	return atomic_read(&exp->waiting) < BACKLOG &&
	       atomic_read(&udp->strangers) < max(quota->limits.max[CIRCUIT_CIRCUITS] / 2, 1ull) &&
	       quota->used[CIRCUIT_MEMORY] < quota->limits.max[CIRCUIT_MEMORY] / 4 * 3 &&
	       circuit_bucket_take(&udp->calls, CALLS, ktime_get_ns());
}

/* Somebody calls a port that is exposed. Returns the flow, referenced, or NULL. */
static struct udp_flow *udp_called(struct circuit_udp *udp, const struct in6_addr *from, u16 port,
				   const struct in6_addr *to, int scope)
{
	struct circuit_exchange *ex = udp->ex;
	struct udp_flow *flow = NULL;
	struct circuit_exposure *exp;
	u64 deciding;

	/*
	 * The lock is everybody's: what may not be a call does not come so far. The work has the
	 * bucket.
	 */
	if (!READ_ONCE(udp->exp) || !circuit_bucket_has(&udp->calls, CALLS, ktime_get_ns()))
		return NULL;
	mutex_lock(&ex->lock);
	exp = udp->exp;
	if (!exp || !exp->line)
		goto unlock;
	atomic64_inc(&exp->accepted);
	if (udp_takes_calls(udp, exp))
		flow = flow_alloc(ex, exp->account, exp->trunk);
	if (!flow) {
		atomic64_inc(&exp->refused);
		goto unlock;
	}
	flow->state = FLOW_WAITS;
	flow->exp = circuit_exposure_wait(exp);
	flow->key.addr = *from;
	flow->key.port = port;
	if (ipv6_addr_any(&exp->addr) ||
	    (ipv6_addr_v4mapped(&exp->addr) && !exp->addr.s6_addr32[3]))
		flow->source = *to;
	flow->key.scope = scope;
	if (!flow_enter(flow, udp)) {
		flow->stranger = true;
		atomic_inc(&udp->strangers);
		deciding = ex->deciding;
		circuit_call_from_trunk(exp->line, exp->port, CIRCUIT_SIG_DGRAM, &flow->local, from,
					port);
		circuit_turn_charge_part(udp->turn, CIRCUIT_USE_POLICY, ex->deciding - deciding);
	}
	/* Connected, or waiting, or nothing came of it. */
	circuit_local_kick(&flow->local);
unlock:
	mutex_unlock(&ex->lock);
	return flow;
}

/* A datagram has come in. */
static void udp_take(struct circuit_udp *udp, struct sk_buff *skb)
{
	struct in6_addr from, to;
	struct udp_flow *flow;
	int scope;
	u16 port;

	if (udp_lib_checksum_complete(skb) || !datagram_parse(skb, &from, &port, &to)) {
		kfree_skb(skb);
		return;
	}
	scope = datagram_scope(skb);
	flow = flow_find(udp, &from, port, scope);
	/* One that has ended, and is not through with it yet, is none. */
	if (unlikely(flow && smp_load_acquire(&flow->state) >= FLOW_TALKS && !READ_ONCE(flow->open))) {
		circuit_local_put(&flow->local);
		flow = NULL;
	}
	if (unlikely(!flow))
		flow = udp_called(udp, &from, port, &to, scope);
	if (!flow) {
		kfree_skb(skb);
		return;
	}
	if (udp->told && udp->told != flow)
		udp_tell(udp);
	flow_count_drops(flow, udp);
	if (flow_deliver(flow, skb) && !udp->told)
		udp->told = flow;
	else
		circuit_local_put(&flow->local);
}

/* Nobody listens where a flow has sent to, as an ICMP message says. */
static void udp_refused(struct circuit_udp *udp, struct sk_buff *skb)
{
	const struct sock_exterr_skb *ee = SKB_EXT_ERR(skb);
	const u8 *addr = skb_network_header(skb) + ee->addr_offset;
	struct udp_flow *flow;
	struct in6_addr to;

	if (ee->ee.ee_errno != ECONNREFUSED || !ee->port)
		return;
	if (ee->ee.ee_origin == SO_EE_ORIGIN_ICMP)
		ipv6_addr_set_v4mapped(get_unaligned((const __be32 *)addr), &to);
	else if (ee->ee.ee_origin == SO_EE_ORIGIN_ICMP6)
		memcpy(&to, addr, sizeof(to));
	else
		return;
	flow = flow_find(udp, &to, ntohs(ee->port), 0);
	if (!flow)
		return;
	WRITE_ONCE(flow->error, ee->ee.ee_errno);
	circuit_local_kick(&flow->local);
	circuit_local_put(&flow->local);
}

static enum circuit_job_end udp_look(struct circuit_job *job, struct circuit_turn *turn)
{
	struct circuit_udp *udp = container_of(job, struct circuit_udp, job);
	struct sock *sk = udp->sock->sk;
	int budget = QUANTUM;
	struct sk_buff *skb;
	bool closing;
	int err;

	if (!kref_read(&udp->ref)) {
		udp_close(udp);
		circuit_turn_charge(turn, CIRCUIT_USE_DATAGRAMS);
		return CIRCUIT_JOB_GONE;
	}
	udp->turn = turn;
	/* Nobody has the socket any more, or is to have it: nor is anything to be received. */
	closing = udp->exposed && !READ_ONCE(udp->exp);
	if (closing || kref_read(&udp->ref) == 1)
		budget = 0;
	while (budget-- > 0) {
		skb = sock_dequeue_err_skb(sk);
		if (unlikely(skb)) {
			udp_refused(udp, skb);
			consume_skb(skb);
			continue;
		}
		skb = skb_recv_udp(sk, MSG_DONTWAIT, &err);
		if (skb)
			udp_take(udp, skb);
		else if (err == -EAGAIN)
			break;
		/* Else it was about an error, that the queue has as well. */
	}
	udp_tell(udp);
	if (budget < 0 && !closing && kref_read(&udp->ref) > 1)
		udp_kick(udp);
	circuit_turn_charge(turn, CIRCUIT_USE_DATAGRAMS);
	return CIRCUIT_JOB_DONE;
}

static void udp_idle(struct circuit_job *job)
{
	udp_put(container_of(job, struct circuit_udp, job));
}

static const struct circuit_job_ops udp_job_ops = {
	.look = udp_look,
	.idle = udp_idle,
};

/*
 * --- to the world -------------------------------------------------------------------------------
 */

/* Which address the datagrams come from, if the socket has any. */
union source_control {
	struct cmsghdr	head;
	char		v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char		v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void flow_source(const struct udp_flow *flow, struct msghdr *msg, union source_control *control)
{
	struct in6_pktinfo *six;
	struct in_pktinfo *four;

	if (ipv6_addr_any(&flow->source))
		return;
	memset(control, 0, sizeof(*control));
	msg->msg_control = control;
	if (ipv6_addr_v4mapped(&flow->source)) {
		four = CMSG_DATA(&control->head);
		four->ipi_spec_dst.s_addr = flow->source.s6_addr32[3];
		msg->msg_controllen = sizeof(control->v4);
		control->head.cmsg_level = SOL_IP;
		control->head.cmsg_type = IP_PKTINFO;
		control->head.cmsg_len = CMSG_LEN(sizeof(*four));
	} else {
		six = CMSG_DATA(&control->head);
		six->ipi6_addr = flow->source;
		six->ipi6_ifindex = flow->key.scope;
		msg->msg_controllen = sizeof(control->v6);
		control->head.cmsg_level = SOL_IPV6;
		control->head.cmsg_type = IPV6_PKTINFO;
		control->head.cmsg_len = CMSG_LEN(sizeof(*six));
	}
}

/* Send a message that is at the ring's head. */
static int flow_send(struct udp_flow *flow, u32 len)
{
	struct circuit_rx *rx = &flow->local.rx;
	struct circuit_span s = circuit_rx_span(rx, sizeof(struct circuit_message), len);
	struct kvec vec[2] = {
		{ (void *)rx->data + s.off[0], s.len[0] },
		{ (void *)rx->data, s.len[1] },
	};
	struct sockaddr_storage to;
	struct msghdr msg = {
		.msg_name = &to,
		.msg_namelen = circuit_sockaddr(&flow->key.addr, flow->key.port, &to),
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
	};
	union source_control control;
	int err, seen, now, failed = 0, tries = TRIES;

	if (len > U16_MAX)
		return -EMSGSIZE;
	if (unlikely(flow->key.scope))
		((struct sockaddr_in6 *)&to)->sin6_scope_id = flow->key.scope;
	/*
	 * What an ICMP message said of another flow is reported to whoever comes next: twice is
	 * true.
	 */
	seen = atomic_read(&flow->udp->errors);
	while (tries--) {
		flow_source(flow, &msg, &control);
		err = kernel_sendmsg(flow->udp->sock, &msg, vec, s.len[1] ? 2 : 1, len);
		if (err >= 0)
			return 0;
		now = atomic_read(&flow->udp->errors);
		if (err == -EAGAIN || (failed++ && now == seen))
			return err;
		if (now != seen)
			failed = 0;
		seen = now;
	}
	return -ENOBUFS;
}

/* The socket takes no more: returns false if it does after all. */
static bool flow_blocks(struct udp_flow *flow)
{
	struct circuit_udp *udp = flow->udp;

	spin_lock_bh(&udp->lock);
	if (list_empty(&flow->blocked)) {
		circuit_local_get(&flow->local);
		list_add_tail(&flow->blocked, &udp->blocked);
	}
	spin_unlock_bh(&udp->lock);
	smp_mb();	/* on the list before it is looked again */
	if (!sock_writeable(udp->sock->sk))
		return true;
	spin_lock_bh(&udp->lock);
	if (!list_empty(&flow->blocked)) {
		list_del_init(&flow->blocked);
		circuit_local_put(&flow->local);
	}
	spin_unlock_bh(&udp->lock);
	return false;
}

/* How much there is to send, or -EPROTO. */
static int flow_avail(struct udp_flow *flow)
{
	struct circuit_local *local = &flow->local;
	struct circuit_rx *rx = &local->rx;
	int flags, avail;

	if (flow->lingers)
		return flow->last - rx->head;
	/* Before the data: after it has hung up there is no more of it. */
	flags = smp_load_acquire(&circuit_far_end(&local->c->end[local->nr])->hungup);
	flags |= circuit_rx_flags(rx);
	avail = circuit_rx_avail(rx);
	if (flags < 0 || avail < 0)
		return -EPROTO;
	if (flags) {
		mutex_lock(&flow->lock);
		flow->open = false;
		mutex_unlock(&flow->lock);
		flow->last = rx->head + avail;
		flow->lingers = true;
	}
	return avail;
}

static void flow_early(struct udp_flow *flow)
{
	bool notify;

	if (likely(skb_queue_empty_lockless(&flow->early)))
		return;
	mutex_lock(&flow->lock);
	notify = flow_put_early(flow);
	mutex_unlock(&flow->lock);
	if (notify)
		circuit_end_notify(circuit_far_end(&flow->local.c->end[flow->local.nr]));
}

/* The guest has sent something: whoever has called is answered. */
static void flow_has_said(struct udp_flow *flow)
{
	if (likely(READ_ONCE(flow->said)))
		return;
	WRITE_ONCE(flow->said, true);
	flow_is_known(flow, flow->udp);
}

/* Was the flow idle when its timer looked, and is it still? */
static bool flow_is_over(struct udp_flow *flow)
{
	unsigned long due = READ_ONCE(flow->used) + flow_patience(flow);

	if (likely(!READ_ONCE(flow->expired)))
		return false;
	if (!time_before(jiffies, due))
		return true;
	WRITE_ONCE(flow->expired, false);
	mod_timer(&flow->idle, due);
	return false;
}

/*
 * Returns how the turn has ended: -EAGAIN if somebody will kick, 0 if there is more, else the flow
 * is gone.
 */
static int flow_turn(struct udp_flow *flow, bool *notify)
{
	struct circuit_local *local = &flow->local;
	u32 datagrams = QUANTUM, bytes = QUANTUM_BYTES, need, allowed;
	struct circuit_message head;
	int avail, err;

	while (datagrams-- && bytes) {
		avail = flow_avail(flow);
		if (avail < 0 || READ_ONCE(flow->broken) ||
		    (avail && circuit_rx_message(&local->rx, &head))) {
			flow_violation(flow);
			return -EPROTO;
		}
		if (!avail) {
			err = READ_ONCE(flow->error);
			if (flow->lingers || err || flow_is_over(flow)) {
				flow_hangup(flow, err ? CIRCUIT_REASON_TRUNK : CIRCUIT_REASON_NONE, err);
				return -ENOTCONN;
			}
			circuit_rx_arm(&local->rx, 1);
			avail = flow_avail(flow);
			if (!avail && !flow->lingers)
				return -EAGAIN;
			continue;
		}
		need = circuit_message_bytes(head.len);
		allowed = circuit_local_allowed(local, !local->nr);
		if (unlikely(allowed < need)) {
			allowed = circuit_local_want(local, !local->nr, need, max_t(u32, need, SZ_64K));
			if (allowed < need)
				return -EAGAIN;
		}
		err = flow_send(flow, head.len);
		if (err == -EAGAIN) {
			trace_circuit_stall(local->c, true);
			if (flow_blocks(flow))
				return -EAGAIN;
			err = flow_send(flow, head.len);
			if (err == -EAGAIN && flow_blocks(flow))
				return -EAGAIN;
		}
		circuit_local_used(local, !local->nr, need, allowed);
		*notify |= circuit_rx_release(&local->rx, need);
		bytes -= min(bytes, need);
		WRITE_ONCE(flow->used, jiffies);
		flow_has_said(flow);
		/*
		 * What is lost on its way to the network is lost. That there is no way is worth to
		 * be told.
		 */
		if (unlikely(err == -ENETUNREACH || err == -EHOSTUNREACH || err == -EACCES)) {
			flow_hangup(flow, CIRCUIT_REASON_TRUNK, -err);
			return err;
		}
	}
	return 0;
}

static void flow_talks(struct udp_flow *flow)
{
	struct circuit_end *far = circuit_far_end(&flow->local.c->end[flow->local.nr]);
	bool notify = false;
	int err;
	u8 reset;

	reset = smp_load_acquire(&flow->local.reset);
	if (reset || READ_ONCE(flow->cut)) {
		flow_hangup(flow, reset, 0);
		return;
	}
	if (unlikely(READ_ONCE(flow->asked))) {
		mutex_lock(&flow->lock);
		flow->asked = false;
		mutex_unlock(&flow->lock);
	}
	flow_early(flow);
	err = flow_turn(flow, &notify);
	if (err && err != -EAGAIN)
		return;
	if (notify)
		circuit_end_notify(far);
	if (!err)
		circuit_local_kick(&flow->local);
}

static void flow_look(struct circuit_local *local)
{
	struct udp_flow *flow = flow_of(local);
	enum circuit_use use = CIRCUIT_USE_SIGNALLING;

	/* Pairs with flow_setup(): the rings are there. */
	switch (smp_load_acquire(&flow->state)) {
	case FLOW_DIALS:
		flow_dial(flow);
		break;
	case FLOW_WAITS:
		flow_wait(flow);
		break;
	case FLOW_TALKS:
		flow_talks(flow);
		use = CIRCUIT_USE_DATAGRAMS;
		break;
	case FLOW_GONE:
		break;
	}
	circuit_turn_charge(local->turn, use);
}

/* --- what others see ------------------------------------------------------------------------- */

/* The circuit has its rings. */
static void flow_setup(struct circuit_local *local)
{
	struct udp_flow *flow = flow_of(local);

	if (flow->exp)
		circuit_exposure_done(flow->exp, false);
	flow->exp = NULL;
	flow->used = jiffies;
	WRITE_ONCE(flow->open, true);
	mod_timer(&flow->idle, jiffies + flow_patience(flow));
	smp_store_release(&flow->state, FLOW_TALKS);
}

static const char *flow_trunk(const struct circuit_local *local)
{
	const struct udp_flow *flow = container_of(local, struct udp_flow, local);

	return flow->trunk ? flow->trunk->name : NULL;
}

static bool flow_info(struct circuit_local *local, struct circuit_socket_info *info)
{
	struct udp_flow *flow = flow_of(local);
	struct sockaddr_storage ss;

	memset(info, 0, sizeof(*info));
	if (!flow->udp)
		return false;
	if (kernel_getsockname(flow->udp->sock, (struct sockaddr *)&ss) >= 0)
		circuit_sockaddr_read(&ss, &info->local, &info->local_port);
	if (!ipv6_addr_any(&flow->source))
		info->local = flow->source;
	info->remote = flow->key.addr;
	info->remote_port = flow->key.port;
	return true;
}

static const struct circuit_local_ops flow_ops = {
	.look = flow_look,
	.setup = flow_setup,
	.trunk = flow_trunk,
	.info = flow_info,
};

static struct udp_flow *flow_alloc(struct circuit_exchange *ex, struct circuit_account *account,
				   struct circuit_trunk *trunk)
{
	struct circuit_local *local = circuit_local_alloc(ex, account, sizeof(struct udp_flow),
							  &flow_ops);
	struct udp_flow *flow;

	BUILD_BUG_ON(offsetof(struct udp_flow, local));
	if (!local)
		return NULL;
	flow = flow_of(local);
	mutex_init(&flow->lock);
	__skb_queue_head_init(&flow->early);
	INIT_LIST_HEAD(&flow->blocked);
	timer_setup(&flow->idle, flow_idle, 0);
	if (trunk) {
		flow->trunk = circuit_trunk_get(trunk);
		atomic64_inc(&trunk->calls);
		atomic_inc(&trunk->circuits);
	}
	return flow;
}

/**
 * circuit_udp_dial - send datagrams to somebody who is not on a line
 * @c: the call; @end[1] says whom. Its exchange is locked
 * @trunk: the way there
 *
 * The call is answered later, by circuit_call_answered() or circuit_call_failed().
 *
 * Return: 0 or -ENOMEM.
 */
int circuit_udp_dial(struct circuit *c, struct circuit_trunk *trunk)
{
	struct circuit_exchange *ex = c->end[0].line->ex;
	struct udp_flow *flow = flow_alloc(ex, c->end[0].line->account, trunk);

	if (!flow)
		return -ENOMEM;
	flow->state = FLOW_DIALS;
	flow->net = circuit_trunk_net(trunk, ex);
	flow->key.addr = c->end[1].addr;
	flow->key.port = c->end[1].port;
	circuit_local_join(&flow->local, c, 1, c->end[0].line);
	circuit_local_kick(&flow->local);
	circuit_local_put(&flow->local);
	return 0;
}

/**
 * circuit_udp_expose - have a socket take calls
 * @exp: for whom; its exchange is locked
 * @sock: the socket, bound; consumed, even if there is an error
 *
 * Return: it, with a reference for circuit_udp_unexpose(); or an ERR_PTR().
 */
struct circuit_udp *circuit_udp_expose(struct circuit_exposure *exp, struct socket *sock)
{
	struct circuit_udp *udp = udp_make(exp->ex, exp->account, sock);

	if (!IS_ERR(udp)) {
		/* Its work waits for the lock. */
		udp->exp = exp;
		udp->exposed = true;
	}
	return udp;
}

/**
 * circuit_udp_unexpose - undo circuit_udp_expose(), and end the circuits that have come of it
 * @udp: what it has returned; its exchange is not locked
 *
 * circuit_exposure_closed() is called when the port is free.
 */
void circuit_udp_unexpose(struct circuit_udp *udp)
{
	struct udp_flow *flow;

	udp_unhook(udp);	/* nothing that comes has it looked at any more */
	mutex_lock(&udp->ex->lock);
	WRITE_ONCE(udp->exp, NULL);
	list_for_each_entry(flow, &udp->flows, siblings) {
		WRITE_ONCE(flow->cut, true);
		circuit_local_hurry(&flow->local);
	}
	mutex_unlock(&udp->ex->lock);
	/* It may have been kicked, and has a reference then. */
	kref_get(&udp->ref);
	if (!circuit_job_hurry(&udp->job))
		udp_put(udp);
	udp_put(udp);
}

/**
 * circuit_udp_init - be ready for datagrams over trunks
 *
 * Return: 0 or -ENOMEM.
 */
int circuit_udp_init(void)
{
	return rhashtable_init(&flows, &flows_params);
}

/**
 * circuit_udp_exit - undo circuit_udp_init(); there are none any more
 */
void circuit_udp_exit(void)
{
	rhashtable_destroy(&flows);
}
