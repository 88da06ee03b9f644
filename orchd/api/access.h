#ifndef MEWS_ACCESS_H
#define MEWS_ACCESS_H

#include "proto/api.h"
#include "proto/objects.h"

struct access_in;
struct conn;
struct tenant;

/*
 * Who may do what: a caller's role in a tenant is looked up with each request,
 * so that it ends when his place there does.
 */
/*
 * Who mews.conf or some tenant lists; else a stranger.  *tenant: of whom
 * mews.conf does not list, the number of that tenant of his whose people have
 * the fewest connections now, of several the first by name; 0: none.  Whoever
 * lists him in one more takes nothing from him.
 */
enum api_role access_kind(const struct conn *c, int64_t *tenant);
enum tenant_role access_role(const struct conn *c, const struct tenant *t);
/* The tenants that he is in.  c remembers that, so that not each request looks
 * at all that there are. */
const struct access_in *access_in(struct conn *c);
/* The most that he is anywhere. */
enum tenant_role access_most(struct conn *c);

#endif
