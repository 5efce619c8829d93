// SPDX-License-Identifier: GPL-2.0
/*
 * Circuits that their processes have mapped: what linux/circuit.h promises of them, down to the
 * words of the control page. Over AF_INET and AF_INET6 with --map, when the sockets become
 * circuits.
 */
#include "stream_test.h"
#include <linux/circuit_ring.h>
#include <linux/sockios.h>
#include <sys/mman.h>

#define PAGE	4096u

/**
 * struct map - a mapped end
 * @fd: the socket
 * @len: of the mapping
 * @base: the mapping
 * @ctrl: the control page, which is at its beginning
 * @prod: what this end owns of the ring it writes
 * @cons: what it owns of the ring it reads
 * @tx: the ring it writes
 * @rx: the ring it reads
 * @txs: size
 * @rxs: size
 * @tail: of the ring it writes
 * @head: of the ring it reads
 */
struct map {
	int			fd;
	size_t			len;
	uint8_t			*base;
	struct circuit_ctrl	*ctrl;
	struct circuit_dir	*out, *in;
	uint8_t			*tx, *rx;
	uint32_t		txs, rxs, tail, head;
};

static struct circuit_info info_of(int fd)
{
	struct circuit_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, &info, &len));
	EQ(len, sizeof(info));
	return info;
}

static void *try_map(int fd, size_t len, int prot, int flags, off_t off)
{
	return mmap(NULL, len, prot, flags, fd, off);
}

static size_t map_len(int fd)
{
	struct circuit_info info = info_of(fd);

	return CIRCUIT_MAP_BYTES(info.tx_size, info.rx_size);
}

