#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/button.h"
#include "common/fds.h"
#include "common/log.h"

static bool
has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	    (keys[KEY_POWER / 8] & 1U << KEY_POWER % 8) != 0;
}

static void
on_input(void *arg, uint32_t events)
{
	struct buttons *b = arg;
	struct input_event ev;
	size_t i;

	(void)events;
	for (i = 0; i < b->n; i++) {
		struct watch *w = &b->w[i];
		ssize_t n;

		while (
		    (n = read(w->fd, &ev, sizeof(ev))) == (ssize_t)sizeof(ev)) {
			/* 1: pressed; let go and repeated say nothing new */
			if (ev.type == EV_KEY && ev.code == KEY_POWER &&
			    ev.value == 1)
				b->pressed(b->arg);
		}
		/* a device that went away would wake us for ever */
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			loop_unwatch(w);
	}
}

void
buttons_open(struct buttons *b, void (*pressed)(void *arg), void *arg)
{
	unsigned int i;

	b->pressed = pressed;
	b->arg = arg;
	for (i = 0; i < INPUTS_MAX && b->n < BUTTONS_MAX; i++) {
		struct watch *w = &b->w[b->n];
		char path[32];
		int fd;

		(void)snprintf(path, sizeof(path), "/dev/input/event%u", i);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		*w = (struct watch){ .fn = on_input, .arg = b, .fd = fd };
		if (!has_power_key(fd) || loop_watch(w, EPOLLIN) < 0) {
			fd_close(&fd);
			continue;
		}
		b->n++;
	}
	if (b->n == 0)
		log_warn("no power button");
}
