#ifndef MEWS_LOGFILE_H
#define MEWS_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/*
 * A log that somebody else fills and that stays bounded: the file NAME in a
 * directory and, once it is full, NAME.1, which takes the place of an earlier
 * one.  Bytes are opaque.  No call blocks for longer than the file system
 * does, and none fails for good: what cannot be written, or is more than the
 * budget allows, is dropped and counted, and one line in the file says how
 * much as soon as it can.
 *
 * NAME must be a regular file, or nothing; whatever else is there (a FIFO, a
 * link) is never opened.  A file that was moved away, removed or cut short is
 * noticed within LOGFILE_LOOK_MS of the next write.
 */
#define LOGFILE_NAME_MAX 64 /* bytes of NAME, with its NUL */
#define LOGFILE_LOOK_MS 1000 /* between looks at what is there */

struct logfile_conf {
	uint64_t max; /* bytes of a file; the two have twice that */
	uint32_t rate; /* bytes a second */
	uint32_t burst; /* bytes at once */
	mode_t mode; /* of a new file, less the umask */
	bool timed; /* when its bytes came is kept (common/logmarks.h) */
};

struct logfile;

/*
 * dir stays the caller's and open as long as the logfile, unless another is
 * set; -1: none yet.  Nothing is opened before the first write or look.
 * 0, -ENAMETOOLONG, -ENOMEM.
 */
int logfile_new(int dir, const char *name, const struct logfile_conf *conf,
    struct logfile **ret);
/* Says what was lost, if it can.  NULL is fine. */
void logfile_free(struct logfile *lf);
void logfile_set_dir(struct logfile *lf, int dir);

/* now_ms: clock_ms().  False: some of it was dropped, so who can wait should
 * read no more from where it came for a while. */
bool logfile_write(
    struct logfile *lf, const void *buf, size_t len, int64_t now_ms);
/* Past the budget: the last words of who wrote it. */
void logfile_write_last(
    struct logfile *lf, const void *buf, size_t len, int64_t now_ms);
/* Without bytes: opens the file if it is time to, says what was lost.  True:
 * there is more to be said, so look again in LOGFILE_LOOK_MS. */
bool logfile_look(struct logfile *lf, int64_t now_ms);
/* 0, or a negative errno and words: why nothing can be written at present. */
int logfile_fault(const struct logfile *lf, struct err *e);

#endif
