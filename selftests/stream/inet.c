// SPDX-License-Identifier: GPL-2.0
/*
 * What the tables of options in Documentation/inet.rst say of TCP and UDP sockets: honoured,
 * accepted, the socket is native with it, or refused; and what the program sees is what it sees of
 * TCP and UDP.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <linux/udp.h>
#include "stream_test.h"

#ifndef SOL_TCP
#define SOL_TCP 6
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

/* States in struct tcp_info. */
#define ESTABLISHED	1
#define CLOSE_WAIT	8

#define INET_TEST(id, ...) TEST(id, .inet_only = true, __VA_ARGS__)
#define DGRAM_TEST(id, ...) TEST(id, .type = SOCK_DGRAM, .inet_only = true, __VA_ARGS__)

static bool is_circuit(int fd)
{
	struct circuit_info info;
	socklen_t len = sizeof(info);

	return !getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len);
}

/* Neither a circuit nor about to be one: TCP knows no such level. */
static bool is_tcps(int fd)
{
	struct circuit_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len) && errno != ENOTCONN;
}

/* Are sockets with no option circuits here? */
static bool circuits(void)
{
	int fd[2];

	if (type == SOCK_DGRAM) {
		fd[1] = sock();
		OK(sock_bind(fd[1], 0));
		fd[0] = call(port_of(fd[1]));
	} else {
		pair(fd);
		EQ(is_circuit(fd[0]), is_circuit(fd[1]));
	}
	return is_circuit(fd[0]);
}

static void set(int fd, int level, int opt, int val)
{
	OK(setsockopt(fd, level, opt, &val, sizeof(val)));
}

static int get(int fd, int level, int opt)
{
	int val = -1;
	socklen_t len = sizeof(val);

	OK(getsockopt(fd, level, opt, &val, &len));
	return val;
}

/* An option that not everybody may set, or that not every kernel has. */
static void try_set(int fd, int level, int opt, const void *val, socklen_t len)
{
	if (!setsockopt(fd, level, opt, val, len))
		return;
	if (errno == EPERM || errno == ENOPROTOOPT || errno == EOPNOTSUPP)
		skip("setsockopt: %s", errname(errno));
	fail("setsockopt(%d, %d): %s", level, opt, errname(errno));
}

/* Call a listener that would be a circuit's if the socket could be one's. */
static void calls_natively(int fd, bool want)
{
	unsigned int port;
	int l = listener(1, &port), s;

	nonblock(fd);
	if (sock_connect(fd, port)) {
		/* Where only the exchange leads, TCP may know that at once. */
		if (want && (errno == EHOSTUNREACH || errno == ENETUNREACH)) {
			CHECK(is_tcps(fd));
			return;
		}
		EQ(errno, EINPROGRESS);
	}
	if (want) {
		CHECK(is_tcps(fd));
		return;
	}
	s = answer(l);
	wait_for(fd, POLLOUT);
	EQ(so_error(fd), 0);
	CHECK(is_tcps(fd));
	expect_works(s, fd);
}

/* What a listener that has been given an option natively takes is TCP's. */
static void listens_natively(int l, bool want)
{
	int fd = sock();

	nonblock(fd);
	if (want) {
		/* Nobody is on the exchange at that port; TCP may lead there or not. */
		sock_connect(fd, port_of(l));
		CHECK(!is_circuit(fd));
		return;
	}
	if (sock_connect(fd, port_of(l)))
		EQ(errno, EINPROGRESS);
	expect_works(answer(l), fd);
}

/* With the option neither end of a call is a circuit, and a circuit does not take it. */
static void makes_native(int level, int opt, const void *val, socklen_t len)
{
	bool want = circuits();
	int fd = sock(), l = sock(), on[2];

	try_set(fd, level, opt, val, len);
	calls_natively(fd, want);

	OK(sock_bind(l, 0));
	try_set(l, level, opt, val, len);
	OK(listen(l, 1));
	listens_natively(l, want);

	pair(on);
	if (want) {
		/* Before Linux 6.3 it is an option that there is not, all of which have an int. */
		CHECK(setsockopt(on[0], level, opt, val, len));
		CHECK(errno == EOPNOTSUPP || errno == (len < sizeof(int) ? EINVAL : ENOPROTOOPT));
	} else {
		OK(setsockopt(on[0], level, opt, val, len));
	}
	EQ(is_circuit(on[0]), want);
	expect_works(on[0], on[1]);
}

/* --- accepted or honoured ----------------------------------------------------------------- */

