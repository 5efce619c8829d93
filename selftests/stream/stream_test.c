// SPDX-License-Identifier: GPL-2.0
/*
 * What a sock stream promises: running the cases, and what they have in common.
 * See stream_test.h.
 */
#include <fnmatch.h>
#include <getopt.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "stream_test.h"

#define TIMEOUT		90	/* s; it only ends what hangs, and instrumented kernels are slow */

int family = AF_CIRCUIT, type = SOCK_STREAM;
bool use_tcp, quick, limits;
static int nr_rounds;	/* --rounds */
static bool only_map;	/* --map */
static struct in6_addr target;	/* whom TCP calls; IPv4 in its last four bytes */
int protocol;
atomic_int signals;

static struct test *tests, **tests_end = &tests;

/* Shared by the process that runs the cases and all of theirs. */
static struct {
	atomic_flag	taken;
	bool		skipped;
	char		why[400];
} *verdict;

static pid_t runner;

void test_register(struct test *t)
{
	*tests_end = t;
	tests_end = &t->next;
}

const char *errname(int err)
{
	const char *s = strerrorname_np(err);

	return s ?: "an unknown error";
}

static _Noreturn void finish(void)
{
	if (getpgrp() != runner)
		kill(0, SIGKILL);	/* the case's own process group */
	_exit(1);
}

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!atomic_flag_test_and_set(&verdict->taken)) {
		n = snprintf(verdict->why, sizeof(verdict->why), "%s:%d: ", file, line);
		va_start(ap, fmt);
		vsnprintf(verdict->why + n, sizeof(verdict->why) - n, fmt, ap);
		va_end(ap);
	}
	finish();
}

void skip(const char *fmt, ...)
{
	va_list ap;

	if (!atomic_flag_test_and_set(&verdict->taken)) {
		va_start(ap, fmt);
		vsnprintf(verdict->why, sizeof(verdict->why), fmt, ap);
		va_end(ap);
		verdict->skipped = true;
	}
	finish();
}

long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/**
 * addr_set - address at which a port can be called
 * @a: where to
 * @port: the port
 *
 * Return: its length.
 */
socklen_t addr_set(union addr *a, unsigned int port)
{
	memset(a, 0, sizeof(*a));
	a->sa.sa_family = family;
	switch (family) {
	case AF_INET:
		a->in.sin_port = htons(port);
		a->in.sin_addr.s_addr = target.s6_addr32[3];
		break;
	case AF_INET6:
		a->in6.sin6_port = htons(port);
		a->in6.sin6_addr = target;
		break;
	case AF_UNIX:
		/* An abstract name; bind() without one makes one up. */
		if (!port)
			return sizeof(a->un.sun_family);
		snprintf(a->un.sun_path + 1, 6, "%05x", port & 0xfffff);
		return sizeof(a->un.sun_family) + 6;
	default:
		a->cc.sc_port = port;
	}
	return addr_len();
}

socklen_t addr_len(void)
{
	union addr *a;

	return family == AF_INET ? sizeof(a->in) : family == AF_INET6 ? sizeof(a->in6) :
		sizeof(a->cc);
}

/* What no call takes: the last fields of TCP's structures it can do without. */
socklen_t addr_too_short(void)
{
	return family == AF_INET ? 8 : family == AF_INET6 ? 23 : addr_len() - 1;
}

/* An address that is nobody's here. */
void addr_set_foreign(union addr *a)
{
	if (family == AF_INET)
		inet_pton(AF_INET, "192.0.2.1", &a->in.sin_addr);
	else if (family == AF_INET6)
		inet_pton(AF_INET6, "2001:db8::1", &a->in6.sin6_addr);
	else
		strcpy(a->cc.sc_line, "no-such-line");
}

/* This machine as itself, whoever else the port may be published to. */
void addr_set_loopback(union addr *a, unsigned int port)
{
	addr_set(a, port);
	if (family == AF_INET)
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a->in6.sin6_addr = in6addr_loopback;
}

unsigned int addr_port(const union addr *a)
{
	return family == AF_INET ? ntohs(a->in.sin_port) :
	       family == AF_INET6 ? ntohs(a->in6.sin6_port) :
	       family == AF_UNIX ? strtoul(a->un.sun_path + 1, NULL, 16) : a->cc.sc_port;
}

static bool target_is_loopback(void)
{
	return family == AF_INET ? target.s6_addr32[3] == htonl(INADDR_LOOPBACK) :
		IN6_IS_ADDR_LOOPBACK(&target);
}

