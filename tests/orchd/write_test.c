#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/log.h"
#include "common/util.h"
#include "orchd/object/idem.h"
#include "orchd/object/object.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "tests/suite/t.h"

/*
 * What of an object is not on the disk yet, and what becomes of it when a
 * write fails.  The store is played here: it takes transactions, says what
 * is in them, and answers when it is told to.
 */
struct txn {
	void (*done)(void *arg, int r);
	void *arg;
};

static char said[512]; /* what was sent and told */

static void
note(const char *what)
{
	size_t n = strlen(said);

	(void)snprintf(
	    said + n, sizeof(said) - n, "%s%s", n > 0 ? " " : "", what);
}

static struct txn *last;

struct txn *
txn_new(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	struct txn *t = malloc(sizeof(*t));

	(void)s;
	if (t == NULL)
		return NULL;
	t->done = done;
	t->arg = arg;
	return t;
}

void
txn_free(struct txn *t)
{
	free(t);
}

void
txn_commit(struct txn *t)
{
	t_true(last == NULL); /* one of an object at a time */
	last = t;
}

static bool no_key;

int
idem_use(struct orchd *o, const struct idem_row *row)
{
	(void)o;
	(void)row;
	return no_key ? -ENOMEM : 0;
}

static bool full; /* each key takes another's place */

bool
idem_put(struct orchd *o, struct txn *t, const struct idem_row *row,
    struct idem_row *old)
{
	(void)o;
	(void)t;
	note(row->key);
	*old = (struct idem_row){ .key = "oldest" };
	return full;
}

void
idem_forget(struct orchd *o, const struct idem_row *row)
{
	(void)o;
	note("forget");
	note(row->key);
}

/* --- an object whose row is a number --- */

struct thing {
	struct object obj;
	int row;
};

static const char *
title(const struct object *obj)
{
	(void)obj;
	return "thing";
}

static int save_r;

static int
save(struct txn *t, const struct object *obj, enum write_op op)
{
	static const char *const ops[] = { "set", "new", "del" };
	char text[32];

	(void)t;
	(void)snprintf(text, sizeof(text), "%s:%d", ops[op],
	    ((const struct thing *)obj)->row);
	note(text);
	return save_r;
}

static uint64_t
event(struct txn *t, const struct object *obj, const struct note *n)
{
	(void)t;
	(void)obj;
	note(n->why);
	return 7;
}

static uint64_t
patience_ms(const struct object *obj, uint32_t what)
{
	(void)obj;
	(void)what;
	return 60000;
}

static void
undone(struct object *obj, const struct waiter *w, int r)
{
	char text[32];

	(void)obj;
	(void)snprintf(text, sizeof(text), "undone:%u:%d", w->what, r);
	note(text);
}

static bool
due(const struct object *obj, const struct waiter *w)
{
	(void)obj;
	(void)w;
	return true;
}

static void
answer(struct object *obj, const struct waiter *w)
{
	char text[32];

	(void)obj;
	(void)snprintf(text, sizeof(text), "told:%u", w->what);
	note(text);
}

static const struct object_kind kind = { .name = "thing",
	.row = offsetof(struct thing, row),
	.rowlen = sizeof(int),
	.title = title,
	.save = save,
	.event = event,
	.patience_ms = patience_ms,
	.due = due,
	.answer = answer,
	.undone = undone };

static struct orchd o;
static struct thing th;

static void
begin(int row, enum object_life life)
{
	log_init("write_test", LOG_ERROR);
	memset(&o, 0, sizeof(o));
	o.base = event_base_new();
	TAILQ_INIT(&o.objects.woken);
	o.objects.turn = event_new(o.base, -1, 0, NULL, NULL);
	object_init(&th.obj, &kind, &o);
	th.row = row;
	th.obj.life = life;
	said[0] = '\0';
}

static void
end(void)
{
	object_clear(&th.obj);
	wait_clear(&th.obj);
	write_clear(&th.obj);
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_true(last == NULL);
}

/* The turn, then what the store says. */
static void
commit(int r)
{
	struct txn *t;

	write_send(&th.obj);
	if ((t = last) == NULL)
		return;
	last = NULL;
	t->done(t->arg, r);
	free(t);
	write_settle(&th.obj);
}

static const struct share_who nobody;

static void
ask(int row, uint32_t what, const char *key)
{
	struct idem_row k = { .vm = 1 };

	(void)snprintf(k.key, sizeof(k.key), "%s", key);
	t_eq(wait_add(&th.obj, nobody, 1, 1, what, 200), 0);
	t_eq(write_ask(&th.obj, WAITS(what), &k), 0);
	th.row = row;
}

static void
fact(int row, const char *why)
{
	th.row = row;
	write_note(&th.obj, 0, 0, why);
	write_fact(&th.obj);
}

