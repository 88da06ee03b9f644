#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "common/num.h"
#include "common/utf8.h"
#include "proto/table_int.h"

/*
 * A query string by the object's table, as Volant reads one: words match in
 * any case, and one that is none leaves the field at zero.
 */

static long long
word_index(const struct field *f, const char *s, size_t len)
{
	long long i;

	for (i = f->min; f->names[i] != NULL; i++)
		if (strlen(f->names[i]) == len &&
		    strncasecmp(f->names[i], s, len) == 0)
			return i;
	return -1;
}

/* A list of words; one that is none matches nothing.  False: no word. */
static bool
add_words(const struct field *f, void *obj, const char *s)
{
	long long i, set = field_load(f, obj);
	bool any = false;
	size_t len;

	for (;;) {
		s += strspn(s, ", ");
		if ((len = strcspn(s, ", ")) == 0)
			break;
		any = true;
		if ((i = word_index(f, s, len)) >= 0)
			set |= 1LL << (i & 31); /* a table has no more */
		s += len;
	}
	field_store(f, obj, set);
	return any;
}

static int
set_value(const struct field *f, void *obj, const char *value, size_t len,
    struct err *e)
{
	long long v;

	switch (f->type) {
	case FT_INT:
		if (num_parse(value, f->min, f->max, &v) < 0)
			/* a bound that is only the number's own says nothing */
			return f->max < INT32_MAX
			    ? err_set(e, -EINVAL, "invalid %s: %lld to %lld",
				  f->name, f->min, f->max)
			    : err_set(e, -EINVAL, "invalid %s", f->name);
		field_store(f, obj, v);
		return 0;
	case FT_ENUM:
		if ((v = word_index(f, value, len)) >= 0)
			field_store(f, obj, v);
		return 0;
	case FT_STR:
		if (len > (size_t)f->max)
			return err_set(e, -EINVAL, "%s: at most %lld bytes",
			    f->name, f->max);
		memcpy(field_at(f, obj), value, len + 1);
		return 0;
	case FT_ENUMSET:
	case FT_BOOL:
	case FT_STRS:
	case FT_OBJ:
	case FT_OBJS:
	case FT_TIME:
	case FT_UID:
	case FT_HEX:
		break;
	}
	return err_set(e, -EINVAL, "%s: not in a query", f->name);
}

int
table_query_add(const struct table *t, void *obj, const char *key,
    const char *value, size_t len, struct err *e)
{
	const struct field *f = t->fields;
	size_t i;
	int r;

	for (i = 0; i < t->nfields && strcmp(f[i].name, key) != 0; i++)
		;
	if (i == t->nfields)
		return 0;
	if (strlen(value) != len || !utf8_valid(value, len))
		return err_set(e, -EINVAL, "invalid %s", key);
	if (f[i].type == FT_ENUMSET) {
		if (add_words(&f[i], obj, value))
			table_set_has(obj, i);
		return 0;
	}
	/* empty is absent, and of several the first counts */
	if (len == 0 || table_has(obj, i))
		return 0;
	if ((r = set_value(&f[i], obj, value, len, e)) < 0)
		return r;
	table_set_has(obj, i);
	return 0;
}
