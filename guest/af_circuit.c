// SPDX-License-Identifier: GPL-2.0
/*
 * AF_CIRCUIT: the socket family.
 *
 * States are TCP's, as far as they can be told apart from outside: TCP_CLOSE,
 * TCP_SYN_SENT, TCP_ESTABLISHED, TCP_LISTEN; sock->state is kept as
 * af_inet.c keeps it. What the far end and the operator do arrives in the tasklet,
 * which changes sk_state, sk_err and sk_shutdown under sk_lock.slock and wakes
 * whoever waits; see guest.h for the order of locks.
 *
 * close() needs no lingering: what was written is in memory that the far end can
 * read until it hangs up as well, so HANGUP goes out at once. SO_LINGER with a
 * timeout waits for the far end to have read everything, which is more than TCP
 * promises.
 */
#include <linux/capability.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <net/tcp_states.h>
#include <asm/ioctls.h>
#include "guest.h"

static unsigned int call_timeout = 127;
module_param(call_timeout, uint, 0644);
MODULE_PARM_DESC(call_timeout, "seconds before an unanswered call fails with ETIMEDOUT");

/* Ports in use, by number. Only for sockets that were bound, not for accepted ones. */
static DEFINE_XARRAY_ALLOC(ports);
static u32 next_port;

static struct proto circuit_proto = {
	.name = "CIRCUIT",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct circuit_sock),
};

static const struct proto_ops circuit_stream_ops;

static void sock_lock_state(struct sock *sk)
	__acquires(&sk->sk_lock.slock)
{
	spin_lock_bh(&sk->sk_lock.slock);
}

static void sock_unlock_state(struct sock *sk)
	__releases(&sk->sk_lock.slock)
{
	spin_unlock_bh(&sk->sk_lock.slock);
}

static void write_space(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

/* The connection has ended, by an error unless that is 0. slock is held. */
static void sock_end(struct sock *sk, int err, u32 reason)
{
	circuit_sk(sk)->reason = reason;
	WRITE_ONCE(sk->sk_err, err);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);
	/* As in tcp_reset(): the error is there before the state says so. */
	smp_store_release(&sk->sk_state, TCP_CLOSE);
}

/**
 * circuit_sock_connected - a call was answered
 * @sk: its socket, valid under RCU
 * @c: the circuit, set up
 *
 * Context: the tasklet.
 *
 * Return: false if the socket no longer wants it.
 */
bool circuit_sock_connected(struct sock *sk, struct circuit *c)
{
	struct circuit_sock *cs = circuit_sk(sk);
	bool wanted;

	sock_lock_state(sk);
	wanted = cs->call == c;
	if (wanted) {
		cs->call = NULL;
		sk->sk_sndbuf = 2 * c->tx.size;
		sk->sk_rcvbuf = 2 * c->rx.size;
		smp_store_release(&cs->c, c);
		smp_store_release(&sk->sk_state, TCP_ESTABLISHED);
		sk_stop_timer(sk, &sk->sk_timer);
	}
	sock_unlock_state(sk);
	if (wanted) {
		sk->sk_state_change(sk);
		sk_wake_async(sk, SOCK_WAKE_IO, POLL_OUT);
	}
	return wanted;
}

/**
 * circuit_sock_refused - a call was refused
 * @sk: its socket, valid under RCU
 * @c: the call
 * @err: positive errno
 * @reason: enum circuit_reason
 *
 * Context: the tasklet or process.
 */
void circuit_sock_refused(struct sock *sk, struct circuit *c, int err, u32 reason)
{
	struct circuit_sock *cs = circuit_sk(sk);
	bool wanted;

	sock_lock_state(sk);
	wanted = cs->call == c;
	if (wanted) {
		cs->call = NULL;
		sock_end(sk, err, reason);
		sk_stop_timer(sk, &sk->sk_timer);
	}
	sock_unlock_state(sk);
	if (wanted) {
		sk_error_report(sk);
		sk->sk_state_change(sk);
		circuit_put(c);
	}
}

