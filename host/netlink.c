// SPDX-License-Identifier: GPL-2.0
/*
 * Control: the generic-netlink family "circuit".
 *
 * The specification is Documentation/netlink/specs/circuit.yaml. A request acts
 * on the exchange of the sender's network namespace. genl's own lock is outside
 * exchange->lock; events are built under the latter and only if somebody listens.
 */
#include <linux/ktime.h>
#include <net/genetlink.h>
#include <net/ipv6.h>
#include <net/sock.h>
#include "netlink.h"

/* Ends of circuits whose bytes are counted in one part of a dump. */
#define DUMP_ENDS	1024

static struct netlink_range_validation window_range = {
	.min = CIRCUIT_WINDOW_MIN,
	.max = CIRCUIT_WINDOW_MAX,
};

struct netlink_range_validation circuit_rate_range = {
	.max = CIRCUIT_RATE_MAX,
};

static const struct nla_policy line_policy[CIRCUIT_A_LINE_MAX + 1] = {
	[CIRCUIT_A_LINE_NAME] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_LINE_WINDOW] = NLA_POLICY_FULL_RANGE(NLA_U64, &window_range),
	[CIRCUIT_A_LINE_MEMORY_MAX] = { .type = NLA_U64 },
	[CIRCUIT_A_LINE_CIRCUITS_MAX] = NLA_POLICY_RANGE(NLA_U32, 1, CIRCUIT_INDEX_MAX),
	[CIRCUIT_A_LINE_PENDING_MAX] = NLA_POLICY_RANGE(NLA_U32, 1, CIRCUIT_INDEX_MAX),
	[CIRCUIT_A_LINE_LISTENERS_MAX] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_LISTENERS_MAX),
	[CIRCUIT_A_LINE_RING_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_RING_DEFAULT] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_ADDR] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_LINE_NO_ADDR] = { .type = NLA_FLAG },
	[CIRCUIT_A_LINE_TRUNK] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_LINE_NO_TRUNK] = { .type = NLA_FLAG },
	[CIRCUIT_A_LINE_GROUP] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_LINE_NO_GROUP] = { .type = NLA_FLAG },
	[CIRCUIT_A_LINE_CALLS_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_SEND_MAX] = NLA_POLICY_FULL_RANGE(NLA_U64, &circuit_rate_range),
	[CIRCUIT_A_LINE_RECEIVE_MAX] = NLA_POLICY_FULL_RANGE(NLA_U64, &circuit_rate_range),
	[CIRCUIT_A_LINE_SEND_MESSAGES_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_DOORBELLS_MAX] = { .type = NLA_U32 },
	[CIRCUIT_A_LINE_CPU_MAX] = NLA_POLICY_MAX(NLA_U32, CIRCUIT_CAP_MAX),
	[CIRCUIT_A_LINE_WEIGHT] = NLA_POLICY_RANGE(NLA_U32, CIRCUIT_WEIGHT_MIN, CIRCUIT_WEIGHT_MAX),
	[CIRCUIT_A_LINE_MARK] = { .type = NLA_U32 },
};

static const struct nla_policy name_policy[CIRCUIT_A_LINE_NAME + 1] = {
	[CIRCUIT_A_LINE_NAME] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
};

static const struct nla_policy circuit_id_policy[CIRCUIT_A_CIRCUIT_ID + 1] = {
	[CIRCUIT_A_CIRCUIT_ID] = { .type = NLA_U64 },
};

static const struct nla_policy circuit_policy[CIRCUIT_A_CIRCUIT_LINE + 1] = {
	[CIRCUIT_A_CIRCUIT_LINE] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
};

/**
 * circuit_nl_name - take the name of a line or a trunk from an attribute
 * @attr: the attribute, a string that the policy has looked at
 * @name: of CIRCUIT_NAME_SIZE bytes; filled in, padded with zeroes
 * @extack: told what is wrong with it
 *
 * Return: 0, or -EINVAL if it cannot be a name.
 */
int circuit_nl_name(struct nlattr *attr, char *name, struct netlink_ext_ack *extack)
{
	memset(name, 0, CIRCUIT_NAME_SIZE);
	nla_strscpy(name, attr, CIRCUIT_NAME_SIZE);
	if (!circuit_name_ok(name)) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "a name is made of letters, digits, '.', '_' and '-', and not \"trunk\"");
		return -EINVAL;
	}
	return 0;
}

/* Find the line a request names; returns with the exchange locked if found. */
static struct circuit_line *lock_line(struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_line *line;
	char name[CIRCUIT_NAME_SIZE];
	int err;

	if (GENL_REQ_ATTR_CHECK(info, CIRCUIT_A_LINE_NAME)) {
		NL_SET_ERR_MSG(info->extack, "the line's name is missing");
		return ERR_PTR(-EINVAL);
	}
	err = circuit_nl_name(info->attrs[CIRCUIT_A_LINE_NAME], name, info->extack);
	if (err)
		return ERR_PTR(err);
	mutex_lock(&ex->lock);
	line = circuit_directory_line(ex, name);
	if (line)
		return line;
	mutex_unlock(&ex->lock);
	NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_LINE_NAME], "no such line");
	return ERR_PTR(-ENODEV);
}

/**
 * circuit_nl_reply - begin the reply to a request
 * @info: the request
 * @cmd: CIRCUIT_CMD_*
 *
 * Return: a message to be filled and given to circuit_nl_send(), or NULL.
 */
struct sk_buff *circuit_nl_reply(struct genl_info *info, u8 cmd)
{
	struct sk_buff *reply = genlmsg_new(SZ_8K, GFP_KERNEL);

	if (reply && !genlmsg_put_reply(reply, info, &circuit_family, 0, cmd)) {
		nlmsg_free(reply);
		reply = NULL;
	}
	return reply;
}

/**
 * circuit_nl_send - send a reply, or not
 * @reply: from circuit_nl_reply()
 * @info: the request
 * @err: 0, or why there is nothing to be sent
 *
 * Return: 0 or a negative errno.
 */
int circuit_nl_send(struct sk_buff *reply, struct genl_info *info, int err)
{
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	nlmsg_end(reply, nlmsg_hdr(reply));
	return genlmsg_reply(reply, info);
}

