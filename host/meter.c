// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes and messages per second. See meter.h.
 */
#include <linux/slab.h>
#include "host.h"

/* Between two turns, in milliseconds, while somebody waits. */
#define TURN		10

/* What a circuit has before it asks. */
static const u32 beforehand[CIRCUIT_UNITS] = {
	[CIRCUIT_BYTES] = CIRCUIT_SIG_ALLOWANCE,
	[CIRCUIT_MESSAGES] = CIRCUIT_SIG_MESSAGES,
};

/*
 * Most that is given at once, and that a meter saves up: what comes in so many parts of a second.
 */
#define AT_ONCE		20
#define SAVED		10
/* Least that is given, if more is wanted, likewise; or there would be more messages than bytes. */
#define LEAST		100
static const u32 least_min[CIRCUIT_UNITS] = {
	[CIRCUIT_BYTES] = 256,
	[CIRCUIT_MESSAGES] = 1,
};

/* So often somebody whose far end has hung up is given something: he may have asked before. */
#define LAST		2

/* The line that writes and that which reads, their groups, the rule. */
#define METERS_MAX	(2 * (1 + CIRCUIT_GROUPS_MAX) + 1)

/*
 * What of an end is limited by a flow that it writes, and by one that it reads; and the same as of
 * now.
 */
#define LIMIT_TX(unit)	(CIRCUIT_SIG_LIMIT_TX << 4 * (unit))
#define LIMIT_RX(unit)	(CIRCUIT_SIG_LIMIT_RX << 4 * (unit))
#define ANEW_TX(unit)	(CIRCUIT_SIG_LIMIT_TX_ANEW << 4 * (unit))
#define ANEW_RX(unit)	(CIRCUIT_SIG_LIMIT_RX_ANEW << 4 * (unit))
static_assert(LIMIT_TX(CIRCUIT_MESSAGES) == CIRCUIT_SIG_LIMIT_TX_MESSAGES);
static_assert(LIMIT_RX(CIRCUIT_MESSAGES) == CIRCUIT_SIG_LIMIT_RX_MESSAGES);
static_assert(ANEW_TX(CIRCUIT_MESSAGES) == CIRCUIT_SIG_LIMIT_TX_MESSAGES_ANEW);
static_assert(ANEW_RX(CIRCUIT_MESSAGES) == CIRCUIT_SIG_LIMIT_RX_MESSAGES_ANEW);

/* --- meters ---------------------------------------------------------------------------------- */

static s64 meter_depth(const struct circuit_meter *meter, enum circuit_unit unit)
{
	return max_t(s64, meter->rate / SAVED, beforehand[unit]);
}

static void meter_refill(struct circuit_meter *meter, enum circuit_unit unit, u64 now)
{
	u64 us = now / NSEC_PER_USEC;
	u64 new = min_t(u64, us - meter->stamp, USEC_PER_SEC) * meter->rate / USEC_PER_SEC;

	if (us - meter->stamp >= USEC_PER_SEC)
		meter->stamp = us;
	else	/* not what was too short for one */
		meter->stamp += new * USEC_PER_SEC / meter->rate;
	meter->tokens = min_t(s64, meter->tokens + new, meter_depth(meter, unit));
}

/**
 * circuit_meter_set - set a meter's rate
 * @meter: the meter
 * @rate: bytes per second, CIRCUIT_RATE_MIN to CIRCUIT_RATE_MAX; or messages; or 0 for no limit
 *
 * What it has saved up counts no more if the rate is another.
 */
void circuit_meter_set(struct circuit_meter *meter, u64 rate)
{
	if (meter->rate == rate)
		return;
	meter->rate = rate;
	meter->tokens = 0;
	meter->stamp = ktime_get_ns() / NSEC_PER_USEC;
}

/**
 * circuit_meters_alloc - make the meters of a rule
 * @rate: bytes per second, each way
 *
 * Return: the meters, with one reference, or NULL.
 */
struct circuit_meters *circuit_meters_alloc(u64 rate)
{
	struct circuit_meters *meters = kzalloc(sizeof(*meters), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!meters)
		return NULL;
	kref_init(&meters->ref);
	for (i = 0; i < ARRAY_SIZE(meters->meter); i++)
		circuit_meter_set(&meters->meter[i], rate);
	return meters;
}

/**
 * circuit_meters_get - take a reference
 * @meters: the meters, or NULL
 *
 * Return: @meters.
 */
