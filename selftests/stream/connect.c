// SPDX-License-Identifier: GPL-2.0
/*
 * Addresses, bind() and connect().
 */
#include <linux/capability.h>
#include "stream_test.h"

TEST(socket_type_unknown)
{
	ERR(socket(family, SOCK_RDM, 0), ESOCKTNOSUPPORT);
	ERR(socket(family, SOCK_STREAM, 200), EPROTONOSUPPORT);
}

TEST(socket_flags)
{
	int fd = OK(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(socketpair_refused)
{
	int fd[2];

	ERR(socketpair(family, SOCK_STREAM, 0, fd), EOPNOTSUPP);
}

TEST(bind_ephemeral)
{
	int a = sock(), b = sock();

	OK(sock_bind(a, 0));
	OK(sock_bind(b, 0));
	CHECK(port_of(a) && port_of(b));
	CHECK(port_of(a) != port_of(b));
	if (!use_tcp)
		CHECK(port_of(a) >= CIRCUIT_PORT_EPHEMERAL);
}

TEST(bind_port)
{
	unsigned int port = dead_port() + 1;
	int fd = sock();

	while (sock_bind(fd, port)) {
		EQ(errno, EADDRINUSE);
		port++;
	}
	EQ(port_of(fd), port);
}

TEST(bind_twice)
{
	int fd = sock();
	unsigned int port;

	OK(sock_bind(fd, 0));
	port = port_of(fd);
	ERR(sock_bind(fd, 0), EINVAL);
	ERR(sock_bind(fd, port), EINVAL);
	EQ(port_of(fd), port);
}

TEST(bind_in_use)
{
	unsigned int port;
	int l = listener(1, &port), fd = sock();

	ERR(sock_bind(fd, port), EADDRINUSE);
	option(fd, SO_REUSEADDR, 1);
	ERR(sock_bind(fd, port), EADDRINUSE);
	ERR(sock_bind(fd, dead_port()), EADDRINUSE);
	/* a failure leaves the socket as it was */
	OK(sock_bind(fd, 0));
	close(l);
}

TEST(bind_after_close)
{
	int a = sock(), b = sock();
	unsigned int port;

	OK(sock_bind(a, 0));
	port = port_of(a);
	OK(close(a));
	OK(sock_bind(b, port));
}

TEST(bind_short)
{
	union addr a;
	socklen_t len = addr_set(&a, 0);
	int fd = sock();

	ERR(bind(fd, &a.sa, addr_too_short()), EINVAL);
	ERR(bind(fd, &a.sa, 2), EINVAL);
	ERR(bind(fd, &a.sa, 0), EINVAL);
	ERR(bind(fd, &a.sa, -1), EINVAL);
	ERR(bind(fd, &a.sa, 4096), EINVAL);
	ERR(bind(fd, (void *)8, len), EFAULT);
	EQ(port_of(fd), 0);
}

TEST(bind_family)
{
	union addr a;
	socklen_t len = addr_set(&a, 0);
	int fd = sock();

	a.sa.sa_family = AF_UNIX;
	ERR(bind(fd, &a.sa, len), EAFNOSUPPORT);
}

TEST(bind_foreign)
{
	union addr a;
	socklen_t len = addr_set(&a, 0);
	int fd = sock();

	addr_set_foreign(&a);
	ERR(bind(fd, &a.sa, len), EADDRNOTAVAIL);
}

TEST(bind_own_name, .circuits_only = "lines have names")
{
	int a = sock(), b = sock();
	union addr name;
	socklen_t len = sizeof(name);

	OK(sock_bind(a, 0));
	OK(getsockname(a, &name.sa, &len));
	EQ(len, sizeof(name.cc));
	CHECK(name.cc.sc_line[0]);
	name.cc.sc_port = 0;
	OK(bind(b, &name.sa, len));
	CHECK(port_of(b) != port_of(a));
}

TEST(address_malformed, .circuits_only = "struct sockaddr_circuit is stricter")
{
	union addr a;
	socklen_t len = addr_set(&a, 1);
	int fd = sock();

	a.cc.sc_port = 70000;
	a.cc.sc_flags = 1;
	ERR(bind(fd, &a.sa, len), EINVAL);
	ERR(connect(fd, &a.sa, len), EINVAL);
	a.cc.sc_flags = 0;
	memset(a.cc.sc_line, 'x', sizeof(a.cc.sc_line));	/* no end */
	ERR(bind(fd, &a.sa, len), EINVAL);
	ERR(connect(fd, &a.sa, len), EINVAL);
	memset(a.cc.sc_line, 0, sizeof(a.cc.sc_line));
	a.cc.sc_line[CIRCUIT_NAME_SIZE - 1] = 'x';		/* not padded */
	ERR(bind(fd, &a.sa, len), EINVAL);
	ERR(connect(fd, &a.sa, len), EINVAL);
}

TEST(bind_privileged)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int fd = sock();

	OK(syscall(SYS_capget, &hdr, data));
	data[0].effective &= ~(1u << CAP_NET_BIND_SERVICE);
	OK(syscall(SYS_capset, &hdr, data));
	ERR(sock_bind(fd, 1), EACCES);
	ERR(sock_bind(fd, 1023), EACCES);
	if (sock_bind(fd, 1024))
		EQ(errno, EADDRINUSE);
}

TEST(bind_privileged_allowed)
{
	unsigned int port;
	int fd = sock();

	if (geteuid())
		skip("not root");
	for (port = 1023; sock_bind(fd, port); port--)
		EQ(errno, EADDRINUSE);
	EQ(port_of(fd), port);
	OK(listen(fd, 1));
	EQ(peer_port_of(call(port)), port);
}

TEST(bind_connected)
{
	int fd[2];

	pair(fd);
	ERR(sock_bind(fd[0], 0), EINVAL);
	ERR(sock_bind(fd[1], 0), EINVAL);
}

TEST(connect_bound)
{
	unsigned int port, mine;
	int l = listener(1, &port), fd = sock(), s;

	OK(sock_bind(fd, 0));
	mine = port_of(fd);
	OK(sock_connect(fd, port));
	EQ(port_of(fd), mine);
	s = answer(l);
	EQ(peer_port_of(s), mine);
	EQ(port_of(s), port);
	expect_works(fd, s);
}

TEST(getsockname_fresh)
{
	union addr a = {};
	socklen_t len = sizeof(a);
	int fd = sock();

	OK(getsockname(fd, &a.sa, &len));
	EQ(len, addr_len());
	EQ(a.sa.sa_family, family);
	EQ(addr_port(&a), 0);
}

TEST(getsockname_truncated)
{
	union addr a, b;
	socklen_t len = 4;
	int fd = sock();

	OK(sock_bind(fd, 0));
	memset(&a, 0x5a, sizeof(a));
	OK(getsockname(fd, &a.sa, &len));
	EQ(len, addr_len());		/* what there is */
	memset(&b, 0x5a, sizeof(b));
	CHECK(!memcmp(a.bytes + 4, b.bytes + 4, sizeof(a) - 4));
	len = -1;
	ERR(getsockname(fd, &a.sa, &len), EINVAL);
	ERR(getsockname(fd, &a.sa, NULL), EFAULT);
}

TEST(getpeername_connected)
{
	union addr a = {}, b = {};
	socklen_t la = sizeof(a), lb = sizeof(b);
	int fd[2];

	pair(fd);
	OK(getpeername(fd[0], &a.sa, &la));
	OK(getsockname(fd[1], &b.sa, &lb));
	EQ(la, lb);
	CHECK(!memcmp(&a, &b, la));
	OK(getpeername(fd[1], &a.sa, &la));
	OK(getsockname(fd[0], &b.sa, &lb));
	CHECK(!memcmp(&a, &b, la));
	CHECK(addr_port(&a));
}

TEST(getpeername_unconnected)
{
	union addr a;
	socklen_t len = sizeof(a);
	unsigned int port;
	int l = listener(1, &port), fd = sock();

	ERR(getpeername(l, &a.sa, &len), ENOTCONN);
	ERR(getpeername(fd, &a.sa, &len), ENOTCONN);
	ERR(sock_connect(fd, dead_port()), ECONNREFUSED);
	ERR(getpeername(fd, &a.sa, &len), ENOTCONN);
	fd = pending_call((full_listener(0, &port), port));
	CHECK(port_of(fd));
	ERR(getpeername(fd, &a.sa, &len), ENOTCONN);
}

TEST(accept_address)
{
	union addr a = {}, b = {};
	socklen_t la = sizeof(a), lb = sizeof(b);
	unsigned int port;
	int l = listener(1, &port), fd = call(port);

	OK(accept(l, &a.sa, &la));
	OK(getsockname(fd, &b.sa, &lb));
	EQ(la, lb);
	CHECK(!memcmp(&a, &b, la));
}

TEST(connect_basic)
{
	unsigned int port;
	int l = listener(1, &port), fd = call(port);

	/* connected before anybody answers, and what is sent waits */
	EQ(peer_port_of(fd), port);
	send_text(fd, "early");
	l = answer(l);
	expect_text(l, "early");
	expect_works(fd, l);
}

TEST(connect_own_name, .circuits_only = "lines have names")
{
	unsigned int port;
	int l = listener(1, &port), fd = sock();
	union addr a;
	socklen_t len = sizeof(a);

	OK(getsockname(l, &a.sa, &len));
	CHECK(a.cc.sc_line[0]);
	OK(connect(fd, &a.sa, len));
	expect_works(fd, answer(l));
}

TEST(connect_unknown_line, .circuits_only = "there is no such TCP address")
{
	union addr a;
	socklen_t len = addr_set(&a, 70000);
	uint32_t reason = 0;
	socklen_t rlen = sizeof(reason);
	int fd = sock();

	strcpy(a.cc.sc_line, "no-such-line");
	ERR(connect(fd, &a.sa, len), EHOSTUNREACH);
	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &rlen));
	EQ(reason, CIRCUIT_REASON_NO_LINE);
	nonblock(fd);
	ERR(connect(fd, &a.sa, len), EINPROGRESS);
	wait_for(fd, POLLOUT);
	EQ(so_error(fd), EHOSTUNREACH);
}

