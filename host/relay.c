// SPDX-License-Identifier: GPL-2.0
/*
 * The relay: doorbells in, interrupts out.
 *
 * A guest marks circuits in its attention page and rings. The ring wakes the
 * window's wait-queue entry in the vCPU's own context, which queues an irq_work;
 * that runs at once in hard interrupt context on the same CPU, so an idle system
 * pays no thread wake-up, and the time goes to the VM that rang. It takes the
 * marks and passes each on to the far end's attention page. irq_work coalesces:
 * the marks are the truth, never the number of doorbells.
 *
 * A guest may mark all it likes: the work is bounded by CIRCUIT_RELAY_BUDGET per
 * interrupt and continues in a work of its window's, at ordinary priority, a mark leads
 * at most to one more for a guest that this one has a circuit with, and a guest
 * is not interrupted again for a mark it has not taken yet. Who rings, or marks, for
 * nothing is not listened to for a while: see bell.h.
 */
#include <linux/eventfd.h>
#include "host.h"
#include "trace.h"

/**
 * circuit_interrupt - interrupt a guest
 * @line: its line
 * @win: its window, protected by RCU or the exchange's lock
 * @index: for this circuit of its, 0 for signalling or the line itself
 *
 * Context: any but the wake-up of an eventfd.
 */
void circuit_interrupt(struct circuit_line *line, struct circuit_window *win, u32 index)
{
	unsigned int vector = circuit_window_vector(win, index);

	circuit_line_count(line, CIRCUIT_COUNT_INTERRUPTS);
	trace_circuit_interrupt(line, vector);
	compat_eventfd_signal(win->call[vector]);
}

/**
 * circuit_notify - call a guest's attention to a circuit
 * @line: the guest's line
 * @index: the circuit's number on that line, 0 for signalling
 *
 * Context: any but the wake-up of an eventfd.
 */
void circuit_notify(struct circuit_line *line, u32 index)
{
	struct circuit_window *win;

	rcu_read_lock();
	win = rcu_dereference(line->win);
	if (win && circuit_attn_raise(win->area + CIRCUIT_OFF_ATTN_GUEST, index))
		circuit_interrupt(line, win, index);
	rcu_read_unlock();
}

static void count_mark(const struct circuit *c, unsigned int nr)
{
	struct circuit_stats *stats = get_cpu_ptr(c->stats);
	unsigned long flags = u64_stats_update_begin_irqsave(&stats->syncp);

	u64_stats_inc(&stats->marks[nr]);
	u64_stats_update_end_irqrestore(&stats->syncp, flags);
	put_cpu_ptr(c->stats);
}

/*
 * One relay: of whose marks, and how many told something; what messages there are is for signalling
 * to see.
 */
struct relayed {
	struct circuit_window	*win;
	unsigned int		told;
};

static void relay_mark(void *arg, u32 index)
{
	struct relayed *r = arg;
	struct circuit_window *win = r->win;
	struct circuit_end *end, *far;

	if (!index) {
		circuit_sig_kick(win);
		return;
	}
	end = xa_load(&win->line->ends, index);
	if (!end)
		return;		/* hung up, or never was: marks cost nothing else */
	far = circuit_far_end(end);
	if (READ_ONCE(far->hungup) || !READ_ONCE(far->index))
		return;
	r->told++;
	count_mark(circuit_of_end(end), end->nr);
	if (unlikely(circuit_end_left(end)))
		WRITE_ONCE(end->told, true);
	circuit_end_notify(far);
}

static bool relay(struct circuit_window *win, u64 now)
{
	struct relayed r = { .win = win };
	bool more = false;

	rcu_read_lock();
	if (circuit_window_epoch(win) == READ_ONCE(win->line->epoch))
		more = circuit_attn_scan(win->area + CIRCUIT_OFF_ATTN_HOST, relay_mark, &r,
					 CIRCUIT_RELAY_BUDGET) == CIRCUIT_RELAY_BUDGET;
	else
		circuit_sig_kick(win);
	rcu_read_unlock();
	circuit_bell_told(win, (s64)r.told - 1, now);
	return more;
}

/**
 * circuit_relay - a guest has rung
 * @work: of its window
 *
 * Context: hard interrupt.
 */
void circuit_relay(struct irq_work *work)
{
	struct circuit_window *win = container_of(work, struct circuit_window, relay);
	u64 start = local_clock();

	circuit_line_count(win->line, CIRCUIT_COUNT_DOORBELLS);
	trace_circuit_doorbell(win->line);
	circuit_bell_rang(win, start);
	if (relay(win, start))
		queue_work(circuit_slow_wq, &win->relay_work);
	circuit_account_interrupt(win->line->account, CIRCUIT_USE_RELAY, local_clock() - start);
}

/**
 * circuit_relay_work - a guest has marked more than an interrupt may take
 * @work: of its window
 */
void circuit_relay_work(struct work_struct *work)
{
	struct circuit_window *win = container_of(work, struct circuit_window, relay_work);
	struct circuit_turn turn;
	bool more;
	u64 wait;

	circuit_turn_begin(&turn, win->line->account);
	more = relay(win, local_clock());
	wait = circuit_share_charge(&win->line->account->share, circuit_clock_read(&turn.clock));
	if (unlikely(wait))
		circuit_bell_wait(win, wait);
	/*
	 * If that is so, or it has marked for nothing for long enough, the timer goes on with it.
	 */
	if (more && !circuit_bell_masked(&win->bell))
		queue_work(circuit_slow_wq, &win->relay_work);
	circuit_turn_charge(&turn, CIRCUIT_USE_RELAY);
	circuit_turn_end(&turn);
}
