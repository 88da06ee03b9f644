#ifndef MEWS_LOGMARKS_H
#define MEWS_LOGMARKS_H

#include <stdint.h>
#include <sys/types.h>

/*
 * When the bytes of a bounded log came (common/logfile.h): marks in a file
 * NAME.at beside the file NAME, which becomes NAME.1.at with it.  Bytes from a
 * mark's offset up to the next one's came until its time, by the host's wall
 * clock as it was then, give or take LOGMARKS_NS.  A mark is made, or the last
 * one's time moved, once in LOGMARKS_NS at most, and there are never more of
 * them than LOGMARKS_MIN and one for each LOGMARKS_BYTES before it: so what is
 * written in driblets for long has one mark for as many bytes.
 *
 * What is not known is never taken for old: a file without marks, or with ones
 * that make no sense, came until it was written last.
 */
#define LOGMARKS_NS INT64_C(1000000000)
#define LOGMARKS_BYTES 256
#define LOGMARKS_MIN 64
/* Bytes of the marks of a file of so many bytes. */
#define LOGMARKS_SIZE(max) \
	((LOGMARKS_MIN + (max) / LOGMARKS_BYTES) * sizeof(struct logmark))

#define LOGMARKS_SUFFIX ".at"
#define LOGMARKS_NAME_MAX 72 /* of a file of marks, with its NUL */

struct logmark {
	uint64_t off;
	int64_t until_ns; /* since 1970 */
};
_Static_assert(sizeof(struct logmark) == 16, "kept in files");

/* Nothing is held open. */
struct logmarks {
	int dir; /* its owner's */
	mode_t mode; /* of a new file, less the umask */
	char name[LOGMARKS_NAME_MAX];
	uint64_t n; /* marks in the file */
	struct logmark last; /* if there is one */
	int64_t before_ns; /* if there is none, what there is came until then */
};

void logmarks_init(struct logmarks *m, int dir, const char *name, mode_t mode);
/* The file has so many bytes now, by another hand or from before: written last
 * at that time. */
void logmarks_load(struct logmarks *m, uint64_t size, int64_t written_ns);
/* Before bytes are written at off.  What fails costs the marks alone. */
void logmarks_add(struct logmarks *m, uint64_t off, int64_t now_ns);
/* The file has become the older one: so do its marks.  Those of the one that
 * was so before have to go first, by logmarks_forget(). */
void logmarks_rotate(struct logmarks *m, const char *old);
void logmarks_forget(int dir, const char *name);

/*
 * Where in file `name`, open as fd, begins what came since then: each byte that
 * did is behind it, and some may be that came before.  Its size: nothing did.
 */
off_t logmarks_find(int dir, const char *name, int fd, int64_t since_ns);

#endif
