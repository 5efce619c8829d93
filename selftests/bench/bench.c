// SPDX-License-Identifier: GPL-2.0
/*
 * bench - figures of sockets, between two guests.
 *
 *	bench serve PROTO PORT			answer the tests below, until killed
 *	bench rtt PROTO ADDRESS PORT N		round trips of 1 byte, one after the other
 *	bench stream PROTO ADDRESS PORT SIZE MS	write SIZE bytes again and again
 *	bench pull PROTO ADDRESS PORT SIZE MS	have the far end do so
 *	bench loaded PROTO ADDRESS PORT MS	round trips beside a stream of 64 KiB writes of another process
 *	bench many PROTO ADDRESS PORT COUNT SIZE MS	COUNT connections, on each of which SIZE bytes go
 *						there and back again and again, all at once
 *	bench rate PROTO ADDRESS PORT MS	connect, 1 byte each way, close, again
 *	bench hold PROTO ADDRESS PORT COUNT	so many connections, used once, until killed; says "ready"
 *	bench socket PROTO N			socket and close, again and again
 *	bench messages PROTO ADDRESS PORT SIZE BATCH MS	send messages of SIZE bytes, BATCH with
 *						each system call, which are received likewise
 *
 * PROTO is circuit (the address being a line), busy (the same, with programs that ask again and
 * again instead of waiting), tcp, vsock (a context's number) or unix (any); for messages, of which
 * round trips can be measured as well, it is seqpacket, dgram or udp. Prints one line of figures,
 * see figures.h:
 *
 *	rtt, loaded, many: quantiles of round trips
 *	stream, pull, loaded: bytes that were received, and the ns from their first to their last by the
 *		receiver's clock or by the sender's, whichever are more
 *	many: round trips and the ns they took
 *	rate: connections and the ns they took; quantiles of socket() and connect()
 *	socket: the same of sockets
 *	messages: how many were received, and the ns likewise
 *
 * Blocking sockets with the system's defaults, but for TCP_NODELAY where round trips are
 * measured. The port above the given one is that of the short connections, the next that of many.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/circuit.h>
#include <linux/vm_sockets.h>
#include "figures.h"

#define MAX_WRITE	(1u << 20)
#define MAX_BATCH	64
#define MAX_MESSAGE	2048
#define MAX_MANY	4000
#define MAX_ROUND	4096	/* what a connection can hold each way, whatever it is */
#define MAX_SAMPLES	(1u << 20)

enum { ECHO, SINK, SOURCE };
/* What follows SOURCE. */
struct order {
	uint32_t size, ms;
};

/* Messages shorter than any that is counted. */
enum { PING = 1, CONTROL };
struct control {
	uint8_t end;
	uint8_t batch;
};

static const struct proto {
	const char *name;
	int family, type;
	bool busy;
} protos[] = {
	{ "circuit", AF_CIRCUIT, SOCK_STREAM, false },
	{ "busy", AF_CIRCUIT, SOCK_STREAM, true },
	{ "tcp", AF_INET, SOCK_STREAM, false },
	{ "vsock", AF_VSOCK, SOCK_STREAM, false },
	{ "unix", AF_UNIX, SOCK_STREAM, false },
	{ "seqpacket", AF_CIRCUIT, SOCK_SEQPACKET, false },
	{ "dgram", AF_CIRCUIT, SOCK_DGRAM, false },
	{ "udp", AF_INET, SOCK_DGRAM, false },
}, *proto;
static int type;
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
	int s = socket(proto->family, type | SOCK_CLOEXEC, 0);

	if (s < 0)
		die("socket");
	return s;
}

static void nodelay(int s)
{
	int one = 1;

	if (proto->family == AF_INET && type == SOCK_STREAM &&
	    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

/* Of that port there, or here if where is NULL. */
static socklen_t address(struct sockaddr_storage *to, const char *where, unsigned int port)
{
	struct sockaddr_circuit *circuit = (void *)to;
	struct sockaddr_in *in = (void *)to;
	struct sockaddr_vm *vm = (void *)to;
	struct sockaddr_un *un = (void *)to;

	memset(to, 0, sizeof(*to));
	to->ss_family = proto->family;
	switch (proto->family) {
	case AF_INET:
		in->sin_port = htons(port);
		if (where)
			inet_pton(AF_INET, where, &in->sin_addr);
		return sizeof(*in);
	case AF_VSOCK:
		vm->svm_port = port;
		vm->svm_cid = where ? (unsigned int)atoi(where) : VMADDR_CID_ANY;
		return sizeof(*vm);
	case AF_UNIX: /* a name that is no file's */
		return offsetof(struct sockaddr_un, sun_path) + 1 +
		       snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "bench-%u", port);
	default:
		circuit->sc_port = port;
		if (where)
			strncpy(circuit->sc_line, where, sizeof(circuit->sc_line) - 1);
		return sizeof(*circuit);
	}
}

static int listen_on(unsigned int port)
{
	struct sockaddr_storage addr;
	socklen_t len = address(&addr, NULL, port);
	int s = make_socket(), one = 1;

	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) || bind(s, (void *)&addr, len) ||
	    (type != SOCK_DGRAM && listen(s, 128)))
		die("listen");
	return s;
}

