#!/usr/bin/env python3
"""The warden against the stand-in hypervisor: all that needs no guest."""
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import threading
import time

import parents as w
from suite import wait_for as suite_wait

w.enter("warden")
STANDIN = os.path.join(w.B, "tests/mews-standin")
PROBE = os.path.join(w.B, "tests/mews-probe")
stage = w.Stage()
stage.vmm(STANDIN)


def vm(args=b"", **kw):
    return w.VM(stage, args, **kw)


def check_exec(v, word="hi"):
    s = v.exec("echo", word)
    assert s.opened() == (101, ""), "not opened"
    out, status = s.rest()
    assert out == word.encode() + b"\n" and w.code(status) == 0, (out, status)


def starts_stopped():
    with vm() as v:
        s = v.hello()
        v.wait(lambda s: s["qmp"])
        assert not v.state["running"] and s["version"] == 2, s
        assert not select.select([v.sock], [], [], 0.05)[0]
        v.send(w.RUN)
        v.wait(lambda s: s["running"])
        v.wait(lambda s: s["agent"] and s["need_spec"])
        s = v.exec("echo")
        assert s.opened() == (503, "no boot spec yet")


def run_before_qmp():
    """A WARD_RUN that comes first is kept."""
    with vm() as v:
        v.hello()
        v.send(w.RUN)
        v.wait(lambda s: s["running"])


def ready():
    with vm() as v:
        v.boot()
        print("  stand-in exec to ready: %.1f ms"
              % ((time.monotonic() - v.t0) * 1000))
        check_exec(v)
        assert not v.state["need_spec"]


def exec_cases():
    with vm() as v:
        v.boot()
        s = v.exec("exit", "3")
        assert s.opened()[0] == 101
        assert w.code(s.rest()[1]) == 3
        assert v.exec("nope").opened() == (500, "no such program")
        assert v.stream(w.EXEC, 0, b"{}").opened() == (400, "cmd: missing")
        assert v.stream(w.EXEC, 0, b"\0\xff").opened()[0] == 400
        s = v.exec("cat")
        assert s.opened()[0] == 101
        s.frame(0, b"abc")
        assert s.next() == (1, b"abc")
        s.frame(0, b"")
        assert s.next() == (1, b"")
        s.frame(4, b'{"Width":80,"Height":24}')
        s.close_stdin()
        assert s.rest() == (b"", {"metadata": {}, "status": "Success"})


def exec_bulk():
    """4 MiB there and back, with a client that writes first, then reads."""
    data = os.urandom(60000)
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        s.sock.setblocking(False)
        out, todo, got = b"", b"".join(
            struct.pack(">BI", 0, len(data)) + data for _ in range(70)), 0
        todo += struct.pack(">BIB", 255, 1, 0)
        end = time.monotonic() + 20
        while todo and time.monotonic() < end:
            r, wr, _ = select.select([s.sock], [s.sock], [], 1)
            if wr:
                try:
                    todo = todo[s.sock.send(todo[:1 << 20]):]
                except BlockingIOError:
                    pass
            if r:
                s.buf += s.sock.recv(1 << 20)
        s.sock.setblocking(True)
        out, status = s.rest(20)
        assert out == data * 70 and w.code(status) == 0, len(out)


def write_until_held(s, frame):
    """(what is left of the last frame, whole frames before it)"""
    s.sock.setblocking(False)
    todo, sent = b"", 0
    while select.select([], [s.sock], [], 0.5)[1]:
        todo = todo or frame
        todo = todo[s.sock.send(todo):]
        sent += not todo
        assert sent < 100, "nothing on the way has a bound"
    assert sent > 0
    return todo, sent


def exec_turned_round():
    """A client that writes until nothing moves any more, and only then
    reads: every queue on the way is full at once, and all goes on."""
    data = os.urandom(60000)
    frame = struct.pack(">BI", 0, len(data)) + data
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        todo, sent = write_until_held(s, frame)
        whole = sent + bool(todo)
        # the rest of the last frame and the end go in while we read
        todo += struct.pack(">BIB", 255, 1, 0)
        end = time.monotonic() + w.DEADLINE
        while todo:
            left = max(0, end - time.monotonic())
            r, wr, _ = select.select([s.sock], [s.sock], [], left)
            assert r or wr, "it stopped for good"
            if r:
                s.buf += s.sock.recv(65536)
            if wr:
                todo = todo[s.sock.send(todo):]
        s.sock.setblocking(True)
        out, status = s.rest()
        assert out == data * whole and w.code(status) == 0, len(out)


