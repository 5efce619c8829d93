// SPDX-License-Identifier: GPL-2.0
/*
 * Rules of the policy: one parser and one printer for all commands.
 *
 * A rule is a verdict and clauses, each of which begins with a word of its own. Text has
 * them in one order, so that equal rules have equal texts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/circuit_ring.h>
#include "rule.h"

/* --- names ----------------------------------------------------------------------------------- */

static const char *const verdict_names[] = {
	[CIRCUIT_POLICY_VERDICT_CONNECT] = "connect",
	[CIRCUIT_POLICY_VERDICT_TRUNK] = "trunk",
	[CIRCUIT_POLICY_VERDICT_NATIVE] = "native",
	[CIRCUIT_POLICY_VERDICT_REJECT] = "reject",
	[CIRCUIT_POLICY_VERDICT_DROP] = "drop",
};

static const char *const op_names[] = {
	[CIRCUIT_POLICY_OP_CALL] = "call",
	[CIRCUIT_POLICY_OP_LISTEN] = "listen",
	[CIRCUIT_POLICY_OP_EXPOSE] = "expose",
};

static const char *const type_names[] = {
	[SOCK_STREAM] = "stream",
	[SOCK_DGRAM] = "dgram",
	[SOCK_SEQPACKET] = "seqpacket",
};

static const char *const place_names[] = {
	[CIRCUIT_POLICY_TO_LINE] = "lines",
	[CIRCUIT_POLICY_TO_SERVICE] = "services",
	[CIRCUIT_POLICY_TO_TRUNK] = "trunks",
	[CIRCUIT_POLICY_TO_ELSEWHERE] = "elsewhere",
};

/* The operator takes no others. */
static const char *const error_names[] = {
	[ECONNREFUSED] = "ECONNREFUSED",
	[EACCES] = "EACCES",
	[EPERM] = "EPERM",
	[EHOSTUNREACH] = "EHOSTUNREACH",
	[ENETUNREACH] = "ENETUNREACH",
	[ETIMEDOUT] = "ETIMEDOUT",
	[ECONNRESET] = "ECONNRESET",
};

#define SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* Names of numbers; those in between have none. */
struct names {
	const char *const *name;
	unsigned int size;
};

static const struct names verdicts = { verdict_names, SIZE(verdict_names) };
static const struct names ops = { op_names, SIZE(op_names) };
static const struct names types = { type_names, SIZE(type_names) };
static const struct names places = { place_names, SIZE(place_names) };
static const struct names errors = { error_names, SIZE(error_names) };

static const char *name_of(const struct names *names, unsigned int i)
{
	return i < names->size && names->name[i] ? names->name[i] : "?";
}

const char *verdict_name(uint32_t verdict) { return name_of(&verdicts, verdict); }
const char *op_name(unsigned int op) { return name_of(&ops, op); }
const char *type_name(unsigned int type) { return name_of(&types, type); }
const char *place_name(unsigned int place) { return name_of(&places, place); }
const char *errno_name(uint32_t error) { return name_of(&errors, error); }

/* The number that has this name, or -1. */
static int find_name(const struct names *names, const char *text)
{
	unsigned int i;

	for (i = 0; i < names->size; i++)
		if (names->name[i] && !strcmp(names->name[i], text))
			return i;
	return -1;
}

int find_type(const char *name)
{
	return find_name(&types, name);
}

/* The name that was perhaps meant, or NULL. */
static const char *closest(const struct names *names, const char *text)
{
	const char *close = NULL;
	unsigned int i;
	int best = 3;

	for (i = 0; i < names->size; i++)
		if (names->name[i] && closer(text, names->name[i], &best))
			close = names->name[i];
	return close;
}

static bool known_bits(const struct names *names, uint32_t bits)
{
	unsigned int i;

	for (i = 0; i < names->size; i++)
		if (names->name[i])
			bits &= ~(1u << i);
	return !bits;
}

/* Is it the name of a line, a group or a trunk? The operator has the same rule. */
bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < CIRCUIT_NAME_SIZE && *name != '-' && strcmp(name, "trunk") &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
	       len;
}

