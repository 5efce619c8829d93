// SPDX-License-Identifier: GPL-2.0
/*
 * IPPROTO_CIRCUIT: TCP sockets that become circuits.
 *
 * Such a socket is a TCP socket in every respect, made by TCP's own code from TCP's
 * own slab; only its proto_ops are ours and, while it is on a circuit, a copy of TCP's
 * struct proto that hears of SO_KEEPALIVE. What becomes of it is settled by connect() and
 * listen():
 *
 *	undecided	nothing yet; every call goes to TCP
 *	native		TCP's for good: sock->ops are TCP's, and the module forgotten
 *	asking		connect() waits for the operator, the socket owned
 *	circuit		connected, or about to be, by a circuit; TCP sees a closed
 *			socket that nobody has bound or connected
 *	listener	listens as TCP, and, if the operator agrees, on the exchange
 *
 * All but the first two have a struct circuit_inet, which hangs on the socket as an
 * upper layer protocol, TCP's own way of attaching one: so nobody else attaches
 * theirs. It comes in under lock_sock(). It goes away when the operator declines the
 * very first call, since then nobody but connect() has used it, or when the socket is
 * released: a socket that has once been a circuit or a listener keeps it, and our ops,
 * even if it is TCP's later on. Those who do not own the socket look at it under RCU,
 * and wait while the operator is being asked.
 *
 * A socket that may become a circuit holds the module, through its ops, and so does
 * every call that can outlive that while it sleeps.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <net/inet_common.h>
#include <net/ipv6.h>
#include <net/protocol.h>
#include <net/tcp.h>
#include <asm/ioctls.h>
#include "guest.h"
#include "inet.h"

#define NOT_OURS	1	/* a call that leaves a socket to TCP; errors are negative */

enum inet_mode {
	INET_ASKING,
	INET_CIRCUIT,
	INET_LISTENER,
	INET_IDLE,		/* was one of the above */
};

/**
 * struct circuit_inet - what a TCP socket has as an end of circuits
 * @ep: the endpoint
 * @rcu: for those who do not own the socket
 * @mode: &enum inet_mode; owned by the socket's owner
 * @used: has been a circuit or a listener, so that others may be using it
 * @turn: whose turn it is to be accepted from: circuits or TCP
 * @node: in listeners
 * @round: the last publish_round that it needs no publishing by; listeners_lock
 */
struct circuit_inet {
	struct circuit_ep	ep;
	struct rcu_head		rcu;
	int			mode;
	bool			used;
	bool			turn;
	struct list_head	node;
	unsigned int		round;
};

/*
 * The two families: what is TCP's, and what is ours. A new socket has @prot for as long
 * as it takes to make it one of TCP's, and one that is on a circuit @circuit_prot.
 */
static struct inet_family {
	const struct proto_ops	*tcp_ops;
	struct proto		*tcp_prot;
	struct proto_ops	ops;
	struct proto		prot;
	struct proto		circuit_prot;
	struct inet_protosw	protosw;
} families[2];		/* IPv4, IPv6 */

/* Listeners, to be published again when a line comes up. */
static LIST_HEAD(listeners);
static DEFINE_MUTEX(listeners_lock);
static unsigned int publish_round;

/* By the socket, not by its ops, which somebody may be changing. */
static struct inet_family *family_of_sk(const struct sock *sk)
{
	return &families[READ_ONCE(sk->sk_family) == AF_INET6];
}

static struct inet_family *family_of(const struct socket *sock)
{
	return family_of_sk(sock->sk);
}

/*
 * Call TCP's method. While it sleeps, somebody else may make the socket native, and
 * that lets go of the module.
 */
#define TCPS(sock, method, ...)							\
({										\
	typeof(family_of(sock)->tcp_ops->method(__VA_ARGS__)) _ret;		\
										\
	__module_get(THIS_MODULE);						\
	_ret = family_of(sock)->tcp_ops->method(__VA_ARGS__);			\
	module_put(THIS_MODULE);						\
	_ret;									\
})

static void ulp_clone(const struct request_sock *req, struct sock *newsk, const gfp_t priority)
{
	/* A child of the TCP listener is TCP's. */
	inet_csk(newsk)->icsk_ulp_ops = NULL;
	RCU_INIT_POINTER(inet_csk(newsk)->icsk_ulp_data, NULL);
}

static struct tcp_ulp_ops circuit_ulp = {
	.name = "circuit",
	.clone = ulp_clone,
};

/* The socket's, for its owner, and under RCU for everybody else. */
static struct circuit_inet *inet_get(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	struct circuit_inet *in;

	if (READ_ONCE(icsk->icsk_ulp_ops) != &circuit_ulp)
		return NULL;
	in = rcu_dereference_check(icsk->icsk_ulp_data, lockdep_sock_is_held(sk));
	/* Another protocol's data, which may be there since, was preceded by our ops going. */
	smp_rmb();
	return READ_ONCE(icsk->icsk_ulp_ops) == &circuit_ulp ? in : NULL;
}

static void fill_options(struct circuit_sig_options *options, const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (sock_flag(sk, SOCK_KEEPOPEN))
		options->flags |= CIRCUIT_SIG_KEEPALIVE;
	options->keep_idle = READ_ONCE(tp->keepalive_time) / HZ;
	options->keep_interval = READ_ONCE(tp->keepalive_intvl) / HZ;
	options->keep_count = READ_ONCE(tp->keepalive_probes);
	options->user_timeout = READ_ONCE(inet_csk(sk)->icsk_user_timeout);
}

/*
 * Tell the operator what options the socket has, if the far end is a socket that can
 * have them.
 */
static void inet_tell(struct circuit_ep *ep, struct circuit *c)
{
	if (!(c->line->welcome.features & CIRCUIT_SIG_F_OPTIONS) ||
	    strcmp(c->peer, CIRCUIT_TRUNK_LINE))
		return;
	/* Whoever sets one looks for the circuit afterwards: see options_changed(). */
	smp_mb();
	circuit_tell_options(c, ep->sk, fill_options);
}

/* An option of a socket, which is owned, was set. */
static void options_changed(struct sock *sk)
{
	struct circuit_inet *in = inet_get(sk);
	struct circuit *c;

	if (!in)
		return;
	/* Pairs with the one in inet_tell(). */
	smp_mb();
	c = READ_ONCE(in->ep.c);
	if (c)
		inet_tell(&in->ep, c);
}

/* SO_KEEPALIVE, the one option of SOL_SOCKET that a protocol is asked about. */
static void circuit_inet_keepalive(struct sock *sk, int val)
{
	family_of_sk(sk)->tcp_prot->keepalive(sk, val);
	sock_valbool_flag(sk, SOCK_KEEPOPEN, val);
	options_changed(sk);
}

