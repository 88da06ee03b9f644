#ifndef MEWS_CLI_COLUMN_H
#define MEWS_CLI_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/objects.h"

struct err;

/*
 * What can be shown of a VM by a word: for --format and --filter of
 * `mews ps`, and for its table.  Texts are the API's: escape them (esc.h).
 */
#define COLUMN_TEXT_MAX 3200 /* the kernel's arguments are the longest */

struct column {
	const char *name;
	/* now is in ns since 1970 */
	void (*text)(
	    const struct vm_view *vm, int64_t now, char *buf, size_t cap);
};
extern const struct column columns[]; /* the last has no name */

/* By the first len bytes of name.  NULL with e, which names them all. */
const struct column *column_find(const char *name, size_t len, struct err *e);

/* "{name} {ip}", with \t, \n and \\; -EINVAL with e where it is none. */
int column_check(const char *format, struct err *e);
/* One VM by a format that was checked, escaped, and a line feed. */
void column_print(
    FILE *to, const char *format, const struct vm_view *vm, int64_t now);

/*
 * COLUMN=PATTERN, with * and ? as a shell has them.  Filters of one column
 * are alternatives, those of several must all fit.
 */
#define FILTERS_MAX 32
struct filters {
	size_t n;
	struct {
		const struct column *column;
		const char *pattern; /* the caller's */
	} v[FILTERS_MAX];
};
int column_filter_add(struct filters *f, const char *text, struct err *e);
bool column_filter_has(const struct filters *f, const char *name);
bool column_filter_fits(
    const struct filters *f, const struct vm_view *vm, int64_t now);

#endif
