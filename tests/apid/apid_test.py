#!/usr/bin/env python3
"""apid alone: this program plays mewsd and orchd, and its callers.

usage: apid_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls

Every HTTP case names the rule it tests, gets one clear JSON error with the
right code, and shows that nothing, or exactly the expected message, came to
orchd.  A control runs a case against an apid whose rule is switched off
(tests/rules): it must fail there.
"""
import base64
import hashlib
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import sanitized  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("B", "build")
APID = os.path.join(TOP, os.environ.get("MEWS_PROGRAM",
                                        BUILD + "/mews-apid"))
CONTROLS = "MEWS_PROGRAM" not in os.environ and not sanitized.ON
WAIT = 2.0 if "MEWS_PROGRAM" in os.environ else 10.0
# where every block has its red zones, memory says nothing
MEASURED = not sanitized.ON
ONLY = sys.argv[1:]
UID = 61703

CONN, GONE, RES = 0x201, 0x202, 0x203
CLOSED, LIST, GET, CREATE, DELETE = 0x210, 0x211, 0x212, 0x213, 0x214
START, STOP, STREAM, EVENTS, DOCTOR = 0x215, 0x216, 0x217, 0x218, 0x219
NONE, ERROR, VM, VMS, EVENTS_DOC = range(5)  # an object, a list
BOOT_CONF, BOOT_PEER, BOOT_STOP, BOOT_READY = 0x101, 0x102, 0x104, 0x105
NOW, AT_ONCE = (1 << 64) - 1, 1
OPEN, OPENED = 0xfe, 0xfd

failed = 0


class Bad(Exception):
    pass


def want(got, exp, what=""):
    if got != exp:
        raise Bad("%s: got %r, want %r" % (what, got, exp))


def slug(name):
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def case(name, fn, *args):
    global failed
    if ONLY and slug(name) not in ONLY:
        return
    try:
        fn(*args)
        sanitized.check()
        print("ok apid %s" % name, flush=True)
    except (Bad, AssertionError, OSError, ValueError, IndexError, KeyError,
            struct.error) as e:
        failed += 1
        print("# %s: %s: %s" % (name, type(e).__name__, e))
        print("not ok apid %s" % name, flush=True)
        H.restart_if_dead()


# --- the objects' wire form (proto/table_wire.c) ---

def s(text):
    b = text.encode()
    return struct.pack("=I", len(b)) + b


def q(n):
    return struct.pack("=q", n)


def vm_wire(name, vid=1):
    return (q(0) + q(vid) + s(name) + struct.pack("=I", 3) + s("busybox")
            + q(42) + s("192.168.127.10") + s("02:f9:e8:54:fb:c4") + q(2)
            + q(512) + s("") + s("") + q(0) + q(0) + q(0xabc) + s("busybox")
            + s("default") + b"\1" + s("<b>") + struct.pack("=I", 2))


def vm_json(name, vid=1):
    return ('{"id":%d,"name":"%s","status":"running","runtime":"busybox",'
            '"pid":42,"ip_address":"192.168.127.10",'
            '"mac_address":"02:f9:e8:54:fb:c4","cpu_cores":2,"memory_mb":512,'
            '"kernel_cmdline":"","serial_socket":"",'
            '"uid":"0000000000000abc","image":"busybox","tenant":"default",'
            '"ready":true,"reason":"\\u003cb\\u003e","accel":"tcg"}'
            % (vid, name)).encode()


def event_wire(seq, name="web", message="vm started"):
    return (struct.pack("=Q", seq) + q(0) + struct.pack("=I", 1) + s(name)
            + struct.pack("=I", 3) + s("") + s("") + q(0) + q(10**18)
            + s(message) + struct.pack("=I", 0) + s("") + q(0) + q(seq))


def list_wire(items):
    return struct.pack("=I", len(items)) + b"".join(
        struct.pack("=I", len(i)) + i for i in items)


def query_wire(status=None, limit=None, offset=0, sort=0, desc=0, text="",
               has=0):
    b = b""
    if status is not None:
        b += struct.pack("=I", status)
    b += s("") + s("") + s(text)
    if limit is not None:
        b += q(limit)
    b += q(offset) + struct.pack("=II", sort, desc)
    return q(has) + b


# --- mewsd and orchd ---

class Msg:
    def __init__(self, data, fds):
        self.type, length, self.id = struct.unpack_from("=IIQ", data)
        self.body = data[16:]
        want(len(self.body), length, "message length")
        self.fds = fds
        self.conn = struct.unpack_from("=Q", self.body)[0] \
            if len(self.body) >= 8 else 0
        if self.type not in (CLOSED, BOOT_READY):
            want(len(self.body) >= 24 + 128 + 128, True, "api_req")
            _, self.after, self.kind, self.flags = \
                struct.unpack_from("=QQII", self.body)
            self.name = self.body[24:152].rstrip(b"\0").decode()
            self.key = self.body[152:280].split(b"\0")[0].decode()
            self.tail = self.body[280:]

    def __repr__(self):
        return "<0x%x conn %d>" % (self.type, self.conn)


