/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Meters: how many bytes per second lines, groups and rules let through, and how many messages.
 *
 * What guests write to each other does not pass the operator. So both ends of a circuit that
 * is limited are told how much may be written, and both keep to it: the end that writes
 * asks for more (WANT) when it has used that up, and the end that reads takes no more out of
 * the ring. A guest that cheats fills its ring and gets nowhere, unless the guest at the
 * other end cheats as well; two who want to do that share memory. Nothing that either could
 * have written there is believed. Where one end is a leg, that counts by itself, both ways.
 *
 * Who asks is served at once if nobody waits for one of the same meters, and otherwise in turns, a
 * hundred times a second; a meter for which several wait gives each the same. Nothing is done for
 * circuits that are idle. Each has its first CIRCUIT_SIG_ALLOWANCE bytes beforehand, and pays for
 * them out of what it is given first.
 *
 * When a circuit is limited that was there before, its ends do not hear of that at the same time.
 * So the end that reads may read a ring more to begin with, and two more once the end that writes
 * has taken the message out of its signalling circuit: whatever that has written before it knew, it
 * may be read.
 *
 * When one end has hung up the other is given a ring's worth, to find out: limits are not lifted,
 * for who has hung up may still look at the ring. Who goes on asking after that is told by RESET.
 *
 * A ring is counted by the meters of the line that writes (sending) and of its groups, of the
 * line that reads (receiving) and of its groups, and of the rule that has connected it. All of
 * it belongs to exchange->lock, but that a leg looks at @on, and takes what it moves from @left.
 *
 * Messages are counted as bytes are, where rings hold them, by meters of their own: what a ring
 * writes is a flow in each of the two units. A ring that has both limited needs leave of both.
 * Groups and lines have such meters, rules have none.
 *
 * Datagrams share a ring with those that other rules let through, or are for others. So a rule's
 * meters do not have the ring wait: what is too much for them is lost.
 */
#ifndef _CIRCUIT_METER_H
#define _CIRCUIT_METER_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>

struct circuit;
struct circuit_end;
struct circuit_exchange;
struct circuit_line;
struct circuit_rule;
struct circuit_turn;

/* Least rate of bytes, and the greatest, per second. */
#define CIRCUIT_RATE_MIN	1024ull
#define CIRCUIT_RATE_MAX	(1ull << 40)

/* Rings that are served in one turn. */
#define CIRCUIT_METER_BUDGET	1024

enum circuit_unit {
	CIRCUIT_BYTES,
	CIRCUIT_MESSAGES,
	CIRCUIT_UNITS
};

enum circuit_way {
	CIRCUIT_SEND,
	CIRCUIT_RECEIVE,
	CIRCUIT_WAYS
};

/**
 * struct circuit_meter - so many bytes, or messages, per second
 * @rate: how many, 0 for any number
 * @tokens: what may be given now
 * @stamp: when that was so, in microseconds
 * @hungry: rings that it has to be divided among, while a turn begins
 * @share: what each of them gets in that turn
 * @turn: the last in which somebody was left waiting for it
 * @waits: how often a ring got less than it wanted
 */
struct circuit_meter {
	u64	rate;
	s64	tokens;
	u64	stamp;
	u32	hungry;
	s64	share;
	u32	turn;
	u64	waits;
};

/**
 * struct circuit_meters - those of a rule, which its circuits keep, of bytes
 * @ref: the rule's and its circuits', and flows' of datagrams
 * @meter: of what callers write, and of what is written to them
 */
struct circuit_meters {
	struct kref		ref;
	struct circuit_meter	meter[2];
};

/**
 * struct circuit_flow - what one end of a circuit writes, in one of the units
 * @node: in exchange->wanting while @want is not 0
 * @on: it is limited
 * @behind: the end that writes may not know of that yet
 * @last: not 0 once an end has hung up or the circuit was ended; 1 if it has been given
 *	something since, for asking: who asks again is reset
 * @nr: which end writes
 * @unit: &enum circuit_unit, of all that follows
 * @step: in its line's @steps once it is being told
 * @told: index in its signalling circuit after that message
 * @want: what it waits for, and has to pay
 * @early: what it has asked for while @behind
 * @owed: those of @want that it has had beforehand, until it has paid for them
 * @saved: those of them that its meters have let through, too few as yet to be worth a message
 * @left: if one end is a leg: what it may still move
 */
struct circuit_flow {
	struct list_head	node;
	bool			on;
	bool			behind;
	u8			last;
	u8			nr;
	u8			unit;
	struct list_head	step;
	u32			told;
	u32			want;
	u32			early;
	u32			owed;
	u32			saved;
	atomic_t		left;
};

void circuit_meter_set(struct circuit_meter *meter, u64 rate);
struct circuit_meters *circuit_meters_alloc(u64 rate);
struct circuit_meters *circuit_meters_get(struct circuit_meters *meters);
void circuit_meters_put(struct circuit_meters *meters);
bool circuit_meter_take(struct circuit_meter *meter, u32 bytes);

bool circuit_meter_knows(const struct circuit *c, struct circuit_line *called);
void circuit_meter_by(struct circuit *c, const struct circuit_rule *rule);
void circuit_meter_start(struct circuit *c);
void circuit_meter_stop(struct circuit *c);
void circuit_meter_apply(struct circuit_exchange *ex);
void circuit_meter_want(struct circuit *c, enum circuit_unit unit, unsigned int nr, u32 much);
bool circuit_meter_turn(struct circuit_exchange *ex, u64 now, struct circuit_turn *work);
void circuit_meter_told(struct circuit_end *end, u32 tail);
void circuit_meter_step(struct circuit_line *line);
u32 circuit_meter_limits(const struct circuit_end *end);
void circuit_meter_init(struct circuit_exchange *ex);
void circuit_meter_exit(struct circuit_exchange *ex);

#endif /* _CIRCUIT_METER_H */
