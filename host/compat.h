/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels the host module builds for. The body is
 * written for the newest; nothing outside this file looks at a version.
 */
#ifndef _CIRCUIT_HOST_COMPAT_H
#define _CIRCUIT_HOST_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <net/genetlink.h>
#include <net/sock.h>

/* 6.8: eventfd_signal() lost its count. */
static inline void compat_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* 6.3: vm_flags became read-only to everybody but its accessors. */
static inline void compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/* 6.10: __assign_str() lost its source. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define compat_assign_str(field, src)	__assign_str(field)
#else
#define compat_assign_str(field, src)	__assign_str(field, src)
#endif

/* 6.10: who is told that a buffer is back, is told by a table. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
struct ubuf_info_ops {
	void (*complete)(struct sk_buff *skb, struct ubuf_info *ubuf, bool zerocopy_success);
};
#endif

static inline void compat_ubuf_init(struct ubuf_info *ubuf, const struct ubuf_info_ops *ops)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	ubuf->ops = ops;
#else
	ubuf->callback = ops->complete;
#endif
	/* References are counted: the pages may be shared, but not by those who receive. */
	ubuf->flags = SKBFL_ZEROCOPY_FRAG | SKBFL_DONT_ORPHAN;
	refcount_set(&ubuf->refcnt, 1);
}

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

/* 6.18: who counts drops need not be one counter. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define compat_sk_drops(sk)		sk_drops_read(sk)
#else
#define compat_sk_drops(sk)		atomic_read(&(sk)->sk_drops)
#endif

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

/* 6.13: a timer is told at once what it does. */
static inline void compat_hrtimer_setup(struct hrtimer *timer,
					enum hrtimer_restart (*fn)(struct hrtimer *timer),
					clockid_t clock, enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, fn, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
#endif
}

/* 6.6: what is known of a dump request moved. */
static inline struct nlattr **compat_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return genl_info_dump(cb)->attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif
}

#endif /* _CIRCUIT_HOST_COMPAT_H */