def recv(sock, timeout=WAIT):
    if not select.select([sock], [], [], timeout)[0]:
        return None
    data, fds, _, _ = socket.recv_fds(sock, 16384, 4)
    return Msg(data, fds) if data else None


def send(sock, mtype, mid, body, fd=None):
    data = struct.pack("=IIQ", mtype, len(body), mid) + body
    socket.send_fds(sock, [data], [] if fd is None else [fd])


class Harness:
    def __init__(self, room=2, idle_ms=60000, max_conns=200):
        self.root = tempfile.mkdtemp(prefix="apid.")
        os.chmod(self.root, 0o755)
        self.log = os.path.join(self.root + ".log")
        self.room, self.idle_ms, self.max_conns = room, idle_ms, max_conns
        self.conn = 1000
        self.kept = {}
        self.start()

    def start(self):
        self.boot, child = socket.socketpair(socket.AF_UNIX,
                                             socket.SOCK_SEQPACKET)
        sanitized.watch(self.log)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.pid = os.fork()
        if self.pid == 0:
            fds = [os.dup(f) for f in (os.open("/dev/null", os.O_RDWR), )]
            for i, f in enumerate((fds[0], fds[0], log, child.fileno(), log)):
                os.dup2(os.dup(f), 100 + i)
            for i in range(5):
                os.dup2(100 + i, i)
            # a sanitizer build is told what to do
            os.execve(APID, ["mews-apid"],
                      {"T": " " * 64} | {
                          k: v for k, v in os.environ.items()
                          if k.endswith("SAN_OPTIONS")})
        child.close()
        os.close(log)
        conf = struct.pack("=6I", 1, self.room, UID, UID, 3, 1024) \
            + bytes(16) + self.root.encode().ljust(160, b"\0") \
            + struct.pack("=II", self.max_conns, self.idle_ms)
        send(self.boot, BOOT_CONF, 0, conf)
        m = recv(self.boot)
        want(m and m.type, BOOT_READY, "start")
        self.plumb()

    def plumb(self):
        self.chan, other = socket.socketpair(socket.AF_UNIX,
                                             socket.SOCK_SEQPACKET)
        send(self.boot, BOOT_PEER, 0, struct.pack("=II", 1, 0),
             other.fileno())
        other.close()

    def dead(self, timeout=0.0):
        """Exit status once it ended, else None."""
        fd = os.pidfd_open(self.pid)
        ended = select.select([fd], [], [], timeout)[0]
        os.close(fd)
        if not ended:
            return None
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return status

    def restart_if_dead(self):
        if self.pid and self.dead() is None:
            return
        print("# apid ended; its log: %s" % open(self.log).read()[-600:])
        self.start()

    def stop(self):
        if self.pid:
            send(self.boot, BOOT_STOP, 0, b"")
            want(self.dead(WAIT), 0, "exit on stop")

    def client(self, keep=False):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.conn += 1
        send(self.chan, CONN, 0, struct.pack("=Q", self.conn),
             theirs.fileno())
        if keep:
            self.kept[self.conn] = theirs
        else:
            theirs.close()
        ours.settimeout(WAIT)
        return Client(ours, self.conn)

    def next(self, *skip):
        """The next message of apid, but for the skipped kinds."""
        while True:
            m = recv(self.chan)
            if m is None:
                raise Bad("no message from apid")
            if m.type not in skip:
                return m

    def expect(self, mtype, cl=None, skip=(CLOSED,)):
        m = self.next(*skip)
        want(m.type, mtype, "message")
        if cl:
            want(m.conn, cl.id, "connection")
        return m

    def expect_nothing(self):
        while True:
            m = recv(self.chan, 0)
            if m is None:
                return
            want(m.type, CLOSED, "nothing for orchd")

    def expect_closed(self, cl):
        while True:
            m = recv(self.chan)
            want(m and m.type, CLOSED, "closed")
            if m.conn == cl.id:
                return

    def answer(self, m, status, doc=NONE, tail=b"", total=0, last=0, fd=None,
               conn=None, mid=None):
        send(self.chan, RES, m.id if mid is None else mid,
             struct.pack("=QIIQQ", m.conn if conn is None else conn, status,
                         doc, total, last) + tail, fd)


