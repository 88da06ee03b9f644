#!/usr/bin/env python3
"""The CLI against a stand-in for the API: what it sends, shows and returns.

UPDATE_GOLDEN=1 writes the golden files anew: read the difference.
"""
import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import sanitized  # noqa: E402
from fake import Fake, answer, upgrade, vm  # noqa: E402

MEWS = os.path.join(os.environ.get("B", "build"), "mews")
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "../golden/cli")
DEADLINE = 30
UID = "0123456789abcdef"
EXEC = "v5.channel.k8s.io"
CASES = []
DIR = tempfile.mkdtemp(prefix="mews-cli-")
os.chmod(DIR, 0o755)


def case(fn):
    CASES.append(fn)
    return fn


class Bad(Exception):
    pass


def same(got, want, what=""):
    if got != want:
        raise Bad("%s: got %r, want %r" % (what, got, want))


def has(text, part):
    if part not in text:
        raise Bad("%r is not in %r" % (part, text))


class Setup:
    """A fake server and ways to run the program against it."""

    def __init__(self, handler=None):
        self.path = os.path.join(DIR, "s%d" % next(Setup.count))
        self.fake = Fake(self.path, handler) if handler else None

    count = itertools.count()

    def __enter__(self):
        return self

    def __exit__(self, *a):
        if self.fake:
            self.fake.close()
            if self.fake.errors and a[0] is None:
                raise Bad("the fake API failed: %s" % self.fake.errors)

    def env(self, extra=None):
        e = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8",
             "MEWS_API": "unix://" + self.path,
             "http_proxy": "http://127.0.0.1:1"}
        if sanitized.ON:  # nothing confines it: leaks are found as well
            e["ASAN_OPTIONS"] = "detect_leaks=1:symbolize=1"
        e.update(extra or {})
        return e

    def start(self, *args, env=None, **kw):
        return subprocess.Popen([MEWS, *args], env=self.env(env),
                                stdin=kw.pop("stdin", subprocess.DEVNULL),
                                stdout=kw.pop("stdout", subprocess.PIPE),
                                stderr=kw.pop("stderr", subprocess.PIPE), **kw)

    def run(self, *args, stdin=None, env=None):
        p = self.start(*args, env=env, stdin=subprocess.PIPE
                       if stdin is not None else subprocess.DEVNULL)
        try:
            out, err = p.communicate(stdin, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            p.kill()
            raise Bad("%r does not end" % (args,))
        if sanitized.ON and sanitized.REPORT.search(
                err.decode("utf-8", "replace")):
            raise Bad(err.decode("utf-8", "replace"))
        if p.returncode < 0:
            raise Bad("%r died of signal %d" % (args, -p.returncode))
        return p.returncode, out, err.decode("utf-8", "replace")

    def ok(self, *args, **kw):
        r, out, err = self.run(*args, **kw)
        if r != 0 or err:
            raise Bad("%r: %d %r" % (args, r, err))
        return out.decode()


def golden(name, text):
    path = os.path.join(GOLDEN, name)
    if os.environ.get("UPDATE_GOLDEN"):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    with open(path, encoding="utf-8") as f:
        want = f.read()
    if text != want:
        raise Bad("%s differs:\n%s" % (name, text))


def exec_handler(script, name="web"):
    """Answers as a running VM whose exec does script(ws, request)."""
    def handler(rq, n):
        if rq.path.endswith("/exec"):
            same(rq.headers.get("sec-websocket-protocol"), EXEC, "protocol")
            ws = upgrade(rq, EXEC)
            op, text = ws.recv()
            same(op, 1, "the request is a text message")
            script(ws, json.loads(text))
            return None
        return answer(200, vm(name))
    return handler


def drain(ws):
    """Client messages up to the half close of stdin or the end."""
    data = b""
    while True:
        m = ws.recv()
        if m is None or m[0] == 8:
            return data, False
        if m[1][:1] == b"\xff":
            same(m[1], b"\xff\x00", "half close")
            return data, True
        same(m[1][0], 0, "channel")
        data += m[1][1:]


# ---- lists, tables ----

TWO = [vm(), vm("db", "crashed", False, "fedcba9876543210", ip_address="",
               reason="guest panic", memory_mb=2048, cpu_cores=2,
               image="docker.io/library/postgres:16")]


def without_age(text):
    return re.sub(r"\d+ days?", "N days", text)


@case
def ps():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        golden("ps.txt", without_age(s.ok("ps")))
        golden("ps-a.txt", without_age(s.ok("ps", "-a")))
        same(s.ok("ps", "-aq"), UID + "\nfedcba9876543210\n")
        same(s.fake.lines(), ["GET /api/v1/vms"] * 3)
        same(s.fake.requests[0].key, None, "reading needs no key")


@case
def ps_none():
    with Setup(lambda rq, n: answer(200, [])) as s:
        golden("ps-none.txt", s.ok("ps"))
        same(json.loads(s.ok("--json", "ps")), [])


@case
def ps_json():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        got = json.loads(s.ok("--json", "ps", "-a"))
        same([o["name"] for o in got], ["web", "db"])
        same([o["name"] for o in json.loads(s.ok("ps", "--json"))], ["web"])


@case
def inspect():
    def handler(rq, n):
        if rq.path == "/api/v1/vms/web":
            return answer(200, vm(new_key={"of": "a newer suite"}))
        return answer(404, {"error": "vm not found"})
    with Setup(handler) as s:
        golden("inspect.json", s.ok("inspect", "web"))
        r, out, err = s.run("inspect", "nope", "web")
        same(r, 125)
        same([o["name"] for o in json.loads(out)], ["web"])
        same(err, "mews: no such VM: nope (see `mews ps -a`)\n")


@case
def inspect_encodes_names():
    with Setup(lambda rq, n: answer(404, {"error": "vm not found"})) as s:
        s.run("inspect", "a/../b c?d")
        same(s.fake.lines(), ["GET /api/v1/vms/a%2F..%2Fb%20c%3Fd"])
        for name in ("..", ".", "", "x" * 300):
            r, _, err = s.run("inspect", name)
            same(r, 125, name)
            has(err, "is no name of a VM")
        same(len(s.fake.requests), 1)


@case
def help_golden():
    with Setup() as s:
        golden("help.txt", s.ok("help"))
        same(s.ok(), s.ok("help"))
        same(s.ok("--help"), s.ok("help"))
        text = ""
        for c in re.findall(r"^  ([a-z]+)  ", s.ok("help"), re.M):
            text += s.ok("help", c) + "\n----\n"
            if c != "help":
                same(s.ok(c, "--help"), s.ok("help", c))
        golden("help-all.txt", text)


@case
def version():
    with Setup() as s:
        has(s.ok("version"), "mews ")
        has(json.loads(s.ok("--json", "version"))["version"], ".")


USAGE = [
    ("no such command", ["frobnicate"]), ("no such option", ["ps", "-x"]),
    ("no such long option", ["ps", "--frob"]), ("ps with a name", ["ps", "a"]),
    ("no image", ["run"]), ("no VM", ["stop"]), ("no command", ["exec", "web"]),
    ("bad memory", ["run", "-m", "12q", "busybox"]),
    ("no memory", ["run", "-m", "0", "busybox"]),
    ("bad cpus", ["run", "--cpus", "x", "busybox"]),
    ("bad name", ["run", "--name", "a b", "busybox"]),
    ("missing value", ["run", "-m"]), ("bad host", ["-H", "tcp://x", "ps"]),
    ("long path", ["-H", "unix:///" + "x" * 200, "ps"]),
    ("variable without a name", ["run", "-e", "=x", "busybox"]),
    ("variable that is not set", ["run", "-e", "NOT_SET_HERE", "busybox"]),
    ("no such file", ["run", "--env-file", "/nonexistent", "busybox"]),
    ("-d and a command", ["run", "-d", "busybox", "true"]),
    ("-d and --rm", ["run", "-d", "--rm", "busybox"]),
    ("-t without a terminal", ["run", "-t", "busybox", "sh"]),
    ("logs of the workload", ["logs", "web"]), ("bad image", ["run", "-d", "a b"]),
    ("--json before nothing", ["--json", "-x"]),
]


@case
def usage():
    with Setup(lambda rq, n: answer(500, {"error": "x"})) as s:
        for name, args in USAGE:
            r, out, err = s.run(*args)
            same((r, out), (125, b""), name)
            if not err.startswith(("mews: ", '{"error"')):
                raise Bad("%s: %r" % (name, err))
        same(s.fake.lines(), [], "wrong command lines send nothing")


# ---- several names ----

class Vms:
    """A small model: stop and delete take a few polls."""

    def __init__(self, *vms):
        self.vms = {v["name"]: v for v in vms}
        self.polls = 0

    def find(self, ref):
        for v in self.vms.values():
            if ref in (v["name"], v["uid"]):
                return v
        return None

    def __call__(self, rq, n):
        parts = rq.path.split("/")
        v = self.find(parts[4]) if len(parts) > 4 else None
        verb = rq.method + " " + "/".join(parts[5:])
        if rq.method == "POST" and len(parts) == 4:
            o = json.loads(rq.body)
            v = vm(o["name"], "pending", False)
            self.vms[o["name"]] = v
            return answer(201, v)
        if v is None:
            return answer(404, {"error": "vm not found"})
        if verb == "GET ":
            self.polls += 1
            if self.polls % 3 == 0:
                if v["status"] == "stopping":
                    v["status"] = "stopped"
                elif v["status"] in ("starting", "pending"):
                    v["status"], v["ready"] = "running", True
                elif v["status"] == "deleting":
                    del self.vms[v["name"]]
            return answer(200, v)
        if verb == "POST stop":
            v["status"], v["ready"] = "stopping", False
        elif verb == "POST start":
            v["status"] = "starting"
        elif verb == "DELETE ":
            v["status"] = "deleting"
            return answer(204)
        return answer(200, v)


@case
def stop_many():
    model = Vms(vm("a", uid="a" * 16), vm("b", uid="b" * 16))
    with Setup(model) as s:
        r, out, err = s.run("stop", "a", "nope", "b")
        same((r, out), (125, b"a\nb\n"))
        same(err, "mews: no such VM: nope (see `mews ps -a`)\n")
        same([v["status"] for v in model.vms.values()], ["stopped"] * 2)
        posts = [q for q in s.fake.requests if q.method == "POST"]
        same([q.path for q in posts], ["/api/v1/vms/%s/stop" % n
                                       for n in ("a", "nope", "b")])
        keys = [q.key for q in posts]
        same(len(set(keys)), 3, "a fresh key each")
        for k in keys:
            if not re.fullmatch("[0-9a-f]{32}", k or ""):
                raise Bad("key %r" % k)
        same([q.body for q in posts], [b""] * 3)


@case
def stop_json():
    with Setup(Vms(vm("a"))) as s:
        r, out, err = s.run("--json", "stop", "a", "nope")
        same(r, 125)
        lines = [json.loads(x) for x in out.decode().splitlines()]
        same(lines[0], {"name": "a", "ok": True})
        same(lines[1]["ok"], False)
        has(lines[1]["error"], "no such VM: nope")
        has(json.loads(err)["error"], "no such VM")


@case
def start_waits():
    model = Vms(vm("a", "stopped", False))
    with Setup(model) as s:
        same(s.ok("start", "a"), "a\n")
        same(model.vms["a"]["ready"], True)


@case
def start_no_wait():
    with Setup(Vms(vm("a", "stopped", False))) as s:
        same(s.ok("start", "--no-wait", "a"), "a\n")
        same(s.fake.lines(), ["POST /api/v1/vms/a/start"])


@case
def rm_by_uid():
    model = Vms(vm("a", "stopped", False))
    with Setup(model) as s:
        same(s.ok("rm", "a"), "a\n")
        same(model.vms, {})
        same(s.fake.lines()[:2],
             ["GET /api/v1/vms/a", "DELETE /api/v1/vms/" + UID])
        same(len(s.fake.requests[1].key), 32)


@case
def rm_running():
    model = Vms(vm("a"))
    with Setup(model) as s:
        r, out, err = s.run("rm", "a")
        same((r, out), (125, b""))
        has(err, "VM a is running: stop it first")
        same(s.fake.lines(), ["GET /api/v1/vms/a"])
        same(s.ok("rm", "-f", "a", "nope"), "a\nnope\n")
        same(model.vms, {})


# ---- connections ----

@case
def not_there():
    with Setup() as s:
        r, _, err = s.run("ps")
        same(r, 125)
        same(err, "mews: cannot reach the API at %s: there is no such socket "
             "(is mewsd running? is $MEWS_API right?)\n" % s.path)


@case
def refused():
    with Setup() as s:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(s.path)
        sock.close()
        for args in (["ps"], ["exec", "a", "b"]):
            r, _, err = s.run(*args)
            same(r, 125)
            has(err.lower(), "cannot reach the api at %s: connection refused "
                "(is mewsd running? is your user" % s.path.lower())


@case
def forbidden():
    with Setup(lambda rq, n: answer(403, {"error": "not you"})) as s:
        for args in (["ps"], ["exec", "a", "b"], ["doctor"], ["events"],
                     ["rm", "a"], ["logs", "--console", "a"]):
            r, _, err = s.run(*args)
            same(r, 125, args)
            same(err, "mews: not allowed: not you\n")


@case
def broken_connection_same_key():
    def handler(rq, n):
        if n == 2:
            rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        if n <= 3:
            return b""
        return answer(200, vm(status="stopping"))
    with Setup(handler) as s:
        s.ok("stop", "--no-wait", "web")
        same(s.fake.lines(), ["POST /api/v1/vms/web/stop"] * 4)
        same(len({q.key for q in s.fake.requests}), 1, "one key")


@case
def cut_body_same_key():
    def handler(rq, n):
        if n == 1:
            return answer(200, vm())[:-20] + b""
        return answer(200, vm(status="stopping"))

    def cut(rq, n):
        out = handler(rq, n)
        rq.conn.sendall(out)
        return b"" if n == 1 else None
    with Setup(cut) as s:
        s.ok("stop", "--no-wait", "web")
        same(len(s.fake.requests), 2)
        same(len({q.key for q in s.fake.requests}), 1, "one key")


@case
def answered_before_it_wrote():
    """A server that refuses and closes before the request is written: what it
    said is shown, or, where the library did not read it, all is tried again."""
    said = answer(503, {"error": "too many connections"})
    # on one processor, where a waking server stops an idle-class client in
    # the middle of connect(2)
    cpu = {min(os.sched_getaffinity(0))}
    left = [0]

    def serve(l):
        os.sched_setaffinity(0, cpu)
        while True:
            try:
                c, _ = l.accept()
            except OSError:
                return
            with c:
                left[0] -= 1
                if left[0] < 0:
                    c.recv(4096)
                c.send(said if left[0] >= 0 else answer(200, []))

    def behind():
        os.sched_setaffinity(0, cpu)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    with Setup() as s, socket.socket(socket.AF_UNIX) as l:
        l.bind(s.path)
        l.listen(64)
        t = threading.Thread(target=serve, args=(l,), daemon=True)
        t.start()
        try:
            for args, times in ((["exec", "web", "true"], 1), (["ps"], 3)):
                for n in range(10):
                    left[0] = times
                    p = s.start(*args, preexec_fn=behind)
                    _, err = p.communicate(timeout=DEADLINE)
                    if args == ["ps"] and p.returncode == 0:
                        continue
                    same(p.returncode, 125, "%s, try %d: %r" % (args, n, err))
                    has(err.decode(), "too many connections")
        finally:
            l.shutdown(socket.SHUT_RDWR)
            t.join(DEADLINE)


@case
def retry_after():
    def handler(rq, n):
        if n == 1:
            return answer(503, {"error": "busy"}, [("Retry-After", "0")])
        return answer(200, vm(status="stopping"))
    with Setup(handler) as s:
        s.ok("stop", "--no-wait", "web")
        same(len({q.key for q in s.fake.requests}), 1, "one key")
        same(len(s.fake.requests), 2)


@case
def unavailable_for_good():
    with Setup(lambda rq, n: answer(503, {"error": "no room"})) as s:
        r, _, err = s.run("stop", "web")
        same(r, 125)
        has(err, "answered 503: no room")
        same(len(s.fake.requests), 1, "no Retry-After, no retry")


@case
def restart_in_the_middle():
    """The API goes away while a command waits, and comes back."""
    model = Vms(vm("a"))
    gone = threading.Event()

    def handler(rq, n):
        if n == 3:
            gone.set()
            return b""
        return model(rq, n)
    with Setup(handler) as s:
        p = s.start("stop", "a")
        if not gone.wait(DEADLINE):
            raise Bad("no third request")
        s.fake.close()
        s.fake.listen()
        out, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, out, err), (0, b"a\n", b""))


