// SPDX-License-Identifier: GPL-2.0
/*
 * IPPROTO_CIRCUIT with SOCK_DGRAM: UDP sockets that have circuits.
 *
 * Such a socket is a UDP socket in every respect, made by UDP's own code from UDP's own slab; only
 * its proto_ops are ours. What it sends to somebody for the first time the operator is asked about:
 * to whom it can connect a circuit, all that follows goes there; for others it is UDP's, and the
 * operator is asked again in NATIVE_FOR. Where the socket is bound calls of others are taken, each
 * of which is a circuit as well. So there is one for each with whom the socket talks that way (a
 * flow), and any number with whom it talks as before; what comes by either is received in turn.
 * (What sends gets a port, and may be called there as well: not everybody answers from where he was
 * asked.)
 *
 * A flow's rings hold messages. A datagram for which there is no room is lost, and counted at the
 * receiver, unless the socket is connected and may wait: then the sender does, for up to PATIENCE,
 * but no more: nobody is to be held up by one of many peers that does not read. For what the
 * operator limits it waits as long as it likes. A flow ends when either end closes its socket, or
 * has so many that it has to give up one; then the next datagram begins another.
 *
 * What makes a UDP socket have flows is a struct circuit_udp, which comes when it first sends, or
 * when it is bound, and goes when it is released. It is found by its socket: nothing of that is
 * touched which others may want, as those who attach tunnels or BPF's maps do, by which it becomes
 * theirs.
 *
 * Flows are entered and taken out under lock_sock(), and found under RCU. Those in which there may
 * be something to read are in @ready, under @lock; others have their rings armed, and the tasklet
 * puts them there.
 */
#include <linux/errqueue.h>
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/module.h>
#include <linux/net_tstamp.h>
#include <linux/rhashtable.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <net/inet_common.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/protocol.h>
#include <net/transp_v6.h>
#include <net/udp.h>
#include <asm/ioctls.h>
#include "inet.h"
#include "transfer.h"

#define FLOWS		256			/* of a socket */
#define BUCKETS		64
#define BACKLOG		128
#define NATIVES		64
#define NATIVE_FOR	HZ
#define QUESTIONS	FLOWS			/* that a socket has a second, unless there is no other way */
#define RING		(128u << 10)		/* has to hold the longest datagram */
/* The longest datagrams, as over IPv4 and IPv6. */
#define MAX4		(U16_MAX - sizeof(struct iphdr) - sizeof(struct udphdr))
#define MAX6		(U16_MAX - sizeof(struct udphdr))
#define PATIENCE	max(HZ / 100, 1)
#define NATIVE_FIRST	1024			/* datagrams of UDP's that a new flow lets go first, at most */
#define NOT_OURS	INT_MIN			/* UDP's own method has to deal with it */
/*
 * What SO_TIMESTAMPING may ask for: when something was sent and received, as software sees it.
 * There is no hardware here to ask, as on most networks; nor are there queues, whose stamps are
 * UDP's to give.
 */
#define TIMESTAMPS	(SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |		\
			 SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_HARDWARE |		\
			 SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE |		\
			 SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_CMSG |			\
			 SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_PKTINFO |		\
			 SOF_TIMESTAMPING_OPT_TX_SWHW)

/**
 * struct udp_flow - a circuit of a UDP socket
 * @ep: must be first
 * @rcu: for who looks for flows
 * @u: the socket's, referenced
 * @remote: with whom it is
 * @port: the far end's
 * @node: in u->flows
 * @ready: in u->ready
 * @gone: the socket has no such flow any more; u->lock
 * @broken: it has broken the ring's rules, and there is nothing to be read any more; ep.rx_mutex
 * @used: when it was last, in jiffies
 * @answered: the socket has sent something to him
 * @lost: datagrams that there was no room for; ep.tx_mutex
 * @untold: of some the far end has not been told, since there was no ring; likewise
 * @missed: those of the far end that were counted; ep.rx_mutex
 * @until: where the ring's data ended when the socket was connected last, to whomever; ep.rx_mutex
 * @received: u->received when it began
 * @settled: what UDP may have received before it began has been read; both u->lock
 */
struct udp_flow {
	struct circuit_ep	ep;
	struct rcu_head		rcu;
	struct circuit_udp	*u;
	struct in6_addr		remote;
	u32			port;
	struct hlist_node	node;
	struct list_head	ready;
	bool			gone;
	bool			broken;
	unsigned long		used;
	bool			answered;
	u64			lost;
	bool			untold;
	u64			missed;
	u32			until;
	u32			received;
	bool			settled;
};

/**
 * struct udp_native - somebody to whom there is no circuit
 * @addr: his address
 * @port: and port, 0 if there is none
 * @refused: nor is another way tried: he has broken the rules of one
 * @until: when to ask again, in jiffies
 */
struct udp_native {
	struct in6_addr	addr;
	u32		port;
	bool		refused;
	unsigned long	until;
};

enum udp_source {
	UDP_ANY,
	UDP_NATIVE,
	UDP_CIRCUIT,
};

/**
 * struct circuit_udp - what a UDP socket has as an end of circuits
 * @ep: the endpoint that others call, must be first
 * @rcu: for the tasklet
 * @hash: in udps, by its socket
 * @node: in bound
 * @port: where others may call it, and where all flows come from
 * @closed: it has no flows any more, nor will; under lock_sock()
 * @tidy: takes out flows that have ended, and publishes the socket
 * @publish: it is to do that
 * @asked: questions to the operator since @asked_since; under lock_sock()
 * @asked_since: in jiffies
 * @lock: of the next two
 * @ready: flows to look into
 * @natives: to whom there is no circuit, NULL before there was somebody
 * @peeked: &enum udp_source of what was looked at, and has to be the next to be read; read and
 *	written without a lock, as the next is
 * @turn: circuits come first
 * @drained: nothing was left, as far as known, of what was read from last; without a lock
 * @received: datagrams of UDP's that were read; without a lock, about so many
 * @flows: by whom they are with
 * @nr: how many
 * @map_mutex: one mmap() at a time; mmap_lock is outside of it, and nothing inside but @lock
 * @mapped: the flow whose circuit a process has mapped, referenced, or NULL; changes under @lock
 * @batched: the flow that a batch has sent to last, whose far end has not been told of that,
 *	referenced; or NULL
 * @lost: datagrams that others had no room for; read without a lock
 */
struct circuit_udp {
	struct circuit_ep	ep;
	struct rcu_head		rcu;
	struct rhash_head	hash;
	struct list_head	node;
	u16			port;
	bool			closed;
	struct work_struct	tidy;
	bool			publish;
	unsigned int		asked;
	unsigned long		asked_since;
	spinlock_t		lock;
	struct list_head	ready;
	struct udp_native	*natives;
	u8			peeked;
	bool			turn;
	bool			drained;
	u32			received;
	struct hlist_head	flows[BUCKETS];
	unsigned int		nr;
	struct mutex		map_mutex;
	struct udp_flow		*mapped;
	struct udp_flow		*batched;
	atomic64_t		lost;
};

static struct udp_family {
	const struct proto_ops	*udp_ops;
	struct proto		*udp_prot;
	struct proto_ops	ops;
	struct proto		prot;
	struct inet_protosw	protosw;
} families[2];		/* IPv4, IPv6 */

/* All that there are. */
static struct rhashtable udps;
static const struct rhashtable_params udps_params = {
	.head_offset = offsetof(struct circuit_udp, hash),
	.key_offset = offsetof(struct circuit_udp, ep.sk),
	.key_len = sizeof(struct sock *),
	.automatic_shrinking = true,
};

/* Sockets that others may call, to be published again when a line comes up. */
static LIST_HEAD(bound);
static DEFINE_MUTEX(bound_lock);

/*
 * Of one's own: who is at work in a ring may be kept there by the memory that its user has given.
 */
static struct workqueue_struct *udp_wq;

static struct udp_family *family_of_sk(const struct sock *sk)
{
	return &families[READ_ONCE(sk->sk_family) == AF_INET6];
}

static struct udp_family *family_of(const struct socket *sock)
{
	return family_of_sk(sock->sk);
}

/*
 * Call UDP's method. While it sleeps the socket may become native, and that lets go of the module.
 */
#define UDPS(sock, method, ...)							\
({										\
	typeof(family_of(sock)->udp_ops->method(__VA_ARGS__)) _ret;		\
										\
	__module_get(THIS_MODULE);						\
	_ret = family_of(sock)->udp_ops->method(__VA_ARGS__);			\
	module_put(THIS_MODULE);						\
	_ret;									\
})

/* Stays until the socket is released. */
static struct circuit_udp *udp_of(const struct sock *sk)
{
	return rhashtable_lookup_fast(&udps, &sk, udps_params);
}

/* Is there an interface that the socket's datagrams are to go out by (IP_UNICAST_IF)? */
static bool has_device(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6 && READ_ONCE(inet6_sk(sk)->ucast_oif))
		return true;
#endif
	return READ_ONCE(inet_sk(sk)->uc_index);
}

/* Has the socket an option that means something on a network, and nothing here, or an owner? */
static bool has_option(const struct sock *sk)
{
	return unlikely(circuit_inet_has_option(sk) || READ_ONCE(sk->sk_peek_off) >= 0 ||
			READ_ONCE(sk->sk_tsflags) & ~TIMESTAMPS || has_device(sk) ||
			READ_ONCE(udp_sk(sk)->encap_type) || READ_ONCE(sk->sk_user_data));
}

/* Whom the socket is connected to; false if to nobody. */
static bool udp_peer(const struct sock *sk, struct in6_addr *addr, u32 *port)
{
	if (READ_ONCE(sk->sk_state) != TCP_ESTABLISHED)
		return false;
	if (sk->sk_family == AF_INET)
		ipv6_addr_set_v4mapped(inet_sk(sk)->inet_daddr, addr);
#if IS_ENABLED(CONFIG_IPV6)
	else
		*addr = sk->sk_v6_daddr;
#endif
	*port = ntohs(inet_sk(sk)->inet_dport);
	return *port;
}

/* --- flows ----------------------------------------------------------------------------------- */

static struct udp_native *native_slot(struct circuit_udp *u, const struct in6_addr *addr, u32 port)
{
	struct udp_native *natives = smp_load_acquire(&u->natives);

	return natives ? &natives[jhash2((const u32 *)addr, 4, port) % NATIVES] : NULL;
}

static bool is_native(struct circuit_udp *u, const struct in6_addr *addr, u32 port, bool *refused)
{
	struct udp_native *n = native_slot(u, addr, port);
	bool ret;

	if (!n)
		return false;
	spin_lock_bh(&u->lock);
	ret = n->port == port && ipv6_addr_equal(&n->addr, addr) && time_before(jiffies, n->until);
	*refused = n->refused;
	spin_unlock_bh(&u->lock);
	return ret;
}

static void set_native(struct circuit_udp *u, const struct in6_addr *addr, u32 port, bool refused)
{
	struct udp_native *n = native_slot(u, addr, port), *new;

	if (!n) {
		new = kcalloc(NATIVES, sizeof(*new), GFP_KERNEL_ACCOUNT);
		/* Another one may have been faster. */
		if (new && cmpxchg(&u->natives, NULL, new))
			kfree(new);
		n = native_slot(u, addr, port);
		if (!n)
			return;
	}
	spin_lock_bh(&u->lock);
	n->addr = *addr;
	n->port = port;
	n->refused = refused;
	n->until = jiffies + NATIVE_FOR;
	spin_unlock_bh(&u->lock);
}