class Client:
    def __init__(self, sock, cid):
        self.sock, self.id, self.buf = sock, cid, b""

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused early: the answer is there all the same
        return self

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buf += data
        return data

    def until(self, mark):
        while mark not in self.buf:
            if not self.more():
                raise Bad("end before %r in %r" % (mark, self.buf[:300]))
        at = self.buf.index(mark) + len(mark)
        out, self.buf = self.buf[:at], self.buf[at:]
        return out

    def take(self, n):
        while len(self.buf) < n:
            if not self.more():
                raise Bad("end after %d of %d" % (len(self.buf), n))
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def head(self):
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")[:-2]
        want(bool(re.fullmatch(r"HTTP/1\.1 \d{3} [A-Z][A-Za-z -]+",
                               lines[0])), True, lines[0])
        self.fields = {}
        for line in lines[1:]:
            k, v = line.split(": ", 1)
            want(k.lower() in self.fields, False, "field twice: " + k)
            self.fields[k.lower()] = v
        return int(lines[0][9:12])

    def answer(self, has_body=True):
        status = self.head()
        while status == 100:
            status = self.head()
        want(self.fields.get("x-content-type-options"), "nosniff")
        want(self.fields.get("cache-control"), "no-store")
        body = b""
        if has_body and status != 204:
            want(self.fields.get("content-type"),
                 "application/json; charset=utf-8")
            body = self.take(int(self.fields["content-length"]))
        return status, body

    def end(self):
        """The connection ends, and nothing more came."""
        while self.more():
            pass
        want(self.buf, b"", "bytes after the answer")

    def chunk(self):
        n = int(self.until(b"\r\n")[:-2], 16)
        data = self.take(n)
        want(self.take(2), b"\r\n")
        return data

    # WebSocket

    def upgrade(self, path, proto=None):
        self.send(ws_request(path, proto))

    def upgraded(self):
        want(self.head(), 101, "upgrade")
        want(self.fields["sec-websocket-accept"], ACCEPT)

    def frame(self, op, data, fin=1, mask=b"\x11\x22\x33\x44", rsv=0):
        self.send(ws_frame(op, data, fin, mask, rsv))

    def unframe(self):
        b0, b1 = self.take(2)
        n = b1 & 127
        want(b1 & 128, 0, "a server does not mask")
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        return b0, self.take(n)

    def expect_close(self, code):
        b0, data = self.unframe()
        want(b0, 0x88, "close frame, not %r" % data)
        want(struct.unpack(">H", data[:2])[0], code, "close code")

    def close(self):
        self.sock.close()


KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(hashlib.sha1(
    (KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
).decode()
K8S = "v5.channel.k8s.io"


def ws_request(path, proto=None, key=KEY, version="13", extra=""):
    return ("GET %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: %s\r\n"
            "Sec-WebSocket-Key: %s\r\n%s%s\r\n"
            % (path, version, key,
               "Sec-WebSocket-Protocol: %s\r\n" % proto if proto else "",
               extra)).encode()


def ws_frame(op, data, fin=1, mask=b"\x11\x22\x33\x44", rsv=0):
    n, m = len(data), 128 if mask else 0
    head = bytes([fin << 7 | rsv << 4 | op])
    if n < 126:
        head += bytes([m | n])
    elif n < 65536:
        head += bytes([m | 126]) + struct.pack(">H", n)
    else:
        head += bytes([m | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + data
    key = (mask * (n // 4 + 1))[:n]
    return head + mask + (int.from_bytes(data, "big")
                          ^ int.from_bytes(key, "big")).to_bytes(n, "big")


def req(line, *fields, body=b""):
    return ("%s HTTP/1.1\r\nHost: m\r\n%s\r\n"
            % (line, "".join(f + "\r\n" for f in fields))).encode() + body


def post(body, *fields, path="/api/v1/vms"):
    return req("POST " + path, "Content-Length: %d" % len(body), *fields,
               body=body)


def name_get(name):
    return req("GET /api/v1/vms/" + name)


# --- what is refused: rule, bytes, status, a word of the error ---

BASE = "POST /api/v1/vms HTTP/1.1\r\nHost: m\r\n"
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
                             ).encode(), 413, "longer"),
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


# --- what reaches orchd, and what comes back ---

def round_trip(data, mtype, status, doc=NONE, tail=b"", out=b"", **kw):
    """One request, one message, one answer."""
    cl = H.client()
    cl.send(data)
    m = H.expect(mtype, cl)
    H.answer(m, status, doc, tail, **kw)
    got = cl.answer()
    want(got, (status, out), "answer")
    H.expect_nothing()
    cl.close()
    return m, cl


def t_health():
    cl = H.client().send(req("GET /healthz"))
    want(cl.answer(), (200, b'{"status":"ok"}'))
    H.expect_nothing()


def t_openapi():
    cl = H.client().send(req("GET /openapi"))
    status, body = cl.answer()
    want(status, 200)
    doc = json.loads(body)
    want(doc["openapi"], "3.0.3")
    want(sorted(doc["paths"]["/api/v1/vms/{name}"]), ["delete", "get"])
    for path in doc["paths"].values():
        for op in path.values():
            for ref in re.findall(r"#/components/schemas/(\w+)",
                                  json.dumps(op)):
                want(ref in doc["components"]["schemas"], True, ref)


def t_get():
    m, _ = round_trip(name_get("web"), GET, 200, VM, vm_wire("web"),
                      vm_json("web"))
    want((m.name, m.key, m.tail), ("web", "", b""))
    m, _ = round_trip(name_get("0123456789abcdef"), GET, 200, VM,
                      vm_wire("web"), vm_json("web"))
    want(m.name, "0123456789abcdef", "a whole uid")


def t_get_error():
    round_trip(name_get("web"), GET, 404, ERROR, b"vm not found",
               b'{"error":"vm not found"}')
    round_trip(name_get("web"), GET, 403, NONE, b"",
               b'{"error":"Forbidden"}')
    _, cl = round_trip(name_get("web"), GET, 503, ERROR, b"busy",
                       b'{"error":"busy"}')
    want(cl.fields["retry-after"], "1")


def t_error_text():
    # a taken-over orchd cannot break the answer's JSON or head
    round_trip(name_get("web"), GET, 500, ERROR, b"a\r\n\"<\xff",
               b'{"error":"a\\r\\n\\"\\u003c\\ufffd"}')


def t_list():
    _, cl = round_trip(req("GET /api/v1/vms"), LIST, 200, VMS, list_wire([]),
                       b"[]", total=7)
    want(cl.fields["x-total-count"], "7")
    two = list_wire([vm_wire("a"), vm_wire("b", 2)])
    m, _ = round_trip(
        req("GET /api/v1/vms?status=running,STOPPED&limit=5&offset=1"
            "&sort=name&order=desc&q=w%20b&unknown=1"), LIST, 200, VMS, two,
        b"[" + vm_json("a") + b"," + vm_json("b", 2) + b"]", total=2)
    want(m.tail, query_wire(status=1 << 3 | 1 << 4, limit=5, offset=1, sort=1,
                            desc=1, text="w b", has=0b11111001))


def t_list_memfd():
    names = ["vm%d" % i for i in range(100)]
    wire = list_wire([vm_wire(n) for n in names])
    cl = H.client().send(req("GET /api/v1/vms"))
    H.answer(H.expect(LIST, cl), 200, VMS, fd=memfd(wire), total=100)
    status, body = cl.answer()
    want((status, [v["name"] for v in json.loads(body)]), (200, names))


def memfd(data, seal=True):
    import fcntl
    fd = os.memfd_create("doc", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, 1033, 0xf)
    return fd


def create_wire(name, env=()):
    e = b"".join(x.encode() + b"\0" for x in env)
    return (s(name) + s("") + s("busybox") + s("") + q(2) + q(512) + s("")
            + s("") + s("") + struct.pack("=II", len(env), len(e)) + e
            + s(""))


def t_create():
    body = (b'{"NAME":"old","name":"web","image":"busybox","cpu_cores":2,'
            b'"memory_mb":512,"env":["A=1"],"volar_sends":{"x":[1]}}')
    m, _ = round_trip(post(body, "Idempotency-Key: k-1"), CREATE, 201, VM,
                      vm_wire("web"), vm_json("web"))
    want((m.name, m.key), ("", "k-1"))
    want(m.tail[8:], create_wire("web", ["A=1"]), "document")


def t_create_chunked():
    body = b"5\r\n{\"nam\r\n15;x=y\r\ne\":\"web\",\"image\":\"b\"}\r\n0\r\n\r\n"
    cl = H.client().send(req("POST /api/v1/vms",
                             "Transfer-Encoding: chunked", body=body))
    m = H.expect(CREATE, cl)
    want(s("web") in m.tail, True, "document")
    H.answer(m, 409, ERROR, b"orchestrator: vm already exists: web")
    want(cl.answer()[0], 409)


def t_create_long():
    # 60 KiB of env do not fit a message: a sealed memfd carries them
    env = ["A%d=%s" % (i, "x" * 600) for i in range(100)]
    body = json.dumps({"name": "web", "image": "busybox", "cpu_cores": 2,
                       "memory_mb": 512, "env": env}).encode()
    cl = H.client().send(post(body, "Expect: 100-continue"))
    m = H.expect(CREATE, cl)
    want((len(m.fds), m.tail), (1, b""))
    data = os.pread(m.fds[0], 1 << 20, 0)
    want(data[8:], create_wire("web", env), "document")
    try:
        os.pwrite(m.fds[0], b"x", 0)
        raise Bad("the document is not sealed")
    except PermissionError:
        pass
    H.answer(m, 400, ERROR, b"no")
    want(cl.answer()[0], 400)


def t_continue():
    cl = H.client().send(req("POST /api/v1/vms", "Expect: 100-continue",
                             "Content-Length: 33"))
    want(cl.head(), 100)
    cl.send(b'{"name":"web","image":"busybox"} ')
    H.answer(H.expect(CREATE, cl), 201, VM, vm_wire("web"))
    want(cl.answer()[0], 201)


def t_verbs():
    for verb, mtype in (("start", START), ("stop", STOP)):
        m, _ = round_trip(post(b"ignored", "Idempotency-Key: " + "k" * 127,
                               path="/api/v1/vms/web/" + verb), mtype, 200,
                          VM, vm_wire("web"), vm_json("web"))
        want((m.name, m.key, m.tail), ("web", "k" * 127, b""))
    m, _ = round_trip(req("DELETE /api/v1/vms/web", "Idempotency-Key: a b"),
                      DELETE, 204)
    want((m.name, m.key), ("web", "a b"))
    m, _ = round_trip(req("GET /api/v1/vms/web", "Idempotency-Key: k"), GET,
                      200, VM, vm_wire("web"), vm_json("web"))
    want(m.key, "", "no key on GET")


def t_doctor():
    wire = list_wire([q(0) + s("accelerator") + b"\1" + s("kvm")])
    round_trip(req("GET /api/v1/system/doctor"), DOCTOR, 200, VMS, wire,
               b'[{"name":"accelerator","ok":true,"detail":"kvm"}]')


def t_redirect():
    for line, status, to in (
            ("GET /api/v1/vms/?limit=1", 301, "/api/v1/vms?limit=1"),
            ("DELETE /api/v1/vms/web/", 307, "/api/v1/vms/web"),
            ("POST /api/v1/vms/web/stop/", 307, "/api/v1/vms/web/stop")):
        cl = H.client().send(req(line))
        want(cl.answer()[0], status, line)
        want(cl.fields["location"], to)
    H.expect_nothing()


def t_head():
    cl = H.client().send(req("HEAD /healthz"))
    want(cl.answer(has_body=False)[0], 405)
    cl.send(req("GET /healthz"))
    want(cl.answer(), (200, b'{"status":"ok"}'), "no body came with HEAD")


def t_pipeline():
    cl = H.client().send(req("GET /healthz") * 3 + name_get("a")
                         + name_get("b"))
    for _ in range(3):
        want(cl.answer(), (200, b'{"status":"ok"}'))
    m = H.expect(GET, cl)
    want(m.name, "a")
    H.expect_nothing()  # the second waits for the first
    H.answer(m, 200, VM, vm_wire("a"))
    m = H.expect(GET, cl)
    want(m.name, "b")
    H.answer(m, 200, VM, vm_wire("b"))
    want(cl.answer()[1], vm_json("a"))
    want(cl.answer()[1], vm_json("b"))


def t_bytewise():
    cl = H.client()
    for b in name_get("web"):
        cl.send(bytes([b]))
    H.answer(H.expect(GET, cl), 200, VM, vm_wire("web"))
    want(cl.answer()[0], 200)


def t_body_then_request():
    # the rest of a refused body is never read as a request
    cl = H.client().send((BASE + "Content-Length: 300000\r\n\r\n").encode()
                         + req("DELETE /api/v1/vms/web"))
    want(cl.answer()[0], 413)
    cl.end()
    H.expect_closed(cl)
    H.expect_nothing()


def t_half_closed():
    # SHUT_WR after the request: the answer is still wanted
    cl = H.client().send(name_get("web"))
    cl.sock.shutdown(socket.SHUT_WR)
    H.answer(H.expect(GET, cl), 200, VM, vm_wire("web"))
    want(cl.answer()[0], 200)
    cl.end()
    H.expect_closed(cl)


def t_half_request():
    cl = H.client().send(b"GET /heal")
    cl.sock.shutdown(socket.SHUT_WR)
    want(cl.answer()[0], 400)
    cl.end()
    H.expect_closed(cl)
    cl = H.client()
    cl.sock.shutdown(socket.SHUT_WR)
    H.expect_closed(cl)


def t_gone():
    cl = H.client().send(name_get("web"))
    m = H.expect(GET, cl)
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))
    cl.end()
    H.answer(m, 200, VM, vm_wire("web"))  # too late: nobody hears it
    t_health()
    want("GET /api/v1/vms/web 499 " in open(H.log).read(), True, "the log")


def t_end_is_seen():
    # orchd keeps a copy of the socket: the client must see the end anyway
    cl = H.client(keep=True).send(req("GET /healthz", "Connection: close"))
    want(cl.answer()[0], 200)
    want(cl.fields["connection"], "close")
    cl.end()


def t_swapped():
    # answers come in another order: each goes to its own connection
    a, b = H.client().send(name_get("a")), H.client().send(name_get("b"))
    ma, mb = H.next(CLOSED), H.next(CLOSED)
    if ma.conn != a.id:
        ma, mb = mb, ma
    H.answer(mb, 200, VM, vm_wire("b"))
    H.answer(ma, 200, VM, vm_wire("a"))
    want(a.answer()[1], vm_json("a"))
    want(b.answer()[1], vm_json("b"))


def hostile(fn):
    """A message of orchd's that ends apid: nobody gets an answer of it."""
    a, b = H.client().send(name_get("a")), H.client().send(name_get("b"))
    ma, mb = H.next(CLOSED), H.next(CLOSED)
    if ma.conn != a.id:
        ma, mb = mb, ma
    fn(ma, mb)
    for cl in (a, b):
        status, body = cl.answer()
        want(status, 503, "what the callers get")
        want(b"suite restarts" in body, True, body)
        cl.end()
    status = H.dead(WAIT)
    want(status is not None and os.WIFEXITED(status)
         and os.WEXITSTATUS(status) == 1, True,
         "an orderly end, status %r" % status)
    H.start()
    t_health()


HOSTILE = [
    ("answer with another's message id", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x"), mid=b.id)),
    ("answer with another's connection", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x"), conn=b.conn)),
    ("answer nobody asked for", lambda a, b: (
        H.answer(a, 200, VM, vm_wire("x"), mid=99999))),
    ("connection 0", lambda a, b: H.answer(a, 200, VM, conn=0)),
    ("list for an object", lambda a, b: H.answer(
        a, 200, VMS, list_wire([]))),
    ("no document", lambda a, b: H.answer(a, 200)),
    ("document cut", lambda a, b: H.answer(a, 200, VM, vm_wire("x")[:-1])),
    ("document and more", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x") + b"x")),
    ("document of noise", lambda a, b: H.answer(a, 200, VM, os.urandom(500))),
    ("kind of document unknown", lambda a, b: H.answer(a, 200, 9)),
    ("status 99", lambda a, b: H.answer(a, 99, VM, vm_wire("x"))),
    ("status 302", lambda a, b: H.answer(a, 302, VM, vm_wire("x"))),
    ("a stream nobody asked for", lambda a, b: H.answer(
        a, 101, fd=H.boot.fileno())),
    ("memfd that is not sealed", lambda a, b: H.answer(
        a, 200, VM, fd=memfd(vm_wire("x"), False))),
    ("memfd and tail", lambda a, b: H.answer(
        a, 200, VM, b"x", fd=memfd(vm_wire("x")))),
    ("a connection twice", lambda a, b: send(
        H.chan, CONN, 0, struct.pack("=Q", a.conn), H.boot.fileno())),
    ("a connection without a socket", lambda a, b: send(
        H.chan, CONN, 0, struct.pack("=Q", 77))),
    ("a question for apid", lambda a, b: send(
        H.chan, GET, 1, bytes(280))),
    ("message of noise", lambda a, b: H.chan.send(os.urandom(40))),
    ("message too short", lambda a, b: H.chan.send(b"abc")),
]


def t_no_socket():
    # a descriptor that is no socket: refused, and that is all
    fd = os.open("/dev/null", os.O_RDWR)
    send(H.chan, CONN, 0, struct.pack("=Q", 5), fd)
    os.close(fd)
    m = H.next()
    while m.conn != 5:
        want(m.type, CLOSED, "an older one's end")
        m = H.next()
    want(m.type, CLOSED)
    t_health()


def t_full():
    h = Harness(max_conns=3)
    cls = [h.client() for _ in range(4)]
    m = h.next()
    want((m.type, m.conn), (CLOSED, cls[3].id))
    cls[3].end()
    cls[0].close()
    h.expect_closed(cls[0])
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    h.stop()
    h.clean()


def t_idle():
    h = Harness(idle_ms=200)
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    cl.end()
    h.expect_closed(cl)
    h.stop()
    h.clean()


Harness.clean = lambda self: (shutil.rmtree(self.root, True),
                              os.unlink(self.log))


def t_orchd_restart():
    cl = H.client().send(name_get("web"))
    idle = H.client().send(req("GET /healthz"))
    want(idle.answer()[0], 200)
    H.expect(GET, cl)
    H.chan.close()
    status, body = cl.answer()
    want(status, 503)
    want(cl.fields["connection"], "close")
    cl.end()
    idle.end()  # its identity died with orchd
    want(H.dead(), None, "apid waits")
    H.plumb()
    t_health()
    # replaced while it lives: the same
    cl = H.client().send(name_get("web"))
    H.expect(GET, cl)
    H.plumb()
    want(cl.answer()[0], 503)
    cl.end()
    t_health()


# --- server-sent events ---

def sse(*fields, path="/api/v1/events/vms", last=0, after=NOW, first=()):
    cl = H.client().send(req("GET " + path, *fields))
    m = H.expect(EVENTS, cl)
    want((m.after, m.flags, m.name, m.tail), (after, AT_ONCE, "", b""),
         "how it begins")
    H.answer(m, 200, EVENTS_DOC, list_wire(first), last=last)
    want(cl.head(), 200)
    want(cl.fields["content-type"], "text/event-stream")
    want(cl.fields["cache-control"], "no-store")
    for i in first:
        want(cl.chunk(), sse_text(struct.unpack_from("=Q", i)[0]))
    m = H.expect(EVENTS, cl)
    want(m.flags, 0, "now it may wait")
    return cl, m


def sse_text(seq, name="web"):
    return ('id: %d\nevent: VM_RUNNING\ndata: {"type":"VM_RUNNING",'
            '"name":"%s","status":"running",'
            '"timestamp":"2001-09-09T01:46:40Z","message":"vm started"}\n\n'
            % (seq, name)).encode()


def t_sse():
    cl, m = sse()
    want((m.after, m.name), (0, ""))
    H.answer(m, 200, EVENTS_DOC, list_wire([event_wire(5), event_wire(9)]),
             last=9)
    want(cl.chunk(), sse_text(5) + sse_text(9))
    m = H.expect(EVENTS, cl)
    want(m.after, 9)
    H.answer(m, 503, ERROR, b"x")
    want(cl.take(5), b"0\r\n\r\n")
    cl.end()
    H.expect_closed(cl)


def t_sse_resume():
    for fields, path, after in (
            (["Last-Event-ID: 41"], "", 41), ([], "?after=40", 40),
            (["Last-Event-ID: 0"], "?after=40", 0)):
        cl, m = sse(*fields, path="/api/v1/events/vms" + path, after=after,
                    last=after)
        want(m.after, after)
        cl.close()
        send(H.chan, GONE, 0, struct.pack("=Q", cl.id))
    cl, m = sse(last=77)
    want(m.after, 77, "from where orchd says now is")
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))
    cl, m = sse("Last-Event-ID: 41", after=41, first=[event_wire(42)], last=42)
    want(m.after, 42, "what came with the first answer")
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))


def t_sse_other_store():
    # a number that only another store has costs nobody anything (I16)
    cl, m = sse("Last-Event-ID: 4000", after=4000, last=7)
    want(m.after, 7)
    H.answer(m, 200, EVENTS_DOC, list_wire([event_wire(8)]), last=8)
    want(cl.chunk(), sse_text(8))
    want(H.expect(EVENTS, cl).after, 8)
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))
    want(H.dead(), None)