/* Who was refused can ask why, until he calls again. */
INET_TEST(inet_refused_reason)
{
	unsigned int port, reason = 0;
	socklen_t len = sizeof(reason);
	bool want = circuits();
	int l = sock(), fd = sock(), dead = sock();

	OK(sock_bind(dead, 0));
	port = port_of(dead);
	close(dead);
	OK(listen(l, 1));
	CHECK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len));
	ERR(sock_connect(fd, port), ECONNREFUSED);
	if (!want) {
		CHECK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len));
		return;
	}
	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len));
	EQ(reason, CIRCUIT_REASON_NO_LISTENER);
	OK(sock_connect(fd, port_of(l)));
	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len));
	EQ(reason, CIRCUIT_REASON_NONE);
	expect_works(answer(l), fd);
}

INET_TEST(inet_protocol)
{
	int fd[2], i;

	pair(fd);
	for (i = 0; i < 2; i++) {
		EQ(get_option(fd[i], SO_PROTOCOL), IPPROTO_TCP);
		EQ(get_option(fd[i], SO_DOMAIN), family);
		EQ(get_option(fd[i], SO_TYPE), SOCK_STREAM);
	}
}

/* There are no segments, so nothing waits for any: what is sent arrives. */
INET_TEST(inet_segments)
{
	static const int opts[] = { TCP_NODELAY, TCP_CORK, TCP_QUICKACK };
	bool want = circuits();
	size_t i;
	int fd[2];

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		pair(fd);
		set(fd[0], SOL_TCP, opts[i], 1);
		EQ(get(fd[0], SOL_TCP, opts[i]), 1);
		EQ(is_circuit(fd[0]), want);
		expect_works(fd[0], fd[1]);
	}
}

INET_TEST(inet_keepalive)
{
	static const int opts[] = { TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT };
	int l = sock(), fd = sock(), s;
	size_t i;

	OK(sock_bind(l, 0));
	option(l, SO_KEEPALIVE, 1);
	for (i = 0; i < 4; i++)
		set(l, SOL_TCP, opts[i], 11 + i);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(get_option(s, SO_KEEPALIVE), 1);
	EQ(get_option(fd, SO_KEEPALIVE), 0);
	for (i = 0; i < 4; i++)
		EQ(get(s, SOL_TCP, opts[i]), 11 + i);
	option(fd, SO_KEEPALIVE, 1);
	for (i = 0; i < 4; i++) {
		set(fd, SOL_TCP, opts[i], 21 + i);
		EQ(get(fd, SOL_TCP, opts[i]), 21 + i);
	}
	ERR(setsockopt(fd, SOL_TCP, TCP_KEEPCNT, &(int){ 200 }, sizeof(int)), EINVAL);
	expect_works(fd, s);
}

/* Who has not said anything is not to be accepted yet. */
INET_TEST(inet_defer_accept)
{
	int l = sock(), fd = sock(), other = sock(), s;
	bool want = circuits();

	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_DEFER_ACCEPT, 5);
	CHECK(get(l, SOL_TCP, TCP_DEFER_ACCEPT) >= 5);
	OK(listen(l, 4));
	nonblock(l);
	OK(sock_connect(fd, port_of(l)));
	wait_quiet(l, POLLIN);
	ERR(accept(l, NULL, NULL), EAGAIN);
	/* Later, but the first to say something. */
	OK(sock_connect(other, port_of(l)));
	send_text(other, "hello");
	wait_for(l, POLLIN);
	s = answer(l);
	EQ(is_circuit(s), want);
	expect_text(s, "hello");
	ERR(accept(l, NULL, NULL), EAGAIN);
	send_text(fd, "too");
	wait_for(l, POLLIN);
	s = answer(l);
	EQ(is_circuit(s), want);
	expect_text(s, "too");
	expect_works(fd, s);
	/* To have said that there is nothing to say is enough. */
	fd = sock();
	OK(sock_connect(fd, port_of(l)));
	wait_quiet(l, POLLIN);
	OK(shutdown(fd, SHUT_WR));
	wait_for(l, POLLIN);
	s = answer(l);
	EQ(recv(s, &(char){ 0 }, 1, 0), 0);
}

/* It is waited for no longer than it was said. */
INET_TEST(inet_defer_accept_silent)
{
	int l = sock(), fd = sock(), s;
	bool want = circuits();
	long long before;

	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_DEFER_ACCEPT, 1);
	OK(listen(l, 1));
	before = now_ms();
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	CHECK(now_ms() - before > 500);
	EQ(is_circuit(s), want);
	expect_works(fd, s);
}

static void accepts(struct task *t)
{
	t->ret = answer(t->fd);
}

