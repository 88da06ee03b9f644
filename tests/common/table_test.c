#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/jread.h"
#include "proto/rules.h"
#include "proto/table.h"
#include "tests/suite/t.h"

/* One field of every type, so that the engine is tested without the API. */
struct part {
	uint64_t has;
	int8_t small;
	char word[8];
};
struct all {
	uint64_t has;
	bool flag;
	int8_t tiny;
	uint16_t port;
	int32_t num;
	uint32_t big;
	int64_t huge;
	uint8_t color;
	uint32_t colors;
	char text[9];
	char name[64];
	struct strs list;
	struct part one;
	struct part maybe;
	struct objs parts;
	int64_t when;
	int64_t exact;
	uint64_t uid;
	uint8_t key[4];
	int64_t hidden;
};
static const char *const color_names[] = { "", "red", "green", "blue", NULL };

#define P struct part
static const struct field part_fields[] = {
	{ F_INTF(P, small, FF_REQUIRED), .min = -5, .max = 5, .doc = "small" },
	{ F_(P, word, FT_STR), .flags = FF_OMIT_EMPTY, .max = 7, .doc = "w" },
};
static const struct table part_table = { .name = "Part",
	.size = sizeof(P),
	.fields = part_fields,
	.nfields = nitems(part_fields),
	.doc = "A part." };
#undef P

#define O FF_OMIT_EMPTY
#define A struct all
static const struct field all_fields[] = {
	{ F_(A, flag, FT_BOOL), .flags = O, .doc = "flag" },
	{ F_INTF(A, tiny, O), .min = -128, .max = 127, .doc = "tiny" },
	{ F_INTF(A, port, O), .min = 1, .max = 65535, .doc = "port" },
	{ F_INTF(A, num, O), .min = INT32_MIN, .max = INT32_MAX, .doc = "n" },
	{ F_INTF(A, big, O), .min = 0, .max = UINT32_MAX, .doc = "big" },
	{ F_INTF(A, huge, O), .min = LLONG_MIN, .max = LLONG_MAX,
	    .doc = "huge" },
	{ F_(A, color, FT_ENUM), .flags = O, .min = 1, .names = color_names,
	    .doc = "color" },
	{ F_(A, colors, FT_ENUMSET), .flags = O, .min = 1, .names = color_names,
	    .doc = "colors" },
	{ F_(A, text, FT_STR), .flags = O, .min = 2, .max = 8, .doc = "t" },
	{ F_(A, name, FT_STR), .flags = FF_REQUIRED, .min = 1, .max = 63,
	    .rule = &rule_name, .doc = "name" },
	{ F_(A, list, FT_STRS), .flags = O | FF_SECRET, .max = 3, .bytes = 16,
	    .doc = "list" },
	{ F_(A, one, FT_OBJ), .flags = O, .sub = &part_table, .doc = "one" },
	{ F_(A, maybe, FT_OBJ), .flags = FF_OPTIONAL, .sub = &part_table,
	    .doc = "maybe" },
	{ F_(A, parts, FT_OBJS), .flags = O, .max = 2, .sub = &part_table,
	    .doc = "parts" },
	{ F_(A, when, FT_TIME), .flags = O, .doc = "when" },
	{ F_(A, exact, FT_TIME), .flags = O | FF_NANOS, .doc = "exact" },
	{ F_(A, uid, FT_UID), .flags = O, .doc = "uid" },
	{ F_(A, key, FT_HEX), .flags = O, .doc = "key" },
	{ F_INTF(A, hidden, FF_WIRE), .max = 99, .doc = "hidden" },
};
static const struct table all_table = { .name = "All",
	.size = sizeof(A),
	.fields = all_fields,
	.nfields = nitems(all_fields),
	.doc = "Everything." };
#undef A

#define FULL                                                              \
	"{\"flag\":true,\"tiny\":-128,\"port\":443,\"num\":-1,"           \
	"\"big\":4294967295,\"huge\":-9223372036854775808,"               \
	"\"color\":\"green\",\"colors\":[\"red\",\"blue\"],"              \
	"\"text\":\"\\u003c\\u2028\xe2\x82\xac\",\"name\":\"web\","       \
	"\"list\":[\"a=1\",\"\",\"b\\\"\\n\"],"                           \
	"\"one\":{\"small\":-5,\"word\":\"hi\"},\"maybe\":{\"small\":0}," \
	"\"parts\":[{\"small\":1},{\"small\":2,\"word\":\"two\"}],"       \
	"\"when\":\"2025-10-10T04:29:59Z\","                              \
	"\"exact\":\"2025-10-10T04:29:59.5Z\","                           \
	"\"uid\":\"00000000000000ff\",\"key\":\"00ff10a5\"}"

