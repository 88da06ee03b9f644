#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "common/ws.h"
#include "tests/suite/t.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455 1.3's example */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GET "GET /x HTTP/1.1\r\nHost: a\r\n"
#define UP "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define WSKEY "Sec-WebSocket-Key: " KEY "\r\n"
#define PROTO "Sec-WebSocket-Protocol: "
#define V5 "v5.channel.k8s.io"
#define S101 "HTTP/1.1 101 Switching Protocols\r\n"
#define ACC "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static struct http h;

static enum http_ev
head(const char *in, bool response)
{
	size_t used;

	if (response)
		http_response_init(&h, 0, HTTP_TO_UPGRADE, NULL);
	else
		http_request_init(&h, 0, NULL);
	return http_feed(&h, in, strlen(in), &used);
}

static const struct {
	const char *name, *in, *protocol;
	int status;
	bool require;
} rows[] = {
	{ "the example", GET UP V13 WSKEY, NULL, 101, false },
	{ "WebSocket in capitals",
	    GET "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n" V13
		WSKEY,
	    NULL, 101, false },
	{ "protocol chosen", GET UP V13 WSKEY PROTO "x, " V5 "\r\n", V5, 101,
	    true },
	{ "our order counts", GET UP V13 WSKEY PROTO "v4, " V5 "\r\n", V5, 101,
	    true },
	{ "second choice", GET UP V13 WSKEY PROTO "v4\r\n", "v4", 101, true },
	{ "offer in two fields", GET UP V13 WSKEY PROTO "x\r\n" PROTO V5 "\r\n",
	    V5, 101, true },
	{ "none fits, none is needed", GET UP V13 WSKEY PROTO "x\r\n", NULL,
	    101, false },
	{ "WS_PROTOCOL: none fits", GET UP V13 WSKEY PROTO "x\r\n", NULL, 400,
	    true },
	{ "WS_PROTOCOL: none offered", GET UP V13 WSKEY, NULL, 400, true },
	{ "WS_METHOD", "POST /x HTTP/1.1\r\nHost: a\r\n" UP V13 WSKEY, NULL,
	    400, false },
	{ "WS_UPGRADE: none", GET V13 WSKEY, NULL, 400, false },
	{ "WS_UPGRADE: no Connection", GET "Upgrade: websocket\r\n" V13 WSKEY,
	    NULL, 400, false },
	{ "WS_UPGRADE: another",
	    GET "Connection: Upgrade\r\nUpgrade: h2c\r\n" V13 WSKEY, NULL, 400,
	    false },
	{ "WS_VERSION_13: none", GET UP WSKEY, NULL, 426, false },
	{ "WS_VERSION_13: 8", GET UP WSKEY "Sec-WebSocket-Version: 8\r\n", NULL,
	    426, false },
	{ "WS_VERSION_13: two", GET UP WSKEY V13 V13, NULL, 426, false },
	{ "no key", GET UP V13, NULL, 400, false },
	{ "two keys", GET UP V13 WSKEY WSKEY, NULL, 400, false },
	{ "WS_KEY: short", GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
	    NULL, 400, false },
	{ "WS_KEY: long", GET UP V13 "Sec-WebSocket-Key: " KEY "=\r\n", NULL,
	    400, false },
	{ "WS_KEY: not base64",
	    GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n", NULL,
	    400, false },
	{ "WS_KEY: spare bits",
	    GET UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", NULL,
	    400, false },
	{ "WS_KEY: empty", GET UP V13 "Sec-WebSocket-Key:\r\n", NULL, 400,
	    false },
};

static void
test_judge(void)
{
	static const char *const protocols[] = { V5, "v4", NULL };
	struct ws_answer a;
	char in[1024];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		(void)snprintf(in, sizeof(in), "%s\r\n", rows[i].in);
		t_eq(head(in, false), HTTP_EV_HEAD);
		ws_judge(&h, protocols, rows[i].require, &a);
		t_eq(a.status, rows[i].status);
		t_str(a.protocol, rows[i].protocol);
		t_eq(a.text == NULL, a.status == 101);
		if (a.status == 101)
			t_str(a.accept, ACCEPT);
	}
}

