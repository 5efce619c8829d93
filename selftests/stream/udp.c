// SPDX-License-Identifier: GPL-2.0
/*
 * What UDP promises beyond what every SOCK_DGRAM does.
 */
#include "stream_test.h"
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/udp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/time.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define UDP_TEST(id, ...) TEST(id, .type = SOCK_DGRAM, .inet_only = true, __VA_ARGS__)

static int bound(unsigned int *port)
{
	int fd = sock();

	EQ(sock_bind(fd, 0), 0);
	*port = port_of(fd);
	return fd;
}

static long to(int fd, unsigned int port, const void *buf, size_t len)
{
	union addr a;
	socklen_t n = addr_set(&a, port);

	return sendto(fd, buf, len, 0, &a.sa, n);
}

/* A datagram with its ancillary data. */
struct received {
	char		data[70000];
	long		len;
	union addr	from;
	char		control[512];
	struct msghdr	msg;
};

static struct received *receive_from(int fd, int flags)
{
	static struct received r;
	struct iovec iov = { r.data, sizeof(r.data) };

	memset(&r.msg, 0, sizeof(r.msg));
	r.msg.msg_iov = &iov;
	r.msg.msg_iovlen = 1;
	r.msg.msg_name = &r.from;
	r.msg.msg_namelen = sizeof(r.from);
	r.msg.msg_control = r.control;
	r.msg.msg_controllen = sizeof(r.control);
	r.len = OK(recvmsg(fd, &r.msg, flags));
	CHECK(!(r.msg.msg_flags & MSG_CTRUNC));
	return &r;
}

static struct received *receive(int fd)
{
	return receive_from(fd, 0);
}

static void *find(struct received *r, int level, int what)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(&r->msg); c; c = CMSG_NXTHDR(&r->msg, c))
		if (c->cmsg_level == level && c->cmsg_type == what)
			return CMSG_DATA(c);
	return NULL;
}

/* Send with one piece of ancillary data. */
static long with(int fd, unsigned int port, const void *buf, size_t len, int level, int what,
		 const void *data, size_t size)
{
	struct iovec iov = { (void *)buf, len };
	char control[CMSG_SPACE(64)] = "";
	union addr a;
	struct msghdr msg = {
		.msg_name = &a, .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = CMSG_SPACE(size),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	msg.msg_namelen = addr_set(&a, port);
	c->cmsg_level = level;
	c->cmsg_type = what;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(c), data, size);
	return sendmsg(fd, &msg, 0);
}

UDP_TEST(udp_is_udp)
{
	int s = sock();

	EQ(get_option(s, SO_TYPE), SOCK_DGRAM);
	EQ(get_option(s, SO_PROTOCOL), IPPROTO_UDP);
	EQ(get_option(s, SO_DOMAIN), family);
}

/* To which address was it sent? */
UDP_TEST(udp_packet_info)
{
	unsigned int port;
	int r = bound(&port), s = sock(), one = 1;
	struct in6_pktinfo *six;
	struct in_pktinfo *four;
	struct received *d;
	union addr a;

	addr_set(&a, port);
	if (family == AF_INET)
		OK(setsockopt(r, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	else
		OK(setsockopt(r, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)));
	EQ(to(s, port, "x", 1), 1);
	d = receive(r);
	EQ(addr_port(&d->from), port_of(s));
	if (family == AF_INET) {
		four = find(d, IPPROTO_IP, IP_PKTINFO);
		CHECK(four);
		EQ(four->ipi_addr.s_addr, a.in.sin_addr.s_addr);
		EQ(four->ipi_spec_dst.s_addr, a.in.sin_addr.s_addr);
	} else {
		six = find(d, IPPROTO_IPV6, IPV6_PKTINFO);
		CHECK(six);
		CHECK(!memcmp(&six->ipi6_addr, &a.in6.sin6_addr, 16));
	}
}

/* Servers answer from the address they were asked at. */
UDP_TEST(udp_packet_info_back)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	struct in6_pktinfo six = {};
	struct in_pktinfo four = {};
	struct received *d;
	union addr a;

	addr_set(&a, port);
	EQ(sock_connect(s, port), 0);
	send_text(s, "question");
	d = receive(r);
	if (family == AF_INET) {
		four.ipi_spec_dst = a.in.sin_addr;
		EQ(with(r, addr_port(&d->from), "answer", 6, IPPROTO_IP, IP_PKTINFO, &four,
			sizeof(four)), 6);
	} else {
		six.ipi6_addr = a.in6.sin6_addr;
		EQ(with(r, addr_port(&d->from), "answer", 6, IPPROTO_IPV6, IPV6_PKTINFO, &six,
			sizeof(six)), 6);
	}
	expect_text(s, "answer");
}

UDP_TEST(udp_original_destination)
{
	unsigned int port;
	int r = bound(&port), s = sock(), one = 1;
	struct sockaddr_in *in;
	struct received *d;
	union addr a;

	if (family != AF_INET)
		skip("IPv4");
	addr_set(&a, port);
	OK(setsockopt(r, IPPROTO_IP, IP_RECVORIGDSTADDR, &one, sizeof(one)));
	EQ(to(s, port, "x", 1), 1);
	d = receive(r);
	in = find(d, IPPROTO_IP, IP_ORIGDSTADDR);
	CHECK(in);
	EQ(in->sin_addr.s_addr, a.in.sin_addr.s_addr);
	EQ(ntohs(in->sin_port), port);
}

UDP_TEST(udp_hops)
{
	unsigned int port;
	int r = bound(&port), s = sock(), one = 1, *hops;

	if (family == AF_INET)
		OK(setsockopt(r, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one)));
	else
		OK(setsockopt(r, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one)));
	EQ(to(s, port, "x", 1), 1);
	hops = family == AF_INET ? find(receive(r), IPPROTO_IP, IP_TTL) :
				   find(receive(r), IPPROTO_IPV6, IPV6_HOPLIMIT);
	CHECK(hops);
	EQ(*hops, 64);
}

