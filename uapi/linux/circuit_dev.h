/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/circuit: how a virtual machine monitor is joined to a line, and how a circuit is captured.
 */
#ifndef _UAPI_LINUX_CIRCUIT_DEV_H
#define _UAPI_LINUX_CIRCUIT_DEV_H

#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/circuit.h>

/**
 * struct circuit_attach - argument of CIRCUIT_IOC_ATTACH
 * @size: sizeof(struct circuit_attach), for later growth
 * @flags: must be zero
 * @line: name of a detached line in the exchange of the caller's network
 *	namespace
 * @kick_fd: eventfd that the guest's doorbell signals
 * @call_fd: eventfd that interrupts the guest, by vector 0 of its device
 * @vectors: how many more vectors the device has, fewer than CIRCUIT_VECTORS_MAX
 * @pad: must be zero
 * @vector_fds: address of an array of __s32, the eventfds of those, from vector 1 on
 *
 * The ioctl returns the descriptor of the line's window: a file of the window's
 * size to be mapped shared as the BAR of the guest's device. The line is attached
 * for as long as that file is open or mapped anywhere, and the guest is as good
 * as dead when it no longer is.
 *
 * Errors: EPERM without CAP_NET_ADMIN over the exchange's network namespace,
 * E2BIG or EINVAL for an argument this kernel does not know, ENODEV for an unknown
 * line, EBUSY for one that is attached, EBADF or EINVAL for descriptors that are
 * not eventfds, EFAULT, ENOMEM.
 */
struct circuit_attach {
	__u32	size;
	__u32	flags;
	char	line[CIRCUIT_NAME_SIZE];
	__s32	kick_fd;
	__s32	call_fd;
	__u32	vectors;
	__u32	pad;
	__u64	vector_fds;
};

/* Arguments may grow, and say their size themselves. */
#define CIRCUIT_IOC_MAGIC	0xCC
#define CIRCUIT_IOC_ATTACH	_IO(CIRCUIT_IOC_MAGIC, 1)

/**
 * struct circuit_tap_request - argument of CIRCUIT_IOC_TAP
 * @size: sizeof(struct circuit_tap_request), for later growth
 * @flags: must be zero
 * @circuit: number of a circuit in the exchange of the caller's network namespace
 *
 * The ioctl returns a descriptor from which what the circuit carries can be read, as records, until
 * it has ended. The first of each direction begins with what was written and not yet read then.
 * Nobody waits for the reader: what is overwritten before it comes by is lost.
 *
 * Errors: EPERM without CAP_NET_ADMIN over the exchange's network namespace, E2BIG or EINVAL for an
 * argument this kernel does not know, ENOENT for an unknown circuit, ENOTCONN for a call that
 * waits, EBUSY if somebody captures it already, ENOMEM.
 */
struct circuit_tap_request {
	__u32	size;
	__u32	flags;
	__u64	circuit;
};

/* Flags of a record. */
#define CIRCUIT_TAP_LOST	(1u << 0)	/* some before these were lost */
#define CIRCUIT_TAP_FIN		(1u << 1)	/* the end has nothing more to say */
#define CIRCUIT_TAP_RST		(1u << 2)	/* the end has cut the circuit off */

#define CIRCUIT_TAP_RECORD_MAX	32768u

/**
 * struct circuit_tap_record - some bytes of one direction
 * @time: when they were found, ns since 1970
 * @offset: how many the end had written before them, as it says
 * @len: how many there are, at most CIRCUIT_TAP_RECORD_MAX; they follow
 * @end: who has written them: 0 the caller, 1 the called end
 * @flags: CIRCUIT_TAP_*
 *
 * Records follow each other without padding, and a read may end anywhere.
 */
struct circuit_tap_record {
	__u64	time;
	__u64	offset;
	__u32	len;
	__u16	end;
	__u16	flags;
};

#define CIRCUIT_IOC_TAP		_IO(CIRCUIT_IOC_MAGIC, 2)

#endif /* _UAPI_LINUX_CIRCUIT_DEV_H */
