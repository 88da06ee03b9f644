"""kill -9 of a room at one message of a VM's life, then the leak check.

A row is (room, message type, nth, when): mewsd's test build hands it to the
room, which dies before or after it handled or sent that message for the nth
time (proto/kill.h).  The table is not written by hand: a run that kills
nobody logs every point that every room passes.  Rows run in workers, each a
private host of its own (suite.enter), a fresh root for every row.
"""
import collections
import concurrent.futures
import contextlib
import glob
import json
import os
import queue
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402
from wire import (  # noqa: E402
    KILL_AFTER as AFTER, KILL_BEFORE as BEFORE, KILL_HALT as HALT,
    KILL_TRACE as TRACE, ROOM_API, ROOM_API_ADMIN, ROOM_LAUNCHD, ROOM_NETD,
    ROOM_ORCHD, ROOM_SPAWNER)

BUILD = os.path.join(suite.TOP, "build-test")
STANDIN = os.path.join(BUILD, "stage-standin/current")
REAL = os.path.join(BUILD, "stage/current")
ROOMS = {ROOM_ORCHD: "orchd", ROOM_API: "apid", ROOM_API_ADMIN: "apid-admin",
         ROOM_NETD: "netd", ROOM_LAUNCHD: "launchd", ROOM_SPAWNER: "spawner"}
WHEN = {BEFORE: "before", AFTER: "after", BEFORE | HALT: "all before",
        AFTER | HALT: "all after"}
OP_DEADLINE = 20.0
WORKERS = 3
# who hangs up first decides what is said last: not the same in every run
UNREACHED, TRIES = "kill point that is reached", 3
QUIET = (ROOM_ORCHD, 0, 1, TRACE)
TRACES = 6  # how often a warden tells news differs


def message_names():
    """{type: name} from the enums in proto/*.h."""
    names = {}
    for path in glob.glob(os.path.join(suite.TOP, "proto/*.h")):
        with open(path) as f:
            for m in re.finditer(r"\b([A-Z][A-Z0-9_]+) = (0x[0-9a-f]{4}),", f.read()):
                names[int(m.group(2), 16)] = m.group(1)
    return names


NAMES = message_names()


def title(row):
    room, typ, nth, when = row
    return "%s %s %s %d" % (ROOMS[room], WHEN[when],
                            NAMES.get(typ, "0x%04x" % typ), nth)


def built():
    return os.path.exists(STANDIN + "/usr/bin/mews-keeper")


