#!/usr/bin/env python3
"""orchd alone: what it makes of a stop with a time of its own, and of signals.

usage: orchd_verbs_test.py [CASE...]
"""
from peers import *  # noqa: F403

import tables  # noqa: E402

KEPT = []  # connections that nobody closes meanwhile


def timeout(s):
    return tables.pack("VMStop", timeout=s)


def asked(l):
    return [launch_stop.of(p) for kind, _, p in l.launch.log
            if kind == LAUNCH_STOP]


def ladder(s):
    return getattr(s, "from"), s.grace_ms, list(s.deadline_ms)[:2]


def grace():
    with up() as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        for doc, want in ((b"", (STOP_AGENT, 0, [100, 100])),
                          (timeout(None), (STOP_AGENT, 0, [100, 100])),
                          (timeout(30), (STOP_AGENT, 30000, [29900, 100])),
                          (timeout(0), (STOP_QUIT, 0, [0, 0])),
                          (b"", (STOP_AGENT, 0, [100, 100]))):
            eq(l.call(c, STOP, "a", doc=doc).status, 200)
            eq(ladder(asked(l)[-1]), want)
            eq(l.call(c, START, "a").status, 200)
        for bad in (b"x", tables.pack("VMStop", timeout=3600)[:-1],
                    timeout(3600)[:-1] + b"\xff"):
            eq(l.call(c, STOP, "a", doc=bad).status, 400)
        eq(l.state(c, "a"), "running")


def later():
    """A second request is not only a wait for the first."""
    with up() as l:
        c, d = l.client(), l.client()
        eq(l.create(c, "a").status, 201)
        held = held_up(l, l.launch, LAUNCH_STOP)
        first = l.ask(c, STOP, "a", doc=timeout(600))
        l.until(lambda: held, "STOP")
        l.launch.done(held[0][1], launch_stop.of(held[0][2]).vm)
        l.settle()
        second = l.ask(d, STOP, "a", doc=timeout(0))
        l.until(lambda: len(held) == 2, "STOP again")
        eq(ladder(launch_stop.of(held[1][2])), (STOP_QUIT, 0, [0, 0]))
        # one that says nothing only waits, too
        e = l.client()
        third = l.ask(e, STOP, "a")
        l.settle(0.2)
        eq(len(held), 2)
        let_go(l.launch, held[1:])
        for rid in (first, second, third):
            eq(l.answer(rid).status, 200)


def keys():
    """Another time under the same key is another request."""
    with up() as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        eq(l.call(c, STOP, "a", key="k", doc=timeout(5)).status, 200)
        eq(l.call(c, STOP, "a", key="k", doc=timeout(6)).status, 422)
        eq(l.call(c, STOP, "a", key="k", doc=timeout(5)).status, 200)


def signals():
    """They find their way where all streams are taken, and take none."""
    with up() as l:
        c = l.client()
        eq(l.create(c, "a").status, 201)
        while True:  # the first that waits ends it
            KEPT.append(l.client(l.user))
            rid = l.ask(KEPT[-1], STREAM, "a", kind=STREAM_EXEC)
            l.settle(0.02)
            if rid not in l.res:
                break
            eq(l.res[rid].status, 101)
        for _ in range(20):
            ends = [l.client(l.user) for _ in range(4)]
            for k in ends:
                eq(l.call(k, STREAM, "a", kind=STREAM_SIGNAL).status, 101)
                k.sock.close()
            l.until(lambda: all(k.id in l.gone for k in ends), "ends")
        kinds = [launch_stream.at(p).kind for kind, _, p in l.launch.log
                 if kind == LAUNCH_STREAM]
        eq(kinds.count(STREAM_SIGNAL), 80)
        # what they had not, they did not give back
        assert rid not in l.res, l.res[rid]
        eq(l.call(c, STOP, "a").status, 200)
        r = l.call(l.client(l.user), STREAM, "a", kind=STREAM_SIGNAL)
        eq((r.status, r.error()), (409, "vm not running"))


if __name__ == "__main__":
    run(__file__, grace, later, keys, signals)
