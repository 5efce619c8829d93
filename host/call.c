// SPDX-License-Identifier: GPL-2.0
/*
 * Calls: from CALL to the last HANGUP.
 *
 *	CALL --> waiting for the listener's backlog --> connected --> one end has
 *	  |                 |                                         hung up
 *	  +-----------------+--> refused                                 |
 *	                                          both have hung up: freed,
 *	                                          unless it is held
 *
 * The operator connects a call as soon as the listener has room for it, without
 * asking the called guest, as TCP completes a handshake before accept(). How many
 * calls may be alerted and not yet answered is the listener's backlog; calls
 * beyond it wait here, in order, until they are answered, cancelled or refused.
 *
 * All of it under exchange->lock. A circuit is found through the ends of its
 * lines; before it has any, through its caller's reference in line->calls.
 */
#include <linux/jhash.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include "host.h"
#include "trace.h"

static void circuit_init_ctrl(struct circuit *c)
{
	struct circuit_ctrl *ctrl = c->ctrl;

	memset(ctrl, 0, sizeof(*ctrl));
	ctrl->magic = CIRCUIT_RING_MAGIC;
	ctrl->version = CIRCUIT_RING_VERSION;
	ctrl->size[0] = c->size[0];
	ctrl->size[1] = c->size[1];
	ctrl->data[0] = CIRCUIT_CTRL_SIZE;
	ctrl->data[1] = CIRCUIT_CTRL_SIZE + c->size[0];
}

static void circuit_free_rcu(struct rcu_head *rcu)
{
	struct circuit *c = container_of(rcu, struct circuit, rcu);

	free_percpu(c->stats);
	kfree(c);
}

/* Both ends have hung up, or the call came to nothing. */
static void circuit_free(struct circuit *c)
{
	struct circuit_exchange *ex = c->end[0].line->ex;
	unsigned int i;

	list_del(&c->wait);
	if (c->tap)
		circuit_tap_end(c);
	if (c->cable)
		circuit_pair_return(c);
	if (c->entered)
		circuit_directory_del_tuple(ex, c);
	xa_erase(&ex->circuits, c->id);
	circuit_meters_put(c->meters);
	if (c->local)
		circuit_local_leave(c->local);
	for (i = 0; i < 2; i++)
		if (c->end[i].line)
			circuit_line_put(c->end[i].line);
	call_rcu(&c->rcu, circuit_free_rcu);
}

/**
 * circuit_drop - forget a call that was not connected
 * @c: the call, waiting or refused; nothing is owed any more
 */
void circuit_drop(struct circuit *c)
{
	struct circuit_line *line = c->end[0].line;

	if (xa_load(&line->calls, c->ref) == c) {
		xa_erase(&line->calls, c->ref);
		circuit_uncharge(line, CIRCUIT_PENDING, 1);
	}
	circuit_free(c);
}

static void call_refused(struct circuit *c, enum circuit_reason reason)
{
	struct circuit_line *line = c->end[0].line;

	circuit_line_count(line, CIRCUIT_COUNT_CALLS_REFUSED);
	trace_circuit_refused(c, reason);
	circuit_event_call(c, CIRCUIT_EVENT_REFUSED, reason);
}

/* A call that the exchange has nothing to do with, or no room for. */
static void call_native(struct circuit *c, enum circuit_reason reason)
{
	circuit_line_count(c->end[0].line, CIRCUIT_COUNT_CALLS_NATIVE);
	trace_circuit_native(c, reason);
	circuit_event_call(c, CIRCUIT_EVENT_NATIVE, reason);
}

/**
 * circuit_refuse - refuse a call that had to wait
 * @c: the call; its exchange is locked
 * @reason: why; @c->end[0].error, if set, is the errno instead of the reason's own
 *
 * The call may be gone afterwards.
 */
void circuit_refuse(struct circuit *c, enum circuit_reason reason)
{
	call_refused(c, reason);
	list_del_init(&c->wait);
	c->listener = NULL;
	circuit_sig_owe(&c->end[0], CIRCUIT_OWE_REFUSED, reason);
}

/* Would the largest rings that nobody asked for fit the first quarter of what a line may have? */
static bool has_plenty(const struct circuit_line *line)
{
	return line->is_trunk || line->quota.used[CIRCUIT_MEMORY] + 8ull * line->cfg.ring_default <
				 line->quota.limits.max[CIRCUIT_MEMORY] / 4;
}

/*
 * What a ring's size is if two sides have (or have not) a wish for it. As long as memory is
 * plenty there is more: whoever waits for room is woken less often then. What comes from the
 * world, or goes there, comes and goes in bursts of TCP's on top of that.
 */
