#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "tests/orchd/thing.h"
#include "tests/suite/t.h"

/* What stays of a write that failed, and that nothing of it stays behind. */

/* Its result is taken in when it has come, not before. */
static void
test_under_way(void)
{
	begin(1, OBJECT_STORED);
	ask(2, 3, "k");
	write_send(&th.obj);
	write_settle(&th.obj);
	t_true(!object_settled(&th.obj));
	answered(0);
	t_true(!object_settled(&th.obj));
	write_settle(&th.obj);
	t_true(object_settled(&th.obj));
	end();
}

/* A transaction for which there is no memory is one that failed. */
static void
test_no_txn(void)
{
	begin(1, OBJECT_STORED);
	write_fact(&th.obj);
	play.no_txn = true;
	write_send(&th.obj);
	play.no_txn = false;
	write_settle(&th.obj);
	t_true(write_owed(&th.obj));
	end();
}

/* The timer of what is owed: so long, and then the turn looks at it. */
static void
test_again(void)
{
	begin(1, OBJECT_STORED);
	fact(2, "news");
	commit(-EIO);
	t_eq(ev.added.tv_sec, 5);
	t_eq(ev.added.tv_usec, 0);
	TAILQ_REMOVE(&o.objects.woken, &th.obj, woke);
	th.obj.woken = false;
	expire(th.obj.again);
	t_true(th.obj.woken);
	t_true(!write_owed(&th.obj));
	end();
}

/* Somebody asks, with a key or without: what is owed is tried at once. */
static void
test_asked_while_owed(void)
{
	static const char *const keys[] = { "", "k" };
	size_t i;

	for (i = 0; i < nitems(keys); i++) {
		begin(1, OBJECT_STORED);
		fact(2, "news");
		commit(-EIO);
		t_true(write_owed(&th.obj));
		ask(3, 0, keys[i]);
		t_true(!write_owed(&th.obj));
		end();
	}
}

/* So many keys may be owed, with those that the store has; one without is none
 * of them. */
static void
test_keys_end(void)
{
	struct idem_row k = { .vm = 1 };
	unsigned int i;

	begin(1, OBJECT_STORED);
	for (i = 0; i < WRITE_KEYS_MAX; i++) {
		(void)snprintf(k.key, sizeof(k.key), "%u", i);
		t_eq(write_key(&th.obj, &k), 0);
		if (i % 64 == 31)
			write_send(&th.obj);
	}
	t_eq(write_key(&th.obj, &k), -EBUSY);
	t_eq(write_ask(&th.obj, WAITS(1), &k), -EBUSY);
	t_eq(write_key(&th.obj, &(struct idem_row){ 0 }), 0);
	answered(0);
	write_settle(&th.obj);
	t_eq(write_key(&th.obj, &k), 0);
	end();
}

/* What was undone is told once: not to who waits when the rest, which happened
 * by itself, fails again. */
static void
test_undone_once(void)
{
	begin(1, OBJECT_STORED);
	fact(2, "news");
	commit(-EIO);
	ask(3, 0, "k");
	commit(-EIO);
	t_true(write_owed(&th.obj));
	t_eq(wait_add(&th.obj, (struct share_who){ 0 }, 9, 1, 0, 200), 0);
	(void)evtimer_del(th.obj.again);
	said[0] = '\0';
	commit(-EIO);
	t_str(said, "set:2 news");
	end();
}

/* It happened while what was asked was with the store: both fail, twice, and
 * what happened is owed. */
static void
test_fact_meanwhile(void)
{
	begin(1, OBJECT_STORED);
	ask(2, 0, "");
	write_send(&th.obj);
	write_fact(&th.obj);
	answered(-EIO);
	write_settle(&th.obj);
	commit(-EIO);
	t_str(said, "set:2 set:2 undone:0:-5");
	t_true(write_owed(&th.obj));
	end();
}

/* The number that readers are given up to never falls. */
static void
test_told_seq(void)
{
	static const uint64_t seqs[] = { 7, 5, 8 };
	static const uint64_t want[] = { 7, 7, 8 };
	size_t i;

	begin(1, OBJECT_STORED);
	for (i = 0; i < nitems(seqs); i++) {
		play.seq = seqs[i];
		fact(2, "news");
		commit(0);
		t_eq(tenant.told_seq, want[i]);
	}
	end();
}