class Story:
    """One suite, one VM from create to delete."""

    def __init__(self, row, stage=STANDIN, **conf):
        self.row = row
        self.stage = stage
        self.boom = None  # the thread that kills all
        self.seen = []  # every point passed in the VM's life
        self.s = suite.Suite(programs=BUILD, stage=stage, kill_at=list(row),
                             **conf)

    # -- asking, again and again, with one key

    def op(self, method, path, key, body=None):
        """As a careful client: the same key until there is an answer."""
        end = time.monotonic() + OP_DEADLINE
        why = None
        while time.monotonic() < end:
            try:
                a = self.s.request(
                    method, path, body, timeout=5,
                    headers=[("Idempotency-Key", key)] if key else [])
                if a.status != 503:
                    return a
                why = a
            except OSError as e:
                why = e
            suite.select.select([], [], [], 0.02)
        raise AssertionError("%s %s: no answer: %s" % (method, path, why))

    def killed(self):
        """Did the room die yet?"""
        if self.row[3] == TRACE:
            return False
        if self.row[3] & HALT:
            return self.boom is not None and not self.boom.is_alive()
        room = ROOMS[self.row[0]]
        return re.search(r"\b%s \(pid \d+\) ended by signal 9" % room,
                         self.text("mewsd.log")) is not None

    def kill_all(self):
        """Once the room halted at its point, everybody dies; then mewsd is
        started as by an init, without a kill point."""
        def halted():
            for pid in self.s.rooms().values():
                with contextlib.suppress(OSError):
                    if suite.status(pid)["State"].startswith("T"):
                        return True
            return False
        suite.wait_for(halted, "room that halts", OP_DEADLINE, 0.002)
        for pid in [self.s.proc.pid, *self.s.rooms().values()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.s.proc.wait()
        del self.s.conf["kill_at"]
        self.s.start(wait=False)

    def text(self, name):
        try:
            with open(os.path.join(suite.ROOT, name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_ready(self, name, nth, deadline=OP_DEADLINE):
        """From orchd's log while nobody was killed: asking the API would
        add messages, and the nth would be another one in every run."""
        def ready():
            if self.text("log/orchd.log").count("vm ready") >= nth:
                return True
            if self.row[3] == TRACE or not self.killed():
                return False
            try:
                a = self.s.get("/api/v1/vms/" + name, timeout=5)
                return a.status == 200 and a.json()["ready"]
            except OSError:
                return False
        suite.wait_for(ready, "agent of " + name, deadline, 0.004)

    def exec(self, name):
        end = time.monotonic() + OP_DEADLINE
        while True:
            p = self.s.cli("exec", name, "echo", "kill", timeout=10)
            if p.returncode == 0 and p.stdout == b"kill\n":
                return
            if time.monotonic() > end:
                raise AssertionError("exec: %s" % p)
            suite.select.select([], [], [], 0.02)

    def create(self, name, key):
        a = self.op("POST", "/api/v1/vms", key, {
            "name": name, "image": "busybox", "cpu_cores": 1, "memory_mb": 96})
        assert a.status == 201, "create: %r" % a
        return a.json()

    def delete(self, name, key):
        a = self.op("DELETE", "/api/v1/vms/" + name, key)
        assert a.status == 204, "delete: %r" % a

    # -- what has to be true at the end

    def events(self):
        """How often each thing happened, as the API tells it."""
        want = b"VM_DELETED"
        with contextlib.closing(self.s.connect(timeout=5)) as c:
            c.sendall(b"GET /api/v1/events/vms HTTP/1.1\r\nHost: mews\r\n"
                      b"Last-Event-ID: 0\r\n\r\n")
            data = b""
            while data.count(want) < 2:
                more = c.recv(65536)
                assert more, data
                data += more
        return {k: len(re.findall(r'"type":"%s"' % k, data.decode()))
                for k in ("VM_CREATED", "VM_RENAMED", "VM_DELETED")}

    def store(self):
        """Nothing is left in it, and it is whole."""
        with sqlite3.connect("%s/lib/store/store.db" % suite.ROOT) as db:
            left = db.execute("SELECT count(*) FROM vm").fetchone()[0]
            ok = db.execute("PRAGMA integrity_check").fetchone()[0]
        assert left == 0, "%d VMs in the store" % left
        assert ok == "ok", ok

    def leaks(self):
        found = suite.leaks(self.s)
        rules = suite.sh("nft", "-j", "list", "ruleset")
        for o in json.loads(rules)["nftables"]:
            for kind in ("set", "map"):
                if o.get(kind, {}).get("elem") and re.search(
                        r"mw[0-9]", json.dumps(o[kind]["elem"])):
                    found.append("element in %s %s" % (kind, o[kind]["name"]))
        return found

    def missing(self):
        """Rooms that are not there (again)."""
        return sorted(set(ROOMS.values()) - set(self.s.rooms()))

    # -- the story

    def life(self):
        first = self.create("v", "k-create")
        self.wait_ready("v", 1)
        self.exec("v")
        if self.stage != REAL:
            self.stop_start()
        a = self.op("POST", "/api/v1/vms/v/rename", "k-rename", {"name": "w"})
        assert a.status == 200 and a.json()["name"] == "w", a
        assert a.json()["uid"] == first["uid"], (a, first)
        self.delete("w", "k-delete")
        return first

    def stop_start(self):
        a = self.op("POST", "/api/v1/vms/v/stop", "k-stop")
        assert a.status == 200 and a.json()["status"] == "stopped", a
        a = self.op("POST", "/api/v1/vms/v/start", "k-start")
        assert a.status == 200 and a.json()["status"] == "running", a
        self.wait_ready("v", 2)

    def again(self, first):
        """Name, slot and address are free: another VM gets them."""
        second = self.create("v", "k-again")
        assert second["ip_address"] == first["ip_address"], (first, second)
        taps = re.findall(r"\bmw\d+", suite.sh("ip", "-o", "link"))
        assert taps == ["mw0"], taps
        self.delete("v", "k-gone")

    def run(self):
        self.s.start(wait=False)
        if self.row[3] & HALT:
            self.boom = threading.Thread(target=self.kill_all, daemon=True)
            self.boom.start()
        first = self.life()
        for name in "vw":
            a = self.op("GET", "/api/v1/vms/" + name, "")
            assert a.status == 404, a
        self.seen = self.points()
        if self.row[3] != TRACE:
            # its last messages may come after our last answer
            suite.wait_for(self.killed, UNREACHED, 2)
        suite.wait_for(lambda: not self.leaks(), "end of " + str(self.leaks()), 5)
        suite.wait_for(lambda: not self.missing(), "room of all: " + " ".join(self.missing()), 10)
        self.s.wait_helpers()
        self.again(first)
        n = self.events()
        assert n == {"VM_CREATED": 2, "VM_RENAMED": 1, "VM_DELETED": 2}, n
        self.s.stop()
        self.store()
        left = suite.leaks(self.s) + suite.sh("nft", "list", "tables").split()
        if suite.BRIDGE in suite.sh("ip", "-o", "link"):
            left.append("bridge")
        assert not left, left

    def points(self):
        """[(room, type, when)] in the order each room passed them."""
        found = []
        for path in sorted(glob.glob(suite.ROOT + "/log/*.log")):
            with open(path, errors="replace") as f:
                found += [(int(a), int(b, 16), int(c)) for a, b, c in re.findall(
                    r"^kill point (\d+) (0x[0-9a-f]{4}) (\d)$", f.read(), re.M)]
        return found

    def clean(self):
        if self.s.proc is not None:
            self.s.proc.kill()
            self.s.proc.wait()
        for n in os.listdir(suite.ROOT):
            path = os.path.join(suite.ROOT, n)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


# -- workers

def worker():
    """In a private host: a row per line in, a result per line out."""
    suite.enter()
    for line in sys.stdin:
        row, stage = json.loads(line)
        story, t = Story(row, stage), time.monotonic()
        res = {"row": tuple(row), "error": None}
        try:
            story.run()
        except Exception as e:  # the row's verdict, whatever it is
            res["error"] = "%s: %s" % (type(e).__name__, e)
            res["logs"] = story.s.logs()
        if row[3] == TRACE:
            res["points"] = story.seen
        res["took"] = time.monotonic() - t
        print(json.dumps(res), flush=True)
        if res["error"]:
            return  # this host is not clean any more
        story.clean()


class Worker:
    def __init__(self):
        self.proc = None

    def run(self, row, stage):
        if self.proc is None or self.proc.poll() is not None:
            env = {k: v for k, v in os.environ.items()
                   if not k.startswith("MEWS_TEST")}
            self.proc = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.proc.stdin.write(json.dumps([row, stage]) + "\n")
        self.proc.stdin.flush()
        line = self.proc.stdout.readline()
        if not line:
            self.close()
            return {"row": row, "error": "the worker died", "took": 0}
        res = json.loads(line)
        if res["error"]:
            self.close()
        return res

    def close(self):
        if self.proc is not None:
            self.proc.stdin.close()
            self.proc.stdout.close()
            self.proc.wait()
            self.proc = None


def run_rows(rows, jobs=WORKERS, stage=STANDIN):
    """Yields a result per row, in order."""
    idle = queue.Queue()
    workers = [Worker() for _ in range(jobs)]
    for w in workers:
        idle.put(w)

    def one(row):
        w = idle.get()
        try:
            for _ in range(TRIES):
                res = w.run(row, stage)
                if UNREACHED not in (res["error"] or ""):
                    break
            return res
        finally:
            idle.put(w)
    try:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(one, rows)
    finally:
        for w in workers:
            w.close()


def table():
    """Every row there is: of some quiet runs, what all of them passed."""
    count = None
    for res in run_rows([QUIET] * TRACES):
        assert not res["error"], "%s\n%s" % (res["error"], res.get("logs"))
        c = collections.Counter(map(tuple, res["points"]))
        count = c if count is None else count & c
    return [(room, typ, n, when)
            for (room, typ, when), most in sorted(count.items())
            for n in range(1, most + 1)]


def happens(row):
    """Does every quiet run pass that point so often?  Who hangs up first
    decides about the last messages, and a plan of a few runs may have seen
    none of those that lack one."""
    room, typ, nth, when = row
    point = (room, typ, when & ~HALT)
    for res in run_rows([QUIET] * TRACES):
        assert not res["error"], "%s\n%s" % (res["error"], res.get("logs"))
        if [tuple(p) for p in res["points"]].count(point) < nth:
            return False
    return True


if __name__ == "__main__":
    worker()