# ---- run ----

@case
def run_detached():
    with Setup(Vms()) as s:
        same(s.ok("run", "-d", "--name", "web", "--cpus", "2", "-m", "1g",
                  "-e", "A=b=c", "-e", "SECRET", "busybox",
                  env={"SECRET": "s3cret"}), "web\n")
        rq = s.fake.requests[0]
        same(rq.line, "POST /api/v1/vms")
        same(rq.headers["content-type"], "application/json")
        same(json.loads(rq.body), {
            "name": "web", "image": "busybox", "cpu_cores": 2,
            "memory_mb": 1024, "env": ["A=b=c", "SECRET=s3cret"]})
        same(s.fake.lines()[1], "GET /api/v1/vms/" + UID)


@case
def run_defaults_and_names():
    with Setup(Vms()) as s:
        name = s.ok("run", "reg.io/lib/my_app:1.2").strip()
        if not re.fullmatch("my-app-[0-9a-f]{4}", name):
            raise Bad(name)
        same(json.loads(s.fake.requests[0].body), {
            "name": name, "image": "reg.io/lib/my_app:1.2", "cpu_cores": 1,
            "memory_mb": 256})
    with Setup(Vms()) as s:
        same(json.loads(s.ok("--json", "run", "-d", "--name", "w",
                             "busybox"))["name"], "w")


