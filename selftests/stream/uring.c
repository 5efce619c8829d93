// SPDX-License-Identifier: GPL-2.0
/*
 * io_uring: the same sockets, by another way into the kernel.
 */
#include <linux/io_uring.h>
#include <sys/mman.h>
#include "stream_test.h"

static struct {
	int			fd;
	unsigned int		*sq_tail, *sq_mask, *sq_array;
	unsigned int		*cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe	*sqes;
	struct io_uring_cqe	*cqes;
} ring;

static void *ring_map(size_t size, off_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);

	if (p == MAP_FAILED)
		fail("mmap: %s", errname(errno));
	return p;
}

static void ring_open(void)
{
	struct io_uring_params p = {};
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 8, &p);
	if (ring.fd < 0)
		skip("no io_uring: %s", errname(errno));
	sq = ring_map(p.sq_off.array + p.sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING);
	cq = ring_map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		      IORING_OFF_CQ_RING);
	ring.sqes = ring_map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_tail = (void *)(cq + p.cq_off.tail);
	ring.cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

/* Ask for something; its result comes by ring_result(). */
static void ring_submit(const struct io_uring_sqe *sqe)
{
	unsigned int tail = *ring.sq_tail, i = tail & *ring.sq_mask;

	ring.sqes[i] = *sqe;
	ring.sq_array[i] = i;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	EQ(syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0), 1);
}

static bool ring_done(void)
{
	return __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) != *ring.cq_head;
}

static int ring_result(void)
{
	unsigned int head = *ring.cq_head;
	int res;

	while (!ring_done())
		OK(syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	res = ring.cqes[head & *ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

static int ring_do(const struct io_uring_sqe *sqe)
{
	ring_submit(sqe);
	return ring_result();
}

static int uring_send(int fd, const void *data, size_t len)
{
	return ring_do(&(struct io_uring_sqe){
		.opcode = IORING_OP_SEND, .fd = fd, .addr = (uintptr_t)data, .len = len,
		.msg_flags = MSG_NOSIGNAL,
	});
}

static void submit_recv(int fd, void *data, size_t len, int flags)
{
	ring_submit(&(struct io_uring_sqe){
		.opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)data, .len = len,
		.msg_flags = flags,
	});
}

TEST(uring_transfer)
{
	char c[8] = "";
	int fd[2];

	ring_open();
	pair(fd);
	EQ(uring_send(fd[0], "hello", 5), 5);
	submit_recv(fd[1], c, sizeof(c), 0);
	EQ(ring_result(), 5);
	CHECK(!memcmp(c, "hello", 5));
}

TEST(uring_recv_waits)
{
	char c[4] = "";
	int fd[2];

	ring_open();
	pair(fd);
	submit_recv(fd[1], c, 2, MSG_WAITALL);
	CHECK(!ring_done());
	send_text(fd[0], "x");
	send_text(fd[0], "y");
	EQ(ring_result(), 2);
	CHECK(!memcmp(c, "xy", 2));
	submit_recv(fd[1], c, 1, 0);
	OK(close(fd[0]));
	EQ(ring_result(), 0);
}

TEST(uring_send_broken)
{
	int fd[2];

	ring_open();
	pair(fd);
	OK(shutdown(fd[0], SHUT_WR));
	EQ(-uring_send(fd[0], "x", 1), EPIPE);
}

TEST(uring_accept)
{
	unsigned int port;
	int l, s, fd;

	ring_open();
	l = listener(2, &port);
	ring_submit(&(struct io_uring_sqe){ .opcode = IORING_OP_ACCEPT, .fd = l });
	CHECK(!ring_done());
	fd = call(port);
	s = ring_result();
	CHECK(s >= 0);
	expect_works(fd, s);
}

TEST(uring_connect)
{
	union addr a;
	socklen_t len;
	unsigned int port;
	int l, fd = sock();

	ring_open();
	l = listener(2, &port);
	len = addr_set(&a, port);
	EQ(ring_do(&(struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd,
		   .addr = (uintptr_t)&a, .off = len }), 0);
	expect_works(fd, answer(l));
}

TEST(uring_connect_refused)
{
	union addr a;
	socklen_t len = addr_set(&a, dead_port());
	int fd = sock();

	ring_open();
	EQ(-ring_do(&(struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd,
		    .addr = (uintptr_t)&a, .off = len }), ECONNREFUSED);
}

TEST(uring_poll)
{
	int fd[2];

	ring_open();
	pair(fd);
	ring_submit(&(struct io_uring_sqe){ .opcode = IORING_OP_POLL_ADD, .fd = fd[0],
					    .poll32_events = POLLIN });
	CHECK(!ring_done());
	send_text(fd[1], "x");
	EQ(ring_result() & (POLLIN | POLLHUP | POLLERR), POLLIN);
}

TEST(uring_shutdown)
{
	int fd[2];
	char c;

	ring_open();
	pair(fd);
	EQ(ring_do(&(struct io_uring_sqe){ .opcode = IORING_OP_SHUTDOWN, .fd = fd[0],
					   .len = SHUT_WR }), 0);
	EQ(recv(fd[1], &c, 1, 0), 0);
}

/* A socket that io_uring has made is one like others. */
TEST(uring_socket)
{
	unsigned int port;
	int l, fd;

	ring_open();
	l = listener(1, &port);
	fd = ring_do(&(struct io_uring_sqe){ .opcode = IORING_OP_SOCKET, .fd = family,
					     .off = SOCK_STREAM, .len = protocol });
	if (fd == -EINVAL)
		skip("io_uring makes no sockets");
	CHECK(fd >= 0);
	OK(sock_connect(fd, port));
	expect_works(fd, answer(l));
}

/* Closed while the ring waits for data: the wait is over when the far end goes. */
TEST(uring_pending_at_end)
{
	char c;
	int fd[2];

	ring_open();
	pair(fd);
	submit_recv(fd[0], &c, 1, 0);
	OK(close(fd[0]));	/* the ring holds the file */
	send_text(fd[1], "x");
	EQ(ring_result(), 1);
	CHECK(c == 'x');
}