/**
 * circuit_sock_reset - a connection was cut off
 * @sk: its socket, valid under RCU
 * @c: the circuit
 * @err: positive errno
 * @reason: enum circuit_reason
 *
 * What is in the ring can still be read, as with TCP.
 *
 * Context: any but hard interrupt.
 */
void circuit_sock_reset(struct sock *sk, struct circuit *c, int err, u32 reason)
{
	struct circuit_sock *cs = circuit_sk(sk);
	bool done;

	sock_lock_state(sk);
	done = READ_ONCE(cs->c) != c || sk->sk_state == TCP_CLOSE;
	if (!done) {
		/* After the far end's FIN, TCP calls it a broken pipe. */
		if (err == ECONNRESET && READ_ONCE(c->rx.prod->flags) & CIRCUIT_TX_FIN)
			err = EPIPE;
		sock_end(sk, err, reason);
	}
	sock_unlock_state(sk);
	if (!done) {
		sk_error_report(sk);
		sk->sk_state_change(sk);
	}
}

/**
 * circuit_sock_kill - the far end broke the ring's rules
 * @sk: the socket
 * @c: its circuit
 *
 * Context: process or bottom half.
 */
void circuit_sock_kill(struct sock *sk, struct circuit *c)
{
	pr_warn_ratelimited("circuit: circuit %u: line %s broke the ring's rules, reset\n",
			    c->index, c->peer);
	circuit_sock_reset(sk, c, ECONNRESET, CIRCUIT_REASON_VIOLATION);
}

/**
 * circuit_sock_unlistened - the line went down under a listener
 * @sk: its socket, valid under RCU
 *
 * Context: any but hard interrupt.
 */
void circuit_sock_unlistened(struct sock *sk)
{
	sock_lock_state(sk);
	sock_end(sk, ENETDOWN, CIRCUIT_REASON_LINE_DELETED);
	sock_unlock_state(sk);
	sk_error_report(sk);
	sk->sk_state_change(sk);
}

/**
 * circuit_sock_leave_rings - wait for those at work in a socket's rings
 * @sk: the socket, referenced, its line down
 *
 * Context: process.
 */
void circuit_sock_leave_rings(struct sock *sk)
{
	struct circuit_sock *cs = circuit_sk(sk);

	mutex_lock(&cs->tx_mutex);
	mutex_unlock(&cs->tx_mutex);
	mutex_lock(&cs->rx_mutex);
	mutex_unlock(&cs->rx_mutex);
}

