#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/clock.h"
#include "common/util.h"
#include "orchd/object/object.h"
#include "orchd/orchd.h"
#include "orchd/vm/queue.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

/* Who waits for a stream, and whose turn it is; the clock is played. */

static int64_t now_ms;
static long blocks;
static const uint32_t listed[SHARE_LISTED] = { 3, 1 };
static const struct object_kind kind = { .name = "thing" };
static struct orchd o;
static struct object obj;
static struct queue q;
static struct share streams;

int64_t
clock_ms(void)
{
	return now_ms;
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void
begin(uint64_t total)
{
	ev = (struct ev){ .fail_new = 0 };
	blocks = t_live();
	memset(&o, 0, sizeof(o));
	o.base = event_base_new();
	TAILQ_INIT(&o.objects.woken);
	o.objects.turn = event_new(o.base, -1, 0, on_turn, NULL);
	object_init(&obj, &kind, &o);
	memset(&q, 0xff, sizeof(q));
	queue_init(&q, listed);
	share_init(&streams, total, listed);
	now_ms = 1000;
}

static void
end(void)
{
	queue_clear(&q);
	queue_clear(&q);
	t_eq(q.places.taken, 0);
	share_clear(&streams);
	object_clear(&obj);
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_eq(t_live(), blocks);
}

static struct share_who
user(uint32_t uid)
{
	return (struct share_who){ uid, SHARE_USER, 0 };
}

/* conn: also says when it came. */
static int
add(uint32_t uid, uint64_t conn)
{
	const struct stream_ask a = { .who = user(uid), .conn = conn };

	return queue_add(&q, &obj, &a);
}

/* The next one gets what it waits for: its connection, or 0. */
static uint64_t
serve(void)
{
	struct queued *who = queue_next(&q, &streams);
	uint64_t conn;

	if (who == NULL)
		return 0;
	conn = who->ask.conn;
	t_eq(share_take(&streams, who->ask.who, 1), 0);
	queue_remove(&q, who);
	return conn;
}

/* Of 16 each user has one for himself and the admin two; eleven are common. */
static void
turns(void)
{
	int i;

	begin(16);
	for (i = 0; i < 12; i++)
		t_eq(share_take(&streams, user(1), 1), 0);
	t_eq(share_take(&streams, user(1), 1), -EBUSY);
	t_eq(share_take(&streams, user(2), 1), 0);
	for (i = 1; i <= 9; i++)
		t_eq(add(1, (uint64_t)i), 0);
	t_eq(add(2, 10), 0);
	t_eq(add(2, 11), 0);
	t_eq(serve(), 0);
	/* what is kept for him nobody waits for */
	t_eq(add(3, 12), 0);
	t_eq(add(3, 13), 0);
	t_eq(serve(), 12);
	t_eq(serve(), 0);
	/* who has fewest comes first, then who waits longest */
	share_give(&streams, user(1), 5);
	t_eq(serve(), 10);
	t_eq(serve(), 13);
	t_eq(serve(), 11);
	t_eq(serve(), 1);
	t_eq(serve(), 2);
	t_eq(serve(), 0);
	/* who could not have it is passed over */
	share_give(&streams, user(1), 2);
	TAILQ_FIRST(&q.list)->is_held = true;
	t_eq(serve(), 4);
	TAILQ_FIRST(&q.list)->is_held = false;
	t_eq(serve(), 3);
	t_eq(add(1, 3), 0);
	t_eq(add(1, 4), 0);
	/* who goes leaves nothing, and takes nobody's turn */
	queue_drop(&q, 3);
	queue_drop(&q, 3);
	queue_drop(&q, 99);
	share_give(&streams, user(3), 1);
	t_eq(serve(), 5);
	t_eq(share_has(&q.places, user(1)), 5);
	end();
}

/* Nobody has all places; all are given back. */
static void
places(void)
{
	const struct stream_ask admin = { .who = {
					      .uid = 1, .kind = SHARE_ADMIN } };
	uint64_t n = 0;

	begin(0);
	while (n <= QUEUE_MAX && add(1, n + 1) == 0)
		n++;
	t_eq(n, QUEUE_MAX - 2 * 10 - 16);
	t_eq(add(1, 1000), -EBUSY);
	for (n = 0; n < 10; n++)
		t_eq(add(2, 2000 + n), 0);
	t_eq(add(2, 3000), -EBUSY);
	for (n = 0; n < 16; n++)
		t_eq(queue_add(&q, &obj, &admin), 0);
	t_eq(queue_add(&q, &obj, &admin), -EBUSY);
	t_eq(serve(), 0);
	queue_drop(&q, 7);
	t_eq(add(2, 3000), 0);
	end();
}

/* Its timer is for the first, to the millisecond. */
static void
armed(void)
{
	static const struct {
		const char *name;
		int64_t waited;
		long s, us;
	} rows[] = {
		{ "at first", 0, 30, 0 },
		{ "later", 1, 29, 999000 },
		{ "at last", QUEUE_MS - 1, 0, 1000 },
		{ "over", QUEUE_MS, 0, 0 },
		{ "long over", (int64_t)2 * QUEUE_MS, 0, 0 },
	};
	size_t i;

	begin(0);
	t_eq(queue_arm(&q), 0); /* nobody waits, or ever did */
	t_eq(add(1, 1), 0);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		now_ms = 1000 + rows[i].waited;
		t_eq(queue_arm(&q), 0);
		t_eq(ev.added.tv_sec, rows[i].s);
		t_eq(ev.added.tv_usec, rows[i].us);
		t_true(evtimer_pending(q.timer, NULL));
	}
	now_ms = 1000;
	queue_drop(&q, 1);
	t_eq(queue_arm(&q), 0);
	t_true(!evtimer_pending(q.timer, NULL));
	queue_clear(&q);
	t_true(q.timer == NULL);
	t_eq(add(1, 1), 0); /* as new */
	end();
}