TEST(connect_port_zero)
{
	int fd = sock();

	CHECK(sock_connect(fd, 0) < 0);
	/* TCP sends a SYN to port 0, circuits know better */
	EQ(errno, use_tcp ? ECONNREFUSED : EADDRNOTAVAIL);
}

TEST(connect_short)
{
	union addr a;
	int fd = sock();

	addr_set(&a, dead_port());
	ERR(connect(fd, &a.sa, addr_too_short()), EINVAL);
	ERR(connect(fd, &a.sa, 1), EINVAL);
	ERR(connect(fd, &a.sa, 0), EINVAL);
}

TEST(connect_family)
{
	union addr a;
	socklen_t len = addr_set(&a, dead_port());
	int fd = sock();

	a.sa.sa_family = AF_UNIX;
	ERR(connect(fd, &a.sa, len), EAFNOSUPPORT);
}

TEST(connect_refused)
{
	uint32_t reason = 0;
	socklen_t len = sizeof(reason);
	int fd = sock();

	ERR(sock_connect(fd, dead_port()), ECONNREFUSED);
	EQ(so_error(fd), 0);
	if (!use_tcp) {
		OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len));
		EQ(reason, CIRCUIT_REASON_NO_LISTENER);
	}
}

TEST(connect_refused_poll)
{
	int fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, dead_port()), EINPROGRESS);
	wait_for(fd, POLLOUT);
	expect_mask(fd, EV_IN | EV_OUT | POLLERR | POLLHUP | POLLRDHUP);
	EQ(so_error(fd), ECONNREFUSED);
	EQ(so_error(fd), 0);
	expect_mask(fd, EV_IN | EV_OUT | POLLHUP | POLLRDHUP);
}

