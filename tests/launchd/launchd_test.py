#!/usr/bin/env python3
"""launchd, its spawner and the keeper, with a stand-in warden and hypervisor.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

from callers import *  # noqa: F403

enter(os.path.abspath(__file__))
VM = 0x0123456789abcdef
# behaviours of the stand-in, tests/launchd/jail.h
(WELL, NO_AGENT_STOP, NO_SOFT_STOP, DEAF, NO_AGENT, EXIT_3, CRASH, REBOOT,
 NO_QMP, NO_FILTER, EXTRA, EXIT_4, SPIN, LATE) = range(64, 78)


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


def clean(s):
    eq(s.leaks(), [], "leaks")


def life():
    with suite() as s:
        eq(s.o.list(), {}, "list")
        e = s.ready(VM)
        verified, cgroup, threads, filters, uid, _ = e["conf"]
        eq((verified, threads, uid), (1, 1, UID_BASE), "read-back")
        eq(e["pid"], s.procs()["vmm"], "pid")
        base = int(status(s.spawner())["Seccomp_filters"])
        eq(filters, base + 3, "filters")
        h = s.o.list()[VM]
        eq((h["state"], h["pid"], h["conf"][0]), (READY, e["pid"], 1), "held")
        eq(s.stop(VM), DONE)
        e = s.o.event(VM, LE_EXITED)
        eq((e["reason"], e["rung"]), (X_STOPPED, 0), "exit")
        eq(s.o.list()[VM]["state"], GONE, "held")
        eq(s.o.event(VM, LE_EXITED)["reason"], X_STOPPED, "told again")
        s.release(VM)
        s.release(VM)  # again, and of nothing: the same answer
        eq(s.o.list(), {}, "list")
        clean(s)
        s.down()


FAKE = dict(launchd=os.path.join(BUILD, "fake/mews-launchd"),
            spawner=os.path.join(BUILD, "fake/mews-spawner"))
CID = UID_BASE & ~15  # tests/launchd/fake_vsock.h looks at the last bits
LIES, HANGS, TAKEN = 3, 4, 5
ECONNREFUSED, EACCES, EPERM, EBUSY, ENODEV, ETIMEDOUT = (
    -111, -13, -1, -16, -19, -110)


def faked(**kw):
    """A launchd whose kernel has AF_VSOCK."""
    return suite(cid_base=CID, **FAKE, **kw)


@contextlib.contextmanager
def agent(s, slot, serves=True, port=1024):
    """Listens where a guest's agent would."""
    l = socket.socket(socket.AF_UNIX)
    path = "%s/vsock-%d-%d" % (s.run, CID + slot, port)
    l.bind(path)
    os.chmod(path, 0o777)
    l.listen(32)
    end = threading.Event()

    def serve():
        l.settimeout(0.05)
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                c, _ = l.accept()
                c.settimeout(DEADLINE)
                if c.recv(4) == b"ward":
                    c.sendall(b"agent")
                c.close()
    t = threading.Thread(target=serve)
    if serves:
        t.start()
    try:
        yield l
    finally:
        end.set()
        if serves:
            t.join()
        l.close()
        os.unlink(path)


def dials(s, vm, port=1024, n=1, reads=1):
    return [int(x) for x in s.stream(
        vm, "dial %d %d %d" % (port, n, reads)).split()]


def vsock_dial():
    """Connects to this VM's address and hands the socket down; holds nothing
    of it.  Adopted VMs keep their address."""
    with faked() as s, agent(s, 1):
        e = s.ready(VM, slot=1)
        eq(struct.unpack("<BBB5x112s64s", s.o.caps)[2], 1, "caps")
        eq(e["conf"][5], CID + 1, "address")
        eq(dials(s, VM), [1])
        eq(dials(s, VM, n=20), [1] * 20)
        for name, pid in (("spawner", s.spawner()), ("launchd", s.pid),
                          ("keeper", s.procs(1)["keeper"])):
            fds = [os.readlink("/proc/%d/fd/%s" % (pid, f))
                   for f in os.listdir("/proc/%d/fd" % pid)]
            assert not [f for f in fds if "vhost" in f], (name, fds)
        if not PROGRAM:
            s.kill()
            s.up()
            eq(s.o.list()[VM]["slot"], 1)
            wait("answer", lambda: dials(s, VM) == [1])
        s.release(VM)


def vsock_nobody():
    with faked() as s:
        s.ready(VM)
        eq(dials(s, VM), [ECONNREFUSED])
        with agent(s, 0):
            eq(dials(s, VM), [1])


def vsock_port():
    """A warden reaches the agent and nothing else in its guest (DIAL_PORT)."""
    with faked() as s, agent(s, 0, port=22):
        s.ready(VM)
        eq(dials(s, VM, port=22), [EACCES])


def vsock_peer():
    """What answers has to be what was called (DIAL_PEER)."""
    with faked() as s, agent(s, LIES):
        s.ready(VM, slot=LIES)
        eq(dials(s, VM), [EPERM])


def vsock_own_address():
    """One VM's warden reaches its own guest."""
    with faked() as s, agent(s, 0), agent(s, 1, serves=False) as other:
        s.ready(VM, slot=0)
        s.ready(VM + 1, slot=1)
        eq(dials(s, VM, n=4), [1] * 4)
        other.settimeout(0)
        try:
            other.accept()
            raise Fail("another VM's guest was called")
        except BlockingIOError:
            pass


