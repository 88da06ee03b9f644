#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"
#include "mewsd/notify.h"
#include "mewsd/table.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define QUICK_MS 10000 /* a room that lived longer starts afresh */
#define STOP_MS 5000 /* what a room may take to end in order */
/* Messages that mewsd hears from one room: a second, at once, and how long it
 * hears none once they were more. */
#define SAYS_RATE 100
#define SAYS_BURST 1000
#define SAYS_PAUSE_MS 100

static void room_start(struct child *c);

/* Once every room serves, for the first time. */
static void
tell_ready(struct mewsd *m)
{
	uint32_t i;

	for (i = 0; i < ROOM_MAX && !m->told; i++) {
		if (room_stays(i) && !m->child[i].ready)
			return;
	}
	if (!m->told)
		notify_send("READY=1");
	m->told = true;
}

static int
on_room_ready(void *arg, struct chan *chan, struct msg *m)
{
	struct child *c = arg;

	(void)chan;
	(void)m;
	if (c->ready && RULE(READY_ONCE))
		return -EINVAL;
	c->ready = true;
	log_info("%s serves (pid %d)", room_name(c->room), c->pid);
	tell_ready(c->mewsd);
	return 0;
}

static bool
may_fault(uint32_t from, uint32_t room)
{
	return room_row(room) != NULL &&
	    (room_row(room)->judges & ROOM_BIT(from)) != 0;
}

/* SIGCHLD starts it again, no sooner than its back-off says. */
static void
child_kill(struct child *c)
{
	c->doomed = true;
	(void)kill(c->pid, SIGKILL);
}

/* It ended by itself: SIGCHLD, which is on its way, tells how. */
static bool
is_dead(const struct child *c)
{
	siginfo_t si = { 0 };

	return waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOHANG | WNOWAIT) ==
	    0 &&
	    si.si_pid == c->pid;
}

static int
on_fault(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct child *other;
	struct boot_peer p;

	(void)chan;
	memcpy(&p, m->data, sizeof(p));
	if (!may_fault(c->room, p.room))
		return -EPERM;
	other = &c->mewsd->child[p.room];
	/* it is on its way out as it is, or was already replaced */
	if (c->mewsd->stopping || other->pid == 0 || other->life != p.life)
		return 0;
	log_error(
	    "%s: refused by %s: killed", room_name(p.room), room_name(c->room));
	child_kill(other);
	return 0;
}

/*
 * The other room's channel to orchd ended without a refusal.  Mostly it died,
 * and SIGCHLD sees to it; one that lives on without the channel is replaced.
 */
static int
on_ended(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct child *other;
	struct boot_peer p;

	(void)chan;
	memcpy(&p, m->data, sizeof(p));
	if (c->room != ROOM_ORCHD || !may_fault(c->room, p.room))
		return -EPERM;
	other = &c->mewsd->child[p.room];
	/* a helper that refused orchd closed its end, too, and said so before:
	 * then orchd is the one to go */
	if (other->chan != NULL)
		chan_drain(other->chan);
	if (c->mewsd->stopping || c->doomed || other->pid == 0 ||
	    other->life != p.life || other->doomed || is_dead(other))
		return 0;
	if (RULE(ROOM_ENDED)) {
		log_warn("%s: no channel to %s any more: killed",
		    room_name(p.room), room_name(c->room));
		child_kill(other);
	}
	return 0;
}

static int
on_oneshot(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct boot_oneshot a;

	(void)chan;
	memcpy(&a, m->data, sizeof(a));
	return c->room == ROOM_ORCHD ? oneshot_ask(c->mewsd, &a) : -EPERM;
}

static int
on_oneshot_fd(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct boot_oneshot_fd a;

	(void)chan;
	memcpy(&a, m->data, sizeof(a));
	return c->room == ROOM_ORCHD ? oneshot_attach(c->mewsd, &a, &m->fd)
				     : -EPERM;
}

/* netd's answers to NET_TEARDOWN: one. */
static int
on_torn_down(void *arg, struct chan *chan, struct msg *m)
{
	struct child *c = arg;

	(void)chan;
	(void)m;
	if (c->room != ROOM_NETD || !c->leaving)
		return -EPERM;
	c->leaving = false;
	log_info("bridge and rules are removed");
	return 0;
}

static int
on_not_torn_down(void *arg, struct chan *chan, struct msg *m)
{
	struct child *c = arg;
	struct net_err err;

	(void)chan;
	if (c->room != ROOM_NETD || !c->leaving)
		return -EPERM;
	c->leaving = false;
	memcpy(&err, m->data, sizeof(err));
	log_info("bridge and rules stay: %s", err.msg);
	return 0;
}

static int on_message(void *arg, struct chan *chan, struct msg *m);

