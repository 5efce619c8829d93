// SPDX-License-Identifier: GPL-2.0
/* Generic netlink: requests, answers, and what the kernel says when it refuses. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/genetlink.h>
#include "circuit.h"

static char buf[32768];
static struct mnl_socket *sock;
static uint32_t seq;

/* Why the last request came to nothing. */
static struct {
	int err;
	bool refused;		/* by the kernel; or it was not even asked */
	uint32_t offset;	/* in the request, of what it did not like; 0: not told */
	char msg[256];		/* what it said, if anything */
} failure;

struct nl_family nl_operator = {
	.name = CIRCUIT_FAMILY_NAME,
	.version = CIRCUIT_FAMILY_VERSION,
	.missing = "no operator here: is the module circuit_host loaded?",
};
struct nl_family nl_guest = {
	.name = CIRCUIT_GUEST_FAMILY_NAME,
	.version = CIRCUIT_GUEST_FAMILY_VERSION,
	.missing = "this is no guest of an operator: is the module circuit_guest loaded?",
};

struct family_info {
	uint16_t id;
	const char *const *want;	/* names of multicast groups */
	size_t wanted;
	uint32_t group[8];		/* their numbers */
};

void nl_parse_nested(const struct nlattr *nest, const struct nlattr **tb, int max)
{
	const struct nlattr *a;

	memset(tb, 0, sizeof(*tb) * (max + 1));
	if (!nest)
		return;
	mnl_attr_for_each_nested(a, nest)
		if (mnl_attr_get_type(a) <= max)
			tb[mnl_attr_get_type(a)] = a;
}

void nl_parse(const struct nlmsghdr *nlh, const struct nlattr **tb, int max)
{
	const struct nlattr *a;

	memset(tb, 0, sizeof(*tb) * (max + 1));
	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(a) <= max)
			tb[mnl_attr_get_type(a)] = a;
}

/* An IP address as text; @text has INET6_ADDRSTRLEN bytes. */
const char *nl_addr(const struct nlattr *a, char *text)
{
	int family = mnl_attr_get_payload_len(a) == sizeof(struct in_addr) ? AF_INET : AF_INET6;

	if (!inet_ntop(family, mnl_attr_get_payload(a), text, INET6_ADDRSTRLEN))
		strcpy(text, "?");
	return text;
}

static int family_cb(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CTRL_ATTR_MAX + 1], *grp;
	struct family_info *info = data;

	nl_parse(nlh, tb, CTRL_ATTR_MAX);
	if (tb[CTRL_ATTR_FAMILY_ID])
		info->id = mnl_attr_get_u16(tb[CTRL_ATTR_FAMILY_ID]);
	if (!tb[CTRL_ATTR_MCAST_GROUPS])
		return MNL_CB_OK;
	mnl_attr_for_each_nested(grp, tb[CTRL_ATTR_MCAST_GROUPS]) {
		const struct nlattr *g[CTRL_ATTR_MCAST_GRP_MAX + 1];
		size_t i;

		nl_parse_nested(grp, g, CTRL_ATTR_MCAST_GRP_MAX);
		for (i = 0; i < info->wanted; i++)
			if (!strcmp(nl_str(g[CTRL_ATTR_MCAST_GRP_NAME]), info->want[i]))
				info->group[i] = nl_u32(g[CTRL_ATTR_MCAST_GRP_ID]);
	}
	return MNL_CB_OK;
}

/* Take a prefix out of a message; false if it is none. */
bool nl_get_prefix(const struct nlattr *nest, struct prefix *prefix)
{
	const struct nlattr *tb[CIRCUIT_A_PREFIX_MAX + 1], *addr;

	memset(prefix, 0, sizeof(*prefix));
	nl_parse_nested(nest, tb, CIRCUIT_A_PREFIX_MAX);
	addr = tb[CIRCUIT_A_PREFIX_ADDR];
	if (!addr || !tb[CIRCUIT_A_PREFIX_LEN])
		return false;
	prefix->size = mnl_attr_get_payload_len(addr);
	prefix->len = mnl_attr_get_u8(tb[CIRCUIT_A_PREFIX_LEN]);
	if ((prefix->size != 4 && prefix->size != 16) || prefix->len > prefix->size * 8)
		return false;
	memcpy(prefix->addr, mnl_attr_get_payload(addr), prefix->size);
	return true;
}

void nl_put_prefix(struct nlmsghdr *nlh, uint16_t attr, const struct prefix *prefix)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, attr);

	mnl_attr_put(nlh, CIRCUIT_A_PREFIX_ADDR, prefix->size, prefix->addr);
	mnl_attr_put_u8(nlh, CIRCUIT_A_PREFIX_LEN, prefix->len);
	mnl_attr_nest_end(nlh, nest);
}

/* Keep what an extended acknowledgement adds to the errno. */
static void note_refusal(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	size_t off = sizeof(*e);

	failure.refused = true;
	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		off += mnl_nlmsg_get_payload_len(nlh) > off ? e->msg.nlmsg_len - NLMSG_HDRLEN : 0;
	mnl_attr_for_each(a, nlh, off) {
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
			snprintf(failure.msg, sizeof(failure.msg), "%s", mnl_attr_get_str(a));
		else if (mnl_attr_get_type(a) == NLMSGERR_ATTR_OFFS)
			failure.offset = mnl_attr_get_u32(a);
	}
}

