#include <errno.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "orchd/object/idem.h"
#include "orchd/orchd.h"

/* Old keys that go with one new one. */
#define OLD_BATCH 16

/*
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the same key
 * from the same caller acts once.  The key is remembered in the commit that
 * does the work, so neither can be there without the other (I8).
 */
static int
cmp_idem(const struct idem *a, const struct idem *b)
{
	if (a->row.tenant != b->row.tenant)
		return a->row.tenant < b->row.tenant ? -1 : 1;
	if (a->row.owner != b->row.owner)
		return a->row.owner < b->row.owner ? -1 : 1;
	return strcmp(a->row.key, b->row.key);
}

/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): idem_drop takes it out first */
RB_GENERATE_STATIC(idem_tree, idem, entry, cmp_idem)

static int
cmp_owner(const struct idem_owner *a, const struct idem_owner *b)
{
	if (a->tenant != b->tenant)
		return a->tenant < b->tenant ? -1 : 1;
	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	return 0;
}

/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): owner_less takes it out first */
RB_GENERATE_STATIC(idem_owner_tree, idem_owner, entry, cmp_owner)

void
idems_init(struct idems *all)
{
	RB_INIT(&all->tree);
	RB_INIT(&all->owners);
	TAILQ_INIT(&all->age);
	all->n = 0;
}

static struct idem_owner *
owner_find(struct idems *all, const struct idem_row *row)
{
	struct idem_owner key = { .tenant = row->tenant, .owner = row->owner };

	return RB_FIND(idem_owner_tree, &all->owners, &key);
}

/* One key more; -ENOMEM. */
static int
owner_more(struct idems *all, const struct idem_row *row)
{
	struct idem_owner *w = owner_find(all, row);

	if (w == NULL) {
		if ((w = calloc(1, sizeof(*w))) == NULL)
			return -ENOMEM;
		w->tenant = row->tenant;
		w->owner = row->owner;
		(void)RB_INSERT(idem_owner_tree, &all->owners, w);
	}
	w->n++;
	all->n++;
	return 0;
}

static void
owner_less(struct idems *all, const struct idem_row *row)
{
	struct idem_owner *w = owner_find(all, row);

	all->n--;
	if (--w->n > 0)
		return;
	(void)RB_REMOVE(idem_owner_tree, &all->owners, w);
	free(w);
}

static void
hash_request(const struct api_req *req, uint32_t verb, const void *doc,
    size_t len, uint8_t hash[SHA256_DIGEST_LENGTH])
{
	SHA2_CTX ctx;
	size_t i;

	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)&verb, sizeof(verb));
	/* as many as the verb has, so that a key outlives a larger bound */
	for (i = 0; i < API_VARS_MAX && (i == 0 || req->var[i][0] != '\0'); i++)
		SHA256Update(&ctx, (const uint8_t *)req->var[i],
		    strlen(req->var[i]) + 1);
	if (len > 0)
		SHA256Update(&ctx, doc, len);
	SHA256Final(hash, &ctx);
}

static void
idem_drop(struct orchd *o, struct idem *i)
{
	(void)RB_REMOVE(idem_tree, &o->idems.tree, i);
	TAILQ_REMOVE(&o->idems.age, i, age);
	owner_less(&o->idems, &i->row);
	free(i);
}

static bool
is_old(const struct idem *i)
{
	return clock_ms() - i->since_ms > IDEM_TTL_S * INT64_C(1000);
}

enum idem_verdict
idem_look(struct orchd *o, int64_t tenant, uint32_t owner,
    const struct api_req *req, uint32_t verb, const void *doc, size_t len,
    struct idem_row *row)
{
	struct idem key, *hit;

	memset(row, 0, sizeof(*row));
	if (req->key[0] == '\0')
		return IDEM_NEW;
	row->tenant = tenant;
	row->owner = owner;
	row->verb = verb;
	row->at_ns = clock_wall_ns();
	(void)snprintf(row->key, sizeof(row->key), "%s", req->key);
	hash_request(req, verb, doc, len, row->hash);
	key.row = *row;
	hit = RB_FIND(idem_tree, &o->idems.tree, &key);
	if (hit == NULL || is_old(hit))
		return IDEM_NEW;
	if (hit->row.verb != verb ||
	    memcmp(hit->row.hash, row->hash, sizeof(row->hash)) != 0)
		return IDEM_OTHER;
	row->vm = hit->row.vm;
	return IDEM_AGAIN;
}