static void
test_full(void)
{
	uint8_t wire[1024];
	struct err e = { 0 };
	struct wcur w;
	struct jbuf b;
	struct all a, back;

	jbuf_init(&b, 4096);
	t_eq(table_decode(&all_table, TABLE_STRICT, FULL, strlen(FULL), &a, &e),
	    0);
	t_str(e.msg, "");
	t_eq(a.tiny, -128);
	t_true(a.big == UINT32_MAX);
	t_true(a.huge == LLONG_MIN);
	t_eq(a.colors, 1 << 1 | 1 << 3);
	t_eq(a.list.count, 3);
	t_str(a.list.buf + 5, "b\"\n");
	a.hidden = 42;
	wcur_init(&w, wire, sizeof(wire));
	t_eq(table_pack(&all_table, &a, &w), 0);
	t_eq(table_unpack_all(&all_table, wire, w.used, &back, &e), 0);
	t_eq(back.hidden, 42);
	table_encode(&all_table, TABLE_SECRETS, &back, &b);
	t_eq(b.r, 0);
	t_str(b.p, FULL);
	jbuf_free(&b);
	table_encode(&all_table, 0, &back, &b);
	t_true(strstr(b.p, "list") == NULL);
	jbuf_free(&b);
	table_clear(&all_table, &a);
	table_clear(&all_table, &back);
	memset(&back, 0, sizeof(back));
	t_mem(&a, sizeof(a), &back, sizeof(back));
}