struct circuit_meters *circuit_meters_get(struct circuit_meters *meters)
{
	if (meters)
		kref_get(&meters->ref);
	return meters;
}

static void meters_release(struct kref *ref)
{
	kfree(container_of(ref, struct circuit_meters, ref));
}

/**
 * circuit_meters_put - drop a reference
 * @meters: the meters, or NULL
 */
void circuit_meters_put(struct circuit_meters *meters)
{
	if (meters)
		kref_put(&meters->ref, meters_release);
}

/**
 * circuit_meter_take - may something go that does not wait?
 * @meter: of a rule; the exchange is locked
 * @bytes: how much it is; more than the meter has saved up is counted later
 *
 * Return: false if the rate has been used up.
 */
bool circuit_meter_take(struct circuit_meter *meter, u32 bytes)
{
	meter_refill(meter, CIRCUIT_BYTES, ktime_get_ns());
	if (meter->tokens <= 0) {
		meter->waits++;
		return false;
	}
	meter->tokens -= bytes;
	return true;
}

/* --- rings ----------------------------------------------------------------------------------- */

static unsigned int line_meters(struct circuit_line *line, enum circuit_unit unit,
				enum circuit_way way, struct circuit_meter **meter, unsigned int n)
{
	struct circuit_meter *m = &line->quota.meter[unit][way];
	unsigned int i;

	if (m->rate)
		meter[n++] = m;
	for (i = 0; i < line->party.nr_groups; i++) {
		m = &line->party.group[i]->quota.meter[unit][way];
		if (m->rate)
			meter[n++] = m;
	}
	return n;
}

/* The meters that count what end @nr writes if @called is the line called. */
static unsigned int ring_meters(const struct circuit *c, enum circuit_unit unit, unsigned int nr,
				struct circuit_line *called, struct circuit_meter **meter)
{
	struct circuit_line *caller = c->end[0].line;
	unsigned int n;

	if (unit == CIRCUIT_MESSAGES && c->type == CIRCUIT_SIG_STREAM)
		return 0;
	n = line_meters(nr ? called : caller, unit, CIRCUIT_SEND, meter, 0);
	n = line_meters(nr ? caller : called, unit, CIRCUIT_RECEIVE, meter, n);
	if (c->meters && unit == CIRCUIT_BYTES)
		meter[n++] = &c->meters->meter[nr];
	return n;
}

static struct circuit *circuit_of_flow(struct circuit_flow *flow)
{
	return container_of(flow, struct circuit, flow[flow->unit][flow->nr]);
}

/* The most that there can be in its ring. */
static u32 flow_ring(const struct circuit_flow *flow, const struct circuit *c)
{
	u32 size = c->size[flow->nr];

	return flow->unit == CIRCUIT_MESSAGES ? size / sizeof(struct circuit_message) : size;
}

static unsigned int flow_meters(struct circuit_flow *flow, struct circuit_meter **meter)
{
	struct circuit *c = circuit_of_flow(flow);

	return ring_meters(c, flow->unit, flow->nr, c->end[1].line, meter);
}

/* Have an end told what it may do now. */
static void end_tell(struct circuit_end *end)
{
	if (!end->hungup)
		circuit_sig_owe(end, CIRCUIT_OWE_ALLOW, CIRCUIT_REASON_NONE);
}

/* Give a ring what its meters have let through, less what it has had beforehand. */
static void flow_give(struct circuit_flow *flow)
{
	struct circuit *c = circuit_of_flow(flow);
	struct circuit_end *end = &c->end[flow->nr], *far = &c->end[!flow->nr];
	u32 much = flow->saved - flow->owed;

	list_del_init(&flow->node);
	flow->want = 0;
	flow->saved = 0;
	flow->owed = 0;
	if (c->local) {
		atomic_add(much, &flow->left);
		circuit_local_kick(c->local);
		return;
	}
	/* The end that reads first: it is not to see what it does not know may have come. */
	far->allow[flow->unit][CIRCUIT_RECEIVE] += much;
	end_tell(far);
	end->allow[flow->unit][CIRCUIT_SEND] += much;
	end_tell(end);
}

/* Give an end what it needs to find out that the other has gone. */
static void flow_give_last(struct circuit_flow *flow)
{
	struct circuit *c = circuit_of_flow(flow);
	struct circuit_end *end = &c->end[flow->nr];

	end->allow[flow->unit][CIRCUIT_SEND] += flow_ring(flow, c) + beforehand[flow->unit];
	end_tell(end);
}

