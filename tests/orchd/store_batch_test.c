#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "orchd/store.h"
#include "tests/orchd/played_sql.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

/*
 * Which statements a batch of transactions becomes, and what each is told,
 * whatever fails; what is below is played.
 */
#define FREED "fin:21 fin:1 fin:1 fin:4 close:r close:w unreserve"

static struct event_base *base;
static struct store *st;
static unsigned int done, again;
static long blocks;

static void
begin_closed(void)
{
	play_begin();
	blocks = t_live();
	base = event_base_new();
	st = NULL;
	done = again = 0;
}

static void
begin(void)
{
	struct err e = { 0 };

	begin_closed();
	t_eq(store_open("p", &st, &e), 0);
	SAYS("reserve open:w migrate prepare open:r events trail");
	t_eq(store_start(st, base, &e), 0);
}

static void
end(void)
{
	store_free(st);
	event_base_free(base);
	play_end();
	t_eq(t_live(), blocks);
}

static void
on_done(void *arg, int r)
{
	note("%s=%d", (const char *)arg, r);
	done++;
}

static struct txn *
txn(const char *name)
{
	return txn_new(st, on_done, (void *)(uintptr_t)name);
}

/* One that sets a VM. */
static void
ask(const char *name, uint64_t vmid)
{
	const struct vm_row row = { .vmid = vmid, .request = { "no", 2, 1 } };
	struct txn *t = txn(name);

	txn_vm_set(t, &row);
	txn_commit(t);
}

/* One that takes something new in. */
static void
ask_new(const char *name, uint64_t vmid)
{
	const struct vm_row row = { .vmid = vmid, .request = { "r", 1, 1 } };
	struct txn *t = txn(name);

	txn_vm_put(t, &row);
	txn_needs_room(t);
	txn_commit(t);
}

/* Until so many are told. */
static void
told(unsigned int n)
{
	while (done < n)
		(void)event_base_loop(base, EVLOOP_ONCE);
}

#define SET(n) "SAVEPOINT t set:" #n " RELEASE t"
#define PUT(n) "SAVEPOINT t put:" #n ":r RELEASE t"

static void
test_batch(void)
{
	begin();
	ask("a", 1);
	ask("b", 2);
	ask_new("c", 3);
	told(3);
	SAYS("make BEGIN " SET(1) " " SET(2) " " PUT(3) " COMMIT a=0 b=0 c=0");
	t_true(play.blocked); /* signals are the loop's */
	t_eq(store_health(st), 0);
	ask("d", 4);
	told(4);
	SAYS("make BEGIN " SET(4) " COMMIT d=0");
	end();
}

/* Each has its own copy of what it was given. */
static void
test_rows(void)
{
	char text[] = "ab", body[] = "e";
	struct vm_row vm = { .vmid = 7, .request = { text, 2, 1 } };
	struct event_row event = { .seq = 8, .body = { body, 1, 1 } };
	struct idem_row key = { .key = "k" };
	const struct tenant_row tenant = {
		.id = 4, .name = "t", .spec = { text, 2, 1 }
	};
	const struct audit_row act = { .tenant = 3, .entry = { text, 2, 1 } };
	struct txn *t;

	begin();
	t = txn("a");
	txn_vm_put(t, &vm);
	txn_vm_set(t, &vm);
	txn_vm_name(t, 7, "b");
	txn_vm_del(t, 9);
	txn_event(t, &event);
	txn_idem(t, &key);
	txn_idem_del(t, &key);
	txn_audit(t, &act);
	txn_tenant_put(t, &tenant);
	txn_tenant_set(t, &tenant);
	txn_tenant_del(t, 4);
	memset(text, 'x', 2);
	memset(body, 'x', 1);
	memset(&key, 0, sizeof(key));
	t_secret("ab", 2);
	txn_commit(t);
	told(1);
	t_true(!t_spilled());
	t_secret(NULL, 0);
	SAYS("make BEGIN SAVEPOINT t put:7:ab set:7 name:7:b del:9 event:8:e "
	     "key:k nokey:k audit:3:ab tenant:t:ab retenant:4:ab notenant:4 "
	     "RELEASE t COMMIT a=0");
	t = txn_new(st, NULL, NULL); /* nobody waits for it */
	txn_vm_del(t, 1);
	txn_commit(t);
	ask("b", 2);
	told(2);
	t = txn("c"); /* and one that is not to be */
	txn_vm_del(t, 1);
	txn_vm_put(t, &vm);
	txn_free(t);
	txn_free(NULL);
	end();
}

