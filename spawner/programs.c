#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/log.h"
#include "proto/jail.h"
#include "spawner/programs.h"
#include "spawner/spawner.h"

static void
check_rows(void)
{
	const char *fault;
	unsigned int kind;

	for (kind = 0; kind < JAIL_KINDS_MAX; kind++) {
		if (jail_kind(kind) != NULL &&
		    (fault = jail_rows_fault(kind)) != NULL)
			fatal("jails of kind %u: %s", kind, fault);
	}
}

void
programs_find(struct spawner *sp, int stage)
{
	const char *path;
	struct stat st;
	unsigned int role;

	check_rows();
	for (role = 0; role < JAIL_ROLES_MAX; role++) {
		if (jail_prog(role) == NULL)
			continue;
		path = jail_prog(role)->path;
		if (fstatat(stage, path + 1, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT && !jail_holds(JAIL_VM, role)) {
				log_info("%s%s: none", sp->conf.stage, path);
				continue;
			}
			fatal("%s%s: %m", sp->conf.stage, path);
		}
		if (!S_ISREG(st.st_mode) || st.st_uid != 0 ||
		    (st.st_mode & 022) != 0)
			fatal("%s%s: must be root's own", sp->conf.stage, path);
		sp->prog[role].dev = st.st_dev;
		sp->prog[role].ino = st.st_ino;
	}
}