/* Tell the user why the last request came to nothing; @about comes first, and may be empty. */
void nl_complain(const char *about)
{
	if (!failure.refused)
		fprintf(stderr, "circuit: netlink: %s\n", strerror(failure.err));
	else if (*failure.msg)
		fprintf(stderr, "circuit: %s%s (%s)\n", about, failure.msg,
			strerror(failure.err));
	else
		fprintf(stderr, "circuit: %s%s\n", about, strerror(failure.err));
}

/* Where in the last request that is which the kernel did not like; 0 if it did not say. */
uint32_t nl_failure_offset(void)
{
	return failure.offset;
}

/* The end of a dump, which may be that it failed. */
static int dump_done(const struct nlmsghdr *nlh, void *data)
{
	const int *err = mnl_nlmsg_get_payload(nlh);

	(void)data;
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*err) || *err >= 0)
		return MNL_CB_STOP;
	errno = -*err;
	return MNL_CB_ERROR;
}

static int acknowledged(const struct nlmsghdr *nlh, void *data)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	(void)data;
	errno = -e->error;
	return e->error ? MNL_CB_ERROR : MNL_CB_STOP;
}

/* Send a request and take its answers; what goes wrong is in errno and in @failure. */
static int talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	static mnl_cb_t control[NLMSG_MIN_TYPE] = {
		[NLMSG_ERROR] = acknowledged,
		[NLMSG_DONE] = dump_done,
	};
	unsigned int portid = mnl_socket_get_portid(sock);

	memset(&failure, 0, sizeof(failure));
	nlh->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) < 0)
		goto fail;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(sock, buf, sizeof(buf));
		const struct nlmsghdr *h = (struct nlmsghdr *)buf;
		int ret;

		if (n < 0)
			goto fail;
		if (mnl_nlmsg_ok(h, n) && h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (e->error) {
				note_refusal(h);
				errno = -e->error;
				goto fail;
			}
		}
		ret = mnl_cb_run2(buf, n, seq, portid, cb, data, control, NLMSG_MIN_TYPE);
		if (ret < 0)
			goto fail;
		if (ret == MNL_CB_STOP)
			return EXIT_OK;
	}
fail:
	failure.err = errno;
	return EXIT_KERNEL;
}

static int open_socket(void)
{
	int one = 1;

	if (sock)
		return EXIT_OK;
	sock = mnl_socket_open(NETLINK_GENERIC);
	if (!sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
		return EXIT_KERNEL;
	}
	mnl_socket_setsockopt(sock, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(sock, NETLINK_CAP_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(sock, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	seq = time(NULL);
	return EXIT_OK;
}

static int find_family(const struct nl_family *family, struct family_info *info)
{
	struct genlmsghdr *g;
	struct nlmsghdr *nlh;

	if (open_socket())
		return EXIT_KERNEL;
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = GENL_ID_CTRL;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->cmd = CTRL_CMD_GETFAMILY;
	g->version = 1;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, family->name);
	return talk(nlh, family_cb, info);
}

static int nl_open(const struct nl_family *family, struct family_info *info)
{
	if (!find_family(family, info))
		return EXIT_OK;
	if (errno == ENOENT)
		fprintf(stderr, "circuit: %s\n", family->missing);
	else
		fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
	return EXIT_KERNEL;
}

/* Is the module loaded? */
bool nl_there(struct nl_family *family)
{
	struct family_info info = {};

	return !find_family(family, &info);
}

struct nlmsghdr *nl_request(struct nl_family *family, uint8_t cmd, uint16_t flags)
{
	struct family_info info = {};
	struct genlmsghdr *g;
	struct nlmsghdr *nlh;

	if (!family->id) {
		if (nl_open(family, &info))
			exit(EXIT_KERNEL);
		family->id = info.id;
	}
	if (open_socket())
		exit(EXIT_KERNEL);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = family->id;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->cmd = cmd;
	g->version = family->version;
	return nlh;
}

/* Send a request and take its answers; an error is told to the user. */
int nl_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	int ret = talk(nlh, cb, data);

	if (ret)
		nl_complain("");
	return ret;
}

/* Likewise, but what went wrong is in errno, and nl_complain() tells it. */
int nl_try(struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	return talk(nlh, cb, data);
}

/* Take another socket for the next request: answers are left in this one. */
void nl_restart(void)
{
	if (sock)
		mnl_socket_close(sock);
	sock = NULL;
}

/* Follow @n multicast groups for ever; @cb gets NULL when events were lost. */
int nl_listen(const char *const *groups, size_t n, mnl_cb_t cb, void *data)
{
	struct family_info info = { .want = groups, .wanted = n };
	size_t i;

	if (nl_open(&nl_operator, &info))
		return EXIT_KERNEL;
	for (i = 0; i < n; i++) {
		if (mnl_socket_setsockopt(sock, NETLINK_ADD_MEMBERSHIP, &info.group[i],
					  sizeof(info.group[i])) < 0) {
			fprintf(stderr, "circuit: events of %s: %s\n", groups[i], strerror(errno));
			return EXIT_KERNEL;
		}
	}
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(sock, buf, sizeof(buf));

		if (n < 0 && errno == ENOBUFS) {
			cb(NULL, data);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || mnl_cb_run(buf, n, 0, 0, cb, data) < 0) {
			fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
			return EXIT_KERNEL;
		}
	}
}
