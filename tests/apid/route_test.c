#include <errno.h>
#include <string.h>

#include "apid/doc.h"
#include "apid/openapi.h"
#include "apid/request.h"
#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/objects.h"
#include "proto/right.h"
#include "tests/suite/t.h"

/* An object that only this test has: a table, a row a route, a verb each. */
struct part {
	uint64_t has;
	char name[17];
	uint32_t size;
};
static const struct field part_fields[] = {
	{ F_(struct part, name, FT_STR), .flags = FF_REQUIRED, .min = 1,
	    .max = 16, .doc = "name" },
	{ F_INTF(struct part, size, FF_OMIT_EMPTY), .max = 9, .doc = "size" },
};
static const struct table part_table = { .name = "Part",
	.size = sizeof(struct part),
	.fields = part_fields,
	.nfields = nitems(part_fields),
	.doc = "A part." };

enum { PART_LIST = 0x2f0, PART_PUT, PART_DELETE };
#define PARTS "/api/v1/things/{thing}/parts"
static const struct right part_list = { .verb = PART_LIST };
static const struct right part_put = { .verb = PART_PUT };
static const struct right part_delete = { .verb = PART_DELETE };
static const struct route rows[] = {
	{ HTTP_GET, PARTS, ROUTE_ASK, &part_list, .query = &part_table,
	    .out = &part_table, .list = true, .ok = 200, .op = "listParts",
	    .about = "Parts." },
	{ HTTP_PUT, PARTS "/{name:part}", ROUTE_ASK, &part_put,
	    .in = &part_table, .out = &part_table, .ok = 200, .op = "putPart",
	    .about = "Puts one." },
	{ HTTP_DELETE, PARTS "/{name:part}", ROUTE_ASK, &part_delete, .ok = 204,
	    .op = "dropPart", .about = "Drops one." },
};
static const struct route_table parts = { rows, nitems(rows) };

/* One request as it would go to orchd.  0, or the refusal's status. */
static int
take(struct request *q, struct refusal *no, const char *text)
{
	static struct http h;
	const struct http_sink sink = { request_write, q };
	size_t at = 0, used, len = strlen(text);
	enum http_ev ev;

	memset(no, 0, sizeof(*no));
	request_init(q);
	http_request_init(&h, BODY_MAX, &sink);
	do {
		ev = http_feed(&h, text + at, len - at, &used);
		at += used;
		if (ev == HTTP_EV_HEAD && request_head(q, &parts, &h, no) < 0)
			return no->status;
	} while (ev == HTTP_EV_HEAD);
	t_eq(ev, HTTP_EV_DONE);
	return request_done(q, no) < 0 ? no->status : 0;
}

#define HEAD(line, rest) line " HTTP/1.1\r\nHost: m\r\n" rest "\r\n"

static void
test_vars(void)
{
	struct refusal no;
	struct request q = { .route = NULL };

	t_eq(take(&q, &no, HEAD("DELETE /api/v1/things/car/parts/wheel", "")),
	    0);
	t_eq(q.route->right->verb, PART_DELETE);
	t_str(q.req.var[0], "car");
	t_str(q.req.var[1], "wheel");
	q.req.conn = 1;
	t_eq(api_req_check(&q.req), 0);
	memset(q.req.var[1], 'a', sizeof(q.req.var[1]));
	t_eq(api_req_check(&q.req), -EINVAL);
	request_clear(&q);

	t_row("one variable");
	t_eq(take(&q, &no, HEAD("GET /api/v1/things/car/parts?size=4", "")), 0);
	t_str(q.req.var[0], "car");
	t_str(q.req.var[1], "");
	request_clear(&q);

	t_row("what is wrong is named");
	t_eq(take(&q, &no, HEAD("DELETE /api/v1/things/.a/parts/b", "")), 404);
	t_true(strncmp(no.text, "thing not found: ", 17) == 0);
	request_clear(&q);
	t_eq(
	    take(&q, &no, HEAD("DELETE /api/v1/things/a/parts/b%2f", "")), 404);
	t_true(strncmp(no.text, "part not found: ", 16) == 0);
	request_clear(&q);

	t_row("what is not");
	t_eq(take(&q, &no, HEAD("GET /api/v1/things/a/parts/b", "")), 405);
	t_str(no.allow, "PUT, DELETE");
	request_clear(&q);
	t_eq(take(&q, &no, HEAD("GET /api/v1/things/a/parts/b/c", "")), 404);
	request_clear(&q);
	t_eq(take(&q, &no, HEAD("GET /api/v1/things/parts", "")), 404);
	request_clear(&q);
}

