// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: the parts that can be reasoned about without a VM.
 *
 * Linked into circuit_host, so that it can call what is not exported.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/ipv6.h>
#include "../../host/host.h"

/* --- rings ------------------------------------------------------------------------ */

#define SIZE	CIRCUIT_RING_MIN

struct pipe {
	struct circuit_ctrl *ctrl;
	struct circuit_tx tx[2];
	struct circuit_rx rx[2];
};

static struct pipe *pipe_create(struct kunit *test, u32 size0, u32 size1)
{
	struct pipe *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	void *mem = kunit_kzalloc(test, circuit_bytes(size0, size1), GFP_KERNEL);
	unsigned int end;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	p->ctrl = mem;
	for (end = 0; end < 2; end++)
		circuit_ring_init(&p->tx[end], &p->rx[end], mem, mem + CIRCUIT_CTRL_SIZE, size0,
				  mem + CIRCUIT_CTRL_SIZE + size0, size1, end);
	return p;
}

/* Start both sides of both rings near the end of the index space. */
static void pipe_seek(struct pipe *p, u32 index)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		p->tx[i].tail = p->tx[i].head = index;
		p->rx[i].tail = p->rx[i].head = index;
		p->ctrl->dir[i].prod.tail = index;
		p->ctrl->dir[i].cons.head = index;
		p->ctrl->dir[i].prod.event = index - 1;
		p->ctrl->dir[i].cons.event = index - 1;
	}
}

static void put(struct circuit_tx *tx, const u8 *from, u32 len)
{
	struct circuit_span s = circuit_tx_span(tx, len);

	memcpy(tx->data + s.off[0], from, s.len[0]);
	memcpy(tx->data + s.off[1], from + s.len[0], s.len[1]);
}

static void get(struct circuit_rx *rx, u8 *to, u32 skip, u32 len)
{
	struct circuit_span s = circuit_rx_span(rx, skip, len);

	memcpy(to, rx->data + s.off[0], s.len[0]);
	memcpy(to + s.len[0], rx->data + s.off[1], s.len[1]);
}

static void ring_sizes(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, circuit_ring_size_ok(CIRCUIT_RING_MIN));
	KUNIT_EXPECT_TRUE(test, circuit_ring_size_ok(CIRCUIT_RING_MAX));
	KUNIT_EXPECT_FALSE(test, circuit_ring_size_ok(0));
	KUNIT_EXPECT_FALSE(test, circuit_ring_size_ok(CIRCUIT_RING_MIN / 2));
	KUNIT_EXPECT_FALSE(test, circuit_ring_size_ok(CIRCUIT_RING_MAX * 2));
	KUNIT_EXPECT_FALSE(test, circuit_ring_size_ok(CIRCUIT_RING_MIN + 1));
	KUNIT_EXPECT_FALSE(test, circuit_ring_size_ok(U32_MAX));
	/* The largest circuit fits the smallest thing it is ever put in. */
	KUNIT_EXPECT_LE(test, circuit_bytes(CIRCUIT_RING_MAX, CIRCUIT_RING_MAX),
			CIRCUIT_WINDOW_SLOT);
}

static void ring_ends_meet(struct kunit *test)
{
	struct pipe *p = pipe_create(test, SIZE, 2 * SIZE);

	KUNIT_EXPECT_PTR_EQ(test, (const u8 *)p->tx[0].data, p->rx[1].data);
	KUNIT_EXPECT_PTR_EQ(test, (const u8 *)p->tx[1].data, p->rx[0].data);
	KUNIT_EXPECT_EQ(test, p->tx[0].size, SIZE);
	KUNIT_EXPECT_EQ(test, p->tx[1].size, 2 * SIZE);
	KUNIT_EXPECT_EQ(test, p->rx[0].size, 2 * SIZE);
	KUNIT_EXPECT_PTR_EQ(test, (const void *)p->tx[0].prod, (const void *)p->rx[1].prod);
	KUNIT_EXPECT_PTR_EQ(test, (const void *)p->tx[0].cons, (const void *)p->rx[1].cons);
	KUNIT_EXPECT_PTR_NE(test, (const void *)p->tx[0].cons, (const void *)p->rx[0].cons);
}

/* Random writes, reads and peeks against a queue that cannot be wrong. */
static void ring_model(struct kunit *test)
{
	struct pipe *p = pipe_create(test, SIZE, SIZE);
	u8 *out = kunit_kzalloc(test, SIZE, GFP_KERNEL);
	struct rnd_state rnd;
	u64 wrote = 0, read = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, out);
	prandom_seed_state(&rnd, 42);
	pipe_seek(p, -3 * SIZE - 17);		/* the indices wrap on the way */
	for (i = 0; i < 20000; i++) {
		int space = circuit_tx_space(&p->tx[0]);
		int avail = circuit_rx_avail(&p->rx[1]);
		u32 n = prandom_u32_state(&rnd) % (SIZE + 1), j;

		KUNIT_ASSERT_EQ(test, space, (int)(SIZE - (wrote - read)));
		KUNIT_ASSERT_EQ(test, avail, (int)(wrote - read));
		switch (prandom_u32_state(&rnd) % 3) {
		case 0:
			n = min_t(u32, n, space);
			for (j = 0; j < n; j++)
				out[j] = (wrote + j) * 7 + ((wrote + j) >> 8);
			put(&p->tx[0], out, n);
			circuit_tx_publish(&p->tx[0], n);
			wrote += n;
			break;
		default:
			n = min_t(u32, n, avail);
			get(&p->rx[1], out, 0, n);
			for (j = 0; j < n; j++)
				KUNIT_ASSERT_EQ(test, out[j],
						(u8)((read + j) * 7 + ((read + j) >> 8)));
			if (prandom_u32_state(&rnd) & 1)
				break;		/* only a peek */
			circuit_rx_release(&p->rx[1], n);
			read += n;
			break;
		}
	}
	KUNIT_EXPECT_GT(test, wrote, (u64)10 * SIZE);
	KUNIT_EXPECT_EQ(test, p->tx[0].bytes, wrote);
	KUNIT_EXPECT_EQ(test, p->rx[1].bytes, read);
}

static void ring_notify(struct kunit *test)
{
	/* old, new, event: does moving from old to new pass event? */
	KUNIT_EXPECT_TRUE(test, circuit_need_notify(0, 1, 0));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(1, 1, 0));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(0, 2, 1));
	KUNIT_EXPECT_TRUE(test, circuit_need_notify(9, 10, 0));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(10, 10, 0));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(5, 5, 5));
	/* across the end of the index space */
	KUNIT_EXPECT_TRUE(test, circuit_need_notify(U32_MAX, 0, U32_MAX));
	KUNIT_EXPECT_TRUE(test, circuit_need_notify(2, 4, U32_MAX - 1));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(4, 4, U32_MAX - 1));
	KUNIT_EXPECT_FALSE(test, circuit_need_notify(U32_MAX - 2, 4, U32_MAX - 1));
}

static void ring_arming(struct kunit *test)
{
	u32 starts[] = { 0, 1, U32_MAX - 100, U32_MAX - SIZE }, i;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		struct pipe *p = pipe_create(test, SIZE, SIZE);
		struct circuit_tx *tx = &p->tx[0];
		struct circuit_rx *rx = &p->rx[1];

		pipe_seek(p, starts[i]);
		/* A reader that wants 100 bytes is told at the hundredth, once. */
		circuit_rx_arm(rx, 100);
		KUNIT_EXPECT_FALSE(test, circuit_tx_publish(tx, 99));
		KUNIT_EXPECT_TRUE(test, circuit_tx_publish(tx, 1));
		KUNIT_EXPECT_FALSE(test, circuit_tx_publish(tx, SIZE - 100));
		/* A writer that wants half the ring is told when it is there, once. */
		KUNIT_EXPECT_EQ(test, circuit_tx_space(tx), 0);
		circuit_tx_arm(tx, SIZE / 2);
		KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), (int)SIZE);
		KUNIT_EXPECT_FALSE(test, circuit_rx_release(rx, SIZE / 2 - 1));
		KUNIT_EXPECT_TRUE(test, circuit_rx_release(rx, 1));
		KUNIT_EXPECT_FALSE(test, circuit_rx_release(rx, SIZE / 2));
		/* The whole ring: told when the last byte is read. */
		KUNIT_EXPECT_EQ(test, circuit_tx_space(tx), (int)SIZE);
		circuit_tx_publish(tx, 5);
		circuit_tx_arm(tx, SIZE);
		circuit_rx_avail(rx);
		KUNIT_EXPECT_FALSE(test, circuit_rx_release(rx, 4));
		KUNIT_EXPECT_TRUE(test, circuit_rx_release(rx, 1));
	}
}

static void ring_hostile(struct kunit *test)
{
	struct pipe *p = pipe_create(test, SIZE, SIZE);
	struct circuit_tx *tx = &p->tx[0];
	struct circuit_rx *rx = &p->rx[1];
	struct rnd_state rnd;
	int i;

	circuit_tx_publish(tx, 1000);
	KUNIT_ASSERT_EQ(test, circuit_rx_avail(rx), 1000);
	circuit_rx_release(rx, 400);
	KUNIT_ASSERT_EQ(test, circuit_tx_space(tx), (int)SIZE - 600);

	/* A tail more than a ring ahead, or one that went back. */
	p->ctrl->dir[0].prod.tail = 400 + SIZE + 1;
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), -EPROTO);
	p->ctrl->dir[0].prod.tail = 999;
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), -EPROTO);
	p->ctrl->dir[0].prod.tail = 399;
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), -EPROTO);
	p->ctrl->dir[0].prod.tail = 400 + SIZE;
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), (int)SIZE);

	/* A head beyond the tail, or one that went back. */
	p->ctrl->dir[0].cons.head = 1001;
	KUNIT_EXPECT_EQ(test, circuit_tx_space(tx), -EPROTO);
	p->ctrl->dir[0].cons.head = 399;
	KUNIT_EXPECT_EQ(test, circuit_tx_space(tx), -EPROTO);
	p->ctrl->dir[0].cons.head = 1000;
	KUNIT_EXPECT_EQ(test, circuit_tx_space(tx), (int)SIZE);

	/* Flags that do not exist. */
	p->ctrl->dir[0].prod.flags = CIRCUIT_TX_FIN;
	KUNIT_EXPECT_EQ(test, circuit_rx_flags(rx), (int)CIRCUIT_TX_FIN);
	p->ctrl->dir[0].prod.flags = CIRCUIT_TX_URG;
	KUNIT_EXPECT_EQ(test, circuit_rx_flags(rx), 0);
	p->ctrl->dir[0].prod.flags = CIRCUIT_TX_FLAGS + 1;
	KUNIT_EXPECT_EQ(test, circuit_rx_flags(rx), -EPROTO);
	p->ctrl->dir[0].prod.flags = U32_MAX;
	KUNIT_EXPECT_EQ(test, circuit_rx_flags(rx), -EPROTO);
	p->ctrl->dir[0].cons.flags = CIRCUIT_RX_CLOSED;
	KUNIT_EXPECT_EQ(test, circuit_tx_lost(tx, &tx->tail), 0);
	p->ctrl->dir[0].cons.head = 999;
	KUNIT_EXPECT_EQ(test, circuit_tx_lost(tx, &tx->tail), 1);
	p->ctrl->dir[0].cons.flags = 2;
	KUNIT_EXPECT_EQ(test, circuit_tx_lost(tx, &tx->tail), -EPROTO);

	/* Whatever it says, a span never leaves the ring. */
	prandom_seed_state(&rnd, 7);
	for (i = 0; i < 100000; i++) {
		struct circuit_span s;
		int n;

		p->ctrl->dir[0].prod.tail = prandom_u32_state(&rnd);
		n = circuit_rx_avail(rx);
		if (n < 0)
			continue;
		s = circuit_rx_span(rx, 0, n);
		KUNIT_ASSERT_LE(test, s.off[0] + s.len[0], SIZE);
		KUNIT_ASSERT_LE(test, s.off[1] + s.len[1], SIZE);
		KUNIT_ASSERT_EQ(test, s.len[0] + s.len[1], (u32)n);
	}
}

