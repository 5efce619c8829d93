// SPDX-License-Identifier: GPL-2.0
/*
 * poll(), select() and epoll, level and edge triggered.
 */
#include <sys/select.h>
#include "stream_test.h"

TEST(poll_fresh)
{
	expect_mask(sock(), EV_OUT | POLLHUP);
}

TEST(poll_listener)
{
	unsigned int port;
	int l = listener(2, &port);

	expect_mask(l, 0);
	call(port);
	expect_mask(l, EV_IN);
	answer(l);
	expect_mask(l, 0);
}

TEST(poll_connected)
{
	int fd[2];

	pair(fd);
	expect_mask(fd[0], EV_OUT);
	send_text(fd[1], "x");
	expect_mask(fd[0], EV_IN | EV_OUT);
	expect_text(fd[0], "x");
	expect_mask(fd[0], EV_OUT);
}

TEST(poll_full)
{
	int fd[2];
	size_t n;

	pair_of_size(fd, 16384);
	n = fill(fd[0], 0);
	expect_mask(fd[0], 0);
	recv_pattern(fd[1], n, 0);
	expect_mask(fd[0], EV_OUT);
}

TEST(poll_shutdown)
{
	int fd[2];

	pair(fd);
	OK(shutdown(fd[1], SHUT_WR));
	expect_mask(fd[0], EV_IN | EV_OUT | POLLRDHUP);
	expect_mask(fd[1], EV_OUT);
	OK(shutdown(fd[0], SHUT_WR));
	expect_mask(fd[0], EV_IN | EV_OUT | POLLRDHUP | POLLHUP);
	expect_mask(fd[1], EV_IN | EV_OUT | POLLRDHUP | POLLHUP);
}

TEST(poll_shutdown_read)
{
	int fd[2];

	pair(fd);
	OK(shutdown(fd[0], SHUT_RD));
	expect_mask(fd[0], EV_IN | EV_OUT | POLLRDHUP);
}

TEST(poll_reset)
{
	int fd[2];

	pair(fd);
	abort_sock(fd[1]);
	expect_mask(fd[0], EV_IN | EV_OUT | POLLERR | POLLHUP | POLLRDHUP);
	EQ(so_error(fd[0]), ECONNRESET);
	expect_mask(fd[0], EV_IN | EV_OUT | POLLHUP | POLLRDHUP);
}

TEST(poll_lowat)
{
	int fd[2];

	pair(fd);
	option(fd[0], SO_RCVLOWAT, 5);
	send_text(fd[1], "four");
	wait_quiet(fd[0], POLLIN);
	send_text(fd[1], "!");
	wait_for(fd[0], POLLIN);
	expect_text(fd[0], "four!");
	/* the end is always worth telling */
	send_text(fd[1], "ab");
	OK(shutdown(fd[1], SHUT_WR));
	wait_for(fd[0], POLLIN);
}

static void do_poll(struct task *t)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };

	t->ret = poll(&p, 1, PATIENCE);
}

TEST(poll_wakes)
{
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_poll, fd[0], NULL);
	task_asleep(&t, SYS_poll);
	send_text(fd[1], "x");
	task_join(&t);
	EQ(t.ret, 1);
}

TEST(select_both)
{
	struct timeval tv = { .tv_sec = 5 };
	fd_set r, w;
	int fd[2];

	pair(fd);
	send_text(fd[1], "x");
	wait_for(fd[0], POLLIN);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd[0], &r);
	FD_SET(fd[0], &w);
	EQ(select(fd[0] + 1, &r, &w, NULL, &tv), 2);
	CHECK(FD_ISSET(fd[0], &r) && FD_ISSET(fd[0], &w));
}

