// SPDX-License-Identifier: GPL-2.0
/*
 * Redirection: programs ask for TCP and UDP sockets and get ours.
 *
 * A kprobe where inet_create() and inet6_create() begin changes the protocol that is
 * asked for, so that everything above (LSMs, seccomp, BPF) still sees TCP or UDP, and io_uring
 * is caught as well. The kernel's own sockets are left alone. What is redirected is
 * said per network namespace, by the sysctl net.circuit.redirect, which is off, and per
 * cgroup, by netlink. The line is the machine's: it takes the machine's administrator
 * to let another namespace than the first use it, whoever may configure that namespace
 * otherwise.
 *
 * The probes are armed while anybody wants them, and a little longer: arming
 * takes a while. Meanwhile they hold the module, since a socket that has been asked
 * for under our number must find us.
 */
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/rcupdate.h>
#include <linux/socket.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include "guest.h"

/**
 * struct redirect_net - a network namespace
 * @on: redirect its sockets
 * @table: its sysctl
 * @header: likewise
 */
struct redirect_net {
	u8			on;
	struct ctl_table	*table;
	struct ctl_table_header	*header;
};

#define DISARM_DELAY	(2 * HZ)
#define CGROUPS_MAX	4096
#define PRUNE_PERIOD	(5 * HZ)

static unsigned int redirect_net_id;
static DEFINE_MUTEX(redirect_lock);
static unsigned int redirecting;	/* how many namespaces and cgroups are redirected */
static bool armed;
static bool started;		/* the protocol is there to be asked for */

/*
 * Cgroups by number. Nobody holds the cgroup for it, and numbers are not used again, so
 * one whose cgroup has gone is only of no use; a work looks for those now and then. (Not
 * whoever comes by: a task sees the cgroups of its namespace only.)
 */
static DEFINE_XARRAY(cgroups);
static unsigned int nr_cgroups;

/* Is a cgroup, or one that it is in, redirected? Under RCU. */
static bool cgroup_redirected(struct cgroup *cgrp)
{
	for (; cgrp; cgrp = cgroup_parent(cgrp))
		if (xa_load(&cgroups, cgroup_id(cgrp)))
			return true;
	return false;
}

static bool task_redirected(void)
{
	bool ret;

	if (likely(xa_empty(&cgroups)))
		return false;
	rcu_read_lock();
	ret = cgroup_redirected(task_dfl_cgroup(current));
	rcu_read_unlock();
	return ret;
}

/* inet_create(net, sock, protocol, kern), with preemption off. */
static int redirect(struct kprobe *probe, struct pt_regs *regs)
{
	struct net *net = (struct net *)regs_get_kernel_argument(regs, 0);
	struct socket *sock = (struct socket *)regs_get_kernel_argument(regs, 1);
	int protocol = regs_get_kernel_argument(regs, 2);
	int kern = regs_get_kernel_argument(regs, 3);
	struct redirect_net *rn;

	if (kern || current->flags & PF_KTHREAD || !READ_ONCE(started))
		return 0;
	if (!(sock->type == SOCK_STREAM && (!protocol || protocol == IPPROTO_TCP)) &&
	    !(sock->type == SOCK_DGRAM && (!protocol || protocol == IPPROTO_UDP)))
		return 0;
	rn = net_generic(net, redirect_net_id);
	if (READ_ONCE(rn->on) || task_redirected())
		compat_set_argument2(regs, IPPROTO_CIRCUIT);
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "inet_create", .pre_handler = redirect },
	{ .symbol_name = "inet6_create", .pre_handler = redirect },
};

static int probes_arm(void)
{
	unsigned int i;
	int err;

	if (!try_module_get(THIS_MODULE))
		return -EBUSY;
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		probes[i].addr = NULL;
		probes[i].flags = 0;
		err = register_kprobe(&probes[i]);
		/* A kernel may be without IPv6. */
		if (err && !(err == -ENOENT && i)) {
			pr_warn_ratelimited("circuit: cannot redirect, no kprobe on %s (%d)\n",
					    probes[i].symbol_name, err);
			while (i--)
				unregister_kprobe(&probes[i]);
			module_put(THIS_MODULE);
			return err;
		}
	}
	return 0;
}

