#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/keep.h"
#include "proto/ward.h"
#include "tests/launchd/jail.h"

/* Stand-in warden: ward.h towards launchd, lines towards the stand-in
 * hypervisor.  Blocking and simple; never shipped. */

#define LISTENER 3
#define CONSOLE 4

static int conn = -1, qmp = -1;
static struct ward_state st = { .version = WARD_VERSION };

static void
tell(uint64_t id)
{
	if (conn >= 0 &&
	    msg_send(conn, WARD_STATE, id, &st, sizeof(st), -1) < 0)
		fd_close(&conn);
}

static void
qmp_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path + 1, "qmp", 3);
	if (fd >= 0 &&
	    connect(fd, (struct sockaddr *)&sa,
		offsetof(struct sockaddr_un, sun_path) + 4) == 0)
		qmp = fd;
	else
		fd_close(&fd);
}

static void
qmp_say(const char *line)
{
	if (qmp >= 0)
		(void)send(qmp, line, strlen(line), MSG_NOSIGNAL);
}

static void
qmp_word(const char *w)
{
	static const struct {
		const char *word;
		size_t off;
	} flags[] = {
		{ "up", offsetof(struct ward_state, qmp) },
		{ "running", offsetof(struct ward_state, running) },
		{ "agent", offsetof(struct ward_state, agent) },
		{ "ready", offsetof(struct ward_state, ready) },
		{ "need", offsetof(struct ward_state, need_spec) },
	};
	size_t i;

	for (i = 0; i < nitems(flags); i++) {
		if (strcmp(w, flags[i].word) == 0)
			((uint8_t *)&st)[flags[i].off] = 1;
	}
	if (st.ready)
		st.need_spec = 0;
	if (strcmp(w, "halted") == 0)
		st.running = 0;
	if (strcmp(w, "off") == 0)
		st.guest_event = EXIT_GUEST_OFF;
	if (strcmp(w, "reset") == 0)
		st.guest_event = EXIT_GUEST_REBOOT;
	if (strncmp(w, "says ", 5) == 0)
		(void)snprintf(st.detail, sizeof(st.detail), "%s", w + 5);
}

static void
qmp_read(void)
{
	char buf[512], *p = buf, *w;
	ssize_t n = recv(qmp, buf, sizeof(buf) - 1, 0);

	if (n <= 0) {
		fd_close(&qmp);
		st.qmp = 0;
		st.running = 0;
		tell(0);
		return;
	}
	buf[n] = '\0';
	while ((w = strsep(&p, "\n")) != NULL)
		qmp_word(w);
	tell(0);
}

/* A warden that was taken over says what it must not. */
static void
junk(char which)
{
	struct ward_state bad = st;

	switch (which) {
	case '0':
		(void)send(conn, "junk", 4, MSG_NOSIGNAL);
		break;
	case '1':
		(void)msg_send(conn, KEEP_STATE, 0, &bad, sizeof(bad), -1);
		break;
	case '2':
		(void)msg_send(conn, WARD_STATE, 0, &bad, 8, -1);
		break;
	case '3':
		(void)msg_send(conn, WARD_STATE, 0, &bad, sizeof(bad), 0);
		break;
	case '4':
		bad.guest_event = 99;
		(void)msg_send(conn, WARD_STATE, 0, &bad, sizeof(bad), -1);
		break;
	default:
		memset(bad.detail, 'x', sizeof(bad.detail));
		(void)msg_send(conn, WARD_STATE, 0, &bad, sizeof(bad), -1);
	}
}

/* All of them, as fast as they are taken. */
static void
flood(unsigned long n)
{
	while (n > 0) {
		struct pollfd p = { .fd = conn, .events = POLLOUT };

		if (msg_send(conn, WARD_STATE, 0, &st, sizeof(st), -1) == 0)
			n--;
		else if (poll(&p, 1, -1) < 0 || (p.revents & POLLHUP) != 0)
			return;
	}
}

