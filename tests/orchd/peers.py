"""What orchd_test needs: mews-orchd alone in a private host, with mewsd, both
apids, netd and launchd played here.  The played helpers keep what they hold
when orchd dies, as the real ones do."""
import array
import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import machine  # noqa: E402
import suite  # noqa: E402

BUILD = suite.BUILD
DEADLINE = 10.0
ROOT = "/run/o"
ROOM_ORCHD, ROOM_API, ROOM_ADMIN, ROOM_NETD, ROOM_LAUNCHD = 1, 2, 3, 4, 5

(BOOT_CONF, BOOT_PEER, BOOT_LISTENER, BOOT_STOP, BOOT_READY,
 BOOT_FAULT, BOOT_ENDED) = range(0x101, 0x108)
API_CONN, API_GONE, API_RES = 0x201, 0x202, 0x203
(CLOSED, LIST, GET, CREATE, DELETE, START, STOP, STREAM, EVENTS,
 DOCTOR) = range(0x210, 0x21a)
(TAP_OPEN, TAP_READY, TAP_CLOSE, NET_DONE, NET_LIST, NET_HELD, NET_LIST_END,
 NET_ENSURE, NET_TEARDOWN, NET_ERR) = range(0x301, 0x30b)
(L_ATTACH, L_START, L_STOP, L_RELEASE, L_LIST, L_STREAM) = range(0x401, 0x407)
(L_DONE, L_ERR, L_HELD, L_LIST_END, L_EVENT, L_CAPS) = range(0x481, 0x487)
ADOPT = 1
LV_STARTING, LV_RUNNING, LV_READY, LV_STOPPING, LV_GONE = range(1, 6)
LE_RUNNING, LE_READY, LE_NEED_SPEC, LE_EXITED, LE_RUNG, LE_WARDEN = range(1, 7)
(EXIT_NONE, EXIT_OFF, EXIT_REBOOT, EXIT_PANIC, EXIT_STOPPED, EXIT_KILLED,
 EXIT_OOM, EXIT_VMM, EXIT_START, EXIT_KEEPER, EXIT_NO_AGENT) = range(11)
NOW = 2**64 - 1
AT_ONCE = 1

HDR, CONN, REQ, RES = "=IIQ", "=Q", "=QQII128s128s", "=QIIQQ"
TAP, TAP_C, TAP_R, NERR = "=QHHI6sH", "=QHHI", "=QII", "=i192sI"
L_STARTF, L_STOPF, L_HELDF = "=QHHI", "=QII5II", "=QIIHB5xBBHIII"
L_EVF, L_CAPF, L_ERRF = "=QIIIiIB3xBBHIII128s", "=BBB5x112s64s", "=QiI192s"
CONFINED = (1, 0, 7, 3, 70000, 0)
STATES = ["", "pending", "starting", "running", "stopped", "crashed",
          "paused", "stopping", "created", "deleting"]
EVENT_TYPES = ["VM_CREATED", "VM_RUNNING", "VM_STOPPED", "VM_CRASHED",
               "VM_DELETED", "VM_LOG", "VM_PAUSED", "VM_READY"]


class Gone(Exception):
    """orchd closed the channel."""


# -- documents, as proto/table_wire.c has them -------------------------------

def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("=I", len(s)) + s


def vm_create(name="", image="busybox", cpu_cores=1, memory_mb=96, env=(),
              plugin="", runtime="", kernel_cmdline="", hostname="", has=None):
    packed = b"".join(e.encode() + b"\0" for e in env)
    given = [name, plugin, image, runtime, cpu_cores, memory_mb,
             kernel_cmdline, "", "", env, hostname]
    bits = sum(1 << i for i, v in enumerate(given) if v)
    return (struct.pack("=Q", bits if has is None else has) + text(name) +
            text(plugin) + text(image) + text(runtime) +
            struct.pack("=qq", cpu_cores, memory_mb) + text(kernel_cmdline) +
            text("") + text("") +
            struct.pack("=II", len(env), len(packed)) + packed + text(hostname))


