// SPDX-License-Identifier: GPL-2.0
/*
 * What SOCK_DGRAM promises. With --udp the same is expected of UDP.
 */
#include "stream_test.h"
#include <linux/sockios.h>

/* A socket that others can send to. */
static int bound(unsigned int *port)
{
	int fd = sock();

	EQ(sock_bind(fd, 0), 0);
	*port = port_of(fd);
	CHECK(*port);
	return fd;
}

static long to(int fd, unsigned int port, const void *buf, size_t len)
{
	union addr a;
	socklen_t n = addr_set(&a, port);

	return sendto(fd, buf, len, 0, &a.sa, n);
}

static void text_to(int fd, unsigned int port, const char *s)
{
	EQ(to(fd, port, s, strlen(s)), strlen(s));
}

/* Receive @s, and return the port that it is from. */
static unsigned int text_from(int fd, const char *s)
{
	union addr a;
	socklen_t n = sizeof(a);
	char buf[256];

	EQ(recvfrom(fd, buf, sizeof(buf), 0, &a.sa, &n), strlen(s));
	CHECK(!memcmp(buf, s, strlen(s)));
	EQ(a.sa.sa_family, family);
	return addr_port(&a);
}

static int dissolve(int fd)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };

	return connect(fd, &sa, sizeof(sa));
}

/* A port where nobody is. */
static unsigned int nobody(void)
{
	unsigned int port;

	close(bound(&port));
	return port;
}

/* Two sockets that are connected to each other. */
static void couple(int fd[2])
{
	unsigned int port[2];

	fd[0] = bound(&port[0]);
	fd[1] = bound(&port[1]);
	EQ(sock_connect(fd[0], port[1]), 0);
	EQ(sock_connect(fd[1], port[0]), 0);
}

TEST(dgram_keep_apart, .type = SOCK_DGRAM)
{
	static const size_t len[] = { 1, 2, 7, 8, 9, 0, 100, 4096, 4095, 3, 12345 };
	uint8_t buf[20000], got[20000];
	unsigned int port;
	int r = bound(&port), s = sock();
	size_t i;

	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		pattern(buf, len[i], i * 1000);
		EQ(to(s, port, buf, len[i]), len[i]);
	}
	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		memset(got, 0xee, sizeof(got));
		EQ(recv(r, got, sizeof(got), 0), len[i]);
		pattern_check(got, len[i], i * 1000);
		EQ(got[len[i]], 0xee);
	}
}

/* Each comes at once, whatever the size of those before, and though nobody answers. */
TEST(dgram_one_at_a_time, .type = SOCK_DGRAM)
{
	static const size_t len[] = { 10000, 10, 1, 0, 1400, 1, 40000, 100, 7 };
	uint8_t buf[40000], got[40001];
	unsigned int port, round;
	int r = bound(&port), s = sock();
	size_t i;

	for (round = 0; round < 10; round++)
		for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
			pattern(buf, len[i], i);
			EQ(to(s, port, buf, len[i]), len[i]);
			EQ(recv(r, got, sizeof(got), 0), len[i]);
			pattern_check(got, len[i], i);
		}
}

/* Who sends without a port gets one, and that is where the answer goes. */
TEST(dgram_answer, .type = SOCK_DGRAM)
{
	unsigned int port, from;
	int r = bound(&port), s = sock();

	text_to(s, port, "question");
	from = text_from(r, "question");
	EQ(from, port_of(s));
	text_to(r, from, "answer");
	EQ(text_from(s, "answer"), port);
	text_to(s, port, "thanks");
	EQ(text_from(r, "thanks"), from);
}

