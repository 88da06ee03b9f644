#!/usr/bin/env python3
"""orchd alone: tenants, who is in them, and what is whose.

usage: orchd_tenant_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os

from orchd_failing_test import TEST_BUILD, Locked
from orchd_full_test import fill, small
from peers import *  # noqa: F403

T_LIST, T_GET = API_TENANT_LIST, API_TENANT_GET
T_CREATE, T_CHANGE, T_DELETE = (API_TENANT_CREATE, API_TENANT_CHANGE,
                                API_TENANT_DELETE)
GROUP = 4711


def user(uid, role):
    return {"kind": "user", "id": uid, "role": role}


def group(gid, role):
    return {"kind": "group", "id": gid, "role": role}


def make(l, name, *members, key="", c=None, **more):
    return l.call(c or l.client(), T_CREATE, key=key, doc=tables.pack(
        "TenantCreate", name=name, members=list(members), **more))


def change(l, name, *members, c=None, key="", **more):
    if members:
        more["members"] = list(members)
    return l.call(c or l.client(), T_CHANGE, name, key=key,
                  doc=tables.pack("TenantChange", **more))


def tenant(res):
    eq(res.kind, 2)
    return tables.unpack("Tenant", res.tail)


def get(l, name, c=None):
    return tenant(l.call(c or l.client(), T_GET, name))


def names(l, c):
    return [tables.unpack("Tenant", i)["name"]
            for i in tables.items(l.call(c, T_LIST).tail)]


def drop(l, name, force=False, key="", c=None):
    return l.call(c or l.client(), T_DELETE, name, key=key, doc=tables.pack(
        "TenantDelete", force="1") if force else b"")


def amounts(**kw):
    """All of them, what is not given as 0."""
    return {f["name"]: kw.get(f["name"], 0)
            for f in tables.TABLES["TenantAmounts"]}


def people(l):
    """Uids that mews.conf does not list."""
    return l.uids + 20, l.uids + 21, l.uids + 22


# -- the objects themselves --------------------------------------------------

def made():
    with up() as l:
        alice, _, _ = people(l)
        r = make(l, "a", user(alice, "operator"), group(GROUP, "viewer"),
                 quotas={"vms": 3, "memory_mb": 4096}, weight=7)
        eq(r.status, 201)
        t = tenant(r)
        eq(t["weight"], 7)
        eq((t["name"], t["status"], t["role"]), ("a", "active", "host admin"))
        eq(t["quotas"], amounts(vms=3, memory_mb=4096))
        eq(t["used"], amounts())
        eq([(m["kind"], m["id"], m["role"]) for m in t["members"]],
           [("user", alice, "operator"), ("group", GROUP, "viewer")])
        assert t["created_at"] > 0
        eq(make(l, "a").status, 409)
        eq(names(l, l.client()), ["a", "default"])
        eq(get(l, "default")["weight"], 1)  # as it comes
        before = get(l, "a")
        l.restart()
        eq(get(l, "a"), before)
        eq(change(l, "a", user(alice, "none"), suspended=True,
                  quotas={"vms": 0}).status, 200)
        t = get(l, "a")
        eq((t["status"], t["quotas"]["vms"], t["quotas"]["memory_mb"],
            t["weight"]), ("suspended", 0, 4096, 7))
        eq(change(l, "a", weight=100).status, 200)
        eq(get(l, "a")["weight"], 100)
        for bad in (0, 101):
            r = change(l, "a", weight=bad)
            eq(r.status, 400)
            assert "weight" in r.error(), r
        eq([(m["kind"], m["id"]) for m in t["members"]], [("group", GROUP)])
        eq(drop(l, "a").status, 204)
        eq(l.call(l.client(), T_GET, "a").status, 404)
        eq(drop(l, "a").status, 404)
        eq(drop(l, "default", force=True).status, 409)
        l.restart()
        eq(names(l, l.client()), ["default"])


def again():
    """The same key acts once, also after a restart."""
    with up() as l:
        eq(make(l, "a", key="k1").status, 201)
        eq(make(l, "a", key="k1").status, 201)
        eq(change(l, "a", key="k2", suspended=True).status, 200)
        eq(change(l, "a", suspended=False).status, 200)
        l.restart()
        eq(change(l, "a", key="k2", suspended=True).status, 200)
        eq(get(l, "a")["status"], "active")
        eq(drop(l, "a", key="k3").status, 204)
        l.restart()
        eq(drop(l, "a", key="k3").status, 204)
        eq(make(l, "a", key="k1").status, 410)
        eq(make(l, "b", key="k1").status, 422)


def bad():
    with up() as l:
        eq(make(l, "../x").status, 400)
        eq(make(l, "many", *(user(i + 1, "viewer") for i in range(128)))
           .status, 201)
        r = change(l, "many", user(5000, "viewer"))
        eq(r.status, 400)
        assert "at most 128: list a group" in r.error(), r
        eq(len(get(l, "many")["members"]), 128)
        eq(l.call(l.client(), T_CHANGE, "many", doc=b"\0" * 7).status, 400)
        eq(change(l, "nobody", suspended=True).status, 404)


# -- who is in one -----------------------------------------------------------

def whose():
    """Two tenants, a name in both, and nothing of one for the other."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", user(alice, "operator")).status, 201)
        eq(make(l, "b", user(bob, "operator")).status, 201)
        ca, cb, root = l.client(alice), l.client(bob), l.client()
        eq((ca.room, cb.room), (ROOM_API, ROOM_API))
        for c in (ca, cb):
            r = l.create(c, "web")
            eq(r.status, 201)
            eq(r.vm()["id"], 1)  # each counts for itself
        uid = {c: l.get(c, "web").vm()["uid"] for c in (ca, cb)}
        assert uid[ca] != uid[cb]
        eq(l.get(ca, "web").vm()["tenant"], "a")
        for c, other in ((ca, cb), (cb, ca)):
            eq([v["uid"] for v in l.vms(c)], [uid[c]])
            eq(l.get(c, "%016x" % uid[other]).status, 404)
            eq(l.call(c, DELETE, "%016x" % uid[other]).status, 404)
            eq([e["id"] for e in l.events(l.client(
                alice if c is ca else bob))], [1, 2, 3])
        eq(l.vms(root), [])  # of the default one
        r = l.call(root, LIST, doc=vm_query(), tenant="b")
        eq([v["uid"] for v in doc_list(r.tail, vm_view)], [uid[cb]])
        # the tenant of the other is as one that is not there
        no = l.call(ca, LIST, doc=vm_query(), tenant="nobody")
        r = l.call(ca, LIST, doc=vm_query(), tenant="b")
        eq((r.status, r.error().replace(" b,", " nobody,")),
           (no.status, no.error()))
        eq(r.status, 404)
        eq(l.call(ca, T_GET, "b").status, 404)
        eq(names(l, ca), ["a"])


