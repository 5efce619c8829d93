// SPDX-License-Identifier: GPL-2.0
/*
 * nlfuzz [SEED [N]] - N requests to the operator's generic-netlink family that are nearly right
 * nlfuzz denied     - every command, as who may give none: all must fail with EPERM
 *
 * A request starts from one that could be right: its attributes are left out, cut short, made
 * longer, given twice, nested too deep, filled with anything, or are of another command's. What
 * the kernel answers is counted, and that it answers each is all that is checked here; the rest
 * is up to its debugging options, and to whoever looks at the exchange afterwards.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/circuit_netlink.h>

#define NEST_MAX 40

enum kind { NAME, TEXT, U8, U32, U64, FLAG, ADDR, PREFIX, RULE, FD };

struct attr {
	uint16_t nr;
	enum kind kind;
};

static const struct attr line_attrs[] = {
	{ CIRCUIT_A_LINE_NAME, NAME }, { CIRCUIT_A_LINE_WINDOW, U64 },
	{ CIRCUIT_A_LINE_MEMORY_MAX, U64 }, { CIRCUIT_A_LINE_CIRCUITS_MAX, U32 },
	{ CIRCUIT_A_LINE_PENDING_MAX, U32 }, { CIRCUIT_A_LINE_LISTENERS_MAX, U32 },
	{ CIRCUIT_A_LINE_RING_MAX, U32 }, { CIRCUIT_A_LINE_RING_DEFAULT, U32 },
	{ CIRCUIT_A_LINE_ADDR, ADDR }, { CIRCUIT_A_LINE_NO_ADDR, FLAG },
	{ CIRCUIT_A_LINE_TRUNK, NAME }, { CIRCUIT_A_LINE_NO_TRUNK, FLAG },
	{ CIRCUIT_A_LINE_GROUP, NAME }, { CIRCUIT_A_LINE_NO_GROUP, FLAG },
	{ CIRCUIT_A_LINE_CALLS_MAX, U32 }, { CIRCUIT_A_LINE_SEND_MAX, U64 },
	{ CIRCUIT_A_LINE_RECEIVE_MAX, U64 }, { CIRCUIT_A_LINE_SEND_MESSAGES_MAX, U32 },
	{ CIRCUIT_A_LINE_RECEIVE_MESSAGES_MAX, U32 }, {}
};
static const struct attr group_attrs[] = {
	{ CIRCUIT_A_GROUP_NAME, NAME }, { CIRCUIT_A_GROUP_MEMORY_MAX, U64 },
	{ CIRCUIT_A_GROUP_CIRCUITS_MAX, U64 }, { CIRCUIT_A_GROUP_PENDING_MAX, U64 },
	{ CIRCUIT_A_GROUP_LISTENERS_MAX, U64 }, { CIRCUIT_A_GROUP_CALLS_MAX, U32 },
	{ CIRCUIT_A_GROUP_SEND_MAX, U64 }, { CIRCUIT_A_GROUP_RECEIVE_MAX, U64 },
	{ CIRCUIT_A_GROUP_SEND_MESSAGES_MAX, U32 }, { CIRCUIT_A_GROUP_RECEIVE_MESSAGES_MAX, U32 }, {}
};
static const struct attr circuit_attrs[] = {
	{ CIRCUIT_A_CIRCUIT_ID, U64 }, { CIRCUIT_A_CIRCUIT_LINE, NAME }, {}
};
static const struct attr trunk_attrs[] = {
	{ CIRCUIT_A_TRUNK_NAME, NAME }, { CIRCUIT_A_TRUNK_NETNS_FD, FD },
	{ CIRCUIT_A_TRUNK_TO, PREFIX }, { CIRCUIT_A_TRUNK_SOURCE, ADDR },
	{ CIRCUIT_A_TRUNK_HOST, FLAG }, { CIRCUIT_A_TRUNK_CONGESTION, TEXT },
	{ CIRCUIT_A_TRUNK_MARK, U32 }, { CIRCUIT_A_TRUNK_TOS, U32 },
	{ CIRCUIT_A_TRUNK_PACING, U64 }, { CIRCUIT_A_TRUNK_USER_TIMEOUT, U32 }, { CIRCUIT_A_TRUNK_IDLE, U32 },
	{ CIRCUIT_A_TRUNK_MSS, U32 }, {}
};
static const struct attr expose_attrs[] = {
	{ CIRCUIT_A_EXPOSE_LINE, NAME }, { CIRCUIT_A_EXPOSE_PORT, U32 },
	{ CIRCUIT_A_EXPOSE_TRUNK, NAME }, { CIRCUIT_A_EXPOSE_HOST_ADDR, ADDR },
	{ CIRCUIT_A_EXPOSE_HOST_PORT, U32 }, { CIRCUIT_A_EXPOSE_TYPE, U32 }, {}
};
static const struct attr policy_attrs[] = {
	{ CIRCUIT_A_POLICY_VERDICT, U32 }, { CIRCUIT_A_POLICY_GENERATION, U32 },
	{ CIRCUIT_A_POLICY_RULES, U32 }, { CIRCUIT_A_POLICY_RULE, RULE },
	{ CIRCUIT_A_POLICY_RULE, RULE }, {}
};
static const struct attr rule_attrs[] = {
	{ CIRCUIT_A_RULE_VERDICT, U32 }, { CIRCUIT_A_RULE_TRUNK, NAME },
	{ CIRCUIT_A_RULE_ERROR, U32 }, { CIRCUIT_A_RULE_OPS, U32 },
	{ CIRCUIT_A_RULE_TYPES, U32 }, { CIRCUIT_A_RULE_TO, U32 },
	{ CIRCUIT_A_RULE_SRC_LINE, NAME }, { CIRCUIT_A_RULE_SRC_GROUP, NAME },
	{ CIRCUIT_A_RULE_SRC_PREFIX, PREFIX }, { CIRCUIT_A_RULE_DST_LINE, NAME },
	{ CIRCUIT_A_RULE_DST_GROUP, NAME }, { CIRCUIT_A_RULE_DST_PREFIX, PREFIX },
	{ CIRCUIT_A_RULE_PORT_MIN, U32 }, { CIRCUIT_A_RULE_PORT_MAX, U32 },
	{ CIRCUIT_A_RULE_UID, U32 }, { CIRCUIT_A_RULE_CGROUP, U64 },
	{ CIRCUIT_A_RULE_RING_MAX, U32 }, { CIRCUIT_A_RULE_CALLS_MAX, U32 },
	{ CIRCUIT_A_RULE_BYTES_MAX, U64 }, { CIRCUIT_A_RULE_LOG, FLAG }, { CIRCUIT_A_RULE_COMMENT, TEXT }, {}
};
static const struct attr query_attrs[] = {
	{ CIRCUIT_A_QUERY_OP, U32 }, { CIRCUIT_A_QUERY_TYPE, U32 },
	{ CIRCUIT_A_QUERY_LINE, NAME }, { CIRCUIT_A_QUERY_SRC_ADDR, ADDR },
	{ CIRCUIT_A_QUERY_PEER, NAME }, { CIRCUIT_A_QUERY_ADDR, ADDR },
	{ CIRCUIT_A_QUERY_PORT, U32 }, { CIRCUIT_A_QUERY_UID, U32 },
	{ CIRCUIT_A_QUERY_CGROUP, U64 }, {}
};
static const struct attr no_attrs[] = { {} };

static const struct attr *const commands[CIRCUIT_CMD_MAX + 1] = {
	[CIRCUIT_CMD_LINE_GET] = line_attrs,
	[CIRCUIT_CMD_LINE_NEW] = line_attrs,
	[CIRCUIT_CMD_LINE_SET] = line_attrs,
	[CIRCUIT_CMD_LINE_DEL] = line_attrs,
	[CIRCUIT_CMD_CIRCUIT_GET] = circuit_attrs,
	[CIRCUIT_CMD_EVENT_NTF] = no_attrs,
	[CIRCUIT_CMD_TRUNK_GET] = trunk_attrs,
	[CIRCUIT_CMD_TRUNK_NEW] = trunk_attrs,
	[CIRCUIT_CMD_TRUNK_DEL] = trunk_attrs,
	[CIRCUIT_CMD_EXPOSE_GET] = expose_attrs,
	[CIRCUIT_CMD_EXPOSE_NEW] = expose_attrs,
	[CIRCUIT_CMD_EXPOSE_DEL] = expose_attrs,
	[CIRCUIT_CMD_POLICY_GET] = policy_attrs,
	[CIRCUIT_CMD_POLICY_NEW] = policy_attrs,
	[CIRCUIT_CMD_POLICY_ADD] = policy_attrs,
	[CIRCUIT_CMD_POLICY_COMMIT] = policy_attrs,
	[CIRCUIT_CMD_POLICY_REAPPLY] = policy_attrs,
	[CIRCUIT_CMD_POLICY_EXPLAIN] = query_attrs,
	[CIRCUIT_CMD_GROUP_GET] = group_attrs,
	[CIRCUIT_CMD_GROUP_SET] = group_attrs,
	[CIRCUIT_CMD_GROUP_DEL] = group_attrs,
	[CIRCUIT_CMD_CIRCUIT_RESET] = circuit_attrs,
};

static union {
	struct nlmsghdr nlh;
	char bytes[65536];
} msg;
static int sock, family;
static uint32_t seq;
static bool wild;	/* the request that is being made shall be wrong in many ways */

