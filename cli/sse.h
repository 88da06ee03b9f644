#ifndef MEWS_CLI_SSE_H
#define MEWS_CLI_SSE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Server-sent events, read as the HTML standard's 9.2.6 says, but for its
 * replacing of ill-formed UTF-8: data is handed out as it came.
 */
#define SSE_DATA_MAX ((size_t)65536) /* of one event; also of one line */
#define SSE_ID_MAX 64

struct sse {
	int (*event)(void *arg, const char *data, size_t len);
	void *arg;
	char id[SSE_ID_MAX]; /* of the last event, "" for none */
	bool begun; /* a byte order mark can no longer come */
	bool cr; /* the last byte was CR: a LF belongs to it */
	bool has_data;
	size_t line_len, data_len;
	char line[SSE_DATA_MAX];
	char data[SSE_DATA_MAX + 1]; /* with its last LF */
};

void sse_init(
    struct sse *s, int (*event)(void *arg, const char *, size_t), void *arg);
/* After a reconnect: what was half said is forgotten, the id is not. */
void sse_again(struct sse *s);
/* 0, -EMSGSIZE, or what event() said. */
int sse_feed(struct sse *s, const char *p, size_t len);

#endif
