// SPDX-License-Identifier: GPL-2.0
/*
 * circuit-cat - standard input and output over a circuit.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "../reason.h"

#define BUFFER	(256u << 10)

static bool verbose, stats, no_shutdown;

static const char help[] =
"Usage: circuit-cat [ OPTIONS ] LINE PORT       call a port of a line\n"
"       circuit-cat [ OPTIONS ] -l PORT         wait for a call\n"
"\n"
"  -l  listen; one call, or with -k one after the other\n"
"  -N  do not end the circuit's sending side at the end of the input\n"
"  -w  give a call up after so many seconds\n"
"  -b  size of the rings in bytes\n"
"  -s  print how much went each way, and how fast, at the end\n"
"  -v  say what happens\n";

struct pipe {
	int in, out;
	char *buf;
	size_t have, at;
	bool eof, done;
	unsigned long long bytes;
};

static const char *reason_text(int s)
{
	__u32 reason = 0;
	socklen_t len = sizeof(reason);

	if (getsockopt(s, SOL_CIRCUIT, CIRCUIT_SO_REASON, &reason, &len) || !reason ||
	    reason >= CIRCUIT_REASON_GUEST_MAX)
		return NULL;
	return reasons[reason].text;
}

static int fail(const char *what, int s)
{
	int err = errno;
	const char *reason = s >= 0 ? reason_text(s) : NULL;

	fprintf(stderr, "circuit-cat: %s: %s%s%s\n", what, strerror(err), reason ? ": " : "",
		reason ? reason : "");
	return 1;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Move what can be moved now. Returns -1 if @p->in (or @p->out, if @*out) failed. */
static int pump(struct pipe *p, bool can_read, bool can_write, bool *out)
{
	ssize_t n;

	if (p->at == p->have && !p->eof && can_read) {
		n = read(p->in, p->buf, BUFFER);
		*out = false;
		if (n < 0 && !would_block())
			return -1;
		if (n == 0)
			p->eof = true;
		if (n > 0) {
			p->have = n;
			p->at = 0;
			can_write = true;
		}
	}
	if (p->at < p->have && can_write) {
		n = write(p->out, p->buf + p->at, p->have - p->at);
		*out = true;
		if (n < 0 && !would_block())
			return -1;
		if (n > 0) {
			p->at += n;
			p->bytes += n;
		}
	}
	return 0;
}

static void report(const struct pipe *up, const struct pipe *down, const struct timespec *start)
{
	struct timespec now;
	double s;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s = now.tv_sec - start->tv_sec + (now.tv_nsec - start->tv_nsec) * 1e-9;
	fprintf(stderr, "circuit-cat: sent %llu, received %llu bytes in %.2f s: %.1f MB/s\n",
		up->bytes, down->bytes, s, (up->bytes + down->bytes) / s / 1e6);
}

/*
 * Both ways until both have ended. One that listens does not wait for its own input:
 * it would sit at a terminal for ever after the caller has gone.
 */
static int cat(int s, bool listening)
{
	static char buf[2][BUFFER];
	struct pipe up = { .in = 0, .out = s, .buf = buf[0] };
	struct pipe down = { .in = s, .out = 1, .buf = buf[1] };
	struct timespec start;
	bool out;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	fcntl(s, F_SETFL, fcntl(s, F_GETFL) | O_NONBLOCK);
	for (;;) {
		struct pollfd p[3] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };

		if (up.eof && up.at == up.have && !up.done) {
			if (!no_shutdown)
				shutdown(s, SHUT_WR);
			up.done = true;
		}
		down.done = down.eof && down.at == down.have;
		if (down.done && (up.done || (listening && up.at == up.have)))
			break;
		if (!up.done && up.at == up.have)
			p[0] = (struct pollfd){ 0, POLLIN, 0 };
		p[1].fd = s;
		p[1].events = (up.at < up.have ? POLLOUT : 0) |
			      (down.at == down.have && !down.eof ? POLLIN : 0);
		if (!p[1].events)
			p[1].fd = -1;
		if (down.at < down.have)
			p[2] = (struct pollfd){ 1, POLLOUT, 0 };
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return fail("poll", -1);
		if (!up.done && pump(&up, p[0].revents, p[1].revents & (POLLOUT | POLLERR), &out)) {
			ret = fail(out ? "send" : "standard input", out ? s : -1);
			break;
		}
		if (pump(&down, p[1].revents & (POLLIN | POLLHUP | POLLERR), p[2].revents, &out)) {
			ret = fail(out ? "standard output" : "receive", out ? -1 : s);
			break;
		}
	}
	if (stats)
		report(&up, &down, &start);
	return ret;
}