#define N "\"name\":\"w\""
#define V 0u
#define S TABLE_STRICT
static const struct {
	const char *name;
	unsigned long flags;
	const char *in;
	const char *want; /* as encoded, or the message */
	long r;
} decode_rows[] = {
	{ "least", S, "{" N "}", "{" N "}", 0 },
	{ "blanks", S, " \t\r\n{ \"name\" : \"w\" } \n", "{" N "}", 0 },
	{ "empty", V, "", "EOF", -ENODATA },
	{ "blank", V, " \n", "EOF", -ENODATA },
	{ "cut", V, "{\"name\":\"w\"", "unexpected EOF", -EBADMSG },
	{ "cut in a string", V, "{\"na", "unexpected EOF", -EBADMSG },
	{ "no object", V, "[]", "expected an object, got a list", -EINVAL },
	{ "null", V, "null", "expected an object, got null", -EINVAL },
	{ "no JSON", V, "hello", "expected an object, got nothing", -EINVAL },
	{ "missing", V, "{}", "name: required", -EINVAL },
	{ "empty name", V, "{\"name\":\"\"}", "name: required", -EINVAL },
	{ "null name", V, "{\"name\":null}", "name: required", -EINVAL },
	{ "null is no string", S, "{\"name\":null}",
	    "name: expected a string, got null", -EINVAL },
	{ "unknown ignored", V, "{\"x\":[1,{\"y\":null}]," N "}", "{" N "}",
	    0 },
	{ "unknown refused", S, "{" N ",\"x\":1}", "unknown key \"x\"",
	    -EINVAL },
	{ "unknown below", S, "{" N ",\"one\":{\"small\":1,\"x\":1}}",
	    "one: unknown key \"x\"", -EINVAL },
	{ "unknown of a newer build", S | TABLE_NEWER,
	    "{\"x\":[1]," N ",\"y\":{\"a\":null}}", "{" N "}", 0 },
	{ "case of a newer build", S | TABLE_NEWER, "{\"NAME\":\"w\"}",
	    "name: required", -EINVAL },
	{ "duplicate of a newer build", S | TABLE_NEWER, "{" N "," N "}",
	    "name: given twice", -EINVAL },
	{ "wire field is unknown", S, "{" N ",\"hidden\":1}",
	    "unknown key \"hidden\"", -EINVAL },
	{ "strange unknown key", S, "{\"a\x1b\":1}",
	    "invalid JSON at byte 3: control character in a string", -EBADMSG },
	{ "any case", V, "{\"NAME\":\"w\",\"TiNy\":1}", "{\"tiny\":1," N "}",
	    0 },
	{ "exact case", S, "{\"NAME\":\"w\"}", "unknown key \"NAME\"",
	    -EINVAL },
	{ "last wins", V, "{\"name\":\"a\",\"name\":\"w\"}", "{" N "}", 0 },
	{ "last wins across cases", V,
	    "{\"name\":\"a\",\"Name\":\"b\",\"name\":\"w\"}", "{" N "}", 0 },
	{ "escaped key", V, "{\"n\\u0061me\":\"w\"}", "{" N "}", 0 },
	{ "last list wins", V, "{\"parts\":[{\"small\":1}],\"parts\":[]," N "}",
	    "{" N "}", 0 },
	{ "null after a value", V, "{\"name\":\"w\",\"name\":null}", "{" N "}",
	    0 },
	{ "duplicate refused", S, "{" N "," N "}", "name: given twice",
	    -EINVAL },
	{ "NUL does not end a key", V, "{\"name\\u0000x\":\"evil\"," N "}",
	    "invalid JSON at byte 6: NUL in a string", -EBADMSG },
	{ "trailing ignored", V, "{" N "} x", "{" N "}", 0 },
	{ "trailing refused", S, "{" N "} x",
	    "invalid JSON at byte 13: data after the value", -EBADMSG },
	{ "string for int", V, "{" N ",\"num\":\"4\"}",
	    "num: expected an integer, got a string", -EINVAL },
	{ "exponent", V, "{" N ",\"num\":1e3}",
	    "num: expected an integer, got a fraction or an exponent",
	    -EINVAL },
	{ "fraction", V, "{" N ",\"num\":1.0}",
	    "num: expected an integer, got a fraction or an exponent",
	    -EINVAL },
	{ "past 64 bits", V, "{" N ",\"port\":99999999999999999999}",
	    "port: must be from 1 to 65535", -EINVAL },
	{ "wraps to 1", V, "{" N ",\"port\":18446744073709551617}",
	    "port: must be from 1 to 65535", -EINVAL },
	{ "63 bits and one", V, "{" N ",\"huge\":9223372036854775808}",
	    "huge: must be from -9223372036854775808 to 9223372036854775807",
	    -EINVAL },
	{ "below", V, "{" N ",\"port\":0}", "port: must be from 1 to 65535",
	    -EINVAL },
	{ "above", V, "{" N ",\"port\":65536}", "port: must be from 1 to 65535",
	    -EINVAL },
	{ "minus zero", V, "{" N ",\"num\":-0}", "{" N "}", 0 },
	{ "leading zero", V, "{" N ",\"num\":01}",
	    "invalid JSON at byte 19: leading zero", -EBADMSG },
	{ "plus", V, "{" N ",\"num\":+1}",
	    "invalid JSON at byte 18: a value was expected", -EBADMSG },
	{ "hex", V, "{" N ",\"num\":0x1}",
	    "invalid JSON at byte 19: a comma was expected", -EBADMSG },
	{ "NaN", V, "{" N ",\"num\":NaN}",
	    "invalid JSON at byte 18: a value was expected", -EBADMSG },
	{ "comment", V, "{/**/" N "}",
	    "invalid JSON at byte 1: a key was expected", -EBADMSG },
	{ "single quotes", V, "{'name':'w'}",
	    "invalid JSON at byte 1: a key was expected", -EBADMSG },
	{ "trailing comma", V, "{" N ",}",
	    "invalid JSON at byte 12: a key was expected", -EBADMSG },
	{ "list with trailing comma", V, "{" N ",\"list\":[\"a\",]}",
	    "invalid JSON at byte 24: a value was expected", -EBADMSG },
	{ "wrong bracket", V, "{" N "]",
	    "invalid JSON at byte 11: a comma was expected", -EBADMSG },
	{ "number for bool", V, "{" N ",\"flag\":1}",
	    "flag: expected a boolean, got a number", -EINVAL },
	{ "string for bool", V, "{" N ",\"flag\":\"true\"}",
	    "flag: expected a boolean, got a string", -EINVAL },
	{ "half a word", V, "{" N ",\"flag\":tru}",
	    "invalid JSON at byte 19: true, false or null was expected",
	    -EBADMSG },
	{ "enum", V, "{" N ",\"color\":\"mauve\"}",
	    "color: not one of its words", -EINVAL },
	{ "enum below its first", V, "{" N ",\"color\":\"\"}",
	    "color: not one of its words", -EINVAL },
	{ "set", V, "{" N ",\"colors\":[\"red\",\"x\"]}",
	    "colors[1]: not one of its words", -EINVAL },
	{ "text too short", V, "{" N ",\"text\":\"a\"}",
	    "text: from 2 to 8 bytes, not 1", -EINVAL },
	{ "text at its end", V, "{\"text\":\"12345678\"," N "}",
	    "{\"text\":\"12345678\"," N "}", 0 },
	{ "text too long", V, "{" N ",\"text\":\"123456789\"}",
	    "text: from 2 to 8 bytes, not 9", -EINVAL },
	{ "text too long in bytes", V,
	    "{" N ",\"text\":\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\"}",
	    "text: from 2 to 8 bytes, not 9", -EINVAL },
	{ "pair", V, "{\"text\":\"\\ud83d\\ude00\"," N "}",
	    "{\"text\":\"\xf0\x9f\x98\x80\"," N "}", 0 },
	{ "half a pair", V, "{" N ",\"text\":\"\\ud83d\"}",
	    "invalid JSON at byte 20: not an escape sequence", -EBADMSG },
	{ "other half", V, "{" N ",\"text\":\"\\ude00\"}",
	    "invalid JSON at byte 20: not an escape sequence", -EBADMSG },
	{ "strange escape", V, "{" N ",\"text\":\"\\x41\"}",
	    "invalid JSON at byte 20: not an escape sequence", -EBADMSG },
	{ "NUL", V, "{" N ",\"text\":\"a\\u0000\"}",
	    "invalid JSON at byte 21: NUL in a string", -EBADMSG },
	{ "not UTF-8", V, "{" N ",\"text\":\"a\xff\"}",
	    "invalid JSON at byte 22: the string before it is not UTF-8",
	    -EBADMSG },
	{ "not UTF-8 where ignored", V, "{" N ",\"x\":\"\xc0\xaf\"}",
	    "invalid JSON at byte 19: the string before it is not UTF-8",
	    -EBADMSG },
	{ "bad name", V, "{\"name\":\"a/b\"}",
	    "name: only letters, digits and \"._-\"", -EINVAL },
	{ "list at its count", V, "{\"list\":[\"a\",\"b\",\"c\"]," N "}",
	    "{" N ",\"list\":[\"a\",\"b\",\"c\"]}", 0 },
	{ "list past its count", V,
	    "{" N ",\"list\":[\"a\",\"b\",\"c\",\"d\"]}",
	    "list: from 0 to 3 items, not 4", -EINVAL },
	{ "list at its bytes", V, "{\"list\":[\"123456789012345\"]," N "}",
	    "{" N ",\"list\":[\"123456789012345\"]}", 0 },
	{ "list past its bytes", V, "{" N ",\"list\":[\"1234567890123456\"]}",
	    "list: at most 16 bytes in all, not 17", -EINVAL },
	{ "item of the wrong type", V, "{" N ",\"list\":[\"a\",2]}",
	    "list[1]: expected a string, got a number", -EINVAL },
	{ "nested", V, "{" N ",\"parts\":[{\"small\":1},{\"small\":6}]}",
	    "parts[1].small: must be from -5 to 5", -EINVAL },
	{ "nested missing", V, "{" N ",\"one\":{}}", "one.small: required",
	    -EINVAL },
	{ "too many objects", V,
	    "{" N ",\"parts\":[{\"small\":1},{\"small\":1},{\"small\":1}]}",
	    "parts: from 0 to 2 items, not 3", -EINVAL },
	{ "time", V, "{" N ",\"when\":\"yesterday\"}",
	    "when: expected an RFC 3339 time", -EINVAL },
	{ "uid", V, "{" N ",\"uid\":\"00000000000000FF\"}",
	    "uid: expected 16 lower-case hex digits", -EINVAL },
	{ "uid too long", V, "{" N ",\"uid\":\"00000000000000ff0\"}",
	    "uid: expected 16 lower-case hex digits", -EINVAL },
	{ "key too short", V, "{" N ",\"key\":\"00ff10\"}",
	    "key: expected 8 lower-case hex digits", -EINVAL },
	{ "key too long", V, "{" N ",\"key\":\"00ff10a5a5\"}",
	    "key: expected 8 lower-case hex digits", -EINVAL },
	{ "16 levels", V, "{" N ",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}",
	    "{" N "}", 0 },
	{ "17 levels", V, "{" N ",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}",
	    "invalid JSON at byte 31: nested too deep", -EBADMSG },
};

