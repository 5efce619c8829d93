// SPDX-License-Identifier: GPL-2.0
/*
 * What TCP sockets and UDP sockets have in common: IP addresses, and what keeps them from circuits.
 *
 * Addresses are IPv6 ones throughout, those of IPv4 as IPv4-mapped.
 */
#include <linux/bpf-cgroup.h>
#include <linux/inetdevice.h>
#include <linux/moduleparam.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/sock_reuseport.h>
#include "inet.h"

#define PATIENCE_MAX	(60 * MSEC_PER_SEC)

static unsigned int ask_timeout = MSEC_PER_SEC;
module_param(ask_timeout, uint, 0644);
MODULE_PARM_DESC(ask_timeout, "milliseconds before a call of an IP socket's that the operator has not decided goes over the guest's network");

/**
 * circuit_inet_patience - how long to wait for what the operator says to a call
 *
 * Then it is not for us.
 *
 * Return: jiffies.
 */
long circuit_inet_patience(void)
{
	return msecs_to_jiffies(min_t(unsigned int, READ_ONCE(ask_timeout), PATIENCE_MAX));
}

/**
 * circuit_inet_parse - where is something to go?
 * @sk: the socket
 * @addr: the address
 * @len: bytes of it, at least those of the family
 * @dst: the IP address in it
 * @port: the port
 *
 * Return: false if the address is not one for this socket: its own methods had better say why.
 */
bool circuit_inet_parse(const struct sock *sk, const struct sockaddr *addr, int len,
			struct in6_addr *dst, u32 *port)
{
	if (addr->sa_family == AF_INET && sk->sk_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)addr;

		if (len < sizeof(*sin))
			return false;
		ipv6_addr_set_v4mapped(sin->sin_addr.s_addr, dst);
		*port = ntohs(sin->sin_port);
	} else if (addr->sa_family == AF_INET6 && sk->sk_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)addr;

		if (len < SIN6_LEN_RFC2133)
			return false;
		*dst = sin6->sin6_addr;
		if (ipv6_addr_v4mapped(dst) && ipv6_only_sock(sk))
			return false;
		*port = ntohs(sin6->sin6_port);
	} else {
		return false;
	}
	return true;
}

/**
 * circuit_inet_is_ours - is an address never the operator's, for it means this machine, or many?
 * @net: the network namespace
 * @addr: the address
 */
bool circuit_inet_is_ours(struct net *net, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr)) {
		__be32 v4 = addr->s6_addr32[3];
		unsigned int type;

		if (ipv4_is_zeronet(v4) || ipv4_is_loopback(v4) || ipv4_is_multicast(v4) ||
		    ipv4_is_lbcast(v4))
			return true;
		type = inet_addr_type(net, v4);
		/* A namespace that has no addresses at all takes any for a broadcast. */
		return type == RTN_LOCAL ||
		       (type == RTN_BROADCAST &&
			inet_addr_type(net, htonl(INADDR_LOOPBACK)) != RTN_BROADCAST);
	}
	return !(ipv6_addr_type(addr) & IPV6_ADDR_UNICAST) ||
	       ipv6_addr_type(addr) & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL) ||
	       ipv6_chk_addr(net, addr, NULL, 0);
}

/**
 * circuit_inet_is_inside - does nobody reach who listens at an address from outside?
 * @addr: the address
 */
bool circuit_inet_is_inside(const struct in6_addr *addr)
{
	return (ipv6_addr_v4mapped(addr) && ipv4_is_loopback(addr->s6_addr32[3])) ||
	       ipv6_addr_loopback(addr) || ipv6_addr_type(addr) & IPV6_ADDR_LINKLOCAL;
}

/**
 * circuit_inet_device - which interface would something for an address of the line's have come in
 * by?
 * @net: the network namespace
 * @addr: the address
 *
 * Return: its index: of the one that has that address, or, if that is known to the operator only,
 * of loopback. Programs that want to know take 0 for none, and do not answer.
 */
int circuit_inet_device(struct net *net, const struct in6_addr *addr)
{
	struct net_device *dev;
	int ret;

	rcu_read_lock();
#if IS_ENABLED(CONFIG_IPV6)
	dev = ipv6_addr_v4mapped(addr) ? __ip_dev_find(net, addr->s6_addr32[3], false) :
					 ipv6_dev_find(net, addr, NULL);
#else
	dev = __ip_dev_find(net, addr->s6_addr32[3], false);
#endif
	ret = (dev ?: net->loopback_dev)->ifindex;
	rcu_read_unlock();
	return ret;
}

/**
 * circuit_inet_bound - the address that a socket is bound to
 * @sk: the socket
 *
 * Return: :: or ::ffff:0.0.0.0 if it is bound to none.
 */
struct in6_addr circuit_inet_bound(const struct sock *sk)
{
	struct in6_addr addr = {};

	if (sk->sk_family == AF_INET)
		ipv6_addr_set_v4mapped(inet_sk(sk)->inet_rcv_saddr, &addr);
#if IS_ENABLED(CONFIG_IPV6)
	else
		addr = sk->sk_v6_rcv_saddr;
#endif
	return addr;
}

/**
 * circuit_inet_is_any - is it no address?
 * @addr: :: or ::ffff:0.0.0.0, or another
 */
