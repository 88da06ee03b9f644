#!/usr/bin/env python3
"""orchd alone: the audit trail, who did what or was not let.

usage: orchd_audit_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import sqlite3

from orchd_failing_test import TEST_BUILD, Locked
from orchd_full_test import fill, small
from orchd_tenant_test import T_CREATE, change, drop, make, people, user
from peers import *  # noqa: F403

EXEC, CONSOLE, CONSOLE_LOG = 1, 2, 3
A_MINUTE = 6
ZEROS = b"\0" * 32


def page(l, c=None, tenant="", **q):
    r = l.call(c or l.client(), API_AUDIT, tenant=tenant,
               doc=tables.pack("AuditQuery", **q))
    assert r.status == 200, r
    eq(r.kind, 2)
    return tables.unpack("AuditPage", r.tail)


def trail(l, c=None, tenant=""):
    """All of it: rows, heads."""
    rows, after = [], 0
    while True:
        p = page(l, c, tenant, after=after)
        rows += p["rows"]
        after = p["next"]
        if not after:
            return rows, p["heads"]


def short(row):
    e = row["entry"]
    return " ".join(filter(None, (
        str(row["number"]) + "/" + str(row["n"]), e["action"], e["object"],
        e["result"] if e["result"] != "allowed" else "", e["room"],
        str(e["status"] or ""))))


def shorts(l, c=None, tenant=""):
    return [short(r) for r in trail(l, c, tenant)[0]]


def whole(l):
    """Each row follows the one before, up to its chain's head."""
    rows, heads = trail(l)
    last = {}
    for r in rows:
        assert r["intact"], r
        n, h = last.get(r["number"], (r["n"] - 1, r["prev"]))
        eq((r["n"], r["prev"]), (n + 1, h))
        last[r["number"]] = r["n"], r["hash"]
    eq(last, {h["number"]: (h["last"], h["hash"]) for h in heads})
    return rows


# -- what is in it -----------------------------------------------------------

def acts():
    """What changes something, once, in its tenant's chain; what only looks is
    not there."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "t", user(alice, "admin"), user(bob, "operator")).status,
           201)
        c = l.client(bob)
        vm = l.create(c, "a").vm()
        eq(l.call(c, STOP, "a").status, 200)
        eq(l.call(c, STOP, "a").status, 200)  # it is so already
        eq(l.call(c, START, "a", key="k").status, 200)
        eq(l.call(c, START, "a", key="k").status, 200)
        eq(l.call(c, API_VM_RENAME, "a", doc=tables.pack(
            "VMRename", name="b")).status, 200)
        for kind in (EXEC, CONSOLE, CONSOLE_LOG):
            eq(l.call(l.client(bob), STREAM, "b", kind=kind).status, 101)
        eq(l.vms(c)[0]["name"], "b")
        eq(l.create(c, "b").status, 409)
        eq(l.call(c, STOP, "nope").status, 404)
        eq(change(l, "t", user(bob, "operator"), c=l.client(alice)).status, 200)
        eq(l.call(c, DELETE, "b").status, 204)
        mine = ["2/1 vm-create a", "2/2 vm-stop a", "2/3 vm-stop a",
                "2/4 vm-start a", "2/5 vm-start a", "2/6 vm-rename a",
                "2/7 exec b", "2/8 console b",
                "2/9 vm-create refused orchd 409",
                "2/10 vm-stop nope refused orchd 404",
                "2/11 tenant-change t", "2/12 vm-delete b"]
        eq(shorts(l, l.client(alice)), mine)
        eq(shorts(l, tenant="t"), mine)
        eq(shorts(l), ["0/1 tenant-create t"] + mine)
        rows, heads = trail(l, l.client(alice))
        e = rows[0]["entry"]
        eq((e["user"], e["pid"], e["role"], e["credential"], e["tenant"],
            e["uid"]), (bob, os.getpid(), "operator", "unix", "t", vm["uid"]))
        eq([(h["number"], h["tenant"], h["first"], h["last"], h["hash"])
            for h in heads], [(2, "t", 1, 12, rows[-1]["hash"])])
        eq([r["cursor"] for r in rows], list(range(1, 13)))
        before = whole(l)
        l.restart()
        eq(whole(l), before)
        eq(drop(l, "t").status, 204)
        rows = whole(l)
        eq(short(rows[-1]), "0/2 tenant-delete t")
        # a new one of that name has nothing of it, nor its number
        eq(make(l, "t", user(alice, "admin")).status, 201)
        eq(trail(l, l.client(alice)), ([], []))
        l.restart()
        eq(make(l, "u", user(alice, "admin")).status, 201)
        eq({h["number"]: h["tenant"] for h in trail(l)[1]}, {0: "", 2: ""})
        eq(l.call(l.client(), CREATE, doc=vm_create("x"), tenant="u").status,
           201)
        eq(trail(l, tenant="u")[1][0]["number"], 4)


def seen():
    """An admin of a tenant sees that one's, and nothing of another's."""
    with up() as l:
        alice, bob, carol = people(l)
        eq(make(l, "a", user(alice, "admin"), user(carol, "operator")).status,
           201)
        eq(make(l, "b", user(bob, "admin")).status, 201)
        eq(l.create(l.client(alice), "x").status, 201)
        eq(l.create(l.client(bob), "y").status, 201)
        eq(shorts(l, l.client(alice)), ["2/1 vm-create x"])
        for uid, tenant, want in ((carol, "", 403), (alice, "b", 404),
                                  (alice, "default", 404), (l.user, "", 403),
                                  (l.stranger, "", 403)):
            eq(l.call(l.client(uid), API_AUDIT, tenant=tenant).status, want)
        r = l.call(l.client(), API_AUDIT, doc=tables.pack(
            "AuditQuery", since="soon"))
        eq(r.status, 400)
        assert "invalid since" in r.error(), r


def refused():
    """RULE AUDIT_PACE: who is not let is there, so many times a minute, and how
    many more there were."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "t", user(alice, "viewer"), user(bob, "admin")).status, 201)
        c = l.client(alice)
        for _ in range(A_MINUTE + 4):
            eq(l.create(c, "a").status, 403)
        s = l.client(l.stranger)
        for _ in range(A_MINUTE + 3):
            eq(l.call(s, LIST, doc=vm_query()).status, 403)
        l.settle()
        rows = whole(l)
        eq([short(r) for r in rows if r["number"] == 2],
           ["2/%d vm-create refused orchd 403" % (i + 1)
            for i in range(A_MINUTE)])
        eq([short(r) for r in rows if r["number"] == 0][1:],
           ["0/%d vm-list refused orchd 403" % (i + 2)
            for i in range(A_MINUTE)])
        e = rows[1]["entry"]
        eq((e["user"], e["role"], e["tenant"]), (alice, "viewer", "t"))
        assert "this takes operator" in e["detail"], e
        # what is let has its row whatever was refused
        eq(l.create(l.client(bob), "a").status, 201)
        eq(shorts(l, tenant="t")[-1], "2/%d vm-create a" % (A_MINUTE + 1))


