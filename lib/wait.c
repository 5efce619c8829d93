// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Waiting: look for a while, then ask to be told, look again, and sleep.
 *
 * How long it pays to look is learned as KVM's halt polling does: a sleep that was over within the
 * most that may be spent on looking would have been saved by it, one that took longer was worth no
 * looking at all. Unless looking is what makes it take so long, as it is when the far end
 * wants the same processor: who looks in vain again and again lets it be for a while.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <time.h>
#include "internal.h"

#define SPIN_FIRST	1000	/* ns */
#define VAIN		16	/* times in a row */
#define REST		256	/* waits without looking */
#define NAP_FIRST	50000	/* ns */
#define NAP_MOST	5000000

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

/* Which have come true? The calls that were waited for say what it is, unless all is lost. */
static int ready(struct circuit *c, unsigned int events)
{
	int mask = 0;

	if (events & CIRCUIT_IN && circuit_rx_some(c, c->rx.want) != -EAGAIN)
		mask |= CIRCUIT_IN;
	if (events & CIRCUIT_OUT && circuit_tx_room(c, c->tx.want) != -EAGAIN)
		mask |= CIRCUIT_OUT;
	return circuit_broken(c) ? -circuit_broken(c) : mask;
}

/* What the far end would otherwise wait for, while this end waits for it. */
static int settle(struct circuit *c, unsigned int events)
{
	int ret = events & CIRCUIT_IN ? circuit_rx_publish(c) : 0;

	if (ret)
		return ret;
	ret = events & CIRCUIT_OUT ? circuit_tx_publish(c) : 0;
	/* That nobody will read any more is for circuit_tx_reserve() to say. */
	return circuit_broken(c) || ret == -ENOBUFS ? ret : 0;
}

/* To be followed by ready(). */
static void arm(struct circuit *c, unsigned int events)
{
	if (events & CIRCUIT_IN)
		store(&c->rx.cons->event, c->rx.head + c->rx.want - 1);
	if (events & CIRCUIT_OUT)
		store(&c->tx.prod->event, c->tx.tail + c->tx.want - c->tx.size - 1);
	full_barrier();		/* R3, sleepy side */
}

static int spin(struct circuit *c, unsigned int events, int64_t until)
{
	unsigned int i;
	int ret;

	do {
		for (i = 0; i < 32; i++) {
			ret = ready(c, events);
			if (ret)
				return ret;
			relax();
		}
	} while (now() < until);
	return 0;
}

static void learn(struct spin *s, uint32_t max, int64_t waited)
{
	uint64_t more = s->ns ? s->ns * 2ull : SPIN_FIRST;

	if (s->ns && ++s->vain >= VAIN) {
		s->ns = s->vain = 0;
		s->rest = REST;
	} else if (waited > max) {
		s->ns = s->ns < SPIN_FIRST ? 0 : s->ns / 2;
	} else {
		s->ns = more < max ? more : max;
	}
}

static int nap(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	return ppoll(NULL, 0, &ts, NULL) < 0 ? -errno : 0;
}

static int wait_asleep(struct circuit *c, unsigned int events, int64_t deadline)
{
	int64_t left = -1, snooze = 0;
	uint32_t seq;
	int ret;

	for (;;) {
		seq = __atomic_load_n(&c->seq, __ATOMIC_ACQUIRE);
		arm(c, events);
		ret = ready(c, events);
		if (ret)
			return ret;
		if (deadline >= 0) {
			left = deadline - now();
			if (left <= 0) {
				c->transport->check(c);
				return ready(c, events);
			}
		}
		/* Woken for less than was wanted, by a kernel that does not know of it. */
		if (snooze) {
			ret = nap(left >= 0 && left < snooze ? left : snooze);
			snooze = snooze < NAP_MOST ? snooze * 2 : NAP_MOST;
			if (ret)
				return ret;
		}
		ret = c->transport->sleep(c, events, seq, left);
		if (ret)
			return ret;
		if (!c->transport->flags)
			snooze = snooze ? snooze : NAP_FIRST;
	}
}

EXPORT int circuit_wait(struct circuit *c, unsigned int events, int64_t timeout)
{
	struct spin *s = events & CIRCUIT_IN ? &c->rx.spin : &c->tx.spin;
	int64_t start, until, deadline = -1;
	int ret;

	if (!events || events & ~(CIRCUIT_IN | CIRCUIT_OUT))
		return -EINVAL;
	/* Not what was released: if there is something soon, that can wait. */
	ret = events & CIRCUIT_OUT ? settle(c, CIRCUIT_OUT) : 0;
	if (ret)
		return ret;
	ret = ready(c, events);
	if (ret)
		return ret;
	if (!timeout) {
		ret = settle(c, events);
		if (ret)
			return ret;
		c->transport->check(c);
		return ready(c, events);
	}
	start = now();
	if (timeout > 0)
		deadline = timeout < INT64_MAX - start ? start + timeout : INT64_MAX;
	if (s->ns) {
		until = start + s->ns;
		ret = spin(c, events, deadline >= 0 && deadline < until ? deadline : until);
		if (ret) {
			s->vain = 0;
			count(&s->hits, 1);
			return ret;
		}
	}
	ret = settle(c, events);
	if (ret)
		return ret;
	count(&s->sleeps, 1);
	ret = wait_asleep(c, events, deadline);
	if (s->rest)
		s->rest--;
	else if (c->spin_max)
		learn(s, c->spin_max, now() - start);
	return ret;
}

EXPORT int circuit_arm(struct circuit *c, unsigned int events, short *poll)
{
	int ret;

	if (!events || events & ~(CIRCUIT_IN | CIRCUIT_OUT))
		return -EINVAL;
	*poll = c->transport->events(events);
	ret = settle(c, events);
	if (ret)
		return ret;
	c->transport->check(c);
	arm(c, events);
	return ready(c, events);
}
