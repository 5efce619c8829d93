/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Where the examples meet: "LINE:PORT" of a circuit exchange (":PORT" to listen, or on one's own
 * line), or the path of a socket of AF_UNIX, recognised by its slash. The rest of a program need
 * not know which it was.
 */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <circuit.h>

#define LOCAL_RING	(256u << 10)

static inline _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(1);
}

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_circuit circuit;
};

static inline socklen_t endpoint_address(const char *where, union address *a)
{
	const char *port = strrchr(where, ':');

	memset(a, 0, sizeof(*a));
	if (strchr(where, '/')) {
		a->local.sun_family = AF_UNIX;
		if (strlen(where) >= sizeof(a->local.sun_path))
			die(where, ENAMETOOLONG);
		strcpy(a->local.sun_path, where);
		return sizeof(a->local);
	}
	a->circuit.sc_family = AF_CIRCUIT;
	if (!port || port - where >= CIRCUIT_NAME_SIZE)
		die(where, EINVAL);
	memcpy(a->circuit.sc_line, where, port - where);
	a->circuit.sc_port = strtoul(port + 1, NULL, 0);
	return sizeof(a->circuit);
}

/* A listening socket; @messages as of circuit_offer(). */
static inline int endpoint_listen(const char *where, unsigned int messages)
{
	union address a;
	socklen_t len = endpoint_address(where, &a);
	int fd = socket(a.any.sa_family, a.any.sa_family == AF_CIRCUIT && messages ?
			SOCK_SEQPACKET : SOCK_STREAM, 0);

	if (a.any.sa_family == AF_UNIX)
		unlink(where);
	if (fd < 0 || bind(fd, &a.any, len) || listen(fd, 16))
		die(where, errno);
	return fd;
}

/* The circuit of the next that calls, and its socket. */
static inline struct circuit *endpoint_accept(int listener, int *fd)
{
	int domain, error;
	socklen_t len = sizeof(domain);
	struct circuit *c;

	*fd = accept(listener, NULL, NULL);
	if (*fd < 0 || getsockopt(*fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		die("accept", errno);
	error = domain == AF_UNIX ? -circuit_accept(&c, *fd, LOCAL_RING) : -circuit_open(&c, *fd);
	if (!error)
		return c;
	fprintf(stderr, "a caller without a circuit: %s\n", strerror(error));
	close(*fd);
	return NULL;
}

static inline struct circuit *endpoint_connect(const char *where, unsigned int messages, int *fd)
{
	union address a;
	socklen_t len = endpoint_address(where, &a);
	struct circuit *c;
	int error;

	*fd = socket(a.any.sa_family, a.any.sa_family == AF_CIRCUIT && messages ?
		     SOCK_SEQPACKET : SOCK_STREAM, 0);
	if (*fd < 0 || connect(*fd, &a.any, len))
		die(where, errno);
	if (a.any.sa_family == AF_UNIX)
		error = -circuit_offer(&c, *fd, LOCAL_RING, LOCAL_RING, messages);
	else
		error = -circuit_open(&c, *fd);
	if (error)
		die(where, error);
	return c;
}

#endif /* ENDPOINT_H */
