#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "orchd/store.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

struct seen {
	unsigned int vms, idems, tenants, done, events;
	struct vm_row vm;
	char spec[64];
	uint64_t last_seq;
	int64_t last_id;
	int r;
	uint64_t first, last;
};

static char dir[64];
static char path[96];
static struct event_base *base;

static int
on_vm(void *arg, const struct vm_row *row, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	s->vms++;
	s->vm = *row;
	(void)snprintf(s->spec, sizeof(s->spec), "%.*s", (int)row->request.len,
	    row->request.text);
	return 0;
}

static int
on_idem(void *arg, const struct idem_row *row)
{
	struct seen *s = arg;

	(void)row;
	s->idems++;
	return 0;
}

static int
on_tenant(void *arg, const struct tenant_row *row, struct err *e)
{
	struct seen *s = arg;

	(void)e;
	t_eq(row->id, 1);
	t_str(row->name, "default");
	s->tenants++;
	s->last_seq = row->last_seq;
	s->last_id = row->last_id;
	return 0;
}

static const struct store_load loader = {
	.vm = on_vm, .idem = on_idem, .tenant = on_tenant
};

static void
on_done(void *arg, int r)
{
	struct seen *s = arg;

	s->done++;
	s->r = r;
	(void)event_base_loopbreak(base);
}

