#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "tests/orchd/sqlstore.h"

/* What is read of a store, be it as it should or not. */

static struct {
	char said[1024];
	int vm, broken, idem, tenant; /* what its callback comes to */
	const char *why;
} got;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	const size_t n = strlen(got.said);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(got.said + n, sizeof(got.said) - n, fmt, ap);
	va_end(ap);
}

static int
on_vm(void *arg, const struct vm_row *row, struct err *err)
{
	t_true(arg == &got);
	say("vm %s;", row->name);
	if (got.why != NULL)
		return err_set(err, got.vm, "%s", got.why);
	return got.vm;
}

static int
on_broken(void *arg, const struct vm_broken *b)
{
	t_true(arg == &got);
	say("broken %llu%s%s%s %s;", (unsigned long long)b->row.vmid,
	    b->has_name ? " name" : "", b->has_slot ? " slot" : "",
	    b->has_ipv4 ? " ipv4" : "", b->why);
	t_true(b->row.request.text == NULL);
	t_eq(b->row.request.len, 0);
	return got.broken;
}

static int
on_idem(void *arg, const struct idem_row *row)
{
	t_true(arg == &got);
	say("key %s;", row->key);
	return got.idem;
}

static int
on_tenant(void *arg, const struct tenant_row *row, struct err *why)
{
	(void)why;
	t_true(arg == &got);
	say("tenant %lld %s %llu %lld;", (long long)row->id, row->name,
	    (unsigned long long)row->last_seq, (long long)row->last_id);
	return got.tenant;
}

static const struct store_load loader = { on_vm, on_broken, on_idem,
	on_tenant };

static void
begin_full(void)
{
	struct idem_row key = {
		.tenant = 1, .owner = 7, .key = "k", .at_ns = 1
	};
	struct vm_row a = row_of(7, 7, "a"), b = row_of(8, 8, "b");

	begin();
	memset(&got, 0, sizeof(got));
	t_eq(sql_vm_put(stmt, &b), 0);
	t_eq(sql_vm_put(stmt, &a), 0);
	t_eq(sql_idem(stmt, &key), 0);
	key.key[0] = 'j';
	key.at_ns = 0;
	t_eq(sql_idem(stmt, &key), 0);
	t_eq(put_event(3), 0);
}

#define READS(r, want)                                    \
	do {                                              \
		got.said[0] = '\0';                       \
		memset(&e, 0, sizeof(e));                 \
		t_eq(sql_read(db, &loader, &got, &e), r); \
		t_eq(e.code, r);                          \
		t_str(got.said, want);                    \
	} while (0)
#define TENANT "tenant 1 default 3 8;"
#define KEYS "key j;key k;"

static void
test_read(void)
{
	begin_full();
	READS(0, TENANT "vm a;vm b;" KEYS);
	t_str(e.msg, "");
	end();
}

/* A VM that cannot be is given behind all others; a key is left out; a tenant
 * ends it. */
static void
test_read_broken(void)
{
	begin_full();
	sql("UPDATE vm SET state = 77 WHERE uid = 7");
	READS(0,
	    TENANT "vm b;" KEYS "broken 7 name slot ipv4 state: 77 cannot be;");
	t_str(e.msg, "");
	sql("UPDATE vm SET name = '-', ipv4 = -1 WHERE uid = 8");
	sql("UPDATE vm SET slot = -1 WHERE uid = 7");
	sql("UPDATE idem SET owner = -1 WHERE key = 'j'");
	READS(0,
	    TENANT
	    "key k;"
	    "broken 7 name ipv4 state: 77 cannot be;"
	    "broken 8 slot name: must start and end with a letter or digit;");
	got.broken = -ENOSPC; /* no other is asked */
	READS(-ENOSPC, TENANT "key k;broken 7 name ipv4 state: 77 cannot be;");
	t_str(e.msg, "store: vm 0000000000000007: No space left on device");
	got.broken = 0;
	got.idem = -EIO; /* nor one after another error */
	READS(-EIO, TENANT "key k;");
	sql("UPDATE tenant SET name = '-'");
	READS(-EBADMSG, "");
	t_true(strncmp(e.msg, "store: tenant id 1 name -: name: ", 33) == 0);
	end();
}

/* A callback's word is kept, or its number's. */
static void
test_read_refused(void)
{
	begin_full();
	got.vm = -EIO;
	READS(-EIO, TENANT "vm a;");
	t_str(e.msg,
	    "store: vm uid 0000000000000007 name a: "
	    "Input/output error");
	got.why = "x";
	READS(-EIO, TENANT "vm a;");
	t_str(e.msg, "store: vm uid 0000000000000007 name a: x");
	got.vm = -EBADMSG; /* whoever reads it finds what is wrong */
	got.why = "its request";
	READS(0,
	    TENANT "vm a;vm b;" KEYS "broken 7 name slot ipv4 its request;"
		   "broken 8 name slot ipv4 its request;");
	got.vm = 0;
	got.why = NULL;
	got.idem = -EBADMSG;
	READS(0, TENANT "vm a;vm b;" KEYS);
	got.idem = 0;
	got.tenant = -EBADMSG;
	READS(-EBADMSG, TENANT);
	got.tenant = -ENOMEM;
	READS(-ENOMEM, TENANT);
	t_str(e.msg,
	    "store: tenant id 1 name default: "
	    "Cannot allocate memory");
	end();
}

