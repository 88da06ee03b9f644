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
#include "orchd/reserve.h"
#include "orchd/store.h"
#include "orchd/store_int.h"

/* Rounds of writes that follow from writes, at the end. */
#define CLOSE_ROUNDS 8
#define HEAP_MAX (64LL * 1024 * 1024)

/* One change, with its own copy of everything behind pointers. */
struct op {
	STAILQ_ENTRY(op) entry;
	enum op_kind kind;
	union {
		struct vm_row vm;
		struct event_row event;
		struct idem_row idem;
		struct tenant_row tenant;
	} u;
	size_t textlen;
	char text[];
};

struct txn {
	STAILQ_ENTRY(txn) entry;
	STAILQ_HEAD(op_list, op) ops;
	struct store *store;
	void (*done)(void *arg, int r);
	void *arg;
	bool needs_room;
	bool kept; /* committed: whatever becomes of others of its batch */
	int result;
};
STAILQ_HEAD(txn_list, txn);

struct store {
	sqlite3 *wdb; /* the worker's; the loop's before store_start */
	sqlite3 *rdb; /* the loop's, reads only */
	sqlite3_stmt *stmt[STMT_MAX]; /* on wdb */
	sqlite3_stmt *events; /* on rdb */
	sqlite3_stmt *oldest; /* likewise */
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
};

static void
op_free(struct op *o)
{
	explicit_bzero(o->text, o->textlen); /* a request holds secrets */
	free(o);
}

void
txn_free(struct txn *t)
{
	struct op *o;

	if (t == NULL)
		return;
	while ((o = STAILQ_FIRST(&t->ops)) != NULL) {
		STAILQ_REMOVE_HEAD(&t->ops, entry);
		op_free(o);
	}
	free(t);
}

struct txn *
txn_new(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	STAILQ_INIT(&t->ops);
	t->store = s;
	t->done = done;
	t->arg = arg;
	return t;
}

static struct op *
op_add(struct txn *t, enum op_kind kind, const char *text, size_t len)
{
	struct op *o = calloc(1, sizeof(*o) + len);

	if (o == NULL) {
		t->result = -ENOMEM;
		return NULL;
	}
	o->kind = kind;
	o->textlen = len;
	if (len > 0)
		memcpy(o->text, text, len);
	STAILQ_INSERT_TAIL(&t->ops, o, entry);
	return o;
}

void
txn_vm_put(struct txn *t, const struct vm_row *row)
{
	struct op *o =
	    op_add(t, OP_VM_PUT, row->request.text, row->request.len);

	if (o == NULL)
		return;
	o->u.vm = *row;
	o->u.vm.request.text = o->text;
}

void
txn_vm_set(struct txn *t, const struct vm_row *row)
{
	struct op *o = op_add(t, OP_VM_SET, NULL, 0);

	if (o == NULL)
		return;
	o->u.vm = *row;
	o->u.vm.request = (struct store_doc){ 0 };
}

void
txn_vm_name(struct txn *t, uint64_t vmid, const char *name)
{
	struct op *o = op_add(t, OP_VM_NAME, NULL, 0);

	if (o == NULL)
		return;
	o->u.vm.vmid = vmid;
	(void)snprintf(o->u.vm.name, sizeof(o->u.vm.name), "%s", name);
}

void
txn_vm_del(struct txn *t, uint64_t vmid)
{
	struct op *o = op_add(t, OP_VM_DEL, NULL, 0);

	if (o != NULL)
		o->u.vm.vmid = vmid;
}

void
txn_event(struct txn *t, const struct event_row *row)
{
	struct op *o = op_add(t, OP_EVENT, row->body.text, row->body.len);

	if (o == NULL)
		return;
	o->u.event = *row;
	o->u.event.body.text = o->text;
}

void
txn_idem(struct txn *t, const struct idem_row *row)
{
	struct op *o = op_add(t, OP_IDEM, NULL, 0);

	if (o != NULL)
		o->u.idem = *row;
}

void
txn_idem_del(struct txn *t, const struct idem_row *row)
{
	struct op *o = op_add(t, OP_IDEM_DEL, NULL, 0);

	if (o != NULL)
		o->u.idem = *row;
}

static void
add_tenant(struct txn *t, enum op_kind kind, const struct tenant_row *row)
{
	struct op *o = op_add(t, kind, row->spec.text, row->spec.len);

	if (o == NULL)
		return;
	o->u.tenant = *row;
	o->u.tenant.spec.text = o->text;
}

void
txn_tenant_put(struct txn *t, const struct tenant_row *row)
{
	add_tenant(t, OP_TENANT_PUT, row);
}

void
txn_tenant_set(struct txn *t, const struct tenant_row *row)
{
	add_tenant(t, OP_TENANT_SET, row);
}

void
txn_tenant_del(struct txn *t, int64_t id)
{
	const struct tenant_row row = { .id = id };

	add_tenant(t, OP_TENANT_DEL, &row);
}

static int
op_run(struct store *s, const struct op *o)
{
	switch (o->kind) {
	case OP_VM_PUT:
		return sql_vm_put(s->stmt, &o->u.vm);
	case OP_VM_SET:
		return sql_vm_set(s->stmt, &o->u.vm);
	case OP_VM_NAME:
		return sql_vm_name(s->stmt, &o->u.vm);
	case OP_VM_DEL:
		return sql_vm_del(s->stmt, &o->u.vm);
	case OP_EVENT:
		return sql_event(s->stmt, &o->u.event);
	case OP_IDEM:
		return sql_idem(s->stmt, &o->u.idem);
	case OP_IDEM_DEL:
		return sql_idem_del(s->stmt, &o->u.idem);
	case OP_TENANT_PUT:
		return sql_tenant_put(s->stmt, &o->u.tenant);
	case OP_TENANT_SET:
		return sql_tenant_set(s->stmt, &o->u.tenant);
	case OP_TENANT_DEL:
		return sql_tenant_del(s->stmt, &o->u.tenant);
	}
	return -EINVAL;
}