/* How much a ring may be given at once, at most and at least. */
static void flow_limits(struct circuit_flow *flow, u32 *most, u32 *least)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);
	u32 before = beforehand[flow->unit];
	u64 rate = CIRCUIT_RATE_MAX;

	while (n--)
		rate = min(rate, meter[n]->rate);
	*most = min_t(u64, clamp_t(u64, rate / AT_ONCE, before, SZ_1G) + flow->owed, flow->want);
	*least = min_t(u64, clamp_t(u64, rate / LEAST, least_min[flow->unit], before) + flow->owed,
		       flow->want);
}

/* Begin with a ring's turn: who else waits for its meters? */
static void flow_look(struct circuit_flow *flow, u64 now)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);

	while (n--) {
		meter_refill(meter[n], flow->unit, now);
		meter[n]->hungry++;
	}
}

/* All who have a turn are known: what is there for each? */
static void flow_share(struct circuit_flow *flow)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);

	while (n--) {
		if (meter[n]->hungry)
			meter[n]->share = max_t(s64, meter[n]->tokens, 0) / meter[n]->hungry;
		meter[n]->hungry = 0;
	}
}

/* Give a ring its share, or have it wait for that: false. */
static bool flow_serve(struct circuit_flow *flow)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);
	u32 most, least;
	unsigned int i;
	s64 share, part;

	flow_limits(flow, &most, &least);
	share = max_t(s64, (s64)most - flow->saved, 0);
	for (i = 0; i < n; i++) {
		/* If there is not one for each, those have one who have waited for longest. */
		part = meter[i]->share ?: meter[i]->tokens > 0;
		if (part >= share)
			continue;
		share = part;
		meter[i]->waits++;
	}
	for (i = 0; i < n; i++)
		meter[i]->tokens -= share;
	flow->saved += share;
	if (flow->saved < least)
		return false;
	flow_give(flow);
	return true;
}

/* Remember that somebody waits for a ring's meters. */
static void flow_waits(struct circuit_flow *flow)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);

	while (n--)
		meter[n]->turn = circuit_of_flow(flow)->end[0].line->ex->turns;
}

/* Does nobody else wait for a ring's meters? */
static bool flow_alone(struct circuit_flow *flow)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);

	while (n--)
		if (meter[n]->turn == circuit_of_flow(flow)->end[0].line->ex->turns)
			return false;
	return true;
}

/* The line that writes pays for a ring's turn; if that is the world, the one that reads. */
static void flow_pays(struct circuit_flow *flow, struct circuit_turn *work)
{
	struct circuit_end *end = &circuit_of_flow(flow)->end[flow->nr];
	u64 before;

	if (end->line->is_trunk)
		end = circuit_far_end(end);
	before = work->charged;
	work->account = end->line->account;
	circuit_turn_charge(work, CIRCUIT_USE_TIMERS);
	circuit_share_charge(&end->line->account->share, work->charged - before);
}

/* --- turns ----------------------------------------------------------------------------------- */

/**
 * circuit_meter_turn - serve those who wait
 * @ex: the exchange, locked
 * @now: ktime_get_ns()
 * @work: what they are charged for; its account is changed
 *
 * Return: true if somebody has to go on waiting.
 */
bool circuit_meter_turn(struct circuit_exchange *ex, u64 now, struct circuit_turn *work)
{
	struct circuit_flow *flow, *next;
	unsigned int n = 0;
	LIST_HEAD(turn);

	lockdep_assert_held(&ex->lock);
	if (!++ex->turns)
		ex->turns = 1;
	list_for_each_entry_safe(flow, next, &ex->wanting, node) {
		/* Those who have no turn this time wait all the same. */
		if (n++ >= CIRCUIT_METER_BUDGET) {
			flow_waits(flow);
			flow_pays(flow, work);
			continue;
		}
		list_move_tail(&flow->node, &turn);
		flow_look(flow, now);
		flow_pays(flow, work);
	}
	list_for_each_entry(flow, &turn, node) {
		flow_share(flow);
		flow_pays(flow, work);
	}
	list_for_each_entry_safe(flow, next, &turn, node) {
		if (!flow_serve(flow))
			flow_waits(flow);
		flow_pays(flow, work);
	}
	/* Who was not served is first, or last if there are more than have a turn at a time. */
	if (n > CIRCUIT_METER_BUDGET)
		list_splice_tail(&turn, &ex->wanting);
	else
		list_splice(&turn, &ex->wanting);
	return !list_empty(&ex->wanting);
}