static void
test_decode(void)
{
	size_t i;

	for (i = 0; i < nitems(decode_rows); i++) {
		struct err e = { 0 };
		struct jbuf b;
		struct all a, zero = { 0 };

		t_row(decode_rows[i].name);
		t_eq(table_decode(&all_table, decode_rows[i].flags,
			 decode_rows[i].in, strlen(decode_rows[i].in), &a, &e),
		    decode_rows[i].r);
		if (decode_rows[i].r < 0) {
			t_str(e.msg, decode_rows[i].want);
			t_mem(&a, sizeof(a), &zero, sizeof(zero));
			continue;
		}
		jbuf_init(&b, 4096);
		table_encode(&all_table, TABLE_SECRETS, &a, &b);
		t_str(b.p, decode_rows[i].want);
		jbuf_free(&b);
		table_clear(&all_table, &a);
	}
}

/* Strict, json-c 0.18 takes nothing else. */
static bool
is_ascii(const char *s)
{
	while ((signed char)*s > 0)
		s++;
	return *s == '\0';
}

/* The same text for a second opinion: what we take, json-c takes too. */
static void
test_second_opinion(void)
{
	size_t i;

	for (i = 0; i < nitems(decode_rows); i++) {
		const char *in = decode_rows[i].in;
		struct json_tokener *k = json_tokener_new_ex(32);
		struct json_object *o;
		struct jread j;

		jread_init(&j, in, strlen(in), NULL);
		if (jread_skip(&j) == 0 && jread_end(&j) == 0) {
			t_row(decode_rows[i].name);
			json_tokener_set_flags(k,
			    JSON_TOKENER_VALIDATE_UTF8 |
				(is_ascii(in) ? JSON_TOKENER_STRICT : 0));
			o = json_tokener_parse_ex(k, in, (int)strlen(in) + 1);
			/* its 64 bits are its own affair */
			t_true(o != NULL || strcmp(in, "null") == 0 ||
			    strstr(in, "99999999999999999999") != NULL ||
			    strstr(in, "18446744073709551617") != NULL);
			json_object_put(o);
		}
		json_tokener_free(k);
	}
}

