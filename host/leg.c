// SPDX-License-Identifier: GPL-2.0
/*
 * Legs: the ends of circuits that are sockets of the host's stack.
 *
 *	DIALS --> RINGS --+			     a guest calls the world
 *			  +--> TALKS --> GONE
 *		  WAITS --+			     the world calls a guest
 *
 * A leg is the other kernel's end of a trunk call: it has the rings of the circuit as
 * a guest has, and a TCP socket instead of a program. What the guest writes goes from
 * the ring to the socket, what the socket receives goes straight into the ring. Both
 * stop when the other side does not take any more, and go on when it says that it
 * does: the ring by a mark of its guest, the socket by its callbacks.
 *
 * Pieces that are large enough go without a copy: see lend.c.
 *
 * All of it is done by the leg's job, see local.c: it owns the socket and the state as well. The
 * socket's callbacks kick it.
 *
 * As far as the socket is concerned a guest is a program: FIN, RST and errors are
 * passed on both ways; a guest that has hung up has closed the socket, one whose VM
 * has died has been killed. What it had written before it closed is still sent, for as
 * long as the far side acknowledges some of it every LINGER seconds, and the guest is
 * charged for it; nothing that the guest stores afterwards counts.
 */
#include <linux/in.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include "host.h"
#include "trace.h"

/* Bytes each way before others get their turn. */
#define QUANTUM		(256u << 10)
/* Bytes from a socket before its guest is told. */
#define PIECE		(64u << 10)
#define LINGER		60

enum leg_state {
	LEG_DIALS,
	LEG_RINGS,
	LEG_WAITS,
	LEG_TALKS,
	LEG_GONE,
};

/**
 * struct circuit_leg - one leg
 * @local: must be first
 * @state: of the work's, but for the step from RINGS or WAITS to TALKS, which is made
 *	under the exchange's lock
 * @trunk: the trunk, referenced, or NULL; given up under the exchange's lock
 * @exp: the exposure that it came from, referenced, while it waits
 * @net: where to call, referenced, until then
 * @dst: whom
 * @port: at which port
 * @sock: the socket; changes under the exchange's lock
 * @lender: what of it the socket has
 * @urg_out: urgent data of the guest's
 * @urg_in: tcp_sock->urg_seq of the last urgent data that was passed on
 * @tx_flags: CIRCUIT_TX_* set so far
 * @full: the ring is, so that it does not matter what the socket receives
 * @fin_out: the guest's FIN was passed on
 * @fin_in: the socket's FIN was passed on
 * @lingers: the guest has hung up
 * @last: index after the last byte it had written then
 * @error: errno that the socket has given instead of taking data
 * @options: those that the guest's program has set; under the exchange's lock
 * @set_options: they are to be set here; likewise
 * @native: the callbacks of the socket as they were
 */
struct circuit_leg {
	struct circuit_local	local;
	enum leg_state		state;
	struct circuit_trunk	*trunk;
	struct circuit_exposure	*exp;
	struct net		*net;
	struct in6_addr		dst;
	u16			port;
	struct socket		*sock;
	struct circuit_lender	lender;
	struct circuit_urgent	urg_out;
	u32			urg_in;
	u32			tx_flags;
	bool			full;
	bool			fin_out;
	bool			fin_in;
	bool			lingers;
	u32			last;
	int			error;
	struct circuit_sig_options options;
	bool			set_options;
	struct {
		void	(*state_change)(struct sock *sk);
		void	(*data_ready)(struct sock *sk);
		void	(*error_report)(struct sock *sk);
		void	(*write_space)(struct sock *sk);
	} native;
};

static struct circuit_leg *leg_of(struct circuit_local *local)
{
	return container_of(local, struct circuit_leg, local);
}

static void leg_kick(struct circuit_leg *leg)
{
	circuit_local_kick(&leg->local);
}

/* --- the socket ------------------------------------------------------------------------ */