static void udp_free_rcu(struct rcu_head *rcu)
{
	struct circuit_udp *u = container_of(rcu, struct circuit_udp, rcu);

	sock_put(u->ep.sk);
	kfree(u->natives);
	kfree(u);
}

static void udp_free(struct circuit_ep *ep)
{
	call_rcu(&container_of(ep, struct circuit_udp, ep)->rcu, udp_free_rcu);
}

static void flow_free_rcu(struct rcu_head *rcu)
{
	struct udp_flow *flow = container_of(rcu, struct udp_flow, rcu);

	sock_put(flow->ep.sk);
	circuit_ep_put(&flow->u->ep);
	kfree(flow);
}

static void flow_free(struct circuit_ep *ep)
{
	call_rcu(&container_of(ep, struct udp_flow, ep)->rcu, flow_free_rcu);
}

/* There may be something to read; next if @first. */
static void flow_is_ready(struct udp_flow *flow, bool first)
{
	struct circuit_udp *u = flow->u;

	spin_lock_bh(&u->lock);
	if (!flow->gone && list_empty(&flow->ready)) {
		if (first)
			list_add(&flow->ready, &u->ready);
		else
			list_add_tail(&flow->ready, &u->ready);
	}
	spin_unlock_bh(&u->lock);
}

/* Have a flow taken out that has ended, and in which there is nothing any more. */
static void flow_tidy(struct udp_flow *flow)
{
	struct circuit_udp *u = flow->u;

	spin_lock_bh(&u->lock);
	if (!flow->gone)
		queue_work(udp_wq, &u->tidy);
	spin_unlock_bh(&u->lock);
}

/* What an ICMP message of an error would say. */
static void icmp_code(int err, bool v4, struct sock_extended_err *ee)
{
	ee->ee_errno = err;
	ee->ee_origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	ee->ee_type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
	switch (err) {
	case ECONNREFUSED:
		ee->ee_code = v4 ? ICMP_PORT_UNREACH : ICMPV6_PORT_UNREACH;
		break;
	case EHOSTUNREACH:
		ee->ee_code = v4 ? ICMP_HOST_UNREACH : ICMPV6_ADDR_UNREACH;
		break;
	case ENETUNREACH:
		ee->ee_code = v4 ? ICMP_NET_UNREACH : ICMPV6_NOROUTE;
		break;
	case EACCES:
		ee->ee_code = v4 ? ICMP_PKT_FILTERED : ICMPV6_ADM_PROHIBITED;
		break;
	}
}

/* Such a message, for the queue of errors: with the addresses, and nothing of what was sent. */
static struct sk_buff *icmp_message(const struct in6_addr *dst, u32 port, int err)
{
	bool v4 = ipv6_addr_v4mapped(dst);
	u32 size = v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct sk_buff *skb = alloc_skb(2 * size, GFP_ATOMIC);
	struct sock_exterr_skb *serr;

	if (!skb)
		return NULL;
	skb_put_zero(skb, 2 * size);
	skb_reset_network_header(skb);
	serr = SKB_EXT_ERR(skb);
	serr->port = htons(port);
	icmp_code(err, v4, &serr->ee);
	/* From him, and within it what it is about. */
	if (v4) {
		skb->protocol = htons(ETH_P_IP);
		ip_hdr(skb)->saddr = dst->s6_addr32[3];
		(ip_hdr(skb) + 1)->daddr = dst->s6_addr32[3];
		serr->addr_offset = size + offsetof(struct iphdr, daddr);
	} else {
		skb->protocol = htons(ETH_P_IPV6);
		ipv6_hdr(skb)->saddr = *dst;
		(ipv6_hdr(skb) + 1)->daddr = *dst;
		serr->addr_offset = size + offsetof(struct ipv6hdr, daddr);
	}
	skb_pull(skb, 2 * size);
	skb_reset_transport_header(skb);
	return skb;
}

/*
 * He cannot be reached: who is connected to him, or wants to know, hears of it, as of an ICMP
 * message.
 */
static void udp_unreachable(struct sock *sk, const struct in6_addr *dst, u32 port, int err)
{
	struct in6_addr peer;
	struct sk_buff *skb;
	u32 peer_port;

	if (compat_recverr(sk)) {
		skb = icmp_message(dst, port, err);
		if (skb && sock_queue_err_skb(sk, skb))
			kfree_skb(skb);
	} else if (!udp_peer(sk, &peer, &peer_port) || peer_port != port ||
		   !ipv6_addr_equal(&peer, dst)) {
		return;
	}
	WRITE_ONCE(sk->sk_err, err);
	sk_error_report(sk);
}

static void flow_moved(struct circuit_ep *ep)
{
	struct udp_flow *flow = container_of(ep, struct udp_flow, ep);
	int err;

	flow_is_ready(flow, false);
	if (READ_ONCE(ep->state) != TCP_CLOSE)
		return;
	flow_tidy(flow);
	/*
	 * What became of a call is told to the caller; that there is nobody any more is not to be
	 * told at all.
	 */
	err = ep->c ? xchg(&ep->error, 0) : 0;
	if (err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EACCES)
		udp_unreachable(ep->sk, &flow->remote, flow->port, err);
}

/* There is a circuit: whoever waits already has to arm it. */
static void flow_tell(struct circuit_ep *ep, struct circuit *c)
{
	flow_is_ready(container_of(ep, struct udp_flow, ep), false);
	if (!c->end)	/* else he is the one who has answered it */
		ep->sk->sk_data_ready(ep->sk);
}

static struct hlist_head *flow_bucket(struct circuit_udp *u, const struct in6_addr *addr, u32 port)
{
	return &u->flows[jhash2((const u32 *)addr, 4, port) % BUCKETS];
}

/* Returns the flow with somebody, referenced, or NULL. */
static struct udp_flow *flow_find(struct circuit_udp *u, const struct in6_addr *addr, u32 port)
{
	struct udp_flow *flow;

	rcu_read_lock();
	hlist_for_each_entry_rcu(flow, flow_bucket(u, addr, port), node)
		if (flow->port == port && ipv6_addr_equal(&flow->remote, addr) &&
		    READ_ONCE(flow->ep.state) != TCP_CLOSE &&
		    refcount_inc_not_zero(&flow->ep.ref)) {
			rcu_read_unlock();
			return flow;
		}
	rcu_read_unlock();
	return NULL;
}

static void flow_put(struct udp_flow *flow)
{
	circuit_ep_put(&flow->ep);
}

static struct udp_flow *flow_alloc(struct circuit_udp *u, struct sock *sk)
{
	struct udp_flow *flow = kzalloc(sizeof(*flow), GFP_KERNEL_ACCOUNT);

	if (!flow)
		return NULL;
	sock_hold(sk);
	circuit_ep_init(&flow->ep, sk, flow_free);
	flow->ep.overlay = true;
	flow->ep.soft = true;
	flow->ep.tell = flow_tell;
	flow->ep.moved = flow_moved;
	refcount_inc(&u->ep.ref);
	flow->u = u;
	INIT_LIST_HEAD(&flow->ready);
	flow->used = jiffies;
	return flow;
}

/* Nothing is to be seen of a flow any more; the socket is owned. It may not have been entered. */
static void flow_end(struct udp_flow *flow)
{
	struct circuit_udp *u = flow->u;

	if (!hlist_unhashed(&flow->node)) {
		hlist_del_rcu(&flow->node);
		u->nr--;
	}
	/* Who has broken the rules is not called back for each thing that he has left. */
	if (flow->broken)
		set_native(u, &flow->remote, flow->port, true);
	spin_lock_bh(&u->lock);
	flow->gone = true;
	list_del_init(&flow->ready);
	spin_unlock_bh(&u->lock);
	circuit_ep_disconnect(&flow->ep, CIRCUIT_TX_FIN, CIRCUIT_REASON_NONE);
	/* Who waits for leave to send in it would be told by nobody else. */
	flow->ep.sk->sk_state_change(flow->ep.sk);
	flow_put(flow);
}

static void flows_end(struct circuit_udp *u)
{
	struct hlist_node *next;
	struct udp_flow *flow;
	unsigned int i;

	for (i = 0; i < BUCKETS; i++)
		hlist_for_each_entry_safe(flow, next, &u->flows[i], node)
			flow_end(flow);
}

/* The flow that a process has mapped, referenced, or NULL. */
static struct udp_flow *udp_mapped(struct circuit_udp *u)
{
	struct udp_flow *flow;

	if (likely(!READ_ONCE(u->mapped)))
		return NULL;
	spin_lock_bh(&u->lock);
	flow = u->mapped;
	if (flow)
		refcount_inc(&flow->ep.ref);
	spin_unlock_bh(&u->lock);
	return flow;
}

static void udp_set_mapped(struct circuit_udp *u, struct udp_flow *flow)
{
	struct udp_flow *old;

	if (flow)
		refcount_inc(&flow->ep.ref);
	spin_lock_bh(&u->lock);
	old = u->mapped;
	WRITE_ONCE(u->mapped, flow);
	spin_unlock_bh(&u->lock);
	if (old)
		flow_put(old);
}

/*
 * Does a process have the circuit mapped with whom the socket talks? If one had, the kernel goes on
 * from there.
 */
static bool udp_is_mapped(struct circuit_udp *u)
{
	struct udp_flow *flow = udp_mapped(u);
	struct circuit *c;
	bool ret, forget;

	if (likely(!flow))
		return false;
	mutex_lock(&flow->ep.rx_mutex);
	c = circuit_ep_rings(&flow->ep);
	ret = c && circuit_rx_ours(&flow->ep, c);
	/* Under the mutex, which who maps it has: not what is mapped once more. */
	spin_lock_bh(&u->lock);
	forget = !ret && u->mapped == flow;
	if (forget)
		WRITE_ONCE(u->mapped, NULL);
	spin_unlock_bh(&u->lock);
	mutex_unlock(&flow->ep.rx_mutex);
	if (forget) {
		flow_is_ready(flow, false);
		flow_put(flow);
	}
	flow_put(flow);
	return ret;
}

/* Not from whom the socket is connected to. */
static bool flow_unwanted(const struct udp_flow *flow)
{
	struct in6_addr peer;
	u32 port;

	return udp_peer(flow->ep.sk, &peer, &port) &&
	       (port != flow->port || !ipv6_addr_equal(&peer, &flow->remote));
}

/* How much of what is there came before the socket was connected to somebody else? */
static u32 flow_before(const struct udp_flow *flow, const struct circuit *c, u32 avail)
{
	return clamp_t(s32, flow->until - c->rx.head, 0, avail);
}

/* How many bytes there are that this socket is to have; rx_mutex is held. */
static int flow_avail(struct udp_flow *flow, struct circuit *c)
{
	int avail = circuit_rx_avail(&c->rx);

	if (avail > 0 && smp_load_acquire(&c->ended))
		avail = clamp_t(s32, c->rx_final - c->rx.head, 0, avail);
	if (avail > 0 && flow_unwanted(flow))
		avail = flow_before(flow, c, avail);
	return avail;
}

