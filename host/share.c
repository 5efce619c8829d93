// SPDX-License-Identifier: GPL-2.0
/*
 * Shares of the operator's time. See share.h.
 */
#include <linux/log2.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include "host.h"
#include "trace.h"

#define OWED_MAX	(64 * CIRCUIT_QUANTUM)	/* a single look does not cost a line more than this */
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
	atomic64_set(&cap->due, 0);
	WRITE_ONCE(cap->percent, percent);
}

/**
 * circuit_cap_left - how much may be used now?
 * @cap: the cap
 * @now: local_clock()
 *
 * Return: nanoseconds of a processor's time.
 */
u64 circuit_cap_left(const struct circuit_cap *cap, u64 now)
{
	u32 percent = READ_ONCE(cap->percent);
	s64 ahead;

	if (likely(!percent))
		return U64_MAX;
	ahead = max_t(s64, atomic64_read(&cap->due) - now, -(s64)CIRCUIT_CAP_AT_ONCE);
	return max_t(s64, CIRCUIT_CAP_AT_ONCE - ahead, 0) * percent / 100;
}

/**
 * circuit_cap_use - something was used
 * @cap: the cap
 * @ns: so much of a processor's time
 * @now: local_clock()
 *
 * Return: how many nanoseconds to wait until the next is used, 0 if there is something left.
 */
u64 circuit_cap_use(struct circuit_cap *cap, u64 ns, u64 now)
{
	u32 percent = READ_ONCE(cap->percent);
	s64 due, after;

	if (likely(!percent))
		return 0;
	due = atomic64_read(&cap->due);
	do {
		after = max_t(s64, due, now - CIRCUIT_CAP_AT_ONCE) + ns * 100 / percent;
		after = min_t(s64, after, now + CIRCUIT_CAP_DEBT);
	} while (!atomic64_try_cmpxchg(&cap->due, &due, after));
	after -= now;
	/* Not for a moment each time: until all is paid for. */
	return after >= (s64)CIRCUIT_CAP_AT_ONCE ? after : 0;
}

/* --- jobs ------------------------------------------------------------------------------------ */

/* Works of shares that are queued and have no worker yet. */
static atomic_t waiting;

/* For another turn; the account's reference goes with it. Returns false if there is to be one already. */
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
	if ((unlikely(atomic_read(&share->throttled)) && !job->urgent) || !share_queue(share))
		circuit_account_put(account);
	return true;
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
static enum hrtimer_restart share_resume(struct hrtimer *timer)
{
	struct circuit_share *share = container_of(timer, struct circuit_share, timer);

	WRITE_ONCE(share->waited, share->waited +
		   max_t(s64, local_clock() - READ_ONCE(share->since), 0));
	/* Before what was kicked meanwhile is looked for: pairs with circuit_job_kick(). */
	atomic_xchg(&share->throttled, 0);
	if (!share_queue(share))
		circuit_account_put(container_of(share, struct circuit_account, share));
	return HRTIMER_NORESTART;
}

/* Leave the workers for so many ns; the account's reference goes with it. Returns false if it has already. */
static bool share_wait(struct circuit_share *share, u64 ns)
{
	struct circuit_account *account = container_of(share, struct circuit_account, share);

	if (atomic_read(&share->throttled))
		return false;
	WRITE_ONCE(share->since, local_clock());
	atomic_set(&share->throttled, 1);
	trace_circuit_throttle(account->name, CIRCUIT_THROTTLE_CPU, ns);
	hrtimer_start(&share->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
	return true;
}

static void share_turn(struct work_struct *work)
{
	struct circuit_share *share = container_of(work, struct circuit_share, work);
	struct circuit_account *account = container_of(share, struct circuit_account, share);
	s64 quantum = (s64)CIRCUIT_QUANTUM * READ_ONCE(share->weight) / CIRCUIT_WEIGHT, left;
	struct circuit_turn turn;
	struct circuit_job *job;
	u64 used, wait, may;
	unsigned int noio;
	bool kept;

	atomic_dec(&waiting);
	/* There is nobody who could be owed anything. */
	if (share_nobody_waits(share))
		share->owed = 0;
	left = quantum - share->owed;
	may = atomic_read(&share->throttled) ? 0 : circuit_cap_left(&share->cap, local_clock());
	/* What is written back may have to go through another job of this line. */
	noio = memalloc_noio_save();
	circuit_turn_begin(&turn, account);
	while (left > 0) {
		share_gather(share);
		job = list_first_entry_or_null(&share->ready, struct circuit_job, ready);
		if (!job || (!may && !job->urgent))
			break;
		list_del(&job->ready);
		used = share_look(account, job, &turn);
		left -= used;
		may -= min(may, used);
		if (left <= 0 && circuit_clock_read(&turn.clock) < STAY &&
		    share_nobody_waits(share))
			left = quantum;
		cond_resched();
	}
	used = circuit_clock_read(&turn.clock);
	circuit_turn_end(&turn);
	memalloc_noio_restore(noio);
	share->owed = clamp_t(s64, -left, 0, OWED_MAX);
	wait = circuit_cap_use(&share->cap, used, local_clock());
	if (list_empty(&share->ready) && llist_empty(&share->fresh))
		kept = false;
	else if (wait || atomic_read(&share->throttled))
		kept = share_wait(share, wait);
	else	/* To the end. If a kick has been faster, it has a reference of its own. */
		kept = share_queue(share);
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
	init_llist_head(&share->fresh);
	INIT_WORK(&share->work, share_turn);
	INIT_LIST_HEAD(&share->ready);
	compat_hrtimer_setup(&share->timer, share_resume, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}
