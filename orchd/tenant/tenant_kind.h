#ifndef MEWS_TENANT_KIND_H
#define MEWS_TENANT_KIND_H

#include "orchd/object/object.h"

struct err;
struct orchd;
struct tenant_row;

extern const struct object_kind tenant_kind;
/* One that the store has.  -EBADMSG: it makes no sense; -ENOMEM. */
int tenant_load(struct orchd *o, const struct tenant_row *row, struct err *e);
/* Those that were on their way out go on, once there are turns. */
void tenants_begin(struct orchd *o);

#endif