/* What says how it is to travel is no reason for it not to. */
UDP_TEST(udp_service)
{
	unsigned int port;
	int r = bound(&port), s = sock(), class = 0x10;

	if (family == AF_INET)
		EQ(with(s, port, "x", 1, IPPROTO_IP, IP_TOS, &class, sizeof(class)), 1);
	else
		EQ(with(s, port, "x", 1, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof(class)), 1);
	expect_text(r, "x");
}

static long long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000ll + ts.tv_nsec / 1000;
}

UDP_TEST(udp_timestamp)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	long long before = now_us();
	struct timeval *tv;

	option(r, SO_TIMESTAMP, 1);
	EQ(to(s, port, "x", 1), 1);
	tv = find(receive(r), SOL_SOCKET, SO_TIMESTAMP);
	CHECK(tv);
	CHECK(tv->tv_sec * 1000000ll + tv->tv_usec >= before);
	CHECK(tv->tv_sec * 1000000ll + tv->tv_usec <= now_us());
}

UDP_TEST(udp_timestamp_ns)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	long long before = now_us();
	struct timespec *ts;

	option(r, SO_TIMESTAMPNS, 1);
	EQ(to(s, port, "x", 1), 1);
	ts = find(receive(r), SOL_SOCKET, SO_TIMESTAMPNS);
	CHECK(ts);
	CHECK(ts->tv_sec * 1000000ll + ts->tv_nsec / 1000 >= before);
	CHECK(ts->tv_sec * 1000000ll + ts->tv_nsec / 1000 <= now_us());
}

/* In microseconds, of a time that it is not zero. */
static long long stamp_us(const struct scm_timestamping *t)
{
	CHECK(t);
	CHECK(!t->ts[1].tv_sec && !t->ts[1].tv_nsec && !t->ts[2].tv_sec && !t->ts[2].tv_nsec);
	return t->ts[0].tv_sec * 1000000ll + t->ts[0].tv_nsec / 1000;
}

/*
 * When was it received? A kernel whose first socket asks for that may take a while to begin with
 * it.
 */
UDP_TEST(udp_timestamping_received)
{
	long long before = now_us();
	struct scm_timestamping *t = NULL;
	unsigned int port;
	int r = bound(&port), s = sock();

	option(r, SO_TIMESTAMPING, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
				   SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE);
	EQ(get_option(r, SO_TIMESTAMPING), SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
					   SOF_TIMESTAMPING_RX_HARDWARE |
					   SOF_TIMESTAMPING_RAW_HARDWARE);
	while (!t && now_us() - before < 5000000) {
		EQ(to(s, port, "x", 1), 1);
		t = find(receive(r), SOL_SOCKET, SO_TIMESTAMPING);
	}
	CHECK(stamp_us(t) >= before);
	CHECK(stamp_us(t) <= now_us());
	option(r, SO_TIMESTAMPING, 0);
	EQ(to(s, port, "x", 1), 1);
	CHECK(!find(receive(r), SOL_SOCKET, SO_TIMESTAMPING));
}

/* The next message of the queue of errors says when something was sent, by its number. */
static struct received *sent(int fd, long long before, uint32_t number)
{
	int four = family == AF_INET;
	struct pollfd p = { .fd = fd };
	struct sock_extended_err *ee;
	struct received *d;
	long long us;

	EQ(poll(&p, 1, 5000), 1);
	CHECK(p.revents & POLLERR);
	d = receive_from(fd, MSG_ERRQUEUE);
	CHECK(d->msg.msg_flags & MSG_ERRQUEUE);
	us = stamp_us(find(d, SOL_SOCKET, SO_TIMESTAMPING));
	CHECK(us >= before);
	CHECK(us <= now_us());
	ee = find(d, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_RECVERR : IPV6_RECVERR);
	CHECK(ee);
	EQ(ee->ee_errno, ENOMSG);
	EQ(ee->ee_origin, SO_EE_ORIGIN_TIMESTAMPING);
	EQ(ee->ee_info, SCM_TSTAMP_SND);
	EQ(ee->ee_data, number);
	return d;
}

/* It comes back with its headers, those of Ethernet included. */
static void sent_whole(struct received *d, unsigned int from, unsigned int port, const void *buf,
		       size_t len)
{
	const uint8_t *p = (void *)d->data;
	int six = p[14] >> 4 == 6;	/* a socket of IPv6 may send by either */
	size_t ip = six ? 40 : 20;

	EQ(d->len, 14 + ip + 8 + len);
	CHECK(six ? family == AF_INET6 : p[14] >> 4 == 4);
	EQ(p[12] << 8 | p[13], six ? 0x86dd : 0x0800);
	EQ(p[14 + (six ? 6 : 9)], IPPROTO_UDP);
	p += 14 + ip;
	EQ(p[0] << 8 | p[1], from);
	EQ(p[2] << 8 | p[3], port);
	EQ(p[4] << 8 | p[5], 8 + len);
	CHECK(!memcmp(p + 8, buf, len));
}

