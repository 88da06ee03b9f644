#ifndef MEWS_CLI_WS_H
#define MEWS_CLI_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct err;

/*
 * A WebSocket to the API: connects, upgrades, then carries messages without
 * ever blocking; the caller polls.
 */
#define WSC_MESSAGE_MAX ((size_t)256 << 10) /* from the server */
#define WSC_QUEUE_MAX ((size_t)256 << 10) /* ours: no more stdin above it */
#define WSC_REASON_MAX 124 /* RFC 6455 5.5: 123 bytes and a NUL */

struct wsc;
/* Negative ends the connection and comes back from wsc_step(). */
typedef int wsc_message_fn(void *arg, const uint8_t *p, size_t len);

/*
 * Tries again for as long as api_call() would.  name is of the VM, for
 * errors.  0 or a negative errno with e; wsc_free(NULL) is fine.
 */
int wsc_open(struct cli *c, const char *target, const char *protocols,
    const char *name, wsc_message_fn *fn, void *arg, struct wsc **ret,
    struct err *e);
void wsc_free(struct wsc *w);

/* Queues a message made of two parts. 0 or -ENOMEM, -EMSGSIZE. */
int wsc_text(struct wsc *w, const void *p, size_t len);
int wsc_binary(struct wsc *w, const void *head, size_t head_len, const void *p,
    size_t len);
bool wsc_has_room(const struct wsc *w);

int wsc_fd(const struct wsc *w);
short wsc_events(const struct wsc *w);
/* Sends and receives what it can.  0, what fn said, or -EPROTO with e. */
int wsc_step(struct wsc *w, struct err *e);
/* Something that came with the answer waits to be stepped through. */
bool wsc_is_pending(const struct wsc *w);
/* No more will come. */
bool wsc_is_over(const struct wsc *w);
/* Close code of the server, 0 for none; reason is never NULL. */
int wsc_close_code(const struct wsc *w, const char **reason);

#endif
