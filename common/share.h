#ifndef MEWS_SHARE_H
#define MEWS_SHARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * A bounded amount (connections, bytes, streams, ...) that callers share.
 * Part of it is kept: the same for each user and the same for each admin that
 * mews.conf lists, here now or not.  The rest is common: whoever comes first
 * has it.  So no caller, and no number of them together, can take from another
 * what is kept for that one.
 *
 * Where more callers are listed than something can be kept for, a caller gets
 * more of what is common only while more is left of it than it has itself.
 */
enum share_kind {
	SHARE_USER, /* that mews.conf lists */
	SHARE_ADMIN, /* likewise, and root */
	SHARE_MEMBER, /* of a tenant, and not listed: nothing is kept for it,
			 and it is as where callers are too many */
	SHARE_KINDS
};
#define SHARE_LISTED SHARE_MEMBER /* kinds that mews.conf lists */

/* A caller: all that comes from one uid. */
struct share_who {
	uint32_t uid;
	enum share_kind kind;
};

struct share_part;
LIST_HEAD(share_parts, share_part);
struct share {
	uint64_t total;
	uint64_t kept[SHARE_KINDS]; /* for each caller of that kind */
	uint64_t common; /* what is kept for nobody */
	uint64_t taken; /* of common */
	bool is_scarce; /* there are callers for whom nothing is kept */
	struct share_parts parts; /* of those that have something: no more
				     than total */
};

/* Of the total: a quarter is kept for the users, an eighth for the admins. */
#define SHARE_KEPT_USERS 4
#define SHARE_KEPT_ADMINS 8

/* listed: how many callers of each kind there can be. */
void share_init(
    struct share *s, uint64_t total, const uint32_t listed[SHARE_LISTED]);
/* Forgets all; s may be zero. */
void share_clear(struct share *s);
/* Would share_take() have that for it now? */
bool share_can(const struct share *s, struct share_who who, uint64_t n);
/* 0; -EBUSY: not now; -ENOMEM. */
int share_take(struct share *s, struct share_who who, uint64_t n);
/* No more than it has is given back. */
void share_give(struct share *s, struct share_who who, uint64_t n);
/* What that caller has. */
uint64_t share_has(const struct share *s, struct share_who who);
/* Why there is no more for it, for a person: what it has, of how many. */
#define SHARE_WORDS_MAX 160
void share_words(
    const struct share *s, struct share_who who, char ret[SHARE_WORDS_MAX]);

#endif