static void leg_event(struct sock *sk)
{
	struct circuit_leg *leg;

	read_lock_bh(&sk->sk_callback_lock);
	leg = sk->sk_user_data;
	if (leg)
		leg_kick(leg);
	read_unlock_bh(&sk->sk_callback_lock);
}

static void leg_data_ready(struct sock *sk)
{
	struct circuit_leg *leg;

	read_lock_bh(&sk->sk_callback_lock);
	leg = sk->sk_user_data;
	if (leg && !READ_ONCE(leg->full))
		leg_kick(leg);
	read_unlock_bh(&sk->sk_callback_lock);
}

static void leg_write_space(struct sock *sk)
{
	struct socket *sock = sk->sk_socket;

	if (!sk_stream_is_writeable(sk) || !sock)
		return;
	clear_bit(SOCK_NOSPACE, &sock->flags);
	leg_event(sk);
}

static int leg_hook(struct circuit_leg *leg, struct socket *sock)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data) {		/* a BPF program was faster */
		write_unlock_bh(&sk->sk_callback_lock);
		return -EBUSY;
	}
	leg->native.state_change = sk->sk_state_change;
	leg->native.data_ready = sk->sk_data_ready;
	leg->native.error_report = sk->sk_error_report;
	leg->native.write_space = sk->sk_write_space;
	sk->sk_user_data = leg;
	sk->sk_state_change = leg_event;
	sk->sk_data_ready = leg_data_ready;
	sk->sk_error_report = leg_event;
	sk->sk_write_space = leg_write_space;
	write_unlock_bh(&sk->sk_callback_lock);
	return 0;
}

static void leg_unhook(struct circuit_leg *leg, struct socket *sock)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_user_data == leg) {
		sk->sk_user_data = NULL;
		sk->sk_state_change = leg->native.state_change;
		sk->sk_data_ready = leg->native.data_ready;
		sk->sk_error_report = leg->native.error_report;
		sk->sk_write_space = leg->native.write_space;
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/* --- the end of a leg -------------------------------------------------------------------- */

/* The socket is closed. Nothing is left to do once nobody has anything of the ring. */
static void leg_gone(struct circuit_leg *leg)
{
	struct circuit_exchange *ex = leg->local.ex;

	circuit_lend_reap(&leg->lender, NULL);
	if (!ex || !list_empty(&leg->lender.loans))
		return;
	mutex_lock(&ex->lock);
	if (leg->local.c && leg->local.c->held)
		circuit_unhold(leg->local.c);
	mutex_unlock(&ex->lock);
	/* Not by whoever drops the last reference, which may be an interrupt. */
	leg->local.ex = NULL;
	circuit_exchange_put(ex);
}

/* Close the socket as a program would: with RST if @abort, else as TCP sees fit. */
static void leg_close(struct circuit_leg *leg, bool abort)
{
	struct circuit_trunk *trunk = leg->trunk;
	struct socket *sock = leg->sock;

	leg->state = LEG_GONE;
	if (leg->net)
		put_net(leg->net);
	leg->net = NULL;
	mutex_lock(&leg->local.ex->lock);
	leg->sock = NULL;
	leg->trunk = NULL;
	circuit_local_part(&leg->local);
	mutex_unlock(&leg->local.ex->lock);
	if (sock) {
		leg_unhook(leg, sock);
		if (abort)
			sock_no_linger(sock->sk);
		sock_release(sock);
	}
	if (trunk)
		atomic_dec(&trunk->circuits);
	circuit_trunk_put(trunk);
	if (leg->exp)
		circuit_exposure_done(leg->exp, true);
	leg->exp = NULL;
	leg_gone(leg);
}

/*
 * The leg has hung up. @flags say how: CIRCUIT_TX_FIN, or CIRCUIT_TX_RST for @reason
 * and @error. Abort: the socket is through with it, too, or it shall be.
 */
static void leg_hangup(struct circuit_leg *leg, u32 flags, enum circuit_reason reason, int error,
		       bool abort)
{
	struct circuit_end *end = &leg->local.c->end[leg->local.nr];

	circuit_rx_close(&leg->local.rx);
	circuit_tx_flag(&leg->local.tx, flags, leg->tx_flags);
	mutex_lock(&leg->local.ex->lock);
	if (error)
		circuit_far_end(end)->error = error;
	leg->local.c->held = !list_empty(&leg->lender.loans);
	circuit_hangup(end, reason);
	mutex_unlock(&leg->local.ex->lock);
	leg_close(leg, abort);
}

/* A guest does what it may not do with a ring. */
static void leg_violation(struct circuit_leg *leg)
{
	struct circuit_end *far = circuit_far_end(&leg->local.c->end[leg->local.nr]);

	circuit_line_count(far->line, CIRCUIT_COUNT_VIOLATIONS);
	leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_VIOLATION, 0, true);
}