def exec_back_pressure():
    """A client that does not read costs the warden next to nothing."""
    with vm() as v:
        v.boot()
        before = v.pss_kib()
        s = v.exec("fill", str(32 << 20))
        s.opened()
        # while it does not read, others are served
        for _ in range(20):
            check_exec(v)
        grown = v.pss_kib() - before
        assert grown < 1500 or not v.MEASURED, "%d KiB" % grown
        out, status = s.rest(30)
        assert len(out) == 32 << 20 and w.code(status) == 0


def exec_client_goes():
    with vm() as v:
        v.boot()
        for _ in range(200):
            s = v.exec("cat")
            s.opened()
            s.close()
        check_exec(v)


def exec_held_client_goes():
    """A client that goes while its input is not taken: the command hears of
    it, though nothing else moves on the agent's line."""
    with vm() as v:
        v.boot()
        follow = v.stream(w.LOG, w.FOLLOW)
        follow.opened()
        s = v.exec("hold")
        assert s.opened()[0] == 101
        write_until_held(s, struct.pack(">BI", 0, 60000) + bytes(60000))
        s.close()
        follow.until(b"hold lost")


def client_rules():
    """What a client may not send ends its stream and nothing else."""
    bad = [b"\x01\0\0\0\1x", b"\x03\0\0\0\1x", b"\x4d\0\0\0\1x",
           b"\0\xff\xff\xff\xff", b"\xfd\0\0\0\2\0\0", b"\xff\0\0\0\1\1",
           b"\xfe\0\0\0\0"]
    with vm() as v:
        v.boot()
        for b in bad:
            s = v.exec("cat")
            assert s.opened()[0] == 101
            s.sock.sendall(b)
            assert s.next() is None, b
        for b in (b"\0\0\0\0\0", b"\xfe\xff\0\0\0", b"GET / HTTP/1.1\r\n"):
            s = v.stream(w.EXEC, 0, None)
            s.sock.sendall(b)
            assert s.opened()[0] == 400 and s.next() is None, b
        assert v.stream(w.CONSOLE, 0, b"{}").opened()[0] == 400
        check_exec(v)


def streams_limit():
    with vm() as v:
        v.boot()
        held = [v.stream(w.CONSOLE) for _ in range(64)]
        for s in held:
            assert s.opened()[0] == 101
        s = v.exec("echo", "x")
        got = s.opened()
        assert got == (503, "too many open streams to this VM"), got
        assert s.next() is None
        held.pop().close()
        end = time.monotonic() + w.DEADLINE
        while v.exec("echo", "x").opened()[0] != 101:
            assert time.monotonic() < end


def console():
    with vm(b"marker=42") as v:
        v.boot()
        s = v.stream(w.LOG)
        assert s.opened()[0] == 101
        out = s.rest()[0]
        assert b"stand-in guest: console=ttyS0" in out and \
            b"marker=42\r\n" in out, out
        follow = v.stream(w.LOG, w.FOLLOW)
        follow.opened()
        follow.until(b"marker=42\r\n")
        a, b = v.stream(w.CONSOLE), v.stream(w.CONSOLE)
        a.opened(), b.opened()
        a.frame(0, b"typed by a\n")
        for s in (a, b, follow):
            s.until(b"typed by a\n")
        b.frame(0, b"typed by b\n")
        for s in (a, b, follow):
            s.until(b"typed by b\n")
        a.close()
        b.frame(0, b"again\n")
        b.until(b"again\n")


def console_bounded():
    """A flooding guest: the log's blocks stay bounded, slow watchers are
    moved on with a mark, the warden does not grow."""
    with vm(b"standin=serial-flood") as v:
        v.boot()
        slow, fast = v.stream(w.CONSOLE), v.stream(w.LOG, w.FOLLOW)
        slow.opened(), fast.opened()
        end = time.monotonic() + 30
        while os.stat(v.log_path).st_size < 9 << 20:
            assert time.monotonic() < end, os.stat(v.log_path).st_size
            fast.next()
            assert os.stat(v.log_path).st_blocks * 512 <= (4 << 20) + 65536
        assert v.pss_kib() < 2500 or not v.MEASURED, v.pss_kib()
        got = slow.until(b"bytes left out]", 20)
        assert re.search(rb"\[mews: \d+ bytes left out\]", got)
        v.kill_warden()
        v.start_warden()
        v.hello()
        s = v.stream(w.LOG)
        s.opened()
        out = s.rest()[0]
        assert out.startswith(b"flood") or b"flood flood" in out[:80], out[:80]
        assert b"\0" not in out


