#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/file.h"
#include "agent/limits.h"
#include "agent/root.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/objects.h"

/* One file system has what the workload writes and /dev/shm, so that they
 * cannot take more together than one. */
#define MEM "/run/mem"
#define NEW MEM "/root"
#define SHM MEM "/shm"
#define NONE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct {
	const char *path;
	mode_t mode;
} dirs[] = { { "bin", 0755 }, { "dev", 0755 }, { "etc", 0755 },
	{ "proc", 0555 }, { "root", 0700 }, { "run", 0755 }, { "sys", 0555 },
	{ "tmp", 01777 }, { "usr", 0755 }, { "usr/bin", 0755 },
	{ "usr/sbin", 0755 }, { "sbin", 0755 }, { "var", 0755 } };

static const struct {
	const char *what, *where, *type, *data;
	unsigned long flags;
} mounts[] = {
	{ "proc", "proc", "proc", NULL, NONE },
	{ "sysfs", "sys", "sysfs", NULL, NONE | MS_RDONLY },
	{ "dev", "dev", "tmpfs", "mode=0755,size=64k,nr_inodes=64",
	    MS_NOSUID | MS_NOEXEC },
};

static const struct {
	const char *path;
	mode_t mode;
	unsigned int major, minor;
} nodes[] = { { "dev/null", 0666, 1, 3 }, { "dev/zero", 0666, 1, 5 },
	{ "dev/full", 0666, 1, 7 }, { "dev/random", 0666, 1, 8 },
	{ "dev/urandom", 0666, 1, 9 }, { "dev/tty", 0666, 5, 0 },
	{ "dev/console", 0600, 5, 1 } };

static const struct {
	const char *to, *path;
} links[] = { { "pts/ptmx", "dev/ptmx" }, { "/proc/self/fd", "dev/fd" },
	{ "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
	{ "/proc/self/fd/2", "dev/stderr" } };

/*
 * What of /proc acts on the whole machine: some are files that root may
 * write without any capability (kernel.core_pattern starts programs).
 */
static const char *const proc_readonly[] = { "proc/sys", "proc/sysrq-trigger",
	"proc/irq", "proc/bus", "proc/fs", "proc/acpi" };
static const char *const proc_hidden[] = { "proc/kcore", "proc/keys",
	"proc/timer_list", "proc/kallsyms", "proc/config.gz" };

static int
make_dirs(struct err *e)
{
	size_t i;

	for (i = 0; i < nitems(dirs); i++) {
		if (mkdir(dirs[i].path, dirs[i].mode) < 0 ||
		    chmod(dirs[i].path, dirs[i].mode) < 0)
			return err_errno(e, -errno, "%s", dirs[i].path);
	}
	return 0;
}

static int
make_mounts(struct err *e)
{
	size_t i;

	for (i = 0; i < nitems(mounts); i++) {
		(void)mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].what, mounts[i].where, mounts[i].type,
			mounts[i].flags, mounts[i].data) < 0)
			return err_errno(
			    e, -errno, "mount %s", mounts[i].where);
	}
	return 0;
}

static int
make_pts(const struct limits *l, struct err *e)
{
	char data[128];

	(void)snprintf(data, sizeof(data),
	    "newinstance,ptmxmode=0666,mode=0620,gid=5,max=%lld", l->ptys);
	(void)mkdir("dev/pts", 0755);
	if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, data) <
	    0)
		return err_errno(e, -errno, "mount dev/pts");
	return 0;
}

static int
make_shm(struct err *e)
{
	(void)mkdir("dev/shm", 0755);
	if (mkdir(SHM, 01777) < 0 ||
	    mount(SHM, "dev/shm", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, "dev/shm", NULL, MS_REMOUNT | MS_BIND | NONE, NULL) < 0)
		return err_errno(e, -errno, "mount dev/shm");
	return 0;
}

static int
make_dev(struct err *e)
{
	size_t i;

	for (i = 0; i < nitems(nodes); i++) {
		if (mknod(nodes[i].path, S_IFCHR | nodes[i].mode,
			makedev(nodes[i].major, nodes[i].minor)) < 0 ||
		    chmod(nodes[i].path, nodes[i].mode) < 0)
			return err_errno(e, -errno, "%s", nodes[i].path);
	}
	for (i = 0; i < nitems(links); i++) {
		if (symlink(links[i].to, links[i].path) < 0)
			return err_errno(e, -errno, "%s", links[i].path);
	}
	return 0;
}

