#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/file.h"
#include "agent/port.h"
#include "common/log.h"

#define PORT_NAME "mews.agent"
#define WAITS 1000
#define WAIT_MS 5

static void
on_up(void *arg, struct yamux *y)
{
	(void)arg;
	(void)y;
}

static void
on_down(void *arg)
{
	(void)arg;
}

static const struct sess_ops ops = {
	.mux = { .open = conn_open, .event = conn_event },
	.up = on_up,
	.down = on_down,
};

void
port_flush(struct port *p)
{
	const uint8_t *buf;
	size_t len;
	ssize_t n;

	while ((len = sess_output(p->sess, &buf)) > 0) {
		n = write(p->w.fd, buf, len);
		if (n <= 0) {
			/* the edge comes when there is room again; asked for
			 * always, each write would wake us for nothing */
			(void)loop_watch(&p->w, EPOLLIN | EPOLLOUT | EPOLLET);
			return;
		}
		sess_drained(p->sess, (size_t)n);
	}
	(void)loop_watch(&p->w, EPOLLIN | EPOLLET);
}

/*
 * Edge-triggered: with nobody connected the port hangs up all the time, and
 * reads nothing (read(2) gives 0), which is not the end of it.
 */
static void
on_port(void *arg, uint32_t events)
{
	struct port *p = arg;
	uint8_t buf[16384];
	ssize_t n;

	(void)events;
	while ((n = read(p->w.fd, buf, sizeof(buf))) > 0) {
		if (sess_input(p->sess, buf, (size_t)n) < 0)
			fatal("session: out of memory");
		port_flush(p);
	}
	port_flush(p);
}

static int
port_find(char *path, size_t size)
{
	static const char class[] = "/sys/class/virtio-ports";
	struct dirent *d;
	DIR *dir;
	int r = -ENOENT;

	if ((dir = opendir(class)) == NULL)
		return -errno;
	while (r < 0 && (d = readdir(dir)) != NULL) {
		char name[512], text[64];

		if (d->d_name[0] == '.')
			continue;
		(void)snprintf(
		    name, sizeof(name), "%s/%s/name", class, d->d_name);
		if (file_read(name, text, sizeof(text)) < 0 ||
		    strcmp(text, PORT_NAME "\n") != 0)
			continue;
		(void)snprintf(path, size, "/dev/%s", d->d_name);
		r = 0;
	}
	(void)closedir(dir);
	return r;
}

void
port_open(struct port *p, struct agent *a)
{
	char path[300];
	int i, r;

	/* the device is probed while its module loads, its ports come by a
	 * message from the host: give them a moment */
	for (i = 0; (r = port_find(path, sizeof(path))) < 0 && i < WAITS; i++)
		(void)poll(NULL, 0, WAIT_MS);
	if (r < 0)
		fatal("no port " PORT_NAME);
	p->w = (struct watch){ .fn = on_port, .arg = p };
	p->w.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (p->w.fd < 0)
		fatal("%s: %m", path);
	p->sess = sess_new(NULL, CONNS_MAX, &ops, a);
	if (p->sess == NULL)
		fatal("out of memory");
	if (loop_watch(&p->w, EPOLLIN | EPOLLET) < 0)
		fatal("port: %m");
}
