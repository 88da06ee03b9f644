#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/num.h"
#include "common/rfc3339.h"
#include "proto/table_int.h"

static int get_object(
    struct decode *d, const struct table *t, void *obj, const struct where *w);

/* The type that a field's value has in JSON, and how to say so. */
static enum jread_type
json_type_of(const struct field *f)
{
	switch (f->type) {
	case FT_BOOL:
		return JREAD_BOOL;
	case FT_INT:
		return JREAD_NUMBER;
	case FT_OBJ:
		return JREAD_OBJECT;
	case FT_STRS:
	case FT_OBJS:
	case FT_ENUMSET:
		return JREAD_ARRAY;
	case FT_STR:
	case FT_ENUM:
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		break;
	}
	return JREAD_STRING;
}

static int
expect(struct decode *d, enum jread_type want, const struct where *w)
{
	enum jread_type got = jread_peek(&d->j);

	if (got == want)
		return 0;
	return where_err(w, d->e, -EINVAL, "expected %s, got %s",
	    want == JREAD_NUMBER ? "an integer" : jread_type_name(want),
	    jread_type_name(got));
}

static int
get_int(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	long long v = 0;
	int r = jread_int(&d->j, &v);

	if (r == -EDOM)
		return where_err(w, d->e, -EINVAL,
		    "expected an integer, got a fraction or an exponent");
	if (r == -ERANGE)
		return where_err(w, d->e, -EINVAL, "must be from %lld to %lld",
		    f->min, f->max);
	if (r < 0 || (r = check_int(f, v, w, d->e)) < 0)
		return r;
	field_store(f, obj, v);
	return 0;
}

/* A string of a form of its own, short enough for cap with a NUL. */
static int
get_form(struct decode *d, char *buf, size_t cap, size_t *len)
{
	struct jstr s;
	int r;

	if ((r = jread_string(&d->j, &s)) < 0)
		return r;
	*len = s.len;
	if (s.len >= cap) {
		*len = 0; /* fits no form */
		buf[0] = '\0';
		return 0;
	}
	jstr_copy(&s, buf);
	buf[s.len] = '\0';
	return 0;
}

static int
get_name(struct decode *d, const struct field *f, long long *ret,
    const struct where *w)
{
	struct jstr s;
	size_t i;
	int r;

	if ((r = jread_string(&d->j, &s)) < 0)
		return r;
	for (i = (size_t)f->min; f->names[i] != NULL; i++)
		if (jstr_is(&s, f->names[i], false)) {
			*ret = (long long)i;
			return 0;
		}
	return where_err(w, d->e, -EINVAL, "not one of its words");
}

static int
get_set(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	struct where item = { w, NULL, 0 };
	uint32_t mask = 0;
	long long v = 0;
	bool first;
	int r;

	if ((r = jread_enter(&d->j, &first)) < 0)
		return r;
	for (; (r = jread_next_item(&d->j, &first)) > 0; item.i++) {
		if ((r = expect(d, JREAD_STRING, &item)) < 0 ||
		    (r = get_name(d, f, &v, &item)) < 0)
			return r;
		mask |= UINT32_C(1) << v;
	}
	if (r < 0)
		return r;
	*(uint32_t *)field_at(f, obj) = mask;
	return 0;
}

static int
get_text(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	char *dst = field_at(f, obj);
	struct jstr s;
	int r;

	if ((r = jread_string(&d->j, &s)) < 0)
		return r;
	if (s.len >= f->size) /* too long in any case: for its message */
		return where_err(w, d->e, -EINVAL,
		    "from %lld to %lld bytes, not %zu", f->min, f->max, s.len);
	jstr_copy(&s, dst);
	dst[s.len] = '\0';
	return check_text(f, dst, s.len, w, d->e);
}

static int
get_time(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	char buf[40];
	size_t len = 0;
	int r;

	if ((r = get_form(d, buf, sizeof(buf), &len)) < 0)
		return r;
	if (rfc3339_parse(buf, len, field_at(f, obj)) < 0)
		return where_err(w, d->e, -EINVAL, "expected an RFC 3339 time");
	return 0;
}

static int
get_uid(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	char buf[HEX64_LEN + 2];
	size_t len = 0;
	int r;

	if ((r = get_form(d, buf, sizeof(buf), &len)) < 0)
		return r;
	if (num_parse_hex64(buf, field_at(f, obj)) < 0)
		return where_err(
		    w, d->e, -EINVAL, "expected 16 lower-case hex digits");
	return 0;
}

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Straight from the text: digits need no escapes, so escapes are refused. */
static int
get_hex(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	uint8_t *dst = field_at(f, obj);
	struct jstr s;
	size_t i;
	int r;

	if ((r = jread_string(&d->j, &s)) < 0)
		return r;
	for (i = 0; s.rawlen == 2 * (size_t)f->size && i < f->size; i++) {
		int hi = nibble(s.raw[2 * i]), lo = nibble(s.raw[2 * i + 1]);

		if (hi < 0 || lo < 0)
			break;
		dst[i] = (uint8_t)(hi << 4 | lo);
	}
	if (i < f->size)
		return where_err(w, d->e, -EINVAL,
		    "expected %u lower-case hex digits", 2 * f->size);
	return 0;
}

