// SPDX-License-Identifier: GPL-2.0
/*
 * Circuits that processes have mapped.
 *
 * The contract with them is in linux/circuit.h. What a process maps is its own circuit, by the
 * page, and what it writes there is no better than what a far end writes: the kernel looks at it
 * only to answer poll() and the like, and takes it over, checked, when the last mapping is gone.
 *
 * Each mapping (vma) references the circuit, and with that the line and its window, which has to
 * stay mapped write-back for the user's mapping to be so; the module; and, as a mapping of any file
 * does, the socket. So a socket is not released before its mappings are gone, and what a mapping
 * has to lose before that are a line that goes down, a socket that is disconnected, and a limit.
 * circuit_map_lose() takes all pages out of all page tables before the number is given back by
 * HANGUP; whoever touches the mapping afterwards finds pages that are only his.
 *
 * tx_mapped and rx_mapped say that the kernel's own indices of a direction are out of date. They
 * are set by mmap(), under both mutexes, and cleared under the direction's own by whoever next has
 * to do with it when nobody has the circuit mapped any more. A process may have been killed, or
 * deprived of the mapping, between an index and its notification, so the far end is told then.
 *
 * map->lock is held while a page is looked for and put into a page table, so that none is put there
 * after circuit_map_lose() has said that there are none and before it has taken out those there
 * were.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "guest.h"
#include "transfer.h"

#define AROUND	(16 * PAGE_SIZE)	/* bytes mapped at once, aligned */

/**
 * struct circuit_map - a circuit as processes have mapped it
 * @vmas: how many mappings there are
 * @lock: see above
 * @lost: it has lost its circuit; changes under @lock, and both mutexes of the endpoint
 * @armed: the events that poll() has set last: of the ring that is written, under tx_mutex, and of
 *	that which is read, under rx_mutex; any other is the process's
 * @blank: show where it has: the first for the control page, the other for the rings
 * @pages: of the socket that it is mapped by, which is there while there is a mapping
 */
struct circuit_map {
	atomic_t		vmas;
	struct mutex		lock;
	bool			lost;
	u32			armed[2];
	struct page		*blank[2];
	struct address_space	*pages;
};

/**
 * circuit_map_free - free what was made to map a circuit
 * @map: it, or NULL; its circuit is being freed
 *
 * Context: any but hard interrupt.
 */
void circuit_map_free(struct circuit_map *map)
{
	if (!map)
		return;
	__free_page(map->blank[0]);
	__free_page(map->blank[1]);
	kfree(map);
}

/* Where in the window the page of a mapping is; linux/circuit.h has the layout. */
static u64 map_offset(const struct circuit *c, u64 pos)
{
	const void *window = c->line->t->window;
	u64 ctrl = (void *)c->tx.prod - window;

	if (pos < CIRCUIT_MAP_TX)
		return round_down(ctrl, CIRCUIT_PAGE);
	pos -= CIRCUIT_MAP_TX;
	if (pos < 2ull * c->tx.size)
		return (void *)c->tx.data - window + (pos & (c->tx.size - 1));
	pos -= 2ull * c->tx.size;
	return (void *)c->rx.data - window + (pos & (c->rx.size - 1));
}

static unsigned long map_pfn(const struct circuit *c, u64 pos)
{
	if (c->map->lost)
		return page_to_pfn(c->map->blank[pos >= CIRCUIT_MAP_TX]);
	return PHYS_PFN(c->line->t->base + map_offset(c, pos));
}

/* Some more than what was asked for: rings are used from one end to the other. */
static vm_fault_t map_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct circuit *c = vma->vm_private_data;
	unsigned long at, start, end;
	vm_fault_t ret;

	start = max(vma->vm_start, round_down(vmf->address, AROUND));
	end = min(vma->vm_end, round_down(vmf->address, AROUND) + AROUND);
	mutex_lock(&c->map->lock);
	at = vmf->address & PAGE_MASK;
	ret = vmf_insert_pfn(vma, at, map_pfn(c, (u64)vmf->pgoff << PAGE_SHIFT));
	for (at = start; at < end && ret == VM_FAULT_NOPAGE; at += PAGE_SIZE)
		if (vmf_insert_pfn(vma, at, map_pfn(c, at - vma->vm_start +
						    ((u64)vma->vm_pgoff << PAGE_SHIFT))) !=
		    VM_FAULT_NOPAGE)
			break;
	mutex_unlock(&c->map->lock);
	return ret;
}