/* It goes while the store has its row. */
static void
test_goes(void)
{
	begin(1, OBJECT_STORED);
	ask(2, 0, "k");
	write_send(&th.obj);
	answered(0); /* and it is not taken in */
	end();
}

/* Its first row is on its way when more is asked, and fails: it is written with
 * that, or both never were. */
static void
test_new(void)
{
	unsigned int how;

	for (how = 0; how < 4; how++) {
		begin(1, OBJECT_NEW);
		t_eq(write_new(&th.obj, WAITS(4),
			 &(struct idem_row){ .key = { how < 2 ? '\0' : 'n' } }),
		    0);
		write_send(&th.obj);
		ask(2, 0, "k");
		answered(-EIO);
		write_settle(&th.obj);
		t_eq(th.obj.life, OBJECT_NEW);
		said[0] = '\0';
		commit(how % 2 == 0 ? 0 : -EIO);
		if (how % 2 == 0) {
			t_str(said, how < 2 ? "new:2 k" : "new:2 n k");
			t_true(object_settled(&th.obj));
		} else {
			t_str(said,
			    how < 2 ? "new:2 k forget k undone:0:-5"
				    : "new:2 n k forget n forget k "
				      "undone:0:-5");
			t_eq(th.obj.life, OBJECT_NEVER);
		}
		end();
	}
	begin(1, OBJECT_NEW); /* a key of what changed nothing dies with it */
	t_eq(write_key(&th.obj, &(struct idem_row){ .key = "k" }), 0);
	t_eq(write_new(&th.obj, WAITS(4), &(struct idem_row){ 0 }), 0);
	commit(-EIO);
	t_eq(th.obj.life, OBJECT_NEVER);
	end();
}

/* Without a timer the next turn that looks at it tries it; the log says so. */
static void
test_no_timer(void)
{
	char text[256];
	unsigned int how;
	int fd, err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	ssize_t n;

	for (how = 0; how < 3; how++) {
		begin(1, OBJECT_STORED);
		fact(2, "news");
		ev.fail_new = how == 1;
		ev.no_add = how == 2;
		fd = memfd_create("log", MFD_CLOEXEC);
		t_eq(dup3(fd, 2, 0), 2);
		commit(-EIO);
		t_eq(dup3(err, 2, 0), 2);
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
		t_true(strstr(text, "state not written") != NULL);
		t_eq(strstr(text, "no timer") != NULL, how > 0);
		/* the next turn that looks at it tries it */
		t_eq(write_owed(&th.obj), how == 0);
		ev.no_add = false;
		if (how > 0) {
			commit(0);
			t_true(object_settled(&th.obj));
		}
		end();
	}
	(void)close(err);
}

/* The row of before may hold what is secret. */
static void
test_secret(void)
{
	static const int row = 0x5ec2e7a1;
	unsigned int how;

	for (how = 0; how < 4; how++) {
		begin(row, OBJECT_STORED);
		t_secret(&row, sizeof(row));
		ask(2, 0, "k");
		if (how == 1)
			commit(0);
		else if (how == 2)
			commit(-EIO);
		else if (how == 3) { /* undone, when more was asked */
			write_send(&th.obj);
			ask(row, 1, "l");
			ask(3, 2, "");
			answered(-EIO);
			write_settle(&th.obj);
		}
		end();
		t_true(!t_spilled());
		t_secret(NULL, 0);
	}
}

const struct t_case t_cases[] = {
	{ "while it is under way", test_under_way },
	{ "no transaction", test_no_txn },
	{ "tried again later", test_again },
	{ "asked while something is owed, without a key",
	    test_asked_while_owed },
	{ "so many keys", test_keys_end },
	{ "undone once", test_undone_once },
	{ "a fact while something is asked", test_fact_meanwhile },
	{ "the last number told", test_told_seq },
	{ "it goes", test_goes },
	{ "more is asked of a new one", test_new },
	{ "no timer", test_no_timer },
	{ "wiped", test_secret },
	{ NULL, NULL },
};