def host():
    """Whatever strangers do, what a host admin did is there."""
    with up() as l:
        s = l.client(l.stranger)
        for _ in range(A_MINUTE + 3):
            eq(l.call(s, LIST, doc=vm_query()).status, 403)
        r = l.call(l.client(), API_STORE_BACKUP)
        eq(r.status, 101)
        os.close(r.fd)
        l.settle()
        eq(shorts(l)[-1], "0/%d store-backup" % (A_MINUTE + 1))
        eq(l.call(l.client(), API_ORPHAN_DELETE, "0" * 16).status, 404)
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        for _ in range(A_MINUTE + 3):
            eq(l.call(c, STOP, "a").status, 200)
        eq([s.split()[1] for s in shorts(l, tenant="default")],
           ["vm-create"] + ["vm-stop"] * (A_MINUTE + 3))


def helper():
    """What a helper would not do."""
    with up() as l:
        c = l.client(l.user)
        l.net.hook = lambda kind, ident, p: (
            l.net.err(ident, -1, b"not that address") or True
            if kind == NET_TAP_OPEN else False)
        eq(l.create(c, "a").status, 500)
        l.net.hook = None
        got = shorts(l)
        eq(got, ["1/1 vm-create a", "1/2 vm-start a refused netd"])
        e = trail(l)[0][1]["entry"]
        eq((e.get("user"), e["detail"]), (None, "not that address"))
        l.launch.run = lambda uid: l.launch.exit(uid, EXIT_START_FAILED,
                                                 b"no jail")
        eq(l.create(c, "b").status, 500)
        eq(shorts(l)[2:], ["1/3 vm-create b", "1/4 vm-start b failed launchd"])


# -- what cannot be recorded -------------------------------------------------

def first():
    """RULE AUDIT_FIRST: what reaches into a guest is on the disk before."""
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        got = l.launch.streams
        lock = Locked(l)
        asker = l.client(l.user)
        rid = l.ask(asker, STREAM, "a", kind=EXEC)
        log = l.call(l.client(l.user), STREAM, "a", kind=CONSOLE_LOG)
        l.settle()
        eq((log.status, len(got)), (101, 1))
        r = l.answer(rid)
        eq((r.status, len(got)), (503, 1))
        assert "cannot be recorded in the audit trail" in r.error(), r
        # and one whose caller is gone meanwhile, or may no more
        gone = l.client(l.user)
        l.ask(gone, STREAM, "a", kind=EXEC)
        gone.sock.close()
        l.settle()
        lock.free()
        l.until(lambda: len(shorts(l)) == 3, "its row")
        l.settle()
        eq(len(got), 1)
        eq(l.call(l.client(l.user), STREAM, "a", kind=EXEC).status, 101)
        l.settle()
        eq(len(got), 2)
        eq([s.split()[1] for s in shorts(l)],
           ["vm-create", "exec", "exec", "exec"])
        whole(l)