TEST(connect_refused_epoll)
{
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLET };
	int fd = sock(), ep = OK(epoll_create1(0));

	nonblock(fd);
	ERR(sock_connect(fd, dead_port()), EINPROGRESS);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	EQ(epoll_wait(ep, &ev, 1, PATIENCE), 1);
	CHECK(ev.events & EPOLLERR);
	CHECK(ev.events & EPOLLHUP);
	EQ(so_error(fd), ECONNREFUSED);
}

TEST(connect_refused_second_call)
{
	unsigned int port = dead_port();
	int fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, port), EINPROGRESS);
	wait_for(fd, POLLOUT);
	ERR(sock_connect(fd, port), ECONNREFUSED);	/* reports the first */
	EQ(so_error(fd), 0);
	ERR(sock_connect(fd, port), EINPROGRESS);	/* a new one */
}

TEST(connect_refused_recv)
{
	char c;
	int fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, dead_port()), EINPROGRESS);
	wait_for(fd, POLLIN);
	ERR(recv(fd, &c, 1, 0), ECONNREFUSED);
	EQ(recv(fd, &c, 1, 0), 0);
	ERR(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
}

TEST(connect_refused_send)
{
	char c = 0;
	int fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, dead_port()), EINPROGRESS);
	wait_for(fd, POLLOUT);
	ERR(send(fd, &c, 1, MSG_NOSIGNAL), ECONNREFUSED);
	ERR(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
}