static void map_open(struct vm_area_struct *vma)
{
	struct circuit *c = circuit_get(vma->vm_private_data);

	__module_get(THIS_MODULE);
	atomic_inc(&c->map->vmas);
}

static void map_close(struct vm_area_struct *vma)
{
	struct circuit *c = vma->vm_private_data;
	struct circuit_ep *ep;

	/* After the last access: pairs with the one in map_gone(). */
	if (!atomic_dec_return(&c->map->vmas)) {
		/* A UDP socket goes by what there is to be read, and has it done now. */
		rcu_read_lock();
		ep = READ_ONCE(c->ep);
		if (ep && ep->moved)
			ep->moved(ep);
		rcu_read_unlock();
	}
	circuit_put(c);
	module_put(THIS_MODULE);
}

static const struct vm_operations_struct map_ops = {
	.open = map_open,
	.close = map_close,
	.fault = map_fault,
};

static struct circuit_map *map_alloc(void)
{
	struct circuit_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return NULL;
	map->blank[0] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	map->blank[1] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!map->blank[0] || !map->blank[1])
		goto free;
	mutex_init(&map->lock);
	return map;
free:
	if (map->blank[0])
		__free_page(map->blank[0]);
	if (map->blank[1])
		__free_page(map->blank[1]);
	kfree(map);
	return NULL;
}

