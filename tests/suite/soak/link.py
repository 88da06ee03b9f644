"""What the soak's processes have in common: phases, gate, reports, seeds.

Every actor is a process of its own with the uid that it has for good: in one
process a seteuid(2) for one caller would be all threads'.  An actor says what
it saw in packets of JSON; they arrive in the order in which they were sent, so
that a disturbance is known before what it broke.
"""
import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import sys
import time
import traceback

WAIT, QUIET, STORM, LAST, FINAL, OVER = range(6)
GATE = "/run/soak.gate"
PACKET = 200_000
WORDS = struct.Struct("=iiii")


class Shared:
    """Four numbers that all processes see: phase, gate wanted, mewsd's pid,
    highest event told."""

    def __init__(self):
        self.map = mmap.mmap(-1, mmap.PAGESIZE)
        with open(GATE, "w"):
            os.chmod(GATE, 0o666)

    def _get(self, i):
        return WORDS.unpack_from(self.map)[i]

    def _set(self, i, v):
        struct.pack_into("=i", self.map, 4 * i, v)

    phase = property(lambda s: s._get(0), lambda s, v: s._set(0, v))
    wanted = property(lambda s: s._get(1), lambda s, v: s._set(1, v))
    mewsd = property(lambda s: s._get(2), lambda s, v: s._set(2, v))
    told = property(lambda s: s._get(3), lambda s, v: s._set(3, v))


class Gate:
    """Open for all who start honest VMs; closed while the suite has another
    staged tree.  Whoever closes it is let in first."""

    def __init__(self, shared):
        self.shared = shared
        self.fd = os.open(GATE, os.O_RDWR | os.O_CLOEXEC)

    @contextlib.contextmanager
    def through(self):
        while self.shared.wanted:
            pause(0.05)
        fcntl.flock(self.fd, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def closed(self):
        self.shared.wanted = 1
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            self.shared.wanted = 0
            fcntl.flock(self.fd, fcntl.LOCK_UN)


def pause(seconds):
    select.select([], [], [], max(0, seconds))


def seeded(seed, *what):
    """A generator of its own for each user of the seed."""
    text = ":".join(map(str, (seed, *what)))
    return random.Random(hashlib.sha256(text.encode()).digest())


class Reports:
    """Many senders, one reader."""

    def __init__(self):
        self.rd, self.wr = socket.socketpair(socket.AF_UNIX,
                                             socket.SOCK_SEQPACKET)
        self.wr.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)

    def send(self, what, **fields):
        self.wr.send(json.dumps({"what": what, **fields}).encode())

    def recv(self, timeout):
        if not select.select([self.rd], [], [], timeout)[0]:
            return None
        return json.loads(self.rd.recv(PACKET))


class Actor:
    """One row of a table of actors, in its own process; step() is called until
    its phases are over, end() after them."""

    phases = (STORM,)
    lasts = False  # until all others have ended
    attacks = False  # it waits for a processor behind those who do not

    def __init__(self, name, env, uid, seed, **args):
        self.name, self.env, self.uid = name, env, uid
        self.shared, self.reports = env.shared, env.reports
        self.rnd = seeded(seed, name)
        self.args = args
        self.pid = 0

    # -- in the actor's process

    def begin(self):
        pass

    def step(self):
        raise NotImplementedError

    def end(self):
        pass

    def wrong(self, kind, expected, got):
        self.reports.send("wrong", actor=self.name, kind=kind,
                          expected=expected, got=str(got)[:600],
                          at=time.monotonic())

    def broken(self, kind, why, begun):
        """No answer, or one that a disturbance excuses."""
        self.reports.send("broken", actor=self.name, kind=kind,
                          why=str(why)[:300], begun=begun,
                          at=time.monotonic())

    def count(self, kind, n=1):
        self.reports.send("count", actor=self.name, kind=kind, n=n)

    def over(self):
        return self.shared.phase >= OVER

    def live(self):
        self.begin()
        while self.shared.phase < LAST:
            if self.shared.phase in self.phases:
                self.step()
            else:
                pause(0.1)
        self.end()

    # -- in the director's

    def fork(self):
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if self.attacks:
                os.nice(10)
            if self.uid:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
            self.live()
            status = 0
        except BaseException:
            self.reports.send("died", actor=self.name,
                              why=traceback.format_exc()[-3000:])
        finally:
            sys.stdout.flush()
            os._exit(status)
