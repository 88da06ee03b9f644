#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "launchd/keeplink.h"
#include "launchd/stop.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"
#include "tests/suite/t.h"

/* The stop ladder by itself: whom it asks, for how long, and where it ends. */
static char said[256];
static uint32_t told_ms; /* the guest, with the last rung */

static void
note(const char *what, long long n)
{
	const size_t at = strlen(said);

	(void)snprintf(
	    said + at, sizeof(said) - at, "%s%s", at > 0 ? " " : "", what);
	if (n >= 0)
		(void)snprintf(said + strlen(said), sizeof(said) - strlen(said),
		    ":%lld", n);
}

void
vm_tell(struct vm *v, enum launch_event_kind kind)
{
	t_eq(kind, LE_RUNG);
	note("told", v->rung);
}

void
vm_arm(struct vm *v, long long ms)
{
	(void)v;
	note("for", ms);
}

void
vm_end(struct vm *v, uint32_t reason, const char *detail)
{
	t_eq(reason, EXIT_STOPPED);
	t_str(detail, "");
	v->wants_kill = true;
	note("kill", -1);
}

void
keeplink_term(struct vm *v)
{
	(void)v;
	note("term", -1);
}

void
wardlink_rung(struct vm *v, uint32_t grace_ms)
{
	told_ms = grace_ms;
	note("rung", v->rung);
}

static struct vm v;

static void
begin(enum vm_state s)
{
	const uint32_t ms[STOP_RUNGS] = { [STOP_AGENT] = 1000,
		[STOP_ACPI] = 200,
		[STOP_QUIT] = 30,
		[STOP_TERM] = 4 };

	log_init("stop", LOG_ERROR);
	memset(&v, 0, sizeof(v));
	memcpy(v.rung_ms, ms, sizeof(ms));
	v.state = s;
	v.rung = UINT32_MAX;
	v.wants_stop = true;
	said[0] = '\0';
}

#define SAYS(want)                   \
	do {                         \
		t_str(said, (want)); \
		said[0] = '\0';      \
	} while (0)

/* Each has its time, then the next one is asked; after the last it is killed,
 * however often. */
static void
test_ladder(void)
{
	begin(VM_STOPPING);
	stop_begin(&v);
	t_true(!v.wants_stop);
	SAYS("told:0 for:1000 rung:0");
	stop_next(&v);
	SAYS("told:1 for:200 rung:1");
	stop_next(&v);
	SAYS("told:2 for:30 rung:2");
	stop_next(&v);
	SAYS("told:3 for:4 term");
	t_true(!v.wants_kill);
	stop_next(&v);
	SAYS("told:4 kill");
	t_eq(v.rung, STOP_KILL);
	stop_next(&v);
	SAYS("kill"); /* which is no news */
}

/* It begins where it is asked to, and leaves out what has no time. */
static void
test_from(void)
{
	static const struct {
		const char *name;
		uint32_t from, none; /* a bit each */
		const char *says;
	} rows[] = {
		{ "at the second", STOP_ACPI, 0, "told:1 for:200 rung:1" },
		{ "at the end", STOP_KILL, 0, "told:4 kill" },
		{ "the first has no time", STOP_AGENT, 1U << STOP_AGENT,
		    "told:1 for:200 rung:1" },
		{ "nor has the next", STOP_AGENT,
		    1U << STOP_AGENT | 1U << STOP_ACPI,
		    "told:2 for:30 rung:2" },
		{ "none has", STOP_AGENT, 0xf, "told:4 kill" },
		{ "one that is not begun with", STOP_QUIT, 1U << STOP_AGENT,
		    "told:2 for:30 rung:2" },
	};
	size_t i;
	uint32_t n;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(VM_STOPPING);
		v.stop_from = rows[i].from;
		for (n = 0; n < STOP_KILL; n++)
			if ((rows[i].none & 1U << n) != 0)
				v.rung_ms[n] = 0;
		stop_begin(&v);
		SAYS(rows[i].says);
	}
	begin(VM_STOPPING);
	v.rung_ms[STOP_AGENT] = 1; /* no time is 0 alone */
	stop_begin(&v);
	SAYS("told:0 for:1 rung:0");
}

/* A new warden hears it once more. */
static void
test_say(void)
{
	begin(VM_STOPPING);
	v.rung = STOP_ACPI;
	stop_say(&v);
	SAYS("rung:1");
	v.rung = STOP_TERM;
	stop_say(&v);
	SAYS("term");
}

/* A time that is said again begins anew, not without an end, and without a word
 * where it stands already; what is said last counts. */
static void
test_anew(void)
{
	unsigned int i;
	long long ms;

	begin(VM_STOPPING);
	v.grace_ms = 1200;
	stop_begin(&v);
	SAYS("told:0 for:1000 rung:0");
	for (i = 0; i < 3; i++) {
		v.wants_stop = true;
		v.rung_ms[STOP_AGENT] = 500 + i;
		v.rung_at_ms = clock_ms();
		stop_look(&v);
		t_true(v.wants_stop);
		t_true(strncmp(said, "for:", 4) == 0);
		t_eq(num_parse(said + 4, 1, 250, &ms), 0);
		said[0] = '\0';
	}
	v.rung_at_ms -= 250;
	stop_look(&v);
	t_true(!v.wants_stop);
	SAYS("for:502 rung:0");
	/* back from the button is news; the end is no waiter's */
	stop_next(&v);
	SAYS("told:1 for:200 rung:1");
	v.wants_stop = true;
	v.rung_at_ms -= 250;
	stop_look(&v);
	SAYS("told:0 for:502 rung:0");
	v.wants_stop = true;
	v.stop_from = STOP_QUIT;
	stop_look(&v);
	SAYS("told:2 for:30 rung:2");
	t_true(!v.wants_stop);
}

