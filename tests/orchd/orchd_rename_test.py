#!/usr/bin/env python3
"""orchd alone: a VM gets another name, in one transaction or not at all.

usage: orchd_rename_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import sqlite3

from orchd_failing_test import FAILED, TEST_BUILD, Locked
from orchd_full_test import fill, refused as creates_refused, small
from peers import *  # noqa: F403

RENAME = API_VM_RENAME


def to(name):
    return tables.pack("VMRename", name=name)


def rename(l, c, old, new, **kw):
    return l.call(c, RENAME, old, doc=to(new), **kw)


def news(l):
    return [(e["type"], e["name"], e["old_name"])
            for e in l.events(l.client(l.user))]


def names(l, c):
    return sorted(v["name"] for v in l.vms(c))


def same_vm(a, b, *but):
    for k in a:
        if k not in ("name", "updated_at", "pid", *but):
            eq((k, b[k]), (k, a[k]))


def renamed():
    """Running and stopped: all but its name stays, and the old one is free."""
    with up() as l:
        c = l.client(l.user)
        was = l.create(c, "a").vm()
        asked = len(l.launch.log) + len(l.net.log)
        now = rename(l, c, "a", "b").vm()
        eq(now["name"], "b")
        same_vm(was, now, "ready")
        eq(now["pid"], was["pid"])
        assert now["updated_at"] > was["updated_at"], now
        eq(l.get(c, "a").status, 404)
        eq(l.get(c, "b").vm()["uid"], was["uid"])
        eq(len(l.launch.log) + len(l.net.log), asked)  # nobody else's business
        other = l.create(c, "a").vm()
        assert other["uid"] != was["uid"] and other["mac_address"] != was["mac_address"]
        eq(l.call(c, STOP, "b").status, 200)
        eq(rename(l, c, "%016x" % was["uid"], "c.d-e_F").vm()["status"], "stopped")
        eq(names(l, c), ["a", "c.d-e_F"])
        l.restart()
        c = l.client(l.user)
        eq(names(l, c), ["a", "c.d-e_F"])
        eq(l.call(c, START, "c.d-e_F").vm()["uid"], was["uid"])
        got = [n for n in news(l) if n[0] == "VM_RENAMED"]
        eq(got, [("VM_RENAMED", "b", "a"), ("VM_RENAMED", "c.d-e_F", "b")])
        # the next start's guest is called as it is now
        assert b'"hostname":"cd-ef"' in l.launch.specs[was["uid"]], \
            l.launch.specs[was["uid"]]
        eq(l.leaks(c), [])


def refuses():
    """What may not be changes nothing, and says why."""
    with up() as l:
        c, s = l.client(l.user), l.client(l.stranger)
        uid = l.create(c, "a").vm()["uid"]
        l.create(c, "b")
        before = news(l)
        r = rename(l, c, "a", "b")
        eq((r.status, r.error()), (409, "vm already exists: b"))
        eq(rename(l, c, "z", "y").status, 404)
        eq(rename(l, s, "a", "y").status, 403)
        for doc in (b"", b"\xff" * 9, to("y") + b"x"):
            eq(l.call(c, RENAME, "a", doc=doc).status, 400)
        for bad in ("", "x" * 64, "-x", "x.", "a..b", "a b", "0123456789abcdef"):
            with contextlib.suppress(ValueError, AssertionError):
                eq(rename(l, c, "a", bad).status, 400)
        # the beginning of a uid will do with a key alone
        beginning = "%012x" % (uid >> 16)
        eq(rename(l, c, beginning, "y").status, 404)
        eq(rename(l, c, "a", "a").vm()["name"], "a")  # it is so already
        eq(names(l, c), ["a", "b"])
        eq(news(l), before)
        eq(rename(l, c, beginning, "y", key="k").vm()["name"], "y")
        eq(rename(l, l.client(l.admin), "y", "x" * 63).vm()["uid"], uid)


def keyed():
    """A retry acts once, whatever it is called by then; and after a restart."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        eq(rename(l, c, "a", "b", key="k").vm()["name"], "b")
        eq(rename(l, c, "a", "b", key="k").vm()["name"], "b")
        eq(rename(l, c, "a", "c", key="k").status, 422)
        eq(l.create(c, "a").status, 201)
        eq(rename(l, c, "b", "c").status, 200)
        l.restart()
        c = l.client(l.user)
        r = rename(l, c, "a", "b", key="k")
        eq((r.vm()["uid"], r.vm()["name"]), (uid, "c"))
        eq(names(l, c), ["a", "c"])
        # of what was so already
        eq(rename(l, c, "c", "c", key="n").status, 200)
        eq(rename(l, c, "c", "d").status, 200)
        eq(rename(l, c, "c", "c", key="n").vm()["name"], "d")
        eq(l.call(c, DELETE, "d").status, 204)
        eq(rename(l, c, "a", "b", key="k").status, 410)
        eq(len([n for n in news(l) if n[0] == "VM_RENAMED"]), 3)


