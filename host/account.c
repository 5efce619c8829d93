// SPDX-License-Identifier: GPL-2.0
/*
 * Accounts of lines. See account.h.
 */
#include <linux/slab.h>
#include "host.h"

/* Nanoseconds that relays and timers have taken of whoever ran on a processor. */
DEFINE_PER_CPU(u64, circuit_interrupted);

/* --- accounts -------------------------------------------------------------------------------- */

/**
 * circuit_account_alloc - open an account
 * @name: the line's
 *
 * Return: the account, with one reference, or NULL.
 */
struct circuit_account *circuit_account_alloc(const char *name)
{
	struct circuit_account *account = kzalloc(sizeof(*account), GFP_KERNEL_ACCOUNT);
	int cpu;

	if (!account)
		return NULL;
	account->stats = alloc_percpu_gfp(struct circuit_account_stats, GFP_KERNEL_ACCOUNT);
	if (!account->stats) {
		kfree(account);
		return NULL;
	}
	circuit_share_init(account);
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(account->stats, cpu)->syncp);
	kref_init(&account->ref);
	strscpy_pad(account->name, name, sizeof(account->name));
	return account;
}

/**
 * circuit_account_get - take a reference
 * @account: the account
 *
 * Return: @account.
 */
struct circuit_account *circuit_account_get(struct circuit_account *account)
{
	kref_get(&account->ref);
	return account;
}

static void account_free(struct rcu_head *rcu)
{
	struct circuit_account *account = container_of(rcu, struct circuit_account, rcu);

	circuit_share_exit(&account->share);
	free_percpu(account->stats);
	kfree(account);
}

static void account_release(struct kref *ref)
{
	call_rcu(&container_of(ref, struct circuit_account, ref)->rcu, account_free);
}

/**
 * circuit_account_put - drop a reference
 * @account: the account
 *
 * Context: any.
 */
void circuit_account_put(struct circuit_account *account)
{
	kref_put(&account->ref, account_release);
}

/**
 * circuit_account_sum - add up what an account was charged for
 * @account: the account
 * @sum: added to, by what it was for; not a snapshot of one moment
 */
void circuit_account_sum(const struct circuit_account *account, u64 sum[CIRCUIT_USES])
{
	unsigned int start, i;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct circuit_account_stats *stats = per_cpu_ptr(account->stats, cpu);
		u64 ns[CIRCUIT_USES];

		do {
			start = u64_stats_fetch_begin(&stats->syncp);
			for (i = 0; i < CIRCUIT_USES; i++)
				ns[i] = u64_stats_read(&stats->ns[i]);
		} while (u64_stats_fetch_retry(&stats->syncp, start));
		for (i = 0; i < CIRCUIT_USES; i++)
			sum[i] += ns[i];
	}
}

/* --- clocks ---------------------------------------------------------------------------------- */

#ifdef CONFIG_PREEMPT_NOTIFIERS
/* A processor's time that no relay has taken; preemption is disabled. */
static u64 clock_now(void)
{
	u64 interrupted, now;

	do {
		interrupted = this_cpu_read(circuit_interrupted);
		barrier();
		now = local_clock();
		barrier();
	} while (unlikely(interrupted != this_cpu_read(circuit_interrupted)));
	return now - interrupted;
}
#else
/*
 * Nobody tells when a thread goes to another processor, whose relays have taken more, or less, and
 * whose clock may differ: the clock of all of them.
 */
static u64 clock_now(void)
{
	return ktime_get_mono_fast_ns();
}
#endif

#ifdef CONFIG_PREEMPT_NOTIFIERS
static void clock_sched_in(struct preempt_notifier *notifier, int cpu)
{
	container_of(notifier, struct circuit_clock, notifier)->since = clock_now();
}

static void clock_sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct circuit_clock *clock = container_of(notifier, struct circuit_clock, notifier);

	clock->ran += clock_now() - clock->since;
}