/**
 * circuit_nl_rate_ok - can a rate be kept to?
 * @attr: bytes per second, 0 for any number; may be NULL
 * @extack: told what is wrong with it
 *
 * Return: 0 or -EINVAL.
 */
int circuit_nl_rate_ok(struct nlattr *attr, struct netlink_ext_ack *extack)
{
	if (!attr || !nla_get_u64(attr) || nla_get_u64(attr) >= CIRCUIT_RATE_MIN)
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "a rate is at least 1 KiB/s");
	return -EINVAL;
}

/**
 * circuit_nl_doorbells_ok - can a limit of doorbells be kept to?
 * @attr: doorbells per second, 0 for any number; may be NULL
 * @extack: told what is wrong with it
 *
 * Return: 0 or -EINVAL.
 */
int circuit_nl_doorbells_ok(struct nlattr *attr, struct netlink_ext_ack *extack)
{
	if (!attr || !nla_get_u32(attr) || nla_get_u32(attr) >= CIRCUIT_DOORBELLS_MIN)
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "at least 100 doorbells a second");
	return -EINVAL;
}

static int ring_ok(struct nlattr *attr, u32 size, struct netlink_ext_ack *extack)
{
	if (circuit_ring_size_ok(size))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr,
			    "a ring's size is a power of two from 4 KiB to 512 KiB");
	return -EINVAL;
}

/* Read what a request says about a line's limits. */
static void parse_limits(struct genl_info *info, struct circuit_limits *limits)
{
	static const u8 attr[CIRCUIT_RESOURCES] = {
		[CIRCUIT_CIRCUITS] = CIRCUIT_A_LINE_CIRCUITS_MAX,
		[CIRCUIT_PENDING] = CIRCUIT_A_LINE_PENDING_MAX,
		[CIRCUIT_LISTENERS] = CIRCUIT_A_LINE_LISTENERS_MAX,
	};
	struct nlattr **attrs = info->attrs;
	unsigned int i;

	if (attrs[CIRCUIT_A_LINE_MEMORY_MAX])
		limits->max[CIRCUIT_MEMORY] = nla_get_u64(attrs[CIRCUIT_A_LINE_MEMORY_MAX]);
	for (i = CIRCUIT_CIRCUITS; i < CIRCUIT_RESOURCES; i++)
		if (attrs[attr[i]])
			limits->max[i] = nla_get_u32(attrs[attr[i]]);
	if (attrs[CIRCUIT_A_LINE_CALLS_MAX])
		limits->calls = nla_get_u32(attrs[CIRCUIT_A_LINE_CALLS_MAX]);
	if (attrs[CIRCUIT_A_LINE_DOORBELLS_MAX])
		WRITE_ONCE(limits->doorbells, nla_get_u32(attrs[CIRCUIT_A_LINE_DOORBELLS_MAX]));
}

/* Do what a request says about a line's rates. */
static void set_rates(struct circuit_line *line, struct genl_info *info)
{
	struct circuit_meter (*meter)[CIRCUIT_WAYS] = line->quota.meter;
	struct nlattr **attrs = info->attrs;

	if (attrs[CIRCUIT_A_LINE_SEND_MAX])
		circuit_meter_set(&meter[CIRCUIT_BYTES][CIRCUIT_SEND],
				  nla_get_u64(attrs[CIRCUIT_A_LINE_SEND_MAX]));
	if (attrs[CIRCUIT_A_LINE_RECEIVE_MAX])
		circuit_meter_set(&meter[CIRCUIT_BYTES][CIRCUIT_RECEIVE],
				  nla_get_u64(attrs[CIRCUIT_A_LINE_RECEIVE_MAX]));
	if (attrs[CIRCUIT_A_LINE_SEND_MESSAGES_MAX])
		circuit_meter_set(&meter[CIRCUIT_MESSAGES][CIRCUIT_SEND],
				  nla_get_u32(attrs[CIRCUIT_A_LINE_SEND_MESSAGES_MAX]));
	if (attrs[CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX])
		circuit_meter_set(&meter[CIRCUIT_MESSAGES][CIRCUIT_RECEIVE],
				  nla_get_u32(attrs[CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX]));
}

/* And about its share of the processors, and its mark. */
static void set_share(struct circuit_line *line, struct genl_info *info)
{
	struct circuit_share *share = &line->account->share;
	struct nlattr **attrs = info->attrs;

	if (attrs[CIRCUIT_A_LINE_WEIGHT])
		WRITE_ONCE(share->weight, nla_get_u32(attrs[CIRCUIT_A_LINE_WEIGHT]));
	if (attrs[CIRCUIT_A_LINE_CPU_MAX])
		circuit_share_cap(share, nla_get_u32(attrs[CIRCUIT_A_LINE_CPU_MAX]));
	if (attrs[CIRCUIT_A_LINE_MARK])
		WRITE_ONCE(line->account->mark, nla_get_u32(attrs[CIRCUIT_A_LINE_MARK]));
}

/* Does a request change by what the bytes or messages of a line's circuits are counted? */
static bool changes_meters(struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;

	return attrs[CIRCUIT_A_LINE_SEND_MAX] || attrs[CIRCUIT_A_LINE_RECEIVE_MAX] ||
	       attrs[CIRCUIT_A_LINE_SEND_MESSAGES_MAX] ||
	       attrs[CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX] ||
	       attrs[CIRCUIT_A_LINE_GROUP] || attrs[CIRCUIT_A_LINE_NO_GROUP];
}

