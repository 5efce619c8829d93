// SPDX-License-Identifier: GPL-2.0
/*
 * Two processes, as in life.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "lib_test.h"

#define TOTAL	(8 << 20)	/* bytes each way */

/* All there is to send and to receive, both at once, in one thread. Returns what ended it. */
static int both_ways(struct circuit *c, uint64_t total, uint32_t out, uint32_t in, uint64_t *got)
{
	bool ended = false;
	uint64_t sent = 0;
	unsigned int want;
	const void *from;
	ssize_t ret;
	void *to;

	for (*got = 0; !ended || sent < total;) {
		want = 0;
		if (sent < total) {
			ret = circuit_tx_reserve(c, &to, 1 + below(2000));
			if (ret > 0) {
				ret = below(2) ? ret : 1 + below(ret);
				ret = (uint64_t)ret < total - sent ? ret : (ssize_t)(total - sent);
				fill_bytes(to, ret, sent, out);
				sent += ret;
				EQ(circuit_tx_fill(c, ret), 0);
				if (below(2) || sent == total) {
					ret = circuit_tx_publish(c);
					if (ret)
						return ret;
				}
			} else if (ret != -EAGAIN) {
				return ret;
			} else {
				want |= CIRCUIT_OUT;
			}
			if (sent == total)
				EQ(circuit_shutdown(c), 0);
		}
		ret = circuit_rx_peek(c, &from, 1 + below(2000));
		if (ret > 0) {
			ret = below(2) ? ret : 1 + below(ret);
			check_bytes(from, ret, *got, in);
			*got += ret;
			ret = circuit_rx_release(c, ret);
			if (ret)
				return ret;
			continue;
		}
		if (ret != -EAGAIN && ret)
			return ret;
		ended = !ret;
		if (want || (sent == total && !ended)) {
			ret = circuit_wait(c, want | (ended ? 0 : CIRCUIT_IN), -1);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static pid_t far_end(int fd[2], uint64_t total, uint32_t spin)
{
	struct circuit *c;
	uint64_t got;
	pid_t pid;

	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pid = fork();
	if (pid) {
		close(fd[1]);
		return pid;
	}
	close(fd[0]);
	EQ(circuit_accept(&c, fd[1], 0), 0);
	circuit_spin(c, spin);
	EQ(both_ways(c, total, 2, 1, &got), 0);
	EQ(got, total);
	circuit_close(c);
	_exit(0);
}

static void stress(size_t size, uint32_t spin)
{
	struct circuit *c;
	int fd[2], status;
	uint64_t got;
	pid_t pid = far_end(fd, TOTAL, spin);

	EQ(circuit_offer(&c, fd[0], size, size * 2, 0), 0);
	circuit_spin(c, spin);
	EQ(both_ways(c, TOTAL, 1, 2, &got), 0);
	EQ(got, TOTAL);
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
	circuit_close(c);
}

TEST(processes_exchange_sleeping)
{
	stress(4096, 0);
}

TEST(processes_exchange_spinning)
{
	stress(4096, 20000);
}

TEST(processes_exchange_large)
{
	stress(256 << 10, 20000);
}

/* Whenever it is killed, what had come is right, and the end is heard of. */
TEST(process_is_killed)
{
	struct circuit *c;
	int fd[2], i, ret;
	struct timespec ts;
	uint64_t got;
	pid_t pid, killer;

	for (i = 0; i < 20; i++) {
		pid = far_end(fd, UINT64_MAX, i % 2 ? 20000 : 0);
		killer = fork();
		if (!killer) {
			ts = (struct timespec) { .tv_nsec = 1000000 + below(20) * 1000000 };
			nanosleep(&ts, NULL);
			kill(pid, SIGKILL);
			_exit(0);
		}
		ret = circuit_offer(&c, fd[0], 4096 << (i % 3), 4096, 0);
		if (ret != -EPIPE) {
			EQ(ret, 0);
			circuit_spin(c, i % 2 ? 20000 : 0);
			EQ(both_ways(c, UINT64_MAX, 1, 2, &got), -ECONNRESET);
			circuit_close(c);
		}
		close(fd[0]);
		EQ(waitpid(killer, NULL, 0), killer);
		EQ(waitpid(pid, NULL, 0), pid);
		rnd();
	}
}

/* Messages of all lengths, batched at random, with a sum over all of them. */
#define MESSAGES	200000

static uint32_t next_len(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 28 ? *x >> 16 & 31 : *x >> 8 & 2047;
}

static void send_messages(struct circuit *c)
{
	uint32_t len = 0, x = 1, i;
	void *to;
	int ret;

	for (i = 0; i < MESSAGES; i++) {
		len = next_len(&x);
		while ((ret = circuit_msg_reserve(c, &to, len)) == -EAGAIN) {
			EQ(circuit_tx_publish(c), 0);
			EQ(circuit_wait(c, CIRCUIT_OUT, -1), CIRCUIT_OUT);
		}
		EQ(ret, 0);
		fill_bytes(to, len, i, 3);
		EQ(circuit_msg_fill(c, len, i % 3 ? 0 : CIRCUIT_MESSAGE_EOR), 0);
		if (!below(10))
			EQ(circuit_tx_publish(c), 0);
	}
	EQ(circuit_shutdown(c), 0);
}

TEST(processes_exchange_messages)
{
	struct circuit_view v[16];
	struct circuit *c;
	uint32_t x = 1, i = 0;
	int fd[2], ret, j, status;
	pid_t pid;

	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pid = fork();
	if (!pid) {
		close(fd[0]);
		EQ(circuit_accept(&c, fd[1], 0), 0);
		send_messages(c);
		EQ(circuit_wait(c, CIRCUIT_IN, -1), CIRCUIT_IN);
		circuit_close(c);
		_exit(0);
	}
	close(fd[1]);
	EQ(circuit_offer(&c, fd[0], 4096, 16384, CIRCUIT_MESSAGES), 0);
	for (;;) {
		ret = circuit_msg_peek(c, v, 1 + below(16));
		if (!ret)
			break;
		if (ret == -EAGAIN) {
			EQ(circuit_wait(c, CIRCUIT_IN, -1), CIRCUIT_IN);
			continue;
		}
		CHECK(ret > 0);
		for (j = 0; j < ret; j++, i++) {
			EQ(v[j].len, next_len(&x));
			EQ(v[j].flags, i % 3 ? 0 : CIRCUIT_MESSAGE_EOR);
			check_bytes(v[j].data, v[j].len, i, 3);
		}
		EQ(circuit_msg_release(c, &v[ret - 1]), 0);
	}
	EQ(i, MESSAGES);
	circuit_close(c);
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}