/* Map it, or tell why not. */
static int map_or(struct map *m, int fd)
{
	struct circuit_info info = info_of(fd);

	*m = (struct map){ .fd = fd, .txs = info.tx_size, .rxs = info.rx_size };
	m->len = CIRCUIT_MAP_BYTES(info.tx_size, info.rx_size);
	m->base = try_map(fd, m->len, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	if (m->base == MAP_FAILED) {
		m->base = NULL;
		return errno;
	}
	m->ctrl = (void *)m->base;
	m->out = &m->ctrl->dir[info.end];
	m->in = &m->ctrl->dir[!info.end];
	m->tx = m->base + CIRCUIT_MAP_TX;
	m->rx = m->base + CIRCUIT_MAP_RX(m->txs);
	m->tail = info.tx_tail;
	m->head = info.rx_head;
	return 0;
}

/* In a process that ends if the connection has already. */
static struct map map_if_connected(int fd)
{
	struct map m;
	int err = map_or(&m, fd);

	if (err == ENOTCONN)
		_exit(0);
	if (err)
		fail("mmap: %s", errname(err));
	return m;
}

static struct map map(int fd)
{
	struct map m;

	EQ(poll_now(fd) & (POLLHUP | POLLERR), 0);
	m = map_if_connected(fd);
	EQ(info_of(fd).mapped, CIRCUIT_MAPPED);
	return m;
}

static void unmap(struct map *m)
{
	OK(munmap(m->base, m->len));
	m->base = NULL;
}

static bool map_is_lost(const struct map *m)
{
	return __atomic_load_n(&m->ctrl->magic, __ATOMIC_RELAXED) != CIRCUIT_RING_MAGIC;
}

static uint32_t room(struct map *m)
{
	return m->txs - (m->tail - __atomic_load_n(&m->out->cons.head, __ATOMIC_ACQUIRE));
}

static uint32_t there(struct map *m)
{
	return __atomic_load_n(&m->in->prod.tail, __ATOMIC_ACQUIRE) - m->head;
}

static bool passes(uint32_t event, uint32_t new, uint32_t old)
{
	return new - event - 1 < new - old;
}

static void kick(struct map *m)
{
	EQ(ioctl(m->fd, SIOCCIRCUITKICK), 0);
}

static void publish(struct map *m, uint32_t n)
{
	uint32_t old = m->tail;

	m->tail += n;
	m->out->prod.bytes += n;
	__atomic_store_n(&m->out->prod.tail, m->tail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (passes(__atomic_load_n(&m->out->cons.event, __ATOMIC_RELAXED), m->tail, old))
		kick(m);
}

static void release(struct map *m, uint32_t n)
{
	uint32_t old = m->head;

	m->head += n;
	__atomic_store_n(&m->in->cons.head, m->head, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (passes(__atomic_load_n(&m->in->prod.event, __ATOMIC_RELAXED), m->head, old))
		kick(m);
}

/* Write and read by the mapping, asleep in poll() while there is nothing to be done. */
static void map_send(struct map *m, size_t len, uint64_t pos)
{
	size_t done = 0;
	uint32_t n;

	while (done < len) {
		n = room(m);
		CHECK(n <= m->txs);
		if (!n) {
			wait_for(m->fd, POLLOUT);
			continue;
		}
		n = n < len - done ? n : len - done;
		/* Contiguous, wherever it begins. */
		pattern(m->tx + (m->tail & (m->txs - 1)), n, pos + done);
		publish(m, n);
		done += n;
	}
}

static void map_recv(struct map *m, size_t len, uint64_t pos)
{
	size_t done = 0;
	uint32_t n;

	while (done < len) {
		n = there(m);
		CHECK(n <= m->rxs);
		if (!n) {
			wait_for(m->fd, POLLIN);
			continue;
		}
		n = n < len - done ? n : len - done;
		pattern_check(m->rx + (m->head & (m->rxs - 1)), n, pos + done);
		release(m, n);
		done += n;
	}
}

static bool all_zero(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static size_t bulk(void)
{
	return quick ? 1 << 20 : 64 << 20;
}

TEST(map_what_may_be_mapped, .map = true)
{
	int fd[2], l, alone = sock();
	unsigned int port;
	size_t len;
	void *p;

	l = listener(1, &port);
	pair(fd);
	len = map_len(fd[0]);
	/* TCP has a mmap() of its own. */
	if (family == AF_CIRCUIT) {
		ERR((long)try_map(l, len, PROT_READ, MAP_SHARED, 0), ENOTCONN);
		ERR((long)try_map(alone, len, PROT_READ, MAP_SHARED, 0), ENOTCONN);
	}
	ERR(ioctl(alone, SIOCCIRCUITKICK), ENOTCONN);
	ERR((long)try_map(fd[0], len, PROT_READ, MAP_PRIVATE, 0), EINVAL);
	ERR((long)try_map(fd[0], len - PAGE, PROT_READ, MAP_SHARED, 0), EINVAL);
	ERR((long)try_map(fd[0], len + PAGE, PROT_READ, MAP_SHARED, 0), EINVAL);
	ERR((long)try_map(fd[0], len, PROT_READ, MAP_SHARED, PAGE), EINVAL);
	ERR((long)try_map(fd[0], len, PROT_READ | PROT_EXEC, MAP_SHARED, 0), EPERM);
	ERR(ioctl(fd[0], SIOCCIRCUITKICK), ENOTCONN);
	EQ(info_of(fd[0]).mapped, 0);
	p = try_map(fd[0], len, PROT_READ, MAP_SHARED, 0);
	CHECK(p != MAP_FAILED);
	ERR(mprotect(p, len, PROT_READ | PROT_EXEC), EACCES);
	ERR((long)mremap(p, len, 2 * len, MREMAP_MAYMOVE), EFAULT);
	EQ(((struct circuit_ctrl *)p)->magic, CIRCUIT_RING_MAGIC);
	OK(munmap(p, len));
	EQ(info_of(fd[0]).mapped, 0);
	expect_works(fd[0], fd[1]);
}

/* Each ring is there twice, and it is the same ring. */
TEST(map_twice, .map = true)
{
	struct map a, b;
	uint32_t i;
	int fd[2];

	pair_of_size(fd, 16384);
	a = map(fd[0]);
	b = map(fd[1]);
	EQ(a.txs, b.rxs);
	EQ(a.rxs, b.txs);
	for (i = 0; i < a.txs; i += 4) {
		*(uint32_t *)(a.tx + a.txs + i) = ~i;
		EQ(*(uint32_t *)(a.tx + i), ~i);
		EQ(*(uint32_t *)(b.rx + i), ~i);
		EQ(*(uint32_t *)(b.rx + b.rxs + i), ~i);
	}
	for (i = 0; i < b.txs; i += PAGE) {
		b.tx[i] = i / PAGE + 1;
		EQ(a.rx[a.rxs + i], i / PAGE + 1);
	}
	/* The other one's ring is not this one's. */
	EQ(*(uint32_t *)(a.tx), ~0u);
}

/* What is written by a mapping is read by read(), and the other way round. */
TEST(map_one_end, .map = true)
{
	struct map m;
	int fd[2];
	pid_t pid;

	pair_of_size(fd, 16384);
	m = map(fd[0]);
	pid = spawn();
	if (!pid) {
		recv_pattern(fd[1], bulk(), 7);
		send_pattern(fd[1], bulk(), 9);
		_exit(0);
	}
	map_send(&m, bulk(), 7);
	map_recv(&m, bulk(), 9);
	reap(pid);
}

TEST(map_both_ends, .map = true)
{
	struct map m[2];
	int fd[2];
	pid_t pid;

	pair(fd);
	m[0] = map(fd[0]);
	m[1] = map(fd[1]);
	/* A mapping goes on in a child. */
	pid = spawn();
	if (!pid) {
		map_recv(&m[1], bulk(), 1);
		map_send(&m[1], bulk(), 2);
		_exit(0);
	}
	map_send(&m[0], bulk(), 1);
	map_recv(&m[0], bulk(), 2);
	reap(pid);
}

/* The kernel keeps out as long as a process is at work, and goes on from where that was. */
TEST(map_and_back, .map = true)
{
	struct map m;
	char buf[64];
	int fd[2], i;

	pair_of_size(fd, 16384);
	for (i = 0; i < 100; i++) {
		send_pattern(fd[0], 1000, 0);
		send_pattern(fd[1], 3000, 0);
		m = map(fd[0]);
		ERR(send(fd[0], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT), EBUSY);
		ERR(recv(fd[0], buf, sizeof(buf), MSG_DONTWAIT), EBUSY);
		ERR(recv(fd[0], buf, sizeof(buf), MSG_PEEK), EBUSY);
		ERR(write(fd[0], "x", 1), EBUSY);
		ERR(readv(fd[0], &(struct iovec){ buf, 1 }, 1), EBUSY);
		EQ(m.head, i * 3000u);
		map_recv(&m, 1000, 0);
		map_send(&m, 2000, 1000);
		EQ(info_of(fd[0]).tx_tail, m.tail);
		EQ(info_of(fd[0]).rx_head, m.head);
		unmap(&m);
		recv_pattern(fd[0], 2000, 1000);
		send_pattern(fd[0], 500, 3000);
		recv_pattern(fd[1], 3500, 0);
	}
	EQ(info_of(fd[0]).tx_bytes, 100 * 3500);
	EQ(info_of(fd[0]).rx_bytes, 100 * 3000);
	expect_works(fd[0], fd[1]);
}

static void do_recv(struct task *t)
{
	char buf[16];

	t->ret = recv(t->fd, buf, sizeof(buf), 0);
}

static void do_send(struct task *t)
{
	t->ret = send(t->fd, t->arg, 65536, MSG_NOSIGNAL);
}

/* Who was asleep in read() or write() is sent away. */
TEST(map_under_a_sleeper, .map = true)
{
	static char buf[65536];
	struct task reader, writer;
	struct map m;
	int fd[2];

	pair_of_size(fd, 16384);
	task_start(&reader, do_recv, fd[0], NULL);
	task_asleep(&reader, SYS_recvfrom);
	m = map(fd[0]);
	task_join(&reader);
	EQ(reader.ret, -1);
	EQ(reader.err, EBUSY);
	unmap(&m);
	fill(fd[0], 0);
	task_start(&writer, do_send, fd[0], buf);
	task_asleep(&writer, SYS_sendto);
	m = map(fd[0]);
	task_join(&writer);
	EQ(writer.ret, -1);
	EQ(writer.err, EBUSY);
}

/* Who was asleep at the far end hears of what a process has left, though that told nobody. */
TEST(map_far_sleeper, .map = true)
{
	static char buf[65536];
	struct task reader, writer;
	struct map m;
	int fd[2];

	pair_of_size(fd, 16384);
	m = map(fd[0]);
	task_start(&reader, do_recv, fd[1], NULL);
	task_asleep(&reader, SYS_recvfrom);
	m.out->prod.tail = m.tail + 10;
	unmap(&m);
	poll_now(fd[0]);
	task_join(&reader);
	EQ(reader.ret, 10);
	m = map(fd[0]);
	fill(fd[1], 0);
	task_start(&writer, do_send, fd[1], buf);
	task_asleep(&writer, SYS_sendto);
	m.in->cons.head += m.rxs;
	unmap(&m);
	poll_now(fd[0]);
	wait_for(fd[0], POLLIN);
	recv_all(fd[0], buf, sizeof(buf));
	task_join(&writer);
	EQ(writer.ret, sizeof(buf));
}

TEST(map_poll, .map = true)
{
	struct map m;
	int fd[2];

	pair_of_size(fd, 16384);
	m = map(fd[0]);
	expect_mask(fd[0], EV_OUT);
	send_pattern(fd[1], 10, 0);
	wait_for(fd[0], POLLIN);
	expect_mask(fd[0], EV_IN | EV_OUT);
	map_recv(&m, 10, 0);
	expect_mask(fd[0], EV_OUT);
	map_send(&m, m.txs, 0);
	expect_mask(fd[0], 0);
	wait_quiet(fd[0], EV_ALL);
	recv_pattern(fd[1], m.txs - 1, 0);
	wait_for(fd[0], POLLOUT);
	expect_mask(fd[0], EV_OUT);
}

/* Who waits for edges hears of all that comes while he is asleep. */
TEST(map_epoll_edges, .map = true)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct map m;
	int fd[2], ep = OK(epoll_create1(0)), i;

	pair(fd);
	m = map(fd[0]);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &ev));
	for (i = 0; i < 50; i++) {
		send_pattern(fd[1], 100, 0);
		EQ(epoll_wait(ep, &ev, 1, PATIENCE), 1);
		map_recv(&m, 100, 0);
	}
	EQ(epoll_wait(ep, &ev, 1, QUIET), 0);
}

TEST(map_queues, .map = true)
{
	struct map m;
	int fd[2], val;

	pair_of_size(fd, 16384);
	send_pattern(fd[1], 300, 0);
	m = map(fd[0]);
	map_send(&m, 200, 0);
	OK(ioctl(fd[0], SIOCINQ, &val));
	EQ(val, 300);
	OK(ioctl(fd[0], SIOCOUTQ, &val));
	EQ(val, 200);
	map_recv(&m, 100, 0);
	recv_pattern(fd[1], 150, 0);
	OK(ioctl(fd[0], SIOCINQ, &val));
	EQ(val, 200);
	OK(ioctl(fd[0], SIOCOUTQ, &val));
	EQ(val, 50);
}

/* The end of what is written is where the process has come to. */
TEST(map_shutdown, .map = true)
{
	struct map m;
	int fd[2];

	pair(fd);
	m = map(fd[0]);
	map_send(&m, 5000, 0);
	OK(shutdown(fd[0], SHUT_WR));
	recv_pattern(fd[1], 5000, 0);
	expect_eof(fd[1]);
	send_pattern(fd[1], 3000, 0);
	map_recv(&m, 3000, 0);
	close(fd[1]);
	wait_for(fd[0], POLLRDHUP);
	CHECK(m.in->prod.flags & CIRCUIT_TX_FIN);
}

/* A mapping holds the socket as a descriptor does. */
TEST(map_outlives_the_descriptor, .map = true)
{
	struct map m;
	int fd[2];

	pair(fd);
	m = map(fd[0]);
	map_send(&m, 100, 0);
	close(fd[0]);
	recv_pattern(fd[1], 100, 0);
	send_pattern(fd[1], 100, 0);
	wait_quiet(fd[1], POLLIN | POLLRDHUP);
	EQ(there(&m), 100);
	pattern_check(m.rx, 100, 0);
	m.in->cons.head += 100;
	/* Part of it is as good as all of it. */
	OK(munmap(m.base + PAGE, m.len - PAGE));
	wait_quiet(fd[1], POLLIN | POLLRDHUP);
	OK(munmap(m.base, PAGE));
	expect_eof(fd[1]);
}

/* What is left unread is known to close(), and to exit(). */
TEST(map_close_unread, .map = true)
{
	struct map m;
	int fd[2];
	pid_t pid;

	pair(fd);
	send_pattern(fd[1], 100, 0);
	pid = spawn();
	if (!pid) {
		m = map(fd[0]);
		map_recv(&m, 99, 0);
		raise(SIGKILL);
	}
	reap_killed(pid, SIGKILL);
	close(fd[0]);
	wait_for(fd[1], POLLHUP);
	EQ(so_error(fd[1]), ECONNRESET);
}

TEST(map_killed_process, .map = true)
{
	struct map m;
	int fd[2];
	pid_t pid;

	pair(fd);
	pid = spawn();
	if (!pid) {
		m = map(fd[0]);
		map_send(&m, 1000, 0);
		raise(SIGKILL);
	}
	close(fd[0]);
	reap_killed(pid, SIGKILL);
	recv_pattern(fd[1], 1000, 0);
	expect_eof(fd[1]);
}

/* What the far end has written before it died can be read; there is no signal. */
TEST(map_far_end_dies, .map = true)
{
	struct map m;
	int fd[2];

	pair(fd);
	m = map(fd[0]);
	send_pattern(fd[1], 1000, 0);
	abort_sock(fd[1]);
	wait_for(fd[0], POLLHUP);
	pattern_check(m.rx, 1000, 0);
	map_send(&m, 100, 0);
	EQ(so_error(fd[0]), ECONNRESET);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EBUSY);
	unmap(&m);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
}

