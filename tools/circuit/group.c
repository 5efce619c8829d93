// SPDX-License-Identifier: GPL-2.0
/* circuit group */
#include <string.h>
#include "circuit.h"

static const struct setting settings[] = {
	{ "circuits", CIRCUIT_A_GROUP_CIRCUITS_MAX, SETTING_LIMIT },
	{ "listeners", CIRCUIT_A_GROUP_LISTENERS_MAX, SETTING_LIMIT },
	{ "pending", CIRCUIT_A_GROUP_PENDING_MAX, SETTING_LIMIT },
	{ "memory", CIRCUIT_A_GROUP_MEMORY_MAX, SETTING_LIMIT },
	{ "calls", CIRCUIT_A_GROUP_CALLS_MAX, SETTING_RATE },
	{ "send", CIRCUIT_A_GROUP_SEND_MAX, SETTING_BYTE_RATE },
	{ "receive", CIRCUIT_A_GROUP_RECEIVE_MAX, SETTING_BYTE_RATE },
	{ "send-messages", CIRCUIT_A_GROUP_SEND_MESSAGES_MAX, SETTING_RATE },
	{ "receive-messages", CIRCUIT_A_GROUP_RECEIVE_MESSAGES_MAX, SETTING_RATE },
	{ "doorbells", CIRCUIT_A_GROUP_DOORBELLS_MAX, SETTING_RATE },
	{ "weight", CIRCUIT_A_GROUP_WEIGHT, SETTING_COUNT },
	{ "cpu", CIRCUIT_A_GROUP_CPU_MAX, SETTING_PERCENT },
	{}
};

static int group_set(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	const struct setting *setting;
	uint64_t value;
	int n;

	if (argc < 2)
		return usage_error(argc ? "group set: what?" : "group set: which?");
	for (n = 1; n < argc; n += 2)	/* before anybody is asked anything */
		if (!setting_parse("group", settings, argc - n, argv + n, &value))
			return EXIT_USAGE;
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_GROUP_SET, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CIRCUIT_A_GROUP_NAME, argv[0]);
	for (n = 1; n < argc; n += 2) {
		setting = setting_parse("group", settings, argc - n, argv + n, &value);
		setting_put(nlh, setting, value);
	}
	return nl_talk(nlh, NULL, NULL);
}

static int group_del(int argc, char **argv)
{
	struct nlmsghdr *nlh;

	if (argc != 1)
		return usage_error("group del: one group at a time");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_GROUP_DEL, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CIRCUIT_A_GROUP_NAME, argv[0]);
	return nl_talk(nlh, NULL, NULL);
}

/* One of a group's limits, if there is one; returns whether there is. */
static bool print_limit(const struct setting *s, const struct nlattr *attr, bool any)
{
	bool rate = s->kind == SETTING_RATE || s->kind == SETTING_BYTE_RATE;
	uint64_t max = setting_is_u32(s) ? nl_u32(attr) : nl_u64(attr);
	char key[32];

	if (!attr || (s->kind != SETTING_LIMIT && !max))
		return false;
	if (!any) {
		out_newline();
		out_text("limits:");
	}
	snprintf(key, sizeof(key), s->kind == SETTING_COUNT ? "%s" : "%s-max", s->name);
	if (s->kind == SETTING_BYTE_RATE || s->attr == CIRCUIT_A_GROUP_MEMORY_MAX)
		out_size(key, s->name, max);
	else
		out_u64(key, s->name, max);
	if (rate)
		out_unit("/s");
	if (s->kind == SETTING_PERCENT)
		out_unit("%");
	return true;
}

static int print_group(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_GROUP_MAX + 1];
	const struct setting *s;
	bool any = false;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_GROUP_MAX);
	out_open();
	out_name("name", "", nl_str(tb[CIRCUIT_A_GROUP_NAME]));
	out_u64("lines", "lines", nl_u32(tb[CIRCUIT_A_GROUP_LINES]));
	out_u64("circuits", "circuits", nl_u64(tb[CIRCUIT_A_GROUP_CIRCUITS]));
	out_u64("listeners", "listeners", nl_u64(tb[CIRCUIT_A_GROUP_LISTENERS]));
	out_u64("pending", "pending", nl_u64(tb[CIRCUIT_A_GROUP_PENDING]));
	out_size("memory", "memory", nl_u64(tb[CIRCUIT_A_GROUP_MEMORY]));
	for (s = settings; s->name; s++)
		any |= print_limit(s, tb[s->attr], any);
	if (opt.stats || opt.json) {
		out_newline();
		out_u64("calls-limited", "calls beyond the limit", nl_u64(tb[CIRCUIT_A_GROUP_CALLS_LIMITED]));
		out_u64("send-waits", "waits to send", nl_u64(tb[CIRCUIT_A_GROUP_SEND_WAITS]));
		out_u64("receive-waits", "to receive", nl_u64(tb[CIRCUIT_A_GROUP_RECEIVE_WAITS]));
		out_u64("send-messages-waits", "to send messages",
			nl_u64(tb[CIRCUIT_A_GROUP_SEND_MESSAGES_WAITS]));
		out_u64("receive-messages-waits", "to receive messages",
			nl_u64(tb[CIRCUIT_A_GROUP_RECEIVE_MESSAGES_WAITS]));
		out_newline();
		out_text("together:");
		out_u64("bytes-out", "bytes out", nl_u64(tb[CIRCUIT_A_GROUP_BYTES_OUT]));
		out_u64("bytes-in", "in", nl_u64(tb[CIRCUIT_A_GROUP_BYTES_IN]));
		out_u64("doorbells", "doorbells", nl_u64(tb[CIRCUIT_A_GROUP_DOORBELLS]));
		out_u64("interrupts", "interrupts", nl_u64(tb[CIRCUIT_A_GROUP_INTERRUPTS]));
		out_u64("messages", "messages", nl_u64(tb[CIRCUIT_A_GROUP_MESSAGES]));
		print_cpu(tb[CIRCUIT_A_GROUP_CPU_TIME], tb + CIRCUIT_A_GROUP_CPU_RELAY);
	}
	out_close();
	return MNL_CB_OK;
}

static int group_show(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	int ret;

	if (argc > 1)
		return usage_error("group show: one group, or all of them");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_GROUP_GET, argc ? NLM_F_ACK : NLM_F_DUMP);
	if (argc)
		mnl_attr_put_strz(nlh, CIRCUIT_A_GROUP_NAME, argv[0]);
	out_begin();
	ret = nl_talk(nlh, print_group, NULL);
	out_end();
	return ret;
}

static const struct command group_commands[] = {
	{ "set", group_set },
	{ "del", group_del },
	{ "show", group_show },
	{}
};

int do_group(int argc, char **argv)
{
	return argc ? dispatch(group_commands, "group", argc, argv) : group_show(0, NULL);
}