unsigned int port_of(int fd)
{
	union addr a;
	socklen_t len = sizeof(a);

	OK(getsockname(fd, &a.sa, &len));
	return addr_port(&a);
}

unsigned int peer_port_of(int fd)
{
	union addr a;
	socklen_t len = sizeof(a);

	OK(getpeername(fd, &a.sa, &len));
	return addr_port(&a);
}

int sock(void)
{
	return OK(socket(family, type | SOCK_CLOEXEC, protocol));
}

int sock_bind(int fd, unsigned int port)
{
	union addr a;
	socklen_t len = addr_set(&a, port);

	/* An address of the line's need not be one of the machine's. */
	if (family == AF_INET && !target_is_loopback())
		a.in.sin_addr.s_addr = htonl(INADDR_ANY);
	else if (family == AF_INET6 && !target_is_loopback())
		a.in6.sin6_addr = in6addr_any;
	return bind(fd, &a.sa, len);
}

int sock_connect(int fd, unsigned int port)
{
	union addr a;
	socklen_t len = addr_set(&a, port);

	return connect(fd, &a.sa, len);
}

/**
 * listener - listen on a port that was free
 * @backlog: for listen()
 * @port: which port it is
 */
int listener(int backlog, unsigned int *port)
{
	int fd = sock();

	option(fd, SO_REUSEADDR, 1);
	OK(sock_bind(fd, 0));
	OK(listen(fd, backlog));
	*port = port_of(fd);
	return fd;
}

int call(unsigned int port)
{
	int fd = sock();

	OK(sock_connect(fd, port));
	return fd;
}

int answer(int fd)
{
	return OK(accept(fd, NULL, NULL));
}

/**
 * pair_of_size - two sockets connected with each other
 * @fd: the calling and the called one
 * @size: bytes of buffer in each direction, or 0
 */
void pair_of_size(int fd[2], int size)
{
	int l = sock();

	fd[0] = sock();
	if (size) {
		option(l, SO_SNDBUF, size);
		option(l, SO_RCVBUF, size);
		option(fd[0], SO_SNDBUF, size);
		option(fd[0], SO_RCVBUF, size);
	}
	OK(sock_bind(l, 0));
	OK(listen(l, 1));
	OK(sock_connect(fd[0], port_of(l)));
	fd[1] = answer(l);
	close(l);
}

void pair(int fd[2])
{
	pair_of_size(fd, 0);
}

void nonblock(int fd)
{
	OK(fcntl(fd, F_SETFL, OK(fcntl(fd, F_GETFL)) | O_NONBLOCK));
}

void option(int fd, int opt, int val)
{
	OK(setsockopt(fd, SOL_SOCKET, opt, &val, sizeof(val)));
}

int get_option(int fd, int opt)
{
	int val = -1;
	socklen_t len = sizeof(val);

	OK(getsockopt(fd, SOL_SOCKET, opt, &val, &len));
	EQ(len, sizeof(val));
	return val;
}

int rounds(int few, int many)
{
	return nr_rounds ?: quick ? few : many;
}

void timeout(int fd, int opt, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	OK(setsockopt(fd, SOL_SOCKET, opt, &tv, sizeof(tv)));
}

void linger(int fd, int on, int seconds)
{
	struct linger l = { .l_onoff = on, .l_linger = seconds };

	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

int so_error(int fd)
{
	return get_option(fd, SO_ERROR);
}

/**
 * dead_port - a port on which nobody listens
 *
 * It stays bound, so that nobody else starts to.
 */
int dead_port(void)
{
	int fd = sock();

	OK(sock_bind(fd, 0));
	return port_of(fd);
}

/**
 * abort_sock - close with a reset
 * @fd: the socket
 */
void abort_sock(int fd)
{
	linger(fd, 1, 0);
	OK(close(fd));
}

/**
 * full_listener - a listener whose queue is full
 * @backlog: for listen(); that many calls and one more are waiting
 * @port: its port
 */
int full_listener(int backlog, unsigned int *port)
{
	int fd = listener(backlog, port), i;

	for (i = 0; i <= backlog; i++)
		call(*port);
	return fd;
}

/**
 * pending_call - call a full listener
 * @port: its port
 *
 * Return: a non-blocking socket that is being connected.
 */
int pending_call(unsigned int port)
{
	int fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, port), EINPROGRESS);
	wait_quiet(fd, POLLOUT);
	return fd;
}

int poll_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = EV_ALL };

	OK(poll(&p, 1, 0));
	return p.revents;
}

