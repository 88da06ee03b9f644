#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/gate.h"
#include "common/util.h"
#include "tests/suite/t.h"

#define SIXTY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"

static const struct {
	const char *name, *hex;
	int r;
} rows[] = {
	{ "a key", SIXTY "cdef", 0 },
	{ "zeros",
	    "00000000000000000000000000000000"
	    "00000000000000000000000000000000",
	    0 },
	{ "empty", "", -EINVAL },
	{ "too short", SIXTY "cde", -EINVAL },
	{ "too long", SIXTY "cdef0", -EINVAL },
	{ "upper case", SIXTY "CDEF", -EINVAL },
	{ "no digit", SIXTY "cdeg", -EINVAL },
	{ "no digit first",
	    "x123456789abcdef0123456789abcdef0123456789abcdef"
	    "0123456789abcdef",
	    -EINVAL },
};

static void
test_parse(void)
{
	uint8_t key[GATE_KEY], was[GATE_KEY];
	size_t i;

	memset(was, 0x5a, sizeof(was));
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		memcpy(key, was, sizeof(key));
		t_eq(gate_parse(rows[i].hex, key), rows[i].r);
		/* what is refused changes nothing */
		t_eq(memcmp(key, was, sizeof(key)) == 0, rows[i].r < 0);
	}
	t_eq(gate_parse(rows[0].hex, key), 0);
	t_eq(key[0], 0x01);
	t_eq(key[GATE_KEY - 1], 0xef);
}

/* Every single bit counts. */
static void
test_is(void)
{
	uint8_t key[GATE_KEY + 1], got[GATE_KEY + 1];
	size_t i;

	for (i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 37);
	t_true(gate_is(key, key));
	memcpy(got, key, sizeof(got));
	got[GATE_KEY]++; /* which is none of it */
	t_true(gate_is(key, got));
	for (i = 0; i < (size_t)GATE_KEY * 8; i++) {
		memcpy(got, key, sizeof(got));
		got[i / 8] ^= (uint8_t)(1U << (i % 8));
		t_true(!gate_is(key, got));
	}
}

const struct t_case t_cases[] = { { "key: text", test_parse },
	{ "key: comparison", test_is }, { NULL, NULL } };
