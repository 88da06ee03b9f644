#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cur.h"
#include "common/num.h"
#include "common/rfc3339.h"
#include "common/util.h"
#include "orchd/store_int.h"
#include "proto/jbuf.h"
#include "proto/table.h"

/*
 * What stores of versions 1 and 2 hold in vm.spec and event.body: the wire
 * form of struct vm_create and struct event_view as it was then, which is
 * `has` (u64) and then the fields in order: numbers and times in 8 bytes,
 * words in 4, strings after their length, lists after count and length.  It
 * becomes version 1 of the stored form (proto/table.h).  Frozen: these tables
 * say what was, whatever the ones in proto/ have come to say.
 */
enum v2_type { V2_STR, V2_INT, V2_WORD, V2_TIME, V2_UID, V2_STRS };
struct v2_field {
	const char *name;
	enum v2_type type;
	const char *const *words; /* V2_WORD, NULL-terminated */
	bool zero; /* V2_WORD: its first word was said, not left out */
};

static const char *const v2_status[] = { "", "pending", "starting", "running",
	"stopped", "crashed", "paused", "stopping", "created", "deleting",
	NULL };
static const char *const v2_event[] = { "VM_CREATED", "VM_RUNNING",
	"VM_STOPPED", "VM_CRASHED", "VM_DELETED", "VM_LOG", "VM_PAUSED",
	"VM_READY", NULL };
static const char *const v2_stream[] = { "", "stdout", "stderr", NULL };

static const struct v2_field request_fields[] = {
	{ .name = "name", .type = V2_STR },
	{ .name = "plugin", .type = V2_STR },
	{ .name = "image", .type = V2_STR },
	{ .name = "runtime", .type = V2_STR },
	{ .name = "cpu_cores", .type = V2_INT },
	{ .name = "memory_mb", .type = V2_INT },
	{ .name = "kernel_cmdline", .type = V2_STR },
	{ .name = "api_host", .type = V2_STR },
	{ .name = "api_port", .type = V2_STR },
	{ .name = "env", .type = V2_STRS },
	{ .name = "hostname", .type = V2_STR },
};
static const struct v2_field event_fields[] = {
	{ .name = "type", .type = V2_WORD, .words = v2_event, .zero = true },
	{ .name = "name", .type = V2_STR },
	{ .name = "status", .type = V2_WORD, .words = v2_status, .zero = true },
	{ .name = "ip_address", .type = V2_STR },
	{ .name = "mac_address", .type = V2_STR },
	{ .name = "pid", .type = V2_INT },
	{ .name = "timestamp", .type = V2_TIME },
	{ .name = "message", .type = V2_STR },
	{ .name = "stream", .type = V2_WORD, .words = v2_stream },
	{ .name = "line", .type = V2_STR },
	{ .name = "uid", .type = V2_UID },
	{ .name = "seq", .type = V2_INT },
};

/* One field on its way: its value, and whether it is said at all. */
struct said {
	const struct v2_field *f;
	bool given;
	const char *sep; /* "" before the first of an object */
	struct jbuf *b;
};

static bool
key(struct said *s, bool empty)
{
	if (empty && !s->given && !s->f->zero)
		return false;
	jbuf_text(s->b, s->sep);
	s->sep = ",";
	jbuf_str(s->b, s->f->name, strlen(s->f->name));
	jbuf_text(s->b, ":");
	return true;
}

static int
conv_str(struct cur *c, struct said *s)
{
	const uint8_t *p = NULL;
	uint32_t len = 0;

	if (cur_u32(c, &len) < 0 || cur_view(c, &p, len) < 0)
		return -EBADMSG;
	if (key(s, len == 0))
		jbuf_str(s->b, (const char *)p, len);
	return 0;
}

static int
conv_word(struct cur *c, struct said *s)
{
	uint32_t v = 0, n = 0;

	if (cur_u32(c, &v) < 0)
		return -EBADMSG;
	while (s->f->words[n] != NULL)
		n++;
	if (v >= n)
		return -EBADMSG;
	if (key(s, v == 0))
		jbuf_str(s->b, s->f->words[v], strlen(s->f->words[v]));
	return 0;
}