static void probes_disarm(struct work_struct *work)
{
	unsigned int i;

	mutex_lock(&redirect_lock);
	if (!armed || redirecting) {
		mutex_unlock(&redirect_lock);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].addr)
			unregister_kprobe(&probes[i]);
	armed = false;
	mutex_unlock(&redirect_lock);
	/*
	 * Those who were redirected last have their socket by now, and hold us by it: it is
	 * long since anybody was. Who is still on its way out of the handler is waited for.
	 */
	synchronize_rcu_tasks();
	module_put(THIS_MODULE);
}
static DECLARE_DELAYED_WORK(disarm, probes_disarm);

/* One more wants the probes. */
static int redirecting_get(void)
{
	int err;

	lockdep_assert_held(&redirect_lock);
	if (!armed) {
		err = probes_arm();
		if (err)
			return err;
		armed = true;
	}
	redirecting++;
	return 0;
}

static void redirecting_put(void)
{
	lockdep_assert_held(&redirect_lock);
	if (!--redirecting)
		schedule_delayed_work(&disarm, DISARM_DELAY);
}

static int redirect_set(struct redirect_net *rn, bool on)
{
	int err;

	lockdep_assert_held(&redirect_lock);
	if (on == rn->on)
		return 0;
	if (on) {
		err = redirecting_get();
		if (err)
			return err;
	}
	WRITE_ONCE(rn->on, on);
	if (!on)
		redirecting_put();
	return 0;
}

static void prune_cgroups(struct work_struct *work);
static DECLARE_DELAYED_WORK(prune, prune_cgroups);

static void prune_cgroups(struct work_struct *work)
{
	unsigned long id;
	void *entry;

	mutex_lock(&redirect_lock);
	xa_for_each(&cgroups, id, entry) {
		struct cgroup *cgrp = cgroup_get_from_id(id);

		if (!IS_ERR(cgrp)) {
			cgroup_put(cgrp);
			continue;
		}
		xa_erase(&cgroups, id);
		nr_cgroups--;
		redirecting_put();
	}
	if (nr_cgroups)
		schedule_delayed_work(&prune, PRUNE_PERIOD);
	mutex_unlock(&redirect_lock);
}

static int add_cgroup(u64 id)
{
	struct cgroup *cgrp;
	int err;

	lockdep_assert_held(&redirect_lock);
	cgrp = cgroup_get_from_id(id);
	if (IS_ERR(cgrp))
		return -ENOENT;
	cgroup_put(cgrp);
	if (nr_cgroups >= CGROUPS_MAX)
		return -ENOSPC;
	err = xa_insert(&cgroups, id, xa_mk_value(1), GFP_KERNEL);
	if (err)
		return err == -EBUSY ? -EEXIST : err;
	err = redirecting_get();
	if (err) {
		xa_erase(&cgroups, id);
		return err;
	}
	nr_cgroups++;
	schedule_delayed_work(&prune, PRUNE_PERIOD);
	return 0;
}

static int del_cgroup(u64 id)
{
	lockdep_assert_held(&redirect_lock);
	if (!xa_erase(&cgroups, id))
		return -ENOENT;
	nr_cgroups--;
	redirecting_put();
	return 0;
}

/**
 * circuit_redirect_cgroup - redirect the sockets that a cgroup makes, or no longer
 * @id: number of the cgroup; those in it are meant as well
 * @on: redirect
 *
 * Return: 0, -ENOENT if there is no such cgroup or it is not redirected, -EEXIST if it
 * is already, -ENOSPC, -ENOMEM, or what arming the probes says.
 */
int circuit_redirect_cgroup(u64 id, bool on)
{
	int err;

	mutex_lock(&redirect_lock);
	err = on ? add_cgroup(id) : del_cgroup(id);
	mutex_unlock(&redirect_lock);
	return err;
}

/**
 * circuit_redirect_for_cgroups - go through the cgroups that are redirected
 * @pos: where to begin; left where @fn did not return 0
 * @fn: called with each one's number
 * @arg: for @fn
 *
 * Return: 0, or what @fn returned.
 */