/* Read what a request says about a line's configuration into @cfg. */
static int parse_config(struct genl_info *info, struct circuit_line_config *cfg)
{
	struct netlink_ext_ack *extack = info->extack;
	struct nlattr **attrs = info->attrs;
	struct nlattr *attr;
	int err;

	err = circuit_nl_rate_ok(attrs[CIRCUIT_A_LINE_SEND_MAX], extack);
	if (!err)
		err = circuit_nl_rate_ok(attrs[CIRCUIT_A_LINE_RECEIVE_MAX], extack);
	if (!err)
		err = circuit_nl_doorbells_ok(attrs[CIRCUIT_A_LINE_DOORBELLS_MAX], extack);
	if (err)
		return err;
	attr = attrs[CIRCUIT_A_LINE_WINDOW];
	if (attr) {
		cfg->window = nla_get_u64(attr);
		if (!is_power_of_2(cfg->window)) {
			NL_SET_ERR_MSG_ATTR(extack, attr, "a window's size is a power of two");
			return -EINVAL;
		}
	}
	attr = attrs[CIRCUIT_A_LINE_RING_MAX];
	if (attr) {
		cfg->ring_max = nla_get_u32(attr);
		err = ring_ok(attr, cfg->ring_max, extack);
		if (err)
			return err;
		if (!attrs[CIRCUIT_A_LINE_RING_DEFAULT])
			cfg->ring_default = min(cfg->ring_default, cfg->ring_max);
	}
	attr = attrs[CIRCUIT_A_LINE_RING_DEFAULT];
	if (attr) {
		cfg->ring_default = nla_get_u32(attr);
		err = ring_ok(attr, cfg->ring_default, extack);
		if (err)
			return err;
		if (cfg->ring_default > cfg->ring_max) {
			NL_SET_ERR_MSG_ATTR(extack, attr,
					    "the default ring is larger than the largest");
			return -EINVAL;
		}
	}
	return 0;
}

/**
 * circuit_nl_addr - take an IP address from an attribute
 * @attr: the attribute; its length is that of the family's addresses
 * @addr: filled in, IPv4 as IPv4-mapped IPv6
 *
 * Return: false if it is no address.
 */
bool circuit_nl_addr(const struct nlattr *attr, struct in6_addr *addr)
{
	if (nla_len(attr) == sizeof(struct in_addr)) {
		ipv6_addr_set_v4mapped(nla_get_in_addr(attr), addr);
		return true;
	}
	if (nla_len(attr) != sizeof(*addr))
		return false;
	*addr = nla_get_in6_addr(attr);
	return !ipv6_addr_v4mapped(addr);
}

static int parse_addr(const struct nlattr *attr, struct in6_addr *addr,
		      struct netlink_ext_ack *extack)
{
	__be32 v4;

	if (!circuit_nl_addr(attr, addr))
		goto bad;
	v4 = addr->s6_addr32[3];
	if (ipv6_addr_v4mapped(addr) ?
	    ipv4_is_zeronet(v4) || ipv4_is_loopback(v4) || ipv4_is_multicast(v4) ||
	    ipv4_is_lbcast(v4) || ipv4_is_linklocal_169(v4) :
	    !(ipv6_addr_type(addr) & IPV6_ADDR_UNICAST) ||
	    ipv6_addr_type(addr) & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL))
		goto bad;
	return 0;
bad:
	NL_SET_ERR_MSG_ATTR(extack, attr,
			    "a line's address is a unicast IPv4 or IPv6 address, not of the loopback or a link");
	return -EINVAL;
}

/* The addresses a request gives a line, if it speaks of them. */
struct addrs {
	bool		given;
	unsigned int	n;
	const struct nlattr *attr[CIRCUIT_ADDRS_MAX];
	struct in6_addr	addr[CIRCUIT_ADDRS_MAX];
};

static struct addrs *parse_addrs(struct genl_info *info)
{
	const struct nlattr *attr;
	struct addrs *addrs;
	int rem, err;

	addrs = kzalloc(sizeof(*addrs), GFP_KERNEL);
	if (!addrs)
		return ERR_PTR(-ENOMEM);
	addrs->given = info->attrs[CIRCUIT_A_LINE_NO_ADDR];
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != CIRCUIT_A_LINE_ADDR)
			continue;
		err = -E2BIG;
		if (addrs->n == CIRCUIT_ADDRS_MAX) {
			NL_SET_ERR_MSG_ATTR(info->extack, attr, "a line has at most 64 addresses");
			goto free;
		}
		err = parse_addr(attr, &addrs->addr[addrs->n], info->extack);
		if (err)
			goto free;
		addrs->attr[addrs->n++] = attr;
		addrs->given = true;
	}
	return addrs;
free:
	kfree(addrs);
	return ERR_PTR(err);
}

static int set_addrs(struct circuit_line *line, const struct addrs *addrs,
		     struct netlink_ext_ack *extack)
{
	unsigned int bad;
	int err;

	if (!addrs->given)
		return 0;
	err = circuit_line_set_addrs(line, addrs->addr, addrs->n, &bad);
	if (err == -EEXIST)
		NL_SET_ERR_MSG_ATTR(extack, addrs->attr[bad], "a line has that address already");
	return err;
}

/* The groups a request puts a line into, if it speaks of them. */
struct groups {
	bool		given;
	unsigned int	n;
	char		name[CIRCUIT_GROUPS_MAX][CIRCUIT_NAME_SIZE];
	struct circuit_subject *group[CIRCUIT_GROUPS_MAX];
};

static int parse_groups(struct genl_info *info, struct groups *groups)
{
	struct nlattr *attr;
	unsigned int i;
	int rem, err;

	groups->n = 0;
	groups->given = info->attrs[CIRCUIT_A_LINE_NO_GROUP];
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != CIRCUIT_A_LINE_GROUP)
			continue;
		if (groups->n == CIRCUIT_GROUPS_MAX) {
			NL_SET_ERR_MSG_ATTR(info->extack, attr, "a line is in at most 8 groups");
			return -E2BIG;
		}
		err = circuit_nl_name(attr, groups->name[groups->n], info->extack);
		if (err)
			return err;
		for (i = 0; i < groups->n; i++) {
			if (strcmp(groups->name[i], groups->name[groups->n]))
				continue;
			NL_SET_ERR_MSG_ATTR(info->extack, attr, "that group is named twice");
			return -EINVAL;
		}
		groups->n++;
		groups->given = true;
	}
	return 0;
}

