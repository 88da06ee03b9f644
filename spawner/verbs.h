#ifndef MEWS_SPAWNER_VERBS_H
#define MEWS_SPAWNER_VERBS_H

#include <stdint.h>

#include "proto/spawn.h"

struct err;
struct held;
struct machine;
struct spawner;

/* What the spawner can be asked of a jail; each gives 0, or a negative errno
 * (and e). */

/* prepare.c: *ret is held from then on. */
int jail_prepare(struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *m, struct held **ret, struct err *e);
/* verify.c */
int jail_verify(struct spawner *sp, const struct spawn_verify *v,
    struct spawn_verified *ret, struct err *e);
/* release.c: SIGKILL; what is needed for that is in the record. */
int jail_kill(struct spawner *sp, const struct jail_id *j, struct err *e);
/* -EBUSY while it lives. */
int jail_release(struct spawner *sp, const struct jail_id *j, struct err *e);
/* What the kernel counted in its group; zeros where it has none. */
int jail_count(
    struct spawner *sp, const struct jail_id *j, struct spawn_counted *ret);
/* Removes what jail_prepare() makes: the group, and below run/vm and lib/vm. */
int jail_remove(const struct spawner *sp, const struct jail_id *j,
    const char *group, struct err *e);

#endif
