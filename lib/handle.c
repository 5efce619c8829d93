// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Handles: how one begins, breaks and ends.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "internal.h"

struct circuit *circuit_new(const struct transport *transport, int fd)
{
	struct circuit *c;

	if (posix_memalign((void **)&c, LINE, sizeof(*c)))
		return NULL;
	memset(c, 0, sizeof(*c));
	c->transport = transport;
	c->fd = fd;
	c->head = MESSAGE_HEAD;
	/* On one processor, who looks would keep a far end from running that has no other. */
	if (!transport->near || sysconf(_SC_NPROCESSORS_ONLN) > 1)
		circuit_spin(c, SPIN_DEFAULT);
	return c;
}

/*
 * The mapping is as linux/circuit.h has it: the control page, the ring this end writes, twice, and
 * the one it reads, twice. Nothing of it is looked at.
 */
void circuit_setup(struct circuit *c, void *map, unsigned int end, uint32_t tx_size,
		   uint32_t rx_size, uint32_t tx_index, uint32_t rx_index)
{
	c->map = map;
	c->map_len = CIRCUIT_MAP_BYTES(tx_size, rx_size);
	c->ctrl = map;
	c->end = end;
	c->tx.prod = &c->ctrl->dir[end].prod;
	c->tx.cons = &c->ctrl->dir[end].cons;
	c->tx.data = (uint8_t *)map + CIRCUIT_MAP_TX;
	c->tx.size = tx_size;
	c->tx.tail = c->tx.pub = c->tx.head = tx_index;
	c->tx.want = 1;
	/* An event that no head passes: only who waits for room is told of it. */
	store(&c->tx.prod->event, tx_index - tx_size - 1);
	c->rx.cons = &c->ctrl->dir[!end].cons;
	c->rx.prod = &c->ctrl->dir[!end].prod;
	c->rx.data = (uint8_t *)map + CIRCUIT_MAP_RX(tx_size);
	c->rx.size = rx_size;
	c->rx.head = c->rx.pub = c->rx.tail = rx_index;
	c->rx.want = 1;
}

int circuit_fail(struct circuit *c, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&c->error, &none, error, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	return -circuit_broken(c);
}

/* What the far end has written cannot be; or it did not write it, and the mapping leads nowhere. */
int circuit_violated(struct circuit *c)
{
	if (!load(&c->ctrl->magic))
		return circuit_fail(c, c->transport->lost(c));
	return circuit_fail(c, EPROTO);
}

EXPORT int circuit_shutdown(struct circuit *c)
{
	int ret;

	if (c->tx.shut)
		return 0;
	ret = circuit_tx_publish(c);
	if (ret)
		return ret;
	c->tx.shut = CIRCUIT_TX_FIN;
	c->tx.room = 0;
	if (!c->transport->flags)
		return c->transport->shutdown(c);
	store_release(&c->tx.prod->flags, CIRCUIT_TX_FIN);	/* R1, after the last tail */
	ret = c->transport->kick(c);
	return ret == -ENOBUFS ? ret : 0;
}

EXPORT void circuit_detach(struct circuit *c)
{
	if (!c)
		return;
	munmap(c->map, c->map_len);
	free(c);
}

EXPORT void circuit_close(struct circuit *c)
{
	uint32_t flags;

	if (!c)
		return;
	circuit_tx_publish(c);
	circuit_rx_publish(c);
	if (c->transport->flags) {
		/* Aborted, if it broke or something has come that nobody will read. */
		circuit_rx_some(c, 1);
		flags = circuit_broken(c) || c->rx.tail != c->rx.head ? CIRCUIT_TX_RST :
									CIRCUIT_TX_FIN;
		store_release(&c->tx.prod->flags, c->tx.shut | flags);
		store_release(&c->rx.cons->flags, CIRCUIT_RX_CLOSED);
		c->transport->kick(c);
	}
	circuit_detach(c);
}

EXPORT int circuit_fd(const struct circuit *c)
{
	return c->fd;
}

EXPORT int circuit_error(const struct circuit *c)
{
	return circuit_broken(c);
}

EXPORT void circuit_stats(const struct circuit *c, struct circuit_stats *stats, size_t size)
{
	struct circuit_stats s = {
		.tx_size = c->tx.size,
		.rx_size = c->rx.size,
		.messages = c->messages,
		.end = c->end,
		.tx_bytes = __atomic_load_n(&c->tx.bytes, __ATOMIC_RELAXED),
		.rx_bytes = __atomic_load_n(&c->rx.bytes, __ATOMIC_RELAXED),
		.tx_kicks = __atomic_load_n(&c->tx.kicks, __ATOMIC_RELAXED),
		.rx_kicks = __atomic_load_n(&c->rx.kicks, __ATOMIC_RELAXED),
		.spins = __atomic_load_n(&c->tx.spin.hits, __ATOMIC_RELAXED) +
			 __atomic_load_n(&c->rx.spin.hits, __ATOMIC_RELAXED),
		.sleeps = __atomic_load_n(&c->tx.spin.sleeps, __ATOMIC_RELAXED) +
			  __atomic_load_n(&c->rx.spin.sleeps, __ATOMIC_RELAXED),
	};

	memset(stats, 0, size);
	memcpy(stats, &s, size < sizeof(s) ? size : sizeof(s));
}

EXPORT void circuit_spin(struct circuit *c, uint32_t max)
{
	c->spin_max = max;
	c->tx.spin.ns = c->rx.spin.ns = max;
	c->tx.spin.rest = c->rx.spin.rest = 0;
	c->tx.spin.vain = c->rx.spin.vain = 0;
}
