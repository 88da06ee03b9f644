"""What apid's tests need: mews-apid alone, mewsd, orchd and its callers played
here.

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

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import rules  # noqa: E402
import sanitized  # noqa: E402
from tables import pack, pack_list, unpack  # noqa: E402
from wire import *  # noqa: E402,F403

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

CONN, GONE, RES = API_CONN, API_GONE, API_RES
CLOSED, LIST, GET, CREATE = API_CLOSED, API_VM_LIST, API_VM_GET, API_VM_CREATE
DELETE, START, STOP = API_VM_DELETE, API_VM_START, API_VM_STOP
STREAM, EVENTS, DOCTOR = API_STREAM, API_EVENTS, API_DOCTOR
NONE, ERROR, VM = API_DOC_NONE, API_DOC_ERROR, API_DOC_OBJECT
VMS, EVENTS_DOC = API_DOC_LIST, API_DOC_EVENTS
NOW, AT_ONCE = API_NOW, API_AT_ONCE
OPEN, OPENED = FRAME_OPEN, FRAME_OPENED

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


# --- documents ---

def vm_wire(name, vid=1):
    return pack("VM", 0, id=vid, name=name, status="running", runtime="busybox",
                pid=42, ip_address="192.168.127.10",
                mac_address="02:f9:e8:54:fb:c4", cpu_cores=2, memory_mb=512,
                uid=0xabc, image="busybox", tenant="default", ready=True,
                reason="<b>", accel="tcg")


def vm_json(name, vid=1):
    return ('{"id":%d,"name":"%s","status":"running","runtime":"busybox",'
            '"pid":42,"ip_address":"192.168.127.10",'
            '"mac_address":"02:f9:e8:54:fb:c4","cpu_cores":2,"memory_mb":512,'
            '"kernel_cmdline":"","serial_socket":"",'
            '"uid":"0000000000000abc","image":"busybox","tenant":"default",'
            '"ready":true,"reason":"\\u003cb\\u003e","accel":"tcg"}'
            % (vid, name)).encode()


def event_wire(seq, name="web", message="vm started"):
    return struct.pack("=Q", seq) + pack(
        "Event", 0, type="VM_RUNNING", name=name, status="running",
        timestamp=10**18, message=message, seq=seq)


# --- mewsd and orchd ---

class Msg:
    def __init__(self, data, fds):
        head = msg_hdr.at(data)
        self.type, self.id = head.type, head.id
        self.body = data[head.SIZE:]
        want(len(self.body), head.len, "message length")
        self.fds = fds
        self.conn = 0
        if self.type == CLOSED:
            self.conn = api_conn.of(self.body).conn
        elif self.type != BOOT_READY:
            want(len(self.body) >= api_req.SIZE, True, "api_req")
            r = api_req.at(self.body)
            self.conn, self.after = r.conn, r.after
            self.kind, self.flags = r.kind, r.flags
            self.since_ns = r.since_ns
            self.name = bytes(r.var).rstrip(b"\0").decode()
            self.key = r.key.decode()
            self.tenant = r.tenant.decode()
            self.tail = self.body[api_req.SIZE:]

    def __repr__(self):
        return "<0x%x conn %d>" % (self.type, self.conn)


def recv(sock, timeout=WAIT):
    if not select.select([sock], [], [], timeout)[0]:
        return None
    data, fds, _, _ = socket.recv_fds(sock, 16384, 4)
    return Msg(data, fds) if data else None


def send(sock, mtype, mid, body, fd=None):
    data = bytes(msg_hdr(type=mtype, len=len(body), id=mid)) + body
    socket.send_fds(sock, [data], [] if fd is None else [fd])


class Harness:
    def __init__(self, room=2, idle_ms=60000, max_conns=200,
                 ask_ms=120000, nusers=1, held_max=1 << 28, write_ms=30000):
        self.root = None
        self.room, self.idle_ms, self.max_conns = room, idle_ms, max_conns
        self.ask_ms = ask_ms
        self.shares = dict(nusers=nusers, nadmins=1, held_max=held_max,
                           write_ms=write_ms)
        self.conn = 1000
        self.kept = {}

    def start(self):
        if self.root is None:
            self.root = tempfile.mkdtemp(prefix="apid.")
            os.chmod(self.root, 0o755)
            self.log = self.root + ".log"
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
        common = boot_common(version=BOOT_VERSION, room=self.room, uid=UID,
                             gid=UID, log_level=3, nofile=1024,
                             root=self.root.encode())
        conf = apid_conf(max_conns=self.max_conns, idle_ms=self.idle_ms,
                         ask_ms=self.ask_ms, **self.shares)
        send(self.boot, BOOT_CONF, 0, bytes(common) + bytes(conf))
        m = recv(self.boot)
        want(m and m.type, BOOT_READY, "start")
        self.plumb()
        return self

    def plumb(self):
        self.chan, other = socket.socketpair(socket.AF_UNIX,
                                             socket.SOCK_SEQPACKET)
        send(self.boot, BOOT_PEER, 0, bytes(boot_peer(room=ROOM_ORCHD)),
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

    def clean(self):
        shutil.rmtree(self.root, True)
        os.unlink(self.log)

    def client(self, keep=False, uid=1, role=ROLE_USER, tenant=0):
        """tenant: as one of its members, whom mews.conf does not list."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.conn += 1
        send(self.chan, CONN, 0,
             bytes(api_caller(conn=self.conn, uid=uid, role=role,
                              share=2 if tenant else int(role == ROLE_ADMIN),
                              divided=int(tenant != 0), tenant=tenant)),
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
             bytes(api_res(conn=m.conn if conn is None else conn, status=status,
                           doc=doc, total=total, last=last)) + tail, fd)


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


