// SPDX-License-Identifier: GPL-2.0
/*
 * Policy: rules, and which of them decides. See policy.h.
 */
#include <linux/hash.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include "host.h"

/* --- subjects --- */

static const struct rhashtable_params subject_params = {
	.head_offset = offsetof(struct circuit_subject, node),
	.key_offset = offsetof(struct circuit_subject, key),
	.key_len = sizeof_field(struct circuit_subject, key),
	.automatic_shrinking = true,
};

/**
 * circuit_subjects_init - make an exchange's table of subjects
 * @ex: the exchange
 *
 * Return: 0 or a negative errno.
 */
int circuit_subjects_init(struct circuit_exchange *ex)
{
	INIT_LIST_HEAD(&ex->groups);
	return rhashtable_init(&ex->subjects, &subject_params);
}

/**
 * circuit_subjects_destroy - undo circuit_subjects_init()
 * @ex: the exchange, without subjects
 */
void circuit_subjects_destroy(struct circuit_exchange *ex)
{
	rhashtable_destroy(&ex->subjects);
}

/**
 * circuit_subject_find - find a subject
 * @ex: the exchange, locked
 * @kind: line or group
 * @name: its name, NUL-padded to CIRCUIT_NAME_SIZE
 *
 * Return: the subject, or NULL if nobody has it.
 */
struct circuit_subject *circuit_subject_find(struct circuit_exchange *ex,
					     enum circuit_subject_kind kind, const char *name)
{
	struct circuit_subject key = { .key.kind = kind };

	lockdep_assert_held(&ex->lock);
	memcpy(key.key.name, name, CIRCUIT_NAME_SIZE);
	return rhashtable_lookup_fast(&ex->subjects, &key.key, subject_params);
}

/**
 * circuit_subject_get - find or make a subject, and take a reference
 * @ex: the exchange, locked
 * @kind: line or group
 * @name: a name for which circuit_name_ok() holds
 *
 * Return: the subject, or NULL if out of memory.
 */
struct circuit_subject *circuit_subject_get(struct circuit_exchange *ex,
					    enum circuit_subject_kind kind, const char *name)
{
	struct circuit_subject *new, *old;

	lockdep_assert_held(&ex->lock);
	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	if (kind == CIRCUIT_SUBJECT_GROUP) {
		new->pool = circuit_pool_alloc();
		if (!new->pool) {
			kfree(new);
			return NULL;
		}
	}
	strscpy_pad(new->key.name, name, CIRCUIT_NAME_SIZE);
	new->key.kind = kind;
	new->ex = ex;
	old = rhashtable_lookup_get_insert_fast(&ex->subjects, &new->node, subject_params);
	if (!old) {
		new->users = 1;
		INIT_LIST_HEAD(&new->list);
		circuit_limits_none(&new->quota.limits);
		if (kind == CIRCUIT_SUBJECT_GROUP) {
			list_add_tail(&new->list, &ex->groups);
			ex->seq++;
		}
		return new;
	}
	circuit_pool_put(new->pool);
	kfree(new);
	if (IS_ERR(old))
		return NULL;
	old->users++;
	return old;
}

/**
 * circuit_subject_put - drop a reference
 * @ex: the exchange, locked
 * @subject: a subject of its, or NULL
 */
void circuit_subject_put(struct circuit_exchange *ex, struct circuit_subject *subject)
{
	lockdep_assert_held(&ex->lock);
	if (!subject || --subject->users)
		return;
	rhashtable_remove_fast(&ex->subjects, &subject->node, subject_params);
	if (!list_empty(&subject->list)) {
		list_del(&subject->list);
		ex->seq++;
	}
	circuit_pool_put(subject->pool);
	kfree(subject);
}

/* --- shapes and slots --- */

/*
 * What a rule is about, as far as its shape says that it matters; zero otherwise. Or, in the
 * first two words, ports and the slot that says which other things the rule is about.
 *
 * In words, since a lookup masks and hashes one for each shape.
 */
enum {
	KEY_SHAPE,	/* its number; or a port in the upper half, and how many bits of it */
	KEY_SRC,
	KEY_DST,
	KEY_FROM,
	KEY_DEST = KEY_FROM + 2,
	KEY_WORDS = KEY_DEST + 2
};