/* Nothing is written of what could not be taken. */
static void
test_no_memory(void)
{
	const struct vm_row vm = { .request = { "r", 1, 1 } };
	const struct event_row event = { .seq = 1, .body = { "e", 1, 1 } };
	const struct idem_row key = { .key = "k" };
	struct txn *t;
	unsigned int how;

	begin();
	t_fail_alloc(1);
	t_true(txn("a") == NULL);
	for (how = 0; how < 6; how++) {
		t = txn("a");
		t_fail_alloc(1);
		if (how == 0)
			txn_vm_put(t, &vm);
		else if (how == 1)
			txn_vm_set(t, &vm);
		else if (how == 2)
			txn_vm_del(t, 1);
		else if (how == 3)
			txn_event(t, &event);
		else if (how == 4)
			txn_idem(t, &key);
		else
			txn_idem_del(t, &key);
		t_true(t_alloc_failed());
		txn_commit(t);
		told(how + 1);
		SAYS("make BEGIN COMMIT a=-12");
		t_eq(store_health(st), 0);
	}
	end();
}

/* What fails, and what each is told: a sets 1, b puts 2, c sets 3. */
static const struct {
	const char *name;
	struct failing fail[2];
	const char *says;
	int health;
} rows[] = {
	{ "one of them", { { "set:1", 1, -EROFS, false } },
	    "make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t " PUT(
		2) " " SET(3) " COMMIT a=-30 b=0 c=0",
	    0 },
	{ "the last", { { "set:3", 1, -EROFS, false } },
	    "make BEGIN " SET(1) " " PUT(2) " SAVEPOINT t set:3 ROLLBACK TO t "
					    "RELEASE t COMMIT a=0 b=0 c=-30",
	    -EROFS },
	{ "a row that cannot be", { { "set:3", 1, -EEXIST, false } },
	    "make BEGIN " SET(1) " " PUT(2) " SAVEPOINT t set:3 ROLLBACK TO t "
					    "RELEASE t COMMIT a=0 b=0 c=-17",
	    0 },
	{ "its savepoint", { { "SAVEPOINT t", 1, -EIO, false } },
	    "make BEGIN SAVEPOINT t " PUT(2) " " SET(3) " COMMIT a=-5 b=0 c=0",
	    0 },
	{ "and all is undone", { { "set:1", 1, -EROFS, true } },
	    "make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t a=-30 b=-30 "
	    "c=-30",
	    -EROFS },
	{ "all is undone by what went well", { { "RELEASE t", 1, 0, true } },
	    "make BEGIN " SET(1) " a=-5 b=-5 c=-5", -EIO },
	{ "the begin", { { "BEGIN", 1, -EBUSY, false } },
	    "make BEGIN a=-16 b=-16 c=-16", -EBUSY },
	{ "the commit", { { "COMMIT", 1, -EIO, false } },
	    "make BEGIN " SET(1) " " PUT(2) " " SET(
		3) " COMMIT ROLLBACK a=-5 b=-5 c=-5",
	    -EIO },
	{ "the commit, and all is undone", { { "COMMIT", 1, -EIO, true } },
	    "make BEGIN " SET(1) " " PUT(2) " " SET(3) " COMMIT a=-5 b=-5 c=-5",
	    -EIO },
	{ "one, and the commit",
	    { { "set:1", 1, -EROFS, false }, { "COMMIT", 1, -EIO, false } },
	    "make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t " PUT(
		2) " " SET(3) " COMMIT ROLLBACK a=-30 b=-5 c=-5",
	    -EIO },
};

static void
test_fails(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin();
		memcpy(play.fail, rows[i].fail, sizeof(rows[i].fail));
		ask("a", 1);
		ask_new("b", 2);
		ask("c", 3);
		told(3);
		SAYS(rows[i].says);
		t_eq(store_health(st), rows[i].health);
		ask("d", 4); /* and goes on as if nothing had been */
		told(4);
		SAYS("make BEGIN " SET(4) " COMMIT d=0");
		t_eq(store_health(st), 0);
		end();
	}
}

/* --- a full disk: a sets 1, b takes 2 in --- */

