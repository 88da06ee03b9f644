"""The suite and the bare hypervisor, side by side in one private host."""
import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [TOP + "/tests/suite", TOP + "/tests/agent"]
import suite  # noqa: E402

LOG = os.path.join(suite.BUILD, "bench.log")
READY = b"mews-agent ready"
BOOT_DEADLINE = 60.0
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 2, 0x1000, 0x4000


class Keep:
    """A connection that stays: what a request costs, not a connect."""

    def __init__(self, s):
        self.s = s.connect()

    def ask(self, method, path, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        head = "%s %s HTTP/1.1\r\nHost: mews\r\n" % (method, path)
        if body is not None:
            head += "Content-Length: %d\r\n" % len(data)
        self.s.sendall(head.encode() + b"\r\n" + data)
        return suite.recv_answer(self.s)

    def close(self):
        self.s.close()


def standin_stage():
    """The staged tree with the stand-in in the hypervisor's place."""
    stage = "/tmp/stage"
    real = os.path.join(suite.BUILD, "stage/current/")
    if os.path.isdir(stage):
        return stage
    for d in ("usr/bin", "usr/lib", "usr/lib64", "boot", "proc", "run", "tmp",
              "dev", "vm"):
        os.makedirs(stage + "/" + d)
    for link in ("lib", "lib64"):
        os.symlink("usr/" + link, stage + "/" + link)
    for n in ("mews-keeper", "mews-warden"):
        shutil.copy(real + "usr/bin/" + n, stage + "/usr/bin/")
    shutil.copy(os.path.join(suite.BUILD, "bench/standin"),
                stage + "/usr/bin/qemu-system-x86_64")
    ldd = subprocess.run(["ldd", real + "usr/bin/mews-warden"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True).stdout
    for lib in re.findall(r"(/\S+) \(0x", ldd):
        at = lib if lib.startswith("/usr") else "/usr" + lib
        os.makedirs(os.path.dirname(stage + at), exist_ok=True)
        shutil.copy(lib, stage + at)
    return stage


def many(n, **conf):
    """A suite with room for n stand-in VMs; its uids are no other's."""
    # a room's limit of descriptors follows max_connections alone, and
    # launchd holds three for each VM
    s = suite.Suite(stage=standin_stage(), max_vms=n + 2, log_level="info",
                    max_connections=max(1000, 2 * n),
                    subnet="10.77.0.0/20", **conf)
    block = (s.uids - suite.BLOCK) // suite.BLOCK_SIZE
    s.conf["uid_base"] = suite.BLOCK + 0x100000 + block * 0x10000
    s.conf["uid_count"] = 16 * (n + 16)
    return s


def room_for(n):
    """Each takes 2 to 3 MiB, the kernel's share with it: twice that."""
    with open("/proc/meminfo") as f:
        free = [int(l.split()[1]) for l in f if l.startswith("MemAvailable:")]
    return min(n, free[0] // 1024 // 5)


def remove_state():
    for d in ("lib", "run", "log"):
        shutil.rmtree(suite.ROOT + "/" + d, ignore_errors=True)


# -- the bare hypervisor ---------------------------------------------------

def tap(name):
    """As netd opens one, made by hand."""
    if not os.path.exists("/tmp/tun"):
        os.mknod("/tmp/tun", 0o600 | 0o020000, os.makedev(10, 200))
    fd = os.open("/tmp/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack(
        "16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    suite.sh("ip", "link", "set", name, "up")
    return fd


class Bare:
    """The same argv, kernel, initramfs and devices; no jail, no mews."""

    def __init__(self, argv):
        stage = os.path.join(suite.BUILD, "stage/current")
        self.paths, self.fds, ready = [], {}, {}
        for number, name in ((4, "qmp"), (5, "serial"), (6, "agent")):
            path = "/tmp/bare-" + name
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            ls = socket.socket(socket.AF_UNIX)
            ls.bind(path)
            ls.listen(4)
            self.paths.append(path)
            ready[number] = ls.detach()
        ready[7] = tap("bare0")
        self.fds = ready
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.connect("/tmp/bare-serial")
        argv = [re.sub(r"fd=(\d)", lambda m: "fd=%d" % ready[int(m.group(1))], a)
                for a in argv if a != "-S"]
        argv = [stage + a if a.startswith("/boot/") else a for a in argv]
        self.start = time.monotonic()
        self.p = subprocess.Popen(argv, pass_fds=list(ready.values()),
                                  stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)

    def wait_ready(self):
        seen = b""
        self.serial.settimeout(BOOT_DEADLINE)
        while READY not in seen:
            data = self.serial.recv(4096)
            if not data:
                raise AssertionError("bare guest ended: %r" % seen[-500:])
            seen += data
        return time.monotonic() - self.start

    def agent(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect("/tmp/bare-agent")
        return s

    def close(self):
        self.p.kill()
        self.p.wait()
        self.serial.close()
        for fd in self.fds.values():
            os.close(fd)


def argv_of(s, name):
    pid = s.get("/api/v1/vms/" + name).json()["pid"]
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        return [a.decode() for a in f.read().split(b"\0")[:-1]]