def vsock_hangs():
    """As many at once as one VM may have (DIAL_MAX), each with a deadline;
    a VM beside it does not wait."""
    with faked() as s, agent(s, HANGS, serves=False), agent(s, 0):
        s.ready(VM, slot=HANGS)
        s.ready(VM + 1, slot=0)
        a, b = socket.socketpair()
        s.o.ask(STREAM, struct.pack("<QII", VM, 1, 0), b.fileno())
        b.close()
        a.sendall(b"dial 1024 10 2\n")
        eq(dials(s, VM + 1), [1])
        a.settimeout(DEADLINE)
        eq(sorted(int(x) for x in a.recv(512).split()),
           [ETIMEDOUT] * 8 + [EBUSY] * 2)
        a.close()


def vsock_hoard():
    """A warden that asks and does not read gets no more than its share of
    descriptors on their way, whatever it says to have seen (DIAL_MAX)."""
    with faked() as s, agent(s, 0):
        s.ready(VM)
        eq(sorted(dials(s, VM, n=20, reads=0)), [EBUSY] * 12 + [1] * 8)
        eq(dials(s, VM, n=9), [1] * 9)


def vsock_taken():
    """Somebody else has the address: no device, and nobody is called."""
    with faked() as s, agent(s, TAKEN):
        eq(s.ready(VM, slot=TAKEN)["conf"][5], 0, "address")
        eq(dials(s, VM), [ENODEV])
        assert "no AF_VSOCK at %d" % (CID + TAKEN) in s.tail()


def vsock_off():
    with faked(vsock=1) as s, agent(s, 0):
        eq(s.ready(VM)["conf"][5], 0, "address")
        eq(dials(s, VM), [ENODEV])


def record_v2(rec, version=2):
    """Bytes of today's record as an earlier build would have written them."""
    (magic, _, _, nprogs, _, _, vm, start, *ns, pid, uid, slot, cgroup, kvm,
     filters, cid, _, boot, group) = struct.unpack_from(
        "<6IQQ5QIIHBBIII40s224s", rec)
    progs = [struct.unpack_from("<IIHHIQQ", rec, 368 + 32 * i)
             for i in range(nprogs)]
    files = b"".join(struct.pack("<QQ", *p[5:]) for p in sorted(progs))
    return struct.pack("<IIQQ5QIIHBBI", magic, version, vm, start, *ns, pid, uid,
                       slot, cgroup, kvm, filters) + files + struct.pack(
        "<40s224sII", boot, group, cid, 0)


def vsock_old_record():
    """A VM of a suite whose records had no address is kept."""
    with suite(vsock=1) as s:
        s.ready(VM)
        uptime = s.procs()
        s.kill()
        path = "%s/%016x/record" % (s.run, VM)
        with open(path, "rb") as f:
            old = f.read()
        for cut, alive_ in ((record_v2(old, 1)[:168], 1),
                            (record_v2(old)[:168], 0)):
            with open(path, "wb") as f:
                f.write(cut)
            s.up()
            held = s.o.list()
            eq(VM in held and held[VM]["state"] == READY, bool(alive_), held)
            if alive_:
                eq(s.procs()["vmm"], uptime["vmm"])
                s.kill()


def ladder():
    for mem, rung, status_ in ((WELL, 0, 0), (NO_AGENT_STOP, 1, 0),
                               (NO_SOFT_STOP, 3, 15), (DEAF, 4, 0)):
        with suite() as s:
            s.ready(VM, mem=mem)
            s.stop(VM, 0, (60, 60, 60, 60, 0))
            e = s.o.event(VM, LE_EXITED)
            eq((e["reason"], e["rung"], e["status"]),
               (X_STOPPED, rung, status_), "behaviour %d" % mem)
            rungs = [x["rung"] for x in s.o.events if x["kind"] == LE_RUNG]
            eq(rungs, list(range(rung + 1)), "rungs told")
            s.release(VM)
            clean(s)


def ladder_skips():
    with suite() as s:
        s.ready(VM, mem=DEAF)
        s.stop(VM, 1, (0, 0, 30, 0, 0))
        e = s.o.event(VM, LE_EXITED)
        eq((e["reason"], e["rung"]), (X_STOPPED, 4), "exit")
        eq([x["rung"] for x in s.o.events if x["kind"] == LE_RUNG], [2, 4])
        s.release(VM)
        clean(s)


def exits():
    table = (  # ready_ms: short only where it has to pass
        (EXIT_3, X_START, "did not start (status 3)", 20000),
        (CRASH, X_KILLED, "signal 6", 20000),
        (REBOOT, X_REBOOT, "", 20000),
        (NO_AGENT, X_NO_AGENT, "", 1500),
        (NO_QMP, X_START, "in time", 1500),
        (EXIT_4, X_VMM, "\\x1b[31mbad", 20000),
    )
    with suite() as s:
        for i, (mem, reason, text, ready_ms) in enumerate(table):
            s.start(VM + i, slot=i, mem=mem, ready_ms=ready_ms)
            e = s.o.event(VM + i, LE_EXITED)
            eq(e["reason"], reason, "behaviour %d (%s)" % (mem, e["detail"]))
            if text not in e["detail"]:
                raise Fail("detail %r lacks %r" % (e["detail"], text))
            s.release(VM + i)
        clean(s)


def stop_while_starting():
    with suite() as s:
        s.start(VM, mem=NO_QMP)
        eq(s.stop(VM), DONE)
        eq(s.o.event(VM, LE_EXITED)["reason"], X_STOPPED)
        s.release(VM)
        s.start(VM, mem=NO_QMP)
        s.release(VM)
        clean(s)


def kill_parts():
    with suite() as s:
        for victim, reason in (("keeper", X_KEEPER), ("vmm", X_KILLED)):
            s.ready(VM)
            os.kill(s.procs()[victim], signal.SIGKILL)
            eq(s.o.event(VM, LE_EXITED)["reason"], reason, victim)
            s.release(VM)
            clean(s)