static u32 ring_size(const struct circuit *c, const struct circuit_line *b, u32 x, u32 y)
{
	const struct circuit_line *a = c->end[0].line;
	const struct circuit_line *line = a->is_trunk ? b : a;
	u32 limit = min(a->cfg.ring_max, b->cfg.ring_max);
	u32 size = max(x, y);

	if (c->ring_max)
		limit = min(limit, c->ring_max);

	if (!size) {
		size = line->cfg.ring_default;
		if (has_plenty(a) && has_plenty(b))
			size *= a->is_trunk || b->is_trunk ? 4 : 2;
	}
	size = clamp(size, CIRCUIT_RING_MIN, limit);
	return roundup_pow_of_two(size);
}

static bool end_publish(struct circuit_end *end)
{
	struct circuit_line *line = end->line;
	u32 max = line->is_trunk ? U32_MAX : CIRCUIT_INDEX_MAX;

	/* The relay may use the end as soon as it has a number. */
	end->hungup = false;
	if (xa_alloc(&line->ends, &end->index, end, XA_LIMIT(1, max), GFP_KERNEL_ACCOUNT)) {
		end->hungup = true;
		end->index = 0;
		return false;
	}
	circuit_cable_count(circuit_of_end(end)->cable, line, 1);
	return true;
}

static void end_unpublish(struct circuit_end *end)
{
	xa_erase(&end->line->ends, end->index);
	circuit_uncharge(end->line, CIRCUIT_CIRCUITS, 1);
	circuit_cable_count(circuit_of_end(end)->cable, end->line, -1);
	/* A local end looks at the ring afterwards. */
	smp_store_release(&end->hungup, true);
}

/* Connect a call to a listener of @b's, or to the leg that it has if @b is the trunk. */
static enum circuit_reason circuit_connect(struct circuit *c, struct circuit_line *b,
					   struct circuit_listener *lst)
{
	struct circuit_line *a = c->end[0].line;
	enum circuit_reason reason;
	u64 ns;

	if (!circuit_meter_knows(c, b))
		return CIRCUIT_REASON_RATE;
	if (!circuit_charge(a, CIRCUIT_CIRCUITS, 1))
		return CIRCUIT_REASON_QUOTA_CIRCUITS;
	reason = CIRCUIT_REASON_QUOTA_CIRCUITS;
	if (!circuit_charge(b, CIRCUIT_CIRCUITS, 1))
		goto uncharge_a;
	c->size[0] = ring_size(c, b, c->size[0], lst ? lst->rx_size : 0);
	c->size[1] = ring_size(c, b, c->size[1], lst ? lst->tx_size : 0);
	reason = circuit_pair_carve(a, b, c);
	if (reason)
		goto uncharge_b;
	circuit_init_ctrl(c);

	c->end[1].line = circuit_line_get(b);
	c->listener_ref = lst ? lst->ref : 0;
	reason = CIRCUIT_REASON_NO_MEMORY;
	if (!end_publish(&c->end[1]))
		goto uncharge_b;
	if (!end_publish(&c->end[0])) {
		end_unpublish(&c->end[1]);
		goto uncharge_a;
	}
	c->connected = true;
	if (lst)
		lst->queued++;
	circuit_meter_start(c);
	circuit_line_count(a, CIRCUIT_COUNT_CALLS_OUT);
	circuit_line_count(b, CIRCUIT_COUNT_CALLS_IN);
	ns = ktime_to_ns(ktime_sub(ktime_get(), c->start));
	circuit_line_setup(a->is_trunk ? b : a, ns);
	trace_circuit_connected(c, ns);
	circuit_event_call(c, CIRCUIT_EVENT_CONNECTED, CIRCUIT_REASON_NONE);
	/* The caller first: the called side has more to do before it can answer. */
	circuit_sig_owe(&c->end[0], CIRCUIT_OWE_SETUP, CIRCUIT_REASON_NONE);
	circuit_sig_owe(&c->end[1], CIRCUIT_OWE_SETUP, CIRCUIT_REASON_NONE);
	return CIRCUIT_REASON_NONE;

uncharge_b:
	circuit_uncharge(b, CIRCUIT_CIRCUITS, 1);
uncharge_a:
	circuit_uncharge(a, CIRCUIT_CIRCUITS, 1);
	return reason;
}

/*
 * The caller's address: one of its line's, of the family it calls, and that which it
 * claims, if it claims any. A far end of IPv4 would read another out of one of IPv6.
 */
static bool call_source(struct circuit *c, const struct in6_addr *src, const struct in6_addr *dst)
{
	struct circuit_line *line = c->end[0].line;
	struct circuit_addr *addr;

	list_for_each_entry(addr, &line->addrs, list)
		if (ipv6_addr_v4mapped(&addr->addr) == ipv6_addr_v4mapped(dst) &&
		    (ipv6_addr_any(src) || ipv6_addr_equal(&addr->addr, src))) {
			c->end[0].addr = addr->addr;
			return true;
		}
	return false;
}

