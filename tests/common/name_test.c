#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/name.h"
#include "common/rfc3339.h"
#include "common/utf8.h"
#include "common/util.h"
#include "tests/suite/t.h"

#define S(s) s, sizeof(s) - 1
#define TEN "aaaaaaaaaa"
#define SIXTY TEN TEN TEN TEN TEN TEN

static const struct {
	const char *name, *in;
	size_t len;
	int vm, host;
} rows[] = {
	{ "plain", S("web"), 0, 0 },
	{ "one letter", S("a"), 0, 0 },
	{ "capitals and digits", S("Web1"), 0, 0 },
	{ "dash", S("web-cluster-1"), 0, 0 },
	{ "underscore", S("Web_1"), 0, -EINVAL },
	{ "dot", S("web.example"), 0, -EINVAL },
	{ "number", S("7"), 0, 0 },
	{ "63 bytes", S(SIXTY "aaa"), 0, 0 },
	{ "64 bytes", S(SIXTY "aaaa"), -EINVAL, -EINVAL },
	{ "300 bytes", S(SIXTY SIXTY SIXTY SIXTY SIXTY), -EINVAL, -EINVAL },
	{ "empty", S(""), -EINVAL, -EINVAL },
	{ "this directory", S("."), -EINVAL, -EINVAL },
	{ "parent directory", S(".."), -EINVAL, -EINVAL },
	{ "two dots inside", S("a..b"), -EINVAL, -EINVAL },
	{ "slash", S("a/b"), -EINVAL, -EINVAL },
	{ "way out", S("../etc"), -EINVAL, -EINVAL },
	{ "backslash", S("a\\b"), -EINVAL, -EINVAL },
	{ "space", S("a b"), -EINVAL, -EINVAL },
	{ "NUL inside", S("a\0b"), -EINVAL, -EINVAL },
	{ "NUL at the end", S("ab\0"), -EINVAL, -EINVAL },
	{ "newline at the end", S("ab\n"), -EINVAL, -EINVAL },
	{ "letter with accent", S("caf\xc3\xa9"), -EINVAL, -EINVAL },
	{ "full-width a", S("\xef\xbd\x81"), -EINVAL, -EINVAL },
	{ "percent", S("a%2fb"), -EINVAL, -EINVAL },
	{ "colon", S("a:b"), -EINVAL, -EINVAL },
	{ "comma, as QEMU's options", S("a,b"), -EINVAL, -EINVAL },
	{ "leading dash", S("-a"), -EINVAL, -EINVAL },
	{ "leading dot", S(".a"), -EINVAL, -EINVAL },
	{ "leading underscore", S("_a"), -EINVAL, -EINVAL },
	{ "trailing dash", S("a-"), -EINVAL, -EINVAL },
	{ "trailing dot", S("a."), -EINVAL, -EINVAL },
	{ "looks like a uid", S("0123456789abcdef"), -EINVAL, 0 },
	{ "no uid: capital", S("0123456789abcdeF"), 0, 0 },
	{ "no uid: 15 digits", S("0123456789abcde"), 0, 0 },
};

static void
test_names(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct err e = { 0 };

		t_row(rows[i].name);
		t_eq(name_check(rows[i].in, rows[i].len, &e), rows[i].vm);
		t_eq(e.msg[0] != '\0', rows[i].vm < 0);
		t_eq(name_check_hostname(rows[i].in, rows[i].len, NULL),
		    rows[i].host);
	}
}

