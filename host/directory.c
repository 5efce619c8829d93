// SPDX-License-Identifier: GPL-2.0
/*
 * The directory: who can be called.
 *
 * Hash tables per exchange: lines by name and by IP address, listeners by line and
 * port, and circuits between IP addresses, so that no two have the same addresses and
 * ports. All belong to exchange->lock; entries are owned by whoever added them.
 */
#include <linux/ctype.h>
#include <linux/jhash.h>
#include <linux/string.h>
#include <net/ipv6.h>
#include "host.h"

static u32 name_hash(const void *data, u32 len, u32 seed)
{
	return jhash(data, CIRCUIT_NAME_SIZE, seed);
}

static const struct rhashtable_params line_params = {
	.head_offset = offsetof(struct circuit_line, node),
	.key_offset = offsetof(struct circuit_line, name),
	.key_len = CIRCUIT_NAME_SIZE,
	.hashfn = name_hash,
	.automatic_shrinking = true,
};

static const struct rhashtable_params service_params = {
	.head_offset = offsetof(struct circuit_listener, node),
	.key_offset = offsetof(struct circuit_listener, key),
	.key_len = sizeof(struct circuit_service),
	.automatic_shrinking = true,
};

static const struct rhashtable_params addr_params = {
	.head_offset = offsetof(struct circuit_addr, node),
	.key_offset = offsetof(struct circuit_addr, addr),
	.key_len = sizeof(struct in6_addr),
	.automatic_shrinking = true,
};

static const struct rhashtable_params tuple_params = {
	.head_offset = offsetof(struct circuit, node),
	.key_offset = offsetof(struct circuit, tuple),
	.key_len = sizeof(struct circuit_tuple),
	.automatic_shrinking = true,
};

/**
 * circuit_directory_init - make an exchange's directory
 * @ex: the exchange
 *
 * Return: 0 or a negative errno.
 */
int circuit_directory_init(struct circuit_exchange *ex)
{
	int err;

	err = rhashtable_init(&ex->lines, &line_params);
	if (err)
		return err;
	err = rhashtable_init(&ex->addrs, &addr_params);
	if (err)
		goto lines;
	err = rhltable_init(&ex->services, &service_params);
	if (err)
		goto addrs;
	err = rhashtable_init(&ex->tuples, &tuple_params);
	if (err)
		goto services;
	return 0;

services:
	rhltable_destroy(&ex->services);
addrs:
	rhashtable_destroy(&ex->addrs);
lines:
	rhashtable_destroy(&ex->lines);
	return err;
}

/**
 * circuit_directory_destroy - undo circuit_directory_init()
 * @ex: the exchange, its directory empty
 */
void circuit_directory_destroy(struct circuit_exchange *ex)
{
	rhashtable_destroy(&ex->tuples);
	rhltable_destroy(&ex->services);
	rhashtable_destroy(&ex->addrs);
	rhashtable_destroy(&ex->lines);
}

/**
 * circuit_name_ok - is this the name of a line?
 * @name: CIRCUIT_NAME_SIZE bytes from anywhere
 *
 * A name has 1 to CIRCUIT_NAME_SIZE - 1 letters, digits, '.', '_' or '-', does not start with '-',
 * is not CIRCUIT_TRUNK_LINE, and is padded with NULs to the full size, so that names can be
 * compared and hashed as arrays.
 */
bool circuit_name_ok(const char *name)
{
	size_t len = strnlen(name, CIRCUIT_NAME_SIZE);
	size_t i;

	if (!len || len == CIRCUIT_NAME_SIZE || name[0] == '-')
		return false;
	for (i = 0; i < len; i++)
		if (!isascii(name[i]) || (!isalnum(name[i]) && !strchr("._-", name[i])))
			return false;
	return !memchr_inv(name + len, 0, CIRCUIT_NAME_SIZE - len) &&
	       strcmp(name, CIRCUIT_TRUNK_LINE);
}

/**
 * circuit_directory_line - find a line
 * @ex: the exchange, locked
 * @name: a name for which circuit_name_ok() holds
 *
 * Return: the line, valid while the lock is held, or NULL.
 */
struct circuit_line *circuit_directory_line(struct circuit_exchange *ex, const char *name)
{
	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_fast(&ex->lines, name, line_params);
}

/**
 * circuit_directory_add_line - enter a line
 * @ex: the exchange, locked
 * @line: the line
 *
 * Return: 0, -EEXIST if the name is taken, or -ENOMEM.
 */
int circuit_directory_add_line(struct circuit_exchange *ex, struct circuit_line *line)
{
	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_insert_fast(&ex->lines, &line->node, line_params);
}

/**
 * circuit_directory_del_line - remove a line
 * @ex: the exchange, locked
 * @line: a line that was entered
 */
void circuit_directory_del_line(struct circuit_exchange *ex, struct circuit_line *line)
{
	lockdep_assert_held(&ex->lock);
	rhashtable_remove_fast(&ex->lines, &line->node, line_params);
}

/**
 * circuit_directory_addr - find a line by its IP address
 * @ex: the exchange, locked
 * @addr: the address
 *
 * Return: the line, valid while the lock is held, or NULL.
 */