def rungs():
    for rung, event in ((w.AGENT, w.OFF), (w.ACPI, w.OFF), (w.QUIT, 0)):
        with vm() as v:
            v.boot()
            v.rung(rung)
            assert v.wait_vmm() == 0
            v.wait(lambda s: not s["qmp"])
            assert v.state["event"] == event, (rung, v.state)
            assert v.exec("echo").opened()[0] == 503


def warden_killed():
    """In the middle of an exec: its stream ends, a new warden serves."""
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        s.frame(0, b"x" * 1000)
        v.kill_warden()
        while s.next() is not None:
            pass
        v.start_warden()
        t = time.monotonic()
        st = v.hello()
        v.wait(lambda s: s["ready"] and s["running"])
        print("  new warden to ready: %.1f ms"
              % ((time.monotonic() - t) * 1000))
        assert not st["need_spec"]
        check_exec(v)


def warden_killed_20():
    seed = random.randrange(1 << 30)
    rnd = random.Random(seed)
    try:
        with vm() as v:
            v.boot()
            for _ in range(20):
                s = v.exec("cat")
                t = v.exec("fill", str(8 << 20))
                deadline = time.monotonic() + rnd.random() * 0.03
                n = 0
                while time.monotonic() < deadline:
                    if n < 40:  # what fits between us: nobody reads it
                        s.frame(0, rnd.randbytes(rnd.randrange(2000)))
                    n += 1
                    select.select([], [], [], 0.0005)
                v.kill_warden()
                v.start_warden()
                v.hello()
                v.wait(lambda s: s["ready"])
                check_exec(v)
                s.close()
                t.close()
    except Exception:
        print("  seed %d" % seed)
        raise


def new_launchd():
    with vm() as v:
        v.boot()
        old = v.sock
        v.sock = None
        s = v.hello()
        assert s["ready"] and s["running"] and s["qmp"], s
        assert old.recv(100) == b"", "the old one was kept"
        check_exec(v)


VSOCK = b"standin=vsock"
HEAD = (b"CONNECT 1024\nPOST /v1/exec HTTP/1.1\r\n")
YES = (b"OK 1024\nHTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
       b"Upgrade: mews-exec\r\n\r\n")
OVER = struct.pack(">BI", 3, 35) + b'{"metadata":{},"status":"Success"} '


def read_until(sock, end):
    got = b""
    while not got.endswith(end):
        data = sock.recv(65536)
        assert data, got
        got += data
    return got


def vsock_agent(v, s, mid):
    """Plays the agent on the socket that the warden asked for."""
    a = v.dialled(mid)
    got = b""
    while b"}" not in got[32:]:  # the key may have one, too
        got += a.recv(100)
    assert got[:32] == v.key() and got[32:].startswith(HEAD), got
    a.sendall(YES)
    assert s.opened() == (101, "")
    return a


def vsock():
    """exec goes over the socket that launchd hands in, key first."""
    with vm(VSOCK) as v:
        v.boot()
        assert not v.dials
        s = v.exec("cat")
        mid, port = v.dial()
        assert port == 1024 and mid != 0
        a = vsock_agent(v, s, mid)
        s.frame(0, b"in")
        assert read_until(a, b"in") == struct.pack(">BI", 0, 2) + b"in"
        a.sendall(struct.pack(">BI", 1, 3) + b"out" + OVER)
        out, status = s.rest()
        assert out == b"out" and w.code(status) == 0, (out, status)
        assert a.recv(100) == b"", "the socket outlives its stream"
        # the other stream's client goes: so does its socket
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        s.close()
        assert a.recv(100) == b""
        # and one whose guest breaks the rules ends with a status
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        a.sendall(struct.pack(">BI", 9, 1) + b"x")
        assert s.rest()[1]["status"] == "Failure"


def vsock_bulk():
    """Both directions are held back by whoever does not read."""
    data = os.urandom(60000)
    frame = struct.pack(">BI", 0, len(data)) + data
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        todo, sent = write_until_held(s, frame)
        s.sock.setblocking(True)
        t = threading.Thread(target=lambda: s.sock.sendall(todo))
        t.start()
        want, got = (sent + (1 if todo else 0)) * len(frame), 0
        while got < want:
            got += len(a.recv(1 << 20))
        t.join()
        out = struct.pack(">BI", 1, len(data)) + data
        t = threading.Thread(target=lambda: a.sendall(out * 70 + OVER))
        t.start()
        got, status = s.rest(30)
        t.join()
        assert got == data * 70 and w.code(status) == 0, len(got)


