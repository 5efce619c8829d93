// SPDX-License-Identifier: GPL-2.0
/*
 * Control of the policy, see netlink.c.
 *
 * A table comes in pieces, since there may be more rules than a message has room for.
 * Until it is complete it is a draft, which belongs to the socket it comes from, and
 * goes with it.
 */
#include <linux/netlink.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include "netlink.h"

#define DRAFTS_MAX	16
#define COMMENT_MAX	127

/**
 * struct circuit_nl_draft - a policy that is being made
 * @list: in exchange->drafts
 * @portid: the socket that makes it
 * @policy: what there is of it
 */
struct circuit_nl_draft {
	struct list_head	list;
	u32			portid;
	struct circuit_policy	*policy;
};

static const struct nla_policy rule_policy[CIRCUIT_A_RULE_MAX + 1] = {
	[CIRCUIT_A_RULE_VERDICT] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_POLICY_VERDICT_DROP),
	[CIRCUIT_A_RULE_TRUNK] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_RULE_ERROR] = { .type = NLA_U32 },
	[CIRCUIT_A_RULE_OPS] = NLA_POLICY_MASK(NLA_U32, BIT(CIRCUIT_POLICY_OP_EXPOSE + 1) - 1),
	[CIRCUIT_A_RULE_TYPES] = NLA_POLICY_MASK(NLA_U32, BIT(SOCK_STREAM) | BIT(SOCK_DGRAM) |
						 BIT(SOCK_SEQPACKET)),
	[CIRCUIT_A_RULE_TO] = NLA_POLICY_MASK(NLA_U32, BIT(CIRCUIT_POLICY_TO_ELSEWHERE + 1) - 1),
	[CIRCUIT_A_RULE_SRC_LINE] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_RULE_SRC_GROUP] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_RULE_SRC_PREFIX] = NLA_POLICY_NESTED(circuit_prefix_policy),
	[CIRCUIT_A_RULE_DST_LINE] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_RULE_DST_GROUP] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_RULE_DST_PREFIX] = NLA_POLICY_NESTED(circuit_prefix_policy),
	[CIRCUIT_A_RULE_PORT_MIN] = { .type = NLA_U32 },
	[CIRCUIT_A_RULE_PORT_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_RULE_UID] = { .type = NLA_U32 },
	[CIRCUIT_A_RULE_CGROUP] = { .type = NLA_U64 },
	[CIRCUIT_A_RULE_RING_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_RULE_CALLS_MAX] = NLA_POLICY_MIN(NLA_U32, 1),
	[CIRCUIT_A_RULE_BYTES_MAX] = NLA_POLICY_FULL_RANGE(NLA_U64, &circuit_rate_range),
	[CIRCUIT_A_RULE_LOG] = { .type = NLA_FLAG },
	[CIRCUIT_A_RULE_COMMENT] = { .type = NLA_NUL_STRING, .len = COMMENT_MAX },
};

static struct netlink_range_validation rules_range = {
	.max = CIRCUIT_RULES_MAX,
};

const struct nla_policy circuit_policy_policy[CIRCUIT_A_POLICY_MAX + 1] = {
	[CIRCUIT_A_POLICY_VERDICT] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_POLICY_VERDICT_REJECT),
	[CIRCUIT_A_POLICY_GENERATION] = { .type = NLA_U32 },
	[CIRCUIT_A_POLICY_RULES] = NLA_POLICY_FULL_RANGE(NLA_U32, &rules_range),
	[CIRCUIT_A_POLICY_RULE] = NLA_POLICY_NESTED(rule_policy),
};

const struct nla_policy circuit_query_policy[CIRCUIT_A_QUERY_MAX + 1] = {
	[CIRCUIT_A_QUERY_OP] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_POLICY_OP_EXPOSE),
	[CIRCUIT_A_QUERY_TYPE] = NLA_POLICY_RANGE(NLA_U32, SOCK_STREAM, SOCK_SEQPACKET),
	[CIRCUIT_A_QUERY_LINE] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_QUERY_SRC_ADDR] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_QUERY_PEER] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_QUERY_ADDR] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_QUERY_PORT] = { .type = NLA_U32 },
	[CIRCUIT_A_QUERY_UID] = { .type = NLA_U32 },
	[CIRCUIT_A_QUERY_CGROUP] = { .type = NLA_U64 },
};

