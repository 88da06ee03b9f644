#include <errno.h>
#include <limits.h>

#include "common/num.h"
#include "common/util.h"
#include "tests/suite/t.h"

static const struct {
	const char *name, *in;
	long long min, max, want; /* want -7: untouched on failure */
	int r;
} rows[] = {
	{ "zero", "0", 0, 99, 0, 0 },
	{ "at the limit", "99", 0, 99, 99, 0 },
	{ "past the limit", "100", 0, 99, -7, -ERANGE },
	{ "below the limit", "4", 5, 99, -7, -ERANGE },
	{ "smallest of all", "-9223372036854775808", LLONG_MIN, LLONG_MAX,
	    LLONG_MIN, 0 },
	{ "greatest of all", "9223372036854775807", LLONG_MIN, LLONG_MAX,
	    LLONG_MAX, 0 },
	{ "past 63 bits", "9223372036854775808", LLONG_MIN, LLONG_MAX, -7,
	    -ERANGE },
	{ "far past 64 bits", "99999999999999999999999999999999", 0, 99, -7,
	    -ERANGE },
	{ "wraps to something small", "18446744073709551617", 0, 99, -7,
	    -ERANGE },
	{ "empty", "", 0, 99, -7, -EINVAL },
	{ "only a sign", "-", -9, 99, -7, -EINVAL },
	{ "plus sign", "+4", 0, 99, -7, -EINVAL },
	{ "leading space", " 4", 0, 99, -7, -EINVAL },
	{ "trailing junk", "4k", 0, 99, -7, -EINVAL },
	{ "junk after overflow", "99999999999999999999k", 0, 99, -7, -EINVAL },
	{ "hex", "0x10", 0, 99, -7, -EINVAL },
};

static void
test_parse_num(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		long long got = -7;

		t_row(rows[i].name);
		t_eq(num_parse(rows[i].in, rows[i].min, rows[i].max, &got),
		    rows[i].r);
		t_eq(got, rows[i].want);
	}
}

static void
test_hex64(void)
{
	static const char *const bad[] = { "", "0", "0123456789abcde",
		"0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg",
		"0x23456789abcdef" };
	char buf[HEX64_LEN + 1];
	uint64_t v = 7;
	size_t i;

	for (i = 0; i < nitems(bad); i++) {
		t_row(bad[i]);
		t_eq(num_parse_hex64(bad[i], &v), -EINVAL);
		t_eq(v, 7);
	}
	t_row("there and back");
	t_eq(num_parse_hex64("0123456789abcdef", &v), 0);
	t_true(v == 0x0123456789abcdefULL);
	num_format_hex64(v, buf);
	t_str(buf, "0123456789abcdef");
}

const struct t_case t_cases[] = { { "num_parse", test_parse_num },
	{ "hex64", test_hex64 }, { NULL, NULL } };
