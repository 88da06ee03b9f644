#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/status.h"
#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"
#include "mewsd/table.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define QUICK_MS 10000 /* a room that lived longer starts afresh */
#define STOP_MS 5000 /* what a room may take to end in order */
/* Messages that mewsd hears from one room: a second, and at once. */
#define SAYS_RATE 100
#define SAYS_BURST 1000

static void room_start(struct child *c);
/* The first of those that it starts and ends with; most are alone. */
static struct child *
leader(struct child *c)
{
	const enum room with = room_row(c->room)->with;

	return with != ROOM_MEWSD ? &c->mewsd->child[with] : c;
}

/* The next one that starts and ends with c, c included; NULL: that was all. */
static struct child *
next_together(struct child *c, uint32_t *i)
{
	struct mewsd *m = c->mewsd;

	while (*i < ROOM_MAX) {
		struct child *other = &m->child[(*i)++];

		if (room_stays(other->room) && leader(other) == leader(c))
			return other;
	}
	return NULL;
}

static void
timer_set(struct child *c, long ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (event_add(c->timer, &tv) < 0)
		fatal("timer of %s", room_name(c->room));
}

static void
restart_later(struct child *c)
{
	long ms = 0;

	/* this death is counted already; the first two cost no time */
	if (clock_ms() - c->started_ms >= QUICK_MS && c->failures > 2)
		c->failures = 2;
	if (c->failures > 2) {
		ms = BACKOFF_MIN_MS;
		ms <<= c->failures < 9 ? c->failures - 3 : 6;
		if (ms > BACKOFF_MAX_MS)
			ms = BACKOFF_MAX_MS;
	}
	timer_set(c, ms);
}

/*
 * It is down: what lives with it is told to end, too, and when all of them are
 * down they start again, so that none meets another's former life.
 */
static void
room_down(struct child *c)
{
	struct child *other;
	bool all = true;
	uint32_t i = 0;

	c->failures++;
	while ((other = next_together(c, &i)) != NULL) {
		if (other->pid == 0)
			continue;
		all = false;
		if (other->chan != NULL)
			(void)chan_send(other->chan, BOOT_STOP, 0, NULL, 0, -1);
		timer_set(other, STOP_MS);
	}
	if (all && !c->mewsd->stopping)
		restart_later(leader(c));
}

static void
on_timer(int fd, short what, void *arg)
{
	struct child *c = arg, *other;
	uint32_t i = 0;

	(void)fd;
	(void)what;
	if (c->pid != 0) {
		log_error("%s: does not end: killed", room_name(c->room));
		child_kill(c);
		return;
	}
	while ((other = next_together(c, &i)) != NULL)
		room_start(other);
}

static void
room_start(struct child *c)
{
	struct mewsd *m = c->mewsd;
	const struct exec x = { .room = c->room,
		.program = room_row(c->room)->program };
	int sock = -1, log = -1;
	pid_t pid;

	if (m->stopping || c->pid != 0)
		return;
	c->started_ms = clock_ms();
	if ((pid = exec_room(m, &x, &sock, &log)) < 0) {
		log_error(
		    "start %s: %s", room_name(c->room), strerrordesc_np(-pid));
		room_down(c);
		return;
	}
	c->pid = pid;
	c->ready = c->doomed = c->leaving = false;
	c->life++;
	bucket_init(&c->says, SAYS_RATE, SAYS_BURST, c->started_ms);
	room_log_open(&c->log, c->room, log);
	watch_reset(&c->watch);
	c->want = 0;
	c->chan = chan_new(m->base, sock, room_name(c->room), &said_ops, c);
	if (c->chan == NULL || plumb_conf(c) < 0) {
		child_kill(c); /* SIGCHLD starts it again */
		return;
	}
	plumb_all(c);
}

/* All of them at once are stopped by somebody who wants to look at them. */
static bool
all_stopped(const struct mewsd *m)
{
	struct watch_seen seen;
	uint32_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		if (m->child[i].pid == 0)
			continue;
		watch_see(m->child[i].pid, &seen);
		if (seen.state != 'T')
			return false;
	}
	return true;
}

