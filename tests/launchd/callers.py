"""Plays mewsd and orchd for a real mews-launchd and mews-spawner inside private
namespaces.

Everything lives below one tmpfs; the process that runs this is pid 1 of its
own pid namespace, so whatever is left dies with it.
"""
import array
import contextlib
import os
import random
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
import sanitized  # noqa: E402
import machine  # noqa: E402
import spawn  # noqa: E402
from wire import (  # noqa: E402
    ACCEL_TCG, BOOT_CONF, BOOT_PEER, BOOT_READY, BOOT_STOP, EXIT_START_FAILED,
    FDR_SPEC, LAUNCH_ATTACH, LAUNCH_CAPS, LAUNCH_DONE, LAUNCH_ERR, LAUNCH_EVENT,
    LAUNCH_KEPT, LAUNCH_LIST, LAUNCH_LIST_END, LAUNCH_RELEASE, LAUNCH_RUN, LAUNCH_START,
    LAUNCH_STOP, LAUNCH_STREAM, LE_EXITED, LE_READY, LE_RUNNING, LV_UNKNOWN, ROOM_LAUNCHD,
    ROOM_ORCHD, ROOM_SPAWNER, STOP_AGENT, STREAM_EXEC, boot_peer, launch_attach,
    launch_caps, launch_err, launch_event, launch_held, launch_start,
    launch_stop, launch_stream, launch_vm, msg_hdr)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))

# tests/rules: programs with a rule off; then no controls of our own
PROGRAM = os.environ.get("MEWS_PROGRAM", "")
CONTROLS = not PROGRAM and not sanitized.ON

POLL = float(os.environ.get("TEST_POLL", "0.002"))  # seconds
OUTER = int(os.environ.get("MEWS_IN_NS", "0"))  # tells runs apart
UID_BASE, UID_COUNT = 200000 + (OUTER % 4096) * 4096, 4096
LAUNCH_UID = 199999
VM = 0x0123456789abcdef
# behaviours of the stand-in, tests/launchd/jail.h
(WELL, NO_AGENT_STOP, NO_SOFT_STOP, DEAF, NO_AGENT, EXIT_3, CRASH, REBOOT,
 NO_QMP, NO_FILTER, EXTRA, EXIT_4, SPIN, LATE, REFUSED, REFUSED_EARLY,
 OTHER, HALT) = range(64, 82)
DEADLINE = float(os.environ.get("CASE_DEADLINE", "10"))


class Fail(Exception):
    pass


def enter(script):
    """Runs the script again as pid 1 of private namespaces."""
    if OUTER:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # pid 1 reaps
        return
    if os.geteuid() != 0:
        print("skip %s: needs root" % os.path.basename(script))
        sys.exit(0)
    env = dict(os.environ, MEWS_IN_NS=str(random.randrange(1, 1 << 22)))
    argv = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
            "--kill-child", "--mount-proc", sys.executable, script]
    sys.exit(subprocess.run(argv + sys.argv[1:], env=env).returncode)


def wait(what, fn, deadline=None):
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        v = fn()
        if v:
            return v
        if time.monotonic() > end:
            raise Fail("no %s in time" % what)
        select.select([], [], [], POLL)


def status(pid, tid=None):
    with open("/proc/%d/task/%d/status" % (pid, tid or pid)) as f:
        return dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)


def pids():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def alive(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False


def processes(uid):
    out = []
    for p in pids():
        try:
            s = status(p)
        except OSError:
            continue
        if s["Uid"].split()[0] == str(uid) and s["State"][0] not in "ZX":
            out.append(p)
    return out


def exe(pid):
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid))
    except OSError:
        return ""


