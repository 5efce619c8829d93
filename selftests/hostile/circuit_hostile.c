// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that does not play by the rules.
 *
 * Loaded in place of circuit_guest, it takes the line's device over and does what
 * the parameter "attack" says, for "seconds" seconds, when it is probed. It needs no
 * interrupt: it polls. What it achieves is looked at from the host and from the other
 * guests; here it only reports that it has done its worst.
 */
#include <linux/delay.h>
#include <linux/inet.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/circuit_sig.h>
#include "../../ring/attn.h"
#include "../../ring/ring.h"

static char *attack = "none";
module_param(attack, charp, 0444);
MODULE_PARM_DESC(attack, "what to do");
static unsigned int seconds = 2;
module_param(seconds, uint, 0444);
static char *victim = "";
module_param(victim, charp, 0444);
MODULE_PARM_DESC(victim, "line to call");
static unsigned int port = 7;
module_param(port, uint, 0444);
static char *address = "10.77.0.2";
static char *world = "";
module_param(address, charp, 0444);
MODULE_PARM_DESC(address, "IPv4 address of the victim's line");
module_param(world, charp, 0444);
MODULE_PARM_DESC(world, "IPv4 address to call over a trunk");

struct hostile {
	void __iomem		*regs;
	u8			*window;
	u64			size;
	struct circuit_line_hdr	*hdr;
	struct circuit_guest_hdr *guest;
	struct circuit_attn	*attn;
	struct circuit_ctrl	*ctrl;
	struct circuit_tx	tx;
	struct circuit_rx	rx;
	u32			ref;
	u64			done;
};

static void ring(struct hostile *h)
{
	writel(CIRCUIT_PEER_HOST << 16, h->regs + 12);
}

static bool more(struct hostile *h, unsigned long end)
{
	h->done++;
	cond_resched();
	return time_before(jiffies, end) && !signal_pending(current);
}

/* Start an epoch as an honest guest does. */
static int epoch(struct hostile *h)
{
	void *data = h->ctrl + 1;
	unsigned long end = jiffies + 10 * HZ;
	u32 e;

	memset(h->attn, 0, CIRCUIT_PAGE);
	memset(&h->ctrl->dir[0].prod, 0, sizeof(h->ctrl->dir[0].prod));
	memset(&h->ctrl->dir[1].cons, 0, sizeof(h->ctrl->dir[1].cons));
	circuit_ring_init(&h->tx, &h->rx, h->ctrl, data, CIRCUIT_SIG_RING,
			  data + CIRCUIT_SIG_RING, CIRCUIT_SIG_RING, 0);
	e = get_random_u32() | 1;
	if (e == READ_ONCE(h->hdr->epoch))
		e += 2;
	virt_store_release(&h->guest->epoch, e);
	virt_mb();
	ring(h);
	while (virt_load_acquire(&h->hdr->epoch) != e) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		usleep_range(100, 200);
	}
	return 0;
}

/* Send a message if there is room; the answer, if any, is somebody else's business. */
static bool post(struct hostile *h, const struct circuit_sig *msg)
{
	struct circuit_span s;

	if (circuit_tx_space(&h->tx) < CIRCUIT_SIG_SIZE)
		return false;
	s = circuit_tx_span(&h->tx, CIRCUIT_SIG_SIZE);
	memcpy(h->tx.data + s.off[0], msg, CIRCUIT_SIG_SIZE);
	if (circuit_tx_publish(&h->tx, CIRCUIT_SIG_SIZE) && circuit_attn_raise(h->attn, 0))
		ring(h);
	return true;
}

static bool receive(struct hostile *h, struct circuit_sig *msg)
{
	struct circuit_span s;

	if (circuit_rx_avail(&h->rx) < CIRCUIT_SIG_SIZE)
		return false;
	s = circuit_rx_span(&h->rx, 0, CIRCUIT_SIG_SIZE);
	memcpy(msg, h->rx.data + s.off[0], sizeof(*msg));
	if (circuit_rx_release(&h->rx, CIRCUIT_SIG_SIZE) && circuit_attn_raise(h->attn, 0))
		ring(h);
	return true;
}

static bool wait_for(struct hostile *h, u16 type, struct circuit_sig *msg)
{
	unsigned long end = jiffies + 5 * HZ;

	while (time_before(jiffies, end)) {
		if (receive(h, msg)) {
			if (msg->type == type)
				return true;
			continue;
		}
		usleep_range(50, 100);
	}
	return false;
}