def kill_warden():
    with suite() as s:
        vmm = s.ready(VM)["pid"]
        a, b = socket.socketpair()
        for i in range(3):
            os.kill(s.procs()["warden"], signal.SIGKILL)
            e = s.o.event(VM, LE_WARDEN)
            eq((e["conf"][0], e["pid"]), (1, vmm), "read back again")
            eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        a.close()
        b.close()
        eq(s.o.list()[VM]["state"], READY)
        s.release(VM)
        clean(s)


def hostile_warden():
    """What no honest warden says costs it its channel, nobody else a thing."""
    with suite() as s:
        s.ready(VM)
        other = s.ready(VM + 1, slot=1)["pid"]
        for which in range(6):
            eq(s.stream(VM, "junk %d" % which), "junk %d" % which)
            s.o.event(VM, LE_WARDEN)  # connected, asked, read back again
            eq(s.probe(VM + 1, "passwd"), "ENOENT", "the other VM")
        eq({v: h["state"] for v, h in s.o.list().items()},
           {VM: READY, VM + 1: READY})
        eq(s.procs(1)["vmm"], other)
        s.release(VM)
        s.release(VM + 1)
        clean(s)


def unread(pid):
    """Bytes that wait in the spawner's channel to launchd."""
    fd, = [fd for fd in map(int, os.listdir("/proc/%d/fd" % pid)) if fd > 3 and
           os.readlink("/proc/%d/fd/%d" % (pid, fd)).startswith("socket:")]
    inode = os.readlink("/proc/%d/fd/%d" % (pid, fd)).strip("socket:[]")
    out = subprocess.run(["ss", "-xan"], stdout=subprocess.PIPE, text=True)
    for f in map(str.split, out.stdout.splitlines()):
        if len(f) > 5 and inode == f[5]:
            return int(f[2])
    return 0


def late_answer():
    """What the spawner says of an earlier question is no answer to the
    release."""
    with suite() as s:
        s.ready(VM)
        spawner, keeper = s.spawner(), s.procs()["keeper"]
        os.kill(spawner, signal.SIGSTOP)
        os.kill(s.procs()["warden"], signal.SIGKILL)
        wait("read-back to be asked for", lambda: unread(spawner))
        os.kill(s.procs()["vmm"], signal.SIGKILL)
        eq(s.o.event(VM, LE_EXITED)["reason"], X_KILLED)
        os.kill(keeper, signal.SIGSTOP)
        s.o.send(RELEASE, struct.pack("<Q", VM), None, 7)
        s.o.send(LIST, b"", None, 8)
        m = s.o.recv()
        while m is None or m[0] != LIST_END:  # so the release was read
            m = s.o.recv()
        os.kill(spawner, signal.SIGCONT)
        wait("answer of the spawner", lambda: not unread(spawner))
        os.kill(keeper, signal.SIGCONT)
        m = s.o.recv()
        while s.o._file(m):
            m = s.o.recv()
        eq((m[0], m[1]), (DONE, 7), "release: %r" % m[2])
        clean(s)


def hung_warden():
    """A stopped warden answers nobody; the VM stays, the request too."""
    with suite() as s:
        s.ready(VM)
        os.kill(s.procs()["warden"], signal.SIGSTOP)
        s.stop(VM, 0, (50, 50, 50, 500, 0))
        e = s.o.event(VM, LE_EXITED)
        eq((e["reason"], e["rung"]), (X_STOPPED, 3))
        s.release(VM)
        clean(s)


def hung_warden_streams():
    """It gets no more descriptors than a socket holds; others get theirs."""
    with suite() as s:
        s.ready(VM)
        warden = s.procs()["warden"]
        os.kill(warden, signal.SIGSTOP)
        kept, said = [], ""
        while not said and len(kept) < 1200:
            a, b = socket.socketpair()
            t, p = s.o.ask(STREAM, struct.pack("<QII", VM, 1, 0), b.fileno())
            b.close()
            kept.append(a)
            if t != DONE:
                said = p[16:].split(b"\0")[0].decode()
        eq(said, "busy")
        for a in kept:
            a.close()
        os.kill(warden, signal.SIGCONT)
        s.release(VM)
        clean(s)


def flooding_warden():
    """News without end waits at its sender's; other VMs live as ever."""
    with suite() as s:
        s.ready(VM)
        a, b = socket.socketpair()
        t, _ = s.o.ask(STREAM, struct.pack("<QII", VM, 1, 0), b.fileno())
        b.close()
        eq(t, DONE)
        a.sendall(b"flood 5000\n")  # read as they come: some 20 ms
        s.ready(VM + 1, slot=1)  # a whole life meanwhile
        s.stop(VM + 1)
        eq(s.o.event(VM + 1, LE_EXITED)["reason"], X_STOPPED)
        s.release(VM + 1)
        r, _, _ = select.select([a], [], [], 0.5)
        assert not r, "it said all 5000"
        eq(s.o.list()[VM]["state"], READY)
        a.close()
        s.release(VM)
        clean(s)


def adoption():
    with suite() as s:
        n = 4
        vmm = [s.ready(VM + i, slot=i)["pid"] for i in range(n)]
        for who in ("launchd", "spawner", "both"):
            sp = s.spawner()
            if who == "both":
                os.kill(sp, signal.SIGKILL)
            s.kill(sp if who == "spawner" else s.pid, sp)
            s.up()
            held = s.o.list()
            eq([held[VM + i]["pid"] for i in range(n)], vmm, who)
            eq({h["state"] for h in held.values()}, {READY}, who)
            eq({h["conf"][0] for h in held.values()}, {1}, "verified again")
            eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        s.stop(VM)
        eq(s.o.event(VM, LE_EXITED)["reason"], X_STOPPED)
        for i in range(n):
            s.release(VM + i)
        clean(s)