/* A mapping that has lost its circuit shows memory of its own. */
TEST(map_lost, .map = true)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct map m, m2;
	int fd[2], other[2], i;

	pair_of_size(fd, 16384);
	m = map(fd[0]);
	memset(m.tx, 0xaa, m.txs);
	map_send(&m, 100, 0);
	OK(connect(fd[0], &none, sizeof(none)));
	CHECK(all_zero(m.base, m.len));
	ERR(ioctl(fd[0], SIOCCIRCUITKICK), ENOTCONN);
	/*
	 * It leads nowhere, not even to the circuit that has the memory next, which knows nothing
	 * of what was there.
	 */
	close(fd[1]);
	for (i = 0; i < 8; i++) {
		pair_of_size(other, 16384);
		memset(m.base + PAGE, 0x55, m.len - PAGE);
		EQ(m.ctrl->magic, 0);
		m2 = map(other[0]);
		EQ(m2.ctrl->magic, CIRCUIT_RING_MAGIC);
		CHECK(all_zero(m2.tx, 2 * m2.txs) && all_zero(m2.rx, 2 * m2.rxs));
		map_send(&m2, 16384, 0);
		recv_pattern(other[1], 16384, 0);
		/* Not published, and not to be seen by others. */
		memset(m2.tx, 0xee, 1000);
		unmap(&m2);
		expect_works(other[0], other[1]);
		close(other[0]);
		close(other[1]);
	}
	unmap(&m);
}

