// SPDX-License-Identifier: GPL-2.0
/*
 * peer - one end of a test, in a guest.
 *
 *	peer recv PORT			take one call, read to the end, print the checksum
 *	peer send LINE PORT BYTES	call, send, print the checksum
 *	peer swap-listen PORT BYTES	both ways at once; prints "SENT RECEIVED"
 *	peer swap LINE PORT BYTES
 *	peer echo PORT			serve calls until killed, any number at once; tells of
 *					those that do not end with the caller's end of stream
 *	peer calls LINE PORT N PARALLEL	N calls each by so many processes, an echo each
 *	peer hold-listen PORT N RING	take N calls, one byte each way on every one, and hold
 *	peer hold LINE PORT N RING [FIFO] them all open until all work, and, having said
 *					so, until somebody opens FIFO for writing
 *	peer attempts LINE PORT N	N calls with an echo, one after the other, each may end in
 *					an error within 20 s; prints how many worked
 *	peer listens PORT N		listen N times, one after the other, which may fail; prints how
 *					often it has worked
 *	peer outcomes LINE PORT N	N calls, one after the other; prints what became of them
 *					and of how many: a name of errno.h's, or "connected"
 *	peer why LINE PORT		one call; prints what became of it, as above, and the reason
 *	peer nth LINE PORT		call, listen, map a circuit, each over and over, its Nth allocation failing
 *	peer dgram-nth LINE PORT	the same of asking by a datagram (or "udp:ADDRESS" for the line), from a socket
 *					that is connected, and from one that is bound
 *	peer nth-write FILE TEXT UNDO [UNTEXT MS]	the same of writing TEXT to FILE, undone by writing it, or
 *					UNTEXT, to UNDO, and waiting so long
 *	peer nth-insmod FILE NAME	the same of loading a module, but for what the loader allocates
 *	peer late PORT FIFO [BACKLOG]	listen with a backlog of 1; answer nobody until somebody
 *					opens FIFO for writing, then everybody, an echo each,
 *					perhaps with a greater backlog
 *	peer pile LINE PORT N FIFO	place N calls at once, tell how many were taken when
 *					no more are, open FIFO for reading, tell how many are
 *					in the end, and have an echo of each
 *	peer reset LINE PORT		call, an echo, and close with SO_LINGER for no time
 *	peer flood LINE PORT		send until an error, print which
 *	peer drain PORT			read until an error or the end, print which
 *	peer check PORT			the same of what "send" sends, or of a beginning of it; print after how much
 *	peer busy LINE PORT N SIZE	N calls, each sent SIZE bytes whenever it takes something; until
 *					one of them fails, print why
 *	peer sink PORT			take calls until killed, any number at once, and read
 *	peer idle LINE PORT early|late	call, and keep the connection alive by a probe a second,
 *					two of which may be lost; say nothing, read until an
 *					error or the end, print which. The options are set
 *					before the call, or when it is connected
 *	peer idle-listen PORT		the same with a call that is taken
 *	peer urgent LINE PORT		send three bytes and an urgent one, and expect the same
 *	peer urgent-listen PORT		from the other; print what has come
 *	peer dgram-echo PORT		answer datagrams until killed; "udp:PORT" for those of UDP
 *	peer dgram-ask LINE PORT N SIZE	(or "udp:ADDRESS" for the line) N datagrams of that size, an answer to each within 5 s
 *	peer dgram-flood LINE PORT	send datagrams until an error, print which
 *	peer dgram-burst LINE PORT N SIZE SOCKETS	send N datagrams of each of so many sockets
 *	peer dgram-count PORT FIFO	when somebody opens FIFO for writing, read until one is of one byte; say when
 *					nothing has come for a second, and in the end how many have come and how many
 *					are said to be lost
 *	peer dgram-spread LINE PORT N [FIFO]	one socket that asks N ports, from PORT on, an answer of each within
 *					20 s, and once more when somebody opens FIFO for writing
 *	peer dgram-numbers ADDRESS PORT N [MS]	send N datagrams with their numbers, so many ms apart, or 10
 *	peer dgram-ordered PORT N FIFO	when somebody opens FIFO for writing, read N of these, and expect their order
 *	peer dgram-attempts ADDRESS PORT N	N sockets, a datagram each and half a second for the answer, either may
 *					fail; prints how many were answered
 *	peer dgram-peers ADDRESS PORT N	N sockets, which ask in turn, twice, each until it is answered; prints how
 *					long each round took, in ms
 *	peer hold-mapped LINE PORT [lost]	call an echo, map the circuit, have an echo by the mapping, say so, and
 *					hold it until the mapping has lost the circuit or, if that is not what is
 *					expected, the connection has ended; tell which of the two, and what comes of
 *					writing to the mapping and to the socket
 *	peer echo-mapped LINE PORT BYTES	call an echo, map the circuit, and have so many bytes there and back
 *	peer stay LINE PORT FILE	call an echo, and have a byte there and back twenty times a second, for as
 *					long as the connection lasts; FILE says how many there have been,
 *					and then how it has ended
 *	peer stayed FILE...		wait until each of those has had another byte back since; within 20 s
 *	peer lie LINE PORT		call, map the circuit, write into it that the far end has closed, and close
 *	peer scribble LINE PORT ROUNDS	call, map the circuit, write anything anywhere in it and tell the far end,
 *					over and over
 *	peer map FILE			have a page of it mapped until killed
 *	peer filter DIR			have a program see what the cgroup at DIR sends, from now on
 *
 * A port above 0 and a line name make a circuit address; "tcp:ADDRESS" instead of the
 * line (and "tcp" or "tcp6" before the command of a listening one) makes it TCP.
 * "peer as UID COMMAND..." does it as another user, "peer seq COMMAND..." over sockets of messages.
 * stay, scribble and those with a mapping also call "udp:ADDRESS"; and stay, hold-mapped and echo-mapped,
 * after "peer dgram", sockets of datagrams. "peer mapped stay..." does it by a mapping, up to 1000 bytes at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <stdbool.h>
#include <linux/circuit.h>
#include <linux/circuit_ring.h>

static int use_tcp;	/* or AF_INET, AF_INET6 */
static int type = SOCK_STREAM;
static int early;	/* idle early */
static bool by_mapping;	/* mapped stay */
static uint32_t reason;	/* of the last call that has failed: enum circuit_reason */
static char buf[1 << 18];