/* Is there something to be read? Where somebody does so just now there may be. */
static bool flow_unread(struct udp_flow *flow)
{
	struct circuit *c;
	int avail = 0;

	if (!mutex_trylock(&flow->ep.rx_mutex))
		return true;
	c = circuit_ep_rings(&flow->ep);
	if (c && c->rx_mapped) {
		mutex_unlock(&flow->ep.rx_mutex);
		return circuit_map_state(c) == CIRCUIT_MAPPED;	/* what there is, the process knows */
	}
	if (c && !flow->broken)
		avail = flow_avail(flow, c);
	mutex_unlock(&flow->ep.rx_mutex);
	return avail > 0;
}

/* Datagrams that the far end had no room for; rx_mutex is held. */
static void flow_count(struct udp_flow *flow, const struct circuit *c)
{
	u64 lost = READ_ONCE(c->rx.prod->lost);

	if (likely(lost == flow->missed))
		return;
	atomic64_add(lost - flow->missed, &flow->u->lost);
	flow->missed = lost;
}

/*
 * A flow has to go: what is in it is lost, and counted. Where somebody reads just now, he has it.
 */
static void flow_lose(struct udp_flow *flow)
{
	struct circuit_message head;
	struct circuit_rx rx;
	struct circuit *c;
	unsigned int n = 0;
	int avail;

	if (!mutex_trylock(&flow->ep.rx_mutex))
		return;
	c = circuit_ep_rings(&flow->ep);
	if (c && !c->rx_mapped && !flow->broken) {
		flow_count(flow, c);
		avail = flow_avail(flow, c);
		if (avail > 0) {
			rx = c->rx;	/* nothing of it is seen but here */
			rx.tail = rx.head + avail;
			while (rx.head != rx.tail && !circuit_rx_message(&rx, &head)) {
				rx.head += circuit_message_bytes(head.len);
				n++;
			}
		}
		atomic64_add(n, &flow->u->lost);
	}
	mutex_unlock(&flow->ep.rx_mutex);
}

/*
 * Make room for another flow: the one that has been idle for longest goes, if it can be without
 * loss, and first of those to whom this socket has never sent anything: there may be very many, or
 * be said to be.
 */
static void flow_evict(struct circuit_udp *u)
{
	struct udp_flow *flow, *oldest = NULL, *idle = NULL, *stranger = NULL, **best;
	unsigned int i;

	for (i = 0; i < BUCKETS; i++)
		hlist_for_each_entry(flow, &u->flows[i], node) {
			if (READ_ONCE(u->mapped) == flow)
				continue;
			if (!oldest || time_before(flow->used, oldest->used))
				oldest = flow;
			best = READ_ONCE(flow->answered) ? &idle : &stranger;
			if ((!*best || time_before(flow->used, (*best)->used)) && !flow_unread(flow))
				*best = flow;
		}
	oldest = stranger ?: idle ?: oldest;
	if (!oldest)
		return;
	flow_lose(oldest);
	flow_end(oldest);
}

/* Enter a flow; the socket is owned. */
static void flow_enter(struct udp_flow *flow)
{
	struct circuit_udp *u = flow->u;

	if (u->nr >= FLOWS)
		flow_evict(u);
	u->nr++;
	flow->received = READ_ONCE(u->received);
	hlist_add_tail_rcu(&flow->node, flow_bucket(u, &flow->remote, flow->port));
}

static void tidy_work(struct work_struct *work);

/* --- the socket ------------------------------------------------------------------------------ */

/* The socket is owned. */
static struct circuit_udp *udp_attach(struct sock *sk)
{
	struct circuit_udp *u = udp_of(sk);

	if (u)
		return u;
	u = kzalloc(sizeof(*u), GFP_KERNEL_ACCOUNT);
	if (!u)
		return NULL;
	sock_hold(sk);
	circuit_ep_init(&u->ep, sk, udp_free);
	u->ep.overlay = true;
	u->ep.soft = true;
	INIT_LIST_HEAD(&u->node);
	INIT_WORK(&u->tidy, tidy_work);
	mutex_init(&u->map_mutex);
	spin_lock_init(&u->lock);
	INIT_LIST_HEAD(&u->ready);
	u->asked_since = jiffies;
	if (rhashtable_insert_fast(&udps, &u->hash, udps_params)) {
		circuit_ep_put(&u->ep);
		return NULL;
	}
	return u;
}

/* UDP's methods for good. What runs after that is waited for by synchronize_rcu_tasks(). */
static void set_udp_ops(struct socket *sock, struct udp_family *f)
{
	WRITE_ONCE(sock->ops, f->udp_ops);
	module_put(THIS_MODULE);
}

/* Nobody is to call it any more. The socket is owned. */
static void udp_withdraw(struct circuit_udp *u)
{
	mutex_lock(&bound_lock);
	list_del_init(&u->node);
	mutex_unlock(&bound_lock);
	circuit_ep_unlisten(&u->ep);
}

/* It has had its last flow. The socket is owned. */
static void udp_close(struct circuit_udp *u)
{
	struct udp_flow *flow;

	u->closed = true;
	udp_withdraw(u);
	flows_end(u);
	udp_set_mapped(u, NULL);
	flow = xchg(&u->batched, NULL);
	if (flow)
		flow_put(flow);
}

/* --- calls ----------------------------------------------------------------------------------- */

/* The socket, which is owned, has no port any more, or another: nothing is as it was. */
static void udp_forget(struct circuit_udp *u, u16 port)
{
	if (u->port == port)
		return;
	circuit_ep_unlisten(&u->ep);
	flows_end(u);
	u->port = port;
}

/* Has the operator said no, to whom nobody has waited for it? */
static bool listener_refused(const struct circuit_listener *lst)
{
	return smp_load_acquire(&lst->decided) && lst->error;
}

/*
 * Publish a socket that has a port; it is owned. Whatever fails, UDP's remains. The operator's
 * answer need not be waited for by who asks it something else then.
 */
static void udp_publish(struct sock *sk, struct circuit_udp *u, bool wait)
{
	struct circuit_ep *ep = &u->ep;
	struct circuit_sig_listen what = {
		.type = CIRCUIT_SIG_DGRAM,
		.flags = CIRCUIT_SIG_IP,
		.port = inet_sk(sk)->inet_num,
	};
	struct in6_addr addr = circuit_inet_bound(sk);
	struct circuit_listener *lst;
	struct circuit_line *line;
	int err;

	udp_forget(u, what.port);
	if (u->closed)
		return;
	mutex_lock(&bound_lock);
	if (list_empty(&u->node))
		list_add_tail(&u->node, &bound);
	mutex_unlock(&bound_lock);
	if (ep->lst && ep->state == TCP_LISTEN && !listener_refused(ep->lst))
		return;
	ep->reason = circuit_inet_why_native(sk, circuit_inet_is_inside(&addr) ||
					     (ipv6_addr_v4mapped(&addr) &&
					      ipv4_is_multicast(addr.s6_addr32[3])) ||
					     ipv6_addr_is_multicast(&addr));
	if (!ep->reason && has_option(sk))
		ep->reason = CIRCUIT_REASON_OPTION;
	if (ep->reason)
		return;
	ep->reason = CIRCUIT_REASON_NO_OPERATOR;
	line = circuit_line_get();
	if (!line)
		return;
	if (!(line->welcome.features & CIRCUIT_SIG_F_UDP))
		goto put_line;
	circuit_ep_unlisten(ep);	/* that of a line that went */
	memcpy(what.addr, &addr, sizeof(what.addr));
	if (sk->sk_family == AF_INET6 && ipv6_only_sock(sk))
		what.flags |= CIRCUIT_SIG_V6ONLY;
	if (sk->sk_reuseport)
		what.flags |= CIRCUIT_SIG_REUSEPORT;
	ep->reason = CIRCUIT_REASON_NO_MEMORY;
	lst = circuit_listener_create(line, ep, &what);
	if (!lst)
		goto put_line;
	WRITE_ONCE(ep->lst, lst);
	err = wait ? circuit_listener_publish(lst, BACKLOG) : circuit_listener_post(lst, BACKLOG);
	if (err) {
		ep->reason = lst->reason ?: CIRCUIT_REASON_TIMEOUT;
		circuit_ep_unlisten(ep);
		goto put_line;
	}
	circuit_ep_lock(ep);
	ep->reason = CIRCUIT_REASON_LINE_DELETED;
	if (circuit_line_up(line)) {
		ep->reason = CIRCUIT_REASON_NONE;
		smp_store_release(&ep->state, TCP_LISTEN);
	}
	circuit_ep_unlock(ep);
	sk->sk_data_ready(sk);	/* calls may have been faster */
put_line:
	circuit_line_put(line);
}

/*
 * Take calls that others have made. The socket is owned. Returns how many: who is not a reader has
 * to wake those who are.
 */
static unsigned int udp_answer_owned(struct circuit_udp *u)
{
	struct sock *sk = u->ep.sk;
	unsigned int n = 0;
	struct udp_flow *flow;
	struct circuit *c;

	while (u->ep.lst && n < BACKLOG && (c = circuit_listener_pop(u->ep.lst))) {
		n++;
		flow = flow_alloc(u, sk);
		if (!flow) {
			circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
			circuit_put(c);
			continue;
		}
		flow->remote = c->remote;
		flow->port = c->peer_port;
		flow_enter(flow);
		circuit_path_count(sk, false);
		/* Of what is there already whoever has come here knows: it need not be told. */
		c->seen_tail = READ_ONCE(c->rx.prod->tail);
		circuit_ep_adopt(&flow->ep, c);
	}
	return n;
}

/*
 * Has it been given other sizes of buffers since the operator was told of it? Nobody says so: it is
 * seen when the socket is read or polled.
 */
static bool udp_wishes_else(const struct circuit_udp *u, const struct circuit_listener *lst)
{
	const struct sock *sk = u->ep.sk;

	return (READ_ONCE(lst->what.rx_size) !=
		circuit_ep_wish(sk, SOCK_RCVBUF_LOCK, READ_ONCE(sk->sk_rcvbuf)) ||
		READ_ONCE(lst->what.tx_size) !=
		circuit_ep_wish(sk, SOCK_SNDBUF_LOCK, READ_ONCE(sk->sk_sndbuf))) &&
	       smp_load_acquire(&lst->decided) && !lst->error;
}

static void udp_answer(struct circuit_udp *u)
{
	struct circuit_listener *lst;
	bool calls;

	rcu_read_lock();
	lst = READ_ONCE(u->ep.lst);
	calls = lst && (READ_ONCE(lst->queued) || udp_wishes_else(u, lst));
	rcu_read_unlock();
	if (likely(!calls))
		return;
	lock_sock(u->ep.sk);
	lst = u->ep.lst;
	if (lst && udp_wishes_else(u, lst))
		circuit_listener_post(lst, BACKLOG);
	udp_answer_owned(u);
	release_sock(u->ep.sk);
}

/* Was a call refused for what the line has too much of, rather than for whom it was to? */
static bool reason_is_limit(u32 reason)
{
	switch (reason) {
	case CIRCUIT_REASON_QUOTA_MEMORY:
	case CIRCUIT_REASON_QUOTA_CIRCUITS:
	case CIRCUIT_REASON_QUOTA_PENDING:
	case CIRCUIT_REASON_RATE:
		return true;
	default:
		return false;
	}
}