/* --- drafts ---------------------------------------------------------------------------------- */

static struct circuit_nl_draft *draft_find(struct circuit_exchange *ex, u32 portid)
{
	struct circuit_nl_draft *draft;

	list_for_each_entry(draft, &ex->drafts, list)
		if (draft->portid == portid)
			return draft;
	return NULL;
}

static void draft_drop(struct circuit_exchange *ex, struct circuit_nl_draft *draft)
{
	list_del(&draft->list);
	ex->nr_drafts--;
	circuit_policy_free(ex, draft->policy);
	kfree(draft);
}

/**
 * circuit_nl_drop_drafts - forget all policies that are being made
 * @ex: the exchange, locked
 */
void circuit_nl_drop_drafts(struct circuit_exchange *ex)
{
	struct circuit_nl_draft *draft, *next;

	list_for_each_entry_safe(draft, next, &ex->drafts, list)
		draft_drop(ex, draft);
}

/* A socket is closed, and its draft is of no use any more. */
static int netlink_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct netlink_notify *n = ptr;
	struct circuit_nl_draft *draft;
	struct circuit_exchange *ex;

	if (event != NETLINK_URELEASE || n->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	ex = circuit_exchange(n->net);
	if (!ex || !READ_ONCE(ex->nr_drafts))
		return NOTIFY_DONE;
	mutex_lock(&ex->lock);
	draft = draft_find(ex, n->portid);
	if (draft)
		draft_drop(ex, draft);
	mutex_unlock(&ex->lock);
	return NOTIFY_DONE;
}

static struct notifier_block netlink_notifier = {
	.notifier_call = netlink_event,
};

/**
 * circuit_nl_policy_init - learn of sockets that are closed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_policy_init(void)
{
	return netlink_register_notifier(&netlink_notifier);
}

/**
 * circuit_nl_policy_exit - undo circuit_nl_policy_init()
 */
void circuit_nl_policy_exit(void)
{
	netlink_unregister_notifier(&netlink_notifier);
}

/* --- rules ----------------------------------------------------------------------------------- */

/* A subject that a rule names: @line or @group, or none. */
static int parse_subject(struct circuit_exchange *ex, struct nlattr *line, struct nlattr *group,
			 struct circuit_subject **subject, struct netlink_ext_ack *extack)
{
	struct nlattr *attr = line ?: group;
	char name[CIRCUIT_NAME_SIZE];
	int err;

	if (!attr)
		return 0;
	if (line && group) {
		NL_SET_ERR_MSG_ATTR(extack, group, "a line or a group, not both");
		return -EINVAL;
	}
	err = circuit_nl_name(attr, name, extack);
	if (err)
		return err;
	*subject = circuit_subject_get(ex, line ? CIRCUIT_SUBJECT_LINE : CIRCUIT_SUBJECT_GROUP,
				       name);
	return *subject ? 0 : -ENOMEM;
}

/* A prefix that a rule names, of one family of addresses. */
static int parse_prefix(const struct nlattr *attr, struct circuit_prefix *prefix,
			struct netlink_ext_ack *extack)
{
	struct in6_addr v4;
	int err;

	if (!attr)
		return 0;
	err = circuit_nl_prefix(attr, prefix, extack);
	if (err)
		return err;
	ipv6_addr_set_v4mapped(0, &v4);
	if (prefix->len < 96 && ipv6_prefix_equal(&prefix->addr, &v4, prefix->len)) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "a prefix of IPv6 that has the addresses of IPv4 in it");
		return -EINVAL;
	}
	return 0;
}

static bool error_ok(u32 error)
{
	switch (error) {
	case ECONNREFUSED:
	case EACCES:
	case EPERM:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ETIMEDOUT:
	case ECONNRESET:
		return true;
	default:
		return false;
	}
}

static int parse_verdict(struct circuit_exchange *ex, const struct nlattr *rule,
			 struct nlattr **tb, struct circuit_rule_config *cfg,
			 struct netlink_ext_ack *extack)
{
	struct nlattr *trunk = tb[CIRCUIT_A_RULE_TRUNK], *error = tb[CIRCUIT_A_RULE_ERROR];
	char name[CIRCUIT_NAME_SIZE];
	int err;

