#ifndef MEWS_CLI_ESC_H
#define MEWS_CLI_ESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Text from a stranger, made safe to show.  What could move the cursor,
 * change colours, answer as if typed, or turn the reading direction comes
 * out as \xNN or \uNNNN; so does every byte that is no UTF-8.  Nothing else
 * is changed, and any split of the same bytes comes out the same.
 */
#define ESC_LINES 0x1U /* line feed and tab pass; CR before LF is left out */
#define ESC_JSON 0x2U /* for JSON: only \uNNNN, and line feeds pass */

/* One byte in is at most this many out. */
#define ESC_GROWTH 6

struct esc {
	unsigned int flags;
	size_t held; /* of a character that is not whole yet, or a CR */
	char hold[4];
};

void esc_init(struct esc *e, unsigned int flags);
/* out has room for (len + 4) * ESC_GROWTH bytes.  Returns how many. */
size_t esc_feed(struct esc *e, const char *in, size_t len, char *out);
/* No more comes: what was held. */
size_t esc_end(struct esc *e, char *out);

/* A whole text into dst, always with a NUL; cut where cap ends. */
void esc_text(char *dst, size_t cap, const char *text);
/* A whole text, malloc'ed, with NUL; NULL without memory. */
char *esc_dup(const char *text, size_t len, unsigned int flags);

/* Must this character be shown as its number? */
bool esc_is_bad(uint32_t cp);

#endif