static unsigned long number(const char *text, const char *what, unsigned long max)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 0);
	if (errno || *end || !v || v > max || !isdigit(text[0])) {
		fprintf(stderr, "circuit-cat: '%s' is not a %s\n", text, what);
		exit(2);
	}
	return v;
}

static int serve(int s, struct sockaddr_circuit *addr, bool again)
{
	struct sockaddr_circuit peer;
	int c, ret;

	if (bind(s, (struct sockaddr *)addr, sizeof(*addr)))
		return fail("bind", s);
	if (listen(s, again ? 16 : 0))
		return fail("listen", s);
	if (verbose)
		fprintf(stderr, "circuit-cat: waiting on port %u\n", addr->sc_port);
	do {
		socklen_t len = sizeof(peer);

		c = accept4(s, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
		if (c < 0)
			return fail("accept", s);
		if (verbose)
			fprintf(stderr, "circuit-cat: call from %s:%u\n", peer.sc_line,
				peer.sc_port);
		if (!again)
			close(s);
		ret = cat(c, true);
		close(c);
	} while (again);
	return ret;
}

int main(int argc, char **argv)
{
	struct sockaddr_circuit addr = { .sc_family = AF_CIRCUIT };
	struct timeval timeout = {};
	bool listening = false, again = false;
	int c, s, ring = 0;

	while ((c = getopt(argc, argv, "lkNvsw:b:h")) != -1) {
		switch (c) {
		case 'l':
			listening = true;
			break;
		case 'k':
			again = true;
			break;
		case 'N':
			no_shutdown = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 's':
			stats = true;
			break;
		case 'w':
			timeout.tv_sec = number(optarg, "number of seconds", INT_MAX);
			break;
		case 'b':
			ring = number(optarg, "number of bytes", INT_MAX);
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc != (listening ? 1 : 2)) {
		fputs(help, stderr);
		return 2;
	}
	addr.sc_port = number(argv[argc - 1], "port", 0xffffffff);
	if (!listening) {
		if (strlen(argv[0]) >= sizeof(addr.sc_line)) {
			fprintf(stderr, "circuit-cat: '%s' is too long for a line's name\n", argv[0]);
			return 2;
		}
		strcpy(addr.sc_line, argv[0]);
	}
	signal(SIGPIPE, SIG_IGN);
	s = socket(AF_CIRCUIT, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0) {
		if (errno == EAFNOSUPPORT)
			fputs("circuit-cat: no circuits here: is the module circuit_guest loaded?\n",
			      stderr);
		else
			fail("socket", -1);
		return 1;
	}
	if (ring && (setsockopt(s, SOL_SOCKET, SO_SNDBUF, &ring, sizeof(ring)) ||
		     setsockopt(s, SOL_SOCKET, SO_RCVBUF, &ring, sizeof(ring))))
		return fail("ring size", -1);
	if (listening)
		return serve(s, &addr, again);
	if (timeout.tv_sec)
		setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(s, (struct sockaddr *)&addr, sizeof(addr))) {
		if (errno == EINPROGRESS)
			errno = ETIMEDOUT;
		return fail(argv[0][0] ? argv[0] : "this line", s);
	}
	timeout.tv_sec = 0;
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (verbose)
		fprintf(stderr, "circuit-cat: connected\n");
	return cat(s, false);
}
