/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Circuit-switched sockets: what a program needs to use them.
 *
 * A *line* is the attachment of one virtual machine to an exchange and has a
 * name; a *port* names a service on a line; the pair (line, port) is a socket
 * address. The ports below 1024 need CAP_NET_BIND_SERVICE, as in TCP, and the
 * ports from CIRCUIT_PORT_EPHEMERAL up are handed out by an unbound connect()
 * or by a bind() to port 0.
 */
#ifndef _UAPI_LINUX_CIRCUIT_H
#define _UAPI_LINUX_CIRCUIT_H

#include <linux/types.h>
#include <linux/socket.h>

/*
 * A module cannot add an address family at or above AF_MAX, so this one takes
 * the number that mainline reserves for AF_ASH and has never used.
 */
#ifndef AF_CIRCUIT
#define AF_CIRCUIT		18
#define PF_CIRCUIT		AF_CIRCUIT
#endif

/*
 * The protocol of AF_INET and AF_INET6 stream sockets that are TCP sockets and become
 * circuits where the operator connects them; the number is free in IANA's sense.
 */
#ifndef IPPROTO_CIRCUIT
#define IPPROTO_CIRCUIT		261
#endif

/* Length of a line's name with its terminating NUL. */
#define CIRCUIT_NAME_SIZE	32

#define CIRCUIT_PORT_ANY	0
#define CIRCUIT_PORT_RESERVED	1024	/* first port that needs no capability */
#define CIRCUIT_PORT_EPHEMERAL	65536	/* first port that is handed out */

/**
 * struct sockaddr_circuit - the address of a service on a line
 * @sc_family: AF_CIRCUIT
 * @sc_flags: must be zero
 * @sc_port: the service, in the byte order of the machine; CIRCUIT_PORT_ANY in
 *	bind() asks for an ephemeral one
 * @sc_line: the line's name, NUL-padded to the whole array; empty in bind() for
 *	"this VM's own line" and in connect() for a call to oneself
 */
struct sockaddr_circuit {
	__kernel_sa_family_t	sc_family;
	__u16			sc_flags;
	__u32			sc_port;
	char			sc_line[CIRCUIT_NAME_SIZE];
};

/* Options at level SOL_CIRCUIT. All of them can only be read. */
#define SOL_CIRCUIT		300

#define CIRCUIT_SO_REASON	1	/* __u32: enum circuit_reason of the last failure */
#define CIRCUIT_SO_INFO		2	/* struct circuit_info */

/**
 * enum circuit_reason - why a call was refused or a circuit reset
 *
 * A reason is more precise than the errno that the application gets with it;
 * errno is what TCP would have given in the same situation.
 *
 * @CIRCUIT_REASON_NONE: nothing went wrong
 * @CIRCUIT_REASON_NO_LINE: no line of that name in the exchange (EHOSTUNREACH)
 * @CIRCUIT_REASON_LINE_DOWN: the line has no running guest (EHOSTUNREACH)
 * @CIRCUIT_REASON_NO_LISTENER: nobody listens on that port (ECONNREFUSED)
 * @CIRCUIT_REASON_TIMEOUT: the listener's backlog stayed full, or the operator
 *	did not answer in time (ETIMEDOUT)
 * @CIRCUIT_REASON_QUOTA_CIRCUITS: a line has all the circuits it may have
 *	(ENOBUFS)
 * @CIRCUIT_REASON_QUOTA_MEMORY: a line has all the memory it may have (ENOBUFS)
 * @CIRCUIT_REASON_QUOTA_PENDING: a line has all the calls in flight that it may
 *	have (EAGAIN)
 * @CIRCUIT_REASON_QUOTA_LISTENERS: a line has all the listeners it may have
 *	(ENOBUFS)
 * @CIRCUIT_REASON_NO_MEMORY: the host is out of memory or window (ENOMEM)
 * @CIRCUIT_REASON_PORT_IN_USE: the line has a listener on that port (EADDRINUSE)
 * @CIRCUIT_REASON_INVALID: the guest sent a message the operator cannot accept
 *	(EINVAL)
 * @CIRCUIT_REASON_PEER_RESET: the far end aborted (ECONNRESET)
 * @CIRCUIT_REASON_PEER_GONE: the far line's guest died, restarted or was
 *	detached (ECONNRESET)
 * @CIRCUIT_REASON_LINE_DELETED: the administrator deleted a line (ECONNRESET,
 *	ENETDOWN for new calls of the deleted line)
 * @CIRCUIT_REASON_VIOLATION: the far end broke the ring's rules (ECONNRESET)
 * @CIRCUIT_REASON_NO_ADDRESS: no line of the exchange has that IP address, and no
 *	trunk of the caller's line leads there (EHOSTUNREACH)
 * @CIRCUIT_REASON_NOT_YOURS: the caller's IP address is not one of its line's, or
 *	its line has none of that family (EADDRNOTAVAIL)
 * @CIRCUIT_REASON_TUPLE_IN_USE: there is a circuit between these two addresses and
 *	ports, or no port is left to be given (EADDRNOTAVAIL)
 * @CIRCUIT_REASON_TRUNK: the host's stack has refused or ended the connection; the
 *	errno is its own
 * @CIRCUIT_REASON_NO_TRUNK: the network namespace of the trunk is gone (ENETUNREACH)
 * @CIRCUIT_REASON_HOST_ADDRESS: the address is the host's own, and the trunk does not
 *	lead there (EHOSTUNREACH)
 * @CIRCUIT_REASON_POLICY: a rule of the policy, or its default verdict, says no
 *	(ECONNREFUSED, EACCES for a listener, or what the rule says)
 * @CIRCUIT_REASON_RATE: more calls per second than a rule of the policy, the line or a group
 *	of its allows, or a guest that does not know of rates of bytes where there is one (EAGAIN)
 * @CIRCUIT_REASON_ADMINISTRATOR: the host's administrator has ended this very circuit
 *	(ECONNRESET)
 * @CIRCUIT_REASON_MAX: not a reason; the number of those that the operator gives
 * @CIRCUIT_REASON_NO_OPERATOR: this machine has no line, or none that is up
 * @CIRCUIT_REASON_THIS_MACHINE: the address is one of this machine's, or none of a
 *	single machine's
 * @CIRCUIT_REASON_OPTION: the socket has an option that a circuit cannot honour
 * @CIRCUIT_REASON_NAMESPACE: the socket's network namespace may not use the line
 * @CIRCUIT_REASON_KERNEL: the socket is the kernel's own
 * @CIRCUIT_REASON_GUEST_MAX: not a reason; above all there are
 *
 * Those after CIRCUIT_REASON_MAX are a guest's own, and why a socket stayed TCP's;
 * they are in no message.
 */
