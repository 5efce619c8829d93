// SPDX-License-Identifier: GPL-2.0
/*
 * The transport of sockets against a kernel that is played here: what linux/circuit.h says of
 * mmap(), ioctl(), poll() and getsockopt(). The linker brings the library's calls here (--wrap);
 * calls on other descriptors go on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include "lib_test.h"

#define TX	8192u
#define RX	4096u

static struct {
	int fd, memory, domain, type;
	struct circuit_info info;
	socklen_t info_len;
	struct circuit_ctrl *ctrl;	/* as the far end sees it */
	uint8_t *ring[2];
	int maps, kicks, kick_error, so_error, polls, shutdowns;
	struct sockaddr_circuit peer;
	short revents;
	void (*asleep)(void);
} k = { .fd = -2 };

int __real_getsockopt(int fd, int level, int name, void *val, socklen_t *len);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t len);
int __real_ioctl(int fd, unsigned long cmd, ...);
int __real_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask);
int __real_shutdown(int fd, int how);
int __real_getpeername(int fd, struct sockaddr *addr, socklen_t *len);

int __wrap_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	int v;

	if (fd != k.fd)
		return __real_getsockopt(fd, level, name, val, len);
	if (level == SOL_CIRCUIT && name == CIRCUIT_SO_INFO) {
		if (*len > k.info_len)
			*len = k.info_len;
		memcpy(val, &k.info, *len);
		return 0;
	}
	v = name == SO_DOMAIN ? k.domain : name == SO_TYPE ? k.type : k.so_error;
	if (name == SO_ERROR)
		k.so_error = 0;
	memcpy(val, &v, sizeof(v));
	return 0;
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	size_t tx_at = 4096 + (k.info.end ? RX : 0), rx_at = 4096 + (k.info.end ? 0 : TX);
	uint8_t *map;

	if (fd != k.fd)
		return __real_mmap(at, len, prot, flags, fd, off);
	if (len != 4096 + 2 * (TX + RX) || prot != (PROT_READ | PROT_WRITE) || off ||
	    flags != MAP_SHARED) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	map = __real_mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#define PIECE(where, bytes, from) \
	__real_mmap(map + (where), bytes, prot, MAP_SHARED | MAP_FIXED, k.memory, from)
	PIECE(0, 4096, 0);
	PIECE(4096, TX, tx_at);
	PIECE(4096 + TX, TX, tx_at);
	PIECE(4096 + 2 * TX, RX, rx_at);
	PIECE(4096 + 2 * TX + RX, RX, rx_at);
	k.maps++;
	k.info.mapped = CIRCUIT_MAPPED;
	return map;
}

int __wrap_munmap(void *at, size_t len)
{
	if (len == 4096 + 2 * (TX + RX) && k.maps) {
		k.maps--;
		k.info.mapped = 0;
	}
	return __real_munmap(at, len);
}

int __wrap_ioctl(int fd, unsigned long cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd != k.fd)
		return __real_ioctl(fd, cmd, arg);
	EQ(cmd, SIOCCIRCUITKICK);
	k.kicks++;
	errno = k.kick_error;
	return k.kick_error ? -1 : 0;
}

/* Readiness is what it is; sleep is what asleep() does. */
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	if (n != 1 || fds->fd != k.fd)
		return __real_ppoll(fds, n, ts, mask);
	k.polls++;
	fds->revents = k.revents & (fds->events | POLLERR | POLLHUP | POLLNVAL);
	if (!fds->revents && (!ts || ts->tv_sec || ts->tv_nsec)) {
		if (k.asleep) {
			k.asleep();
			fds->revents = k.revents & (fds->events | POLLERR | POLLHUP | POLLNVAL);
		} else {
			__real_ppoll(NULL, 0, ts, NULL);
		}
	}
	return !!fds->revents;
}

int __wrap_shutdown(int fd, int how)
{
	if (fd != k.fd)
		return __real_shutdown(fd, how);
	EQ(how, SHUT_WR);
	k.shutdowns++;
	return 0;
}

int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	if (fd != k.fd)
		return __real_getpeername(fd, addr, len);
	errno = ENOTCONN;
	if (!k.peer.sc_family)
		return -1;
	memcpy(addr, &k.peer, *len < sizeof(k.peer) ? *len : sizeof(k.peer));
	*len = sizeof(k.peer);
	return 0;
}