static void
room_look(struct child *c)
{
	struct watch_seen seen = { .state = '?' };
	const char *why = NULL;

	plumb_again(c);
	if (c->pid == 0 || c->doomed)
		return;
	/* answers that came while mewsd did not run */
	if (c->chan != NULL)
		chan_drain(c->chan);
	if (watch_wants(&c->watch, c->ready))
		watch_see(c->pid, &seen);
	switch (watch_look(&c->watch, c->ready, &seen)) {
	case WATCH_FINE:
		return;
	case WATCH_ASK:
		if (c->chan != NULL)
			(void)chan_send(c->chan, BOOT_PING,
			    watch_ask(&c->watch), NULL, 0, -1);
		return;
	case WATCH_STOPPED:
		if (!all_stopped(c->mewsd))
			why = "is stopped";
		break;
	case WATCH_BUSY:
		why = "does not answer and keeps a processor busy";
		break;
	case WATCH_ASLEEP:
		why = "does not answer and does nothing";
		break;
	}
	if (why == NULL || !RULE(ROOM_WATCHED))
		return;
	log_error("%s (pid %d) %s: killed", room_name(c->room), c->pid, why);
	child_kill(c);
}

static void
on_look(int fd, short what, void *arg)
{
	struct mewsd *m = arg;
	uint32_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < ROOM_MAX && !m->stopping; i++)
		room_look(&m->child[i]);
}

void
rooms_start(struct mewsd *m)
{
	const struct timeval every = { .tv_sec = WATCH_MS / 1000 };
	uint32_t i;

	logs_init(m);
	m->look = event_new(m->base, -1, EV_PERSIST, on_look, m);
	if (m->look == NULL || event_add(m->look, &every) < 0)
		fatal("timer");
	oneshot_init(m);
	for (i = 0; i < ROOM_MAX; i++) {
		struct child *c = &m->child[i];

		c->room = i;
		c->mewsd = m;
		room_log_init(&c->log, m);
		c->timer = evtimer_new(m->base, on_timer, c);
		c->go_on = evtimer_new(m->base, said_on_go_on, c);
		if (c->timer == NULL || c->go_on == NULL)
			fatal("timer");
	}
	for (i = 0; i < ROOM_MAX; i++) {
		if (room_stays(i))
			room_start(&m->child[i]);
	}
}

static struct child *
child_find(struct mewsd *m, pid_t pid)
{
	size_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		if (m->child[i].pid == pid)
			return &m->child[i];
	}
	return NULL;
}

static bool
all_ended(const struct mewsd *m)
{
	size_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		if (m->child[i].pid != 0)
			return false;
	}
	return !oneshot_any(m);
}

static void
child_reap(struct child *c, int status)
{
	struct mewsd *m = c->mewsd;

	if (WIFSIGNALED(status))
		log_warn("%s (pid %d) ended by signal %d%s", room_name(c->room),
		    c->pid, WTERMSIG(status), status_hint(status));
	else
		log_info("%s (pid %d) ended with %d", room_name(c->room),
		    c->pid, WEXITSTATUS(status));
	c->pid = 0;
	c->ready = c->doomed = false;
	(void)event_del(c->timer);
	(void)event_del(c->go_on);
	room_log_end(&c->log);
	if (c->chan != NULL)
		chan_drain(c->chan); /* its last words */
	chan_free(c->chan);
	c->chan = NULL;
	if (c->room == ROOM_ORCHD)
		oneshot_end_all(m);
	room_down(c);
}

void
rooms_reap(struct mewsd *m)
{
	struct child *c;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if ((c = child_find(m, pid)) != NULL)
			child_reap(c, status);
		else /* or an orphan: mewsd is the subreaper */
			(void)oneshot_reaped(m, pid, status);
	}
	if (m->stopping && all_ended(m))
		(void)event_base_loopbreak(m->base);
}

static void
on_stop_deadline(int fd, short what, void *arg)
{
	struct mewsd *m = arg;
	size_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < ROOM_MAX; i++) {
		if (m->child[i].pid > 0)
			(void)kill(m->child[i].pid, SIGKILL);
	}
}

/* One that lives with another ends by the end of the channel they share. */
static void
room_stop(struct child *c)
{
	const struct room_row *row = room_row(c->room);

	if (c->chan == NULL || (leader(c) != c && leader(c)->pid != 0))
		return;
	c->leaving = row->farewell != 0;
	if (c->leaving)
		(void)chan_send(c->chan, row->farewell, 0, NULL, 0, -1);
	(void)chan_send(c->chan, BOOT_STOP, 0, NULL, 0, -1);
}

void
rooms_stop(struct mewsd *m)
{
	const struct timeval tv = { .tv_sec = STOP_MS / 1000 };
	uint32_t i;

	if (m->stopping)
		return;
	m->stopping = true;
	m->stop_timer = evtimer_new(m->base, on_stop_deadline, m);
	if (m->stop_timer == NULL || event_add(m->stop_timer, &tv) < 0)
		fatal("stop timer");
	oneshot_end_all(m);
	for (i = 0; i < ROOM_MAX; i++)
		room_stop(&m->child[i]);
	if (all_ended(m))
		(void)event_base_loopbreak(m->base);
}
