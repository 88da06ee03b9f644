#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "tests/orchd/thing.h"
#include "tests/suite/t.h"

/* Who waits for an object, and what every object has. */

static const struct share_who me = { 7, SHARE_USER, 0 },
			      you = { 8, SHARE_USER, 0 };

static int
add(struct share_who who, uint64_t conn, uint32_t what)
{
	return wait_add(&th.obj, who, conn, conn + 100, what, 201);
}

static unsigned int
waiting(void)
{
	const struct waiter *w;
	unsigned int n = 0;

	TAILQ_FOREACH (w, &th.obj.waiters, entry)
		n++;
	return n;
}

static void
test_add(void)
{
	const struct waiter *w;

	begin(1, OBJECT_STORED);
	play.patience_ms = 1000999;
	t_eq(add(me, 5, 3), 0);
	t_eq(ev.added.tv_sec, 1000);
	t_eq(ev.added.tv_usec, 999000);
	w = TAILQ_FIRST(&th.obj.waiters);
	t_eq(w->who.uid, 7);
	t_eq(w->conn, 5);
	t_eq(w->id, 105);
	t_eq(w->what, 3);
	t_eq(w->status, 201);
	t_true(w->obj == &th.obj);
	t_true(evtimer_pending(w->deadline, NULL));
	end();
}

/* So many may wait, and who does not any more makes room for one. */
static void
test_many(void)
{
	uint64_t n;

	begin(1, OBJECT_STORED);
	for (n = 1; n <= WAIT_MAX; n++)
		t_eq(add(n % 2 == 0 ? me : you, n, 0), 0);
	t_eq(add(me, n, 0), -EBUSY);
	t_eq(waiting(), WAIT_MAX);
	t_eq(share_has(&th.obj.waits, me), WAIT_MAX / 2);
	wait_drop(&th.obj, 2);
	t_eq(waiting(), WAIT_MAX - 1);
	t_eq(share_has(&th.obj.waits, me), WAIT_MAX / 2 - 1);
	t_eq(share_has(&th.obj.waits, you), WAIT_MAX / 2);
	t_eq(add(me, 2, 0), 0);
	t_eq(add(me, n, 0), -EBUSY);
	wait_drop(&th.obj, 999); /* of none */
	t_eq(waiting(), WAIT_MAX);
	wait_clear(&th.obj);
	t_eq(waiting(), 0);
	t_eq(share_has(&th.obj.waits, me), 0);
	t_str(said, ""); /* nobody was told */
	end();
}

/* Who left has no place, and what he asked for counts till it comes, whichever
 * way it ends. */
static void
test_left(void)
{
	uint64_t count = 4, n;

	begin(1, OBJECT_STORED);
	play.patience_ms = 100000;
	for (n = 1; n <= WAIT_MAX; n++)
		t_eq(add(me, n, 3), 0);
	for (n = 1; n <= 3; n++)
		wait_leave(&th.obj, n, &count);
	wait_leave(&th.obj, 999, &count); /* of none */
	t_eq(count, 4);
	t_eq(TAILQ_FIRST(&th.obj.waiters)->conn, 0);
	t_eq(waiting(), WAIT_MAX);
	t_eq(share_has(&th.obj.waits, me), WAIT_MAX - 3);
	for (n = 1; n <= 3; n++) /* others have them, with the same numbers */
		t_eq(add(you, n, 4), 0);
	t_eq(add(you, 99, 4), -EBUSY);
	for (n = 1; n <= WAIT_MAX; n++)
		wait_drop(&th.obj, n);
	t_eq(waiting(), 3);
	t_eq(count, 4);
	t_str(said, "");
	expire(TAILQ_FIRST(&th.obj.waiters)->deadline);
	t_eq(waiting(), 2);
	t_eq(count, 3);
	wait_undone(&th.obj, WAITS(4), -EIO);
	t_eq(count, 3);
	play.due = true;
	wait_tell(&th.obj);
	t_eq(count, 1);
	t_eq(waiting(), 0);
	t_eq(add(me, 1, 3), 0);
	wait_leave(&th.obj, 1, &count);
	wait_clear(&th.obj);
	t_eq(count, 0);
	t_eq(share_has(&th.obj.waits, me), 0);
	t_eq(share_has(&th.obj.waits, you), 0);
	end();
}

/* Listed callers have their shares of it. */
static void
test_listed(void)
{
	const uint32_t listed[SHARE_LISTED] = { 2, 0 };
	uint64_t n;

	begin(1, OBJECT_STORED);
	memcpy(o.listed, listed, sizeof(listed));
	object_clear(&th.obj);
	object_init(&th.obj, th.obj.kind, &o);
	th.obj.life = OBJECT_STORED;
	for (n = 1; add(me, n, 0) == 0; n++)
		;
	t_true(n < WAIT_MAX);
	t_eq(add(you, n, 0), 0);
	end();
}

/* Its time is up: it alone is told, once, and makes room. */
static void
test_late(void)
{
	struct event *first;

	begin(1, OBJECT_STORED);
	t_eq(add(me, 1, 3), 0);
	first = TAILQ_FIRST(&th.obj.waiters)->deadline;
	t_eq(add(me, 2, 4), 0);
	expire(first);
	t_str(said, "late:3");
	t_eq(waiting(), 1);
	t_eq(share_has(&th.obj.waits, me), 1);
	end();
}

