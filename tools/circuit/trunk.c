// SPDX-License-Identifier: GPL-2.0
/* circuit trunk, circuit expose */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/genetlink.h>
#include "circuit.h"

/* Put an IP address into a message; returns its length, or 0 if it is not one. */
static size_t put_addr(struct nlmsghdr *nlh, uint16_t attr, const char *text)
{
	struct in6_addr addr;
	size_t len = parse_ip(text, &addr);

	if (len)
		mnl_attr_put(nlh, attr, len, &addr);
	return len;
}

static bool parse_u32(const char *text, uint32_t max, uint32_t *value)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || *end || text[0] == '-' || v > max)
		return false;
	*value = v;
	return true;
}

/* Somewhere to put a request before anybody is asked anything. */
static struct nlmsghdr *scratch(void)
{
	static char buf[8192];

	return mnl_nlmsg_put_header(buf);
}

/* --- trunk ----------------------------------------------------------------------------------- */

static const char *put_netns(struct nlmsghdr *nlh, const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), strchr(name, '/') ? "%s" : "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);	/* open until the message has been sent */
	if (fd < 0)
		return strerror(errno);
	mnl_attr_put_u32(nlh, CIRCUIT_A_TRUNK_NETNS_FD, fd);
	return NULL;
}

static const char *put_to(struct nlmsghdr *nlh, const char *text)
{
	struct prefix prefix;

	if (!parse_prefix(text, &prefix))
		return "not a prefix";
	nl_put_prefix(nlh, CIRCUIT_A_TRUNK_TO, &prefix);
	return NULL;
}

static const char *put_source(struct nlmsghdr *nlh, const char *text)
{
	return put_addr(nlh, CIRCUIT_A_TRUNK_SOURCE, text) ? NULL : "not an IP address";
}

static const char *put_congestion(struct nlmsghdr *nlh, const char *text)
{
	mnl_attr_put_strz(nlh, CIRCUIT_A_TRUNK_CONGESTION, text);
	return NULL;
}

static const char *put_mark(struct nlmsghdr *nlh, const char *text)
{
	uint32_t value;

	if (!parse_u32(text, UINT32_MAX, &value))
		return "not a number";
	mnl_attr_put_u32(nlh, CIRCUIT_A_TRUNK_MARK, value);
	return NULL;
}

static const char *put_dscp(struct nlmsghdr *nlh, const char *text)
{
	uint32_t value;

	if (!parse_u32(text, 63, &value))
		return "not a number from 0 to 63";
	mnl_attr_put_u8(nlh, CIRCUIT_A_TRUNK_TOS, value << 2);
	return NULL;
}

static const char *put_pacing(struct nlmsghdr *nlh, const char *text)
{
	uint64_t value;

	if (parse_size(text, &value))
		return "not a number of bytes per second";
	mnl_attr_put_u64(nlh, CIRCUIT_A_TRUNK_PACING, value);
	return NULL;
}

static const char *put_user_timeout(struct nlmsghdr *nlh, const char *text)
{
	uint32_t value;

	if (!parse_u32(text, INT32_MAX, &value))
		return "not a number of milliseconds";
	mnl_attr_put_u32(nlh, CIRCUIT_A_TRUNK_USER_TIMEOUT, value);
	return NULL;
}

static const char *put_mss(struct nlmsghdr *nlh, const char *text)
{
	uint32_t value;

	if (!parse_u32(text, UINT16_MAX, &value))
		return "not a number of bytes";
	mnl_attr_put_u32(nlh, CIRCUIT_A_TRUNK_MSS, value);
	return NULL;
}

static const char *put_idle(struct nlmsghdr *nlh, const char *text)
{
	uint32_t value;

	if (!parse_u32(text, INT16_MAX, &value) || !value)
		return "not a number of seconds from 1 to 32767";
	mnl_attr_put_u32(nlh, CIRCUIT_A_TRUNK_IDLE, value);
	return NULL;
}

static const struct {
	const char *name;
	const char *(*put)(struct nlmsghdr *nlh, const char *text);
} settings[] = {
	{ "netns", put_netns },
	{ "to", put_to },
	{ "source", put_source },
	{ "congestion", put_congestion },
	{ "mark", put_mark },
	{ "dscp", put_dscp },
	{ "pacing", put_pacing },
	{ "user-timeout", put_user_timeout },
	{ "mss", put_mss },
	{ "idle", put_idle },
};

