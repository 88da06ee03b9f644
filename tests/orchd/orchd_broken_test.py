#!/usr/bin/env python3
"""orchd alone: rows of its store that cannot be.  They stop nobody and nothing,
are kept and shown, touched by nobody, and can be ended.

usage: orchd_broken_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import sqlite3
import struct

from peers import *  # noqa: F403


@contextlib.contextmanager
def store(l):
    db = sqlite3.connect(l.store + "/store.db")
    yield db
    db.commit()
    db.close()


def row(l, uid):
    with store(l) as db:
        got = db.execute("SELECT * FROM vm WHERE uid = ?", (signed(uid),))
        return got.fetchone()


def signed(uid):
    return uid - 2**64 if uid >= 2**63 else uid


# what is done to the row, what is said of it, whether its name can be read
ROWS = (("state = 77", "state: 77 cannot be", True),
        ("state = 10", "state: 10 cannot be", True),
        ("slot = 70000", "slot: 70000 cannot be", True),
        ("slot = 5000", "slot: 5000, and it is held at 0", True),
        ("slot = -1, ipv4 = -1", "slot: -1 cannot be", True),
        ("request = '{}'", "name: required", True),
        ("request_v = 9", "VMCreate of version 9, newer", True),
        ("mac = X'01'", "mac: 1 bytes", True),
        ("mac = X'01ffffffffff'", "mac: ", True),
        ("detail = hex(zeroblob(9000))", "detail: ", True),
        ("name = '../x'", "name: ", False))


def one(l, change, why, named):
    c = l.client(l.user)
    uid = l.create(c, "a").vm()["uid"]
    eq(l.create(c, "b").status, 201)
    l.settle()
    l.kill()
    with store(l) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("UPDATE vm SET %s WHERE name = 'a'" % change)
    was = row(l, uid)
    logs = len(l.launch.log), len(l.net.log)
    l.start()
    c = l.client(l.user)
    l.settle(0.1)
    v, = [v for v in l.vms(c) if v["uid"] == uid]
    eq(v["status"], "broken")
    assert why in v["reason"], v
    assert named == (v["name"] == "a"), v
    name = "%016x" % uid
    eq(l.get(c, name).vm()["uid"], uid)
    eq(l.state(c, "b"), "running")
    # nobody touches it: its hypervisor and tap live on
    for verb in (START, STOP, API_VM_RENAME):
        r = l.call(c, verb, name, doc=tables.pack("VMRename", name="z")
                   if verb == API_VM_RENAME else b"")
        eq(r.status, 409)
        assert "broken" in r.error(), r
    eq(l.call(c, STREAM, name, kind=1).status, 409)
    assert uid in l.launch.vms and uid in l.net.taps
    asked = [k for k, _, p in l.launch.log[logs[0]:] + l.net.log[logs[1]:]
             if p.startswith(struct.pack("=Q", uid))]
    eq(asked, [])
    eq(row(l, uid), was)
    # what it holds is nobody else's
    new = l.create(c, "new").vm()
    slots = sorted(s for s, _, _ in l.net.taps.values())
    eq(slots, [0, 1, 2])
    eq(l.call(c, DELETE, "new").status, 204)
    ok, text = health(l, c, "vm")
    assert not ok and "mews rm -f" in text, (text, new)
    # and it stays so
    l.restart()
    c = l.client(l.user)
    eq(l.get(c, name).vm()["status"], "broken")
    l.settle(0.1)
    # it can be ended, with all that helpers hold
    eq(l.call(c, DELETE, name).status, 204)
    assert uid not in l.launch.vms and uid not in l.net.taps
    eq(row(l, uid), None)
    eq([v["name"] for v in l.vms(c)], ["b"])
    eq(l.leaks(c), [])
    l.restart()
    eq([v["name"] for v in l.vms(l.client(l.user))], ["b"])


def broken():
    for change in ROWS:
        try:
            with up() as l:
                one(l, *change)
        except Exception as e:
            raise AssertionError("%s: %s" % (change[0], e)) from e


def in_the_middle():
    """It dies while one is being deleted: broken again, and can be deleted."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.settle()
        l.kill()
        with store(l) as db:
            db.execute("UPDATE vm SET request = 'x', state = 77")
        was = row(l, uid)
        l.start()
        waiting = held_up(l, l.launch, LAUNCH_RELEASE)
        l.ask(l.client(l.user), DELETE, "a")
        l.until(lambda: waiting, "RELEASE")
        eq(row(l, uid), was)
        l.kill()
        l.launch.hook = None
        l.start()
        c = l.client(l.user)
        eq(l.state(c, "a"), "broken")
        eq(l.call(c, DELETE, "a").status, 204)
        assert uid not in l.launch.vms and uid not in l.net.taps


def keys_and_names():
    """A key that cannot be is left alone; the name of one without is its own."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a", key="k1").vm()["uid"]
        eq(l.create(c, "broken-%016x" % uid, key="k2").status, 201)
        l.kill()
        with store(l) as db:
            db.execute("UPDATE idem SET hash = X'00' WHERE key = 'k1'")
            db.execute("UPDATE vm SET name = 'a b' WHERE name = 'a'")
            db.execute("UPDATE vm SET detail = char(27) || 'x'"
                       " WHERE name LIKE 'broken-%'")
        l.start()
        c = l.client(l.user)
        eq(sorted(v["status"] for v in l.vms(c)), ["broken", "running"])
        eq(l.get(c, "broken-%016x" % uid).vm()["status"], "running")
        eq(l.get(c, "broken-%016x-1" % uid).vm()["uid"], uid)
        eq(l.create(c, "broken-%016x" % uid, key="k2").status, 201)
        with store(l) as db:
            eq(db.execute("SELECT count(*) FROM idem").fetchone()[0], 2)


def refused():
    """A store that is newer, or none of ours, is still refused, with words."""
    for change, want in (("PRAGMA user_version = 99", "version 99 is newer"),
                         ("UPDATE tenant SET name = '../x'", "tenant"),
                         ("DROP TABLE idem", "idem")):
        with up() as l:
            l.kill()
            with store(l) as db:
                db.execute(change)
            l.start(peers=False)
            eq(l.p.wait(10) != 0, True)
            assert want in l.log(), l.log()


def unwritable():
    """A store that cannot be written is said at the start, in the log and by
    doctor, not at the first write; and again when it can be."""
    with up() as l:
        eq(l.create(l.client(l.user), "a").status, 201)
        l.kill()
        db = sqlite3.connect(l.store + "/store.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        l.start()
        assert "store: cannot be written" in l.log(), l.log()
        c = l.client(l.user)
        eq(l.state(c, "a"), "running")
        eq(health(l, c)[0], False)
        db.execute("ROLLBACK")
        db.close()
        eq(l.call(c, STOP, "a").status, 200)
        eq(health(l, c), (True, "can be written"))


def health(l, c, what="store"):
    ok, = [(ok, text) for n, ok, text in
           doc_list(l.call(c, DOCTOR).tail, check_view) if n == what]
    return ok


if __name__ == "__main__":
    run(__file__, broken, in_the_middle, keys_and_names, refused, unwritable)
