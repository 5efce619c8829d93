// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: which rule decides.
 */
#include <kunit/test.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/ipv6.h>
#include "../../host/host.h"

static struct circuit_exchange *exchange_create(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ex);
	mutex_init(&ex->lock);
	KUNIT_ASSERT_EQ(test, circuit_subjects_init(ex), 0);
	mutex_lock(&ex->lock);
	return ex;
}

static void exchange_destroy(struct kunit *test, struct circuit_exchange *ex)
{
	KUNIT_EXPECT_EQ(test, atomic_read(&ex->subjects.nelems), 0);
	mutex_unlock(&ex->lock);
	circuit_subjects_destroy(ex);
	mutex_destroy(&ex->lock);
}

static void bucket(struct kunit *test)
{
	struct circuit_bucket b = {};
	u64 now = 1000 * NSEC_PER_SEC;
	int i, n;

	/* A second's worth at once, and then as they come. */
	for (n = 0; circuit_bucket_take(&b, 10, now); n++)
		;
	KUNIT_EXPECT_EQ(test, n, 10);
	KUNIT_EXPECT_FALSE(test, circuit_bucket_take(&b, 10, now + NSEC_PER_SEC / 10 - 1));
	KUNIT_EXPECT_TRUE(test, circuit_bucket_take(&b, 10, now + NSEC_PER_SEC / 10));
	KUNIT_EXPECT_FALSE(test, circuit_bucket_take(&b, 10, now + NSEC_PER_SEC / 10));
	/* What is not taken for long is lost. */
	now += 60 * NSEC_PER_SEC;
	for (n = 0; circuit_bucket_take(&b, 10, now); n++)
		;
	KUNIT_EXPECT_EQ(test, n, 10);
	/* In the long run it is the rate, whatever the rhythm. */
	for (i = n = 0; i < 10000; i++)
		n += circuit_bucket_take(&b, 1000, now += 700 * NSEC_PER_USEC);
	KUNIT_EXPECT_GE(test, n, 7000 - 1000);
	KUNIT_EXPECT_LE(test, n, 7000 + 1000);
	KUNIT_EXPECT_TRUE(test, circuit_bucket_take(&b, U32_MAX, now + 2 * NSEC_PER_SEC));
}

static void subjects(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct circuit_subject *line, *group;

	line = circuit_subject_get(ex, CIRCUIT_SUBJECT_LINE, "web");
	group = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, "web");
	KUNIT_ASSERT_NOT_NULL(test, line);
	KUNIT_ASSERT_NOT_NULL(test, group);
	KUNIT_EXPECT_PTR_NE(test, line, group);
	KUNIT_EXPECT_PTR_EQ(test, circuit_subject_get(ex, CIRCUIT_SUBJECT_LINE, "web"), line);
	circuit_subject_put(ex, line);
	KUNIT_EXPECT_EQ(test, line->users, 1);
	circuit_subject_put(ex, line);
	circuit_subject_put(ex, group);
	circuit_subject_put(ex, NULL);
	exchange_destroy(test, ex);
}

/* --- random tables against looking at every rule --- */

#define NAMES	6

struct world {
	struct circuit_exchange	*ex;
	struct circuit_subject	*line[NAMES];
	struct circuit_subject	*group[NAMES];
	struct rnd_state	rnd;
};

static u32 rnd(struct world *w, u32 below)
{
	return prandom_u32_state(&w->rnd) % below;
}

/* From few values, so that rules meet calls and each other. */
static void random_addr(struct world *w, struct in6_addr *addr)
{
	if (rnd(w, 2)) {
		ipv6_addr_set_v4mapped(htonl(0x0a000000 | rnd(w, 2) << 16 | rnd(w, 4) << 8 | rnd(w, 4)),
				       addr);
		return;
	}
	memset(addr, 0, sizeof(*addr));
	addr->s6_addr[0] = 0xfd;
	addr->s6_addr[7] = rnd(w, 3);
	addr->s6_addr[15] = rnd(w, 3);
}

static void random_prefix(struct world *w, struct circuit_prefix *prefix)
{
	static const u8 len[] = { 0, 0, 0, 8, 64, 96, 104, 112, 119, 120, 127, 128 };
	struct in6_addr addr;

	random_addr(w, &addr);
	prefix->len = len[rnd(w, ARRAY_SIZE(len))];
	ipv6_addr_prefix(&prefix->addr, &addr, prefix->len);
}

static u32 random_port(struct world *w)
{
	static const u32 edge[] = { 0, 1, 1023, 1024, 32768, 65535, 65536, U32_MAX - 1, U32_MAX };

	return rnd(w, 2) ? rnd(w, 20) : edge[rnd(w, ARRAY_SIZE(edge))];
}

