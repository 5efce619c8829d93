// SPDX-License-Identifier: GPL-2.0
/*
 * circuit_guest: circuit-switched sockets for a virtual machine.
 */
#include <linux/module.h>
#include "guest.h"

static bool transport;

static int __init circuit_guest_init(void)
{
	int err;

	/*
	 * Sockets after all that they use; and then nothing that can fail, since whoever has
	 * made one would be left without the module. When a line is up there are sockets.
	 */
	err = circuit_path_init();
	if (err)
		return err;
	err = circuit_redirect_init();
	if (err)
		goto path;
	err = circuit_guest_netlink_init();
	if (err)
		goto redirect;
	err = circuit_inet_init();
	if (err)
		goto netlink;
	err = circuit_udp_init();
	if (err)
		goto netlink;
	err = circuit_family_init();
	if (err)
		goto udp;
	circuit_inet_register();
	circuit_udp_register();
	circuit_redirect_start();
	err = circuit_ivshmem_init();
	if (err)
		pr_err("circuit: no driver for ivshmem, so no line (%d)\n", err);
	transport = !err;
	return 0;

udp:
	circuit_udp_exit();
netlink:
	circuit_guest_netlink_exit();
redirect:
	circuit_redirect_exit();
path:
	circuit_path_exit();
	return err;
}

static void __exit circuit_guest_exit(void)
{
	/* Sockets that may be ends of circuits pin the module: none is left. */
	if (transport)
		circuit_ivshmem_exit();		/* no line comes up any more */
	circuit_guest_netlink_exit();
	circuit_redirect_exit();
	circuit_udp_unregister();
	circuit_inet_unregister();
	circuit_udp_exit();
	circuit_family_exit();
	circuit_path_exit();
}

module_init(circuit_guest_init);
module_exit(circuit_guest_exit);

MODULE_DESCRIPTION("Circuit-switched VM sockets");
MODULE_AUTHOR("The Switchboard authors");
MODULE_LICENSE("GPL");