/* Say which versions we speak, and hear what the operator says to that. */
static int say_hello(struct hostile *h, u16 min, u16 max, struct circuit_sig *answer)
{
	struct circuit_sig msg = {
		.type = CIRCUIT_SIG_HELLO,
		.hello.version_min = min,
		.hello.version_max = max,
		.hello.features = CIRCUIT_SIG_FEATURES,
	};

	post(h, &msg);
	return wait_for(h, CIRCUIT_SIG_WELCOME, answer) ? 0 : -ETIMEDOUT;
}

static int hello(struct hostile *h)
{
	struct circuit_sig answer;

	return epoch(h) ?:
	       say_hello(h, CIRCUIT_SIG_VERSION_MIN, CIRCUIT_SIG_VERSION_MAX, &answer);
}

static void make_call(struct hostile *h, struct circuit_sig *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->type = CIRCUIT_SIG_CALL;
	msg->ref = ++h->ref;
	msg->call.type = CIRCUIT_SIG_STREAM;
	msg->call.port = port;
	msg->call.src_port = 1;
	msg->call.tx_size = CIRCUIT_RING_MIN;
	msg->call.rx_size = CIRCUIT_RING_MIN;
	strscpy(msg->call.line, victim, CIRCUIT_NAME_SIZE);
}

/* The same for somebody who is on no line, with rings that may be lent to TCP. */
static void make_trunk_call(struct hostile *h, struct circuit_sig *msg)
{
	make_call(h, msg);
	memset(msg->call.line, 0, sizeof(msg->call.line));
	msg->call.src_port = 0;
	msg->call.tx_size = 128u << 10;
	msg->call.flags = CIRCUIT_SIG_IP;
	memset(msg->call.dst + 10, 0xff, 2);
	in4_pton(world, -1, msg->call.dst + 12, -1, NULL);
}

static void random_options(struct circuit_sig *msg, u32 index)
{
	memset(msg, 0, sizeof(*msg));
	msg->type = CIRCUIT_SIG_OPTIONS;
	msg->options.index = index;
	msg->options.flags = get_random_u32() % 2;
	msg->options.keep_idle = get_random_u32() >> get_random_u32() % 32;
	msg->options.keep_interval = get_random_u32() >> get_random_u32() % 32;
	msg->options.keep_count = get_random_u32() >> get_random_u32() % 32;
	msg->options.user_timeout = get_random_u32() >> get_random_u32() % 32;
}

/* Random bytes, random types: each one should cost us the line. */
static int attack_garbage(struct hostile *h, unsigned long end)
{
	struct circuit_sig msg;
	int err;

	do {
		err = hello(h);
		if (err)
			return err;
		get_random_bytes(&msg, sizeof(msg));
		if (get_random_u32() & 1)
			msg.type = get_random_u32() % 10;
		if (get_random_u32() & 1)
			msg.reserved = 0;
		post(h, &msg);
		/* The operator says so in the header; or the message passed as honest. */
		usleep_range(200, 400);
	} while (more(h, end));
	return 0;
}

/*
 * Versions that nobody speaks, and ranges that are none: refused, in so many words. Who comes up
 * with one of the operator's after that is welcome, and who goes on without is out of service. 0 if
 * that is so.
 */
static int attack_version(struct hostile *h, unsigned long end)
{
	static const u16 versions[][2] = {
		{ 9, 9 }, { 2, 1 }, { 1, 0 }, { 0, 0 }, { U16_MAX, U16_MAX }, { U16_MAX, 1 },
	};
	struct circuit_sig msg;
	unsigned long wait;
	u32 n;
	int err;

	do {
		err = epoch(h);
		for (n = 0; n < ARRAY_SIZE(versions) && !err; n++) {
			err = say_hello(h, versions[n][0], versions[n][1], &msg);
			if (!err && (msg.welcome.version || msg.welcome.error != EPROTONOSUPPORT))
				err = -EPROTO;
		}
		if (err)
			return err;
		if (h->done & 1) {
			make_call(h, &msg);
			post(h, &msg);
			wait = jiffies + 5 * HZ;
			while (READ_ONCE(h->hdr->state) != CIRCUIT_LINE_FAULT) {
				if (time_after(jiffies, wait))
					return -ETIMEDOUT;
				usleep_range(50, 100);
			}
			continue;
		}
		err = say_hello(h, CIRCUIT_SIG_VERSION_MIN, CIRCUIT_SIG_VERSION_MAX, &msg);
		if (err)
			return err;
		if (msg.welcome.version != CIRCUIT_SIG_VERSION_MAX || msg.welcome.error)
			return -EPROTO;
	} while (more(h, end));
	return 0;
}