static void ring_urgent(struct kunit *test)
{
	struct pipe *p = pipe_create(test, SIZE, SIZE);
	struct circuit_tx *tx = &p->tx[0];
	struct circuit_rx *rx = &p->rx[1];
	struct circuit_urgent urg = {};
	u32 off;

	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
	circuit_tx_publish(tx, 10);
	circuit_tx_urgent(tx, 5, 0);
	/* announced, but not there yet */
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), 10);
	KUNIT_EXPECT_TRUE(test, circuit_rx_urgent(rx, &urg, &off));
	KUNIT_EXPECT_EQ(test, off, 14u);
	circuit_tx_publish(tx, 20);
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), 30);
	urg.taken = true;
	circuit_rx_release(rx, 14);
	KUNIT_EXPECT_TRUE(test, circuit_rx_urgent(rx, &urg, &off));
	KUNIT_EXPECT_EQ(test, off, 0u);
	circuit_rx_release(rx, 1);
	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
	/* The next is another. */
	circuit_tx_urgent(tx, 1, CIRCUIT_TX_URG);
	circuit_tx_publish(tx, 1);
	KUNIT_EXPECT_EQ(test, circuit_rx_avail(rx), 16);
	KUNIT_EXPECT_TRUE(test, circuit_rx_urgent(rx, &urg, &off));
	KUNIT_EXPECT_EQ(test, off, 15u);
	KUNIT_EXPECT_FALSE(test, urg.taken);
	/* One that was passed does not come back when the indices have gone round. */
	circuit_rx_release(rx, 16);
	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
	rx->head = tx->tail - 5;
	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
	/* Lies lie outside of the ring. */
	p->ctrl->dir[0].prod.urgent = rx->head + SIZE + 1;
	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
	p->ctrl->dir[0].prod.urgent = rx->head;
	KUNIT_EXPECT_FALSE(test, circuit_rx_urgent(rx, &urg, &off));
}

/* Messages of all lengths, one after the other and around the end of the ring. */
static void ring_messages(struct kunit *test)
{
	struct pipe *p = pipe_create(test, SIZE, SIZE);
	static u32 queue[SIZE / sizeof(struct circuit_message)];
	u32 first = 0, last = 0, mask;
	struct circuit_tx *tx = &p->tx[0];
	struct circuit_rx *rx = &p->rx[1];
	struct circuit_message head;
	struct rnd_state rnd;
	int i, space, avail;
	u32 len, at;

	mask = ARRAY_SIZE(queue) - 1;
	prandom_seed_state(&rnd, 43);
	pipe_seek(p, -3 * SIZE - 16);
	for (i = 0; i < 20000; i++) {
		space = circuit_tx_space(tx);
		avail = circuit_rx_avail(rx);
		KUNIT_ASSERT_EQ(test, space + avail, (int)SIZE);
		len = prandom_u32_state(&rnd) % (i % 3 ? 40 : SIZE - sizeof(head) + 1);
		if (i & 1 && circuit_message_bytes(len) <= space) {
			circuit_message_head(tx, len, len & 1);
			at = (tx->tail + sizeof(head)) & (SIZE - 1);
			if (len)
				tx->data[at] = len;
			circuit_tx_publish(tx, circuit_message_bytes(len));
			queue[last++ & mask] = len;
		} else if (avail && prandom_u32_state(&rnd) & 1) {
			len = queue[first++ & mask];
			KUNIT_ASSERT_EQ(test, circuit_rx_message(rx, &head), 0);
			KUNIT_ASSERT_EQ(test, head.len, len);
			KUNIT_ASSERT_EQ(test, head.flags, len & 1);
			at = (rx->head + sizeof(head)) & (SIZE - 1);
			if (len)
				KUNIT_ASSERT_EQ(test, rx->data[at], (u8)len);
			circuit_rx_release(rx, circuit_message_bytes(len));
		}
		KUNIT_ASSERT_EQ(test, !circuit_rx_avail(rx), first == last);
	}
	KUNIT_EXPECT_GT(test, first, 1000u);
}

/* Whatever is there instead of a message, it is found out, and nothing beyond it is believed. */
static void ring_no_messages(struct kunit *test)
{
	static const struct {
		u32 len, flags, avail;
		int err;
	} want[] = {
		{ 0, 0, 8, 0 }, { 1, 0, 16, 0 }, { 8, 1, 16, 0 }, { 8, 0, 24, 0 },
		{ SIZE - 8, 0, SIZE, 0 },
		{ 9, 0, 16, -EPROTO }, { 1, 0, 8, -EPROTO }, { 8, 2, 16, -EPROTO },
		{ 0, ~0u, 8, -EPROTO }, { ~0u, 0, 16, -EPROTO }, { -8u, 0, 16, -EPROTO },
		{ -9u, 0, SIZE, -EPROTO }, { -16u, 0, 16, -EPROTO }, { SIZE - 7, 0, SIZE, -EPROTO },
		{ SIZE, 0, SIZE, -EPROTO }, { 0, 0, 4, -EPROTO }, { 0, 0, 9, -EPROTO },
		{ 1, 0, 12, -EPROTO },
	};
	struct circuit_message head;
	struct pipe *p;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		p = pipe_create(test, SIZE, SIZE);
		pipe_seek(p, SIZE - 8);
		circuit_message_head(&p->tx[0], want[i].len, want[i].flags);
		circuit_tx_publish(&p->tx[0], want[i].avail);
		KUNIT_ASSERT_EQ(test, circuit_rx_avail(&p->rx[1]), (int)want[i].avail);
		KUNIT_EXPECT_EQ_MSG(test, circuit_rx_message(&p->rx[1], &head), want[i].err,
				    "case %u", i);
	}
	/* A head that is not where one can be. */
	p = pipe_create(test, SIZE, SIZE);
	pipe_seek(p, 4);
	circuit_message_head(&p->tx[0], 0, 0);
	circuit_tx_publish(&p->tx[0], 8);
	KUNIT_ASSERT_EQ(test, circuit_rx_avail(&p->rx[1]), 8);
	KUNIT_EXPECT_EQ(test, circuit_rx_message(&p->rx[1], &head), -EPROTO);
}

/* Heads of datagrams may wrap, and say all kinds of things. */
static void ring_datagrams(struct kunit *test)
{
	static const struct {
		u32 len, avail;
		int err;
	} want[] = {
		{ 0, 48, 0 }, { 1, 56, 0 }, { 8, 56, 0 }, { 8, 104, 0 }, { SIZE - 48, SIZE, 0 },
		{ 0, 40, -EPROTO }, { 0, 8, -EPROTO }, { 9, 56, -EPROTO }, { 1, 48, -EPROTO },
		{ ~0u, 64, -EPROTO }, { -48u, SIZE, -EPROTO }, { -55u, SIZE, -EPROTO },
		{ SIZE - 47, SIZE, -EPROTO }, { SIZE, SIZE, -EPROTO }, { 0, 49, -EPROTO },
		{ 1, 52, -EPROTO },
	};
	struct circuit_datagram head, got;
	struct pipe *p;
	unsigned int i;
	u32 at;

	BUILD_BUG_ON(sizeof(head) != 48);
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		for (at = 0; at < SIZE; at += 8) {
			if (at > 64 && at < SIZE - 128)
				continue;
			p = pipe_create(test, SIZE, SIZE);
			pipe_seek(p, at - SIZE);
			memset(&head, i + 1, sizeof(head));
			head.len = want[i].len;
			circuit_datagram_head(&p->tx[0], &head);
			circuit_tx_publish(&p->tx[0], want[i].avail);
			KUNIT_EXPECT_EQ(test, circuit_rx_avail(&p->rx[1]), (int)want[i].avail);
			KUNIT_EXPECT_EQ_MSG(test, circuit_rx_datagram(&p->rx[1], &got),
					    want[i].err, "%u at %u", i, at);
			if (!want[i].err)
				KUNIT_EXPECT_TRUE(test, !memcmp(&head, &got, sizeof(head)));
		}
	}
}

static struct kunit_case ring_cases[] = {
	KUNIT_CASE(ring_messages),
	KUNIT_CASE(ring_no_messages),
	KUNIT_CASE(ring_datagrams),
	KUNIT_CASE(ring_urgent),
	KUNIT_CASE(ring_sizes),
	KUNIT_CASE(ring_ends_meet),
	KUNIT_CASE(ring_model),
	KUNIT_CASE(ring_notify),
	KUNIT_CASE(ring_arming),
	KUNIT_CASE(ring_hostile),
	{}
};

static struct kunit_suite ring_suite = {
	.name = "circuit_ring",
	.test_cases = ring_cases,
};

/* --- attention -------------------------------------------------------------------- */

struct seen {
	unsigned long *map;
	int calls;
};

static void see(void *arg, u32 index)
{
	struct seen *seen = arg;

	__set_bit(index, seen->map);
	seen->calls++;
}

static struct circuit_attn *attn_create(struct kunit *test, struct seen *seen)
{
	struct circuit_attn *attn = kunit_kzalloc(test, sizeof(*attn), GFP_KERNEL);

	seen->map = kunit_kzalloc(test, sizeof(*attn), GFP_KERNEL);
	seen->calls = 0;
	KUNIT_ASSERT_NOT_NULL(test, attn);
	KUNIT_ASSERT_NOT_NULL(test, seen->map);
	return attn;
}

static void attn_once(struct kunit *test)
{
	struct seen seen;
	struct circuit_attn *attn = attn_create(test, &seen);
	u32 index[] = { 0, 1, 63, 64, 4095, 4096, CIRCUIT_INDEX_MAX }, i;

	for (i = 0; i < ARRAY_SIZE(index); i++) {
		KUNIT_EXPECT_TRUE(test, circuit_attn_raise(attn, index[i]));
		KUNIT_EXPECT_FALSE(test, circuit_attn_raise(attn, index[i]));
	}
	KUNIT_EXPECT_EQ(test, circuit_attn_scan(attn, see, &seen, 100), (int)ARRAY_SIZE(index));
	for (i = 0; i < ARRAY_SIZE(index); i++)
		KUNIT_EXPECT_TRUE(test, test_bit(index[i], seen.map));
	KUNIT_EXPECT_EQ(test, circuit_attn_scan(attn, see, &seen, 100), 0);
	KUNIT_EXPECT_TRUE(test, circuit_attn_raise(attn, 63));
}

static void attn_budget(struct kunit *test)
{
	struct seen seen;
	struct circuit_attn *attn = attn_create(test, &seen);
	struct rnd_state rnd;
	int raised = 0, rounds = 0, n, i;

	prandom_seed_state(&rnd, 1);
	for (i = 0; i < 1000; i++)
		raised += circuit_attn_raise(attn, prandom_u32_state(&rnd) %
					     (CIRCUIT_INDEX_MAX + 1));
	do {
		n = circuit_attn_scan(attn, see, &seen, 7);
		KUNIT_ASSERT_LE(test, n, 7);
		rounds++;
	} while (n == 7);
	KUNIT_EXPECT_EQ(test, seen.calls, raised);
	KUNIT_EXPECT_EQ(test, rounds, raised / 7 + 1);
	KUNIT_EXPECT_EQ(test, (int)bitmap_weight(seen.map, CIRCUIT_INDEX_MAX + 1), raised);
}

