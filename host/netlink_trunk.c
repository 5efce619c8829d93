// SPDX-License-Identifier: GPL-2.0
/*
 * Control of trunks and exposures, see netlink.c.
 */
#include <linux/slab.h>
#include <net/ipv6.h>
#include "netlink.h"

static struct netlink_range_validation timeout_range = {
	.min = 1,
	.max = INT_MAX,
};

static struct netlink_range_validation port_range = {
	.min = 1,
	.max = U16_MAX,
};

const struct nla_policy circuit_trunk_policy[CIRCUIT_A_TRUNK_MAX + 1] = {
	[CIRCUIT_A_TRUNK_NAME] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_TRUNK_NETNS_FD] = { .type = NLA_U32 },
	[CIRCUIT_A_TRUNK_TO] = NLA_POLICY_NESTED(circuit_prefix_policy),
	[CIRCUIT_A_TRUNK_SOURCE] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_TRUNK_HOST] = { .type = NLA_FLAG },
	[CIRCUIT_A_TRUNK_CONGESTION] = { .type = NLA_NUL_STRING, .len = TCP_CA_NAME_MAX - 1 },
	[CIRCUIT_A_TRUNK_MARK] = { .type = NLA_U32 },
	[CIRCUIT_A_TRUNK_TOS] = { .type = NLA_U8 },
	[CIRCUIT_A_TRUNK_PACING] = { .type = NLA_U64 },
	[CIRCUIT_A_TRUNK_USER_TIMEOUT] = NLA_POLICY_FULL_RANGE(NLA_U32, &timeout_range),
	[CIRCUIT_A_TRUNK_MSS] = NLA_POLICY_RANGE(NLA_U32, TCP_MIN_MSS, S16_MAX),
	[CIRCUIT_A_TRUNK_IDLE] = NLA_POLICY_RANGE(NLA_U32, 1, S16_MAX),
};

const struct nla_policy circuit_expose_policy[CIRCUIT_A_EXPOSE_MAX + 1] = {
	[CIRCUIT_A_EXPOSE_LINE] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_EXPOSE_PORT] = NLA_POLICY_FULL_RANGE(NLA_U32, &port_range),
	[CIRCUIT_A_EXPOSE_TRUNK] = { .type = NLA_NUL_STRING, .len = CIRCUIT_NAME_SIZE - 1 },
	[CIRCUIT_A_EXPOSE_HOST_ADDR] = { .type = NLA_BINARY, .len = sizeof(struct in6_addr) },
	[CIRCUIT_A_EXPOSE_HOST_PORT] = NLA_POLICY_FULL_RANGE(NLA_U32, &port_range),
	[CIRCUIT_A_EXPOSE_TYPE] = NLA_POLICY_RANGE(NLA_U32, SOCK_STREAM, SOCK_DGRAM),
};

/* --- trunks ------------------------------------------------------------------------------ */

static int parse_to(const struct nlattr *attr, struct circuit_trunk_config *cfg,
		    struct netlink_ext_ack *extack)
{
	int err;

	if (cfg->nr_to == CIRCUIT_TRUNK_TO_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "a trunk leads to at most 64 prefixes");
		return -E2BIG;
	}
	err = circuit_nl_prefix(attr, &cfg->to[cfg->nr_to], extack);
	cfg->nr_to += !err;
	return err;
}

static int parse_source(const struct nlattr *attr, struct circuit_trunk_config *cfg,
			struct netlink_ext_ack *extack)
{
	struct in6_addr addr;

	if (!circuit_nl_addr(attr, &addr)) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "a source is an IPv4 or IPv6 address");
		return -EINVAL;
	}
	if (!ipv6_addr_any(&cfg->source[!ipv6_addr_v4mapped(&addr)])) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "a trunk has one source of a family");
		return -EINVAL;
	}
	cfg->source[!ipv6_addr_v4mapped(&addr)] = addr;
	return 0;
}

