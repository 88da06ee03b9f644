#!/usr/bin/env python3
"""dial(port) by AF_VSOCK (I5): exec goes that way, to its own VM alone, with
the key alone; nobody in a jail has the family or chooses an address; and
without it everything goes over virtio-serial.

usage: vsock_lab.py [--suite|--jail|--filter [CASE...]]
"""
import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TESTS = os.path.join(TOP, "tests")
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
sys.path[:0] = [TESTS + d for d in ("/launchd", "/warden", "/suite")]
import suite  # noqa: E402
from suite import wait_for  # noqa: E402

LAB = {"config": "bare", "deadline": 900}
ACCEL = os.environ.get("LAB_ACCEL", "kvm")
DEVICE, PORT = "/dev/vhost-vsock", 1024
VHOST_VSOCK_SET_GUEST_CID = 0x4008af60
READY = 240  # seconds for a guest in a guest, beside others
EXTRA_CID = 0x6c000001  # of no suite's block


def eq(got, want, what=""):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what, got, want))


def off(rule, program):
    return os.path.join(BUILD, "off", rule, program)


class Address:
    """An address on the host, as any process with the device can take it."""

    def __init__(self, cid):
        self.f = open(DEVICE, "rb+", buffering=0)
        try:
            self.set(cid)
        except BaseException:
            self.f.close()
            raise

    def set(self, cid):
        fcntl.ioctl(self.f, VHOST_VSOCK_SET_GUEST_CID, struct.pack("=Q", cid))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()


def is_free(cid):
    try:
        with Address(cid):
            return True
    except OSError:
        return False


# -- the whole suite with real guests

def staged(initramfs):
    """The staged tree with another initramfs."""
    d = "/tmp/stage-off"
    shutil.rmtree(d, ignore_errors=True)
    shutil.copytree(os.path.realpath(os.path.join(BUILD, "stage/current")), d,
                    symlinks=True)
    shutil.copy(initramfs, d + "/boot/initramfs")
    return d


@contextlib.contextmanager
def running(*names, **conf):
    conf.setdefault("accel", ACCEL)
    conf.setdefault("ready_timeout", READY)
    s = suite.Suite(**{"vsock": "auto", **conf}).start()
    try:
        for n in names:
            a = s.create(n)
            eq(a.status, 201, "create %s: %r" % (n, a))
            s.wait_ready(n, READY + 30)
        yield s
    except BaseException:
        print(s.logs())
        raise
    finally:
        for v in s.get("/api/v1/vms").json():
            s.delete("/api/v1/vms/" + v["name"], timeout=60)
        s.stop()
        eq(suite.leaks(s), [], "leaks")


def vm(s, name):
    return s.get("/api/v1/vms/" + name).json()


def cid(s, name):
    return vm(s, name)["confinement"].get("vsock_cid", 0)


def doctor(s):
    """What it says of vsock, once it is known."""
    def known():
        checks = s.get("/api/v1/system/doctor").json()
        checks = checks["checks"] if isinstance(checks, dict) else checks
        c = {c["name"]: c for c in checks}["vsock"]
        return c["ok"] and c["detail"]
    return wait_for(known, "word of vsock")


def connected(who="mews-warden"):
    """Addresses that somebody is connected to at the agents' port, as the
    kernel says (ss, AF_VSOCK)."""
    out = suite.sh("ss", "-H", "-n", "-p", "--vsock", "state", "established")
    return sorted(int(c) for l in out.splitlines() if who in l
                  for c in re.findall(r"\s(\d+):%d\b" % PORT, l))


def guest(s, name, *argv, rc=0):
    p = s.cli("exec", name, *argv)
    eq(p.returncode, rc, "%s in %s: %r" % (argv, name, p))
    return p.stdout.decode().strip()


