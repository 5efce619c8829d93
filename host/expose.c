// SPDX-License-Identifier: GPL-2.0
/*
 * Exposures: ports of the host's stack where a line's listener can be called.
 *
 * Nothing is exposed unless told. What comes in becomes a call to the listener that the
 * line's guest has on that port at the moment, on an address of the caller's family, and
 * the guest sees the caller's own address. If there is no such listener the connection
 * is reset: the host's TCP has answered already, it does not ask us before.
 *
 * A port of UDP's is exposed likewise: each whom a datagram comes from calls, see udp.c.
 *
 * An exposure is a job of its line's (share.h), a look being one connection, so that a flood of
 * them is served in the line's turns, and costs what others do of the threads no more than its
 * circuits do.
 *
 * Calls that wait for the listener's backlog do so here, CIRCUIT_EXPOSE_BACKLOG at most;
 * those beyond that wait in the listening socket.
 */
#include <linux/in.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include "host.h"

#define EXPOSE_RETRY	(HZ / 10)

/* Exposures that were taken away and whose sockets are not closed yet. */
static atomic_t closing = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(closed);

static void exposure_release(struct kref *ref)
{
	struct circuit_exposure *exp = container_of(ref, struct circuit_exposure, ref);

	circuit_account_put(exp->account);
	kfree_rcu(exp, rcu);
}

static void exposure_put(struct circuit_exposure *exp)
{
	kref_put(&exp->ref, exposure_release);
}

static void exposure_kick(struct circuit_exposure *exp)
{
	if (kref_get_unless_zero(&exp->ref) && !circuit_job_kick(&exp->job))
		exposure_put(exp);
}

/**
 * circuit_exposure_wait - a call waits for the listener
 * @exp: the exposure
 *
 * Return: @exp, with a reference for circuit_exposure_done().
 */
struct circuit_exposure *circuit_exposure_wait(struct circuit_exposure *exp)
{
	kref_get(&exp->ref);
	atomic_inc(&exp->waiting);
	return exp;
}

/**
 * circuit_exposure_done - a call does not wait any more
 * @exp: the exposure; the reference is dropped
 * @refused: nothing came of the call
 */
void circuit_exposure_done(struct circuit_exposure *exp, bool refused)
{
	if (refused)
		atomic64_inc(&exp->refused);
	if (atomic_dec_return(&exp->waiting) == CIRCUIT_EXPOSE_BACKLOG - 1)
		exposure_kick(exp);
	exposure_put(exp);
}

static void exposure_ready(struct sock *sk)
{
	struct circuit_exposure *exp;

	/* Connections that have not been accepted have this callback, and no user data. */
	rcu_read_lock();
	exp = rcu_dereference_sk_user_data(sk);
	if (exp && sk->sk_state == TCP_LISTEN)
		exposure_kick(exp);
	rcu_read_unlock();
}

/* For want of memory, say: connections wait, and nobody else will tell. */
static void exposure_retry(struct circuit_exposure *exp)
{
	kref_get(&exp->ref);
	if (!queue_delayed_work(circuit_slow_wq, &exp->retry, EXPOSE_RETRY))
		exposure_put(exp);
}

static void exposure_retry_work(struct work_struct *work)
{
	struct circuit_exposure *exp = container_of(to_delayed_work(work),
						    struct circuit_exposure, retry);

	exposure_kick(exp);
	exposure_put(exp);
}

/* The end of an exposure, in its job. */
static void exposure_close(struct circuit_exposure *exp)
{
	struct socket *sock = exp->sock;

	if (!exp->ex)
		return;
	if (cancel_delayed_work(&exp->retry))
		exposure_put(exp);
	if (sock) {
		write_lock_bh(&sock->sk->sk_callback_lock);
		rcu_assign_sk_user_data(sock->sk, NULL);
		write_unlock_bh(&sock->sk->sk_callback_lock);
		sock_release(sock);
	}
	exp->sock = NULL;
	circuit_trunk_put(exp->trunk);
	exp->trunk = NULL;
	circuit_exchange_put(exp->ex);
	exp->ex = NULL;
	if (exp->udp)
		circuit_udp_unexpose(exp->udp);
	else
		circuit_exposure_closed();
	exp->udp = NULL;
}

