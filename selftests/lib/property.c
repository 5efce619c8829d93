// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls on both ends, against what a queue would do.
 */
#include <malloc.h>
#include <poll.h>
#include "lib_test.h"

#define STEPS	20000

/*
 * One direction of the model: positions in the stream. What was released is known to the far end at
 * the latest when it is a quarter of the ring.
 */
struct model {
	struct circuit *tx, *rx;
	uint32_t size, salt;
	uint64_t filled, published, released, returned;
};

static uint32_t size_of_ring(void)
{
	return CIRCUIT_RING_MIN << below(5);
}

/* Mostly where indices are about to wrap. */
static uint32_t start_index(void)
{
	return (below(4) ? -below(1 << 20) : rnd()) & ~(CIRCUIT_MESSAGE_ALIGN - 1);
}

static void released(struct model *m, uint32_t len)
{
	m->released += len;
	if (m->released - m->returned >= m->size / 4)
		m->returned = m->released;
}

static void stream_step(struct model *m)
{
	uint64_t room = m->size - (m->filled - m->returned), there = m->published - m->released;
	uint32_t min = below(8) ? below(600) : below(m->size + 1);
	static uint8_t buf[1 << 20];
	const void *from;
	ssize_t ret;
	void *to;
	size_t len;

	switch (below(8)) {
	case 0:
	case 1:
		ret = circuit_tx_reserve(m->tx, &to, min);
		if (ret == -EAGAIN) {
			CHECK(room < (min ? min : 1));
			break;
		}
		CHECK(ret >= min && ret > 0 && (uint64_t)ret <= room);
		EQ(circuit_tx_fill(m->tx, ret + 1), -EINVAL);
		len = below(ret + 1);
		fill_bytes(to, len, m->filled, m->salt);
		EQ(circuit_tx_fill(m->tx, len / 2), 0);
		EQ(circuit_tx_fill(m->tx, len - len / 2), 0);
		EQ(circuit_tx_fill(m->tx, ret - len + 1), -EINVAL);
		m->filled += len;
		break;
	case 2:
		EQ(circuit_tx_publish(m->tx), 0);
		m->published = m->filled;
		break;
	case 3:
		len = min + 1;
		fill_bytes(buf, len, m->filled, m->salt);
		ret = circuit_write(m->tx, buf, len);
		if (ret == -EAGAIN) {
			EQ(room, 0);
			break;
		}
		CHECK(ret > 0 && (size_t)ret <= len && (uint64_t)ret <= room);
		m->filled += ret;
		m->published = m->filled;
		break;
	case 4:
	case 5:
		ret = circuit_rx_peek(m->rx, &from, min);
		if (ret == -EAGAIN) {
			CHECK(there < (min ? min : 1));
			break;
		}
		CHECK(ret >= min && ret > 0 && (uint64_t)ret <= there);
		check_bytes(from, ret, m->released, m->salt);
		len = below(ret + 1);
		EQ(circuit_rx_release(m->rx, len), 0);
		released(m, len);
		break;
	case 6:
		EQ(circuit_rx_publish(m->rx), 0);
		m->returned = m->released;
		break;
	case 7:
		len = min + 1;
		ret = circuit_read(m->rx, buf, len);
		if (ret == -EAGAIN) {
			EQ(there, 0);
			break;
		}
		CHECK(ret > 0 && (size_t)ret <= len && (uint64_t)ret <= there);
		check_bytes(buf, ret, m->released, m->salt);
		released(m, ret);
		break;
	}
}

static void start(struct model m[2], struct pair *p, unsigned int flags)
{
	uint32_t size[2] = { size_of_ring(), size_of_ring() };
	int i;

	make_pair_at(p, size[0], size[1], flags, start_index(), start_index());
	for (i = 0; i < 2; i++)
		m[i] = (struct model) { .tx = p->c[i], .rx = p->c[!i], .size = size[i],
					.salt = rnd() };
}

/* How much was returned is the library's to decide, up to a quarter; what follows from it, not. */
TEST(stream_is_a_queue)
{
	struct circuit_stats s;
	struct model m[2];
	struct pair p;
	int round, i;

	for (round = 0; round < 20; round++) {
		start(m, &p, 0);
		for (i = 0; i < STEPS; i++) {
			struct model *one = &m[below(2)];

			stream_step(one);
			one->returned = one->released - (one->rx->rx.head - one->rx->rx.pub);
			CHECK(one->released - one->returned < one->size / 4);
		}
		for (i = 0; i < 2; i++) {
			circuit_stats(p.c[i], &s, sizeof(s));
			EQ(s.tx_size, m[i].size);
			EQ(s.tx_bytes, m[i].published);
			EQ(s.rx_bytes, m[!i].released);
			EQ(p.c[i]->tx.prod->bytes, m[i].published);
			EQ(s.end, i);
			EQ(s.messages, 0);
		}
		end_pair(&p);
	}
}

