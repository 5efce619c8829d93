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
static uint16_t family;
static uint32_t seq;

struct family_info {
	uint16_t id;
	uint32_t group;
	const char *want;
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
	if (!info->want || !tb[CTRL_ATTR_MCAST_GROUPS])
		return MNL_CB_OK;
	mnl_attr_for_each_nested(grp, tb[CTRL_ATTR_MCAST_GROUPS]) {
		const struct nlattr *g[CTRL_ATTR_MCAST_GRP_MAX + 1];

		nl_parse_nested(grp, g, CTRL_ATTR_MCAST_GRP_MAX);
		if (!strcmp(nl_str(g[CTRL_ATTR_MCAST_GRP_NAME]), info->want))
			info->group = nl_u32(g[CTRL_ATTR_MCAST_GRP_ID]);
	}
	return MNL_CB_OK;
}

/* What an extended acknowledgement adds to the errno. */
static void explain(const struct nlmsghdr *nlh, int err)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	const char *msg = NULL;
	const struct nlattr *a;

	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t off = sizeof(*e);

		if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
			off += mnl_nlmsg_get_payload_len(nlh) > off ? e->msg.nlmsg_len - NLMSG_HDRLEN : 0;
		mnl_attr_for_each(a, nlh, off)
			if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
				msg = mnl_attr_get_str(a);
	}
	if (msg)
		fprintf(stderr, "circuit: %s (%s)\n", msg, strerror(err));
	else
		fprintf(stderr, "circuit: %s\n", strerror(err));
}

/* Send a request and take its answers; an error is told to the user here. */
static int talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data, bool quiet)
{
	unsigned int portid = mnl_socket_get_portid(sock);

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
				errno = -e->error;
				if (!quiet)
					explain(h, errno);
				return EXIT_KERNEL;
			}
		}
		ret = mnl_cb_run(buf, n, seq, portid, cb, data);
		if (ret < 0)
			goto fail;
		if (ret == MNL_CB_STOP)
			return EXIT_OK;
	}
fail:
	if (!quiet)
		fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
	return EXIT_KERNEL;
}

static int nl_open(struct family_info *info)
{
	struct genlmsghdr *g;
	struct nlmsghdr *nlh;
	int one = 1;

	sock = mnl_socket_open(NETLINK_GENERIC);
	if (!sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
		return EXIT_KERNEL;
	}
	mnl_socket_setsockopt(sock, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(sock, NETLINK_CAP_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(sock, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	seq = time(NULL);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = GENL_ID_CTRL;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->cmd = CTRL_CMD_GETFAMILY;
	g->version = 1;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, CIRCUIT_FAMILY_NAME);
	if (talk(nlh, family_cb, info, true)) {
		if (errno == ENOENT)
			fputs("circuit: no operator here: is the module circuit_host loaded?\n",
			      stderr);
		else
			fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
		return EXIT_KERNEL;
	}
	return EXIT_OK;
}

struct nlmsghdr *nl_request(uint8_t cmd, uint16_t flags)
{
	struct family_info info = {};
	struct genlmsghdr *g;
	struct nlmsghdr *nlh;

	if (!family) {
		if (nl_open(&info))
			exit(EXIT_KERNEL);
		family = info.id;
	}
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->cmd = cmd;
	g->version = CIRCUIT_FAMILY_VERSION;
	return nlh;
}

int nl_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	return talk(nlh, cb, data, false);
}

/* Follow a multicast group for ever; @cb gets NULL when events were lost. */
int nl_listen(const char *group, mnl_cb_t cb, void *data)
{
	struct family_info info = { .want = group };

	if (nl_open(&info))
		return EXIT_KERNEL;
	if (mnl_socket_setsockopt(sock, NETLINK_ADD_MEMBERSHIP, &info.group,
				  sizeof(info.group)) < 0) {
		fprintf(stderr, "circuit: netlink: %s\n", strerror(errno));
		return EXIT_KERNEL;
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
