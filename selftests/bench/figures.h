/* SPDX-License-Identifier: GPL-2.0 */
/*
 * figures.h - how the programs here print what they have measured: one line of NAME=VALUE.
 *
 *	n=N or bytes=N, ns=N		how much, in which time
 *	n=N mean=NS p0=NS ... p100=NS	how long each took: the mean, and quantiles; p999 is of 99.9 %
 *
 * A latency comes with others only where nothing else has an n.
 */
#ifndef FIGURES_H
#define FIGURES_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * How many pieces of so many bytes to send before the clock is looked at again: that takes as long
 * as something small does to be sent.
 */
static inline unsigned int figures_pieces(size_t size)
{
	size_t n = size ? (16u << 10) / size : 64;

	return n < 1 ? 1 : n > 64 ? 64 : n;
}

static inline int figures_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts ns. The least that so many are not above. */
static inline void figures_quantiles(uint64_t *ns, size_t n)
{
	static const struct {
		const char *name;
		unsigned int mille;
	} of[] = {
		{ "p0", 0 }, { "p1", 10 }, { "p10", 100 }, { "p25", 250 }, { "p50", 500 }, { "p75", 750 },
		{ "p90", 900 }, { "p99", 990 }, { "p999", 999 }, { "p100", 1000 },
	};
	double sum = 0;
	size_t i, at;

	if (!n) {
		fprintf(stderr, "nothing was measured\n");
		exit(1);
	}
	qsort(ns, n, sizeof(*ns), figures_order);
	for (i = 0; i < n; i++)
		sum += ns[i];
	printf("mean=%.0f", sum / n);
	for (i = 0; i < sizeof(of) / sizeof(*of); i++) {
		at = (n * of[i].mille + 999) / 1000;
		printf(" %s=%" PRIu64, of[i].name, ns[at ? at - 1 : 0]);
	}
}

#endif /* FIGURES_H */