	if (!tb[CIRCUIT_A_RULE_VERDICT]) {
		NL_SET_ERR_MSG_ATTR(extack, rule, "the rule has no verdict");
		return -EINVAL;
	}
	cfg->verdict = nla_get_u32(tb[CIRCUIT_A_RULE_VERDICT]);
	if (!trunk != (cfg->verdict != CIRCUIT_POLICY_VERDICT_TRUNK)) {
		NL_SET_ERR_MSG_ATTR(extack, trunk ?: rule,
				    "a trunk belongs to the verdict trunk, and to no other");
		return -EINVAL;
	}
	if (error && (cfg->verdict != CIRCUIT_POLICY_VERDICT_REJECT ||
		      !error_ok(nla_get_u32(error)))) {
		NL_SET_ERR_MSG_ATTR(extack, error,
				    "an errno of connect()'s belongs to the verdict reject");
		return -EINVAL;
	}
	if (error)
		cfg->error = nla_get_u32(error);
	if (!trunk)
		return 0;
	err = circuit_nl_name(trunk, name, extack);
	if (err)
		return err;
	cfg->trunk = circuit_trunk_find(ex, name);
	if (!cfg->trunk) {
		NL_SET_ERR_MSG_ATTR(extack, trunk, "no such trunk");
		return -ENOENT;
	}
	circuit_trunk_use(cfg->trunk, 1);
	return 0;
}

static int parse_comment(const struct nlattr *attr, struct circuit_rule_config *cfg,
			 struct netlink_ext_ack *extack)
{
	const char *c;

	for (c = nla_data(attr); *c; c++)
		if ((u8)*c < ' ' || *c == 0x7f) {
			NL_SET_ERR_MSG_ATTR(extack, attr, "a comment has no control characters");
			return -EINVAL;
		}
	cfg->comment = nla_strdup(attr, GFP_KERNEL_ACCOUNT);
	return cfg->comment ? 0 : -ENOMEM;
}

/* On failure too, @cfg is to be freed. */
static int parse_rule(struct circuit_exchange *ex, const struct nlattr *rule,
		      struct circuit_rule_config *cfg, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[CIRCUIT_A_RULE_MAX + 1], *attr;
	int err;

	memset(cfg, 0, sizeof(*cfg));
	err = nla_parse_nested(tb, CIRCUIT_A_RULE_MAX, rule, rule_policy, extack);
	if (!err)
		err = parse_verdict(ex, rule, tb, cfg, extack);
	if (!err)
		err = parse_subject(ex, tb[CIRCUIT_A_RULE_SRC_LINE], tb[CIRCUIT_A_RULE_SRC_GROUP],
				    &cfg->src, extack);
	if (!err)
		err = parse_subject(ex, tb[CIRCUIT_A_RULE_DST_LINE], tb[CIRCUIT_A_RULE_DST_GROUP],
				    &cfg->dst, extack);
	if (!err)
		err = parse_prefix(tb[CIRCUIT_A_RULE_SRC_PREFIX], &cfg->from_prefix, extack);
	if (!err)
		err = parse_prefix(tb[CIRCUIT_A_RULE_DST_PREFIX], &cfg->to_prefix, extack);
	if (!err && tb[CIRCUIT_A_RULE_COMMENT])
		err = parse_comment(tb[CIRCUIT_A_RULE_COMMENT], cfg, extack);
	if (err)
		return err;
	if (tb[CIRCUIT_A_RULE_OPS])
		cfg->ops = nla_get_u32(tb[CIRCUIT_A_RULE_OPS]);
	if (tb[CIRCUIT_A_RULE_TYPES])
		cfg->types = nla_get_u32(tb[CIRCUIT_A_RULE_TYPES]);
	if (tb[CIRCUIT_A_RULE_TO])
		cfg->to = nla_get_u32(tb[CIRCUIT_A_RULE_TO]);
	cfg->port[1] = U32_MAX;
	attr = tb[CIRCUIT_A_RULE_PORT_MIN];
	if (attr)
		cfg->port[0] = cfg->port[1] = nla_get_u32(attr);
	attr = tb[CIRCUIT_A_RULE_PORT_MAX];
	if (attr) {
		cfg->port[1] = nla_get_u32(attr);
		if (!tb[CIRCUIT_A_RULE_PORT_MIN] || cfg->port[1] < cfg->port[0]) {
			NL_SET_ERR_MSG_ATTR(extack, attr, "the last port is not below the first");
			return -EINVAL;
		}
	}
	if (tb[CIRCUIT_A_RULE_UID]) {
		cfg->hints |= CIRCUIT_SIG_HINT_UID;
		cfg->uid = nla_get_u32(tb[CIRCUIT_A_RULE_UID]);
	}
	if (tb[CIRCUIT_A_RULE_CGROUP]) {
		cfg->hints |= CIRCUIT_SIG_HINT_CGROUP;
		cfg->cgroup = nla_get_u64(tb[CIRCUIT_A_RULE_CGROUP]);
	}
	attr = tb[CIRCUIT_A_RULE_RING_MAX];
	if (attr) {
		cfg->ring_max = nla_get_u32(attr);
		if (!circuit_ring_size_ok(cfg->ring_max)) {
			NL_SET_ERR_MSG_ATTR(extack, attr,
					    "a ring's size is a power of two from 4 KiB to 512 KiB");
			return -EINVAL;
		}
	}
	if (tb[CIRCUIT_A_RULE_CALLS_MAX])
		cfg->calls = nla_get_u32(tb[CIRCUIT_A_RULE_CALLS_MAX]);
	attr = tb[CIRCUIT_A_RULE_BYTES_MAX];
	if (attr)
		cfg->rate = nla_get_u64(attr);
	cfg->log = nla_get_flag(tb[CIRCUIT_A_RULE_LOG]);
	return circuit_nl_rate_ok(attr, extack);
}

