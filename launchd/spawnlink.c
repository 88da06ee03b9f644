#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/launchd.h"

/* Talk with the spawner.  It answers in order; an answer whose id no VM
 * waits for any more is dropped with its descriptor. */

int
spawner_ask(struct lvm *v, uint32_t type, const void *data, size_t len)
{
	v->spawn_id = v->ld->next_id++;
	v->spawn_verb = type;
	return chan_send(v->ld->spawner, type, v->spawn_id, data, len, -1);
}

/* The VM that waits for this answer; NULL: none does. */
static struct lvm *
waiter_take(struct launchd *ld, uint64_t id)
{
	struct lvm *v;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->spawn_id == id && !v->freed) {
			v->spawn_id = 0;
			return v;
		}
	}
	return NULL;
}

static int
on_caps(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;

	(void)c;
	memcpy(&ld->caps, m->data, sizeof(ld->caps));
	ld->accel = ld->caps.accel;
	log_info("cgroup: %s", ld->caps.cgroup ? "v2" : ld->caps.why);
	return 0;
}

static int
on_prepared(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = waiter_take(arg, m->id);
	struct spawn_held h;

	(void)c;
	memcpy(&h, m->data, sizeof(h));
	if (v == NULL)
		return 0;
	if (!h.alive || m->fd < 0) {
		v->reason = v->reason != EXIT_NONE ? v->reason : EXIT_KEEPER;
		(void)lvm_step(v, E_DEAD);
		return 0;
	}
	if (lvm_hold(v, &h, m->fd) < 0)
		fatal("out of memory");
	m->fd = -1;
	(void)lvm_step(v, E_PREPARED);
	if (v->releasing)
		(void)lvm_step(v, E_RELEASE);
	else if (v->reason != EXIT_NONE)
		(void)lvm_step(v, E_KILL);
	return 0;
}

static int
on_verified(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = waiter_take(arg, m->id);
	struct spawn_verified ok;

	(void)c;
	memcpy(&ok, m->data, sizeof(ok));
	if (v != NULL)
		ward_verified(v, &ok);
	return 0;
}

static int
on_counted(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = waiter_take(arg, m->id);
	struct spawn_counted sc;

	(void)c;
	memcpy(&sc, m->data, sizeof(sc));
	if (v != NULL)
		lvm_counted(v, &sc);
	return 0;
}

static void
released(struct lvm *v)
{
	struct launchd *ld = v->ld;
	bool probe = v->uid == PROBE_VM;

	orchd_released(v, 0, NULL);
	lvm_free_soon(v);
	if (probe && ld->accel == ACCEL_UNKNOWN)
		probe_start(ld);
}

/* KILL or RELEASE was done. */
static int
on_done(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = waiter_take(arg, m->id);

	(void)c;
	/* a kill is over when the pidfd says so, not before */
	if (v != NULL && v->state == L_FREEING && v->pid == 0 &&
	    v->spawn_verb == SPAWN_RELEASE)
		released(v);
	return 0;
}

static void
release_refused(struct lvm *v, int code, const char *why)
{
	/* dead, but its parent has not reaped it yet */
	if (code == -EBUSY && ++v->tries < 1000) {
		lvm_arm(v, 10);
		return;
	}
	log_error("vm %s: not released: %s", v->name, why);
	orchd_released(v, code, why);
	lvm_arm(v, 5000); /* and on: nothing may leak */
}

static int
on_err(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = waiter_take(arg, m->id);
	struct launch_err e;

	(void)c;
	memcpy(&e, m->data, sizeof(e));
	if (v == NULL)
		return 0;
	/* a refused read-back must not pass for a refused release */
	if (v->state == L_FREEING && v->spawn_verb != SPAWN_RELEASE) {
		log_warn("vm %s: spawner: %s", v->name, e.msg);
		return 0;
	}
	switch (v->state) {
	case L_PREPARE:
		if (v->reason == EXIT_NONE) {
			v->reason = EXIT_START_FAILED;
			lvm_set_detail(v, e.msg);
		}
		(void)lvm_step(v, E_DEAD);
		break;
	case L_WARDEN:
	case L_RUNNING:
	case L_READY:
	case L_STOPPING:
		ward_not_verified(v, e.code, e.msg);
		break;
	case L_FREEING:
		release_refused(v, e.code, e.msg);
		break;
	case L_NEW:
	case L_ACCEL:
	case L_KEEPER:
	case L_KILLING:
	case L_ENDED:
	case L_GONE:
	case L_STATES:
		log_warn("vm %s: spawner: %s", v->name, e.msg);
		break;
	}
	return 0;
}

static int
on_held(void *arg, struct chan *c, struct msg *m)
{
	struct spawn_held h;

	(void)c;
	memcpy(&h, m->data, sizeof(h));
	adopt_held(arg, &h, &m->fd);
	return 0;
}

static int
on_list_end(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;

	(void)c;
	(void)m;
	ld->listed = true;
	adopt_check(ld);
	return 0;
}

static void
spawner_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	(void)arg;
	(void)end;
	(void)c;
	fatal("spawner: %s", why); /* we end together */
}

static const struct msg_handler handlers[] = {
	{ SPAWN_CAPS, sizeof(struct launch_caps), 0, 0, PH_ANY,
	    launch_caps_check, on_caps },
	{ SPAWN_PREPARED, sizeof(struct spawn_held), 0, FD_OPT, PH_ANY,
	    spawn_held_check, on_prepared },
	{ SPAWN_VERIFIED, sizeof(struct spawn_verified), 0, 0, PH_ANY,
	    spawn_verified_check, on_verified },
	{ SPAWN_DONE, sizeof(struct spawn_vm), 0, 0, PH_ANY, NULL, on_done },
	{ SPAWN_ERR, sizeof(struct launch_err), 0, 0, PH_ANY, launch_err_check,
	    on_err },
	{ SPAWN_HELD, sizeof(struct spawn_held), 0, FD_OPT, PH_ANY,
	    spawn_held_check, on_held },
	{ SPAWN_COUNTED, sizeof(struct spawn_counted), 0, 0, PH_ANY,
	    spawn_counted_check, on_counted },
	{ SPAWN_LIST_END, sizeof(struct launch_count), 0, 0, PH_ANY, NULL,
	    on_list_end },
};
const struct chan_ops spawner_ops = { handlers, nitems(handlers),
	spawner_gone };