/* A page full of ones, summary bits that stand for nothing among them. */
static void attn_hostile(struct kunit *test)
{
	struct seen seen;
	struct circuit_attn *attn = attn_create(test, &seen);
	int n, total = 0;

	memset(attn, 0xff, sizeof(*attn));
	do {
		n = circuit_attn_scan(attn, see, &seen, 64);
		total += n;
		KUNIT_ASSERT_LE(test, total, CIRCUIT_INDEX_MAX + 1);
	} while (n);
	KUNIT_EXPECT_EQ(test, total, CIRCUIT_INDEX_MAX + 1);
}

static struct kunit_case attn_cases[] = {
	KUNIT_CASE(attn_once),
	KUNIT_CASE(attn_budget),
	KUNIT_CASE(attn_hostile),
	{}
};

static struct kunit_suite attn_suite = {
	.name = "circuit_attn",
	.test_cases = attn_cases,
};

/* --- signalling ------------------------------------------------------------------- */

static const struct { u16 type; u32 body; } sig_bodies[] = {
	{ CIRCUIT_SIG_HELLO, sizeof(struct circuit_sig_hello) },
	{ CIRCUIT_SIG_LISTEN, sizeof(struct circuit_sig_listen) },
	{ CIRCUIT_SIG_UNLISTEN, 0 },
	{ CIRCUIT_SIG_CALL, sizeof(struct circuit_sig_call) },
	{ CIRCUIT_SIG_CANCEL, 0 },
	{ CIRCUIT_SIG_ANSWER, sizeof(struct circuit_sig_answer) },
	{ CIRCUIT_SIG_HANGUP, sizeof(struct circuit_sig_hangup) },
	{ CIRCUIT_SIG_OPTIONS, sizeof(struct circuit_sig_options) },
	{ CIRCUIT_SIG_WANT, sizeof(struct circuit_sig_want) },
};

static void sig_form(struct kunit *test)
{
	struct circuit_sig msg;
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(sig_bodies); i++) {
		memset(&msg, 0, sizeof(msg));
		msg.type = sig_bodies[i].type;
		KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
		msg.reserved = 1;
		KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
		msg.reserved = 0;
		for (j = sig_bodies[i].body; j < sizeof(msg.body); j++) {
			msg.body[j] = 1;
			KUNIT_ASSERT_EQ(test, circuit_sig_check(&msg), -EPROTO);
			msg.body[j] = 0;
		}
	}
}

static void sig_types(struct kunit *test)
{
	struct circuit_sig msg = {};
	u32 type, good = 0;

	for (type = 0; type <= U16_MAX; type++) {
		msg.type = type;
		good += !circuit_sig_check(&msg);
	}
	KUNIT_EXPECT_EQ(test, good, (u32)ARRAY_SIZE(sig_bodies));
}

static void sig_values(struct kunit *test)
{
	struct circuit_sig msg = { .type = CIRCUIT_SIG_HELLO, .hello.reserved = 1 };

	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_HELLO, .ref = 1 };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_WANT, .ref = 1 };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	/* What belongs to IP addresses comes with their flag, and nothing else does. */
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_CALL, .call.flags = CIRCUIT_SIG_IP,
				    .call.dst[15] = 1 };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg.call.line[0] = 'a';
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.call.line[0] = 0;
	msg.call.flags = 0;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.call.flags = CIRCUIT_SIG_IP | CIRCUIT_SIG_V6ONLY;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	/* So do hints. */
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_CALL, .call.uid = 1 };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.call.hints = CIRCUIT_SIG_HINT_CGROUP;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.call.hints = CIRCUIT_SIG_HINT_UID;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg.call.cgroup = 1;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.call.hints |= CIRCUIT_SIG_HINT_CGROUP;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg.call.hints |= CIRCUIT_SIG_HINT_CGROUP << 1;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_LISTEN, .listen.flags = CIRCUIT_SIG_IP |
				    CIRCUIT_SIG_V6ONLY | CIRCUIT_SIG_REUSEPORT };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg.listen.flags = CIRCUIT_SIG_REUSEPORT;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.listen.flags = 1u << 31 | CIRCUIT_SIG_IP;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_HANGUP,
				    .hangup.reason = CIRCUIT_REASON_MAX };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
	msg.hangup.reason--;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg = (struct circuit_sig){ .type = CIRCUIT_SIG_OPTIONS,
				    .options.flags = CIRCUIT_SIG_KEEPALIVE };
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), 0);
	msg.options.flags |= CIRCUIT_SIG_KEEPALIVE << 1;
	KUNIT_EXPECT_EQ(test, circuit_sig_check(&msg), -EPROTO);
}

static void sig_reasons(struct kunit *test)
{
	u32 reason;

	KUNIT_EXPECT_EQ(test, circuit_reason_errno(CIRCUIT_REASON_NONE), 0);
	for (reason = 1; reason < CIRCUIT_REASON_MAX; reason++)
		KUNIT_EXPECT_GT(test, circuit_reason_errno(reason), 0);
}

static struct kunit_case sig_cases[] = {
	KUNIT_CASE(sig_form),
	KUNIT_CASE(sig_types),
	KUNIT_CASE(sig_values),
	KUNIT_CASE(sig_reasons),
	{}
};

static struct kunit_suite sig_suite = {
	.name = "circuit_signalling",
	.test_cases = sig_cases,
};

/* --- directory -------------------------------------------------------------------- */

static void names(struct kunit *test)
{
	static const struct { const char *name; bool ok; } cases[] = {
		{ "a", true }, { "web-1.example_x", true }, { "A0", true }, { ".x", true },
		{ "", false }, { "-x", false }, { "a b", false }, { "a/b", false },
		{ "\x1b[0m", false }, { "\xc3\xa9", false }, { "a\nb", false },
		{ "0123456789012345678901234567890", true },
	};
	char name[CIRCUIT_NAME_SIZE];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(name, 0, sizeof(name));
		strscpy(name, cases[i].name, sizeof(name));
		KUNIT_EXPECT_EQ_MSG(test, circuit_name_ok(name), cases[i].ok, "%u", i);
	}
	memset(name, 'a', sizeof(name));
	KUNIT_EXPECT_FALSE(test, circuit_name_ok(name));
	/* Nothing may hide behind the end. */
	memset(name, 0, sizeof(name));
	name[0] = 'a';
	name[2] = 'b';
	KUNIT_EXPECT_FALSE(test, circuit_name_ok(name));
}

static void directory(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct circuit_line *lines = kunit_kcalloc(test, 100, sizeof(*lines), GFP_KERNEL);
	struct circuit_listener *lst = kunit_kcalloc(test, 100, sizeof(*lst), GFP_KERNEL);
	struct circuit_listener *dup_lst = kunit_kzalloc(test, sizeof(*dup_lst), GFP_KERNEL);
	struct circuit_line *dup = kunit_kzalloc(test, sizeof(*dup), GFP_KERNEL);
	char name[CIRCUIT_NAME_SIZE];
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, lines);
	KUNIT_ASSERT_NOT_NULL(test, lst);
	KUNIT_ASSERT_NOT_NULL(test, dup_lst);
	KUNIT_ASSERT_NOT_NULL(test, dup);
	mutex_init(&ex->lock);
	KUNIT_ASSERT_EQ(test, circuit_directory_init(ex), 0);
	mutex_lock(&ex->lock);
	for (i = 0; i < 100; i++) {
		lines[i].id = i + 1;
		snprintf(lines[i].name, CIRCUIT_NAME_SIZE, "line%u", i);
		KUNIT_EXPECT_EQ(test, circuit_directory_add_line(ex, &lines[i]), 0);
		lst[i].key.line = i % 10 + 1;
		lst[i].key.port = i / 10 + 1;
		KUNIT_EXPECT_EQ(test, circuit_directory_add_listener(ex, &lst[i]), 0);
	}
	for (i = 0; i < 100; i++) {
		memcpy(dup->name, lines[i].name, CIRCUIT_NAME_SIZE);
		dup_lst->key = lst[i].key;
		KUNIT_EXPECT_EQ(test, circuit_directory_add_line(ex, dup), -EEXIST);
		KUNIT_EXPECT_EQ(test, circuit_directory_add_listener(ex, dup_lst), -EEXIST);
		KUNIT_EXPECT_PTR_EQ(test, circuit_directory_line(ex, lines[i].name), &lines[i]);
		KUNIT_EXPECT_PTR_EQ(test, circuit_directory_listener(ex, &lines[i % 10], 0,
								     i / 10 + 1, NULL, i), &lst[i]);
	}
	memset(name, 0, sizeof(name));
	strscpy(name, "nobody", sizeof(name));
	KUNIT_EXPECT_NULL(test, circuit_directory_line(ex, name));
	KUNIT_EXPECT_NULL(test, circuit_directory_listener(ex, &lines[50], 0, 1, NULL, 0));
	for (i = 0; i < 100; i++) {
		circuit_directory_del_line(ex, &lines[i]);
		circuit_directory_del_listener(ex, &lst[i]);
		KUNIT_EXPECT_NULL(test, circuit_directory_line(ex, lines[i].name));
	}
	mutex_unlock(&ex->lock);
	circuit_directory_destroy(ex);
}

static struct in6_addr ip4(u32 addr)
{
	struct in6_addr in6;

	ipv6_addr_set_v4mapped(htonl(addr), &in6);
	return in6;
}

static struct in6_addr ip6(u32 last)
{
	return (struct in6_addr){ .s6_addr32 = { htonl(0xfd000077), 0, 0, htonl(last) } };
}

/* A call to an IP address finds whom TCP would find. */
static void services(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	const struct in6_addr any6 = {}, any4 = ip4(0), four = ip4(0x0a4d0002), six = ip6(2);
	const struct in6_addr other4 = ip4(0x0a4d0003), other6 = ip6(3);
	const struct { struct in6_addr addr; u32 flags, port; } want[] = {
		{ any4, 0, 80 },
		{ any6, CIRCUIT_SIG_V6ONLY, 80 },
		{ four, 0, 80 },
		{ six, 0, 80 },
		{ any6, 0, 81 },
		{ any4, CIRCUIT_SIG_REUSEPORT, 82 },
		{ any4, CIRCUIT_SIG_REUSEPORT, 82 },
	};
	struct circuit_listener *lst = kunit_kcalloc(test, ARRAY_SIZE(want) + 1, sizeof(*lst),
						     GFP_KERNEL);
	struct circuit_line *line = kunit_kzalloc(test, sizeof(*line), GFP_KERNEL);
	struct circuit_listener *again = &lst[ARRAY_SIZE(want)];
	u32 i, first = 0;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, lst);
	KUNIT_ASSERT_NOT_NULL(test, line);
	line->id = 7;
	mutex_init(&ex->lock);
	KUNIT_ASSERT_EQ(test, circuit_directory_init(ex), 0);
	mutex_lock(&ex->lock);
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		lst[i].key = (struct circuit_service){ 7, 0, want[i].port, 1 };
		lst[i].addr = want[i].addr;
		lst[i].flags = want[i].flags;
		KUNIT_ASSERT_EQ(test, circuit_directory_add_listener(ex, &lst[i]), 0);
	}
#define FOUND(port, addr) circuit_directory_listener(ex, line, 0, port, addr, 1)
	KUNIT_EXPECT_PTR_EQ(test, FOUND(80, &four), &lst[2]);
	KUNIT_EXPECT_PTR_EQ(test, FOUND(80, &other4), &lst[0]);
	KUNIT_EXPECT_PTR_EQ(test, FOUND(80, &six), &lst[3]);
	KUNIT_EXPECT_PTR_EQ(test, FOUND(80, &other6), &lst[1]);
	KUNIT_EXPECT_PTR_EQ(test, FOUND(81, &four), &lst[4]);
	KUNIT_EXPECT_PTR_EQ(test, FOUND(81, &six), &lst[4]);
	KUNIT_EXPECT_NULL(test, FOUND(82, &six));
	KUNIT_EXPECT_NULL(test, FOUND(83, &four));
	KUNIT_EXPECT_NULL(test, circuit_directory_listener(ex, line, 0, 80, NULL, 0));
	/* Each kind of socket has ports of its own. */
	KUNIT_EXPECT_NULL(test, circuit_directory_listener(ex, line, 1, 80, &four, 0));
