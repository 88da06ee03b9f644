#ifndef MEWS_STREAM_H
#define MEWS_STREAM_H

#include <stdbool.h>

struct object;
struct stream_ask;
struct vm;

/* A request for a stream of vm, which is stored: it is answered now, with one
 * or with why not, or waits in vm->queue. */
void stream_ask(struct vm *vm, const struct stream_ask *a);
/* Nothing keeps it from having one now, but how many there are. */
bool stream_fits(const struct vm *vm, const struct stream_ask *a);
/* From the turn: those who wait get what has become free, or hear that they
 * will not. */
void stream_serve(struct object *obj);

#endif
