#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

#define MAX_WIRE 16384

/* Room for any of the objects. */
union any {
	struct vm_view vm;
	struct vm_create create;
	struct vm_query query;
	struct exec_request exec;
	struct exec_status status;
	struct event_view event;
	struct api_error error;
	struct boot_spec boot;
};

/* Every table is one that the engine can rely on. */
static void
check_storage(const struct field *f)
{
	switch (f->type) {
	case FT_BOOL:
		t_eq(f->size, sizeof(bool));
		break;
	case FT_INT:
		t_true(f->min <= f->max);
		t_true(f->size == 8 || f->size == 4 || f->size == 2 ||
		    f->size == 1);
		t_true(f->size == 8 || (f->flags & FF_UNSIGNED) == 0 ||
		    (f->min >= 0 && f->max < 1LL << 8 * f->size));
		break;
	case FT_ENUM:
	case FT_ENUMSET:
		t_true(f->names != NULL && f->size <= 4);
		break;
	case FT_STR:
		t_true(f->min <= f->max && f->max < f->size && f->max > 0);
		break;
	case FT_STRS:
		t_eq(f->size, sizeof(struct strs));
		t_true(f->max > 0 && f->bytes > 0);
		break;
	case FT_OBJ:
		t_eq(f->size, f->sub->size);
		break;
	case FT_OBJS:
		t_eq(f->size, sizeof(struct objs));
		t_true(f->max > 0 && f->sub != NULL);
		break;
	case FT_TIME:
	case FT_UID:
		t_eq(f->size, 8);
		break;
	case FT_HEX:
		t_true(f->size > 0);
		break;
	}
}

static void
test_tables(void)
{
	const struct object_info *o;
	size_t i, k;

	for (o = objects; o->table != NULL; o++) {
		const struct table *t = o->table;

		t_true(t->nfields <= 64 && t->doc != NULL);
		for (i = 0; i < t->nfields; i++) {
			const struct field *f = &t->fields[i];

			t_row(f->name);
			t_true(f->doc != NULL && f->offset >= sizeof(uint64_t));
			t_true(f->offset + f->size <= t->size);
			check_storage(f);
			for (k = 0; k < i; k++)
				t_true(strcasecmp(f->name, t->fields[k].name) !=
				    0);
		}
	}
	t_row("numbers of fields");
	t_str(vm_table.fields[VM_EXIT_STATUS].name, "exit_status");
	t_str(vm_table.fields[VM_CONFINEMENT].name, "confinement");
	t_str(boot_spec_table.fields[BOOT_IPV4].name, "ipv4");
	t_str(vm_query_table.fields[VM_QUERY_ORDER].name, "order");
	t_str(
	    vm_confinement_table.fields[VM_CONFINEMENT_CGROUP].name, "cgroup");
	t_str(vm_status_names[VM_STATUS_BROKEN], "broken");
	t_true(vm_status_names[VM_STATUS_COUNT] == NULL);
}

#define VM_HEAD                                                         \
	"{\"id\":1,\"name\":\"web\",\"status\":\"running\","            \
	"\"runtime\":\"nginx\",\"pid\":4242,"                           \
	"\"ip_address\":\"192.168.127.10\","                            \
	"\"mac_address\":\"02:f9:e8:54:fb:c4\",\"cpu_cores\":2,"        \
	"\"memory_mb\":512,\"kernel_cmdline\":\"console=ttyS0 quiet\"," \
	"\"serial_socket\":\"/run/web.serial\""
#define ENTROPY16 "000102030405060708090a0b0c0d0e0f"
#define SPEC_HEAD \
	"{\"version\":1,\"uid\":\"00000000deadbeef\",\"hostname\":\"web\""
#define SPEC_TAIL                                                      \
	"\"image\":\"busybox\",\"time_ns\":1760070599123456789,"       \
	"\"entropy\":\"" ENTROPY16 ENTROPY16 ENTROPY16 ENTROPY16 "\"," \
	"\"key\":\"" ENTROPY16 ENTROPY16 "\"}"

