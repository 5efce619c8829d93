// SPDX-License-Identifier: GPL-2.0
/*
 * Lines: configuration, usage, life and death.
 *
 * The directory's reference is dropped by circuit_line_delete(), a window's by
 * its release, an end's when its circuit is freed. A line pins the module, so
 * that the operator cannot be unloaded under its subscribers.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include "host.h"
#include "trace.h"

/**
 * circuit_line_get - take a reference
 * @line: the line
 *
 * Return: @line.
 */
struct circuit_line *circuit_line_get(struct circuit_line *line)
{
	kref_get(&line->ref);
	return line;
}

static void line_free(struct rcu_head *rcu)
{
	struct circuit_line *line = container_of(rcu, struct circuit_line, rcu);

	bool pins = !line->is_trunk;

	free_percpu(line->stats);
	kfree(line);
	if (pins)
		module_put(THIS_MODULE);
}

static void line_release(struct kref *ref)
{
	struct circuit_line *line = container_of(ref, struct circuit_line, ref);

	WARN_ON_ONCE(memchr_inv(line->quota.used, 0, sizeof(line->quota.used)) || line->nr_locals);
	xa_destroy(&line->ends);
	xa_destroy(&line->pairs);
	xa_destroy(&line->listeners);
	xa_destroy(&line->calls);
	circuit_account_put(line->account);
	circuit_exchange_put(line->ex);
	call_rcu(&line->rcu, line_free);
}

/**
 * circuit_line_put - drop a reference
 * @line: the line
 *
 * Context: process. The caller does not hold the last reference to the exchange
 * together with its lock.
 */
void circuit_line_put(struct circuit_line *line)
{
	kref_put(&line->ref, line_release);
}

/* The reverse of line_alloc(). */
static void line_unmake(struct circuit_line *line)
{
	if (line->account)
		circuit_account_put(line->account);
	free_percpu(line->stats);
	kfree(line);
}

static struct circuit_line *line_alloc(struct circuit_exchange *ex, const char *name,
				       const struct circuit_line_config *cfg)
{
	struct circuit_line *line = kzalloc(sizeof(*line), GFP_KERNEL_ACCOUNT);
	int cpu;

	if (!line)
		return NULL;
	line->stats = alloc_percpu_gfp(struct circuit_line_stats, GFP_KERNEL_ACCOUNT);
	line->account = circuit_account_alloc(name);
	if (!line->stats || !line->account) {
		line_unmake(line);
		return NULL;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(line->stats, cpu)->syncp);
	kref_init(&line->ref);
	circuit_sig_init(line);
	strscpy_pad(line->name, name, CIRCUIT_NAME_SIZE);
	line->cfg = *cfg;
	xa_init_flags(&line->ends, XA_FLAGS_ALLOC1);
	xa_init(&line->pairs);
	xa_init(&line->listeners);
	xa_init(&line->calls);
	INIT_LIST_HEAD(&line->owed);
	INIT_LIST_HEAD(&line->steps);
	INIT_LIST_HEAD(&line->addrs);
	INIT_LIST_HEAD(&line->locals);
	return line;
}

/**
 * circuit_line_trunk - make what stands for the host's stacks in an exchange
 * @ex: the exchange
 *
 * Return: the line, with a reference that is the caller's, or NULL if out of memory.
 */
struct circuit_line *circuit_line_trunk(struct circuit_exchange *ex)
{
	static const struct circuit_line_config cfg = {
		.ring_max = CIRCUIT_RING_MAX,
		.ring_default = CIRCUIT_RING_DEFAULT,
	};
	struct circuit_line *line = line_alloc(ex, CIRCUIT_TRUNK_LINE, &cfg);

	if (!line)
		return NULL;
	line->is_trunk = true;
	circuit_limits_none(&line->quota.limits);
	line->ready = true;
	line->ex = circuit_exchange_get(ex);
	return line;
}