def t_sse_denied():
    cl = H.client().send(req("GET /api/v1/events/vms"))
    H.answer(H.expect(EVENTS, cl), 403, ERROR, b"access denied")
    want(cl.answer(), (403, b'{"error":"access denied"}'))
    H.expect_nothing()


def t_sse_slow():
    # a client that reads nothing is asked nothing more for, and costs
    # no more memory than its last batch
    cl, m = sse()
    cl.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    seq, asked = 0, 0
    while asked < 200:
        batch = [event_wire(seq + i + 1, message="m" * 400)
                 for i in range(12)]
        seq += 12
        asked += 1
        H.answer(m, 200, EVENTS_DOC, list_wire(batch), last=seq)
        ping = H.client().send(req("GET /healthz"))
        want(ping.answer()[0], 200)  # it has handled the answer by now
        ping.close()
        m = None
        while (x := recv(H.chan, 0)) is not None:
            m = x if x.type == EVENTS else m
        if m is None:
            break
    want(asked < 200, True, "it stopped asking")
    want(rss() < 20000 or not MEASURED, True, "memory %d KiB" % rss())
    got = b""
    while got.count(b"id: ") < seq:
        got += cl.chunk()
    want(H.expect(EVENTS, cl).after, seq, "and went on")
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))


def rss():
    for line in open("/proc/%d/status" % H.pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Bad("no VmRSS")


def t_sse_backwards():
    cl, m = sse("Last-Event-ID: 10", after=10, last=10)
    H.answer(m, 200, EVENTS_DOC, list_wire([event_wire(10)]), last=10)
    cl.end()
    want(os.WEXITSTATUS(H.dead(WAIT) or 0), 1)
    H.start()


# --- streams ---

class Stream:
    """The warden's end."""

    def __init__(self, m):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX,
                                              socket.SOCK_STREAM)
        self.sock.settimeout(WAIT)
        H.answer(m, 101, fd=theirs.fileno())
        theirs.close()
        self.buf = b""

    def take(self, n):
        while len(self.buf) < n:
            data = self.sock.recv(65536)
            if not data:
                raise Bad("stream ended")
            self.buf += data
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def frame(self):
        ch, n = struct.unpack(">BI", self.take(5))
        return ch, self.take(n)

    def send(self, ch, data):
        self.sock.sendall(struct.pack(">BI", ch, len(data)) + data)

    def opened(self, status=101, text=b""):
        self.send(OPENED, struct.pack(">H", status) + text)

    def end(self):
        want(self.buf + self.sock.recv(1), b"", "end of the stream")