def vm_query(status=None, runtime="", q="", limit=None, offset=0, sort=0,
             desc=False):
    bits, mid = 0, b""
    out = b""
    if status is not None:
        bits |= 1
        out += struct.pack("=I", sum(1 << STATES.index(s) for s in status))
    out += text(runtime) + text("") + text(q)
    for i, v in ((1, runtime), (3, q), (5, offset), (6, sort), (7, desc)):
        bits |= (1 << i) if v else 0
    if limit is not None:
        bits |= 1 << 4
        mid = struct.pack("=Q", limit)
    return (struct.pack("=Q", bits) + out + mid +
            struct.pack("=QII", offset, sort, desc))


class Cur:
    def __init__(self, b):
        self.b, self.at = b, 0

    def get(self, fmt):
        v = struct.unpack_from("=" + fmt, self.b, self.at)
        self.at += struct.calcsize("=" + fmt)
        return v[0]

    def text(self):
        n = self.get("I")
        s = self.b[self.at:self.at + n]
        assert len(s) == n, "cut short"
        self.at += n
        assert all(32 <= c < 127 for c in s), "not fit for a reader: %r" % s
        return s.decode()


def vm_view(b):
    """As apid would take it: what its tables refuse fails here too."""
    c, v = Cur(b), {}
    has = c.get("Q")
    v["id"], v["name"], v["status"] = c.get("q"), c.text(), STATES[c.get("I")]
    v["runtime"], v["pid"] = c.text(), c.get("q")
    assert 0 <= v["pid"] < 2**31, v["pid"]
    v["ip"], v["mac"] = c.text(), c.text()
    v["cpus"], v["mem"] = c.get("q"), c.get("q")
    v["cmdline"], v["serial"] = c.text(), c.text()
    v["created"], v["updated"] = c.get("q"), c.get("q")
    v["uid"], v["image"], v["tenant"] = c.get("Q"), c.text(), c.text()
    v["ready"], v["reason"] = bool(c.get("B")), c.text()
    if has & 1 << 18:
        v["exit"] = c.get("q")
        assert 0 <= v["exit"] <= 255
    v["accel"] = c.get("I")
    if has & 1 << 20:
        c.get("Q")
        v["verified"], v["filters"] = c.get("B"), c.get("q")
        assert 0 <= v["filters"] <= 1024
        v["cgroup"], v["cid"] = c.text(), c.get("q")
    assert c.at == len(b), "trailing bytes"
    return v


def event_view(b):
    c, v = Cur(b), {}
    v["id"] = c.get("Q")
    c.get("Q")
    v["type"], v["name"] = EVENT_TYPES[c.get("I")], c.text()
    v["status"], v["ip"], v["mac"] = STATES[c.get("I")], c.text(), c.text()
    v["pid"], v["at"], v["message"] = c.get("q"), c.get("q"), c.text()
    assert 0 <= v["pid"] < 2**31
    c.get("I"), c.text()
    v["uid"], v["seq"] = c.get("Q"), c.get("q")
    assert c.at == len(b) and v["seq"] == v["id"]
    return v


def check_view(b):
    c = Cur(b)
    c.get("Q")
    return c.text(), bool(c.get("B")), c.text()


def doc_list(b, item):
    n, at, out = struct.unpack_from("=I", b)[0], 4, []
    for _ in range(n):
        size, = struct.unpack_from("=I", b, at)
        out.append(item(b[at + 4:at + 4 + size]))
        at += 4 + size
    assert at == len(b)
    return out