/* Enter a call between IP addresses, with a port for the caller if it has none. */
static enum circuit_reason call_tuple(struct circuit *c)
{
	struct circuit_line *line = c->end[0].line;
	struct circuit_exchange *ex = line->ex;
	int low, high, tries, err;
	u32 span;

	c->tuple.src = c->end[0].addr;
	c->tuple.dst = c->end[1].addr;
	c->tuple.sport = c->end[0].port;
	c->tuple.dport = c->end[1].port;
	if (c->tuple.sport) {
		err = circuit_directory_add_tuple(ex, c);
	} else {
		inet_get_local_port_range(ex->net, &low, &high);
		span = high - low + 1;
		if (!line->next_port)
			line->next_port = get_random_u32();
		for (tries = 0; tries < CIRCUIT_PORT_TRIES; tries++) {
			c->tuple.sport = low + line->next_port++ % span;
			err = circuit_directory_add_tuple(ex, c);
			if (err != -EEXIST)
				break;
		}
		c->end[0].port = c->tuple.sport;
	}
	c->entered = !err;
	if (!err)
		return CIRCUIT_REASON_NONE;
	return err == -EEXIST ? CIRCUIT_REASON_TUPLE_IN_USE : CIRCUIT_REASON_NO_MEMORY;
}

/*
 * May a line have one more end of the operator's? They outlive its ends while they send what is
 * left.
 */
static enum circuit_reason call_legs(const struct circuit_line *line)
{
	const u64 *max = line->quota.limits.max;

	return line->nr_locals < max[CIRCUIT_CIRCUITS] + max[CIRCUIT_PENDING] ?
		CIRCUIT_REASON_NONE : CIRCUIT_REASON_QUOTA_CIRCUITS;
}

/* Call somebody over a trunk. */
static enum circuit_reason call_by_trunk(struct circuit *c, struct circuit_trunk *trunk)
{
	struct circuit_line *line = c->end[0].line;
	enum circuit_reason reason;

	if (!circuit_affords(line, CIRCUIT_PENDING))
		return CIRCUIT_REASON_QUOTA_PENDING;
	reason = call_legs(line);
	if (reason)
		return reason;
	if (c->type == CIRCUIT_SIG_DGRAM)
		return circuit_udp_dial(c, trunk) ? CIRCUIT_REASON_NO_MEMORY : CIRCUIT_REASON_NONE;
	reason = call_tuple(c);
	if (reason)
		return reason;
	return circuit_leg_dial(c, trunk) ? CIRCUIT_REASON_NO_MEMORY : CIRCUIT_REASON_NONE;
}

/**
 * circuit_query_of - what the policy would be asked of a call if it was placed now
 * @c: the call or circuit; its exchange is locked
 * @query: filled in
 */
void circuit_query_of(const struct circuit *c, struct circuit_query *query)
{
	const struct circuit_line *called = c->end[1].line;
	struct circuit_line *caller = c->end[0].line;

	if (!called && c->listener)
		called = c->listener->line;
	memset(query, 0, sizeof(*query));
	query->type = c->type;
	if (circuit_is_box(c)) {
		query->op = CIRCUIT_POLICY_OP_LISTEN;
		query->port = c->end[0].port;
		query->src = &caller->party;
		return;
	}
	if (caller->is_trunk) {
		query->op = CIRCUIT_POLICY_OP_EXPOSE;
	} else if (c->ip) {
		called = circuit_directory_addr(caller->ex, &c->end[1].addr);
		query->to = called ? CIRCUIT_POLICY_TO_LINE :
			    circuit_trunk_for(caller, &c->end[1].addr) ? CIRCUIT_POLICY_TO_TRUNK :
			    CIRCUIT_POLICY_TO_ELSEWHERE;
	} else {
		query->to = CIRCUIT_POLICY_TO_SERVICE;
	}
	if (!caller->is_trunk)
		query->src = &caller->party;
	if (called)
		query->dst = &called->party;
	query->saddr = c->end[0].addr;
	query->daddr = c->end[1].addr;
	query->port = c->end[1].port;
	query->hints = c->hints;
	query->uid = c->uid;
	query->cgroup = c->cgroup;
}

/* What the rule that has decided says of circuits. */
static void call_follow(struct circuit *c, const struct circuit_rule *rule)
{
	if (!rule)
		return;
	c->rule = rule->nr + 1;
	c->ring_max = rule->cfg.ring_max;
	circuit_meter_by(c, rule);
}

/* Have the policy decide about a call, of the line that is called by name if one is. */
static void call_decide(struct circuit *c, const struct circuit_line *called,
			struct circuit_decision *decision)
{
	struct circuit_query query;

	circuit_query_of(c, &query);
	if (called)
		query.dst = &called->party;
	circuit_decide(c->end[0].line->ex, &query, c->end[0].line, decision);
	call_follow(c, decision->rule);
}

