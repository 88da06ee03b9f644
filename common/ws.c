#include <errno.h>
#include <sha1.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "common/util.h"
#include "common/ws.h"

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

static const char b64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* dst has room for 4 characters per 3 bytes begun, and a NUL. */
static void
b64_encode(char *dst, const uint8_t *src, size_t len)
{
	size_t i, n;

	for (i = 0; i < len; i += 3) {
		uint32_t v = 0;

		n = len - i < 3 ? len - i : 3;
		v |= (uint32_t)src[i] << 16;
		v |= n > 1 ? (uint32_t)src[i + 1] << 8 : 0;
		v |= n > 2 ? (uint32_t)src[i + 2] : 0;
		*dst++ = b64[v >> 18 & 63];
		*dst++ = b64[v >> 12 & 63];
		*dst++ = n > 1 ? b64[v >> 6 & 63] : '=';
		*dst++ = n > 2 ? b64[v & 63] : '=';
	}
	*dst = '\0';
}

/* 16 bytes in base64: 22 digits, the last with 4 bits of zero, and "==" */
static bool
is_key(const char *k)
{
	return strlen(k) == WS_KEY_LEN && strspn(k, b64) == WS_KEY_LEN - 2 &&
	    strchr("AQgw", k[WS_KEY_LEN - 3]) != NULL &&
	    strcmp(k + WS_KEY_LEN - 2, "==") == 0;
}

/* RFC 6455 4.2.2, step 5.4 */
static void
accept_of(const char *key, char accept[WS_ACCEPT_LEN + 1])
{
	uint8_t sum[SHA1_DIGEST_LENGTH];
	SHA1_CTX c;

	SHA1Init(&c);
	SHA1Update(&c, (const uint8_t *)key, strlen(key));
	SHA1Update(&c, (const uint8_t *)WS_GUID, strlen(WS_GUID));
	SHA1Final(sum, &c);
	b64_encode(accept, sum, sizeof(sum));
}

bool
ws_wanted(const struct http *h)
{
	return h->upgrade != NULL && http_list_has(h->upgrade, "websocket");
}

static void
judged(struct ws_answer *a, int status, const char *text)
{
	a->status = status;
	a->text = text;
}

/* The offer may be spread over several fields (RFC 6455 11.3.4). */
static bool
is_offered(const struct http *h, const char *protocol)
{
	size_t i;

	for (i = 0; i < h->nfields; i++) {
		if (strcasecmp(h->fields[i].name, "Sec-WebSocket-Protocol") ==
			0 &&
		    http_list_has(h->fields[i].value, protocol))
			return true;
	}
	return false;
}

static void
pick_protocol(const struct http *h, const char *const *protocols, bool require,
    struct ws_answer *a)
{
	for (; protocols != NULL && *protocols != NULL; protocols++) {
		if (is_offered(h, *protocols)) {
			a->protocol = *protocols;
			return;
		}
	}
	if (RULE(WS_PROTOCOL) && require)
		judged(
		    a, 400, "none of the WebSocket protocols is spoken here");
}

void
ws_judge(const struct http *h, const char *const *protocols, bool require,
    struct ws_answer *ret)
{
	const char *version = NULL, *key = NULL;

	memset(ret, 0, sizeof(*ret));
	judged(ret, 101, NULL);
	if (RULE(WS_METHOD) && h->method != HTTP_GET)
		return judged(ret, 400, "a WebSocket begins with GET");
	if (RULE(WS_UPGRADE) &&
	    (h->upgrade == NULL || strcasecmp(h->upgrade, "websocket") != 0))
		return judged(ret, 400, "this is not a WebSocket upgrade");
	if (RULE(WS_VERSION_13) &&
	    (http_get(h, "Sec-WebSocket-Version", &version) < 0 ||
		strcmp(version, WS_VERSION) != 0))
		return judged(ret, 426, "the WebSocket version here is 13");
	if (http_get(h, "Sec-WebSocket-Key", &key) < 0)
		return judged(ret, 400, "there is no one Sec-WebSocket-Key");
	if (RULE(WS_KEY) && !is_key(key))
		return judged(
		    ret, 400, "Sec-WebSocket-Key is not 16 bytes in base64");
	accept_of(key, ret->accept);
	pick_protocol(h, protocols, require, ret);
}

void
ws_out_answer(
    struct http_out *o, void *buf, size_t cap, const struct ws_answer *a)
{
	http_out_response(o, buf, cap, a->status);
	http_out_field(o, "Upgrade", "websocket");
	if (a->status != 101) {
		http_out_field(o, "Sec-WebSocket-Version", WS_VERSION);
		return;
	}
	http_out_field(o, "Connection", "Upgrade");
	http_out_field(o, "Sec-WebSocket-Accept", a->accept);
	if (a->protocol != NULL)
		http_out_field(o, "Sec-WebSocket-Protocol", a->protocol);
}

int
ws_key(char key[WS_KEY_LEN + 1])
{
	uint8_t raw[16];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -EIO;
	b64_encode(key, raw, sizeof(raw));
	return 0;
}

void
ws_out_request(struct http_out *o, void *buf, size_t cap, const char *target,
    const char *host, const char *key, const char *protocols)
{
	http_out_request(o, buf, cap, HTTP_GET, target, host);
	http_out_field(o, "Connection", "Upgrade");
	http_out_field(o, "Upgrade", "websocket");
	http_out_field(o, "Sec-WebSocket-Version", WS_VERSION);
	http_out_field(o, "Sec-WebSocket-Key", key);
	if (protocols != NULL)
		http_out_field(o, "Sec-WebSocket-Protocol", protocols);
}

/* RFC 6455 4.1, what a client must see before it believes the answer */
int
ws_confirm(const struct http *h, const char *key, const char *protocols,
    const char **protocol, struct err *e)
{
	char want[WS_ACCEPT_LEN + 1];
	const char *got = NULL, *proto = NULL;
	int r;

	if (h->status != 101)
		return err_set(e, -EPROTO, "the server answered %d %s",
		    h->status, h->reason);
	if (RULE(WS_C_UPGRADE) &&
	    (h->upgrade == NULL || strcasecmp(h->upgrade, "websocket") != 0))
		return err_set(
		    e, -EPROTO, "the server upgraded to something else");
	accept_of(key, want);
	if (RULE(WS_C_ACCEPT) &&
	    (http_get(h, "Sec-WebSocket-Accept", &got) < 0 ||
		strcmp(got, want) != 0))
		return err_set(e, -EPROTO, "the server did not answer our key");
	if (RULE(WS_C_EXTENSION) &&
	    http_get(h, "Sec-WebSocket-Extensions", &got) != -ENOENT)
		return err_set(e, -EPROTO,
		    "the server uses an extension that was not offered");
	r = http_get(h, "Sec-WebSocket-Protocol", &proto);
	if (RULE(WS_C_PROTOCOL) && r != -ENOENT &&
	    (r < 0 || protocols == NULL || !http_list_has(protocols, proto)))
		return err_set(e, -EPROTO,
		    "the server chose a protocol that was not offered");
	*protocol = proto;
	return 0;
}
