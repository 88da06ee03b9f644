#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/uids.h"
#include "spawner/group.h"
#include "spawner/load.h"
#include "spawner/lost.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"

#define STRANGER_MS 2000
#define REASON_MAX 96

/* Is it of today's mews.conf?  Where a uid stands in the range is what its
 * record says: an earlier suite may have cut it otherwise. */
static bool
fits(const struct spawner *sp, const struct record *rec)
{
	const struct uids u = { sp->conf.uid_base, sp->conf.uid_count };
	uint32_t i;

	for (i = 0; i < rec->nprogs; i++) {
		if (!uids_has(&u, rec->prog[i].uid))
			return false;
	}
	return true;
}

/*
 * mews.conf has other uids by now, and nothing stands for this jail: it must
 * not run on where nobody would find it.  Its record stays held, so that its
 * folder does too until nothing of its uid lives.
 */
static void
end_stranger(const struct spawner *sp, const char *name,
    const struct record *rec, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	log_error(
	    "jail %s: uid %u is not in mews.conf's range", name, rec->uid);
	if (held_is_alive(sp, rec, pidfd) == 0 &&
	    proc_has_uid((pid_t)rec->pid, rec->uid) &&
	    pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0) {
		(void)poll(&p, 1, STRANGER_MS);
		log_warn("jail %s: killed", name);
	}
}

/* The record of a jail's folder; or why it is not to be believed. */
static const char *
read_rec(struct spawner *sp, const struct jail_id *j, const char *name,
    struct record *rec, char text[static REASON_MAX])
{
	const struct held *other;
	char theirs[JAIL_NAME_MAX + 1];
	uint32_t uid;
	int r;

	if ((r = record_read(sp->run_fd, name, rec)) < 0)
		return strerrordesc_np(-r);
	if (rec->jail.kind != j->kind || rec->jail.id != j->id)
		return "it is another jail's";
	if ((other = held_clash(sp, rec, &uid)) == NULL)
		return NULL;
	jail_name(&other->rec.jail, theirs);
	(void)snprintf(
	    text, REASON_MAX, "its uid %u is that of jail %s", uid, theirs);
	return text;
}

static void
load(struct spawner *sp, const struct jail_id *j, const char *name)
{
	struct record rec = { 0 };
	char text[REASON_MAX];
	const char *fault = read_rec(sp, j, name, &rec, text);
	struct held *h;
	int pidfd;

	if (fault != NULL) {
		pidfd = lost_find(sp, j, name, &rec);
		log_error("jail %s: its record cannot be believed (%s): %s "
			  "until it is released",
		    name, fault, pidfd < 0 ? "kept" : "left alone, alive,");
	} else {
		if (rec.cgroup && rec.group[0] == '\0') /* of version 1 */
			group_of(sp, &rec.jail, rec.group);
		pidfd = pidfd_open((pid_t)rec.pid, 0);
		if (!fits(sp, &rec))
			end_stranger(sp, name, &rec, pidfd);
		/* the uid only here: of our own children, read-back judges */
		if (held_is_alive(sp, &rec, pidfd) < 0 ||
		    (RULE(RECORD_UID) &&
			!proc_has_uid((pid_t)rec.pid, rec.uid)))
			fd_close(&pidfd);
		log_info("jail %s: %s", name, pidfd < 0 ? "dead" : "alive");
	}
	if ((h = held_add(sp, &rec, pidfd)) == NULL) {
		fatal("out of memory");
		return;
	}
	h->is_lost = fault != NULL;
}

void
load_held(struct spawner *sp)
{
	int fd = openat(sp->run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	struct jail_id j;

	if (d == NULL)
		fatal("run directory: %m");
	while ((de = readdir(d)) != NULL) {
		if (jail_name_parse(de->d_name, &j) == 0)
			load(sp, &j, de->d_name);
	}
	(void)closedir(d);
}