/* Decimal digits and nothing else. */
bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	size_t len = strspn(text, "0123456789");
	unsigned long long v;

	if (!len || text[len])
		return false;
	errno = 0;
	v = strtoull(text, NULL, 10);
	if (errno || v > max)
		return false;
	*value = v;
	return true;
}

/* --- from words ------------------------------------------------------------------------------ */

/* What a rule is read from. */
struct words {
	char **next, **end;
	const char *clause;	/* the one that is being read */
	uint32_t seen;		/* bits by clause */
	char *wrong;
};

/* Say what is wrong; returns false. It may have come from a file, so mind the terminal. */
__attribute__((format(printf, 2, 3)))
static bool wrong(struct words *w, const char *fmt, ...)
{
	va_list ap;
	char *c;

	va_start(ap, fmt);
	vsnprintf(w->wrong, RULE_WRONG, fmt, ap);
	va_end(ap);
	for (c = w->wrong; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return false;
}

static bool wrong_name(struct words *w, const struct names *names, const char *text)
{
	const char *close = closest(names, text);

	if (close)
		return wrong(w, "%s: '%s' is not known; did you mean '%s'?", w->clause, text,
			     close);
	return wrong(w, "%s: '%s' is not known", w->clause, text);
}

/* Each clause has its own place in words->seen, "from" and "to" one for every kind. */
enum clause_bit {
	ON, TYPE, FROM, TO, PORT, UID, CGROUP, ERROR, RING, CALLS, BYTES, LOG, COMMENT,
	FROM_WHO, FROM_PREFIX, TO_WHO, TO_PREFIX, TO_PLACE,
};

static bool once(struct words *w, enum clause_bit bit)
{
	bool first = !(w->seen & 1u << bit);

	w->seen |= 1u << bit;
	return first || wrong(w, "%s: that is said twice", w->clause);
}

static bool take_name(struct words *w, const char *what, char *name)
{
	const char *text;

	if (w->next == w->end)
		return wrong(w, "%s: the name of a %s is missing", w->clause, what);
	text = *w->next++;
	if (!name_ok(text))
		return wrong(w, "%s: '%s' cannot be the name of a %s", w->clause, text, what);
	strcpy(name, text);
	return true;
}

/* "NAME[,NAME]..." */
static bool take_bits(struct words *w, const struct names *names, const char *text, uint32_t *bits)
{
	const char *comma;
	char word[32];
	int i;

	for (;; text = comma + 1) {
		comma = strchrnul(text, ',');
		if (comma - text >= (long)sizeof(word))
			return wrong_name(w, names, text);
		snprintf(word, sizeof(word), "%.*s", (int)(comma - text), text);
		i = find_name(names, word);
		if (i < 0)
			return wrong_name(w, names, word);
		if (*bits & 1u << i)
			return wrong(w, "%s: '%s' is given twice", w->clause, word);
		*bits |= 1u << i;
		if (!*comma)
			return true;
	}
}

static bool read_on(struct words *w, struct rule *rule, const char *text)
{
	return take_bits(w, &ops, text, &rule->ops);
}

static bool read_type(struct words *w, struct rule *rule, const char *text)
{
	return take_bits(w, &types, text, &rule->types);
}

/* IPv4 is ::ffff:0:0/96 for the operator, so an IPv6 prefix may have more in it than it seems. */
static bool take_prefix(struct words *w, struct party *party, const char *text)
{
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };
	struct prefix *prefix = &party->prefix;
	unsigned int bits, byte;

	if (!parse_prefix(text, prefix))
		return wrong(w, "%s: '%s' is not a prefix", w->clause, text);
	if (prefix->size == 4)
		return true;
	bits = prefix->len < 96 ? prefix->len : 96;
	byte = bits / 8;
	if (memcmp(prefix->addr, mapped, byte) ||
	    (prefix->addr[byte] ^ mapped[byte]) & (0xff00 >> bits % 8) & 0xff)
		return true;
	if (prefix->len < 96)
		return wrong(w, "%s: '%s' has all of IPv4 in it, too", w->clause, text);
	return wrong(w, "%s: '%s' is IPv4; write it like that", w->clause, text);
}