static int parse_trunk(struct genl_info *info, struct circuit_trunk_config *cfg)
{
	struct nlattr **attrs = info->attrs;
	const struct nlattr *attr;
	int rem, err = 0;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) == CIRCUIT_A_TRUNK_TO)
			err = parse_to(attr, cfg, info->extack);
		else if (nla_type(attr) == CIRCUIT_A_TRUNK_SOURCE)
			err = parse_source(attr, cfg, info->extack);
		if (err)
			return err;
	}
	cfg->host = nla_get_flag(attrs[CIRCUIT_A_TRUNK_HOST]);
	if (attrs[CIRCUIT_A_TRUNK_CONGESTION])
		nla_strscpy(cfg->congestion, attrs[CIRCUIT_A_TRUNK_CONGESTION],
			    sizeof(cfg->congestion));
	if (attrs[CIRCUIT_A_TRUNK_MARK])
		cfg->mark = nla_get_u32(attrs[CIRCUIT_A_TRUNK_MARK]);
	if (attrs[CIRCUIT_A_TRUNK_TOS])
		cfg->tos = nla_get_u8(attrs[CIRCUIT_A_TRUNK_TOS]);
	if (attrs[CIRCUIT_A_TRUNK_PACING])
		cfg->pacing = nla_get_u64(attrs[CIRCUIT_A_TRUNK_PACING]);
	if (attrs[CIRCUIT_A_TRUNK_USER_TIMEOUT])
		cfg->user_timeout = nla_get_u32(attrs[CIRCUIT_A_TRUNK_USER_TIMEOUT]);
	if (attrs[CIRCUIT_A_TRUNK_MSS])
		cfg->mss = nla_get_u32(attrs[CIRCUIT_A_TRUNK_MSS]);
	if (attrs[CIRCUIT_A_TRUNK_IDLE])
		cfg->idle = nla_get_u32(attrs[CIRCUIT_A_TRUNK_IDLE]);
	return 0;
}

/* The namespace that a request names: referenced, NULL for none, or an error. */
static struct net *parse_netns(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[CIRCUIT_A_TRUNK_NETNS_FD];
	struct net *net;

	if (!attr)
		return NULL;
	net = get_net_ns_by_fd(nla_get_u32(attr));
	if (IS_ERR(net)) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "not a network namespace");
		return net;
	}
	/* Whoever lets VMs use a stack must be able to use it himself. */
	if (!netlink_ns_capable(skb, net->user_ns, CAP_NET_ADMIN)) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "you do not administer that namespace");
		put_net(net);
		return ERR_PTR(-EPERM);
	}
	return net;
}

/* What a socket would be refused is better refused now. */
static int try_trunk(const struct circuit_trunk_config *cfg, struct net *net,
		     struct genl_info *info)
{
	struct circuit_trunk trunk = { .cfg = *cfg };
	struct socket *sock;
	int err;

	err = sock_create_kern(net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return err;
	err = circuit_trunk_setup(&trunk, 0, sock);
	sock_release(sock);
	if (err == -ENOENT)
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_TRUNK_CONGESTION],
				    "no such congestion control");
	else if (err)
		NL_SET_ERR_MSG(info->extack, "TCP does not take that");
	return err;
}

/**
 * circuit_nl_trunk_new - CIRCUIT_CMD_TRUNK_NEW
 * @skb: the request
 * @info: what is known of it
 *
 * Context: process; requests may come at once.
 *
 * Return: 0 or a negative errno, with a message in extack if it is the caller's fault.
 */