def on_its_way():
    """While it is made, started, stopped: renamed, and goes on; deleted: no."""
    with up() as l:
        c, d = l.client(l.user), l.client(l.user)
        taps = held_up(l, l.net, NET_TAP_OPEN)
        made = l.ask(c, CREATE, doc=vm_create("a"))
        l.until(lambda: taps, "tap asked for")
        eq(rename(l, d, "a", "b").vm()["status"], "pending")
        starts = held_up(l, l.launch, LAUNCH_START)
        let_go(l.net, taps)
        l.until(lambda: starts, "start")
        eq(rename(l, d, "b", "c").vm()["status"], "starting")
        let_go(l.launch, starts)
        eq(l.answer(made).vm()["name"], "c")
        stops = held_up(l, l.launch, LAUNCH_STOP)
        stopped = l.ask(c, STOP, "c")
        l.until(lambda: stops, "stop")
        eq(rename(l, d, "c", "d").vm()["status"], "stopping")
        let_go(l.launch, stops)
        eq(l.answer(stopped).vm()["name"], "d")
        taps = held_up(l, l.net, NET_TAP_CLOSE)
        gone = l.ask(c, DELETE, "d")
        l.settle()
        if taps:
            r = rename(l, d, "d", "e")
            eq((r.status, r.error()), (409, "vm is being deleted"))
        let_go(l.net, taps)
        eq(l.answer(gone).status, 204)
        eq(rename(l, d, "d", "e").status, 404)
        # each event has the name of its moment
        eq([n for n in news(l)], [
            ("VM_CREATED", "a", ""), ("VM_RENAMED", "b", "a"),
            ("VM_RENAMED", "c", "b"), ("VM_RUNNING", "c", ""),
            ("VM_READY", "c", ""), ("VM_RENAMED", "d", "c"),
            ("VM_STOPPED", "d", ""), ("VM_DELETED", "d", "")])
        eq(l.leaks(c), [])


def without_helpers():
    """netd and launchd are not needed for it."""
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        l.net.chan.close()
        l.launch.chan.close()
        l.settle()
        eq(rename(l, c, "a", "b").status, 200)
        l.plumb(ROOM_NETD)
        l.plumb(ROOM_LAUNCHD)
        l.await_state(c, "b", "running")
        eq(l.leaks(c), [])


def not_kept():
    """Until it is on the disk it has the old name, and neither can be had; what
    cannot be kept is said so, and then it is as before."""
    with up() as l:
        c, d, f = (l.client(l.user) for _ in range(3))
        eq(l.create(c, "a").status, 201)
        l.settle()
        was = l.get(c, "a").vm()
        lock = Locked(l)
        asked = l.ask(c, RENAME, "a", doc=to("b"), key="k")
        again = l.ask(f, RENAME, "a", doc=to("b"), key="k")
        eq(l.get(d, "a").vm()["name"], "a")
        eq(names(l, d), ["a"])
        eq(l.get(d, "b").status, 404)
        eq(l.create(d, "a").status, 409)
        eq(l.create(d, "b").status, 409)
        r = rename(l, d, "a", "c")
        assert r.status == 503 and "being renamed to b" in r.error(), r
        r = l.answer(asked)
        eq((r.status, r.error()),
           (500, "vm a: not done: the store cannot be written"))
        eq(l.answer(again).status, 500)
        lock.free()
        eq(l.get(d, "a").vm()["updated_at"], was["updated_at"])
        eq(l.create(d, "b").status, 201)
        eq(rename(l, c, "a", "b", key="k").status, 409)  # a new request
        eq(rename(l, c, "a", "c", key="k").status, 200)
        l.restart()
        c = l.client(l.user)
        eq(names(l, c), ["b", "c"])
        eq([n for n in news(l) if n[0] == "VM_RENAMED"], [("VM_RENAMED", "c", "a")])