static void next_turn(struct circuit_exchange *ex)
{
	if (ex->net && queue_delayed_work(circuit_slow_wq, &ex->turn, msecs_to_jiffies(TURN)))
		circuit_exchange_get(ex);
}

static void turn_work(struct work_struct *work)
{
	struct circuit_exchange *ex = container_of(to_delayed_work(work), struct circuit_exchange,
						   turn);
	struct circuit_turn turn;

	circuit_turn_begin(&turn, NULL);
	mutex_lock(&ex->lock);
	if (circuit_meter_turn(ex, ktime_get_ns(), &turn))
		next_turn(ex);
	mutex_unlock(&ex->lock);
	circuit_turn_end(&turn);
	circuit_exchange_put(ex);
}

/**
 * circuit_meter_want - an end wants to write on
 * @c: the circuit; its exchange is locked
 * @unit: of what it wants to write
 * @nr: which end
 * @much: how much, perhaps a lie
 *
 * It is told when it may, and how much; but not if it is not limited.
 */
void circuit_meter_want(struct circuit *c, enum circuit_unit unit, unsigned int nr, u32 much)
{
	struct circuit_exchange *ex = c->end[0].line->ex;
	struct circuit_flow *flow = &c->flow[unit][nr];

	if (!flow->on || flow->want)
		return;
	if (flow->last > 1) {
		flow->last--;
		flow_give_last(flow);
		return;
	}
	if (flow->last) {
		circuit_cut_off(&c->end[nr], CIRCUIT_REASON_PEER_RESET);
		return;
	}
	/*
	 * It cannot have used up what it has not been told of: this is of an earlier limit, or
	 * early.
	 */
	if (flow->behind) {
		flow->early = much;
		return;
	}
	flow->want = clamp_t(u32, much, beforehand[unit], SZ_1G) + flow->owed;
	if (flow_alone(flow)) {
		flow_look(flow, ktime_get_ns());
		flow_share(flow);
		if (flow_serve(flow))
			return;
	}
	flow_waits(flow);
	list_add_tail(&flow->node, &ex->wanting);
	/* Otherwise a turn is due anyway. */
	if (list_is_singular(&ex->wanting))
		next_turn(ex);
}

/* --- circuits -------------------------------------------------------------------------------- */

/**
 * circuit_meter_limits - what of an end's is limited
 * @end: the end; its exchange is locked
 *
 * Return: CIRCUIT_SIG_LIMIT_*, as its guest has to know.
 */
u32 circuit_meter_limits(const struct circuit_end *end)
{
	const struct circuit *c = container_of(end, const struct circuit, end[end->nr]);

	enum circuit_unit unit;
	u32 limits = 0;

	for (unit = 0; unit < CIRCUIT_UNITS && !c->local; unit++) {
		if (c->flow[unit][end->nr].on)
			limits |= LIMIT_TX(unit);
		if (c->flow[unit][!end->nr].on)
			limits |= LIMIT_RX(unit);
	}
	return limits;
}

static bool line_knows(const struct circuit_line *line, enum circuit_unit unit)
{
	u64 need = CIRCUIT_SIG_F_RATE;

	if (unit == CIRCUIT_MESSAGES)
		need |= CIRCUIT_SIG_F_MESSAGES;
	return line->is_trunk || (line->features & need) == need;
}

/**
 * circuit_meter_knows - can the guests of a call keep to its limits?
 * @c: the call; its exchange is locked
 * @called: the line that it is for
 *
 * Where one end is the operator's own, no guest need.
 *
 * Return: false if one would have to, and does not know of limits.
 */
bool circuit_meter_knows(const struct circuit *c, struct circuit_line *called)
{
	struct circuit_line *caller = c->end[0].line;
	struct circuit_meter *meter[METERS_MAX];
	enum circuit_unit unit;

	if (caller->is_trunk || called->is_trunk)
		return true;
	for (unit = 0; unit < CIRCUIT_UNITS; unit++)
		if (!(line_knows(caller, unit) && line_knows(called, unit)) &&
		    (ring_meters(c, unit, 0, called, meter) ||
		     ring_meters(c, unit, 1, called, meter)))
			return false;
	return true;
}