static struct circuit_subject *random_subject(struct world *w)
{
	struct circuit_subject *subject;

	switch (rnd(w, 3)) {
	case 0:
		return NULL;
	case 1:
		subject = w->line[rnd(w, NAMES)];
		break;
	default:
		subject = w->group[rnd(w, NAMES)];
	}
	subject->users++;
	return subject;
}

static void random_rule(struct world *w, struct circuit_rule_config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	cfg->ops = rnd(w, 3) ? 0 : 1 + rnd(w, 7);
	cfg->to = rnd(w, 3) ? 0 : 1 + rnd(w, 15);
	cfg->types = rnd(w, 3) ? 0 : BIT(1) << rnd(w, 2);
	cfg->src = random_subject(w);
	cfg->dst = random_subject(w);
	random_prefix(w, &cfg->from_prefix);
	random_prefix(w, &cfg->to_prefix);
	switch (rnd(w, 3)) {
	case 0:
		cfg->port[1] = U32_MAX;
		break;
	case 1:
		cfg->port[0] = cfg->port[1] = random_port(w);
		break;
	default:
		cfg->port[0] = random_port(w);
		cfg->port[1] = random_port(w);
		if (cfg->port[0] > cfg->port[1])
			swap(cfg->port[0], cfg->port[1]);
	}
	cfg->hints = rnd(w, 3) ? 0 : rnd(w, 4);
	cfg->uid = rnd(w, 3);
	cfg->cgroup = rnd(w, 2);
}

static const struct circuit_party *random_party(struct world *w, struct circuit_party *party)
{
	unsigned int first = rnd(w, NAMES), i;

	if (!rnd(w, 4))
		return NULL;
	party->line = w->line[rnd(w, NAMES)];
	party->nr_groups = rnd(w, 4);
	for (i = 0; i < party->nr_groups; i++)
		party->group[i] = w->group[(first + i) % NAMES];
	return party;
}

static void random_query(struct world *w, struct circuit_query *query, struct circuit_party party[2])
{
	memset(query, 0, sizeof(*query));
	query->op = rnd(w, 3);
	query->to = rnd(w, 4);
	query->type = 1 + rnd(w, 2);
	query->src = random_party(w, &party[0]);
	query->dst = random_party(w, &party[1]);
	if (rnd(w, 4))
		random_addr(w, &query->saddr);
	if (rnd(w, 4))
		random_addr(w, &query->daddr);
	query->port = random_port(w);
	query->hints = rnd(w, 4);
	query->uid = rnd(w, 3);
	query->cgroup = rnd(w, 2);
}

/* 100,000 calls in all, each 20 of them of another table. */
#define TABLES	5000
#define CALLS	20

static void random_tables(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	unsigned int t, i, n, matched = 0;
	char name[CIRCUIT_NAME_SIZE];

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->ex = ex;
	prandom_seed_state(&w->rnd, 2026);
	for (i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "name%u", i);
		w->line[i] = circuit_subject_get(ex, CIRCUIT_SUBJECT_LINE, name);
		w->group[i] = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, name);
		KUNIT_ASSERT_NOT_NULL(test, w->line[i]);
		KUNIT_ASSERT_NOT_NULL(test, w->group[i]);
	}
	for (t = 0; t < TABLES; t++) {
		struct circuit_policy *policy;

		n = rnd(w, t % 50 ? 30 : 500);
		policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_REJECT, n);
		KUNIT_ASSERT_NOT_NULL(test, policy);
		for (i = 0; i < n; i++) {
			struct circuit_rule_config cfg;

			random_rule(w, &cfg);
			KUNIT_ASSERT_EQ(test, circuit_policy_add(policy, &cfg), 0);
		}
		for (i = 0; i < CALLS; i++) {
			struct circuit_rule *rule, *first = NULL;
			struct circuit_party party[2];
			struct circuit_query query;
			unsigned long k;

			random_query(w, &query, party);
			xa_for_each(&policy->rules, k, rule) {
				if (circuit_rule_matches(rule, &query)) {
					first = rule;
					break;
				}
			}
			matched += !!first;
			KUNIT_ASSERT_PTR_EQ_MSG(test, circuit_policy_match(policy, &query), first,
						"table %u, call %u", t, i);
		}
		circuit_policy_free(ex, policy);
	}
	/* Neither always nor never: it would not say much. */
	KUNIT_EXPECT_GT(test, matched, TABLES * CALLS / 20);
	KUNIT_EXPECT_LT(test, matched, TABLES * CALLS * 9 / 10);
	for (i = 0; i < NAMES; i++) {
		circuit_subject_put(ex, w->line[i]);
		circuit_subject_put(ex, w->group[i]);
	}
	exchange_destroy(test, ex);
}