/* All that can fail of addresses and groups, before any of it is done. */
static int set_addrs_and_groups(struct circuit_line *line, const struct addrs *addrs,
				struct groups *groups, struct netlink_ext_ack *extack)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit_pools *pools = NULL;
	unsigned int i;
	int err = 0;

	if (groups->n) {
		pools = circuit_pools_alloc(groups->n);
		if (!pools)
			return -ENOMEM;
	}
	for (i = 0; i < groups->n; i++) {
		groups->group[i] = circuit_subject_get(ex, CIRCUIT_SUBJECT_GROUP, groups->name[i]);
		if (!groups->group[i]) {
			err = -ENOMEM;
			goto undo;
		}
		circuit_pools_add(pools, groups->group[i]->pool);
	}
	err = set_addrs(line, addrs, extack);
	if (err)
		goto undo;
	if (groups->given)
		circuit_line_set_groups(line, groups->group, groups->n, pools);
	return 0;

undo:
	circuit_pools_put(pools);
	while (i--)
		circuit_subject_put(ex, groups->group[i]);
	return err;
}

static int line_new(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_line_config cfg = {
		.window = CIRCUIT_WINDOW_DEFAULT,
		.ring_max = CIRCUIT_RING_MAX,
		.ring_default = CIRCUIT_RING_DEFAULT,
	};
	struct circuit_limits limits = {
		.max = {
			[CIRCUIT_MEMORY] = CIRCUIT_MEMORY_DEFAULT,
			[CIRCUIT_CIRCUITS] = CIRCUIT_CIRCUITS_DEFAULT,
			[CIRCUIT_PENDING] = CIRCUIT_PENDING_DEFAULT,
			[CIRCUIT_LISTENERS] = CIRCUIT_LISTENERS_DEFAULT,
		},
	};
	struct circuit_nl_trunks trunks;
	char name[CIRCUIT_NAME_SIZE];
	struct circuit_line *line;
	struct groups groups;
	struct addrs *addrs;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, CIRCUIT_A_LINE_NAME)) {
		NL_SET_ERR_MSG(info->extack, "the line's name is missing");
		return -EINVAL;
	}
	err = circuit_nl_name(info->attrs[CIRCUIT_A_LINE_NAME], name, info->extack);
	if (err)
		return err;
	err = parse_config(info, &cfg);
	if (!err)
		err = parse_groups(info, &groups);
	if (err)
		return err;
	addrs = parse_addrs(info);
	if (IS_ERR(addrs))
		return PTR_ERR(addrs);
	parse_limits(info, &limits);
	mutex_lock(&ex->lock);
	err = circuit_line_create(ex, name, &cfg, &limits);
	if (err == -EEXIST)
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_LINE_NAME],
				    "a line of that name exists");
	if (!err) {
		line = circuit_directory_line(ex, name);
		err = circuit_nl_line_trunks(line, info, &trunks);
		if (!err)
			err = set_addrs_and_groups(line, addrs, &groups, info->extack);
		if (!err)
			circuit_nl_set_trunks(line, &trunks);
		if (!err) {
			set_rates(line, info);
			set_share(line, info);
		} else {
			circuit_line_delete(line);
		}
	}
	mutex_unlock(&ex->lock);
	kfree(addrs);
	return err;
}

static int line_set(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_nl_trunks trunks;
	struct circuit_line_config cfg;
	struct circuit_line *line;
	struct groups groups;
	struct addrs *addrs;
	int err;

	err = parse_groups(info, &groups);
	if (err)
		return err;
	addrs = parse_addrs(info);
	if (IS_ERR(addrs))
		return PTR_ERR(addrs);
	line = lock_line(info);
	if (IS_ERR(line)) {
		kfree(addrs);
		return PTR_ERR(line);
	}
	cfg = line->cfg;
	err = parse_config(info, &cfg);
	if (!err && cfg.window != line->cfg.window && circuit_line_window(line)) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_LINE_WINDOW],
				    "the window of an attached line cannot change");
		err = -EBUSY;
	}
	if (!err)
		err = circuit_nl_line_trunks(line, info, &trunks);
	if (!err)
		err = set_addrs_and_groups(line, addrs, &groups, info->extack);
	if (!err) {
		circuit_nl_set_trunks(line, &trunks);
		line->cfg = cfg;
		WRITE_ONCE(line->ex->switches, line->ex->switches + 1);
		parse_limits(info, &line->quota.limits);
		set_rates(line, info);
		set_share(line, info);
		if (changes_meters(info))
			circuit_meter_apply(line->ex);
		circuit_event_line(line, CIRCUIT_EVENT_LINE_SET, CIRCUIT_REASON_NONE);
	}
	mutex_unlock(&line->ex->lock);
	kfree(addrs);
	return err;
}

static int line_del(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_line *line = lock_line(info);

	if (IS_ERR(line))
		return PTR_ERR(line);
	circuit_line_delete(line);
	mutex_unlock(&ex->lock);
	circuit_unexpose_flush();
	return 0;
}

/**
 * circuit_nl_put_addr - the reverse of circuit_nl_addr()
 * @skb: where to
 * @attr: the attribute's number
 * @addr: the address
 *
 * Return: 0 or -EMSGSIZE.
 */
int circuit_nl_put_addr(struct sk_buff *skb, int attr, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return nla_put_in_addr(skb, attr, addr->s6_addr32[3]);
	return nla_put_in6_addr(skb, attr, addr);
}

const struct nla_policy circuit_prefix_policy[CIRCUIT_A_PREFIX_MAX + 1] = {
	[CIRCUIT_A_PREFIX_ADDR] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_PREFIX_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
};

/**
 * circuit_nl_prefix - take a prefix from an attribute
 * @attr: the attribute
 * @prefix: filled in
 * @extack: told what is wrong with it
 *
 * Return: 0 or -EINVAL.
 */
int circuit_nl_prefix(const struct nlattr *attr, struct circuit_prefix *prefix,
		      struct netlink_ext_ack *extack)
{
	struct nlattr *tb[CIRCUIT_A_PREFIX_MAX + 1];
	struct in6_addr addr;
	int err, len;

