#!/usr/bin/env python3
"""launchd and keepers of an older suite: what they started is adopted and
served, what they have not started is ended.  The keeper is the one that ships
with version 1's bytes in its mouth (keeper_v1.c)."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from callers import *  # noqa: E402,F403
from wire import (  # noqa: E402
    EXIT_KILLED, EXIT_STOPPED, KEEP_VERSION, LV_GONE, LV_READY)

KEEPER = BUILD + "/old/mews-keeper"

enter(__file__)


def suite():
    return contextlib.closing(Suite(keeper=KEEPER))


def served():
    with suite() as s:
        vmm = s.ready(VM).pid
        for _ in range(2):
            s.kill()
            s.up()
            held = s.o.list()
            eq(list(held), [VM])
            eq((held[VM].state, held[VM].pid, held[VM].accel),
               (LV_READY, vmm, ACCEL_TCG))
            eq(held[VM].confined.verified, 1, "verified again")
            eq(s.probe(VM, "passwd"), "ENOENT", "a stream")
        s.stop(VM)
        eq(s.o.event(VM, LE_EXITED).reason, EXIT_STOPPED)
        s.release(VM)
        eq(s.leaks(), [])


def ended():
    """It ends while nobody watches: its status is told by version 1, too."""
    with suite() as s:
        s.ready(VM)
        vmm = s.procs()["vmm"]
        s.kill()
        os.kill(vmm, signal.SIGKILL)
        wait("end of the hypervisor", lambda: not alive(vmm))
        s.up()
        eq(s.o.list()[VM].state, LV_GONE)
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.status, e.accel), (EXIT_KILLED, 9, ACCEL_TCG))
        s.release(VM)
        eq(s.leaks(), [])


def waits():
    """One whose staged tree is older than launchd never starts."""
    with suite() as s:
        eq(s.start(VM, slot=1)[0], LAUNCH_DONE)
        e = s.o.event(VM, LE_EXITED, LE_RUNNING)
        eq((e.kind, e.reason), (LE_EXITED, EXIT_START_FAILED))
        eq(b"keeper speaks version 1, launchd %d" % KEEP_VERSION in e.detail,
           True, e.detail)
        s.release(VM)
        eq(s.leaks(), [])


run((("older: served", served), ("older: ended", ended),
     ("older: waits", waits)))
