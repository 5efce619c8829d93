/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels the guest module builds for. The body is
 * written for the newest; nothing outside this file looks at a version.
 */
#ifndef _CIRCUIT_GUEST_COMPAT_H
#define _CIRCUIT_GUEST_COMPAT_H

#include <linux/cgroup.h>
#include <linux/fs.h>
#include <linux/ipv6.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/ptrace.h>
#include <linux/splice.h>
#include <linux/sysctl.h>
#include <linux/tcp.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <net/inet_sock.h>
#include <net/sock.h>

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

/* 6.16: what MSG_ZEROCOPY is told may be about a device's own memory. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define compat_zerocopy_alloc(sk, len)	msg_zerocopy_realloc(sk, len, NULL, false)
#else
#define compat_zerocopy_alloc(sk, len)	msg_zerocopy_realloc(sk, len, NULL)
#endif

/* 6.10: accept() takes its arguments in a structure. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define COMPAT_ACCEPT_ARGS		struct proto_accept_arg *arg
#define COMPAT_ACCEPT_PASS		arg
#define compat_accept_flags		(arg->flags)
#define compat_accept_kern		(arg->kern)
static inline int compat_accept_nonblock(const struct proto_ops *ops, struct socket *sock,
					 struct socket *newsock, COMPAT_ACCEPT_ARGS)
{
	struct proto_accept_arg now = *arg;
	int err;

	now.flags |= O_NONBLOCK;
	err = ops->accept(sock, newsock, &now);
	now.flags = arg->flags;
	*arg = now;
	return err;
}
#else
#define COMPAT_ACCEPT_PASS		accept_flags, accept_kern
#define COMPAT_ACCEPT_ARGS		int accept_flags, bool accept_kern
#define compat_accept_flags		accept_flags
#define compat_accept_kern		accept_kern
static inline int compat_accept_nonblock(const struct proto_ops *ops, struct socket *sock,
					 struct socket *newsock, COMPAT_ACCEPT_ARGS)
{
	return ops->accept(sock, newsock, accept_flags | O_NONBLOCK, accept_kern);
}
#endif

/* 6.5: ->sendpage is gone, and so is the old way to splice from anything that reads. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define compat_splice_read(...)		copy_splice_read(__VA_ARGS__)
#else
#define compat_splice_read(...)		generic_file_splice_read(__VA_ARGS__)
#define COMPAT_SENDPAGE
#endif

/* 6.12 and some before: a socket of the kernel's becomes one of a program's. */
static inline void compat_net_refcnt_upgrade(struct sock *sk)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	sk_net_refcnt_upgrade(sk);
#else
	sk->sk_net_refcnt = 1;
	get_net_track(sock_net(sk), &sk->ns_tracker, GFP_KERNEL);
	sock_inuse_add(sock_net(sk), 1);
#endif
}

/* 6.19: an address whose size nobody promises has a type of its own. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define compat_sockaddr			sockaddr_unsized
#else
#define compat_sockaddr			sockaddr
#endif

/* 6.3: who makes a socket can ask to see the options of the socket layer as well. */
#ifndef SOCK_CUSTOM_SOCKOPT
#define COMPAT_OPTIONS_UNSEEN
#endif
static inline void compat_custom_sockopt(struct socket *sock)
{
#ifdef SOCK_CUSTOM_SOCKOPT
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
#endif
}

/* 6.3: flags of mappings are changed by functions. */
static inline void compat_vm_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* 6.11: handlers of sysctls may not write to the table; 6.6: its size is given. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define compat_ctl_table		const struct ctl_table
#else
#define compat_ctl_table		struct ctl_table
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define compat_register_net_sysctl(net, path, table, n)	\
	register_net_sysctl_sz(net, path, table, n)
#else
#define compat_register_net_sysctl(net, path, table, n)	register_net_sysctl(net, path, table)
#endif

/* Not every kernel keeps a socket's cgroup. */
static inline struct cgroup *compat_sock_cgroup(struct sock *sk)
{
#ifdef CONFIG_SOCK_CGROUP_DATA
	return sock_cgroup_ptr(&sk->sk_cgrp_data);
#else
	return NULL;
#endif
}

/* 6.6: what a socket of IPv4 wants to be told of is bits. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define compat_inet_cmsg_flags(inet)	inet_cmsg_flags(inet)
#else
#define compat_inet_cmsg_flags(inet)	READ_ONCE((inet)->cmsg_flags)
#endif

/* 6.6, 6.7: and so is whether it wants its queue of errors. */
static inline bool compat_recverr(const struct sock *sk)
{
	if (sk->sk_family == AF_INET6) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
		return inet6_test_bit(RECVERR6, sk);
#else
		return inet6_sk(sk)->recverr;
#endif
	}
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return inet_test_bit(RECVERR, sk);
#else
	return inet_sk(sk)->recverr;
#endif
}

/* 6.7: connections may be authenticated, as they could be signed before. */
static inline bool compat_is_tcp_ao(int optname)
{
#ifdef TCP_AO_ADD_KEY
	return optname == TCP_AO_ADD_KEY || optname == TCP_AO_DEL_KEY || optname == TCP_AO_INFO ||
	       optname == TCP_AO_REPAIR;
#else
	return false;
#endif
}

static inline bool compat_tcp_is_signed(const struct sock *sk)
{
#ifdef CONFIG_TCP_AO
	if (rcu_access_pointer(tcp_sk(sk)->ao_info))
		return true;
#endif
#ifdef CONFIG_TCP_MD5SIG
	return rcu_access_pointer(tcp_sk(sk)->md5sig_info);
#else
	return false;
#endif
}

/* 6.19: who counts drops need not be one counter. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define compat_sk_drops(sk)		sk_drops_read(sk)
#else
#define compat_sk_drops(sk)		atomic_read(&(sk)->sk_drops)
#endif

/* The third argument of a function at whose beginning a kprobe has stopped. */
static inline void compat_set_argument2(struct pt_regs *regs, unsigned long value)
{
#if defined(CONFIG_X86_64)
	regs->dx = value;
#elif defined(CONFIG_ARM64)
	regs->regs[2] = value;
#else
#error "which register holds the third argument?"
#endif
}

#endif /* _CIRCUIT_GUEST_COMPAT_H */