static struct preempt_ops clock_ops = {
	.sched_in = clock_sched_in,
	.sched_out = clock_sched_out,
};
#endif

/**
 * circuit_clock_start - see how long the current thread runs from now on
 * @clock: set to 0; the thread's until circuit_clock_stop()
 */
void circuit_clock_start(struct circuit_clock *clock)
{
	preempt_disable();
	clock->ran = 0;
	clock->since = clock_now();
#ifdef CONFIG_PREEMPT_NOTIFIERS
	preempt_notifier_init(&clock->notifier, &clock_ops);
	preempt_notifier_register(&clock->notifier);
#endif
	preempt_enable();
}

/**
 * circuit_clock_read - how long has the thread run?
 * @clock: a clock that the current thread has started
 *
 * Return: nanoseconds.
 */
u64 circuit_clock_read(const struct circuit_clock *clock)
{
	u64 ran;

	preempt_disable();
	ran = clock->ran + clock_now() - clock->since;
	preempt_enable();
	return ran;
}

/**
 * circuit_clock_stop - undo circuit_clock_start()
 * @clock: the clock
 */
void circuit_clock_stop(struct circuit_clock *clock)
{
#ifdef CONFIG_PREEMPT_NOTIFIERS
	preempt_notifier_unregister(&clock->notifier);
#endif
}

/* --- turns ----------------------------------------------------------------------------------- */

/**
 * circuit_turn_begin - the current thread works for somebody
 * @turn: filled in
 * @account: whose, referenced by the caller, or NULL
 */
void circuit_turn_begin(struct circuit_turn *turn, struct circuit_account *account)
{
	turn->account = account;
	turn->use = CIRCUIT_USES;
	turn->charged = 0;
	circuit_clock_start(&turn->clock);
}

/**
 * circuit_turn_charge - charge for the time since something was charged last
 * @turn: the turn, the current thread's
 * @use: what it was spent for
 */
void circuit_turn_charge(struct circuit_turn *turn, enum circuit_use use)
{
	/* Clocks of processors differ a little. */
	u64 now = max(circuit_clock_read(&turn->clock), turn->charged);

	if (turn->account)
		circuit_account_add(turn->account, use, now - turn->charged);
	turn->use = use;
	turn->charged = now;
}

/**
 * circuit_turn_charge_rest - charge for what a turn takes besides
 * @turn: the turn, the current thread's
 *
 * It counts as the same as what was charged for last. If nothing was, it is not charged.
 */
void circuit_turn_charge_rest(struct circuit_turn *turn)
{
	if (turn->use < CIRCUIT_USES)
		circuit_turn_charge(turn, turn->use);
}

/**
 * circuit_turn_charge_part - charge for a part of that time
 * @turn: the turn, the current thread's
 * @use: what it was spent for
 * @ns: nanoseconds, as somebody else has measured them
 */
void circuit_turn_charge_part(struct circuit_turn *turn, enum circuit_use use, u64 ns)
{
	if (!ns)
		return;
	/* Who measures by another clock may have been interrupted. */
	ns = clamp_t(s64, circuit_clock_read(&turn->clock) - turn->charged, 0, ns);
	if (turn->account)
		circuit_account_add(turn->account, use, ns);
	turn->charged += ns;
}

/**
 * circuit_turn_end - the current thread works for somebody no more
 * @turn: the turn; what was not charged is not
 */
void circuit_turn_end(struct circuit_turn *turn)
{
	circuit_clock_stop(&turn->clock);
}

/**
 * circuit_account_init - have clocks work
 */
void circuit_account_init(void)
{
#ifdef CONFIG_PREEMPT_NOTIFIERS
	preempt_notifier_inc();
#endif
}

/**
 * circuit_account_exit - undo circuit_account_init()
 */
void circuit_account_exit(void)
{
#ifdef CONFIG_PREEMPT_NOTIFIERS
	preempt_notifier_dec();
#endif
}
