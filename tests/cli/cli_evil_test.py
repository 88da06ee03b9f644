#!/usr/bin/env python3
"""The CLI against an API that is evil."""
import re
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from program import *  # noqa: F403


# ---- an evil server ----

def deep(n):
    return b"[" * n + b"]" * n


EVIL = [
    ("garbage", b"\x00\xff\x1b]0;x\x07 hello\r\n\r\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("huge header", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200000 + b"\r\n\r\n"),
    ("many headers", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60000 + b"\r\n"),
    ("no JSON", answer(200, raw=b"<html>")),
    ("empty body", answer(200, raw=b"")),
    ("null", answer(200, raw=b"null")),
    ("a number", answer(200, raw=b"12")),
    ("wrong types", answer(200, vm(name=[1], cpu_cores="two"))),
    ("list of wrong types", answer(200, [1, None, "x", {}])),
    ("deep", answer(200, raw=deep(100000))),
    ("control characters in names",
     answer(200, vm(name="we\x1b[2Jb"))),
    ("control characters in an error",
     answer(500, {"error": "\x1b]0;evil\x07"})),
    ("bidi in an error", answer(400, {"error": "a\u202eb\u0085"})),
    ("not UTF-8", answer(400, raw=b'{"error":"\xff\xfe\x1b"}')),
    ("huge error", answer(500, {"error": "x" * 100000})),
    ("redirect", answer(302, None, [("Location", "http://127.0.0.1:1/")])),
    ("101 unasked", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"
     b"Connection: Upgrade\r\n\r\n"),
    ("negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    ("huge length", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999"
     b"\r\n\r\n"),
    ("bad status", b"HTTP/1.1 abc OK\r\n\r\n"),
]
ASKS = [["ps"], ["inspect", "web"], ["doctor"], ["rm", "web"],
        ["run", "-d", "busybox"], ["exec", "web", "x"], ["console", "web"],
        ["--json", "ps"]]
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@case
def evil():
    """No crash, no hang, an error, and nothing raw in what is shown."""
    def one(name, data, ask):
        def handler(rq, n):
            try:
                rq.conn.sendall(data)
                rq.conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            return b""
        with Setup(handler) as s:
            r, out, err = s.run(*ask)
            same(r, 125, "%s: %r" % (name, ask))
            if not err:
                raise Bad("%s: %r says nothing" % (name, ask))
            if RAW.search(out.decode("utf-8") + err):
                raise Bad("%s: %r shows %r" % (name, ask, (out, err)))
    # side by side, because some take every try they have
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(one, *e, ask) for e in EVIL for ask in ASKS]:
            done.result()


def evil_ws(data):
    def handler(rq, n):
        ws = upgrade(rq, EXEC)
        ws.recv()
        rq.conn.sendall(data)
        rq.conn.shutdown(socket.SHUT_WR)
        ws.f.read()
        return b""
    return handler


FRAMES = [
    ("masked", b"\x82\x84aaaa\x01abc"), ("reserved bits", b"\xf2\x02\x01a"),
    ("reserved opcode", b"\x83\x02\x01a"),
    ("huge", b"\x82\x7f" + struct.pack(">Q", 1 << 62) + b"x" * 1000),
    ("too long", b"\x82\x7f" + struct.pack(">Q", 1 << 20) + b"x" * (1 << 20)),
    ("endless fragments", b"\x02\x01\x01" + b"\x00\x7e\x80\x00" + b"x" * 32768),
    ("empty message", b"\x82\x00"), ("bad close", b"\x88\x01\x03"),
    ("status is no JSON", b"\x82\x03\x03{]"),
    ("status of wrong type", b"\x82\x0f\x03{\"status\":[1]}"),
    ("cut frame", b"\x82\x10\x01abc"),
    ("long ping", b"\x89\x7e\x01\x00" + b"x" * 256),
    ("huge status", b"\x82\x7e\xff\xff\x03" + b"x" * 65534),
]


@case
def evil_frames():
    for name, data in FRAMES:
        with Setup(evil_ws(data)) as s:
            r, out, err = s.run("exec", "web", "x")
            same(r, 125, name)
            if not err.startswith("mews: "):
                raise Bad("%s: %r" % (name, err))


@case
def evil_handshake():
    def no_protocol(rq, n):
        upgrade(rq)
        return b""

    def other_protocol(rq, n):
        upgrade(rq, "v4.channel.k8s.io")
        return b""

    def wrong_accept(rq, n):
        rq.headers["sec-websocket-key"] = "x"
        upgrade(rq, EXEC)
        return b""
    for fn in (no_protocol, other_protocol, wrong_accept):
        with Setup(fn) as s:
            r, _, err = s.run("exec", "web", "x")
            same(r, 125, fn.__name__)
            if not err.startswith("mews: "):
                raise Bad(err)


main()
