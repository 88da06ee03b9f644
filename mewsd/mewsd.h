#ifndef MEWS_MEWSD_H
#define MEWS_MEWSD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/log.h"
#include "proto/boot.h"
#include "proto/launch.h"
#include "proto/net.h"
#include "proto/orch.h"

struct event;
struct event_base;

struct room_user {
	uid_t uid;
	gid_t gid;
};

/* mews.conf, checked as a whole. */
struct conf {
	char instance[32];
	char lib[BOOT_PATH_MAX]; /* state */
	char run[BOOT_PATH_MAX]; /* sockets, records, the lock */
	char log[BOOT_PATH_MAX];
	char stage[BOOT_PATH_MAX]; /* staged tree */
	struct room_user user[ROOM_MAX];
	char root[ROOM_MAX][BOOT_PATH_MAX]; /* what becomes the room's "/" */
	enum log_level log_level;
	uint32_t max_conns;
	uint32_t nofile; /* RLIMIT_NOFILE of a room */
	uint32_t idle_ms;
	struct orchd_conf orchd;
	struct net_conf netd;
	struct launchd_conf launchd;
	struct kill_at kill; /* test builds: "kill_at" */
};

/*
 * Reads path, which must be a regular file that only root can write.
 * root: the -r directory, or NULL for the installed layout.
 */
int conf_load(
    const char *path, const char *root, struct conf *ret, struct err *e);

/* Makes and checks the directories of an instance. Start-up: dies. */
void dirs_make(const struct conf *c);
/* The suite's lock: waits until the last room of an earlier suite has let
 * go (design: no two orchds ever share a store).  Start-up: dies. */
int lock_take(const struct conf *c);
/* Binds DIR/run/api.sock anew and listens.  Start-up: dies. */
int listener_open(const struct conf *c);

/* A child room as mewsd sees it. */
struct child {
	uint32_t room; /* enum room */
	const char *program; /* in the directory mewsd was started from */
	pid_t pid; /* 0: not running */
	bool ready;
	bool doomed; /* killed by us, not reaped yet */
	struct chan *chan; /* descriptor 3 of the room */
	struct mewsd *mewsd;
	struct event *restart; /* back-off timer */
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
	bool stopping;
	bool told; /* the service manager: all rooms serve */
	struct child child[ROOM_MAX];
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
