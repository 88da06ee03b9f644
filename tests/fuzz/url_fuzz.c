#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
path(const char *s)
{
	static struct url_path u;
	struct err e;
	char back[3 * URL_PATH_MAX + 1];
	static struct url_path v;
	size_t i;

	if (url_path_parse(&u, s, &e) < 0)
		return;
	for (i = 0; i < u.n; i++) {
		const char *t = u.seg[i].text;

		if (strcmp(t, "..") == 0 || strcmp(t, ".") == 0 ||
		    strlen(t) != u.seg[i].len || u.seg[i].len == 0)
			abort();
		/* encoded again and alone, it is the same one segment */
		back[0] = '/';
		if (url_encode(back + 1, sizeof(back) - 1, t) < 0)
			abort();
		if (strlen(back) > URL_PATH_MAX)
			continue;
		if (url_path_parse(&v, back, &e) < 0 || v.n != 1 ||
		    strcmp(v.seg[0].text, t) != 0)
			abort();
	}
}

static void
query(const char *s)
{
	static struct url_query q;
	struct err e;
	size_t i;

	if (url_query_parse(&q, s, &e) < 0)
		return;
	for (i = 0; i < q.n; i++) {
		const char *v = NULL;
		int r = url_query_get(&q, q.param[i].key, &v);

		if (r == 0 && strcmp(v, q.param[i].value) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *s = malloc(len + 1);

	if (s == NULL)
		return 0;
	if (len > 0)
		memcpy(s, data, len);
	s[len] = '\0';
	path(s);
	query(s);
	free(s);
	return 0;
}
