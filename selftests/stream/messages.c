// SPDX-License-Identifier: GPL-2.0
/*
 * What SOCK_SEQPACKET promises. With --unix the same is expected of AF_UNIX.
 */
#include "stream_test.h"
#include <linux/circuit_ring.h>
#include <linux/sockios.h>

/* Each message by itself, however long or short it is, and nothing of the one after it. */
TEST(messages_keep_apart, .type = SOCK_SEQPACKET)
{
	static const size_t len[] = { 1, 2, 7, 8, 9, 0, 100, 4096, 4095, 3, 12345 };
	uint8_t buf[20000], got[20000];
	int fd[2];
	size_t i;

	pair(fd);
	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		pattern(buf, len[i], i * 1000);
		EQ(send(fd[0], buf, len[i], MSG_NOSIGNAL), len[i]);
	}
	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		memset(got, 0xee, sizeof(got));
		EQ(recv(fd[1], got, sizeof(got), 0), len[i]);
		pattern_check(got, len[i], i * 1000);
		EQ(got[len[i]], 0xee);
	}
	expect_works(fd[0], fd[1]);
}

TEST(message_of_several_pieces, .type = SOCK_SEQPACKET)
{
	char a[3], b[5], c[8], got[32];
	struct iovec out[3] = { { "abc", 3 }, { "", 0 }, { "defgh", 5 } };
	struct iovec in[3] = { { a, 3 }, { b, 2 }, { c, 8 } };
	struct msghdr msg = { .msg_iov = out, .msg_iovlen = 3 };
	int fd[2];

	pair(fd);
	EQ(sendmsg(fd[0], &msg, 0), 8);
	EQ(writev(fd[0], out, 3), 8);
	msg.msg_iov = in;
	EQ(recvmsg(fd[1], &msg, 0), 8);
	CHECK(!(msg.msg_flags & MSG_TRUNC));
	CHECK(!memcmp(a, "abc", 3) && !memcmp(b, "de", 2) && !memcmp(c, "fgh", 3));
	EQ(read(fd[1], got, sizeof(got)), 8);
	CHECK(!memcmp(got, "abcdefgh", 8));
}

/* What does not fit is lost, and said so; MSG_TRUNC tells how much there was. */
TEST(message_cut_short, .type = SOCK_SEQPACKET)
{
	char buf[8] = "";
	struct iovec iov = { buf, 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd[2];

	pair(fd);
	send_text(fd[0], "0123456789");
	send_text(fd[0], "abcdefghij");
	send_text(fd[0], "next");
	EQ(recvmsg(fd[1], &msg, 0), 4);
	CHECK(msg.msg_flags & MSG_TRUNC);
	CHECK(!strcmp(buf, "0123"));
	EQ(recv(fd[1], buf, 4, MSG_TRUNC), 10);
	CHECK(!strcmp(buf, "abcd"));
	EQ(recvmsg(fd[1], &msg, 0), 4);
	CHECK(!(msg.msg_flags & MSG_TRUNC));
	CHECK(!strcmp(buf, "next"));
}

TEST(message_into_nothing, .type = SOCK_SEQPACKET)
{
	int fd[2];
	char c;

	pair(fd);
	send_text(fd[0], "lost");
	send_text(fd[0], "x");
	EQ(recv(fd[1], &c, 0, 0), 0);
	EQ(recv(fd[1], &c, 1, 0), 1);
	EQ(c, 'x');
}

TEST(message_peek, .type = SOCK_SEQPACKET)
{
	char buf[8] = "";
	int fd[2];

	pair(fd);
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

/* One message is all there is to wait for. */
TEST(message_waitall, .type = SOCK_SEQPACKET)
{
	char buf[8] = "";
	int fd[2];

	pair(fd);
	send_text(fd[0], "abc");
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), 3);
	option(fd[1], SO_RCVLOWAT, 100);
	send_text(fd[0], "abc");
	wait_for(fd[1], POLLIN);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 3);
}

