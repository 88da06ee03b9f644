#include <string.h>

#include "proto/jbuf.h"
#include "proto/table_int.h"

/* Adds ,"key":value; the first member of an object has no such helper. */
static void
add_int(struct jbuf *b, const char *key, long long v)
{
	jbuf_text(b, ",\"");
	jbuf_text(b, key);
	jbuf_text(b, "\":");
	jbuf_int(b, v);
}

static void
add_text(struct jbuf *b, const char *key, const char *v)
{
	jbuf_text(b, ",\"");
	jbuf_text(b, key);
	jbuf_text(b, "\":");
	jbuf_str(b, v, strlen(v));
}

static void
add_words(struct jbuf *b, const struct field *f)
{
	size_t i;

	jbuf_text(b, ",\"enum\":[");
	for (i = (size_t)f->min; f->names[i] != NULL; i++) {
		if (i > (size_t)f->min)
			jbuf_text(b, ",");
		jbuf_str(b, f->names[i], strlen(f->names[i]));
	}
	jbuf_text(b, "]");
}

static void
add_ref(struct jbuf *b, const struct table *t)
{
	jbuf_text(b, "{\"$ref\":\"#/components/schemas/");
	jbuf_text(b, t->name);
	jbuf_text(b, "\"}");
}

static void
add_pattern(struct jbuf *b, const struct field *f)
{
	if (f->rule != NULL && f->rule->pattern != NULL)
		add_text(b, "pattern", f->rule->pattern);
}

static void
text_schema(struct jbuf *b, const struct field *f)
{
	jbuf_text(b, "\"type\":\"string\"");
	if (f->min > 0 && (f->flags & FF_REQUIRED) != 0)
		add_int(b, "minLength", f->min);
	add_int(b, "maxLength", f->max);
	add_pattern(b, f);
}

static void
list_schema(struct jbuf *b, const struct field *f)
{
	jbuf_text(b, "\"type\":\"array\",\"items\":");
	if (f->type == FT_OBJS) {
		add_ref(b, f->sub);
	} else {
		jbuf_text(b, "{\"type\":\"string\"");
		add_pattern(b, f);
		jbuf_text(b, "}");
	}
	if (f->min > 0 && (f->flags & FF_REQUIRED) != 0)
		add_int(b, "minItems", f->min);
	add_int(b, "maxItems", f->max);
}

/* The type and its limits, without the braces. */
static void
type_schema(struct jbuf *b, const struct field *f)
{
	switch (f->type) {
	case FT_BOOL:
		jbuf_text(b, "\"type\":\"boolean\"");
		break;
	case FT_INT:
		jbuf_text(b, "\"type\":\"integer\",\"format\":\"int64\"");
		add_int(b, "minimum", f->min);
		add_int(b, "maximum", f->max);
		break;
	case FT_ENUM:
		jbuf_text(b, "\"type\":\"string\"");
		add_words(b, f);
		break;
	case FT_ENUMSET:
		jbuf_text(
		    b, "\"type\":\"array\",\"items\":{\"type\":\"string\"");
		add_words(b, f);
		jbuf_text(b, "}");
		break;
	case FT_STR:
		text_schema(b, f);
		break;
	case FT_STRS:
	case FT_OBJS:
		list_schema(b, f);
		break;
	case FT_OBJ:
		/* 3.0 ignores what stands beside a $ref */
		jbuf_text(b, "\"allOf\":[");
		add_ref(b, f->sub);
		jbuf_text(b, "]");
		break;
	case FT_TIME:
		jbuf_text(b, "\"type\":\"string\",\"format\":\"date-time\"");
		break;
	case FT_UID:
		jbuf_text(b, "\"type\":\"string\"");
		add_text(b, "pattern", "^[0-9a-f]{16}$");
		break;
	case FT_HEX:
		jbuf_text(b, "\"type\":\"string\"");
		add_int(b, "minLength", 2 * (long long)f->size);
		add_int(b, "maxLength", 2 * (long long)f->size);
		add_text(b, "pattern", "^[0-9a-f]*$");
		break;
	}
}

static void
required_list(const struct table *t, struct jbuf *b)
{
	const char *sep = ",\"required\":[";
	size_t i;

	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];

		if ((f->flags & (FF_REQUIRED | FF_WIRE)) != FF_REQUIRED)
			continue;
		jbuf_text(b, sep);
		jbuf_str(b, f->name, strlen(f->name));
		sep = ",";
	}
	if (*sep == ',' && sep[1] == '\0')
		jbuf_text(b, "]");
}

void
table_openapi(const struct table *t, unsigned int flags, struct jbuf *b)
{
	const char *sep = "";
	size_t i;

	jbuf_str(b, t->name, strlen(t->name));
	jbuf_text(b, ":{\"type\":\"object\"");
	add_text(b, "description", t->doc);
	required_list(t, b);
	if ((flags & TABLE_STRICT) != 0)
		jbuf_text(b, ",\"additionalProperties\":false");
	jbuf_text(b, ",\"properties\":{");
	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];

		if ((f->flags & FF_WIRE) != 0)
			continue;
		jbuf_text(b, sep);
		jbuf_str(b, f->name, strlen(f->name));
		jbuf_text(b, ":{");
		type_schema(b, f);
		if ((f->flags & FF_SECRET) != 0)
			jbuf_text(b, ",\"writeOnly\":true");
		add_text(b, "description", f->doc);
		jbuf_text(b, "}");
		sep = ",";
	}
	jbuf_text(b, "}}");
}

void
table_parameters(const struct table *t, struct jbuf *b)
{
	size_t i;

	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];

		jbuf_text(b, i > 0 ? ",{\"name\":" : "{\"name\":");
		jbuf_str(b, f->name, strlen(f->name));
		jbuf_text(b, ",\"in\":\"query\"");
		add_text(b, "description", f->doc);
		/* a set is written a,b */
		if (f->type == FT_ENUMSET)
			jbuf_text(b, ",\"style\":\"form\",\"explode\":false");
		jbuf_text(b, ",\"schema\":{");
		type_schema(b, f);
		jbuf_text(b, "}}");
	}
}

/* One line: the word as it stands in JSON, in the dictionary's own quotes. */
static void
dictionary_line(struct jbuf *b, const char *w, const char *tail)
{
	jbuf_text(b, "\"\\\"");
	jbuf_text(b, w); /* our own words: nothing in them needs an escape */
	jbuf_text(b, "\\\"");
	jbuf_text(b, tail);
	jbuf_text(b, "\"\n");
}

void
table_dictionary(const struct table *t, struct jbuf *b)
{
	size_t i, k;

	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];

		if ((f->flags & FF_WIRE) != 0)
			continue;
		dictionary_line(b, f->name, ":");
		if (f->names == NULL)
			continue;
		for (k = (size_t)f->min; f->names[k] != NULL; k++)
			dictionary_line(b, f->names[k], "");
	}
}
