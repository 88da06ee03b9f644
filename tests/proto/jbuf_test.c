#include <string.h>

#include "proto/jbuf.h"
#include "tests/suite/t.h"

static const char text[] = "<a href=\"x\">&\\\b\f\n\r\t\x01\x7f"
			   "\xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\xff";

static void
test_for_browsers(void)
{
	struct jbuf b;

	jbuf_init(&b, 256);
	jbuf_str(&b, text, sizeof(text) - 1);
	t_str(b.p,
	    "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\\\\\u0008\\u000c\\n\\r\\t"
	    "\\u0001\x7f\\u2028\\u2029\xe2\x82\xac\\ufffd\"");
	jbuf_free(&b);
}

static void
test_plain(void)
{
	struct jbuf b;
	int i;

	jbuf_init(&b, 256);
	b.plain = true;
	for (i = 0; i < 2; i++) {
		jbuf_str(&b, text, sizeof(text) - 1);
		t_str(b.p,
		    "\"<a href=\\\"x\\\">&\\\\\\b\\f\\n\\r\\t\\u0001\x7f"
		    "\xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\\ufffd\"");
		jbuf_free(&b); /* it stays so */
	}
	jbuf_init(&b, 256);
	t_eq(b.plain, false);
}

const struct t_case t_cases[] = { { "for browsers", test_for_browsers },
	{ "plain", test_plain }, { NULL, NULL } };