static int fill_trunk(struct nlmsghdr *nlh, int argc, char **argv)
{
	size_t i, n = sizeof(settings) / sizeof(settings[0]);
	const char *wrong;
	int a;

	mnl_attr_put_strz(nlh, CIRCUIT_A_TRUNK_NAME, argv[0]);
	for (a = 1; a < argc; a++) {
		if (!strcmp(argv[a], "host")) {
			mnl_attr_put(nlh, CIRCUIT_A_TRUNK_HOST, 0, NULL);
			continue;
		}
		for (i = 0; i < n && strcmp(settings[i].name, argv[a]); i++)
			;
		if (i == n)
			return usage_error("trunk: no setting is called '%s'", argv[a]);
		if (a + 1 == argc)
			return usage_error("trunk: %s needs a value", argv[a]);
		wrong = settings[i].put(nlh, argv[++a]);
		if (wrong)
			return usage_error("trunk: %s: '%s': %s", argv[a - 1], argv[a], wrong);
	}
	return EXIT_OK;
}

static int trunk_add(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	int ret;

	if (!argc)
		return usage_error("trunk add: which?");
	if (argc > 100)
		return usage_error("trunk add: too much");
	ret = fill_trunk(scratch(), argc, argv);
	if (ret)
		return ret;
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_TRUNK_NEW, NLM_F_ACK);
	fill_trunk(nlh, argc, argv);
	return nl_talk(nlh, NULL, NULL);
}

static int trunk_del(int argc, char **argv)
{
	struct nlmsghdr *nlh;

	if (argc != 1)
		return usage_error("trunk del: which one?");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_TRUNK_DEL, NLM_F_ACK);
	mnl_attr_put_strz(nlh, CIRCUIT_A_TRUNK_NAME, argv[0]);
	return nl_talk(nlh, NULL, NULL);
}

static void print_prefix(const struct nlattr *nest)
{
	const struct nlattr *tb[CIRCUIT_A_PREFIX_MAX + 1];
	char addr[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 4];

	nl_parse_nested(nest, tb, CIRCUIT_A_PREFIX_MAX);
	snprintf(text, sizeof(text), "%s/%u", nl_addr(tb[CIRCUIT_A_PREFIX_ADDR], addr),
		 tb[CIRCUIT_A_PREFIX_LEN] ? mnl_attr_get_u8(tb[CIRCUIT_A_PREFIX_LEN]) : 0);
	out_item("to", text);
}

static int print_trunk(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_TRUNK_MAX + 1], *a;
	char text[INET6_ADDRSTRLEN];

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_TRUNK_MAX);
	out_open();
	out_str("name", "", nl_str(tb[CIRCUIT_A_TRUNK_NAME]));
	if (tb[CIRCUIT_A_TRUNK_NETNS_INODE])
		out_u64("netns", "netns", nl_u32(tb[CIRCUIT_A_TRUNK_NETNS_INODE]));
	if (tb[CIRCUIT_A_TRUNK_NETNS_GONE])
		out_bool("netns-gone", "(gone)", true);
	out_u64("circuits", "circuits", nl_u32(tb[CIRCUIT_A_TRUNK_CIRCUITS]));
	out_u64("users", "users", nl_u32(tb[CIRCUIT_A_TRUNK_LINES]));
	if (tb[CIRCUIT_A_TRUNK_HOST])
		out_bool("host", "host", true);
	if (tb[CIRCUIT_A_TRUNK_CONGESTION])
		out_str("congestion", "congestion", nl_str(tb[CIRCUIT_A_TRUNK_CONGESTION]));
	if (tb[CIRCUIT_A_TRUNK_MARK])
		out_u64("mark", "mark", nl_u32(tb[CIRCUIT_A_TRUNK_MARK]));
	if (tb[CIRCUIT_A_TRUNK_TOS])
		out_u64("dscp", "dscp", mnl_attr_get_u8(tb[CIRCUIT_A_TRUNK_TOS]) >> 2);
	if (tb[CIRCUIT_A_TRUNK_PACING])
		out_size("pacing", "pacing", nl_u64(tb[CIRCUIT_A_TRUNK_PACING]));
	if (tb[CIRCUIT_A_TRUNK_USER_TIMEOUT])
		out_u64("user-timeout", "user-timeout", nl_u32(tb[CIRCUIT_A_TRUNK_USER_TIMEOUT]));
	if (tb[CIRCUIT_A_TRUNK_MSS])
		out_u64("mss", "mss", nl_u32(tb[CIRCUIT_A_TRUNK_MSS]));
	if (tb[CIRCUIT_A_TRUNK_IDLE])
		out_u64("idle", "idle", nl_u32(tb[CIRCUIT_A_TRUNK_IDLE]));
	out_list("sources");
	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(a) == CIRCUIT_A_TRUNK_SOURCE)
			out_item("source", nl_addr(a, text));
	out_list_end();
	out_list("to");
	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
		if ((mnl_attr_get_type(a)) == CIRCUIT_A_TRUNK_TO)
			print_prefix(a);
	out_list_end();
	if (opt.stats) {
		out_newline();
		out_text("calls:");
		out_u64("calls", "placed", nl_u64(tb[CIRCUIT_A_TRUNK_CALLS]));
		out_u64("calls-refused", "refused", nl_u64(tb[CIRCUIT_A_TRUNK_CALLS_REFUSED]));
	}
	out_close();
	return MNL_CB_OK;
}

