#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/util.h"
#include "spawner/jail.h"

/* Where no limit of the machine's is higher: the warden's streams. */
#define JAIL_NOFILE 256
/* RLIMIT_NPROC above the cgroup's pids.max, which is to be met first. */
#define JAIL_NPROC_SPARE 64
#define JAIL_FSIZE_MIN 65536UL
#define MIB (1UL << 20)
#define JAIL_ROOT_OPTS "size=64k,nr_inodes=64,mode=0755"
#define JAIL_TOP_MAX 16 /* top folders of the staged tree */
#define KVM_MAJOR 10
#define KVM_MINOR 232
/* past all that pid 1 can have; the gate and the lock end with exec */
#define GATE_FD (JAIL_FD_FIRST + JAIL_FDS_MAX)
#define LOCK_FD (GATE_FD + 1)
#define FIRST_FREE_FD (LOCK_FD + 1)
#define LISTEN_BACKLOG 4

static _Noreturn void
give_up(int gate, const char *what)
{
	struct jail_fault f = { .err = errno };

	(void)snprintf(f.what, sizeof(f.what), "%s", what);
	(void)!write(gate, &f, sizeof(f));
	_exit(127);
}

/* Every descriptor to the place that pid 1's row says, nothing else stays. */
static void
place_fds(const struct jail *j)
{
	const uint8_t *row = jail_prog(j->kind->first)->fds;
	/* opened for this jail: its flags (F_SETFL) are seen by all who have
	 * the same open file description */
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[FIRST_FREE_FD], high[FIRST_FREE_FD];
	unsigned int i, n = 0;

	if (null < 0)
		give_up(j->gate, "/dev/null");
	from[n++] = null;
	from[n++] = null;
	from[n++] = j->log_fd;
	for (i = 0; row[i] != JAIL_FD_NONE; i++)
		from[n++] = j->fds[i] >= 0 ? j->fds[i] : null;
	while (n < GATE_FD) /* not to stay */
		from[n++] = null;
	from[n++] = j->gate;
	from[n++] = j->sp->lock_fd;
	for (i = 0; i < n; i++) {
		if ((high[i] = fcntl(from[i], F_DUPFD, 64)) < 0)
			give_up(j->gate, "descriptors");
	}
	for (i = 0; i < n; i++) {
		if (dup2(high[i], (int)i) < 0)
			give_up(high[GATE_FD], "descriptors");
	}
	for (i = 0; row[i] != JAIL_FD_NONE; i++)
		;
	for (i += JAIL_FD_FIRST; i < GATE_FD; i++)
		(void)close((int)i);
	if (close_range(FIRST_FREE_FD, ~0U, 0) < 0 ||
	    fcntl(GATE_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC) < 0)
		give_up(GATE_FD, "descriptors");
}

/* One top folder of the staged tree, read-only, into the new root (cwd). */
static int
bind_top(int stage, const char *name)
{
	struct mount_attr attr = { .attr_set =
				       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	int fd, r;

	if (RULE(JAIL_STAGE_RO))
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (mkdir(name, 0755) < 0)
		return -1;
	fd = open_tree(stage, name,
	    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (fd < 0)
		return -1;
	r = mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr));
	if (r == 0)
		r = move_mount(fd, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH);
	(void)close(fd);
	return r;
}

/* lib -> usr/lib and the like. */
static int
copy_link(int stage, const char *name)
{
	char to[128];
	ssize_t n = readlinkat(stage, name, to, sizeof(to) - 1);

	if (n < 0)
		return -1;
	to[n] = '\0';
	return symlink(to, name);
}