static int call(const char *where, unsigned int port)
{
	struct sockaddr_storage addr;
	socklen_t len = address(&addr, where, port);
	int s = make_socket();

	if (connect(s, (void *)&addr, len))
		die("connect");
	return s;
}

/* Of one that is busy: ask again. */
static bool again(ssize_t n)
{
	return n < 0 && errno == EAGAIN && proto->busy;
}

static void put(int s, const void *data, size_t len)
{
	int flags = MSG_NOSIGNAL | (proto->busy ? MSG_DONTWAIT : 0);
	ssize_t n;

	while (len) {
		n = send(s, data, len, flags);
		if (again(n))
			continue;
		if (n <= 0)
			die("send");
		len -= n;
		data = (const char *)data + n;
	}
}

static ssize_t some(int s, void *data, size_t len)
{
	ssize_t n;

	do
		n = recv(s, data, len, proto->busy ? MSG_DONTWAIT : 0);
	while (again(n));
	return n;
}

static bool get(int s, void *data, size_t len)
{
	ssize_t n;

	for (; len; len -= n, data = (char *)data + n) {
		n = some(s, data, len);
		if (n < 0)
			die("recv");
		if (!n)
			return false;
	}
	return true;
}

/* All there is, and the time from the first of it to the last. */
static void drain(int s, uint64_t sum[2])
{
	uint64_t start = 0;
	ssize_t n;

	sum[0] = 0;
	while ((n = some(s, buf, sizeof(buf))) > 0) {
		if (!start)
			start = now();
		sum[0] += n;
	}
	sum[1] = now() - start;
}

/* The time it took. */
static uint64_t fill(int s, size_t size, unsigned int ms)
{
	unsigned int i, pieces = figures_pieces(size);
	uint64_t start = now(), t;

	do {
		for (i = 0; i < pieces; i++)
			put(s, buf, size);
		t = now() - start;
	} while (t < ms * 1000000ull);
	shutdown(s, SHUT_WR);
	return t;
}

/* A receiver that comes late has less time by its own clock than they were on their way. */
static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void serve_one(int s)
{
	struct order order;
	uint64_t sum[2];
	uint8_t mode;
	char c;

	if (!get(s, &mode, 1))
		return;
	switch (mode) {
	case ECHO:
		nodelay(s);
		while (get(s, &c, 1))
			put(s, &c, 1);
		break;
	case SINK:
		drain(s, sum);
		put(s, sum, sizeof(sum));
		break;
	case SOURCE:
		if (!get(s, &order, sizeof(order)) || !order.size || order.size > sizeof(buf))
			return;
		fill(s, order.size, order.ms);
		get(s, &c, 1);	/* the end */
		break;
	}
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

/*
 * Say where we are until it is confirmed: a datagram may be lost; messages are not, however long it
 * takes.
 */
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
	unsigned int i, pieces = figures_pieces(size * batch);
	int s = call(where, port);
	uint64_t start, sent, sum[2];

	for (i = 0; i < batch; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	control(s, false, batch, sum);
	start = now();
	do {
		for (i = 0; i < pieces; i++)
			if (batch == 1)
				put(s, buf, size);
			else if (sendmmsg(s, m, batch, MSG_NOSIGNAL) <= 0)
				die("sendmmsg");
		sent = now() - start;
	} while (sent < ms * 1000000ull);
	control(s, true, 1, sum);
	printf("n=%" PRIu64 " ns=%" PRIu64 "\n", sum[0], longer(sent, sum[1]));
}

static void files(void)
{
	struct rlimit limit = { MAX_MANY + 100, MAX_MANY + 100 };

	if (setrlimit(RLIMIT_NOFILE, &limit))
		die("RLIMIT_NOFILE");
}

static void watch(int epoll, int s, uint64_t what)
{
	struct epoll_event e = { EPOLLIN, { .u64 = what } };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, s, &e))
		die("epoll_ctl");
}

