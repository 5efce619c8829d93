/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shares: which line the operator works for next.
 *
 * What the operator does for lines in threads, and as often as they like, are jobs: ends of
 * circuits that are its own, sockets that receive for them, those that take calls of the world's,
 * and hearing what guests say, beyond what is heard at once (signalling.c). Without more, whoever
 * has more of those, or has more to do in each, would get more of the processors.
 *
 * Jobs wait in the queue of their account, which is a line's. A queue with jobs is a work of the
 * kernel's workqueue circuit_trunk, which runs about as many of them at once as there are
 * processors; the others wait. A queue's turn lasts until it has used its quantum of a processor's
 * time, by the account's clock, or has no job left; with jobs left it goes to the end. A job is not
 * interrupted, so a turn may take longer: the next ones are shorter by that much, or left out. That
 * is deficit round robin, first of lines, and within a line of its jobs, one look each. A quantum
 * is by the line's weight. As long as no other line waits for a worker there is nobody to be fair
 * to but for the kernel's scheduler, and it just goes on.
 *
 * A line may be allowed only so much of a processor's time altogether. What its turns use counts
 * against that, and what relays use that go on in a thread (relay.c); a queue that has used what it
 * may leaves the workers, and a timer brings it back when that would have come at the rate. What a
 * look takes beyond it is made up for. No cap holds a line that has a job for which somebody waits,
 * an administrator: circuit_job_hurry().
 *
 * The lines of a group share what the group has: each has at most its part, by weight, of the
 * group's weight and of the group's cap, among those of its lines that have something to do at the
 * moment. A line in several groups has the least of what they leave it. What lines of a group use
 * is counted against the group's cap besides, since those who come and go would be together more
 * than it. Of a group a turn needs one atomic variable for the number of those who share it and one
 * for its cap; nothing is locked, and nobody looks at other lines.
 *
 * So a line uses one processor at a time, as a VM with a vhost thread does. How many workers there
 * are at most, on which processors, and their priority are to be set in
 * /sys/devices/virtual/workqueue/circuit_trunk. The order among those that wait is the workqueue's:
 * of arrival, but from 6.9 on, where works wait per processor and begin in turn, only about that.
 */
#ifndef _CIRCUIT_SHARE_H
#define _CIRCUIT_SHARE_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>
#include <linux/circuit_netlink.h>
#include "bell.h"

struct circuit_account;
struct circuit_turn;

#define CIRCUIT_WEIGHT		100		/* unless said otherwise */
#define CIRCUIT_WEIGHT_MIN	10
#define CIRCUIT_WEIGHT_MAX	1000
#define CIRCUIT_POOL_WEIGHT_MAX	1000000		/* of a group's lines together */
#define CIRCUIT_QUANTUM		50000		/* ns of a turn, at that weight */

#define CIRCUIT_CAP_MAX		100			/* percent of a processor */
#define CIRCUIT_CAP_PERCENT	10000u			/* of the millionths that it is divided into */
#define CIRCUIT_CAP_AT_ONCE	(10 * NSEC_PER_MSEC)	/* what comes in that may be used at once, and saved up */
#define CIRCUIT_CAP_DEBT	(10 * NSEC_PER_SEC)	/* a single look does not cost a line more than that */

/**
 * struct circuit_cap - so much of a processor's time
 * @percent: how much, 0 for any amount
 * @due: when, in ns of ktime_get_ns(), all that was used would have come at that rate
 */
struct circuit_cap {
	u32		percent;
	atomic64_t	due;
};

/**
 * struct circuit_pool - what the lines of a group share
 * @ref: the group's, and its lines' accounts'
 * @weight: of their shares together, as of a line's; 0 for any
 * @active: the weights of those that have something to do, together
 * @cap: of them together
 * @doorbells: most of theirs that are served per second, see bell.h; 0 for any
 * @bells: for that
 */
struct circuit_pool {
	struct kref		ref;
	u32			weight;
	atomic_t		active;
	struct circuit_cap	cap;
	u32			doorbells;
	struct circuit_toll	bells;
};

/**
 * struct circuit_pools - those of a line, as long as it is in the same groups
 * @ref: the account's, and its share's while it is counted in them
 * @rcu: for turns that begin
 * @n: how many
 * @pool: referenced
 */
struct circuit_pools {
	struct kref		ref;
	struct rcu_head		rcu;
	unsigned int		n;
	struct circuit_pool	*pool[];
};

