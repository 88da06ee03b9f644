#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/sig.h"
#include "cli/tty.h"
#include "cli/vm.h"
#include "cli/ws.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/objects.h"

#define EXEC_PROTOCOL "v5.channel.k8s.io"
#define READ_PART 16384
#define WRITE_PART 4096 /* PIPE_BUF: does not block after POLLOUT */
#define END_WAIT_MS 2000 /* for the close after the status */
#define STATUS_MAX 4096
#define CTRL_BRACKET 0x1d
#define KEY_INTR 0x03
#define KEY_QUIT 0x1c
#define FULL_MS 10
#define AGAIN_MS 1000 /* a second signal within it gives up */

enum channel {
	CH_STDIN,
	CH_STDOUT,
	CH_STDERR,
	CH_STATUS,
	CH_RESIZE,
	CH_CLOSE = 255,
};

struct session {
	struct cli *cli;
	struct wsc *ws;
	bool exec; /* channels; else the console's bare bytes */
	bool tty;
	int in; /* -1: nothing is sent */
	int out, err; /* terminals, opened anew; -1: they are none */
	int64_t asked; /* when a signal last went to the guest */
	bool left; /* Ctrl-] . */
	struct leave leave;
	bool has_status;
	char status[STATUS_MAX];
	size_t status_len;
	int64_t end; /* after the status: when to stop waiting */
};

/*
 * A terminal there has keys for two signals, so the program in the guest
 * gets those first, whoever sent them; for the others the connection ends,
 * and with it the program.
 */
static int
on_signal(struct session *s)
{
	const int signo = sig_asked();
	const uint8_t key[] = { CH_STDIN,
		signo == SIGINT ? KEY_INTR : KEY_QUIT };
	const int64_t now = clock_ms();

	if (!s->exec || !s->tty || s->has_status ||
	    (signo != SIGINT && signo != SIGQUIT) ||
	    (s->asked != 0 && now - s->asked < AGAIN_MS))
		return -EINTR;
	s->asked = now;
	sig_forget();
	return wsc_binary(s->ws, key, sizeof(key), NULL, 0);
}

/* Writes all of it.  A signal that the guest gets does not end that, but a
 * second one does: nobody may be reading here. */
static int
put(struct session *s, int fd, const uint8_t *p, size_t len)
{
	const int own = fd == STDOUT_FILENO ? s->out : s->err;
	const int to = own >= 0 ? own : fd;
	bool asked = false, full = false;
	ssize_t n;
	int r;

	while (len > 0) {
		/* a terminal that has room for one byte may need two */
		r = full ? sig_poll(-1, 0, FULL_MS) : 0;
		if (r != -EINTR)
			r = sig_poll(to, POLLOUT, -1);
		if (r == -EINTR && !asked && on_signal(s) == 0) {
			asked = true;
			continue;
		}
		if (r == -EINTR)
			return r;
		if (r <= 0)
			continue;
		n = write(to, p, len < WRITE_PART ? len : WRITE_PART);
		full = n < 0 && errno == EAGAIN;
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			r = -errno;
			out_lose(fd, r);
			return r;
		}
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int
on_status(struct session *s, const uint8_t *p, size_t len)
{
	if (s->has_status || len > sizeof(s->status))
		return -EPROTO;
	memcpy(s->status, p, len);
	s->status_len = len;
	s->has_status = true;
	s->end = clock_ms() + END_WAIT_MS;
	return 0;
}

static int
on_message(void *arg, const uint8_t *p, size_t len)
{
	struct session *s = arg;

	if (!s->exec)
		return put(s, STDOUT_FILENO, p, len);
	if (len == 0)
		return -EPROTO;
	switch (p[0]) {
	case CH_STDOUT:
		return put(s, STDOUT_FILENO, p + 1, len - 1);
	case CH_STDERR:
		return put(s, STDERR_FILENO, p + 1, len - 1);
	case CH_STATUS:
		return on_status(s, p + 1, len - 1);
	default:
		return 0; /* half closes, and what a newer suite may say */
	}
}

static int
send_resize(struct session *s)
{
	static const uint8_t channel = CH_RESIZE;
	uint16_t w, h;
	char text[64];
	int n;

	if (!s->exec || !s->tty || tty_size(STDOUT_FILENO, &w, &h) < 0)
		return 0;
	n = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", w, h);
	return wsc_binary(s->ws, &channel, 1, text, (size_t)n);
}

bool
session_leave_filter(struct leave *l, uint8_t *buf, size_t *len)
{
	uint8_t out[READ_PART + 2] = { 0 };
	size_t i, n = 0;

	for (i = 0; i < *len && n + 2 <= sizeof(out); i++) {
		if (!l->armed && buf[i] == CTRL_BRACKET) {
			l->armed = true;
			continue;
		}
		if (l->armed && buf[i] == '.') {
			memcpy(buf, out, n);
			*len = n;
			return true;
		}
		if (l->armed)
			out[n++] = CTRL_BRACKET;
		if (!l->armed || buf[i] != CTRL_BRACKET)
			out[n++] = buf[i];
		l->armed = false;
	}
	memcpy(buf, out, n);
	*len = n;
	return false;
}

static int
on_stdin(struct session *s)
{
	static const uint8_t channel = CH_STDIN;
	static const uint8_t half_close[] = { CH_CLOSE, CH_STDIN };
	uint8_t buf[READ_PART + 1];
	ssize_t n;
	size_t len;

	n = read(s->in, buf, READ_PART);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		s->in = -1;
		return s->exec
		    ? wsc_binary(s->ws, half_close, sizeof(half_close), NULL, 0)
		    : 0;
	}
	len = (size_t)n;
	if (s->exec)
		return wsc_binary(s->ws, &channel, 1, buf, len);
	s->left = session_leave_filter(&s->leave, buf, &len);
	return len > 0 ? wsc_binary(s->ws, NULL, 0, buf, len) : 0;
}