static unsigned int any(unsigned int n)
{
	return random() % n;
}

static bool one_in(unsigned int n)
{
	return !any(n);
}

/* Shall something be wrong? About once in @n times, where a lot is. */
static bool wrong(unsigned int n)
{
	return one_in(wild ? n : n * 20);
}

static void fatal(const char *what)
{
	perror(what);
	exit(1);
}

/* --- messages ------------------------------------------------------------------------------- */

static void begin(uint16_t type, uint8_t cmd, uint8_t version, uint16_t flags)
{
	struct genlmsghdr *g = (void *)(msg.bytes + NLMSG_HDRLEN);

	memset(&msg, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	msg.nlh.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	msg.nlh.nlmsg_type = type;
	msg.nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	msg.nlh.nlmsg_seq = ++seq;
	g->cmd = cmd;
	g->version = version;
}

static struct nlattr *put(uint16_t type, const void *data, size_t len)
{
	struct nlattr *a = (void *)(msg.bytes + NLMSG_ALIGN(msg.nlh.nlmsg_len));

	if (NLMSG_ALIGN(msg.nlh.nlmsg_len) + NLA_HDRLEN + NLA_ALIGN(len) > sizeof(msg) - 4096)
		return a;
	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memset(a + 1, 0, NLA_ALIGN(len));
	if (len)
		memcpy(a + 1, data, len);
	msg.nlh.nlmsg_len = NLMSG_ALIGN(msg.nlh.nlmsg_len) + NLA_HDRLEN + NLA_ALIGN(len);
	return a;
}

static void nest_end(struct nlattr *a)
{
	a->nla_len = msg.bytes + msg.nlh.nlmsg_len - (char *)a;
}

static uint64_t number(void)
{
	static const uint64_t some[] = {
		0, 1, 2, 4, 7, 80, 4096, 65535, 65536, 1 << 20, 1ull << 30, UINT32_MAX,
		1ull << 40, INT64_MAX, UINT64_MAX,
	};

	if (wrong(4))
		return (uint64_t)random() << any(33);
	return some[any(wild ? sizeof(some) / sizeof(some[0]) : 6)];
}

static size_t value(enum kind kind, char *buf)
{
	static const char *const names[] = { "a", "b", "c", "web", "db", "wan", "-x", "trunk", "" };
	static const char *const texts[] = { "cubic", "reno", "what", "" };
	uint64_t n = number();
	uint32_t n32 = n;

	switch (kind) {
	case NAME:
		strcpy(buf, names[any(wrong(8) ? 9 : 6)]);
		return strlen(buf) + 1;
	case TEXT:
		strcpy(buf, texts[any(wild ? 4 : 2)]);
		return strlen(buf) + 1;
	case U8:
		buf[0] = n;
		return 1;
	case FD:
		n32 = any(8);
		/* fall through */
	case U32:
		memcpy(buf, &n32, sizeof(n32));
		return sizeof(n32);
	case U64:
		memcpy(buf, &n, sizeof(n));
		return sizeof(n);
	case ADDR:
		if (one_in(2)) {
			n32 = htonl(one_in(2) ? 0x7f000001 + any(4) : 0x0a000000 + any(16));
			memcpy(buf, &n32, sizeof(n32));
			return sizeof(n32);
		}
		memset(buf, 0, 16);
		if (one_in(2))
			buf[0] = 0x20, buf[1] = 1;
		buf[15] = any(4);
		return 16;
	default:
		return 0;
	}
}

static void put_attr(const struct attr *attr, unsigned int depth);

static void put_some(const struct attr *attrs, unsigned int depth)
{
	const struct attr *a;

	/* What comes first is mostly required, and too much of the rest excludes itself. */
	for (a = attrs; a->nr; a++)
		if (a == attrs ? !wrong(4) : one_in(wild ? 2 : 4))
			put_attr(a, depth);
}

static void put_attr(const struct attr *attr, unsigned int depth)
{
	static const struct attr addr = { CIRCUIT_A_PREFIX_ADDR, ADDR };
	static const struct attr len = { CIRCUIT_A_PREFIX_LEN, U8 };
	uint16_t type = attr->nr;
	char buf[512] = {};
	struct nlattr *a;
	size_t n;
	unsigned int i;

	if (wrong(40))
		type = any(CIRCUIT_A_LINE_MAX + 4);
	if (wrong(40))
		type |= NLA_F_NESTED;
	if (wrong(40) && depth < NEST_MAX) {		/* too deep */
		a = put(type | NLA_F_NESTED, NULL, 0);
		put_attr(attr, depth + 1);
		nest_end(a);
		return;
	}
	if (attr->kind == PREFIX || attr->kind == RULE) {
		a = put(type | (wrong(30) ? 0 : NLA_F_NESTED), NULL, 0);
		if (attr->kind == RULE)
			put_some(rule_attrs, depth + 1);
		if (attr->kind == PREFIX && !wrong(30))
			put_attr(&addr, depth + 1);
		if (attr->kind == PREFIX && !wrong(30))
			put_attr(&len, depth + 1);
		nest_end(a);
		if (wrong(60))
			a->nla_len = any(a->nla_len + 8);
		return;
	}
	n = value(attr->kind, buf);
	if (wrong(25))
		n = any(n + 1);				/* short */
	else if (wrong(25))
		n = any(sizeof(buf));			/* long */
	if (wrong(25))
		for (i = 0; i < n; i++)
			buf[i] = random();
	a = put(type, buf, n);
	if (wrong(100))
		a->nla_len = any(600);			/* a lie */
	if (wrong(25))
		put(type, buf, n);			/* twice */
}

static void fuzz_request(void)
{
	uint8_t cmd;
	const struct attr *attrs;
	uint16_t flags;

	wild = one_in(2);
	cmd = wrong(50) ? any(256) : 1 + any(CIRCUIT_CMD_MAX);
	attrs = cmd <= CIRCUIT_CMD_MAX && commands[cmd] ? commands[cmd] : no_attrs;
	flags = NLM_F_ACK | (one_in(4) ? NLM_F_DUMP : 0) | (wrong(30) ? any(65536) : 0);

	if (wrong(20))
		attrs = commands[1 + any(CIRCUIT_CMD_MAX)];
	begin(family, cmd, wrong(30) ? any(256) : CIRCUIT_FAMILY_VERSION, flags & ~NLM_F_ECHO);
	put_some(attrs ?: no_attrs, 0);
}

/* --- answers -------------------------------------------------------------------------------- */

/* Returns 0 or a positive errno; -1 if there was no answer. */
static int answer(void)
{
	static char buf[65536];

	for (;;) {
		ssize_t n = recv(sock, buf, sizeof(buf), 0);
		struct nlmsghdr *h = (void *)buf;

		if (n < 0)
			return errno == EAGAIN ? -1 : errno;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR)
				return -((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == NLMSG_DONE)
				return -*(int *)NLMSG_DATA(h);
			if (h->nlmsg_type == GENL_ID_CTRL && !family) {
				struct nlattr *a = NLMSG_DATA(h) + GENL_HDRLEN;
				int left = NLMSG_PAYLOAD(h, GENL_HDRLEN);

				while (left >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN) {
					if (a->nla_type == CTRL_ATTR_FAMILY_ID)
						family = *(uint16_t *)(a + 1);
					left -= NLA_ALIGN(a->nla_len);
					a = (void *)a + NLA_ALIGN(a->nla_len);
				}
			}
		}
	}
}

