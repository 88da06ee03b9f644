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
#include "proto/ward.h"

#define CHILD_FDS_MAX 8
#define CHILD_FD_HIGH 64

/* The child's half: exactly fds[] at 3, 4, ..., then the program. */
static _Noreturn void
child_exec(char *const argv[], const int *fds, size_t n)
{
	static char *const no_env[] = { NULL };
	int high[CHILD_FDS_MAX];
	sigset_t none;
	size_t i;

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
child_start(char *const argv[], const int *fds, size_t n)
{
	pid_t pid = fork();

	if (pid == 0)
		child_exec(argv, fds, n);
	return pid < 0 ? -errno : pid;
}

pid_t
child_warden(const struct keeper *k)
{
	static char path[] = STAGE_WARDEN;
	char *const argv[] = { path, k->launchd_arg, NULL };
	const int fds[] = { KEEPER_WARDEN_FD, KEEPER_CONSOLE_FD };

	return child_start(argv, fds, nitems(fds));
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

		close_fd(&fd);
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

pid_t
child_vmm(struct keeper *k)
{
	static char path[] = STAGE_WARDEN, compose[] = "-x";
	char *const argv[] = { path, compose, k->cid_arg, NULL };
	int fds[] = {
		memfd_sealed("spec", &k->st.spec, sizeof(k->st.spec)),
		listen_abstract("qmp"),
		listen_abstract("serial"),
		listen_abstract("agent"),
		k->tap >= 0 ? k->tap : STDIN_FILENO,
		k->args,
		KEEPER_VSOCK_FD,
#ifdef SECCOMP_DEBUG
		debug_socket(&k->watch),
#endif
	};
	int none = -1;
	pid_t pid = -EMFILE;
	size_t i;

	if (k->args < 0)
		fds[5] = none = memfd_sealed("args", "", 0);
	for (i = 0; i < nitems(fds) && fds[i] >= 0; i++)
		;
	if (i == nitems(fds))
		pid = child_start(argv, fds, nitems(fds));
	for (i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	close_fd(&none);
#ifdef SECCOMP_DEBUG
	close_fd(&fds[nitems(fds) - 1]);
#endif
	return pid;
}