TEST(message_end_of_record, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX does not pass MSG_EOR on")
{
	char buf[8];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd[2];

	pair(fd);
	EQ(send(fd[0], "a", 1, 0), 1);
	EQ(send(fd[0], "b", 1, MSG_EOR), 1);
	EQ(send(fd[0], "c", 1, 0), 1);
	EQ(recvmsg(fd[1], &msg, 0), 1);
	CHECK(!(msg.msg_flags & MSG_EOR));
	EQ(recvmsg(fd[1], &msg, 0), 1);
	CHECK(msg.msg_flags & MSG_EOR);
	EQ(recvmsg(fd[1], &msg, 0), 1);
	CHECK(!(msg.msg_flags & MSG_EOR));
}

TEST(message_out_of_band, .type = SOCK_SEQPACKET)
{
	int fd[2], val;
	char c;

	pair(fd);
	ERR(send(fd[0], "x", 1, MSG_OOB), EOPNOTSUPP);
	ERR(recv(fd[1], &c, 1, MSG_OOB), EOPNOTSUPP);
	val = ioctl(fd[1], SIOCATMARK, &val);
	EQ(val, -1);
	expect_works(fd[0], fd[1]);
}

/* The longest there can be goes through, and what is longer is refused, every time. */
TEST(message_longest, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX has other limits")
{
	const size_t most = 65536 - sizeof(struct circuit_message);
	uint8_t *buf = malloc(most + 1);
	int fd[2], i;

	pair_of_size(fd, 65536);
	pattern(buf, most, 0);
	for (i = 0; i < 3; i++) {
		ERR(send(fd[0], buf, most + 1, MSG_NOSIGNAL), EMSGSIZE);
		ERR(send(fd[0], buf, SIZE_MAX / 4, MSG_NOSIGNAL), EMSGSIZE);
		EQ(send(fd[0], buf, most, MSG_NOSIGNAL), most);
		ERR(send(fd[0], buf, 0, MSG_NOSIGNAL | MSG_DONTWAIT), EAGAIN);
		memset(buf, 0, most);
		EQ(recv(fd[1], buf, most + 1, 0), most);
		pattern_check(buf, most, 0);
	}
	expect_works(fd[0], fd[1]);
}

/* Bad memory costs nothing but the call. */
TEST(message_bad_memory, .type = SOCK_SEQPACKET)
{
	struct iovec iov[2] = { { "abc", 3 }, { (void *)8, 5 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	int fd[2];

	pair(fd);
	ERR(sendmsg(fd[0], &msg, MSG_NOSIGNAL), EFAULT);
	ERR(recv(fd[1], iov, 1, MSG_DONTWAIT), EAGAIN);
	expect_works(fd[0], fd[1]);
}

/* Full: nothing of a message that does not fit is taken, and poll() waits until it does. */
TEST(message_full, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX counts messages")
{
	uint8_t big[30000], buf[30000];
	int fd[2], n = 0, i;

	pair_of_size(fd, 65536);
	pattern(big, sizeof(big), 0);
	while (send(fd[0], big, 10000, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		n++;
	EQ(errno, EAGAIN);
	EQ(n, 6);
	ERR(send(fd[0], big, sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL), EAGAIN);
	wait_quiet(fd[0], POLLOUT);
	/* A quarter of the ring is free, which would be enough for a stream. */
	for (i = 0; i < 2; i++) {
		EQ(recv(fd[1], buf, sizeof(buf), 0), 10000);
		pattern_check(buf, 10000, 0);
	}
	wait_quiet(fd[0], POLLOUT);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 10000);
	wait_for(fd[0], POLLOUT);
	EQ(send(fd[0], big, sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL), sizeof(big));
	for (i = 0; i < 3; i++)
		EQ(recv(fd[1], buf, sizeof(buf), 0), 10000);
	EQ(recv(fd[1], buf, sizeof(buf), 0), sizeof(buf));
	pattern_check(buf, sizeof(buf), 0);
}

static void send_many(struct task *t)
{
	uint32_t state = 1, i, n = *(uint32_t *)t->arg;
	static uint8_t buf[20000];

	for (i = 0; i < n; i++) {
		size_t len = rnd(&state) % (i % 10 ? 300 : sizeof(buf));

		pattern(buf, len, i);
		EQ(send(t->fd, buf, len, MSG_NOSIGNAL), len);
	}
	OK(shutdown(t->fd, SHUT_WR));
}

/* Many, of all lengths, with a reader and a writer that wait for each other. */
static void many(int size, int flags)
{
	uint32_t state = 1, i, n = quick ? 2000 : 20000;
	static uint8_t buf[20000];
	struct task t;
	ssize_t got;
	int fd[2];

	pair_of_size(fd, size);
	task_start(&t, send_many, fd[0], &n);
	for (i = 0; i < n; i++) {
		size_t len = rnd(&state) % (i % 10 ? 300 : sizeof(buf));

		while ((got = recv(fd[1], buf, sizeof(buf), flags)) < 0 && errno == EAGAIN)
			wait_for(fd[1], POLLIN);
		EQ(got, len);
		pattern_check(buf, len, i);
	}
	task_join(&t);
	expect_eof(fd[1]);
}

TEST(messages_many, .type = SOCK_SEQPACKET)
{
	many(0, 0);
}

TEST(messages_many_small_ring, .type = SOCK_SEQPACKET)
{
	many(32768, 0);
}

TEST(messages_many_nonblocking, .type = SOCK_SEQPACKET)
{
	many(32768, MSG_DONTWAIT);
}

/* Several at a time, as far as there are any. */
TEST(messages_at_once, .type = SOCK_SEQPACKET)
{
	struct mmsghdr m[8] = {};
	struct iovec iov[8];
	char buf[8][16];
	int fd[2], i;

	pair(fd);
	for (i = 0; i < 8; i++) {
		iov[i] = (struct iovec){ buf[i], i + 1 };
		memset(buf[i], 'a' + i, sizeof(buf[i]));
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	EQ(sendmmsg(fd[0], m, 8, MSG_NOSIGNAL), 8);
	for (i = 0; i < 8; i++)
		iov[i].iov_len = 16;
	EQ(recvmmsg(fd[1], m, 8, MSG_WAITFORONE, NULL), 8);
	for (i = 0; i < 8; i++) {
		EQ(m[i].msg_len, i + 1);
		EQ(buf[i][i], 'a' + i);
	}
}

TEST(message_edges, .type = SOCK_SEQPACKET)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int e = OK(epoll_create1(0)), fd[2], i;

	pair(fd);
	OK(epoll_ctl(e, EPOLL_CTL_ADD, fd[1], &ev));
	for (i = 0; i < 20; i++) {
		send_text(fd[0], "one");
		send_text(fd[0], "two");
		EQ(epoll_wait(e, &ev, 1, PATIENCE), 1);
		expect_text(fd[1], "one");
		expect_text(fd[1], "two");
		/* An edge may have been for the second. */
		EQ(epoll_wait(e, &ev, 1, 0) <= 1, 1);
	}
	EQ(epoll_wait(e, &ev, 1, QUIET), 0);
	send_text(fd[0], "a");
	send_text(fd[0], "b");
	EQ(epoll_wait(e, &ev, 1, PATIENCE), 1);
	expect_text(fd[1], "a");
	/* Another arrival is another edge, though there was something left. */
	OK(epoll_wait(e, &ev, 1, 0));
	send_text(fd[0], "c");
	EQ(epoll_wait(e, &ev, 1, PATIENCE), 1);
}

TEST(message_ends, .type = SOCK_SEQPACKET)
{
	int fd[2];
	char c;

	pair(fd);
	send_text(fd[0], "last");
	OK(shutdown(fd[0], SHUT_WR));
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	expect_text(fd[1], "last");
	expect_eof(fd[1]);
	send_text(fd[1], "back");
	expect_text(fd[0], "back");
	close(fd[1]);
	EQ(recv(fd[0], &c, 1, 0), 0);
}

TEST(message_to_nobody, .type = SOCK_SEQPACKET)
{
	int s = sock();
	char c;

	ERR(send(s, "x", 1, MSG_NOSIGNAL), ENOTCONN);
	ERR(recv(s, &c, 1, 0), ENOTCONN);
}

TEST(message_far_end_gone, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX raises no signal for messages")
{
	int fd[2];

	pair(fd);
	catch_signal(SIGPIPE, 0);
	close(fd[1]);
	UNTIL(send(fd[0], "x", 1, 0) < 0);
	UNTIL(send(fd[0], "x", 1, 0) < 0 && errno == EPIPE);
	CHECK(signals > 0);
}

TEST(message_reader_interrupted, .type = SOCK_SEQPACKET)
{
	struct timeval tv = { .tv_usec = 50000 };
	int fd[2];
	char c;

	pair(fd);
	OK(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	ERR(recv(fd[1], &c, 1, 0), EAGAIN);
	send_text(fd[0], "x");
	EQ(recv(fd[1], &c, 1, 0), 1);
}

TEST(message_next_length, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX tells the sum of all")
{
	int fd[2], n = -1;

	pair(fd);
	OK(ioctl(fd[1], SIOCINQ, &n));
	EQ(n, 0);
	send_text(fd[0], "12345");
	send_text(fd[0], "123");
	wait_for(fd[1], POLLIN);
	OK(ioctl(fd[1], SIOCINQ, &n));
	EQ(n, 5);
	expect_text(fd[1], "12345");
	OK(ioctl(fd[1], SIOCINQ, &n));
	EQ(n, 3);
}

/* Ports are one thing for streams and another for messages. */
TEST(message_ports, .type = SOCK_SEQPACKET, .circuits_only = "AF_UNIX has names")
{
	unsigned int port;
	int l = listener(4, &port), s = OK(socket(family, SOCK_STREAM, 0)), c;

	/* To a stream nobody listens there... */
	ERR(sock_connect(s, port), ECONNREFUSED);
	close(s);
	/* ... until somebody does. */
	s = OK(socket(family, SOCK_STREAM, 0));
	OK(sock_bind(s, port));
	OK(listen(s, 1));
	c = call(port);
	expect_works(c, answer(l));
	EQ(poll_now(s), 0);
	c = sock();
	ERR(sock_bind(c, port), EADDRINUSE);
}
