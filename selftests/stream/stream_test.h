/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a sock stream promises: the harness.
 *
 * A case is a function that runs in a process, and a process group, of its own.
 * It ends well by returning, and badly by fail(), from whatever thread or child;
 * both put an end to the whole group. Its sockets are of AF_CIRCUIT with both
 * ends on this VM's line or, with --tcp, of TCP on 127.0.0.1: what a case
 * expects of circuits is what TCP does, so every case that is not marked
 * .circuits_only must pass over TCP as well.
 *
 * Nothing sleeps to let something else happen. A case waits for what the sockets
 * themselves tell, for a thread to be asleep in a system call (task_asleep()), or
 * polls for a condition within limits; and "nothing happens" means for QUIET ms.
 */
#ifndef _STREAM_TEST_H
#define _STREAM_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/circuit.h>

#define QUIET		100	/* ms */
#define PATIENCE	8000	/* ms */

/**
 * struct test - one case
 * @name: its name
 * @fn: what to run
 * @circuits_only: why TCP, or AF_UNIX, cannot pass it, or NULL
 * @map: it is about circuits that are mapped, and run of AF_CIRCUIT or with --map
 * @inet_only: it is about AF_INET and AF_INET6
 * @circuit_only: it is about AF_CIRCUIT
 * @type: of the sockets that it is about: 0 or SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM
 * @timeout: seconds, 0 for the usual
 * @next: the one defined after it
 */
struct test {
	const char	*name;
	void		(*fn)(void);
	const char	*circuits_only;
	bool		map;
	bool		inet_only;
	bool		circuit_only;
	int		type;
	unsigned int	timeout;
	struct test	*next;
};

#define TEST(id, ...)								\
	static void id(void);							\
	static struct test test_##id = { .name = #id, .fn = id, __VA_ARGS__ };	\
	__attribute__((constructor)) static void register_##id(void)		\
	{									\
		test_register(&test_##id);					\
	}									\
	static void id(void)

void test_register(struct test *t);

extern int family;	/* AF_CIRCUIT, AF_INET, AF_INET6 or AF_UNIX */
extern int type;	/* SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM */
extern int protocol;	/* --protocol */
extern bool use_tcp;	/* --tcp, --inet, --unix, --udp: not circuits by themselves */
extern bool quick;	/* --quick */
extern bool limits;	/* --limits */

/* How often to do something at random: @few times if it is to be quick, or what --rounds says. */
int rounds(int few, int many);

_Noreturn __attribute__((format(printf, 3, 4)))
void fail_at(const char *file, int line, const char *fmt, ...);
_Noreturn __attribute__((format(printf, 1, 2)))
void skip(const char *fmt, ...);
const char *errname(int err);

#define fail(...)	fail_at(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(cond)	do {							\
	if (!(cond))								\
		fail("not true: %s", #cond);					\
} while (0)

/* A system call that must not fail; its value. */
#define OK(expr)	({							\
	__typeof__(expr) ok_ = (expr);						\
	if (ok_ < 0)								\
		fail("%s: %s", #expr, errname(errno));				\
	ok_;									\
})

#define EQ(expr, want)	do {							\
	long long eq_got = (expr), eq_want = (want);				\
	if (eq_got < 0 && eq_want >= 0)						\
		fail("%s is %lld (%s), expected %lld", #expr, eq_got,		\
		     errname(errno), eq_want);					\
	if (eq_got != eq_want)							\
		fail("%s is %lld, expected %lld", #expr, eq_got, eq_want);	\
} while (0)

/* A system call that must fail, and how. */
#define ERR(expr, want)	do {							\
	long long err_got = (expr);						\
	int err_is = errno;							\
	if (err_got >= 0)							\
		fail("%s is %lld, expected %s", #expr, err_got, errname(want));	\
	if (err_is != (want))							\
		fail("%s fails with %s, expected %s", #expr, errname(err_is),	\
		     errname(want));						\
} while (0)

/* Addresses. */
union addr {
	struct sockaddr		sa;
	struct sockaddr_in	in;
	struct sockaddr_in6	in6;
	struct sockaddr_circuit	cc;
	struct sockaddr_un	un;
	char			bytes[128];
};

socklen_t addr_set(union addr *a, unsigned int port);
socklen_t addr_len(void);
socklen_t addr_too_short(void);
void addr_set_foreign(union addr *a);
void addr_set_loopback(union addr *a, unsigned int port);
unsigned int addr_port(const union addr *a);
unsigned int port_of(int fd);
unsigned int peer_port_of(int fd);

/* Sockets. */
int sock(void);
int sock_bind(int fd, unsigned int port);
int sock_connect(int fd, unsigned int port);
int listener(int backlog, unsigned int *port);
int call(unsigned int port);
int answer(int fd);
void pair(int fd[2]);
void pair_of_size(int fd[2], int size);
void nonblock(int fd);
void option(int fd, int opt, int val);
int get_option(int fd, int opt);
void timeout(int fd, int opt, int ms);
void linger(int fd, int on, int seconds);
int so_error(int fd);
int dead_port(void);
void abort_sock(int fd);
int full_listener(int backlog, unsigned int *port);
int pending_call(unsigned int port);

/* Waiting. */
#define EV_ALL	(POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLRDBAND | \
			 POLLWRNORM | POLLWRBAND)
#define EV_IN		(POLLIN | POLLRDNORM)
#define EV_OUT	(POLLOUT | POLLWRNORM)

int poll_now(int fd);
void wait_for(int fd, int events);
void wait_quiet(int fd, int events);
void expect_mask(int fd, int mask);
long long now_ms(void);

#define UNTIL(cond)	do {							\
	long long until_ = now_ms() + PATIENCE;					\
	while (!(cond)) {							\
		if (now_ms() > until_)						\
			fail("still not true: %s", #cond);			\
		poll(NULL, 0, 1);						\
	}									\
} while (0)

/* Data. */
void pattern(void *buf, size_t len, uint64_t pos);
void pattern_check(const void *buf, size_t len, uint64_t pos);
void send_all(int fd, const void *buf, size_t len);
void recv_all(int fd, void *buf, size_t len);
void send_pattern(int fd, size_t len, uint64_t pos);
void recv_pattern(int fd, size_t len, uint64_t pos);
void send_text(int fd, const char *s);
void expect_text(int fd, const char *s);
void expect_eof(int fd);
void expect_works(int a, int b);
void expect_calls(int l);
size_t fill(int fd, uint64_t pos);
uint32_t rnd(uint32_t *state);

/* Threads and children. */
struct task {
	pthread_t	thread;
	atomic_int	tid;
	atomic_bool	done;
	void		(*fn)(struct task *t);
	void		*arg;
	int		fd;
	long		ret;
	int		err;
};

void task_start(struct task *t, void (*fn)(struct task *t), int fd, void *arg);
void task_asleep(struct task *t, long nr);
void task_nag(struct task *t, int sig);
void task_join(struct task *t);
pid_t spawn(void);
void reap(pid_t pid);
void reap_killed(pid_t pid, int sig);

extern atomic_int signals;	/* how many were caught */
void catch_signal(int sig, int flags);

#endif /* _STREAM_TEST_H */
