#ifndef MEWS_SPAWNER_VERBS_H
#define MEWS_SPAWNER_VERBS_H

#include <stdint.h>

#include "proto/spawn.h"

struct err;
struct held;
struct machine;
struct spawner;

/* What the spawner can be asked; each gives 0, or a negative errno (and e). */

/* prepare.c: *ret is held from then on. */
int prepare(struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *m, struct held **ret, struct err *e);
/* verify.c */
int verify(struct spawner *sp, const struct spawn_verify *v,
    struct spawn_verified *ret, struct err *e);
/* release.c: SIGKILL; what is needed for that is in the record. */
int release_kill(struct spawner *sp, const struct jail_id *j, struct err *e);
/* -EBUSY while it lives. */
int release(struct spawner *sp, const struct jail_id *j, struct err *e);
/* What the kernel counted in its group; zeros where it has none. */
int release_count(const struct spawner *sp, const struct jail_id *j,
    struct spawn_counted *ret);
/* Removes what prepare() makes: the group, and below run/vm and lib/vm. */
int release_traces(const struct spawner *sp, const struct jail_id *j,
    const char *group, struct err *e);

#endif