/* --- before there is a circuit -------------------------------------------------------------- */

/* Has the call been given up, or refused? */
static bool leg_alone(struct circuit_leg *leg)
{
	bool alone;

	mutex_lock(&leg->local.ex->lock);
	alone = !leg->local.c;
	mutex_unlock(&leg->local.ex->lock);
	if (alone)
		leg_close(leg, true);
	return alone;
}

static void leg_failed(struct circuit_leg *leg, enum circuit_reason reason, int err)
{
	atomic64_inc(&leg->trunk->refused);
	mutex_lock(&leg->local.ex->lock);
	if (leg->local.c)
		circuit_call_failed(leg->local.c, reason, -err);
	mutex_unlock(&leg->local.ex->lock);
	leg_close(leg, true);
}

static int leg_connect(struct circuit_leg *leg)
{
	bool v6 = !ipv6_addr_v4mapped(&leg->dst);
	struct sockaddr_storage ss;
	struct socket *sock;
	int err, len, yes = 1;

	/* A program's socket in all respects: it holds its namespace, and outlives us. */
	err = __sock_create(leg->net, v6 ? AF_INET6 : AF_INET, SOCK_STREAM, IPPROTO_TCP, &sock, 0);
	if (err == -ENFILE)
		err = -ENOMEM;	/* what it is; connect() does not know that one */
	if (err)
		return err;
	mutex_lock(&leg->local.ex->lock);
	leg->sock = sock;
	mutex_unlock(&leg->local.ex->lock);
	put_net(leg->net);
	leg->net = NULL;
	err = circuit_trunk_setup(leg->trunk, READ_ONCE(leg->local.account->mark), sock);
	if (err)
		return err;
	if (!ipv6_addr_any(&leg->trunk->cfg.source[v6])) {
		/* The port is chosen when it is known whom it has to be unique for. */
		err = sock->ops->setsockopt(sock, SOL_IP, IP_BIND_ADDRESS_NO_PORT,
					    KERNEL_SOCKPTR(&yes), sizeof(yes));
		if (err)
			return err;
		err = circuit_trunk_bind(leg->trunk, sock);
		if (err)
			return err;
	}
	err = leg_hook(leg, sock);
	if (err)
		return err;
	len = circuit_sockaddr(&leg->dst, leg->port, &ss);
	return kernel_connect(sock, (struct compat_sockaddr *)&ss, len, O_NONBLOCK);
}

static void leg_dial(struct circuit_leg *leg)
{
	enum circuit_reason reason = CIRCUIT_REASON_TRUNK;
	int err = -EHOSTUNREACH;

	if (leg_alone(leg))
		return;
	if (!leg->net) {
		reason = CIRCUIT_REASON_NO_TRUNK;
		err = -ENETUNREACH;
	} else if (!circuit_trunk_reaches(leg->trunk, leg->net, &leg->dst)) {
		reason = CIRCUIT_REASON_HOST_ADDRESS;
	} else {
		err = leg_connect(leg);
	}
	if (err && err != -EINPROGRESS) {
		leg_failed(leg, reason, err);
		return;
	}
	leg->state = LEG_RINGS;
	leg_kick(leg);		/* what has happened before may have been missed */
}

