// SPDX-License-Identifier: GPL-2.0
/*
 * listen() and accept().
 */
#include "stream_test.h"
#include <arpa/inet.h>

TEST(listen_unbound)
{
	int l = sock();

	OK(listen(l, 1));
	CHECK(port_of(l));
	expect_calls(l);
}

TEST(listen_connected)
{
	int fd[2];

	pair(fd);
	ERR(listen(fd[0], 1), EINVAL);
	ERR(listen(fd[1], 1), EINVAL);
}

TEST(listen_again)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	/* a longer queue lets in who was waiting */
	OK(listen(l, 5));
	wait_for(fd, POLLOUT);
	EQ(so_error(fd), 0);
	answer(l);
	expect_works(fd, answer(l));
}

TEST(listen_negative)
{
	int l = sock(), i;

	OK(listen(l, -1));	/* as much as is allowed */
	for (i = 0; i < 10; i++)
		call(port_of(l));
	for (i = 0; i < 10; i++)
		answer(l);
}

TEST(listen_backlog)
{
	int backlog, l, i;
	unsigned int port;

	for (backlog = 0; backlog < 4; backlog++) {
		l = listener(backlog, &port);
		for (i = 0; i <= backlog; i++)
			call(port);
		pending_call(port);
		close(l);
	}
}

TEST(listen_backlog_order)
{
	unsigned int port;
	int l = listener(2, &port), fd[3], i;

	for (i = 0; i < 3; i++)
		fd[i] = call(port);
	for (i = 0; i < 3; i++)
		EQ(peer_port_of(answer(l)), port_of(fd[i]));
}

TEST(listen_backlog_refill)
{
	unsigned int port;
	int l = full_listener(1, &port), fd, s, i;

	/* whoever waits gets in when there is room, again and again */
	for (i = 0; i < (use_tcp ? 2 : 20); i++) {
		fd = pending_call(port);
		s = answer(l);
		wait_for(fd, POLLOUT);
		EQ(so_error(fd), 0);
		close(s);
	}
}

TEST(listen_queue_of_one)
{
	unsigned int port;
	int l = listener(0, &port), i, fd, s;

	for (i = 0; i < 50; i++) {
		fd = call(port);
		s = answer(l);
		expect_works(fd, s);
		close(s);
		close(fd);
	}
}

TEST(listen_after_shutdown)
{
	unsigned int port;
	int l = listener(1, &port);

	OK(shutdown(l, SHUT_RD));
	EQ(get_option(l, SO_ACCEPTCONN), 0);
	ERR(sock_connect(sock(), port), ECONNREFUSED);
	ERR(accept(l, NULL, NULL), EINVAL);
	EQ(port_of(l), port);
	OK(listen(l, 1));
	expect_calls(l);
}

TEST(listen_shutdown_write)
{
	unsigned int port;
	int l = listener(1, &port);

	OK(shutdown(l, SHUT_WR));
	EQ(get_option(l, SO_ACCEPTCONN), 1);
	expect_calls(l);
}

TEST(accept_not_listening)
{
	int fd[2];

	ERR(accept(sock(), NULL, NULL), EINVAL);
	pair(fd);
	ERR(accept(fd[0], NULL, NULL), EINVAL);
	ERR(accept(fd[1], NULL, NULL), EINVAL);
}

TEST(accept_nonblock)
{
	unsigned int port;
	int l = listener(1, &port), fd;

	nonblock(l);
	ERR(accept(l, NULL, NULL), EAGAIN);
	fd = call(port);
	wait_for(l, POLLIN);
	expect_works(fd, answer(l));
	ERR(accept(l, NULL, NULL), EAGAIN);
}

