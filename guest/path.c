// SPDX-License-Identifier: GPL-2.0
/*
 * Which path TCP and UDP sockets took, and why, for whoever asks.
 *
 * A socket that is left to TCP is forgotten by this module, and so it has to be: it
 * must neither hold it nor cost anything. What can be remembered without the socket is
 * its inode and the reason. The last few thousand of each network namespace are, in a
 * table that newer ones overwrite; sock_diag knows which of them still exist.
 */
#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include "guest.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Inodes are given in batches of 1024 by each CPU, so that low bits are well spread. */
#define SLOTS		4096
#define REASON_BITS	8

static_assert(CIRCUIT_REASON_GUEST_MAX <= 1 << REASON_BITS);

/**
 * struct path_net - of a network namespace
 * @slots: inode << REASON_BITS | reason, 0 if empty; made when there is a need
 * @natives: sockets left to TCP or UDP, by reason
 * @refused: calls of such sockets that came to nothing, by reason
 * @calls: circuits of such sockets: accepted, called
 */
struct path_net {
	u64		*slots;
	atomic64_t	natives[CIRCUIT_REASON_GUEST_MAX];
	atomic64_t	refused[CIRCUIT_REASON_GUEST_MAX];
	atomic64_t	calls[2];
};

static unsigned int path_net_id;

static u64 *path_slots(struct path_net *pn)
{
	u64 *slots = smp_load_acquire(&pn->slots), *old;

	if (slots)
		return slots;
	slots = kvcalloc(SLOTS, sizeof(*slots), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return NULL;
	old = cmpxchg(&pn->slots, NULL, slots);
	if (!old)
		return slots;
	kvfree(slots);
	return old;
}

/**
 * circuit_path_native - a socket is left to TCP, or with somebody to UDP
 * @sock: the socket
 * @reason: enum circuit_reason
 *
 * Of UDP's the operator is asked again and again: what is known already does not count once more.
 *
 * Context: process.
 */
void circuit_path_native(struct socket *sock, u32 reason)
{
	struct path_net *pn = net_generic(sock_net(sock->sk), path_net_id);
	u32 ino = SOCK_INODE(sock)->i_ino;
	u64 *slots = path_slots(pn), slot;

	if (reason >= CIRCUIT_REASON_GUEST_MAX)		/* of an operator newer than us */
		reason = CIRCUIT_REASON_NONE;
	trace_circuit_sock_native(sock->sk, ino, reason);
	slot = (u64)ino << REASON_BITS | reason;
	if (!slots || xchg(&slots[ino % SLOTS], slot) != slot)
		atomic64_inc(&pn->natives[reason]);
}

/**
 * circuit_path_refused - the operator will not have a TCP socket call whom it wants to
 * @sk: the socket
 * @reason: enum circuit_reason
 */
void circuit_path_refused(const struct sock *sk, u32 reason)
{
	struct path_net *pn = net_generic(sock_net(sk), path_net_id);

	if (reason >= CIRCUIT_REASON_GUEST_MAX)
		reason = CIRCUIT_REASON_NONE;
	trace_circuit_sock_refused(sk, SOCK_INODE(sk->sk_socket)->i_ino, reason);
	atomic64_inc(&pn->refused[reason]);
}

/**
 * circuit_path_count - a TCP socket has become a circuit
 * @sk: the socket
 * @out: by connect(); otherwise it was accepted
 */
void circuit_path_count(const struct sock *sk, bool out)
{
	struct path_net *pn = net_generic(sock_net(sk), path_net_id);

	atomic64_inc(&pn->calls[out]);
}

/**
 * circuit_path_for_natives - go through the sockets last left to TCP
 * @net: of this namespace
 * @pos: where to begin; left where @fn did not return 0
 * @fn: called with each one's inode and reason
 * @arg: for @fn
 *
 * Return: 0, or what @fn returned.
 */
int circuit_path_for_natives(struct net *net, unsigned long *pos,
			     int (*fn)(u32 ino, u32 reason, void *arg), void *arg)
{
	struct path_net *pn = net_generic(net, path_net_id);
	u64 *slots = smp_load_acquire(&pn->slots), slot;
	int ret;

	for (; slots && *pos < SLOTS; ++*pos) {
		slot = READ_ONCE(slots[*pos]);
		ret = slot ? fn(slot >> REASON_BITS, slot & GENMASK(REASON_BITS - 1, 0), arg) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * circuit_path_calls - how many TCP sockets became circuits
 * @net: in this namespace
 * @out: by connect(); otherwise by accept()
 */
u64 circuit_path_calls(struct net *net, bool out)
{
	struct path_net *pn = net_generic(net, path_net_id);

	return atomic64_read(&pn->calls[out]);
}

/**
 * circuit_path_natives - how many sockets were left to TCP
 * @net: in this namespace
 * @reason: for this reason, below CIRCUIT_REASON_GUEST_MAX
 */
u64 circuit_path_natives(struct net *net, u32 reason)
{
	struct path_net *pn = net_generic(net, path_net_id);

	return atomic64_read(&pn->natives[reason]);
}

/**
 * circuit_path_refusals - how many calls of TCP sockets were refused
 * @net: in this namespace
 * @reason: for this reason, below CIRCUIT_REASON_GUEST_MAX
 */
u64 circuit_path_refusals(struct net *net, u32 reason)
{
	struct path_net *pn = net_generic(net, path_net_id);

	return atomic64_read(&pn->refused[reason]);
}

static void __net_exit path_net_exit(struct net *net)
{
	struct path_net *pn = net_generic(net, path_net_id);

	kvfree(pn->slots);
}

static struct pernet_operations path_net_ops = {
	.exit = path_net_exit,
	.id = &path_net_id,
	.size = sizeof(struct path_net),
};

/**
 * circuit_path_init - be ready to remember
 *
 * Return: 0 or a negative errno.
 */
int circuit_path_init(void)
{
	return register_pernet_subsys(&path_net_ops);
}

/**
 * circuit_path_exit - forget everything; there are no sockets of ours any more
 */
void circuit_path_exit(void)
{
	unregister_pernet_subsys(&path_net_ops);
}
