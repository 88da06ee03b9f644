#ifndef MEWS_WS_H
#define MEWS_WS_H

#include <stdbool.h>

#include "common/err.h"
#include "common/http.h"

/*
 * WebSocket's opening handshake (RFC 6455 4), both sides; the frames are
 * libwslay's.  Programs that use this link -lmd for SHA-1, which here only
 * shows that the other side read the request.
 */
#define WS_KEY_LEN 24 /* 16 bytes in base64 */
#define WS_ACCEPT_LEN 28 /* 20 bytes in base64 */
#define WS_VERSION "13"

struct ws_answer {
	int status; /* 101, 400, or 426: then Sec-WebSocket-Version goes too */
	const char *text; /* why not, for the error's body; NULL with 101 */
	const char *protocol; /* the server's own string, NULL for none */
	char accept[WS_ACCEPT_LEN + 1];
};

/* Does the request ask for a WebSocket, well or badly? Else it is plain. */
bool ws_wanted(const struct http *h);
/*
 * Server: judges a request whose head stands.  protocols ends in NULL and is
 * in the server's order of preference.  Where require is set, a client that
 * offers none of them is refused (400); else it gets none.
 * Origin is the caller's to judge.
 */
void ws_judge(const struct http *h, const char *const *protocols, bool require,
    struct ws_answer *ret);
/* Writes the answer's head for 101 or 426; http_out_end() is the caller's. */
void ws_out_answer(
    struct http_out *o, void *buf, size_t cap, const struct ws_answer *a);

/* Client: a fresh key.  0 or a negative errno. */
int ws_key(char key[WS_KEY_LEN + 1]);
/* protocols: what is offered, comma-separated, or NULL. */
void ws_out_request(struct http_out *o, void *buf, size_t cap,
    const char *target, const char *host, const char *key,
    const char *protocols);
/*
 * Client: did the server, whose head stands, answer this key?  0 and
 * *protocol (as the server wrote it, one of those offered; NULL for none),
 * or -EPROTO with e.
 */
int ws_confirm(const struct http *h, const char *key, const char *protocols,
    const char **protocol, struct err *e);

#endif
