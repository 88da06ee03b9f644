#!/usr/bin/env python3
"""launchd, its spawner and the keeper, with a stand-in warden and hypervisor.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import os
import select
import signal
import socket
import subprocess

from callers import *  # noqa: F403
from machine import MAC
from wire import (ACCEL_KVM, BACKEND_QEMU, DEV_KINDS, DEV_NIC, DEV_VSOCK,
                  EXIT_GUEST_REBOOT, EXIT_KEEPER, EXIT_KILLED, EXIT_NO_AGENT,
                  EXIT_STOPPED, EXIT_VMM_ERROR, FDR_ARGS, FDR_QMP, FDR_TAP,
                  FDR_VSOCK, LE_NEED_SPEC, LE_RUNG, LE_WARDEN, LV_GONE,
                  LV_READY, LV_RUNNING, LV_STARTING, MACHINE_PROBE,
                  MACHINE_VERSION, SPAWN_PREPARE, STOP_ACPI, STOP_KILL,
                  STOP_QUIT, STOP_RUNGS, STOP_TERM, STREAM_FOLLOW, UINT32_MAX,
                  machine, machine_dev, spawn_prepare)

enter(os.path.abspath(__file__))


def life():
    with suite() as s:
        eq(s.o.list(), {}, "list")
        e = s.ready(VM)
        eq((e.confined.verified, e.confined.threads, e.confined.uid), (1, 1, UID_BASE),
           "read-back")
        eq(e.pid, s.procs()["vmm"], "pid")
        base = int(status(s.spawner())["Seccomp_filters"])
        eq(e.confined.filters, base + 3, "filters")
        h = s.o.list()[VM]
        eq((h.state, h.pid, h.confined.verified), (LV_READY, e.pid, 1), "held")
        eq(s.stop(VM), LAUNCH_DONE)
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_AGENT), "exit")
        eq(s.o.list()[VM].state, LV_GONE, "held")
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_STOPPED, "told again")
        s.release(VM)
        s.release(VM)  # again, and of nothing: the same answer
        eq(s.o.list(), {}, "list")
        clean(s)
        s.down()


def ladder():
    for mem, rung, status_ in ((WELL, STOP_AGENT, 0), (NO_AGENT_STOP, STOP_ACPI, 0),
                               (NO_SOFT_STOP, STOP_TERM, 15),
                               (DEAF, STOP_KILL, 0)):
        with suite() as s:
            s.ready(VM, mem=mem)
            s.stop(VM, STOP_AGENT, (60, 60, 60, 60, 0))
            e = s.o.event(VM, LE_EXITED)
            eq((e.reason, e.rung, e.status),
               (EXIT_STOPPED, rung, status_), "behaviour %d" % mem)
            rungs = [x.rung for x in s.o.events if x.kind == LE_RUNG]
            eq(rungs, list(range(rung + 1)), "rungs told")
            s.release(VM)
            clean(s)


def ladder_skips():
    with suite() as s:
        s.ready(VM, mem=DEAF)
        s.stop(VM, STOP_ACPI, (0, 0, 30, 0, 0))
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_KILL), "exit")
        eq([x.rung for x in s.o.events if x.kind == LE_RUNG],
           [STOP_QUIT, STOP_KILL])
        s.release(VM)
        clean(s)


def exits():
    table = (  # ready_ms: short only where it has to pass
        (EXIT_3, EXIT_START_FAILED, b"did not start (status 3)", 20000),
        (CRASH, EXIT_KILLED, b"signal 6", 20000),
        (REFUSED, EXIT_KILLED, b"by signal 31: its filter refused", 20000),
        (REFUSED_EARLY, EXIT_START_FAILED, b"(signal 31): its filter refused",
         20000),
        (REBOOT, EXIT_GUEST_REBOOT, b"", 20000),
        (NO_AGENT, EXIT_NO_AGENT, b"", 1500),
        (NO_QMP, EXIT_START_FAILED, b"in time", 1500),
        (EXIT_4, EXIT_VMM_ERROR, b"\\x1b[31mbad", 20000),
    )
    with suite() as s:
        for i, (mem, reason, text, ready_ms) in enumerate(table):
            s.start(VM + i, slot=i, mem=mem, ready_ms=ready_ms)
            e = s.o.event(VM + i, LE_EXITED)
            eq(e.reason, reason, "behaviour %d (%s)" % (mem, e.detail))
            if text not in e.detail:
                raise Fail("detail %r lacks %r" % (e.detail, text))
            s.release(VM + i)
        clean(s)


def stop_while_starting():
    with suite() as s:
        s.start(VM, mem=NO_QMP)
        eq(s.stop(VM), LAUNCH_DONE)
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_STOPPED)
        s.release(VM)
        s.start(VM, mem=NO_QMP)
        s.release(VM)
        clean(s)


def kill_parts():
    with suite() as s:
        for victim, reason in (("keeper", EXIT_KEEPER), ("vmm", EXIT_KILLED)):
            s.ready(VM)
            os.kill(s.procs()[victim], signal.SIGKILL)
            eq(s.o.event(VM, LE_EXITED).reason, reason, victim)
            s.release(VM)
            clean(s)


def kill_warden():
    with suite() as s:
        vmm = s.ready(VM).pid
        a, b = socket.socketpair()
        for i in range(3):
            os.kill(s.procs()["warden"], signal.SIGKILL)
            e = s.o.event(VM, LE_WARDEN)
            eq((e.confined.verified, e.pid), (1, vmm), "read back again")
            eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        a.close()
        b.close()
        eq(s.o.list()[VM].state, LV_READY)
        s.release(VM)
        clean(s)


def hostile_warden():
    """What no honest warden says costs it its channel, nobody else a thing."""
    with suite() as s:
        s.ready(VM)
        other = s.ready(VM + 1, slot=1).pid
        for which in range(6):
            eq(s.stream(VM, "junk %d" % which), "junk %d" % which)
            s.o.event(VM, LE_WARDEN)  # connected, asked, read back again
            eq(s.probe(VM + 1, "passwd"), "ENOENT", "the other VM")
        eq({v: h.state for v, h in s.o.list().items()},
           {VM: LV_READY, VM + 1: LV_READY})
        eq(s.procs(1)["vmm"], other)
        s.release(VM)
        s.release(VM + 1)
        clean(s)


def unread(pid):
    """Bytes that wait in the spawner's channel to launchd."""
    try:
        inode, = [to.strip("socket:[]") for to in (
            os.readlink("/proc/%d/fd/%s" % (pid, fd))
            for fd in os.listdir("/proc/%d/fd" % pid) if int(fd) > 3)
            if to.startswith("socket:")]
    except (FileNotFoundError, ValueError):
        return 0  # it is not stopped yet, and has something open for a while
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
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_KILLED)
        os.kill(keeper, signal.SIGSTOP)
        s.o.send(LAUNCH_RELEASE, launch_vm(vm=VM), None, 7)
        s.o.send(LAUNCH_LIST, b"", None, 8)
        m = s.o.recv()
        while m is None or m[0] != LAUNCH_LIST_END:  # so the release was read
            m = s.o.recv()
        os.kill(spawner, signal.SIGCONT)
        wait("answer of the spawner", lambda: not unread(spawner))
        os.kill(keeper, signal.SIGCONT)
        m = s.o.recv()
        while s.o._file(m):
            m = s.o.recv()
        eq((m[0], m[1]), (LAUNCH_DONE, 7), "release: %r" % m[2])
        clean(s)


