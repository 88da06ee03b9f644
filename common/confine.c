#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"

/* Every right of Landlock's first version; later ones are added below as
 * far as the kernel knows them (landlock(7)). */
#define LL_V1 ((1ULL << 13) - 1)
#define LL_REFER (1ULL << 13) /* version 2 */
#define LL_TRUNCATE (1ULL << 14) /* version 3 */
#define LL_TCP 3ULL /* version 4: bind and connect, which no room does */
#define LL_IOCTL_DEV (1ULL << 15) /* version 5 */
/* version 6: abstract sockets and signals of whoever is not confined with us;
 * no room has any business with either */
#define LL_SCOPE_ABSTRACT 1ULL
#define LL_SCOPE_SIGNAL 2ULL
/* version 7: what is refused is audited after an exec, too; no room execs, so
 * this would be somebody else's program */
#define LL_LOG_NEW_EXEC 2U

/* linux/landlock.h may be older than the kernel; so may the kernel, which
 * then takes the struct by its size as long as the rest is zero. */
struct landlock_attr {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

static void
landlock_known(long abi, struct landlock_attr *attr, uint32_t *flags)
{
	attr->fs = LL_V1;
	if (abi >= 2)
		attr->fs |= LL_REFER;
	if (abi >= 3)
		attr->fs |= LL_TRUNCATE;
	if (abi >= 4)
		attr->net = LL_TCP;
	if (abi >= 5)
		attr->fs |= LL_IOCTL_DEV;
	if (abi >= 6 && RULE(CONFINE_SCOPE))
		attr->scoped = LL_SCOPE_ABSTRACT | LL_SCOPE_SIGNAL;
	if (abi >= 7)
		*flags = LL_LOG_NEW_EXEC;
}

static void
landlock_apply(const struct landlock_path *paths, size_t n)
{
	struct landlock_attr attr = { 0 };
	uint32_t flags = 0;
	long abi, set;
	size_t i;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return; /* the empty root and the uid still hold */
	landlock_known(abi, &attr, &flags);
	set = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (set < 0)
		fatal("landlock_create_ruleset: %m");
	for (i = 0; i < n; i++) {
		struct landlock_path_beneath_attr rule = {
			.allowed_access = paths[i].access & attr.fs,
			.parent_fd = paths[i].fd,
		};
		const char *name =
		    paths[i].path == NULL ? "folder" : paths[i].path;

		if (paths[i].path != NULL)
			rule.parent_fd = open(name, O_PATH | O_CLOEXEC);
		if (rule.parent_fd < 0)
			fatal("landlock: %s: %m", name);
		if (syscall(SYS_landlock_add_rule, (int)set,
			LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			fatal("landlock_add_rule %s: %m", name);
		if (paths[i].path != NULL)
			(void)close(rule.parent_fd);
	}
	if (syscall(SYS_landlock_restrict_self, (int)set, flags) < 0)
		fatal("landlock_restrict_self: %m");
	(void)close((int)set);
}

static void
limit(int what, const char *name, unsigned int max)
{
	struct rlimit rl;

	if (getrlimit((__rlimit_resource_t)what, &rl) < 0)
		fatal("getrlimit %s: %m", name);
	/* only ever lowered: raising needs what some hosts do not give */
	if (rl.rlim_max > max)
		rl.rlim_max = max;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit((__rlimit_resource_t)what, &rl) < 0)
		fatal("setrlimit %s: %m", name);
}

int
caps_drop_bounding(uint64_t keep)
{
	unsigned long cap;

	for (cap = 0; cap < 64; cap++) {
		if ((keep & CAP_BIT(cap)) != 0 ||
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		/* past the kernel's last one */
		return errno == EINVAL ? 0 : -errno;
	}
	return 0;
}

static void
set_caps(uint64_t keep)
{
	cap_t caps = cap_init();
	cap_value_t v;

	if (caps == NULL)
		fatal("cap_init: %m");
	for (v = 0; v < 64; v++) {
		if ((keep & CAP_BIT(v)) == 0)
			continue;
		if (cap_set_flag(caps, CAP_PERMITTED, 1, &v, CAP_SET) < 0 ||
		    cap_set_flag(caps, CAP_EFFECTIVE, 1, &v, CAP_SET) < 0)
			fatal("capability %d: %m", (int)v);
	}
	if (cap_set_proc(caps) < 0)
		fatal("cap_set_proc: %m");
	(void)cap_free(caps);
}

void
proc_confine(const struct confinement *c)
{
	const pid_t parent = getppid();

	if (RULE(CONFINE_ROOT) && c->root != NULL &&
	    (chroot(c->root) < 0 || chdir("/") < 0))
		fatal("chroot %s: %m", c->root);
	if (RULE(CONFINE_GROUPS) && setgroups(0, NULL) < 0)
		fatal("setgroups: %m");
	if (RULE(CONFINE_GID) && setresgid(c->gid, c->gid, c->gid) < 0)
		fatal("setresgid %u: %m", c->gid);
	if (RULE(CONFINE_BOUNDING) && caps_drop_bounding(c->caps) < 0)
		fatal("bounding set: %m");
	/* keeps the permitted set over the change of uid, nothing longer */
	if (c->caps != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		fatal("PR_SET_KEEPCAPS: %m");
	if (RULE(CONFINE_UID) && setresuid(c->uid, c->uid, c->uid) < 0)
		fatal("setresuid %u: %m", c->uid);
	if (RULE(CONFINE_CAPS))
		set_caps(c->caps);
	if (RULE(CONFINE_NNP) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fatal("PR_SET_NO_NEW_PRIVS: %m");
	/* a core or a ptrace of a room would show what others told it */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fatal("PR_SET_DUMPABLE: %m");
	/* here, because a change of uid undoes it */
	if (c->tied &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
		getppid() != parent))
		fatal("whoever started this room is gone");
	if (RULE(CONFINE_LANDLOCK) && !c->mounts)
		landlock_apply(c->paths, c->npaths);
	if (RULE(CONFINE_CORE))
		limit(RLIMIT_CORE, "core", LIMIT_NO_CORE);
	if (RULE(CONFINE_NOFILE) && c->nofile > 0)
		limit(RLIMIT_NOFILE, "nofile", c->nofile);
	if (RULE(CONFINE_NPROC) && c->nproc > 0)
		limit(RLIMIT_NPROC, "nproc", c->nproc);
}
