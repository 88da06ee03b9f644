#include <event2/event.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cur.h"
#include "common/num.h"
#include "common/util.h"
#include "orchd/store.h"
#include "orchd/stored.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

/*
 * What outlives a build.  tests/golden/store_*.sql are stores of earlier ones,
 * and the .txt beside them what each says, as another decoder than ours read
 * it; neither is ever edited.  A store that is not read any more is everybody's
 * VMs lost.
 */
#define GOLDEN "tests/golden/"
#define TEXT_MAX 65536

static char dir[64];
static char path[96];

static size_t
read_file(const char *name, char *buf, size_t cap)
{
	FILE *f = fopen(name, "re");
	size_t n = 0;

	if (f != NULL) {
		n = fread(buf, 1, cap - 1, f);
		(void)fclose(f);
	}
	buf[n] = '\0';
	return n;
}

static void
same(const char *name, const char *text)
{
	static char want[TEXT_MAX];

	(void)read_file(name, want, sizeof(want));
	t_str(text, want);
}

static void
fresh(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/stored-XXXXXX");
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

/* Statements into the store, which is made if need be. */
static void
sql(const char *text)
{
	sqlite3 *db = NULL;
	char *why = NULL;

	t_eq(sqlite3_open(path, &db), SQLITE_OK);
	t_eq(sqlite3_exec(db, text, NULL, NULL, &why), SQLITE_OK);
	t_str(why == NULL ? "" : why, "");
	sqlite3_free(why);
	t_eq(sqlite3_close(db), SQLITE_OK);
}

static void
load(const char *name)
{
	static char text[TEXT_MAX];

	t_true(read_file(name, text, sizeof(text)) > 0);
	sql(text);
}

/* --- all that a store says, a line each --- */

static struct jbuf said;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	jbuf_text(&said, line);
}

/* The object itself, decoded and encoded: not the text that was stored. */
static void
say_doc(const struct stored *s, const struct store_doc *doc)
{
	union {
		struct vm_create request;
		struct event_view event;
	} obj;
	struct err e = { 0 };
	struct jbuf b;

	t_eq(table_restore(s, doc->version, doc->text, doc->len, &obj, &e), 0);
	t_str(e.msg, "");
	if (s == &stored_event) /* which is not in the API's JSON */
		say(" seq %lld", (long long)obj.event.seq);
	else if (obj.request.owner != 0)
		say(" owner %u", obj.request.owner);
	jbuf_init(&b, TABLE_JSON_MAX);
	table_encode(s->table, TABLE_SECRETS, &obj, &b);
	say(" %.*s\n", (int)b.len, b.p);
	jbuf_free(&b);
	table_clear(s->table, &obj);
}

static int
on_vm(void *arg, const struct vm_row *r, struct err *e)
{
	char id[HEX64_LEN + 1];

	(void)arg;
	(void)e;
	num_format_hex64(r->vmid, id);
	say("vm %s %lld %lld %s state %u reason %u exit %d slot %u "
	    "ipv4 %08x mac %02x%02x%02x%02x%02x%02x \"%s\" %lld %lld "
	    "told %d",
	    id, (long long)r->tenant, (long long)r->id, r->name, r->state,
	    r->reason, r->exit_status, r->slot, r->ipv4, r->mac[0], r->mac[1],
	    r->mac[2], r->mac[3], r->mac[4], r->mac[5], r->detail,
	    (long long)r->created_ns, (long long)r->updated_ns, r->told_ready);
	say_doc(&stored_request, &r->request);
	return 0;
}

static int
on_idem(void *arg, const struct idem_row *r)
{
	size_t i;

	(void)arg;
	say("key %lld %u %s %u %016llx %lld ", (long long)r->tenant, r->owner,
	    r->key, r->verb, (unsigned long long)r->vm, (long long)r->at_ns);
	for (i = 0; i < sizeof(r->hash); i++)
		say("%02x", r->hash[i]);
	say("\n");
	return 0;
}

static int
on_tenant(void *arg, const struct tenant_row *row, struct err *e)
{
	(void)e;
	(void)arg;
	say("tenant %lld %s %llu %lld", (long long)row->id, row->name,
	    (unsigned long long)row->last_seq, (long long)row->last_id);
	if (row->spec.len > sizeof("{}") - 1) /* since version 5 */
		say_doc(&stored_tenant, &row->spec);
	else
		say("\n");
	return 0;
}

static int
on_event(void *arg, const struct event_row *r)
{
	(void)arg;
	say("event %lld %llu %lld", (long long)r->tenant,
	    (unsigned long long)r->seq, (long long)r->at_ns);
	say_doc(&stored_event, &r->body);
	return 0;
}

