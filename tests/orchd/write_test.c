#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/util.h"
#include "proto/right.h"
#include "tests/orchd/played_audit.h"
#include "tests/orchd/thing.h"
#include "tests/suite/t.h"

/* What of an object is not on the disk yet, and what becomes of it when a
 * write fails. */

static const struct share_who nobody;

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
	t_eq(tenant.told_seq, 7);
	commit(0); /* and nothing more */
	t_str(said, "set:2 k set:3 news");
	end();
}

/* Of one that is there, too; and what fails is no reason to lose it. */
static void
test_anew(void)
{
	begin(1, OBJECT_STORED);
	th.row = 4;
	write_anew(&th.obj);
	t_true(th.obj.woken);
	commit(0);
	t_str(said, "new:4");
	t_true(object_settled(&th.obj));
	end();
	begin(1, OBJECT_STORED);
	write_anew(&th.obj);
	commit(-EIO);
	t_eq(th.obj.life, OBJECT_STORED);
	t_true(write_owed(&th.obj));
	end();
}

/* Who waits for what has come hears of it when the disk has it: not while it
 * is to be written, nor while the store has it (I8). */
static void
test_told(void)
{
	begin(1, OBJECT_STORED);
	ask(2, 3, "k");
	wait_tell(&th.obj);
	write_send(&th.obj);
	wait_tell(&th.obj);
	t_str(said, "set:2 k");
	answered(0);
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
	begin(1, OBJECT_STORED);
	ask(2, 0, "a");
	write_send(&th.obj);
	ask(3, 1, "b");
	write_send(&th.obj); /* waits for the first */
	t_str(said, "set:2 a");
	answered(-EIO);
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
	play.full = true;
	ask(2, 3, "a");
	commit(-EIO);
	t_str(said, "set:2 a forget a undone:3:-5");
	ask(2, 3, "a");
	said[0] = '\0';
	commit(0);
	t_str(said, "set:2 a forget oldest");
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
	play.no_key = true;
	t_eq(write_key(&th.obj, &k), -ENOMEM);
	play.no_key = false;
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
	begin(1, OBJECT_STORED);
	fact(2, "a");
	write_send(&th.obj);
	ask(3, 0, "k");
	write_note(&th.obj, 0, 0, "b");
	write_note(&th.obj, 0, 0, "c");
	answered(-EIO);
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
	play.save_r = -ENOMEM;
	write_send(&th.obj);
	play.save_r = 0;
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

/* A kind hears what of what was asked is on the disk, and what will not be,
 * before the row of before comes back. */
static void
test_heard(void)
{
	begin(1, OBJECT_STORED);
	th.obj.kind = &hearing;
	ask(2, 0, "a");
	ask(3, 3, "");
	commit(0);
	t_str(said, "set:3 a kept:9");
	said[0] = '\0';
	fact(4, "news"); /* nobody asked for it */
	commit(0);
	t_str(said, "set:4 news kept:0");
	said[0] = '\0';
	ask(5, 1, "");
	write_send(&th.obj);
	ask(6, 2, "");
	answered(-EIO);
	write_settle(&th.obj);
	t_str(said, "set:5"); /* both may still be */
	said[0] = '\0';
	commit(-EIO);
	t_str(said, "set:6 dropped:6 undone:1:-5 undone:2:-5");
	t_eq(th.row, 104);
	said[0] = '\0';
	fact(7, "news");
	commit(-EIO); /* it stays */
	t_str(said, "set:7 news");
	t_eq(th.row, 7);
	end();
	begin(1, OBJECT_NEW);
	th.obj.kind = &hearing;
	t_eq(write_new(&th.obj, WAITS(1), &(struct idem_row){ 0 }), 0);
	commit(-EIO);
	t_str(said, "new:1 dropped:2:new");
	end();
}

/* What a write has beside what was asked. */
static void
test_asks_only(void)
{
	static const struct {
		const char *name;
		uint32_t first, then, only;
		bool happened;
		const char *says;
	} rows[] = {
		{ "just that", 0, 0, WAITS(0), false, "set:2!" },
		{ "one of two", 1, 1, WAITS(1) | WAITS(2), false, "set:2!" },
		{ "both", 1, 2, WAITS(1) | WAITS(2), false, "set:2!" },
		{ "another", 3, 3, WAITS(1), false, "set:2" },
		{ "another as well", 1, 3, WAITS(1), false, "set:2" },
		{ "the least of them as well", 0, 1, WAITS(1), false, "set:2" },
		{ "what happened", 1, 1, WAITS(1), true, "set:2" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(1, OBJECT_STORED);
		play.only = rows[i].only;
		ask(2, rows[i].first, "");
		ask(2, rows[i].then, "");
		if (rows[i].happened)
			write_fact(&th.obj);
		commit(0);
		t_str(said, rows[i].says);
		end();
	}
	begin(1, OBJECT_STORED); /* nobody asked */
	play.only = WAITS(1);
	write_note(&th.obj, 0, 0, "news");
	commit(0);
	t_str(said, "set:1 news");
	end();
}

/* Which events of a write come behind another. */
static void
test_follows(void)
{
	begin(1, OBJECT_STORED);
	write_note(&th.obj, 0, 0, "a");
	write_note(&th.obj, 1, 0, "b");
	write_note(&th.obj, FOLLOWER, 0, "c");
	write_note(&th.obj, 0, 0, "d");
	commit(0);
	t_str(said, "set:1 a+ b+ c d");
	said[0] = '\0';
	/* one that was undone does not, though it was tried */
	fact(1, "a");
	ask(2, 3, "");
	write_note(&th.obj, FOLLOWER, 0, "b");
	commit(-EIO);
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_str(said, "set:2 a+ b undone:3:-5 set:1 a");
	end();
}

static const struct right acts = { .does = ACTS, .name = "ACT" };

/* A request asks from here on. */
static void
asks(struct audit_ask *a)
{
	*a = (struct audit_ask){ .right = &acts };
	o.audit.asking = a;
	trail[0] = '\0';
}

/* What changes something and the row that tells of it are one write. */
static void
test_trail(void)
{
	struct audit_ask a;

	begin(1, OBJECT_STORED);
	asks(&a);
	ask(2, 3, "k");
	t_true(a.is_noted);
	ask(3, 3, ""); /* one row a request */
	o.audit.asking = NULL;
	commit(0);
	t_str(trail, "ACT thing;");
	fact(4, "news");
	commit(0);
	t_str(trail, "ACT thing;");
	asks(&a);
	a.right = NULL; /* of none */
	ask(5, 3, "");
	commit(0);
	t_str(trail, "");
	end();
	begin(1, OBJECT_NEW);
	asks(&a);
	t_eq(write_new(&th.obj, WAITS(0), &(struct idem_row){ .vm = 1 }), 0);
	commit(0);
	t_str(trail, "ACT thing;");
	trail[0] = '\0';
	write_audit(&th.obj, audit_fact(&tenant, "fact", 0, "", ""));
	commit(0);
	t_str(trail, "fact ;");
	end();
}

/* It goes with what is undone, and stays with what is written later. */
static void
test_trail_fails(void)
{
	struct idem_row k = { .key = "k" };
	struct audit_ask a, b;

	begin(1, OBJECT_STORED);
	asks(&a);
	ask(2, 3, "");
	commit(-EIO);
	t_true(th.obj.sent.audits == NULL && th.obj.open.audits == NULL);
	t_true(object_settled(&th.obj));
	/* what is so already is so, and its key and its row come later */
	asks(&b);
	t_eq(write_key(&th.obj, &k), 0);
	commit(-EIO);
	t_str(trail, "ACT thing;");
	(void)evtimer_del(th.obj.again);
	commit(0);
	t_str(trail, "ACT thing;ACT thing;");
	/* that stays when what is asked behind it is undone */
	asks(&b);
	(void)snprintf(k.key, sizeof(k.key), "l");
	t_eq(write_key(&th.obj, &k), 0);
	asks(&a);
	ask(9, 3, "");
	commit(-EIO);
	(void)evtimer_del(th.obj.again);
	trail[0] = '\0';
	commit(0);
	t_str(trail, "ACT thing;");
	/* nothing is written of one without a key */
	asks(&b);
	k.key[0] = '\0';
	t_eq(write_key(&th.obj, &k), 0);
	t_true(!b.is_noted);
	/* more has been asked meanwhile: both go on */
	ask(3, 3, "");
	write_send(&th.obj);
	t_true(b.is_noted);
	asks(&a);
	ask(4, 3, "");
	answered(-EIO);
	write_settle(&th.obj);
	trail[0] = '\0';
	commit(0);
	t_str(trail, "ACT thing;ACT thing;");
	/* a row that goes */
	asks(&a);
	t_eq(write_ask(&th.obj, WAITS(2), &k), 0);
	write_del(&th.obj, WAITS(2));
	commit(-ENOSPC);
	(void)evtimer_del(th.obj.again);
	trail[0] = '\0';
	commit(0);
	t_str(trail, "ACT thing;");
	end();
}

/* What cannot be recorded is not written. */
static void
test_trail_first(void)
{
	struct audit_ask a;

	begin(1, OBJECT_STORED);
	asks(&a);
	trail_r = -EINVAL;
	ask(2, 3, "");
	commit(0);
	trail_r = 0;
	write_settle(&th.obj);
	t_str(said, "set:2 undone:3:-22");
	t_eq(th.row, 1);
	end();
}

static void
test_trail_bound(void)
{
	struct idem_row k = { .vm = 1 };
	struct audit_ask a;
	unsigned int i;

	begin(1, OBJECT_STORED);
	for (i = 0; i < WRITE_AUDITS_MAX; i++) {
		asks(&a);
		t_eq(write_ask(&th.obj, WAITS(0), &k), 0);
		if (i == WRITE_AUDITS_MAX / 2)
			write_send(&th.obj);
	}
	asks(&a);
	t_eq(write_ask(&th.obj, WAITS(0), &k), -EBUSY);
	t_true(!a.is_noted);
	o.audit.asking = NULL;
	t_eq(write_ask(&th.obj, WAITS(0), &k), 0);
	answered(0);
	commit(0);
	/* what happens by itself has as many, and is logged past them */
	for (i = 0; i <= WRITE_AUDITS_MAX; i++)
		write_audit(&th.obj, audit_fact(&tenant, "f", 0, "", ""));
	write_audit(&th.obj, NULL);
	for (i = 0; th.obj.open.audits != NULL; i++) {
		struct audit_note *n = th.obj.open.audits;

		th.obj.open.audits = n->next;
		free(n);
	}
	t_eq(i, WRITE_AUDITS_MAX);
	end();
}

/* Nothing was ever asked, nothing is owed, and it begins again. */
static void
test_forget(void)
{
	struct idem_row k = { .key = "k" };
	static const struct write none;
	struct audit_ask a;

	begin(1, OBJECT_STORED);
	asks(&a);
	o.audit.asking = NULL;
	fact(2, "news");
	commit(-EIO);
	t_true(write_owed(&th.obj));
	t_eq(write_ask(&th.obj, WAITS(0), &k), 0);
	write_audit(&th.obj, audit_fact(&tenant, "fact", 0, "", ""));
	write_forget(&th.obj);
	t_true(!write_owed(&th.obj));
	t_true(th.obj.again == NULL);
	t_mem(&th.obj.open, sizeof(none), &none, sizeof(none));
	t_mem(&th.obj.sent, sizeof(none), &none, sizeof(none));
	commit(0);
	t_str(trail, "");
	fact(3, "more");
	commit(-EIO);
	write_forget(&th.obj);
	end();
}

static void
test_no_memory(void)
{
	struct idem_row k = { .key = "k" };
	struct audit_ask a;
	unsigned int n;
	bool failed;
	int r;

	for (n = 1;; n++) {
		begin(1, OBJECT_STORED);
		asks(&a);
		t_fail_alloc(n);
		r = write_ask(&th.obj, WAITS(0), &k);
		failed = t_alloc_failed();
		t_fail_alloc(0);
		t_eq(r, failed ? -ENOMEM : 0);
		t_eq(object_settled(&th.obj), failed);
		t_eq(a.is_noted, !failed);
		end();
		if (!failed)
			break;
	}
	/* the row of before, that of the trail, the key, and none */
	t_eq(n, 4);
}

const struct t_case t_cases[] = {
	{ "what is kept is settled", test_kept },
	{ "written anew", test_anew },
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
	{ "a kind hears of it", test_heard },
	{ "what was asked alone", test_asks_only },
	{ "which events follow", test_follows },
	{ "the trail", test_trail },
	{ "the trail and what fails", test_trail_fails },
	{ "no change without the trail", test_trail_first },
	{ "so many rows of the trail", test_trail_bound },
	{ "what is forgotten", test_forget },
	{ "without memory", test_no_memory },
	{ NULL, NULL },
};