TEST(accept_flags)
{
	unsigned int port;
	int l = listener(2, &port), s;

	nonblock(l);
	call(port);
	call(port);
	wait_for(l, POLLIN);
	s = OK(accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	CHECK(fcntl(s, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(s, F_GETFD) & FD_CLOEXEC);
	wait_for(l, POLLIN);
	s = answer(l);		/* nothing is handed down */
	CHECK(!(fcntl(s, F_GETFL) & O_NONBLOCK));
	CHECK(!(fcntl(s, F_GETFD) & FD_CLOEXEC));
	ERR(accept4(l, NULL, NULL, 1), EINVAL);
}

TEST(accept_timeout)
{
	unsigned int port;
	int l = listener(1, &port);
	long long start = now_ms();

	timeout(l, SO_RCVTIMEO, 150);
	ERR(accept(l, NULL, NULL), EAGAIN);
	CHECK(now_ms() - start >= 100);
	call(port);
	answer(l);
}

TEST(accept_inherits)
{
	struct timeval tv = {};
	struct linger lg = {};
	unsigned int port;
	int l = listener(1, &port), s;
	socklen_t len = sizeof(tv);

	option(l, SO_KEEPALIVE, 1);
	option(l, SO_RCVLOWAT, 7);
	timeout(l, SO_RCVTIMEO, 5000);
	timeout(l, SO_SNDTIMEO, 6000);
	linger(l, 1, 5);
	call(port);
	s = answer(l);
	EQ(get_option(s, SO_KEEPALIVE), 1);
	EQ(get_option(s, SO_RCVLOWAT), 7);
	EQ(get_option(s, SO_ACCEPTCONN), 0);
	OK(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	EQ(tv.tv_sec, 5);
	OK(getsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, &len));
	EQ(tv.tv_sec, 6);
	len = sizeof(lg);
	OK(getsockopt(s, SOL_SOCKET, SO_LINGER, &lg, &len));
	EQ(lg.l_onoff, 1);
	EQ(lg.l_linger, 5);
}

static void do_accept(struct task *t)
{
	t->ret = accept(t->fd, NULL, NULL);
}

TEST(accept_blocks)
{
	unsigned int port;
	struct task t;
	int fd;

	task_start(&t, do_accept, listener(1, &port), NULL);
	task_asleep(&t, SYS_accept);
	fd = call(port);
	task_join(&t);
	expect_works(fd, OK(t.ret));
}

TEST(accept_interrupted)
{
	unsigned int port;
	struct task t;
	int l = listener(1, &port);

	catch_signal(SIGUSR1, 0);
	task_start(&t, do_accept, l, NULL);
	task_asleep(&t, SYS_accept);
	task_nag(&t, SIGUSR1);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
	call(port);
	answer(l);
}

TEST(accept_restarted)
{
	unsigned int port;
	struct task t;
	int l = listener(1, &port), fd, i;

	catch_signal(SIGUSR1, SA_RESTART);
	task_start(&t, do_accept, l, NULL);
	for (i = 1; i <= 3; i++) {
		task_asleep(&t, SYS_accept);
		pthread_kill(t.thread, SIGUSR1);
		UNTIL(atomic_load(&signals) == i);
	}
	task_asleep(&t, SYS_accept);
	fd = call(port);
	task_join(&t);
	expect_works(fd, OK(t.ret));
}

TEST(accept_shutdown_wakes)
{
	struct task t[4];
	unsigned int port;
	int l = listener(1, &port), i;

	for (i = 0; i < 4; i++) {
		task_start(&t[i], do_accept, l, NULL);
		task_asleep(&t[i], SYS_accept);
	}
	OK(shutdown(l, SHUT_RDWR));
	for (i = 0; i < 4; i++) {
		task_join(&t[i]);
		EQ(t[i].ret, -1);
		EQ(t[i].err, EINVAL);
	}
}

static void accept_some(struct task *t)
{
	char c;
	int s;

	while ((s = accept(t->fd, NULL, NULL)) >= 0) {
		EQ(recv(s, &c, 1, 0), 1);
		EQ(send(s, &c, 1, MSG_NOSIGNAL), 1);
		close(s);
		t->ret++;
	}
	EQ(errno, EINVAL);
}

TEST(accept_threads)
{
	enum { THREADS = 8, CALLS = 200 };
	struct task t[THREADS];
	unsigned int port;
	int l = listener(4, &port), i, fd, sum = 0;
	char c;

	for (i = 0; i < THREADS; i++)
		task_start(&t[i], accept_some, l, NULL);
	for (i = 0; i < CALLS; i++) {
		fd = call(port);
		c = i;
		EQ(send(fd, &c, 1, MSG_NOSIGNAL), 1);
		EQ(recv(fd, &c, 1, 0), 1);
		EQ(c, (char)i);
		expect_eof(fd);
		close(fd);
	}
	OK(shutdown(l, SHUT_RDWR));
	for (i = 0; i < THREADS; i++) {
		task_join(&t[i]);
		sum += t[i].ret;
	}
	EQ(sum, CALLS);
}

TEST(accept_processes)
{
	enum { CHILDREN = 4, CALLS = 40 };
	unsigned int port;
	int l = listener(4, &port), i, fd, s;
	pid_t pid[CHILDREN];

	for (i = 0; i < CHILDREN; i++) {
		pid[i] = spawn();
		if (pid[i])
			continue;
		for (;;) {
			char c;

			s = answer(l);
			EQ(recv(s, &c, 1, 0), 1);
			EQ(send(s, &c, 1, MSG_NOSIGNAL), 1);
			if (c == 'q')
				_exit(0);
			close(s);
		}
	}
	close(l);	/* the children's */
	for (i = 0; i < CALLS + CHILDREN; i++) {
		fd = call(port);
		send_text(fd, i < CALLS ? "a" : "q");
		expect_text(fd, i < CALLS ? "a" : "q");
		expect_eof(fd);
		close(fd);
	}
	for (i = 0; i < CHILDREN; i++)
		reap(pid[i]);
	ERR(sock_connect(sock(), port), ECONNREFUSED);
}

TEST(close_listener_resets_queue)
{
	unsigned int port;
	int l = listener(4, &port), fd[3], i;
	char c;

	for (i = 0; i < 3; i++)
		fd[i] = call(port);
	send_text(fd[1], "unheard");
	OK(close(l));
	for (i = 0; i < 3; i++) {
		wait_for(fd[i], POLLIN);
		ERR(recv(fd[i], &c, 1, 0), ECONNRESET);
		expect_eof(fd[i]);
	}
}

TEST(close_listener_pending)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	OK(close(l));
	wait_for(fd, POLLOUT);
	EQ(so_error(fd), ECONNREFUSED);
}

TEST(close_listener_keeps_connections)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s = answer(l), l2 = sock();

	OK(close(l));
	expect_works(fd, s);
	/* and the port is free for the next */
	option(l2, SO_REUSEADDR, 1);
	OK(sock_bind(l2, port));
	OK(listen(l2, 1));
	expect_calls(l2);
	expect_works(fd, s);
}