/* A table of the kinds that administrators write is looked up in a few probes. */
static void many_rules(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct circuit_policy *policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_REJECT, 10000);
	struct circuit_rule_config cfg;
	struct circuit_query query = { .type = 1 };
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, policy);
	for (i = 0; i < 10000; i++) {
		memset(&cfg, 0, sizeof(cfg));
		cfg.port[1] = U32_MAX;
		switch (i % 3) {
		case 0:
			cfg.port[0] = cfg.port[1] = i;
			break;
		case 1:
			ipv6_addr_set_v4mapped(htonl(0x0a000000 + i), &cfg.to_prefix.addr);
			cfg.to_prefix.len = 128;
			break;
		default:
			ipv6_addr_set_v4mapped(htonl(0x0b000000 + (i << 8)), &cfg.from_prefix.addr);
			cfg.from_prefix.len = 120;
		}
		KUNIT_ASSERT_EQ(test, circuit_policy_add(policy, &cfg), 0);
	}
	KUNIT_EXPECT_EQ(test, policy->nr_shapes, 3);
	query.port = 9999;
	KUNIT_EXPECT_EQ(test, circuit_policy_match(policy, &query)->nr, 9999);
	ipv6_addr_set_v4mapped(htonl(0x0a000000 + 7000), &query.daddr);
	KUNIT_EXPECT_EQ(test, circuit_policy_match(policy, &query)->nr, 7000);
	ipv6_addr_set_v4mapped(htonl(0x0b000007 + (5000 << 8)), &query.saddr);
	KUNIT_EXPECT_EQ(test, circuit_policy_match(policy, &query)->nr, 5000);
	query.port = 3;
	KUNIT_EXPECT_EQ(test, circuit_policy_match(policy, &query)->nr, 3);
	circuit_policy_free(ex, policy);
	exchange_destroy(test, ex);
}

static void too_many(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct circuit_policy *policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_CONNECT, 0);
	struct circuit_rule_config cfg = { .port = { 0, U32_MAX } };
	int err = 0, n;

	KUNIT_ASSERT_NOT_NULL(test, policy);
	for (n = 0; !err; n++) {
		cfg.from_prefix.len = n % 129;
		cfg.to_prefix.len = n / 129;
		err = circuit_policy_add(policy, &cfg);
	}
	KUNIT_EXPECT_EQ(test, err, -E2BIG);
	KUNIT_EXPECT_EQ(test, n, CIRCUIT_SHAPES_MAX + 1);
	circuit_policy_free(ex, policy);

	policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_CONNECT, U32_MAX);
	KUNIT_ASSERT_NOT_NULL(test, policy);
	memset(&cfg, 0, sizeof(cfg));
	for (n = 0, err = 0; !err; n++) {
		cfg.port[0] = cfg.port[1] = n;
		err = circuit_policy_add(policy, &cfg);
	}
	KUNIT_EXPECT_EQ(test, err, -E2BIG);
	KUNIT_EXPECT_EQ(test, n, CIRCUIT_RULES_MAX + 1);
	circuit_policy_free(ex, policy);
	exchange_destroy(test, ex);
}

