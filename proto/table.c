#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/utf8.h"
#include "proto/table_int.h"

/* The text up to w, outermost first; what does not fit is left out. */
static size_t
where_text(const struct where *w, char *buf, size_t cap)
{
	size_t at = 0;
	int n;

	if (w == NULL || cap < 2)
		return 0;
	if (w->up != NULL)
		at = where_text(w->up, buf, cap);
	if (w->name == NULL)
		n = snprintf(buf + at, cap - at, "[%zu]", w->i);
	else
		n = snprintf(
		    buf + at, cap - at, "%s%s", at > 0 ? "." : "", w->name);
	return (size_t)n < cap - at ? at + (size_t)n : cap - 1;
}

int
where_err(const struct where *w, struct err *e, int code, const char *fmt, ...)
{
	char path[96] = "", msg[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (where_text(w, path, sizeof(path)) == 0)
		return err_set(e, code, "%s", msg);
	return err_set(e, code, "%s: %s", path, msg);
}

long long
field_load(const struct field *f, const void *obj)
{
	const void *p = field_in(f, obj);
	bool u = f->type != FT_INT || (f->flags & FF_UNSIGNED) != 0;

	switch (f->size) {
	case 1:
		return u ? *(const uint8_t *)p : *(const int8_t *)p;
	case 2:
		return u ? *(const uint16_t *)p : *(const int16_t *)p;
	case 4:
		if (u)
			return *(const uint32_t *)p;
		return *(const int32_t *)p;
	default:
		return *(const int64_t *)p;
	}
}

void
field_store(const struct field *f, void *obj, long long v)
{
	void *p = field_at(f, obj);

	switch (f->size) {
	case 1:
		*(uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)v;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)v;
		break;
	default:
		*(int64_t *)p = v;
		break;
	}
}

size_t
names_count(const char *const *names)
{
	size_t n = 0;

	while (names[n] != NULL)
		n++;
	return n;
}

static bool
object_is_empty(const struct table *t, const void *obj)
{
	size_t i;

	for (i = 0; i < t->nfields; i++)
		if (!field_is_empty(&t->fields[i], obj))
			return false;
	return true;
}

bool
field_is_empty(const struct field *f, const void *obj)
{
	const char *p = field_in(f, obj);
	size_t i;

	switch (f->type) {
	case FT_STR:
		return *p == '\0';
	case FT_STRS:
		return ((const struct strs *)(const void *)p)->count == 0;
	case FT_OBJS:
		return ((const struct objs *)(const void *)p)->count == 0;
	case FT_OBJ:
		return object_is_empty(f->sub, p);
	case FT_BOOL:
	case FT_INT:
	case FT_ENUM:
	case FT_ENUMSET:
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		break;
	}
	for (i = 0; i < f->size; i++)
		if (p[i] != 0)
			return false;
	return true;
}

void
field_clear(const struct field *f, void *obj)
{
	void *p = field_at(f, obj);

	switch (f->type) {
	case FT_STRS:
		strs_clear(p);
		break;
	case FT_OBJS:
		table_clear_list(f->sub, p);
		break;
	case FT_OBJ:
		table_clear(f->sub, p);
		break;
	case FT_BOOL:
	case FT_INT:
	case FT_ENUM:
	case FT_ENUMSET:
	case FT_STR:
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		explicit_bzero(p, f->size);
		break;
	}
}

void
table_clear(const struct table *t, void *obj)
{
	size_t i;

	for (i = 0; i < t->nfields; i++)
		field_clear(&t->fields[i], obj);
	explicit_bzero(obj, t->size);
}

void
table_clear_list(const struct table *t, struct objs *list)
{
	char *p = list->items;
	uint32_t i;

	for (i = 0; i < list->count; i++)
		table_clear(t, p + i * t->size);
	free(p);
	*list = (struct objs){ 0 };
}

const char *
strs_next(const struct strs *l, const char *prev)
{
	const char *p = prev == NULL ? l->buf : prev + strlen(prev) + 1;

	return l->count == 0 || p == l->buf + l->len ? NULL : p;
}

int
strs_add(struct strs *l, const char *s, size_t len, uint32_t max_count,
    uint32_t max_bytes)
{
	char *p;

	if (l->count >= max_count || l->len > max_bytes ||
	    len >= max_bytes - l->len)
		return -E2BIG;
	if ((p = malloc(l->len + len + 1)) == NULL)
		return -ENOMEM;
	if (l->len > 0)
		memcpy(p, l->buf, l->len);
	memcpy(p + l->len, s, len);
	p[l->len + len] = '\0';
	if (l->buf != NULL)
		explicit_bzero(l->buf, l->len);
	free(l->buf);
	l->buf = p;
	l->len += (uint32_t)len + 1;
	l->count++;
	return 0;
}

void
strs_clear(struct strs *l)
{
	if (l->buf != NULL)
		explicit_bzero(l->buf, l->len);
	free(l->buf);
	*l = (struct strs){ 0 };
}