/* An address: nobody's, anybody's, our own (see hostile.sh), the victim's, or noise. */
static void random_addr(u8 *addr)
{
	static const u8 some[][16] = {
		{},
		{ [10] = 0xff, 0xff },
		{ [10] = 0xff, 0xff, 10, 77, 0, 9 },
		{ [10] = 0xff, 0xff, 10, 77, 0, 2 },
		{ 0xfd, 0, 0, 0x77, [15] = 2 },
	};
	u32 i = get_random_u32() % (ARRAY_SIZE(some) + 1);

	if (i < ARRAY_SIZE(some))
		memcpy(addr, some[i], 16);
	else
		get_random_bytes(addr, 16);
}

/* Well-formed messages about things that do not exist, with absurd values. */
static int attack_lies(struct hostile *h, unsigned long end)
{
	static const u8 types[] = { CIRCUIT_SIG_LISTEN, CIRCUIT_SIG_UNLISTEN, CIRCUIT_SIG_CALL,
		CIRCUIT_SIG_CANCEL, CIRCUIT_SIG_ANSWER, CIRCUIT_SIG_HANGUP, CIRCUIT_SIG_HELLO,
		CIRCUIT_SIG_OPTIONS, CIRCUIT_SIG_WANT };
	struct circuit_sig msg, answer;
	int err, n;

	do {
		err = hello(h);
		if (err)
			return err;
		for (n = 0; n < 50 && READ_ONCE(h->hdr->state) == CIRCUIT_LINE_UP; n++) {
			memset(&msg, 0, sizeof(msg));
			msg.type = types[get_random_u32() % ARRAY_SIZE(types)];
			msg.ref = get_random_u32() % 8;
			switch (msg.type) {
			case CIRCUIT_SIG_LISTEN:
				msg.listen.type = get_random_u32() % 3;
				msg.listen.port = get_random_u32() % 8;
				msg.listen.backlog = get_random_u32();
				msg.listen.tx_size = get_random_u32();
				msg.listen.rx_size = get_random_u32();
				if (get_random_u32() & 1)
					break;
				/* seldom a flag too many, which ends the round */
				msg.listen.flags = CIRCUIT_SIG_IP |
					get_random_u32() % (get_random_u32() % 16 ? 8 : 16);
				random_addr(msg.listen.addr);
				break;
			case CIRCUIT_SIG_CALL:
				make_call(h, &msg);
				msg.ref = get_random_u32() % 8;
				msg.call.port = get_random_u32() % 8;
				msg.call.tx_size = get_random_u32();
				msg.call.rx_size = get_random_u32();
				if (get_random_u32() & 1) {
					msg.call.hints = CIRCUIT_SIG_HINT_UID | CIRCUIT_SIG_HINT_CGROUP;
					msg.call.uid = get_random_u32();
					msg.call.cgroup = get_random_u64();
				}
				if (get_random_u32() & 1)
					memset(msg.call.line, 0, CIRCUIT_NAME_SIZE);
				if (get_random_u32() & 1)
					break;
				memset(msg.call.line, 0, CIRCUIT_NAME_SIZE);
				msg.call.flags = CIRCUIT_SIG_IP;
				msg.call.src_port = get_random_u32() % 4 * 0x5555;
				random_addr(msg.call.dst);
				random_addr(msg.call.src);
				break;
			case CIRCUIT_SIG_ANSWER:
				msg.answer.count = get_random_u32() % 4;
				break;
			case CIRCUIT_SIG_HANGUP:
				msg.ref = 0;
				msg.hangup.index = get_random_u32() % 8;
				msg.hangup.reason = get_random_u32() % 20;
				break;
			case CIRCUIT_SIG_OPTIONS:
				random_options(&msg, get_random_u32() % 8);
				break;
			case CIRCUIT_SIG_WANT:
				msg.ref = 0;
				msg.want.index = get_random_u32() % 8;
				msg.want.bytes = get_random_u32();
				msg.want.messages = get_random_u32();
				break;
			}
			post(h, &msg);
			while (receive(h, &answer))
				;
		}
	} while (more(h, end));
	return 0;
}

