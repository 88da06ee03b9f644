#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "orchd/store.h"
#include "proto/objects.h"
#include "tests/orchd/fault_vfs.h"
#include "tests/suite/t.h"

/*
 * The store on a disk that fails, is full, or loses its power, at every call
 * that changes a file.  What was answered well is there afterwards, what was
 * refused is not, and what was not answered is there whole or not at all.
 */
#define DUMP_MAX 16384
/* Bytes of a request: many pages, and more than SQLite keeps in memory until
 * the commit. */
#define LARGE 60000
#define HUGE_ 700000

static char dir[64];
static char path[96];
static struct event_base *base;

static void
fresh(void)
{
	fault_init();
	fault_forget();
	(void)snprintf(dir, sizeof(dir), "/tmp/power-XXXXXX");
	t_true(mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
}

static void
clean(void)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal",
		"-reserve" };
	char name[128];
	size_t i;

	for (i = 0; i < nitems(ends); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void)unlink(name);
	}
	(void)rmdir(dir);
}

/* --- what is asked of it, a transaction each --- */

static char big[HUGE_];
static size_t big_len = LARGE;

static struct vm_row
vm(uint64_t n, const char *name, uint32_t state, bool large)
{
	struct vm_row row = { .vmid = n,
		.tenant = 1,
		.id = (int64_t)n,
		.slot = (uint32_t)n,
		.ipv4 = (uint32_t)(0x0a000000 + n),
		.mac = { 2, 0, 0, 0, 0, (uint8_t)n },
		.created_ns = 1,
		.updated_ns = 2,
		.state = state,
		.request = { "small", 5, 1 } };

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	if (large)
		row.request = (struct store_doc){ big, big_len, 1 };
	return row;
}

static void
put(struct txn *t, uint64_t n, const char *name, bool large)
{
	const struct vm_row row = vm(n, name, VM_STATUS_PENDING, large);

	txn_vm_put(t, &row);
}

static void
set(struct txn *t, uint64_t n, uint32_t state)
{
	const struct vm_row row = vm(n, "", state, false);

	txn_vm_set(t, &row);
}

static void
news(struct txn *t, uint64_t seq)
{
	const struct event_row row = {
		.tenant = 1, .seq = seq, .at_ns = 1, .body = { "news", 4, 1 }
	};

	txn_event(t, &row);
}

static void
key(struct txn *t, const char *name, bool keep)
{
	struct idem_row row = { .tenant = 1, .owner = 7, .at_ns = 1 };

	(void)snprintf(row.key, sizeof(row.key), "%s", name);
	if (keep)
		txn_idem(t, &row);
	else
		txn_idem_del(t, &row);
}

static void
t_a(struct txn *t)
{
	put(t, 1, "a", false);
	news(t, 1);
	key(t, "ka", true);
}

static void
t_b(struct txn *t)
{
	put(t, 2, "b", false);
	news(t, 2);
}

static void
t_big(struct txn *t)
{
	put(t, 3, "c", true);
	news(t, 3);
	key(t, "kc", true);
}

static void
t_set(struct txn *t)
{
	set(t, 1, VM_STATUS_RUNNING);
	news(t, 4);
	news(t, 5);
}

/* Its second row cannot be: so its first must not be either. */
static void
t_bad(struct txn *t)
{
	put(t, 9, "x", false);
	news(t, 6);
	put(t, 10, "x", false);
}

static void
t_more(struct txn *t)
{
	set(t, 2, VM_STATUS_STOPPED);
	key(t, "ka", false);
	news(t, 7);
}

static void
t_del(struct txn *t)
{
	txn_vm_del(t, 3);
	news(t, 8);
}

static void
t_again(struct txn *t)
{
	put(t, 4, "d", true);
	news(t, 9);
}

static void
t_last(struct txn *t)
{
	set(t, 1, VM_STATUS_CRASHED);
	news(t, 10);
}

/* Those of a turn stand together; it ends with NULL. */
static void (*const script[])(struct txn *) = { t_a, NULL, t_b, t_big, t_set,
	NULL, t_bad, t_more, NULL, t_del, t_again, t_last, NULL, t_bad, NULL };
#define TXNS 10 /* of them */
#define ALL ((1U << TXNS) - 1)

/* --- a run --- */

struct run {
	unsigned int asked, answered, good; /* bits, in order of the script */
};
struct waiting {
	struct run *run;
	unsigned int n;
	unsigned int *left;
};