def vsock_fallback():
    """No connection, no launchd that dials, a socket that leads to nobody:
    the session on virtio-serial serves, and the log says so once."""
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("echo", "one")
        v.dialled(v.dial()[0], -111)
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"one\n"
        # it rests for a while: no more questions
        check_exec(v)
        assert not v.dials
        said = v.said().count("using virtio-serial")
        assert said == 1, v.said()
        # a new warden, a new key; what was dialled closes unheard
        old = v.key()
        v.kill_warden()
        v.start_warden()
        v.hello()
        v.wait(lambda s: s["ready"])
        assert v.key() != old
        s = v.exec("echo", "two")
        v.dialled(v.dial()[0]).close()
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"two\n"


def vsock_old_launchd():
    """One of a suite before this one is not asked what it cannot answer."""
    with vm(VSOCK) as v:
        v.boot()
        v.hello(version=1)
        check_exec(v)
        assert not v.dials


def vsock_launchd_goes():
    """In the middle of a question: the stream goes on by the other way."""
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("echo", "hi")
        v.dial()
        v.sock.close()
        v.sock = None
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"hi\n"
        # and what runs over a socket does not mind
        v.hello()
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        v.hello()
        a.sendall(struct.pack(">BI", 1, 1) + b"x" + OVER)
        assert s.rest()[0] == b"x"


def vsock_lies():
    """Answers nobody waits for, with and without descriptors."""
    with vm(VSOCK) as v:
        v.boot()
        n = len(os.listdir("/proc/%d/fd" % v.warden))
        for _ in range(20):
            v.dialled(99).close()
        s = v.exec("cat")
        mid, _ = v.dial()
        v.dialled(mid + 1).close()
        a = vsock_agent(v, s, mid)
        v.dialled(mid).close()  # twice
        a.sendall(OVER)
        s.rest()
        a.close()
        s.close()
        suite_wait(lambda: len(os.listdir("/proc/%d/fd" % v.warden)) <= n,
                   "end of the descriptors")
        for code, fd in ((5, None), (0, None)):
            v.hello()
            s = v.exec("echo", "hi")
            mid, _ = v.dial()
            v.send(w.DIALLED, struct.pack("<iI", code, 0), mid=mid)
            if code > 0:
                assert v.sock.recv(100) == b"", "believed"
                v.sock = None
            assert s.opened()[0] == 101
            s.rest()


def stranger():
    """Another uid's connection is closed unheard (WARDEN_PEER)."""
    with vm() as v:
        v.boot()
        os.chmod(v.dir, 0o755), os.chmod(stage.dir, 0o755)
        os.chmod(v.path, 0o777)
        r, wr = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(w.VM_UID, w.VM_UID, w.VM_UID)
                s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                s.connect(v.path)
                s.settimeout(w.DEADLINE)
                try:
                    s.send(struct.pack("<IIQII", w.HELLO, 8, 1, 1, 0))
                    got = s.recv(100)
                except (BrokenPipeError, ConnectionResetError):
                    got = b""
                os.write(wr, b"closed" if got == b"" else b"answered")
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        got = os.read(r, 100).decode()
        assert got == "closed", "the stranger was " + got
        os.close(r), os.close(wr)
        check_exec(v)


def launchd_lies():
    """Ill-formed messages end that connection, not the warden."""
    lies = [(0x999, b""), (w.HELLO, b"\0" * 8), (w.HELLO, b"\1\0\0\0"),
            (w.RUN, b""), (w.STATE, b"\0" * 132)]
    later = [(w.HELLO, struct.pack("<II", 1, 0)), (w.RUN, b"x"),
             (w.RUNG, struct.pack("<II", 3, 0)),
             (w.RUNG, struct.pack("<II", 4, 0)), (w.SPEC, b""),
             (w.STREAM, struct.pack("<QII", 1, 1, 0)),
             (w.STREAM, struct.pack("<QII", 1, 9, 0))]
    with vm() as v:
        v.boot()
        for typ, data in lies:
            v.sock.close()
            v.sock = v.connect()
            v.send(typ, data)
            assert v.sock.recv(100) == b"", (hex(typ), data)
        for typ, data in later:
            v.hello()
            v.send(typ, data)
            assert v.sock.recv(100) == b"", (hex(typ), data)
        v.hello()
        null = os.open("/dev/null", os.O_RDWR)
        v.send(w.STREAM, struct.pack("<QII", 1, w.EXEC, 0), fd=null)
        os.close(null)
        check_exec(v)