TEST(connect_after_refused)
{
	unsigned int port;
	int l = listener(1, &port), fd = sock();

	ERR(sock_connect(fd, dead_port()), ECONNREFUSED);
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_bound_only)
{
	/* bound is not listening, neither is connected */
	int fd[2];

	ERR(sock_connect(sock(), dead_port()), ECONNREFUSED);
	pair(fd);
	ERR(sock_connect(sock(), port_of(fd[0])), ECONNREFUSED);
}

TEST(connect_nonblock)
{
	unsigned int port;
	int l = listener(1, &port), fd = sock();

	nonblock(fd);
	ERR(sock_connect(fd, port), EINPROGRESS);
	wait_for(fd, POLLOUT);
	expect_mask(fd, EV_OUT);
	EQ(so_error(fd), 0);
	OK(sock_connect(fd, port));	/* the first time, success */
	ERR(sock_connect(fd, port), EISCONN);
	expect_works(fd, answer(l));
}

TEST(connect_twice)
{
	int fd[2];

	pair(fd);
	ERR(sock_connect(fd[0], peer_port_of(fd[0])), EISCONN);
	ERR(sock_connect(fd[1], peer_port_of(fd[1])), EISCONN);
	expect_works(fd[0], fd[1]);
}

TEST(connect_listening)
{
	unsigned int port;
	int l = listener(1, &port);

	ERR(sock_connect(l, port), EISCONN);
	expect_calls(l);
}

TEST(connect_already)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	ERR(sock_connect(fd, port), EALREADY);
	answer(l);
	wait_for(fd, POLLOUT);
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_pending_timeout)
{
	unsigned int port;
	int l = full_listener(1, &port), fd = sock();
	long long start = now_ms();

	timeout(fd, SO_SNDTIMEO, 150);
	ERR(sock_connect(fd, port), EINPROGRESS);
	CHECK(now_ms() - start >= 100);
	start = now_ms();
	ERR(sock_connect(fd, port), EALREADY);
	CHECK(now_ms() - start >= 100);
	/* and yet the call has not been given up */
	answer(l);
	timeout(fd, SO_SNDTIMEO, 0);
	OK(sock_connect(fd, port));
	answer(l);
	expect_works(fd, answer(l));
}

static void do_connect(struct task *t)
{
	t->ret = sock_connect(t->fd, *(unsigned int *)t->arg);
}

TEST(connect_interrupted)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = sock();
	struct task t;

	catch_signal(SIGUSR1, 0);
	task_start(&t, do_connect, fd, &port);
	task_asleep(&t, SYS_connect);
	task_nag(&t, SIGUSR1);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
	wait_quiet(fd, POLLOUT);
	/* the call goes on */
	answer(l);
	wait_for(fd, POLLOUT);
	EQ(so_error(fd), 0);
	expect_works(fd, answer(l));
}

TEST(connect_interrupted_timeout)
{
	unsigned int port;
	int fd = sock();
	struct task t;

	full_listener(0, &port);
	/* with a timeout there is no restarting */
	catch_signal(SIGUSR1, SA_RESTART);
	timeout(fd, SO_SNDTIMEO, 60000);
	task_start(&t, do_connect, fd, &port);
	task_asleep(&t, SYS_connect);
	task_nag(&t, SIGUSR1);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
}

TEST(connect_restarted)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = sock(), i;
	struct task t;

	catch_signal(SIGUSR1, SA_RESTART);
	task_start(&t, do_connect, fd, &port);
	for (i = 1; i <= 3; i++) {
		task_asleep(&t, SYS_connect);
		pthread_kill(t.thread, SIGUSR1);
		UNTIL(atomic_load(&signals) == i);
	}
	task_asleep(&t, SYS_connect);
	answer(l);
	task_join(&t);
	EQ(t.ret, 0);
	expect_works(fd, answer(l));
}

