#ifndef MEWS_JBUF_H
#define MEWS_JBUF_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Text that grows up to a stated maximum.  The first failure (-ENOMEM, or
 * -EMSGSIZE at the maximum) stays in r and later calls do nothing, so a
 * writer may check once at the end.  What it held is wiped when it grows
 * and when it is freed: answers may carry secrets.
 */
struct jbuf {
	char *p; /* len bytes and a NUL, or NULL while empty */
	size_t len, cap, max;
	int r;
	bool plain; /* see jbuf_str() */
};

void jbuf_init(struct jbuf *b, size_t max);
void jbuf_free(struct jbuf *b); /* and ready for use again, plain or not */

void jbuf_raw(struct jbuf *b, const char *s, size_t len);
void jbuf_text(struct jbuf *b, const char *s);
void jbuf_int(struct jbuf *b, long long v);
/*
 * A JSON string with its quotes.  <, >, & and U+2028, U+2029 are escaped as
 * Go's encoder does, so an answer is safe inside a script element; a byte
 * that is not UTF-8 becomes U+FFFD.  Where plain is set nothing is escaped but
 * what JSON does not allow (RFC 8259, 7), as shortly as it can be: for what no
 * browser reads and has a limit of bytes.
 */
void jbuf_str(struct jbuf *b, const char *s, size_t len);

#endif
