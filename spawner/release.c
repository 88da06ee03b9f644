#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "spawner/group.h"
#include "spawner/lost.h"
#include "spawner/spawner.h"
#include "spawner/verbs.h"

/* More than a jail's folder ever holds; a bound, not a quota. */
#define REMOVE_ENTRIES_MAX 64

int
jail_kill(struct spawner *sp, const struct jail_id *j, struct err *e)
{
	struct held *h = held_find(sp, j);
	int r;

	if (h == NULL)
		return err_set(e, -ENOENT, "no such jail");
	/* all that is in its group, a child on its way to exec included */
	if (RULE(KILL_GROUP) && (r = cgroup_kill(&sp->cg, h->rec.group)) < 0)
		return err_errno(e, r, "kill of the group");
	if (held_alive(sp, h) < 0)
		return 0; /* dead is what was asked for */
	if (pidfd_send_signal(h->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_errno(e, -errno, "kill");
	return 0;
}

int
jail_count(
    struct spawner *sp, const struct jail_id *j, struct spawn_counted *ret)
{
	const struct held *h = held_find(sp, j);

	ret->jail = *j;
	ret->oom_kills = 0;
	if (h == NULL || h->rec.group[0] == '\0')
		return 0;
	return cgroup_oom_kills(&sp->cg, h->rec.group, &ret->oom_kills);
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
		fd_close(&fd);
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
jail_remove(const struct spawner *sp, const struct jail_id *j,
    const char *group, struct err *e)
{
	char name[JAIL_NAME_MAX + 1];
	int r;

	jail_name(j, name);
	if ((r = cgroup_remove(&sp->cg, group)) < 0)
		return err_errno(e, r, "cgroup of jail %s", name);
	if ((r = remove_dir(sp->state_fd, name)) < 0)
		return err_errno(e, r, "lib/vm/%s", name);
	if ((r = remove_dir(sp->run_fd, name)) < 0)
		return err_errno(e, r, "run/vm/%s", name);
	return 0;
}

int
jail_release(struct spawner *sp, const struct jail_id *j, struct err *e)
{
	struct held *h = held_find(sp, j);
	char group[CGROUP_PATH_MAX];
	uint32_t uid;
	pid_t pid;
	int r;

	if (h != NULL && RULE(RELEASE_ALIVE) && held_alive(sp, h) == 0)
		return err_set(e, -EBUSY, "it lives");
	if (h != NULL && RULE(RELEASE_UID) &&
	    (uid = held_busy_uid(h, &pid)) != 0)
		return err_set(
		    e, -EBUSY, "uid %u still has a process: %d", uid, (int)pid);
	if ((h == NULL || h->rec.nprogs == 0) && RULE(RELEASE_LOST) &&
	    (r = lost_end(sp, j, e)) < 0)
		return r;
	group_of(sp, j, group);
	if (h != NULL)
		memcpy(group, h->rec.group, sizeof(group));
	/* nothing of a dead VM's lives on in its group */
	if (RULE(KILL_GROUP) && (r = cgroup_kill(&sp->cg, group)) < 0)
		return err_errno(e, r, "kill of the group");
	if ((r = jail_remove(sp, j, group, e)) < 0)
		return r;
	if (h != NULL)
		held_remove(sp, h);
	return 0;
}
