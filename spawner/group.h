#ifndef MEWS_SPAWNER_GROUP_H
#define MEWS_SPAWNER_GROUP_H

#include "proto/jail.h"
#include "spawner/cgroup.h"

struct spawner;

/* Where a jail that is made now has its group; "" without groups. */
void group_of(const struct spawner *sp, const struct jail_id *j,
    char ret[CGROUP_PATH_MAX]);

#endif
