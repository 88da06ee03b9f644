#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/kill.h"
#include "spawner/accel.h"
#include "spawner/spawner.h"
#include "spawner/verbs.h"

/* All that the spawner can be asked.  What is not here ends the spawner:
 * its only peer is launchd, and launchd does not say such things. */

/* launchd always reads, so waiting for it cannot last. */
static void
answer(struct spawner *sp, uint32_t type, uint64_t id, const void *data,
    size_t len, int fd)
{
	struct pollfd p = { .fd = sp->chan, .events = POLLOUT };
	int r;

	kill_point(type, KILL_BEFORE);
	while ((r = msg_send(sp->chan, type, id, data, len, fd)) == -EAGAIN)
		(void)poll(&p, 1, 100);
	if (r < 0)
		fatal("launchd is gone: %s", strerrordesc_np(-r));
	kill_point(type, KILL_AFTER);
}

static void
answer_err(struct spawner *sp, uint64_t id, const struct jail_id *j, int r,
    const struct err *e)
{
	struct launch_err le = { .vm = j->id, .code = r };

	(void)snprintf(le.msg, sizeof(le.msg), "%.190s", e->msg);
	answer(sp, SPAWN_ERR, id, &le, sizeof(le), -1);
}

static void
answer_held(
    struct spawner *sp, uint32_t type, uint64_t id, const struct held *held)
{
	bool alive = held_alive(sp, held) == 0;
	struct spawn_held h = { .jail = held->rec.jail,
		.pid = alive ? held->rec.pid : 0,
		.uid = held->rec.uid,
		.slot = held->rec.slot,
		.alive = alive,
		.fault = held->is_lost,
		.cid = held->rec.cid };

	answer(sp, type, id, &h, sizeof(h), alive ? held->pidfd : -1);
}

static void
on_prepare(struct spawner *sp, const struct msg *m)
{
	const uint8_t *tail =
	    (const uint8_t *)m->data + sizeof(struct spawn_prepare);
	struct spawn_prepare p;
	struct machine mach;
	struct held *h = NULL;
	struct err e = { 0 };
	int r;

	memcpy(&p, m->data, sizeof(p));
	if (machine_get(tail, m->len - sizeof(p), &mach) < 0) {
		fatal("refused message 0x%04x: no machine", m->type);
		return;
	}
	if ((r = jail_prepare(sp, &p, &mach, &h, &e)) < 0)
		answer_err(sp, m->id, &p.jail, r, &e);
	else
		answer_held(sp, SPAWN_PREPARED, m->id, h);
}

static void
on_verify(struct spawner *sp, const struct msg *m)
{
	struct spawn_verify v;
	struct spawn_verified ok = { 0 };
	struct err e = { 0 };
	int r;

	memcpy(&v, m->data, sizeof(v));
	if ((r = jail_verify(sp, &v, &ok, &e)) < 0)
		answer_err(sp, m->id, &v.jail, r, &e);
	else
		answer(sp, SPAWN_VERIFIED, m->id, &ok, sizeof(ok), -1);
}

static void
on_jail(struct spawner *sp, const struct msg *m,
    int (*fn)(struct spawner *, const struct jail_id *, struct err *))
{
	struct spawn_jail v;
	struct err e = { 0 };
	int r;

	memcpy(&v, m->data, sizeof(v));
	if ((r = fn(sp, &v.jail, &e)) < 0)
		answer_err(sp, m->id, &v.jail, r, &e);
	else
		answer(sp, SPAWN_DONE, m->id, &v, sizeof(v), -1);
}

static void
on_kill(struct spawner *sp, const struct msg *m)
{
	on_jail(sp, m, jail_kill);
}

static void
on_release(struct spawner *sp, const struct msg *m)
{
	on_jail(sp, m, jail_release);
}

/* A VM that has ended: what its group counted.  Always an answer: launchd
 * waits for it before it names the end. */
static void
on_count(struct spawner *sp, const struct msg *m)
{
	struct spawn_jail v;
	struct spawn_counted c = { 0 };
	char name[JAIL_NAME_MAX + 1];
	int r;

	memcpy(&v, m->data, sizeof(v));
	if ((r = jail_count(sp, &v.jail, &c)) < 0) {
		jail_name(&v.jail, name);
		log_warn("jail %s: its group: %s", name, strerrordesc_np(-r));
	}
	answer(sp, SPAWN_COUNTED, m->id, &c, sizeof(c), -1);
}