int circuit_nl_trunk_new(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_trunk_config *cfg;
	char name[CIRCUIT_NAME_SIZE];
	struct net *net;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, CIRCUIT_A_TRUNK_NAME)) {
		NL_SET_ERR_MSG(info->extack, "the trunk's name is missing");
		return -EINVAL;
	}
	err = circuit_nl_name(info->attrs[CIRCUIT_A_TRUNK_NAME], name, info->extack);
	if (err)
		return err;
	cfg = kzalloc(sizeof(*cfg), GFP_KERNEL);
	if (!cfg)
		return -ENOMEM;
	err = parse_trunk(info, cfg);
	if (err)
		goto free;
	net = parse_netns(skb, info);
	err = PTR_ERR_OR_ZERO(net);
	if (err)
		goto free;
	err = try_trunk(cfg, net ?: genl_info_net(info), info);
	if (err)
		goto put;
	mutex_lock(&ex->lock);
	err = circuit_trunk_add(ex, name, cfg, net);
	mutex_unlock(&ex->lock);
	if (err == -EEXIST)
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[CIRCUIT_A_TRUNK_NAME],
				    "a trunk of that name exists");
	else if (err == -E2BIG)
		NL_SET_ERR_MSG(info->extack, "an exchange has at most 256 trunks");
put:
	if (net)
		put_net(net);
free:
	kfree(cfg);
	return err;
}

/* Find the trunk that an attribute names; the exchange is locked. */
static struct circuit_trunk *find_trunk(struct circuit_exchange *ex, struct nlattr *attr,
					struct netlink_ext_ack *extack)
{
	char name[CIRCUIT_NAME_SIZE];
	struct circuit_trunk *trunk;
	int err;

	err = circuit_nl_name(attr, name, extack);
	if (err)
		return ERR_PTR(err);
	trunk = circuit_trunk_find(ex, name);
	if (trunk)
		return trunk;
	NL_SET_ERR_MSG_ATTR(extack, attr, "no such trunk");
	return ERR_PTR(-ENODEV);
}

/**
 * circuit_nl_trunk_del - CIRCUIT_CMD_TRUNK_DEL
 * @skb: the request
 * @info: what is known of it
 *
 * Context: process; requests may come at once.
 *
 * Return: 0 or a negative errno, with a message in extack if it is the caller's fault.
 */
int circuit_nl_trunk_del(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct nlattr *attr = info->attrs[CIRCUIT_A_TRUNK_NAME];
	struct circuit_trunk *trunk;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, CIRCUIT_A_TRUNK_NAME)) {
		NL_SET_ERR_MSG(info->extack, "the trunk's name is missing");
		return -EINVAL;
	}
	mutex_lock(&ex->lock);
	trunk = find_trunk(ex, attr, info->extack);
	err = PTR_ERR_OR_ZERO(trunk);
	if (!err)
		err = circuit_trunk_del(ex, trunk);
	if (err == -EBUSY)
		NL_SET_ERR_MSG_ATTR(info->extack, attr,
				    "lines or exposed ports have that trunk");
	mutex_unlock(&ex->lock);
	return err;
}

/**
 * circuit_nl_line_trunks - find the trunks that a request gives a line
 * @line: the line, its exchange locked
 * @info: of the request
 * @trunks: filled in, for circuit_nl_set_trunks()
 *
 * Return: 0 or a negative errno, with a message in extack.
 */
int circuit_nl_line_trunks(struct circuit_line *line, struct genl_info *info,
			   struct circuit_nl_trunks *trunks)
{
	struct circuit_trunk *trunk;
	struct nlattr *attr;
	int rem;

	trunks->given = info->attrs[CIRCUIT_A_LINE_NO_TRUNK];
	trunks->n = 0;
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != CIRCUIT_A_LINE_TRUNK)
			continue;
		if (trunks->n == CIRCUIT_LINE_TRUNKS_MAX) {
			NL_SET_ERR_MSG_ATTR(info->extack, attr, "a line has at most 8 trunks");
			return -E2BIG;
		}
		trunk = find_trunk(line->ex, attr, info->extack);
		if (IS_ERR(trunk))
			return PTR_ERR(trunk);
		trunks->trunk[trunks->n++] = trunk;
		trunks->given = true;
	}
	return 0;
}

/**
 * circuit_nl_set_trunks - give a line what circuit_nl_line_trunks() has found
 * @line: the line, its exchange locked ever since
 * @trunks: the trunks
 */
void circuit_nl_set_trunks(struct circuit_line *line, struct circuit_nl_trunks *trunks)
{
	if (trunks->given)
		circuit_line_set_trunks(line, trunks->trunk, trunks->n);
}

