#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/child.h"
#include "agent/conn.h"
#include "agent/console.h"
#include "agent/detach.h"
#include "agent/file.h"
#include "agent/spawn.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "proto/objects.h"

#define LINE_LEN 512 /* of output; a longer one is cut into several */
#define PREFIX_MAX 32
#define STATUS_FILE_MAX 8192
/* What is read at once, and the most that it can come to: a line a byte, and
 * what waited for its end. */
#define PART 96
#define PARTS 8 /* of one command, before the loop turns to others */
#define LINE_SHORT ((int)sizeof("exec 4194304: \n"))
#define ROOM (PART * LINE_SHORT + PREFIX_MAX + LINE_LEN)

struct detached {
	TAILQ_ENTRY(detached) link;
	struct agent *a;
	struct conn *c; /* who has no answer yet; NULL: none, or gone */
	struct watch gate; /* ends when it executes, or ends before */
	struct watch out; /* fd -1: closed */
	struct child *child; /* until then */
	struct execgroup group;
	pid_t pid; /* 0: reaped */
	int shown; /* its pid as the workload sees it; 0: it cannot be read */
	int status; /* once it is reaped */
	int rest; /* of what it said, once it is reaped: bytes in the pipe */
	bool never_ran;
	bool stalls; /* the console has no room */
	bool returned; /* the last byte was a carriage return */
	size_t len;
	char line[LINE_LEN];
};

static TAILQ_HEAD(all, detached) all = TAILQ_HEAD_INITIALIZER(all);
static unsigned int nall;

static void
close_watch(struct watch *w)
{
	loop_unwatch(w);
	fd_close(&w->fd);
}

static void
say_end(const struct detached *d)
{
	const bool exited = WIFEXITED(d->status);

	log_info("exec %d ended: %s %d", d->shown, exited ? "status" : "signal",
	    exited ? WEXITSTATUS(d->status) : WTERMSIG(d->status));
}

/* Its process has ended, its begin was told, and so was all that it said. */
static void
free_if_over(struct detached *d)
{
	if (d->pid != 0 || d->child != NULL || d->out.fd >= 0)
		return;
	if (!d->never_ran)
		say_end(d);
	TAILQ_REMOVE(&all, d, link);
	nall--;
	free(d);
}

/* --- what it says --- */

static void
put_line(struct detached *d)
{
	char text[PREFIX_MAX + LINE_LEN + 1];
	int n;

	n = snprintf(text, sizeof(text), "exec %d: %.*s\n", d->shown,
	    (int)d->len, d->line);
	console_put(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	d->len = 0;
}

/* What moves a terminal's cursor, or ends the line for those who print it. */
static char
plain(char ch)
{
	return (ch >= 0 && ch < ' ' && ch != '\t') || ch == 0x7f ? ' ' : ch;
}

/* A carriage return ends a line, too: what follows would stand where one
 * begins, as if somebody else had said it. */
static void
take(struct detached *d, const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		const bool ends = p[i] == '\n' || p[i] == '\r';
		const bool second = p[i] == '\n' && d->returned;

		d->returned = p[i] == '\r';
		if (second)
			continue;
		if (ends || d->len == sizeof(d->line))
			put_line(d);
		if (!ends)
			d->line[d->len++] = plain(p[i]);
	}
}

/* Some of it.  0: that was all.  With its process ended, what was in the pipe
 * then is the end: others may hold that open, and write to it, for ever. */
static ssize_t
get(struct detached *d, char buf[PART])
{
	size_t max = PART;
	ssize_t n;

	if (d->pid == 0 && d->rest < PART)
		max = (size_t)d->rest;
	if (max == 0)
		return 0;
	if ((n = read(d->out.fd, buf, max)) < 0)
		return errno == EAGAIN && d->pid != 0 ? -EAGAIN : 0;
	if (d->pid == 0)
		d->rest -= (int)n;
	return n;
}

static void on_room(void);

/* As far as the console goes, and not so far that others wait for it long.
 * May free d. */
static void
pump(struct detached *d)
{
	char buf[PART];
	ssize_t n = 0;
	int i;

	for (i = 0; d->out.fd >= 0 && (i < PARTS || d->pid == 0); i++) {
		d->stalls = !console_has_room(ROOM);
		if (d->stalls) {
			loop_unwatch(&d->out);
			console_want_room(on_room);
			return;
		}
		if ((n = get(d, buf)) < 0)
			break;
		if (n > 0) {
			take(d, buf, (size_t)n);
			console_carry_on();
			continue;
		}
		if (d->len > 0)
			put_line(d);
		console_carry_on();
		close_watch(&d->out);
	}
	if (d->out.fd >= 0)
		(void)loop_watch(&d->out, EPOLLIN);
	free_if_over(d);
}

static void
on_out(void *arg, uint32_t events)
{
	(void)events;
	pump(arg);
}

