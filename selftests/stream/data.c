// SPDX-License-Identifier: GPL-2.0
/*
 * send(), recv(), their flags and their relatives.
 */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include "stream_test.h"

TEST(data_sizes)
{
	static const size_t sizes[] = { 1, 2, 3, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537 };
	uint64_t pos = 0;
	size_t i;
	int fd[2];

	pair(fd);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send_pattern(fd[0], sizes[i], pos);
		recv_pattern(fd[1], sizes[i], pos);
		send_pattern(fd[1], sizes[i], pos);
		recv_pattern(fd[0], sizes[i], pos);
		pos += sizes[i];
	}
}

static void do_send_pattern(struct task *t)
{
	send_pattern(t->fd, *(size_t *)t->arg, 0);
	OK(shutdown(t->fd, SHUT_WR));
}

TEST(data_both_ways, .timeout = 60)
{
	size_t len = quick ? 4 << 20 : 64 << 20;
	struct task t[3];
	int fd[2];

	pair(fd);
	task_start(&t[0], do_send_pattern, fd[0], &len);
	task_start(&t[1], do_send_pattern, fd[1], &len);
	if (!spawn()) {
		recv_pattern(fd[0], len, 0);
		expect_eof(fd[0]);
		_exit(0);
	}
	recv_pattern(fd[1], len, 0);
	expect_eof(fd[1]);
	reap(-1);
	task_join(&t[0]);
	task_join(&t[1]);
}

TEST(data_odd_pieces)
{
	size_t len = quick ? 200000 : 2000000, sent = 0, got = 0, n;
	uint32_t state = 12345;
	uint8_t buf[9000];
	ssize_t ret;
	int fd[2];

	pair_of_size(fd, 4096);
	while (got < len) {
		n = rnd(&state) % sizeof(buf) + 1;
		n = n < len - sent ? n : len - sent;
		pattern(buf, n, sent);
		ret = send(fd[0], buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (ret < 0)
			EQ(errno, EAGAIN);
		else
			sent += ret;
		ret = recv(fd[1], buf, rnd(&state) % sizeof(buf) + 1, MSG_DONTWAIT);
		if (ret < 0) {
			EQ(errno, EAGAIN);
		} else {
			pattern_check(buf, ret, got);
			got += ret;
		}
	}
	EQ(sent, len);
}

TEST(send_nothing)
{
	int fd[2];

	pair(fd);
	EQ(send(fd[0], "", 0, 0), 0);
	EQ(write(fd[0], "", 0), 0);
	wait_quiet(fd[1], POLLIN);
	send_text(fd[0], "something");
	expect_text(fd[1], "something");
}

TEST(recv_nothing)
{
	char c;
	int fd[2];

	pair(fd);
	send_text(fd[0], "x");
	wait_for(fd[1], POLLIN);
	EQ(recv(fd[1], &c, 0, 0), 0);
	expect_text(fd[1], "x");
}

TEST(send_full_dontwait)
{
	size_t n;
	char c = 0;
	int fd[2];

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	CHECK(n >= 4096);
	ERR(send(fd[0], &c, 1, MSG_DONTWAIT | MSG_NOSIGNAL), EAGAIN);
	nonblock(fd[0]);
	ERR(send(fd[0], &c, 1, MSG_NOSIGNAL), EAGAIN);
	recv_pattern(fd[1], n, 0);
	wait_for(fd[0], POLLOUT);
	send_pattern(fd[0], 1, n);
	recv_pattern(fd[1], 1, n);
}

TEST(send_partial_dontwait)
{
	static char big[4 << 20];
	ssize_t n;
	int fd[2];

	pair_of_size(fd, 65536);
	pattern(big, sizeof(big), 0);
	n = OK(send(fd[0], big, sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL));
	CHECK(n > 0 && n < (ssize_t)sizeof(big));
	recv_pattern(fd[1], n, 0);
}

static void do_send_char(struct task *t)
{
	t->ret = send(t->fd, "x", 1, MSG_NOSIGNAL);
}

TEST(send_blocks)
{
	struct task t;
	int fd[2];
	size_t n;

	pair_of_size(fd, 4096);
	n = fill(fd[0], 0);
	task_start(&t, do_send_char, fd[0], NULL);
	task_asleep(&t, SYS_sendto);
	recv_pattern(fd[1], n, 0);
	task_join(&t);
	EQ(t.ret, 1);
	expect_text(fd[1], "x");
}

TEST(send_timeout)
{
	long long start;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[0], 0);
	timeout(fd[0], SO_SNDTIMEO, 150);
	start = now_ms();
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EAGAIN);
	CHECK(now_ms() - start >= 100);
}

