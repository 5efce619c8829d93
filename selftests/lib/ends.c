// SPDX-License-Identifier: GPL-2.0
/*
 * How circuits end, and what a far end that keeps to no rule can do: end its circuit.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include "lib_test.h"

/* All that was written is read, then the end; and the other direction goes on. */
TEST(shutdown_is_the_end_of_a_stream)
{
	char buf[16];
	struct pair p;
	void *to;

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[0], "abc", 3), 3);
	CHECK(circuit_tx_reserve(p.c[0], &to, 3) >= 3);
	memcpy(to, "def", 3);
	EQ(circuit_tx_fill(p.c[0], 3), 0);
	EQ(circuit_shutdown(p.c[0]), 0);
	EQ(circuit_shutdown(p.c[0]), 0);
	EQ(circuit_write(p.c[0], "x", 1), -EPIPE);
	EQ(circuit_tx_fill(p.c[0], 1), -EINVAL);
	EQ(circuit_wait(p.c[1], CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_read(p.c[1], buf, 4), 4);
	EQ(circuit_read(p.c[1], buf + 4, 10), 2);
	CHECK(!memcmp(buf, "abcdef", 6));
	EQ(circuit_wait(p.c[1], CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_read(p.c[1], buf, 10), 0);
	EQ(circuit_read(p.c[1], buf, 10), 0);
	EQ(circuit_write(p.c[1], "back", 4), 4);
	EQ(circuit_read(p.c[0], buf, 10), 4);
	EQ(circuit_error(p.c[0]), 0);
	end_pair(&p);
}

/* Fewer bytes than were asked for are given when no more will come. */
TEST(last_bytes_are_fewer)
{
	const void *from;
	struct pair p;

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[0], "abc", 3), 3);
	EQ(circuit_rx_peek(p.c[1], &from, 10), -EAGAIN);
	EQ(circuit_wait(p.c[1], CIRCUIT_IN, 1000000), 0);
	circuit_close(p.c[0]);
	EQ(circuit_wait(p.c[1], CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_rx_peek(p.c[1], &from, 10), 3);
	EQ(circuit_rx_release(p.c[1], 3), 0);
	EQ(circuit_rx_peek(p.c[1], &from, 10), 0);
	circuit_close(p.c[1]);
}

TEST(nobody_reads_any_more)
{
	struct pair p;
	char buf[4];

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[0], "a", 1), 1);
	EQ(circuit_read(p.c[1], buf, 4), 1);
	circuit_close(p.c[1]);
	EQ(circuit_write(p.c[0], "b", 1), -EPIPE);
	EQ(circuit_write(p.c[0], "b", 1), -EPIPE);
	EQ(circuit_wait(p.c[0], CIRCUIT_OUT, -1), CIRCUIT_OUT);
	EQ(circuit_read(p.c[0], buf, 4), 0);
	circuit_close(p.c[0]);
}

TEST(closed_with_something_unread)
{
	struct pair p;
	char buf[4];

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[0], "abcd", 4), 4);
	EQ(circuit_write(p.c[1], "z", 1), 1);
	EQ(circuit_read(p.c[1], buf, 1), 1);
	circuit_close(p.c[1]);
	EQ(circuit_read(p.c[0], buf, 4), 1);
	EQ(buf[0], 'z');
	EQ(circuit_read(p.c[0], buf, 4), -ECONNRESET);
	circuit_close(p.c[0]);
}

