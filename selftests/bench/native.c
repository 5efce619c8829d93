// SPDX-License-Identifier: GPL-2.0
/*
 * native [-r REPEATS] [-t MILLISECONDS] DIR - a circuit between two processes of this machine,
 * against AF_UNIX, pipes and loopback TCP.
 *
 * Two processes, each pinned to a core of its own if there are two. Kinds take turns within a
 * repeat, so that a machine which is faster now than before is so for all of them. Figures go to
 * DIR/raw, and what they were made under to DIR/conditions, as bench-common.sh says;
 * selftests/bench/report makes tables of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <circuit.h>

#define RING		(512u << 10)	/* as large as a socket's may be */
#define BULK		65536u
#define ROUNDS_MAX	(1u << 20)
#define BATCH		32

#define die(what)	do { perror(what); exit(1); } while (0)
#define must(x)		do { if ((long)(x) < 0) die(#x); } while (0)
#define want(x)		do { if (!(x)) die_of(#x); } while (0)

enum kind { CIRCUIT, STREAM, SEQPACKET, PIPE, TCP, MEMCPY };
enum how { EACH, BATCHED, POLLED, WAITING, SLEEPING, LOOKED_AT, READ };

static _Noreturn void die_of(const char *what)
{
	fprintf(stderr, "native: not so: %s\n", what);
	exit(1);
}

static const struct measure {
	const char *group, *name, *unit;	/* as the raw figures have them */
	enum kind kind;
	enum how how;
	bool needs_two;		/* processors, or it says nothing */
} measures[] = {
#define GROUP "8-byte messages, one way"
	{ GROUP, "circuit, 32 published at once", "rate", CIRCUIT, BATCHED, false },
	{ GROUP, "circuit, each published", "rate", CIRCUIT, EACH, false },
	{ GROUP, "AF_UNIX SOCK_SEQPACKET", "rate", SEQPACKET, EACH, false },
	{ GROUP, "AF_UNIX SOCK_SEQPACKET, 32 a call", "rate", SEQPACKET, BATCHED, false },
	{ GROUP, "AF_UNIX SOCK_STREAM", "rate", STREAM, EACH, false },
	{ GROUP, "pipe", "rate", PIPE, EACH, false },
	{ GROUP, "TCP, loopback", "rate", TCP, EACH, false },
#undef GROUP
#define GROUP "8 bytes there and back, both polling"
	{ GROUP, "circuit", "p50", CIRCUIT, POLLED, true },
	{ GROUP, "AF_UNIX SOCK_SEQPACKET", "p50", SEQPACKET, POLLED, true },
	{ GROUP, "AF_UNIX SOCK_STREAM", "p50", STREAM, POLLED, true },
	{ GROUP, "pipe", "p50", PIPE, POLLED, true },
	{ GROUP, "TCP, loopback", "p50", TCP, POLLED, true },
#undef GROUP
#define GROUP "8 bytes there and back, both waiting"
	{ GROUP, "circuit, circuit_wait()", "p50", CIRCUIT, WAITING, false },
	{ GROUP, "circuit, never spinning", "p50", CIRCUIT, SLEEPING, false },
	{ GROUP, "AF_UNIX SOCK_SEQPACKET", "p50", SEQPACKET, SLEEPING, false },
	{ GROUP, "AF_UNIX SOCK_STREAM", "p50", STREAM, SLEEPING, false },
	{ GROUP, "pipe", "p50", PIPE, SLEEPING, false },
	{ GROUP, "TCP, loopback", "p50", TCP, SLEEPING, false },
#undef GROUP
#define GROUP "64 KiB messages, produced by a copy, their first bytes looked at"
	{ GROUP, "circuit, in place", "byte-rate", CIRCUIT, LOOKED_AT, false },
	{ GROUP, "memcpy() alone, to the same places", "byte-rate", MEMCPY, LOOKED_AT, false },
	{ GROUP, "AF_UNIX SOCK_STREAM", "byte-rate", STREAM, LOOKED_AT, false },
	{ GROUP, "pipe", "byte-rate", PIPE, LOOKED_AT, false },
	{ GROUP, "TCP, loopback", "byte-rate", TCP, LOOKED_AT, false },
#undef GROUP
#define GROUP "64 KiB messages, produced by a copy, all of them read"
	{ GROUP, "circuit, in place", "byte-rate", CIRCUIT, READ, false },
	{ GROUP, "memcpy() alone, over what another processor read", "byte-rate", MEMCPY, READ, true },
	{ GROUP, "AF_UNIX SOCK_STREAM", "byte-rate", STREAM, READ, false },
	{ GROUP, "pipe", "byte-rate", PIPE, READ, false },
	{ GROUP, "TCP, loopback", "byte-rate", TCP, READ, false },
};
#define MEASURES (sizeof(measures) / sizeof(measures[0]))

