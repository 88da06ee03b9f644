#!/usr/bin/env python3
"""orchd alone: what a VM said is read whether it runs or not, and goes when the
VM does, whoever was away then.
"""
import os
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
from peers import *  # noqa: E402,F403

EXEC, CONSOLE, LOG = 1, 2, 3


def reads(l, c, uid, flags=0, kind=LOG, since=0):
    """A stream of its console's log reaches launchd; a connection has one."""
    c = l.client(l.callers[c.id][0])
    r = l.call(c, STREAM, "a", kind=kind, flags=flags, since=since)
    eq(r.status, 101)
    got, fd = l.until(lambda: l.launch.streams and l.launch.streams.pop(),
                      "LAUNCH_LOG")
    eq(got, launch_log(vm=uid, kind=kind, flags=flags, since_ns=since))
    for x in (r.fd, fd):
        os.close(x)


def stopped():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        reads(l, c, uid)
        eq(l.call(c, STOP, "a").status, 200)
        for flags in (0, 1):
            reads(l, c, uid, flags)
            reads(l, c, uid, flags, STREAM_VMM_LOG, since=1 << 60)
        for kind in (EXEC, CONSOLE):
            eq(l.call(c, STREAM, "a", kind=kind).status, 409)
        eq(l.call(c, START, "a").status, 200)
        l.launch.exit(uid, EXIT_GUEST_PANIC, b"Kernel panic - not syncing: x")
        l.await_state(c, "a", "crashed")
        v = l.get(c, "a").vm()
        assert "Kernel panic - not syncing: x" in v["reason"], v
        reads(l, c, uid)
        # nor does it matter what is known of it
        l.launch.hook = lambda kind, ident, p: kind == LAUNCH_LIST
        l.restart()
        c = l.client(l.user)
        reads(l, c, uid)
        l.launch.hook = None
        eq(l.call(c, STREAM, "b", kind=LOG).status, 404)


def deleted():
    """Told once the row is gone, and only then."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        other = l.create(c, "b").vm()["uid"]
        eq(l.launch.kept, {uid, other})
        eq(l.call(c, STOP, "a").status, 200)
        l.settle()
        eq(l.launch.kept, {uid, other}, )
        eq(l.call(c, DELETE, "a").status, 204)
        l.until(lambda: l.launch.kept == {other}, "LAUNCH_FORGET")
        kinds = [k for k, _, _ in l.launch.log]
        assert kinds.index(LAUNCH_FORGET) > kinds.index(LAUNCH_RELEASE)
        eq(l.leaks(c), [])


def away():
    """launchd is not there when the VM goes, or orchd dies right then: what is
    kept is listed, and who knows no such VM says so."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        eq(l.call(c, DELETE, "a").status, 204)
        l.settle()
        l.launch.kept = {uid, 0x77}  # as if it had not heard
        mine = l.create(c, "b").vm()["uid"]
        for again in (lambda: (l.launch.chan.close(), l.settle(),
                               l.plumb(ROOM_LAUNCHD)), l.restart):
            l.launch.kept |= {uid, 0x77}
            again()
            l.until(lambda: l.launch.kept == {mine}, "LAUNCH_FORGETs")


def stranger():
    """A VM of nobody's is released, and what it said goes too."""
    with up() as l:
        l.launch.vms[0x99] = [LV_RUNNING, 3, 4711]
        l.launch.kept.add(0x99)
        l.launch.chan.close()
        l.settle()
        l.plumb(ROOM_LAUNCHD)
        l.until(lambda: not l.launch.vms and not l.launch.kept, "its end")


if __name__ == "__main__":
    run(os.path.abspath(__file__), stopped, deleted, away, stranger)