/* As if the process had been killed: data first, then the news. Nobody but a wait finds out. */
TEST(far_end_vanishes)
{
	struct pair p;
	char buf[4];

	make_pair(&p, 4096, 4096, 0);
	EQ(circuit_write(p.c[1], "last", 4), 4);
	circuit_detach(p.c[1]);
	close(p.fd[1]);
	EQ(circuit_read(p.c[0], buf, 2), 2);
	EQ(circuit_read(p.c[0], buf + 2, 2), 2);
	CHECK(!memcmp(buf, "last", 4));
	EQ(circuit_read(p.c[0], buf, 4), -EAGAIN);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, -1), CIRCUIT_IN);
	EQ(circuit_read(p.c[0], buf, 4), -ECONNRESET);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 0), CIRCUIT_IN);
	EQ(circuit_write(p.c[0], "x", 1), -ECONNRESET);
	circuit_close(p.c[0]);

	make_pair(&p, 4096, 4096, 0);
	circuit_detach(p.c[1]);
	close(p.fd[1]);
	EQ(circuit_wait(p.c[0], CIRCUIT_IN, 0), CIRCUIT_IN);
	EQ(circuit_read(p.c[0], buf, 4), -ECONNRESET);
	circuit_close(p.c[0]);
}

/* A call for the wrong kind of circuit changes nothing. */
TEST(misuse_is_said)
{
	struct circuit_view v = { .data = "x", .len = 1 };
	const void *from;
	struct pair p;
	short poll;
	void *to;

	make_pair(&p, 4096, 8192, 0);
	EQ(circuit_msg_reserve(p.c[0], &to, 1), -EINVAL);
	EQ(circuit_msg_fill(p.c[0], 0, 0), -EINVAL);
	EQ(circuit_msg_send(p.c[0], &v, 1), -EINVAL);
	EQ(circuit_msg_peek(p.c[0], &v, 1), -EINVAL);
	EQ(circuit_msg_release(p.c[0], &v), -EINVAL);
	EQ(circuit_tx_reserve(p.c[0], &to, 4097), -EMSGSIZE);
	EQ(circuit_rx_peek(p.c[0], &from, 8193), -EMSGSIZE);
	EQ(circuit_rx_release(p.c[0], 1), -EINVAL);
	EQ(circuit_wait(p.c[0], 0, 0), -EINVAL);
	EQ(circuit_wait(p.c[0], 4, 0), -EINVAL);
	EQ(circuit_arm(p.c[0], 0, &poll), -EINVAL);
	end_pair(&p);
	make_pair(&p, 4096, 4096, CIRCUIT_MESSAGES);
	EQ(circuit_tx_reserve(p.c[0], &to, 1), -EINVAL);
	EQ(circuit_tx_fill(p.c[0], 0), -EINVAL);
	EQ(circuit_write(p.c[0], "x", 1), -EINVAL);
	EQ(circuit_write(p.c[0], "x", 0), -EINVAL);
	EQ(circuit_rx_peek(p.c[0], &from, 1), -EINVAL);
	EQ(circuit_rx_release(p.c[0], 0), -EINVAL);
	EQ(circuit_read(p.c[0], &v, 1), -EINVAL);
	EQ(circuit_msg_reserve(p.c[0], &to, 4089), -EMSGSIZE);
	EQ(circuit_msg_peek(p.c[0], &v, 0), -EINVAL);
	EQ(circuit_error(p.c[0]), 0);
	EQ(circuit_msg_reserve(p.c[0], &to, 4088), 0);
	EQ(circuit_msg_commit(p.c[0], 4088, 0), 0);
	EQ(circuit_msg_peek(p.c[1], &v, 1), 1);
	EQ(v.len, 4088);
	v.next -= 1;
	EQ(circuit_msg_release(p.c[1], &v), -EINVAL);
	v.next += 1 + 8;
	EQ(circuit_msg_release(p.c[1], &v), -EINVAL);
	end_pair(&p);
	circuit_close(NULL);
	circuit_detach(NULL);
	EQ(circuit_offer(&p.c[0], 0, 4096, 5000, 0), -EINVAL);
	EQ(circuit_offer(&p.c[0], 0, 2048, 4096, 0), -EINVAL);
	EQ(circuit_offer(&p.c[0], 0, (1ull << 32) + 4096, 4096, 0), -EINVAL);
	EQ(circuit_offer(&p.c[0], 0, 4096, 4096, 2), -EINVAL);
	EQ(circuit_offer(&p.c[0], -1, 4096, 4096, 0), -EBADF);
	EQ(circuit_accept(&p.c[0], -1, 0), -EBADF);
	EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, p.fd), 0);
	EQ(circuit_offer(&p.c[0], p.fd[0], 4096, 4096, 0), -EOPNOTSUPP);
	EQ(circuit_open(&p.c[0], p.fd[0]), -EOPNOTSUPP);
}

