"""netd and launchd as orchd's tests play them.  They keep what they hold when
orchd dies, as the real ones do."""
import array
import contextlib
import os
import select
import socket
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import machine as machines  # noqa: E402
from wire import *  # noqa: E402,F403

DEADLINE = 10.0
CONFINED = launch_confined(verified=1, threads=7, filters=3, uid=70000)


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
        head = bytes(msg_hdr(type=kind, len=len(payload) + lie, id=ident))
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
            head = msg_hdr.at(data)
            assert head.len == len(data) - head.SIZE, "a length that lies"
            assert len(fds) <= 1
            self.on(head.type, head.id, data[head.SIZE:],
                    fds[0] if fds else -1)
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

    def err(self, ident, code, msg=b"no", flags=0):
        self.tell(NET_ERR, bytes(net_err(code=code, msg=msg, flags=flags)),
                  ident)

    def ready(self, ident, uid, give=True):
        a, b = socket.socketpair()
        self.tell(NET_TAP_READY, bytes(net_tap_ready(vm=uid, ifindex=7)), ident,
                       [a.fileno()] if give else [])
        a.close()
        b.close()

    def act(self, kind, ident, p):
        if kind == NET_LIST:
            rows = [bytes(net_tap(vm=u, slot=s, ipv4=ip, mac=mac))
                    for u, (s, ip, mac) in self.taps.items()]
            for i in range(0, len(rows), 256):
                self.tell(NET_HELD, b"".join(rows[i:i + 256]), ident)
            self.tell(NET_LIST_END, bytes(net_list_end(count=len(rows))), ident)
        elif kind == NET_TAP_OPEN:
            tap = net_tap.of(p)
            uid, slot, ip, mac = tap.vm, tap.slot, tap.ipv4, bytes(tap.mac)
            if tap.flags & NET_ADOPT:
                if uid not in self.taps:
                    return self.err(ident, -2, b"no such tap")
                return self.ready(ident, uid, False)
            if uid in self.taps:
                return self.err(ident, -16, b"busy")
            assert slot not in [t[0] for t in self.taps.values()], "slot twice"
            assert ip not in [t[1] for t in self.taps.values()], "address twice"
            self.taps[uid] = (slot, ip, mac)
            self.ready(ident, uid)
        elif kind == NET_TAP_CLOSE:
            self.taps.pop(net_tap_close.of(p).vm, None)
            self.tell(NET_DONE, b"", ident)
        elif kind == NET_ENSURE:
            self.tell(NET_DONE, b"", ident)
        else:
            raise AssertionError("netd was told 0x%x" % kind)


class Launch(Helper):
    """Plays launchd with hypervisors that run and are ready at once."""

    def __init__(self):
        self.vms = {}  # uid: [state, slot, pid]
        self.kept = set()  # of whom log and console are there
        self.log, self.hook, self.chan = [], None, None
        self.attached, self.specs, self.streams = {}, {}, []
        self.pids = 5000
        self.starts = {}
        self.left = {}  # uid: ms of the time that it was given to stop

    def on(self, kind, ident, p, fd):
        self.log.append((kind, ident, p))
        if kind == LAUNCH_ATTACH:
            a = launch_attach.of(p)
            assert fd >= 0
            if a.role == FDR_SPEC:
                self.specs[a.vm] = os.pread(fd, 1 << 21, 0)
            self.attached.setdefault(a.vm, set()).add(a.role)
            os.close(fd)
            return
        if kind in (LAUNCH_STREAM, LAUNCH_LOG):
            s = (launch_log if kind == LAUNCH_LOG else launch_stream).of(p)
            self.streams.append((s, fd))
            self.done(ident, s.vm)
            return
        assert fd < 0
        if self.hook and self.hook(kind, ident, p):
            return
        self.act(kind, ident, p)

    def event(self, uid, kind, pid=0, reason=0, status=0, rung=0, accel=1,
              detail=b"", confined=CONFINED):
        self.tell(LAUNCH_EVENT, bytes(launch_event(
            vm=uid, kind=kind, pid=pid, reason=reason, status=status,
            rung=rung, accel=accel, backend=BACKEND_QEMU, vcpus=2, mem_mib=256,
            confined=confined, detail=detail)))

    def err(self, ident, uid, code=-5, msg=b"no"):
        self.tell(LAUNCH_ERR, bytes(launch_err(vm=uid, code=code, msg=msg)), ident)

    def done(self, ident, uid):
        self.tell(LAUNCH_DONE, bytes(launch_vm(vm=uid)), ident)

    def held(self, uid, state, slot, pid, ident=0):
        left = self.left.get(uid, 0) if state == LV_STOPPING else 0
        self.tell(LAUNCH_HELD, bytes(launch_held(
            vm=uid, state=state, pid=pid, slot=slot, accel=ACCEL_TCG,
            backend=BACKEND_QEMU, vcpus=2, mem_mib=256, confined=CONFINED,
            grace_ms=left)), ident)

    def exit(self, uid, reason=EXIT_GUEST_OFF, detail=b"", status=0):
        self.vms[uid][0] = LV_GONE
        self.event(uid, LE_EXITED, reason=reason, detail=detail, status=status)

    def act(self, kind, ident, p):
        uid = launch_vm.at(p).vm if p else 0
        if kind == LAUNCH_LIST:
            for u, (state, slot, pid) in self.vms.items():
                self.held(u, state, slot, pid, ident)
            for u in self.kept:
                self.tell(LAUNCH_KEPT, bytes(launch_vm(vm=u)), ident)
            self.tell(LAUNCH_LIST_END, bytes(launch_count(n=len(self.vms))),
                      ident)
        elif kind == LAUNCH_START:
            f = launch_start.at(p)
            m = machines.unpack(p[f.SIZE:])
            assert [d[:2] for d in m["devs"]] == [(DEV_NIC, 0)], m
            assert f.then == LAUNCH_RUN and m["accel"] == m["flags"] == m["tsc"] == 0, m
            if uid in self.vms:
                return self.err(ident, uid, -17, b"exists")
            had = self.attached.pop(uid, set())
            assert {FDR_TAP, FDR_SPEC} <= had, "START without tap or spec"
            assert f.slot not in [v[1] for v in self.vms.values()], "slot twice"
            self.kept.add(uid)
            self.starts[uid] = self.starts.get(uid, 0) + 1
            self.pids += 1
            self.vms[uid] = [LV_STARTING, f.slot, self.pids]
            self.done(ident, uid)
            self.run(uid)
        elif kind == LAUNCH_STOP:
            if uid not in self.vms:
                return self.err(ident, uid, -2, b"no such vm")
            self.done(ident, uid)
            if self.vms[uid][0] != LV_GONE:
                self.exit(uid, EXIT_STOPPED)
        elif kind == LAUNCH_RELEASE:
            self.vms.pop(uid, None)
            self.done(ident, uid)
        elif kind == LAUNCH_FORGET:
            assert ident == 0
            self.kept.discard(uid)
        else:
            raise AssertionError("launchd was told 0x%x" % kind)

    def run(self, uid):
        v = self.vms[uid]
        v[0] = LV_RUNNING
        self.event(uid, LE_RUNNING, pid=v[2])
        v[0] = LV_READY
        self.event(uid, LE_READY)
