#!/usr/bin/env python3
"""apid alone: console, exec and log, WebSocket and all.

usage: apid_streams_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls
"""
import json
import select
import struct
import sys
import time

from players import *  # noqa: F403


def t_console():
    cl, st = console()
    st.send(1, b"login: ")
    want(cl.unframe(), (0x82, b"login: "))
    cl.frame(2, b"root\n")
    want(st.frame(), (0, b"root\n"))
    cl.frame(1, b"text")
    want(st.frame(), (0, b"text"))
    cl.frame(2, b"ab", fin=0)
    cl.frame(9, b"ping")
    cl.frame(0, b"cd")
    want(cl.unframe(), (0x8a, b"ping"))
    want(st.frame(), (0, b"abcd"), "fragments are one message")
    cl.frame(8, struct.pack(">H", 1000))
    cl.expect_close(1000)
    cl.end()
    st.end()
    H.expect_closed(cl)


def t_console_early():
    # frames that were sent before the answer are read after it
    cl = H.client().send(ws_request("/ws/v1/vms/web/console")
                         + ws_frame(2, b"early"))
    st = Stream(H.expect(STREAM, cl))
    want(st.frame(), (OPEN, b""))
    st.opened()
    cl.upgraded()
    want(st.frame(), (0, b"early"))
    st.sock.close()
    cl.expect_close(1000)
    cl.frame(8, struct.pack(">H", 1000))
    cl.end()


def t_console_refused():
    for status, text, got in ((503, b"no room", 503), (404, b"gone", 404),
                              (200, b"odd", 502)):
        cl = H.client()
        cl.upgrade("/ws/v1/vms/web/console")
        st = Stream(H.expect(STREAM, cl))
        st.opened(status, text)
        want(cl.answer(), (got, b'{"error":"%s"}' % text))
        cl.end()
    cl = H.client()
    cl.upgrade("/ws/v1/vms/web/console")
    Stream(H.expect(STREAM, cl)).sock.close()
    want(cl.answer()[0], 502)


def t_ws_denied():
    # before the upgrade a refusal is plain HTTP, and the rest is not read
    for status in (404, 409, 403, 503):
        for path, proto in (("/ws/v1/vms/web/console", None),
                            ("/api/v1/vms/web/exec", K8S)):
            cl = H.client().send(ws_request(path, proto)
                                 + ws_frame(2, req("DELETE /api/v1/vms/x")))
            H.answer(H.expect(STREAM, cl), status, ERROR, b"vm is not there")
            want(cl.answer(), (status, b'{"error":"vm is not there"}'))
            cl.end()
            H.expect_closed(cl)
            H.expect_nothing()


def t_exec_signals():
    # only to a guest that said it takes them, one byte, a number that is one
    for text, passed in ((b"signals", True), (b"", False), (b"other", False)):
        cl, st = execute({"cmd": ["cat"]})
        st.frame()
        st.opened(101, text)
        st.send(1, b"up")
        want(cl.unframe(), (0x82, b"\1up"))
        cl.frame(2, b"\5\x0f")
        cl.frame(2, b"\xff\0")
        if passed:
            want(st.frame(), (5, b"\x0f"))
        want(st.frame(), (255, b"\0"))
        cl.close()
        H.expect_closed(cl)
    for bad in (b"\5", b"\5\0", b"\5\x20", b"\5\x0f\x0f"):
        cl, st = execute({"cmd": ["cat"]})
        st.frame()
        st.opened(101, b"signals")
        cl.frame(2, bad)
        cl.expect_close(1008)
        cl.end()
        H.expect_closed(cl)