static void
on_done(void *arg, int r)
{
	struct waiting *w = arg;

	w->run->answered |= 1U << w->n;
	if (r == 0)
		w->run->good |= 1U << w->n;
	if (--*w->left == 0)
		(void)event_base_loopbreak(base);
}

/* Asks for those of the script whose bit is in which. */
static void
play(struct store *s, unsigned int which, struct run *run)
{
	struct waiting waiting[TXNS];
	unsigned int n = 0, left = 0;
	struct txn *t;
	size_t i;

	for (i = 0; i < nitems(script); i++) {
		if (script[i] == NULL) {
			if (left > 0)
				(void)event_base_dispatch(base);
			continue;
		}
		waiting[n] = (struct waiting){ run, n, &left };
		if ((which & 1U << n) != 0) {
			run->asked |= 1U << n;
			t = txn_new(s, on_done, &waiting[n]);
			script[i](t);
			txn_commit(t);
			left++;
		}
		n++;
	}
	t_eq(n, TXNS);
}

static int
on_vm(void *arg, const struct vm_row *row, struct err *e)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)e;
	(void)snprintf(out + n, DUMP_MAX - n, "%s %u %zu\n", row->name,
	    row->state, row->request.len);
	return 0;
}

static int
on_idem(void *arg, const struct idem_row *row)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)snprintf(out + n, DUMP_MAX - n, "key %s\n", row->key);
	return 0;
}

static int
on_tenant(void *arg, const struct tenant_row *row, struct err *e)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)e;
	(void)snprintf(out + n, DUMP_MAX - n, "%s %llu %lld\n", row->name,
	    (unsigned long long)row->last_seq, (long long)row->last_id);
	return 0;
}

static int
on_event(void *arg, const struct event_row *row)
{
	char *out = arg;
	size_t n = strlen(out);

	(void)snprintf(out + n, DUMP_MAX - n, "event %llu\n",
	    (unsigned long long)row->seq);
	return 0;
}

static const struct store_load loader = {
	.vm = on_vm, .idem = on_idem, .tenant = on_tenant
};

/* Opens it, dumps what is there if out is given, and plays.  0 or -errno. */
static int
life(unsigned int which, struct run *run, char *out)
{
	struct store *s = NULL;
	struct err e = { 0 };
	static char text[DUMP_MAX];
	int r;

	if (out == NULL)
		out = text;
	out[0] = '\0';
	base = event_base_new();
	if ((r = store_open(path, &s, &e)) == 0 &&
	    (r = store_read(s, &loader, out, &e)) == 0 &&
	    (r = store_start(s, base, &e)) == 0) {
		(void)store_events(s, 1, 0, 1000, on_event, out);
		if (run != NULL)
			play(s, which, run);
	}
	store_free(s);
	event_base_free(base);
	return r;
}

/* What a store holds of which nothing failed: bits of the script. */
static void
dump_of(unsigned int which, char *out)
{
	static char memos[2][ALL + 1][1024];
	char *memo = memos[big_len == HUGE_][which];
	char was[sizeof(path)], was_dir[sizeof(dir)];
	struct run run = { 0 };

	if (memo[0] == '\0') {
		memcpy(was, path, sizeof(path));
		memcpy(was_dir, dir, sizeof(dir));
		fresh();
		t_eq(life(which, &run, NULL), 0);
		t_eq(life(0, NULL, out), 0);
		(void)snprintf(memo, sizeof(memos[0][0]), "%s", out);
		clean();
		fault_forget();
		memcpy(path, was, sizeof(path));
		memcpy(dir, was_dir, sizeof(dir));
	}
	(void)snprintf(out, DUMP_MAX, "%s", memo);
}

/* Bits of those transactions that can be. */
static unsigned int
sound(void)
{
	unsigned int n = 0, bits = 0;
	size_t i;

	for (i = 0; i < nitems(script); i++) {
		if (script[i] == NULL)
			continue;
		if (script[i] != t_bad)
			bits |= 1U << n;
		n++;
	}
	return bits;
}

/* How many turns had one that was refused. */
static unsigned int
refused(const struct run *run)
{
	unsigned int n = 0, turns = 0;
	bool bad = false;
	size_t i;

	for (i = 0; i < nitems(script); i++) {
		if (script[i] == NULL) {
			turns += bad;
			bad = false;
			continue;
		}
		bad |= (sound() & ~run->good & 1U << n) != 0;
		n++;
	}
	return turns;
}

/* --- the power goes --- */

