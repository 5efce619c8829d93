// SPDX-License-Identifier: GPL-2.0
/*
 * AF_CIRCUIT: the socket family.
 *
 * What a socket does once it knows whom to call is the endpoint's business (ep.c, stream.c,
 * message.c, datagram.c); here are addresses, options, and sock->state, kept as af_inet.c does.
 */
#include <linux/capability.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <net/tcp_states.h>
#include <asm/ioctls.h>
#include "guest.h"

/**
 * struct circuit_sock - a socket of the family
 * @sk: must be first
 * @ep: what makes it an end of circuits
 * @port: the local port, 0 if not bound
 * @owns_port: the port table points here (not so for accepted sockets)
 * @peer: whom a socket of datagrams is connected to
 */
struct circuit_sock {
	struct sock		sk;
	struct circuit_ep	ep;
	u32			port;
	bool			owns_port;
	struct circuit_peer	peer;
};

static struct circuit_sock *circuit_sk(const struct sock *sk)
{
	return (struct circuit_sock *)sk;
}

/**
 * struct port_space - ports in use, by number
 * @ports: sockets that were bound, not those accepted
 * @next: where the search for a free one starts
 */
struct port_space {
	struct xarray	ports;
	u32		next;
};

/* Each kind of socket has ports of its own. */
static struct port_space stream_ports = { XARRAY_INIT(stream_ports.ports, XA_FLAGS_ALLOC) };
static struct port_space datagram_ports = { XARRAY_INIT(datagram_ports.ports, XA_FLAGS_ALLOC) };
static struct port_space seqpacket_ports = { XARRAY_INIT(seqpacket_ports.ports, XA_FLAGS_ALLOC) };

static struct port_space *port_space(const struct circuit_sock *cs)
{
	switch (cs->sk.sk_type) {
	case SOCK_STREAM:
		return &stream_ports;
	case SOCK_DGRAM:
		return &datagram_ports;
	default:
		return &seqpacket_ports;
	}
}

static struct proto circuit_proto = {
	.name = "CIRCUIT",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct circuit_sock),
};

static const struct proto_ops circuit_ops, circuit_datagram_ops;

