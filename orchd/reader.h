#ifndef MEWS_READER_H
#define MEWS_READER_H

#include <stdint.h>

struct conn;
struct orchd;

/* Readers of events: each is answered with what comes next, or parked. */

/* The request of c under way asks for what comes after a number.  0, or the
 * store cannot be read (nothing was answered). */
int reader_ask(struct conn *c, uint64_t after);
/* New events are on the disk: parked readers get them. */
void reader_wake(struct orchd *o);

#endif
