#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/chan.h"

/*
 * A keeper that speaks version 1, for adoption: linked to the keeper as it
 * ships, in msg_send's place.  Bytes of version 1 are written out here, as
 * keepers of an older suite say them; nobody may "mend" them with a struct.
 * A VM in an even slot has this launchd's own version until it is asked for
 * the second time (somebody has to start it); in an odd one, from the first.
 */
#define STATE2 0x0682U
#define STATE1 0x0681U

int __real_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd);
int __wrap_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd);

/* version, phase, warden_starts, status; then vm, MiB, vCPUs, accel, nics,
 * MAC, padding, kHz, flags */
static const uint8_t state1[48] = { 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 64, 0, 0, 0, 1, 0, 1,
	1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

int
__wrap_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd)
{
	static unsigned int asked;
	uint8_t out[sizeof(state1)];
	const uint8_t *state2 = data;

	if (type != STATE2)
		return __real_msg_send(sock, type, id, data, len, fd);
	if (id != 0)
		asked++;
	if (asked < 2 && getuid() % 2 == 0)
		return __real_msg_send(sock, type, id, data, len, fd);
	memcpy(out, state1, sizeof(out));
	out[4] = state2[6]; /* phase */
	memcpy(out + 12, state2 + 12, 4); /* status */
	if (out[4] == 1) /* waits: no machine yet */
		memset(out + 16, 0, sizeof(out) - 16);
	return __real_msg_send(sock, STATE1, id, out, sizeof(out), fd);
}
