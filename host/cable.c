// SPDX-License-Identifier: GPL-2.0
/*
 * Cables: memory that exactly two parties share, and the circuits carved from it.
 *
 * A cable is allocated whole and stays mapped in both windows while its pair
 * lasts, so that a call in the steady state costs a search in a bitmap and no
 * page-table work. An idle cable is kept for the next call of the same pair, one
 * per pair; memory never goes from one pair to another except through the page
 * allocator. Both lines are charged for the whole cable for as long as it shows
 * in their window; one that is short of its quota leaves those in which it has no
 * end any more, whatever the far line has in them.
 *
 * The pages are individual ones (split, not compound): whoever holds a reference
 * to one when the cable goes keeps that page and no other.
 *
 * The exchange's trunk is a line without a window: its side of a cable is this kernel.
 *
 * Everything under exchange->lock; a cable and its pages are given back by RCU, for
 * the sake of the fault handler, and of relays that look at a circuit in it.
 */
#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "host.h"

/* Idle cables looked at when a group is short of memory. */
#define RECLAIM_BUDGET	64

/**
 * circuit_cable_alloc - allocate a cable
 * @bytes: the least size that will do
 * @most: the greatest, a power of two and at most CIRCUIT_WINDOW_SLOT
 *
 * Return: a cable of @most bytes if memory allows, perhaps smaller but not below
 * @bytes if it is fragmented; zeroed, in no window, charged to nobody. NULL if out
 * of memory.
 */
struct circuit_cable *circuit_cable_alloc(u32 bytes, u32 most)
{
	unsigned int order, least = get_order(bytes);
	struct circuit_cable *cable;
	struct page *page = NULL;

	for (order = get_order(most) + 1; !page && order-- > least; )
		page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
				   (order > least ? __GFP_NORETRY : 0), order);
	if (!page)
		return NULL;
	cable = kzalloc(struct_size(cable, map, BITS_TO_LONGS(1u << order)), GFP_KERNEL_ACCOUNT);
	if (!cable) {
		__free_pages(page, order);
		return NULL;
	}
	split_page(page, order);
	cable->page = page;
	cable->npages = 1u << order;
	INIT_LIST_HEAD(&cable->node);
	INIT_LIST_HEAD(&cable->idle);
	return cable;
}

static void cable_free_rcu(struct rcu_head *rcu)
{
	struct circuit_cable *cable = container_of(rcu, struct circuit_cable, rcu);
	u32 i;

	for (i = 0; i < cable->npages; i++)
		put_page(cable->page + i);
	kfree(cable);
}

/**
 * circuit_cable_free - give a cable's memory back
 * @cable: a cable with no circuits, in no window and on no list
 */
void circuit_cable_free(struct circuit_cable *cable)
{
	call_rcu(&cable->rcu, cable_free_rcu);
}

/**
 * circuit_cable_carve - find room for a circuit
 * @cable: the cable
 * @bytes: the circuit's size, a multiple of the page size
 *
 * Return: its first page's number, or -ENOSPC.
 */
int circuit_cable_carve(struct circuit_cable *cable, u32 bytes)
{
	u32 n = bytes >> PAGE_SHIFT;
	unsigned long first;

	if (n > cable->npages - cable->used)
		return -ENOSPC;
	first = bitmap_find_next_zero_area(cable->map, cable->npages, 0, n, 0);
	if (first >= cable->npages)
		return -ENOSPC;
	bitmap_set(cable->map, first, n);
	cable->used += n;
	cable->circuits++;
	return first;
}

/**
 * circuit_cable_return - undo circuit_cable_carve()
 * @cable: the cable
 * @first: what that returned
 * @bytes: what it was given
 */
void circuit_cable_return(struct circuit_cable *cable, u32 first, u32 bytes)
{
	u32 n = bytes >> PAGE_SHIFT;

	bitmap_clear(cable->map, first, n);
	cable->used -= n;
	cable->circuits--;
}