#undef FOUND
	/* V6ONLY is not for IPv4 even if nobody else is. */
	circuit_directory_del_listener(ex, &lst[0]);
	KUNIT_EXPECT_NULL(test, circuit_directory_listener(ex, line, 0, 80, &other4, 0));
	KUNIT_EXPECT_EQ(test, circuit_directory_add_listener(ex, &lst[0]), 0);
	/* All who share a port must want to; those who do get about as much each. */
	*again = lst[2];
	again->flags = CIRCUIT_SIG_REUSEPORT;
	KUNIT_EXPECT_EQ(test, circuit_directory_add_listener(ex, again), -EEXIST);
	for (i = 0; i < 1000; i++)
		first += circuit_directory_listener(ex, line, 0, 82, &four, i * 2654435761u) == &lst[5];
	KUNIT_EXPECT_GT(test, first, 400u);
	KUNIT_EXPECT_LT(test, first, 600u);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		circuit_directory_del_listener(ex, &lst[i]);
	mutex_unlock(&ex->lock);
	circuit_directory_destroy(ex);
}

/* A line's addresses are replaced as a whole, or not at all. */
static void addresses(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct in6_addr addr[4] = { ip4(0x0a4d0002), ip6(2), ip4(0x0a4d0003), ip6(3) };
	struct circuit_line *lines = kunit_kcalloc(test, 2, sizeof(*lines), GFP_KERNEL);
	struct circuit_line *a = &lines[0], *b = &lines[1];
	unsigned int bad = 99;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, lines);
	a->ex = ex;
	b->ex = ex;
	mutex_init(&ex->lock);
	INIT_LIST_HEAD(&a->addrs);
	INIT_LIST_HEAD(&b->addrs);
	KUNIT_ASSERT_EQ(test, circuit_directory_init(ex), 0);
	mutex_lock(&ex->lock);
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(a, addr, 2, &bad), 0);
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(b, addr + 1, 3, &bad), -EEXIST);
	KUNIT_EXPECT_EQ(test, bad, 0u);
	KUNIT_EXPECT_TRUE(test, list_empty(&b->addrs));
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(b, addr + 2, 2, &bad), 0);
	/* One that stays, one that is another's. */
	swap(addr[0], addr[1]);
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(a, addr, 3, &bad), -EEXIST);
	KUNIT_EXPECT_EQ(test, bad, 2u);
	KUNIT_EXPECT_PTR_EQ(test, circuit_directory_addr(ex, &addr[0]), a);
	KUNIT_EXPECT_PTR_EQ(test, circuit_directory_addr(ex, &addr[1]), a);
	KUNIT_EXPECT_PTR_EQ(test, circuit_directory_addr(ex, &addr[2]), b);
	KUNIT_EXPECT_TRUE(test, ipv6_addr_equal(&list_first_entry(&a->addrs, struct circuit_addr,
								  list)->addr, &addr[1]));
	/* The order is the one asked for. */
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(a, addr, 2, &bad), 0);
	KUNIT_EXPECT_TRUE(test, ipv6_addr_equal(&list_first_entry(&a->addrs, struct circuit_addr,
								  list)->addr, &addr[0]));
	/* The same one twice. */
	addr[1] = addr[0];
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(a, addr, 2, &bad), -EEXIST);
	KUNIT_EXPECT_EQ(test, circuit_line_set_addrs(a, addr, 1, &bad), 0);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&a->addrs));
	circuit_line_set_addrs(a, NULL, 0, NULL);
	circuit_line_set_addrs(b, NULL, 0, NULL);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_NULL(test, circuit_directory_addr(ex, &addr[i]));
	mutex_unlock(&ex->lock);
	circuit_directory_destroy(ex);
}

static void tuples(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct circuit *c = kunit_kcalloc(test, 2, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, c);
	mutex_init(&ex->lock);
	KUNIT_ASSERT_EQ(test, circuit_directory_init(ex), 0);
	mutex_lock(&ex->lock);
	c[0].tuple = (struct circuit_tuple){ ip4(1), ip4(2), 3, 4 };
	c[1].tuple = c[0].tuple;
	KUNIT_EXPECT_EQ(test, circuit_directory_add_tuple(ex, &c[0]), 0);
	KUNIT_EXPECT_EQ(test, circuit_directory_add_tuple(ex, &c[1]), -EEXIST);
	c[1].tuple.sport++;
	KUNIT_EXPECT_EQ(test, circuit_directory_add_tuple(ex, &c[1]), 0);
	circuit_directory_del_tuple(ex, &c[0]);
	circuit_directory_del_tuple(ex, &c[1]);
	mutex_unlock(&ex->lock);
	circuit_directory_destroy(ex);
}

static struct kunit_case directory_cases[] = {
	KUNIT_CASE(names),
	KUNIT_CASE(directory),
	KUNIT_CASE(services),
	KUNIT_CASE(addresses),
	KUNIT_CASE(tuples),
	{}
};

static struct kunit_suite directory_suite = {
	.name = "circuit_directory",
	.test_cases = directory_cases,
};

/* --- cables and windows ----------------------------------------------------------- */

static void cable_carving(struct kunit *test)
{
	struct circuit_cable *cable = circuit_cable_alloc(3 * PAGE_SIZE, CIRCUIT_WINDOW_SLOT);
	u32 bytes = circuit_bytes(SIZE, SIZE), n = 0;
	int first;

	KUNIT_ASSERT_NOT_NULL(test, cable);
	KUNIT_EXPECT_GE(test, cable->npages, 3u);
	KUNIT_EXPECT_TRUE(test, is_power_of_2(cable->npages));
	while ((first = circuit_cable_carve(cable, bytes)) >= 0) {
		KUNIT_ASSERT_EQ(test, (u32)first, 3 * n);
		n++;
	}
	KUNIT_EXPECT_EQ(test, first, -ENOSPC);
	KUNIT_EXPECT_EQ(test, n, cable->npages / 3);
	KUNIT_EXPECT_EQ(test, cable->circuits, n);
	if (n > 1) {
		/* The hole is found again, and nothing larger than it. */
		circuit_cable_return(cable, 3, bytes);
		KUNIT_EXPECT_EQ(test, circuit_cable_carve(cable, bytes + 4 * PAGE_SIZE), -ENOSPC);
		KUNIT_EXPECT_EQ(test, circuit_cable_carve(cable, bytes), 3);
	}
	while (n--)
		circuit_cable_return(cable, 3 * n, bytes);
	KUNIT_EXPECT_EQ(test, cable->used, 0u);
	KUNIT_EXPECT_EQ(test, cable->circuits, 0u);
	circuit_cable_free(cable);
}

/* Random sizes in, random ones out; nothing ever overlaps. */
static void cable_model(struct kunit *test)
{
	struct circuit_cable *cable = circuit_cable_alloc(CIRCUIT_WINDOW_SLOT, CIRCUIT_WINDOW_SLOT);
	struct { int first; u32 pages; } slot[64] = {};
	u8 *owner;
	struct rnd_state rnd;
	u32 i, j;

	if (!cable)
		kunit_skip(test, "no memory for a whole cable");
	owner = kunit_kzalloc(test, cable->npages, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, owner);
	prandom_seed_state(&rnd, 3);
	for (i = 0; i < 5000; i++) {
		u32 k = prandom_u32_state(&rnd) % ARRAY_SIZE(slot);

		if (slot[k].pages) {
			for (j = 0; j < slot[k].pages; j++) {
				KUNIT_ASSERT_EQ(test, (u32)owner[slot[k].first + j], k + 1);
				owner[slot[k].first + j] = 0;
			}
			circuit_cable_return(cable, slot[k].first, slot[k].pages * PAGE_SIZE);
			slot[k].pages = 0;
			continue;
		}
		slot[k].pages = 1 + (2u << prandom_u32_state(&rnd) % 6);
		slot[k].first = circuit_cable_carve(cable, slot[k].pages * PAGE_SIZE);
		if (slot[k].first < 0) {
			slot[k].pages = 0;
			continue;
		}
		for (j = 0; j < slot[k].pages; j++) {
			KUNIT_ASSERT_EQ(test, owner[slot[k].first + j], 0);
			owner[slot[k].first + j] = k + 1;
		}
	}
	circuit_cable_free(cable);
}

static void cable_places(struct kunit *test)
{
	struct circuit_line a = {}, b = {};
	struct circuit_cable cable = {
		.side = { { .line = &a, .slot = 1 }, { .line = &b, .slot = 7 } },
	};

	KUNIT_EXPECT_EQ(test, circuit_cable_offset(&cable, &a, 0), (u64)CIRCUIT_WINDOW_SLOT);
	KUNIT_EXPECT_EQ(test, circuit_cable_offset(&cable, &b, 3),
			7 * (u64)CIRCUIT_WINDOW_SLOT + 3 * PAGE_SIZE);
}

/* A window with room for @slots cables, of which nobody has a mapping. */
static struct circuit_window *window_of(struct kunit *test, u32 slots)
{
	struct circuit_window *win = kunit_kzalloc(test, sizeof(*win), GFP_KERNEL);
	struct page *area;

	KUNIT_ASSERT_NOT_NULL(test, win);
	win->inode = kunit_kzalloc(test, sizeof(*win->inode), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, win->inode);
	win->inode->i_mapping = &win->inode->i_data;
	address_space_init_once(win->inode->i_mapping);
	win->size = (1 + slots) * (u64)CIRCUIT_WINDOW_SLOT;
	xa_init_flags(&win->slots, XA_FLAGS_ALLOC1);
	win->scratch = alloc_page(GFP_KERNEL | __GFP_ZERO);
	area = alloc_pages(GFP_KERNEL | __GFP_ZERO, get_order(CIRCUIT_LINE_AREA));
	KUNIT_ASSERT_NOT_NULL(test, win->scratch);
	KUNIT_ASSERT_NOT_NULL(test, area);
	split_page(area, get_order(CIRCUIT_LINE_AREA));
	win->area = page_address(area);
	return win;
}

/* Every reference that was handed out has come back, or a page would not be free now. */
static void window_done(struct kunit *test, struct circuit_window *win)
{
	struct page *area = virt_to_page(win->area);
	u32 i;

	KUNIT_EXPECT_TRUE(test, xa_empty(&win->slots));
	xa_destroy(&win->slots);
	for (i = 0; i < 1u << get_order(CIRCUIT_LINE_AREA); i++) {
		KUNIT_EXPECT_EQ(test, page_count(area + i), 1);
		__free_page(area + i);
	}
	KUNIT_EXPECT_EQ(test, page_count(win->scratch), 1);
	__free_page(win->scratch);
}

static struct page *shown(struct circuit_window *win, u64 off)
{
	struct page *page = circuit_window_page(win, off);

	put_page(page);		/* whoever owns it has another */
	return page;
}