static int
guard_proc(struct err *e)
{
	size_t i;

	for (i = 0; i < nitems(proc_readonly); i++) {
		const char *p = proc_readonly[i];

		if (access(p, F_OK) < 0)
			continue; /* this kernel has none */
		if (mount(p, p, NULL, MS_BIND | MS_REC, NULL) < 0 ||
		    mount(NULL, p, NULL,
			MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, NULL) < 0)
			return err_errno(e, -errno, "%s", p);
	}
	for (i = 0; i < nitems(proc_hidden); i++) {
		if (access(proc_hidden[i], F_OK) < 0)
			continue;
		if (mount("dev/null", proc_hidden[i], NULL, MS_BIND, NULL) < 0)
			return err_errno(e, -errno, "%s", proc_hidden[i]);
	}
	return 0;
}

static int
make_etc(const struct boot_spec *spec, struct err *e)
{
	char hosts[512], hostname[300], resolv[512] = "";
	const char *s = NULL;
	size_t len = 0;
	int r = 0;

	while ((s = strs_next(&spec->dns, s)) != NULL && len < 400)
		len += (size_t)snprintf(resolv + len, sizeof(resolv) - len,
		    "nameserver %.40s\n", s);
	(void)snprintf(hostname, sizeof(hostname), "%s\n", spec->hostname);
	(void)snprintf(hosts, sizeof(hosts),
	    "127.0.0.1 localhost\n::1 localhost\n%s %s\n",
	    spec->has & TABLE_HAS(BOOT_IPV4) ? spec->ipv4.address : "127.0.1.1",
	    spec->hostname);
	if ((r = file_put("etc/passwd",
		 "root:x:0:0:root:/root:/bin/sh\n"
		 "nobody:x:65534:65534:nobody:/:/bin/false\n",
		 0644)) < 0 ||
	    (r = file_put("etc/group",
		 "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n", 0644)) < 0 ||
	    (r = file_put("etc/hostname", hostname, 0644)) < 0 ||
	    (r = file_put("etc/hosts", hosts, 0644)) < 0 ||
	    (r = file_put("etc/resolv.conf", resolv, 0644)) < 0)
		return err_errno(e, r, "etc");
	return 0;
}

/* busybox makes its own links, from inside the new root. */
static int
make_applets(struct err *e)
{
	char *argv[] = { (char[]){ "/bin/busybox" }, (char[]){ "--install" },
		(char[]){ "-s" }, NULL };
	char *envp[] = { NULL };
	int status = -1, r;
	pid_t pid;

	if ((r = file_copy("/bin/busybox", "bin/busybox", 0755)) < 0)
		return err_errno(e, r, "busybox");
	pid = fork();
	if (pid == 0) {
		if (chroot(".") == 0)
			(void)execve(argv[0], argv, envp);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return err_set(e, -EIO, "busybox --install: status %d", status);
	return 0;
}

static int
pivot(struct err *e)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_errno(e, -errno, "pivot_root");
	return 0;
}

/* The file system, and in it, as a mount of its own, the new root. */
static int
make_mem(const struct limits *l, struct err *e)
{
	char data[96];

	(void)snprintf(data, sizeof(data), "mode=0700,size=%lld,nr_inodes=%lld",
	    l->fs, l->fs_nodes);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    (mkdir(MEM, 0700) < 0 && errno != EEXIST) ||
	    mount("root", MEM, "tmpfs", 0, data) < 0 || mkdir(NEW, 0755) < 0 ||
	    mount(NEW, NEW, NULL, MS_BIND, NULL) < 0 || chdir(NEW) < 0)
		return err_errno(e, -errno, "root");
	return 0;
}

int
root_build(const struct boot_spec *spec, const struct limits *l, struct err *e)
{
	int r;

	(void)umask(0);
	if ((r = make_mem(l, e)) < 0 || (r = make_dirs(e)) < 0 ||
	    (r = make_mounts(e)) < 0 || (r = make_pts(l, e)) < 0 ||
	    (r = make_shm(e)) < 0 || (r = make_dev(e)) < 0 ||
	    (r = guard_proc(e)) < 0 || (r = make_etc(spec, e)) < 0 ||
	    (r = make_applets(e)) < 0 || (r = pivot(e)) < 0)
		return r;
	(void)umask(022);
	if (sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_errno(e, -errno, "sethostname");
	return 0;
}
