#ifndef MEWS_TENANT_VIEW_H
#define MEWS_TENANT_VIEW_H

#include "proto/objects.h"

struct tenant;

/* What the API shows of it to somebody who is that in it.  The caller
 * table_clear()s it (tenant_table); -ENOMEM: it is empty. */
int tenant_view(
    const struct tenant *t, enum tenant_role role, struct tenant_view *v);

#endif
