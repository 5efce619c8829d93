// SPDX-License-Identifier: GPL-2.0
/* circuit monitor */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "circuit.h"

static int print_event(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_EVENT_MAX + 1];
	char addr[INET6_ADDRSTRLEN];
	uint64_t ns;
	uint32_t reason;

	(void)data;
	out_open();
	if (!nlh) {
		out_str("event", "", "events-lost");
		out_close();
		return MNL_CB_OK;
	}
	nl_parse(nlh, tb, CIRCUIT_A_EVENT_MAX);
	ns = nl_u64(tb[CIRCUIT_A_EVENT_TIME]);
	if (opt.timestamp && !opt.json) {
		time_t s = ns / 1000000000;
		char text[32];

		strftime(text, sizeof(text), "%F %T", localtime(&s));
		out_text("%s.%06u", text, (unsigned int)(ns % 1000000000 / 1000));
	}
	out_json_only_u64("time", ns);
	out_state("event", "", event_name(nl_u32(tb[CIRCUIT_A_EVENT_TYPE])));
	if (tb[CIRCUIT_A_EVENT_LINE])
		out_str("line", "line", nl_str(tb[CIRCUIT_A_EVENT_LINE]));
	if (tb[CIRCUIT_A_EVENT_PEER])
		out_str("peer", "peer", nl_str(tb[CIRCUIT_A_EVENT_PEER]));
	if (tb[CIRCUIT_A_EVENT_ADDR])
		out_str("addr", "addr", nl_addr(tb[CIRCUIT_A_EVENT_ADDR], addr));
	if (tb[CIRCUIT_A_EVENT_PORT])
		out_u64("port", "port", nl_u32(tb[CIRCUIT_A_EVENT_PORT]));
	if (tb[CIRCUIT_A_EVENT_CIRCUIT])
		out_u64("circuit", "circuit", nl_u64(tb[CIRCUIT_A_EVENT_CIRCUIT]));
	reason = nl_u32(tb[CIRCUIT_A_EVENT_REASON]);
	if (reason)
		out_str("reason", "reason", reason_name(reason));
	if (tb[CIRCUIT_A_EVENT_RULE])
		out_u64("rule", "rule", nl_u32(tb[CIRCUIT_A_EVENT_RULE]));
	if (tb[CIRCUIT_A_EVENT_GENERATION])
		out_u64("generation", "generation", nl_u32(tb[CIRCUIT_A_EVENT_GENERATION]));
	out_close();
	fflush(stdout);
	return MNL_CB_OK;
}

int do_monitor(int argc, char **argv)
{
	/* The last has only what another tells as well. */
	static const char *const all[] = {
		CIRCUIT_MCGRP_LINE, CIRCUIT_MCGRP_CALL, CIRCUIT_MCGRP_POLICY,
		CIRCUIT_MCGRP_VIOLATION,
	};
	const char *groups[4];
	size_t i, n = 0;

	for (; argc; argc--, argv++) {
		for (i = 0; i < 4 && strcmp(all[i], argv[0]); i++)
			;
		if (i == 4)
			return usage_error("monitor: line, call, policy or violation, not '%s'",
					   argv[0]);
		if (n == 4)
			return usage_error("monitor: each of them once");
		groups[n++] = all[i];
	}
	return n ? nl_listen(groups, n, print_event, NULL) : nl_listen(all, 3, print_event, NULL);
}
