// SPDX-License-Identifier: GPL-2.0
/*
 * lib_test [--seed N] [TEST...] - the tests of libcircuit, natively. Prints "ok - NAME" or "not ok
 * - NAME" of each.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/wait.h>
#include <time.h>
#include "lib_test.h"

#define LIMIT	300	/* seconds that a test may take, of which it needs a few */

struct test *tests;
static uint64_t state;

void fail(const char *file, int line, const char *what)
{
	printf("#   %s:%d: %s\n", file, line, what);
	fflush(stdout);
	_exit(1);
}

void equal(const char *file, int line, const char *what, long long got, long long want)
{
	if (got == want)
		return;
	printf("#   %s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
	fflush(stdout);
	_exit(1);
}

uint32_t rnd(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state >> 32;
}

void fill_bytes(void *p, size_t len, uint64_t pos, uint32_t salt)
{
	uint8_t *b = p;
	size_t i;

	for (i = 0; i < len; i++)
		b[i] = byte_at(pos + i, salt);
}

void check_bytes(const void *p, size_t len, uint64_t pos, uint32_t salt)
{
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i < len; i++)
		if (b[i] != byte_at(pos + i, salt))
			EQ(b[i], byte_at(pos + i, salt));
}

void make_pair_at(struct pair *p, size_t size0, size_t size1, unsigned int flags, uint32_t i0,
		  uint32_t i1)
{
	EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd), 0);
	EQ(circuit_offer_at(&p->c[0], p->fd[0], size0, size1, flags, i0, i1), 0);
	EQ(circuit_accept(&p->c[1], p->fd[1], 0), 0);
}

void make_pair(struct pair *p, size_t size0, size_t size1, unsigned int flags)
{
	EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd), 0);
	EQ(circuit_offer(&p->c[0], p->fd[0], size0, size1, flags), 0);
	EQ(circuit_accept(&p->c[1], p->fd[1], 0), 0);
}

void end_pair(struct pair *p)
{
	circuit_close(p->c[0]);
	circuit_close(p->c[1]);
	close(p->fd[0]);
	close(p->fd[1]);
}

int fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool run(const struct test *t, uint64_t seed)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(LIMIT);
		state = seed;
		t->run();
		fflush(stdout);
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		printf("#   ended by signal %d\n", WTERMSIG(status));
	return status == 0;
}

int main(int argc, char **argv)
{
	int passed = 0, failed = 0, i, only = 1;
	uint64_t seed = time(NULL);
	struct test *t;
	bool wanted;

	if (argc > 2 && !strcmp(argv[1], "--seed")) {
		seed = strtoull(argv[2], NULL, 0);
		only = 3;
	}
	printf("# seed %llu\n", (unsigned long long)seed);
	for (t = tests; t; t = t->next) {
		wanted = only >= argc;
		for (i = only; i < argc; i++)
			wanted |= !strcmp(argv[i], t->name);
		if (!wanted)
			continue;
		if (run(t, seed)) {
			printf("ok - %s\n", t->name);
			passed++;
		} else {
			printf("not ok - %s\n", t->name);
			failed++;
		}
	}
	printf("# passed %d failed %d\n", passed, failed);
	return failed || !passed;
}
