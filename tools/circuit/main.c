// SPDX-License-Identifier: GPL-2.0
/*
 * circuit - control the switch operator.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "circuit.h"

#ifndef VERSION
#define VERSION "0.1"
#endif

struct options opt;

static const char help[] =
"Usage: circuit [ OPTIONS ] COMMAND\n"
"       circuit [ OPTIONS ] -b FILE\n"
"\n"
"  line add NAME [ SETTING VALUE ]...     create a line\n"
"  line set NAME SETTING VALUE ...        change it\n"
"  line del NAME                          delete it, and all its circuits\n"
"  line show [ NAME ]                     lines and what they use\n"
"  line run NAME -- VMM [ ARG ]...        start a VM attached to a line\n"
"  trunk add NAME [ host ] [ OPTION VALUE ]...   a way out, over the host's TCP and UDP\n"
"  trunk del NAME | trunk show\n"
"  expose add LINE:PORT on ADDR:PORT [ type stream | dgram ] [ trunk NAME ]\n"
"                                         a listener, on the host's address\n"
"  expose del ADDR:PORT [ type stream | dgram ] [ trunk NAME ] | expose show\n"
"  policy [ show ]                        the rules that decide which calls are allowed\n"
"  policy { load | check } FILE           replace them all; or only read the file\n"
"  policy default { connect | reject }    what becomes of what no rule matches\n"
"  policy add [ at N ] RULE | policy del N | policy flush\n"
"  policy reapply                         reset the circuits that they do not allow\n"
"  explain LINE [ to ] DEST[:PORT]        what would become of a call, and why\n"
"  explain LINE listen [ADDR:]PORT\n"
"  explain expose from ADDR to LINE:PORT\n"
"  group set NAME SETTING VALUE ...       what the lines of a group may have together\n"
"  group del NAME | group show [ NAME ]\n"
"  show [ line NAME ]                     circuits and their two ends\n"
"  circuit [ show ] | circuit reset ID    the same; reset one of them\n"
"  circuit capture ID [ to FILE ]         what one carries, as pcapng\n"
"  stat [ NAME ]                          what lines have done, and how long calls took\n"
"  top [ lines | circuits ] [ sort COLUMN ] [ delay SECONDS ] [ count N ]\n"
"  monitor [ line | call | policy | violation ]...   what happens, as it happens\n"
"\n"
"in a guest:\n"
"  socks                                  its sockets: circuits, and why others are not\n"
"  redirect [ show ]                      whose TCP and UDP sockets may have circuits\n"
"  redirect { on | off }                  those of this network namespace\n"
"  redirect { add | del } cgroup PATH     those of a cgroup\n"
"  exec [ --preload ] -- PROGRAM [ ARG ]...   those of one program\n"
"\n"
"  SETTING := window | memory | circuits | pending | listeners | calls | send | receive |\n"
"             send-messages | receive-messages | doorbells | weight | cpu | mark |\n"
"             ring | ring-default | addr | trunk | group; the last three more than once, or 'none';\n"
"             of a group: memory | circuits | pending | listeners | calls | send | receive |\n"
"             send-messages | receive-messages | doorbells | weight | cpu;\n"
"             each may be 'none'\n"
"  RULE    := connect | trunk NAME | native | reject | drop, and what it is about:\n"
"             circuit-policy(8)\n"
"  OPTION  := netns | to | source | congestion | mark | dscp | pacing | user-timeout | mss |\n"
"             idle\n"
"  VALUE   := a number, with k, M or G for binary multiples\n"
"  OPTIONS := -j json | -p pretty | -s statistics | -o one line each | -t timestamps\n"
"             -c | --color=WHEN (always, auto, never) | -n NETNS |\n"
"             -b FILE (batch; - is the standard input) | -V | -h\n";

int usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("circuit: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nTry 'circuit -h'.\n", stderr);
	return EXIT_USAGE;
}

/* How many letters are wrong, roughly: Levenshtein on short words. */
static int distance(const char *a, const char *b)
{
	int row[33], la = strlen(a), lb = strlen(b), i, j;

	if (la > 32 || lb > 32)
		return 99;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		int diag = row[0];

		row[0] = i;
		for (j = 1; j <= lb; j++) {
			int best = diag + (a[i - 1] != b[j - 1]);

			diag = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

/* Is @name closer to what was meant by @word than anything before? @best is 3 at first. */
bool closer(const char *word, const char *name, int *best)
{
	int d = distance(word, name);

	if (d >= *best)
		return false;
	*best = d;
	return true;
}

/* Run the command that argv[0] names exactly; suggest one if it is close to any. */
int dispatch(const struct command *cmds, const char *what, int argc, char **argv)
{
	const struct command *c, *close = NULL;
	int best = 3;

	if (!argc)
		return usage_error("%s: what?", what);
	for (c = cmds; c->name; c++) {
		if (!strcmp(c->name, argv[0]))
			return c->run(argc - 1, argv + 1);
		if (closer(argv[0], c->name, &best))
			close = c;
	}
	if (close)
		return usage_error("%s: '%s' is not known; did you mean '%s'?", what, argv[0],
				   close->name);
	return usage_error("%s: '%s' is not known", what, argv[0]);
}

int parse_size(const char *text, uint64_t *value)
{
	unsigned long long v;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || text[0] == '-')
		return -1;
	switch (*end) {
	case 'k': case 'K':
		shift = 10;
		end++;
		break;
	case 'm': case 'M':
		shift = 20;
		end++;
		break;
	case 'g': case 'G':
		shift = 30;
		end++;
		break;
	}
	if (*end || v > UINT64_MAX >> shift)
		return -1;
	*value = v << shift;
	return 0;
}

/* So many per second, at most @max: "100/s", "100" or "10M/s"; "none" is 0, any number. */
int parse_rate(const char *text, uint64_t max, uint64_t *value)
{
	char number[24];
	size_t n = strlen(text);

	*value = 0;
	if (!strcmp(text, "none"))
		return 0;
	if (n > 2 && !strcmp(text + n - 2, "/s"))
		n -= 2;
	if (n >= sizeof(number))
		return -1;
	snprintf(number, sizeof(number), "%.*s", (int)n, text);
	return parse_size(number, value) || !*value || *value > max ? -1 : 0;
}

/* An IP address in network order; returns its size, or 0 if it is none. */
size_t parse_ip(const char *text, void *addr)
{
	if (inet_pton(AF_INET, text, addr) == 1)
		return sizeof(struct in_addr);
	if (inet_pton(AF_INET6, text, addr) == 1)
		return sizeof(struct in6_addr);
	return 0;
}

/* "ADDRESS" or "ADDRESS/LENGTH"; what comes after the length is taken for zero. */
bool parse_prefix(const char *text, struct prefix *prefix)
{
	const char *slash = strchrnul(text, '/');
	char addr[INET6_ADDRSTRLEN];
	unsigned int len, i;

	memset(prefix, 0, sizeof(*prefix));
	if (slash - text >= (long)sizeof(addr))
		return false;
	snprintf(addr, sizeof(addr), "%.*s", (int)(slash - text), text);
	prefix->size = parse_ip(addr, prefix->addr);
	len = prefix->size * 8;
	if (*slash) {
		size_t n = strspn(slash + 1, "0123456789");

		if (!n || n > 3 || slash[1 + n])
			return false;
		len = atoi(slash + 1);
	}
	if (!prefix->size || len > prefix->size * 8u)
		return false;
	prefix->len = len;
	for (i = 0; i < prefix->size; i++, len -= len < 8 ? len : 8)
		if (len < 8)
			prefix->addr[i] &= ~(0xff >> len);
	return true;
}

/* The text has PREFIX_STRLEN bytes, and no length if that is all of the address. */
void prefix_text(const struct prefix *prefix, char *text)
{
	size_t n;

	inet_ntop(prefix->size == 4 ? AF_INET : AF_INET6, prefix->addr, text, INET6_ADDRSTRLEN);
	n = strlen(text);
	if (prefix->len < prefix->size * 8)
		snprintf(text + n, PREFIX_STRLEN - n, "/%u", prefix->len);
}

/* A word in quotes, of which *@in is the first: it may have blanks, \" and \\. */
static const char *unquote(char **in, char **out)
{
	char *from = *in + 1, *to = *out;

	for (; *from != '"'; from++) {
		if (*from == '\\' && from[1] != '"' && from[1] != '\\')
			return "a backslash in quotes that is before neither '\"' nor '\\'";
		if (*from == '\\')
			from++;
		if (!*from)
			return "a quote that does not end";
		*to++ = *from;
	}
	*in = from + 1;
	*out = to;
	return **in && !strchr(" \t#", **in) ? "something right behind a quote" : NULL;
}

/*
 * Split a line into words, in place; '#' begins a comment. Returns how many there are,
 * or -1 and what is wrong. @argv has room for @max of them and a NULL.
 */
int split_words(char *line, char **argv, int max, const char **wrong)
{
	char *in = line, *out = line;
	int argc = 0;

	for (;;) {
		in += strspn(in, " \t");
		if (!*in || *in == '#')
			break;
		if (argc == max) {
			*wrong = "too many words";
			return -1;
		}
		argv[argc++] = out;
		if (*in == '"') {
			*wrong = unquote(&in, &out);
			if (*wrong)
				return -1;
		} else {
			while (!strchr(" \t#\"", *in))
				*out++ = *in++;
			if (*in == '"') {
				*wrong = "a quote within a word";
				return -1;
			}
		}
		if (*in == '#')
			*in = 0;	/* before it is taken for the end of the word */
		else if (*in)
			in++;
		*out++ = 0;
	}
	argv[argc] = NULL;
	return argc;
}

static const struct command commands[] = {
	{ "line", do_line },
	{ "group", do_group },
	{ "trunk", do_trunk },
	{ "expose", do_expose },
	{ "policy", do_policy },
	{ "explain", do_explain },
	{ "show", do_show },
	{ "circuit", do_circuit },
	{ "stat", do_stat },
	{ "top", do_top },
	{ "monitor", do_monitor },
	{ "socks", do_socks },
	{ "redirect", do_redirect },
	{ "exec", do_exec },
	{}
};

static int batch(const char *name)
{
	FILE *f = strcmp(name, "-") ? fopen(name, "r") : stdin;
	char *line = NULL, *argv[64];
	int argc, ret = EXIT_OK, n = 0;
	size_t size = 0;

	if (!f)
		return usage_error("%s: %s", name, strerror(errno));
	while (!ret && getline(&line, &size, f) >= 0) {
		const char *wrong;

		n++;
		line[strcspn(line, "\n")] = 0;
		argc = split_words(line, argv, 63, &wrong);
		if (argc < 0)
			ret = usage_error("%s", wrong);
		else if (argc)
			ret = dispatch(commands, "circuit", argc, argv);
		if (ret)
			fprintf(stderr, "circuit: %s: line %d failed\n", name, n);
	}
	free(line);
	if (f != stdin)
		fclose(f);
	return ret;
}

static int enter_netns(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), strchr(name, '/') ? "%s" : "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET)) {
		fprintf(stderr, "circuit: network namespace %s: %s\n", name, strerror(errno));
		return EXIT_KERNEL;
	}
	close(fd);
	return 0;
}

