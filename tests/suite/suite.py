"""The real suite in a private host: what the system tests stand on.

enter() re-executes the test in its own mount, pid, net, ipc and uts
namespaces under a small reaping init, so that nothing a test does is seen
outside, and everything is gone when it ends, however it ends.  Suite starts
mewsd there with a root of its own on a tmpfs and a block of 256 uids that
no other test run has.
"""
import contextlib
import errno
import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sanitized  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
ROOT = "/run/m"
# The lab has KVM; elsewhere what a machine's /dev/kvm can do varies.
ACCEL = os.environ.get("MEWS_TEST_ACCEL", "tcg")
# What each VM is made with besides (tests/lab/run).
GUEST = json.loads(os.environ.get("MEWS_TEST_GUEST", "{}"))
# Seconds between looks; an emulated machine would do little else (tests/lab/run).
POLL = float(os.environ.get("TEST_POLL", "0.01"))
DEADLINE = 20.0
# 16 planes of uids (proto/uids.h): 511 slots, and the rooms before them
BLOCK, BLOCKS, BLOCK_SIZE = 0x6D000000, 64, 8192
ROOMS = {"orchd": 0, "apid": 1, "apid-admin": 2, "netd": 3, "launchd": 4}
USER, STRANGER, VM_FIRST = 8, 9, 16  # offsets in the block
BRIDGE, UPLINK = "mews0", "up0"
SUBNET, GW = "10.77.0.0/24", "10.77.0.1"
UP_ADDR, WORLD = "10.99.0.1", "10.99.0.2"


def sh(*argv, check=True, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, **kw)
    if check and p.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), p.stdout))
    return p.stdout


def uid_block():
    """First uid of a block that is ours while this process tree lives.

    An abstract socket's name is the lock: it goes with the last process that
    holds it, and leaves no file behind.
    """
    for n in range(BLOCKS):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.bind("\0mews-test-uids-%d" % n)
        except OSError as e:
            s.close()
            if e.errno != errno.EADDRINUSE:
                raise
            continue
        os.set_inheritable(s.fileno(), True)
        s.detach()
        return BLOCK + n * BLOCK_SIZE
    raise RuntimeError("no free block of uids: %d tests run at once" % BLOCKS)


def enter(reaps=True):
    """Returns only in the private host; elsewhere it becomes that.

    reaps: its pid 1 does so, as an init and unlike a plain container's.
    """
    if os.environ.get("MEWS_TEST_HOST") == "inside":
        return
    if os.environ.get("MEWS_TEST_HOST") == "init":
        os.environ["MEWS_TEST_HOST"] = "inside"
        init(reaps)
        return
    os.environ["MEWS_TEST_UIDS"] = str(uid_block())
    os.environ["MEWS_TEST_HOST"] = "init"
    os.execvp("unshare", ["unshare", "-m", "-p", "-n", "-i", "-u", "-f",
                          "--propagation", "private", "--mount-proc",
                          "--kill-child", sys.executable, *sys.argv])


def init(reaps):
    """pid 1 of the private host: reaps, ends with the test."""
    child = os.fork()
    if child == 0:
        make_host()
        return
    while True:
        pid, status = os.waitpid(-1 if reaps else child, 0)
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def private_tmp():
    """An empty /tmp of our mount namespace; a tree cloned there stays."""
    fd = os.open(TOP, os.O_PATH)
    sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", "/tmp")
    if TOP.startswith("/tmp/"):
        os.makedirs(TOP)
        # by descriptor: the name now means the empty folder
        sh("mount", "--no-canonicalize", "--bind", "/proc/self/fd/%d" % fd, TOP,
           pass_fds=(fd,))
    os.close(fd)
    os.chdir(TOP)


def make_host():
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run")
    private_tmp()
    os.mkdir("/run/netns")
    os.mkdir(ROOT)
    sh("ip", "link", "set", "lo", "up")
    for which in ("all", "default"):
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % which, "w") as f:
            f.write("1")
    sh("ip", "netns", "add", "world")
    sh("ip", "link", "add", UPLINK, "type", "veth", "peer", "eth0", "netns", "world")
    sh("ip", "addr", "add", UP_ADDR + "/24", "dev", UPLINK)
    sh("ip", "link", "set", UPLINK, "up")
    sh("ip", "-n", "world", "addr", "add", WORLD + "/24", "dev", "eth0")
    sh("ip", "-n", "world", "link", "set", "eth0", "up")
    sh("ip", "-n", "world", "link", "set", "lo", "up")
    sh("ip", "route", "add", "default", "via", WORLD)


def as_guest(args):
    """Arguments of the CLI; what `mews run` makes is made like GUEST."""
    if args[0] != "run" or "kernel_cmdline" not in GUEST:
        return args
    return ("run", "--kernel-cmdline", GUEST["kernel_cmdline"], *args[1:])