@contextlib.contextmanager
def command(s, name):
    """One that runs while the case looks."""
    p = subprocess.Popen(
        [s.programs + "/mews", "exec", "-i", name, "sh", "-c",
         "echo up; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=dict(os.environ, MEWS_API="unix://" + s.sock))
    try:
        eq(p.stdout.readline(), b"up\n", "command in " + name)
        yield p
        p.stdin.write(b"still here\n")
        p.stdin.close()
        eq(p.stdout.read(), b"still here\n", "echo")
        eq(p.wait(30), 0, "its end")
    finally:
        p.kill()
        p.wait()


def by_vsock(s, name):
    """An exec goes over its own VM's address and no other."""
    with command(s, name):
        return connected() == [cid(s, name)]


def exec_again(s, name):
    """Exec works, and by AF_VSOCK again, as soon as every room is back."""
    def works():
        try:
            return guest(s, name, "echo", "here") == "here" and \
                by_vsock(s, name)
        except (AssertionError, ValueError, OSError):
            return False
    wait_for(works, "exec by AF_VSOCK in " + name, 40, 0.2)


@contextlib.contextmanager
def two():
    """The VMs a and b, which every case leaves as it found them."""
    if not SHARED:
        SHARED.append(contextlib.ExitStack())
        SHARED.append(SHARED[0].enter_context(running("a", "b")))
    yield SHARED[1]


def two_end():
    """Nothing is left of them."""
    if SHARED:
        SHARED[0].close()


SHARED = []


def exec_by_vsock():
    with two() as s:
        assert "AF_VSOCK" in doctor(s), doctor(s)
        cids = [cid(s, n) for n in "ab"]
        eq(cids, [s.conf["uid_base"], s.conf["uid_base"] + 1], "addresses")
        eq(connected(), [], "before")
        for n in "ab":
            eq(guest(s, n, "hostname"), n)
            assert by_vsock(s, n), "not by its own address: %s" % n
        # both ways, and more than any buffer on the way
        p = s.cli("exec", "-i", "a", "sh", "-c", "cat | md5sum", timeout=120,
                  input=b"x" * (4 << 20))
        eq(p.stdout.split()[0], suite.sh(
            "sh", "-c", "head -c 4194304 /dev/zero | tr '\\0' x | md5sum"
        ).split()[0].encode(), "4 MiB in")
        p = s.cli("exec", "a", "sh", "-c",
                  "head -c 4194304 /dev/zero | tr '\\0' x", timeout=120)
        eq(len(p.stdout), 4 << 20, "4 MiB out")
        # a client that goes takes its command along
        p = subprocess.Popen([s.programs + "/mews", "exec", "b", "sleep",
                              "12345"], env=dict(
                                  os.environ, MEWS_API="unix://" + s.sock))

        def sleeps():
            return guest(s, "b", "sh", "-c",
                         "ps | grep '[s]leep 12345' | wc -l")
        wait_for(lambda: sleeps() == "1", "sleep")
        p.kill()
        p.wait()
        wait_for(lambda: sleeps() == "0", "end of sleep")
        for n in "ab":
            said = suite.sh("sh", "-c", "cat %s/log/vm/*.log" % s.root)
            assert "virtio-serial" not in said, said
        eq(connected(), [], "afterwards")


def kills():
    """launchd, spawner, warden, all: adopted VMs are dialled again."""
    with two() as s:
        exec_again(s, "a")
        up = float(guest(s, "a", "cut", "-d ", "-f1", "/proc/uptime"))
        uid = s.conf["uid_base"]

        def warden():
            for pid, line in suite.processes().items():
                with contextlib.suppress(OSError, KeyError):
                    st = suite.status(pid)
                    if int(st["Uid"].split()[0]) == uid and \
                            "warden" in st["Name"]:
                        return pid
            return None
        for what in ("launchd", "spawner", "warden", "launchd+warden"):
            victims = [warden() if w == "warden" else s.rooms()[w]
                       for w in what.split("+")]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            exec_again(s, "a")
            assert float(guest(s, "a", "cut", "-d ", "-f1",
                               "/proc/uptime")) > up, what
            assert warden() not in victims
        # stop and start: the address is free in between, and used again
        first = cid(s, "a")
        eq(s.post("/api/v1/vms/a/stop", timeout=60).status, 200)
        wait_for(lambda: is_free(first), "end of its address")
        eq(s.post("/api/v1/vms/a/start", timeout=60).status, 200)
        s.wait_ready("a", READY + 30)
        exec_again(s, "a")
        eq(cid(s, "a"), first, "address")


def dial(c):
    k = socket.socket(socket.AF_VSOCK)
    k.settimeout(30)
    k.connect((c, PORT))
    return k


def ended(k):
    """It was closed, and said nothing."""
    with contextlib.closing(k):
        try:
            return k.recv(1000) == b""
        except ConnectionResetError:
            return True


ASK = b"CONNECT 1024\nGET /healthz HTTP/1.1\r\nHost: agent\r\n\r\n"


def key():
    """A process of the host that has no key is not heard."""
    with two() as s:
        c = cid(s, "a")
        assert by_vsock(s, "a")
        for what in (b"\0" * 32, os.urandom(32), ASK[:32], b"\0" * 32 + ASK):
            k = dial(c)
            k.sendall(what)
            assert ended(k), what
        assert ended(dial(c)), "silence has no deadline"
        # many of the silent do not keep out who has it
        crowd = [dial(c) for _ in range(40)]
        assert by_vsock(s, "a"), "kept out"
        wait_for(lambda: len(connected("python")) <= 16, "end of the crowd")
        for k in crowd:
            assert ended(k)
        exec_again(s, "a")


def key_control():
    """Without the rule a wrong key is as good as the right one."""
    with running("a", stage=staged(off("AGENT_KEY", "initramfs"))) as s:
        k = dial(cid(s, "a"))
        k.sendall(b"\0" * 32 + ASK)
        got = b""
        while b"\"status\"" not in got:
            data = k.recv(1000)
            assert data, got
            got += data
        assert got.startswith(b"OK 1024\nHTTP/1.1 200 "), got
        k.close()


def no_aim():
    """A connected socket, as a warden gets it, leads nowhere else: neither
    while it stands nor after either end has gone.  (The warden's filter
    cannot tell whom connect(2) names.)"""
    with two() as s:
        a, b = cid(s, "a"), cid(s, "b")
        k = dial(a)
        for state in ("connected", "shut down"):
            for to in ((b, PORT), (a, PORT), (2, PORT)):
                try:
                    k.connect(to)
                    raise AssertionError("%s: connected to %r" % (state, to))
                except OSError:
                    pass
            if state == "connected":
                eq(k.getpeername(), (a, PORT))
                k.shutdown(socket.SHUT_RDWR)
        k.close()
        k = dial(a)
        k.sendall(b"\0" * 32)  # the guest closes
        k.recv(1)
        try:
            k.connect((b, PORT))
            raise AssertionError("connected after the guest's end")
        except OSError:
            pass
        k.close()


def switched_off():
    with running("a", vsock="off") as s:
        assert "vsock = off" in doctor(s), doctor(s)
        eq(cid(s, "a"), 0, "address")
        with command(s, "a"):
            eq(connected(), [], "sockets")
        try:
            dial(s.conf["uid_base"]).close()
            raise AssertionError("somebody answers")
        except OSError:
            pass


def no_device():
    st = os.stat(DEVICE)
    os.unlink(DEVICE)
    try:
        with running("a") as s:
            assert DEVICE in doctor(s), doctor(s)
            eq(cid(s, "a"), 0, "address")
            with command(s, "a"):
                eq(connected(), [], "sockets")
    finally:
        os.mknod(DEVICE, st.st_mode, st.st_rdev)


def address_taken():
    """By a stranger: the VM does without, and nobody dials the stranger."""
    uids = int(os.environ["MEWS_TEST_UIDS"]) + suite.VM_FIRST
    with Address(uids), running("a") as s:
        eq(cid(s, "a"), 0, "address")
        with command(s, "a"):
            eq(connected(), [], "sockets")
        assert "no AF_VSOCK at %d" % uids in s.logs(), s.logs()


SUITE = {f.__name__.replace("_", "-"): f for f in (
    exec_by_vsock, key, no_aim, kills, two_end, key_control, address_taken,
    no_device, switched_off)}


# -- jails, with stand-ins for warden and hypervisor

def jail():
    """AF_VSOCK is there on this host, and not in a jail."""
    import callers as l
    l.enter(__file__)
    del sys.argv[1]

    def denied():
        socket.socket(socket.AF_VSOCK).close()  # the host has it
        s = l.Suite()
        try:
            s.ready(1)
            eq(s.probe(1, "vsock"), "EACCES")
        finally:
            s.close()

    def denied_control():
        s = l.Suite(spawner=off("SPAWNER_FILTER+VERIFY_FILTERS+VERIFY_SECCOMP", "mews-spawner"),
                    keeper=off("JAIL_KEEPER_FILTER", "mews-keeper"))
        try:
            s.ready(1)
            eq(s.probe(1, "vsock"), "ok")
        finally:
            s.close()
    l.run([("jail-has-no-vsock", denied),
           ("jail-has-no-vsock-control", denied_control)])


# -- in the hypervisor's place

def hypervisor():
    """What it may do with the descriptor of its device."""
    import parents as w
    w.enter("vsock")
    del sys.argv[1]

    def probe(name, cid_):
        """(wait status, whose the address is then)"""
        with Address(cid_) as mine, w.VM(
                stage, b"probe=" + name.encode(), cid=cid_,
                vhost=mine.f.fileno()) as v:
            st = v.wait_vmm()
            assert "probe " + name in v.said(), v.said()
            return st, is_free(cid_), is_free(12345)

    def address():
        """Set by the spawner; what the hypervisor wants is not asked for."""
        eq(probe("set-cid", EXTRA_CID), (0, False, True))

    def address_control():
        shutil.copy(off("VMM_CID", "mews-warden"), "/boot/mews-warden")
        eq(probe("set-cid", EXTRA_CID), (0, True, False))

    def family():
        st, _, _ = probe("socket-vsock", EXTRA_CID)
        eq(os.waitstatus_to_exitcode(st), -signal.SIGSYS)

    def family_control():
        p = subprocess.run([os.path.join(BUILD, "tests/mews-probe"),
                            "probe=socket-vsock"], user=65534, group=65534)
        eq(p.returncode, 0)
    stage = w.Stage()
    stage.vmm(os.path.join(BUILD, "tests/mews-probe"))
    ok = True
    for name, fn in (("hypervisor-has-no-vsock", family),
                     ("hypervisor-has-no-vsock-control", family_control),
                     ("hypervisors-address", address),
                     ("hypervisors-address-control", address_control)):
        ok &= w.run(name, fn)
    stage.close()
    sys.exit(0 if ok else 1)


def main():
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "--jail":
        return jail()
    if part == "--filter":
        return hypervisor()
    if part == "--suite":
        suite.enter()
        del sys.argv[1]
        return suite.run(SUITE)
    subprocess.run(["modprobe", "vsock_diag"], check=True)
    # each has a private host of its own
    return max(subprocess.call([sys.executable, __file__, p])
               for p in ("--filter", "--jail", "--suite"))


if __name__ == "__main__":
    sys.exit(main())