static void boot(int type, unsigned int end, uint32_t tail, uint32_t head)
{
	memset(&k, 0, sizeof(k));
	k.fd = eventfd(0, 0);
	k.memory = memfd_create("kernel", 0);
	EQ(ftruncate(k.memory, 4096 + TX + RX), 0);
	k.ctrl = __real_mmap(NULL, 4096 + TX + RX, PROT_READ | PROT_WRITE, MAP_SHARED, k.memory, 0);
	k.ring[0] = (uint8_t *)k.ctrl + 4096;
	k.ring[1] = k.ring[0] + (end ? RX : TX);
	k.domain = AF_CIRCUIT;
	k.type = type;
	k.info = (struct circuit_info) { .end = end, .tx_size = TX, .rx_size = RX, .tx_bytes = 1000,
					 .rx_bytes = 2000, .tx_tail = tail, .rx_head = head };
	k.info_len = sizeof(k.info);
	k.ctrl->magic = CIRCUIT_RING_MAGIC;
	k.ctrl->size[0] = 12345;	/* not to be believed */
	k.ctrl->dir[end].prod.tail = tail;
	k.ctrl->dir[end].cons.head = tail - 100;
	k.ctrl->dir[end].cons.event = tail - TX - 1;
	k.ctrl->dir[!end].prod.tail = head;
	k.ctrl->dir[!end].cons.head = head;
}

static void far_writes(unsigned int end, const char *text)
{
	uint32_t tail = k.ctrl->dir[!end].prod.tail;

	for (; *text; text++, tail++)
		k.ring[!end][tail % RX] = *text;
	__atomic_store_n(&k.ctrl->dir[!end].prod.tail, tail, __ATOMIC_RELEASE);
}

/* In both roles, from where the kernel has left off to where it takes over. */
TEST(socket_goes_on_where_it_was)
{
	struct circuit_stats s;
	unsigned int end, i;
	struct circuit *c;
	char buf[8];
	void *to;

	for (end = 0; end < 2; end++) {
		boot(SOCK_STREAM, end, -3, -2);
		EQ(circuit_open(&c, k.fd), 0);
		EQ(circuit_fd(c), k.fd);
		EQ(circuit_tx_reserve(c, &to, 1), TX - 100);
		EQ(circuit_write(c, "abcdef", 6), 6);
		EQ(k.ctrl->dir[end].prod.tail, 3);
		EQ(k.ctrl->dir[end].prod.bytes, 1006);
		for (i = 0; i < 6; i++)
			EQ(k.ring[end][(-3 + i) % TX], "abcdef"[i]);
		EQ(k.kicks, 0);
		far_writes(end, "xyz");
		EQ(circuit_read(c, buf, 8), 3);
		CHECK(!memcmp(buf, "xyz", 3));
		EQ(k.ctrl->dir[!end].cons.head, (uint32_t)-2);
		circuit_stats(c, &s, sizeof(s));
		EQ(s.end, end);
		EQ(s.tx_bytes, 1006);
		EQ(s.rx_bytes, 2003);
		CHECK(circuit_tx_reserve(c, &to, 1) > 0);
		EQ(circuit_tx_fill(c, 2), 0);
		circuit_close(c);
		EQ(k.ctrl->dir[end].prod.tail, 5);
		EQ(k.ctrl->dir[!end].cons.head, 1);
		EQ(k.ctrl->dir[end].prod.flags, 0);	/* those are the kernel's */
		EQ(k.ctrl->dir[!end].cons.flags, 0);
		EQ(k.maps, 0);
	}
}

TEST(socket_kicks_when_asked_to)
{
	struct circuit *c;
	char buf[8];

	boot(SOCK_STREAM, 0, 0, 0);
	EQ(circuit_open(&c, k.fd), 0);
	k.ctrl->dir[0].cons.event = 4;
	EQ(circuit_write(c, "abcd", 4), 4);
	EQ(k.kicks, 0);
	EQ(circuit_write(c, "e", 1), 1);
	EQ(k.kicks, 1);
	EQ(circuit_write(c, "f", 1), 1);
	EQ(k.kicks, 1);
	k.ctrl->dir[1].prod.event = 1;
	far_writes(0, "xyz");
	EQ(circuit_read(c, buf, 8), 3);
	EQ(k.kicks, 1);
	EQ(circuit_rx_publish(c), 0);
	EQ(k.kicks, 2);
	EQ(circuit_shutdown(c), 0);
	EQ(k.shutdowns, 1);
	EQ(circuit_write(c, "g", 1), -EPIPE);
	EQ(circuit_read(c, buf, 1), -EAGAIN);
	/* A kick that fails for want of memory is owed. */
	k.ctrl->dir[1].prod.event = 3;
	k.kick_error = ENOMEM;
	far_writes(0, "xyz");
	EQ(circuit_read(c, buf, 8), 3);
	EQ(circuit_rx_publish(c), -ENOBUFS);
	k.kick_error = 0;
	EQ(circuit_rx_publish(c), 0);
	EQ(k.kicks, 4);
	EQ(circuit_rx_publish(c), 0);
	EQ(k.kicks, 4);
	circuit_close(c);
}