static void
say_all(void)
{
	static const struct store_load loader = {
		.vm = on_vm, .idem = on_idem, .tenant = on_tenant
	};
	struct event_base *base = event_base_new();
	struct store *s = NULL;
	struct err e = { 0 };

	jbuf_init(&said, TEXT_MAX);
	t_eq(store_open(path, &s, &e), 0);
	t_str(e.msg, "");
	if (s == NULL)
		return;
	t_eq(store_read(s, &loader, NULL, &e), 0);
	t_str(e.msg, "");
	t_eq(store_start(s, base, &e), 0);
	t_true(store_events(s, 1, 0, 100, on_event, NULL) > 0);
	(void)store_events(s, 2, 0, 100, on_event, NULL);
	store_free(s);
	event_base_free(base);
}

static void
test_old(void)
{
	static const struct {
		const char *store, *says;
	} rows[] = {
		{ GOLDEN "store_v1.sql", GOLDEN "store_v1.txt" },
		{ GOLDEN "store_v2.sql", GOLDEN "store_v2.txt" },
		{ GOLDEN "store_v2_states.sql", GOLDEN "store_v2_states.txt" },
		{ GOLDEN "store_v3.sql", GOLDEN "store_v3.txt" },
		{ GOLDEN "store_v4.sql", GOLDEN "store_v4.txt" },
		{ GOLDEN "store_v4_renamed.sql",
		    GOLDEN "store_v4_renamed.txt" },
		{ GOLDEN "store_v5.sql", GOLDEN "store_v5.txt" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].store);
		fresh();
		load(rows[i].store);
		say_all();
		same(rows[i].says, said.p);
		jbuf_free(&said);
		clean();
	}
}

/* --- a big one: more than a migration may keep in memory --- */

#define BIG_VMS 128

static void
v2_text(struct wcur *w, const char *text)
{
	(void)wcur_u32(w, (uint32_t)strlen(text));
	(void)wcur_bytes(w, text, strlen(text));
}

/* A request of version 2 with as much environment as there may be. */
static size_t
v2_request(uint8_t *buf, size_t cap)
{
	static char env[ENV_BYTES_MAX];
	struct wcur w;

	memset(env, 'x', sizeof(env) - 1);
	env[0] = 'A';
	env[1] = '=';
	wcur_init(&w, buf, cap);
	(void)wcur_u64(&w, 0); /* has */
	v2_text(&w, "big");
	v2_text(&w, ""); /* plugin */
	v2_text(&w, "busybox");
	v2_text(&w, "busybox");
	(void)wcur_u64(&w, 1); /* cpu_cores */
	(void)wcur_u64(&w, 96); /* memory_mb */
	v2_text(&w, ""); /* kernel_cmdline */
	v2_text(&w, ""); /* api_host */
	v2_text(&w, ""); /* api_port */
	(void)wcur_u32(&w, 1);
	(void)wcur_u32(&w, sizeof(env));
	(void)wcur_bytes(&w, env, sizeof(env));
	v2_text(&w, ""); /* hostname */
	t_true(!w.bad);
	return w.used;
}