struct figure {
	double value, p99;
};

/* What two processes share beside what is measured: where to meet, and what to tell. */
static struct shared {
	uint32_t ready[2];
	uint32_t turn, over;
	uint64_t sum;
	uint8_t area[RING] __attribute__((aligned(4096)));
} *shared;

static int cpus[2] = { -1, -1 };
static int64_t duration = 150000000;
static uint32_t *rounds;	/* ns of each */

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void pin(int which)
{
	cpu_set_t set;

	if (cpus[which] < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpus[which], &set);
	must(sched_setaffinity(0, sizeof(set), &set));
}

/* --- channels ------------------------------------------------------------------------------- */

struct channel {
	enum kind kind;
	int in, out;
	struct circuit *c;
};

/* [0] is the parent's */
static void make(struct channel ch[2], enum kind kind)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd[2], back[2], listener, one = 1, i;

	ch[0].kind = ch[1].kind = kind;
	switch (kind) {
	case PIPE:
		must(pipe(fd));
		must(pipe(back));
		ch[0].out = fd[1];
		ch[1].in = fd[0];
		ch[1].out = back[1];
		ch[0].in = back[0];
		return;
	case TCP:
		must(listener = socket(AF_INET, SOCK_STREAM, 0));
		must(bind(listener, (struct sockaddr *)&sin, sizeof(sin)));
		must(listen(listener, 1));
		must(getsockname(listener, (struct sockaddr *)&sin, &len));
		must(fd[0] = socket(AF_INET, SOCK_STREAM, 0));
		must(connect(fd[0], (struct sockaddr *)&sin, sizeof(sin)));
		must(fd[1] = accept(listener, NULL, NULL));
		close(listener);
		for (i = 0; i < 2; i++)
			must(setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		break;
	default:
		must(socketpair(AF_UNIX, kind == SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM, 0, fd));
	}
	for (i = 0; i < 2; i++)
		ch[i].in = ch[i].out = fd[i];
}

static void take_up(struct channel *ch, int which, enum how how)
{
	int i;

	if (ch->kind != CIRCUIT) {
		for (i = 0; i < 2 && how == POLLED; i++)
			must(fcntl(i ? ch->in : ch->out, F_SETFL, O_NONBLOCK));
		return;
	}
	errno = which ? -circuit_accept(&ch->c, ch->in, 0) :
			-circuit_offer(&ch->c, ch->in, RING, RING, CIRCUIT_MESSAGES);
	if (errno)
		die("circuit");
	if (how == SLEEPING)
		circuit_spin(ch->c, 0);
}

/* Both are there, and go at the same time. */
static void meet(int which)
{
	uint32_t go = __atomic_add_fetch(&shared->ready[which], 1, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&shared->ready[!which], __ATOMIC_SEQ_CST) < go)
		sched_yield();
}

static void circuit_until(struct circuit *c, unsigned int event)
{
	want(circuit_wait(c, event, -1) == (int)event);
}

/* --- one way -------------------------------------------------------------------------------- */

static uint64_t produce_circuit(struct channel *ch, size_t size, unsigned int batch,
				const void *from, int64_t end)
{
	uint64_t n = 0;
	void *to;
	int ret;

	for (;;) {
		ret = circuit_msg_reserve(ch->c, &to, size);
		if (ret == -EAGAIN) {
			want(!circuit_tx_publish(ch->c));
			circuit_until(ch->c, CIRCUIT_OUT);
			continue;
		}
		want(!ret);
		if (size == 8)
			memcpy(to, &n, 8);
		else
			memcpy(to, from, size);
		circuit_msg_fill(ch->c, size, 0);
		if (++n % batch)
			continue;
		want(!circuit_tx_publish(ch->c));
		if ((size > 8 || n % 1024 == 0) && now() >= end)
			break;
	}
	want(!circuit_shutdown(ch->c));
	return n;
}

static uint64_t sum_of(const void *data, size_t len)
{
	const uint64_t *p = data;
	uint64_t s[4] = { 0 };
	size_t i;

	for (i = 0; i + 4 <= len / 8; i += 4) {
		s[0] += p[i];
		s[1] += p[i + 1];
		s[2] += p[i + 2];
		s[3] += p[i + 3];
	}
	return s[0] + s[1] + s[2] + s[3];
}