struct policy_key {
	u64	word[KEY_WORDS];
};

#define KEY_IS_PORT	BIT(31)		/* of KEY_SHAPE's lower half */

/**
 * struct policy_shape - what rules of one kind are about
 * @list: in policy->shapes
 * @first: number of the first rule that has it
 * @nr: number of the shape
 * @src: enum circuit_subject_kind of the caller
 * @dst: enum circuit_subject_kind of who is called
 * @from: bits of the caller's address that matter
 * @dest: bits of the address called that matter
 * @mask: the last two, of a key
 */
struct policy_shape {
	struct list_head	list;
	u32			first;
	u32			nr;
	u8			src;
	u8			dst;
	u8			from;
	u8			dest;
	struct policy_key	mask;
};

/**
 * struct policy_slot - rules that are about the same
 * @node: in policy->slots
 * @key: about what
 * @first: number of the first of them
 * @ports: how many upper bits of a port matter to those that are about ports as well, as a set:
 *	each has a slot for these
 * @rules: struct policy_entry: the others, in the order of the rules
 */
struct policy_slot {
	struct rhash_head	node;
	struct policy_key	key;
	u32			first;
	u64			ports;
	struct list_head	rules;
};

struct policy_entry {
	struct list_head	list;
	struct circuit_rule	*rule;
};

/* Rules are the administrator's, who gains nothing by having them collide. */
static u32 key_hash(const void *data, u32 len, u32 seed)
{
	const struct policy_key *key = data;
	u64 hash = seed;
	unsigned int i;

	/* A product has in its upper bits what is anywhere; addresses differ in upper bits only. */
	for (i = 0; i < KEY_WORDS; i++)
		hash = ror64((hash ^ key->word[i]) * GOLDEN_RATIO_64, 32);
	return hash_64(hash, 32);
}

static const struct rhashtable_params slot_params = {
	.head_offset = offsetof(struct policy_slot, node),
	.key_offset = offsetof(struct policy_slot, key),
	.key_len = sizeof(struct policy_key),
	.hashfn = key_hash,
};

static void key_addrs(struct policy_key *key, const struct in6_addr *from,
		      const struct in6_addr *dest)
{
	memcpy(&key->word[KEY_FROM], from, sizeof(*from));
	memcpy(&key->word[KEY_DEST], dest, sizeof(*dest));
}

static void shape_masks(struct policy_shape *shape)
{
	struct in6_addr ones, from, dest;

	memset(&ones, 0xff, sizeof(ones));
	ipv6_addr_prefix(&from, &ones, shape->from);
	ipv6_addr_prefix(&dest, &ones, shape->dest);
	key_addrs(&shape->mask, &from, &dest);
}

static u32 port_mask(unsigned int bits)
{
	return bits ? ~0u << (32 - bits) : 0;
}

static u8 kind_of(const struct circuit_subject *subject)
{
	return subject ? subject->key.kind : CIRCUIT_SUBJECT_NONE;
}

static struct policy_shape *shape_get(struct circuit_policy *policy, const struct circuit_rule *rule)
{
	const struct circuit_rule_config *cfg = &rule->cfg;
	struct policy_shape *shape;

	list_for_each_entry(shape, &policy->shapes, list)
		if (shape->src == kind_of(cfg->src) && shape->dst == kind_of(cfg->dst) &&
		    shape->from == cfg->from_prefix.len && shape->dest == cfg->to_prefix.len)
			return shape;
	if (policy->nr_shapes == CIRCUIT_SHAPES_MAX)
		return ERR_PTR(-E2BIG);
	shape = kzalloc(sizeof(*shape), GFP_KERNEL_ACCOUNT);
	if (!shape)
		return ERR_PTR(-ENOMEM);
	shape->first = rule->nr;
	shape->nr = policy->nr_shapes++;
	shape->src = kind_of(cfg->src);
	shape->dst = kind_of(cfg->dst);
	shape->from = cfg->from_prefix.len;
	shape->dest = cfg->to_prefix.len;
	shape_masks(shape);
	/* Rules come in their order, and so do their shapes. */
	list_add_tail(&shape->list, &policy->shapes);
	return shape;
}