def t_exec():
    cl, st = execute({"cmd": ["cat"], "env": ["S=secret"], "stdin": True})
    ch, body = st.frame()
    want(ch, OPEN)
    want(json.loads(body), {"cmd": ["cat"], "env": ["S=secret"],
                            "stdin": True})
    cl.frame(2, b"\0")  # opens a channel, as some clients do
    cl.frame(2, b"\0hello")
    want(st.frame(), (0, b"hello"))
    st.opened()
    st.send(1, b"out")
    st.send(2, b"err")
    want(cl.unframe(), (0x82, b"\1out"))
    want(cl.unframe(), (0x82, b"\2err"))
    cl.frame(2, b'\4{"Width":80,"Height":25}')
    want(st.frame(), (4, b'{"Width":80,"Height":25}'))
    cl.frame(2, b"\xff\0")
    want(st.frame(), (255, b"\0"), "half-close of stdin")
    status = b'{"metadata":{},"status":"Success"}'
    st.send(3, status)
    st.sock.close()
    want(cl.unframe(), (0x82, b"\3" + status))
    cl.expect_close(1000)
    cl.frame(8, struct.pack(">H", 1000))
    cl.end()
    H.expect_closed(cl)


def exec_fails(cl, word):
    b0, data = cl.unframe()
    want((b0, data[:1]), (0x82, b"\3"))
    obj = json.loads(data[1:])
    want((obj["status"], obj["reason"]), ("Failure", "InternalError"))
    want(word in obj["message"], True, obj["message"])
    cl.expect_close(1000)


def t_exec_failures():
    cl, st = execute({"cmd": ["x"]})
    st.frame()
    st.opened(503, b"the agent does not answer yet")
    exec_fails(cl, "does not answer")
    cl, st = execute({"cmd": ["x"]})
    st.frame()
    st.opened()
    st.send(1, b"half")
    st.sock.close()
    want(cl.unframe(), (0x82, b"\1half"))
    exec_fails(cl, "broke")
    cl, st = execute({"cmd": ["x"]})
    st.frame()
    st.send(77, b"no such channel")
    exec_fails(cl, "broke")


EXEC_BAD = [
    ("unknown key", {"cmd": ["x"], "usr": "root"}, "usr"),
    ("no command", {"env": []}, "cmd"),
    ("empty command", {"cmd": []}, "cmd"),
    ("command is text", {"cmd": "ls"}, "cmd"),
    ("relative directory", {"cmd": ["x"], "cwd": "tmp"}, "cwd"),
    ("longer than it may be", {"cmd": ["x" * 131070], "env":
                               ["A=" + "y" * 131060]}, "256 KiB"),
    ("longer by its list", {"cmd": ["x"], "env": ["A=" + "y" * 131000] * 3}, "env"),
]


def t_exec_bad(request, word):
    cl, st = execute(request)
    exec_fails(cl, word)
    st.end()  # nothing of it reached the VM
    cl.close()


WS_BAD = [
    ("unmasked", ws_frame(2, b"x", mask=b""), 1002),
    ("reserved bit", ws_frame(2, b"x", rsv=4), 1002),
    ("reserved opcode", ws_frame(3, b"x"), 1002),
    ("reserved control opcode", ws_frame(11, b"x"), 1002),
    ("fragmented control frame", ws_frame(9, b"x", fin=0), 1002),
    ("long control frame", ws_frame(9, b"x" * 126), 1002),
    ("continuation of nothing", ws_frame(0, b"x"), 1002),
    ("a message inside a message", ws_frame(2, b"a", fin=0)
     + ws_frame(2, b"b"), 1002),
    ("text that is not UTF-8", ws_frame(1, b"\xff\xfe"), 1007),
    ("too long", ws_frame(2, b"x" * 65537), 1009),
    ("too long in fragments", ws_frame(2, b"x" * 40000, fin=0)
     + ws_frame(0, b"x" * 40000), 1009),
    ("length past 63 bits", b"\x82\xff" + b"\xff" * 8 + b"mask", 1002),
    ("close with a code nobody has", ws_frame(8, struct.pack(">H", 999)),
     1002),
]


def unless_taken(close, code):
    try:
        close(code)
    except TimeoutError:
        raise Bad("not refused: the stream goes on") from None


