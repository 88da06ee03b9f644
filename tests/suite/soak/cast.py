"""Who takes part: a table of actors, and the VMs that are made while the suite
has another staged tree."""
import contextlib
import os
import time

import suite
from client import Broken, request
from events import Lister, Subscriber
from honest import Life, Reader
from hostile import Crowd, Guest, Guests, Hypervisors
from link import Gate
from world import HOSTILE_USER, STRANGERS

ADMIN, USER = None, suite.USER
# name: class, offset of its uid, arguments
ACTORS = {
    "life-a": (Life, ADMIN, {"vms": 4}),
    "life-b": (Life, ADMIN, {"vms": 4}),
    "life-c": (Life, USER, {"vms": 4}),
    "life-d": (Life, USER, {"vms": 4}),
    "reader-a": (Reader, ADMIN, {}),
    "reader-b": (Reader, USER, {}),
    "events-steady": (Subscriber, USER, {}),
    "events-admin": (Subscriber, ADMIN, {}),
    "events-hops": (Subscriber, USER, {"hops": 6}),
    "events-slow": (Subscriber, USER, {"slow": True, "hops": 60}),
    "events-lister": (Lister, USER, {}),
    "guest-caller": (Guest, USER, {"vm": "real0"}),
    "guest-filler": (Guests, HOSTILE_USER, {"vm": "real1"}),
    "vmm-a": (Hypervisors, HOSTILE_USER, {}),
    "vmm-b": (Hypervisors, ADMIN, {}),
    "crowd-listed": (Crowd, HOSTILE_USER, {"listed": True, "burst": 8}),
    "crowd-a": (Crowd, STRANGERS[0], {"listed": False, "burst": 20}),
    "crowd-b": (Crowd, STRANGERS[1], {"listed": False, "burst": 20}),
}
REAL = ("real0", "real1")
# stage: VMs that are made while the suite has it; of an evil warden the slot
# is the lie, so the first VMs keep those places free
EVIL = {"wardens": ("evil-w0", "evil-w1", "evil-w2", "evil-w3"),
        "keepers": ("evil-k4", "evil-k5")}
PLACES = 6
KEYS = 4096  # IDEM_OWNER_MAX
READY = 100.0


class Cast:
    def __init__(self, world, reports, shared):
        self.w, self.reports, self.shared = world, reports, shared

    def start(self, seed):
        self.actors = []
        for name, (cls, offset, args) in ACTORS.items():
            uid = 0 if offset is None else self.w.uids + offset
            a = cls(name, Env(self.w.sock, self.shared, self.reports), uid,
                    seed, **args)
            a.fork()
            self.actors.append(a)

    def wait(self, seconds, lasts):
        """Those that did not end by then."""
        end = time.monotonic() + seconds
        left = [a for a in self.actors if a.lasts == lasts]
        while left and time.monotonic() < end:
            left = [a for a in left
                    if os.waitpid(a.pid, os.WNOHANG)[0] == 0]
            suite.select.select([], [], [], 0.1)
        for a in left:
            os.kill(a.pid, 9)
            os.waitpid(a.pid, 0)
        return [a.name for a in left]

    # -- VMs of other trees

    def ask(self, method, path, want, body=None):
        """Until it is answered as wanted."""
        end = time.monotonic() + READY
        got = None
        while time.monotonic() < end:
            try:
                got = request(self.w.sock, method, "/api/v1/vms" + path, body,
                              timeout=70)
                if got.status in want:
                    return got
            except Broken as e:
                got = e
            suite.select.select([], [], [], 0.3)
        raise AssertionError("%s %s: %s, wanted %s" % (method, path, got, want))

    def make(self, *names):
        for name in names:
            self.ask("POST", "", (201, 409), {
                "name": name, "image": "busybox", "cpu_cores": 1,
                "memory_mb": 128})

    def remove(self, *names):
        for name in names:
            self.ask("DELETE", "/" + name, (204, 404))

    def dead(self):
        """Real guests that are no more."""
        found = []
        for name in REAL:
            a = self.ask("GET", "/" + name, (200, 404))
            if a.status == 404 or a.json()["status"] != "running":
                found.append(name)
        return found

    def fill_keys(self, name):
        """As many keys of each caller as orchd remembers: from here on a new one
        takes an old one's place, and orchd does not grow by it."""
        for uid in sorted({0 if offset is None else self.w.uids + offset
                           for _, offset, _ in ACTORS.values()
                           if offset not in STRANGERS}):
            with contextlib.closing(self.w.connect(uid, 20)) as s:
                for i in range(KEYS):
                    s.sendall(b"POST /api/v1/vms/%s/start HTTP/1.1\r\nHost: m\r\n"
                              b"Idempotency-Key: fill-%d\r\n\r\n" % (
                                  name.encode(), i))
                    a = suite.recv_answer(s)
                    assert a.status == 200, a

    def real(self, *names):
        self.remove(*names)
        self.w.stage("real")
        self.make(*names)
        for name in names:
            self.w.wait_ready(name, READY)

    def first(self):
        """Real guests, behind the places of those that will be evil."""
        places = ["place%d" % i for i in range(PLACES)]
        self.make(*places)
        self.fill_keys(places[0])
        self.real(*REAL)
        self.w.stage("standin")
        return places

    def evil(self, *places):
        """What lies to launchd from now on."""
        self.remove(*places, *(n for names in EVIL.values() for n in names))
        for stage, names in EVIL.items():
            self.w.stage(stage)
            for name in names:
                try:
                    self.ask("POST", "", (201, 409, 500, 503), {
                        "name": name, "image": "busybox", "cpu_cores": 1,
                        "memory_mb": 96})
                except AssertionError:
                    pass  # it is hostile
        self.w.stage("standin")

    def renew(self):
        with Gate(self.shared).closed():
            if dead := self.dead():
                self.reports.send("count", actor="cast", n=len(dead),
                                  kind="real guests made anew")
                self.real(*dead)
            self.evil()

    def end(self):
        for vm in self.w.get("/api/v1/vms", timeout=60).json():
            self.remove(vm["name"])


class Env:
    def __init__(self, sock, shared, reports):
        self.sock, self.shared, self.reports = sock, shared, reports