/* Messages that are under way, oldest first. */
struct queue {
	uint32_t len[8192], flags[8192];
	uint64_t first, published, filled;
};
#define AT(q, what, i)	((q)->what[(i) % 8192])

static uint32_t takes(uint32_t len)
{
	return (8 + len + 7) & ~7u;
}

static void message_step(struct model *m, struct queue *q)
{
	uint64_t room = m->size - (m->filled - m->returned);
	uint32_t max = below(8) ? below(300) : below(m->size - 7), len, flags;
	struct circuit_view views[8];
	static uint8_t buf[8][1024];
	uint64_t at;
	void *to;
	int ret, i, n;

	switch (below(6)) {
	case 0:
	case 1:
		if (q->filled - q->first == 8192)
			break;
		ret = circuit_msg_reserve(m->tx, &to, max);
		if (ret == -EAGAIN) {
			CHECK(room < takes(max));
			break;
		}
		EQ(ret, 0);
		CHECK(room >= takes(max));
		EQ((uintptr_t)to % CIRCUIT_MESSAGE_ALIGN, 0);
		len = below(max + 1);
		flags = below(2) ? CIRCUIT_MESSAGE_EOR : 0;
		fill_bytes(to, len, q->filled, m->salt);
		EQ(circuit_msg_fill(m->tx, takes(max), flags), -EINVAL);
		EQ(circuit_msg_fill(m->tx, len, 2), -EINVAL);
		EQ(circuit_msg_fill(m->tx, len, flags), 0);
		EQ(circuit_msg_fill(m->tx, 0, 0), -EINVAL);
		AT(q, len, q->filled) = len;
		AT(q, flags, q->filled++) = flags;
		m->filled += takes(len);
		break;
	case 2:
		EQ(circuit_tx_publish(m->tx), 0);
		q->published = q->filled;
		m->published = m->filled;
		break;
	case 3:
		n = below(9);
		if (q->filled - q->first > 8192 - 8)
			break;
		for (i = 0; i < n; i++) {
			views[i] = (struct circuit_view) { .data = buf[i], .len = below(1025),
							   .flags = below(2) };
			fill_bytes(buf[i], views[i].len, q->filled + i, m->salt);
		}
		ret = circuit_msg_send(m->tx, views, n);
		if (ret == -EAGAIN) {
			CHECK(room < takes(views[0].len));
			break;
		}
		CHECK(ret >= 0 && ret <= n && (ret || !n));
		for (i = 0; i < ret; i++) {
			AT(q, len, q->filled) = views[i].len;
			AT(q, flags, q->filled++) = views[i].flags;
			m->filled += takes(views[i].len);
		}
		CHECK(m->filled - m->returned <= m->size);
		if (ret) {
			q->published = q->filled;
			m->published = m->filled;
		}
		break;
	case 4:
	case 5:
		n = 1 + below(8);
		ret = circuit_msg_peek(m->rx, views, n);
		if (ret == -EAGAIN) {
			EQ(q->published - q->first, 0);
			break;
		}
		CHECK(ret > 0 && ret <= n && (uint64_t)ret <= q->published - q->first);
		for (i = 0; i < ret; i++) {
			EQ(views[i].len, AT(q, len, q->first + i));
			EQ(views[i].flags, AT(q, flags, q->first + i));
			check_bytes(views[i].data, views[i].len, q->first + i, m->salt);
		}
		ret = below(ret + 1);
		if (!ret)
			break;
		EQ(circuit_msg_release(m->rx, &views[ret - 1]), 0);
		EQ(circuit_msg_release(m->rx, &views[ret - 1]), -EINVAL);
		for (at = q->first; at < q->first + ret; at++)
			released(m, takes(AT(q, len, at)));
		q->first = at;
		break;
	}
}

TEST(messages_are_a_queue)
{
	static struct queue q[2];
	struct model m[2];
	struct pair p;
	int round, i, which;

	for (round = 0; round < 20; round++) {
		start(m, &p, CIRCUIT_MESSAGES);
		memset(q, 0, sizeof(q));
		for (i = 0; i < STEPS; i++) {
			which = below(2);
			message_step(&m[which], &q[which]);
			m[which].returned = m[which].released -
					    (m[which].rx->rx.head - m[which].rx->rx.pub);
			CHECK(m[which].released - m[which].returned < m[which].size / 4);
		}
		end_pair(&p);
	}
}

static bool rung(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	EQ(poll(&pfd, 1, 0) >= 0, 1);
	return pfd.revents & POLLIN;
}