/* Of several who are silent each is accepted by somebody, when their time is up at once. */
INET_TEST(inet_defer_accept_several)
{
	int l = sock(), fd[3], i;
	struct task t[3];

	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_DEFER_ACCEPT, 1);
	OK(listen(l, 3));
	for (i = 0; i < 3; i++) {
		task_start(&t[i], accepts, l, NULL);
		fd[i] = sock();
	}
	for (i = 0; i < 3; i++)
		OK(sock_connect(fd[i], port_of(l)));
	for (i = 0; i < 3; i++)
		task_join(&t[i]);
	for (i = 0; i < 3; i++)
		send_text(t[i].ret, "welcome");
	for (i = 0; i < 3; i++)
		expect_text(fd[i], "welcome");
}

/* Who waits when the listener goes has nobody to talk to. */
INET_TEST(inet_defer_accept_closed)
{
	int l = sock(), fd = sock();

	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_DEFER_ACCEPT, 30);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	wait_quiet(l, POLLIN);
	OK(close(l));
	/* TCP hears of it when it has sent something, a circuit at once. */
	if (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		ERR(recv(fd, &(char){ 0 }, 1, 0), ECONNRESET);
	else
		EQ(errno, ECONNRESET);
}

INET_TEST(inet_fastopen_listener)
{
	int l = sock(), fd = sock(), s;
	bool want = circuits();

	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_FASTOPEN, 5);
	EQ(get(l, SOL_TCP, TCP_FASTOPEN), 5);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(is_circuit(s), want);
	expect_works(s, fd);
}

/* Accepted, and without effect where there are no packets. */
INET_TEST(inet_accepted)
{
	static const struct {
		int	level, opt, val;
	} opts[] = {
		{ SOL_TCP, TCP_NOTSENT_LOWAT, 16384 },
		{ SOL_TCP, TCP_SYNCNT, 3 },
		{ SOL_TCP, TCP_WINDOW_CLAMP, 65536 },
		{ SOL_TCP, TCP_MAXSEG, 1000 },
		{ SOL_TCP, TCP_LINGER2, 5 },
		{ SOL_SOCKET, SO_PRIORITY, 4 },
		{ SOL_IP, IP_TOS, 0x10 },
		{ SOL_IP, IP_TTL, 60 },
		{ SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO },
		{ SOL_IP, IP_MINTTL, 1 },
	};
	bool want = circuits();
	size_t i;
	int fd = sock(), l = sock(), s;

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		set(fd, opts[i].level, opts[i].opt, opts[i].val);
		EQ(get(fd, opts[i].level, opts[i].opt), opts[i].val);
	}
	OK(sock_bind(l, 0));
	set(l, SOL_TCP, TCP_SAVE_SYN, 1);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(is_circuit(fd), want);
	EQ(is_circuit(s), want);
	expect_works(fd, s);
}

INET_TEST(inet_congestion)
{
	bool want = circuits();
	char name[32] = "";
	socklen_t len = sizeof(name);
	int fd[2];

	pair(fd);
	OK(setsockopt(fd[0], SOL_TCP, TCP_CONGESTION, "reno", 4));
	OK(getsockopt(fd[0], SOL_TCP, TCP_CONGESTION, name, &len));
	EQ(strcmp(name, "reno"), 0);
	EQ(is_circuit(fd[0]), want);
	expect_works(fd[0], fd[1]);
}

INET_TEST(inet_info)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	int fd[2];

	pair(fd);
	OK(getsockopt(fd[0], SOL_TCP, TCP_INFO, &info, &len));
	EQ(info.tcpi_state, ESTABLISHED);
	send_pattern(fd[1], 1000, 0);
	recv_pattern(fd[0], 1000, 0);
	len = sizeof(info);
	OK(getsockopt(fd[0], SOL_TCP, TCP_INFO, &info, &len));
	EQ(info.tcpi_bytes_received, 1000);
	OK(shutdown(fd[1], SHUT_WR));
	wait_for(fd[0], POLLRDHUP);
	len = 1;
	OK(getsockopt(fd[0], SOL_TCP, TCP_INFO, &info, &len));
	EQ(len, 1);
	EQ(info.tcpi_state, CLOSE_WAIT);
	len = -1;
	ERR(getsockopt(fd[0], SOL_TCP, TCP_INFO, &info, &len), EINVAL);
}