/*
 * The words of the far end, changed as it should not: from then on every call fails with EPROTO.
 * And changed as it may: none does.
 */
enum word { TAIL, HEAD, TX_FLAGS, RX_FLAGS, MAGIC, LEN, FLAGS };

static uint32_t *word_of(struct pair *p, enum word word)
{
	struct circuit *far = p->c[0];
	struct circuit_message *head = (void *)(far->tx.data + ((far->tx.tail - 16) & 4095));

	switch (word) {
	case TAIL: return &far->tx.prod->tail;
	case HEAD: return &far->rx.cons->head;
	case TX_FLAGS: return &far->tx.prod->flags;
	case RX_FLAGS: return &far->rx.cons->flags;
	case MAGIC: return &far->ctrl->magic;
	case LEN: return &head->len;
	case FLAGS: return &head->flags;
	}
	abort();
}

static int use(struct circuit *c)
{
	struct circuit_view v;
	int i;

	for (i = 0; i < 8 && !circuit_error(c); i++) {
		v = (struct circuit_view) { .data = "12345678", .len = 8 };
		circuit_msg_send(c, &v, 1);
		if (circuit_msg_peek(c, &v, 1) == 1)
			circuit_msg_release(c, &v);
		circuit_wait(c, CIRCUIT_IN | CIRCUIT_OUT, 0);
	}
	return circuit_error(c);
}

TEST(every_word_is_checked)
{
	/* One message of 8 bytes each way, not read yet; rings of 4096. */
	static const struct {
		enum word word;
		int32_t add;
		int error;
	} cases[] = {
		{ TAIL, 0, 0 }, { TAIL, 4096 - 16, EPROTO /* heads of nothing */ },
		{ TAIL, 4096 - 8, EPROTO }, { TAIL, 4096, EPROTO }, { TAIL, 1, EPROTO },
		{ TAIL, 4, EPROTO }, { TAIL, -24, EPROTO }, { TAIL, -8, EPROTO },
		{ TAIL, INT32_MIN, EPROTO },
		{ HEAD, 0, 0 }, { HEAD, 16, 0 }, { HEAD, 4096, 0 }, { HEAD, 4097, EPROTO },
		{ HEAD, -1, EPROTO }, { HEAD, -4096, EPROTO }, { HEAD, INT32_MIN, EPROTO },
		{ TX_FLAGS, CIRCUIT_TX_FIN, 0 }, { TX_FLAGS, CIRCUIT_TX_URG, 0 },
		{ TX_FLAGS, CIRCUIT_TX_RST, 0 }, { TX_FLAGS, 8, EPROTO },
		{ TX_FLAGS, INT32_MIN, EPROTO },
		{ RX_FLAGS, CIRCUIT_RX_CLOSED, 0 }, { RX_FLAGS, 2, EPROTO },
		{ MAGIC, 1, EPROTO }, { MAGIC, -(int32_t)CIRCUIT_RING_MAGIC, EPROTO },
		{ LEN, 0, 0 }, { LEN, -8, EPROTO /* what follows is no head */ },
		{ LEN, 1, EPROTO },
		{ LEN, -9, EPROTO }, { LEN, 4096, EPROTO }, { LEN, INT32_MIN, EPROTO },
		{ LEN, INT32_MAX, EPROTO },
		{ FLAGS, 1, 0 }, { FLAGS, 2, EPROTO }, { FLAGS, INT32_MIN, EPROTO },
	};
	struct circuit_view v;
	struct pair p;
	uint32_t start, full;
	size_t i;
	int j;

	for (i = 0; i < 4 * sizeof(cases) / sizeof(cases[0]); i++) {
		j = i / 4;
		start = i % 4 ? -8 * (i % 4) : 0;
		make_pair_at(&p, 4096, 4096, CIRCUIT_MESSAGES, start, start);
		v = (struct circuit_view) { .data = "\xff\xff\xff\xff\xff\xff\xff\xff", .len = 8 };
		EQ(circuit_msg_send(p.c[0], &v, 1), 1);
		EQ(circuit_msg_send(p.c[1], &v, 1), 1);
		/* The rest of the ring has no heads in it. */
		memset(p.c[0]->tx.data + ((start + 16) & 4095), 0xff, 4096 - 16);
		if (cases[j].word == HEAD) {
			/* It is looked at when there is no room left. */
			while (circuit_msg_send(p.c[1], &v, 1) == 1)
				;
			full = p.c[1]->tx.tail;
			EQ(full, start + 4096);
		}
		*word_of(&p, cases[j].word) += cases[j].add;
		if (use(p.c[1]) != cases[j].error) {
			printf("#   case %d\n", j);
			EQ(circuit_error(p.c[1]), cases[j].error);
		}
		if (cases[j].error) {
			EQ(circuit_msg_send(p.c[1], &v, 1), -EPROTO);
			EQ(circuit_msg_peek(p.c[1], &v, 1), -EPROTO);
			EQ(circuit_wait(p.c[1], CIRCUIT_IN, -1), -EPROTO);
			EQ(circuit_tx_publish(p.c[1]), -EPROTO);
			EQ(circuit_rx_publish(p.c[1]), -EPROTO);
			circuit_close(p.c[1]);
			CHECK(p.c[0]->rx.prod->flags & CIRCUIT_TX_RST);
		} else {
			circuit_close(p.c[1]);
		}
		circuit_detach(p.c[0]);
		close(p.fd[0]);
		close(p.fd[1]);
	}
}

