#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "launchd/keeplink.h"
#include "launchd/launchd.h"
#include "launchd/life.h"
#include "launchd/probe.h"
#include "launchd/spawnlink.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"
#include "proto/spawn.h"
#include "tests/launchd/played_links.h"
#include "tests/suite/t.h"

/*
 * One turn: what was heard of a VM is written down in any order, and then
 * followed once.  The links are played here: each notes what it was asked, and
 * answers nothing.
 */
char asked[512];
struct launchd ld;
struct links links;

int64_t
clock_us(void)
{
	return links.now_ms * 1000;
}

int64_t
clock_ms(void)
{
	return links.now_ms;
}

int64_t
clock_wall_ns(void)
{
	return 0;
}

static void
note(const char *what)
{
	size_t n = strlen(asked);

	(void)snprintf(
	    asked + n, sizeof(asked) - n, "%s%s", n > 0 ? " " : "", what);
}

void
spawnlink_prepare(struct vm *v)
{
	v->spawn_verb = SPAWN_PREPARE;
	note("prepare");
}

void
spawnlink_kill(struct vm *v)
{
	v->spawn_verb = SPAWN_KILL;
	note("kill");
}

void
spawnlink_release(struct vm *v)
{
	v->spawn_verb = SPAWN_RELEASE;
	note("release");
}

void
spawnlink_count(struct vm *v)
{
	v->spawn_verb = SPAWN_COUNT;
	note("count");
}

void
spawnlink_forget(struct vm *v)
{
	v->spawn_said = false;
	links.forgot++;
}

void
spawnlink_due(struct vm *v)
{
	(void)v;
	note("verb-due");
}

void
wardlink_close(struct vm *v)
{
	v->ward.phase = LINK_OFF;
}

void
keeplink_connect(struct vm *v)
{
	v->keep.phase = LINK_CONNECT;
	note("keeper");
}

void
keeplink_due(struct vm *v)
{
	(void)v;
	note("keeper-due");
}

void
keeplink_go(struct vm *v)
{
	v->is_kept = true;
	note("go");
}

void
keeplink_term(struct vm *v)
{
	(void)v;
	note("term");
}

int
keeplink_bye(struct vm *v)
{
	if (v->keep.phase != LINK_UP)
		return -EPIPE;
	note("bye");
	return 0;
}

void
wardlink_connect(struct vm *v)
{
	v->ward.phase = LINK_CONNECT;
	note("warden");
}

void
wardlink_due(struct vm *v)
{
	(void)v;
	note("warden-due");
}

void
wardlink_verify(struct vm *v)
{
	v->ward.phase = LINK_VERIFY;
	v->spawn_verb = SPAWN_VERIFY;
	note("verify");
}

void
wardlink_verified(struct vm *v)
{
	if (v->ward.phase == LINK_VERIFY && v->spawn_code == 0)
		v->ward.phase = LINK_UP;
}

void
wardlink_run(struct vm *v)
{
	v->is_run = !links.run_is_lost;
	note("run");
}

void
wardlink_spec(struct vm *v)
{
	if (v->boot_spec < 0)
		return;
	v->spec_sent = true;
	v->spec_asked = false;
	note("spec");
}

void
wardlink_rung(struct vm *v, uint32_t grace_ms)
{
	(void)grace_ms;
	(void)v;
	note("rung");
}

static void
answered(struct vm *v)
{
	v->wants_release = true;
	note("verdict");
}

void
probe_look(struct vm *v)
{
	if (v->is_probe && v->state == VM_RUNNING && v->ward_state.agent &&
	    v->ward.phase == LINK_UP)
		answered(v);
}

void
probe_failed(struct vm *v)
{
	answered(v);
}

bool
probe_waits(struct vm *v)
{
	(void)v;
	return links.probe_waits;
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

struct vm *
begin(void)
{
	log_init("test", LOG_ERROR);
	ld = (struct launchd){ .accel = ACCEL_TCG, .conf = { .uid_count = 1 } };
	ld.base = event_base_new();
	ld.turn = event_new(ld.base, -1, 0, on_turn, NULL);
	TAILQ_INIT(&ld.vms);
	TAILQ_INIT(&ld.woken);
	TAILQ_INIT(&ld.told);
	asked[0] = '\0';
	links = (struct links){ .now_ms = 1000 };
	ev = (struct ev){ .fail_new = 0 };
	return vm_new(&ld, 7);
}

void
end(struct vm *v)
{
	vm_free(v);
	t_eq(ld.nvms, 0);
	t_eq(ld.nwoken, 0);
	t_true(TAILQ_EMPTY(&ld.told));
	event_free(ld.turn);
	event_base_free(ld.base);
}

/* One step of a peer: what its handler would have written down. */
static void
hear(struct vm *v, const char *what)
{
	if (strcmp(what, "start") == 0)
		v->wants_start = true;
	else if (strcmp(what, "stop") == 0)
		v->wants_stop = true;
	else if (strcmp(what, "release") == 0)
		v->wants_release = true;
	else if (strcmp(what, "kill") == 0)
		vm_end(v, EXIT_NO_AGENT, "");
	else if (strcmp(what, "prepared") == 0) {
		v->is_prepared = v->spawn_said = true;
		v->pid = 1000;
	} else if (strcmp(what, "waits") == 0) {
		v->keep.phase = LINK_UP;
		v->keep_state.phase = KEEP_WAIT;
	} else if (strcmp(what, "qmp") == 0) {
		v->ward.phase = LINK_QMP;
		v->ward_state.qmp = 1;
	} else if (strcmp(what, "answer") == 0) {
		v->spawn_said = true;
		v->vmm_pid = 1001;
	} else if (strcmp(what, "refusal") == 0) {
		v->spawn_said = true;
		v->spawn_code = -EIO;
	} else if (strcmp(what, "ready") == 0)
		v->ward_state.ready = 1;
	else if (strcmp(what, "unready") == 0)
		v->ward_state.ready = 0;
	else if (strcmp(what, "halted") == 0)
		v->ward_state.halted = 1;
	else if (strcmp(what, "silent") == 0)
		v->ward_silent = true;
	else if (strcmp(what, "lost") == 0)
		v->ward.phase = LINK_CONNECT;
	else if (strcmp(what, "ended") == 0) {
		v->has_ended = true;
		v->keep_state.phase = KEEP_ENDED;
	} else if (strcmp(what, "off") == 0) {
		v->ward_state.guest_event = EXIT_GUEST_OFF;
		v->ward_state.qmp = 0;
	} else if (strcmp(what, "dead") == 0) {
		v->is_dead = true;
		v->pid = 0;
	} else if (strcmp(what, "late") == 0)
		v->is_due = true;
	else if (strcmp(what, "turn") == 0)
		life_converge(v);
	else
		t_str(what, "known");
}

void
play(struct vm *v, const char *script)
{
	char text[256], *save = NULL, *w;

	(void)snprintf(text, sizeof(text), "%s turn", script);
	for (w = strtok_r(text, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save))
		hear(v, w);
}
