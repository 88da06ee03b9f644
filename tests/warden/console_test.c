#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "proto/ward.h"
#include "tests/suite/t.h"
#include "warden/console.h"

/* Less than the log's own bound: the limit has to be met first. */
#define LIMIT (1L << 20)
#define CHUNK 4096

static void
on_more(void *arg)
{
	(void)arg;
}

static const struct console_ops ops = { .more = on_more };

/* The guest's side of the serial line. */
static int
serial_listen(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(WARD_SOCK_SERIAL);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path + 1, WARD_SOCK_SERIAL, len);
	len += offsetof(struct sockaddr_un, sun_path) + 1;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, (socklen_t)len) < 0 ||
	    listen(fd, 1) < 0)
		fd_close(&fd);
	return fd;
}

static void
turn(struct event_base *base)
{
	(void)event_base_loop(base, EVLOOP_ONCE);
}

/* A guest that says more than RLIMIT_FSIZE is still heard. */
static void
outgrows_limit(void)
{
	struct rlimit rl = { LIMIT, RLIM_INFINITY };
	struct event_base *base = event_base_new();
	char line[CHUNK], got[CHUNK] = "";
	struct console *c;
	int log, l, fd;
	off_t off;
	long i;

	if (unshare(CLONE_NEWNET) < 0) {
		t_skip("no network namespace for abstract names");
		goto out;
	}
	(void)signal(SIGXFSZ, SIG_IGN); /* as the keeper has it */
	log = memfd_create("log", MFD_CLOEXEC);
	l = serial_listen();
	t_true(log >= 0 && l >= 0);
	t_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	c = console_new(base, log, &ops, NULL);
	turn(base);
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	t_true(c != NULL && fd >= 0);
	memset(line, 'x', sizeof(line));
	for (i = 0; i < 2 * LIMIT / CHUNK; i++) {
		t_eq(write(fd, line, sizeof(line)), CHUNK);
		turn(base);
	}
	memset(line, 'y', sizeof(line));
	t_eq(write(fd, line, sizeof(line)), CHUNK);
	turn(base);
	off = console_end(c) - CHUNK;
	t_eq(console_read(c, &off, got, sizeof(got)), CHUNK);
	t_eq(memcmp(got, line, sizeof(line)), 0);
	rl.rlim_cur = RLIM_INFINITY;
	t_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	console_free(c);
	fd_close(&fd);
	fd_close(&l);
	fd_close(&log);
out:
	event_base_free(base);
}

const struct t_case t_cases[] = {
	{ "console log outgrows RLIMIT_FSIZE", outgrows_limit },
	{ NULL, NULL },
};
