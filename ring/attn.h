/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Attention: which circuits a notification is about.
 *
 * See struct circuit_attn in linux/circuit_sig.h for the protocol. The atomics
 * must stay atomic in a guest with one processor, where the kernel patches the
 * lock prefix out of its own bit operations: hence sync_*() and xchg().
 */
#ifndef _CIRCUIT_ATTN_H
#define _CIRCUIT_ATTN_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/types.h>
#ifdef CONFIG_X86
#include <asm/sync_bitops.h>
#else	/* an architecture that keeps its bit operations atomic at all times */
#define sync_set_bit(nr, addr)		set_bit(nr, addr)
#define sync_test_and_set_bit(nr, addr)	test_and_set_bit(nr, addr)
#endif
#include <linux/circuit_sig.h>

#if BITS_PER_LONG != 64
#error "circuits need a 64-bit kernel"
#endif

/**
 * circuit_attn_raise - mark a circuit for the other side's attention
 * @attn: the page the other side scans
 * @index: the circuit, at most CIRCUIT_INDEX_MAX
 *
 * Return: true if the other side has to be notified, false if an earlier
 * notification still covers this one.
 */
static inline bool circuit_attn_raise(struct circuit_attn *attn, u32 index)
{
	if (sync_test_and_set_bit(index, (unsigned long *)attn->bits))
		return false;
	virt_mb__after_atomic();
	sync_set_bit(index / 64, (unsigned long *)attn->summary);
	virt_mb__after_atomic();
	return true;
}

/**
 * circuit_attn_scan - take what the other side has marked
 * @attn: the page
 * @fn: called for each circuit marked, in ascending order within a word
 * @arg: passed to @fn
 * @budget: how many calls of @fn are allowed
 *
 * Work is proportional to what is marked and bounded by @budget; marks beyond
 * the budget stay, and so do their summary bits.
 *
 * Return: calls of @fn made; @budget if there may be more to do.
 */
static inline int circuit_attn_scan(struct circuit_attn *attn,
				    void (*fn)(void *arg, u32 index), void *arg, int budget)
{
	unsigned long *summary = (unsigned long *)attn->summary;
	unsigned long *words = (unsigned long *)attn->bits;
	int done = 0;
	u32 s;

	for (s = 0; s < CIRCUIT_ATTN_SUMMARY; s++) {
		unsigned long sum, word;

		if (!READ_ONCE(summary[s]))
			continue;
		sum = xchg(&summary[s], 0);
		while (sum) {
			u32 w = s * 64 + __ffs(sum);

			sum &= sum - 1;
			if (w >= CIRCUIT_ATTN_WORDS)
				break;
			word = xchg(&words[w], 0);
			while (word && done < budget) {
				fn(arg, w * 64 + __ffs(word));
				word &= word - 1;
				done++;
			}
			if (!word)
				continue;
			/* Out of budget: put back what was taken. */
			for (; word; word &= word - 1)
				sync_set_bit(w * 64 + __ffs(word), words);
			virt_mb__after_atomic();
			sync_set_bit(w, summary);
			for (; sum; sum &= sum - 1)
				sync_set_bit(s * 64 + __ffs(sum), summary);
			return done;
		}
	}
	return done;
}

#endif /* _CIRCUIT_ATTN_H */
