"""The warden's half of the agent channel, in Python, and a bare guest."""
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
from wire import (AGENT_PORT_HTTP, BOOT_SPEC_VERSION, FRAME_CLOSE,  # noqa: E402
                  FRAME_HEAD_LEN, FRAME_STATUS, FRAME_STDERR, FRAME_STDIN,
                  FRAME_STDOUT)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
B = os.path.join(TOP, os.environ.get("B", "build"))
WINDOW = 262144
DATA, WIN, PING, GOAWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


class Gone(Exception):
    pass


class Guest:
    def __init__(self, root=None, extra=(), khz=None):
        self.dir = tempfile.mkdtemp(prefix="mews-guest.")
        self.path = self.dir + "/a"
        self.out = b""
        self.ready_s = None
        khz = khz or int(subprocess.check_output([B + "/tsc-khz"]))
        self.start = time.monotonic()
        self.p = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "microvm,acpi=on", "-accel",
             "tcg,tb-size=32", "-cpu", "max", "-m", "128", "-nodefaults",
             "-no-user-config", "-display", "none", "-no-reboot",
             "-kernel", B + "/guest/vmlinuz", "-initrd", B + "/guest/initramfs",
             "-append", "console=ttyS0 quiet panic=-1 tsc_early_khz=%d tsc=reliable" % khz,
             "-serial", "stdio",
             "-device", "virtio-serial-device", "-chardev",
             "socket,id=a,path=%s,server=on,wait=off" % self.path,
             "-device", "virtserialport,chardev=a,name=mews.agent",
             "-netdev", "user,id=n,restrict=on", "-device",
             "virtio-net-device,netdev=n,mac=52:54:00:12:34:56", *extra],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def pump(self, wait=0.0):
        while select.select([self.p.stdout], [], [], wait)[0]:
            got = os.read(self.p.stdout.fileno(), 65536)
            if not got:
                return False
            self.out += got
            wait = 0
        return True

    def wait_line(self, text, deadline=60):
        end = time.monotonic() + deadline
        while text not in self.out:
            left = end - time.monotonic()
            if left < 0 or not self.pump(left):
                raise AssertionError("console: no %r in %r" % (text, self.out[-2000:]))
        if self.ready_s is None:
            self.ready_s = time.monotonic() - self.start

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        end = time.monotonic() + 30
        while True:
            try:
                s.connect(self.path)
                return s
            except OSError:
                if time.monotonic() > end:
                    raise
                select.select([], [], [], 0.01)

    def close(self):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()
        if os.path.exists(self.path):
            os.unlink(self.path)
        os.rmdir(self.dir)


class Mux:
    """A yamux client behind the hello, one stream object per id."""

    def __init__(self, sock, deadline=30):
        self.s = sock
        self.buf = b""
        self.streams = {}
        self.next = 1
        nonce = os.urandom(16)
        want = b"MEWSHELO" + struct.pack(">I", 1) + nonce
        self.s.sendall(b"\0" * (11 + 65536 + 12) + want)
        end = time.monotonic() + deadline
        while want not in self.buf:
            self.fill(end)
        self.buf = self.buf.split(want, 1)[1]

    def fill(self, end):
        self.s.settimeout(max(0.001, end - time.monotonic()))
        got = self.s.recv(65536)
        if not got:
            raise Gone("channel closed")
        self.buf += got

    def send(self, kind, flags, sid, length, data=b""):
        self.s.settimeout(30)
        self.s.sendall(struct.pack(">BBHII", 0, kind, flags, sid, length) + data)

    def step(self, end):
        """One frame."""
        while len(self.buf) < 12:
            self.fill(end)
        v, kind, flags, sid, length = struct.unpack(">BBHII", self.buf[:12])
        assert v == 0, "version"
        data = b""
        if kind == DATA:
            while len(self.buf) < 12 + length:
                self.fill(end)
            data = self.buf[12:12 + length]
        self.buf = self.buf[12 + len(data):]
        if kind == GOAWAY:
            raise Gone("goaway %d" % length)
        if kind == PING:
            return
        st = self.streams.get(sid)
        if st is None:
            return
        if kind == WIN:
            st.room += length
        st.got += data
        st.eof = st.eof or bool(flags & FIN)
        st.reset = st.reset or bool(flags & RST)

    def open(self, port=AGENT_PORT_HTTP):
        st = Stream(self, self.next)
        self.next += 2
        self.streams[st.id] = st
        self.send(WIN, SYN, st.id, 0)
        st.write(b"CONNECT %d\n" % port)
        assert st.until(b"\n") == b"OK %d\n" % port
        return st


