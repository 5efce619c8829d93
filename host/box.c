// SPDX-License-Identifier: GPL-2.0
/*
 * Boxes: guests' sockets of datagrams.
 *
 * Such a socket has one circuit, to the operator, however many others it talks to. The box is the
 * operator's end of it. What a guest writes there are datagrams with whom they are for; the box's
 * job takes them out of the ring, one by one, and puts each into the ring of the box that is
 * published there, with whom it is from: the box's own line and port, which no guest can choose.
 * What does not fit is lost, and counted where it should have gone.
 *
 * The policy is asked once for each flow, which is a box and whom it writes to. Whoever was written
 * to may answer, if he may be called. What it has said is kept until anything changes that it may
 * depend on, the other box closes, or another flow needs the place; that there is none is not kept.
 * A datagram that may not go, or that nobody waits for, is answered with an error, as ICMP would;
 * not more often than ERRORS times a second. A flow whose rule limits bytes keeps the rule's
 * meters: what is too much for them is lost.
 *
 * A guest that writes one datagram after the other, and hears nothing, is not waited for with each:
 * its doorbell is asked for when it will have written as many as come within circuit_pace_delay(),
 * or a timer looks. As a network card does; without that, whoever is faster than the guest would be
 * woken by every one of them.
 *
 * What a guest has written before it hung up still goes out; nothing gets in then.
 *
 * What a box writes to another arrives in that order. The box's job owns @rx, the flows and the
 * timer, which it alone starts, with a reference of the box that the timer drops, or whoever stops
 * it: each turn when it begins, and for good when the box closes. It is stopped without any lock.
 * @tx is written by the works of any number of boxes, and has a lock, outside of the exchange's.
 */
#include <linux/jhash.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include "host.h"
#include "trace.h"

/* Datagrams, and bytes, before others get their turn. */
#define QUANTUM		256
#define QUANTUM_BYTES	(256u << 10)
/* Flows that are remembered, a power of two. */
#define FLOWS		64
#define ERRORS		100
/* Flows that are looked up before others get their turn. */
#define LOOKUPS		16
/* Bytes that are left where they are for more to come. */
#define BURST		(32u << 10)

/**
 * struct box_flow - where datagrams for somebody go
 * @line: whom, as in struct circuit_datagram
 * @port: at which port
 * @switches: the exchange's when this was found out
 * @meters: of the rule that says so, referenced, or NULL; changes under the exchange's lock
 * @way: which of them counts it
 * @to: the box, or NULL; changes under the exchange's lock, read under RCU by the work
 * @node: in to->sources, under the exchange's lock
 */
struct box_flow {
	char				line[CIRCUIT_NAME_SIZE];
	u32				port;
	u32				switches;
	struct circuit_meters		*meters;
	unsigned int			way;
	struct circuit_box __rcu	*to;
	struct hlist_node		node;
};

/**
 * struct circuit_box - one box
 * @local: must be first; see local.c
 * @service: where it is published
 * @published: it is; under the exchange's lock
 * @sources: flows that lead here; likewise
 * @talks: the rings are there
 * @lingers: the guest has hung up
 * @last: index after the last byte that it had written then
 * @lookups: of the turn
 * @told: the box that the turn has put something into last, whose guest wants to know, referenced,
 *	or NULL
 * @pace: of what the guest writes
 * @timer: looks though there was no doorbell; has a reference
 * @seed: of the hash of flows
 * @heard: it was told something since it was last waited for; without a lock
 * @lock: of local.tx, and of the next four
 * @open: it takes datagrams
 * @broken: the guest has broken a rule of @local.tx
 * @asked: for leave to put more into the ring; nothing is until there is a kick
 * @lost: how many it has not
 * @errors: limits what is answered
 * @flows: see above
 */
struct circuit_box {
	struct circuit_local	local;
	struct circuit_listener	service;
	bool			published;
	struct hlist_head	sources;
	bool			talks;
	bool			lingers;
	u32			last;
	u32			lookups;
	struct circuit_box	*told;
	struct circuit_pace	pace;
	struct hrtimer		timer;
	u32			seed;
	bool			heard;
	struct mutex		lock;
	bool			open;
	bool			broken;
	bool			asked;
	u64			lost;
	struct ratelimit_state	errors;
	struct box_flow		flows[FLOWS];
};

static struct circuit_box *box_of(struct circuit_local *local)
{
	return container_of(local, struct circuit_box, local);
}

/* --- flows ----------------------------------------------------------------------------------- */

