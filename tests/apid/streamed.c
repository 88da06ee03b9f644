#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/right.h"
#include "tests/apid/streamed.h"
#include "tests/suite/t.h"

int vm;
const struct ws_ops *ws;

static int vm_copy; /* of our end */
static struct route route;

/* --- the WebSocket and the answers --- */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note(text);
}

void
ws_upgrade(struct client *cl, size_t max, const struct ws_ops *ops)
{
	ws = ops;
	cl->phase = CP_WS;
	cl->ws = (struct ws *)(void *)&ws; /* it is only handed on */
	say("upgrade:%zu", max);
}

void
ws_set_max(struct ws *w, size_t max)
{
	t_true(w == c->ws);
	say("max:%zu", max);
}

void
ws_send(struct client *cl, int channel, const void *p, size_t n)
{
	t_true(cl == c);
	say("ws:%d:%.*s", channel, n < 300 ? (int)n : 0, (const char *)p);
}

void
ws_close(struct client *cl, uint16_t code)
{
	t_true(cl == c);
	say("close:%u", code);
	ws->ending(cl);
}

void
answer_error(struct client *cl, int status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say("error:%d:%zu:%.100s", status, strlen(text), text);
	cl->phase = CP_ANSWER;
}

void
answer_held_text(const struct client *cl, char *text, size_t len)
{
	t_true(cl == c);
	(void)snprintf(text, len, "too much is held");
}

void
answer_json(struct client *cl, int status, const struct jbuf *b, int64_t total)
{
	t_true(cl == c);
	t_eq(total, -1);
	if (b->r < 0) {
		answer_held(cl);
		return;
	}
	say("json:%d:%.*s", status, (int)b->len, b->p);
	cl->phase = CP_ANSWER;
}

void
answer_held(struct client *cl)
{
	note("held");
	cl->phase = CP_ANSWER;
}

void
answer_chunked(struct client *cl, const char *type, enum client_phase p)
{
	note(type);
	cl->phase = p;
}

int
answer_chunk(struct client *cl, const void *p, size_t n)
{
	t_true(cl == c);
	say("chunk:%.*s", (int)n, (const char *)p);
	return 0;
}

void
answer_last(struct client *cl)
{
	note("last");
	cl->phase = CP_ANSWER;
}

/* --- what apid makes of a connection, as far as it is about its stream --- */

static bool
step(struct client *cl)
{
	(void)cl;
	steps++;
	return false;
}

static bool
rest(struct client *cl)
{
	stream_update(cl->stream);
	return true;
}

static void
late(struct client *cl)
{
	(void)cl;
	note("late");
}

static void
dropped(struct client *cl)
{
	stream_close(cl->stream);
}

static void
freed(struct client *cl)
{
	stream_free(cl->stream);
}

static const struct client_ops ops = { step, rest, late, late, late, dropped,
	freed };

/* --- a test --- */

int
begin_any(enum route_kind kind)
{
	int fd;

	begin(ROLE_USER);
	client_unshare(&a);
	a.conf.held_max = 8 * STREAM_HELD;
	client_share(&a);
	a.client_ops = &ops;
	route =
	    (struct route){ .kind = kind, .right = &api_rights[RIGHT_EXEC] };
	c->q.route = &route;
	c->keep = true;
	c->phase = CP_ASK;
	ws = NULL;
	fd = pair(&vm);
	vm_copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd;
}

void
begin_stream(enum route_kind kind)
{
	stream_start(c, begin_any(kind));
	t_true(c->stream != NULL);
}

void
end_stream(void)
{
	(void)close(vm);
	(void)close(vm_copy);
	end();
}

void
vm_gets(const char *want, size_t len)
{
	char buf[4096];
	ssize_t n;

	client_run(c);
	n = recvfrom(vm, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
	t_mem(buf, n > 0 ? (size_t)n : 0, want, len);
}

void
vm_sends(const char *p, size_t len)
{
	t_eq(send(vm, p, len, MSG_NOSIGNAL), (ssize_t)len);
	turn();
}
