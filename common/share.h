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
 *
 * Where there are tenants, what is common is divided among them first: one gets
 * more of it only while more is left than all callers of it have together, and
 * a caller only while he has less than that is more.
 */
enum share_kind {
	SHARE_USER, /* that mews.conf lists */
	SHARE_ADMIN, /* likewise, and root */
	SHARE_MEMBER, /* of a tenant, and not listed: nothing is kept for it,
			 and it is as where callers are too many */
	SHARE_KINDS
};
#define SHARE_LISTED SHARE_MEMBER /* kinds that mews.conf lists */

/* A caller: all that comes from one uid, of a tenant where it has no other. */
struct share_who {
	uint32_t uid;
	enum share_kind kind;
	int64_t tenant; /* that he is of; an admin is of none */
};

struct share_part;
LIST_HEAD(share_parts, share_part);
struct share {
	uint64_t total;
	uint64_t kept[SHARE_KINDS]; /* for each caller of that kind */
	uint64_t common; /* what is kept for nobody */
	uint64_t taken; /* of common */
	bool is_scarce; /* there are callers for whom nothing is kept */
	const bool *divided; /* among tenants, now; NULL: never */
	struct share_parts parts; /* of those that have something: no more
				     than total */
};

/* Of the total: a quarter is kept for the users, an eighth for the admins. */
#define SHARE_KEPT_USERS 4
#define SHARE_KEPT_ADMINS 8

/* listed: how many callers of each kind there can be. */
void share_init(
    struct share *s, uint64_t total, const uint32_t listed[SHARE_LISTED]);
/* Among tenants while *divided, which stays where it is. */
void share_divide(struct share *s, const bool *divided);
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
/* What all callers of a tenant have, but for admins. */
uint64_t share_of_tenant(const struct share *s, int64_t tenant);
/* Why there is no more for it, for a person: what it has, of how many. */
#define SHARE_WORDS_MAX 200
#define SHARE_TENANT_MAX 48
/* What his tenant has, too, where that is what counts: ", your tenant 7". */
void share_tenant_words(
    const struct share *s, struct share_who who, char ret[SHARE_TENANT_MAX]);
void share_words(
    const struct share *s, struct share_who who, char ret[SHARE_WORDS_MAX]);

#endif
