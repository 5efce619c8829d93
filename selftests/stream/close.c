// SPDX-License-Identifier: GPL-2.0
/*
 * shutdown(), close(), SO_LINGER, and what the other end makes of them.
 */
#include <linux/sockios.h>
#include "stream_test.h"

TEST(shutdown_write)
{
	int fd[2];

	pair(fd);
	send_text(fd[0], "last");
	OK(shutdown(fd[0], SHUT_WR));
	expect_text(fd[1], "last");
	expect_eof(fd[1]);
	expect_eof(fd[1]);
	send_text(fd[1], "the other way");
	expect_text(fd[0], "the other way");
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(shutdown(fd[1], SHUT_WR));
	expect_eof(fd[0]);
}

TEST(shutdown_read)
{
	int fd[2];

	pair(fd);
	OK(shutdown(fd[0], SHUT_RD));
	expect_eof(fd[0]);
	send_text(fd[0], "still");
	expect_text(fd[1], "still");
}

TEST(shutdown_read_keeps_what_came)
{
	int fd[2];

	pair(fd);
	send_text(fd[1], "before");
	wait_for(fd[0], POLLIN);
	OK(shutdown(fd[0], SHUT_RD));
	expect_text(fd[0], "before");
	expect_eof(fd[0]);
}

static void do_recv(struct task *t)
{
	char c;

	t->ret = recv(t->fd, &c, 1, 0);
}

static void do_send(struct task *t)
{
	t->ret = send(t->fd, "x", 1, MSG_NOSIGNAL);
}

TEST(shutdown_wakes_reader)
{
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_recv, fd[0], NULL);
	task_asleep(&t, SYS_recvfrom);
	OK(shutdown(fd[0], SHUT_RD));
	task_join(&t);
	EQ(t.ret, 0);
}

TEST(shutdown_by_peer_wakes_reader)
{
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_recv, fd[0], NULL);
	task_asleep(&t, SYS_recvfrom);
	OK(shutdown(fd[1], SHUT_WR));
	task_join(&t);
	EQ(t.ret, 0);
}

TEST(shutdown_wakes_writer)
{
	struct task t;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[0], 0);
	task_start(&t, do_send, fd[0], NULL);
	task_asleep(&t, SYS_sendto);
	OK(shutdown(fd[0], SHUT_WR));
	task_join(&t);
	EQ(t.ret, -1);
	EQ(t.err, EPIPE);
}

TEST(shutdown_unconnected)
{
	int fd = sock();

	ERR(shutdown(fd, SHUT_WR), ENOTCONN);
	ERR(shutdown(fd, SHUT_RDWR), ENOTCONN);
	ERR(shutdown(fd, 7), EINVAL);
}

TEST(shutdown_twice)
{
	int fd[2];

	pair(fd);
	OK(shutdown(fd[0], SHUT_WR));
	OK(shutdown(fd[0], SHUT_WR));
	OK(shutdown(fd[0], SHUT_RDWR));
	expect_eof(fd[1]);
}

TEST(shutdown_full_ring)
{
	int fd[2];
	size_t n;

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	OK(shutdown(fd[0], SHUT_WR));	/* needs no room */
	recv_pattern(fd[1], n, 0);
	expect_eof(fd[1]);
}

