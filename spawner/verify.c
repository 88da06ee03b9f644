#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/num.h"
#include "common/util.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"
#include "spawner/verbs.h"

/*
 * Read-back (I4): what the kernel says about every thread of every process
 * of a jail, compared word for word with what it has to say.
 */
#define JAIL_PROCS_MAX 8
#define STATUS_MAX 8192

struct readback {
	const struct spawner *sp;
	const struct record *rec;
	struct err *e;
	pid_t pids[JAIL_PROCS_MAX]; /* 0 is pid 1, then its descendants */
	size_t npids;
	pid_t found[RECORD_PROGS_MAX]; /* by row of the record */
	unsigned int threads; /* of the process read last */
};

/* For people; a later build's record may have a role we know nothing of. */
static const char *
name_of(const struct record_prog *p)
{
	const struct jail_prog *row = jail_prog(p->role);

	return row != NULL ? row->name : "program";
}

static int
has_line(const char *status, const char *line)
{
	const char *p = strstr(status, line);
	size_t len = strlen(line);

	return p != NULL && p > status && p[-1] == '\n' && p[len] == '\n';
}

/* Some programs add a filter for a thread of theirs. */
static int
check_range(struct readback *rb, const struct record_prog *p,
    const char *status, pid_t pid, pid_t tid)
{
	const uint32_t base = rb->rec->filters;
	char line[48];
	uint32_t n;

	for (n = p->filters_min; n <= p->filters_max; n++) {
		(void)snprintf(
		    line, sizeof(line), "Seccomp_filters:\t%u", base + n);
		if (has_line(status, line))
			return 0;
	}
	return err_set(rb->e, -EPERM,
	    "%s %d thread %d: not %u to %u seccomp filters", name_of(p),
	    (int)pid, (int)tid, base + p->filters_min, base + p->filters_max);
}

/* One thread's status file, line by line as it must read. */
static int
check_status(
    struct readback *rb, const struct record_prog *p, pid_t pid, pid_t tid)
{
	const uint32_t uid = p->uid, least = rb->rec->filters + p->filters_min;
	char ids[2][64], filters[48], path[64], buf[STATUS_MAX];
	const struct {
		bool rule;
		const char *line;
	} want[] = {
		{ RULE(VERIFY_UID), ids[0] },
		{ RULE(VERIFY_GID), ids[1] },
		{ RULE(VERIFY_GROUPS), "Groups:\t " },
		{ RULE(VERIFY_CAPS), "CapInh:\t0000000000000000" },
		{ RULE(VERIFY_CAPS), "CapPrm:\t0000000000000000" },
		{ RULE(VERIFY_CAPS), "CapEff:\t0000000000000000" },
		{ RULE(VERIFY_BOUNDING), "CapBnd:\t0000000000000000" },
		{ RULE(VERIFY_CAPS), "CapAmb:\t0000000000000000" },
		{ RULE(VERIFY_NNP), "NoNewPrivs:\t1" },
		{ RULE(VERIFY_SECCOMP), "Seccomp:\t2" },
		{ RULE(VERIFY_FILTERS) && p->filters_min == p->filters_max,
		    filters },
	};
	size_t i;
	ssize_t n;

	(void)snprintf(
	    ids[0], sizeof(ids[0]), "Uid:\t%u\t%u\t%u\t%u", uid, uid, uid, uid);
	(void)snprintf(
	    ids[1], sizeof(ids[1]), "Gid:\t%u\t%u\t%u\t%u", uid, uid, uid, uid);
	(void)snprintf(filters, sizeof(filters), "Seccomp_filters:\t%u", least);
	(void)snprintf(
	    path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
	if ((n = proc_read(path, buf, sizeof(buf))) < 0)
		return err_errno(rb->e, (int)n, "%s", name_of(p));
	for (i = 0; i < nitems(want); i++) {
		if (want[i].rule && !has_line(buf, want[i].line))
			return err_set(rb->e, -EPERM,
			    "%s %d thread %d: is not \"%s\"", name_of(p),
			    (int)pid, (int)tid, want[i].line);
	}
	if (RULE(VERIFY_FILTERS) && p->filters_min != p->filters_max)
		return check_range(rb, p, buf, pid, tid);
	return 0;
}

static int
check_namespaces(
    struct readback *rb, const struct record_prog *p, pid_t pid, pid_t tid)
{
	uint64_t ino = 0;
	int i, r;

