// SPDX-License-Identifier: GPL-2.0
/*
 * circuit policy: the table of rules that decides which calls are allowed.
 *
 * The operator takes whole tables only. A change of one rule is the table as it is,
 * changed, on condition that nobody else has put another in force meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/genetlink.h>
#include "rule.h"

#define TRIES		10		/* to read or change a table that others change */
#define MESSAGE_MAX	15360u		/* a rule has less than 1 KiB */
#define ANNOUNCED_MAX	65536u		/* rules; a table that has more will be refused */

struct table {
	uint32_t verdict;
	uint32_t generation;
	uint64_t hits;
	struct rule *rules;
	size_t nr, room;
	size_t unknown;		/* number of a rule that this program does not understand, or 0 */
};

static struct rule *table_insert(struct table *t, size_t at)
{
	if (t->nr == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->rules = realloc(t->rules, t->room * sizeof(*t->rules));
		if (!t->rules) {
			fprintf(stderr, "circuit: out of memory\n");
			exit(EXIT_KERNEL);
		}
	}
	memmove(t->rules + at + 1, t->rules + at, (t->nr++ - at) * sizeof(*t->rules));
	return t->rules + at;
}

static void table_remove(struct table *t, size_t at)
{
	memmove(t->rules + at, t->rules + at + 1, (--t->nr - at) * sizeof(*t->rules));
}

static bool default_verdict(const char *text, uint32_t *verdict)
{
	if (!strcmp(text, "connect"))
		*verdict = CIRCUIT_POLICY_VERDICT_CONNECT;
	else if (!strcmp(text, "reject"))
		*verdict = CIRCUIT_POLICY_VERDICT_REJECT;
	else
		return false;
	return true;
}

/* --- printing -------------------------------------------------------------------------------- */

static void print_hits(uint64_t hits, uint64_t limited, uint64_t waits)
{
	if (!opt.stats)
		return;
	out_text("# hits %llu", (unsigned long long)hits);
	if (limited)
		out_text("limited %llu", (unsigned long long)limited);
	if (waits)
		out_text("waits %llu", (unsigned long long)waits);
}

/* Print a table as "policy load" reads it; one that is not in force has no counters. */
static void print_table(const struct table *t, bool live)
{
	const struct rule *rule;
	char text[RULE_STRLEN];

	if (opt.json) {
		out_open();
		out_str("default", "", verdict_name(t->verdict));
		if (live) {
			out_u64("generation", "", t->generation);
			out_u64("hits", "", t->hits);
		}
		out_list("rules");
		for (rule = t->rules; rule < t->rules + t->nr; rule++) {
			out_open();
			rule_json(rule, live);
			out_close();
		}
		out_list_end();
		out_close();
		return;
	}
	out_text("default %s", verdict_name(t->verdict));
	if (live)
		print_hits(t->hits, 0, 0);
	out_close();
	for (rule = t->rules; rule < t->rules + t->nr; rule++) {
		rule_text(rule, text);
		out_text("%s", text);
		if (live)
			print_hits(rule->hits, rule->limited, rule->waits);
		out_close();
	}
}

/* --- files ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4)))
static int file_error(const char *name, unsigned int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "circuit: %s:%u: ", name, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

static int read_line(struct table *t, const char *name, unsigned int line, char *text,
		     unsigned int *default_line)
{
	char *argv[RULE_WORDS + 1], wrong_text[RULE_WRONG];
	const char *wrong;
	struct rule rule;
	int argc;

	argc = split_words(text, argv, RULE_WORDS, &wrong);
	if (argc < 0)
		return file_error(name, line, "%s", wrong);
	if (!argc)
		return EXIT_OK;
	if (!strcmp(argv[0], "default")) {
		if (argc != 2 || !default_verdict(argv[1], &t->verdict))
			return file_error(name, line, "default: 'connect' or 'reject'");
		if (*default_line)
			return file_error(name, line, "default: line %u has one already",
					  *default_line);
		*default_line = line;
		return EXIT_OK;
	}
	if (!rule_parse(&rule, argc, argv, wrong_text))
		return file_error(name, line, "%s", wrong_text);
	rule.line = line;
	*table_insert(t, t->nr) = rule;
	return EXIT_OK;
}

/* Read a whole file; nobody else is asked anything. */
static int read_file(struct table *t, const char *name)
{
	FILE *f = strcmp(name, "-") ? fopen(name, "r") : stdin;
	unsigned int line = 0, default_line = 0;
	char *text = NULL;
	size_t size = 0;
	int ret = EXIT_OK;
	ssize_t n;

	if (!f)
		return usage_error("%s: %s", name, strerror(errno));
	t->verdict = CIRCUIT_POLICY_VERDICT_REJECT;
	while (!ret && (n = getline(&text, &size, f)) >= 0) {
		line++;
		if (n && text[n - 1] == '\n')
			text[--n] = 0;
		if (strlen(text) != (size_t)n)
			ret = file_error(name, line, "it has a zero byte");
		else
			ret = read_line(t, name, line, text, &default_line);
	}
	if (!ret && ferror(f))
		ret = usage_error("%s: %s", name, strerror(errno));
	free(text);
	if (f != stdin)
		fclose(f);
	return ret;
}