/* The exchange is locked. */
static void flow_forget(struct box_flow *flow)
{
	if (rcu_access_pointer(flow->to))
		hlist_del(&flow->node);
	RCU_INIT_POINTER(flow->to, NULL);
	circuit_meters_put(flow->meters);
	WRITE_ONCE(flow->meters, NULL);
}

/* May @from write to @port of @to's, or of nobody's if that is NULL? */
static bool may_call(const struct circuit_box *from, const struct circuit_line *to, u32 port,
		     bool count, struct circuit_decision *decision)
{
	const struct circuit *c = from->local.c;
	struct circuit_query query = {
		.op = CIRCUIT_POLICY_OP_CALL,
		.to = CIRCUIT_POLICY_TO_SERVICE,
		.type = CIRCUIT_SIG_DGRAM,
		.src = &from->local.line->party,
		.dst = to ? &to->party : NULL,
		.port = port,
		.hints = c->hints,
		.uid = c->uid,
		.cgroup = c->cgroup,
	};

	if (count)
		circuit_decide(from->local.ex, &query, from->local.line, decision);
	else
		circuit_judge(from->local.ex, &query, decision);
	return decision->verdict == CIRCUIT_POLICY_VERDICT_CONNECT;
}

/*
 * Has a box written to another, and not to so many since that it is forgotten? The exchange is
 * locked.
 */
static bool has_written(const struct circuit_box *from, const struct circuit_box *to)
{
	unsigned int i;

	for (i = 0; i < FLOWS; i++)
		if (rcu_access_pointer(from->flows[i].to) == to)
			return true;
	return false;
}

/*
 * Find out where a flow leads. Returns 0, a positive errno for who has written there, or -1 if he
 * is not to be told anything.
 */
static int flow_find(struct circuit_box *box, struct box_flow *flow)
{
	struct circuit_exchange *ex = box->local.ex;
	struct circuit_line *own = box->local.line, *line;
	struct circuit_listener *lst = NULL;
	struct circuit_decision decision, back;
	const struct circuit_rule *rule;
	struct circuit_box *to = NULL;
	bool answers, may;

	lockdep_assert_held(&ex->lock);
	/* A line that goes has no name any more, and is in no group. */
	if (box->local.reset || !own->ready)
		return -1;
	line = flow->line[0] ? circuit_directory_line(ex, flow->line) : own;
	if (line && line->ready)
		lst = circuit_directory_listener(ex, line, CIRCUIT_SIG_DGRAM, flow->port, NULL, 0);
	if (lst)
		to = container_of(lst, struct circuit_box, service);
	/* An answer is no call that would count, or fail. */
	answers = to && has_written(to, box) &&
		  may_call(to, own, box->service.key.port, false, &back);
	may = may_call(box, line, flow->port, !answers, &decision);
	if (!may && !answers)
		return decision.verdict == CIRCUIT_POLICY_VERDICT_DROP ? -1 : decision.error;
	if (!line || !line->ready)
		return EHOSTUNREACH;
	if (!to)
		return ECONNREFUSED;
	flow->switches = ex->switches;
	rule = may ? decision.rule : back.rule;
	flow->way = !may;
	WRITE_ONCE(flow->meters, rule ? circuit_meters_get(rule->meters) : NULL);
	rcu_assign_pointer(flow->to, to);
	hlist_add_head(&flow->node, &to->sources);
	return 0;
}

/* Has the rule that lets a flow go enough left for a datagram? */
static bool flow_has(struct circuit_box *box, struct box_flow *flow, u32 bytes)
{
	bool has = true;

	if (likely(!READ_ONCE(flow->meters)))
		return true;
	mutex_lock(&box->local.ex->lock);
	if (flow->meters)
		has = circuit_meter_take(&flow->meters->meter[flow->way], bytes);
	mutex_unlock(&box->local.ex->lock);
	if (!has)
		box->lookups++;
	return has;
}

/*
 * Returns the box that a datagram is for, referenced, or NULL; @error as flow_find() says, 0 if
 * there is one.
 */
