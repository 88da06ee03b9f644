#ifndef MEWS_ALLOC_H
#define MEWS_ALLOC_H

#include <stdint.h>

struct orchd;

/* What a new VM gets.  -ENOSPC when there is none left, -ENOMEM. */
int alloc_slot(const struct orchd *o, uint32_t *ret);
/* The lowest free address with which a VM of that name has a MAC that nobody
 * has, and that MAC. */
int alloc_address(
    const struct orchd *o, const char *name, uint32_t *ipv4, uint8_t mac[6]);
uint64_t alloc_vmid(struct orchd *o);

/*
 * What helpers hold and no row knew is known now: what was given of it to a VM
 * of which nothing is held yet, that VM has in another place.
 */
void alloc_make_way(struct orchd *o);

#endif
