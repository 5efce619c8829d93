// SPDX-License-Identifier: GPL-2.0
/* circuit line */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/genetlink.h>
#include "circuit.h"

static const struct setting settings[] = {
	{ "window", CIRCUIT_A_LINE_WINDOW, SETTING_SIZE },
	{ "memory", CIRCUIT_A_LINE_MEMORY_MAX, SETTING_SIZE },
	{ "circuits", CIRCUIT_A_LINE_CIRCUITS_MAX, SETTING_NUMBER },
	{ "pending", CIRCUIT_A_LINE_PENDING_MAX, SETTING_NUMBER },
	{ "listeners", CIRCUIT_A_LINE_LISTENERS_MAX, SETTING_NUMBER },
	{ "ring", CIRCUIT_A_LINE_RING_MAX, SETTING_NUMBER },
	{ "ring-default", CIRCUIT_A_LINE_RING_DEFAULT, SETTING_NUMBER },
	{ "calls", CIRCUIT_A_LINE_CALLS_MAX, SETTING_RATE },
	{ "send", CIRCUIT_A_LINE_SEND_MAX, SETTING_BYTE_RATE },
	{ "receive", CIRCUIT_A_LINE_RECEIVE_MAX, SETTING_BYTE_RATE },
	{ "send-messages", CIRCUIT_A_LINE_SEND_MESSAGES_MAX, SETTING_RATE },
	{ "receive-messages", CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX, SETTING_RATE },
	{ "doorbells", CIRCUIT_A_LINE_DOORBELLS_MAX, SETTING_RATE },
	{ "cpu", CIRCUIT_A_LINE_CPU_MAX, SETTING_PERCENT },
	{ "weight", CIRCUIT_A_LINE_WEIGHT, SETTING_NUMBER },
	{ "mark", CIRCUIT_A_LINE_MARK, SETTING_NUMBER },
	{}
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
	const struct setting *setting;
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
			i = setting_parse("line", settings, argc - n, argv + n, &value) ? 0 : -1;
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
		setting = setting_parse("line", settings, argc - n, argv + n, &value);
		setting_put(nlh, setting, value);
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

/* What the operator's time was spent for, from the first attribute on that says so. */
void print_cpu(const struct nlattr *total, const struct nlattr **uses)
{
	static const char *const names[] = {
		"relay", "signalling", "policy", "trunk-send", "trunk-receive", "datagrams", "timers",
	};
	char key[32], time[TIME_STRLEN];
	unsigned int i;

	if (opt.json) {
		out_u64("cpu-ns", "", nl_u64(total));
	} else {
		out_newline();
		out_text("operator's CPU time: %s", time_text(nl_u64(total), time));
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(key, sizeof(key), "cpu-%s-ns", names[i]);
		if (opt.json)
			out_u64(key, "", nl_u64(uses[i]));
		else if (nl_u64(uses[i]))
			out_text("%s %s", names[i], time_text(nl_u64(uses[i]), time));
	}
}

/* How long the operator's work has waited for the limit of its time. */
void print_waited(const struct nlattr *attr)
{
	char time[TIME_STRLEN];

	if (opt.json)
		out_u64("cpu-waited-ns", "", nl_u64(attr));
	else if (nl_u64(attr))
		out_text("waited %s", time_text(nl_u64(attr), time));
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
	out_u64("send-waits", "waits to send", nl_u64(tb[CIRCUIT_A_LINE_SEND_WAITS]));
	out_u64("receive-waits", "to receive", nl_u64(tb[CIRCUIT_A_LINE_RECEIVE_WAITS]));
	out_u64("send-messages-waits", "to send messages",
		nl_u64(tb[CIRCUIT_A_LINE_SEND_MESSAGES_WAITS]));
	out_u64("receive-messages-waits", "to receive messages",
		nl_u64(tb[CIRCUIT_A_LINE_RECEIVE_MESSAGES_WAITS]));
	out_newline();
	out_text("events:");
	out_u64("doorbells", "doorbells", nl_u64(tb[CIRCUIT_A_LINE_DOORBELLS]));
	out_u64("doorbells-masked", "masked", nl_u64(tb[CIRCUIT_A_LINE_DOORBELLS_MASKED]));
	out_u64("doorbells-limited", "for the limit", nl_u64(tb[CIRCUIT_A_LINE_DOORBELLS_LIMITED]));
	out_u64("doorbells-storms", "for storms", nl_u64(tb[CIRCUIT_A_LINE_DOORBELLS_STORMS]));
	out_u64("interrupts", "interrupts", nl_u64(tb[CIRCUIT_A_LINE_INTERRUPTS]));
	out_u64("messages", "messages", nl_u64(tb[CIRCUIT_A_LINE_MESSAGES]));
	print_cpu(tb[CIRCUIT_A_LINE_CPU_TIME], tb + CIRCUIT_A_LINE_CPU_RELAY);
	print_waited(tb[CIRCUIT_A_LINE_CPU_WAITED]);
}

/* A limit of bytes per second, if there is one. */
void print_byte_rate(const char *key, const char *text, const struct nlattr *attr)
{
	if (!nl_u64(attr) && !opt.json)
		return;
	out_size(key, text, nl_u64(attr));
	out_unit("/s");
}

/* The same of anything else. */
static void print_rate(const char *key, const char *text, const struct nlattr *attr)
{
	if (!nl_u32(attr) && !opt.json)
		return;
	out_u64(key, text, nl_u32(attr));
	out_unit("/s");
}

static void print_percent(const char *key, const char *text, const struct nlattr *attr)
{
	if (!nl_u32(attr) && !opt.json)
		return;
	out_u64(key, text, nl_u32(attr));
	out_unit("%");
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
	print_rate("calls-max", "calls", tb[CIRCUIT_A_LINE_CALLS_MAX]);
	print_byte_rate("send-max", "send", tb[CIRCUIT_A_LINE_SEND_MAX]);
	print_byte_rate("receive-max", "receive", tb[CIRCUIT_A_LINE_RECEIVE_MAX]);
	print_rate("send-messages-max", "send-messages", tb[CIRCUIT_A_LINE_SEND_MESSAGES_MAX]);
	print_rate("receive-messages-max", "receive-messages",
		   tb[CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX]);
	print_rate("doorbells-max", "doorbells", tb[CIRCUIT_A_LINE_DOORBELLS_MAX]);
	print_percent("cpu-max", "cpu", tb[CIRCUIT_A_LINE_CPU_MAX]);
	if (opt.json || nl_u32(tb[CIRCUIT_A_LINE_WEIGHT]) != 100)
		out_u64("weight", "weight", nl_u32(tb[CIRCUIT_A_LINE_WEIGHT]));
	if (opt.json || nl_u32(tb[CIRCUIT_A_LINE_MARK]))
		out_u64("mark", "mark", nl_u32(tb[CIRCUIT_A_LINE_MARK]));
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
