#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"

/* After this call the record survives a crash of everything. */
int
record_write(struct spawner *sp, int dirfd, const struct record *rec)
{
	int fd, r;

	(void)sp;
	(void)unlinkat(dirfd, "record.new", 0);
	fd = openat(dirfd, "record.new",
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, rec, sizeof(*rec));
	if (r == 0 &&
	    (fsync(fd) < 0 ||
		renameat(dirfd, "record.new", dirfd, "record") < 0 ||
		fsync(dirfd) < 0))
		r = -errno;
	close_fd(&fd);
	return r;
}

/* Only a plain file of root's that nobody else may write is believed. */
static int
record_read(int run_fd, const char *name, struct record *rec)
{
	char path[NAME_MAX + sizeof("/record")];
	struct stat st;
	int fd, r = -EBADMSG;

	(void)snprintf(path, sizeof(path), "%s/record", name);
	fd = openat(
	    run_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 &&
	    (st.st_mode & 022) == 0 &&
	    (st.st_size == (off_t)sizeof(*rec) ||
		st.st_size == RECORD_V1_LEN) &&
	    read(fd, rec, sizeof(*rec)) == st.st_size &&
	    rec->version == (st.st_size == RECORD_V1_LEN ? 1 : RECORD_VERSION))
		r = 0;
	close_fd(&fd);
	return r;
}

static int
record_sane(uint64_t vm, const struct record *rec)
{
	return rec->magic == RECORD_MAGIC && rec->vm == vm && rec->pid > 1 &&
	    rec->boot_id[BOOT_ID_LEN - 1] == '\0' &&
	    rec->group[CGROUP_PATH_MAX - 1] == '\0';
}

/* Is it of today's mews.conf? */
static int
record_fits(const struct spawner *sp, const struct record *rec)
{
	return rec->slot < sp->conf.uid_count &&
	    rec->uid == sp->conf.uid_base + rec->slot;
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
int
record_alive(const struct spawner *sp, const struct slot *s)
{
	const struct record *rec = &s->rec;
	uint64_t start = 0, ns = 0;

	if (s->pidfd < 0 ||
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
	return pidfd_dead(s->pidfd) ? -ESRCH : 0;
}

struct slot *
slot_find(const struct spawner *sp, uint64_t vm)
{
	uint32_t i;

	for (i = 0; i < sp->conf.uid_count; i++) {
		if (sp->slots[i].used && sp->slots[i].rec.vm == vm)
			return &sp->slots[i];
	}
	return NULL;
}

/*
 * mews.conf has other uids by now, and no slot stands for this VM: its folder
 * will be released, and it must not run on where nobody would find it.
 */
static void
record_end(const struct spawner *sp, const char *name, const struct record *rec)
{
	struct slot s = { .rec = *rec,
		.pidfd = pidfd_open((pid_t)rec->pid, 0) };

	log_error(
	    "vm %s: uid %u is no longer in mews.conf's range", name, rec->uid);
	if (record_alive(sp, &s) == 0 &&
	    proc_has_uid((pid_t)rec->pid, rec->uid) &&
	    pidfd_send_signal(s.pidfd, SIGKILL, NULL, 0) == 0)
		log_warn("vm %s: killed", name);
	close_fd(&s.pidfd);
}

static void
record_load(struct spawner *sp, uint64_t vm, const char *name)
{
	struct record rec = { 0 };
	struct slot *s;
	int r;

	if ((r = record_read(sp->run_fd, name, &rec)) < 0) {
		log_warn("vm %s: no record (%s)", name, strerrordesc_np(-r));
		return;
	}
	if (!record_sane(vm, &rec)) {
		log_warn("vm %s: record is not ours", name);
		return;
	}
	if (!record_fits(sp, &rec)) {
		record_end(sp, name, &rec);
		return;
	}
	if (rec.version == 1 && rec.cgroup)
		vm_group(sp, vm, rec.group);
	s = &sp->slots[rec.slot];
	if (s->used) {
		log_error("vm %s: slot %u is another's", name, rec.slot);
		return;
	}
	s->used = true;
	s->rec = rec;
	s->pidfd = pidfd_open((pid_t)rec.pid, 0);
	/* the uid only here: of our own children, read-back judges it */
	if (record_alive(sp, s) < 0 ||
	    (RULE(RECORD_UID) && !proc_has_uid((pid_t)rec.pid, rec.uid)))
		close_fd(&s->pidfd);
	log_info("vm %s: %s", name, s->pidfd < 0 ? "dead" : "alive");
}

void
records_load(struct spawner *sp)
{
	int fd = openat(sp->run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	uint64_t vm;

	if (d == NULL)
		fatal("run directory: %m");
	while ((de = readdir(d)) != NULL) {
		if (parse_hex64(de->d_name, &vm) == 0 && vm != 0)
			record_load(sp, vm, de->d_name);
	}
	(void)closedir(d);
}
