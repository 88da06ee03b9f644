#!/usr/bin/env python3
"""The whole suite, with the stand-in as hypervisor: one tenant's storm, and what
another's requests take meanwhile.

Tenant a makes VMs and hangs up, has commands whose output nobody reads, lists and
events that nobody reads, bodies without an end; orchd is killed and its store
locked at times that the seed decides.  Tenant b does what it did before, and what
that takes is told, but for what such a time touched; of two processors that a's VMs
keep busy, most of its requests take no more than some times as long.  In the end
what each tenant is charged is what it has.

usage: storm_long.py [CASE...]   T=SECONDS of the storm, S=SEED, A=creates,...
instead of all that a does
"""
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "soak"))
import client  # noqa: E402
import suite  # noqa: E402
from client import Broken  # noqa: E402

API = "/api/v1/vms"
T = float(os.environ.get("T", "120"))
SEED = int(os.environ.get("S", "1"))
STAGE = os.path.join(suite.TOP, "build-test/stage-standin/current")
MOST = 40  # VMs of a
SLOW = 5  # half of the requests in the storm, of the quiet half (without turns 8)
SLACK = 0.02  # seconds: what a shared machine adds
AFTER = 5.0  # seconds that a disturbance is felt
EVENTS = "GET /api/v1/events/vms HTTP/1.1\r\nHost: m\r\n\r\n"
LOCK = """import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("BEGIN IMMEDIATE")
time.sleep(float(sys.argv[2]))
db.execute("ROLLBACK")"""


# -- those of a, a process each ------------------------------------------------

def vm(name):
    return {"name": name, "image": "busybox", "cpu_cores": 1, "memory_mb": 96}


def held(path, data, n, seconds):
    """So many connections that say that and read nothing."""
    socks = []
    for _ in range(n):
        try:
            s = client.Stream(path, 5)
            socks.append(s)
            s.send(data.encode())
        except Broken:
            pass
    time.sleep(seconds)
    for s in socks:
        s.close()


def creates(path, rnd):
    body = json.dumps(vm("s%x" % rnd.getrandbits(40)))
    held(path, "POST %s HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s" % (
        API, len(body), body), 1, 0.005)


