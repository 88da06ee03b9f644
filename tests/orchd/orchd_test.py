#!/usr/bin/env python3
"""orchd alone: mews-orchd in a private host, mewsd, both apids, netd and
launchd played by peers.

usage: orchd_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls

A case that shows something cannot happen has a control: the same with the
rule switched off (tests/rules), where it must fail.
"""
import contextlib
import errno
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import peers
from peers import *
import suite  # found by peers

PROGRAM = os.environ.get("MEWS_PROGRAM")
CONTROLS = PROGRAM is None and not suite.sanitized.ON
# sanitized builds have the kill points as well
TEST_BUILD = suite.BUILD if suite.sanitized.ON else \
    os.path.join(suite.TOP, "build-test")
VERBS = (LIST, GET, CREATE, DELETE, START, STOP, STREAM, EVENTS, DOCTOR)


def Peers(**kw):
    kw.setdefault("program", PROGRAM)
    return peers.Peers(**kw)


def up(**kw):
    l = Peers(**kw)
    return l.start()


def eq(got, want):
    assert got == want, "%r, not %r" % (got, want)


# -- who calls (I1) ----------------------------------------------------------

def identity():
    with up() as l:
        for uid, room in ((0, ROOM_ADMIN), (l.admin, ROOM_ADMIN),
                          (l.user, ROOM_API), (l.stranger, ROOM_API),
                          (l.uid, ROOM_API)):
            eq(l.client(uid).room, room)
        for uid in (0, l.admin, l.user):
            eq(l.call(l.client(uid), LIST, doc=vm_query()).status, 200)


