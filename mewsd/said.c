#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/util.h"
#include "mewsd/mewsd.h"
#include "mewsd/notify.h"
#include "mewsd/table.h"

/* How long mewsd hears nothing from a room that said too much. */
#define SAYS_PAUSE_MS 100

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
	    other->life != p.life || other->doomed || child_is_dead(other))
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

/* mewsd's standard error is the system journal's, where there is one. */
static int
on_audit(void *arg, struct chan *chan, struct msg *m)
{
	const struct child *c = arg;
	struct boot_audit a;
	char hash[2 * sizeof(a.hash) + 1];
	size_t i;

	(void)chan;
	if (c->room != ROOM_ORCHD)
		return -EPERM;
	memcpy(&a, m->data, sizeof(a));
	for (i = 0; i < sizeof(a.hash); i++)
		(void)snprintf(hash + 2 * i, 3, "%02x", a.hash[i]);
	log_info("audit: tenant %lld row %llu hash %s", (long long)a.tenant,
	    (unsigned long long)a.row, hash);
	return 0;
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

static int
on_pong(void *arg, struct chan *chan, struct msg *m)
{
	struct child *c = arg;

	(void)chan;
	return watch_answer(&c->watch, m->id);
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
	{ BOOT_PONG, 0, 0, 0, PH_ANY, NULL, on_message },
	{ BOOT_AUDIT, sizeof(struct boot_audit), 0, 0, PH_ANY, boot_audit_check,
	    on_message },
	{ NET_DONE, 0, 0, 0, PH_ANY, NULL, on_message },
	{ NET_ERR, sizeof(struct net_err), 0, 0, PH_ANY, net_err_check,
	    on_message },
};
static int (*const hears[nitems(handlers)])(void *arg, struct chan *chan,
    struct msg *m) = { on_room_ready, on_fault, on_ended, on_oneshot,
	on_oneshot_fd, on_pong, on_audit, on_torn_down, on_not_torn_down };

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

void
said_on_go_on(int fd, short what, void *arg)
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
	if (closed && (c->pid == 0 || c->mewsd->stopping || child_is_dead(c)))
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

const struct chan_ops said_ops = { handlers, nitems(handlers), on_room_gone };