/* Two lines of one group, one of them in another, too. */
static void quotas(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct circuit_line *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	struct circuit_line *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	struct circuit_subject *both, *one;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_ASSERT_NOT_NULL(test, b);
	a->ex = b->ex = ex;
	circuit_limits_none(&a->quota.limits);
	circuit_limits_none(&b->quota.limits);
	KUNIT_EXPECT_TRUE(test, circuit_charge(a, CIRCUIT_CIRCUITS, 3));

	both = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, "both");
	KUNIT_ASSERT_NOT_NULL(test, both);
	KUNIT_ASSERT_PTR_EQ(test, circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, "both"), both);
	one = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, "one");
	KUNIT_ASSERT_NOT_NULL(test, one);
	circuit_group_join(a, both);
	circuit_group_join(b, both);
	circuit_group_join(a, one);
	KUNIT_EXPECT_EQ(test, both->quota.used[CIRCUIT_CIRCUITS], 3ull);
	KUNIT_EXPECT_EQ(test, both->lines, 2u);

	/* The least that anybody has left. */
	both->quota.limits.max[CIRCUIT_CIRCUITS] = 10;
	one->quota.limits.max[CIRCUIT_CIRCUITS] = 5;
	a->quota.limits.max[CIRCUIT_CIRCUITS] = 6;
	KUNIT_EXPECT_EQ(test, circuit_affords(a, CIRCUIT_CIRCUITS), 2ull);
	KUNIT_EXPECT_EQ(test, circuit_affords(b, CIRCUIT_CIRCUITS), 7ull);
	KUNIT_EXPECT_FALSE(test, circuit_charge(a, CIRCUIT_CIRCUITS, 3));
	KUNIT_EXPECT_EQ(test, a->quota.used[CIRCUIT_CIRCUITS], 3ull);
	KUNIT_EXPECT_EQ(test, both->quota.used[CIRCUIT_CIRCUITS], 3ull);
	KUNIT_EXPECT_TRUE(test, circuit_charge(b, CIRCUIT_CIRCUITS, 7));
	KUNIT_EXPECT_FALSE(test, circuit_charge(a, CIRCUIT_CIRCUITS, 1));
	circuit_uncharge(b, CIRCUIT_CIRCUITS, 1);
	KUNIT_EXPECT_TRUE(test, circuit_charge(a, CIRCUIT_CIRCUITS, 1));
	/* A limit below what there is. */
	both->quota.limits.max[CIRCUIT_CIRCUITS] = 1;
	KUNIT_EXPECT_EQ(test, circuit_affords(b, CIRCUIT_CIRCUITS), 0ull);

	/* Calls: nothing is taken from anybody if one has none. */
	a->quota.limits.calls = 100;
	one->quota.limits.calls = 2;
	for (i = 0; circuit_may_call(a, NSEC_PER_SEC); i++)
		;
	KUNIT_EXPECT_EQ(test, i, 2u);
	KUNIT_EXPECT_EQ(test, one->quota.limited, 1ull);
	KUNIT_EXPECT_EQ(test, a->quota.limited, 0ull);
	one->quota.limits.calls = 0;
	for (i = 0; circuit_may_call(a, NSEC_PER_SEC); i++)
		;
	KUNIT_EXPECT_EQ(test, i, 98u);

	circuit_group_leave(a);
	KUNIT_EXPECT_EQ(test, both->quota.used[CIRCUIT_CIRCUITS], 6ull);
	KUNIT_EXPECT_EQ(test, circuit_affords(a, CIRCUIT_CIRCUITS), 2ull);
	circuit_group_leave(b);
	KUNIT_EXPECT_TRUE(test, list_empty(&ex->groups));
	exchange_destroy(test, ex);
}

#define STEP		(10 * NSEC_PER_MSEC)
#define LEAST_PIECE	256u

/* A circuit to somebody in the world, where it can be seen what is allowed. */
static struct circuit *limited(struct kunit *test, struct circuit_line *a, struct circuit_line *b)
{
	struct circuit *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->end[0].line = a;
	c->end[1].line = b;
	c->end[1].nr = 1;
	c->end[0].index = c->end[1].index = 1;
	c->ctrl = kunit_kzalloc(test, sizeof(*c->ctrl), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, c->ctrl);
	c->connected = true;
	INIT_LIST_HEAD(&c->end[0].owed);
	INIT_LIST_HEAD(&c->end[1].owed);
	circuit_meter_start(c);
	return c;
}

/* What it has been given since it was looked at last, with none of it told to anybody. */
static u32 given_of(struct circuit *c, enum circuit_unit unit)
{
	u32 n = c->end[0].allow[unit][CIRCUIT_SEND];

	c->end[0].allow[unit][CIRCUIT_SEND] = 0;
	return n;
}

static u32 given(struct circuit *c)
{
	return given_of(c, CIRCUIT_BYTES);
}

/* A second of turns, in which some circuits want all they can get. */
static void want_of(struct circuit_exchange *ex, enum circuit_unit unit, u64 *now,
		    struct circuit **c, u32 *n, unsigned int many)
{
	struct circuit_flow *flow;
	struct circuit_turn turn;
	unsigned int step, i;

	circuit_turn_begin(&turn, NULL);
	memset(n, 0, many * sizeof(*n));
	for (step = 0; step < 100; step++) {
		for (i = 0; i < many; i++) {
			n[i] += given_of(c[i], unit);
			flow = &c[i]->flow[unit][0];
			if (flow->want)
				continue;
			flow->want = SZ_1G + flow->owed;
			list_add_tail(&flow->node, &ex->wanting);
		}
		circuit_meter_turn(ex, *now += STEP, &turn);
	}
	circuit_turn_end(&turn);
	for (i = 0; i < many; i++)
		n[i] += given_of(c[i], unit);
}

static void want_on(struct circuit_exchange *ex, u64 *now, struct circuit **c, u32 *n,
		    unsigned int many)
{
	want_of(ex, CIRCUIT_BYTES, now, c, n, many);
}

