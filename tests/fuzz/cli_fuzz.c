#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/env.h"
#include "cli/esc.h"
#include "cli/out.h"
#include "cli/size.h"
#include "cli/sse.h"
#include "common/err.h"
#include "common/utf8.h"

/* What the CLI reads: the first byte says as what. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Nothing that could act on a terminal is left, and it is UTF-8. */
static void
check_safe(const char *p, size_t len, bool lines)
{
	size_t i, n;

	if (!utf8_valid(p, len))
		abort();
	for (i = 0; i < len; i += n) {
		uint8_t c = (uint8_t)p[i];

		n = utf8_len(p + i, len - i);
		if ((c < 0x20 && !(lines && (c == '\n' || c == '\t'))) ||
		    c == 0x7f || (c == 0xc2 && (uint8_t)p[i + 1] < 0xa0))
			abort();
	}
}

static void
escape(const char *p, size_t len, unsigned int flags)
{
	char *whole = esc_dup(p, len, flags), *one;
	struct esc e;
	size_t i, n = 0;

	one = malloc((len + 4) * ESC_GROWTH + 1);
	if (whole == NULL || one == NULL)
		abort();
	esc_init(&e, flags);
	for (i = 0; i < len; i++)
		n += esc_feed(&e, p + i, 1, one + n);
	n += esc_end(&e, one + n);
	if (n != strlen(whole) || memcmp(one, whole, n) != 0)
		abort();
	check_safe(one, n, flags != 0);
	free(whole);
	free(one);
}

static int
on_event(void *arg, const char *p, size_t len)
{
	uint64_t *sum = arg;
	size_t i;

	for (i = 0; i < len; i++)
		*sum = *sum * 31 + (uint8_t)p[i];
	*sum = *sum * 31 + 1;
	return 0;
}

static void
events(const char *p, size_t len)
{
	static struct sse s;
	uint64_t whole = 0, split = 0;
	size_t i;
	int r, r1 = 0;

	sse_init(&s, on_event, &whole);
	r = sse_feed(&s, p, len);
	sse_init(&s, on_event, &split);
	for (i = 0; i < len && r1 == 0; i++)
		r1 = sse_feed(&s, p + i, 1);
	if (r != r1 || whole != split || s.id[strcspn(s.id, "\r\n :")] != '\0')
		abort();
}

static void
json(const char *p, size_t len)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (f == NULL)
		abort();
	(void)out_json(f, p, len, NULL);
	(void)fclose(f);
	check_safe(text, n, true);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct env env = { 0 };
	uint32_t mib = 7;
	char *p;

	if (len < 1 || (p = malloc(len)) == NULL)
		return 0;
	memcpy(p, data + 1, len - 1);
	p[--len] = '\0'; /* as env_parse() and size_parse_mib() want it */
	switch (data[0] % 7) {
	case 0:
		(void)env_parse(&env, "f", p, len, NULL);
		env_clear(&env);
		break;
	case 1:
		if (size_parse_mib(p, 1048576, &mib, NULL) == 0 &&
		    (mib < 1 || mib > 1048576))
			abort();
		break;
	case 2:
		escape(p, len, 0);
		break;
	case 3:
		escape(p, len, ESC_LINES);
		break;
	case 4:
		escape(p, len, ESC_JSON);
		break;
	case 5:
		events(p, len);
		break;
	default:
		json(p, len);
		break;
	}
	free(p);
	return 0;
}