def hung_warden():
    """A stopped warden answers nobody; the VM stays, the request too."""
    with suite() as s:
        s.ready(VM)
        os.kill(s.procs()["warden"], signal.SIGSTOP)
        s.stop(VM, STOP_AGENT, (50, 50, 50, 500, 0))
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_TERM))
        s.release(VM)
        clean(s)


def hung_warden_streams():
    """It gets no more descriptors than a socket holds; others get theirs."""
    with suite() as s:
        s.ready(VM)
        warden = s.procs()["warden"]
        os.kill(warden, signal.SIGSTOP)
        kept, said = [], b""
        while not said and len(kept) < 1200:
            a, t, p = s.connect(VM)
            kept.append(a)
            if t != LAUNCH_DONE:
                said = launch_err.of(p).msg
        eq(said, b"busy")
        for a in kept:
            a.close()
        os.kill(warden, signal.SIGCONT)
        s.release(VM)
        clean(s)


def flooding_warden():
    """News without end waits at its sender's; other VMs live as ever."""
    with suite() as s:
        s.ready(VM)
        a, t, _ = s.connect(VM)
        eq(t, LAUNCH_DONE)
        a.sendall(b"flood 5000\n")  # read as they come: some 20 ms
        s.ready(VM + 1, slot=1)  # a whole life meanwhile
        s.stop(VM + 1)
        eq(s.o.event(VM + 1, LE_EXITED).reason, EXIT_STOPPED)
        s.release(VM + 1)
        r, _, _ = select.select([a], [], [], 0.5)
        assert not r, "it said all 5000"
        eq(s.o.list()[VM].state, LV_READY)
        a.close()
        s.release(VM)
        clean(s)