def t_ws_bad(data, code):
    cl, st = console()
    cl.send(data)
    unless_taken(cl.expect_close, code)
    cl.end()
    st.end()
    H.expect_closed(cl)


EXEC_WS_BAD = [
    ("binary before the request", ws_frame(2, b"\0x"), 1003),
    ("a second request", ws_frame(1, b'{"cmd":["x"]}')
     + ws_frame(1, b'{"cmd":["y"]}'), 1003),
    ("unknown channel", ws_frame(1, b'{"cmd":["x"]}') + ws_frame(2, b"\7x"),
     1008),
    ("guest's channel", ws_frame(1, b'{"cmd":["x"]}') + ws_frame(2, b"\3{}"),
     1008),
    ("close of a guest's channel", ws_frame(1, b'{"cmd":["x"]}')
     + ws_frame(2, b"\xff\1"), 1008),
    ("request too long", ws_frame(1, b" " * 524289), 1009),
    ("message too long", ws_frame(1, b'{"cmd":["x"]}')
     + ws_frame(2, b"\0" * 65538), 1009),
]


def t_exec_ws_bad(data, code):
    cl, st = execute()
    cl.send(data)
    unless_taken(cl.expect_close, code)
    cl.frame(8, struct.pack(">H", 1000))
    cl.end()


def t_fragments_cost():
    # 64 KiB in frames of one byte: no more memory than 64 KiB, about
    cls = [console() for _ in range(8)]
    before = rss()
    for cl, _ in cls:
        cl.send(ws_frame(2, b"x", fin=0)
                + b"".join(ws_frame(0, b"x", fin=0) for _ in range(65000)))
    for cl, st in cls:
        cl.frame(9, b"p")
        want(cl.unframe(), (0x8a, b"p"))
    used = rss() - before
    want(used < 8 * 400 or not MEASURED, True, "%d KiB for 8 times 64 KiB" % used)
    for cl, st in cls:
        cl.frame(0, b"y")
        want(st.frame(), (0, b"x" * 65001 + b"y"))
        cl.close()
        st.end()


def fill(sock):
    """Sends until the other side takes no more; returns how much."""
    sock.setblocking(False)
    sent, data = 0, struct.pack(">BI", 1, 60000) + b"z" * 60000
    try:
        while sent < 1 << 26:
            n = sock.send(data[sent % len(data):])
            sent += n
    except BlockingIOError:
        if select.select([], [sock], [], 0.3)[1]:
            sock.settimeout(WAIT)
            return sent + fill_more(sock, data, sent)
    sock.settimeout(WAIT)
    return sent


def fill_more(sock, data, at):
    sock.setblocking(False)
    sent = 0
    while sent < 1 << 26:
        if not select.select([], [sock], [], 0.3)[1]:
            break
        try:
            sent += sock.send(data[(at + sent) % len(data):])
        except BlockingIOError:
            pass
    sock.settimeout(WAIT)
    return sent


def t_slow_reader():
    # the client reads nothing: the VM's side is held, memory stays small
    cl, st = console()
    n = fill(st.sock)
    want(n < 4 << 20, True, "%d bytes were taken" % n)
    want(rss() < 24000 or not MEASURED, True, "memory %d KiB" % rss())
    got = 0
    while got < n // 60005 * 60000:
        got += len(cl.unframe()[1])
    cl.close()


def t_slow_vm():
    # the VM's side reads nothing: the client is held
    cl, st = console()
    cl.sock.setblocking(False)
    data, sent = ws_frame(2, b"a" * 60000), 0
    while sent < 1 << 26:
        if not select.select([], [cl.sock], [], 0.3)[1]:
            break
        try:
            sent += cl.sock.send(data[sent % len(data):])
        except BlockingIOError:
            pass
    want(sent < 4 << 20, True, "%d bytes were taken" % sent)
    whole = sent // len(data)
    for _ in range(whole):
        want(len(st.frame()[1]), 60000)
    cl.close()
    st.sock.close()


