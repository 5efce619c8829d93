// SPDX-License-Identifier: GPL-2.0
/*
 * zero - what a circuit that is mapped saves, between two guests.
 *
 *	zero serve PORT				answer the tests below, until killed
 *	zero rtt map|copy LINE PORT N		round trips of 8 bytes, one after the other
 *	zero stream map|copy LINE PORT SIZE MS	pieces of SIZE bytes, again and again
 *	zero messages map|copy LINE PORT SIZE BATCH MS	messages of SIZE bytes, BATCH published at once
 *	zero ask map|copy LINE PORT SIZE N	datagrams, and the answers of who sends each back ("peer
 *						dgram-echo"), one after the other
 *
 * Both ways do the same work: the sender stores a word into each cache line of what it sends, and
 * the receiver looks at each. "copy" does so in memory of its own, and calls send() and recv(), or
 * sendmmsg() and recvmmsg(); "map" does it in the ring, by libcircuit. Prints one line of figures,
 * see figures.h.
 */
#define _GNU_SOURCE
#include <circuit.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "figures.h"

#define LINE		64
#define MAX_PIECE	(256u << 10)
#define MAX_BATCH	64
#define MAX_MESSAGE	2048

enum { RTT, STREAM, MESSAGES };

/**
 * struct order - what the caller says first
 * @what: RTT, STREAM or MESSAGES
 * @map: it is to be done by a mapping
 * @size: of a piece or message
 * @batch: messages at once
 */
struct order {
	uint32_t what, map, size, batch;
};

static uint8_t buf[MAX_PIECE] __attribute__((aligned(LINE)));
static uint64_t sum;	/* of what was looked at, lest the compiler leave it out */