/**
 * circuit_line_create - add a line to an exchange
 * @ex: the exchange, locked
 * @name: a name for which circuit_name_ok() holds
 * @cfg: a valid configuration
 * @limits: what it may have; at least one circuit, and at most CIRCUIT_INDEX_MAX
 *
 * Return: 0, -EEXIST if the name is taken, -ENONET if the namespace is going
 * away, or -ENOMEM.
 */
int circuit_line_create(struct circuit_exchange *ex, const char *name,
			const struct circuit_line_config *cfg, const struct circuit_limits *limits)
{
	struct circuit_line *line;
	int err;

	lockdep_assert_held(&ex->lock);
	if (!ex->net)
		return -ENONET;
	line = line_alloc(ex, name, cfg);
	if (!line)
		return -ENOMEM;
	line->quota.limits = *limits;
	err = -ENOMEM;
	line->party.line = circuit_subject_get(ex, CIRCUIT_SUBJECT_LINE, name);
	if (!line->party.line)
		goto free;
	err = xa_alloc(&ex->by_id, &line->id, line, xa_limit_31b, GFP_KERNEL);
	if (err)
		goto free;
	err = circuit_directory_add_line(ex, line);
	if (err)
		goto erase;
	line->ex = circuit_exchange_get(ex);
	__module_get(THIS_MODULE);
	ex->seq++;
	circuit_event_line(line, CIRCUIT_EVENT_LINE_NEW, CIRCUIT_REASON_NONE);
	return 0;

erase:
	xa_erase(&ex->by_id, line->id);
free:
	circuit_subject_put(ex, line->party.line);
	line_unmake(line);
	return err;
}

/**
 * circuit_line_set_groups - put a line into groups
 * @line: the line, its exchange locked
 * @groups: the groups, none of them twice, each with a reference that is the line's from now on
 * @n: how many, at most CIRCUIT_GROUPS_MAX; 0 to take it out of all
 * @pools: what they share, likewise the line's from now on; NULL if there are none
 */
void circuit_line_set_groups(struct circuit_line *line, struct circuit_subject **groups,
			     unsigned int n, struct circuit_pools *pools)
{
	unsigned int i;

	lockdep_assert_held(&line->ex->lock);
	circuit_group_leave(line);
	for (i = 0; i < n; i++)
		circuit_group_join(line, groups[i]);
	circuit_share_set_pools(&line->account->share, pools);
	circuit_share_renew(&line->account->share);
}

/**
 * circuit_line_set_trunks - say where calls go to addresses that are no line's
 * @line: the line, its exchange locked
 * @trunks: its exchange's, the first choice first
 * @n: how many, at most CIRCUIT_LINE_TRUNKS_MAX; 0: such calls are not for the exchange
 */
void circuit_line_set_trunks(struct circuit_line *line, struct circuit_trunk **trunks,
			     unsigned int n)
{
	unsigned int i;

	lockdep_assert_held(&line->ex->lock);
	for (i = 0; i < n; i++)
		circuit_trunk_use(trunks[i], 1);
	for (i = 0; i < line->nr_trunks; i++)
		circuit_trunk_use(line->trunks[i], -1);
	for (i = 0; i < n; i++)
		line->trunks[i] = trunks[i];
	line->nr_trunks = n;
}

static void line_drop_addrs(struct circuit_exchange *ex, struct list_head *addrs)
{
	struct circuit_addr *addr, *next;

	list_for_each_entry_safe(addr, next, addrs, list) {
		circuit_directory_del_addr(ex, addr);
		kfree(addr);
	}
}

/**
 * circuit_line_set_addrs - give a line its IP addresses
 * @line: the line, its exchange locked
 * @addrs: the addresses, unicast ones of global or private scope
 * @n: how many, at most CIRCUIT_ADDRS_MAX; 0 to take them away
 * @bad: set to the one that is taken, if one is
 *
 * Circuits that exist keep the addresses they were called with.
 *
 * Return: 0; -EEXIST if another line has one of them, or it is named twice; -ENOMEM.
 * Nothing has changed then.
 */
