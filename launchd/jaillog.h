#ifndef MEWS_LAUNCHD_JAILLOG_H
#define MEWS_LAUNCHD_JAILLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/logmarks.h"
#include "launchd/history.h"

struct event_base;
struct jaillog;

/*
 * What a jail writes as log or console: two FIFOs in its folder below run/vm,
 * which the spawner made and launchd alone may open, copied byte for byte into
 * bounded files NAME.log and NAME.console that nobody in the jail holds
 * (common/logfile.h).  The files stay when the jail goes, until the VM starts
 * again or is forgotten.
 *
 * A jail costs a bounded time: of what it writes beyond the budget, a pipe's
 * worth is read and counted as lost each JAILLOG_PAUSE_MS, over both FIFOs;
 * the rest its writers lose themselves (their end does not wait).
 */
#define JAILLOG_MAX (1U << 20) /* bytes of a file; a VM has four */
/* And of the marks beside it, which say when they came. */
#define JAILLOG_MARKS_MAX LOGMARKS_SIZE(JAILLOG_MAX)
#define JAILLOG_RATE (64 * 1024) /* bytes a second, of each of the two */
#define JAILLOG_BURST (512 * 1024)
#define JAILLOG_PAUSE_MS 250

struct jaillogs {
	struct event_base *base;
	int run; /* run/vm, O_PATH */
	int dir; /* log/vm; -1: it could not be opened, all is lost */
	struct histories hist;
};

/* Before launchd is confined: opens what it will need.  A log folder that is
 * not to be had is logged, and nothing else. */
void jaillogs_open(struct jaillogs *js, const char *run, const char *dir);
void jaillogs_start(struct jaillogs *js, struct event_base *base);

/*
 * The jail of VM `name` (16 hex digits).  is_new: the files of its former life
 * go.  0; -ENOENT: an earlier suite made it, and its logs are its own files;
 * -ENOMEM; -EPERM: what is there is not the spawner's.
 */
int jaillog_new(
    struct jaillogs *js, const char *name, bool is_new, struct jaillog **ret);
/* Takes what is in the FIFOs now. */
void jaillog_drain(struct jaillog *jl);
/* That as well, and then the end.  NULL is fine. */
void jaillog_free(struct jaillog *jl);

/* What its console, or it itself, said, to the other end of sock, which is
 * ours; follow: and what comes.  since_ns as in history.h. */
void jaillog_read(struct jaillogs *js, const char *name, bool is_console,
    bool follow, int64_t since_ns, int sock);
/* Nothing of that VM is kept any more. */
void jaillog_forget(struct jaillogs *js, const char *name);
/* Each VM of which a file is kept, once; stops and returns what fn does, if it
 * is not 0. */
int jaillog_each(
    struct jaillogs *js, int (*fn)(void *arg, uint64_t vmid), void *arg);

#endif
