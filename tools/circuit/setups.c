// SPDX-License-Identifier: GPL-2.0
/*
 * How long calls took to be set up, and work has waited and taken: what the operator counts, see
 * linux/circuit_netlink.h.
 */
#include <stdio.h>
#include <string.h>
#include "circuit.h"

/* Take the counts out of a message; those that it does not have are zero. */
void setups_get(const struct nlattr *a, struct setups *s)
{
	size_t len;

	memset(s, 0, sizeof(*s));
	if (!a)
		return;
	len = mnl_attr_get_payload_len(a);
	memcpy(s->count, mnl_attr_get_payload(a), len < sizeof(s->count) ? len : sizeof(s->count));
}

/* The least that a call in class @i took, in ns. */
uint64_t setups_floor(unsigned int i)
{
	if (!i)
		return 0;
	return ((uint64_t)(CIRCUIT_SETUP_STEPS + i % CIRCUIT_SETUP_STEPS) <<
		(CIRCUIT_SETUP_SHIFT + i / CIRCUIT_SETUP_STEPS)) / CIRCUIT_SETUP_STEPS;
}

uint64_t setups_total(const struct setups *s)
{
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < CIRCUIT_SETUPS; i++)
		total += s->count[i];
	return total;
}

/* So many of a thousand calls took less than this, in ns; 0 if there were none. */
uint64_t setups_quantile(const struct setups *s, unsigned int per_mille)
{
	uint64_t total = setups_total(s), sum = 0;
	unsigned int i;

	for (i = 0; i < CIRCUIT_SETUPS; i++) {
		sum += s->count[i];
		if (sum && sum * 1000 >= total * per_mille)
			return setups_floor(i + 1);
	}
	return 0;
}

void setups_sub(struct setups *s, const struct setups *before)
{
	unsigned int i;

	for (i = 0; i < CIRCUIT_SETUPS; i++)
		s->count[i] -= before->count[i];
}

void times_get(const struct nlattr *a, struct times *t)
{
	size_t len;

	memset(t, 0, sizeof(*t));
	if (!a)
		return;
	len = mnl_attr_get_payload_len(a);
	memcpy(t->count, mnl_attr_get_payload(a), len < sizeof(t->count) ? len : sizeof(t->count));
}

uint64_t times_total(const struct times *t)
{
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < CIRCUIT_TIMES; i++)
		total += t->count[i];
	return total;
}

/* So many of a thousand took less than this, in ns; 0 if there were none. */
uint64_t times_quantile(const struct times *t, unsigned int per_mille)
{
	uint64_t total = times_total(t), sum = 0;
	unsigned int i;

	for (i = 0; i < CIRCUIT_TIMES; i++) {
		sum += t->count[i];
		if (sum && sum * 1000 >= total * per_mille)
			return 2ull << (CIRCUIT_TIME_SHIFT + i);
	}
	return 0;
}

void times_sub(struct times *t, const struct times *before)
{
	unsigned int i;

	for (i = 0; i < CIRCUIT_TIMES; i++)
		t->count[i] -= before->count[i];
}

/* A time with three digits and its unit; @text has TIME_STRLEN bytes. */
const char *time_text(uint64_t ns, char *text)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	double v = ns;
	int unit = 0;

	for (; v >= 999.5 && unit < 3; unit++)
		v /= 1000;
	snprintf(text, TIME_STRLEN, "%.*f%s", v < 9.995 && unit ? 2 : v < 99.95 && unit ? 1 : 0, v,
		 units[unit]);
	return text;
}