static int trunk_show(int argc, char **argv)
{
	int ret;

	(void)argv;
	if (argc)
		return usage_error("trunk show: it takes no argument");
	out_begin();
	ret = nl_talk(nl_request(&nl_operator, CIRCUIT_CMD_TRUNK_GET, NLM_F_DUMP), print_trunk,
		      NULL);
	out_end();
	return ret;
}

static const struct command trunk_commands[] = {
	{ "add", trunk_add },
	{ "del", trunk_del },
	{ "show", trunk_show },
	{}
};

int do_trunk(int argc, char **argv)
{
	return argc ? dispatch(trunk_commands, "trunk", argc, argv) : trunk_show(0, NULL);
}

/* --- expose ---------------------------------------------------------------------------------- */

/* "ADDRESS:PORT" or "[ADDRESS]:PORT" or ":PORT", which is every address of IPv4. */
static bool put_host(struct nlmsghdr *nlh, const char *text)
{
	char addr[INET6_ADDRSTRLEN + 3], *colon, *name = addr;
	uint32_t port;

	if ((size_t)snprintf(addr, sizeof(addr), "%s", text) >= sizeof(addr) ||
	    !(colon = strrchr(addr, ':')))
		return false;
	*colon = 0;
	if (!parse_u32(strrchr(text, ':') + 1, UINT16_MAX, &port) || !port)
		return false;
	if (addr[0] == '[') {
		if (colon[-1] != ']')
			return false;
		colon[-1] = 0;
		name++;
	} else if (strchr(addr, ':')) {
		return false;
	}
	mnl_attr_put_u32(nlh, CIRCUIT_A_EXPOSE_HOST_PORT, port);
	return put_addr(nlh, CIRCUIT_A_EXPOSE_HOST_ADDR, *name ? name : "0.0.0.0");
}

/* "LINE:PORT" */
static bool put_service(struct nlmsghdr *nlh, const char *text)
{
	const char *colon = strrchr(text, ':');
	char name[CIRCUIT_NAME_SIZE];
	uint32_t port;

	if (!colon || colon == text || colon - text >= (long)sizeof(name) ||
	    !parse_u32(colon + 1, UINT16_MAX, &port) || !port)
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
	mnl_attr_put_strz(nlh, CIRCUIT_A_EXPOSE_LINE, name);
	mnl_attr_put_u32(nlh, CIRCUIT_A_EXPOSE_PORT, port);
	return true;
}