def stranger():
    """403 on every verb, and nothing of it happens."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before = len(l.launch.log), len(l.net.log)
        for verb in VERBS:
            c = l.client(l.stranger)
            rid = l.ask(c, verb, "a", doc={CREATE: vm_create("x"),
                                           LIST: vm_query()}.get(verb, b""),
                        kind=2 if verb == STREAM else 0)
            eq(l.answer(rid, 3).status, 403)
        eq((len(l.launch.log), len(l.net.log)), before)
        eq([v["name"] for v in l.vms(root)], ["a"])


def connections():
    with up() as l:
        seen = set()
        for i in range(50):
            c = l.client(l.user)
            assert c.id not in seen
            seen.add(c.id)
            if i % 2:
                c.sock.close()
                l.until(lambda: c.id in l.gone, "API_GONE")
            else:
                l.api[ROOM_API].send(CLOSED, struct.pack(CONN, c.id))
                l.until(c.hung_up, "hang-up")
            # its identity ended: nobody answers in its name
            rid = l.ask(c, GET, "a")
            l.settle()
            assert rid not in l.res
        l.restart()
        assert l.client(l.user).id not in seen


def half_closed():
    """SHUT_WR alone: the caller still wants its answer."""
    with up() as l:
        c = l.client(l.user)
        c.sock.shutdown(socket.SHUT_WR)
        l.settle(0.1)
        assert c.id not in l.gone
        eq(l.create(c, "a").status, 201)


def apid_dies():
    with up() as l:
        a, b = l.client(l.user), l.client(0)
        l.api[ROOM_API].close()
        l.until(a.hung_up, "hang-up")
        assert not b.hung_up()
        eq(l.create(b, "a").status, 201)
        late = l.connect(l.user)  # waits in the backlog till there are both
        l.settle(0.1)
        del l.api[ROOM_API]
        l.plumb(ROOM_API)
        l.until(lambda: any(r == ROOM_API and i != a.id
                            for i, (r, _) in l.conns.items()), "API_CONN")
        late.close()
        # a second one in the place of the first, which is still there
        c = l.client(l.user)
        l.plumb(ROOM_API)
        l.until(c.hung_up, "hang-up")


def busy(s):
    s.settimeout(DEADLINE)
    got = b""
    while True:
        data = s.recv(4096)
        if not data:
            break
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 "), got
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n", got
    assert body.startswith(b'{"error":"') and body.endswith(b'"}'), got


def connection_cap():
    with up(max_conns=20) as l:
        cs = [l.client(0) for _ in range(20)]
        s = l.connect(0)
        with contextlib.suppress(BrokenPipeError):
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        eq(l.create(cs[0], "a").status, 201)
        cs[1].sock.close()
        l.until(lambda: cs[1].id in l.gone, "API_GONE")
        eq(l.get(l.client(0), "a").status, 200)


def refused_late_writer():
    """Who is one too many and writes its request after the answer is there
    still gets to read it; and such callers cost a bounded number of
    descriptors, for a moment (I10)."""
    with up(max_conns=4) as l:
        cs = [l.client(0) for _ in range(4)]
        l.settle()  # what was on its way to apid is there
        fds = lambda: len(os.listdir("/proc/%d/fd" % l.p.pid))
        before = fds()
        s = l.connect(0)
        l.settle()
        eq(select.select([s], [], [], DEADLINE)[0], [s])
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        late = [l.connect(0) for _ in range(60)]
        for s in late:
            busy(s)
        assert before < fds() <= before + 16, (before, fds())
        l.until(lambda: fds() <= before, "end of the refused")
        eq(l.create(cs[0], "a").status, 201)


def connection_share():
    """One user cannot use up what all callers share; root is not held."""
    with up(max_conns=20) as l:
        cs = [l.client(l.user) for _ in range(10)]
        s = l.connect(l.user)
        with contextlib.suppress(BrokenPipeError):
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        eq(l.create(l.client(0), "a").status, 201)
        eq(l.call(l.client(l.user + 1), LIST, doc=vm_query()).status, 403)
        cs[0].sock.close()
        l.until(lambda: cs[0].id in l.gone, "API_GONE")
        eq(l.get(l.client(l.user), "a").status, 200)


def descriptors_exhausted():
    """The limit reached below the cap: 503, and all else goes on."""
    with up(nofile=64, max_conns=500) as l:
        socks = [l.connect(0) for _ in range(70)]
        l.settle(0.2)
        assert 20 < len(l.conns) < 64, len(l.conns)
        hung = []
        for s in socks:
            with contextlib.suppress(BlockingIOError):
                if s.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK):
                    hung.append(s)
        eq(len(hung) + len(l.conns), 70)
        for s in hung:
            busy(s)
        ident, (room, peer) = next(iter(l.conns.items()))
        c = Client(None, ident, room, peer)
        eq(l.call(c, LIST, doc=vm_query()).status, 200)
        for s in socks:
            s.close()
        l.settle(0.2)
        eq(l.create(l.client(l.user), "a").status, 201)


# -- a VM's life ---------------------------------------------------------------

def life():
    with up() as l:
        c = l.client(l.user)
        eq(l.get(c, "web").status, 404)
        r = l.create(c, "web", cpu_cores=2, memory_mb=256, env=["A=1"])
        eq(r.status, 201)
        v = r.vm()
        eq((v["name"], v["status"], v["cpus"], v["mem"], v["ip"], v["id"]),
           ("web", "running", 2, 256, "10.77.0.2", 1))
        assert v["verified"] and v["pid"]
        eq(l.create(c, "web").status, 409)
        for verb, want, state in (
                (START, 200, "running"), (STOP, 200, "stopped"),
                (STOP, 200, "stopped"), (START, 200, "running"),
                (STOP, 200, "stopped"), (DELETE, 204, 404), (START, 404, 404),
                (STOP, 404, 404), (DELETE, 404, 404)):
            eq(l.call(c, verb, "web").status, want)
            eq(l.state(c, "web"), state)
            eq(l.leaks(c), [])
        eq(l.create(c, "web").vm()["id"], 2)
        eq(l.call(c, DELETE, "web").status, 204)
        eq((l.net.taps, l.launch.vms), ({}, {}))


def held_up(l, where, kind):
    """From now on helper requests of one kind wait in the list returned."""
    waiting = []

    def hook(k, ident, p):
        if k == kind:
            waiting.append((k, ident, p))
            return True
        return False
    where.hook = hook
    return waiting


def let_go(where, waiting):
    where.hook = None
    for m in waiting:
        where.act(*m)
    waiting.clear()


def orders():
    """Every second verb while a create or a start is at every stage."""
    for stage in ("tap", "start", "event"):
        for verb in (START, STOP, DELETE, CREATE):
            with up() as l:
                c, d = l.client(l.user), l.client(l.user)
                where = l.net if stage == "tap" else l.launch
                if stage == "event":
                    run, l.launch.run = l.launch.run, lambda uid: None
                waiting = held_up(l, where, TAP_OPEN if stage == "tap" else
                                  L_START if stage == "start" else None)
                first = l.ask(c, CREATE, doc=vm_create("a"))
                l.until(lambda: waiting or l.launch.vms, stage)
                l.settle(0.02)
                second = l.ask(d, verb, "a", doc=vm_create("a")
                               if verb == CREATE else b"")
                l.settle(0.02)
                let_go(where, waiting)
                if stage == "event":
                    l.launch.run = run
                    l.settle(0.02)
                    for uid in list(l.launch.vms):
                        if l.launch.vms[uid][0] == LV_STARTING:
                            run(uid)
                a, b = l.answer(first).status, l.answer(second).status
                want = {START: (201, 200), STOP: (409, 200),
                        DELETE: (409, 204), CREATE: (201, 409)}[verb]
                assert (a, b) == want, (stage, verb, a, b)
                e = l.client(l.user)
                eq(l.leaks(e), [])
                eq(l.state(e, "a"), {START: "running", CREATE: "running",
                                     STOP: "stopped", DELETE: 404}[verb])
                assert max(l.launch.starts.values(), default=0) <= 1


def waiters():
    """All who wait are answered, once (the players refuse a second answer)."""
    with up() as l:
        waiting = held_up(l, l.launch, L_START)
        cs = [l.client(l.user) for _ in range(70)]
        rids = [l.ask(cs[0], CREATE, doc=vm_create("a"))]
        l.until(lambda: waiting, "START")
        rids += [l.ask(c, START, "a") for c in cs[1:]]
        l.settle()
        eq(sorted({l.res[r].status for r in rids if r in l.res}), [503])
        cs[5].sock.close()  # who hangs up is not waited for
        l.settle()
        let_go(l.launch, waiting)
        got = [l.answer(r).status for r in rids if r != rids[5]]
        eq((got[0], got.count(200), got.count(503)), (201, 62, 6))


def names():
    with up() as l:
        c = l.client(l.user)
        a = l.create(c, "a").vm()
        b = l.create(c, "b").vm()
        hexa = "%016x" % a["uid"]
        for n in (4, 5, 8, 16):
            if "%016x" % b["uid"] != hexa and not \
                    ("%016x" % b["uid"]).startswith(hexa[:n]):
                eq(l.get(c, hexa[:n]).vm()["name"], "a")
        for bad in ("", hexa[:3], hexa.upper() if hexa.upper() != hexa
                    else "G", hexa + "0", "z" * 63, "../a", "a\n"):
            eq(l.get(c, bad).status, 404)
        eq(l.create(c, hexa[:8]).status, 201)  # a name goes before a prefix
        eq(l.get(c, hexa[:8]).vm()["name"], hexa[:8])
        for bad in ("", "-a", "a b", "a/b", "é", "x" * 65):
            eq(l.create(c, bad).status, 400)
        for kw, want in (({"image": ""}, 400), ({"image": "nginx"}, 404),
                         ({"plugin": "p"}, 404)):
            eq(l.create(c, "x", **kw).status, want)


def limits():
    with up(max_vms=3, max_vcpus=2, max_mem=512) as l:
        c = l.client(l.user)
        for kw in ({"cpu_cores": 3}, {"memory_mb": 513}, {"memory_mb": 63}):
            r = l.create(c, "x", **kw)
            eq(r.status, 400)
            assert "cpu_cores must be" in r.error()
        v = l.create(c, "a", cpu_cores=0, memory_mb=-1).vm()
        eq((v["cpus"], v["mem"]), (2, 512))  # defaults no host refuses
        ips = [v["ip"]] + [l.create(c, n).vm()["ip"] for n in "bc"]
        eq(ips, ["10.77.0.2", "10.77.0.3", "10.77.0.4"])
        r = l.create(c, "d")
        eq(r.status, 503)
        eq(l.call(c, DELETE, "b").status, 204)
        eq(l.create(c, "d").vm()["ip"], "10.77.0.3")
        eq(sorted(v[1] for v in l.launch.vms.values()), [0, 1, 2])
        eq(len(l.vms(c)), 3)
    with up(max_vms=64, prefix=29) as l:  # addresses end before slots do
        c = l.client(l.user)
        got = [l.create(c, "v%d" % i).status for i in range(6)]
        eq(got, [201] * 5 + [503])


def lists():
    with up() as l:
        c = l.client(l.user)
        for n in ("c", "a", "b"):
            eq(l.create(c, n).status, 201)
        eq(l.call(c, STOP, "a").status, 200)

        def names_of(**kw):
            return "".join(v["name"] for v in l.vms(c, **kw))
        eq(names_of(), "cab")
        eq(names_of(sort=1), "abc")
        eq(names_of(sort=1, desc=True), "cba")
        eq(names_of(status=["stopped"]), "a")
        eq(names_of(status=[]), "")
        eq(names_of(limit=1, offset=1), "a")
        eq(names_of(limit=0), "")
        eq(names_of(offset=9), "")
        eq(names_of(q="77.0.4"), "b")
        eq(names_of(runtime="BusyBox"), "cab")
        eq(l.call(c, LIST, doc=vm_query(limit=1)).total, 3)


def big_environment():
    """64 KiB of it arrive in a sealed memfd and leave in the boot spec, also
    after a restart."""
    import json
    env = ["V%03d=%s" % (i, "\"\\" * 120) for i in range(250)]
    with up() as l:
        c = l.client(l.user)
        v = l.create(c, "a", env=env, kernel_cmdline="quiet " * 300).vm()
        eq(v["cmdline"], "quiet " * 300)
        eq(json.loads(l.launch.specs[v["uid"]])["env"], env)
        l.restart()
        c = l.client(l.user)
        eq(l.call(c, STOP, "a").status, 200)
        l.launch.specs.clear()
        eq(l.call(c, START, "a").status, 200)
        eq(json.loads(l.launch.specs[v["uid"]])["env"], env)
        worst = ["W%d=%s" % (i, "\x01" * 1000) for i in range(60)]
        eq(l.create(c, "b", env=worst).status, 201)
        eq(l.create(c, "c", env=env + env).status, 413)
        eq(len(l.vms(c)), 2)


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


def keys():
    with up() as l:
        c = l.client(l.user)
        a = l.create(c, "a", key="k1").vm()
        eq(l.create(c, "a", key="k1").vm()["uid"], a["uid"])
        eq(l.create(c, "a", key="k1", cpu_cores=2).status, 422)
        eq(l.call(c, DELETE, "a", key="k1").status, 422)
        eq(l.create(l.client(0), "a", key="k1").status, 409)  # another's key
        l.restart()
        c = l.client(l.user)
        eq(l.create(c, "a", key="k1").vm()["uid"], a["uid"])
        # start and stop: a retry does not do it again
        eq(l.call(c, STOP, "a", key="k2").status, 200)
        eq(l.call(c, START, "a", key="k3").status, 200)
        r = l.call(c, STOP, "a", key="k2")
        eq((r.status, r.vm()["status"]), (200, "running"))
        eq(l.call(c, STOP, "a").status, 200)
        r = l.call(c, START, "a", key="k3")
        eq((r.status, r.vm()["status"]), (200, "stopped"))
        r = l.create(c, "a", key="k1")
        eq((r.status, r.vm()["status"]), (201, "stopped"))
        # nor does one of what had nothing to do
        eq(l.call(c, START, "a").status, 200)
        eq(l.call(c, START, "a", key="k5").status, 200)
        eq(l.call(c, STOP, "a").status, 200)
        l.restart()
        c = l.client(l.user)
        eq(l.call(c, START, "a", key="k5").vm()["status"], "stopped")
        # deleted
        eq(l.call(c, DELETE, "a", key="k4").status, 204)
        eq(l.create(c, "a", key="k1").status, 410)
        eq(l.call(c, START, "a", key="k3").status, 410)
        eq(l.create(c, "a").status, 201)
        eq(l.call(c, DELETE, "a", key="k4").status, 204)
        eq(l.state(c, "a"), "running")  # the name is another VM's now
        eq(len(l.vms(c)), 1)


def keys_bounded():
    """A caller's 4,097th key costs it the first, here and in the store."""
    with up() as l:
        c, other = l.client(l.user), l.client(0)
        eq(l.create(other, "o", key="theirs").status, 201)
        eq(l.create(c, "a", key="k").status, 201)
        for i in range(2048):
            l.call(c, STOP, "a", key="s%d" % i)
            l.call(c, START, "a", key="t%d" % i)
        for _ in range(2):
            eq(l.create(c, "a", key="k").status, 409)
            eq(l.create(other, "o", key="theirs").status, 201)
            l.restart()
            c, other = l.client(l.user), l.client(0)