static void inet_free_rcu(struct rcu_head *rcu)
{
	struct circuit_inet *in = container_of(rcu, struct circuit_inet, rcu);

	sock_put(in->ep.sk);
	kfree(in);
}

static void inet_free(struct circuit_ep *ep)
{
	struct circuit_inet *in = container_of(ep, struct circuit_inet, ep);

	call_rcu(&in->rcu, inet_free_rcu);
}

/* Attach; the socket is owned, and has nothing attached. */
static struct circuit_inet *inet_attach(struct sock *sk)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	struct circuit_inet *in;

	/* A map of BPF's attaches by another struct proto. */
	if (icsk->icsk_ulp_ops || READ_ONCE(sk->sk_prot) != family_of_sk(sk)->tcp_prot)
		return NULL;
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	if (!in)
		return NULL;
	sock_hold(sk);
	circuit_ep_init(&in->ep, sk, inet_free);
	in->ep.overlay = true;
	in->ep.tell = inet_tell;
	in->mode = INET_IDLE;
	INIT_LIST_HEAD(&in->node);
	rcu_assign_pointer(icsk->icsk_ulp_data, in);
	smp_store_release(&icsk->icsk_ulp_ops, &circuit_ulp);
	return in;
}

/* Detach; the socket is owned, and @in disconnected. */
static void inet_detach(struct sock *sk, struct circuit_inet *in)
{
	struct inet_connection_sock *icsk = inet_csk(sk);

	WRITE_ONCE(icsk->icsk_ulp_ops, NULL);
	RCU_INIT_POINTER(icsk->icsk_ulp_data, NULL);
	circuit_ep_put(&in->ep);
}

static void set_mode(struct circuit_inet *in, enum inet_mode mode)
{
	struct sock *sk = in->ep.sk;
	struct inet_family *f = family_of_sk(sk);

	/* Unless somebody else has put his there since. */
	if (mode == INET_ASKING || mode == INET_CIRCUIT)
		cmpxchg(&sk->sk_prot, f->tcp_prot, &f->circuit_prot);
	else
		cmpxchg(&sk->sk_prot, &f->circuit_prot, f->tcp_prot);
	if (mode == INET_CIRCUIT || mode == INET_LISTENER) {
		in->used = true;
		compat_custom_sockopt(sk->sk_socket);	/* which keeps our ops */
	}
	smp_store_release(&in->mode, mode);
}

/*
 * TCP's methods for good. The caller holds the module while it may sleep; what it runs
 * after that is waited for by synchronize_rcu_tasks().
 */
static void set_tcp_ops(struct socket *sock, struct inet_family *f)
{
	WRITE_ONCE(sock->ops, f->tcp_ops);
	module_put(THIS_MODULE);
}

/* Leave the socket, which is owned, to TCP, as far as that is possible. */
static void go_native(struct socket *sock, struct inet_family *f, u32 reason)
{
	struct circuit_inet *in = inet_get(sock->sk);

	if (READ_ONCE(sock->ops) != &f->ops)
		return;
	circuit_path_native(sock, reason);
	if (in && in->used)
		return;
	if (in)
		inet_detach(sock->sk, in);
	set_tcp_ops(sock, f);
}

/*
 * The endpoint of a socket that is on a circuit, or NULL if TCP has to deal with the
 * call. Sleeps while the operator is being asked, if @wait. It stays until the socket
 * is released.
 */
static struct circuit_ep *on_circuit(struct sock *sk, bool wait)
{
	struct circuit_inet *in;
	int mode;

	for (;;) {
		rcu_read_lock();
		in = inet_get(sk);
		mode = in ? smp_load_acquire(&in->mode) : INET_IDLE;
		rcu_read_unlock();
		if (mode == INET_CIRCUIT)
			return &in->ep;
		if (mode != INET_ASKING || !wait)
			return NULL;
		__module_get(THIS_MODULE);
		lock_sock(sk);	/* connect() owns the socket meanwhile */
		release_sock(sk);
		module_put(THIS_MODULE);
	}
}

static bool is_asking(struct sock *sk)
{
	struct circuit_inet *in;
	bool ret;

	rcu_read_lock();
	in = inet_get(sk);
	ret = in && READ_ONCE(in->mode) == INET_ASKING;
	rcu_read_unlock();
	return ret;
}

/* --- options ----------------------------------------------------------------------------- */

/* Has the socket an option that means something on a network, and nothing here? */
static bool has_option(const struct sock *sk)
{
	return circuit_inet_has_option(sk) || sock_flag(sk, SOCK_RCVTSTAMP) ||
	       READ_ONCE(sk->sk_tsflags) || READ_ONCE(sk->sk_peek_off) >= 0 ||
	       tcp_sk(sk)->repair || tcp_sk(sk)->fastopen_connect || compat_tcp_is_signed(sk);
}

/**
 * circuit_inet_deferral - how long a call waits for its caller to say something
 * @sk: a TCP listener
 *
 * TCP counts how often it repeats its answer to the caller's SYN.
 *
 * Return: jiffies, 0 if calls are to be accepted at once.
 */
unsigned long circuit_inet_deferral(const struct sock *sk)
{
	unsigned int left = READ_ONCE(inet_csk(sk)->icsk_accept_queue.rskq_defer_accept);
	unsigned long all = 0, timeout = TCP_TIMEOUT_INIT;

	for (; left; left--) {
		all += timeout;
		timeout = min_t(unsigned long, 2 * timeout, TCP_RTO_MAX);
	}
	return all;
}

/* Why the socket may not be a circuit, or listen for some, at an address. */
static enum circuit_reason why_native(struct sock *sk, bool ours)
{
	enum circuit_reason reason = circuit_inet_why_native(sk, ours);

	return reason ?: has_option(sk) ? CIRCUIT_REASON_OPTION : CIRCUIT_REASON_NONE;
}

/* --- connect ------------------------------------------------------------------------ */

/*
 * Ask the operator for a circuit. Returns 0 if the call is placed, NOT_OURS and a reason
 * if it is none of its, or what connect() shall say. The socket is owned and closed.
 */
