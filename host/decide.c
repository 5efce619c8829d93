// SPDX-License-Identifier: GPL-2.0
/*
 * What the policy in force says, and what follows from it.
 *
 * A call that is dropped waits like one for a full backlog, and counts as such, until TCP
 * would have given up.
 */
#include <linux/slab.h>
#include <net/ipv6.h>
#include "host.h"
#include "trace.h"

/**
 * circuit_judge - what does the policy say?
 * @ex: the exchange, locked
 * @query: of what
 * @decision: filled in
 *
 * Nothing is counted, and no rate is looked at.
 */
void circuit_judge(struct circuit_exchange *ex, const struct circuit_query *query,
		   struct circuit_decision *decision)
{
	struct circuit_rule *rule = circuit_policy_match(ex->policy, query);

	lockdep_assert_held(&ex->lock);
	memset(decision, 0, sizeof(*decision));
	decision->rule = rule;
	decision->reason = CIRCUIT_REASON_POLICY;
	if (rule) {
		decision->verdict = rule->cfg.verdict;
		decision->error = rule->cfg.error;
	} else if (query->op == CIRCUIT_POLICY_OP_CALL &&
		   query->to == CIRCUIT_POLICY_TO_ELSEWHERE) {
		decision->verdict = CIRCUIT_POLICY_VERDICT_NATIVE;
		decision->reason = CIRCUIT_REASON_NO_ADDRESS;
	} else {
		decision->verdict = ex->policy->verdict;
	}
	if (!decision->error)
		decision->error = query->op == CIRCUIT_POLICY_OP_LISTEN ? EACCES : ECONNREFUSED;
}

static const char *party_name(const struct circuit_party *party)
{
	return party && party->line ? party->line->key.name : CIRCUIT_TRUNK_LINE;
}

/* For the log: what was decided, of whom, by which rule. */
static void policy_log(struct circuit_exchange *ex, const struct circuit_query *query,
		       const struct circuit_decision *decision)
{
	static const char *const verdicts[] = {
		[CIRCUIT_POLICY_VERDICT_CONNECT] = "connected",
		[CIRCUIT_POLICY_VERDICT_TRUNK] = "connected over a trunk",
		[CIRCUIT_POLICY_VERDICT_NATIVE] = "left native",
		[CIRCUIT_POLICY_VERDICT_REJECT] = "rejected",
		[CIRCUIT_POLICY_VERDICT_DROP] = "dropped",
	};
	const struct circuit_rule *rule = decision->rule;
	bool denied = decision->verdict == CIRCUIT_POLICY_VERDICT_REJECT ||
		      decision->verdict == CIRCUIT_POLICY_VERDICT_DROP;
	char by[32];

	if (!denied && !(rule && rule->cfg.log))
		return;
	if (!__ratelimit(&ex->audit))
		return;
	if (rule)
		snprintf(by, sizeof(by), "rule %u", rule->nr + 1);
	else
		strscpy(by, "default", sizeof(by));
	if (query->op == CIRCUIT_POLICY_OP_LISTEN)
		pr_info("circuit: policy: line %s: port %u %s by %s\n", party_name(query->src),
			query->port, verdicts[decision->verdict], by);
	else
		pr_info("circuit: policy: line %s: call from %pI6c to %s %pI6c port %u %s by %s\n",
			party_name(query->src), &query->saddr, party_name(query->dst),
			&query->daddr, query->port, verdicts[decision->verdict], by);
}

/*
 * Will there be a call? To where there is nobody none is placed, whatever the policy says: it is
 * native.
 */
static bool places_call(const struct circuit_query *query, const struct circuit_decision *decision)
{
	return decision->verdict == CIRCUIT_POLICY_VERDICT_TRUNK ||
	       (decision->verdict == CIRCUIT_POLICY_VERDICT_CONNECT &&
		query->to != CIRCUIT_POLICY_TO_ELSEWHERE);
}

/**
 * circuit_decide - have the policy decide, and look at rates
 * @ex: the exchange, locked
 * @query: about what
 * @payer: the line that places a call, NULL if none does
 * @decision: filled in
 *
 * The rates of the rule, and, if a call will be placed, of the line and of its groups: from all of
 * them one is taken, or, if one has none left, from none.
 */
void circuit_decide(struct circuit_exchange *ex, const struct circuit_query *query,
		    struct circuit_line *payer, struct circuit_decision *decision)
{
	u64 start = local_clock(), now = ktime_get_ns();
	struct circuit_rule *rule;
	bool has = true;

