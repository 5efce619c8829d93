/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bells: when a guest has rung too often.
 *
 * A doorbell interrupts the processor that rings, and may have a thread run and another guest
 * interrupted. An honest guest rings only if it has something to tell: each doorbell stands for a
 * mark of a circuit that is there, for a message, or for room for one, and there are hardly more
 * doorbells than of these. What a guest rings without is a storm; CIRCUIT_BELL_FREE a second of
 * them are nobody's business. Whether there is anything new on a circuit that is marked nobody
 * looks: who marks one that is there each time it rings is no storm, and only held by a limit. That
 * may be set for the doorbells of a line, or of a group's lines together, whatever they are good
 * for.
 *
 * A guest that has rung too often has its doorbell masked. While that lasts it costs nobody but its
 * own processor, which counts; then a timer has the marks looked at, once, for all of them. So they
 * are late, by CIRCUIT_BELL_MASK_MAX, and never lost: who rings has marked before, and looks at the
 * mask after; who takes the mask away looks at the marks after that.
 *
 * Since no mask lasts longer than that, whoever goes on ringing is served about as often as there
 * is time for masks, CIRCUIT_DOORBELLS_MIN times a second: so much for each of a group's lines, if
 * its limit is less than all that.
 */
#ifndef _CIRCUIT_BELL_H
#define _CIRCUIT_BELL_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/types.h>

struct circuit_line;
struct circuit_window;

#define CIRCUIT_DOORBELLS_MIN	100		/* least limit, per second */
#define CIRCUIT_BELL_AT_ONCE	(10 * NSEC_PER_MSEC)	/* what comes of that in this time may come at once */
#define CIRCUIT_BELL_FREE	1000		/* that tell nothing, per second */
#define CIRCUIT_BELL_FREE_AT_ONCE (256ull * NSEC_PER_SEC / CIRCUIT_BELL_FREE)
#define CIRCUIT_BELL_MASK_MIN	NSEC_PER_MSEC
#define CIRCUIT_BELL_MASK_MAX	(10 * NSEC_PER_MSEC)

/* Why a line is throttled. */
enum circuit_throttle {
	CIRCUIT_THROTTLE_LIMIT,		/* it has rung more often than it may */
	CIRCUIT_THROTTLE_STORM,		/* it rings and tells nothing */
	CIRCUIT_THROTTLE_CPU,		/* it has used as much of the processors as it may, see share.h */
};

/**
 * struct circuit_toll - so many per second
 * @due: when, in nanoseconds, all that was taken would have come at that rate
 */
struct circuit_toll {
	atomic64_t	due;
};

/**
 * struct circuit_bell - a window's doorbell
 * @mask: enum bell_mask
 * @idle: doorbells that have told nothing, less what was told without
 * @timer: takes the mask away
 */
struct circuit_bell {
	atomic_t		mask;
	struct circuit_toll	idle;
	struct hrtimer		timer;
};

u64 circuit_toll_take(struct circuit_toll *toll, s64 n, u64 interval, u64 at_once, u64 now);

void circuit_bell_init(struct circuit_bell *bell);
bool circuit_bell_masked(struct circuit_bell *bell);
void circuit_bell_rang(struct circuit_window *win, u64 now);
void circuit_bell_told(struct circuit_window *win, s64 things, u64 now);
void circuit_bell_wait(struct circuit_window *win, u64 ns);
void circuit_bell_stop(struct circuit_window *win);

#endif /* _CIRCUIT_BELL_H */
