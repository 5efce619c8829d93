// SPDX-License-Identifier: GPL-2.0
/*
 * Shares of the operator's time. See share.h.
 */
#include <linux/log2.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "host.h"
#include "trace.h"

#define OWED_MAX	(64 * CIRCUIT_QUANTUM)	/* a single look does not cost a line more than this */
#define OWED_TURNS	512			/* nor more turns that are left out */
#define STAY		NSEC_PER_MSEC		/* with a worker, if no other line waits for one */

/* Whether a job waits or is being looked at, and whether to look (again). */
enum job_kicked {
	JOB_IDLE,
	JOB_LOOKS,
	JOB_KICKED,
};

/* --- caps ------------------------------------------------------------------------------------ */

/**
 * circuit_cap_set - set a cap
 * @cap: the cap
 * @percent: of a processor's time, at most CIRCUIT_CAP_MAX; 0 for no cap
 */
void circuit_cap_set(struct circuit_cap *cap, u32 percent)
{
	if (cap->percent == percent)
		return;
	/* What was used does not count at another rate. */
	WRITE_ONCE(cap->percent, percent);
	atomic64_set(&cap->due, 0);
}

/**
 * circuit_cap_left - how much may be used now?
 * @due: of a cap, or a line's part of one
 * @rate: in millionths of a processor's time, 0 for any amount
 * @now: ktime_get_ns()
 *
 * Return: nanoseconds of a processor's time.
 */
u64 circuit_cap_left(const atomic64_t *due, u32 rate, u64 now)
{
	s64 ahead;

	if (likely(!rate))
		return U64_MAX;
	ahead = max_t(s64, atomic64_read(due) - now, -(s64)CIRCUIT_CAP_AT_ONCE);
	if (ahead >= (s64)CIRCUIT_CAP_AT_ONCE)
		return 0;
	/* However little: it is not told to wait, see circuit_cap_use(). */
	return max_t(u64, (CIRCUIT_CAP_AT_ONCE - ahead) * rate / USEC_PER_SEC, 1);
}

/**
 * circuit_cap_use - something was used
 * @due: as above
 * @rate: likewise
 * @ns: so much of a processor's time, until now; more than a second counts as one
 * @now: ktime_get_ns()
 *
 * Return: how many nanoseconds to wait until the next is used, 0 if there is something left.
 */
u64 circuit_cap_use(atomic64_t *due, u32 rate, u64 ns, u64 now)
{
	s64 before, after, takes;

	if (likely(!rate))
		return 0;
	ns = min_t(u64, ns, NSEC_PER_SEC);
	takes = ns * USEC_PER_SEC / rate;
	before = atomic64_read(due);
	do {
		/* Saved up until it was begun to be used. */
		after = max_t(s64, before, now - ns - CIRCUIT_CAP_AT_ONCE) + takes;
		after = min_t(s64, after, now + CIRCUIT_CAP_DEBT);
	} while (!atomic64_try_cmpxchg(due, &before, after));
	after -= now;
	/* Not for a moment each time: until all is paid for. */
	return after >= (s64)CIRCUIT_CAP_AT_ONCE ? after : 0;
}

/* --- pools ----------------------------------------------------------------------------------- */

/**
 * circuit_pool_alloc - make what the lines of a new group share
 *
 * Return: the pool, with one reference, or NULL.
 */
struct circuit_pool *circuit_pool_alloc(void)
{
	struct circuit_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL_ACCOUNT);

	if (pool)
		kref_init(&pool->ref);
	return pool;
}

static void pool_release(struct kref *ref)
{
	kfree(container_of(ref, struct circuit_pool, ref));
}

/**
 * circuit_pool_put - drop a reference
 * @pool: the pool, or NULL
 *
 * Context: any.
 */
void circuit_pool_put(struct circuit_pool *pool)
{
	if (pool)
		kref_put(&pool->ref, pool_release);
}