static int attack_index(struct hostile *h, unsigned long end)
{
	int err;

	do {
		err = hello(h);
		if (err)
			return err;
		/* One side or the other of our half claims the impossible. */
		if (get_random_u32() & 1)
			WRITE_ONCE(h->tx.prod->tail, get_random_u32());
		else
			WRITE_ONCE(h->rx.cons->head, get_random_u32());
		circuit_attn_raise(h->attn, 0);
		ring(h);
		usleep_range(200, 400);
	} while (more(h, end));
	return 0;
}

static int attack_scribble(struct hostile *h, unsigned long end)
{
	int err = hello(h);
	u32 *words = (u32 *)h->window;

	if (err)
		return err;
	do {
		u32 n;

		for (n = 0; n < 1000; n++)
			WRITE_ONCE(words[get_random_u32() % (CIRCUIT_LINE_AREA / 4)],
				   get_random_u32());
		ring(h);
	} while (more(h, end));
	return 0;
}

/* Everything we can address, most of which was never given to us. */
static int attack_window(struct hostile *h, unsigned long end)
{
	int err = hello(h);
	u64 off;

	if (err)
		return err;
	do {
		for (off = CIRCUIT_WINDOW_SLOT; off < h->size; off += CIRCUIT_WINDOW_SLOT / 2)
			WRITE_ONCE(*(u32 *)(h->window + off +
					    get_random_u32() % (CIRCUIT_WINDOW_SLOT / 8) * 4),
				   get_random_u32());
	} while (more(h, end));
	return 0;
}

static int attack_epochs(struct hostile *h, unsigned long end)
{
	int err = hello(h);

	if (err)
		return err;
	do {
		WRITE_ONCE(h->guest->epoch, get_random_u32() & 3);
		ring(h);
	} while (more(h, end));
	return 0;
}

static int attack_marks(struct hostile *h, unsigned long end)
{
	int err = hello(h);

	if (err)
		return err;
	do {
		memset(h->attn, 0xff, sizeof(*h->attn));
		ring(h);
	} while (more(h, end));
	return 0;
}

static int attack_doorbells(struct hostile *h, unsigned long end)
{
	int err = hello(h);

	if (err)
		return err;
	do {
		int n;

		for (n = 0; n < 100; n++)
			ring(h);
	} while (more(h, end));
	return 0;
}

/* Calls without end, and never an answer taken. */
static int attack_calls(struct hostile *h, unsigned long end)
{
	struct circuit_sig msg;
	int err = hello(h);

	if (err)
		return err;
	do {
		make_call(h, &msg);
		if (!post(h, &msg)) {
			h->ref--;
			ring(h);
		}
	} while (more(h, end));
	return 0;
}

/* Real circuits, with our half of the control page full of nonsense. */
static int bad_rings(struct hostile *h, unsigned long end,
		     void (*call)(struct hostile *h, struct circuit_sig *msg))
{
	struct circuit_sig msg;
	int err = hello(h);
	u32 n;

	if (err)
		return err;
	do {
		struct circuit_ctrl *ctrl;
		u32 *words;
		u32 index;

		call(h, &msg);
		post(h, &msg);
		if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
			continue;
		index = msg.circuit.index;
		ctrl = (void *)(h->window + msg.circuit.offset);
		words = (u32 *)ctrl;
		for (n = 0; n < 64; n++) {
			switch (get_random_u32() % 10) {
			case 0:
				WRITE_ONCE(ctrl->dir[0].prod.tail, get_random_u32());
				break;
			case 1:
				WRITE_ONCE(ctrl->dir[0].prod.tail, get_random_u32() % 8192);
				break;
			case 2:
				WRITE_ONCE(ctrl->dir[1].cons.head, get_random_u32());
				break;
			case 3:
				WRITE_ONCE(ctrl->dir[0].prod.flags, get_random_u32() % 16);
				break;
			case 4:
				WRITE_ONCE(ctrl->dir[1].cons.flags, get_random_u32() % 4);
				break;
			case 5:
				WRITE_ONCE(words[get_random_u32() % 1024], get_random_u32());
				break;
			case 6:
				WRITE_ONCE(ctrl->dir[0].prod.urgent,
					   READ_ONCE(ctrl->dir[0].prod.tail) + get_random_u32() % 64);
				WRITE_ONCE(ctrl->dir[0].prod.flags, CIRCUIT_TX_URG);
				break;
			case 7:		/* honest, so that there is something on its way */
				WRITE_ONCE(ctrl->dir[0].prod.tail,
					   READ_ONCE(ctrl->dir[0].cons.head) +
					   get_random_u32() % (READ_ONCE(ctrl->size[0]) % 524289 + 1));
				break;
			case 8:
				random_options(&msg, index);
				post(h, &msg);
				break;
			case 9:
				memset(&msg, 0, sizeof(msg));
				msg.type = CIRCUIT_SIG_WANT;
				msg.want.index = index;
				msg.want.bytes = get_random_u32();
				msg.want.messages = get_random_u32();
				post(h, &msg);
				break;
			}
			circuit_attn_raise(h->attn, index);
			ring(h);
		}
		memset(&msg, 0, sizeof(msg));
		msg.type = CIRCUIT_SIG_HANGUP;
		msg.hangup.index = index;
		post(h, &msg);
	} while (more(h, end));
	return 0;
}

