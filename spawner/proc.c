#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
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
