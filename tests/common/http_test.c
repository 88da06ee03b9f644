#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/http.h"
#include "common/num.h"
#include "common/util.h"
#include "tests/common/http_rows.h"
#include "tests/suite/t.h"

#define BODY_MAX 65536
#define t_text(got, len, want) t_mem(got, len, want, sizeof(want) - 1)

/* What one message came to, whatever pieces it came in. */
struct seen {
	enum http_ev ev;
	size_t at;
	int heads;
	char body[BODY_MAX];
	struct http_buf buf;
};

static struct http h;

static void
init(struct seen *s, bool response, unsigned int flags)
{
	struct http_sink sink = { http_buf_write, &s->buf };

	memset(s, 0, offsetof(struct seen, body));
	s->buf = (struct http_buf){ (uint8_t *)s->body, sizeof(s->body), 0 };
	if (response)
		http_response_init(&h, BODY_MAX, flags, &sink);
	else
		http_request_init(&h, BODY_MAX, &sink);
}

/* Feeds in pieces: 0 whole, n > 0 of n bytes, < 0 of random lengths. */
static void
feed(struct seen *s, const char *in, size_t len, int piece, bool eof)
{
	size_t used, n;

	do {
		n = len - s->at;
		if (piece > 0 && n > (size_t)piece)
			n = (size_t)piece;
		if (piece < 0 && n > 0)
			n = (size_t)random() %
			    (n < 40 ? n + 1 : 40); /* allowed: seeded */
		s->ev = http_feed(&h, in + s->at, n, &used);
		t_true(used <= n);
		s->at += used;
		s->heads += s->ev == HTTP_EV_HEAD;
		if (s->ev == HTTP_EV_MORE && s->at == len) {
			if (eof)
				s->ev = http_eof(&h);
			return;
		}
	} while (s->ev == HTTP_EV_HEAD || s->ev == HTTP_EV_MORE);
}

static void
check_row(const struct row *r, const struct seen *s)
{
	if (r->rule == NULL) {
		t_eq(s->ev, HTTP_EV_DONE);
		if (s->ev == HTTP_EV_FAULT)
			t_str(h.fault_rule, "none");
		t_eq(s->at, r->ends != 0 ? r->ends : r->len);
		t_eq(s->heads, 1);
		t_mem(s->body, s->buf.used, r->body, strlen(r->body));
		return;
	}
	if (strcmp(r->rule, "more") == 0) {
		t_eq(s->ev, HTTP_EV_MORE);
		return;
	}
	t_eq(s->ev, HTTP_EV_FAULT);
	if (s->ev != HTTP_EV_FAULT)
		return;
	t_str(h.fault_rule, r->rule);
	t_eq(h.fault_status, r->status);
	t_true(strlen(h.fault_text) > 10);
	t_true(!h.keep_alive);
}

static void
check_rows(int piece)
{
	static struct seen s;
	size_t i;

	for (i = 0; i < nitems(requests); i++) {
		t_row(requests[i].name);
		init(&s, false, 0);
		feed(&s, requests[i].in, requests[i].len, piece, false);
		check_row(&requests[i], &s);
	}
	for (i = 0; i < nitems(answers); i++) {
		t_row(answers[i].r.name);
		init(&s, true, answers[i].flags);
		feed(&s, answers[i].r.in, answers[i].r.len, piece, true);
		check_row(&answers[i].r, &s);
	}
}

static void
test_rows_whole(void)
{
	check_rows(0);
}

static void
test_rows_bytewise(void)
{
	check_rows(1);
}

static void
test_rows_random_splits(void)
{
	const char *given = secure_getenv("HTTP_SEED");
	long long seed = (long long)time(NULL);
	int i;

	if (given != NULL)
		t_eq(num_parse(given, 0, UINT32_MAX, &seed), 0);
	printf("# HTTP_SEED=%lld\n", seed);
	srandom((unsigned int)seed); /* allowed: nothing secret */
	for (i = 0; i < 20; i++)
		check_rows(-1);
}

/* Strangers' bytes cannot make us run out of memory: none is asked for. */
static void
test_allocates_nothing(void)
{
	t_fail_alloc(1);
	check_rows(0);
	t_true(!t_alloc_failed());
}

