#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "warden/argv.h"
#include "warden/backend.h"
#include "warden/compose.h"
#include "warden/vmm_seccomp.h"

static void
read_machine(struct ward_exec *x)
{
	void *p = NULL;
	size_t len = 0;
	int r;

	if ((r = memfd_read(WARD_EXEC_FD, sizeof(*x), &p, &len)) < 0)
		fatal("machine: %s", strerror(-r));
	if (ward_exec_get(p, len, x) < 0)
		fatal("machine: malformed");
	free(p);
}

/* Ours, empty when there are none. */
static char *
read_args(const struct ward_exec *x)
{
	int fd = ward_exec_fd(x, FDR_ARGS, 0), r;
	struct err e = { 0 };
	void *p = NULL;
	size_t len = 0;

	if (fd < 0)
		p = calloc(1, 1);
	else if ((r = memfd_read(fd, MACHINE_ARGS_MAX, &p, &len)) < 0)
		fatal("kernel arguments: %s", strerror(-r));
	if (p == NULL)
		fatal("out of memory");
	if (machine_args_check(p, len, &e) < 0)
		fatal("%s", e.msg);
	return p;
}

struct limit_row {
	bool rule;
	const char *name;
	rlim_t max;
	int what;
};

/* Only ever lowered; what the hypervisor has no use for becomes nothing. */
static void
limits(const struct machine *m)
{
	const struct machine_limits l = machine_limits(m);
	const rlim_t mib = 1UL << 20;
	const struct limit_row rows[] = {
		{ true, "core", LIMIT_NO_CORE, RLIMIT_CORE }, /* guest memory */
		{ true, "memlock", l.locked_mib * mib, RLIMIT_MEMLOCK },
		{ true, "msgqueue", 0, RLIMIT_MSGQUEUE },
		{ true, "nice", 0, RLIMIT_NICE },
		{ true, "rtprio", 0, RLIMIT_RTPRIO },
		{ true, "nofile", l.fds, RLIMIT_NOFILE },
		{ RULE(VMM_NPROC), "nproc", l.threads, RLIMIT_NPROC },
		/* its own log is the only file it writes */
		{ true, "fsize", l.file_mib * mib, RLIMIT_FSIZE },
#ifndef MEWS_ASAN /* whose shadow is terabytes of it */
		/* where no cgroup counts: guest memory, stacks, devices */
		{ true, "data", l.data_mib * mib, RLIMIT_DATA },
#endif
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		__rlimit_resource_t what = (__rlimit_resource_t)rows[i].what;
		struct rlimit rl;

		if (!rows[i].rule)
			continue;
		if (getrlimit(what, &rl) < 0)
			fatal("getrlimit %s: %m", rows[i].name);
		if (rl.rlim_max > rows[i].max)
			rl.rlim_max = rows[i].max;
		rl.rlim_cur = rl.rlim_max;
		if (setrlimit(what, &rl) < 0)
			fatal("setrlimit %s: %m", rows[i].name);
	}
}

/* What the hypervisor is born with: its listeners and what a device of its
 * own needs.  The rest is closed here or by the exec. */
static bool
is_vmms(const struct machine *m, const struct machine_fd *id)
{
	unsigned int kind;

	if (id->role == FDR_QMP || id->role == FDR_SERIAL ||
	    id->role == FDR_AGENT)
		return true;
	for (kind = 0; kind < DEV_KINDS; kind++) {
		const struct dev_row *row = dev_row(kind);

		if (row != NULL && row->fd == id->role)
			return machine_dev(m, kind, id->index) != NULL;
	}
	return false;
}

static void
arrange_fds(const struct ward_exec *x)
{
	unsigned int i;

	(void)close(WARD_EXEC_FD);
	for (i = 0; i < x->nfds; i++) {
		int fd = WARD_EXEC_FD_FIRST + (int)i;

		if (!is_vmms(&x->machine, &x->fd[i])) {
			if (x->fd[i].role != FDR_WATCH)
				(void)close(fd);
		} else if (fd_keep(fd) < 0)
			fatal("descriptor %d: %m", fd);
	}
}

_Noreturn void
compose_exec(const struct vmm_backend *be)
{
	static char *const no_env[] = { NULL };
	static struct ward_exec x;
	struct err e = { 0 };
	static struct argv a; /* execve needs it until the very end */
	const char *path;
	char *extra;

	/* until exec resets it: the same uid may run hostile code later */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fatal("PR_SET_DUMPABLE: %m");
	read_machine(&x);
	fds_expect(WARD_EXEC_FD_FIRST + (int)x.nfds);
	path = backend_row(x.machine.backend)->path;
	extra = read_args(&x);
	if (be->compose(&x, extra, &a, &e) < 0)
		fatal("%s", e.msg);
	free(extra);
	limits(&x.machine);
	arrange_fds(&x);
	vmm_seccomp(&x.machine, path, ward_exec_fd(&x, FDR_WATCH, 0));
	(void)execve(path, a.v, no_env);
	/* the filter has no call left to say so with but write(2) */
	fatal("%s: %m", path);
}