/* Nobody can say whose the other end of TCP's is. */
INET_TEST(inet_peercred)
{
	struct ucred cred = { .pid = 1 };
	socklen_t len = sizeof(cred);
	int fd[2];

	pair(fd);
	OK(getsockopt(fd[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
	EQ(cred.pid, 0);
	EQ(cred.uid, (uid_t)-1);
}

INET_TEST(inet_busy_poll)
{
	int l = sock(), fd = sock(), s, val = 50;

	OK(sock_bind(l, 0));
	try_set(l, SOL_SOCKET, SO_BUSY_POLL, &val, sizeof(val));
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(get_option(s, SO_BUSY_POLL), 50);
	try_set(fd, SOL_SOCKET, SO_BUSY_POLL, &val, sizeof(val));
	EQ(get_option(fd, SO_BUSY_POLL), 50);
	expect_works(fd, s);
}

static int inq_of_recv(int fd, size_t want)
{
	char buf[64], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buf, want };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;

	EQ(recvmsg(fd, &msg, MSG_WAITALL), want);
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return -1;
	EQ(c->cmsg_level, SOL_TCP);
	EQ(c->cmsg_type, TCP_CM_INQ);
	return *(int *)CMSG_DATA(c);
}

/* How much there is after what was read; and that the stream has ended is worth another read. */
INET_TEST(inet_inq)
{
	int fd[2];

	pair(fd);
	send_text(fd[1], "hello, hello");
	EQ(inq_of_recv(fd[0], 1), -1);
	set(fd[0], SOL_TCP, TCP_INQ, 1);
	EQ(get(fd[0], SOL_TCP, TCP_INQ), 1);
	EQ(inq_of_recv(fd[0], 4), 7);
	EQ(inq_of_recv(fd[0], 7), 0);
	send_text(fd[1], "x");
	close(fd[1]);
	wait_for(fd[0], POLLRDHUP);
	EQ(inq_of_recv(fd[0], 1), 1);
	expect_eof(fd[0]);
	ERR(setsockopt(fd[0], SOL_TCP, TCP_INQ, &(int){ 2 }, sizeof(int)), EINVAL);
}

/* --- accepted sockets ----------------------------------------------------------------------- */

INET_TEST(accept_inherits_zerocopy)
{
	int l = sock(), fd = sock(), s;
	char control[200];
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct sock_extended_err *err;

	OK(sock_bind(l, 0));
	option(l, SO_ZEROCOPY, 1);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(get_option(s, SO_ZEROCOPY), 1);
	EQ(send(s, "hello", 5, MSG_ZEROCOPY), 5);
	expect_text(fd, "hello");
	wait_for(s, POLLERR);
	OK(recvmsg(s, &msg, MSG_ERRQUEUE));
	CHECK(CMSG_FIRSTHDR(&msg));
	err = (struct sock_extended_err *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
	EQ(err->ee_origin, SO_EE_ORIGIN_ZEROCOPY);
	EQ(err->ee_data, 0);
}

INET_TEST(accept_inherits_options)
{
	int level = family == AF_INET6 ? SOL_IPV6 : SOL_IP;
	int recverr = family == AF_INET6 ? IPV6_RECVERR : IP_RECVERR;
	int l = sock(), fd = sock(), s;
	char name[32] = "";
	socklen_t len = sizeof(name);

	OK(sock_bind(l, 0));
	set(l, level, recverr, 1);
	set(l, SOL_TCP, TCP_INQ, 1);
	set(l, SOL_TCP, TCP_NODELAY, 1);
	set(l, SOL_TCP, TCP_MAXSEG, 600);
	OK(setsockopt(l, SOL_TCP, TCP_CONGESTION, "reno", 4));
	option(l, SO_SELECT_ERR_QUEUE, 1);
	option(l, SO_PRIORITY, 5);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	EQ(get(s, level, recverr), 1);
	EQ(get(s, SOL_TCP, TCP_INQ), 1);
	EQ(get(s, SOL_TCP, TCP_NODELAY), 1);
	CHECK(get(s, SOL_TCP, TCP_MAXSEG) <= 600);
	OK(getsockopt(s, SOL_TCP, TCP_CONGESTION, name, &len));
	EQ(strcmp(name, "reno"), 0);
	EQ(get_option(s, SO_SELECT_ERR_QUEUE), 1);
	EQ(get_option(s, SO_PRIORITY), 0);	/* alone of all */
	CHECK(get_option(s, SO_INCOMING_CPU) >= 0);
	expect_works(fd, s);
}

/* --- native --------------------------------------------------------------------------------- */

static struct sock_filter pass_all[] = { { .code = BPF_RET | BPF_K, .k = 0xffffffff } };
static struct sock_fprog pass = { 1, pass_all };
static struct sock_filter choose_first[] = { { .code = BPF_RET | BPF_K, .k = 0 } };
static struct sock_fprog choose = { 1, choose_first };

INET_TEST(inet_mark)
{
	makes_native(SOL_SOCKET, SO_MARK, &(int){ 7 }, sizeof(int));
}

INET_TEST(inet_device)
{
	makes_native(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
}

INET_TEST(inet_filter)
{
	makes_native(SOL_SOCKET, SO_ATTACH_FILTER, &pass, sizeof(pass));
}

INET_TEST(inet_timestamp)
{
	static const int opts[] = { SO_TIMESTAMP, SO_TIMESTAMPNS };
	int val = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, i;

	for (i = 0; i < 2; i++)
		makes_native(SOL_SOCKET, opts[i], &(int){ 1 }, sizeof(int));
	makes_native(SOL_SOCKET, SO_TIMESTAMPING, &val, sizeof(val));
}

INET_TEST(inet_txtime)
{
	struct sock_txtime val = { .clockid = CLOCK_MONOTONIC };

	makes_native(SOL_SOCKET, SO_TXTIME, &val, sizeof(val));
}

INET_TEST(inet_pacing)
{
	makes_native(SOL_SOCKET, SO_MAX_PACING_RATE, &(int){ 1 << 30 }, sizeof(int));
}

INET_TEST(inet_dontroute)
{
	makes_native(SOL_SOCKET, SO_DONTROUTE, &(int){ 1 }, sizeof(int));
}

/* Before Linux 6.9 TCP has none. */
INET_TEST(inet_peek_off)
{
	int fd = sock(), val = 0, on[2];
	bool want = circuits();

	pair(on);
	if (!setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &val, sizeof(val))) {
		calls_natively(fd, want);
		if (want)
			ERR(setsockopt(on[0], SOL_SOCKET, SO_PEEK_OFF, &val, sizeof(val)), EOPNOTSUPP);
		return;
	}
	EQ(errno, EOPNOTSUPP);
}

INET_TEST(inet_reuseport_program)
{
	bool want = circuits();
	int l = sock();

	option(l, SO_REUSEPORT, 1);
	OK(sock_bind(l, 0));
	OK(listen(l, 1));
	OK(setsockopt(l, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &choose, sizeof(choose)));
	OK(listen(l, 1));
	listens_natively(l, want);
}

/* A listener is given one later, and says so by listen(). */
INET_TEST(inet_listener_filtered)
{
	bool want = circuits();
	unsigned int port;
	int l = listener(1, &port);

	expect_calls(l);
	OK(setsockopt(l, SOL_SOCKET, SO_ATTACH_FILTER, &pass, sizeof(pass)));
	OK(listen(l, 1));
	listens_natively(l, want);
	OK(setsockopt(l, SOL_SOCKET, SO_DETACH_FILTER, &(int){ 0 }, sizeof(int)));
	OK(listen(l, 1));
	expect_calls(l);
}

static void md5_key(struct tcp_md5sig *key)
{
	union addr a;
	socklen_t len = addr_set(&a, 0);

	addr_set_foreign(&a);	/* nobody who is to be called */
	memset(key, 0, sizeof(*key));
	memcpy(&key->tcpm_addr, &a, len);
	key->tcpm_keylen = 6;
	memcpy(key->tcpm_key, "secret", 6);
}

INET_TEST(inet_md5)
{
	bool want = circuits();
	struct tcp_md5sig key;
	int fd = sock(), on[2];

	md5_key(&key);
	try_set(fd, SOL_TCP, TCP_MD5SIG, &key, sizeof(key));
	calls_natively(fd, want);
	pair(on);
	if (want)
		ERR(setsockopt(on[0], SOL_TCP, TCP_MD5SIG, &key, sizeof(key)), EOPNOTSUPP);
	expect_works(on[0], on[1]);
}

/* Calls of those who have no key are TCP's to refuse. */
INET_TEST(inet_md5_listener)
{
	bool want = circuits();
	struct tcp_md5sig key;
	unsigned int port;
	int l = listener(1, &port), fd = call(port), s = answer(l);

	md5_key(&key);
	try_set(l, SOL_TCP, TCP_MD5SIG, &key, sizeof(key));
	listens_natively(l, want);
	OK(listen(l, 1));
	listens_natively(l, want);
	expect_works(fd, s);
}

/* What there is for TCP only: nothing of it is for circuits. */
INET_TEST(inet_ulp)
{
	bool want = circuits();
	int fd = sock(), on[2];

	ERR(setsockopt(fd, SOL_TCP, TCP_ULP, "no-such", 7), ENOENT);
	calls_natively(fd, want);
	pair(on);
	ERR(setsockopt(on[0], SOL_TCP, TCP_ULP, "no-such", 7), want ? EOPNOTSUPP : ENOENT);
	expect_works(on[0], on[1]);
}

/* A socket that might have been a circuit and has stayed TCP's can be TLS's, which takes TCP's place in it. */
INET_TEST(inet_ktls)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = { .version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
		.iv = "initial", .key = "sixteen bytes..", .salt = "pep",
	};
	unsigned char raw[5 + 8 + 6 + 16];
	unsigned int port;
	union addr a;
	int l = listener(1, &port), fd = sock(), s;

	addr_set_loopback(&a, port);
	OK(connect(fd, &a.sa, addr_len()));
	s = answer(l);
	CHECK(is_tcps(fd) && is_tcps(s));
	if (setsockopt(fd, SOL_TCP, TCP_ULP, "tls", 4)) {
		EQ(errno, ENOENT);
		skip("the kernel has no TLS");
	}
	OK(setsockopt(fd, SOL_TLS, TLS_TX, &info, sizeof(info)));
	send_text(fd, "secret");
	/* A record of application data with its header, the nonce and the tag. */
	EQ(recv(s, raw, sizeof(raw), MSG_WAITALL), sizeof(raw));
	EQ(raw[0], 23);
	OK(setsockopt(s, SOL_TCP, TCP_ULP, "tls", 4));
	info.rec_seq[7] = 1;
	OK(setsockopt(s, SOL_TLS, TLS_RX, &info, sizeof(info)));
	send_text(fd, "told");
	expect_text(s, "told");
	send_text(s, "plain");
	expect_text(fd, "plain");
	OK(shutdown(fd, SHUT_WR));
	EQ(recv(s, raw, sizeof(raw), 0), 0);
}

struct caller {
	struct task	task;
	union addr	to;
};

static void calls(struct task *t)
{
	struct caller *c = t->arg;
	int i, fd;

	for (i = 0; i < 200; i++) {
		fd = sock();
		OK(connect(fd, &c->to.sa, addr_len()));
		expect_text(fd, "welcome");
		OK(close(fd));
	}
}

/* Accept: of which kind is it? */
static int accept_kind(int l, bool want)
{
	int s = answer(l), ret = is_circuit(s);
	union addr local;
	socklen_t len = sizeof(local);

	OK(getsockname(s, &local.sa, &len));
	EQ(ret, want && !(family == AF_INET ? local.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK) :
			  IN6_IS_ADDR_LOOPBACK(&local.in6.sin6_addr)));
	send_text(s, "welcome");
	OK(close(s));
	return ret;
}

/*
 * A listener is called by other machines and by its own, by circuits and by TCP: each is accepted as what
 * it is, and however many there are of one kind, the others get their turn.
 */
INET_TEST(inet_two_ways, .timeout = 60)
{
	struct caller c[2] = { 0 };
	int fd[6], got[2] = { 0 }, i;
	bool want = circuits();
	unsigned int port;
	int l = listener(8, &port);

	addr_set(&c[0].to, port);
	addr_set_loopback(&c[1].to, port);
	for (i = 0; i < 6; i++) {
		fd[i] = sock();
		OK(connect(fd[i], &c[i / 3].to.sa, addr_len()));
	}
	for (i = 0; i < 4; i++)
		got[accept_kind(l, want)]++;
	if (want)
		EQ(got[1], 2);
	for (; i < 6; i++)
		accept_kind(l, want);

	for (i = 0; i < 2; i++)
		task_start(&c[i].task, calls, -1, &c[i]);
	for (i = 0; i < 400; i++) {
		if (i & 16)
			wait_for(l, POLLIN);
		accept_kind(l, want);
	}
	for (i = 0; i < 2; i++)
		task_join(&c[i].task);
}

INET_TEST(inet_repair)
{
	bool want = circuits();
	int fd = sock(), on[2], val = 1;

	try_set(fd, SOL_TCP, TCP_REPAIR, &val, sizeof(val));
	set(fd, SOL_TCP, TCP_REPAIR, 0);
	calls_natively(fd, want);
	pair(on);
	if (want)
		ERR(setsockopt(on[0], SOL_TCP, TCP_REPAIR, &val, sizeof(val)), EOPNOTSUPP);
	expect_works(on[0], on[1]);
}

INET_TEST(inet_fastopen_connect)
{
	bool want = circuits();
	int fd = sock(), val = 1;

	try_set(fd, SOL_TCP, TCP_FASTOPEN_CONNECT, &val, sizeof(val));
	calls_natively(fd, want);
}

INET_TEST(inet_fastopen_send)
{
	bool want = circuits();
	unsigned int port;
	int l = listener(1, &port), fd = sock();
	union addr a;
	socklen_t len = addr_set(&a, port);
	long ret;

	if (want)
		nonblock(fd);	/* it may lead to nowhere */
	ret = sendto(fd, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, &a.sa, len);
	CHECK(is_tcps(fd));
	if (want)
		return;
	if (ret < 0 && errno == EOPNOTSUPP)
		skip("switched off");
	EQ(ret, 5);
	expect_text(answer(l), "hello");
}

INET_TEST(inet_addrform)
{
	bool want = circuits();
	int fd[2], val = AF_INET;
	union addr a;

	if (family != AF_INET6)
		skip("of IPv6's sockets only");
	pair(fd);
	addr_set(&a, 0);
	if (want)
		ERR(setsockopt(fd[0], SOL_IPV6, IPV6_ADDRFORM, &val, sizeof(val)), EOPNOTSUPP);
	else if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr))
		set(fd[0], SOL_IPV6, IPV6_ADDRFORM, val);
	else
		ERR(setsockopt(fd[0], SOL_IPV6, IPV6_ADDRFORM, &val, sizeof(val)), EADDRNOTAVAIL);
	expect_works(fd[0], fd[1]);
}