/* What is left of its time, as far as it has one. */
static void
test_grace(void)
{
	static const struct {
		const char *name;
		enum vm_state state;
		uint32_t rung, grace_ms;
		long long left_ms; /* of the rung */
		uint32_t min, max;
	} rows[] = {
		{ "all", VM_STOPPING, STOP_AGENT, 1200, 1000, 1150, 1200 },
		{ "some", VM_STOPPING, STOP_AGENT, 1200, 500, 650, 700 },
		{ "of the next", VM_STOPPING, STOP_ACPI, 1200, 100, 50, 100 },
		{ "it is over now", VM_STOPPING, STOP_ACPI, 1200, -5, 1, 1 },
		{ "it is over", VM_STOPPING, STOP_QUIT, 1200, 30, 0, 0 },
		{ "it has none", VM_STOPPING, STOP_AGENT, 0, 1000, 0, 0 },
		{ "it does not stop", VM_READY, STOP_AGENT, 1200, 1000, 0, 0 },
	};
	size_t i;
	uint32_t n;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(rows[i].state);
		v.rung = rows[i].rung;
		v.grace_ms = rows[i].grace_ms;
		v.rung_by_ms = clock_ms() + rows[i].left_ms;
		n = stop_grace_ms(&v);
		t_true(n >= rows[i].min && n <= rows[i].max);
	}
	/* all of it at first, then to a new warden what is left */
	begin(VM_STOPPING);
	v.grace_ms = 1200;
	stop_begin(&v);
	t_eq(told_ms, 1200);
	t_true(v.rung_by_ms - clock_ms() > 900);
	v.rung_by_ms -= 500;
	stop_say(&v);
	t_true(told_ms > 600 && told_ms <= 700);
}

/* What a STOP is where the VM is. */
static void
test_look(void)
{
	static const struct {
		enum vm_state state;
		bool is_adopted, waits; /* for the turn's next step */
		const char *says;
	} rows[] = {
		{ VM_NEW, false, false, "kill" },
		{ VM_ACCEL, false, false, "kill" },
		{ VM_PREPARE, false, false, "kill" },
		{ VM_KEEPER, false, false, "kill" },
		{ VM_WARDEN, false, false, "kill" },
		{ VM_VERIFIED, false, false, "kill" },
		{ VM_WARDEN, true, true, "" }, /* its guest may run */
		{ VM_BROKEN, false, false, "kill" },
		{ VM_BROKEN, true, false, "kill" },
		{ VM_RUNNING, false, true, "" },
		{ VM_READY, false, true, "" },
		{ VM_MUTE, false, true, "" },
		{ VM_KILLING, false, false, "" },
		{ VM_ENDED, false, false, "" },
		{ VM_GONE, false, false, "" },
		{ VM_FREEING, false, false, "" },
		{ VM_CLEARING, false, false, "" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(fsm_state_name(rows[i].state));
		begin(rows[i].state);
		v.is_adopted = rows[i].is_adopted;
		stop_look(&v);
		t_eq(v.wants_stop, rows[i].waits);
		t_eq(v.rung, rows[i].says[0] != '\0' ? STOP_KILL : UINT32_MAX);
		SAYS(rows[i].says);
		begin(rows[i].state);
		v.wants_stop = false; /* nobody asked */
		stop_look(&v);
		SAYS("");
	}
}

/* A second STOP is in a hurry, or says how long its guest has from now while
 * that is still asked, or changes nothing. */
static void
test_again(void)
{
	static const struct {
		uint32_t at, from, grace_ms;
		const char *says;
	} rows[] = {
		{ STOP_AGENT, STOP_QUIT, 0, "told:2 for:30 rung:2" },
		{ STOP_AGENT, STOP_QUIT, 1000, "told:2 for:30 rung:2" },
		{ STOP_AGENT, STOP_AGENT, 0, "" },
		{ STOP_AGENT, STOP_AGENT, 1, "for:1000 rung:0" },
		{ STOP_ACPI, STOP_AGENT, 0, "" },
		{ STOP_ACPI, STOP_AGENT, 1000, "told:0 for:1000 rung:0" },
		{ STOP_QUIT, STOP_QUIT, 0, "" },
		{ STOP_QUIT, STOP_AGENT, 0, "" },
		{ STOP_QUIT, STOP_AGENT, 1000, "" },
		{ STOP_TERM, STOP_KILL, 0, "told:4 kill" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		begin(VM_STOPPING);
		v.rung = rows[i].at;
		v.stop_from = rows[i].from;
		v.grace_ms = rows[i].grace_ms;
		stop_look(&v);
		t_true(!v.wants_stop);
		SAYS(rows[i].says);
	}
}

const struct t_case t_cases[] = { { "rung by rung", test_ladder },
	{ "where it begins", test_from }, { "said once more", test_say },
	{ "what is left", test_grace }, { "begun anew", test_anew },
	{ "a stop in each state", test_look }, { "a second stop", test_again },
	{ NULL, NULL } };