static u64 cable_bytes(const struct circuit_cable *cable)
{
	return (u64)cable->npages << PAGE_SHIFT;
}

/* Take a cable out of one of its windows. */
static void cable_unplug(struct circuit_cable *cable, unsigned int i)
{
	struct circuit_line *line = cable->side[i].line;

	if (!line)
		return;
	if (cable->side[i].win)
		circuit_window_revoke(cable->side[i].win, cable, cable->side[i].slot);
	circuit_uncharge(line, CIRCUIT_MEMORY, cable_bytes(cable));
	cable->side[i].line = NULL;
	cable->side[i].win = NULL;
	circuit_line_put(line);
}

static enum circuit_reason cable_plug(struct circuit_cable *cable, unsigned int i,
				      struct circuit_line *line)
{
	struct circuit_window *win = NULL;

	if (!circuit_charge(line, CIRCUIT_MEMORY, cable_bytes(cable)))
		return CIRCUIT_REASON_QUOTA_MEMORY;
	if (!line->is_trunk) {
		win = circuit_line_window(line);
		if (circuit_window_show(win, cable, &cable->side[i].slot)) {
			circuit_uncharge(line, CIRCUIT_MEMORY, cable_bytes(cable));
			return CIRCUIT_REASON_NO_MEMORY;
		}
	}
	cable->side[i].line = circuit_line_get(line);
	cable->side[i].win = win;
	return CIRCUIT_REASON_NONE;
}

static void cable_destroy(struct circuit_cable *cable)
{
	list_del(&cable->node);
	list_del(&cable->idle);
	cable_unplug(cable, 0);
	cable_unplug(cable, 1);
	circuit_cable_free(cable);
}

/* Which of a cable's sides is a line's; the first if it is paired with itself. */
static unsigned int cable_side(const struct circuit_cable *cable, const struct circuit_line *line)
{
	return cable->side[0].line != line;
}

/**
 * circuit_cable_count - a line has an end of a circuit more, or less, in a cable
 * @cable: the cable; the exchange is locked
 * @line: the line
 * @ends: 1 or -1
 */
void circuit_cable_count(struct circuit_cable *cable, const struct circuit_line *line, int ends)
{
	cable->side[cable_side(cable, line)].ends += ends;
}

/* The far line keeps the cable until it has hung up; nothing more is carved from it. */
static void cable_leave(struct circuit_cable *cable, const struct circuit_line *line)
{
	cable->pair = NULL;
	list_del_init(&cable->node);
	cable_unplug(cable, cable_side(cable, line));
}

/*
 * Give up the cables that a line has nothing in and is charged for, since it is short of
 * memory: also those that a far end holds on to, who does not hang up.
 */
static void line_reclaim(struct circuit_line *line)
{
	struct circuit_cable *cable, *next;
	struct circuit_pair *pair;
	unsigned long id;

	xa_for_each(&line->pairs, id, pair)
		list_for_each_entry_safe(cable, next, &pair->cables, node) {
			unsigned int side = cable_side(cable, line);
			const struct circuit_line *far = cable->side[!side].line;

			/* Nobody but the line is charged for what legs hold on to. */
			if (!cable->circuits)
				cable_destroy(cable);
			else if (!cable->side[side].ends && !(far && far->is_trunk))
				cable_leave(cable, line);
		}
}

/*
 * Give up cables without circuits of others, while it is a group of @a's or @b's that is short, and
 * in which they are as well. So many at a time are looked at: guests can have this done as often
 * as they like.
 */
