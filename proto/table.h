#ifndef MEWS_TABLE_H
#define MEWS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cur;
struct err;
struct jbuf;
struct wcur;

/*
 * Field tables.  One const table per API object says what its struct, its
 * JSON, its bytes on a channel, its place in the API's description and its
 * words for the fuzzer are; nothing else knows, so they cannot disagree.
 *
 * Every struct with a table starts with `uint64_t has`: bit i is set when
 * field i was given.  A zeroed struct is an empty object.
 */
enum field_type {
	FT_BOOL, /* bool */
	FT_INT, /* any integer of 1 to 8 bytes; FF_UNSIGNED comes by itself */
	FT_ENUM, /* uint8_t to uint32_t: an index into names */
	FT_ENUMSET, /* uint32_t: bit i for names[i]; a list in JSON */
	FT_STR, /* char[size], NUL-terminated UTF-8 */
	FT_STRS, /* struct strs */
	FT_OBJ, /* a struct with the table sub, inline */
	FT_OBJS, /* struct objs of structs with the table sub */
	FT_TIME, /* int64_t: ns since 1970, RFC 3339 in JSON; 0: unknown */
	FT_UID, /* uint64_t: 16 hex digits in JSON */
	FT_HEX, /* uint8_t[size]: 2 * size hex digits in JSON */
};

#define FF_REQUIRED 0x01u /* the key must be there when decoding */
#define FF_OMIT_EMPTY 0x02u /* not in JSON while zero, false or empty */
#define FF_OPTIONAL 0x04u /* not in JSON or on the wire unless `has` it */
#define FF_SECRET 0x08u /* in JSON only with TABLE_SECRETS */
#define FF_NANOS 0x10u /* FT_TIME: up to nine digits of fraction */
#define FF_WIRE 0x20u /* on the wire only: JSON does not know it */
#define FF_UNSIGNED 0x40u /* FT_INT's storage; set by F_INT */

/* Strings of one list, packed: count NUL-terminated strings in len bytes. */
struct strs {
	char *buf;
	uint32_t len;
	uint32_t count;
};

/* count structs of the field's sub table, one after the other. */
struct objs {
	void *items;
	uint32_t count;
};

/* A rule for strings beyond length: check says what is wrong in e. */
struct text_rule {
	int (*check)(const char *s, size_t len, struct err *e);
	const char *pattern; /* for the description, NULL: not regular */
};

struct table;
struct field {
	const char *name;
	enum field_type type;
	uint32_t offset, size, flags;
	/*
	 * FT_INT: the range.  FT_STR: bytes; a field that is not required may
	 * also be empty.  FT_STRS, FT_OBJS: items.  FT_ENUM: min is the first
	 * value that may be used.
	 */
	long long min, max;
	uint32_t bytes; /* FT_STRS: bytes of all together, NULs included */
	const struct table *sub;
	const char *const *names; /* NULL-terminated, at most 32 */
	const struct text_rule *rule; /* strings and strings of lists */
	const char *doc;
};

struct table {
	const char *name;
	size_t size;
	const struct field *fields;
	size_t nfields; /* at most 64 */
	const char *doc;
};

/* { F_INT(struct vm, pid), .min = 0, .max = INT32_MAX, .doc = "..." } */
#define F_(T, m, ft)                                        \
	.name = #m, .type = (ft), .offset = offsetof(T, m), \
	.size = sizeof(((T *)0)->m)
#define F_INT(T, m)       \
	F_(T, m, FT_INT), \
	    .flags = (__typeof__(((T *)0)->m))-1 > 0 ? FF_UNSIGNED : 0
#define F_INTF(T, m, fl)  \
	F_(T, m, FT_INT), \
	    .flags =      \
		(fl) | ((__typeof__(((T *)0)->m))-1 > 0 ? FF_UNSIGNED : 0)

#define TABLE_HAS(i) (UINT64_C(1) << (i))

/* Limits of a JSON text: an object; a list of objects (the CLI's side). */
#define TABLE_JSON_MAX ((size_t)1 << 20)
#define TABLE_LIST_MAX ((size_t)16 << 20)
#define TABLE_LIST_ITEMS_MAX 65536

/*
 * Decoding.  Without TABLE_STRICT the rules are Volant's: unknown keys and
 * null are ignored, keys match in any case, the last of duplicates counts,
 * what follows the first value is ignored.  With it each is refused, but for
 * unknown keys with TABLE_NEWER, when the sender may be of a newer build.
 * *obj need not be initialised; on failure it is left empty, on success the
 * caller table_clear()s it.  0, -EINVAL or -EBADMSG (no JSON), -ENODATA
 * (nothing there: "EOF"), -E2BIG (text too long), -ENOMEM; e says why.
 */