	for (i = 0; i < NS_N; i++) {
		if ((r = proc_ns(pid, tid, ns_names[i], &ino)) < 0)
			return err_errno(rb->e, r, "%s", name_of(p));
		if (ino != rb->rec->ns[i] || ino == rb->sp->host_ns[i])
			return err_set(rb->e, -EPERM,
			    "%s %d thread %d: %s namespace", name_of(p),
			    (int)pid, (int)tid, ns_names[i]);
	}
	/* one of its own would bring all capabilities back, unless it is what
	 * the program is made of */
	if ((r = proc_ns(pid, tid, "user", &ino)) < 0)
		return err_errno(rb->e, r, "%s", name_of(p));
	return (ino != rb->sp->user_ns) == ((p->flags & PROG_USERNS) != 0)
	    ? 0
	    : err_set(rb->e, -EPERM, "%s %d thread %d: user namespace",
		  name_of(p), (int)pid, (int)tid);
}

static int
check_thread(
    struct readback *rb, const struct record_prog *p, pid_t pid, pid_t tid)
{
	int r = check_status(rb, p, pid, tid);

	if (r == 0 && RULE(VERIFY_NAMESPACES))
		r = check_namespaces(rb, p, pid, tid);
	return r;
}

static int
stat_proc(pid_t pid, const char *what, struct file_id *id)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	if (stat(path, &st) < 0)
		return -errno;
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	return 0;
}

static int
same_file(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static int
check_root(struct readback *rb, const struct record_prog *p, pid_t pid)
{
	struct file_id id = { 0 };
	int r = stat_proc(pid, "root", &id);

	if (r < 0)
		return err_errno(rb->e, r, "%s", name_of(p));
	return same_file(&id, &rb->sp->host_root)
	    ? err_set(rb->e, -EPERM, "%s %d: root is the host's", name_of(p),
		  (int)pid)
	    : 0;
}

/* The line "0::/path/of/suite/vm/<uid>", the only one where all is v2. */
static int
check_cgroup(struct readback *rb, const struct record_prog *p, pid_t pid)
{
	/* in front of the file a line's end, so that a line begins with it */
	char path[64], buf[4096] = "\n", want[CGROUP_PATH_MAX + 8];
	ssize_t n;

	if (!rb->rec->cgroup || !RULE(VERIFY_CGROUP))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	(void)snprintf(want, sizeof(want), "0::%s", rb->rec->group);
	if ((n = proc_read(path, buf + 1, sizeof(buf) - 1)) < 0)
		return err_errno(rb->e, (int)n, "%s", name_of(p));
	return has_line(buf, want)
	    ? 0
	    : err_set(rb->e, -EPERM, "%s %d: cgroup is not %.100s", name_of(p),
		  (int)pid, rb->rec->group);
}

/* Adds the children that one thread has to the list. */
static int
add_children(struct readback *rb, pid_t pid, pid_t tid)
{
	char path[64], buf[1024], *p = buf, *w;
	long long v;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)pid, (int)tid);
	if ((n = proc_read(path, buf, sizeof(buf))) < 0)
		return err_errno(rb->e, (int)n, "children of %d", (int)pid);
	while ((w = strsep(&p, " \n")) != NULL) {
		if (num_parse(w, 1, INT32_MAX, &v) < 0)
			continue;
		if (rb->npids == JAIL_PROCS_MAX)
			return err_set(rb->e, -EPERM, "too many processes");
		rb->pids[rb->npids++] = (pid_t)v;
	}
	return 0;
}

/* Calls fn for every thread; p is only passed on. */
static int
each_thread(struct readback *rb, pid_t pid, const struct record_prog *p,
    int (*fn)(struct readback *, const struct record_prog *, pid_t, pid_t))
{
	char path[64];
	struct dirent *de;
	long long tid;
	DIR *d;
	int r = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((d = opendir(path)) == NULL)
		return err_errno(rb->e, -errno, "process %d", (int)pid);
	rb->threads = 0;
	while (r == 0 && (de = readdir(d)) != NULL) {
		if (num_parse(de->d_name, 1, INT32_MAX, &tid) < 0)
			continue;
		rb->threads++;
		r = fn(rb, p, pid, (pid_t)tid);
	}
	(void)closedir(d);
	if (r == 0 && rb->threads == 0)
		r = err_set(rb->e, -ESRCH, "process %d has ended", (int)pid);
	return r;
}

static int
list_thread(
    struct readback *rb, const struct record_prog *p, pid_t pid, pid_t tid)
{
	(void)p;
	return add_children(rb, pid, tid);
}