static void leg_rings(struct circuit_leg *leg)
{
	struct sock *sk = leg->sock->sk;

	if (leg_alone(leg))
		return;
	switch (inet_sk_state_load(sk)) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return;
	case TCP_CLOSE:
		leg_failed(leg, CIRCUIT_REASON_TRUNK, sock_error(sk) ?: -ECONNREFUSED);
		return;
	}
	leg->sock->state = SS_CONNECTED;
	mutex_lock(&leg->local.ex->lock);
	if (leg->local.c)
		circuit_call_answered(leg->local.c);
	mutex_unlock(&leg->local.ex->lock);
	/* It talks now, or there was no room for it. */
	if (smp_load_acquire(&leg->state) != LEG_TALKS)
		leg_close(leg, true);
	else
		leg_kick(leg);
}

/* --- data ----------------------------------------------------------------------------------- */

enum leg_turn {
	LEG_WAITING,	/* somebody will kick */
	LEG_MORE,	/* the quantum is used up */
	LEG_FAILED,	/* the leg has hung up */
};

/*
 * How much of @avail bytes to send next, and with which flags: the urgent byte goes by
 * itself, or TCP might take another for it.
 */
static u32 leg_urgent_out(struct circuit_leg *leg, u32 avail, int *flags)
{
	u32 off;

	*flags = 0;
	if (likely(!circuit_rx_urgent(&leg->local.rx, &leg->urg_out, &off)))
		return avail;
	off -= leg->lender.bytes;
	if (off >= avail)		/* not yet, or sent */
		return avail;
	if (off)
		return off;
	*flags = MSG_OOB;
	return 1;
}

/*
 * Of @n bytes that have come from the socket and are to be published, one may be urgent;
 * @seq is the number of the first.
 */
static bool leg_urgent_in(struct circuit_leg *leg, u32 seq, u32 n)
{
	u32 urg = READ_ONCE(tcp_sk(leg->sock->sk)->urg_seq);

	if (likely(urg == leg->urg_in || urg - seq >= n))
		return false;
	leg->urg_in = urg;
	circuit_tx_urgent(&leg->local.tx, urg - seq + 1, leg->tx_flags);
	leg->tx_flags |= CIRCUIT_TX_URG;
	return true;
}

/* From the ring to the socket. */
static enum leg_turn leg_send(struct circuit_leg *leg)
{
	struct circuit_lender *lender = &leg->lender;
	u32 quantum = QUANTUM, len, allowed;
	int flags, avail, n;

	lender->notify = false;
	circuit_lend_reap(lender, &leg->local.rx);
	while (!leg->fin_out) {
		/* Before the data: after FIN there is no more of it. */
		flags = leg->lingers ? CIRCUIT_TX_FIN : circuit_rx_flags(&leg->local.rx);
		avail = leg->lingers ? leg->last - leg->local.rx.head : circuit_rx_avail(&leg->local.rx);
		if (unlikely(flags < 0 || avail < 0)) {
			leg_violation(leg);
			return LEG_FAILED;
		}
		if (unlikely(flags & CIRCUIT_TX_RST)) {
			leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_PEER_RESET, 0, true);
			return LEG_FAILED;
		}
		avail -= lender->bytes;
		allowed = circuit_local_allowed(&leg->local, !leg->local.nr);
		if (unlikely(avail && !allowed)) {
			allowed = circuit_local_want(&leg->local, !leg->local.nr, 1, avail);
			if (!allowed)
				break;
		}
		if (!avail) {
			if (flags & CIRCUIT_TX_FIN) {
				leg->fin_out = true;
				kernel_sock_shutdown(leg->sock, SHUT_WR);
				break;
			}
			circuit_lend_starved(lender, &leg->local.rx, leg->sock->sk);
			circuit_rx_arm(&leg->local.rx, lender->bytes + 1);
			if (circuit_rx_avail(&leg->local.rx) == lender->bytes &&
			    !circuit_rx_flags(&leg->local.rx))
				break;
			continue;
		}
		if (!quantum)
			break;
		len = leg_urgent_out(leg, min3((u32)avail, quantum, allowed), &flags);
		n = circuit_lend(lender, &leg->local, leg->sock, &leg->local.rx, len, flags);
		if (n == -EAGAIN) {
			trace_circuit_stall(leg->local.c, true);
			break;
		}
		if (unlikely(n <= 0)) {
			/* What it has received before is still to be read. */
			leg->error = n == -EPIPE || !n ? ECONNRESET : -n;
			leg->fin_out = true;
			break;
		}
		quantum -= n;
		circuit_local_used(&leg->local, !leg->local.nr, n, allowed);
	}
	if (lender->notify)
		circuit_end_notify(circuit_far_end(&leg->local.c->end[leg->local.nr]));
	return quantum ? LEG_WAITING : LEG_MORE;
}