static void
put_big(sqlite3 *db)
{
	static const char text[] =
	    "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL"
	    " SELECT i + 1 FROM n WHERE i < 99 + ?1)"
	    " INSERT INTO vm SELECT i, 1, i, 'big-' || i, 1, 3, 0, 0, i, i,"
	    " CAST(printf('%06d', i) AS BLOB), '', 1, 1, ?2, 0 FROM n";
	static uint8_t wire[2 * ENV_BYTES_MAX];
	const size_t len = v2_request(wire, sizeof(wire));
	sqlite3_stmt *st = NULL;

	t_eq(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
	t_eq(sqlite3_bind_int(st, 1, BIG_VMS), SQLITE_OK);
	t_eq(
	    sqlite3_bind_blob(st, 2, wire, (int)len, SQLITE_STATIC), SQLITE_OK);
	t_eq(sqlite3_step(st), SQLITE_DONE);
	(void)sqlite3_finalize(st);
}

static int
on_big(void *arg, const struct vm_row *r, struct err *e)
{
	unsigned int *n = arg;

	(void)e;
	*n += r->request.len > ENV_BYTES_MAX;
	return 0;
}

static int
no_idem(void *arg, const struct idem_row *r)
{
	(void)arg;
	(void)r;
	return 0;
}

static int
no_tenant(void *arg, const struct tenant_row *row, struct err *e)
{
	(void)e;
	(void)arg;
	(void)row;
	return 0;
}

static void
test_big(void)
{
	static const struct store_load loader = { on_big, NULL, no_idem,
		no_tenant };
	struct store *s = NULL;
	struct err e = { 0 };
	sqlite3 *db = NULL;
	unsigned int n = 0;

	fresh();
	load(GOLDEN "store_v2.sql");
	t_eq(sqlite3_open(path, &db), SQLITE_OK);
	put_big(db);
	t_eq(sqlite3_close(db), SQLITE_OK);
	(void)sqlite3_memory_highwater(1);
	t_eq(store_open(path, &s, &e), 0);
	t_str(e.msg, "");
	t_true(sqlite3_memory_highwater(0) < BIG_VMS * ENV_BYTES_MAX / 2);
	if (s != NULL)
		t_eq(store_read(s, &loader, &n, &e), 0);
	t_eq(n, BIG_VMS);
	store_free(s);
	clean();
}

/* --- what a build refuses, and says --- */

static void
refused(const char *change, const char *want)
{
	static const struct store_load loader = {
		.vm = on_vm, .idem = on_idem, .tenant = on_tenant
	};
	struct store *s = NULL;
	struct err e = { 0 };
	int r;

	t_row(change);
	fresh();
	load(GOLDEN "store_v4.sql");
	sql(change);
	jbuf_init(&said, TEXT_MAX);
	if ((r = store_open(path, &s, &e)) == 0)
		r = store_read(s, &loader, NULL, &e);
	t_true(r < 0);
	if (strstr(e.msg, want) == NULL)
		t_str(e.msg, want);
	store_free(s);
	jbuf_free(&said);
	clean();
}

static struct vm_broken broken;
static unsigned int nbroken, ngood;

static int
count_good(void *arg, const struct vm_row *r, struct err *e)
{
	(void)arg;
	(void)r;
	(void)e;
	ngood++;
	return 0;
}

static int
on_broken(void *arg, const struct vm_broken *b)
{
	(void)arg;
	broken = *b;
	nbroken++;
	return 0;
}

/* One VM of those in the store cannot be: it is given apart, with all that can
 * be read of it, and the others as ever. */
static void
breaks(const char *change, const char *why, bool name, bool slot, bool ipv4)
{
	static const struct store_load loader = { .vm = count_good,
		.broken = on_broken,
		.idem = on_idem,
		.tenant = on_tenant };
	struct store *s = NULL;
	struct err e = { 0 };
	char text[256];

	t_row(change);
	fresh();
	load(GOLDEN "store_v4.sql");
	(void)snprintf(
	    text, sizeof(text), "UPDATE vm SET %s WHERE name = 'web'", change);
	sql(text);
	jbuf_init(&said, TEXT_MAX);
	memset(&broken, 0, sizeof(broken));
	nbroken = ngood = 0;
	t_eq(store_open(path, &s, &e), 0);
	t_eq(store_read(s, &loader, NULL, &e), 0);
	t_str(e.msg, "");
	t_eq(nbroken, 1);
	t_true(ngood > 0);
	if (strstr(broken.why, why) == NULL)
		t_str(broken.why, why);
	t_eq(broken.has_name, name);
	t_eq(broken.has_slot, slot);
	t_eq(broken.has_ipv4, ipv4);
	t_str(broken.row.name, name ? "web" : "");
	t_true(broken.row.vmid == 0x2b51ca69f40f1f67);
	store_free(s);
	jbuf_free(&said);
	clean();
}

static void
test_refused(void)
{
	refused("PRAGMA user_version = 99", "99");
	refused("UPDATE tenant SET name = '../x'", "tenant");
}

static void
test_broken(void)
{
	breaks("state = 77", "state: 77 cannot be", true, true, true);
	breaks("slot = 70000", "slot: 70000", true, false, true);
	breaks("slot = 70000, state = 0", "state: 0", true, false, true);
	breaks("name = '../x'", "name: ", false, true, true);
	breaks("name = X'00' || 'web'", "name: ", false, true, true);
	breaks("mac = X'0300f892a9dd'", "mac: ", true, true, true);
	breaks("ipv4 = -1, mac = X'00'", "ipv4: -1", true, true, false);
	breaks("detail = hex(zeroblob(4000))", "detail: ", true, true, true);
}

const struct t_case t_cases[] = { { "stored-old", test_old },
	{ "stored-big", test_big }, { "stored-refused", test_refused },
	{ "a broken row", test_broken }, { NULL, NULL } };