/* All that a room may say to root, and who hears it. */
static const struct msg_handler handlers[] = {
	{ BOOT_READY, 0, 0, 0, PH_ANY, NULL, on_message },
	{ BOOT_FAULT, sizeof(struct boot_peer), 0, 0, PH_ANY, boot_peer_check,
	    on_message },
	{ BOOT_ENDED, sizeof(struct boot_peer), 0, 0, PH_ANY, boot_peer_check,
	    on_message },
	{ BOOT_ONESHOT, sizeof(struct boot_oneshot), 0, 0, PH_ANY,
	    boot_oneshot_check, on_message },
	{ BOOT_ONESHOT_FD, sizeof(struct boot_oneshot_fd), 0, 1, PH_ANY,
	    boot_oneshot_fd_check, on_message },
	{ NET_DONE, 0, 0, 0, PH_ANY, NULL, on_message },
	{ NET_ERR, sizeof(struct net_err), 0, 0, PH_ANY, net_err_check,
	    on_message },
};
static int (*const hears[nitems(handlers)])(
    void *arg, struct chan *chan, struct msg *m) = { on_room_ready, on_fault,
	on_ended, on_oneshot, on_oneshot_fd, on_torn_down, on_not_torn_down };

/* What a room says costs mewsd work: no more than so much, whatever it says.
 * The rest waits in its socket, at last in the room. */
static int
on_message(void *arg, struct chan *chan, struct msg *m)
{
	const struct timeval pause = { .tv_usec = SAYS_PAUSE_MS * 1000L };
	struct child *c = arg;
	size_t i;

	if (!bucket_take(&c->says, 1, clock_ms()) && RULE(SAYS_PACE)) {
		chan_hold(chan, true);
		if (event_add(c->go_on, &pause) < 0)
			return -ENOMEM;
	}
	for (i = 0; i < nitems(handlers); i++) {
		if (handlers[i].type == m->type)
			return hears[i](arg, chan, m);
	}
	return -EINVAL;
}

static void
on_go_on(int fd, short what, void *arg)
{
	const struct child *c = arg;

	(void)fd;
	(void)what;
	if (c->chan != NULL)
		chan_hold(c->chan, false);
}

static void
on_room_gone(void *arg, struct chan *chan, enum chan_end end, const char *why)
{
	struct child *c = arg;
	const bool closed = end == CHAN_CLOSED;

	(void)chan;
	/* its end shows in SIGCHLD, and a stop has its deadline; one that lives
	 * on without this channel, or misbehaves, is helped along */
	if (closed && (c->pid == 0 || c->mewsd->stopping || is_dead(c)))
		return;
	if (closed && !RULE(ROOM_CLOSED))
		return;
	/* one on its way to its end is seen here, too: nothing to shout at */
	if (closed)
		log_info("%s: hung up", room_name(c->room));
	else
		log_error("%s: %s: killed", room_name(c->room), why);
	if (c->pid > 0)
		(void)kill(c->pid, SIGKILL);
}

static const struct chan_ops ops = { handlers, nitems(handlers), on_room_gone };

/* The config as one message: boot_common, then the room's own struct. */
static void
conf_send(struct child *c)
{
	const struct room_row *row = room_row(c->room);
	const struct conf *conf = &c->mewsd->conf;
	_Alignas(8) uint8_t own[MSG_PAYLOAD_MAX];
	struct boot_common bc;

	exec_common(conf, c->room, &bc);
	/* a kill point is for the first life only */
	if (c->failures == 0)
		bc.kill = conf->kill;
	memcpy(own, (const char *)conf + row->conf, row->conf_len);
	if (row->fill != NULL)
		row->fill(own);
	(void)chan_send2(
	    c->chan, BOOT_CONF, 0, &bc, sizeof(bc), own, row->conf_len, -1);
}

/* One end to each; a room that is not running gets it when it starts. */
static void
plumb(struct child *a, struct child *b)
{
	struct boot_peer p = { .room = a->room, .life = a->life };
	int sv[2];

	if (a->chan == NULL || b->chan == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		log_error("channel %s-%s: %m", room_name(a->room),
		    room_name(b->room));
		return;
	}
	(void)chan_send(b->chan, BOOT_PEER, 0, &p, sizeof(p), sv[0]);
	p.room = b->room;
	p.life = b->life;
	(void)chan_send(a->chan, BOOT_PEER, 0, &p, sizeof(p), sv[1]);
}

/* Whom a new life can talk with, and what it accepts callers on. */
static void
plumb_all(struct child *c)
{
	const struct room_row *row = room_row(c->room);
	struct mewsd *m = c->mewsd;
	uint32_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		if (room_stays(i) &&
		    ((row->peers & ROOM_BIT(i)) != 0 ||
			(room_row(i)->peers & ROOM_BIT(c->room)) != 0))
			plumb(&m->child[i], c);
	}
	if (row->listener)
		(void)chan_send(c->chan, BOOT_LISTENER, 0, NULL, 0,
		    fcntl(m->listener, F_DUPFD_CLOEXEC, 10));
}

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
	c->chan = chan_new(m->base, sock, room_name(c->room), &ops, c);
	if (c->chan == NULL) {
		child_kill(c); /* SIGCHLD starts it again */
		return;
	}
	conf_send(c);
	plumb_all(c);
}

void
rooms_start(struct mewsd *m)
{
	uint32_t i;

	logs_init(m);
	oneshot_init(m);
	for (i = 0; i < ROOM_MAX; i++) {
		struct child *c = &m->child[i];

		c->room = i;
		c->mewsd = m;
		room_log_init(&c->log, m);
		c->timer = evtimer_new(m->base, on_timer, c);
		c->go_on = evtimer_new(m->base, on_go_on, c);
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
		log_warn("%s (pid %d) ended by signal %d", room_name(c->room),
		    c->pid, WTERMSIG(status));
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
