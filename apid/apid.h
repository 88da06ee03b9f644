#ifndef MEWS_APID_APID_H
#define MEWS_APID_APID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "apid/outbuf.h"
#include "apid/request.h"
#include "common/frame.h"
#include "common/share.h"
#include "common/tree.h"
#include "proto/api.h"
#include "proto/boot_room.h"
#include "proto/chan.h"
#include "proto/orch.h"

struct chan;
struct event;
struct event_base;
struct jbuf;
struct msg;
struct ws;

/*
 * apid: the room that reads what strangers write, and may do nothing (I1).
 * orchd hands it connections; it makes of each HTTP request one message to
 * orchd, which knows who asks, and of the answer HTTP again.
 */
#define READ_MAX 16384 /* bytes taken from a socket at a time */
#define OUT_MAX (64UL * 1024) /* more waiting than this: its source rests */

/*
 * What callers share (common/share.h).  Of bytes conf.held_max, all callers
 * without a role STRANGERS_HELD; of questions to orchd that are not answered
 * ASKS_MAX, half of what the channel to it holds back.  Readers of events are
 * bounded by their bytes.
 */
#define ASKS_MAX (CHAN_QUEUE_MAX / 2)
#define STRANGERS_HELD (1024UL * 1024)

/* Deadlines, in milliseconds. */
#define HEAD_MS 10000 /* from the first byte of a request to its head's end */
#define BODY_MS 30000 /* from there to the body's end */
#define OPEN_MS 15000 /* until the VM's side of a stream has answered */
#define STRANGER_MS 3000 /* any of these, for a caller without a role */
#define LINGER_MS 1000 /* reading on after an early answer */
#define CLOSE_MS 2000 /* a WebSocket's closing handshake */
#define BEAT_MS 15000 /* server-sent events: a sign of life */
#define ALONE_MS 15000 /* without orchd: then mewsd starts both anew */

enum client_phase {
	CP_IDLE, /* between requests */
	CP_HEAD,
	CP_BODY,
	CP_ASK, /* orchd has the question */
	CP_OPEN, /* the stream is here, its first frame is not */
	CP_ANSWER, /* what is left of the answer is being written */
	CP_EVENTS, /* server-sent events */
	CP_LOG, /* bytes of a stream as chunks */
	CP_WS, /* a WebSocket */
	CP_LINGER, /* answered early: what still comes is dropped */
	CP_DEAD, /* closed; freed when no callback uses it */
};

/* The socket that leads to a VM's warden. */
struct stream {
	struct client *c;
	int fd;
	struct event *rd;
	struct event *wr;
	struct outbuf up; /* towards the VM: OUT_MAX and a message */
	bool opened; /* the first frame came */
	bool asked; /* the first frame went */
	bool takes_signals; /* exec: its warden and agent do */
	bool has_status; /* exec: the last word was said; file: all of it */
	const char *newer; /* exec: what guests of before refuse */
	size_t asks; /* bytes counted for its request */
	size_t nfirst;
	uint8_t first[FRAME_HEAD_LEN + 1024]; /* FRAME_OPENED */
	struct frame_dec dec;
};

struct client {
	RB_ENTRY(client) by_id;
	STAILQ_ENTRY(client) dead;
	struct apid *apid;
	uint64_t id; /* orchd's: never reused */
	enum api_role role; /* orchd said */
	struct share_who who;
	int fd;
	enum client_phase phase;
	struct event *rd;
	struct event *wr;
	struct event *timer;
	struct event *stall; /* pending while output waits for the client */
	uint8_t *in; /* READ_MAX bytes, or NULL while there are none */
	size_t in_off;
	size_t in_len;
	struct outbuf out; /* an answer, or OUT_MAX and a message */
	struct http *http; /* only while a request is being read */
	struct request q;
	struct stream *stream;
	struct ws *ws;
	uint64_t ask; /* message id that orchd has not answered; 0: none */
	uint64_t after; /* EVENTS: the last number that was sent */
	uint64_t began_ms;
	size_t held; /* its part of apid.held or .strangers */
	bool is_asking; /* it has one of apid.asks */
	bool stalls; /* .stall is pending */
	bool reads; /* there is use for more input */
	bool keep; /* the connection goes on after the answer */
	bool no_body; /* HEAD: the answer's head only */
	bool linger; /* part of the request may still come */
};
RB_HEAD(client_tree, client);
STAILQ_HEAD(client_list, client);