/* Act upon what the far end said about the stream as a whole. */
static void sock_flags(struct sock *sk, struct circuit *c, u32 flags)
{
	if (flags & ~(CIRCUIT_TX_FLAGS | CIRCUIT_RX_CLOSED << 16)) {
		circuit_sock_kill(sk, c);
		return;
	}
	if (flags & CIRCUIT_TX_FIN && !(c->seen_flags & CIRCUIT_TX_FIN)) {
		sock_lock_state(sk);
		if (circuit_sk(sk)->c == c)
			WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
		sock_unlock_state(sk);
	}
	c->seen_flags = flags;
	if (flags & CIRCUIT_TX_RST) {
		circuit_sock_reset(sk, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		return;
	}
	/* Closed for good with something of ours unread: a RST in TCP's eyes. */
	if (circuit_tx_lost(&c->tx)) {
		circuit_sock_reset(sk, c, ECONNRESET, CIRCUIT_REASON_PEER_RESET);
		return;
	}
	sk->sk_state_change(sk);
	if (flags & CIRCUIT_TX_FIN)
		sk_wake_async(sk, SOCK_WAKE_WAITD, POLL_IN);
}

/**
 * circuit_sock_attention - the far end has moved
 * @c: the circuit
 *
 * Wakes those, and only those, for whom something has changed; what exactly, they
 * find out by themselves.
 *
 * Context: the tasklet.
 */
void circuit_sock_attention(struct circuit *c)
{
	struct sock *sk = READ_ONCE(c->sk);
	u32 flags, tail, head;

	if (!sk)
		return;
	c->wakeups++;
	/* Flags before the tail, so that a FIN is not seen before the data. */
	flags = virt_load_acquire(&c->rx.prod->flags) |
		READ_ONCE(c->tx.cons->flags) << 16;
	tail = READ_ONCE(c->rx.prod->tail);
	head = READ_ONCE(c->tx.cons->head);
	if (tail != c->seen_tail) {
		c->seen_tail = tail;
		sk->sk_data_ready(sk);
	}
	if (flags != c->seen_flags)
		sock_flags(sk, c, flags);
	if (head != c->seen_head) {
		c->seen_head = head;
		sk->sk_write_space(sk);
	}
}

/* Nobody answered the call in time. */
static void call_timer(struct timer_list *t)
{
	struct sock *sk = compat_from_timer(sk, t, sk_timer);
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit *c;

	sock_lock_state(sk);
	/* If it is pending again, then for another call. */
	c = timer_pending(&sk->sk_timer) ? NULL : cs->call;
	if (c)
		circuit_get(c);
	sock_unlock_state(sk);
	if (c) {
		if (circuit_cancel(c))
			circuit_sock_refused(sk, c, ETIMEDOUT, CIRCUIT_REASON_TIMEOUT);
		circuit_put(c);
	}
	sock_put(sk);
}

static int port_bind(struct circuit_sock *cs, u32 port)
{
	int err;

	if (port) {
		if (port < CIRCUIT_PORT_RESERVED && !capable(CAP_NET_BIND_SERVICE))
			return -EACCES;
		err = xa_insert(&ports, port, cs, GFP_KERNEL);
		if (err)
			return err == -EBUSY ? -EADDRINUSE : err;
		cs->port = port;
	} else {
		err = xa_alloc_cyclic(&ports, &cs->port, cs,
				      XA_LIMIT(CIRCUIT_PORT_EPHEMERAL, U32_MAX), &next_port,
				      GFP_KERNEL);
		if (err < 0)
			return err == -EBUSY ? -EADDRINUSE : err;
	}
	cs->owns_port = true;
	return 0;
}

static void port_release(struct circuit_sock *cs)
{
	if (cs->owns_port)
		xa_erase(&ports, cs->port);
	cs->owns_port = false;
	cs->port = 0;
}

static void sock_setup(struct socket *sock, struct sock *sk)
{
	struct circuit_sock *cs = circuit_sk(sk);

	sock_init_data(sock, sk);
	sk->sk_family = PF_CIRCUIT;
	sk->sk_state = TCP_CLOSE;
	sk->sk_write_space = write_space;
	sock_set_flag(sk, SOCK_RCU_FREE);
	timer_setup(&sk->sk_timer, call_timer, 0);
	mutex_init(&cs->tx_mutex);
	mutex_init(&cs->rx_mutex);
	if (sock) {
		sock->ops = &circuit_stream_ops;
		compat_custom_sockopt(sock);
	}
}

static int circuit_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	struct sock *sk;

	/* The line belongs to the machine, as its network cards do. */
	if (!net_eq(net, &init_net))
		return -EAFNOSUPPORT;
	if (sock->type != SOCK_STREAM)
		return -ESOCKTNOSUPPORT;
	if (protocol)
		return -EPROTONOSUPPORT;
	sk = sk_alloc(net, PF_CIRCUIT, GFP_KERNEL, &circuit_proto, kern);
	if (!sk)
		return -ENOMEM;
	sock->state = SS_UNCONNECTED;
	sock_setup(sock, sk);
	return 0;
}

/* Give a connection or call up; the socket is owned, or nobody else can have it. */
static void sock_disconnect(struct sock *sk, u32 flags, enum circuit_reason reason)
{
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit *call, *c;

	sock_lock_state(sk);
	call = cs->call;
	cs->call = NULL;
	smp_store_release(&sk->sk_state, TCP_CLOSE);
	sk_stop_timer(sk, &sk->sk_timer);
	sock_unlock_state(sk);
	if (call) {
		/* If this is too late, the tasklet finds the call unwanted. */
		circuit_cancel(call);
		circuit_put(call);
	}

	mutex_lock(&cs->tx_mutex);
	mutex_lock(&cs->rx_mutex);
	c = cs->c;
	sock_lock_state(sk);
	WRITE_ONCE(cs->c, NULL);
	sock_unlock_state(sk);
	if (c) {
		circuit_hangup(c, flags, reason);
		circuit_put(c);
	}
	mutex_unlock(&cs->rx_mutex);
	mutex_unlock(&cs->tx_mutex);
}

