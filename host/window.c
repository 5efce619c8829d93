// SPDX-License-Identifier: GPL-2.0
/*
 * Windows: what a VM sees of the operator.
 *
 * A window is a file that the VMM maps shared as a BAR of the guest's device. It
 * starts with the line's own area; behind that, slot n shows a cable at offset
 * n * CIRCUIT_WINDOW_SLOT. Everywhere else, and wherever a cable was taken away,
 * the window shows the line's scratch page: a guest that touches what it was not
 * given reads and writes memory that means nothing to anybody. A fault never
 * fails, since a VMM or vCPU that got SIGBUS would be dead.
 *
 * The mapping is an ordinary one of ordinary pages (vmf->page, no VM_PFNMAP): KVM
 * then takes a reference while it sets its own tables up, and a page that is in
 * use there outlives its revocation instead of being recycled under a guest.
 *
 * Revocation against faults. The handler's decision becomes a page-table entry
 * only after it has returned. So it returns with the page locked, having looked
 * the slot up once more under that lock; and a cable is revoked by (1) erasing
 * the slot, (2) locking and unlocking each page, which waits for every entry
 * decided upon before, (3) unmapping the range. A fault after (1) finds scratch.
 * A cable appears in the same three steps, the page being the scratch page.
 *
 * The file's release is the end of the VM as far as the line can see.
 */
#include <linux/cred.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include "host.h"

#define CIRCUIT_FS_MAGIC	0x43495243	/* "CIRC" */

static_assert(PAGE_SIZE == CIRCUIT_PAGE);

static struct vfsmount *window_mnt;	/* while there are windows */
static int window_mnt_count;
static struct file_system_type window_fs;

/**
 * circuit_window_page - what a window shows
 * @win: the window
 * @off: where, in bytes, below its size
 *
 * Return: the page that shows there at the moment, with a reference.
 */
struct page *circuit_window_page(struct circuit_window *win, u64 off)
{
	struct circuit_cable *cable;
	struct page *page = win->scratch;
	u32 n;

	if (off < CIRCUIT_LINE_AREA) {
		page = virt_to_page(win->area + off);
	} else if (off >= CIRCUIT_WINDOW_SLOT) {
		rcu_read_lock();
		cable = xa_load(&win->slots, off / CIRCUIT_WINDOW_SLOT);
		n = off % CIRCUIT_WINDOW_SLOT / PAGE_SIZE;
		if (cable && n < cable->npages)
			page = cable->page + n;
		get_page(page);
		rcu_read_unlock();
		return page;
	}
	get_page(page);
	return page;
}

static vm_fault_t window_fault(struct vm_fault *vmf)
{
	struct circuit_window *win = vmf->vma->vm_file->private_data;
	u64 off = (u64)vmf->pgoff << PAGE_SHIFT;
	struct page *page, *again;

	if (off >= win->size)
		return VM_FAULT_SIGBUS;
	page = circuit_window_page(win, off);
	for (;;) {
		lock_page(page);
		again = circuit_window_page(win, off);
		if (again == page)
			break;
		unlock_page(page);
		put_page(page);
		page = again;
	}
	put_page(again);
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct window_vm_ops = {
	.fault = window_fault,
};

static int window_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct circuit_window *win = file->private_data;
	u64 pages = win->size >> PAGE_SHIFT;

	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	compat_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &window_vm_ops;
	return 0;
}

static int kick_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct circuit_window *win = container_of(wait, struct circuit_window, wait);

	/*
	 * Interrupts are off and the eventfd's lock is held, and signalling
	 * another eventfd from here is forbidden: let the relay do that in a
	 * moment, on this same CPU.
	 */
	if (!(key_to_poll(key) & EPOLLIN))
		return 0;
	if (likely(!circuit_bell_masked(&win->bell)))
		irq_work_queue(&win->relay);
	else
		circuit_line_count(win->line, CIRCUIT_COUNT_DOORBELLS_MASKED);
	return 0;
}

static void kick_hook(struct file *file, wait_queue_head_t *wqh, poll_table *poll)
{
	struct circuit_window *win = container_of(poll, struct circuit_window, poll);

	add_wait_queue(wqh, &win->wait);
}

static void window_free(struct circuit_window *win)
{
	while (win->vectors)
		eventfd_ctx_put(win->call[--win->vectors]);
	if (win->kick)
		eventfd_ctx_put(win->kick);
	if (win->kick_file)
		fput(win->kick_file);
	xa_destroy(&win->slots);
	if (win->area)
		free_pages_exact(win->area, CIRCUIT_LINE_AREA);
	if (win->scratch)
		__free_page(win->scratch);
	circuit_line_put(win->line);
	kfree(win);
}

