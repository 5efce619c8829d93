// SPDX-License-Identifier: GPL-2.0
/*
 * circuit top: lines, or circuits, and what they are doing now.
 *
 * Everything is read twice and the difference shown. On a terminal the screen is kept up
 * to date and keys choose what is shown; otherwise one table follows another.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "circuit.h"

enum { COLUMNS = 10, NAME_WIDTH = 40 };

/* A line or a circuit: what is shown of it as it is, and what it had done by then. */
struct row {
	uint64_t id;
	char name[96];
	const char *state;
	uint64_t now[3];		/* circuits, pending, memory; or age, queued, queued */
	uint64_t done[4];		/* bytes there, bytes back, calls, refused */
	uint64_t cpu;
	struct setups setups;
	struct times queued;
	double value[COLUMNS];		/* per second, or as it is */
};

struct table {
	struct row *rows;
	size_t n, room;
};

/* What is shown of lines and of circuits, and which key sorts by it, the greatest first. */
struct column {
	const char *head;
	char key;
	enum { RATE, BYTES, COUNT, PERCENT, TIME, AGE } kind;
};

static const struct column line_columns[COLUMNS] = {
	{ "out/s", 'o', BYTES },
	{ "in/s", 'i', BYTES },
	{ "calls/s", 'n', RATE },
	{ "refused/s", 'r', RATE },
	{ "cpu%", 'u', PERCENT },
	{ "p99", 'p', TIME },
	{ "circuits", 't', COUNT },
	{ "pending", 'w', COUNT },
	{ "memory", 'm', BYTES },
	{ "queue", 'e', TIME },		/* how long work for it has waited, 99 % of it */
};

static const struct column circuit_columns[COLUMNS] = {
	{ "there/s", 'o', BYTES },
	{ "back/s", 'i', BYTES },
	{ "queued", 'w', BYTES },
	{ "queued", 'b', BYTES },
	{ "age", 'a', AGE },
};

static struct {
	bool circuits;
	unsigned int sort;		/* which column */
	double delay;
	long count;			/* tables to come, -1: no end */
} top = { .delay = 1, .count = -1 };

static struct table tables[2];		/* the last reading, and the one before it */

static const struct column *columns(void)
{
	return top.circuits ? circuit_columns : line_columns;
}

static struct row *add_row(struct table *t)
{
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->rows = realloc(t->rows, t->room * sizeof(*t->rows));
		if (!t->rows) {
			fprintf(stderr, "circuit: top: %s\n", strerror(errno));
			exit(EXIT_KERNEL);
		}
	}
	memset(&t->rows[t->n], 0, sizeof(*t->rows));
	return &t->rows[t->n++];
}

static int read_line(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_LINE_MAX + 1];
	struct row *row = add_row(data);

	nl_parse(nlh, tb, CIRCUIT_A_LINE_MAX);
	row->id = nl_u32(tb[CIRCUIT_A_LINE_ID]);
	snprintf(row->name, sizeof(row->name), "%s", nl_str(tb[CIRCUIT_A_LINE_NAME]));
	row->state = line_state_name(nl_u32(tb[CIRCUIT_A_LINE_STATE]));
	row->now[0] = nl_u32(tb[CIRCUIT_A_LINE_CIRCUITS]);
	row->now[1] = nl_u32(tb[CIRCUIT_A_LINE_PENDING]);
	row->now[2] = nl_u64(tb[CIRCUIT_A_LINE_MEMORY]);
	row->done[0] = nl_u64(tb[CIRCUIT_A_LINE_BYTES_OUT]);
	row->done[1] = nl_u64(tb[CIRCUIT_A_LINE_BYTES_IN]);
	row->done[2] = nl_u64(tb[CIRCUIT_A_LINE_CALLS_OUT]);
	row->done[3] = nl_u64(tb[CIRCUIT_A_LINE_CALLS_REFUSED]);
	row->cpu = nl_u64(tb[CIRCUIT_A_LINE_CPU_TIME]);
	setups_get(tb[CIRCUIT_A_LINE_SETUPS], &row->setups);
	times_get(tb[CIRCUIT_A_LINE_QUEUED], &row->queued);
	return MNL_CB_OK;
}

static int read_circuit(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CIRCUIT_A_CIRCUIT_MAX + 1], *end[CIRCUIT_A_END_MAX + 1];
	struct row *row = add_row(data);
	char text[2][END_STRLEN];
	int i;

	nl_parse(nlh, tb, CIRCUIT_A_CIRCUIT_MAX);
	row->id = nl_u64(tb[CIRCUIT_A_CIRCUIT_ID]);
	row->state = circuit_state_name(nl_u32(tb[CIRCUIT_A_CIRCUIT_STATE]));
	row->now[0] = nl_u64(tb[CIRCUIT_A_CIRCUIT_AGE]);
	for (i = 0; i < 2; i++) {
		nl_parse_nested(tb[i ? CIRCUIT_A_CIRCUIT_CALLED : CIRCUIT_A_CIRCUIT_CALLER], end,
				CIRCUIT_A_END_MAX);
		end_text(end, text[i]);
		row->done[i] = nl_u64(end[CIRCUIT_A_END_BYTES]);
		row->now[1 + i] = nl_u32(end[CIRCUIT_A_END_QUEUED]);
	}
	snprintf(row->name, sizeof(row->name), "%llu %.40s > %.40s", (unsigned long long)row->id,
		 text[0], text[1]);
	return MNL_CB_OK;
}