static void sock_unlisten(struct sock *sk)
{
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_listener *lst = cs->lst;

	/* Out of poll()'s sight before it is freed. */
	WRITE_ONCE(cs->lst, NULL);
	if (lst)
		circuit_listener_close(lst);
}

/* Nothing follows; tx_mutex is held, so no writer is at work. */
static void send_fin(struct circuit_sock *cs)
{
	struct circuit *c = circuit_sock_rings(cs);

	if (!c || c->tx_flags & CIRCUIT_TX_FIN)
		return;
	circuit_tx_flag(&c->tx, CIRCUIT_TX_FIN, c->tx_flags);
	c->tx_flags |= CIRCUIT_TX_FIN;
	circuit_line_notify(c->line, c->index);
}

static void sock_linger(struct sock *sk)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct circuit_sock *cs = circuit_sk(sk);
	long timeo = sk->sk_lingertime;

	add_wait_queue(sk_sleep(sk), &wait);
	while (timeo && !circuit_stream_drained(cs) && sk->sk_state == TCP_ESTABLISHED &&
	       !signal_pending(current)) {
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
}

static int circuit_release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct circuit_sock *cs;
	u32 flags = CIRCUIT_TX_FIN;

	if (!sk)
		return 0;
	cs = circuit_sk(sk);
	lock_sock(sk);
	sock_unlisten(sk);
	if (cs->c) {
		/* As tcp_close(): unread data, or linger of zero, is an abort. */
		if (circuit_stream_unread(cs) ||
		    (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime)) {
			flags = CIRCUIT_TX_RST;
		} else if (sock_flag(sk, SOCK_LINGER) && !(current->flags & PF_EXITING)) {
			mutex_lock(&cs->tx_mutex);
			send_fin(cs);
			mutex_unlock(&cs->tx_mutex);
			sock_linger(sk);
		}
	}
	sock_disconnect(sk, flags, CIRCUIT_REASON_NONE);
	sk->sk_shutdown = SHUTDOWN_MASK;
	port_release(cs);
	sock_orphan(sk);
	release_sock(sk);
	sock->sk = NULL;
	sock_put(sk);
	return 0;
}

/*
 * Before 6.3 the socket layer does not ask us about its options. What it should
 * not have accepted is then refused when the socket is put to use.
 */
static bool sock_options_ok(const struct sock *sk)
{
	return !sk->sk_reuseport && !sk->sk_bound_dev_if && !rcu_access_pointer(sk->sk_filter) &&
	       !sock_flag(sk, SOCK_RCVTSTAMP) && !sock_flag(sk, SOCK_TXTIME);
}

static int check_addr(const struct sockaddr_circuit *addr, int len)
{
	size_t n;

	if (len < sizeof(*addr))
		return -EINVAL;
	if (addr->sc_family != AF_CIRCUIT)
		return -EAFNOSUPPORT;
	n = strnlen(addr->sc_line, CIRCUIT_NAME_SIZE);
	if (addr->sc_flags || n == CIRCUIT_NAME_SIZE ||
	    memchr_inv(addr->sc_line + n, 0, CIRCUIT_NAME_SIZE - n))
		return -EINVAL;
	return 0;
}

static int circuit_bind(struct socket *sock, struct compat_sockaddr *uaddr, int len)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	struct circuit_line *line;
	int err;

	err = check_addr(addr, len);
	if (err)
		return err;
	if (addr->sc_line[0]) {
		line = circuit_line_get();
		if (!line)
			return -EADDRNOTAVAIL;
		err = strncmp(line->name, addr->sc_line, CIRCUIT_NAME_SIZE) ? -EADDRNOTAVAIL : 0;
		circuit_line_put(line);
		if (err)
			return err;
	}
	lock_sock(sk);
	if (circuit_sk(sk)->port || sk->sk_state != TCP_CLOSE)
		err = -EINVAL;
	else if (!sock_options_ok(sk))
		err = -EOPNOTSUPP;
	else
		err = port_bind(circuit_sk(sk), addr->sc_port);
	release_sock(sk);
	return err;
}

