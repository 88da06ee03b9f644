#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/child.h"
#include "agent/conn.h"
#include "agent/exec.h"
#include "agent/hold.h"
#include "agent/spawn.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/frame.h"
#include "common/util.h"
#include "proto/jbuf.h"

/* Payload of one frame of output: with its head, one yamux frame. */
#define PIECE (YAMUX_CHUNK - FRAME_HEAD_LEN)
#define STATUS_MAX 1024
#define GRACE_S 5 /* to end by itself, when its client is gone */

struct exec {
	LIST_ENTRY(exec) link;
	struct agent *a;
	struct conn *c; /* NULL: the host gave it up */
	struct watch in, out, err; /* fd -1: closed */
	struct watch grace; /* of one that was given up; fd -1: none */
	struct child *child; /* NULL: it runs its program, or never will */
	int fail; /* -errno of what kept it from that */
	struct execgroup group;
	pid_t pid; /* 0: reaped */
	int status;
	bool tty;
	bool in_ending; /* close stdin once what waits is written */
	bool is_told; /* the status was sent */
	bool is_killed; /* with all that it started */
	struct frame waits; /* stdin that the process does not take yet */
	uint32_t waits_off;
	struct frame_dec dec;
};

/* Found by pid when they end; the oldest is the last. */
static LIST_HEAD(execs, exec) execs = LIST_HEAD_INITIALIZER(execs);
static size_t nkilled; /* of those that were not reaped */

static void
stream_close(struct watch *w)
{
	loop_unwatch(w);
	fd_close(&w->fd);
}

static void
exec_free(struct exec *ex)
{
	LIST_REMOVE(ex, link);
	stream_close(&ex->in);
	stream_close(&ex->out);
	stream_close(&ex->err);
	stream_close(&ex->grace);
	spawn_free(ex->child);
	free(ex);
}

static void
exec_kill(const struct exec *ex, int sig)
{
	/* once each: the leader alone where it has no group of its own yet */
	if (ex->pid != 0 && kill(-ex->pid, sig) < 0)
		(void)kill(ex->pid, sig);
}

static void
exec_end(struct exec *ex)
{
	if (ex->pid != 0 && !ex->is_killed) {
		ex->is_killed = true;
		nkilled++;
	}
	exec_kill(ex, SIGKILL);
	execgroup_kill(&ex->group); /* also what made a session of its own */
}

static void
on_grace(void *arg, uint32_t events)
{
	struct exec *ex = arg;

	(void)events;
	stream_close(&ex->grace);
	exec_end(ex);
}

/* Nobody reads it, and a word it says at its end must not be that. */
static void
on_unread(void *arg, uint32_t events)
{
	struct exec *ex = arg;
	struct watch *all[] = { &ex->out, &ex->err };
	uint8_t buf[PIECE];
	size_t i;

	(void)events;
	for (i = 0; i < nitems(all); i++) {
		ssize_t n;

		if (all[i]->fd < 0)
			continue;
		n = read(all[i]->fd, buf, sizeof(buf));
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			stream_close(all[i]);
	}
}

static void
unread(struct watch *w)
{
	if (w->fd < 0)
		return;
	w->fn = on_unread;
	if (loop_watch(w, EPOLLIN) < 0)
		stream_close(w);
}

/* Whose client is gone and who is still given time. */
static struct exec *
oldest_left(void)
{
	struct exec *ex, *oldest = NULL;

	for (ex = LIST_FIRST(&execs); ex != NULL; ex = LIST_NEXT(ex, link)) {
		if (ex->c == NULL && !ex->is_killed)
			oldest = ex;
	}
	return oldest;
}

bool
exec_has_room(const struct agent *a)
{
	const size_t n = a->nexecs - a->ndetached;
	struct exec *ex;

	if (n - nkilled >= EXECS_MAX && (ex = oldest_left()) != NULL)
		exec_end(ex);
	return n - nkilled < EXECS_MAX && n < EXECS_MAX + EXECS_DYING;
}

