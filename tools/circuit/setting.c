// SPDX-License-Identifier: GPL-2.0
/* "NAME VALUE" of lines and groups. */
#include <stdio.h>
#include <string.h>
#include "circuit.h"

static bool parse_percent(const char *text, uint64_t *value)
{
	char number[4];
	size_t n = strlen(text);

	*value = 0;
	if (!strcmp(text, "none"))
		return true;
	if (n && text[n - 1] == '%')
		n--;
	if (n >= sizeof(number))
		return false;
	snprintf(number, sizeof(number), "%.*s", (int)n, text);
	return !parse_size(number, value) && *value && *value <= 100;
}

static bool parse_value(const struct setting *s, const char *text, uint64_t *value)
{
	switch (s->kind) {
	case SETTING_LIMIT:
		*value = UINT64_MAX;
		return !strcmp(text, "none") || !parse_size(text, value);
	case SETTING_RATE:
		return !parse_rate(text, UINT32_MAX, value);
	case SETTING_BYTE_RATE:
		return !parse_rate(text, UINT64_MAX, value);
	case SETTING_COUNT:
		*value = 0;
		return !strcmp(text, "none") ||
		       (!parse_size(text, value) && *value && *value <= UINT32_MAX);
	case SETTING_PERCENT:
		return parse_percent(text, value);
	case SETTING_SIZE:
		return !parse_size(text, value);
	case SETTING_NUMBER:
		return !parse_size(text, value) && *value <= UINT32_MAX;
	}
	return false;
}

/*
 * One "NAME VALUE" of the command line, about a @what: which of @settings it is, the last of which
 * has no name; NULL, and the user has been told, if it is none of them or the value is wrong.
 */
const struct setting *setting_parse(const char *what, const struct setting *settings, int argc,
				    char **argv, uint64_t *value)
{
	const struct setting *s;

	for (s = settings; s->name && strcmp(s->name, argv[0]); s++)
		;
	if (!s->name)
		usage_error("%s: no setting is called '%s'", what, argv[0]);
	else if (argc < 2)
		usage_error("%s: %s needs a value", what, argv[0]);
	else if (!parse_value(s, argv[1], value))
		usage_error("%s: %s: '%s' is not a number or too large", what, argv[0], argv[1]);
	else
		return s;
	return NULL;
}

bool setting_is_u32(const struct setting *s)
{
	return s->kind == SETTING_NUMBER || s->kind == SETTING_RATE || s->kind == SETTING_PERCENT ||
	       s->kind == SETTING_COUNT;
}

void setting_put(struct nlmsghdr *nlh, const struct setting *s, uint64_t value)
{
	if (setting_is_u32(s))
		mnl_attr_put_u32(nlh, s->attr, value);
	else
		mnl_attr_put_u64(nlh, s->attr, value);
}