static int ask(struct sock *sk, const struct in6_addr *dst, u32 port, u32 *reason)
{
	struct circuit_sig_call call = {
		.type = CIRCUIT_SIG_STREAM,
		.flags = CIRCUIT_SIG_IP,
		.port = port,
	};
	struct circuit_inet *in = inet_get(sk);
	struct in6_addr src = circuit_inet_bound(sk);
	struct circuit_line *line;
	long left;
	int err;

	*reason = CIRCUIT_REASON_NO_OPERATOR;
	line = circuit_line_get();
	if (!line)
		return NOT_OURS;
	if (!in)
		in = inet_attach(sk);
	if (in)
		set_mode(in, INET_ASKING);
	err = NOT_OURS;
	*reason = inet_csk(sk)->icsk_ulp_ops ? CIRCUIT_REASON_OPTION : CIRCUIT_REASON_NO_MEMORY;
	if (!in)
		goto put_line;
	memcpy(call.dst, dst, sizeof(call.dst));
	if (!circuit_inet_is_any(&src))
		memcpy(call.src, &src, sizeof(call.src));
	call.src_port = inet_sk(sk)->inet_num;

	err = circuit_ep_call(&in->ep, line, &call);
	*reason = err == -ENOMEM ? CIRCUIT_REASON_NO_MEMORY : CIRCUIT_REASON_LINE_DOWN;
	if (!err) {
		left = wait_for_completion_killable_timeout(&in->ep.decided, circuit_inet_patience());
		if (left < 0)
			err = -EINTR;
		else if (left && in->ep.native && in->ep.reason == CIRCUIT_REASON_NO_LISTENER &&
			 !circuit_inet_route(sk, dst, NULL))
			/* The exchange knows the host, and knows that nobody listens there. */
			circuit_ep_fail(&in->ep, ECONNREFUSED, in->ep.reason);
		else if (!left || in->ep.native)
			err = NOT_OURS;
		else if (READ_ONCE(in->ep.state) == TCP_CLOSE)
			err = sock_error(sk) ?: -ECONNREFUSED;
		*reason = left ? in->ep.reason : CIRCUIT_REASON_TIMEOUT;
	}
	if (err == -ENETDOWN || err == -ENOMEM)
		err = NOT_OURS;	/* no line any more, or no way to ask */
	if (!err) {
		set_mode(in, INET_CIRCUIT);
		if (!in->ep.native)
			circuit_path_count(sk, true);
		/* Who polled meanwhile was told nothing. */
		sk->sk_state_change(sk);
	} else {
		circuit_ep_disconnect(&in->ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		WRITE_ONCE(sk->sk_err, 0);
		WRITE_ONCE(sk->sk_shutdown, 0);
		set_mode(in, INET_IDLE);
		if (err != NOT_OURS && err != -EINTR) {
			in->ep.reason = *reason;
			circuit_path_refused(sk, *reason);
		}
	}
put_line:
	circuit_line_put(line);
	return err;
}

/* connect() to an address; the socket is owned. As inet_stream_connect() from there on. */
static int connect_circuit(struct socket *sock, struct circuit_ep *ep, int flags)
{
	struct sock *sk = sock->sk;
	bool first = sock->state == SS_UNCONNECTED;
	long timeo;
	int err;

	switch (sock->state) {
	case SS_UNCONNECTED:
		sock->state = SS_CONNECTING;
		err = -EINPROGRESS;
		break;
	case SS_CONNECTING:
		err = -EALREADY;
		break;
	case SS_CONNECTED:
		return -EISCONN;
	default:
		return -EINVAL;
	}
	timeo = sock_sndtimeo(sk, flags & O_NONBLOCK);
	/* Programs expect no other answer the first time, however soon there is one. */
	if (!timeo && (first || READ_ONCE(ep->state) == TCP_SYN_SENT))
		return err;
	if (READ_ONCE(ep->state) == TCP_SYN_SENT) {
		timeo = circuit_ep_wait(ep, timeo);
		if (READ_ONCE(ep->state) == TCP_SYN_SENT)
			return signal_pending(current) ? sock_intr_errno(timeo) : err;
	}
	if (smp_load_acquire(&ep->state) == TCP_CLOSE) {
		sock->state = SS_UNCONNECTED;
		return sock_error(sk) ?: -ECONNABORTED;
	}
	sock->state = SS_CONNECTED;
	return 0;
}

static void unlist(struct circuit_inet *in)
{
	mutex_lock(&listeners_lock);
	list_del_init(&in->node);
	mutex_unlock(&listeners_lock);
}

static void disconnect(struct socket *sock, struct circuit_inet *in)
{
	unlist(in);
	circuit_ep_unlisten(&in->ep);
	/* As tcp_disconnect() has it. */
	if (in->mode == INET_CIRCUIT && in->ep.state != TCP_CLOSE)
		WRITE_ONCE(sock->sk->sk_err, ECONNRESET);
	circuit_ep_disconnect(&in->ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
	sock->sk->sk_shutdown = 0;
	set_mode(in, INET_IDLE);
}

static int circuit_inet_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len,
				int flags)
{
	const struct sockaddr *addr = (const struct sockaddr *)uaddr;
	struct inet_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_inet *in;
	struct in6_addr dst;
	bool native = true;
	u32 port, reason;
	int err = 0;

	if (len < sizeof(addr->sa_family))
		return -EINVAL;
	__module_get(THIS_MODULE);
	lock_sock(sk);
	in = inet_get(sk);
	if (READ_ONCE(sock->ops) != &f->ops)
		goto unlock;	/* somebody was here before us */
	if (addr->sa_family == AF_UNSPEC) {
		if (in)
			disconnect(sock, in);
		goto unlock;
	}
	if (in && in->mode == INET_CIRCUIT &&
	    (sock->state != SS_UNCONNECTED || in->ep.state != TCP_CLOSE)) {
		err = sock->state == SS_UNCONNECTED ? -EISCONN :
			connect_circuit(sock, &in->ep, flags);
		native = false;
		goto unlock;
	}
	if (sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE ||
	    !circuit_inet_parse(sk, addr, len, &dst, &port))
		goto unlock;	/* TCP will say what is wrong */
	err = NOT_OURS;
	reason = why_native(sk, circuit_inet_is_ours(sock_net(sk), &dst));
	if (!reason)
		err = ask(sk, &dst, port, &reason);
	if (err == NOT_OURS) {
		go_native(sock, f, reason);
		goto unlock;
	}
	native = false;
	if (!err)
		err = connect_circuit(sock, &inet_get(sk)->ep, flags);
unlock:
	release_sock(sk);
	if (native)
		err = f->tcp_ops->connect(sock, uaddr, len, flags);
	module_put(THIS_MODULE);
	return err;
}

/* --- listen and accept -------------------------------------------------------------- */

/* Withdraw a listener that has an option which circuits cannot honour; the socket is owned. */
static bool withdraw(struct sock *sk, struct circuit_inet *in)
{
	struct circuit_ep *ep = &in->ep;
	struct in6_addr addr = circuit_inet_bound(sk);
	enum circuit_reason reason = why_native(sk, circuit_inet_is_inside(&addr));

	if (!reason)
		return false;
	circuit_ep_unlisten(ep);
	circuit_ep_lock(ep);
	WRITE_ONCE(ep->state, TCP_CLOSE);
	ep->reason = reason;
	circuit_ep_unlock(ep);
	return true;
}

/* Publish a listener; the socket is owned. Whatever fails, TCP's listener remains. */
static void publish(struct sock *sk, struct circuit_inet *in)
{
	struct circuit_ep *ep = &in->ep;
	struct circuit_sig_listen what = {
		.type = CIRCUIT_SIG_STREAM,
		.flags = CIRCUIT_SIG_IP,
		.port = inet_sk(sk)->inet_num,
	};
	struct in6_addr addr = circuit_inet_bound(sk);
	u32 backlog = READ_ONCE(sk->sk_max_ack_backlog) + 1;
	struct circuit_listener *lst;
	struct circuit_line *line;

	if (withdraw(sk, in))
		return;
	if (ep->lst && ep->state == TCP_LISTEN) {
		circuit_listener_publish(ep->lst, backlog);
		return;
	}
	ep->reason = CIRCUIT_REASON_NO_OPERATOR;
	line = circuit_line_get();
	if (!line)
		return;
	circuit_ep_unlisten(ep);	/* that of a line that went */
	memcpy(what.addr, &addr, sizeof(what.addr));
	if (sk->sk_family == AF_INET6 && ipv6_only_sock(sk))
		what.flags |= CIRCUIT_SIG_V6ONLY;
	if (sk->sk_reuseport)
		what.flags |= CIRCUIT_SIG_REUSEPORT;
	ep->reason = CIRCUIT_REASON_NO_MEMORY;
	lst = circuit_listener_create(line, ep, &what);
	if (!lst)
		goto put_line;
	WRITE_ONCE(ep->lst, lst);
	if (circuit_listener_publish(lst, backlog)) {
		ep->reason = lst->reason ?: CIRCUIT_REASON_TIMEOUT;
		circuit_ep_unlisten(ep);
		goto put_line;
	}
	circuit_ep_lock(ep);
	ep->reason = CIRCUIT_REASON_LINE_DELETED;
	if (circuit_line_up(line)) {
		ep->reason = CIRCUIT_REASON_NONE;
		smp_store_release(&ep->state, TCP_LISTEN);
	}
	circuit_ep_unlock(ep);
	sk->sk_data_ready(sk);	/* calls may have been faster */
put_line:
	circuit_line_put(line);
}

static void publish_all(struct work_struct *work)
{
	struct circuit_inet *in;

	mutex_lock(&listeners_lock);
	/* Those that are done go to the end, where new ones come as well. */
	publish_round++;
	while ((in = list_first_entry_or_null(&listeners, struct circuit_inet, node)) &&
	       in->round != publish_round) {
		struct sock *sk = in->ep.sk;

		in->round = publish_round;
		list_move_tail(&in->node, &listeners);
		sock_hold(sk);
		refcount_inc(&in->ep.ref);
		mutex_unlock(&listeners_lock);
		lock_sock(sk);
		if (sk->sk_state == TCP_LISTEN && inet_get(sk) == in)
			publish(sk, in);
		release_sock(sk);
		circuit_ep_put(&in->ep);
		sock_put(sk);
		mutex_lock(&listeners_lock);
	}
	mutex_unlock(&listeners_lock);
}
static DECLARE_WORK(publish_work, publish_all);

/**
 * circuit_inet_for_listeners - go through the TCP listeners that may be published
 * @fn: called with each one's socket and endpoint, until it returns other than 0; may
 *	not sleep, nor let go of them
 * @arg: for @fn
 *
 * Context: process.
 *
 * Return: 0, or what @fn returned.
 */
int circuit_inet_for_listeners(int (*fn)(struct sock *sk, struct circuit_ep *ep, void *arg),
			       void *arg)
{
	struct circuit_inet *in;
	int ret = 0;

	mutex_lock(&listeners_lock);
	rcu_read_lock();
	list_for_each_entry(in, &listeners, node) {
		ret = fn(in->ep.sk, &in->ep, arg);
		if (ret)
			break;
	}
	rcu_read_unlock();
	mutex_unlock(&listeners_lock);
	return ret;
}

/**
 * circuit_inet_line_up - a line has come up: publish the listeners there are
 *
 * Context: any.
 */
void circuit_inet_line_up(void)
{
	schedule_work(&publish_work);
}

static int circuit_inet_listen(struct socket *sock, int backlog)
{
	struct inet_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_inet *in;
	int err;

	/* A listener keeps our ops, so the socket keeps the module. */
	lock_sock(sk);
	in = inet_get(sk);
	if (in && in->mode == INET_CIRCUIT && in->ep.state != TCP_CLOSE) {
		release_sock(sk);
		return -EINVAL;
	}
	release_sock(sk);
	err = f->tcp_ops->listen(sock, backlog);
	if (err)
		return err;
	lock_sock(sk);
	if (sk->sk_state == TCP_LISTEN && READ_ONCE(sock->ops) == &f->ops) {
		in = inet_get(sk) ?: inet_attach(sk);
		if (in) {
			set_mode(in, INET_LISTENER);
			mutex_lock(&listeners_lock);
			if (list_empty(&in->node)) {
				in->round = publish_round;
				list_add_tail(&in->node, &listeners);
			}
			mutex_unlock(&listeners_lock);
			publish(sk, in);
		} else {
			circuit_path_native(sock, CIRCUIT_REASON_OPTION);
		}
	}
	release_sock(sk);
	return 0;
}

/*
 * What a socket that is accepted has from the listener, as sk_clone_lock() and
 * tcp_ca_openreq_child() have it: first of all what there are functions for, which lock the socket.
 */
static void inherit_unlocked(const struct sock *sk, struct socket *sock)
{
	char name[TCP_CA_NAME_MAX];
	struct sock *newsk = sock->sk;

	if (compat_recverr(sk)) {
		if (sk->sk_family == AF_INET6)
			ip6_sock_set_recverr(newsk);
		else
			ip_sock_set_recverr(newsk);
	}
	if (!inet_csk(sk)->icsk_ca_setsockopt)
		return;
	rcu_read_lock();
	strscpy(name, READ_ONCE(inet_csk(sk)->icsk_ca_ops)->name, sizeof(name));
	rcu_read_unlock();
	/* Only a name here; one that its user may not choose any more need not be. */
	sock->ops->setsockopt(sock, SOL_TCP, TCP_CONGESTION, KERNEL_SOCKPTR(name), strlen(name));
}

static void inherit(const struct sock *sk, struct sock *newsk)
{
	const unsigned long flags = BIT(SOCK_KEEPOPEN) | BIT(SOCK_LINGER) | BIT(SOCK_URGINLINE) |
				    BIT(SOCK_DBG) | BIT(SOCK_BROADCAST) | BIT(SOCK_ZEROCOPY) |
				    BIT(SOCK_SELECT_ERR_QUEUE);
	const struct tcp_sock *tp = tcp_sk(sk);
	struct tcp_sock *newtp = tcp_sk(newsk);

	newsk->sk_flags |= sk->sk_flags & flags;
	newsk->sk_lingertime = sk->sk_lingertime;
	newsk->sk_rcvtimeo = sk->sk_rcvtimeo;
	newsk->sk_sndtimeo = sk->sk_sndtimeo;
	newsk->sk_rcvlowat = sk->sk_rcvlowat;
	newsk->sk_incoming_cpu = raw_smp_processor_id();
	newsk->sk_reuse = sk->sk_reuse;
	newsk->sk_reuseport = sk->sk_reuseport;
	newsk->sk_userlocks = sk->sk_userlocks & (SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK);
#ifdef CONFIG_NET_RX_BUSY_POLL
	newsk->sk_ll_usec = sk->sk_ll_usec;
#endif
	newtp->nonagle = tp->nonagle;
	newtp->keepalive_time = tp->keepalive_time;
	newtp->keepalive_intvl = tp->keepalive_intvl;
	newtp->keepalive_probes = tp->keepalive_probes;
	newtp->linger2 = tp->linger2;
	newtp->notsent_lowat = tp->notsent_lowat;
	newtp->recvmsg_inq = tp->recvmsg_inq;
	newtp->rx_opt.user_mss = tp->rx_opt.user_mss;
	inet_csk(newsk)->icsk_user_timeout = inet_csk(sk)->icsk_user_timeout;
	inet_csk(newsk)->icsk_syn_retries = inet_csk(sk)->icsk_syn_retries;
	inet_sk(newsk)->tos = inet_sk(sk)->tos;
	inet_sk(newsk)->uc_ttl = inet_sk(sk)->uc_ttl;
	if (sk->sk_family == AF_INET6)
		newsk->sk_ipv6only = sk->sk_ipv6only;
}

/* Make a TCP socket of a circuit, for which the queue's reference is consumed. */
static int make_child(const struct sock *sk, struct socket *newsock, struct circuit *c)
{
	struct circuit_inet *in;
	struct socket *tmp;
	struct sock *newsk;
	int err;

	/* TCP's own code makes it, not for a program as yet. */
	err = sock_create_kern(sock_net(sk), sk->sk_family, SOCK_STREAM, IPPROTO_TCP, &tmp);
	if (err)
		return err;
	newsk = tmp->sk;
	inherit_unlocked(sk, tmp);
	lock_sock(newsk);
	in = inet_attach(newsk);
	if (!in) {
		release_sock(newsk);
		sock_release(tmp);
		return -ENOMEM;
	}
	set_mode(in, INET_CIRCUIT);
	tmp->sk = NULL;
	compat_net_refcnt_upgrade(newsk);
	security_sk_clone(sk, newsk);
	inherit(sk, newsk);
	sock_graft(newsk, newsock);
	newsock->state = SS_CONNECTED;
	compat_custom_sockopt(newsock);
	release_sock(newsk);
	sock_release(tmp);
	circuit_path_count(newsk, false);
	circuit_ep_adopt(&in->ep, c);
	return 0;
}

static int accept_circuit(struct socket *sock, struct socket *newsock)
{
	struct sock *sk = sock->sk;
	struct circuit_inet *in;
	struct circuit *c = NULL;
	int err;

	lock_sock(sk);
	in = inet_get(sk);
	if (in && in->ep.lst)
		c = circuit_listener_pop(in->ep.lst);
	release_sock(sk);
	if (!c)
		return -EAGAIN;
	err = make_child(sk, newsock, c);
	if (err) {	/* nobody will ever have it */
		circuit_hangup(c, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		circuit_put(c);
	}
	return err;
}

static int accept_native(struct inet_family *f, struct socket *sock, struct socket *newsock,
			 COMPAT_ACCEPT_ARGS)
{
	int err = compat_accept_nonblock(f->tcp_ops, sock, newsock, COMPAT_ACCEPT_PASS);

	if (!err)
		set_tcp_ops(newsock, f);	/* do_accept() has taken the module for it */
	return err;
}

static int circuit_inet_accept(struct socket *sock, struct socket *newsock, COMPAT_ACCEPT_ARGS)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct inet_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_inet *in;
	bool circuits;
	long timeo;
	int i, err;

	__module_get(THIS_MODULE);
	timeo = sock_rcvtimeo(sk, compat_accept_flags & O_NONBLOCK);
	wait.flags |= WQ_FLAG_EXCLUSIVE;
	add_wait_queue_exclusive(sk_sleep(sk), &wait);
	for (;;) {
		/* Each in turn comes first, so that neither waits for the other to end. */
		lock_sock(sk);
		in = inet_get(sk);
		circuits = in && (in->turn = !in->turn);
		release_sock(sk);
		err = -EAGAIN;
		for (i = 0; i < 2 && err == -EAGAIN; i++, circuits = !circuits)
			err = circuits ? accept_circuit(sock, newsock) :
				accept_native(f, sock, newsock, COMPAT_ACCEPT_PASS);
		if (err != -EAGAIN || !timeo)
			break;
		err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	module_put(THIS_MODULE);
	return err;
}

/* --- the rest ----------------------------------------------------------------------- */

static int circuit_inet_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct circuit_inet *in;

	if (!sk)
		return 0;
	lock_sock(sk);
	in = inet_get(sk);
	if (in) {
		unlist(in);
		circuit_ep_close(&in->ep);
		set_mode(in, INET_IDLE);
		inet_detach(sk, in);
	}
	release_sock(sk);
	/* The caller puts the module, by the ops that were there before this. */
	return family_of(sock)->tcp_ops->release(sock);
}

static int circuit_inet_bind(struct socket *sock, struct compat_sockaddr *uaddr, int len)
{
	struct circuit_ep *ep = on_circuit(sock->sk, true);

	if (ep && READ_ONCE(ep->state) != TCP_CLOSE)
		return -EINVAL;
	return TCPS(sock, bind, sock, uaddr, len);
}

static int circuit_inet_getname(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct sock *sk = sock->sk;
	struct circuit_ep *ep = on_circuit(sk, true);
	struct circuit *c;
	int err = -ENOTCONN;

	if (!ep)
		return TCPS(sock, getname, sock, uaddr, peer);
	lock_sock(sk);
	circuit_ep_lock(ep);
	c = ep->c ?: ep->call;
	/* 2 is accept() asking, which wants to know even of those who have gone. */
	if (ep->c && peer && (peer == 2 || ep->state == TCP_ESTABLISHED))
		err = circuit_inet_name(sk, uaddr, &c->remote, c->peer_port);
	else if (c && !peer)
		err = circuit_inet_name(sk, uaddr, &c->local, c->local_port);
	circuit_ep_unlock(ep);
	release_sock(sk);
	return err == -ENOTCONN && !peer ? TCPS(sock, getname, sock, uaddr, peer) : err;
}

static __poll_t circuit_inet_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct circuit_listener *lst;
	struct circuit_ep *ep;
	struct circuit_inet *in;
	__poll_t mask;

	ep = on_circuit(sk, false);
	if (ep) {
		sock_poll_wait(file, sock, wait);
		return circuit_stream_poll(ep, poll_requested_events(wait));
	}
	if (is_asking(sk)) {
		sock_poll_wait(file, sock, wait);
		return 0;
	}
	mask = TCPS(sock, poll, file, sock, wait);
	if (sk->sk_state == TCP_LISTEN) {
		rcu_read_lock();
		in = inet_get(sk);
		lst = in ? READ_ONCE(in->ep.lst) : NULL;
		if (lst && READ_ONCE(lst->queued))
			mask |= EPOLLIN | EPOLLRDNORM;
		rcu_read_unlock();
	}
	return mask;
}

