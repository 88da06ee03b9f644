#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/name.h"
#include "common/num.h"
#include "common/util.h"
#include "orchd/store_int.h"
#include "orchd/vm/vm.h"
#include "proto/jbuf.h"

/*
 * What the tables hold: a column is a line here, and nothing else knows their
 * order.  A column that is added comes with a migration (sql.c).
 */
#define COL_AS(T, m, ct, sql)                                            \
	.name = (sql), .type = (ct), .offset = (uint32_t)offsetof(T, m), \
	.size = (uint32_t)sizeof(((T *)0)->m)
#define COL(T, m, ct) COL_AS(T, m, ct, #m)
#define ANY .min = INT64_MIN, .max = INT64_MAX
#define FROM_0 .max = INT64_MAX
/* Counted up: what is far from its end never gets there. */
#define COUNTED .max = ROW_COUNT_MAX
#define WORD(v) (UINT32_C(1) << (v))

static int
mac_check(const char *mac, size_t len, struct err *e)
{
	(void)len;
	return (mac[0] & 1) != 0 ? err_set(e, -EBADMSG, "a group's address")
				 : 0;
}

#define V struct vm_row
static const struct col vm_cols[] = {
	{ COL_AS(V, vmid, COL_INT, "uid"), .flags = COL_KEY | COL_HEX, ANY },
	{ COL(V, tenant, COL_INT), COUNTED },
	{ COL(V, id, COL_INT), COUNTED },
	{ COL(V, name, COL_TEXT), .flags = COL_SHOW, .check = name_check },
	{ COL(V, state, COL_INT), .flags = COL_SET,
	    .words = WORD(VM_PENDING) | WORD(VM_STARTING) | WORD(VM_RUNNING) |
		WORD(VM_STOPPING) | WORD(VM_STOPPED) | WORD(VM_CRASHED) |
		WORD(VM_DELETING) },
	{ COL(V, reason, COL_INT), .flags = COL_SET, .max = EXIT_MAX - 1 },
	{ COL(V, exit_status, COL_INT), .flags = COL_SET, .min = INT32_MIN,
	    .max = INT32_MAX },
	/* 16 bits wherever a helper is told of it */
	{ COL(V, slot, COL_INT), .max = UINT16_MAX },
	{ COL(V, ipv4, COL_INT), .max = UINT32_MAX },
	{ COL(V, mac, COL_BYTES), .check = mac_check },
	{ COL(V, detail, COL_TEXT), .flags = COL_SET },
	{ COL(V, created_ns, COL_INT), FROM_0 },
	{ COL(V, updated_ns, COL_INT), .flags = COL_SET, FROM_0 },
	{ COL(V, told_ready, COL_BOOL), .flags = COL_SET },
	{ COL(V, request, COL_DOC) },
	{ COL_AS(V, request.version, COL_INT, "request_v"), .max = INT32_MAX },
};
#undef V

/* What makes no sense in one is found where it is read, and costs only it. */
#define E struct event_row
static const struct col event_cols[] = {
	{ COL(E, tenant, COL_INT), .flags = COL_KEY, ANY },
	{ COL(E, seq, COL_INT), .flags = COL_KEY, ANY },
	{ COL(E, at_ns, COL_INT), ANY },
	{ COL(E, body, COL_DOC) },
	{ COL_AS(E, body.version, COL_INT, "body_v"), .max = INT32_MAX },
};
#undef E

#define I struct idem_row
static const struct col idem_cols[] = {
	{ COL(I, tenant, COL_INT), .flags = COL_KEY, FROM_0 },
	{ COL(I, owner, COL_INT), .flags = COL_KEY, .max = UINT32_MAX },
	{ COL(I, key, COL_TEXT), .flags = COL_KEY },
	{ COL(I, verb, COL_INT), .flags = COL_SET, .max = UINT32_MAX },
	{ COL(I, vm, COL_INT), .flags = COL_SET, ANY },
	{ COL(I, hash, COL_BYTES), .flags = COL_SET },
	{ COL(I, at_ns, COL_INT), .flags = COL_SET, ANY },
};
#undef I