/* More of those who wait than can ever be saved up for: then it is one after the other. */
static void many_messages(struct kunit *test, struct circuit_exchange *ex, struct circuit_line *a,
			  struct circuit_line *b, u64 *now)
{
	struct circuit_meter *meter = &a->quota.meter[CIRCUIT_MESSAGES][CIRCUIT_SEND];
	struct circuit *c[24];
	u32 n[24], sum = 0;
	unsigned int i;

	circuit_meter_set(meter, 100);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		c[i] = limited(test, a, b);
		c[i]->type = CIRCUIT_SIG_DGRAM;
		circuit_meter_start(c[i]);
	}
	/* What they had beforehand takes a few seconds. */
	for (i = 0; i < 7; i++)
		want_of(ex, CIRCUIT_MESSAGES, now, c, n, ARRAY_SIZE(c));
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		KUNIT_EXPECT_GE(test, n[i], 2u);
		sum += n[i];
	}
	KUNIT_EXPECT_GE(test, sum, 90u);
	KUNIT_EXPECT_LE(test, sum, 110u);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		c[i]->end[0].hungup = true;
		circuit_meter_stop(c[i]);
	}
	circuit_meter_set(meter, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&ex->wanting));
}

/* Messages are counted where there are any, besides their bytes, and by guests that know of it. */
static void counted_messages(struct kunit *test, struct circuit_exchange *ex,
			     struct circuit_line *a, struct circuit_line *b, u64 *now)
{
	struct circuit_meter *meter = &a->quota.meter[CIRCUIT_MESSAGES][CIRCUIT_SEND];
	struct circuit *c[2];
	unsigned int i;
	u32 n[2];

	circuit_meter_set(&a->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND], 0);
	circuit_meter_set(meter, 1000);
	c[0] = limited(test, a, b);
	c[0]->type = CIRCUIT_SIG_STREAM;
	KUNIT_EXPECT_TRUE(test, circuit_meter_knows(c[0], b));
	c[0]->type = CIRCUIT_SIG_SEQPACKET;
	KUNIT_EXPECT_FALSE(test, circuit_meter_knows(c[0], b));
	a->features = b->features = CIRCUIT_SIG_F_RATE | CIRCUIT_SIG_F_MESSAGES;
	KUNIT_EXPECT_TRUE(test, circuit_meter_knows(c[0], b));
	for (i = 0; i < 2; i++) {
		c[i] = limited(test, a, b);
		c[i]->type = CIRCUIT_SIG_DGRAM;
		circuit_meter_start(c[i]);
		KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[i]->end[0]),
				CIRCUIT_SIG_LIMIT_TX_MESSAGES);
		KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[i]->end[1]),
				CIRCUIT_SIG_LIMIT_RX_MESSAGES);
	}
	/* What they had beforehand is counted in the first second. */
	want_of(ex, CIRCUIT_MESSAGES, now, c, n, 2);
	want_of(ex, CIRCUIT_MESSAGES, now, c, n, 2);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_GE(test, n[i], 490u);
		KUNIT_EXPECT_LE(test, n[i], 510u);
		KUNIT_EXPECT_EQ(test, given(c[i]), 0u);
		KUNIT_EXPECT_GE(test, c[i]->end[1].allow[CIRCUIT_MESSAGES][CIRCUIT_RECEIVE], 950u);
	}
	KUNIT_EXPECT_GT(test, meter->waits, 0ull);
	/* The bytes of one are limited as well: it has to have leave of both. */
	KUNIT_ASSERT_EQ(test, xa_err(xa_store(&ex->circuits, 1, c[0], GFP_KERNEL)), 0);
	c[0]->size[0] = SZ_64K;
	circuit_meter_set(&a->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND], 1000000);
	/* One that has got memory and then nothing else waits to be refused: it has no flows. */
	c[0]->connected = false;
	circuit_meter_apply(ex);
	KUNIT_EXPECT_EQ(test, c[0]->end[0].anew, 0u);
	c[0]->connected = true;
	circuit_meter_apply(ex);
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[0]->end[0]),
			CIRCUIT_SIG_LIMIT_TX | CIRCUIT_SIG_LIMIT_TX_MESSAGES);
	KUNIT_EXPECT_EQ(test, c[0]->end[0].anew, CIRCUIT_SIG_LIMIT_TX_ANEW);
	KUNIT_EXPECT_EQ(test, given(c[0]), CIRCUIT_SIG_ALLOWANCE);
	/* One begins anew without the other. What there can be in a ring is of heads at least. */
	circuit_meter_set(meter, 0);
	circuit_meter_apply(ex);
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[0]->end[0]), CIRCUIT_SIG_LIMIT_TX);
	c[0]->end[0].anew = c[0]->end[1].anew = 0;
	circuit_meter_set(meter, 1000);
	circuit_meter_apply(ex);
	KUNIT_EXPECT_EQ(test, c[0]->end[0].anew, CIRCUIT_SIG_LIMIT_TX_MESSAGES_ANEW);
	KUNIT_EXPECT_EQ(test, c[0]->end[1].allow[CIRCUIT_MESSAGES][CIRCUIT_RECEIVE],
			SZ_64K / sizeof(struct circuit_message) + CIRCUIT_SIG_MESSAGES);
	xa_erase(&ex->circuits, 1);
	for (i = 0; i < 2; i++) {
		c[i]->end[0].hungup = true;
		circuit_meter_stop(c[i]);
	}
	circuit_meter_set(&a->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND], 0);
	circuit_meter_set(meter, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&ex->wanting));
	many_messages(test, ex, a, b, now);
	a->features = b->features = CIRCUIT_SIG_F_RATE;
}