TEST(send_timeout_partial)
{
	static char big[4 << 20];
	ssize_t n;
	int fd[2];

	pair_of_size(fd, 4096);
	timeout(fd[0], SO_SNDTIMEO, 150);
	pattern(big, sizeof(big), 0);
	n = OK(send(fd[0], big, sizeof(big), MSG_NOSIGNAL));
	CHECK(n > 0 && n < (ssize_t)sizeof(big));
	recv_pattern(fd[1], n, 0);
}

TEST(send_interrupted)
{
	struct task t;
	int fd[2];

	pair_of_size(fd, 4096);
	fill(fd[0], 0);
	catch_signal(SIGUSR1, 0);
	task_start(&t, do_send_char, fd[0], NULL);
	task_asleep(&t, SYS_sendto);
	task_nag(&t, SIGUSR1);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
}

static void do_recv_char(struct task *t)
{
	char c;

	t->ret = recv(t->fd, &c, 1, 0);
}

TEST(recv_blocks)
{
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_recv_char, fd[1], NULL);
	task_asleep(&t, SYS_recvfrom);
	send_text(fd[0], "x");
	task_join(&t);
	EQ(t.ret, 1);
}

TEST(recv_dontwait)
{
	char c;
	int fd[2];

	pair(fd);
	ERR(recv(fd[1], &c, 1, MSG_DONTWAIT), EAGAIN);
	nonblock(fd[1]);
	ERR(recv(fd[1], &c, 1, 0), EAGAIN);
	ERR(read(fd[1], &c, 1), EAGAIN);
	send_text(fd[0], "x");
	wait_for(fd[1], POLLIN);
	EQ(read(fd[1], &c, 1), 1);
}

TEST(recv_timeout)
{
	long long start = now_ms();
	char c;
	int fd[2];

	pair(fd);
	timeout(fd[1], SO_RCVTIMEO, 150);
	ERR(recv(fd[1], &c, 1, 0), EAGAIN);
	CHECK(now_ms() - start >= 100);
	send_text(fd[0], "x");
	expect_text(fd[1], "x");
}

TEST(recv_interrupted)
{
	struct task t;
	int fd[2];

	pair(fd);
	catch_signal(SIGUSR1, 0);
	task_start(&t, do_recv_char, fd[1], NULL);
	task_asleep(&t, SYS_recvfrom);
	task_nag(&t, SIGUSR1);
	EQ(t.ret, -1);
	EQ(t.err, EINTR);
	send_text(fd[0], "x");
	expect_text(fd[1], "x");
}

TEST(recv_restarted)
{
	struct task t;
	int fd[2];

	pair(fd);
	catch_signal(SIGUSR1, SA_RESTART);
	task_start(&t, do_recv_char, fd[1], NULL);
	task_asleep(&t, SYS_recvfrom);
	pthread_kill(t.thread, SIGUSR1);
	UNTIL(atomic_load(&signals) == 1);
	task_asleep(&t, SYS_recvfrom);
	send_text(fd[0], "x");
	task_join(&t);
	EQ(t.ret, 1);
}