/* May the operator be asked once more? The socket is owned. */
static bool udp_may_ask(struct circuit_udp *u)
{
	if (time_after(jiffies, u->asked_since + HZ)) {
		u->asked_since = jiffies;
		u->asked = 0;
	}
	return u->asked++ < QUESTIONS;
}

/*
 * Call somebody, from an address of ours or from any. Returns 0 and the flow, which may still wait
 * to be connected; 0 and no flow if UDP has to reach him; or a negative errno. The socket is owned,
 * and has a port.
 */
static int udp_call_from(struct circuit_udp *u, struct sock *sk, const struct in6_addr *src,
			 const struct in6_addr *dst, u32 port, struct udp_flow **ret, u32 *reason)
{
	struct circuit_sig_call call = {
		.type = CIRCUIT_SIG_DGRAM,
		.flags = CIRCUIT_SIG_IP,
		.port = port,
		.src_port = inet_sk(sk)->inet_num,
		.tx_size = RING,
		.rx_size = RING,
	};
	struct circuit_line *line = circuit_line_get();
	struct udp_flow *flow = NULL;
	struct circuit_ep *ep;
	long left;
	int err = 0;

	*reason = CIRCUIT_REASON_NO_OPERATOR;
	if (!line || !(line->welcome.features & CIRCUIT_SIG_F_UDP))
		goto put_line;
	*reason = CIRCUIT_REASON_NO_MEMORY;
	flow = flow_alloc(u, sk);
	if (!flow)
		goto put_line;
	flow->remote = *dst;
	flow->port = port;
	ep = &flow->ep;
	memcpy(call.dst, dst, sizeof(call.dst));
	if (!circuit_inet_is_any(src))
		memcpy(call.src, src, sizeof(call.src));
	if (circuit_ep_call(ep, line, &call))
		goto end;
	left = wait_for_completion_killable_timeout(&ep->decided, circuit_inet_patience());
	*reason = left > 0 ? ep->reason : CIRCUIT_REASON_TIMEOUT;
	/*
	 * The host's sockets are a moment further away. What is sent to a guest that does not
	 * answer is lost.
	 */
	if (left > 0 && ep->trunk) {
		left = wait_event_interruptible_timeout(*sk_sleep(sk),
							READ_ONCE(ep->state) != TCP_SYN_SENT, left);
		if (left <= 0 && !fatal_signal_pending(current))
			left = 1;
		*reason = ep->reason;
	}
	if (left < 0) {
		err = left;
	} else if (left && ep->native) {
		/* The exchange knows the host, and knows that nobody listens there. */
		if (ep->reason == CIRCUIT_REASON_NO_LISTENER && !circuit_inet_route(sk, dst, NULL))
			err = -ECONNREFUSED;
	} else if (left && READ_ONCE(ep->state) == TCP_CLOSE) {
		/* There was one, for a moment: what would have gone there is lost. */
		err = ep->c ? -ECONNREFUSED : -ep->error;
		/* That there are enough circuits is nothing that a network would say. */
		if (reason_is_limit(ep->reason) && circuit_inet_route(sk, dst, NULL))
			err = 0;
	} else if (left) {
		flow_enter(flow);
		circuit_path_count(sk, true);
		goto put_line;
	}
end:
	flow_end(flow);
	flow = NULL;
	if (err == -ENETDOWN || err == -ENOMEM)
		err = 0;
put_line:
	if (line)
		circuit_line_put(line);
	*ret = flow;
	return err;
}

/* The same, from where UDP would send it, if that is an address of the line's. */
static int udp_call(struct circuit_udp *u, struct sock *sk, const struct in6_addr *dst, u32 port,
		    struct udp_flow **ret, u32 *reason)
{
	struct in6_addr src = circuit_inet_bound(sk);
	bool any = circuit_inet_is_any(&src);
	int err;

	if (any)
		circuit_inet_route(sk, dst, &src);
	err = udp_call_from(u, sk, &src, dst, port, ret, reason);
	if (any && !*ret && !err && *reason == CIRCUIT_REASON_NOT_YOURS)
		err = udp_call_from(u, sk, &in6addr_any, dst, port, ret, reason);
	return err;
}

/*
 * Find the way to somebody that a socket has not sent to as yet: as udp_call(), and the flow is
 * referenced. Who sends has a port, and can be called there.
 */
static int udp_open(struct socket *sock, const struct in6_addr *dst, u32 port,
		    bool publish, struct udp_flow **ret)
{
	struct sock *sk = sock->sk;
	struct circuit_udp *u;
	u32 reason;
	int err = 0;

	*ret = NULL;
	lock_sock(sk);
	if (READ_ONCE(sock->ops) != &family_of_sk(sk)->ops || !port)
		goto unlock;
	u = udp_attach(sk);
	reason = circuit_inet_why_native(sk, circuit_inet_is_ours(sock_net(sk), dst));
	if (!reason && has_option(sk))
		reason = CIRCUIT_REASON_OPTION;
	if (reason)
		goto native;
	reason = CIRCUIT_REASON_NO_MEMORY;
	if (!inet_sk(sk)->inet_num) {
		if (sk->sk_prot->get_port(sk, 0))
			goto native;
		inet_sk(sk)->inet_sport = htons(inet_sk(sk)->inet_num);
	}
	if (!u)
		goto native;
	reason = CIRCUIT_REASON_OPTION;
	if (u->closed)
		goto native;
	/* Somebody else may have been faster; or he himself. */
	if (udp_answer_owned(u))
		sk->sk_data_ready(sk);
	*ret = flow_find(u, dst, port);
	if (*ret)
		goto unlock;
	udp_forget(u, inet_sk(sk)->inet_num);
	if (publish && sk->sk_state != TCP_ESTABLISHED)
		udp_publish(sk, u, false);
	reason = CIRCUIT_REASON_RATE;
	if (udp_may_ask(u) || !circuit_inet_route(sk, dst, NULL))
		err = udp_call(u, sk, dst, port, ret, &reason);
	if (*ret)
		refcount_inc(&(*ret)->ep.ref);
	if (*ret || err)
		goto unlock;
native:
	circuit_path_native(sock, reason);
	if (u)
		set_native(u, dst, port, false);
unlock:
	release_sock(sk);
	return err;
}

/*
 * The socket, which is owned, may have been connected, or not be connected any more, or its flow
 * have ended. As long as it has one with whom it is connected to nobody else need call it; and
 * another may have its port, to whom calls are then, as datagrams are if UDP is the way to its
 * peer.
 */
static void udp_settle(struct sock *sk, struct circuit_udp *u)
{
	struct udp_flow *flow = NULL;
	struct in6_addr peer;
	bool withdraw = false;
	u32 port;

	if (!inet_sk(sk)->inet_num)
		return;
	if (udp_peer(sk, &peer, &port)) {
		flow = flow_find(u, &peer, port);
		withdraw = flow || ((sk->sk_reuse || sk->sk_reuseport) &&
				    circuit_inet_route(sk, &peer, NULL));
	}
	if (!withdraw) {
		udp_publish(sk, u, true);
		return;
	}
	if (flow)
		flow_put(flow);
	/* He may have called as well. */
	if (udp_answer_owned(u))
		sk->sk_data_ready(sk);
	udp_withdraw(u);
}

static void tidy_work(struct work_struct *work)
{
	struct circuit_udp *u = container_of(work, struct circuit_udp, tidy);
	struct sock *sk = u->ep.sk;
	struct hlist_node *next;
	struct udp_flow *flow;
	unsigned int i;

	lock_sock(sk);
	if (has_option(sk)) {
		circuit_ep_unlisten(&u->ep);
		flows_end(u);
	}
	for (i = 0; i < BUCKETS; i++)
		hlist_for_each_entry_safe(flow, next, &u->flows[i], node)
			if ((READ_ONCE(flow->ep.state) == TCP_CLOSE || flow_unwanted(flow)) &&
			    !flow_unread(flow))
				flow_end(flow);
	if (!u->closed && READ_ONCE(sk->sk_state) == TCP_ESTABLISHED)
		udp_settle(sk, u);
	else if (xchg(&u->publish, false))
		udp_publish(sk, u, true);
	release_sock(sk);
}

/* Each by a work of its own: who is at work in one keeps nobody else from being published. */
static void publish_all(struct work_struct *work)
{
	struct circuit_udp *u;

	mutex_lock(&bound_lock);
	list_for_each_entry(u, &bound, node) {
		WRITE_ONCE(u->publish, true);
		queue_work(udp_wq, &u->tidy);
	}
	mutex_unlock(&bound_lock);
}
static DECLARE_WORK(publish_work, publish_all);

/**
 * circuit_udp_line_up - a line has come up: publish the sockets that are bound
 *
 * Context: any.
 */
void circuit_udp_line_up(void)
{
	queue_work(udp_wq, &publish_work);
}

/* --- headers --------------------------------------------------------------------------------- */

/*
 * The headers that a datagram of so many bytes would have over a network, at the end of what @skb
 * has.
 */
static void put_headers(struct sk_buff *skb, const struct in6_addr *src, u32 sport,
			const struct in6_addr *dst, u32 dport, u32 len, bool v4)
{
	struct ipv6hdr *ip6;
	struct udphdr *uh;
	struct iphdr *ip;

	len += sizeof(*uh);
	skb_set_network_header(skb, skb->len);
	if (v4) {
		skb->protocol = htons(ETH_P_IP);
		ip = skb_put_zero(skb, sizeof(*ip));
		ip->version = 4;
		ip->ihl = sizeof(*ip) / 4;
		ip->tot_len = htons(min_t(u32, sizeof(*ip) + len, U16_MAX));
		ip->ttl = IPDEFTTL;
		ip->protocol = IPPROTO_UDP;
		ip->saddr = src->s6_addr32[3];
		ip->daddr = dst->s6_addr32[3];
	} else {
		skb->protocol = htons(ETH_P_IPV6);
		ip6 = skb_put_zero(skb, sizeof(*ip6));
		ip6->version = 6;
		ip6->payload_len = htons(min_t(u32, len, U16_MAX));
		ip6->hop_limit = IPDEFTTL;
		ip6->nexthdr = IPPROTO_UDP;
		ip6->saddr = *src;
		ip6->daddr = *dst;
	}
	skb_set_transport_header(skb, skb->len);
	uh = skb_put_zero(skb, sizeof(*uh));
	uh->source = htons(sport);
	uh->dest = htons(dport);
	uh->len = htons(min_t(u32, len, U16_MAX));
}

/* Of one that was received. */
static struct sk_buff *header_of(const struct sock *sk, const struct circuit *c, bool v4)
{
	int device = circuit_inet_device(sock_net(sk), &c->local);
	struct sk_buff *skb = alloc_skb(sizeof(struct ipv6hdr) + sizeof(struct udphdr), GFP_KERNEL);

	if (!skb)
		return NULL;
	put_headers(skb, &c->remote, c->peer_port, &c->local, c->local_port, 0, v4);
	if (v4) {
		PKTINFO_SKB_CB(skb)->ipi_spec_dst.s_addr = ip_hdr(skb)->daddr;
		PKTINFO_SKB_CB(skb)->ipi_ifindex = device;
	} else {
		IP6CB(skb)->iif = device;
	}
	return skb;
}

