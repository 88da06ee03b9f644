#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "keeper/keeper.h"
#include "proto/jail.h"
#include "proto/ward.h"

#define CHILD_FDS_MAX (MACHINE_FDS_MAX + 1)
#define CHILD_FD_HIGH 128
_Static_assert(CHILD_FD_HIGH >= 3 + CHILD_FDS_MAX, "out of the way");

/* The child's half: exactly fds[] at 3, 4, ..., then the program.  log: its 2;
 * -1: ours. */
static _Noreturn void
child_exec(char *const argv[], const int *fds, size_t n, int log)
{
	static char *const no_env[] = { NULL };
	int high[CHILD_FDS_MAX];
	sigset_t none;
	size_t i;

	if (log >= 0 && dup2(log, STDERR_FILENO) < 0)
		_exit(127);
	/* first out of each other's way, then into place */
	for (i = 0; i < n; i++) {
		if ((high[i] = fcntl(fds[i], F_DUPFD, CHILD_FD_HIGH)) < 0)
			_exit(127);
	}
	for (i = 0; i < n; i++) {
		if (dup2(high[i], 3 + (int)i) < 0)
			_exit(127);
	}
	if (close_range(3 + (unsigned int)n, ~0U, 0) < 0)
		_exit(127);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execve(argv[0], argv, no_env);
	_exit(127);
}

static pid_t
child_start(char *const argv[], const int *fds, size_t n, int log)
{
	pid_t pid = fork();

	if (pid == 0)
		child_exec(argv, fds, n, log);
	return pid < 0 ? -errno : pid;
}

pid_t
child_warden(const struct keeper *k)
{
	static char path[] = STAGE_WARDEN;
	char *const argv[] = { path, k->launchd_arg, NULL };
	const struct jail_prog *p = jail_prog(JAIL_WARDEN);
	int fds[JAIL_FDS_MAX];
	size_t n;

	for (n = 0; p->fds[n] != JAIL_FD_NONE; n++)
		fds[n] = jail_fd(JAIL_KEEPER, p->fds[n]);
	return child_start(argv, fds, n, -1);
}

/* A name only this jail's network namespace knows. */
static int
listen_abstract(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(sa.sun_path + 1, name, len);
	len += offsetof(struct sockaddr_un, sun_path) + 1;
	if (bind(fd, (struct sockaddr *)&sa, (socklen_t)len) < 0 ||
	    listen(fd, 4) < 0) {
		int r = -errno;

		fd_close(&fd);
		return r;
	}
	return fd;
}

#ifdef SECCOMP_DEBUG
static int
debug_socket(int *ours)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	*ours = sv[0];
	return sv[1];
}
#endif

int
child_listen(struct keeper *k)
{
	static const struct {
		uint16_t role;
		const char *name;
	} listeners[] = {
		{ FDR_QMP, WARD_SOCK_QMP },
		{ FDR_SERIAL, WARD_SOCK_SERIAL },
		{ FDR_AGENT, WARD_SOCK_AGENT },
	};
	size_t i;

	for (i = 0; i < nitems(listeners); i++) {
		int fd = listen_abstract(listeners[i].name);

		if (fd < 0)
			return fd;
		(void)machine_fds_put(&k->fds, listeners[i].role, 0, fd);
	}
#ifdef SECCOMP_DEBUG
	{
		int fd = debug_socket(&k->watch);

		if (fd < 0)
			return fd;
		(void)machine_fds_put(&k->fds, FDR_WATCH, 0, fd);
	}
#endif
	return 0;
}

pid_t
child_vmm(struct keeper *k)
{
	static char path[] = STAGE_WARDEN, compose[] = "-x";
	char *const argv[] = { path, compose, NULL };
	struct ward_exec x = { .version = WARD_EXEC_VERSION,
		.machine = k->machine };
	int fds[CHILD_FDS_MAX];
	pid_t pid;

	x.nfds = k->fds.n;
	memcpy(x.fd, k->fds.id, sizeof(x.fd));
	memcpy(fds + 1, k->fds.fd, sizeof(k->fds.fd));
	if ((fds[0] = memfd_sealed("machine", &x, sizeof(x))) < 0)
		return fds[0];
	pid = child_start(argv, fds, 1 + x.nfds, k->vmm_log);
	fd_close(&fds[0]);
	return pid;
}