/* From the socket to the ring. */
static enum leg_turn leg_receive(struct circuit_leg *leg)
{
	struct circuit_end *far = circuit_far_end(&leg->local.c->end[leg->local.nr]);
	u32 quantum = QUANTUM, seq, allowed;
	struct msghdr msg = {};
	struct kvec vec[2];
	bool notify;
	int space, n;

	while (!leg->fin_in) {
		struct circuit_span s;

		space = circuit_tx_space(&leg->local.tx);
		if (unlikely(space < 0)) {
			leg_violation(leg);
			return LEG_FAILED;
		}
		if (!space) {
			WRITE_ONCE(leg->full, true);
			circuit_tx_arm(&leg->local.tx, leg->local.tx.size / 2);
			if (circuit_tx_space(&leg->local.tx)) {
				WRITE_ONCE(leg->full, false);
				continue;
			}
			trace_circuit_stall(leg->local.c, false);
			break;
		}
		if (!quantum)
			break;
		/* The end of the stream, or an error, may come in any case. */
		allowed = circuit_local_allowed(&leg->local, leg->local.nr);
		n = allowed ? 0 : tcp_inq(leg->sock->sk);
		if (unlikely(n > 0)) {
			allowed = circuit_local_want(&leg->local, leg->local.nr, 1,
						     max_t(u32, n, SZ_64K));
			if (!allowed)
				break;
		}
		/* In pieces: the guest works on one while the next is copied. */
		space = min3(min((u32)space, PIECE), quantum, max(allowed, 1u));
		s = circuit_tx_span(&leg->local.tx, space);
		vec[0].iov_base = leg->local.tx.data + s.off[0];
		vec[0].iov_len = s.len[0];
		vec[1].iov_base = leg->local.tx.data;
		vec[1].iov_len = s.len[1];
		seq = READ_ONCE(tcp_sk(leg->sock->sk)->copied_seq);
		n = kernel_recvmsg(leg->sock, &msg, vec, s.len[1] ? 2 : 1, space, MSG_DONTWAIT);
		if (n > 0) {
			quantum -= n;
			notify = leg_urgent_in(leg, seq, n);
			if (circuit_tx_publish(&leg->local.tx, n) || notify)
				circuit_end_notify(far);
			circuit_local_used(&leg->local, leg->local.nr, n, allowed);
			continue;
		}
		if (n == -EAGAIN)
			break;
		if (!n)
			n = -leg->error;
		if (n) {
			leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_TRUNK, -n, true);
			return LEG_FAILED;
		}
		leg->fin_in = true;
		circuit_tx_flag(&leg->local.tx, CIRCUIT_TX_FIN, leg->tx_flags);
		leg->tx_flags |= CIRCUIT_TX_FIN;
		circuit_end_notify(far);
	}
	return quantum ? LEG_WAITING : LEG_MORE;
}

/*
 * The guest has closed its socket. It may still see the ring, but this is what it has
 * to say, and the far side gets a minute for each part of it.
 */
static enum leg_turn leg_last_words(struct circuit_leg *leg)
{
	struct sock *sk = leg->sock->sk;
	int flags, avail;
	u32 timeout;

