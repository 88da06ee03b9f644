#include <dlfcn.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "orchd/copy.h"
#include "orchd/reserve.h"
#include "orchd/store_int.h"
#include "tests/orchd/played_sql.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

char said[4096];
struct play play;
sem_t gate_open, in_copy;

static bool in_txn;
static int wdb, rdb, st_events, st_oldest; /* only their addresses count */
static sqlite3_stmt **stmts;

void
note(const char *fmt, ...)
{
	const size_t n = strlen(said);
	va_list ap;

	if (n > 0)
		(void)snprintf(said + n, sizeof(said) - n, " ");
	va_start(ap, fmt);
	(void)vsnprintf(said + n + (n > 0), sizeof(said) - n - 1, fmt, ap);
	va_end(ap);
}

/* Says it; what it comes to. */
static int did(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int
did(const char *fmt, ...)
{
	struct failing *f;
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note("%s", text);
	for (f = play.fail; f->what != NULL; f++) {
		if (f->times == 0 || strcmp(f->what, text) != 0)
			continue;
		f->times--;
		if (f->rolled)
			in_txn = false;
		return f->r;
	}
	return 0;
}

/* --- locks and threads --- */

static pthread_t first; /* the test's own */
static pthread_t holder;
static bool held;
static int locks, conds, threads;

#define REAL(name)                                        \
	do {                                              \
		*(void **)&real = dlsym(RTLD_NEXT, name); \
	} while (0)

int
pthread_mutex_lock(pthread_mutex_t *m)
{
	int (*real)(pthread_mutex_t *);

	REAL("pthread_mutex_lock");
	if (play.hold && !pthread_equal(pthread_self(), first))
		(void)sem_wait(&gate_open);
	(void)real(m);
	t_true(!held);
	held = true;
	holder = pthread_self();
	return 0;
}

int
pthread_mutex_unlock(pthread_mutex_t *m)
{
	int (*real)(pthread_mutex_t *);

	REAL("pthread_mutex_unlock");
	t_true(held && pthread_equal(holder, pthread_self()));
	held = false;
	return real(m);
}

int
pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	int (*real)(pthread_cond_t *, pthread_mutex_t *);
	int r;

	REAL("pthread_cond_wait");
	t_true(held && pthread_equal(holder, pthread_self()));
	held = false;
	r = real(c, m);
	held = true;
	holder = pthread_self();
	return r;
}

int
pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a)
{
	int (*real)(pthread_mutex_t *, const pthread_mutexattr_t *);

	REAL("pthread_mutex_init");
	locks++;
	return real(m, a);
}

int
pthread_mutex_destroy(pthread_mutex_t *m)
{
	int (*real)(pthread_mutex_t *);

	REAL("pthread_mutex_destroy");
	locks--;
	return real(m);
}

int
pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a)
{
	int (*real)(pthread_cond_t *, const pthread_condattr_t *);

	REAL("pthread_cond_init");
	conds++;
	return real(c, a);
}

int
pthread_cond_destroy(pthread_cond_t *c)
{
	int (*real)(pthread_cond_t *);

	REAL("pthread_cond_destroy");
	conds--;
	return real(c);
}

