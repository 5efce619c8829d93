// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The transport between two processes of one machine: a circuit in a memfd, a doorbell in a socket.
 *
 * A doorbell is a byte on the socket over which the circuit was offered. An eventfd would be
 * cheaper to write to, but the far end could make the writer block: whether it does is a property
 * that both ends share. On a socket each call says so for itself; and a socket tells when the other
 * process dies, and is one descriptor to poll for everything.
 *
 * What the offer brings is believed as far as it can be checked: the memory must be of a size that
 * can no longer change, or a later access could fault.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

#define OFFER_MAGIC	0x4f435243	/* "CRCO" on a little-endian machine */
#define OFFER_VERSION	1
#define SEALS		(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Before the wrap of the indices, so that no program meets that in its fourth gigabyte first. */
#define FIRST_INDEX	(UINT32_MAX - 0xffff)

/**
 * struct offer - what comes with the memory
 * @magic: OFFER_MAGIC
 * @version: OFFER_VERSION
 * @flags: CIRCUIT_MESSAGES or 0
 * @zero: 0
 * @size: sizes of ring 0 and ring 1
 * @index: where their indices begin
 */
struct offer {
	uint32_t	magic;
	uint32_t	version;
	uint32_t	flags;
	uint32_t	zero;
	uint32_t	size[2];
	uint32_t	index[2];
};

/* --- the doorbell --------------------------------------------------------------------------- */