# -- events ----------------------------------------------------------------------

def events():
    with up() as l:
        c = l.client(l.user)
        parked = l.client(l.user)
        rid = l.ask(parked, EVENTS, after=NOW)
        l.settle()
        assert rid not in l.res
        l.create(c, "a")
        got = doc_list(l.answer(rid).tail, event_view)
        eq((got[0]["type"], got[0]["name"]), ("VM_CREATED", "a"))
        l.call(c, STOP, "a")
        l.call(c, DELETE, "a")
        want = ["VM_CREATED", "VM_RUNNING", "VM_READY", "VM_STOPPED",
                "VM_DELETED"]
        all_ = l.events(l.client(l.user))
        eq([e["type"] for e in all_], want)
        eq([e["id"] for e in all_], [1, 2, 3, 4, 5])
        l.restart()
        eq(l.events(l.client(l.user)), all_)
        eq(l.events(l.client(l.user), after=3), all_[3:])
        # a number of another store means from here on
        far = l.client(l.user)
        rid = l.ask(far, EVENTS, after=2**63 + 7)
        l.settle()
        assert rid not in l.res
        far.sock.close()  # who is parked and hangs up is forgotten
        l.until(lambda: far.id in l.gone, "API_GONE")
        c = l.client(l.user)
        l.create(c, "b")
        eq(l.events(l.client(l.user))[-1]["id"], 8)


