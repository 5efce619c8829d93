// SPDX-License-Identifier: GPL-2.0
/*
 * Exchanges: one operator per network namespace.
 *
 * The namespace owns a reference until it goes; then the lines are deleted, and
 * the exchange itself ends with the last of them, which may still have a VM
 * attached, or of the legs and exposures that have still to close their sockets.
 */
#include <linux/slab.h>
#include <net/netns/generic.h>
#include "host.h"

static unsigned int exchange_net_id;

struct exchange_net {
	struct circuit_exchange *ex;
};

/**
 * circuit_exchange - the exchange of a network namespace
 * @net: the namespace, referenced by the caller
 */
struct circuit_exchange *circuit_exchange(struct net *net)
{
	struct exchange_net *en = net_generic(net, exchange_net_id);

	return en->ex;
}

/**
 * circuit_exchange_get - take a reference
 * @ex: the exchange
 *
 * Return: @ex.
 */
struct circuit_exchange *circuit_exchange_get(struct circuit_exchange *ex)
{
	kref_get(&ex->ref);
	return ex;
}

static void exchange_release(struct kref *ref)
{
	struct circuit_exchange *ex = container_of(ref, struct circuit_exchange, ref);

	WARN_ON_ONCE(!xa_empty(&ex->by_id) || !xa_empty(&ex->circuits));
	circuit_decide_exit(ex);
	circuit_directory_destroy(ex);
	xa_destroy(&ex->by_id);
	xa_destroy(&ex->circuits);
	mutex_destroy(&ex->lock);
	kfree(ex);
}

/**
 * circuit_exchange_put - drop a reference
 * @ex: the exchange, not locked
 *
 * May sleep.
 */
void circuit_exchange_put(struct circuit_exchange *ex)
{
	kref_put(&ex->ref, exchange_release);
}

static int __net_init exchange_net_init(struct net *net)
{
	struct exchange_net *en = net_generic(net, exchange_net_id);
	struct circuit_exchange *ex;
	int err;

	ex = kzalloc(sizeof(*ex), GFP_KERNEL);
	if (!ex)
		return -ENOMEM;
	err = circuit_directory_init(ex);
	if (err)
		goto free;
	circuit_meter_init(ex);
	err = circuit_decide_init(ex);
	if (err)
		goto directory;
	kref_init(&ex->ref);
	mutex_init(&ex->lock);
	xa_init_flags(&ex->by_id, XA_FLAGS_ALLOC1);
	xa_init(&ex->circuits);
	INIT_LIST_HEAD(&ex->idle_cables);
	INIT_LIST_HEAD(&ex->trunks);
	INIT_LIST_HEAD(&ex->exposures);
	ex->trunk = circuit_line_trunk(ex);
	if (!ex->trunk) {
		circuit_exchange_put(ex);
		return -ENOMEM;
	}
	ex->net = net;
	en->ex = ex;
	return 0;

directory:
	circuit_directory_destroy(ex);
free:
	kfree(ex);
	return err;
}

static void __net_exit exchange_net_exit(struct net *net)
{
	struct exchange_net *en = net_generic(net, exchange_net_id);
	struct circuit_exchange *ex = en->ex;
	struct circuit_subject *group, *next_group;
	struct circuit_trunk *trunk, *next;
	struct circuit_line *line;
	unsigned long id;

	mutex_lock(&ex->lock);
	ex->net = NULL;
	xa_for_each(&ex->by_id, id, line)
		circuit_line_delete(line);
	/* Rules may have trunks in use. */
	circuit_nl_drop_drafts(ex);
	circuit_policy_free(ex, ex->policy);
	ex->policy = NULL;
	list_for_each_entry_safe(group, next_group, &ex->groups, list)
		if (group->configured)
			circuit_group_unlimit(ex, group);
	list_for_each_entry_safe(trunk, next, &ex->trunks, list)
		circuit_trunk_del(ex, trunk);
	mutex_unlock(&ex->lock);
	circuit_decide_stop(ex);
	circuit_meter_exit(ex);
	circuit_trunk_net_gone(net);
	/* Sockets that listen are gone when the namespace is. */
	circuit_unexpose_flush();
	circuit_line_put(ex->trunk);
	circuit_exchange_put(ex);
}

static struct pernet_operations exchange_net_ops = {
	.init = exchange_net_init,
	.exit = exchange_net_exit,
	.id = &exchange_net_id,
	.size = sizeof(struct exchange_net),
};

/**
 * circuit_exchange_init - give every network namespace its exchange
 *
 * Return: 0 or a negative errno.
 */
int circuit_exchange_init(void)
{
	return register_pernet_subsys(&exchange_net_ops);
}

/**
 * circuit_exchange_exit - undo circuit_exchange_init()
 */
void circuit_exchange_exit(void)
{
	unregister_pernet_subsys(&exchange_net_ops);
}