static void lose(void)
{
	memset(k.ctrl, 0, 4096);
	k.kick_error = ESTALE;
	k.revents = POLLIN | POLLOUT;
}

TEST(socket_loses_its_circuit)
{
	struct circuit *c;
	char buf[8];
	int i;

	for (i = 0; i < 4; i++) {
		boot(SOCK_STREAM, 0, i % 2 ? 0 : 5000, i % 2 ? 0 : 70000);
		EQ(circuit_open(&c, k.fd), 0);
		EQ(circuit_write(c, "abcd", 4), 4);
		if (i < 2) {
			lose();
			EQ(circuit_write(c, "x", 1), -ESTALE);
		} else {
			k.asleep = lose;
			EQ(circuit_wait(c, CIRCUIT_IN, -1), -ESTALE);
		}
		EQ(circuit_read(c, buf, 1), -ESTALE);
		EQ(circuit_wait(c, CIRCUIT_OUT, 0), -ESTALE);
		EQ(circuit_shutdown(c), -ESTALE);
		EQ(circuit_error(c), ESTALE);
		circuit_close(c);
	}
	/* Or somebody only says so. */
	boot(SOCK_STREAM, 0, 0, 0);
	EQ(circuit_open(&c, k.fd), 0);
	k.ctrl->magic = 0;
	EQ(circuit_write(c, "x", 1), -EPROTO);
	circuit_close(c);
}

static void reset(void)
{
	far_writes(0, "last");
	k.so_error = ETIMEDOUT;
	k.revents = POLLIN | POLLOUT | POLLERR | POLLHUP;
}