/* What circuits have carried is not to be seen by who maps another in the same memory. */
TEST(map_nothing_stale, .map = true)
{
	struct map m;
	int fd[2], i;

	for (i = 0; i < 20; i++) {
		pair_of_size(fd, i & 1 ? 16384 : 8192);
		if (i % 3) {
			send_pattern(fd[0], i * 100, i);
			recv_pattern(fd[1], i * 100, i);
			send_pattern(fd[1], 8192, i);
			recv_pattern(fd[0], 8192, i);
		}
		close(fd[0]);
		close(fd[1]);
		pair_of_size(fd, 16384);
		m = map(fd[i & 1]);
		CHECK(all_zero(m.tx, 2 * m.txs) && all_zero(m.rx, 2 * m.rxs));
		unmap(&m);
		close(fd[0]);
		close(fd[1]);
	}
}

/* Mapped again and again, by whomever, and in pieces. */
TEST(map_many_times, .map = true)
{
	struct map m, again;
	int fd[2], i;
	pid_t pid;

	pair_of_size(fd, 8192);
	for (i = 0; i < (quick ? 50 : 2000); i++) {
		m = map(fd[i & 1]);
		again = map(fd[i & 1]);
		map_send(&m, 10, i);
		EQ(again.ctrl->dir[0].prod.tail, m.ctrl->dir[0].prod.tail);
		if (i % 8 == 0) {
			pid = spawn();
			if (!pid)
				_exit(0);
			reap(pid);
		}
		unmap(&m);
		EQ(info_of(fd[i & 1]).mapped, CIRCUIT_MAPPED);
		OK(munmap(again.base, PAGE));
		OK(munmap(again.base + PAGE, again.len - PAGE));
		EQ(info_of(fd[i & 1]).mapped, 0);
		recv_pattern(fd[!(i & 1)], 10, i);
	}
	expect_works(fd[0], fd[1]);
}

/* An index that cannot be is the end of the connection, and of nothing else. */
static void bad_index(bool tx)
{
	struct map m;
	int fd[2], fine[2];
	char c;

	pair(fine);
	pair_of_size(fd, 8192);
	m = map(fd[0]);
	if (tx)
		m.out->prod.tail = m.tail + m.txs + 1;
	else
		m.in->cons.head = m.head + 1;
	poll_now(fd[0]);
	unmap(&m);
	if (tx)
		ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), ECONNRESET);
	else
		ERR(recv(fd[0], &c, 1, 0), ECONNRESET);
	close(fd[0]);
	UNTIL(recv(fd[1], &c, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN);
	expect_works(fine[0], fine[1]);
}

TEST(map_bad_tail, .map = true)
{
	bad_index(true);
}

TEST(map_bad_head, .map = true)
{
	bad_index(false);
}

/* Scribble over all that is mapped, at all times: nobody else takes any harm. */
TEST(map_scribble, .map = true, .timeout = 400)
{
	uint32_t state = 1, i, n;
	int fd[2], fine[2];
	struct map m, ok;
	pid_t pid[2];
	char buf[512];

	pair_of_size(fine, 16384);
	ok = map(fine[0]);
	for (i = 0; i < (uint32_t)rounds(30, 1000); i++) {
		pair_of_size(fd, 8192);
		pid[0] = spawn();
		if (!pid[0]) {
			m = map_if_connected(fd[0]);
			for (n = 0; n < 300; n++) {
				uint32_t at = rnd(&state) % (rnd(&state) & 1 ? 0x280 : m.len);

				memset(m.base + at, rnd(&state), 1 + rnd(&state) % 8);
				if (!(n % 8)) {
					ioctl(fd[0], SIOCCIRCUITKICK);
					poll_now(fd[0]);
				}
			}
			_exit(0);
		}
		/* The far end has it mapped as well, or not. */
		pid[1] = spawn();
		if (!pid[1]) {
			if (i & 1) {
				m = map_if_connected(fd[1]);
				for (n = 0; n < 300; n++) {
					poll_now(fd[1]);
					m.out->prod.tail = rnd(&state);
					ioctl(fd[1], SIOCCIRCUITKICK);
				}
			}
			for (n = 0; n < 300; n++)
				if (recv(fd[1], buf, sizeof(buf), MSG_DONTWAIT) < 0 &&
				    send(fd[1], buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
				    errno != EAGAIN)
					break;
			_exit(0);
		}
		reap(pid[0]);
		reap(pid[1]);
		close(fd[0]);
		close(fd[1]);
		rnd(&state);
		map_send(&ok, 3000, i);
		recv_pattern(fine[1], 3000, i);
		send_pattern(fine[1], 3000, i);
		map_recv(&ok, 3000, i);
	}
}

/* --- messages -------------------------------------------------------------------------------- */

TEST(map_messages, .map = true, .type = SOCK_SEQPACKET)
{
	struct circuit_message head;
	uint8_t buf[2048];
	struct map m;
	uint32_t n;
	int fd[2], i;

	pair_of_size(fd, 8192);
	m = map(fd[0]);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EBUSY);
	ERR(recv(fd[0], buf, 1, 0), EBUSY);
	for (i = 0; i < 200; i++) {
		/* There and back. */
		n = i * 7 % 1500;
		head = (struct circuit_message){ .len = n, .flags = i & 1 };
		memcpy(m.tx + (m.tail & (m.txs - 1)), &head, sizeof(head));
		pattern(m.tx + (m.tail & (m.txs - 1)) + sizeof(head), n, i);
		publish(&m, (sizeof(head) + n + 7) & ~7u);
		EQ(recv(fd[1], buf, sizeof(buf), 0), n);
		pattern_check(buf, n, i);
		EQ(send(fd[1], buf, n, 0), n);
		wait_for(fd[0], POLLIN);
		memcpy(&head, m.rx + (m.head & (m.rxs - 1)), sizeof(head));
		EQ(head.len, n);
		pattern_check(m.rx + (m.head & (m.rxs - 1)) + sizeof(head), n, i);
		release(&m, (sizeof(head) + n + 7) & ~7u);
	}
	unmap(&m);
	EQ(send(fd[0], "abc", 3, 0), 3);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 3);
}

