#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "launchd/jaillog.h"
#include "launchd/launchd.h"
#include "launchd/reason.h"
#include "launchd/vm.h"
#include "proto/spawn.h"

/* RELEASE of what nobody knows needs a place as well. */
#define VM_SPARE 64

void
vm_turn(struct launchd *ld)
{
	/* after all that is ready now, and before the loop waits again */
	event_active(ld->turn, EV_TIMEOUT, 1);
}

void
vm_wake(struct vm *v)
{
	if (v->is_woken)
		return;
	v->is_woken = true;
	v->ld->nwoken++;
	TAILQ_INSERT_TAIL(&v->ld->woken, v, by_wake);
	vm_turn(v->ld);
}

static void
told_add(struct vm *v)
{
	if (v->is_told)
		return;
	v->is_told = true;
	TAILQ_INSERT_TAIL(&v->ld->told, v, by_told);
	vm_turn(v->ld);
}

void
vm_tell(struct vm *v, enum launch_event_kind kind)
{
	v->news |= 1U << kind;
	told_add(v);
}

void
vm_answer(struct vm *v)
{
	told_add(v);
}

void
vm_arm(struct vm *v, long long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	v->is_due = false;
	if (ms < 0)
		(void)event_del(v->timer);
	else
		(void)event_add(v->timer, &tv);
}

bool
vm_is_idle(const struct vm *v)
{
	return v->state == VM_NEW && !v->is_adopted && !v->wants_start &&
	    !v->wants_release;
}

bool
vm_wants_warden(const struct vm *v)
{
	switch (v->state) {
	case VM_WARDEN:
	case VM_VERIFIED:
	case VM_RUNNING:
	case VM_READY:
	case VM_MUTE:
	case VM_STOPPING:
		return true;
	case VM_NEW:
	case VM_BROKEN:
	case VM_ACCEL:
	case VM_PREPARE:
	case VM_KEEPER:
	case VM_KILLING:
	case VM_ENDED:
	case VM_GONE:
	case VM_FREEING:
	case VM_CLEARING:
	case VM_STATES:
		break;
	}
	return false;
}

bool
vm_may_run(const struct vm *v)
{
	switch (v->state) {
	case VM_NEW:
	case VM_ACCEL:
	case VM_PREPARE:
	case VM_KEEPER:
	case VM_WARDEN:
	case VM_VERIFIED:
		return v->is_adopted;
	case VM_BROKEN:
	case VM_RUNNING:
	case VM_READY:
	case VM_MUTE:
	case VM_STOPPING:
		return true;
	case VM_KILLING:
	case VM_ENDED:
	case VM_GONE:
	case VM_FREEING:
	case VM_CLEARING:
	case VM_STATES:
		break;
	}
	return false;
}

enum launch_state
vm_public_state(const struct vm *v)
{
	switch (v->state) {
	case VM_BROKEN:
		return LV_UNKNOWN;
	case VM_NEW:
	case VM_ACCEL:
	case VM_PREPARE:
	case VM_KEEPER:
	case VM_WARDEN:
	case VM_VERIFIED:
		return v->is_adopted ? LV_UNKNOWN : LV_STARTING;
	case VM_RUNNING:
	case VM_MUTE:
		return LV_RUNNING;
	case VM_READY:
		return LV_READY;
	case VM_STOPPING:
	case VM_KILLING:
		return LV_STOPPING;
	case VM_ENDED:
		/* how is said at once: LE_EXITED */
		return v->is_adopted ? LV_UNKNOWN : LV_STOPPING;
	case VM_GONE:
	case VM_FREEING:
	case VM_CLEARING:
	case VM_STATES:
		break;
	}
	return LV_GONE;
}

/* As its warden says, who was heard of lately. */
bool
vm_answers(const struct vm *v)
{
	return v->ward.phase == LINK_UP && v->ward_state.ready &&
	    !v->ward_silent;
}

/* Is it so?  The table says whether that matters now. */
static bool
is_so(const struct vm *v, enum vm_event ev)
{
	switch (ev) {
	case EV_RELEASE:
		return v->wants_release;
	case EV_ENDED:
		/* a keeper that dies unasked takes the hypervisor along */
		return v->has_ended || (v->is_dead && v->reason == EXIT_NONE);
	case EV_DEAD:
		return v->is_dead;
	case EV_KILL:
		return v->wants_kill;
	case EV_STOP:
		return v->wants_stop;
	case EV_START:
		return v->wants_start;
	case EV_BROKEN:
		return v->is_broken;
	case EV_ADOPT:
		return v->is_adopted;
	case EV_ACCEL:
		return v->is_probe || v->ld->accel != ACCEL_UNKNOWN;
	case EV_PREPARED:
		return v->is_prepared;
	case EV_KEPT:
		return v->is_kept;
	case EV_VERIFIED:
		return v->ward.phase == LINK_UP;
	case EV_RUN:
		return v->is_run;
	case EV_READY:
		return vm_answers(v) && !v->is_probe;
	case EV_MUTE:
		return v->is_mute && !vm_answers(v);
	case EV_REASON:
		return v->had_last_word && v->is_counted;
	case EV_EVENTS:
		break;
	}
	return false;
}