	err = nla_parse_nested(tb, CIRCUIT_A_PREFIX_MAX, attr, circuit_prefix_policy, extack);
	if (err)
		return err;
	if (!tb[CIRCUIT_A_PREFIX_ADDR] || !tb[CIRCUIT_A_PREFIX_LEN] ||
	    !circuit_nl_addr(tb[CIRCUIT_A_PREFIX_ADDR], &addr))
		goto bad;
	len = nla_get_u8(tb[CIRCUIT_A_PREFIX_LEN]);
	if (ipv6_addr_v4mapped(&addr))
		len += 96;
	if (len > 128)
		goto bad;
	ipv6_addr_prefix(&prefix->addr, &addr, len);
	prefix->len = len;
	return 0;
bad:
	NL_SET_ERR_MSG_ATTR(extack, attr, "a prefix is an IPv4 or IPv6 address and a length");
	return -EINVAL;
}

/**
 * circuit_nl_put_prefix - the reverse of circuit_nl_prefix()
 * @skb: where to
 * @attr: the attribute's number
 * @prefix: the prefix
 *
 * Return: 0 or -EMSGSIZE.
 */
int circuit_nl_put_prefix(struct sk_buff *skb, int attr, const struct circuit_prefix *prefix)
{
	bool v4 = ipv6_addr_v4mapped(&prefix->addr);
	struct nlattr *nest = nla_nest_start(skb, attr);

	if (!nest || circuit_nl_put_addr(skb, CIRCUIT_A_PREFIX_ADDR, &prefix->addr) ||
	    nla_put_u8(skb, CIRCUIT_A_PREFIX_LEN, prefix->len - (v4 ? 96 : 0)))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int fill_rates(struct sk_buff *skb, const struct circuit_quota *quota)
{
	const struct circuit_meter *bytes = quota->meter[CIRCUIT_BYTES];
	const struct circuit_meter *messages = quota->meter[CIRCUIT_MESSAGES];

	return circuit_nl_put_u64(skb, CIRCUIT_A_LINE_SEND_MAX, bytes[CIRCUIT_SEND].rate) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_SEND_WAITS, bytes[CIRCUIT_SEND].waits) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_RECEIVE_MAX, bytes[CIRCUIT_RECEIVE].rate) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_RECEIVE_WAITS, bytes[CIRCUIT_RECEIVE].waits) ||
	       nla_put_u32(skb, CIRCUIT_A_LINE_SEND_MESSAGES_MAX, messages[CIRCUIT_SEND].rate) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_SEND_MESSAGES_WAITS,
				  messages[CIRCUIT_SEND].waits) ||
	       nla_put_u32(skb, CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX, messages[CIRCUIT_RECEIVE].rate) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_RECEIVE_MESSAGES_WAITS,
				  messages[CIRCUIT_RECEIVE].waits);
}

/**
 * circuit_nl_put_cpu - say what the operator's time was spent for
 * @skb: where to
 * @total: number of the attribute for all of it
 * @first: number of the attribute for the first use
 * @ns: how much, by use
 *
 * Return: 0 or -EMSGSIZE.
 */
int circuit_nl_put_cpu(struct sk_buff *skb, int total, int first, const u64 ns[CIRCUIT_USES])
{
	unsigned int i;
	u64 sum = 0;

	for (i = 0; i < CIRCUIT_USES; i++) {
		sum += ns[i];
		if (circuit_nl_put_u64(skb, first + i, ns[i]))
			return -EMSGSIZE;
	}
	return circuit_nl_put_u64(skb, total, sum);
}

static int fill_doorbells(struct sk_buff *skb, const struct circuit_quota *quota,
			  const u64 sum[CIRCUIT_NR_COUNTERS])
{
	return circuit_nl_put_u64(skb, CIRCUIT_A_LINE_DOORBELLS, sum[CIRCUIT_COUNT_DOORBELLS]) ||
	       nla_put_u32(skb, CIRCUIT_A_LINE_DOORBELLS_MAX, quota->limits.doorbells) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_DOORBELLS_MASKED,
				  sum[CIRCUIT_COUNT_DOORBELLS_MASKED]) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_DOORBELLS_LIMITED,
				  sum[CIRCUIT_COUNT_DOORBELLS_LIMITED]) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_LINE_DOORBELLS_STORMS,
				  sum[CIRCUIT_COUNT_DOORBELLS_STORMS]);
}

static int fill_line(struct sk_buff *skb, struct circuit_line *line)
{
	const struct circuit_line_config *cfg = &line->cfg;
	const struct circuit_share *share = &line->account->share;
	const struct circuit_quota *quota = &line->quota;
	const u64 *max = quota->limits.max;
	u64 sum[CIRCUIT_NR_COUNTERS], cpu[CIRCUIT_USES] = {};
	struct circuit_addr *addr;
	unsigned int i;

	circuit_line_stats(line, sum);
	circuit_account_sum(line->account, cpu);
	if (nla_put_string(skb, CIRCUIT_A_LINE_NAME, line->name) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_ID, line->id) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_STATE, circuit_line_state(line)) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_EPOCH, line->epoch) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_WINDOW, cfg->window) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_MEMORY_MAX, max[CIRCUIT_MEMORY]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_MEMORY, quota->used[CIRCUIT_MEMORY]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_CIRCUITS_MAX, max[CIRCUIT_CIRCUITS]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_CIRCUITS, quota->used[CIRCUIT_CIRCUITS]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_PENDING_MAX, max[CIRCUIT_PENDING]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_PENDING, quota->used[CIRCUIT_PENDING]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_LISTENERS_MAX, max[CIRCUIT_LISTENERS]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_LISTENERS, quota->used[CIRCUIT_LISTENERS]) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_RING_MAX, cfg->ring_max) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_RING_DEFAULT, cfg->ring_default) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_CALLS_MAX, quota->limits.calls) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CALLS_LIMITED, quota->limited) ||
	    fill_rates(skb, quota) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CALLS_OUT, sum[CIRCUIT_COUNT_CALLS_OUT]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CALLS_IN, sum[CIRCUIT_COUNT_CALLS_IN]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CALLS_REFUSED, sum[CIRCUIT_COUNT_CALLS_REFUSED]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CALLS_NATIVE, sum[CIRCUIT_COUNT_CALLS_NATIVE]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_RESETS, sum[CIRCUIT_COUNT_RESETS]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_VIOLATIONS, sum[CIRCUIT_COUNT_VIOLATIONS]) ||
	    fill_doorbells(skb, quota, sum) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_INTERRUPTS, sum[CIRCUIT_COUNT_INTERRUPTS]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_MESSAGES, sum[CIRCUIT_COUNT_MESSAGES]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_BYTES_OUT, sum[CIRCUIT_COUNT_BYTES_OUT]) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_BYTES_IN, sum[CIRCUIT_COUNT_BYTES_IN]) ||
	    circuit_nl_put_cpu(skb, CIRCUIT_A_LINE_CPU_TIME, CIRCUIT_A_LINE_CPU_RELAY, cpu) ||
	    nla_put(skb, CIRCUIT_A_LINE_SETUPS, sizeof(line->setups), line->setups) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_WEIGHT, share->weight) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_CPU_MAX, share->cap.percent) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_LINE_CPU_WAITED, READ_ONCE(share->waited)) ||
	    nla_put(skb, CIRCUIT_A_LINE_QUEUED, sizeof(share->queued), share->queued) ||
	    nla_put(skb, CIRCUIT_A_LINE_SERVED, sizeof(share->served), share->served) ||
	    nla_put_u32(skb, CIRCUIT_A_LINE_MARK, line->account->mark))
		return -EMSGSIZE;
	list_for_each_entry(addr, &line->addrs, list)
		if (circuit_nl_put_addr(skb, CIRCUIT_A_LINE_ADDR, &addr->addr))
			return -EMSGSIZE;
	for (i = 0; i < line->nr_trunks; i++)
		if (nla_put_string(skb, CIRCUIT_A_LINE_TRUNK, line->trunks[i]->name))
			return -EMSGSIZE;
	for (i = 0; i < line->party.nr_groups; i++)
		if (nla_put_string(skb, CIRCUIT_A_LINE_GROUP, line->party.group[i]->key.name))
			return -EMSGSIZE;
	return 0;
}

