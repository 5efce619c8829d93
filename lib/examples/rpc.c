// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Calls and answers in shared memory: each call is a message, its answer another, made in place.
 *
 *	rpc -l WHERE			answer: the bytes of the call, the other way round
 *	rpc [-n CALLS] [-s BYTES] [-p] WHERE
 *					call, check the answers, and print how long they took; -p:
 *					poll, never sleep
 *
 * WHERE is described in endpoint.h.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include "endpoint.h"

#define BYTES_MAX	4000

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static int answer(struct circuit *c, const struct circuit_view *call)
{
	const uint8_t *from = call->data;
	uint8_t *to;
	uint32_t i;
	int ret;

	while ((ret = circuit_msg_reserve(c, (void **)&to, call->len)) == -EAGAIN) {
		ret = circuit_wait(c, CIRCUIT_OUT, -1);
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	if (ret)
		return ret;
	/* Once each: the caller may change them meanwhile. */
	for (i = 0; i < call->len; i++)
		to[call->len - 1 - i] = from[i];
	return circuit_msg_fill(c, call->len, 0);
}

/* All calls that are there are answered, and published at once. */
static int serve(struct circuit *c)
{
	struct circuit_view calls[16];
	int n, i, ret;

	for (;;) {
		n = circuit_msg_peek(c, calls, 16);
		if (n == -EAGAIN) {
			ret = circuit_wait(c, CIRCUIT_IN, -1);
			if (ret < 0 && ret != -EINTR)
				return ret;
			continue;
		}
		if (n <= 0)
			return n;
		for (i = 0; i < n; i++) {
			ret = answer(c, &calls[i]);
			if (ret)
				return ret;
		}
		ret = circuit_msg_release(c, &calls[n - 1]);
		if (!ret)
			ret = circuit_tx_publish(c);
		if (ret)
			return ret;
	}
}

static void listen_at(const char *where)
{
	int listener = endpoint_listen(where, CIRCUIT_MESSAGES), fd, ret;
	struct circuit *c;

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		c = endpoint_accept(listener, &fd);
		if (!c)
			continue;
		if (!fork()) {
			ret = serve(c);
			circuit_close(c);
			if (ret)
				fprintf(stderr, "a client: %s\n", strerror(-ret));
			_exit(!!ret);
		}
		circuit_detach(c);	/* it is the child's */
		close(fd);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int call(const char *where, uint32_t calls, uint32_t bytes, bool poll)
{
	uint32_t *took = calloc(calls, sizeof(*took)), n, i;
	struct circuit_view v;
	struct circuit *c;
	int64_t start;
	uint8_t *to;
	int fd, ret;

	if (!took)
		die("memory", ENOMEM);
	c = endpoint_connect(where, CIRCUIT_MESSAGES, &fd);
	for (n = 0; n < calls; n++) {
		start = now();
		/* One at a time: there is room. */
		ret = circuit_msg_reserve(c, (void **)&to, bytes);
		if (ret)
			die(where, -ret);
		for (i = 0; i < bytes; i++)
			to[i] = n + i;
		ret = circuit_msg_commit(c, bytes, 0);
		while (!ret && (ret = circuit_msg_peek(c, &v, 1)) == -EAGAIN) {
			ret = poll ? 0 : circuit_wait(c, CIRCUIT_IN, -1);
			if (ret > 0 || ret == -EINTR)
				ret = 0;
		}
		if (ret != 1)
			die(where, ret < 0 ? -ret : EPIPE);
		for (i = 0; i < bytes && v.len == bytes; i++)
			if (((const uint8_t *)v.data)[i] != (uint8_t)(n + bytes - 1 - i))
				break;
		if (i < bytes || v.len != bytes)
			die("a wrong answer", EPROTO);
		ret = circuit_msg_release(c, &v);
		if (ret)
			die(where, -ret);
		took[n] = now() - start;
	}
	circuit_close(c);
	close(fd);
	qsort(took, calls, sizeof(*took), compare);
	printf("%u calls of %u bytes: p50 %.2f us, p99 %.2f us\n", calls, bytes,
	       took[calls / 2] / 1e3, took[calls - 1 - calls / 100] / 1e3);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long calls = 100000, bytes = 32;
	const char *listen = NULL;
	bool poll = false;
	int opt;

	while ((opt = getopt(argc, argv, "l:n:s:p")) != -1) {
		switch (opt) {
		case 'l': listen = optarg; break;
		case 'n': calls = strtoul(optarg, NULL, 0); break;
		case 's': bytes = strtoul(optarg, NULL, 0); break;
		case 'p': poll = true; break;
		default: goto usage;
		}
	}
	if (listen && optind == argc)
		listen_at(listen);
	if (!listen && optind + 1 == argc && calls && calls <= 100000000 && bytes <= BYTES_MAX)
		return call(argv[optind], calls, bytes, poll);
usage:
	fprintf(stderr, "usage: rpc -l WHERE\n       rpc [-n CALLS] [-s BYTES] [-p] WHERE\n");
	return 2;
}