TEST(accept_after_close)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s;

	send_text(fd, "bye");
	OK(close(fd));
	s = answer(l);
	expect_text(s, "bye");
	expect_eof(s);
	CHECK(peer_port_of(s));
}

TEST(accept_after_reset)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s;
	union addr a;
	socklen_t len = sizeof(a);
	char c;

	abort_sock(fd);
	wait_for(l, POLLIN);
	s = OK(accept(l, &a.sa, &len));
	CHECK(addr_port(&a));
	wait_for(s, POLLIN);
	ERR(recv(s, &c, 1, 0), ECONNRESET);
	expect_eof(s);
	ERR(getpeername(s, &a.sa, &len), ENOTCONN);
}

TEST(accept_after_data_and_reset)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s;
	char c;

	send_text(fd, "last words");
	abort_sock(fd);
	s = answer(l);
	wait_for(s, POLLERR);
	expect_text(s, "last words");
	ERR(recv(s, &c, 1, 0), ECONNRESET);
}

TEST(accept_half_closed)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s;

	OK(shutdown(fd, SHUT_WR));
	s = answer(l);
	expect_eof(s);
	send_text(s, "still there?");
	expect_text(fd, "still there?");
}

TEST(listener_fork)
{
	unsigned int port;
	int l = listener(1, &port), fd;
	pid_t pid = spawn();

	if (!pid) {
		close(l);	/* only this copy of it */
		_exit(0);
	}
	reap(pid);
	fd = call(port);
	expect_works(fd, answer(l));
}

TEST(listener_io)
{
	unsigned int port;
	char c = 0;
	int l = listener(1, &port), val;

	ERR(recv(l, &c, 1, MSG_DONTWAIT), ENOTCONN);
	ERR(send(l, &c, 1, MSG_NOSIGNAL), EPIPE);
	ERR(ioctl(l, FIONREAD, &val), EINVAL);
}

/*
 * Bound to the address that is called itself, which need not be one of the machine's, or to any (or
 * to @other, of IPv4).
 */
static int listener_at(bool specific, const char *other, unsigned int port, int reuse)
{
	int l = other ? OK(socket(AF_INET, SOCK_STREAM, protocol)) : sock(), one = 1;
	union addr a = { .in = { .sin_family = AF_INET, .sin_port = htons(port) } };
	socklen_t len = sizeof(a.in);

	if (reuse)
		option(l, reuse, 1);
	if (other) {
		EQ(inet_pton(AF_INET, other, &a.in.sin_addr), 1);
	} else {
		len = addr_set(&a, port);
		if (family == AF_INET && !specific)
			a.in.sin_addr.s_addr = htonl(INADDR_ANY);
		else if (family == AF_INET6 && !specific)
			a.in6.sin6_addr = in6addr_any;
	}
	/* This is for both families. */
	OK(setsockopt(l, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)));
	OK(bind(l, &a.sa, len));
	OK(listen(l, 16));
	return l;
}

