#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/sig.h"
#include "cli/upgrade.h"
#include "cli/ws.h"
#include "common/fds.h"

#define SEND_PART ((size_t)64 << 10) /* of one message, beside its head */
#define STEP_BYTES ((size_t)64 << 10) /* read before ours are sent again */

struct wsc {
	int fd;
	wslay_event_context_ptr ctx;
	wsc_message_fn *fn;
	void *arg;
	int r; /* the first thing that went wrong */
	bool eof;
	size_t budget; /* bytes that this step may still read */
	int close_code;
	char reason[WSC_REASON_MAX];
	struct upgrade up; /* and what came after the answer's head */
};

static ssize_t
on_recv(
    wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct wsc *w = arg;
	ssize_t n;

	(void)flags;
	if ((n = (ssize_t)upgrade_rest(&w->up, buf, len)) > 0)
		return n;
	/* else one that floods us would never hear what we say */
	if (w->budget == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	do {
		n = recv(w->fd, buf, len < w->budget ? len : w->budget,
		    MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		w->budget -= (size_t)n;
		return n;
	}
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		w->eof = true;
	wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags,
    void *arg)
{
	struct wsc *w = arg;
	ssize_t n;

	do {
		n = send(w->fd, buf, len,
		    MSG_DONTWAIT | MSG_NOSIGNAL |
			((flags & WSLAY_MSG_MORE) != 0 ? MSG_MORE : 0));
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
	} else {
		/* what the other side still said may be worth reading */
		wslay_event_shutdown_write(ctx);
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	}
	return -1;
}

static int
on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *arg)
{
	(void)ctx;
	(void)arg;
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void
on_close(struct wsc *w, const struct wslay_event_on_msg_recv_arg *m)
{
	size_t len = m->msg_length > 2 ? m->msg_length - 2 : 0;

	w->close_code = m->status_code;
	if (len >= sizeof(w->reason))
		len = sizeof(w->reason) - 1;
	if (len > 0)
		memcpy(w->reason, m->msg + 2, len);
	w->reason[len] = '\0';
}

static void
on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
    void *arg)
{
	struct wsc *w = arg;
	int r;

	if (m->opcode == WSLAY_CONNECTION_CLOSE)
		on_close(w, m);
	if (m->opcode != WSLAY_TEXT_FRAME && m->opcode != WSLAY_BINARY_FRAME)
		return;
	if (w->r == 0 && (r = w->fn(w->arg, m->msg, m->msg_length)) < 0) {
		w->r = r;
		wslay_event_shutdown_read(ctx);
	}
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_recv,
	.send_callback = on_send,
	.genmask_callback = on_mask,
	.on_msg_recv_callback = on_msg,
};

int
wsc_open(struct cli *c, const char *target, const char *protocols,
    const char *name, wsc_message_fn *fn, void *arg, struct wsc **ret,
    struct err *e)
{
	struct wsc *w = calloc(1, sizeof(*w));
	int r;

	if (w == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	w->fd = -1;
	w->fn = fn;
	w->arg = arg;
	r = upgrade_open(c, target, protocols, name, &w->up, &w->fd, e);
	if (r < 0)
		goto out;
	if (wslay_event_context_client_init(&w->ctx, &callbacks, w) != 0) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	wslay_event_config_set_max_recv_msg_length(w->ctx, WSC_MESSAGE_MAX);
	*ret = w;
	w = NULL;
out:
	wsc_free(w);
	return r;
}

void
wsc_free(struct wsc *w)
{
	if (w == NULL)
		return;
	if (w->ctx != NULL)
		wslay_event_context_free(w->ctx);
	fd_close(&w->fd);
	free(w);
}

static int
queue(struct wsc *w, uint8_t opcode, const uint8_t *p, size_t len)
{
	struct wslay_event_msg m = {
		.opcode = opcode, .msg = p, .msg_length = len
	};

	switch (wslay_event_queue_msg(w->ctx, &m)) {
	case 0:
	case WSLAY_ERR_NO_MORE_MSG: /* the end is near: wsc_is_over() */
		return 0;
	default:
		return -ENOMEM;
	}
}

int
wsc_text(struct wsc *w, const void *p, size_t len)
{
	return queue(w, WSLAY_TEXT_FRAME, p, len);
}

int
wsc_binary(
    struct wsc *w, const void *head, size_t head_len, const void *p, size_t len)
{
	uint8_t buf[SEND_PART];

	if (head_len + len > sizeof(buf))
		return -EMSGSIZE;
	if (head_len > 0)
		memcpy(buf, head, head_len);
	if (len > 0)
		memcpy(buf + head_len, p, len);
	return queue(w, WSLAY_BINARY_FRAME, buf, head_len + len);
}

bool
wsc_has_room(const struct wsc *w)
{
	return wslay_event_get_queued_msg_length(w->ctx) < WSC_QUEUE_MAX;
}

int
wsc_fd(const struct wsc *w)
{
	return w->fd;
}

short
wsc_events(const struct wsc *w)
{
	return (short)(POLLIN | (wslay_event_want_write(w->ctx) ? POLLOUT : 0));
}

int
wsc_step(struct wsc *w, struct err *e)
{
	w->budget = STEP_BYTES;
	if (wslay_event_recv(w->ctx) != 0 && w->r == 0)
		w->r = err_set(e, -EPROTO, "the API sent a broken frame");
	/* its failure is seen by the reading side, sooner or later */
	(void)wslay_event_send(w->ctx);
	if (w->r < 0)
		return w->r;
	if (!wslay_event_get_read_enabled(w->ctx) &&
	    !wslay_event_get_close_received(w->ctx))
		return w->r =
			   err_set(e, -EPROTO, "the API sent a broken frame");
	return 0;
}

bool
wsc_is_pending(const struct wsc *w)
{
	return upgrade_has_rest(&w->up);
}

bool
wsc_is_over(const struct wsc *w)
{
	return w->eof || wslay_event_get_close_received(w->ctx);
}

int
wsc_close_code(const struct wsc *w, const char **reason)
{
	*reason = w->reason;
	return w->close_code;
}
