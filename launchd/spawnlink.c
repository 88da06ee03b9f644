#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/adopt.h"
#include "launchd/launchd.h"
#include "launchd/reason.h"
#include "launchd/spawnlink.h"
#include "launchd/vm.h"
#include "proto/spawn.h"

/* Ids of the spawner's answers that belong to no VM. */
enum { ID_LIST = 1, ID_ACCEL = 2, ID_FIRST_VM = 16 };

static void
say(struct launchd *ld, uint32_t type, uint64_t id, const void *head,
    size_t len, const void *tail, size_t taillen)
{
	if (chan_send2(ld->spawner, type, id, head, len, tail, taillen, -1) < 0)
		fatal("the spawner does not keep up");
}

static void
ask(struct vm *v, uint32_t type, const void *head, size_t len, const void *tail,
    size_t taillen)
{
	v->spawn_id = v->ld->next_id++;
	v->spawn_verb = type;
	v->spawn_said = false;
	say(v->ld, type, v->spawn_id, head, len, tail, taillen);
}

static void
ask_verb(struct vm *v, uint32_t type)
{
	struct spawn_jail sv = { .jail = { JAIL_VM, 0, v->vmid } };

	ask(v, type, &sv, sizeof(sv), NULL, 0);
}

void
spawnlink_prepare(struct vm *v)
{
	struct spawn_prepare p = { .jail = { JAIL_VM, 0, v->vmid },
		.slot = v->slot };

	ask(v, SPAWN_PREPARE, &p, sizeof(p), &v->machine,
	    machine_len(&v->machine));
}

void
spawnlink_verify(struct vm *v)
{
	struct spawn_verify sv = { .jail = { JAIL_VM, 0, v->vmid },
		.what = JAIL_ROLE_BIT(JAIL_WARDEN) | JAIL_ROLE_BIT(JAIL_VMM) };

	ask(v, SPAWN_VERIFY, &sv, sizeof(sv), NULL, 0);
}

void
spawnlink_kill(struct vm *v)
{
	ask_verb(v, SPAWN_KILL);
}

void
spawnlink_release(struct vm *v)
{
	ask_verb(v, SPAWN_RELEASE);
}

void
spawnlink_count(struct vm *v)
{
	ask_verb(v, SPAWN_COUNT);
}

void
spawnlink_forget(struct vm *v)
{
	v->spawn_id = 0;
	v->spawn_said = false;
}

void
spawnlink_accel(struct launchd *ld, uint32_t accel)
{
	struct spawn_accel a = { .accel = accel };

	say(ld, SPAWN_ACCEL, ID_ACCEL, &a, sizeof(a), NULL, 0);
}

/* The VM that waits for this answer; NULL: none does, and it is dropped with
 * its descriptor. */
static struct vm *
answer_to(struct launchd *ld, const struct msg *m)
{
	struct vm *v;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->spawn_id != m->id)
			continue;
		v->spawn_id = 0;
		v->spawn_said = true;
		v->spawn_code = 0;
		v->spawn_why[0] = '\0';
		vm_wake(v);
		return v;
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
	struct vm *v = answer_to(arg, m);
	struct spawn_held h;

	(void)c;
	memcpy(&h, m->data, sizeof(h));
	if (v == NULL)
		return 0;
	if (!h.alive || m->fd < 0) {
		reason_set(v, EXIT_KEEPER, NULL);
		v->is_dead = true;
		return 0;
	}
	if (vm_hold(v, &h, m->fd) < 0)
		fatal("out of memory");
	m->fd = -1;
	v->is_prepared = true;
	return 0;
}

static int
on_verified(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = answer_to(arg, m);
	struct spawn_verified ok;

	(void)c;
	memcpy(&ok, m->data, sizeof(ok));
	/* or it is another warden by now: that is verified in its turn */
	if (v != NULL && v->ward.phase == LINK_VERIFY) {
		v->confined = ok.confined;
		v->vmm_pid = (pid_t)ok.vmm_pid;
	}
	return 0;
}

static int
on_counted(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = answer_to(arg, m);
	struct spawn_counted sc;

	(void)c;
	memcpy(&sc, m->data, sizeof(sc));
	if (v != NULL) {
		v->is_counted = true;
		v->oom_kills = sc.oom_kills;
	}
	return 0;
}

/* KILL or RELEASE was done.  A kill is over when the pidfd says so, not
 * before. */
static int
on_done(void *arg, struct chan *c, struct msg *m)
{
	(void)c;
	(void)answer_to(arg, m);
	return 0;
}

static int
on_err(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = answer_to(arg, m);
	struct launch_err e;

	(void)c;
	memcpy(&e, m->data, sizeof(e));
	if (v != NULL) {
		v->spawn_code = e.code;
		memcpy(v->spawn_why, e.msg, sizeof(v->spawn_why));
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
	vm_turn(ld);
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
	{ SPAWN_DONE, sizeof(struct spawn_jail), 0, 0, PH_ANY, NULL, on_done },
	{ SPAWN_ERR, sizeof(struct launch_err), 0, 0, PH_ANY, launch_err_check,
	    on_err },
	{ SPAWN_HELD, sizeof(struct spawn_held), 0, FD_OPT, PH_ANY,
	    spawn_held_check, on_held },
	{ SPAWN_COUNTED, sizeof(struct spawn_counted), 0, 0, PH_ANY,
	    spawn_counted_check, on_counted },
	{ SPAWN_LIST_END, sizeof(struct launch_count), 0, 0, PH_ANY, NULL,
	    on_list_end },
};
static const struct chan_ops ops = { handlers, nitems(handlers), spawner_gone };

void
spawnlink_open(struct launchd *ld, int sock)
{
	ld->next_id = ID_FIRST_VM;
	ld->spawner = chan_new(ld->base, sock, "spawner", &ops, ld);
	if (ld->spawner == NULL)
		fatal("out of memory");
	say(ld, SPAWN_LIST, ID_LIST, "", 0, NULL, 0);
}