static int
conv_number(struct cur *c, struct said *s)
{
	char text[RFC3339_MAX];
	uint64_t v = 0;

	if (cur_u64(c, &v) < 0 || (s->f->type == V2_TIME && v > INT64_MAX))
		return -EBADMSG;
	if (!key(s, v == 0))
		return 0;
	if (s->f->type == V2_INT) {
		jbuf_int(s->b, (long long)v);
		return 0;
	}
	if (s->f->type == V2_TIME)
		rfc3339_format((int64_t)v, true, text);
	else
		num_format_hex64(v, text);
	jbuf_str(s->b, text, strlen(text));
	return 0;
}

static int
conv_strs(struct cur *c, struct said *s)
{
	const uint8_t *p = NULL, *nul;
	uint32_t count = 0, len = 0, i;

	if (cur_u32(c, &count) < 0 || cur_u32(c, &len) < 0 ||
	    cur_view(c, &p, len) < 0)
		return -EBADMSG;
	if (!key(s, count == 0))
		return len == 0 ? 0 : -EBADMSG;
	jbuf_text(s->b, "[");
	for (i = 0; i < count; i++) {
		if (len == 0 || (nul = memchr(p, '\0', len)) == NULL)
			return -EBADMSG;
		jbuf_text(s->b, i > 0 ? "," : "");
		jbuf_str(s->b, (const char *)p, (size_t)(nul - p));
		len -= (uint32_t)(nul - p) + 1;
		p = nul + 1;
	}
	jbuf_text(s->b, "]");
	return len == 0 ? 0 : -EBADMSG;
}

static int
conv_field(struct cur *c, struct said *s)
{
	switch (s->f->type) {
	case V2_STR:
		return conv_str(c, s);
	case V2_WORD:
		return conv_word(c, s);
	case V2_STRS:
		return conv_strs(c, s);
	case V2_INT:
	case V2_TIME:
	case V2_UID:
		break;
	}
	return conv_number(c, s);
}

static int
conv(const struct v2_field *fields, size_t n, const void *wire, size_t len,
    struct jbuf *b)
{
	struct said s = { .sep = "", .b = b };
	struct cur c;
	uint64_t has = 0;
	size_t i;

	cur_init(&c, wire, len);
	if (cur_u64(&c, &has) < 0 || has >> n != 0)
		return -EBADMSG;
	jbuf_text(b, "{");
	for (i = 0; i < n; i++) {
		s.f = &fields[i];
		s.given = (has & (UINT64_C(1) << i)) != 0;
		if (conv_field(&c, &s) < 0)
			return -EBADMSG;
	}
	jbuf_text(b, "}");
	return cur_end(&c) < 0 ? -EBADMSG : b->r;
}

static void
give(sqlite3_context *ctx, const struct jbuf *b)
{
	sqlite3_result_text64(ctx, b->p, b->len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/* v2_request(spec, name): a VM that cannot be read stops the migration. */
static void
on_request(sqlite3_context *ctx, int argc, sqlite3_value *argv[])
{
	struct jbuf b;
	char text[160];
	int r;

	(void)argc;
	jbuf_init(&b, TABLE_JSON_MAX);
	r = conv(request_fields, nitems(request_fields),
	    sqlite3_value_blob(argv[0]), (size_t)sqlite3_value_bytes(argv[0]),
	    &b);
	if (r == 0) {
		give(ctx, &b);
	} else {
		(void)snprintf(text, sizeof(text),
		    "vm %.63s: its request cannot be read: %s",
		    (const char *)sqlite3_value_text(argv[1]),
		    strerrordesc_np(-r));
		sqlite3_result_error(ctx, text, -1);
	}
	jbuf_free(&b); /* env is in it */
}

/* v2_event(body): '' when it cannot be read, which is no event. */
static void
on_event(sqlite3_context *ctx, int argc, sqlite3_value *argv[])
{
	struct jbuf b;
	int r;

	(void)argc;
	jbuf_init(&b, TABLE_JSON_MAX);
	r = conv(event_fields, nitems(event_fields),
	    sqlite3_value_blob(argv[0]), (size_t)sqlite3_value_bytes(argv[0]),
	    &b);
	if (r == 0)
		give(ctx, &b);
	else if (r == -ENOMEM)
		sqlite3_result_error_nomem(ctx);
	else
		sqlite3_result_text(ctx, "", 0, SQLITE_STATIC);
	jbuf_free(&b);
}

int
wire_v2_functions(sqlite3 *db)
{
	const int how = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
	int rc;

	rc = sqlite3_create_function(
	    db, "v2_request", 2, how, NULL, on_request, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(
		    db, "v2_event", 1, how, NULL, on_event, NULL, NULL);
	return rc;
}
