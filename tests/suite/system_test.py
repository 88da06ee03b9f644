#!/usr/bin/env python3
"""The whole suite with real guests in emulation: what must hold, holds.

usage: system_test.py [CASE...]

One suite runs through all cases, with the VMs a, b and c, which each case
leaves running as it found them.
"""
import base64
import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402
from suite import wait_for  # noqa: E402

VMS = ("a", "b", "c")
IDLE = 1000
MARK = "marker-%s" % os.urandom(8).hex()
S = None  # the suite: made by main()


def eq(got, want, what=""):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what, got, want))


def note(text):
    print("  " + text, flush=True)


# -- what the cases ask ----------------------------------------------------

def vm(name):
    a = S.get("/api/v1/vms/" + name)
    eq(a.status, 200, "GET %s: %r" % (name, a))
    return a.json()


def names():
    return sorted(v["name"] for v in S.get("/api/v1/vms").json())


def ensure(*wanted):
    """These VMs run and are ready, and no others are there."""
    for name in names():
        if name not in wanted:
            eq(S.delete("/api/v1/vms/" + name, timeout=60).status, 204, name)
    for name in wanted:
        if name not in names():
            eq(S.create(name).status, 201, "create " + name)
        elif vm(name)["status"] != "running":
            a = S.post("/api/v1/vms/%s/start" % name, timeout=60)
            eq(a.status, 200, "start %s: %r" % (name, a))
    for name in wanted:
        S.wait_ready(name)


def guest(name, script, rc=0, **kw):
    p = S.cli("exec", name, "sh", "-c", script, **kw)
    eq(p.returncode, rc, "%s in %s: %r" % (script, name, p))
    return p.stdout.decode()


def uptime(name):
    return float(guest(name, "cut -d' ' -f1 /proc/uptime"))


def exec_again(name):
    """Exec works, now or as soon as every room is back."""
    def works():
        p = S.cli("exec", name, "echo", "here")
        return p.returncode == 0 and p.stdout == b"here\n"
    wait_for(works, "exec in " + name)


def parts(slot):
    """{part: pid} of the VM in a slot."""
    uid, found = S.uids + suite.VM_FIRST + slot, {}
    for pid, line in suite.processes().items():
        with contextlib.suppress(OSError, KeyError):
            st = suite.status(pid)
            if int(st["Uid"].split()[0]) != uid or st["State"][0] in "ZX":
                continue
            for sign in ("keeper", "warden", "qemu"):
                if sign in st["Name"] or sign in line.split()[0]:
                    found[sign] = pid
    return found


def slot_of(name):
    """By its record: the directories of a VM are named by its uid."""
    pid = vm(name)["pid"]
    uid = int(suite.status(pid)["Uid"].split()[0])
    return uid - S.uids - suite.VM_FIRST


def taps():
    return sorted(re.findall(r"^\d+: (mw\d+):", suite.sh("ip", "-o", "link"),
                             re.M))


def elements():
    """Taps that the rules know of."""
    return sorted(set(re.findall(r'"(mw\d+)"', suite.sh(
        "nft", "list", "ruleset"))))


def descriptors():
    return {room: len(os.listdir("/proc/%d/fd" % pid))
            for room, pid in S.rooms().items()}


def held():
    """All that this host holds of VMs; each must be one of VMS."""
    uids = sorted(v["uid"] for v in S.get("/api/v1/vms").json())
    running = [v for v in S.get("/api/v1/vms").json() if v.get("pid")]
    slots = sorted(int(suite.status(v["pid"])["Uid"].split()[0]) -
                   S.uids - suite.VM_FIRST for v in running)
    return {
        "run/vm": (dirs("run/vm"), uids), "lib/vm": (dirs("lib/vm"), uids),
        "taps": (taps(), sorted("mw%d" % s for s in slots)),
        "elements": (elements(), sorted("mw%d" % s for s in slots)),
        "processes": (vm_processes(), 3 * len(running)),
        "mounts": (suite.mounts(), []),
    }


def dirs(d):
    return sorted(n for n in os.listdir(S.root + "/" + d)
                  if re.fullmatch("[0-9a-f]{16}", n))


def vm_processes():
    n = 0
    lo = S.uids + suite.VM_FIRST
    for pid in suite.processes():
        with contextlib.suppress(OSError, KeyError):
            st = suite.status(pid)
            n += (lo <= int(st["Uid"].split()[0]) < S.uids + suite.BLOCK_SIZE
                  and st["State"][0] not in "ZX")
    return n


