#include <errno.h>
#include <string.h>

#include "common/http_int.h"
#include "common/util.h"

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