/* One process, as many connections as come: whatever there is goes back. */
static void serve_many(int l)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), i, n, s;
	struct epoll_event e[64];
	ssize_t got;

	files();
	watch(epoll, l, l);
	for (;;) {
		n = epoll_wait(epoll, e, 64, -1);
		for (i = 0; i < n; i++) {
			s = e[i].data.u64;
			if (s == l) {
				s = accept(l, NULL, NULL);
				if (s < 0)
					die("accept");
				nodelay(s);
				watch(epoll, s, s);
				continue;
			}
			got = recv(s, buf, MAX_ROUND, 0);
			if (got > 0 && send(s, buf, got, MSG_NOSIGNAL) == got)
				continue;
			close(s);
		}
	}
}

static void serve(unsigned int port)
{
	int l = listen_on(port), quick = listen_on(port + 1), many = listen_on(port + 2), s;
	char c;

	signal(SIGCHLD, SIG_IGN);
	if (!fork())
		serve_many(many);
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
		if (!fork()) {
			serve_one(s);
			exit(0);
		}
		close(s);
	}
}

static uint64_t round_trip(int s)
{
	uint64_t t = now();
	char c = 0;

	put(s, &c, 1);
	if (!get(s, &c, 1))
		die("the far end has gone");
	return now() - t;
}

/* A connection for round trips, warmed up. */
static int echo(const char *where, unsigned int port)
{
	int s = call(where, port), i;
	uint8_t mode = ECHO;

	nodelay(s);
	if (type == SOCK_STREAM)
		put(s, &mode, 1);
	for (i = 0; i < 20; i++)
		round_trip(s);
	return s;
}

static uint64_t *samples(size_t n)
{
	uint64_t *ns = calloc(n, sizeof(*ns));

	if (!ns)
		die("memory");
	return ns;
}

static void latencies(uint64_t *ns, size_t n)
{
	printf("n=%zu ", n);
	figures_quantiles(ns, n);
	putchar('\n');
}

static void rtt(const char *where, unsigned int port, unsigned int n)
{
	uint64_t *ns = samples(n);
	int s = echo(where, port);
	unsigned int i;

	for (i = 0; i < n; i++)
		ns[i] = round_trip(s);
	latencies(ns, n);
}

static void stream(const char *where, unsigned int port, size_t size, unsigned int ms)
{
	int s = call(where, port);
	uint64_t sent, sum[2];
	uint8_t mode = SINK;

	memset(buf, 'x', size);
	put(s, &mode, 1);
	sent = fill(s, size, ms);
	if (!get(s, sum, sizeof(sum)))
		die("no figures from the far end");
	printf("bytes=%" PRIu64 " ns=%" PRIu64, sum[0], longer(sent, sum[1]));
}

static void pull(const char *where, unsigned int port, size_t size, unsigned int ms)
{
	struct order order = { size, ms };
	int s = call(where, port);
	uint64_t start, sum[2];
	uint8_t mode = SOURCE;

	start = now();
	put(s, &mode, 1);
	put(s, &order, sizeof(order));
	drain(s, sum);
	printf("bytes=%" PRIu64 " ns=%" PRIu64, sum[0], now() - start);
}

static void loaded(const char *where, unsigned int port, unsigned int ms)
{
	uint64_t end, *ns = samples(MAX_SAMPLES);
	int s = echo(where, port), status;
	size_t n = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		stream(where, port, 65536, ms);
		putchar(' ');
		fflush(stdout);
		_exit(0);
	}
	end = now() + ms * 1000000ull;
	while (n < MAX_SAMPLES && now() < end)
		ns[n++] = round_trip(s);
	if (waitpid(pid, &status, 0) != pid || status)
		die("the stream");
	latencies(ns, n);
}

