// SPDX-License-Identifier: GPL-2.0
/*
 * Control of groups of lines, see netlink.c.
 *
 * A group is there while a line is in it, a rule names it, or it has limits.
 */
#include "netlink.h"

static struct netlink_range_validation weight_range = {
	.max = CIRCUIT_POOL_WEIGHT_MAX,
};

const struct nla_policy circuit_group_policy[CIRCUIT_A_GROUP_MAX + 1] = {
	[CIRCUIT_A_GROUP_NAME] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_GROUP_MEMORY_MAX] = { .type = NLA_U64 },
	[CIRCUIT_A_GROUP_CIRCUITS_MAX] = { .type = NLA_U64 },
	[CIRCUIT_A_GROUP_PENDING_MAX] = { .type = NLA_U64 },
	[CIRCUIT_A_GROUP_LISTENERS_MAX] = { .type = NLA_U64 },
	[CIRCUIT_A_GROUP_CALLS_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_GROUP_SEND_MAX] = NLA_POLICY_FULL_RANGE(NLA_U64, &circuit_rate_range),
	[CIRCUIT_A_GROUP_RECEIVE_MAX] = NLA_POLICY_FULL_RANGE(NLA_U64, &circuit_rate_range),
	[CIRCUIT_A_GROUP_DOORBELLS_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_GROUP_WEIGHT] = NLA_POLICY_FULL_RANGE(NLA_U32, &weight_range),
	[CIRCUIT_A_GROUP_CPU_MAX] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_CAP_MAX),
	[CIRCUIT_A_GROUP_SEND_MESSAGES_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_GROUP_RECEIVE_MESSAGES_MAX] = { .type = NLA_U32 },
};

static const struct {
	u8	max;
	u8	used;
} resources[CIRCUIT_RESOURCES] = {
	[CIRCUIT_MEMORY] = { CIRCUIT_A_GROUP_MEMORY_MAX, CIRCUIT_A_GROUP_MEMORY },
	[CIRCUIT_CIRCUITS] = { CIRCUIT_A_GROUP_CIRCUITS_MAX, CIRCUIT_A_GROUP_CIRCUITS },
	[CIRCUIT_PENDING] = { CIRCUIT_A_GROUP_PENDING_MAX, CIRCUIT_A_GROUP_PENDING },
	[CIRCUIT_LISTENERS] = { CIRCUIT_A_GROUP_LISTENERS_MAX, CIRCUIT_A_GROUP_LISTENERS },
};

static const struct {
	u8	max;
	u8	waits;
} ways[CIRCUIT_WAYS] = {
	[CIRCUIT_SEND] = { CIRCUIT_A_GROUP_SEND_MAX, CIRCUIT_A_GROUP_SEND_WAITS },
	[CIRCUIT_RECEIVE] = { CIRCUIT_A_GROUP_RECEIVE_MAX, CIRCUIT_A_GROUP_RECEIVE_WAITS },
}, message_ways[CIRCUIT_WAYS] = {
	[CIRCUIT_SEND] = { CIRCUIT_A_GROUP_SEND_MESSAGES_MAX, CIRCUIT_A_GROUP_SEND_MESSAGES_WAITS },
	[CIRCUIT_RECEIVE] = { CIRCUIT_A_GROUP_RECEIVE_MESSAGES_MAX,
			      CIRCUIT_A_GROUP_RECEIVE_MESSAGES_WAITS },
};

static int parse_name(struct genl_info *info, char *name)
{
	if (!info->attrs[CIRCUIT_A_GROUP_NAME]) {
		NL_SET_ERR_MSG(info->extack, "the group's name is missing");
		return -EINVAL;
	}
	return circuit_nl_name(info->attrs[CIRCUIT_A_GROUP_NAME], name, info->extack);
}

/* Find the group a request names; returns with the exchange locked if found. */
static struct circuit_subject *lock_group(struct circuit_exchange *ex, struct genl_info *info)
{
	struct circuit_subject *group;
	char name[CIRCUIT_NAME_SIZE];
	int err;