static int port_bind(struct circuit_sock *cs, u32 port)
{
	struct port_space *space = port_space(cs);
	int err;

	if (port) {
		if (port < CIRCUIT_PORT_RESERVED && !capable(CAP_NET_BIND_SERVICE))
			return -EACCES;
		err = xa_insert(&space->ports, port, cs, GFP_KERNEL);
		if (err)
			return err == -EBUSY ? -EADDRINUSE : err;
		cs->port = port;
	} else {
		err = xa_alloc_cyclic(&space->ports, &cs->port, cs,
				      XA_LIMIT(CIRCUIT_PORT_EPHEMERAL, U32_MAX), &space->next,
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
		xa_erase(&port_space(cs)->ports, cs->port);
	cs->owns_port = false;
	cs->port = 0;
}

static void sock_free(struct circuit_ep *ep)
{
	sock_put(ep->sk);
}

static void sock_setup(struct socket *sock, struct sock *sk)
{
	sock_init_data(sock, sk);
	sk->sk_family = PF_CIRCUIT;
	sk->sk_state = TCP_CLOSE;
	sock_set_flag(sk, SOCK_RCU_FREE);
	circuit_ep_init(&circuit_sk(sk)->ep, sk, sock_free);
	if (sock) {
		sock->ops = sock->type == SOCK_DGRAM ? &circuit_datagram_ops : &circuit_ops;
		compat_custom_sockopt(sock);
	}
}

static int circuit_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	struct sock *sk;

	/* The line belongs to the machine, as its network cards do. */
	if (!net_eq(net, &init_net))
		return -EAFNOSUPPORT;
	if (sock->type != SOCK_STREAM && sock->type != SOCK_SEQPACKET &&
	    sock->type != SOCK_DGRAM)
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

static int circuit_release(struct socket *sock)
{
	struct sock *sk = sock->sk;

	if (!sk)
		return 0;
	lock_sock(sk);
	circuit_ep_close(&circuit_sk(sk)->ep);
	port_release(circuit_sk(sk));
	sock_orphan(sk);
	release_sock(sk);
	sock->sk = NULL;
	circuit_ep_put(&circuit_sk(sk)->ep);
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

/* An address to bind to: its line has to be this machine's. */
static int check_own(const struct sockaddr_circuit *addr, int len)
{
	struct circuit_line *line;
	int err;

	err = check_addr(addr, len);
	if (err || !addr->sc_line[0])
		return err;
	line = circuit_line_get();
	if (!line)
		return -EADDRNOTAVAIL;
	err = strncmp(line->name, addr->sc_line, CIRCUIT_NAME_SIZE) ? -EADDRNOTAVAIL : 0;
	circuit_line_put(line);
	return err;
}

static int circuit_bind(struct socket *sock, struct compat_sockaddr *uaddr, int len)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	int err;

	err = check_own(addr, len);
	if (err)
		return err;
	lock_sock(sk);
	if (circuit_sk(sk)->port || circuit_sk(sk)->ep.state != TCP_CLOSE)
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
	struct circuit_sig_call call = {
		.type = sk->sk_type,
		.port = addr->sc_port,
	};
	struct circuit_line *line;
	int err;

	if (!sock_options_ok(sk))
		return -EOPNOTSUPP;
	sk->sk_state = TCP_CLOSE;
	line = circuit_line_get();
	if (!line)
		return -ENETUNREACH;
	err = cs->port ? 0 : port_bind(cs, 0);
	if (!err) {
		call.src_port = cs->port;
		memcpy(call.line, addr->sc_line, CIRCUIT_NAME_SIZE);
		err = circuit_ep_call(&cs->ep, line, &call);
	}
	circuit_line_put(line);
	return err;
}

static int circuit_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len, int flags)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	struct circuit_ep *ep = &circuit_sk(sk)->ep;
	long timeo;
	int err;

	if (len < sizeof(addr->sc_family))
		return -EINVAL;
	if (addr->sc_family == AF_UNSPEC) {
		lock_sock(sk);
		/* As tcp_disconnect() has it. */
		err = 0;
		if (ep->state == TCP_LISTEN)
			circuit_ep_unlisten(ep);
		else if (ep->state != TCP_CLOSE)
			err = ECONNRESET;
		circuit_ep_disconnect(ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		sk->sk_state = TCP_CLOSE;
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
		if (ep->state != TCP_CLOSE)
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
	if (READ_ONCE(ep->state) == TCP_SYN_SENT) {
		if (!timeo)
			goto out;
		timeo = circuit_ep_wait(ep, timeo);
		if (READ_ONCE(ep->state) == TCP_SYN_SENT) {
			if (signal_pending(current))
				err = sock_intr_errno(timeo);
			goto out;
		}
	}
	if (smp_load_acquire(&ep->state) == TCP_CLOSE) {
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
	struct circuit_ep *ep = &cs->ep;
	struct circuit_sig_listen what = {
		.type = sk->sk_type,
	};
	struct circuit_listener *lst;
	struct circuit_line *line;
	int err;

	lock_sock(sk);
	err = -EINVAL;
	if (sock->state != SS_UNCONNECTED)
		goto out;
	/* As TCP has it: a backlog of n lets n + 1 calls wait, within somaxconn. */
	backlog = min_t(u32, backlog, READ_ONCE(sock_net(sk)->core.sysctl_somaxconn));
	if (ep->state == TCP_LISTEN) {
		err = circuit_listener_publish(ep->lst, backlog + 1);
		goto out;
	}
	if (ep->state != TCP_CLOSE)
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
	circuit_ep_unlisten(ep);	/* a listener that a line took with it */
	err = -ENOMEM;
	what.port = cs->port;
	lst = circuit_listener_create(line, ep, &what);
	if (!lst)
		goto put_line;
	sk->sk_shutdown = 0;
	sk->sk_max_ack_backlog = backlog;
	/* Calls may arrive before the operator's answer does. */
	WRITE_ONCE(ep->lst, lst);
	err = circuit_listener_publish(lst, backlog + 1);
	if (err) {
		ep->reason = lst->reason;
		circuit_ep_unlisten(ep);
		goto put_line;
	}
	/* The line may have gone down since, and told a socket that did not listen yet. */
	circuit_ep_lock(ep);
	if (circuit_line_up(line)) {
		smp_store_release(&ep->state, TCP_LISTEN);
		sk->sk_state = TCP_LISTEN;	/* for SO_ACCEPTCONN */
	} else {
		err = -ENETDOWN;
	}
	circuit_ep_unlock(ep);
	if (err)
		circuit_ep_unlisten(ep);
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
	struct circuit_ep *ep = &circuit_sk(sk)->ep;
	long timeo = sock_rcvtimeo(sk, flags & O_NONBLOCK);
	struct circuit *c = NULL;

	/* Exclusive: one connection wakes one of those who wait. */
	wait.flags |= WQ_FLAG_EXCLUSIVE;
	add_wait_queue_exclusive(sk_sleep(sk), &wait);
	for (;;) {
		*err = -EINVAL;
		if (ep->state != TCP_LISTEN) {
			sk->sk_state = TCP_CLOSE;	/* the line took the listener with it */
			*err = sock_error(sk) ?: -EINVAL;
			break;
		}
		c = circuit_listener_pop(ep->lst);
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
	if (sock_flag(sk, SOCK_URGINLINE))
		sock_set_flag(newsk, SOCK_URGINLINE);
	if (sock_flag(sk, SOCK_LINGER)) {
		sock_set_flag(newsk, SOCK_LINGER);
		newsk->sk_lingertime = sk->sk_lingertime;
	}
	release_sock(sk);
	newsock->state = SS_CONNECTED;
	circuit_ep_adopt(&circuit_sk(newsk)->ep, c);
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
		if (cs->ep.c && (peer == 2 || cs->ep.state == TCP_ESTABLISHED)) {
			addr->sc_port = cs->ep.c->peer_port;
			memcpy(addr->sc_line, cs->ep.c->peer, CIRCUIT_NAME_SIZE);
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
	struct circuit_ep *ep = &circuit_sk(sk)->ep;
	int err = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	how++;	/* SHUT_* become RCV_SHUTDOWN and SEND_SHUTDOWN */

	lock_sock(sk);
	if (sock->state == SS_CONNECTING)
		sock->state = ep->state == TCP_ESTABLISHED ? SS_CONNECTED : SS_UNCONNECTED;
	switch (ep->state) {
	case TCP_LISTEN:
		if (!(how & RCV_SHUTDOWN))
			break;
		circuit_ep_unlisten(ep);
		ep->state = TCP_CLOSE;
		sk->sk_state = TCP_CLOSE;
		break;
	case TCP_SYN_SENT:
		circuit_ep_disconnect(ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		break;
	case TCP_CLOSE:
		err = -ENOTCONN;
		fallthrough;
	default:
		circuit_ep_shutdown(ep, how);
		break;
	}
	sk->sk_state_change(sk);
	release_sock(sk);
	return err;
}

static int circuit_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct circuit_ep *ep = &circuit_sk(sock->sk)->ep;

	return sock->type == SOCK_STREAM ? circuit_stream_sendmsg(ep, msg, len) :
					   circuit_message_sendmsg(ep, msg, len);
}

static int circuit_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct circuit_ep *ep = &circuit_sk(sock->sk)->ep;

	return sock->type == SOCK_STREAM ? circuit_stream_recvmsg(ep, msg, len, flags) :
					   circuit_message_recvmsg(ep, msg, len, flags);
}

static __poll_t circuit_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	sock_poll_wait(file, sock, wait);
	return circuit_stream_poll(&circuit_sk(sock->sk)->ep, poll_requested_events(wait));
}

static int circuit_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct circuit_ep *ep = &circuit_sk(sock->sk)->ep;
	bool messages = sock->type == SOCK_SEQPACKET;
	int val;

	if (cmd == SIOCATMARK && !messages) {
		val = circuit_stream_at_mark(ep);
	} else if (ep->state == TCP_LISTEN) {
		return -EINVAL;
	} else if (cmd == SIOCINQ) {
		val = messages ? circuit_message_next(ep) : circuit_stream_inq(ep);
	} else if (cmd == SIOCOUTQ) {
		val = circuit_stream_unsent(ep);
	} else if (cmd == SIOCCIRCUITKICK) {
		return circuit_map_kick(ep);
	} else {
		return -ENOIOCTLCMD;
	}
	return put_user(val, (int __user *)arg);
}

#ifdef CONFIG_COMPAT
/* The others are those of any socket. */
static int circuit_compat_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	return cmd == SIOCCIRCUITKICK ? circuit_map_kick(&circuit_sk(sock->sk)->ep) : -ENOIOCTLCMD;
}
#endif

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
	if (circuit_sk(sock->sk)->ep.c &&
	    (optname == SO_SNDBUF || optname == SO_RCVBUF || optname == SO_SNDBUFFORCE ||
	     optname == SO_RCVBUFFORCE))
		return optlen < sizeof(int) ? -EINVAL : 0;
	return sock_setsockopt(sock, level, optname, optval, optlen);
}