def chosen():
    """Who is in several says which; the default one needs no word."""
    with up() as l:
        alice, bob, carol = people(l)
        eq(make(l, "a", user(alice, "operator"), group(GROUP, "viewer"))
           .status, 201)
        eq(make(l, "b", user(alice, "viewer"), user(l.user, "operator"))
           .status, 201)
        c = l.client(alice)
        r = l.call(c, LIST, doc=vm_query())
        eq(r.status, 400)
        assert "choose one" in r.error() and ": a, b" in r.error(), r
        eq(l.call(c, LIST, doc=vm_query(), tenant="a").status, 200)
        c = l.client(l.user)  # of mews.conf
        eq(l.create(c, "v").vm()["tenant"], "default")
        eq(l.call(c, CREATE, doc=vm_create("v"), tenant="b").vm()["tenant"],
           "b")
        # by a group, as the kernel says; and who is in none is a stranger
        for c in (l.client(carol, gid=GROUP), l.client(carol, [5], GROUP),
                  l.client(carol, [5, GROUP])):
            eq(l.call(c, LIST, doc=vm_query()).status, 200)
        r = l.create(c, "x")
        eq(r.status, 403)
        assert "you are viewer of tenant a, and this takes operator" \
            in r.error(), r
        r = l.call(l.client(bob), LIST, doc=vm_query())
        eq(r.status, 403)
        assert "is in no tenant" in r.error(), r
        eq(names(l, l.client(alice)), ["a", "b"])


