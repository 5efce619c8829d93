// SPDX-License-Identifier: GPL-2.0
/*
 * Output: the same calls make text or JSON.
 *
 * Text is "label value" pairs on a line; the label may be empty. Only names and
 * numbers are printed, but strings are escaped all the same.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "../reason.h"
#include "circuit.h"

static int depth;
static bool first[8];
static bool line_start = true;

static void indent(void)
{
	if (opt.pretty)
		printf("\n%*s", depth * 4, "");
}

static void separator(void)
{
	if (!first[depth])
		putchar(',');
	first[depth] = false;
	indent();
}

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_key(const char *key)
{
	separator();
	json_string(key);
	fputs(opt.pretty ? ": " : ":", stdout);
}

static void push(char c)
{
	putchar(c);
	first[++depth] = true;
}

static void pop(char c)
{
	bool empty = first[depth];

	depth--;
	if (!empty)
		indent();
	putchar(c);
}

void out_begin(void)
{
	if (opt.json)
		push('[');
}

void out_end(void)
{
	if (!opt.json)
		return;
	pop(']');
	putchar('\n');
}

void out_open(void)
{
	if (!opt.json)
		return;
	if (depth)
		separator();
	push('{');
}

void out_close(void)
{
	if (opt.json)
		pop('}');
	else
		putchar('\n');
	if (opt.json && !depth)
		putchar('\n');
	line_start = true;
}

void out_open_named(const char *key)
{
	if (!opt.json)
		return;
	json_key(key);
	push('{');
}

void out_close_named(void)
{
	if (opt.json)
		pop('}');
}

void out_list(const char *key)
{
	if (!opt.json)
		return;
	json_key(key);
	push('[');
}

void out_list_end(void)
{
	if (opt.json)
		pop(']');
}

static void label(const char *text)
{
	if (!line_start)
		putchar(' ');
	line_start = false;
	if (text && *text)
		printf("%s ", text);
}

void out_str(const char *key, const char *text, const char *value)
{
	if (opt.json) {
		json_key(key);
		json_string(value);
	} else {
		label(text);
		for (; *value; value++)
			putchar((unsigned char)*value < 0x20 || *value == 0x7f ? '?' : *value);
	}
}

/* What is put before something of a style, and OUT_PLAIN's after it; nothing without colour. */
const char *out_code(enum out_style style)
{
	static const char *const codes[] = {
		[OUT_PLAIN] = "\033[0m",
		[OUT_NAME] = "\033[1m",
		[OUT_GOOD] = "\033[32m",
		[OUT_BAD] = "\033[31m",
		[OUT_DIM] = "\033[2m",
		[OUT_REVERSE] = "\033[7m",
	};

	return opt.color ? codes[style] : "";
}

static void out_styled(const char *key, const char *text, const char *value, enum out_style style)
{
	if (opt.json || !opt.color || style == OUT_PLAIN) {
		out_str(key, text, value);
		return;
	}
	label(text);
	fputs(out_code(style), stdout);
	line_start = true;	/* no blank in between */
	out_str(key, NULL, value);
	fputs(out_code(OUT_PLAIN), stdout);
}

void out_name(const char *key, const char *text, const char *value)
{
	out_styled(key, text, value, OUT_NAME);
}

enum out_style state_style(const char *state)
{
	static const struct {
		const char *state;
		enum out_style style;
	} styles[] = {
		{ "up", OUT_GOOD }, { "connected", OUT_GOOD }, { "connect", OUT_GOOD },
		{ "trunk", OUT_GOOD }, { "line-up", OUT_GOOD },
		{ "fault", OUT_BAD }, { "line-fault", OUT_BAD }, { "reset", OUT_BAD },
		{ "refused", OUT_BAD }, { "reject", OUT_BAD }, { "drop", OUT_BAD },
		{ "events-lost", OUT_BAD },
		{ "detached", OUT_DIM }, { "closing", OUT_DIM }, { "released", OUT_DIM },
	};
	size_t i;

	for (i = 0; i < sizeof(styles) / sizeof(styles[0]); i++)
		if (!strcmp(styles[i].state, state))
			return styles[i].style;
	return OUT_PLAIN;
}

/* A word that says whether all is well. */
void out_state(const char *key, const char *text, const char *value)
{
	out_styled(key, text, value, state_style(value));
}

/* One of a list. */
void out_item(const char *text, const char *value)
{
	if (opt.json) {
		separator();
		json_string(value);
	} else {
		out_str(NULL, text, value);
	}
}

void out_u64(const char *key, const char *text, uint64_t value)
{
	if (opt.json) {
		json_key(key);
		printf("%llu", (unsigned long long)value);
	} else {
		label(text);
		printf("%llu", (unsigned long long)value);
	}
}

/* Bytes: exact in JSON, and as short as is still exact in text. */
void out_size(const char *key, const char *text, uint64_t value)
{
	static const char units[] = "kMGT";
	int unit = -1;

	if (opt.json) {
		out_u64(key, text, value);
		return;
	}
	while (value && !(value & 1023) && unit < 3) {
		value >>= 10;
		unit++;
	}
	label(text);
	printf("%llu", (unsigned long long)value);
	if (unit >= 0)
		putchar(units[unit]);
}

void out_bool(const char *key, const char *text, bool value)
{
	if (opt.json) {
		json_key(key);
		fputs(value ? "true" : "false", stdout);
	} else if (value) {
		label(text);
	}
}

void out_json_only_u64(const char *key, uint64_t value)
{
	if (opt.json)
		out_u64(key, NULL, value);
}

void out_json_only_str(const char *key, const char *value)
{
	if (opt.json)
		out_str(key, NULL, value);
}

void out_text(const char *fmt, ...)
{
	va_list ap;

	if (opt.json)
		return;
	if (!line_start)
		putchar(' ');
	line_start = false;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

/* What the number before it is of. */
void out_unit(const char *unit)
{
	if (!opt.json)
		fputs(unit, stdout);
}

/* Continue on a line of its own, below what came before. */
void out_newline(void)
{
	if (opt.json || opt.oneline)
		return;
	fputs("\n   ", stdout);
}

static const char *name(const char *const *names, size_t n, uint32_t i)
{
	return i < n && names[i] ? names[i] : "?";
}

#define NAME(names, i) name(names, sizeof(names) / sizeof((names)[0]), i)

const char *line_state_name(uint32_t state)
{
	static const char *const names[] = { "detached", "attached", "up", "fault" };

	return NAME(names, state);
}

const char *circuit_state_name(uint32_t state)
{
	static const char *const names[] = { "pending", "connected", "closing" };

	return NAME(names, state);
}

const char *event_name(uint32_t event)
{
	static const char *const names[] = {
		"line-new", "line-set", "line-del", "line-attach", "line-up", "line-down",
		"line-detach", "line-fault", "connected", "refused", "reset", "released",
		"native", "policy",
	};

	return NAME(names, event);
}

const char *reason_name(uint32_t reason)
{
	return reason < CIRCUIT_REASON_GUEST_MAX && reasons[reason].name ? reasons[reason].name : "?";
}