static int
wait_ms(const struct session *s)
{
	int64_t left = s->end - clock_ms();

	if (wsc_is_pending(s->ws))
		return 0;
	if (!s->has_status)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* One turn: 0, or why it ends. */
static int
turn(struct session *s, struct err *e)
{
	bool reads = s->in >= 0 && wsc_has_room(s->ws);
	struct pollfd p[] = {
		{ .fd = wsc_fd(s->ws), .events = wsc_events(s->ws) },
		{ .fd = sig_fd(), .events = POLLIN },
		{ .fd = reads ? s->in : -1, .events = POLLIN },
	};
	int r = 0;

	if (poll(p, nitems(p), wait_ms(s)) < 0 && errno != EINTR)
		return err_errno(e, -errno, "poll");
	if (sig_asked() != 0 && (r = on_signal(s)) == -EINTR)
		return r;
	if (r == 0 && sig_resized())
		r = send_resize(s);
	if (r == 0 && p[2].revents != 0)
		r = on_stdin(s);
	if (r < 0)
		return err_errno(e, r, "cannot send");
	return wsc_step(s->ws, e);
}

static int
pump(struct session *s, struct err *e)
{
	int r = 0;

	/* without keys to send, Ctrl-C and Ctrl-Z stay this side's */
	if (s->tty && s->in >= 0 && (r = tty_raw(s->in)) < 0)
		return err_errno(e, r, "cannot set the terminal");
	while (r == 0 && !s->left && !wsc_is_over(s->ws) &&
	    !(s->has_status && clock_ms() >= s->end))
		r = turn(s, e);
	/* the last keys */
	if (s->left)
		(void)wsc_step(s->ws, e);
	tty_restore();
	if (r == -EPROTO && e->msg[0] == '\0')
		err_set(e, r, "the API sent what makes no sense");
	return r;
}

/* The connection is over; did the program end? */
static int
verdict(const struct session *s, const char *name, int *code, struct err *e)
{
	const char *reason;
	int r;

	if (!s->has_status) {
		(void)wsc_close_code(s->ws, &reason);
		return err_set(e, -ECONNRESET,
		    "the connection to VM %.64s broke before the command "
		    "ended%s%s (see `mews ps -a`)",
		    name, reason[0] == '\0' ? "" : ": ", reason);
	}
	r = exec_status_parse(s->status, s->status_len, code, e);
	if (r == -ENOEXEC && e->msg[0] == '\0')
		err_set(e, r,
		    "VM %.64s did not run the command, and did not say why",
		    name);
	if (r < 0 && r != -ENOEXEC)
		err_set(e, -EPROTO,
		    "the exit status that VM %.64s sent makes no sense", name);
	return r;
}

static int
send_exec(struct session *s, const struct exec_request *rq, struct err *e)
{
	struct jbuf b;
	int r;

	jbuf_init(&b, TABLE_JSON_MAX);
	b.plain = true; /* the API takes so many bytes */
	table_encode(&exec_request_table, TABLE_SECRETS, rq, &b);
	r = b.r < 0 ? b.r : wsc_text(s->ws, b.p, b.len);
	jbuf_free(&b);
	if (r == 0)
		r = send_resize(s);
	return r < 0 ? err_errno(e, r, "cannot send the command") : 0;
}

static void
session_clear(struct session *s)
{
	wsc_free(s->ws);
	fd_close(&s->out);
	fd_close(&s->err);
}

int
session_exec(struct cli *c, const char *name, const struct exec_request *rq,
    int *code, struct err *e)
{
	struct session s = { .cli = c,
		.exec = true,
		.tty = rq->tty,
		.in = rq->stdin ? STDIN_FILENO : -1,
		.out = tty_open_out(STDOUT_FILENO),
		.err = tty_open_out(STDERR_FILENO) };
	char target[API_TARGET_MAX];
	int r;

	r = vm_target(target, "/api/v1/vms/", name, "/exec", e);
	if (r == 0)
		r = wsc_open(
		    c, target, EXEC_PROTOCOL, name, on_message, &s, &s.ws, e);
	if (r == 0 && (r = send_exec(&s, rq, e)) == 0 && (r = pump(&s, e)) == 0)
		r = verdict(&s, name, code, e);
	session_clear(&s);
	return r;
}

int
session_console(struct cli *c, const char *name, struct err *e)
{
	struct session s = { .cli = c,
		.tty = true,
		.in = STDIN_FILENO,
		.out = tty_open_out(STDOUT_FILENO),
		.err = -1 };
	char target[API_TARGET_MAX];
	const char *reason;
	int r, code;

	r = vm_target(target, "/ws/v1/vms/", name, "/console", e);
	if (r == 0)
		r = wsc_open(c, target, NULL, name, on_message, &s, &s.ws, e);
	if (r < 0)
		goto out;
	r = pump(&s, e);
	code = wsc_close_code(s.ws, &reason);
	if (r == 0 && !s.left && code != 1000)
		r = err_set(e, -ECONNRESET,
		    "the console of VM %.64s closed%s%s (see `mews ps -a`)",
		    name, reason[0] == '\0' ? "" : ": ", reason);
out:
	session_clear(&s);
	return r;
}
