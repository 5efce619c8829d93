// SPDX-License-Identifier: GPL-2.0
/* circuit line */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/genetlink.h>
#include "circuit.h"

static const struct {
	const char *name;
	uint16_t attr;
	bool wide;
} settings[] = {
	{ "window", CIRCUIT_A_LINE_WINDOW, true },
	{ "memory", CIRCUIT_A_LINE_MEMORY_MAX, true },
	{ "circuits", CIRCUIT_A_LINE_CIRCUITS_MAX },
	{ "pending", CIRCUIT_A_LINE_PENDING_MAX },
	{ "listeners", CIRCUIT_A_LINE_LISTENERS_MAX },
	{ "ring", CIRCUIT_A_LINE_RING_MAX },
	{ "ring-default", CIRCUIT_A_LINE_RING_DEFAULT },
	{ "calls", CIRCUIT_A_LINE_CALLS_MAX },
};

/* What a line has several of, by name. */
static const struct list {
	const char *name;
	const char *key;
	uint16_t attr;
	uint16_t none;
} lists[] = {
	{ "trunk", "trunks", CIRCUIT_A_LINE_TRUNK, CIRCUIT_A_LINE_NO_TRUNK },
	{ "group", "groups", CIRCUIT_A_LINE_GROUP, CIRCUIT_A_LINE_NO_GROUP },
};

#define LISTS (sizeof(lists) / sizeof(lists[0]))

static const struct list *find_list(const char *name)
{
	size_t i;

	for (i = 0; i < LISTS; i++)
		if (!strcmp(lists[i].name, name))
			return &lists[i];
	return NULL;
}

/* One "NAME VALUE" of the command line; returns its place in settings[], or -1. */
static int parse_setting(int argc, char **argv, uint64_t *value)
{
	size_t i, n = sizeof(settings) / sizeof(settings[0]);

	for (i = 0; i < n && strcmp(settings[i].name, argv[0]); i++)
		;
	if (i == n)
		usage_error("line: no setting is called '%s'", argv[0]);
	else if (argc < 2)
		usage_error("line: %s needs a value", argv[0]);
	else if (settings[i].attr == CIRCUIT_A_LINE_CALLS_MAX ? parse_rate(argv[1], value) :
		 parse_size(argv[1], value) || (!settings[i].wide && *value > UINT32_MAX))
		usage_error("line: %s: '%s' is not a number or too large", argv[0], argv[1]);
	else
		return i;
	return -1;
}

/* "addr ADDRESS" or "addr none": the length of the address, 0 for none, or -1. */
static int parse_addr(int argc, char **argv, void *addr)
{
	size_t size;

	if (argc < 2) {
		usage_error("line: addr needs a value");
		return -1;
	}
	if (!strcmp(argv[1], "none"))
		return 0;
	size = parse_ip(argv[1], addr);
	if (size)
		return size;
	usage_error("line: addr: '%s' is not an IP address", argv[1]);
	return -1;
}

static int line_request(uint8_t cmd, int argc, char **argv)
{
	const struct list *list;
	struct in6_addr addr;
	struct nlmsghdr *nlh;
	uint64_t value;
	int i, n;

	if (!argc)
		return usage_error("line: which?");
	for (n = 1; n < argc; n += 2) {	/* before anybody is asked anything */
		if (find_list(argv[n]))
			i = n + 1 < argc ? 0 : -usage_error("line: %s needs a name", argv[n]);
		else if (!strcmp(argv[n], "addr"))
			i = parse_addr(argc - n, argv + n, &addr);
		else
			i = parse_setting(argc - n, argv + n, &value);
		if (i < 0)
			return EXIT_USAGE;
	}
	nlh = nl_request(&nl_operator, cmd, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CIRCUIT_A_LINE_NAME, argv[0]);
	for (n = 1; n < argc; n += 2) {
		list = find_list(argv[n]);
		if (list) {
			if (strcmp(argv[n + 1], "none"))
				mnl_attr_put_strz(nlh, list->attr, argv[n + 1]);
			else
				mnl_attr_put(nlh, list->none, 0, NULL);
			continue;
		}
		if (!strcmp(argv[n], "addr")) {
			i = parse_addr(argc - n, argv + n, &addr);
			if (i)
				mnl_attr_put(nlh, CIRCUIT_A_LINE_ADDR, i, &addr);
			else
				mnl_attr_put(nlh, CIRCUIT_A_LINE_NO_ADDR, 0, NULL);
			continue;
		}
		i = parse_setting(argc - n, argv + n, &value);
		if (settings[i].wide)
			mnl_attr_put_u64(nlh, settings[i].attr, value);
		else
			mnl_attr_put_u32(nlh, settings[i].attr, value);
	}
	return nl_talk(nlh, NULL, NULL);
}

static int line_add(int argc, char **argv)
{
	return line_request(CIRCUIT_CMD_LINE_NEW, argc, argv);
}

static int line_set(int argc, char **argv)
{
	if (argc == 1)
		return usage_error("line set: what?");
	return line_request(CIRCUIT_CMD_LINE_SET, argc, argv);
}

static int line_del(int argc, char **argv)
{
	if (argc > 1)
		return usage_error("line del: one line at a time");
	return line_request(CIRCUIT_CMD_LINE_DEL, argc, argv);
}