static struct circuit_box *box_target(struct circuit_box *box, const struct circuit_datagram *head,
				      int *error)
{
	struct circuit_exchange *ex = box->local.ex;
	struct box_flow *flow;
	struct circuit_box *to;
	u64 deciding;

	flow = &box->flows[jhash(head->line, sizeof(head->line), head->port ^ box->seed) %
			   FLOWS];
	if (likely(flow->switches == READ_ONCE(ex->switches) && flow->port == head->port &&
		   !memcmp(flow->line, head->line, sizeof(flow->line)))) {
		rcu_read_lock();
		to = rcu_dereference(flow->to);
		if (to && !kref_get_unless_zero(&to->local.ref))
			to = NULL;
		rcu_read_unlock();
		if (likely(to))
			goto found;
	}
	box->lookups++;
	mutex_lock(&ex->lock);
	flow_forget(flow);
	memcpy(flow->line, head->line, sizeof(flow->line));
	flow->port = head->port;
	deciding = ex->deciding;
	*error = flow_find(box, flow);
	circuit_turn_charge_part(box->local.turn, CIRCUIT_USE_POLICY, ex->deciding - deciding);
	to = rcu_dereference_protected(flow->to, lockdep_is_held(&ex->lock));
	if (to)
		circuit_local_get(&to->local);
	mutex_unlock(&ex->lock);
	if (!to)
		return NULL;
found:
	if (likely(flow_has(box, flow, circuit_datagram_bytes(head->len))))
		return to;
	circuit_local_put(&to->local);
	*error = -1;
	return NULL;
}

/* --- datagrams ------------------------------------------------------------------------------- */

/* Copy from one ring to another, neither of which need wrap where the other does. */
static void ring_copy(struct circuit_tx *tx, u32 to, const struct circuit_rx *rx, u32 from, u32 len)
{
	u32 n;

	for (; len; len -= n, to += n, from += n) {
		struct circuit_span t = circuit_span(tx->size, tx->tail + to, len);
		struct circuit_span r = circuit_rx_span(rx, from, len);

		n = min(t.len[0], r.len[0]);
		memcpy(tx->data + t.off[0], rx->data + r.off[0], n);
	}
}

/*
 * Put a datagram into a box: @head, and @head->len bytes that are @skip behind what was read of
 * @rx. Returns true if its guest wants to be told.
 */
static bool box_deliver(struct circuit_box *to, const struct circuit_datagram *head,
			const struct circuit_rx *rx, u32 skip)
{
	struct circuit_local *local = &to->local;
	u32 need = circuit_datagram_bytes(head->len), allowed;
	bool notify = false;
	int space;

	mutex_lock(&to->lock);
	if (!to->open)
		goto unlock;
	space = circuit_tx_space(&local->tx);
	allowed = circuit_local_allowed(local, local->nr);
	if (unlikely(allowed < need && !to->asked)) {
		to->asked = true;	/* before there may be an answer */
		allowed = circuit_local_want(local, local->nr, need, need);
		if (allowed >= need)
			to->asked = false;
	}
	if (unlikely(space < (int)need || allowed < need)) {
		WRITE_ONCE(local->tx.prod->lost, ++to->lost);
		if (space < 0) {
			WRITE_ONCE(to->broken, true);
			circuit_local_kick(local);
		}
		goto unlock;
	}
	circuit_datagram_head(&local->tx, head);
	if (head->len)
		ring_copy(&local->tx, sizeof(*head), rx, skip, head->len);
	circuit_local_used(local, local->nr, need, allowed);
	WRITE_ONCE(to->heard, true);
	notify = circuit_tx_publish(&local->tx, need);
unlock:
	mutex_unlock(&to->lock);
	return notify;
}

/*
 * The turn goes on with somebody else, or has ended: tell the guest that something was put there
 * for.
 */
static void box_tell(struct circuit_box *box)
{
	struct circuit_box *to = box->told;

	if (!to)
		return;
	box->told = NULL;
	mutex_lock(&to->lock);
	if (to->open)
		circuit_end_notify(circuit_far_end(&to->local.c->end[to->local.nr]));
	mutex_unlock(&to->lock);
	circuit_local_put(&to->local);
}

/*
 * Put a datagram into a box, of which the caller's reference is consumed, and see that its guest
 * learns of it.
 */
static void box_send(struct circuit_box *box, struct circuit_box *to,
		     const struct circuit_datagram *head, const struct circuit_rx *rx, u32 skip)
{
	bool notify = box_deliver(to, head, rx, skip);

	if (box->told && box->told != to)
		box_tell(box);
	if (notify && !box->told)
		box->told = to;
	else
		circuit_local_put(&to->local);
}