def deletes(path, rnd):
    vms = client.request(path, "GET", API, timeout=20).json()
    if len(vms) < MOST - 10:
        time.sleep(0.2)
        return
    for v in rnd.sample(vms, len(vms) // 2):
        if v["name"] != "a0":
            held(path, "DELETE %s/%s HTTP/1.1\r\nHost: m\r\n\r\n" % (
                API, v["name"]), 1, 0.005)


def execs(path, rnd):
    ws = client.WebSocket(path, API + "/a0/exec", client.EXEC, 10)
    if ws.refused is None:
        ws.send(json.dumps({"cmd": ["fill", "4000000"]}).encode(), 1)
        time.sleep(rnd.random())
    ws.close()


def lists(path, rnd):
    held(path, "GET %s HTTP/1.1\r\nHost: m\r\n\r\n" % API * 64, 20,
         1 + 3 * rnd.random())


def subscribes(path, rnd):
    held(path, EVENTS, 20, 1 + 3 * rnd.random())


def bodies(path, rnd):
    held(path, "POST %s HTTP/1.1\r\nHost: m\r\nContent-Length: 100000\r\n\r\n{%s"
         % (API, " " * 60000), 20, 1 + 3 * rnd.random())


def reads(path, rnd):
    """As fast as it is answered."""
    client.request(path, "GET", API, timeout=20)


STORM = [creates] * 3 + [deletes, execs, execs, lists, lists, subscribes, bodies,
                         reads, reads]


if os.environ.get("A"):
    STORM = [globals()[fn] for fn in os.environ["A"].split(",")]


def as_user(uid, group, fn):
    """fn in a process of that user."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setgroups([group])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        fn()
        os._exit(0)
    except BaseException as e:
        os.write(2, ("%s: %r\n" % (fn.__name__, e)).encode())
        os._exit(1)


def attack(fn, path, seed):
    def forever():
        # what its client takes is none of the suite's
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        rnd = random.Random(seed)
        while True:
            try:
                fn(path, rnd)
            except (Broken, OSError, ValueError):
                time.sleep(0.05)
    return forever


# -- b, in this process --------------------------------------------------------

class Honest:
    def __init__(self, s, uid):
        self.s, self.uid, self.n = s, uid, 0
        self.took = {}  # kind: [(begin, end)]
        self.later = 0  # answers 503

    def once(self, kind, fn, *want):
        """fn() till it is answered as it is to be."""
        begun, got = time.monotonic(), None
        os.seteuid(self.uid)
        try:
            while True:
                assert time.monotonic() < begun + 90, \
                    "%s: no answer but %r" % (kind, got)
                try:
                    got = fn()
                    if getattr(got, "status", 200) not in (500, 503):
                        break
                    self.later += 1
                    time.sleep(0.02)
                except (Broken, OSError) as e:
                    got = e
                    time.sleep(0.1)
        finally:
            os.seteuid(0)
        self.took.setdefault(kind, []).append((begun, time.monotonic()))
        assert getattr(got, "status", want[0]) in want, "%s: %r" % (kind, got)
        return got

    def ask(self, kind, method, target, body, *want):
        self.n += 1
        key = "b%d" % self.n
        return self.once(kind, lambda: client.request(
            self.s.sock, method, target, body, key, timeout=60), *want)

    def round(self):
        name = "b%d" % self.n
        self.ask("create", "POST", API, vm(name), 201)
        for _ in range(4):
            self.ask("get", "GET", API + "/" + name, None, 200)
        self.ask("list", "GET", API, None, 200)
        # it is ready a moment after it runs
        self.once("exec", lambda: client.execute(
            self.s.sock, name, ["echo", "here"]), 200)
        self.ask("delete", "DELETE", API + "/" + name, None, 204)

    def go(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round()
        got, self.took = self.took, {}
        return got


def disturb(s, seed, seconds, path):
    """Kills orchd or locks its store; each line of path is one's begin and end."""
    rnd, end = random.Random(seed), time.monotonic() + seconds
    with open(path, "w") as f:
        while True:
            time.sleep(rnd.uniform(8, 14))
            if time.monotonic() > end:
                return
            begun = time.monotonic()
            print(begun, 1e9, file=f, flush=True)
            if rnd.random() < 0.5:
                os.kill(s.rooms()["orchd"], signal.SIGKILL)
                suite.wait_for(lambda: s.get("/healthz", timeout=2).status == 200
                               or True, "orchd", 20)
            else:
                subprocess.run([sys.executable, "-c", LOCK,
                                s.root + "/lib/store/store.db",
                                str(rnd.uniform(0.5, 4))], check=True)
            print(begun, time.monotonic(), file=f, flush=True)


def windows(path):
    last = {}
    with open(path) as f:
        for line in f:
            begun, end = map(float, line.split())
            last[begun] = end
    return [(b, e + AFTER) for b, e in last.items()]


def clean(rows, out):
    """Seconds of those that no disturbance touched."""
    return sorted(e - b for b, e in rows
                  if not any(b < w and e > v for v, w in out))


def p(rows, part):
    return rows[min(len(rows) - 1, math.ceil(part * len(rows)) - 1)]


def tenant(s, name):
    return s.get("/api/v1/tenants/" + name).json()


def has(s, name):
    vms = s.get(API, headers=[("X-Mews-Tenant", name)]).json()
    return {"vms": len(vms), "cpus": sum(v["cpu_cores"] for v in vms),
            "memory_mb": sum(v["memory_mb"] for v in vms), "operations": 0,
            "streams": 0, "readers": 0}


def exact(s):
    """Each tenant is charged for what it has, and nothing else."""
    for name in ("a", "b"):
        def same(name=name):
            used = tenant(s, name)["used"]
            used.pop("requests", None)
            return used == has(s, name)
        suite.wait_for(same, "charges of %s: %s, and it has %s" % (
            name, tenant(s, name)["used"], has(s, name)), 30, 0.2)


def storm():
    s = suite.Suite(stage=STAGE, log_level="info", max_connections=400,
                    stop_agent_timeout=1, stop_acpi_timeout=1,
                    stop_quit_timeout=1, stop_term_timeout=1).start()
    s.wait_helpers()
    group, first = s.uids + 10, s.uids + 10  # below the VMs
    for name, members, quotas in (
            ("a", {"kind": "group", "id": group}, {"vms": MOST}),
            ("b", {"kind": "user", "id": first}, {})):
        got = s.post("/api/v1/tenants", {"name": name, "quotas": quotas,
                                         "members": [dict(members,
                                                          role="operator")]})
        assert got.status == 201, got
    b = Honest(s, first)
    b.go(3)  # what is loaded is loaded
    quiet = b.go(max(20, T / 3))
    got = s.post(API, vm("a0"), headers=[("X-Mews-Tenant", "a")])
    assert got.status == 201, got
    log, pids = "/run/windows", []
    open(log, "w").close()
    b.later = 0
    for i, fn in enumerate(STORM):
        pids.append(as_user(first + 1 + i % 5, group, attack(
            fn, s.sock, SEED * 100 + i)))
    pid = os.fork()
    if pid == 0:
        try:
            disturb(s, SEED, T, log)
            os._exit(0)
        except BaseException as e:
            os.write(2, ("disturb: %r\n" % e).encode())
            os._exit(1)
    stormy = b.go(T)
    assert os.waitpid(pid, 0)[1] == 0, "disturb"
    had = has(s, "a")["vms"]
    for q in pids:
        os.kill(q, signal.SIGKILL)
        os.waitpid(q, 0)
    out = windows(log)
    assert out, "nothing was disturbed"
    bad = []
    for kind, rows in stormy.items():
        one, two = clean(quiet[kind], []), clean(rows, out)
        print("note %s: quiet %d, p50 %.1f p99 %.1f ms; storm %d (of %d), p50 "
              "%.1f p99 %.1f ms" % (
                  kind, len(one), 1e3 * p(one, .5), 1e3 * p(one, .99), len(two),
                  len(rows), 1e3 * p(two, .5), 1e3 * p(two, .99)), flush=True)
        if p(two, .5) > SLOW * p(one, .5) + SLACK:
            bad.append(kind)
    print("note %d disturbances, %d answers 503 to b, %d vms of a" % (
        len(out), b.later, had), flush=True)
    # everybody is gone: what is charged is what there is, after a kill -9 too
    exact(s)
    os.kill(s.rooms()["orchd"], signal.SIGKILL)
    s.wait_up()
    s.wait_helpers()
    exact(s)
    for v in s.get(API, headers=[("X-Mews-Tenant", "a")]).json():
        got = s.delete(API + "/" + v["name"], timeout=60,
                       headers=[("X-Mews-Tenant", "a")])
        assert got.status == 204, got
    assert not any(has(s, "a").values()) and not any(has(s, "b").values())
    exact(s)
    suite.wait_for(lambda: not suite.leaks(s), "the end of all", 30)
    s.stop()
    assert not bad, "slower than %g times the quiet half: %s" % (
        SLOW, ", ".join(bad))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skip storm: needs root for namespaces")
        sys.exit(0)
    suite.enter()
    sys.exit(suite.run({"storm": storm}))
