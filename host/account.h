/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Accounts: the processors' time that the operator spends on lines.
 *
 * Every line has an account. Whatever works for a line - the ends of its circuits that are the
 * operator's, sockets that receive for it, its exposures - keeps a reference to that, since such
 * work goes on for a moment when the line is gone. Time is charged where it is spent, per processor
 * and without a lock, by what it was spent for.
 *
 * In threads it is measured in turns: work for one account, and what of it has passed since the
 * last charge is charged next. A turn's clock shows how long its thread has run: it stops while
 * that sleeps or had to leave the processor to somebody else, of which preemption notifiers tell,
 * and while a relay or a timer interrupts it, which charges the line that has rung. (Without
 * CONFIG_PREEMPT_NOTIFIERS it shows what time it is, and a thread that had to wait charges for that
 * as well.) Other interrupts, and what the stack does in softirqs, are not told apart from the
 * thread that they interrupt, as for any process.
 *
 * What is charged to nobody: the wake-up of a socket's callback, and what is done at an
 * administrator's or a VMM's request, in the thread that has made it.
 */
#ifndef _CIRCUIT_ACCOUNT_H
#define _CIRCUIT_ACCOUNT_H

#include <linux/kref.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched/clock.h>
#include <linux/types.h>
#include <linux/u64_stats_sync.h>
#include <linux/circuit.h>
#include "share.h"

/* What the operator's time is spent for; in the order of the netlink attributes. */
enum circuit_use {
	CIRCUIT_USE_RELAY,		/* doorbells */
	CIRCUIT_USE_SIGNALLING,		/* what the guest says, and setting calls over trunks up */
	CIRCUIT_USE_POLICY,		/* deciding about its calls */
	CIRCUIT_USE_TRUNK_SEND,		/* from rings to TCP */
	CIRCUIT_USE_TRUNK_RECEIVE,	/* from TCP to rings */
	CIRCUIT_USE_DATAGRAMS,		/* switched ones and UDP, both ways */
	CIRCUIT_USE_TIMERS,		/* serving those that are limited, ending calls that get no answer */
	CIRCUIT_USES
};

struct circuit_account_stats {
	u64_stats_t		ns[CIRCUIT_USES];
	struct u64_stats_sync	syncp;
};

/**
 * struct circuit_account - what a line has cost
 * @ref: the line's, and of all that works for it
 * @rcu: for the relay
 * @name: the line's
 * @stats: nanoseconds, per processor
 * @share: what it gets
 * @mark: bits that the marks of its sockets of the host's have
 */
struct circuit_account {
	struct kref			ref;
	struct rcu_head			rcu;
	char				name[CIRCUIT_NAME_SIZE];
	struct circuit_account_stats __percpu *stats;
	struct circuit_share		share;
	u32				mark;
};

/**
 * struct circuit_clock - how long a thread has run
 * @notifier: tells when it does
 * @since: when it was last put on a processor
 * @ran: how long it had run before that
 */
struct circuit_clock {
#ifdef CONFIG_PREEMPT_NOTIFIERS
	struct preempt_notifier	notifier;
#endif
	u64			since;
	u64			ran;
};

/**
 * struct circuit_turn - work of a thread for somebody
 * @clock: the thread's
 * @account: whose it is charged to, or NULL
 * @use: what was charged for last, CIRCUIT_USES if nothing was
 * @charged: what @clock has shown when something was charged last
 */
struct circuit_turn {
	struct circuit_clock	clock;
	struct circuit_account	*account;
	enum circuit_use	use;
	u64			charged;
};

DECLARE_PER_CPU(u64, circuit_interrupted);

struct circuit_account *circuit_account_alloc(const char *name);
struct circuit_account *circuit_account_get(struct circuit_account *account);
void circuit_account_put(struct circuit_account *account);
void circuit_account_sum(const struct circuit_account *account, u64 sum[CIRCUIT_USES]);

void circuit_clock_start(struct circuit_clock *clock);
u64 circuit_clock_read(const struct circuit_clock *clock);
void circuit_clock_stop(struct circuit_clock *clock);

void circuit_turn_begin(struct circuit_turn *turn, struct circuit_account *account);
void circuit_turn_charge(struct circuit_turn *turn, enum circuit_use use);
void circuit_turn_charge_rest(struct circuit_turn *turn);
void circuit_turn_charge_part(struct circuit_turn *turn, enum circuit_use use, u64 ns);
void circuit_turn_end(struct circuit_turn *turn);

void circuit_account_init(void);
void circuit_account_exit(void);

/**
 * circuit_account_add - charge an account
 * @account: the account, referenced or its line under RCU
 * @use: for what
 * @ns: nanoseconds
 *
 * Context: any.
 */
static inline void circuit_account_add(struct circuit_account *account, enum circuit_use use, u64 ns)
{
	struct circuit_account_stats *stats = get_cpu_ptr(account->stats);
	unsigned long flags = u64_stats_update_begin_irqsave(&stats->syncp);

	u64_stats_add(&stats->ns[use], ns);
	u64_stats_update_end_irqrestore(&stats->syncp, flags);
	put_cpu_ptr(account->stats);
}

/**
 * circuit_account_interrupt - charge an account for what an interrupt has done
 * @account: the account, its line under RCU
 * @use: for what
 * @ns: nanoseconds, on this processor
 *
 * Context: hard interrupt.
 */
static inline void circuit_account_interrupt(struct circuit_account *account, enum circuit_use use,
					     u64 ns)
{
	circuit_account_add(account, use, ns);
	this_cpu_add(circuit_interrupted, ns);
}

#endif /* _CIRCUIT_ACCOUNT_H */