/* --- sending --------------------------------------------------------------------------------- */

/*
 * What the socket is told of something that it sends, with the time when that was done: all of it,
 * from the Ethernet header on, unless only the time is wanted. Returns NULL if it is to be told
 * nothing, or an error.
 */
static struct sk_buff *stamp_alloc(struct sock *sk, const struct circuit *c, struct msghdr *msg,
				   u32 len, u32 tsflags)
{
	u32 size = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct udphdr);
	bool whole = !(tsflags & SOF_TIMESTAMPING_OPT_TSONLY);
	struct sk_buff *skb;
	int err;

	if (!(tsflags & SOF_TIMESTAMPING_TX_SOFTWARE))
		return NULL;
	skb = alloc_skb_with_frags(size, whole ? len : 0, PAGE_ALLOC_COSTLY_ORDER, &err, GFP_KERNEL_ACCOUNT);
	if (!skb)
		return ERR_PTR(err);
	skb_shinfo(skb)->tx_flags = SKBTX_SW_TSTAMP;
	skb_reset_mac_header(skb);
	skb_put_zero(skb, ETH_HLEN);
	put_headers(skb, &c->local, c->local_port, &c->remote, c->peer_port, len,
		    ipv6_addr_v4mapped(&c->remote));
	eth_hdr(skb)->h_proto = skb->protocol;
	/* That nothing but the time is wanted may have changed by when it is told. */
	if (!whole)
		return skb;
	skb->data_len = len;
	skb->len += len;
	err = skb_copy_datagram_from_iter(skb, skb_headlen(skb), &msg->msg_iter, len);
	if (err) {
		kfree_skb(skb);
		return ERR_PTR(err);
	}
	iov_iter_revert(&msg->msg_iter, len);
	return skb;
}

/* It was sent just now. */
static void stamp_queue(struct sock *sk, const struct circuit *c, struct sk_buff *skb, u32 key)
{
	int device = circuit_inet_device(sock_net(sk), &c->local);

	skb_shinfo(skb)->tskey = key;
	rcu_read_lock();
	skb->dev = dev_get_by_index_rcu(sock_net(sk), device);
	__skb_tstamp_tx(skb, NULL, NULL, sk, SCM_TSTAMP_SND);
	skb->dev = NULL;
	rcu_read_unlock();
}

/**
 * struct patience - how long a datagram may take to be sent, in jiffies
 * @room: until its far end has read what there is
 * @leave: until the operator lets it go, whose limits are nobody else's doing
 * @fails: if that takes too long it is not lost, but an error
 */
struct patience {
	long	room;
	long	leave;
	bool	fails;
};

/*
 * Put a datagram into a flow's ring, or lose it. Returns 1 if it is there, 0 if not, -EMSGSIZE,
 * -EFAULT, what waiting in vain leads to, or -ENETDOWN if there is no circuit any more.
 */
static int flow_write(struct udp_flow *flow, struct msghdr *msg, u32 len, bool more,
		      struct patience *patience)
{
	struct circuit_ep *ep = &flow->ep;
	struct sock *sk = ep->sk;
	u32 need = circuit_message_bytes(len);
	struct circuit *c;
	int err, room;
	long *timeo;

	for (;;) {
		c = circuit_ep_rings(ep);
		err = c ? circuit_tx_ours(ep, c) : 0;
		if (unlikely(err))
			return err;
		if (unlikely(!c || READ_ONCE(ep->state) != TCP_ESTABLISHED)) {
			if (READ_ONCE(ep->state) != TCP_SYN_SENT)
				return -ENETDOWN;
			iov_iter_advance(&msg->msg_iter, len);
			flow->lost++;
			flow->untold = true;
			return 0;
		}
		/* It has hung up, and the tasklet has not told yet. */
		if (unlikely(!circuit_tx_open(&c->tx))) {
			circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
			return -ENETDOWN;
		}
		if (unlikely(len > c->tx.size - sizeof(struct circuit_message)))
			return -EMSGSIZE;
		if (unlikely(flow->untold))
			WRITE_ONCE(c->tx.prod->lost, flow->lost);
		flow->untold = false;
		room = circuit_tx_may(c, need, need, need);
		if (likely(room > 0)) {
			err = circuit_message_put(c, msg, len);
			if (unlikely(err))
				break;
			circuit_tx_tell(ep, c, circuit_tx_publish(&c->tx, need), more);
			err = circuit_tx_lost(&c->tx, &c->tx.tail);
			if (unlikely(err < 0)) {
				circuit_ep_kill(ep, c);
			} else if (unlikely(err)) {
				circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
				/* Nobody has read it, nor will, so it may go another way. */
				iov_iter_revert(&msg->msg_iter, len);
				return -ENETDOWN;
			}
			patience->fails = false;	/* what follows belongs to it */
			return 1;
		}
		if (room < 0) {
			circuit_ep_kill(ep, c);
			continue;
		}
		err = 0;
		timeo = circuit_tx_space(&c->tx) < (int)need ? &patience->room : &patience->leave;
		if (timeo == &patience->leave && patience->fails &&
		    (!*timeo || signal_pending(current))) {
			err = *timeo ? sock_intr_errno(*timeo) : -EAGAIN;
			break;
		}
		/* Nobody waits for long where an error, or the end of sending, is to be told. */
		if (!*timeo || signal_pending(current) || READ_ONCE(sk->sk_err) ||
		    READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN) {
			WRITE_ONCE(c->tx.prod->lost, ++flow->lost);
			iov_iter_advance(&msg->msg_iter, len);
			break;
		}
		circuit_tx_wait(ep, c, need, need, timeo);
	}
	circuit_tx_told(c);
	return err;
}

/* A batch goes on with another flow, or has ended: tell the far end of the one before. */
static void batch_goes_on(struct circuit_udp *u, struct udp_flow *next)
{
	struct udp_flow *flow;

	if (likely(READ_ONCE(u->batched) == next))
		return;
	if (next)
		refcount_inc(&next->ep.ref);
	flow = xchg(&u->batched, next);
	if (!flow)
		return;
	circuit_ep_lock(&flow->ep);
	if (flow->ep.c)
		circuit_tx_told(flow->ep.c);
	circuit_ep_unlock(&flow->ep);
	flow_put(flow);
}

/* Send what is one datagram, or several if they are of @segment bytes each. */
static int flow_send(struct udp_flow *flow, struct msghdr *msg, u32 len, u32 segment, u32 tsflags)
{
	struct circuit_ep *ep = &flow->ep;
	struct sock *sk = ep->sk;
	struct sk_buff *stamp = NULL;
	u32 left = len, sent = 0, key = 0, n;
	bool counts = false;
	struct patience patience = {};
	int err;

	if (sk->sk_state == TCP_ESTABLISHED) {
		patience.leave = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
		patience.room = min_t(long, patience.leave, PATIENCE);
		patience.fails = patience.leave;
	}
	if (!segment || segment > len)
		segment = len;
	WRITE_ONCE(flow->used, jiffies);
	if (unlikely(!READ_ONCE(flow->answered)))
		WRITE_ONCE(flow->answered, true);
	mutex_lock(&ep->tx_mutex);
	if (unlikely(tsflags && ep->c)) {
		stamp = stamp_alloc(sk, ep->c, msg, len, tsflags);
		if (IS_ERR(stamp)) {
			mutex_unlock(&ep->tx_mutex);
			return PTR_ERR(stamp);
		}
	}
	/* What is lost has a number, as what has failed has not. */
	if (unlikely(tsflags & SOF_TIMESTAMPING_TX_RECORD_MASK)) {
		counts = tsflags & SOF_TIMESTAMPING_OPT_ID;
		if (counts)
			key = atomic_inc_return(&sk->sk_tskey) - 1;
	}
	do {
		n = min(left, segment);
		left -= n;
		err = flow_write(flow, msg, n, left || msg->msg_flags & MSG_BATCH, &patience);
		sent += err > 0;
	} while (err >= 0 && left);
	/* It may have waited for room; the circuit is another then, if there is one. */
	if (unlikely(stamp && sent && ep->c))
		stamp_queue(sk, ep->c, stamp, key);
	if (unlikely(counts && err < 0 && !sent))
		atomic_dec(&sk->sk_tskey);
	mutex_unlock(&ep->tx_mutex);
	kfree_skb(stamp);
	batch_goes_on(flow->u, msg->msg_flags & MSG_BATCH ? flow : NULL);
	return min(err, 0);
}

/**
 * struct udp_control - what ancillary data says of a datagram to be sent
 * @segment: UDP_SEGMENT
 * @src: the address that it is to come from
 * @has_src: it is to
 * @device: the interface that it is to go out by, 0 if it does not matter
 * @tsflags: SOF_TIMESTAMPING_*
 */
struct udp_control {
	u32		segment;
	u32		tsflags;
	struct in6_addr	src;
	bool		has_src;
	int		device;
};

/* Returns false for what has to be left to UDP, be it only to say what is wrong with it. */
static bool udp_control(const struct sock *sk, struct msghdr *msg, struct udp_control *ctl)
{
	struct cmsghdr *cmsg;
	void *data;
	size_t len;

	for_each_cmsghdr(cmsg, msg) {
		if (!CMSG_OK(msg, cmsg))
			return false;
		data = CMSG_DATA(cmsg);
		len = cmsg->cmsg_len - sizeof(*cmsg);
		if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_SEGMENT &&
		    len == sizeof(u16)) {
			ctl->segment = *(u16 *)data;
		} else if (cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_PKTINFO &&
			   len == sizeof(struct in_pktinfo)) {
			ctl->device = ((struct in_pktinfo *)data)->ipi_ifindex;
			ctl->has_src = ((struct in_pktinfo *)data)->ipi_spec_dst.s_addr;
			ipv6_addr_set_v4mapped(((struct in_pktinfo *)data)->ipi_spec_dst.s_addr,
					       &ctl->src);
		} else if (cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO &&
			   len == sizeof(struct in6_pktinfo) && sk->sk_family == AF_INET6) {
			ctl->device = ((struct in6_pktinfo *)data)->ipi6_ifindex;
			ctl->src = ((struct in6_pktinfo *)data)->ipi6_addr;
			ctl->has_src = !ipv6_addr_any(&ctl->src);
		} else if (cmsg->cmsg_level == SOL_SOCKET && len == sizeof(u32) &&
			   (cmsg->cmsg_type == SO_TIMESTAMPING_OLD ||
			    cmsg->cmsg_type == SO_TIMESTAMPING_NEW) &&
			   !(*(u32 *)data & ~(TIMESTAMPS & SOF_TIMESTAMPING_TX_RECORD_MASK))) {
			ctl->tsflags &= ~SOF_TIMESTAMPING_TX_RECORD_MASK;
			ctl->tsflags |= *(u32 *)data;
		} else if (!(cmsg->cmsg_level == SOL_IP && (cmsg->cmsg_type == IP_TOS ||
							    cmsg->cmsg_type == IP_TTL)) &&
			   !(cmsg->cmsg_level == SOL_IPV6 && (cmsg->cmsg_type == IPV6_TCLASS ||
							      cmsg->cmsg_type == IPV6_HOPLIMIT))) {
			return false;
		}
	}
	return true;
}

