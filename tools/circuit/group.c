// SPDX-License-Identifier: GPL-2.0
/* circuit group */
#include <string.h>
#include "circuit.h"

static const struct {
	const char *name;
	uint16_t max;
	uint16_t used;
} settings[] = {
	{ "circuits", CIRCUIT_A_GROUP_CIRCUITS_MAX, CIRCUIT_A_GROUP_CIRCUITS },
	{ "listeners", CIRCUIT_A_GROUP_LISTENERS_MAX, CIRCUIT_A_GROUP_LISTENERS },
	{ "pending", CIRCUIT_A_GROUP_PENDING_MAX, CIRCUIT_A_GROUP_PENDING },
	{ "memory", CIRCUIT_A_GROUP_MEMORY_MAX, CIRCUIT_A_GROUP_MEMORY },
	{ "calls", CIRCUIT_A_GROUP_CALLS_MAX },
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* One "NAME VALUE"; returns its place in settings[], or -1. */
static int parse_setting(int argc, char **argv, uint64_t *value)
{
	size_t i;

	for (i = 0; i < SETTINGS && strcmp(settings[i].name, argv[0]); i++)
		;
	if (i == SETTINGS) {
		usage_error("group: no setting is called '%s'", argv[0]);
		return -1;
	}
	if (argc < 2) {
		usage_error("group: %s needs a value", argv[0]);
		return -1;
	}
	if (settings[i].used) {
		*value = UINT64_MAX;
		if (strcmp(argv[1], "none") && parse_size(argv[1], value))
			goto bad;
		return i;
	}
	if (parse_rate(argv[1], value))
		goto bad;
	return i;
bad:
	usage_error("group: %s: '%s' is not a number or too large", argv[0], argv[1]);
	return -1;
}

static int group_set(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	uint64_t value;
	int i, n;

	if (argc < 2)
		return usage_error(argc ? "group set: what?" : "group set: which?");
	for (n = 1; n < argc; n += 2)	/* before anybody is asked anything */
		if (parse_setting(argc - n, argv + n, &value) < 0)
			return EXIT_USAGE;
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_GROUP_SET, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CIRCUIT_A_GROUP_NAME, argv[0]);
	for (n = 1; n < argc; n += 2) {
		i = parse_setting(argc - n, argv + n, &value);
		if (settings[i].used)
			mnl_attr_put_u64(nlh, settings[i].max, value);
		else
			mnl_attr_put_u32(nlh, settings[i].max, value);
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

static void print_amount(const char *key, const char *text, bool bytes, uint64_t value)
{
	if (bytes)
		out_size(key, text, value);
	else
		out_u64(key, text, value);
}

static int print_group(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_GROUP_MAX + 1];
	bool any = false;
	char key[32];
	size_t i;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_GROUP_MAX);
	out_open();
	out_name("name", "", nl_str(tb[CIRCUIT_A_GROUP_NAME]));
	out_u64("lines", "lines", nl_u32(tb[CIRCUIT_A_GROUP_LINES]));
	for (i = 0; i < SETTINGS; i++)
		if (settings[i].used)
			print_amount(settings[i].name, settings[i].name,
				     settings[i].used == CIRCUIT_A_GROUP_MEMORY,
				     nl_u64(tb[settings[i].used]));
	for (i = 0; i < SETTINGS; i++) {
		uint64_t max = settings[i].used ? nl_u64(tb[settings[i].max]) :
				nl_u32(tb[settings[i].max]);

		if (!tb[settings[i].max] || (!settings[i].used && !max))
			continue;
		if (!any) {
			out_newline();
			out_text("limits:");
		}
		any = true;
		snprintf(key, sizeof(key), "%s-max", settings[i].name);
		print_amount(key, settings[i].name, settings[i].used == CIRCUIT_A_GROUP_MEMORY, max);
		if (!settings[i].used)
			out_text("/s");
	}
	if (opt.stats || opt.json) {
		out_newline();
		out_u64("calls-limited", "calls beyond the limit", nl_u64(tb[CIRCUIT_A_GROUP_CALLS_LIMITED]));
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