	err = parse_name(info, name);
	if (err)
		return ERR_PTR(err);
	mutex_lock(&ex->lock);
	group = circuit_subject_find(ex, CIRCUIT_SUBJECT_GROUP, name);
	if (group)
		return group;
	mutex_unlock(&ex->lock);
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_GROUP_NAME], "no such group");
	return ERR_PTR(-ENOENT);
}

/* Do what a request says about what the lines share. */
static void set_pool(struct circuit_exchange *ex, struct circuit_subject *group,
		     struct genl_info *info)
{
	struct circuit_pool *pool = group->pool;
	struct nlattr **attrs = info->attrs;

	if (attrs[CIRCUIT_A_GROUP_DOORBELLS_MAX])
		WRITE_ONCE(pool->doorbells, nla_get_u32(attrs[CIRCUIT_A_GROUP_DOORBELLS_MAX]));
	if (attrs[CIRCUIT_A_GROUP_WEIGHT])
		WRITE_ONCE(pool->weight, nla_get_u32(attrs[CIRCUIT_A_GROUP_WEIGHT]));
	if (attrs[CIRCUIT_A_GROUP_CPU_MAX])
		circuit_group_cap(ex, group, nla_get_u32(attrs[CIRCUIT_A_GROUP_CPU_MAX]));
}

/**
 * circuit_nl_group_set - CIRCUIT_CMD_GROUP_SET
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_group_set(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_subject *group;
	char name[CIRCUIT_NAME_SIZE];
	unsigned int i;
	int err;

	err = parse_name(info, name);
	for (i = 0; i < CIRCUIT_WAYS && !err; i++)
		err = circuit_nl_rate_ok(info->attrs[ways[i].max], info->extack);
	if (!err)
		err = circuit_nl_doorbells_ok(info->attrs[CIRCUIT_A_GROUP_DOORBELLS_MAX],
					      info->extack);
	if (err)
		return err;
	mutex_lock(&ex->lock);
	err = -ENONET;
	if (!ex->net)
		goto unlock;
	err = -ENOMEM;
	group = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, name);
	if (!group)
		goto unlock;
	err = 0;
	if (group->configured)
		circuit_subject_put(ex, group);
	group->configured = true;
	for (i = 0; i < CIRCUIT_RESOURCES; i++)
		if (info->attrs[resources[i].max])
			group->quota.limits.max[i] = nla_get_u64(info->attrs[resources[i].max]);
	if (info->attrs[CIRCUIT_A_GROUP_CALLS_MAX])
		group->quota.limits.calls = nla_get_u32(info->attrs[CIRCUIT_A_GROUP_CALLS_MAX]);
	for (i = 0; i < CIRCUIT_WAYS; i++) {
		if (info->attrs[ways[i].max])
			circuit_meter_set(&group->quota.meter[CIRCUIT_BYTES][i],
					  nla_get_u64(info->attrs[ways[i].max]));
		if (info->attrs[message_ways[i].max])
			circuit_meter_set(&group->quota.meter[CIRCUIT_MESSAGES][i],
					  nla_get_u32(info->attrs[message_ways[i].max]));
	}
	set_pool(ex, group, info);
	circuit_meter_apply(ex);
unlock:
	mutex_unlock(&ex->lock);
	return err;
}

/**
 * circuit_nl_group_del - CIRCUIT_CMD_GROUP_DEL
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_group_del(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_subject *group = lock_group(ex, info);
	int err = 0;

	if (IS_ERR(group))
		return PTR_ERR(group);
	if (!group->configured) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_GROUP_NAME],
				    "that group has no limits");
		err = -ENOENT;
	} else {
		circuit_group_unlimit(ex, group);
	}
	mutex_unlock(&ex->lock);
	return err;
}

/* What the lines that are in a group have done, and what they have cost. */
static int fill_sums(struct sk_buff *skb, const struct circuit_subject *group)
{
	u64 n[CIRCUIT_NR_COUNTERS], sum[CIRCUIT_NR_COUNTERS] = {}, cpu[CIRCUIT_USES] = {};
	struct circuit_line *line;
	unsigned long id;
	unsigned int i;

	xa_for_each(&group->ex->by_id, id, line) {
		if (!circuit_in_group(line, group))
			continue;
		circuit_line_stats(line, n);
		for (i = 0; i < CIRCUIT_NR_COUNTERS; i++)
			sum[i] += n[i];
		circuit_account_sum(line->account, cpu);
		cond_resched();
	}
	if (circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_BYTES_OUT, sum[CIRCUIT_COUNT_BYTES_OUT]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_BYTES_IN, sum[CIRCUIT_COUNT_BYTES_IN]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_DOORBELLS, sum[CIRCUIT_COUNT_DOORBELLS]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_INTERRUPTS, sum[CIRCUIT_COUNT_INTERRUPTS]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_MESSAGES, sum[CIRCUIT_COUNT_MESSAGES]))
		return -EMSGSIZE;
	return circuit_nl_put_cpu(skb, CIRCUIT_A_GROUP_CPU_TIME, CIRCUIT_A_GROUP_CPU_RELAY, cpu);
}

