#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "orchd/object/gate.h"
#include "orchd/object/object.h"
#include "tests/suite/t.h"

/* Whose turn it is, by tenant and weight, and what is given back. */
#define TENANTS 4
#define EACH 64

static struct gate g;
static struct line host, lines[TENANTS];
static uint32_t weights[TENANTS];
static struct {
	struct object obj; /* first */
	struct seat seat;
} vms[TENANTS + 1][EACH]; /* the last are the host's */
static char woken[256]; /* letters of lines, in the order they were woken */

void
object_wake(struct object *obj)
{
	const size_t n = strlen(woken);

	woken[n] = (char)('a' + obj->key);
	woken[n + 1] = '\0';
}

static void
begin(unsigned int total)
{
	unsigned int i, k;

	gate_init(&g, total);
	memset(vms, 0, sizeof(vms));
	line_init(&host, NULL);
	for (i = 0; i <= TENANTS; i++) {
		for (k = 0; k < EACH; k++)
			vms[i][k].obj.key = i;
		if (i == TENANTS)
			break;
		weights[i] = 1;
		line_init(&lines[i], &weights[i]);
	}
	woken[0] = '\0';
}

static bool
ask(unsigned int t, unsigned int k, bool first)
{
	return gate_ask(&g, t == TENANTS ? &host : &lines[t], &vms[t][k].seat,
	    &vms[t][k].obj, first);
}

/* k of them ask: so many have a place at once. */
static unsigned int
crowd(unsigned int t, unsigned int k)
{
	unsigned int i, n = 0;

	for (i = 0; i < k; i++)
		n += ask(t, i, false);
	return n;
}

/* Whoever was woken takes its place. */
static void
taken(void)
{
	unsigned int i, k;

	for (i = 0; i <= TENANTS; i++)
		for (k = 0; k < EACH; k++)
			if (vms[i][k].seat.state == SEAT_GIVEN)
				t_true(ask(i, k, false));
}

/* One of that line is done. */
static void
done(unsigned int t)
{
	unsigned int k;

	for (k = 0; k < EACH; k++) {
		if (vms[t][k].seat.state == SEAT_TAKEN) {
			seat_leave(&vms[t][k].seat);
			return;
		}
	}
	t_true(false);
}

/* All places are free, and nobody waits. */
static void
is_empty(void)
{
	unsigned int i;

	t_eq(g.taken, 0);
	t_eq(g.of_host, 0);
	t_true(TAILQ_EMPTY(&g.lines));
	t_eq(host.has, 0);
	for (i = 0; i < TENANTS; i++)
		t_eq(lines[i].has, 0);
}

static void
leave_all(void)
{
	unsigned int i, k;

	for (i = 0; i <= TENANTS; i++)
		for (k = 0; k < EACH; k++)
			seat_leave(&vms[i][k].seat);
	is_empty();
}

/* However many of one come first, the next has his, and so on. */
static void
test_storm(void)
{
	begin(32);
	t_eq(g.kept, 4);
	t_eq(crowd(0, EACH), 14); /* of 28 that are not the host's */
	t_eq(crowd(1, EACH), 7);
	t_eq(crowd(2, EACH), 4);
	t_eq(crowd(3, EACH), 2);
	t_eq(crowd(TENANTS, EACH), 4 + 1); /* and what was left */
	t_eq(g.taken, 32);
	t_str(woken, "");
	leave_all();
	begin(6); /* starts, of two processors */
	t_eq(g.kept, 1);
	t_eq(crowd(0, EACH), 3);
	t_eq(crowd(1, EACH), 1);
	t_eq(crowd(2, EACH), 1);
	t_eq(crowd(3, EACH), 0);
	leave_all();
	begin(3); /* of one */
	t_eq(crowd(0, EACH), 1);
	t_eq(crowd(1, EACH), 1);
	t_eq(crowd(TENANTS, EACH), 1);
	leave_all();
}

/* The host's own has what is kept, and of the rest as any other. */
static void
test_host(void)
{
	begin(32);
	t_eq(crowd(TENANTS, EACH), 4 + 14);
	t_eq(crowd(0, EACH), 7);
	leave_all();
}

static void
test_weight(void)
{
	begin(32);
	weights[0] = 3;
	t_eq(crowd(0, EACH), 21); /* three of four of 28 */
	t_eq(crowd(1, EACH), 4);
	leave_all();
	begin(32);
	weights[0] = 0; /* is as 1 */
	t_eq(crowd(0, EACH), 14);
	leave_all();
	begin(32);
	weights[0] = 100;
	t_eq(crowd(0, EACH), 27); /* but the last is another's */
	t_eq(crowd(1, EACH), 1);
	t_eq(crowd(TENANTS, EACH), 4);
	leave_all();
}

/* One place, many waiting: a round has each as often as it weighs. */
static void
test_rounds(void)
{
	unsigned int i;

	begin(2); /* one of them kept */
	weights[2] = 2;
	t_true(ask(3, 0, false));
	for (i = 0; i < 3; i++) {
		t_eq(crowd(i, 10), 0);
	}
	seat_leave(&vms[3][0].seat);
	t_str(woken, "a");
	for (i = 1; i < 12; i++) {
		const unsigned int last = (unsigned int)woken[i - 1] - 'a';

		taken();
		done(last);
	}
	t_str(woken, "abccabccabcc");
	leave_all();
}