int circuit_line_set_addrs(struct circuit_line *line, const struct in6_addr *addrs,
			   unsigned int n, unsigned int *bad)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit_addr *addr;
	LIST_HEAD(old);
	LIST_HEAD(new);
	unsigned int i, j;
	int err;

	lockdep_assert_held(&ex->lock);
	for (i = 0; i < n; i++) {
		*bad = i;
		err = -EEXIST;
		for (j = 0; j < i; j++)
			if (ipv6_addr_equal(&addrs[j], &addrs[i]))
				goto undo;
		if (circuit_directory_addr(ex, &addrs[i]) == line)
			continue;
		err = -ENOMEM;
		addr = kzalloc(sizeof(*addr), GFP_KERNEL_ACCOUNT);
		if (!addr)
			goto undo;
		addr->addr = addrs[i];
		addr->line = line;
		err = circuit_directory_add_addr(ex, addr);
		if (err) {
			kfree(addr);
			goto undo;
		}
		list_add_tail(&addr->list, &new);
	}
	/* In the order given: the first of a family is where calls come from. */
	list_splice_init(&line->addrs, &old);
	list_splice_init(&new, &old);
	for (i = 0; i < n; i++)
		list_for_each_entry(addr, &old, list)
			if (ipv6_addr_equal(&addr->addr, &addrs[i])) {
				list_move_tail(&addr->list, &line->addrs);
				break;
			}
	line_drop_addrs(ex, &old);
	return 0;

undo:
	line_drop_addrs(ex, &new);
	return err;
}

/**
 * circuit_line_delete - take a line out of service for good
 * @line: a line in the directory; its exchange is locked, and referenced by the
 *	caller
 *
 * A VM that is attached keeps running with a line that answers nothing.
 */
void circuit_line_delete(struct circuit_line *line)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit_window *win = circuit_line_window(line);

	lockdep_assert_held(&ex->lock);
	line->deleted = true;
	circuit_directory_del_line(ex, line);
	circuit_line_set_addrs(line, NULL, 0, NULL);
	circuit_line_set_trunks(line, NULL, 0);
	circuit_unexpose_line(ex, line);
	xa_erase(&ex->by_id, line->id);
	ex->seq++;
	if (win) {
		WRITE_ONCE(circuit_window_hdr(win)->reason, CIRCUIT_REASON_LINE_DELETED);
		virt_store_release(&circuit_window_hdr(win)->state, CIRCUIT_LINE_GONE);
		circuit_interrupt(line, win, 0);
	}
	circuit_line_reset(line, CIRCUIT_REASON_LINE_DELETED);
	circuit_line_set_groups(line, NULL, 0, NULL);
	circuit_share_cap(&line->account->share, 0);
	circuit_subject_put(ex, line->party.line);
	line->party.line = NULL;
	circuit_event_line(line, CIRCUIT_EVENT_LINE_DEL, CIRCUIT_REASON_LINE_DELETED);
	circuit_line_put(line);
}

/**
 * circuit_line_window - the window attached to a line
 * @line: the line, its exchange locked
 *
 * Return: the window, which stays while the lock is held, or NULL.
 */
struct circuit_window *circuit_line_window(struct circuit_line *line)
{
	return rcu_dereference_protected(line->win, lockdep_is_held(&line->ex->lock));
}

/**
 * circuit_line_state - what is at the end of a line
 * @line: the line, its exchange locked
 */
enum circuit_line_state circuit_line_state(const struct circuit_line *line)
{
	if (!rcu_access_pointer(line->win))
		return CIRCUIT_LINE_STATE_DETACHED;
	if (line->fault)
		return CIRCUIT_LINE_STATE_FAULT;
	return line->ready ? CIRCUIT_LINE_STATE_UP : CIRCUIT_LINE_STATE_ATTACHED;
}

/**
 * circuit_line_stats - add a line's counters up
 * @line: the line, its exchange locked
 * @sum: filled in; not a snapshot of one moment
 */