/* Texts that must come out as they went in, by way of struct and wire. */
static const struct {
	const char *name;
	const struct table *t;
	const char *text;
} golden[] = {
	{ "vm with everything", &vm_table,
	    VM_HEAD ",\"created_at\":\"2025-10-10T04:29:59Z\","
		    "\"updated_at\":\"2025-10-10T04:30:00Z\","
		    "\"uid\":\"0123456789abcdef\",\"image\":\"busybox\","
		    "\"tenant\":\"default\",\"ready\":true,"
		    "\"reason\":\"started\",\"exit_status\":0,"
		    "\"accel\":\"tcg\",\"confinement\":{\"verified\":true,"
		    "\"seccomp_filters\":2,\"cgroup\":\"/mews/vm/1\"}}" },
	{ "vm as created", &vm_table, VM_HEAD ",\"ready\":false}" },
	{ "vm stopped", &vm_table,
	    "{\"id\":1,\"name\":\"web\",\"status\":\"stopped\","
	    "\"runtime\":\"\",\"ip_address\":\"\",\"mac_address\":\"\","
	    "\"cpu_cores\":1,\"memory_mb\":96,\"kernel_cmdline\":\"\","
	    "\"serial_socket\":\"\",\"ready\":false,"
	    "\"reason\":\"guest powered off\",\"exit_status\":3}" },
	{ "create as the foreign CLI sends it", &vm_create_table,
	    "{\"name\":\"web\",\"plugin\":\"nginx\",\"runtime\":\"nginx\","
	    "\"cpu_cores\":2,\"memory_mb\":512}" },
	{ "create as ours", &vm_create_table,
	    "{\"name\":\"web\",\"image\":\"busybox\","
	    "\"env\":[\"A=1\",\"B=\"],\"hostname\":\"web\"}" },
	{ "query", &vm_query_table,
	    "{\"status\":[\"running\",\"stopped\"],\"limit\":0,\"offset\":5,"
	    "\"sort\":\"name\",\"order\":\"desc\"}" },
	{ "exec", &exec_request_table,
	    "{\"cmd\":[\"sh\",\"-c\",\"\"],\"env\":[\"A=1\"],\"cwd\":\"/\","
	    "\"tty\":true,\"stdin\":true}" },
	{ "exec failed", &exec_status_table,
	    "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"m\","
	    "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":["
	    "{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}" },
	{ "event", &event_table,
	    "{\"type\":\"VM_RUNNING\",\"name\":\"web\",\"status\":\"running\","
	    "\"ip_address\":\"192.168.127.10\","
	    "\"mac_address\":\"02:f9:e8:54:fb:c4\",\"pid\":4242,"
	    "\"timestamp\":\"2025-10-10T04:29:59.123456789Z\","
	    "\"message\":\"vm running\"}" },
	{ "event after a create", &event_table,
	    "{\"type\":\"VM_CREATED\",\"name\":\"web\",\"status\":\"\","
	    "\"timestamp\":\"2025-10-10T04:29:59Z\","
	    "\"message\":\"VM created\"}" },
	{ "log line", &event_table,
	    "{\"type\":\"VM_LOG\",\"name\":\"web\",\"status\":\"running\","
	    "\"timestamp\":\"2025-10-10T04:29:59.1Z\",\"stream\":\"stderr\","
	    "\"line\":\"a \\u003cb\\u003e \\u0026 c\","
	    "\"uid\":\"0123456789abcdef\"}" },
	{ "error", &api_error_table, "{\"error\":\"vm not found\"}" },
	{ "boot spec", &boot_spec_table,
	    SPEC_HEAD ",\"ipv4\":{\"address\":\"10.0.0.2\",\"prefix\":24,"
		      "\"gateway\":\"10.0.0.1\"},\"dns\":[\"10.0.0.1\"],"
		      "\"mac\":\"02:f9:e8:54:fb:c4\",\"env\":[\"A=1\"],"
		      "" SPEC_TAIL },
	{ "boot spec without network", &boot_spec_table,
	    SPEC_HEAD "," SPEC_TAIL },
};

static void
there_and_back(const struct table *t, const char *text)
{
	static uint8_t wire[MAX_WIRE], cut[MAX_WIRE];
	union any a, b;
	struct err e = { 0 };
	struct wcur w;
	struct jbuf j;
	size_t i;

	t_eq(table_decode(t, TABLE_STRICT, text, strlen(text), &a, &e), 0);
	t_str(e.msg, "");
	wcur_init(&w, wire, sizeof(wire));
	t_eq(table_pack(t, &a, &w), 0);
	t_eq(table_unpack_all(t, wire, w.used, &b, &e), 0);
	t_str(e.msg, "");
	jbuf_init(&j, 1 << 20);
	table_encode(t, TABLE_SECRETS, &b, &j);
	t_str(j.p, text);
	jbuf_free(&j);
	table_clear(t, &a);
	table_clear(t, &b);
	for (i = 0; i < w.used; i++) {
		memcpy(cut, wire, i);
		t_eq(table_unpack_all(t, cut, i, &b, &e), -EBADMSG);
	}
}

static void
test_golden(void)
{
	size_t i;

	for (i = 0; i < nitems(golden); i++) {
		t_row(golden[i].name);
		there_and_back(golden[i].t, golden[i].text);
	}
}

static void
test_flips(void)
{
	static uint8_t wire[MAX_WIRE], again[MAX_WIRE];
	union any a;
	struct wcur w, w2;
	size_t i, k, bit, len;

	for (i = 0; i < nitems(golden); i++) {
		const struct table *t = golden[i].t;

		t_row(golden[i].name);
		t_eq(table_decode(t, 0, golden[i].text, strlen(golden[i].text),
			 &a, NULL),
		    0);
		wcur_init(&w, wire, sizeof(wire));
		t_eq(table_pack(t, &a, &w), 0);
		table_clear(t, &a);
		len = w.used;
		for (k = 0; k < len * 8; k++) {
			bit = 1u << k % 8;
			wire[k / 8] ^= (uint8_t)bit;
			if (table_unpack_all(t, wire, len, &a, NULL) == 0) {
				t_eq(table_check(t, &a, NULL), 0);
				wcur_init(&w2, again, sizeof(again));
				t_eq(table_pack(t, &a, &w2), 0);
				t_mem(again, w2.used, wire, len);
				table_clear(t, &a);
			}
			wire[k / 8] ^= (uint8_t)bit;
		}
	}
}

static void
test_refused(void)
{
	static const struct {
		const char *name;
		const struct table *t;
		const char *text, *why;
	} rows[] = {
		{ "no name", &vm_create_table, "{\"image\":\"busybox\"}",
		    "name: required" },
		{ "name with a slash", &vm_create_table, "{\"name\":\"../x\"}",
		    "name: only letters, digits and \"._-\"" },
		{ "memory as text", &vm_create_table,
		    "{\"name\":\"w\",\"memory_mb\":\"512\"}",
		    "memory_mb: expected an integer, got a string" },
		{ "cpus past any machine", &vm_create_table,
		    "{\"name\":\"w\",\"cpu_cores\":99999999999999999999}",
		    "cpu_cores: must be from -2147483648 to 512" },
		{ "newline for the kernel", &vm_create_table,
		    "{\"name\":\"w\",\"kernel_cmdline\":\"a\\nb\"}",
		    "kernel_cmdline: no control characters" },
		{ "image that climbs", &vm_create_table,
		    "{\"name\":\"w\",\"image\":\"a/../b\"}",
		    "image: not an image reference" },
		{ "env without =, never quoted", &vm_create_table,
		    "{\"name\":\"w\",\"env\":[\"A=1\",\"hunter2\"]}",
		    "env[1]: must be NAME=value" },
		{ "env without a name", &vm_create_table,
		    "{\"name\":\"w\",\"env\":[\"=1\"]}",
		    "env[0]: must be NAME=value" },
		{ "no command", &exec_request_table, "{\"cmd\":[]}",
		    "cmd: from 1 to 16384 items, not 0" },
		{ "command as text", &exec_request_table, "{\"cmd\":\"ls\"}",
		    "cmd: expected a list, got a string" },
		{ "relative directory", &exec_request_table,
		    "{\"cmd\":[\"ls\"],\"cwd\":\"x\"}",
		    "cwd: must be an absolute path" },
		{ "other version", &boot_spec_table, "{\"version\":2}",
		    "version: must be from 1 to 1" },
		{ "octal address", &boot_spec_table,
		    "{\"ipv4\":{\"address\":\"010.0.0.1\"}}",
		    "ipv4.address: not an IPv4 address" },
		{ "no address", &boot_spec_table, "{\"ipv4\":{\"prefix\":24}}",
		    "ipv4.address: required" },
		{ "short key", &boot_spec_table, "{\"key\":\"00\"}",
		    "key: expected 64 lower-case hex digits" },
		{ "multicast MAC", &boot_spec_table,
		    "{\"mac\":\"03:f9:e8:54:fb:c4\"}",
		    "mac: not a MAC address" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct err e = { 0 };
		union any a;

		t_row(rows[i].name);
		t_eq(table_decode(rows[i].t, 0, rows[i].text,
			 strlen(rows[i].text), &a, &e),
		    -EINVAL);
		t_str(e.msg, rows[i].why);
	}
}

static void
test_exec_status(void)
{
	static const int codes[] = { 0, 1, 3, 126, 137, 255 };
	struct err e = { 0 };
	struct jbuf b;
	char cut[300];
	size_t i;
	int code;

	jbuf_init(&b, 4096);
	exec_status_write(&b, 0);
	t_str(b.p, "{\"metadata\":{},\"status\":\"Success\"}");
	jbuf_free(&b);
	exec_status_write(&b, 3);
	t_str(b.p,
	    "{\"metadata\":{},\"status\":\"Failure\","
	    "\"message\":\"command ended with exit status 3\","
	    "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":["
	    "{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}");
	jbuf_free(&b);
	for (i = 0; i < nitems(codes); i++) {
		code = -7;
		exec_status_write(&b, codes[i]);
		t_eq(exec_status_parse(b.p, b.len, &code, &e), 0);
		t_eq(code, codes[i]);
		jbuf_free(&b);
	}
	t_row("never ran, and a text cut within a character");
	memset(cut, 'a', sizeof(cut));
	memcpy(cut + 254, "\xe2\x82\xac", 4);
	exec_status_fail(&b, cut);
	t_eq(exec_status_parse(b.p, b.len, &code, &e), -ENOEXEC);
	t_eq(e.msg[254], '?');
	jbuf_free(&b);
	t_row("lies");
	t_eq(exec_status_parse("{}", 2, &code, &e), -EINVAL);
	t_eq(exec_status_parse("", 0, &code, &e), -ENODATA);
#define LIE(n)                                                               \
	"{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\","            \
	"\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"" n \
	"\"}]}}"
	t_eq(exec_status_parse(LIE("0"), strlen(LIE("0")), &code, &e), -EINVAL);
	t_eq(exec_status_parse(LIE("256"), strlen(LIE("256")), &code, &e),
	    -EINVAL);
	t_eq(exec_status_parse(LIE("3x"), strlen(LIE("3x")), &code, &e),
	    -EINVAL);
}

static int
add(struct vm_query *q, const char *key, const char *value)
{
	struct err e = { 0 };
	int r =
	    table_query_add(&vm_query_table, q, key, value, strlen(value), &e);

	t_eq(e.msg[0] != '\0', r < 0);
	return r;
}

static void
test_query(void)
{
	static const struct {
		const char *key, *value;
	} bad[] = { { "limit", "-1" }, { "limit", "x" }, { "limit", "1.5" },
		{ "limit", "99999999999999999999" }, { "offset", "-1" },
		{ "offset", " 1" }, { "q", "\xff" } };
	struct vm_query q = { 0 };
	struct err e = { 0 };
	char longer[130];
	size_t i;

	t_eq(add(&q, "status", "running,Stopped"), 0);
	t_eq(add(&q, "status", "paused"), 0);
	t_eq(q.status,
	    1 << VM_STATUS_RUNNING | 1 << VM_STATUS_STOPPED |
		1 << VM_STATUS_PAUSED);
	t_eq(add(&q, "limit", "10"), 0);
	t_eq(add(&q, "limit", "20"), 0);
	t_eq(q.limit, 10);
	t_eq(add(&q, "offset", ""), 0);
	t_true((q.has & TABLE_HAS(VM_QUERY_OFFSET)) == 0);
	t_eq(add(&q, "sort", "name"), 0);
	t_eq(q.sort, VM_SORT_NAME);
	t_eq(add(&q, "order", "DESC"), 0);
	t_eq(q.order, VM_ORDER_DESC);
	t_eq(add(&q, "q", "we"), 0);
	t_eq(add(&q, "runtime", "nginx"), 0);
	t_eq(add(&q, "plugin", "p"), 0);
	t_str(q.q, "we");
	t_str(q.runtime, "nginx");
	t_str(q.plugin, "p");
	t_eq(add(&q, "api_key", "whatever"), 0);
	t_eq(table_check(&vm_query_table, &q, &e), 0);

	t_row("a status that is none matches nothing, not everything");
	memset(&q, 0, sizeof(q));
	t_eq(add(&q, "status", "flying"), 0);
	t_eq(q.status, 0);
	t_true((q.has & TABLE_HAS(VM_QUERY_STATUS)) != 0);
	t_eq(add(&q, "sort", "shoe_size"), 0);
	t_eq(q.sort, VM_SORT_CREATED_AT);
	t_eq(add(&q, "limit", "0"), 0);
	t_true((q.has & TABLE_HAS(VM_QUERY_LIMIT)) != 0);

	for (i = 0; i < nitems(bad); i++) {
		t_row(bad[i].value);
		memset(&q, 0, sizeof(q));
		t_eq(add(&q, bad[i].key, bad[i].value), -EINVAL);
	}
	memset(longer, 'a', sizeof(longer));
	longer[129] = '\0';
	t_eq(add(&q, "q", longer), -EINVAL);
	t_eq(table_query_add(&vm_query_table, &q, "limit", "1\0", 2, &e),
	    -EINVAL);
	t_str(e.msg, "invalid limit");
}

/* tests/golden/NAME, made anew by hand when a table changes. */
static void
same_as_file(const char *path, const struct jbuf *b)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 65536);
	size_t len;

	t_true(f != NULL && text != NULL);
	if (f != NULL && text != NULL) {
		len = fread(text, 1, 65535, f);
		t_mem(b->p, b->len, text, len);
	}
	if (f != NULL)
		(void)fclose(f);
	free(text);
}

static void
test_description(void)
{
	const struct object_info *o;
	struct jbuf b;

	jbuf_init(&b, 65536);
	jbuf_text(&b, "{");
	objects_openapi(&b);
	jbuf_text(&b, "}\n");
	same_as_file("tests/golden/schemas.json", &b);
	jbuf_free(&b);
	for (o = objects; o->table != NULL; o++)
		table_dictionary(o->table, &b);
	same_as_file("tests/fuzz/table.dict", &b);
	jbuf_free(&b);
}

const struct t_case t_cases[] = { { "tables", test_tables },
	{ "golden", test_golden }, { "flips", test_flips },
	{ "refused", test_refused }, { "exec status", test_exec_status },
	{ "query", test_query }, { "description", test_description },
	{ NULL, NULL } };
