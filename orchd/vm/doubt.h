#ifndef MEWS_DOUBT_H
#define MEWS_DOUBT_H

#include <stdbool.h>
#include <stddef.h>

struct vm;

/*
 * What a VM is by the store and what its helper has seen of it lately are two
 * things: after a restart it is not known for a moment, or for longer, whether
 * it runs.  Then that is what a caller hears, with what can be done, and never
 * that it does not run.
 */
/* True: words for a person in ret. */
bool doubt_words(const struct vm *vm, char *ret, size_t len);
/* The same, also while no launcher is there at all. */
bool doubt_now(const struct vm *vm, char *ret, size_t len);
/* Of one that is broken: why, and what is left to do. */
void doubt_broken(const struct vm *vm, char *ret, size_t len);

#endif
