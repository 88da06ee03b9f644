#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"
#include "tests/suite/t.h"

/* want: the segments, each in <>, and a / for slash_end; NULL: refused */
static const struct {
	const char *name, *in, *want;
} paths[] = {
	{ "root", "/", "" },
	{ "one", "/a", "<a>" },
	{ "three", "/api/v1/vms", "<api><v1><vms>" },
	{ "slash at the end", "/a/", "<a>/" },
	{ "decoded", "/%61%7e", "<a~>" },
	{ "decoded once", "/%2561", "<%61>" },
	{ "plus is a plus", "/a+b", "<a+b>" },
	{ "encoded slash stays inside", "/a%2fb/c", "<a/b><c>" },
	{ "encoded slash first", "/%2Fetc", "</etc>" },
	{ "three dots are a name", "/...", "<...>" },
	{ "dot within", "/a.b/.c", "<a.b><.c>" },
	{ "high bytes pass", "/%c3%a4", "<\xc3\xa4>" },
	{ "URL_ABSOLUTE: empty", "", NULL },
	{ "URL_ABSOLUTE: relative", "a/b", NULL },
	{ "URL_EMPTY_SEGMENT: first", "//a", NULL },
	{ "URL_EMPTY_SEGMENT: inside", "/a//b", NULL },
	{ "URL_EMPTY_SEGMENT: last", "/a//", NULL },
	{ "URL_DOT_SEGMENT: one", "/./a", NULL },
	{ "URL_DOT_SEGMENT: two", "/a/..", NULL },
	{ "URL_DOT_SEGMENT: two, then slash", "/a/../", NULL },
	{ "URL_DOT_SEGMENT: encoded", "/%2e%2E/a", NULL },
	{ "URL_DOT_SEGMENT: half encoded", "/.%2e", NULL },
	{ "URL_NUL", "/a%00b", NULL },
	{ "URL_NUL: alone", "/%00", NULL },
	{ "URL_ESCAPE: no hex", "/%zz", NULL },
	{ "URL_ESCAPE: half", "/%2", NULL },
	{ "URL_ESCAPE: none", "/a%", NULL },
	{ "URL_ESCAPE: across a slash", "/a%2/f", NULL },
	{ "URL_ESCAPE: sign", "/%+1", NULL },
	{ "URL_CONTROL: newline", "/a%0ab", NULL },
	{ "URL_CONTROL: escape", "/%1b[2J", NULL },
	{ "URL_CONTROL: DEL", "/%7f", NULL },
	{ "URL_DELIMITER: query", "/a?b", NULL },
	{ "URL_DELIMITER: fragment", "/a#b", NULL },
};

static struct url_path u;
static struct url_query q;

static void
show(char *buf, size_t cap)
{
	size_t i, n = 0;

	buf[0] = '\0';
	for (i = 0; i < u.n; i++)
		n += (size_t)snprintf(buf + n, cap - n, "<%s>", u.seg[i].text);
	if (u.slash_end)
		(void)snprintf(buf + n, cap - n, "/");
}

static void
test_paths(void)
{
	struct err e;
	char got[256];
	size_t i;
	int r;

	for (i = 0; i < nitems(paths); i++) {
		t_row(paths[i].name);
		e.msg[0] = '\0';
		r = url_path_parse(&u, paths[i].in, &e);
		t_eq(r, paths[i].want == NULL ? -EINVAL : 0);
		if (r < 0) {
			t_true(e.msg[0] != '\0');
			continue;
		}
		show(got, sizeof(got));
		t_str(got, paths[i].want);
	}
}

static void
test_path_bounds(void)
{
	char in[URL_PATH_MAX + 2];
	size_t i;

	memset(in, 'a', sizeof(in));
	in[0] = '/';
	in[URL_PATH_MAX] = '\0';
	t_eq(url_path_parse(&u, in, NULL), 0);
	t_eq(u.seg[0].len, URL_PATH_MAX - 1);
	in[URL_PATH_MAX] = 'a';
	in[URL_PATH_MAX + 1] = '\0';
	t_eq(url_path_parse(&u, in, NULL), -E2BIG);

	for (i = 0; i < URL_SEGMENTS_MAX + 1; i++)
		memcpy(in + 2 * i, "/a", 3);
	t_eq(url_path_parse(&u, in, NULL), -E2BIG);
	in[2 * (size_t)URL_SEGMENTS_MAX] = '\0';
	t_eq(url_path_parse(&u, in, NULL), 0);
	t_eq(u.n, URL_SEGMENTS_MAX);
	t_eq(u.seg[1].at, 3);
}

