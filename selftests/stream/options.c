// SPDX-License-Identifier: GPL-2.0
/*
 * Socket options.
 */
#include <netinet/tcp.h>
#include "stream_test.h"

TEST(option_readonly)
{
	int fd = sock();

	EQ(get_option(fd, SO_TYPE), SOCK_STREAM);
	EQ(get_option(fd, SO_DOMAIN), family);
	EQ(get_option(fd, SO_ACCEPTCONN), 0);
	EQ(get_option(fd, SO_ERROR), 0);
	OK(listen(fd, 1));
	EQ(get_option(fd, SO_ACCEPTCONN), 1);
}

TEST(option_flags)
{
	static const int opts[] = { SO_REUSEADDR, SO_KEEPALIVE };
	int fd = sock();
	size_t i;

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		EQ(get_option(fd, opts[i]), 0);
		option(fd, opts[i], 1);
		EQ(get_option(fd, opts[i]), 1);
		option(fd, opts[i], 0);
		EQ(get_option(fd, opts[i]), 0);
	}
}

TEST(option_timeouts)
{
	static const int opts[] = { SO_RCVTIMEO, SO_SNDTIMEO };
	struct timeval tv;
	socklen_t len;
	int fd = sock();
	size_t i;

	for (i = 0; i < 2; i++) {
		len = sizeof(tv);
		OK(getsockopt(fd, SOL_SOCKET, opts[i], &tv, &len));
		EQ(len, sizeof(tv));
		EQ(tv.tv_sec || tv.tv_usec, 0);
		timeout(fd, opts[i], 2500);
		OK(getsockopt(fd, SOL_SOCKET, opts[i], &tv, &len));
		EQ(tv.tv_sec, 2);
		CHECK(tv.tv_usec >= 490000 && tv.tv_usec <= 510000);
		tv.tv_usec = 1000000;
		ERR(setsockopt(fd, SOL_SOCKET, opts[i], &tv, sizeof(tv)), EDOM);
		ERR(setsockopt(fd, SOL_SOCKET, opts[i], &tv, 4), EINVAL);
	}
}

TEST(option_linger)
{
	struct linger l = {};
	socklen_t len = sizeof(l);
	int fd = sock();

	linger(fd, 1, 7);
	OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	EQ(l.l_onoff, 1);
	EQ(l.l_linger, 7);
	ERR(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4), EINVAL);
}

TEST(option_buffers)
{
	int fd[2], fresh = sock(), size;

	option(fresh, SO_SNDBUF, 10000);
	CHECK(get_option(fresh, SO_SNDBUF) >= 10000);
	option(fresh, SO_RCVBUF, 10000);
	CHECK(get_option(fresh, SO_RCVBUF) >= 10000);
	for (size = 4096; size <= 262144; size *= 4) {
		pair_of_size(fd, size);
		CHECK(fill(fd[0], 0) >= (size_t)size);
		close(fd[0]);
		close(fd[1]);
	}
}

TEST(option_ring_sizes, .circuits_only = "rings are what SO_SNDBUF and SO_RCVBUF ask for")
{
	struct circuit_info info;
	socklen_t len = sizeof(info);
	int l = sock(), fd = sock(), s;

	option(fd, SO_SNDBUF, 16384);
	option(fd, SO_RCVBUF, 5000);
	OK(listen(l, 1));
	OK(sock_connect(fd, port_of(l)));
	s = answer(l);
	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len));
	EQ(fill(fd, 0), info.tx_size);
	CHECK(info.tx_size >= 16384);
	EQ(fill(s, 0), info.rx_size);
	CHECK(info.rx_size >= 5000);
	EQ(get_option(fd, SO_SNDBUF), 2 * info.tx_size);	/* doubled, as always */
	EQ(get_option(fd, SO_RCVBUF), 2 * info.rx_size);
}

TEST(option_short)
{
	char c = 1;
	int fd = sock(), val = 1;
	socklen_t len = 2;

	ERR(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &c, 1), EINVAL);
	ERR(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4), EFAULT);
	OK(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &val, &len));
	EQ(len, 2);
}

TEST(option_unknown)
{
	int fd = sock(), val = 1;
	socklen_t len = sizeof(val);

	ERR(setsockopt(fd, SOL_SOCKET, 9999, &val, sizeof(val)), ENOPROTOOPT);
	ERR(getsockopt(fd, SOL_SOCKET, 9999, &val, &len), ENOPROTOOPT);
	ERR(setsockopt(fd, 9999, 1, &val, sizeof(val)), ENOPROTOOPT);
}

TEST(option_refused, .circuits_only = "what a circuit cannot honour, it does not promise")
{
	int fd = sock(), val = 1;
	socklen_t len = sizeof(val);

	ERR(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &val, sizeof(val)), ENOPROTOOPT);
	ERR(setsockopt(fd, IPPROTO_IP, 1, &val, sizeof(val)), ENOPROTOOPT);
	ERR(setsockopt(fd, SOL_CIRCUIT, 9999, &val, sizeof(val)), ENOPROTOOPT);
	ERR(getsockopt(fd, SOL_CIRCUIT, 9999, &val, &len), ENOPROTOOPT);
	val = 1;
	/* at once where the kernel lets a family say so, else when the socket is put to use */
	if (!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &val, sizeof(val)))
		ERR(sock_connect(fd, dead_port()), EOPNOTSUPP);
}

TEST(option_lowat)
{
	int fd[2], val = 4;

	pair(fd);
	EQ(get_option(fd[0], SO_RCVLOWAT), 1);
	option(fd[0], SO_RCVLOWAT, 4);
	EQ(get_option(fd[0], SO_RCVLOWAT), 4);
	EQ(get_option(fd[0], SO_SNDLOWAT), 1);
	ERR(setsockopt(fd[0], SOL_SOCKET, SO_SNDLOWAT, &val, sizeof(val)), ENOPROTOOPT);
}

TEST(option_info, .circuits_only = "SOL_CIRCUIT")
{
	struct circuit_info info = {};
	socklen_t len = sizeof(info);
	int fd[2], fresh = sock();

	ERR(getsockopt(fresh, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len), ENOTCONN);
	pair(fd);
	send_pattern(fd[0], 1000, 0);
	recv_pattern(fd[1], 1000, 0);
	OK(getsockopt(fd[0], SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len));
	EQ(info.tx_bytes, 1000);
	EQ(info.rx_bytes, 0);
	len = 4;
	OK(getsockopt(fd[0], SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len));
	EQ(len, 4);
}