static int circuit_inet_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct circuit_ep *ep = on_circuit(sock->sk, true);
	int val;

	if (cmd == SIOCCIRCUITKICK)
		return ep ? circuit_map_kick(ep) : -ENOTCONN;
	if (!ep)
		return TCPS(sock, ioctl, sock, cmd, arg);
	if (cmd == SIOCATMARK)
		val = circuit_stream_at_mark(ep);
	else if (cmd == SIOCINQ)
		val = circuit_stream_inq(ep);
	else if (cmd == SIOCOUTQ || cmd == SIOCOUTQNSD)
		val = circuit_stream_unsent(ep);
	else
		return TCPS(sock, ioctl, sock, cmd, arg);
	return put_user(val, (int __user *)arg);
}

#ifdef CONFIG_COMPAT
static int circuit_inet_compat_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	if (cmd == SIOCCIRCUITKICK)
		return circuit_inet_ioctl(sock, cmd, arg);
	return TCPS(sock, compat_ioctl, sock, cmd, arg);
}
#endif

static int circuit_inet_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct circuit_ep *ep = on_circuit(sk, true);
	struct circuit_inet *in;
	int err = 0;

	if (!ep) {
		__module_get(THIS_MODULE);
		err = family_of(sock)->tcp_ops->shutdown(sock, how);
		lock_sock(sk);
		in = inet_get(sk);
		if (in && sk->sk_state != TCP_LISTEN) {
			unlist(in);
			circuit_ep_unlisten(&in->ep);
		}
		release_sock(sk);
		module_put(THIS_MODULE);
		return err;
	}
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	lock_sock(sk);
	if (sock->state == SS_CONNECTING)
		sock->state = ep->state == TCP_ESTABLISHED ? SS_CONNECTED : SS_UNCONNECTED;
	if (ep->state == TCP_SYN_SENT) {
		circuit_ep_disconnect(ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
	} else {
		if (ep->state == TCP_CLOSE)
			err = -ENOTCONN;
		circuit_ep_shutdown(ep, how + 1);	/* SHUT_* become *_SHUTDOWN */
	}
	sk->sk_state_change(sk);
	release_sock(sk);
	return err;
}