/* Place the call; the socket is owned and unconnected. */
static int connect_start(struct sock *sk, const struct sockaddr_circuit *addr)
{
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_line *line;
	struct circuit *c;
	int err;

	if (!sock_options_ok(sk))
		return -EOPNOTSUPP;
	line = circuit_line_get();
	if (!line)
		return -ENETUNREACH;
	err = cs->port ? 0 : port_bind(cs, 0);
	if (err)
		goto put_line;
	err = -ENOMEM;
	c = circuit_alloc(line, GFP_KERNEL);
	if (!c)
		goto put_line;

	/* What an earlier connection has left behind. */
	sock_disconnect(sk, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
	sock_lock_state(sk);
	sk->sk_shutdown = 0;
	sk->sk_err = 0;
	cs->reason = CIRCUIT_REASON_NONE;
	cs->call = circuit_get(c);
	sk->sk_state = TCP_SYN_SENT;
	sk_reset_timer(sk, &sk->sk_timer, jiffies + min(call_timeout, 86400u) * HZ);
	sock_unlock_state(sk);

	err = circuit_place(c, cs, addr);
	if (err)
		circuit_sock_refused(sk, c, -err, CIRCUIT_REASON_NO_MEMORY);
	circuit_put(c);
put_line:
	circuit_line_put(line);
	return err;
}

static long wait_for_connect(struct sock *sk, long timeo)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	add_wait_queue(sk_sleep(sk), &wait);
	while (READ_ONCE(sk->sk_state) == TCP_SYN_SENT) {
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
		if (signal_pending(current) || !timeo)
			break;
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return timeo;
}

static int circuit_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len, int flags)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	long timeo;
	int err;

	if (len < sizeof(addr->sc_family))
		return -EINVAL;
	if (addr->sc_family == AF_UNSPEC) {
		lock_sock(sk);
		/* As tcp_disconnect() has it. */
		err = 0;
		if (sk->sk_state == TCP_LISTEN)
			sock_unlisten(sk);
		else if (sk->sk_state != TCP_CLOSE)
			err = ECONNRESET;
		sock_disconnect(sk, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		sk->sk_shutdown = 0;
		sk->sk_err = err;
		sock->state = SS_UNCONNECTED;
		sk_error_report(sk);
		sk->sk_state_change(sk);
		release_sock(sk);
		return 0;
	}
	err = check_addr(addr, len);
	if (err)
		return err;
	if (!addr->sc_port)
		return -EADDRNOTAVAIL;

	lock_sock(sk);
	switch (sock->state) {
	case SS_UNCONNECTED:
		err = -EISCONN;
		if (sk->sk_state != TCP_CLOSE)
			goto out;
		err = connect_start(sk, addr);
		if (err)
			goto out;
		sock->state = SS_CONNECTING;
		err = -EINPROGRESS;
		/* Programs expect no other answer, however soon there is one. */
		if (!sock_sndtimeo(sk, flags & O_NONBLOCK))
			goto out;
		break;
	case SS_CONNECTING:
		err = -EALREADY;
		break;
	case SS_CONNECTED:
		err = -EISCONN;
		goto out;
	default:
		err = -EINVAL;
		goto out;
	}

	timeo = sock_sndtimeo(sk, flags & O_NONBLOCK);
	if (READ_ONCE(sk->sk_state) == TCP_SYN_SENT) {
		if (!timeo)
			goto out;
		timeo = wait_for_connect(sk, timeo);
		if (READ_ONCE(sk->sk_state) == TCP_SYN_SENT) {
			if (signal_pending(current))
				err = sock_intr_errno(timeo);
			goto out;
		}
	}
	if (smp_load_acquire(&sk->sk_state) == TCP_CLOSE) {
		err = sock_error(sk) ?: -ECONNABORTED;
		sock->state = SS_UNCONNECTED;
		goto out;
	}
	sock->state = SS_CONNECTED;
	err = 0;
out:
	release_sock(sk);
	return err;
}

