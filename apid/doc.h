#ifndef MEWS_APID_DOC_H
#define MEWS_APID_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jbuf;
struct table;

/*
 * orchd's documents into what clients read.  The bytes are checked as if a
 * stranger had sent them: orchd may have been taken over.  0, or a negative
 * errno: -EBADMSG for what no honest orchd sends.
 */

/* API_DOC_OBJECT or, with list, API_DOC_LIST, of t.  Appends JSON. */
int doc_json(const struct table *t, bool list, const void *buf, size_t len,
    struct jbuf *b);
/*
 * API_DOC_EVENTS.  Appends the text of server-sent events.  *after is the
 * last number the client has seen; the new ones must be larger, and it moves
 * along.  API_NOW: any will do.
 */
int doc_events(const void *buf, size_t len, uint64_t *after, struct jbuf *b);

#endif
