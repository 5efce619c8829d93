// SPDX-License-Identifier: GPL-2.0
/*
 * Quotas of lines and groups, and rates. See quota.h.
 */
#include "host.h"

/**
 * circuit_bucket_has - would one more be too many?
 * @bucket: the bucket, all zero when it is new
 * @rate: how many per second, not 0; may change at any time
 * @now: ktime_get_ns()
 *
 * Return: false if so.
 */
bool circuit_bucket_has(const struct circuit_bucket *bucket, u32 rate, u64 now)
{
	return bucket->due + NSEC_PER_SEC / rate <= now + NSEC_PER_SEC;
}

/**
 * circuit_bucket_take - take one
 * @bucket: the bucket, all zero when it is new
 * @rate: how many per second, not 0; may change at any time
 * @now: ktime_get_ns()
 *
 * Return: false if that would be too many; nothing was taken then.
 */
bool circuit_bucket_take(struct circuit_bucket *bucket, u32 rate, u64 now)
{
	if (!circuit_bucket_has(bucket, rate, now))
		return false;
	bucket->due = max(bucket->due, now) + NSEC_PER_SEC / rate;
	return true;
}

/**
 * circuit_limits_none - allow any amount of everything
 * @limits: filled in
 */
void circuit_limits_none(struct circuit_limits *limits)
{
	memset64(limits->max, U64_MAX, CIRCUIT_RESOURCES);
	limits->calls = 0;
	limits->doorbells = 0;
}

static u64 quota_left(const struct circuit_quota *quota, enum circuit_resource what)
{
	u64 max = quota->limits.max[what];

	return max > quota->used[what] ? max - quota->used[what] : 0;
}

/**
 * circuit_affords - how much more a line may have
 * @line: the line, its exchange locked
 * @what: of what
 *
 * Return: the least that its own limit and those of its groups leave.
 */
u64 circuit_affords(const struct circuit_line *line, enum circuit_resource what)
{
	u64 left = quota_left(&line->quota, what);
	unsigned int i;

	for (i = 0; i < line->party.nr_groups; i++)
		left = min(left, quota_left(&line->party.group[i]->quota, what));
	return left;
}

/**
 * circuit_in_group - is a line in a group?
 * @line: the line, its exchange locked
 * @group: the group
 */
bool circuit_in_group(const struct circuit_line *line, const struct circuit_subject *group)
{
	unsigned int i;

	for (i = 0; i < line->party.nr_groups; i++)
		if (line->party.group[i] == group)
			return true;
	return false;
}

/**
 * circuit_affords_both - how much more each of two lines may have
 * @a: one line, its exchange locked
 * @b: the other, or the same
 * @what: of what
 *
 * A group of two lines is charged twice.
 *
 * Return: the least that anybody leaves to each.
 */
u64 circuit_affords_both(const struct circuit_line *a, const struct circuit_line *b,
			 enum circuit_resource what)
{
	u64 left = min(circuit_affords(a, what), circuit_affords(b, what));
	unsigned int i;

	if (a == b)
		return left;

	for (i = 0; i < a->party.nr_groups; i++)
		if (circuit_in_group(b, a->party.group[i]))
			left = min(left, quota_left(&a->party.group[i]->quota, what) / 2);
	return left;
}

/**
 * circuit_itself_affords - would a line's own limit let it have so much more?
 * @line: the line, its exchange locked
 * @what: of what
 * @n: how much
 *
 * Return: true if so, whatever its groups say.
 */
bool circuit_itself_affords(const struct circuit_line *line, enum circuit_resource what, u64 n)
{
	return quota_left(&line->quota, what) >= n;
}

/**
 * circuit_same_group - do two lines share a group?
 * @a: one line, its exchange locked
 * @b: the other
 */
bool circuit_same_group(const struct circuit_line *a, const struct circuit_line *b)
{
	unsigned int i;

	for (i = 0; i < a->party.nr_groups; i++)
		if (circuit_in_group(b, a->party.group[i]))
			return true;
	return false;
}

/**
 * circuit_charge - charge a line, and its groups, for something
 * @line: the line, its exchange locked
 * @what: for what
 * @n: how much of it
 *
 * Return: false if it may not have so much; nothing was charged then.
 */