/* Tell a guest what became of a datagram, as ICMP would. */
static void box_error(struct circuit_box *box, const struct circuit_datagram *head, int error)
{
	struct circuit_datagram answer = *head;

	if (!__ratelimit(&box->errors))
		return;
	if (!answer.line[0])
		memcpy(answer.line, box->local.line->name, sizeof(answer.line));
	answer.len = 0;
	answer.flags = CIRCUIT_DATAGRAM_ERROR;
	answer.error = error;
	circuit_local_get(&box->local);
	box_send(box, box, &answer, NULL, 0);
}

/* Look at the head of the next datagram. */
static int box_next(const struct circuit_box *box, struct circuit_datagram *head)
{
	if (circuit_rx_datagram(&box->local.rx, head) || head->flags || head->error || !head->port)
		return -EPROTO;
	if (head->line[0] ? !circuit_name_ok(head->line) :
			    !!memchr_inv(head->line, 0, sizeof(head->line)))
		return -EPROTO;
	return 0;
}

/* Switch it. */
static void box_switch(struct circuit_box *box, const struct circuit_datagram *head)
{
	struct circuit_datagram out = {};
	struct circuit_box *to;
	int error = -1;

	to = box_target(box, head, &error);
	if (likely(to)) {
		out.len = head->len;
		out.port = box->service.key.port;
		memcpy(out.line, box->local.line->name, sizeof(out.line));
		box_send(box, to, &out, &box->local.rx, sizeof(*head));
	} else if (error > 0) {
		box_error(box, head, error);
	}
}

/* --- work ------------------------------------------------------------------------------------ */

/* The box is closed to its guest and others. The exchange is locked. */
static void box_withdraw(struct circuit_local *local)
{
	struct circuit_box *box = box_of(local);
	struct hlist_node *next;
	struct box_flow *flow;

	if (!box->published)
		return;
	box->published = false;
	circuit_directory_del_listener(local->ex, &box->service);
	circuit_uncharge(box->service.line, CIRCUIT_LISTENERS, 1);
	hlist_for_each_entry_safe(flow, next, &box->sources, node)
		flow_forget(flow);
}

static enum hrtimer_restart box_timer(struct hrtimer *timer)
{
	struct circuit_box *box = container_of(timer, struct circuit_box, timer);
	u64 start = local_clock(), took;

	circuit_local_kick(&box->local);
	took = local_clock() - start;
	circuit_account_interrupt(box->local.account, CIRCUIT_USE_DATAGRAMS, took);
	circuit_share_charge(&box->local.account->share, took);
	circuit_local_put(&box->local);
	return HRTIMER_NORESTART;
}

static void box_timer_stop(struct circuit_box *box)
{
	if (hrtimer_cancel(&box->timer))
		circuit_local_put(&box->local);
}

/* Nobody finds it any more, and nobody has anything to say to it. */
static void box_close(struct circuit_box *box)
{
	struct circuit_local *local = &box->local;
	struct circuit_exchange *ex = local->ex;
	unsigned int i;

	box_timer_stop(box);
	mutex_lock(&box->lock);
	box->open = false;
	mutex_unlock(&box->lock);
	mutex_lock(&ex->lock);
	for (i = 0; i < FLOWS; i++)
		flow_forget(&box->flows[i]);
	box_withdraw(local);
	circuit_local_part(local);
	mutex_unlock(&ex->lock);
	/* Not by whoever drops the last reference, which may be an interrupt. */
	local->ex = NULL;
	circuit_exchange_put(ex);
}

static void box_hangup(struct circuit_box *box, enum circuit_reason reason)
{
	struct circuit_local *local = &box->local;
	struct circuit_exchange *ex = circuit_exchange_get(local->ex);

	box->talks = false;
	mutex_lock(&box->lock);
	box->open = false;
	mutex_unlock(&box->lock);
	circuit_rx_close(&local->rx);
	circuit_tx_flag(&local->tx, reason ? CIRCUIT_TX_RST : CIRCUIT_TX_FIN, 0);
	mutex_lock(&ex->lock);
	box_withdraw(local);
	circuit_hangup(&local->c->end[local->nr], reason);
	mutex_unlock(&ex->lock);
	circuit_exchange_put(ex);
	box_close(box);
}

static void box_violation(struct circuit_box *box)
{
	circuit_line_count(box->local.line, CIRCUIT_COUNT_VIOLATIONS);
	box_hangup(box, CIRCUIT_REASON_VIOLATION);
}

/* The guest has closed its socket: this is what it has to say. Nobody has anything to say to it. */
static void box_last_words(struct circuit_box *box, int avail)
{
	mutex_lock(&box->lock);
	box->open = false;
	mutex_unlock(&box->lock);
	box->last = box->local.rx.head + avail;
	box->lingers = true;
}

