#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/table_int.h"

/*
 * An object is its `has` and then its fields in order; an optional field is
 * there only if `has` says so.  Numbers and times are 8 bytes, enums and
 * sets 4, a string its length (4) and its bytes.
 */

static void
pack_objs(const struct table *t, const struct objs *l, struct wcur *w)
{
	uint32_t i;

	(void)wcur_u32(w, l->count);
	for (i = 0; i < l->count; i++)
		(void)table_pack(t, (const char *)l->items + i * t->size, w);
}

static void
pack_field(const struct field *f, const void *obj, struct wcur *w)
{
	const void *p = field_in(f, obj);
	const struct strs *l = p;
	uint32_t len;

	switch (f->type) {
	case FT_BOOL:
		(void)wcur_u8(w, *(const bool *)p);
		break;
	case FT_INT:
		(void)wcur_u64(w, (uint64_t)field_load(f, obj));
		break;
	case FT_ENUM:
	case FT_ENUMSET:
		(void)wcur_u32(w, (uint32_t)field_load(f, obj));
		break;
	case FT_STR:
		len = (uint32_t)strnlen(p, f->size - 1);
		(void)wcur_u32(w, len);
		(void)wcur_bytes(w, p, len);
		break;
	case FT_STRS:
		(void)wcur_u32(w, l->count);
		(void)wcur_u32(w, l->len);
		(void)wcur_bytes(w, l->buf, l->len);
		break;
	case FT_OBJ:
		(void)table_pack(f->sub, p, w);
		break;
	case FT_OBJS:
		pack_objs(f->sub, p, w);
		break;
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		(void)wcur_bytes(w, p, f->size);
		break;
	}
}

static bool
is_packed(const struct field *f, const void *obj, size_t i)
{
	return (f->flags & FF_OPTIONAL) == 0 || table_has(obj, i);
}

int
table_pack(const struct table *t, const void *obj, struct wcur *w)
{
	size_t i;

	(void)wcur_u64(w, *(const uint64_t *)obj);
	for (i = 0; i < t->nfields; i++)
		if (is_packed(&t->fields[i], obj, i))
			pack_field(&t->fields[i], obj, w);
	return w->bad ? -EMSGSIZE : 0;
}

int
table_pack_item(const struct table *t, const void *obj, struct wcur *w)
{
	uint8_t *lenp = w->p;
	uint32_t len;
	size_t before;
	int r;

	(void)wcur_u32(w, 0);
	before = w->used;
	if ((r = table_pack(t, obj, w)) < 0)
		return r;
	len = (uint32_t)(w->used - before);
	memcpy(lenp, &len, sizeof(len));
	return 0;
}

static size_t
field_wire_max(const struct field *f)
{
	switch (f->type) {
	case FT_BOOL:
		return 1;
	case FT_INT:
		return sizeof(uint64_t);
	case FT_ENUM:
	case FT_ENUMSET:
		return sizeof(uint32_t);
	case FT_STR:
		return sizeof(uint32_t) + (size_t)f->max;
	case FT_STRS:
		return 2 * sizeof(uint32_t) + f->bytes;
	case FT_OBJ:
		return table_wire_max(f->sub);
	case FT_OBJS:
		return sizeof(uint32_t) +
		    (size_t)f->max * table_wire_max(f->sub);
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		break;
	}
	return f->size;
}

size_t
table_wire_max(const struct table *t)
{
	size_t i, n = sizeof(uint64_t);

	for (i = 0; i < t->nfields; i++)
		n += field_wire_max(&t->fields[i]);
	return n;
}

static int unpack_object(const struct table *t, struct cur *c, void *obj);

static int
unpack_number(const struct field *f, struct cur *c, void *obj)
{
	uint64_t v = 0;
	uint32_t v32 = 0;
	int r;

	if (f->type == FT_INT) {
		r = cur_u64(c, &v);
	} else {
		r = cur_u32(c, &v32);
		v = v32;
	}
	if (r < 0)
		return r;
	field_store(f, obj, (long long)v);
	/* what the storage cut is a lie that a range check would not see */
	return field_load(f, obj) == (long long)v ? 0 : -EBADMSG;
}