/* TCP has nothing to map either, and says so. */
INET_TEST(inet_zerocopy_receive)
{
	struct tcp_zerocopy_receive zc = {};
	socklen_t len = sizeof(zc);
	int fd[2];

	pair(fd);
	if (is_circuit(fd[0])) {
		ERR(getsockopt(fd[0], SOL_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len), EOPNOTSUPP);
	} else {
		OK(getsockopt(fd[0], SOL_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len));
		EQ(zc.length, 0);
	}
	expect_works(fd[0], fd[1]);
}

/* --- datagrams ------------------------------------------------------------------------------ */

static int bound(unsigned int *port)
{
	int fd = sock();

	OK(sock_bind(fd, 0));
	*port = port_of(fd);
	return fd;
}

static long send_to(int fd, unsigned int port, const void *buf, size_t len, int flags)
{
	union addr a;
	socklen_t n = addr_set(&a, port);

	return sendto(fd, buf, len, flags, &a.sa, n);
}

/*
 * A socket with the option sends by UDP, which where only the exchange leads may say that it
 * cannot.
 */
static void sends_natively(int level, int opt, const void *val, socklen_t len)
{
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock();
	long ret;

	try_set(s, level, opt, val, len);
	ret = send_to(s, port, "x", 1, 0);
	if (want) {
		sock_connect(s, port);
		CHECK(!is_circuit(s));
		return;
	}
	EQ(ret, 1);
	expect_text(r, "x");
}