/* One side: what it is, apart from "to PLACE"; *@taken is false if it is none of that. */
static bool take_party(struct words *w, struct party *party, enum clause_bit who,
		       enum clause_bit prefix, const char *text, bool *taken)
{
	*taken = true;
	if (!strcmp(text, "any"))
		return once(w, who) && once(w, prefix);
	if (!strcmp(text, "line") || !strcmp(text, "group")) {
		party->who = *text == 'l' ? WHO_LINE : WHO_GROUP;
		return once(w, who) && take_name(w, text, party->name);
	}
	/* No name of a place has any of these. */
	if (strpbrk(text, ".:/"))
		return once(w, prefix) && take_prefix(w, party, text);
	*taken = false;
	return true;
}

static bool read_from(struct words *w, struct rule *rule, const char *text)
{
	bool taken;

	if (!take_party(w, &rule->from, FROM_WHO, FROM_PREFIX, text, &taken))
		return false;
	return taken || wrong(w, "from: '%s' is not a prefix; did you mean 'line %s'?", text, text);
}

static bool read_to(struct words *w, struct rule *rule, const char *text)
{
	bool taken;

	if (!take_party(w, &rule->dst, TO_WHO, TO_PREFIX, text, &taken))
		return false;
	if (taken && strcmp(text, "any"))
		return true;
	if (!once(w, TO_PLACE))
		return false;
	if (taken)
		return true;
	if (!closest(&places, text) && !strchr(text, ','))
		return wrong(w, "to: '%s' is neither a prefix nor a kind of place; did you mean "
			     "'line %s'?", text, text);
	return take_bits(w, &places, text, &rule->to);
}

static bool read_port(struct words *w, struct rule *rule, const char *text)
{
	const char *dash = strchr(text, '-');
	uint64_t first, last;
	char number[16] = "";

	if (dash && dash - text < (long)sizeof(number))
		snprintf(number, sizeof(number), "%.*s", (int)(dash - text), text);
	if (!parse_number(dash ? number : text, UINT32_MAX, &first) ||
	    !parse_number(dash ? dash + 1 : text, UINT32_MAX, &last))
		return wrong(w, "port: '%s' is neither a number up to %u nor two of them", text,
			     UINT32_MAX);
	if (last < first)
		return wrong(w, "port: '%s' ends before it begins", text);
	if (!first && last == UINT32_MAX)
		return true;	/* any */
	rule->port_min = first;
	rule->port_max = last;
	rule->has_port = true;
	return true;
}

static bool read_uid(struct words *w, struct rule *rule, const char *text)
{
	uint64_t value;

	if (!parse_number(text, UINT32_MAX, &value))
		return wrong(w, "uid: '%s' is not the number of a user", text);
	rule->uid = value;
	rule->has_uid = true;
	return true;
}

static bool read_cgroup(struct words *w, struct rule *rule, const char *text)
{
	if (!parse_number(text, UINT64_MAX, &rule->cgroup))
		return wrong(w, "cgroup: '%s' is not the number of a cgroup", text);
	rule->has_cgroup = true;
	return true;
}

static bool read_error(struct words *w, struct rule *rule, const char *text)
{
	int error = find_name(&errors, text);

	if (error < 0)
		return wrong_name(w, &errors, text);
	rule->error = error;
	return true;
}

static bool read_ring(struct words *w, struct rule *rule, const char *text)
{
	uint64_t value;

	if (parse_size(text, &value) || value < CIRCUIT_RING_MIN || value > CIRCUIT_RING_MAX ||
	    value & (value - 1))
		return wrong(w, "ring: '%s' is not a power of two from %uk to %uk", text,
			     CIRCUIT_RING_MIN >> 10, CIRCUIT_RING_MAX >> 10);
	rule->ring = value;
	return true;
}

static bool read_calls(struct words *w, struct rule *rule, const char *text)
{
	size_t len = strcspn(text, "/");
	char number[16] = "";
	uint64_t value;

	if (len < sizeof(number))
		snprintf(number, sizeof(number), "%.*s", (int)len, text);
	if (strcmp(text + len, "/s") || !parse_number(number, UINT32_MAX, &value) || !value)
		return wrong(w, "calls: '%s' is not like 100/s", text);
	rule->calls = value;
	return true;
}