static void
test_documents(void)
{
	struct refusal no;
	struct request q = { .route = NULL };
	struct part v;
	struct err e;

	t_eq(take(&q, &no,
		 HEAD("GET /api/v1/things/a/parts?size=4&x=1&name=w", "")),
	    0);
	t_eq(table_unpack_all(&part_table, q.tail, q.tail_len, &v, &e), 0);
	t_str(v.name, "w");
	t_eq(v.size, 4);
	t_true(q.tail_len <= table_wire_max(&part_table));
	request_clear(&q);
	t_eq(
	    take(&q, &no, HEAD("GET /api/v1/things/a/parts?size=10", "")), 400);
	t_str(no.text, "invalid size: 0 to 9");
	request_clear(&q);

	t_eq(take(&q, &no,
		 HEAD("PUT /api/v1/things/a/parts/b",
		     "Content-Length: 21\r\n") "{\"name\":\"b\",\"size\":9}"),
	    0);
	t_eq(table_unpack_all(&part_table, q.tail, q.tail_len, &v, &e), 0);
	t_str(v.name, "b");
	t_eq(v.size, 9);
	request_clear(&q);
	t_eq(take(&q, &no,
		 HEAD("PUT /api/v1/things/a/parts/b",
		     "Content-Length: 2\r\n") "{}"),
	    400);
	t_str(no.text, "name: required");
	request_clear(&q);
}

static void
test_answers(void)
{
	const struct part v = { .name = "b", .size = 9 };
	uint8_t buf[128];
	struct wcur w;
	struct jbuf b;
	uint32_t len;

	wcur_init(&w, buf, sizeof(buf));
	(void)wcur_u32(&w, 1);
	(void)wcur_u32(&w, 0);
	t_eq(table_pack(&part_table, &v, &w), 0);
	len = (uint32_t)w.used - 8;
	memcpy(buf + 4, &len, sizeof(len));
	jbuf_init(&b, 4096);
	t_eq(doc_json(&part_table, false, buf + 8, len, &b), 0);
	t_str(b.p, "{\"name\":\"b\",\"size\":9}");
	jbuf_free(&b);
	t_eq(doc_json(&part_table, true, buf, w.used, &b), 0);
	t_str(b.p, "[{\"name\":\"b\",\"size\":9}]");
	jbuf_free(&b);
	t_eq(doc_json(&part_table, true, buf, w.used - 1, &b), -EBADMSG);
	jbuf_free(&b);
	t_fail_alloc(1);
	t_eq(doc_json(&part_table, false, buf + 8, len, &b), -ENOMEM);
	t_true(t_alloc_failed());
	t_fail_alloc(0);
	jbuf_free(&b);
}

#define VAR(n)                                                   \
	"{\"name\":\"" n "\",\"in\":\"path\",\"required\":true," \
	"\"description\":\"name or uid\",\"schema\":{\"type\":\"string\"}}"
#define REF "{\"$ref\":\"#/components/schemas/Part\"}"
#define JSON(s) "{\"application/json\":{\"schema\":" s "}}"
#define OTHERWISE                                             \
	"\"default\":{\"description\":\"Error\",\"content\":" \
	"{\"application/json\":{\"schema\":"                  \
	"{\"$ref\":\"#/components/schemas/Error\"}}}}}}"
