#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bucket.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/logfile.h"
#include "common/logmarks.h"

struct logfile {
	int dir; /* its owner's */
	int fd; /* -1: not open */
	char name[LOGFILE_NAME_MAX];
	char old[LOGFILE_NAME_MAX + 2]; /* name.1 */
	struct logfile_conf conf;
	struct bucket bucket;
	dev_t dev; /* which file is open */
	ino_t ino;
	uint64_t size;
	uint64_t lost; /* bytes that were dropped and not told yet */
	char why[128]; /* the first of them */
	char last; /* byte that was written last */
	bool looked;
	int64_t looked_ms;
	struct err err; /* code 0: it can be written */
	struct logmarks marks; /* if conf.timed */
};

int
logfile_new(int dir, const char *name, const struct logfile_conf *conf,
    struct logfile **ret)
{
	struct logfile *lf;

	if (strlen(name) >= sizeof(lf->name))
		return -ENAMETOOLONG;
	if ((lf = calloc(1, sizeof(*lf))) == NULL)
		return -ENOMEM;
	lf->dir = dir;
	lf->fd = -1;
	(void)snprintf(lf->name, sizeof(lf->name), "%s", name);
	(void)snprintf(lf->old, sizeof(lf->old), "%s.1", lf->name);
	lf->conf = *conf;
	logmarks_init(&lf->marks, dir, name, conf->mode);
	lf->last = '\n';
	*ret = lf;
	return 0;
}

static int
fault(struct logfile *lf, int code, const char *name, const char *what)
{
	fd_close(&lf->fd);
	return err_set(&lf->err, code, "%s: %s", name,
	    what == NULL ? strerrordesc_np(-code) : what);
}

static void
lose(struct logfile *lf, size_t len, const char *why)
{
	if (lf->lost == 0)
		(void)snprintf(lf->why, sizeof(lf->why), "%.127s", why);
	lf->lost += len;
}

/* It is so long, and we have not written it so. */
static void
set_size(struct logfile *lf, const struct stat *st)
{
	lf->size = (uint64_t)st->st_size;
	if (lf->conf.timed)
		logmarks_load(&lf->marks, lf->size,
		    st->st_mtim.tv_sec * INT64_C(1000000000) +
			st->st_mtim.tv_nsec);
}

