#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "proto/ward.h"
#include "tests/suite/t.h"
#include "warden/console.h"

/* What the console reads at once. */
#define CHUNK ((size_t)PIPE_BUF - 64)

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

/* A console with its guest's end, and a FIFO of 64 KiB. */
struct stage {
	struct event_base *base;
	struct console *c;
	int serial, guest, log[2];
};

static bool
stage_open(struct stage *s)
{
	s->base = event_base_new();
	s->serial = s->guest = s->log[0] = s->log[1] = -1;
	s->c = NULL;
	if (unshare(CLONE_NEWNET) < 0) {
		t_skip("no network namespace for abstract names");
		return false;
	}
	s->serial = serial_listen();
	t_eq(pipe2(s->log, O_CLOEXEC | O_NONBLOCK), 0);
	s->c = console_new(s->base, s->log[1], &ops, NULL);
	turn(s->base);
	s->guest = accept4(s->serial, NULL, NULL, SOCK_CLOEXEC);
	t_true(s->c != NULL && s->guest >= 0);
	return true;
}

static void
stage_close(struct stage *s)
{
	console_free(s->c);
	fd_close(&s->guest);
	fd_close(&s->serial);
	fd_close(&s->log[0]);
	fd_close(&s->log[1]);
	event_base_free(s->base);
}

static void
say(struct stage *s, char what)
{
	char line[CHUNK];

	memset(line, what, sizeof(line));
	t_eq(write(s->guest, line, sizeof(line)), CHUNK);
	turn(s->base);
}

/* Nobody empties the FIFO: the guest is not held up, and what was lost is said
 * once there is room. */
static void
full_fifo(void)
{
	static char got[128 * 1024];
	struct stage s;
	ssize_t n;
	int i;

	if (stage_open(&s)) {
		for (i = 0; i < 20; i++)
			say(&s, 'x');
		n = read(s.log[0], got, sizeof(got));
		t_eq(n, 16 * CHUNK);
		say(&s, 'y');
		n = read(s.log[0], got, sizeof(got) - 1);
		t_true(n > (ssize_t)CHUNK);
		got[n] = '\0';
		t_eq(strncmp(got, "\r\n[mews: 16128 bytes left out]\r\n", 32),
		    0);
		t_eq(got[n - CHUNK], 'y');
		t_eq(n, CHUNK + 32);
	}
	stage_close(&s);
}

/* Memory for watchers is there while there are any. */
static void
watchers(void)
{
	char got[CHUNK];
	struct stage s;
	uint64_t off;
	unsigned int i;

	if (stage_open(&s)) {
		say(&s, 'a');
		t_eq(console_end(s.c), CHUNK);
		t_eq(console_first(s.c), CHUNK);
		t_eq(console_watch(s.c), 0);
		off = console_end(s.c);
		say(&s, 'b');
		t_eq(console_read(s.c, &off, got, sizeof(got)), CHUNK);
		t_eq(got[0], 'b');
		t_eq(console_read(s.c, &off, got, sizeof(got)), 0);
		for (i = 0; i < CONSOLE_RING / CHUNK + 2; i++)
			say(&s, 'c');
		t_eq(console_end(s.c) - console_first(s.c), CONSOLE_RING);
		off = console_end(s.c) - 2 * CHUNK;
		t_eq(console_read(s.c, &off, got, sizeof(got)), CHUNK);
		t_eq(got[CHUNK - 1], 'c');
		console_unwatch(s.c);
		t_eq(console_first(s.c), console_end(s.c));
	}
	stage_close(&s);
}

static void
panics(void)
{
	static const char text[] =
	    "booting\r\n[    1.2] Kernel panic - not syncing: no init\r\n"
	    "[    1.3] Kernel Offset: disabled\r\n\r\nhalf a li";
	struct stage s;

	if (stage_open(&s)) {
		t_true(console_panic(s.c) == NULL);
		t_str(console_last(s.c), "");
		t_eq(write(s.guest, text, sizeof(text) - 1),
		    (ssize_t)sizeof(text) - 1);
		console_drain(s.c);
		t_str(
		    console_panic(s.c), "Kernel panic - not syncing: no init");
		t_str(console_last(s.c), "[    1.3] Kernel Offset: disabled");
	}
	stage_close(&s);
}

/* A command that speaks of a panic is no panic. */
static void
panics_of_commands(void)
{
	static const char text[] =
	    "exec 17: Kernel panic - not syncing: in a report\r\n";
	static const char returns[] =
	    "exec 17: \rKernel panic - not syncing: forged\r\n";
	static const char kernel[] =
	    "exec 17x: Kernel panic - not syncing: its own\r\n";
	struct stage s;

	if (stage_open(&s)) {
		t_eq(write(s.guest, text, sizeof(text) - 1),
		    (ssize_t)sizeof(text) - 1);
		console_drain(s.c);
		t_true(console_panic(s.c) == NULL);
		/* as the agents of earlier builds pass it on */
		t_eq(write(s.guest, returns, sizeof(returns) - 1),
		    (ssize_t)sizeof(returns) - 1);
		console_drain(s.c);
		t_true(console_panic(s.c) == NULL);
		t_eq(write(s.guest, kernel, sizeof(kernel) - 1),
		    (ssize_t)sizeof(kernel) - 1);
		console_drain(s.c);
		t_str(
		    console_panic(s.c), "Kernel panic - not syncing: its own");
	}
	stage_close(&s);
}

const struct t_case t_cases[] = {
	{ "full FIFO", full_fifo },
	{ "watchers", watchers },
	{ "panics", panics },
	{ "panics of commands", panics_of_commands },
	{ NULL, NULL },
};