/**
 * circuit_pools_alloc - have room for pools
 * @n: how many
 *
 * Return: a list to be filled, with one reference, or NULL.
 */
struct circuit_pools *circuit_pools_alloc(unsigned int n)
{
	struct circuit_pools *pools = kzalloc(struct_size(pools, pool, n), GFP_KERNEL_ACCOUNT);

	if (pools)
		kref_init(&pools->ref);
	return pools;
}

/**
 * circuit_pools_add - fill the list
 * @pools: a new list, with room for it
 * @pool: the pool; a reference is taken
 */
void circuit_pools_add(struct circuit_pools *pools, struct circuit_pool *pool)
{
	kref_get(&pool->ref);
	pools->pool[pools->n++] = pool;
}

static void pools_free(struct rcu_head *rcu)
{
	struct circuit_pools *pools = container_of(rcu, struct circuit_pools, rcu);

	while (pools->n)
		circuit_pool_put(pools->pool[--pools->n]);
	kfree(pools);
}

static void pools_release(struct kref *ref)
{
	call_rcu(&container_of(ref, struct circuit_pools, ref)->rcu, pools_free);
}

/**
 * circuit_pools_put - drop a reference
 * @pools: the list, or NULL
 *
 * Context: any.
 */
void circuit_pools_put(struct circuit_pools *pools)
{
	if (pools)
		kref_put(&pools->ref, pools_release);
}

/**
 * circuit_share_set_pools - put a line into other groups
 * @share: its account's; the exchange is locked
 * @pools: those of the groups, the caller's reference is the account's from now on; NULL for none
 *
 * It is counted in them from its next turn on.
 */
void circuit_share_set_pools(struct circuit_share *share, struct circuit_pools *pools)
{
	circuit_pools_put(rcu_replace_pointer(share->pools, pools, true));
}

/**
 * circuit_share_uncount - a share has nothing to do any more
 * @share: the share, as its turn
 */
void circuit_share_uncount(struct circuit_share *share)
{
	struct circuit_pools *pools = share->counted;
	unsigned int i;

	for (i = 0; pools && i < pools->n; i++)
		atomic_sub(share->counts, &pools->pool[i]->active);
	share->counts = 0;
	share->counted = NULL;
	circuit_pools_put(pools);
}

/**
 * circuit_share_count - a share has something to do
 * @share: the share, as its turn
 *
 * Unless it is, it is counted by its weight in the pools that it is in now.
 */
void circuit_share_count(struct circuit_share *share)
{
	u32 weight = READ_ONCE(share->weight);
	struct circuit_pools *pools;
	unsigned int i;

	if (likely(share->counts == weight &&
		   share->counted == rcu_access_pointer(share->pools)))
		return;
	circuit_share_uncount(share);
	rcu_read_lock();
	pools = rcu_dereference(share->pools);
	if (pools && !kref_get_unless_zero(&pools->ref))
		pools = NULL;	/* for this turn: others have just taken their place */
	rcu_read_unlock();
	for (i = 0; pools && i < pools->n; i++)
		atomic_add(weight, &pools->pool[i]->active);
	share->counts = weight;
	share->counted = pools;
}

/* Of what a pool has, the part of somebody who counts in it. */
static u32 pool_part(const struct circuit_pool *pool, u32 whole, u32 counts)
{
	u32 active = atomic_read(&pool->active);

	return max_t(u32, (u64)whole * counts / max(active, counts), 1);
}

/**
 * circuit_share_terms - what does a share get now?
 * @share: the share, counted
 * @weight: set to its weight, the least that its line and its groups leave it
 * @rate: set to millionths of a processor's time, likewise; 0 for any amount
 */