/* Options that mean something to the far end of a circuit if that is a socket. */
static bool option_is_told(int level, int optname)
{
	return level == SOL_TCP && (optname == TCP_KEEPIDLE || optname == TCP_KEEPINTVL ||
				    optname == TCP_KEEPCNT || optname == TCP_USER_TIMEOUT);
}

/* Options that make a TCP connection something else. */
static bool option_is_tcps(int level, int optname)
{
	if (level == SOL_TCP)
		return optname == TCP_ULP || optname == TCP_REPAIR ||
		       optname == TCP_FASTOPEN_CONNECT || optname == TCP_MD5SIG ||
		       optname == TCP_MD5SIG_EXT || compat_is_tcp_ao(optname);
	return level == SOL_IPV6 && optname == IPV6_ADDRFORM;
}

/* Options of the socket layer that has_option() looks for. */
static bool option_is_networks(int level, int optname)
{
	if (level != SOL_SOCKET)
		return false;
	switch (optname) {
	case SO_DONTROUTE:
	case SO_MARK:
	case SO_BINDTODEVICE:
	case SO_BINDTOIFINDEX:
	case SO_ATTACH_FILTER:
	case SO_ATTACH_BPF:
	case SO_ATTACH_REUSEPORT_CBPF:
	case SO_ATTACH_REUSEPORT_EBPF:
	case SO_TIMESTAMP_OLD:
	case SO_TIMESTAMP_NEW:
	case SO_TIMESTAMPNS_OLD:
	case SO_TIMESTAMPNS_NEW:
	case SO_TIMESTAMPING_OLD:
	case SO_TIMESTAMPING_NEW:
	case SO_TXTIME:
	case SO_MAX_PACING_RATE:
		return true;
	default:
		return false;
	}
}