/* When was it sent? */
UDP_TEST(udp_timestamping_sent)
{
	const int flags = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
			  SOF_TIMESTAMPING_OPT_ID;
	static uint8_t buf[30000];
	long long before = now_us();
	unsigned int port;
	int r = bound(&port), s = sock();
	struct pollfd p = { .fd = s, .events = POLLPRI };

	pattern(buf, sizeof(buf), 11);
	option(s, SO_TIMESTAMPING, flags);
	EQ(to(s, port, "seven..", 7), 7);
	sent_whole(sent(s, before, 0), port_of(s), port, "seven..", 7);
	EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
	sent_whole(sent(s, before, 1), port_of(s), port, buf, sizeof(buf));
	EQ(to(s, port, "", 0), 0);
	sent_whole(sent(s, before, 2), port_of(s), port, "", 0);
	/* Only when, and who waits for that hears of it. */
	option(s, SO_SELECT_ERR_QUEUE, 1);
	option(s, SO_TIMESTAMPING, flags | SOF_TIMESTAMPING_OPT_TSONLY);
	EQ(to(s, port, "x", 1), 1);
	EQ(poll(&p, 1, 5000), 1);
	CHECK(p.revents & POLLPRI);
	EQ(sent(s, before, 3)->len, 0);
	ERR(recv(s, buf, sizeof(buf), MSG_ERRQUEUE), EAGAIN);
	EQ(receive(r)->len, 7);
	EQ(receive(r)->len, sizeof(buf));
	EQ(receive(r)->len, 0);
	EQ(receive(r)->len, 1);
}

/* Asked for of one only, with the interface it went out by. */
UDP_TEST(udp_timestamping_sent_one)
{
	uint32_t tx = SOF_TIMESTAMPING_TX_SOFTWARE, wrong = SOF_TIMESTAMPING_SOFTWARE;
	int four = family == AF_INET, one = 1;
	long long before = now_us();
	struct received *d;
	unsigned int port;
	int r = bound(&port), s = sock();
	void *info;

	if (four)
		OK(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	else
		OK(setsockopt(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)));
	option(s, SO_TIMESTAMPING, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_CMSG);
	EQ(to(s, port, "none", 4), 4);
	EQ(with(s, port, "one", 3, SOL_SOCKET, SO_TIMESTAMPING, &tx, sizeof(tx)), 3);
	d = sent(s, before, 0);
	sent_whole(d, port_of(s), port, "one", 3);
	info = find(d, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_PKTINFO : IPV6_PKTINFO);
	CHECK(info);
	CHECK(four ? ((struct in_pktinfo *)info)->ipi_ifindex :
		     (int)((struct in6_pktinfo *)info)->ipi6_ifindex);
	ERR(recv(s, d->data, 1, MSG_ERRQUEUE), EAGAIN);
	ERR(with(s, port, "x", 1, SOL_SOCKET, SO_TIMESTAMPING, &wrong, sizeof(wrong)), EINVAL);
	EQ(receive(r)->len, 4);
	EQ(receive(r)->len, 3);
}

static void pieces(int r, const uint8_t *buf, size_t len, size_t size)
{
	struct received *d;
	size_t off, n;

	for (off = 0; off < len; off += n) {
		n = len - off < size ? len - off : size;
		d = receive(r);
		EQ(d->len, n);
		CHECK(!memcmp(d->data, buf + off, n));
	}
}

