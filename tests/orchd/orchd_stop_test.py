#!/usr/bin/env python3
"""orchd alone: what becomes of the time that a stop was given, where another stop
is refused, the VM is temporary, or orchd begins anew.

usage: orchd_stop_test.py [CASE...]
"""
from orchd_failing_test import Locked
from peers import *  # noqa: F403

import tables  # noqa: E402

KEPT = []  # connections that nobody closes meanwhile


def kept(l, uid=0):
    KEPT.append(l.client(uid))
    return KEPT[-1]


def timeout(s):
    return tables.pack("VMStop", timeout=s)


def ladder(m):
    s = launch_stop.of(m[2])
    return getattr(s, "from"), s.grace_ms


def stopping(l, c, doc=b"", key="", **kw):
    """A VM on the ladder; the LAUNCH_STOPs, of which the first is answered."""
    eq(l.create(c, "a", **kw).status, 201)
    held = held_up(l, l.launch, LAUNCH_STOP)
    l.ask(kept(l), STOP, "a", doc=doc, key=key)
    l.until(lambda: held, "STOP")
    taken(l, held[0])
    l.settle()
    return held


def taken(l, m):
    uid = launch_stop.of(m[2]).vm
    l.launch.vms[uid][0] = LV_STOPPING
    l.launch.done(m[1], uid)


def stays(l, s):
    c, end = kept(l), time.monotonic() + s
    while time.monotonic() < end:
        eq(l.state(c, "a"), "stopping")
        l.pump(0.2)


def refused():
    """One that is not waited for changes nothing, and its key is not noted."""
    with up(max_conns=600) as l:
        c = l.client()
        held = stopping(l, c, timeout(600))
        while True:  # the first that cannot wait ends it
            rid = l.ask(kept(l, l.user), STOP, "a")
            l.settle(0.01)
            if rid in l.res:
                break
        eq(l.res[rid].status, 503)
        last = KEPT[-1]
        eq(l.call(last, STOP, "a", key="k", doc=timeout(0)).status, 503)
        # what comes next of that VM does not bring it about, either
        third = l.ask(kept(l), STOP, "a")
        l.settle(0.3)
        assert third not in l.res, l.res[third]
        eq([ladder(m) for m in held], [(STOP_AGENT, 600000)])
        one = KEPT[KEPT.index(last) - 1]
        one.sock.close()
        l.until(lambda: one.id in l.gone, "API_GONE")
        l.ask(last, STOP, "a", key="k", doc=timeout(0))
        l.until(lambda: len(held) == 2, "STOP again")
        eq(ladder(held[1]), (STOP_QUIT, 0))


def refused_first():
    """The first of all, which cannot be waited for: as if it had not come."""
    with up(max_conns=600) as l:
        starts = held_up(l, l.launch, LAUNCH_START)
        first = l.ask(kept(l, l.user), CREATE, doc=vm_create("a"))
        l.until(lambda: starts, "START")
        while True:  # as many as may wait
            rid = l.ask(kept(l, l.user), START, "a")
            l.settle(0.01)
            if rid in l.res:
                break
        last = KEPT[-1]
        stops = held_up(l, l.launch, LAUNCH_STOP)
        eq(l.call(last, STOP, "a", key="k", doc=timeout(0)).status, 503)
        l.settle(0.3)
        eq(l.state(kept(l), "a"), "starting")
        let_go(l.launch, starts)
        eq(l.answer(first).status, 201)
        eq(l.state(last, "a"), "running")
        eq(stops, [])
        # nor was its key noted
        eq(l.call(last, START, "a", key="k").status, 200)


def undone_first():
    """The first of all, which is not kept: of it nothing is left, and what comes
    next does not have its time."""
    with up(ready_ms=1000) as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        stops = held_up(l, l.launch, LAUNCH_STOP)
        lock = Locked(l)
        eq(l.call(c, STOP, "a", key="k", doc=timeout(600)).status, 500)
        eq(l.state(c, "a"), "running")
        lock.free()
        l.settle(0.3)
        eq((l.state(c, "a"), stops), ("running", []))
        waits_for_its_end(l, c)