TEST(dgram_several_senders, .type = SOCK_DGRAM)
{
	unsigned int port, from[8] = {};
	int r = bound(&port), s[8], i;
	char text[2] = "", c;
	union addr a;
	socklen_t n;

	for (i = 0; i < 8; i++) {
		s[i] = sock();
		text[0] = 'a' + i;
		text_to(s[i], port, text);
	}
	/* In any order. */
	for (i = 0; i < 8; i++) {
		n = sizeof(a);
		EQ(recvfrom(r, &c, 1, 0, &a.sa, &n), 1);
		CHECK(c >= 'a' && c < 'a' + 8 && !from[c - 'a']);
		from[c - 'a'] = addr_port(&a);
	}
	for (i = 0; i < 8; i++)
		EQ(from[i], port_of(s[i]));
	for (i = 7; i >= 0; i--) {
		text[0] = 'A' + i;
		text_to(r, from[i], text);
	}
	for (i = 0; i < 8; i++) {
		text[0] = 'A' + i;
		EQ(text_from(s[i], text), port);
	}
}

TEST(dgram_several_targets, .type = SOCK_DGRAM)
{
	unsigned int port[100];
	int r[100], s = sock(), i, turn;
	char text[8];

	for (i = 0; i < 100; i++)
		r[i] = bound(&port[i]);
	/* More than anybody would remember. */
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < 100; i++) {
			sprintf(text, "%d", i);
			text_to(s, port[i], text);
		}
		for (i = 0; i < 100; i++) {
			sprintf(text, "%d", i);
			EQ(text_from(r[i], text), port_of(s));
		}
	}
}

TEST(dgram_to_oneself, .type = SOCK_DGRAM)
{
	unsigned int port;
	int fd = bound(&port);

	text_to(fd, port, "me");
	EQ(text_from(fd, "me"), port);
	EQ(sock_connect(fd, port), 0);
	send_text(fd, "still me");
	expect_text(fd, "still me");
}

