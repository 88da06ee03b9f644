#!/usr/bin/env python3
"""Which hypervisor a VM gets: the smaller one where it can do all of it, and
read-back wants that one and no other."""
import os

from callers import *  # noqa: F403
from wire import (ACCEL_KVM, ACCEL_TCG, BACKEND_QEMU, BACKEND_QEMU_MICROVM,
                  EXIT_START_FAILED, LE_EXITED, LE_RUNNING)

enter(os.path.abspath(__file__))

KVM = os.path.exists("/dev/kvm")
FAKE = dict(launchd=os.path.join(BUILD, "fake/mews-launchd"),
            spawner=os.path.join(BUILD, "fake/mews-spawner"))


def what(backend, name, caps, **kw):
    """The VM's program, as launchd and the kernel tell it."""
    with suite(**kw) as s:
        e = s.ready(VM)
        eq((e.backend, s.o.caps.microvm), (backend, caps), "said")
        eq(name in s.procs(), True, s.procs())
        eq(s.o.list()[VM].backend, backend, "listed")
        s.kill()
        s.up()
        eq(s.o.list()[VM].backend, backend, "found again")
        s.stop(VM)
        eq(s.o.event(VM, LE_EXITED).backend, backend, "ended")
        s.release(VM)
        clean(s)


def kvm():
    what(BACKEND_QEMU_MICROVM, "microvm", 1, microvm=True, accel=ACCEL_KVM)


def not_staged():
    what(BACKEND_QEMU, "vmm", 0, accel=ACCEL_KVM)


def emulation():
    what(BACKEND_QEMU, "vmm", 1, microvm=True, accel=ACCEL_TCG)


def vsock():
    """It has no device for AF_VSOCK."""
    what(BACKEND_QEMU, "vmm", 1, microvm=True, accel=ACCEL_KVM,
         cid_base=UID_BASE & ~15, **FAKE)


def probe():
    """It is what the probe tries."""
    with suite(microvm=True, accel=0, max_mem_mib=LATE) as s:
        wait("probe", lambda: s.procs(255).get("microvm"), 20)
        wait("verdict", lambda: s.o._file(s.o.recv(60)) and s.o.caps, 60)
        eq(s.o.caps.accel, ACCEL_KVM)


def probe_halts():
    """A guest whose processor KVM gave up uses none, and is not waited for."""
    with suite(accel=0, max_mem_mib=HALT) as s:
        wait("verdict", lambda: s.o._file(s.o.recv(8)) and s.o.caps, 8)
        eq((s.o.caps.accel, s.o.caps.doubt), (ACCEL_TCG, 0))
        eq(s.ready(VM).accel, ACCEL_TCG)
        s.release(VM)
        no_probe(s)
        clean(s)


def other():
    """One that runs the other program, staged as well, ends unread."""
    with suite(microvm=True, accel=ACCEL_KVM) as s:
        s.start(VM, mem=OTHER)
        e = s.o.event(VM, LE_RUNNING, LE_EXITED)
        eq((e.kind, e.reason), (LE_EXITED, EXIT_START_FAILED), e)
        eq(b"runs another program" in e.detail, True, e.detail)
        s.release(VM)
        # where nothing smaller is chosen the same is what it should be
        s.down()
        s.conf["accel"] = ACCEL_TCG
        s.up()
        s.ready(VM, mem=OTHER)
        s.release(VM)
        clean(s)


if not KVM:
    print("skip what needs a node /dev/kvm: there is none")
run([(f.__name__.replace("_", "-"), f) for f in (
    (kvm, not_staged, emulation, vsock, probe, probe_halts, other) if KVM else
    (emulation,))])