/* Several datagrams by one call. */
UDP_TEST(udp_segments)
{
	uint16_t size = 300;
	uint8_t buf[3000];
	unsigned int port;
	int r = bound(&port), s = sock();

	pattern(buf, sizeof(buf), 7);
	EQ(with(s, port, buf, 1000, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 1000);
	pieces(r, buf, 1000, 300);
	EQ(with(s, port, buf, 200, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 200);
	pieces(r, buf, 200, 300);
	EQ(with(s, port, buf, 3000, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 3000);
	pieces(r, buf, 3000, 300);
}

/* Of a socket that is connected; false if that is not by a circuit. */
static bool ring_info(int fd, struct circuit_info *info)
{
	socklen_t len = sizeof(*info);

	return !getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, info, &len);
}

/*
 * How often the far end of a socket that is connected was told of something; 0 if that is not by a
 * circuit.
 */
static unsigned long doorbells(int fd)
{
	struct circuit_info info;

	return ring_info(fd, &info) ? info.tx_doorbells : 0;
}

/* However many are sent by one call, the far end is told once, and hears of all. */
UDP_TEST(udp_told_once)
{
	static uint8_t buf[60000];
	struct iovec iov = { buf, 100 };
	struct mmsghdr batch[64] = {};
	uint16_t size = 1200;
	unsigned long before;
	unsigned int port;
	int r = bound(&port), s = sock(), i, round;

	pattern(buf, sizeof(buf), 8);
	for (i = 0; i < 64; i++)
		batch[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	EQ(sock_connect(s, port), 0);
	for (round = 0; round < 3; round++) {
		wait_quiet(r, POLLIN);
		before = doorbells(s);
		EQ(with(s, port, buf, sizeof(buf), SOL_UDP, UDP_SEGMENT, &size, sizeof(size)),
		   sizeof(buf));
		CHECK(doorbells(s) - before <= 1);
		wait_for(r, POLLIN);
		pieces(r, buf, sizeof(buf), size);
		wait_quiet(r, POLLIN);
		before = doorbells(s);
		EQ(sendmmsg(s, batch, 64, 0), 64);
		CHECK(doorbells(s) - before <= 1);
		wait_for(r, POLLIN);
		for (i = 0; i < 64; i++)
			EQ(receive(r)->len, 100);
	}
}

/*
 * Rings are what either side has asked for when the first datagram is sent. Programs do so before
 * bind() or after it, which is noticed when they read.
 */
UDP_TEST(udp_ring_sizes)
{
	enum { SIZE = 200000 };
	struct circuit_info info;
	unsigned int port;
	int r = bound(&port), first = sock(), fd;
	char c;

	OK(sock_connect(first, port));
	EQ(send(first, "x", 1, 0), 1);
	EQ(recv(r, &c, 1, 0), 1);
	if (!ring_info(first, &info))
		return;		/* UDP's buffers are of no one's making */
	CHECK(info.tx_size < SIZE);
	option(r, SO_RCVBUF, SIZE);
	ERR(recv(r, &c, 1, MSG_DONTWAIT), EAGAIN);
	fd = sock();
	OK(sock_connect(fd, port));
	EQ(send(fd, "x", 1, 0), 1);
	EQ(recv(r, &c, 1, 0), 1);
	CHECK(ring_info(fd, &info));
	CHECK(info.tx_size >= SIZE && info.rx_size < SIZE);
	CHECK(ring_info(first, &info));
	CHECK(info.tx_size < SIZE);	/* as it was */
	close(fd);
	fd = sock();
	option(fd, SO_RCVBUF, SIZE);
	OK(sock_connect(fd, port));
	EQ(send(fd, "x", 1, 0), 1);
	EQ(recv(r, &c, 1, 0), 1);
	CHECK(ring_info(fd, &info));
	CHECK(info.rx_size >= SIZE);
	close(fd);
	close(r);
	r = sock();
	option(r, SO_RCVBUF, SIZE);
	EQ(sock_bind(r, 0), 0);
	fd = sock();
	OK(sock_connect(fd, port_of(r)));
	EQ(send(fd, "x", 1, 0), 1);
	EQ(recv(r, &c, 1, 0), 1);
	CHECK(ring_info(fd, &info));
	CHECK(info.tx_size >= SIZE && info.rx_size < SIZE);
}

UDP_TEST(udp_segments_by_option)
{
	uint8_t buf[1000];
	unsigned int port;
	int r = bound(&port), s = sock(), size = 400;

	pattern(buf, sizeof(buf), 9);
	OK(setsockopt(s, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)));
	EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
	pieces(r, buf, sizeof(buf), 400);
	size = 0;
	OK(setsockopt(s, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)));
	EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
	pieces(r, buf, sizeof(buf), sizeof(buf));
}

/* Whether or not it comes in pieces, all of it does. */
UDP_TEST(udp_coalesced)
{
	uint16_t size = 100;
	uint8_t buf[1000];
	unsigned int port;
	int r = bound(&port), s = sock(), one = 1;
	struct received *d;
	long got = 0;

	pattern(buf, sizeof(buf), 3);
	OK(setsockopt(r, SOL_UDP, UDP_GRO, &one, sizeof(one)));
	EQ(with(s, port, buf, sizeof(buf), SOL_UDP, UDP_SEGMENT, &size, sizeof(size)),
	   sizeof(buf));
	while (got < (long)sizeof(buf)) {
		d = receive(r);
		if (d->len > 100) {
			CHECK(find(d, SOL_UDP, UDP_GRO));
			EQ(*(int *)find(d, SOL_UDP, UDP_GRO), 100);
		}
		CHECK(!memcmp(d->data, buf + got, d->len));
		got += d->len;
	}
	EQ(got, sizeof(buf));
}

static void gro_on(int r)
{
	int one = 1;

	OK(setsockopt(r, SOL_UDP, UDP_GRO, &one, sizeof(one)));
}

/*
 * What was sent as one is received as one, with the length of its pieces; the last may be shorter.
 */
UDP_TEST(udp_coalesced_as_sent)
{
	const size_t len[] = { 3000, 2900, 100, 301, 60000 };
	static uint8_t buf[60000];
	uint16_t size = 300;
	struct received *d;
	unsigned int port;
	int r = bound(&port), s = sock(), *segment;
	size_t i;

	pattern(buf, sizeof(buf), 4);
	gro_on(r);
	for (i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		size = len[i] == sizeof(buf) ? 1200 : 300;
		EQ(with(s, port, buf, len[i], SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), len[i]);
		d = receive(r);
		EQ(d->len, len[i]);
		EQ(addr_port(&d->from), port_of(s));
		CHECK(!memcmp(d->data, buf, len[i]));
		segment = find(d, SOL_UDP, UDP_GRO);
		EQ(!!segment, len[i] > size);
		EQ(segment ? *segment : 0, len[i] > size ? size : 0);
	}
	ERR(recv(r, buf, 1, MSG_DONTWAIT), EAGAIN);
}

/*
 * One that is shorter or empty is the end, as is one of somebody else, and none is longer than the
 * first.
 */
UDP_TEST(udp_coalesced_ends)
{
	uint16_t size = 100;
	uint8_t buf[1000];
	unsigned int port;
	int r = bound(&port), s = sock(), other = sock();

	pattern(buf, sizeof(buf), 5);
	gro_on(r);
	EQ(with(s, port, buf, 350, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 350);
	EQ(with(s, port, buf, 250, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 250);
	EQ(to(s, port, buf, 0), 0);
	EQ(to(s, port, buf, 60), 60);
	EQ(to(s, port, buf, 61), 61);
	EQ(receive(r)->len, 350);
	EQ(receive(r)->len, 250);
	EQ(receive(r)->len, 0);
	EQ(receive(r)->len, 60);
	EQ(receive(r)->len, 61);
	EQ(to(s, port, buf, 100), 100);
	EQ(receive(r)->len, 100);
	EQ(to(other, port, buf, 100), 100);
	EQ(receive(r)->len, 100);
}

/* Looking at it and how long it is are about all of it. */
UDP_TEST(udp_coalesced_peek)
{
	uint16_t size = 100;
	uint8_t buf[1000], got[1000];
	unsigned int port;
	int r = bound(&port), s = sock();
	struct pollfd p = { .fd = r, .events = POLLIN };

	pattern(buf, sizeof(buf), 6);
	gro_on(r);
	EQ(with(s, port, buf, sizeof(buf), SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), sizeof(buf));
	EQ(poll(&p, 1, 5000), 1);
	EQ(recv(r, got, sizeof(got), MSG_PEEK), sizeof(got));
	CHECK(!memcmp(got, buf, sizeof(got)));
	memset(got, 0, sizeof(got));
	EQ(recv(r, got, sizeof(got), MSG_TRUNC), sizeof(got));
	CHECK(!memcmp(got, buf, sizeof(got)));
	ERR(recv(r, got, sizeof(got), MSG_DONTWAIT), EAGAIN);
}

/* Where it was not asked for, or is not any more, pieces are pieces. */
UDP_TEST(udp_coalesced_no_more)
{
	uint16_t size = 100;
	uint8_t buf[300];
	unsigned int port;
	int r = bound(&port), s = sock(), off = 0;

	pattern(buf, sizeof(buf), 8);
	gro_on(r);
	OK(setsockopt(r, SOL_UDP, UDP_GRO, &off, sizeof(off)));
	EQ(with(s, port, buf, sizeof(buf), SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), sizeof(buf));
	pieces(r, buf, sizeof(buf), size);
}

UDP_TEST(udp_port_in_use)
{
	unsigned int port;
	int r = bound(&port);

	ERR(sock_bind(sock(), port), EADDRINUSE);
	ERR(sock_bind(r, port), EINVAL);
	close(r);
	EQ(sock_bind(sock(), port), 0);
}

/* Those who share a port share what comes there, each sender's going to one of them. */
UDP_TEST(udp_shared_port)
{
	enum { N = 4, SENDERS = 16 };
	unsigned int port;
	int r[N], s, i, j, got = 0;
	char c;

	r[0] = sock();
	option(r[0], SO_REUSEPORT, 1);
	EQ(sock_bind(r[0], 0), 0);
	port = port_of(r[0]);
	for (i = 1; i < N; i++) {
		r[i] = sock();
		option(r[i], SO_REUSEPORT, 1);
		EQ(sock_bind(r[i], port), 0);
	}
	for (i = 0; i < SENDERS; i++) {
		s = sock();
		EQ(to(s, port, "a", 1), 1);
		EQ(to(s, port, "b", 1), 1);
	}
	for (i = 0; i < N; i++)
		for (j = 0; recv(r[i], &c, 1, MSG_DONTWAIT) == 1; j++)
			got++;
	EQ(got, 2 * SENDERS);
}

UDP_TEST(udp_names)
{
	unsigned int port;
	union addr a, none = {};
	socklen_t n;
	int s = sock();

	bound(&port);
	EQ(port_of(s), 0);
	EQ(to(s, port, "x", 1), 1);
	CHECK(port_of(s));
	EQ(sock_connect(s, port), 0);
	n = sizeof(a);
	OK(getsockname(s, &a.sa, &n));
	EQ(n, addr_len());
	/* It has an address by now. */
	if (family == AF_INET)
		CHECK(a.in.sin_addr.s_addr != none.in.sin_addr.s_addr);
	else
		CHECK(memcmp(&a.in6.sin6_addr, &none.in6.sin6_addr, 16));
}

/* Where there is no room for all of an address. */
UDP_TEST(udp_name_cut_short)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	char c, few[4] = "\377\377\377\377";
	socklen_t n = 2;

	EQ(to(s, port, "x", 1), 1);
	EQ(recvfrom(r, &c, 1, 0, (struct sockaddr *)few, &n), 1);
	EQ(n, addr_len());
	EQ(*(uint16_t *)few, family);
	EQ(few[2], -1);
}

UDP_TEST(udp_connected_and_elsewhere)
{
	unsigned int port[2];
	int r[2] = { bound(&port[0]), bound(&port[1]) }, s = sock();
	char c;

	EQ(sock_connect(s, port[0]), 0);
	EQ(to(s, port[1], "other", 5), 5);
	send_text(s, "first");
	expect_text(r[1], "other");
	expect_text(r[0], "first");
	/* But it hears one only. */
	EQ(to(r[1], port_of(s), "not you", 7), 7);
	EQ(to(r[0], port_of(s), "you", 3), 3);
	expect_text(s, "you");
	ERR(recv(s, &c, 1, MSG_DONTWAIT), EAGAIN);
}

/* Who was not asked may answer, as servers of TFTP do. */
UDP_TEST(udp_answer_from_elsewhere)
{
	unsigned int port, other;
	int r = bound(&port), o = bound(&other), s = sock();
	struct received *d;

	EQ(to(s, port, "question", 8), 8);
	d = receive(r);
	EQ(to(o, addr_port(&d->from), "answer", 6), 6);
	d = receive(s);
	EQ(d->len, 6);
	EQ(addr_port(&d->from), other);
	/* And so may others who have no port of their own yet. */
	EQ(to(sock(), port_of(s), "another", 7), 7);
	EQ(receive(s)->len, 7);
}

static void counter(struct task *t)
{
	uint32_t i;

	for (i = 0; i < (quick ? 3000 : 30000); i++) {
		EQ(send(t->fd, &i, 4, 0), 4);
		if (i % 50 == 49)	/* UDP loses what there is no room for */
			EQ(recv(t->fd, &t->ret, 1, 0), 1);
	}
}

/* From one to another everything comes in order. */
UDP_TEST(udp_in_order)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	struct received *d;
	struct task t;
	uint32_t i;

	EQ(sock_connect(s, port), 0);
	task_start(&t, counter, s, NULL);
	for (i = 0; i < (quick ? 3000 : 30000); i++) {
		d = receive(r);
		EQ(*(uint32_t *)d->data, i);
		if (i % 50 == 49)
			EQ(to(r, addr_port(&d->from), "+", 1), 1);
	}
	task_join(&t);
}

UDP_TEST(udp_gather_scatter)
{
	enum { N = 100 };
	struct iovec out[N], in[N];
	struct msghdr msg = { .msg_iov = out, .msg_iovlen = N };
	uint8_t buf[N * 13], got[N * 13];
	unsigned int port;
	int r = bound(&port), s = sock(), i;

	pattern(buf, sizeof(buf), 1);
	for (i = 0; i < N; i++) {
		out[i] = (struct iovec){ buf + i * 13, 13 };
		in[i] = (struct iovec){ got + (N - 1 - i) * 13, 13 };
	}
	EQ(sock_connect(s, port), 0);
	EQ(sendmsg(s, &msg, 0), sizeof(buf));
	msg.msg_iov = in;
	EQ(recvmsg(r, &msg, 0), sizeof(buf));
	for (i = 0; i < N; i++)
		CHECK(!memcmp(in[i].iov_base, out[i].iov_base, 13));
}

/* A datagram is gone once it was received, however little of it. */
UDP_TEST(udp_no_room)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	char c;

	EQ(to(s, port, "first", 5), 5);
	EQ(to(s, port, "second", 6), 6);
	EQ(recv(r, NULL, 0, 0), 0);
	EQ(recv(r, &c, 0, MSG_TRUNC), 6);
	ERR(recv(r, &c, 1, MSG_DONTWAIT), EAGAIN);
}