/* Which program a process is, by the file it was exec'ed from. */
static int
find_role(struct readback *rb, pid_t pid, const struct record_prog **ret)
{
	struct file_id id = { 0 };
	uint32_t i;
	int r = stat_proc(pid, "exe", &id);

	if (r < 0)
		return err_errno(rb->e, r, "process %d", (int)pid);
	for (i = 0; i < rb->rec->nprogs; i++) {
		const struct record_prog *p = &rb->rec->prog[i];

		if (!same_file(&id, &p->file))
			continue;
		/* a second one may be a child on its way to exec */
		if (rb->found[i] != 0)
			return err_set(rb->e, -EAGAIN, "two of %s", name_of(p));
		rb->found[i] = pid;
		*ret = p;
		return 0;
	}
	return err_set(
	    rb->e, -EPERM, "process %d runs another program", (int)pid);
}

static int
check_process(struct readback *rb, pid_t pid)
{
	const struct record_prog *p = NULL;
	int r;

	if ((r = find_role(rb, pid, &p)) < 0)
		return r;
	assert(p != NULL);
	if ((r = check_root(rb, p, pid)) < 0 ||
	    (r = check_cgroup(rb, p, pid)) < 0)
		return r;
	return each_thread(rb, pid, p, check_thread);
}

/* The process that has a role, 0: none. */
static pid_t
found(const struct readback *rb, enum jail_role role)
{
	const struct record_prog *p = record_prog(rb->rec, role);

	return p == NULL ? 0 : rb->found[p - rb->rec->prog];
}

/* All that was asked for, and nothing else that does not come and go by
 * itself. */
static int
check_there(struct readback *rb, uint32_t what)
{
	uint32_t i;

	for (i = 1; i < rb->rec->nprogs; i++) {
		const struct record_prog *p = &rb->rec->prog[i];
		const struct jail_prog *row = jail_prog(p->role);
		const bool is = rb->found[i] != 0;

		if (row == NULL)
			continue; /* of a later build: it may be */
		if ((what & JAIL_ROLE_BIT(p->role)) != 0) {
			what &= ~JAIL_ROLE_BIT(p->role);
			if (!is)
				return err_set(
				    rb->e, -EAGAIN, "no %s", row->name);
		} else if (is && !row->restarts)
			return err_set(
			    rb->e, -EAGAIN, "a %s too many", row->name);
	}
	what &= ~JAIL_ROLE_BIT(rb->rec->prog[0].role);
	return what == 0 ? 0
			 : err_set(rb->e, -EPERM,
			       "it was made without a program that is asked "
			       "for (roles %#x)",
			       what);
}

static int
check_all(struct readback *rb, uint32_t what, struct spawn_verified *ret)
{
	size_t i;
	int r = 0;

	/* every process of a pid namespace descends from its pid 1 */
	rb->pids[rb->npids++] = (pid_t)rb->rec->pid;
	for (i = 0; i < rb->npids && r == 0; i++)
		r = each_thread(rb, rb->pids[i], NULL, list_thread);
	for (i = 0; i < rb->npids && r == 0; i++) {
		r = check_process(rb, rb->pids[i]);
		if (r == 0 && found(rb, JAIL_VMM) == rb->pids[i])
			ret->confined.threads = (uint16_t)rb->threads;
	}
	if (r < 0)
		return r;
	if (rb->found[0] != (pid_t)rb->rec->pid)
		return err_set(rb->e, -EPERM, "pid 1 is not the %s",
		    name_of(&rb->rec->prog[0]));
	return check_there(rb, what);
}

int
jail_verify(struct spawner *sp, const struct spawn_verify *v,
    struct spawn_verified *ret, struct err *e)
{
	const struct held *h = held_find(sp, &v->jail);
	const struct record_prog *vmm;
	struct readback rb = { .sp = sp, .e = e };
	int r;

	if (h == NULL)
		return err_set(e, -ENOENT, "no such jail");
	if (held_alive(sp, h) < 0)
		return err_set(e, -ESRCH, "its pid 1 is dead");
	rb.rec = &h->rec;
	ret->jail = v->jail;
	if ((r = check_all(&rb, v->what, ret)) < 0)
		return r == -ENOENT ? -ESRCH : r;
	if (held_alive(sp, h) < 0) /* it was this one all along */
		return err_set(e, -ESRCH, "its pid 1 died");
	ret->vmm_pid = (uint32_t)found(&rb, JAIL_VMM);
	ret->warden_pid = (uint32_t)found(&rb, JAIL_WARDEN);
	ret->confined.verified = 1;
	ret->confined.cgroup = h->rec.cgroup;
	vmm = record_prog(&h->rec, JAIL_VMM);
	ret->confined.filters =
	    h->rec.filters + (vmm == NULL ? 0U : vmm->filters_min);
	ret->confined.uid = h->rec.uid;
	ret->confined.cid = h->rec.cid;
	return 0;
}
