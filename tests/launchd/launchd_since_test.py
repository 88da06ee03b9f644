#!/usr/bin/env python3
"""When what a VM said came: marks that launchd keeps beside its log and console,
so that only what came since a moment is told.

usage: launchd_since_test.py [CASE...]
"""
import os
import struct
import time

from said import *  # noqa: F403

enter(os.path.abspath(__file__))
APART = 2.5  # seconds: more than a mark's own
MAX = 1024 * 1024  # of a file, launchd/jaillog.h
MARKS_MAX = (64 + MAX // 256) * 16


def later():
    """A moment that is past, with more than a mark's second on both sides."""
    time.sleep(APART / 2)
    at = time.time()
    time.sleep(APART / 2)
    return at


def marks(s, name, vm=VM):
    with open("%s/%016x.%s.at" % (s.logs, vm, name), "rb") as f:
        return list(struct.iter_unpack("=Qq", f.read()))


def quiet(s):
    """What a flood left in the FIFO has been read, and what was lost been said:
    nothing has come for longer than that takes."""
    was, since = None, 0.0

    def still():
        nonlocal was, since
        now = [os.stat(s.logs + "/" + n).st_size for n in files(s)]
        if now != was:
            was, since = now, time.monotonic()
        return time.monotonic() - since > 4
    wait("a quiet VM", still, 30)


def both_logs():
    """Of console and log: what came since, through a kill of launchd, to who
    follows, and when it stopped; the marks go with the rest."""
    with suite() as s:
        s.ready(VM)
        began = later()
        s.stream(VM, "says one")
        s.stream(VM, "logs one of its own")
        wait_said(s, b"one\n")
        at = later()
        s.stream(VM, "says two")
        s.stream(VM, "logs two of its own")
        wait_said(s, b"two\n")
        eq(history(s, since=began), b"one\ntwo\n")
        eq(history(s, since=at), b"two\n")
        log = history(s, since=at, kind=STREAM_VMM_LOG)
        assert b"two of its own" in log and b"one of its own" not in log, log
        assert b"one of its own" in history(s, kind=STREAM_VMM_LOG)
        eq(history(s, since=time.time() + 60), b"")
        s.kill()
        s.up()
        s.o.list()
        eq(history(s, since=at), b"two\n")
        last = later()
        follows = knock(s, flags=STREAM_FOLLOW, since=last)
        logs = knock(s, flags=STREAM_FOLLOW, since=last, kind=STREAM_VMM_LOG)
        s.stream(VM, "says three")
        eq(frames(follows, b"three\n")[1], b"three\n")
        s.stream(VM, "logs three of its own")
        out = frames(logs, b"three of its own")[1]
        assert b"two of its own" not in out, out
        eq([m[0] for m in marks(s, "console")], [0, 4, 8])
        end(s)
        assert frames(follows)[1] == b""
        frames(logs)
        eq(history(s, since=last), b"three\n")
        eq(history(s, since=at), b"two\nthree\n")
        s.o.events.clear()  # those of its first, told twice
        s.ready(VM)
        s.stream(VM, "says four")
        wait_said(s, b"four\n")
        eq([m[0] for m in marks(s, "console")], [0])
        end(s)
        s.o.send(LAUNCH_FORGET, launch_vm(vm=VM))
        eq(history(s), b"")
        eq(files(s), [])
        clean(s)


def while_it_was_away():
    """What it says while there is no launchd came when launchd read it: late,
    never left out."""
    with suite() as s:
        s.ready(VM)
        s.stream(VM, "says one")
        wait_said(s, b"one\n")
        fd = "/proc/%d/fd/4" % s.procs()["warden"]
        s.kill()
        with open(os.open(fd, os.O_WRONLY), "wb") as f:
            f.write(b"two\n")
        at = later()
        s.up()
        s.o.list()
        wait_said(s, b"two\n")
        eq(history(s, since=at), b"two\n")
        s.release(VM)
        clean(s)


def turns_round():
    """The marks turn round with the file that they are of, and are few."""
    with suite() as s:
        s.ready(VM)
        a, t, _ = s.connect(VM)
        eq(t, LAUNCH_DONE)
        a.sendall(b"floods 9000\n")
        a.settimeout(20)
        a.recv(10)
        wait("two files", lambda: "%016x.console.1" % VM in files(s), 60)
        for name in files(s):
            size = os.stat(s.logs + "/" + name).st_size
            assert size <= (MARKS_MAX if name.endswith(".at") else MAX), name
        n = len(marks(s, "console.1"))
        assert 2 < n < 60, "%d marks" % n  # one a second
        for name in ("console.1", "console"):
            offs = [m[0] for m in marks(s, name)]
            assert offs[:1] == [0] and offs == sorted(set(offs)), offs
        whole = len(history(s))
        _, until = marks(s, "console.1")[n // 2]
        part = len(history(s, since=until / 1e9 + 1.001))
        assert 0 < part < whole, (part, whole)
        quiet(s)
        at = later()
        s.stream(VM, "says last")
        wait_said(s, b"last\n")
        assert history(s, since=at).endswith(b"last\n")
        assert len(history(s, since=at)) < 200, "only what came"
        s.release(VM)
        clean(s)


def not_ours():
    """What lies where marks would: a link is not followed, nonsense not
    believed, and what there is is told whole."""
    with suite() as s:
        with open(s.dir + "/secret", "w") as f:
            f.write("secret\n")
        os.chmod(s.dir + "/secret", 0o666)
        s.ready(VM)
        s.stream(VM, "says one")
        wait_said(s, b"one\n")
        path = "%s/%016x.console.at" % (s.logs, VM)
        os.unlink(path)
        os.symlink(s.dir + "/secret", path)
        at = later()
        s.stream(VM, "says two")
        wait_said(s, b"two\n")
        eq(history(s, since=at), b"one\ntwo\n")
        s.stream(VM, "says three")
        wait_said(s, b"three\n")
        with open(s.dir + "/secret") as f:
            eq(f.read(), "secret\n")
        time.sleep(APART)
        s.stream(VM, "says four")
        wait_said(s, b"four\n")
        with open(path, "wb") as f:
            f.write(os.urandom(160))
        eq(history(s, since=at), b"one\ntwo\nthree\nfour\n")
        s.release(VM)
        clean(s)


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        both_logs, while_it_was_away, turns_round, not_ours)])
