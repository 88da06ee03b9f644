#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"
#include "mewsd/table.h"
#include "proto/chan.h"

/*
 * A store is not parsed by root: one life of orchd's program, as its user, in
 * its root and behind its filter, looks at it and talks to nobody.
 */

/* 0 or a negative errno. */
static int
conf_send(const struct mewsd *m, int sock, bool is_file)
{
	struct {
		struct boot_common bc;
		struct orchd_conf conf;
	} all;

	exec_common(&m->conf, ROOM_ORCHD, &all.bc);
	all.conf = m->conf.orchd;
	all.conf.check = is_file ? CHECK_FILE : CHECK_STORE;
	return msg_send(sock, BOOT_CONF, 0, &all, sizeof(all), -1);
}

/* Until it has said all. */
static void
pass_on(int from)
{
	struct pollfd p = { .fd = from, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	for (;;) {
		(void)poll(&p, 1, -1);
		n = read(from, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0 || fd_write_all(STDOUT_FILENO, buf, (size_t)n) < 0)
			return;
	}
}

static int
end_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fatal("waitpid: %m");
	if (WIFSIGNALED(status))
		fatal("the check was killed by signal %d: the store was not "
		      "looked at to its end",
		    WTERMSIG(status));
	return WEXITSTATUS(status);
}

int
check_run(const struct mewsd *m, const char *file)
{
	struct mewsd own = *m; /* the suite's lock is not ours to hold */
	struct exec x = { .room = ROOM_ORCHD,
		.program = room_row(ROOM_ORCHD)->program };
	int fd = -1, sock = -1, said = -1, r;
	pid_t pid;

	if (file != NULL) {
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			fatal("%s: %m", file);
		x.in = &fd;
	}
	own.lock = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (own.lock < 0)
		fatal("/dev/null: %m");
	mewsd_confine();
	if ((pid = exec_room(&own, &x, &sock, &said)) < 0)
		fatal("%s: %s", x.program, strerrordesc_np(-pid));
	if ((r = conf_send(m, sock, file != NULL)) < 0)
		fatal("%s: %s", x.program, strerrordesc_np(-r));
	pass_on(said);
	fd_close(&sock);
	fd_close(&said);
	fd_close(&own.lock);
	fd_close(&fd);
	return end_of(pid);
}
