#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/boot.h"
#include "proto/chan.h"
#include "proto/keep.h"
#include "proto/net.h"
#include "proto/spawn.h"
#include "proto/ward.h"
#include "tests/hostile/takeover.h"
#include "warden/warden.h"

/*
 * A VM's warden, taken over, behind its own filter and in its own jail: which
 * lie it tells is its VM's slot (the test's uids begin at a multiple of 256).
 * With a file /boot/late in its root it first is what it should be, is read
 * back, runs the guest and boots it; then it says what no warden may, one
 * thing each time launchd calls again, and at last is honest once more.
 */
#define UID_SPAN 256
#define UID_FIRST 16
#define FLOOD 200000 /* messages; bounded, should nobody stop it */

enum lie { GARBAGE = 1, FOREIGN, FLOODS, SILENT, CLAIMS, CLOSES };

#define LATE_FILE "/boot/late"
enum late { LATE_SHAPE = 1, LATE_SAYS, LATE_WELL };
#define SIZES 6 /* ways to say it in the wrong size, and then others */
#define FIELDS 6
#define LATE_FLOOD 640

static enum late late; /* 0: it lies at once */

int __real_chan_send(struct chan *c, uint32_t type, uint64_t id,
    const void *data, size_t len, int fd);
int __wrap_chan_send(struct chan *c, uint32_t type, uint64_t id,
    const void *data, size_t len, int fd);
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
flood(int sock, const struct ward_state *s, int n)
{
	int i, r;

	for (i = 0; i < n; i++) {
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
	static const struct spawn_jail jail = { 0 };

	switch (which) {
	case GARBAGE:
		memset(&s, 0xff, sizeof(s));
		(void)msg_send(sock, WARD_STATE, 1, &s, sizeof(s), -1);
		break;
	case FOREIGN:
		(void)msg_send(sock, SPAWN_KILL, 1, &jail, sizeof(jail), -1);
		break;
	case FLOODS:
		flood(sock, &s, FLOOD);
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

/* The shape is wrong. */
static bool
late_size(int sock, unsigned int n, const struct ward_state *s)
{
	static uint8_t big[2 * sizeof(*s)];
	static const struct {
		uint32_t len;
		int fd;
	} rows[SIZES] = { { 0, -1 }, { 4, -1 }, { sizeof(*s) - 1, -1 },
		{ sizeof(*s) + 1, -1 }, { 2 * sizeof(*s), -1 },
		{ sizeof(*s), 2 } };

	memcpy(big, s, sizeof(*s));
	(void)msg_send(sock, WARD_STATE, 1, big, rows[n].len, rows[n].fd);
	return true;
}

/* The shape is right, a field is not. */
static bool
late_field(int sock, unsigned int n, struct ward_state *s)
{
	switch (n) {
	case 0:
		s->version = 0;
		break;
	case 1:
		s->qmp = 2;
		break;
	case 2:
		s->running = 0xff;
		break;
	case 3:
		s->ready = 7;
		break;
	case 4:
		s->guest_event = EXIT_MAX;
		break;
	default:
		memset(s->detail, 'x', sizeof(s->detail));
		break;
	}
	(void)msg_send(sock, WARD_STATE, 1, s, sizeof(*s), -1);
	return true;
}

/* What others may say, with the right shape, about every VM there can be. */
static bool
late_foreign(int sock, unsigned int n)
{
	static const uint8_t zero[256];
	static const struct {
		uint32_t type, len;
		int fd;
	} rows[] = { { WARD_HELLO, sizeof(struct ward_hello), -1 },
		{ WARD_STREAM, sizeof(struct launch_stream), 2 },
		{ SPAWN_KILL, sizeof(struct spawn_jail), -1 },
		{ SPAWN_PREPARED, sizeof(struct spawn_held), 2 },
		{ KEEP_STATE, sizeof(struct keep_state), -1 },
		{ KEEP_STATE2, sizeof(struct keep_state2), -1 },
		{ LAUNCH_EVENT, sizeof(struct launch_event), -1 },
		{ NET_TAP_CLOSE, sizeof(struct net_tap_close), -1 },
		{ BOOT_FAULT, sizeof(struct boot_peer), -1 } };

	if (n >= nitems(rows))
		return false;
	(void)msg_send(sock, rows[n].type, 1, zero, rows[n].len, rows[n].fd);
	return true;
}

static void
send_fds(int sock, const void *data, size_t len, int nfds)
{
	char ctl[CMSG_SPACE(4 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data,
		.iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	const int fds[4] = { 2, 2, 2, 2 };
	struct cmsghdr *c;

	if (nfds > 0) {
		mh.msg_control = ctl;
		mh.msg_controllen = CMSG_LEN((size_t)nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = mh.msg_controllen;
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	(void)sendmsg(sock, &mh, MSG_NOSIGNAL);
}

/* No message at all. */
static bool
late_packet(int sock, unsigned int n, const struct ward_state *s)
{
	static uint8_t big[MSG_MAX + 64];
	struct msg_hdr h = { .type = WARD_STATE, .len = sizeof(*s), .id = 1 };

	switch (n) {
	case 0: /* no whole header */
		send_fds(sock, &h, sizeof(h) - 1, 0);
		break;
	case 1: /* less than its header says */
		memcpy(big, &h, sizeof(h));
		send_fds(sock, big, sizeof(h) + sizeof(*s) - 1, 0);
		break;
	case 2: /* more than a message may have */
		h.len = sizeof(big) - sizeof(h);
		memcpy(big, &h, sizeof(h));
		send_fds(sock, big, sizeof(big), 0);
		break;
	case 3: /* more descriptors than a message may have */
		memcpy(big, &h, sizeof(h));
		memcpy(big + sizeof(h), s, sizeof(*s));
		send_fds(sock, big, sizeof(h) + sizeof(*s), 4);
		break;
	case 4: /* none, which reads like the end */
		send_fds(sock, big, 0, 0);
		break;
	default:
		return false;
	}
	return true;
}

/* All that it may say, and nothing of it true. */
static bool
late_well(int sock, unsigned int n, struct ward_state *s)
{
	static const char text[] = "\033[2J\r\nvm web: crashed \xff %s";
	uint32_t event;

	if (n > 0)
		return false;
	memcpy(s->detail, text, sizeof(text));
	for (event = 0; event < EXIT_MAX; event++) {
		s->guest_event = event;
		s->qmp = event & 1;
		s->running = event >> 1 & 1;
		s->ready = event >> 2 & 1;
		s->agent = !s->ready;
		s->need_spec = !s->agent;
		s->version = event * 0x01010101U + 1;
		(void)msg_send(
		    sock, WARD_STATE, (uint64_t)event * 77, s, sizeof(*s), -1);
	}
	flood(sock, s, LATE_FLOOD);
	return true;
}

static void
lie_late(int sock, const struct ward_state *now)
{
	static unsigned int told;
	struct ward_state s = *now;
	bool lied = false;

	switch (late) {
	case LATE_SHAPE:
		lied = told < SIZES ? late_size(sock, told, &s)
				    : late_packet(sock, told - SIZES, &s);
		break;
	case LATE_SAYS:
		lied = told < FIELDS ? late_field(sock, told, &s)
				     : late_foreign(sock, told - FIELDS);
		break;
	case LATE_WELL:
		lied = late_well(sock, told, &s);
		break;
	}
	takeover_said(lied ? "late" : "honest");
	told += lied;
}

/* Behind the news that the guest is ready, each time it is told. */
int
__wrap_chan_send(struct chan *c, uint32_t type, uint64_t id, const void *data,
    size_t len, int fd)
{
	int r = __real_chan_send(c, type, id, data, len, fd);
	struct ward_state s;

	if (late != 0 && r == 0 && type == WARD_STATE) {
		memcpy(&s, data, sizeof(s));
		if (s.ready)
			lie_late(chan_sock(c), &s);
	}
	return r;
}

void
__wrap_warden_filter(void)
{
	const enum lie which = (enum lie)(getuid() % UID_SPAN - UID_FIRST);
	int sock;

	if (access(LATE_FILE, F_OK) == 0)
		late = (enum late)which;
	__real_warden_filter();
	if (late != 0)
		return; /* and serve */
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
