// SPDX-License-Identifier: GPL-2.0
/*
 * Redirection: programs ask for TCP sockets and get ours.
 *
 * A kprobe where inet_create() and inet6_create() begin changes the protocol that is
 * asked for, so that everything above (LSMs, seccomp, BPF) still sees TCP, and io_uring
 * is caught as well. The kernel's own sockets are left alone. What is redirected is
 * said per network namespace, by the sysctl net.circuit.redirect, which is off. The line
 * is the machine's: it takes the machine's administrator to let another namespace than
 * the first use it, whoever may configure that namespace otherwise.
 *
 * The probes are armed while any namespace wants them, and a little longer: arming
 * takes a while. Meanwhile they hold the module, since a socket that has been asked
 * for under our number must find us.
 */
#include <linux/capability.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/rcupdate.h>
#include <linux/socket.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include "guest.h"

/**
 * struct redirect_net - a network namespace
 * @on: redirect its stream sockets
 * @table: its sysctl
 * @header: likewise
 */
struct redirect_net {
	u8			on;
	struct ctl_table	*table;
	struct ctl_table_header	*header;
};

#define DISARM_DELAY	(2 * HZ)

static unsigned int redirect_net_id;
static DEFINE_MUTEX(redirect_lock);
static unsigned int redirecting;	/* how many namespaces do */
static bool armed;

/* inet_create(net, sock, protocol, kern), with preemption off. */
static int redirect(struct kprobe *probe, struct pt_regs *regs)
{
	struct net *net = (struct net *)regs_get_kernel_argument(regs, 0);
	struct socket *sock = (struct socket *)regs_get_kernel_argument(regs, 1);
	int protocol = regs_get_kernel_argument(regs, 2);
	int kern = regs_get_kernel_argument(regs, 3);
	struct redirect_net *rn;

	if (kern || sock->type != SOCK_STREAM || (protocol && protocol != IPPROTO_TCP))
		return 0;
	rn = net_generic(net, redirect_net_id);
	if (READ_ONCE(rn->on))
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
	if (armed && !redirecting) {
		for (i = 0; i < ARRAY_SIZE(probes); i++)
			if (probes[i].addr)
				unregister_kprobe(&probes[i]);
		armed = false;
		/* Those who were redirected last have their socket then, and hold us by it. */
		synchronize_rcu_tasks();
		module_put(THIS_MODULE);
	}
	mutex_unlock(&redirect_lock);
}
static DECLARE_DELAYED_WORK(disarm, probes_disarm);

static int redirect_set(struct redirect_net *rn, bool on)
{
	int err;

	lockdep_assert_held(&redirect_lock);
	if (on == rn->on)
		return 0;
	if (on && !armed) {
		err = probes_arm();
		if (err)
			return err;
		armed = true;
	}
	redirecting += on ? 1 : -1;
	WRITE_ONCE(rn->on, on);
	if (!redirecting)
		schedule_delayed_work(&disarm, DISARM_DELAY);
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
 * circuit_net_allowed - may sockets of a namespace become circuits?
 * @net: the namespace
 */
bool circuit_net_allowed(struct net *net)
{
	const struct redirect_net *rn = net_generic(net, redirect_net_id);

	return net_eq(net, &init_net) || READ_ONCE(rn->on);
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
 * circuit_redirect_exit - end redirection, everywhere
 */
void circuit_redirect_exit(void)
{
	unregister_pernet_subsys(&redirect_net_ops);
	cancel_delayed_work_sync(&disarm);	/* which has just put the module */
}