/* Items and bytes of the list that comes, which is left where it is. */
static int
measure(struct decode *d, bool strings, const struct where *w, size_t *count,
    size_t *bytes)
{
	struct jread saved = d->j;
	struct where item = { w, NULL, 0 };
	struct jstr s;
	bool first;
	int r;

	*bytes = 0;
	if ((r = jread_enter(&d->j, &first)) < 0)
		return r;
	for (; (r = jread_next_item(&d->j, &first)) > 0; item.i++) {
		if ((r = expect(
			 d, strings ? JREAD_STRING : JREAD_OBJECT, &item)) < 0)
			return r;
		r = strings ? jread_string(&d->j, &s) : jread_skip(&d->j);
		if (r < 0)
			return r;
		*bytes += strings ? s.len + 1 : 0;
	}
	*count = item.i;
	d->j = saved;
	return r;
}

/* The second walk over what measure() has seen, into l->buf. */
static int
copy_strs(struct decode *d, const struct field *f, struct strs *l,
    const struct where *w)
{
	struct where item = { w, NULL, 0 };
	char *dst = l->buf;
	struct jstr s;
	bool first;
	int r;

	if ((r = jread_enter(&d->j, &first)) < 0)
		return r;
	for (; (r = jread_next_item(&d->j, &first)) > 0; item.i++) {
		if ((r = jread_string(&d->j, &s)) < 0)
			return r;
		jstr_copy(&s, dst);
		dst[s.len] = '\0';
		if ((r = check_item(f, dst, s.len, &item, d->e)) < 0)
			return r;
		dst += s.len + 1;
	}
	return r;
}

static int
get_strs(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	struct strs *l = field_at(f, obj);
	size_t count = 0, bytes = 0;
	int r;

	if ((r = measure(d, true, w, &count, &bytes)) < 0 ||
	    (r = check_counts(f, count, bytes, w, d->e)) < 0)
		return r;
	if (count == 0)
		return jread_skip(&d->j);
	if ((l->buf = calloc(1, bytes)) == NULL)
		return where_err(NULL, d->e, -ENOMEM, "out of memory");
	l->len = (uint32_t)bytes; /* both are within the field's limits */
	l->count = (uint32_t)count;
	return copy_strs(d, f, l, w);
}

/* count objects that measure() has seen. */
static int
get_items(struct decode *d, const struct table *t, struct objs *l, size_t count,
    const struct where *w)
{
	struct where item = { w, NULL, 0 };
	bool first;
	int r;

	if (count == 0)
		return jread_skip(&d->j);
	if ((l->items = calloc(count, t->size)) == NULL)
		return where_err(NULL, d->e, -ENOMEM, "out of memory");
	l->count = (uint32_t)count;
	if ((r = jread_enter(&d->j, &first)) < 0)
		return r;
	for (; (r = jread_next_item(&d->j, &first)) > 0; item.i++)
		if ((r = get_object(
			 d, t, (char *)l->items + item.i * t->size, &item)) < 0)
			return r;
	return r;
}

static int
get_objs(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	size_t count = 0, bytes = 0;
	int r;

	if ((r = measure(d, false, w, &count, &bytes)) < 0 ||
	    (r = check_counts(f, count, bytes, w, d->e)) < 0)
		return r;
	return get_items(d, f->sub, field_at(f, obj), count, w);
}

static int
get_field(
    struct decode *d, const struct field *f, void *obj, const struct where *w)
{
	long long v = 0;
	int r;

	if ((r = expect(d, json_type_of(f), w)) < 0)
		return r;
	switch (f->type) {
	case FT_BOOL:
		return jread_bool(&d->j, field_at(f, obj));
	case FT_INT:
		return get_int(d, f, obj, w);
	case FT_ENUM:
		if ((r = get_name(d, f, &v, w)) == 0)
			field_store(f, obj, v);
		return r;
	case FT_ENUMSET:
		return get_set(d, f, obj, w);
	case FT_STR:
		return get_text(d, f, obj, w);
	case FT_STRS:
		return get_strs(d, f, obj, w);
	case FT_OBJ:
		return get_object(d, f->sub, field_at(f, obj), w);
	case FT_OBJS:
		return get_objs(d, f, obj, w);
	case FT_TIME:
		return get_time(d, f, obj, w);
	case FT_UID:
		return get_uid(d, f, obj, w);
	case FT_HEX:
		break;
	}
	return get_hex(d, f, obj, w);
}

