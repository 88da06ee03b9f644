#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/backup.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/audit/audit.h"
#include "orchd/orchd.h"
#include "proto/ward.h"

/*
 * The store, copied into a file that has no name and read from there: frames of
 * common/frame.h, as a log's, and FRAME_CLOSE when all of it was said, without
 * which what came is not whole.  One at a time.
 */
#define CHUNK 32768
#define PUMP_FRAMES 8 /* then others have their turn */
#define STALLED_S 30 /* a reader who takes nothing for so long */
#define ROOM_SHARE 16 /* of the disk: so much of it stays free */

struct backup {
	struct orchd *o;
	uint64_t conn, id; /* whose request it is */
	int fd, sock;
	off_t off, size;
	struct event *wr, *timer;
	bool is_said; /* its end, too */
	size_t at, len; /* of out, the frame that is being sent */
	uint8_t out[FRAME_HEAD_LEN + CHUNK];
};

void
backup_free(struct backup *b)
{
	uint8_t buf[64];

	if (b == NULL)
		return;
	if (b->wr != NULL)
		event_free(b->wr);
	if (b->timer != NULL)
		event_free(b->timer);
	/* unread bytes would turn its end of file into an error */
	while (b->sock >= 0 && read(b->sock, buf, sizeof(buf)) > 0)
		;
	fd_close(&b->sock);
	fd_close(&b->fd);
	b->o->backup = NULL;
	explicit_bzero(b, sizeof(*b)); /* requests hold secrets */
	free(b);
}

/* --- to who asked --- */

/* The next frame.  False: there is none. */
static bool
fill(struct backup *b)
{
	ssize_t n = 1;

	if (b->is_said)
		return false;
	if (b->off < b->size) {
		n = pread(b->fd, b->out + FRAME_HEAD_LEN, CHUNK, b->off);
		if (n <= 0 || frame_head(b->out, FRAME_STDOUT, (size_t)n) < 0)
			return false; /* and its end is never said */
		b->off += n;
	} else {
		(void)frame_head(b->out, FRAME_CLOSE, 1);
		b->out[FRAME_HEAD_LEN] = FRAME_STDOUT;
		b->is_said = true;
	}
	b->at = 0;
	b->len = FRAME_HEAD_LEN + (size_t)n;
	return true;
}

/* 0, -EAGAIN, or it is over. */
static int
flush(struct backup *b)
{
	const struct timeval stalled = { .tv_sec = STALLED_S };

	while (b->at < b->len) {
		ssize_t n = send(b->sock, b->out + b->at, b->len - b->at,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b->at += (size_t)n;
		(void)event_add(b->timer, &stalled);
	}
	return 0;
}

static void
pump(int fd, short what, void *arg)
{
	struct backup *b = arg;
	int frames, r;

	(void)fd;
	(void)what;
	for (frames = 0; frames < PUMP_FRAMES; frames++) {
		r = flush(b);
		if (r == -EAGAIN)
			break;
		if (r < 0 || !fill(b)) {
			backup_free(b);
			return;
		}
	}
	if (event_add(b->wr, NULL) < 0)
		backup_free(b);
}

static void
on_stalled(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	log_warn("a backup's reader takes nothing: it is over");
	backup_free(arg);
}

/* As a warden's first word. */
static void
say_opened(struct backup *b)
{
	const uint8_t head[FRAME_HEAD_LEN + 2] = { FRAME_OPENED, 0, 0, 0, 2, 0,
		101 };

	memcpy(b->out, head, sizeof(head));
	b->len = sizeof(head);
}

/* 0 with apid's end, or a negative errno. */
static int
send_begin(struct backup *b, int *theirs)
{
	int sv[2];

	if (socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return -errno;
	b->sock = sv[0];
	*theirs = sv[1];
	b->wr = event_new(b->o->base, b->sock, EV_WRITE, pump, b);
	b->timer = evtimer_new(b->o->base, on_stalled, b);
	if (b->wr == NULL || b->timer == NULL || event_add(b->wr, NULL) < 0) {
		fd_close(theirs);
		return -ENOMEM;
	}
	say_opened(b);
	return 0;
}

/* --- what is sent --- */

static void
refuse(struct backup *b, int r)
{
	log_error("no backup of the store: %s", strerrordesc_np(-r));
	answer_error(b->o, b->conn, b->id, r == -ENOSPC ? 507 : 500,
	    "no backup was made: %s",
	    r == -ENOSPC	  ? "the disk that the store is on is full"
		: r == -ETIMEDOUT ? "it took too long"
				  : strerrordesc_np(-r));
	backup_free(b);
}

static void
copied(void *arg, int r)
{
	struct backup *b = arg;
	struct stat st;
	int theirs = -1;

	if (r >= 0) {
		b->fd = r;
		r = fstat(b->fd, &st) < 0 ? -errno : 0;
	}
	if (r == 0) {
		b->size = st.st_size;
		r = send_begin(b, &theirs);
	}
	if (r < 0) {
		refuse(b, r);
		return;
	}
	log_info("a backup of the store: %lld bytes", (long long)b->size);
	answer_stream(b->o, b->conn, b->id, theirs);
}

/* A second store fits, and what others write meanwhile. */
static bool
has_room(void)
{
	struct statvfs fs;
	struct stat db, wal = { 0 };
	uint64_t left, want;

	if (statvfs("/", &fs) < 0 || stat("/store.db", &db) < 0)
		return true; /* it will be seen */
	(void)stat("/store.db-wal", &wal);
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	want = (uint64_t)db.st_size + (uint64_t)wal.st_size +
	    (uint64_t)fs.f_blocks * fs.f_frsize / ROOM_SHARE;
	return left >= want;
}

/* Who has all secrets from now on is in the trail, and so in the copy. */
static void
recorded(void *arg, int r)
{
	struct backup *b = arg;

	if (r == 0)
		r = store_copy(b->o->store, copied, b);
	if (r < 0)
		refuse(b, r);
}

void
verb_store_backup(const struct req *r)
{
	struct orchd *o = r->o;
	struct backup *b;
	int e;

	if (o->backup != NULL) {
		req_refuse(
		    r, 503, "another backup is under way: wait for its end");
		return;
	}
	if (!has_room()) {
		req_refuse(r, 507,
		    "no backup was made: it needs as much room again as the "
		    "store has, for a moment, on the disk that the store is on");
		return;
	}
	if ((b = calloc(1, sizeof(*b))) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	b->o = o;
	b->conn = r->c->id;
	b->id = r->id;
	b->fd = b->sock = -1;
	o->backup = b;
	if ((e = audit_record(o, &r->c->ask, NULL, 0, recorded, b)) < 0)
		refuse(b, e);
}