int circuit_redirect_for_cgroups(unsigned long *pos, int (*fn)(u64 id, void *arg), void *arg)
{
	unsigned long id;
	void *entry;
	int ret;

	xa_for_each_start(&cgroups, id, entry, *pos) {
		*pos = id;
		ret = fn(id, arg);
		if (ret)
			return ret;
	}
	*pos = ULONG_MAX;
	return 0;
}

static int redirect_sysctl(compat_ctl_table *table, int write, void *buffer, size_t *lenp,
			   loff_t *ppos)
{
	struct redirect_net *rn = container_of(table->data, struct redirect_net, on);
	u8 on;
	struct ctl_table tmp = {
		.data = &on,
		.maxlen = sizeof(on),
		.extra1 = SYSCTL_ZERO,
		.extra2 = SYSCTL_ONE,
	};
	int err;

	if (write && !capable(CAP_NET_ADMIN))
		return -EPERM;
	mutex_lock(&redirect_lock);
	on = rn->on;
	err = proc_dou8vec_minmax(&tmp, write, buffer, lenp, ppos);
	if (!err && write)
		err = redirect_set(rn, on);
	mutex_unlock(&redirect_lock);
	return err;
}

static const struct ctl_table redirect_template[] = {
	{
		.procname = "redirect",
		.maxlen = sizeof(u8),
		.mode = 0644,
		.proc_handler = redirect_sysctl,
	},
	{}
};

static int __net_init redirect_net_init(struct net *net)
{
	struct redirect_net *rn = net_generic(net, redirect_net_id);

	rn->table = kmemdup(redirect_template, sizeof(redirect_template), GFP_KERNEL);
	if (!rn->table)
		return -ENOMEM;
	rn->table[0].data = &rn->on;
	rn->header = compat_register_net_sysctl(net, "net/circuit", rn->table, 1);
	if (!rn->header) {
		kfree(rn->table);
		return -ENOMEM;
	}
	return 0;
}

static void __net_exit redirect_net_exit(struct net *net)
{
	struct redirect_net *rn = net_generic(net, redirect_net_id);

	unregister_net_sysctl_table(rn->header);
	kfree(rn->table);
	if (!rn->on)		/* nobody can set it any more */
		return;
	mutex_lock(&redirect_lock);
	redirect_set(rn, false);
	mutex_unlock(&redirect_lock);
}

static struct pernet_operations redirect_net_ops = {
	.init = redirect_net_init,
	.exit = redirect_net_exit,
	.id = &redirect_net_id,
	.size = sizeof(struct redirect_net),
};

/**
 * circuit_redirect_allowed - may a socket become a circuit?
 * @sk: the socket
 *
 * One of the first network namespace may; in others, what is redirected, that is, the
 * namespace or the cgroup in which the socket was made.
 */
bool circuit_redirect_allowed(struct sock *sk)
{
	const struct redirect_net *rn = net_generic(sock_net(sk), redirect_net_id);
	bool ret;

	if (net_eq(sock_net(sk), &init_net) || READ_ONCE(rn->on))
		return true;
	rcu_read_lock();
	ret = !xa_empty(&cgroups) &&
	      cgroup_redirected(compat_sock_cgroup(sk));
	rcu_read_unlock();
	return ret;
}

/**
 * circuit_redirect_init - make redirection available
 *
 * Return: 0 or a negative errno.
 */
int circuit_redirect_init(void)
{
	return register_pernet_subsys(&redirect_net_ops);
}

/**
 * circuit_redirect_start - the protocol has been registered: redirect to it
 */
void circuit_redirect_start(void)
{
	WRITE_ONCE(started, true);
}

/**
 * circuit_redirect_exit - end redirection, everywhere
 */
void circuit_redirect_exit(void)
{
	unsigned long id;
	void *entry;

	unregister_pernet_subsys(&redirect_net_ops);
	mutex_lock(&redirect_lock);
	xa_for_each(&cgroups, id, entry)
		del_cgroup(id);
	mutex_unlock(&redirect_lock);
	cancel_delayed_work_sync(&prune);
	/*
	 * Usually it has been done already, and has just put the module; not if the module
	 * is being thrown out because it could not be loaded.
	 */
	mod_delayed_work(system_wq, &disarm, 0);
	flush_delayed_work(&disarm);
	xa_destroy(&cgroups);
}
