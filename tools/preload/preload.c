// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * libcircuit-preload: TCP and UDP sockets that may become circuits, for a program that does not
 * know of them and on a kernel that does not let anybody else see to it.
 *
 *	LD_PRELOAD=libcircuit-preload.so PROGRAM
 *
 * It has no effect on programs that are static or make system calls of their own, and
 * none where there are no circuits: the program then gets what it asked for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/circuit.h>

#define TYPE_MASK	0xf	/* the rest are SOCK_CLOEXEC and SOCK_NONBLOCK */

static int next_socket(int domain, int type, int protocol)
{
	static int (*next)(int, int, int);

	if (!next)
		next = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	return next ? next(domain, type, protocol) : syscall(SYS_socket, domain, type, protocol);
}

/* What is in the way of every socket, and not of this one; it is not asked for again then. */
static int is_lasting(int error)
{
	return error == EPROTONOSUPPORT || error == EINVAL || error == ESOCKTNOSUPPORT;
}

__attribute__((visibility("default")))
int socket(int domain, int type, int protocol)
{
	static volatile char without[2][2];
	int saved = errno, v6 = domain == AF_INET6, dgram = (type & TYPE_MASK) == SOCK_DGRAM, fd;

	if ((domain != AF_INET && !v6) || without[v6][dgram] ||
	    (!dgram && (type & TYPE_MASK) != SOCK_STREAM) ||
	    (protocol && protocol != (dgram ? IPPROTO_UDP : IPPROTO_TCP)))
		return next_socket(domain, type, protocol);
	fd = next_socket(domain, type, IPPROTO_CIRCUIT);
	if (fd >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		return fd;
	if (is_lasting(errno))
		without[v6][dgram] = 1;
	errno = saved;
	return next_socket(domain, type, protocol);
}
