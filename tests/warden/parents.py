"""The keeper's and launchd's sides of a warden, for tests.

Everything runs in a mount and a network namespace of the test's own: the
hypervisor that is to be tried is bound over the path a jail has it at.
"""
import array
import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import machine  # noqa: E402
import sanitized  # noqa: E402
from wire import (  # noqa: E402
    ACCEL_TCG, DEV_VSOCK, FDR_AGENT, FDR_ARGS, FDR_QMP, FDR_SERIAL, FDR_VSOCK,
    FRAME_OPEN, FRAME_OPENED, STREAM_EXEC, WARD_DIAL, WARD_DIALLED, WARD_HELLO,
    WARD_RUN, WARD_RUNG, WARD_SPEC, WARD_STATE, WARD_STREAM, WARD_VERSION,
    launch_stream, msg_hdr, ward_dial, ward_dialled, ward_hello, ward_rung,
    ward_state)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
B = os.path.join(TOP, os.environ.get("B", "build"))
VM_UID = 612345
DEADLINE = 10.0

CLOSE = 255  # common/frame.h
SEALS = 0x1 | 0x2 | 0x4 | 0x8
SPEC_JSON = json.dumps({
    "version": 1, "uid": "00000000000000aa", "hostname": "vm",
    "image": "busybox", "time_ns": time.time_ns(), "entropy": "00" * 64,
    "key": "11" * 32, "mac": "", "env": [], "dns": []}).encode()


def enter(name):
    """Re-executes the test in namespaces of its own; skips without root."""
    if os.environ.get("WARDEN_TEST_NS") == name:
        return
    if os.geteuid() != 0:
        print("skip %s: needs root for namespaces" % name)
        sys.exit(0)
    os.environ["WARDEN_TEST_NS"] = name
    os.execvp("unshare", ["unshare", "-m", "-n", "--propagation", "private",
                          sys.executable] + sys.argv)


def memfd(data):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    ctypes.CDLL(None).fcntl(fd, 1033, SEALS)
    return fd


def tsc_khz():
    """rdtsc is not to be had here; the kernel said it once, or nobody."""
    for line in open("/proc/cpuinfo"):
        if line.startswith("cpu MHz"):
            return int(float(line.split(":")[1]) * 1000)
    return 0


class Stage:
    """What the jail would show: hypervisor, kernel, initramfs, warden."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="warden-")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "t",
                        "/boot"], check=True)
        shutil.copy(os.environ.get("MEWS_PROGRAM",
                                   os.path.join(B, "mews-warden")),
                    "/boot/mews-warden")
        self.bound = False
        self.vmm(None)

    def vmm(self, path):
        """Binds path over the hypervisor's; None: the real one."""
        if self.bound:
            subprocess.run(["umount", "/usr/bin/qemu-system-x86_64"],
                           check=True)
        self.bound = path is not None
        if path:
            shutil.copy(path, "/boot/vmm")
            subprocess.run(["mount", "--bind", "/boot/vmm",
                            "/usr/bin/qemu-system-x86_64"], check=True)

    def guest(self):
        for src in ("guest/vmlinuz", "guest/initramfs",
                    "stage/current/boot/firmware"):
            src = os.path.join(B, src)
            if not os.path.exists(src):
                return False
            shutil.copy(src, "/boot/" + os.path.basename(src))
        return True

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def start(argv, fds, log):
    """Forks argv as the VM's uid with fds {number: descriptor} and no more."""
    pid = os.fork()
    if pid:
        return pid
    try:
        high = {n: os.dup2(fd, 100 + n) for n, fd in fds.items()}
        null = os.open("/dev/null", os.O_RDWR)
        for n in (0, 1):
            os.dup2(null, n)
        os.dup2(log, 2)
        for n, fd in high.items():
            os.dup2(fd, n, inheritable=True)
        os.closerange(max(fds) + 1, 4096)
        os.setgroups([])
        os.setresgid(VM_UID, VM_UID, VM_UID)
        os.setresuid(VM_UID, VM_UID, VM_UID)
        os.execve(argv[0], argv, {})
    finally:
        os._exit(127)