static int line_get(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_line *line = lock_line(info);
	struct sk_buff *reply;
	int err;

	if (IS_ERR(line))
		return PTR_ERR(line);
	reply = circuit_nl_reply(info, CIRCUIT_CMD_LINE_GET);
	err = reply ? fill_line(reply, line) : -ENOMEM;
	mutex_unlock(&line->ex->lock);
	return circuit_nl_send(reply, info, err);
}

/**
 * circuit_nl_dump - dump a list, as far as there is room, from where the last part has ended
 * @skb: where to
 * @cb: the dump; @args[0] says how much was dumped
 * @ex: the exchange, not locked
 * @list: what to dump
 * @cmd: of the messages
 * @fill: puts one of the list in a message; 0 or -EMSGSIZE
 *
 * Return: bytes in @skb, or a negative errno.
 */
int circuit_nl_dump(struct sk_buff *skb, struct netlink_callback *cb, struct circuit_exchange *ex,
		    const struct list_head *list, u8 cmd,
		    int (*fill)(struct sk_buff *skb, struct list_head *node))
{
	struct list_head *node;
	int err = 0;
	long n = 0;
	void *hdr;

	mutex_lock(&ex->lock);
	cb->seq = ex->seq;
	list_for_each(node, list) {
		if (n++ < cb->args[0])
			continue;
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &circuit_family, NLM_F_MULTI, cmd);
		err = -EMSGSIZE;
		if (!hdr)
			break;
		genl_dump_check_consistent(cb, hdr);
		err = fill(skb, node);
		if (err) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
		cb->args[0] = n;
	}
	mutex_unlock(&ex->lock);
	return skb->len ?: err;
}

/* A line may have much to say. */
static int line_dump_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = SZ_8K;
	return 0;
}

static int line_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));
	struct circuit_line *line;
	int err = -EMSGSIZE;
	unsigned long id;
	u64 ends = 0;

	mutex_lock(&ex->lock);
	cb->seq = ex->seq;
	xa_for_each_start(&ex->by_id, id, line, cb->args[0]) {
		void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
					&circuit_family, NLM_F_MULTI, CIRCUIT_CMD_LINE_GET);

		cb->args[0] = id;
		if (!hdr)
			goto full;
		genl_dump_check_consistent(cb, hdr);
		if (fill_line(skb, line)) {
			genlmsg_cancel(skb, hdr);
			goto full;
		}
		genlmsg_end(skb, hdr);
		/* Others want the lock, too, and bytes are counted circuit by circuit. */
		ends += line->quota.used[CIRCUIT_CIRCUITS];
		if (ends > DUMP_ENDS) {
			cb->args[0] = id + 1;
			goto full;
		}
	}
	cb->args[0] = ULONG_MAX;
	err = 0;
full:
	mutex_unlock(&ex->lock);
	return skb->len ?: err;
}

/* What an end says of its own ring; read once, believed for what it is worth. */
static int fill_end(struct sk_buff *skb, int attr, const struct circuit *c, unsigned int nr,
		    const char *line)
{
	const struct circuit_end *end = &c->end[nr];
	struct circuit_local *local = c->local && c->local->ops->info && c->local->nr == nr ?
				      c->local : NULL;
	struct nlattr *nest = nla_nest_start(skb, attr);
	u64 bytes = 0, lost = 0;
	u32 queued = 0;

	if (!nest)
		return -EMSGSIZE;
	if (c->connected) {
		const struct circuit_dir *dir = &c->ctrl->dir[nr];

		bytes = READ_ONCE(dir->prod.bytes);
		lost = READ_ONCE(dir->prod.lost);
		queued = min(READ_ONCE(dir->prod.tail) - READ_ONCE(dir->cons.head), c->size[nr]);
	}
	if ((line && nla_put_string(skb, CIRCUIT_A_END_LINE, line)) ||
	    nla_put_u32(skb, CIRCUIT_A_END_PORT, end->port) ||
	    (c->ip && circuit_nl_put_addr(skb, CIRCUIT_A_END_ADDR, &end->addr)) ||
	    nla_put_u32(skb, CIRCUIT_A_END_INDEX, end->index) ||
	    nla_put_u32(skb, CIRCUIT_A_END_RING, c->connected ? c->size[nr] : 0) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_END_BYTES, bytes) ||
	    nla_put_u32(skb, CIRCUIT_A_END_QUEUED, queued) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_END_MARKS, circuit_marks(c, nr)) ||
	    (lost && circuit_nl_put_u64(skb, CIRCUIT_A_END_LOST, lost)) ||
	    (c->connected && end->hungup && nla_put_flag(skb, CIRCUIT_A_END_HUNGUP)) ||
	    (local && circuit_nl_put_socket(skb, local))) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