void wait_for(int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (!OK(poll(&p, 1, PATIENCE)))
		fail("no event of %#x, there is %#x", events, poll_now(fd));
	if (!(p.revents & events))
		fail("events are %#x, expected one of %#x", p.revents, events);
}

void wait_quiet(int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (OK(poll(&p, 1, QUIET)))
		fail("events are %#x, expected none", p.revents);
}

/**
 * expect_mask - poll() must come to say exactly this
 * @fd: the socket
 * @mask: POLL*
 */
void expect_mask(int fd, int mask)
{
	long long end = now_ms() + PATIENCE;
	int got;

	while ((got = poll_now(fd)) != mask) {
		if (now_ms() > end)
			fail("events are %#x, expected %#x", got, mask);
		poll(NULL, 0, 1);
	}
}

/* The byte at position @pos of the endless stream that everybody sends. */
static inline uint8_t pattern_at(uint64_t pos)
{
	return pos * 167 + (pos >> 8) * 13 + (pos >> 20);
}

void pattern(void *buf, size_t len, uint64_t pos)
{
	uint8_t *p = buf;
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = pattern_at(pos + i);
}

void pattern_check(const void *buf, size_t len, uint64_t pos)
{
	const uint8_t *p = buf;
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != pattern_at(pos + i))
			fail("byte %llu is %#x, expected %#x", (unsigned long long)pos + i, p[i],
			     pattern_at(pos + i));
}

void send_all(int fd, const void *buf, size_t len)
{
	size_t done = 0;

	while (done < len)
		done += OK(send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL));
}

void recv_all(int fd, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = recv(fd, (char *)buf + done, len - done, 0);
		/* What was sent need not have come yet. */
		if (n < 0 && errno == EAGAIN && OK(fcntl(fd, F_GETFL)) & O_NONBLOCK) {
			wait_for(fd, POLLIN);
			continue;
		}
		OK(n);
		if (!n)
			fail("the stream ends after %zu bytes, expected %zu", done, len);
		done += n;
	}
}

void send_pattern(int fd, size_t len, uint64_t pos)
{
	uint8_t buf[16384];
	size_t n;

	for (; len; len -= n, pos += n) {
		n = len < sizeof(buf) ? len : sizeof(buf);
		pattern(buf, n, pos);
		send_all(fd, buf, n);
	}
}

void recv_pattern(int fd, size_t len, uint64_t pos)
{
	uint8_t buf[16384];
	size_t n;

	for (; len; len -= n, pos += n) {
		n = len < sizeof(buf) ? len : sizeof(buf);
		recv_all(fd, buf, n);
		pattern_check(buf, n, pos);
	}
}

void send_text(int fd, const char *s)
{
	EQ(send(fd, s, strlen(s), MSG_NOSIGNAL), strlen(s));
}

void expect_text(int fd, const char *s)
{
	char buf[256] = "";

	recv_all(fd, buf, strlen(s));
	if (strcmp(buf, s))
		fail("received \"%s\", expected \"%s\"", buf, s);
}

void expect_eof(int fd)
{
	char c;

	EQ(recv(fd, &c, 1, 0), 0);
}

void expect_works(int a, int b)
{
	send_text(a, "hello");
	expect_text(b, "hello");
	send_text(b, "goodbye");
	expect_text(a, "goodbye");
}

/* A listener must take a call, and the two ends must hear each other. */
void expect_calls(int l)
{
	int fd = call(port_of(l)), s = answer(l);

	expect_works(fd, s);
	close(fd);
	close(s);
}

/**
 * fill - send until nothing more is taken
 * @fd: the socket
 * @pos: position in the pattern of the first byte
 *
 * Return: how much was sent.
 */
size_t fill(int fd, uint64_t pos)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint8_t buf[4096];
	size_t done = 0, piece = sizeof(buf);
	bool quiet = false;
	ssize_t n;

	for (;;) {
		pattern(buf, piece, pos + done);
		n = send(fd, buf, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			done += n;
			quiet = false;
			continue;
		}
		if (errno != EAGAIN)
			fail("send: %s", errname(errno));
		if (quiet)
			return done;
		if (piece > 1)		/* TCP may have room for less */
			piece = 1;
		else			/* and say nothing of a little */
			quiet = !OK(poll(&p, 1, QUIET));
	}
}