/* Those for whom it has come, in the order in which they came. */
static void
test_tell(void)
{
	begin(1, OBJECT_STORED);
	t_eq(add(me, 1, 3), 0);
	t_eq(add(me, 2, 4), 0);
	play.due = false;
	wait_tell(&th.obj);
	t_str(said, "");
	t_eq(waiting(), 2);
	play.due = true;
	wait_tell(&th.obj);
	t_str(said, "told:3 told:4");
	t_eq(waiting(), 0);
	t_eq(share_has(&th.obj.waits, me), 0);
	end();
}

/* Those who wait for one of what was undone. */
static void
test_undone(void)
{
	begin(1, OBJECT_STORED);
	t_eq(add(me, 1, 0), 0);
	t_eq(add(me, 2, 4), 0);
	t_eq(add(me, 3, 5), 0);
	wait_undone(&th.obj, WAITS(4) | WAITS(0), -EIO);
	t_str(said, "undone:0:-5 undone:4:-5");
	t_eq(waiting(), 1);
	t_eq(share_has(&th.obj.waits, me), 1);
	wait_undone(&th.obj, 0, -EIO);
	t_eq(waiting(), 1);
	end();
}

static void
test_no_memory(void)
{
	begin(1, OBJECT_STORED);
	ev.fail_new = 1;
	t_eq(add(me, 1, 0), -ENOMEM);
	t_eq(waiting(), 0);
	t_eq(share_has(&th.obj.waits, me), 0);
	ev.no_add = true;
	t_eq(add(me, 1, 0), -ENOMEM);
	ev.no_add = false;
	t_eq(waiting(), 0);
	t_eq(share_has(&th.obj.waits, me), 0);
	t_fail_alloc(1);
	t_eq(add(me, 1, 0), -ENOMEM);
	t_fail_alloc(0);
	t_eq(waiting(), 0);
	end();
}

/* --- object.c --- */

static void
test_init(void)
{
	const struct object_kind *kind;

	begin(1, OBJECT_STORED);
	kind = th.obj.kind;
	object_clear(&th.obj);
	memset(&th.obj, 0xff, sizeof(th.obj));
	object_init(&th.obj, kind, &o);
	t_true(th.obj.kind == kind);
	t_true(th.obj.orchd == &o);
	t_eq(th.obj.life, OBJECT_NEW);
	t_true(!th.obj.woken);
	t_true(!th.obj.writing);
	t_true(th.obj.open.keys == NULL);
	t_true(th.obj.again == NULL);
	t_true(TAILQ_EMPTY(&th.obj.waiters));
	end();
}

/* Woken once, however often; the loop's turn comes; and it may go at any
 * time. */
static void
test_wake(void)
{
	begin(1, OBJECT_STORED);
	object_wake(&th.obj);
	object_wake(&th.obj);
	t_true(TAILQ_FIRST(&o.objects.woken) == &th.obj);
	t_true(TAILQ_NEXT(&th.obj, woke) == NULL);
	(void)event_base_loop(o.base, EVLOOP_NONBLOCK);
	t_eq(turns, 1);
	object_clear(&th.obj);
	t_true(TAILQ_EMPTY(&o.objects.woken));
	object_clear(&th.obj);
	object_wake(&th.obj);
	t_true(TAILQ_FIRST(&o.objects.woken) == &th.obj);
	end();
}

/* Nothing of a waiter is left behind in an object that goes. */
static void
test_clear(void)
{
	begin(1, OBJECT_STORED);
	t_eq(share_take(&th.obj.waits, me, 3), 0);
	end();
}

static void
test_settled(void)
{
	static const struct {
		const char *name;
		enum object_life life;
		bool dirty, writing, want;
	} rows[] = {
		{ "new", OBJECT_NEW, false, false, false },
		{ "stored", OBJECT_STORED, false, false, true },
		{ "gone", OBJECT_GONE, false, false, true },
		{ "never", OBJECT_NEVER, false, false, false },
		{ "stored, more to write", OBJECT_STORED, true, false, false },
		{ "stored, writing", OBJECT_STORED, false, true, false },
		{ "gone, writing", OBJECT_GONE, false, true, false },
		{ "stored, both", OBJECT_STORED, true, true, false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(1, rows[i].life);
		th.obj.open.dirty = rows[i].dirty;
		th.obj.writing = rows[i].writing;
		t_eq(object_settled(&th.obj), rows[i].want);
		end();
	}
}

const struct t_case t_cases[] = {
	{ "waits", test_add },
	{ "as many as may wait", test_many },
	{ "who left", test_left },
	{ "shares of it", test_listed },
	{ "too late", test_late },
	{ "told", test_tell },
	{ "undone", test_undone },
	{ "without memory", test_no_memory },
	{ "a new object", test_init },
	{ "woken", test_wake },
	{ "an object that goes", test_clear },
	{ "settled", test_settled },
	{ NULL, NULL },
};