/* Who was told that he may sleep is woken by what he waits for, and not by less. */
TEST(doorbells_ring_when_due)
{
	struct circuit_stats before, after;
	uint32_t want, got, sent;
	const void *from;
	struct pair p;
	int i, round;
	short poll;
	void *to;

	for (round = 0; round < 300; round++) {
		make_pair_at(&p, 4096 << below(3), 4096, 0, start_index(), start_index());
		for (i = 0; i < 20; i++) {
			/* something to read */
			want = 1 + below(4096);
			EQ(circuit_rx_peek(p.c[1], &from, want), -EAGAIN);
			EQ(circuit_arm(p.c[1], CIRCUIT_IN, &poll), 0);
			EQ(poll, POLLIN);
			for (sent = 0; sent < want; sent += got) {
				CHECK(!rung(p.fd[1]));
				got = 1 + below(want - sent);
				CHECK(circuit_tx_reserve(p.c[0], &to, got) >= (ssize_t)got);
				EQ(circuit_tx_commit(p.c[0], got), 0);
			}
			CHECK(rung(p.fd[1]));
			EQ(circuit_arm(p.c[1], CIRCUIT_IN, &poll), CIRCUIT_IN);
			CHECK(!rung(p.fd[1]));
			/* and it is used up */
			circuit_stats(p.c[0], &before, sizeof(before));
			if (circuit_tx_reserve(p.c[0], &to, 1) > 0) {
				EQ(circuit_tx_commit(p.c[0], 1), 0);
				sent++;
			}
			circuit_stats(p.c[0], &after, sizeof(after));
			EQ(after.tx_kicks, before.tx_kicks);
			EQ(circuit_rx_peek(p.c[1], &from, sent), sent);
			EQ(circuit_rx_release(p.c[1], sent), 0);
			EQ(circuit_rx_publish(p.c[1]), 0);
			CHECK(!rung(p.fd[0]));
		}
		/* room to write */
		got = circuit_tx_reserve(p.c[0], &to, p.c[0]->tx.size);
		EQ(got, p.c[0]->tx.size);
		EQ(circuit_tx_commit(p.c[0], got), 0);
		want = 1 + below(got);
		EQ(circuit_tx_reserve(p.c[0], &to, want), -EAGAIN);
		EQ(circuit_arm(p.c[0], CIRCUIT_OUT, &poll), 0);
		EQ(circuit_rx_peek(p.c[1], &from, got), got);
		for (sent = 0; sent < want; sent += got) {
			CHECK(!rung(p.fd[0]));
			got = 1 + below(want - sent);
			EQ(circuit_rx_release(p.c[1], got), 0);
			EQ(circuit_rx_publish(p.c[1]), 0);
		}
		CHECK(rung(p.fd[0]));
		EQ(circuit_arm(p.c[0], CIRCUIT_OUT, &poll), CIRCUIT_OUT);
		CHECK(circuit_tx_reserve(p.c[0], &to, want) >= want);
		end_pair(&p);
	}
}

/* A reader who polls returns what he has read even if he never waits. */
TEST(credit_comes_back)
{
	const void *from;
	struct pair p;
	void *to;
	int i;

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[0], "0123456789", 10), 10);
	EQ(circuit_rx_peek(p.c[1], &from, 1), 10);
	EQ(circuit_rx_release(p.c[1], 10), 0);
	EQ(circuit_tx_reserve(p.c[0], &to, 4096), -EAGAIN);
	for (i = 0; circuit_tx_reserve(p.c[0], &to, 4096) == -EAGAIN; i++) {
		CHECK(i < 1000);
		EQ(circuit_rx_peek(p.c[1], &from, 1), -EAGAIN);
	}
	CHECK(i > 1);
	end_pair(&p);
}

TEST(nothing_is_allocated)
{
	struct mallinfo2 before, after;
	const void *from;
	struct pair p;
	void *to;
	int i;

	make_pair(&p, 4096, 4096, 0);
	before = mallinfo2();
	for (i = 0; i < 10000; i++) {
		EQ(circuit_wait(p.c[0], CIRCUIT_OUT, 0), CIRCUIT_OUT);
		CHECK(circuit_tx_reserve(p.c[0], &to, 100) >= 100);
		EQ(circuit_tx_commit(p.c[0], 100), 0);
		EQ(circuit_wait(p.c[1], CIRCUIT_IN, -1), CIRCUIT_IN);
		EQ(circuit_rx_peek(p.c[1], &from, 100), 100);
		EQ(circuit_rx_release(p.c[1], 100), 0);
	}
	after = mallinfo2();
	EQ(after.uordblks, before.uordblks);
	end_pair(&p);
}
