#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/batch.h"
#include "orchd/copy.h"
#include "orchd/reserve.h"
#include "orchd/store.h"
#include "orchd/store_int.h"

/* Rounds of writes that follow from writes, at the end. */
#define CLOSE_ROUNDS 8
#define HEAP_MAX (64LL * 1024 * 1024)

struct store {
	sqlite3 *wdb; /* the worker's; the loop's before store_start */
	sqlite3 *rdb; /* the loop's, reads only */
	sqlite3_stmt *stmt[STMT_MAX]; /* on wdb */
	sqlite3_stmt *events; /* on rdb */
	sqlite3_stmt *oldest; /* likewise */
	sqlite3_stmt *audit[AUDIT_STMTS]; /* likewise */
	struct event *turn; /* hands the turn's transactions over */
	struct event *wake; /* the worker has finished a batch */
	int efd;
	/* this turn's; the loop's alone.  An object has one transaction under
	 * way (object/write.c), so these and batch are as many as objects */
	struct txn_list queued;
	bool started;
	struct reserve reserve; /* as wdb */
	int health; /* the loop's */
	pthread_t worker;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* under lock: */
	struct txn_list batch; /* handed over; owned by the worker if busy */
	bool busy;
	bool stop;
	bool full; /* the reserve is not whole */
	bool copying; /* copy is the worker's */
	/* the loop's, but for copy while it is the worker's */
	char copy_path[256];
	struct copy copy;
	void (*copied)(void *arg, int r); /* NULL: none is under way */
	void *copied_arg;
	int copy_result;
};

/* What the loop handed over.  Not under lock. */
static void
run(struct store *s, struct txn_list *batch)
{
	const struct batch_to to = { s->wdb, s->stmt, &s->reserve };
	const bool whole = batch_run(&to, batch);

	(void)pthread_mutex_lock(&s->lock);
	s->full = !whole;
	(void)pthread_mutex_unlock(&s->lock);
}

/* The same, under lock but while it runs.  True: its loop is to hear of it. */
static bool
work_batch(struct store *s)
{
	struct txn_list batch;

	STAILQ_INIT(&batch);
	STAILQ_CONCAT(&batch, &s->batch);
	(void)pthread_mutex_unlock(&s->lock);
	run(s, &batch);
	(void)pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&s->batch, &batch);
	s->busy = false;
	return true;
}

/* A step of the copy, likewise.  True: it has come to its end. */
static bool
work_copy(struct store *s)
{
	int r;

	(void)pthread_mutex_unlock(&s->lock);
	r = copy_step(&s->copy, s->wdb);
	(void)pthread_mutex_lock(&s->lock);
	if (r > 0)
		return false;
	s->copy_result = r;
	s->copying = false;
	return true;
}

static void *
worker_main(void *arg)
{
	struct store *s = arg;
	const uint64_t one = 1;
	bool copies = true;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->busy && !s->copying && !s->stop)
			(void)pthread_cond_wait(&s->cond, &s->lock);
		if (s->stop && !s->busy)
			break;
		/* in turns: neither keeps the other waiting */
		copies = s->copying && (!copies || !s->busy);
		if (copies ? !work_copy(s) : !work_batch(s))
			continue;
		if (write(s->efd, &one, sizeof(one)) < 0)
			break; /* an eventfd takes it, or we are ending */
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Tells owners in order, outside of any lock. */
static void
batch_done(struct txn_list *batch)
{
	struct txn *t;

	while ((t = STAILQ_FIRST(batch)) != NULL) {
		STAILQ_REMOVE_HEAD(batch, entry);
		if (t->done != NULL)
			t->done(t->arg, t->result);
		txn_free(t);
	}
}

/* A row that cannot be says nothing of the disk. */
static void
judge(struct store *s, const struct txn_list *batch)
{
	const struct txn *t;

	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->result != -EEXIST && t->result != -ENOMEM)
			s->health = t->result;
	}
}