#define T struct tenant_row
static const struct col tenant_cols[] = {
	{ COL(T, id, COL_INT), .flags = COL_KEY, COUNTED },
	{ COL(T, name, COL_TEXT), .flags = COL_SHOW, .check = name_check },
	{ COL(T, last_seq, COL_INT), COUNTED },
	{ COL(T, last_id, COL_INT), COUNTED },
	{ COL(T, spec, COL_DOC), .flags = COL_SET },
	{ COL_AS(T, spec.version, COL_INT, "spec_v"), .flags = COL_SET,
	    .max = INT32_MAX },
};
#undef T

#define A struct audit_row
static const struct col audit_cols[] = {
	{ COL(A, seq, COL_INT), .flags = COL_KEY, FROM_0 },
	{ COL(A, tenant, COL_INT), .flags = COL_SHOW, FROM_0 },
	{ COL(A, n, COL_INT), .flags = COL_SHOW, FROM_0 },
	{ COL(A, at_ns, COL_INT), ANY },
	{ COL(A, entry, COL_DOC) },
	{ COL_AS(A, entry.version, COL_INT, "entry_v"), .max = INT32_MAX },
	{ COL(A, prev, COL_BYTES) },
	{ COL(A, hash, COL_BYTES) },
};
#undef A

#define H struct audit_head
static const struct col audit_head_cols[] = {
	{ COL(H, tenant, COL_INT), .flags = COL_KEY, FROM_0 },
	{ COL(H, first, COL_INT), .flags = COL_SET, FROM_0 },
	{ COL(H, last, COL_INT), .flags = COL_SET, FROM_0 },
	{ COL(H, hash, COL_BYTES), .flags = COL_SET },
};
#undef H

const struct row_type vm_rows = { "vm", vm_cols, nitems(vm_cols) };
const struct row_type event_rows = { "event", event_cols, nitems(event_cols) };
const struct row_type idem_rows = { "idem", idem_cols, nitems(idem_cols) };
const struct row_type tenant_rows = { "tenant", tenant_cols,
	nitems(tenant_cols) };
const struct row_type audit_rows = { "audit", audit_cols, nitems(audit_cols) };
const struct row_type audit_head_rows = { "audit_head", audit_head_cols,
	nitems(audit_head_cols) };

/* "a = :a, c = :c" of the columns that have one of flags. */
static void
put_equals(
    const struct row_type *t, uint32_t flags, const char *sep, struct jbuf *b)
{
	const char *between = "";
	size_t i;

	for (i = 0; i < t->ncols; i++) {
		if ((t->cols[i].flags & flags) == 0)
			continue;
		jbuf_text(b, between);
		jbuf_text(b, t->cols[i].name);
		jbuf_text(b, " = :");
		jbuf_text(b, t->cols[i].name);
		between = sep;
	}
}

/* "a, b, c" of the columns that have one of flags; 0: of all. */
static void
put_names(const struct row_type *t, uint32_t flags, const char *before,
    struct jbuf *b)
{
	const char *between = "";
	size_t i;

	for (i = 0; i < t->ncols; i++) {
		if (flags != 0 && (t->cols[i].flags & flags) == 0)
			continue;
		jbuf_text(b, between);
		jbuf_text(b, before);
		jbuf_text(b, t->cols[i].name);
		between = ", ";
	}
}

void
row_insert(const struct row_type *t, struct jbuf *b)
{
	jbuf_text(b, "INSERT INTO ");
	jbuf_text(b, t->table);
	jbuf_text(b, " (");
	put_names(t, 0, "", b);
	jbuf_text(b, ") VALUES (");
	put_names(t, 0, ":", b);
	jbuf_text(b, ")");
}