static int put_subject(struct sk_buff *skb, int line, int group,
		       const struct circuit_subject *subject)
{
	if (!subject)
		return 0;
	return nla_put_string(skb, subject->key.kind == CIRCUIT_SUBJECT_LINE ? line : group,
			      subject->key.name);
}

static int put_rule(struct sk_buff *skb, int attr, const struct circuit_rule *rule)
{
	const struct circuit_rule_config *cfg = &rule->cfg;
	struct nlattr *nest = nla_nest_start(skb, attr);
	bool port = cfg->port[0] || cfg->port[1] != U32_MAX;

	if (!nest ||
	    nla_put_u32(skb, CIRCUIT_A_RULE_NR, rule->nr + 1) ||
	    nla_put_u32(skb, CIRCUIT_A_RULE_VERDICT, cfg->verdict) ||
	    (cfg->trunk && nla_put_string(skb, CIRCUIT_A_RULE_TRUNK, cfg->trunk->name)) ||
	    (cfg->error && nla_put_u32(skb, CIRCUIT_A_RULE_ERROR, cfg->error)) ||
	    (cfg->ops && nla_put_u32(skb, CIRCUIT_A_RULE_OPS, cfg->ops)) ||
	    (cfg->types && nla_put_u32(skb, CIRCUIT_A_RULE_TYPES, cfg->types)) ||
	    (cfg->to && nla_put_u32(skb, CIRCUIT_A_RULE_TO, cfg->to)) ||
	    put_subject(skb, CIRCUIT_A_RULE_SRC_LINE, CIRCUIT_A_RULE_SRC_GROUP, cfg->src) ||
	    (cfg->from_prefix.len &&
	     circuit_nl_put_prefix(skb, CIRCUIT_A_RULE_SRC_PREFIX, &cfg->from_prefix)) ||
	    put_subject(skb, CIRCUIT_A_RULE_DST_LINE, CIRCUIT_A_RULE_DST_GROUP, cfg->dst) ||
	    (cfg->to_prefix.len &&
	     circuit_nl_put_prefix(skb, CIRCUIT_A_RULE_DST_PREFIX, &cfg->to_prefix)) ||
	    (port && (nla_put_u32(skb, CIRCUIT_A_RULE_PORT_MIN, cfg->port[0]) ||
		      nla_put_u32(skb, CIRCUIT_A_RULE_PORT_MAX, cfg->port[1]))) ||
	    (cfg->hints & CIRCUIT_SIG_HINT_UID &&
	     nla_put_u32(skb, CIRCUIT_A_RULE_UID, cfg->uid)) ||
	    (cfg->hints & CIRCUIT_SIG_HINT_CGROUP &&
	     circuit_nl_put_u64(skb, CIRCUIT_A_RULE_CGROUP, cfg->cgroup)) ||
	    (cfg->ring_max && nla_put_u32(skb, CIRCUIT_A_RULE_RING_MAX, cfg->ring_max)) ||
	    (cfg->calls && nla_put_u32(skb, CIRCUIT_A_RULE_CALLS_MAX, cfg->calls)) ||
	    (cfg->rate && circuit_nl_put_u64(skb, CIRCUIT_A_RULE_BYTES_MAX, cfg->rate)) ||
	    (cfg->log && nla_put_flag(skb, CIRCUIT_A_RULE_LOG)) ||
	    (cfg->comment && nla_put_string(skb, CIRCUIT_A_RULE_COMMENT, cfg->comment)) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_RULE_HITS, rule->hits) ||
	    (cfg->calls && circuit_nl_put_u64(skb, CIRCUIT_A_RULE_LIMITED, rule->limited)) ||
	    (cfg->rate && circuit_nl_put_u64(skb, CIRCUIT_A_RULE_WAITS,
					     rule->meters->meter[0].waits +
					     rule->meters->meter[1].waits)))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/* --- tables ---------------------------------------------------------------------------------- */

