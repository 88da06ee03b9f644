"""Hears all reports, and says at any time what has come of the soak."""
import bisect
import collections
import heapq
import threading
import time

import measure
from link import QUIET, STORM
from measure import percentile, percentile_range

RECOVERY = 5.0  # seconds after a disturbance that count for no time
FACTOR = 3.0  # of the quiet p99
ENOUGH = 100  # requests of a group, to judge its p99
GROUPS = {
    "read": ("get", "list", "read", "console-log", "refused"),
    "exec": ("exec", "exec-down", "console"),
    "change": ("create", "start", "stop", "delete", "replay"),
    "guest": ("guest-exec",),
}
GROUP = {kind: g for g, kinds in GROUPS.items() for kind in kinds}
SLOWEST = 3  # of each group, that are printed
SHOWN = 40  # wrong answers that are printed in full
TIMES = {"VM_CREATED": lambda l: 1, "VM_DELETED": lambda l: 1,
         "VM_RUNNING": lambda l: 1 + l["starts"],
         "VM_STOPPED": lambda l: l["stops"]}


class Windows:
    """When something was disturbed, one after the other; the last may not be
    over."""

    def __init__(self):
        self.rows = []  # [begin, end or None, name]

    def open(self, name, at):
        self.rows.append([at, None, name])

    def close(self, at):
        self.rows[-1][1] = at

    def hit(self, begun, ended, name=""):
        for b, e, n in reversed(self.rows):
            if e is not None and e + RECOVERY < begun:
                break
            if n.startswith(name) and b <= ended:
                return n
        return None

    def share(self, begun, ended):
        """Of a time, how much of it was disturbed."""
        n, last = 0.0, begun
        for b, e, _ in self.rows:
            lo = max(b, last)
            hi = min(e + RECOVERY if e is not None else ended, ended)
            n += max(0.0, hi - lo)
            last = max(last, hi)
        return n / max(1e-9, ended - begun)