/* mmap() of the circuit, with both mutexes held. */
static int map_circuit(struct circuit_ep *ep, struct vm_area_struct *vma, struct file *file)
{
	struct circuit *c = circuit_ep_rings(ep);
	struct circuit_map *map;

	if (!c || READ_ONCE(ep->state) != TCP_ESTABLISHED)
		return -ENOTCONN;
	if (smp_load_acquire(&c->limits) || !(c->line->welcome.features & CIRCUIT_SIG_F_CLEAR))
		return -EOPNOTSUPP;
	if (vma->vm_end - vma->vm_start != CIRCUIT_MAP_BYTES(c->tx.size, c->rx.size))
		return -EINVAL;
	map = c->map;
	if (!map) {
		map = map_alloc();
		if (!map)
			return -ENOMEM;
		smp_store_release(&c->map, map);
	}
	if (map->lost) {
		/* Some still show that there was a limit. */
		if (atomic_read(&map->vmas))
			return -EBUSY;
		clear_page(page_address(map->blank[0]));
		clear_page(page_address(map->blank[1]));
		map->lost = false;
	}
	map->pages = file->f_mapping;
	WRITE_ONCE(c->tx_mapped, true);
	WRITE_ONCE(c->rx_mapped, true);
	/* What the kernel has armed before is not the process's. */
	map->armed[0] = READ_ONCE(c->tx.prod->event);
	map->armed[1] = READ_ONCE(c->rx.cons->event);
	/* A limit that comes now finds it; one that came before is seen here. */
	smp_mb();
	if (READ_ONCE(c->limits) && !atomic_read(&map->vmas))
		return -EOPNOTSUPP;	/* and nobody has it mapped */

	vma->vm_private_data = c;
	vma->vm_ops = &map_ops;
	compat_vm_flags(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	map_open(vma);
	return 0;
}

/**
 * circuit_map - mmap() of a socket
 * @ep: its endpoint
 * @vma: the mapping
 * @file: the socket's
 *
 * Context: process, mmap_lock held. As it is not the order in which the mutexes of the endpoint are
 * taken, they are only tried.
 *
 * Return: 0; -ENOTCONN if there is no circuit, -EINVAL if the mapping is not as large, or private,
 * -EPERM if it is to be executed, -EBUSY if somebody is reading or writing just now, -EOPNOTSUPP if
 * the circuit's bytes are limited, the operator does not clear memory or pages are too large,
 * -ENOMEM.
 */
int circuit_map(struct circuit_ep *ep, struct vm_area_struct *vma, struct file *file)
{
	int err = -EBUSY;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	if (PAGE_SIZE != CIRCUIT_PAGE)
		return -EOPNOTSUPP;
	if (!mutex_trylock(&ep->tx_mutex))
		return err;
	if (mutex_trylock(&ep->rx_mutex)) {
		err = map_circuit(ep, vma, file);
		mutex_unlock(&ep->rx_mutex);
	}
	mutex_unlock(&ep->tx_mutex);
	/* Who is asleep in read() or write() has nothing to wait for any more. */
	if (!err)
		ep->sk->sk_state_change(ep->sk);
	return err;
}

/**
 * circuit_map_state - has somebody a circuit mapped?
 * @c: the circuit
 *
 * Return: CIRCUIT_MAPPED, CIRCUIT_MAP_LOST, or 0.
 */
u32 circuit_map_state(const struct circuit *c)
{
	const struct circuit_map *map = smp_load_acquire(&c->map);

	if (!map || !atomic_read(&map->vmas))
		return 0;
	return READ_ONCE(map->lost) ? CIRCUIT_MAP_LOST : CIRCUIT_MAPPED;
}

/**
 * circuit_map_kick - SIOCCIRCUITKICK: tell the far end to look
 * @ep: the endpoint
 *
 * Context: process.
 *
 * Return: 0, -ENOTCONN if there is no circuit or nobody has it mapped, -ESTALE if that was lost.
 */
int circuit_map_kick(struct circuit_ep *ep)
{
	struct circuit *c;
	u32 state;
	int err = 0;

	mutex_lock(&ep->tx_mutex);
	c = ep->c;
	state = c ? circuit_map_state(c) : 0;
	if (!state) {
		err = -ENOTCONN;
	} else if (state == CIRCUIT_MAP_LOST || !circuit_line_up(c->line)) {
		err = -ESTALE;
	} else {
		c->doorbells++;
		circuit_line_notify(c->line, c->index);
	}
	mutex_unlock(&ep->tx_mutex);
	return err;
}

/**
 * circuit_map_lose - take a circuit away from all that have it mapped
 * @c: the circuit; both mutexes of its endpoint are held
 *
 * When this returns nobody can touch the circuit by a mapping.
 *
 * Return: true if somebody had it mapped.
 */
bool circuit_map_lose(struct circuit *c)
{
	struct circuit_map *map = c->map;

	if (likely(!map))
		return false;
	/* Then there are no rings to take it over from. */
	if (!circuit_line_up(c->line)) {
		WRITE_ONCE(c->tx_mapped, false);
		WRITE_ONCE(c->rx_mapped, false);
	}
	if (!atomic_read(&map->vmas) || map->lost)
		return false;
	mutex_lock(&map->lock);
	WRITE_ONCE(map->lost, true);
	mutex_unlock(&map->lock);
	/* A mapping holds the socket, and who holds a mutex keeps that from being released. */
	unmap_mapping_range(map->pages, 0, 0, 1);
	return true;
}

/* Does no process write to the control page any more? */
static bool map_gone(const struct circuit *c)
{
	const struct circuit_map *map = c->map;
	bool gone = !atomic_read(&map->vmas) || READ_ONCE(map->lost);

	smp_rmb();	/* pairs with map_close() */
	return gone;
}

/* A process has moved an index from @old to @new, and may not have said so to who waits for it. */
static void map_notify(struct circuit *c, const u32 *event, u32 new, u32 old)
{
	virt_mb();				/* R3, active side */
	if (circuit_need_notify(READ_ONCE(*event), new, old))
		circuit_tell(c);
}

/**
 * circuit_map_take_tx - have the kernel write to a ring again that a process had mapped
 * @ep: the endpoint; its tx_mutex is held
 * @c: its circuit, with tx_mapped set
 *
 * Return: 0, or -EBUSY if the process still has it.
 */
int circuit_map_take_tx(struct circuit_ep *ep, struct circuit *c)
{
	struct circuit_tx *tx = &c->tx;
	struct circuit_span span;
	u32 tail, head;

	if (!map_gone(c))
		return -EBUSY;
	tail = READ_ONCE(tx->prod->tail);
	head = virt_load_acquire(&tx->cons->head);
	if (tail - head > tx->size || (c->messages && tail % CIRCUIT_MESSAGE_ALIGN)) {
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_VIOLATION);
		tail = head;
	}
	/* What was not published is nobody's: CIRCUIT_SIG_F_CLEAR is about what was. */
	span = circuit_span(tx->size, tail, tx->size - (tail - head));
	memset(tx->data + span.off[0], 0, span.len[0]);
	memset(tx->data + span.off[1], 0, span.len[1]);
	map_notify(c, &tx->cons->event, tail, tx->tail);
	WRITE_ONCE(tx->others, tx->others + (u32)(tail - tx->tail));
	WRITE_ONCE(tx->tail, tail);
	tx->head = head;
	smp_store_release(&c->tx_mapped, false);	/* pairs with circuit_tx_tail_at() */
	return 0;
}

