// SPDX-License-Identifier: GPL-2.0
/*
 * circuit socks: what became of this guest's sockets.
 *
 * Of circuits and listeners the guest module tells everything. Of a socket that it left
 * to TCP or UDP it has kept the inode and the reason; what the socket is, and whether it still
 * exists, sock_diag tells.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/genetlink.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include "circuit.h"
#include "rule.h"

struct native {
	uint32_t ino;
	uint32_t reason;
};

static struct native *natives;
static size_t nr_natives;

static const char *state_name(uint32_t state)
{
	static const char *const names[] = {
		"unknown", "estab", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",
		"time-wait", "close", "close-wait", "last-ack", "listen", "closing",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}

static const char *path_name(uint32_t path)
{
	static const char *const names[] = { "native", "circuit", "both" };

	return path < sizeof(names) / sizeof(names[0]) ? names[path] : "?";
}

/* What all have in common. @reason is of no interest if it is 0. */
static void print_head(uint32_t state, uint32_t path, uint32_t reason)
{
	out_open();
	out_str("state", "", state_name(state));
	out_str("path", "", path_name(path));
	if (reason)
		out_str("reason", "reason", reason_name(reason));
}

/* Text leaves out what is usual. */
static void print_type(uint32_t type)
{
	if (type && (opt.json || type != SOCK_STREAM))
		out_str("type", "", type_name(type));
}

/* One end; @line is the line there, or NULL. */
static void print_end(const char *key, const char *addr, bool v6, const char *line, uint32_t port)
{
	if (!opt.json) {
		out_text(v6 ? "[%s]:%u" : "%s:%u", addr ? addr : line ? line : "", port);
		return;
	}
	out_open_named(key);
	if (addr)
		out_str("addr", "", addr);
	if (line)
		out_str("line", "", line);
	out_u64("port", "", port);
	out_close_named();
}

static void print_tail(uint64_t recv, uint64_t send, uint32_t uid, uint32_t ino)
{
	out_u64("recv-queue", "recv-q", recv);
	out_u64("send-queue", "send-q", send);
	out_u64("uid", "uid", uid);
	out_u64("ino", "ino", ino);
}

static int remember(uint32_t ino, uint32_t reason)
{
	static size_t room;
	struct native *more;

	if (nr_natives == room) {
		room = room ? 2 * room : 256;
		more = realloc(natives, room * sizeof(*natives));
		if (!more)
			return MNL_CB_ERROR;
		natives = more;
	}
	natives[nr_natives++] = (struct native){ ino, reason };
	return MNL_CB_OK;
}

static const char *addr_of(const struct nlattr *a, char *text)
{
	return a ? nl_addr(a, text) : NULL;
}

static int print_sock(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_GUEST_A_SOCK_MAX + 1];
	uint32_t state, path, reason;
	char text[INET6_ADDRSTRLEN];
	bool listens, v6;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_GUEST_A_SOCK_MAX);
	path = nl_u32(tb[CIRCUIT_GUEST_A_SOCK_PATH]);
	reason = nl_u32(tb[CIRCUIT_GUEST_A_SOCK_REASON]);
	if (!tb[CIRCUIT_GUEST_A_SOCK_STATE])
		return remember(nl_u32(tb[CIRCUIT_GUEST_A_SOCK_INO]), reason);
	state = nl_u32(tb[CIRCUIT_GUEST_A_SOCK_STATE]);
	listens = !tb[CIRCUIT_GUEST_A_SOCK_REMOTE_PORT];
	v6 = nl_u32(tb[CIRCUIT_GUEST_A_SOCK_FAMILY]) == AF_INET6;
	print_head(state, path, reason);
	print_end("local", addr_of(tb[CIRCUIT_GUEST_A_SOCK_LOCAL_ADDR], text), v6, NULL,
		  nl_u32(tb[CIRCUIT_GUEST_A_SOCK_LOCAL_PORT]));
	if (!listens) {
		out_text("->");
		print_end("remote", addr_of(tb[CIRCUIT_GUEST_A_SOCK_REMOTE_ADDR], text), v6,
			  tb[CIRCUIT_GUEST_A_SOCK_LINE] ? nl_str(tb[CIRCUIT_GUEST_A_SOCK_LINE]) : NULL,
			  nl_u32(tb[CIRCUIT_GUEST_A_SOCK_REMOTE_PORT]));
	}
	print_tail(nl_u32(tb[CIRCUIT_GUEST_A_SOCK_RECV_QUEUE]),
		   nl_u32(tb[CIRCUIT_GUEST_A_SOCK_SEND_QUEUE]),
		   nl_u32(tb[CIRCUIT_GUEST_A_SOCK_UID]), nl_u32(tb[CIRCUIT_GUEST_A_SOCK_INO]));
	print_type(nl_u32(tb[CIRCUIT_GUEST_A_SOCK_TYPE]));
	if (opt.stats && tb[CIRCUIT_GUEST_A_SOCK_INDEX]) {
		out_newline();
		out_u64("index", "circuit", nl_u32(tb[CIRCUIT_GUEST_A_SOCK_INDEX]));
		out_u64("received", "received", nl_u64(tb[CIRCUIT_GUEST_A_SOCK_RECEIVED]));
		out_u64("sent", "sent", nl_u64(tb[CIRCUIT_GUEST_A_SOCK_SENT]));
		out_size("recv-ring", "recv-ring", nl_u32(tb[CIRCUIT_GUEST_A_SOCK_RECV_RING]));
		out_size("send-ring", "send-ring", nl_u32(tb[CIRCUIT_GUEST_A_SOCK_SEND_RING]));
		out_u64("doorbells", "doorbells", nl_u64(tb[CIRCUIT_GUEST_A_SOCK_DOORBELLS]));
		out_u64("wakeups", "wakeups", nl_u64(tb[CIRCUIT_GUEST_A_SOCK_WAKEUPS]));
	}
	out_close();
	return MNL_CB_OK;
}