/* An index between messages is none, and what lies behind the ring is not this circuit's. */
TEST(map_message_unaligned, .map = true, .type = SOCK_SEQPACKET)
{
	int fd[2], next[2], end, tx;
	struct map m, neighbour;
	char c;

	for (end = 0; end < 2; end++) {
		for (tx = 0; tx < 2; tx++) {
			pair_of_size(fd, 8192);
			pair_of_size(next, 8192);
			m = map(fd[end]);
			if (tx)
				m.out->prod.tail = m.txs - 4;
			else
				m.in->cons.head -= 4;
			unmap(&m);
			if (tx)
				ERR(send(fd[end], "x", 1, MSG_NOSIGNAL), ECONNRESET);
			else
				ERR(recv(fd[end], &c, 1, 0), ECONNRESET);
			neighbour = map(next[0]);
			EQ(neighbour.ctrl->magic, CIRCUIT_RING_MAGIC);
			EQ(neighbour.ctrl->version, CIRCUIT_RING_VERSION);
			unmap(&neighbour);
			close(fd[0]);
			close(fd[1]);
			close(next[0]);
			close(next[1]);
		}
	}
}

/* What is no message ends the connection at the far end. */
TEST(map_no_message, .map = true, .type = SOCK_SEQPACKET)
{
	struct map m;
	int fd[2];
	char c;

	pair_of_size(fd, 8192);
	m = map(fd[0]);
	memset(m.tx, 0xff, 64);
	publish(&m, 64);
	ERR(recv(fd[1], &c, 1, 0), ECONNRESET);
	close(fd[1]);
	wait_for(fd[0], POLLHUP);
	EQ(so_error(fd[0]), ECONNRESET);
}

/* --- datagrams ------------------------------------------------------------------------------- */

static void put_message(struct map *m, uint32_t n, uint64_t pos)
{
	struct circuit_message head = { .len = n };

	CHECK(room(m) >= sizeof(head) + n + 7);
	memcpy(m->tx + (m->tail & (m->txs - 1)), &head, sizeof(head));
	pattern(m->tx + (m->tail & (m->txs - 1)) + sizeof(head), n, pos);
	publish(m, (sizeof(head) + n + 7) & ~7u);
}

static void take_message(struct map *m, uint32_t n, uint64_t pos)
{
	struct circuit_message head;

	wait_for(m->fd, POLLIN);
	memcpy(&head, m->rx + (m->head & (m->rxs - 1)), sizeof(head));
	EQ(head.len, n);
	pattern_check(m->rx + (m->head & (m->rxs - 1)) + sizeof(head), n, pos);
	release(m, (sizeof(head) + n + 7) & ~7u);
}

/* A UDP socket that is connected has the circuit with its peer mapped; the peer notices nothing. */
TEST(map_udp, .map = true, .type = SOCK_DGRAM, .inet_only = true)
{
	int server = sock(), s = sock(), other = sock(), i;
	uint8_t buf[2048];
	union addr from;
	socklen_t len;
	struct map m;

	EQ(sock_bind(server, 0), 0);
	ERR((long)try_map(s, 1 << 20, PROT_READ, MAP_SHARED, 0), ENOTCONN);
	EQ(sock_connect(s, port_of(server)), 0);
	EQ(sock_connect(other, port_of(server)), 0);
	m = map(s);
	ERR(send(s, "x", 1, 0), EBUSY);
	ERR(recv(s, buf, 1, MSG_DONTWAIT), EBUSY);
	EQ(poll_now(s) & (POLLIN | POLLOUT), POLLOUT);
	for (i = 0; i < 100; i++) {
		put_message(&m, i * 13 % 1400, i);
		len = sizeof(from);
		EQ(recvfrom(server, buf, sizeof(buf), 0, &from.sa, &len), i * 13 % 1400);
		EQ(addr_port(&from), port_of(s));
		pattern_check(buf, i * 13 % 1400, i);
		EQ(sendto(server, buf, i * 13 % 1400, 0, &from.sa, len), i * 13 % 1400);
		take_message(&m, i * 13 % 1400, i);
		/* Others go on. */
		EQ(send(other, "abc", 3, 0), 3);
		EQ(recv(server, buf, sizeof(buf), 0), 3);
	}
	EQ(poll_now(s) & (POLLIN | POLLOUT), POLLOUT);
	put_message(&m, 100, 0);
	unmap(&m);
	EQ(recv(server, buf, sizeof(buf), 0), 100);
	EQ(sendto(server, "abcd", 4, 0, &from.sa, len), 4);
	EQ(recv(s, buf, sizeof(buf), 0), 4);
	EQ(send(s, "abc", 3, 0), 3);
	EQ(recv(server, buf, sizeof(buf), 0), 3);
}

/* Who is asleep in recv() is sent away. */
TEST(map_udp_under_a_sleeper, .map = true, .type = SOCK_DGRAM, .inet_only = true)
{
	int server = sock(), s = sock(), i;
	struct task reader;
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	for (i = 0; i < 20; i++) {
		task_start(&reader, do_recv, s, NULL);
		task_asleep(&reader, SYS_recvfrom);
		m = map(s);
		task_join(&reader);
		EQ(reader.ret, -1);
		EQ(reader.err, EBUSY);
		EQ(ioctl(s, SIOCCIRCUITKICK), 0);
		unmap(&m);
		ERR(ioctl(s, SIOCCIRCUITKICK), ENOTCONN);
	}
}

/* The peer goes: the process is woken, and finds the mapping good until it goes as well. */
TEST(map_udp_peer_goes, .map = true, .type = SOCK_DGRAM, .inet_only = true)
{
	int server = sock(), s = sock();
	char buf[16];
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	m = map(s);
	put_message(&m, 10, 0);
	EQ(recv(server, buf, sizeof(buf), 0), 10);
	close(server);
	wait_for(s, POLLIN);
	put_message(&m, 10, 0);
	unmap(&m);
	poll_now(s);
	/* As it is of any UDP socket: the first is lost, or refused. */
	if (send(s, "x", 1, 0) < 0)
		EQ(errno, ECONNREFUSED);
}

