#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/http.h"

/*
 * The first byte says what the rest is.  Each input is parsed twice, whole
 * and in pieces; both must come to the same events, bodies and positions.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define BODY_MAX 100000
#define MESSAGES_MAX 16

struct trace {
	uint64_t sum; /* of everything that was seen, in order */
	uint64_t body;
};

static void
mix(uint64_t *sum, const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len-- > 0)
		*sum = (*sum ^ *b++) * 1099511628211ULL;
}

static void
mix_num(uint64_t *sum, uint64_t v)
{
	mix(sum, &v, sizeof(v));
}

static void
mix_str(uint64_t *sum, const char *s)
{
	if (s != NULL)
		mix(sum, s, strlen(s) + 1);
	else
		mix_num(sum, 0);
}

static int
on_body(void *arg, const void *data, size_t len)
{
	mix(&((struct trace *)arg)->body, data, len);
	return 0;
}

static void
see_head(const struct http *h, struct trace *t)
{
	size_t i;

	mix_num(&t->sum, h->method);
	mix_num(&t->sum, (uint64_t)h->status);
	mix_num(&t->sum, h->framing);
	mix_num(&t->sum, h->content_length);
	mix_num(&t->sum, h->keep_alive);
	mix_str(&t->sum, h->path);
	mix_str(&t->sum, h->query);
	mix_str(&t->sum, h->upgrade);
	for (i = 0; i < h->nfields; i++) {
		/* views must be inside and as long as they say */
		if (strlen(h->fields[i].name) != h->fields[i].name_len ||
		    strlen(h->fields[i].value) != h->fields[i].value_len)
			abort();
		mix_str(&t->sum, h->fields[i].name);
		mix_str(&t->sum, h->fields[i].value);
	}
}

/* Runs up to MESSAGES_MAX messages; piece 0 means all bytes at once. */
static void
run(struct http *h, const uint8_t *p, size_t len, size_t piece, struct trace *t)
{
	size_t at = 0, used, n, messages = 0;
	enum http_ev ev = HTTP_EV_MORE;

	while (messages < MESSAGES_MAX) {
		n = len - at;
		if (piece > 0 && n > piece)
			n = piece;
		ev = http_feed(h, p + at, n, &used);
		if (used > n || (ev == HTTP_EV_MORE && used != n))
			abort();
		at += used;
		if (ev == HTTP_EV_MORE && at == len)
			ev = http_eof(h);
		if (ev == HTTP_EV_HEAD)
			see_head(h, t);
		if (ev == HTTP_EV_FAULT)
			break;
		if (ev != HTTP_EV_DONE)
			continue;
		if (h->framing == HTTP_BODY_LENGTH &&
		    h->body_len != h->content_length)
			abort();
		if (h->body_len > BODY_MAX)
			abort();
		mix_num(&t->sum, at);
		if (!h->keep_alive || h->upgrade != NULL || at == len)
			break;
		http_next(h);
		messages++;
	}
	mix_num(&t->sum, ev);
	mix_num(&t->sum, at);
	if (ev == HTTP_EV_FAULT)
		mix_str(&t->sum, h->fault_rule);
}

static void
both_ways(uint8_t mode, const uint8_t *p, size_t len)
{
	static const size_t pieces[] = { 0, 1, 7 };
	static struct http h;
	struct trace t[3];
	size_t i;

	for (i = 0; i < 3; i++) {
		struct http_sink sink = { on_body, &t[i] };

		t[i] = (struct trace){ 14695981039346656037ULL, 1 };
		if (mode & 8)
			http_response_init(&h, BODY_MAX, mode & 7, &sink);
		else
			http_request_init(&h, BODY_MAX, &sink);
		run(&h, p, len, pieces[i], &t[i]);
		if (t[i].sum != t[0].sum || t[i].body != t[0].body)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n";
	static uint8_t buf[65536 + sizeof(head)];
	size_t n = sizeof(head) - 1;

	if (len < 1 || len > 65536)
		return 0;
	/* 'q' requests, 'h'..'o' responses with each set of flags */
	if (data[0] != 'c') {
		both_ways(data[0] & 15, data + 1, len - 1);
		return 0;
	}
	memcpy(buf, head, n);
	memcpy(buf + n, data + 1, len - 1);
	both_ways(0, buf, n + len - 1);
	return 0;
}
