#!/usr/bin/env python3
"""Records of VMs: spoilt, old, of others; asked through launchd.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import os
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
from wire import LV_GONE, LV_READY, record  # noqa: E402

enter(os.path.abspath(__file__))


def record_v2(rec, version=2):
    """Bytes of today's record as an earlier build would have written them."""
    r = record.of(rec)
    return struct.pack("<IIQQ5QIIHBBI", r.magic, version, r.jail.id,
                       r.start_time, *r.ns, r.pid, r.uid, r.slot, r.cgroup,
                       r.kvm, r.filters) + b"".join(
        bytes(prog.file) for prog in sorted(
            r.prog[:r.nprogs], key=lambda prog: prog.role)) + struct.pack(
        "<40s224sII", r.boot_id, r.group, r.cid, 0)


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
            eq(VM in held and held[VM].state == LV_READY, bool(alive_), held)
            if alive_:
                eq(s.procs()["vmm"], uptime["vmm"])
                s.kill()


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
        rec = record.of(f.read())
        rec.pid = victim.pid
        f.seek(0)
        f.write(bytes(rec))
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
        eq({h.state for h in held.values()}, {LV_GONE})
        eq(sorted(held), [VM + i for i in range(6)])
        for i in range(5):
            s.release(VM + i)
        # a link is not followed: refused, and /etc is still there
        eq(s.o.ask(LAUNCH_RELEASE, launch_vm(vm=VM + 5))[0], LAUNCH_ERR)
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
        eq((held[VM].state, held[VM + 1].state), (LV_READY, LV_GONE))
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
        eq(s.o.list()[VM].state, LV_GONE)
        try:
            wait("end of what no slot stands for", lambda: not alive(vmm))
        except Fail:
            os.kill(vmm, signal.SIGKILL)
            raise
        s.release(VM)
        clean(s)


run([(f.__name__.replace("_", "-"), f) for f in (
    pid_reuse, bad_records, old_record, other_uids, vsock_old_record)])