static int fill_trunk(struct sk_buff *skb, struct list_head *node)
{
	struct circuit_trunk *trunk = list_entry(node, struct circuit_trunk, list);
	const struct circuit_trunk_config *cfg = &trunk->cfg;
	unsigned int i;

	if (nla_put_string(skb, CIRCUIT_A_TRUNK_NAME, trunk->name) ||
	    (trunk->netns && nla_put_u32(skb, CIRCUIT_A_TRUNK_NETNS_INODE, trunk->netns)) ||
	    (trunk->netns && !READ_ONCE(trunk->net) &&
	     nla_put_flag(skb, CIRCUIT_A_TRUNK_NETNS_GONE)) ||
	    (cfg->host && nla_put_flag(skb, CIRCUIT_A_TRUNK_HOST)) ||
	    (cfg->congestion[0] &&
	     nla_put_string(skb, CIRCUIT_A_TRUNK_CONGESTION, cfg->congestion)) ||
	    (cfg->mark && nla_put_u32(skb, CIRCUIT_A_TRUNK_MARK, cfg->mark)) ||
	    (cfg->tos && nla_put_u8(skb, CIRCUIT_A_TRUNK_TOS, cfg->tos)) ||
	    (cfg->pacing && circuit_nl_put_u64(skb, CIRCUIT_A_TRUNK_PACING, cfg->pacing)) ||
	    (cfg->user_timeout &&
	     nla_put_u32(skb, CIRCUIT_A_TRUNK_USER_TIMEOUT, cfg->user_timeout)) ||
	    (cfg->mss && nla_put_u32(skb, CIRCUIT_A_TRUNK_MSS, cfg->mss)) ||
	    (cfg->idle && nla_put_u32(skb, CIRCUIT_A_TRUNK_IDLE, cfg->idle)) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_TRUNK_CALLS, atomic64_read(&trunk->calls)) ||
	    circuit_nl_put_u64(skb, CIRCUIT_A_TRUNK_CALLS_REFUSED, atomic64_read(&trunk->refused)) ||
	    nla_put_u32(skb, CIRCUIT_A_TRUNK_CIRCUITS, atomic_read(&trunk->circuits)) ||
	    nla_put_u32(skb, CIRCUIT_A_TRUNK_LINES, trunk->users))
		return -EMSGSIZE;
	for (i = 0; i < 2; i++)
		if (!ipv6_addr_any(&cfg->source[i]) &&
		    circuit_nl_put_addr(skb, CIRCUIT_A_TRUNK_SOURCE, &cfg->source[i]))
			return -EMSGSIZE;
	for (i = 0; i < cfg->nr_to; i++)
		if (circuit_nl_put_prefix(skb, CIRCUIT_A_TRUNK_TO, &cfg->to[i]))
			return -EMSGSIZE;
	return 0;
}

/**
 * circuit_nl_trunk_dump - CIRCUIT_CMD_TRUNK_GET
 * @skb: where to
 * @cb: the dump
 *
 * Return: bytes in @skb.
 */
int circuit_nl_trunk_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));

	return circuit_nl_dump(skb, cb, ex, &ex->trunks, CIRCUIT_CMD_TRUNK_GET, fill_trunk);
}

/* --- exposures ------------------------------------------------------------------------------- */

struct expose_request {
	u32			type;
	struct circuit_trunk	*trunk;
	struct in6_addr		addr;
	u16			host_port;
};

/* What adding and deleting have in common; the exchange is locked. */
static int parse_expose(struct circuit_exchange *ex, struct genl_info *info,
			struct expose_request *req)
{
	struct nlattr **attrs = info->attrs;