class Judge:
    def __init__(self, reports, shared):
        self.reports, self.shared = reports, shared
        self.lock = threading.RLock()
        self.windows = Windows()
        self.took = {QUIET: collections.defaultdict(list),
                     STORM: collections.defaultdict(list)}
        self.answers = collections.Counter()
        self.counts = collections.Counter()
        self.excused = collections.Counter()
        self.wrongs = []
        self.heard = {}  # subscriber: [(id, type, name)]
        self.gaps = collections.Counter()
        self.truth = []
        self.lives = {}
        self.lost = set()
        self.died = []
        self.phase = 0
        self.at = {}  # phase: (begun, ended)
        self.shown = 0
        self.ends = False
        self.thread = threading.Thread(target=self.listen, daemon=True)

    # -- what is heard

    def listen(self):
        while not self.ends:
            m = self.reports.recv(0.2)
            if m is not None:
                with self.lock:
                    getattr(self, "on_" + m.pop("what").replace("-", "_"))(**m)

    def on_answer(self, actor, kind, begun, at, status, again):
        self.answers[kind] += 1
        if self.phase in self.took and begun >= self.at[self.phase][0]:
            # what disturbs it was said before it was answered
            if self.windows.hit(begun, at) is None:
                self.took[self.phase][kind].append((begun, at, again))

    def on_wrong(self, actor, kind, expected, got, at):
        self.wrongs.append((at, actor, kind, expected, got,
                            self.windows.hit(at, at)))
        if len(self.wrongs) <= SHOWN:
            print("WRONG %s" % self.words(self.wrongs[-1]), flush=True)

    def on_broken(self, actor, kind, why, begun, at):
        """500 and 507 are for a store that fails; all else any disturbance
        excuses, but nothing without one."""
        store = why[:3] in ("500", "507")
        hit = self.windows.hit(begun, at, "store" if store else "")
        if hit is not None:
            self.excused[kind] += 1
            return
        self.on_wrong(actor, kind, "an answer, in %.1f s" % (at - begun), why,
                      at)

    def on_count(self, actor, kind, n):
        self.counts[kind] += n

    def on_window(self, name, at):
        self.windows.open(name, at)
        self.counts["disturbed: " + name] += 1

    def on_window_end(self, at):
        self.windows.close(at)

    def on_events(self, sub, events):
        self.heard.setdefault(sub, []).extend(map(tuple, events))

    def on_gap(self, sub, to):
        self.gaps[sub] += 1

    def on_life(self, name, **life):
        self.lives[name] = life

    def on_lost(self, vm):
        self.lost.add(vm)

    def on_died(self, actor, why):
        self.died.append((actor, why))
        print("DIED %s: %s" % (actor, why), flush=True)

    def begin(self, phase):
        with self.lock:
            now = time.monotonic()
            if self.phase in self.at:
                self.at[self.phase] = (self.at[self.phase][0], now)
            self.phase = phase
            self.at[phase] = (now, None)
            self.shared.phase = phase

    # -- what comes of it

    def words(self, w):
        at, actor, kind, expected, got, hit = w
        t0 = self.at.get(STORM, (at, None))[0]
        return "at %.1f s, %s, %s%s: expected %s; got %s" % (
            at - t0, actor, kind, ", during " + hit if hit else "", expected,
            got)

    def events(self):
        """(twice, missing, out of order, told): of all subscribers."""
        twice = missing = order = told = 0
        said = []
        for sub, rows in self.heard.items():
            ids = [r[0] for r in rows]
            told += len(ids)
            most = max(ids)
            if len(set(ids)) != len(ids):
                d = [i for i, n in collections.Counter(ids).items() if n > 1]
                twice += len(d)
                said.append("%s: twice: %s" % (sub, d[:5]))
            back = [b for a, b in zip(ids, ids[1:]) if b < a]
            order += len(back)
            if back:
                said.append("%s: out of order: %s" % (sub, back[:5]))
            # all of them began at the first that there is
            there = self.truth[:bisect.bisect_right(self.truth, most)]
            gone = sorted(set(there) - set(ids))
            missing += len(gone)
            if gone:
                said.append("%s: missing: %s" % (sub, gone[:5]))
            # a truth that is read now and then lags
            ghosts = set(ids) - set(there)
            ghosts = {i for i in ghosts if i <= self.truth[-1]} \
                if self.truth else set()
            if ghosts:
                missing += len(ghosts)
                said.append("%s: told and not kept: %s" % (
                    sub, sorted(ghosts)[:5]))
        return (twice, missing, order, told), said

    def disagree(self):
        """Subscribers that were told different things under one number."""
        known, said = {}, []
        for sub, rows in self.heard.items():
            for i, typ, name in rows:
                if known.setdefault(i, (typ, name)) != (typ, name):
                    said.append("%s: event %d is %s %s, another's %s" % (
                        sub, i, typ, name, known[i]))
        return said

    def behind(self):
        """Who did not hear the last event, after all is quiet."""
        last = self.truth[-1] if self.truth else 0
        return ["%s: heard up to %d of %d" % (sub, rows[-1][0], last)
                for sub, rows in self.heard.items() if rows[-1][0] < last]

    def stories(self):
        """VMs whose events are not what was answered of them."""
        n, said, seen = collections.Counter(), [], set()
        for rows in self.heard.values():
            for i, typ, name in rows:
                if i not in seen:
                    seen.add(i)
                    n[typ, name] += 1
        for name, life in self.lives.items():
            for typ, many in TIMES.items():
                if not life["odd"] and n[typ, name] != many(life):
                    said.append("%s: %d %s, answered were %d" % (
                        name, n[typ, name], typ, many(life)))
        return said

    def times(self):
        """Rows of text, and groups that are too slow."""
        text = ["%-8s %7s %9s %9s  %7s %9s %9s %6s" % (
            "group", "quiet", "p50 ms", "p99 ms", "storm", "p50 ms", "p99 ms",
            "ratio")]
        slow, slowest = [], []
        for g, kinds in GROUPS.items():
            q = [1000 * (b - a) for k in kinds
                 for a, b, _ in self.took[QUIET][k]]
            s, rows = [], []
            for k in kinds:
                for a, b, why in self.took[STORM][k]:
                    s.append(1000 * (b - a))
                    rows.append((b - a, k, a, why))
            slowest += [(g, *row) for row in heapq.nlargest(SLOWEST, rows)]
            q99, s99 = percentile(q, 99), percentile(s, 99)
            few = len(q) < ENOUGH or len(s) < ENOUGH
            text.append("%-8s %7d %9.1f %9.1f  %7d %9.1f %9.1f %6.2f%s" % (
                g, len(q), percentile(q, 50), q99, len(s), percentile(s, 50),
                s99, s99 / q99 if q and s else float("nan"),
                "  too few to judge" if few else ""))
            if few:
                continue
            # where so many requests can tell: theirs is at least, at most
            least, most = percentile_range(s, 99)[0], percentile_range(q, 99)[1]
            if least > FACTOR * most:
                slow.append("p99 of %s: %.1f ms, at least %.1f; quiet %.1f, at "
                            "most %.1f" % (g, s99, least, q99, most))
        t0 = self.at.get(STORM, (0, 0))[0]
        text += ["slowest of %s: %s, %.0f ms, at %.0f s%s" % (
            g, kind, 1000 * took, at - t0, ", " + why if why else "")
            for g, took, kind, at, why in slowest]
        return text, slow

    def print(self, title, series):
        with self.lock:
            (twice, missing, order, told), _ = self.events()
            print("-- %s" % title)
            print("requests answered %d, of %s" % (
                self.answers.total(), ", ".join(
                    "%s %d" % kv for kv in self.answers.most_common())))
            print("wrong answers %d; without one, during a disturbance %d" % (
                len(self.wrongs), self.excused.total()))
            print("events told %d (%d are kept): twice %d, missing %d, out of "
                  "order %d" % (told, len(self.truth), twice, missing, order))
            print("; ".join("%s %d" % kv for kv in sorted(self.counts.items())))
            begun, ended = self.at.get(STORM, (0, 0))
            if begun:
                print("%.0f %% of the storm within %g s of a disturbance: not "
                      "in its p99" % (100 * self.windows.share(
                          begun, ended or time.monotonic()), RECOVERY))
            print("\n".join(self.times()[0]), flush=True)
        if series:
            print("\n".join(measure.compare(*series)[0]), flush=True)

    def verdict(self, series, long):
        """What failed, in words."""
        with self.lock:
            bad = [self.words(w) for w in self.wrongs]
            bad += ["died: %s: %s" % d for d in self.died]
            bad += self.events()[1] + self.disagree() + self.behind()
            bad += self.stories() + self.times()[1]
        if long:
            bad += measure.compare(*series)[1]
        return bad
