#!/usr/bin/env python3
"""The soak's judge: what it calls growth, and slow, and what not."""
import math
import os
import random
import sys
import types

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d)
                for d in ("soak", ".")]
import judge  # noqa: E402
import link  # noqa: E402
import measure  # noqa: E402
import rooms  # noqa: E402
import suite  # noqa: E402

HOUR = 3600.0
WARM = 360.0  # of a storm of two hours (main.Times)
NOISE = 40.0  # KiB


def series(begun, ended, value, lives=()):
    """Samples of orchd's own memory every 5 s: value(seconds, age)."""
    rnd = random.Random(5)
    s = measure.Series()
    s.begun, s.ended = begun, ended
    births = [begun - 1000.0, *lives]
    t = begun
    rows = s.at["orchd", "own"] = []
    while t < ended:
        n = max(i for i, b in enumerate(births) if b <= t)
        rows.append((t, 100 + n, value(t - begun, t - births[n])
                     + rnd.gauss(0, NOISE)))
        t += 5
    return s


def grows(value, lives=()):
    idle = series(0, 1200, lambda t, age: 1000)
    storm = series(2000, 2000 + 2 * HOUR, value, lives)
    return [g for g in measure.compare(idle, storm, WARM)[1] if "own" in g]


def eq(got, want):
    assert got == want, "%r, not %r" % (got, want)


def steady():
    eq(grows(lambda t, age: 1500), [])


def leaks():
    """One MiB an hour."""
    got = grows(lambda t, age: 1500 + 1024 * t / HOUR)
    assert len(got) == 1 and "orchd own" in got[0], got


def leak_after_kills():
    """In the first half it was killed each 100 s; what the last one leaks is
    seen."""
    kills = [2000 + 100 * i for i in range(1, 36)]
    got = grows(lambda t, age: 1500 + 1024 * age / HOUR, kills)
    assert len(got) == 1, got


def caches_fill():
    """Pages and keys of a new process, in some minutes."""
    kills = [2000 + 100 * i for i in range(1, 36)]
    eq(grows(lambda t, age: 1500 + 450 * (1 - math.exp(-age / 100)), kills), [])


def no_room_ends():
    """In the storm's second half."""
    ends = {"kill", "hang", "kill-all", "term", "renew"}
    eq(ends & set(rooms.CALM), set())
    plan = rooms.plan("x", rooms.CALM)
    acts = {next(plan)[1] for _ in range(60)}
    eq(acts, set(rooms.CALM))


def heard(quiet, storm, windows=()):
    """A judge that was told of execs: (begin, seconds)."""
    j = judge.Judge(None, types.SimpleNamespace(phase=0))
    j.at = {link.QUIET: (0, 1000), link.STORM: (1000, None)}
    for phase, rows in ((link.QUIET, quiet), (link.STORM, storm)):
        j.phase = phase
        events = [(a, 1, "answer", a + s) for a, s in rows]
        if phase == link.STORM:
            for b, e in windows:
                events += [(b, 0, "window", b), (e, 0, "window-end", e)]
        for a, _, what, at in sorted(events, key=lambda e: (e[3], e[1])):
            if what == "answer":
                j.on_answer("x", "exec", a, at, 200, "")
            elif what == "window":
                j.on_window("kill orchd", at)
            else:
                j.on_window_end(at)
    return j


def evenly(begun, n, took):
    return [(begun + i, took(i)) for i in range(n)]


def slow():
    quick = evenly(0, 900, lambda i: 0.002)
    eq(heard(quick, evenly(1000, 900, lambda i: 0.005)).times()[1], [])
    got = heard(quick, evenly(1000, 900, lambda i: 0.007)).times()[1]
    assert len(got) == 1 and "exec" in got[0], got
    # three in a hundred
    got = heard(quick, evenly(1000, 900, lambda i: 0.5 if i % 33 == 0
                              else 0.002)).times()[1]
    assert len(got) == 1, got


def too_few_to_say():
    """Of 150 two that were late: that is chance."""
    quick = evenly(0, 150, lambda i: 0.002)
    late = evenly(1000, 150, lambda i: 0.5 if i in (50, 100) else 0.002)
    eq(heard(quick, late).times()[1], [])


def disturbed():
    """What was under way in a disturbance, or 5 s after it."""
    quick = evenly(0, 900, lambda i: 0.002)
    storm = evenly(1000, 900, lambda i: 1.5 if 100 <= i <= 214 else 0.002)
    assert heard(quick, storm).times()[1]
    eq(heard(quick, storm, [(1101, 1110), (1112, 1209)]).times()[1], [])


if __name__ == "__main__":
    sys.exit(suite.run({f.__name__.replace("_", "-"): f for f in (
        steady, leaks, leak_after_kills, caches_fill, no_room_ends, slow,
        too_few_to_say, disturbed)}))