/**
 * circuit_nl_policy_get - CIRCUIT_CMD_POLICY_GET: the table in force, without its rules
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_policy_get(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct sk_buff *reply = circuit_nl_reply(info, CIRCUIT_CMD_POLICY_GET);
	int err = 0;

	if (!reply)
		return -ENOMEM;
	mutex_lock(&ex->lock);
	if (nla_put_u32(reply, CIRCUIT_A_POLICY_VERDICT, ex->policy->verdict) ||
	    nla_put_u32(reply, CIRCUIT_A_POLICY_GENERATION, ex->generation) ||
	    nla_put_u32(reply, CIRCUIT_A_POLICY_RULES, ex->policy->nr_rules) ||
	    circuit_nl_put_u64(reply, CIRCUIT_A_POLICY_HITS, ex->policy->hits))
		err = -EMSGSIZE;
	mutex_unlock(&ex->lock);
	return circuit_nl_send(reply, info, err);
}

/**
 * circuit_nl_policy_dump - CIRCUIT_CMD_POLICY_GET: the rules of the table in force
 * @skb: where to
 * @cb: the dump
 *
 * Return: bytes in @skb.
 */
int circuit_nl_policy_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));
	struct circuit_rule *rule;
	unsigned long nr;

	mutex_lock(&ex->lock);
	/* 0 would be no number for a dump to be consistent with. */
	cb->seq = ex->generation + 1 ?: 1;
	xa_for_each_start(&ex->policy->rules, nr, rule, cb->args[0]) {
		void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
					&circuit_family, NLM_F_MULTI, CIRCUIT_CMD_POLICY_GET);

		cb->args[0] = nr;
		if (!hdr)
			goto full;
		genl_dump_check_consistent(cb, hdr);
		if (put_rule(skb, CIRCUIT_A_POLICY_RULE, rule)) {
			genlmsg_cancel(skb, hdr);
			goto full;
		}
		genlmsg_end(skb, hdr);
	}
	cb->args[0] = ULONG_MAX;
full:
	mutex_unlock(&ex->lock);
	return skb->len;
}

