#ifndef MEWS_LAUNCHD_REASON_H
#define MEWS_LAUNCHD_REASON_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* The first one given stays.  detail may come out of a jail (it is made one
 * line of printable ASCII) and may be NULL. */
void reason_set(struct vm *v, uint32_t reason, const char *detail);
/* How its end is called, once all witnesses were heard. */
void reason_find(struct vm *v);
/*
 * Was it the kernel, for want of memory?  It picks the largest process, so
 * mostly the hypervisor; a keeper that says nothing may have been picked too.
 */
bool reason_may_be_oom(const struct vm *v);

#endif