@case
def run_name_taken():
    tries = []

    def handler(rq, n):
        if rq.method == "POST":
            tries.append((json.loads(rq.body)["name"], rq.key))
            if len(tries) < 3:
                return answer(409, {"error": "vm exists"})
            return answer(201, vm(tries[-1][0]))
        return answer(200, vm(tries[-1][0]))
    with Setup(handler) as s:
        s.ok("run", "-d", "busybox")
        same(len({n for n, k in tries}), 3)
        same(len({k for n, k in tries}), 3, "another request, another key")
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same(r, 0)
    with Setup(lambda rq, n: answer(409, {"error": "vm exists"})) as s:
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same((r, err), (125, "mews: vm exists\n"))
        same(len(s.fake.requests), 1)


@case
def run_kernel_cmdline():
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--kernel-cmdline", "quiet nopv", "busybox")
        same(json.loads(s.fake.requests[0].body)["kernel_cmdline"],
             "quiet nopv")
        r, _, err = s.run("run", "-d", "--kernel-cmdline", "x" * 5000,
                          "busybox")
        same(r, 125)
        has(err, "--kernel-cmdline: more than ")


@case
def run_env_file():
    path = os.path.join(DIR, "env")
    with open(path, "w") as f:
        f.write("# one\n\nA=1\nB=two words\nFROM_HERE\nA=3\n")
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--env-file", path, "-e", "B=4", "busybox",
             env={"FROM_HERE": "x"})
        same(json.loads(s.fake.requests[0].body)["env"],
             ["A=3", "B=4", "FROM_HERE=x"])
        with open(path, "w") as f:
            f.write("A=1\n\nnot a name=secretvalue\n")
        r, _, err = s.run("run", "-d", "--env-file", path, "busybox")
        same(r, 125)
        has(err, path + ":3: ")
        if "secretvalue" in err:
            raise Bad("a value is shown")


