#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "proto/ward.h"
#include "warden/console.h"
#include "warden/dial.h"

#define READ_CHUNK 4096
#define BLOCK 4096L

struct console {
	struct event_base *base;
	const struct console_ops *ops;
	void *arg;
	struct dial dial;
	int fd;
	struct event *rd, *wr;
	int log_fd;
	off_t first, end;
	bool failed; /* the log took no more: said once */
};

static void
begin_anew(struct console *c)
{
	if (ftruncate(c->log_fd, 0) < 0)
		log_warn("console log: %m");
	c->first = c->end = 0;
}

/* Gives the beginning of the log back. */
static void
trim(struct console *c)
{
	off_t keep = (c->end - CONSOLE_LOG_KEEP) / BLOCK * BLOCK;

	if (fallocate(c->log_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		keep) == 0)
		c->first = keep;
	else
		begin_anew(c);
}

static void
append(struct console *c, const char *p, size_t len)
{
	int r = fd_write_all(c->log_fd, p, len);
	off_t end;

	if (r == -EFBIG) {
		/* the jail's RLIMIT_FSIZE counts offsets, holes and all: a
		 * guest that talks for long would be unheard from then on */
		begin_anew(c);
		r = fd_write_all(c->log_fd, p, len);
	}
	end = lseek(c->log_fd, 0, SEEK_END);
	/* a full disk loses console output, and nothing else */
	if (r < 0 && !c->failed)
		log_warn("console log: errno %d", -r);
	c->failed = r < 0;
	if (end >= 0)
		c->end = end;
	if (c->end - c->first > CONSOLE_LOG_MAX)
		trim(c);
	c->ops->more(c->arg);
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

static void
on_readable(int fd, short what, void *arg)
{
	struct console *c = arg;
	char buf[READ_CHUNK];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(c);
		dial_again(&c->dial);
		return;
	}
	dial_ok(&c->dial);
	append(c, buf, (size_t)n);
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

/* What a warden before us left. */
static void
find_bounds(struct console *c)
{
	struct stat st;
	off_t data;

	if (fstat(c->log_fd, &st) < 0)
		return;
	c->end = st.st_size;
	data = lseek(c->log_fd, 0, SEEK_DATA);
	c->first = data >= 0 ? data : c->end;
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
	find_bounds(c);
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
	free(c);
}

void
console_retry(struct console *c)
{
	if (c->fd == -1)
		dial_retry(&c->dial);
}

off_t
console_first(const struct console *c)
{
	return c->first;
}

off_t
console_end(const struct console *c)
{
	return c->end;
}

size_t
console_read(struct console *c, off_t *off, void *buf, size_t len)
{
	ssize_t n;

	if (*off < c->first || *off > c->end)
		*off = c->first;
	if ((off_t)len > c->end - *off)
		len = (size_t)(c->end - *off);
	if (len == 0)
		return 0;
	n = pread(c->log_fd, buf, len, *off);
	if (n <= 0)
		return 0;
	*off += n;
	return (size_t)n;
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