	if (!attrs[CIRCUIT_A_EXPOSE_HOST_ADDR] || !attrs[CIRCUIT_A_EXPOSE_HOST_PORT]) {
		NL_SET_ERR_MSG(info->extack, "the host's address and port are missing");
		return -EINVAL;
	}
	req->host_port = nla_get_u32(attrs[CIRCUIT_A_EXPOSE_HOST_PORT]);
	if (!circuit_nl_addr(attrs[CIRCUIT_A_EXPOSE_HOST_ADDR], &req->addr)) {
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[CIRCUIT_A_EXPOSE_HOST_ADDR],
				    "not an IPv4 or IPv6 address");
		return -EINVAL;
	}
	req->type = CIRCUIT_SIG_STREAM;
	if (attrs[CIRCUIT_A_EXPOSE_TYPE])
		req->type = nla_get_u32(attrs[CIRCUIT_A_EXPOSE_TYPE]);
	req->trunk = NULL;
	if (attrs[CIRCUIT_A_EXPOSE_TRUNK])
		req->trunk = find_trunk(ex, attrs[CIRCUIT_A_EXPOSE_TRUNK], info->extack);
	return PTR_ERR_OR_ZERO(req->trunk);
}

/**
 * circuit_nl_expose_new - CIRCUIT_CMD_EXPOSE_NEW
 * @skb: the request
 * @info: what is known of it
 *
 * Context: process; requests may come at once.
 *
 * Return: 0 or a negative errno, with a message in extack if it is the caller's fault.
 */
int circuit_nl_expose_new(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	char name[CIRCUIT_NAME_SIZE];
	struct expose_request req;
	struct circuit_line *line;
	int err;

	if (!attrs[CIRCUIT_A_EXPOSE_LINE] || !attrs[CIRCUIT_A_EXPOSE_PORT]) {
		NL_SET_ERR_MSG(info->extack, "the line and its port are missing");
		return -EINVAL;
	}
	err = circuit_nl_name(attrs[CIRCUIT_A_EXPOSE_LINE], name, info->extack);
	if (err)
		return err;
	mutex_lock(&ex->lock);
	err = parse_expose(ex, info, &req);
	if (err)
		goto unlock;
	err = -ENODEV;
	line = circuit_directory_line(ex, name);
	if (!line) {
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[CIRCUIT_A_EXPOSE_LINE], "no such line");
		goto unlock;
	}
	err = circuit_expose(line, req.type, nla_get_u32(attrs[CIRCUIT_A_EXPOSE_PORT]), req.trunk,
			     &req.addr, req.host_port);
	switch (err) {
	case -EADDRINUSE:
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[CIRCUIT_A_EXPOSE_HOST_PORT],
				    "somebody listens there already");
		break;
	case -EADDRNOTAVAIL:
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[CIRCUIT_A_EXPOSE_HOST_ADDR],
				    "the host does not have that address");
		break;
	case -ENONET:
		NL_SET_ERR_MSG(info->extack, "the network namespace is gone");
		break;
	case -E2BIG:
		NL_SET_ERR_MSG(info->extack, "an exchange has at most 4096 exposed ports");
		break;
	}
unlock:
	mutex_unlock(&ex->lock);
	if (err)
		circuit_unexpose_flush();
	return err;
}

/**
 * circuit_nl_expose_del - CIRCUIT_CMD_EXPOSE_DEL
 * @skb: the request
 * @info: what is known of it
 *
 * Context: process; requests may come at once.
 *
 * Return: 0 or a negative errno, with a message in extack if it is the caller's fault.
 */
int circuit_nl_expose_del(struct sk_buff *skb, struct genl_info *info)
{
	struct circuit_exchange *ex = circuit_exchange(genl_info_net(info));
	struct circuit_exposure *exp = NULL;
	struct expose_request req;
	int err;

	mutex_lock(&ex->lock);
	err = parse_expose(ex, info, &req);
	if (!err) {
		exp = circuit_exposure_find(ex, req.type, req.trunk, &req.addr, req.host_port);
		err = exp ? 0 : -ENOENT;
		if (exp)
			circuit_unexpose(exp);
		else
			NL_SET_ERR_MSG(info->extack, "nothing is exposed there");
	}
	mutex_unlock(&ex->lock);
	if (exp)
		circuit_unexpose_flush();
	return err;
}