/* All that was answered and, of the rest, a beginning. */
static bool
fits(const struct run *run, const char *got)
{
	static char want[DUMP_MAX];
	unsigned int n, first;

	for (n = 0; n <= TXNS; n++) {
		first = ((1U << n) - 1) & sound();
		if ((run->good & ~first) != 0)
			continue;
		dump_of(first, want);
		if (strcmp(got, want) == 0)
			return true;
	}
	return false;
}

/* The nth call is the last; true when there was one. */
static bool
power_cut(unsigned int nth, unsigned int seed)
{
	static char got[DUMP_MAX];
	struct run run = { 0 };
	char row[64];
	bool cut;

	(void)snprintf(row, sizeof(row), "call %u, seed %u", nth, seed);
	t_row(row);
	fresh();
	fault_set(FAULT_POWER, nth);
	(void)life(ALL, &run, NULL);
	cut = fault_calls() >= nth;
	fault_power_back(seed);
	t_eq(life(0, NULL, got), 0);
	if (!fits(&run, got))
		t_str(got, "what was answered");
	clean();
	return cut;
}

static void
test_power(void)
{
	unsigned int n, seed;

	for (seed = 0; seed < 3; seed++) {
		for (n = 1; power_cut(n, seed); n++)
			;
		t_true(n > 60); /* as many calls as that there are */
	}
}

/* --- a call fails, and the next ones do not --- */

static bool
one_fault(enum fault how, unsigned int nth)
{
	static char got[DUMP_MAX], want[DUMP_MAX];
	struct run run = { 0 };
	char row[64];
	bool hit;
	int r;

	(void)snprintf(row, sizeof(row), "fault %d at call %u", how, nth);
	t_row(row);
	fresh();
	fault_set(how, nth);
	r = life(ALL, &run, NULL);
	hit = fault_calls() >= nth;
	fault_set(FAULT_NONE, 0);
	if (r == 0) { /* and it goes on as if nothing had been */
		t_eq(run.answered, ALL);
		t_true(refused(&run) <= 1);
	}
	t_eq(run.good & ~sound(), 0);
	t_eq(life(0, NULL, got), 0);
	dump_of(run.good, want);
	t_str(got, want);
	clean();
	return hit;
}

static void
test_fault(void)
{
	unsigned int n;

	for (n = 1; one_fault(FAULT_ERROR, n); n++)
		;
	t_true(n > 60);
	for (n = 1; one_fault(FAULT_FULL, n); n++)
		;
	t_true(n > 60);
}

/* What does not fit SQLite's memory is written before its commit. */
static void
test_huge(void)
{
	const unsigned int step = 13;
	unsigned int n;

	big_len = HUGE_;
	for (n = 1; power_cut(n, n); n += step)
		;
	t_true(n > 400);
	for (n = 2; one_fault(FAULT_FULL, n); n += step)
		;
	for (n = 3; one_fault(FAULT_ERROR, n); n += step)
		;
	big_len = LARGE;
}

/* --- a slow disk --- */

struct slow {
	unsigned int syncing, synced;
	bool done;
};

static void
on_slow(void *arg, int r)
{
	struct slow *s = arg;

	t_eq(r, 0);
	s->syncing = fault_syncing();
	s->synced = fault_synced();
	s->done = true;
	(void)event_base_loopbreak(base);
}

/* Nobody is answered while the disk is at it, and reads do not wait for it. */
static void
test_slow(void)
{
	static char text[DUMP_MAX];
	struct store *s = NULL;
	struct slow slow = { 0 };
	struct err e = { 0 };
	unsigned int before, reads = 0;
	int n;
	struct txn *t;

	fresh();
	base = event_base_new();
	t_eq(store_open(path, &s, &e), 0);
	t_eq(store_read(s, &loader, text, &e), 0);
	t_eq(store_start(s, base, &e), 0);
	before = fault_synced();
	fault_delay(200);
	t = txn_new(s, on_slow, &slow);
	t_a(t);
	txn_commit(t);
	while (!slow.done) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		if (fault_syncing() > 0 && !slow.done) {
			n = store_events(s, 1, 0, 10, on_event, text);
			t_true(n >= 0);
			reads += fault_syncing() > 0;
		}
	}
	fault_delay(0);
	t_true(reads > 0);
	t_eq(slow.syncing, 0);
	t_true(slow.synced > before);
	store_free(s);
	event_base_free(base);
	clean();
}

const struct t_case t_cases[] = { { "the power goes", test_power },
	{ "a call fails", test_fault }, { "a huge transaction", test_huge },
	{ "a slow disk", test_slow }, { NULL, NULL } };