static void window_pages(struct kunit *test)
{
	struct circuit_cable *small = circuit_cable_alloc(3 * PAGE_SIZE, 4 * PAGE_SIZE);
	struct circuit_cable *whole = circuit_cable_alloc(CIRCUIT_WINDOW_SLOT, CIRCUIT_WINDOW_SLOT);
	struct circuit_window *win = window_of(test, 3);
	const u64 slot = CIRCUIT_WINDOW_SLOT;
	u32 at[3] = {};
	u64 off;

	if (!whole)
		kunit_skip(test, "no memory for a whole cable");
	KUNIT_ASSERT_NOT_NULL(test, small);
	/* The line's area, and scratch from its last byte on. */
	for (off = 0; off < CIRCUIT_LINE_AREA; off += PAGE_SIZE)
		KUNIT_EXPECT_PTR_EQ(test, shown(win, off), virt_to_page(win->area + off));
	for (; off < win->size; off += PAGE_SIZE)
		KUNIT_ASSERT_PTR_EQ(test, shown(win, off), win->scratch);

	KUNIT_EXPECT_EQ(test, circuit_window_show(win, small, &at[0]), 0);
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, whole, &at[1]), 0);
	KUNIT_EXPECT_EQ(test, at[0], 1u);
	KUNIT_EXPECT_EQ(test, at[1], 2u);
	for (off = 0; off < 4 * slot; off += PAGE_SIZE) {
		struct page *want = win->scratch;

		if (off < CIRCUIT_LINE_AREA)
			want = virt_to_page(win->area + off);
		else if (off >= slot && off < slot + 4 * PAGE_SIZE)
			want = small->page + (off - slot) / PAGE_SIZE;
		else if (off >= 2 * slot && off < 3 * slot)
			want = whole->page + (off - 2 * slot) / PAGE_SIZE;
		KUNIT_ASSERT_PTR_EQ_MSG(test, shown(win, off), want, "at %llx", off);
	}
	/* Of a page, every byte. */
	KUNIT_EXPECT_PTR_EQ(test, shown(win, slot + PAGE_SIZE - 1), small->page);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, 3 * slot - 1), whole->page + whole->npages - 1);

	/*
	 * Taken away it is scratch; shown once more it is there again, where there is room first.
	 */
	circuit_window_revoke(win, small, at[0]);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, slot), win->scratch);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, 2 * slot), whole->page);
	circuit_window_revoke(win, whole, at[1]);
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, whole, &at[1]), 0);
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, small, &at[0]), 0);
	KUNIT_EXPECT_EQ(test, at[1], 1u);
	KUNIT_EXPECT_EQ(test, at[0], 2u);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, 2 * slot - PAGE_SIZE), whole->page + whole->npages - 1);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, 2 * slot), small->page);

	/* A window that is full has not changed by that, and has room again for one. */
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, small, &at[2]), 0);
	KUNIT_EXPECT_EQ(test, at[2], 3u);
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, whole, &at[2]), -ENOSPC);
	KUNIT_EXPECT_PTR_EQ(test, shown(win, 3 * slot), small->page);
	circuit_window_revoke(win, small, at[0]);
	KUNIT_EXPECT_EQ(test, circuit_window_show(win, whole, &at[0]), 0);
	KUNIT_EXPECT_EQ(test, at[0], 2u);
	circuit_window_revoke(win, whole, 1);
	circuit_window_revoke(win, whole, 2);
	circuit_window_revoke(win, small, 3);
	KUNIT_EXPECT_EQ(test, page_count(small->page), 1);
	KUNIT_EXPECT_EQ(test, page_count(whole->page), 1);
	circuit_cable_free(small);
	circuit_cable_free(whole);
	window_done(test, win);
}

/* A line of which there is only what cables need, with room for so many in its window. */
static void cable_line(struct kunit *test, struct circuit_exchange *ex, struct circuit_line *line,
		       u32 id, u32 slots)
{
	kref_init(&line->ref);
	line->ex = ex;
	line->id = id;
	xa_init(&line->pairs);
	circuit_limits_none(&line->quota.limits);
	rcu_assign_pointer(line->win, window_of(test, slots));
}

/* Whatever a guest writes to its table, it is a vector that its device has. */
static void window_vectors(struct kunit *test)
{
	struct circuit_window *win = window_of(test, 3);
	struct circuit_guest_hdr *guest = win->area + CIRCUIT_OFF_GUEST;
	unsigned int hint;

	for (win->vectors = 1; win->vectors <= CIRCUIT_VECTORS_MAX; win->vectors++) {
		for (hint = 0; hint < 256; hint++) {
			guest->vector[7] = hint;
			guest->vector[0] = hint;
			KUNIT_ASSERT_EQ(test, circuit_window_vector(win, 7),
					hint < win->vectors ? hint : 0);
			/* Circuits share slots, but none has signalling's. */
			KUNIT_ASSERT_EQ(test, circuit_window_vector(win, 7 + CIRCUIT_STEERED),
					circuit_window_vector(win, 7));
			KUNIT_ASSERT_EQ(test, circuit_window_vector(win, 0), 0);
		}
	}
	win->vectors = 0;
	window_done(test, win);
}

/* What a call is told when there is no place for its cable: nobody was charged, nothing is left. */
static void window_full(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct circuit_line *lines = kunit_kcalloc(test, 2, sizeof(*lines), GFP_KERNEL);
	struct circuit *c = kunit_kcalloc(test, 2, sizeof(*c), GFP_KERNEL);
	struct circuit_line *a = &lines[0], *b = &lines[1];
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, lines);
	KUNIT_ASSERT_NOT_NULL(test, c);
	mutex_init(&ex->lock);
	INIT_LIST_HEAD(&ex->idle_cables);
	for (i = 0; i < 2; i++) {
		/*
		 * Memory for three small cables; room for three in one window, for one in the
		 * other.
		 */
		cable_line(test, ex, &lines[i], i + 1, i ? 1 : 3);
		lines[i].quota.limits.max[CIRCUIT_MEMORY] = 3 * 4 * PAGE_SIZE;
		c[i].size[0] = c[i].size[1] = CIRCUIT_RING_MIN;
	}
	mutex_lock(&ex->lock);
	b->quota.limits.max[CIRCUIT_MEMORY] = 4 * PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, circuit_pair_carve(a, b, &c[0]), CIRCUIT_REASON_NONE);
	b->quota.limits.max[CIRCUIT_MEMORY] = 3 * 4 * PAGE_SIZE;
	for (i = 0; i < 2; i++)
		circuit_cable_count(c[0].cable, &lines[i], 1);
	KUNIT_EXPECT_EQ(test, circuit_pair_carve(a, b, &c[1]), CIRCUIT_REASON_NO_MEMORY);
	KUNIT_EXPECT_NULL(test, c[1].cable);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, lines[i].quota.used[CIRCUIT_MEMORY], 4ull * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, circuit_cable_offset(c[0].cable, &lines[i], 0),
				(u64)CIRCUIT_WINDOW_SLOT);
	}
	KUNIT_EXPECT_PTR_EQ(test, shown(circuit_line_window(a), 2 * CIRCUIT_WINDOW_SLOT),
			    circuit_line_window(a)->scratch);
	for (i = 0; i < 2; i++)
		circuit_cable_count(c[0].cable, &lines[i], -1);
	circuit_pair_return(&c[0]);
	circuit_pair_end(a);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, lines[i].quota.used[CIRCUIT_MEMORY], 0ull);
		KUNIT_EXPECT_EQ(test, kref_read(&lines[i].ref), 1u);
		KUNIT_EXPECT_TRUE(test, xa_empty(&lines[i].pairs));
		window_done(test, circuit_line_window(&lines[i]));
	}
	mutex_unlock(&ex->lock);
}

/* Who has used up its memory has nobody else lose the cables that are ready for their next call. */
static void cables_kept(struct kunit *test)
{
	struct circuit_exchange *ex = kunit_kzalloc(test, sizeof(*ex), GFP_KERNEL);
	struct circuit_line *lines = kunit_kcalloc(test, 3, sizeof(*lines), GFP_KERNEL);
	struct circuit *c = kunit_kcalloc(test, 2, sizeof(*c), GFP_KERNEL);
	struct circuit_line *a = &lines[0], *b = &lines[1], *other = &lines[2];
	u64 used;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, ex);
	KUNIT_ASSERT_NOT_NULL(test, lines);
	KUNIT_ASSERT_NOT_NULL(test, c);
	mutex_init(&ex->lock);
	INIT_LIST_HEAD(&ex->idle_cables);
	for (i = 0; i < 3; i++)
		cable_line(test, ex, &lines[i], i + 1, 3);
	for (i = 0; i < 2; i++)
		c[i].size[0] = c[i].size[1] = CIRCUIT_RING_MIN;
	mutex_lock(&ex->lock);
	KUNIT_ASSERT_EQ(test, circuit_pair_carve(b, other, &c[0]), CIRCUIT_REASON_NONE);
	circuit_pair_return(&c[0]);
	/* So may a relay that has found it before. */
	KUNIT_EXPECT_FALSE(test, circuit_end_left(&c[0].end[0]));
	used = b->quota.used[CIRCUIT_MEMORY];
	KUNIT_EXPECT_GT(test, used, 0ull);
	a->quota.limits.max[CIRCUIT_MEMORY] = PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, circuit_pair_carve(a, b, &c[1]), CIRCUIT_REASON_QUOTA_MEMORY);
	KUNIT_EXPECT_EQ(test, b->quota.used[CIRCUIT_MEMORY], used);
	/* If it is short itself, they go. */
	b->quota.limits.max[CIRCUIT_MEMORY] = used;
	KUNIT_EXPECT_EQ(test, circuit_pair_carve(a, b, &c[1]), CIRCUIT_REASON_QUOTA_MEMORY);
	KUNIT_EXPECT_EQ(test, b->quota.used[CIRCUIT_MEMORY], 0ull);
	for (i = 0; i < 3; i++) {
		circuit_pair_end(&lines[i]);
		window_done(test, circuit_line_window(&lines[i]));
	}
	mutex_unlock(&ex->lock);
}

/* --- many circuits ------------------------------------------------------------------ */

#define SCALE_LINES	100		/* each has circuits with its neighbour */
#define SCALE_PORT	80
#define SCALE_LISTENER	1

static const unsigned int scale_levels[] = { 1000, 10000, 100000 };

/* A line whose guest is the test. */
struct subscriber {
	struct circuit_line	*line;
	struct circuit_tx	tx;
	struct circuit_rx	rx;
	struct in6_addr		addr;
	u32			calls;
};

static void subscribe(struct kunit *test, struct circuit_exchange *ex, struct subscriber *s, u32 nr)
{
	static const struct circuit_line_config cfg = {
		.ring_max = CIRCUIT_RING_MIN,
		.ring_default = CIRCUIT_RING_MIN,
	};
	const struct circuit_sig_listen listen = {
		.type = CIRCUIT_SIG_STREAM,
		.flags = CIRCUIT_SIG_IP,
		.port = SCALE_PORT,
		.backlog = 16,
	};
	char name[CIRCUIT_NAME_SIZE] = {};
	struct circuit_limits limits;
	enum circuit_reason reason;
	struct circuit_window *win;
	struct circuit_ctrl *ctrl;
	void *data;
	u32 bad;

	snprintf(name, sizeof(name), "scale%u", nr);
	circuit_limits_none(&limits);
	KUNIT_ASSERT_EQ(test, circuit_line_create(ex, name, &cfg, &limits), 0);
	s->line = circuit_directory_line(ex, name);
	s->addr = ip4(0x0a4d0000 + nr + 1);
	KUNIT_ASSERT_EQ(test, circuit_line_set_addrs(s->line, &s->addr, 1, &bad), 0);
	win = window_of(test, 64);
	win->line = s->line;
	rcu_assign_pointer(s->line->win, win);
	circuit_sig_start(s->line, win);
	ctrl = win->area + CIRCUIT_OFF_SIG;
	data = ctrl + 1;
	circuit_ring_init(&s->tx, &s->rx, ctrl, data, CIRCUIT_SIG_RING, data + CIRCUIT_SIG_RING,
			  CIRCUIT_SIG_RING, 0);
	/* All is marked already, so nobody is interrupted. */
	memset(win->area + CIRCUIT_OFF_ATTN_GUEST, 0xff, CIRCUIT_PAGE);
	s->line->ready = true;
	KUNIT_ASSERT_EQ(test, circuit_listen(s->line, SCALE_LISTENER, &listen, &reason), 0);
}

/* What the guest is told next, which is of a certain type. */
static struct circuit_sig hears(struct kunit *test, struct subscriber *s, u16 type)
{
	struct circuit_sig msg = {};
	struct circuit_span span;

