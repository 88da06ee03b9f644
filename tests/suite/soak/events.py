"""Subscribers: every event once, in order, whoever dies meanwhile.

What was received goes to the judge, who compares it with what the store has.
"""
import json
import time

from client import ANSWER, Broken, Stream, head, request
from link import LAST, QUIET, STORM, Actor, pause

EVENTS = "/api/v1/events/vms"
EXPLAINED = 30.0  # seconds until a list and its events agree
CATCH_UP = 60.0


class Feed:
    """One connection: next() gives (id, type, data) or None when there is
    nothing for so long."""

    def __init__(self, path, after=None, query=False, greedy=True):
        self.s = Stream(path, ANSWER)
        self.left = 0  # of the chunk that is being read
        self.text = b""
        self.greedy = greedy
        target, field = EVENTS, ""
        if after is not None and query:
            target += "?after=%d" % after
        elif after is not None:
            field = "Last-Event-ID: %d\r\n" % after
        try:
            self.s.send(("GET %s HTTP/1.1\r\nHost: m\r\n%s\r\n"
                         % (target, field)).encode())
            self.status, self.fields = head(self.s)
            self.body = b""
            if self.status != 200:
                self.body = self.s.take(int(
                    self.fields.get("content-length", 0)))
        except Broken:
            self.s.close()
            raise
        self.at = None

    def _chunk(self):
        """Some more text, of chunks."""
        if self.left == 0:
            self.left = int(self.s.until(b"\r\n"), 16)
            if self.left == 0:
                raise Broken("the stream has an end")
        while not self.s.buf:
            self.s.more()
        n = min(self.left, len(self.s.buf))
        self.text += self.s.take(n)
        self.left -= n
        if self.left == 0:
            self.s.take(2)

    def next(self, timeout):
        while True:
            while b"\n\n" in self.text:
                one, _, self.text = self.text.partition(b"\n\n")
                f = dict(l.split(": ", 1) for l in one.decode().split("\n")
                         if ": " in l and not l.startswith(":"))
                if "id" in f:
                    self.at = int(f["id"])
                if "data" in f:
                    return int(f["id"]), f["event"], json.loads(f["data"])
            if not self.s.ready(timeout):
                return None
            self._chunk()

    def close(self):
        self.s.close()


class Subscriber(Actor):
    """args: hops (seconds until it hangs up by itself, 0 never), slow."""

    phases = (QUIET, STORM)
    lasts = True

    def begin(self):
        self.feed, self.pos, self.hop = None, 0, 0.0
        self.batch = []

    def tell(self):
        if self.batch:
            self.reports.send("events", sub=self.name, events=self.batch)
            self.batch = []

    def connect(self):
        begun = time.monotonic()
        try:
            feed = Feed(self.env.sock, self.pos, self.rnd.random() < 0.5)
        except Broken as e:
            self.broken("events", e, begun)
            pause(0.2)
            return
        if feed.status != 200:
            feed.close()
            if feed.status != 503:
                self.wrong("events", "200", "%d %r" % (feed.status, feed.body))
            pause(1)
            return
        self.count("subscriptions")
        self.feed = feed
        hops = self.args.get("hops", 0)
        self.hop = time.monotonic() + self.rnd.uniform(0.2, hops) if hops \
            else float("inf")

    def hear(self, seconds):
        end, begun = time.monotonic() + seconds, time.monotonic()
        try:
            while time.monotonic() < min(end, self.hop):
                e = self.feed.next(0.2)
                if e is None:
                    continue
                if e[1] == "GAP":
                    self.wrong("events", "event %d is kept" % (self.pos + 1),
                               e[2])
                    self.pos = e[2]["last"]
                    self.reports.send("gap", sub=self.name, to=self.pos)
                    continue
                self.batch.append((e[0], e[1], e[2]["name"]))
                # position is what arrived, whether or not it should have
                self.pos = e[0]
                if self.args.get("slow"):
                    pause(0.05)
                if len(self.batch) >= 100:
                    self.tell()
        except Broken as e:
            self.broken("events", e, begun)
            self.hang_up()
        if time.monotonic() >= self.hop:
            self.hang_up()
        self.tell()

    def hang_up(self):
        if self.feed is not None:
            self.feed.close()
        self.feed = None

    def step(self):
        if self.feed is None:
            self.connect()
        else:
            self.hear(1.0)

    def end(self):
        """Until it has heard the last that there is."""
        while self.shared.phase == LAST:
            self.step()
        until = time.monotonic() + CATCH_UP
        while self.pos < self.shared.told and time.monotonic() < until:
            self.step()
        self.hang_up()


class Lister(Actor):
    """Subscribes from now on, then lists: no VM is kept or missed for ever."""

    phases = (QUIET, STORM)

    def listed(self):
        a = request(self.env.sock, "GET", "/api/v1/vms")
        if a.status != 200:
            raise Broken("list: %r" % a)
        return {v["name"] for v in a.json()}

    def hear(self, feed, model, seen, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            e = feed.next(0.1)
            if e is None:
                continue
            seen.append((e[1], e[2]["name"]))
            if e[1] == "VM_CREATED":
                model.add(e[2]["name"])
            elif e[1] == "VM_DELETED":
                model.discard(e[2]["name"])

    def unexplained(self, now, model, seen):
        return [n for n in now - model if ("VM_DELETED", n) not in seen] + \
            [n for n in model - now if ("VM_CREATED", n) not in seen]

    def step(self):
        begun = time.monotonic()
        feed = None
        try:
            feed = Feed(self.env.sock)
            if feed.status != 200:
                raise Broken("%d" % feed.status)
            model = self.listed()
            seen = []
            self.hear(feed, model, seen, self.rnd.uniform(1, 5))
            now, seen = self.listed(), []
            until = time.monotonic() + EXPLAINED
            while (odd := self.unexplained(now, model, seen)):
                if time.monotonic() > until:
                    self.wrong("lister", "events that explain the list", odd)
                    break
                self.hear(feed, model, seen, 0.3)
            self.count("lists with events")
        except Broken as e:
            self.broken("lister", e, begun)
            pause(0.5)
        finally:
            if feed is not None:
                feed.close()
        pause(0.5)