static void
test_limits(void)
{
	static const char raw[9] = { 'a', '\xff', 1, '&', '\xe2', '\x80',
		'\xa9', 'z', 'z' };
	size_t len = TABLE_JSON_MAX + 1, i;
	char *text = malloc(len);
	struct err e = { 0 };
	struct jbuf b;
	struct all a;

	memset(text, ' ', len);
	text[snprintf(text, len, "{" N "}")] = ' ';
	t_eq(table_decode(&all_table, S, text, len - 1, &a, &e), 0);
	table_clear(&all_table, &a);
	t_eq(table_decode(&all_table, S, text, len, &a, &e), -E2BIG);
	free(text);

	a = (struct all){ .name = "w", .text = "abc" };
	jbuf_init(&b, 27);
	table_encode(&all_table, 0, &a, &b);
	t_eq(b.r, 0);
	t_str(b.p, "{\"text\":\"abc\"," N "}");
	jbuf_free(&b);
	jbuf_init(&b, 24);
	table_encode(&all_table, 0, &a, &b);
	t_eq(b.r, -EMSGSIZE);
	jbuf_free(&b);

	t_row("our own mistakes end the answer, not the room");
	jbuf_init(&b, 4096);
	a.color = 99;
	table_encode(&all_table, 0, &a, &b);
	t_eq(b.r, -EINVAL);
	jbuf_free(&b);
	a.color = 0;
	a.when = -1;
	table_encode(&all_table, 0, &a, &b);
	t_eq(b.r, -EINVAL);
	jbuf_free(&b);
	a.when = 0;
	for (i = 0; i < sizeof(raw); i++) /* no NUL either */
		a.text[i] = raw[i];
	table_encode(&all_table, 0, &a, &b);
	t_eq(b.r, 0);
	t_str(b.p, "{\"text\":\"a\\ufffd\\u0001\\u0026\\u2029zz\"," N "}");
	jbuf_free(&b);
}

