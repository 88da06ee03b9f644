#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/log.h"
#include "proto/ward.h"
#include "warden/dial.h"
#include "warden/qmp.h"
#include "warden/qmp_msg.h"

/* Connections that talked nonsense before we stop listening. */
#define NONSENSE_MAX 8
#define OUT_MAX 1024 /* some ten commands */
#define IN_FIRST 1024

struct vmm {
	struct event_base *base;
	const struct vmm_ops *ops;
	void *arg;
	struct dial dial;
	int fd;
	struct event *rd, *wr;
	char *in; /* the line so far */
	size_t inlen, incap;
	char out[OUT_MAX];
	size_t outlen;
	bool greeted;
	bool want_run;
	unsigned int nonsense;
	struct vmm_news news;
	char detail[96];
};

static const struct {
	enum qmp_id id;
	const char *text;
} commands[] = {
	{ QMP_ID_CAPS, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n" },
	{ QMP_ID_STATUS, "{\"execute\":\"query-status\",\"id\":2}\n" },
	{ QMP_ID_CONT, "{\"execute\":\"cont\",\"id\":3}\n" },
	{ QMP_ID_POWERDOWN, "{\"execute\":\"system_powerdown\",\"id\":4}\n" },
	{ QMP_ID_QUIT, "{\"execute\":\"quit\",\"id\":5}\n" },
};

static void
tell(struct vmm *v)
{
	v->ops->news(v->arg, &v->news);
}

static void
hang_up(struct vmm *v)
{
	if (v->rd != NULL)
		event_free(v->rd);
	if (v->wr != NULL)
		event_free(v->wr);
	v->rd = v->wr = NULL;
	fd_close(&v->fd);
	free(v->in);
	v->in = NULL;
	v->inlen = v->incap = v->outlen = 0;
	v->greeted = false;
	v->news.up = false;
}

/* The line is dead; why is for a person, NULL: it just closed. */
static void
lost(struct vmm *v, const char *why)
{
	hang_up(v);
	if (why != NULL) {
		log_warn("qmp: %s", why);
		v->news.detail = why;
		v->nonsense++;
	}
	if (v->nonsense < NONSENSE_MAX)
		dial_again(&v->dial);
	tell(v);
}

/* 0, -EAGAIN with the rest waiting for the socket, or an error. */
static int
flush(struct vmm *v)
{
	while (v->outlen > 0) {
		ssize_t n =
		    send(v->fd, v->out, v->outlen, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)event_add(v->wr, NULL);
			return -EAGAIN;
		}
		if (n < 0)
			return -errno;
		v->outlen -= (size_t)n;
		memmove(v->out, v->out + n, v->outlen);
	}
	return 0;
}

/*
 * Queues one.  A socket's error shows at the next read, so that callers
 * need not expect the connection to go while they use it.
 */
static int
command(struct vmm *v, enum qmp_id id)
{
	const char *text = commands[id - 1].text;
	size_t len = strlen(text);

	assert(commands[id - 1].id == id);
	if (v->fd == -1)
		return -ENOTCONN;
	if (len > sizeof(v->out) - v->outlen)
		return -ENOBUFS;
	memcpy(v->out + v->outlen, text, len);
	v->outlen += len;
	(void)flush(v);
	return 0;
}

static void
on_return(struct vmm *v, const struct qmp_msg *m)
{
	if (m->id == QMP_ID_CAPS)
		(void)command(v, QMP_ID_STATUS);
	if (m->id == QMP_ID_CONT)
		v->news.running = true;
	if (m->id != QMP_ID_STATUS || !m->has_running)
		return;
	dial_ok(&v->dial);
	v->news.up = true;
	v->news.running = m->running;
	v->news.halted = m->halted;
	if (m->running)
		v->want_run = false;
	else if (v->want_run && !m->halted)
		(void)command(v, QMP_ID_CONT);
}

static void
on_event(struct vmm *v, const struct qmp_msg *m)
{
	if (m->event == QMP_EV_RESUME)
		v->news.running = true;
	if (m->event == QMP_EV_STOP) {
		v->news.running = false;
		(void)command(v, QMP_ID_STATUS); /* which says why */
	}
	/* the first reason stands: a panic is followed by its reset */
	if (m->event == QMP_EV_GUEST && v->news.guest_event == EXIT_NONE)
		v->news.guest_event = m->guest_event;
}

