// SPDX-License-Identifier: GPL-2.0
/*
 * bench - figures of sockets, between two guests.
 *
 *	bench serve PROTO PORT			answer the tests below, until killed
 *	bench rtt PROTO ADDRESS PORT N		round trips of 1 byte, one after the other
 *	bench stream PROTO ADDRESS PORT SIZE MS	write SIZE bytes again and again
 *	bench rate PROTO ADDRESS PORT MS	connect, 1 byte each way, close, again
 *	bench socket PROTO N			socket and close, again and again
 *	bench messages PROTO ADDRESS PORT SIZE BATCH MS	send messages of SIZE bytes, BATCH with
 *						each system call, which are received likewise
 *
 * PROTO is circuit (the address being a line) or tcp; for messages, of which round trips can be
 * measured as well, it is seqpacket, dgram or udp. Prints one line of figures:
 *
 *	rtt: every round trip in ns
 *	stream: bytes and the ns from their first to their last, as the receiver saw them
 *	rate: connections and the ns they took
 *	socket: the same of sockets
 *	messages: how many came, and the ns from the first of them to the last
 *
 * Blocking sockets with the system's defaults, but for TCP_NODELAY where round trips are
 * measured. The port above the given one is that of the short connections.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/circuit.h>

#define MAX_WRITE	(1u << 20)
#define MAX_BATCH	64
#define MAX_MESSAGE	2048

enum { ECHO, SINK };

/* Messages shorter than any that is counted. */
enum { PING = 1, CONTROL };
struct control {
	uint8_t end;
	uint8_t batch;
};

static bool tcp;
static int type = SOCK_STREAM;
static char buf[MAX_WRITE];

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int make_socket(void)
{
	int s = socket(tcp ? AF_INET : AF_CIRCUIT, type | SOCK_CLOEXEC, 0);

	if (s < 0)
		die("socket");
	return s;
}

static void nodelay(int s)
{
	int one = 1;

	if (tcp && type == SOCK_STREAM && setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

static int listen_on(unsigned int port)
{
	struct sockaddr_circuit addr = { .sc_family = AF_CIRCUIT, .sc_port = port };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = make_socket(), one = 1;

	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, tcp ? (void *)&in : (void *)&addr, tcp ? sizeof(in) : sizeof(addr)) ||
	    (type != SOCK_DGRAM && listen(s, 128)))
		die("listen");
	return s;
}

static int call(const char *where, unsigned int port)
{
	struct sockaddr_circuit addr = { .sc_family = AF_CIRCUIT, .sc_port = port };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = make_socket();

	if (tcp)
		inet_pton(AF_INET, where, &in.sin_addr);
	else
		strncpy(addr.sc_line, where, sizeof(addr.sc_line) - 1);
	if (connect(s, tcp ? (void *)&in : (void *)&addr, tcp ? sizeof(in) : sizeof(addr)))
		die("connect");
	return s;
}

static void put(int s, const void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (const char *)data + n) {
		n = send(s, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			die("send");
	}
}

static bool get(int s, void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (char *)data + n) {
		n = recv(s, data, len, 0);
		if (n < 0)
			die("recv");
		if (!n)
			return false;
	}
	return true;
}

static void serve_one(int s)
{
	uint64_t sum[2] = {}, start = 0;
	uint8_t mode;
	ssize_t n;
	char c;

	if (!get(s, &mode, 1))
		return;
	if (mode == ECHO) {
		nodelay(s);
		while (get(s, &c, 1))
			put(s, &c, 1);
		return;
	}
	while ((n = recv(s, buf, sizeof(buf), 0)) > 0) {
		if (!start)
			start = now();
		sum[0] += n;
	}
	sum[1] = now() - start;
	put(s, sum, sizeof(sum));
}