/**
 * circuit_nl_policy_new - CIRCUIT_CMD_POLICY_NEW: start a table
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_policy_new(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct nlattr *verdict = info->attrs[CIRCUIT_A_POLICY_VERDICT];
	struct nlattr *rules = info->attrs[CIRCUIT_A_POLICY_RULES];
	struct circuit_nl_draft *draft, *old;
	int err = -ENOMEM;

	if (!verdict || (nla_get_u32(verdict) != CIRCUIT_POLICY_VERDICT_CONNECT &&
			 nla_get_u32(verdict) != CIRCUIT_POLICY_VERDICT_REJECT)) {
		NL_SET_ERR_MSG(info->extack, "the default verdict is connect or reject");
		return -EINVAL;
	}
	draft = kzalloc(sizeof(*draft), GFP_KERNEL_ACCOUNT);
	if (!draft)
		return -ENOMEM;
	draft->portid = info->snd_portid;
	draft->policy = circuit_policy_alloc(nla_get_u32(verdict), rules ? nla_get_u32(rules) : 0);
	if (!draft->policy)
		goto free;
	mutex_lock(&ex->lock);
	old = draft_find(ex, draft->portid);
	if (old)
		draft_drop(ex, old);
	err = -EBUSY;
	if (ex->nr_drafts == DRAFTS_MAX) {
		NL_SET_ERR_MSG(info->extack, "there are too many unfinished tables");
		goto unlock;
	}
	list_add(&draft->list, &ex->drafts);
	ex->nr_drafts++;
	mutex_unlock(&ex->lock);
	return 0;

unlock:
	circuit_policy_free(ex, draft->policy);
	mutex_unlock(&ex->lock);
free:
	kfree(draft);
	return err;
}

/* This socket's draft; returns with the exchange locked if there is one. */
static struct circuit_nl_draft *lock_draft(struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_nl_draft *draft;

	mutex_lock(&ex->lock);
	draft = draft_find(ex, info->snd_portid);
	if (draft)
		return draft;
	mutex_unlock(&ex->lock);
	NL_SET_ERR_MSG(info->extack, "this socket has not started a table");
	return NULL;
}

/**
 * circuit_nl_policy_add - CIRCUIT_CMD_POLICY_ADD: append rules to this socket's table
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno; the table is gone then.
 */
int circuit_nl_policy_add(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_nl_draft *draft = lock_draft(info);
	struct circuit_rule_config cfg;
	const struct nlattr *attr;
	int rem, err = 0;

	if (!draft)
		return -ENOENT;
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != CIRCUIT_A_POLICY_RULE)
			continue;
		err = parse_rule(ex, attr, &cfg, info->extack);
		if (!err) {
			err = circuit_policy_add(draft->policy, &cfg);
			if (err == -E2BIG)
				NL_SET_ERR_MSG_ATTR(info->extack, attr,
						    "too many rules, or too many kinds of them");
		}
		if (err) {
			circuit_rule_config_free(ex, &cfg);
			draft_drop(ex, draft);
			break;
		}
	}
	mutex_unlock(&ex->lock);
	return err;
}

/**
 * circuit_nl_policy_commit - CIRCUIT_CMD_POLICY_COMMIT: put this socket's table in force
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno; the table is gone then.
 */
int circuit_nl_policy_commit(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct nlattr *generation = info->attrs[CIRCUIT_A_POLICY_GENERATION];
	struct circuit_nl_draft *draft = lock_draft(info);
	int err = 0;

	if (!draft)
		return -ENOENT;
	if (generation && nla_get_u32(generation) != ex->generation) {
		NL_SET_ERR_MSG_ATTR(info->extack, generation,
				    "another table has come into force meanwhile");
		err = -EAGAIN;
	} else {
		circuit_policy_install(ex, draft->policy);
		draft->policy = NULL;
	}
	draft_drop(ex, draft);
	mutex_unlock(&ex->lock);
	return err;
}

/**
 * circuit_nl_policy_reapply - CIRCUIT_CMD_POLICY_REAPPLY
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_policy_reapply(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct sk_buff *reply = circuit_nl_reply(info, CIRCUIT_CMD_POLICY_REAPPLY);
	u32 n;

	if (!reply)
		return -ENOMEM;
	mutex_lock(&ex->lock);
	n = circuit_policy_reapply(ex);
	mutex_unlock(&ex->lock);
	return circuit_nl_send(reply, info, nla_put_u32(reply, CIRCUIT_A_POLICY_CIRCUITS, n));
}

/* --- explain --------------------------------------------------------------------------------- */

/* A line that a question names, under the exchange's lock. */
static struct circuit_line *explain_line(struct circuit_exchange *ex, struct nlattr *attr,
					 struct netlink_ext_ack *extack)
{
	char name[CIRCUIT_NAME_SIZE];
	struct circuit_line *line;
	int err;

	err = circuit_nl_name(attr, name, extack);
	if (err)
		return ERR_PTR(err);
	line = circuit_directory_line(ex, name);
	if (line)
		return line;
	NL_SET_ERR_MSG_ATTR(extack, attr, "no such line");
	return ERR_PTR(-ENODEV);
}