H = Harness()  # the apid of a test: run() starts it


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


BASE = "POST /api/v1/vms HTTP/1.1\r\nHost: m\r\n"


def memfd(data, seal=True):
    import fcntl
    fd = os.memfd_create("doc", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, 1033, 0xf)
    return fd


def healthy():
    cl = H.client().send(req("GET /healthz"))
    want(cl.answer(), (200, b'{"status":"ok"}'))
    H.expect_nothing()


# --- server-sent events ---

def sse(*fields, path="/api/v1/events/vms", last=0, after=NOW, first=(), h=H):
    cl = h.client().send(req("GET " + path, *fields))
    m = h.expect(EVENTS, cl)
    want((m.after, m.flags, m.name, m.tail), (after, AT_ONCE, "", b""),
         "how it begins")
    h.answer(m, 200, EVENTS_DOC, pack_list(first), last=last)
    want(cl.head(), 200)
    want(cl.fields["content-type"], "text/event-stream")
    want(cl.fields["cache-control"], "no-store")
    if not first:  # where it is, before anything comes
        want(cl.chunk(), b"id: %d\n\n" % last)
    for i in first:
        want(cl.chunk(), sse_text(struct.unpack_from("=Q", i)[0]))
    m = h.expect(EVENTS, cl)
    want(m.flags, 0, "now it may wait")
    return cl, m


def sse_text(seq, name="web"):
    return ('id: %d\nevent: VM_RUNNING\ndata: {"type":"VM_RUNNING",'
            '"name":"%s","status":"running",'
            '"timestamp":"2001-09-09T01:46:40Z","message":"vm started"}\n\n'
            % (seq, name)).encode()


# --- streams ---

class Stream:
    """The warden's end."""

    def __init__(self, m, h=H):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX,
                                              socket.SOCK_STREAM)
        self.sock.settimeout(WAIT)
        h.answer(m, 101, fd=theirs.fileno())
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


def execute(request=None, h=H):
    cl = h.client()
    cl.upgrade("/api/v1/vms/web/exec", K8S)
    m = h.expect(STREAM, cl)
    want((m.name, m.kind), ("web", 1))
    st = Stream(m, h)
    cl.upgraded()
    want(cl.fields["sec-websocket-protocol"], K8S)
    if request is not None:
        cl.frame(1, json.dumps(request).encode())
    return cl, st


def rss():
    for line in open("/proc/%d/status" % H.pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Bad("no VmRSS")


# --- a test's run ---

def named(scope):
    """Each function t_* of a test without arguments is a case."""
    for name, fn in sorted(scope.items()):
        if name.startswith("t_") and fn.__code__.co_argcount == 0:
            case(name[2:].replace("_", " "), fn)


def controls(path):
    """Each rule's case of that test, with the rule switched off, must fail."""
    if not CONTROLS or ONLY:
        return
    of = rules.of(path, "mews-apid")
    rules.build("B=" + BUILD, *[rules.off(r, "mews-apid") for r, _ in of])
    for rule, name in of:
        case("without %s" % rule, control, path, rule, name)


def control(path, rule, name):
    p = subprocess.run([sys.executable, os.path.abspath(path), name],
                       env=dict(os.environ,
                                MEWS_PROGRAM=rules.off(rule, "mews-apid")),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=60)
    want("\nnot ok apid " in "\n" + p.stdout and "\nok " not in p.stdout, True,
         p.stdout[-300:])
    rules.proof(rule, "mews-apid", path, name, p.stdout)


def finish():
    if H.pid:
        try:
            H.stop()
        except Bad:
            os.kill(H.pid, 9)
    H.clean()
    return 1 if failed else 0


def run(cases):
    """Runs what cases() does with case(); the exit status."""
    if os.geteuid() != 0:
        print("skip apid: needs root, to give it away")
        return 0
    H.start()
    cases()
    if not ONLY:
        case("lives", lambda: want(H.dead(), None))
    return finish()
