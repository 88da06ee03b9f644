#include <stdio.h>
#include <string.h>

#include "spawner/group.h"
#include "spawner/spawner.h"

void
group_of(const struct spawner *sp, const struct jail_id *j,
    char ret[CGROUP_PATH_MAX])
{
	char name[JAIL_NAME_MAX + 1];

	memset(ret, 0, CGROUP_PATH_MAX);
	jail_name(j, name);
	if (sp->cg.used)
		(void)snprintf(
		    ret, CGROUP_PATH_MAX, "%s/%s", sp->cg.path, name);
}
