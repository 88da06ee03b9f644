#ifndef MEWS_MEWSD_H
#define MEWS_MEWSD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/bucket.h"
#include "mewsd/conf.h"
#include "mewsd/logs.h"
#include "mewsd/oneshot.h"
#include "proto/chan.h"

struct event;
struct event_base;

/* Makes and checks the directories of an instance. Start-up: dies. */
void dirs_make(const struct conf *c);
/* The folder of logs, made where there is none: its descriptor, or a negative
 * errno with words.  Nothing but logs depends on it. */
int dirs_log(const struct conf *c, struct err *e);
/* The suite's lock: waits until the last room of an earlier suite has let
 * go (design: no two orchds ever share a store).  Start-up: dies. */
int dirs_lock(const struct conf *c);
/* Binds DIR/run/api.sock anew and listens.  Start-up: dies. */
int dirs_listen(const struct conf *c);

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
	int64_t started_ms;
	uint32_t life; /* starts so far */
	unsigned int failures; /* deaths; counted from 1 after a long life */
};

struct mewsd {
	struct conf conf;
	struct event_base *base;
	struct event *sig[4];
	struct event *stop_timer;
	int bindir; /* where the programs are */
	int lock;
	int listener;
	struct logs logs;
	bool stopping;
	bool told; /* the service manager: all rooms serve */
	struct child child[ROOM_MAX];
	struct oneshot oneshot[UIDS_ONESHOTS_MAX]; /* by place in their plane */
};

/* Starts every room and keeps them running until rooms_stop(). */
void rooms_start(struct mewsd *m);
/* Reaps whatever ended and restarts rooms with back-off. */
void rooms_reap(struct mewsd *m);
/* Asks all to end; leaves the loop when they have, or kills them. */
void rooms_stop(struct mewsd *m);

/* The deny-list that every process of the suite inherits. */
void mewsd_confine(void);

#endif