static void
both(void)
{
	ask("a", 1);
	ask_new("b", 2);
	told(2);
}

static void
test_full(void)
{
	begin(); /* what the log has done with is room enough */
	play.fail[0] = (struct failing){ "COMMIT", 1, -ENOSPC, false };
	both();
	SAYS("make BEGIN " SET(1) " " PUT(2) " COMMIT ROLLBACK checkpoint "
					     "BEGIN " SET(
						 1) " COMMIT make a=0 b=-28");
	end();
	begin(); /* the reserve has two steps */
	play.fail[0] = (struct failing){ "set:1", 3, -ENOSPC, false };
	play.gives = 2;
	both();
	/* what takes something in is in it, and so it is told */
	SAYS("make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t " PUT(
	    2) " COMMIT "
	       "checkpoint BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t "
	       "COMMIT give "
	       "checkpoint BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t "
	       "COMMIT give "
	       "checkpoint BEGIN " SET(1) " COMMIT make a=0 b=0");
	end();
	begin(); /* nor is another written twice */
	play.fail[0] = (struct failing){ "set:1", 1, -ENOSPC, false };
	ask("a", 1);
	ask("c", 3);
	told(2);
	SAYS("make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t " SET(
	    3) " COMMIT checkpoint "
	       "BEGIN " SET(1) " COMMIT make a=0 c=0");
	end();
	begin(); /* and none */
	play.fail[0] = (struct failing){ "COMMIT", 2, -ENOSPC, false };
	both();
	SAYS("make BEGIN " SET(1) " " PUT(
	    2) " COMMIT ROLLBACK checkpoint "
	       "BEGIN " SET(1) " COMMIT ROLLBACK give make a=-28 b=-28");
	t_eq(store_health(st), -ENOSPC);
	end();
}

/* What takes something in is not tried again, for it alone. */
static void
test_full_for_new(void)
{
	begin();
	play.fail[0] = (struct failing){ "put:2:r", 1, -ENOSPC, false };
	ask("a", 1);
	ask_new("b", 2);
	ask("c", 3);
	told(3);
	SAYS(
	    "make BEGIN " SET(1) " SAVEPOINT t put:2:r ROLLBACK TO t RELEASE t " SET(
		3) " COMMIT a=0 b=-28 c=0");
	end();
	begin(); /* one that ran out of memory stays so */
	play.fail[0] = (struct failing){ "set:1", 1, -ENOSPC, false };
	play.fail[1] = (struct failing){ "set:3", 1, -EIO, false };
	ask("a", 1);
	ask("c", 3);
	told(2);
	SAYS("make BEGIN SAVEPOINT t set:1 ROLLBACK TO t RELEASE t "
	     "SAVEPOINT t set:3 ROLLBACK TO t RELEASE t COMMIT checkpoint "
	     "BEGIN " SET(1) " COMMIT make a=0 c=-5");
	end();
}

/* While the reserve is not whole nothing new is taken in, and it is said. */
static void
test_not_whole(void)
{
	begin();
	play.not_whole[0] = true;
	both();
	SAYS("make BEGIN " SET(1) " COMMIT a=0 b=-28");
	ask("c", 3); /* it is made again */
	told(3);
	SAYS("make BEGIN " SET(3) " COMMIT c=0");
	t_eq(store_health(st), 0);
	play.not_whole[2] = true;
	ask("d", 4);
	told(4);
	t_eq(store_health(st), -ENOSPC);
	end();
	begin(); /* also when it was given away for this */
	play.fail[0] = (struct failing){ "COMMIT", 2, -ENOSPC, false };
	play.gives = 1;
	play.not_whole[1] = true;
	ask("a", 1);
	told(1);
	t_eq(store_health(st), -ENOSPC);
	end();
	begin(); /* what failed otherwise is said first */
	play.fail[0] = (struct failing){ "COMMIT", 1, -EIO, false };
	play.not_whole[0] = true;
	ask("a", 1);
	told(1);
	t_eq(store_health(st), -EIO);
	end();
	begin(); /* what failed already stays as it is */
	play.not_whole[0] = true;
	t_fail_alloc(2);
	ask_new("a", 1);
	t_true(t_alloc_failed());
	told(1);
	SAYS("make BEGIN COMMIT a=-12");
	end();
}

/* --- turns --- */