/* Returns what sendmsg() does, or NOT_OURS; or -ENETDOWN if there is no circuit any more. */
static int udp_send(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct circuit_udp *u = udp_of(sk);
	struct udp_control ctl = {
		.segment = READ_ONCE(udp_sk(sk)->gso_size),
		.tsflags = READ_ONCE(sk->sk_tsflags),
	};
	struct udp_flow *flow = NULL;
	struct in6_addr dst;
	struct circuit *c;
	bool refused, other;
	u32 port;
	int err;

	if (msg->msg_flags & (MSG_OOB | MSG_MORE | MSG_DONTROUTE | MSG_ZEROCOPY) ||
	    READ_ONCE(udp_sk(sk)->pending) || udp_test_bit(CORK, sk) || has_option(sk))
		return NOT_OURS;
	if (msg->msg_name ? !circuit_inet_parse(sk, msg->msg_name, msg->msg_namelen, &dst, &port) :
			    !udp_peer(sk, &dst, &port))
		return NOT_OURS;
	if (len > (ipv6_addr_v4mapped(&dst) ? MAX4 : MAX6))
		return -EMSGSIZE;
	if (u) {
		flow = flow_find(u, &dst, port);
		if (!flow && is_native(u, &dst, port, &refused)) {
			if (!refused)
				return NOT_OURS;
			udp_unreachable(sk, &dst, port, ECONNREFUSED);
			return len;
		}
		err = sock_error(sk);
		if (!err && READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			err = -EPIPE;
		if (err)
			goto put;
	}
	if (!flow) {
		err = udp_open(sock, &dst, port, true, &flow);
		if (err == -ECONNREFUSED) {
			udp_unreachable(sk, &dst, port, ECONNREFUSED);
			return len;
		}
		if (!flow)
			return err ?: NOT_OURS;
	}
	err = NOT_OURS;
	if (unlikely(msg->msg_controllen && !udp_control(sk, msg, &ctl)))
		goto put;
	if (unlikely(ctl.segment && DIV_ROUND_UP(len, ctl.segment) > UDP_MAX_SEGMENTS)) {
		err = -EINVAL;
		goto put;
	}
	if (unlikely(ctl.has_src || ctl.device)) {
		rcu_read_lock();
		c = READ_ONCE(flow->ep.c);
		other = c && ((ctl.has_src && !ipv6_addr_equal(&ctl.src, &c->local)) ||
			      (ctl.device && ctl.device != circuit_inet_device(sock_net(sk), &c->local)));
		rcu_read_unlock();
		if (other)
			goto put;
	}
	err = flow_send(flow, msg, len, ctl.segment, ctl.tsflags) ?: len;
put:
	if (flow)
		flow_put(flow);
	return err;
}

static int circuit_udp_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct circuit_udp *u;
	int ret;

	__module_get(THIS_MODULE);
	ret = udp_send(sock, msg, len);
	/* The far end is gone: perhaps it is back. What has begun to go there is lost. */
	if (unlikely(ret == -ENETDOWN && msg_data_left(msg) == len))
		ret = udp_send(sock, msg, len);
	if (unlikely(ret == -ENETDOWN))
		ret = msg_data_left(msg) == len ? NOT_OURS : len;
	if (ret == NOT_OURS)
		ret = family_of(sock)->udp_ops->sendmsg(sock, msg, len);
	/* It may have been given another port, having been connected before. */
	u = udp_of(sk);
	if (unlikely(u && READ_ONCE(u->port) != READ_ONCE(inet_sk(sk)->inet_num))) {
		lock_sock(sk);
		udp_publish(sk, u, true);
		release_sock(sk);
	}
	module_put(THIS_MODULE);
	return ret;
}

/* --- receiving ------------------------------------------------------------------------------- */

/*
 * The far end has broken the ring's rules: nothing of what it has written counts. rx_mutex is held.
 */
static void flow_break(struct udp_flow *flow, struct circuit *c)
{
	flow->broken = true;
	circuit_ep_kill(&flow->ep, c);
	flow_tidy(flow);	/* it may have ended before that */
}

/*
 * Look for something to read in a flow, whose rx_mutex is held, and have it in @ready no more; if
 * there is nothing, the tasklet tells. Returns how much may be read, 0 if there is nothing.
 */
static u32 flow_look(struct udp_flow *flow, struct circuit **ret)
{
	struct circuit_ep *ep = &flow->ep;
	struct circuit_udp *u = flow->u;
	struct circuit *c;
	int avail, flags = 0;
	bool held;

	spin_lock_bh(&u->lock);
	list_del_init(&flow->ready);
	spin_unlock_bh(&u->lock);
	c = circuit_ep_rings(ep);
	*ret = c;
	if (!c || flow->broken || circuit_rx_ours(ep, c))
		return 0;
	flow_count(flow, c);
	for (;;) {
		avail = circuit_rx_avail(&c->rx);
		if (unlikely(avail < 0)) {
			flow_break(flow, c);
			return 0;
		}
		if (unlikely(avail && flow_unwanted(flow))) {
			avail = flow_before(flow, c, avail);
			if (!avail) {
				flow_tidy(flow);
				return 0;
			}
		}
		if (avail) {
			avail = circuit_rx_may(c, avail, &flags, &held);
			if (avail >= (int)circuit_message_want(c))
				return avail;
			if (!held && smp_load_acquire(&c->ended)) {
				flow->broken = true;
				flow_tidy(flow);
			}
			break;		/* flow_moved() comes when more is allowed */
		}
		if (READ_ONCE(ep->state) != TCP_ESTABLISHED) {
			flow_tidy(flow);
			break;
		}
		if (!circuit_rx_rearm(c, 0))
			break;
		if (circuit_rx_avail(&c->rx))
			continue;
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		break;
	}
	return 0;
}

/* Is there anything that UDP has to say? */
static bool native_pending(struct sock *sk)
{
	return READ_ONCE(sk->sk_err) || !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
	       !skb_queue_empty_lockless(&udp_sk(sk)->reader_queue);
}

/*
 * Whoever is heard by a circuit may have been heard by UDP before: that comes first. It is over
 * when UDP has nothing left, or has had its share. u->lock is held.
 */
static bool flow_comes_later(struct udp_flow *flow)
{
	if (likely(flow->settled))
		return false;
	flow->settled = !native_pending(flow->ep.sk) ||
			READ_ONCE(flow->u->received) - flow->received >= NATIVE_FIRST;
	return !flow->settled;
}

/* Returns the next flow to look into, referenced, or NULL. */
static struct udp_flow *udp_ready(struct circuit_udp *u)
{
	struct udp_flow *flow, *found = NULL;

	if (list_empty_careful(&u->ready))
		return NULL;
	spin_lock_bh(&u->lock);
	list_for_each_entry(flow, &u->ready, ready)
		if (!flow_comes_later(flow)) {
			refcount_inc(&flow->ep.ref);
			found = flow;
			break;
		}
	spin_unlock_bh(&u->lock);
	return found;
}

static bool wants_control(const struct sock *sk)
{
	if (sock_flag(sk, SOCK_RXQ_OVFL) || sock_flag(sk, SOCK_RCVTSTAMP) ||
	    READ_ONCE(sk->sk_tsflags) & SOF_TIMESTAMPING_RX_SOFTWARE ||
	    compat_inet_cmsg_flags(inet_sk(sk)))
		return true;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6 && READ_ONCE(inet6_sk(sk)->rxopt.all))
		return true;
#endif
	return false;
}

/* What the socket wants to be told of a datagram it is told by those who tell it of others. */
static void tell_control(struct udp_flow *flow, struct circuit *c, struct msghdr *msg)
{
	struct sock *sk = flow->ep.sk;
	struct sk_buff *skb;

	if (compat_inet_cmsg_flags(inet_sk(sk)) && ipv6_addr_v4mapped(&c->remote)) {
		skb = header_of(sk, c, true);
		if (skb)
			ip_cmsg_recv_offset(msg, sk, skb, sizeof(struct udphdr), 0);
		kfree_skb(skb);
	}
	skb = header_of(sk, c, false);
	if (!skb)
		return;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6)
		ip6_datagram_recv_ctl(sk, msg, skb);
#endif
	if (sock_flag(sk, SOCK_RCVTSTAMP) ||
	    READ_ONCE(sk->sk_tsflags) & SOF_TIMESTAMPING_RX_SOFTWARE)
		skb->tstamp = ktime_get_real();
	SOCK_SKB_CB(skb)->dropcount = atomic64_read(&flow->u->lost) + compat_sk_drops(sk);
	sock_recv_cmsgs(msg, sk, skb);
	kfree_skb(skb);
}

/*
 * The socket wants datagrams that belong together to be received as one (UDP_GRO): those of a flow
 * that follow each other and are of the same length, but for the last. Returns the length of all;
 * @size is that of the first.
 */
static u32 flow_coalesce(struct circuit *c, struct msghdr *msg, size_t len, u32 size, int flags,
			 u32 may)
{
	u32 most = min_t(size_t, len, min_t(size_t, U16_MAX, (size_t)size * UDP_MAX_SEGMENTS));
	int segment = size;
	u32 more;

	/* Nor is anything coalesced with what is empty, or was cut short. */
	if (!size || size >= most)
		return size;
	more = circuit_message_take_more(c, msg, size, most - size, flags, may);
	if (more)
		put_cmsg(msg, SOL_UDP, UDP_GRO, sizeof(segment), &segment);
	return size + more;
}

/*
 * Others may have looked while the flow was not in @ready, and sleep beside what is left in it. Who
 * has just peeked tells only those who wait to read: for others nothing is new.
 */
static void udp_pass_on(struct sock *sk, const struct circuit *c, bool peek)
{
	struct socket_wq *wq;

	if (c->rx.tail == c->rx.head)
		return;
	if (!peek) {
		sk->sk_data_ready(sk);
		return;
	}
	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLMSG);
	rcu_read_unlock();
}

/* Receive what has come by a circuit; -EAGAIN if nothing has. */
static int udp_take(struct circuit_udp *u, struct msghdr *msg, size_t len, int flags)
{
	struct udp_flow *flow;
	struct circuit *c;
	u32 may, want;
	int ret;

	udp_answer(u);
	while ((flow = udp_ready(u))) {
		ret = -EAGAIN;
		mutex_lock(&flow->ep.rx_mutex);
		may = flow_look(flow, &c);
		if (likely(may)) {
			ret = circuit_message_take(c, msg, len, flags, may, &want);
			if (unlikely(ret == -EPROTO || ret == -EBUSY)) {
				flow_break(flow, c);
				ret = -EAGAIN;
			} else {
				/* Whose memory is bad has lost the datagram. */
				if (unlikely(ret == -EFAULT && !(flags & MSG_PEEK)))
					circuit_message_take(c, msg, 0, 0, may, &want);
				/*
				 * There may be more: those that have waited for longer are first.
				 */
				flow_is_ready(flow, flags & MSG_PEEK);
				WRITE_ONCE(flow->used, jiffies);
			}
		}
		if (likely(ret >= 0)) {
			if (msg->msg_name)
				msg->msg_namelen = circuit_inet_name(flow->ep.sk, msg->msg_name,
								     &flow->remote, flow->port);
			msg->msg_flags &= ~MSG_EOR;
			if (unlikely(wants_control(flow->ep.sk)))
				tell_control(flow, c, msg);
			if (unlikely(udp_test_bit(GRO_ENABLED, flow->ep.sk)))
				ret = flow_coalesce(c, msg, len, ret, flags, may);
			circuit_rx_rewatch(&flow->ep);
			WRITE_ONCE(u->drained, c->rx.tail == c->rx.head);
		}
		if (likely(ret != -EAGAIN))
			udp_pass_on(flow->ep.sk, c, flags & MSG_PEEK);
		mutex_unlock(&flow->ep.rx_mutex);
		flow_put(flow);
		if (ret != -EAGAIN)
			return ret;
		cond_resched();
	}
	return -EAGAIN;
}

