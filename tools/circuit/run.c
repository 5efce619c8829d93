// SPDX-License-Identifier: GPL-2.0
/*
 * circuit line run: join a virtual machine monitor to a line.
 *
 * QEMU's ivshmem-doorbell device expects a server on a socket. All that server ever
 * says fits the socket's buffer, so it is written there before the VMM starts, and
 * there is nothing left to serve: this process becomes the VMM. The far end of the
 * socket stays open in it, since the device would take its closing for an unplug.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/circuit_dev.h>
#include <linux/circuit_sig.h>
#include "circuit.h"

#define IVSHMEM_PROTOCOL	0
#define DEVICE			"/dev/circuit"

static int fail(const char *what)
{
	fprintf(stderr, "circuit: line run: %s: %s\n", what, strerror(errno));
	return EXIT_KERNEL;
}

/* One message of the ivshmem protocol: a number, perhaps with a descriptor. */
static int tell(int sock, int64_t value, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = {};
	struct iovec iov = { &value, sizeof(value) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_DONTWAIT) == sizeof(value) ? 0 : -1;
}

/* Every eventfd before the window: QEMU takes the device for ready after that. */
static int handshake(int sock, int kick, const int *call, unsigned int vectors, int window)
{
	int err = tell(sock, IVSHMEM_PROTOCOL, -1) || tell(sock, CIRCUIT_PEER_GUEST, -1) ||
		  tell(sock, CIRCUIT_PEER_HOST, kick);

	while (vectors--)
		err = err || tell(sock, CIRCUIT_PEER_GUEST, *call++);
	return err || tell(sock, -1, window);
}

static int attach(const char *line, int kick, const int *call, unsigned int vectors)
{
	struct circuit_attach arg = {
		.size = sizeof(arg),
		.kick_fd = kick,
		.call_fd = call[0],
		.vectors = vectors - 1,
		.vector_fds = (uintptr_t)(call + 1),
	};
	int fd, window;

	if (strlen(line) >= sizeof(arg.line)) {
		usage_error("line run: '%s' is too long for a line's name", line);
		return -1;
	}
	strcpy(arg.line, line);
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			fputs("circuit: no operator here: is the module circuit_host loaded?\n",
			      stderr);
		else
			fail(DEVICE);
		return -1;
	}
	window = ioctl(fd, CIRCUIT_IOC_ATTACH, &arg);
	if (window < 0) {
		switch (errno) {
		case ENODEV:
			fprintf(stderr, "circuit: no such line: %s\n", line);
			break;
		case EBUSY:
			fprintf(stderr, "circuit: line %s is attached to another VM\n", line);
			break;
		default:
			fail(line);
		}
	}
	close(fd);
	return window;
}

int do_line_run(int argc, char **argv)
{
	int sock[2], kick, call[CIRCUIT_VECTORS_MAX], window, n;
	unsigned int vectors, i;
	char chardev[64], device[96];
	char **args;

	if (argc < 3 || strcmp(argv[1], "--"))
		return usage_error("line run: NAME -- VMM [ ARG ]...");
	/* One for each of the guest's processors: more than this machine has, it is not likely to have. */
	vectors = sysconf(_SC_NPROCESSORS_ONLN);
	if (vectors - 1 >= CIRCUIT_VECTORS_MAX)
		vectors = CIRCUIT_VECTORS_MAX;
	kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kick < 0)
		return fail("eventfd");
	for (i = 0; i < vectors; i++) {
		call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (call[i] < 0)
			return fail("eventfd");
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		return fail("socketpair");
	window = attach(argv[0], kick, call, vectors);
	if (window < 0)
		return EXIT_KERNEL;
	if (handshake(sock[1], kick, call, vectors, window))
		return fail("handshake");

	n = argc - 2;
	args = calloc(n + 5, sizeof(*args));
	if (!args)
		return fail("memory");
	memcpy(args, argv + 2, n * sizeof(*args));
	snprintf(chardev, sizeof(chardev), "socket,id=circuit-line,fd=%d", sock[0]);
	args[n++] = "-chardev";
	args[n++] = chardev;
	args[n++] = "-device";
	snprintf(device, sizeof(device), "ivshmem-doorbell,chardev=circuit-line,vectors=%u,master=off",
		 vectors);
	args[n++] = device;
	execvp(args[0], args);
	return fail(args[0]);
}
