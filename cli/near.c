#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/near.h"

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: three rows of the usual table. */
static size_t
distance(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t row[3][NEAR_WORD_MAX + 1], i, j;

	for (j = 0; j <= blen; j++)
		row[0][j] = row[1][j] = row[2][j] = j;
	for (i = 1; i <= alen; i++) {
		size_t *now = row[i % 3];
		const size_t *up = row[(i + 2) % 3], *upup = row[(i + 1) % 3];

		now[0] = i;
		for (j = 1; j <= blen; j++) {
			now[j] = least(up[j] + 1, now[j - 1] + 1);
			now[j] =
			    least(now[j], up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				now[j] = least(now[j], upup[j - 2] + 1);
		}
	}
	return row[alen % 3][blen];
}

void
near_init(struct near *n, const char *word)
{
	n->word = word;
	n->best = NULL;
	n->least = strlen(word) > 3 ? 3 : 2; /* what is too far */
}

void
near_try(struct near *n, const char *word)
{
	const size_t a = strlen(n->word), b = strlen(word);
	size_t d;

	if (a == 0 || a > NEAR_WORD_MAX || b > NEAR_WORD_MAX)
		return;
	d = distance(n->word, a, word, b);
	/* with all its letters changed it is another word */
	if (d >= n->least || d >= b || d >= a)
		return;
	n->least = d;
	n->best = word;
}

void
near_text(const struct near *n, const char *before, char text[NEAR_TEXT_MAX])
{
	text[0] = '\0';
	if (n->best != NULL)
		(void)snprintf(text, NEAR_TEXT_MAX, " (did you mean %s%s?)",
		    before, n->best);
}