/* Members of a group share the calls, and those of one that is closed are the other's. */
TEST(listen_group, .inet_only = true)
{
	int l[2], s, i, got[2] = {}, which, fd;
	struct pollfd p[2];
	unsigned int port;

	l[0] = listener_at(false, NULL, 0, SO_REUSEPORT);
	port = port_of(l[0]);
	l[1] = listener_at(false, NULL, port, SO_REUSEPORT);
	for (i = 0; i < 32; i++) {
		fd = call(port);
		p[0] = (struct pollfd){ .fd = l[0], .events = POLLIN };
		p[1] = (struct pollfd){ .fd = l[1], .events = POLLIN };
		EQ(poll(p, 2, PATIENCE), 1);
		which = !p[0].revents;
		got[which]++;
		s = answer(l[which]);
		expect_works(fd, s);
		close(fd);
		close(s);
	}
	CHECK(got[0] && got[1]);
	close(l[0]);
	for (i = 0; i < 8; i++)
		expect_calls(l[1]);
	/* Nobody else is let into it. */
	ERR(sock_bind(sock(), port), EADDRINUSE);
}

/* A port that is free for IPv4, too: there may be something of an earlier test's in TIME_WAIT. */
static void bind_v6_only(int fd)
{
	union addr a = { .in6 = { .sin6_family = AF_INET6 } }, four = { .in = { .sin_family = AF_INET } };
	int one = 1, other, taken;

	OK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
	do {
		other = OK(socket(AF_INET, SOCK_STREAM, 0));
		four.in.sin_port = 0;
		OK(bind(other, &four.sa, sizeof(four.in)));
		OK(getsockname(other, &four.sa, &(socklen_t){ sizeof(four.in) }));
		a.in6.sin6_port = four.in.sin_port;
		taken = bind(fd, &a.sa, sizeof(a.in6));
		CHECK(!taken || errno == EADDRINUSE);
		OK(close(other));
	} while (taken);
}

/* One for IPv6 only does not hear of IPv4, whose port is another's. */
TEST(listen_v6_only, .inet_only = true)
{
	int l = OK(socket(AF_INET6, SOCK_STREAM, protocol)), one, four;
	union addr a;
	socklen_t len = sizeof(a);

	bind_v6_only(l);
	OK(listen(l, 4));
	OK(getsockname(l, &a.sa, &len));
	addr_set(&a, ntohs(a.in6.sin6_port));
	if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr)) {
		one = call(addr_port(&a));
		expect_works(one, answer(l));
		return;
	}
	ERR(sock_connect(sock(), addr_port(&a)), ECONNREFUSED);
	four = listener_at(false, "0.0.0.0", addr_port(&a), 0);
	one = call(addr_port(&a));
	expect_works(one, answer(four));
	wait_quiet(l, POLLIN);
}

/* Who is bound to the very address that is called comes before who is bound to any. */
TEST(listen_specific_first, .inet_only = true)
{
	int any = listener_at(false, NULL, 0, SO_REUSEPORT), i, fd, s;
	unsigned int port = port_of(any);
	int here = listener_at(true, NULL, port, SO_REUSEPORT);

	for (i = 0; i < 8; i++) {
		fd = call(port);
		s = answer(here);
		expect_works(fd, s);
		close(fd);
		close(s);
	}
	wait_quiet(any, POLLIN);
	close(here);
	fd = call(port);
	expect_works(fd, answer(any));
}

/* A port of several addresses is several ports. */
TEST(listen_two_addresses, .inet_only = true)
{
	int here = listener_at(true, NULL, 0, 0), fd, s;
	unsigned int port = port_of(here);
	int there = listener_at(false, "127.0.0.2", port, 0);
	union addr a = { .in = { .sin_family = AF_INET, .sin_port = htons(port) } };

	fd = call(port);
	expect_works(fd, answer(here));
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	s = OK(socket(AF_INET, SOCK_STREAM, protocol));
	OK(connect(s, &a.sa, sizeof(a.in)));
	expect_works(s, answer(there));
	wait_quiet(here, POLLIN);
	/* and nobody is at any third */
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 2);
	ERR(connect(OK(socket(AF_INET, SOCK_STREAM, protocol)), &a.sa, sizeof(a.in)), ECONNREFUSED);
}