/**
 * circuit_meter_by - have a call, or its circuit, counted by the rule that allows it
 * @c: the call or circuit; its exchange is locked
 * @rule: the rule, or NULL
 *
 * For a circuit circuit_meter_apply() is to follow, as for any change of who counts.
 */
void circuit_meter_by(struct circuit *c, const struct circuit_rule *rule)
{
	struct circuit_meters *old = c->meters;

	c->meters = circuit_meters_get(rule ? rule->meters : NULL);
	circuit_meters_put(old);
}

static void flow_start(struct circuit_flow *flow)
{
	INIT_LIST_HEAD(&flow->node);
	INIT_LIST_HEAD(&flow->step);
	flow->owed = beforehand[flow->unit];
	atomic_set(&flow->left, beforehand[flow->unit]);
	smp_store_release(&flow->on, true);	/* pairs with circuit_local_allowed() */
}

/* Have the guests of a circuit, which write and read already, begin to count. */
static void flow_begin(struct circuit_flow *flow)
{
	struct circuit *c = circuit_of_flow(flow);
	struct circuit_end *end = &c->end[flow->nr], *far = &c->end[!flow->nr];

	flow->behind = true;
	end->allow[flow->unit][CIRCUIT_SEND] = beforehand[flow->unit];
	end->anew |= ANEW_TX(flow->unit);
	far->allow[flow->unit][CIRCUIT_RECEIVE] = flow_ring(flow, c) + beforehand[flow->unit];
	far->anew |= ANEW_RX(flow->unit);
}

/* The end that writes knows, and at most two rings of what it wrote before that are not read. */
static void flow_caught_up(struct circuit_flow *flow)
{
	struct circuit *c = circuit_of_flow(flow);
	struct circuit_end *far = &c->end[!flow->nr];

	far->allow[flow->unit][CIRCUIT_RECEIVE] += 2 * flow_ring(flow, c) + beforehand[flow->unit];
	end_tell(far);
}

/**
 * circuit_meter_told - a guest is being told that it is limited from now on
 * @end: the end that writes; its exchange is locked
 * @tail: index in the signalling circuit after that message
 *
 * circuit_meter_step() is to be called when it has taken that.
 */
void circuit_meter_told(struct circuit_end *end, u32 tail)
{
	struct circuit_flow *flow;
	enum circuit_unit unit;

	for (unit = 0; unit < CIRCUIT_UNITS; unit++) {
		flow = &circuit_of_end(end)->flow[unit][end->nr];
		if (!flow->on || !flow->behind)
			continue;
		flow->told = tail;
		list_move_tail(&flow->step, &end->line->steps);
	}
}

/**
 * circuit_meter_step - look who has been told that he is limited
 * @line: the line, its signalling circuit as circuit_tx_space() has left it; its exchange is locked
 *
 * From then on he keeps to it, but for what he may be writing just now. All of that, and what he
 * has written before, the far end may read.
 */
void circuit_meter_step(struct circuit_line *line)
{
	struct circuit_flow *flow;

	while (!list_empty(&line->steps)) {
		flow = list_first_entry(&line->steps, struct circuit_flow, step);
		if ((s32)(line->tx.head - flow->told) < 0)
			return;
		list_del_init(&flow->step);
		flow->behind = false;
		flow_caught_up(flow);
		if (flow->early)
			circuit_meter_want(circuit_of_flow(flow), flow->unit, flow->nr, flow->early);
		flow->early = 0;	/* by now it is in flow->want */
	}
}

/*
 * What it has not been given, or a local end has not used, is given back: that is known for sure.
 */
static void flow_drop(struct circuit_flow *flow)
{
	struct circuit_meter *meter[METERS_MAX];
	unsigned int n = flow_meters(flow, meter);
	s64 left = flow->saved;

	if (circuit_of_flow(flow)->local && !flow->owed)
		left += max(atomic_read(&flow->left), 0);
	while (n--)
		meter[n]->tokens = min(meter[n]->tokens + left, meter_depth(meter[n], flow->unit));
	list_del_init(&flow->node);
	list_del_init(&flow->step);
	flow->behind = false;
	flow->early = 0;
	flow->want = 0;
	flow->saved = 0;
}

static void flow_stop(struct circuit_flow *flow)
{
	struct circuit *c = circuit_of_flow(flow);
	struct circuit_end *end = &c->end[flow->nr], *far = &c->end[!flow->nr];

	flow_drop(flow);
	WRITE_ONCE(flow->on, false);
	end->allow[flow->unit][CIRCUIT_SEND] = 0;
	end->anew &= ~ANEW_TX(flow->unit);
	far->allow[flow->unit][CIRCUIT_RECEIVE] = 0;
	far->anew &= ~ANEW_RX(flow->unit);
}