static void die(const char *what, int error)
{
	fprintf(stderr, "zero: %s: %s\n", what, strerror(error < 0 ? -error : errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void produce(void *p, size_t len, uint64_t v)
{
	size_t i;

	for (i = 0; i + sizeof(v) <= len; i += LINE)
		memcpy((char *)p + i, &v, sizeof(v));
}

static void consume(const void *p, size_t len)
{
	uint64_t v;
	size_t i;

	for (i = 0; i + sizeof(v) <= len; i += LINE) {
		memcpy(&v, (const char *)p + i, sizeof(v));
		sum += v;
	}
}

static int address(struct sockaddr_circuit *a, const char *line, const char *port)
{
	*a = (struct sockaddr_circuit){ .sc_family = AF_CIRCUIT, .sc_port = atoi(port) };
	if (line)
		strncpy(a->sc_line, line, sizeof(a->sc_line) - 1);
	return sizeof(*a);
}

static int call(int type, const char *line, const char *port)
{
	struct sockaddr_circuit a;
	int s = socket(AF_CIRCUIT, type, 0);

	if (s < 0 || connect(s, (void *)&a, address(&a, line, port)))
		die("connect", 0);
	return s;
}

static void all(ssize_t (*fn)(int, void *, size_t, int), int s, void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (char *)data + n) {
		n = fn(s, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			die("transfer", 0);
	}
}

static ssize_t sends(int s, void *data, size_t len, int flags)
{
	return send(s, data, len, flags);
}

/* Both ends have it mapped, so one call says that there is something, or room. */
static void await(struct circuit *c, unsigned int events)
{
	int ret = circuit_wait(c, events, -1);

	if (ret < 0 && ret != -EINTR)
		die("circuit_wait", ret);
}

static struct circuit *mapped(int s)
{
	struct circuit *c;
	int ret = circuit_open(&c, s);

	if (ret)
		die("circuit_open", ret);
	/* As long as it takes to be woken, as sockets do; at most, for it learns. */
	circuit_spin(c, 1000000);
	return c;
}

static void *room(struct circuit *c, size_t len)
{
	ssize_t n;
	void *p;

	while ((n = circuit_tx_reserve(c, &p, len)) == -EAGAIN)
		await(c, CIRCUIT_OUT);
	if (n < 0)
		die("circuit_tx_reserve", n);
	return p;
}

/* NULL at the end. */
static const void *data(struct circuit *c, size_t *len)
{
	const void *p;
	ssize_t n;

	while ((n = circuit_rx_peek(c, &p, *len)) == -EAGAIN)
		await(c, CIRCUIT_IN);
	if (n < 0)
		die("circuit_rx_peek", n);
	*len = n;
	return n ? p : NULL;
}

/* Eight bytes there and back by the ring. */
static void put8(struct circuit *c, uint64_t v)
{
	memcpy(room(c, sizeof(v)), &v, sizeof(v));
	circuit_tx_commit(c, sizeof(v));
}

static bool get8(struct circuit *c, uint64_t *v)
{
	size_t len = sizeof(*v);
	const void *p = data(c, &len);

	if (!p || len < sizeof(*v))
		return false;
	memcpy(v, p, sizeof(*v));
	circuit_rx_release(c, sizeof(*v));
	return true;
}

/* --- what is called -------------------------------------------------------------------------- */

static void serve_rtt(int s, const struct order *o)
{
	struct circuit *c = o->map ? mapped(s) : NULL;
	uint64_t v;

	if (c)
		while (get8(c, &v))
			put8(c, v);
	else
		while (recv(s, &v, sizeof(v), MSG_WAITALL) == sizeof(v))
			all(sends, s, &v, sizeof(v));
	circuit_close(c);
}

/* What has come and the time from the first to the last of it, by the socket as it was. */
static void answer(int s, uint64_t n, uint64_t start)
{
	uint64_t got[2] = { n, now() - start };

	if (send(s, got, sizeof(got), MSG_NOSIGNAL) != sizeof(got))
		die("send", 0);
}

static void serve_stream(int s, const struct order *o)
{
	struct circuit *c = o->map ? mapped(s) : NULL;
	uint64_t n = 0, start = 0;
	size_t len;
	const void *p;
	ssize_t got;

	for (;;) {
		if (c) {
			len = o->size;
			p = data(c, &len);
			if (len > o->size)
				len = o->size;
			if (!p)
				break;
			consume(p, len);
			circuit_rx_release(c, len);
		} else {
			got = recv(s, buf, o->size, MSG_WAITALL);
			if (got <= 0)
				break;
			len = got;
			consume(buf, len);
		}
		if (!start)
			start = now();
		n += len;
	}
	circuit_close(c);
	answer(s, n, start);
}

static void serve_messages(int s, const struct order *o)
{
	static uint8_t one[MAX_BATCH][MAX_MESSAGE];
	struct circuit *c = o->map ? mapped(s) : NULL;
	struct circuit_view v[MAX_BATCH];
	struct mmsghdr m[MAX_BATCH];
	struct iovec iov[MAX_BATCH];
	uint64_t n = 0, start = 0;
	int i, got;

	for (i = 0; i < MAX_BATCH; i++) {
		iov[i] = (struct iovec){ one[i], MAX_MESSAGE };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	for (;;) {
		if (c) {
			while ((got = circuit_msg_peek(c, v, o->batch)) == -EAGAIN)
				await(c, CIRCUIT_IN);
			if (got < 0)
				die("circuit_msg_peek", got);
			if (!got)
				break;
			for (i = 0; i < got; i++)
				consume(v[i].data, v[i].len);
			circuit_msg_release(c, &v[got - 1]);
		} else {
			got = recvmmsg(s, m, o->batch, MSG_WAITFORONE, NULL);
			if (got <= 0 || !m[0].msg_len)
				break;
			for (i = 0; i < got && m[i].msg_len; i++)
				consume(one[i], m[i].msg_len);
			n += i;
			if (i < got)
				break;
			n -= i;
		}
		if (!start)
			start = now();
		n += got;
	}
	circuit_close(c);
	answer(s, n, start);
}

static void serve(const char *port)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	struct sockaddr_circuit a;
	struct order o;
	int i, l, s;

	for (i = 0; i < 2; i++) {
		if (i == 0 && fork())
			continue;
		l = socket(AF_CIRCUIT, types[i], 0);
		if (l < 0 || bind(l, (void *)&a, address(&a, NULL, port)) || listen(l, 16))
			die("listen", 0);
		for (;;) {
			s = accept(l, NULL, NULL);
			if (s < 0)
				die("accept", 0);
			if (recv(s, &o, sizeof(o), MSG_WAITALL) == sizeof(o) && o.size <= MAX_PIECE &&
			    o.batch <= MAX_BATCH) {
				if (o.what == RTT)
					serve_rtt(s, &o);
				else if (o.what == STREAM)
					serve_stream(s, &o);
				else
					serve_messages(s, &o);
			}
			close(s);
		}
	}
}

/* --- what calls ------------------------------------------------------------------------------ */

static int order(int type, char **argv, struct order *o)
{
	int s = call(type, argv[3], argv[4]);

	o->map = !strcmp(argv[2], "map");
	if (send(s, o, sizeof(*o), MSG_NOSIGNAL) != sizeof(*o))
		die("send", 0);
	return s;
}

static void rtt(char **argv)
{
	struct order o = { RTT };
	unsigned int i, n = atoi(argv[5]);
	uint64_t t, v = 0, *ns = calloc(n, sizeof(*ns));
	int s = order(SOCK_STREAM, argv, &o);
	struct circuit *c = o.map ? mapped(s) : NULL;

	for (i = 0; i < n + 20; i++) {	/* the first do not count */
		t = now();
		if (c) {
			put8(c, i);
			if (!get8(c, &v))
				die("the far end has gone", 0);
		} else {
			v = i;
			all(sends, s, &v, sizeof(v));
			all(recv, s, &v, sizeof(v));
		}
		if (v != i)
			die("another answer", -EPROTO);
		if (i >= 20)
			ns[i - 20] = now() - t;
	}
	circuit_close(c);	/* or what was read, and not said to be, would count as unread */
	printf("n=%u ", n);
	figures_quantiles(ns, n);
	putchar('\n');
}

/*
 * Nothing more follows; the far end tells how much (WHAT) has come. The time is by the clock of
 * the end that says more: a receiver may come late.
 */
static void end(int s, struct circuit *c, const char *what, uint64_t start)
{
	uint64_t got[2], sent = now() - start;

	circuit_close(c);
	shutdown(s, SHUT_WR);
	if (recv(s, got, sizeof(got), MSG_WAITALL) != sizeof(got))
		die("no figures from the far end", 0);
	printf("%s=%" PRIu64 " ns=%" PRIu64 "\n", what, got[0], got[1] > sent ? got[1] : sent);
}

static void stream(char **argv)
{
	struct order o = { STREAM, .size = atoi(argv[5]) };
	int s = order(SOCK_STREAM, argv, &o);
	struct circuit *c = o.map ? mapped(s) : NULL;
	unsigned int pieces = figures_pieces(o.size);
	uint64_t v = 0, start = now(), until = start + atoi(argv[6]) * 1000000ull;

	do {
		if (c) {
			produce(room(c, o.size), o.size, v++);
			circuit_tx_commit(c, o.size);
		} else {
			produce(buf, o.size, v++);
			all(sends, s, buf, o.size);
		}
	} while (v % pieces || now() < until);
	end(s, c, "bytes", start);
}

static void messages(char **argv)
{
	struct order o = { MESSAGES, .size = atoi(argv[5]), .batch = atoi(argv[6]) };
	int s = order(SOCK_SEQPACKET, argv, &o), ret;
	struct circuit *c = o.map ? mapped(s) : NULL;
	uint64_t v = 0, start = now(), until = start + atoi(argv[7]) * 1000000ull;
	struct mmsghdr m[MAX_BATCH];
	struct iovec iov[MAX_BATCH];
	unsigned int i, pieces = figures_pieces(o.size * o.batch) * o.batch;
	void *p;

	for (i = 0; i < o.batch; i++) {
		iov[i] = (struct iovec){ buf + i * MAX_MESSAGE, o.size };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	do {
		for (i = 0; i < o.batch; i++) {
			if (!c) {
				produce(buf + i * MAX_MESSAGE, o.size, v++);
				continue;
			}
			while ((ret = circuit_msg_reserve(c, &p, o.size)) == -EAGAIN)
				await(c, CIRCUIT_OUT);
			if (ret)
				die("circuit_msg_reserve", ret);
			produce(p, o.size, v++);
			circuit_msg_fill(c, o.size, 0);
		}
		if (c)
			ret = circuit_tx_publish(c);
		else if (o.batch == 1)
			ret = send(s, buf, o.size, MSG_NOSIGNAL) == o.size ? 0 : -errno;
		else
			ret = sendmmsg(s, m, o.batch, MSG_NOSIGNAL) > 0 ? 0 : -errno;
		if (ret)
			die("send", ret);
	} while (v % pieces || now() < until);
	end(s, c, "n", start);
}

/* Datagrams may be lost, but not where there is only one of them at a time. */
static void ask(char **argv)
{
	uint32_t size = atoi(argv[5]), n = atoi(argv[6]), i;
	int s = call(SOCK_DGRAM, argv[3], argv[4]), ret;
	struct circuit *c = !strcmp(argv[2], "map") ? mapped(s) : NULL;
	uint64_t t, *ns = calloc(n, sizeof(*ns));
	static uint8_t got[MAX_PIECE];
	struct circuit_view v;
	void *p;

	for (i = 0; i < n; i++) {
		t = now();
		if (c) {
			ret = circuit_msg_reserve(c, &p, size);
			if (ret)
				die("circuit_msg_reserve", ret);
			memset(p, i, size);
			ret = circuit_msg_commit(c, size, 0);
			while (!ret && (ret = circuit_msg_peek(c, &v, 1)) == -EAGAIN) {
				await(c, CIRCUIT_IN);
				ret = 0;
			}
			if (ret != 1)
				die("circuit_msg_peek", ret);
			memset(buf, i, size);
			if (v.len != size || memcmp(v.data, buf, size))
				die("another answer", -EPROTO);
			ret = circuit_msg_release(c, &v);
		} else {
			memset(buf, i, size);
			ret = send(s, buf, size, 0) != size || recv(s, got, sizeof(got), 0) != size ? -errno : 0;
			if (!ret && memcmp(got, buf, size))
				die("another answer", -EPROTO);
		}
		if (ret)
			die("datagram", ret);
		ns[i] = now() - t;
	}
	circuit_close(c);
	printf("n=%u ", n);
	figures_quantiles(ns, n);
	putchar('\n');
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "serve") && argc == 3)
		serve(argv[2]);
	else if (!strcmp(what, "rtt") && argc == 6)
		rtt(argv);
	else if (!strcmp(what, "stream") && argc == 7 && atoi(argv[5]) > 0 && atoi(argv[5]) <= (int)MAX_PIECE)
		stream(argv);
	else if (!strcmp(what, "messages") && argc == 8 && atoi(argv[5]) > 0 &&
		 atoi(argv[5]) <= MAX_MESSAGE && atoi(argv[6]) > 0 && atoi(argv[6]) <= MAX_BATCH &&
		 atoi(argv[6]) * MAX_MESSAGE <= (int)MAX_PIECE)
		messages(argv);
	else if (!strcmp(what, "ask") && argc == 7 && atoi(argv[5]) >= 0 && atoi(argv[5]) <= (int)MAX_PIECE)
		ask(argv);
	else
		return 2;
	return 0;
}
