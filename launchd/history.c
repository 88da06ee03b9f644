#include <event2/event.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <errno.h>

#include "common/fds.h"
#include "common/frame.h"
#include "common/logfile.h"
#include "common/logmarks.h"
#include "common/util.h"
#include "launchd/history.h"
#include "proto/ward.h"

#define CHUNK 4096
#define PUMP_FRAMES 16 /* a turn; then others have theirs */
#define KNOCK_MS 10000 /* for the reader's first bytes */
#define DRAIN_READS 16
#define SLOW "\r\n[mews: read too slowly, some may be left out here]\r\n"

struct history {
	TAILQ_ENTRY(history) entry;
	struct histories *hs;
	char name[LOGFILE_NAME_MAX];
	int sock;
	struct event *rd, *wr, *timer;
	bool knocked; /* it said something: its FRAME_OPEN */
	bool follow;
	int64_t since_ns; /* what it wants; 0: all */
	bool is_dead; /* freed from the loop */
	bool was_slow; /* its file was removed before it had read it */
	int fd; /* the file it is at; -1: at the beginning */
	off_t off;
	off_t left; /* without follow: what was there at first */
	uint8_t out[FRAME_HEAD_LEN + CHUNK];
	size_t at, len;
};

void
histories_init(struct histories *hs, struct event_base *base, int dir)
{
	*hs = (struct histories){ .base = base, .dir = dir };
	TAILQ_INIT(&hs->list);
}

static void
history_free(struct history *h)
{
	if (h->rd != NULL)
		event_free(h->rd);
	if (h->wr != NULL)
		event_free(h->wr);
	if (h->timer != NULL)
		event_free(h->timer);
	fd_close(&h->sock);
	fd_close(&h->fd);
	free(h);
}

