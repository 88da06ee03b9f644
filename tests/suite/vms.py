"""One suite with real guests, the VMs a, b and c, which each case leaves running
as it found them; and what the cases ask of it."""
import base64
import contextlib
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402
from suite import wait_for  # noqa: E402

suite.enter()
VMS = ("a", "b", "c")
IDLE = 1000
SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(HARD, 4096), HARD))
S = suite.Suite(
    log_level="info",
    max_connections=IDLE if HARD >= 2 * IDLE + 256 else (HARD - 256) // 2,
    stop_agent_timeout=1, stop_acpi_timeout=1, stop_quit_timeout=1,
    stop_term_timeout=1)


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
                # of one that is ending there is no line any more
                if sign in st["Name"] or sign in line.split(" ")[0]:
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
                if "data" in f:  # a lone id only says where the reader is
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


def raw(method, path, key, body=None):
    data = json.dumps(body).encode() if body else b""
    s = S.connect()
    s.sendall(("%s %s HTTP/1.1\r\nHost: m\r\nIdempotency-Key: %s\r\n"
               "Content-Length: %d\r\n\r\n" % (method, path, key, len(data))
               ).encode() + data)
    return s


def vm_state(name):
    with contextlib.suppress(OSError):
        a = S.get("/api/v1/vms/" + name)
        return a.json()["status"] if a.status == 200 else None
    return "?"


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


def run(*cases):
    """Runs functions as cases; ends the program."""
    S.start()
    start = time.monotonic()
    bad = suite.run({f.__name__.replace("_", "-"): f for f in cases})
    note("%.1f s" % (time.monotonic() - start))
    if bad:
        print(S.logs())
    sys.exit(bad)
