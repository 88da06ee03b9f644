#!/usr/bin/env python3
"""apid alone: what it refuses before orchd hears of it.

usage: apid_refuses_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls
"""
import json
import sys

from players import *  # noqa: F403


# --- what is refused: rule, bytes, status, a word of the error ---

REFUSED = [
    ("smuggling: length and chunked", (BASE + "Content-Length: 4\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode(), 400, ""),
    ("smuggling: chunked and length", (BASE + "Transfer-Encoding: chunked\r\n"
     "Content-Length: 4\r\n\r\n0\r\n\r\n").encode(), 400, ""),
    ("smuggling: two lengths", (BASE + "Content-Length: 4\r\n"
     "Content-Length: 5\r\n\r\n{}   ").encode(), 400, ""),
    ("smuggling: length list", (BASE + "Content-Length: 2, 2\r\n\r\n{}"
                                ).encode(), 400, ""),
    ("smuggling: signed length", (BASE + "Content-Length: +2\r\n\r\n{}"
                                  ).encode(), 400, ""),
    ("smuggling: space before colon", (BASE + "Content-Length : 2\r\n\r\n{}"
                                       ).encode(), 400, ""),
    ("smuggling: folded field", (BASE + "X: a\r\n b\r\n\r\n").encode(), 400,
     ""),
    ("smuggling: other coding", (BASE + "Transfer-Encoding: gzip\r\n\r\n"
                                 ).encode(), 501, ""),
    ("smuggling: chunked twice", (BASE + "Transfer-Encoding: chunked, "
                                  "chunked\r\n\r\n0\r\n\r\n").encode(), 501,
     ""),
    ("chunk: no number", (BASE + "Transfer-Encoding: chunked\r\n\r\nx\r\n"
                          ).encode(), 400, ""),
    ("chunk: bare LF", (BASE + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n"
                        "0\r\n\r\n").encode(), 400, ""),
    ("chunk: data longer than said", (BASE + "Transfer-Encoding: chunked\r\n"
     "\r\n1\r\n{}\r\n0\r\n\r\n").encode(), 400, ""),
    ("chunk: size past 64 bits", (BASE + "Transfer-Encoding: chunked\r\n\r\n"
     "fffffffffffffffff\r\n").encode(), 400, ""),
    ("chunk: past the limit", (BASE + "Transfer-Encoding: chunked\r\n\r\n"
     "40001\r\n").encode(), 413, ""),
    ("bare LF", b"GET /healthz HTTP/1.1\nHost: m\n\n", 400, "LF"),
    ("bare CR", b"GET /healthz HTTP/1.1\rHost: m\r\n\r\n", 400, ""),
    ("NUL in a field", b"GET /healthz HTTP/1.1\r\nHost: m\r\nX: a\0b\r\n\r\n",
     400, ""),
    ("HTTP/1.0", b"GET /healthz HTTP/1.0\r\nHost: m\r\n\r\n", 505, ""),
    ("HTTP/2.0 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00", 400, ""),
    ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n", 400, ""),
    ("two Hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400,
     ""),
    ("absolute form", b"GET http://m/healthz HTTP/1.1\r\nHost: m\r\n\r\n",
     501, ""),
    ("asterisk form", b"OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n", 501, ""),
    ("CONNECT", b"CONNECT m:80 HTTP/1.1\r\nHost: m\r\n\r\n", 501, ""),
    ("unknown method", req("BREW /healthz"), 501, ""),
    ("line too long", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n", 414, ""),
    ("head too long", b"GET /healthz HTTP/1.1\r\nHost: m\r\n"
     + b"".join(b"X%d: %s\r\n" % (i, b"a" * 3000) for i in range(8)), 431,
     ""),
    ("too many fields", req("GET /healthz", *["X%d: a" % i for i in
                                              range(70)]), 431, ""),
    ("body too long, said", (BASE + "Content-Length: 262145\r\n\r\n"
                             ).encode(), 413, "262144"),
    ("body too long where none is wanted", req(
        "POST /api/v1/vms/web/stop", "Content-Length: 5000"), 413, "4096"),
    ("body too long, chunked, where none is wanted", req(
        "DELETE /api/v1/vms/web", "Transfer-Encoding: chunked",
        body=b"1001\r\n" + b"a" * 4097 + b"\r\n0\r\n\r\n"), 413, ""),
    ("Expect of something else", req("POST /api/v1/vms", "Expect: tea",
                                     "Content-Length: 2"), 417, ""),
    ("unknown path", req("GET /api/v2/vms"), 404, "no such path"),
    ("root", req("GET /"), 404, "no such path"),
    ("path below a leaf", req("GET /healthz/x"), 404, "no such path"),
    ("path is case-sensitive", req("GET /API/v1/vms"), 404, ""),
    ("slash in a path that is not known", req("GET /api/v1/"), 404, ""),
    ("dot segments", req("GET /api/v1/../v1/vms"), 400, ".."),
    ("dot segments, encoded", req("GET /api/v1/%2e%2e/vms"), 400, ".."),
    ("empty segment", req("GET /api//v1/vms"), 400, "empty"),
    ("bad escape", name_get("a%2"), 400, "hex"),
    ("name: slash", name_get("a%2Fb"), 404, "vm not found"),
    ("name: dot dot inside", name_get("a..b"), 404, "vm not found"),
    ("name: leading dot", name_get(".a"), 404, "vm not found"),
    ("name: NUL", name_get("a%00b"), 400, "%00"),
    ("name: newline", name_get("a%0ab"), 400, "control"),
    ("name: space", name_get("a%20b"), 404, "vm not found"),
    ("name: space, encoded twice", name_get("a%2520b"), 404, "vm not found"),
    ("name: 300 characters", name_get("a" * 300), 404, "vm not found"),
    ("name: 64 characters", name_get("a" * 64), 404, "vm not found"),
    ("name: UTF-8", name_get("%c3%a9"), 404, "vm not found"),
    ("name: 16 upper-case digits past hex", name_get("0123456789abcdeg-"),
     404, "vm not found"),
    ("name in a WebSocket path", ws_request("/ws/v1/vms/a%2Fb/console"), 404,
     "vm not found"),
    ("wrong method: PATCH on a list", req("PATCH /api/v1/vms"), 405, "PATCH"),
    ("wrong method: DELETE on healthz", req("DELETE /healthz"), 405, ""),
    ("wrong method: GET on start", req("GET /api/v1/vms/web/start"), 405, ""),
    ("wrong method: POST on events", req("POST /api/v1/events/vms"), 405, ""),
    ("wrong method: OPTIONS", req("OPTIONS /api/v1/vms"), 405, ""),
    ("query: limit", req("GET /api/v1/vms?limit=x"), 400, "invalid limit"),
    ("query: negative limit", req("GET /api/v1/vms?limit=-1"), 400,
     "invalid limit"),
    ("query: limit past 31 bits", req("GET /api/v1/vms?limit=2147483648"),
     400, "invalid limit"),
    ("query: offset", req("GET /api/v1/vms?offset=1k"), 400,
     "invalid offset"),
    ("query: text too long", req("GET /api/v1/vms?q=" + "a" * 200), 400, "q"),
    ("query: not UTF-8", req("GET /api/v1/vms?q=%ff"), 400, "q"),
    ("query: NUL", req("GET /api/v1/vms?q=a%00"), 400, "%00"),
    ("query: semicolon", req("GET /api/v1/vms?limit=1;offset=2"), 400, ";"),
    ("query: too many", req("GET /api/v1/vms?" + "&".join(
        "a=%d" % i for i in range(40))), 414, "too many"),
    ("query: follow", req("GET /api/v1/vms/web/console-log?follow=maybe"),
     400, "follow"),
    ("query: follow twice", req(
        "GET /api/v1/vms/web/console-log?follow=1&follow=0"), 400, "follow"),
    ("query: since", req("GET /api/v1/vms/web/console-log?since=5x"), 400,
     "invalid since: it is how long ago (90s, 10m, 1h30m, 2d) or a time "
     "(2026-11-29T07:30:00Z, or with +01:00 instead of the Z)"),
    ("query: since nothing", req("GET /api/v1/vms/web/vmm-log?since="), 400,
     "invalid since"),
    ("query: since twice", req(
        "GET /api/v1/vms/web/vmm-log?since=1m&since=2m"), 400,
     "invalid since: one only"),
    ("query: since a time to come", req(
        "GET /api/v1/vms/web/vmm-log?since=2261-01-01T00:00:00Z"), 400,
     "invalid since: that is still to come"),
    ("query: a plus that is a blank", req(
        "GET /api/v1/vms/web/vmm-log?since=2023-11-14T23:13:20+01:00"), 400,
     "invalid since"),
    ("SSE: bad Last-Event-ID", req("GET /api/v1/events/vms",
                                   "Last-Event-ID: 5x"), 400,
     "Last-Event-ID"),
    ("SSE: Last-Event-ID past 63 bits", req(
        "GET /api/v1/events/vms", "Last-Event-ID: 18446744073709551615"), 400,
     "Last-Event-ID"),
    ("SSE: two Last-Event-IDs", req("GET /api/v1/events/vms",
                                    "Last-Event-ID: 5", "Last-Event-ID: 6"),
     400, "Last-Event-ID"),
    ("SSE: negative after", req("GET /api/v1/events/vms?after=-1"), 400,
     "after"),
    ("credential: Authorization", req("GET /api/v1/vms",
                                      "Authorization: Bearer x"), 400,
     "Authorization"),
    ("credential: on healthz too", req("GET /healthz",
                                       "Authorization: Bearer x"), 400,
     "Authorization"),
    ("credential: twice", req("GET /api/v1/vms", "Authorization: a",
                              "Authorization: b"), 400, "Authorization"),
    ("credential: API key", req("GET /api/v1/vms", "X-Volant-API-Key: k"),
     400, "X-Volant-API-Key"),
    ("credential: api_key in the query", req("GET /api/v1/vms?api_key=k"),
     400, "api_key"),
    ("tenant: empty", req("GET /api/v1/vms", "X-Mews-Tenant:"), 400,
     "X-Mews-Tenant"),
    ("tenant: no name", req("GET /api/v1/vms", "X-Mews-Tenant: ../x"), 400,
     "X-Mews-Tenant"),
    ("tenant: too long", req("GET /api/v1/vms", "X-Mews-Tenant: " + "t" * 64),
     400, "X-Mews-Tenant"),
    ("tenant: twice", req("GET /api/v1/vms", "X-Mews-Tenant: a",
                          "X-Mews-Tenant: a"), 400, "X-Mews-Tenant"),
    ("key: empty", post(b"{}", "Idempotency-Key:"), 400, "Idempotency"),
    ("key: too long", post(b"{}", "Idempotency-Key: " + "k" * 128), 400,
     "Idempotency"),
    ("key: not ASCII", req("DELETE /api/v1/vms/web").replace(
        b"Host: m\r\n", b"Host: m\r\nIdempotency-Key: \xc3\xa9\r\n"), 400,
     "Idempotency"),
    ("key: twice", post(b"{}", "Idempotency-Key: a", "Idempotency-Key: a"),
     400, "Idempotency"),
    ("create: empty body", post(b""), 400, "EOF"),
    ("create: no body at all", req("POST /api/v1/vms"), 400, "EOF"),
    ("create: no JSON", post(b"hello"), 400, ""),
    ("create: cut JSON", post(b'{"name":"we'), 400, ""),
    ("create: a list", post(b"[]"), 400, ""),
    ("create: NUL in JSON", post(b'{"name":"web\0"}'), 400, ""),
    ("create: escaped NUL", post(b'{"name":"web\\u0000"}'), 400, ""),
    ("create: not UTF-8", post(b'{"name":"\xff"}'), 400, ""),
    ("create: deep nesting", post(b'{"x":' + b"[" * 20000 + b"]" * 20000
                                  + b"}"), 400, ""),
    ("create: no name", post(b'{"image":"busybox"}'), 400, "name"),
    ("create: name is a number", post(b'{"name":5}'), 400, "name"),
    ("create: name is null", post(b'{"name":null}'), 400, "name"),
    ("create: name with a slash", post(b'{"name":"a/b"}'), 400, "name"),
    ("create: name with dots", post(b'{"name":"../etc"}'), 400, "name"),
    ("create: name with a space", post(b'{"name":"a b"}'), 400, "name"),
    ("create: name of 300", post(b'{"name":"%s"}' % (b"a" * 300)), 400,
     "name"),
    ("create: name like a uid", post(b'{"name":"0123456789abcdef"}'), 400,
     "name"),
    ("create: cpu_cores is text", post(b'{"name":"a","cpu_cores":"2"}'), 400,
     "cpu_cores"),
    ("create: cpu_cores is a fraction",
     post(b'{"name":"a","cpu_cores":2.5}'), 400, "cpu_cores"),
    ("create: cpu_cores too large",
     post(b'{"name":"a","cpu_cores":99999999999999999999}'), 400,
     "cpu_cores"),
    ("create: memory_mb too large",
     post(b'{"name":"a","memory_mb":2147483647}'), 400, "memory_mb"),
    ("create: env without =", post(b'{"name":"a","env":["X"]}'), 400, "env"),
    ("create: env is an object", post(b'{"name":"a","env":{"X":"1"}}'), 400,
     "env"),
    ("create: too many env",
     post(b'{"name":"a","env":[%s]}' % b",".join([b'"A=1"'] * 300)), 400,
     "env"),
    ("create: newline in the command line",
     post(b'{"name":"a","kernel_cmdline":"a\\nb"}'), 400, "kernel_cmdline"),
    ("ws: no upgrade", req("GET /api/v1/vms/web/exec"), 400, "upgrade"),
    ("ws: other upgrade", req("GET /ws/v1/vms/web/console",
                              "Connection: Upgrade", "Upgrade: h2c"), 400,
     "upgrade"),
    ("ws: bad key", ws_request("/ws/v1/vms/web/console", key="abc"), 400,
     "Key"),
    ("ws: no key", ws_request("/ws/v1/vms/web/console").replace(
        b"Sec-WebSocket-Key", b"X"), 400, "Key"),
    ("ws: version 8", ws_request("/ws/v1/vms/web/console", version="8"), 426,
     "13"),
    ("ws: exec without its protocol", ws_request("/api/v1/vms/web/exec"), 400,
     "protocol"),
    ("ws: exec with another protocol", ws_request(
        "/api/v1/vms/web/exec", "v4.channel.k8s.io"), 400, "protocol"),
    ("ws: from a web page", ws_request(
        "/ws/v1/vms/web/console", extra="Origin: http://evil\r\n"), 403,
     "Origin"),
    ("ws: POST", ws_request("/ws/v1/vms/web/console").replace(
        b"GET", b"POST"), 405, "POST"),
]


def refused(data, status, word):
    cl = H.client()
    cl.send(data)
    try:
        got, body = cl.answer()
    except TimeoutError:
        raise Bad("not refused: orchd was asked %r" % H.next()) from None
    want(got, status, "status of %r" % body)
    obj = json.loads(body)
    want(list(obj), ["error"], "keys")
    want(bool(obj["error"]) and word in obj["error"], True, obj["error"])
    want(body.endswith(b"}"), True, "no newline")
    if got == 405:
        want("GET" in cl.fields["allow"] or "POST" in cl.fields["allow"],
             True, "Allow")
    if got == 426:
        want(cl.fields["sec-websocket-version"], "13")
    H.expect_nothing()
    if cl.fields.get("connection") == "close":
        cl.end()
    else:  # the connection is as good as new
        cl.send(req("GET /healthz"))
        want(cl.answer(), (200, b'{"status":"ok"}'))
    cl.close()


def cases():
    for rule, data, status, word in REFUSED:
        case("refuses " + rule, refused, data, status, word)
    controls(__file__)


sys.exit(run(cases))
