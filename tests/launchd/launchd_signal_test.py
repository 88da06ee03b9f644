#!/usr/bin/env python3
"""Signals and the time that a guest has to stop: to wardens that know them, and
to those of an earlier suite, which would take either for a breach."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from callers import *  # noqa: E402,F403
from wire import (  # noqa: E402
    EXIT_STOPPED, FRAME_HEAD_LEN, FRAME_OPENED, LE_RUNG, LV_READY, LV_STOPPING,
    STOP_AGENT, STOP_KILL, STOP_QUIT, STREAM_SIGNAL, WARD_VERSION_SIGNAL)

enter(__file__)


def signal_stream(s, line=b"pid\n"):
    """What comes back to one: all of it."""
    a, b = socket.socketpair()
    t, _ = s.o.ask(LAUNCH_STREAM, launch_stream(vm=VM, kind=STREAM_SIGNAL),
                   b.fileno())
    b.close()
    eq(t, LAUNCH_DONE)
    a.settimeout(DEADLINE)
    out = b""
    try:
        a.sendall(line)
    except BrokenPipeError:
        pass
    while True:
        got = a.recv(512)
        if not got:
            a.close()
            return out
        out += got


def console(s):
    try:
        with open(s.logs + "/%016x.console" % VM, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""


def passed_on():
    with suite() as s:
        s.ready(VM)
        assert signal_stream(s).strip().isdigit()
        s.release(VM)
        clean(s)


def older_warden():
    with suite() as s:
        s.ready(VM)
        s.stream(VM, "version %d" % (WARD_VERSION_SIGNAL - 1))
        for _ in range(3):  # what it said came by another channel than this
            s.stream(VM, "pid")
        warden = s.procs()["warden"]
        out = signal_stream(s)
        eq((out[0], int.from_bytes(out[1:FRAME_HEAD_LEN], "big"),
            int.from_bytes(out[FRAME_HEAD_LEN:FRAME_HEAD_LEN + 2], "big")),
           (FRAME_OPENED, len(out) - FRAME_HEAD_LEN, 409))
        assert b"earlier suite, which passes no signals on" in out, out
        eq(s.procs()["warden"], warden, "it lives")
        eq(s.o.list()[VM].state, LV_READY)
        eq(s.o.ask(LAUNCH_STOP, launch_stop(
            vm=VM, grace_ms=2000, deadline_ms=(2000, 0, 0, 0, 0)))[0],
           LAUNCH_DONE)
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_AGENT))
        s.release(VM)
        clean(s)


def grace():
    """The guest hears of its time, less what it needs to power off."""
    for ms, told in ((5000, 4000), (1500, 750), (1, 1)):
        with suite() as s:
            s.ready(VM)
            eq(s.o.ask(LAUNCH_STOP, launch_stop(
                vm=VM, grace_ms=ms, deadline_ms=(ms, 0, 500, 500, 0)))[0],
               LAUNCH_DONE)
            eq(s.o.event(VM, LE_EXITED).reason, EXIT_STOPPED)
            wait("console", lambda: b"grace" in console(s))
            eq(console(s).split(b"grace ")[1], b"%d\n" % told)
            s.release(VM)
            clean(s)


def later():
    """What is said later of a stop that is under way counts, from then on."""
    with suite() as s:
        s.ready(VM, mem=NO_SOFT_STOP)
        stop = dict(vm=VM, deadline_ms=(60000, 60000, 0, 0, 0))
        eq(s.o.ask(LAUNCH_STOP, launch_stop(**stop))[0], LAUNCH_DONE)
        begun = time.monotonic()
        stop["deadline_ms"] = (1000, 0, 0, 0, 0)
        eq(s.o.ask(LAUNCH_STOP, launch_stop(grace_ms=1000, **stop))[0],
           LAUNCH_DONE)
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_KILL))
        took = time.monotonic() - begun
        assert 0.9 < took < 5, took
        s.release(VM)
        clean(s)
    with suite() as s:
        s.ready(VM, mem=NO_SOFT_STOP)
        stop = dict(vm=VM, deadline_ms=(60000, 60000, 0, 0, 0))
        eq(s.o.ask(LAUNCH_STOP, launch_stop(**stop))[0], LAUNCH_DONE)
        stop["deadline_ms"] = (0, 0, 200, 200, 0)
        eq(s.o.ask(LAUNCH_STOP, launch_stop(**{"from": STOP_QUIT}, **stop))[0],
           LAUNCH_DONE)
        s.o.event(VM, LE_EXITED)
        s.release(VM)
        clean(s)


def left():
    """The list says what is left of a time that was said, and of no other."""
    with suite() as s:
        s.ready(VM, mem=NO_SOFT_STOP)
        eq(s.o.list()[VM].grace_ms, 0)
        stop = dict(vm=VM, deadline_ms=(20000, 10000, 60000, 0, 0))
        eq(s.o.ask(LAUNCH_STOP, launch_stop(**stop))[0], LAUNCH_DONE)
        s.o.event(VM, LE_RUNG)
        eq((s.o.list()[VM].state, s.o.list()[VM].grace_ms), (LV_STOPPING, 0))
        eq(s.o.ask(LAUNCH_STOP, launch_stop(grace_ms=30000, **stop))[0],
           LAUNCH_DONE)
        wait("time", lambda: s.o.list()[VM].grace_ms)
        first = s.o.list()[VM].grace_ms
        assert 25000 < first <= 30000, first
        time.sleep(0.2)
        assert s.o.list()[VM].grace_ms <= first - 200
        stop["from"] = STOP_QUIT
        eq(s.o.ask(LAUNCH_STOP, launch_stop(grace_ms=30000, **stop))[0],
           LAUNCH_DONE)
        wait("quit", lambda: s.o.list()[VM].grace_ms == 0)
        eq(s.o.list()[VM].state, LV_STOPPING)
        s.release(VM)
        clean(s)


def often():
    """Whoever says another time without an end fills no log and tells no guest
    as often; what is said last counts."""
    with suite() as s:
        s.ready(VM, mem=NO_SOFT_STOP)
        begun = time.monotonic()
        for i in range(300):
            ms = 30000 + 1000 * (i + 1)
            eq(s.o.ask(LAUNCH_STOP, launch_stop(
                vm=VM, grace_ms=ms, deadline_ms=(ms, 0, 500, 500, 0)))[0],
               LAUNCH_DONE)
        wait("the last", lambda: b"grace %d\n" % (ms - 1000) in console(s))
        took = time.monotonic() - begun
        told = console(s).count(b"grace ")
        assert 2 <= told <= 2 + took / 0.25, (told, took)
        s.o.list()  # all that was said before is read by then
        eq([e.rung for e in s.o.events if e.kind == LE_RUNG], [STOP_AGENT])
        s.release(VM)
        clean(s)


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        passed_on, older_warden, grace, later, left, often)])