/* Receive what UDP has. An answer goes the way the question came. */
static int native_take(struct circuit_udp *u, struct socket *sock, struct msghdr *msg, size_t len,
		       int flags)
{
	struct in6_addr addr;
	u32 port;
	int ret;

	if (!native_pending(sock->sk))
		return -EAGAIN;
	ret = family_of(sock)->udp_ops->recvmsg(sock, msg, len, flags | MSG_DONTWAIT);
	if (ret >= 0 && !(flags & MSG_PEEK))
		WRITE_ONCE(u->received, READ_ONCE(u->received) + 1);
	if (ret >= 0 && msg->msg_name &&
	    circuit_inet_parse(sock->sk, msg->msg_name, msg->msg_namelen, &addr, &port))
		set_native(u, &addr, port, false);
	return ret;
}

/* Receive from either, in turn; but what was looked at first. */
static int either_take(struct circuit_udp *u, struct socket *sock, struct msghdr *msg, size_t len,
		       int flags)
{
	bool circuits = u->peeked == UDP_ANY ? u->turn : u->peeked == UDP_CIRCUIT;
	bool mapped = udp_is_mapped(u);
	int i, ret = -EAGAIN;

	/* Once more, if a flow has waited for what UDP had, and another reader has taken that. */
	for (i = 0; i < 3 && ret == -EAGAIN; i++, circuits = !circuits)
		ret = circuits ? udp_take(u, msg, len, flags) :
				 native_take(u, sock, msg, len, flags);
	if (ret == -EAGAIN)
		return mapped ? -EBUSY : ret;
	/* @circuits is what it was not, by now. */
	WRITE_ONCE(u->turn, circuits);
	WRITE_ONCE(u->peeked, !(flags & MSG_PEEK) ? UDP_ANY : circuits ? UDP_NATIVE : UDP_CIRCUIT);
	return ret;
}

/* Is there something else to do than to wait for the only flow that may have something? */
static bool udp_spin_over(struct circuit_ep *ep)
{
	struct udp_flow *flow = container_of(ep, struct udp_flow, ep);
	struct circuit_udp *u = flow->u;

	return READ_ONCE(u->ready.next) != &flow->ready ||
	       READ_ONCE(u->ready.prev) != &flow->ready || native_pending(ep->sk) ||
	       READ_ONCE(ep->state) != TCP_ESTABLISHED;
}

/*
 * Who has just read all that a flow had waits for more for a moment, without going to sleep, and
 * without asking to be told; unless others read as well. Returns that flow, referenced; NULL if
 * there is something to read, or more than one to look into.
 */
static struct udp_flow *udp_spin(struct circuit_udp *u)
{
	struct udp_flow *flow;
	struct circuit *c;

	udp_answer(u);
	flow = udp_ready(u);
	if (!flow)
		return NULL;
	if (!mutex_trylock(&flow->ep.rx_mutex))
		goto put;
	c = circuit_ep_rings(&flow->ep);
	if (c && !c->rx_mapped && !udp_spin_over(&flow->ep) && !circuit_rx_avail(&c->rx) &&
	    circuit_rx_allowed(c)) {
		circuit_rx_spin(&flow->ep, c, udp_spin_over);
		mutex_unlock(&flow->ep.rx_mutex);
		return flow;
	}
	mutex_unlock(&flow->ep.rx_mutex);
put:
	flow_put(flow);
	return NULL;
}

/* It was in vain, and something came @ns later. */
static void udp_slept(struct udp_flow *flow, u64 ns)
{
	struct circuit *c;

	if (!mutex_trylock(&flow->ep.rx_mutex))
		return;
	c = circuit_ep_rings(&flow->ep);
	if (c)
		circuit_rx_slept(&flow->ep, c, ns);
	mutex_unlock(&flow->ep.rx_mutex);
}

/*
 * The socket has been given an option since it could be called: it can be no more, and has no
 * flows.
 */
static void udp_has_option(struct circuit_udp *u)
{
	if (READ_ONCE(u->nr) || READ_ONCE(u->ep.lst))
		queue_work(udp_wq, &u->tidy);
}

static int circuit_udp_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct sock *sk = sock->sk;
	struct circuit_udp *u = udp_of(sk);
	struct udp_flow *spun = NULL;
	u64 start;
	long timeo;
	int ret;

	if (!u || flags & (MSG_ERRQUEUE | MSG_OOB))
		return UDPS(sock, recvmsg, sock, msg, len, flags);
	if (has_option(sk)) {
		udp_has_option(u);
		return UDPS(sock, recvmsg, sock, msg, len, flags);
	}
	__module_get(THIS_MODULE);
	timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	if (timeo && READ_ONCE(u->drained))
		spun = udp_spin(u);
	ret = either_take(u, sock, msg, len, flags);
	if (ret != -EAGAIN || !timeo)
		goto out;
	start = local_clock();
	add_wait_queue(sk_sleep(sk), &wait);
	smp_mb();	/* pairs with that in skwq_has_sleeper() */
	for (;;) {
		ret = either_take(u, sock, msg, len, flags);
		if (ret != -EAGAIN || !timeo)
			break;
		ret = 0;
		if (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN)
			break;
		ret = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	if (spun)
		udp_slept(spun, local_clock() - start);
out:
	if (spun)
		flow_put(spun);
	module_put(THIS_MODULE);
	return ret;
}

/*
 * Returns the flow that would be read next, referenced, or NULL; @len is how long the datagram is.
 */
static bool udp_readable(struct circuit_udp *u, u32 *len)
{
	struct udp_flow *flow;
	struct circuit *c;
	u32 may;

	udp_answer(u);
	while ((flow = udp_ready(u))) {
		mutex_lock(&flow->ep.rx_mutex);
		may = flow_look(flow, &c);
		if (may) {
			flow_is_ready(flow, true);
			/* Whoever waits for edges is told of each arrival. */
			circuit_rx_rearm(c, c->rx.tail - c->rx.head);
		}
		mutex_unlock(&flow->ep.rx_mutex);
		if (may && len)
			*len = circuit_message_next(&flow->ep);
		flow_put(flow);
		if (may)
			return true;
		cond_resched();
	}
	return false;
}

/*
 * What poll() says of a circuit that a process has mapped, which may be lost meanwhile: that is to
 * be noticed.
 */
static __poll_t mapped_poll(struct udp_flow *flow)
{
	struct circuit_ep *ep = &flow->ep;
	__poll_t mask = EPOLLIN | EPOLLRDNORM;
	struct circuit *c;

	mutex_lock(&ep->rx_mutex);
	c = circuit_ep_rings(ep);
	if (c && circuit_rx_ours(ep, c) && !circuit_map_readable(c) &&
	    READ_ONCE(ep->state) == TCP_ESTABLISHED)
		mask = 0;
	mutex_unlock(&ep->rx_mutex);
	mutex_lock(&ep->tx_mutex);
	c = circuit_ep_rings(ep);
	if (!c || !circuit_tx_ours(ep, c) || circuit_map_writable(c))
		mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	mutex_unlock(&ep->tx_mutex);
	return mask;
}

static __poll_t circuit_udp_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	__poll_t mask = UDPS(sock, poll, file, sock, wait);
	struct circuit_udp *u = udp_of(sock->sk);
	struct udp_flow *flow;

	if (!u)
		return mask;
	if (has_option(sock->sk))
		udp_has_option(u);
	else if (udp_readable(u, NULL))
		mask |= EPOLLIN | EPOLLRDNORM;
	flow = udp_mapped(u);
	if (unlikely(flow)) {
		mask &= ~(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
		mask |= mapped_poll(flow);
		flow_put(flow);
	}
	return mask;
}

/* The flow with whom the socket is connected to, referenced, or NULL. */
static struct udp_flow *udp_connected(struct circuit_udp *u, const struct sock *sk)
{
	struct in6_addr peer;
	u32 port;

	return u && udp_peer(sk, &peer, &port) ? flow_find(u, &peer, port) : NULL;
}

/* mmap_lock is held: not one to wait for anybody. */
static bool flow_is_mapped(struct udp_flow *flow)
{
	struct circuit *c;
	bool ret = true;

	if (mutex_trylock(&flow->ep.rx_mutex)) {
		c = circuit_ep_rings(&flow->ep);
		ret = c && circuit_map_state(c) == CIRCUIT_MAPPED;
		mutex_unlock(&flow->ep.rx_mutex);
	}
	return ret;
}

/* One circuit of a socket's at a time, that with whom it is connected to. */
static int circuit_udp_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma)
{
	struct circuit_udp *u = udp_of(sock->sk);
	struct udp_flow *flow = udp_connected(u, sock->sk), *old;
	int err = -EBUSY;

	if (!flow)
		return -ENOTCONN;
	mutex_lock(&u->map_mutex);
	old = udp_mapped(u);
	if (!old || old == flow || !flow_is_mapped(old))
		err = circuit_map(&flow->ep, vma, file);
	if (!err)
		udp_set_mapped(u, flow);
	if (old)
		flow_put(old);
	mutex_unlock(&u->map_mutex);
	/* Who has looked before it was set has not seen it. */
	if (!err)
		sock->sk->sk_state_change(sock->sk);
	flow_put(flow);
	return err;
}

static int circuit_udp_getsockopt(struct socket *sock, int level, int optname, char __user *optval,
				  int __user *optlen)
{
	struct udp_flow *flow;
	int ret;

	if (level != SOL_CIRCUIT)
		return UDPS(sock, getsockopt, sock, level, optname, optval, optlen);
	flow = udp_connected(udp_of(sock->sk), sock->sk);
	if (!flow)
		return -ENOTCONN;
	ret = circuit_ep_getsockopt(&flow->ep, optname, optval, optlen);
	flow_put(flow);
	return ret;
}

static int circuit_udp_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct circuit_udp *u = udp_of(sock->sk);
	struct udp_flow *flow;
	u32 len;
	int err;

	if (cmd == SIOCCIRCUITKICK) {
		flow = u ? udp_mapped(u) : NULL;
		if (!flow)
			return -ENOTCONN;
		err = circuit_map_kick(&flow->ep);
		if (err == -ENOTCONN && !READ_ONCE(flow->ep.c))
			err = -ESTALE;		/* the flow has ended */
		flow_put(flow);
		return err;
	}
	if (cmd == SIOCINQ && u && !native_pending(sock->sk) && udp_readable(u, &len))
		return put_user(len, (int __user *)arg);
	return UDPS(sock, ioctl, sock, cmd, arg);
}