def run_model(script, vms):
    model = Vms()

    def handler(rq, n):
        vms.append(model)
        if rq.path.endswith("/exec"):
            ws = upgrade(rq, EXEC)
            script(ws, json.loads(ws.recv()[1]))
            return None
        return model(rq, n)
    return handler


@case
def run_command_rm():
    vms = []

    def script(ws, rq):
        same(rq, {"cmd": ["sh", "-c", "x"], "stdin": True})
        data, closed = drain(ws)
        ws.send(b"\x01" + data)
        ws.status(3)
        ws.close()
    with Setup(run_model(script, vms)) as s:
        r, out, err = s.run("run", "--rm", "--name", "w", "busybox", "sh",
                            "-c", "x", stdin=b"in\0put")
        same((r, out, err), (3, b"in\0put", ""))
        same(vms[0].vms, {}, "removed")
        has(s.fake.lines(), "GET /api/v1/vms/%s/exec" % UID)


@case
def run_command_stays():
    vms = []

    def script(ws, rq):
        ws.status(0)
        ws.close()
    with Setup(run_model(script, vms)) as s:
        same(s.ok("run", "--name", "w", "busybox", "true"), "")
        same(list(vms[0].vms), ["w"])


@case
def run_crashes_before_ready():
    def handler(rq, n):
        if rq.method == "POST":
            return answer(201, vm("w", "pending", False))
        return answer(200, vm("w", "crashed", False, reason="panic"))
    with Setup(handler) as s:
        r, out, err = s.run("run", "-d", "--name", "w", "busybox")
        same((r, out), (125, b""))
        has(err, "VM w is crashed before it was ready: panic (see `mews logs "
            "--console w`)")


