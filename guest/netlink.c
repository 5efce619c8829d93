// SPDX-License-Identifier: GPL-2.0
/*
 * What the administrator of a guest asks: which sockets are circuits, why others are
 * not, and which cgroups to redirect.
 *
 * The specification is Documentation/netlink/specs/circuit-guest.yaml. Everything about
 * sockets concerns the network namespace of the request; circuits that wait to be
 * accepted have no socket as yet and are the first namespace's to see.
 */
#include <linux/cgroup.h>
#include <linux/module.h>
#include <net/genetlink.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/tcp_states.h>
#include <linux/circuit_guest_netlink.h>
#include "guest.h"

static struct genl_family guest_family;

static const struct nla_policy cgroup_policy[] = {
	[CIRCUIT_GUEST_A_CGROUP_ID] = { .type = NLA_U64 },
};

/* Where a dump is: cb->args[0] is what is dumped, cb->args[1] how far. */
enum { DUMP_CIRCUITS, DUMP_CALLS, DUMP_LISTENERS, DUMP_INET_LISTENERS, DUMP_NATIVES, DUMP_END };

struct dump {
	struct sk_buff		*skb;
	struct netlink_callback	*cb;
	struct net		*net;
	unsigned long		skip;
};

static void *dump_put(struct dump *d, u8 cmd)
{
	return genlmsg_put(d->skb, NETLINK_CB(d->cb->skb).portid, d->cb->nlh->nlmsg_seq,
			   &guest_family, NLM_F_MULTI, cmd);
}

static int dump_end(struct dump *d, void *hdr, int err)
{
	if (err)
		genlmsg_cancel(d->skb, hdr);
	else
		genlmsg_end(d->skb, hdr);
	return err;
}

/* An address as the socket's family has it; none if the socket is of AF_CIRCUIT. */
static int put_addr(struct sk_buff *skb, int attr, u16 family, const struct in6_addr *addr)
{
	if (family == AF_INET)
		return nla_put_in_addr(skb, attr, addr->s6_addr32[3]);
	return family == AF_INET6 ? nla_put_in6_addr(skb, attr, addr) : 0;
}

/* What every socket has; @sk is NULL if nobody has accepted it yet. */
static int put_sock(struct dump *d, struct sock *sk, u16 family, u32 type, u32 state, u32 reason,
		    enum circuit_guest_path path)
{
	struct sk_buff *skb = d->skb;

	if (nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_INO, sk ? sock_i_ino(sk) : 0) ||
	    nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_PATH, path) ||
	    nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_REASON, reason) ||
	    nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_FAMILY, family) ||
	    nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_TYPE, sk ? sk->sk_type : type) ||
	    nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_STATE, state))
		return -EMSGSIZE;
	return sk ? nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_UID,
				from_kuid_munged(sk_user_ns(NETLINK_CB(d->cb->skb).sk),
						 sk->sk_uid)) : 0;
}

/* TCP's name for the state of a circuit. */
static u32 circuit_state(const struct circuit_ep *ep, const struct circuit *c)
{
	u32 state = READ_ONCE(ep->state), flags;

	if (state != TCP_ESTABLISHED)
		return state;
	flags = READ_ONCE(ep->sk->sk_shutdown);
	if (READ_ONCE(c->tx_flags) & CIRCUIT_TX_FIN)
		return flags & RCV_SHUTDOWN ? TCP_LAST_ACK : TCP_FIN_WAIT2;
	return flags & RCV_SHUTDOWN ? TCP_CLOSE_WAIT : state;
}

/*
 * A circuit or a call, under RCU. Indices are read as they are, without the locks of
 * those who move them: what is told was true a moment ago.
 */