static void die(const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* So many, and some more. */
static void open_files(int n)
{
	struct rlimit lim = { n + 100, n + 100 };

	if (setrlimit(RLIMIT_NOFILE, &lim))
		die("setrlimit");
}

union address {
	struct sockaddr any;
	struct sockaddr_circuit circuit;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t make_address(union address *addr, const char *name, unsigned int port)
{
	memset(addr, 0, sizeof(*addr));
	addr->any.sa_family = use_tcp ?: AF_CIRCUIT;
	if (use_tcp == AF_INET) {
		addr->in.sin_port = htons(port);
		if (name)
			inet_pton(AF_INET, name, &addr->in.sin_addr);
		return sizeof(addr->in);
	}
	if (use_tcp == AF_INET6) {
		addr->in6.sin6_port = htons(port);
		if (name)
			inet_pton(AF_INET6, name, &addr->in6.sin6_addr);
		return sizeof(addr->in6);
	}
	addr->circuit.sc_port = port;
	if (name)
		strncpy(addr->circuit.sc_line, name, sizeof(addr->circuit.sc_line) - 1);
	return sizeof(addr->circuit);
}

static int open_socket(void)
{
	int s = socket(use_tcp ?: AF_CIRCUIT, type, 0);

	if (s < 0)
		die("socket");
	return s;
}

static int set_rings(int s, int ring)
{
	return ring && (setsockopt(s, SOL_SOCKET, SO_SNDBUF, &ring, sizeof(ring)) ||
			setsockopt(s, SOL_SOCKET, SO_RCVBUF, &ring, sizeof(ring))) ? -1 : 0;
}

static int listen_on(unsigned int port, int ring, int backlog)
{
	union address addr;
	int s = open_socket(), one = 1;
	socklen_t len = make_address(&addr, NULL, port);

	if (set_rings(s, ring))
		die("setsockopt");
	if (use_tcp)
		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, &addr.any, len))
		die("bind");
	if (listen(s, backlog))
		die("listen");
	return s;
}

static void keep_alive(int s)
{
	int one = 1, two = 2;

	if (setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &one, sizeof(one)) ||
	    setsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof(one)) ||
	    setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &two, sizeof(two)) ||
	    setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)))
		die("setsockopt");
}

/* Of a line, or of "tcp:ADDRESS". */
static socklen_t far_address(union address *addr, const char *line, unsigned int port)
{
	use_tcp = strncmp(line, "tcp:", 4) ? 0 : strchr(line + 4, ':') ? AF_INET6 : AF_INET;
	return make_address(addr, use_tcp ? line + 4 : line, port);
}

/* The listener may be about to come up: a refused call is repeated for 10 s. */
static int call_once(const char *line, unsigned int port, int ring)
{
	union address addr;
	socklen_t len = far_address(&addr, line, port);
	int s, err;

	s = socket(use_tcp ?: AF_CIRCUIT, type, 0);
	if (s < 0)
		return -errno;
	if (early)
		keep_alive(s);
	if (!set_rings(s, ring) && !connect(s, &addr.any, len))
		return s;
	err = errno;
	len = sizeof(reason);
	getsockopt(s, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len);
	close(s);
	return -err;
}

static int call(const char *line, const char *port, int ring)
{
	int s, tries;

	for (tries = 0; tries < 500; tries++) {
		s = call_once(line, atoi(port), ring);
		/* Ports 0 and 99 are where nobody ever listens. */
		if (s != -ECONNREFUSED || atoi(port) == 99 || !atoi(port))
			break;
		usleep(20000);
	}
	if (s < 0) {
		errno = -s;
		die("connect");
	}
	return s;
}

static int take(int l)
{
	int s = accept(l, NULL, NULL);

	if (s < 0)
		die("accept");
	return s;
}

/* A stream that can be checked: a linear congruence, and a sum over it. */
struct stream {
	uint64_t state, sum, left;
};

static void make(struct stream *st, char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!(i & 7))
			st->state = st->state * 6364136223846793005u + 1442695040888963407u;
		p[i] = st->state >> (8 * (i & 7));
	}
}

static void add(uint64_t *sum, const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		*sum = (*sum ^ (unsigned char)p[i]) * 0x100000001b3u;
}

static void swap(int s, uint64_t bytes)
{
	static char out[65536];
	struct stream tx = { .state = getpid(), .sum = 0xcbf29ce484222325u, .left = bytes };
	uint64_t sum = 0xcbf29ce484222325u, got = 0;
	size_t have = 0, at = 0;
	int fin = 0, end = 0;

	fcntl(s, F_SETFL, O_NONBLOCK);
	while (!fin || !end) {
		struct pollfd p = { .fd = s, .events = (end ? 0 : POLLIN) | (fin ? 0 : POLLOUT) };
		ssize_t n;

		if (poll(&p, 1, 60000) <= 0)
			die("poll");
		if (!end && p.revents & (POLLIN | POLLHUP | POLLERR)) {
			n = recv(s, buf, sizeof(buf), 0);
			if (n < 0 && errno != EAGAIN)
				die("recv");
			if (!n)
				end = 1;
			if (n > 0) {
				add(&sum, buf, n);
				got += n;
			}
		}
		if (!fin && p.revents & POLLOUT) {
			if (at == have && tx.left) {
				have = tx.left < sizeof(out) ? tx.left : sizeof(out);
				at = 0;
				make(&tx, out, have);
				add(&tx.sum, out, have);
				tx.left -= have;
			}
			if (at == have) {
				if (shutdown(s, SHUT_WR))
					die("shutdown");
				fin = 1;
				continue;
			}
			n = send(s, out + at, have - at, MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				die("send");
			if (n > 0)
				at += n;
		}
	}
	if (got != bytes) {
		fprintf(stderr, "peer: %llu bytes of %llu\n", (unsigned long long)got,
			(unsigned long long)bytes);
		exit(1);
	}
	printf("%016llx %016llx\n", (unsigned long long)tx.sum, (unsigned long long)sum);
}

static void do_send(int s, uint64_t bytes)
{
	struct stream st = { .state = 1, .sum = 0xcbf29ce484222325u, .left = bytes };

	while (st.left) {
		size_t n = st.left < sizeof(buf) ? st.left : sizeof(buf), at = 0;

		make(&st, buf, n);
		add(&st.sum, buf, n);
		while (at < n) {
			ssize_t w = send(s, buf + at, n - at, MSG_NOSIGNAL);

			if (w < 0)
				die("send");
			at += w;
		}
		st.left -= n;
	}
	close(s);
	printf("%016llx\n", (unsigned long long)st.sum);
}

static void do_recv(int s)
{
	uint64_t sum = 0xcbf29ce484222325u;
	ssize_t n;

	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		add(&sum, buf, n);
	if (n < 0)
		die("recv");
	printf("%016llx\n", (unsigned long long)sum);
}

static void echo(int l)
{
	int ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = l };
	struct rlimit lim;

	/* As many calls as its user may have. */
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev);
	for (;;) {
		struct epoll_event evs[64];
		int i, n = epoll_wait(ep, evs, 64, -1);

		for (i = 0; i < n; i++) {
			int s = evs[i].data.fd;
			ssize_t r;

			if (s == l) {
				s = accept(l, NULL, NULL);
				if (s < 0)
					continue;
				ev.data.fd = s;
				if (epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev))
					close(s);
				continue;
			}
			r = recv(s, buf, sizeof(buf), MSG_DONTWAIT);
			if (r < 0 && errno == EAGAIN)
				continue;
			if (r > 0 && send(s, buf, r, MSG_NOSIGNAL) == r)
				continue;
			if (r)
				printf("unclean: %s: %s\n", r < 0 ? "recv" : "send", strerror(errno));
			close(s);
		}
	}
}