def interrupted(sig, args, want, gone):
    vms, started = [], threading.Event()

    def script(ws, rq):
        started.set()
        drain(ws)
    with Setup(run_model(script, vms)) as s:
        p = s.start(*args, stdin=subprocess.PIPE)
        if not started.wait(DEADLINE):
            raise Bad("no exec")
        p.send_signal(sig)
        p.wait(DEADLINE)
        same(p.returncode, want)
        same(vms[0].vms == {}, gone, "removed")
        p.communicate()


@case
def interrupt_rm():
    interrupted(signal.SIGINT, ["run", "--rm", "busybox", "sleep", "9"], 130,
                True)


@case
def terminate_rm():
    interrupted(signal.SIGTERM, ["run", "--rm", "busybox", "sleep", "9"], 143,
                True)


@case
def interrupt_stays():
    interrupted(signal.SIGINT, ["run", "busybox", "sleep", "9"], 130, False)


@case
def second_interrupt_gives_up():
    deleting, go = threading.Event(), threading.Event()
    started = threading.Event()
    model = Vms()

    def handler(rq, n):
        if rq.path.endswith("/exec"):
            ws = upgrade(rq, EXEC)
            ws.recv()
            started.set()
            drain(ws)
            return None
        if rq.method == "DELETE":
            deleting.set()
            go.wait(DEADLINE)
            return b""
        return model(rq, n)
    with Setup(handler) as s:
        p = s.start("run", "--rm", "--name", "w", "busybox", "sleep", "9",
                    stdin=subprocess.PIPE)
        if not started.wait(DEADLINE):
            raise Bad("no exec")
        p.send_signal(signal.SIGINT)
        if not deleting.wait(DEADLINE):
            raise Bad("no DELETE")
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=DEADLINE)
        go.set()
        same(p.returncode, 130)
        has(err.decode(), "VM w may still be there")


@case
def closed_stdout_still_removes():
    vms = []

    def script(ws, rq):
        try:
            for _ in range(200):
                ws.send(b"\x01" + b"x" * 60000)
            ws.status(0)
        except OSError:
            pass
    with Setup(run_model(script, vms)) as s:
        r, w = os.pipe()
        p = s.start("run", "--rm", "busybox", "yes", stdout=w)
        os.close(w)
        os.close(r)
        p.communicate(timeout=DEADLINE)
        same(p.returncode, 141)
        same(vms[0].vms, {})


# ---- exec ----

@case
def exec_request():
    got = {}

    def script(ws, rq):
        got.update(rq)
        ws.send(b"\x01out\x00\xff")
        ws.send(b"\x02err")
        ws.send(b"\x09what a newer suite says")
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "-w", "/tmp", "-e", "A=1", "web", "cat",
                            "-n", "--", "x")
        same((r, out, err), (0, b"out\x00\xff", "err"))
        same(got, {"cmd": ["cat", "-n", "--", "x"], "env": ["A=1"],
                   "cwd": "/tmp"})
        same(s.fake.lines(), ["GET /api/v1/vms/web/exec"])


