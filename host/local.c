// SPDX-License-Identifier: GPL-2.0
/*
 * Local ends: ends of circuits that are the operator's own.
 *
 * Such an end has the rings of its circuit as a guest has. What goes through them is the business
 * of what it is a part of; here is what all of them have in common.
 *
 * Everything is done by the end's job (share.h), one look at a time: it owns the rings, and hangs
 * up for the end. Others only leave a note (a circuit that came to nothing, or has got its rings; a
 * reset; a mark) and kick it. A job that waits or is looked at holds a reference, the circuit
 * another.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include "host.h"
#include "trace.h"

/* Messages that are asked for at once, where their number is limited. */
#define MESSAGES	256

static void local_release(struct kref *ref)
{
	struct circuit_local *local = container_of(ref, struct circuit_local, ref);

	circuit_account_put(local->account);
	kfree_rcu(local, rcu);
	module_put(THIS_MODULE);
}

/**
 * circuit_local_get - take a reference
 * @local: the end
 */
void circuit_local_get(struct circuit_local *local)
{
	kref_get(&local->ref);
}

/**
 * circuit_local_put - drop a reference
 * @local: the end
 *
 * Context: any.
 */
void circuit_local_put(struct circuit_local *local)
{
	kref_put(&local->ref, local_release);
}

/**
 * circuit_local_hurry - have an end's job done for which somebody waits
 * @local: the end, protected by RCU or by a reference
 *
 * Context: any but the wake-up of an eventfd.
 */
void circuit_local_hurry(struct circuit_local *local)
{
	if (!kref_get_unless_zero(&local->ref))
		return;
	if (!circuit_job_hurry(&local->job))
		circuit_local_put(local);
}

/**
 * circuit_local_kick - have an end's job done
 * @local: the end, protected by RCU or by a reference
 *
 * Context: any but the wake-up of an eventfd.
 */
void circuit_local_kick(struct circuit_local *local)
{
	if (!kref_get_unless_zero(&local->ref))
		return;
	if (!circuit_job_kick(&local->job))
		circuit_local_put(local);
}

static enum circuit_job_end local_look(struct circuit_job *job, struct circuit_turn *turn)
{
	struct circuit_local *local = container_of(job, struct circuit_local, job);

	local->turn = turn;
	local->ops->look(local);
	return CIRCUIT_JOB_DONE;
}

static void local_idle(struct circuit_job *job)
{
	circuit_local_put(container_of(job, struct circuit_local, job));
}

static const struct circuit_job_ops local_job_ops = {
	.look = local_look,
	.idle = local_idle,
};

/**
 * circuit_local_alloc - make an end
 * @ex: the exchange, which gets a reference that the owner gives back
 * @account: who pays for it
 * @size: of what it is the first member of
 * @ops: what its owner does
 *
 * Return: the end with one reference and the rest of the memory zeroed, or NULL.
 */
struct circuit_local *circuit_local_alloc(struct circuit_exchange *ex,
					  struct circuit_account *account, size_t size,
					  const struct circuit_local_ops *ops)
{
	struct circuit_local *local;

	/* There may be one when its line is gone already, and the module going. */
	if (!try_module_get(THIS_MODULE))
		return NULL;
	local = kzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!local) {
		module_put(THIS_MODULE);
		return NULL;
	}
	kref_init(&local->ref);
	local->ops = ops;
	local->account = circuit_account_get(account);
	circuit_job_init(&local->job, account, &local_job_ops);
	local->ex = circuit_exchange_get(ex);
	return local;
}

/**
 * circuit_local_join - an end becomes one of a circuit's
 * @local: the end
 * @c: the circuit; its exchange is locked
 * @nr: which end
 * @line: the line of the other end
 */
void circuit_local_join(struct circuit_local *local, struct circuit *c, unsigned int nr,
			struct circuit_line *line)
{
	circuit_local_get(local);
	local->c = c;
	local->nr = nr;
	local->line = circuit_line_get(line);
	list_add(&local->siblings, &line->locals);
	line->nr_locals++;
	c->local = local;
}

/**
 * circuit_local_part - an end has nothing to do with its line any more
 * @local: the end, which has joined a circuit or not; its exchange is locked
 */
void circuit_local_part(struct circuit_local *local)
{
	struct circuit_line *line = local->line;

	if (!line)
		return;
	list_del(&local->siblings);
	line->nr_locals--;
	local->line = NULL;
	circuit_line_put(line);
}