UDP_TEST(udp_nothing_went_wrong)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	char c;

	EQ(to(s, port, "x", 1), 1);
	ERR(recv(s, &c, 1, MSG_ERRQUEUE | MSG_DONTWAIT), EAGAIN);
	ERR(recv(r, &c, 1, MSG_ERRQUEUE | MSG_DONTWAIT), EAGAIN);
	expect_text(r, "x");
}

UDP_TEST(udp_nonblocking)
{
	unsigned int port;
	int r = bound(&port), s = sock();
	char c, buf[1000] = "";
	int i;

	OK(fcntl(r, F_SETFL, O_NONBLOCK));
	OK(fcntl(s, F_SETFL, O_NONBLOCK));
	ERR(recv(r, &c, 1, 0), EAGAIN);
	/* Nobody reads, and nobody waits for that. */
	for (i = 0; i < 3000; i++)
		EQ(to(s, port, buf, sizeof(buf)), sizeof(buf));
	EQ(recv(r, buf, sizeof(buf), 0), sizeof(buf));
}

/* One that does not read does not keep another from getting what is for it. */
UDP_TEST(udp_deaf)
{
	unsigned int port[2];
	int r[2] = { bound(&port[0]), bound(&port[1]) }, s = sock();
	long long start = now_ms();
	char buf[1000] = "";
	int i;

	for (i = 0; i < 2000; i++) {
		EQ(to(s, port[0], buf, sizeof(buf)), sizeof(buf));
		if (i % 100 == 0) {
			EQ(to(s, port[1], "x", 1), 1);
			expect_text(r[1], "x");
		}
	}
	CHECK(now_ms() - start < 20000);
	EQ(recv(r[0], buf, sizeof(buf), 0), sizeof(buf));
}