/* Answer PING and CONTROL, and count what else there is, until the end if there is one. */
static void serve_messages(int s)
{
	static char data[MAX_BATCH][MAX_MESSAGE];
	struct sockaddr_storage from[MAX_BATCH];
	uint64_t sum[2] = {}, start = 0;
	struct mmsghdr m[MAX_BATCH];
	struct iovec iov[MAX_BATCH];
	unsigned int batch = 1;
	int i, n;

	for (;;) {
		for (i = 0; i < (int)batch; i++) {
			iov[i] = (struct iovec){ data[i], MAX_MESSAGE };
			m[i].msg_hdr = (struct msghdr){ .msg_name = &from[i],
				.msg_namelen = sizeof(from[i]), .msg_iov = &iov[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(s, m, batch, MSG_WAITFORONE, NULL);
		/* A caller that goes with something unread has had what it wanted. */
		if (n < 0 && type != SOCK_DGRAM)
			return;
		if (n < 0)
			die("recvmmsg");
		for (i = 0; i < n; i++) {
			const struct control *c = (void *)data[i];

			if (!m[i].msg_len)
				return;
			if (m[i].msg_len > CONTROL) {
				sum[0]++;
				continue;
			}
			iov[i].iov_len = m[i].msg_len;
			if (m[i].msg_len == CONTROL) {
				batch = c->batch;
				if (!c->end)
					start = sum[0] = sum[1] = 0;
				iov[i] = (struct iovec){ sum, sizeof(sum) };
			}
			if (type != SOCK_DGRAM)
				m[i].msg_hdr.msg_namelen = 0;
			if (sendmsg(s, &m[i].msg_hdr, MSG_NOSIGNAL) >= 0)
				continue;
			if (type != SOCK_DGRAM)
				return;
			die("sendmsg");
		}
		if (m[0].msg_len > CONTROL) {
			sum[1] = now();
			if (!start)
				start = sum[1];
			sum[1] -= start;
		}
	}
}

static void serve_all_messages(unsigned int port)
{
	int l = listen_on(port), s;

	if (type == SOCK_DGRAM)
		serve_messages(l);
	for (;;) {
		s = accept(l, NULL, NULL);
		if (s < 0)
			die("accept");
		serve_messages(s);
		close(s);
	}
}

/* Say where we are until it is confirmed: a datagram may be lost; messages are not, however long it takes. */
static void control(int s, bool end, unsigned int batch, uint64_t sum[2])
{
	struct control c = { end, batch };
	struct timeval tv = { .tv_usec = 200000 };
	int tries;

	if (type != SOCK_DGRAM)
		tv = (struct timeval){ .tv_sec = 60 };
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	for (tries = 0; tries < 300; tries++) {
		put(s, &c, sizeof(c));
		if (recv(s, sum, 2 * sizeof(*sum), 0) == 2 * sizeof(*sum))
			return;
	}
	die("no answer from the far end");
}

static void messages(const char *where, unsigned int port, size_t size, unsigned int batch,
		     unsigned int ms)
{
	struct mmsghdr m[MAX_BATCH] = {};
	struct iovec iov = { buf, size };
	int s = call(where, port);
	uint64_t end, sum[2];
	unsigned int i;

	for (i = 0; i < batch; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	control(s, false, batch, sum);
	end = now() + ms * 1000000ull;
	do {
		if (batch == 1)
			put(s, buf, size);
		else if (sendmmsg(s, m, batch, MSG_NOSIGNAL) <= 0)
			die("sendmmsg");
	} while (now() < end);
	control(s, true, 1, sum);
	printf("%" PRIu64 " %" PRIu64 "\n", sum[0], sum[1]);
}

static void serve(unsigned int port)
{
	int l = listen_on(port), quick = listen_on(port + 1), s;
	char c;

	signal(SIGCHLD, SIG_IGN);
	if (!fork()) {
		for (;;) {
			s = accept(quick, NULL, NULL);
			if (s < 0)
				die("accept");
			if (get(s, &c, 1))
				put(s, &c, 1);
			get(s, &c, 1);	/* the end */
			close(s);
		}
	}
	for (;;) {
		s = accept(l, NULL, NULL);
		if (s < 0)
			die("accept");
		serve_one(s);
		close(s);
	}
}

static void rtt(const char *where, unsigned int port, unsigned int n)
{
	uint64_t t0, t1, *ns = calloc(n, sizeof(*ns));
	int s = call(where, port);
	uint8_t mode = ECHO;
	unsigned int i;
	char c = 0;

	nodelay(s);
	if (type == SOCK_STREAM)
		put(s, &mode, 1);
	for (i = 0; i < 20; i++) {	/* warm up */
		put(s, &c, 1);
		get(s, &c, 1);
	}
	for (i = 0; i < n; i++) {
		t0 = now();
		put(s, &c, 1);
		if (!get(s, &c, 1))
			die("the far end has gone");
		t1 = now();
		ns[i] = t1 - t0;
	}
	for (i = 0; i < n; i++)
		printf("%" PRIu64 "%c", ns[i], i == n - 1 ? '\n' : ' ');
}

static void stream(const char *where, unsigned int port, size_t size, unsigned int ms)
{
	uint64_t end, sum[2];
	int s = call(where, port);
	uint8_t mode = SINK;

	memset(buf, 'x', size);
	put(s, &mode, 1);
	end = now() + ms * 1000000ull;
	do
		put(s, buf, size);
	while (now() < end);
	shutdown(s, SHUT_WR);
	if (!get(s, sum, sizeof(sum)))
		die("no figures from the far end");
	printf("%" PRIu64 " %" PRIu64 "\n", sum[0], sum[1]);
}

static void rate(const char *where, unsigned int port, unsigned int ms)
{
	uint64_t start = now(), end = start + ms * 1000000ull, n = 0;
	char c = 0;
	int s;

	do {
		s = call(where, port + 1);
		put(s, &c, 1);
		if (!get(s, &c, 1))
			die("the far end has gone");
		close(s);
		n++;
	} while (now() < end);
	printf("%" PRIu64 " %" PRIu64 "\n", n, now() - start);
}

static void sockets(unsigned int n)
{
	uint64_t start;
	unsigned int i;

	close(make_socket());
	start = now();
	for (i = 0; i < n; i++)
		close(make_socket());
	printf("%u %" PRIu64 "\n", n, now() - start);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	tcp = !strcmp(argv[2], "tcp") || !strcmp(argv[2], "udp");
	if (!strcmp(argv[2], "udp") || !strcmp(argv[2], "dgram"))
		type = SOCK_DGRAM;
	else if (!strcmp(argv[2], "seqpacket"))
		type = SOCK_SEQPACKET;
	if (!strcmp(argv[1], "serve") && type == SOCK_STREAM)
		serve(atoi(argv[3]));
	else if (!strcmp(argv[1], "serve"))
		serve_all_messages(atoi(argv[3]));
	else if (!strcmp(argv[1], "messages") && argc == 8 && type != SOCK_STREAM &&
		 atoi(argv[5]) > CONTROL && atoi(argv[5]) <= MAX_MESSAGE &&
		 atoi(argv[6]) > 0 && atoi(argv[6]) <= MAX_BATCH)
		messages(argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), atoi(argv[7]));
	else if (!strcmp(argv[1], "socket"))
		sockets(atoi(argv[3]));
	else if (!strcmp(argv[1], "rtt") && argc == 6)
		rtt(argv[3], atoi(argv[4]), atoi(argv[5]));
	else if (!strcmp(argv[1], "stream") && argc == 7 && atoi(argv[5]) <= (int)MAX_WRITE)
		stream(argv[3], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
	else if (!strcmp(argv[1], "rate") && argc == 6)
		rate(argv[3], atoi(argv[4]), atoi(argv[5]));
	else
		return 2;
	return 0;
}