class Stream:
    def __init__(self, mux, sid):
        self.mux, self.id, self.room = mux, sid, WINDOW
        self.got, self.eof, self.reset = b"", False, False
        self.unacked = 0

    def write(self, data, deadline=30):
        end = time.monotonic() + deadline
        while data:
            while self.room == 0:
                self.mux.step(end)
                if self.reset:
                    raise Gone("reset")
            n = min(self.room, len(data), 16384)
            self.mux.send(DATA, 0, self.id, n, data[:n])
            self.room -= n
            data = data[n:]

    def ahead(self, data, limit):
        """What a warden sends of data: no more than limit is under way."""
        while select.select([self.mux.s], [], [], 0)[0]:
            self.mux.step(time.monotonic() + 5)
        while data and (room := limit - (WINDOW - self.room)) > 0:
            n = min(room, len(data), 16384)
            self.mux.send(DATA, 0, self.id, n, data[:n])
            self.room -= n
            data = data[n:]
        return data

    def fin(self):
        self.mux.send(WIN, FIN, self.id, 0)

    def rst(self):
        self.mux.send(WIN, RST, self.id, 0)
        del self.mux.streams[self.id]

    def take(self, n, deadline=60):
        end = time.monotonic() + deadline
        while len(self.got) < n:
            if self.eof or self.reset:
                raise Gone("reset" if self.reset else "eof")
            self.mux.step(end)
        out, self.got = self.got[:n], self.got[n:]
        self.unacked += n
        if self.unacked >= WINDOW // 2 and not self.eof:
            self.mux.send(WIN, 0, self.id, self.unacked)
            self.unacked = 0
        return out

    def until(self, mark, limit=65536):
        out = b""
        while not out.endswith(mark):
            out += self.take(1)
            assert len(out) < limit
        return out

    def request(self, method, path, body=b"", extra=""):
        self.write(("%s %s HTTP/1.1\r\nHost: guest\r\nContent-Length: %d\r\n%s\r\n"
                    % (method, path, len(body), extra)).encode() + body)
        head = self.until(b"\r\n\r\n").decode()
        status = int(head.split()[1])
        length = [int(l.split(":")[1]) for l in head.split("\r\n")
                  if l.lower().startswith("content-length:")]
        data = self.take(length[0]) if length else b""
        return status, data


def call(mux, method, path, body=None):
    st = mux.open()
    status, data = st.request(method, path,
                              json.dumps(body).encode() if body is not None else b"")
    st.rst()
    return status, json.loads(data) if data else None


class Exec:
    def __init__(self, mux, cmd, **more):
        self.st = mux.open()
        self.out = {FRAME_STDOUT: b"", FRAME_STDERR: b"", FRAME_STATUS: b""}
        self.status, self.answer = self.st.request(
            "POST", "/v1/exec", json.dumps(dict(cmd=cmd, **more)).encode(),
            "Connection: Upgrade\r\nUpgrade: mews-exec\r\n")

    def frame(self, ch, data):
        self.st.write(struct.pack(">BI", ch, len(data)) + data)

    def end_stdin(self):
        self.frame(FRAME_CLOSE, bytes([FRAME_STDIN]))

    def step(self):
        ch, n = struct.unpack(">BI", self.st.take(FRAME_HEAD_LEN))
        self.out[ch] += self.st.take(n)

    def wait(self):
        assert self.status == 101, (self.status, self.answer)
        while not self.out[FRAME_STATUS]:
            self.step()
        s = json.loads(self.out[FRAME_STATUS])
        self.st.fin()
        if s["status"] == "Success":
            return 0
        return int(s["details"]["causes"][0]["message"])


def run(mux, *cmd, **more):
    e = Exec(mux, list(cmd), **more)
    code = e.wait()
    return code, e.out[FRAME_STDOUT], e.out[FRAME_STDERR]


def spec(**more):
    s = {"version": BOOT_SPEC_VERSION, "uid": "0123456789abcdef", "hostname": "bird",
         "ipv4": {"address": "10.0.2.15", "prefix": 24, "gateway": "10.0.2.2"},
         "dns": ["10.0.2.3"], "mac": "52:54:00:12:34:56",
         "env": ["GREETING=hello there"], "image": "busybox",
         "time_ns": 1900000000 * 10**9, "entropy": os.urandom(64).hex(),
         "key": os.urandom(32).hex()}
    s.update(more)
    return s


def run_booted(cases, begin, title="", **more):
    """The cases, t_*, on one guest that is booted; first begin(guest, mux)."""
    bad = 0
    g = Guest(**more)
    try:
        g.wait_line(b"mews-agent ready")
        mux = Mux(g.connect())
        assert call(mux, "PUT", "/v1/boot", spec())[0] == 200
        begin(g, mux)
        for case in cases:
            name = title + case.__name__[2:].replace("_", " ")
            start = time.monotonic()
            try:
                case()
                print("ok %s" % name)
                print("  %.2f s" % (time.monotonic() - start))
            except Exception:
                bad += 1
                print("not ok %s" % name)
                traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
    finally:
        g.pump()
        if bad:
            print(g.out.decode("utf-8", "replace")[-2000:])
        g.close()
    return 1 if bad else 0