/*
 * What the floors above make of a connection: client.c calls them by this
 * table, which main() gives it.
 */
struct client_ops {
	/* One step; true when it may have made another possible. */
	bool (*step)(struct client *c);
	/* None is: is there use for more input? */
	bool (*rest)(struct client *c);
	void (*eof)(struct client *c); /* no more input comes */
	void (*late)(struct client *c); /* its deadline came */
	void (*lost)(struct client *c); /* orchd ended; a drop follows */
	void (*dropped)(struct client *c); /* it is being closed */
	void (*freed)(struct client *c); /* what hangs on it goes */
};

/* What a WebSocket's messages and its end mean. */
struct ws_ops {
	void (*message)(struct client *c, bool text, const void *p, size_t len);
	/* A message is longer than may be: ws_set_max(), or it is too long.
	 * NULL: it is. */
	void (*grows)(struct client *c);
	/* From here on no message comes or goes. */
	void (*ending)(struct client *c);
};

struct apid {
	struct boot_common boot;
	struct apid_conf conf;
	struct event_base *base;
	const struct client_ops *client_ops;
	struct event *sigterm;
	struct event *reaper; /* frees the dead */
	struct event *alone; /* orchd is gone for too long */
	struct boot_room mewsd; /* descriptor 3 */
	struct chan *parent; /* its channel */
	struct chan *orchd; /* NULL: gone */
	struct client_tree clients; /* conf.max_conns */
	struct client_list dead; /* until the loop's next turn */
	unsigned int nclients;
	uint64_t last_ask;
	struct share held; /* bytes, of callers with a role */
	struct share strangers; /* bytes, of all others */
	struct share asks; /* questions to orchd */
	bool divided; /* both, among tenants: as orchd said last */
	int status; /* what the process exits with */
};

/*
 * The floors, from the ground; a file calls downwards (tests/circles).
 * Below these: outbuf.c, doc.c, route.c, request.c, openapi.c.
 */

/* confine.c */
void apid_confine(const struct boot_common *bc);
void apid_filter(void);

/* client.c: connections.  client_new takes fd. 0 or a negative errno. */
int client_new(struct apid *a, const struct api_caller *who, int fd);
/* What is shared, shared out; and its end. */
void client_share(struct apid *a);
void client_unshare(struct apid *a);
struct client *client_find(struct apid *a, uint64_t id);
/* Closes it now; tell: orchd hears of it. c may be used until the loop. */
void client_drop(struct client *c, bool tell);
/* orchd's life ended, and every identity with it. */
void client_drop_all(struct apid *a);
void client_reap(struct apid *a);
/* Whatever happened to c: goes on as far as it goes without waiting. */
void client_run(struct client *c);
/* 0: none. */
void client_deadline(struct client *c, uint32_t ms);
/* The parser's memory, while nothing is to be parsed; input's; all held. */
void client_http_free(struct client *c);
void client_in_free(struct client *c);
void client_release(struct client *c);
/* Counts n more bytes for c; false: its caller has too many already. */
bool client_hold(struct client *c, size_t n);
/* So many of them are free again. */
void client_let_go(struct client *c, size_t n);
/* Counts a question of c to orchd, once, until it is answered; likewise. */
bool client_ask(struct client *c);
void client_answered(struct client *c);
/* Adds to what goes out; on failure c is dropped.  0 or -ENOMEM. */
int client_put(struct client *c, const void *p, size_t n);
/* Room for the source of c's output to go on? */
bool client_has_room(const struct client *c);
/* What ps shows. */
void client_title(const struct apid *a);