/* Scribble over a mapped UDP circuit: the peer goes on with others. */
TEST(map_udp_scribble, .map = true, .type = SOCK_DGRAM, .inet_only = true)
{
	int server = sock(), other = sock(), s, i, n;
	uint32_t state = 1;
	char buf[2048];
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(other, port_of(server)), 0);
	for (i = 0; i < (quick ? 30 : 300); i++) {
		s = sock();
		EQ(sock_connect(s, port_of(server)), 0);
		m = map_if_connected(s);
		for (n = 0; n < 100; n++) {
			memset(m.base + rnd(&state) % (n & 1 ? 0x280 : m.len / 2), rnd(&state), 8);
			if (!(n % 10))
				ioctl(s, SIOCCIRCUITKICK);
			while (recv(server, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
				;
		}
		unmap(&m);
		for (n = 0; n < 3; n++) {
			poll_now(s);
			(void)!send(s, "x", 1, MSG_DONTWAIT);
			(void)!recv(s, buf, 1, MSG_DONTWAIT);
		}
		close(s);
		EQ(send(other, "abc", 3, 0), 3);
		do
			EQ(poll(&(struct pollfd){ server, POLLIN, 0 }, 1, PATIENCE), 1);
		while (recv(server, buf, sizeof(buf), MSG_DONTWAIT) != 3 || memcmp(buf, "abc", 3));
	}
}

/* Those of AF_CIRCUIT go to the operator, each with whom it is for. */
static void put_datagram(struct map *m, unsigned int port, uint32_t n, uint64_t pos)
{
	struct circuit_datagram head = { .len = n, .port = port };

	CHECK(room(m) >= sizeof(head) + n + 7);
	memcpy(m->tx + (m->tail & (m->txs - 1)), &head, sizeof(head));
	pattern(m->tx + (m->tail & (m->txs - 1)) + sizeof(head), n, pos);
	publish(m, (sizeof(head) + n + 7) & ~7u);
}

/* Returns whom it is from, or of an error its number, as a negative one. */
static int take_datagram(struct map *m, uint32_t n, uint64_t pos)
{
	struct circuit_datagram head;

	wait_for(m->fd, POLLIN);
	memcpy(&head, m->rx + (m->head & (m->rxs - 1)), sizeof(head));
	CHECK(there(m) >= ((sizeof(head) + head.len + 7) & ~7u));
	EQ(head.flags, head.error ? CIRCUIT_DATAGRAM_ERROR : 0);
	if (!head.error) {
		EQ(head.len, n);
		pattern_check(m->rx + (m->head & (m->rxs - 1)) + sizeof(head), n, pos);
	}
	release(m, (sizeof(head) + head.len + 7) & ~7u);
	return head.error ? -(int)head.error : (int)head.port;
}

TEST(map_datagrams, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	int server = sock(), s = sock(), other = sock(), i, n;
	unsigned int gone;
	uint8_t buf[2048];
	union addr from;
	socklen_t len;
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_bind(other, 0), 0);
	gone = port_of(other);
	close(other);
	other = sock();
	EQ(sock_bind(s, 0), 0);
	ERR((long)try_map(s, map_len(s), PROT_READ, MAP_SHARED, 0), ENOTCONN);
	EQ(sock_connect(s, port_of(server)), 0);
	EQ(sock_connect(other, port_of(server)), 0);
	m = map(s);
	ERR(send(s, "x", 1, 0), EBUSY);
	ERR(recv(s, buf, 1, MSG_DONTWAIT), EBUSY);
	EQ(poll_now(s) & (POLLIN | POLLOUT), POLLOUT);
	for (i = 0; i < 100; i++) {
		put_datagram(&m, port_of(server), i * 13 % 1400, i);
		len = sizeof(from);
		EQ(recvfrom(server, buf, sizeof(buf), 0, &from.sa, &len), i * 13 % 1400);
		EQ(addr_port(&from), port_of(s));
		pattern_check(buf, i * 13 % 1400, i);
		EQ(sendto(server, buf, i * 13 % 1400, 0, &from.sa, len), i * 13 % 1400);
		EQ(take_datagram(&m, i * 13 % 1400, i), port_of(server));
		/* Others go on. */
		EQ(send(other, "abc", 3, 0), 3);
		EQ(recv(server, buf, sizeof(buf), 0), 3);
	}
	/* From and to whom the socket is not connected: the process has to see to that. */
	pattern(buf, 9, 1);
	len = addr_set(&from, port_of(s));
	EQ(sendto(other, buf, 9, 0, &from.sa, len), 9);
	EQ(take_datagram(&m, 9, 1), port_of(other));
	put_datagram(&m, gone, 10, 0);
	EQ(take_datagram(&m, 0, 0), -ECONNREFUSED);
	EQ(poll_now(s) & (POLLIN | POLLOUT | POLLERR), POLLOUT);
	put_datagram(&m, port_of(server), 100, 0);
	/* What is left in the ring is the kernel's to look at, who knows. */
	EQ(sendto(other, buf, 9, 0, &from.sa, len), 9);
	EQ(recv(server, buf, sizeof(buf), 0), 100);
	wait_for(s, POLLIN);
	unmap(&m);
	OK(ioctl(s, SIOCINQ, &n));
	EQ(n, 0);
	len = addr_set(&from, port_of(s));
	EQ(sendto(server, "abcd", 4, 0, &from.sa, len), 4);
	EQ(recv(s, buf, sizeof(buf), 0), 4);
	EQ(send(s, "abc", 3, 0), 3);
	EQ(recv(server, buf, sizeof(buf), 0), 3);
}

/* Who is asleep in recv() is sent away, and who maps it finds what came meanwhile. */
TEST(map_datagrams_under_a_sleeper, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	int server = sock(), s = sock(), i;
	struct task reader;
	union addr a;
	uint8_t buf[8];
	socklen_t len;
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	len = addr_set(&a, port_of(s));
	pattern(buf, sizeof(buf), 0);
	for (i = 0; i < 20; i++) {
		task_start(&reader, do_recv, s, NULL);
		task_asleep(&reader, SYS_recvfrom);
		m = map(s);
		task_join(&reader);
		EQ(reader.ret, -1);
		EQ(reader.err, EBUSY);
		EQ(sendto(server, buf, sizeof(buf), 0, &a.sa, len), sizeof(buf));
		EQ(take_datagram(&m, sizeof(buf), 0), port_of(server));
		unmap(&m);
		ERR(ioctl(s, SIOCCIRCUITKICK), ENOTCONN);
	}
}

/* An index that cannot be: the socket hears of it once, and begins anew. */
TEST(map_datagrams_bad_index, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	int server = sock(), s = sock(), i;
	unsigned int port;
	union addr a;
	char buf[16];
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	port = port_of(s);
	for (i = 0; i < 4; i++) {
		if (i == 3) {	/* within what is there, but no place for a head */
			addr_set(&a, port);
			EQ(sendto(server, "12345678", 8, 0, &a.sa, sizeof(a.cc)), 8);
			wait_for(s, POLLIN);
		}
		m = map(s);
		if (i % 2)
			m.in->cons.head += i < 2 ? 8 : 4;
		else
			m.out->prod.tail += i < 2 ? m.txs + 8 : 4;
		unmap(&m);
		if (i % 2)
			ERR(recv(s, buf, 1, MSG_DONTWAIT), ECONNRESET);
		else
			ERR(send(s, "x", 1, 0), ECONNRESET);
		EQ(send(s, "abc", 3, 0), 3);
		EQ(recv(server, buf, sizeof(buf), 0), 3);
		EQ(port_of(s), port);
	}
}

