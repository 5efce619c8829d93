/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of libcircuit have in common. Each test is a process of its own, so that it may
 * crash.
 */
#ifndef LIB_TEST_H
#define LIB_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../lib/internal.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};
extern struct test *tests;

#define TEST(id)								\
	static void test_##id(void);						\
	static struct test entry_##id = { .name = #id, .run = test_##id };	\
	__attribute__((constructor)) static void add_##id(void)			\
	{									\
		entry_##id.next = tests;					\
		tests = &entry_##id;						\
	}									\
	static void test_##id(void)

#define CHECK(x)	do { if (!(x)) fail(__FILE__, __LINE__, #x); } while (0)
#define EQ(x, y)	equal(__FILE__, __LINE__, #x, (long long)(x), (long long)(y))

_Noreturn void fail(const char *file, int line, const char *what);
void equal(const char *file, int line, const char *what, long long got, long long want);

/* Reproducible from the seed, which is printed. */
uint32_t rnd(void);
static inline uint32_t below(uint32_t n)
{
	return n ? rnd() % n : 0;
}

/* The byte at that place of a stream; streams differ by @salt. */
static inline uint8_t byte_at(uint64_t pos, uint32_t salt)
{
	uint64_t x = (pos + salt) * 0x9e3779b97f4a7c15ull;

	return x >> 56;
}
void fill_bytes(void *p, size_t len, uint64_t pos, uint32_t salt);
void check_bytes(const void *p, size_t len, uint64_t pos, uint32_t salt);

/* Both ends of a circuit in this process, and the two ends of its socket. */
struct pair {
	struct circuit *c[2];
	int fd[2];
};
void make_pair(struct pair *p, size_t size0, size_t size1, unsigned int flags);
void make_pair_at(struct pair *p, size_t size0, size_t size1, unsigned int flags, uint32_t i0,
		  uint32_t i1);
void end_pair(struct pair *p);
int fds_open(void);

#endif /* LIB_TEST_H */