	flags = circuit_rx_flags(&leg->local.rx);
	avail = circuit_rx_avail(&leg->local.rx);
	if (flags < 0 || avail < 0) {
		leg_violation(leg);
		return LEG_FAILED;
	}
	if (flags & CIRCUIT_TX_RST) {
		leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_PEER_RESET, 0, true);
		return LEG_FAILED;
	}
	leg->last = leg->local.rx.head + avail;
	leg->lingers = true;
	timeout = READ_ONCE(inet_csk(sk)->icsk_user_timeout);
	if (!timeout || timeout > LINGER * MSEC_PER_SEC)
		tcp_sock_set_user_timeout(sk, LINGER * MSEC_PER_SEC);
	return LEG_WAITING;
}

/*
 * Once everything is TCP's own, the rest is as well. What arrives now, or was not read,
 * would not be read by anybody: TCP resets then.
 */
static void leg_linger(struct circuit_leg *leg)
{
	struct sock *sk = leg->sock->sk;
	bool unread, acked;

	lock_sock(sk);
	unread = tcp_inq(sk) > 0;
	acked = tcp_sk(sk)->snd_una == tcp_sk(sk)->write_seq;
	release_sock(sk);
	if (unread || circuit_tx_lost(&leg->local.tx, &leg->local.tx.tail) || leg->error || READ_ONCE(sk->sk_err))
		leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_PEER_RESET, 0, true);
	else if (leg->fin_out && (list_empty(&leg->lender.loans) || acked))
		leg_hangup(leg, CIRCUIT_TX_FIN, CIRCUIT_REASON_NONE, 0, false);
}

/* The guest's program has set options: they are the socket's. */
static void leg_options(struct circuit_leg *leg)
{
	const struct circuit_trunk *trunk = leg->trunk;
	struct circuit_sig_options options;
	struct sock *sk = leg->sock->sk;
	u32 timeout, limit = trunk ? trunk->cfg.user_timeout : 0;
	int keep;

	mutex_lock(&leg->local.ex->lock);
	options = leg->options;
	leg->set_options = false;
	mutex_unlock(&leg->local.ex->lock);

	/* Each refuses by itself what is out of its range. */
	if (options.keep_idle)
		tcp_sock_set_keepidle(sk, min_t(u32, options.keep_idle, INT_MAX));
	if (options.keep_interval)
		tcp_sock_set_keepintvl(sk, min_t(u32, options.keep_interval, INT_MAX));
	if (options.keep_count)
		tcp_sock_set_keepcnt(sk, min_t(u32, options.keep_count, INT_MAX));
	keep = !!(options.flags & CIRCUIT_SIG_KEEPALIVE);
	sock_setsockopt(leg->sock, SOL_SOCKET, SO_KEEPALIVE, KERNEL_SOCKPTR(&keep), sizeof(keep));
	timeout = options.user_timeout;
	/* The administrator has the last word. */
	if (limit && (!timeout || timeout > limit))
		timeout = limit;
	if (timeout <= INT_MAX)
		tcp_sock_set_user_timeout(sk, timeout);
}

static void leg_talks(struct circuit_leg *leg)
{
	struct circuit_end *far = circuit_far_end(&leg->local.c->end[leg->local.nr]);
	enum leg_turn out, in = LEG_WAITING;
	bool hungup;
	u8 reset;

	/* The socket is locked before it is looked at, and after it has received something. */
	WRITE_ONCE(leg->full, false);
	/* Both are said after the last that was written to the ring. */
	reset = smp_load_acquire(&leg->local.reset);
	hungup = smp_load_acquire(&far->hungup);
	if (reset) {
		leg_hangup(leg, CIRCUIT_TX_RST, reset, 0, true);
		return;
	}
	if (READ_ONCE(leg->set_options))
		leg_options(leg);
	if (hungup && !leg->lingers && leg_last_words(leg) == LEG_FAILED)
		return;
	out = leg_send(leg);
	circuit_turn_charge(leg->local.turn, CIRCUIT_USE_TRUNK_SEND);
	if (out == LEG_FAILED)
		return;
	if (hungup) {
		leg_linger(leg);
		if (leg->state == LEG_GONE)
			return;
	} else {
		in = leg_receive(leg);
		if (in == LEG_FAILED)
			return;
		if (leg->fin_in && !leg->error)
			leg->error = -sock_error(leg->sock->sk);
		/* Whoever writes must learn of it, even if he does not read. */
		if (leg->error && (leg->fin_in || !circuit_tx_space(&leg->local.tx))) {
			leg_hangup(leg, CIRCUIT_TX_RST, CIRCUIT_REASON_TRUNK, leg->error, true);
			return;
		}
	}
	if (out == LEG_MORE || in == LEG_MORE)
		leg_kick(leg);
}

