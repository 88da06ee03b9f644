#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "mewsd/mewsd.h"
#include "mewsd/notify.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define QUICK_MS 10000 /* a room that lived longer starts afresh */
#define STOP_MS 5000 /* what a room may take to end in order */
#define LOG_MODE 0640

/* What mewsd starts; the spawner is launchd's own affair. */
static const struct {
	uint32_t room;
	const char *program;
} rooms[] = {
	{ ROOM_ORCHD, "mews-orchd" },
	{ ROOM_API, "mews-apid" },
	{ ROOM_API_ADMIN, "mews-apid" },
	{ ROOM_NETD, "mews-netd" },
	{ ROOM_LAUNCHD, "mews-launchd" },
};

static void room_start(struct child *c);

/* Once every room serves, for the first time. */
static void
tell_ready(struct mewsd *m)
{
	size_t i;

	for (i = 0; i < nitems(rooms) && !m->told; i++) {
		if (!m->child[rooms[i].room].ready)
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
	c->ready = true;
	log_info("%s serves (pid %d)", room_name(c->room), c->pid);
	tell_ready(c->mewsd);
	return 0;
}

/*
 * Who may have whom replaced: those that heard it.  No apid: strangers talk to
 * it, and it has no business with anyone's life.
 */
static bool
may_fault(uint32_t from, uint32_t room)
{
	if (from == ROOM_ORCHD)
		return room == ROOM_API || room == ROOM_API_ADMIN ||
		    room == ROOM_NETD || room == ROOM_LAUNCHD;
	return (from == ROOM_NETD || from == ROOM_LAUNCHD) &&
	    room == ROOM_ORCHD;
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

/* netd's answers to NET_TEARDOWN. */
static int
on_torn_down(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;

	(void)chan;
	(void)m;
	if (c->room != ROOM_NETD)
		return -EPERM;
	log_info("bridge and rules are removed");
	return 0;
}

static int
on_not_torn_down(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct net_err err;

	(void)chan;
	if (c->room != ROOM_NETD)
		return -EPERM;
	memcpy(&err, m->data, sizeof(err));
	log_info("bridge and rules stay: %s", err.msg);
	return 0;
}

/* All that a room may say to root. */
static const struct msg_handler handlers[] = {
	{ BOOT_READY, 0, 0, 0, PH_ANY, NULL, on_room_ready },
	{ BOOT_FAULT, sizeof(struct boot_peer), 0, 0, PH_ANY, boot_peer_check,
	    on_fault },
	{ BOOT_ENDED, sizeof(struct boot_peer), 0, 0, PH_ANY, boot_peer_check,
	    on_ended },
	{ NET_DONE, 0, 0, 0, PH_ANY, NULL, on_torn_down },
	{ NET_ERR, sizeof(struct net_err), 0, 0, PH_ANY, net_err_check,
	    on_not_torn_down },
};

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

/*
 * The staged tree by its real name: "current" may point elsewhere after an
 * upgrade, and what a life of launchd started is verified against what it
 * was started from.
 */
static void
stage_pin(struct launchd_conf *launch)
{
	char path[PATH_MAX];

	if (realpath(launch->stage, path) == NULL)
		log_error("stage %s: %m", launch->stage);
	else if (strlen(path) >= sizeof(launch->stage))
		log_error("stage %s: its real path is too long", launch->stage);
	else
		memcpy(launch->stage, path, strlen(path) + 1);
}

/* The room's own struct behind boot_common; returns its size. */
static size_t
room_conf(const struct conf *c, uint32_t room, uint8_t *buf)
{
	const struct apid_conf api = { .max_conns = c->max_conns,
		.idle_ms = c->idle_ms };
	struct launchd_conf launch;
	const void *src = &api;
	size_t len = sizeof(api);

	switch ((enum room)room) {
	case ROOM_ORCHD:
		src = &c->orchd;
		len = sizeof(c->orchd);
		break;
	case ROOM_NETD:
		src = &c->netd;
		len = sizeof(c->netd);
		break;
	case ROOM_LAUNCHD:
		launch = c->launchd;
		stage_pin(&launch);
		src = &launch;
		len = sizeof(launch);
		break;
	case ROOM_API:
	case ROOM_API_ADMIN:
		break;
	case ROOM_MEWSD:
	case ROOM_SPAWNER:
	case ROOM_MAX:
		return 0;
	}
	memcpy(buf, src, len);
	return len;
}

static size_t
boot_fill(const struct child *child, uint8_t *buf)
{
	const struct conf *c = &child->mewsd->conf;
	const uint32_t room = child->room;
	struct boot_common bc = { .version = BOOT_VERSION,
		.room = room,
		.uid = c->user[room].uid,
		.gid = c->user[room].gid,
		.log_level = (uint32_t)c->log_level,
		.nofile = c->nofile };
	size_t len;

	/* a kill point is for the first life only */
	if (child->failures == 0)
		bc.kill = c->kill;
	len = room_conf(c, room, buf + sizeof(bc));
	memcpy(bc.root, c->root[room], sizeof(bc.root));
	memcpy(buf, &bc, sizeof(bc));
	return sizeof(bc) + len;
}

/* One end to each; a room that is not running gets it when it starts. */
static void
plumb(struct mewsd *m, uint32_t room)
{
	struct child *orch = &m->child[ROOM_ORCHD], *c = &m->child[room];
	struct boot_peer p = { .room = ROOM_ORCHD, .life = orch->life };
	int sv[2];

	if (orch->chan == NULL || c->chan == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		log_error("channel orchd-%s: %m", room_name(room));
		return;
	}
	(void)chan_send(c->chan, BOOT_PEER, 0, &p, sizeof(p), sv[0]);
	p.room = room;
	p.life = c->life;
	(void)chan_send(orch->chan, BOOT_PEER, 0, &p, sizeof(p), sv[1]);
}

static void
plumb_all(struct mewsd *m, uint32_t room)
{
	size_t i;

	if (room != ROOM_ORCHD) {
		plumb(m, room);
		return;
	}
	for (i = 0; i < nitems(rooms); i++) {
		if (rooms[i].room != ROOM_ORCHD)
			plumb(m, rooms[i].room);
	}
	(void)chan_send(m->child[ROOM_ORCHD].chan, BOOT_LISTENER, 0, NULL, 0,
	    fcntl(m->listener, F_DUPFD_CLOEXEC, 10));
}

static int
log_open(const struct conf *c, uint32_t room)
{
	char path[2 * BOOT_PATH_MAX];
	int fd;

	(void)snprintf(
	    path, sizeof(path), "%s/%s.log", c->log, room_name(room));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
	    LOG_MODE);
	if (fd < 0)
		log_error("%s: %m", path);
	return fd;
}

/* In the child: descriptors 0-4 as boot.h says, nothing else, then exec. */
_Noreturn static void
child_exec(const struct child *c, int chan, int log)
{
	const struct mewsd *m = c->mewsd;
	char *argv[] = { (char *)(uintptr_t)c->program, NULL };
	/* no environment; its place is what setproctitle(3bsd) writes to */
	static char title[] = "_=                                             "
			      "                                              ";
	char *envp[] = { title, NULL };
	sigset_t none;
	int nul, bindir, fds[BOOT_NFDS], i;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Ctrl-C is for mewsd: rooms end by their channels, netd not before
	 * it has taken its bridge down */
	(void)setsid();
	if ((nul = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		_exit(127);
	fds[0] = fds[1] = nul;
	fds[2] = log;
	fds[BOOT_FD] = chan;
	fds[BOOT_LOCK_FD] = m->lock;
	/* out of the way first, so that none is overwritten before its turn */
	for (i = 0; i < BOOT_NFDS; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
		if (fds[i] < 0)
			_exit(127);
	}
	bindir = fcntl(m->bindir, F_DUPFD_CLOEXEC, 64);
	for (i = 0; i < BOOT_NFDS; i++) {
		if (dup2(fds[i], i) < 0)
			_exit(127);
	}
	(void)execveat(bindir, c->program, argv, envp, 0);
	fatal("%s: %m", c->program);
}

static void
restart_later(struct child *c)
{
	long ms = 0;
	struct timeval tv;

	if (c->mewsd->stopping)
		return;
	if (clock_ms() - c->started_ms >= QUICK_MS && c->failures > 1)
		c->failures = 1;
	if (c->failures > 1) {
		ms = BACKOFF_MIN_MS;
		ms <<= c->failures < 8 ? c->failures - 2 : 6;
		if (ms > BACKOFF_MAX_MS)
			ms = BACKOFF_MAX_MS;
	}
	c->failures++;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	if (event_add(c->restart, &tv) < 0)
		fatal("restart timer");
}

static void
on_restart(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	room_start(arg);
}

static void
room_start(struct child *c)
{
	struct mewsd *m = c->mewsd;
	_Alignas(8) uint8_t conf[MSG_PAYLOAD_MAX];
	int sv[2] = { -1, -1 }, log;
	size_t len;
	pid_t pid;

	if (m->stopping)
		return;
	c->started_ms = clock_ms();
	log = log_open(&m->conf, c->room);
	if (log < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		log_error("start %s: %m", room_name(c->room));
		goto again;
	}
	if ((pid = fork()) < 0) {
		log_error("fork %s: %m", room_name(c->room));
		goto again;
	}
	if (pid == 0)
		child_exec(c, sv[1], log);
	close_fd(&sv[1]);
	close_fd(&log);
	c->pid = pid;
	c->ready = c->doomed = false;
	c->life++;
	c->chan = chan_new(m->base, sv[0], room_name(c->room), &ops, c);
	if (c->chan == NULL) {
		(void)kill(pid, SIGKILL); /* SIGCHLD starts it again */
		return;
	}
	len = boot_fill(c, conf);
	(void)chan_send(c->chan, BOOT_CONF, 0, conf, len, -1);
	plumb_all(m, c->room);
	return;
again:
	close_fd(&log);
	close_fd(&sv[0]);
	close_fd(&sv[1]);
	restart_later(c);
}

void
rooms_start(struct mewsd *m)
{
	size_t i;

	for (i = 0; i < nitems(rooms); i++) {
		struct child *c = &m->child[rooms[i].room];

		c->room = rooms[i].room;
		c->program = rooms[i].program;
		c->mewsd = m;
		c->restart = evtimer_new(m->base, on_restart, c);
		if (c->restart == NULL)
			fatal("restart timer");
	}
	for (i = 0; i < nitems(rooms); i++)
		room_start(&m->child[rooms[i].room]);
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
	return true;
}

void
rooms_reap(struct mewsd *m)
{
	struct child *c;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if ((c = child_find(m, pid)) == NULL)
			continue; /* an orphan: mewsd is the subreaper */
		if (WIFSIGNALED(status))
			log_warn("%s (pid %d) ended by signal %d",
			    room_name(c->room), pid, WTERMSIG(status));
		else
			log_info("%s (pid %d) ended with %d",
			    room_name(c->room), pid, WEXITSTATUS(status));
		c->pid = 0;
		c->ready = c->doomed = false;
		if (c->chan != NULL)
			chan_drain(c->chan); /* its last words */
		chan_free(c->chan);
		c->chan = NULL;
		restart_later(c);
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

void
rooms_stop(struct mewsd *m)
{
	const struct timeval tv = { .tv_sec = STOP_MS / 1000 };
	size_t i;

	if (m->stopping)
		return;
	m->stopping = true;
	m->stop_timer = evtimer_new(m->base, on_stop_deadline, m);
	if (m->stop_timer == NULL || event_add(m->stop_timer, &tv) < 0)
		fatal("stop timer");
	/* bridge and rules stay while a tap is held: netd looks by itself */
	if (m->child[ROOM_NETD].chan != NULL)
		(void)chan_send(
		    m->child[ROOM_NETD].chan, NET_TEARDOWN, 0, NULL, 0, -1);
	for (i = 0; i < ROOM_MAX; i++) {
		if (m->child[i].chan != NULL)
			(void)chan_send(
			    m->child[i].chan, BOOT_STOP, 0, NULL, 0, -1);
	}
	if (all_ended(m))
		(void)event_base_loopbreak(m->base);
}
