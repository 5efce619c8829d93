// SPDX-License-Identifier: GPL-2.0
/*
 * Taps: what one circuit carries, for an administrator who looks for a fault.
 *
 * Nobody tells the operator of what goes from guest to guest. So whoever reads a tap looks at the
 * rings, again and again while there is nothing new, and copies what has been written since. It
 * stays there for a while after it has been read, until it is overwritten; what was, before the
 * tap came by, is counted as lost. The guests notice nothing, and wait for nobody.
 *
 * The reader's buffer belongs to @mutex, which is outside exchange->lock; nothing is copied to
 * user memory under the latter. What is in the rings when the circuit ends is put aside then.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/circuit_dev.h>
#include "host.h"

/* Records of each end copied while the exchange is locked, and all when the circuit ends. */
#define TAP_TURN	2
#define TAP_LAST	(CIRCUIT_RING_MAX / CIRCUIT_TAP_RECORD_MAX + 1)
/* Looks in vain are so far apart, ns. */
#define TAP_PAUSE	(500 * NSEC_PER_USEC)

/**
 * struct tap_buffer - records that nobody has read yet
 * @data: the records
 * @size: room for them
 * @len: how much there is
 */
struct tap_buffer {
	u8	*data;
	u32	size;
	u32	len;
};

/**
 * struct circuit_tap - one tap
 * @ex: the exchange, referenced
 * @c: the circuit, NULL once it has ended; under the exchange's lock
 * @pos: indices in its rings up to which they have been looked at; likewise
 * @offset: the same since the circuit began; likewise
 * @flags: CIRCUIT_TAP_* that have been told of each end; likewise
 * @last: what was in the rings at the end; the reader's after that
 * @mutex: one reader at a time
 * @buf: the reader's
 * @taken: how much of it has been read
 * @ended: @last has been taken, too
 */
struct circuit_tap {
	struct circuit_exchange	*ex;
	struct circuit		*c;
	u32			pos[2];
	u64			offset[2];
	u16			flags[2];
	struct tap_buffer	last;
	struct mutex		mutex;
	struct tap_buffer	buf;
	u32			taken;
	bool			ended;
};

static bool tap_room(const struct tap_buffer *buf, u32 len)
{
	return buf->size - buf->len >= sizeof(struct circuit_tap_record) + len;
}

/* The data of a record is there already, behind where its head goes. */
static void tap_record(struct circuit_tap *tap, struct tap_buffer *buf, unsigned int end, u32 len,
		       u16 flags)
{
	struct circuit_tap_record rec = {
		.time = ktime_get_real_ns(),
		.offset = tap->offset[end],
		.len = len,
		.end = end,
		.flags = flags,
	};

	memcpy(buf->data + buf->len, &rec, sizeof(rec));
	buf->len += sizeof(rec) + len;
	tap->pos[end] += len;
	tap->offset[end] += len;
}

static void tap_skip(struct circuit_tap *tap, unsigned int end, u32 n)
{
	tap->pos[end] += n;
	tap->offset[end] += n;
}

/*
 * A writer overwrites before it says so, our guests 32 KiB at a time, or a message. What has been
 * read, and is so close to being overwritten, is taken for lost.
 */
static u32 tap_margin(u32 size)
{
	return min(size / 4, CIRCUIT_TAP_RECORD_MAX);
}

static bool tap_late(const struct circuit_dir *dir, u32 pos, u32 size)
{
	u32 behind = virt_load_acquire(&dir->prod.tail) - pos;

	return behind > size || (behind > size - tap_margin(size) &&
				 (s32)(READ_ONCE(dir->cons.head) - pos) > 0);
}

/*
 * Copy what one end has written, in at most so many turns. Its indices may be anything, and change
 * all the time: none is used but modulo the size of the ring.
 */
static void tap_copy(struct circuit_tap *tap, struct tap_buffer *buf, unsigned int end, int turns)
{
	const struct circuit_dir *dir = &tap->c->ctrl->dir[end];
	const u8 *data = (u8 *)(tap->c->ctrl + 1) + (end ? tap->c->size[0] : 0);
	u32 size = tap->c->size[end], avail, len, at;
	u16 lost = 0;

	while (turns--) {
		if (tap_late(dir, tap->pos[end], size)) {
			/* Go on a good deal farther, or this would be late again. */
			avail = READ_ONCE(dir->prod.tail) - tap->pos[end];
			tap_skip(tap, end, avail - (size - 2 * tap_margin(size)));
			lost = CIRCUIT_TAP_LOST;
		}
		avail = min(virt_load_acquire(&dir->prod.tail) - tap->pos[end], size);
		at = tap->pos[end] & (size - 1);
		len = min3(avail, size - at, CIRCUIT_TAP_RECORD_MAX);
		if (!len || !tap_room(buf, len))
			return;
		memcpy(buf->data + buf->len + sizeof(struct circuit_tap_record), data + at, len);
		virt_rmb();	/* before the writer is asked whether it was there meanwhile */
		if (tap_late(dir, tap->pos[end], size))
			continue;
		tap_record(tap, buf, end, len, lost);
		lost = 0;
	}
}

/* Copy what there is into @buf, and say of each end whether more will come. */
static void tap_pump(struct circuit_tap *tap, struct tap_buffer *buf, int turns)
{
	unsigned int end;
	u16 flags;

	lockdep_assert_held(&tap->ex->lock);
	for (end = 0; end < 2; end++) {
		const struct circuit_producer *prod = &tap->c->ctrl->dir[end].prod;
		u32 said = virt_load_acquire(&prod->flags);

		flags = (said & CIRCUIT_TX_FIN ? CIRCUIT_TAP_FIN : 0) |
			(said & CIRCUIT_TX_RST ? CIRCUIT_TAP_RST : 0);
		tap_copy(tap, buf, end, turns);
		if (flags & ~tap->flags[end] && READ_ONCE(prod->tail) == tap->pos[end] &&
		    tap_room(buf, 0)) {
			tap_record(tap, buf, end, 0, flags & ~tap->flags[end]);
			tap->flags[end] |= flags;
		}
	}
}