static bool read_bytes(struct words *w, struct rule *rule, const char *text)
{
	size_t len = strlen(text);

	if (len < 3 || strcmp(text + len - 2, "/s") || parse_rate(text, UINT64_MAX, &rule->bytes))
		return wrong(w, "bytes: '%s' is not like 10M/s", text);
	return true;
}

static bool read_log(struct words *w, struct rule *rule, const char *text)
{
	(void)w;
	(void)text;
	rule->log = true;
	return true;
}

/* How many bytes the character has, 0 if it is not UTF-8 or cannot be printed. */
static unsigned int printable(const unsigned char *c)
{
	unsigned int n, i;
	uint32_t code;

	if (*c < 0x80)
		return *c >= 0x20 && *c != 0x7f;
	n = *c >= 0xf0 ? 4 : *c >= 0xe0 ? 3 : 2;
	if (*c < 0xc2 || *c > 0xf4)
		return 0;
	code = *c & (0xff >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (c[i] & 0x3f);
	}
	if (code < 0xa0 || (n == 3 && code < 0x800) || (n == 4 && code < 0x10000) ||
	    code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return n;
}

static bool read_comment(struct words *w, struct rule *rule, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	unsigned int n;

	if (!*text)
		return wrong(w, "comment: it is empty");
	if (strlen(text) > RULE_COMMENT_MAX)
		return wrong(w, "comment: it has more than %d bytes", RULE_COMMENT_MAX);
	for (; *c; c += n) {
		n = printable(c);
		if (!n)
			return wrong(w, "comment: it has what cannot be printed");
	}
	strcpy(rule->comment, text);
	return true;
}

static const struct clause {
	const char *name;
	bool (*read)(struct words *w, struct rule *rule, const char *text);
} clauses[] = {
	[ON] = { "on", read_on },
	[TYPE] = { "type", read_type },
	[FROM] = { "from", read_from },
	[TO] = { "to", read_to },
	[PORT] = { "port", read_port },
	[UID] = { "uid", read_uid },
	[CGROUP] = { "cgroup", read_cgroup },
	[ERROR] = { "error", read_error },
	[RING] = { "ring", read_ring },
	[CALLS] = { "calls", read_calls },
	[BYTES] = { "bytes", read_bytes },
	[LOG] = { "log", read_log },
	[COMMENT] = { "comment", read_comment },
};

static bool read_clause(struct words *w, struct rule *rule)
{
	const char *names[SIZE(clauses)], *text = "";
	int i;

	for (i = 0; i < (int)SIZE(clauses); i++)
		names[i] = clauses[i].name;
	w->clause = "rule";
	i = find_name(&(struct names){ names, SIZE(names) }, *w->next);
	if (i < 0)
		return wrong_name(w, &(struct names){ names, SIZE(names) }, *w->next);
	w->next++;
	w->clause = clauses[i].name;
	if (i != FROM && i != TO && !once(w, i))
		return false;
	if (i != LOG) {
		if (w->next == w->end)
			return wrong(w, "%s: what?", w->clause);
		text = *w->next++;
	}
	return clauses[i].read(w, rule, text);
}

/* Read a rule from words; if it is none, @wrong, of RULE_WRONG bytes, is why. */
bool rule_parse(struct rule *rule, int argc, char **argv, char *wrong_text)
{
	struct words w = { argv, argv + argc, "rule", 0, wrong_text };
	int verdict;

	memset(rule, 0, sizeof(*rule));
	if (!argc)
		return wrong(&w, "rule: what?");
	verdict = find_name(&verdicts, *w.next);
	if (verdict < 0) {
		w.clause = "verdict";
		return wrong_name(&w, &verdicts, *w.next);
	}
	w.next++;
	rule->verdict = verdict;
	if (verdict == CIRCUIT_POLICY_VERDICT_TRUNK) {
		w.clause = "trunk";
		if (!take_name(&w, "trunk", rule->trunk))
			return false;
	}
	while (w.next != w.end)
		if (!read_clause(&w, rule))
			return false;
	w.clause = "error";
	if (rule->error && verdict != CIRCUIT_POLICY_VERDICT_REJECT)
		return wrong(&w, "error: only 'reject' has one");
	return true;
}

/* --- as text and JSON ------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3)))
static void add(char *text, const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, RULE_STRLEN - n, fmt, ap);
	va_end(ap);
}

static void add_bits(char *text, const char *clause, const struct names *names, uint32_t bits)
{
	unsigned int i;
	char c = ' ';

	if (!bits)
		return;
	add(text, " %s", clause);
	for (i = 0; i < names->size; i++) {
		if (!(bits & 1u << i))
			continue;
		add(text, "%c%s", c, name_of(names, i));
		c = ',';
	}
}

static void add_party(char *text, const char *clause, const struct party *party)
{
	char prefix[PREFIX_STRLEN];

	if (party->who)
		add(text, " %s %s %s", clause, party->who == WHO_LINE ? "line" : "group",
		    party->name);
	if (party->prefix.size) {
		prefix_text(&party->prefix, prefix);
		add(text, " %s %s", clause, prefix);
	}
}

/* In the largest unit that says it exactly. */
static void add_bytes(char *text, uint64_t bytes)
{
	static const char units[] = "kMGT";
	int unit = -1;

	while (!(bytes & 1023) && unit < 3) {
		bytes >>= 10;
		unit++;
	}
	add(text, " bytes %llu%.*s/s", (unsigned long long)bytes, unit >= 0, units + (unit < 0 ? 0 : unit));
}

static void add_comment(char *text, const char *comment)
{
	const char *c;

	add(text, " comment \"");
	for (c = comment; *c; c++) {
		if (*c == '"' || *c == '\\')
			add(text, "\\");
		add(text, "%c", (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
	}
	add(text, "\"");
}

/* The text of a rule, which rule_parse() understands; it has RULE_STRLEN bytes. */
void rule_text(const struct rule *rule, char *text)
{
	*text = 0;
	add(text, "%s", verdict_name(rule->verdict));
	if (rule->verdict == CIRCUIT_POLICY_VERDICT_TRUNK)
		add(text, " %s", rule->trunk);
	add_bits(text, "on", &ops, rule->ops);
	add_bits(text, "type", &types, rule->types);
	add_party(text, "from", &rule->from);
	add_party(text, "to", &rule->dst);
	add_bits(text, "to", &places, rule->to);
	if (rule->has_port)
		add(text, " port %u", rule->port_min);
	if (rule->has_port && rule->port_max != rule->port_min)
		add(text, "-%u", rule->port_max);
	if (rule->has_uid)
		add(text, " uid %u", rule->uid);
	if (rule->has_cgroup)
		add(text, " cgroup %llu", (unsigned long long)rule->cgroup);
	if (rule->error)
		add(text, " error %s", errno_name(rule->error));
	if (rule->ring)
		add(text, " ring %uk", rule->ring >> 10);
	if (rule->calls)
		add(text, " calls %u/s", rule->calls);
	if (rule->bytes)
		add_bytes(text, rule->bytes);
	if (rule->log)
		add(text, " log");
	if (*rule->comment)
		add_comment(text, rule->comment);
}

static void json_bits(const char *key, const struct names *names, uint32_t bits)
{
	unsigned int i;

	out_list(key);
	for (i = 0; i < names->size; i++)
		if (bits & 1u << i)
			out_item("", name_of(names, i));
	out_list_end();
}

static void json_party(const struct party *party, const char *line, const char *group,
		       const char *prefix_key)
{
	char prefix[PREFIX_STRLEN];

	if (party->who)
		out_str(party->who == WHO_LINE ? line : group, "", party->name);
	if (party->prefix.size) {
		prefix_text(&party->prefix, prefix);
		out_str(prefix_key, "", prefix);
	}
}

/* What is within the braces; counters only if it is in force. */
void rule_json(const struct rule *rule, bool live)
{
	if (live)
		out_u64("nr", "", rule->nr);
	out_str("verdict", "", verdict_name(rule->verdict));
	if (rule->verdict == CIRCUIT_POLICY_VERDICT_TRUNK)
		out_str("trunk", "", rule->trunk);
	if (rule->error)
		out_str("error", "", errno_name(rule->error));
	json_bits("ops", &ops, rule->ops);
	json_bits("types", &types, rule->types);
	json_party(&rule->from, "from-line", "from-group", "from-prefix");
	json_party(&rule->dst, "dst-line", "dst-group", "dst-prefix");
	json_bits("to", &places, rule->to);
	if (rule->has_port) {
		out_u64("port-min", "", rule->port_min);
		out_u64("port-max", "", rule->port_max);
	}
	if (rule->has_uid)
		out_u64("uid", "", rule->uid);
	if (rule->has_cgroup)
		out_u64("cgroup", "", rule->cgroup);
	if (rule->ring)
		out_u64("ring", "", rule->ring);
	if (rule->calls)
		out_u64("calls", "", rule->calls);
	if (rule->bytes)
		out_u64("bytes", "", rule->bytes);
	out_bool("log", "", rule->log);
	if (*rule->comment)
		out_str("comment", "", rule->comment);
	if (live) {
		out_u64("hits", "", rule->hits);
		out_u64("limited", "", rule->limited);
		out_u64("waits", "", rule->waits);
	}
}

/* --- in messages ----------------------------------------------------------------------------- */

static void put_u32(struct nlmsghdr *nlh, uint16_t attr, bool given, uint32_t value)
{
	if (given)
		mnl_attr_put_u32(nlh, attr, value);
}

static void put_party(struct nlmsghdr *nlh, const struct party *party, uint16_t line,
		      uint16_t group, uint16_t prefix)
{
	if (party->who)
		mnl_attr_put_strz(nlh, party->who == WHO_LINE ? line : group, party->name);
	if (party->prefix.size)
		nl_put_prefix(nlh, prefix, &party->prefix);
}

/* Append a rule to a message; rule->offset is then where it begins. */
void rule_put(struct nlmsghdr *nlh, uint16_t attr, struct rule *rule)
{
	struct nlattr *nest;

	rule->offset = nlh->nlmsg_len;
	nest = mnl_attr_nest_start(nlh, attr);
	mnl_attr_put_u32(nlh, CIRCUIT_A_RULE_VERDICT, rule->verdict);
	if (*rule->trunk)
		mnl_attr_put_strz(nlh, CIRCUIT_A_RULE_TRUNK, rule->trunk);
	put_u32(nlh, CIRCUIT_A_RULE_ERROR, rule->error, rule->error);
	put_u32(nlh, CIRCUIT_A_RULE_OPS, rule->ops, rule->ops);
	put_u32(nlh, CIRCUIT_A_RULE_TYPES, rule->types, rule->types);
	put_u32(nlh, CIRCUIT_A_RULE_TO, rule->to, rule->to);
	put_party(nlh, &rule->from, CIRCUIT_A_RULE_SRC_LINE, CIRCUIT_A_RULE_SRC_GROUP,
		  CIRCUIT_A_RULE_SRC_PREFIX);
	put_party(nlh, &rule->dst, CIRCUIT_A_RULE_DST_LINE, CIRCUIT_A_RULE_DST_GROUP,
		  CIRCUIT_A_RULE_DST_PREFIX);
	put_u32(nlh, CIRCUIT_A_RULE_PORT_MIN, rule->has_port, rule->port_min);
	put_u32(nlh, CIRCUIT_A_RULE_PORT_MAX, rule->has_port, rule->port_max);
	put_u32(nlh, CIRCUIT_A_RULE_UID, rule->has_uid, rule->uid);
	if (rule->has_cgroup)
		mnl_attr_put_u64(nlh, CIRCUIT_A_RULE_CGROUP, rule->cgroup);
	put_u32(nlh, CIRCUIT_A_RULE_RING_MAX, rule->ring, rule->ring);
	put_u32(nlh, CIRCUIT_A_RULE_CALLS_MAX, rule->calls, rule->calls);
	if (rule->bytes)
		mnl_attr_put_u64(nlh, CIRCUIT_A_RULE_BYTES_MAX, rule->bytes);
	if (rule->log)
		mnl_attr_put(nlh, CIRCUIT_A_RULE_LOG, 0, NULL);
	if (*rule->comment)
		mnl_attr_put_strz(nlh, CIRCUIT_A_RULE_COMMENT, rule->comment);
	mnl_attr_nest_end(nlh, nest);
}

static bool get_party(const struct nlattr *line, const struct nlattr *group,
		      const struct nlattr *prefix, struct party *party)
{
	if (line || group) {
		party->who = line ? WHO_LINE : WHO_GROUP;
		snprintf(party->name, sizeof(party->name), "%s", nl_str(line ? line : group));
	}
	return !prefix || nl_get_prefix(prefix, &party->prefix);
}

/*
 * Take a rule out of a message. Returns false if it says something that this program does
 * not know: then what it has understood is less than the rule, and may match more.
 */
bool rule_get(const struct nlattr *nest, struct rule *rule)
{
	const struct nlattr *tb[CIRCUIT_A_RULE_MAX + 1], *a;
	bool known = true;

	memset(rule, 0, sizeof(*rule));
	mnl_attr_for_each_nested(a, nest)
		if (mnl_attr_get_type(a) > CIRCUIT_A_RULE_MAX)
			known = false;
	nl_parse_nested(nest, tb, CIRCUIT_A_RULE_MAX);
	rule->nr = nl_u32(tb[CIRCUIT_A_RULE_NR]);
	rule->verdict = nl_u32(tb[CIRCUIT_A_RULE_VERDICT]);
	snprintf(rule->trunk, sizeof(rule->trunk), "%s", nl_str(tb[CIRCUIT_A_RULE_TRUNK]));
	rule->error = nl_u32(tb[CIRCUIT_A_RULE_ERROR]);
	rule->ops = nl_u32(tb[CIRCUIT_A_RULE_OPS]);
	rule->types = nl_u32(tb[CIRCUIT_A_RULE_TYPES]);
	rule->to = nl_u32(tb[CIRCUIT_A_RULE_TO]);
	known = get_party(tb[CIRCUIT_A_RULE_SRC_LINE], tb[CIRCUIT_A_RULE_SRC_GROUP],
			  tb[CIRCUIT_A_RULE_SRC_PREFIX], &rule->from) && known;
	known = get_party(tb[CIRCUIT_A_RULE_DST_LINE], tb[CIRCUIT_A_RULE_DST_GROUP],
			  tb[CIRCUIT_A_RULE_DST_PREFIX], &rule->dst) && known;
	if (tb[CIRCUIT_A_RULE_PORT_MIN]) {
		rule->port_min = rule->port_max = nl_u32(tb[CIRCUIT_A_RULE_PORT_MIN]);
		if (tb[CIRCUIT_A_RULE_PORT_MAX])
			rule->port_max = nl_u32(tb[CIRCUIT_A_RULE_PORT_MAX]);
		rule->has_port = rule->port_min || rule->port_max != UINT32_MAX;
	}
	rule->has_uid = tb[CIRCUIT_A_RULE_UID];
	rule->uid = nl_u32(tb[CIRCUIT_A_RULE_UID]);
	rule->has_cgroup = tb[CIRCUIT_A_RULE_CGROUP];
	rule->cgroup = nl_u64(tb[CIRCUIT_A_RULE_CGROUP]);
	rule->ring = nl_u32(tb[CIRCUIT_A_RULE_RING_MAX]);
	rule->calls = nl_u32(tb[CIRCUIT_A_RULE_CALLS_MAX]);
	rule->bytes = nl_u64(tb[CIRCUIT_A_RULE_BYTES_MAX]);
	rule->log = tb[CIRCUIT_A_RULE_LOG];
	snprintf(rule->comment, sizeof(rule->comment), "%s", nl_str(tb[CIRCUIT_A_RULE_COMMENT]));
	rule->hits = nl_u64(tb[CIRCUIT_A_RULE_HITS]);
	rule->limited = nl_u64(tb[CIRCUIT_A_RULE_LIMITED]);
	rule->waits = nl_u64(tb[CIRCUIT_A_RULE_WAITS]);
	return known && rule->verdict < verdicts.size && known_bits(&ops, rule->ops) &&
	       known_bits(&types, rule->types) && known_bits(&places, rule->to) &&
	       (!rule->error || *errno_name(rule->error) != '?');
}
