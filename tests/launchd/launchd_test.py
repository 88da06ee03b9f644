#!/usr/bin/env python3
"""launchd, its spawner and the keeper, with a stand-in warden and hypervisor.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import os
import select
import signal
import socket
import struct
import subprocess

from callers import *  # noqa: F403

enter(os.path.abspath(__file__))


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


def accel_probe_transient():
    """A probe whose hypervisor is killed says nothing: emulation for now, not
    kept, and asked again."""
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=LATE) as s:
        for after in (lambda: s.kill(), None):
            os.kill(wait("probe", lambda: s.procs(255).get("vmm"), 20),
                    signal.SIGKILL)
            wait("word", lambda: s.o._file(s.o.recv()) and s.o.caps, 60)
            eq((s.o.caps[0], s.o.caps[3]), (TCG, 1), "for now")
            eq(os.path.exists(s.state + "/accel"), False, "kept")
            eq(s.ready(VM, mem=64)["accel"], TCG)
            s.release(VM)
            if after:
                after()
                s.up()
        s.o.caps = None
        wait("verdict", lambda: s.o._file(s.o.recv(60)) and s.o.caps, 60)
        eq((s.o.caps[0], s.o.caps[3]), (KVM, 0))
        eq(s.ready(VM, mem=64)["accel"], KVM)
        s.release(VM)
        eq(os.path.exists(s.state + "/accel"), True, "kept")
        wait("end of the probe", lambda: not s.procs(255))
        clean(s)


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


run([(f.__name__.replace("_", "-"), f) for f in (
    life, ladder, ladder_skips, exits, stop_while_starting, kill_parts,
    kill_warden, late_answer, hostile_warden, hung_warden,
    hung_warden_streams, flooding_warden, adoption, adoption_of_dead,
    orchd_restart, kill_during_start, attach, unanswered, need_spec,
    malformed, many, accel_probe, accel_probe_hangs, accel_probe_late,
    accel_probe_transient, accel_probe_killed)])