/* What launchd answers next: its code, or 1 when a socket came and speaks. */
static int
dialled(uint32_t *cookie)
{
	_Alignas(8) static uint8_t in[MSG_MAX];
	struct msg m = { .fd = -1 };
	struct ward_dialled a = { .code = -EPROTO };
	char got[8] = "";

	if (msg_wait(conn, in, &m, 10000) < 0 || m.type != WARD_DIALLED)
		return -EPROTO;
	memcpy(&a, m.data, sizeof(a));
	if (m.fd >= 0) {
		struct pollfd p = { .fd = m.fd, .events = POLLIN };

		*cookie = a.cookie;
		(void)send(m.fd, "ward", 4, MSG_NOSIGNAL);
		(void)poll(&p, 1, 10000);
		if (recv(m.fd, got, sizeof(got), 0) != 5 ||
		    memcmp(got, "agent", 5) != 0)
			a.code = -EIO;
		else
			a.code = 1;
	}
	fd_close(&m.fd);
	return a.code;
}

/*
 * "dial PORT N READ": asks for N connections and says what came of each.
 * READ 0: reads no answer, and says that it saw one, before the last was
 * asked for.
 */
static void
dial(char *buf, size_t cap)
{
	static struct ward_dial d; /* what it saw last stays */
	unsigned long n, reads, i, asked = 0;
	char *p;
	size_t at = 0;

	d.port = (uint32_t)strtoul(buf + 5, &p, 10);
	n = strtoul(p, &p, 10);
	reads = strtoul(p, NULL, 10);
	for (i = 0; i < n; i++) {
		if (reads == 0)
			d.seen = (uint32_t)i; /* a guess */
		(void)msg_send(conn, WARD_DIAL, 100 + i, &d, sizeof(d), -1);
		asked++;
		if (reads == 1 && at + 8 < cap) {
			at += (size_t)snprintf(
			    buf + at, cap - at, "%d ", dialled(&d.seen));
			asked--;
		}
	}
	while (asked-- > 0 && at + 8 < cap)
		at += (size_t)snprintf(
		    buf + at, cap - at, "%d ", dialled(&d.seen));
}

/* What a jail says on its console or, of no warden's own, its log. */
static void
speak(int fd, const char *text)
{
	(void)!write(fd, text, strlen(text));
}

/* "floods MS": both, as fast as they are taken, and faster. */
static void
floods(unsigned long ms)
{
	static char buf[PIPE_BUF];
	const long long end = clock_ms() + (long long)ms;

	memset(buf, 'f', sizeof(buf));
	buf[sizeof(buf) - 1] = '\n';
	while (clock_ms() < end) {
		(void)!write(STDERR_FILENO, buf, sizeof(buf));
		(void)!write(CONSOLE, buf, sizeof(buf));
	}
}