/*
 * A limit on a circuit that writes already: the far end may read what is written before the near
 * end has learnt of it, and nothing is given to that until then.
 */
static void limited_later(struct kunit *test, struct circuit_exchange *ex,
			  struct circuit_line *a, struct circuit_line *b)
{
	const u32 told = CIRCUIT_SIG_SIZE, begin = SZ_64K + CIRCUIT_SIG_ALLOWANCE;
	struct circuit_meter *meter = &a->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND];
	struct circuit_end *end;
	struct circuit *c;
	unsigned int i;

	circuit_meter_set(meter, 0);
	c = limited(test, a, b);
	c->size[0] = SZ_64K;
	end = c->end;
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&end[0]), 0u);
	KUNIT_ASSERT_EQ(test, xa_err(xa_store(&ex->circuits, 1, c, GFP_KERNEL)), 0);
	for (i = 0; i < 2; i++) {
		/* Again, with the guests told of nothing in between. */
		circuit_meter_set(meter, 1000000);
		circuit_meter_apply(ex);
		KUNIT_EXPECT_EQ(test, circuit_meter_limits(&end[0]), CIRCUIT_SIG_LIMIT_TX);
		KUNIT_EXPECT_EQ(test, circuit_meter_limits(&end[1]), CIRCUIT_SIG_LIMIT_RX);
		KUNIT_EXPECT_EQ(test, end[0].anew, CIRCUIT_SIG_LIMIT_TX_ANEW);
		KUNIT_EXPECT_EQ(test, end[1].anew, CIRCUIT_SIG_LIMIT_RX_ANEW);
		KUNIT_EXPECT_EQ(test, end[0].allow[CIRCUIT_BYTES][CIRCUIT_SEND], CIRCUIT_SIG_ALLOWANCE);
		KUNIT_EXPECT_EQ(test, end[1].allow[CIRCUIT_BYTES][CIRCUIT_RECEIVE], begin);
		a->tx.head = 0;
		circuit_meter_told(&end[0], told);
		circuit_meter_step(a);
		circuit_meter_want(c, CIRCUIT_BYTES, 0, CIRCUIT_SIG_ALLOWANCE);
		KUNIT_EXPECT_EQ(test, end[0].allow[CIRCUIT_BYTES][CIRCUIT_SEND], CIRCUIT_SIG_ALLOWANCE);
		KUNIT_EXPECT_EQ(test, end[1].allow[CIRCUIT_BYTES][CIRCUIT_RECEIVE], begin);
		if (i)
			break;
		circuit_meter_set(meter, 0);
		circuit_meter_apply(ex);
		KUNIT_EXPECT_EQ(test, end[0].anew | end[1].anew, 0u);
		a->tx.head = told;
		circuit_meter_step(a);
		KUNIT_EXPECT_EQ(test, end[1].allow[CIRCUIT_BYTES][CIRCUIT_RECEIVE], 0u);
	}
	/* It has taken the message; what it has asked for in the meantime is not forgotten. */
	a->tx.head = told;
	circuit_meter_step(a);
	KUNIT_EXPECT_EQ(test, end[1].allow[CIRCUIT_BYTES][CIRCUIT_RECEIVE],
			begin + 2 * SZ_64K + CIRCUIT_SIG_ALLOWANCE);
	KUNIT_EXPECT_FALSE(test, list_empty(&ex->wanting));
	KUNIT_EXPECT_TRUE(test, list_empty(&a->steps));
	/*
	 * The far end has gone: it is limited all the same, by new rates as well, and given a
	 * ring's worth to find out; once more if it asks; and then it is told.
	 */
	end[0].allow[CIRCUIT_BYTES][CIRCUIT_SEND] = 0;
	end[1].hungup = true;
	circuit_meter_stop(c);
	KUNIT_EXPECT_TRUE(test, list_empty(&ex->wanting));
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&end[0]), CIRCUIT_SIG_LIMIT_TX);
	KUNIT_EXPECT_EQ(test, given(c), begin);
	circuit_meter_set(meter, 2000000);
	circuit_meter_apply(ex);
	circuit_meter_set(meter, 0);
	circuit_meter_apply(ex);
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&end[0]), CIRCUIT_SIG_LIMIT_TX);
	KUNIT_EXPECT_EQ(test, given(c), 0u);
	circuit_meter_want(c, CIRCUIT_BYTES, 0, SZ_1M);
	KUNIT_EXPECT_EQ(test, given(c), begin);
	KUNIT_EXPECT_FALSE(test, end[0].owe & CIRCUIT_OWE_RESET);
	circuit_meter_want(c, CIRCUIT_BYTES, 0, SZ_1M);
	KUNIT_EXPECT_EQ(test, given(c), 0u);
	KUNIT_EXPECT_TRUE(test, end[0].owe & CIRCUIT_OWE_RESET);
	KUNIT_EXPECT_EQ(test, end[0].reason, CIRCUIT_REASON_PEER_RESET);
	xa_erase(&ex->circuits, 1);
}

