#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/console.h"
#include "agent/loop.h"
#include "common/fds.h"

#define LINE_MAX_LEN 4096 /* of a packet */
#define OWN_ROOM 2048 /* for the agent's own lines */
#define PIPE_BYTES                                                \
	(64 * 4096) /* lines of one turn of the loop, a page each \
		     */

/* there is one, as there is one pid 1 */
static struct {
	struct watch from; /* the pipe */
	struct watch to; /* the console; never closed: that would wait */
	bool is_hung; /* for good */
	size_t len; /* what waits */
	unsigned long lost; /* lines */
	void (*room)(void); /* who waits for some; NULL: nobody */
	char buf[CONSOLE_HELD];
} con = { .from.fd = -1, .to.fd = -1 };

/* One write of who logs: a line, held whole or lost whole. */
static void
hold(const char *p, size_t len)
{
	if (len > sizeof(con.buf) - con.len) {
		con.lost++;
		return;
	}
	memcpy(con.buf + con.len, p, len);
	con.len += len;
}

static void
take_in(void)
{
	char buf[LINE_MAX_LEN];
	ssize_t n;

	while ((n = read(con.from.fd, buf, sizeof(buf))) > 0)
		hold(buf, (size_t)n);
}

static void
say_lost(void)
{
	char text[64];
	int n =
	    snprintf(text, sizeof(text), "agent: %lu lines lost\n", con.lost);

	if (con.lost == 0 || (size_t)n > sizeof(con.buf) - con.len)
		return;
	con.lost = 0;
	hold(text, (size_t)n);
}

/* Until it is empty or the console takes no more. */
static void
give_out(void)
{
	say_lost();
	while (con.len > 0 && con.to.fd >= 0) {
		ssize_t n = write(con.to.fd, con.buf, con.len);

		if (n <= 0)
			break;
		con.len -= (size_t)n;
		memmove(con.buf, con.buf + n, con.len);
		if (con.len == 0)
			say_lost();
	}
}

void
console_flush(void)
{
	take_in();
	give_out();
}

static void
on_console(void *arg, uint32_t events)
{
	void (*fn)(void) = events != 0 ? con.room : NULL;

	(void)arg;
	console_flush();
	if (fn != NULL)
		con.room = NULL;
	/* one that was hung up reports nothing else, and would for ever */
	con.is_hung = con.is_hung || (events & EPOLLHUP) != 0;
	if ((con.len == 0 && con.room == NULL) || con.to.fd < 0 || con.is_hung)
		loop_unwatch(&con.to);
	else
		(void)loop_watch(&con.to, EPOLLOUT);
	if (fn != NULL)
		fn();
}

bool
console_has_room(size_t len)
{
	return con.to.fd < 0 || con.is_hung ||
	    con.len + len + OWN_ROOM <= sizeof(con.buf);
}

void
console_put(const char *line, size_t len)
{
	hold(line, len);
}

void
console_carry_on(void)
{
	on_console(NULL, 0);
}

void
console_want_room(void (*fn)(void))
{
	con.room = fn;
	(void)loop_watch(&con.to, EPOLLOUT);
}

static void
on_line(void *arg, uint32_t events)
{
	(void)events;
	on_console(arg, 0);
}

void
console_init(void)
{
	int p[2], null, i;

	/* by packets: one read is one line */
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK | O_DIRECT) < 0)
		return;
	(void)fcntl(p[0], F_SETPIPE_SZ, PIPE_BYTES);
	/* above what they are to become */
	con.from.fd = fcntl(p[0], F_DUPFD_CLOEXEC, 3);
	(void)dup2(p[1], STDERR_FILENO);
	for (i = 0; i < 2; i++) {
		if (p[i] > STDERR_FILENO)
			(void)close(p[i]);
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (i = 0; i < 2 && null >= 0; i++)
		(void)dup2(null, i);
	if (null > STDERR_FILENO)
		(void)close(null);
	(void)atexit(console_flush); /* fatal() has last words */
}

void
console_open(const char *path)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), i;

	for (i = 0; i < 2 && null >= 0; i++)
		(void)dup2(null, i);
	if (null > STDERR_FILENO)
		fd_close(&null);
	con.to = (struct watch){ .fn = on_console };
	con.to.fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	console_flush(); /* none to talk to: the channel still works */
}

void
console_watch(void)
{
	con.from.fn = on_line;
	if (con.from.fd >= 0)
		(void)loop_watch(&con.from, EPOLLIN);
}