/* Scribble over it: the operator cuts the socket off, and nobody else notices. */
TEST(map_datagrams_scribble, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	int server = sock(), other = sock(), s, i, n;
	uint32_t state = 1;
	char buf[2048];
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(other, port_of(server)), 0);
	for (i = 0; i < (quick ? 30 : 300); i++) {
		s = sock();
		EQ(sock_connect(s, port_of(server)), 0);
		m = map_if_connected(s);
		for (n = 0; n < 200; n++)
			m.base[rnd(&state) % (n & 1 ? sizeof(struct circuit_ctrl) : m.len)] = rnd(&state);
		m.out->prod.tail = m.tail + (rnd(&state) % m.txs & (i & 1 ? ~0u : ~7u));
		ioctl(s, SIOCCIRCUITKICK);
		poll_now(s);
		if (i % 3) {
			unmap(&m);
			/* The kernel makes of it what it can. */
			ioctl(s, SIOCINQ, &n);
			poll_now(s);
			while (recv(s, buf, sizeof(buf), MSG_DONTWAIT) > 0)
				;
			send(s, "x", 1, MSG_DONTWAIT);
		}
		close(s);
		EQ(send(other, "abc", 3, 0), 3);
		/* Some of the scribble may have been a datagram. */
		do {
			n = OK(recv(server, buf, sizeof(buf), 0));
		} while (n != 3 || memcmp(buf, "abc", 3));
	}
}

/* Somebody who says that the operator has said something. */
TEST(map_datagrams_forged_error, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	static const uint32_t error[] = { ECONNREFUSED, 511, 512, 516, 529, 4095, 4096, -1u };
	struct circuit_datagram head = { .flags = CIRCUIT_DATAGRAM_ERROR };
	int server = sock(), s = sock(), how, err;
	char line[CIRCUIT_NAME_SIZE], buf[8];
	struct sockaddr_circuit peer;
	socklen_t len;
	struct map m;
	size_t i;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	len = sizeof(peer);
	OK(getpeername(s, (struct sockaddr *)&peer, &len));
	memcpy(line, peer.sc_line, sizeof(line));
	for (i = 0; i < 8; i++) {
		for (how = 0; how < 3; how++) {
			m = map(s);
			head.port = peer.sc_port;
			head.error = error[i];
			memcpy(head.line, line, sizeof(line));
			memcpy(m.rx + (m.head & (m.rxs - 1)), &head, sizeof(head));
			m.in->prod.tail = m.head + sizeof(head);
			unmap(&m);
			if (how == 0)
				err = send(s, "x", 1, MSG_DONTWAIT) < 0 ? errno : 0;
			else if (how == 1)
				err = recv(s, buf, sizeof(buf), MSG_DONTWAIT) < 0 ? errno : 0;
			else
				err = read(s, buf, sizeof(buf)) < 0 ? errno : 0;
			EQ(err, error[i] < 512 ? (int)error[i] : ECONNRESET);
			/* It has no idea of where the operator's index is: begin anew. */
			close(s);
			s = sock();
			EQ(sock_connect(s, port_of(server)), 0);
		}
	}
}

/* Who is connected to somebody else, or to nobody, has it mapped as before. */
TEST(map_datagrams_reconnect, .map = true, .type = SOCK_DGRAM, .circuit_only = true)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int server = sock(), other = sock(), s = sock();
	union addr a;
	socklen_t len;
	uint8_t buf[8];
	struct map m;

	EQ(sock_bind(server, 0), 0);
	EQ(sock_bind(other, 0), 0);
	EQ(sock_connect(s, port_of(server)), 0);
	len = addr_set(&a, port_of(s));
	pattern(buf, sizeof(buf), 0);
	m = map(s);
	EQ(sock_connect(s, port_of(other)), 0);
	put_datagram(&m, port_of(server), 8, 0);
	EQ(recv(server, buf, sizeof(buf), 0), 8);
	OK(connect(s, &none, sizeof(none)));
	EQ(sendto(other, buf, sizeof(buf), 0, &a.sa, len), sizeof(buf));
	EQ(take_datagram(&m, sizeof(buf), 0), port_of(other));
	unmap(&m);
	ERR((long)try_map(s, m.len, PROT_READ, MAP_SHARED, 0), ENOTCONN);
	EQ(sendto(other, buf, sizeof(buf), 0, &a.sa, len), sizeof(buf));
	EQ(recv(s, buf, sizeof(buf), 0), sizeof(buf));
}

/* --- all of it at once ----------------------------------------------------------------------- */

/* Two sockets connected with each other, whatever they are. */
static void map_pair(int fd[2], int size)
{
	if (type != SOCK_DGRAM) {
		pair_of_size(fd, size);
		return;
	}
	fd[0] = sock();
	fd[1] = sock();
	EQ(sock_bind(fd[1], 0), 0);
	EQ(sock_connect(fd[0], port_of(fd[1])), 0);
	EQ(sock_connect(fd[1], port_of(fd[0])), 0);
}

/**
 * struct both - two ends, of which one may be mapped
 * @fd: the sockets
 * @m: of the first; @m.base is NULL while it is not mapped
 * @lost: how often the mapping was lost, for all to see
 */
struct both {
	int		fd[2];
	struct map	m;
	atomic_int	*lost;
};

/* Mapped it is, unless there is a limit. */
static bool both_map(struct both *b)
{
	int err;

	if (b->m.base)
		return true;
	err = map_or(&b->m, b->fd[0]);
	/* EBUSY: another circuit's limit has the kernel look through all. */
	if (err && !(limits && (err == EOPNOTSUPP || err == EBUSY)))
		fail("mmap: %s", errname(err));
	return !err;
}

/*
 * Send a piece, by the mapping if there is one. If that is lost meanwhile, the kernel knows whether
 * it has been sent.
 */
