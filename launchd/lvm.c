#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "launchd/launchd.h"
#include "launchd/vdial.h"

/* Deadlines of states that have one of their own. */
#define ENDED_WAIT_MS 300 /* for the warden's last word */
#define COUNT_WAIT_MS                                          \
	6000 /* for the spawner's; a jail takes it 5 s at most \
	      */
#define KILL_RETRY_MS 5000
#define FREE_RETRY_MS 10 /* the dead keeper is not reaped yet */
#define FREE_TRIES 1000
/* RELEASE of what nobody knows needs a place as well. */
#define LVM_SPARE 64

static const char *const state_names[L_STATES] = { "new", "accel", "prepare",
	"keeper", "warden", "running", "ready", "stopping", "killing", "ended",
	"gone", "freeing" };
static const char *const event_names[E_EVENTS] = { "start", "adopt", "accel",
	"prepared", "kept", "verified", "ready", "stop", "kill", "ended",
	"reason", "dead", "release" };

/* Next states + 1; an empty cell is a refusal. */
#define TO(s) ((s) + 1)
static const uint8_t next[L_STATES][E_EVENTS] = {
	[L_NEW] = { [E_START] = TO(L_ACCEL),
	    [E_ADOPT] = TO(L_KEEPER),
	    [E_DEAD] = TO(L_GONE) },
	[L_ACCEL] = { [E_ACCEL] = TO(L_PREPARE),
	    [E_KILL] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	/* killing waits for the spawner's answer, which brings the pidfd */
	[L_PREPARE] = { [E_PREPARED] = TO(L_KEEPER),
	    [E_KILL] = TO(L_PREPARE),
	    [E_DEAD] = TO(L_GONE) },
	[L_KEEPER] = { [E_KEPT] = TO(L_WARDEN),
	    [E_ENDED] = TO(L_ENDED),
	    [E_KILL] = TO(L_KILLING),
	    [E_DEAD] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	[L_WARDEN] = { [E_VERIFIED] = TO(L_RUNNING),
	    [E_ENDED] = TO(L_ENDED),
	    [E_KILL] = TO(L_KILLING),
	    [E_DEAD] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	[L_RUNNING] = { [E_READY] = TO(L_READY),
	    [E_STOP] = TO(L_STOPPING),
	    [E_ENDED] = TO(L_ENDED),
	    [E_KILL] = TO(L_KILLING),
	    [E_DEAD] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	[L_READY] = { [E_STOP] = TO(L_STOPPING),
	    [E_ENDED] = TO(L_ENDED),
	    [E_KILL] = TO(L_KILLING),
	    [E_DEAD] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	[L_STOPPING] = { [E_ENDED] = TO(L_ENDED),
	    [E_KILL] = TO(L_KILLING),
	    [E_DEAD] = TO(L_GONE),
	    [E_RELEASE] = TO(L_FREEING) },
	[L_KILLING] = { [E_DEAD] = TO(L_GONE), [E_RELEASE] = TO(L_FREEING) },
	[L_ENDED] = { [E_REASON] = TO(L_GONE), [E_RELEASE] = TO(L_FREEING) },
	[L_GONE] = { [E_DEAD] = TO(L_GONE), [E_RELEASE] = TO(L_FREEING) },
	[L_FREEING] = { [E_DEAD] = TO(L_FREEING) },
};

void
lvm_arm(struct lvm *v, long long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (ms < 0)
		(void)event_del(v->timer);
	else
		(void)event_add(v->timer, &tv);
}

enum launch_state
lvm_public_state(const struct lvm *v)
{
	switch (v->state) {
	case L_NEW:
	case L_ACCEL:
	case L_PREPARE:
	case L_KEEPER:
	case L_WARDEN:
		return LV_STARTING;
	case L_RUNNING:
		return LV_RUNNING;
	case L_READY:
		return LV_READY;
	case L_STOPPING:
	case L_KILLING:
	case L_ENDED:
		return LV_STOPPING;
	case L_GONE:
	case L_FREEING:
	case L_STATES:
		break;
	}
	return LV_GONE;
}

/* Part of it comes out of a jail: one line, printable, bounded. */
void
lvm_set_detail(struct lvm *v, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *text != '\0' && n + 5 < sizeof(v->detail); text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f) {
			v->detail[n++] = (char)c;
			continue;
		}
		v->detail[n++] = '\\';
		v->detail[n++] = 'x';
		v->detail[n++] = hex[c >> 4];
		v->detail[n++] = hex[c & 15];
	}
	v->detail[n] = '\0';
}

static void
set_reason(struct lvm *v, uint32_t reason, const char *detail)
{
	if (v->reason != EXIT_NONE)
		return;
	v->reason = reason;
	if (detail != NULL)
		lvm_set_detail(v, detail);
}

static void
spawner_verb(struct lvm *v, uint32_t type)
{
	struct spawn_vm sv = { .vm = v->uid };

	if (spawner_ask(v, type, &sv, sizeof(sv)) < 0)
		fatal("the spawner does not keep up");
}

static void
ask_prepare(struct lvm *v)
{
	struct spawn_prepare p = { .vm = v->uid,
		.mem_mib = v->machine.mem_mib,
		.slot = v->slot,
		.vcpus = v->machine.vcpus };

	v->accel = (uint8_t)(v->probe ? ACCEL_KVM : v->ld->accel);
	if (v->accel == ACCEL_KVM)
		p.flags |= SPAWN_KVM;
	if (v->probe)
		p.flags |= SPAWN_PROBE;
	if (spawner_ask(v, SPAWN_PREPARE, &p, sizeof(p)) < 0)
		fatal("the spawner does not keep up");
}

/* Everything that led into the jail. */
static void
close_links(struct lvm *v)
{
	link_close(&v->keep);
	link_close(&v->ward);
	vdial_clear(v);
	machine_fds_clear(&v->fds);
	close_fd(&v->boot_spec);
}

static void
enter_gone(struct lvm *v)
{
	lvm_arm(v, -1);
	if (v->pid == 0)
		close_links(v);
	lvm_settled(v);
	if (v->probe) {
		log_info(
		    "no KVM: %s %s", exit_reason_name(v->reason), v->detail);
		probe_ended(v, ACCEL_TCG);
	} else if (v->releasing)
		(void)lvm_step(v, E_RELEASE);
	else
		orchd_event(v, LE_EXITED);
}

/* Kill, wait for the death, have the spawner remove it, in this order. */
static void
enter_freeing(struct lvm *v)
{
	/* an earlier question's answer is none to what is asked now */
	v->spawn_id = 0;
	if (v->pid == 0) {
		close_links(v);
		spawner_verb(v, SPAWN_RELEASE);
		return;
	}
	if (v->keep.phase == LINK_UP && v->keep_state.phase == KEEP_ENDED &&
	    chan_send(v->keep.chan, KEEP_BYE, 0, NULL, 0, -1) == 0) {
		lvm_arm(v, KILL_RETRY_MS);
		return;
	}
	spawner_verb(v, SPAWN_KILL);
	lvm_arm(v, KILL_RETRY_MS);
}

static void
enter_running(struct lvm *v)
{
	long long left = v->ready_by_ms - clock_ms();

	if (!v->adopted)
		log_info("vm %s: runs after %lld us: jail %lld, keeper %lld, "
			 "hypervisor %lld, read-back %lld",
		    v->name, v->at_us[T_VERIFIED] - v->at_us[T_START],
		    v->at_us[T_PREPARED] - v->at_us[T_START],
		    v->at_us[T_KEEPER] - v->at_us[T_PREPARED],
		    v->at_us[T_VERIFY] - v->at_us[T_KEEPER],
		    v->at_us[T_VERIFIED] - v->at_us[T_VERIFY]);
	lvm_arm(v, left < 0 ? 0 : left);
	lvm_settled(v);
	if (!v->probe)
		orchd_event(v, LE_RUNNING);
}

/*
 * Was it the kernel, for want of memory?  It picks the largest process, so
 * mostly the hypervisor; a keeper that says nothing may have been picked too.
 */
static bool
maybe_oom(const struct lvm *v)
{
	int st = v->keep_state.vmm_status;

	return v->keep_state.phase != KEEP_ENDED ||
	    (WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
}

/* What a state does when it is entered (again). */
static void
enter(struct lvm *v)
{
	switch (v->state) {
	case L_NEW:
	case L_STATES:
		break;
	case L_ACCEL:
		if (v->probe || v->ld->accel != ACCEL_UNKNOWN)
			(void)lvm_step(v, E_ACCEL);
		break;
	case L_PREPARE:
		if (v->spawn_id != 0)
			break; /* killed meanwhile: the answer is awaited */
		v->at_us[T_START] = clock_us();
		ask_prepare(v);
		break;
	case L_KEEPER:
		v->at_us[T_PREPARED] = clock_us();
		keep_connect(v);
		break;
	case L_WARDEN: {
		long long left = v->ready_by_ms - clock_ms();

		lvm_arm(v, left < 0 ? 0 : left);
		ward_connect(v);
		break;
	}
	case L_RUNNING:
		enter_running(v);
		break;
	case L_READY:
		lvm_arm(v, -1);
		close_fd(&v->boot_spec);
		orchd_event(v, LE_READY);
		break;
	case L_STOPPING:
		stop_say(v);
		break;
	case L_KILLING:
		lvm_arm(v, KILL_RETRY_MS);
		spawner_verb(v, SPAWN_KILL);
		break;
	case L_ENDED:
		v->last_word = false;
		v->counted = !maybe_oom(v);
		lvm_arm(v, ENDED_WAIT_MS);
		if (!v->counted)
			spawner_verb(v, SPAWN_COUNT);
		break;
	case L_GONE:
		enter_gone(v);
		break;
	case L_FREEING:
		enter_freeing(v);
		break;
	}
}

int
lvm_step(struct lvm *v, enum lvm_event ev)
{
	uint8_t to = next[v->state][ev];

	if (to == 0) {
		log_debug("vm %s: %s in state %s", v->name, event_names[ev],
		    state_names[v->state]);
		return -EPROTO;
	}
	to--;
	log_info("vm %s: %s -> %s (%s)", v->name, state_names[v->state],
	    state_names[to], event_names[ev]);
	v->state = (enum lvm_state)to;
	enter(v);
	return 0;
}

void
lvm_kill(struct lvm *v, uint32_t reason, const char *detail)
{
	set_reason(v, reason, detail);
	log_info("vm %s: kill: %s", v->name, v->detail);
	(void)lvm_step(v, E_KILL);
}

/* How its end is called, once all witnesses were heard. */
static void
name_reason(struct lvm *v)
{
	int st = v->keep_state.vmm_status;
	bool ran = v->vmm_pid != 0 || v->adopted;
	bool told = v->keep_state.phase == KEEP_ENDED;
	const char *words = v->ward_state.detail;
	char text[64];

	if (told)
		v->status = st;
	if (v->reason != EXIT_NONE)
		return;
	if (told && v->rung != UINT32_MAX)
		set_reason(v, EXIT_STOPPED, words);
	else if (v->oom_kills > 0 && maybe_oom(v))
		set_reason(v, EXIT_OOM, "at the memory limit of its cgroup");
	else if (!told)
		set_reason(v, EXIT_KEEPER, "");
	else if (!ran) {
		(void)snprintf(text, sizeof(text),
		    "the hypervisor did not start (%s %d)",
		    WIFSIGNALED(st) ? "signal" : "status",
		    WIFSIGNALED(st) ? WTERMSIG(st) : WEXITSTATUS(st));
		set_reason(
		    v, EXIT_START_FAILED, words[0] != '\0' ? words : text);
	} else if (WIFSIGNALED(st)) {
		(void)snprintf(
		    text, sizeof(text), "by signal %d", WTERMSIG(st));
		set_reason(v, EXIT_KILLED, text);
	} else if (WEXITSTATUS(st) != 0)
		set_reason(v, EXIT_VMM_ERROR, words);
	/* the warden is inside: it may name what guests do, nothing else */
	else if (v->ward_state.guest_event >= EXIT_GUEST_OFF &&
	    v->ward_state.guest_event <= EXIT_GUEST_PANIC)
		set_reason(v, v->ward_state.guest_event, words);
	else
		set_reason(v, EXIT_GUEST_OFF, words);
}

static void
ended_check(struct lvm *v)
{
	if (v->state != L_ENDED || !v->last_word)
		return;
	if (!v->counted) {
		lvm_arm(v, COUNT_WAIT_MS);
		return;
	}
	name_reason(v);
	(void)lvm_step(v, E_REASON);
}

void
lvm_counted(struct lvm *v, const struct spawn_counted *c)
{
	v->counted = true;
	v->oom_kills = c->oom_kills;
	ended_check(v);
}

void
lvm_vmm_ended(struct lvm *v)
{
	if (v->state != L_ENDED) {
		if (lvm_step(v, E_ENDED) < 0)
			return;
	}
	/* a warden that still talks may know better than the exit status */
	if (v->ward.chan != NULL && v->ward_state.guest_event == EXIT_NONE &&
	    v->ward_state.qmp)
		return;
	v->last_word = true;
	ended_check(v);
}

/* The deadline of a state has come. */
static void
on_timer(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	switch (v->state) {
	case L_WARDEN:
		if (!probe_waits(v))
			lvm_kill(v, EXIT_START_FAILED,
			    "hypervisor or warden did not answer in time");
		break;
	case L_RUNNING:
		if (!probe_waits(v))
			lvm_kill(v, EXIT_NO_AGENT, "");
		break;
	case L_STOPPING:
		stop_next(v);
		break;
	case L_ENDED:
		v->counted |= v->last_word; /* no answer: killed, by whomever */
		v->last_word = true;
		ended_check(v);
		break;
	case L_KILLING:
		log_warn("vm %s: still not dead", v->name);
		enter(v);
		break;
	case L_FREEING:
		if (v->pid != 0 && v->keep_state.phase == KEEP_ENDED)
			link_close(&v->keep); /* BYE was not enough */
		enter(v);
		break;
	case L_NEW:
	case L_ACCEL:
	case L_PREPARE:
	case L_KEEPER:
	case L_READY:
	case L_GONE:
	case L_STATES:
		break;
	}
}

static void
on_death(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	v->pid = 0;
	(void)event_del(v->death);
	close_fd(&v->pidfd);
	if (v->state == L_FREEING) {
		lvm_arm(v, -1);
		enter_freeing(v);
		return;
	}
	if (v->state == L_GONE) {
		close_links(v); /* told already; its keeper was the status */
		return;
	}
	/* its keeper's last message, or nothing, and nobody says more */
	if (v->state == L_ENDED ||
	    (v->reason == EXIT_NONE && lvm_step(v, E_ENDED) == 0)) {
		v->last_word = true;
		ended_check(v);
		return;
	}
	set_reason(v, EXIT_KEEPER, "");
	(void)lvm_step(v, E_DEAD);
}

int
lvm_hold(struct lvm *v, const struct spawn_held *h, int pidfd)
{
	v->pidfd = pidfd;
	v->pid = (pid_t)h->pid;
	v->slot = h->slot;
	v->host_uid = h->uid;
	v->cid = h->cid;
	v->death = event_new(v->ld->base, pidfd, EV_READ, on_death, v);
	if (v->death == NULL || event_add(v->death, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void
lvm_release(struct lvm *v)
{
	v->releasing = true;
	v->tries = 0;
	if (v->state == L_PREPARE)
		lvm_kill(v, EXIT_STOPPED, "");
	else if (v->state == L_NEW)
		(void)lvm_step(v, E_DEAD);
	else if (v->state != L_FREEING)
		(void)lvm_step(v, E_RELEASE);
}

static void
timers_free(struct lvm *v)
{
	struct event *const evs[] = { v->death, v->timer, v->keep.timer,
		v->ward.timer, v->ward_calm, v->freer };
	size_t i;

	for (i = 0; i < nitems(evs); i++) {
		if (evs[i] != NULL)
			event_free(evs[i]);
	}
}

static void
on_free(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	TAILQ_REMOVE(&v->ld->vms, v, entry);
	v->ld->nvms--;
	launchd_title(v->ld);
	close_links(v);
	close_fd(&v->pidfd);
	timers_free(v);
	free(v);
}

/* Callbacks of it may be on the stack: freed from the loop. */
void
lvm_free_soon(struct lvm *v)
{
	v->freed = true;
	lvm_arm(v, -1);
	event_active(v->freer, EV_TIMEOUT, 1);
}

struct lvm *
lvm_find(const struct launchd *ld, uint64_t uid)
{
	struct lvm *v;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->uid == uid && !v->freed)
			return v;
	}
	return NULL;
}

struct lvm *
lvm_new(struct launchd *ld, uint64_t uid)
{
	struct lvm *v;

	if (ld->nvms >= ld->conf.uid_count + LVM_SPARE ||
	    (v = calloc(1, sizeof(*v))) == NULL)
		return NULL;
	v->ld = ld;
	v->uid = uid;
	format_hex64(uid, v->name);
	v->rung = UINT32_MAX;
	LIST_INIT(&v->vdials);
	v->pidfd = v->boot_spec = -1;
	v->timer = event_new(ld->base, -1, 0, on_timer, v);
	v->freer = event_new(ld->base, -1, 0, on_free, v);
	v->keep.timer = event_new(ld->base, -1, 0, keep_timer, v);
	v->ward.timer = event_new(ld->base, -1, 0, ward_timer, v);
	v->ward_calm = event_new(ld->base, -1, 0, ward_calm, v);
	if (v->timer == NULL || v->freer == NULL || v->keep.timer == NULL ||
	    v->ward.timer == NULL || v->ward_calm == NULL) {
		timers_free(v);
		free(v);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&ld->vms, v, entry);
	ld->nvms++;
	launchd_title(ld);
	return v;
}
