"""A stand-in for the API on a Unix socket, for the CLI's tests.

It records every request and answers what the case's own function says.
"""
import base64
import hashlib
import json
import os
import socket
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def vm(name="web", status="running", ready=True, uid="0123456789abcdef", **kw):
    o = {"id": 1, "name": name, "status": status, "runtime": "busybox",
         "ip_address": "10.0.0.2", "mac_address": "02:00:00:00:00:01",
         "cpu_cores": 1, "memory_mb": 256, "kernel_cmdline": "",
         "serial_socket": "", "created_at": "2026-01-01T00:00:00Z",
         "uid": uid, "image": "busybox", "tenant": "default", "ready": ready}
    o.update(kw)
    return o


def answer(status, body=None, headers=(), raw=None):
    data = raw if raw is not None else (
        b"" if body is None else json.dumps(body).encode())
    head = "HTTP/1.1 %d X\r\n" % status
    for k, v in headers:
        head += "%s: %s\r\n" % (k, v)
    if status != 204:
        head += "Content-Length: %d\r\n" % len(data)
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + data


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path = method, path
        self.headers, self.body = headers, body

    @property
    def line(self):
        return "%s %s" % (self.method, self.path)

    @property
    def key(self):
        return self.headers.get("idempotency-key")


class Ws:
    """The server's side of a WebSocket."""

    def __init__(self, f, sock):
        self.f, self.sock = f, sock

    def recv(self):
        """(opcode, payload), or None at the end."""
        whole, first = b"", None
        while True:
            head = self.f.read(2)
            if len(head) < 2:
                return None
            n = head[1] & 127
            assert head[1] & 128, "the client must mask"
            if n == 126:
                n = struct.unpack(">H", self.f.read(2))[0]
            elif n == 127:
                n = struct.unpack(">Q", self.f.read(8))[0]
            mask = self.f.read(4)
            data = self.f.read(n)
            data = bytes(b ^ mask[i & 3] for i, b in enumerate(data))
            first = head[0] & 15 if first is None else first
            whole += data
            if head[0] & 128:
                return first, whole

    def send(self, payload, opcode=2):
        n = len(payload)
        head = bytes([0x80 | opcode])
        if n < 126:
            head += bytes([n])
        elif n < 65536:
            head += b"\x7e" + struct.pack(">H", n)
        else:
            head += b"\x7f" + struct.pack(">Q", n)
        self.sock.sendall(head + payload)

    def status(self, code):
        if code == 0:
            s = {"metadata": {}, "status": "Success"}
        else:
            s = {"metadata": {}, "status": "Failure",
                 "message": "command ended with exit status %d" % code,
                 "reason": "NonZeroExitCode",
                 "details": {"causes": [{"reason": "ExitCode",
                                         "message": str(code)}]}}
        self.send(b"\x03" + json.dumps(s).encode())

    def close(self, code=1000, reason=b""):
        self.send(struct.pack(">H", code) + reason, 8)


class Fake:
    """handler(request, connection) answers: bytes, or None: it did it all.

    Returning b"" closes the connection without an answer.
    """

    def __init__(self, path, handler):
        self.path, self.handler = path, handler
        self.requests, self.errors = [], []
        self.lock = threading.Lock()
        self.listen()

    def listen(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen(64)
        threading.Thread(target=self.accept, args=(self.sock,),
                         daemon=True).start()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def accept(self, sock):
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,),
                             daemon=True).start()

    def serve(self, conn):
        try:
            f = conn.makefile("rb")
            while self.one(f, conn):
                pass
        except (OSError, ValueError):
            pass
        except Exception as e:  # a case's own fault must be seen
            self.errors.append(repr(e))
        finally:
            try:
                conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            conn.close()

    def one(self, f, conn):
        line = f.readline().decode().split()
        if len(line) != 3:
            return False
        headers = {}
        while True:
            h = f.readline().decode().rstrip("\r\n")
            if not h:
                break
            k, v = h.split(":", 1)
            headers[k.lower()] = v.strip()
        body = f.read(int(headers.get("content-length", "0")))
        rq = Request(line[0], line[1], headers, body)
        rq.file, rq.conn = f, conn
        with self.lock:
            self.requests.append(rq)
            n = len(self.requests)
        out = self.handler(rq, n)
        if out is None or out == b"":
            return False
        conn.sendall(out)
        return True

    def lines(self):
        with self.lock:
            return [r.line for r in self.requests]


def upgrade(rq, protocol=None, extra=b""):
    """Answers 101; extra goes in the same packet as the answer's head."""
    accept = base64.b64encode(hashlib.sha1(
        rq.headers["sec-websocket-key"].encode() + GUID).digest()).decode()
    head = ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n" % accept)
    if protocol:
        head += "Sec-WebSocket-Protocol: %s\r\n" % protocol
    rq.conn.sendall(head.encode() + b"\r\n" + extra)
    return Ws(rq.file, rq.conn)