#define TABLE_STRICT 0x1u
#define TABLE_SECRETS 0x2u
#define TABLE_NEWER 0x4u
int table_decode(const struct table *t, unsigned int flags, const char *text,
    size_t len, void *obj, struct err *e);
/* The same for a list; free it with table_clear_list. */
int table_decode_list(const struct table *t, unsigned int flags,
    const char *text, size_t len, struct objs *list, struct err *e);
void table_clear_list(const struct table *t, struct objs *list);

/* Appends the object; b->r tells how it went.  flags: TABLE_SECRETS. */
void table_encode(
    const struct table *t, unsigned int flags, const void *obj, struct jbuf *b);

/*
 * The wire between rooms of one build.  table_pack: as wcur_bytes.
 * table_unpack trusts nothing: every limit, rule and bit is checked again,
 * and what it accepts packs to the same bytes.  It leaves the cursor behind
 * the object: the caller checks cur_end().  0, -EBADMSG or -ENOMEM; *obj as
 * in table_decode.
 */
int table_pack(const struct table *t, const void *obj, struct wcur *w);
int table_unpack(
    const struct table *t, struct cur *c, void *obj, struct err *e);
/* The most bytes that an object within its limits packs to. */
size_t table_wire_max(const struct table *t);
/* As an item of a list: its length, 32 bits, before it.  As table_pack. */
int table_pack_item(const struct table *t, const void *obj, struct wcur *w);
/* One object in exactly len bytes. */
int table_unpack_all(const struct table *t, const void *buf, size_t len,
    void *obj, struct err *e);

/*
 * The form that outlives a build: JSON by the same tables, with secrets and
 * with what else is on the wire only, times to the nanosecond.  The number of
 * its version is kept beside it, by whoever keeps it.  An object of an older
 * version is read for ever: what a step below names is renamed, left out or
 * mended, what has come since is zero; then it must be what its table says
 * today.  A newer version is refused (-EPROTO), and so is a key that neither
 * the table nor a step knows (-EINVAL), because it is damage, not age.
 */
struct stored_step {
	int from; /* brings an object of this version to the next; 0: the end */
	const struct table *table; /* whose key: the object's or one below */
	const char *key; /* what it was called; NULL: fix */
	const char *now; /* what it is called since; NULL: it is left out */
	/* On the whole object, once its keys are read; 0 or -EINVAL. */
	int (*fix)(void *obj, struct err *e);
};
struct stored {
	const struct table *table;
	int version; /* what is written; the first is 1 */
	const struct stored_step *steps; /* oldest first; NULL: none */
};
/*
 * table_store appends to b what table_restore takes, at most TABLE_JSON_MAX
 * bytes; 0, or -EINVAL, -ENOMEM, -EMSGSIZE with b half filled.  The text may
 * hold secrets: jbuf_free wipes it.  *obj as in table_decode.
 */
int table_store(
    const struct stored *s, const void *obj, struct jbuf *b, struct err *e);
int table_restore(const struct stored *s, int version, const char *text,
    size_t len, void *obj, struct err *e);

/* Frees what the object owns and wipes all of it; it is then empty. */
void table_clear(const struct table *t, void *obj);

/* Checks an object that was filled by other means.  0, -EINVAL or -EBADMSG */
int table_check(const struct table *t, const void *obj, struct err *e);

/*
 * One decoded pair of a query string into *obj, which starts zeroed; value
 * has len bytes and a NUL.  Numbers, words, sets of words and strings can
 * come so.  Keys that are no field are ignored, and so is an empty value; of
 * a repeated key the first counts, but sets add up.  0 or -EINVAL with e
 * ("invalid limit", ...).
 */
int table_query_add(const struct table *t, void *obj, const char *key,
    const char *value, size_t len, struct err *e);

/*
 * The OpenAPI 3.0.3 schema, "Name":{...}; sub tables are referred to as
 * #/components/schemas/Name.  flags: TABLE_STRICT as for decoding.
 */
void table_openapi(const struct table *t, unsigned int flags, struct jbuf *b);
/* The same of a table that a query string is read by: items of "parameters". */
void table_parameters(const struct table *t, struct jbuf *b);
/* Lines of a libFuzzer dictionary: keys and enum words, each quoted. */
void table_dictionary(const struct table *t, struct jbuf *b);

/* ---- lists of strings ---- */

/* The string after `prev` (NULL: the first), NULL after the last. */
const char *strs_next(const struct strs *l, const char *prev);
/* Appends a copy: -ENOMEM, or -E2BIG past max_count or max_bytes. */
int strs_add(struct strs *l, const char *s, size_t len, uint32_t max_count,
    uint32_t max_bytes);
void strs_clear(struct strs *l); /* wipes too */

#endif
