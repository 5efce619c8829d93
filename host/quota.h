/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Quotas: what a line may have at most, and the lines of a group together.
 *
 * Whatever a line is given is charged to the line and to all of its groups, or, if one of
 * them has no more of it, to none. A line that changes its groups takes along what it has;
 * a group may then have more than its limit, and gets nothing until it has less again.
 *
 * All of it belongs to exchange->lock.
 */
#ifndef _CIRCUIT_QUOTA_H
#define _CIRCUIT_QUOTA_H

#include <linux/types.h>
#include "bell.h"
#include "meter.h"

struct circuit_exchange;
struct circuit_line;
struct circuit_subject;

enum circuit_resource {
	CIRCUIT_MEMORY,		/* bytes of cables */
	CIRCUIT_CIRCUITS,	/* ends that have a number */
	CIRCUIT_PENDING,	/* calls that wait for a listener, or for the host's TCP */
	CIRCUIT_LISTENERS,
	CIRCUIT_RESOURCES
};

/**
 * struct circuit_bucket - so much per second, and a second's worth at once
 * @due: when, in nanoseconds of ktime_get(), all that was taken would have come at that rate
 */
struct circuit_bucket {
	u64	due;
};

/**
 * struct circuit_limits - what the administrator allows
 * @max: most of each resource, U64_MAX: any amount
 * @calls: most calls placed per second, 0: any number
 * @doorbells: most doorbells served per second, 0: any number; also read in interrupts
 */
struct circuit_limits {
	u64	max[CIRCUIT_RESOURCES];
	u32	calls;
	u32	doorbells;
};

/**
 * struct circuit_quota - limits, and what there is
 * @limits: see above
 * @used: of each resource
 * @bucket: for @limits.calls
 * @limited: calls that were too many for it
 * @bells: for @limits.doorbells
 * @meter: bytes per second, and messages
 */
struct circuit_quota {
	struct circuit_limits	limits;
	u64			used[CIRCUIT_RESOURCES];
	struct circuit_bucket	bucket;
	u64			limited;
	struct circuit_toll	bells;
	struct circuit_meter	meter[CIRCUIT_UNITS][CIRCUIT_WAYS];
};

bool circuit_bucket_has(const struct circuit_bucket *bucket, u32 rate, u64 now);
bool circuit_bucket_take(struct circuit_bucket *bucket, u32 rate, u64 now);

void circuit_limits_none(struct circuit_limits *limits);
bool circuit_charge(struct circuit_line *line, enum circuit_resource what, u64 n);
void circuit_uncharge(struct circuit_line *line, enum circuit_resource what, u64 n);
u64 circuit_affords(const struct circuit_line *line, enum circuit_resource what);
u64 circuit_affords_both(const struct circuit_line *a, const struct circuit_line *b,
			 enum circuit_resource what);
bool circuit_itself_affords(const struct circuit_line *line, enum circuit_resource what, u64 n);
bool circuit_in_group(const struct circuit_line *line, const struct circuit_subject *group);
bool circuit_same_group(const struct circuit_line *a, const struct circuit_line *b);
bool circuit_may_call(struct circuit_line *line, u64 now);
void circuit_group_join(struct circuit_line *line, struct circuit_subject *group);
void circuit_group_leave(struct circuit_line *line);
void circuit_group_cap(struct circuit_exchange *ex, struct circuit_subject *group, u32 percent);
void circuit_group_unlimit(struct circuit_exchange *ex, struct circuit_subject *group);

#endif /* _CIRCUIT_QUOTA_H */
