#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "mewsd/conf.h"
#include "mewsd/table.h"

/*
 * The staged tree by its real name: "current" may point elsewhere after an
 * upgrade, and what a life of the spawner started is verified against what it
 * was started from.
 */
static void
stage_pin(void *conf)
{
	struct launchd_conf *launch = conf;
	char path[PATH_MAX];

	if (realpath(launch->stage, path) == NULL)
		log_error("stage %s: %m", launch->stage);
	else if (strlen(path) >= sizeof(launch->stage))
		log_error("stage %s: its real path is too long", launch->stage);
	else
		memcpy(launch->stage, path, strlen(path) + 1);
}

#define CONF(field)                           \
	.conf = offsetof(struct conf, field), \
	.conf_len = sizeof(((struct conf *)0)->field)

/*
 * Who may have whom replaced: those that heard it.  No apid: strangers talk to
 * it, and it has no business with anyone's life.
 */
static const struct room_row rows[ROOM_MAX] = {
	[ROOM_ORCHD] = { .program = "mews-orchd",
	    .user_key = "user_orch",
	    .user = "_mews-orch",
	    .root = "/store",
	    .root_is_state = true,
	    .listener = true,
	    CONF(orchd),
	    .judges = ROOM_BIT(ROOM_NETD) | ROOM_BIT(ROOM_LAUNCHD) },
	[ROOM_API] = { .program = "mews-apid",
	    .user_key = "user_api",
	    .user = "_mews-api",
	    .root = "/empty",
	    CONF(apid),
	    .peers = ROOM_BIT(ROOM_ORCHD),
	    .judges = ROOM_BIT(ROOM_ORCHD) },
	[ROOM_API_ADMIN] = { .program = "mews-apid",
	    .user_key = "user_api_admin",
	    .user = "_mews-apiadm",
	    .root = "/empty",
	    CONF(apid),
	    .peers = ROOM_BIT(ROOM_ORCHD),
	    .judges = ROOM_BIT(ROOM_ORCHD) },
	/* keeps CAP_NET_ADMIN as its user, in a root it makes itself */
	[ROOM_NETD] = { .program = "mews-netd",
	    .user_key = "user_net",
	    .user = "_mews-net",
	    .root = "/empty",
	    CONF(netd),
	    .peers = ROOM_BIT(ROOM_ORCHD),
	    .judges = ROOM_BIT(ROOM_ORCHD),
	    /* bridge and rules stay while a tap is held: it looks by itself */
	    .farewell = NET_TEARDOWN },
	[ROOM_LAUNCHD] = { .program = "mews-launchd",
	    .user_key = "user_launch",
	    .user = "_mews-launch",
	    .root = "/vm", /* <uid>/keeper.sock */
	    CONF(launchd),
	    .fill = stage_pin,
	    .peers = ROOM_BIT(ROOM_ORCHD),
	    .judges = ROOM_BIT(ROOM_ORCHD) },
	/* root with seven named capabilities, and the host's root directory:
	 * jails are made from its staged tree.  Answers belong to one life of
	 * launchd, so neither outlives the other */
	[ROOM_SPAWNER] = { .program = "mews-spawner",
	    CONF(launchd),
	    .fill = stage_pin,
	    .peers = ROOM_BIT(ROOM_LAUNCHD),
	    .with = ROOM_LAUNCHD },
#ifdef MEWS_TEST
	/* what a one-shot room is, for as long as no capability needs one */
	[ROOM_TRIAL] = { .program = "mews-trial",
	    .root = "/empty",
	    .oneshots = 3,
	    .oneshot_ms = 3000,
	    .oneshot_fds = 2 },
#endif
};
_Static_assert(ROOM_MAX < 32, "ROOM_BIT()s are 32");

const struct room_row *
room_row(uint32_t room)
{
	return room < nitems(rows) && rows[room].program != NULL ? &rows[room]
								 : NULL;
}

bool
room_stays(uint32_t room)
{
	return room_row(room) != NULL && room_row(room)->oneshots == 0;
}