static int
grace_begin(struct exec *ex)
{
	const struct itimerspec its = { .it_value = { .tv_sec = GRACE_S } };

	ex->grace = (struct watch){ .fn = on_grace, .arg = ex };
	ex->grace.fd =
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ex->grace.fd < 0 ||
	    timerfd_settime(ex->grace.fd, 0, &its, NULL) < 0)
		return -errno;
	return loop_watch(&ex->grace, EPOLLIN);
}

/* The conn is gone. */
static void
exec_abandon(void *arg)
{
	struct exec *ex = arg;
	const int sig = ex->tty ? SIGHUP : SIGTERM;

	ex->c = NULL;
	if (ex->pid == 0) {
		exec_free(ex);
		return;
	}
	/* a terminal's input is its output */
	stream_close(&ex->in);
	unread(&ex->out);
	unread(&ex->err);
	exec_kill(ex, sig);
	execgroup_signal(&ex->group, sig);
	exec_kill(ex, SIGCONT); /* one that stands hears nothing else */
	execgroup_signal(&ex->group, SIGCONT);
	if (grace_begin(ex) < 0)
		exec_end(ex);
}

size_t
exec_signal_all(int sig)
{
	struct exec *ex;
	size_t n = 0;

	for (ex = LIST_FIRST(&execs); ex != NULL; ex = LIST_NEXT(ex, link)) {
		if (ex->pid == 0)
			continue;
		if (sig == SIGKILL)
			exec_end(ex);
		else
			exec_kill(ex, sig);
		n++;
	}
	return n;
}

static bool in_flush(struct exec *ex);
static void exec_pump(struct exec *ex);

static void
on_in(void *arg, uint32_t events)
{
	struct exec *ex = arg;
	struct port *p = &ex->a->port;

	(void)events;
	/* what waits first, then what waits behind it in the stream */
	if (in_flush(ex))
		conn_event(ex->c, ex->c->d.ys, YS_READ); /* may free ex */
	port_flush(p);
}

static void
on_out(void *arg, uint32_t events)
{
	struct exec *ex = arg;
	struct port *p = &ex->a->port;

	(void)events;
	exec_pump(ex); /* may free ex */
	port_flush(p);
}

/* Its texts and stack go as soon as they can: there may be secrets. */
static void
child_check(struct exec *ex)
{
	if (ex->child == NULL || (ex->pid != 0 && !child_is_away(ex->child)))
		return;
	ex->fail = ex->child->fail;
	spawn_free(ex->child);
	ex->child = NULL;
}

/* Of those that say nothing, too. */
static void
children_check(void)
{
	struct exec *ex;

	for (ex = LIST_FIRST(&execs); ex != NULL; ex = LIST_NEXT(ex, link))
		child_check(ex);
}

int
exec_start(
    struct conn *c, struct exec_request *req, struct exec **ret, struct err *e)
{
	struct spawned sp = { .keep = -1 };
	struct exec *ex;
	bool tty = req->tty;
	int r;

