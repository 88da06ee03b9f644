"""What orchd's tests need: mews-orchd alone in a private host, with mewsd, both
apids, netd and launchd played here."""
import contextlib
import ipaddress
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import traceback

from helpers import *  # noqa: F403
from documents import *  # noqa: F403, E402
import rules  # found by helpers
import suite

BUILD = suite.BUILD
PROGRAM = os.environ.get("MEWS_PROGRAM")
CONTROLS = PROGRAM is None and not suite.sanitized.ON
ROOT = "/run/o"
ROOM_ADMIN = ROOM_API_ADMIN
CLOSED, STREAM, EVENTS, DOCTOR = API_CLOSED, API_STREAM, API_EVENTS, API_DOCTOR
LIST, GET, CREATE, DELETE = API_VM_LIST, API_VM_GET, API_VM_CREATE, API_VM_DELETE
START, STOP = API_VM_START, API_VM_STOP
NOW, AT_ONCE = API_NOW, API_AT_ONCE


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
        self.conn, self.status, self.kind = head.conn, head.status, head.doc
        self.total, self.last = head.total, head.last
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
        self.program = program or PROGRAM or BUILD + "/mews-orchd"
        self.root = root
        self.store = root + "/store"
        self.uids = int(os.environ["MEWS_TEST_UIDS"])
        self.uid, self.user = self.uids, self.uids + suite.USER
        self.admin = self.uids + 10
        self.stranger = self.uids + suite.STRANGER
        self.conf = dict(max_vms=64, max_vcpus=4, max_mem=4096, max_conns=256,
                         ready_ms=20000, temporary_ms=60000, orphan_ms=0, uplink="",
                         stop_ms=(100, 100, 100, 100, 100),
                         nofile=1024, prefix=24, nusers=1)
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
        self.audits = []  # heads of the trail: tenant, row, hash
        self.conns, self.gone, self.res = {}, set(), {}
        self.callers = {}  # connection: uid, role
        self.api = {}
        c = self.conf
        net = int(ipaddress.ip_address("10.77.0.0"))
        conf = orchd_conf(
            max_vms=c["max_vms"], max_vcpus=c["max_vcpus"],
            max_mem_mib=c["max_mem"], max_conns=c["max_conns"], subnet=net,
            prefix=c["prefix"], gateway=net + 1, ready_ms=c["ready_ms"],
            temporary_ms=c["temporary_ms"], orphan_ms=c["orphan_ms"],
            uplink=c["uplink"].encode(),
            stop_ms=c["stop_ms"], nadmins=1, nusers=c["nusers"],
            admins=[self.admin],
            users=[self.user - i for i in range(c["nusers"])])
        common = boot_common(
            version=BOOT_VERSION, room=ROOM_ORCHD, uid=self.uid, gid=self.uid,
            log_level=3, nofile=c["nofile"], kill=kill_at(
                room=ROOM_ORCHD if kill[1] else 0, type=kill[0], nth=kill[1],
                when=kill[2]), root=self.store.encode())
        self.boot.send(BOOT_CONF, bytes(common) + bytes(conf))
        if peers:
            self.until(lambda: self.ready, "BOOT_READY")
            for room in (ROOM_API, ROOM_ADMIN, ROOM_NETD, ROOM_LAUNCHD):
                self.plumb(room)
            self.boot.send(BOOT_LISTENER, fds=[os.dup(self.listener.fileno())])
        return self

    def on_boot(self, kind, ident, p, fd):
        if kind == BOOT_FAULT:
            self.faults.append(tuple(boot_peer.of(p).list()))
            return
        if kind == BOOT_ENDED:
            self.ended.append(tuple(boot_peer.of(p).list()))
            return
        if kind == BOOT_AUDIT:
            a = boot_audit.of(p)
            self.audits.append((a.tenant, a.row, bytes(a.hash)))
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
            self.boot.send(BOOT_PEER,
                           bytes(boot_peer(room=room, life=self.life)),
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
            who = api_caller.of(p)
            conn = who.conn
            self.callers[conn] = who.uid, who.role
            assert conn not in self.conns and fd >= 0 and conn
            self.conns[conn] = (room, socket.socket(fileno=fd))
        elif kind == API_GONE:
            self.gone.add(api_conn.of(p).conn)
        else:
            assert kind == API_RES
            head = api_res.at(p)
            assert (head.conn, ident) not in self.res, "answered twice"
            self.res[head.conn, ident] = Res(head, p[head.SIZE:], fd)

    def connect(self, uid=0, groups=(), gid=0):
        s = socket.socket(socket.AF_UNIX)
        before = os.getgroups()
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        try:
            s.connect(self.path)
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)
        return s

    def client(self, uid=0, groups=(), gid=0):
        s = self.connect(uid, groups, gid)
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
            since=0, fd=None, room=None, tenant=""):
        self.seq += 1
        head = bytes(api_req(conn=c.id, after=after, since_ns=since, kind=kind, flags=flags,
                             var=[name.encode()], key=key.encode(),
                             tenant=tenant.encode()))
        fds = []
        if fd is None and len(doc) > API_TAIL_MAX:
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
        self.api[c.room].send(CLOSED, bytes(api_conn(conn=c.id)))
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
        bad += ["log of %x" % u for u in self.launch.kept if u not in known]
        for u, v in known.items():
            up = v["status"] == "running"
            if up != (u in self.net.taps) or up != (u in self.launch.vms):
                bad.append("%s is %s" % (v["name"], v["status"]))
        return bad

    def cpu(self):
        """Seconds of all its threads; /proc/PID/stat counts in ticks."""
        total = 0
        for t in os.listdir("/proc/%d/task" % self.p.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.p.pid, t)) as f:
                total += int(f.read().split()[0])
        return total / 1e9