bool circuit_inet_is_any(const struct in6_addr *addr)
{
	return ipv6_addr_any(addr) || (ipv6_addr_v4mapped(addr) && !addr->s6_addr32[3]);
}

/**
 * circuit_inet_name - an address as the socket's family has it
 * @sk: the socket
 * @uaddr: where to
 * @addr: the IP address
 * @port: the port
 *
 * Return: how many bytes that are.
 */
int circuit_inet_name(const struct sock *sk, struct sockaddr *uaddr, const struct in6_addr *addr,
		      u32 port)
{
	if (sk->sk_family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)uaddr;

		memset(sin, 0, sizeof(*sin));
		sin->sin_family = AF_INET;
		sin->sin_addr.s_addr = addr->s6_addr32[3];
		sin->sin_port = htons(port);
		return sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)uaddr;

		memset(sin6, 0, sizeof(*sin6));
		sin6->sin6_family = AF_INET6;
		sin6->sin6_addr = *addr;
		sin6->sin6_port = htons(port);
		return sizeof(*sin6);
	}
}

/**
 * circuit_inet_route - is there a way there without the operator?
 * @sk: the socket
 * @dst: where to
 * @src: set to the address that it would be from, or NULL
 *
 * Return: true if there is.
 */
bool circuit_inet_route(const struct sock *sk, const struct in6_addr *dst, struct in6_addr *src)
{
	struct net *net = sock_net(sk);
	struct dst_entry *entry;
	bool ret;

	if (ipv6_addr_v4mapped(dst)) {
		struct flowi4 fl4 = {
			.daddr = dst->s6_addr32[3],
			.flowi4_proto = sk->sk_protocol,
			.flowi4_uid = sk->sk_uid,
		};
		struct rtable *rt = ip_route_output_key(net, &fl4);

		if (IS_ERR(rt))
			return false;
		ip_rt_put(rt);
		if (src)
			ipv6_addr_set_v4mapped(fl4.saddr, src);
		return true;
	} else {
		struct flowi6 fl6 = {
			.daddr = *dst,
			.flowi6_proto = sk->sk_protocol,
			.flowi6_uid = sk->sk_uid,
		};

		/* As ip6_route_output(), which does not say the source. */
		if (ip6_dst_lookup(net, NULL, &entry, &fl6))
			return false;
		ret = !entry->error;
		dst_release(entry);
		if (src)
			*src = fl6.saddr;
		return ret;
	}
}

/*
 * Has an administrator attached programs to the socket's cgroup that are to see what it sends and
 * receives, or to whom? Firewalls of services and containers, and the redirection of the latter's
 * services, are made of such.
 */
#ifdef CONFIG_CGROUP_BPF
#define has_program(sk, type)							\
	(cgroup_bpf_enabled(type) && cgroup_bpf_sock_enabled((struct sock *)(sk), type))
static bool has_programs(const struct sock *sk)
{
	return has_program(sk, CGROUP_INET_EGRESS) || has_program(sk, CGROUP_INET_INGRESS) ||
	       has_program(sk, CGROUP_INET4_CONNECT) || has_program(sk, CGROUP_INET6_CONNECT) ||
	       has_program(sk, CGROUP_UDP4_SENDMSG) || has_program(sk, CGROUP_UDP6_SENDMSG) ||
	       has_program(sk, CGROUP_UDP4_RECVMSG) || has_program(sk, CGROUP_UDP6_RECVMSG);
}
#else
static bool has_programs(const struct sock *sk)
{
	return false;
}
#endif

/* Does a program choose among the sockets that share its port? */
static bool is_steered(const struct sock *sk)
{
	struct sock_reuseport *reuse;
	bool ret;

	rcu_read_lock();
	reuse = rcu_dereference(sk->sk_reuseport_cb);
	ret = reuse && rcu_access_pointer(reuse->prog);
	rcu_read_unlock();
	return ret;
}

/**
 * circuit_inet_has_option - has a socket an option that means something on a network, and nothing
 * here?
 * @sk: the socket
 */
bool circuit_inet_has_option(const struct sock *sk)
{
	return sock_flag(sk, SOCK_TXTIME) || sock_flag(sk, SOCK_LOCALROUTE) ||
	       READ_ONCE(sk->sk_bound_dev_if) ||
	       READ_ONCE(sk->sk_mark) || rcu_access_pointer(sk->sk_filter) ||
	       READ_ONCE(sk->sk_max_pacing_rate) != ~0UL || has_programs(sk) ||
	       (sk->sk_reuseport && is_steered(sk));
}

/**
 * circuit_inet_why_native - why may a socket not be a circuit, or listen for some, at an address?
 * @sk: the socket
 * @ours: the address is this machine's own
 *
 * Return: CIRCUIT_REASON_NONE if that does not depend on more than its options.
 */
enum circuit_reason circuit_inet_why_native(struct sock *sk, bool ours)
{
	if (!circuit_redirect_allowed(sk))
		return CIRCUIT_REASON_NAMESPACE;
	if (ours)
		return CIRCUIT_REASON_THIS_MACHINE;
	/* Some of the kernel's own users make their sockets as a program would. */
	if (!sk->sk_socket || !sk->sk_socket->file)
		return CIRCUIT_REASON_KERNEL;
	return CIRCUIT_REASON_NONE;
}