ROLES = {
    "viewer": (LIST, GET, EVENTS, T_GET, T_LIST, DOCTOR),
    "operator": (CREATE, START, STOP, API_VM_RENAME, DELETE),
    "admin": (T_CHANGE,),
    "host admin": (T_CREATE, T_DELETE),
}
ORDER = list(ROLES)


def roles():
    """Every verb and stream with every kind of caller."""
    docs = {LIST: vm_query(), CREATE: vm_create("new"),
            API_VM_RENAME: tables.pack("VMRename", name="v2"),
            T_CREATE: tables.pack("TenantCreate", name="z"),
            T_CHANGE: tables.pack("TenantChange", members=[
                group(9, "viewer")])}
    with up() as l:
        uids = dict(zip(ORDER, people(l)))
        eq(make(l, "a", *(user(u, r) for r, u in uids.items())).status, 201)
        uids["host admin"] = 0
        eq(l.call(l.client(), CREATE, doc=vm_create("v"), tenant="a").status,
           201)
        for i, (least, verbs) in enumerate(ROLES.items()):
            for verb in verbs:
                for j, role in enumerate(ORDER):
                    if j >= i and verb in (DELETE, T_DELETE, T_CREATE, CREATE,
                                           API_VM_RENAME):
                        continue  # those who may: in other cases
                    c = l.client(uids[role])
                    rid = l.ask(c, verb, "a" if verb >= T_LIST else "v",
                                doc=docs.get(verb, b""), tenant="a")
                    l.settle(0.02)
                    got = l.res[rid].status if rid in l.res else 200
                    assert (got == 403) == (j < i), (verb, role, got)
        eq(l.call(l.client(), START, "v", tenant="a").status, 200)
        for kind, least in ((1, 1), (2, 1), (3, 0), (4, 1), (5, 0)):
            for j, role in enumerate(ORDER):
                c = l.client(uids[role])
                got = l.call(c, STREAM, "v", kind=kind, tenant="a").status
                eq((kind, role, got), (kind, role, 403 if j < least else 101))


def admins():
    """An admin of a tenant says who is in it; what it may have, he does not."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", user(alice, "admin")).status, 201)
        c = l.client(alice)
        eq(change(l, "a", user(bob, "viewer"), c=c).status, 200)
        for more in ({"quotas": {"vms": 9}}, {"suspended": False},
                     {"weight": 2}):
            r = change(l, "a", c=c, **more)
            eq(r.status, 403)
            assert "for host admins" in r.error(), r
        eq(make(l, "b", c=c).status, 403)
        eq(drop(l, "a", c=c).status, 403)
        eq(change(l, "default", user(alice, "admin"), c=c).status, 404)


# -- when that changes -------------------------------------------------------

def left():
    """Who is taken out, or may only look from now on, has nothing open that he
    may not have."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", user(alice, "operator"), user(bob, "operator"))
           .status, 201)
        eq(l.create(l.client(alice), "v").status, 201)

        def open_all(uid):
            console, log, reader, idle = (l.client(uid) for _ in range(4))
            eq(l.call(console, STREAM, "v", kind=2).status, 101)
            eq(l.call(log, STREAM, "v", kind=3).status, 101)
            l.ask(reader, EVENTS, after=NOW)
            l.settle()
            return console, log, reader, idle
        a, b = open_all(alice), open_all(bob)
        eq(change(l, "a", user(alice, "viewer")).status, 200)
        l.until(a[0].hung_up, "end of the console")
        assert not any(c.hung_up() for c in a[1:] + b)
        eq(l.create(a[3], "w").status, 403)  # on a connection of before
        eq(change(l, "a", user(alice, "none")).status, 200)
        for c in a[1:3]:
            l.until(c.hung_up, "end")
        eq(l.call(a[3], LIST, doc=vm_query()).status, 403)
        assert not any(c.hung_up() for c in b)
        eq(change(l, "a", suspended=True).status, 200)
        l.until(b[0].hung_up, "end of the console")
        assert not any(c.hung_up() for c in b[1:])
        r = l.create(l.client(bob), "w")
        eq(r.status, 403)
        assert "tenant a is suspended: its members may only look" in r.error()
        eq(l.vms(l.client(bob))[0]["status"], "running")
        eq(change(l, "a", suspended=False).status, 200)
        # nor is he told what becomes of what he asked before
        held = held_up(l, l.launch, LAUNCH_START)
        cs = [l.client(u) for u in (alice, bob, 0)]
        eq(change(l, "a", user(alice, "operator")).status, 200)
        rids = [l.ask(c, CREATE, doc=vm_create(n), tenant="a")
                for c, n in zip(cs, "wxy")]
        l.until(lambda: len(held) == 3, "starts")
        eq(change(l, "a", user(alice, "none"), user(bob, "viewer")).status, 200)
        l.until(cs[0].hung_up, "end of who waits")
        let_go(l.launch, held)
        eq([l.answer(r).status for r in rids[1:]], [201, 201])
        assert rids[0] not in l.res, l.res[rids[0]]