TEST(socket_ends)
{
	struct circuit *c;
	char buf[8];

	boot(SOCK_STREAM, 0, 0, 0);
	EQ(circuit_open(&c, k.fd), 0);
	k.asleep = reset;
	EQ(circuit_wait(c, CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_read(c, buf, 8), 4);
	EQ(circuit_wait(c, CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_read(c, buf, 8), -ETIMEDOUT);
	EQ(circuit_read(c, buf, 8), -ETIMEDOUT);
	EQ(circuit_write(c, "x", 1), -ETIMEDOUT);
	circuit_close(c);

	boot(SOCK_STREAM, 0, 0, 0);
	EQ(circuit_open(&c, k.fd), 0);
	far_writes(0, "end");
	k.ctrl->dir[1].prod.flags = CIRCUIT_TX_FIN;
	k.revents = POLLIN | POLLHUP;
	EQ(circuit_wait(c, CIRCUIT_IN, 0), CIRCUIT_IN);
	EQ(circuit_read(c, buf, 8), 3);
	EQ(circuit_read(c, buf, 8), 0);
	circuit_close(c);
}

static void trickle(void)
{
	far_writes(0, "x");
	if (k.ctrl->dir[1].prod.tail == 3)
		k.asleep = NULL;
	k.revents = POLLIN;
}

/* The kernel finds one byte enough to wake for; who wants more does not turn into a loop. */
TEST(socket_wants_more_than_the_kernel_knows)
{
	const void *from;
	struct circuit *c;

	boot(SOCK_STREAM, 0, 0, 0);
	EQ(circuit_open(&c, k.fd), 0);
	circuit_spin(c, 0);
	EQ(circuit_rx_peek(c, &from, 10), -EAGAIN);
	k.asleep = trickle;
	EQ(circuit_wait(c, CIRCUIT_IN, 50000000), 0);
	CHECK(k.polls > 2 && k.polls < 40);
	EQ(k.ctrl->dir[1].cons.event, 9);
	far_writes(0, "0123456789");
	EQ(circuit_wait(c, CIRCUIT_IN, -1), CIRCUIT_IN);
	CHECK(circuit_rx_peek(c, &from, 10) >= 10);
	circuit_close(c);
}

static int open_with(void (*change)(void))
{
	struct circuit *c;
	int ret;

	boot(SOCK_SEQPACKET, 0, 8, 16);
	change();
	ret = circuit_open(&c, k.fd);
	if (!ret) {
		EQ(c->messages, k.type != SOCK_STREAM);
		circuit_close(c);
	}
	EQ(k.maps, 0);
	return ret;
}

static void as_it_is(void) {}
static void a_datagram(void) { k.type = SOCK_DGRAM; }
static void to_somebody(void)
{
	k.type = SOCK_DGRAM;
	k.peer = (struct sockaddr_circuit){ .sc_family = AF_CIRCUIT, .sc_port = 7, .sc_line = "web1" };
}
static void a_flow(void) { k.type = SOCK_DGRAM; k.domain = AF_INET; }
static void is_mapped(void) { k.info.mapped = CIRCUIT_MAPPED; }
static void is_lost(void) { k.info.mapped = CIRCUIT_MAP_LOST; }
static void an_old_kernel(void) { k.info_len = 40; }
static void odd_tail(void) { k.info.tx_tail = 4; }
static void odd_head(void) { k.info.rx_head = 1; }
static void odd_end(void) { k.info.end = 2; }
static void odd_size(void) { k.info.tx_size = 5000; }
static void no_size(void) { k.info.rx_size = 0; }
static void cannot(void) { k.info.tx_size = 16384; /* mmap() says no */ }

TEST(socket_opens_if_it_can)
{
	EQ(open_with(as_it_is), 0);
	EQ(open_with(a_flow), 0);
	EQ(open_with(a_datagram), -ENOTCONN);
	EQ(open_with(to_somebody), 0);
	EQ(open_with(is_mapped), -EBUSY);
	EQ(open_with(is_lost), -ESTALE);
	EQ(open_with(an_old_kernel), -EOPNOTSUPP);
	EQ(open_with(odd_tail), -EPROTO);
	EQ(open_with(odd_head), -EPROTO);
	EQ(open_with(odd_end), -EPROTO);
	EQ(open_with(odd_size), -EPROTO);
	EQ(open_with(no_size), -EPROTO);
	EQ(open_with(cannot), -EINVAL);
}

/* --- datagrams of AF_CIRCUIT ------------------------------------------------------------------ */

/*
 * What the operator puts into the ring: from whom, and what; or what became of one that was sent.
 */
static void operator_puts(uint32_t port, const char *line, uint32_t error, const char *text)
{
	struct circuit_datagram head = { .len = error ? 0 : strlen(text), .port = port, .error = error,
					 .flags = error ? CIRCUIT_DATAGRAM_ERROR : 0 };
	uint32_t tail = k.ctrl->dir[1].prod.tail, i;

	strcpy((char *)head.line, line);
	for (i = 0; i < sizeof(head); i++)
		k.ring[1][(tail + i) % RX] = ((uint8_t *)&head)[i];
	for (i = 0; i < head.len; i++)
		k.ring[1][(tail + sizeof(head) + i) % RX] = text[i];
	tail += (sizeof(head) + head.len + 7) & ~7u;
	__atomic_store_n(&k.ctrl->dir[1].prod.tail, tail, __ATOMIC_RELEASE);
}

static struct circuit *datagrams(uint32_t tail, uint32_t head)
{
	struct circuit *c;

	boot(SOCK_DGRAM, 0, tail, head);
	to_somebody();
	EQ(circuit_open(&c, k.fd), 0);
	return c;
}

TEST(socket_datagrams)
{
	struct circuit *c = datagrams(-24, -40);	/* heads that wrap, which they may */
	struct circuit_datagram head;
	struct circuit_view v[4];
	void *to;
	int i;

	EQ(circuit_msg_reserve(c, &to, TX - 48), -EAGAIN);
	EQ(circuit_msg_reserve(c, &to, TX - 47), -EMSGSIZE);
	EQ(circuit_msg_reserve(c, &to, 5), 0);
	memcpy(to, "hello", 5);
	EQ(circuit_msg_fill(c, 5, CIRCUIT_MESSAGE_EOR), -EINVAL);
	EQ(circuit_msg_fill(c, 6, 0), 0);		/* there is as much as a multiple of 8 */
	EQ(circuit_tx_publish(c), 0);
	EQ(k.ctrl->dir[0].prod.tail, 32);
	for (i = 0; i < 48; i++)
		((uint8_t *)&head)[i] = k.ring[0][(-24 + i) & (TX - 1)];
	EQ(head.len, 6);
	EQ(head.flags, 0);
	EQ(head.error, 0);
	EQ(head.port, 7);
	CHECK(!strcmp((char *)head.line, "web1"));
	CHECK(!memcmp(k.ring[0] + 24, "hello", 5));

	/* Those of others are passed over, before, between and after. */
	EQ(circuit_msg_peek(c, v, 4), -EAGAIN);
	operator_puts(8, "web1", 0, "another port's");
	operator_puts(7, "web2", 0, "another line's");
	EQ(circuit_msg_peek(c, v, 4), -EAGAIN);
	operator_puts(7, "web10", ECONNREFUSED, "");
	operator_puts(7, "web1", 0, "one");
	operator_puts(7, "web1", 0, "");
	operator_puts(8, "web1", 0, "another port's");
	operator_puts(7, "web1", 0, "three");
	operator_puts(8, "web1", 0, "another port's");
	EQ(circuit_msg_peek(c, v, 4), 2);
	EQ(v[0].len, 3);
	CHECK(!memcmp(v[0].data, "one", 3));
	EQ(v[1].len, 0);
	EQ(circuit_msg_peek(c, v, 1), 1);
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), 1);
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), 1);
	CHECK(v[0].len == 5 && !memcmp(v[0].data, "three", 5));
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), -EAGAIN);
	EQ(circuit_rx_publish(c), 0);
	EQ(k.ctrl->dir[1].cons.head, k.ctrl->dir[1].prod.tail);
	circuit_close(c);
}