/**
 * enum circuit_job_end - what a job's look has come to
 * @CIRCUIT_JOB_DONE: nothing more, unless it has been kicked meanwhile
 * @CIRCUIT_JOB_GONE: there is no job any more
 */
enum circuit_job_end {
	CIRCUIT_JOB_DONE,
	CIRCUIT_JOB_GONE,
};

struct circuit_job;

/**
 * struct circuit_job_ops - what a job does
 * @look: do what there is to be done, or a part of it and kick again; one at a time, in a thread,
 *	which may sleep; charges @turn
 * @idle: there was no kick since: drop the reference that the kick has taken
 */
struct circuit_job_ops {
	enum circuit_job_end (*look)(struct circuit_job *job, struct circuit_turn *turn);
	void (*idle)(struct circuit_job *job);
};

/**
 * struct circuit_job - something that is done for a line, again and again
 * @ops: what
 * @account: whose
 * @kicked: enum job_kicked
 * @urgent: somebody waits for it, see circuit_job_hurry()
 * @fresh: in share->fresh
 * @ready: in share->ready
 * @since: when it was kicked, in ns
 */
struct circuit_job {
	const struct circuit_job_ops	*ops;
	struct circuit_account		*account;
	atomic_t			kicked;
	unsigned int			urgent;
	struct llist_node		fresh;
	struct list_head		ready;
	u64				since;
};

/**
 * struct circuit_share - what an account gets of the processors
 * @weight: against those of others, CIRCUIT_WEIGHT_MIN to CIRCUIT_WEIGHT_MAX
 * @cap: and at most
 * @pools: that it is in, NULL for none; changes under the exchange's lock
 * @fresh: jobs that were kicked
 * @work: does them; it owns what follows, and while it is queued or runs it has a reference of the
 *	account
 * @ready: those that are next
 * @counted: the pools that it is counted in now
 * @counts: by which weight, 0 if it has nothing to do
 * @owed: ns that it has used more than its quanta were
 * @throttled: it has used what it may, and waits for @timer, which has a reference of the account,
 *	too
 * @urgent: jobs that are; while there are any, no cap and no debt counts
 * @renewed: changes when the caps do
 * @timer: queues @work
 * @since: when it began to wait
 * @waited: ns that it has waited
 * @queued: how many looks have waited how long, see linux/circuit_netlink.h
 * @served: and how long they have taken
 */
struct circuit_share {
	u32			weight;
	struct circuit_cap	cap;
	struct circuit_pools __rcu *pools;
	struct llist_head	fresh;
	struct work_struct	work;
	struct list_head	ready;
	struct circuit_pools	*counted;
	u32			counts;
	s64			owed;
	atomic_t		throttled;
	atomic_t		urgent;
	atomic_t		renewed;
	struct hrtimer		timer;
	u64			since;
	u64			waited;
	u64			queued[CIRCUIT_TIMES];
	u64			served[CIRCUIT_TIMES];
};

void circuit_share_init(struct circuit_account *account);
void circuit_job_init(struct circuit_job *job, struct circuit_account *account,
		      const struct circuit_job_ops *ops);
bool circuit_job_kick(struct circuit_job *job);
bool circuit_job_hurry(struct circuit_job *job);

void circuit_cap_set(struct circuit_cap *cap, u32 percent);
void circuit_share_cap(struct circuit_share *share, u32 percent);
void circuit_share_renew(struct circuit_share *share);
bool circuit_share_left(struct circuit_share *share);
u64 circuit_share_charge(struct circuit_share *share, u64 ns);
void circuit_share_flush(void);
u64 circuit_cap_left(const atomic64_t *due, u32 rate, u64 now);
u64 circuit_cap_use(atomic64_t *due, u32 rate, u64 ns, u64 now);

struct circuit_pool *circuit_pool_alloc(void);
void circuit_pool_put(struct circuit_pool *pool);
struct circuit_pools *circuit_pools_alloc(unsigned int n);
void circuit_pools_put(struct circuit_pools *pools);
void circuit_pools_add(struct circuit_pools *pools, struct circuit_pool *pool);
void circuit_share_set_pools(struct circuit_share *share, struct circuit_pools *pools);
void circuit_share_exit(struct circuit_share *share);
void circuit_share_count(struct circuit_share *share);
void circuit_share_uncount(struct circuit_share *share);
void circuit_share_terms(const struct circuit_share *share, u32 *weight, u32 *rate);

#endif /* _CIRCUIT_SHARE_H */
