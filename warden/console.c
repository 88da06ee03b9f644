#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "proto/ward.h"
#include "warden/console.h"
#include "warden/dial.h"

/* At most PIPE_BUF bytes into a FIFO are all or nothing (pipe(7)). */
#define MARK_MAX 64
#define READ_CHUNK (PIPE_BUF - MARK_MAX)
#define DRAIN_READS 16
#define PANIC "Kernel panic - not syncing"

struct console {
	struct event_base *base;
	const struct console_ops *ops;
	void *arg;
	struct dial dial;
	int fd;
	struct event *rd, *wr;
	int log_fd;
	uint64_t lost; /* bytes that the FIFO did not take, not said yet */
	/* the end of what was said, for watchers */
	unsigned int watchers;
	uint8_t *ring; /* NULL: there are none */
	uint64_t first, end;
	/* the cause of an end, if it is said here */
	char line[CONSOLE_LINE_MAX]; /* that is being said */
	size_t len;
	char last[CONSOLE_LINE_MAX], panic[CONSOLE_LINE_MAX];
};

/* "exec 17: ...", as the agent passes on what a detached command says: such a
 * line ends at its line feed, whatever the command put into it. */
static bool
is_of_command(const char *line)
{
	static const char word[] = "exec ";
	const char *p = line + sizeof(word) - 1;
	const size_t n = strncmp(line, word, sizeof(word) - 1) == 0
	    ? strspn(p, "0123456789")
	    : 0;

	return n > 0 && p[n] == ':';
}

static void
line_end(struct console *c)
{
	const char *p;

	if (c->len > 0)
		memcpy(c->last, c->line, sizeof(c->last));
	/* what a command says of panics is not the kernel's word */
	if (c->panic[0] == '\0' && !is_of_command(c->line) &&
	    (p = strstr(c->line, PANIC)) != NULL)
		(void)snprintf(c->panic, sizeof(c->panic), "%s", p);
	c->len = 0;
}

static void
lines_add(struct console *c, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		c->line[c->len] = '\0';
		if (p[i] == '\n' || (p[i] == '\r' && !is_of_command(c->line)))
			line_end(c);
		else if (p[i] != '\0' && p[i] != '\r' &&
		    c->len + 1 < sizeof(c->line))
			c->line[c->len++] = (char)p[i];
	}
}

static void
ring_add(struct console *c, const uint8_t *p, size_t len)
{
	size_t at = (size_t)(c->end % CONSOLE_RING), n;

	c->end += len;
	if (c->ring == NULL) {
		c->first = c->end;
		return;
	}
	if (c->end - c->first > CONSOLE_RING)
		c->first = c->end - CONSOLE_RING;
	for (; len > 0; p += n, len -= n, at = 0) {
		n = len < CONSOLE_RING - at ? len : CONSOLE_RING - at;
		memcpy(c->ring + at, p, n);
	}
}

/* With what was lost before it, or lost itself. */
static void
fifo_add(struct console *c, const uint8_t *p, size_t len)
{
	char out[MARK_MAX + READ_CHUNK];
	size_t at = 0;
	ssize_t n;

	if (c->lost > 0)
		at = (size_t)snprintf(out, MARK_MAX,
		    "\r\n[mews: %llu bytes left out]\r\n",
		    (unsigned long long)c->lost);
	memcpy(out + at, p, len);
	do {
		n = write(c->log_fd, out, at + len);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)(at + len))
		c->lost = 0;
	else
		c->lost += len;
}

static void
hang_up(struct console *c)
{
	if (c->rd != NULL)
		event_free(c->rd);
	if (c->wr != NULL)
		event_free(c->wr);
	c->rd = c->wr = NULL;
	fd_close(&c->fd);
}

/* One read.  False: there was nothing, now or any more. */
static bool
take(struct console *c)
{
	uint8_t buf[READ_CHUNK];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		hang_up(c);
		dial_again(&c->dial);
		return false;
	}
	dial_ok(&c->dial);
	fifo_add(c, buf, (size_t)n);
	ring_add(c, buf, (size_t)n);
	lines_add(c, buf, (size_t)n);
	return true;
}

static void
on_readable(int fd, short what, void *arg)
{
	struct console *c = arg;

	(void)fd;
	(void)what;
	if (take(c))
		c->ops->more(c->arg);
}

static void
on_writable(int fd, short what, void *arg)
{
	struct console *c = arg;

	(void)fd;
	(void)what;
	c->ops->more(c->arg);
}

static void
on_up(void *arg, int fd)
{
	struct console *c = arg;

	c->fd = fd;
	c->rd = event_new(c->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->wr = event_new(c->base, fd, EV_WRITE, on_writable, c);
	if (c->rd == NULL || c->wr == NULL || event_add(c->rd, NULL) < 0) {
		hang_up(c);
		dial_again(&c->dial);
		return;
	}
	c->ops->more(c->arg);
}

struct console *
console_new(struct event_base *base, int log_fd, const struct console_ops *ops,
    void *arg)
{
	struct console *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->base = base;
	c->ops = ops;
	c->arg = arg;
	c->fd = -1;
	c->log_fd = log_fd;
	if (dial_open(&c->dial, base, WARD_SOCK_SERIAL, on_up, c) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

void
console_free(struct console *c)
{
	if (c == NULL)
		return;
	dial_close(&c->dial);
	hang_up(c);
	free(c->ring);
	free(c);
}

void
console_retry(struct console *c)
{
	if (c->fd == -1)
		dial_retry(&c->dial);
}

int
console_watch(struct console *c)
{
	if (c->ring == NULL && (c->ring = malloc(CONSOLE_RING)) == NULL)
		return -ENOMEM;
	c->watchers++;
	return 0;
}

void
console_unwatch(struct console *c)
{
	if (--c->watchers > 0)
		return;
	free(c->ring);
	c->ring = NULL;
	c->first = c->end;
}

uint64_t
console_first(const struct console *c)
{
	return c->first;
}

uint64_t
console_end(const struct console *c)
{
	return c->end;
}

size_t
console_read(struct console *c, uint64_t *off, void *buf, size_t len)
{
	const size_t at = (size_t)(*off % CONSOLE_RING);

	if (len > c->end - *off)
		len = (size_t)(c->end - *off);
	if (len > CONSOLE_RING - at)
		len = CONSOLE_RING - at;
	if (len > 0)
		memcpy(buf, c->ring + at, len);
	*off += len;
	return len;
}

size_t
console_write(struct console *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->fd == -1)
		return len; /* nobody is there to read it */
	n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		n = 0;
	if ((size_t)n < len)
		(void)event_add(c->wr, NULL);
	return (size_t)n;
}

void
console_drain(struct console *c)
{
	int i;

	for (i = 0; c->fd != -1 && i < DRAIN_READS && take(c); i++)
		;
}

const char *
console_last(const struct console *c)
{
	return c->last;
}

const char *
console_panic(const struct console *c)
{
	return c->panic[0] == '\0' ? NULL : c->panic;
}