def with_others():
    """What is asked beside it: both are kept, or neither; and what was kept
    first stays when the second is undone."""
    with up() as l:
        c, d = l.client(l.user), l.client(l.user)
        eq(l.create(c, "a").status, 201)
        lock = Locked(l)
        one, two = l.ask(c, RENAME, "a", doc=to("b")), l.ask(d, STOP, "a")
        eq((l.answer(one).status, l.answer(two).status), (500, 500))
        lock.free()
        eq(l.state(c, "a"), "running")
        with contextlib.closing(sqlite3.connect(l.store + "/store.db")) as db:
            db.execute("CREATE TRIGGER no BEFORE UPDATE OF state ON vm WHEN "
                       "NEW.state = 7 BEGIN SELECT RAISE(ABORT, 'no'); END")
            db.commit()
        lock = Locked(l)
        one = l.ask(c, RENAME, "a", doc=to("b"))
        l.settle()  # with the store
        two = l.ask(d, STOP, "a")
        l.settle()
        lock.free()
        eq(l.answer(one).vm()["name"], "b")
        eq((l.answer(two).status, l.answer(two).error()),
           (500, "vm b: not done: the store cannot be written"))
        eq(l.get(c, "b").vm()["status"], "running")
        eq(l.get(c, "a").status, 404)
        eq(rename(l, c, "b", "c").status, 200)
        eq(names(l, c), ["c"])


def news_before():
    """What happened before it, and could not be written, has the old name."""
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        n = len(news(l))
        uid, = l.launch.vms
        lock = Locked(l)
        l.launch.exit(uid, EXIT_GUEST_PANIC, b"oops")
        l.until(lambda: FAILED in l.log(), "failed write")
        one = l.ask(c, RENAME, "a", doc=to("b"))
        l.settle()
        lock.free()
        eq(l.answer(one).vm()["name"], "b")
        eq(news(l)[n:], [("VM_CRASHED", "a", ""), ("VM_RENAMED", "b", "a")])


def full():
    """A full disk: 507, nothing changed, and the reserve is for others."""
    l = Peers()
    with small(l):
        l.start()
        c = l.client(l.user)
        for n in "abc":
            eq(l.create(c, n).status, 201)
        fill(l)
        creates_refused(l, c, "n")
        for i in range(30):
            n = "abc"[i % 3]
            r = rename(l, c, n, "z%d" % i, key="k%d" % i)
            eq((r.status, r.error()), (507, "vm %s: not done: the store is full" % n))
        eq(l.state(c, "a"), "running")
        eq(l.get(c, "z0").status, 404)
        for n in "abc":
            eq(l.call(c, STOP, n).status, 200)
            eq(l.call(c, DELETE, n).status, 204)
        eq([n for n in news(l) if n[0] == "VM_RENAMED"], [])


def death():
    """kill -9 before, after: under its key it is done once."""
    for when in (1, 2):
        with Peers(program=TEST_BUILD + "/mews-orchd") as l:
            l.start(kill=(API_VM_RENAME, 1, when))
            c = l.client(l.user)
            eq(l.create(c, "a").status, 201)
            with contextlib.suppress(Gone):
                rename(l, c, "a", "b", key="k")
            l.p.wait(DEADLINE)
            l.restart()
            c = l.client(l.user)
            eq(rename(l, c, "a", "b", key="k").vm()["name"], "b")
            eq(names(l, c), ["b"])
            eq(len([n for n in news(l) if n[0] == "VM_RENAMED"]), 1)


def often():
    """RENAME_PACE: names go to and fro ten times at once, then once a second: no
    caller writes the log and the events of everybody full with them."""
    with up() as l:
        c = l.client(l.user)
        for name in "ab":
            eq(l.create(c, name).status, 201)
        began = time.monotonic()
        done, r = 0, None
        while done < 200:
            r = rename(l, c, "a%s" % "xyz"[(done - 1) % 3] if done else "a",
                       "a%s" % "xyz"[done % 3])
            if r.status != 200:
                break
            done += 1
        took = time.monotonic() - began
        assert 10 <= done <= 10 + took + 1, "%d renames in %.1f s" % (done, took)
        eq(r.status, 503)
        for word in ("renamed", "too often", "once a second", "try again"):
            assert word in r.error(), r.error()
        # whose name it has already is no rename, another's are its own
        eq(rename(l, c, "a%s" % "xyz"[(done - 1) % 3],
                  "a%s" % "xyz"[(done - 1) % 3]).status, 200)
        eq(rename(l, c, "b", "c").status, 200)
        l.until(lambda: rename(l, c, "a%s" % "xyz"[(done - 1) % 3], "ae").status
                == 200, "another", 3)
        eq(names(l, c), ["ae", "c"])


if __name__ == "__main__":
    if CONTROLS and "MEWS_TEST_HOST" not in os.environ:
        rules.build("B=build-test", "EXTRA=-DMEWS_TEST",
                    "build-test/mews-orchd")
    run(__file__, renamed, refuses, keyed, on_its_way, without_helpers,
        not_kept, with_others, news_before, full, often, death)