static void group_reclaim(struct circuit_line *a, struct circuit_line *b, u64 bytes)
{
	struct list_head *idle = &a->ex->idle_cables;
	struct circuit_cable *cable;
	struct circuit_line *line;
	unsigned int n, i;

	if (!circuit_itself_affords(a, CIRCUIT_MEMORY, bytes) ||
	    !circuit_itself_affords(b, CIRCUIT_MEMORY, bytes))
		return;
	for (n = 0; n < RECLAIM_BUDGET && !list_empty(idle) &&
	     circuit_affords_both(a, b, CIRCUIT_MEMORY) < bytes; n++) {
		cable = list_first_entry(idle, struct circuit_cable, idle);
		list_move_tail(&cable->idle, idle);
		for (i = 0; i < 2; i++) {
			line = cable->side[i].line;
			if (!line || !(circuit_same_group(line, a) || circuit_same_group(line, b)))
				continue;
			cable_destroy(cable);
			break;
		}
	}
}

/* What two lines may still be charged each, of @bytes. */
static u64 pair_affords(struct circuit_line *a, struct circuit_line *b, u64 bytes)
{
	if (circuit_affords_both(a, b, CIRCUIT_MEMORY) < bytes) {
		/*
		 * Not those of one that is short of nothing: the other could have it lose them as
		 * often as it likes.
		 */
		if (circuit_affords(a, CIRCUIT_MEMORY) < bytes)
			line_reclaim(a);
		if (circuit_affords(b, CIRCUIT_MEMORY) < bytes)
			line_reclaim(b);
		group_reclaim(a, b, bytes);
	}
	return min(bytes, circuit_affords_both(a, b, CIRCUIT_MEMORY));
}

static struct circuit_pair *pair_get(struct circuit_line *a, struct circuit_line *b)
{
	struct circuit_pair *pair = xa_load(&a->pairs, b->id);

	if (pair)
		return pair;
	pair = kzalloc(sizeof(*pair), GFP_KERNEL_ACCOUNT);
	if (!pair)
		return NULL;
	pair->line[0] = a;
	pair->line[1] = b;
	INIT_LIST_HEAD(&pair->cables);
	if (xa_insert(&a->pairs, b->id, pair, GFP_KERNEL_ACCOUNT))
		goto free;
	if (a != b && xa_insert(&b->pairs, a->id, pair, GFP_KERNEL_ACCOUNT)) {
		xa_erase(&a->pairs, b->id);
		goto free;
	}
	return pair;
free:
	kfree(pair);
	return NULL;
}

static enum circuit_reason pair_extend(struct circuit_pair *pair, u32 bytes,
				       struct circuit_cable **new)
{
	struct circuit_line *a = pair->line[0], *b = pair->line[1];
	struct circuit_cable *cable;
	enum circuit_reason reason;
	u64 most;

	most = pair_affords(a, b, CIRCUIT_WINDOW_SLOT);
	if (most < PAGE_SIZE << get_order(bytes))
		return CIRCUIT_REASON_QUOTA_MEMORY;
	cable = circuit_cable_alloc(bytes, rounddown_pow_of_two(most));
	if (!cable)
		return CIRCUIT_REASON_NO_MEMORY;
	reason = cable_plug(cable, 0, a);
	if (reason)
		goto free;
	reason = a == b ? CIRCUIT_REASON_NONE : cable_plug(cable, 1, b);
	if (reason) {
		cable_unplug(cable, 0);
		goto free;
	}
	cable->pair = pair;
	list_add(&cable->node, &pair->cables);
	*new = cable;
	return CIRCUIT_REASON_NONE;
free:
	circuit_cable_free(cable);
	return reason;
}

/**
 * circuit_pair_carve - find memory for a circuit between two lines
 * @a: one line, attached, its exchange locked
 * @b: the other, attached, perhaps the same
 * @c: the circuit; @size says how much, and @cable, @first and @ctrl are set
 *
 * Return: CIRCUIT_REASON_NONE, or why there is none.
 */
enum circuit_reason circuit_pair_carve(struct circuit_line *a, struct circuit_line *b,
				       struct circuit *c)
{
	u32 bytes = circuit_bytes(c->size[0], c->size[1]);
	struct circuit_cable *cable;
	struct circuit_pair *pair;
	enum circuit_reason reason;
	int first;