def adoption_of_dead():
    with suite() as s:
        for i in range(3):
            s.ready(VM + i, slot=i)
        procs = [s.procs(i) for i in range(3)]
        s.kill()
        os.kill(procs[0]["vmm"], signal.SIGKILL)
        os.kill(procs[1]["keeper"], signal.SIGKILL)
        os.kill(procs[2]["warden"], signal.SIGKILL)
        wait("death", lambda: not alive(procs[0]["vmm"])
             and not alive(procs[1]["keeper"]))
        s.up()
        held = s.o.list()
        eq([held[VM + i]["state"] for i in range(3)], [GONE, GONE, READY])
        eq(s.o.event(VM, LE_EXITED)["reason"], X_KILLED, "status was kept")
        eq(s.o.event(VM + 1, LE_EXITED)["reason"], X_KEEPER)
        for i in range(3):
            s.release(VM + i)
        clean(s)


def orchd_restart():
    """Another orchd: the old channel's requests are forgotten, VMs are not."""
    with suite() as s:
        s.ready(VM)
        s.o.s.close()
        s.orchd()
        eq(s.o.list()[VM]["state"], READY)
        s.orchd()  # while the old one is still open
        eq(s.o.list()[VM]["state"], READY)
        s.release(VM)
        clean(s)


def kill_during_start():
    """launchd or spawner dies anywhere in a start: it runs or it is gone."""
    with suite() as s:
        for step in range(24):
            s.start(VM, spec=False)
            select.select([], [], [], step * 0.0006)
            s.kill(s.pid if step % 2 else s.spawner())
            s.up()
            h = s.o.list().get(VM)
            if h is not None and h["state"] in (STARTING, RUNNING):
                wait("convergence", lambda: s.o.list()[VM]["state"]
                     in (RUNNING, GONE))
            s.release(VM)
            clean(s)


def attach():
    """What START needs first, and what the jail then gets."""
    def at(s, kind, fd):
        return s.o.ask(ATTACH, struct.pack("<QII", VM, kind, 0), fd)[0]

    with suite() as s:
        nic = start(VM, devs=((1, 0, machine.MAC),))
        eq(s.o.ask(START, nic)[0], ERR, "a nic without its tap")
        r, w = os.pipe()
        for kind, fd in ((TAP, w), (ARGS, memfd(b"quiet")), (SPEC, memfd(b"{}"))):
            eq(at(s, kind, fd), DONE)
            os.close(fd)
        eq(s.o.ask(START, nic)[0], DONE)
        s.o.event(VM, LE_READY)
        fds = {f: os.readlink("/proc/%d/fd/%s" % (s.procs()["vmm"], f))
               for f in ("7", "8")}
        eq(fds["7"][:5], "pipe:", "the tap")
        eq(fds["8"].startswith("/memfd:"), True, "the arguments")
        eq(at(s, TAP, r), ERR, "a tap while it runs")
        # nobody but the hypervisor holds it: it closes when the VM ends
        s.release(VM)
        eq(select.select([r], [], [], 5)[0], [r], "the tap is closed")
        clean(s)


def unanswered():
    """With id 0 nobody waits: neither success nor failure is told."""
    with suite() as s:
        s.ready(VM)
        a, b = socket.socketpair()
        for vm in (VM, VM + 1):
            s.o.send(STREAM, struct.pack("<QII", vm, 1, 0), b.fileno(), 0)
            s.o.send(ATTACH, struct.pack("<QII", vm, TAP, 0), b.fileno(), 0)
        b.close()
        s.o.list()
        a.close()
        s.release(VM)
        s.release(VM + 1)
        clean(s)


def need_spec():
    with suite() as s:
        s.start(VM, spec=False)
        s.o.event(VM, LE_NEED_SPEC)
        s.kill()
        s.up()
        eq(s.o.list()[VM]["state"], RUNNING)
        s.o.event(VM, LE_NEED_SPEC)
        fd = memfd(b"{}")
        eq(s.o.ask(ATTACH, struct.pack("<QII", VM, SPEC, 0), fd)[0], DONE)
        os.close(fd)
        s.o.event(VM, LE_READY)
        s.release(VM)
        clean(s)


def started(pid):
    """When a process was born, in the kernel's ticks of 10 ms."""
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rpartition(")")[2].split()[19])


def tamper(s):
    """The VM's record now names another, living process."""
    keeper = s.procs()["keeper"]

    def born_later():
        p = subprocess.Popen(["sleep", "60"])
        if started(p.pid) != started(keeper):
            return p
        # of the same tick the start time could not tell them apart
        p.kill()
        p.wait()
        return None
    victim = wait("later tick", born_later)
    s.kill()
    os.kill(keeper, signal.SIGKILL)
    wait("death", lambda: not s.procs())
    path = "%s/%016x/record" % (s.run, VM)
    with open(path, "r+b") as f:
        rec = bytearray(f.read())
        rec[80:84] = struct.pack("<I", victim.pid)
        f.seek(0)
        f.write(rec)
    s.up()
    s.o.list()
    s.release(VM)
    lives = alive(victim.pid)
    if lives:
        victim.kill()
    return lives


def pid_reuse():
    with suite() as s:
        s.ready(VM)
        eq(tamper(s), True, "the other process lives")
        clean(s)
    if not CONTROLS:
        return
    for rule in (["RECORD_START"], ["RECORD_NS"], ["RECORD_UID"]):
        # any of the three alone still refuses
        off = [r for r in ("RECORD_START", "RECORD_NS", "RECORD_UID")
               if r not in rule]
        with suite(spawner=relink("mews-spawner", ["spawner/held.c"],
                                  off)) as s:
            s.ready(VM)
            eq(tamper(s), True, "%s alone" % rule)
    off = ["RECORD_START", "RECORD_NS", "RECORD_UID"]
    with suite(spawner=relink("mews-spawner", ["spawner/held.c"],
                              off)) as s:
        s.ready(VM)
        eq(tamper(s), False, "with the rules off")