def events_at_once():
    """Who begins is told where it is, as the disk has it (I14)."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.settle()
        r = l.call(l.client(l.user), EVENTS, after=1, flags=AT_ONCE)
        eq((r.status, r.last, len(doc_list(r.tail, event_view))), (200, 3, 2))
        for after in (NOW, 2**63 + 7, 3):
            r = l.call(l.client(l.user), EVENTS, after=after, flags=AT_ONCE)
            eq((r.status, r.last, doc_list(r.tail, event_view)), (200, 3, []))
        eq(l.call(l.client(l.stranger), EVENTS, after=NOW,
                  flags=AT_ONCE).status, 403)
        import sqlite3
        db = sqlite3.connect(l.store + "/store.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")  # longer than orchd's patience
        l.launch.exit(uid, EXIT_PANIC, b"oops")
        l.until(lambda: "state not written" in l.log(), "failed write")
        r = l.call(l.client(l.user), EVENTS, after=NOW, flags=AT_ONCE)
        eq((r.status, r.last), (200, 3))
        db.execute("ROLLBACK")
        db.close()
        l.until(lambda: not l.leaks(c), "convergence", 15)
        types = [e["type"] for e in l.events(l.client(l.user), after=r.last)]
        eq(types[-1], "VM_CRASHED")


def events_trimmed():
    import sqlite3
    with up() as l:
        c = l.client(l.user)
        l.create(c, "a")
        # else VM_READY comes after the restart
        l.until(lambda: len(l.events(l.client(l.user))) == 3, "VM_READY")
        l.kill()
        db = sqlite3.connect(l.store + "/store.db")
        db.execute("UPDATE tenant SET last_seq = 10100")
        db.commit()
        db.close()
        l.start()
        c = l.client(l.user)
        l.call(c, STOP, "a")
        got = l.events(l.client(l.user))
        eq([e["type"] for e in got], ["VM_STOPPED"])
        eq(got[0]["id"], 10101)


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
        eq(v["host-1"]["mem"], 96)
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


def row_unreadable():
    """A VM is never taken for one that is not there: orchd ends, and says
    which it is and why."""
    for change, want in (
            ("state = 77", "vm uid 2b51ca69f40f1f67 name web: state: 77"),
            ("request = '{}'", "name web: name: required"),
            ("request_v = 9", "name web: VMCreate of version 9, newer")):
        with Peers() as l:
            golden(l, "store_v3.sql", lambda db: db.execute(
                "UPDATE vm SET %s WHERE name = 'web'" % change))
            l.start(peers=False)
            eq(l.p.wait(10) != 0, True)
            assert want in l.log(), l.log()


# -- streams, doctor -----------------------------------------------------------------

def streams():
    with up() as l:
        c = l.client(l.user)
        eq(l.call(c, STREAM, "a", kind=1).status, 404)
        l.launch.run = lambda uid: (
            l.launch.vms[uid].__setitem__(0, LV_RUNNING),
            l.launch.event(uid, LE_RUNNING, pid=9))
        uid = l.create(c, "a").vm()["uid"]
        eq(l.call(c, STREAM, "a", kind=0).status, 400)
        eq(l.call(c, STREAM, "a", kind=1).status, 503)  # its agent is not up
        l.launch.event(uid, LE_READY)
        l.settle()
        before = len(os.listdir("/proc/%d/fd" % l.p.pid))
        for kind, flags in ((1, 0), (2, 0), (3, 1)):
            r = l.call(c, STREAM, "a", kind=kind, flags=flags)
            eq(r.status, 101)
            head, fd = l.until(lambda: l.launch.streams and
                               l.launch.streams.pop(), "LAUNCH_STREAM")
            eq(head, (uid, kind, flags))
            mine, theirs = socket.socket(fileno=r.fd), socket.socket(fileno=fd)
            mine.settimeout(2)
            theirs.settimeout(2)
            mine.send(b"up")
            eq(theirs.recv(10), b"up")
            theirs.close()
            eq(mine.recv(10), b"")  # orchd keeps neither
            mine.close()
        eq(len(os.listdir("/proc/%d/fd" % l.p.pid)), before)
        l.call(c, STOP, "a")
        eq(l.call(c, STREAM, "a", kind=2).status, 409)


def doctor():
    with up() as l:
        c = l.client(l.user)
        l.launch.chan.send(L_CAPS, struct.pack(L_CAPF, 1, 0, 0, b"no \x1b[1mc", b"no \x1bv"))
        l.settle()
        got = doc_list(l.call(c, DOCTOR).tail, check_view)
        eq([n for n, _, _ in got], ["accelerator", "cgroup", "vsock",
                                    "network", "launcher", "room for vms"])
        eq([o for _, o, _ in got], [True, False, True, True, True, True])
        assert got[2][2].endswith("no ?v"), got[2]
        l.launch.chan.send(L_CAPS, struct.pack(L_CAPF, 1, 0, 1, b"", b""))
        l.settle()
        got = doc_list(l.call(c, DOCTOR).tail, check_view)
        assert "AF_VSOCK" in got[2][2], got[2]


# -- convergence (I7) ------------------------------------------------------------------

def helper_errors():
    with up() as l:
        c = l.client(l.user)

        def no_tap(kind, ident, p):
            if kind == TAP_OPEN:
                l.net.err(ident, -28, b"no \x1b[31mroom\xff")
                return True
        l.net.hook = no_tap
        r = l.create(c, "a")
        eq(r.status, 500)
        assert "did not start: no ?[31mroom?" in r.error(), r
        eq(l.get(c, "a").vm()["status"], "crashed")
        l.net.hook = None
        eq(l.call(c, START, "a").status, 200)

        def no_start(kind, ident, p):
            if kind == L_START:
                l.launch.err(ident, struct.unpack_from("=Q", p)[0])
                return True
        l.launch.hook = no_start
        eq(l.create(c, "b").status, 500)
        eq(l.call(c, DELETE, "b").status, 204)
        l.launch.hook = None
        eq(l.leaks(c), [])
        # a STOP that fails is sent again; one for a VM it lost ends it
        n = []

        def no_stop(kind, ident, p):
            if kind == L_STOP and len(n) < 2:
                n.append(1)
                l.launch.err(ident, struct.unpack_from("=Q", p)[0])
                return True
        l.launch.hook = no_stop
        eq(l.call(c, STOP, "a").status, 200)
        eq(len(n), 2)
        l.launch.hook = None
        eq(l.call(c, START, "a").status, 200)
        l.launch.vms.clear()
        eq(l.call(c, STOP, "a").status, 200)
        # releases that fail go on until they do not
        eq(l.call(c, START, "a").status, 200)
        m = []

        def no_release(kind, ident, p):
            if kind == L_RELEASE and len(m) < 3:
                m.append(1)
                l.launch.err(ident, struct.unpack_from("=Q", p)[0])
                return True
        l.launch.hook = no_release
        eq(l.call(c, DELETE, "a").status, 204)
        eq(len(m), 3)
        eq(l.leaks(c), [])


def twice_and_late():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        for kind, ident, p in list(l.net.log) + list(l.launch.log):
            if kind == TAP_OPEN:
                l.net.ready(ident, uid)
                l.net.err(ident, -5)
            elif kind == L_START:
                l.launch.done(ident, uid)
                l.launch.err(ident, uid)
        l.launch.event(uid, LE_RUNNING, pid=5001)
        l.launch.event(uid, LE_READY)
        l.settle()
        eq(l.state(c, "a"), "running")
        l.launch.exit(uid, EXIT_KILLED, b"signal 9", 9)
        l.launch.event(uid, LE_EXITED, reason=EXIT_OFF)
        l.await_state(c, "a", "crashed")
        v = l.get(c, "a").vm()
        eq((v["reason"], v["exit"], v["pid"]),
           ("hypervisor killed: signal 9", 137, 0))
        l.settle()
        # the end of a life that is over does not end the next
        waiting = held_up(l, l.launch, L_RELEASE)
        l.settle()
        eq(l.call(c, START, "a").status, 200)
        l.launch.exit(uid)
        l.await_state(c, "a", "stopped")
        l.until(lambda: waiting, "RELEASE")
        rid = l.ask(c, START, "a")
        l.settle()
        l.launch.event(uid, LE_EXITED, reason=EXIT_KILLED)
        l.launch.event(uid, LE_RUNNING, pid=4)
        let_go(l.launch, waiting)
        eq(l.answer(rid).status, 200)
        eq(l.leaks(c), [])
        types = [e["type"] for e in l.events(l.client(l.user))]
        eq(types.count("VM_READY"), 3)


def never_answered():
    """Deadlines: one VM waits for its tap, one for START, one for what came
    of it, one for its stop."""
    with up(ready_ms=1000) as l:
        cs = [l.client(l.user) for _ in range(4)]
        uid = l.create(cs[3], "stop").vm()["uid"]
        drop = {"tap": TAP_OPEN, "start": L_START}
        run, l.launch.run = l.launch.run, lambda uid: None

        def net_hook(kind, ident, p):
            return kind == TAP_OPEN and len([m for m in l.net.log
                                             if m[0] == TAP_OPEN]) == 2

        def launch_hook(kind, ident, p):
            if kind == L_STOP:
                l.launch.done(ident, uid)
                return True
            return kind == L_START and len([m for m in l.launch.log
                                            if m[0] == L_START]) == 2
        l.net.hook, l.launch.hook = net_hook, launch_hook
        rids = []
        for c, n in zip(cs, ("tap", "start", "event")):
            rids.append(l.ask(c, CREATE, doc=vm_create(n)))
            l.settle(0.02)
        rids.append(l.ask(cs[3], STOP, "stop"))
        eq([l.answer(r, 20).status for r in rids], [500, 500, 500, 200])
        l.settle(0.3)
        eq(l.leaks(cs[0]), [])
        eq(sorted(v["status"] for v in l.vms(cs[0])), ["crashed"] * 3 + ["stopped"])


def other_lists():
    """Helpers that come back holding something else than before."""
    with up() as l:
        c = l.client(l.user)
        uid = {n: l.create(c, n).vm()["uid"] for n in
               ("same", "missing", "gone", "stopped", "dying")}
        l.call(c, STOP, "stopped")
        slot = l.launch.vms[uid["gone"]][1]
        del l.launch.vms[uid["missing"]]
        l.launch.vms[uid["gone"]][0] = LV_GONE
        l.launch.vms[uid["stopped"]] = [LV_READY, 3, 77]  # nobody wants it
        l.launch.vms[0xabcdef] = [LV_RUNNING, 40, 78]  # nor knows this one
        l.net.taps[0xabcdef] = (40, 0x0a4d0063, b"\x02aaaaa")
        l.launch.vms[uid["dying"]][0] = LV_STOPPING
        l.net.chan.close()
        l.launch.chan.close()
        l.settle()
        eq(l.state(c, "same"), "running")
        l.plumb(ROOM_NETD)
        l.plumb(ROOM_LAUNCHD)
        for n in ("missing", "gone"):
            l.await_state(c, n, "crashed")
            assert l.get(c, n).vm()["reason"]
        l.launch.exit(uid["dying"], EXIT_STOPPED)
        l.await_state(c, "dying", "stopped")
        eq(l.state(c, "same"), "running")
        eq(l.leaks(c), [])
        assert 0xabcdef not in l.launch.vms and 0xabcdef not in l.net.taps
        # adopted, and told to be made good
        assert [m for m in l.net.log if m[0] == TAP_OPEN and
                struct.unpack(TAP, m[2])[0] == uid["same"] and
                struct.unpack(TAP, m[2])[5] == ADOPT]
        assert [m for m in l.net.log if m[0] == NET_ENSURE]
        eq(l.launch.starts[uid["same"]], 1)


def ended_before_list():
    """A new launchd that ends a half-made start, and says so before and after
    it lists it: the start is made again, the run that ended is over."""
    with up() as l:
        c = l.client(l.user)
        ran = l.create(c, "ran").vm()["uid"]
        run, l.launch.run = l.launch.run, lambda uid: None
        rid = l.ask(c, CREATE, doc=vm_create("half"))
        l.until(lambda: len(l.launch.vms) == 2, "START")
        l.settle()
        l.launch.chan.close()

        def said(kind, ident, p):
            if kind != L_LIST:
                return False
            for again in (False, True):
                for uid in l.launch.vms:
                    l.launch.vms[uid][0] = LV_GONE
                    l.launch.event(uid, LE_EXITED, reason=EXIT_PANIC,
                                   detail=b"oops")
                if not again:
                    l.launch.act(kind, ident, p)
            return True
        l.launch.hook, l.launch.run = said, run
        l.plumb(ROOM_LAUNCHD)
        eq(l.answer(rid).status, 201)
        l.await_state(c, "ran", "crashed")
        eq(l.launch.starts[ran], 1)
        eq(l.leaks(c), [])


def gone_meanwhile():
    """A helper dies with each request in its hands, then comes back."""
    for where, room, kind in (("net", ROOM_NETD, TAP_OPEN),
                              ("launch", ROOM_LAUNCHD, L_START),
                              ("launch", ROOM_LAUNCHD, L_STOP),
                              ("launch", ROOM_LAUNCHD, L_RELEASE),
                              ("net", ROOM_NETD, TAP_CLOSE)):
        for done in (False, True):
            with up() as l:
                h = getattr(l, where)
                c = l.client(l.user)
                waiting = held_up(l, h, kind)
                rid = l.ask(c, CREATE, doc=vm_create("a"))
                verb = {TAP_OPEN: None, L_START: None, L_STOP: STOP}.get(
                    kind, DELETE)
                if verb:
                    eq(l.answer(rid).status, 201)
                    rid = l.ask(c, verb, "a")
                l.until(lambda: waiting, "request")
                if done:  # done, but the answer is lost with it
                    with contextlib.suppress(Gone):
                        real, h.chan = h.chan, Chan(socket.socketpair()[0], None)
                        let_go(h, waiting)
                    h.chan = real
                    for v in l.launch.vms.values():
                        v[0] = LV_READY if v[0] == LV_STARTING else v[0]
                h.chan.close()
                h.hook = None
                l.settle()
                l.plumb(room)
                got = l.answer(rid).status
                eq(got, {None: 201, STOP: 200, DELETE: 204}[verb])
                eq(l.leaks(c), [])
                assert done or max(l.launch.starts.values(), default=0) <= 1


def unread():
    """A helper that is dead already, but not yet noticed, costs no VM."""
    with up() as l:
        c = l.client(l.user)
        os.kill(l.p.pid, signal.SIGSTOP)
        rid = l.ask(c, CREATE, doc=vm_create("a"))
        l.net.chan.close()
        os.kill(l.p.pid, signal.SIGCONT)
        l.settle(0.1)
        l.plumb(ROOM_NETD)
        eq(l.answer(rid).status, 201)


def watchdog():
    """EXIT_NO_AGENT: one retry, then crashed; ready in between rearms it."""
    with up() as l:
        c = l.client(l.user)
        fails = [2]

        def run(uid):
            l.launch.vms[uid][0] = LV_RUNNING
            l.launch.event(uid, LE_RUNNING, pid=l.launch.vms[uid][2])
            if fails[0]:
                fails[0] -= 1
                l.launch.exit(uid, EXIT_NO_AGENT)
            else:
                l.launch.event(uid, LE_READY)
        l.launch.run = run
        l.create(c, "a")
        l.await_state(c, "a", "crashed")
        eq(list(l.launch.starts.values()), [2])
        assert "agent" in l.get(c, "a").vm()["reason"]
        fails[0] = 1
        l.call(c, START, "a")
        l.until(lambda: l.get(c, "a").vm()["ready"], "ready")
        eq(list(l.launch.starts.values()), [4])
        eq(l.leaks(c), [])


def stop_flushes():
    """BOOT_STOP and SIGTERM: what was told is written, exit status 0."""
    for how in ("stop", "term", "eof"):
        with up() as l:
            c = l.client(l.user)
            waiting = held_up(l, l.launch, L_START)
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
        l.launch.exit(uid, EXIT_PANIC, b"oops")
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

POINTS = [(CREATE, 1), (NET_ENSURE, 1), (TAP_OPEN, 1), (TAP_READY, 1),
          (L_ATTACH, 1), (L_ATTACH, 2), (L_START, 1), (L_DONE, 1),
          (L_EVENT, 1), (L_EVENT, 2), (API_RES, 1), (DELETE, 1),
          (L_RELEASE, 1), (L_DONE, 2), (TAP_CLOSE, 1), (NET_DONE, 2),
          (API_RES, 2), (API_CONN, 1), (NET_LIST_END, 1), (L_LIST_END, 1)]


# what a helper may come to read when orchd has long been dead
LATE = [(NET_ENSURE, 1), (TAP_OPEN, 1), (L_START, 1),
        (L_RELEASE, 1), (TAP_CLOSE, 1)]


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
    eq(again(lambda c: l.create(c, "b")).vm()["ip"], "10.77.0.2")
    types = [e["type"] for e in again(lambda c: l.events(c)) if e["name"] == "a"]
    for t in ("VM_CREATED", "VM_RUNNING", "VM_DELETED"):
        eq(types.count(t), 1)
    eq(len(l.launch.starts) - 1, 1)  # one uid for "a", one for "b"
    return len(dead)


# -- hostile rooms (I1, I2, I10) ---------------------------------------------------------

def refused(l, room, send, told=True):
    """The channel of that room is closed, mewsd told of it, and orchd lives on."""
    chan = l.api.get(room) or {ROOM_NETD: l.net, ROOM_LAUNCHD: l.launch}[room].chan
    l.settle(0.02)
    l.faults.clear()
    l.ended.clear()
    life = l.lives[room]
    with contextlib.suppress(Gone):
        send(chan)
    l.until(lambda: chan.closed, "refusal", 3)
    if told:
        l.until(lambda: l.faults == [(room, life)], "BOOT_FAULT", 3)
    else:
        l.until(lambda: l.ended == [(room, life)], "BOOT_ENDED", 3)
        eq(l.faults, [])
    assert l.alive()
    l.api.pop(room, None)
    l.plumb(room)


def other_apids_connection():
    """An apid that names a connection it was not given."""
    with up() as l:
        victim = l.client(0)
        l.client(l.user)
        for send in (
                lambda ch: l.ask(victim, CREATE, doc=vm_create("x"),
                                 room=ROOM_API),
                lambda ch: ch.send(CLOSED, struct.pack(CONN, victim.id))):
            refused(l, ROOM_API, send)
            assert not victim.hung_up()
        eq(l.vms(victim), [])


def hostile_apid():
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before = l.vms(root)
        user = lambda: l.client(l.user)
        head = lambda c, **kw: struct.pack(
            REQ, c.id, kw.get("after", 0), kw.get("kind", 0),
            kw.get("flags", 0), kw.get("name", b""), kw.get("key", b""))

        def two(ch):
            c = user()
            waiting = held_up(l, l.launch, L_START)
            l.ask(c, CREATE, doc=vm_create("b"))
            l.until(lambda: waiting, "START")
            try:
                l.ask(c, GET, "b")
                l.until(lambda: ch.closed, "refusal", 3)
            finally:
                let_go(l.launch, waiting)
        two.__name__ = "two requests on one connection"
        bad = [
            lambda ch, c: ch.send(GET, head(c), 0),
            lambda ch, c: ch.send(GET, head(c)[:-1], 9),
            lambda ch, c: ch.send(GET, head(c) + b"x", 9),
            lambda ch, c: ch.send(GET, b"", 9),
            lambda ch, c: ch.send(GET, head(c, kind=4), 9),
            lambda ch, c: ch.send(GET, head(c, flags=2), 9),
            lambda ch, c: ch.send(GET, head(c, name=b"x" * 64), 9),
            lambda ch, c: ch.send(GET, head(c, key=b"x" * 128), 9),
            lambda ch, c: ch.send(GET, bytes(len(head(c))), 9),
            lambda ch, c: ch.send(GET, head(c), 9, [0]),
            lambda ch, c: ch.send(GET, head(c), 9, [0, 0]),
            lambda ch, c: ch.send(GET, head(c), 9, lie=1),
            lambda ch, c: ch.send(CREATE, head(c) + bytes(8193), 9),
            lambda ch, c: ch.send(CREATE, head(c), 9, [0]),
            lambda ch, c: ch.send(CREATE, head(c), 9, [memfd(b"x" * 99, 0)]),
            lambda ch, c: ch.send(CREATE, head(c), 9, [memfd(b"x" * 99, 8)]),
            lambda ch, c: ch.send(CREATE, head(c) + vm_create("z"), 9,
                                  [memfd(vm_create("y"))]),
            lambda ch, c: ch.send(CLOSED, bytes(8)),
            lambda ch, c: ch.send(CLOSED, struct.pack("=QQ", c.id, 0)),
            lambda ch, c: ch.send(API_CONN, struct.pack(CONN, c.id)),
            lambda ch, c: ch.send(API_RES, bytes(40)),
            lambda ch, c: ch.send(L_RELEASE, bytes(8)),
            lambda ch, c: ch.send(0xffffffff, b""),
            lambda ch, c: ch.sock.send(b"x"),
        ]
        for i, b in enumerate(bad):
            try:
                refused(l, ROOM_API, lambda ch: b(ch, user()))
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        refused(l, ROOM_API, two)
        # recvmsg(2) cannot tell it from the end: the room took its leave
        refused(l, ROOM_API, lambda ch: ch.sock.send(b""), told=False)
        # ids that nobody has: as if it had hung up that moment
        c = user()
        for conn in (1, c.id + 1, c.id - 1000, 2**64 - 1):
            c2 = Client(None, conn, ROOM_API, None)
            l.ask(c2, DELETE, "a")
            l.api[ROOM_API].send(CLOSED, struct.pack(CONN, conn))
        l.settle()
        eq(l.call(c, GET, "a").status, 200)
        l.await_state(root, "b", "running")
        eq(l.call(root, DELETE, "b").status, 204)
        eq([v["uid"] for v in l.vms(root)], [v["uid"] for v in before])


def bad_documents():
    """Every truncation and 3,000 byte flips: an error or a good VM."""
    rnd = random.Random(7)
    with up() as l:
        c = l.client(l.user)
        good = vm_create("a", env=["A=1", "B=2"], kernel_cmdline="x", hostname="h")
        query = vm_query(status=["running"], q="a", limit=3, offset=1)
        for verb, doc in ((CREATE, good), (LIST, query)):
            for n in range(len(doc)):
                eq(l.call(c, verb, doc=doc[:n]).status, 400)
            eq(l.call(c, verb, doc=doc + b"\0").status, 400)
        eq(l.vms(c), [])
        eq(l.call(c, CREATE, fd=memfd(b"x" * 200000)).status, 413)
        made = 0
        for i in range(3000):
            d = bytearray(good if i % 4 else query)
            for _ in range(rnd.randint(1, 3)):
                d[rnd.randrange(len(d))] = rnd.choice((0, 1, 0x7f, 0x80, 0xff,
                                                       rnd.randrange(256)))
            r = l.call(c, CREATE if i % 4 else LIST, doc=bytes(d))
            if r.status == 201:
                made += 1
                eq(l.call(c, DELETE, r.vm()["name"]).status, 204)
            else:
                assert r.status in (200, 400, 404), r
        eq(l.vms(c), [])
        assert made


def answers_for_another():
    """netd cannot answer what launchd was asked, nor the other way round."""
    with up() as l:
        c = l.client(l.user)
        waiting = held_up(l, l.launch, L_START)
        rid = l.ask(c, CREATE, doc=vm_create("a"))
        ident, p = l.until(lambda: waiting and waiting[0][1:], "START")
        uid, = struct.unpack_from("=Q", p)
        for send in (lambda ch: ch.send(NET_DONE, b"", ident),
                     lambda ch: l.net.err(ident, -5),
                     lambda ch: l.net.ready(ident, uid)):
            refused(l, ROOM_NETD, send)
            eq(l.state(l.client(l.user), "a"), "starting")
            assert rid not in l.res
        let_go(l.launch, waiting)
        eq(l.answer(rid).status, 201)
        waiting = held_up(l, l.net, TAP_OPEN)
        rid = l.ask(c, CREATE, doc=vm_create("b"))
        ident, p = l.until(lambda: waiting and waiting[0][1:], "TAP_OPEN")
        uid, = struct.unpack_from("=Q", p)
        refused(l, ROOM_LAUNCHD, lambda ch: l.launch.done(ident, uid))
        let_go(l.net, waiting)
        eq(l.answer(rid).status, 201)
        eq(l.leaks(c), [])


def hostile_netd():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        tap = struct.pack(TAP, uid, 0, 0, 0x0a4d0063, b"\x02aaaaa", 0)
        for i, b in enumerate((
                lambda ch: ch.send(TAP_READY, bytes(15), 1),
                lambda ch: ch.send(TAP_READY, struct.pack(TAP_R, uid, 1, 9), 1),
                lambda ch: ch.send(NET_HELD, tap),  # nobody asked
                lambda ch: ch.send(NET_LIST_END, bytes(8)),
                lambda ch: ch.send(NET_HELD, tap[:-1]),
                lambda ch: ch.send(NET_HELD, tap * 300),
                lambda ch: ch.send(NET_ERR, struct.pack("=i192sI", -5, b"x" * 192, 0)),
                lambda ch: ch.send(NET_ERR, struct.pack(NERR, -5, b"x", 1)),
                lambda ch: ch.send(NET_DONE, b"", 1, [0]),
                lambda ch: ch.send(TAP_OPEN, tap),
                lambda ch: ch.send(CREATE, bytes(200)))):
            try:
                refused(l, ROOM_NETD, b)
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        for i in range(3000):  # a flood of what nobody waits for
            l.net.chan.send(NET_DONE, b"", i + 10**6)
            l.net.chan.send(TAP_READY, struct.pack(TAP_R, i, 1, 0), i + 10**6)
        l.settle()
        # a READY without its tap is no tap
        l.net.hook = lambda k, i, p: k == TAP_OPEN and (
            l.net.ready(i, struct.unpack_from("=Q", p)[0], False) or True)
        eq(l.create(c, "b").status, 500)
        l.net.hook = None
        eq(l.state(c, "a"), "running")
        eq(l.call(c, DELETE, "b").status, 204)
        eq(l.leaks(c), [])


def hostile_launchd():
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        eq(l.create(c, "s").status, 201)
        eq(l.call(c, STOP, "s").status, 200)
        stopped = l.get(c, "s").vm()["uid"]

        def ev(u=uid, kind=LE_RUNNING, pid=1, reason=0, rung=0, accel=1,
               conf=CONFINED, detail=b""):
            return struct.pack(L_EVF, u, kind, pid, reason, 0, rung, accel,
                               *conf, detail)
        for i, b in enumerate((
                lambda ch: ch.send(L_EVENT, ev(kind=0)),
                lambda ch: ch.send(L_EVENT, ev(kind=7)),
                lambda ch: ch.send(L_EVENT, ev(reason=11)),
                lambda ch: ch.send(L_EVENT, ev(rung=5)),
                lambda ch: ch.send(L_EVENT, ev(accel=3)),
                lambda ch: ch.send(L_EVENT, ev(u=0)),
                lambda ch: ch.send(L_EVENT, ev(pid=2**31)),
                lambda ch: ch.send(L_EVENT, ev(conf=(2, 0, 0, 0, 0, 0))),
                lambda ch: ch.send(L_EVENT, ev(detail=b"x" * 128)),
                lambda ch: ch.send(L_EVENT, ev()[:-1]),
                lambda ch: ch.send(L_EVENT, ev(), 0, [0]),
                lambda ch: l.launch.held(uid, LV_GONE, 0, 1),  # nobody asked
                lambda ch: ch.send(L_LIST_END, bytes(8)),
                lambda ch: ch.send(L_ERR, struct.pack(L_ERRF, uid, 5, 0, b"")),
                lambda ch: ch.send(L_CAPS, struct.pack(L_CAPF, 3, 0, 0, b"", b"")),
                lambda ch: ch.send(L_CAPS, struct.pack(L_CAPF, 1, 0, 0, b"x" * 112, b"")),
                lambda ch: ch.send(L_START, bytes(32)))):
            try:
                refused(l, ROOM_LAUNCHD, b)
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        send = l.launch.chan.send
        for u in (stopped, 0x77):  # what no one wants, what no one knows
            for kind in range(1, 7):
                send(L_EVENT, ev(u=u, kind=kind, pid=9))
        l.settle()
        eq(l.state(c, "s"), "stopped")
        n = len(l.events(l.client(l.user)))
        for _ in range(2000):  # a flood of news that is none
            send(L_EVENT, ev(kind=LE_READY))
            send(L_EVENT, ev(pid=5001))
        l.settle()
        eq(len(l.events(l.client(l.user))), n)
        send(L_EVENT, ev(conf=(1, 1, 9, 2**32 - 1, 1, 0), pid=2**31 - 1))
        l.settle()
        eq(l.get(c, "a").vm()["status"], "running")


def words_of_helpers():
    """What a helper says reaches a reader as one clean line: apid's tables
    refuse anything else, and the whole list with it."""
    with up() as l:
        c = l.client(l.user)
        uid = l.create(c, "a").vm()["uid"]
        l.launch.exit(uid, EXIT_VMM, b"\x1b]0;x\x07\n\xff" + b"\xc3\xa9" * 40)
        l.await_state(c, "a", "crashed")
        eq(len(l.vms(c)), 1)
        assert l.get(c, "a").vm()["reason"].startswith("hypervisor error: ?]0;x")
        l.events(l.client(l.user))


# -- confinement (I4) ------------------------------------------------------------------

def confined():
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        mine = suite.status(os.getpid())
        for tid in os.listdir("/proc/%d/task" % l.p.pid):
            s = suite.status(int(tid)) if int(tid) == l.p.pid else None
            with open("/proc/%d/task/%s/status" % (l.p.pid, tid)) as f:
                s = {k: v.strip() for k, _, v in (x.partition(":") for x in f)}
            eq(set(s["Uid"].split()), {str(l.uid)})
            eq(set(s["Gid"].split()), {str(l.uid)})
            eq(s["Groups"], "")
            for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                eq(int(s[k], 16), 0)
            eq((s["NoNewPrivs"], s["Seccomp"]), ("1", "2"))
            eq(int(s["Seccomp_filters"]), int(mine["Seccomp_filters"]) + 1)
        eq(len(os.listdir("/proc/%d/task" % l.p.pid)), 2)
        eq(os.readlink("/proc/%d/root" % l.p.pid), os.path.realpath(l.store))
        eq(os.stat(l.store + "/store.db").st_mode & 0o777, 0o600)
        with open("/proc/%d/cmdline" % l.p.pid, "rb") as f:
            assert f.read().startswith(b"mews: orchd [1 vms]")
        for fd in os.listdir("/proc/%d/fd" % l.p.pid):
            to = os.readlink("/proc/%d/fd/%s" % (l.p.pid, fd))
            assert to.startswith(("socket:", "anon_inode:", "/dev/null",
                                  "pipe:",  # libevent's, for signals
                                 
                                  l.store, l.root)), to


# -- what it costs ------------------------------------------------------------------

def echo_us(n=10000):
    """What this machine takes, now, to wake a process, hand it a message and
    have its answer: us of that process's CPU time."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        here.close()
        while True:
            data = there.recv(4096)
            if not data:
                os._exit(0)
            there.send(data)
    there.close()
    for _ in range(n):
        here.send(bytes(256))
        here.recv(4096)
    here.close()
    used = os.wait4(pid, 0)[2]
    return (used.ru_utime + used.ru_stime) * 1e6 / n