TEST(recv_peek)
{
	char buf[16] = "";
	int fd[2];

	pair(fd);
	send_text(fd[0], "peekaboo");
	wait_for(fd[1], POLLIN);
	EQ(recv(fd[1], buf, 4, MSG_PEEK), 4);
	CHECK(!strncmp(buf, "peek", 4));
	EQ(recv(fd[1], buf, sizeof(buf), MSG_PEEK), 8);
	CHECK(!strncmp(buf, "peekaboo", 8));
	expect_text(fd[1], "peekaboo");
	ERR(recv(fd[1], buf, 1, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}

TEST(recv_peek_eof)
{
	char c;
	int fd[2];

	pair(fd);
	send_text(fd[0], "x");
	OK(shutdown(fd[0], SHUT_WR));
	EQ(recv(fd[1], &c, 1, MSG_PEEK), 1);
	expect_text(fd[1], "x");
	EQ(recv(fd[1], &c, 1, MSG_PEEK), 0);
	expect_eof(fd[1]);
}

static void do_recv_waitall(struct task *t)
{
	t->ret = recv(t->fd, t->arg, 10000, MSG_WAITALL);
}

TEST(recv_waitall)
{
	static uint8_t buf[10000];
	struct task t;
	int fd[2];

	pair_of_size(fd, 4096);		/* less than what is waited for */
	task_start(&t, do_recv_waitall, fd[1], buf);
	task_asleep(&t, SYS_recvfrom);
	send_pattern(fd[0], 1, 0);
	task_asleep(&t, SYS_recvfrom);
	send_pattern(fd[0], 9999, 1);
	task_join(&t);
	EQ(t.ret, 10000);
	pattern_check(buf, 10000, 0);
}

TEST(recv_waitall_eof)
{
	static uint8_t buf[10000];
	struct task t;
	int fd[2];

	pair(fd);
	task_start(&t, do_recv_waitall, fd[1], buf);
	send_text(fd[0], "short");
	OK(shutdown(fd[0], SHUT_WR));
	task_join(&t);
	EQ(t.ret, 5);
	expect_eof(fd[1]);
}

TEST(recv_waitall_reset)
{
	static uint8_t buf[10000];
	struct task t;
	int fd[2];
	char c;

	pair(fd);
	task_start(&t, do_recv_waitall, fd[1], buf);
	send_text(fd[0], "short");
	task_asleep(&t, SYS_recvfrom);
	abort_sock(fd[0]);
	task_join(&t);
	EQ(t.ret, 5);			/* the error waits its turn */
	ERR(recv(fd[1], &c, 1, 0), ECONNRESET);
}

TEST(recv_waitall_timeout)
{
	static char buf[100];
	int fd[2];

	pair(fd);
	timeout(fd[1], SO_RCVTIMEO, 150);
	send_text(fd[0], "short");
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), 5);
}

TEST(recv_waitall_dontwait)
{
	char buf[100];
	int fd[2];

	pair(fd);
	send_text(fd[0], "short");
	wait_for(fd[1], POLLIN);
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL | MSG_DONTWAIT), 5);
}

TEST(recv_trunc)
{
	char buf[4] = "abc";
	int fd[2];

	pair(fd);
	send_text(fd[0], "gone");
	/* on a stream: throw away that much without copying */
	EQ(recv(fd[1], buf, 4, MSG_TRUNC), 4);
	CHECK(!strcmp(buf, "abc"));
	send_text(fd[0], "here");
	expect_text(fd[1], "here");
}

TEST(recv_oob_none)
{
	char c;
	int fd[2];

	pair(fd);
	ERR(recv(fd[1], &c, 1, MSG_OOB), EINVAL);
}

static void until_inq(int fd, int want)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	int i, n = -1;

	for (i = 0; i < PATIENCE && n != want; i++) {
		OK(ioctl(fd, FIONREAD, &n));
		if (n != want)
			nanosleep(&ms, NULL);
	}
	EQ(n, want);
}

static int at_mark(int fd)
{
	int val = -1;

	EQ(ioctl(fd, SIOCATMARK, &val), 0);
	return val;
}

TEST(oob_separate)
{
	char c = 0, buf[16];
	int fd[2], n;

	pair(fd);
	EQ(at_mark(fd[1]), 0);
	send_text(fd[0], "abc");
	EQ(send(fd[0], "defX", 4, MSG_OOB), 4);
	send_text(fd[0], "ghi");
	wait_for(fd[1], POLLPRI);
	until_inq(fd[1], 6);
	EQ(at_mark(fd[1]), 0);
	/* the byte by itself, as often as it is only looked at and then once */
	EQ(recv(fd[1], &c, 1, MSG_OOB | MSG_PEEK), 1);
	CHECK(c == 'X');
	c = 0;
	EQ(recv(fd[1], &c, 1, MSG_OOB), 1);
	CHECK(c == 'X');
	ERR(recv(fd[1], &c, 1, MSG_OOB), EINVAL);
	/* nothing reads past the mark at once */
	EQ(recv(fd[1], buf, sizeof(buf), MSG_PEEK), 6);
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), 6);
	CHECK(!memcmp(buf, "abcdef", 6));
	EQ(at_mark(fd[1]), 1);
	EQ(ioctl(fd[1], FIONREAD, &n), 0);
	EQ(n, 0);
	wait_for(fd[1], POLLIN);
	/* and the byte is not part of the stream */
	EQ(recv(fd[1], buf, sizeof(buf), 0), 3);
	CHECK(!memcmp(buf, "ghi", 3));
	EQ(at_mark(fd[1]), 0);
	ERR(recv(fd[1], &c, 1, MSG_OOB), EINVAL);
}