static void calls(const char *line, const char *port, int n, int parallel)
{
	int p, i, status, bad = 0;

	for (p = 0; p < parallel; p++) {
		if (fork())
			continue;
		for (i = 0; i < n; i++) {
			uint64_t x = ((uint64_t)getpid() << 32) | i, y = 0;
			int s = call(line, port, 0);

			if (send(s, &x, sizeof(x), 0) != sizeof(x))
				die("send");
			if (recv(s, &y, sizeof(y), MSG_WAITALL) != sizeof(y) || x != y)
				die("recv");
			close(s);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad += !!status;
	if (bad) {
		fprintf(stderr, "peer: %d of %d processes failed\n", bad, parallel);
		exit(1);
	}
}

static void wait_for_fifo(const char *fifo)
{
	int fd = open(fifo, O_RDONLY);
	char c;

	if (fd < 0)
		die(fifo);
	while (read(fd, &c, 1) > 0)	/* and whoever writes is through, before this one may be */
		;
	close(fd);
}

static void hold(int listener, const char *line, const char *port, int n, int ring,
		 const char *fifo)
{
	int *fd = calloc(n, sizeof(*fd)), i;
	char c = 'x';

	open_files(n);
	for (i = 0; i < n; i++) {
		fd[i] = line ? call(line, port, ring) : take(listener);
		if (line && send(fd[i], &c, 1, 0) != 1)
			die("send");
	}
	for (i = 0; i < n; i++) {
		if (recv(fd[i], &c, 1, 0) != 1)
			die("recv");
		if (!line && send(fd[i], &c, 1, 0) != 1)
			die("send");
	}
	if (fifo) {
		puts("all work");
		fflush(stdout);
		wait_for_fifo(fifo);
	}
	/* All at once until the far end has seen them all: it closes first. */
	if (!line && recv(fd[n - 1], &c, 1, 0) != 0)
		die("end");
}

/* How many of those calls get connected within @ms, or what is wrong with one. */
static int connected(struct pollfd *p, int n, int ms)
{
	int i, done = 0, err;
	socklen_t len = sizeof(err);

	/* A call that was taken is not asked about again. */
	while (done < n && poll(p, n, ms) > 0) {
		for (i = 0; i < n; i++) {
			if (!(p[i].revents & (POLLOUT | POLLERR | POLLHUP)))
				continue;
			if (getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &err, &len) || err) {
				errno = err;
				die("call");
			}
			p[i].fd = ~p[i].fd;
		}
		for (i = done = 0; i < n; i++)
			done += p[i].fd < 0;
	}
	return done;
}

static void outcomes(const char *line, const char *port, int n)
{
	static int seen[256];
	int i, s;

	for (i = 0; i < n; i++) {
		s = call_once(line, atoi(port), 0);
		if (s >= 0)
			close(s);
		if (s > -256)
			seen[s < 0 ? -s : 0]++;
	}
	for (i = 0; i < 256; i++)
		if (seen[i])
			printf("%s %d\n", i ? strerrorname_np(i) : "connected", seen[i]);
}

static void why(const char *line, const char *port)
{
	int s = call_once(line, atoi(port), 0);

	printf("%s, reason %u\n", s < 0 ? strerrorname_np(-s) : "connected", reason);
}

static void pile(const char *line, const char *port, int n, const char *fifo)
{
	struct pollfd *p = calloc(n, sizeof(*p));
	union address addr;
	socklen_t len = far_address(&addr, line, atoi(port));
	char c = 'x';
	int i;

	open_files(n);
	for (i = 0; i < n; i++) {
		p[i] = (struct pollfd){ .fd = open_socket(), .events = POLLOUT };
		if (set_rings(p[i].fd, 4096))
			die("setsockopt");
		fcntl(p[i].fd, F_SETFL, O_NONBLOCK);
		if (!connect(p[i].fd, &addr.any, len) || errno != EINPROGRESS)
			die("connect");
	}
	/* "No more" is when nothing has happened for a second. */
	printf("%d taken\n", connected(p, n, 1000));
	wait_for_fifo(fifo);
	printf("%d taken\n", connected(p, n, 20000));
	for (i = 0; i < n; i++) {
		int s = p[i].fd < 0 ? ~p[i].fd : p[i].fd;

		fcntl(s, F_SETFL, 0);
		if (send(s, &c, 1, 0) != 1 || recv(s, &c, 1, 0) != 1)
			die("echo");
	}
	puts("all work");
}

/* Read what "send" has written, or a beginning of it. */
static void check(int s)
{
	static char want[sizeof(buf)];
	struct stream st = { .state = 1 };
	unsigned long long got = 0;
	ssize_t n, i;

	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		for (i = 0; i < n; i++, got++) {
			if (!(got % sizeof(want)))
				make(&st, want, sizeof(want));
			if (buf[i] != want[got % sizeof(want)]) {
				printf("byte %llu is not what was sent\n", got);
				exit(1);
			}
		}
	printf("%s after %llu bytes\n", n ? strerror(errno) : "end", got);
}

/* Have an echo, and end without waiting for another. */
static void reset(int s)
{
	struct linger now = { .l_onoff = 1 };
	char c = 'x';

	if (send(s, &c, 1, 0) != 1 || recv(s, &c, 1, 0) != 1)
		die("echo");
	if (setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) || close(s))
		die("close");
}

/* One call, every step of it; returns 0 or a negative errno. */
static int call_echo(const char *line, const char *port)
{
	struct timeval patience = { .tv_sec = 20 };
	char c = 'x';
	int s, ret = 0;

	s = call_once(line, atoi(port), 4096);
	if (s < 0)
		return s;
	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    send(s, &c, 1, MSG_NOSIGNAL) != 1 || recv(s, &c, 1, 0) != 1)
		ret = errno ? -errno : -EPIPE;
	close(s);
	return ret;
}

/*
 * fail_nth(N): let the Nth allocation from now on fail. fail_nth(-1): no more of that; returns
 * how many were still to go. The file stays open, since opening it would allocate.
 */
static int fail_nth(int n)
{
	static int fd = -1;
	char text[16] = "0";
	int left = 0;

	if (fd < 0)
		fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("fail-nth");
	if (n < 0) {
		memset(text, 0, sizeof(text));
		if (pread(fd, text, sizeof(text) - 1, 0) >= 0)
			left = atoi(text);
		else if (errno == EFAULT)
			left = 1;	/* it was the copy of this very answer that failed */
		else
			die("fail-nth");
		n = 0;
	}
	sprintf(text, "%d", n);
	/* As may the copy of this; it is the last one then. */
	while (pwrite(fd, text, strlen(text), 0) < 0)
		if (errno != EFAULT)
			die("fail-nth");
	return left;
}

/*
 * Fail the allocation @first of @step, then every @stride'th, and so on, until there is none left
 * to fail. Whatever fails must do so with a clean error. What has worked all the same is undone.
 */