/* --- offers that are none -------------------------------------------------------------------- */

struct offer {
	uint32_t magic, version, flags, zero, size[2], index[2];
};
static const struct offer good = { 0x4f435243, 1, 0, 0, { 4096, 8192 }, { 8, 16 } };

static void offer(int sock, const struct offer *o, size_t len, const int *fds, int n)
{
	char buf[CMSG_SPACE(8 * sizeof(int))] = "";
	struct iovec iov = { (void *)o, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (n) {
		msg.msg_control = buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	EQ(sendmsg(sock, &msg, 0), len);
}

static int memory(off_t size, unsigned int flags, int seals)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING | flags);

	if (fd < 0)
		return fd;
	EQ(ftruncate(fd, size), 0);
	EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#define SEALS	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define BYTES	(4096 + 4096 + 8192)

static void refused(const struct offer *o, size_t len, const int *fds, int n, int error)
{
	int sv[2], before, ret;
	struct circuit *c;

	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	before = fds_open();
	offer(sv[0], o, len, fds, n);
	close(sv[0]);
	ret = circuit_accept(&c, sv[1], 0);
	EQ(ret, error);
	if (!ret)
		circuit_close(c);
	/* Whatever came along is closed again. */
	EQ(fds_open(), before - 1);
	close(sv[1]);
}

TEST(offers_are_checked)
{
	int fd = memory(BYTES, 0, SEALS), pipes[2], other, many[3] = { fd, fd, fd };
	struct offer o;

	refused(&good, sizeof(good), &fd, 1, 0);
	refused(&good, sizeof(good), NULL, 0, -EPROTO);
	refused(&good, sizeof(good) - 1, &fd, 1, -EPROTO);
	refused(&good, sizeof(good), many, 3, 0);	/* one was asked for */
#define BAD(field, value) do {				\
		o = good;				\
		o.field = value;			\
		refused(&o, sizeof(o), &fd, 1, -EPROTO);\
	} while (0)
	BAD(magic, 1);
	BAD(version, 2);
	BAD(flags, 2);
	BAD(zero, 1);
	BAD(size[0], 0);
	BAD(size[0], 2048);
	BAD(size[0], 8192);
	BAD(size[0], 5000);
	BAD(size[1], 1u << 31);
	BAD(size[1], 4096);
	BAD(index[0], 4);
	BAD(index[1], 1);

	other = memory(BYTES, 0, F_SEAL_SHRINK | F_SEAL_GROW);
	refused(&good, sizeof(good), &other, 1, -EPROTO);
	other = memory(BYTES, 0, F_SEAL_SEAL | F_SEAL_GROW);
	refused(&good, sizeof(good), &other, 1, -EPROTO);
	other = memory(BYTES, 0, F_SEAL_SEAL | F_SEAL_SHRINK);
	refused(&good, sizeof(good), &other, 1, -EPROTO);
	other = memory(BYTES + 1, 0, SEALS);
	refused(&good, sizeof(good), &other, 1, -EPROTO);
	other = memory(BYTES - 1, 0, SEALS);
	refused(&good, sizeof(good), &other, 1, -EPROTO);
	other = memory(BYTES, 0, SEALS | F_SEAL_WRITE);
	refused(&good, sizeof(good), &other, 1, -EPERM);
	other = memory(BYTES, 0, SEALS | F_SEAL_FUTURE_WRITE);
	refused(&good, sizeof(good), &other, 1, -EPERM);
	EQ(pipe(pipes), 0);
	refused(&good, sizeof(good), &pipes[1], 1, -EPROTO);
	other = open("/", O_TMPFILE | O_RDWR, 0600);
	if (other >= 0)
		refused(&good, sizeof(good), &other, 1, -EPROTO);
	o = good;
	o.size[0] = o.size[1] = 1 << 21;
	other = memory(4ll << 20, MFD_HUGETLB, SEALS);
	if (other >= 0)
		refused(&o, sizeof(o), &other, 1, -EPROTO);
}