	circuit_judge(ex, query, decision);
	rule = decision->rule;
	if (!rule)
		ex->policy->hits++;
	else
		rule->hits++;
	if (rule && rule->cfg.calls) {
		has = circuit_bucket_has(&rule->bucket, rule->cfg.calls, now);
		rule->limited += !has;
	}
	if (has && payer && places_call(query, decision))
		has = circuit_may_call(payer, now);
	if (has && rule && rule->cfg.calls)
		circuit_bucket_take(&rule->bucket, rule->cfg.calls, now);
	if (!has) {
		decision->verdict = CIRCUIT_POLICY_VERDICT_REJECT;
		decision->reason = CIRCUIT_REASON_RATE;
		decision->error = EAGAIN;
	}
	trace_circuit_decide(query, decision);
	policy_log(ex, query, decision);
	ex->deciding += local_clock() - start;
}

/**
 * circuit_policy_install - put a policy in force
 * @ex: the exchange, locked
 * @policy: the exchange's from now on; the one before it is freed
 *
 * Circuits that exist go on, see circuit_policy_reapply().
 */
void circuit_policy_install(struct circuit_exchange *ex, struct circuit_policy *policy)
{
	lockdep_assert_held(&ex->lock);
	circuit_policy_free(ex, ex->policy);
	ex->policy = policy;
	ex->generation++;
	WRITE_ONCE(ex->switches, ex->switches + 1);
	circuit_event_policy(ex);
}

/* Have what is due looked at; a work that is queued has a reference to its exchange. */
static void expire_at(struct circuit_exchange *ex, ktime_t due)
{
	s64 ms = ktime_ms_delta(due, ktime_get());
	unsigned long delay = ms > 0 ? msecs_to_jiffies(ms) + 1 : 0;

	/* Nobody waits for anything any more, see circuit_decide_stop(). */
	if (!ex->net)
		return;
	if (delayed_work_pending(&ex->expire) && !ktime_before(due, ex->next_due))
		return;
	ex->next_due = due;
	if (!mod_delayed_work(circuit_slow_wq, &ex->expire, delay))
		circuit_exchange_get(ex);
}

/**
 * circuit_call_unanswered - leave a call without an answer, as long as TCP would wait for one
 * @c: a call that waits; its exchange is locked
 */
void circuit_call_unanswered(struct circuit *c)
{
	struct circuit_exchange *ex = c->end[0].line->ex;
	unsigned int retries = 0;

	if (ex->net)
		retries = min_t(unsigned int, READ_ONCE(ex->net->ipv4.sysctl_tcp_syn_retries), 6);
	c->due = ktime_add_ns(ktime_get(), ((2ull << retries) - 1) * NSEC_PER_SEC);
	list_add_tail(&c->wait, &ex->unanswered);
	expire_at(ex, c->due);
}

/* A call that is refused already, or on its way out. */
static bool is_over(const struct circuit *c)
{
	return c->end[0].owe & CIRCUIT_OWE_REFUSED || c->ended ||
	       (c->connected && c->end[0].hungup && c->end[1].hungup);
}

/* Reset a circuit, both ways, or refuse the call with @error. */
static void evict(struct circuit *c, enum circuit_reason reason, int error)
{
	unsigned int i;

	if (!c->connected) {
		c->end[0].error = error;
		circuit_refuse(c, reason);
		return;
	}
	c->ended = true;
	circuit_meter_stop(c);
	for (i = 0; i < 2; i++) {
		if (c->end[i].hungup)
			continue;
		circuit_line_count(c->end[i].line, CIRCUIT_COUNT_RESETS);
		trace_circuit_reset(c, i, reason);
		c->end[i].error = ECONNRESET;
		circuit_sig_owe(&c->end[i], CIRCUIT_OWE_RESET, reason);
	}
	circuit_event_call(c, CIRCUIT_EVENT_RESET, reason);
}

/* Would a call that has been connected like this be connected by this decision? */
static bool still_allowed(const struct circuit *c, const struct circuit_decision *decision)
{
	const char *trunk;

	if (decision->verdict == CIRCUIT_POLICY_VERDICT_TRUNK) {
		if (!c->local || !c->local->ops->trunk || c->local->nr != 1)
			return false;
		trunk = c->local->ops->trunk(c->local);
		/* Or its socket is closed: there is nothing left to allow. */
		return !trunk || !strcmp(trunk, decision->rule->cfg.trunk->name);
	}
	return decision->verdict == CIRCUIT_POLICY_VERDICT_CONNECT;
}

