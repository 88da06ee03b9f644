#include <assert.h>
#include <json-c/json.h>
#include <string.h>

#include "common/err.h"
#include "proto/jbuf.h"
#include "tests/fuzz/any.h"

/*
 * What we take as JSON in strict mode, json-c must take too.  Not where it
 * has bounds of its own: numbers past 64 bits.
 */
static void
second_opinion(const char *text, size_t len)
{
	struct json_tokener *k = json_tokener_new_ex(32);
	struct json_object *o;
	bool ascii = true;
	size_t i;

	for (i = 0; i < len; i++)
		ascii = ascii && (signed char)text[i] >= 0;
	/* strict, its release 0.18 takes ASCII alone */
	json_tokener_set_flags(
	    k, JSON_TOKENER_VALIDATE_UTF8 | (ascii ? JSON_TOKENER_STRICT : 0));
	o = json_tokener_parse_ex(k, text, (int)len);
	assert(o != NULL);
	json_object_put(o);
	json_tokener_free(k);
}

/* In, out, in again: the same text comes out. */
static void
one(const struct table *t, unsigned int flags, const char *text, size_t len)
{
	struct jbuf b, b2;
	struct err e = { 0 };
	union any a;
	int r;

	r = table_decode(t, flags, text, len, &a, &e);
	assert(r == 0 || e.msg[0] != '\0');
	if (r < 0)
		return;
	if ((flags & TABLE_STRICT) != 0)
		second_opinion(text, len);
	assert(table_check(t, &a, &e) == 0);
	jbuf_init(&b, (size_t)4 << 20);
	jbuf_init(&b2, (size_t)4 << 20);
	table_encode(t, TABLE_SECRETS, &a, &b);
	table_clear(t, &a);
	assert(b.r == 0);
	assert(table_decode(t, flags, b.p, b.len, &a, &e) == 0);
	table_encode(t, TABLE_SECRETS, &a, &b2);
	table_clear(t, &a);
	assert(b2.r == 0 && b.len == b2.len && memcmp(b.p, b2.p, b.len) == 0);
	jbuf_free(&b);
	jbuf_free(&b2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct object_info *o;
	struct objs list;
	int code;

	for (o = objects; o->table != NULL; o++) {
		one(o->table, 0, (const char *)data, size);
		one(o->table, TABLE_STRICT, (const char *)data, size);
	}
	if (table_decode_list(
		&vm_table, 0, (const char *)data, size, &list, NULL) == 0)
		table_clear_list(&vm_table, &list);
	(void)exec_status_parse((const char *)data, size, &code, NULL);
	return 0;
}