static void leg_look(struct circuit_local *local)
{
	struct circuit_leg *leg = leg_of(local);
	enum circuit_use use = CIRCUIT_USE_SIGNALLING;

	/* Pairs with circuit_leg_owe(): the rings are there. */
	switch (smp_load_acquire(&leg->state)) {
	case LEG_DIALS:
		leg_dial(leg);
		break;
	case LEG_RINGS:
		leg_rings(leg);
		break;
	case LEG_WAITS:
		leg_alone(leg);
		break;
	case LEG_TALKS:
		leg_talks(leg);
		use = CIRCUIT_USE_TRUNK_RECEIVE;
		break;
	case LEG_GONE:
		leg_gone(leg);
		break;
	}
	circuit_turn_charge(local->turn, use);
}

/* --- what others see ------------------------------------------------------------------------- */

/* The circuit has its rings. */
static void leg_setup(struct circuit_local *local)
{
	struct circuit_leg *leg = leg_of(local);

	if (leg->exp)
		circuit_exposure_done(leg->exp, false);
	leg->exp = NULL;
	smp_store_release(&leg->state, LEG_TALKS);
}

static const char *leg_trunk(const struct circuit_local *local)
{
	const struct circuit_leg *leg = container_of(local, struct circuit_leg, local);

	return leg->trunk ? leg->trunk->name : NULL;
}

static bool leg_info(struct circuit_local *local, struct circuit_socket_info *info)
{
	struct circuit_leg *leg = leg_of(local);
	struct sockaddr_storage ss;
	struct socket *sock = leg->sock;

	memset(info, 0, sizeof(*info));
	if (!sock)
		return false;
	if (kernel_getsockname(sock, (struct sockaddr *)&ss) >= 0)
		circuit_sockaddr_read(&ss, &info->local, &info->local_port);
	info->remote = leg->dst;
	info->remote_port = leg->port;
	if (kernel_getpeername(sock, (struct sockaddr *)&ss) >= 0)
		circuit_sockaddr_read(&ss, &info->remote, &info->remote_port);
	info->state = inet_sk_state_load(sock->sk);
	info->zerocopy = READ_ONCE(leg->lender.total);
	tcp_get_info(sock->sk, &info->info);
	lock_sock(sock->sk);
	if (inet_csk(sock->sk)->icsk_ca_ops)
		strscpy(info->congestion, inet_csk(sock->sk)->icsk_ca_ops->name,
			sizeof(info->congestion));
	release_sock(sock->sk);
	return true;
}

static const struct circuit_local_ops leg_ops = {
	.look = leg_look,
	.setup = leg_setup,
	.trunk = leg_trunk,
	.info = leg_info,
};

static struct circuit_leg *leg_alloc(struct circuit_exchange *ex, struct circuit_account *account,
				     struct circuit_trunk *trunk)
{
	struct circuit_local *local = circuit_local_alloc(ex, account, sizeof(struct circuit_leg),
							  &leg_ops);
	struct circuit_leg *leg;