def bad_records():
    """What is no record of ours is a folder to remove, nothing more."""
    with suite() as s:
        s.down()
        for i, data in enumerate((b"", b"x" * 120, b"x" * 4096)):
            d = "%s/%016x" % (s.run, VM + i)
            os.mkdir(d)
            with open(d + "/record", "wb") as f:
                f.write(data)
        os.mkdir("%s/%016x" % (s.run, VM + 3))
        os.symlink("/etc/passwd", "%s/%016x/record" % (s.run, VM + 3))
        os.mkdir("%s/%016x" % (s.state, VM + 4))
        os.symlink("/etc", "%s/%016x" % (s.state, VM + 5))
        os.mkdir(s.run + "/not-a-vm")
        s.up()
        held = s.o.list()
        eq({h["state"] for h in held.values()}, {GONE})
        eq(sorted(held), [VM + i for i in range(6)])
        for i in range(5):
            s.release(VM + i)
        # a link is not followed: refused, and /etc is still there
        eq(s.o.ask(RELEASE, struct.pack("<Q", VM + 5))[0], ERR)
        eq(os.path.exists("/etc/passwd"), True)
        os.unlink("%s/%016x" % (s.state, VM + 5))
        eq(sorted(os.listdir(s.run)), ["lock", "not-a-vm"])


def old_record():
    """A record of the version before groups is believed, half a one not."""
    with suite() as s:
        s.ready(VM)
        s.ready(VM + 1, slot=1)
        s.down()
        for vm, version in ((VM, 1), (VM + 1, 2)):
            path = "%s/%016x/record" % (s.run, vm)
            with open(path, "rb") as f:
                rec = f.read()
            with open(path, "wb") as f:
                f.write(record_v2(rec, version)[:168])
        vmm = s.procs(1)["keeper"]
        s.up()
        held = s.o.list()
        eq((held[VM]["state"], held[VM + 1]["state"]), (READY, GONE))
        s.release(VM)
        os.kill(vmm, signal.SIGKILL)
        wait("end of what has no record", lambda: not s.procs(1))
        s.release(VM + 1)
        clean(s)


def other_uids():
    """A running VM whose uid mews.conf gave up is not left to run unseen."""
    with suite() as s:
        s.ready(VM)
        vmm = s.procs()["vmm"]
        s.down()
        s.conf["uid_base"] += 1000
        s.up()
        eq(s.o.list()[VM]["state"], GONE)
        try:
            wait("end of what no slot stands for", lambda: not alive(vmm))
        except Fail:
            os.kill(vmm, signal.SIGKILL)
            raise
        s.release(VM)
        clean(s)


def refused(s, text, vm=VM, **kw):
    t, p = s.start(vm, **kw)
    if t == ERR:
        detail = p[16:].split(b"\0")[0].decode()
    else:
        e = s.o.event(vm, LE_EXITED, LE_RUNNING)
        if e["kind"] == LE_RUNNING:
            raise Fail("%s ran" % kw)
        eq(e["reason"], X_START, "reason")
        detail = e["detail"]
    if text not in detail:
        raise Fail("%r lacks %r" % (detail, text))
    if t == DONE:
        s.release(vm)


def policy():
    with suite(max_vcpus=2, max_mem_mib=128) as s:
        s.ready(VM)
        for text, kw in (("slot 8", dict(slot=8)),
                         ("slot 255", dict(slot=255)),
                         ("slot 300", dict(slot=300)),
                         ("3 vcpus", dict(slot=1, vcpus=3)),
                         ("129 MiB", dict(slot=1, mem=129)),
                         ("slot 0 is in use", dict(slot=0))):
            refused(s, text, vm=VM + 1, **kw)
            eq(list(s.o.list()), [VM], "nothing changed")
        refused(s, "already started", slot=1)
        eq(s.o.list()[VM]["state"], READY)
        s.release(VM)
        clean(s)
    if not CONTROLS:
        return
    for rule, kw in (("POLICY_SLOT", dict(slot=8)),
                     ("POLICY_VCPUS", dict(vcpus=3)),
                     ("POLICY_MEM", dict(mem=129))):
        with suite(max_vcpus=2, max_mem_mib=128, spawner=relink(
                "mews-spawner", ["spawner/prepare.c"], [rule])) as s:
            s.ready(VM, **kw)  # so the case above fails


def uid_unused():
    p = subprocess.Popen(["sleep", "60"], user=UID_BASE + 1, group=UID_BASE + 1)
    try:
        with suite() as s:
            refused(s, "still has a process", slot=1)
            s.ready(VM, slot=2)
        if CONTROLS:
            off = relink("mews-spawner", ["spawner/prepare.c"],
                         ["UID_UNUSED"])
            with suite(spawner=off) as s:
                s.start(VM, slot=1)
                s.o.event(VM, LE_RUNNING)
    finally:
        p.kill()