TEST(oob_inline)
{
	int fd[2], one = 1;
	char c, buf[16];

	pair(fd);
	EQ(setsockopt(fd[1], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)), 0);
	send_text(fd[0], "ab");
	EQ(send(fd[0], "X", 1, MSG_OOB), 1);
	send_text(fd[0], "cd");
	until_inq(fd[1], 5);
	wait_for(fd[1], POLLPRI);
	ERR(recv(fd[1], &c, 1, MSG_OOB), EINVAL);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 2);
	EQ(at_mark(fd[1]), 1);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 3);
	CHECK(!memcmp(buf, "Xcd", 3));
	EQ(at_mark(fd[1]), 0);
}

TEST(oob_passed)
{
	char c, buf[16];
	int fd[2];

	pair(fd);
	EQ(send(fd[0], "X", 1, MSG_OOB), 1);
	wait_for(fd[1], POLLPRI);
	EQ(at_mark(fd[1]), 1);
	/* only the urgent byte is there: that is nothing to read */
	ERR(recv(fd[1], buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
	EQ(at_mark(fd[1]), 0);
	send_text(fd[0], "a");
	wait_for(fd[1], POLLIN);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 1);
	CHECK(buf[0] == 'a');
	/* whoever reads past it has missed it */
	ERR(recv(fd[1], &c, 1, MSG_OOB), EINVAL);
	/* another one is another one */
	EQ(send(fd[0], "Y", 1, MSG_OOB), 1);
	wait_for(fd[1], POLLPRI);
	EQ(recv(fd[1], &c, 1, MSG_OOB), 1);
	CHECK(c == 'Y');
	EQ(close(fd[0]), 0);
	EQ(recv(fd[1], buf, sizeof(buf), 0), 0);
}

TEST(oob_signal)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	int fd[2], i;

	pair(fd);
	catch_signal(SIGURG, 0);
	OK(fcntl(fd[1], F_SETOWN, getpid()));
	EQ(send(fd[0], "X", 1, MSG_OOB), 1);
	for (i = 0; i < PATIENCE && !atomic_load(&signals); i++)
		nanosleep(&ms, NULL);
	EQ(atomic_load(&signals), 1);
}

static int oob_fd;
static char oob_got;

static void get_oob(int sig)
{
	(void)sig;
	if (recv(oob_fd, &oob_got, 1, MSG_OOB) != 1)
		oob_got = '!';
}

/* A reader that is woken by the urgent byte gets it in the signal's handler. */
TEST(oob_in_handler)
{
	struct sigaction act = { .sa_handler = get_oob };
	int fd[2], n;
	char c;

	pair(fd);
	oob_fd = fd[1];
	OK(sigaction(SIGURG, &act, NULL));
	OK(fcntl(fd[1], F_SETOWN, getpid()));
	if (!spawn()) {
		EQ(send(fd[0], "X", 1, MSG_OOB), 1);
		send_text(fd[0], "a");
		_exit(0);
	}
	do {
		n = recv(fd[1], &c, 1, 0);
	} while (n < 0 && errno == EINTR);
	EQ(n, 1);
	CHECK(c == 'a');
	CHECK(oob_got == 'X');
	reap(-1);
}

/* The second one takes the first one's place. */
TEST(oob_twice)
{
	int fd[2];
	char c;

	pair(fd);
	EQ(send(fd[0], "X", 1, MSG_OOB), 1);
	wait_for(fd[1], POLLPRI);
	EQ(recv(fd[1], &c, 1, MSG_OOB), 1);
	EQ(send(fd[0], "Y", 1, MSG_OOB), 1);
	wait_for(fd[1], POLLPRI);
	EQ(recv(fd[1], &c, 1, MSG_OOB), 1);
	CHECK(c == 'Y');
	send_text(fd[0], "a");
	expect_text(fd[1], "a");
}

