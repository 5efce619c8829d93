// SPDX-License-Identifier: GPL-2.0
/*
 * A far end that does whatever libFuzzer thinks of, while the library works. Not only between its
 * calls: whenever it looks at a word of the far end's (CIRCUIT_FUZZ), that or another has just been
 * changed.
 *
 * Besides what the sanitizers find, every pointer that comes back must lead into the ring, with all
 * that is said to be there, and no call may go on for ever.
 */
#include <fcntl.h>
#include "lib_test.h"

#define SIZE	4096u

static const uint8_t *input;
static size_t left;
static struct circuit *c, *far;
static int fds[2];

static uint32_t take(unsigned int bytes)
{
	uint32_t v = 0;

	while (bytes-- && left) {
		v = v << 8 | *input++;
		left--;
	}
	return v;
}

/* Near what the library knows, as a rule: what is far off is found out at once. */
static uint32_t index_like(uint32_t index)
{
	switch (take(1) % 8) {
	case 0: return take(4);
	case 1: return index + SIZE;
	case 2: return index + SIZE - take(1);
	case 3: return index - take(1);
	case 4: return index;
	case 5: return index + 8 * take(1);
	default: return index + take(2);
	}
}

static void change(void)
{
	uint32_t *ring = (uint32_t *)far->tx.data;
	struct circuit_ctrl *ctrl = far->ctrl;
	uint32_t at;

	switch (take(1) % 16) {
	case 0:
	case 1:
	case 2:
		ctrl->dir[0].prod.tail = index_like(c->rx.tail);
		break;
	case 3:
	case 4:
		ctrl->dir[1].cons.head = index_like(c->tx.head);
		break;
	case 5:
		ctrl->dir[1].cons.head = c->tx.pub;
		break;
	case 6:
		ctrl->dir[0].prod.flags = take(1) % 9;
		break;
	case 7:
		ctrl->dir[1].cons.flags = take(1) % 3;
		break;
	case 8:
		ctrl->dir[0].prod.event = index_like(c->rx.pub);
		break;
	case 9:
		ctrl->dir[1].cons.event = index_like(c->tx.pub);
		break;
	case 10:
		((uint8_t *)ctrl)[take(2) % sizeof(*ctrl)] = take(1);
		break;
	case 11:
		ctrl->magic = take(1) ? CIRCUIT_RING_MAGIC : 0;
		break;
	case 12: /* a message, perhaps */
	case 13:
		at = (c->rx.head + 8 * (take(1) % 4)) % SIZE / 4;
		ring[at] = take(1) % 4 ? take(1) : index_like(c->rx.tail - c->rx.head);
		ring[at + 1] = take(1) % 3;
		if (circuit_datagrams(c)) {
			ring[(at + 2) % (SIZE / 4)] = take(1) % 4 ? c->peer.port : take(1);
			ring[(at + 3) % (SIZE / 4)] = take(1) % 4 ? 0 : take(2);
		}
		break;
	default:
		ring[take(2) % (SIZE / 4)] = take(4);
	}
}

void circuit_fuzz_hook(void)
{
	if (far && left && take(1) % 4 == 0)
		change();
}

#define MUST(x)	do { if (!(x)) abort(); } while (0)

static void readable(const void *p, size_t len)
{
	const uint8_t *b = p;

	MUST(b >= c->rx.data && len <= SIZE && b + len <= c->rx.data + 2 * SIZE);
}

static void writable(void *p, size_t len)
{
	uint8_t *b = p;

	MUST(b >= c->tx.data && len <= SIZE && b + len <= c->tx.data + 2 * SIZE);
}

