#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fds.h"
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

int
programs_dir(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	if (fstat(fd, &st) == 0 && st.st_uid == 0 && (st.st_mode & 022) == 0)
		return fd;
	fd_close(&fd);
	return err_set(
	    e, -EPERM, "%s: must be root's and only root may write", path);
}

static int
find(const struct spawner *sp, int stage, const char *path, bool must,
    struct file_id *ret, struct err *e)
{
	struct stat st;

	if (fstatat(stage, path + 1, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT || must)
			return err_errno(
			    e, -errno, "%s%s", sp->conf.stage, path);
		log_info("%s%s: none", sp->conf.stage, path);
		return 0;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0)
		return err_set(e, -EPERM, "%s%s: must be root's own",
		    sp->conf.stage, path);
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

static int
find_all(struct spawner *sp, int stage, struct err *e)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < JAIL_ROLES_MAX && r == 0; i++) {
		if (jail_prog(i) != NULL)
			r = find(sp, stage, jail_prog(i)->path,
			    jail_holds(JAIL_VM, i), &sp->prog[i], e);
	}
	for (i = 0; i < BACKENDS && r == 0; i++) {
		if (backend_row(i) != NULL)
			r = find(sp, stage, backend_row(i)->path,
			    i == BACKEND_QEMU, &sp->vmm[i], e);
	}
	sp->caps.microvm = sp->vmm[BACKEND_QEMU_MICROVM].ino != 0;
	return r;
}

void
programs_find(struct spawner *sp)
{
	struct err e = { 0 };
	int stage, r = 0;

	check_rows();
	if ((stage = programs_dir(sp->conf.stage, &e)) < 0)
		r = stage;
	if (r == 0)
		r = find_all(sp, stage, &e);
	fd_close(&stage);
	if (r == 0)
		return;
	/* VMs that run are served all the same: nothing of theirs is in it */
	memset(sp->prog, 0, sizeof(sp->prog));
	memset(sp->vmm, 0, sizeof(sp->vmm));
	sp->caps.microvm = 0;
	sp->caps.unstaged = 1;
	(void)snprintf(sp->stage_why, sizeof(sp->stage_why), "%s", e.msg);
	log_error(
	    "staged tree: %s: no VM can be started until it is mended and "
	    "mewsd was restarted",
	    sp->stage_why);
}
