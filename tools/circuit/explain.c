// SPDX-License-Identifier: GPL-2.0
/* circuit explain: what would become of a call, and why */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "rule.h"

/* "HOST", "HOST:PORT", "[ADDRESS]:PORT" or ":PORT" */
struct place {
	char host[CIRCUIT_NAME_SIZE + INET6_ADDRSTRLEN];	/* "": none */
	uint8_t addr[16];		/* of the host, if it is an address */
	size_t size;			/* of the address; 0: it is a name, or none */
	bool has_port;
	uint32_t port;
};

struct question {
	uint32_t op;
	const char *line;		/* who calls or listens */
	struct place from;		/* an address, or nothing */
	struct place to;
	bool has_type, has_uid, has_cgroup;
	uint32_t type;
	uint32_t uid;
	uint64_t cgroup;
};

static bool parse_place(const char *text, struct place *place)
{
	const char *host = text, *rest;
	uint64_t port;
	size_t len;

	memset(place, 0, sizeof(*place));
	if (parse_ip(text, place->addr)) {
		rest = text + strlen(text);
		len = rest - text;
	} else if (*text == '[') {
		host++;
		len = strcspn(host, "]");
		rest = host + len + !!host[len];
		if (rest[-1] != ']')
			return false;
	} else {
		rest = strrchr(text, ':');
		if (!rest)
			rest = text + strlen(text);
		len = rest - text;
	}
	if (len >= sizeof(place->host))
		return false;
	memcpy(place->host, host, len);
	place->size = parse_ip(place->host, place->addr);
	if (host != text && place->size != sizeof(struct in6_addr))
		return false;
	if (*rest) {
		if (*rest != ':' || !parse_number(rest + 1, place->size ? UINT16_MAX : UINT32_MAX,
						  &port))
			return false;
		place->has_port = true;
		place->port = port;
	}
	return place->size || !len || name_ok(place->host);
}

/* Where a line listens: a port, and perhaps an address. */
static bool parse_listen(const char *text, struct place *place)
{
	char port[16];

	if (strspn(text, "0123456789") == strlen(text) && strlen(text) < sizeof(port) - 1) {
		snprintf(port, sizeof(port), ":%s", text);
		text = port;
	}
	return parse_place(text, place) && place->has_port && (place->size || !*place->host);
}

/* What may come at the end, in any order. */
static int parse_hints(struct question *q, int argc, char **argv)
{
	uint64_t uid = 0;
	int type = 0;
	bool *given, ok;

	for (; argc; argc -= 2, argv += 2) {
		const char *text = argc > 1 ? argv[1] : "";

		if (!strcmp(argv[0], "type")) {
			given = &q->has_type;
			type = find_type(text);
			ok = type >= 0;
			q->type = type;
		} else if (!strcmp(argv[0], "uid")) {
			given = &q->has_uid;
			ok = parse_number(text, UINT32_MAX, &uid);
			q->uid = uid;
		} else if (!strcmp(argv[0], "cgroup")) {
			given = &q->has_cgroup;
			ok = parse_number(text, UINT64_MAX, &q->cgroup);
		} else {
			return usage_error("explain: '%s' is not known", argv[0]);
		}
		if (argc < 2)
			return usage_error("explain: %s: what?", argv[0]);
		if (!ok)
			return usage_error("explain: %s: '%s' is none", argv[0], text);
		if (*given)
			return usage_error("explain: %s is given twice", argv[0]);
		*given = true;
	}
	return EXIT_OK;
}

static int parse_from(struct question *q, int *argc, char ***argv)
{
	if (!*argc || strcmp(**argv, "from"))
		return EXIT_OK;
	if (*argc < 2 || !parse_place((*argv)[1], &q->from) || !q->from.size || q->from.has_port)
		return usage_error("explain: from: '%s' is not an IP address",
				   *argc < 2 ? "" : (*argv)[1]);
	*argc -= 2;
	*argv += 2;
	return EXIT_OK;
}

