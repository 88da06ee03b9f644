#include "orchd/api/access.h"
#include "orchd/api/conn.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"
#include "orchd/who.h"

/* What mews.conf gives: its users are operators of the default tenant. */
static enum tenant_role
base_role(const struct conn *c, const struct tenant *t)
{
	return t == c->orchd->tenants.by_default &&
		who_role(&c->orchd->conf, c->creds.uid) == ROLE_USER
	    ? TENANT_OPERATOR
	    : TENANT_NONE;
}

enum tenant_role
access_role(const struct conn *c, const struct tenant *t)
{
	if (c->role == ROLE_ADMIN)
		return TENANT_HOST;
	return tenant_role_of(t, &c->creds, base_role(c, t));
}

enum api_role
access_kind(const struct conn *c)
{
	const enum api_role listed = who_role(&c->orchd->conf, c->creds.uid);

	if (listed != ROLE_NONE)
		return listed;
	return access_tenant(c) != 0 ? ROLE_USER : ROLE_NONE;
}

int64_t
access_tenant(const struct conn *c)
{
	struct tenant *t;

	for (t = tenant_first(&c->orchd->tenants); t != NULL;
	     t = tenant_next(t))
		if (tenant_role_of(t, &c->creds, TENANT_NONE) != TENANT_NONE)
			return t->row.id;
	return 0;
}

enum tenant_role
access_most(const struct conn *c)
{
	enum tenant_role most = TENANT_NONE, role;
	struct tenant *t;

	if (c->role == ROLE_ADMIN)
		return TENANT_HOST;
	for (t = tenant_first(&c->orchd->tenants);
	     t != NULL && most < TENANT_ADMIN; t = tenant_next(t)) {
		if ((role = access_role(c, t)) > most)
			most = role;
	}
	return most;
}
