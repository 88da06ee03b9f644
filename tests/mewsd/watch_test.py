#!/usr/bin/env python3
"""Rooms that run and do not serve: found out in a stated time and replaced, or
ended by the next suite (mewsd/watch.h, mewsd/lock.c).

usage: watch_test.py [CASE...]   MEWS_PROGRAM: another mewsd
"""
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402

PROGRAMS = "/run/programs"
MEWSD_LOG = suite.ROOT + "/mewsd.log"
ROOMS = ("apid", "apid-admin", "netd", "launchd", "spawner", "orchd")
# mewsd/watch.h: a stopped one, at worst with a look before and one after
STOPPED = 8 + 2 * 2
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
libc = ctypes.CDLL(None, use_errno=True)


def text():
    with open(MEWSD_LOG, errors="replace") as f:
        return f.read()


@contextlib.contextmanager
def running(programs=PROGRAMS):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(MEWSD_LOG)
    S = suite.Suite(programs=programs).start()
    S.wait_helpers()
    try:
        yield S
    finally:
        if S.proc is not None:
            S.stop()


def stopped():
    """ROOM_WATCHED: each of them, alone."""
    with running() as S:
        for room in ROOMS:
            old = S.rooms()[room]
            began = time.monotonic()
            os.kill(old, signal.SIGSTOP)
            suite.wait_for(lambda pid=old, r=room: S.rooms().get(r, pid) != pid,
                           "another " + room, STOPPED + 3)
            took = time.monotonic() - began
            assert took > 6, "%s was stopped for %g s only" % (room, took)
            S.wait_up()
            S.wait_helpers()
            assert "%s (pid %d) is stopped: killed" % (room, old) in text()


def left_alone():
    """A debugger's, or all of them at once, or mewsd as well: not replaced."""
    with running() as S:
        before = S.rooms()
        pids = [before[r] for r in ROOMS]
        for who in (pids, [*pids, S.proc.pid]):
            for pid in who:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED + 2)
            for pid in reversed(who):
                os.kill(pid, signal.SIGCONT)
            S.wait_up()
            S.wait_helpers()
            assert S.rooms() == before, (before, S.rooms(), text())
        netd = before["netd"]
        assert libc.ptrace(PTRACE_ATTACH, netd, 0, 0) == 0
        time.sleep(STOPPED + 2)
        os.waitpid(netd, 0x40000000)  # __WALL
        assert libc.ptrace(PTRACE_DETACH, netd, 0, 0) == 0
        S.wait_helpers()
        assert S.rooms() == before, (before, S.rooms())


def lock():
    """LOCK_DEAF: a room that is deaf when its mewsd is killed does not keep the
    next suite out; one whose mewsd lives does."""
    with running() as S:
        p = subprocess.run(
            [PROGRAMS + "/mewsd", "-f", suite.ROOT + "/mews.conf", "-r",
             suite.ROOT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=30)
        assert p.returncode == 1, p
        assert "run/lock: its mewsd is process %d" % S.proc.pid in p.stdout, p
        S.wait_helpers()
        for room in ("netd", "orchd", "spawner"):
            deaf = S.rooms()[room]
            os.kill(deaf, signal.SIGSTOP)
            S.proc.kill()
            S.proc.wait()
            began = time.monotonic()
            S.start()
            assert time.monotonic() - began < 9
            S.wait_helpers()
            assert "process %d holds the lock of a suite whose mewsd is gone" \
                ": killed" % deaf in text()
            assert deaf not in suite.processes()


def no_pair():
    """PLUMB_AGAIN: a channel that could not be made is made later."""
    with running("/run/no-pair") as S:
        old = S.rooms()["netd"]
        with open(suite.ROOT + "/no-pair", "w"):
            pass
        os.kill(old, signal.SIGKILL)
        suite.wait_for(lambda: "channel orchd-netd: Too many open files: tried"
                       in text() or "channel netd-orchd" in text(), "failure")
        S.wait_helpers()
        assert S.create("web").status == 201
        assert S.delete("/api/v1/vms/web", timeout=60).status == 204


def main():
    suite.enter()
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    shutil.copytree(PROGRAMS, "/run/no-pair")
    shutil.copy2(suite.BUILD + "/no-pair/mewsd", "/run/no-pair")
    if "MEWS_PROGRAM" in os.environ:
        shutil.copy2(os.environ["MEWS_PROGRAM"], PROGRAMS)
        shutil.copy2(os.environ["MEWS_PROGRAM"], "/run/no-pair")
    return suite.run({"stopped": stopped, "left-alone": left_alone,
                      "lock": lock, "no-pair": no_pair})


sys.exit(main())
