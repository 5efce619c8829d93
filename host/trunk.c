// SPDX-License-Identifier: GPL-2.0
/*
 * Trunks: ways out of the exchange, into a stack of the host's.
 *
 * A trunk is a name for a network namespace and for how sockets are made there. A
 * line that has been given trunks may call addresses that are no line's: the first of
 * its trunks that leads there is taken. What becomes of such a call is in leg.c.
 *
 * A trunk does not keep its namespace: when that goes, calls over the trunk fail, and
 * those that are established live as long as a program's connection would. The
 * exchange's own namespace is the default; the exchange goes with it.
 *
 * Trunks belong to exchange->lock and are immutable. They are referenced by their
 * exchange, by the lines that have them, by exposed ports and by legs.
 */
#include <linux/slab.h>
#include <net/addrconf.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/tcp.h>
#include "host.h"

/* Trunks that are not in their exchange's namespace, for when that goes. */
static LIST_HEAD(abroad);
static DEFINE_SPINLOCK(abroad_lock);

static void trunk_release(struct kref *ref)
{
	struct circuit_trunk *trunk = container_of(ref, struct circuit_trunk, ref);

	spin_lock(&abroad_lock);
	list_del(&trunk->abroad);
	spin_unlock(&abroad_lock);
	circuit_exchange_put(trunk->ex);
	kfree(trunk);
}

/**
 * circuit_trunk_get - take a reference
 * @trunk: the trunk
 *
 * Return: @trunk.
 */
struct circuit_trunk *circuit_trunk_get(struct circuit_trunk *trunk)
{
	kref_get(&trunk->ref);
	return trunk;
}

/**
 * circuit_trunk_put - drop a reference
 * @trunk: the trunk, or NULL
 *
 * Context: process. The exchange is not locked, or referenced by somebody else as well.
 */
void circuit_trunk_put(struct circuit_trunk *trunk)
{
	if (trunk)
		kref_put(&trunk->ref, trunk_release);
}

/**
 * circuit_trunk_find - look a trunk up
 * @ex: the exchange, locked
 * @name: a name for which circuit_name_ok() holds
 *
 * Return: the trunk, valid while the lock is held, or NULL.
 */
struct circuit_trunk *circuit_trunk_find(struct circuit_exchange *ex, const char *name)
{
	struct circuit_trunk *trunk;

	lockdep_assert_held(&ex->lock);
	list_for_each_entry(trunk, &ex->trunks, list)
		if (!memcmp(trunk->name, name, CIRCUIT_NAME_SIZE))
			return trunk;
	return NULL;
}

/**
 * circuit_trunk_add - add a trunk to an exchange
 * @ex: the exchange, locked
 * @name: a name for which circuit_name_ok() holds
 * @cfg: a valid configuration
 * @net: its namespace, referenced by the caller, or NULL for the exchange's own
 *
 * Return: 0, -EEXIST if the name is taken, -E2BIG if there are too many, -ENONET if
 * the exchange's namespace is going away, or -ENOMEM.
 */
int circuit_trunk_add(struct circuit_exchange *ex, const char *name,
		      const struct circuit_trunk_config *cfg, struct net *net)
{
	struct circuit_trunk *trunk;

	lockdep_assert_held(&ex->lock);
	if (!ex->net)
		return -ENONET;
	if (circuit_trunk_find(ex, name))
		return -EEXIST;
	if (ex->nr_trunks >= CIRCUIT_TRUNKS_MAX)
		return -E2BIG;
	trunk = kzalloc(sizeof(*trunk), GFP_KERNEL_ACCOUNT);
	if (!trunk)
		return -ENOMEM;
	kref_init(&trunk->ref);
	memcpy(trunk->name, name, CIRCUIT_NAME_SIZE);
	trunk->cfg = *cfg;
	trunk->ex = circuit_exchange_get(ex);
	INIT_LIST_HEAD(&trunk->abroad);
	if (net && net != ex->net) {
		spin_lock(&abroad_lock);
		trunk->net = net;
		trunk->netns = net->ns.inum;
		list_add(&trunk->abroad, &abroad);
		spin_unlock(&abroad_lock);
	}
	list_add_tail(&trunk->list, &ex->trunks);
	ex->nr_trunks++;
	ex->seq++;
	return 0;
}

/**
 * circuit_trunk_del - take a trunk out of its exchange
 * @ex: the exchange, locked
 * @trunk: one of its trunks
 *
 * Calls that have been placed over it go on.
 *
 * Return: 0, or -EBUSY if lines or exposed ports have it.
 */
int circuit_trunk_del(struct circuit_exchange *ex, struct circuit_trunk *trunk)
{
	lockdep_assert_held(&ex->lock);
	if (trunk->users)
		return -EBUSY;
	list_del(&trunk->list);
	ex->nr_trunks--;
	ex->seq++;
	circuit_trunk_put(trunk);
	return 0;
}