static u32 some_length(u32 size)
{
	switch (get_random_u32() % 6) {
	case 0:
		return get_random_u32();
	case 1:
		return size - sizeof(struct circuit_message) + get_random_u32() % 3 - 1;
	case 2:
		return U32_MAX - get_random_u32() % 16;
	default:
		return get_random_u32() % 64;
	}
}

/* The same to a UDP socket of the victim's, by its address. */
static void make_udp_call(struct hostile *h, struct circuit_sig *msg)
{
	make_call(h, msg);
	memset(msg->call.line, 0, sizeof(msg->call.line));
	msg->call.type = CIRCUIT_SIG_DGRAM;
	msg->call.flags = CIRCUIT_SIG_IP;
	memset(msg->call.dst + 10, 0xff, 2);
	in4_pton(address, -1, msg->call.dst + 12, -1, NULL);
}

/* Messages that are none: lengths, flags and tails of all kinds. */
static int send_records(struct hostile *h, unsigned long end, bool udp)
{
	struct circuit_message *m;
	struct circuit_ctrl *ctrl;
	struct circuit_sig msg;
	int err = hello(h);
	u32 n, size, index, head, len;

	if (err)
		return err;
	do {
		if (udp) {
			make_udp_call(h, &msg);
		} else {
			make_call(h, &msg);
			msg.call.type = CIRCUIT_SIG_SEQPACKET;
		}
		post(h, &msg);
		if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
			return -EIO;
		index = msg.circuit.index;
		size = msg.circuit.size[0];
		ctrl = (void *)(h->window + msg.circuit.offset);
		for (n = 0; n < 32; n++) {
			head = READ_ONCE(ctrl->dir[0].cons.head);
			m = (void *)ctrl + CIRCUIT_CTRL_SIZE + (head & (size - 1) & ~7u);
			len = some_length(size);
			WRITE_ONCE(m->len, len);
			WRITE_ONCE(m->flags, get_random_u32() % 8 ? get_random_u32() % 2 :
							 get_random_u32());
			/* Often the length that it says, or it would not be looked at. */
			if (get_random_u32() % 4)
				len = (sizeof(*m) + len + 7) & ~7u;
			virt_store_release(&ctrl->dir[0].prod.tail, head + len);
			virt_store_release(&ctrl->dir[1].cons.head,
					   READ_ONCE(ctrl->dir[1].prod.tail));
			if (circuit_attn_raise(h->attn, index))
				ring(h);
			/* It may change while it is looked at. */
			WRITE_ONCE(m->len, some_length(size));
			usleep_range(20, 50);
		}
		memset(&msg, 0, sizeof(msg));
		msg.type = CIRCUIT_SIG_HANGUP;
		msg.hangup.index = index;
		msg.hangup.reason = CIRCUIT_REASON_PEER_RESET;
		post(h, &msg);
	} while (more(h, end));
	return 0;
}

static int attack_records(struct hostile *h, unsigned long end)
{
	return send_records(h, end, false);
}

static int attack_flows(struct hostile *h, unsigned long end)
{
	return send_records(h, end, true);
}

