#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "orchd/tenant/tenant.h"
#include "orchd/tenant/tenant_view.h"

int
tenant_view(
    const struct tenant *t, enum tenant_role role, struct tenant_view *v)
{
	struct tenant_spec spec;

	memset(v, 0, sizeof(*v));
	if (tenant_state_give(&t->want, &spec) < 0)
		return -ENOMEM;
	(void)snprintf(v->name, sizeof(v->name), "%s", t->row.name);
	v->status = spec.deleting  ? TENANT_DELETING
	    : t->broken[0] != '\0' ? TENANT_BROKEN
	    : spec.suspended	   ? TENANT_SUSPENDED
				   : TENANT_ACTIVE;
	v->role = (uint8_t)role;
	v->created_at = spec.created_at;
	v->weight = spec.weight;
	v->quotas = spec.quotas;
	v->members = spec.members; /* v's from here on */
	tenant_amounts_give(&t->used, &v->used);
	return 0;
}