/* The slot of a key, of which @rule will be one. */
static struct policy_slot *slot_get(struct circuit_policy *policy, const struct policy_key *key,
				    const struct circuit_rule *rule)
{
	struct policy_slot *slot, *old;

	slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	if (!slot)
		return NULL;
	slot->key = *key;
	slot->first = rule->nr;
	INIT_LIST_HEAD(&slot->rules);
	old = rhashtable_lookup_get_insert_fast(&policy->slots, &slot->node, slot_params);
	if (!old)
		return slot;
	kfree(slot);
	return IS_ERR(old) ? NULL : old;
}

static void port_key(struct policy_key *key, const struct policy_slot *slot, u32 port, u8 bits)
{
	memset(key, 0, sizeof(*key));
	key->word[KEY_SHAPE] = (u64)(port & port_mask(bits)) << 32 | KEY_IS_PORT | bits;
	key->word[KEY_SRC] = (uintptr_t)slot;
}

static int slot_enter(struct policy_slot *slot, struct circuit_rule *rule)
{
	struct policy_entry *entry;

	entry = slot ? kzalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT) : NULL;
	if (!entry)
		return -ENOMEM;
	entry->rule = rule;
	list_add_tail(&entry->list, &slot->rules);
	return 0;
}

/* Enter a rule where it belongs, for each of the prefixes that make up its range of ports. */
static int policy_enter(struct circuit_policy *policy, struct circuit_rule *rule)
{
	u64 port = rule->cfg.port[0], end = (u64)rule->cfg.port[1] + 1;
	struct policy_slot *slot, *of_port;
	struct policy_shape *shape;
	struct policy_key key;
	unsigned int order;
	int err = 0;

	shape = shape_get(policy, rule);
	if (IS_ERR(shape))
		return PTR_ERR(shape);
	key.word[KEY_SHAPE] = shape->nr;
	key.word[KEY_SRC] = (uintptr_t)rule->cfg.src;
	key.word[KEY_DST] = (uintptr_t)rule->cfg.dst;
	key_addrs(&key, &rule->cfg.from_prefix.addr, &rule->cfg.to_prefix.addr);
	slot = slot_get(policy, &key, rule);
	if (!slot)
		return -ENOMEM;
	for (; port < end && !err; port += 1ull << order) {
		order = min_t(unsigned int, port ? __ffs64(port) : 32, ilog2(end - port));
		of_port = slot;
		if (order < 32) {
			slot->ports |= BIT_ULL(32 - order);
			port_key(&key, slot, port, 32 - order);
			of_port = slot_get(policy, &key, rule);
		}
		err = slot_enter(of_port, rule);
	}
	return err;
}

/* --- policies --- */

/**
 * circuit_policy_alloc - start a policy
 * @verdict: what becomes of calls that no rule matches
 * @rules: about how many will come
 *
 * Return: the policy, without rules, or NULL if out of memory.
 */
struct circuit_policy *circuit_policy_alloc(u8 verdict, u32 rules)
{
	struct rhashtable_params params = slot_params;
	struct circuit_policy *policy;

	policy = kzalloc(sizeof(*policy), GFP_KERNEL_ACCOUNT);
	if (!policy)
		return NULL;
	params.nelem_hint = min_t(u32, rules, CIRCUIT_RULES_MAX);
	if (rhashtable_init(&policy->slots, &params)) {
		kfree(policy);
		return NULL;
	}
	xa_init(&policy->rules);
	INIT_LIST_HEAD(&policy->shapes);
	policy->verdict = verdict;
	return policy;
}

/**
 * circuit_policy_add - append a rule to a policy that is not in force yet
 * @policy: the policy
 * @cfg: a valid rule; what it refers to is the policy's from now on, unless this fails
 *
 * Return: 0; -E2BIG if the policy is full or has too many shapes; -ENOMEM. After a
 * failure the policy is only good to be freed.
 */