/* What comes while the worker is at it is the next batch. */
static void
test_busy(void)
{
	begin();
	play.gate = true;
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	ask("b", 2);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	ask("c", 3);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	t_eq(done, 0);
	(void)sem_post(&gate_open);
	(void)sem_post(&gate_open);
	told(3);
	SAYS("make BEGIN " SET(1) " COMMIT a=0 make BEGIN " SET(2) " " SET(
	    3) " COMMIT b=0 c=0");
	end();
}

/* Or when it has ended, and nobody was told yet. */
static void
test_ended(void)
{
	begin();
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	play_wait();
	ask("b", 2); /* the turn comes first */
	told(2);
	SAYS("make BEGIN " SET(1) " COMMIT a=0 make BEGIN " SET(
	    2) " COMMIT b=0");
	end();
}

/* --- the end --- */

static void
test_free(void)
{
	begin(); /* nothing was asked */
	store_free(st);
	st = NULL;
	SAYS(FREED);
	end();
	begin(); /* written, not told */
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	play_wait();
	store_free(st);
	st = NULL;
	SAYS("make BEGIN " SET(1) " COMMIT a=0 " FREED);
	end();
	begin(); /* asked, not handed over */
	ask("a", 1);
	store_free(st);
	st = NULL;
	SAYS("make BEGIN " SET(1) " COMMIT a=0 " FREED);
	end();
}

/* It is handed over, and the worker sees that with the end. */
static void
test_free_busy(void)
{
	struct err e = { 0 };

	begin_closed();
	t_eq(store_open("p", &st, &e), 0);
	said[0] = '\0';
	play.hold = true;
	t_eq(store_start(st, base, &e), 0);
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	store_free(st);
	st = NULL;
	SAYS("make BEGIN " SET(1) " COMMIT a=0 " FREED);
	end();
}

static void
on_done_more(void *arg, int r)
{
	struct txn *t;

	(void)arg;
	t_eq(r, 0);
	done++;
	t = txn_new(st, on_done_more, NULL);
	txn_vm_del(t, 1);
	txn_commit(t);
}

/* Whoever asks for ever more comes to an end, and what he asked is gone. */
static void
test_free_more(void)
{
	struct txn *t;

	begin();
	t = txn_new(st, on_done_more, NULL);
	txn_vm_del(t, 1);
	txn_commit(t);
	store_free(st);
	st = NULL;
	t_eq(done, 8);
	end();
}

/* --- the begin --- */

static void
test_open_fails(void)
{
	static const struct {
		const char *what;
		const char *says; /* up to the failure, and from there */
	} steps[] = {
		{ "open:w", "open:w fin:21 fin:1 fin:1 fin:4" },
		{ "migrate",
		    "open:w migrate fin:21 fin:1 fin:1 fin:4 close:w" },
		{ "prepare",
		    "open:w migrate prepare fin:21 fin:1 fin:1 fin:4 close:w" },
		{ "open:r",
		    "open:w migrate prepare open:r fin:21 fin:1 fin:1 fin:4 close:w" },
		{ "events",
		    "open:w migrate prepare open:r events fin:21 fin:1 fin:1 "
		    "fin:4 close:r close:w" },
		{ "trail",
		    "open:w migrate prepare open:r events trail fin:21 fin:1 "
		    "fin:1 fin:4 close:r close:w" },
	};
	static const int codes[] = { -EIO, -ENOSPC, -EPROTO, -ENOMEM };
	char want[512];
	struct err e;
	size_t i, k;
	bool tries;

	for (i = 0; i < nitems(steps); i++) {
		for (k = 0; k < nitems(codes); k++) {
			t_row(steps[i].what);
			begin_closed();
			e = (struct err){ 0 };
			play.gives = 1;
			play.fail[0] = (struct failing){ steps[i].what, 9,
				codes[k], false };
			tries = k < 2;
			t_eq(store_open("p", &st, &e), codes[k]);
			t_true(st == NULL);
			(void)snprintf(want, sizeof(want),
			    "reserve %s%s%s%s fin:21 fin:1 fin:1 fin:4 unreserve",
			    steps[i].says, tries ? " give " : "",
			    tries ? steps[i].says : "", tries ? " give" : "");
			SAYS(want);
			t_true(fcntl(0, F_GETFD) != -1);
			end();
		}
	}
	begin_closed(); /* once, and then it goes */
	play.gives = 1;
	play.fail[0] = (struct failing){ "migrate", 1, -EIO, false };
	t_eq(store_open("p", &st, &e), 0);
	SAYS(
	    "reserve open:w migrate fin:21 fin:1 fin:1 fin:4 close:w give open:w "
	    "migrate prepare open:r events trail");
	t_eq(play.heap, 64ULL << 20);
	end();
	begin_closed();
	t_fail_alloc(1);
	t_eq(store_open("p", &st, &e), -ENOMEM);
	t_true(st == NULL);
	end();
}