static int fill_group(struct sk_buff *skb, struct list_head *node)
{
	struct circuit_subject *group = list_entry(node, struct circuit_subject, list);
	const struct circuit_quota *quota = &group->quota;
	const struct circuit_meter *bytes = quota->meter[CIRCUIT_BYTES];
	const struct circuit_meter *messages = quota->meter[CIRCUIT_MESSAGES];
	unsigned int i;

	if (nla_put_string(skb, CIRCUIT_A_GROUP_NAME, group->key.name) ||
	    nla_put_u32(skb, CIRCUIT_A_GROUP_LINES, group->lines) ||
	    nla_put_u32(skb, CIRCUIT_A_GROUP_CALLS_MAX, quota->limits.calls) ||
	    nla_put_u32(skb, CIRCUIT_A_GROUP_DOORBELLS_MAX, group->pool->doorbells) ||
	    nla_put_u32(skb, CIRCUIT_A_GROUP_WEIGHT, group->pool->weight) ||
	    nla_put_u32(skb, CIRCUIT_A_GROUP_CPU_MAX, group->pool->cap.percent) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_GROUP_CALLS_LIMITED, quota->limited))
		return -EMSGSIZE;
	for (i = 0; i < CIRCUIT_RESOURCES; i++)
		if (circuit_nl_put_u64(skb, resources[i].used, quota->used[i]) ||
		    (quota->limits.max[i] != U64_MAX &&
		     circuit_nl_put_u64(skb, resources[i].max, quota->limits.max[i])))
			return -EMSGSIZE;
	for (i = 0; i < CIRCUIT_WAYS; i++)
		if (circuit_nl_put_u64(skb, ways[i].max, bytes[i].rate) ||
		    circuit_nl_put_u64(skb, ways[i].waits, bytes[i].waits) ||
		    nla_put_u32(skb, message_ways[i].max, messages[i].rate) ||
		    circuit_nl_put_u64(skb, message_ways[i].waits, messages[i].waits))
			return -EMSGSIZE;
	return fill_sums(skb, group);
}

/**
 * circuit_nl_group_get - CIRCUIT_CMD_GROUP_GET of one group
 * @skb: the request
 * @info: the same, parsed
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_group_get(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_subject *group = lock_group(ex, info);
	struct sk_buff *reply;
	int err;

	if (IS_ERR(group))
		return PTR_ERR(group);
	reply = circuit_nl_reply(info, CIRCUIT_CMD_GROUP_GET);
	err = reply ? fill_group(reply, &group->list) : -ENOMEM;
	mutex_unlock(&ex->lock);
	return circuit_nl_send(reply, info, err);
}

/**
 * circuit_nl_group_dump - CIRCUIT_CMD_GROUP_GET of all groups
 * @skb: where to
 * @cb: the dump
 *
 * Return: bytes in @skb, or a negative errno.
 */
int circuit_nl_group_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));

	return circuit_nl_dump(skb, cb, ex, &ex->groups, CIRCUIT_CMD_GROUP_GET, fill_group);
}
