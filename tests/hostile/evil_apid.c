#include <stdio.h>
#include <string.h>

#include "apid/apid.h"
#include "proto/api.h"
#include "proto/boot.h"
#include "proto/chan.h"
#include "tests/hostile/takeover.h"

/*
 * The users' apid, taken over (I1): it names connections of the other apid,
 * of callers who have hung up, and of nobody; at last it wants other rooms
 * replaced, which is not for an apid to want.
 */
#define ID 0xbad000U
#define FIRST_LIVES 2 /* one of each kind of apid */
#define FAULT_AT 3 /* which caller sees that */
#define VICTIM "web"

int __real_client_new(struct apid *a, const struct api_caller *who, int fd);
int __wrap_client_new(struct apid *a, const struct api_caller *who, int fd);

static void
ask(const struct apid *a, uint32_t verb, uint64_t conn)
{
	struct api_req r = { .conn = conn, .var = { VICTIM } };

	(void)msg_send(chan_sock(a->orchd), verb, ID, &r, sizeof(r), -1);
}

/* Everything that would be seen, were it done. */
static void
ask_all(const struct apid *a, uint64_t conn)
{
	ask(a, API_VM_STOP, conn);
	ask(a, API_VM_DELETE, conn);
}

int
__wrap_client_new(struct apid *a, const struct api_caller *who, int fd)
{
	const uint64_t conn = who->conn;
	static uint64_t before;
	static unsigned int calls;

	if (a->boot.room == ROOM_API) {
		if (takeover_life() < FIRST_LIVES && before == 0) {
			takeover_said("admin"); /* it may be killed for it */
			ask_all(a, conn - 1); /* an admin's */
		}
		ask_all(a, UINT64_MAX);
		ask_all(a, conn + 1);
		if (before != 0) {
			ask_all(a, before); /* its peer hung up */
			takeover_said("gone");
		}
		before = conn;
		if (takeover_life() >= FIRST_LIVES && ++calls == FAULT_AT) {
			struct boot_peer p = { .room = ROOM_ORCHD };

			takeover_said("fault");
			(void)msg_send(
			    BOOT_FD, BOOT_FAULT, 0, &p, sizeof(p), -1);
		}
	}
	return __real_client_new(a, who, fd);
}
