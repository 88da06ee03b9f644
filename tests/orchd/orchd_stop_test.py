#!/usr/bin/env python3
"""orchd alone: what becomes of the time that a stop was given, where another stop
is refused, the VM is temporary, or orchd begins anew.

usage: orchd_stop_test.py [CASE...]
"""
from peers import *  # noqa: F403

import tables  # noqa: E402

KEPT = []  # connections that nobody closes meanwhile


def timeout(s):
    return tables.pack("VMStop", timeout=s)


def ladder(m):
    s = launch_stop.of(m[2])
    return getattr(s, "from"), s.grace_ms


def stopping(l, c, doc=b"", key="", **kw):
    """A VM on the ladder; the LAUNCH_STOPs, of which the first is answered."""
    eq(l.create(c, "a", **kw).status, 201)
    held = held_up(l, l.launch, LAUNCH_STOP)
    l.ask(l.client(), STOP, "a", doc=doc, key=key)
    l.until(lambda: held, "STOP")
    taken(l, held[0])
    l.settle()
    return held


def taken(l, m):
    uid = launch_stop.of(m[2]).vm
    l.launch.vms[uid][0] = LV_STOPPING
    l.launch.done(m[1], uid)


def refused():
    """One that is not waited for changes nothing, and its key is not noted."""
    with up(max_conns=600) as l:
        c = l.client()
        held = stopping(l, c, timeout(600))
        while True:  # the first that cannot wait ends it
            KEPT.append(l.client(l.user))
            rid = l.ask(KEPT[-1], STOP, "a")
            l.settle(0.01)
            if rid in l.res:
                break
        eq(l.res[rid].status, 503)
        eq(l.call(KEPT[-1], STOP, "a", key="k", doc=timeout(0)).status, 503)
        # what comes next of that VM does not bring it about, either
        third = l.ask(l.client(), STOP, "a")
        l.settle(0.3)
        assert third not in l.res, l.res[third]
        eq([ladder(m) for m in held], [(STOP_AGENT, 600000)])
        KEPT[0].sock.close()
        l.until(lambda: KEPT[0].id in l.gone, "API_GONE")
        l.ask(KEPT[-1], STOP, "a", key="k", doc=timeout(0))
        l.until(lambda: len(held) == 2, "STOP again")
        eq(ladder(held[1]), (STOP_QUIT, 0))


def temporary():
    """One that is temporary has a time that was said later as well."""
    with up(temporary_ms=400, ready_ms=1000) as l:
        c = l.client()
        held = stopping(l, c, temporary=True)
        begun = time.monotonic()
        l.ask(l.client(), STOP, "a", doc=timeout(600))
        l.until(lambda: len(held) == 2, "STOP again")
        taken(l, held[1])
        while time.monotonic() - begun < 20:
            eq(l.state(c, "a"), "stopping")
            l.pump(0.2)


if __name__ == "__main__":
    run(__file__, refused, temporary)