static int put_circuit(struct dump *d, const struct circuit *c, bool call)
{
	struct circuit_ep *ep = READ_ONCE(c->ep);
	struct sock *sk = ep ? ep->sk : NULL;
	struct sk_buff *skb = d->skb;
	u32 recv = 0, send = 0;
	u16 family = AF_CIRCUIT;
	u32 type = !c->messages ? SOCK_STREAM : c->ip ? SOCK_DGRAM : SOCK_SEQPACKET;
	void *hdr;
	int err;

	if (!net_eq(sk ? sock_net(sk) : &init_net, d->net))
		return 0;
	if (sk)
		family = sk->sk_family;
	else if (c->ip)
		family = ipv6_addr_v4mapped(&c->local) ? AF_INET : AF_INET6;
	if (!call && circuit_line_up(c->line)) {
		recv = min(READ_ONCE(c->rx.prod->tail) - circuit_rx_head(c), c->rx.size);
		send = min(circuit_tx_tail(c) - READ_ONCE(c->tx.cons->head), c->tx.size);
	}
	hdr = dump_put(d, CIRCUIT_GUEST_CMD_SOCK_GET);
	if (!hdr)
		return -EMSGSIZE;
	err = put_sock(d, sk, family, type, ep ? circuit_state(ep, c) : TCP_ESTABLISHED,
		       ep ? READ_ONCE(ep->reason) : READ_ONCE(c->reason),
		       CIRCUIT_GUEST_PATH_CIRCUIT) ||
	      put_addr(skb, CIRCUIT_GUEST_A_SOCK_LOCAL_ADDR, family, &c->local) ||
	      nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_LOCAL_PORT, c->local_port) ||
	      put_addr(skb, CIRCUIT_GUEST_A_SOCK_REMOTE_ADDR, family, &c->remote) ||
	      nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_REMOTE_PORT, c->peer_port) ||
	      (c->peer[0] && nla_put_string(skb, CIRCUIT_GUEST_A_SOCK_LINE, c->peer)) ||
	      (!call &&
	       (nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_INDEX, c->index) ||
		nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_RECV_QUEUE, recv) ||
		nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_SEND_QUEUE, send) ||
		nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_RECV_RING, c->rx.size) ||
		nla_put_u32(skb, CIRCUIT_GUEST_A_SOCK_SEND_RING, c->tx.size) ||
		nla_put_u64_64bit(skb, CIRCUIT_GUEST_A_SOCK_RECEIVED, circuit_rx_total(c),
				  CIRCUIT_GUEST_A_SOCK_PAD) ||
		nla_put_u64_64bit(skb, CIRCUIT_GUEST_A_SOCK_SENT, circuit_tx_total(c),
				  CIRCUIT_GUEST_A_SOCK_PAD) ||
		nla_put_u64_64bit(skb, CIRCUIT_GUEST_A_SOCK_DOORBELLS, READ_ONCE(c->doorbells),
				  CIRCUIT_GUEST_A_SOCK_PAD) ||
		nla_put_u64_64bit(skb, CIRCUIT_GUEST_A_SOCK_WAKEUPS, READ_ONCE(c->wakeups),
				  CIRCUIT_GUEST_A_SOCK_PAD)));
	return dump_end(d, hdr, err ? -EMSGSIZE : 0);
}

/* A listener of any family, under RCU. */
static int put_listener(struct dump *d, struct sock *sk, struct circuit_ep *ep,
			const struct circuit_listener *lst, const struct in6_addr *addr, u32 port)
{
	bool up = READ_ONCE(ep->state) == TCP_LISTEN;
	enum circuit_guest_path path = CIRCUIT_GUEST_PATH_CIRCUIT;
	void *hdr;
	int err;

	if (!net_eq(sock_net(sk), d->net))
		return 0;
	if (ep->overlay)
		path = up ? CIRCUIT_GUEST_PATH_BOTH : CIRCUIT_GUEST_PATH_NATIVE;
	hdr = dump_put(d, CIRCUIT_GUEST_CMD_SOCK_GET);
	if (!hdr)
		return -EMSGSIZE;
	err = put_sock(d, sk, sk->sk_family, 0, TCP_LISTEN, READ_ONCE(ep->reason), path) ||
	      put_addr(d->skb, CIRCUIT_GUEST_A_SOCK_LOCAL_ADDR, sk->sk_family, addr) ||
	      nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_LOCAL_PORT, port) ||
	      nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_RECV_QUEUE,
			  (lst ? READ_ONCE(lst->queued) : 0) +
			  (ep->overlay ? READ_ONCE(sk->sk_ack_backlog) : 0)) ||
	      nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_SEND_QUEUE,
			  lst ? READ_ONCE(lst->backlog) : READ_ONCE(sk->sk_max_ack_backlog));
	return dump_end(d, hdr, err ? -EMSGSIZE : 0);
}

