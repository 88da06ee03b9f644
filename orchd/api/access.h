#ifndef MEWS_ACCESS_H
#define MEWS_ACCESS_H

#include "proto/api.h"
#include "proto/objects.h"

struct conn;
struct tenant;

/*
 * Who may do what: a caller's role in a tenant is looked up with each request,
 * so that it ends when his place there does.
 */
/* Who mews.conf or some tenant lists; else a stranger. */
enum api_role access_kind(const struct conn *c);
/* The number of the first tenant, by name, that he is in; 0: of none. */
int64_t access_tenant(const struct conn *c);
enum tenant_role access_role(const struct conn *c, const struct tenant *t);
/* The most that he is anywhere. */
enum tenant_role access_most(const struct conn *c);

#endif