/* A question, and what it is found to be about. */
struct explanation {
	struct circuit_query	query;
	struct circuit_line	*line;
	struct circuit_line	*called;
	struct circuit_trunk	*trunk;
	bool			ip;
};

/* A line's own address in a call to or from another: :: if it has none of that family. */
static struct in6_addr own_address(const struct circuit_line *line, const struct in6_addr *other)
{
	struct circuit_addr *addr;

	list_for_each_entry(addr, &line->addrs, list)
		if (ipv6_addr_v4mapped(&addr->addr) == ipv6_addr_v4mapped(other))
			return addr->addr;
	return in6addr_any;
}

static int explain_parse(struct circuit_exchange *ex, struct genl_info *info,
			 struct explanation *e)
{
	struct netlink_ext_ack *extack = info->extack;
	struct nlattr **attrs = info->attrs;
	struct circuit_query *query = &e->query;

	query->type = SOCK_STREAM;
	if (attrs[CIRCUIT_A_QUERY_OP])
		query->op = nla_get_u32(attrs[CIRCUIT_A_QUERY_OP]);
	if (attrs[CIRCUIT_A_QUERY_TYPE])
		query->type = nla_get_u32(attrs[CIRCUIT_A_QUERY_TYPE]);
	if (attrs[CIRCUIT_A_QUERY_PORT])
		query->port = nla_get_u32(attrs[CIRCUIT_A_QUERY_PORT]);
	if (attrs[CIRCUIT_A_QUERY_UID]) {
		query->hints |= CIRCUIT_SIG_HINT_UID;
		query->uid = nla_get_u32(attrs[CIRCUIT_A_QUERY_UID]);
	}
	if (attrs[CIRCUIT_A_QUERY_CGROUP]) {
		query->hints |= CIRCUIT_SIG_HINT_CGROUP;
		query->cgroup = nla_get_u64(attrs[CIRCUIT_A_QUERY_CGROUP]);
	}
	if ((attrs[CIRCUIT_A_QUERY_SRC_ADDR] &&
	     !circuit_nl_addr(attrs[CIRCUIT_A_QUERY_SRC_ADDR], &query->saddr)) ||
	    (attrs[CIRCUIT_A_QUERY_ADDR] &&
	     !circuit_nl_addr(attrs[CIRCUIT_A_QUERY_ADDR], &query->daddr))) {
		NL_SET_ERR_MSG(extack, "an address is one of IPv4 or IPv6");
		return -EINVAL;
	}
	if (attrs[CIRCUIT_A_QUERY_LINE]) {
		e->line = explain_line(ex, attrs[CIRCUIT_A_QUERY_LINE], extack);
		if (IS_ERR(e->line))
			return PTR_ERR(e->line);
		query->src = &e->line->party;
	}
	if (attrs[CIRCUIT_A_QUERY_PEER]) {
		e->called = explain_line(ex, attrs[CIRCUIT_A_QUERY_PEER], extack);
		if (IS_ERR(e->called))
			return PTR_ERR(e->called);
	}
	e->ip = attrs[CIRCUIT_A_QUERY_ADDR];
	if (!e->line != (query->op == CIRCUIT_POLICY_OP_EXPOSE) ||
	    (query->op == CIRCUIT_POLICY_OP_EXPOSE && !e->called) ||
	    (query->op == CIRCUIT_POLICY_OP_CALL && !e->called == !e->ip) ||
	    (query->op == CIRCUIT_POLICY_OP_LISTEN && e->called)) {
		NL_SET_ERR_MSG(extack,
			       "a line calls a line or an address; a line listens; the world calls a line");
		return -EINVAL;
	}
	if (query->op == CIRCUIT_POLICY_OP_EXPOSE)
		query->daddr = own_address(e->called, &query->saddr);
	if (query->op != CIRCUIT_POLICY_OP_CALL)
		goto called;
	query->to = CIRCUIT_POLICY_TO_SERVICE;
	if (!e->ip)
		goto called;
	e->called = circuit_directory_addr(ex, &query->daddr);
	if (!e->called)
		e->trunk = circuit_trunk_for(e->line, &query->daddr);
	query->to = e->called ? CIRCUIT_POLICY_TO_LINE :
		    e->trunk ? CIRCUIT_POLICY_TO_TRUNK : CIRCUIT_POLICY_TO_ELSEWHERE;
	if (!attrs[CIRCUIT_A_QUERY_SRC_ADDR])
		query->saddr = own_address(e->line, &query->daddr);
called:
	if (e->called)
		query->dst = &e->called->party;
	return 0;
}