def args_refused():
    rows = [(b"a\nb", "byte 1 is not printable"),
            (b"x" * 2048, "kernel arguments: File too large|too long|Arg"),
            (b"x" * 2040, "over 2047 bytes with our own"),
            (b"\x7f", "not printable"), (b"a\0b", "not printable"),
            (b"\xc3\xa9", "not printable")]
    for args, why in rows:
        with vm(args) as v:
            assert v.wait_vmm() == 1 << 8, args[:10]
            assert re.search(why, v.said()), (args[:10], v.said())


def args_whole():
    """Commas, quotes, dashes and spaces stay one argument."""
    args = b"a=b,c -S -incoming exec:id,server=on \"q' $(x) %s \\"
    with vm(args) as v:
        v.boot()
        s = v.stream(w.LOG)
        s.opened()
        assert args + b"\r\n" in s.rest()[0]


def spec_refused():
    good = w.machine.ward_exec((), w.machine.machine(accel=w.TCG))
    for spec in (b"", b"\0" * 31, b"\0" * 32, b"\xff" * 32, b"\1" * 33,
                 good[:-1], good + b"\0", bytes(len(good)),
                 b"\2" + good[1:], w.machine.ward_exec((9,), good[8 + 288:]),
                 good[:4] + b"\xff" + good[5:],
                 w.machine.ward_exec((), w.machine.machine())):
        s = w.memfd(spec)
        null = os.open("/dev/null", os.O_RDWR)
        r, wr = os.pipe()
        pid = w.start(["/boot/mews-warden", "-x"], dict.fromkeys(
            range(4, 10), null) | {3: s}, wr)
        assert os.waitpid(pid, 0)[1] == 1 << 8, spec
        assert b"machine: " in os.read(r, 500)
        for fd in (s, null, r, wr):
            os.close(fd)


# What each lie must come to: the warden lives, does not grow, and ...
HOSTILE = {
    "qmp-garbage": "qmp down", "qmp-huge": "qmp down", "qmp-deep": "qmp down",
    "qmp-flood": "works", "qmp-twice": "qmp down",
    "agent-garbage": "no agent", "agent-hello": "no agent",
    "agent-window": "no agent", "agent-mute": "no agent",
    "http-split": "no agent", "http-endless": "no agent",
    "http-interim": "no agent", "http-body": "no agent",
    "http-status": "exec 502", "exec-channel": "exec fails",
    "exec-huge": "exec fails", "exec-opened": "exec fails",
    "exec-cut": "exec fails", "exec-after": "works",
}


def hostile(mode, want):
    with vm(b"standin=" + mode.encode()) as v:
        v.hello()
        fd = w.memfd(w.SPEC_JSON)
        v.send(w.SPEC, fd=fd)
        os.close(fd)
        v.send(w.RUN)
        if want == "qmp down":
            v.wait(lambda s: s["detail"] != "")
            assert not v.state["qmp"] and not v.state["running"], v.state
            assert v.state["detail"].isprintable()
            # it gives up instead of asking for ever
            end = time.monotonic() + 20
            while v.said().count("qmp: ") < 8:
                assert time.monotonic() < end, v.said()
                select.select([], [], [], 0.02)
        elif want == "no agent":
            v.wait(lambda s: s["running"])
            # it may come up and fail again; ready it never is
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                if select.select([v.sock], [], [], 0.1)[0]:
                    v.recv(1)
                assert not v.state["ready"], v.state
        else:
            v.wait(lambda s: s["ready"])
        if want == "works":
            s = v.exec("echo", "hi")
            assert s.opened() == (101, "")
            out, status = s.rest()
            assert w.code(status) == 0, (out, status)
        elif want == "exec 502":
            s = v.exec("echo", "hi")
            st, text = s.opened()
            assert st == 502 and text.isprintable() and \
                "Cookie" not in text, (st, text)
            assert s.next() is None
        elif want == "exec fails":
            s = v.exec("echo", "hi")
            assert s.opened() == (101, "")
            out, status = s.rest()
            assert status["status"] == "Failure" and \
                w.code(status) is None, status
            assert b"evil" not in out
        assert v.is_alive("warden"), v.said()
        assert v.pss_kib() < 2500 or not v.MEASURED, v.pss_kib()
        v.hello()  # and it answers