int
pthread_create(
    pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	int (*real)(
	    pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	REAL("pthread_create");
	if (play.no_thread)
		return EAGAIN;
	threads++;
	return real(t, a, fn, arg);
}

int
pthread_join(pthread_t t, void **ret)
{
	int (*real)(pthread_t, void **);

	REAL("pthread_join");
	threads--;
	if (play.hold) {
		play.hold = false;
		(void)sem_post(&gate_open);
	}
	return real(t, ret);
}

int
eventfd(unsigned int value, int flags)
{
	int (*real)(unsigned int, int);

	REAL("eventfd");
	t_eq(value, 0);
	t_eq(flags, EFD_CLOEXEC | EFD_NONBLOCK);
	if (play.no_eventfd) {
		errno = EMFILE;
		return -1;
	}
	return play.efd = real(value, flags);
}

/* --- SQLite --- */

sqlite3_int64
sqlite3_hard_heap_limit64(sqlite3_int64 n)
{
	play.heap = (unsigned long long)n;
	return 0;
}

int
sqlite3_get_autocommit(sqlite3 *db)
{
	t_true(db == (sqlite3 *)(void *)&wdb);
	return !in_txn;
}

int
sqlite3_close(sqlite3 *db)
{
	if (db != NULL)
		note("close:%c", db == (sqlite3 *)(void *)&wdb ? 'w' : 'r');
	return SQLITE_OK;
}

int
sqlite3_wal_checkpoint_v2(
    sqlite3 *db, const char *name, int mode, int *nlog, int *ndone)
{
	t_true(db == (sqlite3 *)(void *)&wdb);
	t_true(name == NULL && nlog == NULL && ndone == NULL);
	t_eq(mode, SQLITE_CHECKPOINT_PASSIVE);
	note("checkpoint");
	return SQLITE_OK;
}

int
sql_exec(sqlite3 *db, const char *text)
{
	int r;

	t_true(db == (sqlite3 *)(void *)&wdb);
	t_true(!(held && pthread_equal(holder, pthread_self())));
	if (strcmp(text, "BEGIN IMMEDIATE") == 0) {
		sigset_t now;

		(void)pthread_sigmask(SIG_SETMASK, NULL, &now);
		play.blocked = sigismember(&now, SIGTERM) == 1;
		if (play.gate)
			(void)sem_wait(&gate_open);
		text = "BEGIN";
	}
	if ((r = did("%s", text)) < 0)
		return r;
	if (strcmp(text, "BEGIN") == 0)
		in_txn = true;
	else if (strcmp(text, "COMMIT") == 0 || strcmp(text, "ROLLBACK") == 0)
		in_txn = false;
	return 0;
}

int
sql_open(const char *path, bool readonly, sqlite3 **ret, struct err *e)
{
	int r = did("open:%c", readonly ? 'r' : 'w');

	t_str(path, "p");
	if (r < 0)
		return err_set(e, r, "no");
	*ret = (sqlite3 *)(void *)(readonly ? &rdb : &wdb);
	return 0;
}

int
sql_migrate(sqlite3 *db, struct err *e)
{
	(void)e;
	t_true(db == (sqlite3 *)(void *)&wdb);
	return did("migrate");
}

int
sql_prepare(sqlite3 *db, sqlite3_stmt *stmt[STMT_MAX], struct err *e)
{
	(void)e;
	t_true(db == (sqlite3 *)(void *)&wdb);
	stmts = stmt;
	return did("prepare");
}

int
sql_prepare_events(
    sqlite3 *db, sqlite3_stmt **events, sqlite3_stmt **oldest, struct err *e)
{
	(void)e;
	t_true(db == (sqlite3 *)(void *)&rdb);
	*events = (sqlite3_stmt *)(void *)&st_events;
	*oldest = (sqlite3_stmt *)(void *)&st_oldest;
	return did("events");
}

void
sql_finalize(sqlite3_stmt **stmt, size_t n)
{
	(void)stmt;
	note("fin:%zu", n);
}

int
sql_vm_put(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	t_true(stmt == stmts);
	return did("put:%llu:%.*s", (unsigned long long)row->vmid,
	    (int)row->request.len, row->request.text);
}

int
sql_vm_set(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	t_true(stmt == stmts);
	t_true(row->request.text == NULL && row->request.len == 0);
	return did("set:%llu", (unsigned long long)row->vmid);
}

int
sql_vm_name(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	t_true(stmt == stmts);
	return did("name:%llu:%s", (unsigned long long)row->vmid, row->name);
}

int
sql_vm_del(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	t_true(stmt == stmts);
	return did("del:%llu", (unsigned long long)row->vmid);
}

int
sql_event(sqlite3_stmt *stmt[STMT_MAX], const struct event_row *row)
{
	t_true(stmt == stmts);
	return did("event:%llu:%.*s", (unsigned long long)row->seq,
	    (int)row->body.len, row->body.text);
}

int
sql_idem(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row)
{
	t_true(stmt == stmts);
	return did("key:%s", row->key);
}

int
sql_idem_del(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row)
{
	t_true(stmt == stmts);
	return did("nokey:%s", row->key);
}

int
sql_tenant_put(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	t_true(stmt == stmts);
	return did(
	    "tenant:%s:%.*s", row->name, (int)row->spec.len, row->spec.text);
}

int
sql_tenant_set(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	t_true(stmt == stmts);
	return did("retenant:%d:%.*s", (int)row->id, (int)row->spec.len,
	    row->spec.text);
}

int
sql_tenant_del(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	t_true(stmt == stmts);
	return did("notenant:%d", (int)row->id);
}

int
sql_audit(sqlite3_stmt *stmt[STMT_MAX], const struct audit_row *row)
{
	t_true(stmt == stmts);
	return did("audit:%d:%.*s", (int)row->tenant, (int)row->entry.len,
	    row->entry.text);
}

int
sql_prepare_audit(sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS], struct err *err)
{
	t_true(db == (sqlite3 *)(void *)&rdb && stmt != NULL);
	(void)err;
	return did("trail");
}