static void
test_start_fails(void)
{
	struct err e;
	unsigned int how;
	sigset_t now;

	for (how = 0; how < 6; how++) {
		begin_closed();
		e = (struct err){ 0 };
		t_eq(store_open("p", &st, &e), 0);
		play.no_eventfd = how == 0;
		ev.fail_new = how == 1 ? 1 : how == 2 ? 2 : 0;
		ev.no_add = how == 3;
		play.no_thread = how == 4;
		t_eq(store_start(st, base, &e),
		    how == 0	  ? -EMFILE
			: how < 4 ? -ENOMEM
			: how < 5 ? -EAGAIN
				  : 0);
		ev.no_add = false;
		t_eq(e.msg[0] != '\0', how < 5);
		(void)pthread_sigmask(SIG_SETMASK, NULL, &now);
		t_eq(sigismember(&now, SIGTERM), 0);
		store_free(st);
		st = NULL;
		t_true(play.efd < 0 || fcntl(play.efd, F_GETFD) == -1);
		end();
	}
}

/* Descriptor 0 is as good as any. */
static void
test_start_at_0(void)
{
	const int in = fcntl(0, F_DUPFD_CLOEXEC, 3);
	struct err e = { 0 };

	begin_closed();
	t_eq(store_open("p", &st, &e), 0);
	(void)close(0);
	t_eq(store_start(st, base, &e), 0);
	t_eq(play.efd, 0);
	ask("a", 1);
	told(1);
	end();
	t_eq(dup3(in, 0, 0), 0);
	(void)close(in);
}

static void
test_try(void)
{
	static const struct {
		const char *name;
		struct failing fail;
		unsigned int gives;
		bool not_whole;
		const char *says;
		int r;
	} tries[] = {
#define TRY "BEGIN UPDATE tenant SET last_id = last_id COMMIT"
		{ "it can", { 0 }, 0, false, TRY " make", 0 },
		{ "begin", { "BEGIN", 1, -EBUSY, false }, 1, false,
		    "BEGIN make", -EBUSY },
		{ "update",
		    { "UPDATE tenant SET last_id = last_id", 1, -EIO, false },
		    1, false,
		    "BEGIN UPDATE tenant SET last_id = last_id ROLLBACK make",
		    -EIO },
		{ "commit", { "COMMIT", 1, -EROFS, false }, 1, false,
		    TRY " ROLLBACK make", -EROFS },
		{ "and it is undone", { "COMMIT", 1, -EIO, true }, 0, false,
		    TRY " make", -EIO },
		{ "full", { "COMMIT", 1, -ENOSPC, false }, 1, false,
		    TRY " ROLLBACK give " TRY " make", 0 },
		{ "full for good", { "COMMIT", 9, -ENOSPC, false }, 1, true,
		    TRY " ROLLBACK give " TRY " ROLLBACK give make", -ENOSPC },
		{ "the reserve is not whole", { 0 }, 0, true, TRY " make",
		    -ENOSPC },
	};
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < nitems(tries); i++) {
		t_row(tries[i].name);
		begin_closed();
		t_eq(store_open("p", &st, &e), 0);
		said[0] = '\0';
		play.fail[0] = tries[i].fail;
		play.gives = tries[i].gives;
		play.not_whole[0] = tries[i].not_whole;
		t_eq(store_try(st), tries[i].r);
		SAYS(tries[i].says);
		t_eq(store_health(st), tries[i].r);
		end();
	}
}

