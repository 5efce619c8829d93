// SPDX-License-Identifier: GPL-2.0
/*
 * circuit_host: the switch operator.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/genetlink.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/uaccess.h>
#include <linux/circuit_dev.h>
#include "host.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* For a guest's first turn, and for what it asks for beyond that. */
struct workqueue_struct *circuit_wq, *circuit_slow_wq;
/* For the host's sockets. */
struct workqueue_struct *circuit_trunk_wq;

/*
 * An argument begins with its size, @least when it was new; what it has not got is zero, and so has to
 * be what this kernel does not know of it.
 */
static int host_argument(void *to, size_t least, size_t known, const void __user *arg)
{
	u32 size;

	if (get_user(size, (const u32 __user *)arg))
		return -EFAULT;
	if (size < least)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(to, known, arg, size);
}

static int host_attach(struct net *net, const void __user *arg)
{
	s32 call_fds[CIRCUIT_VECTORS_MAX];
	struct circuit_attach attach;
	int err;

	err = host_argument(&attach, offsetofend(struct circuit_attach, call_fd), sizeof(attach), arg);
	if (err)
		return err;
	if (attach.flags || attach.pad || attach.vectors >= CIRCUIT_VECTORS_MAX ||
	    !circuit_name_ok(attach.line))
		return -EINVAL;
	call_fds[0] = attach.call_fd;
	if (copy_from_user(call_fds + 1, u64_to_user_ptr(attach.vector_fds),
			   attach.vectors * sizeof(*call_fds)))
		return -EFAULT;
	return circuit_window_attach(circuit_exchange(net), attach.line, attach.kick_fd,
				     call_fds, attach.vectors + 1);
}

static int host_tap(struct net *net, const void __user *arg)
{
	struct circuit_tap_request req;
	int err;

	err = host_argument(&req, sizeof(req), sizeof(req), arg);
	if (err)
		return err;
	if (req.flags)
		return -EINVAL;
	return circuit_tap(circuit_exchange(net), req.circuit);
}

static long host_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct net *net = current->nsproxy->net_ns;

	if (!ns_capable(net->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	switch (cmd) {
	case CIRCUIT_IOC_ATTACH:
		return host_attach(net, (const void __user *)arg);
	case CIRCUIT_IOC_TAP:
		return host_tap(net, (const void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations host_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = host_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "circuit",
	.fops = &host_fops,
	.mode = 0600,
};

static int __init circuit_host_init(void)
{
	int err;

	circuit_wq = alloc_workqueue("circuit", WQ_UNBOUND | WQ_HIGHPRI, 0);
	circuit_slow_wq = alloc_workqueue("circuit_slow", WQ_UNBOUND, 0);
	/* A worker more than there are processors: some sleep, for want of memory or a lock. */
	circuit_trunk_wq = alloc_workqueue("circuit_trunk", WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_SYSFS,
					   num_online_cpus() + 1);
	err = -ENOMEM;
	if (!circuit_wq || !circuit_slow_wq || !circuit_trunk_wq)
		goto free_wq;
	circuit_account_init();
	err = circuit_udp_init();
	if (err)
		goto exit_account;
	err = circuit_exchange_init();
	if (err)
		goto exit_udp;
	err = circuit_netlink_init();
	if (err)
		goto exit_exchange;
	err = misc_register(&dev);
	if (err)
		goto exit_netlink;
	return 0;

exit_netlink:
	circuit_netlink_exit();
exit_exchange:
	circuit_exchange_exit();
exit_udp:
	circuit_udp_exit();
exit_account:
	circuit_account_exit();
free_wq:
	circuit_share_flush();
	if (circuit_slow_wq)
		destroy_workqueue(circuit_slow_wq);
	if (circuit_trunk_wq)
		destroy_workqueue(circuit_trunk_wq);
	if (circuit_wq)
		destroy_workqueue(circuit_wq);
	rcu_barrier();		/* there may have been lines for a moment ... */
	rcu_barrier();		/* ... in groups */
	return err;
}

static void __exit circuit_host_exit(void)
{
	/* No line is left (each pins the module), and so no window either. */
	misc_deregister(&dev);
	circuit_netlink_exit();
	circuit_exchange_exit();
	circuit_share_flush();
	synchronize_rcu();	/* whoever has kicked a job that is through already may yet queue its work */
	destroy_workqueue(circuit_slow_wq);	/* its works kick jobs */
	destroy_workqueue(circuit_trunk_wq);
	destroy_workqueue(circuit_wq);
	circuit_udp_exit();
	circuit_account_exit();
	synchronize_rcu();	/* callbacks of sockets that have just lost them */
	rcu_barrier();
	rcu_barrier();		/* accounts leave their pools */
}

module_init(circuit_host_init);
module_exit(circuit_host_exit);

MODULE_DESCRIPTION("Switch operator for circuit-switched VM sockets");
MODULE_AUTHOR("The Switchboard authors");
MODULE_LICENSE("GPL");
MODULE_ALIAS_GENL_FAMILY(CIRCUIT_FAMILY_NAME);