def costs():
    n = 1000
    with up(max_vms=n, prefix=16, nofile=4096) as l:
        cs = [l.client(l.user) for _ in range(10)]
        for i in range(0, n, 10):
            rids = [l.ask(c, CREATE, doc=vm_create("v%d" % (i + j)))
                    for j, c in enumerate(cs)]
            for r in rids:
                eq(l.answer(r).status, 201)
        c = cs[0]
        before = l.cpu()
        for i in range(10000):
            l.call(c, GET, "v%d" % (i % n))
        get_us = (l.cpu() - before) * 100
        best, cpu = 9.0, l.cpu()
        for _ in range(20):
            t = time.monotonic()
            r = l.call(c, LIST, doc=vm_query())
            best = min(best, time.monotonic() - t)
        list_ms = (l.cpu() - cpu) * 1000 / 20
        eq(r.total, n)
        before = l.cpu()
        select.select([], [], [], 2.0)  # idleness has no event to wait for
        idle = l.cpu() - before
        t = time.monotonic()
        l.restart()
        c = l.client(l.user)
        l.get(c, "v1")
        back = time.monotonic() - t
        l.settle(0.3)
        eq(l.leaks(c), [])
        eq(max(l.launch.starts.values()), 1)
        echo = echo_us()
        print("GET %.1f us of CPU, %.1f echoes; list of 1,000: %.1f ms CPU, "
              "%.1f ms; idle %.0f ms in 2 s; back after %.0f ms" % (
                  get_us, get_us / echo, list_ms, best * 1e3, idle * 1e3,
                  back * 1e3))
        if not suite.sanitized.ON:  # every access is checked there
            assert get_us < 3 * echo and idle <= 0.01 and back < 1
            assert list_ms < max(5, 0.2 * echo)