/* Find whom a call to an IP address is for, and whether it may get there. */
static enum circuit_reason call_by_addr(struct circuit *c, const struct circuit_sig_call *req,
					struct circuit_listener **lst,
					struct circuit_decision *decision)
{
	struct circuit_line *caller = c->end[0].line, *line;
	struct circuit_exchange *ex = caller->ex;
	struct circuit_trunk *trunk = NULL;
	struct in6_addr src, dst;
	bool source;

	memcpy(&src, req->src, sizeof(src));
	memcpy(&dst, req->dst, sizeof(dst));
	c->end[1].addr = dst;
	source = call_source(c, &src, &dst);
	line = circuit_directory_addr(ex, &dst);
	if (!line)
		trunk = circuit_trunk_for(caller, &dst);
	call_decide(c, NULL, decision);
	switch (decision->verdict) {
	case CIRCUIT_POLICY_VERDICT_CONNECT:
		break;
	case CIRCUIT_POLICY_VERDICT_TRUNK:
		line = NULL;
		trunk = decision->rule->cfg.trunk;
		if (!circuit_trunk_leads_to(trunk, &dst))
			trunk = NULL;
		break;
	default:
		return decision->reason;
	}
	if (!line && !trunk)
		return CIRCUIT_REASON_NO_ADDRESS;
	if (!source)
		return CIRCUIT_REASON_NOT_YOURS;
	if (trunk)
		return call_by_trunk(c, trunk);
	if (!line->ready)
		return CIRCUIT_REASON_LINE_DOWN;
	*lst = circuit_directory_listener(ex, line, c->type, req->port, &dst,
					  jhash2((u32 *)&c->end[0].addr, 4, (u32)c->id));
	if (!*lst)
		return CIRCUIT_REASON_NO_LISTENER;
	/*
	 * Between two ports of UDP there may be any number: who sends first is a matter of who is
	 * faster.
	 */
	if (c->type == CIRCUIT_SIG_DGRAM)
		return CIRCUIT_REASON_NONE;
	return call_tuple(c);
}

static enum circuit_reason call_by_name(struct circuit *c, const struct circuit_sig_call *req,
					struct circuit_listener **lst,
					struct circuit_decision *decision)
{
	struct circuit_line *line = c->end[0].line;
	struct circuit_exchange *ex = line->ex;

	if (req->line[0]) {
		if (!circuit_name_ok(req->line))
			return CIRCUIT_REASON_INVALID;
		line = circuit_directory_line(ex, req->line);
	}
	call_decide(c, line, decision);
	if (decision->verdict != CIRCUIT_POLICY_VERDICT_CONNECT)
		return decision->reason;
	if (!line)
		return CIRCUIT_REASON_NO_LINE;
	if (!line->ready)
		return CIRCUIT_REASON_LINE_DOWN;
	*lst = circuit_directory_listener(ex, line, c->type, req->port, NULL, 0);
	return *lst ? CIRCUIT_REASON_NONE : CIRCUIT_REASON_NO_LISTENER;
}

/*
 * Open a socket of datagrams. Whom it may write to is decided for each of them; whether it may have
 * its port now, unless that is one of those for who only calls.
 */
static enum circuit_reason call_box(struct circuit *c, const struct circuit_sig_call *req,
				    struct circuit_decision *decision)
{
	struct circuit_line *line = c->end[0].line;
	enum circuit_reason reason;

	if (req->port || !req->src_port || req->line[0])
		return CIRCUIT_REASON_INVALID;
	reason = call_legs(line);
	if (reason)
		return reason;
	if (!circuit_affords(line, CIRCUIT_CIRCUITS))
		return CIRCUIT_REASON_QUOTA_CIRCUITS;
	if (req->src_port < CIRCUIT_PORT_EPHEMERAL) {
		call_decide(c, NULL, decision);
		if (decision->verdict != CIRCUIT_POLICY_VERDICT_CONNECT)
			return decision->reason;
	} else if (!circuit_may_call(line, ktime_get_ns())) {
		return CIRCUIT_REASON_RATE;
	}
	reason = circuit_box_open(c);
	return reason ?: circuit_connect(c, line->ex->trunk, NULL);
}

static struct circuit *call_alloc(struct circuit_line *line)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	int cpu;

	if (!c)
		return NULL;
	c->stats = alloc_percpu_gfp(struct circuit_stats, GFP_KERNEL_ACCOUNT);
	if (!c->stats) {
		kfree(c);
		return NULL;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(c->stats, cpu)->syncp);
	c->id = ++ex->next_circuit;
	c->start = ktime_get();
	c->end[0].line = circuit_line_get(line);
	c->end[0].hungup = true;
	c->end[1].nr = 1;
	c->end[1].hungup = true;
	INIT_LIST_HEAD(&c->wait);
	INIT_LIST_HEAD(&c->end[0].owed);
	INIT_LIST_HEAD(&c->end[1].owed);
	if (!xa_insert(&ex->circuits, c->id, c, GFP_KERNEL_ACCOUNT))
		return c;
	circuit_free(c);
	return NULL;
}