/* answer.c: each ends in CP_ANSWER, answer_chunked() in the phase p. */
void answer_error(struct client *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Why client_hold() refused, for a person. */
void answer_held_text(const struct client *c, char *text, size_t len);
/* Of a call that was passed on, with 502: clients repeat what is 503. */
#define MAYBE_DONE "it may have been done: look before you ask again"
/* 503: what client_hold(), client_ask() refused. */
void answer_held(struct client *c);
void answer_asks(struct client *c);
void answer_refusal(struct client *c, const struct refusal *no);
/* total: X-Total-Count, -1 for none. */
void answer_json(
    struct client *c, int status, const struct jbuf *b, int64_t total);
void answer_empty(struct client *c, int status);
void answer_chunked(struct client *c, const char *type, enum client_phase p);
/* One chunk; the last one is answer_last(). */
int answer_chunk(struct client *c, const void *p, size_t n);
void answer_last(struct client *c);
/*
 * The line in the access log; the query may hold what is nobody's business.
 * Status 499: the caller left before there was an answer.
 */
void answer_log(const struct client *c, int status);

/* ws.c: WebSocket frames of one client. */
/* Answers the handshake: CP_WS.  max: of a message, EXEC_REQUEST_MAX at most.
 */
void ws_upgrade(struct client *c, size_t max, const struct ws_ops *ops);
void ws_set_max(struct ws *w, size_t max);
/* NULL is fine. */
void ws_free(struct ws *w);
void ws_input(struct client *c);
/* One binary message; channel -1: none in front. */
void ws_send(struct client *c, int channel, const void *p, size_t n);
void ws_close(struct client *c, uint16_t code);
/* Moves what is queued; true when the WebSocket has ended. */
bool ws_flush(struct client *c);
bool ws_reads(const struct ws *w);
/* The deadline of its phase came. */
void ws_late(struct client *c);

/*
 * stream.c: exec, console, console log.  An exec's request is the client's
 * first WebSocket message, a text message of at most EXEC_REQUEST_MAX bytes
 * (I11: env has no place in a URL, which ends in logs).  After it come
 * binary messages, one byte of channel and the data: 0 stdin and 4 the
 * terminal's size from the client, 1 stdout, 2 stderr and 3 the status from
 * the VM; 255 and a channel's number ends that channel.  What is wrong
 * before the upgrade is an HTTP answer, what is wrong after it a status.
 */
#define EXEC_REQUEST_MAX (512UL * 1024)
#define WS_MESSAGE_MAX (FRAME_PAYLOAD_MAX + 1) /* with its channel */
/* What one may hold: a frame, a message, and what waits in both directions. */
#define STREAM_HELD (576UL * 1024)
/* Of a request up to so long that is enough.  A longer one holds more, until it
 * is answered: what comes, and what is on its way to the VM. */
#define EXEC_REQUEST_SHORT (128UL * 1024)
#define EXEC_ASK_HELD (640UL * 1024)
/* Takes fd. */
void stream_start(struct client *c, int fd);
/* NULL is fine.  No more bytes either way; the memory stays. */
void stream_close(struct stream *s);
void stream_free(struct stream *s);
/* Sends what the VM's side takes, and reads on where the client has room. */
void stream_update(struct stream *s);

/* ask.c: questions to orchd and its answers. */
void ask_request(struct client *c);
void ask_events(struct client *c);
int ask_on_res(void *arg, struct chan *chan, struct msg *m);

/* serve.c: what a connection's bytes, silence and end lead to. */
extern const struct client_ops serve_ops;

/* dispatch.c */
extern const struct boot_calls boot_calls;
extern const struct chan_ops orchd_ops;
void dispatch_on_alone(int fd, short what, void *arg);

#endif
