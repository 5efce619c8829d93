// SPDX-License-Identifier: GPL-2.0
/*
 * The directory: who can be called.
 *
 * Two hash tables per exchange: lines by name, and listeners by line and port.
 * Both belong to exchange->lock; entries are owned by whoever added them.
 */
#include <linux/ctype.h>
#include <linux/jhash.h>
#include <linux/string.h>
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
	err = rhashtable_init(&ex->services, &service_params);
	if (err)
		rhashtable_destroy(&ex->lines);
	return err;
}

/**
 * circuit_directory_destroy - undo circuit_directory_init()
 * @ex: the exchange, its directory empty
 */
void circuit_directory_destroy(struct circuit_exchange *ex)
{
	rhashtable_destroy(&ex->services);
	rhashtable_destroy(&ex->lines);
}

/**
 * circuit_name_ok - is this the name of a line?
 * @name: CIRCUIT_NAME_SIZE bytes from anywhere
 *
 * A name has 1 to CIRCUIT_NAME_SIZE - 1 letters, digits, '.', '_' or '-', does
 * not start with '-', and is padded with NULs to the full size, so that names
 * can be compared and hashed as arrays.
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
	return !memchr_inv(name + len, 0, CIRCUIT_NAME_SIZE - len);
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
 * circuit_directory_listener - find a listener
 * @ex: the exchange, locked
 * @line: the line called
 * @port: the port called
 *
 * Return: the listener, valid while the lock is held, or NULL.
 */
struct circuit_listener *circuit_directory_listener(struct circuit_exchange *ex,
						    const struct circuit_line *line, u32 port)
{
	struct circuit_service key = { .line = line->id, .port = port };

	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_fast(&ex->services, &key, service_params);
}

/**
 * circuit_directory_add_listener - enter a listener
 * @ex: the exchange, locked
 * @lst: the listener, its key filled in
 *
 * Return: 0, -EEXIST if the port is taken, or -ENOMEM.
 */
int circuit_directory_add_listener(struct circuit_exchange *ex, struct circuit_listener *lst)
{
	lockdep_assert_held(&ex->lock);
	return rhashtable_lookup_insert_fast(&ex->services, &lst->node, service_params);
}

/**
 * circuit_directory_del_listener - remove a listener
 * @ex: the exchange, locked
 * @lst: a listener that was entered
 */
void circuit_directory_del_listener(struct circuit_exchange *ex, struct circuit_listener *lst)
{
	lockdep_assert_held(&ex->lock);
	rhashtable_remove_fast(&ex->services, &lst->node, service_params);
}
