#!/usr/bin/env python3
"""orchd alone: rows of tenants, and what is left of those that are gone.

usage: orchd_tenant_row_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
from orchd_broken_test import store
from orchd_tenant_test import *  # noqa: F403


def numbers():
    """A key of a tenant that is gone leads to no other, whatever started anew
    meanwhile."""
    with up() as l:
        alice, bob, carol = people(l)
        more = user(carol, "viewer")
        eq(make(l, "x", user(alice, "admin"), key="made").status, 201)
        eq(change(l, "x", more, c=l.client(alice), key="k").status, 200)
        eq(drop(l, "x", key="gone").status, 204)
        l.restart()
        eq(make(l, "y", user(bob, "admin")).status, 201)
        eq(make(l, "x", user(alice, "admin")).status, 201)
        r = change(l, "x", more, c=l.client(alice), key="k")
        eq((r.status, r.error()),
           (410, "the tenant of this request is deleted"))
        eq(make(l, "x", user(alice, "admin"), key="made").status, 410)
        eq(drop(l, "x", key="gone").status, 204)
        eq(names(l, l.client()), ["default", "x", "y"])


def too_far():
    """Numbers from which nothing could be counted on, and one that only a key
    has."""
    for change_ in ("id = 9223372036854775807", "last_id = 9223372036854775807",
                    "last_seq = 9223372036854775807", "id = -1"):
        with up() as l:
            eq(make(l, "a").status, 201)
            l.kill()
            with store(l) as db:
                db.execute("UPDATE tenant SET %s WHERE name = 'a'" % change_)
            l.start(peers=False)
            eq(l.p.wait(10) != 0, True)
            word = "%s: %s cannot be" % tuple(change_.split(" = "))
            assert word in l.log(), l.log()
    with up() as l:
        eq(make(l, "a", key="k").status, 201)
        l.kill()
        with store(l) as db:
            db.execute("UPDATE idem SET vm = 9223372036854775807")
        l.start()
        eq(make(l, "b").status, 201)
        l.restart()
        eq(names(l, l.client()), ["a", "b", "default"])


BROKEN = (("spec = 'garbage'", "expected an object"),
          ("spec_v = 99", "TenantSpec of version 99, newer"),
          ("spec = '{\"quotas\":{\"vms\":-1}}'", "quotas.vms: must be from 0"))


def doctor(l, c):
    return [(n, ok, text) for n, ok, text in
            doc_list(l.call(c, DOCTOR).tail, check_view) if not ok]


def broken():
    """A tenant whose row cannot be read: the suite starts, its VMs live on,
    nobody is in it, and a host admin writes it anew or removes it."""
    for change_, why in BROKEN:
        for name in ("a", "default"):
            one_broken(name, change_, why)


def one_broken(name, change_, why):
    with up() as l:
        alice, _, _ = people(l)
        eq(make(l, "a", user(alice, "admin"), quotas={"vms": 1}).status, 201)
        eq(l.create(l.client(alice), "v").status, 201)
        eq(l.create(l.client(l.user), "w").status, 201)
        l.kill()
        with store(l) as db:
            db.execute("UPDATE tenant SET %s WHERE name = ?" % change_,
                       (name,))
        l.start()
        root, its = l.client(), l.client(alice if name == "a" else l.user)
        eq(names(l, root), ["a", "default"])
        eq(get(l, name)["status"], "broken")
        said, = [t for n, ok, t in doctor(l, root) if n == "tenant"]
        assert name + ": " in said and why in said, said
        eq([d for d in doctor(l, l.client(l.user)) if d[0] == "tenant"], [])
        # nobody is in it; of the default one users may look
        eq(l.call(its, LIST, doc=vm_query()).status,
           403 if name == "a" else 200)
        eq(l.create(its, "x").status, 403)
        vm = {"a": "v", "default": "w"}[name]
        eq(l.call(root, GET, vm, tenant=name).vm()["status"], "running")
        eq(l.call(root, STOP, vm, tenant=name).status, 200)
        l.restart()  # it stays as it is
        eq(get(l, name)["status"], "broken")
        eq(change(l, name, user(alice, "operator")).status, 200)
        t = get(l, name)
        eq((t["status"], len(t["members"])), ("suspended", 1))
        eq(change(l, name, suspended=False).status, 200)
        eq(l.call(l.client(alice), LIST, doc=vm_query(), tenant=name).status,
           200)
        l.restart()
        eq(get(l, name)["status"], "active")
        eq([d for d in doctor(l, l.client()) if d[0] == "tenant"], [])


def broken_goes():
    with up() as l:
        alice, _, _ = people(l)
        eq(make(l, "a", user(alice, "admin")).status, 201)
        eq(l.create(l.client(alice), "v").status, 201)
        l.kill()
        with store(l) as db:
            db.execute("UPDATE tenant SET spec = '7' WHERE name = 'a'")
        l.start()
        eq(drop(l, "a").status, 409)
        eq(drop(l, "a", force=True).status, 204)
        eq((l.launch.vms, l.net.taps), ({}, {}))
        l.restart()
        eq(names(l, l.client()), ["default"])


def orphan():
    """VMs of a tenant of which there is no row are nobody's but host admins'."""
    for number in ("2", "9223372036854775807", "-3"):
        with up() as l:
            alice, _, _ = people(l)
            eq(make(l, "a", user(alice, "operator")).status, 201)
            for n in ("v", "w"):
                eq(l.create(l.client(alice), n).status, 201)
            eq(l.create(l.client(l.user), "v").status, 201)
            l.kill()
            with store(l) as db:
                db.execute("PRAGMA foreign_keys = OFF")
                db.execute("DELETE FROM tenant WHERE name = 'a'")
                db.execute("UPDATE vm SET tenant = %s WHERE tenant = 2" % number)
            l.start()
            c = l.client(l.user)
            eq([(v["name"], v["status"]) for v in l.vms(c)],
               [("v", "running")])
            eq(l.call(l.client(alice), LIST, doc=vm_query()).status, 403)
            its, = l.until(lambda: set(names(l, l.client())) - {"default"},
                           "tenant that is written")
            assert its.startswith("broken-"), its
            l.restart()
            eq(names(l, l.client()), [its, "default"])
            root = l.client()
            got = l.call(root, LIST, doc=vm_query(), tenant=its)
            eq({v["name"] for v in doc_list(got.tail, vm_view)}, {"v", "w"})
            eq(l.call(root, DELETE, "v", tenant=its).status, 204)
            eq(l.call(root, CREATE, doc=vm_create("x"), tenant=its).status, 201)
            eq(drop(l, its, force=True).status, 204)
            eq(len(l.launch.vms), 1)
            l.restart()
            eq(names(l, l.client()), ["default"])
            eq(l.get(l.client(l.user), "v").vm()["status"], "running")


if __name__ == "__main__":
    run(__file__, numbers, too_far, broken, broken_goes, orphan)