/* What it says means nothing to us.  False: it hung up. */
static bool
drain(int sock)
{
	uint8_t buf[CHUNK];
	ssize_t n = 1;
	int i;

	for (i = 0; i < DRAIN_READS && n > 0; i++)
		n = recv(sock, buf, sizeof(buf), MSG_DONTWAIT);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Closed now; unread bytes would turn its end of file into an error. */
static void
kill_it(struct history *h)
{
	if (h->is_dead)
		return;
	h->is_dead = true;
	(void)event_del(h->rd);
	(void)event_del(h->wr);
	(void)drain(h->sock);
	fd_close(&h->sock);
	fd_close(&h->fd);
	event_active(h->timer, EV_TIMEOUT, 0);
}

static size_t
opened_frame(uint8_t *buf, size_t cap, unsigned int status, const char *text)
{
	const size_t max = cap - FRAME_HEAD_LEN, all = 2 + strlen(text);
	const size_t len = all < max ? all : max;

	buf[0] = FRAME_OPENED;
	buf[1] = buf[2] = 0;
	buf[3] = (uint8_t)(len >> 8);
	buf[4] = (uint8_t)len;
	buf[5] = (uint8_t)(status >> 8);
	buf[6] = (uint8_t)status;
	memcpy(buf + FRAME_HEAD_LEN + 2, text, len - 2);
	return FRAME_HEAD_LEN + len;
}

static void
file_name(const struct history *h, bool old, char ret[LOGFILE_NAME_MAX + 2])
{
	(void)snprintf(
	    ret, LOGFILE_NAME_MAX + 2, "%s%s", h->name, old ? ".1" : "");
}

/* Regular files of ours only: nobody else can make a name there. */
static int
file_open(const struct history *h, bool old)
{
	char name[LOGFILE_NAME_MAX + 2];

	file_name(h, old, name);
	return openat(
	    h->hs->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* Whether the file it is at has that name. */
static bool
is_at(const struct history *h, bool old)
{
	char name[LOGFILE_NAME_MAX + 2];
	struct stat here, st;

	file_name(h, old, name);
	return fstat(h->fd, &here) == 0 &&
	    fstatat(h->hs->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == here.st_dev && st.st_ino == here.st_ino;
}

/* The file after the one that was read to its end.  False: there is none. */
static bool
next_file(struct history *h)
{
	int fd;

	if (h->fd >= 0 && is_at(h, false))
		return false;
	if (h->fd < 0 || !is_at(h, true)) {
		/* or that one is gone, and so may be others */
		h->was_slow = h->fd >= 0;
		fd = file_open(h, true);
	} else
		fd = -1;
	if (fd < 0)
		fd = file_open(h, false);
	if (fd < 0)
		return false;
	fd_close(&h->fd);
	h->fd = fd;
	h->off = 0;
	return true;
}

/* The next frame.  False: there is nothing more at present. */
static bool
fill(struct history *h)
{
	size_t want = CHUNK;
	ssize_t n = 0;

	if (!h->follow && h->left < (off_t)want)
		want = (size_t)h->left;
	if (want == 0 || (h->fd < 0 && !next_file(h)))
		return false;
	while (!h->was_slow &&
	    (n = pread(h->fd, h->out + FRAME_HEAD_LEN, want, h->off)) == 0) {
		if (!next_file(h))
			return false;
	}
	if (h->was_slow) {
		h->was_slow = false;
		n = (ssize_t)strlen(SLOW);
		memcpy(h->out + FRAME_HEAD_LEN, SLOW, (size_t)n);
	} else if (n > 0) {
		h->off += n;
		h->left -= n;
	}
	if (n < 0 || frame_head(h->out, FRAME_STDOUT, (size_t)n) < 0)
		return false;
	h->at = 0;
	h->len = FRAME_HEAD_LEN + (size_t)n;
	return true;
}

/* Out with what is in h->out.  False: not now, or never. */
static bool
flush(struct history *h)
{
	while (h->at < h->len) {
		ssize_t n = send(h->sock, h->out + h->at, h->len - h->at,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			(void)event_add(h->wr, NULL);
		else if (n < 0)
			kill_it(h);
		if (n < 0)
			return false;
		h->at += (size_t)n;
	}
	return true;
}

static void
pump(struct history *h)
{
	int frames;

	if (h->is_dead || !h->knocked || event_pending(h->wr, EV_WRITE, NULL))
		return;
	for (frames = 0; flush(h); frames++) {
		if (frames == PUMP_FRAMES) {
			(void)event_add(h->wr, NULL); /* had its turn */
			return;
		}
		if (!fill(h)) {
			if (!h->follow)
				kill_it(h);
			return;
		}
	}
}

static void
on_writable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

static off_t
sizes(const struct history *h)
{
	char name[LOGFILE_NAME_MAX + 2];
	struct stat st;
	off_t sum = 0;
	int old;

	for (old = 0; old < 2; old++) {
		file_name(h, old == 1, name);
		if (fstatat(h->hs->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += st.st_size;
	}
	return sum;
}

/* Goes to where in one of the two files it begins.  False: not in that one. */
static bool
seek(struct history *h, bool old)
{
	char name[LOGFILE_NAME_MAX + 2];
	struct stat st;
	int fd;

	if ((fd = file_open(h, old)) < 0)
		return false;
	fd_close(&h->fd);
	h->fd = fd;
	file_name(h, old, name);
	h->off = logmarks_find(h->hs->dir, name, fd, h->since_ns);
	return fstat(fd, &st) == 0 && h->off < st.st_size;
}

/* Past what came before; where nothing came since, to the end of it. */
static void
skip(struct history *h)
{
	if (seek(h, true)) {
		h->left -= h->off;
		return;
	}
	if (h->fd >= 0)
		h->left -= h->off; /* all of the older one */
	(void)seek(h, false);
	if (h->fd >= 0 && is_at(h, false))
		h->left -= h->off;
}

static void
on_readable(int fd, short what, void *arg)
{
	struct history *h = arg;

	(void)what;
	if (!drain(fd)) {
		kill_it(h);
		return;
	}
	if (h->knocked)
		return;
	h->knocked = true;
	(void)evtimer_del(h->timer);
	h->left = sizes(h);
	if (h->since_ns > 0)
		skip(h);
	h->len = opened_frame(h->out, sizeof(h->out), 101, "");
	pump(h);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct history *h = arg;

	(void)fd;
	(void)what;
	if (!h->is_dead) {
		kill_it(h); /* it did not even say what it wants */
		return;
	}
	TAILQ_REMOVE(&h->hs->list, h, entry);
	h->hs->n--;
	history_free(h);
}

void
history_refuse(int sock, unsigned int status, const char *text)
{
	uint8_t buf[256];
	const size_t len = opened_frame(buf, sizeof(buf), status, text);

	(void)send(sock, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)drain(sock);
	fd_close(&sock);
}

static struct history *
history_new(struct histories *hs, const char *name, bool follow,
    int64_t since_ns, int sock)
{
	const struct timeval knock = { .tv_sec = KNOCK_MS / 1000 };
	struct history *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->hs = hs;
	h->sock = h->fd = -1;
	h->follow = follow;
	h->since_ns = since_ns;
	(void)snprintf(h->name, sizeof(h->name), "%s", name);
	h->rd = event_new(hs->base, sock, EV_READ | EV_PERSIST, on_readable, h);
	h->wr = event_new(hs->base, sock, EV_WRITE, on_writable, h);
	h->timer = evtimer_new(hs->base, on_timer, h);
	if (h->rd == NULL || h->wr == NULL || h->timer == NULL ||
	    event_add(h->rd, NULL) < 0 || event_add(h->timer, &knock) < 0) {
		history_free(h);
		return NULL;
	}
	h->sock = sock;
	return h;
}

/* Readers who go make room at once: orchd counts them no more, and who comes in
 * their places may be here before their ends are read. */
static bool
is_full(struct histories *hs)
{
	struct history *h;
	unsigned int n = 0;

	if (hs->n < HISTORIES_MAX)
		return false;
	TAILQ_FOREACH (h, &hs->list, entry) {
		if (!h->is_dead && fd_is_hung_up(h->sock))
			kill_it(h);
		n += !h->is_dead;
	}
	return n >= HISTORIES_MAX;
}

void
history_open(struct histories *hs, const char *name, bool follow,
    int64_t since_ns, int sock)
{
	struct history *h;

	if (RULE(HISTORIES_MAX) && is_full(hs)) {
		history_refuse(sock, 503,
		    "64 read logs of VMs on this host already: try again");
		return;
	}
	if ((h = history_new(hs, name, follow, since_ns, sock)) == NULL) {
		history_refuse(sock, 503, "out of memory");
		return;
	}
	TAILQ_INSERT_TAIL(&hs->list, h, entry);
	hs->n++;
}

void
histories_clear(struct histories *hs)
{
	struct history *h;

	/* nothing is unlinked in here: the dead are freed from the loop */
	TAILQ_FOREACH (h, &hs->list, entry) {
		if (RULE(ORPHAN_READERS))
			kill_it(h);
	}
}

void
history_more(struct histories *hs, const char *name)
{
	struct history *h;

	/* nothing is unlinked in here: the dead are freed from the loop */
	TAILQ_FOREACH (h, &hs->list, entry) {
		if (strcmp(h->name, name) == 0)
			pump(h);
	}
}

void
history_end(struct histories *hs, const char *name)
{
	struct history *h;

	TAILQ_FOREACH (h, &hs->list, entry) {
		if (strcmp(h->name, name) != 0 || !h->follow)
			continue;
		h->follow = false;
		h->left = INT64_MAX; /* to the last file's end */
		pump(h);
	}
}