void
row_upsert(const struct row_type *t, struct jbuf *b)
{
	row_insert(t, b);
	jbuf_text(b, " ON CONFLICT (");
	put_names(t, COL_KEY, "", b);
	jbuf_text(b, ") DO UPDATE SET ");
	put_equals(t, COL_SET, ", ", b);
}

void
row_update(const struct row_type *t, struct jbuf *b)
{
	jbuf_text(b, "UPDATE ");
	jbuf_text(b, t->table);
	jbuf_text(b, " SET ");
	put_equals(t, COL_SET, ", ", b);
	jbuf_text(b, " WHERE ");
	put_equals(t, COL_KEY, " AND ", b);
}

void
row_delete(const struct row_type *t, struct jbuf *b)
{
	jbuf_text(b, "DELETE FROM ");
	jbuf_text(b, t->table);
	jbuf_text(b, " WHERE ");
	put_equals(t, COL_KEY, " AND ", b);
}

void
row_select(const struct row_type *t, const char *tail, struct jbuf *b)
{
	jbuf_text(b, "SELECT ");
	put_names(t, 0, "", b);
	jbuf_text(b, " FROM ");
	jbuf_text(b, t->table);
	jbuf_text(b, " ");
	jbuf_text(b, tail);
}

static int64_t
load_int(const struct col *c, const void *p)
{
	/* of 4 bytes: one that may be negative says so by its minimum */
	if (c->size == sizeof(int64_t))
		return *(const int64_t *)p;
	if (c->min < 0)
		return *(const int32_t *)p;
	return *(const uint32_t *)p;
}

static void
bind_col(const struct col *c, sqlite3_stmt *st, int i, const void *p)
{
	const struct store_doc *doc = p;

	switch (c->type) {
	case COL_INT:
		(void)sqlite3_bind_int64(st, i, load_int(c, p));
		break;
	case COL_BOOL:
		(void)sqlite3_bind_int(st, i, *(const bool *)p);
		break;
	case COL_TEXT:
		(void)sqlite3_bind_text(st, i, p, -1, SQLITE_STATIC);
		break;
	case COL_BYTES:
		(void)sqlite3_bind_blob64(st, i, p, c->size, SQLITE_STATIC);
		break;
	case COL_DOC:
		(void)sqlite3_bind_text64(
		    st, i, doc->text, doc->len, SQLITE_STATIC, SQLITE_UTF8);
		break;
	}
}

