#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/chan.h"
#include "proto/keep.h"

/*
 * A keeper that was taken over once its VM ran: linked to the keeper as it
 * ships, in msg_send's place.  From the second launchd on, in an even slot, it
 * says its state again and again as fast as it is read; in an odd one it hangs
 * up on whoever asks, and writes an h for each into its log.
 */
int __real_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd);
int __wrap_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd);

static void
flood(int sock, const void *data, size_t len)
{
	struct pollfd p = { .fd = sock, .events = POLLOUT };

	while (poll(&p, 1, -1) > 0 && (p.revents & POLLHUP) == 0)
		(void)__real_msg_send(sock, KEEP_STATE2, 0, data, len, -1);
}

int
__wrap_msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd)
{
	static unsigned int asked;
	int r;

	asked += type == KEEP_STATE2 && id != 0;
	if (asked >= 2 && getuid() % 2 == 1) {
		(void)!write(2, "h\n", 2);
		(void)shutdown(sock, SHUT_RDWR);
		return 0;
	}
	r = __real_msg_send(sock, type, id, data, len, fd);
	if (asked >= 2)
		flood(sock, data, len);
	return r;
}