CASES = dict(
    identity=identity, stranger=stranger, connections=connections,
    half_closed=half_closed, apid_dies=apid_dies,
    connection_cap=connection_cap,
    refused_late_writer=refused_late_writer, connection_share=connection_share,
    descriptors_exhausted=descriptors_exhausted, life=life, orders=orders,
    waiters=waiters, names=names, limits=limits, lists=lists,
    big_environment=big_environment, durable=durable, keys=keys,
    keys_bounded=keys_bounded, events=events, events_at_once=events_at_once,
    events_trimmed=events_trimmed, old_store=old_store,
    event_unreadable=event_unreadable, row_unreadable=row_unreadable,
    streams=streams, doctor=doctor, helper_errors=helper_errors,
    twice_and_late=twice_and_late, never_answered=never_answered,
    other_lists=other_lists,
    ended_before_list=ended_before_list, gone_meanwhile=gone_meanwhile, unread=unread,
    watchdog=watchdog, stop_flushes=stop_flushes, full_store=full_store,
    full_later=full_later, kill_at_messages=kill_at_messages,
    other_apids_connection=other_apids_connection, hostile_apid=hostile_apid,
    bad_documents=bad_documents, answers_for_another=answers_for_another,
    hostile_netd=hostile_netd, hostile_launchd=hostile_launchd,
    words_of_helpers=words_of_helpers, confined=confined, costs=costs)
