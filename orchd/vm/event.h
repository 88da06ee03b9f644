#ifndef MEWS_ORCHD_EVENT_H
#define MEWS_ORCHD_EVENT_H

#include <stdint.h>

struct note;
struct txn;
struct vm;

/* Adds an event of the VM to t; its number is taken at once and returned. */
uint64_t event_vm(struct txn *t, const struct vm *vm, const struct note *n);

#endif