static int circuit_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_listener *lst;
	struct circuit_line *line;
	int err;

	lock_sock(sk);
	err = -EINVAL;
	if (sock->state != SS_UNCONNECTED)
		goto out;
	/* As TCP has it: a backlog of n lets n + 1 calls wait, within somaxconn. */
	backlog = min_t(u32, backlog, READ_ONCE(sock_net(sk)->core.sysctl_somaxconn));
	if (sk->sk_state == TCP_LISTEN) {
		err = circuit_listener_publish(cs->lst, backlog + 1);
		goto out;
	}
	if (sk->sk_state != TCP_CLOSE)
		goto out;
	err = -EOPNOTSUPP;
	if (!sock_options_ok(sk))
		goto out;
	err = -ENETDOWN;
	line = circuit_line_get();
	if (!line)
		goto out;
	err = cs->port ? 0 : port_bind(cs, 0);
	if (err)
		goto put_line;
	sock_unlisten(sk);	/* a listener that a line took with it */
	err = -ENOMEM;
	lst = circuit_listener_create(line, sk);
	if (!lst)
		goto put_line;
	sk->sk_shutdown = 0;
	sk->sk_max_ack_backlog = backlog;
	/* Calls may arrive before the operator's answer does. */
	WRITE_ONCE(cs->lst, lst);
	err = circuit_listener_publish(lst, backlog + 1);
	if (err) {
		cs->reason = lst->reason;
		sock_unlisten(sk);
		goto put_line;
	}
	/* The line may have gone down since, and told a socket that did not listen yet. */
	sock_lock_state(sk);
	if (circuit_line_up(line))
		smp_store_release(&sk->sk_state, TCP_LISTEN);
	else
		err = -ENETDOWN;
	sock_unlock_state(sk);
	if (err)
		sock_unlisten(sk);
	else
		sk->sk_data_ready(sk);	/* so may calls have */
put_line:
	circuit_line_put(line);
out:
	release_sock(sk);
	return err;
}

static struct circuit *accept_wait(struct sock *sk, int flags, int *err)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct circuit_sock *cs = circuit_sk(sk);
	long timeo = sock_rcvtimeo(sk, flags & O_NONBLOCK);
	struct circuit *c = NULL;

	/* Exclusive: one connection wakes one of those who wait. */
	wait.flags |= WQ_FLAG_EXCLUSIVE;
	add_wait_queue_exclusive(sk_sleep(sk), &wait);
	for (;;) {
		*err = -EINVAL;
		if (sk->sk_state != TCP_LISTEN) {
			*err = sock_error(sk) ?: -EINVAL;
			break;
		}
		c = circuit_listener_pop(cs->lst);
		if (c)
			break;
		*err = -EAGAIN;
		if (!timeo)
			break;
		*err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return c;
}

/* Make a socket of a circuit that was waiting in the queue; consumes @c. */
static void accept_adopt(struct sock *newsk, struct circuit *c)
{
	struct circuit_sock *cs = circuit_sk(newsk);

	newsk->sk_sndbuf = 2 * c->tx.size;
	newsk->sk_rcvbuf = 2 * c->rx.size;
	newsk->sk_state = TCP_ESTABLISHED;
	cs->c = c;
	WRITE_ONCE(c->sk, newsk);
	smp_mb();	/* pairs with the one in sig_reset() */
	if (READ_ONCE(c->reason))
		circuit_sock_reset(newsk, c, ECONNRESET, c->reason);
	/* Whatever happened while the circuit was nobody's: have it looked at. */
	rcu_read_lock();	/* circuit_line_detach() waits before it kills the tasklet */
	if (circuit_line_up(c->line)) {
		circuit_attn_raise(c->line->attn_in, c->index);
		tasklet_schedule(&c->line->tasklet);
	}
	rcu_read_unlock();
}

