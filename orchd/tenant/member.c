#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "orchd/tenant/member.h"

static struct member *
find(struct members *all, uint8_t kind, uint32_t id)
{
	struct member *m;

	for (m = all->m; m < all->m + all->n; m++)
		if (m->kind == kind && m->id == id)
			return m;
	return NULL;
}

int
member_set(struct members *all, const struct tenant_member *want)
{
	struct member *m = find(all, want->kind, want->id);

	if (want->role == TENANT_NONE) {
		if (m != NULL) /* the order is nobody's business */
			*m = all->m[--all->n];
		return 0;
	}
	if (m == NULL) {
		if (all->n == TENANT_MEMBERS_MAX)
			return -E2BIG;
		m = &all->m[all->n++];
		m->kind = want->kind;
		m->id = want->id;
	}
	m->role = want->role;
	return 0;
}

int
member_set_all(struct members *all, const struct objs *list)
{
	const struct tenant_member *m = list->items;
	const struct members was = *all;
	uint32_t i;
	int r;

	for (i = 0; i < list->count; i++) {
		if ((r = member_set(all, &m[i])) < 0) {
			*all = was;
			return r;
		}
	}
	return 0;
}

static bool
has_group(const struct creds *c, gid_t gid)
{
	uint32_t lo = 0, hi = c->ngroups, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (c->groups[mid] == gid)
			return true;
		if (c->groups[mid] < gid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

enum tenant_role
member_role(const struct members *all, const struct creds *c)
{
	enum tenant_role most = TENANT_NONE;
	const struct member *m;

	for (m = all->m; m < all->m + all->n; m++) {
		if (m->role > most &&
		    (m->kind == MEMBER_USER ? m->id == c->uid
					    : has_group(c, m->id)))
			most = (enum tenant_role)m->role;
	}
	return most;
}

enum tenant_role
role_least(enum tenant_role a, enum tenant_role b)
{
	return a < b ? a : b;
}