@case
def exec_stdin_binary():
    blob = bytes(range(256)) * 4096

    def script(ws, rq):
        same(rq["stdin"], True)
        data, closed = drain(ws)
        same(closed, True)
        for i in range(0, len(data), 65000):
            ws.send(b"\x01" + data[i:i + 65000])
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "-i", "web", "cat", stdin=blob)
        same((r, err), (0, ""))
        same(out == blob, True, "1 MiB there and back")


@case
def exec_codes():
    for code in (0, 1, 3, 126, 127, 137, 255):
        def script(ws, rq):
            ws.status(code)
            ws.close()
        with Setup(exec_handler(script)) as s:
            same(s.run("exec", "web", "x")[0], code)


@case
def exec_never_ran():
    def script(ws, rq):
        ws.send(b"\x03" + json.dumps({
            "metadata": {}, "status": "Failure", "message": "too many",
            "reason": "InternalError"}).encode())
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, _, err = s.run("exec", "web", "x")
        same((r, err), (125, "mews: too many\n"))


@case
def exec_status_without_close():
    """The status counts even when the server never hangs up."""
    hold = threading.Event()

    def script(ws, rq):
        ws.status(7)
        hold.wait(DEADLINE)
    with Setup(exec_handler(script)) as s:
        same(s.run("exec", "web", "x")[0], 7)
        hold.set()


@case
def exec_broken():
    def script(ws, rq):
        ws.send(b"\x01partial")
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "web", "x")
        same((r, out), (125, b"partial"))
        has(err, "the connection to VM web broke before the command ended")


@case
def exec_refusals():
    for status, text, want in (
            (404, "vm not found", "no such VM: web (see `mews ps -a`)"),
            (409, "vm not ready", "vm not ready"),
            (500, "\x1b[31mred", "answered 500: \\x1b[31mred"),
            (500, "wor\u009bse", "answered 500: ")):
        with Setup(lambda rq, n: answer(status, {"error": text})) as s:
            r, _, err = s.run("exec", "web", "x")
            same(r, 125)
            has(err, want)
            if "\x1b" in err or "\u009b" in err:
                raise Bad("raw control character in %r" % err)


@case
def exec_retries():
    def handler(rq, n):
        if n == 1:
            return b""
        if n == 2:
            return answer(503, {"error": "soon"}, [("Retry-After", "0")])
        ws = upgrade(rq, EXEC)
        ws.recv()
        ws.status(0)
        ws.close()
        return None
    with Setup(handler) as s:
        same(s.run("exec", "web", "x")[0], 0)
        same(len(s.fake.requests), 3)


@case
def frames_with_the_head():
    def handler(rq, n):
        ws = upgrade(rq, EXEC, extra=b"\x82\x04\x01abc")
        ws.recv()
        ws.status(0)
        ws.close()
        return None
    with Setup(handler) as s:
        same(s.run("exec", "web", "x")[:2], (0, b"abc"))


# ---- terminals ----

def in_terminal(s, args, size=(100, 30)):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(MEWS, [MEWS, *args], s.env({"TERM": "xterm"}))
    import fcntl
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ,
                struct.pack("HHHH", size[1], size[0], 0, 0))
    return pid, fd


def read_until(fd, part, deadline=DEADLINE):
    out, end = b"", time.monotonic() + deadline
    while part is None or part not in out:
        left = end - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise Bad("%r never comes, only %r" % (part, out))
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            if part is None:
                return out
            raise Bad("it ended with %r" % out)
        out += data
    return out


def wait_status(pid):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        p, st = os.waitpid(pid, os.WNOHANG)
        if p:
            return os.waitstatus_to_exitcode(st)
        select.select([], [], [], 0.01)
    os.kill(pid, signal.SIGKILL)
    raise Bad("it does not end")


@case
def exec_terminal():
    sizes, first = [], threading.Event()

    def script(ws, rq):
        same((rq["tty"], rq["stdin"]), (True, True))
        ws.send(b"\x01\x1b[1mraw\x1b[0m")
        while True:
            m = ws.recv()
            if m is None:
                return
            if m[1][0] == 4:
                sizes.append(json.loads(m[1][1:]))
                first.set()
            elif m[1] == b"\x00\x03":  # Ctrl-C is the guest's
                ws.status(42)
                ws.close()
                return
    with Setup(exec_handler(script)) as s:
        pid, fd = in_terminal(s, ["exec", "-it", "web", "sh"])
        has(read_until(fd, b"\x1b[0m"), b"\x1b[1mraw")
        import fcntl
        import termios
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        end = time.monotonic() + DEADLINE
        while {"Width": 132, "Height": 50} not in sizes:
            if time.monotonic() > end:
                raise Bad("no resize: %r" % sizes)
            select.select([], [], [], 0.01)
        os.write(fd, b"\x03")
        same(wait_status(pid), 42)
        os.close(fd)