void circuit_share_terms(const struct circuit_share *share, u32 *weight, u32 *rate)
{
	const struct circuit_pools *pools = share->counted;
	u32 whole, least;
	unsigned int i;

	*weight = share->counts;
	least = (READ_ONCE(share->cap.percent) ?: U32_MAX / CIRCUIT_CAP_PERCENT) * CIRCUIT_CAP_PERCENT;
	for (i = 0; pools && i < pools->n; i++) {
		const struct circuit_pool *pool = pools->pool[i];

		whole = READ_ONCE(pool->weight);
		if (whole)
			*weight = min(*weight, pool_part(pool, whole, share->counts));
		whole = READ_ONCE(pool->cap.percent) * CIRCUIT_CAP_PERCENT;
		if (whole)
			least = min(least, pool_part(pool, whole, share->counts));
	}
	*rate = least > CIRCUIT_CAP_MAX * CIRCUIT_CAP_PERCENT ? 0 : least;
}

/* How much of a processor's time a share may use now that gets @rate, and is in @pools. */
static u64 share_may(const struct circuit_share *share, const struct circuit_pools *pools, u32 rate)
{
	const struct circuit_cap *cap;
	unsigned int i;
	u64 now, may;

	/* Nor has any pool a cap. */
	if (likely(!rate))
		return U64_MAX;
	now = ktime_get_ns();
	may = circuit_cap_left(&share->cap.due, rate, now);
	for (i = 0; pools && i < pools->n; i++) {
		cap = &pools->pool[i]->cap;
		may = min(may, circuit_cap_left(&cap->due, READ_ONCE(cap->percent) *
						CIRCUIT_CAP_PERCENT, now));
	}
	return may;
}

/* It has used so much. Returns how long it has to wait. */
static u64 share_use(struct circuit_share *share, struct circuit_pools *pools, u32 rate, u64 ns)
{
	struct circuit_cap *cap;
	unsigned int i;
	u64 now, wait;

	if (likely(!rate))
		return 0;
	now = ktime_get_ns();
	wait = circuit_cap_use(&share->cap.due, rate, ns, now);
	for (i = 0; pools && i < pools->n; i++) {
		cap = &pools->pool[i]->cap;
		wait = max(wait, circuit_cap_use(&cap->due, READ_ONCE(cap->percent) *
						 CIRCUIT_CAP_PERCENT, ns, now));
	}
	return wait;
}

/* --- jobs ------------------------------------------------------------------------------------ */

/* Works of shares that are queued and have no worker yet. */
static atomic_t waiting;
/* Shares that wait for their timers. */
static atomic_t armed;

/*
 * For another turn; the account's reference goes with it. Returns false if there is to be one
 * already.
 */
static bool share_queue(struct circuit_share *share)
{
	atomic_inc(&waiting);	/* before it begins */
	if (queue_work(circuit_trunk_wq, &share->work))
		return true;
	atomic_dec(&waiting);
	return false;
}

/* Does no other line wait for a worker? One may begin, or come, just now. */
static bool share_nobody_waits(struct circuit_share *share)
{
	return atomic_read(&waiting) <= work_pending(&share->work);
}

/**
 * circuit_job_kick - have a job done
 * @job: the job, referenced by the caller
 *
 * Context: any but the wake-up of an eventfd.
 *
 * Return: true if the caller's reference is the job's now, until ops->idle() is called.
 */
bool circuit_job_kick(struct circuit_job *job)
{
	struct circuit_account *account = job->account;
	struct circuit_share *share = &account->share;

	/* Fully ordered: what the kick is about is seen by who takes it. */
	if (atomic_xchg(&job->kicked, JOB_KICKED) != JOB_IDLE)
		return false;
	job->since = local_clock();
	/* From here on the job may be done, and gone, and with it the account. */
	circuit_account_get(account);
	/* In any case: whoever was before may not have come to that yet. */
	llist_add(&job->fresh, &share->fresh);	/* fully ordered, pairs with share_resume() */
	if ((unlikely(atomic_read(&share->throttled)) && !atomic_read(&share->urgent)) ||
	    !share_queue(share))
		circuit_account_put(account);
	return true;
}