/* A fault stays: nothing after it is looked at. */
static void
test_fault_stays(void)
{
	static struct seen s;
	size_t used = 7;

	init(&s, false, 0);
	feed(&s, "GET /\n", 6, 0, false);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_eq(http_feed(&h, GET, sizeof(GET) - 1, &used), HTTP_EV_FAULT);
	t_eq(used, 0);
	t_eq(http_eof(&h), HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_BARE_LF");
}

static void
test_head(void)
{
	static const char in[] =
	    "PATCH /a/%2e?x=1&y?=/ HTTP/1.1\r\n"
	    "HOST: h:1\r\nX-A:  one two \r\nx-b: 1\r\nX-B: 2\r\n"
	    "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n";
	static struct seen s;
	const char *v = NULL;

	init(&s, false, 0);
	feed(&s, in, sizeof(in) - 1, 1, false);
	t_eq(s.heads, 1);
	t_eq(h.method, HTTP_PATCH);
	t_str(http_method_name(h.method), "PATCH");
	t_str(h.path, "/a/%2e");
	t_str(h.query, "x=1&y?=/");
	t_str(h.host, "h:1");
	t_eq(h.nfields, 6);
	t_eq(h.content_length, 3);
	t_true(h.expect_continue);
	t_true(h.keep_alive);
	t_true(h.upgrade == NULL);
	t_eq(http_get(&h, "x-a", &v), 0);
	t_str(v, "one two");
	t_eq(http_get(&h, "X-b", &v), -EEXIST);
	t_eq(http_get(&h, "X-C", &v), -ENOENT);
	t_str(v, "one two");
}

static const struct {
	const char *name, *fields;
	bool keep_alive, expect;
	const char *upgrade;
} intents[] = {
	{ "plain", "", true, false, NULL },
	{ "close", "Connection: Close\r\n", false, false, NULL },
	{ "close in a list", "Connection: x ,close\r\n", false, false, NULL },
	{ "close in a second field", "Connection: x\r\nConnection: close\r\n",
	    false, false, NULL },
	{ "closer is not close", "Connection: closer\r\n", true, false, NULL },
	{ "upgrade", UPGRADE, true, false, "websocket" },
	{ "Upgrade alone means nothing", "Upgrade: h2c\r\n", true, false,
	    NULL },
	{ "Connection alone means nothing", "Connection: upgrade\r\n", true,
	    false, NULL },
	{ "expects without a body", "Expect: 100-continue\r\n", true, false,
	    NULL },
	{ "expects", "Expect: 100-continue\r\nContent-Length: 1\r\n", true,
	    true, NULL },
};

static void
test_intents(void)
{
	static struct seen s;
	char in[512];
	size_t i;

	for (i = 0; i < nitems(intents); i++) {
		t_row(intents[i].name);
		(void)snprintf(
		    in, sizeof(in), "%s%s\r\n", GET H, intents[i].fields);
		init(&s, false, 0);
		feed(&s, in, strlen(in), 0, false);
		t_eq(s.heads, 1);
		t_eq(h.keep_alive, intents[i].keep_alive);
		t_eq(h.expect_continue, intents[i].expect);
		t_str(h.upgrade, intents[i].upgrade);
	}
}

/* Many messages on one connection, each ending exactly where it should. */
static void
test_pipeline(void)
{
	static const char in[] =
	    GET H "\r\n" CPOST "2\r\nhi\r\n0\r\nT: x\r\n\r\n" POST
		  "Content-Length: 3\r\n\r\nabc"
		  "DELETE /x HTTP/1.1\r\n" H "\r\n";
	static const char *const bodies[] = { "", "hi", "abc", "" };
	static struct seen s;
	size_t i, n, used, at;
	enum http_ev ev;

	for (n = 1; n < sizeof(in); n++) {
		init(&s, false, 0);
		at = 0;
		for (i = 0; i < nitems(bodies); i++) {
			do {
				size_t len = sizeof(in) - 1 - at;

				ev = http_feed(
				    &h, in + at, len > n ? n : len, &used);
				at += used;
			} while (ev == HTTP_EV_HEAD ||
			    (ev == HTTP_EV_MORE && at < sizeof(in) - 1));
			t_eq(ev, HTTP_EV_DONE);
			t_mem(s.body, s.buf.used, bodies[i], strlen(bodies[i]));
			s.buf.used = 0;
			http_next(&h);
		}
		t_eq(at, sizeof(in) - 1);
	}
}

static int
no_more(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return -ENOSPC;
}

static void
test_sinks(void)
{
	static const char in[] = CPOST "2\r\nhi\r\n0\r\n\r\n";
	struct http_sink full = { no_more, NULL };
	uint8_t two[2];
	struct http_buf small = { two, sizeof(two), 0 };
	static struct seen s;

	init(&s, false, 0);
	h.sink = full;
	feed(&s, in, sizeof(in) - 1, 0, false);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_SINK");

	http_request_init(&h, BODY_MAX, NULL); /* dropped, but counted */
	s.at = 0;
	feed(&s, in, sizeof(in) - 1, 0, false);
	t_eq(s.ev, HTTP_EV_DONE);
	t_eq(h.body_len, 2);

	t_eq(http_buf_write(&small, "abc", 3), -EMSGSIZE);
	t_eq(http_buf_write(&small, "ab", 2), 0);
	t_eq(http_buf_write(&small, "", 0), 0);
	t_eq(http_buf_write(&small, "c", 1), -EMSGSIZE);
}

/* A body without end is bounded too. */
static void
test_until_close_limit(void)
{
	static const char in[] = "HTTP/1.1 200 OK\r\n\r\nabcdef";
	static struct seen s;

	init(&s, true, 0);
	h.body_max = 5;
	feed(&s, in, sizeof(in) - 1, 1, true);
	t_eq(s.ev, HTTP_EV_FAULT);
	t_str(h.fault_rule, "HTTP_BODY_LIMIT");
	t_mem(s.body, s.buf.used, "abcde", 5);
}

static void
test_list_has(void)
{
	static const struct {
		const char *list, *token;
		bool has;
	} rows[] = {
		{ "a", "a", true },
		{ "a", "A", true },
		{ "", "a", false },
		{ ",, ,", "a", false },
		{ "b,a", "a", true },
		{ "b , a ,c", "a", true },
		{ "ab", "a", false },
		{ "a b", "a", false },
		{ "b a", "a", false },
		{ "a;q=1", "a", false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].list);
		t_eq(http_list_has(rows[i].list, rows[i].token), rows[i].has);
	}
}