static int circuit_getsockopt(struct socket *sock, int level, int optname, char __user *optval,
			      int __user *optlen)
{
	if (level != SOL_CIRCUIT)
		return -ENOPROTOOPT;
	return circuit_ep_getsockopt(&circuit_sk(sock->sk)->ep, optname, optval, optlen);
}

static int circuit_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma)
{
	return circuit_map(&circuit_sk(sock->sk)->ep, vma, file);
}

static const struct proto_ops circuit_ops = {
	.family = PF_CIRCUIT,
	.owner = THIS_MODULE,
	.release = circuit_release,
	.bind = circuit_bind,
	.connect = circuit_connect,
	.socketpair = sock_no_socketpair,
	.accept = circuit_accept,
	.getname = circuit_getname,
	.poll = circuit_poll,
	.ioctl = circuit_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = circuit_compat_ioctl,
#endif
	.listen = circuit_listen,
	.shutdown = circuit_shutdown,
	.setsockopt = circuit_setsockopt,
	.getsockopt = circuit_getsockopt,
	.sendmsg = circuit_sendmsg,
	.recvmsg = circuit_recvmsg,
	.mmap = circuit_mmap,
};

/* --- datagrams ------------------------------------------------------------------------------- */

/* Have the operator know of the socket; it is owned. */
static int datagram_open(struct sock *sk)
{
	struct circuit_sock *cs = circuit_sk(sk);
	struct circuit_sig_call call = { .type = CIRCUIT_SIG_DGRAM };
	struct circuit_ep *ep = &cs->ep;
	struct circuit_line *line;
	int err;

	if (likely(READ_ONCE(ep->state) == TCP_ESTABLISHED))
		return 0;
	if (!sock_options_ok(sk))
		return -EOPNOTSUPP;
	err = sock_error(sk);	/* what has cut it off is told, once */
	if (err)
		return err;
	line = circuit_line_get();
	if (!line)
		return -ENETDOWN;
	err = cs->port ? 0 : port_bind(cs, 0);
	if (!err && ep->state != TCP_SYN_SENT) {
		call.src_port = cs->port;
		err = circuit_ep_call(ep, line, &call);
	}
	circuit_line_put(line);
	if (err)
		return err;
	/* It is answered at once. Given up it would still have the port, for a moment. */
	release_sock(sk);
	wait_for_completion_killable(&ep->decided);
	lock_sock(sk);
	switch (smp_load_acquire(&ep->state)) {
	case TCP_ESTABLISHED:
		return 0;
	case TCP_SYN_SENT:
		return -EINTR;
	default:
		return sock_error(sk) ?: -ENETDOWN;
	}
}

