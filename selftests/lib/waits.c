// SPDX-License-Identifier: GPL-2.0
/*
 * Waiting: in time, not for ever, and from two threads.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include "lib_test.h"

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

TEST(wait_times_out)
{
	struct pair p;
	int64_t t;

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 0), 0);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN | CIRCUIT_OUT, -1), CIRCUIT_OUT);
	t = now();
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 20000000), 0);
	CHECK(now() - t >= 20000000);
	circuit_spin(p.c[0], 0);
	t = now();
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 3000000), 0);
	CHECK(now() - t >= 3000000);
	circuit_spin(p.c[0], UINT32_MAX);
	t = now();
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 3000000), 0);
	CHECK(now() - t >= 3000000);
	end_pair(&p);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST(wait_is_interrupted)
{
	struct itimerval timer = { .it_value.tv_usec = 20000 };
	struct sigaction act = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct pair p;

	make_pair(&p, 4096, 4096, 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, -1), -EINTR);
	EQ(circuit_error(p.c[0]), 0);
	EQ(circuit_write(p.c[1], "x", 1), 1);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, -1), CIRCUIT_IN);
	end_pair(&p);
}

/* How long to look is learned: not at all where it is in vain, and again where it is not. */
TEST(spinning_is_learned)
{
	struct pair p;
	int i;

	make_pair(&p, 4096, 4096, 0);
	circuit_spin(p.c[0], 20000);
	for (i = 0; i < 10; i++)
		EQ(circuit_wait(p.c[0], CIRCUIT_IN, 200000), 0);
	EQ(p.c[0]->rx.spin.ns, 0);
	circuit_spin(p.c[0], 1000000000);
	p.c[0]->rx.spin.ns = 0;
	for (i = 0; i < 10; i++)
		EQ(circuit_wait(p.c[0], CIRCUIT_IN, 100000), 0);
	CHECK(p.c[0]->rx.spin.ns > 100000);
	/* Nor where each sleep is short, but looking does not help: nobody else runs meanwhile. */
	circuit_spin(p.c[0], 50000);
	for (i = 0; i < 16; i++) {
		EQ(p.c[0]->rx.spin.rest, 0);
		p.c[0]->rx.spin.ns = 1;
		EQ(circuit_wait(p.c[0], CIRCUIT_IN, 1), 0);
	}
	EQ(p.c[0]->rx.spin.ns, 0);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 1), 0);
	EQ(p.c[0]->rx.spin.ns, 0);
	CHECK(p.c[0]->rx.spin.rest);
	end_pair(&p);
}

/*
 * Two threads at each end, one for each direction, all of which sleep whenever they can; so at each
 * end two wait for one socket. A wake-up that is lost stops all.
 */
#define ROUNDS	3000

struct half {
	struct circuit *c;
	bool writes;
	uint32_t salt;
	size_t total;
};

static void *half(void *arg)
{
	struct half *h = arg;
	uint8_t buf[1500];
	uint64_t pos = 0;
	ssize_t ret;
	size_t len;

	while (pos < h->total) {
		len = 1 + (pos * 7919) % sizeof(buf);
		if (h->writes) {
			if (len > h->total - pos)
				len = h->total - pos;
			fill_bytes(buf, len, pos, h->salt);
			ret = circuit_write(h->c, buf, len);
		} else {
			ret = circuit_read(h->c, buf, len);
			if (ret > 0)
				check_bytes(buf, ret, pos, h->salt);
		}
		if (ret == -EAGAIN) {
			ret = circuit_wait(h->c, h->writes ? CIRCUIT_OUT : CIRCUIT_IN, -1);
			CHECK(ret > 0);
			continue;
		}
		CHECK(ret > 0);
		pos += ret;
	}
	return NULL;
}

static void full_duplex(uint32_t spin)
{
	struct half h[4];
	pthread_t thread[4];
	struct pair p;
	int i;

	make_pair(&p, 4096, 4096, 0);
	for (i = 0; i < 4; i++) {
		h[i] = (struct half) { .c = p.c[i / 2], .writes = i % 2, .total = ROUNDS * 750,
				       .salt = (i == 1 || i == 2) ? 1 : 2 };
		circuit_spin(p.c[i / 2], spin);
	}
	for (i = 0; i < 4; i++)
		EQ(pthread_create(&thread[i], NULL, half, &h[i]), 0);
	for (i = 0; i < 4; i++)
		EQ(pthread_join(thread[i], NULL), 0);
	end_pair(&p);
}

TEST(two_threads_sleep)
{
	full_duplex(0);
}

TEST(two_threads_spin_and_sleep)
{
	full_duplex(3000);
}

/* The one who watches the socket leaves: the other takes over, and hears of the end. */
static void *reader(void *arg)
{
	char buf[8];
	ssize_t ret;

	do {
		ret = circuit_read(arg, buf, 8);
		if (ret == -EAGAIN)
			CHECK(circuit_wait(arg, CIRCUIT_IN, -1) > 0);
	} while (ret > 0 || ret == -EAGAIN);
	return (void *)(intptr_t)ret;
}

static void *writer(void *arg)
{
	static char buf[4096];
	ssize_t ret;

	do {
		ret = circuit_write(arg, buf, sizeof(buf));
		if (ret == -EAGAIN)
			CHECK(circuit_wait(arg, CIRCUIT_OUT, -1) > 0);
	} while (ret > 0 || ret == -EAGAIN);
	return (void *)(intptr_t)ret;
}

TEST(both_threads_hear_of_the_end)
{
	pthread_t t[2];
	struct pair p;
	void *ret;
	int i;

	for (i = 0; i < 50; i++) {
		make_pair(&p, 4096, 4096, 0);
		circuit_spin(p.c[0], 0);
		EQ(pthread_create(&t[0], NULL, reader, p.c[0]), 0);
		EQ(pthread_create(&t[1], NULL, writer, p.c[0]), 0);
		EQ(circuit_write(p.c[1], "x", 1), 1);
		while (__atomic_load_n(&p.c[0]->tx.spin.sleeps, __ATOMIC_RELAXED) == 0)
			sched_yield();
		circuit_detach(p.c[1]);
		close(p.fd[1]);
		EQ(pthread_join(t[0], &ret), 0);
		EQ((intptr_t)ret, -ECONNRESET);
		EQ(pthread_join(t[1], &ret), 0);
		EQ((intptr_t)ret, -ECONNRESET);
		circuit_close(p.c[0]);
		close(p.fd[0]);
	}
}