static void
test_kept(void)
{
	begin(1, OBJECT_STORED);
	t_true(object_settled(&th.obj));
	ask(2, 3, "k");
	t_true(!object_settled(&th.obj));
	commit(0);
	t_str(said, "set:2 k");
	t_true(object_settled(&th.obj));
	fact(3, "news");
	commit(0);
	t_str(said, "set:2 k set:3 news");
	t_true(o.objects.told);
	t_eq(o.tenant.told_seq, 7);
	commit(0); /* and nothing more */
	t_str(said, "set:2 k set:3 news");
	end();
}

/* Who waits for what has come hears of it when the disk has it: not while it
 * is to be written, nor while the store has it (I8). */
static void
test_told(void)
{
	struct txn *t;

	begin(1, OBJECT_STORED);
	ask(2, 3, "k");
	wait_tell(&th.obj);
	write_send(&th.obj);
	wait_tell(&th.obj);
	t_str(said, "set:2 k");
	t = last;
	last = NULL;
	t->done(t->arg, 0);
	free(t);
	wait_tell(&th.obj);
	t_str(said, "set:2 k");
	write_settle(&th.obj);
	wait_tell(&th.obj);
	t_str(said, "set:2 k told:3");
	end();
}

/* As if it had never been asked. */
static void
test_undone(void)
{
	begin(1, OBJECT_STORED);
	ask(2, 3, "k");
	commit(-ENOSPC);
	t_str(said, "set:2 k forget k undone:3:-28");
	t_eq(th.row, 1);
	t_true(object_settled(&th.obj));
	t_true(!write_owed(&th.obj));
	end();
}

/* What happened stays true: it is written later, with its event. */
static void
test_owed(void)
{
	begin(1, OBJECT_STORED);
	fact(2, "news");
	commit(-EIO);
	t_eq(th.row, 2);
	t_true(!object_settled(&th.obj));
	t_true(write_owed(&th.obj));
	write_send(&th.obj); /* but not at once */
	t_true(last == NULL);
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_str(said, "set:2 news set:2 news");
	t_true(object_settled(&th.obj));
	end();
}

/* Asked while something is owed: what happened comes first, and stays when
 * what was asked is undone. */
static void
test_asked_while_owed(void)
{
	begin(1, OBJECT_STORED);
	fact(2, "news");
	commit(-EIO);
	ask(3, 0, "k");
	said[0] = '\0';
	commit(-EIO);
	t_str(said, "set:3 k news forget k undone:0:-5");
	t_eq(th.row, 2);
	t_true(write_owed(&th.obj));
	ask(4, 0, "k2");
	said[0] = '\0';
	commit(0);
	t_str(said, "set:4 k2 news");
	t_true(object_settled(&th.obj));
	end();
}

/* More was asked while the first was under way: both go with the next, and
 * only if that fails too is all undone. */
static void
test_asked_twice(void)
{
	struct txn *t;

	begin(1, OBJECT_STORED);
	ask(2, 0, "a");
	write_send(&th.obj);
	ask(3, 1, "b");
	write_send(&th.obj); /* waits for the first */
	t_str(said, "set:2 a");
	t = last;
	last = NULL;
	t->done(t->arg, -EIO);
	free(t);
	write_settle(&th.obj);
	t_str(said, "set:2 a");
	t_eq(th.row, 3);
	commit(-EIO);
	t_str(said,
	    "set:2 a set:3 a b forget a forget b undone:0:-5 undone:1:-5");
	t_eq(th.row, 1);
	t_true(object_settled(&th.obj));
	end();
}

/* A key of what was so already is not lost with its write. */
static void
test_key(void)
{
	struct idem_row k = { .key = "k" };

	begin(1, OBJECT_STORED);
	t_eq(write_key(&th.obj, &k), 0);
	commit(-EIO);
	t_true(!object_settled(&th.obj));
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_str(said, "set:1 k set:1 k");
	t_true(object_settled(&th.obj));
	end();
}

/* Two requests wait on one VM: one changed nothing, and its write failed; the
 * other's change is undone.  The first one's key goes to the disk still. */
static void
test_key_beside_undone(void)
{
	struct idem_row k = { .key = "k" };

	begin(1, OBJECT_STORED);
	t_eq(write_key(&th.obj, &k), 0);
	commit(-EIO);
	ask(2, 3, "a");
	said[0] = '\0';
	commit(-EIO);
	t_str(said, "set:2 k a forget a undone:3:-5");
	t_eq(th.row, 1);
	t_true(!object_settled(&th.obj));
	(void)evtimer_del(th.obj.again);
	said[0] = '\0';
	commit(0);
	t_str(said, "set:1 k");
	t_true(object_settled(&th.obj));
	end();
}

