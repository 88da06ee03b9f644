#!/usr/bin/env python3
"""The soak: a whole suite, its honest callers, and everything that is against
them at once, for so many seconds.  docs/testing.md says what it checks.

usage: main.py [T [SEED]]     from the top of the tree; make soak T=7200 S=SEED
"""
import os
import random
import shutil
import sys
import threading
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import suite  # noqa: E402

suite.enter(reaps=False)
import link  # noqa: E402
import measure  # noqa: E402
import world  # noqa: E402
from cast import Cast  # noqa: E402
from judge import Judge  # noqa: E402
from link import FINAL, LAST, OVER, QUIET, STORM, WAIT, pause  # noqa: E402
from rooms import Rooms  # noqa: E402

LOGS = os.path.join(suite.BUILD, "soak")
LONG = 1800  # seconds of storm from which on slopes are judged
END = 240.0  # seconds for the actors' own ends


def clamp(lo, v, hi):
    return max(lo, min(v, hi))


class Times:
    """Every phase in seconds, from the storm's."""

    def __init__(self, t):
        self.storm = t
        self.warm = clamp(5, t / 20, 60)
        self.idle = clamp(15, t / 6, 1200)
        self.quiet = clamp(45, t / 8, 600)
        self.every = clamp(0.5, t / 300, 5)  # between samples
        self.report = clamp(15, t / 4, 60)
        self.life = clamp(3, t / 20, 400)  # of a process, until it is warm

    def __str__(self):
        return "%.0f s warm, %.0f idle, %.0f quiet, %.0f storm" % (
            self.warm, self.idle, self.quiet, self.storm)


class Soak:
    def __init__(self, seconds, seed):
        self.times, self.seed = Times(seconds), seed
        self.shared, self.reports = link.Shared(), link.Reports()
        self.w = world.World(self.shared)
        self.cast = Cast(self.w, self.reports, self.shared)
        self.judge = Judge(self.reports, self.shared)
        self.rooms = Rooms(self.w, self.reports, self.shared, self.cast)
        self.idle = self.storm = None
        self.ended = threading.Event()

    # -- beside the phases

    def truth(self):
        """What the store has of events, before it forgets them."""
        while not self.ended.wait(0.7):
            try:
                after = self.judge.truth[-1] if self.judge.truth else 0
                got = self.w.events_after(after)
                self.w.put_behind()
                with self.judge.lock:
                    self.judge.truth += got
            except Exception as e:  # it is locked, gone, or being made
                self.no_truth = str(e)

    def samples(self, series, ended):
        while not ended.wait(self.times.every):
            series.add(self.w)

    def report(self, ended):
        while not ended.wait(self.times.report):
            self.judge.print("%.0f s of the storm" % self.storm.span(),
                             (self.idle, self.storm, self.times.life))

    def beside(self, fn, *loops):
        """fn() while threads run."""
        ended = threading.Event()
        threads = [threading.Thread(target=l, args=(*a, ended), daemon=True)
                   for l, *a in loops]
        for t in threads:
            t.start()
        try:
            fn()
        finally:
            ended.set()
            for t in threads:
                t.join()

    # -- phases

    def phase(self, which, seconds, name):
        print("== %s: %.0f s" % (name, seconds), flush=True)
        self.judge.begin(which)
        pause(seconds)

    def calm(self):
        """A line of what is there without anybody."""
        t = self.times
        self.phase(QUIET, t.warm, "warm")
        self.judge.begin(WAIT)
        pause(3)
        self.idle = measure.Series()
        self.beside(lambda: self.phase(WAIT, t.idle, "idle"),
                    (self.samples, self.idle))
        self.idle.ended = time.monotonic()
        for took in self.judge.took.values():
            took.clear()
        # looked at as in the storm: that costs time, too
        self.beside(lambda: self.phase(QUIET, t.quiet, "quiet"),
                    (self.samples, measure.Series()))
        self.judge.print("quiet", None)

    def rage(self, places):
        print("== storm: %.0f s" % self.times.storm, flush=True)
        self.reports.send("window", name="renew first", at=time.monotonic())
        with link.Gate(self.shared).closed():
            self.cast.evil(*places)
        self.reports.send("window-end", at=time.monotonic())
        self.storm = measure.Series()
        self.judge.begin(STORM)
        self.beside(lambda: self.rooms.storm(self.seed, self.times.storm),
                    (self.samples, self.storm), (self.report,))
        self.storm.ended = time.monotonic()

    def last(self):
        """All end their VMs, and hear the last event."""
        print("== end", flush=True)
        self.judge.begin(LAST)
        bad = ["%s does not end" % n for n in self.cast.wait(END, False)]
        try:
            self.cast.end()
        except (AssertionError, OSError) as e:
            bad.append("VMs that cannot be deleted: %s" % e)
        pause(2)  # the truth is looked at each second
        self.ended.set()
        self.shared.told = self.judge.truth[-1]
        self.judge.begin(FINAL)
        bad += ["%s does not end" % n for n in self.cast.wait(END, True)]
        zombies = self.w.zombies()
        if self.w.stderr_full == 0:
            bad.append("mewsd's standard error was never full")
        self.w.stop()
        print("zombies that pid 1 did not reap: %d" % zombies)
        print("times that mewsd's standard error was full: %d" %
              self.w.stderr_full)
        self.judge.begin(OVER)
        pause(0.5)
        self.judge.ends = True
        self.judge.thread.join()
        return bad + self.w.left()

    def run(self):
        world.stages()
        self.w.start()
        self.w.wait_helpers()
        places = self.cast.first()
        # from here on there are threads: none may be when actors are forked
        self.cast.start(self.seed)
        self.judge.thread.start()
        threading.Thread(target=self.truth, daemon=True).start()
        self.calm()
        self.rage(places)
        bad = self.last()
        series = (self.idle, self.storm, self.times.life)
        self.judge.print("the whole storm", series)
        return bad + self.judge.verdict(series, self.times.storm >= LONG)


def keep_logs():
    """They would go with the host."""
    shutil.rmtree(LOGS, ignore_errors=True)
    shutil.copytree(suite.ROOT + "/log", LOGS + "/log")
    shutil.copy2(suite.ROOT + "/mewsd.log", LOGS)
    print("logs are in " + LOGS)


def main(argv):
    seconds = float(argv[0]) if argv else 7200.0
    seed = argv[1] if argv[1:] and argv[1] else "%x" % random.getrandbits(32)
    if lacks := world.built():
        print("lacks %s" % ", ".join(lacks))
        return 2
    soak = Soak(seconds, seed)
    print("seed %s: %s" % (seed, soak.times), flush=True)
    try:
        bad = soak.run()
    finally:
        soak.w.read_late()
        keep_logs()
    for b in bad:
        print("not ok " + b)
    if seconds < LONG:
        print("slopes are printed and not judged: %.0f s are too short" %
              seconds)
    print("%s soak: seed %s, %.0f s: %s" % (
        "not ok" if bad else "ok", seed, seconds,
        "%d things are wrong" % len(bad) if bad else "all that was answered "
        "was true"))
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