static int circuit_accept(struct socket *sock, struct socket *newsock, COMPAT_ACCEPT_ARGS)
{
	struct sock *sk = sock->sk, *newsk;
	struct circuit *c;
	int err;

	/* Before the queue is touched, so that no call is lost for want of memory. */
	newsk = sk_alloc(sock_net(sk), PF_CIRCUIT, GFP_KERNEL, &circuit_proto,
			 compat_accept_kern);
	if (!newsk)
		return -ENOMEM;
	lock_sock(sk);
	c = accept_wait(sk, compat_accept_flags, &err);
	if (!c) {
		release_sock(sk);
		sk_free(newsk);
		return err;
	}
	sock_setup(newsock, newsk);
	security_sk_clone(sk, newsk);
	circuit_sk(newsk)->port = circuit_sk(sk)->port;
	newsk->sk_rcvtimeo = sk->sk_rcvtimeo;
	newsk->sk_sndtimeo = sk->sk_sndtimeo;
	newsk->sk_rcvlowat = sk->sk_rcvlowat;
	newsk->sk_priority = sk->sk_priority;
	newsk->sk_userlocks = sk->sk_userlocks & (SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK);
	if (sock_flag(sk, SOCK_KEEPOPEN))
		sock_set_flag(newsk, SOCK_KEEPOPEN);
	if (sock_flag(sk, SOCK_LINGER)) {
		sock_set_flag(newsk, SOCK_LINGER);
		newsk->sk_lingertime = sk->sk_lingertime;
	}
	release_sock(sk);
	newsock->state = SS_CONNECTED;
	accept_adopt(newsk, c);
	return 0;
}

static int circuit_getname(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct sockaddr_circuit *addr = (struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_line *line;
	int err = 0;

	memset(addr, 0, sizeof(*addr));
	addr->sc_family = AF_CIRCUIT;
	lock_sock(sk);
	if (peer) {
		/* 2 is accept() asking, which wants to know even of those who have gone. */
		if (cs->c && (peer == 2 || sk->sk_state == TCP_ESTABLISHED)) {
			addr->sc_port = cs->c->peer_port;
			memcpy(addr->sc_line, cs->c->peer, CIRCUIT_NAME_SIZE);
		} else {
			err = -ENOTCONN;
		}
	} else {
		addr->sc_port = cs->port;
		line = circuit_line_get();
		if (line && cs->port)
			memcpy(addr->sc_line, line->name, CIRCUIT_NAME_SIZE);
		if (line)
			circuit_line_put(line);
	}
	release_sock(sk);
	return err ?: sizeof(*addr);
}

static int circuit_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct circuit_sock *cs = circuit_sk(sk);
	int err = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	how++;	/* SHUT_* become RCV_SHUTDOWN and SEND_SHUTDOWN */

	lock_sock(sk);
	if (sock->state == SS_CONNECTING)
		sock->state = sk->sk_state == TCP_ESTABLISHED ? SS_CONNECTED : SS_UNCONNECTED;
	switch (sk->sk_state) {
	case TCP_LISTEN:
		if (!(how & RCV_SHUTDOWN))
			break;
		sock_unlisten(sk);
		sk->sk_state = TCP_CLOSE;
		break;
	case TCP_SYN_SENT:
		sock_disconnect(sk, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		break;
	case TCP_CLOSE:
		err = -ENOTCONN;
		fallthrough;
	default:
		/* FIN follows the last byte: wait for a writer at work. */
		mutex_lock(&cs->tx_mutex);
		if (how & SEND_SHUTDOWN)
			send_fin(cs);
		sock_lock_state(sk);
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
		sock_unlock_state(sk);
		mutex_unlock(&cs->tx_mutex);
		break;
	}
	sk->sk_state_change(sk);
	release_sock(sk);
	return err;
}

static int circuit_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct circuit_sock *cs = circuit_sk(sock->sk);
	int val;

	if (cmd == SIOCATMARK) {
		val = 0;	/* no urgent data, so never at the mark */
	} else if (sock->sk->sk_state == TCP_LISTEN) {
		return -EINVAL;
	} else if (cmd == SIOCINQ) {
		val = circuit_stream_unread(cs);
	} else if (cmd == SIOCOUTQ) {
		val = circuit_stream_unsent(cs);
	} else {
		return -ENOIOCTLCMD;
	}
	return put_user(val, (int __user *)arg);
}