static size_t
pack_full(uint8_t *buf, size_t cap)
{
	struct wcur w;
	struct all a;

	t_eq(table_decode(&all_table, S, FULL, strlen(FULL), &a, NULL), 0);
	wcur_init(&w, buf, cap);
	t_eq(table_pack(&all_table, &a, &w), 0);
	table_clear(&all_table, &a);
	return w.used;
}

/* What a hostile room may send: refused, or as good as an honest one's. */
static bool
wire_ok(const uint8_t *buf, size_t len)
{
	uint8_t again[2048];
	struct err e = { 0 };
	struct wcur w;
	struct all a;
	int r;

	r = table_unpack_all(&all_table, buf, len, &a, &e);
	t_true(r == 0 || (r == -EBADMSG && e.msg[0] != '\0'));
	if (r < 0)
		return false;
	t_eq(table_check(&all_table, &a, &e), 0);
	wcur_init(&w, again, sizeof(again));
	t_eq(table_pack(&all_table, &a, &w), 0);
	t_mem(again, w.used, buf, len);
	table_clear(&all_table, &a);
	return true;
}

static void
test_wire_hostile(void)
{
	uint8_t buf[1025], one[1024];
	size_t len = pack_full(buf, sizeof(buf) - 1), i;
	unsigned int bit, refused = 0;

	for (i = 0; i < len; i++) {
		/* a copy of its own, so that ASan sees a read past it */
		memcpy(one, buf, i);
		t_true(!wire_ok(one, i));
	}
	t_true(wire_ok(buf, len));
	buf[len] = 0;
	t_true(!wire_ok(buf, len + 1));
	for (i = 0; i < len; i++)
		for (bit = 0; bit < 256; bit++) {
			memcpy(one, buf, len);
			one[i] ^= (uint8_t)bit;
			refused += !wire_ok(one, len);
		}
	t_true(refused > len);
}

static void
test_wire_rows(void)
{
	struct all a = { .name = "w" };
	uint8_t buf[1024];
	struct wcur w;
	static const struct {
		const char *name, *vm;
		int64_t hidden, when;
		uint32_t colors;
		uint8_t color;
		int port;
		bool ok;
	} w_rows[] = {
		{ "honest", "w", 99, 0, 2, 1, 1, true },
		{ "absent port", "w", 0, 0, 0, 0, 0, true },
		{ "name with a slash", "a/b", 0, 0, 0, 0, 0, false },
		{ "no name", "", 0, 0, 0, 0, 0, false },
		{ "wire field out of range", "w", 100, 0, 0, 0, 0, false },
		{ "time before 1970", "w", 0, -1, 0, 0, 0, false },
		{ "bit that names nothing", "w", 0, 0, 16, 0, 0, false },
		{ "word that is none", "w", 0, 0, 0, 4, 0, false },
	};
	size_t i;

	for (i = 0; i < nitems(w_rows); i++) {
		t_row(w_rows[i].name);
		(void)snprintf(a.name, sizeof(a.name), "%s", w_rows[i].vm);
		a.hidden = w_rows[i].hidden;
		a.when = w_rows[i].when;
		a.colors = w_rows[i].colors;
		a.color = w_rows[i].color;
		a.port = (uint16_t)w_rows[i].port;
		wcur_init(&w, buf, sizeof(buf));
		t_eq(table_pack(&all_table, &a, &w), 0);
		t_eq(wire_ok(buf, w.used), w_rows[i].ok);
	}
	t_row("no room");
	wcur_init(&w, buf, 40);
	t_eq(table_pack(&all_table, &a, &w), -EMSGSIZE);
}