enum circuit_reason {
	CIRCUIT_REASON_NONE,
	CIRCUIT_REASON_NO_LINE,
	CIRCUIT_REASON_LINE_DOWN,
	CIRCUIT_REASON_NO_LISTENER,
	CIRCUIT_REASON_TIMEOUT,
	CIRCUIT_REASON_QUOTA_CIRCUITS,
	CIRCUIT_REASON_QUOTA_MEMORY,
	CIRCUIT_REASON_QUOTA_PENDING,
	CIRCUIT_REASON_QUOTA_LISTENERS,
	CIRCUIT_REASON_NO_MEMORY,
	CIRCUIT_REASON_PORT_IN_USE,
	CIRCUIT_REASON_INVALID,
	CIRCUIT_REASON_PEER_RESET,
	CIRCUIT_REASON_PEER_GONE,
	CIRCUIT_REASON_LINE_DELETED,
	CIRCUIT_REASON_VIOLATION,
	CIRCUIT_REASON_NO_ADDRESS,
	CIRCUIT_REASON_NOT_YOURS,
	CIRCUIT_REASON_TUPLE_IN_USE,
	CIRCUIT_REASON_TRUNK,
	CIRCUIT_REASON_NO_TRUNK,
	CIRCUIT_REASON_HOST_ADDRESS,
	CIRCUIT_REASON_POLICY,
	CIRCUIT_REASON_RATE,
	CIRCUIT_REASON_ADMINISTRATOR,
	CIRCUIT_REASON_MAX,

	CIRCUIT_REASON_NO_OPERATOR = 64,
	CIRCUIT_REASON_THIS_MACHINE,
	CIRCUIT_REASON_OPTION,
	CIRCUIT_REASON_NAMESPACE,
	CIRCUIT_REASON_KERNEL,
	CIRCUIT_REASON_GUEST_MAX,
};

/**
 * struct circuit_info - what CIRCUIT_SO_INFO tells of a connected socket
 * @index: the circuit's number on this line
 * @end: 0 on the calling side, 1 on the called side
 * @reason: enum circuit_reason of what ended it, if anything has
 * @tx_size: size of the ring this end writes, in bytes
 * @rx_size: size of the ring this end reads, in bytes
 * @mapped: CIRCUIT_MAPPED or CIRCUIT_MAP_LOST, or 0 if no process has it mapped
 * @tx_bytes: bytes written since the call was answered
 * @rx_bytes: bytes read since the call was answered
 * @tx_doorbells: how often this end had to notify the far end
 * @rx_wakeups: how often the far end had to notify this one
 * @tx_tail: index after the last byte published, see linux/circuit_ring.h
 * @rx_head: index after the last byte released
 *
 * The last two are what a process that has mapped its circuit begins with: what is in the
 * control page may have been overwritten by the far end. A shorter structure may be asked for.
 */