/* Datagrams that are none, for somebody and nobody, and answers of nobody's. */
static int attack_datagrams(struct hostile *h, unsigned long end)
{
	struct circuit_datagram *d;
	struct circuit_ctrl *ctrl;
	struct circuit_sig msg;
	int err = hello(h);
	u32 n, size, index, head, len;

	if (err)
		return err;
	do {
		make_call(h, &msg);
		msg.call.type = CIRCUIT_SIG_DGRAM;
		msg.call.port = 0;
		msg.call.src_port = CIRCUIT_PORT_EPHEMERAL + get_random_u32() % 16;
		memset(msg.call.line, 0, sizeof(msg.call.line));
		post(h, &msg);
		if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
			return -EIO;
		index = msg.circuit.index;
		size = msg.circuit.size[0];
		ctrl = (void *)(h->window + msg.circuit.offset);
		for (n = 0; n < 64; n++) {
			head = READ_ONCE(ctrl->dir[0].cons.head);
			d = (void *)ctrl + CIRCUIT_CTRL_SIZE + (head & (size - 1) & ~7u);
			if ((void *)(d + 1) > (void *)ctrl + CIRCUIT_CTRL_SIZE + size)
				break;
			len = get_random_u32() % 2 ? get_random_u32() % 2048 : some_length(size);
			memset(d, 0, sizeof(*d));
			WRITE_ONCE(d->len, len);
			d->port = get_random_u32() % 4 ? 3600 : get_random_u32();
			if (get_random_u32() % 16 == 0)
				d->flags = get_random_u32() % 4;
			if (get_random_u32() % 16 == 0)
				d->error = get_random_u32();
			switch (get_random_u32() % 8) {
			case 0:
				memset(d->line, 'x', sizeof(d->line));
				break;
			case 1:
				get_random_bytes(d->line, sizeof(d->line));
				break;
			case 2:
				break;
			default:
				memcpy(d->line, "g2", 2);
			}
			if (get_random_u32() % 8)
				len = (sizeof(*d) + len + 7) & ~7u;
			virt_store_release(&ctrl->dir[0].prod.tail, head + len);
			virt_store_release(&ctrl->dir[1].cons.head,
					   READ_ONCE(ctrl->dir[1].prod.tail));
			if (circuit_attn_raise(h->attn, index))
				ring(h);
			/* It may change while it is looked at, or copied. */
			WRITE_ONCE(d->len, some_length(size));
			WRITE_ONCE(d->port, get_random_u32());
			usleep_range(20, 50);
		}
		memset(&msg, 0, sizeof(msg));
		msg.type = CIRCUIT_SIG_HANGUP;
		msg.hangup.index = index;
		msg.hangup.reason = get_random_u32() % 2 ? CIRCUIT_REASON_PEER_RESET :
							   CIRCUIT_REASON_NONE;
		post(h, &msg);
	} while (more(h, end));
	return 0;
}

/* What has become of the call @ref: 0 if it is connected, and has been hung up. */
static int call_outcome(struct hostile *h, u32 ref)
{
	unsigned long end = jiffies + 5 * HZ;
	struct circuit_sig msg;

	while (time_before(jiffies, end)) {
		if (!receive(h, &msg)) {
			usleep_range(50, 100);
			continue;
		}
		if (msg.ref != ref)
			continue;
		switch (msg.type) {
		case CIRCUIT_SIG_CONNECTED:
			ref = msg.circuit.index;
			memset(&msg, 0, sizeof(msg));
			msg.type = CIRCUIT_SIG_HANGUP;
			msg.hangup.index = ref;
			post(h, &msg);
			return 0;
		case CIRCUIT_SIG_REFUSED:
		case CIRCUIT_SIG_NATIVE:
			return msg.status.reason;
		}
	}
	return -ETIMEDOUT;
}

/*
 * Calls to the victim and to the world, of streams and of datagrams, that say that they come from
 * somebody else. Those that say the truth are connected.
 */