/* What can be done with those besides: room taken, code run. */
static void
abuse(char *ret, size_t cap)
{
	static const int fds[] = { STDERR_FILENO, CONSOLE };
	size_t i, at = 0;

	for (i = 0; i < nitems(fds); i++) {
		void *p;

		if (fallocate(fds[i], FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == 0)
			at += (size_t)snprintf(ret + at, cap - at, "room ");
		if (ftruncate(fds[i], 1 << 20) == 0)
			at += (size_t)snprintf(ret + at, cap - at, "length ");
		p = mmap(
		    NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fds[i], 0);
		if (p != MAP_FAILED)
			at += (size_t)snprintf(ret + at, cap - at, "code ");
	}
	(void)snprintf(ret + at, cap - at, "%d",
	    fcntl(STDERR_FILENO, F_SETFL, O_RDWR) == 0);
}

/* One line from the stream, its answer back, the end. */
static void
stream(int fd)
{
	char buf[512];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	if (n <= 0)
		return;
	buf[n] = '\0';
	if (strcmp(buf, "pid\n") == 0)
		(void)snprintf(buf, sizeof(buf), "%d\n", (int)getpid());
	else if (strncmp(buf, "dial ", 5) == 0)
		dial(buf, sizeof(buf));
	else if (strncmp(buf, "says ", 5) == 0)
		speak(CONSOLE, buf + 5);
	else if (strncmp(buf, "logs ", 5) == 0)
		speak(STDERR_FILENO, buf + 5);
	else if (strncmp(buf, "floods ", 7) == 0)
		floods(strtoul(buf + 7, NULL, 10));
	else if (strcmp(buf, "abuse\n") == 0)
		abuse(buf, sizeof(buf));
	else if (strncmp(buf, "junk ", 5) == 0)
		junk(buf[5]);
	else if (strncmp(buf, "mute ", 5) == 0) {
		st.mute = (uint8_t)strtoul(buf + 5, NULL, 10);
		st.ready = st.mute == WARD_HEARD;
		tell(0);
	} else if (strcmp(buf, "halts\n") == 0) {
		st.halted = 1;
		st.running = 0;
		tell(0);
	} else if (strncmp(buf, "version ", 8) == 0) {
		st.version = (uint32_t)strtoul(buf + 8, NULL, 10);
		tell(0);
	} else if (strncmp(buf, "flood ", 6) == 0)
		flood(strtoul(buf + 6, NULL, 10));
	else {
		while (qmp >= 0 && !st.qmp)
			qmp_read(); /* its greeting is no answer */
		qmp_say(buf);
		n = recv(qmp, buf, sizeof(buf) - 1, 0);
		buf[n < 0 ? 0 : n] = '\0';
	}
	(void)send(fd, buf, strlen(buf), MSG_NOSIGNAL);
}

static void
handle(struct msg *m)
{
	struct launch_stream s;
	struct ward_rung r;
	char line[32];

	switch (m->type) {
	case WARD_HELLO:
		tell(m->id);
		break;
	case WARD_RUN:
		qmp_say("cont\n");
		break;
	case WARD_SPEC:
		qmp_say("spec\n");
		break;
	case WARD_RUNG:
		memcpy(&r, m->data, sizeof(r));
		if (r.grace_ms != 0 && st.version < WARD_VERSION_SIGNAL)
			_exit(9); /* a breach, to one of those */
		if (r.grace_ms != 0) {
			(void)snprintf(
			    line, sizeof(line), "grace %u\n", r.grace_ms);
			speak(CONSOLE, line);
		}
		(void)snprintf(line, sizeof(line), "rung %u\n", r.rung);
		qmp_say(line);
		break;
	case WARD_ORPHANS:
		if (st.version < WARD_VERSION_ORPHANS)
			_exit(9);
		speak(CONSOLE, "orphans\n");
		break;
	case WARD_STREAM:
		memcpy(&s, m->data, sizeof(s));
		if (s.kind > STREAM_CONSOLE && st.version < WARD_VERSION_SIGNAL)
			_exit(9);
		stream(m->fd);
		break;
	default:
		_exit(9);
	}
}

static void
serve(void)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];

	if (listen(LISTENER, 4) < 0)
		_exit(8);
	for (;;) {
		struct pollfd p[3] = { { .fd = LISTENER, .events = POLLIN },
			{ .fd = conn, .events = POLLIN },
			{ .fd = qmp, .events = POLLIN } };
		struct msg m = { .fd = -1 };
		int n;

		if (qmp < 0)
			qmp_connect();
		p[2].fd = qmp;
		n = poll(p, 3, qmp < 0 ? 50 : WARD_BEAT_MS / 4);
		if (n < 0)
			_exit(7);
		if (n == 0 && qmp >= 0)
			tell(0);
		if (p[2].revents != 0 && qmp >= 0)
			qmp_read();
		if (p[1].revents != 0 && conn >= 0) {
			int r = msg_recv(conn, buf, &m);

			if (r == 0)
				handle(&m);
			else if (r != -EAGAIN)
				fd_close(&conn);
			fd_close(&m.fd);
		}
		if (p[0].revents != 0) {
			fd_close(&conn);
			conn = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC);
		}
	}
}

int
main(int argc, char *argv[])
{
	const char *path;
	char mem[16];
	char *const vmm[] = { mem, mem, NULL };
	static char *const no_env[] = { NULL };
	struct ward_exec x;

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (standin_filter() < 0)
		return 6;
	if (argc < 2)
		return 3;
	if (strcmp(argv[1], "-x") != 0)
		serve();
	if (pread(WARD_EXEC_FD, &x, sizeof(x), 0) != (ssize_t)sizeof(x))
		return 5;
	(void)snprintf(mem, sizeof(mem), "%u", x.machine.mem_mib);
	path = x.machine.mem_mib == BEHAVE_OTHER
	    ? STAGE_VMM
	    : backend_row(x.machine.backend)->path;
	(void)execve(path, vmm, no_env);
	return 4;
}