int circuit_policy_add(struct circuit_policy *policy, const struct circuit_rule_config *cfg)
{
	struct circuit_rule *rule;
	int err;

	if (policy->nr_rules == CIRCUIT_RULES_MAX)
		return -E2BIG;
	rule = kzalloc(sizeof(*rule), GFP_KERNEL_ACCOUNT);
	if (!rule)
		return -ENOMEM;
	rule->cfg = *cfg;
	rule->nr = policy->nr_rules;
	if (cfg->rate) {
		rule->meters = circuit_meters_alloc(cfg->rate);
		if (!rule->meters) {
			kfree(rule);
			return -ENOMEM;
		}
	}
	err = xa_insert(&policy->rules, rule->nr, rule, GFP_KERNEL_ACCOUNT);
	if (err) {
		circuit_meters_put(rule->meters);
		kfree(rule);
		return err;
	}
	policy->nr_rules++;
	err = policy_enter(policy, rule);
	if (err) /* what it refers to stays the caller's; slots are not looked at again */
		memset(&rule->cfg, 0, sizeof(rule->cfg));
	return err;
}

static void slot_free(void *ptr, void *arg)
{
	struct policy_slot *slot = ptr;
	struct policy_entry *entry, *next;

	list_for_each_entry_safe(entry, next, &slot->rules, list)
		kfree(entry);
	kfree(slot);
}

/**
 * circuit_rule_config_free - let go of what a rule refers to
 * @ex: the exchange, locked
 * @cfg: the rule
 */
void circuit_rule_config_free(struct circuit_exchange *ex, struct circuit_rule_config *cfg)
{
	circuit_subject_put(ex, cfg->src);
	circuit_subject_put(ex, cfg->dst);
	if (cfg->trunk)
		circuit_trunk_use(cfg->trunk, -1);
	kfree(cfg->comment);
}

/**
 * circuit_policy_free - free a policy
 * @ex: the exchange, locked
 * @policy: not in force, or NULL
 */
void circuit_policy_free(struct circuit_exchange *ex, struct circuit_policy *policy)
{
	struct policy_shape *shape, *next;
	struct circuit_rule *rule;
	unsigned long i;

	if (!policy)
		return;
	rhashtable_free_and_destroy(&policy->slots, slot_free, NULL);
	list_for_each_entry_safe(shape, next, &policy->shapes, list)
		kfree(shape);
	xa_for_each(&policy->rules, i, rule) {
		circuit_rule_config_free(ex, &rule->cfg);
		circuit_meters_put(rule->meters);
		kfree(rule);
	}
	xa_destroy(&policy->rules);
	kfree(policy);
}

/* Is it about this kind of call? What its shape stands for is known to match. */
static bool rule_is_about(const struct circuit_rule_config *cfg, const struct circuit_query *query)
{
	return (!cfg->ops || cfg->ops & BIT(query->op)) &&
	       (!cfg->types || cfg->types & BIT(query->type)) &&
	       (!cfg->to || (query->op == CIRCUIT_POLICY_OP_CALL && cfg->to & BIT(query->to))) &&
	       !(cfg->hints & ~query->hints) &&
	       (!(cfg->hints & CIRCUIT_SIG_HINT_UID) || cfg->uid == query->uid) &&
	       (!(cfg->hints & CIRCUIT_SIG_HINT_CGROUP) || cfg->cgroup == query->cgroup);
}

/* The subjects of a party that a shape may mean: one for anybody and for a line. */
static unsigned int party_subjects(const struct circuit_party *party, u8 kind,
				   struct circuit_subject *const **subjects)
{
	static struct circuit_subject *const nobody;

	if (kind == CIRCUIT_SUBJECT_NONE) {
		*subjects = &nobody;
		return 1;
	}
	if (!party)
		return 0;
	if (kind == CIRCUIT_SUBJECT_LINE) {
		*subjects = &party->line;
		return 1;
	}
	*subjects = party->group;
	return party->nr_groups;
}

static const struct policy_slot *slot_find(const struct circuit_policy *policy,
					   const struct policy_key *key)
{
	return rhashtable_lookup_fast((struct rhashtable *)&policy->slots, key, slot_params);
}