/* Who may write how much, if all want as much as they can get. */
static void meters(struct kunit *test)
{
	struct circuit_exchange *ex = exchange_create(test);
	struct circuit_line *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	struct circuit_line *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	struct circuit_meters *rule;
	struct circuit_subject *group;
	u64 now = ktime_get_ns();
	struct circuit *c[3];
	unsigned int i;
	u32 n[3];

	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_ASSERT_NOT_NULL(test, b);
	circuit_meter_init(ex);
	xa_init(&ex->circuits);
	a->ex = b->ex = ex;
	a->features = b->features = CIRCUIT_SIG_F_RATE;
	a->stats = alloc_percpu(struct circuit_line_stats);
	a->account = circuit_account_alloc("a");
	KUNIT_ASSERT_NOT_NULL(test, a->account);
	KUNIT_ASSERT_NOT_NULL(test, a->stats);
	INIT_LIST_HEAD(&a->owed);
	INIT_LIST_HEAD(&b->owed);
	INIT_LIST_HEAD(&a->steps);
	INIT_LIST_HEAD(&b->steps);
	a->tx.prod = kunit_kzalloc(test, sizeof(*a->tx.prod), GFP_KERNEL);
	a->tx.cons = kunit_kzalloc(test, sizeof(*a->tx.cons), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, a->tx.prod);
	KUNIT_ASSERT_NOT_NULL(test, a->tx.cons);
	b->tx = a->tx;		/* no room for messages */

	/* One circuit of a line's, and nothing in the other direction. */
	circuit_meter_set(&a->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND], 1000000);
	c[0] = limited(test, a, b);
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[0]->end[0]), CIRCUIT_SIG_LIMIT_TX);
	KUNIT_EXPECT_EQ(test, circuit_meter_limits(&c[0]->end[1]), CIRCUIT_SIG_LIMIT_RX);
	want_on(ex, &now, c, n, 1);
	want_on(ex, &now, c, n, 1);
	KUNIT_EXPECT_GE(test, n[0], 980000u);
	KUNIT_EXPECT_LE(test, n[0], 1020000u);
	/* Guests have to know of it, but not where a leg does it for them. */
	KUNIT_EXPECT_TRUE(test, circuit_meter_knows(c[0], b));
	b->features = 0;
	KUNIT_EXPECT_FALSE(test, circuit_meter_knows(c[0], b));
	b->is_trunk = true;
	KUNIT_EXPECT_TRUE(test, circuit_meter_knows(c[0], b));
	b->is_trunk = false;
	b->features = CIRCUIT_SIG_F_RATE;
	/* Both ends are told the same. */
	KUNIT_EXPECT_GE(test, c[0]->end[1].allow[CIRCUIT_BYTES][CIRCUIT_RECEIVE], 1900000u);
	KUNIT_EXPECT_FALSE(test, list_empty(&a->owed));
	KUNIT_EXPECT_FALSE(test, list_empty(&b->owed));

	/* Several have the same each; one that pauses leaves its part to others. */
	c[1] = limited(test, a, b);
	c[2] = limited(test, a, b);
	want_on(ex, &now, c, n, 3);
	want_on(ex, &now, c, n, 3);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_GE(test, n[i], 325000u);
		KUNIT_EXPECT_LE(test, n[i], 345000u);
	}
	c[2]->end[0].hungup = true;
	circuit_meter_stop(c[2]);
	want_on(ex, &now, c, n, 2);
	KUNIT_EXPECT_GE(test, n[0] + n[1], 980000u);
	KUNIT_EXPECT_LE(test, n[0] + n[1], 1020000u);
	/* Nobody has much to gain from a pause of all. */
	now += 10 * NSEC_PER_SEC;
	want_on(ex, &now, c, n, 2);
	KUNIT_EXPECT_LE(test, n[0] + n[1], 1150000u);

	/* The least that a line, a group or a rule lets through, of either side. */
	group = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, "group");
	KUNIT_ASSERT_NOT_NULL(test, group);
	circuit_group_join(b, group);
	circuit_meter_set(&group->quota.meter[CIRCUIT_BYTES][CIRCUIT_SEND], 2000);	/* none of ours */
	circuit_meter_set(&group->quota.meter[CIRCUIT_BYTES][CIRCUIT_RECEIVE], 300000);
	want_on(ex, &now, c, n, 2);
	want_on(ex, &now, c, n, 2);
	KUNIT_EXPECT_GE(test, n[0] + n[1], 290000u);
	KUNIT_EXPECT_LE(test, n[0] + n[1], 310000u);
	KUNIT_EXPECT_GT(test, group->quota.meter[CIRCUIT_BYTES][CIRCUIT_RECEIVE].waits, 0ull);
	rule = circuit_meters_alloc(CIRCUIT_RATE_MIN);
	KUNIT_ASSERT_NOT_NULL(test, rule);
	c[1]->meters = rule;
	for (i = 0; i < 20; i++)
		want_on(ex, &now, c, n, 2);
	/* Its bytes come in pieces, or there would be a message for each. */
	KUNIT_EXPECT_GE(test, n[1], 1024u - LEAST_PIECE);
	KUNIT_EXPECT_LE(test, n[1], 1024u + LEAST_PIECE);
	KUNIT_EXPECT_GE(test, n[0], 280000u);
	circuit_group_leave(b);

	for (i = 0; i < 2; i++) {
		c[i]->end[0].hungup = true;
		circuit_meter_stop(c[i]);
	}
	circuit_meters_put(rule);
	KUNIT_EXPECT_TRUE(test, list_empty(&ex->wanting));
	counted_messages(test, ex, a, b, &now);
	limited_later(test, ex, a, b);
	circuit_account_put(a->account);
	free_percpu(a->stats);
	exchange_destroy(test, ex);
}