struct circuit_info {
	__u32	index;
	__u32	end;
	__u32	reason;
	__u32	tx_size;
	__u32	rx_size;
	__u32	mapped;
	__u64	tx_bytes;
	__u64	rx_bytes;
	__u64	tx_doorbells;
	__u64	rx_wakeups;
	__u32	tx_tail;
	__u32	rx_head;
};

/*
 * A process may map the circuit of its socket, and nothing else: mmap() with MAP_SHARED, offset 0
 * and a length of CIRCUIT_MAP_BYTES(). Sizes are those of struct circuit_info; those in the
 * control page are no better than the far end.
 *
 *				+--------------------------------------+ 0
 *				| control page, struct circuit_ctrl    |
 *				+--------------------------------------+ CIRCUIT_MAP_TX
 *				| the ring this end writes	       |
 *				| the same ring once more	       |
 *				+--------------------------------------+ CIRCUIT_MAP_RX(tx_size)
 *				| the ring this end reads	       |
 *				| the same ring once more	       |
 *				+--------------------------------------+ CIRCUIT_MAP_BYTES()
 *
 * What begins within a ring's first copy is therefore contiguous, wherever the ring ends.
 *
 * As long as it is mapped the process is this end of the circuit. It owns tail, event and bytes of
 * the producer dir[end].prod and head and event of the consumer dir[!end].cons; begins with
 * @tx_tail and @rx_head of struct circuit_info; keeps to the contract of linux/circuit_ring.h; and
 * passes notifications that are due on with SIOCCIRCUITKICK. Flags stay the kernel's: shutdown()
 * and close() say FIN, as they always do. (Urgent data is among the rest, and SIOCATMARK does not
 * know.) SO_ERROR, SIOCINQ and SIOCOUTQ look at what the process has published, and so does poll():
 * it goes by what the process has armed its events for, if that is still to come, and otherwise by
 * a byte to read or a quarter of the ring to write in. Who sleeps in another way arms the events
 * himself. read() and write(), in all their forms, fail with EBUSY. When the last mapping goes, the
 * kernel takes the indices over from the control page, and read() and write() work again; a tail or
 * head which cannot be resets the connection.
 *
 * A mapping holds its socket: the connection ends with shutdown(), or when both the descriptors
 * and the mappings are gone. It survives fork() and is shared then.
 *
 * The circuit of a socket of datagrams of AF_CIRCUIT leads to the operator, and its rings hold
 * struct circuit_datagram, to and from anybody, as sendto() and recvfrom() have them: whom it is
 * connected to only the socket knows, which has to be to be mapped, and connect() does not change
 * what the process sees. Among what is read are errors, of what the process has sent. What cannot
 * be a datagram has the operator cut the socket off, which then begins anew with its port, as a
 * socket whose line has gone down does. shutdown() says nothing to the far end, a limit leaves the
 * mapping alone (the operator keeps to it), and so does AF_UNSPEC.
 *
 * What is mapped are the rings as they are: a process that is given a socket in use may find in
 * them what was sent and received by it before.
 *
 * A mapping loses its circuit when the line goes down, when the socket is disconnected, and when
 * the operator limits the circuit's bytes, which a process cannot be trusted with (and mmap() fails
 * with EOPNOTSUPP). From then on it shows zeroed memory of its own that leads nowhere, so magic in
 * the control page is 0; SIOCCIRCUITKICK fails with ESTALE, or ENOTCONN if the socket has another
 * circuit by now, and read() and write() do what they do on any socket. There is no signal.
 */
#define CIRCUIT_MAP_TX			4096
#define CIRCUIT_MAP_RX(tx_size)		(CIRCUIT_MAP_TX + 2 * (__u64)(tx_size))
#define CIRCUIT_MAP_BYTES(tx_size, rx_size)	(CIRCUIT_MAP_RX(tx_size) + 2 * (__u64)(rx_size))

#define CIRCUIT_MAPPED		1	/* the mapping shows the circuit */
#define CIRCUIT_MAP_LOST	2	/* it shows nothing any more */

/*
 * Tell the far end to look at the circuit. No argument. 0; ENOTCONN if there is no circuit, or
 * nobody has it mapped; ESTALE if the mapping has lost it.
 */
#define SIOCCIRCUITKICK		0x89e0	/* SIOCPROTOPRIVATE */

#endif /* _UAPI_LINUX_CIRCUIT_H */