static int datagram_bind(struct socket *sock, struct compat_sockaddr *uaddr, int len)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct sock *sk = sock->sk;
	int err;

	err = check_own(addr, len);
	if (err)
		return err;
	lock_sock(sk);
	err = -EINVAL;
	if (circuit_sk(sk)->port)
		goto out;
	err = port_bind(circuit_sk(sk), addr->sc_port);
	if (err)
		goto out;
	err = datagram_open(sk);
	if (err) {
		circuit_ep_disconnect(&circuit_sk(sk)->ep, CIRCUIT_TX_RST, CIRCUIT_REASON_NONE);
		port_release(circuit_sk(sk));
		sk->sk_shutdown = 0;
		complete_all(&circuit_sk(sk)->ep.decided);	/* somebody else may wait as well */
	}
out:
	release_sock(sk);
	return err;
}

/* The line that an address means. */
static int datagram_line(const struct sockaddr_circuit *addr, char *name)
{
	struct circuit_line *line;

	memcpy(name, addr->sc_line, CIRCUIT_NAME_SIZE);
	if (name[0])
		return 0;
	line = circuit_line_get();
	if (!line)
		return -ENETDOWN;
	strscpy_pad(name, line->name, CIRCUIT_NAME_SIZE);
	circuit_line_put(line);
	return 0;
}