def consistent():
    def same():
        with contextlib.suppress(OSError, KeyError):
            return all(a == b for a, b in held().values())
        return False
    try:
        wait_for(same, "agreement", every=0.05)
    except AssertionError:
        raise AssertionError("held, wanted: %s" % {
            k: v for k, v in held().items() if v[0] != v[1]})


def api_back(since, path="/healthz"):
    """Milliseconds from since until the API answers."""
    def up():
        with contextlib.suppress(OSError):
            return S.get(path, timeout=2).status == 200
        return False
    wait_for(up, "answer of the API", every=0.002)
    return (time.monotonic() - since) * 1000


def gone(pid):
    try:
        return suite.status(pid)["State"][0] in "ZX"
    except OSError:
        return True


def kill_hard(*pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for(lambda: gone(pid), "end of %d" % pid)


class Events:
    """The event stream after number `after`."""

    def __init__(self, after, header=True):
        self.sock = S.connect(timeout=suite.DEADLINE)
        path, head = "/api/v1/events/vms", ""
        if header:
            head = "Last-Event-ID: %d\r\n" % after
        else:
            path += "?after=%d" % after
        self.sock.sendall(("GET %s HTTP/1.1\r\nHost: m\r\n%s\r\n"
                           % (path, head)).encode())
        self.buf, self.text, self.head = b"", b"", False

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("stream ended")
        self.buf += data
        if not self.head and b"\r\n\r\n" in self.buf:
            head, _, self.buf = self.buf.partition(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            self.head = True
        while self.head and b"\r\n" in self.buf:
            size, _, rest = self.buf.partition(b"\r\n")
            n = int(size, 16)
            if len(rest) < n + 2:
                return
            self.text, self.buf = self.text + rest[:n], rest[n + 2:]

    def next(self):
        """(id, type, data)"""
        while True:
            while b"\n\n" in self.text:
                one, _, self.text = self.text.partition(b"\n\n")
                f = dict(l.split(": ", 1) for l in one.decode().split("\n")
                         if ": " in l and not l.startswith(":"))
                if "id" in f:
                    return int(f["id"]), f["event"], json.loads(f["data"])
            self._more()

    def until(self, type_, name):
        seen = []
        while True:
            e = self.next()
            seen.append(e)
            if e[1] == type_ and e[2]["name"] == name:
                return seen

    def close(self):
        self.sock.close()


def last_event():
    return S.query("SELECT max(seq) FROM event")


def websocket(path, protocol=None):
    s = S.connect()
    head = ("GET %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: %s\r\n" % (path, base64.b64encode(
                os.urandom(16)).decode()))
    if protocol:
        head += "Sec-WebSocket-Protocol: %s\r\n" % protocol
    s.sendall(head.encode() + b"\r\n")
    buf = b""
    while b"\r\n\r\n" not in buf:
        data = s.recv(4096)
        assert data, buf
        buf += data
    assert buf.startswith(b"HTTP/1.1 101 "), buf
    return s


def to_end(sock):
    """Reads until the other side ends it."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            out += data
    return out


def exec_open(name, script="echo up; exec cat"):
    """An exec with input, whose program is known to run."""
    p = subprocess.Popen(
        [S.programs + "/mews", "exec", "-i", name, "sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=dict(os.environ, MEWS_API="unix://" + S.sock), bufsize=0)
    r, _, _ = select.select([p.stdout], [], [], suite.DEADLINE)
    assert r, "exec does not start"
    eq(p.stdout.readline(), b"up\n", "exec")
    return p


def echo(p, text=b"and on\n"):
    p.stdin.write(text)
    r, _, _ = select.select([p.stdout], [], [], suite.DEADLINE)
    assert r, "no echo"
    eq(p.stdout.readline(), text, "echo")


# -- 1: kill -9 of each room -----------------------------------------------

def kill_each_room():
    ensure(*VMS)
    before = {n: (uptime(n), vm(n)["pid"]) for n in VMS}
    consistent()
    fds = descriptors()
    for room in ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner",
                 "mewsd", "all"):
        t = kill_room(room)
        took = api_back(t)
        S.wait_helpers()
        for n in VMS:
            exec_again(n)
        up = {n: (uptime(n), vm(n)["pid"]) for n in VMS}
        note("kill -9 %-10s API after %4.0f ms, exec in all VMs after %4.0f ms"
             % (room, took, (time.monotonic() - t) * 1000))
        for n in VMS:
            assert up[n][0] > before[n][0], "%s was restarted" % n
            eq(up[n][1], before[n][1], "hypervisor of " + n)
        assert took < 1000, "%s: the API took %.0f ms" % (room, took)
        before = up
    consistent()

    def settled():
        now = descriptors()
        return set(now) == set(fds) and all(now[r] <= fds[r] for r in fds)
    try:
        wait_for(settled, "descriptors")
    except AssertionError:
        raise AssertionError("descriptors: %s, before %s" % (descriptors(), fds))


def titles():
    """What ps shows of the rooms."""
    ensure("a", "b")
    rooms = S.rooms()
    seen = {room: suite.processes()[pid] for room, pid in rooms.items()
            if room != "mewsd"}
    eq(seen, {"orchd": "mews: orchd [2 vms]", "netd": "mews: netd [2 taps]",
              "launchd": "mews: launchd [2 vms]", "spawner": "mews: spawner",
              "apid": seen.get("apid"), "apid-admin": seen.get("apid-admin")})
    for room in ("apid", "apid-admin"):
        assert seen[room].startswith("mews: %s" % room), seen


def kill_room(room):
    """Time from which the API's return is measured."""
    pids = S.rooms()
    if room not in ("mewsd", "all"):
        kill_hard(pids[room])
        return time.monotonic()
    kill_hard(*([pids["mewsd"]] if room == "mewsd" else pids.values()))
    S.proc.wait()
    t = time.monotonic()
    S.start(wait=False)
    return t


# -- 2: parts of a VM ------------------------------------------------------

def kill_warden():
    ensure(*VMS)
    slot, pid, up = slot_of("a"), vm("a")["pid"], uptime("a")
    p = exec_open("a")
    console = websocket("/ws/v1/vms/a/console")
    old = parts(slot)["warden"]
    kill_hard(old)
    out, err = p.communicate(timeout=suite.DEADLINE)
    eq((out, p.returncode), (b"", 125), "exec's end: %r" % err)
    assert b"broke" in err or b"mews:" in err, err
    to_end(console)
    console.close()
    exec_again("a")
    assert parts(slot)["warden"] != old, "no new warden"
    eq(vm("a")["pid"], pid, "hypervisor")
    assert uptime("a") > up, "restarted"
    eq(vm("a")["confinement"]["verified"], True, "verified again")
    consistent()


def kill_keeper_hypervisor_and_guest_ends():
    """Each way a VM can end: state, reason, event; nothing of it stays;
    start brings it back."""
    ensure("a", "b", "c", "d")
    rows = (  # name, how, state, reason, event
        ("a", "keeper", "crashed", "keeper killed", "VM_CRASHED"),
        ("b", "qemu", "crashed", "killed", "VM_CRASHED"),
        ("c", "kill 1", "stopped", "guest power-off", "VM_STOPPED"),
        # no memory, and nobody the kernel may kill for it
        ("d", "for p in /proc/[0-9]*; do echo -1000 > $p/oom_score_adj; done;"
              "tail /dev/zero", "crashed", "guest panic", "VM_CRASHED"),
    )
    seq = last_event()
    old = {r[0]: (slot_of(r[0]), vm(r[0])["pid"]) for r in rows}
    for name, how, *_ in rows:
        if how in ("keeper", "qemu"):
            kill_hard(parts(old[name][0])[how])
        else:
            S.cli("exec", name, "sh", "-c", how)  # its end is not told
    for name, _, state, reason, event in rows:
        wait_for(lambda: vm(name)["status"] in ("crashed", "stopped"),
                 "end of " + name)
        v = vm(name)
        eq((v["status"], v.get("pid", 0)), (state, 0), "%s: %s" % (name, v))
        assert reason in v["reason"], "%s: reason %r" % (name, v["reason"])
        e = Events(seq)
        msg = e.until(event, name)[-1][2]["message"]
        e.close()
        assert reason in msg, "event says %r" % msg
        p = S.cli("exec", name, "true")
        eq(p.returncode, 125, "exec in what ended")
        wait_for(lambda: "mw%d" % old[name][0] not in taps(), "end of tap")
        eq(parts(old[name][0]), {}, "processes")
        uid = v["uid"]
        wait_for(lambda: uid not in dirs("run/vm"), "end of run/vm")
    eq(taps(), [], "taps")
    eq(elements(), [], "elements")
    ensure("a", "b", "c", "d")
    for name, (_, pid) in old.items():
        assert vm(name).get("pid") != pid
        eq(guest(name, "echo again"), "again\n", name)
    ensure(*VMS)
    consistent()


# -- 3: connections --------------------------------------------------------

def connections():
    """IDLE silent connections: the newest is told so, all others go on."""
    ensure(*VMS)
    cap = int(S.conf["max_connections"])
    p = exec_open("a")
    mine = S.connect()
    mine.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
    eq(suite.recv_answer(mine).status, 200, "keep-alive")
    idle = [S.connect(timeout=2) for _ in range(cap - 3)]
    with contextlib.ExitStack() as stack:
        for s in idle:
            stack.enter_context(s)
        refused = None
        for _ in range(40):  # what other connections of ours are still open
            s = stack.enter_context(S.connect(timeout=suite.DEADLINE))
            with contextlib.suppress(BrokenPipeError):  # refused before
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
            a = suite.recv_answer(s)
            if a.status != 200:
                refused = a
                break
        assert refused is not None, "%d connections and no end" % (cap + 37)
        eq(refused.status, 503, "the newest")
        assert "too many connections" in refused.json()["error"], refused
        assert "retry-after" in refused.headers, refused.headers
        p2 = S.cli("ps")
        eq(p2.returncode, 125, "the CLI is told so, too")
        assert b"too many connections" in p2.stderr, p2
        mine.sendall(b"GET /api/v1/vms/a HTTP/1.1\r\nHost: m\r\n\r\n")
        eq(suite.recv_answer(mine).json()["status"], "running", "keep-alive")
        echo(p)
        # 64 requests at once on what is open
        for s in idle[:64]:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
        for s in idle[:64]:
            eq(suite.recv_answer(s).status, 200, "an idle one that wakes")
    wait_for(lambda: S.get("/healthz").status == 200, "service again")
    echo(p)
    p.stdin.close()
    eq(p.wait(suite.DEADLINE), 0, "exec's end")
    p.stdout.close()
    p.stderr.close()
    mine.close()


# -- 4: identity -----------------------------------------------------------

def identity():
    ensure("a")
    user, stranger = S.uids + suite.USER, S.uids + suite.STRANGER
    routes = (("GET", "/api/v1/vms"), ("POST", "/api/v1/vms"),
              ("GET", "/api/v1/vms/a"), ("DELETE", "/api/v1/vms/a"),
              ("POST", "/api/v1/vms/a/start"), ("POST", "/api/v1/vms/a/stop"),
              ("GET", "/api/v1/vms/a/console-log"),
              ("GET", "/api/v1/events/vms"), ("GET", "/api/v1/system/doctor"))
    seq = last_event()
    for method, path in routes:
        body = {"name": "x", "image": "busybox"} if path.endswith("/vms") and \
            method == "POST" else None
        a = S.request(method, path, body, uid=stranger)
        eq(a.status, 403, "%s %s" % (method, path))
        assert "access denied" in a.json()["error"], a
    for path, protocol in (("/api/v1/vms/a/exec", "v5.channel.k8s.io"),
                           ("/ws/v1/vms/a/console", None)):
        with contextlib.closing(S.connect(stranger)) as s:
            s.sendall(("GET %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s\r\n"
                       % (path, "Sec-WebSocket-Protocol: %s\r\n" % protocol
                          if protocol else "")).encode())
            eq(suite.recv_answer(s).status, 403, path)
    for path in ("/healthz", "/openapi"):
        eq(S.get(path, uid=stranger).status, 200, path)
    eq((last_event(), names()), (seq, ["a"]), "nothing changed")
    for uid in (0, user):
        eq(S.get("/api/v1/vms/a", uid=uid).status, 200, "uid %d" % uid)
    eq(S.get("/api/v1/system/doctor", uid=user).status, 200, "doctor")
    # which process serves whom shows when it goes
    for room, ends, stays in (("apid", user, 0), ("apid-admin", 0, user)):
        with contextlib.closing(S.connect(ends)) as e, \
                contextlib.closing(S.connect(stays)) as k:
            for s in (e, k):
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
                eq(suite.recv_answer(s).status, 200)
            kill_hard(S.rooms()[room])
            eq(to_end(e), b"", "connection of a dead " + room)
            k.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
            eq(suite.recv_answer(k).status, 200, "the other kind of caller")
        for uid in (0, user):
            wait_for(lambda: S.get("/healthz", uid=uid).status == 200, "apid")


# -- 5: idempotency --------------------------------------------------------

def raw(method, path, key, body=None):
    data = json.dumps(body).encode() if body else b""
    s = S.connect()
    s.sendall(("%s %s HTTP/1.1\r\nHost: m\r\nIdempotency-Key: %s\r\n"
               "Content-Length: %d\r\n\r\n" % (method, path, key, len(data))
               ).encode() + data)
    return s


def again(method, path, key, body=None):
    """The client's retry: until there is an answer."""
    end = time.monotonic() + 60
    while True:
        try:
            return S.request(method, path, body,
                             headers=[("Idempotency-Key", key)], timeout=60)
        except OSError:
            assert time.monotonic() < end, "no answer to the retry"


def idempotency():
    """orchd dies between request and answer; the retry acts once."""
    ensure("a")
    logged = {}
    for i, moment in enumerate(("at once", "when it is in the store",
                                "when its jail is there")):
        name, key = "idem%d" % i, "key-%d-%s" % (i, os.urandom(4).hex())
        body = {"name": name, "image": "busybox", "cpu_cores": 1,
                "memory_mb": 96}
        runs = len(dirs("run/vm"))
        s = raw("POST", "/api/v1/vms", key, body)
        if i == 1:
            wait_for(lambda: S.query("SELECT count(*) FROM vm WHERE name = ?",
                                     name), "row", every=0.0005)
        if i == 2:
            wait_for(lambda: len(dirs("run/vm")) > runs, "jail", every=0.0005)
        kill_hard(S.rooms()["orchd"])
        s.close()
        a = again("POST", "/api/v1/vms", key, body)
        eq(a.status, 201, "%s: %r" % (moment, a))
        b = again("POST", "/api/v1/vms", key, body)
        eq((b.status, b.json()["uid"]), (201, a.json()["uid"]), moment)
        body["memory_mb"] = 97
        eq(again("POST", "/api/v1/vms", key, body).status, 422, "another body")
        eq(names(), ["a", name], moment)
        logged[moment] = a.status
        S.wait_helpers()
        s = raw("DELETE", "/api/v1/vms/" + name, key + "d")
        if i == 1:
            wait_for(lambda: vm_state(name) in ("deleting", None), "deleting",
                     every=0.0005)
        kill_hard(S.rooms()["orchd"])
        s.close()
        eq(again("DELETE", "/api/v1/vms/" + name, key + "d").status, 204,
           "delete, " + moment)
        eq(names(), ["a"], "delete, " + moment)
    consistent()


def vm_state(name):
    with contextlib.suppress(OSError):
        a = S.get("/api/v1/vms/" + name)
        return a.json()["status"] if a.status == 200 else None
    return "?"


# -- 6: stop ladder --------------------------------------------------------

def rungs(name, since):
    """Rungs of a VM that orchd's log tells from offset since."""
    with open(S.root + "/log/orchd.log", errors="replace") as f:
        f.seek(since)
        return [int(n) for n in re.findall(
            r"vm %s: stop ladder at rung (\d)" % name, f.read())]


def stop_ladder():
    """What cannot answer is stopped by a lower rung, and that is told."""
    ensure(*VMS)
    rows = (  # name, whom to freeze, rungs
        ("a", None, [0]),
        ("b", "warden", [0, 1, 2, 3]),
        ("c", "qemu", [0, 1, 2, 3, 4]),
    )
    at, seq = os.path.getsize(S.root + "/log/orchd.log"), last_event()
    for name, frozen, _ in rows:
        if frozen:
            os.kill(parts(slot_of(name))[frozen], signal.SIGSTOP)

    def stop(name):
        t = time.monotonic()
        return S.cli("stop", name), time.monotonic() - t
    got = together([lambda n=n: stop(n) for n, _, _ in rows])
    for (name, frozen, want), one in zip(rows, got):
        assert isinstance(one, tuple), one
        p, took = one
        eq(p.returncode, 0, "mews stop %s: %r" % (name, p))
        v = vm(name)
        eq((v["status"], v["reason"]), ("stopped", "stopped"), name)
        eq(rungs(name, at), want, "rungs of " + name)
        e = Events(seq)
        eq(e.until("VM_STOPPED", name)[-1][2]["message"], "stopped", name)
        e.close()
        note("%s frozen: stopped after %.2f s at rung %d"
             % (frozen or "nothing", took, want[-1]))
    # a warden that dies in the middle of it: the next one is told
    ensure("b")
    pid = parts(slot_of("b"))["warden"]
    t = threading.Thread(target=lambda: os.kill(pid, signal.SIGKILL))
    t.start()
    p = S.cli("stop", "b")
    t.join()
    eq((p.returncode, vm("b")["status"]), (0, "stopped"), "warden killed")
    ensure(*VMS)
    consistent()


# -- 7: many at once, the CLI ----------------------------------------------

def together(fns):
    """Runs all at once; returns what each returned."""
    got = [None] * len(fns)

    def one(i):
        try:
            got[i] = fns[i]()
        except Exception as e:
            got[i] = e
    threads = [threading.Thread(target=one, args=(i,))
               for i in range(len(fns))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def many_at_once():
    ensure("a")
    eight = ["m%d" % i for i in range(8)]
    t = time.monotonic()
    got = together([lambda n=n: S.create(n) for n in eight])
    eq([a.status for a in got], [201] * 8, "create: %s" % got)
    made = time.monotonic() - t
    for key in ("ip_address", "mac_address", "uid", "pid", "id"):
        eq(len({vm(n)[key] for n in eight}), 8, key)
    consistent()
    t = time.monotonic()
    got = together([lambda n=n: S.delete("/api/v1/vms/" + n, timeout=60)
                    for n in eight])
    eq([a.status for a in got], [204] * 8, "delete: %s" % got)
    note("8 VMs at once: made in %.2f s, deleted in %.2f s"
         % (made, time.monotonic() - t))
    eq(names(), ["a"])
    consistent()


def delete_while_starting():
    ensure("a")
    for stage in range(3):
        name = "s%d" % stage
        s = raw("POST", "/api/v1/vms", "start-%d-%s" % (stage, MARK[-8:]),
                {"name": name, "image": "busybox", "memory_mb": 96,
                 "cpu_cores": 1})
        want = ("pending", "starting", "running")[stage:]
        wait_for(lambda: vm_state(name) in want, "vm", every=0.001)
        eq(S.delete("/api/v1/vms/" + name, timeout=60).status, 204, name)
        a = suite.recv_answer(s)
        s.close()
        assert a.status in (201, 409), a
        if a.status == 409:
            assert "deleted" in a.json()["error"], a
        eq(names(), ["a"])
    consistent()


def cli():
    ensure("a")
    uid = vm("a")["uid"]
    for ref in ("a", uid, uid[:6]):
        p = S.cli("--json", "inspect", ref)
        eq(p.returncode, 0, "inspect %s: %r" % (ref, p))
        assert uid in p.stdout.decode(), p
    eq(S.cli("exec", uid[:6], "echo", "by prefix").stdout, b"by prefix\n")
    for what, argv, rc in (
            ("true", ["true"], 0), ("exit 3", ["sh", "-c", "exit 3"], 3),
            ("a directory", ["/etc"], 126), ("not there", ["nope"], 127),
            ("killed", ["sh", "-c", "kill -9 $$"], 137)):
        p = S.cli("exec", "a", *argv)
        eq(p.returncode, rc, "exec, %s: %r" % (what, p))
    p = S.cli("run", "--rm", "-m", "96", "--name", "once", "busybox", "sh", "-c",
              "echo out; echo err >&2; exit 3")
    eq((p.returncode, p.stdout), (3, b"out\n"), "run --rm: %r" % p)
    assert b"err\n" in p.stderr, p
    eq(names(), ["a"], "--rm")
    eq(S.cli("exec", "nobody", "true").returncode, 125, "unknown VM")
    eq(S.cli("rm", "a").returncode, 125, "rm of what runs")
    eq(names(), ["a"])
    consistent()


# -- 8: secrets (I11) ------------------------------------------------------

def cmdlines_with(text):
    return [line for pid, line in suite.processes().items()
            if text in line and pid != os.getpid()]


def environs_with(text):
    found = []
    for pid in suite.processes():
        with contextlib.suppress(OSError):
            with open("/proc/%d/environ" % pid, "rb") as f:
                if text.encode() in f.read() and pid != os.getpid():
                    found.append(pid)
    return found


def files_with(text, top):
    found = []
    for d, _, files in os.walk(top):
        for n in files:
            with contextlib.suppress(OSError):
                with open(os.path.join(d, n), "rb") as f:
                    if text.encode() in f.read():
                        found.append(os.path.relpath(os.path.join(d, n), top))
    return found


def secrets():
    """A value given by -e or --env-file arrives, and is nowhere else."""
    ensure("a")
    keyed, filed, late = MARK + "-e", MARK + "-f", MARK + "-x"
    with open("/tmp/env", "w") as f:
        f.write("# one\nFROM_FILE=%s\n" % filed)
    p = S.cli("run", "-d", "-m", "96", "--name", "sec", "-e", "BY_NAME",
              "--env-file", "/tmp/env", "busybox", env={"BY_NAME": keyed})
    os.unlink("/tmp/env")
    eq(p.returncode, 0, "run: %r" % p)
    eq(guest("sec", "echo $BY_NAME $FROM_FILE"), "%s %s\n" % (keyed, filed))
    p = exec_open("sec", "echo up; read x; echo $LATE")
    p.kill()
    p.communicate()
    q = subprocess.Popen(
        [S.programs + "/mews", "exec", "-i", "-e", "LATE", "sec", "sh", "-c",
         "echo up; cat; echo $LATE"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, bufsize=0,
        env=dict(os.environ, MEWS_API="unix://" + S.sock, LATE=late))
    eq(q.stdout.readline(), b"up\n")
    eq(cmdlines_with(MARK), [], "command lines")
    eq([p for p in environs_with(MARK) if p != q.pid], [], "environments")
    q.stdin.close()
    eq(q.stdout.read(), late.encode() + b"\n", "exec -e")
    q.wait()
    q.stdout.close()
    answers = [S.get(p) for p in ("/api/v1/vms", "/api/v1/vms/sec",
                                  "/api/v1/system/doctor")]
    answers.append(S.post("/api/v1/vms/sec/stop", timeout=60))
    answers.append(S.post("/api/v1/vms/sec/start", timeout=60))
    e = Events(0, header=False)
    seen = e.until("VM_STOPPED", "sec")
    e.close()
    for a in answers:
        assert MARK.encode() not in a.body, a
    assert MARK not in json.dumps([x[2] for x in seen]), "an event"
    S.wait_ready("sec")
    eq(guest("sec", "echo $BY_NAME"), keyed + "\n", "after stop and start")
    found = files_with(MARK, S.root)
    eq([f for f in found if not f.startswith("lib/store/")], [], "files")
    assert found, "the search does not find what is in the store"
    for d, want in (("lib/store", 0o700),):
        eq(os.stat(S.root + "/" + d).st_mode & 0o777, want, d)
    for n in os.listdir(S.root + "/lib/store"):
        eq(os.stat(S.root + "/lib/store/" + n).st_mode & 0o077, 0, n)
    ensure("a")


# -- 9: events -------------------------------------------------------------

def events():
    """A whole life in order, and on after a kill -9 of everything."""
    ensure("a")
    e = Events(last_event())
    eq(S.create("e").status, 201)
    S.wait_ready("e")
    seen = e.until("VM_READY", "e")
    e.close()
    last = seen[-1][0]
    t = kill_room("all")
    api_back(t)
    S.wait_helpers()
    e = Events(last)
    eq(S.post("/api/v1/vms/e/stop", timeout=60).status, 200)
    eq(S.delete("/api/v1/vms/e", timeout=60).status, 204)
    seen += e.until("VM_DELETED", "e")
    e.close()
    mine = [x for x in seen if x[2]["name"] == "e"]
    eq([x[1] for x in mine],
       ["VM_CREATED", "VM_RUNNING", "VM_READY", "VM_STOPPED", "VM_DELETED"])
    ids = [x[0] for x in seen]
    eq(ids, list(range(ids[0], ids[0] + len(ids))), "ids")
    eq(len({x[2]["uid"] for x in mine}), 1, "uid")
    e = Events(ids[0] - 1, header=False)
    eq([e.next() for _ in ids], seen, "the same again by ?after=")
    e.close()


# -- 10: refusals at the start ---------------------------------------------

def mewsd(*args):
    return subprocess.Popen([S.programs + "/mewsd", *args],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def refusals():
    """A conf that others could write, or a DIR that is another suite's."""
    conf, other = S.root + "/mews.conf", "/run/refused.conf"
    with open(conf) as f:
        text = f.read()
    for what, prepare, says in (
            ("owner", lambda: os.chown(other, 1, 1), b"must belong to root"),
            ("group", lambda: os.chmod(other, 0o664), b"written by others"),
            ("others", lambda: os.chmod(other, 0o646), b"written by others"),
            ("symlink", lambda: (os.unlink(other), os.symlink(conf, other)),
             b"refused.conf"),
            ("directory", lambda: (os.unlink(other), os.mkdir(other)),
             b"not a regular file"),
            ("absent", lambda: os.rmdir(other), b"No such file")):
        if what not in ("absent",):
            with contextlib.suppress(OSError):
                os.unlink(other)
            with open(other, "w") as f:
                f.write(text)
            os.chmod(other, 0o644)
        prepare()
        p = mewsd("-f", other, "-r", "/run/refused")
        out, _ = p.communicate(timeout=suite.DEADLINE)
        assert p.returncode not in (0, None), what
        assert says in out, "%s: %r" % (what, out)
        assert not os.path.exists("/run/refused"), what + " made files"
    # and a second suite on the same DIR waits, then begins when we end
    ensure("a")
    pid, sock = vm("a")["pid"], os.stat(S.sock).st_ino
    second = mewsd("-f", conf, "-r", S.root)
    r, _, _ = select.select([second.stdout], [], [], suite.DEADLINE)
    assert b"waiting for an earlier suite" in second.stdout.readline()
    eq(second.poll(), None, "the second waits")
    eq(os.stat(S.sock).st_ino, sock, "the API's socket stays")
    eq(guest("a", "echo first"), "first\n", "the first serves")
    first, S.proc = S.proc, second
    first.terminate()
    eq(first.wait(suite.DEADLINE), 0, "the first ends")
    S.wait_up()
    S.wait_helpers()
    eq((vm("a")["pid"], os.stat(S.sock).st_ino != sock), (pid, True))
    exec_again("a")
    S.drain(second)


CASES = {f.__name__.replace("_", "-"): f for f in (
    titles, kill_each_room, kill_warden, kill_keeper_hypervisor_and_guest_ends,
    stop_ladder, connections, identity, idempotency, delete_while_starting,
    many_at_once, cli, secrets, events, refusals)}


def all_gone():
    """Everything deleted and stopped: nothing is left of it."""
    ensure()
    S.stop()
    left = suite.leaks(S)
    left += ["table " + t for t in suite.sh("nft", "list", "tables").split("\n")
             if t]
    left += [l for l in suite.processes().values() if l.startswith("mews")]
    if suite.BRIDGE in suite.sh("ip", "-o", "link"):
        left.append("bridge")
    eq(left, [], "left behind")


def no_launcher():
    """A launcher that dies and dies: a clear answer, and the wish stays."""
    stage = "/run/stage"
    S.conf.update(stage=stage, ready_timeout=4)
    S.start()
    t = time.monotonic()
    a = S.create("late")
    eq(a.status, 503, "create: %r" % a)
    assert "the launcher is not there" in a.json()["error"], a
    assert "retry-after" in a.headers, a.headers
    note("create without a launcher: 503 after %.1f s"
         % (time.monotonic() - t))
    eq(vm("late")["status"], "pending")
    os.symlink(os.path.realpath(suite.BUILD + "/stage/current"), stage)
    wait_for(lambda: vm("late")["status"] == "running", "the VM, by itself")
    all_gone()


def main():
    global S
    suite.enter()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = IDLE if hard >= 2 * IDLE + 256 else (hard - 256) // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    S = suite.Suite(log_level="info", max_connections=want,
                    stop_agent_timeout=1, stop_acpi_timeout=1,
                    stop_quit_timeout=1, stop_term_timeout=1)
    S.start()
    start = time.monotonic()
    bad = suite.run(dict(
        CASES, **{"all-gone": all_gone, "no-launcher": no_launcher}))
    note("%.1f s" % (time.monotonic() - start))
    if bad:
        print(S.logs())
    return bad


sys.exit(main())