static int ask(void)
{
	if (send(sock, &msg, msg.nlh.nlmsg_len, 0) < 0)
		fatal("send");
	return answer();
}

static void open_socket(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	struct timeval tv = { .tv_sec = 20 };

	sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	if (sock < 0 || bind(sock, (void *)&addr, sizeof(addr)) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		fatal("netlink");
	if (family)
		return;
	begin(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, NLM_F_ACK);
	put(CTRL_ATTR_FAMILY_NAME, CIRCUIT_FAMILY_NAME, sizeof(CIRCUIT_FAMILY_NAME));
	if (ask() || !family) {
		fprintf(stderr, "nlfuzz: no operator\n");
		exit(1);
	}
}

static int denied(void)
{
	unsigned int cmd, dump, bad = 0;
	int err;

	for (cmd = 1; cmd <= CIRCUIT_CMD_MAX; cmd++) {
		for (dump = 0; dump < 2; dump++) {
			begin(family, cmd, CIRCUIT_FAMILY_VERSION,
			      NLM_F_ACK | (dump ? NLM_F_DUMP : 0));
			err = ask();
			/* Or there is no such thing: the event, a dump of what has none. */
			if (err == EPERM || err == EOPNOTSUPP)
				continue;
			printf("command %u%s: %s\n", cmd, dump ? ", dumped" : "",
			       err ? strerror(err) : "done");
			bad++;
		}
	}
	printf("%u commands are not denied\n", bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 0) : 10000, i, done = 0, refused = 0;
	unsigned int seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
	int err;

	open_socket();
	if (argc > 1 && !strcmp(argv[1], "denied"))
		return denied();
	srandom(seed);
	for (i = 0; i < n; i++) {
		fuzz_request();
		err = ask();
		if (err < 0) {
			printf("seed %u: no answer to request %lu, command %u\n", seed, i,
			       msg.bytes[NLMSG_HDRLEN]);
			return 1;
		}
		done += !err;
		refused += !!err;
		if (one_in(500)) {		/* what it was making goes with it */
			close(sock);
			open_socket();
		}
	}
	printf("seed %u: %lu requests done, %lu refused\n", seed, done, refused);
	return 0;
}