/* Why a call that may be connected would come to nothing. */
static enum circuit_reason explain_reason(struct circuit_exchange *ex, struct explanation *e,
					  const struct circuit_decision *decision)
{
	bool expose = e->query.op == CIRCUIT_POLICY_OP_EXPOSE;
	bool trunk = decision->verdict == CIRCUIT_POLICY_VERDICT_TRUNK;
	bool dgram = e->query.type == CIRCUIT_SIG_DGRAM;

	if (expose ? !circuit_type_ok(e->query.type, true) :
		     !dgram && !circuit_type_ok(e->query.type, e->ip))
		return CIRCUIT_REASON_INVALID;
	if (trunk && (e->query.op != CIRCUIT_POLICY_OP_CALL || !e->ip))
		return CIRCUIT_REASON_POLICY;
	if (e->query.op == CIRCUIT_POLICY_OP_LISTEN)
		return CIRCUIT_REASON_NONE;
	if (trunk || !e->called) {
		if (!e->trunk || !circuit_trunk_leads_to(e->trunk, &e->query.daddr))
			return CIRCUIT_REASON_NO_ADDRESS;
		return ipv6_addr_any(&e->query.saddr) ? CIRCUIT_REASON_NOT_YOURS :
			CIRCUIT_REASON_NONE;
	}
	if (ipv6_addr_any(expose ? &e->query.daddr : &e->query.saddr) && (expose || e->ip))
		return CIRCUIT_REASON_NOT_YOURS;
	if (!e->called->ready)
		return CIRCUIT_REASON_LINE_DOWN;
	return circuit_directory_listener(ex, e->called, e->query.type, e->query.port,
					  e->ip || expose ? &e->query.daddr : NULL, 0) ?
		CIRCUIT_REASON_NONE : CIRCUIT_REASON_NO_LISTENER;
}

static int explain_put(struct sk_buff *skb, struct circuit_exchange *ex, struct explanation *e)
{
	struct circuit_decision decision;
	enum circuit_reason reason = CIRCUIT_REASON_NONE;

	circuit_judge(ex, &e->query, &decision);
	if (decision.verdict == CIRCUIT_POLICY_VERDICT_TRUNK)
		e->trunk = decision.rule->cfg.trunk;
	if (decision.verdict <= CIRCUIT_POLICY_VERDICT_TRUNK)
		reason = explain_reason(ex, e, &decision);
	if ((e->query.op == CIRCUIT_POLICY_OP_CALL &&
	     nla_put_u32(skb, CIRCUIT_A_QUERY_TO, e->query.to)) ||
	    (e->called && nla_put_string(skb, CIRCUIT_A_QUERY_DST, e->called->name)) ||
	    (e->trunk && nla_put_string(skb, CIRCUIT_A_QUERY_TRUNK, e->trunk->name)) ||
	    nla_put_u32(skb, CIRCUIT_A_QUERY_VERDICT, decision.verdict) ||
	    (decision.verdict == CIRCUIT_POLICY_VERDICT_REJECT &&
	     nla_put_u32(skb, CIRCUIT_A_QUERY_ERROR, decision.error)) ||
	    nla_put_u32(skb, CIRCUIT_A_QUERY_REASON, reason) ||
	    (decision.rule && put_rule(skb, CIRCUIT_A_QUERY_RULE, decision.rule)))
		return -EMSGSIZE;
	return 0;
}

/**
 * circuit_nl_policy_explain - CIRCUIT_CMD_POLICY_EXPLAIN
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_policy_explain(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct sk_buff *reply = circuit_nl_reply(info, CIRCUIT_CMD_POLICY_EXPLAIN);
	struct explanation e = {};
	int err;

	if (!reply)
		return -ENOMEM;
	mutex_lock(&ex->lock);
	err = explain_parse(ex, info, &e);
	if (!err)
		err = explain_put(reply, ex, &e);
	mutex_unlock(&ex->lock);
	return circuit_nl_send(reply, info, err);
}