	BUILD_BUG_ON(offsetof(struct circuit_leg, local));
	if (!local)
		return NULL;
	leg = leg_of(local);
	circuit_lender_init(&leg->lender);
	if (trunk) {
		leg->trunk = circuit_trunk_get(trunk);
		atomic64_inc(&trunk->calls);
		atomic_inc(&trunk->circuits);
	}
	return leg;
}

/**
 * circuit_leg_of - the leg that is an end of a circuit
 * @c: the circuit; its exchange is locked
 *
 * Return: the leg, or NULL if neither end is one.
 */
struct circuit_leg *circuit_leg_of(const struct circuit *c)
{
	return c->local && c->local->ops == &leg_ops ? leg_of(c->local) : NULL;
}

/**
 * circuit_leg_dial - call somebody who is not on a line
 * @c: the call; @end[1] says whom. Its exchange is locked
 * @trunk: the way there
 *
 * The call is answered later, by circuit_call_answered() or circuit_call_failed().
 *
 * Return: 0 or -ENOMEM.
 */
int circuit_leg_dial(struct circuit *c, struct circuit_trunk *trunk)
{
	struct circuit_exchange *ex = c->end[0].line->ex;
	struct circuit_leg *leg = leg_alloc(ex, c->end[0].line->account, trunk);

	if (!leg)
		return -ENOMEM;
	leg->state = LEG_DIALS;
	leg->net = circuit_trunk_net(trunk, ex);
	leg->dst = c->end[1].addr;
	leg->port = c->end[1].port;
	circuit_local_join(&leg->local, c, 1, c->end[0].line);
	leg_kick(leg);
	circuit_local_put(&leg->local);
	return 0;
}

/**
 * circuit_leg_accept - a call of the world's for a guest
 * @exp: where it has come in; its exchange is not locked
 * @sock: the connection, consumed
 * @turn: the exposure's
 *
 * Return: 0, or a negative errno if the call was refused.
 */
int circuit_leg_accept(struct circuit_exposure *exp, struct socket *sock, struct circuit_turn *turn)
{
	struct circuit_exchange *ex = exp->ex;
	struct sockaddr_storage ss;
	struct net *net = sock_net(sock->sk);
	struct circuit_leg *leg;
	struct in6_addr addr;
	u64 deciding;
	int err;
	u16 port;

	err = kernel_getpeername(sock, (struct sockaddr *)&ss);
	if (err < 0)
		goto abort;
	circuit_sockaddr_read(&ss, &addr, &port);
	/* The socket that listens does not keep its namespace, which may be going. */
	err = -ENONET;
	if (!maybe_get_net(net))
		goto abort;
	err = -ENOMEM;
	leg = leg_alloc(ex, exp->account, exp->trunk);
	if (!leg) {
		put_net(net);
		goto abort;
	}
	compat_net_refcnt_upgrade(sock->sk);
	put_net(net);
	leg->state = LEG_WAITS;
	leg->sock = sock;
	leg->exp = circuit_exposure_wait(exp);

	/* Locked, or the leg's job might find it without a circuit. */
	mutex_lock(&ex->lock);
	deciding = ex->deciding;
	err = leg_hook(leg, sock);
	if (!err)
		err = exp->line ? circuit_call_from_trunk(exp->line, exp->port, CIRCUIT_SIG_STREAM,
							  &leg->local, &addr, port) :
				  -ECONNREFUSED;
	circuit_turn_charge_part(turn, CIRCUIT_USE_POLICY, ex->deciding - deciding);
	mutex_unlock(&ex->lock);
	/* Connected, or waiting, or nothing came of it. */
	leg_kick(leg);
	circuit_local_put(&leg->local);
	return err;
abort:
	sock_no_linger(sock->sk);
	sock_release(sock);
	return err;
}

/**
 * circuit_leg_options - the guest's program has set options
 * @leg: a leg that has a circuit; its exchange is locked
 * @options: what they are now, a private copy
 */
void circuit_leg_options(struct circuit_leg *leg, const struct circuit_sig_options *options)
{
	leg->options = *options;
	WRITE_ONCE(leg->set_options, true);
	leg_kick(leg);
}