static int window_release(struct inode *inode, struct file *file)
{
	struct circuit_window *win = file->private_data;
	struct circuit_line *line = win->line;
	struct circuit_exchange *ex = circuit_exchange_get(line->ex);
	u64 count;

	/* No new doorbells ... */
	eventfd_ctx_remove_wait_queue(win->kick, &win->wait, &count);
	circuit_bell_stop(win);

	/* ... no new signalling, and nobody left on the circuits ... */
	mutex_lock(&ex->lock);
	circuit_line_reset(line, CIRCUIT_REASON_PEER_GONE);
	RCU_INIT_POINTER(line->win, NULL);
	line->fault = false;
	if (!line->deleted)
		circuit_event_line(line, CIRCUIT_EVENT_LINE_DETACH, CIRCUIT_REASON_PEER_GONE);
	mutex_unlock(&ex->lock);

	/* ... no relay, ours or another line's that has our interrupt in its hands ... */
	synchronize_rcu();

	/* ... and nothing that one of them has queued. */
	cancel_work_sync(&win->relay_work);
	cancel_work_sync(&win->sig_work);
	hrtimer_cancel(&win->bell.timer);
	window_free(win);
	circuit_exchange_put(ex);
	simple_release_fs(&window_mnt, &window_mnt_count);
	return 0;
}

static const struct file_operations window_fops = {
	.owner = THIS_MODULE,
	.mmap = window_mmap,
	.llseek = generic_file_llseek,
	.release = window_release,
};

static struct file *window_file(struct circuit_window *win)
{
	struct inode *inode;
	struct file *file;
	int err;

	err = simple_pin_fs(&window_fs, &window_mnt, &window_mnt_count);
	if (err)
		return ERR_PTR(err);
	/* Whoever opens a file takes this reference, and its last fput() drops it. */
	__module_get(window_fops.owner);
	inode = alloc_anon_inode(window_mnt->mnt_sb);
	file = ERR_CAST(inode);
	if (IS_ERR(inode))
		goto put;
	inode->i_mode |= S_IFREG;
	i_size_write(inode, win->size);
	win->inode = inode;
	file = alloc_file_pseudo(inode, window_mnt, "circuit-window", O_RDWR, &window_fops);
	if (IS_ERR(file)) {
		iput(inode);
		goto put;
	}
	file->f_mode |= FMODE_LSEEK;
	file->private_data = win;
	return file;
put:
	module_put(window_fops.owner);
	simple_release_fs(&window_mnt, &window_mnt_count);
	return file;
}

static int window_eventfds(struct circuit_window *win, int kick_fd, const s32 *call_fds,
			   unsigned int vectors)
{
	struct eventfd_ctx *ctx;
	struct file *file;

	file = eventfd_fget(kick_fd);
	if (IS_ERR(file))
		return PTR_ERR(file);
	win->kick_file = file;
	ctx = eventfd_ctx_fileget(file);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	win->kick = ctx;
	while (win->vectors < vectors) {
		ctx = eventfd_ctx_fdget(call_fds[win->vectors]);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
		win->call[win->vectors++] = ctx;
	}
	return 0;
}

static void window_header(struct circuit_window *win)
{
	struct circuit_line_hdr *hdr = circuit_window_hdr(win);
	struct circuit_ctrl *ctrl = win->area + CIRCUIT_OFF_SIG;

	hdr->version_min = CIRCUIT_SIG_VERSION_MIN;
	hdr->version_max = CIRCUIT_SIG_VERSION_MAX;
	hdr->page_size = CIRCUIT_PAGE;
	hdr->window = win->size;
	hdr->features = CIRCUIT_SIG_FEATURES;
	hdr->state = CIRCUIT_LINE_UP;
	hdr->magic = CIRCUIT_LINE_MAGIC;

	ctrl->magic = CIRCUIT_RING_MAGIC;
	ctrl->version = CIRCUIT_RING_VERSION;
	ctrl->size[0] = CIRCUIT_SIG_RING;
	ctrl->size[1] = CIRCUIT_SIG_RING;
	ctrl->data[0] = CIRCUIT_CTRL_SIZE;
	ctrl->data[1] = CIRCUIT_CTRL_SIZE + CIRCUIT_SIG_RING;
}