static int
find_key(const struct decode *d, const struct table *t, const struct jstr *key,
    const struct field **ret)
{
	size_t i;

	for (i = 0; i < t->nfields; i++)
		if ((t->fields[i].flags & FF_WIRE) == 0 &&
		    jstr_is(key, t->fields[i].name, !d->strict)) {
			*ret = &t->fields[i];
			return 1;
		}
	return d->strict && !d->newer ? -1 : 0;
}

/* A stranger's key in a message: what is safe to print of it. */
static int
unknown_key(struct decode *d, const struct jstr *key, const struct where *w)
{
	char shown[41];
	size_t i;

	for (i = 0; i < key->rawlen && i < sizeof(shown) - 1; i++)
		shown[i] = key->raw[i] >= ' ' && key->raw[i] <= '~'
		    ? key->raw[i]
		    : '?';
	shown[i] = '\0';
	return where_err(w, d->e, -EINVAL, "unknown key \"%s\"", shown);
}

static int
get_member(struct decode *d, const struct table *t, void *obj,
    const struct jstr *key, const struct where *w)
{
	const struct field *f = NULL;
	struct where here = { w, NULL, 0 };
	size_t i;
	int r;

	if ((r = d->find(d, t, key, &f)) <= 0)
		return r < 0 ? unknown_key(d, key, w) : jread_skip(&d->j);
	here.name = f->name;
	i = (size_t)(f - t->fields);
	if (jread_peek(&d->j) == JREAD_NULL && !d->strict)
		return jread_skip(&d->j);
	if (table_has(obj, i)) {
		if (d->strict)
			return where_err(&here, d->e, -EINVAL, "given twice");
		field_clear(f, obj);
	}
	if ((r = get_field(d, f, obj, &here)) < 0)
		return r;
	table_set_has(obj, i);
	return 0;
}

static int
get_object(
    struct decode *d, const struct table *t, void *obj, const struct where *w)
{
	struct jstr key;
	bool first;
	size_t i;
	int r;

	if ((r = jread_enter(&d->j, &first)) < 0)
		return r;
	while ((r = jread_next_key(&d->j, &first, &key)) > 0)
		if ((r = get_member(d, t, obj, &key, w)) < 0)
			return r;
	if (r < 0)
		return r;
	for (i = 0; !d->partial && i < t->nfields; i++) {
		struct where here = { w, t->fields[i].name, 0 };

		if ((t->fields[i].flags & (FF_REQUIRED | FF_WIRE)) ==
			FF_REQUIRED &&
		    !table_has(obj, i))
			return where_err(&here, d->e, -EINVAL, "required");
	}
	return 0;
}

static int
begin(struct decode *d, const char *text, size_t len, size_t max,
    enum jread_type want)
{
	if (len > max)
		return err_set(d->e, -E2BIG, "at most %zu bytes of JSON", max);
	jread_init(&d->j, text, len, d->e);
	(void)jread_peek(&d->j); /* past the blanks */
	if (d->j.p == d->j.end)
		return err_set(d->e, -ENODATA, "EOF");
	return expect(d, want, NULL);
}

int
decode_text(struct decode *d, const struct table *t, const char *text,
    size_t len, void *obj)
{
	int r;

	memset(obj, 0, t->size);
	r = begin(d, text, len, TABLE_JSON_MAX, JREAD_OBJECT);
	if (r == 0)
		r = get_object(d, t, obj, NULL);
	if (r == 0 && d->strict)
		r = jread_end(&d->j);
	if (r < 0)
		table_clear(t, obj);
	return r;
}

int
table_decode(const struct table *t, unsigned int flags, const char *text,
    size_t len, void *obj, struct err *e)
{
	struct decode d = { .strict = (flags & TABLE_STRICT) != 0,
		.newer = (flags & TABLE_NEWER) != 0,
		.find = find_key,
		.e = e };

	return decode_text(&d, t, text, len, obj);
}

int
table_decode_list(const struct table *t, unsigned int flags, const char *text,
    size_t len, struct objs *list, struct err *e)
{
	struct decode d = { .strict = (flags & TABLE_STRICT) != 0,
		.newer = (flags & TABLE_NEWER) != 0,
		.find = find_key,
		.e = e };
	size_t count = 0, bytes = 0;
	int r;

	*list = (struct objs){ 0 };
	r = begin(&d, text, len, TABLE_LIST_MAX, JREAD_ARRAY);
	if (r == 0)
		r = measure(&d, false, NULL, &count, &bytes);
	if (r == 0 && count > TABLE_LIST_ITEMS_MAX)
		r = err_set(e, -E2BIG, "too many items");
	if (r == 0)
		r = get_items(&d, t, list, count, NULL);
	if (r == 0 && d.strict)
		r = jread_end(&d.j);
	if (r < 0)
		table_clear_list(t, list);
	return r;
}
