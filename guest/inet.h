/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sockets of AF_INET and AF_INET6: what TCP's and UDP's have in common. See addr.c.
 */
#ifndef _CIRCUIT_INET_H
#define _CIRCUIT_INET_H

#include <linux/in6.h>
#include "guest.h"

long circuit_inet_patience(void);
unsigned long circuit_inet_deferral(const struct sock *sk);
bool circuit_inet_parse(const struct sock *sk, const struct sockaddr *addr, int len,
			struct in6_addr *dst, u32 *port);
bool circuit_inet_is_ours(struct net *net, const struct in6_addr *addr);
int circuit_inet_device(struct net *net, const struct in6_addr *addr);
bool circuit_inet_is_inside(const struct in6_addr *addr);
struct in6_addr circuit_inet_bound(const struct sock *sk);
bool circuit_inet_is_any(const struct in6_addr *addr);
int circuit_inet_name(const struct sock *sk, struct sockaddr *uaddr, const struct in6_addr *addr,
		      u32 port);
bool circuit_inet_route(const struct sock *sk, const struct in6_addr *dst, struct in6_addr *src);
bool circuit_inet_has_option(const struct sock *sk);
enum circuit_reason circuit_inet_why_native(struct sock *sk, bool ours);

#endif /* _CIRCUIT_INET_H */