static int datagram_connect(struct socket *sock, struct compat_sockaddr *uaddr, int len, int flags)
{
	const struct sockaddr_circuit *addr = (const struct sockaddr_circuit *)uaddr;
	struct circuit_sock *cs = circuit_sk(sock->sk);
	struct circuit_peer peer = {};
	int err;

	if (len < sizeof(addr->sc_family))
		return -EINVAL;
	if (addr->sc_family != AF_UNSPEC) {
		err = check_addr(addr, len);
		if (err)
			return err;
		if (!addr->sc_port)
			return -EADDRNOTAVAIL;
		peer.port = addr->sc_port;
		err = datagram_line(addr, peer.line);
		if (err)
			return err;
	}
	lock_sock(sock->sk);
	err = peer.port ? datagram_open(sock->sk) : 0;
	if (!err) {
		mutex_lock(&cs->ep.rx_mutex);
		cs->peer = peer;
		mutex_unlock(&cs->ep.rx_mutex);
		sock->state = peer.port ? SS_CONNECTED : SS_UNCONNECTED;
	}
	release_sock(sock->sk);
	return err;
}

static int datagram_getname(struct socket *sock, struct sockaddr *uaddr, int peer)
{
	struct sockaddr_circuit *addr = (struct sockaddr_circuit *)uaddr;
	struct circuit_sock *cs = circuit_sk(sock->sk);
	int err = 0;

	if (!peer)
		return circuit_getname(sock, uaddr, 0);
	memset(addr, 0, sizeof(*addr));
	addr->sc_family = AF_CIRCUIT;
	lock_sock(sock->sk);
	addr->sc_port = cs->peer.port;
	memcpy(addr->sc_line, cs->peer.line, CIRCUIT_NAME_SIZE);
	if (!cs->peer.port)
		err = -ENOTCONN;
	release_sock(sock->sk);
	return err ?: sizeof(*addr);
}

