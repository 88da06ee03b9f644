#ifndef MEWS_CLI_ENV_H
#define MEWS_CLI_ENV_H

#include <stddef.h>
#include <stdint.h>

#include "proto/table.h"

struct err;

/*
 * What -e and --env-file collect: NAME=VALUE, the last one of a name counts.
 * env_clear() wipes: these are secrets.
 */
#define ENV_FILE_MAX ((size_t)1 << 20)
/* NAME=VALUE: Linux' own limit of a word, CMD_WORD_MAX. */
#define ENV_LINE_MAX ((size_t)131071)

struct env {
	size_t n;
	char *v[256]; /* ENV_MAX of them */
};

/*
 * "NAME=VALUE", or "NAME": the value is this process's own.  A name is
 * letters, digits and '_', no digit first.  0 or a negative errno with e,
 * which never holds a value.
 */
int env_add(struct env *env, const char *text, struct err *e);
/* Lines of those; blank ones and those that begin with # are left out. */
int env_parse(struct env *env, const char *file, const char *text, size_t len,
    struct err *e);
int env_file(struct env *env, const char *path, struct err *e);
/* Into an object's list, at most so many bytes; strs_clear() is the caller's.
 */
int env_strs(
    const struct env *env, uint32_t max, struct strs *ret, struct err *e);
void env_clear(struct env *env);

#endif
