#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/share.h"
#include "common/util.h"

struct share_part {
	LIST_ENTRY(share_part) entry;
	struct share_who who;
	uint64_t n; /* never 0 */
};

/* For each of so many, 1/part of the total together; one unit at least, as
 * long as no more than a third goes into that. */
static uint64_t
keep(uint64_t total, uint64_t part, uint32_t listed)
{
	if (listed == 0)
		return 0;
	if (total / part / listed > 0)
		return total / part / listed;
	return listed <= total / 3 ? 1 : 0;
}

void
share_init(struct share *s, uint64_t total, const uint32_t listed[SHARE_LISTED])
{
	s->total = total;
	s->kept[SHARE_USER] = keep(total, SHARE_KEPT_USERS, listed[SHARE_USER]);
	s->kept[SHARE_ADMIN] =
	    keep(total, SHARE_KEPT_ADMINS, listed[SHARE_ADMIN]);
	s->kept[SHARE_MEMBER] = 0;
	s->common = total - s->kept[SHARE_USER] * listed[SHARE_USER] -
	    s->kept[SHARE_ADMIN] * listed[SHARE_ADMIN];
	s->is_scarce = (listed[SHARE_USER] > 0 && s->kept[SHARE_USER] == 0) ||
	    (listed[SHARE_ADMIN] > 0 && s->kept[SHARE_ADMIN] == 0);
	s->divided = NULL;
	s->taken = 0;
	LIST_INIT(&s->parts);
}

void
share_divide(struct share *s, const bool *divided)
{
	s->divided = divided;
}

void
share_clear(struct share *s)
{
	struct share_part *p;

	while ((p = LIST_FIRST(&s->parts)) != NULL) {
		LIST_REMOVE(p, entry);
		free(p);
	}
	s->taken = 0;
}

static struct share_part *
find(const struct share *s, struct share_who who)
{
	struct share_part *p;

	LIST_FOREACH (p, &s->parts, entry)
		if (p->who.uid == who.uid && p->who.kind == who.kind &&
		    p->who.tenant == who.tenant)
			return p;
	return NULL;
}

uint64_t
share_has(const struct share *s, struct share_who who)
{
	const struct share_part *p = find(s, who);

	return p != NULL ? p->n : 0;
}

/* What somebody who has n has of what is common. */
static uint64_t
of_common(const struct share *s, struct share_who who, uint64_t n)
{
	return n > s->kept[who.kind] ? n - s->kept[who.kind] : 0;
}

static bool
is_divided(const struct share *s, struct share_who who)
{
	return s->divided != NULL && *s->divided && who.kind != SHARE_ADMIN &&
	    RULE(SHARE_TENANT);
}

/* What all callers of a tenant have of what is common. */
static uint64_t
of_tenant(const struct share *s, int64_t tenant)
{
	const struct share_part *p;
	uint64_t sum = 0;

	LIST_FOREACH (p, &s->parts, entry)
		if (p->who.tenant == tenant && p->who.kind != SHARE_ADMIN)
			sum += of_common(s, p->who, p->n);
	return sum;
}

/* It is for its tenant, and of that for him, to have so much more. */
static bool
is_due(const struct share *s, struct share_who who, uint64_t gets,
    uint64_t more, uint64_t left)
{
	const uint64_t has = of_tenant(s, who.tenant);

	return has <= left && more <= left - has && gets <= left - has;
}

/* What of the common part n more would take from it; -EBUSY: there is not so
 * much, or it is not for who has so much already. */
static int
would_take(
    const struct share *s, struct share_who who, uint64_t n, uint64_t *ret)
{
	const uint64_t has = share_has(s, who);
	const uint64_t left = s->common - s->taken;
	uint64_t had, gets;

	if (n > s->total)
		return -EBUSY;
	had = of_common(s, who, has);
	gets = of_common(s, who, has + n);
	if (gets - had > left)
		return -EBUSY;
	if (is_divided(s, who)
		? gets > had && !is_due(s, who, gets, gets - had, left)
		: (s->is_scarce || who.kind == SHARE_MEMBER) && gets > left)
		return -EBUSY;
	*ret = gets - had;
	return 0;
}

bool
share_can(const struct share *s, struct share_who who, uint64_t n)
{
	uint64_t taken;

	return would_take(s, who, n, &taken) == 0;
}

int
share_take(struct share *s, struct share_who who, uint64_t n)
{
	struct share_part *p;
	uint64_t taken;
	int r;

	if ((r = would_take(s, who, n, &taken)) < 0 || n == 0)
		return r;
	if ((p = find(s, who)) == NULL) {
		if ((p = calloc(1, sizeof(*p))) == NULL)
			return -ENOMEM;
		p->who = who;
		LIST_INSERT_HEAD(&s->parts, p, entry);
	}
	p->n += n;
	s->taken += taken;
	return 0;
}

void
share_give(struct share *s, struct share_who who, uint64_t n)
{
	struct share_part *p = find(s, who);

	if (p == NULL)
		return;
	if (n > p->n)
		n = p->n;
	s->taken -= of_common(s, who, p->n) - of_common(s, who, p->n - n);
	p->n -= n;
	if (p->n == 0) {
		LIST_REMOVE(p, entry);
		free(p);
	}
}

uint64_t
share_of_tenant(const struct share *s, int64_t tenant)
{
	const struct share_part *p;
	uint64_t n = 0;

	LIST_FOREACH (p, &s->parts, entry)
		if (p->who.tenant == tenant && p->who.kind != SHARE_ADMIN)
			n += p->n;
	return n;
}

void
share_tenant_words(
    const struct share *s, struct share_who who, char ret[SHARE_TENANT_MAX])
{
	ret[0] = '\0';
	if (is_divided(s, who))
		(void)snprintf(ret, SHARE_TENANT_MAX, ", your tenant %" PRIu64,
		    share_of_tenant(s, who.tenant));
}

void
share_words(
    const struct share *s, struct share_who who, char ret[SHARE_WORDS_MAX])
{
	char tenant[SHARE_TENANT_MAX];

	share_tenant_words(s, who, tenant);
	(void)snprintf(ret, SHARE_WORDS_MAX,
	    "your user has %" PRIu64 " of them%s, all users together have at "
	    "most %" PRIu64 ", and some are kept for others",
	    share_has(s, who), tenant, s->total);
}
