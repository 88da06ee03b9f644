"""What a call costs: exec's round trip, the CPU of a GET, a long list."""
import base64
import json
import os
import sqlite3
import struct
import time

import guest
import host
import suite
from wire import FRAME_STDIN, FRAME_STDOUT

EXEC_RUNS, LOOPS, FORKS = 40, 10, 50
TRUE = ["/bin/busybox", "true"]  # the same program by the same path
GETS = 20000
LIST = 1000


# -- exec ------------------------------------------------------------------

def ws_exec(s, name, cmd):
    """One exec over a WebSocket of its own; its exit status."""
    c = s.connect()
    c.sendall(("GET /api/v1/vms/%s/exec HTTP/1.1\r\nHost: mews\r\n"
               "Connection: Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
               "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n" % (
                   name, base64.b64encode(os.urandom(16)).decode())).encode())
    buf = b""
    while b"\r\n\r\n" not in buf:
        buf += more(c)
    if not buf.startswith(b"HTTP/1.1 101"):
        raise AssertionError(buf)
    buf = buf.partition(b"\r\n\r\n")[2]
    body = json.dumps({"cmd": cmd}).encode()
    c.sendall(bytes([0x81, 0x80 | len(body)]) + b"\0\0\0\0" + body)
    while True:
        while len(buf) < 2 or len(buf) < 2 + (buf[1] & 127):
            buf += more(c)
        n = buf[1] & 127  # what true(1) says is short
        data, buf = buf[2:2 + n], buf[2 + n:]
        if data[:1] == b"\3":
            break
    c.close()
    if json.loads(data[1:])["status"] != "Success":
        raise AssertionError(data)


def more(c):
    data = c.recv(65536)
    if not data:
        raise AssertionError("closed")
    return data


def ping(mux):
    """The shortest way to the agent's process and back."""
    mux.send(guest.PING, guest.SYN, 0, 7)
    end = time.monotonic() + 10
    while True:
        while len(mux.buf) < 12:
            mux.fill(end)
        kind = mux.buf[1]
        mux.step(end)
        if kind == guest.PING:
            return


def timed(fn, *args):
    t = time.monotonic()
    fn(*args)
    return (time.monotonic() - t) * 1e3


class Forks:
    """Milliseconds of one fork, exec and wait by a shell in the guest.

    Asked for like an exec is: once, by bytes that come over the channel to a
    guest that idles, of the very program, in the workload's root and
    namespaces.  What the way there costs is taken off by asking the same
    shell for nothing.
    """

    def __init__(self, mux):
        self.sh = guest.Exec(mux, ["sh", "-c", "while read x; do $x;"
                                      "echo; done"], stdin=True)

    def shot(self, what):
        self.sh.frame(FRAME_STDIN, what + b"\n")
        while not self.sh.out[FRAME_STDOUT]:
            self.sh.step()
        self.sh.out[FRAME_STDOUT] = b""

    def one(self):
        return timed(self.shot, " ".join(TRUE).encode()) - timed(
            self.shot, b":")


def loop_of_forks(mux):
    """The same in a loop: all of it warm, nobody waits for an interrupt."""
    loop = "i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); done"

    def run(what):
        code, _, err = guest.run(mux, "sh", "-c", loop % (FORKS, what))
        if code:
            raise AssertionError(err)

    return (timed(run, " ".join(TRUE)) - timed(run, "[ 1 ]")) / FORKS