/*
 * What the exchange lacks is no reason for a program to go without a connection: a call to
 * an IP address is left to TCP then. But what the administrator does not allow is.
 */
static bool reason_is_final(enum circuit_reason reason)
{
	switch (reason) {
	case CIRCUIT_REASON_INVALID:
	case CIRCUIT_REASON_TUPLE_IN_USE:
	case CIRCUIT_REASON_QUOTA_CIRCUITS:
	case CIRCUIT_REASON_QUOTA_MEMORY:
	case CIRCUIT_REASON_QUOTA_PENDING:
	case CIRCUIT_REASON_RATE:
		return true;
	default:
		return false;
	}
}

/**
 * circuit_type_ok - is there such a kind of socket?
 * @type: the number of the kind
 * @ip: it is called by IP address, or calls one: as TCP, or as UDP
 */
bool circuit_type_ok(u32 type, bool ip)
{
	return type == CIRCUIT_SIG_STREAM ||
	       type == (ip ? CIRCUIT_SIG_DGRAM : CIRCUIT_SIG_SEQPACKET);
}

/**
 * circuit_call - place a call
 * @line: the calling line, ready, its exchange locked
 * @ref: the guest's name for the call
 * @req: what it asked for, a private copy
 * @reason: set if the call is refused or none of ours
 * @error: set if the call is refused with another errno than the reason's own
 *
 * Return: enum circuit_verdict, or -EPROTO if no honest guest asks that.
 */
int circuit_call(struct circuit_line *line, u32 ref, const struct circuit_sig_call *req,
		 enum circuit_reason *reason, u16 *error)
{
	struct circuit_decision decision = { .verdict = CIRCUIT_POLICY_VERDICT_CONNECT };
	struct circuit_listener *lst = NULL;
	bool ip = req->flags & CIRCUIT_SIG_IP;
	bool box = req->type == CIRCUIT_SIG_DGRAM && !ip;
	struct circuit *c;

	if (xa_load(&line->calls, ref))
		return -EPROTO;

	*reason = CIRCUIT_REASON_NO_MEMORY;
	c = call_alloc(line);
	if (!c)
		return ip ? CIRCUIT_VERDICT_NATIVE : CIRCUIT_VERDICT_REFUSED;
	c->ref = ref;
	c->type = req->type;
	c->ip = ip;
	c->size[0] = req->tx_size;
	c->size[1] = req->rx_size;
	c->end[0].port = req->src_port;
	c->end[1].port = req->port;
	c->hints = req->hints;
	c->uid = req->uid;
	c->cgroup = req->cgroup;
	trace_circuit_call(c, req->line);

	if (box) {
		*reason = call_box(c, req, &decision);
		if (*reason)
			goto refused;
		return CIRCUIT_VERDICT_CONNECTED;
	}
	*reason = CIRCUIT_REASON_INVALID;
	/* To TCP, port 0 is one where nobody listens. */
	if (!circuit_type_ok(req->type, ip) || (!req->port && !ip))
		goto refused;
	if (ip && (req->port > U16_MAX || req->src_port > U16_MAX))
		goto refused;
	/* A socket of UDP that sends has a port. */
	if (req->type == CIRCUIT_SIG_DGRAM &&
	    !(req->src_port && line->features & CIRCUIT_SIG_F_UDP))
		goto refused;
	*reason = ip ? call_by_addr(c, req, &lst, &decision) :
		  call_by_name(c, req, &lst, &decision);
	if (*reason && decision.verdict != CIRCUIT_POLICY_VERDICT_DROP)
		goto refused;

	if (lst && lst->queued < lst->backlog && list_empty(&lst->waiting)) {
		*reason = circuit_connect(c, lst->line, lst);
		if (*reason)
			goto refused;
		return CIRCUIT_VERDICT_CONNECTED;
	}
	*reason = CIRCUIT_REASON_QUOTA_PENDING;
	if (!circuit_charge(line, CIRCUIT_PENDING, 1))
		goto refused;
	*reason = CIRCUIT_REASON_NO_MEMORY;
	if (xa_insert(&line->calls, ref, c, GFP_KERNEL_ACCOUNT)) {
		circuit_uncharge(line, CIRCUIT_PENDING, 1);
		goto refused;
	}
	if (lst) {
		c->listener = lst;
		list_add_tail(&c->wait, &lst->waiting);
	} else if (decision.verdict == CIRCUIT_POLICY_VERDICT_DROP) {
		circuit_call_unanswered(c);
	}
	return CIRCUIT_VERDICT_WAITS;

refused:
	if (decision.verdict == CIRCUIT_POLICY_VERDICT_REJECT ||
	    (box && decision.verdict != CIRCUIT_POLICY_VERDICT_CONNECT))
		*error = decision.error;
	if (decision.verdict == CIRCUIT_POLICY_VERDICT_REJECT ||
	    decision.verdict == CIRCUIT_POLICY_VERDICT_DROP || box)
		ip = false;
	ip = ip && !reason_is_final(*reason);
	if (ip)
		call_native(c, *reason);
	else
		call_refused(c, *reason);
	circuit_free(c);
	return ip ? CIRCUIT_VERDICT_NATIVE : CIRCUIT_VERDICT_REFUSED;
}

