#!/usr/bin/env python3
"""What the host's policy refuses, asked through launchd.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
from wire import LV_READY  # noqa: E402

enter(os.path.abspath(__file__))


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
        eq(s.o.list()[VM].state, LV_READY)
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


run([(f.__name__.replace("_", "-"), f) for f in (
    policy, uid_unused, host_refusals)])
