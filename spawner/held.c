#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/uid.h"
#include "common/util.h"
#include "proto/uids.h"
#include "spawner/group.h"
#include "spawner/held.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"

static int
cmp_held(const struct held *a, const struct held *b)
{
	const struct jail_id *x = &a->rec.jail, *y = &b->rec.jail;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

RB_GENERATE_STATIC(held_tree, held, entry, cmp_held)

struct held *
held_find(struct spawner *sp, const struct jail_id *j)
{
	struct held key = { .rec = { .jail = *j } };

	return RB_FIND(held_tree, &sp->held, &key);
}

struct held *
held_next(struct spawner *sp, struct held *h)
{
	return h == NULL ? RB_MIN(held_tree, &sp->held)
			 : RB_NEXT(held_tree, &sp->held, h);
}

struct held *
held_add(struct spawner *sp, const struct record *rec, int pidfd)
{
	struct held *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->rec = *rec;
	h->pidfd = pidfd;
	if (RB_INSERT(held_tree, &sp->held, h) != NULL)
		fatal("a jail has two records");
	return h;
}

void
held_remove(struct spawner *sp, struct held *h)
{
	(void)RB_REMOVE(held_tree, &sp->held, h);
	fd_close(&h->pidfd);
	free(h);
}

static const struct held *
held_by_uid(struct spawner *sp, uint32_t uid)
{
	struct held *h;
	uint32_t i;

	for (h = held_next(sp, NULL); h != NULL; h = held_next(sp, h)) {
		for (i = 0; i < h->rec.nprogs; i++) {
			if (h->rec.prog[i].uid == uid)
				return h;
		}
	}
	return NULL;
}

const struct held *
held_clash(struct spawner *sp, const struct record *rec, uint32_t *uid)
{
	const struct held *other = NULL;
	uint32_t i;

	for (i = 0; i < rec->nprogs && other == NULL; i++) {
		*uid = rec->prog[i].uid;
		other = held_by_uid(sp, *uid);
	}
	return other;
}

uint32_t
held_busy_uid(const struct held *h)
{
	uint32_t i;

	for (i = 0; i < h->rec.nprogs; i++) {
		if (uid_in_use(h->rec.prog[i].uid))
			return h->rec.prog[i].uid;
	}
	return 0;
}

static int
pidfd_dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

/*
 * Pids are reused and records can be old: start time and namespace must be
 * the recorded ones, and the pidfd, opened before they were read, has to be
 * alive after: then they were read of this very process.
 */
static int
is_alive(const struct spawner *sp, const struct record *rec, int pidfd)
{
	uint64_t start = 0, ns = 0;

	if (pidfd < 0 ||
	    memcmp(rec->boot_id, sp->boot_id, sizeof(sp->boot_id)) != 0)
		return -ESRCH;
	if (RULE(RECORD_START) &&
	    (proc_start_time((pid_t)rec->pid, &start) < 0 ||
		start != rec->start_time))
		return -ESRCH;
	if (RULE(RECORD_NS) &&
	    (proc_ns((pid_t)rec->pid, 0, "pid", &ns) < 0 ||
		ns != rec->ns[NS_PID] || ns == sp->host_ns[NS_PID]))
		return -ESRCH;
	return pidfd_dead(pidfd) ? -ESRCH : 0;
}

int
held_alive(const struct spawner *sp, const struct held *h)
{
	return is_alive(sp, &h->rec, h->pidfd);
}

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
 * mews.conf has other uids by now, and nothing stands for this jail: its
 * folder will be released, and it must not run on where nobody would find it.
 */
static void
end_stranger(
    const struct spawner *sp, const char *name, const struct record *rec)
{
	int pidfd = pidfd_open((pid_t)rec->pid, 0);

	log_error(
	    "jail %s: uid %u is not in mews.conf's range", name, rec->uid);
	if (is_alive(sp, rec, pidfd) == 0 &&
	    proc_has_uid((pid_t)rec->pid, rec->uid) &&
	    pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
		log_warn("jail %s: killed", name);
	fd_close(&pidfd);
}

static void
load(struct spawner *sp, const struct jail_id *j, const char *name)
{
	struct record rec = { 0 };
	const struct held *other;
	char theirs[JAIL_NAME_MAX + 1];
	uint32_t uid;
	int r, pidfd;

	if ((r = record_read(sp->run_fd, name, &rec)) < 0) {
		log_warn("jail %s: no record (%s)", name, strerrordesc_np(-r));
		return;
	}
	if (rec.jail.kind != j->kind || rec.jail.id != j->id) {
		log_warn("jail %s: record is another's", name);
		return;
	}
	if (!fits(sp, &rec)) {
		end_stranger(sp, name, &rec);
		return;
	}
	if (rec.cgroup && rec.group[0] == '\0') /* of version 1 */
		group_of(sp, &rec.jail, rec.group);
	if ((other = held_clash(sp, &rec, &uid)) != NULL) {
		jail_name(&other->rec.jail, theirs);
		log_error(
		    "jail %s: uid %u is that of jail %s", name, uid, theirs);
		return;
	}
	pidfd = pidfd_open((pid_t)rec.pid, 0);
	/* the uid only here: of our own children, read-back judges it */
	if (is_alive(sp, &rec, pidfd) < 0 ||
	    (RULE(RECORD_UID) && !proc_has_uid((pid_t)rec.pid, rec.uid)))
		fd_close(&pidfd);
	log_info("jail %s: %s", name, pidfd < 0 ? "dead" : "alive");
	if (held_add(sp, &rec, pidfd) == NULL)
		fatal("out of memory");
}

void
held_load(struct spawner *sp)
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