CASES = {k.replace("_", "-"): v for k, v in CASES.items()}


def rules():
    """(rule, case) of the programs without a rule, from tests/rules."""
    with open(suite.TOP + "/tests/rules") as f:
        rows = [l.split() for l in f if l.strip() and l[0] != "#"]
    return [(r[0], r[3].split(":")[1]) for r in rows
            if r[2] == "mews-orchd" and r[3].startswith("orchd_test:")]


def control(rule, fn):
    global PROGRAM
    PROGRAM = "%s/build-off/%s/mews-orchd" % (suite.TOP, rule)
    try:
        fn()
    except (AssertionError, Gone, KeyError, TimeoutError):
        return
    finally:
        PROGRAM = None
    raise AssertionError("with %s off it does not fail" % rule)


def build():
    for argv in (["B=" + os.environ.get("B", "build"), "off-mews-orchd"],
                 ["B=build-test", "EXTRA=-DMEWS_TEST", "build-test/mews-orchd"]):
        p = subprocess.run(["make", *argv], cwd=suite.TOP, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            sys.exit(p.stdout)


if __name__ == "__main__":
    if "MEWS_TEST_HOST" not in os.environ and CONTROLS:
        build()
    suite.enter()
    cases = dict(CASES)
    if CONTROLS:
        for rule, name in rules():
            cases["%s without %s" % (name, rule)] = \
                lambda r=rule, f=CASES[name]: control(r, f)
    sys.exit(suite.run(cases))
