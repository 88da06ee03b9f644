#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "launchd/keeplink.h"
#include "launchd/launchd.h"
#include "launchd/life.h"
#include "launchd/probe.h"
#include "launchd/spawnlink.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"
#include "proto/spawn.h"
#include "tests/suite/t.h"

/*
 * One turn: what was heard of a VM is written down in any order, and then
 * followed once.  The links are played here: each notes what it was asked, and
 * answers nothing.
 */
static char asked[512];

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
	v->is_run = true;
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
wardlink_rung(struct vm *v)
{
	(void)v;
	note("rung");
}

void
probe_look(struct vm *v)
{
	if (!v->is_probe || v->state != VM_RUNNING || !v->ward_state.agent ||
	    v->ward.phase != LINK_UP)
		return;
	v->wants_release = true;
	note("verdict");
}

void
probe_failed(struct vm *v)
{
	v->wants_release = true;
	note("verdict");
}

bool
probe_waits(struct vm *v)
{
	(void)v;
	return false;
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static struct launchd ld;

static struct vm *
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
	return vm_new(&ld, 7);
}

static void
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

static void
play(struct vm *v, const char *script)
{
	char text[256], *save = NULL, *w;

	(void)snprintf(text, sizeof(text), "%s turn", script);
	for (w = strtok_r(text, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save))
		hear(v, w);
}

#define KEEPER "start turn prepared turn "
#define WARDEN KEEPER "waits turn "
#define RUNNING WARDEN "qmp turn answer turn "
static const struct {
	const char *name, *script, *asked;
	enum vm_state state;
	uint32_t reason;
} rows[] = {
	{ "a start", RUNNING "ready", "prepare keeper go warden verify run",
	    VM_READY, EXIT_NONE },
	{ "all at once is the same", WARDEN "qmp turn answer ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "no run before the read-back", WARDEN "qmp",
	    "prepare keeper go warden verify", VM_WARDEN, EXIT_NONE },
	{ "nor after a refused one", WARDEN "qmp turn refusal",
	    "prepare keeper go warden verify", VM_WARDEN, EXIT_NONE },
	{ "nor without what answers for it", WARDEN "answer",
	    "prepare keeper go warden", VM_WARDEN, EXIT_NONE },
	{ "a release in the turn of its start", "start release", "release",
	    VM_CLEARING, EXIT_NONE },
	{ "a stop in the turn of its start", "start stop", "", VM_GONE,
	    EXIT_STOPPED },
	{ "a kill waits for the jail", "start turn kill", "prepare", VM_PREPARE,
	    EXIT_NO_AGENT },
	{ "and comes with it", "start turn kill turn prepared",
	    "prepare keeper kill", VM_KILLING, EXIT_NO_AGENT },
	{ "a release waits for the jail", "start turn release turn prepared",
	    "prepare keeper kill", VM_FREEING, EXIT_NONE },
	{ "no jail", "start turn refusal", "prepare", VM_GONE,
	    EXIT_START_FAILED },
	{ "no jail, and released", "start turn refusal release",
	    "prepare release", VM_CLEARING, EXIT_START_FAILED },
	{ "who is dead is not killed", RUNNING "kill dead",
	    "prepare keeper go warden verify run", VM_GONE, EXIT_NO_AGENT },
	{ "an unasked death is counted", RUNNING "dead",
	    "prepare keeper go warden verify run count", VM_ENDED, EXIT_NONE },
	{ "and called the keeper's", RUNNING "dead turn late",
	    "prepare keeper go warden verify run count", VM_GONE, EXIT_KEEPER },
	{ "an end is the guest's", RUNNING "ended off",
	    "prepare keeper go warden verify run", VM_GONE, EXIT_GUEST_OFF },
	{ "ready in the turn of the deadline", RUNNING "late ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "not ready", RUNNING "late",
	    "prepare keeper go warden verify run kill", VM_KILLING,
	    EXIT_NO_AGENT },
	{ "not ready any more, for a moment", RUNNING "ready turn unready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "and longer", RUNNING "ready turn unready turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "a warden that is silent", RUNNING "ready turn silent turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "or gone", RUNNING "ready turn lost turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "in time again",
	    RUNNING "ready turn unready turn ready turn unready turn",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "ready again", RUNNING "ready turn unready turn late turn ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "a mute one is stopped as any",
	    RUNNING "ready turn unready turn late turn stop",
	    "prepare keeper go warden verify run rung", VM_STOPPING,
	    EXIT_NONE },
	{ "a stop", RUNNING "stop", "prepare keeper go warden verify run rung",
	    VM_STOPPING, EXIT_NONE },
	{ "its next rung", RUNNING "stop turn late",
	    "prepare keeper go warden verify run rung term", VM_STOPPING,
	    EXIT_NONE },
	{ "its last rung", RUNNING "stop turn late turn late",
	    "prepare keeper go warden verify run rung term kill", VM_KILLING,
	    EXIT_STOPPED },
	{ "ended, released", RUNNING "ended off turn release",
	    "prepare keeper go warden verify run bye", VM_FREEING,
	    EXIT_GUEST_OFF },
	{ "a farewell that did not do",
	    RUNNING "ended off turn release turn late",
	    "prepare keeper go warden verify run bye kill", VM_FREEING,
	    EXIT_GUEST_OFF },
	{ "dead, cleared away", RUNNING "release turn dead",
	    "prepare keeper go warden verify run kill release", VM_CLEARING,
	    EXIT_NONE },
	{ "not yet: asked again", "release turn refusal turn late",
	    "release release", VM_CLEARING, EXIT_NONE },
};

static void
test_turns(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = begin();

		v->rung_ms[STOP_AGENT] = v->rung_ms[STOP_TERM] = 1000;
		v->ready_by_ms = INT64_MAX;
		t_row(rows[i].name);
		play(v, rows[i].script);
		t_str(asked, rows[i].asked);
		t_str(fsm_state_name(v->state), fsm_state_name(rows[i].state));
		t_eq(v->reason, rows[i].reason);
		end(v);
	}
}

/* A turn without news asks nobody anything, wherever the VM is. */
static void
test_again(void)
{
	char before[sizeof(asked)];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = begin();
		enum vm_state s;

		v->rung_ms[STOP_AGENT] = v->rung_ms[STOP_TERM] = 1000;
		v->ready_by_ms = INT64_MAX;
		t_row(rows[i].name);
		play(v, rows[i].script);
		s = v->state;
		memcpy(before, asked, sizeof(before));
		life_converge(v);
		t_str(asked, before);
		t_eq(v->state, s);
		end(v);
	}
}

static void
test_wake(void)
{
	struct vm *v = begin();

	vm_wake(v);
	vm_wake(v);
	t_eq(ld.nwoken, 1);
	vm_tell(v, LE_RUNG);
	vm_tell(v, LE_EXITED);
	t_true(TAILQ_FIRST(&ld.told) == v && TAILQ_NEXT(v, by_told) == NULL);
	t_eq(v->news, 1U << LE_RUNG | 1U << LE_EXITED);
	end(v);
}

const struct t_case t_cases[] = { { "turns", test_turns },
	{ "a turn without news", test_again }, { "woken once", test_wake },
	{ NULL, NULL } };