	KUNIT_EXPECT_GE(test, circuit_rx_avail(&s->rx), CIRCUIT_SIG_SIZE);
	span = circuit_rx_span(&s->rx, 0, CIRCUIT_SIG_SIZE);
	memcpy(&msg, s->rx.data + span.off[0], sizeof(msg));
	circuit_rx_release(&s->rx, CIRCUIT_SIG_SIZE);
	KUNIT_EXPECT_EQ(test, msg.type, type);
	return msg;
}

/* A call from one to the other that is accepted at once. */
static struct circuit *scale_call(struct kunit *test, struct subscriber *a, struct subscriber *b)
{
	struct circuit_sig_call call = {
		.type = CIRCUIT_SIG_STREAM,
		.flags = CIRCUIT_SIG_IP,
		.port = SCALE_PORT,
	};
	enum circuit_reason reason = CIRCUIT_REASON_NONE;
	struct circuit_sig msg;
	u16 error = 0;

	memcpy(call.dst, &b->addr, sizeof(call.dst));
	KUNIT_EXPECT_EQ(test, circuit_call(a->line, ++a->calls, &call, &reason, &error),
			CIRCUIT_VERDICT_CONNECTED);
	if (reason)
		return NULL;
	hears(test, b, CIRCUIT_SIG_ALERT);
	KUNIT_EXPECT_EQ(test, circuit_answer(circuit_listener_find(b->line, SCALE_LISTENER), 1), 0);
	msg = hears(test, a, CIRCUIT_SIG_CONNECTED);
	return circuit_of_end(xa_load(&a->line->ends, msg.circuit.index));
}

static void scale_hangup(struct circuit *c)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		WRITE_ONCE(c->ctrl->dir[i].prod.flags, CIRCUIT_TX_FIN);
		WRITE_ONCE(c->ctrl->dir[i].cons.flags, CIRCUIT_RX_CLOSED);
	}
	circuit_hangup(&c->end[0], CIRCUIT_REASON_NONE);
	circuit_hangup(&c->end[1], CIRCUIT_REASON_NONE);
}

/*
 * Nanoseconds of setting a call up and ending it, the least of many tries: the machine has other
 * work.
 */
static u64 scale_cost(struct kunit *test, struct subscriber *s)
{
	u64 least = U64_MAX, start;
	struct circuit *c;
	u32 i, j;

	for (i = 0; i < 40; i++) {
		start = ktime_get_ns();
		for (j = 0; j < SCALE_LINES; j++) {
			c = scale_call(test, &s[j], &s[j ^ 1]);
			if (!c)
				return 0;
			scale_hangup(c);
		}
		least = min(least, ktime_get_ns() - start);
		cond_resched();
	}
	return div_u64(least, SCALE_LINES);
}

/* What a call takes does not depend on how many circuits there are. */
static void scale(struct kunit *test)
{
	struct subscriber *s = kunit_kcalloc(test, SCALE_LINES, sizeof(*s), GFP_KERNEL);
	struct circuit_exchange *ex = circuit_exchange(&init_net);
	struct circuit_policy *policy = circuit_policy_alloc(CIRCUIT_POLICY_VERDICT_CONNECT, 0);
	u64 cost[ARRAY_SIZE(scale_levels)];
	struct circuit_window *win;
	unsigned int level, i;
	u32 n = 0;

	if (totalram_pages() < 3ul << (29 - PAGE_SHIFT))
		kunit_skip(test, "less than 1.5 GiB of memory");
	KUNIT_ASSERT_NOT_NULL(test, s);
	KUNIT_ASSERT_NOT_NULL(test, policy);
	mutex_lock(&ex->lock);
	swap(ex->policy, policy);
	for (i = 0; i < SCALE_LINES; i++)
		subscribe(test, ex, &s[i], i);
	for (level = 0; level < ARRAY_SIZE(scale_levels); level++) {
		for (; n < scale_levels[level]; n++) {
			if (!scale_call(test, &s[n % SCALE_LINES], &s[(n % SCALE_LINES) ^ 1]))
				break;
			cond_resched();
		}
		KUNIT_EXPECT_EQ(test, n, scale_levels[level]);
		cost[level] = scale_cost(test, s);
		kunit_info(test, "%u circuits: %llu ns to set one up and end it\n", n, cost[level]);
		/* Lookups are no longer; what they look at is in the processor's caches no more. */
		KUNIT_EXPECT_GT(test, cost[level], 0ull);
		KUNIT_EXPECT_LT(test, cost[level], 3 * cost[0]);
	}
	for (i = 0; i < SCALE_LINES; i++)
		circuit_line_reset(s[i].line, CIRCUIT_REASON_PEER_GONE);
	KUNIT_EXPECT_TRUE(test, xa_empty(&ex->circuits));
	for (i = 0; i < SCALE_LINES; i++) {
		win = circuit_line_window(s[i].line);
		RCU_INIT_POINTER(s[i].line->win, NULL);
		KUNIT_EXPECT_EQ(test, s[i].line->quota.used[CIRCUIT_MEMORY], 0ull);
		circuit_line_delete(s[i].line);
		window_done(test, win);
	}
	swap(ex->policy, policy);
	circuit_policy_free(ex, policy);
	mutex_unlock(&ex->lock);
}

static struct kunit_case scale_cases[] = {
	KUNIT_CASE(scale),
	{}
};

static struct kunit_suite scale_suite = {
	.name = "circuit_scale",
	.test_cases = scale_cases,
};

static struct kunit_case cable_cases[] = {
	KUNIT_CASE(cable_carving),
	KUNIT_CASE(cable_model),
	KUNIT_CASE(cable_places),
	KUNIT_CASE(window_pages),
	KUNIT_CASE(window_full),
	KUNIT_CASE(window_vectors),
	KUNIT_CASE(cables_kept),
	{}
};

static struct kunit_suite cable_suite = {
	.name = "circuit_cable",
	.test_cases = cable_cases,
};

/* --- bells ------------------------------------------------------------------------ */

/* So many a second are served, whatever the rate, and however much faster they come. */
static void bell_limit(struct kunit *test)
{
	static const u32 rates[] = { CIRCUIT_DOORBELLS_MIN, 999, 20000, 1000000 };
	u32 every[] = { 300, 7000, 1100000 };
	unsigned int r, e;

	for (r = 0; r < ARRAY_SIZE(rates); r++)
		for (e = 0; e < ARRAY_SIZE(every); e++) {
			u64 start = 12345678901ull, now, until = 0, longest = 0, over, masks = 0;
			struct circuit_toll toll = {};
			u32 served = 0, rung = 0;

			for (now = start; now < start + NSEC_PER_SEC; now += every[e]) {
				rung++;
				if (now < until)
					continue;
				served++;
				over = circuit_toll_take(&toll, 1, NSEC_PER_SEC / rates[r],
							 CIRCUIT_BELL_AT_ONCE, now);
				if (!over)
					continue;
				masks++;
				longest = max(longest, over);
				until = now + clamp_t(u64, over, CIRCUIT_BELL_MASK_MIN,
						      CIRCUIT_BELL_MASK_MAX);
			}
			KUNIT_EXPECT_LE(test, longest, (u64)CIRCUIT_BELL_MASK_MAX);
			/* What may come at once, and one that is too many. */
			KUNIT_EXPECT_LE(test, served, rates[r] + rates[r] / 100 + 1);
			if (rung <= rates[r]) {
				KUNIT_EXPECT_EQ(test, masks, 0ull);
				KUNIT_EXPECT_EQ(test, served, rung);
			} else {
				KUNIT_EXPECT_GE(test, served, rates[r] * 98ull / 100);
			}
		}
}

/* Whoever has something to tell is heard, however often, and whoever has nothing to tell is not. */
static void bell_storm(struct kunit *test)
{
	const u64 one = NSEC_PER_SEC / CIRCUIT_BELL_FREE;
	u64 now = 1, until = 0, over;
	struct circuit_toll toll = {};
	u32 i, served = 0;

	/* A vCPU's doorbell may come when another's has told for both. */
	for (i = 0; i < 1000000; i++, now += 200)
		KUNIT_ASSERT_EQ(test, 0ull, circuit_toll_take(&toll, i % 64 ? 1 : -63, one,
							      CIRCUIT_BELL_FREE_AT_ONCE, now));
	/* What was told is no credit for later. */
	circuit_toll_take(&toll, -1000000, one, CIRCUIT_BELL_FREE_AT_ONCE, now);
	for (i = 0; i < 1000000; i++, now += 1000) {
		if (now < until)
			continue;
		served++;
		over = circuit_toll_take(&toll, 1, one, CIRCUIT_BELL_FREE_AT_ONCE, now);
		if (over)
			until = now + clamp_t(u64, over, CIRCUIT_BELL_MASK_MIN, CIRCUIT_BELL_MASK_MAX);
	}
	KUNIT_EXPECT_GE(test, served, CIRCUIT_BELL_FREE);
	KUNIT_EXPECT_LE(test, served, CIRCUIT_BELL_FREE + 256 + 2);
}

/*
 * Datagrams that come every @gap ns, for a second, and @slow ns later if somebody has looked since
 * the one before: how often they are looked for, how many there were, and for how long they wait.
 */
static unsigned int pace_looks(struct circuit_pace *pace, u64 gap, u64 slow, bool answered,
			       unsigned int *n, u64 *worst)
{
	u64 now = 1234567890123ull, end = now + NSEC_PER_SEC, next = now, first, timer;
	unsigned int looks = 0;
	u32 ahead;

	*n = 0;
	*worst = 0;
	while (now < end) {
		ahead = circuit_pace_ahead(pace, answered);
		first = next;
		timer = now + circuit_pace_delay(pace);
		now = next + (ahead - 1) * gap;
		if (ahead > 1)
			now = min(now, timer);
		if (now >= first)
			*worst = max(*worst, now - first);
		for (; next <= now; next += gap)
			pace->count++;
		next += pace->count ? slow : 0;
		*n += pace->count;
		looks++;
	}
	return looks;
}

/*
 * The operator is woken for many datagrams at once, but only where nobody waits for an answer, or
 * long.
 */
static void bell_pace(struct kunit *test)
{
	static const u64 gaps[] = { 300, 5000, 10000, 30000, 300000, 10000000 };
	struct circuit_pace pace = {};
	unsigned int i, n, looks;
	u64 worst, delay;

	/* By what it takes to be woken, within bounds. */
	KUNIT_EXPECT_EQ(test, circuit_pace_delay(&pace), CIRCUIT_PACE_DELAY_MIN);
	for (i = 0; i < 100; i++)
		circuit_pace_woken(&pace, NSEC_PER_SEC);
	KUNIT_EXPECT_EQ(test, circuit_pace_delay(&pace), CIRCUIT_PACE_DELAY_MAX);
	for (i = 0; i < 100; i++)
		circuit_pace_woken(&pace, 60000);
	delay = circuit_pace_delay(&pace);
	KUNIT_EXPECT_GE(test, delay, 200000ull);
	KUNIT_EXPECT_LE(test, delay, 260000ull);

	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		looks = pace_looks(&pace, gaps[i], 0, false, &n, &worst);
		KUNIT_EXPECT_LE(test, worst, delay);
		if (gaps[i] <= delay / 3)
			KUNIT_EXPECT_LE(test, looks, n / 2);
		if (gaps[i] <= delay / 10)
			KUNIT_EXPECT_LE(test, looks, n / 7);
		/* All that it costs where it is of no use. */
		if (gaps[i] > delay)
			KUNIT_EXPECT_LE(test, looks, n + n / CIRCUIT_PACE_ALONE + 2);
		/* Being looked at takes longer than writing does. */
		looks = pace_looks(&pace, gaps[i], 100000, false, &n, &worst);
		KUNIT_EXPECT_LE(test, worst, delay);
		if (gaps[i] <= delay / 10)
			KUNIT_EXPECT_LE(test, looks, n / 4);
		/* Of a pace it has got used to, none waits where there may be an answer to it. */
		looks = pace_looks(&pace, gaps[i], 0, true, &n, &worst);
		KUNIT_EXPECT_EQ(test, worst, 0ull);
		KUNIT_EXPECT_EQ(test, looks, n);
	}
	/* Nor does the second of two that are a question, each time. */
	for (i = 0; i < 1000; i++) {
		pace.count = 1;
		KUNIT_EXPECT_EQ(test, circuit_pace_ahead(&pace, i % 2), 1U);
	}
	/* Nor the first after a pause, of which the timer tells. */
	pace_looks(&pace, 1000, 0, false, &n, &worst);
	pace.count = 0;
	KUNIT_EXPECT_EQ(test, circuit_pace_ahead(&pace, false), 1U);
}