/* A socket of datagrams is connected to the operator, and to no line. */
static const char *called_name(const struct circuit *c)
{
	if (circuit_is_box(c))
		return NULL;
	if (c->end[1].line)
		return c->end[1].line->name;
	if (c->local && c->local->nr == 1)
		return CIRCUIT_TRUNK_LINE;
	return c->listener ? c->listener->line->name : NULL;
}

static int fill_circuit(struct sk_buff *skb, const struct circuit *c)
{
	enum circuit_circuit_state state = CIRCUIT_CIRCUIT_STATE_PENDING;

	if (c->connected)
		state = c->end[0].hungup || c->end[1].hungup ? CIRCUIT_CIRCUIT_STATE_CLOSING :
			CIRCUIT_CIRCUIT_STATE_CONNECTED;
	if (circuit_nl_put_u64(skb, CIRCUIT_A_CIRCUIT_ID, c->id) ||
	    nla_put_u32(skb, CIRCUIT_A_CIRCUIT_STATE, state) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_CIRCUIT_AGE, ktime_ms_delta(ktime_get(), c->start)) ||
	    nla_put_u32(skb, CIRCUIT_A_CIRCUIT_TYPE, c->type) ||
	    (c->tap && nla_put_flag(skb, CIRCUIT_A_CIRCUIT_CAPTURED)) ||
	    fill_end(skb, CIRCUIT_A_CIRCUIT_CALLER, c, 0, c->end[0].line->name) ||
	    fill_end(skb, CIRCUIT_A_CIRCUIT_CALLED, c, 1, called_name(c)))
		return -EMSGSIZE;
	return 0;
}

static int circuit_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));
	struct nlattr *attr = compat_dump_attrs(cb)[CIRCUIT_A_CIRCUIT_LINE];
	struct circuit *c;
	int err = -EMSGSIZE;
	unsigned long id;

	mutex_lock(&ex->lock);
	xa_for_each_start(&ex->circuits, id, c, cb->args[0]) {
		const char *called = called_name(c);
		void *hdr;

		cb->args[0] = id;
		if (attr && nla_strcmp(attr, c->end[0].line->name) &&
		    (!called || nla_strcmp(attr, called)))
			continue;
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &circuit_family, NLM_F_MULTI, CIRCUIT_CMD_CIRCUIT_GET);
		if (!hdr)
			goto full;
		if (fill_circuit(skb, c)) {
			genlmsg_cancel(skb, hdr);
			goto full;
		}
		genlmsg_end(skb, hdr);
	}
	cb->args[0] = ULONG_MAX;
	err = 0;
full:
	mutex_unlock(&ex->lock);
	return skb->len ?: err;
}

static int nl_circuit_reset(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct nlattr *attr = info->attrs[CIRCUIT_A_CIRCUIT_ID];
	int err;

	if (!attr) {
		NL_SET_ERR_MSG(info->extack, "the circuit's number is missing");
		return -EINVAL;
	}
	mutex_lock(&ex->lock);
	err = circuit_reset(ex, nla_get_u64(attr), CIRCUIT_REASON_ADMINISTRATOR);
	mutex_unlock(&ex->lock);
	if (err)
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "no such circuit, or it has ended");
	return err;
}

static const struct genl_ops circuit_ops[] = {
	{
		.cmd = CIRCUIT_CMD_LINE_GET,
		.doit = line_get,
		.start = line_dump_start,
		.dumpit = line_dump,
		.policy = name_policy,
		.maxattr = CIRCUIT_A_LINE_NAME,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_LINE_NEW,
		.doit = line_new,
		.policy = line_policy,
		.maxattr = CIRCUIT_A_LINE_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_LINE_SET,
		.doit = line_set,
		.policy = line_policy,
		.maxattr = CIRCUIT_A_LINE_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_LINE_DEL,
		.doit = line_del,
		.policy = name_policy,
		.maxattr = CIRCUIT_A_LINE_NAME,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_TRUNK_GET,
		.dumpit = circuit_nl_trunk_dump,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_TRUNK_NEW,
		.doit = circuit_nl_trunk_new,
		.policy = circuit_trunk_policy,
		.maxattr = CIRCUIT_A_TRUNK_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_TRUNK_DEL,
		.doit = circuit_nl_trunk_del,
		.policy = circuit_trunk_policy,
		.maxattr = CIRCUIT_A_TRUNK_NAME,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_EXPOSE_GET,
		.dumpit = circuit_nl_expose_dump,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_EXPOSE_NEW,
		.doit = circuit_nl_expose_new,
		.policy = circuit_expose_policy,
		.maxattr = CIRCUIT_A_EXPOSE_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_EXPOSE_DEL,
		.doit = circuit_nl_expose_del,
		.policy = circuit_expose_policy,
		.maxattr = CIRCUIT_A_EXPOSE_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_CIRCUIT_GET,
		.dumpit = circuit_dump,
		.policy = circuit_policy,
		.maxattr = CIRCUIT_A_CIRCUIT_LINE,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_GET,
		.doit = circuit_nl_policy_get,
		.dumpit = circuit_nl_policy_dump,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_NEW,
		.doit = circuit_nl_policy_new,
		.policy = circuit_policy_policy,
		.maxattr = CIRCUIT_A_POLICY_RULES,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_ADD,
		.doit = circuit_nl_policy_add,
		.policy = circuit_policy_policy,
		.maxattr = CIRCUIT_A_POLICY_RULE,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_COMMIT,
		.doit = circuit_nl_policy_commit,
		.policy = circuit_policy_policy,
		.maxattr = CIRCUIT_A_POLICY_GENERATION,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_REAPPLY,
		.doit = circuit_nl_policy_reapply,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_POLICY_EXPLAIN,
		.doit = circuit_nl_policy_explain,
		.policy = circuit_query_policy,
		.maxattr = CIRCUIT_A_QUERY_CGROUP,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_CIRCUIT_RESET,
		.doit = nl_circuit_reset,
		.policy = circuit_id_policy,
		.maxattr = CIRCUIT_A_CIRCUIT_ID,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_GROUP_GET,
		.doit = circuit_nl_group_get,
		.dumpit = circuit_nl_group_dump,
		.policy = circuit_group_policy,
		.maxattr = CIRCUIT_A_GROUP_NAME,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_GROUP_SET,
		.doit = circuit_nl_group_set,
		.policy = circuit_group_policy,
		.maxattr = CIRCUIT_A_GROUP_MAX,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_CMD_GROUP_DEL,
		.doit = circuit_nl_group_del,
		.policy = circuit_group_policy,
		.maxattr = CIRCUIT_A_GROUP_NAME,
		.flags = GENL_UNS_ADMIN_PERM,
	},
};