/* How much there is to read, or -EPROTO. */
static int box_avail(struct circuit_box *box)
{
	struct circuit_rx *rx = &box->local.rx;
	int flags, avail;

	if (box->lingers)
		return box->last - rx->head;
	/* Before the data: after it has hung up there is no more of it. */
	flags = smp_load_acquire(&circuit_far_end(&box->local.c->end[box->local.nr])->hungup);
	flags |= circuit_rx_flags(rx);
	avail = circuit_rx_avail(rx);
	if (flags < 0 || avail < 0)
		return -EPROTO;
	if (flags)
		box_last_words(box, avail);
	return avail;
}

/**
 * circuit_pace_woken - somebody was woken to look
 * @pace: what is known of who writes
 * @ns: how long that has taken
 */
void circuit_pace_woken(struct circuit_pace *pace, u64 ns)
{
	pace->wakes = (7 * pace->wakes + min_t(u64, ns, CIRCUIT_PACE_DELAY_MAX)) / 8;
}

/**
 * circuit_pace_delay - for how long to leave a datagram where it is
 * @pace: what is known of who writes
 *
 * A few times as long as one waits who is looked at as soon as possible: what being woken costs on
 * this machine, and with what else it has to do.
 *
 * Return: ns.
 */
u32 circuit_pace_delay(const struct circuit_pace *pace)
{
	return clamp(CIRCUIT_PACE_WAKES * pace->wakes, CIRCUIT_PACE_DELAY_MIN,
		     CIRCUIT_PACE_DELAY_MAX);
}

/**
 * circuit_pace_ahead - there is nothing left to read: for how many datagrams to wait
 * @pace: what is known of who writes them
 * @answered: he has been told something since the last time
 *
 * Now and then it is tried whether more come within circuit_pace_delay(): how far they are apart
 * when each is looked at tells nothing about that. If as many come as were waited for it is more
 * the next time, otherwise as many as have come.
 *
 * Return: so many, at least 1.
 */
u32 circuit_pace_ahead(struct circuit_pace *pace, bool answered)
{
	if (answered || !pace->ahead) {
		pace->alone = 0;
		pace->ahead = 1;
	} else if (pace->ahead > 1) {
		if (pace->count >= pace->ahead)
			pace->ahead = min(2 * pace->ahead, CIRCUIT_PACE_MAX);
		else
			pace->ahead = max(pace->count, 1u);
	} else if (pace->count && ++pace->alone >= CIRCUIT_PACE_ALONE) {
		pace->alone = 0;
		pace->ahead = CIRCUIT_PACE_TRY;
	}
	pace->count = 0;
	return pace->ahead;
}

/*
 * There is nothing to read. Ask to be told when there is, or, of a guest that does nothing but
 * write, when there will be as much as is worth it; datagrams have taken @need bytes.
 */
static void box_wait(struct circuit_box *box, u32 need)
{
	struct circuit_rx *rx = &box->local.rx;
	u32 ahead, want = 1;

	box_timer_stop(box);
	ahead = circuit_pace_ahead(&box->pace, READ_ONCE(box->heard));
	WRITE_ONCE(box->heard, false);
	/* A timer that comes with the next tick comes too late. */
	if (ahead > 1 && need && hrtimer_resolution < CIRCUIT_PACE_DELAY_MIN)
		want = min3(ahead * need, rx->size / 2, BURST);
	if (want <= need)
		want = 1;
	/* The next ones may be smaller: only one byte is in any of them. */
	circuit_rx_arm(rx, want);
	if (want > 1) {
		circuit_local_get(&box->local);
		hrtimer_start(&box->timer, ns_to_ktime(circuit_pace_delay(&box->pace)),
			      HRTIMER_MODE_REL);
	}
}