def malformed():
    m = machine
    good = start(VM, ready_ms=500)
    nic = start(VM, devs=((m.NIC, 0, m.MAC),))
    at = 16  # the machine
    dev = at + m.FIRST_DEV

    def put(b, off, data):
        return b[:off] + data + b[off + len(data):]

    rows = (
        ("unknown type", 0x499, b"", None),
        ("an answer", DONE, struct.pack("<Q", VM), None),
        ("a spawner's verb", 0x501, bytes(24), None),
        ("short", START, good[:-1], None),
        ("long", START, good + b"\0", None),
        ("empty", START, b"", None),
        ("no machine", START, good[:at], None),
        ("no VM", START, put(good, 0, bytes(8)), None),
        ("nothing to follow", START, put(good, 10, b"\0\0"), None),
        ("what follows is unknown", START, put(good, 10, b"\2\0"), None),
        ("no deadline", START, put(good, 12, bytes(4)), None),
        ("no vcpu", START, put(good, at + m.VCPUS, b"\0\0"), None),
        ("65 vcpus", START, put(good, at + m.VCPUS, b"\x41\0\x41\0"), None),
        ("fewer vcpus later", START, put(good, at + m.VCPUS, b"\2\0"), None),
        ("63 MiB", START, put(good, at + m.MEM, b"\x3f\0\0\0"), None),
        ("all memory", START, put(good, at + m.MEM, b"\xff" * 8), None),
        ("less memory later", START, put(good, at + m.MEM, b"\x80\0\0\0"),
         None),
        ("2 nics", START, start(VM, devs=((m.NIC, 0, m.MAC),
                                          (m.NIC, 1, m.MAC + 1))), None),
        ("a second nic without a first", START,
         start(VM, devs=((m.NIC, 1, m.MAC),)), None),
        ("multicast mac", START, put(nic, dev + 8 + 5, b"\3"), None),
        ("flags of a device", START, put(nic, dev + 4, b"\1"), None),
        ("a device that is none", START, put(nic, dev, b"\3\0"), None),
        ("a device too many", START, put(nic, at + m.NDEVS, b"\2\0"), None),
        ("65 devices", START, put(nic, at + m.NDEVS, b"\x41\0"), None),
        ("an address of its own", START, start(VM, devs=((m.VSOCK, 0, 5),)),
         None),
        ("an accelerator", START, put(good, at + m.ACCEL, b"\2\0"), None),
        ("padding", START, put(good, at + m.PAD, b"\1"), None),
        ("flags", START, put(good, at + m.FLAGS, b"\2"), None),
        ("a probe", START, put(good, at + m.FLAGS, b"\1"), None),
        ("a clock", START, put(good, at + m.TSC, b"\1"), None),
        ("version 0", START, put(good, at + m.VERSION, b"\0"), None),
        ("a later version", START, put(good, at + m.VERSION, b"\2"), None),
        ("a longer head", START, put(good, at + m.HEAD_LEN, b"\x28"), None),
        ("another backend", START, put(good, at + m.BACKEND, b"\2"), None),
        ("a descriptor with START", START, good, 0),
        ("ATTACH without one", ATTACH, struct.pack("<QII", VM, 1, 0), None),
        ("ATTACH of kind 4", ATTACH, struct.pack("<QII", VM, 4, 0), 0),
        ("ATTACH of kind 5", ATTACH, struct.pack("<QII", VM, 5, 0), 0),
        ("ATTACH of a second tap", ATTACH, struct.pack("<QII", VM, TAP, 1), 0),
        ("ATTACH of kind 0", ATTACH, struct.pack("<QII", VM, 0, 0), 0),
        ("rung 5", STOP, struct.pack("<QII5II", VM, 5, 0, 0, 0, 0, 0, 0, 0), None),
        ("stream of kind 9", STREAM, struct.pack("<QII", VM, 9, 0), 0),
        ("stream flags", STREAM, struct.pack("<QII", VM, 1, 2), 0),
        ("release of 0", RELEASE, bytes(8), None),
        ("list with payload", LIST, b"x", None),
    )
    with suite() as s:
        keep = VM + 1
        s.ready(keep, slot=1)
        for name, t, payload, fd in rows:
            s.o.send(t, payload, fd, 9)
            m = s.o.recv()
            while m is not None and m[0] in (EVENT, CAPS):
                m = s.o.recv()
            eq(m, None, name + ": channel closed")
            s.orchd()
            eq(list(s.o.list()), [keep], name + ": nothing changed")
        for raw in (b"x", bytes(15), struct.pack("<IIQ", LIST, 99, 1)):
            s.o.s.send(raw)
            while s.o.recv() is not None:
                pass
            s.orchd()
        eq(s.o.list()[keep]["state"], READY)
        s.release(keep)
        clean(s)


def readback():
    """A jail that lacks one thing is refused by name; with the check off
    too, it would have run."""
    jail, verify = "spawner/jail.c", "spawner/verify.c"
    table = (
        ("JAIL_BOUNDING", jail, "VERIFY_BOUNDING", "CapBnd"),
        ("JAIL_GROUPS", jail, "VERIFY_GROUPS", "Groups"),
        ("JAIL_NET", "spawner/prepare.c", "VERIFY_NAMESPACES",
         "net namespace"),
    )
    for rule, src, check, text in table:
        with suite(spawner=relink("mews-spawner", [src], [rule])) as s:
            refused(s, text)
            clean(s)
        with suite(spawner=relink("mews-spawner", [src, verify],
                                  [rule, check])) as s:
            s.ready(VM)
    with suite(spawner=relink("mews-spawner", [jail], ["JAIL_UID"])) as s:
        refused(s, "not the recorded one")


def readback_filters():
    with suite() as s:
        refused(s, "Seccomp_filters", mem=NO_FILTER)
        refused(s, "", mem=EXTRA)
        clean(s)
    if not CONTROLS:
        return
    off = relink("mews-spawner", ["spawner/verify.c"],
                 ["VERIFY_FILTERS"])
    with suite(spawner=off) as s:
        s.ready(VM, mem=NO_FILTER)
    keeper = relink("mews-keeper", ["keeper/main.c"],
                    ["JAIL_KEEPER_FILTER"])
    with suite(keeper=keeper) as s:
        refused(s, "Seccomp_filters")
    with suite(spawner=relink("mews-spawner", ["spawner/confine.c"],
                              ["SPAWNER_FILTER"])) as s:
        # inherited by nobody, counted as none: still consistent
        eq(s.ready(VM)["conf"][3], 3)