static void
test_wanted(void)
{
	t_eq(head(GET UP "\r\n", false), HTTP_EV_HEAD);
	t_true(ws_wanted(&h));
	t_eq(head(GET "\r\n", false), HTTP_EV_HEAD);
	t_true(!ws_wanted(&h));
}

static const struct {
	const char *name, *in;
	int r;
	const char *protocol;
} confirms[] = {
	{ "plain", S101 UP ACC, 0, NULL },
	{ "with protocol", S101 UP ACC PROTO V5 "\r\n", 0, V5 },
	{ "not 101", "HTTP/1.1 404 Not Found\r\n" UP ACC, -EPROTO, NULL },
	{ "WS_C_UPGRADE", S101 "Connection: upgrade\r\nUpgrade: h2c\r\n" ACC,
	    -EPROTO, NULL },
	{ "WS_C_ACCEPT: none", S101 UP, -EPROTO, NULL },
	{ "WS_C_ACCEPT: another's",
	    S101 UP "Sec-WebSocket-Accept: t3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
	    -EPROTO, NULL },
	{ "WS_C_ACCEPT: two", S101 UP ACC ACC, -EPROTO, NULL },
	{ "WS_C_PROTOCOL: not offered", S101 UP ACC PROTO "x\r\n", -EPROTO,
	    NULL },
	{ "WS_C_PROTOCOL: two", S101 UP ACC PROTO V5 "\r\n" PROTO V5 "\r\n",
	    -EPROTO, NULL },
	{ "WS_C_EXTENSION",
	    S101 UP ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n",
	    -EPROTO, NULL },
};

static void
test_confirm(void)
{
	char in[1024];
	size_t i;

	for (i = 0; i < nitems(confirms); i++) {
		const char *proto = NULL;
		struct err e = { 0 };

		t_row(confirms[i].name);
		(void)snprintf(in, sizeof(in), "%s\r\n", confirms[i].in);
		t_eq(head(in, true), HTTP_EV_HEAD);
		t_eq(ws_confirm(&h, KEY, "v4, " V5, &proto, &e), confirms[i].r);
		t_str(proto, confirms[i].protocol);
		t_eq(e.msg[0] != '\0', confirms[i].r < 0);
	}
}

/* Both sides of ours, through the parser, with a fresh key. */
static void
test_round_trip(void)
{
	static const char *const protocols[] = { V5, NULL };
	char key[WS_KEY_LEN + 1], other[WS_KEY_LEN + 1], buf[1024];
	const char *proto = NULL;
	struct ws_answer a;
	struct http_out o;
	size_t len = 0;
	struct err e;

	t_eq(ws_key(key), 0);
	t_eq(ws_key(other), 0);
	t_true(strcmp(key, other) != 0);
	ws_out_request(&o, buf, sizeof(buf) - 1, "/exec?a=b", "h", key, V5);
	t_eq(http_out_end(&o, &len), 0);
	buf[len] = '\0';
	t_eq(head(buf, false), HTTP_EV_HEAD);
	ws_judge(&h, protocols, true, &a);
	t_eq(a.status, 101);
	ws_out_answer(&o, buf, sizeof(buf) - 1, &a);
	t_eq(http_out_end(&o, &len), 0);
	buf[len] = '\0';
	t_eq(head(buf, true), HTTP_EV_HEAD);
	t_eq(ws_confirm(&h, key, V5, &proto, &e), 0);
	t_str(proto, V5);
	t_eq(ws_confirm(&h, other, V5, &proto, &e), -EPROTO);
}

static void
test_426_says_which(void)
{
	struct ws_answer a = { .status = 426 };
	struct http_out o;
	char buf[256];
	size_t len = 0;

	ws_out_answer(&o, buf, sizeof(buf) - 1, &a);
	t_eq(http_out_end(&o, &len), 0);
	buf[len] = '\0';
	t_true(strstr(buf, "Sec-WebSocket-Version: 13\r\n") != NULL);
	t_true(strstr(buf, "Accept") == NULL);
}

const struct t_case t_cases[] = { { "judge", test_judge },
	{ "wanted", test_wanted }, { "confirm", test_confirm },
	{ "round trip", test_round_trip },
	{ "426 says which", test_426_says_which }, { NULL, NULL } };
