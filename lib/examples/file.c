// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Files over circuits. The server has the kernel read the file straight into the ring, the client
 * has it written from there: neither process copies a byte.
 *
 *	file -l WHERE DIRECTORY		serve the files of that directory
 *	file WHERE NAME >COPY		fetch one
 *
 * The client sends the name and shuts down; the server answers with an errno and a length, as
 * struct answer, and the bytes. WHERE is described in endpoint.h.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include "endpoint.h"

#define PIECE	65536

struct answer {
	uint32_t error;
	uint32_t zero;
	uint64_t length;
};

/* Everything there is up to the end, at most that much; or a negative errno. */
static ssize_t receive(struct circuit *c, void *to, size_t len)
{
	size_t got = 0;
	ssize_t ret;

	while (got < len) {
		ret = circuit_read(c, (char *)to + got, len - got);
		if (ret == -EAGAIN)
			ret = circuit_wait(c, CIRCUIT_IN, -1);
		else if (ret <= 0)
			return ret ? ret : (ssize_t)got;
		else
			got += ret;
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	return got;
}

static int serve_file(struct circuit *c, int file, uint64_t left)
{
	ssize_t room, ret;
	void *to;

	while (left) {
		room = circuit_tx_reserve(c, &to, left < PIECE ? left : PIECE);
		if (room == -EMSGSIZE)	/* a ring smaller than that */
			room = circuit_tx_reserve(c, &to, 1);
		if (room == -EAGAIN) {
			ret = circuit_wait(c, CIRCUIT_OUT, -1);
			if (ret < 0 && ret != -EINTR)
				return ret;
			continue;
		}
		if (room < 0)
			return room;
		if ((uint64_t)room > left)
			room = left;
		ret = read(file, to, room < PIECE ? room : PIECE);
		if (ret <= 0)
			return ret ? -errno : -EIO;	/* it has shrunk */
		left -= ret;
		ret = circuit_tx_commit(c, ret);
		if (ret)
			return ret;
	}
	return 0;
}

static int serve(struct circuit *c, int dir)
{
	struct answer answer = { 0 };
	char name[256] = "";
	struct stat st;
	ssize_t ret;
	int file;

	ret = receive(c, name, sizeof(name) - 1);
	if (ret < 0)
		return ret;
	file = strchr(name, '/') ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	if (file < 0 || fstat(file, &st) || !S_ISREG(st.st_mode))
		answer.error = ENOENT;
	else
		answer.length = st.st_size;
	ret = circuit_write(c, &answer, sizeof(answer));	/* the first bytes fit */
	if (ret < 0 || answer.error)
		return ret < 0 ? ret : 0;
	return serve_file(c, file, answer.length);
}

static void listen_at(const char *where, const char *directory)
{
	int listener = endpoint_listen(where, 0), dir = open(directory, O_RDONLY | O_DIRECTORY), fd;
	struct circuit *c;
	int ret;

	if (dir < 0)
		die(directory, errno);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		c = endpoint_accept(listener, &fd);
		if (!c)
			continue;
		if (!fork()) {
			ret = serve(c, dir);
			if (ret)
				fprintf(stderr, "a client: %s\n", strerror(-ret));
			circuit_close(c);
			_exit(!!ret);
		}
		circuit_detach(c);	/* it is the child's */
		close(fd);
	}
}

static int fetch(const char *where, const char *name)
{
	struct answer answer;
	const void *from;
	struct circuit *c;
	uint64_t got = 0;
	ssize_t ret;
	int fd;

	c = endpoint_connect(where, 0, &fd);
	ret = circuit_write(c, name, strlen(name));
	if (ret >= 0)
		ret = circuit_shutdown(c);
	if (ret)
		die(where, -ret);
	ret = receive(c, &answer, sizeof(answer));
	if (ret != sizeof(answer))
		die(where, ret < 0 ? -ret : EPROTO);
	if (answer.error)
		die(name, answer.error);
	while (got < answer.length) {
		ret = circuit_rx_peek(c, &from, 1);
		if (ret == -EAGAIN) {
			ret = circuit_wait(c, CIRCUIT_IN, -1);
			if (ret < 0 && ret != -EINTR)
				die(where, -ret);
			continue;
		}
		if (ret <= 0)
			die(where, ret ? -ret : EPIPE);
		ret = write(1, from, ret);
		if (ret < 0)
			die("standard output", errno);
		got += ret;
		ret = circuit_rx_release(c, ret);
		if (ret)
			die(where, -ret);
	}
	circuit_close(c);
	close(fd);
	return got != answer.length;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "-l"))
		listen_at(argv[2], argv[3]);
	if (argc == 3)
		return fetch(argv[1], argv[2]);
	fprintf(stderr, "usage: file -l WHERE DIRECTORY\n       file WHERE NAME\n");
	return 2;
}
