#!/usr/bin/env python3
"""Ready is what was seen lately: it goes, with words, and comes again."""
import os
import signal

from callers import *  # noqa: F403
from wire import (EXIT_VMM_ERROR, LE_MUTE, LE_WARDEN, LV_GONE, LV_READY,
                  LV_RUNNING, WARD_MUTE_NOT_READY, WARD_MUTE_SILENT, WARD_SILENT_MS)

enter(os.path.abspath(__file__))
SILENT = WARD_SILENT_MS / 1000 + 3  # seconds; launchd/life.c


def agent():
    with suite() as s:
        s.ready(VM)
        for mute, words in ((WARD_MUTE_SILENT, "does not answer"),
                            (WARD_MUTE_NOT_READY, "not ready"),
                            (77, "does not answer")):
            s.stream(VM, "mute %d" % mute)
            e = s.o.event(VM, LE_MUTE)
            assert words in e.detail.decode(), e
            eq(s.o.list()[VM].state, LV_RUNNING)
            assert words in s.o.event(VM, LE_MUTE).detail.decode(), "told again"
            s.stream(VM, "mute 0")
            s.o.event(VM, LE_READY)
            eq(s.o.list()[VM].state, LV_READY)
        s.release(VM)
        clean(s)


def restarted_warden():
    """One that is back soon is no news."""
    with suite() as s:
        s.ready(VM)
        os.kill(s.procs()["warden"], signal.SIGKILL)
        s.o.event(VM, LE_WARDEN)
        wait("ready", lambda: s.o.list()[VM].state == LV_READY)
        eq([e for e in s.o.events if e.kind == LE_MUTE], [])
        s.release(VM)
        clean(s)


def stopped_warden():
    with suite() as s:
        s.ready(VM)
        s.ready(VM + 1, slot=1)
        warden = s.procs()["warden"]
        os.kill(warden, signal.SIGSTOP)
        e = s.o.event(VM, LE_MUTE, deadline=SILENT + 5)
        assert b"warden has not said anything" in e.detail, e
        eq([e for e in s.o.events if e.kind == LE_MUTE], [])
        os.kill(warden, signal.SIGCONT)
        s.o.event(VM, LE_READY)
        for i in range(2):
            eq(s.o.list()[VM + i].state, LV_READY)
            s.release(VM + i)
        clean(s)


def halted():
    """A guest whose processor KVM gave up never answers again: it has crashed, at
    once and with words."""
    with suite() as s:
        for i in range(2):
            s.ready(VM + i, slot=i)
        s.stream(VM, "halts")
        e = s.o.event(VM, LE_MUTE, LE_EXITED, deadline=2)
        eq((e.kind, e.reason), (LE_EXITED, EXIT_VMM_ERROR))
        assert e.detail.startswith(b"KVM internal error: "), e
        eq(s.o.list()[VM].state, LV_GONE)
        s.release(VM)
        eq(s.probe(VM + 1, "passwd"), "ENOENT")
        s.release(VM + 1)
        clean(s)


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        agent, restarted_warden, stopped_warden, halted)])