def exec_trip(rep, n):
    n = max(n, EXEC_RUNS)
    s = suite.Suite(log_level="info").start()
    s.wait_helpers()
    if (a := s.create("web")).status != 201:
        raise AssertionError(a)
    s.wait_ready("web")
    mac = s.get("/api/v1/vms/web").json()["mac_address"]
    b = host.Bare(host.argv_of(s, "web"))
    b.wait_ready()
    mux = guest.Mux(b.agent())
    if (got := guest.call(mux, "PUT", "/v1/boot", guest.spec(
            mac=mac)))[0] != 200:
        raise AssertionError(got)
    forks = Forks(mux)
    api, cli, direct, floor, loop = [], [], [], [], []
    for i in range(n + 1):
        got = (timed(ws_exec, s, "web", TRUE),
               timed(s.cli, "exec", "web", *TRUE),
               timed(guest.run, mux, *TRUE), timed(ping, mux) + forks.one())
        if i == 0:
            continue
        for to, v in zip((api, cli, direct, floor), got):
            to.append(v)
        if i <= LOOPS:
            loop.append(timed(ping, mux) + loop_of_forks(mux))
    b.close()
    rep.row("exec true, WebSocket; bare: echo + fork, exec", api, "ms",
            "1.5 x bare", floor, 1.5)
    rep.row("exec true, WebSocket; bare: echo + fork, exec in a loop", api,
            "ms", None, loop)
    rep.row("exec true, WebSocket; bare: exec at the agent", api, "ms", None,
            direct)
    rep.row("mews exec web true, whole process", cli, "ms")
    s.delete("/api/v1/vms/web")
    s.stop()
    host.remove_state()


# -- GET -------------------------------------------------------------------

def cpu_ns(pid):
    """User and system time of all threads, in nanoseconds."""
    total = 0
    for t in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, t)) as f:
            total += int(f.read().split()[0])
    return total


def cpu_of(s, names):
    rooms = s.rooms()
    return {n: cpu_ns(rooms[n]) for n in names}


def cpu_of_get(rep, s, n):
    rooms = ("apid-admin", "orchd")
    k = host.Keep(s)
    each = GETS // n
    total, part = [], {r: [] for r in rooms}
    for _ in range(n):
        before = cpu_of(s, rooms)
        for _ in range(each):
            if k.ask("GET", "/api/v1/vms/v1").status != 200:
                raise AssertionError("GET")
        after = cpu_of(s, rooms)
        for r in rooms:
            part[r].append((after[r] - before[r]) / each / 1e3)
        total.append(sum(part[r][-1] for r in rooms))
    k.close()
    rep.row("CPU of GET /vms/:name, apid and orchd", total, "us", "40 us",
            limit=40, note="%d requests" % (each * n))
    for r in rooms:
        rep.row("  of it in " + r, part[r], "us")


def time_of_list(rep, s, n):
    k = host.Keep(s)
    got = []
    for _ in range(max(n, 20)):
        t = time.monotonic()
        a = k.ask("GET", "/api/v1/vms")
        got.append((time.monotonic() - t) * 1e3)
        if len(a.json()) != LIST:
            raise AssertionError("list of %d" % len(a.json()))
    k.close()
    rep.row("GET /vms with %d VMs, to the last byte" % LIST, got, "ms", "5 ms",
            limit=5, note="%d bytes" % len(a.body))


def fill(db, n):
    """n copies of the one row, stopped, with places of their own."""
    with sqlite3.connect(db) as c:
        cols = [r[1] for r in c.execute("PRAGMA table_info(vm)")]
        first = dict(zip(cols, c.execute("SELECT * FROM vm").fetchone()))
        for i in range(1, n):
            row = dict(first, uid=first["uid"] + i, id=first["id"] + i,
                       name="v%d" % (i + 1), slot=first["slot"] + i,
                       ipv4=first["ipv4"] + i,
                       mac=b"\x02\0\0\0" + struct.pack(">H", i))
            c.execute("INSERT INTO vm (%s) VALUES (%s)" % (
                ",".join(cols), ",".join("?" * len(cols))),
                [row[x] for x in cols])
        c.execute("UPDATE tenant SET last_id = last_id + ?", (n,))
    c.close()


def calls(rep, n):
    s = host.many(LIST).start()
    s.wait_helpers()
    if (a := s.create("v1")).status != 201:
        raise AssertionError(a)
    if (a := s.post("/api/v1/vms/v1/stop")).status != 200:
        raise AssertionError(a)
    cpu_of_get(rep, s, n)
    s.stop()
    fill(suite.ROOT + "/lib/store/store.db", LIST)
    s.start()
    s.wait_helpers()
    time_of_list(rep, s, n)
    s.stop()
    host.remove_state()
