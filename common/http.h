#ifndef MEWS_HTTP_H
#define MEWS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A strict HTTP/1.1 parser (RFC 9110, RFC 9112), without I/O: the caller
 * feeds bytes in whatever pieces they come, and every split of the same
 * bytes gives the same events.  Nothing allocates; what it hands out are
 * views into the parser's own buffer, good until http_next() or another
 * http_*_init().
 *
 * Strict means: where the RFCs let a recipient repair, guess or be lenient,
 * the message is refused.  Two parsers on one connection can then not
 * disagree about where a message ends.
 */
#define HTTP_LINE_MAX 4096 /* request or status line, without CRLF */
#define HTTP_FIELDS_MAX 64
#define HTTP_FIELD_BYTES_MAX 16384 /* the whole section, with its CRLFs */
#define HTTP_TRAILERS_MAX 16
#define HTTP_TRAILER_BYTES_MAX 1024
#define HTTP_CHUNK_DIGITS_MAX 16
#define HTTP_CHUNK_EXT_MAX 256 /* bytes of extensions in one message */
#define HTTP_BUF_MAX \
	(HTTP_LINE_MAX + HTTP_FIELD_BYTES_MAX + HTTP_TRAILER_BYTES_MAX + 8)

enum http_method {
	HTTP_OTHER, /* only on responses */
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_OPTIONS,
};

/* What a feed came to. */
enum http_ev {
	HTTP_EV_MORE, /* all bytes taken, the message goes on */
	HTTP_EV_HEAD, /* once a message: the head stands, the body follows */
	HTTP_EV_DONE, /* the message ended exactly after *used bytes */
	HTTP_EV_FAULT, /* see fault_*; answer, then close: no resync */
};

enum http_framing {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_CLOSE, /* responses: until the connection ends */
};

struct http_field {
	const char *name; /* as sent; compare without case */
	const char *value; /* without surrounding white space */
	size_t name_len;
	size_t value_len;
};

/*
 * Where decoded body bytes go.  Negative stops the message with a fault.
 * A sink without a function drops them.
 */
struct http_sink {
	int (*write)(void *arg, const void *data, size_t len);
	void *arg;
};

/* A ready-made bounded sink: http_buf_write, -EMSGSIZE when it is full. */
struct http_buf {
	uint8_t *p;
	size_t cap;
	size_t used;
};
int http_buf_write(void *buf, const void *data, size_t len);

/* Flags for a response parser: what was asked for. */
#define HTTP_TO_HEAD 0x1U /* the request was HEAD: no body comes */
#define HTTP_TO_UPGRADE 0x2U /* 101 is welcome; otherwise a fault */
/* Request parser, set in flags after its init: an Upgrade may come with a
 * body, which ends before the new protocol begins (warden to agent). */
#define HTTP_OK_UPGRADE_BODY 0x8U
#define HTTP_OK_10 0x4U /* foreign server: HTTP/1.0 answers pass too */

struct http {
	/* set by HTTP_EV_HEAD */
	enum http_method method;
	const char *path; /* raw, begins with '/', without the query */
	const char *query; /* raw, NULL without '?' */
	const char *host;
	int status; /* responses; 1xx but 101: another head will follow */
	const char *reason;
	int minor; /* of the version: 1, or 0 with HTTP_OK_10 */
	size_t nfields;
	struct http_field fields[HTTP_FIELDS_MAX];
	enum http_framing framing;
	uint64_t content_length; /* as said; also on answers to HEAD, on 304 */
	bool keep_alive;
	bool expect_continue; /* the client waits for 100 before its body */
	/* Upgrade's value where Connection names it too; else NULL.  On an
	 * upgraded connection the bytes after HTTP_EV_DONE are the caller's. */
	const char *upgrade;
	uint64_t body_len; /* decoded so far */

	/* set by HTTP_EV_FAULT */
	int fault_status; /* what to answer; 502 from a response parser */
	const char *fault_rule; /* which rule, for logs and tests */
	const char *fault_text; /* one line for a person */

	/* the parser's own */
	struct http_sink sink;
	uint64_t body_max;
	uint64_t left; /* of the body, or of the chunk */
	unsigned int flags;
	int phase;
	bool response;
	bool cr; /* the last byte was CR */
	bool has_length;
	bool has_te;
	bool says_close;
	bool says_upgrade;
	const char *upgrade_value;
	size_t line; /* where the current line starts in buf */
	size_t used;
	size_t section; /* bytes of the field or trailer section */
	size_t ntrailers;
	size_t ext_bytes;
	unsigned int digits;
	char buf[HTTP_BUF_MAX];
};

/* body_max: a longer body is a fault (413). */
void http_request_init(
    struct http *h, uint64_t body_max, const struct http_sink *sink);
void http_response_init(struct http *h, uint64_t body_max, unsigned int flags,
    const struct http_sink *sink);
/* Ready for the next message of the connection, same limits and sink. */
void http_next(struct http *h);

/*
 * Takes bytes until an event.  *used is how many of them belong to this
 * message.  After HTTP_EV_HEAD call again, with no bytes too: that is how a
 * message without a body comes to HTTP_EV_DONE.
 */
enum http_ev http_feed(
    struct http *h, const void *data, size_t len, size_t *used);
/* The peer closed: ends a body of HTTP_BODY_CLOSE, else it is a fault. */
enum http_ev http_eof(struct http *h);

/* 0 and *ret, -ENOENT, or -EEXIST where the field came more than once. */
int http_get(const struct http *h, const char *name, const char **ret);
/* Is token an element of the comma-separated list? Compared without case. */
bool http_list_has(const char *list, const char *token);
/* RFC 9110 5.6.2: letters, digits and !#$%&'*+-.^_`|~ */
bool http_is_tchar(char c);

const char *http_method_name(enum http_method m);
/* The standard's phrase, "Unknown" for a code it does not name. */
const char *http_reason(int status);

/*
 * Writing a head into a fixed buffer.  A bad name, value or target writes
 * nothing and sticks, so it is enough to look at http_out_end(): 0 and the
 * length, -EINVAL (would have broken the head), -EMSGSIZE (no room).
 */
struct http_out {
	char *p;
	size_t cap;
	size_t used;
	int bad;
};

void http_out_response(struct http_out *o, void *buf, size_t cap, int status);
/* target as it goes on the wire: origin-form, already percent-encoded */
void http_out_request(struct http_out *o, void *buf, size_t cap,
    enum http_method m, const char *target, const char *host);
void http_out_field(struct http_out *o, const char *name, const char *value);
void http_out_field_u64(struct http_out *o, const char *name, uint64_t v);
int http_out_end(struct http_out *o, size_t *len);

/* "1f4\r\n" before a chunk's data; after it comes "\r\n".  Returns the
 * length.  len is at least 1: an empty chunk would end the body. */
#define HTTP_CHUNK_HEAD_MAX 20
size_t http_chunk_head(char buf[HTTP_CHUNK_HEAD_MAX], size_t len);
#define HTTP_CHUNK_LAST "0\r\n\r\n"

#endif
