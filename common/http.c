#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/http.h"
#include "common/http_int.h"
#include "common/util.h"

void
http_next(struct http *h)
{
	struct http_sink sink = h->sink;
	uint64_t body_max = h->body_max;
	unsigned int flags = h->flags;
	bool response = h->response;

	/* everything but the buffer, which is large and rewritten anyway */
	memset(h, 0, offsetof(struct http, buf));
	h->sink = sink;
	h->body_max = body_max;
	h->flags = flags;
	h->response = response;
	h->phase = PH_START;
}

void
http_request_init(
    struct http *h, uint64_t body_max, const struct http_sink *sink)
{
	h->sink = sink != NULL ? *sink : (struct http_sink){ NULL, NULL };
	h->body_max = body_max;
	h->flags = 0;
	h->response = false;
	http_next(h);
}

void
http_response_init(struct http *h, uint64_t body_max, unsigned int flags,
    const struct http_sink *sink)
{
	h->sink = sink != NULL ? *sink : (struct http_sink){ NULL, NULL };
	h->body_max = body_max;
	h->flags = flags;
	h->response = true;
	http_next(h);
}

static int
start_line(struct http *h, char *line, size_t len)
{
	int r;

	r = h->response ? http_status_line(h, line, len)
			: http_request_line(h, line, len);
	if (r == 0)
		h->phase = PH_FIELDS;
	return r;
}

static int
head_byte(struct http *h, char c)
{
	size_t len = 0;
	char *line;
	int r;

	/* TLS, an empty line, a space: refused before a line is waited for */
	if (RULE(HTTP_START_BYTE) && h->phase == PH_START && h->used == 0 &&
	    !http_is_tchar(c))
		return http_fault(
		    h, 400, "HTTP_START_BYTE", "this is not HTTP/1.1");
	if ((r = http_line_byte(h, c, &len)) <= 0)
		return r;
	line = h->buf + h->line;
	h->line = h->used;
	if (h->phase == PH_START)
		return start_line(h, line, len);
	return len == 0 ? http_head_check(h) : http_field_line(h, line, len);
}

enum http_ev
http_feed(struct http *h, const void *data, size_t len, size_t *used)
{
	const uint8_t *p = data;
	size_t took;
	bool head;

	*used = 0;
	while (h->phase < PH_DONE) {
		if (*used == len)
			return HTTP_EV_MORE;
		head = h->phase <= PH_FIELDS;
		took = 1;
		if (head)
			(void)head_byte(h, (char)p[*used]);
		else
			(void)http_body_bytes(h, p + *used, len - *used, &took);
		*used += took;
		if (head && h->phase > PH_FIELDS && h->phase != PH_FAULT)
			return HTTP_EV_HEAD;
	}
	return h->phase == PH_DONE ? HTTP_EV_DONE : HTTP_EV_FAULT;
}

enum http_ev
http_eof(struct http *h)
{
	if (h->phase == PH_CLOSE)
		h->phase = PH_DONE;
	if (h->phase < PH_DONE)
		(void)http_fault(h, 400, "HTTP_EOF",
		    "the connection ended inside a message");
	return h->phase == PH_DONE ? HTTP_EV_DONE : HTTP_EV_FAULT;
}

int
http_get(const struct http *h, const char *name, const char **ret)
{
	const struct http_field *found = NULL;
	size_t i;

	for (i = 0; i < h->nfields; i++) {
		if (strcasecmp(h->fields[i].name, name) != 0)
			continue;
		if (found != NULL)
			return -EEXIST;
		found = &h->fields[i];
	}
	if (found == NULL)
		return -ENOENT;
	*ret = found->value;
	return 0;
}

int
http_buf_write(void *buf, const void *data, size_t len)
{
	struct http_buf *b = buf;

	if (len > b->cap - b->used)
		return -EMSGSIZE;
	if (len > 0)
		memcpy(b->p + b->used, data, len);
	b->used += len;
	return 0;
}