def console():
    cl = H.client()
    cl.upgrade("/ws/v1/vms/web/console")
    m = H.expect(STREAM, cl)
    want((m.name, m.kind, m.flags), ("web", 2, 0))
    st = Stream(m)
    want(st.frame(), (OPEN, b""))
    st.opened()
    cl.upgraded()
    want("sec-websocket-protocol" in cl.fields, False)
    return cl, st


def execute(request=None):
    cl = H.client()
    cl.upgrade("/api/v1/vms/web/exec", K8S)
    m = H.expect(STREAM, cl)
    want((m.name, m.kind), ("web", 1))
    st = Stream(m)
    cl.upgraded()
    want(cl.fields["sec-websocket-protocol"], K8S)
    if request is not None:
        cl.frame(1, json.dumps(request).encode())
    return cl, st


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
    ("unknown key", {"cmd": ["x"], "user": "root"}, "user"),
    ("no command", {"env": []}, "cmd"),
    ("empty command", {"cmd": []}, "cmd"),
    ("command is text", {"cmd": "ls"}, "cmd"),
    ("relative directory", {"cmd": ["x"], "cwd": "tmp"}, "cwd"),
    ("longer than a frame", {"cmd": ["x" * 60000], "env":
                             ["A=" + "y" * 20000]}, "64 KiB"),
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
    ("request too long", ws_frame(1, b" " * 131073), 1009),
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