TEST(shutdown_inherited_by_fork)
{
	pid_t pid;
	int fd[2];

	pair(fd);
	pid = spawn();
	if (!pid) {
		OK(shutdown(fd[0], SHUT_WR));
		_exit(0);
	}
	reap(pid);
	expect_eof(fd[1]);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(close_delivers)
{
	int fd[2];

	pair(fd);
	send_pattern(fd[0], 30000, 0);
	OK(close(fd[0]));
	recv_pattern(fd[1], 30000, 0);
	expect_eof(fd[1]);
}

TEST(close_full_delivers)
{
	int fd[2];
	size_t n;

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	OK(close(fd[0]));
	recv_pattern(fd[1], n, 0);
	expect_eof(fd[1]);
}

TEST(close_then_send)
{
	int fd[2];

	pair(fd);
	OK(close(fd[0]));
	expect_eof(fd[1]);
	/* the first may still be taken, the reset comes back, then there is a broken pipe */
	UNTIL(send(fd[1], "x", 1, MSG_NOSIGNAL) < 0);
	CHECK(errno == EPIPE || errno == ECONNRESET);
	ERR(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(close_unread)
{
	char c;
	int fd[2];

	pair(fd);
	send_text(fd[1], "nobody reads this");
	wait_for(fd[0], POLLIN);
	OK(close(fd[0]));
	wait_for(fd[1], POLLIN);
	ERR(recv(fd[1], &c, 1, 0), ECONNRESET);
	expect_eof(fd[1]);
	ERR(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(close_abort)
{
	char c;
	int fd[2];

	pair(fd);
	abort_sock(fd[0]);
	wait_for(fd[1], POLLIN);
	ERR(recv(fd[1], &c, 1, 0), ECONNRESET);
	expect_eof(fd[1]);
	EQ(so_error(fd[1]), 0);
}

TEST(close_abort_send)
{
	int fd[2];

	pair(fd);
	abort_sock(fd[0]);
	wait_for(fd[1], POLLERR);
	ERR(send(fd[1], "x", 1, MSG_NOSIGNAL), ECONNRESET);
	ERR(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(close_abort_wakes_reader)
{
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_recv, fd[1], NULL);
	task_asleep(&t, SYS_recvfrom);
	abort_sock(fd[0]);
	task_join(&t);
	EQ(t.ret, -1);
	EQ(t.err, ECONNRESET);
}

TEST(close_abort_wakes_writer)
{
	struct task t;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[1], 0);
	task_start(&t, do_send, fd[1], NULL);
	task_asleep(&t, SYS_sendto);
	abort_sock(fd[0]);
	task_join(&t);
	EQ(t.ret, -1);
	CHECK(t.err == ECONNRESET || t.err == EPIPE);
}

TEST(close_wakes_writer)
{
	struct task t;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[1], 0);
	task_start(&t, do_send, fd[1], NULL);
	task_asleep(&t, SYS_sendto);
	OK(close(fd[0]));		/* with data unread: a reset */
	task_join(&t);
	EQ(t.ret, -1);
	CHECK(t.err == ECONNRESET || t.err == EPIPE);
}

TEST(close_linger)
{
	long long start;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[0], 0);
	linger(fd[0], 1, 1);
	start = now_ms();
	OK(close(fd[0]));		/* nobody reads: the whole second */
	CHECK(now_ms() - start >= 900);
}

static void do_recv_pattern(struct task *t)
{
	recv_pattern(t->fd, *(size_t *)t->arg, 0);
	t->ret = recv(t->fd, &t->err, 1, 0);
}

TEST(close_linger_drained)
{
	long long start = now_ms();
	struct task t;
	int fd[2];
	size_t n;

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	linger(fd[0], 1, 15);
	task_start(&t, do_recv_pattern, fd[1], &n);
	OK(close(fd[0]));
	task_join(&t);
	EQ(t.ret, 0);
	CHECK(now_ms() - start < 10000);
}

TEST(close_killed)
{
	pid_t pid;
	int fd[2];

	pair(fd);
	pid = spawn();
	if (!pid) {
		send_text(fd[0], "alive");
		for (;;)
			pause();
	}
	close(fd[0]);
	expect_text(fd[1], "alive");
	OK(kill(pid, SIGKILL));
	reap_killed(pid, SIGKILL);
	expect_eof(fd[1]);
}

TEST(close_killed_blocked)
{
	pid_t pid;
	int fd[2];
	size_t n;

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	pid = spawn();
	if (!pid) {
		send(fd[0], "x", 1, 0);
		_exit(1);
	}
	close(fd[0]);
	OK(kill(pid, SIGKILL));
	reap_killed(pid, SIGKILL);
	recv_pattern(fd[1], n, 0);
}

TEST(close_both_at_once)
{
	int i, fd[2];
	pid_t pid;

	for (i = 0; i < (quick ? 20 : 200); i++) {
		pair(fd);
		pid = spawn();
		if (!pid) {
			close(fd[0]);
			close(fd[1]);
			_exit(0);
		}
		close(fd[1]);
		close(fd[0]);
		reap(pid);
	}
}

TEST(call_rate)
{
	unsigned int port;
	int l = listener(16, &port), i, fd, s;

	for (i = 0; i < (quick ? 100 : 1000); i++) {
		fd = call(port);
		s = answer(l);
		expect_works(fd, s);
		OK(close(fd));
		expect_eof(s);
		OK(close(s));
	}
}

TEST(many_at_once)
{
	enum { N = 100 };
	int fd[N][2], i;

	for (i = 0; i < N; i++)
		pair_of_size(fd[i], 4096);
	for (i = 0; i < N; i++)
		send_pattern(fd[i][0], 1000, i);
	for (i = N - 1; i >= 0; i--)
		recv_pattern(fd[i][1], 1000, i);
	for (i = 0; i < N; i++)
		expect_works(fd[i][1], fd[i][0]);
}