static void call(void)
{
	static uint8_t buf[SIZE + 16];
	struct circuit_view v[5];
	const void *from;
	unsigned int i;
	short events;
	ssize_t ret;
	void *to;

	switch (take(1) % 16) {
	case 0:
		ret = circuit_tx_reserve(c, &to, take(2) % (SIZE + 2));
		if (ret > 0) {
			writable(to, ret);
			circuit_tx_fill(c, take(2) % (ret + 1));
		}
		break;
	case 1:
		circuit_tx_publish(c);
		break;
	case 2:
		ret = circuit_rx_peek(c, &from, take(2) % (SIZE + 2));
		if (ret > 0) {
			readable(from, ret);
			circuit_rx_release(c, take(2) % (ret + 2));
		}
		break;
	case 3:
		circuit_rx_publish(c);
		break;
	case 4:
		circuit_write(c, buf, take(2) % sizeof(buf));
		break;
	case 5:
		circuit_read(c, buf, take(2) % sizeof(buf));
		break;
	case 6:
	case 7:
		ret = take(2) % SIZE;
		if (!circuit_msg_reserve(c, &to, ret)) {
			writable(to, ret);
			circuit_msg_fill(c, take(2) % (ret + 1), take(1) % 3);
		}
		break;
	case 8:
	case 9:
	case 10:
		ret = circuit_msg_peek(c, v, 1 + take(1) % 5);
		for (i = 0; ret > 0 && i < (unsigned int)ret; i++) {
			readable(v[i].data, v[i].len);
			MUST(v[i].next - c->rx.head <= SIZE);
		}
		if (ret > 0 && take(1) % 4)
			circuit_msg_release(c, &v[take(1) % ret]);
		break;
	case 11:
		for (i = 0; i < 5; i++)
			v[i] = (struct circuit_view) { .data = buf, .len = take(2) % SIZE };
		circuit_msg_send(c, v, take(1) % 6);
		break;
	case 12:
		circuit_wait(c, take(1) % 4, take(1) % 4 ? 0 : take(1));
		break;
	case 13:
		circuit_arm(c, take(1) % 4, &events);
		break;
	case 14:
		circuit_shutdown(c);
		break;
	default:
		change();
	}
	MUST(c->tx.tail - c->tx.head <= SIZE && c->rx.tail - c->rx.head <= SIZE);
	MUST(c->tx.tail - c->tx.pub <= c->tx.tail - c->tx.head);
	MUST(c->rx.head - c->rx.pub < SIZE);
}

/* Back to how it began, which is less work than beginning once more. */
static void begin(void)
{
	uint32_t index = (take(1) % 2 ? -8 * take(1) : take(4)) & ~7u;
	struct circuit_ctrl *ctrl = c->ctrl;
	unsigned int kind;
	char bells[512];
	int i;

	memset(ctrl, 0, sizeof(*ctrl));
	ctrl->magic = CIRCUIT_RING_MAGIC;
	for (i = 0; i < 2; i++) {
		ctrl->dir[i].prod.tail = index;
		ctrl->dir[i].cons.head = index;
	}
	kind = take(1) % 5;
	c->messages = kind;
	/* As they come from sockets of AF_CIRCUIT, whose transport does not matter here. */
	c->head = kind == 4 ? DATAGRAM_HEAD : MESSAGE_HEAD;
	c->error = c->hup = 0;
	c->tx = (struct tx) { .want = 1 };
	c->rx = (struct rx) { .want = 1 };
	circuit_setup(c, c->map, 1, SIZE, SIZE, index, index);
	circuit_spin(c, take(1) % 2 ? 0 : 100);
	for (i = 0; i < 2; i++)
		while (recv(fds[i], bells, sizeof(bells), MSG_DONTWAIT) > 0)
			;
}

static void once(void)
{
	struct circuit *offerer, *taker;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	MUST(!circuit_offer(&offerer, fds[0], SIZE, SIZE, 0));
	MUST(!circuit_accept(&taker, fds[1], 0));
	c = taker;
	far = offerer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int calls;

	input = data;
	left = 0;
	if (!c)
		once();
	left = size;
	begin();
	for (calls = 0; left && calls < 4096; calls++)
		call();
	return 0;
}