/* NULL, or why the connection is of no use. */
static const char *
on_line(struct vmm *v, const char *line, size_t len)
{
	struct qmp_msg m;

	if (qmp_msg_parse(line, len, &m) < 0)
		return "not a QMP message";
	if (m.kind == QMP_GREETING) {
		if (v->greeted)
			return "a second greeting";
		v->greeted = true;
		return command(v, QMP_ID_CAPS) < 0 ? "no room" : NULL;
	}
	if (!v->greeted)
		return "no greeting";
	if (m.kind == QMP_RETURN)
		on_return(v, &m);
	else if (m.kind == QMP_EVENT)
		on_event(v, &m);
	else if (m.kind == QMP_ERROR) {
		memcpy(v->detail, m.text, sizeof(v->detail));
		v->news.detail = v->detail;
		log_warn("qmp: command %d: %s", (int)m.id, m.text);
	}
	tell(v);
	return NULL;
}

/* Takes whole lines out of the buffer. */
static const char *
lines(struct vmm *v)
{
	char *nl;
	const char *why = NULL;
	size_t off = 0;

	while (why == NULL &&
	    (nl = memchr(v->in + off, '\n', v->inlen - off)) != NULL) {
		size_t len = (size_t)(nl - (v->in + off));

		if (len > 0 && v->in[off + len - 1] == '\r')
			why = on_line(v, v->in + off, len - 1);
		else
			why = on_line(v, v->in + off, len);
		off += len + 1;
	}
	v->inlen -= off;
	memmove(v->in, v->in + off, v->inlen);
	return why;
}

static int
grow(struct vmm *v)
{
	size_t cap = v->incap == 0 ? IN_FIRST : v->incap * 2;
	char *p;

	if (v->inlen < v->incap)
		return 0;
	if (cap > QMP_LINE_MAX)
		return -EMSGSIZE;
	if ((p = realloc(v->in, cap)) == NULL)
		return -ENOMEM;
	v->in = p;
	v->incap = cap;
	return 0;
}

static void
on_readable(int fd, short what, void *arg)
{
	struct vmm *v = arg;
	const char *why;
	ssize_t n;

	(void)what;
	if (grow(v) < 0) {
		lost(v, "a line without end");
		return;
	}
	n = recv(fd, v->in + v->inlen, v->incap - v->inlen, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost(v, NULL);
		return;
	}
	v->inlen += (size_t)n;
	if ((why = lines(v)) != NULL)
		lost(v, why);
}

static void
on_writable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)flush(arg);
}

static void
on_up(void *arg, int fd)
{
	struct vmm *v = arg;

	v->fd = fd;
	v->rd = event_new(v->base, fd, EV_READ | EV_PERSIST, on_readable, v);
	v->wr = event_new(v->base, fd, EV_WRITE, on_writable, v);
	if (v->rd == NULL || v->wr == NULL || event_add(v->rd, NULL) < 0)
		lost(v, NULL);
}

struct vmm *
qmp_open(struct event_base *base, const struct vmm_ops *ops, void *arg)
{
	struct vmm *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->base = base;
	v->ops = ops;
	v->arg = arg;
	v->fd = -1;
	if (dial_open(&v->dial, base, WARD_SOCK_QMP, on_up, v) < 0) {
		free(v);
		return NULL;
	}
	return v;
}

void
qmp_close(struct vmm *v)
{
	if (v == NULL)
		return;
	dial_close(&v->dial);
	hang_up(v);
	free(v);
}

void
qmp_retry(struct vmm *v)
{
	if (v->fd != -1)
		return;
	v->nonsense = 0;
	dial_retry(&v->dial);
}

void
qmp_resume(struct vmm *v)
{
	v->want_run = true;
	if (v->news.up && !v->news.running)
		(void)command(v, QMP_ID_CONT);
}

int
qmp_stop(struct vmm *v, enum stop_rung rung)
{
	if (rung != STOP_ACPI && rung != STOP_QUIT)
		return -EINVAL;
	if (!v->news.up)
		return -ENOTCONN;
	return command(v, rung == STOP_ACPI ? QMP_ID_POWERDOWN : QMP_ID_QUIT);
}
