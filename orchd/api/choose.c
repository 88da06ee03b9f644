#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "orchd/api/access.h"
#include "orchd/api/answer.h"
#include "orchd/api/choose.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"

void
choose_refuse(const struct req *r, enum tenant_role least)
{
	const struct tenant *t = r->named != NULL ? r->named : r->tenant;

	if (least == TENANT_HOST)
		req_refuse(r, 403,
		    "this is for host admins: root, and the admins of mews.conf");
	else if (t->want.deleting || t->want.suspended)
		answer_error(r->o, r->c->id, r->id, 403,
		    "tenant %s is %s: its members may only look", t->row.name,
		    t->want.deleting ? "being deleted" : "suspended");
	else
		answer_error(r->o, r->c->id, r->id, 403,
		    "you are %s of tenant %s, and this takes %s: an admin of it can "
		    "change that (mews tenant set)",
		    tenant_role_names[r->role], t->row.name,
		    tenant_role_names[least]);
}

/* His own, when he names none; NULL: there is none, or n > 1 of them. */
static struct tenant *
own(struct conn *c, unsigned int *n)
{
	struct tenants *all = &c->orchd->tenants;
	const struct access_in *in;

	*n = 1;
	if (access_role(c, all->by_default) != TENANT_NONE)
		return all->by_default;
	in = access_in(c);
	*n = in->n;
	return in->n == 1 ? tenant_by_id(all, in->only) : NULL;
}

/* "a, b, c", as many as fit. */
static void
list_own(const struct conn *c, char *buf, size_t cap)
{
	const struct tenants *all = &c->orchd->tenants;
	struct tenant *t;
	size_t at = 0;

	buf[0] = '\0';
	for (t = tenant_first(all); t != NULL; t = tenant_next(t)) {
		if (access_role(c, t) == TENANT_NONE)
			continue;
		if (at + strlen(t->row.name) + sizeof(", ...") >= cap) {
			(void)snprintf(buf + at, cap - at, ", ...");
			return;
		}
		at += (size_t)snprintf(buf + at, cap - at, "%s%s",
		    at > 0 ? ", " : "", t->row.name);
	}
}

static struct tenant *
find(const struct req *r, const char *name, enum tenant_role *role)
{
	struct tenant *t = tenant_by_name(&r->o->tenants, name);

	*role = t != NULL ? access_role(r->c, t) : TENANT_NONE;
	if (t != NULL && t->obj.life == OBJECT_STORED &&
	    (*role != TENANT_NONE || !RULE(TENANT_ROLE)))
		return t;
	return NULL;
}

void
choose_none(const struct req *r, const char *name)
{
	answer_error(r->o, r->c->id, r->id, 404,
	    "there is no tenant %s, or you are not in it", name);
}

struct tenant *
choose_tenant(const struct req *r, enum tenant_role *role)
{
	unsigned int n;
	char names[128];
	struct tenant *t;

	if (r->head.tenant[0] != '\0') {
		t = find(r, r->head.tenant, role);
		if (t == NULL)
			choose_none(r, r->head.tenant);
		return t;
	}
	if ((t = own(r->c, &n)) != NULL) {
		*role = access_role(r->c, t);
		return t;
	}
	if (n == 0) {
		req_refuse(r, 403, API_NOT_LISTED);
		return NULL;
	}
	list_own(r->c, names, sizeof(names));
	answer_error(r->o, r->c->id, r->id, 400,
	    "you are in several tenants: choose one (X-Mews-Tenant, mews "
	    "--tenant): %s",
	    names);
	return NULL;
}

bool
choose_named(const struct req *r, struct tenant **ret, enum tenant_role *role)
{
	*ret = find(r, r->head.var[0], role);
	if (r->c->role == ROLE_ADMIN)
		*role = TENANT_HOST;
	else if (*ret == NULL)
		choose_none(r, r->head.var[0]);
	return *role != TENANT_NONE;
}