def deleted():
    """With force all that it has goes first, whatever restarts meanwhile."""
    with up() as l:
        alice, _, _ = people(l)
        eq(make(l, "a", user(alice, "operator")).status, 201)
        for n in "xyz":
            eq(l.create(l.client(alice), n).status, 201)
        reader = l.client(alice)
        l.ask(reader, EVENTS, after=NOW)
        r = drop(l, "a")
        eq(r.status, 409)
        assert "still has 3 vms" in r.error(), r
        held = held_up(l, l.launch, LAUNCH_RELEASE)
        c = l.client()
        l.ask(c, T_DELETE, "a", doc=tables.pack("TenantDelete", force="1"))
        l.until(lambda: len(held) == 3, "stops")
        eq(get(l, "a")["status"], "deleting")
        eq(l.create(l.client(alice), "w").status, 403)
        r = l.call(l.client(), CREATE, doc=vm_create("w"), tenant="a")
        eq((r.status, r.error()), (409, "tenant a is being deleted"))
        eq(change(l, "a", suspended=True).status, 409)
        l.launch.hook = None
        l.restart()
        l.until(lambda: l.call(l.client(), T_GET, "a").status == 404, "end")
        eq(l.launch.vms, {})
        eq(l.net.taps, {})
        eq(make(l, "a", user(alice, "operator")).status, 201)
        eq(l.vms(l.client(alice)), [])
        eq(l.events(l.client(alice)), [])
        # its reader hears its end
        reader = l.client(alice)
        l.ask(reader, EVENTS, after=NOW)
        l.settle()
        eq(drop(l, "a").status, 204)
        l.until(reader.hung_up, "end of the reader")


# -- what it may have --------------------------------------------------------

def quota():
    with up() as l:
        alice, _, _ = people(l)
        eq(make(l, "a", user(alice, "operator"),
                quotas={"vms": 2, "cpus": 3, "memory_mb": 1000}).status, 201)
        c = l.client(alice)
        eq(l.create(c, "x", cpu_cores=2, memory_mb=512).status, 201)
        for more, word in (({"cpu_cores": 2, "memory_mb": 128}, "cpus"),
                           ({"cpu_cores": 1, "memory_mb": 512}, "memory")):
            r = l.create(c, "y", **more)
            eq(r.status, 403)
            assert "quota %s of tenant a: it has" % word in r.error(), r
        eq(l.create(c, "y", cpu_cores=1, memory_mb=128).status, 201)
        r = l.create(c, "z", cpu_cores=1, memory_mb=128)
        eq(r.status, 403)
        assert "quota vms of tenant a: it has 2 of 2" in r.error(), r
        eq(get(l, "a")["used"], amounts(vms=2, cpus=3, memory_mb=640))
        l.restart()  # counted anew from what there is
        eq(get(l, "a")["used"], amounts(vms=2, cpus=3, memory_mb=640))
        eq(l.call(l.client(alice), DELETE, "x").status, 204)
        eq(get(l, "a")["used"], amounts(vms=1, cpus=1, memory_mb=128))
        eq(l.create(l.client(), "other").status, 201)  # nobody else's
        eq(get(l, "a")["used"]["vms"], 1)