def wait_for(fn, what, deadline=DEADLINE, every=POLL):
    """Asks fn until it is true: for what has no event to wait for."""
    end = time.monotonic() + deadline
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("no %s within %g s" % (what, deadline))
        select.select([], [], [], every)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %r" % (self.status, self.body[:300])


def recv_answer(s):
    """One HTTP/1.1 answer with a Content-Length, chunked, or none."""
    buf = b""
    while b"\r\n\r\n" not in buf:
        data = s.recv(65536)
        if not data:
            raise ConnectionError("closed after %r" % buf[:200])
        buf += data
    head, _, body = buf.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    headers = {k.strip().lower(): v.strip()
               for k, _, v in (l.partition(":") for l in lines[1:])}
    need = int(headers.get("content-length", 0))
    while len(body) < need:
        data = s.recv(65536)
        if not data:
            raise ConnectionError("body cut short")
        body += data
    return Answer(status, headers, body)


class Suite:
    """One running suite below ROOT."""

    def __init__(self, programs=BUILD, stage=None, **conf):
        self.uids = int(os.environ["MEWS_TEST_UIDS"])
        self.programs = programs
        self.proc = None
        self.root = ROOT
        self.sock = ROOT + "/run/api.sock"
        self.conf = {
            "user_orch": str(self.uids + ROOMS["orchd"]),
            "user_api": str(self.uids + ROOMS["apid"]),
            "user_api_admin": str(self.uids + ROOMS["apid-admin"]),
            "user_net": str(self.uids + ROOMS["netd"]),
            "user_launch": str(self.uids + ROOMS["launchd"]),
            "users": [str(self.uids + USER)],
            "uid_base": self.uids + VM_FIRST,
            "uid_count": BLOCK_SIZE - VM_FIRST,
            "max_vms": 200,
            "bridge": BRIDGE, "uplink": UPLINK, "subnet": SUBNET,
            "accel": ACCEL, "cgroup": "off", "log_level": "debug",
            "stage": stage or os.path.join(BUILD, "stage/current"),
            "ready_timeout": 60,  # a loaded machine is no fault
        }
        self.conf.update(conf)

    def write_conf(self):
        with open(ROOT + "/mews.conf", "w") as f:
            for k, v in self.conf.items():
                if isinstance(v, list):
                    v = "{%s}" % ", ".join('"%s"' % x if isinstance(x, str)
                                           else str(x) for x in v)
                elif isinstance(v, str):
                    v = '"%s"' % v
                f.write("%s = %s\n" % (k, v))
        os.chmod(ROOT + "/mews.conf", 0o644)

    def start(self, wait=True, env=None, under=()):
        """under: a program with its options that execs mewsd."""
        self.write_conf()
        self.log = open(ROOT + "/mewsd.log", "ab")
        self.proc = subprocess.Popen(
            [*under, self.programs + "/mewsd", "-f", ROOT + "/mews.conf",
             "-r", ROOT], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, env=env)
        sanitized.watch(ROOT + "/*.log", ROOT + "/log/*.log",
                        ROOT + "/log/vm/*.log")
        if wait:
            self.wait_up()
        return self

    def wait_up(self, deadline=DEADLINE):
        def up():
            if self.proc.poll() is not None:
                raise AssertionError("mewsd ended with %d\n%s"
                                     % (self.proc.returncode, self.logs()))
            try:
                return self.get("/healthz", timeout=2).status == 200
            except OSError:
                return False
        wait_for(up, "answer of the API", deadline)

    def wait_helpers(self, deadline=DEADLINE, of=("network", "launcher")):
        """These helpers have told orchd what they hold, and find all well."""
        def there():
            checks = self.get("/api/v1/system/doctor").json()
            checks = checks["checks"] if isinstance(checks, dict) else checks
            return all(c["ok"] for c in checks
                       if c["name"] in of)
        wait_for(there, "helpers", deadline)

    def stop(self):
        if self.proc is None:
            return
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(DEADLINE)
        self.proc = None

    def query(self, sql, *args):
        """First column of the first row of the store, from outside."""
        with contextlib.closing(sqlite3.connect(
                "file:%s/lib/store/store.db?mode=ro" % ROOT, uri=True)) as db:
            return db.execute(sql, args).fetchone()[0]

    def drain(self, proc):
        """What a mewsd on a pipe says from now on goes to the log."""
        def copy():
            with proc.stdout:
                for line in proc.stdout:
                    self.log.write(line)
        threading.Thread(target=copy, daemon=True).start()

    def logs(self):
        out = ""
        for d in (ROOT, ROOT + "/log"):
            for n in sorted(os.listdir(d)) if os.path.isdir(d) else []:
                if n.endswith(".log"):
                    with open(os.path.join(d, n), errors="replace") as f:
                        out += "--- %s\n%s" % (n, f.read()[-6000:])
        return out

    # -- processes

    def rooms(self):
        """{room: pid} of mewsd's children.

        What the spawner has just made bears its title until it is another.
        """
        found, spawners = {}, {}
        for pid, name in processes().items():
            m = re.match(r"mews[:-] ?(apid-admin|[a-z]+)", name)
            if not m or m.group(1) in ("keeper", "warden"):
                continue
            with contextlib.suppress(OSError, KeyError):
                parent = int(status(pid)["PPid"])
                if self.proc is not None and parent != self.proc.pid:
                    continue
                if m.group(1) == "spawner":
                    spawners[pid] = parent
                else:
                    found[m.group(1)] = pid
        found.update({"spawner": pid for pid, parent in spawners.items()
                      if parent not in spawners})
        if self.proc is not None:
            found["mewsd"] = self.proc.pid
        return found

    # -- the API

    def connect(self, uid=None, timeout=DEADLINE):
        s = socket.socket(socket.AF_UNIX)
        # while it connects it has no timeout of Python's: with one, a full
        # backlog is an error instead of a wait
        if uid is None:
            s.connect(self.sock)
            s.settimeout(timeout)
            return s
        # the kernel notes the uid of the moment of connect(2)
        pid = os.getpid()
        assert pid
        os.seteuid(uid)
        try:
            s.connect(self.sock)
        finally:
            os.seteuid(0)
        s.settimeout(timeout)
        return s

    def request(self, method, path, body=None, headers=(), uid=None,
                timeout=DEADLINE):
        data = b"" if body is None else (
            body if isinstance(body, bytes) else json.dumps(body).encode())
        head = "%s %s HTTP/1.1\r\nHost: mews\r\n" % (method, path)
        if body is not None:
            head += "Content-Length: %d\r\n" % len(data)
        for k, v in headers:
            head += "%s: %s\r\n" % (k, v)
        with contextlib.closing(self.connect(uid, timeout)) as s:
            s.sendall(head.encode() + b"\r\n" + data)
            return recv_answer(s)

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    def create(self, name, **kw):
        body = {"name": name, "image": "busybox", "cpu_cores": 1,
                "memory_mb": 96, **GUEST}
        body.update(kw)
        return self.post("/api/v1/vms", body, timeout=60)

    def wait_ready(self, name, deadline=100):
        def ready():
            vm = self.get("/api/v1/vms/" + name).json()
            assert vm.get("status") != "crashed", "%r\n%s" % (vm, self.logs())
            # where the probe chooses, in the lab, it is to choose KVM
            assert ACCEL != "auto" or vm.get("accel", "kvm") == "kvm", vm
            return vm.get("ready")
        return wait_for(ready, "agent of " + name, deadline, 0.05)

    def cli(self, *args, input=None, timeout=60, env=None):
        e = dict(os.environ, MEWS_API="unix://" + self.sock)
        e.update(env or {})
        return subprocess.run([self.programs + "/mews", *as_guest(args)],
                              input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, env=e)


