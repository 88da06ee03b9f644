#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/addr.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/sig.h"
#include "cli/upgrade.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/num.h"

static int
dial(const char *path, int *ret)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, r = 0;

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* a full backlog is EAGAIN at once on Unix sockets: unix(7) */
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		r = -errno;
	if (r < 0)
		fd_close(&fd);
	else
		*ret = fd;
	return r;
}

static int
send_request(int fd, const char *p, size_t len)
{
	ssize_t n;
	int r;

	while (len > 0) {
		n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EPIPE)
			return 0; /* closed: it may have said why */
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -ECONNRESET;
		if (n < 0) {
			r = sig_poll(fd, POLLOUT, UPGRADE_WAIT_MS);
			if (r < 0)
				return r;
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* More bytes into buf; 0 at the end of the connection. */
static ssize_t
fill(struct upgrade *up, int fd, int64_t end)
{
	int64_t left;
	ssize_t n;
	int r;

	for (;;) {
		n = recv(fd, up->buf, sizeof(up->buf), MSG_DONTWAIT);
		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -ECONNRESET;
		if ((left = end - clock_ms()) <= 0)
			return -ETIMEDOUT;
		r = sig_poll(fd, POLLIN, (int)left);
		if (r < 0 && r != -ETIMEDOUT)
			return r;
	}
}

/* Reads the answer up to its end: 0, or what went wrong. */
static int
read_answer(struct upgrade *up, int fd)
{
	int64_t end = clock_ms() + UPGRADE_WAIT_MS;
	enum http_ev ev = HTTP_EV_MORE;
	bool any = false;
	size_t used;
	ssize_t n;

	for (;;) {
		ev = http_feed(
		    &up->http, up->buf + up->at, up->len - up->at, &used);
		up->at += used;
		if (ev == HTTP_EV_DONE && up->http.status / 100 == 1 &&
		    up->http.status != 101)
			http_next(&up->http);
		else if (ev == HTTP_EV_DONE)
			return 0;
		if (ev == HTTP_EV_FAULT)
			return -EPROTO;
		if (ev != HTTP_EV_MORE)
			continue;
		up->at = up->len = 0;
		if ((n = fill(up, fd, end)) < 0)
			return (int)n;
		if (n == 0 && !any)
			return -ECONNRESET;
		if (n == 0)
			return http_eof(&up->http) == HTTP_EV_DONE ? 0
								   : -EPROTO;
		any = true;
		up->len = (size_t)n;
	}
}

static int
retry_after(const struct http *h)
{
	const char *v;
	long long s;

	if ((h->status != 503 && h->status != 429) ||
	    http_get(h, "Retry-After", &v) < 0 || num_parse(v, 0, 3600, &s) < 0)
		return -1;
	return s == 0 ? 50 : (int)s * 1000;
}

/* Why there is no WebSocket, in words; r is what the steps came to. */
static int
explain(struct cli *c, int r, const struct upgrade *up, struct err *e)
{
	if (r == -EINTR)
		return r;
	if (r == -EPROTO)
		return err_set(e, r, "what answers at %s is no API: %s",
		    api_path(c->api),
		    up->http.fault_text == NULL ? "a cut answer"
						: up->http.fault_text);
	if (r == -ETIMEDOUT)
		return err_set(e, r,
		    "the API at %s did not answer within %d seconds",
		    api_path(c->api), UPGRADE_WAIT_MS / 1000);
	return api_unreachable(c->api, r, e);
}

/* *again: milliseconds until another try may help, or -1. */
static int
try_once(struct cli *c, const char *target, const char *protocols,
    const char *name, struct upgrade *up, int *fd, int *again, struct err *e)
{
	struct http_sink sink = { http_buf_write, &up->body_buf };
	char head[API_TARGET_MAX + 1024];
	struct http_out out;
	const char *chosen = NULL;
	size_t len = 0;
	int r;

	*again = -1;
	up->body_buf =
	    (struct http_buf){ .p = up->body, .cap = sizeof(up->body) };
	up->at = up->len = 0;
	http_response_init(&up->http, sizeof(up->body), HTTP_TO_UPGRADE, &sink);
	if ((r = ws_key(up->key)) < 0)
		return err_errno(e, r, "no random numbers");
	ws_out_request(
	    &out, head, sizeof(head), target, "localhost", up->key, protocols);
	http_out_field(&out, "User-Agent", "mews/" CLI_VERSION);
	if (api_tenant(c->api) != NULL)
		http_out_field(&out, "X-Mews-Tenant", api_tenant(c->api));
	if ((r = http_out_end(&out, &len)) < 0)
		return err_set(e, r, "this name cannot be sent");
	if ((r = dial(api_path(c->api), fd)) < 0 ||
	    (r = send_request(*fd, head, len)) < 0 ||
	    (r = read_answer(up, *fd)) < 0) {
		if (r == -ECONNRESET || r == -ECONNREFUSED || r == -EAGAIN ||
		    (r == -ENOENT && api_was_reached(c->api)))
			*again = 20;
		return explain(c, r, up, e);
	}
	api_set_status(c->api, up->http.status);
	*again = retry_after(&up->http);
	if (up->http.status != 101)
		return vm_refusal(c, up->http.status, (char *)up->body,
		    up->body_buf.used, name, e);
	r = ws_confirm(&up->http, up->key, protocols, &chosen, e);
	if (r == 0 && protocols != NULL && chosen == NULL)
		return err_set(e, -EPROTO,
		    "the API chose none of the protocols of this program");
	return r;
}

int
upgrade_open(struct cli *c, const char *target, const char *protocols,
    const char *name, struct upgrade *up, int *fd, struct err *e)
{
	int64_t until = 0, began, end;
	int again, r;

	for (;;) {
		fd_close(fd);
		api_set_status(c->api, 0);
		began = clock_ms();
		r = try_once(c, target, protocols, name, up, fd, &again, e);
		if (r >= 0 || again < 0)
			return r;
		if (until == 0)
			until = (api_status(c->api) != 0 ? began : clock_ms()) +
			    (api_was_reached(c->api) ? API_RETRY_MS
						     : API_REFUSED_MS);
		end = clock_ms() + again;
		if (end >= until)
			return r;
		while (clock_ms() < end) {
			if (sig_poll(-1, 0, again) == -EINTR)
				return -EINTR;
		}
	}
}

size_t
upgrade_rest(struct upgrade *up, void *dst, size_t len)
{
	size_t n = up->len - up->at < len ? up->len - up->at : len;

	if (n > 0)
		memcpy(dst, up->buf + up->at, n);
	up->at += n;
	return n;
}

bool
upgrade_has_rest(const struct upgrade *up)
{
	return up->at < up->len;
}