def running():
    """Operations, streams and readers at once, requests a second: of members,
    not of host admins; and given back, however they end."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", user(alice, "operator"), user(bob, "operator"),
                quotas={"operations": 2, "streams": 2, "readers": 1})
           .status, 201)
        eq(l.create(l.client(alice), "v").status, 201)

        def refused(r, what):
            eq(r.status, 429)
            assert "quota %s of tenant a: it has" % what in r.error(), r
        # operations
        held = held_up(l, l.launch, LAUNCH_START)
        slow = [l.client(u) for u in (alice, bob)]
        rids = [l.ask(c, CREATE, doc=vm_create(n)) for c, n in
                zip(slow, ("x", "y"))]
        l.until(lambda: len(held) == 2, "starts")
        eq(get(l, "a")["used"]["operations"], 2)
        refused(l.create(l.client(bob), "z"), "operations")
        eq(len(l.vms(l.client(alice))), 3)  # what only looks is none
        slow[1].sock.close()  # it goes on without him, and counts
        l.until(lambda: slow[1].id in l.gone, "hang-up")
        eq(get(l, "a")["used"]["operations"], 2)
        refused(l.create(l.client(bob), "z"), "operations")
        let_go(l.launch, held)
        eq(l.answer(rids[0]).status, 201)
        l.until(lambda: get(l, "a")["used"]["operations"] == 0, "the end of both")
        eq(l.state(l.client(alice), "y"), "running")
        # also where nothing comes of it, or it is gone
        held = held_up(l, l.launch, LAUNCH_START)
        c = l.client(alice)
        l.ask(c, CREATE, doc=vm_create("z"))
        l.until(lambda: held, "start")
        c.sock.close()
        l.until(lambda: c.id in l.gone, "hang-up")
        d = l.client(alice)
        rid = l.ask(d, DELETE, "z")
        l.settle(0.05)  # the create is over, the delete is not
        eq(get(l, "a")["used"]["operations"], 1)
        let_go(l.launch, held)
        eq(l.answer(rid).status, 204)
        eq(get(l, "a")["used"]["operations"], 0)
        lock = Locked(l)
        c = l.client(alice)
        l.ask(c, STOP, "y")
        l.settle(0.1)
        c.sock.close()
        l.until(lambda: c.id in l.gone, "hang-up")
        eq(get(l, "a")["used"]["operations"], 1)
        l.until(lambda: get(l, "a")["used"]["operations"] == 0, "end of it")
        lock.free()
        # streams, and who may not have one gives his back
        cs = [l.client(u) for u in (alice, bob)]
        for c in cs:
            eq(l.call(c, STREAM, "v", kind=2).status, 101)
        refused(l.call(l.client(alice), STREAM, "v", kind=3), "streams")
        eq(l.call(cs[0], STREAM, "v", kind=2).status, 409)
        cs[0].sock.close()
        l.until(lambda: get(l, "a")["used"]["streams"] == 1, "one less")
        eq(l.call(l.client(alice), STREAM, "nope", kind=2).status, 404)
        eq(get(l, "a")["used"]["streams"], 1)
        eq(l.call(l.client(), STREAM, "v", kind=2, tenant="a").status, 101)
        eq(get(l, "a")["used"]["streams"], 1)
        # readers
        c = l.client(alice)
        l.ask(c, EVENTS, after=NOW)
        l.settle()
        refused(l.call(l.client(bob), EVENTS, after=NOW), "readers")
        # a reader does nothing else beside it, whatever apid says
        l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=c.id)))
        c = l.client(bob)
        eq(l.call(c, EVENTS, flags=AT_ONCE).status, 200)
        eq(l.call(c, STREAM, "v", kind=1).status, 409)
        eq(get(l, "a")["used"]["streams"], 1)
        eq(l.call(c, EVENTS, flags=AT_ONCE).status, 200)
        # nor of another tenant, which would not count it
        eq(make(l, "b", user(bob, "viewer")).status, 201)
        eq(l.call(c, EVENTS, flags=AT_ONCE, tenant="b").status, 409)
        eq(l.call(l.client(bob), EVENTS, flags=AT_ONCE, tenant="b").status, 200)
        # who is in it is changed like anything else
        eq(change(l, "b", user(bob, "admin")).status, 200)
        boss, lock = l.client(bob), Locked(l)
        l.ask(boss, T_CHANGE, "b", doc=tables.pack(
            "TenantChange", members=[user(alice, "viewer")]))
        l.settle(0.1)
        eq(get(l, "b")["used"]["operations"], 1)
        lock.free()


def rate():
    with up() as l:
        alice, _, _ = people(l)
        eq(make(l, "a", user(alice, "viewer"), quotas={"requests": 5}).status,
           201)
        c = l.client(alice)
        got = [l.call(c, LIST, doc=vm_query()) for _ in range(20)]
        n = sum(r.status == 200 for r in got)
        assert 10 <= n <= 12, [r.status for r in got]
        eq({r.status for r in got}, {200, 429})
        assert "have 5 a second" in got[-1].error(), got[-1]
        eq(l.call(l.client(), LIST, doc=vm_query(), tenant="a").status, 200)
        # so is what is about no tenant; and a reader that begins anew
        for verb, flags in ((DOCTOR, 0), (T_LIST, 0), (EVENTS, AT_ONCE)):
            got = [l.call(c, verb, flags=flags).status for _ in range(15)]
            assert set(got) >= {429} and got[-1] == 429, (verb, got)
        # of who is in several any may have one left
        eq(make(l, "b", user(alice, "viewer")).status, 201)
        eq(l.call(c, DOCTOR).status, 200)
        eq(l.call(c, LIST, doc=vm_query(), tenant="a").status, 429)
        eq(drop(l, "b").status, 204)
        # the default one first
        eq(make(l, "aa", user(l.user, "viewer"), quotas={"requests": 1})
           .status, 201)
        c2 = l.client(l.user)
        for _ in range(5):
            eq(l.call(c2, DOCTOR).status, 200)
        eq(l.call(c2, LIST, doc=vm_query(), tenant="aa").status, 200)
        eq(change(l, "a", quotas={"requests": 0}).status, 200)
        eq(l.call(c, LIST, doc=vm_query()).status, 200)


def not_written():
    """What the disk does not take is not so: no tenant, no member, no VM
    charged."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", user(alice, "operator"),
                quotas={"vms": 1, "readers": 1}).status, 201)
        root, ca = l.client(), l.client(alice)
        lock = Locked(l)
        for verb, name, doc in (
                (T_CREATE, "", tables.pack("TenantCreate", name="b",
                                           members=[user(bob, "viewer")])),
                (T_CHANGE, "a", tables.pack("TenantChange", members=[
                    user(bob, "operator")]))):
            rid = l.ask(root, verb, name, doc=doc)
            l.settle(0.1)
            eq(l.call(l.client(bob), LIST, doc=vm_query()).status, 403)
            assert rid not in l.res
            eq(l.answer(rid, 10).status, 500)
        # nor is more of a quota there before it is kept
        rid = l.ask(root, T_CHANGE, "a", doc=tables.pack(
            "TenantChange", quotas={"vms": 0, "readers": 9}))
        got = [l.call(c, EVENTS, flags=AT_ONCE) for c in
               (l.client(alice), l.client(alice))]
        eq([r.status for r in got], [200, 429])
        assert "it has 1 of 1" in got[1].error(), got[1]
        eq(l.answer(rid, 10).status, 500)
        eq(l.create(ca, "v").status, 500)
        lock.free()
        eq(get(l, "a")["used"]["vms"], 0)
        eq([m["id"] for m in get(l, "a")["members"]], [alice])
        eq(names(l, l.client()), ["a", "default"])
        eq(l.create(l.client(alice), "v").status, 201)
        eq(make(l, "b").status, 201)


