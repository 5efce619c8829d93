// SPDX-License-Identifier: GPL-2.0
/*
 * bench - figures of stream sockets, between two guests.
 *
 *	bench serve PROTO PORT			answer the tests below, until killed
 *	bench rtt PROTO ADDRESS PORT N		round trips of 1 byte, one after the other
 *	bench stream PROTO ADDRESS PORT SIZE MS	write SIZE bytes again and again
 *	bench rate PROTO ADDRESS PORT MS	connect, 1 byte each way, close, again
 *	bench socket PROTO N			socket and close, again and again
 *
 * PROTO is circuit (the address being a line) or tcp. Prints one line of figures:
 *
 *	rtt: every round trip in ns
 *	stream: bytes and the ns from their first to their last, as the receiver saw them
 *	rate: connections and the ns they took
 *	socket: the same of sockets
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

enum { ECHO, SINK };

static bool tcp;
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
	int s = socket(tcp ? AF_INET : AF_CIRCUIT, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		die("socket");
	return s;
}

static void nodelay(int s)
{
	int one = 1;

	if (tcp && setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

static int listen_on(unsigned int port)
{
	struct sockaddr_circuit addr = { .sc_family = AF_CIRCUIT, .sc_port = port };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = make_socket(), one = 1;

	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, tcp ? (void *)&in : (void *)&addr, tcp ? sizeof(in) : sizeof(addr)) ||
	    listen(s, 128))
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
	tcp = !strcmp(argv[2], "tcp");
	if (!strcmp(argv[1], "serve"))
		serve(atoi(argv[3]));
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