@case
def console_detach():
    got = []

    def handler(rq, n):
        same(rq.path, "/ws/v1/vms/web/console")
        ws = upgrade(rq)
        ws.send(b"login: ")
        while True:
            m = ws.recv()
            if m is None or m[0] == 8:
                return None
            got.append(m[1])
    with Setup(handler) as s:
        pid, fd = in_terminal(s, ["console", "web"])
        read_until(fd, b"login: ")
        os.write(fd, b"root\r\x1d\x1dx\x1dy\x1d.")
        same(wait_status(pid), 0)
        end = time.monotonic() + DEADLINE
        while b"".join(got) != b"root\r\x1dx\x1dy":
            if time.monotonic() > end:
                raise Bad("got %r" % got)
            select.select([], [], [], 0.01)
        os.close(fd)


@case
def console_ends():
    def handler(rq, n):
        ws = upgrade(rq)
        ws.send(b"bye\x1b[2J")
        ws.close(1011 if n > 1 else 1000, b"the VM \x1bstopped")
        return None
    with Setup(handler) as s:
        same(s.run("console", "web"), (0, b"bye\x1b[2J", ""))
        r, _, err = s.run("console", "web")
        same(r, 125)
        has(err, "the console of VM web closed: the VM \\x1bstopped")


LOG = b"a\r\nb\x1b[31m\xff\xc2\x9b1m\xe2\x80\xae\xc3\xa4\n"


@case
def logs():
    def handler(rq, n):
        if rq.path == "/api/v1/vms/web/console-log":
            return answer(200, raw=LOG)
        if rq.path == "/api/v1/vms/web/console-log?follow=1":
            rq.conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                            b"\r\n\r\n")
            for b in LOG:
                rq.conn.sendall(b"1\r\n%c\r\n" % b)
            rq.conn.sendall(b"0\r\n\r\n")
            return b""
        return answer(404, {"error": "vm not found"})
    with Setup(handler) as s:
        same(s.run("logs", "--console", "web"), (0, LOG, ""))
        same(s.run("logs", "--console", "-f", "web"), (0, LOG, ""))
        same(s.run("logs", "--console", "nope")[0], 125)
        for args in (["-f"], []):
            pid, fd = in_terminal(s, ["logs", "--console", *args, "web"])
            same(read_until(fd, None).replace(b"\r\n", b"\n"),
                 b"a\nb\\x1b[31m\\xff\\u009b1m\\u202e\xc3\xa4\n")
            same(wait_status(pid), 0)
            os.close(fd)
        pid, fd = in_terminal(s, ["logs", "--console", "--raw", "web"])
        has(read_until(fd, None), b"\x1b[31m")
        same(wait_status(pid), 0)
        os.close(fd)


# ---- events, doctor ----

def event(kind, name, status, **kw):
    o = {"type": kind, "name": name, "status": status,
         "timestamp": "2026-01-02T03:04:05.5Z"}
    o.update(kw)
    return json.dumps(o)


@case
def events():
    done = threading.Event()

    def handler(rq, n):
        if n == 1:
            rq.conn.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n")
            text = (": hello\n\nid: 7\nevent: VM_CREATED\ndata: %s\n\n"
                    "data: {\"type\":1}\n\nid: 8\ndata: %s\n\n" % (
                        event("VM_CREATED", "web", "created"),
                        event("VM_CRASHED", "web", "crashed",
                              message="panic"))).encode()
            rq.conn.sendall(b"%x\r\n%s\r\n" % (len(text), text))
            return b""  # broken in the middle
        same(rq.headers.get("last-event-id"), "8", "goes on")
        text = ("id: 9\ndata: %s\n\n" % event(
            "VM_DELETED", "web", "")).encode()
        rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
                        b"\r\n\r\n" + text)
        done.wait(DEADLINE)
        return b""
    for args, want in ((["events"], b"VM_DELETED"),
                       (["--json", "events"], b"VM_DELETED")):
        with Setup(handler) as s:
            done.clear()
            p = s.start(*args)
            out = read_until(p.stdout.fileno(), want)
            if b"\n" not in out[out.index(want):]:
                out += read_until(p.stdout.fileno(), b"\n")
            p.terminate()
            _, err = p.communicate(timeout=DEADLINE)
            done.set()
            has(err, b"an event that makes no sense")
            if args[0] == "events":
                golden("events.txt", out.decode())
            else:
                same([json.loads(x)["type"] for x in out.splitlines()],
                     ["VM_CREATED", "VM_CRASHED", "VM_DELETED"])


@case
def doctor():
    checks = [{"name": "kvm", "ok": True, "detail": "it boots"},
              {"name": "cgroup\x1b[2J", "ok": False, "detail": "no v2"}]
    with Setup(lambda rq, n: answer(200, {"checks": checks[:n]})) as s:
        golden("doctor-ok.txt", s.ok("doctor"))
        r, out, err = s.run("doctor")
        same((r, err), (1, ""))
        golden("doctor.txt", out.decode())
    with Setup(lambda rq, n: answer(200, {"checks": checks})) as s:
        same(json.loads(s.ok("--json", "doctor"))["checks"], checks)


# ---- an evil server ----

def deep(n):
    return b"[" * n + b"]" * n


