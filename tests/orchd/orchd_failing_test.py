#!/usr/bin/env python3
"""orchd alone: what is told while its store cannot be written, or when it dies
between two things that belong together.

usage: orchd_failing_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import sqlite3

from peers import *  # noqa: F403

TEST_BUILD = suite.BUILD if suite.sanitized.ON else \
    os.path.join(suite.TOP, "build-test")
FAILED = "state not written"


class Locked:
    """The store of l, held by another for longer than orchd waits (2 s)."""

    def __init__(self, l):
        self.db = sqlite3.connect(l.store + "/store.db", isolation_level=None)
        self.db.execute("BEGIN IMMEDIATE")

    def free(self):
        self.db.execute("ROLLBACK")
        self.db.close()


def types(l, name="a"):
    return [e["type"] for e in l.events(l.client(l.user)) if e["name"] == name]


def failures(l):
    return l.log().count(FAILED)


def asked_not_kept():
    """START and STOP under a key, not kept: said so, to its retry as well, and
    the key is free."""
    with up() as l:
        c, d = l.client(l.user), l.client(l.user)
        eq(l.create(c, "a").status, 201)
        for verb, was, then in ((STOP, "running", "stopped"),
                                (START, "stopped", "running")):
            lock = Locked(l)
            asks = [l.ask(who, verb, "a", key="k%d" % verb) for who in (c, d)]
            eq([l.answer(a).status for a in asks], [500, 500])
            eq(l.state(c, "a"), was)
            lock.free()
            eq(l.call(c, verb, "a", key="k%d" % verb).status, 200)
            eq(l.state(c, "a"), then)
            l.restart()
            c, d = l.client(l.user), l.client(l.user)
            eq(l.call(c, verb, "a", key="k%d" % verb).status, 200)
            eq(l.state(c, "a"), then)


def key_kept():
    """A START of what runs changes nothing, and its key is not lost when the
    STOP beside it is undone: what was answered acts once."""
    with up() as l:
        c, d = l.client(l.user), l.client(l.user)
        eq(l.create(c, "a").status, 201)
        lock = Locked(l)
        first = l.ask(c, START, "a", key="start")
        l.until(lambda: failures(l) == 1, "failed write")
        eq(l.call(d, STOP, "a", key="stop").status, 500)
        lock.free()
        eq(l.answer(first).status, 200)
        l.restart()
        c = l.client(l.user)
        eq(l.call(c, STOP, "a").status, 200)
        eq(l.call(c, START, "a", key="start").vm()["status"], "stopped")
        eq(l.state(c, "a"), "stopped")


def news_kept():
    """A run that begins, is ready and ends while nothing can be written: all of
    it is told, in order, once it can be."""
    for listed_again in (False, True):
        with up() as l:
            c = l.client(l.user)
            eq(l.create(c, "a").status, 201)
            eq(l.call(c, STOP, "a").status, 200)
            l.settle()
            n = len(types(l))
            waiting = held_up(l, l.launch, LAUNCH_START)
            rid = l.ask(c, START, "a")
            l.until(lambda: waiting, "START")
            lock = Locked(l)
            let_go(l.launch, waiting)  # starting, running, ready
            l.until(lambda: failures(l) == 1, "failed write")
            uid, = l.launch.vms
            if listed_again:
                l.launch.vms[uid][0] = LV_GONE
                l.plumb(ROOM_LAUNCHD)
                l.settle()
            l.launch.exit(uid, EXIT_GUEST_PANIC, b"oops")
            l.settle()
            lock.free()
            l.answer(rid, 15)
            l.await_state(c, "a", "crashed")
            eq(types(l)[n:], ["VM_RUNNING", "VM_READY", "VM_CRASHED"])


def ready_after_death():
    """It dies between running and ready, before and after each is heard: both
    are told, once."""
    for nth in (1, 2):
        for when in (1, 2):
            with Peers(program=TEST_BUILD + "/mews-orchd") as l:
                l.start(kill=(LAUNCH_EVENT, nth, when))
                c = l.client(l.user)
                with contextlib.suppress(Gone):
                    l.create(c, "a", key="c")
                l.p.wait(DEADLINE)
                l.restart()
                c = l.client(l.user)
                eq(l.create(c, "a", key="c").status, 201)
                l.until(lambda: l.get(c, "a").vm()["ready"], "ready")
                l.until(lambda: "VM_READY" in types(l), "VM_READY")
                eq(types(l), ["VM_CREATED", "VM_RUNNING", "VM_READY"])


if __name__ == "__main__":
    if CONTROLS and "MEWS_TEST_HOST" not in os.environ:
        rules.build("B=build-test", "EXTRA=-DMEWS_TEST",
                    "build-test/mews-orchd")
    run(__file__, asked_not_kept, key_kept, news_kept, ready_after_death)
