#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/console.h"
#include "agent/file.h"
#include "agent/guest.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"

#define LIST_MAX 4096

static const struct {
	const char *what, *where, *type, *data;
	unsigned long flags;
	bool is_must;
} mounts[] = {
	{ "proc", "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 1 },
	{ "sysfs", "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, 1 },
	{ "devtmpfs", "/dev", "devtmpfs", "mode=0755", MS_NOSUID | MS_NOEXEC,
	    1 },
	{ "run", "/run", "tmpfs", "mode=0700,size=1m",
	    MS_NOSUID | MS_NODEV | MS_NOEXEC, 1 },
	/* a cgroup namespace of the workload's ends at its own root: what is
	 * set there is not its to change */
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate",
	    MS_NOSUID | MS_NODEV | MS_NOEXEC, 0 },
};

static void
mount_all(void)
{
	size_t i;

	for (i = 0; i < nitems(mounts); i++) {
		(void)mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].what, mounts[i].where, mounts[i].type,
			mounts[i].flags, mounts[i].data) == 0)
			continue;
		if (mounts[i].is_must)
			fatal("mount %s: %m", mounts[i].where);
		log_warn("mount %s: %m: going on without", mounts[i].where);
	}
}

/* Its memory is the guest's, loaded or not. */
static void
module_drop(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/lib/modules/%.64s", name);
	(void)unlink(path);
}

static void
module_load(const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "/lib/modules/%.64s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
		log_warn("module %s: %m", name);
	fd_close(&fd);
	module_drop(name);
}

static void
modules_each(const char *list, void (*fn)(const char *name))
{
	char buf[LIST_MAX], *line, *next;

	if (file_read(list, buf, sizeof(buf)) < 0) {
		log_warn("no list of modules %s", list);
		return;
	}
	for (line = buf; *line != '\0'; line = next) {
		next = strchrnul(line, '\n');
		if (*next != '\0')
			*next++ = '\0';
		if (*line != '\0')
			fn(line);
	}
}

static void
modules(const char *list)
{
	modules_each(list, module_load);
	(void)unlink(list);
}

static void
modules_drop(const char *list)
{
	modules_each(list, module_drop);
	(void)unlink(list);
}

void
guest_modules_early(void)
{
	modules("/lib/modules/order");
}

void
guest_modules_late(void)
{
	modules("/lib/modules/late");
}

/* A virtio device of this kind, whatever bus carries it. */
static bool
has_virtio(unsigned long kind)
{
	static const char devices[] = "/sys/bus/virtio/devices";
	struct dirent *d;
	DIR *dir = opendir(devices);
	bool found = false;

	while (dir != NULL && !found && (d = readdir(dir)) != NULL) {
		char path[300], text[16];

		(void)snprintf(
		    path, sizeof(path), "%s/%s/device", devices, d->d_name);
		if (d->d_name[0] == '.' ||
		    file_read(path, text, sizeof(text)) < 0)
			continue;
		found = strtoul(text, NULL, 16) == kind;
	}
	if (dir != NULL)
		(void)closedir(dir);
	return found;
}

bool
guest_modules_vsock(void)
{
	static const char list[] = "/lib/modules/vsock";
	bool there = has_virtio(VIRTIO_ID_VSOCK);

	if (there)
		modules(list);
	else
		modules_drop(list);
	return there;
}

/* Into the root to come. */
static void
keep(const char *path)
{
	char to[128];

	(void)snprintf(to, sizeof(to), "/mnt%s", path);
	if (file_copy(path, to, 0755) < 0)
		log_warn("%s: cannot be kept", path);
	(void)unlink(path);
}

static void
module_keep(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/lib/modules/%.64s", name);
	keep(path);
}

void
guest_setup(void)
{
	static const char *const lists[] = { "/lib/modules/late",
		"/lib/modules/vsock" };
	size_t i;

	if (mount("mews", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV,
		"mode=0755,size=16m") < 0)
		fatal("mount /mnt: %m");
	(void)mkdir("/mnt/lib", 0755);
	(void)mkdir("/mnt/lib/modules", 0755);
	(void)mkdir("/mnt/bin", 0755);
	for (i = 0; i < nitems(lists); i++) {
		modules_each(lists[i], module_keep);
		keep(lists[i]);
	}
	keep("/bin/busybox");
	(void)unlink("/init");
	if (chdir("/mnt") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		fatal("new root: %m");
	mount_all();
	console_open("/dev/console");
	/* files are charged to who opens them: the workload runs out of
	 * memory, never the guest out of files; keys are charged to nobody */
	(void)file_write("/proc/sys/fs/file-max", "1000000000");
	(void)file_write("/proc/sys/kernel/keys/root_maxkeys", "200");
	(void)file_write("/proc/sys/kernel/keys/root_maxbytes", "20000");
	/* helpers that the kernel would start outside every jail: none */
	(void)file_write("/proc/sys/kernel/modprobe", "");
	(void)file_write("/proc/sys/kernel/core_pattern", "core");
	(void)file_write("/proc/sys/kernel/usermodehelper/bset", "0 0");
}

void
guest_power(int reboot_cmd)
{
	sync();
	(void)reboot(reboot_cmd);
	log_error("reboot: %m");
	console_flush();
	(void)reboot(RB_AUTOBOOT);
}