/* One of many that sends all the time does not keep others from being heard. */
UDP_TEST(udp_loud)
{
	unsigned int port;
	int r = bound(&port), s[2] = { sock(), sock() }, i, n = 0;
	struct received *d;

	EQ(to(s[1], port, "x", 1), 1);
	receive(r);
	for (i = 0; i < 50; i++)
		EQ(to(s[0], port, "loud", 4), 4);
	EQ(to(s[1], port, "x", 1), 1);
	do {
		d = receive(r);
		n++;
	} while (d->len != 1);
	CHECK(n <= 51);
}

/* More than a socket has circuits for. */
UDP_TEST(udp_many_peers, .timeout = 60)
{
	enum { N = 300 };
	unsigned int port[N], own;
	int r[N], s = bound(&own), i;
	struct received *d;

	for (i = 0; i < N; i++) {
		r[i] = bound(&port[i]);
		EQ(to(s, port[i], &i, sizeof(i)), sizeof(i));
	}
	for (i = 0; i < N; i++) {
		d = receive(r[i]);
		EQ(*(int *)d->data, i);
		EQ(addr_port(&d->from), own);
		EQ(to(r[i], own, &i, sizeof(i)), sizeof(i));
		d = receive(s);
		EQ(*(int *)d->data, i);
		EQ(addr_port(&d->from), port[i]);
	}
}

/* A socket has only so many circuits: what it has not read of one that goes is counted as lost. */
UDP_TEST(udp_too_many_peers, .timeout = 60)
{
	enum { N = 270 };
	unsigned int port, lost = 0, got = 0;
	int r = bound(&port), s, i;
	char control[CMSG_SPACE(sizeof(lost))], c;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };

	option(r, SO_RXQ_OVFL, 1);
	option(r, SO_RCVBUF, 200000);	/* UDP's, which is to lose none */
	for (i = 0; i < N; i++) {
		s = sock();
		EQ(to(s, port, "x", 1), 1);
		wait_for(r, POLLIN);
	}
	while (got + lost < N) {
		wait_for(r, POLLIN);
		msg.msg_controllen = sizeof(control);
		EQ(recvmsg(r, &msg, 0), 1);
		got++;
		if (CMSG_FIRSTHDR(&msg))
			memcpy(&lost, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(lost));
	}
	EQ(got + lost, N);
	wait_quiet(r, POLLIN);
}

static void echo(struct task *t)
{
	char buf[100];
	union addr a;
	socklen_t n;
	long len;

	do {
		n = sizeof(a);
		len = OK(recvfrom(t->fd, buf, sizeof(buf), 0, &a.sa, &n));
		EQ(sendto(t->fd, buf, len, 0, &a.sa, n), len);
	} while (len);
}

