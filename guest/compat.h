/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels the guest module builds for. The body is
 * written for the newest; nothing outside this file looks at a version.
 */
#ifndef _CIRCUIT_GUEST_COMPAT_H
#define _CIRCUIT_GUEST_COMPAT_H

#include <linux/net.h>
#include <linux/timer.h>
#include <linux/version.h>

/* 6.2: timers were renamed, 6.16: so was their accessor. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define compat_timer_delete_sync(t)	timer_delete_sync(t)
#else
#define compat_timer_delete_sync(t)	del_timer_sync(t)
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define compat_from_timer(var, t, field)	timer_container_of(var, t, field)
#else
#define compat_from_timer(var, t, field)	from_timer(var, t, field)
#endif

/* 6.10: accept() takes its arguments in a structure. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define COMPAT_ACCEPT_ARGS		struct proto_accept_arg *arg
#define compat_accept_flags		(arg->flags)
#define compat_accept_kern		(arg->kern)
#else
#define COMPAT_ACCEPT_ARGS		int accept_flags, bool accept_kern
#define compat_accept_flags		accept_flags
#define compat_accept_kern		accept_kern
#endif

/* 6.19: an address whose size nobody promises has a type of its own. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define compat_sockaddr			sockaddr_unsized
#else
#define compat_sockaddr			sockaddr
#endif

/* 6.3: a family can ask to see the options of the socket layer as well. */
static inline void compat_custom_sockopt(struct socket *sock)
{
#ifdef SOCK_CUSTOM_SOCKOPT
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
#endif
}

#endif /* _CIRCUIT_GUEST_COMPAT_H */
