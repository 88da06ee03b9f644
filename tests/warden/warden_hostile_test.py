#!/usr/bin/env python3
"""The warden against hostile hypervisors, guests and peers; the hypervisor's filter."""
import os
import select
import signal
import socket
import sys
import time

from standin import *  # noqa: F403
from wire import (ACCEL_KVM, ACCEL_TCG, STOP_KILL, STOP_TERM, STREAM_EXEC,
                  WARD_HELLO, WARD_RUN, WARD_RUNG, WARD_SPEC, WARD_STATE,
                  WARD_STREAM, WARD_VERSION, launch_stream, msg_hdr, ward_hello,
                  ward_rung, ward_state)

PROBE = os.path.join(w.B, "tests/mews-probe")


def stranger():
    """Another uid's connection is closed unheard (WARDEN_PEER)."""
    with vm() as v:
        v.boot()
        os.chmod(v.dir, 0o755), os.chmod(stage.dir, 0o755)
        os.chmod(v.path, 0o777)
        hello = bytes(msg_hdr(type=WARD_HELLO, len=ward_hello.SIZE, id=1)) \
            + bytes(ward_hello(version=WARD_VERSION))
        r, wr = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(w.VM_UID, w.VM_UID, w.VM_UID)
                s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                s.connect(v.path)
                s.settimeout(w.DEADLINE)
                try:
                    s.send(hello)
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
    lies = [(0x999, b""), (WARD_HELLO, ward_hello(version=0)),
            (WARD_HELLO, b"\1\0\0\0"), (WARD_RUN, b""),
            (WARD_STATE, ward_state())]
    later = [(WARD_HELLO, ward_hello(version=1)), (WARD_RUN, b"x"),
             (WARD_RUNG, ward_rung(rung=STOP_TERM)),
             (WARD_RUNG, ward_rung(rung=STOP_KILL)), (WARD_SPEC, b""),
             (WARD_STREAM, launch_stream(vm=1, kind=STREAM_EXEC)),
             (WARD_STREAM, launch_stream(vm=1, kind=9))]
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
        v.send(WARD_STREAM, launch_stream(vm=1, kind=STREAM_EXEC), fd=null)
        os.close(null)
        check_exec(v)


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
        v.send(WARD_SPEC, fd=fd)
        os.close(fd)
        v.send(WARD_RUN)
        if want == "qmp down":
            v.wait(lambda s: s.detail != b"")
            assert not v.state.qmp and not v.state.running, v.state
            assert v.state.detail.decode().isprintable()
            # it gives up instead of asking for ever
            end = time.monotonic() + 20
            while v.said().count("qmp: ") < 8:
                assert time.monotonic() < end, v.said()
                select.select([], [], [], 0.02)
        elif want == "no agent":
            v.wait(lambda s: s.running)
            # it may come up and fail again; ready it never is
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                if select.select([v.sock], [], [], 0.1)[0]:
                    v.recv(1)
                assert not v.state.ready, v.state
        else:
            v.wait(lambda s: s.ready)
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
    with vm(b"probe=" + name.encode(),
            accel=ACCEL_KVM if kvm else ACCEL_TCG) as v:
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
    for fn in (stranger, launchd_lies, confined):
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