static void
hand_over(struct store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	if (!s->busy && STAILQ_EMPTY(&s->batch) && !STAILQ_EMPTY(&s->queued)) {
		STAILQ_CONCAT(&s->batch, &s->queued);
		s->busy = true;
		(void)pthread_cond_signal(&s->cond);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	hand_over(arg);
}

int
store_copy(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	if (s->copied != NULL)
		return -EBUSY;
	s->copied = done;
	s->copied_arg = arg;
	s->copy = (struct copy){ .path = s->copy_path, .fd = -1 };
	(void)pthread_mutex_lock(&s->lock);
	s->copying = true;
	(void)pthread_cond_signal(&s->cond);
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

static void
copy_done(struct store *s)
{
	void (*done)(void *arg, int r) = s->copied;
	int r = s->copy_result < 0 ? s->copy_result : s->copy.fd;

	s->copied = NULL;
	s->copy.fd = -1;
	done(s->copied_arg, r);
}

static void
on_wake(int fd, short what, void *arg)
{
	struct store *s = arg;
	struct txn_list done;
	bool copied;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	STAILQ_INIT(&done);
	(void)pthread_mutex_lock(&s->lock);
	if (!s->busy)
		STAILQ_CONCAT(&done, &s->batch);
	copied = s->copied != NULL && !s->copying;
	(void)pthread_mutex_unlock(&s->lock);
	judge(s, &done);
	batch_done(&done);
	if (copied)
		copy_done(s);
	hand_over(s);
}

void
txn_commit(struct txn *t)
{
	struct store *s = t->store;

	STAILQ_INSERT_TAIL(&s->queued, t, entry);
	event_active(s->turn, EV_TIMEOUT, 0);
}

/* Half of it is let go of as well. */
static void
dbs_close(struct store *s)
{
	sql_finalize(s->stmt, STMT_MAX);
	sql_finalize(&s->events, 1);
	sql_finalize(&s->oldest, 1);
	sql_finalize(s->audit, AUDIT_STMTS);
	(void)sqlite3_close(s->rdb);
	(void)sqlite3_close(s->wdb);
	s->rdb = s->wdb = NULL;
}

static int
dbs_open(struct store *s, const char *path, struct err *e)
{
	int r;

	if ((r = sql_open(path, false, &s->wdb, e)) < 0 ||
	    (r = sql_migrate(s->wdb, e)) < 0 ||
	    (r = sql_prepare(s->wdb, s->stmt, e)) < 0 ||
	    (r = sql_open(path, true, &s->rdb, e)) < 0 ||
	    (r = sql_prepare_events(s->rdb, &s->events, &s->oldest, e)) < 0 ||
	    (r = sql_prepare_audit(s->rdb, s->audit, e)) < 0)
		dbs_close(s);
	return r;
}

int
store_open(const char *path, struct store **ret, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return err_set(e, -ENOMEM, "store: out of memory");
	s->efd = s->reserve.fd = s->copy.fd = -1;
	(void)snprintf(
	    s->copy_path, sizeof(s->copy_path), "%.200s-backup", path);
	(void)unlink(s->copy_path); /* killed while it had that name */
	STAILQ_INIT(&s->queued);
	STAILQ_INIT(&s->batch);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->cond, NULL);
	(void)sqlite3_hard_heap_limit64(HEAP_MAX);
	reserve_open(&s->reserve, path);
	r = dbs_open(s, path, e);
	/* SQLite has several words for a full disk: shared memory, a journal */
	while (
	    r < 0 && r != -EPROTO && r != -ENOMEM && reserve_give(&s->reserve))
		r = dbs_open(s, path, e);
	if (r < 0) {
		store_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int
store_read(
    struct store *s, const struct store_load *cb, void *arg, struct err *e)
{
	return sql_read(s->wdb, cb, arg, e);
}

int
store_health(struct store *s)
{
	bool full;

	(void)pthread_mutex_lock(&s->lock);
	full = s->full;
	(void)pthread_mutex_unlock(&s->lock);
	return s->health == 0 && full ? -ENOSPC : s->health;
}

bool
store_is_full(struct store *s)
{
	struct statvfs fs; /* its root is where the store is */

	return store_health(s) == -ENOSPC &&
	    (statvfs("/", &fs) < 0 ||
		(uint64_t)fs.f_bavail * fs.f_frsize < s->reserve.size);
}

static int
try_once(struct store *s)
{
	int r = sql_exec(s->wdb, "BEGIN IMMEDIATE");

	if (r == 0)
		r = sql_exec(s->wdb, "UPDATE tenant SET last_id = last_id");
	return batch_end(s->wdb, r);
}

int
store_try(struct store *s)
{
	s->health = try_once(s);
	while (s->health == -ENOSPC && reserve_give(&s->reserve))
		s->health = try_once(s);
	s->full = !reserve_make(&s->reserve);
	return store_health(s);
}

int
store_start(struct store *s, struct event_base *base, struct err *e)
{
	sigset_t all, old;
	int r;

	s->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->efd < 0)
		return err_errno(e, -errno, "store: eventfd");
	s->turn = event_new(base, -1, 0, on_turn, s);
	s->wake = event_new(base, s->efd, EV_READ | EV_PERSIST, on_wake, s);
	if (s->turn == NULL || s->wake == NULL || event_add(s->wake, NULL) < 0)
		return err_set(e, -ENOMEM, "store: events");
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&s->worker, NULL, worker_main, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_errno(e, -r, "store: worker");
	s->started = true;
	return 0;
}

/* What nobody writes any more. */
static void
queue_clear(struct txn_list *queued)
{
	struct txn *t;

	while ((t = STAILQ_FIRST(queued)) != NULL) {
		STAILQ_REMOVE_HEAD(queued, entry);
		txn_free(t);
	}
}

void
store_free(struct store *s)
{
	int i;

	if (s == NULL)
		return;
	if (s->started) {
		(void)pthread_mutex_lock(&s->lock);
		s->stop = true;
		(void)pthread_cond_signal(&s->cond);
		(void)pthread_mutex_unlock(&s->lock);
		(void)pthread_join(s->worker, NULL);
		batch_done(&s->batch); /* written, not told yet */
		/* done() may queue more: each is written before it is told */
		for (i = 0; i < CLOSE_ROUNDS && !STAILQ_EMPTY(&s->queued);
		     i++) {
			STAILQ_CONCAT(&s->batch, &s->queued);
			run(s, &s->batch);
			batch_done(&s->batch);
		}
	}
	queue_clear(&s->queued);
	if (s->turn != NULL)
		event_free(s->turn);
	if (s->wake != NULL)
		event_free(s->wake);
	fd_close(&s->efd);
	copy_clear(&s->copy);
	dbs_close(s);
	reserve_close(&s->reserve);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_cond_destroy(&s->cond);
	free(s);
}

int
store_oldest(struct store *s, int64_t tenant, uint64_t *ret)
{
	return sql_oldest(s->oldest, tenant, ret);
}

int
store_events(struct store *s, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	return sql_events(s->events, tenant, after, max, cb, arg);
}

int
store_audit(
    struct store *s, const struct audit_query *q, store_audit_fn *cb, void *arg)
{
	return sql_audit_read(s->rdb, s->audit, q, cb, arg);
}

int
store_audit_heads(
    struct store *s, int64_t from, store_audit_head_fn *cb, void *arg)
{
	return sql_audit_heads(s->audit, from, cb, arg);
}