#ifdef CONFIG_COMPAT
static int circuit_udp_compat_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	if (cmd == SIOCCIRCUITKICK)
		return circuit_udp_ioctl(sock, cmd, arg);
	return UDPS(sock, compat_ioctl, sock, cmd, arg);
}
#endif

/* --- the rest -------------------------------------------------------------------------------- */

static int circuit_udp_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct circuit_udp *u;

	if (!sk)
		return 0;
	u = udp_of(sk);
	if (u) {
		lock_sock(sk);
		udp_close(u);
		release_sock(sk);
		cancel_work_sync(&u->tidy);
		rhashtable_remove_fast(&udps, &u->hash, udps_params);
		circuit_ep_put(&u->ep);
	}
	/* The caller puts the module, by the ops that were there before this. */
	return family_of(sock)->udp_ops->release(sock);
}

static int circuit_udp_bind(struct socket *sock, struct compat_sockaddr *uaddr, int len)
{
	struct udp_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_udp *u;
	int err;

	__module_get(THIS_MODULE);
	err = f->udp_ops->bind(sock, uaddr, len);
	if (err)
		goto out;
	lock_sock(sk);
	if (READ_ONCE(sock->ops) == &f->ops && inet_sk(sk)->inet_num) {
		u = udp_attach(sk);
		if (u)
			udp_publish(sk, u, true);
	}
	release_sock(sk);
out:
	module_put(THIS_MODULE);
	return err;
}

/*
 * The socket is connected to somebody to whom UDP has no way, or another than the operator: by a
 * circuit if there is one, whose address is the socket's then, if it was bound to @none. It is
 * owned.
 */
static void udp_set_peer(struct sock *sk, const struct in6_addr *dst, u32 port,
			 const struct circuit *c, bool none)
{
	struct inet_sock *inet = inet_sk(sk);
	struct in6_addr own = circuit_inet_bound(sk);

	inet->inet_dport = htons(port);
	if (ipv6_addr_v4mapped(dst))
		inet->inet_daddr = dst->s6_addr32[3];
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6)
		sk->sk_v6_daddr = *dst;
#endif
	if (c && none && !ipv6_addr_equal(&own, &c->local)) {
		if (ipv6_addr_v4mapped(&c->local)) {
			inet->inet_saddr = c->local.s6_addr32[3];
			inet->inet_rcv_saddr = c->local.s6_addr32[3];
		}
#if IS_ENABLED(CONFIG_IPV6)
		if (sk->sk_family == AF_INET6) {
			inet6_sk(sk)->saddr = c->local;
			sk->sk_v6_rcv_saddr = c->local;
		}
#endif
		if (sk->sk_prot->rehash)
			sk->sk_prot->rehash(sk);
	}
	sk->sk_state = TCP_ESTABLISHED;
}

/*
 * The socket, which is owned, is to be connected, or was: what comes now from others is not for it
 * any more.
 */
static void flows_mark(struct circuit_udp *u)
{
	struct udp_flow *flow;
	struct circuit *c;
	unsigned int i;
	int avail;

	for (i = 0; i < BUCKETS; i++)
		hlist_for_each_entry(flow, &u->flows[i], node) {
			mutex_lock(&flow->ep.rx_mutex);
			c = circuit_ep_rings(&flow->ep);
			/* No more than there may be in the ring, whatever the far end says. */
			avail = c && !c->rx_mapped ? circuit_rx_avail(&c->rx) : 0;
			if (c)
				flow->until = c->rx.head + max(avail, 0);
			mutex_unlock(&flow->ep.rx_mutex);
			if (avail > 0)
				flow_is_ready(flow, false);
		}
}

/*
 * As udp_open(), before UDP chooses the address that the socket is at: the operator may choose
 * another.
 */
static int udp_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len, int flags,
		       const struct in6_addr *dst, u32 port)
{
	struct sock *sk = sock->sk;
	struct in6_addr own = circuit_inet_bound(sk);
	struct circuit_udp *u;
	struct udp_flow *flow;
	bool no_way;
	int ret, err;

	err = udp_open(sock, dst, port, false, &flow);
	if (err && err != -ECONNREFUSED)
		return err;
	/* Who looks between that and the end of this finds what has come before. */
	u = udp_of(sk);
	if (u) {
		lock_sock(sk);
		flows_mark(u);
		release_sock(sk);
	}
	ret = family_of(sock)->udp_ops->connect(sock, uaddr, len, flags);
	no_way = ret == -ENETUNREACH || ret == -EHOSTUNREACH;
	/* Where nobody listens connect() succeeds, if there is a way there. */
	if ((!ret && flow) || (no_way && (flow || err))) {
		lock_sock(sk);
		udp_set_peer(sk, dst, port, flow ? READ_ONCE(flow->ep.c) : NULL,
			     circuit_inet_is_any(&own));
		release_sock(sk);
		ret = 0;
	}
	u = udp_of(sk);
	if (!ret && u) {
		lock_sock(sk);
		flows_mark(u);
		udp_settle(sk, u);
		release_sock(sk);
		sk->sk_data_ready(sk);	/* somebody may have looked before it was marked */
	}
	if (flow)
		flow_put(flow);
	return ret;
}

static int circuit_udp_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len,
			       int flags)
{
	const struct sockaddr *addr = (const struct sockaddr *)uaddr;
	struct sock *sk = sock->sk;
	struct circuit_udp *u;
	struct in6_addr dst;
	u32 port;
	int ret;

	if (len < (int)sizeof(addr->sa_family))
		return -EINVAL;
	__module_get(THIS_MODULE);
	if (circuit_inet_parse(sk, addr, len, &dst, &port)) {
		ret = udp_connect(sock, uaddr, len, flags, &dst, port);
	} else {
		ret = family_of(sock)->udp_ops->connect(sock, uaddr, len, flags);
		u = udp_of(sk);
		if (!ret && u) {
			lock_sock(sk);
			udp_forget(u, inet_sk(sk)->inet_num);
			udp_settle(sk, u);
			release_sock(sk);
		}
	}
	module_put(THIS_MODULE);
	return ret;
}

/* Options that make a UDP socket something else. */
static bool option_is_udps(int level, int optname)
{
	return (level == SOL_UDP && optname == UDP_ENCAP) ||
	       (level == SOL_IPV6 && optname == IPV6_ADDRFORM);
}

static int circuit_udp_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
				  unsigned int optlen)
{
	struct udp_family *f = family_of(sock);
	struct circuit_udp *u;
	int err = 0;

	__module_get(THIS_MODULE);
	if (option_is_udps(level, optname)) {
		lock_sock(sock->sk);
		u = udp_of(sock->sk);
		/*
		 * Who could have circuits keeps our methods, and can be of another family no more.
		 */
		if (u && optname == IPV6_ADDRFORM)
			err = -EOPNOTSUPP;
		else if (u)
			udp_close(u);
		else if (READ_ONCE(sock->ops) == &f->ops) {
			circuit_path_native(sock, CIRCUIT_REASON_OPTION);
			set_udp_ops(sock, f);
		}
		release_sock(sock->sk);
	}
	if (!err)
		err = f->udp_ops->setsockopt(sock, level, optname, optval, optlen);
	module_put(THIS_MODULE);
	return err;
}

/* --- registration ---------------------------------------------------------------------------- */

/* A socket is made by UDP, under our number; from then on it is UDP's as well. */
static int udp_init_family(struct sock *sk, struct udp_family *f)
{
	sk->sk_protocol = IPPROTO_UDP;
	sk->sk_prot_creator = f->udp_prot;
	WRITE_ONCE(sk->sk_prot, f->udp_prot);
	return f->udp_prot->init(sk);
}

static int init_sock4(struct sock *sk)
{
	return udp_init_family(sk, &families[0]);
}

static int init_sock6(struct sock *sk)
{
	return udp_init_family(sk, &families[1]);
}

/* Not all of UDP's methods are exported: a socket has them. */
static int family_learn(struct udp_family *f, int family, int (*init)(struct sock *sk))
{
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, family, SOCK_DGRAM, IPPROTO_UDP, &sock);
	if (err)
		return err;
	f->udp_ops = sock->ops;
	f->udp_prot = sock->sk->sk_prot;
	sock_release(sock);

	f->prot = *f->udp_prot;
	f->prot.init = init;
	f->ops = *f->udp_ops;
	f->ops.owner = THIS_MODULE;
	f->ops.release = circuit_udp_release;
	f->ops.bind = circuit_udp_bind;
	f->ops.connect = circuit_udp_connect;
	f->ops.poll = circuit_udp_poll;
	f->ops.ioctl = circuit_udp_ioctl;
#ifdef CONFIG_COMPAT
	if (f->ops.compat_ioctl)
		f->ops.compat_ioctl = circuit_udp_compat_ioctl;
#endif
	f->ops.setsockopt = circuit_udp_setsockopt;
	f->ops.getsockopt = circuit_udp_getsockopt;
	f->ops.mmap = circuit_udp_mmap;
	f->ops.sendmsg = circuit_udp_sendmsg;
	f->ops.recvmsg = circuit_udp_recvmsg;
	f->protosw.type = SOCK_DGRAM;
	f->protosw.protocol = IPPROTO_CIRCUIT;
	f->protosw.prot = &f->prot;
	f->protosw.ops = &f->ops;
	return 0;
}

/**
 * circuit_udp_init - learn from UDP what sockets are like
 *
 * Return: 0 or a negative errno. A machine without IPv6 has none of it here either.
 */
int circuit_udp_init(void)
{
	int err;

	BUILD_BUG_ON(offsetof(struct udp_flow, ep) || offsetof(struct circuit_udp, ep));
	err = rhashtable_init(&udps, &udps_params);
	if (err)
		return err;
	err = -ENOMEM;
	udp_wq = alloc_workqueue("circuit_udp", WQ_UNBOUND, 0);
	if (!udp_wq)
		goto table;
	err = family_learn(&families[0], AF_INET, init_sock4);
	if (err)
		goto wq;
	err = family_learn(&families[1], AF_INET6, init_sock6);
	if (err)
		families[1].udp_ops = NULL;
	if (err == -ENOMEM)
		goto wq;
	return 0;
wq:
	destroy_workqueue(udp_wq);
table:
	rhashtable_destroy(&udps);
	return err;
}

/**
 * circuit_udp_exit - undo circuit_udp_init()
 */
void circuit_udp_exit(void)
{
	destroy_workqueue(udp_wq);
	rhashtable_destroy(&udps);
}

/**
 * circuit_udp_register - register the protocol with both families
 */
void circuit_udp_register(void)
{
	int err;

	inet_register_protosw(&families[0].protosw);
	if (!families[1].udp_ops)
		return;
	err = inet6_register_protosw(&families[1].protosw);
	if (err) {
		pr_warn("circuit: no circuits for UDP over IPv6 (%d)\n", err);
		families[1].udp_ops = NULL;
	}
}

/**
 * circuit_udp_unregister - undo circuit_udp_register(); no socket has our methods any more
 */
void circuit_udp_unregister(void)
{
	if (families[1].udp_ops)
		inet6_unregister_protosw(&families[1].protosw);
	inet_unregister_protosw(&families[0].protosw);
	cancel_work_sync(&publish_work);
	/* Whoever has put the module away may not have left it yet. */
	synchronize_rcu_tasks();
	rcu_barrier();
}

MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET, 261, 2);
MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET6, 261, 2);