static int
unpack_bool(struct cur *c, bool *v)
{
	uint8_t b = 0;

	if (cur_u8(c, &b) < 0 || b > 1)
		return -EBADMSG;
	*v = b == 1;
	return 0;
}

static int
unpack_text(const struct field *f, struct cur *c, char *dst)
{
	uint32_t len = 0;

	if (cur_u32(c, &len) < 0 || len >= f->size ||
	    cur_bytes(c, dst, len) < 0)
		return -EBADMSG;
	return memchr(dst, '\0', len) == NULL ? 0 : -EBADMSG;
}

/* len bytes that are exactly count strings. */
static bool
is_packed_list(const char *p, uint32_t len, uint32_t count)
{
	uint32_t i, n = 0;

	for (i = 0; i < len; i++)
		n += p[i] == '\0';
	return n == count && (len == 0 || p[len - 1] == '\0');
}

static int
unpack_strs(const struct field *f, struct cur *c, struct strs *l)
{
	const uint8_t *p = NULL;
	uint32_t count = 0, len = 0;

	if (cur_u32(c, &count) < 0 || cur_u32(c, &len) < 0 || len > f->bytes ||
	    count > f->max || cur_view(c, &p, len) < 0 ||
	    !is_packed_list((const char *)p, len, count))
		return -EBADMSG;
	if (count == 0)
		return 0;
	if ((l->buf = malloc(len)) == NULL)
		return -ENOMEM;
	memcpy(l->buf, p, len);
	l->len = len;
	l->count = count;
	return 0;
}

static int
unpack_objs(const struct field *f, struct cur *c, struct objs *l)
{
	uint32_t count = 0, i;
	int r;

	if (cur_u32(c, &count) < 0 || count > f->max)
		return -EBADMSG;
	/* each has 8 bytes at least: no memory for objects that cannot come */
	if (count > c->left / sizeof(uint64_t))
		return -EBADMSG;
	if (count == 0)
		return 0;
	if ((l->items = calloc(count, f->sub->size)) == NULL)
		return -ENOMEM;
	l->count = count;
	for (i = 0; i < count; i++)
		if ((r = unpack_object(
			 f->sub, c, (char *)l->items + i * f->sub->size)) < 0)
			return r;
	return 0;
}

static int
unpack_field(const struct field *f, struct cur *c, void *obj)
{
	void *p = field_at(f, obj);

	switch (f->type) {
	case FT_BOOL:
		return unpack_bool(c, p);
	case FT_INT:
	case FT_ENUM:
	case FT_ENUMSET:
		return unpack_number(f, c, obj);
	case FT_STR:
		return unpack_text(f, c, p);
	case FT_STRS:
		return unpack_strs(f, c, p);
	case FT_OBJ:
		return unpack_object(f->sub, c, p);
	case FT_OBJS:
		return unpack_objs(f, c, p);
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		break;
	}
	return cur_bytes(c, p, f->size);
}

/* Into a zeroed object; what it got so far stays there on failure. */
static int
unpack_object(const struct table *t, struct cur *c, void *obj)
{
	size_t i;
	int r;

	if ((r = cur_u64(c, obj)) < 0)
		return r;
	for (i = 0; i < t->nfields; i++)
		if (is_packed(&t->fields[i], obj, i) &&
		    (r = unpack_field(&t->fields[i], c, obj)) < 0)
			return r;
	return 0;
}

int
table_unpack(const struct table *t, struct cur *c, void *obj, struct err *e)
{
	int r;

	memset(obj, 0, t->size);
	r = unpack_object(t, c, obj);
	if (r < 0)
		(void)err_errno(e, r, "%s", t->name);
	/* as if it came from a stranger: the sender may have been taken over */
	else if (RULE(WIRE_CHECK) && table_check(t, obj, e) < 0)
		r = -EBADMSG;
	if (r < 0)
		table_clear(t, obj);
	return r;
}

int
table_unpack_all(const struct table *t, const void *buf, size_t len, void *obj,
    struct err *e)
{
	struct cur c;
	int r;

	cur_init(&c, buf, len);
	if ((r = table_unpack(t, &c, obj, e)) < 0)
		return r;
	if (cur_end(&c) == 0)
		return 0;
	table_clear(t, obj);
	return err_set(e, -EBADMSG, "%s: trailing bytes", t->name);
}