/* The best of a slot's own rules, if it is better than @best. */
static struct circuit_rule *slot_match(const struct policy_slot *slot,
				       const struct circuit_query *query,
				       struct circuit_rule *best)
{
	const struct policy_entry *entry;

	list_for_each_entry(entry, &slot->rules, list) {
		if (best && entry->rule->nr >= best->nr)
			break;
		if (rule_is_about(&entry->rule->cfg, query))
			return entry->rule;
	}
	return best;
}

/* The best of those that are about its key, and about ports or not. */
static struct circuit_rule *key_match(const struct circuit_policy *policy,
				      const struct policy_key *key,
				      const struct circuit_query *query, struct circuit_rule *best)
{
	const struct policy_slot *slot = slot_find(policy, key), *of_port;
	struct policy_key ports;
	u64 left;

	if (!slot || (best && slot->first > best->nr))
		return best;
	best = slot_match(slot, query, best);
	for (left = slot->ports; left; left &= left - 1) {
		port_key(&ports, slot, query->port, __ffs64(left));
		of_port = slot_find(policy, &ports);
		if (of_port)
			best = slot_match(of_port, query, best);
	}
	return best;
}

/* The best of the rules of one shape, if it is better than @best; @asked is of the query. */
static struct circuit_rule *shape_match(const struct circuit_policy *policy,
					const struct policy_shape *shape,
					const struct circuit_query *query,
					const struct policy_key *asked, struct circuit_rule *best)
{
	struct circuit_subject *const *src, *const *dst;
	unsigned int nr_src, nr_dst, i, j;
	struct policy_key key;

	key.word[KEY_SHAPE] = shape->nr;
	for (i = KEY_FROM; i < KEY_WORDS; i++)
		key.word[i] = asked->word[i] & shape->mask.word[i];
	nr_src = party_subjects(query->src, shape->src, &src);
	nr_dst = party_subjects(query->dst, shape->dst, &dst);
	for (i = 0; i < nr_src; i++) {
		for (j = 0; j < nr_dst; j++) {
			key.word[KEY_SRC] = (uintptr_t)src[i];
			key.word[KEY_DST] = (uintptr_t)dst[j];
			best = key_match(policy, &key, query, best);
		}
	}
	return best;
}

/**
 * circuit_policy_match - find the rule that decides
 * @policy: the policy
 * @query: what to decide about
 *
 * Has no effects.
 *
 * Return: the first rule that matches, or NULL if none does.
 */
struct circuit_rule *circuit_policy_match(const struct circuit_policy *policy,
					  const struct circuit_query *query)
{
	const struct policy_shape *shape;
	struct circuit_rule *best = NULL;
	struct policy_key asked;

	key_addrs(&asked, &query->saddr, &query->daddr);
	list_for_each_entry(shape, &policy->shapes, list) {
		if (best && shape->first > best->nr)
			break;
		best = shape_match(policy, shape, query, &asked, best);
	}
	return best;
}

static bool party_has(const struct circuit_party *party, const struct circuit_subject *subject)
{
	unsigned int i;

	if (!subject)
		return true;
	if (!party)
		return false;
	if (party->line == subject)
		return true;
	for (i = 0; i < party->nr_groups; i++)
		if (party->group[i] == subject)
			return true;
	return false;
}

/**
 * circuit_rule_matches - does a rule match, whatever comes before it?
 * @rule: the rule
 * @query: what to decide about
 *
 * circuit_policy_match() finds the first for which this holds, by other means.
 */
bool circuit_rule_matches(const struct circuit_rule *rule, const struct circuit_query *query)
{
	const struct circuit_rule_config *cfg = &rule->cfg;

	return rule_is_about(cfg, query) &&
	       party_has(query->src, cfg->src) && party_has(query->dst, cfg->dst) &&
	       ipv6_prefix_equal(&query->saddr, &cfg->from_prefix.addr, cfg->from_prefix.len) &&
	       ipv6_prefix_equal(&query->daddr, &cfg->to_prefix.addr, cfg->to_prefix.len) &&
	       query->port >= cfg->port[0] && query->port <= cfg->port[1];
}