/* Options of the socket layer that would change what a program sees, and cannot here. */
static bool sockopt_unknown(int optname)
{
	switch (optname) {
	case SO_REUSEPORT:
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
	case SO_ZEROCOPY:
	case SO_PEEK_OFF:
	case SO_INCOMING_CPU:
	case SO_INCOMING_NAPI_ID:
	case SO_PASSCRED:
	case SO_PASSSEC:
		return true;
	default:
		return false;
	}
}

static int circuit_setsockopt(struct socket *sock, int level, int optname, sockptr_t optval,
			      unsigned int optlen)
{
	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	if (sockopt_unknown(optname))
		return -EOPNOTSUPP;
	/* The rings are what they are once there is a circuit. */
	if (circuit_sk(sock->sk)->c &&
	    (optname == SO_SNDBUF || optname == SO_RCVBUF || optname == SO_SNDBUFFORCE ||
	     optname == SO_RCVBUFFORCE))
		return optlen < sizeof(int) ? -EINVAL : 0;
	return sock_setsockopt(sock, level, optname, optval, optlen);
}

static int circuit_getsockopt(struct socket *sock, int level, int optname, char __user *optval,
			      int __user *optlen)
{
	struct sock *sk = sock->sk;
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_info info = {};
	u32 reason;
	void *val;
	int len;

	if (level != SOL_CIRCUIT)
		return -ENOPROTOOPT;
	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	lock_sock(sk);
	reason = cs->reason;
	if (cs->c) {
		info.index = cs->c->index;
		info.end = cs->c->end;
		info.reason = reason;
		info.tx_size = cs->c->tx.size;
		info.rx_size = cs->c->rx.size;
		info.tx_bytes = READ_ONCE(cs->c->tx.bytes);
		info.rx_bytes = READ_ONCE(cs->c->rx.bytes);
		info.tx_doorbells = READ_ONCE(cs->c->doorbells);
		info.rx_wakeups = READ_ONCE(cs->c->wakeups);
	}
	release_sock(sk);
	switch (optname) {
	case CIRCUIT_SO_REASON:
		val = &reason;
		len = min_t(int, len, sizeof(reason));
		break;
	case CIRCUIT_SO_INFO:
		if (!info.index)
			return -ENOTCONN;
		val = &info;
		len = min_t(int, len, sizeof(info));
		break;
	default:
		return -ENOPROTOOPT;
	}
	if (copy_to_user(optval, val, len) || put_user(len, optlen))
		return -EFAULT;
	return 0;
}

static const struct proto_ops circuit_stream_ops = {
	.family = PF_CIRCUIT,
	.owner = THIS_MODULE,
	.release = circuit_release,
	.bind = circuit_bind,
	.connect = circuit_connect,
	.socketpair = sock_no_socketpair,
	.accept = circuit_accept,
	.getname = circuit_getname,
	.poll = circuit_stream_poll,
	.ioctl = circuit_ioctl,
	.listen = circuit_listen,
	.shutdown = circuit_shutdown,
	.setsockopt = circuit_setsockopt,
	.getsockopt = circuit_getsockopt,
	.sendmsg = circuit_stream_sendmsg,
	.recvmsg = circuit_stream_recvmsg,
	.mmap = sock_no_mmap,
};

static const struct net_proto_family circuit_family = {
	.family = PF_CIRCUIT,
	.create = circuit_create,
	.owner = THIS_MODULE,
};

/**
 * circuit_family_init - register the family
 *
 * Return: 0 or a negative errno.
 */
int circuit_family_init(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct sockaddr_circuit) > sizeof(struct sockaddr_storage));
	err = proto_register(&circuit_proto, 1);
	if (err)
		return err;
	err = sock_register(&circuit_family);
	if (err)
		proto_unregister(&circuit_proto);
	return err;
}

/**
 * circuit_family_exit - undo circuit_family_init()
 */
void circuit_family_exit(void)
{
	sock_unregister(PF_CIRCUIT);
	rcu_barrier();		/* sockets are freed by RCU, to the slab */
	proto_unregister(&circuit_proto);
	xa_destroy(&ports);
}

MODULE_ALIAS_NETPROTO(PF_CIRCUIT);