static void print_addrs(const struct nlmsghdr *nlh)
{
	char text[INET6_ADDRSTRLEN];
	const struct list *list;
	const struct nlattr *a;
	bool any = false;

	out_list("addrs");
	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(a) != CIRCUIT_A_LINE_ADDR)
			continue;
		if (!any)
			out_newline();
		any = true;
		out_item("addr", nl_addr(a, text));
	}
	out_list_end();
	for (list = lists; list < lists + LISTS; list++) {
		out_list(list->key);
		mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr)) {
			if (mnl_attr_get_type(a) != list->attr)
				continue;
			if (!any)
				out_newline();
			any = true;
			out_item(list->name, mnl_attr_get_str(a));
		}
		out_list_end();
	}
}

void print_line_counters(const struct nlattr **tb)
{
	out_newline();
	out_text("calls:");
	out_u64("calls-out", "out", nl_u64(tb[CIRCUIT_A_LINE_CALLS_OUT]));
	out_u64("calls-in", "in", nl_u64(tb[CIRCUIT_A_LINE_CALLS_IN]));
	out_u64("calls-refused", "refused", nl_u64(tb[CIRCUIT_A_LINE_CALLS_REFUSED]));
	out_u64("calls-limited", "limited", nl_u64(tb[CIRCUIT_A_LINE_CALLS_LIMITED]));
	out_u64("calls-native", "native", nl_u64(tb[CIRCUIT_A_LINE_CALLS_NATIVE]));
	out_u64("resets", "resets", nl_u64(tb[CIRCUIT_A_LINE_RESETS]));
	out_u64("violations", "violations", nl_u64(tb[CIRCUIT_A_LINE_VIOLATIONS]));
	out_newline();
	out_text("bytes:");
	out_u64("bytes-out", "out", nl_u64(tb[CIRCUIT_A_LINE_BYTES_OUT]));
	out_u64("bytes-in", "in", nl_u64(tb[CIRCUIT_A_LINE_BYTES_IN]));
	out_newline();
	out_text("events:");
	out_u64("doorbells", "doorbells", nl_u64(tb[CIRCUIT_A_LINE_DOORBELLS]));
	out_u64("interrupts", "interrupts", nl_u64(tb[CIRCUIT_A_LINE_INTERRUPTS]));
	out_u64("messages", "messages", nl_u64(tb[CIRCUIT_A_LINE_MESSAGES]));
}

static int print_line(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_LINE_MAX + 1];

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_LINE_MAX);
	out_open();
	out_name("name", "", nl_str(tb[CIRCUIT_A_LINE_NAME]));
	out_json_only_u64("id", nl_u32(tb[CIRCUIT_A_LINE_ID]));
	out_state("state", "state", line_state_name(nl_u32(tb[CIRCUIT_A_LINE_STATE])));
	out_json_only_u64("epoch", nl_u32(tb[CIRCUIT_A_LINE_EPOCH]));
	out_u64("circuits", "circuits", nl_u32(tb[CIRCUIT_A_LINE_CIRCUITS]));
	out_u64("listeners", "listeners", nl_u32(tb[CIRCUIT_A_LINE_LISTENERS]));
	out_u64("pending", "pending", nl_u32(tb[CIRCUIT_A_LINE_PENDING]));
	out_size("memory", "memory", nl_u64(tb[CIRCUIT_A_LINE_MEMORY]));
	print_addrs(nlh);
	out_newline();
	out_text("limits:");
	out_u64("circuits-max", "circuits", nl_u32(tb[CIRCUIT_A_LINE_CIRCUITS_MAX]));
	out_u64("listeners-max", "listeners", nl_u32(tb[CIRCUIT_A_LINE_LISTENERS_MAX]));
	out_u64("pending-max", "pending", nl_u32(tb[CIRCUIT_A_LINE_PENDING_MAX]));
	out_size("memory-max", "memory", nl_u64(tb[CIRCUIT_A_LINE_MEMORY_MAX]));
	out_size("window", "window", nl_u64(tb[CIRCUIT_A_LINE_WINDOW]));
	out_size("ring-max", "ring", nl_u32(tb[CIRCUIT_A_LINE_RING_MAX]));
	out_size("ring-default", "ring-default", nl_u32(tb[CIRCUIT_A_LINE_RING_DEFAULT]));
	if (nl_u32(tb[CIRCUIT_A_LINE_CALLS_MAX]) || opt.json) {
		out_u64("calls-max", "calls", nl_u32(tb[CIRCUIT_A_LINE_CALLS_MAX]));
		out_text("/s");
	}
	if (opt.stats)
		print_line_counters(tb);
	out_close();
	return MNL_CB_OK;
}

static int line_show(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	int ret;

	if (argc > 1)
		return usage_error("line show: one line, or all of them");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_LINE_GET, argc ? NLM_F_ACK : NLM_F_DUMP);
	if (argc)
		mnl_attr_put_strz(nlh, CIRCUIT_A_LINE_NAME, argv[0]);
	out_begin();
	ret = nl_talk(nlh, print_line, NULL);
	out_end();
	return ret;
}

static const struct command line_commands[] = {
	{ "add", line_add },
	{ "set", line_set },
	{ "del", line_del },
	{ "show", line_show },
	{ "run", do_line_run },
	{}
};

int do_line(int argc, char **argv)
{
	return argc ? dispatch(line_commands, "line", argc, argv) : line_show(0, NULL);
}
