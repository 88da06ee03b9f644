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

int
http_fault(struct http *h, int status, const char *rule, const char *text)
{
	h->phase = PH_FAULT;
	h->fault_status = h->response ? 502 : status;
	h->fault_rule = rule;
	h->fault_text = text;
	h->keep_alive = false;
	return -EBADMSG;
}

/* Each kind of line has its own bound and its own answer. */
static int
line_bound(struct http *h)
{
	size_t len = h->used - h->line;

	if (h->phase == PH_START && RULE(HTTP_LINE_LONG) &&
	    len >= HTTP_LINE_MAX)
		/* without a space it was no request line to begin with */
		return http_fault(h,
		    memchr(h->buf + h->line, ' ', len) != NULL ? 414 : 400,
		    "HTTP_LINE_LONG", "the first line is longer than 4 KiB");
	if (h->phase == PH_FIELDS && RULE(HTTP_FIELDS_LONG) &&
	    h->section > HTTP_FIELD_BYTES_MAX)
		return http_fault(h, 431, "HTTP_FIELDS_LONG",
		    "the header section is longer than 16 KiB");
	if (h->phase == PH_TRAILER && RULE(HTTP_TRAILER_LONG) &&
	    h->section > HTTP_TRAILER_BYTES_MAX)
		return http_fault(h, 431, "HTTP_TRAILER_LONG",
		    "the trailer section is longer than 1 KiB");
	if (h->used + 1 >= sizeof(h->buf)) /* not a rule: our memory ends */
		return http_fault(h, 431, "HTTP_BUF", "the head is too long");
	return 0;
}

int
http_line_byte(struct http *h, char c, size_t *len)
{
	int r;

	if (h->phase != PH_START)
		h->section++;
	if (c == '\n') {
		if (RULE(HTTP_BARE_LF) && !h->cr)
			return http_fault(h, 400, "HTTP_BARE_LF",
			    "a line ends in LF without CR");
		if (h->phase != PH_START && (r = line_bound(h)) < 0)
			return r;
		h->cr = false;
		*len = h->used - h->line;
		h->buf[h->used++] = '\0';
		return 1;
	}
	/* RFC 9112 2.2: a bare CR must not be taken for anything */
	if (RULE(HTTP_BARE_CR) && h->cr)
		return http_fault(
		    h, 400, "HTTP_BARE_CR", "a CR is not followed by LF");
	h->cr = c == '\r';
	if (h->cr)
		return 0;
	if ((r = line_bound(h)) < 0)
		return r;
	h->buf[h->used++] = c;
	return 0;
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

bool
http_list_has(const char *list, const char *token)
{
	size_t want = strlen(token), n;

	for (;;) {
		list += strspn(list, " \t,");
		if (*list == '\0')
			return false;
		n = strcspn(list, ",");
		while (n > 0 && strchr(" \t", list[n - 1]) != NULL)
			n--;
		if (n == want && strncasecmp(list, token, n) == 0)
			return true;
		list += strcspn(list, ",");
	}
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
