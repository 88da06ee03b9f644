#ifndef MEWS_TENANT_KIND_H
#define MEWS_TENANT_KIND_H

#include "orchd/object/object.h"

struct err;
struct orchd;
struct tenant_row;

extern const struct object_kind tenant_kind;
/* One that the store has; one of which no more can be read than its name is
 * broken: suspended, with nobody in it.  -ENOMEM. */
int tenant_load(struct orchd *o, const struct tenant_row *row, struct err *e);
/* One that the store should have, and a VM's row names: likewise, and written
 * with the first turn.  NULL: out of memory. */
struct tenant *tenant_missing(struct orchd *o, int64_t id);
/* Those that were on their way out go on, once there are turns. */
void tenants_begin(struct orchd *o);

#endif