/* To each once, and next time to the one behind who got the last of it. */
static void
on_room(void)
{
	struct detached *d;
	unsigned int n;

	for (n = nall; n > 0 && console_has_room(ROOM); n--) {
		if ((d = TAILQ_FIRST(&all)) == NULL)
			return;
		TAILQ_REMOVE(&all, d, link);
		TAILQ_INSERT_TAIL(&all, d, link);
		if (d->stalls)
			pump(d); /* may free it */
	}
	if (n > 0)
		console_want_room(on_room);
}

/* --- its begin --- */

/* The last number of "NSpid:\t170\t12". */
static int
pid_inside(pid_t pid)
{
	char path[32], buf[STATUS_FILE_MAX], *p, *word;
	long long v = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(path, buf, sizeof(buf)) < 0 ||
	    (p = strstr(buf, "\nNSpid:")) == NULL)
		return 0;
	p += sizeof("\nNSpid:") - 1;
	p[strcspn(p, "\n")] = '\0';
	while ((word = strsep(&p, "\t ")) != NULL)
		(void)num_parse(word, 1, INT32_MAX, &v);
	return (int)v;
}

static void
answer(struct detached *d)
{
	struct conn *c = d->c;
	char json[32], text[128];

	d->c = NULL;
	if (c == NULL)
		return;
	if (d->never_ran) {
		(void)snprintf(text, sizeof(text), "cannot run the command: %s",
		    spawn_error(d->child->fail));
		conn_late_error(c, 422, text);
	} else if (d->shown == 0) {
		conn_late_error(
		    c, 500, "it runs, but its process id cannot be read");
	} else {
		(void)snprintf(json, sizeof(json), "{\"pid\":%d}", d->shown);
		conn_late(c, 201, json);
	}
}

/* It executes its program, or has ended: what it shared with us it does not
 * any more. */
static void
on_gate(void *arg, uint32_t events)
{
	struct detached *d = arg;
	struct agent *a = d->a;

	(void)events;
	close_watch(&d->gate);
	d->never_ran = d->child->fail != 0;
	answer(d);
	spawn_free(d->child);
	d->child = NULL;
	free_if_over(d);
	port_flush(&a->port);
}

/* Nobody waits for the answer any more; the command goes on. */
static void
on_gone(void *arg)
{
	struct detached *d = arg;

	d->c = NULL;
}

/* Nothing follows the request. */
static const struct conn_taker taker = { .gone = on_gone };

static int
begin(struct detached *d, struct exec_request *req, struct err *e)
{
	struct spawned sp = { 0 };
	int gate[2], r;

	if (pipe2(gate, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, -errno, "pipe");
	sp.keep = gate[1];
	r = spawn(&d->a->work, &d->a->spec.env, req, &sp, e);
	fd_close(&gate[1]); /* the child has its own */
	if (r < 0) {
		fd_close(&gate[0]);
		return r;
	}
	d->pid = sp.pid;
	d->shown = pid_inside(sp.pid);
	d->child = sp.child;
	d->group = sp.group;
	d->gate = (struct watch){ .fn = on_gate, .arg = d, .fd = gate[0] };
	d->out = (struct watch){ .fn = on_out, .arg = d, .fd = sp.out };
	return 0;
}

int
detach_start(struct conn *c, struct exec_request *req, struct err *e)
{
	struct agent *a = c->a;
	struct detached *d;
	int r;

	if (nall >= DETACHED_MAX)
		return err_set(e, -EBUSY,
		    "%d detached commands run in this vm already: end one",
		    DETACHED_MAX);
	/* the reserve is for what comes to end things, not for what stays */
	if (a->work.groups.cg.guest >= 0 && cgroups_is_full(&a->work.groups.cg))
		return err_set(e, -EBUSY,
		    "no memory or process is left in this vm for a command "
		    "that stays: end one");
	if ((d = calloc(1, sizeof(*d))) == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	d->a = a;
	if ((r = begin(d, req, e)) < 0) {
		free(d);
		return r;
	}
	TAILQ_INSERT_TAIL(&all, d, link);
	nall++;
	a->nexecs++;
	a->ndetached++;
	d->c = c;
	conn_take(c, &taker, d);
	(void)loop_watch(&d->gate, EPOLLIN);
	(void)loop_watch(&d->out, EPOLLIN);
	return 0;
}

/* --- its end --- */

bool
detach_reaped(pid_t pid, int status)
{
	struct detached *d;

	TAILQ_FOREACH (d, &all, link) {
		if (d->pid == pid)
			break;
	}
	if (d == NULL)
		return false;
	d->pid = 0;
	d->status = status;
	if (d->out.fd >= 0 && ioctl(d->out.fd, FIONREAD, &d->rest) < 0)
		d->rest = 0;
	d->a->nexecs--;
	d->a->ndetached--;
	execgroup_release(&d->a->work.groups, &d->group);
	pump(d); /* may free it */
	return true;
}

size_t
detach_signal_all(int sig)
{
	struct detached *d;
	size_t n = 0;

	TAILQ_FOREACH (d, &all, link) {
		if (d->pid == 0)
			continue;
		if (kill(-d->pid, sig) < 0)
			(void)kill(d->pid, sig);
		if (sig == SIGKILL)
			execgroup_kill(&d->group);
		n++;
	}
	return n;
}
