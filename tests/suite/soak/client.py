"""A careful client of the API: HTTP/1.1, WebSocket, exec; and its patience.

Whatever has an answer is returned; what has none raises Broken.  ask() repeats
what is answered 503 when its Retry-After says, with the same Idempotency-Key,
and what had no answer if repeating is harmless.
"""
import base64
import contextlib
import json
import os
import select
import socket
import struct
import time

from link import pause

PATIENCE = 150.0  # seconds for one request with all its repetitions
ANSWER = 130.0  # for one answer: an API waits for a start up to a minute
LATER_MAX = 5.0
EXEC = "v5.channel.k8s.io"


class Broken(Exception):
    """The connection ended, or nothing came."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %r" % (self.status, self.body[:300])


class Stream:
    """Bytes of a connection, with one deadline for each read."""

    def __init__(self, path, timeout):
        self.sock = socket.socket(socket.AF_UNIX)
        self.buf = b""
        try:
            self.sock.connect(path)
        except OSError as e:
            self.sock.close()
            raise Broken("connect: %s" % e)
        self.sock.settimeout(timeout)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Broken("send: %s" % e)

    def more(self):
        try:
            data = self.sock.recv(65536)
        except OSError as e:
            raise Broken("recv: %s" % e)
        if not data:
            raise Broken("closed after %r" % self.buf[:100])
        self.buf += data

    def until(self, mark):
        while mark not in self.buf:
            self.more()
        got, _, self.buf = self.buf.partition(mark)
        return got

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        got, self.buf = self.buf[:n], self.buf[n:]
        return got

    def ready(self, timeout):
        return bool(self.buf or select.select([self.sock], [], [], timeout)[0])

    def close(self):
        self.sock.close()


def chunks(s):
    """Of a chunked body, each as it comes."""
    while True:
        n = int(s.until(b"\r\n").split(b";")[0], 16)
        data = s.take(n)
        if s.take(2) != b"\r\n":
            raise Broken("bad chunk")
        if n == 0:
            return
        yield data


def head(s):
    lines = s.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), {
        k.strip().lower(): v.strip()
        for k, _, v in (l.partition(":") for l in lines[1:])}


def request(path, method, target, body=None, key=None, headers=(),
            timeout=ANSWER):
    data = b"" if body is None else json.dumps(body).encode()
    text = "%s %s HTTP/1.1\r\nHost: mews\r\n" % (method, target)
    if body is not None:
        text += "Content-Length: %d\r\n" % len(data)
    if key:
        text += "Idempotency-Key: %s\r\n" % key
    for k, v in headers:
        text += "%s: %s\r\n" % (k, v)
    s = Stream(path, timeout)
    try:
        s.send(text.encode() + b"\r\n" + data)
        status, fields = head(s)
        if fields.get("transfer-encoding") == "chunked":
            got = b"".join(chunks(s))
        else:
            got = s.take(int(fields.get("content-length", 0)))
        return Answer(status, fields, got)
    finally:
        s.close()


def later(answer):
    """Seconds to wait of a 503; None if it does not say."""
    with contextlib.suppress(KeyError, ValueError):
        return min(float(answer.headers["retry-after"]), LATER_MAX)
    return None


class WebSocket:
    def __init__(self, path, target, protocol=None, timeout=30.0):
        self.s = Stream(path, timeout)
        text = ("GET %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\n" % (target, base64.b64encode(
                    os.urandom(16)).decode()))
        if protocol:
            text += "Sec-WebSocket-Protocol: %s\r\n" % protocol
        try:
            self.s.send(text.encode() + b"\r\n")
            status, fields = head(self.s)
            self.refused = None
            if status != 101:
                self.refused = Answer(status, fields, self.s.take(
                    int(fields.get("content-length", 0))))
        except Broken:
            self.s.close()
            raise

    def send(self, data, op=2):
        n = len(data)
        size = bytes([0x80 | n]) if n < 126 else \
            b"\xfe" + struct.pack(">H", n) if n < 65536 else \
            b"\xff" + struct.pack(">Q", n)
        # a mask of zeros is a mask
        self.s.send(bytes([0x80 | op]) + size + b"\0\0\0\0" + data)

    def recv(self):
        """(opcode, data) of one frame; pings are answered."""
        while True:
            first, n = self.s.take(2)
            if n == 126:
                n, = struct.unpack(">H", self.s.take(2))
            elif n == 127:
                n, = struct.unpack(">Q", self.s.take(8))
            data = self.s.take(n)
            if first & 15 == 9:
                self.send(data, 10)
            elif first & 15 != 10:
                return first & 15, data

    def close(self):
        self.s.close()


class Ended:
    """An exec that ended: what it said, and its status, None for a failure
    that is none of the program's."""

    def __init__(self, out, err, doc):
        self.out, self.err, self.doc = out, err, doc
        self.code = None
        if doc.get("status") == "Success":
            self.code = 0
        elif doc.get("reason") == "NonZeroExitCode":
            self.code = int(doc["details"]["causes"][0]["message"])

    def __repr__(self):
        return "code %s, %d bytes %r, stderr %r, %s" % (
            self.code, len(self.out), self.out[:60], self.err[:100], self.doc)