static void
test_utf8(void)
{
	static const struct {
		const char *name, *in;
		size_t len;
		bool ok;
	} u[] = {
		{ "empty", S(""), true },
		{ "ascii", S("abc\x7f"), true },
		{ "NUL", S("\0"), true },
		{ "two bytes", S("\xc2\x80\xdf\xbf"), true },
		{ "three bytes", S("\xe0\xa0\x80\xef\xbf\xbf"), true },
		{ "four bytes", S("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true },
		{ "continuation alone", S("\x80"), false },
		{ "overlong slash", S("\xc0\xaf"), false },
		{ "overlong slash in three", S("\xe0\x80\xaf"), false },
		{ "overlong in four", S("\xf0\x8f\xbf\xbf"), false },
		{ "surrogate", S("\xed\xa0\x80"), false },
		{ "past the last", S("\xf4\x90\x80\x80"), false },
		{ "five bytes", S("\xf8\x88\x80\x80\x80"), false },
		{ "cut after one", S("a\xe2"), false },
		{ "cut after two", S("a\xe2\x80"), false },
		{ "third is none", S("\xe2\x80zz"), false },
	};
	char scrub[] = "a\xff\xe2\x82\xac\xe2\x82";
	char buf[4];
	size_t i;

	for (i = 0; i < nitems(u); i++) {
		t_row(u[i].name);
		t_eq(utf8_valid(u[i].in, u[i].len), u[i].ok);
	}
	t_row("scrub");
	utf8_scrub(scrub, sizeof(scrub) - 1);
	t_str(scrub, "a?\xe2\x82\xac??");
	t_row("put");
	t_mem(buf, utf8_put(0x24, buf), "$", 1);
	t_mem(buf, utf8_put(0xa2, buf), "\xc2\xa2", 2);
	t_mem(buf, utf8_put(0x20ac, buf), "\xe2\x82\xac", 3);
	t_mem(buf, utf8_put(0x10ffff, buf), "\xf4\x8f\xbf\xbf", 4);
}

#define NS 1000000000LL

static void
test_rfc3339(void)
{
	static const struct {
		const char *in, *whole, *nanos;
		int64_t ns;
	} good[] = {
		{ "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
		    "1970-01-01T00:00:00Z", 0 },
		{ "2025-10-10T04:29:59Z", "2025-10-10T04:29:59Z",
		    "2025-10-10T04:29:59Z", 1760070599 * NS },
		{ "2025-10-10T04:29:59.123456789Z", "2025-10-10T04:29:59Z",
		    "2025-10-10T04:29:59.123456789Z",
		    1760070599 * NS + 123456789 },
		{ "2025-10-10T06:29:59.5+02:00", "2025-10-10T04:29:59Z",
		    "2025-10-10T04:29:59.5Z", 1760070599 * NS + NS / 2 },
		{ "2000-02-29T23:59:59.000000001Z", "2000-02-29T23:59:59Z",
		    "2000-02-29T23:59:59.000000001Z", 951868799 * NS + 1 },
		{ "2261-12-31T23:59:59Z", "2261-12-31T23:59:59Z",
		    "2261-12-31T23:59:59Z", 9214646399 * NS },
	};
	static const char *const bad[] = { "", "2025-10-10", "20251010T042959Z",
		"2025-10-10T04:29:59", "2025-10-10t04:29:59Z",
		"2025-10-10T04:29:59z", "2025-10-10T04:29:59.Z",
		"2025-10-10T04:29:59.1234567891Z", "2025-10-10T24:00:00Z",
		"2025-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
		"2025-13-01T00:00:00Z", "2025-00-01T00:00:00Z",
		"2025-01-00T00:00:00Z", "2025-04-31T00:00:00Z",
		"2025-10-10T04:60:00Z", "2016-12-31T23:59:60Z",
		"2025-10-10T04:29:59Z ", " 2025-10-10T04:29:59Z",
		"2025-10-10T04:29:59+2:00", "2025-10-10T04:29:59+02:60",
		"2025-10-10T04:29:59+0200", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01", "2262-01-01T00:00:00Z",
		"-025-10-10T04:29:59Z" };
	char buf[RFC3339_MAX];
	int64_t ns;
	size_t i;

	for (i = 0; i < nitems(good); i++) {
		t_row(good[i].in);
		ns = -7;
		t_eq(rfc3339_parse(good[i].in, strlen(good[i].in), &ns), 0);
		t_eq(ns, good[i].ns);
		rfc3339_format(ns, false, buf);
		t_str(buf, good[i].whole);
		rfc3339_format(ns, true, buf);
		t_str(buf, good[i].nanos);
	}
	for (i = 0; i < nitems(bad); i++) {
		t_row(bad[i]);
		ns = -7;
		t_eq(rfc3339_parse(bad[i], strlen(bad[i]), &ns), -EINVAL);
		t_eq(ns, -7);
	}
	t_row("the last nanosecond");
	rfc3339_format(INT64_MAX, true, buf);
	t_str(buf, "2262-04-11T23:47:16.854775807Z");
	/* every day there is: its own text, and back */
	t_row("every day");
	for (i = 0; i < 106000; i++) {
		int64_t back = 0, day = (int64_t)i * 86400 * NS;

		rfc3339_format(day, false, buf);
		if (rfc3339_parse(buf, strlen(buf), &back) < 0 || back != day)
			break;
	}
	t_eq(i, 106000);
}

const struct t_case t_cases[] = { { "names", test_names },
	{ "utf8", test_utf8 }, { "rfc3339", test_rfc3339 }, { NULL, NULL } };