/* Every time is counted where the header says, and no class is too wide. */
static void setups(struct kunit *test)
{
	struct circuit_line *line = kunit_kzalloc(test, sizeof(*line), GFP_KERNEL);
	struct rnd_state rnd;
	unsigned int n, i;
	u64 ns, from, to;

	KUNIT_ASSERT_NOT_NULL(test, line);
	prandom_seed_state(&rnd, 5);
	for (n = 0; n < 10000; n++) {
		ns = (u64)prandom_u32_state(&rnd) >> prandom_u32_state(&rnd) % 32;
		memset(line->setups, 0, sizeof(line->setups));
		circuit_line_setup(line, ns);
		for (i = 0; !line->setups[i]; i++)
			;
		from = ((u64)(CIRCUIT_SETUP_STEPS + i % CIRCUIT_SETUP_STEPS) <<
			(i / CIRCUIT_SETUP_STEPS)) * (1 << CIRCUIT_SETUP_SHIFT) / CIRCUIT_SETUP_STEPS;
		i++;
		to = ((u64)(CIRCUIT_SETUP_STEPS + i % CIRCUIT_SETUP_STEPS) <<
		      (i / CIRCUIT_SETUP_STEPS)) * (1 << CIRCUIT_SETUP_SHIFT) / CIRCUIT_SETUP_STEPS;
		KUNIT_EXPECT_TRUE(test, ns >= from || i == 1);
		KUNIT_EXPECT_LT(test, ns, to);
	}
	memset(line->setups, 0, sizeof(line->setups));
	circuit_line_setup(line, U64_MAX / CIRCUIT_SETUP_STEPS);
	KUNIT_EXPECT_EQ(test, line->setups[CIRCUIT_SETUPS - 1], 1ull);
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(bucket),
	KUNIT_CASE(subjects),
	KUNIT_CASE(random_tables),
	KUNIT_CASE(many_rules),
	KUNIT_CASE(too_many),
	KUNIT_CASE(quotas),
	KUNIT_CASE(meters),
	KUNIT_CASE(setups),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "circuit_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