/**
 * circuit_call_answered - a call over a trunk has got through
 * @c: the call, with a leg; its exchange is locked
 */
void circuit_call_answered(struct circuit *c)
{
	struct circuit_line *line = c->end[0].line;
	enum circuit_reason reason;

	/* The policy may have changed its mind, and the guest not have heard of it yet. */
	if (c->end[0].owe & CIRCUIT_OWE_REFUSED)
		return;
	reason = circuit_connect(c, line->ex->trunk, NULL);
	if (reason) {
		circuit_refuse(c, reason);
		return;
	}
	xa_erase(&line->calls, c->ref);
	circuit_uncharge(line, CIRCUIT_PENDING, 1);
}

/**
 * circuit_call_failed - a call over a trunk has not got through
 * @c: the call, with a leg; its exchange is locked
 * @reason: why
 * @error: what a program would have been told: a positive errno
 */
void circuit_call_failed(struct circuit *c, enum circuit_reason reason, int error)
{
	if (c->end[0].owe & CIRCUIT_OWE_REFUSED)
		return;
	c->end[0].error = error;
	circuit_refuse(c, reason);
}

/**
 * circuit_call_from_trunk - the world calls a line
 * @line: the line, its exchange locked
 * @port: the port called
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_DGRAM
 * @from: the caller
 * @addr: its address
 * @src_port: its port
 *
 * Return: 0, or a negative errno if there is nobody to answer.
 */
int circuit_call_from_trunk(struct circuit_line *line, u32 port, u32 type,
			    struct circuit_local *from, const struct in6_addr *addr, u16 src_port)
{
	struct circuit_query query = {
		.op = CIRCUIT_POLICY_OP_EXPOSE,
		.type = type,
		.dst = &line->party,
		.saddr = *addr,
		.port = port,
	};
	struct circuit_exchange *ex = line->ex;
	struct circuit_decision decision;
	struct circuit_listener *lst;
	enum circuit_reason reason;
	struct circuit_addr *to;
	struct circuit *c;

	c = call_alloc(ex->trunk);
	if (!c)
		return -ENOMEM;
	c->ref = c->id;
	c->type = type;
	c->ip = true;
	if (type == CIRCUIT_SIG_DGRAM)
		c->size[0] = c->size[1] = CIRCUIT_DATAGRAM_RING;
	c->end[0].addr = *addr;
	c->end[0].port = src_port;
	c->end[1].port = port;
	trace_circuit_call(c, line->name);

	reason = CIRCUIT_REASON_NOT_YOURS;
	list_for_each_entry(to, &line->addrs, list)
		if (ipv6_addr_v4mapped(&to->addr) == ipv6_addr_v4mapped(addr))
			break;
	if (list_entry_is_head(to, &line->addrs, list))
		goto refused;
	c->end[1].addr = to->addr;
	query.daddr = to->addr;
	circuit_decide(ex, &query, NULL, &decision);
	call_follow(c, decision.rule);
	reason = decision.reason;
	if (decision.verdict != CIRCUIT_POLICY_VERDICT_CONNECT)
		goto refused;
	reason = CIRCUIT_REASON_LINE_DOWN;
	if (!line->ready)
		goto refused;
	reason = CIRCUIT_REASON_NO_LISTENER;
	lst = circuit_directory_listener(ex, line, c->type, port, &to->addr,
					 jhash2((const u32 *)addr, 4, src_port));
	if (!lst)
		goto refused;
	reason = call_legs(line);
	if (reason)
		goto refused;
	/* Flows of datagrams are told apart by who has them. */
	reason = type == CIRCUIT_SIG_STREAM ? call_tuple(c) : CIRCUIT_REASON_NONE;
	if (reason)
		goto refused;
	circuit_local_join(from, c, 0, line);
	if (lst->queued < lst->backlog && list_empty(&lst->waiting)) {
		reason = circuit_connect(c, line, lst);
		if (reason)
			goto refused;
		return 0;
	}
	reason = CIRCUIT_REASON_NO_MEMORY;
	if (xa_insert(&ex->trunk->calls, c->ref, c, GFP_KERNEL_ACCOUNT))
		goto refused;
	circuit_charge(ex->trunk, CIRCUIT_PENDING, 1);
	c->listener = lst;
	list_add_tail(&c->wait, &lst->waiting);
	return 0;

refused:
	call_refused(c, reason);
	circuit_free(c);
	return -circuit_reason_errno(reason);
}

