#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "mewsd/mewsd.h"

#define LISTEN_BACKLOG 128

/* Makes one directory, or insists that what is there is just that.  Its
 * descriptor, or a negative errno with words. */
static int
dir_open(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *e)
{
	struct stat st;
	int fd, r = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "mkdir %s", path);
	fd = open(path, O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		r = err_errno(e, -errno, "stat %s", path);
	else if (st.st_uid != 0 && st.st_uid != uid)
		r = err_set(e, -EPERM, "%s belongs to uid %u; move it away",
		    path, st.st_uid);
	/* one that is as it should be may be read-only */
	else if ((st.st_uid != uid || st.st_gid != gid ||
		     (st.st_mode & 07777) != mode) &&
	    (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0))
		r = err_errno(e, -errno, "chown %s", path);
	if (r < 0)
		fd_close(&fd);
	return r < 0 ? r : fd;
}

static void
dir_make(const char *base, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	char path[2 * BOOT_PATH_MAX];
	struct err e;
	int fd;

	(void)snprintf(path, sizeof(path), "%s%s%s", base,
	    name[0] == '\0' ? "" : "/", name);
	if ((fd = dir_open(path, uid, gid, mode, &e)) < 0)
		fatal("%s", e.msg);
	fd_close(&fd);
}

void
dirs_make(const struct conf *c)
{
	const struct room_user *orch = &c->user[ROOM_ORCHD];

	dir_make(c->lib, "", 0, 0, 0755);
	dir_make(c->lib, "store", orch->uid, orch->gid, 0700);
	dir_make(c->lib, "vm", 0, 0, 0711); /* per-VM, made by the spawner */
	dir_make(c->run, "", 0, 0, 0755);
	dir_make(c->run, "empty", 0, 0, 0555); /* root of what needs none */
	dir_make(c->run, "vm", 0, 0, 0711); /* records, sockets */
}

int
dirs_log(const struct conf *c, struct err *e)
{
	const struct room_user *launch = &c->user[ROOM_LAUNCHD];
	char path[2 * BOOT_PATH_MAX];
	int dir, vm;

	if ((dir = dir_open(c->log, 0, 0, 0750, e)) < 0)
		return dir;
	/* what VMs say; launchd opens it when it starts */
	(void)snprintf(path, sizeof(path), "%s/vm", c->log);
	if ((vm = dir_open(path, launch->uid, launch->gid, 0750, e)) < 0)
		log_error("%s: what VMs say is lost", e->msg);
	else
		fd_close(&vm);
	return dir;
}

int
dirs_listen(const struct conf *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/api.sock",
		c->run) >= (int)sizeof(sun.sun_path))
		fatal("%s/api.sock is longer than a socket's path may be (%zu)",
		    c->run, sizeof(sun.sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		fatal("socket: %m");
	/* the lock is ours, so a socket that is there has no listener */
	if (unlink(sun.sun_path) < 0 && errno != ENOENT)
		fatal("unlink %s: %m", sun.sun_path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		fatal("bind %s: %m", sun.sun_path);
	/* anybody may knock: orchd looks at who it is */
	if (chmod(sun.sun_path, 0666) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		fatal("listen %s: %m", sun.sun_path);
	return fd;
}