/* xorshift: good enough, and the same everywhere. */
uint32_t rnd(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

static void *task_main(void *arg)
{
	struct task *t = arg;

	atomic_store(&t->tid, gettid());
	t->fn(t);
	t->err = errno;
	atomic_store(&t->done, true);
	return NULL;
}

/**
 * task_start - start a thread
 * @t: its state
 * @fn: what it does; it may leave a result in t->ret, and errno is kept in t->err
 * @fd: for @fn
 * @arg: for @fn
 */
void task_start(struct task *t, void (*fn)(struct task *t), int fd, void *arg)
{
	pthread_attr_t attr;
	int err;

	memset(t, 0, sizeof(*t));
	t->fn = fn;
	t->fd = fd;
	t->arg = arg;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	err = pthread_create(&t->thread, &attr, task_main, t);
	if (err)
		fail("pthread_create: %s", errname(err));
	pthread_attr_destroy(&attr);
}

/**
 * task_asleep - wait until a thread sleeps in a system call
 * @t: the thread
 * @nr: the system call
 */
void task_asleep(struct task *t, long nr)
{
	long long end = now_ms() + PATIENCE;
	char path[64], line[64];
	int fd, n, seen = 0;

	while (seen < 3) {
		if (atomic_load(&t->done))
			fail("system call %ld returned %ld (%s) and should not have", nr, t->ret,
			     errname(t->err));
		if (now_ms() > end)
			fail("the thread does not sleep in system call %ld", nr);
		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", atomic_load(&t->tid));
		line[0] = 0;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			n = read(fd, line, sizeof(line) - 1);
			line[n > 0 ? n : 0] = 0;
			close(fd);
		}
		/* "running" if it is not asleep */
		seen = line[0] >= '0' && line[0] <= '9' && atol(line) == nr ? seen + 1 : 0;
		poll(NULL, 0, 1);
	}
}

/**
 * task_nag - send a thread signals until it is through
 * @t: the thread
 * @sig: the signal
 */
void task_nag(struct task *t, int sig)
{
	long long end = now_ms() + PATIENCE;

	while (!atomic_load(&t->done)) {
		if (now_ms() > end)
			fail("a thread is not to be interrupted");
		pthread_kill(t->thread, sig);
		poll(NULL, 0, 1);
	}
	task_join(t);
}

void task_join(struct task *t)
{
	pthread_join(t->thread, NULL);
}

/**
 * spawn - fork a child that dies with the case
 *
 * Return: 0 in the child, which is to end with _exit(0).
 */
pid_t spawn(void)
{
	return OK(fork());
}

void reap(pid_t pid)
{
	int status;

	OK(waitpid(pid, &status, 0));
	if (status)
		fail("a child ends with status %#x", status);
}

void reap_killed(pid_t pid, int sig)
{
	int status;

	EQ(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != sig)
		fail("a child ends with status %#x, expected signal %d", status, sig);
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&signals, 1);
}

void catch_signal(int sig, int flags)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	OK(sigaction(sig, &sa, NULL));
}

static bool applies(const struct test *t)
{
	if ((t->type ?: SOCK_STREAM) != type || (t->inet_only && family == AF_CIRCUIT) ||
	    (t->circuit_only && family != AF_CIRCUIT))
		return false;
	return only_map ? t->map : !t->map || family == AF_CIRCUIT;
}

/* Returns 1, 0 or -1 for passed, failed and skipped, 2 for cases of another kind. */
static int run(const struct test *t, int nr, bool verbose)
{
	unsigned int limit = t->timeout ?: TIMEOUT;
	long long start = now_ms();
	int status;
	pid_t pid;

	if (!applies(t))
		return 2;
	if (use_tcp && t->circuits_only) {
		printf("ok %d - %s # SKIP %s\n", nr, t->name, t->circuits_only);
		return -1;
	}
	memset(verdict, 0, sizeof(*verdict));
	atomic_flag_clear(&verdict->taken);
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(limit);
		t->fn();
		_exit(0);
	}
	setpgid(pid, pid);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	kill(-pid, SIGKILL);	/* whatever it has left behind */
	if (!status) {
		printf("ok %d - %s", nr, t->name);
		if (verbose)
			printf(" # %lld ms", now_ms() - start);
		putchar('\n');
		return 1;
	}
	if (verdict->skipped) {
		printf("ok %d - %s # SKIP %s\n", nr, t->name, verdict->why);
		return -1;
	}
	if (!verdict->why[0] && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(verdict->why, sizeof(verdict->why), "not done after %u s", limit);
	else if (!verdict->why[0])
		snprintf(verdict->why, sizeof(verdict->why), "ended with status %#x", status);
	printf("not ok %d - %s # %s\n", nr, t->name, verdict->why);
	return 0;
}

