"""Hostile clients and hypervisors.  What they get matters little; what they
must not get, and what must be over in the end, is checked."""
import os
import socket
import time

import client
from client import Broken, Caller, request
from events import EVENTS, Feed
from link import STORM, Actor, Gate, pause

API = "/api/v1/vms"
HELD = 80  # connections of one crowd at a time
FAR = (1 << 20, 1 << 40, (1 << 63) - 1)
BIG = b"A" * 65536


# -- how a connection begins; then it is held and never read

def silent(rnd):
    return b""


def half_head(rnd):
    return b"GET /api/v1/vms HTTP/1.1\r\nHost: m\r\nX-" + b"x" * rnd.randint(
        0, 4000)


def half_body(rnd):
    return b"POST /api/v1/vms HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n{" \
        % rnd.randint(2, 262144) + b" " * rnd.choice((0, 1, 60000))


def garbage(rnd):
    return rnd.randbytes(rnd.randint(1, 5000))


def tls(rnd):
    return b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + rnd.randbytes(500)


def huge_head(rnd):
    return b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000


def huge_length(rnd):
    return b"POST /api/v1/vms HTTP/1.1\r\nHost: m\r\n" \
        b"Content-Length: 99999999999999\r\n\r\n"


def smuggle(rnd):
    return b"POST /api/v1/vms HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n" \
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"


def unread_answers(rnd):
    return b"GET /openapi HTTP/1.1\r\nHost: m\r\n\r\n" * 64


def unread_events(rnd):
    return b"GET %s?after=0 HTTP/1.1\r\nHost: m\r\n\r\n" % EVENTS.encode()


def future_events(rnd):
    return b"GET %s?after=%d HTTP/1.1\r\nHost: m\r\n\r\n" % (
        EVENTS.encode(), rnd.choice(FAR))


def bad_socket(rnd):
    return b"GET /ws/v1/vms/hostile/console HTTP/1.1\r\nHost: m\r\n" \
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n" \
        b"Sec-WebSocket-Version: 13\r\n" \
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" \
        + rnd.randbytes(200)


BEGINNINGS = (silent, silent, half_head, half_body, half_body, garbage, tls,
              huge_head, huge_length, smuggle, unread_answers, unread_events,
              future_events, bad_socket)


