/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Policy: who may call whom.
 *
 * Objects
 *
 *  subject	A name that a rule may speak of: of a line or of a group. It is there while
 *		a line, a group or a rule has it, so that a table can name lines that
 *		do not exist yet, and rules compare pointers instead of names.
 *  rule	What to do with the calls it is about. Immutable but for its counters.
 *  policy	Rules in order; the first that matches decides. Made in the background by
 *		circuit_policy_alloc() and circuit_policy_add(), and put in force as a
 *		whole by circuit_policy_install().
 *
 * All of it belongs to exchange->lock, a policy that is not in force to whoever makes it.
 *
 * A policy finds the first rule that matches without looking at them all. A rule is about
 * subjects, prefixes and ports; which subjects, and how long its prefixes are, is its *shape*.
 * Rules of one shape are in a hash table by what they are about, in *slots*, so that a lookup
 * costs one probe per shape (one per group, where the shape has groups), however many rules have
 * it. Ranges of ports are cut into prefixes; a slot that is found says how long those of its rules
 * are, and costs one more probe for each length. Shapes are tried in the order of their first
 * rules, until the next one has none before the best rule found.
 */
#ifndef _CIRCUIT_POLICY_H
#define _CIRCUIT_POLICY_H

#include <linux/in6.h>
#include <linux/list.h>
#include <linux/rhashtable.h>
#include <linux/types.h>
#include <linux/circuit.h>
#include <linux/circuit_netlink.h>
#include <linux/circuit_sig.h>
#include "quota.h"

struct circuit;
struct circuit_exchange;
struct circuit_trunk;

#define CIRCUIT_GROUPS_MAX	8	/* of one line */
#define CIRCUIT_RULES_MAX	65536
#define CIRCUIT_SHAPES_MAX	4096

enum circuit_subject_kind {
	CIRCUIT_SUBJECT_NONE,		/* anybody */
	CIRCUIT_SUBJECT_LINE,
	CIRCUIT_SUBJECT_GROUP,
};

/**
 * struct circuit_subject - a name that rules may speak of
 * @node: in exchange->subjects
 * @key: its key there; @key.name is NUL-padded
 * @ex: the exchange
 * @list: of a group: in exchange->groups
 * @users: lines and rules that have it, and the administrator who has given it limits
 * @configured: by whom it has
 * @lines: of a group: how many there are in it
 * @quota: of a group: what they may have together
 * @pool: of a group: what they share; referenced
 */
struct circuit_subject {
	struct rhash_head	node;
	struct {
		char		name[CIRCUIT_NAME_SIZE];
		u32		kind;
	} key;
	struct circuit_exchange	*ex;
	struct list_head	list;
	u32			users;
	bool			configured;
	u32			lines;
	struct circuit_quota	quota;
	struct circuit_pool	*pool;
};

/**
 * struct circuit_party - one side of a call, as rules see it
 * @line: its line, NULL for somebody beyond a trunk
 * @group: the groups of that line
 * @nr_groups: how many
 */
struct circuit_party {
	struct circuit_subject	*line;
	struct circuit_subject	*group[CIRCUIT_GROUPS_MAX];
	unsigned int		nr_groups;
};

/**
 * struct circuit_query - what a policy is asked
 * @op: CIRCUIT_POLICY_OP_*
 * @type: CIRCUIT_SIG_STREAM
 * @to: CIRCUIT_POLICY_TO_*, of a call
 * @src: who calls, or listens; NULL: the world
 * @dst: who is called; NULL: nobody of this exchange
 * @saddr: address of @src, :: if it has none
 * @daddr: the address called, or listened at; :: if there is none
 * @port: the port called, or listened at
 * @hints: CIRCUIT_SIG_HINT_*: which of the next two are told
 * @uid: the user who calls, as the guest has it
 * @cgroup: the cgroup that calls, as the guest has it
 */
struct circuit_query {
	u8				op;
	u8				type;
	u8				to;
	const struct circuit_party	*src;
	const struct circuit_party	*dst;
	struct in6_addr			saddr;
	struct in6_addr			daddr;
	u32				port;
	u32				hints;
	u32				uid;
	u64				cgroup;
};

/**
 * struct circuit_prefix - addresses that have a beginning in common
 * @addr: the beginning, the rest zero; IPv4 as IPv4-mapped IPv6
 * @len: its length in bits, 0 for any address or none
 */
struct circuit_prefix {
	struct in6_addr	addr;
	u8		len;
};