/* The key that made room for another goes only when that is kept. */
static void
test_key_makes_room(void)
{
	begin(1, OBJECT_STORED);
	full = true;
	ask(2, 3, "a");
	commit(-EIO);
	t_str(said, "set:2 a forget a undone:3:-5");
	ask(2, 3, "a");
	said[0] = '\0';
	commit(0);
	t_str(said, "set:2 a forget oldest");
	full = false;
	end();
}

static void
test_new(void)
{
	struct idem_row k = { .key = "k" };

	begin(1, OBJECT_NEW);
	t_eq(wait_add(&th.obj, nobody, 1, 1, 4, 200), 0);
	t_eq(write_new(&th.obj, WAITS(4), &k), 0);
	commit(0);
	t_eq(th.obj.life, OBJECT_STORED);
	end();
	begin(1, OBJECT_NEW);
	t_eq(wait_add(&th.obj, nobody, 1, 1, 4, 200), 0);
	t_eq(write_new(&th.obj, WAITS(4), &k), 0);
	commit(-ENOSPC);
	t_eq(th.obj.life, OBJECT_NEVER);
	t_str(said, "new:1 k forget k undone:4:-28");
	end();
}

/* A row that cannot be deleted: who waits is told, and it goes later. */
static void
test_del(void)
{
	begin(1, OBJECT_STORED);
	t_eq(wait_add(&th.obj, nobody, 1, 1, 2, 204), 0);
	write_note(&th.obj, 0, 0, "gone");
	write_del(&th.obj, WAITS(2));
	commit(-EIO);
	t_str(said, "del:1 gone undone:2:-5");
	t_eq(th.obj.life, OBJECT_STORED);
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_str(said, "del:1 gone undone:2:-5 del:1 gone");
	t_eq(th.obj.life, OBJECT_GONE);
	end();
}

/* The latest are kept, as many as there is room for. */
static void
test_notes(void)
{
	static const char *const why[] = { "0", "1", "2", "3", "4", "5", "6",
		"7", "8", "9", "10" };
	char want[256];
	unsigned int i, n;
	int len;

	_Static_assert(nitems(why) > WRITE_NOTES_MAX + 2, "more than fit");
	for (n = WRITE_NOTES_MAX - 1; n <= WRITE_NOTES_MAX + 2; n++) {
		t_row(why[n]);
		begin(1, OBJECT_STORED);
		for (i = 0; i < n; i++)
			write_note(&th.obj, 0, 0, why[i]);
		commit(0);
		len = snprintf(want, sizeof(want), "set:1");
		for (i = n > WRITE_NOTES_MAX ? n - WRITE_NOTES_MAX : 0; i < n;
		     i++)
			len += snprintf(want + len, sizeof(want) - (size_t)len,
			    " %s", why[i]);
		t_str(said, want);
		end();
	}
}

/* Those of before what was asked stay when that is undone, be they lost to
 * later ones or not. */
static void
test_notes_undone(void)
{
	static const struct {
		const char *name, *want;
		unsigned int before, after;
	} rows[] = {
		{ "none before", "", 0, 1 },
		{ "one before", "set:1 0", 1, 1 },
		{ "all fit", "set:1 0 1", 2, 6 },
		{ "one lost", "set:1 1", 2, 7 },
		{ "two lost", "", 2, 8 },
		{ "more lost than there were", "", 2, 9 },
	};
	static const char *const why[] = { "0", "1" };
	size_t i;
	unsigned int n;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(1, OBJECT_STORED);
		for (n = 0; n < rows[i].before; n++) {
			write_note(&th.obj, 0, 0, why[n]);
			write_fact(&th.obj);
		}
		ask(2, 3, "");
		for (n = 0; n < rows[i].after; n++)
			write_note(&th.obj, 0, 0, "later");
		commit(-EIO);
		t_eq(th.row, 1);
		t_eq(write_owed(&th.obj), rows[i].before > 0);
		said[0] = '\0';
		if (write_owed(&th.obj))
			(void)evtimer_del(th.obj.again);
		commit(0);
		if (rows[i].want[0] == '\0' && rows[i].before > 0)
			t_str(said, "set:1");
		else
			t_str(said, rows[i].want);
		end();
	}
}

/* Somebody waits for a key: what is owed does not wait for its timer then. */
static void
test_key_while_owed(void)
{
	const struct idem_row k = { .key = "k" };

	begin(1, OBJECT_STORED);
	fact(2, "news");
	commit(-EIO);
	t_true(write_owed(&th.obj));
	t_eq(write_key(&th.obj, &(struct idem_row){ 0 }), 0);
	t_true(write_owed(&th.obj));
	no_key = true;
	t_eq(write_key(&th.obj, &k), -ENOMEM);
	no_key = false;
	t_true(write_owed(&th.obj));
	t_eq(write_key(&th.obj, &k), 0);
	t_true(!write_owed(&th.obj));
	said[0] = '\0';
	commit(0);
	t_str(said, "set:2 k news");
	end();
}