static struct kunit_case bell_cases[] = {
	KUNIT_CASE(bell_limit),
	KUNIT_CASE(bell_storm),
	KUNIT_CASE(bell_pace),
	{}
};

static struct kunit_suite bell_suite = {
	.name = "circuit_bell",
	.test_cases = bell_cases,
};

/* --- shares ------------------------------------------------------------------------ */

/* A job that takes its time, and has something to do as long as there is not @stop. */
struct burner {
	struct circuit_job job;
	const bool *stop;
	u64 takes;
	u64 burned;		/* @takes for each look; one in which the machine had no processor took longer */
	struct completion idle;
};

static enum circuit_job_end burner_look(struct circuit_job *job, struct circuit_turn *turn)
{
	struct burner *b = container_of(job, struct burner, job);
	u64 start = circuit_clock_read(&turn->clock), now;

	do {
		cpu_relax();
		now = circuit_clock_read(&turn->clock);
	} while (now - start < b->takes);
	b->burned += b->takes;
	circuit_turn_charge(turn, CIRCUIT_USE_DATAGRAMS);
	if (!READ_ONCE(*b->stop))
		circuit_job_kick(job);
	return CIRCUIT_JOB_DONE;
}

static void burner_idle(struct circuit_job *job)
{
	complete(&container_of(job, struct burner, job)->idle);
}

static const struct circuit_job_ops burner_ops = {
	.look = burner_look,
	.idle = burner_idle,
};

/*
 * Whoever has more jobs, or longer ones, has no more of a worker than others; by weight. With one
 * line alone it has all of it.
 */
static void shares(struct kunit *test)
{
	static const struct {
		unsigned int jobs;
		unsigned int us;
		u32 weight;
	} line[] = { { 1, 20, 100 }, { 12, 20, 100 }, { 1, 400, 100 }, { 3, 90, 300 } };
	struct circuit_account *account[ARRAY_SIZE(line)];
	u64 sum[ARRAY_SIZE(line)] = {}, charged[CIRCUIT_USES];
	struct burner *b[ARRAY_SIZE(line)];
	unsigned int i, n;
	bool stop = false;

	workqueue_set_max_active(circuit_trunk_wq, 1);
	for (i = 0; i < ARRAY_SIZE(line); i++) {
		account[i] = circuit_account_alloc("line");
		b[i] = kunit_kcalloc(test, line[i].jobs, sizeof(struct burner), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, account[i]);
		KUNIT_ASSERT_NOT_NULL(test, b[i]);
		account[i]->share.weight = line[i].weight;
		for (n = 0; n < line[i].jobs; n++) {
			b[i][n].stop = &stop;
			b[i][n].takes = line[i].us * NSEC_PER_USEC;
			init_completion(&b[i][n].idle);
			circuit_job_init(&b[i][n].job, account[i], &burner_ops);
		}
	}
	for (i = 0; i < ARRAY_SIZE(line); i++)
		for (n = 0; n < line[i].jobs; n++)
			KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[i][n].job));
	/* Kicks of those that wait, or are at it, are one. */
	KUNIT_EXPECT_FALSE(test, circuit_job_kick(&b[0][0].job));
	msleep(400);
	WRITE_ONCE(stop, true);
	for (i = 0; i < ARRAY_SIZE(line); i++) {
		for (n = 0; n < line[i].jobs; n++) {
			wait_for_completion(&b[i][n].idle);
			sum[i] += b[i][n].burned;
		}
		memset(charged, 0, sizeof(charged));
		circuit_account_sum(account[i], charged);
		KUNIT_EXPECT_GE(test, charged[CIRCUIT_USE_DATAGRAMS], sum[i]);
	}
	for (i = 0; i < ARRAY_SIZE(line); i++) {
		u64 share = sum[i] * CIRCUIT_WEIGHT / line[i].weight;

		kunit_info(test, "line %u: %llu us\n", i, sum[i] / NSEC_PER_USEC);
		KUNIT_EXPECT_GT(test, share, sum[0] * 2 / 3);
		KUNIT_EXPECT_LT(test, share, sum[0] * 3 / 2);
	}
	/*
	 * Nobody else waits any more: who uses more than a quantum each time does not wait for
	 * himself.
	 */
	sum[2] = b[2][0].burned;
	stop = false;
	KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[2][0].job));
	msleep(100);
	WRITE_ONCE(stop, true);
	wait_for_completion(&b[2][0].idle);
	KUNIT_EXPECT_GT(test, b[2][0].burned - sum[2], 25ull * NSEC_PER_MSEC);
	flush_workqueue(circuit_trunk_wq);
	for (i = 0; i < ARRAY_SIZE(line); i++) {
		KUNIT_EXPECT_EQ(test, kref_read(&account[i]->ref), 1U);
		circuit_account_put(account[i]);
	}
	workqueue_set_max_active(circuit_trunk_wq, num_online_cpus() + 1);
}

/* By a clock that is not late, and one whose timers are: what was used in each second. */
static void caps(struct kunit *test)
{
	static const u32 percents[] = { 1, 7, 50, 100 };
	static const u32 looks[] = { 3000, 70000, 400000 };
	unsigned int p, l, late;

	for (p = 0; p < ARRAY_SIZE(percents); p++)
		for (l = 0; l < ARRAY_SIZE(looks); l++)
			for (late = 0; late <= 500000; late += 250000) {
				u64 now = 1234567890123ull, end, may, n, used, wait, sum, fair;
				u32 rate = percents[p] * CIRCUIT_CAP_PERCENT;
				struct circuit_cap cap = {};
				unsigned int second;

				circuit_cap_set(&cap, percents[p]);
				fair = NSEC_PER_SEC / 100 * percents[p];
				for (second = 0; second < 5; second++) {
					end = now + NSEC_PER_SEC;
					for (sum = 0; now < end; sum += used, now += wait) {
						may = circuit_cap_left(&cap.due, rate, now);
						for (used = 0; may && used < NSEC_PER_MSEC; used += n) {
							n = looks[l];
							may -= min(may, n);
						}
						now += used;
						wait = circuit_cap_use(&cap.due, rate, used, now);
						if (wait)
							wait += late;
						else
							wait = 1;
					}
					/*
					 * What one look has been too much, or is still to be paid
					 * for.
					 */
					KUNIT_EXPECT_LE(test, sum, fair + fair / 50 + looks[l]);
					KUNIT_EXPECT_GE(test, sum + looks[l], fair - fair / 50);
				}
			}
}

static void caps_idle(struct kunit *test)
{
	const u64 t = 100ull * NSEC_PER_SEC;
	u32 half = 50 * CIRCUIT_CAP_PERCENT;
	struct circuit_cap cap = {};

	KUNIT_EXPECT_EQ(test, circuit_cap_left(&cap.due, 0, 5), U64_MAX);
	KUNIT_EXPECT_EQ(test, circuit_cap_use(&cap.due, 0, NSEC_PER_SEC, 5), 0ull);
	circuit_cap_set(&cap, 50);
	/* Nothing is saved up beyond what comes in a moment, and no debt is for ever. */
	KUNIT_EXPECT_EQ(test, circuit_cap_left(&cap.due, half, t), (u64)CIRCUIT_CAP_AT_ONCE);
	KUNIT_EXPECT_EQ(test, circuit_cap_use(&cap.due, half / 50, 60ull * NSEC_PER_SEC, t),
			(u64)CIRCUIT_CAP_DEBT);
	KUNIT_EXPECT_EQ(test, circuit_cap_left(&cap.due, half, t), 0ull);
	KUNIT_EXPECT_EQ(test, circuit_cap_left(&cap.due, half, t + CIRCUIT_CAP_DEBT),
			(u64)CIRCUIT_CAP_AT_ONCE / 2);
	/* Another rate begins anew. */
	circuit_cap_set(&cap, 10);
	KUNIT_EXPECT_GT(test, circuit_cap_left(&cap.due, half, t), 0ull);
}

/* What lines get that share groups' weights and caps, to the last unit. */
static void pools(struct kunit *test)
{
	struct circuit_pool *pool[2] = { circuit_pool_alloc(), circuit_pool_alloc() };
	struct circuit_account *account[300];
	struct circuit_pools *list;
	u32 weight, rate, sum;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, pool[0]);
	KUNIT_ASSERT_NOT_NULL(test, pool[1]);
	for (i = 0; i < ARRAY_SIZE(account); i++) {
		account[i] = circuit_account_alloc("line");
		KUNIT_ASSERT_NOT_NULL(test, account[i]);
		/* The first three in both. */
		list = circuit_pools_alloc(2);
		KUNIT_ASSERT_NOT_NULL(test, list);
		circuit_pools_add(list, pool[0]);
		if (i < 3)
			circuit_pools_add(list, pool[1]);
		circuit_share_set_pools(&account[i]->share, list);
	}
#define TERMS(i, w, r) do {							\
	circuit_share_count(&account[i]->share);				\
	circuit_share_terms(&account[i]->share, &weight, &rate);		\
	KUNIT_EXPECT_EQ(test, weight, (u32)(w));				\
	KUNIT_EXPECT_EQ(test, rate, (u32)(r));					\
} while (0)
	/* Nothing is limited. */
	TERMS(0, 100, 0);
	/* One alone has no more than its own, and no more than the group's. */
	pool[0]->weight = 120;
	circuit_cap_set(&pool[0]->cap, 30);
	TERMS(0, 100, 300000);
	pool[0]->weight = 60;
	TERMS(0, 60, 300000);
	/* Two by weight: 1 to 3. */
	WRITE_ONCE(account[1]->share.weight, 300);
	circuit_share_count(&account[1]->share);
	TERMS(0, 15, 75000);
	TERMS(1, 45, 225000);
	/* The line's own cap, and the strictest of two groups. */
	circuit_cap_set(&account[1]->share.cap, 20);
	TERMS(1, 45, 200000);
	pool[1]->weight = 20;
	circuit_cap_set(&pool[1]->cap, 4);
	TERMS(0, 5, 10000);
	TERMS(1, 15, 30000);
	pool[1]->weight = 0;
	circuit_cap_set(&pool[1]->cap, 0);
	circuit_cap_set(&account[1]->share.cap, 0);
	/* A weight that changes counts from then on; who has nothing to do does not count. */
	WRITE_ONCE(account[1]->share.weight, 100);
	TERMS(1, 30, 150000);
	TERMS(0, 30, 150000);
	circuit_share_uncount(&account[1]->share);
	TERMS(0, 60, 300000);
	/* Many, each of whom has something, and together no more than the group. */
	pool[0]->weight = 600;
	for (i = 0; i < ARRAY_SIZE(account); i++)
		circuit_share_count(&account[i]->share);
	for (sum = 0, i = 0; i < ARRAY_SIZE(account); i++) {
		TERMS(i, 2, 1000);
		sum += weight;
	}
	KUNIT_EXPECT_EQ(test, sum, 600U);
	pool[0]->weight = 10;
	TERMS(7, 1, 1000);
	/* Who leaves its groups is counted there until its next turn. */
	circuit_share_set_pools(&account[0]->share, NULL);
	KUNIT_EXPECT_EQ(test, atomic_read(&pool[0]->active), 30000);
	TERMS(0, 100, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&pool[0]->active), 29900);
