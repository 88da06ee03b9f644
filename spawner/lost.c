#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "proto/uids.h"
#include "spawner/group.h"
#include "spawner/lost.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"

/* Who listens on the jail's keeper.sock.  Connecting to it is launchd's alone
 * (its owner and mode say so), and we keep nothing that passes modes by. */
static int
ask_listener(struct spawner *sp, const char *name, struct ucred *uc)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(*uc);
	int fd, r = 0;

	(void)snprintf(
	    sa.sun_path, sizeof(sa.sun_path), "%s/keeper.sock", name);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)setfsuid(sp->conf.uid);
	/* relative: the whole path may not fit an address */
	if (fchdir(sp->run_fd) < 0 ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, uc, &len) < 0)
		r = -errno;
	(void)setfsuid(0);
	if (chdir("/") < 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

/* Where in the plane of its kind a uid stands. */
static int
slot_of(const struct spawner *sp, const struct jail_id *j, uint32_t uid,
    uint16_t *ret)
{
	const struct uids u = { sp->conf.uid_base, sp->conf.uid_count };
	uint32_t first = 0;

	if (uids_at(&u, jail_kind(j->kind)->plane, 0, &first) < 0 ||
	    uid < first || uid - first >= uids_slots(&u))
		return -ERANGE;
	*ret = (uint16_t)(uid - first);
	return 0;
}

int
lost_find(struct spawner *sp, const struct jail_id *j, const char *name,
    struct record *rec)
{
	struct ucred uc = { .pid = -1 };
	int pidfd;

	*rec = (struct record){ .jail = *j, .slot = UINT16_MAX };
	group_of(sp, j, rec->group);
	memcpy(rec->boot_id, sp->boot_id, sizeof(rec->boot_id));
	if (ask_listener(sp, name, &uc) < 0 || uc.pid <= 1 ||
	    slot_of(sp, j, uc.uid, &rec->slot) < 0)
		return -1;
	/* from here on it is whoever has this pidfd */
	pidfd = pidfd_open(uc.pid, 0);
	rec->pid = (uint32_t)uc.pid;
	rec->uid = uc.uid;
	rec->nprogs = 1;
	rec->prog[0].role = jail_kind(j->kind)->first;
	rec->prog[0].uid = uc.uid;
	if (proc_start_time(uc.pid, &rec->start_time) < 0 ||
	    proc_ns_all(uc.pid, rec->ns) < 0 || !proc_has_uid(uc.pid, uc.uid) ||
	    held_is_alive(sp, rec, pidfd) < 0)
		fd_close(&pidfd); /* dead: the uid is its own all the same */
	return pidfd;
}

/* What lives at a uid of VMs and is in no record. */
struct strays {
	struct spawner *sp;
	bool kill;
	unsigned int n;
	pid_t pid; /* the last of them */
	uid_t uid;
};

static bool
on_stray(void *arg, pid_t pid, uid_t uid)
{
	struct strays *s = arg;
	const struct uids u = { s->sp->conf.uid_base, s->sp->conf.uid_count };
	uint64_t ns = 0;
	int pidfd;

	if (!uids_has(&u, uid) || held_by_uid(s->sp, uid) != NULL)
		return false;
	pidfd = pidfd_open(pid, 0);
	/* what is in the host's own is no jail, whoever started it */
	if (pidfd >= 0 && proc_ns(pid, 0, "pid", &ns) == 0 &&
	    ns != s->sp->host_ns[NS_PID] && proc_has_uid(pid, uid)) {
		s->n++;
		s->pid = pid;
		s->uid = uid;
		if (s->kill)
			(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	}
	fd_close(&pidfd);
	return false;
}

static bool
has_folder(const struct spawner *sp, const char *name)
{
	struct stat st;

	return fstatat(sp->run_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	    fstatat(sp->state_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Jails without a uid that is known; j is one. */
static unsigned int
nameless(struct spawner *sp, const struct jail_id *j)
{
	unsigned int n = held_find(sp, j) == NULL;
	struct held *h;

	for (h = held_next(sp, NULL); h != NULL; h = held_next(sp, h))
		n += h->rec.nprogs == 0;
	return n;
}

int
lost_end(struct spawner *sp, const struct jail_id *j, struct err *e)
{
	char name[JAIL_NAME_MAX + 1];
	struct strays s = { .sp = sp };
	int r;

	jail_name(j, name);
	if (!has_folder(sp, name))
		return 0;
	s.kill = nameless(sp, j) == 1;
	if ((r = proc_each(on_stray, &s)) < 0)
		return err_errno(e, r, "/proc");
	if (s.n == 0)
		return 0;
	if (s.kill)
		log_warn("jail %s: %u processes without a record, of uid %u, "
			 "killed",
		    name, s.n, s.uid);
	return s.kill
	    ? err_set(e, -EBUSY, "process %d of uid %u still lives", (int)s.pid,
		  s.uid)
	    : err_set(e, -EBUSY,
		  "no record says whose process %d of uid %u is: end it, and "
		  "release this again",
		  (int)s.pid, s.uid);
}