/* An option was set. */
static void option_set(struct sock *sk, int level, int optname)
{
	struct circuit_inet *in;

	if (!option_is_told(level, optname) && READ_ONCE(sk->sk_state) != TCP_LISTEN)
		return;
	lock_sock(sk);
	in = inet_get(sk);
	if (in && in->mode == INET_LISTENER && in->ep.lst)
		withdraw(sk, in);	/* TCP's listener goes on */
	else if (option_is_told(level, optname))
		options_changed(sk);
	release_sock(sk);
}

/* Not one whose call has failed: that may be connected another time, and another way. */
static bool has_circuit(struct sock *sk)
{
	struct circuit_ep *ep = on_circuit(sk, true);

	return ep && READ_ONCE(ep->state) != TCP_CLOSE;
}

/*
 * Those of SOL_SOCKET come here since Linux 6.3, and if the socket has been a circuit or a
 * listener.
 */
static int circuit_inet_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
				   unsigned int optlen)
{
	struct inet_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_inet *in;
	int err = 0;

	__module_get(THIS_MODULE);
	if (option_is_tcps(level, optname)) {
		lock_sock(sk);
		in = inet_get(sk);
		/* Who keeps our methods can be of another family no more. */
		if (in && (in->mode == INET_CIRCUIT || (in->used && level == SOL_IPV6)))
			err = -EOPNOTSUPP;
		else if (sk->sk_state != TCP_LISTEN)
			go_native(sock, f, CIRCUIT_REASON_OPTION);
		release_sock(sk);
	} else if (option_is_networks(level, optname) && has_circuit(sk)) {
		err = -EOPNOTSUPP;
	}
	if (!err)
		err = level == SOL_SOCKET ?
			sock_setsockopt(sock, level, optname, optval, optlen) :
			f->tcp_ops->setsockopt(sock, level, optname, optval, optlen);
	if (!err)
		option_set(sk, level, optname);
	module_put(THIS_MODULE);
	return err;
}