static int fill_exposure(struct sk_buff *skb, struct list_head *node)
{
	struct circuit_exposure *exp = list_entry(node, struct circuit_exposure, list);

	return nla_put_string(skb, CIRCUIT_A_EXPOSE_LINE, exp->line->name) ||
	       nla_put_u32(skb, CIRCUIT_A_EXPOSE_TYPE, exp->type) ||
	       nla_put_u32(skb, CIRCUIT_A_EXPOSE_PORT, exp->port) ||
	       (exp->trunk && nla_put_string(skb, CIRCUIT_A_EXPOSE_TRUNK, exp->trunk->name)) ||
	       circuit_nl_put_addr(skb, CIRCUIT_A_EXPOSE_HOST_ADDR, &exp->addr) ||
	       nla_put_u32(skb, CIRCUIT_A_EXPOSE_HOST_PORT, exp->host_port) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_EXPOSE_ACCEPTED, atomic64_read(&exp->accepted)) ||
	       circuit_nl_put_u64(skb, CIRCUIT_A_EXPOSE_REFUSED, atomic64_read(&exp->refused)) ||
	       nla_put_u32(skb, CIRCUIT_A_EXPOSE_WAITING, atomic_read(&exp->waiting)) ?
	       -EMSGSIZE : 0;
}

/**
 * circuit_nl_expose_dump - CIRCUIT_CMD_EXPOSE_GET
 * @skb: where to
 * @cb: the dump
 *
 * Return: bytes in @skb.
 */
int circuit_nl_expose_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct circuit_exchange *ex = circuit_exchange(sock_net(skb->sk));

	return circuit_nl_dump(skb, cb, ex, &ex->exposures, CIRCUIT_CMD_EXPOSE_GET, fill_exposure);
}

/**
 * circuit_nl_put_socket - what there is to say of a local end's socket, in the end of a circuit
 * @skb: where to
 * @local: an end that has one; its exchange is locked
 *
 * Return: 0 or -EMSGSIZE.
 */
int circuit_nl_put_socket(struct sk_buff *skb, struct circuit_local *local)
{
	const char *trunk = local->ops->trunk(local);
	struct circuit_socket_info info;
	struct nlattr *nest;

	if (trunk && nla_put_string(skb, CIRCUIT_A_END_TRUNK, trunk))
		return -EMSGSIZE;
	if (!local->ops->info(local, &info))
		return 0;
	nest = nla_nest_start(skb, CIRCUIT_A_END_SOCKET);
	if (!nest ||
	    circuit_nl_put_addr(skb, CIRCUIT_A_SOCKET_LOCAL, &info.local) ||
	    nla_put_u32(skb, CIRCUIT_A_SOCKET_LOCAL_PORT, info.local_port) ||
	    circuit_nl_put_addr(skb, CIRCUIT_A_SOCKET_REMOTE, &info.remote) ||
	    nla_put_u32(skb, CIRCUIT_A_SOCKET_REMOTE_PORT, info.remote_port))
		return -EMSGSIZE;
	if (info.state &&
	    (nla_put_u32(skb, CIRCUIT_A_SOCKET_STATE, info.state) ||
	     nla_put_string(skb, CIRCUIT_A_SOCKET_CONGESTION, info.congestion) ||
	     nla_put_u32(skb, CIRCUIT_A_SOCKET_RTT, info.info.tcpi_rtt) ||
	     nla_put_u32(skb, CIRCUIT_A_SOCKET_CWND, info.info.tcpi_snd_cwnd) ||
	     nla_put_u32(skb, CIRCUIT_A_SOCKET_RETRANS, info.info.tcpi_total_retrans) ||
	     nla_put_u32(skb, CIRCUIT_A_SOCKET_UNACKED, info.info.tcpi_unacked) ||
	     circuit_nl_put_u64(skb, CIRCUIT_A_SOCKET_DELIVERY_RATE,
				info.info.tcpi_delivery_rate) ||
	     circuit_nl_put_u64(skb, CIRCUIT_A_SOCKET_ZEROCOPY, info.zerocopy)))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}
