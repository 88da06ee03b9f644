#include <errno.h>
#include <stdint.h>

#include "common/err.h"
#include "common/when.h"
#include "tests/suite/t.h"

#define S INT64_C(1000000000)
#define NOW (INT64_C(1700000000) * S + 5)

static const struct {
	const char *name, *text;
	int64_t want; /* 0: it is none */
} rows[] = {
	{ "seconds", "90s", NOW - 90 * S },
	{ "now", "0s", NOW },
	{ "minutes", "10m", NOW - 600 * S },
	{ "both", "1h30m", NOW - 5400 * S },
	{ "all", "1d2h3m4s", NOW - 93784 * S },
	{ "before there was time", "40000d", 1 },
	{ "64 bits of it", "106751991167300d", 1 },
	{ "UTC", "2023-11-14T22:13:20Z", INT64_C(1700000000) * S },
	{ "a zone", "2023-11-14T23:13:20.000000001+01:00",
	    INT64_C(1700000000) * S + 1 },
	{ "nothing", "", 0 },
	{ "no unit", "10", 0 },
	{ "no number", "m", 0 },
	{ "minus", "-10m", 0 },
	{ "a fraction", "1.5h", 0 },
	{ "the wrong way round", "30m1h", 0 },
	{ "twice", "1m1m", 0 },
	{ "a blank", "10m ", 0 },
	{ "another unit", "10w", 0 },
	{ "past 64 bits", "9223372036854775808s", 0 },
	{ "past them by its unit", "9223372036854775807d", 0 },
	{ "past them together", "9223372036854775807s1s", 0 },
	{ "past them by the sum", "106751991167300d9223372036854775807s", 0 },
	{ "a date", "2023-11-14", 0 },
	{ "a date in words", "yesterday", 0 },
	{ "to come", "2023-11-14T22:13:21Z", 0 },
};

static void
moments(void)
{
	const size_t n = sizeof(rows) / sizeof(rows[0]);
	size_t i;

	for (i = 0; i < n; i++) {
		struct err e = { 0 };
		int64_t got = 0;

		t_row(rows[i].name);
		t_eq(when_parse(rows[i].text, NOW, &got, &e),
		    rows[i].want == 0 ? -EINVAL : 0);
		t_eq(got, rows[i].want);
		t_eq(e.msg[0] != '\0', rows[i].want == 0);
	}
}

const struct t_case t_cases[] = {
	{ "moments", moments },
	{ NULL, NULL },
};
