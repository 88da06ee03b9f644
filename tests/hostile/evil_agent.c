#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/file.h"
#include "agent/guest.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/sess.h"
#include "common/util.h"
#include "tests/suite/standin/standin.h"

/*
 * A guest whose agent is somebody else's (I6): pid 1 of a real guest, with
 * the real port.  "evil=bootN" on the kernel's command line: it never becomes
 * ready, and tells every warden that calls the next lie of a list, every
 * third from the Nth on: a warden dials for so long, and then no more.
 * "evil=exec": it answers like the stand-in's agent, so what it says is what
 * a caller asks for (raw, flood, mute, status, lie).
 */
#define PORT_NAME "mews.agent\n"
#define WAITS 2000
#define WAIT_MS 5
#define RAW_MAX (256UL * 1024) /* of one lie; then it is silent */
#define HDR(type, flags, stream, len)                              \
	0, (type), (flags) >> 8, (flags)&255, 0, 0, (stream) >> 8, \
	    (stream)&255, (uint8_t)((uint32_t)(len) >> 24),        \
	    (uint8_t)((len) >> 16), (uint8_t)((len) >> 8), (uint8_t)(len)
enum { DATA, WINDOW, PING, GOAWAY };
enum { SYN = 1, ACK = 2, FIN = 4, RST = 8 };

