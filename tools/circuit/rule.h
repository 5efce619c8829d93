/* SPDX-License-Identifier: GPL-2.0 */
/* Rules of the policy: read from words, written as text and JSON, and in messages. */
#ifndef CIRCUIT_RULE_H
#define CIRCUIT_RULE_H

#include "circuit.h"

#define RULE_COMMENT_MAX	127	/* bytes */
#define RULE_STRLEN		1024	/* no rule's text is as long */
#define RULE_WORDS		63	/* nor has it as many words */
#define RULE_WRONG		200	/* room for what is wrong with one */

enum who { WHO_ANYBODY, WHO_LINE, WHO_GROUP };

/* One side of what a rule is about. */
struct party {
	enum who who;
	char name[CIRCUIT_NAME_SIZE];
	struct prefix prefix;
};

struct rule {
	uint32_t verdict;
	char trunk[CIRCUIT_NAME_SIZE];
	uint32_t error;				/* 0: what the operator takes */
	uint32_t ops, types, to;		/* bits; 0: all */
	struct party from, dst;
	bool has_port, has_uid, has_cgroup, log;
	uint32_t port_min, port_max;
	uint32_t uid;
	uint64_t cgroup;
	uint32_t ring, calls;			/* 0: no limit */
	uint64_t bytes;				/* likewise */
	char comment[RULE_COMMENT_MAX + 1];	/* "": none */

	/* of one that is in force */
	uint32_t nr;
	uint64_t hits, limited, waits;

	/* of one to be */
	unsigned int line;			/* of the file that it is from, or 0 */
	uint32_t offset;			/* in the message that it went with */
};

bool parse_number(const char *text, uint64_t max, uint64_t *value);
bool name_ok(const char *name);
const char *errno_name(uint32_t error);
const char *verdict_name(uint32_t verdict);
const char *op_name(unsigned int op);
const char *type_name(unsigned int type);
const char *place_name(unsigned int place);
int find_type(const char *name);

bool rule_parse(struct rule *rule, int argc, char **argv, char *wrong);
void rule_text(const struct rule *rule, char *text);
void rule_json(const struct rule *rule, bool live);
void rule_put(struct nlmsghdr *nlh, uint16_t attr, struct rule *rule);
bool rule_get(const struct nlattr *nest, struct rule *rule);

#endif