/**
 * circuit_job_hurry - have a job done for which somebody waits
 * @job: the job, referenced by the caller
 *
 * Until it is looked at, which is not more than one look at each of its line's jobs later, the line
 * is served whatever it has used and whatever it may use.
 *
 * Context: any but the wake-up of an eventfd.
 *
 * Return: as circuit_job_kick().
 */
bool circuit_job_hurry(struct circuit_job *job)
{
	struct circuit_account *account = circuit_account_get(job->account);
	bool kicked;

	/* Fully ordered: see share_turn(). */
	if (!xchg(&job->urgent, 1))
		atomic_inc_return(&account->share.urgent);
	kicked = circuit_job_kick(job);
	/* It may have been kicked before, and wait with its share. */
	if (!share_queue(&account->share))
		circuit_account_put(account);
	return kicked;
}

/* Jobs that were kicked wait behind the others. */
static void share_gather(struct circuit_share *share)
{
	struct circuit_job *job, *next;
	struct llist_node *fresh;

	if (llist_empty(&share->fresh))
		return;
	fresh = llist_reverse_order(llist_del_all(&share->fresh));
	llist_for_each_entry_safe(job, next, fresh, fresh) {
		if (unlikely(job->urgent))
			list_add(&job->ready, &share->ready);
		else
			list_add_tail(&job->ready, &share->ready);
	}
}

static void count_time(u64 *counts, u64 ns)
{
	unsigned int i = ilog2(max_t(u64, ns, 1 << CIRCUIT_TIME_SHIFT)) - CIRCUIT_TIME_SHIFT;

	i = min_t(unsigned int, i, CIRCUIT_TIMES - 1);
	WRITE_ONCE(counts[i], counts[i] + 1);
}

/* One look at a job. Returns what it took, in ns. */
static u64 share_look(struct circuit_account *account, struct circuit_job *job,
		      struct circuit_turn *turn)
{
	u64 start = circuit_clock_read(&turn->clock), took;
	/* On another processor, perhaps, whose clock differs a little. */
	u64 waited = max_t(s64, local_clock() - job->since, 0);
	struct circuit_share *share = &account->share;

	atomic_xchg(&job->kicked, JOB_LOOKS);
	if (unlikely(READ_ONCE(job->urgent)) && xchg(&job->urgent, 0))
		atomic_dec(&share->urgent);
	if (job->ops->look(job, turn) == CIRCUIT_JOB_DONE) {
		if (atomic_cmpxchg(&job->kicked, JOB_LOOKS, JOB_IDLE) == JOB_LOOKS) {
			job->ops->idle(job);
		} else {
			job->since = local_clock();
			list_add_tail(&job->ready, &share->ready);
		}
	}
	took = max_t(s64, circuit_clock_read(&turn->clock) - start, 0);
	count_time(share->queued, waited);
	count_time(share->served, took);
	trace_circuit_look(account, waited, took);
	return took;
}

/* The end of a wait. The account's reference is the work's now. */
static void share_resume(struct circuit_share *share)
{
	WRITE_ONCE(share->waited, share->waited + ktime_get_ns() - READ_ONCE(share->since));
	/* Before what was kicked meanwhile is looked for: pairs with circuit_job_kick(). */
	atomic_xchg(&share->throttled, 0);
	if (!share_queue(share))
		circuit_account_put(container_of(share, struct circuit_account, share));
	if (atomic_dec_and_test(&armed))
		wake_up_var(&armed);
}

/* Do not wait any longer. Whoever stops the timer has its reference. In a thread. */
static void share_hurry(struct circuit_share *share)
{
	if (hrtimer_cancel(&share->timer))
		share_resume(share);
}

static enum hrtimer_restart share_timer(struct hrtimer *timer)
{
	share_resume(container_of(timer, struct circuit_share, timer));
	return HRTIMER_NORESTART;
}

/**
 * circuit_share_renew - the caps that a line is under have changed
 * @share: its account's
 *
 * What it has used by the old ones does not count, and it does not wait for what it would have got
 * by them.
 */
