#include <string.h>

#include "common/http.h"
#include "common/http_int.h"
#include "common/util.h"

static int
sink_write(struct http *h, const uint8_t *p, size_t n)
{
	if (RULE(HTTP_BODY_LIMIT) && h->phase == PH_CLOSE &&
	    n > h->body_max - h->body_len)
		return http_fault(h, 413, "HTTP_BODY_LIMIT",
		    "the body is longer than is allowed here");
	h->body_len += n;
	if (h->sink.write != NULL && n > 0 &&
	    h->sink.write(h->sink.arg, p, n) < 0)
		return http_fault(
		    h, 413, "HTTP_SINK", "the body's reader takes no more");
	return 0;
}

/* A run of body bytes, as many as are there and belong to it. */
static int
data_bytes(struct http *h, const uint8_t *p, size_t len, size_t *took)
{
	size_t n = len;
	int r;

	if (h->phase != PH_CLOSE && n > h->left)
		n = (size_t)h->left;
	*took = n;
	if ((r = sink_write(h, p, n)) < 0)
		return r;
	if (h->phase == PH_CLOSE)
		return 0;
	h->left -= n;
	if (h->left == 0)
		h->phase = h->phase == PH_LENGTH ? PH_DONE : PH_CHUNK_CR;
	return 0;
}

/* The size is known and its line ended (RFC 9112 7.1). */
static int
chunk_begin(struct http *h)
{
	h->digits = 0;
	if (h->left == 0) {
		h->phase = PH_TRAILER;
		h->section = 0;
		h->line = h->used;
		return 0;
	}
	if (RULE(HTTP_BODY_LIMIT) && h->left > h->body_max - h->body_len)
		return http_fault(h, 413, "HTTP_BODY_LIMIT",
		    "the body is longer than is allowed here");
	h->phase = PH_CHUNK_DATA;
	return 0;
}

/* What ends a size, with or without extensions. */
static int
chunk_line_end(struct http *h, char c)
{
	if (c == '\r') {
		h->phase = PH_CHUNK_SIZE_LF;
		return 0;
	}
	if (RULE(HTTP_CHUNK_BARE_LF))
		return http_fault(h, 400, "HTTP_CHUNK_BARE_LF",
		    "a chunk's size ends in LF without CR");
	return chunk_begin(h);
}

static int
hex_digit(char c)
{
	if (http_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
chunk_size(struct http *h, char c)
{
	int d = hex_digit(c);

	if (h->digits == 0)
		h->left = 0;
	if (d >= 0) {
		/* leading zeros count too: else a size never ends */
		if (RULE(HTTP_CHUNK_OVERFLOW) &&
		    h->digits == HTTP_CHUNK_DIGITS_MAX)
			return http_fault(h, 400, "HTTP_CHUNK_OVERFLOW",
			    "a chunk's size has more than 16 digits");
		h->digits++;
		h->left = h->left << 4 | (uint64_t)d;
		return 0;
	}
	if (RULE(HTTP_CHUNK_EMPTY) && h->digits == 0 &&
	    (c == ';' || c == '\r' || c == '\n'))
		return http_fault(
		    h, 400, "HTTP_CHUNK_EMPTY", "a chunk has no size");
	if (c == '\r' || c == '\n')
		return chunk_line_end(h, c);
	if (c == ';') {
		h->phase = PH_CHUNK_EXT;
		return 0;
	}
	if (RULE(HTTP_CHUNK_SIZE))
		return http_fault(h, 400, "HTTP_CHUNK_SIZE",
		    "a chunk's size is not a hexadecimal number");
	return 0;
}

/* RFC 9112 7.1.1: unknown extensions are ignored, but not without end. */
static int
chunk_ext(struct http *h, char c)
{
	if (c == '\r' || c == '\n')
		return chunk_line_end(h, c);
	if (RULE(HTTP_CHUNK_EXT_BYTES) && (c == '\0' || http_is_ctl(c)))
		return http_fault(h, 400, "HTTP_CHUNK_EXT_BYTES",
		    "a control byte in a chunk's extension");
	if (RULE(HTTP_CHUNK_EXT_LONG) && ++h->ext_bytes > HTTP_CHUNK_EXT_MAX)
		return http_fault(h, 400, "HTTP_CHUNK_EXT_LONG",
		    "more than 256 bytes of chunk extensions");
	return 0;
}

static int
trailer_byte(struct http *h, char c)
{
	size_t len = 0, start = h->line;
	int r;

	if ((r = http_line_byte(h, c, &len)) <= 0)
		return r;
	if (len == 0) {
		h->phase = PH_DONE;
		return 0;
	}
	r = http_trailer_line(h, h->buf + start, len);
	h->used = start; /* dropped: the next one may have the room */
	return r;
}

static int
chunk_byte(struct http *h, char c)
{
	switch (h->phase) {
	case PH_CHUNK_SIZE:
		return chunk_size(h, c);
	case PH_CHUNK_EXT:
		return chunk_ext(h, c);
	case PH_CHUNK_SIZE_LF:
		if (RULE(HTTP_CHUNK_BARE_CR) && c != '\n')
			return http_fault(h, 400, "HTTP_CHUNK_BARE_CR",
			    "a CR in a chunk's size line");
		return chunk_begin(h);
	case PH_CHUNK_CR:
	case PH_CHUNK_LF:
		if (RULE(HTTP_CHUNK_END) &&
		    c != (h->phase == PH_CHUNK_CR ? '\r' : '\n'))
			return http_fault(h, 400, "HTTP_CHUNK_END",
			    "a chunk's data does not end where its size says");
		h->phase =
		    h->phase == PH_CHUNK_CR ? PH_CHUNK_LF : PH_CHUNK_SIZE;
		return 0;
	default:
		return trailer_byte(h, c);
	}
}

int
http_body_bytes(struct http *h, const uint8_t *p, size_t len, size_t *took)
{
	if (h->phase == PH_LENGTH || h->phase == PH_CLOSE ||
	    h->phase == PH_CHUNK_DATA)
		return data_bytes(h, p, len, took);
	*took = 1;
	return chunk_byte(h, (char)*p);
}