def memfd(data, seals=0xf):
    import fcntl
    fd = os.memfd_create("doc", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    if seals:
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd


# -- channels ----------------------------------------------------------------

class Chan:
    """Our end of a channel; messages go to on(kind, id, payload, fd)."""

    def __init__(self, sock, on):
        self.sock, self.on, self.closed = sock, on, False
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def send(self, kind, payload=b"", ident=0, fds=(), lie=0):
        head = struct.pack(HDR, kind, len(payload) + lie, ident)
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.sock.sendmsg([head + payload], anc if fds else [])
                return
            except BlockingIOError:
                assert time.monotonic() < end, "orchd does not read"
                select.select([], [self.sock], [], 0.1)
            except OSError:
                raise Gone from None

    def pump(self):
        """Everything that is there; True when there was something."""
        any_ = False
        while not self.closed:
            try:
                data, anc, _, _ = self.sock.recvmsg(16384, 64,
                                                    socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                break
            except OSError:
                data, anc = b"", []
            any_ = True
            fds = [f for _, _, d in anc for f in array.array("i", d)]
            if not data:
                self.closed = True
                break
            kind, size, ident = struct.unpack_from(HDR, data)
            assert size == len(data) - 16, "a length that lies"
            assert len(fds) <= 1
            self.on(kind, ident, data[16:], fds[0] if fds else -1)
        return any_

    def close(self):
        self.sock.close()
        self.closed = True


class Helper:
    """What a played helper has done it keeps, told or not: orchd may be gone
    before it can be told."""
    chan = None

    def tell(self, *what):
        with contextlib.suppress(Gone):
            self.chan.send(*what)


class Net(Helper):
    """Plays netd: taps are ends of socket pairs."""

    def __init__(self):
        self.taps = {}  # uid: (slot, ip, mac)
        self.log, self.hook, self.chan = [], None, None
        self.forget = False

    def on(self, kind, ident, p, fd):
        self.log.append((kind, ident, p))
        if self.hook and self.hook(kind, ident, p):
            return
        self.act(kind, ident, p)

    def err(self, ident, code, msg=b"no"):
        self.tell(NET_ERR, struct.pack(NERR, code, msg, 0), ident)

    def ready(self, ident, uid, give=True):
        a, b = socket.socketpair()
        self.tell(TAP_READY, struct.pack(TAP_R, uid, 7, 0), ident,
                       [a.fileno()] if give else [])
        a.close()
        b.close()

    def act(self, kind, ident, p):
        if kind == NET_LIST:
            rows = [struct.pack(TAP, u, s, 0, ip, mac, 0)
                    for u, (s, ip, mac) in self.taps.items()]
            for i in range(0, len(rows), 256):
                self.tell(NET_HELD, b"".join(rows[i:i + 256]), ident)
            self.tell(NET_LIST_END, struct.pack("=II", len(rows), 0), ident)
        elif kind == TAP_OPEN:
            uid, slot, _, ip, mac, flags = struct.unpack(TAP, p)
            if flags & ADOPT:
                if uid not in self.taps:
                    return self.err(ident, -2, b"no such tap")
                return self.ready(ident, uid, False)
            if uid in self.taps:
                return self.err(ident, -16, b"busy")
            assert slot not in [t[0] for t in self.taps.values()], "slot twice"
            assert ip not in [t[1] for t in self.taps.values()], "address twice"
            self.taps[uid] = (slot, ip, mac)
            self.ready(ident, uid)
        elif kind == TAP_CLOSE:
            uid, slot, _, _ = struct.unpack(TAP_C, p)
            self.taps.pop(uid, None)
            self.tell(NET_DONE, b"", ident)
        elif kind == NET_ENSURE:
            self.tell(NET_DONE, b"", ident)
        else:
            raise AssertionError("netd was told 0x%x" % kind)


class Launch(Helper):
    """Plays launchd with hypervisors that run and are ready at once."""

    def __init__(self):
        self.vms = {}  # uid: [state, slot, pid]
        self.log, self.hook, self.chan = [], None, None
        self.attached, self.specs, self.streams = {}, {}, []
        self.pids = 5000
        self.starts = {}

    def on(self, kind, ident, p, fd):
        self.log.append((kind, ident, p))
        if kind == L_ATTACH:
            uid, what, _ = struct.unpack("=QII", p)
            assert fd >= 0
            if what == 2:
                self.specs[uid] = os.pread(fd, 1 << 21, 0)
            self.attached.setdefault(uid, set()).add(what)
            os.close(fd)
            return
        if kind == L_STREAM:
            self.streams.append((struct.unpack("=QII", p), fd))
            return
        assert fd < 0
        if self.hook and self.hook(kind, ident, p):
            return
        self.act(kind, ident, p)

    def event(self, uid, kind, pid=0, reason=0, status=0, rung=0, accel=1,
              detail=b"", conf=CONFINED):
        self.tell(L_EVENT, struct.pack(L_EVF, uid, kind, pid, reason,
                                            status, rung, accel, *conf, detail))

    def err(self, ident, uid, code=-5, msg=b"no"):
        self.tell(L_ERR, struct.pack(L_ERRF, uid, code, 0, msg), ident)

    def done(self, ident, uid):
        self.tell(L_DONE, struct.pack("=Q", uid), ident)

    def held(self, uid, state, slot, pid, ident=0):
        self.tell(L_HELD, struct.pack(L_HELDF, uid, state, pid, slot, 1,
                                           *CONFINED), ident)

    def exit(self, uid, reason=EXIT_OFF, detail=b"", status=0):
        self.vms[uid][0] = LV_GONE
        self.event(uid, LE_EXITED, reason=reason, detail=detail, status=status)

    def act(self, kind, ident, p):
        uid = struct.unpack_from("=Q", p)[0] if p else 0
        if kind == L_LIST:
            for u, (state, slot, pid) in self.vms.items():
                self.held(u, state, slot, pid, ident)
            self.tell(L_LIST_END, struct.pack("=II", len(self.vms), 0), ident)
        elif kind == L_START:
            f = struct.unpack_from(L_STARTF, p)
            m = machine.unpack(p[struct.calcsize(L_STARTF):])
            assert [d[:2] for d in m["devs"]] == [(machine.NIC, 0)], m
            assert f[2] == 1 and m["accel"] == m["flags"] == m["tsc"] == 0, m
            if uid in self.vms:
                return self.err(ident, uid, -17, b"exists")
            had = self.attached.pop(uid, set())
            assert 1 in had and 2 in had, "START without tap or spec"
            assert f[1] not in [v[1] for v in self.vms.values()], "slot twice"
            self.starts[uid] = self.starts.get(uid, 0) + 1
            self.pids += 1
            self.vms[uid] = [LV_STARTING, f[1], self.pids]
            self.done(ident, uid)
            self.run(uid)
        elif kind == L_STOP:
            if uid not in self.vms:
                return self.err(ident, uid, -2, b"no such vm")
            self.done(ident, uid)
            if self.vms[uid][0] != LV_GONE:
                self.exit(uid, EXIT_STOPPED)
        elif kind == L_RELEASE:
            self.vms.pop(uid, None)
            self.done(ident, uid)
        else:
            raise AssertionError("launchd was told 0x%x" % kind)

    def run(self, uid):
        v = self.vms[uid]
        v[0] = LV_RUNNING
        self.event(uid, LE_RUNNING, pid=v[2])
        v[0] = LV_READY
        self.event(uid, LE_READY)


class Client:
    def __init__(self, sock, ident, room, peer):
        self.sock, self.id, self.room, self.peer = sock, ident, room, peer

    def hung_up(self):
        """Whether the far end was shut down."""
        try:
            return self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False


class Res:
    def __init__(self, head, tail, fd):
        self.conn, self.status, self.kind, self.total, self.last = head
        self.fd = fd
        if fd >= 0 and self.kind:
            tail = os.pread(fd, 1 << 24, 0)
            os.close(fd)
        self.tail = tail

    def vm(self):
        assert self.kind == 2, self
        return vm_view(self.tail)

    def error(self):
        assert self.kind == 1, self
        return self.tail.decode()

    def __repr__(self):
        return "%d %r" % (self.status, self.tail[:200])


class Peers:
    """One orchd and everybody around it."""

    def __init__(self, program=None, root=ROOT, fresh=True, **conf):
        self.program = program or BUILD + "/mews-orchd"
        self.root = root
        self.store = root + "/store"
        self.uids = int(os.environ["MEWS_TEST_UIDS"])
        self.uid, self.user = self.uids, self.uids + suite.USER
        self.admin = self.uids + 10
        self.stranger = self.uids + suite.STRANGER
        self.conf = dict(max_vms=64, max_vcpus=4, max_mem=4096, max_conns=256,
                         ready_ms=20000, stop_ms=(100, 100, 100, 100, 100),
                         nofile=1024, prefix=24)
        self.conf.update(conf)
        self.net, self.launch = Net(), Launch()
        self.p = None
        self.seq = 100
        if fresh:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(root)
            os.makedirs(self.store, mode=0o700)
            os.chown(self.store, self.uid, self.uid)
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = root + "/api.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o666)
        self.listener.listen(128)
        self.log_path = root + "/orchd.log"

    # -- life

    def start(self, kill=(0, 0, 0), peers=True):
        """kill: (message type, nth, 1 before | 2 after)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        suite.sanitized.watch(self.log_path)
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open("/dev/null", os.O_RDWR)

        def child():
            fds = [os.dup2(f, 64 + i) for i, f in enumerate(
                (null, null, log, theirs.fileno(), null))]
            for i, f in enumerate(fds):
                os.dup2(f, i)
                os.close(f)
        self.p = subprocess.Popen([self.program], preexec_fn=child, env={},
                                  close_fds=False)
        os.close(log)
        os.close(null)
        theirs.close()
        self.boot = Chan(ours, self.on_boot)
        self.ready = False
        self.life, self.lives = 0, {}  # of the room plumbed last, of each
        self.faults = []  # rooms that mewsd is to replace
        self.ended = []  # rooms whose channel ended
        self.conns, self.gone, self.res = {}, set(), {}
        self.api = {}
        c = self.conf
        a, b = struct.unpack("!I", socket.inet_aton("10.77.0.0"))[0], 4
        conf = struct.pack("=8I5I2I32I256I", c["max_vms"], c["max_vcpus"],
                           c["max_mem"], c["max_conns"], a, c["prefix"], a + 1,
                           c["ready_ms"], *c["stop_ms"], 1, 1,
                           self.admin, *[0] * 31, self.user, *[0] * 255)
        common = struct.pack("=6I4I160s", 1, ROOM_ORCHD, self.uid, self.uid, 3,
                             c["nofile"], ROOM_ORCHD if kill[1] else 0, *kill,
                             self.store.encode())
        self.boot.send(BOOT_CONF, common + conf)
        if peers:
            self.until(lambda: self.ready, "BOOT_READY")
            for room in (ROOM_API, ROOM_ADMIN, ROOM_NETD, ROOM_LAUNCHD):
                self.plumb(room)
            self.boot.send(BOOT_LISTENER, fds=[os.dup(self.listener.fileno())])
        return self

    def on_boot(self, kind, ident, p, fd):
        if kind == BOOT_FAULT:
            self.faults.append(struct.unpack("=II", p))
            return
        if kind == BOOT_ENDED:
            self.ended.append(struct.unpack("=II", p))
            return
        assert kind == BOOT_READY
        self.ready = True

    def plumb(self, room):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if room in (ROOM_API, ROOM_ADMIN):
            chan = self.api[room] = Chan(ours, lambda *m: self.on_api(room, *m))
        elif room == ROOM_NETD:
            chan = self.net.chan = Chan(ours, self.net.on)
        else:
            chan = self.launch.chan = Chan(ours, self.launch.on)
            self.launch.attached = {}
        try:
            self.life += 1
            self.lives[room] = self.life
            self.boot.send(BOOT_PEER, struct.pack("=II", room, self.life),
                           fds=[theirs.fileno()])
        finally:
            theirs.close()
        return chan

    def kill(self):
        if self.p is None:
            return
        self.p.kill()
        self.reap()

    def reap(self):
        self.p.wait(DEADLINE)
        for c in self.chans():
            c.close()
        self.p = None

    def restart(self, **kw):
        self.kill()
        return self.start(**kw)

    def close(self):
        self.kill()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()

    def alive(self):
        return self.p is not None and self.p.poll() is None

    def chans(self):
        return [c for c in (self.boot, *self.api.values(), self.net.chan,
                            self.launch.chan) if c is not None]

    def pump(self, wait=0.0):
        """One round: True when something came."""
        open_ = [c for c in self.chans() if not c.closed]
        if not open_:
            return False
        r, _, _ = select.select(open_, [], [], wait)
        for c in r:
            with contextlib.suppress(Gone):
                c.pump()
        return bool(r)

    def until(self, fn, what="it", deadline=DEADLINE):
        end = time.monotonic() + deadline
        while True:
            got = fn()
            if got:
                return got
            if time.monotonic() > end:
                raise AssertionError("no %s within %g s\n%s" % (
                    what, deadline, self.log()))
            if not self.pump(0.2) and not self.alive():
                if fn():
                    return fn()
                raise Gone("orchd ended (%s) before %s\n%s" % (
                    self.p and self.p.returncode, what, self.log()))

    def settle(self, quiet=0.05):
        """Until nobody has had anything to say for a moment."""
        while self.pump(quiet):
            pass

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-4000:]

    # -- the apids

    def on_api(self, room, kind, ident, p, fd):
        if kind == API_CONN:
            conn, = struct.unpack(CONN, p)
            assert conn not in self.conns and fd >= 0 and conn
            self.conns[conn] = (room, socket.socket(fileno=fd))
        elif kind == API_GONE:
            conn, = struct.unpack(CONN, p)
            self.gone.add(conn)
        else:
            assert kind == API_RES
            head = struct.unpack_from(RES, p)
            assert (head[0], ident) not in self.res, "answered twice"
            self.res[head[0], ident] = Res(head, p[struct.calcsize(RES):], fd)

    def connect(self, uid=0):
        s = socket.socket(socket.AF_UNIX)
        os.seteuid(uid)
        try:
            s.connect(self.path)
        finally:
            os.seteuid(0)
        return s

    def client(self, uid=0):
        s = self.connect(uid)
        word = os.urandom(16)  # others may come out of the backlog
        try:
            s.send(word)
        except BrokenPipeError:  # accepted by one that died of it
            raise Gone from None

        def mine():
            for ident in sorted(self.conns, reverse=True)[:8]:
                with contextlib.suppress(OSError):
                    if self.conns[ident][1].recv(16, socket.MSG_DONTWAIT |
                                                 socket.MSG_PEEK) == word:
                        return ident
        ident = self.until(mine, "API_CONN")
        room, peer = self.conns[ident]
        peer.recv(16)
        return Client(s, ident, room, peer)

    def ask(self, c, verb, name="", key="", doc=b"", after=0, kind=0, flags=0,
            fd=None, room=None):
        self.seq += 1
        head = struct.pack(REQ, c.id, after, kind, flags, name.encode(),
                           key.encode())
        fds = []
        if fd is None and len(doc) > 8192:
            fd, doc = memfd(doc), b""
        if fd is not None:
            fds = [fd]
        self.api[room or c.room].send(verb, head + doc, self.seq, fds)
        for f in fds:
            os.close(f)
        return c.id, self.seq

    def answer(self, rid, deadline=DEADLINE):
        return self.until(lambda: self.res.get(rid), "answer", deadline)

    def call(self, c, verb, name="", **kw):
        return self.answer(self.ask(c, verb, name, **kw))

    def create(self, c, name, key="", **kw):
        return self.call(c, CREATE, key=key, doc=vm_create(name, **kw))

    def get(self, c, name):
        return self.call(c, GET, name)

    def vms(self, c, **kw):
        return doc_list(self.call(c, LIST, doc=vm_query(**kw)).tail, vm_view)

    def events(self, c, after=0):
        out = []
        while True:
            rid = self.ask(c, EVENTS, after=after)
            self.settle(0.02)
            if rid not in self.res:
                break
            r = self.res[rid]
            assert r.status == 200, r
            got = doc_list(r.tail, event_view)
            out += got
            after = r.last
            assert after == got[-1]["id"]
        # the last one is parked: the connection ends with it
        self.api[c.room].send(CLOSED, struct.pack(CONN, c.id))
        return out

    def state(self, c, name):
        r = self.get(c, name)
        return r.vm()["status"] if r.status == 200 else r.status

    def await_state(self, c, name, want):
        return self.until(lambda: self.state(c, name) == want,
                          "%s %s" % (name, want))

    def leaks(self, c):
        """What helpers hold against what the store knows."""
        self.settle()
        known = {v["uid"]: v for v in self.vms(c)}
        bad = ["tap of %x" % u for u in self.net.taps if u not in known]
        bad += ["vm %x" % u for u in self.launch.vms if u not in known]
        for u, v in known.items():
            up = v["status"] == "running"
            if up != (u in self.net.taps) or up != (u in self.launch.vms):
                bad.append("%s is %s" % (v["name"], v["status"]))
        return bad

    def cpu(self):
        with open("/proc/%d/stat" % self.p.pid) as f:
            v = f.read().rsplit(")", 1)[1].split()
        return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")