def full():
    """A full disk: 507 for what takes something in, and what ends something is
    written."""
    l = Peers()
    with small(l):
        l.start()
        alice, bob, _ = people(l)
        for n in "ab":
            eq(make(l, n, user(alice, "operator")).status, 201)
        eq(l.call(l.client(alice), CREATE, doc=vm_create("v"), tenant="a")
           .status, 201)
        fill(l)
        eq(make(l, "c").status, 507)
        r = change(l, "a", user(bob, "viewer"))
        eq((r.status, r.error()),
           (507, "tenant a: not done: the store is full"))
        eq(l.call(l.client(bob), LIST, doc=vm_query()).status, 403)
        eq(change(l, "a", suspended=True).status, 200)
        eq(change(l, "b", user(alice, "none")).status, 200)
        eq(drop(l, "a", force=True).status, 204)
        eq(names(l, l.client()), ["b", "default"])
        eq(l.call(l.client(alice), LIST, doc=vm_query()).status, 403)


def death():
    """kill -9 before and after each, and when it is on the disk and not told:
    under its key it is done once, and what is used is what there is."""
    for verb in (T_CREATE, T_CHANGE, T_DELETE, CREATE):
        for kind, when in ((verb, 1), (verb, 2), (API_RES, 1), (API_RES, 2)):
            with Peers(program=TEST_BUILD + "/mews-orchd") as l:
                # the tenant itself is the first that is made
                l.start(kill=(kind, 2 if kind in (T_CREATE, API_RES) else 1,
                              when))
                alice, _, _ = people(l)
                eq(make(l, "a", user(alice, "operator"), quotas={"vms": 1})
                   .status, 201)

                def act():
                    if verb == T_CREATE:
                        return make(l, "b", key="k")
                    if verb == T_CHANGE:
                        return change(l, "a", suspended=True, key="k")
                    if verb == T_DELETE:
                        return drop(l, "a", key="k")
                    return l.create(l.client(alice), "v", key="k")
                with contextlib.suppress(Gone):
                    act()
                l.p.wait(DEADLINE)
                l.restart()
                eq(act().status, {T_CHANGE: 200, T_DELETE: 204}.get(verb, 201))
                eq(act().status, {T_CHANGE: 200, T_DELETE: 204}.get(verb, 201))
                eq(names(l, l.client()),
                   {T_CREATE: ["a", "b", "default"],
                    T_DELETE: ["default"]}.get(verb, ["a", "default"]))
                if verb == CREATE:
                    eq(get(l, "a")["used"]["vms"], 1)
                    eq(l.create(l.client(alice), "w").status, 403)
                    eq(l.leaks(l.client(alice)), [])


def crowd():
    """Of who is in more groups than there may be none counts; he is as the others
    by his own name."""
    with up() as l:
        alice, bob, _ = people(l)
        eq(make(l, "a", group(GROUP, "viewer"), user(bob, "viewer")).status,
           201)
        few, many = range(5000, 6023), range(5000, 6024)
        eq(l.call(l.client(alice, [*few, GROUP]), LIST, doc=vm_query()).status,
           200)
        eq(l.call(l.client(alice, [*many, GROUP]), LIST, doc=vm_query()).status,
           403)
        for i in range(20):  # a stranger's lines are not the log's
            l.client(alice + i % 2, [*many, GROUP]).sock.close()
        eq(l.log().count("more than 1024 groups: none of them counts"), 1)
        eq(l.call(l.client(bob, many), LIST, doc=vm_query()).status, 200)


if __name__ == "__main__":
    if CONTROLS and "MEWS_TEST_HOST" not in os.environ:
        rules.build("B=build-test", "EXTRA=-DMEWS_TEST",
                    "build-test/mews-orchd")
    run(__file__, made, again, bad, whose, chosen, roles, admins, left, deleted,
        quota, running, rate, not_written, full, death, crowd)