static int fill_expose(struct nlmsghdr *nlh, bool add, int argc, char **argv)
{
	uint32_t type;

	if (add) {
		if (argc < 3 || strcmp(argv[1], "on"))
			return usage_error("expose add LINE:PORT on ADDRESS:PORT [ type stream|dgram ] [ trunk NAME ]");
		if (!put_service(nlh, argv[0]))
			return usage_error("expose: '%s' is not LINE:PORT", argv[0]);
		argc -= 2;
		argv += 2;
	}
	if (!argc || !put_host(nlh, argv[0]))
		return usage_error("expose: '%s' is not ADDRESS:PORT", argc ? argv[0] : "");
	for (argc--, argv++; argc; argc -= 2, argv += 2) {
		if (argc == 1)
			return usage_error("expose: '%s' needs a value, or is not known", argv[0]);
		if (!strcmp(argv[0], "trunk")) {
			mnl_attr_put_strz(nlh, CIRCUIT_A_EXPOSE_TRUNK, argv[1]);
		} else if (!strcmp(argv[0], "type")) {
			type = !strcmp(argv[1], "stream") ? SOCK_STREAM :
			       !strcmp(argv[1], "dgram") ? SOCK_DGRAM : 0;
			if (!type)
				return usage_error("expose: '%s' is neither stream nor dgram", argv[1]);
			mnl_attr_put_u32(nlh, CIRCUIT_A_EXPOSE_TYPE, type);
		} else {
			return usage_error("expose: '%s' is not known", argv[0]);
		}
	}
	return EXIT_OK;
}

static int expose_request(uint8_t cmd, int argc, char **argv)
{
	int ret = fill_expose(scratch(), cmd == CIRCUIT_CMD_EXPOSE_NEW, argc, argv);
	struct nlmsghdr *nlh;

	if (ret)
		return ret;
	nlh = nl_request(&nl_operator, cmd, NLM_F_ACK);
	fill_expose(nlh, cmd == CIRCUIT_CMD_EXPOSE_NEW, argc, argv);
	return nl_talk(nlh, NULL, NULL);
}

static int expose_add(int argc, char **argv)
{
	return expose_request(CIRCUIT_CMD_EXPOSE_NEW, argc, argv);
}

static int expose_del(int argc, char **argv)
{
	return expose_request(CIRCUIT_CMD_EXPOSE_DEL, argc, argv);
}

static int print_exposure(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_EXPOSE_MAX + 1], *host;
	char addr[INET6_ADDRSTRLEN];

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_EXPOSE_MAX);
	host = tb[CIRCUIT_A_EXPOSE_HOST_ADDR];
	out_open();
	out_json_only_str("line", nl_str(tb[CIRCUIT_A_EXPOSE_LINE]));
	out_json_only_u64("port", nl_u32(tb[CIRCUIT_A_EXPOSE_PORT]));
	out_json_only_str("host-addr", nl_addr(host, addr));
	out_json_only_u64("host-port", nl_u32(tb[CIRCUIT_A_EXPOSE_HOST_PORT]));
	if (!opt.json)
		out_text(host && mnl_attr_get_payload_len(host) == 4 ? "%s:%u on %s:%u" :
			 "%s:%u on [%s]:%u", nl_str(tb[CIRCUIT_A_EXPOSE_LINE]),
			 nl_u32(tb[CIRCUIT_A_EXPOSE_PORT]), addr,
			 nl_u32(tb[CIRCUIT_A_EXPOSE_HOST_PORT]));
	if (opt.json || nl_u32(tb[CIRCUIT_A_EXPOSE_TYPE]) == SOCK_DGRAM)
		out_str("type", "type",
			nl_u32(tb[CIRCUIT_A_EXPOSE_TYPE]) == SOCK_DGRAM ? "dgram" : "stream");
	if (tb[CIRCUIT_A_EXPOSE_TRUNK])
		out_str("trunk", "trunk", nl_str(tb[CIRCUIT_A_EXPOSE_TRUNK]));
	if (opt.stats) {
		out_u64("accepted", "accepted", nl_u64(tb[CIRCUIT_A_EXPOSE_ACCEPTED]));
		out_u64("refused", "refused", nl_u64(tb[CIRCUIT_A_EXPOSE_REFUSED]));
		out_u64("waiting", "waiting", nl_u32(tb[CIRCUIT_A_EXPOSE_WAITING]));
	}
	out_close();
	return MNL_CB_OK;
}

static int expose_show(int argc, char **argv)
{
	int ret;

	(void)argv;
	if (argc)
		return usage_error("expose show: it takes no argument");
	out_begin();
	ret = nl_talk(nl_request(&nl_operator, CIRCUIT_CMD_EXPOSE_GET, NLM_F_DUMP),
		      print_exposure, NULL);
	out_end();
	return ret;
}

static const struct command expose_commands[] = {
	{ "add", expose_add },
	{ "del", expose_del },
	{ "show", expose_show },
	{}
};

int do_expose(int argc, char **argv)
{
	return argc ? dispatch(expose_commands, "expose", argc, argv) : expose_show(0, NULL);
}
