#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "orchd/object/idem.h"
#include "tests/orchd/thing.h"
#include "tests/suite/t.h"

char said[512];
struct orchd o;
struct tenant tenant;
struct thing th;
struct txn *last;
struct play play;

static long blocks;
static long txns;

static void
note(const char *what)
{
	size_t n = strlen(said);

	(void)snprintf(
	    said + n, sizeof(said) - n, "%s%s", n > 0 ? " " : "", what);
}

/* --- the store --- */

struct txn *
txn_new(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	struct txn *t;

	(void)s;
	if (play.no_txn || (t = malloc(sizeof(*t))) == NULL)
		return NULL;
	t->done = done;
	t->arg = arg;
	txns++;
	return t;
}

void
txn_free(struct txn *t)
{
	txns--;
	free(t);
}

void
txn_commit(struct txn *t)
{
	t_true(last == NULL); /* one of an object at a time */
	last = t;
}

int
idem_use(struct orchd *orchd, const struct idem_row *row)
{
	(void)orchd;
	(void)row;
	return play.no_key ? -ENOMEM : 0;
}

bool
idem_put(struct orchd *orchd, struct txn *t, const struct idem_row *row,
    struct idem_row *old)
{
	(void)orchd;
	(void)t;
	note(row->key);
	*old = (struct idem_row){ .key = "oldest" };
	return play.full;
}

void
idem_forget(struct orchd *orchd, const struct idem_row *row)
{
	(void)orchd;
	note("forget");
	note(row->key);
}

/* --- the object --- */

static const char *
title(const struct object *obj)
{
	(void)obj;
	return "thing";
}

static int
save(struct txn *t, const struct object *obj, enum write_op op)
{
	static const char *const ops[] = { "set", "new", "del" };
	char text[32];

	(void)t;
	(void)snprintf(text, sizeof(text), "%s:%d%s", ops[op],
	    ((const struct thing *)obj)->row,
	    write_asks_only(obj, play.only) ? "!" : "");
	note(text);
	return play.save_r;
}

static uint64_t
event(struct txn *t, const struct object *obj, const struct note *n)
{
	char text[32];

	(void)t;
	(void)snprintf(text, sizeof(text), "%s%s", n->why,
	    write_follows(obj, n, FOLLOWER) ? "+" : "");
	note(text);
	return play.seq;
}

static uint64_t
patience_ms(const struct object *obj, uint32_t what)
{
	(void)obj;
	(void)what;
	return play.patience_ms;
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
	return play.due;
}

/* As an apid does that does not take it: that ends all of its connection. */
static void
answer(struct object *obj, const struct waiter *w)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "told:%u", w->what);
	note(text);
	wait_drop(obj, w->conn);
}

static void
late(struct object *obj, const struct waiter *w)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "late:%u", w->what);
	note(text);
	wait_drop(obj, w->conn);
}

static void
kept(struct object *obj, uint32_t asked)
{
	char text[32];

	(void)obj;
	(void)snprintf(text, sizeof(text), "kept:%u", asked);
	note(text);
}

static void
dropped(struct object *obj, uint32_t asked, void *was)
{
	char text[32];

	(void)obj;
	(void)snprintf(text, sizeof(text), "dropped:%u%s", asked,
	    was == NULL ? ":new" : "");
	note(text);
	if (was != NULL)
		*(int *)was += 100;
}

#define KIND                                                                 \
	.name = "thing", .row = offsetof(struct thing, row),                 \
	.rowlen = sizeof(int), .title = title, .save = save, .event = event, \
	.patience_ms = patience_ms, .due = due, .answer = answer,            \
	.late = late, .undone = undone
static const struct object_kind kind = { KIND };
const struct object_kind hearing = { KIND, .kept = kept, .dropped = dropped };

/* --- a test --- */

unsigned int turns;

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	turns++;
}

void
begin(int row, enum object_life life)
{
	log_init("thing", LOG_ERROR);
	play = (struct play){ .seq = 7, .patience_ms = 60000, .due = true };
	ev = (struct ev){ .fail_new = 0 };
	blocks = t_live();
	memset(&o, 0, sizeof(o));
	o.base = event_base_new();
	TAILQ_INIT(&o.objects.woken);
	o.objects.turn = event_new(o.base, -1, 0, on_turn, NULL);
	turns = 0;
	object_init(&th.obj, &kind, &o);
	tenant.told_seq = 0;
	th.obj.tenant = &tenant;
	th.row = row;
	th.obj.life = life;
	said[0] = '\0';
}

void
expire(struct event *timer)
{
	ev_expire(o.base, timer);
}

void
end(void)
{
	wait_clear(&th.obj);
	write_clear(&th.obj);
	object_clear(&th.obj);
	t_true(TAILQ_EMPTY(&o.objects.woken));
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_true(last == NULL);
	t_eq(txns, 0);
	t_eq(t_live(), blocks);
}

void
answered(int r)
{
	struct txn *t = last;

	last = NULL;
	t->done(t->arg, r);
	txn_free(t);
}

void
commit(int r)
{
	write_send(&th.obj);
	if (last == NULL)
		return;
	answered(r);
	write_settle(&th.obj);
}

static const struct share_who nobody;
static uint64_t conns; /* one question at a time of each */

void
ask(int row, uint32_t what, const char *key)
{
	struct idem_row k = { .vm = 1 };

	(void)snprintf(k.key, sizeof(k.key), "%s", key);
	t_eq(wait_add(&th.obj, nobody, ++conns, 1, what, 200), 0);
	t_eq(write_ask(&th.obj, WAITS(what), &k), 0);
	th.row = row;
}

void
fact(int row, const char *why)
{
	th.row = row;
	write_note(&th.obj, 0, 0, why);
	write_fact(&th.obj);
}