#ifdef COMPAT_OPTIONS_UNSEEN
/*
 * Here nobody asks a protocol about options of the socket layer: where they are set, those that a
 * circuit does not take become one that there is not. sock_setsockopt(sock, level, optname, ...), with
 * preemption off.
 */
static int refuse_option(struct kprobe *probe, struct pt_regs *regs)
{
	struct socket *sock = (struct socket *)regs_get_kernel_argument(regs, 0);
	int level = regs_get_kernel_argument(regs, 1);
	int optname = regs_get_kernel_argument(regs, 2);
	const struct proto_ops *ops = READ_ONCE(sock->ops);
	struct circuit_inet *in;

	if (likely(ops != &families[0].ops && ops != &families[1].ops) ||
	    !option_is_networks(level, optname))
		return 0;
	rcu_read_lock();
	in = inet_get(sock->sk);
	if (in && smp_load_acquire(&in->mode) == INET_CIRCUIT &&
	    READ_ONCE(in->ep.state) != TCP_CLOSE)
		compat_set_argument2(regs, -1);
	rcu_read_unlock();
	return 0;
}

static struct kprobe option_probe = {
	.symbol_name = "sock_setsockopt",
	.pre_handler = refuse_option,
};
static bool probing_options;

static void options_see(void)
{
	int err = register_kprobe(&option_probe);

	probing_options = !err;
	if (err)
		pr_warn("circuit: no kprobe on %s (%d): options that circuits do not take have no effect\n",
			option_probe.symbol_name, err);
}

static void options_see_no_more(void)
{
	if (probing_options)
		unregister_kprobe(&option_probe);
}
#else
static void options_see(void) { }
static void options_see_no_more(void) { }
#endif

/* What can be said of a circuit in TCP's terms. */
static int get_tcp_info(struct sock *sk, struct circuit_ep *ep, char __user *optval,
			int __user *optlen)
{
	struct tcp_info info;
	int len;

	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	tcp_get_info(sk, &info);
	lock_sock(sk);
	info.tcpi_state = ep->state;
	if (ep->state == TCP_ESTABLISHED && circuit_stream_ended(ep))
		info.tcpi_state = TCP_CLOSE_WAIT;
	if (ep->c) {
		info.tcpi_bytes_acked = circuit_tx_total(ep->c);
		info.tcpi_bytes_received = circuit_rx_total(ep->c);
	}
	release_sock(sk);
	len = min_t(unsigned int, len, sizeof(info));
	if (put_user(len, optlen) || copy_to_user(optval, &info, len))
		return -EFAULT;
	return 0;
}

/* That of a socket whose connect() was refused: why? Referenced; NULL if it was not. */
static struct circuit_ep *get_refused(struct sock *sk)
{
	struct circuit_ep *ep = NULL;
	struct circuit_inet *in;

	lock_sock(sk);
	in = inet_get(sk);
	if (in && in->mode == INET_IDLE && in->ep.reason) {
		ep = &in->ep;
		refcount_inc(&ep->ref);
	}
	release_sock(sk);
	return ep;
}

static int circuit_inet_getsockopt(struct socket *sock, int level, int optname,
				   char __user *optval, int __user *optlen)
{
	struct circuit_ep *ep = on_circuit(sock->sk, true), *refused;
	int err;

	if (ep && level == SOL_CIRCUIT)
		return circuit_ep_getsockopt(ep, optname, optval, optlen);
	if (!ep && level == SOL_CIRCUIT && optname == CIRCUIT_SO_REASON) {
		__module_get(THIS_MODULE);
		refused = get_refused(sock->sk);
		err = NOT_OURS;
		if (refused) {
			err = circuit_ep_getsockopt(refused, optname, optval, optlen);
			circuit_ep_put(refused);
		}
		module_put(THIS_MODULE);
		if (err != NOT_OURS)
			return err;
	}
	if (ep && level == SOL_TCP && optname == TCP_INFO)
		return get_tcp_info(sock->sk, ep, optval, optlen);
	if (ep && level == SOL_TCP && optname == TCP_ZEROCOPY_RECEIVE)
		return -EOPNOTSUPP;
	return TCPS(sock, getsockopt, sock, level, optname, optval, optlen);
}

/*
 * MSG_ZEROCOPY: what is sent is copied into the ring, so the program may have its memory
 * back at once, and is told so as it would be of TCP over loopback.
 */
static int send_zerocopy(struct circuit_ep *ep, struct msghdr *msg, size_t len)
{
	struct ubuf_info *ubuf = compat_zerocopy_alloc(ep->sk, len);
	int ret;

	if (!ubuf)
		return -ENOBUFS;
	uarg_to_msgzc(ubuf)->zerocopy = 0;
	ret = circuit_stream_sendmsg(ep, msg, len);
	if (ret > 0)
		net_zcopy_put(ubuf);
	else
		net_zcopy_put_abort(ubuf, true);
	return ret;
}

static int circuit_inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct inet_family *f = family_of(sock);
	struct sock *sk = sock->sk;
	struct circuit_ep *ep = on_circuit(sk, true);
	int err;

	if (likely(ep)) {
		/* Somebody in the kernel who brings his own is content with a copy. */
		if (unlikely(msg->msg_flags & MSG_ZEROCOPY && sock_flag(sk, SOCK_ZEROCOPY) && len &&
			     !msg->msg_ubuf))
			return send_zerocopy(ep, msg, len);
		return circuit_stream_sendmsg(ep, msg, len);
	}
	__module_get(THIS_MODULE);
	if (msg->msg_flags & MSG_FASTOPEN) {
		lock_sock(sk);
		if (sk->sk_state != TCP_LISTEN)
			go_native(sock, f, CIRCUIT_REASON_OPTION);
		release_sock(sk);
	}
	err = f->tcp_ops->sendmsg(sock, msg, len);
	module_put(THIS_MODULE);
	return err;
}

/*
 * What recv() would find next, as tcp_inq_hint() has it: that the stream has ended counts as a
 * byte.
 */
static void tell_inq(struct circuit_ep *ep, struct msghdr *msg)
{
	bool ended = circuit_stream_ended(ep);	/* before what there is before that */

	msg->msg_inq = circuit_stream_unread(ep) ?: ended;
	if (tcp_sk(ep->sk)->recvmsg_inq)
		put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(msg->msg_inq), &msg->msg_inq);
}