TEST(dgram_connected, .type = SOCK_DGRAM)
{
	unsigned int port, other;
	int r = bound(&port), o = bound(&other), s = sock();

	EQ(sock_connect(s, port), 0);
	CHECK(port_of(s));
	EQ(peer_port_of(s), port);
	send_text(s, "default");
	EQ(text_from(r, "default"), port_of(s));
	/* An address given takes precedence. */
	text_to(s, other, "elsewhere");
	EQ(text_from(o, "elsewhere"), port_of(s));
	/* Only from there. */
	text_to(o, port_of(s), "stranger");
	text_to(r, port_of(s), "friend");
	EQ(text_from(s, "friend"), port);
	ERR(recv(s, &port, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(dgram_connect_again, .type = SOCK_DGRAM)
{
	unsigned int port[2];
	int r[2] = { bound(&port[0]), bound(&port[1]) }, s = sock(), own;

	EQ(sock_connect(s, port[0]), 0);
	own = port_of(s);
	EQ(sock_connect(s, port[1]), 0);
	EQ(peer_port_of(s), port[1]);
	EQ(port_of(s), own);
	send_text(s, "x");
	EQ(text_from(r[1], "x"), own);
	ERR(recv(r[0], &own, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(dgram_dissolve, .type = SOCK_DGRAM)
{
	unsigned int port[2], own;
	int r[2] = { bound(&port[0]), bound(&port[1]) }, s = bound(&own);

	EQ(sock_connect(s, port[0]), 0);
	EQ(dissolve(s), 0);
	ERR(send(s, "x", 1, 0), EDESTADDRREQ);
	ERR(getpeername(s, (struct sockaddr *)&(union addr){}, &(socklen_t){ sizeof(union addr) }),
	    ENOTCONN);
	own = port_of(s);	/* UDP's may be another now, unless it was asked for */
	text_to(r[1], own, "anybody");
	EQ(text_from(s, "anybody"), port[1]);
}

TEST(dgram_no_destination, .type = SOCK_DGRAM)
{
	unsigned int port;
	int s = sock();

	ERR(send(s, "x", 1, 0), EDESTADDRREQ);
	ERR(send(bound(&port), "x", 1, 0), EDESTADDRREQ);
	ERR(getpeername(s, (struct sockaddr *)&(union addr){}, &(socklen_t){ sizeof(union addr) }),
	    ENOTCONN);
	ERR(to(s, 0, "x", 1), EINVAL);
}

TEST(dgram_bad_address, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	union addr a;

	addr_set(&a, port);
	ERR(sendto(s, "x", 1, 0, &a.sa, addr_too_short()), EINVAL);
	ERR(connect(s, &a.sa, addr_too_short()), EINVAL);
	a.sa.sa_family = AF_UNIX;
	ERR(sendto(s, "x", 1, 0, &a.sa, addr_len()), family == AF_INET6 ? EINVAL : EAFNOSUPPORT);
	ERR(recv(r, &port, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(dgram_bad_memory, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	union addr a;
	socklen_t n = addr_set(&a, port);

	ERR(sendto(s, (void *)8, 100, 0, &a.sa, n), EFAULT);
	ERR(recv(r, &n, 1, MSG_DONTWAIT), EAGAIN);
	text_to(s, port, "good");
	ERR(recv(r, (void *)8, 100, 0), EFAULT);
}

TEST(dgram_refused, .type = SOCK_DGRAM)
{
	struct pollfd p;
	char c;
	int s = sock();

	EQ(sock_connect(s, nobody()), 0);
	EQ(send(s, "x", 1, 0), 1);
	ERR(recv(s, &c, 1, 0), ECONNREFUSED);
	ERR(recv(s, &c, 1, MSG_DONTWAIT), EAGAIN);
	EQ(send(s, "x", 1, 0), 1);
	p = (struct pollfd){ .fd = s, .events = 0 };
	EQ(poll(&p, 1, PATIENCE), 1);
	CHECK(p.revents & POLLERR);
	EQ(so_error(s), ECONNREFUSED);
	EQ(so_error(s), 0);
	/* Who only sends learns of it, too. */
	UNTIL(send(s, "x", 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED);
}

/* Whom else it has sent to is not the socket's business. */
TEST(dgram_not_refused, .type = SOCK_DGRAM)
{
	unsigned int port, dead = nobody();
	int r = bound(&port), s = sock();

	text_to(s, dead, "x");
	text_to(s, port, "y");
	EQ(text_from(r, "y"), port_of(s));
	EQ(so_error(s), 0);
	EQ(sock_connect(s, port), 0);
	text_to(s, dead, "x");
	text_to(r, port_of(s), "z");
	EQ(text_from(s, "z"), port);
	EQ(so_error(s), 0);
}

TEST(dgram_cut_short, .type = SOCK_DGRAM)
{
	char buf[8] = "";
	struct iovec iov = { buf, 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd[2];

	couple(fd);
	send_text(fd[0], "0123456789");
	send_text(fd[0], "abcdefghij");
	send_text(fd[0], "next");
	EQ(recvmsg(fd[1], &msg, 0), 4);
	CHECK(msg.msg_flags & MSG_TRUNC);
	CHECK(!strcmp(buf, "0123"));
	EQ(recv(fd[1], buf, 4, MSG_TRUNC), 10);
	EQ(recvmsg(fd[1], &msg, 0), 4);
	CHECK(!(msg.msg_flags & MSG_TRUNC));
	CHECK(!strcmp(buf, "next"));
}

TEST(dgram_peek, .type = SOCK_DGRAM)
{
	char buf[8] = "";
	int fd[2];

	couple(fd);
	send_text(fd[0], "first");
	send_text(fd[0], "second");
	EQ(recv(fd[1], buf, 2, MSG_PEEK), 2);
	EQ(recv(fd[1], buf, 2, MSG_PEEK | MSG_TRUNC), 5);
	EQ(recv(fd[1], buf, sizeof(buf), MSG_PEEK), 5);
	CHECK(!strcmp(buf, "first"));
	expect_text(fd[1], "first");
	expect_text(fd[1], "second");
	ERR(recv(fd[1], buf, 1, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}

TEST(dgram_waitall, .type = SOCK_DGRAM)
{
	char buf[8] = "";
	int fd[2];

	couple(fd);
	send_text(fd[0], "abc");
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), 3);
}

TEST(dgram_empty, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	char c;

	EQ(to(s, port, "", 0), 0);
	wait_for(r, POLLIN);
	EQ(recv(r, &c, 1, 0), 0);
	ERR(recv(r, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(dgram_too_long, .type = SOCK_DGRAM)
{
	static char buf[1 << 20];
	unsigned int port;
	int r = bound(&port), s = sock();

	ERR(to(s, port, buf, sizeof(buf)), EMSGSIZE);
	text_to(s, port, "short");
	text_from(r, "short");
}

/* As long as UDP can. */
TEST(dgram_long, .type = SOCK_DGRAM)
{
	static uint8_t buf[65507], got[65536];
	unsigned int port;
	int r = bound(&port), s = sock(), i;

	for (i = 0; i < 20; i++) {
		pattern(buf, sizeof(buf) - i, i);
		EQ(to(s, port, buf, sizeof(buf) - i), sizeof(buf) - i);
		EQ(recv(r, got, sizeof(got), 0), sizeof(buf) - i);
		pattern_check(got, sizeof(buf) - i, i);
	}
}

TEST(dgram_names, .type = SOCK_DGRAM)
{
	unsigned int port;
	int fd = sock();

	EQ(port_of(fd), 0);
	EQ(sock_bind(fd, 0), 0);
	port = port_of(fd);
	ERR(sock_bind(fd, 0), EINVAL);
	ERR(sock_bind(sock(), port), EADDRINUSE);
	close(fd);
	/* At once. */
	EQ(sock_bind(sock(), port), 0);
}

TEST(dgram_no_calls, .type = SOCK_DGRAM)
{
	unsigned int port;
	int fd = bound(&port);

	ERR(listen(fd, 1), EOPNOTSUPP);
	ERR(accept(fd, NULL, NULL), EOPNOTSUPP);
	EQ(get_option(fd, SO_ACCEPTCONN), 0);
	EQ(get_option(fd, SO_TYPE), SOCK_DGRAM);
}

TEST(dgram_shutdown, .type = SOCK_DGRAM)
{
	unsigned int port;
	int fd[2];
	char c;

	ERR(shutdown(bound(&port), SHUT_RDWR), ENOTCONN);
	couple(fd);
	EQ(shutdown(fd[0], SHUT_WR), 0);
	ERR(send(fd[0], "x", 1, 0), EPIPE);
	send_text(fd[1], "in");
	expect_text(fd[0], "in");
	EQ(shutdown(fd[0], SHUT_RD), 0);
	EQ(recv(fd[0], &c, 1, 0), 0);
	CHECK(poll_now(fd[0]) & POLLHUP);
}

static void receiver(struct task *t)
{
	char c;

	t->ret = recv(t->fd, &c, 1, 0);
	t->err = errno;
}

TEST(dgram_shutdown_wakes, .type = SOCK_DGRAM)
{
	struct task t;
	int fd[2];

	couple(fd);
	task_start(&t, receiver, fd[0], NULL);
	task_asleep(&t, SYS_recvfrom);
	EQ(shutdown(fd[0], SHUT_RD), 0);
	task_join(&t);
	EQ(t.ret, 0);
}

TEST(dgram_wakes, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock(), i;
	struct task t;

	for (i = 0; i < 20; i++) {
		task_start(&t, receiver, r, NULL);
		task_asleep(&t, SYS_recvfrom);
		text_to(s, port, "x");
		task_join(&t);
		EQ(t.ret, 1);
	}
}

TEST(dgram_signal, .type = SOCK_DGRAM)
{
	unsigned int port;
	struct task t;

	catch_signal(SIGUSR1, 0);
	task_start(&t, receiver, bound(&port), NULL);
	task_asleep(&t, SYS_recvfrom);
	task_nag(&t, SIGUSR1);
	task_join(&t);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
}

TEST(dgram_timeout, .type = SOCK_DGRAM)
{
	unsigned int port;
	int fd = bound(&port);
	long long start = now_ms();
	char c;

	timeout(fd, SO_RCVTIMEO, 200);
	ERR(recv(fd, &c, 1, 0), EAGAIN);
	CHECK(now_ms() - start >= 190);
	ERR(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
	nonblock(fd);
	ERR(recv(fd, &c, 1, 0), EAGAIN);
}

TEST(dgram_poll, .type = SOCK_DGRAM)
{
	unsigned int port, other;
	int r = bound(&port), s = sock(), o = bound(&other);
	char c;

	CHECK(poll_now(s) & POLLOUT);
	CHECK(!(poll_now(r) & (POLLIN | POLLHUP | POLLERR)));
	text_to(s, port, "x");
	wait_for(r, POLLIN);
	EQ(recv(r, &c, 1, 0), 1);
	CHECK(!(poll_now(r) & POLLIN));
	/* From somebody else there is nothing to read. */
	EQ(sock_connect(r, other), 0);
	text_to(s, port, "y");
	wait_quiet(r, POLLIN);
	text_to(o, port, "z");
	wait_for(r, POLLIN);
	EQ(text_from(r, "z"), other);
}

TEST(dgram_epoll_edges, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock(), ep = OK(epoll_create1(0)), i;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r, &ev));
	/* One for each arrival, whether or not anything was read. */
	for (i = 0; i < 5; i++) {
		text_to(s, port, "x");
		EQ(epoll_wait(ep, &ev, 1, PATIENCE), 1);
		EQ(epoll_wait(ep, &ev, 1, QUIET), 0);
	}
	for (i = 0; i < 5; i++)
		text_from(r, "x");
	ERR(recv(r, &ev, 1, MSG_DONTWAIT), EAGAIN);
}

/* What there is no room for is lost, and counted; what there was room for is there, in order. */
TEST(dgram_overflow, .type = SOCK_DGRAM)
{
	char buf[1000] = "", control[CMSG_SPACE(4)];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint32_t i, nr, last = 0, got = 0, lost = 0;
	unsigned int port;
	int r = bound(&port), s = sock();
	struct cmsghdr *cmsg;

	option(r, SO_RXQ_OVFL, 1);
	for (i = 1; i <= 5000; i++) {
		memcpy(buf, &i, 4);
		EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
	}
	/* A mark for the end, until there is room. */
	for (;;) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		if (recvmsg(r, &msg, MSG_DONTWAIT) < 0) {
			EQ(errno, EAGAIN);
			memset(buf, 0xff, 4);
			EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
			wait_for(r, POLLIN);
			continue;
		}
		memcpy(&nr, buf, 4);
		cmsg = CMSG_FIRSTHDR(&msg);
		if (cmsg) {
			EQ(cmsg->cmsg_level, SOL_SOCKET);
			EQ(cmsg->cmsg_type, SO_RXQ_OVFL);
			memcpy(&lost, CMSG_DATA(cmsg), 4);
		}
		if (nr == UINT32_MAX)
			break;
		CHECK(nr > last);
		last = nr;
		got++;
	}
	CHECK(lost);
	EQ(got + lost, 5000);
}

TEST(dgram_batch, .type = SOCK_DGRAM)
{
	enum { N = 64 };
	char buf[N][4], in[N][4];
	struct iovec out_iov[N], in_iov[N];
	struct mmsghdr out[N] = {}, got[N] = {};
	int fd[2], i, n = 0;

	couple(fd);
	for (i = 0; i < N; i++) {
		memcpy(buf[i], &i, 4);
		out_iov[i] = (struct iovec){ buf[i], 4 };
		in_iov[i] = (struct iovec){ in[i], 4 };
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &out_iov[i], .msg_iovlen = 1 };
		got[i].msg_hdr = (struct msghdr){ .msg_iov = &in_iov[i], .msg_iovlen = 1 };
	}
	EQ(sendmmsg(fd[0], out, N, 0), N);
	while (n < N)
		n += OK(recvmmsg(fd[1], got + n, N - n, MSG_WAITFORONE, NULL));
	for (i = 0; i < N; i++) {
		EQ(got[i].msg_len, 4);
		CHECK(!memcmp(in[i], &i, 4));
	}
}

static unsigned long doorbells(int fd)
{
	struct circuit_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len));
	return info.tx_doorbells;
}

/*
 * The operator is told once of a batch, and again at most where that takes so long that it has read
 * what there was.
 */
TEST(dgram_batch_told_once, .type = SOCK_DGRAM, .circuits_only = "SOL_CIRCUIT")
{
	struct iovec iov = { "x", 1 };
	struct mmsghdr out[64] = {};
	unsigned long before;
	int fd[2], i, round;
	char c[2];

	couple(fd);
	for (i = 0; i < 64; i++)
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (round = 0; round < 3; round++) {
		before = doorbells(fd[0]);
		EQ(sendmmsg(fd[0], out, 64, 0), 64);
		CHECK(doorbells(fd[0]) - before < 32);
		for (i = 0; i < 64; i++)
			EQ(recv(fd[1], c, sizeof(c), 0), 1);
	}
}

/*
 * However many follow each other without a pause, and however long that lasts, nobody is forgotten:
 * the last of them is received, and answered.
 */
TEST(dgram_bursts, .type = SOCK_DGRAM)
{
	static const unsigned int rows[] = { 1, 2, 3, 5, 8, 40, 1, 100, 4, 16, 1, 1 };
	unsigned int i, n, row, round;
	char c[8];
	int fd[2];

	couple(fd);
	for (round = 0; round < 10; round++)
		for (row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
			for (i = 0; i < rows[row]; i++)
				EQ(send(fd[0], &i, sizeof(i), 0), sizeof(i));
			for (i = 0; i < rows[row]; i++) {
				wait_for(fd[1], POLLIN);
				EQ(recv(fd[1], &n, sizeof(n), 0), sizeof(n));
				EQ(n, i);
			}
			send_text(fd[1], "all");
			wait_for(fd[0], POLLIN);
			EQ(recv(fd[0], c, sizeof(c), 0), 3);
		}
}

/* What was sent of a batch gets there even if the rest of it was never looked at. */
TEST(dgram_batch_cut_short, .type = SOCK_DGRAM)
{
	struct iovec iov = { "x", 1 };
	struct mmsghdr out[3] = {};
	struct task t;
	int fd[2], i;

	couple(fd);
	for (i = 0; i < 10; i++) {
		task_start(&t, receiver, fd[1], NULL);
		task_asleep(&t, SYS_recvfrom);
		out[0].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
		out[1].msg_hdr = (struct msghdr){ .msg_iov = (void *)8, .msg_iovlen = 1 };
		EQ(sendmmsg(fd[0], out, 3, 0), 1);
		task_join(&t);
		EQ(t.ret, 1);
	}
}

TEST(dgram_next, .type = SOCK_DGRAM)
{
	int fd[2], n;

	couple(fd);
	EQ(ioctl(fd[1], SIOCINQ, &n), 0);
	EQ(n, 0);
	send_text(fd[0], "12345");
	send_text(fd[0], "123");
	wait_for(fd[1], POLLIN);
	EQ(ioctl(fd[1], SIOCINQ, &n), 0);
	EQ(n, 5);
	expect_text(fd[1], "12345");
	wait_for(fd[1], POLLIN);
	EQ(ioctl(fd[1], SIOCINQ, &n), 0);
	EQ(n, 3);
}

TEST(dgram_shared, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	pid_t pid = spawn();

	if (!pid) {
		text_from(r, "to a child");
		_exit(0);
	}
	close(r);
	text_to(s, port, "to a child");
	reap(pid);
}

/* Questions and answers, many at once, none of which gets to anybody else. */
static void asker(struct task *t)
{
	unsigned int *port = t->arg;
	int s = sock(), i;
	uint32_t ask, got;

	EQ(sock_connect(s, *port), 0);
	for (i = 0; i < (quick ? 200 : 2000); i++) {
		ask = (uint32_t)t->fd << 16 | i;
		EQ(send(s, &ask, 4, 0), 4);
		EQ(recv(s, &got, 4, 0), 4);
		EQ(got, ~ask);
	}
	close(s);
}

static void answerer(struct task *t)
{
	union addr a;
	socklen_t n;
	uint32_t x;

	for (;;) {
		n = sizeof(a);
		EQ(recvfrom(t->fd, &x, 4, 0, &a.sa, &n), 4);
		if (x == UINT32_MAX)
			return;
		x = ~x;
		EQ(sendto(t->fd, &x, 4, 0, &a.sa, n), 4);
	}
}

TEST(dgram_many, .type = SOCK_DGRAM, .timeout = 60)
{
	struct task t[8], server;
	unsigned int port;
	int r = bound(&port), i;
	uint32_t end = UINT32_MAX;

	task_start(&server, answerer, r, NULL);
	for (i = 0; i < 8; i++)
		task_start(&t[i], asker, i, &port);
	for (i = 0; i < 8; i++)
		task_join(&t[i]);
	EQ(to(sock(), port, &end, 4), 4);
	task_join(&server);
}

/* Sockets come and go while others send to them. */
TEST(dgram_come_and_go, .type = SOCK_DGRAM, .timeout = 60)
{
	unsigned int port;
	int s = sock(), r, i;
	char buf[16];

	close(bound(&port));
	for (i = 0; i < (quick ? 100 : 1000); i++) {
		r = sock();
		EQ(sock_bind(r, port), 0);
		text_to(s, port, "x");
		/* What was on its way to the one before may get there. */
		while (OK(recv(r, buf, sizeof(buf), 0)) != 1)
			CHECK(!memcmp(buf, "nobody", 6));
		close(r);
		text_to(s, port, "nobody");
	}
}

/* What was sent before close() gets there. */
TEST(dgram_last_words, .type = SOCK_DGRAM)
{
	unsigned int port;
	int r = bound(&port), s, i;

	for (i = 0; i < 50; i++) {
		s = sock();
		text_to(s, port, "one");
		text_to(s, port, "two");
		close(s);
		text_from(r, "one");
		text_from(r, "two");
	}
}

/* As of UDP: shutdown() says that there is no connection, and wakes who waits all the same. */
TEST(dgram_shutdown_unconnected, .type = SOCK_DGRAM)
{
	unsigned int port;
	struct task t;
	int r = bound(&port);

	task_start(&t, receiver, r, NULL);
	task_asleep(&t, SYS_recvfrom);
	ERR(shutdown(r, SHUT_RDWR), ENOTCONN);
	task_join(&t);
	EQ(t.ret, 0);
}

TEST(dgram_far, .type = SOCK_DGRAM, .circuits_only = "it is about lines")
{
	union addr a;
	socklen_t n = addr_set(&a, 7);
	char c;
	int s = sock();

	strcpy(a.cc.sc_line, "nobody");
	EQ(connect(s, &a.sa, n), 0);
	EQ(send(s, "x", 1, 0), 1);
	ERR(recv(s, &c, 1, 0), EHOSTUNREACH);
	/* Nobody else's name will do to receive at. */
	ERR(bind(sock(), &a.sa, n), EADDRNOTAVAIL);
	memset(a.cc.sc_line, 'x', sizeof(a.cc.sc_line));
	ERR(sendto(s, "x", 1, 0, &a.sa, n), EINVAL);
}