/**
 * circuit_policy_reapply - end what the policy in force would not allow
 * @ex: the exchange, locked
 *
 * Calls that wait are refused, circuits are reset. Listeners stay: whoever calls
 * them is looked at in any case.
 *
 * Return: how many circuits and calls there were.
 */
u32 circuit_policy_reapply(struct circuit_exchange *ex)
{
	struct circuit_decision decision;
	struct circuit_query query;
	struct circuit *c;
	unsigned long id;
	u32 n = 0;

	lockdep_assert_held(&ex->lock);
	xa_for_each(&ex->circuits, id, c) {
		/* Or it gets no answer. */
		if (is_over(c) || (!c->listener && !list_empty(&c->wait)))
			continue;
		/* Nothing was asked when it got its port. */
		if (circuit_is_box(c) && c->end[0].port >= CIRCUIT_PORT_EPHEMERAL)
			continue;
		circuit_query_of(c, &query);
		circuit_judge(ex, &query, &decision);
		if (still_allowed(c, &decision)) {
			circuit_meter_by(c, decision.rule);
			continue;
		}
		n++;
		evict(c, CIRCUIT_REASON_POLICY, decision.error);
	}
	circuit_meter_apply(ex);
	return n;
}

/**
 * circuit_reset - end a circuit
 * @ex: the exchange, locked
 * @id: its number
 * @reason: why
 *
 * Return: 0, or -ENOENT if there is none, or none that has not ended already.
 */
int circuit_reset(struct circuit_exchange *ex, u64 id, enum circuit_reason reason)
{
	struct circuit *c = xa_load(&ex->circuits, id);

	lockdep_assert_held(&ex->lock);
	if (!c || is_over(c))
		return -ENOENT;
	evict(c, reason, ECONNREFUSED);
	return 0;
}

static void expire(struct work_struct *work)
{
	struct circuit_exchange *ex = container_of(to_delayed_work(work), struct circuit_exchange,
						   expire);
	struct circuit_turn turn;
	struct circuit *c;

	circuit_turn_begin(&turn, NULL);
	mutex_lock(&ex->lock);
	while ((c = list_first_entry_or_null(&ex->unanswered, struct circuit, wait)) &&
	       ktime_after(ktime_get(), c->due)) {
		turn.account = circuit_account_get(c->end[0].line->account);
		c->end[0].error = ETIMEDOUT;
		circuit_refuse(c, CIRCUIT_REASON_POLICY);
		circuit_turn_charge(&turn, CIRCUIT_USE_TIMERS);
		circuit_account_put(turn.account);
	}
	circuit_turn_end(&turn);
	if (c)
		expire_at(ex, c->due);
	mutex_unlock(&ex->lock);
	circuit_exchange_put(ex);
}

/**
 * circuit_decide_init - give a new exchange a policy
 * @ex: the exchange; nobody else has it
 *
 * Nothing is allowed by it.
 *
 * Return: 0 or a negative errno.
 */
int circuit_decide_init(struct circuit_exchange *ex)
{
	int err;

	err = circuit_subjects_init(ex);
	if (err)
		return err;
	ex->policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_REJECT, 0);
	if (!ex->policy) {
		circuit_subjects_destroy(ex);
		return -ENOMEM;
	}
	INIT_LIST_HEAD(&ex->drafts);
	INIT_LIST_HEAD(&ex->unanswered);
	INIT_DELAYED_WORK(&ex->expire, expire);
	ratelimit_state_init(&ex->audit, 5 * HZ, 10);
	return 0;
}

/**
 * circuit_decide_stop - wait for nothing any more
 * @ex: the exchange, its lines deleted, not locked; referenced by the caller
 */
void circuit_decide_stop(struct circuit_exchange *ex)
{
	if (cancel_delayed_work_sync(&ex->expire))
		circuit_exchange_put(ex);
}

/**
 * circuit_decide_exit - undo circuit_decide_init()
 * @ex: the exchange, without lines or circuits, not locked
 */
void circuit_decide_exit(struct circuit_exchange *ex)
{
	mutex_lock(&ex->lock);
	circuit_policy_free(ex, ex->policy);
	mutex_unlock(&ex->lock);
	circuit_subjects_destroy(ex);
}
