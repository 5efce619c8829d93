/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/circuit: how a virtual machine monitor is joined to a line.
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
 * @call_fd: eventfd that interrupts the guest
 *
 * The ioctl returns the descriptor of the line's window: a file of the window's
 * size to be mapped shared as the BAR of the guest's device. The line is attached
 * for as long as that file is open or mapped anywhere, and the guest is as good
 * as dead when it no longer is.
 *
 * Errors: EPERM without CAP_NET_ADMIN over the exchange's network namespace,
 * E2BIG or EINVAL for an argument this kernel does not know, ENODEV for an unknown
 * line, EBUSY for one that is attached, EBADF or EINVAL for descriptors that are
 * not eventfds, ENOMEM.
 */
struct circuit_attach {
	__u32	size;
	__u32	flags;
	char	line[CIRCUIT_NAME_SIZE];
	__s32	kick_fd;
	__s32	call_fd;
};

#define CIRCUIT_IOC_MAGIC	0xCC
#define CIRCUIT_IOC_ATTACH	_IOW(CIRCUIT_IOC_MAGIC, 1, struct circuit_attach)

#endif /* _UAPI_LINUX_CIRCUIT_DEV_H */