static int datagram_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct circuit_ep *ep = &circuit_sk(sk)->ep;
	int err = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	lock_sock(sk);
	/* As inet_shutdown(): whoever waits is woken in any case. */
	if (sock->state != SS_CONNECTED)
		err = -ENOTCONN;
	circuit_ep_lock(ep);
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | (how + 1));
	circuit_ep_unlock(ep);
	sk->sk_state_change(sk);
	release_sock(sk);
	return err;
}

static int datagram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	const struct sockaddr_circuit *addr = msg->msg_name;
	struct circuit_sock *cs = circuit_sk(sock->sk);
	struct circuit_datagram head = {};
	int err;

	if (len > CIRCUIT_RING_MAX)
		return -EMSGSIZE;
	head.len = len;
	if (addr) {
		err = check_addr(addr, msg->msg_namelen);
		if (err)
			return err;
		if (!addr->sc_port)
			return -EINVAL;
		head.port = addr->sc_port;
		memcpy(head.line, addr->sc_line, sizeof(head.line));
	}
	lock_sock(sock->sk);
	err = datagram_open(sock->sk);
	if (!addr) {
		head.port = cs->peer.port;
		memcpy(head.line, cs->peer.line, sizeof(head.line));
	}
	release_sock(sock->sk);
	if (err)
		return err;
	if (!head.port)
		return -EDESTADDRREQ;
	return circuit_datagram_sendmsg(&cs->ep, &cs->peer, msg, &head);
}

static int datagram_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct circuit_sock *cs = circuit_sk(sock->sk);
	int err;

	if (unlikely(flags & MSG_ERRQUEUE))
		return -EAGAIN;
	if (unlikely(flags & MSG_OOB))
		return -EOPNOTSUPP;
	if (unlikely(READ_ONCE(cs->ep.state) != TCP_ESTABLISHED)) {
		lock_sock(sock->sk);
		err = datagram_open(sock->sk);
		release_sock(sock->sk);
		if (err)
			return err;
	}
	return circuit_datagram_recvmsg(&cs->ep, &cs->peer, msg, len, flags);
}

static __poll_t circuit_dgram_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct circuit_sock *cs = circuit_sk(sock->sk);

	sock_poll_wait(file, sock, wait);
	return circuit_datagram_poll(&cs->ep, &cs->peer, poll_requested_events(wait));
}

static int datagram_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct circuit_sock *cs = circuit_sk(sock->sk);

	if (cmd == SIOCINQ)
		return put_user(circuit_datagram_length(&cs->ep, &cs->peer), (int __user *)arg);
	return cmd == SIOCATMARK ? -ENOIOCTLCMD : circuit_ioctl(sock, cmd, arg);
}

/* Of a socket that is connected, since what else would the process be to write into the heads? */
static int datagram_mmap(struct file *file, struct socket *sock, struct vm_area_struct *vma)
{
	if (!READ_ONCE(circuit_sk(sock->sk)->peer.port))
		return -ENOTCONN;
	return circuit_mmap(file, sock, vma);
}

static const struct proto_ops circuit_datagram_ops = {
	.family = PF_CIRCUIT,
	.owner = THIS_MODULE,
	.release = circuit_release,
	.bind = datagram_bind,
	.connect = datagram_connect,
	.socketpair = sock_no_socketpair,
	.accept = sock_no_accept,
	.getname = datagram_getname,
	.poll = circuit_dgram_poll,
	.ioctl = datagram_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = circuit_compat_ioctl,
#endif
	.listen = sock_no_listen,
	.shutdown = datagram_shutdown,
	.setsockopt = circuit_setsockopt,
	.getsockopt = circuit_getsockopt,
	.sendmsg = datagram_sendmsg,
	.recvmsg = datagram_recvmsg,
	.mmap = datagram_mmap,
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
	xa_destroy(&stream_ports.ports);
	xa_destroy(&datagram_ports.ports);
	xa_destroy(&seqpacket_ports.ports);
}

MODULE_ALIAS_NETPROTO(PF_CIRCUIT);