static const struct col *
find_col(const struct row_type *t, const char *name)
{
	const struct col *c;

	for (c = t->cols; c < t->cols + t->ncols; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

void
row_bind(const struct row_type *t, sqlite3_stmt *st, const void *row)
{
	int i, n = sqlite3_bind_parameter_count(st);

	for (i = 1; i <= n; i++) {
		const char *name = sqlite3_bind_parameter_name(st, i);
		const struct col *c;

		assert(name != NULL);
		c = find_col(t, name + 1);
		assert(c != NULL);
		bind_col(c, st, i, (const char *)row + c->offset);
	}
}

static int
get_int(const struct col *c, sqlite3_stmt *st, int i, void *p, struct err *e)
{
	const int64_t v = sqlite3_column_int64(st, i);
	const bool ok = c->words != 0
	    ? v >= 0 && v < 32 && (c->words & WORD(v)) != 0
	    : v >= c->min && v <= c->max;

	if (!ok)
		return err_set(e, -EBADMSG, "%lld cannot be", (long long)v);
	if (c->size == sizeof(uint32_t))
		*(uint32_t *)p = (uint32_t)v;
	else
		*(int64_t *)p = v;
	return 0;
}

static int
get_text(const struct col *c, sqlite3_stmt *st, int i, char *p, struct err *e)
{
	const char *s = (const char *)sqlite3_column_text(st, i);
	const size_t len = (size_t)sqlite3_column_bytes(st, i);

	if (s == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	if (len >= c->size || strlen(s) != len)
		return err_set(e, -EBADMSG, "too long, or a NUL in it");
	memcpy(p, s, len + 1);
	if (c->check != NULL && c->check(s, len, e) < 0)
		return -EBADMSG;
	return 0;
}

static int
get_bytes(const struct col *c, sqlite3_stmt *st, int i, void *p, struct err *e)
{
	if (sqlite3_column_bytes(st, i) != (int)c->size)
		return err_set(e, -EBADMSG, "%d bytes instead of %u",
		    sqlite3_column_bytes(st, i), c->size);
	memcpy(p, sqlite3_column_blob(st, i), c->size);
	if (c->check != NULL && c->check(p, c->size, e) < 0)
		return -EBADMSG;
	return 0;
}

static int
get_doc(sqlite3_stmt *st, int i, struct store_doc *doc, struct err *e)
{
	doc->text = (const char *)sqlite3_column_text(st, i);
	doc->len = (size_t)sqlite3_column_bytes(st, i);
	return doc->text == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int
get_col(const struct col *c, sqlite3_stmt *st, int i, void *p, struct err *e)
{
	switch (c->type) {
	case COL_INT:
		return get_int(c, st, i, p, e);
	case COL_BOOL:
		*(bool *)p = sqlite3_column_int64(st, i) != 0;
		return 0;
	case COL_TEXT:
		return get_text(c, st, i, p, e);
	case COL_BYTES:
		return get_bytes(c, st, i, p, e);
	case COL_DOC:
		break;
	}
	return get_doc(st, i, p, e);
}

int
row_get(const struct row_type *t, sqlite3_stmt *st, void *row, struct err *e)
{
	const struct col *c;
	struct err why = { 0 };
	int r;

	for (c = t->cols; c < t->cols + t->ncols; c++) {
		r = get_col(
		    c, st, (int)(c - t->cols), (char *)row + c->offset, &why);
		if (r < 0)
			return err_set(e, r, "%s: %s", c->name, why.msg);
	}
	return 0;
}

int
row_get_some(const struct row_type *t, sqlite3_stmt *st, void *row,
    uint64_t *bad, struct err *e)
{
	const struct col *c;
	struct err reason = { 0 };
	int r;

	*bad = 0;
	for (c = t->cols; c < t->cols + t->ncols; c++) {
		void *p = (char *)row + c->offset;

		r = get_col(c, st, (int)(c - t->cols), p, &reason);
		if (r == 0)
			continue;
		if (r != -EBADMSG)
			return r;
		memset(p, 0, c->size);
		if (*bad == 0)
			(void)err_set(e, r, "%s: %s", c->name, reason.msg);
		*bad |= UINT64_C(1) << (c - t->cols);
	}
	return 0;
}

bool
row_is_bad(const struct row_type *t, uint64_t bad, const char *name)
{
	const struct col *c = find_col(t, name);

	assert(c != NULL);
	return (bad >> (c - t->cols) & 1) != 0;
}

/* What is in the store may be anything: only what is fit to print. */
static void
clean(char *s)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
}

void
row_label(const struct row_type *t, sqlite3_stmt *st, char *buf, size_t cap)
{
	size_t at, i;

	(void)snprintf(buf, cap, "%s", t->table);
	for (i = 0; i < t->ncols; i++) {
		const struct col *c = &t->cols[i];
		const char *s;
		char hex[HEX64_LEN + 1];

		if ((c->flags & (COL_KEY | COL_SHOW)) == 0)
			continue;
		s = (const char *)sqlite3_column_text(st, (int)i);
		if ((c->flags & COL_HEX) != 0) {
			num_format_hex64(
			    (uint64_t)sqlite3_column_int64(st, (int)i), hex);
			s = hex;
		}
		at = strlen(buf);
		(void)snprintf(buf + at, cap - at, " %s %.40s", c->name,
		    s == NULL ? "?" : s);
	}
	clean(buf);
}