int
check_int(
    const struct field *f, long long v, const struct where *w, struct err *e)
{
	if (v < f->min || v > f->max)
		return where_err(
		    w, e, -EINVAL, "must be from %lld to %lld", f->min, f->max);
	return 0;
}

int
check_enum(
    const struct field *f, long long v, const struct where *w, struct err *e)
{
	if (v < f->min || v >= (long long)names_count(f->names))
		return where_err(w, e, -EINVAL, "not one of its words");
	return 0;
}

/* Content: what every string must be, and the field's own rule. */
int
check_item(const struct field *f, const char *s, size_t len,
    const struct where *w, struct err *e)
{
	struct err why = { 0 };

	if (memchr(s, '\0', len) != NULL)
		return where_err(w, e, -EINVAL, "NUL in a string");
	if (!utf8_valid(s, len))
		return where_err(w, e, -EINVAL, "not UTF-8");
	if (f->rule != NULL && f->rule->check(s, len, &why) < 0)
		return where_err(w, e, -EINVAL, "%s", why.msg);
	return 0;
}

int
check_text(const struct field *f, const char *s, size_t len,
    const struct where *w, struct err *e)
{
	if (len == 0 && (f->min == 0 || (f->flags & FF_REQUIRED) == 0))
		return 0;
	if (len == 0)
		return where_err(w, e, -EINVAL, "required");
	if (len < (size_t)f->min || len > (size_t)f->max || len >= f->size)
		return where_err(w, e, -EINVAL,
		    "from %lld to %lld bytes, not %zu", f->min, f->max, len);
	return check_item(f, s, len, w, e);
}

int
check_counts(const struct field *f, size_t count, size_t bytes,
    const struct where *w, struct err *e)
{
	if (count == 0 && (f->min == 0 || (f->flags & FF_REQUIRED) == 0))
		return 0;
	if (count < (size_t)f->min || count > (size_t)f->max)
		return where_err(w, e, -EINVAL,
		    "from %lld to %lld items, not %zu", f->min, f->max, count);
	if (f->type == FT_STRS && bytes > f->bytes)
		return where_err(w, e, -EINVAL,
		    "at most %u bytes in all, not %zu", f->bytes, bytes);
	return 0;
}

bool
may_be_empty(const struct field *f, const void *obj, size_t i)
{
	return (f->flags & FF_REQUIRED) == 0 && !table_has(obj, i) &&
	    field_is_empty(f, obj);
}

static int
check_strs(const struct field *f, const struct strs *l, const struct where *w,
    struct err *e)
{
	struct where item = { w, NULL, 0 };
	const char *s = NULL;
	int r;

	if ((r = check_counts(f, l->count, l->len, w, e)) < 0)
		return r;
	for (; (s = strs_next(l, s)) != NULL; item.i++)
		if ((r = check_item(f, s, strlen(s), &item, e)) < 0)
			return r;
	return 0;
}

static int
check_objs(const struct field *f, const struct objs *l, const struct where *w,
    struct err *e)
{
	struct where item = { w, NULL, 0 };
	int r;

	if ((r = check_counts(f, l->count, 0, w, e)) < 0)
		return r;
	for (; item.i < l->count; item.i++)
		if ((r = check_object(f->sub,
			 (const char *)l->items + item.i * f->sub->size, &item,
			 e)) < 0)
			return r;
	return 0;
}

static int
check_field(const struct field *f, const void *obj, const struct where *w,
    struct err *e)
{
	const void *p = field_in(f, obj);
	uint32_t mask;

	switch (f->type) {
	case FT_INT:
		return check_int(f, field_load(f, obj), w, e);
	case FT_ENUM:
		return check_enum(f, field_load(f, obj), w, e);
	case FT_ENUMSET:
		mask = *(const uint32_t *)p;
		if (mask != 0 &&
		    (size_t)(31 - __builtin_clz(mask)) >= names_count(f->names))
			return where_err(w, e, -EINVAL, "unknown bits");
		return 0;
	case FT_STR:
		return check_text(f, p, strnlen(p, f->size), w, e);
	case FT_STRS:
		return check_strs(f, p, w, e);
	case FT_OBJ:
		return check_object(f->sub, p, w, e);
	case FT_OBJS:
		return check_objs(f, p, w, e);
	case FT_TIME:
		if (*(const int64_t *)p < 0)
			return where_err(w, e, -EINVAL, "before 1970");
		return 0;
	case FT_BOOL:
	case FT_UID:
	case FT_HEX:
		break;
	}
	return 0;
}

int
check_object(const struct table *t, const void *obj, const struct where *w,
    struct err *e)
{
	size_t i;
	int r;

	if (t->nfields < 64 && *(const uint64_t *)obj >> t->nfields != 0)
		return where_err(w, e, -EINVAL, "unknown fields");
	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];
		struct where here = { w, f->name, 0 };

		if (!may_be_empty(f, obj, i) &&
		    (r = check_field(f, obj, &here, e)) < 0)
			return r;
	}
	return 0;
}

int
table_check(const struct table *t, const void *obj, struct err *e)
{
	return check_object(t, obj, NULL, e);
}
