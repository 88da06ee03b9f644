#ifndef MEWS_ROOM_H
#define MEWS_ROOM_H

#include <stdint.h>

/* The processes of the suite; README.rooms has the picture. */
enum room {
	ROOM_MEWSD,
	ROOM_ORCHD,
	ROOM_API, /* apid that serves Unix users */
	ROOM_API_ADMIN, /* apid that serves host admins */
	ROOM_NETD,
	ROOM_LAUNCHD,
	ROOM_SPAWNER,
	ROOM_TRIAL, /* a one-shot room of test builds; no other starts it */
	ROOM_MAX
};

/* Short name for log lines and ps, "?" for what is no room. */
const char *room_name(uint32_t room);

#endif
