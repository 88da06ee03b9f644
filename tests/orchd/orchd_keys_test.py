#!/usr/bin/env python3
"""orchd alone: keys that pile up while its store takes nothing.

usage: orchd_keys_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
from orchd_failing_test import Locked, failures
from peers import *  # noqa: F403

ASKED = 600  # by clients that hang up at once: none of them waits
MOST = 128  # WRITE_KEYS_MAX
EACH = 8  # clients at a time


def rss(l):
    with open("/proc/%d/statm" % l.p.pid) as f:
        return int(f.read().split()[1]) * 4


def ask_and_leave(l, verb, name):
    """Requests with a key each, whose callers are gone; those that were
    answered nevertheless."""
    answers = []
    for i in range(0, ASKED, EACH):
        cs = [l.client(l.user) for _ in range(EACH)]
        rids = [l.ask(c, verb, name, key="%d-%d" % (verb, i + n))
                for n, c in enumerate(cs)]
        l.settle(0.002)
        answers += [l.res[r] for r in rids if r in l.res]
        for c in cs:
            c.sock.close()
    return answers


def refused_when_many(l, verb, name, then):
    before = rss(l)
    lock = Locked(l)
    try:
        answers = ask_and_leave(l, verb, name)
        l.until(lambda: failures(l) > 0, "failed write")
    finally:
        lock.free()
    eq({a.status for a in answers}, {503})
    print("%d asked, %d refused: %s; %d KiB more" % (
        ASKED, len(answers), answers[0].error(), rss(l) - before))
    assert str(MOST) in answers[0].error(), answers[0].error()
    assert "doctor" in answers[0].error(), answers[0].error()
    assert len(answers) >= ASKED - 2 * MOST, len(answers)
    c = l.client(l.user)
    l.until(lambda: l.call(c, verb, name, key="after").status == 200,
            "room for a key")
    eq(l.state(c, name), then)
    eq(l.alive(), True)


def nothing_to_do():
    """START of what runs: nothing changes, and its key is written."""
    with up() as l:
        eq(l.create(l.client(l.user), "a").status, 201)
        refused_when_many(l, START, "a", "running")


def changed():
    """STOP, which is undone when it fails, and asked again and again."""
    with up() as l:
        eq(l.create(l.client(l.user), "a").status, 201)
        refused_when_many(l, STOP, "a", "stopped")


if __name__ == "__main__":
    run(__file__, nothing_to_do, changed)
