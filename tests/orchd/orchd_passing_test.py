#!/usr/bin/env python3
"""orchd alone: what is on its way to a launchd that reads nothing for a while.  One
caller's is not another's.

usage: orchd_passing_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd
"""
import contextlib

from peers import *  # noqa: F403

PASSING = 256 + 256 // 4  # orchd/link/passing.h, of max_connections
MINE = PASSING - 2 * 20  # that one of two users may have: both admins' are kept


@contextlib.contextmanager
def deaf(l):
    """launchd is there and reads nothing."""
    chan, l.launch.chan = l.launch.chan, None
    try:
        yield
    finally:
        if l.launch.chan is None:
            l.launch.chan = chan
        else:
            chan.close()


def stream(l, uid, kind=STREAM_EXEC):
    c = l.client(uid)
    return c, l.call(c, STREAM, "a", kind=kind)


def comes_and_goes(l, n=3 * PASSING):
    """A client that has one, and goes at once, again and again: how many it had,
    and what it was refused with."""
    for i in range(n):
        c, r = stream(l, l.user, (STREAM_EXEC, STREAM_CONSOLE_LOG,
                                  STREAM_SIGNAL)[i % 3])
        if r.status != 101:
            c.sock.close()
            return i, r
        os.close(r.fd)
        c.sock.close()
        l.until(lambda: c.id in l.gone, "API_GONE")
    return n, None


def others():
    """Whoever comes and goes takes nothing of what is kept for others; what he had
    is his again when launchd has read it, or is another."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        with deaf(l):
            n, r = comes_and_goes(l)
            assert r is not None, "no end"
            eq((n, r.status), (MINE, 503))
            for word in ("too many streams are on their way to the launcher",
                         "your user has %d" % MINE, "at most %d" % PASSING,
                         "try again"):
                assert word in r.error(), r.error()
            for uid in (0, l.admin):
                eq([stream(l, uid)[1].status for _ in range(8)], [101] * 8)
        l.until(lambda: len(l.launch.streams) == MINE + 16, "all of it")
        l.settle()
        with deaf(l):
            eq(comes_and_goes(l)[0], MINE)
            l.plumb(ROOM_LAUNCHD)
        l.until(lambda: l.state(root, "a") == "running", "another launchd")
        l.settle()
        eq(stream(l, l.user)[1].status, 101)


def asks():
    """What orchd asks for one caller's VMs leaves room for another's streams, and
    comes to its end."""
    n = 500  # three messages each, more than the queue would take at once
    with up(max_vms=n + 1, nofile=4096, prefix=22) as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        with deaf(l):
            for i in range(n):
                c = l.client(l.user)
                l.ask(c, CREATE, doc=vm_create("v%d" % i))
                l.settle(0.002)
                c.sock.close()  # what it asked for goes on
                l.until(lambda: c.id in l.gone, "API_GONE")
            eq([stream(l, 0)[1].status for _ in range(16)], [101] * 16)
        l.until(lambda: all(v["status"] == "running" for v in l.vms(root)),
                "all of them", 60)
        eq(l.leaks(root), [])


if __name__ == "__main__":
    run(__file__, others, asks)