/* A socket that several threads receive from: each datagram gets to one of them. */
UDP_TEST(udp_threads)
{
	struct task t[4];
	unsigned int port;
	int r = bound(&port), s = sock(), i;

	for (i = 0; i < 4; i++)
		task_start(&t[i], echo, r, NULL);
	EQ(sock_connect(s, port), 0);
	for (i = 0; i < 1000; i++) {
		EQ(send(s, &i, sizeof(i), 0), sizeof(i));
		EQ(recv(s, &i, sizeof(i), 0), sizeof(i));
	}
	for (i = 0; i < 4; i++)
		EQ(send(s, "", 0, 0), 0);
	for (i = 0; i < 4; i++)
		task_join(&t[i]);
}

/* Who sends to a socket all the time, by one way or the other; 16 datagrams of his are on their way. */
#define SENT 3000
struct sender {
	struct task	task;
	union addr	to;
	sem_t		window;
	uint32_t	got;
	uint32_t	passed;
};

static void sends(struct task *t)
{
	struct sender *s = t->arg;
	cpu_set_t here;
	uint32_t i;

	/*
	 * Each processor has a queue of its own for loopback: what one has sent from another is
	 * overtaken at times where the first one's softirqs wait for ksoftirqd.
	 */
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	EQ(sched_setaffinity(0, sizeof(here), &here), 0);
	for (i = 0; i < SENT; i++) {
		while (sem_wait(&s->window))
			;
		EQ(sendto(t->fd, &i, sizeof(i), 0, &s->to.sa, addr_len()), sizeof(i));
	}
}

/*
 * A socket that is written to by other machines and by its own is a circuit to those and UDP's to
 * this. Each flow comes in order, and however much there is of one, the other gets its turn.
 */
UDP_TEST(udp_two_ways, .timeout = 60)
{
	struct sender s[2] = { 0 };
	unsigned int port;
	int r = bound(&port), i, turn, left = 0;
	union addr from;
	uint32_t n;

	addr_set(&s[0].to, port);
	addr_set_loopback(&s[1].to, port);
	for (i = 0; i < 2; i++)
		sem_init(&s[i].window, 0, 16);
	for (i = 0; i < 2; i++) {
		int fd = sock();

		/* Their ports tell what came from whom. */
		OK(bind(fd, &(union addr){ .sa.sa_family = family }.sa, addr_len()));
		task_start(&s[i].task, sends, fd, &s[i]);
	}
	for (turn = 0; turn < 2 * SENT; turn++) {
		socklen_t len = sizeof(from);

		/* As programs do that wait first, and as those that do not. */
		if (turn & 64)
			wait_for(r, POLLIN);
		EQ(recvfrom(r, &n, sizeof(n), 0, &from.sa, &len), sizeof(n));
		i = addr_port(&from) == port_of(s[1].task.fd);
		if (n != s[i].got++)
			fail("%s: %u, expected %u", i ? "loopback" : "circuit", n, s[i].got - 1);
		s[i].passed = 0;
		OK(sem_getvalue(&s[!i].window, &left));
		if (!left && s[!i].got < SENT)
			CHECK(++s[!i].passed < 500);
		OK(sem_post(&s[i].window));
	}
	for (i = 0; i < 2; i++)
		task_join(&s[i].task);
}

/* A child has the socket as well, and goes. */
UDP_TEST(udp_inherited)
{
	unsigned int port, own;
	int r = bound(&port), s = bound(&own);
	pid_t pid = spawn();

	if (!pid) {
		EQ(to(s, port, "child", 5), 5);
		_exit(0);
	}
	reap(pid);
	expect_text(r, "child");
	EQ(to(s, port, "parent", 6), 6);
	EQ(receive(r)->len, 6);
	EQ(to(r, own, "back", 4), 4);
	expect_text(s, "back");
}

/*
 * As servers do that give each client a socket: the one that has got the first datagram, and make
 * another.
 */
UDP_TEST(udp_server_connects)
{
	int r, s, next, i, one[8];
	struct received *d;
	unsigned int port;
	char c;

	r = sock();
	option(r, SO_REUSEADDR, 1);
	EQ(sock_bind(r, 0), 0);
	port = port_of(r);
	for (i = 0; i < 8; i++) {
		s = one[i] = sock();
		EQ(sock_connect(s, port), 0);
		EQ(send(s, &i, sizeof(i), 0), sizeof(i));
		d = receive(r);
		EQ(*(int *)d->data, i);
		EQ(sock_connect(r, addr_port(&d->from)), 0);
		next = sock();
		option(next, SO_REUSEADDR, 1);
		EQ(sock_bind(next, port), 0);
		EQ(send(r, "hello", 5, 0), 5);
		expect_text(s, "hello");
		send_text(s, "there");
		expect_text(r, "there");
		r = next;
	}
	/* Each has its own still. */
	for (i = 0; i < 8; i++)
		send_text(one[i], "x");
	ERR(recv(r, &c, 1, MSG_DONTWAIT), EAGAIN);
}

/* A batch for several: all hear of it, and at once. */
UDP_TEST(udp_batch_for_several)
{
	enum { N = 8 };
	struct mmsghdr out[2 * N] = {};
	struct iovec iov = { "x", 1 };
	unsigned int port[N];
	union addr a[N];
	int r[N], s = sock(), i;
	char c;

	for (i = 0; i < N; i++)
		r[i] = bound(&port[i]);
	for (i = 0; i < 2 * N; i++)
		out[i].msg_hdr = (struct msghdr){
			.msg_name = &a[i % N], .msg_namelen = addr_set(&a[i % N], port[i % N]),
			.msg_iov = &iov, .msg_iovlen = 1,
		};
	EQ(sendmmsg(s, out, 2 * N, 0), 2 * N);
	for (i = 0; i < 2 * N; i++)
		EQ(recv(r[i % N], &c, 1, 0), 1);
}