def adoption():
    with suite() as s:
        n = 4
        vmm = [s.ready(VM + i, slot=i).pid for i in range(n)]
        for who in ("launchd", "spawner", "both"):
            sp = s.spawner()
            if who == "both":
                os.kill(sp, signal.SIGKILL)
            s.kill(sp if who == "spawner" else s.pid, sp)
            s.up()
            held = s.o.list()
            eq([held[VM + i].pid for i in range(n)], vmm, who)
            eq({h.state for h in held.values()}, {LV_READY}, who)
            eq({h.confined.verified for h in held.values()}, {1}, "verified again")
            eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        s.stop(VM)
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_STOPPED)
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
        wait("the ends", lambda: [h.state for _, h in sorted(s.o.list().items())]
             == [LV_GONE, LV_GONE, LV_READY])
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_KILLED, "status was kept")
        eq(s.o.event(VM + 1, LE_EXITED).reason, EXIT_KEEPER)
        for i in range(3):
            s.release(VM + i)
        clean(s)


def orchd_restart():
    """Another orchd: the old channel's requests are forgotten, VMs are not."""
    with suite() as s:
        s.ready(VM)
        s.o.s.close()
        s.orchd()
        eq(s.o.list()[VM].state, LV_READY)
        s.orchd()  # while the old one is still open
        eq(s.o.list()[VM].state, LV_READY)
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
            if h is not None and h.state in (LV_STARTING, LV_RUNNING):
                wait("convergence", lambda: s.o.list()[VM].state
                     in (LV_RUNNING, LV_GONE))
            s.release(VM)
            clean(s)


def attach():
    """What START needs first, and what the jail then gets."""
    def at(s, role, fd):
        return s.o.ask(LAUNCH_ATTACH, launch_attach(vm=VM, role=role), fd)[0]

    with suite() as s:
        nic = start(VM, devs=((DEV_NIC, 0, MAC),))
        eq(s.o.ask(LAUNCH_START, nic)[0], LAUNCH_ERR, "a nic without its tap")
        r, w = os.pipe()
        for role, fd in ((FDR_TAP, w), (FDR_ARGS, memfd(b"quiet")),
                         (FDR_SPEC, memfd(b"{}"))):
            eq(at(s, role, fd), LAUNCH_DONE)
            os.close(fd)
        eq(s.o.ask(LAUNCH_START, nic)[0], LAUNCH_DONE)
        s.o.event(VM, LE_READY)
        fds = {f: os.readlink("/proc/%d/fd/%s" % (s.procs()["vmm"], f))
               for f in ("7", "8")}
        eq(fds["7"][:5], "pipe:", "the tap")
        eq(fds["8"].startswith("/memfd:"), True, "the arguments")
        eq(at(s, FDR_TAP, r), LAUNCH_ERR, "a tap while it runs")
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
            s.o.send(LAUNCH_STREAM, launch_stream(vm=vm, kind=STREAM_EXEC),
                     b.fileno(), 0)
            s.o.send(LAUNCH_ATTACH, launch_attach(vm=vm, role=FDR_TAP),
                     b.fileno(), 0)
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
        eq(s.o.list()[VM].state, LV_RUNNING)
        s.o.event(VM, LE_NEED_SPEC)
        fd = memfd(b"{}")
        eq(s.o.ask(LAUNCH_ATTACH, launch_attach(vm=VM, role=FDR_SPEC), fd)[0],
           LAUNCH_DONE)
        os.close(fd)
        s.o.event(VM, LE_READY)
        s.release(VM)
        clean(s)