enum vm_event
vm_due(const struct vm *v)
{
	unsigned int ev;

	for (ev = 0; ev < EV_EVENTS; ev++) {
		if (fsm_next(v->state, (enum vm_event)ev) != VM_REFUSED &&
		    is_so(v, (enum vm_event)ev))
			break;
	}
	return (enum vm_event)ev;
}

int
vm_step(struct vm *v, enum vm_event ev)
{
	int to = fsm_next(v->state, ev);

	if (to == VM_REFUSED)
		return -EPROTO;
	log_info("vm %s: %s -> %s (%s)", v->name, fsm_state_name(v->state),
	    fsm_state_name((uint32_t)to), fsm_event_name(ev));
	v->state = (enum vm_state)to;
	v->is_due = false; /* that was the former state's */
	return 0;
}

void
vm_end(struct vm *v, uint32_t reason, const char *detail)
{
	reason_set(v, reason, detail);
	log_info("vm %s: kill: %s", v->name, v->detail);
	v->wants_kill = true;
	vm_wake(v);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct vm *v = arg;

	(void)fd;
	(void)what;
	v->is_due = true;
	vm_wake(v);
}

static void
on_spawn(int fd, short what, void *arg)
{
	struct vm *v = arg;

	(void)fd;
	(void)what;
	v->spawn_due = true;
	vm_wake(v);
}

static void
on_death(int fd, short what, void *arg)
{
	struct vm *v = arg;

	(void)fd;
	(void)what;
	v->pid = 0;
	v->is_dead = true;
	(void)event_del(v->death);
	fd_close(&v->pidfd);
	vm_wake(v);
}

static void
on_link(void *arg)
{
	vm_wake(arg);
}

/* A VM whose words are lost runs all the same. */
static void
log_open(struct vm *v)
{
	int r = jaillog_new(&v->ld->logs, v->name, !v->is_adopted, &v->log);

	v->logs_itself = r == -ENOENT && v->is_adopted;
	if (r < 0 && !v->logs_itself)
		log_warn("vm %s: what it says is lost: %s", v->name,
		    strerrordesc_np(-r));
}

int
vm_hold(struct vm *v, const struct spawn_held *h, int pidfd)
{
	v->pidfd = pidfd;
	v->pid = (pid_t)h->pid;
	v->slot = h->slot;
	v->uid = h->uid;
	v->cid = h->cid;
	log_open(v);
	v->death = event_new(v->ld->base, pidfd, EV_READ, on_death, v);
	if (v->death == NULL || event_add(v->death, NULL) < 0)
		return -ENOMEM;
	return 0;
}

struct vm *
vm_find(const struct launchd *ld, uint64_t vmid)
{
	struct vm *v;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->vmid == vmid && !v->is_cleared)
			return v;
	}
	return NULL;
}

/* What it is made of; half of it will do. */
static void
clear(struct vm *v)
{
	assert(LIST_EMPTY(&v->dials) && STAILQ_EMPTY(&v->streams) &&
	    v->streams_timer == NULL);
	link_clear(&v->keep);
	link_clear(&v->ward);
	jaillog_free(v->log);
	if (v->is_forgotten)
		jaillog_forget(&v->ld->logs, v->name);
	if (v->death != NULL)
		event_free(v->death);
	if (v->timer != NULL)
		event_free(v->timer);
	if (v->spawn_timer != NULL)
		event_free(v->spawn_timer);
	fd_close(&v->pidfd);
	machine_fds_clear(&v->fds);
	fd_close(&v->boot_spec);
	free(v);
}

void
vm_free(struct vm *v)
{
	struct launchd *ld = v->ld;

	if (v->is_woken) {
		TAILQ_REMOVE(&ld->woken, v, by_wake);
		ld->nwoken--;
	}
	if (v->is_told)
		TAILQ_REMOVE(&ld->told, v, by_told);
	TAILQ_REMOVE(&ld->vms, v, entry);
	ld->nvms--;
	clear(v);
}

struct vm *
vm_new(struct launchd *ld, uint64_t vmid)
{
	struct vm *v;

	if (ld->nvms >= ld->conf.uid_count + VM_SPARE ||
	    (v = calloc(1, sizeof(*v))) == NULL)
		return NULL;
	v->ld = ld;
	v->vmid = vmid;
	v->is_forgotten = vmid == PROBE_VM;
	v->state = VM_NEW;
	num_format_hex64(vmid, v->name);
	v->rung = UINT32_MAX;
	LIST_INIT(&v->dials);
	STAILQ_INIT(&v->streams);
	v->pidfd = v->boot_spec = -1;
	bucket_init(
	    &v->verbs, SPAWN_VERBS_PER_S, SPAWN_VERBS_BURST, clock_ms());
	v->timer = event_new(ld->base, -1, 0, on_timer, v);
	v->spawn_timer = event_new(ld->base, -1, 0, on_spawn, v);
	if (v->timer == NULL || v->spawn_timer == NULL ||
	    link_init(&v->keep, ld->base, on_link, v) < 0 ||
	    link_init(&v->ward, ld->base, on_link, v) < 0) {
		clear(v);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&ld->vms, v, entry);
	ld->nvms++;
	return v;
}