static void box_turn(struct circuit_box *box)
{
	struct circuit_local *local = &box->local;
	struct circuit_end *far = circuit_far_end(&local->c->end[local->nr]);
	u32 datagrams = QUANTUM, bytes = QUANTUM_BYTES, need = 0, allowed;
	struct circuit_datagram head;
	bool notify = false;
	int avail;
	u8 reset;

	box->lookups = 0;
	box_timer_stop(box);
	circuit_pace_woken(&box->pace, max_t(s64, local_clock() - local->job.since, 0));
	if (unlikely(READ_ONCE(box->asked))) {
		mutex_lock(&box->lock);
		box->asked = false;
		mutex_unlock(&box->lock);
	}
	while (datagrams-- && bytes && box->lookups < LOOKUPS) {
		reset = smp_load_acquire(&local->reset);
		if (reset) {
			box_hangup(box, reset);
			return;
		}
		avail = box_avail(box);
		if (!avail && box->lingers) {
			box_hangup(box, CIRCUIT_REASON_NONE);
			return;
		}
		if (!avail) {
			box_wait(box, need);
			avail = box_avail(box);
			if (!avail && !box->lingers)
				goto out;
			continue;
		}
		if (avail < 0 || READ_ONCE(box->broken) || box_next(box, &head)) {
			box_violation(box);
			return;
		}
		need = circuit_datagram_bytes(head.len);
		allowed = circuit_local_allowed(local, !local->nr);
		if (unlikely(allowed < need)) {
			allowed = circuit_local_want(local, !local->nr, need, max_t(u32, need, SZ_64K));
			if (allowed < need)
				goto out;
		}
		box_switch(box, &head);
		circuit_local_used(local, !local->nr, need, allowed);
		notify |= circuit_rx_release(&local->rx, need);
		bytes -= min(bytes, need);
		box->pace.count++;
	}
	circuit_local_kick(local);
out:
	if (unlikely(READ_ONCE(box->broken))) {
		box_violation(box);
		return;
	}
	if (notify)
		circuit_end_notify(far);
}

static void box_look(struct circuit_local *local)
{
	struct circuit_box *box = box_of(local);
	bool alone;

	if (!local->ex)
		return;
	/* Pairs with box_setup(): the rings are there. */
	if (smp_load_acquire(&box->talks)) {
		box_turn(box);
		box_tell(box);
		circuit_turn_charge(local->turn, CIRCUIT_USE_DATAGRAMS);
		return;
	}
	mutex_lock(&local->ex->lock);
	alone = !local->c;
	mutex_unlock(&local->ex->lock);
	if (alone)
		box_close(box);
	circuit_turn_charge(local->turn, CIRCUIT_USE_SIGNALLING);
}

/* --- what others see ------------------------------------------------------------------------- */

static void box_setup(struct circuit_local *local)
{
	struct circuit_box *box = box_of(local);

	WRITE_ONCE(box->open, true);
	smp_store_release(&box->talks, true);
}

static const struct circuit_local_ops box_ops = {
	.look = box_look,
	.setup = box_setup,
	.hungup = box_withdraw,
};

/**
 * circuit_box_open - a guest wants to send and receive datagrams
 * @c: the call that says so; its exchange is locked. Its end 0 has a port
 *
 * Return: CIRCUIT_REASON_NONE, and the call's end 1 is a box now; or why not.
 */
enum circuit_reason circuit_box_open(struct circuit *c)
{
	struct circuit_line *line = c->end[0].line;
	struct circuit_exchange *ex = line->ex;
	struct circuit_local *local;
	struct circuit_box *box;
	int err;

	BUILD_BUG_ON(offsetof(struct circuit_box, local));
	BUILD_BUG_ON(sizeof_field(struct circuit_datagram, line) != CIRCUIT_NAME_SIZE);
	if (!circuit_affords(line, CIRCUIT_LISTENERS))
		return CIRCUIT_REASON_QUOTA_LISTENERS;
	local = circuit_local_alloc(ex, line->account, sizeof(*box), &box_ops);
	if (!local)
		return CIRCUIT_REASON_NO_MEMORY;
	box = box_of(local);
	mutex_init(&box->lock);
	compat_hrtimer_setup(&box->timer, box_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	ratelimit_state_init(&box->errors, HZ, ERRORS);
	ratelimit_set_flags(&box->errors, RATELIMIT_MSG_ON_RELEASE);
	box->seed = get_random_u32();
	box->service.key.line = line->id;
	box->service.key.type = CIRCUIT_SIG_DGRAM;
	box->service.key.port = c->end[0].port;
	box->service.line = line;
	INIT_LIST_HEAD(&box->service.waiting);
	circuit_local_join(local, c, 1, line);
	err = circuit_directory_add_listener(ex, &box->service);
	if (!err) {
		circuit_charge(line, CIRCUIT_LISTENERS, 1);
		box->published = true;
	}
	/* If it is not, its job sees to that, once the call is gone. */
	circuit_local_put(local);
	if (err)
		return err == -EEXIST ? CIRCUIT_REASON_PORT_IN_USE : CIRCUIT_REASON_NO_MEMORY;
	return CIRCUIT_REASON_NONE;
}
