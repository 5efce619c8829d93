// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The transport of sockets: the kernel maps the circuit and passes doorbells on, see
 * linux/circuit.h.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include "internal.h"

static void gone(struct circuit *c, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&c->hup, &none, error, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}

static int socket_kick(struct circuit *c)
{
	if (!ioctl(c->fd, SIOCCIRCUITKICK))
		return 0;
	return errno == ENOMEM || errno == ENOBUFS || errno == EINTR ? -ENOBUFS :
								     circuit_fail(c, errno);
}

/*
 * Or was it the far end that wrote a zero there? ENOTCONN: the socket has another circuit by now.
 */
static int socket_lost(struct circuit *c)
{
	return ioctl(c->fd, SIOCCIRCUITKICK) && (errno == ESTALE || errno == ENOTCONN) ? ESTALE :
											EPROTO;
}

/* What poll() has found, other than that there may be something to do. */
static void look(struct circuit *c, short revents)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (revents & POLLNVAL) {
		circuit_fail(c, EBADF);
		return;
	}
	if (revents & (POLLERR | POLLHUP))
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	/* Of datagrams that were sent before it was mapped errors may be left. */
	if (revents & POLLHUP || (error && !circuit_datagrams(c)))
		gone(c, error ? error : ECONNRESET);
	if (load(&c->ctrl->magic) != CIRCUIT_RING_MAGIC)
		circuit_violated(c);
}

static short socket_events(unsigned int events)
{
	return (events & CIRCUIT_IN ? POLLIN : 0) | (events & CIRCUIT_OUT ? POLLOUT : 0);
}

static int poll_once(struct circuit *c, unsigned int events, const struct timespec *limit)
{
	struct pollfd pfd = { .fd = c->fd, .events = socket_events(events) };

	if (ppoll(&pfd, 1, limit, NULL) < 0)
		return -errno;
	look(c, pfd.revents);
	return 0;
}

static void socket_check(struct circuit *c)
{
	static const struct timespec zero;

	poll_once(c, 0, &zero);
}

/* poll() goes by the events that were armed, see linux/circuit.h. */
static int socket_sleep(struct circuit *c, unsigned int events, uint32_t seq, int64_t timeout)
{
	struct timespec ts = { .tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000 };

	(void)seq;
	return poll_once(c, events, timeout < 0 ? NULL : &ts);
}

static int socket_shutdown(struct circuit *c)
{
	return shutdown(c->fd, SHUT_WR) ? -errno : 0;
}

static const struct transport socket_transport = {
	.kick = socket_kick,
	.check = socket_check,
	.sleep = socket_sleep,
	.lost = socket_lost,
	.shutdown = socket_shutdown,
	.events = socket_events,
};

static int info(int fd, struct circuit_info *i)
{
	socklen_t len = sizeof(*i);

	memset(i, 0, sizeof(*i));
	if (getsockopt(fd, SOL_CIRCUIT, CIRCUIT_SO_INFO, i, &len))
		return errno == ENOPROTOOPT ? -EOPNOTSUPP : -errno;
	/* A kernel that tells less has nothing to map. */
	if (len < sizeof(*i))
		return -EOPNOTSUPP;
	return i->end < 2 && ring_size_ok(i->tx_size) && ring_size_ok(i->rx_size) ? 0 : -EPROTO;
}

/* Datagrams of AF_CIRCUIT go to the operator, each with the address of whom it is for. */
static int peer(struct circuit *c)
{
	struct sockaddr_circuit addr;
	socklen_t len = sizeof(addr);

	memset(&addr, 0, sizeof(addr));
	if (getpeername(c->fd, (struct sockaddr *)&addr, &len))
		return -errno;
	if (len != sizeof(addr) || !addr.sc_port)
		return -EPROTO;
	c->peer.port = addr.sc_port;
	memcpy(c->peer.line, addr.sc_line, sizeof(c->peer.line));
	c->head = DATAGRAM_HEAD;
	return 0;
}

EXPORT int circuit_open(struct circuit **cp, int fd)
{
	struct circuit_info i, mapped;
	socklen_t len = sizeof(int);
	struct circuit *c;
	int domain, type, ret;
	size_t bytes;
	void *map;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return -errno;
	ret = info(fd, &i);
	if (ret)
		return ret;
	if (i.mapped)
		return i.mapped == CIRCUIT_MAPPED ? -EBUSY : -ESTALE;
	c = circuit_new(&socket_transport, fd);
	if (!c)
		return -ENOMEM;
	ret = domain == AF_CIRCUIT && type == SOCK_DGRAM ? peer(c) : 0;
	if (ret)
		goto err_free;
	bytes = CIRCUIT_MAP_BYTES(i.tx_size, i.rx_size);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		ret = -errno;
		goto err_free;
	}
	/* Only now nobody else moves the indices. */
	ret = info(fd, &mapped);
	if (ret)
		goto err_unmap;
	if (mapped.mapped != CIRCUIT_MAPPED) {
		ret = -ESTALE;
		goto err_unmap;
	}
	c->messages = type != SOCK_STREAM;
	if (mapped.tx_size != i.tx_size || mapped.rx_size != i.rx_size ||
	    (c->messages && (mapped.tx_tail | mapped.rx_head) % CIRCUIT_MESSAGE_ALIGN)) {
		ret = -EPROTO;
		goto err_unmap;
	}
	circuit_setup(c, map, mapped.end, i.tx_size, i.rx_size, mapped.tx_tail, mapped.rx_head);
	c->tx.head -= i.tx_size;	/* anywhere behind the tail, and not known yet */
	c->tx.bytes = mapped.tx_bytes;
	c->rx.bytes = mapped.rx_bytes;
	*cp = c;
	return 0;

err_unmap:
	munmap(map, bytes);
err_free:
	free(c);
	return ret;
}