DGRAM_TEST(udp_mark)
{
	sends_natively(SOL_SOCKET, SO_MARK, &(int){ 7 }, sizeof(int));
}

DGRAM_TEST(udp_device)
{
	sends_natively(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
}

DGRAM_TEST(udp_unicast_if)
{
	int val = htonl(if_nametoindex("lo"));

	if (family == AF_INET6)
		sends_natively(SOL_IPV6, IPV6_UNICAST_IF, &val, sizeof(val));
	else
		sends_natively(SOL_IP, IP_UNICAST_IF, &val, sizeof(val));
}

DGRAM_TEST(udp_filter)
{
	sends_natively(SOL_SOCKET, SO_ATTACH_FILTER, &pass, sizeof(pass));
}

DGRAM_TEST(udp_txtime)
{
	struct sock_txtime val = { .clockid = CLOCK_MONOTONIC };

	sends_natively(SOL_SOCKET, SO_TXTIME, &val, sizeof(val));
}

DGRAM_TEST(udp_pacing)
{
	sends_natively(SOL_SOCKET, SO_MAX_PACING_RATE, &(int){ 1 << 30 }, sizeof(int));
}

DGRAM_TEST(udp_dontroute)
{
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock();

	if (want) {
		CHECK(send_to(s, port, "x", 1, MSG_DONTROUTE) < 0);
		CHECK(errno == EHOSTUNREACH || errno == ENETUNREACH);
	} else {
		EQ(send_to(s, port, "x", 1, MSG_DONTROUTE), 1);
		expect_text(r, "x");
	}
	sends_natively(SOL_SOCKET, SO_DONTROUTE, &(int){ 1 }, sizeof(int));
}

/* What is not ready to go as a datagram of its own is UDP's, and needs a way of UDP's. */
DGRAM_TEST(udp_more)
{
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock();

	if (want) {
		CHECK(send_to(s, port, "x", 1, MSG_MORE) < 0);
		CHECK(errno == EHOSTUNREACH || errno == ENETUNREACH);
	} else {
		EQ(send_to(s, port, "x", 1, MSG_MORE), 1);
		EQ(send_to(s, port, "y", 1, 0), 1);
		expect_text(r, "xy");
	}
	/* It is no more than that one. */
	EQ(send_to(s, port, "z", 1, 0), 1);
	expect_text(r, "z");
}

DGRAM_TEST(udp_encap)
{
	sends_natively(SOL_UDP, UDP_ENCAP, &(int){ UDP_ENCAP_ESPINUDP }, sizeof(int));
}

DGRAM_TEST(udp_peek_off)
{
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock(), val = 0;
	char buf[3] = "";

	OK(setsockopt(r, SOL_SOCKET, SO_PEEK_OFF, &val, sizeof(val)));
	if (!want) {
		EQ(send_to(s, port, "hello", 5, 0), 5);
		EQ(recv(r, buf, 2, MSG_PEEK), 2);
		EQ(strcmp(buf, "he"), 0);
		EQ(recv(r, buf, 2, MSG_PEEK), 2);
		EQ(strcmp(buf, "ll"), 0);
	}
	sends_natively(SOL_SOCKET, SO_PEEK_OFF, &val, sizeof(val));
}

/* Set while there is a circuit, that is given up, be it by who receives only. */
DGRAM_TEST(udp_filter_later)
{
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock();

	OK(sock_connect(s, port));
	send_text(s, "before");
	expect_text(r, "before");
	EQ(is_circuit(s), want);
	OK(setsockopt(r, SOL_SOCKET, SO_ATTACH_FILTER, &pass, sizeof(pass)));
	poll_now(r);
	UNTIL(!is_circuit(s));
	if (want)
		return;
	send_text(s, "after");
	expect_text(r, "after");
}

DGRAM_TEST(udp_accepted)
{
	static const struct {
		int	level, opt, val;
	} opts[] = {
		{ SOL_SOCKET, SO_PRIORITY, 4 },
		{ SOL_IP, IP_TOS, 0x10 },
		{ SOL_IP, IP_TTL, 60 },
		{ SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO },
		{ SOL_IP, IP_MINTTL, 1 },
	};
	bool want = circuits();
	unsigned int port;
	int r = bound(&port), s = sock();
	size_t i;

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		set(s, opts[i].level, opts[i].opt, opts[i].val);
		EQ(get(s, opts[i].level, opts[i].opt), opts[i].val);
	}
	OK(sock_connect(s, port));
	EQ(is_circuit(s), want);
	send_text(s, "x");
	expect_text(r, "x");
}