	/* not zeroed as a whole: a frame's place is most of it */
	if ((ex = malloc(sizeof(*ex))) == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	memset(ex, 0, offsetof(struct exec, dec));
	hold_on_full(children_check);
	r = spawn(&c->a->work, &c->a->spec.env, req, &sp, e);
	if (r < 0) {
		free(ex);
		return r;
	}
	ex->a = c->a;
	ex->c = c;
	ex->pid = sp.pid;
	ex->tty = tty;
	ex->in = (struct watch){ .fn = on_in, .arg = ex, .fd = sp.in };
	ex->out = (struct watch){ .fn = on_out, .arg = ex, .fd = sp.out };
	ex->err = (struct watch){ .fn = on_out, .arg = ex, .fd = sp.err };
	ex->grace.fd = -1;
	ex->child = sp.child;
	ex->group = sp.group;
	frame_init(&ex->dec, FRAME_FROM_USER_SIGNALS);
	LIST_INSERT_HEAD(&execs, ex, link);
	ex->a->nexecs++;
	*ret = ex;
	return 0;
}

/* True when nothing waits any more; else the watch will say when to go on. */
static bool
in_flush(struct exec *ex)
{
	while (ex->waits_off < ex->waits.len && ex->in.fd >= 0) {
		ssize_t n = write(ex->in.fd, ex->waits.data + ex->waits_off,
		    ex->waits.len - ex->waits_off);

		if (n < 0 && errno == EAGAIN) {
			(void)loop_watch(&ex->in, EPOLLOUT);
			return false;
		}
		if (n < 0)
			stream_close(&ex->in); /* it reads no more: drop */
		else
			ex->waits_off += (uint32_t)n;
	}
	ex->waits.len = ex->waits_off = 0;
	loop_watch(&ex->in, 0);
	if (ex->in_ending && ex->in.fd >= 0) {
		/* a terminal has no half: its end-of-file character */
		if (ex->tty)
			(void)fd_write_all(ex->in.fd, "\4", 1);
		stream_close(&ex->in);
	}
	return true;
}

/* {"Width":80,"Height":24}, as Kubernetes' clients say it. */
struct tty_size {
	uint64_t has;
	uint16_t Width, Height;
};
static const struct field tty_size_fields[] = {
	{ F_INT(struct tty_size, Width), .max = UINT16_MAX, .doc = "columns" },
	{ F_INT(struct tty_size, Height), .max = UINT16_MAX, .doc = "rows" },
};
static const struct table tty_size_table = { .name = "TtySize",
	.size = sizeof(struct tty_size),
	.fields = tty_size_fields,
	.nfields = nitems(tty_size_fields),
	.doc = "A terminal's size." };

static void
resize(struct exec *ex, const struct frame *f)
{
	struct winsize ws = { 0 };
	struct tty_size size;

	if (!ex->tty || ex->out.fd < 0 ||
	    table_decode(&tty_size_table, 0, (const char *)f->data, f->len,
		&size, NULL) < 0)
		return;
	ws.ws_col = size.Width;
	ws.ws_row = size.Height;
	(void)ioctl(ex->out.fd, TIOCSWINSZ, &ws);
}

/* As from its terminal, if it has one: those are the foreground's. */
static void
take_signal(struct exec *ex, int sig)
{
	const bool keys = sig == SIGINT || sig == SIGQUIT || sig == SIGTSTP;
	pid_t fg = 0;

	if (sig == SIGKILL)
		exec_end(ex);
	else if (ex->tty && keys && ex->out.fd >= 0 &&
	    ioctl(ex->out.fd, TIOCGPGRP, &fg) == 0 && fg > 0)
		(void)kill(-fg, sig);
	else
		exec_kill(ex, sig);
}

static void
take_frame(struct exec *ex, const struct frame *f)
{
	switch (f->channel) {
	case FRAME_STDIN:
		ex->waits = *f;
		ex->waits_off = 0;
		break;
	case FRAME_RESIZE:
		resize(ex, f);
		break;
	case FRAME_SIGNAL:
		take_signal(ex, f->data[0]);
		break;
	case FRAME_CLOSE:
		if (f->data[0] == FRAME_STDIN)
			ex->in_ending = true;
		break;
	case FRAME_STDOUT:
	case FRAME_STDERR:
	case FRAME_STATUS:
		break; /* the decoder refuses them */
	}
}

static int
take_input(void *arg, const uint8_t *p, size_t len, size_t *used)
{
	struct exec *ex = arg;

	*used = 0;
	while (in_flush(ex) && *used < len) {
		struct frame f;
		size_t n;
		int r;

		r = frame_feed(&ex->dec, p + *used, len - *used, &n, &f);
		*used += n;
		if (r < 0)
			return r;
		if (r == 1)
			take_frame(ex, &f);
	}
	return 0;
}

static void
take_eof(void *arg)
{
	struct exec *ex = arg;

	ex->in_ending = true;
	(void)in_flush(ex);
}

/* One frame to the host; the caller knows that there is room. */
static void
put_frame(struct exec *ex, enum frame_channel ch, uint8_t *buf, size_t len)
{
	(void)frame_head(buf, ch, len);
	(void)duct_write(&ex->c->d, buf, FRAME_HEAD_LEN + len);
}

/*
 * Carries a stream as far as it goes.  The process's end is the stream's
 * too, once the pipe is empty: a daemon it left behind may hold the pipe
 * open for ever.
 */
static void
out_pump(struct exec *ex, struct watch *w, enum frame_channel ch)
{
	uint8_t buf[FRAME_HEAD_LEN + PIECE];
	size_t room;
	ssize_t n;

	while (w->fd >= 0) {
		room = duct_room(&ex->c->d);
		if (room <= FRAME_HEAD_LEN) {
			loop_watch(w, 0);
			duct_want_write(&ex->c->d);
			return;
		}
		room -= FRAME_HEAD_LEN;
		n = read(
		    w->fd, buf + FRAME_HEAD_LEN, room < PIECE ? room : PIECE);
		if (n < 0 && errno == EAGAIN && ex->pid != 0) {
			(void)loop_watch(w, EPOLLIN);
			return;
		}
		if (n <= 0) /* also a terminal's EIO */
			stream_close(w);
		else
			put_frame(ex, ch, buf, (size_t)n);
	}
}

static int
exit_code(const struct exec *ex)
{
	if (WIFEXITED(ex->status))
		return WEXITSTATUS(ex->status);
	return 128 + WTERMSIG(ex->status);
}

/* What kept it from running is said where a shell would say it. */
static void
tell_failure(struct exec *ex)
{
	uint8_t buf[FRAME_HEAD_LEN + 256];
	int n;

	if (ex->fail == 0)
		return;
	n = snprintf((char *)buf + FRAME_HEAD_LEN, 256,
	    "mews: cannot run the command: %s\n", spawn_error(ex->fail));
	put_frame(ex, FRAME_STDERR, buf, (size_t)n);
	ex->fail = 0;
}

static void
tell_status(struct exec *ex)
{
	uint8_t buf[FRAME_HEAD_LEN + STATUS_MAX];
	struct jbuf b;

	if (duct_room(&ex->c->d) < sizeof(buf) + 512) {
		duct_want_write(&ex->c->d);
		return;
	}
	tell_failure(ex);
	jbuf_init(&b, STATUS_MAX);
	exec_status_write(&b, exit_code(ex));
	if (b.r == 0) {
		memcpy(buf + FRAME_HEAD_LEN, b.p, b.len);
		put_frame(ex, FRAME_STATUS, buf, b.len);
	}
	jbuf_free(&b);
	ex->is_told = true;
	duct_fin(&ex->c->d);
}

static void
exec_pump(struct exec *ex)
{
	if (ex->c == NULL || ex->c->out_len > 0)
		return; /* the 101 goes first */
	child_check(ex);
	out_pump(ex, &ex->out, FRAME_STDOUT);
	out_pump(ex, &ex->err, FRAME_STDERR);
	if (ex->pid == 0 && ex->out.fd < 0 && ex->err.fd < 0 && !ex->is_told)
		tell_status(ex);
	if (ex->is_told && duct_is_eof(&ex->c->d))
		conn_free(ex->c); /* and, by exec_abandon, ex */
}

static void
take_pump(void *arg)
{
	exec_pump(arg);
}

const struct conn_taker exec_taker = { .input = take_input,
	.eof = take_eof,
	.pump = take_pump,
	.gone = exec_abandon };

void
exec_reaped(pid_t pid, int status)
{
	struct agent *a;
	struct exec *ex;
	struct execgroup g;

	for (ex = LIST_FIRST(&execs); ex != NULL; ex = LIST_NEXT(ex, link)) {
		if (ex->pid == pid)
			break;
	}
	if (ex == NULL)
		return;
	ex->pid = 0;
	ex->status = status;
	if (ex->is_killed)
		nkilled--;
	child_check(ex);
	a = ex->a;
	g = ex->group;
	ex->group.dir = -1;
	a->nexecs--;
	if (ex->c == NULL) {
		/* with whom it left behind */
		if (g.dir >= 0)
			execgroup_kill(&g);
		else
			(void)kill(-pid, SIGKILL);
		exec_free(ex);
	} else
		exec_pump(ex); /* may free it */
	port_flush(&a->port); /* first tell, then clean up */
	execgroup_release(&a->work.groups, &g);
}
