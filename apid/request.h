#ifndef MEWS_APID_REQUEST_H
#define MEWS_APID_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "apid/route.h"
#include "common/ws.h"
#include "proto/api.h"
#include "proto/jbuf.h"

/*
 * From an HTTP request to the one message it becomes, without I/O: what is
 * refused here never reaches orchd (I10).
 */
struct request {
	const struct route *route; /* NULL before request_head() */
	struct api_req req; /* conn is the caller's to fill in */
	struct ws_answer ws; /* EXEC, CONSOLE: the handshake to answer */
	struct jbuf body;
	size_t body_len; /* also of a body that nobody wants */
	uint8_t *tail; /* what follows req: the packed document */
	size_t tail_len;
	struct jbuf call; /* CALL: what the VM is asked, once there is a way */
	uint32_t more_ms; /* of its route */
};

/* A refusal, and what its answer carries beside the text. */
struct refusal {
	int status;
	char text[256];
	char allow[ROUTE_ALLOW_MAX]; /* 405 */
	char location[HTTP_LINE_MAX + 2]; /* 301, 307 */
};

/* The name under which WebSocket exec is offered. */
#define EXEC_PROTOCOL "v5.channel.k8s.io"

void request_init(struct request *q);
void request_clear(struct request *q);
/* It is on its way: what was only for that goes. */
void request_sent(struct request *q);
/* After HTTP_EV_HEAD.  0, or -EINVAL with the refusal. */
int request_head(struct request *q, const struct route_table *routes,
    const struct http *h, struct refusal *no);
/* The parser's sink: keeps what the route wants, refuses what is too long. */
int request_write(void *q, const void *data, size_t len);
/* After HTTP_EV_DONE: the body becomes the message's tail. */
int request_done(struct request *q, struct refusal *no);

int request_refuse(struct refusal *no, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
