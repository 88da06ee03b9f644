#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "spawner/spawner.h"

/* More than a VM's folder ever holds; a bound, not a quota. */
#define REMOVE_ENTRIES_MAX 64

int
vm_kill(struct spawner *sp, uint64_t vm, struct err *e)
{
	struct slot *s = slot_find(sp, vm);
	int r;

	if (s == NULL)
		return err_set(e, -ENOENT, "no such VM");
	/* all that is in its group, a child on its way to exec included */
	if (RULE(KILL_GROUP) && (r = cgroup_kill(&sp->cg, s->rec.group)) < 0)
		return err_errno(e, r, "kill of the group");
	if (record_alive(sp, s) < 0)
		return 0; /* dead is what was asked for */
	if (pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_errno(e, -errno, "kill");
	return 0;
}

void
vm_group(const struct spawner *sp, uint64_t vm, char ret[CGROUP_PATH_MAX])
{
	char name[HEX64_LEN + 1];

	memset(ret, 0, CGROUP_PATH_MAX);
	format_hex64(vm, name);
	if (sp->cg.used)
		(void)snprintf(
		    ret, CGROUP_PATH_MAX, "%s/%s", sp->cg.path, name);
}

int
vm_count(struct spawner *sp, uint64_t vm, struct spawn_counted *ret)
{
	const struct slot *s = slot_find(sp, vm);

	ret->vm = vm;
	ret->oom_kills = 0;
	if (s == NULL || s->rec.group[0] == '\0')
		return 0;
	return cgroup_oom_kills(&sp->cg, s->rec.group, &ret->oom_kills);
}

/* Files in one of root's own folders: no VM can have put a name there.
 * Unlinked, never opened or followed; a folder inside would be a fault. */
static int
remove_dir(int parent, const char *name)
{
	int fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int n = 0, r = 0;

	if (d == NULL) {
		r = errno == ENOENT ? 0 : -errno;
		close_fd(&fd);
		return r;
	}
	while (r == 0 && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0)
			continue;
		if (++n > REMOVE_ENTRIES_MAX)
			r = -E2BIG;
		else if (unlinkat(dirfd(d), de->d_name, 0) < 0 &&
		    errno != ENOENT)
			r = -errno;
	}
	(void)closedir(d);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 &&
	    errno != ENOENT)
		r = -errno;
	return r;
}

/*
 * The group and lib/ first, the record's folder last: after a crash, the
 * record (or the folder alone) still says that there is something to remove.
 */
int
vm_remove_all(
    const struct spawner *sp, uint64_t vm, const char *group, struct err *e)
{
	char name[HEX64_LEN + 1];
	int r;

	format_hex64(vm, name);
	if ((r = cgroup_remove(&sp->cg, group)) < 0)
		return err_errno(e, r, "cgroup of VM %s", name);
	if ((r = remove_dir(sp->state_fd, name)) < 0)
		return err_errno(e, r, "lib/vm/%s", name);
	if ((r = remove_dir(sp->run_fd, name)) < 0)
		return err_errno(e, r, "run/vm/%s", name);
	return 0;
}

int
vm_release(struct spawner *sp, uint64_t vm, struct err *e)
{
	struct slot *s = slot_find(sp, vm);
	char group[CGROUP_PATH_MAX];
	int r;

	if (s != NULL && RULE(RELEASE_ALIVE) && record_alive(sp, s) == 0)
		return err_set(e, -EBUSY, "it lives");
	/* also true of a dead keeper that nobody reaped yet: ask again */
	if (s != NULL && RULE(RELEASE_UID) && uid_in_use(s->rec.uid))
		return err_set(
		    e, -EBUSY, "uid %u still has a process", s->rec.uid);
	vm_group(sp, vm, group);
	if (s != NULL)
		memcpy(group, s->rec.group, sizeof(group));
	/* nothing of a dead VM's lives on in its group */
	if (RULE(KILL_GROUP) && (r = cgroup_kill(&sp->cg, group)) < 0)
		return err_errno(e, r, "kill of the group");
	if ((r = vm_remove_all(sp, vm, group, e)) < 0)
		return r;
	if (s != NULL) {
		close_fd(&s->pidfd);
		s->used = false;
		memset(&s->rec, 0, sizeof(s->rec));
	}
	return 0;
}
