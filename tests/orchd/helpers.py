"""netd and launchd as orchd's tests play them.  They keep what they hold when
orchd dies, as the real ones do."""
import array
import contextlib
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import machine  # noqa: E402

DEADLINE = 10.0
(TAP_OPEN, TAP_READY, TAP_CLOSE, NET_DONE, NET_LIST, NET_HELD, NET_LIST_END,
 NET_ENSURE, NET_TEARDOWN, NET_ERR) = range(0x301, 0x30b)
(L_ATTACH, L_START, L_STOP, L_RELEASE, L_LIST, L_STREAM) = range(0x401, 0x407)
(L_DONE, L_ERR, L_HELD, L_LIST_END, L_EVENT, L_CAPS) = range(0x481, 0x487)
ADOPT = 1
LV_STARTING, LV_RUNNING, LV_READY, LV_STOPPING, LV_GONE = range(1, 6)
LE_RUNNING, LE_READY, LE_NEED_SPEC, LE_EXITED, LE_RUNG, LE_WARDEN = range(1, 7)
(EXIT_NONE, EXIT_OFF, EXIT_REBOOT, EXIT_PANIC, EXIT_STOPPED, EXIT_KILLED,
 EXIT_OOM, EXIT_VMM, EXIT_START, EXIT_KEEPER, EXIT_NO_AGENT) = range(11)

TAP, TAP_C, TAP_R, NERR = "=QHHI6sH", "=QHHI", "=QII", "=i192sI"
L_STARTF, L_STOPF, L_HELDF = "=QHHI", "=QII5II", "=QIIHB5xBBHIII"
L_EVF, L_CAPF, L_ERRF = "=QIIIiIB3xBBHIII128s", "=BBB5x112s64s", "=QiI192s"
CONFINED = (1, 0, 7, 3, 70000, 0)
HDR = "=IIQ"


class Gone(Exception):
    """orchd closed the channel."""


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