class Crowd(Actor):
    """args: listed (may use the API), burst (connections at once)."""

    phases = (STORM,)
    attacks = True

    def begin(self):
        self.held = []  # (socket, until, drips)
        self.vm = None
        self.c = Caller(self, self.env.sock)

    def open(self):
        begin = self.rnd.choice(BEGINNINGS)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        try:
            s.connect(self.env.sock)
            s.setblocking(False)
            s.send(begin(self.rnd) or b"")
        except OSError:
            pass  # refused, full, or closed on it: all well
        self.held.append((s, time.monotonic() + self.rnd.uniform(0.5, 40),
                          begin in (half_head, half_body)))

    def tend(self):
        """Some drip a byte; who is old hangs up."""
        now, kept = time.monotonic(), []
        for s, until, drips in self.held:
            if now > until or len(kept) >= HELD:
                s.close()
                continue
            if drips and self.rnd.random() < 0.3:
                try:
                    s.send(b"x")
                except OSError:
                    pass
            kept.append((s, until, drips))
        self.held = kept

    def stranger(self):
        """Who is not listed gets nothing."""
        method, target = self.rnd.choice((
            ("GET", API), ("DELETE", API + "/real0"), ("GET", EVENTS),
            ("POST", API), ("GET", "/api/v1/system/doctor")))
        try:
            a = request(self.env.sock, method, target,
                        {"name": "x"} if method == "POST" else None, timeout=20)
        except Broken:
            return
        if a.status < 400:
            self.wrong("stranger", "403 for %s %s" % (method, target), a)
        self.count("strangers refused")

    def future(self):
        """A number that was never given: told so, not believed."""
        after = self.rnd.choice(FAR)
        try:
            f = Feed(self.env.sock, after, self.rnd.random() < 0.5)
            try:
                if f.status != 200:
                    return
                e = f.next(5)
                if e is None or e[1] != "GAP" or e[2]["last"] >= after:
                    self.wrong("future", "GAP with last < %d" % after, e)
                self.count("ids from the future")
            finally:
                f.close()
        except Broken as e:
            self.broken("future", e, time.monotonic() - 5)

    def own_vm(self):
        """Its own VM, which floods who does not read."""
        name = "hostile-own"
        with Gate(self.shared).through():
            try:
                if request(self.env.sock, "GET", API + "/" + name,
                           timeout=20).status == 404:
                    request(self.env.sock, "POST", API, {
                        "name": name, "image": "busybox", "memory_mb": 96,
                        "cpu_cores": 1}, timeout=30)
            except Broken:
                return
        for _ in range(self.rnd.randint(1, 8)):
            try:
                ws = client.WebSocket(self.env.sock, "%s/%s/exec" % (API, name),
                                      client.EXEC, 5)
                if ws.refused:
                    ws.close()
                    continue
                cmd = self.rnd.choice((["fill", "60000000"], ["hold"],
                                       ["echo", "x" * 30000]))
                ws.send(b'{"cmd":["%s"]}' % b'","'.join(
                    w.encode() for w in cmd), 1)
                self.held.append((ws.s.sock, time.monotonic()
                                  + self.rnd.uniform(1, 40), False))
            except Broken:
                return

    def step(self):
        acts = [self.open] * 6
        if self.args["listed"]:
            acts += [self.future, self.own_vm]
        else:
            acts += [self.stranger]
        act = self.rnd.choice(acts)
        for _ in range(self.rnd.randint(1, self.args["burst"])
                       if act == self.open else 1):
            act()
        self.tend()
        pause(self.rnd.expovariate(1 / 0.4))

    def end(self):
        for s, _, _ in self.held:
            s.close()


# How a hypervisor lies (tests/suite/standin), and seconds it is left alive.
MODES = (("qmp-garbage", 3), ("qmp-huge", 3), ("qmp-deep", 3),
         ("qmp-flood", 3), ("qmp-twice", 3), ("agent-garbage", 3),
         ("agent-hello", 3), ("agent-window", 3), ("agent-mute", 6),
         ("http-split", 3), ("http-endless", 3), ("http-interim", 3),
         ("http-body", 3), ("http-status", 3), ("exec-channel", 3),
         ("exec-huge", 3), ("exec-opened", 3), ("exec-cut", 3),
         ("exec-after", 3), ("serial-flood", 2), ("honest", 3))
BOMBS = (["bomb", "memory", "48"], ["bomb", "threads", "200"],
         ["bomb", "forks", "5"], ["bomb", "spin", "1"],
         ["flood", "HTTP/1.1 101 x\r\n\r\n", "zzzzzzzzzzzzzzzz"], ["mute"],
         ["raw", "\x1b[2J"], ["status", '{"status":"Failure"}'],
         ["lie", "exec-channel"], ["lie", "exec-huge"], ["echo", "hi"])


class Hypervisors(Actor):
    """VMs whose hypervisor lies; each must end when it is told to."""

    phases = (STORM,)
    attacks = True

    def begin(self):
        self.c = Caller(self, self.env.sock)
        self.gate = Gate(self.shared)
        self.made = 0

    def try_exec(self, name, until):
        while time.monotonic() < until and self.shared.phase == STORM:
            try:
                client.execute(self.env.sock, name, self.rnd.choice(BOMBS),
                               None, 2)
            except (Broken, ValueError, KeyError, IndexError):
                pass
            pause(0.3)

    def step(self):
        mode, seconds = self.rnd.choice(MODES)
        name = "%s-%d" % (self.name, self.made)
        self.made += 1
        with self.gate.through():
            try:
                request(self.env.sock, "POST", API, {
                    "name": name, "image": "busybox", "cpu_cores": 1,
                    "memory_mb": 96, "kernel_cmdline": "standin=" + mode},
                    timeout=10)
            except Broken:
                pass  # it may be slow to answer for this one
        self.try_exec(name, time.monotonic() + seconds)
        a = self.c.ask("hostile-delete", "DELETE", API + "/" + name, None,
                       self.c.key())
        if a is not None and a.status not in (204, 404):
            self.wrong("hostile-delete", "204 for a VM with %s" % mode, a)
        self.count("hostile hypervisors")
        pause(self.rnd.expovariate(1 / 1.5))


