#ifndef MEWS_CONF_INT_H
#define MEWS_CONF_INT_H

#include <confuse.h>
#include <stdbool.h>

#include "mewsd/conf.h"

#define CONF_CONNS_MIN 4U /* API connections: fewer serve nobody */

/*
 * One key of mews.conf: its default, its bounds, and where it goes.  set()
 * checks the value on its own; what several keys must be together is
 * conf_check()'s.
 */
struct conf_key {
	const char *name;
	/* 0 or a negative errno, told in e */
	int (*set)(cfg_t *cfg, const struct conf_key *k, struct conf *c,
	    struct err *e);
	size_t off; /* of what it sets in struct conf, for shared setters */
	cfg_type_t type; /* CFGT_STR or CFGT_INT */
	bool list;
	const char *text; /* default of a CFGT_STR */
	long num; /* default of a CFGT_INT */
	long min; /* of a CFGT_INT; a list's length is at most max */
	long max;
	const char *const *words; /* of a choice, to the first NULL */
};

/* conf_keys.c */
extern const struct conf_key conf_keys[];
extern const size_t conf_nkeys;
/* A user by number ("gid" is then the same) or by name. */
int conf_user(
    const char *key, const char *text, struct room_user *ret, struct err *e);

/* conf_scan.c: where keys are set. */
#define CONF_KEY_MAX 40
struct conf_lines {
	size_t n;
	struct {
		char key[CONF_KEY_MAX];
		unsigned int line;
	} at[128]; /* one that is set later has no line in messages */
};
/* What libconfuse would not refuse is refused here, with file and line. */
int conf_scan(
    const char *path, const char *text, struct conf_lines *ret, struct err *e);
/* Puts file and line before a message that begins with a key's name. */
void conf_locate(const char *path, const struct conf_lines *l, struct err *e);

/* conf_host.c: whether anybody of this host has uids of the range. */
int conf_host_uids(const struct uids *u, struct err *e);
/* Whether anybody but root could replace what is in it.  One that is not there
 * is fine. */
int conf_host_dir(const char *dir, struct err *e);

/* conf_check.c: dir and sub as one absolute path; what names it in errors. */
int conf_path(const char *what, const char *dir, const char *sub,
    char ret[BOOT_PATH_MAX], struct err *e);
/* What follows from the keys, and whether they go together. */
int conf_check(struct conf *c, const char *root, struct err *e);

#endif