static void
test_torture(void)
{
	uint8_t buf[1024];
	size_t len = pack_full(buf, sizeof(buf));
	unsigned int n;
	struct jbuf b;
	struct all a;
	int r;

	for (n = 1; n < 100; n++) {
		t_fail_alloc(n);
		r = table_decode(&all_table, S, FULL, strlen(FULL), &a, NULL);
		if (!t_alloc_failed())
			break;
		t_eq(r, -ENOMEM);
	}
	t_fail_alloc(0);
	t_eq(r, 0);
	t_eq(n, 3); /* the list, the parts, and then none */
	for (n = 1; n < 100; n++) {
		jbuf_init(&b, 4096);
		t_fail_alloc(n);
		table_encode(&all_table, TABLE_SECRETS, &a, &b);
		r = b.r;
		jbuf_free(&b);
		if (!t_alloc_failed())
			break;
		t_eq(r, -ENOMEM);
	}
	t_fail_alloc(0);
	t_eq(r, 0);
	t_true(n > 2 && n < 100);
	table_clear(&all_table, &a);
	for (n = 1; n < 100; n++) {
		t_fail_alloc(n);
		r = table_unpack_all(&all_table, buf, len, &a, NULL);
		if (!t_alloc_failed())
			break;
		t_eq(r, -ENOMEM);
	}
	t_fail_alloc(0);
	t_eq(r, 0);
	t_eq(n, 3);
	table_clear(&all_table, &a);
}

static void
test_strs(void)
{
	struct strs l = { 0 };

	t_true(strs_next(&l, NULL) == NULL);
	t_eq(strs_add(&l, "a", 1, 2, 5), 0);
	t_eq(strs_add(&l, "bcd", 3, 2, 5), -E2BIG);
	t_eq(strs_add(&l, "bc", 2, 2, 5), 0);
	t_eq(strs_add(&l, "", 0, 2, 99), -E2BIG);
	t_mem(l.buf, l.len, "a\0bc", 5);
	t_str(strs_next(&l, l.buf), "bc");
	t_true(strs_next(&l, l.buf + 2) == NULL);
	strs_clear(&l);
	strs_clear(&l);
}

static void
test_list(void)
{
	static const char text[] = "[{\"small\":1},{\"small\":-5}]";
	struct objs l;
	struct err e;

	t_eq(table_decode_list(&part_table, S, text, sizeof(text) - 1, &l, &e),
	    0);
	t_eq(l.count, 2);
	t_eq(((struct part *)l.items)[1].small, -5);
	table_clear_list(&part_table, &l);
	t_eq(table_decode_list(&part_table, V, "[]", 2, &l, &e), 0);
	t_eq(l.count, 0);
	t_eq(table_decode_list(&part_table, V, "[{}]", 4, &l, &e), -EINVAL);
	t_str(e.msg, "[0].small: required");
	t_eq(table_decode_list(&part_table, V, "{}", 2, &l, &e), -EINVAL);
	t_eq(table_decode_list(&part_table, S, "[]]", 3, &l, &e), -EBADMSG);
}

static void
test_doc(void)
{
	struct jbuf b;

	jbuf_init(&b, 4096);
	table_openapi(&part_table, TABLE_STRICT, &b);
	t_str(b.p,
	    "\"Part\":{\"type\":\"object\",\"description\":\"A part.\","
	    "\"required\":[\"small\"],\"additionalProperties\":false,"
	    "\"properties\":{\"small\":{\"type\":\"integer\","
	    "\"format\":\"int64\",\"minimum\":-5,\"maximum\":5,"
	    "\"description\":\"small\"},\"word\":{\"type\":\"string\","
	    "\"maxLength\":7,\"description\":\"w\"}}}");
	jbuf_free(&b);
	table_dictionary(&part_table, &b);
	t_str(b.p, "\"\\\"small\\\":\"\n\"\\\"word\\\":\"\n");
	jbuf_free(&b);
}

/* A request without a body: there is not even an empty string. */
static void
test_no_text(void)
{
	struct err e = { 0 };
	struct all a;

	t_eq(table_decode(&all_table, TABLE_STRICT, NULL, 0, &a, &e), -ENODATA);
	t_str(e.msg, "EOF");
}

const struct t_case t_cases[] = { { "no text", test_no_text },
	{ "every type", test_full }, { "decode", test_decode },
	{ "second opinion", test_second_opinion }, { "limits", test_limits },
	{ "hostile wire", test_wire_hostile }, { "wire rows", test_wire_rows },
	{ "torture", test_torture }, { "strings", test_strs },
	{ "list", test_list }, { "description", test_doc }, { NULL, NULL } };