/* Those of AF_CIRCUIT and of UDP, of one table of the line's. */
static int dump_line(struct dump *d, long what)
{
	struct circuit_line *line = circuit_line_get();
	struct netlink_callback *cb = d->cb;
	unsigned long i;
	int err = 0;
	void *entry;

	if (!line)
		return 0;
	rcu_read_lock();
	if (what == DUMP_LISTENERS) {
		xa_for_each_start(&line->listeners, i, entry, cb->args[1]) {
			struct circuit_listener *lst = entry;
			struct in6_addr addr;

			/* TCP's are told of whether or not they are published. */
			if (lst->what.flags & CIRCUIT_SIG_IP && lst->what.type == CIRCUIT_SIG_STREAM)
				continue;
			memcpy(&addr, lst->what.addr, sizeof(addr));
			err = put_listener(d, lst->ep->sk, lst->ep, lst, &addr, lst->what.port);
			if (err)
				break;
		}
	} else {
		xa_for_each_start(what == DUMP_CALLS ? &line->calls : &line->circuits, i, entry,
				  cb->args[1]) {
			err = put_circuit(d, entry, what == DUMP_CALLS);
			if (err)
				break;
		}
	}
	rcu_read_unlock();
	if (err)
		cb->args[1] = i;
	circuit_line_put(line);
	return err;
}

static int dump_inet_listener(struct sock *sk, struct circuit_ep *ep, void *arg)
{
	struct dump *d = arg;
	struct in6_addr addr = {};
	int err;

	if (d->skip) {
		d->skip--;
		return 0;
	}
	if (sk->sk_family == AF_INET)
		ipv6_addr_set_v4mapped(inet_sk(sk)->inet_rcv_saddr, &addr);
	else
		addr = sk->sk_v6_rcv_saddr;
	err = put_listener(d, sk, ep, READ_ONCE(ep->lst), &addr, inet_sk(sk)->inet_num);
	if (!err)
		d->cb->args[1]++;
	return err;
}

static int dump_native(u32 ino, u32 reason, void *arg)
{
	struct dump *d = arg;
	void *hdr = dump_put(d, CIRCUIT_GUEST_CMD_SOCK_GET);

	if (!hdr)
		return -EMSGSIZE;
	return dump_end(d, hdr, nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_INO, ino) ||
			nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_PATH, CIRCUIT_GUEST_PATH_NATIVE) ||
			nla_put_u32(d->skb, CIRCUIT_GUEST_A_SOCK_REASON, reason) ?
			-EMSGSIZE : 0);
}

static int sock_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump d = { .skb = skb, .cb = cb, .net = sock_net(skb->sk) };
	int err = 0;

	while (cb->args[0] < DUMP_END) {
		unsigned long pos = cb->args[1];

		switch (cb->args[0]) {
		case DUMP_INET_LISTENERS:
			d.skip = pos;
			err = circuit_inet_for_listeners(dump_inet_listener, &d);
			break;
		case DUMP_NATIVES:
			err = circuit_path_for_natives(d.net, &pos, dump_native, &d);
			cb->args[1] = pos;
			break;
		default:
			err = dump_line(&d, cb->args[0]);
		}
		if (err)
			return skb->len ?: err;
		cb->args[0]++;
		cb->args[1] = 0;
	}
	return skb->len;
}