EVIL = [
    ("garbage", b"\x00\xff\x1b]0;x\x07 hello\r\n\r\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("huge header", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200000 + b"\r\n\r\n"),
    ("many headers", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60000 + b"\r\n"),
    ("no JSON", answer(200, raw=b"<html>")),
    ("empty body", answer(200, raw=b"")),
    ("null", answer(200, raw=b"null")),
    ("a number", answer(200, raw=b"12")),
    ("wrong types", answer(200, vm(name=[1], cpu_cores="two"))),
    ("list of wrong types", answer(200, [1, None, "x", {}])),
    ("deep", answer(200, raw=deep(100000))),
    ("control characters in names",
     answer(200, vm(name="we\x1b[2Jb"))),
    ("control characters in an error",
     answer(500, {"error": "\x1b]0;evil\x07"})),
    ("bidi in an error", answer(400, {"error": "a\u202eb\u0085"})),
    ("not UTF-8", answer(400, raw=b'{"error":"\xff\xfe\x1b"}')),
    ("huge error", answer(500, {"error": "x" * 100000})),
    ("redirect", answer(302, None, [("Location", "http://127.0.0.1:1/")])),
    ("101 unasked", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"
     b"Connection: Upgrade\r\n\r\n"),
    ("negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    ("huge length", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999"
     b"\r\n\r\n"),
    ("bad status", b"HTTP/1.1 abc OK\r\n\r\n"),
]
ASKS = [["ps"], ["inspect", "web"], ["doctor"], ["rm", "web"],
        ["run", "-d", "busybox"], ["exec", "web", "x"], ["console", "web"],
        ["--json", "ps"]]
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@case
def evil():
    """No crash, no hang, an error, and nothing raw in what is shown."""
    def one(name, data, ask):
        def handler(rq, n):
            try:
                rq.conn.sendall(data)
                rq.conn.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            return b""
        with Setup(handler) as s:
            r, out, err = s.run(*ask)
            same(r, 125, "%s: %r" % (name, ask))
            if not err:
                raise Bad("%s: %r says nothing" % (name, ask))
            if RAW.search(out.decode("utf-8") + err):
                raise Bad("%s: %r shows %r" % (name, ask, (out, err)))
    # side by side, because some take every try they have
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(one, *e, ask) for e in EVIL for ask in ASKS]:
            done.result()


def evil_ws(data):
    def handler(rq, n):
        ws = upgrade(rq, EXEC)
        ws.recv()
        rq.conn.sendall(data)
        rq.conn.shutdown(socket.SHUT_WR)
        ws.f.read()
        return b""
    return handler


FRAMES = [
    ("masked", b"\x82\x84aaaa\x01abc"), ("reserved bits", b"\xf2\x02\x01a"),
    ("reserved opcode", b"\x83\x02\x01a"),
    ("huge", b"\x82\x7f" + struct.pack(">Q", 1 << 62) + b"x" * 1000),
    ("too long", b"\x82\x7f" + struct.pack(">Q", 1 << 20) + b"x" * (1 << 20)),
    ("endless fragments", b"\x02\x01\x01" + b"\x00\x7e\x80\x00" + b"x" * 32768),
    ("empty message", b"\x82\x00"), ("bad close", b"\x88\x01\x03"),
    ("status is no JSON", b"\x82\x03\x03{]"),
    ("status of wrong type", b"\x82\x0f\x03{\"status\":[1]}"),
    ("cut frame", b"\x82\x10\x01abc"),
    ("long ping", b"\x89\x7e\x01\x00" + b"x" * 256),
    ("huge status", b"\x82\x7e\xff\xff\x03" + b"x" * 65534),
]


@case
def evil_frames():
    for name, data in FRAMES:
        with Setup(evil_ws(data)) as s:
            r, out, err = s.run("exec", "web", "x")
            same(r, 125, name)
            if not err.startswith("mews: "):
                raise Bad("%s: %r" % (name, err))


@case
def evil_handshake():
    def no_protocol(rq, n):
        upgrade(rq)
        return b""

    def other_protocol(rq, n):
        upgrade(rq, "v4.channel.k8s.io")
        return b""

    def wrong_accept(rq, n):
        rq.headers["sec-websocket-key"] = "x"
        upgrade(rq, EXEC)
        return b""
    for fn in (no_protocol, other_protocol, wrong_accept):
        with Setup(fn) as s:
            r, _, err = s.run("exec", "web", "x")
            same(r, 125, fn.__name__)
            if not err.startswith("mews: "):
                raise Bad(err)


@case
def full_stdout():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        with open("/dev/full", "wb") as full:
            p = s.start("ps", stdout=full)
            _, err = p.communicate(timeout=DEADLINE)
        same(p.returncode, 125)
        has(err.decode(), "cannot write")


def main():
    bad = 0
    names = sys.argv[1:]
    for fn in CASES:
        if names and fn.__name__ not in names:
            continue
        try:
            fn()
            print("ok cli_%s" % fn.__name__, flush=True)
        except Exception as e:
            bad += 1
            print("not ok cli_%s: %s: %s" % (
                fn.__name__, type(e).__name__, e), flush=True)
    shutil.rmtree(DIR, ignore_errors=True)
    return 1 if bad else 0


sys.exit(main())