void circuit_share_renew(struct circuit_share *share)
{
	atomic64_set(&share->cap.due, 0);
	/* Fully ordered, pairs with share_wait(). */
	atomic_inc_return(&share->renewed);
	share_hurry(share);
}

/**
 * circuit_share_cap - set a line's cap
 * @share: its account's; the exchange is locked
 * @percent: see circuit_cap_set()
 */
void circuit_share_cap(struct circuit_share *share, u32 percent)
{
	circuit_cap_set(&share->cap, percent);
	circuit_share_renew(share);
}

/*
 * Leave the workers for so many ns, unless the caps have changed since they were looked at; the
 * account's reference goes with it. Returns false if it has already.
 */
static bool share_wait(struct circuit_share *share, u64 ns, int renewed)
{
	struct circuit_account *account = container_of(share, struct circuit_account, share);

	if (atomic_read(&share->throttled))
		return false;
	WRITE_ONCE(share->since, ktime_get_ns());
	atomic_set(&share->throttled, 1);
	trace_circuit_throttle(account->name, CIRCUIT_THROTTLE_CPU, ns);
	atomic_inc(&armed);
	rcu_read_lock();	/* its reference may be gone with the timer */
	hrtimer_start(&share->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
	smp_mb();		/* pairs with circuit_share_renew() */
	if (unlikely(atomic_read(&share->renewed) != renewed))
		share_hurry(share);
	rcu_read_unlock();
	return true;
}

/*
 * What a share may have of a processor's time, as circuit_share_terms() tells the share's turn; as
 * if it had something to do, for whoever asks is about to do it. In an RCU reader.
 */
static u32 share_rate(const struct circuit_share *share, const struct circuit_pools *pools)
{
	u32 weight = READ_ONCE(share->weight), counts = READ_ONCE(share->counts), others, whole;
	u32 rate = READ_ONCE(share->cap.percent) * CIRCUIT_CAP_PERCENT;
	unsigned int i;

	for (i = 0; pools && i < pools->n; i++) {
		whole = READ_ONCE(pools->pool[i]->cap.percent) * CIRCUIT_CAP_PERCENT;
		if (!whole)
			continue;
		others = max_t(int, atomic_read(&pools->pool[i]->active) - counts, 0);
		whole = max_t(u32, (u64)whole * weight / (others + weight), 1);
		rate = rate ? min(rate, whole) : whole;
	}
	return rate;
}

/**
 * circuit_share_left - may something be done for a line that is no job?
 * @share: its account's
 *
 * Context: any.
 *
 * Return: false if the line's cap, or its part of a group's, is used up, or it waits for that
 * already.
 */
bool circuit_share_left(struct circuit_share *share)
{
	struct circuit_pools *pools;
	bool left;

	if (unlikely(atomic_read(&share->throttled)))
		return false;
	rcu_read_lock();
	pools = rcu_dereference(share->pools);
	left = share_may(share, pools, share_rate(share, pools));
	rcu_read_unlock();
	return left;
}

/**
 * circuit_share_charge - something was done for a line that is no job
 * @share: its account's
 * @ns: so much of a processor's time it took
 *
 * Context: any.
 *
 * Return: how many ns to wait before the next is done, by the line's cap and its part of its
 * groups'.
 */
u64 circuit_share_charge(struct circuit_share *share, u64 ns)
{
	struct circuit_pools *pools;
	u64 wait;

	rcu_read_lock();
	pools = rcu_dereference(share->pools);
	wait = share_use(share, pools, share_rate(share, pools), ns);
	rcu_read_unlock();
	return wait;
}

/**
 * circuit_share_flush - wait until no share waits for its timer
 *
 * Context: process; no line is left.
 */
void circuit_share_flush(void)
{
	wait_var_event(&armed, !atomic_read(&armed));
}

static void share_turn(struct work_struct *work)
{
	struct circuit_share *share = container_of(work, struct circuit_share, work);
	struct circuit_account *account = container_of(share, struct circuit_account, share);
	u32 weight, rate;
	struct circuit_turn turn;
	struct circuit_job *job;
	u64 used, wait, may;
	s64 quantum, left;
	unsigned int noio;
	bool looked = false, kept;
	int renewed;

	circuit_turn_begin(&turn, account);
	atomic_dec(&waiting);
	renewed = atomic_read(&share->renewed);
	smp_rmb();	/* before the caps */
	circuit_share_count(share);
	circuit_share_terms(share, &weight, &rate);
	quantum = (s64)CIRCUIT_QUANTUM * weight / CIRCUIT_WEIGHT;
	/* There is nobody who could be owed anything. */
	if (share_nobody_waits(share) || atomic_read(&share->urgent))
		share->owed = 0;
	left = quantum - share->owed;
	may = atomic_read(&share->throttled) ? 0 : share_may(share, share->counted, rate);
	/* What is written back may have to go through another job of this line. */
	noio = memalloc_noio_save();
	while (left > 0) {
		share_gather(share);
		job = list_first_entry_or_null(&share->ready, struct circuit_job, ready);
		if (!job || (!may && !atomic_read(&share->urgent)))
			break;
		list_del(&job->ready);
		looked = true;
		used = share_look(account, job, &turn);
		left -= used;
		may -= min(may, used);
		if (left <= 0 && circuit_clock_read(&turn.clock) < STAY &&
		    share_nobody_waits(share))
			left = quantum;
		cond_resched();
	}
	memalloc_noio_restore(noio);
	share->owed = clamp_t(s64, -left, 0, min_t(s64, OWED_MAX, OWED_TURNS * quantum));
	/* Who only came to be told to wait is not made to wait for that. */
	used = looked ? circuit_clock_read(&turn.clock) : 0;
	wait = share_use(share, share->counted, rate, used);
	/* By caps that are no more? */
	smp_mb();	/* pairs with circuit_share_renew() */
	if (unlikely(atomic_read(&share->renewed) != renewed)) {
		atomic64_set(&share->cap.due, 0);
		wait = 0;
	}
	/* While the account is still this turn's. */
	circuit_turn_charge_rest(&turn);
	circuit_turn_end(&turn);
	kept = !list_empty(&share->ready) || !llist_empty(&share->fresh);
	if (!kept) {
		circuit_share_uncount(share);
		/* What was urgent was all there was. */
		if (unlikely(atomic_read(&share->throttled)))
			share_hurry(share);
	} else if ((wait || atomic_read(&share->throttled)) && !atomic_read(&share->urgent)) {
		kept = share_wait(share, wait, renewed);
	} else {	/* To the end. If a kick has been faster, it has a reference of its own. */
		kept = share_queue(share);
	}
	if (!kept)
		circuit_account_put(account);
}

/**
 * circuit_job_init - make a job
 * @job: the memory for it
 * @account: whose it is; who has the job has a reference of it
 * @ops: what it does
 */
void circuit_job_init(struct circuit_job *job, struct circuit_account *account,
		      const struct circuit_job_ops *ops)
{
	job->ops = ops;
	job->account = account;
	atomic_set(&job->kicked, JOB_IDLE);
}

/**
 * circuit_share_init - give an account its share
 * @account: the account
 */
void circuit_share_init(struct circuit_account *account)
{
	struct circuit_share *share = &account->share;

	share->weight = CIRCUIT_WEIGHT;
	RCU_INIT_POINTER(share->pools, NULL);
	init_llist_head(&share->fresh);
	INIT_WORK(&share->work, share_turn);
	INIT_LIST_HEAD(&share->ready);
	compat_hrtimer_setup(&share->timer, share_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}

/**
 * circuit_share_exit - the reverse
 * @share: the account's, which nobody has any more
 */
void circuit_share_exit(struct circuit_share *share)
{
	circuit_share_set_pools(share, NULL);
}
