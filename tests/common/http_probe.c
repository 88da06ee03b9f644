#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http.h"

/*
 * Tells tests/common/http_diff_test.py what our parser makes of bytes.
 * In: u8 kind ('q' request, else response flags), u32 length (little
 * endian), bytes; repeated.  Out, a line each: the messages that were whole
 * as "END METHOD-OR-STATUS BODYHEX", tab-separated, then "ok" or the rule.
 */
#define CASE_MAX 65536

static struct http h;

static int
read_case(int *kind, uint8_t *buf, size_t *len)
{
	uint8_t head[5];

	if (fread(head, 1, sizeof(head), stdin) != sizeof(head))
		return -1;
	*kind = head[0];
	*len = (size_t)head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16;
	if (*len > CASE_MAX || fread(buf, 1, *len, stdin) != *len)
		return -1;
	return 0;
}

static void
say_message(size_t end, const struct http_buf *body)
{
	size_t i;

	printf("%zu ", end);
	if (h.response)
		printf("%d ", h.status);
	else
		printf("%s ", http_method_name(h.method));
	for (i = 0; i < body->used; i++)
		printf("%02x", body->p[i]);
	printf("\t");
}

static void
probe(const uint8_t *p, size_t len, struct http_buf *body)
{
	size_t at = 0, used;
	enum http_ev ev;

	for (;;) {
		ev = http_feed(&h, p + at, len - at, &used);
		at += used;
		if (ev == HTTP_EV_MORE && h.framing == HTTP_BODY_CLOSE)
			ev = http_eof(&h);
		if (ev == HTTP_EV_HEAD)
			continue;
		if (ev != HTTP_EV_DONE)
			break;
		say_message(at, body);
		if (!h.keep_alive || at == len)
			break;
		http_next(&h);
		body->used = 0;
	}
	printf("%s\n",
	    ev == HTTP_EV_FAULT	     ? h.fault_rule
		: ev == HTTP_EV_MORE ? "more"
				     : "ok");
}

int
main(void)
{
	static uint8_t in[CASE_MAX], out[CASE_MAX];
	size_t len = 0;
	int kind = 0;

	while (read_case(&kind, in, &len) == 0) {
		struct http_buf body = { out, sizeof(out), 0 };
		struct http_sink sink = { http_buf_write, &body };

		if (kind == 'q')
			http_request_init(&h, CASE_MAX, &sink);
		else
			http_response_init(
			    &h, CASE_MAX, (unsigned int)kind, &sink);
		probe(in, len, &body);
	}
	return 0;
}