/* want: "key=value," for each; NULL: refused */
static const struct {
	const char *name, *in, *want;
} queries[] = {
	{ "none", NULL, "" },
	{ "empty", "", "" },
	{ "one", "a=b", "a=b," },
	{ "two", "a=b&c=d", "a=b,c=d," },
	{ "no value", "a&b=", "a=,b=," },
	{ "value with =", "a=b=c", "a=b=c," },
	{ "empty pairs are nothing", "&a=b&&", "a=b," },
	{ "plus is a space", "a+b=c+d", "a b=c d," },
	{ "decoded", "%61=%26%3D%2b", "a=&=+," },
	{ "newline is the reader's to judge", "a=%0a", "a=\n," },
	{ "URL_NUL", "a=%00", NULL },
	{ "URL_NUL: key", "a%00=b", NULL },
	{ "URL_ESCAPE", "a=%", NULL },
	{ "URL_ESCAPE: across =", "a%4=1", NULL },
	{ "URL_ESCAPE: across &", "a=%4&1", NULL },
	{ "URL_QUERY_KEY", "=b", NULL },
	{ "URL_QUERY_DELIMITER: semicolon", "a=b;c=d", NULL },
	{ "URL_QUERY_DELIMITER: fragment", "a=b#c", NULL },
};

static void
test_queries(void)
{
	char got[256];
	size_t i, k, n;
	int r;

	for (i = 0; i < nitems(queries); i++) {
		t_row(queries[i].name);
		r = url_query_parse(&q, queries[i].in, NULL);
		t_eq(r, queries[i].want == NULL ? -EINVAL : 0);
		if (r < 0)
			continue;
		got[0] = '\0';
		for (k = n = 0; k < q.n; k++)
			n += (size_t)snprintf(got + n, sizeof(got) - n,
			    "%s=%s,", q.param[k].key, q.param[k].value);
		t_str(got, queries[i].want);
	}
}

static void
test_query_bounds(void)
{
	char in[URL_QUERY_MAX + 2];
	const char *v = NULL;
	size_t i;

	memset(in, 'a', sizeof(in));
	in[URL_QUERY_MAX + 1] = '\0';
	t_eq(url_query_parse(&q, in, NULL), -E2BIG);
	in[URL_QUERY_MAX] = '\0';
	t_eq(url_query_parse(&q, in, NULL), 0);
	in[9] = '=';
	t_eq(url_query_parse(&q, in, NULL), 0);

	for (i = 0; i < URL_PARAMS_MAX + 1; i++)
		memcpy(in + 2 * i, "a&", 3);
	t_eq(url_query_parse(&q, in, NULL), -E2BIG);
	in[2 * (size_t)URL_PARAMS_MAX] = '\0';
	t_eq(url_query_parse(&q, in, NULL), 0);
	t_eq(q.n, URL_PARAMS_MAX);
	t_eq(url_query_get(&q, "a", &v), -EEXIST);
	t_eq(url_query_get(&q, "b", &v), -ENOENT);
	t_true(v == NULL);
	t_eq(url_query_parse(&q, "a=1&b=2", NULL), 0);
	t_eq(url_query_get(&q, "b", &v), 0);
	t_str(v, "2");
}

static void
test_encode(void)
{
	char buf[16];

	t_eq(url_encode(buf, sizeof(buf), "a/b ?\xc3"), 0);
	t_str(buf, "a%2Fb%20%3F%C3");
	t_eq(url_encode(buf, 4, "/"), 0);
	t_eq(url_encode(buf, 3, "/"), -EMSGSIZE);
	t_eq(url_encode(buf, 1, ""), 0);
	t_eq(url_encode(buf, 0, ""), -EMSGSIZE);
	t_eq(url_encode(buf, 0, "a"), -EMSGSIZE);
}

const struct t_case t_cases[] = { { "paths", test_paths },
	{ "path bounds", test_path_bounds }, { "queries", test_queries },
	{ "query bounds", test_query_bounds }, { "encode", test_encode },
	{ NULL, NULL } };
