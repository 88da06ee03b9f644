"""What happens to the rooms: kill -9, SIGSTOP, mewsd's ends, a store that fails;
at times and in an order that the seed decides."""
import os
import signal
import time

import suite
from link import STORM, pause, seeded

ROOMS = ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner")
# act: rooms it may hit, how often it is in the deck
DECK = {"kill": (ROOMS + ("mewsd",), 2), "stop": (ROOMS + ("mewsd",), 1),
        "hang": (ROOMS, 1), "kill-all": (("all",), 1), "term": (("mewsd",), 1),
        "store-locked": (("orchd",), 2), "store-full": (("orchd",), 2),
        "renew": (("mewsd",), 1)}
# what ends no room: in the storm's second half, so that what grows in one is
# seen, there is nothing else
CALM = {"stop": (ROOMS + ("mewsd",), 1), "store-locked": (("orchd",), 2),
        "store-full": (("orchd",), 2)}
PAUSES = (10.0, 25.0)  # seconds between one's end and the next
BACK = 30.0  # seconds until a room is there again, its suite serves


def plan(seed, acts):
    """Yields (seconds to wait, act, room, its number)."""
    rnd = seeded(seed, "rooms", *acts)
    while True:
        deck = [(act, room) for act, (rooms, n) in acts.items()
                for room in rooms for _ in range(n)]
        rnd.shuffle(deck)
        for act, room in deck:
            yield rnd.uniform(*PAUSES), act, room, rnd.random()


class Rooms:
    """In the director: mewsd is its child."""

    def __init__(self, world, reports, shared, cast):
        self.w, self.reports, self.shared = world, reports, shared
        self.cast = cast

    def wrong(self, kind, expected, got):
        self.reports.send("wrong", actor="rooms", kind=kind, expected=expected,
                          got=str(got)[:600], at=time.monotonic())

    def back(self, room, old):
        """Another process of that room, and a suite that serves."""
        begun = time.monotonic()
        try:
            suite.wait_for(lambda: self.w.rooms().get(room, old) != old,
                           "another " + room, BACK, 0.1)
            self.w.wait_helpers(BACK)
        except (AssertionError, OSError) as e:
            self.wrong("rooms", "%s replaced, and helpers, within %g s" % (
                room, BACK), "%s after %.1f s; %s" % (
                    e, time.monotonic() - begun, self.w.rooms()))

    def again(self):
        """mewsd as an init starts it."""
        try:
            self.w.start(wait=False)
            self.w.wait_up(BACK)
            self.w.wait_helpers(BACK)
        except (AssertionError, OSError) as e:
            self.wrong("mewsd", "a suite that serves within %g s" % BACK,
                       str(e)[-600:])

    # -- the acts

    def kill(self, room, r):
        if room == "mewsd":
            self.w.proc.kill()
            self.w.proc.wait()
            pause(r)
            self.again()
            return
        pid = self.w.signal_room(room, signal.SIGKILL)
        self.back(room, pid)

    def kill_all(self, _, r):
        self.w.kill_all()
        self.w.proc.wait()
        self.again()

    def term(self, _, r):
        self.w.stop()
        pause(r)
        self.again()

    def stop(self, room, r):
        pid = self.w.signal_room(room, signal.SIGSTOP)
        pause(0.5 + 4 * r)
        try:
            os.kill(pid or 0, signal.SIGCONT) if pid else None
        except ProcessLookupError:
            pass

    def hang(self, room, r):
        """Stopped until mewsd replaces it."""
        self.back(room, self.w.signal_room(room, signal.SIGSTOP))

    def store_locked(self, _, r):
        self.w.lock_store(2.2 + 3 * r)

    def store_full(self, _, r):
        with self.w.full_store():
            pause(1 + 4 * r)

    def renew(self, _, r):
        self.cast.renew()

    def do(self, act, room, r):
        name = "%s %s" % (act, room)
        print("   %s" % name, flush=True)
        self.reports.send("window", name=name, at=time.monotonic())
        try:
            getattr(self, act.replace("-", "_"))(room, r)
        finally:
            self.reports.send("window-end", at=time.monotonic())

    def storm(self, seed, seconds):
        begun = time.monotonic()
        self.half(begun + seconds / 2, plan(seed, DECK))
        self.half(begun + seconds, plan(seed, CALM))

    def half(self, end, acts):
        for wait, act, room, r in acts:
            if time.monotonic() + wait > end:
                pause(end - time.monotonic())
                return
            pause(wait)
            assert self.shared.phase == STORM
            self.do(act, room, r)