static int circuit_inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct circuit_ep *ep = on_circuit(sock->sk, true);
	int ret;

	/* The queue of errors is the socket's, whatever it is. */
	if (unlikely(!ep || flags & MSG_ERRQUEUE))
		return TCPS(sock, recvmsg, sock, msg, len, flags);
	ret = circuit_stream_recvmsg(ep, msg, len, flags);
	if (ret >= 0 && unlikely(msg->msg_get_inq || tcp_sk(ep->sk)->recvmsg_inq))
		tell_inq(ep, msg);
	return ret;
}

static ssize_t circuit_inet_splice_read(struct socket *sock, loff_t *ppos,
					struct pipe_inode_info *pipe, size_t len,
					unsigned int flags)
{
	if (on_circuit(sock->sk, true))
		return compat_splice_read(sock->file, ppos, pipe, len, flags);
	return TCPS(sock, splice_read, sock, ppos, pipe, len, flags);
}

static int circuit_inet_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma)
{
	/* Not one to wait for: mmap_lock is held. */
	struct circuit_ep *ep = on_circuit(sock->sk, false);

	if (ep)
		return circuit_map(ep, vma, file);
	return TCPS(sock, mmap, file, sock, vma);
}

static int circuit_inet_set_rcvlowat(struct sock *sk, int val)
{
	if (!on_circuit(sk, true))
		return families[sk->sk_family == AF_INET6].tcp_ops->set_rcvlowat(sk, val);
	WRITE_ONCE(sk->sk_rcvlowat, val ?: 1);
	sk->sk_data_ready(sk);
	return 0;
}

/* SO_PEEK_OFF, which TCP has since Linux 6.9. */
static int circuit_inet_set_peek_off(struct sock *sk, int val)
{
	return has_circuit(sk) ? -EOPNOTSUPP : sk_set_peek_off(sk, val);
}

#ifdef COMPAT_SENDPAGE
static ssize_t circuit_inet_sendpage(struct socket *sock, struct page *page, int offset,
				     size_t size, int flags)
{
	if (on_circuit(sock->sk, true))
		return sock_no_sendpage(sock, page, offset, size, flags);
	return TCPS(sock, sendpage, sock, page, offset, size, flags);
}
#endif

/* --- registration ------------------------------------------------------------------- */

/* A socket is made by TCP, under our number; from then on it is TCP's as well. */
static int inet_init_sock(struct sock *sk, struct inet_family *f)
{
	sk->sk_protocol = IPPROTO_TCP;
	sk->sk_prot_creator = f->tcp_prot;
	WRITE_ONCE(sk->sk_prot, f->tcp_prot);
	return f->tcp_prot->init(sk);
}

static int init_sock4(struct sock *sk)
{
	return inet_init_sock(sk, &families[0]);
}

static int init_sock6(struct sock *sk)
{
	return inet_init_sock(sk, &families[1]);
}

/* Not all of TCP's methods are exported: a socket has them. */
static int family_learn(struct inet_family *f, int family, int (*init)(struct sock *sk))
{
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, family, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return err;
	f->tcp_ops = sock->ops;
	f->tcp_prot = sock->sk->sk_prot;
	sock_release(sock);

	f->prot = *f->tcp_prot;
	f->prot.init = init;
	f->circuit_prot = *f->tcp_prot;
	f->circuit_prot.keepalive = circuit_inet_keepalive;
	f->ops = *f->tcp_ops;
	f->ops.owner = THIS_MODULE;
	f->ops.release = circuit_inet_release;
	f->ops.bind = circuit_inet_bind;
	f->ops.connect = circuit_inet_connect;
	f->ops.listen = circuit_inet_listen;
	f->ops.accept = circuit_inet_accept;
	f->ops.getname = circuit_inet_getname;
	f->ops.poll = circuit_inet_poll;
	f->ops.ioctl = circuit_inet_ioctl;
#ifdef CONFIG_COMPAT
	if (f->ops.compat_ioctl)
		f->ops.compat_ioctl = circuit_inet_compat_ioctl;
#endif
	f->ops.shutdown = circuit_inet_shutdown;
	f->ops.setsockopt = circuit_inet_setsockopt;
	f->ops.getsockopt = circuit_inet_getsockopt;
	f->ops.sendmsg = circuit_inet_sendmsg;
	f->ops.recvmsg = circuit_inet_recvmsg;
	f->ops.splice_read = circuit_inet_splice_read;
	f->ops.set_rcvlowat = circuit_inet_set_rcvlowat;
	if (f->ops.set_peek_off)
		f->ops.set_peek_off = circuit_inet_set_peek_off;
	if (f->ops.mmap)
		f->ops.mmap = circuit_inet_mmap;
#ifdef COMPAT_SENDPAGE
	f->ops.sendpage = circuit_inet_sendpage;
#endif
	f->protosw.type = SOCK_STREAM;
	f->protosw.protocol = IPPROTO_CIRCUIT;
	f->protosw.prot = &f->prot;
	f->protosw.ops = &f->ops;
	f->protosw.flags = INET_PROTOSW_ICSK;
	return 0;
}

/**
 * circuit_inet_init - learn from TCP what sockets are like
 *
 * Return: 0 or a negative errno. A machine without IPv6 has none of it here either.
 */
int circuit_inet_init(void)
{
	int err;

	err = family_learn(&families[0], AF_INET, init_sock4);
	if (err)
		return err;
	err = family_learn(&families[1], AF_INET6, init_sock6);
	if (err)
		families[1].tcp_ops = NULL;
	return err == -ENOMEM ? err : 0;
}

/**
 * circuit_inet_register - register the protocol with both families
 */
void circuit_inet_register(void)
{
	int err;

	options_see();
	inet_register_protosw(&families[0].protosw);
	if (!families[1].tcp_ops)
		return;
	err = inet6_register_protosw(&families[1].protosw);
	if (err) {
		pr_warn("circuit: no circuits for AF_INET6 (%d)\n", err);
		families[1].tcp_ops = NULL;
	}
}

/**
 * circuit_inet_unregister - undo circuit_inet_register(); no socket has our methods any more
 */
void circuit_inet_unregister(void)
{
	if (families[1].tcp_ops)
		inet6_unregister_protosw(&families[1].protosw);
	inet_unregister_protosw(&families[0].protosw);
	options_see_no_more();
	cancel_work_sync(&publish_work);
	/* Whoever has put the module away may not have left it yet. */
	synchronize_rcu_tasks();
	rcu_barrier();
}

MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET, 261, 1);
MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET6, 261, 1);