def not_written():
    """A change that is not kept has no row; the same one later has one."""
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        lock = Locked(l)
        eq(l.call(c, STOP, "a").status, 500)
        eq(l.create(c, "b").status, 500)
        lock.free()
        eq(shorts(l), ["1/1 vm-create a"])
        eq(l.call(c, STOP, "a").status, 200)
        eq(shorts(l), ["1/1 vm-create a", "1/2 vm-stop a"])
        # what ends something goes on by itself, and so does its row
        lock = Locked(l)
        eq(l.call(c, DELETE, "a").status, 500)
        lock.free()
        eq(l.call(c, DELETE, "a").status, 204)
        whole(l)


def full():
    """On a disk without a byte left: new things are refused, what ends one is
    done and recorded."""
    with small(Peers()) as l:
        l.start()
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        eq(l.create(c, "b").status, 201)
        fill(l)
        eq(l.create(c, "x").status, 507)
        eq(l.call(l.client(l.user), STREAM, "a", kind=EXEC).status, 507)
        eq(l.call(c, STOP, "a").status, 200)
        eq(l.call(c, DELETE, "b").status, 204)
        eq([s.split(" ", 1)[1] for s in shorts(l) if "refused" not in s],
           ["vm-create a", "vm-create b", "vm-stop a", "vm-delete b"])
        whole(l)


def death():
    """kill -9 before and after each: what was done has one row, and the chain is
    whole."""
    for verb in (CREATE, STOP, API_VM_RENAME, DELETE, T_CREATE):
        for when in (1, 2):
            with Peers(program=TEST_BUILD + "/mews-orchd") as l:
                l.start(kill=(verb, 2 if verb == CREATE else 1, when))
                eq(l.create(l.client(l.user), "a").status, 201)

                def act(c):
                    if verb == CREATE:
                        return l.create(c, "b", key="k")
                    if verb == T_CREATE:
                        return make(l, "t", key="k")
                    return l.call(c, verb, "a", key="k", doc=tables.pack(
                        "VMRename", name="b")
                        if verb == API_VM_RENAME else b"")
                with contextlib.suppress(Gone):
                    act(l.client(l.user))
                l.p.wait(DEADLINE)
                l.restart()
                assert act(l.client(l.user)).status in (200, 201, 204)
                rows = [short(r) for r in whole(l)]
                done = [r for r in rows if "/1 vm-create a" not in r]
                # of the retry, when it was done before, too
                assert 1 <= len(done) <= 2, rows
                assert len(set(r.split(" ", 1)[1] for r in done)) == 1, rows


# -- what was done to it -----------------------------------------------------

def tampered():
    with up() as l:
        c = l.client(l.user)
        for name in ("a", "b", "c"):
            eq(l.create(c, name).status, 201)
        whole(l)
        l.kill()
        db = sqlite3.connect(l.store + "/store.db")
        db.execute("UPDATE audit SET entry = replace(entry, '\"b\"', '\"x\"')"
                   " WHERE n = 2")
        db.execute("DELETE FROM audit WHERE n = 3")
        db.commit()
        db.close()
        l.start()
        rows, heads = trail(l)
        eq([(r["n"], r["intact"], r["entry"]["object"]) for r in rows],
           [(1, True, "a"), (2, False, "x")])
        eq((heads[0]["first"], heads[0]["last"]), (1, 3))
        eq(l.create(l.client(l.user), "d").status, 201)
        rows = trail(l)[0]
        eq([(r["n"], r["intact"]) for r in rows],
           [(1, True), (2, False), (4, False)])


def heads():
    """The system journal gets where each chain is."""
    with up() as l:
        eq(l.create(l.client(l.user), "a").status, 201)
        eq(make(l, "t").status, 201)
        want = {(h["number"], h["last"], h["hash"]) for h in trail(l)[1]}
        eq(len(want), 2)
        l.boot.send(BOOT_STOP)
        l.p.wait(DEADLINE)
        l.boot.pump()
        eq(set(l.audits), want)


def pages():
    """More than fit an answer, from any row on."""
    with up(max_vms=8) as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        for i in range(450):
            eq(l.call(c, START, "a", key="k%d" % i).status, 200)
        p = page(l)
        eq((len(p["rows"]), len(p["heads"]), p["next"]), (50, 0, 50))
        rows = whole(l)
        eq(len(rows), 451)
        p = page(l, after=rows[-2]["cursor"])
        eq((len(p["rows"]), len(p["heads"]), p["next"]), (1, 1, 0))
        eq(len(page(l, since="1h")["rows"]), 50)
        eq(page(l, tenant="default", after=450)["rows"][0]["n"], 451)
        eq(page(l, after=2 ** 62)["rows"], [])
        old = tables.pack("AuditQuery", since="2099-01-01T00:00:00Z")
        eq(l.call(c, API_AUDIT, doc=old).status, 400)


if __name__ == "__main__":
    if CONTROLS and "MEWS_TEST_HOST" not in os.environ:
        rules.build("B=build-test", "EXTRA=-DMEWS_TEST",
                    "build-test/mews-orchd")
    run(__file__, acts, seen, refused, host, helper, first, not_written, full, death,
        tampered, heads, pages)