/* What follows an honest handshake, again and again. */
static const struct raw {
	const char *name;
	uint8_t bytes[24];
	size_t len;
} raws[] = {
	{ "version", { 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 12 },
	{ "type", { HDR(9, 0, 1, 0) }, 12 },
	{ "flags", { HDR(DATA, 0xff00, 1, 0) }, 12 },
	{ "huge-frame", { HDR(DATA, 0, 1, 0xffffffffU) }, 12 },
	{ "stream-0", { HDR(DATA, 0, 0, 4), 'e', 'v', 'i', 'l' }, 16 },
	{ "nobodys-stream", { HDR(DATA, 0, 4711, 4), 'e', 'v', 'i', 'l' }, 16 },
	{ "unsolicited-stream", { HDR(WINDOW, SYN, 2, 0) }, 12 },
	{ "our-streams-again", { HDR(WINDOW, SYN, 1, 0) }, 12 },
	{ "huge-window", { HDR(WINDOW, ACK, 1, 0xffffffffU) }, 12 },
	{ "pings", { HDR(PING, SYN, 0, 7) }, 12 },
	{ "go-away", { HDR(GOAWAY, 0, 0, 2) }, 12 },
	{ "reset", { HDR(DATA, RST, 1, 0), HDR(DATA, FIN, 1, 0) }, 24 },
};
/* And what the stand-in has. */
static const enum mode modes[] = { MODE_AGENT_GARBAGE, MODE_AGENT_WINDOW,
	MODE_HTTP_SPLIT, MODE_HTTP_ENDLESS, MODE_HTTP_INTERIM, MODE_HTTP_BODY };
#define LIES (nitems(raws) + nitems(modes))
#define SHARES 3

struct evil {
	int port;
	bool at_exec;
	struct fake_agent *fake; /* NULL while a raw lie is told */
	const struct raw *raw;
	size_t raw_sent, raw_off;
	uint8_t hello[SESS_HELLO];
	size_t hello_len; /* of a raw lie's warden */
	size_t hello_sent;
	size_t zeros;
	unsigned int lie; /* the next */
};

static void
say(const char *what)
{
	/* ours is not the console any more */
	static int fd = -1;
	char line[80];
	int n = snprintf(line, sizeof(line), "hostile: %s\n", what);

	if (fd < 0)
		fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (write(fd, line, (size_t)n) < 0)
		return;
}

/* A warden that is new here: the lie for it. */
static void
next_lie(struct evil *e)
{
	const unsigned int n = e->lie;

	e->lie += SHARES;
	e->raw = NULL;
	e->raw_sent = e->raw_off = e->hello_len = e->hello_sent = 0;
	if (e->at_exec) {
		e->fake = fake_new(MODE_HONEST);
	} else if (n < nitems(raws)) {
		e->raw = &raws[n];
		e->fake = NULL;
		say(e->raw->name);
	} else if (n < LIES) {
		e->fake = fake_new(modes[n - nitems(raws)]);
		say(mode_names[modes[n - nitems(raws)]]);
	} else {
		e->fake = fake_new(MODE_AGENT_MUTE);
		say("mute");
	}
}

static void
take(struct evil *e, const uint8_t *p, size_t len)
{
	size_t i;

	if (e->fake != NULL) {
		if (fake_input(e->fake, p, len) < 0)
			fatal("out of memory");
		return;
	}
	for (i = 0; i < len && e->hello_len < sizeof(e->hello); i++) {
		if (p[i] != 0 || e->hello_len > 0)
			e->hello[e->hello_len++] = p[i];
	}
}

/* Many zeros in a row are how a warden begins (common/sess.h). */
static void
take_all(struct evil *e, const uint8_t *p, size_t len)
{
	size_t i, from = 0;

	for (i = 0; i < len; i++) {
		e->zeros = p[i] == 0 ? e->zeros + 1 : 0;
		if (e->zeros != SESS_LOST_ZEROS)
			continue;
		from = i;
		next_lie(e);
	}
	take(e, p + from, len - from);
}

static size_t
out_raw(const struct evil *e, const uint8_t **p)
{
	if (e->raw == NULL || e->hello_len < sizeof(e->hello))
		return 0;
	if (e->hello_sent < sizeof(e->hello)) {
		*p = e->hello + e->hello_sent;
		return sizeof(e->hello) - e->hello_sent;
	}
	*p = e->raw->bytes + e->raw_off;
	return e->raw_sent < RAW_MAX ? e->raw->len - e->raw_off : 0;
}

static void
drained_raw(struct evil *e, size_t n)
{
	if (e->hello_sent < sizeof(e->hello)) {
		e->hello_sent += n;
		return;
	}
	e->raw_sent += n;
	e->raw_off = (e->raw_off + n) % e->raw->len;
}

static void
give(struct evil *e)
{
	const uint8_t *p = NULL;
	size_t len;
	ssize_t n;

	for (;;) {
		len =
		    e->fake != NULL ? fake_output(e->fake, &p) : out_raw(e, &p);
		if (len == 0 || (n = write(e->port, p, len)) <= 0)
			return;
		if (e->fake != NULL)
			fake_drained(e->fake, (size_t)n);
		else
			drained_raw(e, (size_t)n);
	}
}

static int
port_open(void)
{
	static const char class[] = "/sys/class/virtio-ports";
	char path[512], text[64];
	struct dirent *d;
	DIR *dir;
	int i, fd = -1;

	for (i = 0; fd < 0 && i < WAITS; i++) {
		if ((dir = opendir(class)) == NULL) {
			(void)poll(NULL, 0, WAIT_MS);
			continue;
		}
		while (fd < 0 && (d = readdir(dir)) != NULL) {
			(void)snprintf(
			    path, sizeof(path), "%s/%s/name", class, d->d_name);
			if (d->d_name[0] == '.' ||
			    file_read(path, text, sizeof(text)) < 0 ||
			    strcmp(text, PORT_NAME) != 0)
				continue;
			(void)snprintf(
			    path, sizeof(path), "/dev/%s", d->d_name);
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		(void)closedir(dir);
		if (fd < 0)
			(void)poll(NULL, 0, WAIT_MS);
	}
	return fd;
}

int
main(void)
{
	static struct evil e;
	static uint8_t buf[16384];
	char cmdline[4096] = "";
	ssize_t n;

	log_init("evil", LOG_INFO);
	guest_modules_early();
	guest_setup();
	if (file_read("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		fatal("no command line");
	e.at_exec = strstr(cmdline, "evil=exec") != NULL;
	e.lie = strstr(cmdline, "evil=boot1") != NULL ? 1
	    : strstr(cmdline, "evil=boot2") != NULL   ? 2
						      : 0;
	if ((e.port = port_open()) < 0)
		fatal("no port");
	say("here");
	for (;;) {
		struct pollfd p = { .fd = e.port, .events = POLLIN };

		/* with nobody connected it hangs up all the time */
		if (poll(&p, 1, WAIT_MS) > 0 && (p.revents & POLLIN) == 0)
			(void)poll(NULL, 0, WAIT_MS);
		while ((n = read(e.port, buf, sizeof(buf))) > 0)
			take_all(&e, buf, (size_t)n);
		give(&e);
	}
}