/* What happened, and what was asked while the store had it: both fail, and only
 * what happened stays, with its event. */
static void
test_asked_meanwhile(void)
{
	struct txn *t;

	begin(1, OBJECT_STORED);
	fact(2, "a");
	write_send(&th.obj);
	t = last;
	last = NULL;
	ask(3, 0, "k");
	write_note(&th.obj, 0, 0, "b");
	write_note(&th.obj, 0, 0, "c");
	t->done(t->arg, -EIO);
	free(t);
	write_settle(&th.obj);
	t_true(!write_owed(&th.obj)); /* both at once */
	said[0] = '\0';
	commit(-EIO);
	t_str(said, "set:3 k a b c forget k undone:0:-5");
	t_eq(th.row, 2);
	t_true(write_owed(&th.obj));
	(void)evtimer_del(th.obj.again);
	said[0] = '\0';
	commit(0);
	t_str(said, "set:2 a");
	end();
}

/* A transaction that cannot be made is one that failed: tried again later. */
static void
test_not_sent(void)
{
	struct timeval now, tv;

	begin(1, OBJECT_STORED);
	write_fact(&th.obj);
	object_clear(&th.obj);
	TAILQ_INIT(&o.objects.woken);
	save_r = -ENOMEM;
	write_send(&th.obj);
	save_r = 0;
	t_true(last == NULL);
	t_true(th.obj.woken);
	write_settle(&th.obj);
	t_true(write_owed(&th.obj));
	(void)gettimeofday(&now, NULL);
	t_true(event_pending(th.obj.again, EV_TIMEOUT, &tv));
	t_true(tv.tv_sec - now.tv_sec >= 4 && tv.tv_sec - now.tv_sec <= 5);
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_true(!o.objects.told); /* there is no event */
	t_true(object_settled(&th.obj));
	end();
}

/* What is to be written wakes its object, and is to be written at once. */
static void
test_wakes(void)
{
	const struct idem_row k = { .key = "k" };
	unsigned int how;

	for (how = 0; how < 6; how++) {
		begin(1, OBJECT_STORED);
		t_true(!th.obj.woken);
		if (how == 0)
			write_fact(&th.obj);
		else if (how == 1)
			write_note(&th.obj, 0, 0, "news");
		else if (how == 2)
			t_eq(write_key(&th.obj, &k), 0);
		else if (how == 3)
			t_eq(write_ask(&th.obj, 0, &(struct idem_row){ 0 }), 0);
		else if (how == 4)
			t_eq(write_new(&th.obj, 0, &(struct idem_row){ 0 }), 0);
		else
			write_del(&th.obj, 0);
		t_true(th.obj.woken);
		t_true(!object_settled(&th.obj));
		t_true(TAILQ_FIRST(&o.objects.woken) == &th.obj);
		commit(0);
		t_true(said[0] != '\0');
		t_true(how == 5 || object_settled(&th.obj));
		end();
	}
}

static void
test_no_memory(void)
{
	struct idem_row k = { .key = "k" };
	unsigned int n;
	bool failed;
	int r;

	for (n = 1;; n++) {
		begin(1, OBJECT_STORED);
		t_fail_alloc(n);
		r = write_ask(&th.obj, WAITS(0), &k);
		failed = t_alloc_failed();
		t_fail_alloc(0);
		t_eq(r, failed ? -ENOMEM : 0);
		t_eq(object_settled(&th.obj), failed);
		end();
		if (!failed)
			break;
	}
	t_eq(n, 3); /* the row of before, the key, and none */
}

const struct t_case t_cases[] = {
	{ "what is kept is settled", test_kept },
	{ "told when it is on the disk", test_told },
	{ "what cannot be kept is undone", test_undone },
	{ "what happened is written later", test_owed },
	{ "asked while something is owed", test_asked_while_owed },
	{ "asked twice", test_asked_twice },
	{ "a key is not lost with its write", test_key },
	{ "a key beside what is undone", test_key_beside_undone },
	{ "a key makes room for another", test_key_makes_room },
	{ "the first write", test_new },
	{ "the last write", test_del },
	{ "more notes than fit", test_notes },
	{ "notes of before what is undone", test_notes_undone },
	{ "a key while something is owed", test_key_while_owed },
	{ "asked while something is written", test_asked_meanwhile },
	{ "what could not be sent", test_not_sent },
	{ "what is to be written wakes", test_wakes },
	{ "without memory", test_no_memory },
	{ NULL, NULL },
};
