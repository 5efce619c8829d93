// SPDX-License-Identifier: GPL-2.0
/* circuit stat: what lines have done so far */
#include <stdio.h>
#include <string.h>
#include "circuit.h"

#define BAR 40

/* One row for each power of two that calls took. */
static void print_setups(const struct setups *s)
{
	uint64_t rows[CIRCUIT_SETUPS / CIRCUIT_SETUP_STEPS] = {}, most = 0;
	int i, first = -1, last = -1, n = CIRCUIT_SETUPS / CIRCUIT_SETUP_STEPS;
	char from[TIME_STRLEN], to[TIME_STRLEN];

	for (i = 0; i < CIRCUIT_SETUPS; i++)
		rows[i / CIRCUIT_SETUP_STEPS] += s->count[i];
	for (i = 0; i < n; i++) {
		if (!rows[i])
			continue;
		if (first < 0)
			first = i;
		last = i;
		if (rows[i] > most)
			most = rows[i];
	}
	for (i = first; i >= 0 && i <= last; i++) {
		out_newline();
		time_text(setups_floor(i * CIRCUIT_SETUP_STEPS), from);
		if (i < n - 1)
			time_text(setups_floor((i + 1) * CIRCUIT_SETUP_STEPS), to);
		else
			strcpy(to, "more");
		out_text("%7s - %-7s %8llu |%.*s", from, to, (unsigned long long)rows[i],
			 (int)((rows[i] * BAR + most - 1) / most),
			 "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
	}
}

static void print_time(const char *key, const char *text, uint64_t ns)
{
	char time[TIME_STRLEN];

	if (opt.json)
		out_u64(key, "", ns);
	else
		out_text("%s %s", text, time_text(ns, time));
}

static int print_stat(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_LINE_MAX + 1];
	struct times queued, served;
	struct setups setups;
	int i;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_LINE_MAX);
	times_get(tb[CIRCUIT_A_LINE_QUEUED], &queued);
	times_get(tb[CIRCUIT_A_LINE_SERVED], &served);
	setups_get(tb[CIRCUIT_A_LINE_SETUPS], &setups);
	out_open();
	out_name("name", "", nl_str(tb[CIRCUIT_A_LINE_NAME]));
	out_state("state", "", line_state_name(nl_u32(tb[CIRCUIT_A_LINE_STATE])));
	print_line_counters(tb);
	out_newline();
	out_text("work in threads:");
	out_u64("looks", "looks", times_total(&served));
	print_time("queued-p50-ns", "waited", times_quantile(&queued, 500));
	print_time("queued-p99-ns", "99 %", times_quantile(&queued, 990));
	print_time("served-p50-ns", "took", times_quantile(&served, 500));
	print_time("served-p99-ns", "99 %", times_quantile(&served, 990));
	out_newline();
	out_text("set-up of calls:");
	out_u64("setups", "connected", setups_total(&setups));
	print_time("setup-p50-ns", "half in", setups_quantile(&setups, 500));
	print_time("setup-p99-ns", "99 % in", setups_quantile(&setups, 990));
	if (opt.json) {
		out_list("setup-histogram");
		for (i = 0; i < CIRCUIT_SETUPS; i++) {
			if (!setups.count[i])
				continue;
			out_open();
			out_u64("from-ns", "", setups_floor(i));
			out_u64("calls", "", setups.count[i]);
			out_close();
		}
		out_list_end();
	} else {
		print_setups(&setups);
	}
	out_close();
	return MNL_CB_OK;
}

int do_stat(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	int ret;

	if (argc > 1)
		return usage_error("stat: one line, or all of them");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_LINE_GET, argc ? NLM_F_ACK : NLM_F_DUMP);
	if (argc)
		mnl_attr_put_strz(nlh, CIRCUIT_A_LINE_NAME, argv[0]);
	out_begin();
	ret = nl_talk(nlh, print_stat, NULL);
	out_end();
	return ret;
}
