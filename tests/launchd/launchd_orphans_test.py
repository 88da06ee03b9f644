#!/usr/bin/env python3
"""What an orchd gave to who asked it ends with it: the next one counts nothing of
it.  Whoever has the other ends, an apid that was taken over or one it handed them
to, has nothing of them."""
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from said import *  # noqa: E402,F403
from callers import *  # noqa: E402,F403
from wire import STREAM_FOLLOW, WARD_VERSION_ORPHANS  # noqa: E402

enter(os.path.abspath(__file__))
TOLD = b"orphans\n"


def ended(sock):
    sock.settimeout(DEADLINE)
    while sock.recv(65536):
        pass


def says(s, line):
    """Its warden, once launchd has heard of it."""
    def once():
        try:
            return [s.stream(VM, line)]
        except Fail as e:
            if "not yet" not in str(e):
                raise
    return wait("a stream", once)[0]


def told():
    """The warden, each time, also one that is there only later; not one that
    would take it for a breach."""
    with suite() as s:
        s.ready(VM)
        for n in range(1, 3):
            if n == 2:
                s.orchd()  # while the old one is still open
            else:
                s.o.s.close()
                s.orchd()
            eq(s.o.list()[VM].state, LV_READY)
            wait_said(s, TOLD * n)
            eq(s.probe(VM, "passwd"), "ENOENT", "a stream afterwards")
        warden = s.procs()["warden"]
        os.kill(warden, signal.SIGKILL)
        wait("its end", lambda: not alive(warden))
        s.o.s.close()
        s.orchd()
        wait_said(s, TOLD * 3)
        eq(s.o.list()[VM].state, LV_READY)
        says(s, "version %d" % (WARD_VERSION_ORPHANS - 1))
        warden = s.procs()["warden"]
        s.o.s.close()
        s.orchd()
        eq(s.stream(VM, "pid"), s.stream(VM, "pid"))
        eq(s.procs()["warden"], warden)
        eq(history(s).count(TOLD), 3)
        s.release(VM)
        eq(s.leaks(), [])


def waiting():
    """Those that a late warden has not taken yet."""
    with suite() as s:
        s.ready(VM)
        warden = s.procs()["warden"]
        os.kill(warden, signal.SIGSTOP)
        ends = [s.connect(VM)[0] for _ in range(40)]
        s.o.s.close()
        s.orchd()
        for a in ends[16:]:
            ended(a)
        for a in ends:
            a.close()
        os.kill(warden, signal.SIGCONT)
        wait_said(s, TOLD)
        s.release(VM)
        eq(s.leaks(), [])


def readers():
    """Who reads a log, or has not said what it wants."""
    with suite() as s:
        s.ready(VM)
        s.stream(VM, "says x")
        wait_said(s, b"x\n")
        held = [knock(s, flags=STREAM_FOLLOW) for _ in range(LOGS_MAX)]
        for sock in held:
            frames(sock, b"x\n")
        s.o.s.close()
        s.orchd()
        for sock in held:
            ended(sock)
        fresh = [knock(s, flags=STREAM_FOLLOW) for _ in range(LOGS_MAX)]
        for sock in fresh:
            eq(frames(sock, b"x\n")[0], 101)
        s.release(VM)
        eq(s.leaks(), [])


if __name__ == "__main__":
    run([(f.__name__, f) for f in (told, waiting, readers)])