/* How many sockets there were for a reason, if any. */
static int put_count(struct sk_buff *skb, int attr, u32 reason, u64 count)
{
	struct nlattr *nest;

	if (!count)
		return 0;
	nest = nla_nest_start(skb, attr);
	if (!nest || nla_put_u32(skb, CIRCUIT_GUEST_A_NATIVE_REASON, reason) ||
	    nla_put_u64_64bit(skb, CIRCUIT_GUEST_A_NATIVE_COUNT, count, CIRCUIT_GUEST_A_NATIVE_PAD))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int stats_get(struct sk_buff *skb, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct sk_buff *reply;
	u32 reason;
	void *hdr;

	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	hdr = genlmsg_put_reply(reply, info, &guest_family, 0, CIRCUIT_GUEST_CMD_STATS_GET);
	if (!hdr ||
	    nla_put_u64_64bit(reply, CIRCUIT_GUEST_A_STATS_CALLS_OUT,
			      circuit_path_calls(net, true), CIRCUIT_GUEST_A_STATS_PAD) ||
	    nla_put_u64_64bit(reply, CIRCUIT_GUEST_A_STATS_CALLS_IN,
			      circuit_path_calls(net, false), CIRCUIT_GUEST_A_STATS_PAD))
		goto full;
	for (reason = 0; reason < CIRCUIT_REASON_GUEST_MAX; reason++)
		if (put_count(reply, CIRCUIT_GUEST_A_STATS_NATIVE, reason,
			      circuit_path_natives(net, reason)) ||
		    put_count(reply, CIRCUIT_GUEST_A_STATS_REFUSED, reason,
			      circuit_path_refusals(net, reason)))
			goto full;
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
full:
	nlmsg_free(reply);
	return -EMSGSIZE;
}

static int dump_cgroup(u64 id, void *arg)
{
	struct dump *d = arg;
	struct cgroup *cgrp;
	char *path;
	void *hdr;
	int err;

	cgrp = cgroup_get_from_id(id);
	if (IS_ERR(cgrp))
		return 0;	/* it has gone */
	path = kmalloc(PATH_MAX, GFP_KERNEL);
	hdr = path ? dump_put(d, CIRCUIT_GUEST_CMD_CGROUP_GET) : NULL;
	err = -EMSGSIZE;
	if (hdr) {
		if (cgroup_path(cgrp, path, PATH_MAX) < 0)
			path[0] = 0;
		err = dump_end(d, hdr, nla_put_u64_64bit(d->skb, CIRCUIT_GUEST_A_CGROUP_ID, id,
							 CIRCUIT_GUEST_A_CGROUP_PAD) ||
			       nla_put_string(d->skb, CIRCUIT_GUEST_A_CGROUP_PATH, path) ?
			       -EMSGSIZE : 0);
	} else if (!path) {
		err = -ENOMEM;
	}
	kfree(path);
	cgroup_put(cgrp);
	return err;
}

static int cgroup_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump d = { .skb = skb, .cb = cb };
	unsigned long pos = cb->args[0];
	int err = circuit_redirect_for_cgroups(&pos, dump_cgroup, &d);

	cb->args[0] = pos;
	return err ? skb->len ?: err : skb->len;
}

static int cgroup_change(struct sk_buff *skb, struct genl_info *info)
{
	bool on = info->genlhdr->cmd == CIRCUIT_GUEST_CMD_CGROUP_ADD;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, CIRCUIT_GUEST_A_CGROUP_ID))
		return -EINVAL;
	err = circuit_redirect_cgroup(nla_get_u64(info->attrs[CIRCUIT_GUEST_A_CGROUP_ID]), on);
	switch (err) {
	case 0:
	case -ENOMEM:
		break;
	case -ENOENT:
		if (on)
			GENL_SET_ERR_MSG(info, "there is no such cgroup in the unified hierarchy");
		else
			GENL_SET_ERR_MSG(info, "this cgroup is not redirected");
		break;
	case -EEXIST:
		GENL_SET_ERR_MSG(info, "this cgroup is redirected already");
		break;
	case -ENOSPC:
		GENL_SET_ERR_MSG(info, "too many cgroups are redirected");
		break;
	default:
		GENL_SET_ERR_MSG(info, "this kernel does not let probes be set");
	}
	return err;
}

static const struct genl_ops guest_ops[] = {
	{
		.cmd = CIRCUIT_GUEST_CMD_SOCK_GET,
		.dumpit = sock_dump,
	},
	{
		.cmd = CIRCUIT_GUEST_CMD_STATS_GET,
		.doit = stats_get,
	},
	{
		.cmd = CIRCUIT_GUEST_CMD_CGROUP_GET,
		.dumpit = cgroup_dump,
		.flags = GENL_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_GUEST_CMD_CGROUP_ADD,
		.doit = cgroup_change,
		.policy = cgroup_policy,
		.maxattr = ARRAY_SIZE(cgroup_policy) - 1,
		.flags = GENL_ADMIN_PERM,
	},
	{
		.cmd = CIRCUIT_GUEST_CMD_CGROUP_DEL,
		.doit = cgroup_change,
		.policy = cgroup_policy,
		.maxattr = ARRAY_SIZE(cgroup_policy) - 1,
		.flags = GENL_ADMIN_PERM,
	},
};

static struct genl_family guest_family __ro_after_init = {
	.name = CIRCUIT_GUEST_FAMILY_NAME,
	.version = CIRCUIT_GUEST_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = guest_ops,
	.n_ops = ARRAY_SIZE(guest_ops),
};

/**
 * circuit_guest_netlink_init - register the family
 *
 * Return: 0 or a negative errno.
 */
int circuit_guest_netlink_init(void)
{
	return genl_register_family(&guest_family);
}

/**
 * circuit_guest_netlink_exit - unregister the family
 */
void circuit_guest_netlink_exit(void)
{
	genl_unregister_family(&guest_family);
}