/* NO_COLOR: see no-color.org */
static int want_color(const char *when)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	if (!strcmp(when, "always"))
		opt.color = true;
	else if (!strcmp(when, "never"))
		opt.color = false;
	else if (!strcmp(when, "auto"))
		opt.color = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") &&
			    !(no && *no);
	else
		return usage_error("--color: always, auto or never, not '%s'", when);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "pretty", no_argument, NULL, 'p' },
		{ "statistics", no_argument, NULL, 's' },
		{ "oneline", no_argument, NULL, 'o' },
		{ "timestamp", no_argument, NULL, 't' },
		{ "color", optional_argument, NULL, 'c' },
		{ "netns", required_argument, NULL, 'n' },
		{ "batch", required_argument, NULL, 'b' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	const char *file = NULL;
	int c;

	want_color("auto");
	while ((c = getopt_long(argc, argv, "+jpsotc::n:b:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			opt.json = true;
			break;
		case 'p':
			opt.pretty = true;
			break;
		case 's':
			opt.stats = true;
			break;
		case 'o':
			opt.oneline = true;
			break;
		case 't':
			opt.timestamp = true;
			break;
		case 'c':
			if (want_color(optarg ? optarg : "always"))
				return EXIT_USAGE;
			break;
		case 'n':
			if (enter_netns(optarg))
				return EXIT_KERNEL;
			break;
		case 'b':
			file = optarg;
			break;
		case 'V':
			printf("circuit %s\n", VERSION);
			return EXIT_OK;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			return usage_error("unknown option");
		}
	}
	argc -= optind;
	argv += optind;
	if (file)
		return batch(file);
	if (!argc) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[0], "help")) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	return dispatch(commands, "circuit", argc, argv);
}