static long send_to_v4(int fd, in_addr_t addr, unsigned int port)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_addr.s_addr = addr, .sin_port = htons(port),
	};

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&sin, sizeof(sin));
}

/* Whoever has not said that he means everybody is told that he does. */
DGRAM_TEST(udp_broadcast)
{
	int s = OK(socket(AF_INET, SOCK_DGRAM, protocol));
	struct ifaddrs *all, *i;

	ERR(send_to_v4(s, INADDR_BROADCAST, 9), EACCES);
	OK(getifaddrs(&all));
	for (i = all; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && i->ifa_broadaddr &&
		    i->ifa_flags & IFF_BROADCAST && i->ifa_flags & IFF_UP)
			ERR(send_to_v4(s, ((struct sockaddr_in *)i->ifa_broadaddr)->sin_addr.s_addr, 9),
			    EACCES);
	freeifaddrs(all);
}

DGRAM_TEST(udp_multicast)
{
	int s = OK(socket(AF_INET, SOCK_DGRAM, protocol));
	int r = OK(socket(AF_INET, SOCK_DGRAM, protocol));
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct ip_mreqn group = {
		.imr_multiaddr.s_addr = inet_addr("239.255.77.77"),
		.imr_ifindex = if_nametoindex("lo"),
	};

	OK(bind(r, (struct sockaddr *)&sin, sizeof(sin)));
	OK(setsockopt(r, SOL_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
	OK(setsockopt(s, SOL_IP, IP_MULTICAST_IF, &group, sizeof(group)));
	EQ(send_to_v4(s, group.imr_multiaddr.s_addr, port_of(r)), 1);
	expect_text(r, "x");
}
