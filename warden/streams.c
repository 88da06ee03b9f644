#include <stdio.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/util.h"
#include "proto/ward.h"
#include "warden/stream.h"
#include "warden/streams.h"

void
streams_init(struct streams *ss, struct event_base *base, struct agent *agent,
    struct vsock *vsock, struct console *console)
{
	ss->base = base;
	ss->agent = agent;
	ss->vsock = vsock;
	ss->console = console;
	TAILQ_INIT(&ss->list);
}

void
streams_clear(struct streams *ss)
{
	struct stream *st;

	while ((st = TAILQ_FIRST(&ss->list)) != NULL) {
		TAILQ_REMOVE(&ss->list, st, entry);
		stream_free(st);
	}
}

static bool
is_stream_socket(int fd)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	    type == SOCK_STREAM && domain == AF_UNIX;
}

static const struct stream_ops *
ops_of(uint32_t kind)
{
	return kind == STREAM_EXEC  ? &stream_exec_ops
	    : kind == STREAM_SIGNAL ? &stream_signal_ops
				    : &stream_console_ops;
}

/* Signals have places of their own: they find their way where all that they
 * could end is still there, and take none from others. */
static size_t
limit_of(uint32_t kind)
{
	return kind == STREAM_SIGNAL ? SIGNALS_AT_ONCE_MAX : STREAMS_MAX;
}

static bool
is_like(const struct stream *st, uint32_t kind)
{
	return (st->kind == STREAM_SIGNAL) == (kind == STREAM_SIGNAL);
}

/* Clients that go make room at once: orchd counts them no more, and what it
 * sends in their places may be here before their ends are read. */
static bool
is_full(const struct streams *ss, uint32_t kind)
{
	const size_t max = limit_of(kind);
	struct stream *st;
	size_t n = 0;

	TAILQ_FOREACH (st, &ss->list, entry)
		n += is_like(st, kind);
	if (n < max)
		return false;
	n = 0;
	TAILQ_FOREACH (st, &ss->list, entry)
		n += is_like(st, kind) && !stream_is_over(st);
	return n >= max;
}

static void
refuse_more(uint32_t kind, int fd)
{
	char why[128];

	if (kind == STREAM_SIGNAL)
		(void)snprintf(why, sizeof(why),
		    "%d signals to this VM are under way: wait for their "
		    "answers, or try again",
		    SIGNALS_AT_ONCE_MAX);
	else
		(void)snprintf(why, sizeof(why),
		    "all %d streams of this VM are open: end a command or "
		    "console, or try again",
		    STREAMS_MAX);
	stream_refuse(fd, why);
}

void
streams_add(struct streams *ss, uint32_t kind, uint32_t flags, int fd)
{
	struct stream *st;

	if (!is_stream_socket(fd)) {
		fd_close(&fd);
		return;
	}
	if (kind == STREAM_CONSOLE_LOG) {
		stream_refuse(fd, "the launcher has the console's log");
		return;
	}
	if (RULE(STREAMS_MAX) && is_full(ss, kind)) {
		refuse_more(kind, fd);
		return;
	}
	if ((st = stream_new(ss, ops_of(kind), kind, flags, fd)) == NULL) {
		stream_refuse(fd, "out of memory");
		return;
	}
	TAILQ_INSERT_TAIL(&ss->list, st, entry);
}

void
streams_end(struct streams *ss)
{
	struct stream *st;

	/* nothing is unlinked in here: the dead are freed from the loop */
	TAILQ_FOREACH (st, &ss->list, entry)
		stream_kill(st);
}

void
streams_console_more(struct streams *ss)
{
	struct stream *st;

	/* nothing is unlinked in here: the dead are freed from the loop */
	TAILQ_FOREACH (st, &ss->list, entry) {
		if (st->kind != STREAM_CONSOLE || st->phase != SP_RUN)
			continue;
		if (st->up_len > 0)
			stream_push(st);
		if (st->out_len == 0)
			stream_pump(st);
	}
}

void
streams_agent_down(struct streams *ss)
{
	struct stream *st;

	TAILQ_FOREACH (st, &ss->list, entry) {
		/* what has a socket of its own, or waits for one, goes on */
		if (st->kind == STREAM_CONSOLE || st->by_vsock ||
		    st->dialling != NULL)
			continue;
		if (st->phase == SP_CALL) {
			st->ops->close(st);
			/* it may have been done: 503 would have it repeated */
			stream_opened(st, 502, WARD_WENT_AWAY);
		} else if (st->phase == SP_RUN) {
			st->ops->close(st);
			stream_fail(st, WARD_WENT_AWAY);
		}
	}
}