static void many(const char *where, unsigned int port, unsigned int count, size_t size, unsigned int ms)
{
	uint64_t start, end, t, *ns = samples(MAX_SAMPLES), *since = samples(count);
	int epoll = epoll_create1(EPOLL_CLOEXEC), *s = calloc(count, sizeof(*s)), e, got;
	unsigned int i, waiting = count;
	size_t *left = calloc(count, sizeof(*left)), n = 0;
	struct epoll_event events[64];
	ssize_t len;

	files();
	for (i = 0; i < count; i++) {
		s[i] = call(where, port + 2);
		nodelay(s[i]);
		round_trip(s[i]);	/* warm up */
		watch(epoll, s[i], i);
	}
	start = now();
	end = start + ms * 1000000ull;
	for (i = 0; i < count; i++) {
		since[i] = now();
		left[i] = size;
		put(s[i], buf, size);
	}
	while (waiting) {
		got = epoll_wait(epoll, events, 64, -1);
		for (e = 0; e < got; e++) {
			i = events[e].data.u64;
			len = recv(s[i], buf, left[i], 0);
			if (len <= 0)
				die("recv");
			left[i] -= len;
			if (left[i])
				continue;
			t = now();
			ns[n++] = t - since[i];
			if (t >= end || n + count > MAX_SAMPLES) {
				waiting--;
				continue;
			}
			since[i] = t;
			left[i] = size;
			put(s[i], buf, size);
		}
	}
	printf("ns=%" PRIu64 " ", now() - start);
	latencies(ns, n);
}

static void hold(const char *where, unsigned int port, unsigned int count)
{
	files();
	while (count--)
		round_trip(call(where, port + 2));
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void rate(const char *where, unsigned int port, unsigned int ms)
{
	uint64_t start = now(), end = start + ms * 1000000ull, t, *ns = samples(MAX_SAMPLES);
	size_t n = 0;
	char c = 0;
	int s;

	do {
		t = now();
		s = call(where, port + 1);
		ns[n++] = now() - t;
		put(s, &c, 1);
		if (!get(s, &c, 1))
			die("the far end has gone");
		close(s);
	} while (now() < end && n < MAX_SAMPLES);
	printf("ns=%" PRIu64 " ", now() - start);
	latencies(ns, n);
}

static void sockets(unsigned int n)
{
	uint64_t start;
	unsigned int i;

	close(make_socket());
	start = now();
	for (i = 0; i < n; i++)
		close(make_socket());
	printf("n=%u ns=%" PRIu64 "\n", n, now() - start);
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[1] : "", *where;
	unsigned int port, v[3] = {}, i;

	for (i = 0; argc > 3 && i < sizeof(protos) / sizeof(*protos); i++)
		if (!strcmp(argv[2], protos[i].name))
			proto = &protos[i];
	if (!proto)
		return 2;
	type = proto->type;
	if (!strcmp(what, "socket")) {
		sockets(atoi(argv[3]));
		return 0;
	}
	if (!strcmp(what, "serve")) {
		if (type == SOCK_STREAM)
			serve(atoi(argv[3]));
		serve_all_messages(atoi(argv[3]));
	}
	if (argc < 6 || argc > 8)
		return 2;
	where = argv[3];
	port = atoi(argv[4]);
	for (i = 0; i < (unsigned int)argc - 5; i++) {
		v[i] = atoi(argv[5 + i]);
		if (!v[i])
			return 2;
	}
	if (!strcmp(what, "rtt") && argc == 6) {
		rtt(where, port, v[0]);
	} else if (!strcmp(what, "messages") && argc == 8 && type != SOCK_STREAM && v[0] > CONTROL &&
		   v[0] <= MAX_MESSAGE && v[1] <= MAX_BATCH) {
		messages(where, port, v[0], v[1], v[2]);
	} else if (type != SOCK_STREAM) {
		return 2;
	} else if (!strcmp(what, "stream") && argc == 7 && v[0] <= MAX_WRITE) {
		stream(where, port, v[0], v[1]);
		putchar('\n');
	} else if (!strcmp(what, "pull") && argc == 7 && v[0] <= MAX_WRITE) {
		pull(where, port, v[0], v[1]);
		putchar('\n');
	} else if (!strcmp(what, "loaded") && argc == 6) {
		loaded(where, port, v[0]);
	} else if (!strcmp(what, "many") && argc == 8 && v[0] <= MAX_MANY && v[1] <= MAX_ROUND) {
		many(where, port, v[0], v[1], v[2]);
	} else if (!strcmp(what, "hold") && argc == 6 && v[0] <= MAX_MANY) {
		hold(where, port, v[0]);
	} else if (!strcmp(what, "rate") && argc == 6) {
		rate(where, port, v[0]);
	} else {
		return 2;
	}
	return 0;
}