def up(**kw):
    l = Peers(**kw)
    return l.start()


def eq(got, want):
    assert got == want, "%r, not %r" % (got, want)


def held_up(l, where, kind):
    """From now on helper requests of one kind wait in the list returned."""
    waiting = []

    def hook(k, ident, p):
        if k == kind:
            waiting.append((k, ident, p))
            return True
        return False
    where.hook = hook
    return waiting


def let_go(where, waiting):
    where.hook = None
    for m in waiting:
        where.act(*m)
    waiting.clear()


def refused(l, room, send, told=True):
    """The channel of that room is closed, mewsd told of it, and orchd lives on."""
    chan = l.api.get(room) or {ROOM_NETD: l.net, ROOM_LAUNCHD: l.launch}[room].chan
    l.settle(0.02)
    l.faults.clear()
    l.ended.clear()
    life = l.lives[room]
    with contextlib.suppress(Gone):
        send(chan)
    l.until(lambda: chan.closed, "refusal", 3)
    if told:
        l.until(lambda: l.faults == [(room, life)], "BOOT_FAULT", 3)
    else:
        l.until(lambda: l.ended == [(room, life)], "BOOT_ENDED", 3)
        eq(l.faults, [])
    assert l.alive()
    l.api.pop(room, None)
    l.plumb(room)


# -- a test's run ------------------------------------------------------------

def control(path, rule, name, fn):
    global PROGRAM
    PROGRAM = os.path.join(suite.TOP, rules.off(rule, "mews-orchd"))
    try:
        fn()
    except Exception:
        rules.proof(rule, "mews-orchd", path, name, traceback.format_exc())
        return
    finally:
        PROGRAM = None
    raise AssertionError("with %s off it does not fail" % rule)


def run(path, *cases):
    """Runs the functions that are a test's cases, and with each rule of theirs
    off the case that must then fail."""
    named = {f.__name__.replace("_", "-"): f for f in cases}
    of = rules.of(path, "mews-orchd") if CONTROLS else ()
    if "MEWS_TEST_HOST" not in os.environ and of:
        rules.build(*[rules.off(r, "mews-orchd") for r, _ in of])
    suite.enter()
    for rule, name in of:
        named["%s without %s" % (name, rule)] = \
            lambda r=rule, n=name, f=named[name]: control(path, r, n, f)
    sys.exit(suite.run(named))