static _Noreturn void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: stream_test [-l] [-v] [-t PATTERN]... [--tcp | --inet ADDRESS] [--protocol N]\n"
		"                   [--seqpacket | --unix | --dgram | --udp] [--map] [--quick]\n"
		"  -l          list the cases\n"
		"  -v          say how long each took\n"
		"  -t PATTERN  run only those whose name matches, or contains, PATTERN\n"
		"  --tcp       over TCP on 127.0.0.1, to verify what is expected of circuits\n"
		"  --inet ADDRESS  over TCP (with --dgram: UDP) sockets of AF_INET or AF_INET6, calling\n"
		"              ADDRESS, which must lead back here\n"
		"  --protocol N    make them with this protocol\n"
		"  --seqpacket messages: the cases for SOCK_SEQPACKET\n"
		"  --unix      the same over AF_UNIX, to verify what is expected of circuits\n"
		"  --dgram     datagrams: the cases for SOCK_DGRAM\n"
		"  --udp       the same over UDP on 127.0.0.1, to verify what is expected of circuits\n"
		"  --map       the cases, and only those, for circuits that are mapped\n"
		"  --quick     move less data\n"
		"  --rounds N  map_scribble, map_interleavings: so many rounds\n"
		"  --limits    map_interleavings: somebody sets limits of bytes meanwhile, and takes them back\n");
	exit(status);
}

static bool selected(const char *name, char *const *patterns, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!fnmatch(patterns[i], name, 0) || strstr(name, patterns[i]))
			return true;
	return !n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "tcp", no_argument, NULL, 'T' },
		{ "inet", required_argument, NULL, 'I' },
		{ "protocol", required_argument, NULL, 'P' },
		{ "seqpacket", no_argument, NULL, 'S' },
		{ "unix", no_argument, NULL, 'U' },
		{ "dgram", no_argument, NULL, 'D' },
		{ "udp", no_argument, NULL, 'u' },
		{ "map", no_argument, NULL, 'm' },
		{ "quick", no_argument, NULL, 'q' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "limits", no_argument, NULL, 'L' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int passed = 0, failed = 0, skipped = 0, nr = 0, n = 0, opt, fd;
	char *patterns[64];
	bool list = false, verbose = false;
	struct test *t;

	while ((opt = getopt_long(argc, argv, "lvt:h", options, NULL)) >= 0) {
		switch (opt) {
		case 'l':
			list = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 't':
			if (n < 64)
				patterns[n++] = optarg;
			break;
		case 'T':
			use_tcp = true;
			family = AF_INET;
			target.s6_addr32[3] = htonl(INADDR_LOOPBACK);
			break;
		case 'I':
			use_tcp = true;
			if (inet_pton(AF_INET, optarg, &target.s6_addr32[3]) == 1)
				family = AF_INET;
			else if (inet_pton(AF_INET6, optarg, &target) == 1)
				family = AF_INET6;
			else
				usage(2);
			break;
		case 'U':
			use_tcp = true;
			family = AF_UNIX;
			/* fall through */
		case 'S':
			type = SOCK_SEQPACKET;
			break;
		case 'u':
			use_tcp = true;
			family = AF_INET;
			target.s6_addr32[3] = htonl(INADDR_LOOPBACK);
			/* fall through */
		case 'D':
			type = SOCK_DGRAM;
			break;
		case 'P':
			protocol = atoi(optarg);
			break;
		case 'm':
			only_map = true;
			break;
		case 'q':
			quick = true;
			break;
		case 'r':
			nr_rounds = atoi(optarg);
			if (nr_rounds <= 0)
				usage(2);
			break;
		case 'L':
			limits = true;
			break;
		case 'h':
			usage(0);
		default:
			usage(2);
		}
	}
	if (optind < argc)
		usage(2);
	if (list) {
		for (t = tests; t; t = t->next)
			if (selected(t->name, patterns, n) && applies(t))
				puts(t->name);
		return 0;
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	runner = getpgrp();
	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	fd = socket(family, type, protocol);
	if (verdict == MAP_FAILED || fd < 0) {
		perror(fd < 0 ? "socket" : "mmap");
		return 2;
	}
	close(fd);
	for (t = tests; t; t = t->next) {
		if (!selected(t->name, patterns, n))
			continue;
		switch (run(t, ++nr, verbose)) {
		case 2:
			nr--;
			break;
		case 1:
			passed++;
			break;
		case 0:
			failed++;
			break;
		default:
			skipped++;
		}
	}
	printf("1..%d\n# passed %d failed %d skipped %d\n", nr, passed, failed, skipped);
	return failed || !passed;
}