/* The object is woken when the first one's time is over, not before. */
static void
woken(void)
{
	int i;

	begin(0);
	t_eq(add(1, 1), 0);
	now_ms += QUEUE_MS - 30;
	t_eq(add(1, 2), 0);
	t_eq(TAILQ_FIRST(&q.list)->end_ms, 1000 + QUEUE_MS);
	t_eq(queue_arm(&q), 0);
	(void)event_base_loop(o.base, EVLOOP_NONBLOCK);
	t_true(!obj.woken);
	for (i = 0; i < 100 && !obj.woken; i++)
		(void)event_base_loop(o.base, EVLOOP_ONCE);
	t_true(obj.woken);
	now_ms += 30;
	queue_drop(&q, 1);
	queue_drop(&q, 2);
	t_true(queue_is_empty(&q));
	t_eq(queue_arm(&q), 0);
	t_true(!evtimer_pending(q.timer, NULL));
	end();
}

/* Who is not added leaves nothing of his, beside others of his user. */
static bool
fails_at(unsigned int n, unsigned int others)
{
	bool failed;
	int r;

	begin(0);
	if (others > 0)
		t_eq(add(1, 1), 0);
	t_fail_alloc(n);
	r = add(1, 2);
	failed = t_alloc_failed();
	t_fail_alloc(0);
	t_eq(r, failed ? -ENOMEM : 0);
	t_eq(share_has(&q.places, user(1)), others + !failed);
	t_eq(queue_is_empty(&q), failed && others == 0);
	end();
	return failed;
}

static void
out_of_memory(void)
{
	unsigned int n;

	for (n = 1; fails_at(n, 0); n++)
		;
	/* his user's part, his place; a timer, too, but where a sanitizer has
	 * the allocator: there the library's own calls do not fail */
	t_true(n > 2);
	for (n = 1; fails_at(n, 1); n++)
		;
	t_eq(n, 2);
	begin(0);
	ev.no_add = true;
	t_eq(add(1, 1), -ENOMEM);
	t_true(queue_is_empty(&q));
	end();
}

const struct t_case t_cases[] = { { "turns", turns }, { "places", places },
	{ "armed", armed }, { "woken", woken },
	{ "out of memory", out_of_memory }, { NULL, NULL } };