TEST(accept_says_why_not)
{
	struct circuit *c;
	int sv[2];

	EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	EQ(circuit_accept(&c, sv[1], 0), -EAGAIN);
	EQ(circuit_offer(&c, sv[0], 65536, 4096, 0), 0);
	circuit_detach(c);
	EQ(circuit_accept(&c, sv[1], 4096), -EFBIG);
	close(sv[0]);
	EQ(circuit_accept(&c, sv[1], 0), -ECONNRESET);
}

/* What is written while nobody has accepted is not lost, nor is that it ended. */
TEST(offer_does_not_wait)
{
	struct circuit *c;
	char buf[8];
	int sv[2];

	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	EQ(circuit_offer(&c, sv[0], 4096, 4096, 0), 0);
	EQ(circuit_write(c, "early", 5), 5);
	circuit_close(c);
	close(sv[0]);
	EQ(circuit_accept(&c, sv[1], 0), 0);
	EQ(circuit_read(c, buf, 8), 5);
	CHECK(!memcmp(buf, "early", 5));
	EQ(circuit_read(c, buf, 8), 0);
	circuit_close(c);
}

/* Descriptors that come with a doorbell are not kept; bells without end do not keep anybody. */
TEST(doorbells_are_only_that)
{
	int before, fds[3] = { 0, 1, 2 }, i;
	struct pair p;

	make_pair(&p, 4096, 4096, 0);
	before = fds_open();
	for (i = 0; i < 50; i++)
		offer(p.fd[0], &good, sizeof(good), fds, 3);
	for (i = 0; i < 50; i++)
		EQ(circuit_wait(p.c[1], CIRCUIT_IN, 0), 0);
	EQ(circuit_wait(p.c[1], CIRCUIT_IN, 3000000), 0);
	EQ(fds_open(), before);
	end_pair(&p);
}