/* --- the operator ---------------------------------------------------------------------------- */

static int take_table(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_POLICY_MAX + 1];
	struct table *t = data;

	nl_parse(nlh, tb, CIRCUIT_A_POLICY_MAX);
	t->verdict = nl_u32(tb[CIRCUIT_A_POLICY_VERDICT]);
	t->generation = nl_u32(tb[CIRCUIT_A_POLICY_GENERATION]);
	t->hits = nl_u64(tb[CIRCUIT_A_POLICY_HITS]);
	return MNL_CB_OK;
}

static int take_rules(const struct nlmsghdr *nlh, void *data)
{
	struct table *t = data;
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(a) != CIRCUIT_A_POLICY_RULE)
			continue;
		if (!rule_get(a, table_insert(t, t->nr)))
			t->unknown = t->nr;
	}
	return MNL_CB_OK;
}

static int get_table(struct table *t)
{
	return nl_try(nl_request(&nl_operator, CIRCUIT_CMD_POLICY_GET, NLM_F_ACK), take_table, t);
}

/* Read the table in force: all of its rules are of the generation that it says. */
static int table_read(struct table *t)
{
	struct table after = {};
	int i;

	for (i = 0; i < TRIES; i++) {
		t->nr = 0;
		t->unknown = 0;
		if (get_table(t))
			goto fail;
		if (nl_try(nl_request(&nl_operator, CIRCUIT_CMD_POLICY_GET, NLM_F_DUMP),
			   take_rules, t)) {
			if (errno != EINTR)
				goto fail;
			nl_restart();	/* it has changed meanwhile */
			continue;
		}
		if (get_table(&after))
			goto fail;
		if (after.generation != t->generation)
			continue;
		if (!t->unknown)
			return EXIT_OK;
		fprintf(stderr, "circuit: rule %zu says what this program does not know; use the "
			"one of the module's version\n", t->unknown);
		return EXIT_KERNEL;
	}
	fprintf(stderr, "circuit: somebody else keeps changing the policy\n");
	return EXIT_KERNEL;
fail:
	nl_complain("");
	return EXIT_KERNEL;
}

/* The operator did not like one of the rules that went with the last message. */
static void complain_rule(const struct table *t, size_t first, size_t end, const char *file)
{
	uint32_t offset = nl_failure_offset();
	char about[512] = "";
	size_t i;

	for (i = end; i > first && t->rules[i - 1].offset > offset; i--)
		;
	if (i > first && file)
		snprintf(about, sizeof(about), "%s:%u: ", file, t->rules[i - 1].line);
	else if (i > first)
		snprintf(about, sizeof(about), "rule %zu: ", i);
	else if (file)
		snprintf(about, sizeof(about), "%s: ", file);
	nl_complain(about);
}

/*
 * Put a table in force; all of it or nothing. If @changed, it replaces the one of its
 * generation and no other. Returns EXIT_KERNEL with EAGAIN in errno, and has not told
 * the user, if that is not in force any more.
 */
static int table_write(struct table *t, bool changed, const char *file)
{
	struct nlmsghdr *nlh;
	size_t i, first;

	nlh = nl_request(&nl_operator, CIRCUIT_CMD_POLICY_NEW, NLM_F_ACK);
	mnl_attr_put_u32(nlh, CIRCUIT_A_POLICY_VERDICT, t->verdict);
	mnl_attr_put_u32(nlh, CIRCUIT_A_POLICY_RULES,
			 t->nr < ANNOUNCED_MAX ? t->nr : ANNOUNCED_MAX);
	if (nl_talk(nlh, NULL, NULL))
		goto fail;
	for (i = 0; i < t->nr;) {
		nlh = nl_request(&nl_operator, CIRCUIT_CMD_POLICY_ADD, NLM_F_ACK);
		for (first = i; i < t->nr && nlh->nlmsg_len < MESSAGE_MAX; i++)
			rule_put(nlh, CIRCUIT_A_POLICY_RULE, t->rules + i);
		if (nl_try(nlh, NULL, NULL)) {
			complain_rule(t, first, i, file);
			goto fail;
		}
	}
	nlh = nl_request(&nl_operator, CIRCUIT_CMD_POLICY_COMMIT, NLM_F_ACK);
	if (changed)
		mnl_attr_put_u32(nlh, CIRCUIT_A_POLICY_GENERATION, t->generation);
	if (!nl_try(nlh, NULL, NULL))
		return EXIT_OK;
	if (changed && errno == EAGAIN)
		return EXIT_KERNEL;
	nl_complain("");
fail:
	errno = 0;
	return EXIT_KERNEL;
}