int
idem_use(struct orchd *o, const struct idem_row *row)
{
	struct idem key = { .row = *row };
	struct idem *i = RB_FIND(idem_tree, &o->idems.tree, &key);

	if (i != NULL && !is_old(i))
		return -EEXIST; /* looked up before: it cannot be */
	if (i == NULL && o->idems.n >= IDEM_MAX + IDEM_SPARE)
		return -EBUSY;
	if (i != NULL) {
		/* its row becomes this one */
		TAILQ_REMOVE(&o->idems.age, i, age);
	} else {
		if ((i = calloc(1, sizeof(*i))) == NULL)
			return -ENOMEM;
		if (owner_more(&o->idems, row) < 0) {
			free(i);
			return -ENOMEM;
		}
		*i = key;
		(void)RB_INSERT(idem_tree, &o->idems.tree, i);
	}
	i->row = *row;
	i->since_ms = clock_ms();
	TAILQ_INSERT_TAIL(&o->idems.age, i, age);
	return 0;
}

/* All that mews.conf lists fit, each with as many. */
static unsigned int
owner_max(const struct orchd *o)
{
	const uint32_t n = o->listed[SHARE_USER] + o->listed[SHARE_ADMIN];

	return n <= IDEM_MAX / IDEM_OWNER_MAX ? IDEM_OWNER_MAX : IDEM_MAX / n;
}

/* The tenant that has the most keys; its owners stand beside each other. */
static int64_t
tenant_most(struct idems *all)
{
	struct idem_owner *w;
	unsigned int n = 0, most = 0;
	int64_t tenant = 0, best = 0;

	RB_FOREACH (w, idem_owner_tree, &all->owners) {
		n = w->tenant == tenant ? n + w->n : w->n;
		tenant = w->tenant;
		if (n > most) {
			most = n;
			best = tenant;
		}
	}
	return best;
}

/* Who has the most of that tenant's. */
static const struct idem_owner *
owner_most(struct idems *all, int64_t tenant)
{
	struct idem_owner *w, *best = NULL;

	RB_FOREACH (w, idem_owner_tree, &all->owners)
		if (w->tenant == tenant && (best == NULL || w->n > best->n))
			best = w;
	return best;
}

/* The caller with more keys than it may have loses its own oldest, nobody
 * else's; only when all are too many does who has the most. */
static struct idem *
idem_victim(struct orchd *o, const struct idem_row *row)
{
	const struct idem_owner *w = owner_find(&o->idems, row);
	struct idem *i;

	if (w != NULL && w->n <= owner_max(o))
		w = o->idems.n > IDEM_MAX
		    ? owner_most(&o->idems, tenant_most(&o->idems))
		    : NULL;
	if (w == NULL)
		return NULL;
	TAILQ_FOREACH (i, &o->idems.age, age)
		if (i->row.tenant == w->tenant && i->row.owner == w->owner)
			return i;
	return NULL;
}

/* The oldest stand first.  One that stays in the store because t fails is read
 * by the next orchd, and forgotten a day later. */
static void
drop_old(struct orchd *o, struct txn *t)
{
	struct idem *i;
	unsigned int n;

	for (n = 0; n < OLD_BATCH; n++) {
		i = TAILQ_FIRST(&o->idems.age);
		if (i == NULL || !is_old(i))
			return;
		txn_idem_del(t, &i->row);
		idem_drop(o, i);
	}
}

bool
idem_put(struct orchd *o, struct txn *t, const struct idem_row *row,
    struct idem_row *old)
{
	const struct idem *i;

	drop_old(o, t);
	if ((i = idem_victim(o, row)) != NULL) {
		*old = i->row;
		txn_idem_del(t, old);
	}
	txn_idem(t, row);
	return i != NULL;
}

void
idem_forget(struct orchd *o, const struct idem_row *row)
{
	struct idem key = { .row = *row }, *hit;

	if (row->key[0] != '\0' &&
	    (hit = RB_FIND(idem_tree, &o->idems.tree, &key)) != NULL)
		idem_drop(o, hit);
}

void
idem_forget_tenant(struct orchd *o, int64_t tenant)
{
	struct idem *i, *next;

	for (i = TAILQ_FIRST(&o->idems.age); i != NULL; i = next) {
		next = TAILQ_NEXT(i, age);
		if (i->row.tenant == tenant)
			idem_drop(o, i);
	}
}

int
idem_load(struct orchd *o, const struct idem_row *row)
{
	return o->idems.n >= IDEM_MAX ? -1 : idem_use(o, row);
}
