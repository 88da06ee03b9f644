"""What the CLI's tests need: the program, run against a stand-in for the API
(fake.py), its golden files, terminals.

UPDATE_GOLDEN=1 writes the golden files anew: read the difference.
"""
import itertools
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

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


TWO = [vm(), vm("db", "crashed", False, "fedcba9876543210", ip_address="",
               reason="guest panic", memory_mb=2048, cpu_cores=2,
               image="docker.io/library/postgres:16")]


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
            raise Bad("%r never comes, only %r" % (part, out[-2000:]))
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if not data:
            if part is None:
                return out
            raise Bad("it ended with %r" % out[-2000:])
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


def main():
    """Runs the cases, or those that are named."""
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
    sys.exit(1 if bad else 0)
