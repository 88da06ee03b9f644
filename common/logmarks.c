#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/logmarks.h"

#define NS 1000000000LL
#define READ_MARKS 256 /* at once */

static void
file_name(const char *name, char ret[LOGMARKS_NAME_MAX])
{
	(void)snprintf(ret, LOGMARKS_NAME_MAX, "%.66s" LOGMARKS_SUFFIX, name);
}

/* What is there must be a file.  -1: it is not, or cannot be opened. */
static int
marks_open(int dir, const char *name, int flags, mode_t mode, off_t *size)
{
	struct stat st;
	int fd;

	fd = openat(dir, name,
	    flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		fd_close(&fd);
	if (fd >= 0)
		*size = st.st_size;
	return fd;
}

void
logmarks_init(struct logmarks *m, int dir, const char *name, mode_t mode)
{
	*m = (struct logmarks){ .dir = dir, .mode = mode };
	file_name(name, m->name);
}

/* Without marks, all that there is came until then. */
static void
drop(struct logmarks *m, int64_t until_ns)
{
	(void)unlinkat(m->dir, m->name, 0);
	m->n = 0;
	m->before_ns = until_ns;
}

void
logmarks_load(struct logmarks *m, uint64_t size, int64_t written_ns)
{
	const size_t each = sizeof(m->last);
	off_t len = 0;
	int fd = marks_open(m->dir, m->name, O_RDONLY, 0, &len);
	bool ok = fd >= 0 && size > 0 && len > 0 && len % (off_t)each == 0 &&
	    pread(fd, &m->last, each, len - (off_t)each) == (ssize_t)each &&
	    m->last.off <= size;

	fd_close(&fd);
	if (ok)
		m->n = (uint64_t)len / each;
	else
		drop(m, size > 0 ? written_ns : 0);
}

/* Mark number i.  False: the file is not what it was, or cannot be written. */
static bool
put(struct logmarks *m, uint64_t i, const struct logmark *k)
{
	const off_t len = (off_t)(m->n * sizeof(*k));
	off_t size = 0;
	int fd =
	    marks_open(m->dir, m->name, O_WRONLY | O_CREAT, m->mode, &size);
	bool ok = fd >= 0 && size == len &&
	    pwrite(fd, k, sizeof(*k), (off_t)(i * sizeof(*k))) ==
		(ssize_t)sizeof(*k);

	fd_close(&fd);
	if (!ok)
		return false;
	if (i == m->n)
		m->n++;
	m->last = *k;
	return true;
}

static bool
is_near(int64_t a, int64_t b)
{
	int64_t d;

	return !__builtin_sub_overflow(a, b, &d) && d <= LOGMARKS_NS &&
	    d >= -LOGMARKS_NS;
}

/* One more, as far as that many bytes may have; else the last one lasts. */
static bool
add(struct logmarks *m, uint64_t off, int64_t now_ns)
{
	struct logmark k = { .off = off, .until_ns = now_ns };
	const struct logmark before = { .until_ns = m->before_ns };

	if (m->n == 0 && off > 0 && !put(m, 0, &before))
		return false;
	if (m->n == 0 ||
	    (off > m->last.off && m->n < LOGMARKS_MIN + off / LOGMARKS_BYTES))
		return put(m, m->n, &k);
	k.off = m->last.off;
	return k.until_ns <= m->last.until_ns || put(m, m->n - 1, &k);
}

void
logmarks_add(struct logmarks *m, uint64_t off, int64_t now_ns)
{
	/* a disk that takes none is tried as rarely */
	if (is_near(now_ns, m->n > 0 ? m->last.until_ns : m->before_ns))
		return;
	if (!add(m, off, now_ns))
		drop(m, now_ns);
}

void
logmarks_rotate(struct logmarks *m, const char *old)
{
	char name[LOGMARKS_NAME_MAX];

	file_name(old, name);
	if (renameat(m->dir, m->name, m->dir, name) < 0)
		(void)unlinkat(m->dir, m->name, 0);
	m->n = 0;
	m->before_ns = 0;
}

void
logmarks_forget(int dir, const char *name)
{
	char file[LOGMARKS_NAME_MAX];

	file_name(name, file);
	(void)unlinkat(dir, file, 0);
}

/* --- the reader's side --- */

struct search {
	int64_t since_ns, written_ns;
	uint64_t size; /* of the log */
	uint64_t n; /* marks looked at, and the last one of them */
	struct logmark last;
	bool found;
};

/* False: no mark can be so. */
static bool
search_mark(struct search *s, const struct logmark *k)
{
	if (k->off > s->size ||
	    (s->n == 0 ? k->off != 0 : k->off <= s->last.off))
		return false;
	s->n++;
	s->last = *k;
	s->found = k->until_ns >= s->since_ns - LOGMARKS_NS;
	return true;
}

/* Up to the first that is young enough.  False: they make no sense. */
static bool
search_marks(struct search *s, int fd)
{
	struct logmark k[READ_MARKS];
	off_t at = 0;
	ssize_t n, i;

	while (!s->found && (n = pread(fd, k, sizeof(k), at)) != 0) {
		if (n < 0 || n % (ssize_t)sizeof(k[0]) != 0)
			return false;
		at += n;
		for (i = 0; !s->found && i < n / (ssize_t)sizeof(k[0]); i++)
			if (!search_mark(s, &k[i]))
				return false;
	}
	return s->n > 0;
}

off_t
logmarks_find(int dir, const char *name, int fd, int64_t since_ns)
{
	struct search s = { .since_ns = since_ns };
	char file[LOGMARKS_NAME_MAX];
	struct stat st;
	off_t len = 0;
	bool is_young, ok;
	int marks;

	if (fstat(fd, &st) < 0)
		return 0;
	s.size = (uint64_t)st.st_size;
	s.written_ns = st.st_mtim.tv_sec * NS + st.st_mtim.tv_nsec;
	file_name(name, file);
	marks = marks_open(dir, file, O_RDONLY, 0, &len);
	ok = marks >= 0 && search_marks(&s, marks);
	fd_close(&marks);
	if (ok && s.found)
		return (off_t)s.last.off;
	/* the bytes behind the last mark, or all, came until it was written */
	is_young = s.written_ns >= since_ns - LOGMARKS_NS;
	if (!is_young)
		return st.st_size;
	return ok ? (off_t)s.last.off : 0;
}