/**
 * circuit_cancel - forget a call
 * @line: the calling line, its exchange locked
 * @ref: the guest's name for the call, perhaps answered by now
 */
void circuit_cancel(struct circuit_line *line, u32 ref)
{
	struct circuit *c = xa_load(&line->calls, ref);

	if (!c)
		return;
	trace_circuit_cancel(c);
	if (c->end[0].owe)
		circuit_sig_forget(&c->end[0]);
	else
		circuit_drop(c);
}

/**
 * circuit_cut_off - tell an end that its circuit was cut off
 * @end: the end, not hung up; its exchange is locked
 * @reason: why
 */
void circuit_cut_off(struct circuit_end *end, enum circuit_reason reason)
{
	circuit_line_count(end->line, CIRCUIT_COUNT_RESETS);
	trace_circuit_reset(circuit_of_end(end), end->nr, reason);
	circuit_event_call(circuit_of_end(end), CIRCUIT_EVENT_RESET, reason);
	circuit_sig_owe(end, CIRCUIT_OWE_RESET, reason);
}

/**
 * circuit_marks - how often something that an end had to tell was passed on
 * @c: the circuit
 * @nr: the end
 */
u64 circuit_marks(const struct circuit *c, unsigned int nr)
{
	unsigned int start;
	u64 sum = 0, n;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct circuit_stats *stats = per_cpu_ptr(c->stats, cpu);

		do {
			start = u64_stats_fetch_begin(&stats->syncp);
			n = u64_stats_read(&stats->marks[nr]);
		} while (u64_stats_fetch_retry(&stats->syncp, start));
		sum += n;
	}
	return sum;
}

/**
 * circuit_hangup - one end is through with its circuit
 * @end: the end; its exchange is locked
 * @reason: not CIRCUIT_REASON_NONE if the far end must be told that it was cut off
 *
 * The end's number is free afterwards, and the circuit may be.
 */
void circuit_hangup(struct circuit_end *end, enum circuit_reason reason)
{
	struct circuit_end *far = circuit_far_end(end);
	struct circuit *c = circuit_of_end(end);

	/* Whoever leaves without a word to the far end has cut it off. */
	if (!reason && !circuit_end_left(end))
		reason = CIRCUIT_REASON_PEER_RESET;
	circuit_line_add(end->line, CIRCUIT_COUNT_BYTES_OUT, circuit_end_bytes(end));
	circuit_line_add(end->line, CIRCUIT_COUNT_BYTES_IN, circuit_end_bytes(far));
	end_unpublish(end);
	circuit_meter_stop(c);
	circuit_sig_forget(end);
	trace_circuit_hangup(c, end->nr, reason);
	if (!far->hungup) {
		if (far->line->is_trunk && c->local->ops->hungup)
			c->local->ops->hungup(c->local);
		/*
		 * What it has said there, it has told by a mark, most likely. But with its number a
		 * mark is lost that has not been passed on; a guest in which a process has written
		 * that the far end has closed makes none; and a local end has no other way.
		 */
		if (reason)
			circuit_cut_off(far, reason);
		else if (!READ_ONCE(end->told) || far->line->is_trunk)
			circuit_end_notify(far);
		return;
	}
	circuit_event_call(c, CIRCUIT_EVENT_RELEASED, reason);
	if (!c->held)
		circuit_free(c);
}

/**
 * circuit_unhold - a circuit's memory is no longer in use by a socket of the host's
 * @c: a circuit that is held; its exchange is locked
 *
 * If both ends have hung up meanwhile, it is freed.
 */
void circuit_unhold(struct circuit *c)
{
	c->held = false;
	if (c->end[0].hungup && c->end[1].hungup)
		circuit_free(c);
}

/**
 * circuit_listener_find - a guest's listener
 * @line: the guest's line, its exchange locked
 * @ref: the guest's name for the listener
 *
 * Return: the listener or NULL.
 */
struct circuit_listener *circuit_listener_find(struct circuit_line *line, u32 ref)
{
	return xa_load(&line->listeners, ref);
}

/**
 * circuit_listener_serve - connect calls that wait, as far as the backlog allows
 * @lst: the listener; its exchange is locked
 *
 * Messages may be sent to its guest: an answer that is due has to be sent before.
 */
void circuit_listener_serve(struct circuit_listener *lst)
{
	while (lst->queued < lst->backlog && !list_empty(&lst->waiting)) {
		struct circuit *c = list_first_entry(&lst->waiting, struct circuit, wait);
		enum circuit_reason reason = circuit_connect(c, lst->line, lst);

		if (reason) {
			circuit_refuse(c, reason);
			continue;
		}
		list_del_init(&c->wait);
		c->listener = NULL;
		xa_erase(&c->end[0].line->calls, c->ref);
		circuit_uncharge(c->end[0].line, CIRCUIT_PENDING, 1);
	}
}