/* Folders in one place alone: what a crash left between two steps. */
static uint32_t
list_orphans(struct spawner *sp, uint64_t id, int parent)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	uint32_t n = 0;

	while (d != NULL && (de = readdir(d)) != NULL) {
		struct spawn_held h = { .slot = UINT16_MAX };

		if (jail_name_parse(de->d_name, &h.jail) < 0 ||
		    held_find(sp, &h.jail) != NULL)
			continue;
		answer(sp, SPAWN_HELD, id, &h, sizeof(h), -1);
		n++;
	}
	if (d != NULL)
		(void)closedir(d);
	return n;
}

static void
on_list(struct spawner *sp, const struct msg *m)
{
	struct launch_count c = { 0 };
	struct held *h;

	for (h = held_next(sp, NULL); h != NULL; h = held_next(sp, h)) {
		answer_held(sp, SPAWN_HELD, m->id, h);
		c.n++;
	}
	c.n += list_orphans(sp, m->id, sp->state_fd);
	answer(sp, SPAWN_LIST_END, m->id, &c, sizeof(c), -1);
}

static void
on_accel(struct spawner *sp, const struct msg *m)
{
	struct spawn_accel a;
	struct spawn_jail none = { 0 };
	int r;

	memcpy(&a, m->data, sizeof(a));
	sp->caps.accel = (uint8_t)a.accel;
	if ((r = accel_save(sp, a.accel)) < 0)
		log_warn("accelerator not kept: %s", strerrordesc_np(-r));
	answer(sp, SPAWN_DONE, m->id, &none, sizeof(none), -1);
}

/* A jail's share of our time, whoever it is that asks.  True: answered. */
static bool
too_often(struct spawner *sp, const struct msg *m)
{
	struct jail_id j;
	struct err e = { 0 };
	struct held *h;

	memcpy(&j, m->data, sizeof(j)); /* which they all begin with */
	if (!RULE(SPAWN_OFTEN) || (h = held_find(sp, &j)) == NULL ||
	    bucket_take(&h->verbs, 1, clock_ms()))
		return false;
	answer_err(sp, m->id, &j,
	    err_set(&e, -EAGAIN, "more than %u verbs a second for one jail",
		h->verbs.rate),
	    &e);
	return true;
}

static const struct {
	bool of_jail; /* its share is counted */
	uint32_t type;
	uint32_t len;
	uint32_t tail_max; /* bytes that may follow */
	int (*check)(const void *);
	void (*fn)(struct spawner *, const struct msg *);
} verbs[] = {
	{ true, SPAWN_PREPARE, sizeof(struct spawn_prepare),
	    sizeof(struct machine), spawn_prepare_check, on_prepare },
	{ true, SPAWN_VERIFY, sizeof(struct spawn_verify), 0,
	    spawn_verify_check, on_verify },
	{ true, SPAWN_KILL, sizeof(struct spawn_jail), 0, spawn_jail_check,
	    on_kill },
	{ true, SPAWN_RELEASE, sizeof(struct spawn_jail), 0, spawn_jail_check,
	    on_release },
	{ false, SPAWN_LIST, 0, 0, NULL, on_list },
	{ false, SPAWN_ACCEL, sizeof(struct spawn_accel), 0, spawn_accel_check,
	    on_accel },
	{ true, SPAWN_COUNT, sizeof(struct spawn_jail), 0, spawn_jail_check,
	    on_count },
};

void
spawner_dispatch(struct spawner *sp, const struct msg *m)
{
	size_t i;

	for (i = 0; i < nitems(verbs) && verbs[i].type != m->type; i++)
		;
	/* descriptors never travel towards root (I12) */
	if (i == nitems(verbs) ||
	    (RULE(SPAWN_SHAPE) &&
		(m->fd != -1 || m->len < verbs[i].len ||
		    m->len - verbs[i].len > verbs[i].tail_max ||
		    (verbs[i].check != NULL && verbs[i].check(m->data) < 0)))) {
		fatal("refused message 0x%04x of %u bytes", m->type, m->len);
		return;
	}
	kill_point(m->type, KILL_BEFORE);
	if (!verbs[i].of_jail || !too_often(sp, m))
		verbs[i].fn(sp, m);
	kill_point(m->type, KILL_AFTER);
}