static int attack_forge(struct hostile *h, unsigned long end)
{
	static const char * const from[] = { "10.77.0.9", "10.77.0.1", "10.77.0.2", "192.0.2.2", "" };
	struct circuit_sig msg;
	int err = hello(h), want;
	unsigned int i, how;

	if (err)
		return err;
	do {
		for (how = 0; how < 4; how++)
			for (i = 0; i < ARRAY_SIZE(from); i++) {
				if (how < 2)
					make_udp_call(h, &msg);
				else
					make_trunk_call(h, &msg);
				msg.call.type = how & 1 ? CIRCUIT_SIG_STREAM : CIRCUIT_SIG_DGRAM;
				msg.call.src_port = 1024 + h->ref % 32768;
				memset(msg.call.src + 10, 0xff, 2);
				if (*from[i])
					in4_pton(from[i], -1, msg.call.src + 12, -1, NULL);
				else
					get_random_bytes(msg.call.src + 12, 4);
				post(h, &msg);
				want = i ? CIRCUIT_REASON_NOT_YOURS : 0;
				err = call_outcome(h, h->ref);
				if (err == want)
					continue;
				pr_err("circuit_hostile: call %u from %pI4: %d, not %d\n", how,
				       msg.call.src + 12, err, want);
				return err < 0 ? err : -EPERM;
			}
	} while (more(h, end));
	return 0;
}

static int attack_rings(struct hostile *h, unsigned long end)
{
	return bad_rings(h, end, make_call);
}

static int attack_trunk(struct hostile *h, unsigned long end)
{
	return bad_rings(h, end, make_trunk_call);
}

/*
 * Send without ever asking whether we may. 0 if the other guest takes no more than what was
 * allowed.
 */
static int attack_rate(struct hostile *h, unsigned long end)
{
	struct circuit_ctrl *ctrl;
	struct circuit_sig msg;
	int err = hello(h);
	u32 head;

	if (err)
		return err;
	make_call(h, &msg);
	msg.call.tx_size = 64u << 10;
	post(h, &msg);
	if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
		return -EIO;
	if (!(msg.circuit.limits & CIRCUIT_SIG_LIMIT_TX))
		return -EPROTO;
	ctrl = (void *)(h->window + msg.circuit.offset);
	do {
		head = READ_ONCE(ctrl->dir[0].cons.head);
		virt_store_release(&ctrl->dir[0].prod.tail, head + (64u << 10));
		virt_store_release(&ctrl->dir[1].cons.head, READ_ONCE(ctrl->dir[1].prod.tail));
		if (circuit_attn_raise(h->attn, msg.circuit.index))
			ring(h);
		usleep_range(100, 200);
		/* The other guest may be slow. */
	} while (more(h, end) || (head < CIRCUIT_SIG_ALLOWANCE &&
				  time_before(jiffies, end + 30 * HZ)));
	pr_info("circuit_hostile: %u bytes taken\n", head);
	return head == CIRCUIT_SIG_ALLOWANCE ? 0 : -EPERM;
}

/* The same with short messages, where as many bytes may be sent as we like. */
static int attack_messages(struct hostile *h, unsigned long end)
{
	struct circuit_message one = { .len = CIRCUIT_MESSAGE_ALIGN };
	const u32 each = circuit_message_bytes(one.len), most = CIRCUIT_SIG_MESSAGES * each;
	struct circuit_ctrl *ctrl;
	struct circuit_sig msg;
	int err = hello(h);
	u32 head, n;

	if (err)
		return err;
	make_call(h, &msg);
	msg.call.type = CIRCUIT_SIG_SEQPACKET;
	post(h, &msg);
	if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
		return -EIO;
	if (msg.circuit.limits != CIRCUIT_SIG_LIMIT_TX_MESSAGES)
		return -EPROTO;
	ctrl = (void *)(h->window + msg.circuit.offset);
	for (n = 0; n < msg.circuit.size[0]; n += each)
		memcpy((void *)ctrl + CIRCUIT_CTRL_SIZE + n, &one, sizeof(one));
	do {
		head = READ_ONCE(ctrl->dir[0].cons.head);
		virt_store_release(&ctrl->dir[0].prod.tail, head + msg.circuit.size[0]);
		virt_store_release(&ctrl->dir[1].cons.head, READ_ONCE(ctrl->dir[1].prod.tail));
		if (circuit_attn_raise(h->attn, msg.circuit.index))
			ring(h);
		usleep_range(100, 200);
	} while (more(h, end) || (head < most && time_before(jiffies, end + 30 * HZ)));
	pr_info("circuit_hostile: %u messages taken\n", head / each);
	return head == most ? 0 : -EPERM;
}

/*
 * Learn that what we send is limited from now on, and send as before. 0 if the other guest takes no
 * more than what may have been sent before that was known.
 */