/* What is there must be a file; a FIFO or a device is not even opened. */
static int
file_open(struct logfile *lf, int flags)
{
	struct stat st;

	if (fstatat(lf->dir, lf->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISREG(st.st_mode))
		return fault(lf, -EINVAL, lf->name,
		    "not a regular file: it must be moved away");
	lf->fd = openat(lf->dir, lf->name,
	    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
		O_CLOEXEC | flags,
	    lf->conf.mode);
	if (lf->fd < 0 || fstat(lf->fd, &st) < 0)
		return fault(lf, -errno, lf->name, NULL);
	if (!S_ISREG(st.st_mode))
		return fault(lf, -EINVAL, lf->name, "not a regular file");
	lf->dev = st.st_dev;
	lf->ino = st.st_ino;
	set_size(lf, &st);
	/* a full disk lets it be opened, too: then only a write tells */
	if (lf->lost == 0)
		lf->err.code = 0;
	return 0;
}

static int
rotate(struct logfile *lf)
{
	if (lf->conf.timed)
		logmarks_forget(lf->dir, lf->old);
	if (renameat(lf->dir, lf->name, lf->dir, lf->old) < 0)
		return fault(lf, -errno, lf->old, NULL);
	if (lf->conf.timed)
		logmarks_rotate(&lf->marks, lf->old);
	fd_close(&lf->fd);
	return file_open(lf, O_EXCL);
}

/* Whether the open file is still the one that has the name; how long it is,
 * whoever cut it. */
static void
file_check(struct logfile *lf)
{
	struct stat st;

	if (fstatat(lf->dir, lf->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_dev != lf->dev || st.st_ino != lf->ino)
		fd_close(&lf->fd);
	else if (lf->size != (uint64_t)st.st_size)
		set_size(lf, &st);
}

/* At most once in a while, so that a broken disk costs no more than that. */
static void
look(struct logfile *lf, int64_t now_ms)
{
	if (lf->looked && now_ms - lf->looked_ms < LOGFILE_LOOK_MS)
		return;
	if (!lf->looked)
		bucket_init(&lf->bucket, lf->conf.rate, lf->conf.burst, now_ms);
	lf->looked = true;
	lf->looked_ms = now_ms;
	if (lf->fd >= 0)
		file_check(lf);
	if (lf->fd < 0)
		(void)file_open(lf, 0);
}

/* All of it, or what is left is lost. */
static void
put(struct logfile *lf, const char *buf, size_t len)
{
	ssize_t n;

	while (len > 0) {
		size_t part = len < lf->conf.max ? len : lf->conf.max;

		if (lf->fd >= 0 && lf->size > 0 &&
		    lf->size + part > lf->conf.max)
			(void)rotate(lf);
		if (lf->fd < 0)
			break;
		if (lf->conf.timed)
			logmarks_add(&lf->marks, lf->size, clock_wall_ns());
		n = write(lf->fd, buf, part);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			(void)fault(lf, n < 0 ? -errno : -EIO, lf->name, NULL);
			break;
		}
		lf->err.code = 0;
		lf->last = buf[n - 1];
		lf->size += (uint64_t)n;
		buf += n;
		len -= (size_t)n;
	}
	if (len > 0)
		lose(lf, len, lf->err.msg);
}

/* In a line of its own; only once there is room for more than this line. */
static void
tell(struct logfile *lf, int64_t now_ms)
{
	char line[256];
	uint64_t lost = lf->lost;
	int n;

	if (lost == 0 || lf->fd < 0 ||
	    bucket_left(&lf->bucket, now_ms) < lf->conf.burst / 4)
		return;
	n = snprintf(line, sizeof(line), "%s[%" PRIu64 " bytes lost: %s]\n",
	    lf->last == '\n' ? "" : "\n", lost, lf->why);
	lf->lost = 0;
	put(lf, line, (size_t)n);
	/* it says the same once it can be written, and not itself */
	if (lf->lost != 0)
		lf->lost = lost;
}

bool
logfile_write(struct logfile *lf, const void *buf, size_t len, int64_t now_ms)
{
	char why[64];
	size_t left;

	look(lf, now_ms);
	tell(lf, now_ms);
	if (lf->lost > 0) {
		lose(lf, len, lf->err.msg);
		return false;
	}
	left = bucket_left(&lf->bucket, now_ms);
	if (left > len)
		left = len;
	lf->bucket.left -= (uint32_t)left;
	put(lf, buf, left);
	if (left < len) {
		(void)snprintf(why, sizeof(why),
		    "more than %" PRIu32 " a second", lf->conf.rate);
		lose(lf, len - left, why);
	}
	return lf->lost == 0;
}

void
logfile_write_last(
    struct logfile *lf, const void *buf, size_t len, int64_t now_ms)
{
	look(lf, now_ms);
	if (lf->lost > 0 && lf->fd >= 0) {
		if (lf->bucket.left < lf->conf.burst / 4)
			lf->bucket.left = lf->conf.burst / 4;
		tell(lf, now_ms);
	}
	put(lf, buf, len);
}

bool
logfile_look(struct logfile *lf, int64_t now_ms)
{
	look(lf, now_ms);
	tell(lf, now_ms);
	return lf->lost > 0 || lf->err.code != 0;
}

int
logfile_fault(const struct logfile *lf, struct err *e)
{
	if (e != NULL)
		*e = lf->err;
	return lf->err.code;
}

void
logfile_set_dir(struct logfile *lf, int dir)
{
	fd_close(&lf->fd);
	lf->dir = lf->marks.dir = dir;
	lf->looked_ms -= LOGFILE_LOOK_MS;
}

void
logfile_free(struct logfile *lf)
{
	if (lf == NULL)
		return;
	if (lf->lost > 0)
		logfile_write_last(lf, NULL, 0, lf->looked_ms);
	fd_close(&lf->fd);
	free(lf);
}