def malformed():
    good, nic = start(VM), start(VM, devs=((DEV_NIC, 0, MAC),))
    at = launch_start.SIZE
    dev = at + machine.dev.offset

    def put(b, at, field, value):
        """That field of the struct at `at` is another value."""
        at += field.offset
        return b[:at] + value.to_bytes(field.size, "little") \
            + b[at + field.size:]

    starts = (
        ("short", good[:-1]), ("long", good + b"\0"), ("empty", b""),
        ("no machine", good[:at]), ("no VM", start(0)),
        ("nothing to follow", start(VM, then=0)),
        ("what follows is unknown", start(VM, then=LAUNCH_RUN + 1)),
        ("no deadline", start(VM, ready_ms=0)),
        ("no vcpu", put(good, at, machine.vcpus, 0)),
        ("65 vcpus", start(VM, vcpus=65)),
        ("fewer vcpus later", put(good, at, machine.vcpus, 2)),
        ("63 MiB", put(good, at, machine.mem_mib, 63)),
        ("all memory", start(VM, mem=UINT32_MAX)),
        ("less memory later", put(good, at, machine.mem_mib, 128)),
        ("2 nics", start(VM, devs=((DEV_NIC, 0, MAC), (DEV_NIC, 1, MAC + 1)))),
        ("a second nic without a first", start(VM, devs=((DEV_NIC, 1, MAC),))),
        ("multicast mac", start(VM, devs=((DEV_NIC, 0, MAC | 1 << 40),))),
        ("flags of a device", put(nic, dev, machine_dev.flags, 1)),
        ("a device that is none", start(VM, devs=((DEV_KINDS, 0, MAC),))),
        ("a device too many", put(nic, at, machine.ndevs, 2)),
        ("65 devices", put(nic, at, machine.ndevs, 65)),
        ("an address of its own", start(VM, devs=((DEV_VSOCK, 0, 5),))),
        ("an accelerator", start(VM, accel=ACCEL_KVM)),
        ("padding", put(good, at, machine.pad, 1)),
        ("flags", start(VM, flags=MACHINE_PROBE << 1)),
        ("a probe", start(VM, flags=MACHINE_PROBE)),
        ("a clock", start(VM, tsc=1)),
        ("version 0", put(good, at, machine.version, 0)),
        ("a later version", put(good, at, machine.version, MACHINE_VERSION + 1)),
        ("a longer head", put(good, at, machine.head_len,
                              machine.dev.offset + 8)),
        ("another backend", put(good, at, machine.backend, BACKEND_QEMU + 1)),
    )
    rows = (
        ("unknown type", 0x499, b"", None),
        ("an answer", LAUNCH_DONE, launch_vm(vm=VM), None),
        ("a spawner's verb", SPAWN_PREPARE, spawn_prepare(), None),
        *((name, LAUNCH_START, payload, None) for name, payload in starts),
        ("a descriptor with START", LAUNCH_START, good, 0),
        ("ATTACH without one", LAUNCH_ATTACH,
         launch_attach(vm=VM, role=FDR_TAP), None),
        *(("ATTACH of kind %d" % role, LAUNCH_ATTACH,
           launch_attach(vm=VM, role=role), 0)
          for role in (FDR_VSOCK, FDR_QMP, 0)),
        ("ATTACH of a second tap", LAUNCH_ATTACH,
         launch_attach(vm=VM, role=FDR_TAP, index=1), 0),
        ("rung 5", LAUNCH_STOP, launch_stop(vm=VM, **{"from": STOP_RUNGS}), None),
        ("stream of kind 9", LAUNCH_STREAM, launch_stream(vm=VM, kind=9), 0),
        ("stream flags", LAUNCH_STREAM,
         launch_stream(vm=VM, kind=STREAM_EXEC, flags=STREAM_FOLLOW << 1), 0),
        ("release of 0", LAUNCH_RELEASE, launch_vm(), None),
        ("list with payload", LAUNCH_LIST, b"x", None),
    )
    with suite() as s:
        keep = VM + 1
        s.ready(keep, slot=1)
        for name, t, payload, fd in rows:
            s.o.send(t, payload, fd, 9)
            m = s.o.recv()
            while m is not None and m[0] in (LAUNCH_EVENT, LAUNCH_CAPS):
                m = s.o.recv()
            eq(m, None, name + ": channel closed")
            s.orchd()
            eq(list(s.o.list()), [keep], name + ": nothing changed")
        for raw in (b"x", bytes(15), bytes(msg_hdr(type=LAUNCH_LIST, len=99, id=1))):
            s.o.s.send(raw)
            while s.o.recv() is not None:
                pass
            s.orchd()
        eq(s.o.list()[keep].state, LV_READY)
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
            eq(s.o.caps.accel, ACCEL_TCG)
        return
    with suite(accel=0, max_mem_mib=128) as s:
        e = s.ready(VM)  # waits for the probe's verdict
        eq((s.o.caps.accel, e.accel), (ACCEL_KVM, ACCEL_KVM),
           "the agent answered")
        eq(s.probe(VM, "kvm"), "ok", "kvm in the jail")
        s.kill()
        s.up()
        s.o.list()
        eq(s.o.caps.accel, ACCEL_KVM, "kept over a restart, not probed again")
        s.release(VM)
        no_probe(s)
        clean(s)