def processes():
    """{pid: command line} of the private host."""
    found = {}
    for d in os.listdir("/proc"):
        if not d.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % d, "rb") as f:
                found[int(d)] = f.read().replace(b"\0", b" ").decode(
                    "utf-8", "replace").strip()
        except OSError:
            pass
    return found


def status(pid):
    """/proc/PID/status as a dict."""
    with open("/proc/%d/status" % pid) as f:
        return {k: v.strip() for k, _, v in (l.partition(":") for l in f)}


def leaks(suite):
    """What a suite without VMs must not have left in this host."""
    found = []
    base = suite.uids + VM_FIRST
    for pid in processes():
        try:
            uid = int(status(pid)["Uid"].split()[0])
        except (OSError, KeyError):
            continue
        if base <= uid < base + BLOCK_SIZE - VM_FIRST:
            found.append("process %d of uid %d" % (pid, uid))
    for line in sh("ip", "-o", "link").splitlines():
        name = line.split(":")[1].strip().split("@")[0]
        if re.fullmatch(r"mw[0-9]+", name):
            found.append("tap " + name)
    for d in ("lib/vm", "run/vm"):
        with contextlib.suppress(FileNotFoundError):
            found += ["%s/%s" % (d, n) for n in os.listdir(ROOT + "/" + d)
                      if re.fullmatch(r"[0-9a-f]{16}", n)]
    found += ["mount " + m for m in mounts()]
    return found


def mounts():
    """What is mounted below the suite's root."""
    with open("/proc/self/mounts") as f:
        return [l.split()[1] for l in f if l.split()[1].startswith(ROOT + "/")]


def run(cases):
    """Runs {name: function}; a function takes nothing and asserts."""
    import traceback
    want = sys.argv[1:]
    bad = 0
    for name, fn in cases.items():
        if want and not any(w in name for w in want):
            continue
        try:
            fn()
            sanitized.check()
            print("ok " + name, flush=True)
        except Exception:
            bad = 1
            traceback.print_exc(file=sys.stdout)
            print("not ok " + name, flush=True)
    return bad
