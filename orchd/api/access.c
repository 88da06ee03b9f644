#include "orchd/api/access.h"
#include "common/util.h"
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

static int64_t
tenant_with_fewest(const struct conn *c)
{
	uint64_t n, least = UINT64_MAX;
	int64_t hit = 0;
	struct tenant *t;

	for (t = tenant_first(&c->orchd->tenants); t != NULL;
	     t = tenant_next(t)) {
		if (tenant_role_of(t, &c->creds, TENANT_NONE) == TENANT_NONE)
			continue;
		n = share_of_tenant(&c->orchd->conns.share, t->row.id);
		if (n >= least)
			continue;
		least = n;
		hit = t->row.id;
		if (!RULE(TENANT_FEWEST))
			break;
	}
	return hit;
}

enum api_role
access_kind(const struct conn *c, int64_t *tenant)
{
	const enum api_role listed = who_role(&c->orchd->conf, c->creds.uid);

	*tenant = listed == ROLE_NONE ? tenant_with_fewest(c) : 0;
	return *tenant != 0 ? ROLE_USER : listed;
}

const struct access_in *
access_in(struct conn *c)
{
	struct tenants *all = &c->orchd->tenants;
	struct access_in *in = &c->in;
	enum tenant_role role;
	struct tenant *t;

	if (in->as_of == all->change)
		return in;
	*in = (struct access_in){ .as_of = all->change };
	for (t = tenant_first(all); t != NULL; t = tenant_next(t)) {
		if ((role = access_role(c, t)) == TENANT_NONE)
			continue;
		in->n++;
		in->only = t->row.id;
		if (role > in->most)
			in->most = role;
	}
	return in;
}

enum tenant_role
access_most(struct conn *c)
{
	return c->role == ROLE_ADMIN ? TENANT_HOST : access_in(c)->most;
}