static int epoll_of(int fd, unsigned int events)
{
	struct epoll_event ev = { .events = events };
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

static unsigned int epoll_next(int ep, int ms)
{
	struct epoll_event ev = {};

	return OK(epoll_wait(ep, &ev, 1, ms)) ? ev.events : 0;
}

TEST(epoll_level)
{
	int fd[2], ep, i;

	pair(fd);
	ep = epoll_of(fd[0], EPOLLIN);
	EQ(epoll_next(ep, 0), 0);
	send_text(fd[1], "x");
	for (i = 0; i < 3; i++)
		EQ(epoll_next(ep, PATIENCE), EPOLLIN);
	expect_text(fd[0], "x");
	EQ(epoll_next(ep, 0), 0);
}

TEST(epoll_edge_in)
{
	int fd[2], ep, i;

	pair(fd);
	ep = epoll_of(fd[0], EPOLLIN | EPOLLET);
	for (i = 0; i < 3; i++) {	/* every arrival is an edge, read or not */
		send_text(fd[1], "x");
		EQ(epoll_next(ep, PATIENCE), EPOLLIN);
		EQ(epoll_next(ep, QUIET), 0);
	}
	expect_text(fd[0], "xxx");
	EQ(epoll_next(ep, QUIET), 0);
	send_text(fd[1], "y");
	EQ(epoll_next(ep, PATIENCE), EPOLLIN);
}

TEST(epoll_edge_out)
{
	int fd[2], ep;
	size_t n;

	pair_of_size(fd, 16384);
	ep = epoll_of(fd[0], EPOLLOUT | EPOLLET);
	EQ(epoll_next(ep, PATIENCE), EPOLLOUT);
	EQ(epoll_next(ep, QUIET), 0);
	n = fill(fd[0], 0);
	while (epoll_next(ep, QUIET))	/* what was said on the way */
		;
	recv_pattern(fd[1], n, 0);
	EQ(epoll_next(ep, PATIENCE), EPOLLOUT);
}

TEST(epoll_edge_transfer, .timeout = 60)
{
	size_t len = quick ? 1 << 20 : 16 << 20, got = 0;
	static uint8_t buf[65536];
	int fd[2], ep;
	ssize_t n;

	/* a program that believes in edges must never be left waiting */
	pair_of_size(fd, 8192);
	nonblock(fd[0]);
	if (!spawn()) {
		size_t sent = 0;

		nonblock(fd[1]);
		ep = epoll_of(fd[1], EPOLLOUT | EPOLLET);
		while (sent < len) {
			n = sizeof(buf) < len - sent ? sizeof(buf) : len - sent;
			pattern(buf, n, sent);
			n = send(fd[1], buf, n, MSG_NOSIGNAL);
			if (n < 0) {
				EQ(errno, EAGAIN);
				if (!epoll_next(ep, PATIENCE))
					fail("no edge to write, %zu sent", sent);
			} else {
				sent += n;
			}
		}
		_exit(0);
	}
	ep = epoll_of(fd[0], EPOLLIN | EPOLLET);
	while (got < len) {
		n = recv(fd[0], buf, sizeof(buf), 0);
		if (n < 0) {
			EQ(errno, EAGAIN);
			if (!epoll_next(ep, PATIENCE))
				fail("no edge to read, %zu received", got);
		} else {
			pattern_check(buf, n, got);
			got += n;
		}
	}
	reap(-1);
}

TEST(epoll_oneshot)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT };
	int fd[2], ep;

	pair(fd);
	ep = epoll_of(fd[0], ev.events);
	send_text(fd[1], "x");
	EQ(epoll_next(ep, PATIENCE), EPOLLIN);
	send_text(fd[1], "y");
	EQ(epoll_next(ep, QUIET), 0);
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &ev));
	EQ(epoll_next(ep, PATIENCE), EPOLLIN);
}

TEST(epoll_listener)
{
	unsigned int port;
	int l = listener(4, &port), ep = epoll_of(l, EPOLLIN | EPOLLET);

	call(port);
	EQ(epoll_next(ep, PATIENCE), EPOLLIN);
	call(port);
	EQ(epoll_next(ep, PATIENCE), EPOLLIN);
	EQ(epoll_next(ep, QUIET), 0);
	answer(l);
	answer(l);
}

TEST(epoll_rdhup)
{
	int fd[2], ep;

	pair(fd);
	ep = epoll_of(fd[0], EPOLLRDHUP | EPOLLET);
	OK(shutdown(fd[1], SHUT_WR));
	EQ(epoll_next(ep, PATIENCE), EPOLLRDHUP);
}

TEST(sigio)
{
	int fd[2];

	pair(fd);
	catch_signal(SIGIO, 0);
	OK(fcntl(fd[0], F_SETOWN, getpid()));
	OK(fcntl(fd[0], F_SETFL, OK(fcntl(fd[0], F_GETFL)) | O_ASYNC));
	send_text(fd[1], "x");
	UNTIL(atomic_load(&signals) > 0);
}