/* In the order they came, but for what goes first; it may become that. */
static void
test_first(void)
{
	unsigned int before = 0, has = 0;

	begin(2);
	t_true(ask(0, 0, false));
	t_true(!seat_waits(&vms[0][0].seat, &before, &has));
	t_true(!ask(0, 1, false));
	t_true(!ask(0, 2, false));
	t_true(!ask(0, 3, true));
	t_true(!ask(0, 4, true));
	t_true(seat_waits(&vms[0][2].seat, &before, &has));
	t_eq(before, 3);
	t_eq(has, 1);
	t_true(seat_waits(&vms[0][4].seat, &before, &has));
	t_eq(before, 1);
	t_true(!ask(0, 2, true)); /* it is to go now */
	t_true(!ask(0, 2, true)); /* and keeps its place */
	t_true(seat_waits(&vms[0][2].seat, &before, &has));
	t_eq(before, 2);
	done(0);
	t_eq(vms[0][3].seat.state, SEAT_GIVEN);
	seat_leave(&vms[0][3].seat);
	t_eq(vms[0][4].seat.state, SEAT_GIVEN);
	seat_leave(&vms[0][4].seat);
	t_eq(vms[0][2].seat.state, SEAT_GIVEN);
	t_true(ask(0, 2, true));
	t_true(ask(0, 2, true)); /* once */
	t_eq(lines[0].has, 1);
	done(0);
	t_eq(vms[0][1].seat.state, SEAT_GIVEN);
	leave_all();
}

/* What it has not asked for when it was looked at goes to the next; what it
 * took stays, asked for or not. */
static void
test_settle(void)
{
	begin(2);
	t_true(ask(0, 0, false));
	t_true(!ask(0, 1, false));
	t_true(!ask(0, 2, false));
	t_true(!ask(0, 3, false));
	seat_settle(&vms[0][0].seat);
	seat_settle(&vms[0][0].seat);
	t_eq(vms[0][0].seat.state, SEAT_TAKEN);
	seat_settle(&vms[0][1].seat); /* it has asked */
	t_eq(vms[0][1].seat.state, SEAT_WAITS);
	seat_settle(&vms[0][1].seat); /* and now not */
	t_eq(vms[0][1].seat.state, SEAT_NONE);
	done(0);
	t_str(woken, "a");
	t_eq(vms[0][2].seat.state, SEAT_GIVEN);
	seat_settle(&vms[0][2].seat); /* it asked before it was its turn */
	t_eq(vms[0][2].seat.state, SEAT_GIVEN);
	seat_settle(&vms[0][2].seat);
	t_eq(vms[0][2].seat.state, SEAT_NONE);
	t_str(woken, "aa");
	t_eq(vms[0][3].seat.state, SEAT_GIVEN);
	leave_all();
}

/* What is under way already counts, and may be more than there are. */
static void
test_hold(void)
{
	unsigned int i;

	begin(4);
	t_true(ask(0, 0, false));
	for (i = 1; i < 6; i++)
		gate_hold(&g, &lines[0], &vms[0][i].seat);
	gate_hold(&g, &lines[0], &vms[0][5].seat); /* once */
	t_eq(g.taken, 6);
	t_true(!ask(1, 0, false));
	done(0);
	done(0);
	done(0);
	t_str(woken, ""); /* the last is the host's */
	t_true(ask(TENANTS, 0, false));
	done(TENANTS);
	done(0);
	t_str(woken, "b");
	gate_hold(&g, &lines[1], &vms[1][0].seat);
	t_eq(vms[1][0].seat.state, SEAT_TAKEN);
	t_eq(lines[1].has, 1);
	t_true(!ask(1, 1, false));
	gate_hold(&g, &lines[1], &vms[1][1].seat); /* it waited */
	t_eq(lines[1].has, 2);
	leave_all();
}

/* Whatever comes and goes: no place is lost, none there twice, and nobody waits
 * who could have one. */
static void
test_any(void)
{
	unsigned int i, t, k, n, has[TENANTS + 1];
	unsigned int seed = 20261129;

	begin(16);
	weights[1] = 5;
	for (i = 0; i < 200000; i++) {
		seed = seed * 1103515245 + 12345;
		t = (seed >> 16) % (TENANTS + 1);
		k = (seed >> 20) % 20;
		switch ((seed >> 26) % 4) {
		case 0:
		case 1:
			(void)ask(t, k, (seed >> 25) % 2 == 0);
			break;
		case 2:
			seat_settle(&vms[t][k].seat);
			break;
		default:
			seat_leave(&vms[t][k].seat);
			break;
		}
		woken[0] = '\0';
		if (i % 64 != 0)
			continue;
		memset(has, 0, sizeof(has));
		for (n = 0, t = 0; t <= TENANTS; t++)
			for (k = 0; k < 20; k++)
				if (vms[t][k].seat.state >= SEAT_GIVEN) {
					has[t]++;
					n++;
				}
		t_eq(g.taken, n);
		t_eq(g.of_host, has[TENANTS]);
		t_eq(host.has, has[TENANTS]);
		t_true(n <= 16);
		t_true(n - has[TENANTS] <= 14);
		for (t = 0; t < TENANTS; t++) {
			t_eq(lines[t].has, has[t]);
			for (k = 0; k < 20; k++)
				t_true(vms[t][k].seat.state != SEAT_WAITS ||
				    has[t] > 0 || n >= 14);
		}
	}
	leave_all();
}

const struct t_case t_cases[] = {
	{ "a storm", test_storm },
	{ "the host's own", test_host },
	{ "weights", test_weight },
	{ "rounds", test_rounds },
	{ "what goes first", test_first },
	{ "what is given back", test_settle },
	{ "what is under way already", test_hold },
	{ "whatever comes and goes", test_any },
	{ NULL, NULL },
};