class VM:
    """One VM: a warden, a hypervisor, and launchd's connection to them."""

    n = 0

    def __init__(self, stage, args=b"", accel=ACCEL_TCG, mem=128, khz=0, cid=0,
                 vhost=None, vcpus=1):
        VM.n += 1
        self.dir = tempfile.mkdtemp(dir=stage.dir)
        self.path = os.path.join(self.dir, "w")
        self.log_path = os.path.join(self.dir, "console.log")
        self.vmm_log = os.path.join(self.dir, "vm.log")
        os.mkfifo(self.log_path)
        self.log = os.open(self.log_path,
                           os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.console = b""
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        self.err = os.open(self.vmm_log, flags)
        # it may not write files: a FIFO, as in a jail
        self.vmm_out, self.vmm_err = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        sanitized.watch(self.vmm_log)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.warden = self.vmm = 0
        self.sock = None
        self.dials = []  # (id, port): what the warden wants dialled
        self.state = None
        self.next_id = 1
        socks = []
        for name in ("qmp", "serial", "agent"):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.bind("\0" + name)
            s.listen(4)
            socks.append(s)
        fds = {FDR_QMP: socks[0].fileno(), FDR_SERIAL: socks[1].fileno(),
               FDR_AGENT: socks[2].fileno(), FDR_ARGS: memfd(args)}
        null = os.open("/dev/null", os.O_RDWR)
        if cid:
            fds[FDR_VSOCK] = null if vhost is None else vhost
        s = memfd(machine.ward_exec(fds, machine.machine(
            mem, accel=accel, tsc=khz, vcpus=vcpus,
            devs=((DEV_VSOCK, 0, cid),) if cid else ())))
        a = fds[FDR_ARGS]
        self.start_warden()
        self.t0 = time.monotonic()
        self.vmm = start(["/boot/mews-warden", "-x"],
                         dict(enumerate([s, *fds.values()], 3)), self.vmm_err)
        for fd in (s, a, null):
            os.close(fd)
        for x in socks:
            x.close()

    def start_warden(self):
        self.warden = start(["/boot/mews-warden", "0"], {
            3: self.listener.fileno(), 4: self.log}, self.err)

    def connect(self):
        end = time.monotonic() + DEADLINE
        while True:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.settimeout(DEADLINE)
            try:
                s.connect(self.path)
                return s
            except ConnectionRefusedError:
                s.close()
                if time.monotonic() > end:
                    raise
                select.select([], [], [], 0.001)

    def hello(self, version=WARD_VERSION):
        if self.sock:
            self.sock.close()
        self.sock = self.connect()
        self.dials = []
        self.send(WARD_HELLO, ward_hello(version=version), mid=7)
        return self.recv(DEADLINE)

    def dial(self, timeout=DEADLINE):
        """The warden's next question for a connection: (id, port)."""
        end = time.monotonic() + timeout
        while not self.dials:
            self.recv(max(end - time.monotonic(), 0))
        return self.dials.pop(0)

    def dialled(self, mid, code=0):
        """Answers it; our end of the connection, if there is one."""
        ours = theirs = None
        if code == 0:
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            ours.settimeout(DEADLINE)
        self.send(WARD_DIALLED, ward_dialled(code=code), mid=mid,
                  fd=theirs and theirs.fileno())
        if theirs:
            theirs.close()
        return ours

    def take_out(self):
        """What the hypervisor said, into the log."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.vmm_out, 65536):
                os.write(self.err, data)

    def key(self):
        """The last that the agent was given."""
        self.take_out()
        return bytes.fromhex(re.findall(r'vsock {"key":"([0-9a-f]{64})"}',
                                        open(self.vmm_log).read())[-1])

    def send(self, typ, data=b"", fd=None, mid=0):
        anc = []
        if fd is not None:
            anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                    array.array("i", [fd]))]
        data = bytes(data)
        head = msg_hdr(type=typ, len=len(data), id=mid)
        self.sock.sendmsg([bytes(head), data], anc)

    def recv(self, timeout):
        if not select.select([self.sock], [], [], timeout)[0]:
            raise TimeoutError("no message; log: " + self.said())
        data = self.sock.recv(16384)
        if not data:
            raise EOFError("warden hung up; log: " + self.said())
        head, data = msg_hdr.of(data[:msg_hdr.SIZE]), data[msg_hdr.SIZE:]
        assert head.len == len(data), head
        if head.type == WARD_DIAL:
            self.dials.append((head.id, ward_dial.of(data).port))
            return self.state
        assert head.type == WARD_STATE, head
        self.state = ward_state.of(data)
        return self.state

    def wait(self, what, timeout=DEADLINE):
        """Until what(state) holds."""
        end = time.monotonic() + timeout
        while not what(self.state):
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("state %s; log: %s" % (
                    self.state, self.said()))
            self.recv(left)
        return self.state

    def boot(self, timeout=DEADLINE, spec=SPEC_JSON):
        self.hello()
        self.wait(lambda s: s.qmp, timeout)
        self.send(WARD_RUN)
        fd = memfd(spec)
        self.send(WARD_SPEC, fd=fd)
        os.close(fd)
        return self.wait(lambda s: s.ready, timeout)

    def stream(self, kind, flags=0, open_json=b""):
        ours, theirs = socket.socketpair()
        self.send(WARD_STREAM, launch_stream(vm=0xaa, kind=kind, flags=flags),
                  fd=theirs.fileno())
        theirs.close()
        st = Stream(ours)
        if open_json is not None:
            try:
                st.frame(FRAME_OPEN, open_json)
            except BrokenPipeError:
                pass  # refused already: the answer waits to be read
        return st

    def exec(self, *cmd):
        return self.stream(STREAM_EXEC, 0, json.dumps(
            {"cmd": list(cmd), "stdin": True}).encode())

    def heard(self):
        """All that came out of the console's FIFO, as launchd keeps it."""
        while True:
            try:
                self.console += os.read(self.log, 65536)
            except BlockingIOError:
                return self.console

    def hear(self, needle, timeout=DEADLINE):
        end = time.monotonic() + timeout
        while needle not in self.heard():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("console: %r" % self.console[-300:])
            select.select([self.log], [], [], left)
        return self.console

    def rung(self, rung):
        self.send(WARD_RUNG, ward_rung(rung=rung))

    def kill_warden(self, sig=signal.SIGKILL):
        os.kill(self.warden, sig)
        st = os.waitpid(self.warden, 0)[1]
        self.warden = 0
        return st

    def wait_vmm(self, timeout=DEADLINE):
        return self.wait_pid("vmm", timeout)

    def wait_pid(self, which, timeout=DEADLINE):
        pid = getattr(self, which)
        fd = os.pidfd_open(pid)
        ok = select.select([fd], [], [], timeout)[0]
        os.close(fd)
        if not ok:
            raise TimeoutError("%s lives; log: %s" % (which, self.said()))
        st = os.waitpid(pid, 0)[1]
        setattr(self, which, 0)
        return st

    def is_alive(self, which):
        pid = getattr(self, which)
        return pid and os.waitpid(pid, os.WNOHANG) == (0, 0)

    def said(self):
        self.take_out()
        return open(self.vmm_log, errors="replace").read()[-600:]

    # where every block has its red zones, memory says nothing
    MEASURED = not sanitized.ON

    def pss_kib(self, pid=None):
        for line in open("/proc/%d/smaps_rollup" % (pid or self.warden)):
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return 0

    def own_kib(self):
        """What one warden more costs: the program's pages are shared."""
        with open("/proc/%d/smaps_rollup" % self.warden) as f:
            return sum(int(l.split()[1]) for l in f
                       if l.startswith(("Anonymous:", "SwapPss:")))

    def close(self):
        for which in ("vmm", "warden"):
            pid = getattr(self, which)
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        if self.sock:
            self.sock.close()
        self.take_out()
        self.listener.close()
        for fd in (self.log, self.err, self.vmm_out, self.vmm_err):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()


class Stream:
    """The client's end: what apid does."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self.buf = b""
        self.out = {}
        self.ended = False

    def frame(self, channel, data=b""):
        self.sock.sendall(struct.pack(">BI", channel, len(data)) + data)

    def close_stdin(self):
        self.frame(CLOSE, b"\0")

    def next(self, timeout=DEADLINE):
        """The next frame, or None at the end."""
        end = time.monotonic() + timeout
        while True:
            if len(self.buf) >= 5:
                ch, ln = struct.unpack_from(">BI", self.buf)
                assert ch in (1, 2, 3, FRAME_OPENED) and ln <= 65536, (ch, ln)
                if len(self.buf) >= 5 + ln:
                    data = self.buf[5:5 + ln]
                    self.buf = self.buf[5 + ln:]
                    return ch, data
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError("no frame")
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self.buf, "cut inside a frame"
                return None
            self.buf += data

    def opened(self, timeout=DEADLINE):
        f = self.next(timeout)
        assert f and f[0] == FRAME_OPENED, f
        return struct.unpack_from(">H", f[1])[0], f[1][2:].decode()

    def until(self, needle, timeout=DEADLINE):
        """Reads channel 1 until it holds needle."""
        got = b""
        end = time.monotonic() + timeout
        while needle not in got:
            f = self.next(end - time.monotonic())
            if f is None:
                raise EOFError("ended with %r" % got[-200:])
            if f[0] == 1:
                got += f[1]
        return got

    def rest(self, timeout=DEADLINE):
        """(stdout, status json or None) once the stream ended."""
        # joined at the end: adding to bytes copies all of them each time,
        # gigabytes for a large output, and the deadline is not for that
        out, status = [], None
        end = time.monotonic() + timeout
        while True:
            f = self.next(end - time.monotonic())
            if f is None:
                return b"".join(out), status
            assert status is None, "after the status: %r" % (f,)
            if f[0] == 1:
                out.append(f[1])
            elif f[0] == 3:
                status = json.loads(f[1])
            else:
                assert f[0] == 2, f

    def close(self):
        self.sock.close()


def code(status):
    """The exit code a status tells; None: a failure of the machinery."""
    if status is None:
        return None
    if status["status"] == "Success":
        return 0
    for c in status.get("details", {}).get("causes", []):
        if c["reason"] == "ExitCode":
            return int(c["message"])
    return None


def run(name, fn, *args):
    """Cases are asked for by a word of their name."""
    if sys.argv[1:] and not set(sys.argv[1:]) & set(
            name.replace(":", "").split()):
        return True
    try:
        fn(*args)
        sanitized.check()
        print("ok " + name, flush=True)
        return True
    except Exception as e:  # one broken case must not hide the others
        print("not ok %s\n  %s: %s" % (name, type(e).__name__, e), flush=True)
        if os.environ.get("TEST_TRACE"):
            import traceback
            traceback.print_exc()
        return False