/**
 * struct circuit_rule_config - what the administrator decides about a rule
 * @verdict: CIRCUIT_POLICY_*
 * @ops: BIT(CIRCUIT_POLICY_OP_*) it is about, 0: all
 * @types: BIT(CIRCUIT_SIG_STREAM) ..., 0: all
 * @to: BIT(CIRCUIT_POLICY_TO_*) it is about, which is calls only; 0: all
 * @src: who calls or listens, NULL: anybody; referenced
 * @dst: who is called, NULL: anybody; referenced
 * @from_prefix: the caller's addresses
 * @to_prefix: the addresses called, or listened at
 * @port: the first and the last port called or listened at
 * @hints: CIRCUIT_SIG_HINT_*: only if these are told, and are the next two
 * @uid: the user who calls
 * @cgroup: the cgroup that calls
 * @error: a call that is rejected fails with this errno, 0: ECONNREFUSED, or EACCES for a port
 * @ring_max: largest ring of its circuits, bytes, 0: as the lines say
 * @calls: most calls per second, 0: no limit; those beyond fail with EAGAIN
 * @rate: most bytes per second that its circuits carry together, each way, 0: any number
 * @trunk: the trunk to take, NULL: the first of the line's that leads there; in use by this
 * @log: tell the kernel's log of calls it decides
 * @comment: NULL or what the administrator says of it; owned by the rule
 */
struct circuit_rule_config {
	u8			verdict;
	u8			ops;
	u8			to;
	u32			types;
	struct circuit_subject	*src;
	struct circuit_subject	*dst;
	struct circuit_prefix	from_prefix;
	struct circuit_prefix	to_prefix;
	u32			port[2];
	u32			hints;
	u32			uid;
	u64			cgroup;
	u16			error;
	u32			ring_max;
	u32			calls;
	u64			rate;
	struct circuit_trunk	*trunk;
	bool			log;
	char			*comment;
};

/**
 * struct circuit_rule - one rule
 * @cfg: what it says
 * @nr: its place in its policy, from 0
 * @hits: calls that it decided
 * @limited: calls that were too many for @cfg.calls
 * @bucket: for that
 * @meters: for @cfg.rate; referenced
 */
struct circuit_rule {
	struct circuit_rule_config	cfg;
	u32				nr;
	u64				hits;
	u64				limited;
	struct circuit_bucket		bucket;
	struct circuit_meters		*meters;
};

/**
 * struct circuit_policy - a table of rules
 * @rules: number -> struct circuit_rule
 * @nr_rules: how many
 * @verdict: what becomes of a call that no rule matches
 * @slots: struct policy_slot by what their rules are about
 * @shapes: struct policy_shape, in the order of their first rules
 * @nr_shapes: how many
 * @hits: what no rule has decided
 */
struct circuit_policy {
	struct xarray		rules;
	u32			nr_rules;
	u8			verdict;
	struct rhashtable	slots;
	struct list_head	shapes;
	u32			nr_shapes;
	u64			hits;
};

/**
 * struct circuit_decision - what a policy has said
 * @rule: the rule that did, NULL for the default; valid while the exchange is locked
 * @verdict: CIRCUIT_POLICY_VERDICT_*
 * @reason: of reject and drop, and of native where a rule says so
 * @error: of reject: the errno
 */
struct circuit_decision {
	struct circuit_rule	*rule;
	u8			verdict;
	u8			reason;
	u16			error;
};

/* policy.c */
int circuit_subjects_init(struct circuit_exchange *ex);
void circuit_subjects_destroy(struct circuit_exchange *ex);
struct circuit_subject *circuit_subject_find(struct circuit_exchange *ex,
					     enum circuit_subject_kind kind, const char *name);
struct circuit_subject *circuit_subject_get(struct circuit_exchange *ex,
					    enum circuit_subject_kind kind, const char *name);
void circuit_subject_put(struct circuit_exchange *ex, struct circuit_subject *subject);

struct circuit_policy *circuit_policy_alloc(u8 verdict, u32 rules);
int circuit_policy_add(struct circuit_policy *policy, const struct circuit_rule_config *cfg);
void circuit_policy_free(struct circuit_exchange *ex, struct circuit_policy *policy);
void circuit_rule_config_free(struct circuit_exchange *ex, struct circuit_rule_config *cfg);
struct circuit_rule *circuit_policy_match(const struct circuit_policy *policy,
					  const struct circuit_query *query);
bool circuit_rule_matches(const struct circuit_rule *rule, const struct circuit_query *query);

/* decide.c */
int circuit_decide_init(struct circuit_exchange *ex);
void circuit_decide_stop(struct circuit_exchange *ex);
void circuit_decide_exit(struct circuit_exchange *ex);
void circuit_policy_install(struct circuit_exchange *ex, struct circuit_policy *policy);
void circuit_judge(struct circuit_exchange *ex, const struct circuit_query *query,
		   struct circuit_decision *decision);
void circuit_decide(struct circuit_exchange *ex, const struct circuit_query *query,
		    struct circuit_line *payer, struct circuit_decision *decision);
u32 circuit_policy_reapply(struct circuit_exchange *ex);
int circuit_reset(struct circuit_exchange *ex, u64 id, enum circuit_reason reason);
void circuit_call_unanswered(struct circuit *c);

#endif /* _CIRCUIT_POLICY_H */