def execute(path, name, cmd, data=None, timeout=60.0):
    """Runs cmd in a VM: Ended, or the Answer that refused it."""
    ws = WebSocket(path, "/api/v1/vms/%s/exec" % name, EXEC, timeout)
    if ws.refused:
        ws.close()
        return ws.refused
    try:
        ws.send(json.dumps({"cmd": cmd, "stdin": data is not None}).encode(), 1)
        for i in range(0, len(data or b""), 60000):
            ws.send(b"\0" + data[i:i + 60000])
        if data is not None:
            ws.send(b"\xff\0")
        out = {1: b"", 2: b""}
        while True:
            op, got = ws.recv()
            if op == 8:
                raise Broken("closed without a status: %r" % got[:120])
            if got[0] in out:
                out[got[0]] += got[1:]
            elif got[0] == 3:
                return Ended(out[1], out[2], json.loads(got[1:]))
            elif got[0] != 255:
                raise Broken("channel %d" % got[0])
    finally:
        ws.close()


class Caller:
    """Asks for an actor and reports each request: kind, begin, end, answer."""

    def __init__(self, actor, path):
        self.actor, self.path = actor, path
        self.key_no = 0

    def key(self):
        self.key_no += 1
        return "%s-%d-%d" % (self.actor.name, os.getpid(), self.key_no)

    def again(self, kind, fn, repeats, spared=()):
        """fn() until it has an answer that is one; reports it.

        spared: statuses that a disturbance excuses, besides no answer at all.
        """
        begun, asked = time.monotonic(), ""
        while True:
            why = None
            one = time.monotonic()
            try:
                got = fn()
                status = getattr(got, "status", 200)
                wait = 0.2
                if status == 503:
                    wait = later(got)
                    asked = "503: %.80r" % got.body
                    if wait is None:
                        self.actor.wrong(kind, "Retry-After with 503", got)
                        wait = 1.0
                elif status in spared:
                    why = got
                else:
                    self.actor.reports.send(
                        "answer", actor=self.actor.name, kind=kind,
                        begun=begun, at=time.monotonic(), status=status,
                        again=asked)
                    return got
            except Broken as e:
                why, wait = e, 0.2
            if why is not None:
                self.actor.broken(kind, why, one)
                if not repeats:
                    return None
            if time.monotonic() - begun > PATIENCE:
                self.actor.wrong(kind, "an answer within %g s" % PATIENCE,
                                 why or got)
                return None
            pause(wait)

    def ask(self, kind, method, target, body=None, key=None):
        return self.again(
            kind, lambda: request(self.path, method, target, body, key),
            method == "GET" or key is not None,
            (500, 502, 504) if method == "GET" else (500, 502, 504, 507))

    def exec(self, kind, name, cmd, data=None):
        """Never repeated once it may have begun."""
        return self.again(kind, lambda: execute(self.path, name, cmd, data),
                          False, (500, 502, 504))