static const char described[] =
    "\"paths\":{\"/api/v1/things/{thing}/parts\":{"
    "\"get\":{\"operationId\":\"listParts\",\"summary\":\"Parts.\",\"x-role\":\"anybody\","
    "\"parameters\":[" VAR(
	"thing") ",{\"name\":\"name\",\"in\":\"query\","
		 "\"description\":\"name\",\"schema\":{\"type\":\"string\","
		 "\"minLength\":1,\"maxLength\":16}},{\"name\":\"size\","
		 "\"in\":\"query\",\"description\":\"size\",\"schema\":"
		 "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0,"
		 "\"maximum\":9}}],\"responses\":{\"200\":{\"description\":\"OK\","
		 "\"content\":" JSON(
		     "{\"type\":\"array\",\"items\":" REF
		     "}") "}," OTHERWISE
			  "},\"/api/v1/things/{thing}/parts/{name}\":{"
			  "\"put\":{\"operationId\":\"putPart\",\"summary\":\"Puts one.\",\"x-role\":\"anybody\","
			  "\"parameters\":[" VAR("thing") "," VAR(
			      "name") "],"
				      "\"requestBody\":{\"required\":true,\"content\":" JSON(
					  REF) "},"
					       "\"responses\":{\"200\":{\"description\":\"OK\",\"content\":" JSON(
						   REF) "}," OTHERWISE
							",\"delete\":{\"operationId\":\"dropPart\","
							"\"summary\":\"Drops one.\",\"x-role\":\"anybody\",\"parameters\":[" VAR(
							    "thing") "," VAR("name") "],\"responses\":{\"204\":{\"description\":\"No Content\"}," OTHERWISE
										     "}},\"components\":";

static void
test_description(void)
{
	struct jbuf b;

	jbuf_init(&b, OPENAPI_MAX);
	openapi_write(&parts, &b);
	t_eq(b.r, 0);
	if (b.r == 0 && strstr(b.p, described) == NULL)
		t_str(b.p, described);
	jbuf_free(&b);
}

/* What the code relies on in each row that ships. */
static void
test_rows(void)
{
	const struct route_table *t = &api_routes;
	struct route_var v;
	const char *path;
	size_t i, k, n;

	for (i = 0; i < t->n; i++) {
		const struct route *r = &t->rows[i];

		t_row(r->op);
		t_true(r->about != NULL && r->ok >= 100);
		t_true((r->kind == ROUTE_ASK) == (r->right->verb != 0) ||
		    r->right->verb == API_STREAM || r->kind == ROUTE_FILE ||
		    r->right->verb == API_EVENTS);
		/* what only tells is for who may look */
		t_true(
		    r->method == HTTP_GET || r->right->role >= TENANT_OPERATOR);
		t_true((r->right->of == OF_NAMED) ==
		    (strstr(r->path, ":tenant}") != NULL));
		t_true(r->out == NULL || r->kind == ROUTE_ASK ||
		    r->kind == ROUTE_CALL);
		t_true(r->kind != ROUTE_CALL ||
		    (r->in != NULL && r->out != NULL && !r->list));
		t_true(r->more_ms == NULL || r->query != NULL);
		t_true(!r->list || r->out != NULL);
		t_true(r->in == NULL || r->query == NULL);
		for (n = 0, path = r->path; route_var(path, &v); path = v.end)
			n++;
		t_true(n <= API_VARS_MAX);
		for (k = 0; k < i; k++) {
			const bool same = strcmp(t->rows[k].path, r->path) == 0;

			t_true(strcmp(t->rows[k].op, r->op) != 0);
			t_true(!same || t->rows[k].method != r->method);
			t_true(
			    !same || strcmp(t->rows[i - 1].path, r->path) == 0);
		}
	}
}

const struct t_case t_cases[] = { { "variables", test_vars },
	{ "documents", test_documents }, { "answers", test_answers },
	{ "description", test_description }, { "rows", test_rows },
	{ NULL, NULL } };