class Chan:
    def __init__(self, sock):
        self.s, self.id, self.events, self.caps = sock, 100, [], None

    def send(self, type_, payload=b"", fd=None, id_=0):
        anc = []
        if fd is not None:
            anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        payload = bytes(payload)
        head = msg_hdr(type=type_, len=len(payload), id=id_)
        self.s.sendmsg([bytes(head) + payload], anc)

    def recv(self, deadline=None):
        """(type, id, payload), or None at the end of the channel."""
        r, _, _ = select.select([self.s], [], [], deadline or DEADLINE)
        if not r:
            raise Fail("no message in time")
        try:
            data, anc, _, _ = self.s.recvmsg(16384, 256)
        except ConnectionResetError:
            return None
        if not data:
            return None
        head, data = msg_hdr.of(data[:msg_hdr.SIZE]), data[msg_hdr.SIZE:]
        if head.len != len(data):
            raise Fail("length lies")
        return head.type, head.id, data

    def _file(self, m):
        if m is None:
            raise Fail("channel closed")
        if m[0] == LAUNCH_EVENT:
            self.events.append(launch_event.of(m[2]))
            return True
        if m[0] == LAUNCH_CAPS:
            self.caps = launch_caps.of(m[2])
            return True
        return False

    def ask(self, type_, payload=b"", fd=None, deadline=None):
        """Sends a request; returns (type, payload) of its one answer."""
        self.id += 1
        self.send(type_, payload, fd, self.id)
        while True:
            m = self.recv(deadline)
            if self._file(m):
                continue
            if m[1] != self.id:
                raise Fail("answer 0x%x to nobody's question %d" % (m[0], m[1]))
            return m[0], m[2]

    def list(self, settled=True):
        """What is held; once each VM has said what it came to, or as it is."""
        end = time.monotonic() + DEADLINE
        while True:
            held = self.listed()
            if not settled or not any(h.state == LV_UNKNOWN and not h.fault
                                      for h in held.values()):
                return held
            if time.monotonic() > end:
                raise Fail("not known in time: %s" % held)
            select.select([], [], [], POLL)

    def listed(self):
        self.id += 1
        self.send(LAUNCH_LIST, b"", None, self.id)
        held, self.kept = {}, []
        while True:
            m = self.recv()
            if self._file(m):
                continue
            if m[0] == LAUNCH_LIST_END:
                return held
            if m[0] == LAUNCH_KEPT:
                self.kept += struct.unpack("=%dQ" % (len(m[2]) // 8), m[2])
                continue
            h = launch_held.of(m[2])
            held[h.vm] = h

    def event(self, vm, *kinds, deadline=None):
        """The next event of that VM of one of the kinds; others are kept."""
        end = time.monotonic() + (deadline or DEADLINE)
        while True:
            for i, e in enumerate(self.events):
                if e.vm == vm and e.kind in kinds:
                    return self.events.pop(i)
            left = end - time.monotonic()
            if left <= 0:
                raise Fail("no event %s: %s" % (kinds, self.events))
            if not self._file(self.recv(left)):
                raise Fail("unasked message")


class Suite:
    def __init__(self, launchd=None, spawner=None, keeper=None, microvm=False,
                 **conf):
        for path in filter(None, PROGRAM.split(":")):
            path = os.path.join(TOP, path)
            if path.endswith("mews-keeper"):
                keeper = path
            elif path.endswith("mews-spawner"):
                spawner = path
            else:
                launchd = path
        self.dir = "/tmp/mwj%d" % OUTER
        os.makedirs(self.dir, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "mews",
                        self.dir], check=True)
        self.state, self.run = self.dir + "/lib/vm", self.dir + "/run/vm"
        self.stage = self.dir + "/lib/stage/0123"
        self.logs = self.dir + "/log/vm"
        for d in (self.state, self.run, self.stage + "/usr/bin", self.logs):
            os.makedirs(d, 0o755)
        os.chown(self.logs, LAUNCH_UID, LAUNCH_UID)
        os.mkdir(self.stage + "/proc")
        os.symlink("usr/bin", self.stage + "/bin")
        for src, dst in ((keeper or BUILD + "/mews-keeper", "mews-keeper"),
                         (BUILD + "/standin/jail-warden", "mews-warden"),
                         (BUILD + "/standin/jail-vmm", "qemu-system-x86_64"),
                         (BUILD + "/standin/jail-vmm",
                          "qemu-system-x86_64-microvm"))[:4 if microvm else 3]:
            shutil.copy(src, self.stage + "/usr/bin/" + dst)
            os.chmod(self.stage + "/usr/bin/" + dst, 0o755)
            for lib in sanitized.libraries(src):
                for d in ("lib", "lib64"):
                    if not os.path.lexists(self.stage + "/" + d):
                        os.makedirs(self.stage + "/usr/" + d)
                        os.symlink("usr/" + d, self.stage + "/" + d)
                os.makedirs(self.stage + os.path.dirname(lib), exist_ok=True)
                shutil.copy(lib, self.stage + lib)
        self.programs = (launchd or BUILD + "/mews-launchd",
                         spawner or BUILD + "/mews-spawner")
        self.conf = dict(uid_base=UID_BASE, uid_count=UID_COUNT, max_vcpus=4,
                         max_mem_mib=512, max_vms=8, cgroup=0, accel=ACCEL_TCG,
                         vsock=0, cid_base=UID_BASE)
        self.conf.update(conf)
        self.log = self.dir + "/log/launchd"
        sanitized.watch(self.log, self.logs + "/*.log")
        try:
            self.up()
        except (Fail, OSError) as e:
            log = self.tail()
            self.close()
            raise Fail("start: %s\n%s" % (e, log))

    def exec(self, room, program, uid):
        """A room as mewsd starts it: its pid and its descriptor 3."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                null = os.open("/dev/null", os.O_RDWR)
                log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                src = [null, null, log, theirs.fileno(), null]
                high = [os.dup(fd) for fd in src]
                high = [os.dup2(h, 50 + i) for i, h in enumerate(high)]
                for i, h in enumerate(high):
                    os.dup2(h, i)
                os.execv(program, [os.path.basename(program)])
            finally:
                os._exit(127)
        theirs.close()
        chan = Chan(ours)
        chan.send(BOOT_CONF, spawn.boot(room, dict(
            self.conf, uid=LAUNCH_UID, gid=LAUNCH_UID, state=self.state,
            run=self.run, stage=self.stage,
            log=self.logs), uid, self.run if uid else ""))
        return pid, chan

    def up(self):
        self.pid, self.parent = self.exec(ROOM_LAUNCHD, self.programs[0],
                                          LAUNCH_UID)
        self.root, self.above = self.exec(ROOM_SPAWNER, self.programs[1], 0)
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for chan, room, end in ((self.parent, ROOM_SPAWNER, a),
                                (self.above, ROOM_LAUNCHD, b)):
            with contextlib.suppress(BrokenPipeError):  # READY does not come
                chan.send(BOOT_PEER, boot_peer(room=room, life=1),
                          end.fileno())
            end.close()
        for chan, room in ((self.parent, "launchd"), (self.above, "spawner")):
            try:
                m = chan.recv()
            except OSError:
                m = None
            if m is None or m[0] != BOOT_READY:
                raise Fail("%s did not start: %s" % (room, self.tail()))
        self.orchd()

    def orchd(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.parent.send(BOOT_PEER, boot_peer(room=ROOM_ORCHD), theirs.fileno())
        theirs.close()
        self.o = Chan(ours)
        return self.o

    def spawner(self):
        return self.root

    def kill(self, pid=None, sp=None):
        """SIGKILL to launchd (or its spawner); both are gone afterwards."""
        sp = sp or self.spawner()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self.pid, signal.SIGKILL)
        wait("end of launchd", lambda: not alive(self.pid) and not alive(sp))

    def down(self):
        if alive(self.pid):
            sp = self.spawner()
            self.parent.send(BOOT_STOP)
            wait("end", lambda: not alive(self.pid) and not alive(sp))

    def tail(self):
        with open(self.log, errors="replace") as f:
            return "".join(f.readlines()[-25:])

    # what orchd asks
    def start(self, vm, slot=0, mem=64, vcpus=1, ready_ms=5000, spec=True):
        if spec:
            fd = memfd(b"{}")
            t, _ = self.o.ask(LAUNCH_ATTACH,
                              launch_attach(vm=vm, role=FDR_SPEC), fd)
            os.close(fd)
            assert t == LAUNCH_DONE
        return self.o.ask(LAUNCH_START,
                          start(vm, slot, ready_ms, mem=mem, vcpus=vcpus))

    def ready(self, vm, slot=0, **kw):
        t, p = self.start(vm, slot, **kw)
        if t != LAUNCH_DONE:
            raise Fail("start: %r" % p)
        e = self.o.event(vm, LE_RUNNING, LE_EXITED)
        if e.kind == LE_EXITED:
            raise Fail("exited: %s" % e)
        self.o.event(vm, LE_READY)
        return e

    def stop(self, vm, from_=STOP_AGENT, ms=(2000, 2000, 2000, 2000, 0)):
        return self.o.ask(LAUNCH_STOP, launch_stop(
            vm=vm, **{"from": from_}, deadline_ms=ms))[0]

    def release(self, vm):
        t, p = self.o.ask(LAUNCH_RELEASE, launch_vm(vm=vm))
        if t != LAUNCH_DONE:
            raise Fail("release: %r" % p)

    def connect(self, vm):
        """Our end of a stream to its warden, and the answer."""
        a, b = socket.socketpair()
        t, p = self.o.ask(LAUNCH_STREAM,
                          launch_stream(vm=vm, kind=STREAM_EXEC), b.fileno())
        b.close()
        return a, t, p

    def stream(self, vm, line):
        a, t, p = self.connect(vm)
        if t != LAUNCH_DONE:
            raise Fail("stream: %s" % launch_err.of(p).msg.decode())
        a.sendall(line.encode() + b"\n")
        a.settimeout(DEADLINE)
        out = a.recv(512).decode().strip()
        a.close()
        return out

    def probe(self, vm, name, arg=""):
        return self.stream(vm, ("probe %s %s" % (name, arg)).strip())

    def said(self, vm):
        """What a VM's own processes said, as far as it is text."""
        with open("%s/%016x.log" % (self.logs, vm), errors="replace") as f:
            return "".join(c for c in f.read() if c.isprintable() or c == "\n"
                           )[-2000:]

    def procs(self, slot=0):
        """{name: pid} of the VM in that slot."""
        names = {"mews-keeper": "keeper", "mews-warden": "warden",
                 "qemu-system-x86_64": "vmm",
                 "qemu-system-x86_64-microvm": "microvm"}
        return {names.get(exe(p), exe(p)): p
                for p in processes(self.conf["uid_base"] + slot)}

    def leaks(self):
        out = []
        for d in (self.state, self.run):
            out += [d + "/" + n for n in os.listdir(d) if n not in ("accel", "lock")]
        lo = self.conf["uid_base"]
        for p in pids():
            try:
                uid = int(status(p)["Uid"].split()[0])
            except OSError:
                continue
            if lo <= uid < lo + self.conf["uid_count"] and alive(p):
                out.append("process %d %s" % (p, exe(p)))
        with open("/proc/self/mountinfo") as f:
            out += ["mount " + l for l in f if self.dir + "/" in l]
        return out

    def close(self):
        if alive(self.pid):
            try:
                self.kill()
            except (Fail, OSError, IndexError):
                pass
        lo = self.conf["uid_base"]
        for p in pids():
            try:
                if lo <= int(status(p)["Uid"].split()[0]) < lo + UID_COUNT:
                    os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        subprocess.run(["umount", "-l", self.dir], check=False)
        os.rmdir(self.dir)


def start(vm, slot=0, ready_ms=5000, then=LAUNCH_RUN, **kw):
    return bytes(launch_start(vm=vm, slot=slot, then=then, ready_ms=ready_ms)) \
        + machine.machine(**kw)


def memfd(data):
    import fcntl
    fd = os.memfd_create("t", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xf)
    return fd


def relink(name, src, rules):
    """A program of the build with one object compiled under RULE_OFF_*.

    src: {source: [rules]}; returns the path of the new program.
    """
    d = os.path.join("/tmp", "mwoff%d" % OUTER)
    os.makedirs(d, exist_ok=True)
    out = os.path.join(d, name + "-" + "-".join(rules))
    if os.path.exists(out):
        return out
    room = name.removeprefix("mews-")
    objs = []
    for dd in (room,):
        for f in sorted(os.listdir(os.path.join(TOP, dd))):
            if not f.endswith(".c"):
                continue
            o = os.path.join(BUILD, "obj", dd, f[:-2] + ".o")
            if os.path.join(dd, f) in src:
                o = os.path.join(d, "%s-%s.o" % ("-".join(rules), f[:-2]))
                subprocess.run(
                    ["gcc", "-D_GNU_SOURCE", "-I.", "-std=gnu17", "-O1", "-fPIE"]
                    + ["-DRULE_OFF_%s=1" % r for r in rules]
                    + ["-c", "-o", o, os.path.join(dd, f)], cwd=TOP, check=True)
            objs.append(o)
    libs = [BUILD + "/libproto.a", BUILD + "/libcommon.a"]
    if room == "keeper":
        argv = ["gcc", "-static-pie", "-o", out] + objs + libs
    else:
        argv = ["gcc", "-pie", "-o", out] + objs + libs + [
            "-levent_core", "-lseccomp", "-lcap", "-lbsd"]
    subprocess.run(argv, check=True)
    return out


@contextlib.contextmanager
def suite(**kw):
    s = Suite(**kw)
    try:
        yield s
    except BaseException:
        print(s.tail())
        raise
    finally:
        s.close()


def eq(got, want, what=""):
    if got != want:
        raise Fail("%s: got %r, want %r" % (what, got, want))


def no_probe(s):
    """Its verdict is told before it is removed."""
    wait("end of the probe", lambda: not any(
        os.path.exists("%s/%016x" % (d, 2**64 - 1)) for d in (s.run, s.state)))


def clean(s):
    eq(s.leaks(), [], "leaks")


def refused(s, text, vm=VM, **kw):
    t, p = s.start(vm, **kw)
    if t == LAUNCH_ERR:
        detail = launch_err.of(p).msg.decode()
    else:
        e = s.o.event(vm, LE_EXITED, LE_RUNNING)
        if e.kind == LE_RUNNING:
            raise Fail("%s ran" % kw)
        eq(e.reason, EXIT_START_FAILED, "reason")
        detail = e.detail.decode()
    if text not in detail:
        raise Fail("%r lacks %r" % (detail, text))
    if t == LAUNCH_DONE:
        s.release(vm)


def run(cases):
    """Runs [(name, function)], or those that the command line has a part of
    (=NAME: the whole) of."""
    bad = 0
    only = sys.argv[1:]
    for name, fn in cases:
        if only and not any(o == "=" + name or o in name for o in only):
            continue
        start = time.monotonic()
        try:
            fn()
            sanitized.check()
            print("ok %s" % name, flush=True)
        except Exception as e:  # a broken case is a failed case
            import traceback
            bad += 1
            print("not ok %s: %s: %s" % (name, type(e).__name__, e), flush=True)
            traceback.print_exc(file=sys.stdout)
        if os.environ.get("TEST_TIMES"):
            print("  %.3f s" % (time.monotonic() - start))
    shutil.rmtree("/tmp/mwoff%d" % OUTER, ignore_errors=True)
    sys.exit(1 if bad else 0)