static int by_id(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_value(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double d = y->value[top.sort] - x->value[top.sort];

	return d < 0 ? -1 : d > 0 ? 1 : by_id(a, b);
}

/* What a row has done since the last reading, in @s seconds. */
static void row_values(struct row *row, const struct row *before, double s)
{
	struct setups setups = row->setups;
	struct times queued = row->queued;
	double rate[4] = {}, cpu = 0;
	int i;

	/* Numbers are used again: it may be another one. */
	if (before && strcmp(before->name, row->name))
		before = NULL;
	for (i = 0; before && i < 4; i++)	/* a guest may count backwards */
		rate[i] = row->done[i] > before->done[i] ? (row->done[i] - before->done[i]) / s : 0;
	if (before) {
		cpu = (row->cpu - before->cpu) / s / 1e7;
		setups_sub(&setups, &before->setups);
		times_sub(&queued, &before->queued);
	}
	row->value[0] = rate[0];
	row->value[1] = rate[1];
	if (top.circuits) {
		row->value[2] = row->now[1];
		row->value[3] = row->now[2];
		row->value[4] = row->now[0];
		return;
	}
	row->value[2] = rate[2];
	row->value[3] = rate[3];
	row->value[4] = cpu;
	row->value[5] = before ? setups_quantile(&setups, 990) : 0;
	row->value[6] = row->now[0];
	row->value[7] = row->now[1];
	row->value[8] = row->now[2];
	row->value[9] = before ? times_quantile(&queued, 990) : 0;
}

static int read_all(void)
{
	struct table old = tables[1];
	int ret, tries;

	tables[1] = tables[0];
	tables[0] = old;
	for (tries = 0; tries < 10; tries++) {
		tables[0].n = 0;
		ret = nl_try(nl_request(&nl_operator, top.circuits ? CIRCUIT_CMD_CIRCUIT_GET :
					CIRCUIT_CMD_LINE_GET, NLM_F_DUMP),
			     top.circuits ? read_circuit : read_line, &tables[0]);
		/* Something came or went meanwhile. */
		if (!ret || errno != EINTR)
			break;
		nl_restart();
	}
	if (tables[0].n)
		qsort(tables[0].rows, tables[0].n, sizeof(struct row), by_id);
	return ret;
}

static void compare(double s)
{
	struct row *before;
	size_t i;

	if (tables[1].n)
		qsort(tables[1].rows, tables[1].n, sizeof(struct row), by_id);
	for (i = 0; i < tables[0].n; i++) {
		before = tables[1].n ? bsearch(&tables[0].rows[i], tables[1].rows, tables[1].n,
					       sizeof(struct row), by_id) : NULL;
		row_values(&tables[0].rows[i], before, s);
	}
	if (tables[0].n)
		qsort(tables[0].rows, tables[0].n, sizeof(struct row), by_value);
}

/* A number with three digits; @unit is 1000 or 1024. */
static void short_number(double v, double unit, char *text, size_t size)
{
	static const char units[] = " kMGTP";
	int i = 0;

	for (; v >= 999.5 && i < 5; i++)
		v /= unit;
	snprintf(text, size, "%.*f%c", v && v < 9.995 && i ? 1 : 0, v, units[i]);
}

static void print_value(const struct column *col, double v)
{
	char text[24];

	switch (col->kind) {
	case RATE:
	case COUNT:
		short_number(v, 1000, text, sizeof(text));
		break;
	case BYTES:
		short_number(v, 1024, text, sizeof(text));
		break;
	case PERCENT:
		snprintf(text, sizeof(text), "%.1f ", v);
		break;
	case TIME:
		if (v)
			time_text(v, text);
		else
			strcpy(text, "-");
		break;
	case AGE:
		snprintf(text, sizeof(text), "%.1fs", v / 1000);
		break;
	}
	printf(" %9s", text);
}

static void print_table(bool screen)
{
	struct winsize size = { .ws_row = 24 };
	const struct column *col;
	double sum[2] = {};
	char text[2][24];
	size_t i;

	if (screen) {
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
		printf("\033[H\033[J");
	}
	for (i = 0; i < tables[0].n; i++) {
		sum[0] += tables[0].rows[i].value[0];
		sum[1] += tables[0].rows[i].value[1];
	}
	for (i = 0; i < 2; i++) {
		short_number(sum[i], 1024, text[i], sizeof(text[i]));
		text[i][strcspn(text[i], " ")] = 0;
	}
	printf("%zu %s, %s/s %s, %s/s %s%s\n", tables[0].n, top.circuits ? "circuits" : "lines",
	       text[0], top.circuits ? "there" : "out", text[1], top.circuits ? "back" : "in",
	       screen ? "   (q quit, l lines, c circuits; a letter below sorts)" : "");
	printf("%s%-*s %-9s", out_code(screen ? OUT_REVERSE : OUT_PLAIN), NAME_WIDTH,
	       top.circuits ? "circuit" : "line", "state");
	for (col = columns(); col < columns() + COLUMNS && col->head; col++) {
		if (screen)
			snprintf(text[0], sizeof(text[0]), "%s[%c]", col->head, col->key);
		else
			snprintf(text[0], sizeof(text[0]), "%s", col->head);
		printf(" %9.12s", text[0]);
	}
	printf("%s\n", out_code(OUT_PLAIN));
	for (i = 0; i < tables[0].n && (!screen || i + 3 < size.ws_row); i++) {
		const struct row *row = &tables[0].rows[i];

		printf("%-*.*s %s%-9s%s", NAME_WIDTH, NAME_WIDTH, row->name,
		       out_code(state_style(row->state)), row->state, out_code(OUT_PLAIN));
		for (col = columns(); col < columns() + COLUMNS && col->head; col++)
			print_value(col, row->value[col - columns()]);
		putchar('\n');
	}
	fflush(stdout);
}

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* Act upon a key; returns true if the screen is to be read anew. */
static bool key(char c)
{
	const struct column *col;

	if (c == 'q')
		stop = 1;
	if ((c == 'l' && top.circuits) || (c == 'c' && !top.circuits)) {
		top.circuits = c == 'c';
		top.sort = 0;
		tables[0].n = tables[1].n = 0;
		return true;
	}
	for (col = columns(); col < columns() + COLUMNS && col->head; col++)
		if (col->key == c)
			top.sort = col - columns();
	return c == ' ';
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Wait until it is time for the next reading, or a key says so. */
static void wait_next(double until, bool screen)
{
	struct pollfd p = { .fd = screen ? STDIN_FILENO : -1, .events = POLLIN };
	double left;
	char c;

	while (!stop && (left = until - seconds()) > 0) {
		if (poll(&p, 1, left * 1000 + 1) <= 0)
			continue;
		if (read(STDIN_FILENO, &c, 1) != 1) {
			stop = 1;
			return;
		}
		if (key(c))
			return;
		qsort(tables[0].rows, tables[0].n, sizeof(struct row), by_value);
		print_table(screen);
	}
}

static int run(bool screen)
{
	double last = seconds(), now;
	int ret = read_all();

	while (!ret && !stop && top.count) {
		wait_next(last + top.delay, screen);
		if (stop)
			break;
		now = seconds();
		ret = read_all();
		if (ret)
			break;
		compare(now - last > 0.001 ? now - last : 0.001);
		last = now;
		print_table(screen);
		if (top.count > 0)
			top.count--;
	}
	return ret;
}

static struct termios saved;

static void leave_terminal(void)
{
	printf("\033[?25h\033[?7h\033[?1049l");
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static int on_terminal(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct termios raw;

	tcgetattr(STDIN_FILENO, &saved);
	raw = saved;
	raw.c_lflag &= ~(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	atexit(leave_terminal);
	printf("\033[?1049h\033[?7l\033[?25l");	/* another screen, cut lines, no cursor */
	return run(true);
}

static int set_sort(const char *name)
{
	const struct column *col;

	for (col = columns(); col < columns() + COLUMNS && col->head; col++) {
		if (!strcmp(col->head, name)) {
			top.sort = col - columns();
			return EXIT_OK;
		}
	}
	return usage_error("top: there is no column '%s'", name);
}

int do_top(int argc, char **argv)
{
	const char *sort = NULL;
	char *end;
	int ret;

	if (opt.json)
		return usage_error("top: no JSON; see 'circuit -j stat'");
	for (; argc; argc--, argv++) {
		if (!strcmp(argv[0], "lines")) {
			top.circuits = false;
			continue;
		}
		if (!strcmp(argv[0], "circuits")) {
			top.circuits = true;
			continue;
		}
		if (argc < 2)
			return usage_error("top: %s needs a value, or is not known", argv[0]);
		if (!strcmp(argv[0], "sort")) {
			sort = argv[1];
		} else if (!strcmp(argv[0], "delay")) {
			top.delay = strtod(argv[1], &end);
			if (*end || !(top.delay >= 0.1 && top.delay <= 3600))
				return usage_error("top: delay: from 0.1 to 3600 seconds");
		} else if (!strcmp(argv[0], "count")) {
			top.count = strtol(argv[1], &end, 10);
			if (*end || top.count < 1)
				return usage_error("top: count: a number, from 1");
		} else {
			return usage_error("top: '%s' is not known", argv[0]);
		}
		argc--;
		argv++;
	}
	if (sort && set_sort(sort))
		return EXIT_USAGE;
	ret = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? on_terminal() : run(false);
	if (ret)
		nl_complain("");
	return ret;
}
