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


if __name__ == "__main__":
    run(__file__, numbers, too_far)
