#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/util.h"
#include "orchd/api/busy.h"

#define REFUSED_MS 1000

static void
on_end(int fd, short what, void *arg)
{
	struct busy *b = arg;
	size_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < nitems(b->refused); i++)
		fd_close(&b->refused[i].sock);
}

int
busy_init(struct busy *b, struct event_base *base)
{
	size_t i;

	for (i = 0; i < nitems(b->refused); i++)
		b->refused[i].sock = -1;
	b->end = evtimer_new(base, on_end, b);
	return b->end != NULL ? 0 : -ENOMEM;
}

void
busy_say(int sock, const char *why)
{
	char buf[512];
	int n;

	n = snprintf(buf, sizeof(buf),
	    "HTTP/1.1 503 Service Unavailable\r\n"
	    "Content-Type: application/json; charset=utf-8\r\n"
	    "Content-Length: %zu\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
	    "{\"error\":\"%s\"}",
	    strlen(why) + 12, why);
	if (n > 0 && n < (int)sizeof(buf))
		(void)send(sock, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(sock, SHUT_WR);
}

/*
 * A free place, or that of whoever is here longest: of that uid, or of all
 * strangers, where they have as many as they may.
 */
static struct refused *
place(struct busy *b, uid_t uid, bool is_stranger)
{
	struct refused *r, *of_it = NULL, *of_all = NULL, *is_free = NULL;
	unsigned int n = 0;

	for (r = b->refused; r < b->refused + nitems(b->refused); r++) {
		if (r->sock == -1) {
			is_free = r;
			continue;
		}
		if (of_all == NULL || r->nth < of_all->nth)
			of_all = r;
		if (is_stranger ? !r->is_stranger : r->uid != uid)
			continue;
		n++;
		if (of_it == NULL || r->nth < of_it->nth)
			of_it = r;
	}
	if (n >= REFUSED_UID_MAX)
		return of_it;
	return is_free != NULL ? is_free : of_all;
}

void
busy_linger(struct busy *b, int sock, uid_t uid, bool is_stranger)
{
	const struct timeval tv = { .tv_sec = REFUSED_MS / 1000 };
	struct refused *r = place(b, uid, is_stranger);

	fd_close(&r->sock);
	if (event_add(b->end, &tv) < 0)
		fd_close(&sock);
	*r = (struct refused){ sock, uid, is_stranger, b->n++ };
}
