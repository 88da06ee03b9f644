#ifndef MEWS_MEWSD_H
#define MEWS_MEWSD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/bucket.h"
#include "mewsd/conf.h"
#include "mewsd/logs.h"
#include "mewsd/oneshot.h"
#include "mewsd/watch.h"
#include "proto/chan.h"

struct event;
struct event_base;

/* Makes and checks the directories of an instance. Start-up: dies. */
void dirs_make(const struct conf *c);
/* The folder of logs, made where there is none: its descriptor, or a negative
 * errno with words.  Nothing but logs depends on it. */
int dirs_log(const struct conf *c, struct err *e);
/* The suite's lock: waits until the last room of an earlier suite has let
 * go, and ends those that do not though their mewsd is gone (design: no two
 * orchds ever share a store).  Start-up: dies. */
int lock_take(const struct conf *c);
/* Refuses a bridge or uids that another suite of this host has, and keeps
 * others from ours.  Start-up: dies. */
void claims_take(const struct conf *c);
/* Binds DIR/run/api.sock anew and listens.  Start-up: dies. */
int dirs_listen(const struct conf *c);

/* check.c: has orchd look at its store, or at a backup of it: file, NULL for
 * the store.  What it says goes to standard output.  An exit status. */
struct mewsd;
int check_run(const struct mewsd *m, const char *file);

/* A child room as mewsd sees it. */
struct child {
	uint32_t room; /* enum room */
	pid_t pid; /* 0: not running */
	bool ready;
	bool doomed; /* killed by us, not reaped yet */
	bool leaving; /* its answer to the farewell is to come */
	struct bucket says; /* messages that it may say */
	struct event *go_on; /* pending: it said more than that */
	struct chan *chan; /* descriptor 3 of the room */
	struct room_log log; /* descriptor 2 of the room */
	struct mewsd *mewsd;
	/* down: its back-off, on the first of those that start together.  Told
	 * to end because another of them has: its patience */
	struct event *timer;
	struct watch watch;
	uint32_t want; /* ROOM_BIT()s: channels that could not be made yet; that
			* of ROOM_MEWSD is the listener */
	int64_t started_ms;
	uint32_t life; /* starts so far */
	unsigned int failures; /* deaths; counted from 1 after a long life */
};

struct mewsd {
	struct conf conf;
	struct event_base *base;
	struct event *sig[4];
	struct event *stop_timer;
	struct event *look; /* every WATCH_MS */
	int bindir; /* where the programs are */
	int lock;
	int listener;
	struct logs logs;
	bool stopping;
	bool told; /* the service manager: all rooms serve */
	struct child child[ROOM_MAX];
	struct oneshot oneshot[UIDS_ONESHOTS_MAX]; /* by place in their plane */
};

/* child.c.  SIGCHLD starts it again, no sooner than its back-off says. */
void child_kill(struct child *c);
/* It ended by itself: SIGCHLD, which is on its way, tells how. */
bool child_is_dead(const struct child *c);

/* said.c: what a room may say; its argument is the child. */
extern const struct chan_ops said_ops;
/* The timer go_on: the child is heard again. */
void said_on_go_on(int fd, short what, void *arg);

/* plumb.c: what a new life is told and given.  Its config: as chan_send2(). */
int plumb_conf(struct child *c);
/* Whom it can talk with, and what it accepts callers on. */
void plumb_all(struct child *c);
/* What of that could not be made before. */
void plumb_again(struct child *c);

/* Starts every room and keeps them running until rooms_stop(). */
void rooms_start(struct mewsd *m);
/* Reaps whatever ended and restarts rooms with back-off. */
void rooms_reap(struct mewsd *m);
/* Asks all to end; leaves the loop when they have, or kills them. */
void rooms_stop(struct mewsd *m);

/* The deny-list that every process of the suite inherits. */
void mewsd_confine(void);

#endif
