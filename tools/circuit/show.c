// SPDX-License-Identifier: GPL-2.0
/* circuit show */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "rule.h"

static const char *tcp_state(uint32_t state)
{
	static const char *const names[] = {
		"?", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",
		"time-wait", "close", "close-wait", "last-ack", "listen", "closing",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* The socket of the host's stack that a trunk circuit ends in. */
static void print_socket(const struct nlattr *end)
{
	const struct nlattr *tb[CIRCUIT_A_END_MAX + 1], *s[CIRCUIT_A_SOCKET_MAX + 1];
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	bool v4, tcp;

	nl_parse_nested(end, tb, CIRCUIT_A_END_MAX);
	if (!tb[CIRCUIT_A_END_SOCKET])
		return;
	nl_parse_nested(tb[CIRCUIT_A_END_SOCKET], s, CIRCUIT_A_SOCKET_MAX);
	tcp = s[CIRCUIT_A_SOCKET_STATE];
	nl_addr(s[CIRCUIT_A_SOCKET_LOCAL], local);
	nl_addr(s[CIRCUIT_A_SOCKET_REMOTE], remote);
	if (opt.json) {
		out_open_named("socket");
		out_str("local", "", local);
		out_u64("local-port", "", nl_u32(s[CIRCUIT_A_SOCKET_LOCAL_PORT]));
		out_str("remote", "", remote);
		out_u64("remote-port", "", nl_u32(s[CIRCUIT_A_SOCKET_REMOTE_PORT]));
	} else {
		v4 = s[CIRCUIT_A_SOCKET_LOCAL] &&
		     mnl_attr_get_payload_len(s[CIRCUIT_A_SOCKET_LOCAL]) == 4;
		out_newline();
		if (tb[CIRCUIT_A_END_TRUNK])
			out_text("trunk %s:", nl_str(tb[CIRCUIT_A_END_TRUNK]));
		out_text(tcp ? "tcp" : "udp");
		out_text(v4 ? "%s:%u %s:%u" : "[%s]:%u [%s]:%u", local,
			 nl_u32(s[CIRCUIT_A_SOCKET_LOCAL_PORT]), remote,
			 nl_u32(s[CIRCUIT_A_SOCKET_REMOTE_PORT]));
	}
	if (tcp)
		out_str("state", "", tcp_state(nl_u32(s[CIRCUIT_A_SOCKET_STATE])));
	if (tcp && (opt.stats || opt.json)) {
		out_str("congestion", "", nl_str(s[CIRCUIT_A_SOCKET_CONGESTION]));
		out_u64("rtt-us", "rtt-us", nl_u32(s[CIRCUIT_A_SOCKET_RTT]));
		out_u64("cwnd", "cwnd", nl_u32(s[CIRCUIT_A_SOCKET_CWND]));
		out_u64("retrans", "retrans", nl_u32(s[CIRCUIT_A_SOCKET_RETRANS]));
		out_u64("unacked", "unacked", nl_u32(s[CIRCUIT_A_SOCKET_UNACKED]));
		out_size("delivery-rate", "delivery-rate",
			 nl_u64(s[CIRCUIT_A_SOCKET_DELIVERY_RATE]));
		out_size("zerocopy", "zerocopy", nl_u64(s[CIRCUIT_A_SOCKET_ZEROCOPY]));
	}
	if (opt.json)
		out_close_named();
}

/* LINE:PORT or LINE/ADDRESS:PORT; @text has END_STRLEN bytes. */
void end_text(const struct nlattr **tb, char *text)
{
	const char *line = *nl_str(tb[CIRCUIT_A_END_LINE]) ? nl_str(tb[CIRCUIT_A_END_LINE]) : "?";
	const struct nlattr *a = tb[CIRCUIT_A_END_ADDR];
	char addr[INET6_ADDRSTRLEN];

	if (!a)
		snprintf(text, END_STRLEN, "%s:%u", line, nl_u32(tb[CIRCUIT_A_END_PORT]));
	else
		snprintf(text, END_STRLEN, mnl_attr_get_payload_len(a) == 4 ? "%s/%s:%u" :
			 "%s/[%s]:%u", line, nl_addr(a, addr), nl_u32(tb[CIRCUIT_A_END_PORT]));
}

/* A socket of datagrams may be connected to the operator, which is no line. */
static bool has_line(const struct nlattr *nest)
{
	const struct nlattr *tb[CIRCUIT_A_END_MAX + 1];

	nl_parse_nested(nest, tb, CIRCUIT_A_END_MAX);
	return tb[CIRCUIT_A_END_LINE];
}

static void print_end(const char *key, const struct nlattr *nest)
{
	const struct nlattr *tb[CIRCUIT_A_END_MAX + 1];
	char addr[INET6_ADDRSTRLEN], text[END_STRLEN];

	nl_parse_nested(nest, tb, CIRCUIT_A_END_MAX);
	if (!opt.json) {
		end_text(tb, text);
		out_text("%s", text);
		return;
	}
	out_open_named(key);
	out_str("line", "", nl_str(tb[CIRCUIT_A_END_LINE]));
	out_u64("port", "", nl_u32(tb[CIRCUIT_A_END_PORT]));
	if (tb[CIRCUIT_A_END_ADDR])
		out_str("addr", "", nl_addr(tb[CIRCUIT_A_END_ADDR], addr));
	out_u64("index", "", nl_u32(tb[CIRCUIT_A_END_INDEX]));
	out_u64("ring", "", nl_u32(tb[CIRCUIT_A_END_RING]));
	out_u64("bytes", "", nl_u64(tb[CIRCUIT_A_END_BYTES]));
	out_u64("queued", "", nl_u32(tb[CIRCUIT_A_END_QUEUED]));
	out_u64("marks", "", nl_u64(tb[CIRCUIT_A_END_MARKS]));
	out_u64("lost", "", nl_u64(tb[CIRCUIT_A_END_LOST]));
	out_bool("hungup", "", tb[CIRCUIT_A_END_HUNGUP] != NULL);
	if (tb[CIRCUIT_A_END_TRUNK])
		out_str("trunk", "", nl_str(tb[CIRCUIT_A_END_TRUNK]));
	print_socket(nest);
	out_close_named();
}

static void print_traffic(const char *arrow, const struct nlattr *nest)
{
	const struct nlattr *tb[CIRCUIT_A_END_MAX + 1];

	nl_parse_nested(nest, tb, CIRCUIT_A_END_MAX);
	out_text("%s %llu bytes", arrow, (unsigned long long)nl_u64(tb[CIRCUIT_A_END_BYTES]));
	if (opt.stats)
		out_text("(queued %u, ring %u, index %u, marks %llu)",
			 nl_u32(tb[CIRCUIT_A_END_QUEUED]), nl_u32(tb[CIRCUIT_A_END_RING]),
			 nl_u32(tb[CIRCUIT_A_END_INDEX]),
			 (unsigned long long)nl_u64(tb[CIRCUIT_A_END_MARKS]));
	if (opt.stats && tb[CIRCUIT_A_END_LOST])
		out_text("lost %llu", (unsigned long long)nl_u64(tb[CIRCUIT_A_END_LOST]));
}

static int print_circuit(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_CIRCUIT_MAX + 1];
	uint32_t type;
	uint64_t age;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_CIRCUIT_MAX);
	type = nl_u32(tb[CIRCUIT_A_CIRCUIT_TYPE]);
	age = nl_u64(tb[CIRCUIT_A_CIRCUIT_AGE]);
	out_open();
	out_u64("id", "", nl_u64(tb[CIRCUIT_A_CIRCUIT_ID]));
	print_end("caller", tb[CIRCUIT_A_CIRCUIT_CALLER]);
	if (opt.json || type != SOCK_DGRAM || has_line(tb[CIRCUIT_A_CIRCUIT_CALLED])) {
		out_text("->");
		print_end("called", tb[CIRCUIT_A_CIRCUIT_CALLED]);
	}
	out_state("state", "", circuit_state_name(nl_u32(tb[CIRCUIT_A_CIRCUIT_STATE])));
	out_json_only_u64("age-ms", age);
	if (opt.json || type != SOCK_STREAM)
		out_str("type", "", type_name(type));
	out_bool("captured", "captured", tb[CIRCUIT_A_CIRCUIT_CAPTURED] != NULL);
	out_text("for %llu.%llu s", (unsigned long long)age / 1000,
		 (unsigned long long)age / 100 % 10);
	if (!opt.json) {
		out_newline();
		print_traffic("->", tb[CIRCUIT_A_CIRCUIT_CALLER]);
		print_traffic("<-", tb[CIRCUIT_A_CIRCUIT_CALLED]);
		print_socket(tb[CIRCUIT_A_CIRCUIT_CALLER]);
		print_socket(tb[CIRCUIT_A_CIRCUIT_CALLED]);
	}
	out_close();
	return MNL_CB_OK;
}

int do_show(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	int ret;

	if (argc && (argc != 2 || strcmp(argv[0], "line")))
		return usage_error("show: 'line NAME', or nothing");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_CIRCUIT_GET, NLM_F_DUMP);
	if (argc)
		mnl_attr_put_strz(nlh, CIRCUIT_A_CIRCUIT_LINE, argv[1]);
	out_begin();
	ret = nl_talk(nlh, print_circuit, NULL);
	out_end();
	return ret;
}

static int circuit_reset(int argc, char **argv)
{
	struct nlmsghdr *nlh;
	uint64_t id;

	if (argc != 1 || parse_size(argv[0], &id))
		return usage_error("circuit reset: the number of a circuit");
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_CIRCUIT_RESET, NLM_F_ACK);
	mnl_attr_put_u64(nlh, CIRCUIT_A_CIRCUIT_ID, id);
	return nl_talk(nlh, NULL, NULL);
}

static const struct command circuit_commands[] = {
	{ "show", do_show },
	{ "reset", circuit_reset },
	{ "capture", circuit_capture },
	{}
};

int do_circuit(int argc, char **argv)
{
	return argc ? dispatch(circuit_commands, "circuit", argc, argv) : do_show(0, NULL);
}