def forgotten():
    """A time is the stop's that said it: the VM's next life has none."""
    with up(ready_ms=1000) as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        eq(l.call(c, STOP, "a", doc=timeout(600)).status, 200)
        eq(l.call(c, START, "a").status, 200)
        waits_for_its_end(l, c)


def waits_for_its_end(l, c):
    """Whoever deletes it hears in good time that launchd does not answer."""
    held_up(l, l.launch, LAUNCH_RELEASE)
    began = time.monotonic()
    eq(l.answer(l.ask(c, DELETE, "a"), 25).status, 503)
    assert time.monotonic() - began < 22, "as long as a stop that is over"


def temporary():
    """One that is temporary has a time that was said later as well."""
    with up(temporary_ms=400, ready_ms=1000) as l:
        c = l.client()
        held = stopping(l, c, temporary=True)
        l.ask(kept(l), STOP, "a", doc=timeout(600))
        l.until(lambda: len(held) == 2, "STOP again")
        taken(l, held[1])
        stays(l, 20)


def begun_anew():
    """A new orchd hears of launchd what is left, and waits that long."""
    with up(ready_ms=1000) as l:
        held = stopping(l, l.client(), timeout(60), "k", temporary=True)
        uid = launch_stop.of(held[0][2]).vm
        l.launch.left[uid] = 30000
        l.restart()
        stays(l, 12)  # longer than by mews.conf
        again = l.ask(kept(l), STOP, "a", key="k", doc=timeout(60))
        stays(l, 1)
        eq(len(held), 1)
        assert again not in l.res, l.res[again]
        # what is asked of another launchd is what is left
        l.launch.vms[uid][0] = LV_READY
        l.plumb(ROOM_LAUNCHD)
        l.until(lambda: len(held) == 2, "STOP again")
        eq(ladder(held[1]), (STOP_AGENT, 30000))
        let_go(l.launch, held[1:])
        eq(l.answer(again).status, 200)


def asked_anew():
    """Where launchd forgot it as well, the retry of who asked has the time."""
    for late in (True, False):
        with up() as l:
            held = stopping(l, l.client(), timeout(60), "k")
            uid = launch_stop.of(held[0][2]).vm
            l.launch.vms[uid][0] = LV_READY
            lists = held_up(l, l.launch, LAUNCH_LIST)
            l.restart()
            l.until(lambda: lists, "LIST")
            asked = []
            if not late:
                asked.append(l.ask(kept(l), STOP, "a", key="k", doc=timeout(60)))
                l.settle()
            let_go(l.launch, lists)
            held = held_up(l, l.launch, LAUNCH_STOP)
            l.until(lambda: held, "STOP")
            if late:
                eq(ladder(held[0]), (STOP_AGENT, 0))
                taken(l, held[0])
                asked.append(l.ask(kept(l), STOP, "a", key="k", doc=timeout(60)))
                l.until(lambda: len(held) == 2, "STOP again")
            eq(ladder(held[-1]), (STOP_AGENT, 60000))
            taken(l, held[-1])
            l.settle()
            # from then on it is known, and a retry only waits
            asked.append(l.ask(kept(l), STOP, "a", key="k", doc=timeout(60)))
            l.settle(0.2)
            eq(len(held), 1 + late)
            l.launch.exit(uid, EXIT_STOPPED)
            for rid in asked:
                eq(l.answer(rid).status, 200)


def deleted():
    """Who deletes it hears in time why that does not end, whatever time a stop gave
    its guest: a delete gives none."""
    with up(ready_ms=1000) as l:
        c = l.client()
        stopping(l, c, timeout(3600))
        held = held_up(l, l.launch, LAUNCH_RELEASE)
        began = time.monotonic()
        rid = l.ask(kept(l), DELETE, "a")
        l.until(lambda: held, "RELEASE")
        r = l.answer(rid, 30)
        took = time.monotonic() - began
        eq(r.status, 503)
        assert "vm a is still deleting" in r.error(), r.error()
        assert 15 < took < 25, took
        let_go(l.launch, held)
        l.await_state(c, "a", 404)


if __name__ == "__main__":
    run(__file__, refused, refused_first, undone_first, forgotten, temporary,
        begun_anew, asked_anew, deleted)