/* One change of the table in force. */
struct change {
	bool flush;		/* it loses its rules */
	bool verdict_given;
	uint32_t verdict;	/* of what no rule matches */
	const struct rule *add;
	uint64_t at;		/* from 1; 0: at the end */
	uint64_t del;		/* from 1 */
};

static int table_change(struct table *t, const struct change *change)
{
	if (change->flush)
		t->nr = 0;
	if (change->verdict_given)
		t->verdict = change->verdict;
	if (change->del > t->nr || (change->add && change->at > t->nr + 1))
		return usage_error("policy: no rule has that number; there are %zu", t->nr);
	if (change->del)
		table_remove(t, change->del - 1);
	if (change->add)
		*table_insert(t, change->at ? change->at - 1 : t->nr) = *change->add;
	return EXIT_OK;
}

static int policy_change(const struct change *change)
{
	struct table t = {};
	int i, ret;

	for (i = 0; i < TRIES; i++) {
		ret = table_read(&t);
		if (!ret)
			ret = table_change(&t, change);
		if (ret)
			goto out;
		ret = table_write(&t, true, NULL);
		if (!ret || errno != EAGAIN)
			goto out;
	}
	fprintf(stderr, "circuit: somebody else keeps changing the policy\n");
out:
	free(t.rules);
	return ret;
}

/* --- commands -------------------------------------------------------------------------------- */

static int policy_show(int argc, char **argv)
{
	struct table t = {};
	int ret;

	(void)argv;
	if (argc)
		return usage_error("policy show: it takes no argument");
	ret = table_read(&t);
	if (!ret)
		print_table(&t, true);
	free(t.rules);
	return ret;
}

static int policy_load(int argc, char **argv)
{
	struct table t = {};
	int ret;

	if (argc != 1)
		return usage_error("policy load: which file?");
	ret = read_file(&t, argv[0]);
	if (!ret)
		ret = table_write(&t, false, argv[0]);
	free(t.rules);
	return ret;
}

static int policy_check(int argc, char **argv)
{
	struct table t = {};
	int ret;

	if (argc != 1)
		return usage_error("policy check: which file?");
	ret = read_file(&t, argv[0]);
	if (!ret)
		print_table(&t, false);
	free(t.rules);
	return ret;
}

static int policy_default(int argc, char **argv)
{
	struct change change = { .verdict_given = true };

	if (argc != 1 || !default_verdict(argv[0], &change.verdict))
		return usage_error("policy default: 'connect' or 'reject'");
	return policy_change(&change);
}

static int policy_add(int argc, char **argv)
{
	struct change change = {};
	char wrong[RULE_WRONG];
	struct rule rule;

	if (argc && !strcmp(argv[0], "at")) {
		if (argc < 2 || !parse_number(argv[1], UINT32_MAX, &change.at) || !change.at)
			return usage_error("policy add: at: rules count from 1");
		argc -= 2;
		argv += 2;
	}
	if (!rule_parse(&rule, argc, argv, wrong))
		return usage_error("policy add: %s", wrong);
	change.add = &rule;
	return policy_change(&change);
}

static int policy_del(int argc, char **argv)
{
	struct change change = {};

	if (argc != 1)
		return usage_error("policy del: which rule?");
	if (!parse_number(argv[0], UINT32_MAX, &change.del) || !change.del)
		return usage_error("policy del: '%s': rules count from 1", argv[0]);
	return policy_change(&change);
}

static int policy_flush(int argc, char **argv)
{
	struct change change = { .flush = true };

	(void)argv;
	if (argc)
		return usage_error("policy flush: it takes no argument");
	return policy_change(&change);
}

static int print_reapplied(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_POLICY_MAX + 1];
	uint32_t n;

	(void)data;
	nl_parse(nlh, tb, CIRCUIT_A_POLICY_MAX);
	n = nl_u32(tb[CIRCUIT_A_POLICY_CIRCUITS]);
	out_open();
	out_json_only_u64("circuits", n);
	out_text("%u circuit%s reset", n, n == 1 ? "" : "s");
	out_close();
	return MNL_CB_OK;
}

static int policy_reapply(int argc, char **argv)
{
	(void)argv;
	if (argc)
		return usage_error("policy reapply: it takes no argument");
	return nl_talk(nl_request(&nl_operator, CIRCUIT_CMD_POLICY_REAPPLY, NLM_F_ACK),
		       print_reapplied, NULL);
}

static const struct command policy_commands[] = {
	{ "show", policy_show },
	{ "load", policy_load },
	{ "check", policy_check },
	{ "default", policy_default },
	{ "add", policy_add },
	{ "del", policy_del },
	{ "flush", policy_flush },
	{ "reapply", policy_reapply },
	{}
};

int do_policy(int argc, char **argv)
{
	return argc ? dispatch(policy_commands, "policy", argc, argv) : policy_show(0, NULL);
}
