/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the generic-netlink family have from each other.
 */
#ifndef _CIRCUIT_HOST_NETLINK_H
#define _CIRCUIT_HOST_NETLINK_H

#include <net/genetlink.h>
#include "host.h"

/* netlink.c */
extern struct genl_family circuit_family;
struct sk_buff *circuit_nl_reply(struct genl_info *info, u8 cmd);
int circuit_nl_send(struct sk_buff *reply, struct genl_info *info, int err);
extern struct netlink_range_validation circuit_rate_range;
int circuit_nl_doorbells_ok(struct nlattr *attr, struct netlink_ext_ack *extack);
int circuit_nl_rate_ok(struct nlattr *attr, struct netlink_ext_ack *extack);
int circuit_nl_name(struct nlattr *attr, char *name, struct netlink_ext_ack *extack);
bool circuit_nl_addr(const struct nlattr *attr, struct in6_addr *addr);
int circuit_nl_put_addr(struct sk_buff *skb, int attr, const struct in6_addr *addr);
extern const struct nla_policy circuit_prefix_policy[CIRCUIT_A_PREFIX_MAX + 1];
int circuit_nl_prefix(const struct nlattr *attr, struct circuit_prefix *prefix,
		      struct netlink_ext_ack *extack);
int circuit_nl_put_prefix(struct sk_buff *skb, int attr, const struct circuit_prefix *prefix);

int circuit_nl_dump(struct sk_buff *skb, struct netlink_callback *cb, struct circuit_exchange *ex,
		    const struct list_head *list, u8 cmd,
		    int (*fill)(struct sk_buff *skb, struct list_head *node));

/* The first attribute of every set is for padding. */
int circuit_nl_put_cpu(struct sk_buff *skb, int total, int first, const u64 ns[CIRCUIT_USES]);

static inline int circuit_nl_put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, CIRCUIT_A_LINE_PAD);
}

/* netlink_group.c */
extern const struct nla_policy circuit_group_policy[CIRCUIT_A_GROUP_MAX + 1];
int circuit_nl_group_get(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_group_dump(struct sk_buff *skb, struct netlink_callback *cb);
int circuit_nl_group_set(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_group_del(struct sk_buff *skb, struct genl_info *info);

/* netlink_trunk.c */
extern const struct nla_policy circuit_trunk_policy[CIRCUIT_A_TRUNK_MAX + 1];
extern const struct nla_policy circuit_expose_policy[CIRCUIT_A_EXPOSE_MAX + 1];
int circuit_nl_trunk_new(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_trunk_del(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_trunk_dump(struct sk_buff *skb, struct netlink_callback *cb);
int circuit_nl_expose_new(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_expose_del(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_expose_dump(struct sk_buff *skb, struct netlink_callback *cb);
int circuit_nl_put_socket(struct sk_buff *skb, struct circuit_local *local);

/* The trunks that a request gives a line, if it speaks of them. */
struct circuit_nl_trunks {
	bool			given;
	unsigned int		n;
	struct circuit_trunk	*trunk[CIRCUIT_LINE_TRUNKS_MAX];
};

int circuit_nl_line_trunks(struct circuit_line *line, struct genl_info *info,
			   struct circuit_nl_trunks *trunks);
void circuit_nl_set_trunks(struct circuit_line *line, struct circuit_nl_trunks *trunks);

/* netlink_policy.c */
extern const struct nla_policy circuit_policy_policy[CIRCUIT_A_POLICY_MAX + 1];
extern const struct nla_policy circuit_query_policy[CIRCUIT_A_QUERY_MAX + 1];
int circuit_nl_policy_get(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_dump(struct sk_buff *skb, struct netlink_callback *cb);
int circuit_nl_policy_new(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_add(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_commit(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_reapply(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_explain(struct sk_buff *skb, struct genl_info *info);
int circuit_nl_policy_init(void);
void circuit_nl_policy_exit(void);

#endif /* _CIRCUIT_HOST_NETLINK_H */