/* Nothing counts any more, and nothing is given but that. */
static void flow_last(struct circuit_flow *flow)
{
	bool behind = flow->behind;

	flow_drop(flow);
	flow->last = LAST;
	flow_give_last(flow);
	/* What was written without knowing better is still to be read. */
	if (behind)
		flow_caught_up(flow);
}

/* Each flow of a circuit: what either end writes, in each unit. */
#define for_each_flow(c, flow, i)						\
	for ((i) = 0; (i) < 2 * CIRCUIT_UNITS &&				\
	     ((flow) = &(c)->flow[(i) / 2][(i) % 2], true); (i)++)

/**
 * circuit_meter_start - limit a new circuit, if anybody wants that
 * @c: the circuit, its ends not told of it; its exchange is locked
 */
void circuit_meter_start(struct circuit *c)
{
	struct circuit_meter *meter[METERS_MAX];
	struct circuit_flow *flow;
	enum circuit_unit unit;
	unsigned int nr;

	for (unit = 0; unit < CIRCUIT_UNITS; unit++)
		for (nr = 0; nr < 2; nr++) {
			flow = &c->flow[unit][nr];
			flow->nr = nr;
			flow->unit = unit;
			if (flow_meters(flow, meter))
				flow_start(flow);
		}
}

/*
 * What a guest has left for a local end when it hung up counts as long as there is that to send it.
 */
static bool flow_goes_on(const struct circuit *c)
{
	if (c->ended)
		return false;
	return c->local ? !c->end[c->local->nr].hungup :
			  !c->end[0].hungup && !c->end[1].hungup;
}

/**
 * circuit_meter_stop - an end has hung up, or the circuit was ended
 * @c: the circuit; its exchange is locked
 *
 * What waits at the other end is let go: it will not get through.
 */
void circuit_meter_stop(struct circuit *c)
{
	struct circuit_flow *flow;
	unsigned int i;

	if (flow_goes_on(c))
		return;
	for_each_flow(c, flow, i) {
		if (!flow->on || flow->last)
			continue;
		if (c->local)
			flow_stop(flow);
		else
			flow_last(flow);
	}
}

/**
 * circuit_meter_apply - rates, or who belongs where, have changed
 * @ex: the exchange, locked
 *
 * Circuits of guests that do not know of limits go on without.
 */
void circuit_meter_apply(struct circuit_exchange *ex)
{
	struct circuit_meter *meter[METERS_MAX];
	struct circuit_flow *flow;
	unsigned long id;
	struct circuit *c;
	unsigned int nr, i;
	bool limit;

	lockdep_assert_held(&ex->lock);
	xa_for_each(&ex->circuits, id, c) {
		bool changed = false;

		if (!c->connected)
			continue;
		for_each_flow(c, flow, i) {
			if (!c->local && !(line_knows(c->end[0].line, flow->unit) &&
					   line_knows(c->end[1].line, flow->unit)))
				continue;
			limit = flow_meters(flow, meter) && (flow_goes_on(c) || !c->local);
			if (limit == flow->on || flow->last)
				continue;
			changed = true;
			if (!limit)
				flow_stop(flow);
			else
				flow_start(flow);
			if (limit && !c->local)
				flow_begin(flow);
			if (limit && !flow_goes_on(c))
				flow_last(flow);
		}
		if (changed && c->local)
			circuit_local_kick(c->local);
		for (nr = 0; nr < 2 && changed && !c->local; nr++)
			end_tell(&c->end[nr]);
	}
}

/**
 * circuit_meter_init - prepare a new exchange
 * @ex: the exchange; nobody else has it
 */
void circuit_meter_init(struct circuit_exchange *ex)
{
	INIT_LIST_HEAD(&ex->wanting);
	ex->turns = 1;
	INIT_DELAYED_WORK(&ex->turn, turn_work);
}

/**
 * circuit_meter_exit - take no more turns
 * @ex: the exchange, its lines deleted, not locked; referenced by the caller
 */
void circuit_meter_exit(struct circuit_exchange *ex)
{
	if (cancel_delayed_work_sync(&ex->turn))
		circuit_exchange_put(ex);
}