static struct circuit_window *window_create(struct circuit_line *line, int kick_fd,
					    const s32 *call_fds, unsigned int vectors)
{
	struct circuit_window *win;
	int err;

	win = kzalloc(struct_size(win, call, vectors), GFP_KERNEL_ACCOUNT);
	if (!win)
		return ERR_PTR(-ENOMEM);
	win->line = circuit_line_get(line);
	win->size = line->cfg.window;
	xa_init_flags(&win->slots, XA_FLAGS_ALLOC1);
	circuit_bell_init(&win->bell);
	init_irq_work(&win->relay, circuit_relay);
	INIT_WORK(&win->relay_work, circuit_relay_work);
	INIT_WORK(&win->sig_work, circuit_sig_work);
	init_waitqueue_func_entry(&win->wait, kick_wake);
	init_poll_funcptr(&win->poll, kick_hook);

	err = window_eventfds(win, kick_fd, call_fds, vectors);
	if (err)
		goto free;
	err = -ENOMEM;
	win->scratch = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!win->scratch)
		goto free;
	win->area = alloc_pages_exact(CIRCUIT_LINE_AREA, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!win->area)
		goto free;
	window_header(win);
	return win;
free:
	window_free(win);
	return ERR_PTR(err);
}

/**
 * circuit_window_attach - attach the calling process's VM to a line
 * @ex: the exchange, not locked
 * @name: a name for which circuit_name_ok() holds
 * @kick_fd: eventfd that the guest's doorbell signals
 * @call_fds: eventfds that interrupt the guest
 * @vectors: how many, 1 to CIRCUIT_VECTORS_MAX
 *
 * Return: a descriptor of the window, installed in the caller's table; -ENODEV if
 * there is no such line, -EBUSY if it is attached, -EBADF or -EINVAL if a
 * descriptor is not an eventfd, or what else made the attempt fail.
 */
int circuit_window_attach(struct circuit_exchange *ex, const char *name, int kick_fd,
			  const s32 *call_fds, unsigned int vectors)
{
	struct circuit_window *win;
	struct circuit_line *line;
	struct file *file;
	int fd, err;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;

	mutex_lock(&ex->lock);
	err = -ENODEV;
	line = circuit_directory_line(ex, name);
	if (!line)
		goto unlock;
	err = -EBUSY;
	if (circuit_line_window(line))
		goto unlock;
	win = window_create(line, kick_fd, call_fds, vectors);
	err = PTR_ERR(win);
	if (IS_ERR(win))
		goto unlock;
	file = window_file(win);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		window_free(win);
		goto unlock;
	}
	rcu_assign_pointer(line->win, win);
	circuit_event_line(line, CIRCUIT_EVENT_LINE_ATTACH, CIRCUIT_REASON_NONE);
	/* From here on the release undoes everything. */
	if (vfs_poll(win->kick_file, &win->poll) & EPOLLIN)
		irq_work_queue(&win->relay);
	mutex_unlock(&ex->lock);
	fd_install(fd, file);
	return fd;

unlock:
	mutex_unlock(&ex->lock);
	put_unused_fd(fd);
	return err;
}

/**
 * circuit_window_show - make a cable appear in a window
 * @win: the window, its line's exchange locked
 * @cable: the cable
 * @slot: set to where it appears
 *
 * Return: 0, -ENOSPC if the window is full, or -ENOMEM.
 */
int circuit_window_show(struct circuit_window *win, struct circuit_cable *cable, u32 *slot)
{
	u32 max = win->size / CIRCUIT_WINDOW_SLOT - 1;
	int err;

	err = xa_alloc(&win->slots, slot, cable, XA_LIMIT(1, max), GFP_KERNEL_ACCOUNT);
	if (err)
		return err == -EBUSY ? -ENOSPC : err;
	/* The guest may have touched the place while it was scratch, or be about to. */
	lock_page(win->scratch);
	unlock_page(win->scratch);
	unmap_mapping_range(win->inode->i_mapping, (loff_t)*slot * CIRCUIT_WINDOW_SLOT,
			    CIRCUIT_WINDOW_SLOT, 1);
	return 0;
}

/**
 * circuit_window_revoke - make a cable disappear from a window
 * @win: the window, its line's exchange locked
 * @cable: the cable
 * @slot: where it appears
 *
 * On return neither the guest nor its VMM can reach the cable by a new access;
 * pages that somebody holds a reference to live on until that is dropped.
 */
void circuit_window_revoke(struct circuit_window *win, struct circuit_cable *cable, u32 slot)
{
	u32 i;

	xa_erase(&win->slots, slot);
	for (i = 0; i < cable->npages; i++) {
		lock_page(cable->page + i);
		unlock_page(cable->page + i);
	}
	unmap_mapping_range(win->inode->i_mapping, (loff_t)slot * CIRCUIT_WINDOW_SLOT,
			    CIRCUIT_WINDOW_SLOT, 1);
}

static int window_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, CIRCUIT_FS_MAGIC) ? 0 : -ENOMEM;
}

/* The super block holds the module until the last file is gone altogether. */
static struct file_system_type window_fs = {
	.owner = THIS_MODULE,
	.name = "circuit",
	.init_fs_context = window_init_fs_context,
	.kill_sb = kill_anon_super,
};
