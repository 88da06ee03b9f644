#include <ctype.h>
#include <string.h>

#include "apid/openapi.h"
#include "apid/route.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "proto/right.h"

/* "/a/{name:vm}" becomes "/a/{name}" */
static void
path_text(struct jbuf *b, const char *path)
{
	struct route_var v;

	for (; route_var(path, &v); path = v.end) {
		jbuf_raw(b, path, (size_t)(v.name - path));
		jbuf_raw(b, v.name, (size_t)v.name_len);
		jbuf_text(b, "}");
	}
	jbuf_text(b, path);
}

static void
schema(struct jbuf *b, const char *name, bool list)
{
	jbuf_text(b, "{\"application/json\":{\"schema\":");
	if (list)
		jbuf_text(b, "{\"type\":\"array\",\"items\":");
	jbuf_text(b, "{\"$ref\":\"#/components/schemas/");
	jbuf_text(b, name);
	jbuf_text(b, list ? "\"}}}}" : "\"}}}");
}

static void
method_key(struct jbuf *b, enum http_method m)
{
	const char *p;
	char c;

	jbuf_text(b, "\"");
	for (p = http_method_name(m); *p != '\0'; p++) {
		c = (char)tolower((unsigned char)*p);
		jbuf_raw(b, &c, 1);
	}
	jbuf_text(b, "\"");
}

static void
parameters(struct jbuf *b, const struct route *r)
{
	const char *path = r->path, *sep = ",\"parameters\":[";
	struct route_var v;

	for (; route_var(path, &v); path = v.end) {
		jbuf_text(b, sep);
		jbuf_text(b, "{\"name\":");
		jbuf_str(b, v.name, (size_t)v.name_len);
		jbuf_text(b,
		    ",\"in\":\"path\",\"required\":true,\"description\":"
		    "\"name or uid\",\"schema\":{\"type\":\"string\"}}");
		sep = ",";
	}
	if (r->query != NULL) {
		jbuf_text(b, sep);
		table_parameters(r->query, b);
		sep = ",";
	}
	if (sep[1] == '\0')
		jbuf_text(b, "]");
}

/* Who may, as docs/api.md has it. */
static const char *
role_words(const struct right *r)
{
	return r->of == OF_ANYBODY ? "anybody" : tenant_role_names[r->role];
}

static void
operation(struct jbuf *b, const struct route *r)
{
	method_key(b, r->method);
	jbuf_text(b, ":{\"operationId\":");
	jbuf_str(b, r->op, strlen(r->op));
	jbuf_text(b, ",\"summary\":");
	jbuf_str(b, r->about, strlen(r->about));
	jbuf_text(b, ",\"x-role\":\"");
	jbuf_text(b, role_words(r->right));
	jbuf_text(b, "\"");
	parameters(b, r);
	if (r->in != NULL) {
		jbuf_text(
		    b, ",\"requestBody\":{\"required\":true,\"content\":");
		schema(b, r->in->name, false);
		jbuf_text(b, "}");
	}
	jbuf_text(b, ",\"responses\":{\"");
	jbuf_int(b, r->ok);
	jbuf_text(b, "\":{\"description\":");
	jbuf_str(b, http_reason(r->ok), strlen(http_reason(r->ok)));
	if (r->out != NULL) {
		jbuf_text(b, ",\"content\":");
		schema(b, r->out->name, r->list);
	}
	jbuf_text(b, "},\"default\":{\"description\":\"Error\",\"content\":");
	schema(b, api_error_table.name, false);
	jbuf_text(b, "}}}");
}

void
openapi_write(const struct route_table *t, struct jbuf *b)
{
	size_t i;

	jbuf_text(b,
	    "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"mews REST API\","
	    "\"version\":\"v1\"},\"paths\":{");
	for (i = 0; i < t->n; i++) {
		const struct route *r = &t->rows[i];
		/* the table keeps the methods of one path together */
		const bool same =
		    i > 0 && strcmp(r->path, t->rows[i - 1].path) == 0;

		jbuf_text(b, same ? "," : i > 0 ? "},\"" : "\"");
		if (!same) {
			path_text(b, r->path);
			jbuf_text(b, "\":{");
		}
		operation(b, r);
	}
	jbuf_text(b, "}},\"components\":{\"schemas\":{");
	objects_openapi(b);
	jbuf_text(b, "}}}");
}
