#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int __real_socketpair(int domain, int type, int protocol, int sv[2]);
int __wrap_socketpair(int domain, int type, int protocol, int sv[2]);

/* In mewsd: where that file is, a room can be started but has no channel to
 * its neighbours, once for each time the file was made. */
#define FILE "/run/m/no-pair"

int
__wrap_socketpair(int domain, int type, int protocol, int sv[2])
{
	static int seen;

	seen = access(FILE, F_OK) == 0 ? seen + 1 : 0;
	if (seen == 2 && unlink(FILE) == 0) {
		errno = EMFILE;
		return -1;
	}
	return __real_socketpair(domain, type, protocol, sv);
}
