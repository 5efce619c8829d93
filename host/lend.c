// SPDX-License-Identifier: GPL-2.0
/*
 * Lending: TCP sends what a guest has written from the ring's own pages.
 *
 * A loan is one piece of the ring and TCP's handle for it, as with MSG_ZEROCOPY. TCP
 * keeps references to the pages until the far side has acknowledged the data and no
 * device reads it any more; only then are the bytes given back to the guest. Loans are
 * given back in the order in which they were taken, together with what was copied
 * after each.
 *
 * A ring that is lent is a send buffer. So it is only done where that does no harm:
 *
 *  - with pieces that are worth it (lend_min);
 *  - on connections that do not copy the pages after all, as everything does that
 *    hands a packet to a receiver on the same machine;
 *  - as long as TCP has enough to send. If it has sent all that there is while most of
 *    the ring is lent, the path holds more than the ring does; copying empties it into a
 *    buffer that TCP sizes as it needs.
 *
 * The guest can write to the pages meanwhile and change what will be sent, as can a
 * program with MSG_ZEROCOPY. What it spoils is its own stream; the stack knows such
 * packets by SKBFL_SHARED_FRAG. It can not make them hold anybody else's data: a
 * circuit is not freed before its loans are back.
 */
#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <net/sock.h>
#include "host.h"

static unsigned int lend_min = 16u << 10;
module_param(lend_min, uint, 0644);
MODULE_PARM_DESC(lend_min, "bytes from which on a piece is sent without a copy; 0: never");

/* For how many rings' worth of data copying is tried when a ring was too small. */
#define COPY_ROUNDS	64

/**
 * struct loan - one piece that TCP has
 * @ubuf: TCP's handle
 * @local: the leg, referenced
 * @list: in lender->loans
 * @len: bytes
 * @after: bytes that were copied after them
 * @copied: somebody has copied them all the same
 * @back: nobody has the pages any more
 */
struct loan {
	struct ubuf_info	ubuf;
	struct circuit_local	*local;
	struct list_head	list;
	u32			len;
	u32			after;
	bool			copied;
	bool			back;
};

/* A reference to a loan's pages is gone. Any context. */
static void loan_put(struct sk_buff *skb, struct ubuf_info *ubuf, bool zerocopy_success)
{
	struct loan *loan = container_of(ubuf, struct loan, ubuf);
	struct circuit_local *local = loan->local;

	if (!zerocopy_success)
		WRITE_ONCE(loan->copied, true);
	if (!refcount_dec_and_test(&ubuf->refcnt))
		return;
	/* The loan is the leg's work's from here on, and its reference to the leg as well. */
	rcu_read_lock();
	smp_store_release(&loan->back, true);
	circuit_local_kick(local);
	rcu_read_unlock();
}

static const struct ubuf_info_ops loan_ops = {
	.complete = loan_put,
};

/**
 * circuit_lender_init - nothing is lent
 * @lender: the lender
 */
void circuit_lender_init(struct circuit_lender *lender)
{
	memset(lender, 0, sizeof(*lender));
	INIT_LIST_HEAD(&lender->loans);
}

/*
 * How much of @len bytes to lend, 0 for none. Not all of a ring: some cards give back what
 * they have sent when they are given something to send, so there has to be something.
 */
static u32 may_lend(const struct circuit_lender *lender, const struct circuit_rx *rx,
		    const struct sock *sk, u32 len)
{
	u32 least = READ_ONCE(lend_min), most = rx->size / 4 * 3;

	/* A probe of the path's MTU takes the pages without the handle. */
	if (!least || lender->futile || rx->bytes < lender->copy_until ||
	    !(sk->sk_route_caps & NETIF_F_SG) ||
	    READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_mtu_probing))
		return 0;
	len = lender->bytes < most ? min(len, most - lender->bytes) : 0;
	return len >= least ? len : 0;
}

static int send_copy(struct socket *sock, const struct circuit_rx *rx,
		     const struct circuit_span *s, int flags)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | flags };
	struct kvec vec[2] = {
		{ (void *)rx->data + s->off[0], s->len[0] },
		{ (void *)rx->data, s->len[1] },
	};

	return kernel_sendmsg(sock, &msg, vec, s->len[1] ? 2 : 1, s->len[0] + s->len[1]);
}

