#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "orchd/copy.h"
#include "orchd/store_int.h"

/* Of the file's head (sqlite.org/fileformat2.html): how it is written. */
#define HEAD_WRITTEN 18
#define WITH_JOURNAL 1

static void
close_dbs(struct copy *c)
{
	(void)sqlite3_backup_finish(c->b);
	(void)sqlite3_close(c->to);
	c->b = NULL;
	c->to = NULL;
}

void
copy_clear(struct copy *c)
{
	close_dbs(c);
	fd_close(&c->fd);
}

/* Its name goes as soon as it is open: nothing is left by whatever end. */
static int
file_open(struct copy *c)
{
	const int how =
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
	int rc;

	if (unlink(c->path) < 0 && errno != ENOENT)
		return -errno;
	c->fd = open(
	    c->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0)
		return -errno;
	rc = sqlite3_open_v2(c->path, &c->to, how, NULL);
	if (unlink(c->path) < 0)
		return -errno;
	return sql_errno(rc);
}

static int
begin(struct copy *c, sqlite3 *from)
{
	/* it is nobody's till it is whole */
	static const char pragmas[] =
	    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
	    "PRAGMA mmap_size = 0; PRAGMA cache_size = -512;";
	int r = file_open(c);

	c->begun_ms = clock_ms();
	if (r == 0)
		r = sql_exec(c->to, pragmas);
	if (r == 0 &&
	    (c->b = sqlite3_backup_init(c->to, "main", from, "main")) == NULL)
		r = sql_errno(sqlite3_errcode(c->to));
	return r;
}

/* A store that is put back is one file: it has no WAL beside it. */
static int
end(struct copy *c)
{
	static const char head[2] = { WITH_JOURNAL, WITH_JOURNAL };

	close_dbs(c);
	return pwrite(c->fd, head, sizeof(head), HEAD_WRITTEN) ==
		(ssize_t)sizeof(head)
	    ? 0
	    : -EIO;
}

int
copy_step(struct copy *c, sqlite3 *from)
{
	int r = c->b == NULL ? begin(c, from) : 0, rc;

	if (r == 0 && clock_ms() - c->begun_ms > COPY_MAX_MS)
		r = -ETIMEDOUT;
	if (r == 0) {
		rc = sqlite3_backup_step(c->b, COPY_PAGES);
		if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
			return 1;
		r = rc == SQLITE_DONE ? end(c) : sql_errno(rc);
	}
	if (r < 0)
		copy_clear(c);
	return r;
}