static int
on_event(void *arg, const struct event_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

static int
on_row(void *arg, const struct audit_row *row, bool is_intact)
{
	(void)arg;
	(void)row;
	(void)is_intact;
	return 0;
}

static int
on_head(void *arg, const struct audit_head *head)
{
	(void)arg;
	(void)head;
	return 0;
}

static void
test_reads(void)
{
	static const struct store_load cb = { 0 };
	const struct audit_query some = { 1, 2, 3, NULL };
	struct err e = { 0 };
	uint64_t n = 0;

	begin();
	t_eq(store_read(st, &cb, &said, &e), 0);
	t_eq(store_oldest(st, 7, &n), 0);
	t_eq(n, 7);
	t_eq(store_events(st, 1, 2, 3, on_event, said), 0);
	t_eq(store_audit(st, &some, on_row, said), 0);
	t_eq(store_audit_heads(st, 4, on_head, said), 0);
	SAYS("read oldest events:1:2:3 audits:1:2:3 heads:4");
	store_free(NULL);
	end();
}

/* --- a copy --- */

static void
on_copied(void *arg, int r)
{
	note("%s=%d", (const char *)arg, r);
	done++;
}

static int
copy(const char *name)
{
	return store_copy(st, on_copied, (void *)(uintptr_t)name);
}

/* In steps, one at a time, and the next one afterwards. */
static void
test_copy(void)
{
	begin();
	play.steps = 2;
	t_eq(copy("x"), 0);
	t_eq(copy("y"), -EBUSY);
	told(1);
	SAYS("copy copy copy x=77");
	play.fail[0] = (struct failing){ "copy", 1, -ENOSPC, false };
	play.steps = 0;
	t_eq(copy("y"), 0);
	told(2);
	SAYS("copy y=-28");
	t_eq(store_health(st), 0); /* nothing of the store's was lost */
	t_eq(copy("z"), 0);
	told(3);
	SAYS("copy z=77");
	end();
	SAYS(FREED);
}

/* Neither keeps the other waiting. */
static void
test_copy_busy(void)
{
	begin();
	play.gate = true;
	play.steps = 2;
	t_eq(copy("x"), 0);
	(void)sem_wait(&in_copy);
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	(void)sem_post(&gate_open); /* the copy's first step */
	(void)sem_post(&gate_open); /* the batch */
	(void)sem_wait(&in_copy);
	told(1);
	ask("b", 2);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	(void)sem_post(&gate_open);
	(void)sem_post(&gate_open);
	(void)sem_wait(&in_copy);
	told(2);
	(void)sem_post(&gate_open);
	told(3);
	SAYS("copy make BEGIN " SET(1) " COMMIT a=0 copy make BEGIN " SET(
	    2) " COMMIT b=0 copy x=77");
	end();
	SAYS(FREED);
}

/* A copy that is under way at the end is nobody's, and what is asked is kept.
 */
static void
test_copy_free(void)
{
	begin();
	play.gate = true;
	play.steps = INT_MAX;
	t_eq(copy("x"), 0);
	(void)sem_wait(&in_copy);
	ask("a", 1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	play.gate = false;
	(void)sem_post(&gate_open);
	end();
	/* steps may be between them */
	t_true(strstr(said, "COMMIT") != NULL);
	t_true(strstr(said, "a=0") != NULL);
	t_true(strstr(said, "x=") == NULL);
	said[0] = '\0';
	begin(); /* also one that has ended, and nobody was told */
	play.steps = 0;
	t_eq(copy("x"), 0);
	play_wait();
	end();
	SAYS("copy uncopy fin:21 fin:1 fin:1 fin:4 close:r close:w unreserve");
}

const struct t_case t_cases[] = {
	{ "a copy", test_copy },
	{ "a copy while it is busy", test_copy_busy },
	{ "the end of a copy", test_copy_free },
	{ "a batch", test_batch },
	{ "rows", test_rows },
	{ "no memory", test_no_memory },
	{ "what fails", test_fails },
	{ "a full disk", test_full },
	{ "a full disk for what is new", test_full_for_new },
	{ "a reserve that is not whole", test_not_whole },
	{ "while it is busy", test_busy },
	{ "when it has ended", test_ended },
	{ "the end", test_free },
	{ "the end while it is busy", test_free_busy },
	{ "ever more at the end", test_free_more },
	{ "it does not open", test_open_fails },
	{ "it does not start", test_start_fails },
	{ "at descriptor 0", test_start_at_0 },
	{ "a try", test_try },
	{ "reads", test_reads },
	{ NULL, NULL },
};