/**
 * circuit_exposure_closed - the port of an exposure that was taken away is free
 */
void circuit_exposure_closed(void)
{
	if (atomic_dec_and_test(&closing))
		wake_up_all(&closed);
}

static enum circuit_job_end exposure_look(struct circuit_job *job, struct circuit_turn *turn)
{
	struct circuit_exposure *exp = container_of(job, struct circuit_exposure, job);
	struct socket *sock;
	int err;

	if (!READ_ONCE(exp->line)) {
		exposure_close(exp);
	} else if (exp->sock && atomic_read(&exp->waiting) < CIRCUIT_EXPOSE_BACKLOG) {
		err = kernel_accept(exp->sock, &sock, O_NONBLOCK);
		if (!err) {
			/* Its callbacks are the listening socket's. */
			write_lock_bh(&sock->sk->sk_callback_lock);
			sock->sk->sk_data_ready = exp->native_ready;
			write_unlock_bh(&sock->sk->sk_callback_lock);
			atomic64_inc(&exp->accepted);
			circuit_leg_accept(exp, sock, turn);
			exposure_kick(exp);	/* there may be more */
		} else if (err != -EAGAIN) {
			exposure_retry(exp);
		}
	}
	circuit_turn_charge(turn, CIRCUIT_USE_SIGNALLING);
	return CIRCUIT_JOB_DONE;
}

static void exposure_idle(struct circuit_job *job)
{
	exposure_put(container_of(job, struct circuit_exposure, job));
}

static const struct circuit_job_ops exposure_job_ops = {
	.look = exposure_look,
	.idle = exposure_idle,
};

/**
 * circuit_exposure_find - look an exposure up
 * @ex: the exchange, locked
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_DGRAM
 * @trunk: its trunk, or NULL
 * @addr: the host's address
 * @host_port: the host's port
 *
 * Return: the exposure, or NULL.
 */
struct circuit_exposure *circuit_exposure_find(struct circuit_exchange *ex, u32 type,
					       struct circuit_trunk *trunk,
					       const struct in6_addr *addr, u16 host_port)
{
	struct circuit_exposure *exp;

	lockdep_assert_held(&ex->lock);
	list_for_each_entry(exp, &ex->exposures, list)
		if (exp->type == type && exp->trunk == trunk && exp->host_port == host_port &&
		    ipv6_addr_equal(&exp->addr, addr))
			return exp;
	return NULL;
}

static int exposure_listen(struct circuit_exposure *exp, struct net *net)
{
	bool tcp = exp->type == CIRCUIT_SIG_STREAM, v6 = !ipv6_addr_v4mapped(&exp->addr);
	struct sockaddr_storage ss;
	struct socket *sock;
	int err;

	/* The kernel's own: it does not keep the namespace. */
	err = sock_create_kern(net, v6 ? AF_INET6 : AF_INET, exp->type,
			       tcp ? IPPROTO_TCP : IPPROTO_UDP, &sock);
	if (err)
		return err;
	exp->sock = sock;
	if (tcp)
		sock_set_reuseaddr(sock->sk);
	if (v6)
		err = ip6_sock_set_v6only(sock->sk);
	if (!err)
		err = circuit_trunk_setup(exp->trunk, READ_ONCE(exp->account->mark), sock);
	if (!err)
		err = kernel_bind(sock, (struct compat_sockaddr *)&ss,
				  circuit_sockaddr(&exp->addr, exp->host_port, &ss));
	if (err)
		return err;
	if (!tcp) {
		exp->sock = NULL;
		exp->udp = circuit_udp_expose(exp, sock);
		err = PTR_ERR_OR_ZERO(exp->udp);
		if (err)
			exp->udp = NULL;
		return err;
	}
	write_lock_bh(&sock->sk->sk_callback_lock);
	__rcu_assign_sk_user_data_with_flags(sock->sk, exp, SK_USER_DATA_NOCOPY);
	exp->native_ready = sock->sk->sk_data_ready;
	sock->sk->sk_data_ready = exposure_ready;
	write_unlock_bh(&sock->sk->sk_callback_lock);
	return kernel_listen(sock, CIRCUIT_EXPOSE_BACKLOG);
}