/**
 * circuit_tap_end - a circuit ends
 * @c: the circuit, with its rings; its exchange is locked
 */
void circuit_tap_end(struct circuit *c)
{
	struct circuit_tap *tap = c->tap;

	tap_pump(tap, &tap->last, TAP_LAST);
	tap->c = NULL;
	c->tap = NULL;
}

/* Fill the reader's buffer, which is empty; returns false if there is nothing yet. */
static bool tap_fill(struct circuit_tap *tap)
{
	struct circuit_exchange *ex = tap->ex;

	tap->buf.len = 0;
	tap->taken = 0;
	mutex_lock(&ex->lock);
	if (tap->c) {
		tap_pump(tap, &tap->buf, TAP_TURN);
	} else if (!tap->ended) {
		swap(tap->buf, tap->last);
		tap->ended = true;
	}
	mutex_unlock(&ex->lock);
	return tap->buf.len || tap->ended;
}

static ssize_t tap_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct circuit_tap *tap = file->private_data;
	ktime_t pause;
	size_t n;
	int err = 0;

	if (mutex_lock_interruptible(&tap->mutex))
		return -ERESTARTSYS;
	while (tap->taken == tap->buf.len && !tap_fill(tap)) {
		err = -EAGAIN;
		if (file->f_flags & O_NONBLOCK)
			goto unlock;
		pause = TAP_PAUSE;
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_hrtimeout_range(&pause, TAP_PAUSE / 2, HRTIMER_MODE_REL);
		err = -ERESTARTSYS;
		if (signal_pending(current))
			goto unlock;
	}
	n = min_t(size_t, len, tap->buf.len - tap->taken);
	err = -EFAULT;
	if (copy_to_user(to, tap->buf.data + tap->taken, n))
		goto unlock;
	tap->taken += n;
	err = n;
unlock:
	mutex_unlock(&tap->mutex);
	return err;
}

static void tap_free(struct circuit_tap *tap)
{
	kvfree(tap->buf.data);
	kvfree(tap->last.data);
	circuit_exchange_put(tap->ex);
	kfree(tap);
}

static int tap_release(struct inode *inode, struct file *file)
{
	struct circuit_tap *tap = file->private_data;

	mutex_lock(&tap->ex->lock);
	if (tap->c)
		tap->c->tap = NULL;
	mutex_unlock(&tap->ex->lock);
	tap_free(tap);
	return 0;
}

static const struct file_operations tap_fops = {
	.owner = THIS_MODULE,
	.read = tap_read,
	.release = tap_release,
	.llseek = noop_llseek,
};

static int tap_alloc(struct tap_buffer *buf, u32 size)
{
	buf->size = size;
	buf->data = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	return buf->data ? 0 : -ENOMEM;
}

/* From the oldest byte that has not been read: it is still there. */
static void tap_start(struct circuit_tap *tap, struct circuit *c)
{
	unsigned int end;

	for (end = 0; end < 2; end++) {
		const struct circuit_dir *dir = &c->ctrl->dir[end];
		u32 tail = READ_ONCE(dir->prod.tail), head = READ_ONCE(dir->cons.head);
		u64 bytes = READ_ONCE(dir->prod.bytes);

		if (tail - head > c->size[end])
			head = tail;
		tap->pos[end] = head;
		tap->offset[end] = bytes - (u32)((u32)bytes - head);
	}
	tap->c = c;
	c->tap = tap;
}

/**
 * circuit_tap - begin to capture what a circuit carries
 * @ex: the exchange, not locked
 * @id: the circuit's number
 *
 * Return: a descriptor to read struct circuit_tap_record from, -ENOENT if there is no such
 * circuit, -ENOTCONN if it is a call that waits, -EBUSY if it is captured already, or another
 * negative errno.
 */
int circuit_tap(struct circuit_exchange *ex, u64 id)
{
	const u32 record = CIRCUIT_TAP_RECORD_MAX + sizeof(struct circuit_tap_record);
	struct circuit_tap *tap;
	struct circuit *c;
	int err;

	tap = kzalloc(sizeof(*tap), GFP_KERNEL_ACCOUNT);
	if (!tap)
		return -ENOMEM;
	tap->ex = circuit_exchange_get(ex);
	mutex_init(&tap->mutex);
	err = tap_alloc(&tap->buf, (2 * TAP_TURN + 1) * record);
	/* All that may be in the rings when it ends. */
	if (!err)
		err = tap_alloc(&tap->last, (2 * CIRCUIT_RING_MAX / CIRCUIT_TAP_RECORD_MAX + 4) * record);
	if (err)
		goto free;
	mutex_lock(&ex->lock);
	c = xa_load(&ex->circuits, id);
	err = !c ? -ENOENT : !c->connected ? -ENOTCONN : c->tap ? -EBUSY : 0;
	if (!err)
		tap_start(tap, c);
	mutex_unlock(&ex->lock);
	if (err)
		goto free;
	err = anon_inode_getfd("[circuit-tap]", &tap_fops, tap, O_RDONLY | O_CLOEXEC);
	if (err >= 0) {
		pr_info("circuit: circuit %llu is captured by %s (%d)\n", id, current->comm,
			task_tgid_nr(current));
		return err;
	}
	mutex_lock(&ex->lock);
	if (tap->c)
		tap->c->tap = NULL;
	mutex_unlock(&ex->lock);
free:
	tap_free(tap);
	return err;
}
