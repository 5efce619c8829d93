/* SPDX-License-Identifier: GPL-2.0 */
/* circuit(8): what its files share. */
#ifndef CIRCUIT_CLI_H
#define CIRCUIT_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <libmnl/libmnl.h>
#include <linux/circuit.h>
#include <linux/circuit_guest_netlink.h>
#include <linux/circuit_netlink.h>

/* Exit codes, as circuit(8) documents them. */
enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_KERNEL = 2 };

struct options {
	bool json;		/* -j */
	bool pretty;		/* -p */
	bool stats;		/* -s */
	bool oneline;		/* -o */
	bool timestamp;		/* -t */
	bool color;		/* -c, or a terminal */
};

extern struct options opt;

/* main.c */
int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};
int dispatch(const struct command *cmds, const char *what, int argc, char **argv);
bool closer(const char *word, const char *name, int *best);
int split_words(char *line, char **argv, int max, const char **wrong);
int parse_size(const char *text, uint64_t *value);
int parse_rate(const char *text, uint64_t max, uint64_t *value);

enum setting_kind {
	SETTING_NUMBER,		/* of 32 bits */
	SETTING_SIZE,		/* of 64 bits */
	SETTING_LIMIT,		/* the same, or "none" */
	SETTING_RATE,		/* 32 bits per second, or "none" */
	SETTING_COUNT,		/* of 32 bits, or "none" */
	SETTING_PERCENT,	/* 1 to 100, or "none" */
	SETTING_BYTE_RATE,	/* 64 bits per second, or "none" */
};

struct setting {
	const char *name;
	uint16_t attr;
	enum setting_kind kind;
};

const struct setting *setting_parse(const char *what, const struct setting *settings, int argc,
				    char **argv, uint64_t *value);
bool setting_is_u32(const struct setting *s);
void setting_put(struct nlmsghdr *nlh, const struct setting *s, uint64_t value);
size_t parse_ip(const char *text, void *addr);

/* IP addresses that have a beginning in common. */
struct prefix {
	uint8_t size;		/* of an address: 4 or 16; 0: there is no prefix */
	uint8_t len;		/* bits */
	uint8_t addr[16];	/* the rest is zero */
};
#define PREFIX_STRLEN	52
bool parse_prefix(const char *text, struct prefix *prefix);
void prefix_text(const struct prefix *prefix, char *text);

/* nl.c */
struct nl_family {
	const char *name;
	uint8_t version;
	const char *missing;	/* what to say if it is not there */
	uint16_t id;
};
extern struct nl_family nl_operator, nl_guest;
struct nlmsghdr *nl_request(struct nl_family *family, uint8_t cmd, uint16_t flags);
int nl_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *data);
int nl_try(struct nlmsghdr *nlh, mnl_cb_t cb, void *data);
void nl_complain(const char *about);
uint32_t nl_failure_offset(void);
void nl_restart(void);
bool nl_there(struct nl_family *family);
int nl_listen(const char *const *groups, size_t n, mnl_cb_t cb, void *data);
const char *nl_addr(const struct nlattr *a, char *text);
bool nl_get_prefix(const struct nlattr *nest, struct prefix *prefix);
void nl_put_prefix(struct nlmsghdr *nlh, uint16_t attr, const struct prefix *prefix);
void nl_parse(const struct nlmsghdr *nlh, const struct nlattr **tb, int max);
void nl_parse_nested(const struct nlattr *nest, const struct nlattr **tb, int max);
static inline uint32_t nl_u32(const struct nlattr *a) { return a ? mnl_attr_get_u32(a) : 0; }
static inline uint64_t nl_u64(const struct nlattr *a) { return a ? mnl_attr_get_u64(a) : 0; }
static inline const char *nl_str(const struct nlattr *a) { return a ? mnl_attr_get_str(a) : ""; }

/* out.c: one path for text and JSON */
void out_begin(void);
void out_end(void);
void out_open(void);
void out_close(void);
void out_open_named(const char *key);
void out_close_named(void);
void out_list(const char *key);
void out_list_end(void);
void out_item(const char *text, const char *value);
void out_str(const char *key, const char *text, const char *value);
void out_name(const char *key, const char *text, const char *value);
void out_state(const char *key, const char *text, const char *value);
void out_u64(const char *key, const char *text, uint64_t value);
void out_size(const char *key, const char *text, uint64_t value);
void out_bool(const char *key, const char *text, bool value);
void out_json_only_u64(const char *key, uint64_t value);
void out_json_only_str(const char *key, const char *value);
void out_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_unit(const char *unit);
void out_newline(void);
enum out_style { OUT_PLAIN, OUT_NAME, OUT_GOOD, OUT_BAD, OUT_DIM, OUT_REVERSE };
const char *out_code(enum out_style style);
enum out_style state_style(const char *state);
const char *line_state_name(uint32_t state);
const char *circuit_state_name(uint32_t state);
const char *event_name(uint32_t event);
const char *reason_name(uint32_t reason);

/* setups.c */
struct setups {
	uint64_t count[CIRCUIT_SETUPS];
};
#define TIME_STRLEN	16
void setups_get(const struct nlattr *a, struct setups *s);
uint64_t setups_floor(unsigned int i);
uint64_t setups_total(const struct setups *s);
uint64_t setups_quantile(const struct setups *s, unsigned int per_mille);
void setups_sub(struct setups *s, const struct setups *before);
struct times {
	uint64_t count[CIRCUIT_TIMES];
};
void times_get(const struct nlattr *a, struct times *t);
uint64_t times_total(const struct times *t);
uint64_t times_quantile(const struct times *t, unsigned int per_mille);
void times_sub(struct times *t, const struct times *before);
const char *time_text(uint64_t ns, char *text);

/* line.c, show.c: what others print, too */
void print_waited(const struct nlattr *attr);
void print_cpu(const struct nlattr *total, const struct nlattr **uses);
void print_line_counters(const struct nlattr **tb);
void print_byte_rate(const char *key, const char *text, const struct nlattr *attr);
#define END_STRLEN	96
void end_text(const struct nlattr **tb, char *text);

/* one file per object */
int do_line(int argc, char **argv);
int do_line_run(int argc, char **argv);
int do_group(int argc, char **argv);
int do_trunk(int argc, char **argv);
int do_expose(int argc, char **argv);
int do_policy(int argc, char **argv);
int do_explain(int argc, char **argv);
int do_show(int argc, char **argv);
int do_circuit(int argc, char **argv);
int circuit_capture(int argc, char **argv);
int do_stat(int argc, char **argv);
int do_top(int argc, char **argv);
int do_monitor(int argc, char **argv);
int do_socks(int argc, char **argv);
int do_redirect(int argc, char **argv);
int redirect_cgroup(uint8_t cmd, const char *path, bool quiet);
const char *cgroup_mount(void);
int do_exec(int argc, char **argv);

#endif