#undef TERMS
	for (i = 0; i < ARRAY_SIZE(account); i++) {
		circuit_share_uncount(&account[i]->share);
		circuit_account_put(account[i]);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&pool[0]->active), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&pool[1]->active), 0);
	rcu_barrier();		/* accounts, which put their lists ... */
	rcu_barrier();		/* ... which put the pools */
	for (i = 0; i < ARRAY_SIZE(pool); i++) {
		KUNIT_EXPECT_EQ(test, kref_read(&pool[i]->ref), 1U);
		circuit_pool_put(pool[i]);
	}
}

/* What is done at once, and is no job, is the part of a group's cap that a job would have had. */
static void shares_charged(struct kunit *test)
{
	struct circuit_pool *pool = circuit_pool_alloc();
	struct circuit_account *account[2];
	struct circuit_pools *list;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, pool);
	circuit_cap_set(&pool->cap, 20);
	for (i = 0; i < ARRAY_SIZE(account); i++) {
		account[i] = circuit_account_alloc("line");
		KUNIT_ASSERT_NOT_NULL(test, account[i]);
		list = circuit_pools_alloc(1);
		KUNIT_ASSERT_NOT_NULL(test, list);
		circuit_pools_add(list, pool);
		circuit_share_set_pools(&account[i]->share, list);
		KUNIT_EXPECT_TRUE(test, circuit_share_left(&account[i]->share));
	}
	/* Alone: 4 ms are 20 ms of the cap's, of which 4 have passed and 10 were saved up. */
	KUNIT_EXPECT_EQ(test, circuit_share_charge(&account[0]->share, 4 * NSEC_PER_MSEC), 0ull);
	circuit_cap_set(&pool->cap, 40);
	circuit_share_renew(&account[0]->share);
	/* Beside another that has something to do it has half of that, and the other its half. */
	circuit_share_count(&account[1]->share);
	KUNIT_EXPECT_GT(test, circuit_share_charge(&account[0]->share, 8 * NSEC_PER_MSEC),
			(u64)CIRCUIT_CAP_AT_ONCE);
	KUNIT_EXPECT_FALSE(test, circuit_share_left(&account[0]->share));
	KUNIT_EXPECT_TRUE(test, circuit_share_left(&account[1]->share));
	circuit_share_uncount(&account[1]->share);
	for (i = 0; i < ARRAY_SIZE(account); i++)
		circuit_account_put(account[i]);
	rcu_barrier();		/* accounts, which put their lists ... */
	rcu_barrier();		/* ... which put the pool */
	KUNIT_EXPECT_EQ(test, kref_read(&pool->ref), 1U);
	circuit_pool_put(pool);
}

/* A line has no more than its cap of a worker that nobody else wants; then as much as there is. */
static void shares_capped(struct kunit *test)
{
	struct circuit_account *account = circuit_account_alloc("line");
	bool stop = false;
	struct burner b[3] = {};
	u64 start, sum = 0, ns, waited;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, account);
	circuit_share_cap(&account->share, 20);
	start = ktime_get_ns();
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		b[i].stop = &stop;
		b[i].takes = 30 * NSEC_PER_USEC;
		init_completion(&b[i].idle);
		circuit_job_init(&b[i].job, account, &burner_ops);
		KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[i].job));
	}
	msleep(400);
	for (i = 0; i < ARRAY_SIZE(b); i++)
		sum += READ_ONCE(b[i].burned);
	/* The wait that is not over yet counts: where timers are late it is a long one. */
	waited = READ_ONCE(account->share.waited);
	if (atomic_read(&account->share.throttled))
		waited += ktime_get_ns() - READ_ONCE(account->share.since);
	ns = ktime_get_ns() - start;
	kunit_info(test, "%llu of %llu us, waited %llu\n", sum / NSEC_PER_USEC, ns / NSEC_PER_USEC,
		   waited / NSEC_PER_USEC);
	/* What was saved up, and what it may be ahead. */
	KUNIT_EXPECT_LE(test, sum, (ns + 2 * CIRCUIT_CAP_AT_ONCE) * 20 / 100 * 102 / 100 + NSEC_PER_MSEC);
	/* Not much less where timers are fine, but they may be as coarse as jiffies. */
	KUNIT_EXPECT_GT(test, sum, ns * 20 / 100 / 20);
	KUNIT_EXPECT_GT(test, waited, ns / 2);
	KUNIT_EXPECT_LE(test, waited, ns + 20 * NSEC_PER_MSEC);
	circuit_share_cap(&account->share, 0);
	start = sum;
	msleep(200);
	WRITE_ONCE(stop, true);
	for (sum = 0, i = 0; i < ARRAY_SIZE(b); i++) {
		wait_for_completion(&b[i].idle);
		sum += b[i].burned;
	}
	KUNIT_EXPECT_GT(test, sum - start, 60ull * NSEC_PER_MSEC);
	flush_workqueue(circuit_trunk_wq);
	KUNIT_EXPECT_EQ(test, kref_read(&account->ref), 1U);
	circuit_account_put(account);
}

/*
 * A line that waits for its cap has done what somebody waits for, and goes on when the cap of its
 * group is lifted.
 */
static void shares_hurried(struct kunit *test)
{
	struct circuit_account *account = circuit_account_alloc("line");
	struct circuit_pool *pool = circuit_pool_alloc();
	struct circuit_pools *list = circuit_pools_alloc(1);
	bool stop = false, at_once = true;
	struct burner b[4] = {};
	unsigned int i;
	u64 sum = 0;

	KUNIT_ASSERT_NOT_NULL(test, account);
	KUNIT_ASSERT_NOT_NULL(test, pool);
	KUNIT_ASSERT_NOT_NULL(test, list);
	circuit_cap_set(&pool->cap, 1);
	circuit_pools_add(list, pool);
	circuit_share_set_pools(&account->share, list);
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		b[i].stop = i < 3 ? &stop : &at_once;
		b[i].takes = 500 * NSEC_PER_USEC;
		init_completion(&b[i].idle);
		circuit_job_init(&b[i].job, account, &burner_ops);
		if (i < 3)
			KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[i].job));
	}
	for (i = 0; i < 1000 && !atomic_read(&account->share.throttled); i++)
		msleep(1);
	KUNIT_EXPECT_EQ(test, atomic_read(&account->share.throttled), 1);
	/* Kicked before or not; by 1 % it would take 50 ms and more. */
	KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[3].job));
	KUNIT_EXPECT_FALSE(test, circuit_job_hurry(&b[3].job));
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&b[3].idle, HZ), 0ul);
	KUNIT_EXPECT_EQ(test, atomic_read(&account->share.urgent), 0);
	for (i = 0; i < 3; i++)
		sum -= READ_ONCE(b[i].burned);
	circuit_cap_set(&pool->cap, 0);
	circuit_share_renew(&account->share);
	msleep(100);
	for (i = 0; i < 3; i++)
		sum += READ_ONCE(b[i].burned);
	KUNIT_EXPECT_GT(test, sum, 20ull * NSEC_PER_MSEC);
	WRITE_ONCE(stop, true);
	for (i = 0; i < 3; i++)
		wait_for_completion(&b[i].idle);
	flush_workqueue(circuit_trunk_wq);
	circuit_share_flush();
	flush_workqueue(circuit_trunk_wq);
	KUNIT_EXPECT_EQ(test, atomic_read(&account->share.throttled), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&pool->active), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&account->ref), 1U);
	circuit_account_put(account);
	circuit_pool_put(pool);
}

/*
 * Four lines of a group get as much of a worker as the one that is in none, and its cap is kept to.
 */
static void shares_grouped(struct kunit *test)
{
	struct circuit_pool *pool = circuit_pool_alloc();
	struct circuit_account *account[5];
	struct circuit_pools *list;
	u64 sum = 0, least = U64_MAX, most = 0, start, before[5], burned;
	struct burner b[5] = {};
	bool stop = false;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, pool);
	pool->weight = 100;
	workqueue_set_max_active(circuit_trunk_wq, 1);
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		account[i] = circuit_account_alloc("line");
		list = circuit_pools_alloc(1);
		KUNIT_ASSERT_NOT_NULL(test, account[i]);
		KUNIT_ASSERT_NOT_NULL(test, list);
		if (i)
			circuit_pools_add(list, pool);
		circuit_share_set_pools(&account[i]->share, list);
		b[i].stop = &stop;
		b[i].takes = 20 * NSEC_PER_USEC;
		init_completion(&b[i].idle);
		circuit_job_init(&b[i].job, account[i], &burner_ops);
	}
	for (i = 0; i < ARRAY_SIZE(b); i++)
		KUNIT_EXPECT_TRUE(test, circuit_job_kick(&b[i].job));
	/* The first ones may have had it for themselves for a while. */
	for (i = 0; i < ARRAY_SIZE(b); i++)
		before[i] = READ_ONCE(b[i].burned);
	msleep(400);
	for (i = 1; i < ARRAY_SIZE(b); i++) {
		burned = READ_ONCE(b[i].burned) - before[i];
		sum += burned;
		least = min(least, burned);
		most = max(most, burned);
	}
	burned = READ_ONCE(b[0].burned) - before[0];
	kunit_info(test, "%llu and %llu us, of which %llu to %llu each\n", burned / NSEC_PER_USEC,
		   sum / NSEC_PER_USEC, least / NSEC_PER_USEC, most / NSEC_PER_USEC);
	KUNIT_EXPECT_GT(test, sum, burned * 2 / 3);
	KUNIT_EXPECT_LT(test, sum, burned * 3 / 2);
	KUNIT_EXPECT_LT(test, most, least * 3 / 2);
	circuit_cap_set(&pool->cap, 10);
	start = ktime_get_ns();
	for (sum = 0, i = 1; i < ARRAY_SIZE(b); i++)
		sum -= READ_ONCE(b[i].burned);
	msleep(300);
	for (i = 1; i < ARRAY_SIZE(b); i++)
		sum += READ_ONCE(b[i].burned);
	start = ktime_get_ns() - start;
	kunit_info(test, "%llu us of %llu us\n", sum / NSEC_PER_USEC, start / NSEC_PER_USEC);
	KUNIT_EXPECT_LE(test, sum, (start + 2 * CIRCUIT_CAP_AT_ONCE) / 10 + NSEC_PER_MSEC);
	KUNIT_EXPECT_GT(test, sum, start / 200);
	WRITE_ONCE(stop, true);
	for (i = 0; i < ARRAY_SIZE(b); i++)
		wait_for_completion(&b[i].idle);
	flush_workqueue(circuit_trunk_wq);
	KUNIT_EXPECT_EQ(test, atomic_read(&pool->active), 0);
	for (i = 0; i < ARRAY_SIZE(b); i++) {
		KUNIT_EXPECT_EQ(test, kref_read(&account[i]->ref), 1U);
		circuit_account_put(account[i]);
	}
	circuit_pool_put(pool);
	workqueue_set_max_active(circuit_trunk_wq, num_online_cpus() + 1);
}

static struct kunit_case share_cases[] = {
	KUNIT_CASE(caps),
	KUNIT_CASE(caps_idle),
	KUNIT_CASE(pools),
	KUNIT_CASE(shares_charged),
	KUNIT_CASE(shares_capped),
	KUNIT_CASE(shares_hurried),
	KUNIT_CASE(shares_grouped),
	KUNIT_CASE(shares),
	{}
};

static struct kunit_suite share_suite = {
	.name = "circuit_share",
	.test_cases = share_cases,
};

kunit_test_suites(&ring_suite, &attn_suite, &sig_suite, &directory_suite, &cable_suite,
		  &scale_suite, &bell_suite, &share_suite);