TEST(oob_waitall)
{
	char buf[16];
	int fd[2];

	pair(fd);
	if (!spawn()) {
		send_text(fd[0], "ab");
		EQ(send(fd[0], "cX", 2, MSG_OOB), 2);
		EQ(recv(fd[0], buf, 1, 0), 1);
		_exit(0);
	}
	/* not more than there is before the mark, which nobody else would tell */
	EQ(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), 3);
	send_text(fd[1], "!");
	reap(-1);
}

TEST(recv_errqueue_none)
{
	char c;
	int fd[2];

	pair(fd);
	ERR(recv(fd[1], &c, 1, MSG_ERRQUEUE), EAGAIN);
}

/* Every send is told of when its memory is the program's again. */
TEST(zerocopy)
{
	union {
		char		buf[256];
		struct cmsghdr	align;
	} control;
	struct msghdr msg = { .msg_control = control.buf, .msg_controllen = sizeof(control) };
	struct sock_extended_err *err;
	int fd[2], i, one = 1, next = 0;

	if (!use_tcp)
		skip("refused, see option_refused");
	pair(fd);
	OK(setsockopt(fd[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	for (i = 0; i < 3; i++) {
		EQ(send(fd[0], "hello", 5, MSG_ZEROCOPY), 5);
		expect_text(fd[1], "hello");
	}
	while (next < 3) {
		wait_for(fd[0], POLLERR);
		msg.msg_controllen = sizeof(control);
		OK(recvmsg(fd[0], &msg, MSG_ERRQUEUE));
		CHECK(CMSG_FIRSTHDR(&msg));
		err = (struct sock_extended_err *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
		EQ(err->ee_origin, SO_EE_ORIGIN_ZEROCOPY);
		EQ(err->ee_errno, 0);
		EQ(err->ee_info, next);
		next = err->ee_data + 1;
	}
	EQ(next, 3);
	ERR(recvmsg(fd[0], &msg, MSG_ERRQUEUE), EAGAIN);
}

TEST(recvfrom_address)
{
	union addr a;
	socklen_t len = sizeof(a);
	char c;
	int fd[2];

	pair(fd);
	send_text(fd[0], "x");
	EQ(recvfrom(fd[1], &c, 1, 0, &a.sa, &len), 1);
	EQ(len, 0);			/* a stream names nobody */
}

TEST(sendto_connected)
{
	union addr a;
	int fd[2];
	socklen_t len = addr_set(&a, dead_port());

	pair(fd);
	EQ(sendto(fd[0], "x", 1, MSG_NOSIGNAL, &a.sa, len), 1);	/* the address is ignored */
	expect_text(fd[1], "x");
}

TEST(send_more)
{
	int fd[2];

	pair(fd);
	EQ(send(fd[0], "one ", 4, MSG_MORE), 4);
	EQ(send(fd[0], "two", 3, 0), 3);
	expect_text(fd[1], "one two");
	/* what is held back does not stay so when the stream ends */
	EQ(send(fd[0], "tail", 4, MSG_MORE), 4);
	OK(shutdown(fd[0], SHUT_WR));
	expect_text(fd[1], "tail");
	expect_eof(fd[1]);
}

TEST(send_more_alone)
{
	int fd[2];

	pair(fd);
	EQ(send(fd[0], "x", 1, MSG_MORE), 1);
	expect_text(fd[1], "x");	/* late perhaps, but without more */
}

TEST(send_pipe)
{
	int fd[2];

	pair(fd);
	OK(shutdown(fd[0], SHUT_WR));
	catch_signal(SIGPIPE, 0);
	ERR(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	EQ(atomic_load(&signals), 0);
	ERR(send(fd[0], "x", 1, 0), EPIPE);
	EQ(atomic_load(&signals), 1);
	ERR(write(fd[0], "x", 1), EPIPE);
	EQ(atomic_load(&signals), 2);
}

TEST(io_unconnected)
{
	int fd = sock();
	char c;

	ERR(recv(fd, &c, 1, 0), ENOTCONN);
	ERR(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
	OK(sock_bind(fd, 0));
	ERR(recv(fd, &c, 1, 0), ENOTCONN);
	ERR(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
}

TEST(io_fault)
{
	void *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char buf[8] = "";
	int fd[2];

	CHECK(hole != MAP_FAILED);
	OK(mprotect((char *)hole + 4096, 4096, PROT_NONE));
	pair(fd);
	ERR(send(fd[0], (void *)8, 4, MSG_NOSIGNAL), EFAULT);
	send_text(fd[0], "safe");
	wait_for(fd[1], POLLIN);
	ERR(recv(fd[1], (void *)8, 4, 0), EFAULT);
	/* nothing of the stream has been lost */
	EQ(recv(fd[1], buf, 4, 0), 4);
	CHECK(!strcmp(buf, "safe"));
}

TEST(vectors)
{
	char a[3], b[5], c[8];
	struct iovec out[] = { { "abc", 3 }, { "", 0 }, { "defghijkl", 9 }, { "mnop", 4 } };
	struct iovec in[] = { { a, 3 }, { b, 5 }, { c, 8 } };
	struct msghdr msg = { .msg_iov = in, .msg_iovlen = 3 };
	int fd[2];

	pair(fd);
	EQ(writev(fd[0], out, 4), 16);
	EQ(recvmsg(fd[1], &msg, MSG_WAITALL), 16);
	CHECK(!memcmp(a, "abc", 3) && !memcmp(b, "defgh", 5) && !memcmp(c, "ijklmnop", 8));
	EQ(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
	EQ(msg.msg_controllen, 0);
}

TEST(mmsg)
{
	char a[3], b[3];
	struct iovec out[] = { { "one", 3 }, { "two", 3 } }, in[] = { { a, 3 }, { b, 3 } };
	struct mmsghdr m[2] = { { { .msg_iov = &out[0], .msg_iovlen = 1 } },
				{ { .msg_iov = &out[1], .msg_iovlen = 1 } } };
	int fd[2];

	pair(fd);
	EQ(sendmmsg(fd[0], m, 2, 0), 2);
	m[0].msg_hdr.msg_iov = &in[0];
	m[1].msg_hdr.msg_iov = &in[1];
	EQ(recvmmsg(fd[1], m, 2, 0, NULL), 2);
	CHECK(!memcmp(a, "one", 3) && !memcmp(b, "two", 3));
}

TEST(control_refused)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd[2];

	pair(fd);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = 0x7777,
			       .cmsg_len = CMSG_LEN(sizeof(int)) };
	ERR(sendmsg(fd[0], &msg, MSG_NOSIGNAL), EINVAL);
	expect_works(fd[0], fd[1]);
}

TEST(fionread)
{
	int fd[2], n = -1;

	pair(fd);
	OK(ioctl(fd[1], FIONREAD, &n));
	EQ(n, 0);
	send_pattern(fd[0], 100, 0);
	wait_for(fd[1], POLLIN);
	OK(ioctl(fd[1], FIONREAD, &n));
	EQ(n, 100);
	recv_pattern(fd[1], 40, 0);
	OK(ioctl(fd[1], SIOCINQ, &n));
	EQ(n, 60);
	recv_pattern(fd[1], 60, 40);
	OK(ioctl(fd[1], FIONREAD, &n));
	EQ(n, 0);
}

TEST(siocoutq)
{
	int fd[2], n = -1;
	size_t sent;

	pair_of_size(fd, 4096);
	OK(ioctl(fd[0], SIOCOUTQ, &n));
	EQ(n, 0);
	sent = fill(fd[0], 0);
	OK(ioctl(fd[0], SIOCOUTQ, &n));
	CHECK(n > 0 && (size_t)n <= sent);
	recv_pattern(fd[1], sent, 0);
	UNTIL(!ioctl(fd[0], SIOCOUTQ, &n) && !n);
	ERR(ioctl(fd[0], SIOCOUTQ, (void *)8), EFAULT);
}

TEST(ioctl_unknown)
{
	int fd[2], n;

	pair(fd);
	ERR(ioctl(fd[0], 0x5aa5, &n), ENOTTY);
}

static int file_with_pattern(size_t len)
{
	int fd = OK(memfd_create("pattern", MFD_CLOEXEC));
	uint8_t buf[16384];
	size_t n, pos;

	for (pos = 0; pos < len; pos += n) {
		n = len - pos < sizeof(buf) ? len - pos : sizeof(buf);
		pattern(buf, n, pos);
		EQ(write(fd, buf, n), n);
	}
	return fd;
}

TEST(sendfile_whole, .timeout = 60)
{
	size_t len = quick ? 1000001 : 10000001, done = 0;
	int file = file_with_pattern(len), fd[2];
	off_t off = 0;

	pair_of_size(fd, 16384);
	if (!spawn()) {
		recv_pattern(fd[1], len, 0);
		expect_eof(fd[1]);
		_exit(0);
	}
	while (done < len)
		done += OK(sendfile(fd[0], file, &off, len - done));
	EQ(off, len);
	OK(shutdown(fd[0], SHUT_WR));
	reap(-1);
}

TEST(sendfile_nonblock)
{
	int file = file_with_pattern(1 << 20), fd[2];
	off_t off = 0;
	ssize_t n;

	pair_of_size(fd, 4096);
	nonblock(fd[0]);
	n = 0;
	while (n < 1 << 20) {
		ssize_t ret = sendfile(fd[0], file, &off, (1 << 20) - n);

		if (ret < 0) {
			EQ(errno, EAGAIN);
			break;
		}
		n += ret;
	}
	EQ(off, n);
	CHECK(n > 0 && n < 1 << 20);
	recv_pattern(fd[1], n, 0);
}

TEST(splice_out_of_socket, .timeout = 60)
{
	size_t len = quick ? 300001 : 3000001, done = 0;
	int fd[2], p[2];
	ssize_t n;

	pair(fd);
	nonblock(fd[1]);
	OK(pipe(p));
	if (!spawn()) {
		send_pattern(fd[0], len, 0);
		_exit(0);
	}
	while (done < len) {
		wait_for(fd[1], POLLIN);
		n = OK(splice(fd[1], NULL, p[1], NULL, len - done,
			      SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
		CHECK(n);
		for (; n; ) {
			uint8_t buf[4096];
			ssize_t got = OK(read(p[0], buf, sizeof(buf)));

			pattern_check(buf, got, done);
			done += got;
			n -= got;
		}
	}
	reap(-1);
	ERR(splice(fd[1], NULL, p[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
	OK(shutdown(fd[0], SHUT_WR));
	EQ(splice(fd[1], NULL, p[1], NULL, 1, 0), 0);
}

TEST(splice_into_socket)
{
	int fd[2], p[2];

	pair(fd);
	OK(pipe(p));
	EQ(write(p[1], "through a pipe", 14), 14);
	EQ(splice(p[0], NULL, fd[0], NULL, 14, 0), 14);
	expect_text(fd[1], "through a pipe");
}

static void do_send_block(struct task *t)
{
	uint8_t block[512];
	int i;

	memset(block, (intptr_t)t->arg, sizeof(block));
	for (i = 0; i < 200; i++)
		EQ(send(t->fd, block, sizeof(block), MSG_NOSIGNAL), sizeof(block));
}

TEST(send_threads)
{
	size_t count[4] = {}, total = 0;
	uint8_t buf[4096];
	struct task t[4];
	int fd[2], i;

	pair_of_size(fd, 4096);
	for (i = 0; i < 4; i++)
		task_start(&t[i], do_send_block, fd[0], (void *)(intptr_t)i);
	while (total < 4 * 200 * 512) {
		ssize_t n = OK(recv(fd[1], buf, sizeof(buf), 0));

		for (i = 0; i < n; i++) {
			CHECK(buf[i] < 4);
			count[buf[i]]++;
		}
		total += n;
	}
	for (i = 0; i < 4; i++) {
		task_join(&t[i]);
		EQ(count[i], 200 * 512);
	}
}

static void do_recv_sum(struct task *t)
{
	uint8_t buf[1000];
	ssize_t n, i;

	while ((n = OK(recv(t->fd, buf, sizeof(buf), 0))))
		for (i = 0; i < n; i++)
			t->ret += buf[i];
}

TEST(recv_threads)
{
	const size_t len = 500000;
	unsigned long want = 0, got = 0;
	struct task t[4];
	size_t i;
	int fd[2];

	pair_of_size(fd, 8192);
	for (i = 0; i < 4; i++)
		task_start(&t[i], do_recv_sum, fd[1], NULL);
	send_pattern(fd[0], len, 0);
	OK(shutdown(fd[0], SHUT_WR));
	for (i = 0; i < 4; i++) {
		task_join(&t[i]);
		got += t[i].ret;
	}
	for (i = 0; i < len; i++) {
		uint8_t c;

		pattern(&c, 1, i);
		want += c;
	}
	EQ(got, want);
}