bool circuit_charge(struct circuit_line *line, enum circuit_resource what, u64 n)
{
	unsigned int i;

	if (circuit_affords(line, what) < n)
		return false;
	line->quota.used[what] += n;
	for (i = 0; i < line->party.nr_groups; i++)
		line->party.group[i]->quota.used[what] += n;
	return true;
}

/**
 * circuit_uncharge - undo circuit_charge()
 * @line: the line, its exchange locked
 * @what: what it has no more
 * @n: how much of it
 */
void circuit_uncharge(struct circuit_line *line, enum circuit_resource what, u64 n)
{
	unsigned int i;

	line->quota.used[what] -= n;
	for (i = 0; i < line->party.nr_groups; i++)
		line->party.group[i]->quota.used[what] -= n;
}

static bool quota_has_call(struct circuit_quota *quota, u64 now)
{
	if (!quota->limits.calls ||
	    circuit_bucket_has(&quota->bucket, quota->limits.calls, now))
		return true;
	quota->limited++;
	return false;
}

static void quota_take_call(struct circuit_quota *quota, u64 now)
{
	if (quota->limits.calls)
		circuit_bucket_take(&quota->bucket, quota->limits.calls, now);
}

/**
 * circuit_may_call - take one of the calls per second that a line and its groups have
 * @line: the line, its exchange locked
 * @now: ktime_get_ns()
 *
 * Return: false if there is none left; that is counted where it is so, and nothing was taken.
 */
bool circuit_may_call(struct circuit_line *line, u64 now)
{
	struct circuit_subject **group = line->party.group;
	unsigned int i, n = line->party.nr_groups;
	bool has = quota_has_call(&line->quota, now);

	for (i = 0; i < n; i++)
		has &= quota_has_call(&group[i]->quota, now);
	if (!has)
		return false;
	quota_take_call(&line->quota, now);
	for (i = 0; i < n; i++)
		quota_take_call(&group[i]->quota, now);
	return true;
}

/**
 * circuit_group_join - a line enters a group, with all that it has
 * @line: the line, its exchange locked
 * @group: the group; the caller's reference is the line's from now on
 */
void circuit_group_join(struct circuit_line *line, struct circuit_subject *group)
{
	unsigned int i;

	for (i = 0; i < CIRCUIT_RESOURCES; i++)
		group->quota.used[i] += line->quota.used[i];
	group->lines++;
	line->party.group[line->party.nr_groups++] = group;
}

/**
 * circuit_group_leave - a line leaves all its groups
 * @line: the line, its exchange locked
 */
void circuit_group_leave(struct circuit_line *line)
{
	struct circuit_subject *group;
	unsigned int i;

	while (line->party.nr_groups) {
		group = line->party.group[--line->party.nr_groups];
		for (i = 0; i < CIRCUIT_RESOURCES; i++)
			group->quota.used[i] -= line->quota.used[i];
		group->lines--;
		circuit_subject_put(line->ex, group);
	}
}

/**
 * circuit_group_cap - set what the lines of a group may use of a processor's time together
 * @ex: the exchange, locked
 * @group: the group
 * @percent: see circuit_cap_set()
 */
void circuit_group_cap(struct circuit_exchange *ex, struct circuit_subject *group, u32 percent)
{
	struct circuit_line *line;
	unsigned long id;

	circuit_cap_set(&group->pool->cap, percent);
	xa_for_each(&ex->by_id, id, line)
		if (circuit_in_group(line, group))
			circuit_share_renew(&line->account->share);
}

/**
 * circuit_group_unlimit - take a group's limits away
 * @ex: the exchange, locked
 * @group: a group that has limits; gone afterwards if no line or rule has it
 */
void circuit_group_unlimit(struct circuit_exchange *ex, struct circuit_subject *group)
{
	unsigned int i;

	circuit_limits_none(&group->quota.limits);
	WRITE_ONCE(group->pool->weight, 0);
	WRITE_ONCE(group->pool->doorbells, 0);
	circuit_group_cap(ex, group, 0);
	for (i = 0; i < CIRCUIT_WAYS; i++) {
		circuit_meter_set(&group->quota.meter[CIRCUIT_BYTES][i], 0);
		circuit_meter_set(&group->quota.meter[CIRCUIT_MESSAGES][i], 0);
	}
	circuit_meter_apply(ex);
	group->configured = false;
	circuit_subject_put(ex, group);
}