static int send_loan(struct circuit_lender *lender, struct loan *loan, struct socket *sock,
		     const struct circuit_rx *rx, const struct circuit_span *s, int flags)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_ZEROCOPY | flags,
		.msg_ubuf = &loan->ubuf,
	};
	struct bio_vec vec[2];
	int n;

	bvec_set_page(&vec[0], virt_to_page(rx->data + s->off[0]), s->len[0],
		      offset_in_page(s->off[0]));
	if (s->len[1])
		bvec_set_page(&vec[1], virt_to_page(rx->data), s->len[1], 0);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, vec, s->len[1] ? 2 : 1, s->len[0] + s->len[1]);
	n = sock_sendmsg(sock, &msg);
	if (n <= 0 && refcount_dec_and_test(&loan->ubuf.refcnt)) {
		/* Nothing has come of it, and it would not do to be told so. */
		circuit_local_put(loan->local);
		kfree(loan);
		return n;
	}
	loan->len = max(n, 0);
	list_add_tail(&loan->list, &lender->loans);
	lender->bytes += loan->len;
	lender->total += loan->len;
	if (n > 0)
		loan_put(NULL, &loan->ubuf, true);	/* ours */
	return n;
}

/**
 * circuit_lend - send a piece of a ring
 * @lender: the lender
 * @leg: whose it is; called to work when something is back
 * @sock: its socket
 * @rx: the ring
 * @len: how much, at most what there is after all that is lent
 * @flags: MSG_OOB or 0
 *
 * The bytes are released by circuit_lend_reap(), or at once if that need not wait.
 *
 * Context: the leg's job.
 *
 * Return: bytes sent, or a negative errno, as sendmsg().
 */
int circuit_lend(struct circuit_lender *lender, struct circuit_local *leg, struct socket *sock,
		 struct circuit_rx *rx, u32 len, int flags)
{
	u32 lend = may_lend(lender, rx, sock->sk, len);
	struct circuit_span s;
	struct loan *loan = NULL;
	int n;

	if (lend)
		loan = kzalloc(sizeof(*loan), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	s = circuit_rx_span(rx, lender->bytes, loan ? lend : len);
	if (loan) {
		compat_ubuf_init(&loan->ubuf, &loan_ops);
		circuit_local_get(leg);
		loan->local = leg;
		return send_loan(lender, loan, sock, rx, &s, flags);
	}
	n = send_copy(sock, rx, &s, flags);
	if (n > 0) {
		if (list_empty(&lender->loans)) {
			lender->notify |= circuit_rx_release(rx, n);
		} else {
			list_last_entry(&lender->loans, struct loan, list)->after += n;
			lender->bytes += n;
		}
	}
	return n;
}

/**
 * circuit_lend_reap - take back what TCP no longer needs
 * @lender: the lender
 * @rx: the ring, or NULL if nobody has any use for it
 *
 * Context: the leg's job.
 */
void circuit_lend_reap(struct circuit_lender *lender, struct circuit_rx *rx)
{
	struct loan *loan;

	/* Pairs with loan_put(). */
	while ((loan = list_first_entry_or_null(&lender->loans, struct loan, list)) &&
	       smp_load_acquire(&loan->back)) {
		u32 n = loan->len + loan->after;

		list_del(&loan->list);
		lender->bytes -= n;
		lender->futile |= loan->copied;
		if (rx && n)
			lender->notify |= circuit_rx_release(rx, n);
		circuit_local_put(loan->local);
		kfree(loan);
	}
}

/**
 * circuit_lend_starved - the ring has nothing more to send
 * @lender: the lender
 * @rx: the ring
 * @sk: the socket
 */
void circuit_lend_starved(struct circuit_lender *lender, const struct circuit_rx *rx,
			  const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (lender->bytes >= rx->size / 4 * 3 &&
	    READ_ONCE(tp->write_seq) == READ_ONCE(tp->snd_nxt))
		lender->copy_until = rx->bytes + COPY_ROUNDS * (u64)rx->size;
}
