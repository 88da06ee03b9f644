#ifndef MEWS_URL_H
#define MEWS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/*
 * The two halves of an origin-form target (RFC 3986 3.3, 3.4), decoded into
 * fixed buffers.  Each part is decoded once and never joined again: an
 * encoded slash becomes a '/' inside its segment, where the check of that
 * segment as a name refuses it.
 */
#define URL_PATH_MAX 4096
#define URL_SEGMENTS_MAX 32
#define URL_QUERY_MAX 4096
#define URL_PARAMS_MAX 32

struct url_segment {
	const char *text; /* decoded, NUL-terminated, no control bytes */
	size_t len;
	size_t at; /* where it begins in the raw path, after its '/' */
};

struct url_path {
	size_t n; /* 0 for "/" */
	struct url_segment seg[URL_SEGMENTS_MAX];
	bool slash_end; /* "/a/": the last '/' begins no segment */
	char buf[URL_PATH_MAX + 1];
};

struct url_param {
	const char *key;
	const char *value; /* "" where there is no '=' */
};

struct url_query {
	size_t n;
	struct url_param param[URL_PARAMS_MAX];
	char buf[URL_QUERY_MAX + 1];
};

/* 0, or -EINVAL or -E2BIG with e (NULL is fine) saying why. */
int url_path_parse(struct url_path *u, const char *path, struct err *e);
/* query may be NULL: none.  '+' is a space, as forms write it. */
int url_query_parse(struct url_query *q, const char *query, struct err *e);

/* 0 and *ret, -ENOENT, or -EEXIST where the key came more than once. */
int url_query_get(const struct url_query *q, const char *key, const char **ret);

/* Writes text so that it is one segment, key or value.  0 or -EMSGSIZE. */
int url_encode(char *dst, size_t cap, const char *text);

#endif
