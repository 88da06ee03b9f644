#!/usr/bin/env python3
"""orchd alone: what is not known of a VM, and one that does not answer.

Neither is told as "not running": 503, which the caller tries again, with words
for a person.
"""
import os
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
from peers import *  # noqa: E402,F403

EXEC, CONSOLE = STREAM_EXEC, STREAM_CONSOLE


def held_as(l, uid, state, fault=0):
    """launchd comes back and lists that VM so."""
    def hook(kind, ident, p):
        if kind != LAUNCH_LIST:
            return False
        _, slot, pid = l.launch.vms[uid]
        l.launch.tell(LAUNCH_HELD, bytes(launch_held(
            vm=uid, state=state, slot=slot, accel=0, fault=fault)), ident)
        l.launch.tell(LAUNCH_LIST_END, bytes(launch_count(n=1)), ident)
        return True
    l.launch.hook = hook
    l.launch.chan.close()
    l.settle()
    l.plumb(ROOM_LAUNCHD)
    l.settle()
    l.launch.hook = None


def refused_all(l, c, *words):
    for what in ({"verb": START}, {"verb": STOP}, {"verb": STREAM, "kind": EXEC},
                 {"verb": STREAM, "kind": CONSOLE}):
        r = l.call(c, what.pop("verb"), "a", **what)
        eq(r.status, 503)
        for w in words:
            assert w in r.error(), r.error()


def unknown():
    """It was found again and has not said what it is: settled, all is well."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        held_as(l, uid, LV_UNKNOWN)
        refused_all(l, c, "has not heard of it yet", "try again")
        v = l.get(c, "a").vm()
        eq((v["status"], v["ready"]), ("running", False))
        assert "launcher" in v["reason"], v
        l.launch.event(uid, LE_RUNNING, pid=l.launch.vms[uid][2])
        l.launch.event(uid, LE_READY)
        l.settle()
        eq(l.call(c, STREAM, "a", kind=EXEC).status, 101)
        eq(l.call(c, START, "a").status, 200)
        v = l.get(c, "a").vm()
        eq((v["ready"], v.get("reason", "")), (True, ""))
        eq(l.launch.starts[uid], 1)
        eq(l.call(c, STOP, "a").status, 200)


def unknown_ended():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        held_as(l, uid, LV_UNKNOWN)
        l.launch.exit(uid, EXIT_KILLED, b"by signal 9", 9)
        l.await_state(c, "a", "crashed")
        eq(l.call(c, STREAM, "a", kind=EXEC).status, 409)
        eq(l.call(c, START, "a").status, 200)


def broken_record():
    """It stays where it is until somebody ends it."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        held_as(l, uid, LV_UNKNOWN, LF_RECORD)
        refused_all(l, c, "record", "mews rm -f a")
        assert "mews rm -f a" in l.get(c, "a").vm()["reason"]
        doctor = l.call(c, DOCTOR)
        assert b"mews rm -f a" in doctor.tail, doctor.tail
        eq(uid in l.launch.vms, True)
        eq(l.call(c, DELETE, "a").status, 204)
        eq(uid in l.launch.vms, False)


def delete_of_unknown():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        held_as(l, uid, LV_UNKNOWN)
        eq(l.call(c, DELETE, "a").status, 204)
        eq(l.leaks(c), [])


def no_list_yet():
    """A new orchd, and a launchd that is not there: "not running" is no
    answer; a stop is written down."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.launch.hook = lambda kind, ident, p: kind == LAUNCH_LIST  # says nothing
        l.restart()
        c = l.client(l.user)
        for what in ({"verb": START}, {"verb": STREAM, "kind": EXEC}):
            r = l.call(c, what.pop("verb"), "a", **what)
            eq(r.status, 503)
            assert "not known yet" in r.error(), r.error()
        rid = l.ask(c, STOP, "a")
        l.launch.hook = None
        l.plumb(ROOM_LAUNCHD)
        eq(l.answer(rid).status, 200)
        l.settle()
        assert l.launch.vms.get(uid, [LV_GONE])[0] == LV_GONE


def mute():
    """Ready is what was seen last: it goes, is said with words, and comes."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.launch.event(uid, LE_MUTE, detail=b"its agent says nothing")
        l.settle()
        v = l.get(c, "a").vm()
        eq((v["status"], v["ready"]), ("running", False))
        assert "its agent says nothing" in v["reason"], v
        r = l.call(c, STREAM, "a", kind=EXEC)
        eq(r.status, 503)
        assert "its agent says nothing" in r.error(), r.error()
        eq(l.call(l.client(), STREAM, "a", kind=CONSOLE).status, 101)
        n = len([e for e in l.events(l.client()) if e["type"] == "VM_READY"])
        l.launch.event(uid, LE_READY)
        l.settle()
        eq(l.call(c, STREAM, "a", kind=EXEC).status, 101)
        eq(l.get(c, "a").vm()["ready"], True)
        # ready again is no second start
        eq(len([e for e in l.events(l.client()) if e["type"] == "VM_READY"]), n)


if __name__ == "__main__":
    run(os.path.abspath(__file__), unknown, unknown_ended, broken_record,
        delete_of_unknown, no_list_yet, mute)
