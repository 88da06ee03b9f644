#ifndef MEWS_CLI_NEAR_H
#define MEWS_CLI_NEAR_H

#include <stddef.h>

/*
 * "Did you mean": of the words tried, the one that is fewest letters left
 * out, put in, changed or swapped with their neighbour away; only one that
 * may be a slip of the hand: one letter in a word of up to three, else two.
 */
#define NEAR_WORD_MAX 32 /* longer words are near to nothing */

struct near {
	const char *word;
	const char *best; /* NULL: none so far */
	size_t least;
};

void near_init(struct near *n, const char *word);
void near_try(struct near *n, const char *word);

/* " (did you mean BEFOREbest?)", or "". */
#define NEAR_TEXT_MAX 64
void near_text(
    const struct near *n, const char *before, char text[NEAR_TEXT_MAX]);

#endif