enum { GROUP_LINE, GROUP_CALL, GROUP_POLICY, GROUP_VIOLATION };

static const struct genl_multicast_group circuit_groups[] = {
	[GROUP_LINE] = { .name = CIRCUIT_MCGRP_LINE, .flags = GENL_MCAST_CAP_NET_ADMIN },
	[GROUP_CALL] = { .name = CIRCUIT_MCGRP_CALL, .flags = GENL_MCAST_CAP_NET_ADMIN },
	[GROUP_POLICY] = { .name = CIRCUIT_MCGRP_POLICY, .flags = GENL_MCAST_CAP_NET_ADMIN },
	[GROUP_VIOLATION] = { .name = CIRCUIT_MCGRP_VIOLATION, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

struct genl_family circuit_family __ro_after_init = {
	.name = CIRCUIT_FAMILY_NAME,
	.version = CIRCUIT_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = circuit_ops,
	.n_ops = ARRAY_SIZE(circuit_ops),
	.mcgrps = circuit_groups,
	.n_mcgrps = ARRAY_SIZE(circuit_groups),
};

static unsigned int event_group(enum circuit_event type)
{
	if (type == CIRCUIT_EVENT_POLICY)
		return GROUP_POLICY;
	return type < CIRCUIT_EVENT_CONNECTED ? GROUP_LINE : GROUP_CALL;
}

static void event_send_to(struct circuit_exchange *ex, unsigned int group, enum circuit_event type,
			  const char *line, const struct circuit *c, enum circuit_reason reason)
{
	const char *peer = c ? called_name(c) : NULL;
	u32 port = c ? c->end[1].port : 0;
	struct sk_buff *skb;
	void *hdr;

	if (!ex->net || !genl_has_listeners(&circuit_family, ex->net, group))
		return;
	skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!skb)
		return;
	hdr = genlmsg_put(skb, 0, 0, &circuit_family, 0, CIRCUIT_CMD_EVENT_NTF);
	if (!hdr ||
	    nla_put_u32(skb, CIRCUIT_A_EVENT_TYPE, type) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_EVENT_TIME, ktime_get_real_ns()) ||
	    (line && nla_put_string(skb, CIRCUIT_A_EVENT_LINE, line)) ||
	    (peer && nla_put_string(skb, CIRCUIT_A_EVENT_PEER, peer)) ||
	    (port && nla_put_u32(skb, CIRCUIT_A_EVENT_PORT, port)) ||
	    (c && circuit_nl_put_u64(skb, CIRCUIT_A_EVENT_CIRCUIT, c->id)) ||
	    (c && c->ip && circuit_nl_put_addr(skb, CIRCUIT_A_EVENT_ADDR, &c->end[1].addr)) ||
	    (c && c->rule && nla_put_u32(skb, CIRCUIT_A_EVENT_RULE, c->rule)) ||
	    (type == CIRCUIT_EVENT_POLICY &&
	     nla_put_u32(skb, CIRCUIT_A_EVENT_GENERATION, ex->generation)) ||
	    nla_put_u32(skb, CIRCUIT_A_EVENT_REASON, reason)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast_netns(&circuit_family, ex->net, skb, 0, group, GFP_KERNEL);
}

static void event_send(struct circuit_exchange *ex, enum circuit_event type, const char *line,
		       const struct circuit *c, enum circuit_reason reason)
{
	event_send_to(ex, event_group(type), type, line, c, reason);
	/* For those who want to know of nothing else; only what the operator has seen itself. */
	if (type == CIRCUIT_EVENT_LINE_FAULT)
		event_send_to(ex, GROUP_VIOLATION, type, line, c, reason);
}

/**
 * circuit_event_line - tell listeners what happened to a line
 * @line: the line, its exchange locked
 * @type: what happened
 * @reason: why
 */
void circuit_event_line(const struct circuit_line *line, enum circuit_event type,
			enum circuit_reason reason)
{
	if (line->ex)
		event_send(line->ex, type, line->name, NULL, reason);
}

/**
 * circuit_event_call - tell listeners what happened to a call
 * @c: the call or circuit; its exchange is locked
 * @type: what happened
 * @reason: why
 */
void circuit_event_call(const struct circuit *c, enum circuit_event type,
			enum circuit_reason reason)
{
	event_send(c->end[0].line->ex, type, c->end[0].line->name, c, reason);
}

/**
 * circuit_event_policy - tell listeners that there is another policy
 * @ex: the exchange, locked
 */
void circuit_event_policy(struct circuit_exchange *ex)
{
	event_send(ex, CIRCUIT_EVENT_POLICY, NULL, NULL, CIRCUIT_REASON_NONE);
}

/**
 * circuit_netlink_init - register the family
 *
 * Return: 0 or a negative errno.
 */
int circuit_netlink_init(void)
{
	int err;

	err = circuit_nl_policy_init();
	if (err)
		return err;
	err = genl_register_family(&circuit_family);
	if (err)
		circuit_nl_policy_exit();
	return err;
}

/**
 * circuit_netlink_exit - unregister the family
 */
void circuit_netlink_exit(void)
{
	genl_unregister_family(&circuit_family);
	circuit_nl_policy_exit();
}