static void
fresh(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/store-XXXXXX");
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

static struct store *
open_store(struct seen *s)
{
	struct store *st = NULL;
	struct err e = { 0 };

	memset(s, 0, sizeof(*s));
	t_eq(store_open(path, &st, &e), 0);
	t_str(e.msg, "");
	t_eq(store_read(st, &loader, s, &e), 0);
	base = event_base_new();
	t_eq(store_start(st, base, &e), 0);
	return st;
}

static void
close_store(struct store *st)
{
	store_free(st);
	event_base_free(base);
}

static struct vm_row
row_of(uint64_t uid, int64_t id, const char *name)
{
	struct vm_row row = { .vmid = uid,
		.tenant = 1,
		.id = id,
		.slot = (uint32_t)id,
		.ipv4 = (uint32_t)(0x0a000000 + id),
		.mac = { 2, 0, 0, 0, 0, (uint8_t)id },
		.created_ns = 1700000000000000000,
		.updated_ns = 1700000000000000001,
		.state = VM_STATUS_PENDING,
		.request = { "secret", 6, 1 } };

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	return row;
}

static int
put(struct store *st, struct seen *s, const struct vm_row *row)
{
	struct txn *t = txn_new(st, on_done, s);

	txn_vm_put(t, row);
	txn_commit(t);
	(void)event_base_dispatch(base);
	return s->r;
}

/* What was answered is there after a SIGKILL of the next moment (I8). */
static void
test_durable(void)
{
	struct seen s;
	struct store *st;
	struct vm_row row = row_of(0xfedcba9876543210, 7, "web");
	int status;
	pid_t pid;

	fresh();
	if ((pid = fork()) == 0) {
		st = open_store(&s);
		_exit(put(st, &s, &row) == 0 ? 42 : 1);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(WEXITSTATUS(status), 42);
	st = open_store(&s);
	t_eq(s.vms, 1);
	t_eq(s.vm.vmid, row.vmid);
	t_str(s.vm.name, "web");
	t_str(s.spec, "secret");
	t_eq(s.vm.updated_ns, row.updated_ns);
	t_mem(s.vm.mac, 6, row.mac, 6);
	t_eq(s.last_id, 7);
	close_store(st);
	clean();
}

/* A turn's transactions are one commit; one that fails undoes only itself. */
static void
test_group(void)
{
	struct seen s, bad;
	struct store *st;
	struct vm_row a = row_of(1, 1, "a"), b = row_of(2, 2, "a"),
		      c = row_of(3, 3, "c");
	struct txn *t;

	fresh();
	st = open_store(&s);
	memset(&bad, 0, sizeof(bad));
	t = txn_new(st, on_done, &s);
	txn_vm_put(t, &a);
	txn_commit(t);
	t = txn_new(st, on_done, &bad); /* the name is taken */
	txn_vm_put(t, &b);
	txn_commit(t);
	t = txn_new(st, on_done, &s);
	txn_vm_put(t, &c);
	txn_commit(t);
	while (s.done + bad.done < 3)
		(void)event_base_dispatch(base);
	t_eq(s.done, 2);
	t_eq(s.r, 0);
	t_eq(bad.r, -EEXIST);
	close_store(st);
	st = open_store(&s);
	t_eq(s.vms, 2);
	close_store(st);
	clean();
}

/* Another name, with what is written beside it or not at all. */
static void
test_name(void)
{
	struct seen s;
	struct store *st;
	struct vm_row a = row_of(1, 1, "a"), b = row_of(2, 2, "b");
	static const struct {
		const char *name;
		int r;
	} rows[] = { { "b", -EEXIST }, { "c", 0 }, { "c", 0 } };
	struct txn *t;
	size_t i;

	fresh();
	st = open_store(&s);
	t_eq(put(st, &s, &b), 0);
	t_eq(put(st, &s, &a), 0);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		t = txn_new(st, on_done, &s);
		a.updated_ns++;
		txn_vm_set(t, &a);
		txn_vm_name(t, a.vmid, rows[i].name);
		txn_commit(t);
		(void)event_base_dispatch(base);
		t_eq(s.r, rows[i].r);
	}
	t = txn_new(st, on_done, &s); /* one that is not there stays so */
	txn_vm_name(t, 77, "d");
	txn_commit(t);
	(void)event_base_dispatch(base);
	t_eq(s.r, 0);
	a.state = VM_STATUS_RUNNING; /* which says nothing of its name */
	t = txn_new(st, on_done, &s);
	txn_vm_set(t, &a);
	txn_vm_del(t, b.vmid);
	txn_commit(t);
	(void)event_base_dispatch(base);
	close_store(st);
	st = open_store(&s);
	t_eq(s.vms, 1);
	t_str(s.vm.name, "c");
	t_eq(s.vm.updated_ns, a.updated_ns);
	t_eq(s.vm.state, VM_STATUS_RUNNING);
	t_eq(s.vm.id, 1);
	t_str(s.spec, "secret");
	close_store(st);
	clean();
}

/* What is queued when orchd stops is written before it ends. */
static void
test_close_writes(void)
{
	struct seen s;
	struct store *st;
	struct vm_row a = row_of(1, 1, "a");
	struct txn *t;

	fresh();
	st = open_store(&s);
	t = txn_new(st, on_done, &s);
	txn_vm_put(t, &a);
	txn_commit(t);
	close_store(st);
	t_eq(s.done, 1);
	st = open_store(&s);
	t_eq(s.vms, 1);
	close_store(st);
	clean();
}

static void
test_update_delete(void)
{
	struct seen s;
	struct store *st;
	struct vm_row a = row_of(1, 5, "a");
	struct txn *t;

	fresh();
	st = open_store(&s);
	t_eq(put(st, &s, &a), 0);
	a.state = 3;
	(void)snprintf(a.detail, sizeof(a.detail), "why");
	t_eq(put(st, &s, &a), 0);
	close_store(st);
	st = open_store(&s);
	t_eq(s.vms, 1);
	t_eq(s.vm.state, 3);
	t_str(s.vm.detail, "why");
	t = txn_new(st, on_done, &s);
	a.state = 4;
	txn_vm_set(t, &a);
	txn_vm_del(t, 1);
	txn_commit(t);
	(void)event_base_dispatch(base);
	t_eq(s.r, 0);
	t = txn_new(st, on_done, &s);
	txn_vm_set(t, &a); /* too late: it does not come back */
	txn_commit(t);
	(void)event_base_dispatch(base);
	t_eq(s.r, 0);
	close_store(st);
	st = open_store(&s);
	t_eq(s.vms, 0);
	t_eq(s.last_id, 5); /* an id is never given twice */
	close_store(st);
	clean();
}

static int
on_event(void *arg, const struct event_row *row)
{
	struct seen *s = arg;

	if (s->events++ == 0)
		s->first = row->seq;
	s->last = row->seq;
	t_mem(row->body.text, row->body.len, "e", 1);
	return 0;
}

static void
test_events(void)
{
	struct event_row row = {
		.tenant = 1, .at_ns = 1, .body = { "e", 1, 1 }
	};
	struct seen s;
	struct store *st;
	struct txn *t;

	fresh();
	st = open_store(&s);
	t = txn_new(st, on_done, &s);
	for (row.seq = 1; row.seq <= STORE_EVENTS_MAX + 5; row.seq++)
		txn_event(t, &row);
	txn_commit(t);
	(void)event_base_dispatch(base);
	t_eq(s.r, 0);
	t_eq(store_events(st, 1, 0, 10, on_event, &s), 10);
	t_eq(s.first, 6); /* the oldest ones made room */
	t_eq(s.last, 15);
	s.events = 0;
	t_eq(store_events(st, 1, STORE_EVENTS_MAX, 100, on_event, &s), 5);
	t_eq(s.first, STORE_EVENTS_MAX + 1);
	t_eq(store_events(st, 2, 0, 100, on_event, &s), 0); /* not his */
	close_store(st);
	st = open_store(&s);
	t_eq(s.last_seq, STORE_EVENTS_MAX + 5);
	close_store(st);
	clean();
}

static void
test_idem(void)
{
	struct idem_row row = { .tenant = 1,
		.owner = 9,
		.key = "k",
		.vm = 3,
		.at_ns = 1000000000 };
	struct seen s;
	struct store *st;
	struct txn *t;

	fresh();
	st = open_store(&s);
	t = txn_new(st, on_done, &s);
	txn_idem(t, &row);
	txn_commit(t);
	(void)event_base_dispatch(base);
	close_store(st);
	st = open_store(&s);
	t_eq(s.idems, 1);
	/* one of another year takes nothing along: the clock may be wrong */
	row.at_ns += 400 * INT64_C(86400) * 1000000000;
	row.key[0] = 'l';
	t = txn_new(st, on_done, &s);
	txn_idem(t, &row);
	txn_commit(t);
	(void)event_base_dispatch(base);
	close_store(st);
	st = open_store(&s);
	t_eq(s.idems, 2);
	t = txn_new(st, on_done, &s);
	txn_idem_del(t, &row);
	txn_commit(t);
	(void)event_base_dispatch(base);
	close_store(st);
	st = open_store(&s);
	t_eq(s.idems, 1);
	close_store(st);
	clean();
}

/* A store that a newer suite wrote is left alone. */
static void
test_newer(void)
{
	struct store *st = NULL;
	struct err e = { 0 };
	struct seen s;
	sqlite3 *db;

	fresh();
	st = open_store(&s);
	close_store(st);
	st = NULL;
	t_eq(sqlite3_open(path, &db), SQLITE_OK);
	t_eq(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL),
	    SQLITE_OK);
	(void)sqlite3_close(db);
	t_eq(store_open(path, &st, &e), -EPROTO);
	t_true(strstr(e.msg, "newer") != NULL);
	clean();
}

/* Garbage instead of a database is an error with a text, not a crash. */
static void
test_garbage(void)
{
	struct store *st = NULL;
	struct err e = { 0 };
	int fd;

	fresh();
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	t_eq(write(fd,
		 "this is no database at all, but long enough to be"
		 " looked at as one, which needs a hundred bytes.....",
		 100),
	    100);
	(void)close(fd);
	t_true(store_open(path, &st, &e) < 0);
	t_true(e.msg[0] != '\0');
	clean();
}

const struct t_case t_cases[] = { { "durable", test_durable },
	{ "group commit", test_group }, { "name", test_name },
	{ "close writes", test_close_writes },
	{ "update and delete", test_update_delete }, { "events", test_events },
	{ "idempotency keys", test_idem }, { "newer store", test_newer },
	{ "garbage", test_garbage }, { NULL, NULL } };
