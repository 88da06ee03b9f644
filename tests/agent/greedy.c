/*
 * What a workload may try against its guest: greedy WHAT takes of one thing
 * until there is no more, says how much and why it ended, and stays.
 * Static: it is carried into guests.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define LOTS (1 << 20)

static void
say(const char *what, long n, int e)
{
	printf("%s %ld %s\n", what, n, strerrorname_np(e));
	(void)fflush(stdout);
}

static int
open_until_none(const char *path, int flags)
{
	struct rlimit l = { LOTS, LOTS };
	int n = 0;

	if (setrlimit(RLIMIT_NOFILE, &l) < 0 &&
	    getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
	while (open(path, flags) >= 0)
		n++;
	return n;
}

static void
files(void)
{
	int n = open_until_none("/dev/null", O_RDONLY);

	say("files", n, errno);
	(void)pause();
}

static void
ptys(void)
{
	int n = open_until_none("/dev/ptmx", O_RDWR | O_NOCTTY);

	say("ptys", n, errno);
	(void)pause();
}

/* Each a mebibyte, and they outlive this process. */
static void
shm(void)
{
	long n = 0;

	for (;; n++) {
		int id = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
		void *p = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

		if (p == (void *)-1)
			break;
		memset(p, 1, 1 << 20);
		(void)shmdt(p);
	}
	say("shm", n, errno);
}

static void
msgs(void)
{
	static struct {
		long type;
		char text[8000];
	} m = { .type = 1 };
	long n = 0;
	int id;

	while ((id = msgget(IPC_PRIVATE, IPC_CREAT | 0600)) >= 0)
		while (msgsnd(id, &m, sizeof(m.text), IPC_NOWAIT) == 0)
			n++;
	say("msgs", n, errno);
}

/* Memory that the kernel holds for its sockets and charges to nobody. */
static void
sockets(void)
{
	static char buf[32768];
	int n = 0, fd[2];

	while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0) {
		while (write(fd[0], buf, sizeof(buf)) > 0)
			n++;
	}
	say("sockets", n, errno);
	(void)pause();
}

static void
put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say(path, -1, errno);
	else
		say(path, (long)strlen(text), 0);
	if (fd >= 0)
		(void)close(fd);
}

/* Its limits, from a cgroup namespace of its own. */
static void
cgroup(void)
{
	static const char *const files[][2] = { { "pids.max", "max" },
		{ "memory.max", "max" }, { "cgroup.freeze", "1" },
		{ "cgroup.kill", "1" }, { "rest/pids.max", "1" },
		{ "../pids.max", "max" } };
	size_t i;

	if (unshare(CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWNS) < 0) {
		say("unshare", -1, errno);
		return;
	}
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "0 0 1");
	put("/proc/self/gid_map", "0 0 1");
	(void)mkdir("/tmp/cg", 0755);
	if (mount("none", "/tmp/cg", "cgroup2", 0, NULL) < 0) {
		say("mount", -1, errno);
		return;
	}
	say("mount", 0, 0);
	if (mkdir("/tmp/cg/below", 0755) < 0)
		say("mkdir", -1, errno);
	else
		say("mkdir", 0, 0);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/tmp/cg/%s", files[i][0]);
		put(path, files[i][1]);
	}
}

/* Stops a terminal as ^S does. */
static void
stop(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0 || tcflow(fd, TCOOFF) < 0)
		say("stop", -1, errno);
	else
		say("stop", 0, 0);
	(void)pause();
}

int
main(int argc, char *argv[])
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} all[] = { { "files", files }, { "ptys", ptys }, { "shm", shm },
		{ "msgs", msgs }, { "sockets", sockets }, { "cgroup", cgroup },
		{ "stop", stop } };
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (argc == 2 && strcmp(argv[1], all[i].name) == 0) {
			all[i].fn();
			return 0;
		}
	}
	return 2;
}