static uint64_t consume_circuit(struct channel *ch, bool all)
{
	struct circuit_view v[64];
	uint64_t n = 0, value;
	int ret, i;

	for (;;) {
		ret = circuit_msg_peek(ch->c, v, 64);
		if (ret == -EAGAIN) {
			circuit_until(ch->c, CIRCUIT_IN);
			continue;
		}
		if (!ret)
			return n;
		want(ret > 0);
		for (i = 0; i < ret; i++, n++) {
			if (all) {
				shared->sum += sum_of(v[i].data, v[i].len);
			} else if (v[i].len == 8) {
				memcpy(&value, v[i].data, 8);
				want(value == n);
			} else {
				shared->sum += *(const uint8_t *)v[i].data;
			}
		}
		want(!circuit_msg_release(ch->c, &v[ret - 1]));
	}
}

static uint64_t produce_fd(struct channel *ch, size_t size, unsigned int batch, const void *from,
			   int64_t end)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint64_t n = 0, value[BATCH];
	static uint8_t buf[BULK];
	unsigned int i;
	size_t done;
	ssize_t ret;

	memset(msg, 0, sizeof(msg));
	for (i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec) { &value[i], 8 };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		if (batch > 1) {
			for (i = 0; i < BATCH; i++)
				value[i] = n + i;
			for (i = 0; i < BATCH; i += ret)
				must(ret = sendmmsg(ch->out, msg + i, BATCH - i, 0));
			n += BATCH;
		} else {
			memcpy(buf, size == 8 ? &n : from, size);
			for (done = 0; done < size; done += ret)
				must(ret = write(ch->out, buf + done, size - done));
			n++;
		}
		if (n % (size == 8 ? 128 : 1) == 0 && now() >= end)
			break;
	}
	if (ch->kind == PIPE)
		close(ch->out);
	else
		must(shutdown(ch->out, SHUT_WR));
	return n;
}

static uint64_t consume_fd(struct channel *ch, size_t size, unsigned int batch, bool all)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint64_t n = 0, bytes = 0, value[BATCH];
	static uint8_t buf[BULK];
	ssize_t ret;
	int i;

	memset(msg, 0, sizeof(msg));
	for (i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec) { &value[i], 8 };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		if (batch > 1) {
			must(ret = recvmmsg(ch->in, msg, BATCH, MSG_WAITFORONE, NULL));
			for (i = 0; i < ret; i++, n++) {
				if (!msg[i].msg_len)
					return n;
				want(value[i] == n);
			}
			continue;
		}
		/* whoever reads a stream reads as much as there is */
		must(ret = read(ch->in, buf, ch->kind == SEQPACKET ? size : sizeof(buf)));
		if (!ret)
			return bytes / size;
		bytes += ret;
		if (size > 8)
			shared->sum += all ? sum_of(buf, ret) : buf[0];
	}
}

static uint64_t one_way(struct channel *ch, int which, const struct measure *m, int64_t end)
{
	size_t size = m->how == LOOKED_AT || m->how == READ ? BULK : 8;
	unsigned int batch = m->how == BATCHED ? BATCH : 1;
	static uint8_t from[BULK];

	if (which)
		return ch->kind == CIRCUIT ? consume_circuit(ch, m->how == READ) :
					     consume_fd(ch, size, batch, m->how == READ);
	memset(from, 1, sizeof(from));
	return ch->kind == CIRCUIT ? produce_circuit(ch, size, batch, from, end) :
				     produce_fd(ch, size, batch, from, end);
}

/* --- there and back -------------------------------------------------------------------------- */

static void ball_out(struct channel *ch, uint64_t value)
{
	void *to;

	if (ch->kind != CIRCUIT) {
		want(write(ch->out, &value, 8) == 8);
		return;
	}
	want(!circuit_msg_reserve(ch->c, &to, 8));
	memcpy(to, &value, 8);
	want(!circuit_msg_commit(ch->c, 8, 0));
}