# --- the room ---

def t_confined():
    base = "/proc/%d/" % H.pid
    st = dict(line.rstrip("\n").split(":\t", 1)
              for line in open(base + "status") if ":\t" in line)
    ids = "\t".join([str(UID)] * 4)
    want((st["Uid"], st["Gid"], st["Groups"].strip()), (ids, ids, ""))
    for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        want(int(st[cap], 16), 0, cap)
    want((st["NoNewPrivs"], st["Seccomp"], st["Threads"]), ("1", "2", "1"))
    want(os.readlink(base + "root"), H.root)
    want(os.listdir(base + "root"), [], "an empty root")
    fds = [os.readlink(base + "fd/" + f) for f in os.listdir(base + "fd")]
    files = [f for f in fds if f.startswith("/") and f != "/dev/null"]
    want(set(files), {H.log}, "files it holds")


def t_title():
    cl = H.client().send(req("GET /healthz"))
    cl.answer()
    title = open("/proc/%d/cmdline" % H.pid).read()
    want(bool(re.match(r"mews: apid \[\d+ connections\]", title)), True, title)


def t_log_lines():
    cl = H.client().send(req("GET /api/v1/vms?q=hunter2",
                             "Cookie: hunter3"))
    H.answer(H.expect(LIST, cl), 200, VMS, list_wire([]))
    cl.answer()
    text = open(H.log).read()
    want(bool(re.search(r"conn [0-9a-f]{16} GET /api/v1/vms 200 \d+ ms\n",
                        text)), True, "access line")
    for secret in ("hunter2", "hunter3", "secret", "A=1", "k-1"):
        want(secret in text, False, secret)