/* That nobody waits there is said once, in its place, and it goes on. */
TEST(socket_datagram_errors)
{
	struct circuit *c = datagrams(0, 0);
	struct circuit_view v[4];

	operator_puts(7, "web1", 0, "one");
	operator_puts(7, "web1", ECONNREFUSED, "");
	operator_puts(7, "web1", 0, "two");
	EQ(circuit_msg_peek(c, v, 4), 1);
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), -ECONNREFUSED);
	EQ(circuit_msg_peek(c, v, 4), 1);
	CHECK(v[0].len == 3 && !memcmp(v[0].data, "two", 3));
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), -EAGAIN);
	operator_puts(7, "web1", EAGAIN, "");	/* not to be confused */
	EQ(circuit_msg_peek(c, v, 4), -ENOBUFS);
	EQ(circuit_error(c), 0);
	/* Of one that was sent before. */
	k.so_error = ECONNREFUSED;
	k.revents = POLLERR;
	EQ(circuit_wait(c, CIRCUIT_IN, 0), 0);
	k.revents = 0;
	operator_puts(7, "web1", 0, "three");
	EQ(circuit_wait(c, CIRCUIT_IN, 0), CIRCUIT_IN);
	EQ(circuit_msg_peek(c, v, 4), 1);
	EQ(circuit_msg_release(c, &v[0]), 0);
	EQ(circuit_msg_peek(c, v, 4), -EAGAIN);
	EQ(circuit_error(c), 0);
	circuit_close(c);
	/* The socket has begun anew, and this is not its circuit any more. */
	c = datagrams(0, 0);
	lose();
	k.kick_error = ENOTCONN;
	EQ(circuit_wait(c, CIRCUIT_IN, -1), -ESTALE);
	circuit_close(c);
}

/* What the ring's rules do not allow is the end, and nothing beyond it is touched. */
TEST(socket_no_datagram)
{
	struct circuit_datagram *head;
	struct circuit_view v[4];
	struct circuit *c;
	int i;

	for (i = 0; i < 9; i++) {
		c = datagrams(0, 0);
		operator_puts(7, "web1", 0, "one");
		head = (struct circuit_datagram *)k.ring[1];
		switch (i) {
		case 0:
			head->len = 9;
			break;
		case 1:
			head->len = -1;
			break;
		case 2:
			head->flags = 2;
			break;
		case 3:
			head->flags = CIRCUIT_DATAGRAM_ERROR;
			break;
		case 4:
			head->error = ECONNREFUSED;
			break;
		case 5:
			head->flags = CIRCUIT_DATAGRAM_ERROR;
			head->error = 512;
			head->len = 0;
			break;
		case 6:
			k.ctrl->dir[1].prod.tail = 40;
			break;
		case 7:
			k.ctrl->dir[1].prod.tail = 52;
			break;
		case 8:
			head->flags = CIRCUIT_DATAGRAM_ERROR;
			head->error = ECONNREFUSED;
			break;
		}
		EQ(circuit_msg_peek(c, v, 4), -EPROTO);
		EQ(circuit_error(c), EPROTO);
		circuit_close(c);
	}
}
