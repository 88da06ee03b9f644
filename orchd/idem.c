#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "orchd/orchd.h"

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

RB_GENERATE_STATIC(idem_tree, idem, entry, cmp_idem)

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
	(void)RB_REMOVE(idem_tree, &o->idems, i);
	TAILQ_REMOVE(&o->idem_age, i, age);
	o->nidems--;
	free(i);
}

enum idem_verdict
idem_look(struct orchd *o, const struct conn *c, const struct api_req *req,
    uint32_t verb, const void *doc, size_t len, struct idem_row *row)
{
	const int64_t now = now_ns();
	struct idem key = { 0 }, *hit;

	memset(row, 0, sizeof(*row));
	if (req->key[0] == '\0')
		return IDEM_NEW;
	/* the oldest stand first; the store trims its own */
	while ((hit = TAILQ_FIRST(&o->idem_age)) != NULL &&
	    hit->row.at_ns < now - STORE_IDEM_TTL_S * 1000000000LL)
		idem_drop(o, hit);
	row->tenant = c->tenant;
	row->owner = c->uid;
	row->verb = verb;
	row->at_ns = now;
	(void)snprintf(row->key, sizeof(row->key), "%s", req->key);
	hash_request(req, verb, doc, len, row->hash);
	key.row = *row;
	hit = RB_FIND(idem_tree, &o->idems, &key);
	if (hit == NULL)
		return IDEM_NEW;
	if (hit->row.verb != verb ||
	    memcmp(hit->row.hash, row->hash, sizeof(row->hash)) != 0)
		return IDEM_OTHER;
	row->vm = hit->row.vm;
	return IDEM_AGAIN;
}

static int
idem_insert(struct orchd *o, const struct idem_row *row)
{
	struct idem *i = calloc(1, sizeof(*i));

	if (i == NULL)
		return -1;
	i->row = *row;
	if (RB_INSERT(idem_tree, &o->idems, i) != NULL) {
		free(i); /* looked up before: it cannot be */
		return -1;
	}
	TAILQ_INSERT_TAIL(&o->idem_age, i, age);
	o->nidems++;
	return 0;
}

/* The caller with IDEM_OWNER_MAX keys loses its own oldest, nobody else's;
 * only when the table is full does the oldest of all go. */
static struct idem *
idem_victim(struct orchd *o, const struct idem_row *row)
{
	struct idem *i, *oldest = NULL;
	unsigned int n = 0;

	if (o->nidems < IDEM_OWNER_MAX)
		return NULL;
	TAILQ_FOREACH (i, &o->idem_age, age) {
		if (i->row.tenant != row->tenant || i->row.owner != row->owner)
			continue;
		if (oldest == NULL)
			oldest = i;
		n++;
	}
	if (n >= IDEM_OWNER_MAX)
		return oldest;
	return o->nidems >= IDEM_MAX ? TAILQ_FIRST(&o->idem_age) : NULL;
}

int
idem_use(struct orchd *o, struct txn *t, const struct idem_row *row)
{
	struct idem *old;

	if (row->key[0] == '\0')
		return 0;
	if ((old = idem_victim(o, row)) != NULL) {
		txn_idem_del(t, &old->row);
		idem_drop(o, old);
	}
	if (idem_insert(o, row) < 0)
		return -1;
	txn_idem(t, row);
	return 0;
}

void
idem_forget(struct orchd *o, const struct idem_row *row)
{
	struct idem key = { .row = *row }, *hit;

	if (row->key[0] != '\0' &&
	    (hit = RB_FIND(idem_tree, &o->idems, &key)) != NULL)
		idem_drop(o, hit);
}

int
idem_load(struct orchd *o, const struct idem_row *row)
{
	return o->nidems >= IDEM_MAX ? -1 : idem_insert(o, row);
}