static int parse_question(struct question *q, int argc, char **argv)
{
	int ret;

	memset(q, 0, sizeof(*q));
	if (argc < 2)
		return usage_error("explain LINE [ to ] DEST[:PORT], or LINE listen PORT, or "
				   "expose from ADDRESS to LINE:PORT");
	if (!strcmp(argv[0], "expose") && !strcmp(argv[1], "from"))
		q->op = CIRCUIT_POLICY_OP_EXPOSE;
	else if (!strcmp(argv[1], "listen"))
		q->op = CIRCUIT_POLICY_OP_LISTEN;
	if (q->op != CIRCUIT_POLICY_OP_EXPOSE)
		q->line = argv[0];
	if (q->line && !name_ok(q->line))
		return usage_error("explain: '%s' cannot be the name of a line", q->line);
	argc--;
	argv++;
	if (q->op == CIRCUIT_POLICY_OP_LISTEN) {
		if (argc < 2 || !parse_listen(argv[1], &q->to))
			return usage_error("explain: listen: '%s' is neither a port nor "
					   "ADDRESS:PORT", argc < 2 ? "" : argv[1]);
		return parse_hints(q, argc - 2, argv + 2);
	}
	ret = parse_from(q, &argc, &argv);
	if (ret)
		return ret;
	if (argc && !strcmp(argv[0], "to")) {
		argc--;
		argv++;
	}
	if (!argc || !parse_place(argv[0], &q->to) || !*q->to.host)
		return usage_error("explain: '%s' is neither a line nor an IP address, with or "
				   "without a port", argc ? argv[0] : "");
	if (q->op == CIRCUIT_POLICY_OP_EXPOSE && (q->to.size || !q->to.has_port))
		return usage_error("explain: expose: '%s' is not LINE:PORT", argv[0]);
	return parse_hints(q, argc - 1, argv + 1);
}

static void put_question(struct nlmsghdr *nlh, const struct question *q)
{
	mnl_attr_put_u32(nlh, CIRCUIT_A_QUERY_OP, q->op);
	if (q->has_type)
		mnl_attr_put_u32(nlh, CIRCUIT_A_QUERY_TYPE, q->type);
	if (q->line)
		mnl_attr_put_strz(nlh, CIRCUIT_A_QUERY_LINE, q->line);
	if (q->from.size)
		mnl_attr_put(nlh, CIRCUIT_A_QUERY_SRC_ADDR, q->from.size, q->from.addr);
	if (q->to.size)
		mnl_attr_put(nlh, CIRCUIT_A_QUERY_ADDR, q->to.size, q->to.addr);
	else if (*q->to.host)
		mnl_attr_put_strz(nlh, CIRCUIT_A_QUERY_PEER, q->to.host);
	if (q->to.has_port)
		mnl_attr_put_u32(nlh, CIRCUIT_A_QUERY_PORT, q->to.port);
	if (q->has_uid)
		mnl_attr_put_u32(nlh, CIRCUIT_A_QUERY_UID, q->uid);
	if (q->has_cgroup)
		mnl_attr_put_u64(nlh, CIRCUIT_A_QUERY_CGROUP, q->cgroup);
}

static void print_json(const struct question *q, const struct nlattr **tb)
{
	uint32_t reason = nl_u32(tb[CIRCUIT_A_QUERY_REASON]);
	struct rule rule;

	out_open();
	out_str("op", "", op_name(q->op));
	if (q->line)
		out_str("line", "", q->line);
	if (q->from.size)
		out_str("from-addr", "", q->from.host);
	if (*q->to.host)
		out_str(q->to.size ? "addr" : "peer", "", q->to.host);
	if (q->to.has_port)
		out_u64("port", "", q->to.port);
	if (q->has_type)
		out_str("type", "", type_name(q->type));
	if (q->has_uid)
		out_u64("uid", "", q->uid);
	if (q->has_cgroup)
		out_u64("cgroup", "", q->cgroup);
	if (tb[CIRCUIT_A_QUERY_TO])
		out_str("to", "", place_name(nl_u32(tb[CIRCUIT_A_QUERY_TO])));
	if (tb[CIRCUIT_A_QUERY_DST])
		out_str("dst", "", nl_str(tb[CIRCUIT_A_QUERY_DST]));
	if (tb[CIRCUIT_A_QUERY_TRUNK])
		out_str("trunk", "", nl_str(tb[CIRCUIT_A_QUERY_TRUNK]));
	out_str("verdict", "", verdict_name(nl_u32(tb[CIRCUIT_A_QUERY_VERDICT])));
	if (tb[CIRCUIT_A_QUERY_ERROR])
		out_str("error", "", errno_name(nl_u32(tb[CIRCUIT_A_QUERY_ERROR])));
	if (reason)
		out_str("reason", "", reason_name(reason));
	if (tb[CIRCUIT_A_QUERY_RULE]) {
		rule_get(tb[CIRCUIT_A_QUERY_RULE], &rule);
		out_open_named("rule");
		rule_json(&rule, true);
		out_close_named();
	}
	out_close();
}