/**
 * circuit_expose - publish a listener on a port of the host's
 * @line: the listener's line, its exchange locked
 * @type: CIRCUIT_SIG_STREAM or CIRCUIT_SIG_DGRAM
 * @port: its port
 * @trunk: what the host's sockets are like, or NULL
 * @addr: the host's address, IPv4 as IPv4-mapped IPv6; that of any host for all
 * @host_port: the host's port
 *
 * The listener need not be there yet.
 *
 * Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, -E2BIG if there are too many, -ENONET if the
 * namespace is gone, or what else the stack has to say.
 */
int circuit_expose(struct circuit_line *line, u32 type, u32 port, struct circuit_trunk *trunk,
		   const struct in6_addr *addr, u16 host_port)
{
	struct circuit_exchange *ex = line->ex;
	struct circuit_exposure *exp;
	struct net *net;
	int err;

	lockdep_assert_held(&ex->lock);
	if (ex->nr_exposures >= CIRCUIT_EXPOSURES_MAX)
		return -E2BIG;
	net = circuit_trunk_net(trunk, ex);
	if (!net)
		return -ENONET;
	err = -ENOMEM;
	exp = kzalloc(sizeof(*exp), GFP_KERNEL_ACCOUNT);
	if (!exp)
		goto net;
	kref_init(&exp->ref);
	INIT_DELAYED_WORK(&exp->retry, exposure_retry_work);
	exp->ex = circuit_exchange_get(ex);
	exp->line = line;
	exp->account = circuit_account_get(line->account);
	circuit_job_init(&exp->job, exp->account, &exposure_job_ops);
	exp->type = type;
	exp->port = port;
	exp->addr = *addr;
	exp->host_port = host_port;
	if (trunk)
		exp->trunk = circuit_trunk_get(trunk);
	err = exposure_listen(exp, net);
	put_net(net);
	list_add_tail(&exp->list, &ex->exposures);
	ex->nr_exposures++;
	ex->seq++;
	if (trunk)
		circuit_trunk_use(trunk, 1);
	if (err)
		circuit_unexpose(exp);
	return err;
net:
	put_net(net);
	return err;
}

/**
 * circuit_unexpose - undo circuit_expose()
 * @exp: the exposure; its exchange is locked
 *
 * The port is free a moment later, see circuit_unexpose_flush(). Connections go on, flows of
 * datagrams do not.
 */
void circuit_unexpose(struct circuit_exposure *exp)
{
	struct circuit_exchange *ex = exp->ex;

	lockdep_assert_held(&ex->lock);
	list_del(&exp->list);
	ex->nr_exposures--;
	ex->seq++;
	if (exp->trunk)
		circuit_trunk_use(exp->trunk, -1);
	atomic_inc(&closing);
	WRITE_ONCE(exp->line, NULL);
	if (kref_get_unless_zero(&exp->ref) && !circuit_job_hurry(&exp->job))
		exposure_put(exp);
	exposure_put(exp);
}

/**
 * circuit_unexpose_trunk - a trunk's namespace goes
 * @ex: the exchange, locked
 * @trunk: the trunk
 */
void circuit_unexpose_trunk(struct circuit_exchange *ex, const struct circuit_trunk *trunk)
{
	struct circuit_exposure *exp, *next;

	list_for_each_entry_safe(exp, next, &ex->exposures, list)
		if (exp->trunk == trunk)
			circuit_unexpose(exp);
}

/**
 * circuit_unexpose_line - a line goes
 * @ex: the exchange, locked
 * @line: the line
 */
void circuit_unexpose_line(struct circuit_exchange *ex, const struct circuit_line *line)
{
	struct circuit_exposure *exp, *next;

	list_for_each_entry_safe(exp, next, &ex->exposures, list)
		if (exp->line == line)
			circuit_unexpose(exp);
}

/**
 * circuit_unexpose_flush - wait until exposures that were taken away are closed
 *
 * Context: process; no exchange is locked.
 */
void circuit_unexpose_flush(void)
{
	wait_event(closed, !atomic_read(&closing));
}
