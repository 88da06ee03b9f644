#ifndef MEWS_CONF_H
#define MEWS_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/log.h"
#include "proto/boot.h"
#include "proto/launch.h"
#include "proto/net.h"
#include "proto/orch.h"
#include "proto/uids.h"

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
	struct room_user user[ROOM_MAX]; /* 0: root, or one of the pool */
	char root[ROOM_MAX][BOOT_PATH_MAX]; /* what becomes the room's "/" */
	uint32_t log_level; /* enum log_level */
	uint32_t nofile; /* RLIMIT_NOFILE of a room */
	struct uids uids;
	/* what rooms are told of it: mewsd/table.c says who */
	struct orchd_conf orchd;
	struct apid_conf apid;
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
/* Whether the staged tree is there: a suite starts without it, but no VM. */
int conf_host_stage(const struct conf *c, struct err *e);

#endif