static void gone(struct circuit *c)
{
	int none = 0;

	__atomic_compare_exchange_n(&c->hup, &none, ECONNRESET, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}

static int local_kick(struct circuit *c)
{
	if (send(c->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		return 0;
	switch (errno) {
	case EAGAIN:	/* it has enough of them, and not looked at any yet */
		return 0;
	case ENOBUFS:
	case ENOMEM:
	case EINTR:
		return -ENOBUFS;
	default:
		gone(c);
		return -circuit_hup(c);
	}
}

/* Not recvmsg(): descriptors that come along are closed by the kernel. */
static void drain(struct circuit *c)
{
	char bells[256];
	ssize_t ret = recv(c->fd, bells, sizeof(bells), MSG_DONTWAIT);

	if (!ret || (ret < 0 && errno != EAGAIN && errno != EINTR))
		gone(c);
}

/*
 * Of two threads that wait for the two directions, one watches the socket, and the other waits for
 * that one to tell it: a doorbell does not say for which direction it is, and is gone when it has
 * been read.
 */
static bool watch(struct circuit *c)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(&c->polling, &nobody, 1, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static void unwatch(struct circuit *c)
{
	__atomic_store_n(&c->polling, 0, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&c->seq, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&c->following, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &c->seq, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void local_check(struct circuit *c)
{
	if (!watch(c))
		return;
	drain(c);
	unwatch(c);
}

static int local_sleep(struct circuit *c, unsigned int events, uint32_t seq, int64_t timeout)
{
	struct timespec ts = { .tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000 };
	struct timespec *limit = timeout < 0 ? NULL : &ts;
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	int ret = 0;

	(void)events;
	if (watch(c)) {
		if (ppoll(&pfd, 1, limit, NULL) < 0)
			ret = -errno;
		else if (pfd.revents)
			drain(c);
		unwatch(c);
	} else {
		__atomic_add_fetch(&c->following, 1, __ATOMIC_SEQ_CST);
		if (syscall(SYS_futex, &c->seq, FUTEX_WAIT_PRIVATE, seq, limit, NULL, 0) &&
		    errno == EINTR)
			ret = -EINTR;
		__atomic_sub_fetch(&c->following, 1, __ATOMIC_SEQ_CST);
	}
	return ret;
}

static int local_lost(struct circuit *c)
{
	(void)c;
	return EPROTO;
}

static short local_events(unsigned int events)
{
	(void)events;
	return POLLIN;
}

static const struct transport local_transport = {
	.kick = local_kick,
	.check = local_check,
	.sleep = local_sleep,
	.lost = local_lost,
	.events = local_events,
	.flags = true,
	.near = true,
};

/* --- opening -------------------------------------------------------------------------------- */

static int socket_ok(int sock)
{
	int domain, type;
	socklen_t len = sizeof(int);

	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len))
		return -errno;
	return domain == AF_UNIX && type == SOCK_STREAM ? 0 : -EOPNOTSUPP;
}

static bool map_at(uint8_t **at, size_t len, int prot, int fd, off_t offset)
{
	if (mmap(*at, len, prot, MAP_SHARED | MAP_FIXED, fd, offset) == MAP_FAILED)
		return false;
	*at += len;
	return true;
}

/* In the file there are the control page, ring 0 and ring 1; what is read is not to be written. */
static int map(struct circuit *c, int fd, unsigned int end, const struct offer *o)
{
	uint32_t tx = o->size[end], rx = o->size[!end];
	off_t tx_at = CIRCUIT_CTRL_SIZE + (end ? o->size[0] : 0);
	off_t rx_at = CIRCUIT_CTRL_SIZE + (end ? 0 : o->size[0]);
	size_t len = CIRCUIT_MAP_BYTES(tx, rx);
	uint8_t *base, *at;
	int err;

	base = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	at = base;
	if (!map_at(&at, CIRCUIT_CTRL_SIZE, PROT_READ | PROT_WRITE, fd, 0) ||
	    !map_at(&at, tx, PROT_READ | PROT_WRITE, fd, tx_at) ||
	    !map_at(&at, tx, PROT_READ | PROT_WRITE, fd, tx_at) ||
	    !map_at(&at, rx, PROT_READ, fd, rx_at) ||
	    !map_at(&at, rx, PROT_READ, fd, rx_at)) {
		err = -errno;
		munmap(base, len);
		return err;
	}
	c->messages = o->flags & CIRCUIT_MESSAGES;
	circuit_setup(c, base, end, tx, rx, o->index[end], o->index[!end]);
	return 0;
}

static int send_offer(int sock, int fd, const struct offer *o)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u = { .buf = "" };
	struct iovec iov = { (void *)o, sizeof(*o) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	ssize_t ret;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	do
		ret = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (ret < 0 && errno == EINTR);
	return ret == sizeof(*o) ? 0 : ret < 0 ? -errno : -EPROTO;
}

/* One descriptor, and no others left open that came with it. */
static int receive_offer(int sock, struct offer *o)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { o, sizeof(*o) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
			      .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *cmsg;
	int fd = -1, one;
	ssize_t ret;
	size_t i;

	ret = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (ret < 0)
		return -errno;
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			memcpy(&one, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (fd >= 0)
				close(fd);
			fd = one;
		}
	}
	if (!ret) {
		if (fd >= 0)
			close(fd);
		return -ECONNRESET;
	}
	if (ret == sizeof(*o) && fd >= 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return msg.msg_flags & MSG_CTRUNC && ret == sizeof(*o) ? -EMFILE : -EPROTO;
}

static bool offer_ok(const struct offer *o)
{
	return o->magic == OFFER_MAGIC && o->version == OFFER_VERSION &&
	       !(o->flags & ~CIRCUIT_MESSAGES) && !o->zero &&
	       ring_size_ok(o->size[0]) && ring_size_ok(o->size[1]) &&
	       !((o->index[0] | o->index[1]) % CIRCUIT_MESSAGE_ALIGN);
}

/*
 * Could an access to it fault? What has seals is of tmpfs or of huge pages; and their sizes,
 * mappings of which could be larger than they were asked to be, are never that of a circuit, which
 * is not a multiple of more than 16 KiB.
 */
static bool memory_ok(int fd, const struct offer *o)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & SEALS) == SEALS && !fstat(fd, &st) &&
	       st.st_size == CIRCUIT_CTRL_SIZE + (off_t)o->size[0] + o->size[1];
}

int circuit_offer_at(struct circuit **cp, int sock, size_t tx_size, size_t rx_size,
		     unsigned int flags, uint32_t tx_index, uint32_t rx_index)
{
	struct offer o = { .magic = OFFER_MAGIC, .version = OFFER_VERSION, .flags = flags,
			   .size = { tx_size, rx_size }, .index = { tx_index, rx_index } };
	struct circuit_ctrl *ctrl;
	struct circuit *c;
	int fd, i, ret;

	if (!ring_size_ok(tx_size) || !ring_size_ok(rx_size) || !offer_ok(&o))
		return -EINVAL;
	ret = socket_ok(sock);
	if (ret)
		return ret;
	c = circuit_new(&local_transport, sock);
	if (!c)
		return -ENOMEM;
	fd = memfd_create("circuit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		ret = -errno;
		goto err_free;
	}
	if (ftruncate(fd, CIRCUIT_CTRL_SIZE + (off_t)tx_size + rx_size) ||
	    fcntl(fd, F_ADD_SEALS, SEALS)) {
		ret = -errno;
		goto err_fd;
	}
	ret = map(c, fd, 0, &o);
	if (ret)
		goto err_fd;
	ctrl = c->ctrl;
	ctrl->magic = CIRCUIT_RING_MAGIC;
	ctrl->version = CIRCUIT_RING_VERSION;
	for (i = 0; i < 2; i++) {
		ctrl->size[i] = o.size[i];
		ctrl->data[i] = CIRCUIT_CTRL_SIZE + (i ? o.size[0] : 0);
		ctrl->dir[i].prod.tail = o.index[i];
		ctrl->dir[i].cons.head = o.index[i];
		ctrl->dir[i].cons.event = o.index[i];
	}
	ret = send_offer(sock, fd, &o);
	if (ret) {
		munmap(c->map, c->map_len);
		goto err_fd;
	}
	close(fd);
	*cp = c;
	return 0;

err_fd:
	close(fd);
err_free:
	free(c);
	return ret;
}

EXPORT int circuit_offer(struct circuit **c, int sock, size_t tx_size, size_t rx_size,
			 unsigned int flags)
{
	return circuit_offer_at(c, sock, tx_size, rx_size, flags, FIRST_INDEX, FIRST_INDEX);
}

EXPORT int circuit_accept(struct circuit **cp, int sock, size_t max)
{
	struct circuit *c;
	struct offer o;
	int fd, ret;

	ret = socket_ok(sock);
	if (ret)
		return ret;
	c = circuit_new(&local_transport, sock);
	if (!c)
		return -ENOMEM;
	fd = receive_offer(sock, &o);
	if (fd < 0) {
		ret = fd;
		goto err_free;
	}
	if (!offer_ok(&o) || !memory_ok(fd, &o))
		ret = -EPROTO;
	else if (max && (o.size[0] > max || o.size[1] > max))
		ret = -EFBIG;
	else
		ret = map(c, fd, 1, &o);
	close(fd);
	if (ret)
		goto err_free;
	*cp = c;
	return 0;

err_free:
	free(c);
	return ret;
}