static void fail_each(int first, int stride, int (*step)(char **arg), void (*undo)(char **arg),
		      char **arg)
{
	int n, left, ret, failed = 0;

	for (n = first; ; n += stride) {
		if (n - first > 5000) {
			fprintf(stderr, "peer: no end to the allocations\n");
			exit(1);
		}
		fail_nth(n);
		ret = step(arg);
		left = fail_nth(-1);
		if (ret == -EAGAIN || ret == -EINPROGRESS) {
			fprintf(stderr, "peer: allocation %d failed: hang\n", n);
			exit(1);
		}
		failed += !!ret;
		if (left)
			break;
		if (undo && !ret)
			undo(arg);
	}
	printf("%d allocations, %d failures\n", (n - first) / stride, failed);
	if (!failed || ret) {
		fprintf(stderr, "peer: in the end: %s\n", strerror(-ret));
		exit(1);
	}
}

static int nth_call(char **arg)
{
	return call_echo(arg[0], arg[1]);
}

/* Listen, and no more. */
static int try_listen(unsigned int port)
{
	union address addr;
	socklen_t len = make_address(&addr, NULL, port);
	int s = socket(use_tcp ?: AF_CIRCUIT, type, 0), ret = 0;

	if (s < 0)
		return -errno;
	if (bind(s, &addr.any, len) || listen(s, 1))
		ret = -errno;
	close(s);
	return ret;
}

static int nth_listen(char **arg)
{
	(void)arg;
	return try_listen(6001);
}

static int nth_map(char **arg)
{
	int s = call_once(arg[0], atoi(arg[1]), 4096), ret = 0;
	const struct circuit_ctrl *ctrl;
	struct circuit_info info;
	socklen_t len = sizeof(info);

	if (s < 0)
		return s;
	ctrl = MAP_FAILED;
	if (!getsockopt(s, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len))
		ctrl = mmap(NULL, CIRCUIT_MAP_BYTES(info.tx_size, info.rx_size),
			    PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
	if (ctrl == MAP_FAILED) {
		ret = -errno;
	} else if (ctrl->magic != CIRCUIT_RING_MAGIC) {
		fprintf(stderr, "peer: what is mapped is not the circuit\n");
		exit(1);
	}
	/* That may take memory as well. */
	while (ctrl != MAP_FAILED &&
	       munmap((void *)ctrl, CIRCUIT_MAP_BYTES(info.tx_size, info.rx_size))) {
		ret = -errno;
		if (errno != ENOMEM)
			die("munmap");
	}
	close(s);
	return ret;
}

static int nth_file, nth_undo;

static int nth_write(char **arg)
{
	return pwrite(nth_file, arg[1], strlen(arg[1]), 0) < 0 ? -errno : 0;
}

static void nth_unwrite(char **arg)
{
	const char *text = arg[3] ?: arg[1];

	if (pwrite(nth_undo, text, strlen(text), 0) < 0)
		die(arg[2]);
	if (arg[3] && arg[4])
		usleep(atoi(arg[4]) * 1000);
}

static int nth_insmod(char **arg)
{
	(void)arg;
	return syscall(SYS_finit_module, nth_file, "", 0) ? -errno : 0;
}

static void nth_rmmod(char **arg)
{
	int tries = 0;

	/* Somebody may be about to let go of it. */
	while (syscall(SYS_delete_module, arg[1], O_NONBLOCK)) {
		if (errno != EAGAIN || tries++ == 500)
			die(arg[1]);
		usleep(20000);
	}
}

static void fail_verbose(const char *level)
{
	static const char *const files[] = {
		"/sys/kernel/debug/failslab/verbose", "/sys/kernel/debug/fail_page_alloc/verbose",
	};
	int i, fd;

	for (i = 0; i < 2; i++) {
		fd = open(files[i], O_WRONLY);
		if (fd < 0 || write(fd, level, 1) != 1)
			die(files[i]);
		close(fd);
	}
}

/*
 * Loading a module, but for the loader's own hundreds of allocations: what is the module's begins
 * with the first that has do_init_module() on the stack that the kernel logs when it fails. What
 * that calls may make hundreds more, of which INSMODS are made to fail, others each time.
 */
#define INSMODS	40

static void nth_insmods(char **arg)
{
	int low = 1, high = 1000000, total = 0, n, ret, stride;

	for (n = high; low < high; n = (low + high) / 2) {
		klogctl(5, NULL, 0);	/* what is read begins here */
		fail_nth(n);
		ret = nth_insmod(arg);
		n -= fail_nth(-1);
		if (!ret)
			nth_rmmod(arg);
		if (!total) {		/* none has failed: so many there are */
			high = total = n;
			fail_verbose("2");
			continue;
		}
		ret = klogctl(3, buf, sizeof(buf) - 1);
		buf[ret < 0 ? 0 : ret] = 0;
		if (strstr(buf, "do_init_module"))
			high = n;
		else
			low = n + 1;
	}
	fail_verbose("0");
	low -= low / 8;		/* it is not always as many */
	stride = (total - low) / INSMODS + 1;
	printf("%d allocations, after the first %d one in %d\n", total, low - 1, stride);
	fail_each(low + time(NULL) % stride, stride, nth_insmod, nth_rmmod, arg);
}

static void idle(int s)
{
	ssize_t n;

	if (!early)
		keep_alive(s);
	printf("idle\n");
	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		;
	printf("%s\n", n ? strerror(errno) : "end");
}

static void urgent(int s)
{
	struct pollfd p = { .fd = s, .events = POLLPRI };
	int n, got = 0;
	char c;

	if (send(s, "abcX", 4, MSG_OOB) != 4)
		die("send");
	if (poll(&p, 1, 20000) != 1)
		die("no urgent data");
	if (recv(s, &c, 1, MSG_OOB) != 1)
		die("recv");
	shutdown(s, SHUT_WR);
	while ((n = recv(s, buf + got, sizeof(buf) - got, 0)) > 0)
		got += n;
	printf("%.*s %c\n", got, buf, c);
}

static void attempts(const char *line, const char *port, int n)
{
	int i, ret, ok = 0;

	for (i = 0; i < n; i++) {
		ret = call_echo(line, port);
		ok += !ret;
		if (ret)
			fprintf(stderr, "peer: %s\n", strerror(-ret));
		if (ret == -EAGAIN)
			exit(1);
	}
	printf("%d\n", ok);
}

static void listens(unsigned int port, int n)
{
	int i, ret, ok = 0;

	for (i = 0; i < n; i++) {
		ret = try_listen(port);
		ok += !ret;
		if (ret)
			fprintf(stderr, "peer: %s\n", strerror(-ret));
	}
	printf("%d\n", ok);
}

/* Where to send datagrams: a line, or "udp:ADDRESS". */
static socklen_t dgram_addr(const char *line, const char *port, struct sockaddr_storage *ss)
{
	struct sockaddr_circuit *cc = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;
	struct sockaddr_in *in = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (!strncmp(line, "udp:", 4) && strchr(line + 4, ':')) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(atoi(port));
		if (inet_pton(AF_INET6, line + 4, &in6->sin6_addr) != 1)
			die("address");
		return sizeof(*in6);
	}
	if (!strncmp(line, "udp:", 4)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(atoi(port));
		if (inet_pton(AF_INET, line + 4, &in->sin_addr) != 1)
			die("address");
		return sizeof(*in);
	}
	cc->sc_family = AF_CIRCUIT;
	cc->sc_port = atoi(port);
	strncpy(cc->sc_line, line, sizeof(cc->sc_line) - 1);
	return sizeof(*cc);
}

