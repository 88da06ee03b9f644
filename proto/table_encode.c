#include <errno.h>
#include <string.h>

#include "common/num.h"
#include "common/rfc3339.h"
#include "proto/jbuf.h"
#include "proto/table_int.h"

static void
put_text(struct jbuf *b, const char *s)
{
	jbuf_str(b, s, strlen(s));
}

static void
put_set(struct jbuf *b, const struct field *f, uint32_t mask)
{
	const char *sep = "";
	size_t i, n = names_count(f->names);

	jbuf_text(b, "[");
	for (i = 0; i < n; i++) {
		if ((mask & (UINT32_C(1) << i)) == 0)
			continue;
		jbuf_text(b, sep);
		put_text(b, f->names[i]);
		sep = ",";
	}
	jbuf_text(b, "]");
}

static void
put_strs(struct jbuf *b, const struct strs *l)
{
	const char *s = NULL, *sep = "";

	jbuf_text(b, "[");
	while ((s = strs_next(l, s)) != NULL) {
		jbuf_text(b, sep);
		put_text(b, s);
		sep = ",";
	}
	jbuf_text(b, "]");
}

static void
put_objs(struct jbuf *b, const struct table *t, unsigned int flags,
    const struct objs *l)
{
	uint32_t i;

	jbuf_text(b, "[");
	for (i = 0; i < l->count; i++) {
		if (i > 0)
			jbuf_text(b, ",");
		table_encode(t, flags, (const char *)l->items + i * t->size, b);
	}
	jbuf_text(b, "]");
}

static void
put_hex(struct jbuf *b, const uint8_t *p, size_t len)
{
	static const char digit[] = "0123456789abcdef";
	char two[2];
	size_t i;

	jbuf_text(b, "\"");
	for (i = 0; i < len; i++) {
		two[0] = digit[p[i] >> 4];
		two[1] = digit[p[i] & 15];
		jbuf_raw(b, two, 2);
	}
	jbuf_text(b, "\"");
}

/* An index that names nothing is our mistake: no answer, not a wild read. */
static void
put_name(struct jbuf *b, const struct field *f, long long v)
{
	if (v >= 0 && v < (long long)names_count(f->names))
		put_text(b, f->names[v]);
	else if (b->r == 0)
		b->r = -EINVAL;
}

static void
put_time(struct jbuf *b, bool nanos, int64_t ns)
{
	char buf[RFC3339_MAX];

	if (ns < 0) {
		b->r = b->r == 0 ? -EINVAL : b->r;
		return;
	}
	rfc3339_format(ns, nanos, buf);
	put_text(b, buf);
}

static void
put_uid(struct jbuf *b, uint64_t uid)
{
	char buf[HEX64_LEN + 1];

	num_format_hex64(uid, buf);
	put_text(b, buf);
}

static void
put_field(
    struct jbuf *b, const struct field *f, unsigned int flags, const void *obj)
{
	const void *p = field_in(f, obj);

	switch (f->type) {
	case FT_BOOL:
		jbuf_text(b, *(const bool *)p ? "true" : "false");
		break;
	case FT_INT:
		jbuf_int(b, field_load(f, obj));
		break;
	case FT_ENUM:
		put_name(b, f, field_load(f, obj));
		break;
	case FT_ENUMSET:
		put_set(b, f, *(const uint32_t *)p);
		break;
	case FT_STR:
		jbuf_str(b, p, strnlen(p, f->size));
		break;
	case FT_STRS:
		put_strs(b, p);
		break;
	case FT_OBJ:
		table_encode(f->sub, flags, p, b);
		break;
	case FT_OBJS:
		put_objs(b, f->sub, flags, p);
		break;
	case FT_TIME:
		put_time(b,
		    (f->flags & FF_NANOS) != 0 || (flags & TABLE_STORED) != 0,
		    *(const int64_t *)p);
		break;
	case FT_UID:
		put_uid(b, *(const uint64_t *)p);
		break;
	case FT_HEX:
		put_hex(b, p, f->size);
		break;
	}
}

/*
 * `has` comes back with the text, so what was given is there; what is zero is
 * missing, but for a word, which says what zero meant.
 */
static bool
is_stored(const struct field *f, const void *obj, size_t i)
{
	if (table_has(obj, i))
		return true;
	if ((f->flags & FF_OPTIONAL) != 0)
		return false;
	return !field_is_empty(f, obj) ||
	    (f->type == FT_ENUM && f->min == 0 &&
		(f->flags & FF_OMIT_EMPTY) == 0);
}

static bool
is_shown(const struct field *f, unsigned int flags, const void *obj, size_t i)
{
	if ((flags & TABLE_STORED) != 0)
		return is_stored(f, obj, i);
	if ((f->flags & FF_WIRE) != 0)
		return false;
	if ((f->flags & FF_SECRET) != 0 && (flags & TABLE_SECRETS) == 0)
		return false;
	if ((f->flags & FF_OPTIONAL) != 0 && !table_has(obj, i))
		return false;
	return (f->flags & FF_OMIT_EMPTY) == 0 || !field_is_empty(f, obj);
}

void
table_encode(
    const struct table *t, unsigned int flags, const void *obj, struct jbuf *b)
{
	const char *sep = "";
	size_t i;

	jbuf_text(b, "{");
	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];

		if (!is_shown(f, flags, obj, i))
			continue;
		jbuf_text(b, sep);
		put_text(b, f->name);
		jbuf_text(b, ":");
		put_field(b, f, flags, obj);
		sep = ",";
	}
	jbuf_text(b, "}");
}