# -- real guests

def fill_memory(rnd):
    return "dd if=/dev/zero of=/tmp/a bs=64k 2>/dev/null; " \
        "dd if=/dev/zero of=/dev/shm/a bs=64k 2>/dev/null; " \
        "rm -f /tmp/a /dev/shm/a; echo over"


def fill_more_memory(rnd):
    return "x=x; i=0; while [ $i -lt 30 ]; do x=$x$x; i=$((i+1)); done; echo over"


def fill_pids(rnd):
    """Until there is none; they stay for a while."""
    return "i=0; while [ $i -lt 5000 ]; do sleep 6 & i=$((i+1)); done 2>/dev/null"


def fill_files(rnd):
    """As many as each of four processes may open; they stay for a while."""
    return "n=$(ulimit -Hn); ulimit -n $n; for i in 1 2 3 4; do " \
        "tail -f $(yes /dev/null | head -n $n) >/dev/null 2>&1 & done; " \
        "sleep 6; kill $(jobs -p); echo over"


FILLS = (fill_memory, fill_more_memory, fill_pids, fill_files)
GUEST_BACK = 60.0


class Guests(Actor):
    """A real guest that is filled with memory, pids and files; it lives on, and
    an exec gets in."""

    phases = (STORM,)
    attacks = True

    def begin(self):
        self.c = Caller(self, self.env.sock)

    def alive(self, what):
        name, end, got = self.args["vm"], time.monotonic() + GUEST_BACK, None
        begun = time.monotonic()
        while time.monotonic() < end and self.shared.phase <= STORM:
            try:
                got = client.execute(self.env.sock, name, ["echo", what], None,
                                     20)
                if getattr(got, "out", None) == what.encode() + b"\n":
                    return True
            except Broken as e:
                got = e
            pause(1)
        if self.shared.phase > STORM:
            return True
        vm = self.c.ask("get", "GET", API + "/" + name)
        self.reports.send("lost", vm=name)
        self.wrong("guest filled", "exec in %s within %g s of %s" % (
            name, time.monotonic() - begun, what), "%s; %s" % (got, vm))
        return False

    def step(self):
        fill = self.rnd.choice(FILLS)
        try:
            client.execute(self.env.sock, self.args["vm"],
                           ["sh", "-c", fill(self.rnd)], None, 30)
        except Broken:
            pass
        if self.alive(fill.__name__):
            self.count("guests filled")
        pause(self.rnd.uniform(5, 15))


class Guest(Actor):
    """An honest caller of a real guest, which no restart of a room touches."""

    phases = (STORM,)

    def begin(self):
        self.c = Caller(self, self.env.sock)
        self.mark = None

    def step(self):
        name, code = self.args["vm"], self.rnd.randint(0, 255)
        text = "%x" % self.rnd.getrandbits(64)
        data = os.urandom(self.rnd.randint(1, 30000))
        cmd, given, out = self.rnd.choice((
            (["sh", "-c", "echo %s; exit %d" % (text, code)], None,
             text.encode() + b"\n"),
            (["sh", "-c", "cat; exit %d" % code], data, data)))
        begun = time.monotonic()
        got = self.c.exec("guest-exec", name, cmd, given)
        if isinstance(got, client.Ended) and got.code is None:
            # it was on its way through a room that ended
            self.broken("guest-exec", got.doc, begun)
        elif got is not None and (getattr(got, "out", None),
                                getattr(got, "code", None)) != (out, code):
            self.wrong("guest-exec", "%r: status %d, %d bytes" % (
                cmd, code, len(out)), got)
        pause(self.rnd.uniform(0.5, 3))