	pair = pair_get(a, b);
	if (!pair)
		return CIRCUIT_REASON_NO_MEMORY;
	list_for_each_entry(cable, &pair->cables, node) {
		first = circuit_cable_carve(cable, bytes);
		if (first >= 0)
			goto found;
		/*
		 * Cables with room stay in front of full ones, so the search is
		 * over at the first full one.
		 */
		if (cable->used == cable->npages)
			break;
	}
	reason = pair_extend(pair, bytes, &cable);
	if (reason)
		return reason;
	first = circuit_cable_carve(cable, bytes);
found:
	list_del_init(&cable->idle);
	if (cable->used == cable->npages)
		list_move_tail(&cable->node, &pair->cables);
	c->cable = cable;
	c->first = first;
	c->ctrl = page_address(cable->page + first);
	return CIRCUIT_REASON_NONE;
}

/*
 * The next circuit in this memory may be another process's, who sees all of its rings if he maps
 * it: CIRCUIT_SIG_F_CLEAR. How much was written the ends say. Who says less than it was gives away
 * what is his own.
 */
static void pair_clear(struct circuit *c)
{
	u8 *ring = (u8 *)(c->ctrl + 1);
	unsigned int i;
	u64 written;

	for (i = 0; i < 2; i++) {
		const struct circuit_producer *prod = &c->ctrl->dir[i].prod;

		written = max_t(u64, READ_ONCE(prod->bytes), READ_ONCE(prod->tail));
		memset(ring, 0, min_t(u64, written, c->size[i]));
		ring += c->size[i];
	}
}

/**
 * circuit_pair_return - undo circuit_pair_carve()
 * @c: the circuit, which goes with this; the exchange is locked
 *
 * @ctrl stays as it is: a relay that has found an end before may yet look there, and at worst sees
 * what the next circuit in this memory says.
 */
void circuit_pair_return(struct circuit *c)
{
	struct circuit_cable *cable = c->cable, *front;
	struct circuit_pair *pair = cable->pair;

	if (pair)
		pair_clear(c);
	circuit_cable_return(cable, c->first, circuit_bytes(c->size[0], c->size[1]));
	c->cable = NULL;
	if (!pair) {
		if (!cable->circuits)
			cable_destroy(cable);
		return;
	}
	front = list_first_entry(&pair->cables, struct circuit_cable, node);
	if (!cable->circuits && front != cable && !front->circuits) {
		cable_destroy(cable);
		return;
	}
	list_move(&cable->node, &pair->cables);
	if (!cable->circuits)
		list_add_tail(&cable->idle, &pair->line[0]->ex->idle_cables);
}

/**
 * circuit_pair_end - end a line's pairs
 * @line: the line, without circuits; its exchange is locked
 *
 * The line no longer sees any cable. Far lines keep those in which they have
 * circuits until they have hung up.
 */
void circuit_pair_end(struct circuit_line *line)
{
	struct circuit_cable *cable, *next;
	struct circuit_pair *pair;
	unsigned long id;

	xa_for_each(&line->pairs, id, pair) {
		xa_erase(&pair->line[0]->pairs, pair->line[1]->id);
		xa_erase(&pair->line[1]->pairs, pair->line[0]->id);
		list_for_each_entry_safe(cable, next, &pair->cables, node) {
			if (cable->circuits)
				cable_leave(cable, line);
			else
				cable_destroy(cable);
		}
		kfree(pair);
	}
}

/**
 * circuit_cable_offset - where a circuit appears in a line's window
 * @cable: the cable
 * @line: a line in whose window it shows
 * @first: number of the circuit's first page
 *
 * Return: offset in bytes.
 */
u64 circuit_cable_offset(const struct circuit_cable *cable, const struct circuit_line *line,
			 u32 first)
{
	u64 slot = cable->side[cable_side(cable, line)].slot;

	return slot * CIRCUIT_WINDOW_SLOT + (u64)first * PAGE_SIZE;
}