static int compare(const void *a, const void *b)
{
	const struct native *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int print_native(const struct nlmsghdr *nlh, void *data)
{
	const struct inet_diag_msg *d = mnl_nlmsg_get_payload(nlh);
	struct native key = { .ino = d->idiag_inode };
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	const struct native *found;
	bool v6;

	found = d->idiag_inode ? bsearch(&key, natives, nr_natives, sizeof(*natives), compare) : NULL;
	if (!found)
		return MNL_CB_OK;
	v6 = d->idiag_family == AF_INET6;
	inet_ntop(d->idiag_family, d->id.idiag_src, local, sizeof(local));
	inet_ntop(d->idiag_family, d->id.idiag_dst, remote, sizeof(remote));
	print_head(d->idiag_state, CIRCUIT_GUEST_PATH_NATIVE, found->reason);
	print_end("local", local, v6, NULL, ntohs(d->id.idiag_sport));
	out_text("->");
	print_end("remote", remote, v6, NULL, ntohs(d->id.idiag_dport));
	print_tail(d->idiag_rqueue, d->idiag_wqueue, d->idiag_uid, d->idiag_inode);
	print_type(*(const uint8_t *)data == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM);
	out_close();
	return MNL_CB_OK;
}

/* The sockets of one family and protocol that are among @natives. */
static int diag(struct mnl_socket *sock, uint8_t family, uint8_t protocol)
{
	static unsigned int seq = 1;
	char buf[16384];
	struct inet_diag_req_v2 *req;
	struct nlmsghdr *nlh;
	ssize_t n;
	int ret;

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++seq;
	req = mnl_nlmsg_put_extra_header(nlh, sizeof(*req));
	req->sdiag_family = family;
	req->sdiag_protocol = protocol;
	req->idiag_states = ~0u;
	if (mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) < 0)
		return -1;
	do {
		n = mnl_socket_recvfrom(sock, buf, sizeof(buf));
		if (n < 0)
			return -1;
		ret = mnl_cb_run(buf, n, seq, mnl_socket_get_portid(sock), print_native, &protocol);
	} while (ret == MNL_CB_OK);
	return ret < 0 ? -1 : 0;
}

/* All of them; a kernel may know nothing to tell of UDP. */
static int diag_all(struct mnl_socket *sock)
{
	if (diag(sock, AF_INET, IPPROTO_TCP) || diag(sock, AF_INET6, IPPROTO_TCP))
		return -1;
	if ((diag(sock, AF_INET, IPPROTO_UDP) || diag(sock, AF_INET6, IPPROTO_UDP)) &&
	    errno != ENOENT)
		return -1;
	return 0;
}

static int print_natives(void)
{
	struct mnl_socket *sock;
	int ret = 0;

	if (!nr_natives)
		return EXIT_OK;
	qsort(natives, nr_natives, sizeof(*natives), compare);
	sock = mnl_socket_open(NETLINK_SOCK_DIAG);
	if (!sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0 || diag_all(sock)) {
		fprintf(stderr, "circuit: socks: no word of native sockets: sock_diag: %s\n",
			errno == ENOENT ? "this kernel has no tcp_diag" : strerror(errno));
		ret = EXIT_KERNEL;
	}
	if (sock)
		mnl_socket_close(sock);
	return ret;
}

/* How many sockets took another way, reason by reason. */
static void print_reasons(const struct nlmsghdr *nlh, const char *what, int attr)
{
	const struct nlattr *n[CIRCUIT_GUEST_A_NATIVE_MAX + 1];
	const struct nlattr *a;

	out_open_named(what);
	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr)) {
		const char *name;

		if (mnl_attr_get_type(a) != attr)
			continue;
		nl_parse_nested(a, n, CIRCUIT_GUEST_A_NATIVE_MAX);
		name = reason_name(nl_u32(n[CIRCUIT_GUEST_A_NATIVE_REASON]));
		out_text("%s", what);
		out_u64(name, name, nl_u64(n[CIRCUIT_GUEST_A_NATIVE_COUNT]));
	}
	out_close_named();
}

static int print_stats(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_GUEST_A_STATS_MAX + 1];

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_GUEST_A_STATS_MAX);
	out_open();
	out_text("total:");
	out_u64("calls-out", "out", nl_u64(tb[CIRCUIT_GUEST_A_STATS_CALLS_OUT]));
	out_u64("calls-in", "in", nl_u64(tb[CIRCUIT_GUEST_A_STATS_CALLS_IN]));
	print_reasons(nlh, "native", CIRCUIT_GUEST_A_STATS_NATIVE);
	print_reasons(nlh, "refused", CIRCUIT_GUEST_A_STATS_REFUSED);
	out_close();
	return MNL_CB_OK;
}

int do_socks(int argc, char **argv)
{
	int ret;

	(void)argv;
	if (argc)
		return usage_error("socks takes no arguments");
	nr_natives = 0;
	out_begin();
	ret = nl_talk(nl_request(&nl_guest, CIRCUIT_GUEST_CMD_SOCK_GET, NLM_F_DUMP), print_sock, NULL);
	if (!ret)
		ret = print_natives();
	if (!ret && opt.stats)
		ret = nl_talk(nl_request(&nl_guest, CIRCUIT_GUEST_CMD_STATS_GET, NLM_F_ACK),
			      print_stats, NULL);
	out_end();
	return ret;
}