# One system call a row, made where the hypervisor would be.
KILLED = ("socket", "socket-vsock", "connect", "bind", "ptrace", "kill",
          "tkill", "tgkill", "mount", "unshare", "setns", "bpf", "keyctl",
          "userfaultfd", "perf", "process-vm", "pidfd-open", "execve",
          "execveat", "fork", "vfork", "clone-newuser", "chroot", "setuid",
          "open-by-handle", "io-uring-enter", "ioctl-tiocsti", "ioctl-kvm",
          "unlinkat", "rename", "mkdir", "chmod", "symlink", "mknod",
          "personality", "x32", "dup2", "shmget", "fcntl-setown",
          "fcntl-setsig", "fcntl-setlease", "prctl-dumpable", "setsockopt")
ENOSYS = ("clone3", "io-uring-setup", "memfd-create", "mbind")
ALLOWED = ("getrandom", "thread", "mmap-exec", "pipe2", "clock-gettime",
           "gettimeofday", "time")


def probe(name, kvm=False):
    with vm(b"probe=" + name.encode(), accel=w.KVM if kvm else w.TCG) as v:
        st = v.wait_vmm()
        return (os.WTERMSIG(st) if os.WIFSIGNALED(st)
                else os.waitstatus_to_exitcode(st)), v.said()


def probe_killed(name, kvm=False):
    st, said = probe(name, kvm)
    assert st == signal.SIGSYS, (name, st, said)
    assert "probe %s" % name in said, said


def probe_passes(name, want, kvm=False):
    st, said = probe(name, kvm)
    assert st == want, (name, st, said)
    assert "probe %s" % name in said, said


def faked_cid():
    """/dev/null stands for the device: the kernel would not know the call."""
    with vm(b"probe=set-cid", cid=0x6d000000) as v:
        st = v.wait_vmm()
        assert "probe set-cid" in v.said(), v.said()
        assert st == 0, st


def idle_memory():
    with vm() as v:
        v.boot()
        check_exec(v)
        own = v.own_kib()
        print("  idle warden: %d KiB of its own" % own)
        assert 0 < own < 512 or not v.MEASURED, own


def confined():
    """The serving warden: filter on, not dumpable, nothing extra open."""
    with vm() as v:
        v.boot()
        st = open("/proc/%d/status" % v.warden).read()
        assert "Seccomp:\t2" in st and "NoNewPrivs:\t1" in st
        # not dumpable: its /proc entries belong to root
        assert os.stat("/proc/%d/environ" % v.warden).st_uid == 0
        n = len(os.listdir("/proc/%d/fd" % v.warden))
        assert n <= 16, n
        for name in ("qmp-flood",):
            assert name in HOSTILE


def main():
    ok = True
    for fn in (starts_stopped, run_before_qmp, ready, exec_cases, exec_bulk,
               exec_turned_round, exec_back_pressure, exec_client_goes,
               exec_held_client_goes, client_rules, streams_limit, console, console_bounded, rungs, warden_killed,
               warden_killed_20, new_launchd, stranger, launchd_lies,
               args_refused, args_whole, spec_refused, vsock, vsock_bulk,
               vsock_fallback, vsock_old_launchd, vsock_launchd_goes,
               vsock_lies, confined,
               idle_memory):
        ok &= w.run("warden: " + fn.__name__, fn)
    for mode, want in HOSTILE.items():
        ok &= w.run("hostile %s: %s" % (mode, want), hostile, mode, want)
    stage.vmm(PROBE)
    for name in KILLED:
        ok &= w.run("vmm filter kills " + name, probe_killed, name)
    for name in ENOSYS:
        ok &= w.run("vmm filter: ENOSYS " + name, probe_passes, name, 38)
    ok &= w.run("vmm filter: EROFS unlink", probe_passes, "unlink", 30)
    for name in ALLOWED:
        ok &= w.run("vmm filter allows " + name, probe_passes, name, 0)
    for name in ("mmap-wx", "mprotect-exec"):
        ok &= w.run("vmm filter with KVM kills " + name, probe_killed, name,
                    True)
    ok &= w.run("vmm filter with KVM allows ioctl-kvm", probe_passes,
                "ioctl-kvm", 0, True)
    ok &= w.run("vmm filter kills set-cid without AF_VSOCK", probe_killed,
                "set-cid")
    ok &= w.run("vmm filter answers set-cid in the kernel's stead", faked_cid)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
