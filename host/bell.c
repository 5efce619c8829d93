// SPDX-License-Identifier: GPL-2.0
/*
 * Bells. See bell.h.
 */
#include "host.h"
#include "trace.h"

enum bell_mask {
	BELL_OPEN,
	BELL_MASKED,
	BELL_RANG,		/* and there is something to be looked at when that ends */
	BELL_STOPPED,		/* for good */
};

/**
 * circuit_toll_take - take something that comes at a rate
 * @toll: all zero when it is new
 * @n: how many; less than 0 to give back
 * @interval: nanoseconds in which one comes
 * @at_once: what comes in so many nanoseconds may be taken at once
 * @now: nanoseconds of a clock that may go back a little
 *
 * It is taken in any case.
 *
 * Return: 0, or after how many nanoseconds it would not have been too much.
 */
u64 circuit_toll_take(struct circuit_toll *toll, s64 n, u64 interval, u64 at_once, u64 now)
{
	s64 due = atomic64_read(&toll->due), after;

	do {
		after = max_t(s64, max_t(s64, due, now) + n * (s64)interval, now);
		/* More than a mask lasts is not made up for. */
		after = min_t(s64, after, now + at_once + CIRCUIT_BELL_MASK_MAX);
	} while (!atomic64_try_cmpxchg(&toll->due, &due, after));
	return max_t(s64, after - (s64)(now + at_once), 0);
}

static void bell_mask(struct circuit_window *win, enum circuit_throttle why, u64 ns)
{
	struct circuit_bell *bell = &win->bell;

	if (atomic_cmpxchg(&bell->mask, BELL_OPEN, BELL_MASKED) != BELL_OPEN)
		return;
	/* Not for so short a time that the timer would be the storm. */
	ns = clamp_t(u64, ns, CIRCUIT_BELL_MASK_MIN, CIRCUIT_BELL_MASK_MAX);
	if (why != CIRCUIT_THROTTLE_CPU)
		circuit_line_count(win->line, why == CIRCUIT_THROTTLE_LIMIT ?
				   CIRCUIT_COUNT_DOORBELLS_LIMITED : CIRCUIT_COUNT_DOORBELLS_STORMS);
	trace_circuit_throttle(win->line->name, why, ns);
	hrtimer_start(&bell->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
}

static enum hrtimer_restart bell_unmask(struct hrtimer *timer)
{
	struct circuit_window *win = container_of(timer, struct circuit_window, bell.timer);

	/* Before the marks are looked at: pairs with circuit_bell_masked(). */
	if (atomic_cmpxchg(&win->bell.mask, BELL_MASKED, BELL_OPEN) == BELL_RANG &&
	    atomic_cmpxchg(&win->bell.mask, BELL_RANG, BELL_OPEN) == BELL_RANG)
		irq_work_queue(&win->relay);
	return HRTIMER_NORESTART;
}

/**
 * circuit_bell_init - prepare a new window's bell
 * @bell: all zero
 */
void circuit_bell_init(struct circuit_bell *bell)
{
	compat_hrtimer_setup(&bell->timer, bell_unmask, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}

/**
 * circuit_bell_masked - is there to be nothing done now about what was marked?
 * @bell: the bell
 *
 * Context: any. The marks were made before.
 *
 * Return: true if a timer is going to look at them.
 */
bool circuit_bell_masked(struct circuit_bell *bell)
{
	smp_mb();	/* the marks, then this; pairs with bell_unmask() */
	if (likely(atomic_read(&bell->mask) == BELL_OPEN))
		return false;
	return atomic_cmpxchg(&bell->mask, BELL_MASKED, BELL_RANG) != BELL_OPEN;
}

static u64 bell_limit(struct circuit_toll *toll, u32 rate, u64 now)
{
	if (likely(!rate))
		return 0;
	return circuit_toll_take(toll, 1, NSEC_PER_SEC / rate, CIRCUIT_BELL_AT_ONCE, now);
}

/**
 * circuit_bell_rang - a guest has rung, and that was served
 * @win: its window
 * @now: local_clock()
 *
 * Context: hard interrupt.
 */
void circuit_bell_rang(struct circuit_window *win, u64 now)
{
	struct circuit_quota *quota = &win->line->quota;
	u64 over = bell_limit(&quota->bells, READ_ONCE(quota->limits.doorbells), now);
	struct circuit_pools *pools;
	unsigned int i;

	rcu_read_lock();
	pools = rcu_dereference(win->line->account->share.pools);
	for (i = 0; pools && i < pools->n; i++)
		over = max(over, bell_limit(&pools->pool[i]->bells,
					    READ_ONCE(pools->pool[i]->doorbells), now));
	rcu_read_unlock();
	if (unlikely(over))
		bell_mask(win, CIRCUIT_THROTTLE_LIMIT, over);
}

/**
 * circuit_bell_told - a guest had so much to tell
 * @win: its window
 * @things: how many things, less the doorbell by which it did
 * @now: local_clock()
 *
 * Context: any.
 */
void circuit_bell_told(struct circuit_window *win, s64 things, u64 now)
{
	u64 over;

	if (!things)
		return;
	over = circuit_toll_take(&win->bell.idle, -things, NSEC_PER_SEC / CIRCUIT_BELL_FREE,
				 CIRCUIT_BELL_FREE_AT_ONCE, now);
	if (unlikely(over))
		bell_mask(win, CIRCUIT_THROTTLE_STORM, over);
}

/**
 * circuit_bell_wait - what a guest has marked has taken as much of a thread's time as the line may
 * have
 * @win: its window
 * @ns: for so many nanoseconds, as far as a mask lasts
 */
void circuit_bell_wait(struct circuit_window *win, u64 ns)
{
	bell_mask(win, CIRCUIT_THROTTLE_CPU, ns);
}

/**
 * circuit_bell_stop - a window ends, look at its marks no more
 * @win: the window; nobody rings any more
 *
 * Context: process. What was relayed until now may have queued its works. Not all that may yet do so
 * has ended: signalling may begin a mask, and irq_work_sync() waits for no relay that goes on while
 * a second one, on another processor, has ended. So, when the line knows the window no more and an
 * RCU grace period is over, works and timer have to be cancelled once more.
 */
void circuit_bell_stop(struct circuit_window *win)
{
	/* From here on no mask begins, and none that ends has anything looked at. */
	atomic_set(&win->bell.mask, BELL_STOPPED);
	irq_work_sync(&win->relay);
	cancel_work_sync(&win->relay_work);
	cancel_work_sync(&win->sig_work);
	hrtimer_cancel(&win->bell.timer);
	irq_work_sync(&win->relay);
}