void circuit_line_stats(struct circuit_line *line, u64 sum[CIRCUIT_NR_COUNTERS])
{
	struct circuit_end *end;
	unsigned long i;
	int cpu;

	memset(sum, 0, CIRCUIT_NR_COUNTERS * sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct circuit_line_stats *stats = per_cpu_ptr(line->stats, cpu);
		u64 n[CIRCUIT_NR_COUNTERS];
		unsigned int start;

		do {
			start = u64_stats_fetch_begin(&stats->syncp);
			for (i = 0; i < CIRCUIT_NR_COUNTERS; i++)
				n[i] = u64_stats_read(&stats->n[i]);
		} while (u64_stats_fetch_retry(&stats->syncp, start));
		for (i = 0; i < CIRCUIT_NR_COUNTERS; i++)
			sum[i] += n[i];
	}
	xa_for_each(&line->ends, i, end) {
		sum[CIRCUIT_COUNT_BYTES_OUT] += circuit_end_bytes(end);
		sum[CIRCUIT_COUNT_BYTES_IN] += circuit_end_bytes(circuit_far_end(end));
	}
}

/**
 * circuit_line_setup - a call of a line's was connected
 * @line: the line, its exchange locked
 * @ns: how long that took
 */
void circuit_line_setup(struct circuit_line *line, u64 ns)
{
	u64 steps = max_t(u64, ns, 1 << CIRCUIT_SETUP_SHIFT) * CIRCUIT_SETUP_STEPS >>
		    CIRCUIT_SETUP_SHIFT;
	unsigned int order = ilog2(steps / CIRCUIT_SETUP_STEPS);

	steps = (steps >> order) - CIRCUIT_SETUP_STEPS + order * CIRCUIT_SETUP_STEPS;
	line->setups[min_t(u64, steps, CIRCUIT_SETUPS - 1)]++;
}

/**
 * circuit_line_reset - release everything a line's guest had
 * @line: the line, its exchange locked
 * @reason: what the far ends are told
 *
 * Afterwards the line has no calls, listeners, circuits or cables. Far ends keep
 * their half of a circuit, with what is still in the ring, until they hang up.
 */
void circuit_line_reset(struct circuit_line *line, enum circuit_reason reason)
{
	struct circuit_listener *lst;
	struct circuit_end *end;
	struct circuit *call;
	unsigned long i;

	lockdep_assert_held(&line->ex->lock);
	if (line->ready)
		circuit_event_line(line, CIRCUIT_EVENT_LINE_DOWN, reason);
	line->ready = false;
	line->epoch = 0;
	WRITE_ONCE(line->ex->switches, line->ex->switches + 1);
	xa_for_each(&line->calls, i, call)
		circuit_cancel(line, call->ref);
	xa_for_each(&line->listeners, i, lst)
		circuit_unlisten(lst, reason == CIRCUIT_REASON_LINE_DELETED ? reason :
				 CIRCUIT_REASON_NO_LISTENER);
	xa_for_each(&line->ends, i, end)
		circuit_hangup(end, reason);
	circuit_locals_reset(line, reason);
	/* What is left is owed to a guest that no longer wants to know. */
	while ((end = list_first_entry_or_null(&line->owed, struct circuit_end, owed)))
		circuit_sig_forget(end);
	circuit_pair_end(line);
}

/**
 * circuit_line_fault - put a line out of service until its guest starts over
 * @line: the line, its exchange locked, attached
 * @what: what the guest did, for the log
 */
void circuit_line_fault(struct circuit_line *line, const char *what)
{
	struct circuit_window *win = circuit_line_window(line);
	u32 epoch = line->epoch;

	circuit_line_count(line, CIRCUIT_COUNT_VIOLATIONS);
	trace_circuit_violation(line, what);
	pr_warn_ratelimited("circuit: line %s: %s, out of service until it restarts\n",
			    line->name, what);
	circuit_line_reset(line, CIRCUIT_REASON_VIOLATION);
	line->epoch = epoch;
	line->fault = true;
	circuit_event_line(line, CIRCUIT_EVENT_LINE_FAULT, CIRCUIT_REASON_VIOLATION);
	WRITE_ONCE(circuit_window_hdr(win)->reason, CIRCUIT_REASON_VIOLATION);
	virt_store_release(&circuit_window_hdr(win)->state, CIRCUIT_LINE_FAULT);
	circuit_interrupt(line, win, 0);
}