int
sql_audit_read(sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS],
    const struct audit_query *q, store_audit_fn *cb, void *arg)
{
	t_true(db == (sqlite3 *)(void *)&rdb && stmt != NULL);
	t_true(cb != NULL && arg == said);
	return did("audits:%d:%d:%u", (int)q->tenant, (int)q->after, q->max);
}

int
sql_audit_heads(sqlite3_stmt *stmt[AUDIT_STMTS], int64_t from,
    store_audit_head_fn *cb, void *arg)
{
	t_true(stmt != NULL && cb != NULL && arg == said);
	return did("heads:%d", (int)from);
}

int
sql_read(sqlite3 *db, const struct store_load *cb, void *arg, struct err *e)
{
	t_true(db == (sqlite3 *)(void *)&wdb);
	t_true(cb != NULL && arg == &said);
	(void)e;
	return did("read");
}

int
sql_oldest(sqlite3_stmt *st, int64_t tenant, uint64_t *ret)
{
	t_true(st == (sqlite3_stmt *)(void *)&st_oldest);
	*ret = (uint64_t)tenant;
	return did("oldest");
}

int
sql_events(sqlite3_stmt *st, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	t_true(st == (sqlite3_stmt *)(void *)&st_events);
	t_true(cb != NULL && arg == said);
	return did("events:%d:%d:%u", (int)tenant, (int)after, max);
}

/* --- a copy --- */

int
copy_step(struct copy *c, sqlite3 *from)
{
	int r = 0;

	t_true(from == (sqlite3 *)(void *)&wdb);
	t_true(!(held && pthread_equal(holder, pthread_self())));
	t_str(c->path, "p-backup");
	if (play.gate) {
		(void)sem_post(&in_copy);
		(void)sem_wait(&gate_open);
	}
	/* the first ones are said: there may be any number */
	if (play.copied++ < 8 && (r = did("copy")) < 0)
		return r;
	if (play.steps-- > 0)
		return 1;
	c->fd = 77;
	return 0;
}

void
copy_clear(struct copy *c)
{
	if (c->fd >= 0)
		note("uncopy");
	c->fd = -1;
}

/* --- the reserve --- */

void
reserve_open(struct reserve *r, const char *path)
{
	t_str(path, "p");
	r->fd = -1;
	note("reserve");
}

void
reserve_close(struct reserve *r)
{
	t_eq(r->fd, -1);
	note("unreserve");
}

bool
reserve_give(struct reserve *r)
{
	(void)r;
	note("give");
	if (play.gives == 0)
		return false;
	play.gives--;
	return true;
}

bool
reserve_make(struct reserve *r)
{
	(void)r;
	note("make");
	return !play.not_whole[play.makes++ % 4];
}

/* --- a test --- */

static void *
nothing(void *arg)
{
	return arg;
}

void
play_begin(void)
{
	pthread_t t;

	first = pthread_self();
	play = (struct play){ .efd = -1 };
	ev = (struct ev){ .fail_new = 0 };
	said[0] = '\0';
	in_txn = false;
	(void)sem_init(&gate_open, 0, 0);
	(void)sem_init(&in_copy, 0, 0);
	/* the first thread of a process has memory made that stays */
	t_eq(pthread_create(&t, NULL, nothing, NULL), 0);
	t_eq(pthread_join(t, NULL), 0);
}

void
play_end(void)
{
	t_true(!held);
	t_eq(locks, 0);
	t_eq(conds, 0);
	t_eq(threads, 0);
	(void)sem_destroy(&gate_open);
	(void)sem_destroy(&in_copy);
}

void
play_wait(void)
{
	struct pollfd p = { .fd = play.efd, .events = POLLIN };

	t_eq(poll(&p, 1, 10000), 1);
}