static int attack_limit(struct hostile *h, unsigned long end)
{
	const u32 size = 64u << 10, most = 4 * size + 3 * CIRCUIT_SIG_ALLOWANCE;
	struct circuit_ctrl *ctrl;
	struct circuit_sig msg;
	unsigned long wait = end + 60 * HZ;
	u32 index, head, since = 0;
	bool limited = false;
	int err = hello(h);

	if (err)
		return err;
	make_call(h, &msg);
	msg.call.tx_size = size;
	post(h, &msg);
	if (!wait_for(h, CIRCUIT_SIG_CONNECTED, &msg))
		return -EIO;
	if (msg.circuit.limits)
		return -EPROTO;
	index = msg.circuit.index;
	ctrl = (void *)(h->window + msg.circuit.offset);
	pr_info("circuit_hostile: sends\n");
	do {
		head = READ_ONCE(ctrl->dir[0].cons.head);
		virt_store_release(&ctrl->dir[0].prod.tail, head + size);
		virt_store_release(&ctrl->dir[1].cons.head, READ_ONCE(ctrl->dir[1].prod.tail));
		if (circuit_attn_raise(h->attn, index))
			ring(h);
		usleep_range(100, 200);
		if (!limited && receive(h, &msg) && msg.type == CIRCUIT_SIG_ALLOW &&
		    msg.allow.limits & CIRCUIT_SIG_LIMIT_TX_ANEW) {
			limited = true;
			since = head;
			end = jiffies + seconds * HZ;
		}
	} while (limited ? more(h, end) : time_before(jiffies, wait));
	pr_info("circuit_hostile: %u bytes taken after the limit\n", head - since);
	return limited && since && head - since <= most ? 0 : -EPERM;
}

static const struct {
	const char *name;
	int (*run)(struct hostile *h, unsigned long end);
} attacks[] = {
	{ "garbage", attack_garbage },
	{ "version", attack_version },
	{ "lies", attack_lies },
	{ "index", attack_index },
	{ "scribble", attack_scribble },
	{ "window", attack_window },
	{ "epochs", attack_epochs },
	{ "marks", attack_marks },
	{ "doorbells", attack_doorbells },
	{ "calls", attack_calls },
	{ "rings", attack_rings },
	{ "records", attack_records },
	{ "flows", attack_flows },
	{ "datagrams", attack_datagrams },
	{ "forge", attack_forge },
	{ "trunk", attack_trunk },
	{ "rate", attack_rate },
	{ "messages", attack_messages },
	{ "limit", attack_limit },
};

static int hostile_run(struct hostile *h)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(attacks); i++) {
		if (strcmp(attacks[i].name, attack))
			continue;
		err = attacks[i].run(h, jiffies + seconds * HZ);
		pr_info("circuit_hostile: %s: %llu rounds, result %d\n", attack, h->done, err);
		return err;
	}
	pr_err("circuit_hostile: no attack is called %s\n", attack);
	return -EINVAL;
}

static int hostile_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct hostile h = {};
	int err;

	err = pci_enable_device(pdev);
	if (err)
		return err;
	err = -ENOMEM;
	h.size = pci_resource_len(pdev, 2);
	h.regs = ioremap(pci_resource_start(pdev, 0), pci_resource_len(pdev, 0));
	h.window = memremap(pci_resource_start(pdev, 2), h.size, MEMREMAP_WB);
	if (!h.regs || !h.window)
		goto out;
	h.hdr = (void *)(h.window + CIRCUIT_OFF_LINE);
	h.guest = (void *)(h.window + CIRCUIT_OFF_GUEST);
	h.attn = (void *)(h.window + CIRCUIT_OFF_ATTN_HOST);
	h.ctrl = (void *)(h.window + CIRCUIT_OFF_SIG);
	err = hostile_run(&h);
out:
	if (h.window)
		memunmap(h.window);
	if (h.regs)
		iounmap(h.regs);
	pci_disable_device(pdev);
	return err;
}

/* Nothing is kept: what the line had stays behind, as after a crash. */
static void hostile_remove(struct pci_dev *pdev)
{
}

static const struct pci_device_id hostile_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{}
};

static struct pci_driver hostile_driver = {
	.name = KBUILD_MODNAME,
	.id_table = hostile_ids,
	.probe = hostile_probe,
	.remove = hostile_remove,
};

module_pci_driver(hostile_driver);

MODULE_DESCRIPTION("A guest that does not play by the rules of circuits");
MODULE_LICENSE("GPL");