PROBES = (
    ("passwd", "ENOENT"), ("host-root", "ENOENT EACCES"),
    ("keeper-mem", "ENOENT EACCES"), ("warden-mem", "ENOENT EACCES"),
    ("warden-fd", "ENOENT EACCES"), ("sysctl", "ENOENT"), ("kvm", "ENOENT"),
    ("write-root", "EROFS EACCES"), ("write-stage", "EROFS"),
    ("chmod-stage", "EROFS"), ("remount", "SIGSYS"), ("mount", "SIGSYS"),
    ("chroot", "SIGSYS"), ("mknod", "SIGSYS"), ("inet", "EACCES"),
    ("vsock", "EACCES"), ("netlink", "EACCES"), ("packet", "EACCES"),
    ("keeper-sock", "ENOENT"), ("host-abstract", "ECONNREFUSED"),
    ("ptrace-keeper", "SIGSYS"), ("ptrace-warden", "SIGSYS"),
    ("vm-readv", "SIGSYS"), ("pidfd", "SIGSYS"), ("pidfd-getfd", "SIGSYS"),
    ("kill-keeper", "ok"), ("userns", "SIGSYS"), ("clone-ns", "SIGSYS"),
    ("clone3", "ENOSYS"), ("setns", "SIGSYS"), ("setuid", "SIGSYS"),
    ("bpf", "SIGSYS"), ("io-uring", "ENOSYS"), ("keyctl", "SIGSYS"),
    ("perf", "SIGSYS"), ("x32", "SIGSYS"), ("forks", "EAGAIN"),
    ("fill-log", "EFBIG"), ("fds", "ok"), ("proc", "ok"),
)


def probe_all(s):
    warden = s.stream(VM, "pid")
    return {n: s.probe(VM, n, warden) for n, _ in PROBES}


def confinement():
    canary = socket.socket(socket.AF_UNIX)
    canary.bind("\0mews-canary")
    canary.listen()
    with suite() as s:
        s.ready(VM)
        got = probe_all(s)
        bad = ["%s: %s" % (n, got[n]) for n, want in PROBES
               if got[n] not in want.split()]
        eq(bad, [], "from the hypervisor's place; " + s.said(VM))
        eq(s.o.list()[VM]["state"], READY, "and the VM lives")
        s.release(VM)
        clean(s)
    canary.close()


def confinement_off():
    """The probes that a rule stops succeed, or get further, without it."""
    verify = "spawner/verify.c"
    canary = socket.socket(socket.AF_UNIX)
    canary.bind("\0mews-canary")
    canary.listen()
    for rules, src, keeper, expect in (
            (["JAIL_NET", "VERIFY_NAMESPACES"],
             ["spawner/prepare.c", verify], None,
             {"host-abstract": "ok"}),
            (["JAIL_STAGE_RO"], ["spawner/jail.c"], None,
             {"write-stage": "EACCES", "chmod-stage": "EPERM"}),
            (["SPAWNER_FILTER", "VERIFY_FILTERS", "VERIFY_SECCOMP"],
             ["spawner/confine.c", verify], ["JAIL_KEEPER_FILTER"],
             {"inet": "ok", "vsock": "ok", "ptrace-keeper": "EPERM",
              "ptrace-warden": "EPERM", "mount": "EPERM", "clone3": "EINVAL",
              "setuid": "EPERM", "pidfd": "ok"}),
            (["VERIFY_FILTERS"], [verify], ["KEEPER_DUMPABLE"],
             {"keeper-mem": "ok"})):
        with suite(spawner=relink("mews-spawner", src, rules),
                   keeper=keeper and relink(
                       "mews-keeper", ["keeper/main.c"],
                       keeper)) as s:
            s.ready(VM)
            warden = s.stream(VM, "pid")
            for name, want in expect.items():
                eq(s.probe(VM, name, warden), want, "%s without %s"
                   % (name, rules + (keeper or [])))
    canary.close()


def sockets():
    """Who may connect to a keeper: launchd's uid; the keeper asks again."""
    def try_as(s, uid):
        r = os.fork()
        if r:
            return r
        os.setgid(uid)
        os.setuid(uid)
        c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = 0
        try:
            c.connect("%s/%016x/keeper.sock" % (s.run, VM))
            c.send(struct.pack("<IIQII", 0x601, 8, 1, 1, 0))
            c.settimeout(5)
            code = 2 if c.recv(1000) else 1
        except PermissionError:
            code = 3
        except OSError:
            code = 1
        os._exit(code)

    def result(s, uid):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(try_as(s, uid), 0)[1])
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    with suite() as s:
        s.ready(VM)
        for uid, want in ((65534, 3), (UID_BASE, 3), (UID_BASE + 1, 3), (0, 1)):
            eq(result(s, uid), want, "uid %d" % uid)
        # the newest caller is served: launchd may call again before the answer
        wait("answer to launchd's uid", lambda: result(s, LAUNCH_UID) == 2)
        eq(s.probe(VM, "passwd"), "ENOENT", "launchd came back")
    if not CONTROLS:
        return
    with suite(keeper=relink("mews-keeper", ["keeper/main.c"],
                             ["KEEPER_PEER"])) as s:
        s.ready(VM)
        eq(result(s, 0), 2, "without KEEPER_PEER")


def caps(*bits):
    return "%016x" % sum(1 << b for b in bits)


