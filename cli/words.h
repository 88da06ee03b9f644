#ifndef MEWS_CLI_WORDS_H
#define MEWS_CLI_WORDS_H

#include <stddef.h>

struct err;

/*
 * The API's fields by the names that a caller of this program knows them by.
 * A row counts where the field stands before ':' or '[', and one with a '_',
 * which no other word has, anywhere.
 */
struct word {
	const char *field, *ours; /* the last row has no field */
};
extern const struct word words_run[], words_exec[];

/* Rewrites e's text. */
void words_ours(const struct word *words, struct err *e);

#endif