/* Empty in the staged tree: what goes there is made here, or nothing is. */
static int
is_mount_point(const char *name)
{
	static const char *const names[] = { "proc", "dev", "run", "tmp",
		"vm" };
	size_t i;

	for (i = 0; i < nitems(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return 1;
	}
	return 0;
}

/* The staged tree is root's own, and checked to be, at start. */
static int
bind_stage(int stage)
{
	DIR *d = fdopendir(fcntl(stage, F_DUPFD_CLOEXEC, 0));
	struct dirent *de;
	int n = 0, r = d == NULL ? -1 : 0;

	while (r == 0 && (de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.' || is_mount_point(de->d_name))
			continue;
		errno = E2BIG;
		if (++n > JAIL_TOP_MAX)
			r = -1;
		else if (de->d_type == DT_DIR)
			r = bind_top(stage, de->d_name);
		else if (de->d_type == DT_LNK)
			r = copy_link(stage, de->d_name);
	}
	if (d != NULL)
		(void)closedir(d);
	return r;
}

/* /dev with nothing but kvm, for hypervisors that use it. */
static int
make_kvm(uid_t uid)
{
	if (mkdir("dev", 0755) < 0 ||
	    mount("dev", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC,
		"size=4k,nr_inodes=4,mode=0755") < 0 ||
	    mknod("dev/kvm", S_IFCHR | 0600, makedev(KVM_MAJOR, KVM_MINOR)) <
		0 ||
	    chown("dev/kvm", uid, uid) < 0)
		return -1;
	return mount(NULL, "dev", NULL,
	    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL);
}

/* A root of its own with the staged tree and /proc, all read-only. */
static void
make_root(const struct jail *j)
{
	const char *at = j->sp->conf.stage;
	int stage;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		give_up(GATE_FD, "private propagation");
	stage = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* the folder is only a place to mount on; stage still sees below */
	if (stage < 0 ||
	    mount("jail", at, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		JAIL_ROOT_OPTS) < 0 ||
	    chdir(at) < 0)
		give_up(GATE_FD, "root");
	if (bind_stage(stage) < 0)
		give_up(GATE_FD, "binds of the staged tree");
	(void)close(stage);
	if (mkdir("proc", 0555) < 0 ||
	    mount("proc", "proc", "proc",
		MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		"subset=pid,hidepid=invisible") < 0)
		give_up(GATE_FD, "proc");
	if (j->kvm && make_kvm(j->uid) < 0)
		give_up(GATE_FD, "dev");
	if (syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		give_up(GATE_FD, "pivot_root");
	if (RULE(JAIL_ROOT_RO) &&
	    mount(NULL, "/", NULL,
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
		    MS_NOEXEC,
		NULL) < 0)
		give_up(GATE_FD, "read-only root");
}

static void
set_limit(__rlimit_resource_t what, rlim_t max)
{
	struct rlimit rl = { .rlim_cur = max, .rlim_max = max };
	struct rlimit now;

	/* only lowered: some hosts refuse more even to root */
	if (getrlimit(what, &now) < 0)
		give_up(GATE_FD, "getrlimit");
	if (now.rlim_max < max)
		rl.rlim_cur = rl.rlim_max = now.rlim_max;
	if (setrlimit(what, &rl) < 0)
		give_up(GATE_FD, "setrlimit");
}

static void
set_limits(const struct machine_limits *l)
{
	set_limit(RLIMIT_CORE, LIMIT_NO_CORE);
	set_limit(RLIMIT_NOFILE, l->fds > JAIL_NOFILE ? l->fds : JAIL_NOFILE);
	/* counts threads of the jail's uid, which no other has */
	set_limit(RLIMIT_NPROC, l->group_pids + JAIL_NPROC_SPARE);
	/* logs are FIFOs; what is left is the keeper's memfd for the composer,
	 * which leaves the hypervisor only what its machine needs */
	set_limit(
	    RLIMIT_FSIZE, l->file_mib > 0 ? l->file_mib * MIB : JAIL_FSIZE_MIN);
	set_limit(RLIMIT_MEMLOCK, l->locked_mib * MIB);
}

/* From here on nothing of root is left. */
static void
become_vm(uid_t uid)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { { 0 } };

	if (RULE(JAIL_BOUNDING) && caps_drop_bounding(0) < 0)
		give_up(GATE_FD, "bounding set");
	if (RULE(JAIL_GROUPS)) {
		if (setgroups(0, NULL) < 0)
			give_up(GATE_FD, "setgroups");
	} else if (setgroups(1, &(gid_t){ 5 }) < 0)
		give_up(GATE_FD, "setgroups");
	if (setresgid(uid, uid, uid) < 0)
		give_up(GATE_FD, "setresgid");
	if (!RULE(JAIL_UID))
		uid++; /* the neighbour's: read-back has to see it */
	if (setresuid(uid, uid, uid) < 0)
		give_up(GATE_FD, "setresuid");
	if (syscall(SYS_capset, &hdr, none) < 0)
		give_up(GATE_FD, "capset");
	if (RULE(JAIL_NNP) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		give_up(GATE_FD, "no_new_privs");
}

static void
reset_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	(void)sigaction(SIGPIPE, &dfl, NULL);
	(void)sigaction(SIGCHLD, &dfl, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void
jail_child(const struct jail *j)
{
	static char *const no_env[] = { NULL };
	const struct jail_prog *first = jail_prog(j->kind->first);
	const int listener = jail_fd(j->kind->first, JAIL_FD_KEEPER);
	char path[64], uid[12], cid[12], go;
	char *const argv[] = { path, uid, cid, NULL };
	ssize_t n;

	place_fds(j);
	(void)snprintf(path, sizeof(path), "%s", first->path);
	(void)snprintf(uid, sizeof(uid), "%u", j->sp->conf.uid);
	(void)snprintf(cid, sizeof(cid), "%u", j->cid);
	make_root(j);
	if (sethostname(j->kind->name, strlen(j->kind->name)) < 0 ||
	    setsid() < 0)
		give_up(GATE_FD, "session");
	reset_signals();
	set_limits(j->limits);
	/* the record is on disk once this byte comes; without it, nobody
	 * would find us again */
	do {
		n = read(GATE_FD, &go, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
	become_vm(j->uid);
	/* as the VM's uid, like the keeper itself will again: whoever hears
	 * of the exec can connect, instead of trying until it listens */
	if (listener >= 0 && listen(listener, LISTEN_BACKLOG) < 0)
		give_up(GATE_FD, "listen");
	(void)execve(first->path, argv, no_env);
	give_up(GATE_FD, "exec of its pid 1");
}
