// SPDX-License-Identifier: GPL-2.0
/*
 * circuit_guest: circuit-switched sockets for a virtual machine.
 */
#include <linux/module.h>
#include "guest.h"

static int __init circuit_guest_init(void)
{
	int err;

	err = circuit_family_init();
	if (err)
		return err;
	err = circuit_path_init();
	if (err)
		goto family;
	err = circuit_inet_init();
	if (err)
		goto path;
	err = circuit_redirect_init();
	if (err)
		goto inet;
	err = circuit_guest_netlink_init();
	if (err)
		goto redirect;
	err = circuit_ivshmem_init();
	if (err)
		goto netlink;
	return 0;

netlink:
	circuit_guest_netlink_exit();
redirect:
	circuit_redirect_exit();
inet:
	circuit_inet_exit();
path:
	circuit_path_exit();
family:
	circuit_family_exit();
	return err;
}

static void __exit circuit_guest_exit(void)
{
	/* Sockets that may be ends of circuits pin the module: none is left. */
	circuit_ivshmem_exit();		/* no line comes up any more */
	circuit_guest_netlink_exit();
	circuit_redirect_exit();
	circuit_inet_exit();
	circuit_path_exit();
	circuit_family_exit();
}

module_init(circuit_guest_init);
module_exit(circuit_guest_exit);

MODULE_DESCRIPTION("Circuit-switched VM sockets");
MODULE_AUTHOR("The Switchboard authors");
MODULE_LICENSE("GPL");
