#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"

/* Past every number that a room may be handed. */
#define FD_PARKED 64

/* Makes src descriptor 0, 1, ... of this process; they may overlap. */
static int
fds_place(int *src, int n)
{
	int i;

	/* out of the way first, so that none is overwritten before its turn */
	for (i = 0; i < n; i++) {
		src[i] = fcntl(src[i], F_DUPFD_CLOEXEC, FD_PARKED);
		if (src[i] < 0)
			return -errno;
	}
	for (i = 0; i < n; i++) {
		if (dup2(src[i], i) < 0)
			return -errno;
	}
	return 0;
}

/* In the child. */
_Noreturn static void
child_exec(const struct mewsd *m, const struct exec *x, int chan, int log)
{
	char *argv[] = { (char *)(uintptr_t)x->program, NULL };
	/* no environment; its place is what setproctitle(3bsd) writes to */
	static char title[] = "_=                                             "
			      "                                              ";
	char *envp[] = { title, NULL };
	sigset_t none;
	int nul, bindir, fds[BOOT_NFDS + ONESHOT_FDS_MAX];
	uint32_t i;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Ctrl-C is for mewsd: rooms end by their channels, netd not before
	 * it has taken its bridge down */
	(void)setsid();
	if ((nul = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		_exit(127);
	fds[0] = x->in != NULL ? *x->in : nul;
	fds[1] = nul;
	fds[2] = log;
	fds[BOOT_FD] = chan;
	fds[BOOT_LOCK_FD] = m->lock;
	for (i = 0; i < x->nfds; i++)
		fds[BOOT_NFDS + i] = x->fds[i];
	bindir = fcntl(m->bindir, F_DUPFD_CLOEXEC, FD_PARKED);
	if (fds_place(fds, BOOT_NFDS + (int)x->nfds) < 0)
		_exit(127);
	(void)execveat(bindir, x->program, argv, envp, 0);
	log_init(room_name(x->room), LOG_INFO);
	fatal("%s: %m", x->program);
}

pid_t
exec_room(const struct mewsd *m, const struct exec *x, int *sock, int *log)
{
	int sv[2] = { -1, -1 }, said[2] = { -1, -1 }, r = 0;
	pid_t pid = -1;

	/* not waiting is a property of the pipe, so its room has it, too */
	if (pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		r = -errno;
		goto out;
	}
	if ((pid = fork()) < 0) {
		r = -errno;
		goto out;
	}
	if (pid == 0)
		child_exec(m, x, sv[1], said[1]);
	*sock = sv[0];
	*log = said[0];
	sv[0] = said[0] = -1; /* the caller's now */
out:
	fd_close(&said[0]);
	fd_close(&said[1]);
	fd_close(&sv[0]);
	fd_close(&sv[1]);
	return r < 0 ? r : pid;
}

void
exec_common(const struct conf *c, uint32_t room, struct boot_common *bc)
{
	*bc = (struct boot_common){ .version = BOOT_VERSION,
		.room = room,
		.uid = c->user[room].uid,
		.gid = c->user[room].gid,
		.log_level = c->log_level,
		.nofile = c->nofile };
	memcpy(bc->root, c->root[room], sizeof(bc->root));
}
