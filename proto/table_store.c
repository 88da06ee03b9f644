#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "proto/jbuf.h"
#include "proto/table_int.h"

/*
 * What a key of an object of an older version is called today: the steps since
 * that version, in order.  false: it is gone.  *now stays NULL while no step
 * has named it.
 */
static bool
key_today(const struct decode *d, const struct table *t, const struct jstr *key,
    const char **now)
{
	const struct stored_step *s = d->stored->steps;

	for (; s != NULL && s->from > 0; s++) {
		if (s->from < d->version || s->table != t || s->key == NULL)
			continue;
		if (*now == NULL ? !jstr_is(key, s->key, false)
				 : strcmp(*now, s->key) != 0)
			continue;
		if (s->now == NULL)
			return false;
		*now = s->now;
	}
	return true;
}

static int
find_stored(const struct decode *d, const struct table *t,
    const struct jstr *key, const struct field **ret)
{
	const char *now = NULL;
	size_t i;

	if (!key_today(d, t, key, &now))
		return 0;
	for (i = 0; i < t->nfields; i++) {
		const char *name = t->fields[i].name;

		if (now == NULL ? jstr_is(key, name, false)
				: strcmp(now, name) == 0) {
			*ret = &t->fields[i];
			return 1;
		}
	}
	return -1;
}

static int
fix_all(const struct stored *s, int version, void *obj, struct err *e)
{
	const struct stored_step *step = s->steps;
	int r;

	for (; step != NULL && step->from > 0; step++)
		if (step->from >= version && step->fix != NULL &&
		    (r = step->fix(obj, e)) < 0)
			return r;
	return 0;
}

int
table_restore(const struct stored *s, int version, const char *text, size_t len,
    void *obj, struct err *e)
{
	struct decode d = { .strict = true,
		.partial = true, /* table_check looks at what is missing */
		.find = find_stored,
		.stored = s,
		.version = version,
		.e = e };
	int r;

	memset(obj, 0, s->table->size);
	if (version > s->version)
		return err_set(e, -EPROTO,
		    "%s of version %d, newer than this program knows (%d)",
		    s->table->name, version, s->version);
	if (version < 1)
		return err_set(
		    e, -EINVAL, "%s of version %d", s->table->name, version);
	if ((r = decode_text(&d, s->table, text, len, obj)) < 0)
		return r;
	if ((r = fix_all(s, version, obj, e)) == 0)
		r = table_check(s->table, obj, e);
	if (r < 0)
		table_clear(s->table, obj);
	return r;
}

int
table_store(
    const struct stored *s, const void *obj, struct jbuf *b, struct err *e)
{
	int r;

	/* what could not be read again is not written */
	if ((r = table_check(s->table, obj, e)) < 0)
		return r;
	table_encode(s->table, TABLE_STORED, obj, b);
	if (b->r < 0)
		return err_errno(e, b->r, "%s", s->table->name);
	return 0;
}
