#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/logfile.h"
#include "mewsd/mewsd.h"
#include "mewsd/table.h"

#define LOG_MODE 0640
#define PAUSE_MS 250 /* of a room that says too much */
#define LAST_READS 4 /* a pipe has 64 KiB unless its room made it longer */

static char buf[65536];

static void
arm(struct event *ev, long ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (event_add(ev, &tv) < 0)
		fatal("timer of the logs");
}

/* Says once that a file cannot be written, and once that it can again. */
static void
tell(struct logs *l, uint32_t room)
{
	const bool bad = logfile_fault(l->file[room], NULL) < 0;
	struct err e;

	if (bad == l->told[room] || l->dir_told)
		return;
	l->told[room] = bad;
	(void)logfile_fault(l->file[room], &e);
	if (bad)
		log_error("log/%s: what %s says is lost until that is mended",
		    e.msg, room_name(room));
	else
		log_info("log/%s.log is written again", room_name(room));
}

/* The folder may have been removed, or come back. */
static void
dir_look(struct mewsd *m)
{
	struct logs *l = &m->logs;
	struct stat st;
	struct err e;
	uint32_t i;

	if (l->dir >= 0 && fstat(l->dir, &st) == 0 && st.st_nlink > 0)
		return;
	fd_close(&l->dir);
	l->dir = dirs_log(&m->conf, &e);
	if (l->dir < 0) {
		l->dir = -1;
		if (!l->dir_told)
			log_error("%s: what the rooms say is lost until that "
				  "is mended",
			    e.msg);
	} else if (l->dir_told)
		log_info("%s is there again", m->conf.log);
	l->dir_told = l->dir < 0;
	for (i = 0; i < ROOM_MAX; i++) {
		if (l->file[i] != NULL)
			logfile_set_dir(l->file[i], l->dir);
	}
}

static void
on_look(int fd, short what, void *arg)
{
	struct mewsd *m = arg;
	struct logs *l = &m->logs;
	bool more;
	uint32_t i;

	(void)fd;
	(void)what;
	dir_look(m);
	more = l->dir < 0;
	for (i = 0; i < ROOM_MAX; i++) {
		if (l->file[i] == NULL)
			continue;
		more |= logfile_look(l->file[i], clock_ms());
		tell(l, i);
	}
	if (more)
		arm(l->look, LOGFILE_LOOK_MS);
}

void
logs_init(struct mewsd *m)
{
	static const struct logfile_conf conf = { .max = LOG_FILE_MAX,
		.rate = LOG_RATE,
		.burst = LOG_BURST,
		.mode = LOG_MODE };
	struct logs *l = &m->logs;
	char name[LOGFILE_NAME_MAX];
	uint32_t i;

	l->dir = -1;
	for (i = 0; i < ROOM_MAX; i++) {
		if (room_row(i) == NULL)
			continue;
		(void)snprintf(name, sizeof(name), "%s.log", room_name(i));
		if (logfile_new(-1, name, &conf, &l->file[i]) < 0)
			fatal("%s: out of memory", name);
	}
	if ((l->look = evtimer_new(m->base, on_look, m)) == NULL)
		fatal("timer of the logs");
	on_look(-1, 0, m);
}

/* One read of what the room said.  False: there is no more at present. */
static bool
copy(struct room_log *l, bool last)
{
	struct logfile *lf = l->mewsd->logs.file[l->room];
	ssize_t n = read(l->fd, buf, sizeof(buf));

	if (n <= 0) {
		/* nobody has the other end any more */
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			(void)event_del(l->rd);
		return false;
	}
	if (last)
		logfile_write_last(lf, buf, (size_t)n, clock_ms());
	else if (!logfile_write(lf, buf, (size_t)n, clock_ms())) {
		tell(&l->mewsd->logs, l->room);
		if (!event_pending(l->mewsd->logs.look, EV_TIMEOUT, NULL))
			arm(l->mewsd->logs.look, LOGFILE_LOOK_MS);
		(void)event_del(l->rd);
		arm(l->resume, PAUSE_MS);
	}
	return true;
}

static void
on_said(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)copy(arg, false);
}

static void
on_resume(int fd, short what, void *arg)
{
	const struct room_log *l = arg;

	(void)fd;
	(void)what;
	if (event_add(l->rd, NULL) < 0)
		fatal("log of %s", room_name(l->room));
}

void
room_log_init(struct room_log *l, struct mewsd *m)
{
	l->mewsd = m;
	l->fd = -1;
	l->resume = evtimer_new(m->base, on_resume, l);
	if (l->resume == NULL)
		fatal("log of a room");
}

void
room_log_open(struct room_log *l, uint32_t room, int fd)
{
	l->room = room;
	l->fd = fd;
	l->rd = event_new(l->mewsd->base, fd, EV_READ | EV_PERSIST, on_said, l);
	if (l->rd == NULL || event_add(l->rd, NULL) < 0)
		fatal("log of %s", room_name(room));
}

void
room_log_end(struct room_log *l)
{
	int i;

	if (l->fd < 0)
		return;
	for (i = 0; i < LAST_READS && copy(l, true); i++)
		;
	event_free(l->rd);
	l->rd = NULL;
	(void)event_del(l->resume);
	fd_close(&l->fd);
}