/**
 * circuit_trunk_use - a line or an exposed port gets or gives up a trunk
 * @trunk: the trunk, its exchange locked
 * @n: 1 or -1
 */
void circuit_trunk_use(struct circuit_trunk *trunk, int n)
{
	trunk->users += n;
	if (n > 0)
		circuit_trunk_get(trunk);
	else
		circuit_trunk_put(trunk);
}

/**
 * circuit_trunk_net_gone - a network namespace goes away
 * @net: the namespace
 */
void circuit_trunk_net_gone(struct net *net)
{
	struct circuit_trunk *trunk;

again:
	spin_lock(&abroad_lock);
	list_for_each_entry(trunk, &abroad, abroad) {
		if (trunk->net != net)
			continue;
		trunk->net = NULL;
		/* It may be on its way out, and has no exposures then. */
		if (!kref_get_unless_zero(&trunk->ref))
			continue;
		spin_unlock(&abroad_lock);
		mutex_lock(&trunk->ex->lock);
		circuit_unexpose_trunk(trunk->ex, trunk);
		mutex_unlock(&trunk->ex->lock);
		circuit_trunk_put(trunk);
		goto again;
	}
	spin_unlock(&abroad_lock);
}

/**
 * circuit_trunk_net - the network namespace of a trunk
 * @trunk: the trunk, or NULL for the exchange's namespace with nothing special
 * @ex: its exchange, locked
 *
 * Return: the namespace with a reference, or NULL if it is gone.
 */
struct net *circuit_trunk_net(struct circuit_trunk *trunk, struct circuit_exchange *ex)
{
	struct net *net;

	lockdep_assert_held(&ex->lock);
	if (!trunk || !trunk->netns)
		return ex->net ? maybe_get_net(ex->net) : NULL;
	spin_lock(&abroad_lock);
	net = trunk->net ? maybe_get_net(trunk->net) : NULL;
	spin_unlock(&abroad_lock);
	return net;
}

/**
 * circuit_trunk_leads_to - does a trunk lead to an address?
 * @trunk: the trunk
 * @dst: the address, IPv4 as IPv4-mapped IPv6
 *
 * No trunk leads to addresses that mean something to one machine or link only, or are
 * not a single machine's.
 */
bool circuit_trunk_leads_to(const struct circuit_trunk *trunk, const struct in6_addr *dst)
{
	__be32 v4 = dst->s6_addr32[3];
	unsigned int i;

	if (ipv6_addr_v4mapped(dst) ?
	    ipv4_is_zeronet(v4) || ipv4_is_loopback(v4) || ipv4_is_multicast(v4) ||
	    ipv4_is_lbcast(v4) || ipv4_is_linklocal_169(v4) :
	    !(ipv6_addr_type(dst) & IPV6_ADDR_UNICAST) ||
	    ipv6_addr_type(dst) & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL))
		return false;
	/* No prefix of IPv6 is to be taken for all of IPv4. */
	for (i = 0; i < trunk->cfg.nr_to; i++)
		if (ipv6_addr_v4mapped(&trunk->cfg.to[i].addr) == ipv6_addr_v4mapped(dst) &&
		    ipv6_prefix_equal(&trunk->cfg.to[i].addr, dst, trunk->cfg.to[i].len))
			return true;
	return !trunk->cfg.nr_to;
}

/**
 * circuit_trunk_for - which of a line's trunks leads to an address?
 * @line: the line, its exchange locked
 * @dst: the address, IPv4 as IPv4-mapped IPv6
 *
 * Return: the first such trunk, or NULL.
 */
struct circuit_trunk *circuit_trunk_for(struct circuit_line *line, const struct in6_addr *dst)
{
	unsigned int i;

	for (i = 0; i < line->nr_trunks; i++)
		if (circuit_trunk_leads_to(line->trunks[i], dst))
			return line->trunks[i];
	return NULL;
}

/**
 * circuit_trunk_reaches - may this address be called in the trunk's namespace?
 * @trunk: the trunk
 * @net: its namespace
 * @dst: the address
 *
 * Nothing of IPv6 may where the kernel has been told to do without. The host's own
 * addresses may not, unless the trunk was made for it: what the host
 * offers to itself is guarded by less than what it offers to others.
 */
bool circuit_trunk_reaches(const struct circuit_trunk *trunk, struct net *net,
			   const struct in6_addr *dst)
{
	if (!ipv6_addr_v4mapped(dst) && !ipv6_mod_enabled())
		return false;
	if (trunk->cfg.host)
		return true;
	if (ipv6_addr_v4mapped(dst))
		return inet_addr_type(net, dst->s6_addr32[3]) == RTN_UNICAST;
#if IS_ENABLED(CONFIG_IPV6)
	return !ipv6_chk_addr(net, dst, NULL, 0);
#else
	return false;
#endif
}

