#ifndef MEWS_JREAD_H
#define MEWS_JREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * RFC 8259 by pulling, without a tree and without an allocation: what the
 * table engine reads requests with.  Not on json-c because 0.16 loses
 * members or dies when memory is short and cuts keys at an escaped NUL; the
 * tests hold this reader against it.
 *
 * Refused beyond the grammar: bytes that are not UTF-8, lone surrogates,
 * the character NUL, and more than JREAD_DEPTH_MAX levels.
 */
#define JREAD_DEPTH_MAX 16

struct jread {
	const char *start, *p, *end;
	unsigned int depth;
	struct err *e;
};

/* A checked string token: still escaped, but its decoded length is known. */
struct jstr {
	const char *raw;
	size_t rawlen;
	size_t len;
};

enum jread_type {
	JREAD_NONE, /* no value starts here */
	JREAD_OBJECT,
	JREAD_ARRAY,
	JREAD_STRING,
	JREAD_NUMBER,
	JREAD_BOOL,
	JREAD_NULL,
};

/* Faults are described in e (NULL is fine). */
void jread_init(struct jread *j, const char *text, size_t len, struct err *e);

/* What comes next; "an integer", "a string" for messages. */
enum jread_type jread_peek(struct jread *j);
const char *jread_type_name(enum jread_type t);

/*
 * Each takes one value of its type, which jread_peek has seen.  0, or
 * -EBADMSG when the text is not JSON.  jread_int also: -EDOM for a number
 * with fraction or exponent, -ERANGE outside 64 bits.
 */
int jread_string(struct jread *j, struct jstr *s);
int jread_int(struct jread *j, long long *v);
int jread_bool(struct jread *j, bool *v);
int jread_skip(struct jread *j); /* any value, of any type */

/*
 * Walking an object or array: enter, then next until it says 0.
 *	while ((r = jread_next_key(&j, &first, &key)) > 0) take one value
 */
int jread_enter(struct jread *j, bool *first);
int jread_next_key(struct jread *j, bool *first, struct jstr *key);
int jread_next_item(struct jread *j, bool *first);

/* 0 if only blanks follow. */
int jread_end(struct jread *j);

/*
 * A small document of which a few values are wanted, in any order: jread_open
 * checks all of it and stands before its value; jread_find stands before the
 * value of the last member of that name.  0; -EBADMSG: not JSON; -ENOENT: no
 * such member, or obj stands before no object.
 */
int jread_open(struct jread *j, const char *text, size_t len);
int jread_find(const struct jread *obj, const char *name, struct jread *ret);

/* Writes s->len bytes, no NUL. */
void jstr_copy(const struct jstr *s, char *dst);
/* Is it this text?  fold: ASCII letters of either case are the same. */
bool jstr_is(const struct jstr *s, const char *text, bool fold);

#endif