def t_admin_room():
    h = Harness(room=3)
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    h.stop()
    h.clean()


def t_stop():
    h = Harness()
    cl = h.client()
    h.stop()
    cl.end()
    h.clean()
    h = Harness()
    h.boot.close()  # mewsd is gone
    want(h.dead(WAIT), 0, "exit without mewsd")
    h.clean()


# --- deadlines: begun first, looked at last ---

def slow_begin():
    h = Harness()
    saved = globals()["H"]
    globals()["H"] = h
    slow = {"h": h, "at": time.monotonic()}
    slow["head"] = h.client().send(b"GET /healthz HT")
    slow["body"] = h.client().send((BASE + "Content-Length: 9\r\n\r\n{"
                                    ).encode())
    slow["sse"], _ = sse()
    slow["exec"], slow["stream"] = execute()
    globals()["H"] = saved
    return slow


def t_slow_head(slow):
    want(slow["head"].answer()[0], 408)
    took = time.monotonic() - slow["at"]
    want(took >= 9.5, True, "%.1f s" % took)
    slow["head"].end()


def t_slow_exec(slow):
    slow["exec"].expect_close(1008)


def t_slow_sse(slow):
    slow["sse"].sock.settimeout(20)
    want(slow["sse"].chunk(), b": still here\n\n")


def t_slow_body(slow):
    slow["body"].sock.settimeout(32)
    want(slow["body"].answer()[0], 408)
    slow["body"].end()


def controls():
    """Each rule's case, with the rule switched off, must fail."""
    if not CONTROLS:
        return
    built = subprocess.run(["make", "-s", "B=" + BUILD, "off-mews-apid"],
                           cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if built.returncode:
        print(built.stdout)
    for line in open(os.path.join(TOP, "tests/rules")):
        f = line.split()
        if len(f) > 4 and f[0] != "#" and f[2] == "mews-apid" \
                and f[3].startswith("apid_test:"):
            case("without %s" % f[0], control, f[0], f[3].split(":")[1])


def control(rule, name):
    p = subprocess.run([sys.executable, os.path.abspath(__file__), name],
                       env=dict(os.environ,
                                MEWS_PROGRAM="build-off/%s/mews-apid" % rule),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=60)
    want("\nnot ok apid " in "\n" + p.stdout and "\nok " not in p.stdout, True,
         p.stdout[-300:])


def finish():
    if H.pid:
        try:
            H.stop()
        except Bad:
            os.kill(H.pid, 9)
    H.clean()
    return 1 if failed else 0


def main():
    global H
    if os.geteuid() != 0:
        print("skip apid: needs root, to give it away")
        return 0
    H = Harness()
    slow = None if ONLY else slow_begin()
    for rule, data, status, word in REFUSED:
        case("refuses " + rule, refused, data, status, word)
    for name, fn in sorted(globals().items()):
        if name.startswith("t_") and fn.__code__.co_argcount == 0:
            case(name[2:].replace("_", " "), fn)
    for name, fn in HOSTILE:
        case("takeover: " + name, hostile, fn)
    for name, request, word in EXEC_BAD:
        case("exec request: " + name, t_exec_bad, request, word)
    for name, data, code in WS_BAD:
        case("ws: " + name, t_ws_bad, data, code)
    for name, data, code in EXEC_WS_BAD:
        case("exec ws: " + name, t_exec_ws_bad, data, code)
    if ONLY:
        return finish()
    controls()
    case("deadline of a head", t_slow_head, slow)
    case("deadline of an exec request", t_slow_exec, slow)
    case("heartbeat of events", t_slow_sse, slow)
    case("deadline of a body", t_slow_body, slow)
    slow["h"].stop()
    slow["h"].clean()
    case("lives", lambda: want(H.dead(), None))
    return finish()


if __name__ == "__main__":
    sys.exit(main())
