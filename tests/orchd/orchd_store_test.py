#!/usr/bin/env python3
"""orchd alone: what it has said is there, with a store that is old, full or
unreadable, and when it is killed at every message.

usage: orchd_store_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import signal
import struct
import subprocess

from peers import *  # noqa: F403

# sanitized builds have the kill points as well
TEST_BUILD = suite.BUILD if suite.sanitized.ON else \
    os.path.join(suite.TOP, "build-test")


# -- durability, keys ------------------------------------------------------------

def durable():
    """I8: what was answered is there, whatever happens the moment after."""
    with up() as l:
        for i in range(8):
            c = l.client(l.user)
            v = l.create(c, "v%d" % i).vm()
            l.restart()
            c = l.client(l.user)
            got = l.get(c, "v%d" % i).vm()
            eq((got["uid"], got["status"]), (v["uid"], "running"))
            if i % 2:
                verb, want = ((STOP, "stopped"), (DELETE, 404))[i % 4 == 3]
                assert l.call(c, verb, "v%d" % i).status in (200, 204)
                l.restart()
                eq(l.state(l.client(l.user), "v%d" % i), want)
        eq(l.leaks(l.client(l.user)), [])


# -- a store of before, and what cannot be read ----------------------------------------

def golden(l, name, also=lambda db: None):
    """The store of l is a golden one, with what also() does to it."""
    import sqlite3
    path = l.store + "/store.db"
    db = sqlite3.connect(path)
    with open("%s/tests/golden/%s" % (suite.TOP, name)) as f:
        db.executescript(f.read())
    also(db)
    db.commit()
    db.close()
    os.chown(path, l.uid, l.uid)


def old_store():
    """Confined as it is, it migrates a store that does not fit its memory
    (the statement's journal is a file), and takes the VMs on."""
    def big(db):
        # slots, addresses and ids behind those that are there
        env = b"A=" + b"x" * 65000 + b"\0"
        doc = (struct.pack("=Q", 0) + text("big") + text("") +
               2 * text("busybox") + struct.pack("=qq", 1, 96) +
               3 * text("") + struct.pack("=II", 1, len(env)) + env + text(""))
        for i in range(20):
            db.execute("INSERT INTO vm VALUES (?, 1, ?, ?, 0, 4, 0, 0, ?, ?,"
                       " ?, '', 1, 1, ?, 0)",
                       (i + 1, i + 100, "big-%d" % i, i + 20,
                        0x0a4d0080 + i, struct.pack(">Q", i)[2:], doc))
    with Peers() as l:
        golden(l, "store_v2_states.sql", big)
        l.start()
        c = l.client(l.user)
        v = {v["name"]: v for v in l.vms(c)}
        eq(len(set(v) - {"deleting-1"}), 8 + 20)
        eq(v["host-1"]["memory_mb"], 96)
        eq(v["broke"]["reason"], 'guest panic: oops "quoted"')
        eq(l.create(l.client(l.user), "new").status, 201)
        assert not any(n.startswith("etilqs") for n in os.listdir(l.store))
        l.restart()
        eq(l.state(l.client(l.user), "new"), "running")


def event_unreadable():
    """It is a gap and one line in the log; who reads gets the others."""
    def spoil(db):
        db.execute("UPDATE event SET body = X'00' WHERE seq = 2")
        db.execute("UPDATE event SET body = X'' WHERE seq = 3")
    with Peers() as l:
        golden(l, "store_v2.sql", spoil)
        l.start()
        ids = [e["id"] for e in l.events(l.client(l.user)) if e["id"] <= 6]
        eq(ids, [1, 4, 5, 6])
        assert "2 events left out; the first, 2: " in l.log(), l.log()


def stop_flushes():
    """BOOT_STOP and SIGTERM: what was told is written, exit status 0."""
    for how in ("stop", "term", "eof"):
        with up() as l:
            c = l.client(l.user)
            waiting = held_up(l, l.launch, LAUNCH_START)
            rid = l.ask(c, CREATE, key="k", doc=vm_create("a"))
            l.until(lambda: waiting, "START")
            if how == "stop":
                l.boot.send(BOOT_STOP)
            elif how == "term":
                l.p.terminate()
            else:
                l.boot.close()
            code = l.p.wait(DEADLINE)
            assert code == 0, (code, l.log())
            l.reap()
            l.launch.hook = None
            l.start()
            c = l.client(l.user)
            eq(l.create(c, "a", key="k").status, 201)
            eq(l.leaks(c), [])


# -- a full store --------------------------------------------------------------------

@contextlib.contextmanager
def small_store(size="1m"):
    l = Peers()
    suite.sh("mount", "-t", "tmpfs", "-o", "size=%s,mode=700,uid=%d,gid=%d"
             % (size, l.uid, l.uid), "store", l.store)
    try:
        with l:
            yield l
    finally:
        suite.sh("umount", "-l", l.store)


def fill(l):
    f = open(l.store + "/fill", "wb", buffering=0)
    with contextlib.suppress(OSError):
        while True:
            f.write(b"x" * 4096)
    f.close()


def full_store():
    with small_store() as l:
        l.start()
        c = l.client(l.user)
        a = l.create(c, "a").vm()
        eq(l.create(c, "s").status, 201)
        eq(l.call(c, STOP, "s").status, 200)
        fill(l)
        n = 0
        env = ["E=%s" % ("x" * 30000)]
        while True:  # what is left of the WAL may still take some
            r = l.create(c, "n%d" % n, key="k%d" % n, env=env)
            if r.status != 201:
                break
            n += 1
            assert n < 100
        eq(r.status, 507)
        eq(l.get(c, "n%d" % n).status, 404)
        eq(l.get(c, "a").vm()["uid"], a["uid"])
        done = {}
        for verb, name in ((STOP, "a"), (START, "s"), (DELETE, "a")):
            r = l.call(c, verb, name)
            assert r.status in (200, 204, 507), r
            done[name] = r.status
        assert l.alive()
        os.unlink(l.store + "/fill")
        r = l.create(c, "n%d" % n, key="k%d" % n, env=env)
        eq(r.status, 201)  # the key was not used up
        l.settle(0.1)
        before = {v["name"]: (v["uid"], v["status"]) for v in l.vms(c)}
        l.until(lambda: not l.leaks(c), "convergence", 15)
        l.restart()
        c = l.client(l.user)
        l.until(lambda: not l.leaks(c), "convergence")
        after = {v["name"]: (v["uid"], v["status"]) for v in l.vms(c)}
        eq(after, before)


def full_later(verb="exit"):
    """What happens by itself on a full disk is written, with its event, as
    soon as there is room."""
    with small_store("2m") as l:
        l.start()
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.settle()
        import sqlite3
        db = sqlite3.connect(l.store + "/store.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")  # longer than orchd's patience
        l.launch.exit(uid, EXIT_GUEST_PANIC, b"oops")
        l.until(lambda: "state not written" in l.log(), "failed write")
        eq(l.state(c, "a"), "crashed")
        db.execute("ROLLBACK")
        db.close()
        l.until(lambda: not l.leaks(c), "convergence", 15)
        types = [e["type"] for e in l.events(l.client(l.user))]
        eq(types[-1], "VM_CRASHED")
        l.restart()
        eq(l.get(l.client(l.user), "a").vm()["reason"], "guest panic: oops")


# -- kill -9 of orchd at every message -------------------------------------------------

POINTS = [(CREATE, 1), (NET_ENSURE, 1), (NET_TAP_OPEN, 1), (NET_TAP_READY, 1),
          (LAUNCH_ATTACH, 1), (LAUNCH_ATTACH, 2), (LAUNCH_START, 1), (LAUNCH_DONE, 1),
          (LAUNCH_EVENT, 1), (LAUNCH_EVENT, 2), (API_RES, 1), (DELETE, 1),
          (LAUNCH_RELEASE, 1), (LAUNCH_DONE, 2), (NET_TAP_CLOSE, 1), (NET_DONE, 2),
          (API_RES, 2), (API_CONN, 1), (NET_LIST_END, 1), (LAUNCH_LIST_END, 1)]


# what a helper may come to read when orchd has long been dead
LATE = [(NET_ENSURE, 1), (NET_TAP_OPEN, 1), (LAUNCH_START, 1),
        (LAUNCH_RELEASE, 1), (NET_TAP_CLOSE, 1)]


def kill_at_messages():
    """create, then delete, each with a key; wherever it dies, the retries
    act once and nothing is left."""
    program = TEST_BUILD + "/mews-orchd"
    rows = [(p, when, False) for p in POINTS for when in (1, 2)]
    rows += [(p, 2, True) for p in LATE]
    died = 0
    for (kind, nth), when, late in rows:
        with Peers(program=program) as l:
            where = "0x%x #%d %s%s" % (kind, nth, ("", "before", "after")[when],
                                       ", read late" if late else "")
            try:
                died += killed_at(l, (kind, nth, when), late)
            except Exception as e:
                raise AssertionError("killed at %s: %s" % (where, e)) from e
    eq(died, len(rows))


def read_late(l, kind, nth):
    """The helper acts on that message only once its sender is dead."""
    seen = []

    def hook(k, ident, p):
        seen.extend([k] if k == kind else [])
        if len(seen) == nth and l.p is not None:
            l.p.wait(DEADLINE)
            l.net.hook = l.launch.hook = None
        return False
    l.net.hook = l.launch.hook = hook


def killed_at(l, point, late=False):
    dead = []
    if late:
        read_late(l, *point[:2])

    def next_life():
        # it may have died before the helper looked: then nothing is late
        dead.append(1)
        l.net.hook = l.launch.hook = None
        l.restart()

    def again(what):
        """what(client) until orchd lives long enough to answer."""
        for _ in range(3):
            try:
                return what(l.client(l.user))
            except (Gone, AssertionError):
                # its sockets close a moment before it can be waited for
                with contextlib.suppress(subprocess.TimeoutExpired):
                    l.p.wait(1)
                if l.p.poll() is None:
                    raise
                eq(l.p.returncode, -signal.SIGKILL)
                next_life()
        raise AssertionError("it never answers")
    try:
        l.start(kill=point)
    except Gone:
        next_life()
    eq(again(lambda c: l.create(c, "a", key="c")).status, 201)
    again(lambda c: eq(l.leaks(c), []))
    v = again(lambda c: l.get(c, "a").vm())
    eq((v["status"], len(l.net.taps), len(l.launch.vms)), ("running", 1, 1))
    eq(again(lambda c: l.call(c, DELETE, "a", key="d")).status, 204)
    again(lambda c: eq(l.leaks(c), []))
    eq(again(lambda c: l.vms(c)), [])
    eq((l.net.taps, l.launch.vms), ({}, {}))
    eq(again(lambda c: l.create(c, "b")).vm()["ip_address"], "10.77.0.2")
    types = [e["type"] for e in again(lambda c: l.events(c)) if e["name"] == "a"]
    for t in ("VM_CREATED", "VM_RUNNING", "VM_DELETED"):
        eq(types.count(t), 1)
    eq(len(l.launch.starts) - 1, 1)  # one uid for "a", one for "b"
    return len(dead)


if __name__ == "__main__":
    if CONTROLS and "MEWS_TEST_HOST" not in os.environ:
        rules.build("B=build-test", "EXTRA=-DMEWS_TEST",
                    "build-test/mews-orchd")
    run(__file__, durable, old_store, event_unreadable,
        stop_flushes, full_store, full_later, kill_at_messages)