static int dgram_to(const char *line, const char *port)
{
	struct sockaddr_storage ss;
	socklen_t len = dgram_addr(line, port, &ss);
	int s = socket(ss.ss_family, SOCK_DGRAM, 0);

	if (s < 0 || connect(s, (void *)&ss, len))
		die("connect");
	return s;
}

/* Whichever it is. */
static int reach(const char *line, const char *port)
{
	return type == SOCK_DGRAM || !strncmp(line, "udp:", 4) ? dgram_to(line, port) : call(line, port, 0);
}

static int dgram_bound(const char *port, struct sockaddr_storage *ss)
{
	bool udp = !strncmp(port, "udp:", 4);
	socklen_t len = dgram_addr(udp ? "udp:::" : "", udp ? port + 4 : port, ss);
	int s = socket(ss->ss_family, SOCK_DGRAM, 0);

	if (s < 0 || bind(s, (void *)ss, len))
		die("bind");
	printf("bound\n");
	return s;
}

static void dgram_count(const char *port, const char *fifo)
{
	struct timeval silence = { .tv_sec = 1 };
	char control[CMSG_SPACE(sizeof(uint32_t))];
	struct sockaddr_storage ss;
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	int s = dgram_bound(port, &ss), one = 1;
	uint32_t lost = 0;
	long got = 0;
	ssize_t n = 0;

	if (setsockopt(s, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) ||
	    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence)))
		die("setsockopt");
	wait_for_fifo(fifo);
	while (n != 1) {
		msg.msg_controllen = sizeof(control);
		n = recvmsg(s, &msg, 0);
		if (n < 0 && errno == EAGAIN) {
			printf("silence after %ld, lost %u\n", got, lost);
			continue;
		}
		if (n < 0)
			die("recvmsg");
		got++;
		if (CMSG_FIRSTHDR(&msg))
			memcpy(&lost, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(lost));
	}
	printf("got %ld lost %u\n", got, lost);
}

static void dgram_echo(const char *port)
{
	bool udp = !strncmp(port, "udp:", 4);
	struct sockaddr_storage ss;
	int s = dgram_bound(port, &ss);
	socklen_t len;
	ssize_t n;

	for (;;) {
		len = sizeof(ss);
		n = recvfrom(s, buf, sizeof(buf), 0, (void *)&ss, &len);
		if (n < 0 || (sendto(s, buf, n, 0, (void *)&ss, len) != n && !udp))
			die("echo");
	}
}

static void dgram_ask(const char *line, const char *port, int n, size_t size)
{
	struct timeval patience = { .tv_sec = 5 };
	static char got[sizeof(buf)];
	int s = dgram_to(line, port), i;

	if (size > sizeof(buf) || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		die("ask");
	for (i = 0; i < n; i++) {
		memset(buf, i, size);
		if (send(s, buf, size, 0) != (ssize_t)size)
			die("send");
		if (recv(s, got, sizeof(got), 0) != (ssize_t)size)
			die("recv");
		if (memcmp(buf, got, size))
			die("answer");
	}
	printf("%d answers\n", n);
}

/* Ask each of N ports from one socket, which is made if there is none. */
static int dgram_spread(int s, const char *line, int port, int n)
{
	struct timeval patience = { .tv_sec = 20 };
	struct sockaddr_storage ss;
	char text[8] = "";
	socklen_t len;
	int i;

	for (i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%d", port + i);
		len = dgram_addr(line, text, &ss);
		if (s < 0)
			s = socket(ss.ss_family, SOCK_DGRAM, 0);
		if (s < 0 || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
			die("socket");
		if (sendto(s, text, sizeof(text), 0, (void *)&ss, len) != sizeof(text))
			die("sendto");
		if (recv(s, buf, sizeof(buf), 0) != sizeof(text) || memcmp(buf, text, sizeof(text)))
			die("answer");
	}
	printf("all have answered\n");
	return s;
}

static void dgram_numbers(const char *line, const char *port, int n, int ms)
{
	int s = dgram_to(line, port), i;

	for (i = 0; i < n; i++) {
		if (send(s, &i, sizeof(i), 0) != sizeof(i))
			die("send");
		usleep(ms * 1000);
	}
}

static void dgram_ordered(const char *port, int n, const char *fifo)
{
	struct timeval patience = { .tv_sec = 5 };
	struct sockaddr_storage ss;
	socklen_t len = dgram_addr("udp:::", port + 4, &ss);
	int s = socket(ss.ss_family, SOCK_DGRAM, 0), i, got;

	if (s < 0 || bind(s, (void *)&ss, len) ||
	    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		die("bind");
	printf("bound\n");
	wait_for_fifo(fifo);
	for (i = 0; i < n; i++) {
		if (recv(s, &got, sizeof(got), 0) != sizeof(got))
			die("recv");
		if (got != i) {
			fprintf(stderr, "peer: %d came for %d\n", got, i);
			exit(1);
		}
	}
	printf("%d in order\n", n);
}

/* A socket that asks whom it is connected to, or @whom, and is answered within @ms; or not, and there is -1. */
static int dgram_once(int s, int ms, const struct sockaddr_storage *whom, socklen_t len)
{
	struct timeval patience = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	char c = 'x';

	return s < 0 || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	       sendto(s, &c, 1, 0, (void *)whom, len) != 1 || recv(s, &c, 1, 0) != 1 ? -1 : 0;
}

static void dgram_attempts(const char *line, const char *port, int n)
{
	struct sockaddr_storage ss;
	socklen_t len = dgram_addr(line, port, &ss);
	int i, s, ok = 0;

	for (i = 0; i < n; i++) {
		s = socket(ss.ss_family, SOCK_DGRAM, 0);
		if (s >= 0 && !connect(s, (void *)&ss, len) && !dgram_once(s, 500, NULL, 0))
			ok++;
		close(s);
	}
	printf("%d\n", ok);
}

/* A datagram that is lost for want of memory is sent again, when nothing fails any more. */
static int dgram_nth(char **arg, bool bound)
{
	struct sockaddr_storage ss, own;
	socklen_t len = dgram_addr(arg[0], arg[1], &ss);
	socklen_t own_len = dgram_addr(ss.ss_family == AF_CIRCUIT ? "" : "udp:0.0.0.0", "6001", &own);
	int s = socket(ss.ss_family, SOCK_DGRAM, 0), ret, tries = 0;

	if (s < 0)
		return -errno;
	ret = bound ? bind(s, (void *)&own, own_len) : connect(s, (void *)&ss, len);
	if (!ret)
		do
			ret = dgram_once(s, 500, bound ? &ss : NULL, bound ? len : 0);
		while (ret && errno == EAGAIN && ++tries < 20);
	if (ret)
		ret = -errno;
	close(s);
	return ret;
}

static int nth_connected(char **arg)
{
	return dgram_nth(arg, false);
}

static int nth_bound(char **arg)
{
	return dgram_nth(arg, true);
}

static void dgram_peers(const char *line, const char *port, int n)
{
	int *fd = calloc(n, sizeof(*fd)), i, round, again;
	struct timespec from, to;

	open_files(n);
	for (i = 0; i < n; i++)
		fd[i] = dgram_to(line, port);
	for (round = 0; round < 2; round++) {
		again = 0;
		clock_gettime(CLOCK_MONOTONIC, &from);
		for (i = 0; i < n; i++)
			while (dgram_once(fd[i], 500, NULL, 0))
				if (++again > n)
					die("answer");
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%lld ms, %d asked again\n",
		       (to.tv_sec - from.tv_sec) * 1000ll + (to.tv_nsec - from.tv_nsec) / 1000000,
		       again);
	}
}

static void watch(int epoll, int s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = s };

	if (fcntl(s, F_SETFL, O_NONBLOCK) || epoll_ctl(epoll, EPOLL_CTL_ADD, s, &ev))
		die("epoll");
}

static void busy(const char *line, const char *port, int n, size_t size)
{
	int epoll = epoll_create1(0), i, ready;
	struct epoll_event ev[64];

	open_files(n);
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (i = 0; i < n; i++)
		watch(epoll, call(line, port, 0), EPOLLOUT);
	printf("busy\n");
	for (;;) {
		ready = epoll_wait(epoll, ev, 64, -1);
		for (i = 0; i < ready; i++)
			if (send(ev[i].data.fd, buf, size, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
				die("send");
	}
}

#define SINK_FILES	8192

static void sink(int l)
{
	int epoll = epoll_create1(0), i, ready, s;
	struct epoll_event ev[64];

	open_files(SINK_FILES);
	watch(epoll, l, EPOLLIN);
	for (;;) {
		ready = epoll_wait(epoll, ev, 64, -1);
		for (i = 0; i < ready; i++) {
			if (ev[i].data.fd == l) {
				s = accept(l, NULL, NULL);
				if (s >= 0)
					watch(epoll, s, EPOLLIN);
				continue;
			}
			/* Closed, it is not watched any more, either. */
			s = recv(ev[i].data.fd, buf, sizeof(buf), 0);
			if (!s || (s < 0 && errno != EAGAIN))
				close(ev[i].data.fd);
		}
	}
}

static void filter(const char *dir)
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_SKB,
		.expected_attach_type = BPF_CGROUP_INET_EGRESS,
		.insns = (uintptr_t)pass,
		.insn_cnt = sizeof(pass) / sizeof(pass[0]),
		.license = (uintptr_t)"GPL",
	};
	int prog, cgroup = open(dir, O_RDONLY | O_DIRECTORY);

	if (cgroup < 0)
		die(dir);
	prog = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog < 0)
		die("BPF_PROG_LOAD");
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = cgroup;
	attr.attach_bpf_fd = prog;
	attr.attach_type = BPF_CGROUP_INET_EGRESS;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)))
		die("BPF_PROG_ATTACH");
}

