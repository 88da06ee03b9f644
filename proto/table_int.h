#ifndef MEWS_TABLE_INT_H
#define MEWS_TABLE_INT_H

/* What the parts of the table engine share; not for anyone else. */

#include "proto/jread.h"
#include "proto/table.h"

/* table_encode: all fields, whole times; what table_store writes. */
#define TABLE_STORED 0x80000000u

/* The way to a value, for messages: "ipv4.prefix", "cmd[3]". */
struct where {
	const struct where *up;
	const char *name; /* NULL: an item of up */
	size_t i;
};

/* Fills e with "WHERE: text" and returns code. */
int where_err(const struct where *w, struct err *e, int code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

static inline void *
field_at(const struct field *f, void *obj)
{
	return (char *)obj + f->offset;
}

static inline const void *
field_in(const struct field *f, const void *obj)
{
	return (const char *)obj + f->offset;
}

static inline bool
table_has(const void *obj, size_t i)
{
	return (*(const uint64_t *)obj & TABLE_HAS(i)) != 0;
}

static inline void
table_set_has(void *obj, size_t i)
{
	*(uint64_t *)obj |= TABLE_HAS(i);
}

/* A JSON text on its way into an object. */
struct decode {
	struct jread j;
	bool strict;
	bool newer; /* keys we do not know are no fault */
	bool partial; /* what is required may be missing */
	struct err *e;
	/* Whose field a key is: 1 with *ret, 0: ignored, -1: unknown. */
	int (*find)(const struct decode *d, const struct table *t,
	    const struct jstr *key, const struct field **ret);
	const struct stored *stored; /* of table_restore: with its version */
	int version;
};
/* As table_decode; d has all but j filled in. */
int decode_text(struct decode *d, const struct table *t, const char *text,
    size_t len, void *obj);

/* Integers and enums of any width. */
long long field_load(const struct field *f, const void *obj);
void field_store(const struct field *f, void *obj, long long v);

size_t names_count(const char *const *names);

/* Is the value what a zeroed struct has? */
bool field_is_empty(const struct field *f, const void *obj);
void field_clear(const struct field *f, void *obj);

/* Checks of one value, shared by JSON, the wire and table_check. */
int check_int(
    const struct field *f, long long v, const struct where *w, struct err *e);
int check_enum(
    const struct field *f, long long v, const struct where *w, struct err *e);
int check_text(const struct field *f, const char *s, size_t len,
    const struct where *w, struct err *e);
int check_item(const struct field *f, const char *s, size_t len,
    const struct where *w, struct err *e);
int check_counts(const struct field *f, size_t count, size_t bytes,
    const struct where *w, struct err *e);
/* A field that is not required may be left at zero whatever its limits. */
bool may_be_empty(const struct field *f, const void *obj, size_t i);
/* All of it, with everything below. */
int check_object(const struct table *t, const void *obj, const struct where *w,
    struct err *e);

#endif
