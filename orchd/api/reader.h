#ifndef MEWS_READER_H
#define MEWS_READER_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct orchd;

/* Readers of events: each is answered with what comes next, or parked. */

/*
 * The request of c under way asks for what comes after a number; at_once: it
 * is not parked where there is nothing yet.  API_NOW is the last number on
 * the disk: one that is only given may never get there, or come again for
 * another event.  0, or the store cannot be read (nothing was answered).
 */
int reader_ask(struct conn *c, uint64_t after, bool at_once);
/* New events are on the disk: parked readers get them. */
void reader_wake(struct orchd *o);

#endif