static void both_send(struct both *b, uint32_t n, uint64_t pos)
{
	struct circuit_datagram head = { .len = n };	/* begins as struct circuit_message does */
	struct map *m = &b->m;
	uint32_t size = 0, len = n, sent;
	uint8_t buf[2048];

	pattern(buf, n, pos);
	if (both_map(b)) {
		if (type == SOCK_DGRAM && family == AF_CIRCUIT)
			size = sizeof(head);
		else if (type != SOCK_STREAM)
			size = sizeof(struct circuit_message);
		if (size) {
			head.port = family == AF_CIRCUIT ? peer_port_of(m->fd) : 0;
			len = (size + n + 7) & ~7u;
		}
		memcpy(m->tx + (m->tail & (m->txs - 1)), &head, size);
		memcpy(m->tx + (m->tail & (m->txs - 1)) + size, buf, n);
		m->out->prod.bytes += len;
		__atomic_store_n(&m->out->prod.tail, m->tail + len, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!map_is_lost(m)) {
			m->tail += len;
			ioctl(m->fd, SIOCCIRCUITKICK);	/* it may be lost now */
			return;
		}
		if (!limits)
			fail("the mapping is lost");
		atomic_fetch_add(b->lost, 1);
		unmap(m);
		sent = info_of(b->fd[0]).tx_tail - m->tail;
		if (sent == len)
			return;
		EQ(sent, 0);
	}
	EQ(send(b->fd[0], buf, n, MSG_NOSIGNAL), n);
}

/*
 * Mapped, unmapped, closed, disconnected and killed in any order, by several at once; and with
 * --limits deprived of mappings at any time.
 */
static void interleavings(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	/* The operator keeps to limits of AF_CIRCUIT's datagrams himself. */
	bool loses = limits && !(family == AF_CIRCUIT && type == SOCK_DGRAM);
	long long end = now_ms() + 4 * PATIENCE;
	int workers = 4, i, n, w, fd[2];
	pid_t pid[4], child;
	atomic_int *lost;

	lost = mmap(NULL, sizeof(*lost), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(lost != MAP_FAILED);

	for (w = 0; w < workers; w++) {
		pid[w] = spawn();
		if (pid[w])
			continue;
		uint32_t state = w + 1;
		struct both own = { .lost = lost };
		uint8_t buf[2048];

		map_pair(own.fd, 8192);
		timeout(own.fd[1], SO_RCVTIMEO, 3 * PATIENCE);
		both_map(&own);
		for (i = 0; i < rounds(40, 1000) || (loses && !*lost && now_ms() < end); i++) {
			void *p[2] = { MAP_FAILED, MAP_FAILED };
			size_t len;

			map_pair(fd, 4096 << rnd(&state) % 3);
			len = map_len(fd[0]);
			child = 0;
			for (n = 0; n < 12; n++) {
				int k = rnd(&state) & 1;

				switch (rnd(&state) % 9) {
				case 0:
				case 1:
					if (p[k] == MAP_FAILED && fd[k] >= 0)
						p[k] = try_map(fd[k], len, PROT_READ | PROT_WRITE,
							       MAP_SHARED, 0);
					break;
				case 2:
					if (p[k] != MAP_FAILED)
						OK(munmap(p[k], len));
					p[k] = MAP_FAILED;
					break;
				case 3:
					if (fd[k] >= 0 && !(rnd(&state) % 4)) {
						close(fd[k]);
						fd[k] = -1;
					}
					break;
				case 4:
					if (fd[k] >= 0 && !(rnd(&state) % 4))
						connect(fd[k], &none, sizeof(none));
					break;
				case 5:
					if (!child) {
						child = spawn();
						if (!child)
							for (;;)
								for (k = 0; k < 2; k++)
									if (p[k] != MAP_FAILED)
										memset(p[k] + PAGE, i, len - PAGE);
					}
					break;
				case 6:
					if (child) {
						kill(child, SIGKILL);
						reap_killed(child, SIGKILL);
						child = 0;
					}
					break;
				case 7:
					if (fd[k] >= 0)
						shutdown(fd[k], rnd(&state) % 3);
					break;
				case 8:
					if (fd[k] >= 0)
						send(fd[k], "abc", 3, MSG_NOSIGNAL | MSG_DONTWAIT);
					if (p[k] != MAP_FAILED)
						memset(p[k], 0, 64);
					break;
				}
			}
			if (child) {
				kill(child, SIGKILL);
				reap_killed(child, SIGKILL);
			}
			for (n = 0; n < 2; n++) {
				if (fd[n] >= 0)
					close(fd[n]);
				if (p[n] != MAP_FAILED)
					OK(munmap(p[n], len));
			}
			/* What the others scribble over is not this. */
			for (n = 0; n < 5; n++) {
				both_send(&own, 1000, i + n);
				if (type == SOCK_STREAM)
					recv_all(own.fd[1], buf, 1000);
				else
					EQ(recv(own.fd[1], buf, sizeof(buf), 0), 1000);
				pattern_check(buf, 1000, i + n);
			}
		}
		_exit(0);
	}
	for (w = 0; w < workers; w++)
		reap(pid[w]);
	EQ(*lost > 0, loses);
	map_pair(fd, 0);
	expect_works(fd[0], fd[1]);
}

TEST(map_interleavings, .map = true, .timeout = 500)
{
	interleavings();
}

TEST(map_interleavings_messages, .map = true, .type = SOCK_SEQPACKET, .timeout = 500)
{
	interleavings();
}

TEST(map_interleavings_datagrams, .map = true, .type = SOCK_DGRAM, .timeout = 500)
{
	interleavings();
}

/*
 * One who writes as fast as he can, until a limit takes the mapping from him: all that he has
 * published arrives, though the limit stays and nothing follows.
 */
TEST(map_limited_writer, .map = true)
{
	_Atomic uint64_t *got;
	uint64_t sent = 0;
	static char buf[65536];
	uint32_t n, old;
	struct map m;
	int fd[2];
	ssize_t ret;

	if (!limits)
		skip("without --limits");
	got = mmap(NULL, sizeof(*got), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(got != MAP_FAILED);
	pair_of_size(fd, 4096);
	if (!spawn()) {
		while ((ret = recv(fd[1], buf, sizeof(buf), 0)) > 0)
			*got += ret;
		fail("recv: %s", ret ? errname(errno) : "end");
	}
	m = map(fd[0]);
	puts("# it writes");
	while (!map_is_lost(&m)) {
		n = room(&m);
		if (!n || n > m.txs)
			continue;
		old = m.tail;
		m.tail += n;
		sent += n;
		__atomic_store_n(&m.out->prod.tail, m.tail, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (passes(__atomic_load_n(&m.out->cons.event, __ATOMIC_RELAXED), m.tail, old))
			ioctl(m.fd, SIOCCIRCUITKICK);
	}
	unmap(&m);
	/* What went to the memory that is only his was not published. */
	sent -= (uint32_t)(m.tail - info_of(fd[0]).tx_tail);
	UNTIL(*got >= sent);
	EQ(*got, sent);
}