struct circuit_line *circuit_directory_addr(struct circuit_exchange *ex,
					    const struct in6_addr *addr)
{
	struct circuit_addr *entry;

	lockdep_assert_held(&ex->lock);
	entry = rhashtable_lookup_fast(&ex->addrs, addr, addr_params);
	return entry ? entry->line : NULL;
}

/**
 * circuit_directory_add_addr - enter an IP address
 * @ex: the exchange, locked
 * @addr: the address and its line
 *
 * Return: 0, -EEXIST if it is taken, or -ENOMEM.
 */
int circuit_directory_add_addr(struct circuit_exchange *ex, struct circuit_addr *addr)
{
	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_insert_fast(&ex->addrs, &addr->node, addr_params);
}

/**
 * circuit_directory_del_addr - remove an IP address
 * @ex: the exchange, locked
 * @addr: one that was entered
 */
void circuit_directory_del_addr(struct circuit_exchange *ex, struct circuit_addr *addr)
{
	lockdep_assert_held(&ex->lock);
	rhashtable_remove_fast(&ex->addrs, &addr->node, addr_params);
}

static bool addr_is_any(const struct in6_addr *addr)
{
	return ipv6_addr_any(addr) || (ipv6_addr_v4mapped(addr) && !addr->s6_addr32[3]);
}

/* How well a listener suits a call to @addr, as inet_lookup_listener() has it. */
static int listener_score(const struct circuit_listener *lst, const struct in6_addr *addr)
{
	bool v4 = ipv6_addr_v4mapped(addr);

	if (!addr_is_any(&lst->addr))
		return ipv6_addr_equal(&lst->addr, addr) ? 3 : 0;
	if (v4 == ipv6_addr_v4mapped(&lst->addr))
		return 2;
	/* A listener of IPv6 that takes IPv4 as well. */
	return v4 && !(lst->flags & CIRCUIT_SIG_V6ONLY) ? 1 : 0;
}

/**
 * circuit_directory_listener - find a listener
 * @ex: the exchange, locked
 * @line: the line called
 * @type: the kind of socket that calls
 * @port: the port called
 * @addr: the IP address called, or NULL if the line was
 * @hash: of the call: who shares a port gets calls by it
 *
 * Return: the listener, valid while the lock is held, or NULL.
 */
struct circuit_listener *circuit_directory_listener(struct circuit_exchange *ex,
						    const struct circuit_line *line, u32 type,
						    u32 port, const struct in6_addr *addr,
						    u32 hash)
{
	struct circuit_service key = {
		.line = line->id, .type = type, .port = port, .ip = !!addr,
	};
	struct circuit_listener *lst, *best = NULL;
	struct rhlist_head *list, *tmp;
	u32 equals = 0;
	int top = 0;

	lockdep_assert_held(&ex->lock);
	rcu_read_lock();
	list = rhltable_lookup(&ex->services, &key, service_params);
	rhl_for_each_entry_rcu(lst, tmp, list, node) {
		int score = addr ? listener_score(lst, addr) : 1;

		if (score > top) {
			top = score;
			equals = 0;
		}
		if (score && score == top) {
			/* Each of those that share gets its part of the hashes. */
			equals++;
			if (!reciprocal_scale(jhash_1word(hash, equals), equals))
				best = lst;
		}
	}
	rcu_read_unlock();
	return best;
}

/**
 * circuit_directory_add_listener - enter a listener
 * @ex: the exchange, locked
 * @lst: the listener, its key, address and flags filled in
 *
 * Return: 0, -EEXIST if the port is taken, or -ENOMEM.
 */
int circuit_directory_add_listener(struct circuit_exchange *ex, struct circuit_listener *lst)
{
	struct circuit_listener *other;
	struct rhlist_head *list, *tmp;

	lockdep_assert_held(&ex->lock);
	rcu_read_lock();
	list = rhltable_lookup(&ex->services, &lst->key, service_params);
	rhl_for_each_entry_rcu(other, tmp, list, node)
		if (ipv6_addr_equal(&other->addr, &lst->addr) &&
		    !(other->flags & lst->flags & CIRCUIT_SIG_REUSEPORT)) {
			rcu_read_unlock();
			return -EEXIST;
		}
	rcu_read_unlock();
	return rhltable_insert(&ex->services, &lst->node, service_params);
}

/**
 * circuit_directory_del_listener - remove a listener
 * @ex: the exchange, locked
 * @lst: a listener that was entered
 */
void circuit_directory_del_listener(struct circuit_exchange *ex, struct circuit_listener *lst)
{
	lockdep_assert_held(&ex->lock);
	rhltable_remove(&ex->services, &lst->node, service_params);
}

/**
 * circuit_directory_add_tuple - enter a circuit between IP addresses
 * @ex: the exchange, locked
 * @c: the circuit, its tuple filled in
 *
 * Return: 0, -EEXIST if there is one with these addresses and ports, or -ENOMEM.
 */
int circuit_directory_add_tuple(struct circuit_exchange *ex, struct circuit *c)
{
	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_insert_fast(&ex->tuples, &c->node, tuple_params);
}

/**
 * circuit_directory_del_tuple - remove a circuit between IP addresses
 * @ex: the exchange, locked
 * @c: one that was entered
 */
void circuit_directory_del_tuple(struct circuit_exchange *ex, struct circuit *c)
{
	lockdep_assert_held(&ex->lock);
	rhashtable_remove_fast(&ex->tuples, &c->node, tuple_params);
}