/**
 * circuit_listen - publish a port, or change the backlog of one
 * @line: the line, ready, its exchange locked
 * @ref: the guest's name for the listener
 * @req: what it asked for, a private copy
 * @reason: set if the answer is no
 *
 * Calls that a greater backlog has room for are left to circuit_listener_serve().
 *
 * Return: 0, -EADDRINUSE, -ENOBUFS, -EINVAL, -ENOMEM or what the policy says with a
 * @reason, or -EPROTO if no honest guest asks that.
 */
int circuit_listen(struct circuit_line *line, u32 ref, const struct circuit_sig_listen *req,
		   enum circuit_reason *reason)
{
	struct circuit_query query = {
		.op = CIRCUIT_POLICY_OP_LISTEN,
		.type = req->type,
		.src = &line->party,
		.port = req->port,
	};
	struct circuit_decision decision;
	struct circuit_listener *lst;
	int err;

	*reason = CIRCUIT_REASON_INVALID;
	if (!circuit_type_ok(req->type, req->flags & CIRCUIT_SIG_IP) || !req->port || !req->backlog)
		return -EINVAL;
	if (req->flags & CIRCUIT_SIG_IP && req->port > U16_MAX)
		return -EINVAL;
	if (req->type == CIRCUIT_SIG_DGRAM && !(line->features & CIRCUIT_SIG_F_UDP))
		return -EINVAL;

	lst = circuit_listener_find(line, ref);
	if (lst) {
		if (lst->key.type != req->type || lst->key.port != req->port || lst->flags != req->flags ||
		    memcmp(&lst->addr, req->addr, sizeof(lst->addr)))
			return -EPROTO;
		lst->backlog = min_t(u32, req->backlog, CIRCUIT_BACKLOG_MAX);
		lst->tx_size = req->tx_size;
		lst->rx_size = req->rx_size;
		*reason = CIRCUIT_REASON_NONE;
		return 0;
	}

	memcpy(&query.daddr, req->addr, sizeof(query.daddr));
	circuit_decide(line->ex, &query, NULL, &decision);
	*reason = decision.reason;
	if (decision.verdict != CIRCUIT_POLICY_VERDICT_CONNECT)
		return -decision.error;
	*reason = CIRCUIT_REASON_QUOTA_LISTENERS;
	if (!circuit_affords(line, CIRCUIT_LISTENERS))
		return -ENOBUFS;
	*reason = CIRCUIT_REASON_NO_MEMORY;
	lst = kzalloc(sizeof(*lst), GFP_KERNEL_ACCOUNT);
	if (!lst)
		return -ENOMEM;
	lst->key.line = line->id;
	lst->key.type = req->type;
	lst->key.port = req->port;
	lst->key.ip = !!(req->flags & CIRCUIT_SIG_IP);
	memcpy(&lst->addr, req->addr, sizeof(lst->addr));
	lst->flags = req->flags;
	lst->line = line;
	lst->ref = ref;
	lst->backlog = min_t(u32, req->backlog, CIRCUIT_BACKLOG_MAX);
	lst->tx_size = req->tx_size;
	lst->rx_size = req->rx_size;
	INIT_LIST_HEAD(&lst->waiting);
	err = xa_insert(&line->listeners, ref, lst, GFP_KERNEL_ACCOUNT);
	if (err)
		goto free;
	err = circuit_directory_add_listener(line->ex, lst);
	if (err)
		goto erase;
	circuit_charge(line, CIRCUIT_LISTENERS, 1);
	*reason = CIRCUIT_REASON_NONE;
	return 0;

erase:
	xa_erase(&line->listeners, ref);
free:
	kfree(lst);
	if (err != -EEXIST)
		return -ENOMEM;
	*reason = CIRCUIT_REASON_PORT_IN_USE;
	return -EADDRINUSE;
}

/**
 * circuit_unlisten - withdraw a port
 * @lst: the listener; its exchange is locked
 * @reason: what calls that wait for it are told
 *
 * Calls that were alerted stay connected: the guest has them.
 */
void circuit_unlisten(struct circuit_listener *lst, enum circuit_reason reason)
{
	struct circuit_line *line = lst->line;
	struct circuit *c, *next;

	circuit_directory_del_listener(line->ex, lst);
	xa_erase(&line->listeners, lst->ref);
	circuit_uncharge(line, CIRCUIT_LISTENERS, 1);
	list_for_each_entry_safe(c, next, &lst->waiting, wait)
		circuit_refuse(c, reason);
	kfree(lst);
}

/**
 * circuit_answer - calls have left a listener's accept queue
 * @lst: the listener; its exchange is locked
 * @count: how many
 *
 * Return: 0, or -EPROTO if there were not so many.
 */
int circuit_answer(struct circuit_listener *lst, u32 count)
{
	if (count > lst->queued)
		return -EPROTO;
	lst->queued -= count;
	circuit_listener_serve(lst);
	return 0;
}