def rows():
    """Every process as the kernel sees it."""
    with suite() as s:
        s.ready(VM)
        p = s.procs()
        root = caps(0, 5, 6, 7, 8, 19, 21)
        none = caps()
        for name, pid, uid, cap, n in (
                ("launchd", s.pid, LAUNCH_UID, none, 1),
                ("spawner", s.spawner(), 0, root, 1),
                ("keeper", p["keeper"], UID_BASE, none, 2),
                ("warden", p["warden"], UID_BASE, none, 3),
                ("vmm", p["vmm"], UID_BASE, none, 4)):
            st = status(pid)
            print("%-8s uid %s CapEff %s CapBnd %s NNP %s Seccomp %s/%s" % (
                name, st["Uid"].split()[0], st["CapEff"], st["CapBnd"],
                st["NoNewPrivs"], st["Seccomp"], st["Seccomp_filters"]))
            eq(st["Uid"].split(), [str(uid)] * 4, name)
            eq(st["Groups"].split(), [], name)
            for c in ("CapPrm", "CapEff", "CapBnd"):
                eq(st[c], cap, "%s %s" % (name, c))
            for c in ("CapInh", "CapAmb"):
                eq(st[c], none, "%s %s" % (name, c))
            eq((st["NoNewPrivs"], st["Seccomp"], st["Seccomp_filters"]),
               ("1", "2", str(n)), name)
        eq(os.readlink("/proc/%d/root" % s.pid), s.run, "launchd's root")
        with open("/proc/%d/mountinfo" % p["vmm"]) as f:
            mounts = [l.split() for l in f]
        eq([(m[4], m[5].split(",")[0]) for m in mounts],
           [("/", "ro"), ("/usr", "ro"), ("/proc", "ro")], "the jail's mounts")
        for sp in (s.spawner(), s.pid):
            fds = os.listdir("/proc/%d/fd" % sp)
            if len(fds) > 16:
                raise Fail("%d descriptors" % len(fds))


def many():
    with suite() as s:
        for i in range(8):
            s.start(VM + i, slot=i)
        for i in range(8):
            s.o.event(VM + i, LE_READY)
        for i in range(8):
            s.stop(VM + i)
        for i in range(8):
            s.o.event(VM + i, LE_EXITED)
            s.release(VM + i)
        clean(s)
        fds = len(os.listdir("/proc/%d/fd" % s.spawner()))
        eq(fds < 12, True, "spawner's descriptors: %d" % fds)


def accel_probe():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        with suite(accel=0) as s:
            s.ready(VM)
            eq(s.o.caps[0], TCG)
        return
    with suite(accel=0, max_mem_mib=128) as s:
        e = s.ready(VM)  # waits for the probe's verdict
        eq((s.o.caps[0], e["accel"]), (KVM, KVM), "the agent answered")
        eq(s.probe(VM, "kvm"), "ok", "kvm in the jail")
        s.kill()
        s.up()
        s.o.list()
        eq(s.o.caps[0], KVM, "kept over a restart, not probed again")
        s.release(VM)
        clean(s)


def accel_probe_hangs():
    """No sign of life of the guest in 5 s of a processor: emulation, and
    nothing is left."""
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=SPIN) as s:
        wait("verdict", lambda: s.o._file(s.o.recv()) and s.o.caps, 60)
        eq(s.o.caps[0], TCG)
        e = s.ready(VM, mem=64)
        eq(e["accel"], TCG)
        eq(s.probe(VM, "kvm"), "ENOENT")
        s.release(VM)
        clean(s)


def accel_probe_late():
    """A host that is busy makes the guest late, and that is no verdict."""
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=LATE) as s:
        wait("verdict", lambda: s.o._file(s.o.recv()) and s.o.caps, 60)
        eq(s.o.caps[0], KVM)


def accel_probe_killed():
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=68) as s:
        wait("probe", lambda: s.procs(255).get("vmm"))
        s.kill()
        s.conf["max_mem_mib"] = 128
        s.up()
        s.ready(VM)
        eq(s.o.caps[0], KVM, "probed anew")
        s.release(VM)
        clean(s)


def host_refusals():
    """A host that cannot be what mews.conf says is a clear fault at start."""
    usable = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    rows_ = [("slot outside", dict(max_vms=256), "max_vms"),
             ("uid 0", dict(uid_base=0), "uid_base"),
             ("overflow", dict(uid_base=0xffffff80), "uid_base"),
             ("launchd's own uid", dict(uid_base=LAUNCH_UID), "is a VM's")]
    if not usable:
        rows_.append(("cgroup = require", dict(cgroup=1), "cgroup = require"))
    for name, kw, text in rows_:
        try:
            with suite(**kw) as s:
                try:
                    s.o.list()
                except Fail as e:  # it served before its spawner gave up
                    raise Fail("%s\n%s" % (e, s.tail()))
            raise Fail(name + " was taken")
        except Fail as e:
            if "was taken" in str(e):
                raise
            log = str(e)
            if text not in log:
                raise Fail("%s: %r lacks %r" % (name, log, text))


if not CONTROLS:  # these are nothing but controls
    readback = confinement_off = life
run([(f.__name__.replace("_", "-"), f) for f in (
    life, vsock_dial, vsock_nobody, vsock_port, vsock_peer, vsock_own_address,
    vsock_hangs, vsock_hoard, vsock_taken, vsock_off, vsock_old_record, ladder,
    ladder_skips, exits, stop_while_starting, kill_parts,
    kill_warden, late_answer, hostile_warden, hung_warden, hung_warden_streams,
    flooding_warden, adoption, adoption_of_dead, orchd_restart, kill_during_start, attach,
    unanswered, need_spec, pid_reuse, bad_records, old_record, other_uids, policy, uid_unused,
    malformed, readback, readback_filters, confinement, confinement_off,
    sockets, rows, many, accel_probe, accel_probe_hangs, accel_probe_late,
    accel_probe_killed,
    host_refusals)])
