#include <string.h>

#include "apid/openapi.h"
#include "apid/route.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

/* "/a/:name" becomes "/a/{name}" */
static void
path_text(struct jbuf *b, const char *path)
{
	const char *colon = strchr(path, ':');
	size_t len;

	if (colon == NULL) {
		jbuf_text(b, path);
		return;
	}
	len = strcspn(colon, "/");
	jbuf_raw(b, path, (size_t)(colon - path));
	jbuf_text(b, "{");
	jbuf_raw(b, colon + 1, len - 1);
	jbuf_text(b, "}");
	jbuf_text(b, colon + len);
}

/* "VM" or "VM[]" */
static void
schema(struct jbuf *b, const char *name)
{
	const size_t len = strcspn(name, "[");
	const bool list = name[len] != '\0';

	jbuf_text(b, "{\"application/json\":{\"schema\":");
	if (list)
		jbuf_text(b, "{\"type\":\"array\",\"items\":");
	jbuf_text(b, "{\"$ref\":\"#/components/schemas/");
	jbuf_raw(b, name, len);
	jbuf_text(b, list ? "\"}}}}" : "\"}}}");
}

static void
method_key(struct jbuf *b, enum http_method m)
{
	jbuf_text(b,
	    m == HTTP_GET	 ? "\"get\""
		: m == HTTP_POST ? "\"post\""
				 : "\"delete\"");
}

static void
operation(struct jbuf *b, const struct route *r)
{
	method_key(b, r->method);
	jbuf_text(b, ":{\"operationId\":");
	jbuf_str(b, r->op, strlen(r->op));
	jbuf_text(b, ",\"summary\":");
	jbuf_str(b, r->about, strlen(r->about));
	if (strchr(r->path, ':') != NULL)
		jbuf_text(b,
		    ",\"parameters\":[{\"name\":\"name\",\"in\":\"path\","
		    "\"required\":true,\"description\":\"name or uid\","
		    "\"schema\":{\"type\":\"string\"}}]");
	if (r->doc_in != NULL) {
		jbuf_text(
		    b, ",\"requestBody\":{\"required\":true,\"content\":");
		schema(b, r->doc_in);
		jbuf_text(b, "}");
	}
	jbuf_text(b, ",\"responses\":{\"");
	jbuf_int(b, r->ok);
	jbuf_text(b, "\":{\"description\":");
	jbuf_str(b, http_reason(r->ok), strlen(http_reason(r->ok)));
	if (r->doc_out != NULL) {
		jbuf_text(b, ",\"content\":");
		schema(b, r->doc_out);
	}
	jbuf_text(b, "},\"default\":{\"description\":\"Error\",\"content\":");
	schema(b, "Error");
	jbuf_text(b, "}}}");
}

void
openapi_write(struct jbuf *b)
{
	size_t i;

	jbuf_text(b,
	    "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"mews REST API\","
	    "\"version\":\"v1\"},\"paths\":{");
	for (i = 0; i < nroutes; i++) {
		/* the table keeps the methods of one path together */
		const bool same =
		    i > 0 && strcmp(routes[i].path, routes[i - 1].path) == 0;

		jbuf_text(b, same ? "," : i > 0 ? "},\"" : "\"");
		if (!same) {
			path_text(b, routes[i].path);
			jbuf_text(b, "\":{");
		}
		operation(b, &routes[i]);
	}
	jbuf_text(b, "}},\"components\":{\"schemas\":{");
	objects_openapi(b);
	jbuf_text(b, "}}}");
}
