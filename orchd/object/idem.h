#ifndef MEWS_IDEM_H
#define MEWS_IDEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/tree.h"
#include "orchd/store.h"

struct api_req;
struct conn;
struct orchd;

/* A key that was used, for the retries that may come. */
struct idem {
	RB_ENTRY(idem) entry;
	TAILQ_ENTRY(idem) age;
	int64_t since_ms; /* used, or read from the store (clock_ms()) */
	struct idem_row row;
};
RB_HEAD(idem_tree, idem);
TAILQ_HEAD(idem_list, idem); /* oldest first */

/* Who has how many: a caller in a tenant, of the tree while he has any. */
struct idem_owner {
	RB_ENTRY(idem_owner) entry;
	int64_t tenant;
	uint32_t owner;
	unsigned int n;
};
RB_HEAD(idem_owner_tree, idem_owner);
/*
 * A key is forgotten after a day, longer than any client retries: a day of
 * this process, which no clock that is set can shorten.  What the store has at
 * a start, has a day from there.
 */
#define IDEM_TTL_S 86400
/* Keys remembered, in all and of a caller at most: the same for each that
 * mews.conf lists.  Past its own limit a caller loses its oldest; past that of
 * all, where members of tenants have keys as well, who has the most in the
 * tenant that has the most. */
#define IDEM_MAX 65536
#define IDEM_OWNER_MAX 4096
/* Beside those, of keys that are not on the disk yet: while the store takes
 * nothing, none is forgotten for a new one. */
#define IDEM_SPARE 4096

struct idems {
	struct idem_tree tree;
	struct idem_owner_tree owners;
	struct idem_list age;
	unsigned int n;
};
void idems_init(struct idems *all);

enum idem_verdict { IDEM_NEW, IDEM_AGAIN, IDEM_OTHER };
/* Fills row for idem_use(); IDEM_AGAIN: row->vm is the VM it was used for.
 * The row's tenant and owner are the caller's. */
enum idem_verdict idem_look(struct orchd *o, int64_t tenant, uint32_t owner,
    const struct api_req *req, uint32_t verb, const void *doc, size_t len,
    struct idem_row *row);
/* Remembers a key here.  -ENOMEM; -EBUSY: IDEM_SPARE are not written. */
int idem_use(struct orchd *o, const struct idem_row *row);
/* Remembers it in t, which forgets what is too old.  True: and what is one too
 * many, *old, which is to be forgotten here once t is kept. */
bool idem_put(struct orchd *o, struct txn *t, const struct idem_row *row,
    struct idem_row *old);
/* A key out of the store. */
int idem_load(struct orchd *o, const struct idem_row *row);
/* All of a tenant that is no more. */
void idem_forget_tenant(struct orchd *o, int64_t tenant);
/* The write failed: the key was not used after all; or another took its
 * place. */
void idem_forget(struct orchd *o, const struct idem_row *row);

#endif
