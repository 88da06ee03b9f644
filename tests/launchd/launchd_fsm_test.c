#include <string.h>

#include "common/util.h"
#include "launchd/fsm.h"
#include "tests/suite/t.h"

/* The whole table once more, as a picture: a row is a state, a letter the
 * state that the column's event leads to, a dot a refusal. */
static const char letter[VM_STATES] = {
	[VM_NEW] = 'N',
	[VM_BROKEN] = 'B',
	[VM_ACCEL] = 'A',
	[VM_PREPARE] = 'P',
	[VM_KEEPER] = 'K',
	[VM_WARDEN] = 'W',
	[VM_VERIFIED] = 'V',
	[VM_RUNNING] = 'R',
	[VM_READY] = 'Y',
	[VM_MUTE] = 'M',
	[VM_STOPPING] = 'S',
	[VM_KILLING] = 'X',
	[VM_ENDED] = 'E',
	[VM_GONE] = 'G',
	[VM_FREEING] = 'F',
	[VM_CLEARING] = 'C',
};

static const struct {
	enum vm_state s;
	const char *cells;
} picture[] = {
	/* release ended dead kill stop, start broken adopt accel prepared kept,
	 * verified run ready mute reason */
	{ VM_NEW,
	    "F.G.."
	    "ABK..."
	    "....." },
	{ VM_BROKEN,
	    "FEGX."
	    "......"
	    "....." },
	{ VM_ACCEL,
	    "F..G."
	    "...P.."
	    "....." },
	{ VM_PREPARE,
	    "..G.."
	    "....K."
	    "....." },
	{ VM_KEEPER,
	    "FEGXS"
	    ".....W"
	    "....." },
	{ VM_WARDEN,
	    "FEGXS"
	    "......"
	    "V...." },
	{ VM_VERIFIED,
	    "FEGXS"
	    "......"
	    ".R..." },
	{ VM_RUNNING,
	    "FEGXS"
	    "......"
	    "..Y.." },
	{ VM_READY,
	    "FEGXS"
	    "......"
	    "...M." },
	{ VM_MUTE,
	    "FEGXS"
	    "......"
	    "..Y.." },
	{ VM_STOPPING,
	    "FEGX."
	    "......"
	    "....." },
	{ VM_KILLING,
	    "F.G.."
	    "......"
	    "....." },
	{ VM_ENDED,
	    "F...."
	    "......"
	    "....G" },
	{ VM_GONE,
	    "F...."
	    "......"
	    "....." },
	{ VM_FREEING,
	    "..C.."
	    "......"
	    "....." },
	{ VM_CLEARING,
	    "....."
	    "......"
	    "....." },
};
_Static_assert(nitems(picture) == VM_STATES - 1, "a row per state");

static int
next(unsigned int s, unsigned int ev)
{
	return fsm_next((enum vm_state)s, (enum vm_event)ev);
}

static void
test_every_cell(void)
{
	unsigned int ev;
	size_t i;

	for (i = 0; i < nitems(picture); i++) {
		t_row(fsm_state_name(picture[i].s));
		t_eq(strlen(picture[i].cells), EV_EVENTS);
		for (ev = 0; ev < EV_EVENTS; ev++) {
			int to = next(picture[i].s, ev);

			t_eq(to == VM_REFUSED ? '.' : letter[to],
			    picture[i].cells[ev]);
		}
	}
	t_row("outside of the table");
	for (ev = 0; ev < EV_EVENTS; ev++)
		t_eq(next(VM_REFUSED, ev), VM_REFUSED);
	t_eq(next(VM_STATES, EV_RELEASE), VM_REFUSED);
	t_eq(next(VM_RUNNING, EV_EVENTS), VM_REFUSED);
}

/* A turn ends because nothing leads back, and every VM ends because
 * everything but the last state leads on. */
static void
test_forward(void)
{
	unsigned int s, ev;

	for (s = VM_NEW; s < VM_STATES; s++) {
		unsigned int ways = 0;

		t_row(fsm_state_name(s));
		for (ev = 0; ev < EV_EVENTS; ev++) {
			int to = next(s, ev);

			if (to == VM_REFUSED)
				continue;
			ways++;
			/* only one of the two can be so at a time */
			t_true((to > (int)s && to < VM_STATES) ||
			    (s == VM_MUTE && ev == EV_READY));
		}
		t_eq(ways > 0, s != VM_CLEARING);
	}
}

static void
test_users(void)
{
	unsigned int s, ev, n;

	for (ev = 0; ev < EV_EVENTS; ev++) {
		t_row(fsm_event_name(ev));
		for (n = 0, s = VM_NEW; s < VM_STATES; s++)
			n += next(s, ev) != VM_REFUSED;
		t_true(n > 0);
	}
	for (s = VM_NEW + 1; s < VM_STATES; s++) {
		unsigned int from;

		t_row(fsm_state_name(s));
		for (n = 0, from = VM_NEW; from < VM_STATES; from++) {
			for (ev = 0; ev < EV_EVENTS; ev++)
				n += next(from, ev) == (int)s;
		}
		t_true(n > 0);
	}
}

/* What launchd relies on by name. */
static void
test_release(void)
{
	unsigned int s;

	for (s = VM_NEW; s < VM_FREEING; s++) {
		t_row(fsm_state_name(s));
		/* the spawner's answer brings the pidfd: it is waited for */
		t_eq(next(s, EV_RELEASE),
		    s == VM_PREPARE ? VM_REFUSED : (int)VM_FREEING);
	}
}

static void
test_names(void)
{
	unsigned int i;

	t_str(fsm_state_name(VM_RUNNING), "running");
	for (i = VM_NEW; i < VM_STATES; i++)
		t_true(strcmp(fsm_state_name(i), "?") != 0);
	t_str(fsm_state_name(VM_REFUSED), "?");
	t_str(fsm_state_name(VM_STATES), "?");
	for (i = 0; i < EV_EVENTS; i++)
		t_true(strcmp(fsm_event_name(i), "?") != 0);
	t_str(fsm_event_name(EV_EVENTS), "?");
}

const struct t_case t_cases[] = { { "every cell", test_every_cell },
	{ "forward only", test_forward },
	{ "each event and each state has a user", test_users },
	{ "a release gets through", test_release }, { "names", test_names },
	{ NULL, NULL } };