/**
 * circuit_map_take_rx - have the kernel read a ring again that a process had mapped
 * @ep: the endpoint; its rx_mutex is held
 * @c: its circuit, with rx_mapped set
 *
 * Return: 0, or -EBUSY if the process still has it.
 */
int circuit_map_take_rx(struct circuit_ep *ep, struct circuit *c)
{
	struct circuit_rx *rx = &c->rx;
	u32 head, tail;

	if (!map_gone(c))
		return -EBUSY;
	head = READ_ONCE(rx->cons->head);
	tail = virt_load_acquire(&rx->prod->tail);
	if (tail - head > rx->size || (c->messages && head % CIRCUIT_MESSAGE_ALIGN)) {
		circuit_ep_reset(ep, c, ECONNRESET, CIRCUIT_REASON_VIOLATION);
		head = tail;
	}
	map_notify(c, &rx->prod->event, head, rx->head);
	WRITE_ONCE(rx->others, rx->others + (u32)(head - rx->head));
	WRITE_ONCE(rx->head, head);
	rx->tail = head;	/* and circuit_rx_avail() looks at the far end's */
	smp_store_release(&c->rx_mapped, false);	/* pairs with circuit_rx_head() */
	return 0;
}

/**
 * circuit_map_room - how much room is there for a process to write?
 * @c: the circuit; its ep->tx_mutex is held
 *
 * The process may be writing meanwhile, so what cannot be now may have been: then it is told
 * that there is room, and finds out by itself.
 *
 * Return: bytes.
 */
u32 circuit_map_room(const struct circuit *c)
{
	const struct circuit_tx *tx = &c->tx;
	u32 tail = READ_ONCE(tx->prod->tail);
	u32 used = tail - virt_load_acquire(&tx->cons->head);

	return used > tx->size ? tx->size : tx->size - used;
}

/**
 * circuit_map_data - how much is there for a process to read?
 * @c: the circuit; its ep->rx_mutex is held
 *
 * As with circuit_map_room().
 *
 * Return: bytes.
 */
u32 circuit_map_data(const struct circuit *c)
{
	const struct circuit_rx *rx = &c->rx;
	u32 head = READ_ONCE(rx->cons->head);

	return min(virt_load_acquire(&rx->prod->tail) - head, rx->size);
}

/**
 * circuit_map_writable - poll() of a circuit that a process writes
 * @c: the circuit; its ep->tx_mutex is held
 *
 * If the process has asked to be told by its event, then of that; otherwise of a quarter.
 */
bool circuit_map_writable(struct circuit *c)
{
	struct circuit_map *map = c->map;
	struct circuit_tx *tx = &c->tx;
	u32 tail = READ_ONCE(tx->prod->tail), event = READ_ONCE(tx->prod->event);
	u32 want = event + 1 + tx->size - tail;

	/* No more than there will be, and more than there could be without it. */
	if (event == map->armed[0] || want - 1 >= tx->size) {
		want = tx->size / 4;
		map->armed[0] = tail + want - tx->size - 1;
		WRITE_ONCE(tx->prod->event, map->armed[0]);
	}
	circuit_steer(c);
	virt_mb();				/* R3, sleepy side */
	return circuit_map_room(c) >= want;
}

/**
 * circuit_map_readable - poll() of a circuit that a process reads
 * @c: the circuit; its ep->rx_mutex is held
 *
 * If the process has asked to be told by its event, then of that; otherwise of anything, and of
 * whatever comes after that, for who waits for edges.
 */
bool circuit_map_readable(struct circuit *c)
{
	struct circuit_map *map = c->map;
	struct circuit_rx *rx = &c->rx;
	u32 head = READ_ONCE(rx->cons->head), event = READ_ONCE(rx->cons->event);
	u32 want = event + 1 - head;

	if (event == map->armed[1] || want - 1 >= rx->size) {
		want = 1;
		map->armed[1] = head + circuit_map_data(c);
		WRITE_ONCE(rx->cons->event, map->armed[1]);
	}
	circuit_steer(c);
	virt_mb();				/* R3, sleepy side */
	return circuit_map_data(c) >= want;
}