static void place_text(const struct place *place, char *text, size_t size)
{
	const char *format = place->size == sizeof(struct in6_addr) ? "[%s]:%u" : "%s:%u";

	if (!place->has_port)
		snprintf(text, size, "%s", place->host);
	else if (!*place->host)
		snprintf(text, size, "%u", place->port);
	else
		snprintf(text, size, format, place->host, place->port);
}

static void print_text(const struct question *q, const struct nlattr **tb)
{
	const char *trunk = nl_str(tb[CIRCUIT_A_QUERY_TRUNK]);
	const char *dst = nl_str(tb[CIRCUIT_A_QUERY_DST]);
	uint32_t reason = nl_u32(tb[CIRCUIT_A_QUERY_REASON]);
	char from[96], to[96], kind[48] = "", text[RULE_STRLEN];
	struct rule rule;

	snprintf(from, sizeof(from), "%s%s%s", q->line ? q->line : "",
		 q->line && q->from.size ? "/" : "", q->from.host);
	place_text(&q->to, to, sizeof(to));
	if (*trunk)
		snprintf(kind, sizeof(kind), " (trunk %s)", trunk);
	else if (*dst && q->to.size)
		snprintf(kind, sizeof(kind), " (line %s)", dst);
	else if (q->op == CIRCUIT_POLICY_OP_EXPOSE)
		strcpy(kind, " (exposed)");
	else if (q->to.size && nl_u32(tb[CIRCUIT_A_QUERY_TO]) == CIRCUIT_POLICY_TO_ELSEWHERE)
		strcpy(kind, " (elsewhere)");
	out_open();
	out_text("%s %s %s%s: %s%s%s,", from, q->op == CIRCUIT_POLICY_OP_LISTEN ? "listen" : "->",
		 to, kind, verdict_name(nl_u32(tb[CIRCUIT_A_QUERY_VERDICT])),
		 tb[CIRCUIT_A_QUERY_ERROR] ? " " : "",
		 tb[CIRCUIT_A_QUERY_ERROR] ? errno_name(nl_u32(tb[CIRCUIT_A_QUERY_ERROR])) : "");
	if (tb[CIRCUIT_A_QUERY_RULE]) {
		rule_get(tb[CIRCUIT_A_QUERY_RULE], &rule);
		rule_text(&rule, text);
		out_text("by rule %u: %s", rule.nr, text);
	} else {
		out_text("by default");
	}
	if (reason) {
		out_newline();
		out_text("but it would come to nothing: %s", reason_name(reason));
	}
	out_close();
}

static int print_answer(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_QUERY_MAX + 1];
	const struct question *q = data;

	nl_parse(nlh, tb, CIRCUIT_A_QUERY_MAX);
	if (opt.json)
		print_json(q, tb);
	else
		print_text(q, tb);
	return MNL_CB_OK;
}

int do_explain(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	struct question q;
	int ret;

	ret = parse_question(&q, argc, argv);
	if (ret)
		return ret;
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_POLICY_EXPLAIN, NLM_F_ACK);
	put_question(nlh, &q);
	return nl_talk(nlh, print_answer, &q);
}
