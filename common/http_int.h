#ifndef MEWS_HTTP_INT_H
#define MEWS_HTTP_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http.h"

/* What common/http*.c share.  Nobody else includes this. */

/* The order matters: head, body, ended. */
enum http_phase {
	PH_START,
	PH_FIELDS,
	PH_LENGTH,
	PH_CLOSE,
	PH_CHUNK_SIZE,
	PH_CHUNK_EXT,
	PH_CHUNK_SIZE_LF,
	PH_CHUNK_DATA,
	PH_CHUNK_CR,
	PH_CHUNK_LF,
	PH_TRAILER,
	PH_DONE,
	PH_FAULT,
};

/* Ends the message; returns -EBADMSG. rule and text are literals. */
int http_fault(struct http *h, int status, const char *rule, const char *text);

/*
 * One byte of a line.  1: a whole line stands at buf + line, its CRLF
 * replaced by a NUL, *len long; the caller sets h->line for the next one.
 * 0: more.  Negative: fault.
 */
int http_line_byte(struct http *h, char c, size_t *len);

int http_request_line(struct http *h, char *line, size_t len);
int http_status_line(struct http *h, char *line, size_t len);
/* A field line of a head or, checked but dropped, of a trailer section. */
int http_field_line(struct http *h, char *line, size_t len);
int http_trailer_line(struct http *h, char *line, size_t len);
/* After the last field: what only the whole head shows. */
int http_head_check(struct http *h);
int http_body_bytes(struct http *h, const uint8_t *p, size_t len, size_t *took);

bool http_is_digit(char c);
bool http_is_alnum(char c);
/* A byte that no field value may hold (RFC 9110 5.5); NUL has its own rule */
bool http_is_ctl(char c);
/* Path or query (RFC 3986 3.3, 3.4): what may stand there as it is. */
bool http_is_target_char(char c);

#endif
