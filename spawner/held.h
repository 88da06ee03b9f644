#ifndef MEWS_SPAWNER_HELD_H
#define MEWS_SPAWNER_HELD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/bucket.h"
#include "common/tree.h"
#include "spawner/record.h"

/* The jails there are, by their ids, from their records. */
struct spawner;

struct held {
	RB_ENTRY(held) entry;
	int pidfd; /* of its pid 1; -1: it was dead when we looked */
	/* Its record cannot be believed: in rec is what the kernel says of it,
	 * and no program where that is nothing (lost.h). */
	bool is_lost;
	struct bucket verbs; /* what may be asked of it */
	struct record rec;
};
RB_HEAD(held_tree, held);

/* NULL: no record of that jail. */
struct held *held_find(struct spawner *sp, const struct jail_id *j);
/* In the order of their ids; NULL: the first, and after the last. */
struct held *held_next(struct spawner *sp, struct held *h);
/* Takes pidfd over.  NULL: out of memory, and pidfd is the caller's. */
struct held *held_add(struct spawner *sp, const struct record *rec, int pidfd);
void held_remove(struct spawner *sp, struct held *h);
/* 0 while its pid 1 is the recorded one and lives, else -ESRCH. */
int held_alive(const struct spawner *sp, const struct held *h);
/* The same of what a record says; pidfd is of its pid. */
int held_is_alive(
    const struct spawner *sp, const struct record *rec, int pidfd);
/* The jail, dead or alive, that has that uid, or NULL. */
const struct held *held_by_uid(struct spawner *sp, uint32_t uid);
/* The first jail, dead or alive, that has a uid of one of rec's programs (that
 * one in *uid), or NULL. */
const struct held *held_clash(
    struct spawner *sp, const struct record *rec, uint32_t *uid);
/* One of its uids that a process still has, and which (0: it is not known); 0:
 * none has. */
uint32_t held_busy_uid(const struct held *h, pid_t *pid);

#endif
