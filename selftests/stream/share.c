// SPDX-License-Identifier: GPL-2.0
/*
 * Descriptors that are copied, inherited and passed on: the socket ends with the last.
 */
#include "stream_test.h"

/* Nothing but the end of the stream is to be read. */
static void expect_end(int fd)
{
	char c;

	wait_for(fd, POLLIN);
	EQ(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

static void expect_open(int fd)
{
	char c;

	ERR(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(dup_shares)
{
	int fd[2], copy;
	char c;

	pair(fd);
	copy = OK(dup(fd[0]));
	OK(close(fd[0]));
	expect_open(fd[1]);
	send_text(copy, "x");
	EQ(recv(fd[1], &c, 1, 0), 1);
	OK(close(copy));
	expect_end(fd[1]);
}

TEST(dup_shuts_down_both)
{
	int fd[2], copy;

	pair(fd);
	copy = OK(dup(fd[0]));
	OK(shutdown(copy, SHUT_WR));
	expect_end(fd[1]);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(dup_shares_flags)
{
	int fd[2], copy;
	char c;

	pair(fd);
	copy = OK(dup(fd[0]));
	nonblock(copy);
	ERR(recv(fd[0], &c, 1, 0), EAGAIN);
}

TEST(fork_shares)
{
	int fd[2], pid;
	char c;

	pair(fd);
	pid = spawn();
	if (!pid) {
		send_text(fd[0], "x");
		_exit(0);
	}
	reap(pid);
	EQ(recv(fd[1], &c, 1, 0), 1);
	expect_open(fd[1]);	/* the child's end was not the socket's */
	send_text(fd[0], "y");
	EQ(recv(fd[1], &c, 1, 0), 1);
	OK(close(fd[0]));
	expect_end(fd[1]);
}

TEST(fork_accepts)
{
	unsigned int port;
	int l = listener(4, &port), i, s[3];
	char c;

	for (i = 0; i < 3; i++)
		if (!spawn()) {
			int fd = answer(l);

			EQ(recv(fd, &c, 1, 0), 1);
			send_text(fd, "y");
			_exit(0);
		}
	for (i = 0; i < 3; i++) {
		s[i] = call(port);
		send_text(s[i], "x");
	}
	for (i = 0; i < 3; i++)
		EQ(recv(s[i], &c, 1, 0), 1);
	for (i = 0; i < 3; i++)
		reap(-1);
}

static void pass(int unix_fd, int fd)
{
	char space[CMSG_SPACE(sizeof(fd))] = {};
	struct iovec iov = { "x", 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	EQ(sendmsg(unix_fd, &msg, 0), 1);
}

static int take(int unix_fd)
{
	char space[CMSG_SPACE(sizeof(int))] = {}, c;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	int fd;

	EQ(recvmsg(unix_fd, &msg, MSG_CMSG_CLOEXEC), 1);
	CHECK(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

TEST(passed_on)
{
	int fd[2], u[2], other;
	char c;

	pair(fd);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	pass(u[0], fd[0]);
	OK(close(fd[0]));
	expect_open(fd[1]);	/* it is on its way */
	other = take(u[1]);
	send_text(other, "x");
	EQ(recv(fd[1], &c, 1, 0), 1);
	OK(close(other));
	expect_end(fd[1]);
}

TEST(passed_on_listener)
{
	unsigned int port;
	int l = listener(2, &port), u[2], s, other;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	s = call(port);
	pass(u[0], l);
	OK(close(l));
	other = take(u[1]);
	answer(other);
	call(port);
	answer(other);
	expect_open(s);
}

TEST(passed_on_to_nobody)
{
	int fd[2], u[2];

	pair(fd);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	pass(u[0], fd[0]);
	OK(close(fd[0]));
	expect_open(fd[1]);
	OK(close(u[0]));
	OK(close(u[1]));
	expect_end(fd[1]);
}

TEST(exec_inherits)
{
	int fd[2], pid;
	char c[2];

	pair(fd);
	pid = spawn();
	if (!pid) {
		OK(dup2(fd[0], 3));	/* without FD_CLOEXEC */
		execl("/bin/sh", "sh", "-c", "echo x >&3", NULL);
		_exit(1);
	}
	OK(close(fd[0]));
	EQ(recv(fd[1], c, 2, MSG_WAITALL), 2);
	CHECK(c[0] == 'x');
	expect_end(fd[1]);
	reap(pid);
}

TEST(exec_closes)
{
	int fd[2], pipe_fd[2], pid;

	pair(fd);
	OK(pipe(pipe_fd));
	pid = spawn();
	if (!pid) {
		/* Its copy of the socket has FD_CLOEXEC. */
		OK(dup2(pipe_fd[0], 0));
		OK(close(pipe_fd[1]));
		execl("/bin/sh", "sh", "-c", "read x", NULL);
		_exit(2);
	}
	OK(close(fd[0]));
	expect_end(fd[1]);	/* though the program runs on */
	OK(close(pipe_fd[1]));
	OK(waitpid(pid, NULL, 0));
}