/* Within the batch's transaction; a failure undoes this txn alone. */
static void
txn_run(struct store *s, struct txn *t)
{
	const struct op *o;
	int r = t->result; /* an -ENOMEM while it was filled */

	if (t->kept)
		return;
	if (r == 0)
		r = sql_exec(s->wdb, "SAVEPOINT t");
	if (r < 0) {
		t->result = r;
		return;
	}
	STAILQ_FOREACH(o, &t->ops, entry)
	{
		if ((r = op_run(s, o)) < 0)
			break;
	}
	if (r < 0)
		(void)sql_exec(s->wdb, "ROLLBACK TO t");
	(void)sql_exec(s->wdb, "RELEASE t");
	t->result = r;
}

void
txn_needs_room(struct txn *t)
{
	t->needs_room = true;
}

/* The end of a transaction that came to r: on the disk, or undone. */
static int
end_all(struct store *s, int r)
{
	if (r == 0)
		r = sql_exec(s->wdb, "COMMIT");
	if (r < 0 && sqlite3_get_autocommit(s->wdb) == 0)
		(void)sql_exec(s->wdb, "ROLLBACK");
	return r;
}

/* One commit of those that have not failed.  True: there was no space for one
 * that may be tried again. */
static bool
batch_once(struct store *s, struct txn_list *batch)
{
	struct txn *t;
	bool again = false;
	int r = sql_exec(s->wdb, "BEGIN IMMEDIATE");

	if (r == 0) {
		STAILQ_FOREACH(t, batch, entry)
		{
			txn_run(s, t);
			/* a full disk may undo all of it, not only t: then
			 * nothing of this batch is told to be written */
			if (sqlite3_get_autocommit(s->wdb) != 0) {
				r = t->result < 0 ? t->result : -EIO;
				break;
			}
		}
		r = end_all(s, r);
	}
	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->result == 0 && !t->kept) {
			t->result = r;
			t->kept = r == 0;
		}
		again |= t->result == -ENOSPC && !t->needs_room;
	}
	return again;
}

/* Those that were refused for want of space, once more. */
static void
forgive(struct txn_list *batch)
{
	struct txn *t;

	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->result == -ENOSPC && !t->needs_room)
			t->result = 0;
	}
}

static void
refuse_new(struct txn_list *batch)
{
	struct txn *t;

	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->needs_room && t->result == 0 && !t->kept)
			t->result = -ENOSPC;
	}
}

/*
 * On a full disk what takes something new in is refused; what ends something,
 * and what has happened, is written without it, and if need be with what the
 * reserve gave back.
 */
static void
batch_run(struct store *s, struct txn_list *batch)
{
	bool whole = reserve_make(&s->reserve);

	if (!whole)
		refuse_new(batch);
	if (batch_once(s, batch)) {
		refuse_new(batch);
		do { /* what the WAL has done with it writes over */
			(void)sqlite3_wal_checkpoint_v2(s->wdb, NULL,
			    SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
			forgive(batch);
		} while (batch_once(s, batch) && reserve_give(&s->reserve));
		whole = reserve_make(&s->reserve);
	}
	(void)pthread_mutex_lock(&s->lock);
	s->full = !whole;
	(void)pthread_mutex_unlock(&s->lock);
}

static void *
worker_main(void *arg)
{
	struct store *s = arg;
	struct txn_list batch;
	const uint64_t one = 1;

	for (;;) {
		(void)pthread_mutex_lock(&s->lock);
		while (!s->busy && !s->stop)
			(void)pthread_cond_wait(&s->cond, &s->lock);
		if (!s->busy && s->stop) {
			(void)pthread_mutex_unlock(&s->lock);
			return NULL;
		}
		STAILQ_INIT(&batch);
		STAILQ_CONCAT(&batch, &s->batch);
		(void)pthread_mutex_unlock(&s->lock);

		batch_run(s, &batch);

		(void)pthread_mutex_lock(&s->lock);
		STAILQ_CONCAT(&s->batch, &batch);
		s->busy = false;
		(void)pthread_mutex_unlock(&s->lock);
		if (write(s->efd, &one, sizeof(one)) < 0)
			return NULL; /* an eventfd takes it, or we are ending */
	}
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

static void
on_wake(int fd, short what, void *arg)
{
	struct store *s = arg;
	struct txn_list done;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	STAILQ_INIT(&done);
	(void)pthread_mutex_lock(&s->lock);
	if (!s->busy)
		STAILQ_CONCAT(&done, &s->batch);
	(void)pthread_mutex_unlock(&s->lock);
	judge(s, &done);
	batch_done(&done);
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
	    (r = sql_prepare_events(s->rdb, &s->events, &s->oldest, e)) < 0)
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
	s->efd = s->reserve.fd = -1;
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
	return end_all(s, r);
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
			batch_run(s, &s->batch);
			batch_done(&s->batch);
		}
	}
	queue_clear(&s->queued);
	if (s->turn != NULL)
		event_free(s->turn);
	if (s->wake != NULL)
		event_free(s->wake);
	fd_close(&s->efd);
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
