"""What every room holds, and how it grows.

A slope is a line's through samples of one process's life each (killed rooms
begin anew, so each life has a level of its own), without the life's first
seconds.  Neighbouring samples say nearly the same: the standard error is
widened by their correlation, as for so many fewer samples.
"""
import contextlib
import math
import os
import re
import time

import suite
from suite import ROOT

LIFE_MIN = 5  # samples of a life that count
STORE_ROOM = "orchd"


def rollup(pid):
    """PSS, and of it what no file backs, in KiB."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        text = f.read()
    kib = {k: int(n) for k, n in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
    return kib["Pss"], kib.get("Pss_Anon", 0) + kib.get("Pss_Shmem", 0)


def blocks(path, mine=lambda name: True):
    """KiB on the disk below a path."""
    n = 0
    for d, _, names in os.walk(path):
        for name in filter(mine, names):
            with contextlib.suppress(OSError):
                n += os.lstat(os.path.join(d, name)).st_blocks
    return n / 2


def logs(room):
    """KiB of a room's log, which grows to LOG_MAX and not beyond."""
    return blocks(ROOT + "/log", lambda name: name.startswith(room + ".log"))


def disk(room):
    """KiB of what a room writes besides; None: nothing."""
    if room == STORE_ROOM:
        return blocks(ROOT + "/lib/store", lambda name: name != "fill")
    if room == "launchd":
        return blocks(ROOT + "/log/vm")
    if room == "spawner":
        return blocks(ROOT + "/lib/vm") + blocks(ROOT + "/run/vm")
    return None


def sample(world):
    """{(room, what): (pid, value)}"""
    found = {}
    for room, pid in world.rooms().items():
        with contextlib.suppress(OSError, KeyError):
            pss, own = rollup(pid)
            found[room, "pss"] = (pid, pss)
            found[room, "own"] = (pid, own)
            found[room, "fds"] = (pid, len(os.listdir("/proc/%d/fd" % pid)))
        if room != "mewsd":
            # files outlive a room: one life
            found[room, "log"] = (0, logs(room))
            if (n := disk(room)) is not None:
                found[room, "disk"] = (0, n)
    return found


class Series:
    """Samples of one phase."""

    def __init__(self):
        self.at = {}  # (room, what): [(time, pid, value)]
        self.begun = time.monotonic()
        self.ended = None

    def add(self, world):
        now = time.monotonic()
        for key, (pid, value) in sample(world).items():
            self.at.setdefault(key, []).append((now, pid, value))

    def span(self):
        return (self.ended or time.monotonic()) - self.begun


class Slope:
    """Per hour, with its standard error; None for too few samples."""

    def __init__(self, rows, since, warm):
        lives = {}
        born = {}
        for t, pid, value in rows:
            born.setdefault(pid, t)
            # what was there at the phase's begin is warm already
            if t >= since and (pid == 0 or t - born[pid] >= warm
                               or born[pid] == rows[0][0]):
                lives.setdefault(pid, []).append((t, value))
        lives = {p: r for p, r in lives.items() if len(r) >= LIFE_MIN}
        self.n = sum(map(len, lives.values()))
        self.lives = len(lives)
        self.slope = self.error = None
        self.last = rows[-1][2] if rows else 0
        if self.n - self.lives < 4:
            return
        x, y, ends = [], [], []
        for r in lives.values():
            mt = sum(t for t, _ in r) / len(r)
            mv = sum(v for _, v in r) / len(r)
            x += [t - mt for t, _ in r]
            y += [v - mv for _, v in r]
            ends.append(len(x))
        self._line(x, y, set(ends))

    def _line(self, x, y, ends):
        sxx = sum(t * t for t in x)
        if sxx == 0:
            return
        b = sum(t * v for t, v in zip(x, y)) / sxx
        e = [v - b * t for t, v in zip(x, y)]
        see = sum(r * r for r in e)
        se = math.sqrt(see / max(1, self.n - self.lives - 1) / sxx)
        if see > 0:
            r1 = sum(e[i] * e[i + 1] for i in range(len(e) - 1)
                     if i + 1 not in ends) / see
            r1 = min(max(r1, 0.0), 0.98)
            se *= math.sqrt((1 + r1) / (1 - r1))
        self.slope, self.error = b * 3600, se * 3600

    def __str__(self):
        if self.slope is None:
            return "%19s" % "too few samples"
        return "%9.1f +- %-7.1f" % (self.slope, self.error)


# what, unit, what a half may add that is none of a leak's, in that unit; None:
# whatever it adds, there is a bound
WHATS = (("pss", "KiB", 1024), ("own", "KiB", 512), ("fds", "", 3),
         ("disk", "KiB", 2048), ("log", "KiB", None))
SIGMAS = 3
LOG_MAX = 16 * 1024 + 128  # KiB of a room's logs (docs/operations.md)


def compare(idle, storm, warm):
    """Rows of text, and what grows beyond the noise of the idle phase."""
    half = storm.begun + storm.span() / 2
    hours = storm.span() / 2 / 3600
    text = ["%-11s %-5s %10s  %-20s %-20s %s" % (
        "room", "what", "now", "2nd half, per hour", "idle, per hour",
        "samples, lives")]
    grows = []
    for room in ("mewsd", *sorted(suite.ROOMS), "spawner"):
        for what, unit, floor in WHATS:
            rows = storm.at.get((room, what))
            if not rows:
                continue
            s = Slope(rows, half, warm)
            i = Slope(idle.at.get((room, what), []), 0, 0)
            text.append("%-11s %-5s %10.0f  %-20s %-20s %d, %d" % (
                room, what, s.last, s, i, s.n, s.lives))
            if s.slope is None or i.slope is None or floor is None:
                continue
            noise = SIGMAS * math.hypot(s.error, i.error)
            more = s.slope - i.slope
            if more > noise and more * hours > floor:
                grows.append("%s %s: %.1f %s/h more than idle, noise %.1f" % (
                    room, what, more, unit, noise))
    for room in (*sorted(suite.ROOMS), "spawner"):
        n = logs(room)
        if n > LOG_MAX:
            grows.append("%s's logs have %d KiB" % (room, n))
    return text, grows


def percentile(values, p):
    v = sorted(values)
    return v[min(len(v) - 1, int(len(v) * p / 100))] if v else float("nan")


def percentile_range(values, p):
    """What it can be, by so many values: it is above the first and below the
    second by SIGMAS errors of its rank."""
    v, p = sorted(values), p / 100
    rank, error = len(v) * p, SIGMAS * math.sqrt(len(v) * p * (1 - p))
    return (v[max(0, math.floor(rank - error))],
            v[min(len(v) - 1, math.ceil(rank + error))])
