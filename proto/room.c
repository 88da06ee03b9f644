#include "proto/room.h"
#include "common/util.h"

static const char *const names[ROOM_MAX] = {
	[ROOM_MEWSD] = "mewsd",
	[ROOM_ORCHD] = "orchd",
	[ROOM_API] = "apid",
	[ROOM_API_ADMIN] = "apid-admin",
	[ROOM_NETD] = "netd",
	[ROOM_LAUNCHD] = "launchd",
	[ROOM_SPAWNER] = "spawner",
	[ROOM_TRIAL] = "trial",
};

const char *
room_name(uint32_t room)
{
	return room < nitems(names) ? names[room] : "?";
}