def t_ping_flood():
    # pings whose pongs nobody reads stop being read, not remembered
    cl, st = console()
    cl.sock.setblocking(False)
    data, sent = ws_frame(9, b"p" * 100) * 100, 0
    while sent < 1 << 26:
        if not select.select([], [cl.sock], [], 0.3)[1]:
            break
        try:
            sent += cl.sock.send(data[sent % len(data):])
        except BlockingIOError:
            pass
    want(sent < 4 << 20, True, "%d bytes were taken" % sent)
    want(rss() < 24000 or not MEASURED, True, "memory %d KiB" % rss())
    cl.close()
    st.end()


def t_log():
    for query, flags in (("", 0), ("?follow=1", 1), ("?follow=0", 0)):
        cl = H.client().send(req("GET /api/v1/vms/web/console-log" + query))
        m = H.expect(STREAM, cl)
        want((m.name, m.kind, m.flags), ("web", 3, flags))
        st = Stream(m)
        want(st.frame(), (OPEN, b""))
        st.opened()
        want(cl.head(), 200)
        want(cl.fields["content-type"], "application/octet-stream")
        want(cl.fields["x-content-type-options"], "nosniff")
        st.send(1, b"\x1b[31mred")
        want(cl.chunk(), b"\x1b[31mred")
        st.send(1, b"")  # an empty frame is no last chunk
        st.send(1, b"more")
        want(cl.chunk(), b"more")
        st.sock.close()
        want(cl.take(5), b"0\r\n\r\n")
        cl.end()


def t_log_since():
    # how long ago, or a time; of both logs
    now = time.time_ns()
    for path, kind, since, want_ns in (
            ("console-log", STREAM_CONSOLE_LOG, "10m", now - 600 * 10**9),
            ("vmm-log", STREAM_VMM_LOG, "1h30m", now - 5400 * 10**9),
            ("vmm-log", STREAM_VMM_LOG, "2023-11-14T23:13:20%2B01:00",
             1700000000 * 10**9)):
        cl = H.client().send(req("GET /api/v1/vms/web/%s?since=%s&follow=1" % (
            path, since)))
        m = H.expect(STREAM, cl)
        want((m.name, m.kind, m.flags), ("web", kind, STREAM_FOLLOW))
        late = m.since_ns - want_ns
        want(0 <= late < (5 * 10**9 if want_ns > now - 10**13 else 1), True,
             "%s: %d" % (since, m.since_ns))
        st = Stream(m)
        want(st.frame(), (OPEN, b""))
        st.opened()
        want(cl.head(), 200)
        st.sock.close()
        want(cl.take(5), b"0\r\n\r\n")
        cl.end()
    cl = H.client().send(req("GET /api/v1/vms/web/vmm-log"))
    m = H.expect(STREAM, cl)
    want((m.kind, m.since_ns), (STREAM_VMM_LOG, 0))
    Stream(m).opened(409, b"an earlier suite")
    want(cl.answer(), (409, b'{"error":"an earlier suite"}'))
    cl.end()


def t_log_cut():
    # a stream that breaks inside a frame must not look complete
    cl = H.client().send(req("GET /api/v1/vms/web/console-log"))
    st = Stream(H.expect(STREAM, cl))
    st.opened()
    cl.head()
    st.sock.sendall(b"\1\0\0\0\x09half")
    st.sock.close()
    cl.end()


def t_hang_up():
    # the client goes: so does the VM's end of the stream
    cl, st = console()
    cl.close()
    st.end()
    H.expect_closed(cl)


def cases():
    named(globals())
    for name, request, word in EXEC_BAD:
        case("exec request: " + name, t_exec_bad, request, word)
    for name, data, code in WS_BAD:
        case("ws: " + name, t_ws_bad, data, code)
    for name, data, code in EXEC_WS_BAD:
        case("exec ws: " + name, t_exec_ws_bad, data, code)
    controls(__file__)


sys.exit(run(cases))