TEST(connect_pending_close)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	OK(close(fd));
	answer(l);
	wait_quiet(l, POLLIN);	/* the call is gone */
	fd = call(port);
	expect_works(fd, answer(l));
}

TEST(connect_pending_shutdown)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	OK(shutdown(fd, SHUT_RDWR));
	answer(l);
	wait_quiet(l, POLLIN);
	OK(fcntl(fd, F_SETFL, 0));
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_pending_io)
{
	unsigned int port;
	char c = 'x';
	int l = full_listener(0, &port), fd = pending_call(port);

	ERR(send(fd, &c, 1, MSG_NOSIGNAL), EAGAIN);
	ERR(recv(fd, &c, 1, 0), EAGAIN);
	EQ(so_error(fd), 0);
	answer(l);
	wait_for(fd, POLLOUT);
	expect_works(fd, answer(l));
}

static void do_send(struct task *t)
{
	t->ret = send(t->fd, t->arg, strlen(t->arg), MSG_NOSIGNAL);
}

TEST(connect_pending_send)
{
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);
	struct task t;

	/* a blocking send() waits until there is a connection */
	OK(fcntl(fd, F_SETFL, 0));
	task_start(&t, do_send, fd, "patience");
	task_asleep(&t, SYS_sendto);
	answer(l);
	task_join(&t);
	EQ(t.ret, 8);
	expect_text(answer(l), "patience");
}

TEST(connect_unspec_fresh)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	unsigned int port;
	int l = listener(1, &port), fd = sock();

	OK(connect(fd, &sa, sizeof(sa)));
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_unspec)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s = answer(l);
	union addr a;
	socklen_t len = sizeof(a);
	char c;

	OK(connect(fd, &sa, sizeof(sa)));
	expect_mask(fd, EV_OUT | POLLERR | POLLHUP);
	EQ(so_error(fd), ECONNRESET);
	expect_mask(fd, EV_OUT | POLLHUP);
	ERR(getpeername(fd, &a.sa, &len), ENOTCONN);
	ERR(recv(fd, &c, 1, 0), ENOTCONN);
	/* to the far end that was a reset */
	wait_for(s, POLLIN);
	ERR(recv(s, &c, 1, 0), ECONNRESET);
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_unspec_listening)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	unsigned int port;
	int l = listener(1, &port), fd = call(port);
	char c;

	OK(connect(l, &sa, sizeof(sa)));
	EQ(get_option(l, SO_ACCEPTCONN), 0);
	wait_for(fd, POLLIN);
	ERR(recv(fd, &c, 1, 0), ECONNRESET);
	ERR(sock_connect(sock(), port), ECONNREFUSED);
	ERR(accept(l, NULL, NULL), EINVAL);
}

TEST(connect_unspec_pending)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	unsigned int port;
	int l = full_listener(0, &port), fd = pending_call(port);

	OK(connect(fd, &sa, sizeof(sa)));
	expect_mask(fd, EV_OUT | POLLERR | POLLHUP);
	EQ(so_error(fd), ECONNRESET);
	expect_mask(fd, EV_OUT | POLLHUP);
	answer(l);
	wait_quiet(l, POLLIN);
}

TEST(connect_after_reset)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };
	unsigned int port;
	int l = listener(1, &port), fd = call(port);

	abort_sock(answer(l));
	wait_for(fd, POLLIN);
	EQ(so_error(fd), ECONNRESET);
	/* once connected, a socket has to be told to be a new one */
	ERR(sock_connect(fd, port), EISCONN);
	OK(connect(fd, &sa, sizeof(sa)));
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

TEST(connect_refused_keeps_port)
{
	unsigned int port, mine = dead_port() + 1;
	int l = listener(1, &port), fd = sock();

	while (sock_bind(fd, mine))	/* TCP forgets a port that it chose itself */
		mine++;
	ERR(sock_connect(fd, dead_port()), ECONNREFUSED);
	EQ(port_of(fd), mine);
	OK(sock_connect(fd, port));
	EQ(port_of(fd), mine);
	EQ(peer_port_of(answer(l)), mine);
}