/**
 * circuit_local_leave - an end's circuit is about to be freed
 * @local: the end; its exchange is locked
 *
 * If it has not hung up by itself, it is through now.
 */
void circuit_local_leave(struct circuit_local *local)
{
	if (local->ops->hungup)
		local->ops->hungup(local);
	local->c = NULL;
	circuit_local_kick(local);
	circuit_local_put(local);
}

/**
 * circuit_locals_reset - a guest is gone, and with it what it had still to say
 * @line: its line, which has hung up everywhere; its exchange is locked
 * @reason: why
 */
void circuit_locals_reset(struct circuit_line *line, enum circuit_reason reason)
{
	struct circuit_local *local;

	list_for_each_entry(local, &line->locals, siblings) {
		if (!local->reset)
			smp_store_release(&local->reset, reason);
		circuit_local_kick(local);
	}
}

/**
 * circuit_local_owe - tell an end what a guest would be told
 * @local: the end; its exchange is locked
 * @what: one of CIRCUIT_OWE_*
 * @reason: for REFUSED and RESET
 */
void circuit_local_owe(struct circuit_local *local, u8 what, enum circuit_reason reason)
{
	struct circuit *c = local->c;
	void *data;

	switch (what) {
	case CIRCUIT_OWE_REFUSED:
		circuit_drop(c);
		return;
	case CIRCUIT_OWE_SETUP:
		data = c->ctrl + 1;
		circuit_ring_init(&local->tx, &local->rx, c->ctrl, data, c->size[0],
				  data + c->size[0], c->size[1], local->nr);
		local->ops->setup(local);
		break;
	case CIRCUIT_OWE_RESET:
		smp_store_release(&local->reset, reason);
		break;
	}
	circuit_local_kick(local);
}

/* Is the number of messages limited, and used up? */
static bool local_out_of_messages(struct circuit_local *local, unsigned int nr)
{
	struct circuit_flow *flow = &local->c->flow[CIRCUIT_MESSAGES][nr];

	return smp_load_acquire(&flow->on) && atomic_read(&flow->left) <= 0;
}

/**
 * circuit_local_allowed - how much may go through a ring?
 * @local: the end of a circuit that has rings; its job
 * @nr: the end that writes. Either way it is the operator's that has to keep to the limit
 *
 * Return: bytes, U32_MAX if that is not limited.
 */
u32 circuit_local_allowed(struct circuit_local *local, unsigned int nr)
{
	struct circuit_flow *flow = &local->c->flow[CIRCUIT_BYTES][nr];

	if (unlikely(local_out_of_messages(local, nr)))
		return 0;
	if (likely(!smp_load_acquire(&flow->on)))
		return U32_MAX;
	return max(atomic_read(&flow->left), 0);
}

/**
 * circuit_local_used - something went through a ring
 * @local: the end; its job
 * @nr: the end that writes
 * @bytes: how much; one message, if that is what the ring holds
 * @allowed: what circuit_local_allowed() had said
 */
void circuit_local_used(struct circuit_local *local, unsigned int nr, u32 bytes, u32 allowed)
{
	if (unlikely(allowed != U32_MAX))
		atomic_sub(bytes, &local->c->flow[CIRCUIT_BYTES][nr].left);
	if (unlikely(smp_load_acquire(&local->c->flow[CIRCUIT_MESSAGES][nr].on)))
		atomic_dec(&local->c->flow[CIRCUIT_MESSAGES][nr].left);
}

/**
 * circuit_local_want - ask for leave to let something through
 * @local: the end
 * @nr: the end that writes
 * @least: less than this, which circuit_local_allowed() has said, is of no use
 * @bytes: how much there is, at least @least
 *
 * Return: what circuit_local_allowed() says now; if that is still too little, there is a kick when
 * it is more.
 */
u32 circuit_local_want(struct circuit_local *local, unsigned int nr, u32 least, u32 bytes)
{
	u32 allowed;

	trace_circuit_stall(local->c, nr != local->nr);
	mutex_lock(&local->ex->lock);
	allowed = circuit_local_allowed(local, nr);
	if (allowed < least) {
		if (local_out_of_messages(local, nr))
			circuit_meter_want(local->c, CIRCUIT_MESSAGES, nr, MESSAGES);
		else
			circuit_meter_want(local->c, CIRCUIT_BYTES, nr, bytes);
		allowed = circuit_local_allowed(local, nr);
	}
	mutex_unlock(&local->ex->lock);
	return allowed;
}
