#ifndef MEWS_CHOOSE_H
#define MEWS_CHOOSE_H

#include <stdbool.h>

#include "proto/objects.h"

struct req;
struct tenant;

/*
 * The tenant that a request is about: the one it names, else the caller's own:
 * the default one, if he is in it, else the only one that he is in.  NULL:
 * answered; one that he is not in is as one that is not there.
 */
struct tenant *choose_tenant(const struct req *r, enum tenant_role *role);
/*
 * The tenant that a request's path names.  False: answered; a host admin's is
 * NULL if there is none, because a retry is about one that may be gone.
 */
bool choose_named(
    const struct req *r, struct tenant **ret, enum tenant_role *role);
/* 404: there is no such tenant for him. */
void choose_none(const struct req *r, const char *name);
/* 403: he is less than that, with what he is. */
void choose_refuse(const struct req *r, enum tenant_role least);

#endif
