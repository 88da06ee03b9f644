#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/uid.h"
#include "spawner/proc.h"

const char *const ns_names[NS_N] = { "mnt", "pid", "net", "ipc", "uts" };

ssize_t
proc_read(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (len < cap - 1 && (n = read(fd, buf + len, cap - 1 - len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = -errno;
			fd_close(&fd);
			return n;
		}
		len += (size_t)n;
	}
	fd_close(&fd);
	if (n != 0)
		return -E2BIG; /* half a file proves nothing */
	buf[len] = '\0';
	return (ssize_t)len;
}

/* The nth blank-separated word of s, 0 the first. */
static int
word_num(char *s, int nth, uint64_t *ret)
{
	long long v;
	char *p = s, *w;
	int r;

	while ((w = strsep(&p, " \n")) != NULL) {
		if (nth-- > 0)
			continue;
		if ((r = num_parse(w, 0, INT64_MAX, &v)) == 0)
			*ret = (uint64_t)v;
		return r;
	}
	return -EBADMSG;
}

int
proc_start_time(pid_t pid, uint64_t *ret)
{
	char path[64], buf[1024], *p;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((n = proc_read(path, buf, sizeof(buf))) < 0)
		return (int)n;
	/* field 2 may hold anything; 3 follows its last parenthesis */
	if ((p = strrchr(buf, ')')) == NULL || p[1] != ' ')
		return -EBADMSG;
	return word_num(p + 2, 22 - 3, ret);
}

int
proc_ns(pid_t pid, pid_t task, const char *name, uint64_t *ret)
{
	char path[96];
	struct stat st;

	if (task == 0)
		(void)snprintf(
		    path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	else
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s",
		    (int)pid, (int)task, name);
	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}

int
proc_ns_all(pid_t pid, uint64_t ns[NS_N])
{
	int i, r = 0;

	for (i = 0; i < NS_N && r == 0; i++)
		r = proc_ns(pid, 0, ns_names[i], &ns[i]);
	return r;
}

bool
proc_has_uid(pid_t pid, uid_t uid)
{
	char path[64], buf[8192], want[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	(void)snprintf(
	    want, sizeof(want), "\nUid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
	return proc_read(path, buf, sizeof(buf)) > 0 &&
	    strstr(buf, want) != NULL;
}

/* The number behind key in a status file. */
static bool
status_num(const char *status, const char *key, long long *ret)
{
	const char *p = strstr(status, key);
	char word[16];
	size_t n;

	if (p == NULL)
		return false;
	p += strlen(key);
	n = strcspn(p, "\t\n");
	if (n >= sizeof(word))
		return false;
	memcpy(word, p, n);
	word[n] = '\0';
	return num_parse(word, 0, UINT32_MAX, ret) == 0;
}

/* Its real uid; -ESRCH when it has ended: of one whose first thread ended
 * before the others that thread alone is a zombie. */
static int
living_uid(pid_t pid, uid_t *ret)
{
	char path[64], buf[8192];
	long long uid, threads;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((n = proc_read(path, buf, sizeof(buf))) < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	if (!status_num(buf, "\nUid:\t", &uid) ||
	    !status_num(buf, "\nThreads:\t", &threads))
		return -EBADMSG;
	if (threads <= 1 &&
	    (strstr(buf, "\nState:\tZ") != NULL ||
		strstr(buf, "\nState:\tX") != NULL))
		return -ESRCH;
	*ret = (uid_t)uid;
	return 0;
}

int
proc_each(bool (*fn)(void *arg, pid_t pid, uid_t uid), void *arg)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	long long pid;
	uid_t uid = 0;
	int r = 0, one;

	if (d == NULL)
		return -errno;
	while ((de = readdir(d)) != NULL) {
		if (num_parse(de->d_name, 1, INT32_MAX, &pid) < 0)
			continue;
		one = living_uid((pid_t)pid, &uid);
		if (one == 0 && fn(arg, (pid_t)pid, uid))
			break;
		if (one < 0 && one != -ESRCH)
			r = one;
	}
	(void)closedir(d);
	return r;
}

struct of_uid {
	uid_t uid;
	pid_t pid;
};

static bool
is_of_uid(void *arg, pid_t pid, uid_t uid)
{
	struct of_uid *o = arg;

	if (uid == o->uid)
		o->pid = pid;
	return o->pid != 0;
}

bool
proc_uid_busy(uid_t uid, pid_t *pid)
{
	struct of_uid o = { .uid = uid };
	int r;

	*pid = 0;
	if (!uid_in_use(uid)) /* one call, which counts zombies */
		return false;
	r = proc_each(is_of_uid, &o);
	*pid = o.pid;
	return o.pid != 0 || r < 0;
}

int
proc_boot_id(char buf[BOOT_ID_LEN])
{
	ssize_t n =
	    proc_read("/proc/sys/kernel/random/boot_id", buf, BOOT_ID_LEN);

	if (n < 0)
		return (int)n;
	/* all of the field is compared and written: no stale bytes */
	n = (ssize_t)strcspn(buf, "\n");
	memset(buf + n, 0, BOOT_ID_LEN - (size_t)n);
	return 0;
}

int
proc_own_filters(unsigned int *ret)
{
	static const char key[] = "\nSeccomp_filters:\t";
	char buf[4096], *p;
	long long v;
	ssize_t n = proc_read("/proc/self/status", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	if ((p = strstr(buf, key)) == NULL)
		return -ENOTSUP;
	p += sizeof(key) - 1;
	p[strcspn(p, "\n")] = '\0';
	if (num_parse(p, 0, 1000, &v) < 0)
		return -EBADMSG;
	*ret = (unsigned int)v;
	return 0;
}