/* Two that are connected to each other before either has sent anything. */
UDP_TEST(udp_peers)
{
	unsigned int port[2];
	int fd[2], i;

	for (i = 0; i < 20; i++) {
		fd[0] = bound(&port[0]);
		fd[1] = bound(&port[1]);
		EQ(sock_connect(fd[0], port[1]), 0);
		EQ(sock_connect(fd[1], port[0]), 0);
		send_text(fd[i % 2], "there");
		send_text(fd[!(i % 2)], "and back");
		expect_text(fd[!(i % 2)], "there");
		expect_text(fd[i % 2], "and back");
		/* One is connected to somebody else now, and back again. */
		EQ(sock_connect(fd[0], port_of(bound(&port[1]))), 0);
		close(fd[0]);
		close(fd[1]);
	}
}

/* The server goes, and another comes: who is connected to it goes on. */
UDP_TEST(udp_server_restarts)
{
	unsigned int port;
	int r = bound(&port), s = sock(), i;
	char c;

	EQ(sock_connect(s, port), 0);
	for (i = 0; i < 10; i++) {
		UNTIL(send(s, "x", 1, 0) == 1);
		EQ(recv(r, &c, 1, 0), 1);
		close(r);
		/* Nobody is there: it hears of that, sooner or later. */
		UNTIL(send(s, "y", 1, 0) < 0 && errno == ECONNREFUSED);
		r = sock();
		EQ(sock_bind(r, port), 0);
	}
}

/* What there is no memory for is lost, and what comes after it is not. */
UDP_TEST(udp_bad_memory)
{
	unsigned int port;
	int r = bound(&port), s = sock();

	EQ(to(s, port, "one", 3), 3);
	EQ(to(s, port, "two", 3), 3);
	ERR(recv(r, (void *)8, 3, 0), EFAULT);
	expect_text(r, "two");
}

/* What has come from others is there after connect(); what comes after it is not. */
UDP_TEST(udp_before_connect)
{
	unsigned int port, own[2];
	int r = bound(&port), s[2] = { bound(&own[0]), bound(&own[1]) };

	EQ(to(s[0], port, "zero", 4), 4);
	EQ(to(s[1], port, "one", 3), 3);
	EQ(sock_connect(r, own[1]), 0);
	expect_text(r, "zero");
	expect_text(r, "one");
	to(s[0], port, "three", 5);
	EQ(to(s[1], port, "four", 4), 4);
	expect_text(r, "four");
}

/* Who asks for it is told of whom an error is, without being connected. */
UDP_TEST(udp_error_queue)
{
	int four = family == AF_INET, s = sock(), one = 1, unused = sock();
	struct pollfd p = { .fd = s };
	char buf[100], control[512];
	struct iovec iov = { buf, sizeof(buf) };
	union addr from, a, *offender;
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct sock_extended_err *ee = NULL;
	bool old;
	struct cmsghdr *c;
	unsigned int port;

	EQ(sock_bind(unused, 0), 0);
	port = port_of(unused);
	close(unused);
	OK(setsockopt(s, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_RECVERR : IPV6_RECVERR, &one,
		      sizeof(one)));
	EQ(to(s, port, "x", 1), 1);
	EQ(poll(&p, 1, 5000), 1);
	CHECK(p.revents & POLLERR);
	OK(recvmsg(s, &msg, MSG_ERRQUEUE));
	CHECK(msg.msg_flags & MSG_ERRQUEUE);
	EQ(addr_port(&from), port);
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == (four ? IPPROTO_IP : IPPROTO_IPV6) &&
		    c->cmsg_type == (four ? IP_RECVERR : IPV6_RECVERR))
			ee = (void *)CMSG_DATA(c);
	CHECK(ee);
	EQ(ee->ee_errno, ECONNREFUSED);
	/* As if the host had said so. */
	addr_set(&a, port);
	old = four || IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr);
	EQ(ee->ee_origin, old ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
	EQ(ee->ee_type, old ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH);
	EQ(ee->ee_code, old ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT);
	offender = (void *)SO_EE_OFFENDER(ee);
	EQ(offender->sa.sa_family, family);
	if (four)
		EQ(offender->in.sin_addr.s_addr, a.in.sin_addr.s_addr);
	else
		CHECK(!memcmp(&offender->in6.sin6_addr, &a.in6.sin6_addr, 16));
	ERR(recvmsg(s, &msg, MSG_ERRQUEUE), EAGAIN);
}

static void first_of(struct task *t)
{
	char c;

	t->ret = recv(t->fd, &c, 1, 0);
}

/* A batch is one notification, to a reader who sleeps. */
UDP_TEST(udp_batch_notifies_once)
{
	enum { N = 64, TIMES = 4 };
	struct iovec iov = { "x", 1 };
	struct mmsghdr out[N] = {};
	unsigned int port;
	int r = bound(&port), s = sock(), i, j;
	unsigned long before;
	struct task t;
	char c;

	EQ(sock_connect(s, port), 0);
	send_text(s, "first");
	expect_text(r, "first");
	for (i = 0; i < N; i++)
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (j = 0; j < TIMES; j++) {
		task_start(&t, first_of, r, NULL);
		task_asleep(&t, SYS_recvfrom);
		before = doorbells(s);
		EQ(sendmmsg(s, out, N, 0), N);
		task_join(&t);
		EQ(t.ret, 1);
		CHECK(doorbells(s) - before <= 2);
		for (i = 1; i < N; i++)
			EQ(recv(r, &c, 1, 0), 1);
	}
}
