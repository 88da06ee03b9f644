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
#include "warden/exec.h"
#include "warden/vmm_seccomp.h"

#define FD_SPEC 3
#define FD_TAP 7
#define FD_ARGS 8
#define FD_VSOCK 9
#ifdef SECCOMP_DEBUG
#define FD_COUNT (fcntl(VMM_DEBUG_FD, F_GETFD) < 0 ? 10 : VMM_DEBUG_FD + 1)
#else
#define FD_COUNT 10
#endif

int
exec_args_check(const char *s, size_t len, struct err *e)
{
	size_t i;

	if (len > GUEST_CMDLINE_MAX)
		return err_set(e, -E2BIG, "kernel arguments: over %d bytes",
		    GUEST_CMDLINE_MAX);
	for (i = 0; i < len; i++) {
		if (RULE(EXEC_ARGS_PRINTABLE) && (s[i] < ' ' || s[i] > '~'))
			return err_set(e, -EINVAL,
			    "kernel arguments: byte %zu is not printable", i);
	}
	return 0;
}

static void
read_spec(struct keep_spec *spec)
{
	void *p = NULL;
	size_t len = 0;
	int r;

	if ((r = memfd_read(FD_SPEC, sizeof(*spec), &p, &len)) < 0)
		fatal("spec: %s", strerror(-r));
	if (len != sizeof(*spec) || keep_spec_check(p) < 0)
		fatal("spec: malformed");
	memcpy(spec, p, sizeof(*spec));
	free(p);
}

static char *
read_args(void)
{
	struct err e = { 0 };
	void *p = NULL;
	size_t len = 0;
	int r;

	if ((r = memfd_read(FD_ARGS, GUEST_CMDLINE_MAX, &p, &len)) < 0)
		fatal("kernel arguments: %s", strerror(-r));
	if (exec_args_check(p, len, &e) < 0)
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
limits(const struct keep_spec *spec)
{
	const rlim_t mib = 1UL << 20;
	const struct limit_row rows[] = {
		{ true, "core", 0, RLIMIT_CORE }, /* guest memory */
		{ true, "memlock", 0, RLIMIT_MEMLOCK },
		{ true, "msgqueue", 0, RLIMIT_MSGQUEUE },
		{ true, "nice", 0, RLIMIT_NICE },
		{ true, "rtprio", 0, RLIMIT_RTPRIO },
		/* fixed set of sockets, libraries while they are loaded */
		{ true, "nofile", 256, RLIMIT_NOFILE },
		/* threads of this uid: vCPUs, 64 I/O workers, keeper, warden */
		{ RULE(VMM_NPROC), "nproc", spec->vcpus + 96UL, RLIMIT_NPROC },
		/* its own log is the only file it writes */
		{ true, "fsize", 16 * mib, RLIMIT_FSIZE },
#ifndef MEWS_ASAN /* whose shadow is terabytes of it */
		/* where no cgroup counts: guest memory, stacks, devices */
		{ true, "data",
		    ((rlim_t)spec->mem_mib + 1024U + 16UL * spec->vcpus) * mib,
		    RLIMIT_DATA },
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

static void
arrange_fds(const struct keep_spec *spec, uint32_t cid)
{
	int fd;

	for (fd = FD_SPEC + 1; fd < FD_TAP; fd++) {
		if (fd_keep(fd) < 0)
			fatal("descriptor %d: %m", fd);
	}
	(void)close(FD_SPEC);
	(void)close(FD_ARGS);
	if (spec->nics == 0)
		(void)close(FD_TAP);
	else if (fd_keep(FD_TAP) < 0)
		fatal("descriptor %d: %m", FD_TAP);
	if (cid == 0)
		(void)close(FD_VSOCK);
	else if (fd_keep(FD_VSOCK) < 0)
		fatal("descriptor %d: %m", FD_VSOCK);
}

_Noreturn void
exec_vmm(const struct vmm_backend *be, uint32_t cid)
{
	static char *const no_env[] = { NULL };
	struct keep_spec spec;
	struct err e = { 0 };
	static struct argv a; /* execve needs it until the very end */
	char *extra;

	fds_expect(FD_COUNT);
	/* until exec resets it: the same uid may run hostile code later */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fatal("PR_SET_DUMPABLE: %m");
	read_spec(&spec);
	extra = read_args();
	if (be->compose(&spec, cid, extra, &a, &e) < 0)
		fatal("%s", e.msg);
	free(extra);
	limits(&spec);
	arrange_fds(&spec, cid);
	vmm_seccomp(spec.accel, cid != 0, be->path);
	(void)execve(be->path, a.v, no_env);
	/* the filter has no call left to say so with but write(2) */
	fatal("%s: %m", be->path);
}