/**
 * circuit_sockaddr - an address and a port, as sockets have them
 * @addr: the address, IPv4 as IPv4-mapped IPv6
 * @port: the port
 * @ss: filled in
 *
 * Return: how long it is.
 */
int circuit_sockaddr(const struct in6_addr *addr, u16 port, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	if (ipv6_addr_v4mapped(addr)) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		sin->sin_addr.s_addr = addr->s6_addr32[3];
		return sizeof(*sin);
	}
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(port);
	sin6->sin6_addr = *addr;
	return sizeof(*sin6);
}

/**
 * circuit_sockaddr_read - undo circuit_sockaddr()
 * @ss: an address of IPv4 or IPv6
 * @addr: set to the address
 * @port: and port
 */
void circuit_sockaddr_read(const struct sockaddr_storage *ss, struct in6_addr *addr, u16 *port)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;

	if (ss->ss_family == AF_INET) {
		ipv6_addr_set_v4mapped(sin->sin_addr.s_addr, addr);
		*port = ntohs(sin->sin_port);
	} else {
		*addr = sin6->sin6_addr;
		*port = ntohs(sin6->sin6_port);
	}
}

/**
 * circuit_trunk_bind - bind a socket to its trunk's source address, or to any; the port is any
 * @trunk: the trunk, or NULL
 * @sock: a socket that is not bound
 *
 * Return: 0 or a negative errno.
 */
int circuit_trunk_bind(const struct circuit_trunk *trunk, struct socket *sock)
{
	bool v6 = sock->sk->sk_family == AF_INET6;
	struct sockaddr_storage ss;
	struct in6_addr addr = {};

	if (trunk)
		addr = trunk->cfg.source[v6];
	if (!v6 && ipv6_addr_any(&addr))
		ipv6_addr_set_v4mapped(0, &addr);
	return kernel_bind(sock, (struct compat_sockaddr *)&ss, circuit_sockaddr(&addr, 0, &ss));
}

static int trunk_tos(struct socket *sock, u8 tos)
{
	int val = tos;

	if (sock->sk->sk_family == AF_INET6)
		return sock->ops->setsockopt(sock, SOL_IPV6, IPV6_TCLASS, KERNEL_SOCKPTR(&val),
					     sizeof(val));
	return sock->ops->setsockopt(sock, SOL_IP, IP_TOS, KERNEL_SOCKPTR(&val), sizeof(val));
}

/**
 * circuit_trunk_setup - give a socket what its trunk and its line say
 * @trunk: the trunk, or NULL
 * @mark: the line's: bits that the socket's mark has as well as the trunk's
 * @sock: a new socket of TCP or UDP
 *
 * Return: 0 or a negative errno.
 */
int circuit_trunk_setup(const struct circuit_trunk *trunk, u32 mark, struct socket *sock)
{
	bool tcp = sock->type == SOCK_STREAM;
	const struct circuit_trunk_config *cfg;
	int err = 0, mss;

	if (tcp) {
		/* What a guest has to say has been collected in its ring already. */
		tcp_sock_set_nodelay(sock->sk);
		/*
		 * Urgent data is where it was among the rest; the guest takes it out, or does not.
		 */
		sock_set_flag(sock->sk, SOCK_URGINLINE);
	}
	if (trunk)
		mark |= trunk->cfg.mark;
	if (mark)
		sock_set_mark(sock->sk, mark);
	if (!trunk)
		return 0;
	cfg = &trunk->cfg;
	if (cfg->tos)
		err = trunk_tos(sock, cfg->tos);
	if (!err && tcp && cfg->congestion[0])
		err = sock->ops->setsockopt(sock, SOL_TCP, TCP_CONGESTION,
					    KERNEL_SOCKPTR((void *)cfg->congestion),
					    strlen(cfg->congestion));
	if (!err && tcp && cfg->mss) {
		mss = cfg->mss;
		err = sock->ops->setsockopt(sock, SOL_TCP, TCP_MAXSEG, KERNEL_SOCKPTR(&mss),
					    sizeof(mss));
	}
	if (!err && tcp && cfg->user_timeout)
		tcp_sock_set_user_timeout(sock->sk, cfg->user_timeout);
	if (!err && cfg->pacing) {
		lock_sock(sock->sk);
		cmpxchg(&sock->sk->sk_pacing_status, SK_PACING_NONE, SK_PACING_NEEDED);
		WRITE_ONCE(sock->sk->sk_max_pacing_rate, cfg->pacing);
		sock->sk->sk_pacing_rate = min_t(u64, sock->sk->sk_pacing_rate, cfg->pacing);
		release_sock(sock->sk);
	}
	return err;
}
