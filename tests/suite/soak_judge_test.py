#!/usr/bin/env python3
"""What the soak's judge says of reports that are made up: it can find what it
looks for, and nothing where nothing is."""
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "soak")]
import measure  # noqa: E402
import suite  # noqa: E402
from judge import RECOVERY, Judge  # noqa: E402
from link import STORM  # noqa: E402
from rooms import DECK, plan  # noqa: E402


class Shared:
    phase = 0


def judge(**fields):
    j = Judge(None, Shared())
    for k, v in fields.items():
        setattr(j, k, v)
    return j


def heard(*ids, truth=(1, 2, 3, 4)):
    j = judge(truth=list(truth))
    j.on_events("s", [(i, "VM_RUNNING", "a") for i in ids])
    return j.events()[0][:3], j.behind()


def events():
    rows = {(1, 2, 3, 4): (0, 0, 0), (1, 2, 2, 3, 4): (1, 0, 0),
            (1, 3, 4): (0, 1, 0), (1, 3, 2, 4): (0, 0, 1),
            (2, 3, 4): (0, 1, 0)}
    for ids, want in rows.items():
        got, behind = heard(*ids)
        assert (got, behind) == (want, []), (ids, got, behind)
    assert heard(1, 2, 3)[1], "the last is not missed"
    # a number that the store does not have, below one that it has
    assert heard(1, 2, 3, truth=(1, 3))[0] == (0, 1, 0)


def disagree():
    j = judge()
    j.on_events("s", [(1, "VM_RUNNING", "a")])
    j.on_events("t", [(1, "VM_RUNNING", "b")])
    assert len(j.disagree()) == 1


def stories():
    whole = ["VM_CREATED", "VM_RUNNING", "VM_STOPPED", "VM_RUNNING",
             "VM_DELETED"]
    for left_out in (None, *range(len(whole))):
        j = judge()
        j.on_events("s", [(i, t, "a") for i, t in enumerate(whole)
                          if i != left_out])
        j.on_life("a", starts=1, stops=1, odd=False)
        assert bool(j.stories()) == (left_out is not None), left_out


def excuses():
    """What had no answer is excused by what overlaps it, 507 by a store."""
    rows = [("closed", 9, 10, 0), ("closed", 11, 13, 0), ("closed", 21, 22, 0),
            ("closed", 20 + RECOVERY + 1, 20 + RECOVERY + 2, 1),
            ("closed", 5, 6, 1), ("507 b''", 11, 12, 1), ("507 b''", 41, 42, 0),
            ("500 b''", 41, 42, 0)]
    for why, begun, at, wrong in rows:
        j = judge()
        j.at[STORM] = (0, None)
        j.on_window("kill netd", 10)
        j.on_window_end(20)
        j.on_window("store-full orchd", 40)
        j.on_broken("a", "get", why, begun, at)
        assert len(j.wrongs) == wrong, (why, begun, at, j.wrongs)


def slopes():
    """In 1000 KiB with noise: a leak of 1 KiB/s in lives of 100 s each, and
    lives that differ but do not grow."""
    rnd = random.Random(1)
    for leak in (0, 1):
        rows = [(t, t // 100, 1000 + 50 * (t // 100) % 7 + leak * (t % 100)
                 + rnd.gauss(0, 5)) for t in range(1000)]
        s = measure.Slope(rows, 500, 10)
        assert abs(s.slope - 3600 * leak) < 4 * s.error, (leak, str(s))
        assert s.error < 300 and s.lives == 5, str(s)
    assert measure.Slope([], 0, 0).slope is None


def seeds():
    def first(seed):
        return [row for row, _ in zip(plan(seed, DECK), range(50))]
    assert first("a") == first("a") and first("a") != first("b")


sys.exit(suite.run({f.__name__: f for f in (
    events, disagree, stories, excuses, slopes, seeds)}))
