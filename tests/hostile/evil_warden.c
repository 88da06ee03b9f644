#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/boot.h"
#include "proto/chan.h"
#include "proto/spawn.h"
#include "proto/ward.h"
#include "tests/hostile/takeover.h"
#include "warden/warden.h"

/*
 * A VM's warden, taken over, behind its own filter and in its own jail: which
 * lie it tells is its VM's slot (the test's uids begin at a multiple of 256).
 */
#define UID_SPAN 256
#define UID_FIRST 16
#define FLOOD 200000 /* messages; bounded, should nobody stop it */

enum lie { GARBAGE = 1, FOREIGN, FLOODS, SILENT, CLAIMS, CLOSES };

void __real_warden_filter(void);
void __wrap_warden_filter(void);

/* What is not this VM's cannot even be named. */
static void
reach(void)
{
	static const char *const paths[] = { "/run/m/run/api.sock",
		"/run/m/run/vm", "/run/vm", "/vm/../run/m/run/api.sock" };
	size_t i;

	for (i = 0; i < nitems(paths); i++) {
		struct sockaddr_un sun = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		memcpy(sun.sun_path, paths[i], strlen(paths[i]));
		if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 ||
		    errno != ENOENT)
			takeover_said("reached");
		(void)close(fd);
	}
	takeover_said("tried");
}

static void
wait_for(int fd, short what)
{
	struct pollfd p = { .fd = fd, .events = what };

	(void)poll(&p, 1, -1);
}

static void
flood(int sock, const struct ward_state *s)
{
	int i, r;

	for (i = 0; i < FLOOD; i++) {
		r = msg_send(sock, WARD_STATE, 1, s, sizeof(*s), -1);
		if (r == -EAGAIN)
			wait_for(sock, POLLOUT);
		else if (r < 0)
			return;
	}
}

static void
lie(int sock, enum lie which)
{
	struct ward_state s = { .version = WARD_VERSION, .qmp = 1 };
	static const struct spawn_vm vm = { 0 };

	switch (which) {
	case GARBAGE:
		memset(&s, 0xff, sizeof(s));
		(void)msg_send(sock, WARD_STATE, 1, &s, sizeof(s), -1);
		break;
	case FOREIGN:
		(void)msg_send(sock, SPAWN_KILL, 1, &vm, sizeof(vm), -1);
		break;
	case FLOODS:
		flood(sock, &s);
		break;
	case CLAIMS:
		s.running = s.agent = s.ready = 1;
		(void)msg_send(sock, WARD_STATE, 1, &s, sizeof(s), -1);
		break;
	case CLOSES:
		return;
	case SILENT:
		break;
	}
	/* and reads nothing, until the other end is gone */
	wait_for(sock, 0);
}

void
__wrap_warden_filter(void)
{
	const enum lie which = (enum lie)(getuid() % UID_SPAN - UID_FIRST);
	int sock;

	__real_warden_filter();
	reach();
	(void)listen(WARDEN_LISTENER, 1);
	for (;;) {
		wait_for(WARDEN_LISTENER, POLLIN);
		sock = accept4(
		    WARDEN_LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (sock < 0)
			continue;
		lie(sock, which);
		(void)close(sock);
	}
}