def accel_probe_hangs():
    """No sign of life of the guest in 5 s of a processor: emulation, and
    nothing is left."""
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=SPIN) as s:
        wait("verdict", lambda: s.o._file(s.o.recv(60)) and s.o.caps, 60)
        eq(s.o.caps.accel, ACCEL_TCG)
        e = s.ready(VM, mem=64)
        eq(e.accel, ACCEL_TCG)
        eq(s.probe(VM, "kvm"), "ENOENT")
        s.release(VM)
        no_probe(s)
        clean(s)


def accel_probe_late():
    """A host that is busy makes the guest late, and that is no verdict."""
    if not os.path.exists("/dev/kvm"):
        return
    with suite(accel=0, max_mem_mib=LATE) as s:
        wait("verdict", lambda: s.o._file(s.o.recv(60)) and s.o.caps, 60)
        eq(s.o.caps.accel, ACCEL_KVM)


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
            eq((s.o.caps.accel, s.o.caps.doubt), (ACCEL_TCG, 1), "for now")
            eq(os.path.exists(s.state + "/accel"), False, "kept")
            eq(s.ready(VM, mem=64).accel, ACCEL_TCG)
            s.release(VM)
            if after:
                after()
                s.up()
        s.o.caps = None
        wait("verdict", lambda: s.o._file(s.o.recv(60)) and s.o.caps, 60)
        eq((s.o.caps.accel, s.o.caps.doubt), (ACCEL_KVM, 0))
        eq(s.ready(VM, mem=64).accel, ACCEL_KVM)
        s.release(VM)
        eq(os.path.exists(s.state + "/accel"), True, "kept")
        no_probe(s)
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
        eq(s.o.caps.accel, ACCEL_KVM, "probed anew")
        s.release(VM)
        no_probe(s)
        clean(s)


run([(f.__name__.replace("_", "-"), f) for f in (
    life, ladder, ladder_skips, exits, stop_while_starting, kill_parts,
    kill_warden, late_answer, hostile_warden, hung_warden,
    hung_warden_streams, flooding_warden, adoption, adoption_of_dead,
    orchd_restart, kill_during_start, attach, unanswered, need_spec,
    malformed, many, accel_probe, accel_probe_hangs, accel_probe_late,
    accel_probe_transient, accel_probe_killed)])