static void
test_read_fails(void)
{
	static const struct {
		const char *what;
		unsigned int nth;
		const char *said;
	} rows[] = {
		{ "prepare_v3", 1, "" },
		{ "prepare_v3", 2, TENANT },
		{ "prepare_v3", 3, TENANT "vm a;vm b;" },
		{ "step", 1, "" },
		{ "step", 2, TENANT },
		{ "step", 3, TENANT },
		{ "step", 4, TENANT "vm a;" },
		{ "step", 8, TENANT "vm a;vm b;" KEYS },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].what);
		begin_full();
		faulty_set(rows[i].what, rows[i].nth, SQLITE_BUSY);
		READS(-EBUSY, rows[i].said);
		t_true(strncmp(e.msg,
			   rows[i].what[0] == 'p' ? "store: prepare: "
						  : "store: read: ",
			   13) == 0);
		READS(0, TENANT "vm a;vm b;" KEYS);
		end();
	}
}

/* No memory for a text, or for a VM that is to be kept. */
static void
test_read_memory(void)
{
	unsigned int n;

	begin_full();
	faulty_set("column_text", 1, 0);
	READS(-ENOMEM, "");
	faulty_set("column_text", 3, 0);
	READS(-ENOMEM, TENANT);
	end();
	for (n = 3; n < 7; n++) { /* of one that cannot be, read once more */
		begin_full();
		sql("UPDATE vm SET state = 77");
		faulty_set("column_text", n, 0);
		READS(-ENOMEM, TENANT);
		t_true(faulty.what == NULL);
		end();
	}
	begin_full();
	sql("UPDATE vm SET state = 77");
	faulty_set("column_text", 3, FAULTY_MEMORY);
	READS(-ENOMEM, TENANT);
	t_str(e.msg,
	    "store: vm uid 0000000000000007 name a: "
	    "Cannot allocate memory");
	end();
}

/* --- events --- */

static sqlite3_stmt *events, *oldest;

static int
on_event(void *arg, const struct event_row *row)
{
	t_true(arg == &got);
	say("%llu %.*s;", (unsigned long long)row->seq, (int)row->body.len,
	    row->body.text == NULL ? "" : row->body.text);
	t_true(row->body.len > 0 || row->body.text == NULL);
	t_eq(row->tenant, 1);
	return got.vm;
}

#define EVENTS(after, max, r, want)                                         \
	do {                                                                \
		got.said[0] = '\0';                                         \
		t_eq(sql_events(events, 1, after, max, on_event, &got), r); \
		t_str(got.said, want);                                      \
		is_ready(events);                                           \
	} while (0)

static void
test_events(void)
{
	uint64_t seq;

	begin();
	memset(&got, 0, sizeof(got));
	t_eq(sql_prepare_events(db, &events, &oldest, &e), 0);
	EVENTS(0, 10, 0, "");
	for (seq = 3; seq < 7; seq++)
		t_eq(put_event(seq), 0);
	EVENTS(0, 10, 4, "3 e;4 e;5 e;6 e;");
	EVENTS(3, 10, 3, "4 e;5 e;6 e;");
	EVENTS(3, 2, 2, "4 e;5 e;");
	EVENTS(6, 2, 0, "");
	t_eq(sql_events(events, 2, 0, 10, on_event, &got), 0);
	sql("UPDATE event SET body_v = -1 WHERE seq = 4");
	EVENTS(0, 10, 4, "3 e;4 ;5 e;6 e;");
	got.vm = -E2BIG; /* the reader has enough */
	EVENTS(0, 10, -E2BIG, "3 e;");
	got.vm = 1;
	EVENTS(0, 10, 4, "3 e;4 ;5 e;6 e;");
	got.vm = 0;
	faulty_set("step", 1, SQLITE_BUSY);
	EVENTS(0, 10, -EBUSY, "");
	faulty_set("step", 3, SQLITE_BUSY);
	EVENTS(0, 10, -EBUSY, "3 e;4 ;");
	faulty_set("column_text", 1, 0);
	EVENTS(0, 10, -ENOMEM, "");
	sql_finalize(&events, 1);
	sql_finalize(&oldest, 1);
	end();
}

static void
test_oldest(void)
{
	uint64_t n = 99;

	begin();
	t_eq(sql_prepare_events(db, &events, &oldest, &e), 0);
	t_eq(sql_oldest(oldest, 1, &n), 0);
	t_eq(n, 0);
	t_eq(put_event(70), 0);
	t_eq(put_event(50), 0);
	t_eq(sql_oldest(oldest, 1, &n), 0);
	t_eq(n, 50);
	is_ready(oldest);
	t_eq(sql_oldest(oldest, 7, &n), 0);
	t_eq(n, 0);
	is_ready(oldest);
	faulty_set("step", 1, SQLITE_BUSY);
	n = 99;
	t_eq(sql_oldest(oldest, 1, &n), -EBUSY);
	t_eq(n, 99);
	sql_finalize(&events, 1);
	sql_finalize(&oldest, 1);
	end();
}

const struct t_case t_cases[] = {
	{ "all is read", test_read },
	{ "what cannot be", test_read_broken },
	{ "what is refused", test_read_refused },
	{ "reading that fails", test_read_fails },
	{ "reading without memory", test_read_memory },
	{ "events", test_events },
	{ "the oldest event", test_oldest },
	{ NULL, NULL },
};