/* One byte there and back by the socket, or what comes of it. */
static const char *echo_byte(int s)
{
	char c = 'x';
	ssize_t n = send(s, &c, 1, MSG_NOSIGNAL);

	if (n == 1)
		n = recv(s, &c, 1, 0);
	return n < 0 ? strerror(errno) : !n ? "end" : c == 'x' ? "works" : "another byte";
}

/*
 * A circuit as this process has it mapped. Where there are messages, one of @len bytes begins with
 * the first @head_size of @head.
 */
struct mapped {
	int s;
	struct circuit_info info;
	struct circuit_ctrl *ctrl;
	size_t all;
	struct circuit_dir *out, *in;
	uint32_t tail, read;
	struct circuit_datagram head;
	size_t head_size;
};

static int socket_option(int s, int name)
{
	socklen_t len = sizeof(int);
	int val;

	if (getsockopt(s, SOL_SOCKET, name, &val, &len))
		die("getsockopt");
	return val;
}

/* All of a circuit's memory, as this process may have it. */
static struct mapped map_circuit(int s)
{
	struct mapped m = { .s = s };
	socklen_t len = sizeof(m.info);
	struct sockaddr_circuit peer;

	if (getsockopt(s, SOL_CIRCUIT, CIRCUIT_SO_INFO, &m.info, &len))
		die("CIRCUIT_SO_INFO");
	m.all = CIRCUIT_MAP_BYTES(m.info.tx_size, m.info.rx_size);
	m.ctrl = mmap(NULL, m.all, PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
	if (m.ctrl == MAP_FAILED)
		die("mmap");
	m.out = &m.ctrl->dir[m.info.end];
	m.in = &m.ctrl->dir[!m.info.end];
	m.tail = m.info.tx_tail;
	m.read = m.info.rx_head;
	if (socket_option(s, SO_TYPE) == SOCK_STREAM)
		return m;
	m.head_size = sizeof(struct circuit_message);
	if (socket_option(s, SO_TYPE) == SOCK_DGRAM && socket_option(s, SO_DOMAIN) == AF_CIRCUIT) {
		len = sizeof(peer);
		if (getpeername(s, (void *)&peer, &len))
			die("getpeername");
		m.head_size = sizeof(m.head);
		m.head.port = peer.sc_port;
		memcpy(m.head.line, peer.sc_line, sizeof(m.head.line));
	}
	return m;
}

/* @n bytes there and back by the mapping, or what comes of it. */
static const char *echo_mapped(struct mapped *m, uint32_t n)
{
	char *out = (char *)m->ctrl + CIRCUIT_MAP_TX + (m->tail & (m->info.tx_size - 1));
	const char *in = (char *)m->ctrl + CIRCUIT_MAP_RX(m->info.tx_size) +
			 (m->read & (m->info.rx_size - 1));
	uint32_t len = m->head_size ? (m->head_size + n + 7) & ~7u : n, i;
	struct pollfd p = { .fd = m->s, .events = POLLIN | POLLRDHUP };
	int tries = 0;

	m->head.len = n;	/* where that of struct circuit_message is */
	memcpy(out, &m->head, m->head_size);
	for (i = 0; i < n; i++)
		out[m->head_size + i] = m->tail + i;
	m->out->prod.bytes += len;
	__atomic_store_n(&m->out->prod.tail, m->tail + len, __ATOMIC_RELEASE);
	if (ioctl(m->s, SIOCCIRCUITKICK))
		return strerror(errno);
	while ((i = __atomic_load_n(&m->in->prod.tail, __ATOMIC_ACQUIRE)) - m->read < len) {
		/* Anything that comes after that; but poll() may take it for an event of its own. */
		__atomic_store_n(&m->in->cons.event, i, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (poll(&p, 1, 20000) != 1 || ++tries == 20000)
			return "silence";
		if (__atomic_load_n(&m->in->prod.tail, __ATOMIC_ACQUIRE) != i)
			continue;
		if (p.revents & (POLLRDHUP | POLLHUP | POLLERR))
			return "end";
		poll(NULL, 0, 1);
	}
	if (m->head_size && memcmp(in, &n, sizeof(n)))
		return "another message";
	for (i = 0; i < n; i++)
		if (in[m->head_size + i] != (char)(m->tail + i))
			return "another byte";
	m->tail += len;
	m->read += len;
	__atomic_store_n(&m->in->cons.head, m->read, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* Whoever waits for room is told, though he may not have asked. */
	ioctl(m->s, SIOCCIRCUITKICK);
	return "works";
}

static void works(const char *how)
{
	if (!strcmp(how, "works"))
		return;
	fprintf(stderr, "peer: echo: %s\n", how);
	exit(1);
}

static void hold_mapped(int s, bool lost)
{
	struct timeval patience = { .tv_sec = 20 };
	struct pollfd p = { .fd = s };
	struct mapped m = map_circuit(s);
	int err = 0, i;

	works(echo_mapped(&m, 1));
	printf("mapped\n");
	/* UDP has no end, but wakes who has mapped what had one. */
	p.events = socket_option(s, SO_TYPE) == SOCK_DGRAM ? POLLIN : POLLRDHUP;
	while (__atomic_load_n(&m.ctrl->magic, __ATOMIC_RELAXED) == CIRCUIT_RING_MAGIC &&
	       (lost ? poll(NULL, 0, 10) : poll(&p, 1, 10)) == 0)
		;
	/*
	 * Where the host has taken it away, and this kernel has not yet, there is a page that all such have
	 * in common, whose processes may have written there.
	 */
	if (__atomic_load_n(&m.ctrl->magic, __ATOMIC_RELAXED) == CIRCUIT_RING_MAGIC) {
		printf("ended\n");
	} else {
		for (i = 0; i < 100 && !(err = ioctl(s, SIOCCIRCUITKICK)); i++)
			poll(NULL, 0, 10);
		printf("lost, %s\n", err ? strerror(errno) : "and not");
	}
	/* It is memory, whatever became of the circuit. */
	memset((char *)m.ctrl + CIRCUIT_MAP_TX, 0x55, m.all - CIRCUIT_MAP_TX);
	err = socket_option(s, SO_ERROR);
	munmap(m.ctrl, m.all);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	printf("%s\n", err ? strerror(err) : echo_byte(s));
}

/* Have the kernel of this end believe that the far end has closed, and then close. */
static void lie(int s)
{
	struct mapped m = map_circuit(s);

	__atomic_store_n(&m.out->cons.flags, CIRCUIT_RX_CLOSED, __ATOMIC_RELEASE);
	munmap(m.ctrl, m.all);
	close(s);
}

static void stay(int s, const char *file)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct mapped m = {};
	const char *how;
	unsigned int n;

	if (fd < 0)
		die(file);
	if (by_mapping)
		m = map_circuit(s);
	for (n = 1; ; n++) {
		how = by_mapping ? echo_mapped(&m, n * 97 % 1000 + 1) : echo_byte(s);
		if (strcmp(how, "works"))
			break;
		int len = sprintf(buf, "%u\n", n);

		if (pwrite(fd, buf, len, 0) != len)
			die(file);
		poll(NULL, 0, 50);
	}
	if (ftruncate(fd, 0) || pwrite(fd, how, strlen(how), 0) < 0)
		die(file);
	printf("%s\n", how);
}

/* How many bytes a connection that stays has had back. */
static long stay_count(const char *file)
{
	char text[64] = "", *end;
	int fd = open(file, O_RDONLY);
	long n;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		die(file);
	close(fd);
	n = strtol(text, &end, 10);
	if (end == text) {
		fprintf(stderr, "peer: %s has ended: %s\n", file, text);
		exit(1);
	}
	return n;
}

static void stayed(const char *file)
{
	long before = stay_count(file);
	int tries;

	for (tries = 0; stay_count(file) == before; tries++) {
		if (tries == 1000) {
			fprintf(stderr, "peer: %s hangs after %ld bytes\n", file, before);
			exit(1);
		}
		usleep(20000);
	}
}

static uint32_t rnd(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void scribble(const char *line, const char *port, int rounds)
{
	struct circuit_info info;
	uint32_t state = 1;
	int i, n, mapped = 0;

	for (i = 0; i < rounds; i++) {
		socklen_t len = sizeof(info);
		int s = strncmp(line, "udp:", 4) ? call(line, port, 8192) : dgram_to(line, port);
		char *base = MAP_FAILED;
		size_t all = 0;

		if (!getsockopt(s, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len)) {
			all = CIRCUIT_MAP_BYTES(info.tx_size, info.rx_size);
			base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
		}
		for (n = 0; n < 300 && base != MAP_FAILED; n++) {
			/* Every other time the control page: indices, events, flags. */
			size_t at = rnd(&state) % (rnd(&state) & 1 ? 0x280 : all - 8);

			memset(base + at, rnd(&state), 1 + rnd(&state) % 8);
			if (!(n % 8))
				ioctl(s, SIOCCIRCUITKICK);
		}
		mapped += base != MAP_FAILED;
		if (base != MAP_FAILED)
			munmap(base, all);
		close(s);
	}
	printf("%d rounds, %d mapped\n", rounds, mapped);
	if (mapped * 2 < rounds)
		exit(1);
}

int main(int argc, char **argv)
{
	const char *what;
	ssize_t n;

	if (argc > 3 && !strcmp(argv[1], "as")) {
		if (setgid(atoi(argv[2])) || setuid(atoi(argv[2])))
			die("setuid");
		argv += 2;
		argc -= 2;
	}
	if (argc > 1 && !strncmp(argv[1], "tcp", 3)) {
		use_tcp = argv[1][3] ? AF_INET6 : AF_INET;
		argv++;
		argc--;
	}
	if (argc > 1 && (!strcmp(argv[1], "seq") || !strcmp(argv[1], "dgram"))) {
		type = argv[1][0] == 's' ? SOCK_SEQPACKET : SOCK_DGRAM;
		argv++;
		argc--;
	}
	if (argc > 1 && !strcmp(argv[1], "mapped")) {
		by_mapping = true;
		argv++;
		argc--;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: see peer.c\n");
		return 2;
	}
	what = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "recv")) {
		do_recv(take(listen_on(atoi(argv[2]), 0, 4096)));
	} else if (!strcmp(what, "send") && argc > 4) {
		do_send(call(argv[2], argv[3], 0), strtoull(argv[4], NULL, 0));
	} else if (!strcmp(what, "swap-listen") && argc > 3) {
		swap(take(listen_on(atoi(argv[2]), 0, 4096)), strtoull(argv[3], NULL, 0));
	} else if (!strcmp(what, "swap") && argc > 4) {
		swap(call(argv[2], argv[3], 0), strtoull(argv[4], NULL, 0));
	} else if (!strcmp(what, "echo")) {
		echo(listen_on(atoi(argv[2]), 0, 4096));
	} else if (!strcmp(what, "lie") && argc > 3) {
		lie(call(argv[2], argv[3], 0));
	} else if (!strcmp(what, "calls") && argc > 5) {
		calls(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	} else if (!strcmp(what, "hold-listen") && argc > 4) {
		hold(listen_on(atoi(argv[2]), atoi(argv[4]), 4096), NULL, NULL, atoi(argv[3]), 0, NULL);
	} else if (!strcmp(what, "hold") && argc > 5) {
		hold(-1, argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), argv[6]);
	} else if (!strcmp(what, "attempts") && argc > 4) {
		attempts(argv[2], argv[3], atoi(argv[4]));
	} else if (!strcmp(what, "listens") && argc > 3) {
		listens(atoi(argv[2]), atoi(argv[3]));
	} else if (!strcmp(what, "outcomes") && argc > 4) {
		outcomes(argv[2], argv[3], atoi(argv[4]));
	} else if (!strcmp(what, "why") && argc > 3) {
		why(argv[2], argv[3]);
	} else if (!strcmp(what, "nth") && argc > 3) {
		fail_each(1, 1, nth_call, NULL, argv + 2);
		fail_each(1, 1, nth_listen, NULL, argv + 2);
		if (nth_map(argv + 2) != -EOPNOTSUPP)	/* by circuit, that is */
			fail_each(1, 1, nth_map, NULL, argv + 2);
	} else if (!strcmp(what, "dgram-nth") && argc > 3) {
		fail_each(1, 1, nth_connected, NULL, argv + 2);
		fail_each(1, 1, nth_bound, NULL, argv + 2);
	} else if (!strcmp(what, "nth-write") && argc > 4) {
		nth_file = open(argv[2], O_WRONLY);
		nth_undo = open(argv[4], O_WRONLY);
		if (nth_file < 0 || nth_undo < 0)
			die(argv[2]);
		fail_each(1, 1, nth_write, nth_unwrite, argv + 2);
	} else if (!strcmp(what, "nth-insmod") && argc > 3) {
		nth_file = open(argv[2], O_RDONLY);
		if (nth_file < 0)
			die(argv[2]);
		nth_insmods(argv + 2);
	} else if (!strcmp(what, "late") && argc > 3) {
		int l = listen_on(atoi(argv[2]), 0, 1);

		printf("listening\n");
		wait_for_fifo(argv[3]);
		if (argc > 4 && listen(l, atoi(argv[4])))
			die("listen");
		echo(l);
	} else if (!strcmp(what, "pile") && argc > 5) {
		pile(argv[2], argv[3], atoi(argv[4]), argv[5]);
	} else if (!strcmp(what, "flood") && argc > 3) {
		int s = call(argv[2], argv[3], 0);
		size_t len = type == SOCK_STREAM ? sizeof(buf) : 4000;

		printf("flooding\n");
		while ((n = send(s, buf, len, MSG_NOSIGNAL)) > 0)
			;
		printf("%s\n", strerror(errno));
	} else if (!strcmp(what, "reset") && argc > 3) {
		reset(call(argv[2], argv[3], 0));
	} else if (!strcmp(what, "drain")) {
		int s = take(listen_on(atoi(argv[2]), 0, 4096));

		printf("draining\n");
		while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
			;
		printf("%s\n", n ? strerror(errno) : "end");
	} else if (!strcmp(what, "check")) {
		int s = take(listen_on(atoi(argv[2]), 0, 4096));

		printf("checking\n");
		check(s);
	} else if (!strcmp(what, "busy") && argc > 5) {
		busy(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	} else if (!strcmp(what, "sink")) {
		sink(listen_on(atoi(argv[2]), 0, 4096));
	} else if (!strcmp(what, "idle") && argc > 4) {
		early = !strcmp(argv[4], "early");
		idle(call(argv[2], argv[3], 0));
	} else if (!strcmp(what, "idle-listen")) {
		idle(take(listen_on(atoi(argv[2]), 0, 4096)));
	} else if (!strcmp(what, "urgent") && argc > 3) {
		urgent(call(argv[2], argv[3], 0));
	} else if (!strcmp(what, "urgent-listen")) {
		urgent(take(listen_on(atoi(argv[2]), 0, 4096)));
	} else if (!strcmp(what, "dgram-echo")) {
		dgram_echo(argv[2]);
	} else if (!strcmp(what, "dgram-ask") && argc > 5) {
		dgram_ask(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	} else if (!strcmp(what, "dgram-flood") && argc > 3) {
		int s = dgram_to(argv[2], argv[3]);

		printf("flooding\n");
		while ((n = send(s, buf, 1400, 0)) > 0)
			;
		printf("%s\n", strerror(errno));
	} else if (!strcmp(what, "dgram-burst") && argc > 6) {
		int sockets, s, i;

		for (sockets = atoi(argv[6]); sockets; sockets--)
			for (s = dgram_to(argv[2], argv[3]), i = atoi(argv[4]); i; i--)
				if (send(s, buf, atoi(argv[5]), 0) < 0)
					die("send");
	} else if (!strcmp(what, "dgram-count") && argc > 3) {
		dgram_count(argv[2], argv[3]);
	} else if (!strcmp(what, "dgram-spread") && argc > 4) {
		int s = dgram_spread(-1, argv[2], atoi(argv[3]), atoi(argv[4]));

		if (argc > 5) {
			wait_for_fifo(argv[5]);
			dgram_spread(s, argv[2], atoi(argv[3]), atoi(argv[4]));
		}
	} else if (!strcmp(what, "dgram-numbers") && argc > 4) {
		dgram_numbers(argv[2], argv[3], atoi(argv[4]), argc > 5 ? atoi(argv[5]) : 10);
	} else if (!strcmp(what, "dgram-ordered") && argc > 4) {
		dgram_ordered(argv[2], atoi(argv[3]), argv[4]);
	} else if (!strcmp(what, "dgram-attempts") && argc > 4) {
		dgram_attempts(argv[2], argv[3], atoi(argv[4]));
	} else if (!strcmp(what, "dgram-peers") && argc > 4) {
		dgram_peers(argv[2], argv[3], atoi(argv[4]));
	} else if (!strcmp(what, "filter")) {
		filter(argv[2]);
	} else if (!strcmp(what, "hold-mapped") && argc > 3) {
		hold_mapped(reach(argv[2], argv[3]), argc > 4);
	} else if (!strcmp(what, "echo-mapped") && argc > 4) {
		struct mapped m = map_circuit(reach(argv[2], argv[3]));
		uint32_t len = m.info.tx_size / 3;	/* so that it wraps */
		long left;

		for (left = atol(argv[4]); left > 0; left -= len)
			works(echo_mapped(&m, len));
	} else if (!strcmp(what, "stay") && argc > 4) {
		stay(reach(argv[2], argv[3]), argv[4]);
	} else if (!strcmp(what, "stayed")) {
		for (argv += 2; *argv; argv++)
			stayed(*argv);
	} else if (!strcmp(what, "scribble") && argc > 4) {
		scribble(argv[2], argv[3], atoi(argv[4]));
	} else if (!strcmp(what, "map")) {
		int fd = open(argv[2], O_RDWR);

		if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
			die(argv[2]);
		printf("mapped\n");
		pause();
	} else {
		fprintf(stderr, "usage: see peer.c\n");
		return 2;
	}
	return 0;
}