static void
test_out(void)
{
	struct http_out o;
	char buf[256];
	size_t len = 0;

	http_out_response(&o, buf, sizeof(buf), 404);
	http_out_field(&o, "Content-Type", "application/json");
	http_out_field(&o, "X-Empty", "");
	http_out_field_u64(&o, "Content-Length", UINT64_MAX);
	t_eq(http_out_end(&o, &len), 0);
	t_text(buf, len,
	    ("HTTP/1.1 404 Not Found\r\n"
	     "Content-Type: application/json\r\nX-Empty: \r\n"
	     "Content-Length: 18446744073709551615\r\n\r\n"));
	http_out_request(&o, buf, sizeof(buf), HTTP_PUT, "/a?b=c", "h");
	t_eq(http_out_end(&o, &len), 0);
	t_text(buf, len, ("PUT /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"));
	len = http_chunk_head(buf, 500);
	t_text(buf, len, ("1f4\r\n"));
	t_str(http_reason(503), "Service Unavailable");
	t_str(http_reason(599), "Unknown");
}

static void
test_out_injection(void)
{
	static const struct {
		const char *why, *name, *value;
	} rows[] = {
		{ "HTTP_OUT_VALUE: CRLF", "A", "b\r\nSet-Cookie: c" },
		{ "HTTP_OUT_VALUE: LF", "A", "b\nc" },
		{ "HTTP_OUT_VALUE: CR", "A", "b\rc" },
		{ "HTTP_OUT_VALUE: escape", "A", "\x1b[2J" },
		{ "HTTP_OUT_VALUE: space around", "A", " b" },
		{ "HTTP_OUT_VALUE: space at the end", "A", "b\t" },
		{ "HTTP_OUT_NAME: empty", "", "b" },
		{ "HTTP_OUT_NAME: colon", "A:", "b" },
		{ "HTTP_OUT_NAME: space", "A ", "b" },
		{ "HTTP_OUT_NAME: CRLF", "A\r\nB", "b" },
	};
	static const char *const targets[] = { "", "a", "/ b", "/a\r\nB: c",
		"/\xc3\xa4", "/#", "http://x/" };
	struct http_out o;
	char buf[256];
	size_t i, len = 7;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].why);
		http_out_response(&o, buf, sizeof(buf), 200);
		http_out_field(&o, rows[i].name, rows[i].value);
		http_out_field(&o, "C", "d"); /* the fault sticks */
		t_eq(http_out_end(&o, &len), -EINVAL);
		t_eq(len, 7);
	}
	for (i = 0; i < nitems(targets); i++) {
		t_row(targets[i]); /* HTTP_OUT_TARGET */
		http_out_request(
		    &o, buf, sizeof(buf), HTTP_GET, targets[i], "h");
		t_eq(http_out_end(&o, &len), -EINVAL);
	}
	t_row("no such status");
	http_out_response(&o, buf, sizeof(buf), 99);
	t_eq(http_out_end(&o, &len), -EINVAL);
}

/* Every length of buffer: either it fits or it says so; never past its end */
static void
test_out_bound(void)
{
	static const char want[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
	size_t cap, len = 0;
	struct http_out o;
	char buf[64];
	int r;

	for (cap = 0; cap < sizeof(buf); cap++) {
		memset(buf, 'x', sizeof(buf));
		http_out_response(&o, buf, cap, 200);
		http_out_field(&o, "A", "b");
		r = http_out_end(&o, &len);
		t_eq(r, cap < sizeof(want) - 1 ? -EMSGSIZE : 0);
		t_eq(buf[cap], 'x');
	}
	t_mem(buf, len, want, sizeof(want) - 1);
}

const struct t_case t_cases[] = { { "rows whole", test_rows_whole },
	{ "rows byte by byte", test_rows_bytewise },
	{ "rows in random splits", test_rows_random_splits },
	{ "allocates nothing", test_allocates_nothing },
	{ "fault stays", test_fault_stays }, { "head", test_head },
	{ "intents", test_intents }, { "pipeline", test_pipeline },
	{ "sinks", test_sinks },
	{ "until close limit", test_until_close_limit },
	{ "list_has", test_list_has }, { "out", test_out },
	{ "out injection", test_out_injection },
	{ "out bound", test_out_bound }, { NULL, NULL } };