/* False when the far end has gone. */
static bool ball_in(struct channel *ch, enum how how, uint64_t *value)
{
	struct circuit_view v;
	ssize_t ret;

	for (;;) {
		ret = ch->kind == CIRCUIT ? circuit_msg_peek(ch->c, &v, 1) : read(ch->in, value, 8);
		if (ret > 0)
			break;
		if (!ret)
			return false;
		if (ch->kind != CIRCUIT)
			want(errno == EAGAIN);
		else if (how != POLLED)
			circuit_until(ch->c, CIRCUIT_IN);
	}
	if (ch->kind == CIRCUIT) {
		memcpy(value, v.data, 8);
		want(!circuit_msg_release(ch->c, &v));
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static struct figure there_and_back(struct channel *ch, enum how how, int64_t end)
{
	uint64_t value;
	int64_t before, after = now();
	uint32_t n;

	for (n = 0; n < ROUNDS_MAX && after < end; n++) {
		before = after;
		ball_out(ch, n);
		want(ball_in(ch, how, &value) && value == n);
		after = now();
		rounds[n] = after - before;
	}
	want(n);
	qsort(rounds, n, sizeof(rounds[0]), compare);
	return (struct figure) { rounds[n / 2], rounds[n - 1 - n / 100] };
}

/* --- copying --------------------------------------------------------------------------------- */

/* Not to be optimised away. */
static void done(const void *data)
{
	__asm__ volatile("" :: "r" (data) : "memory");
}

/* From a buffer, to where messages would be in a ring. */
static struct figure copying(void)
{
	static uint8_t from[BULK], area[RING + BULK + 8] __attribute__((aligned(4096)));
	int64_t start, end;
	uint64_t n = 0;

	memset(from, 1, sizeof(from));
	memset(area, 1, sizeof(area));
	start = now();
	do {
		memcpy(area + n * (BULK + 8) % RING + 8, from, BULK);
		done(area);
		n++;
		end = now();
	} while (end - start < duration);
	return (struct figure) { n * (double)BULK * 1e9 / (end - start), 0 };
}

/* From a buffer, into an area that the other one reads, in turns: what hardware takes for that. */
static struct figure copying_across(int which)
{
	static uint8_t from[BULK];
	int64_t before, spent = 0, end = now() + 2 * duration;
	uint64_t n = 0;
	uint32_t turn;
	size_t i;

	memset(from, 1, sizeof(from));
	for (turn = which; ; turn += 2) {
		while (__atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) < turn)
			if (__atomic_load_n(&shared->over, __ATOMIC_ACQUIRE))
				return (struct figure) { n * (double)RING * 1e9 / spent, 0 };
		before = now();
		for (i = 0; i < RING; i += BULK) {
			if (which)
				shared->sum += sum_of(shared->area + i, BULK);
			else
				memcpy(shared->area + i, from, BULK);
		}
		spent += now() - before;
		n++;
		if (before >= end)
			__atomic_store_n(&shared->over, 1, __ATOMIC_RELEASE);
		__atomic_store_n(&shared->turn, turn + 1, __ATOMIC_RELEASE);
	}
}

/* --- all of it ------------------------------------------------------------------------------- */

static struct figure measure(const struct measure *m)
{
	bool rtt = m->how == POLLED || m->how == WAITING || m->how == SLEEPING;
	struct channel ch[2] = { { .in = -1 }, { .in = -1 } };
	struct figure f = { 0 };
	int64_t start, end;
	uint64_t n = 0, value;
	int status;
	pid_t pid;

	if (m->kind == MEMCPY && m->how == LOOKED_AT)
		return copying();
	memset(shared, 0, offsetof(struct shared, area));
	if (m->kind != MEMCPY)
		make(ch, m->kind);
	pid = fork();
	must(pid);
	alarm(60);	/* if the other one has failed */
	pin(!pid);
	if (!pid) {
		close(ch[0].in);
		if (ch[0].out != ch[0].in)
			close(ch[0].out);
		if (m->kind == MEMCPY) {
			meet(1);
			copying_across(1);
			_exit(0);
		}
		take_up(&ch[1], 1, m->how);
		meet(1);
		if (!rtt) {
			shared->sum = 0;
			n = one_way(&ch[1], 1, m, 0);
			__atomic_store_n(&shared->sum, n, __ATOMIC_RELEASE);
		} else {
			while (ball_in(&ch[1], m->how, &value))
				ball_out(&ch[1], value);
		}
		circuit_close(ch[1].c);
		_exit(0);
	}
	if (m->kind == MEMCPY) {
		meet(0);
		f = copying_across(0);
		must(waitpid(pid, &status, 0));
		return f;
	}
	close(ch[1].in);
	if (ch[1].out != ch[1].in)
		close(ch[1].out);
	take_up(&ch[0], 0, m->how);
	meet(0);
	start = now();
	if (rtt) {
		f = there_and_back(&ch[0], m->how, start + duration);
	} else {
		n = one_way(&ch[0], 0, m, start + duration);
	}
	circuit_close(ch[0].c);
	if (rtt) {
		close(ch[0].in);
		if (ch[0].out != ch[0].in)
			close(ch[0].out);
	}
	must(waitpid(pid, &status, 0));
	end = now();
	want(status == 0);
	if (!rtt) {
		want(shared->sum == n);
		f.value = n * 1e9 / (end - start);
		if (m->how == LOOKED_AT || m->how == READ)
			f.value *= BULK;
		close(ch[0].in);
		if (ch[0].out != ch[0].in && m->kind != PIPE)
			close(ch[0].out);
	}
	return f;
}

/* Two processors of different cores, if there are; and what is to be said if not. */
static int choose(FILE *conditions)
{
	char path[96], siblings[2][64] = { "", "" };
	cpu_set_t set;
	int cpu, n = 0;
	FILE *f;

	must(sched_getaffinity(0, sizeof(set), &set));
	for (cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		siblings[n][0] = 0;
		f = fopen(path, "r");
		if (f) {
			if (!fgets(siblings[n], sizeof(siblings[n]), f))
				siblings[n][0] = 0;
			fclose(f);
		}
		if (n && siblings[0][0] && !strcmp(siblings[0], siblings[1])) {
			if (cpus[1] < 0)
				cpus[1] = cpu;	/* unless there is a better one */
			continue;
		}
		cpus[n++] = cpu;
	}
	if (n == 2)
		fprintf(conditions, "processors\t%d and %d, of different cores\n", cpus[0], cpus[1]);
	else if (cpus[1] >= 0)
		fprintf(conditions, "processors\t%d and %d SHARE A CORE: who polls slows the other down\n",
			cpus[0], cpus[1]);
	else
		fprintf(conditions, "processors\tONE: both processes share it, and polling says nothing\n");
	return cpus[1] >= 0 ? 2 : 1;
}

static FILE *open_in(const char *dir, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f)
		die(path);
	return f;
}

static void load(FILE *conditions, const char *when)
{
	double l = 0;

	if (getloadavg(&l, 1) == 1)
		fprintf(conditions, "load %s\t%.1f%s\n", when, l,
			l > 0.5 ? "; this machine has other work" : "");
}

static void word(FILE *f, const char *text)
{
	for (; *text; text++)
		fputc(*text == ' ' ? '~' : *text, f);
	fputc(' ', f);
}

static void write_figure(FILE *raw, const struct measure *m, int repeat, struct figure f)
{
	word(raw, m->group);
	word(raw, m->name);
	fprintf(raw, "%d %s=%.0f", repeat + 1, m->unit, f.value);
	if (f.p99 > 0)
		fprintf(raw, " p99=%.0f", f.p99);
	fputc('\n', raw);
}

int main(int argc, char **argv)
{
	int repeats = 15, opt, r, processors;
	FILE *raw, *conditions;
	size_t i;

	while ((opt = getopt(argc, argv, "r:t:")) != -1) {
		if (opt == 'r')
			repeats = atoi(optarg);
		else if (opt == 't')
			duration = atoll(optarg) * 1000000;
		else if (opt == '?')
			return 2;
	}
	if (repeats < 1 || duration < 1000000 || optind != argc - 1) {
		fprintf(stderr, "usage: native [-r REPEATS] [-t MILLISECONDS] DIR\n");
		return 2;
	}
	raw = open_in(argv[optind], "raw");
	conditions = open_in(argv[optind], "conditions");
	signal(SIGPIPE, SIG_IGN);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	rounds = malloc(ROUNDS_MAX * sizeof(*rounds));
	if (shared == MAP_FAILED || !rounds)
		die("memory");
	memset(rounds, 0, ROUNDS_MAX * sizeof(*rounds));
	fprintf(conditions, "repeats\t%d\n", repeats);
	processors = choose(conditions);
	load(conditions, "before");
	for (r = 0; r < repeats; r++) {
		for (i = 0; i < MEASURES; i++) {
			if (measures[i].needs_two && processors < 2)
				continue;
			write_figure(raw, &measures[i], r, measure(&measures[i]));
		}
	}
	alarm(0);
	load(conditions, "after");
	if (fclose(raw) || fclose(conditions))
		die("raw data");
	return 0;
}
