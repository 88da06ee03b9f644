#!/usr/bin/env python3
"""Confinement: every room tries what no room may, from its own place.

The whole suite runs with rooms that were linked with tests/hostile/: under
mewsd, with the uid, root, capabilities and filter that the room ships with,
they do one forbidden act per child and say what the kernel answered.
"""
import contextlib
import ctypes
import errno
import glob
import os
import re
import resource
import shutil
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

HOSTILE = os.path.join(suite.BUILD, "hostile")
PROGRAMS, STAGE = "/run/programs", "/run/stage"
LINE = re.compile(r"act (\S+) (\S+) ?(\w*) ?(\d*)")
KILLED = "signal %d" % signal.SIGSYS


def no(*names):
    return {"errno %d" % getattr(errno, n) for n in names}


# Where a room's filter must let a call through for its own work, what stops
# the act is said here.  All else dies.
NO_FILE = no("ENOENT", "EACCES", "EPERM")
OPENS = {n: NO_FILE for n in ("open_passwd", "open_shadow_up", "open_mem",
                              "open_init_root", "open_dirfd")}
AF_UNIX_ONLY = {n: {KILLED} | no("EACCES") for n in (
    "inet", "inet_raw", "inet6", "netlink", "packet", "vsock", "alg",
    "bluetooth", "xdp")}
# Landlock's version: from 6 on it keeps rooms from abstract sockets of others.
LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1)
EXPECT = {
    "mewsd": {"uring": no("ENOSYS")},
    "orchd": {**OPENS, "open_root": {"done"}},  # lib/store
    "apid": {},
    "apid-admin": {},
    "netd": {"netlink": {"done"}},  # its work
    # its work is to read FIFOs and to connect to sockets; of AF_VSOCK where
    # mews.conf allows it and the kernel has it.  No folder but log/vm may be
    # read: not its root's
    "launchd": {**OPENS, "open_root": no("EACCES"),
                "abstract": no("EPERM") if LANDLOCK >= 6 else {"done"},
                "vsock": {"done"} | no("EAFNOSUPPORT")},
    "spawner": {**AF_UNIX_ONLY, "uring": no("ENOSYS")},
    "keeper": {**AF_UNIX_ONLY, "clone3": no("ENOSYS"), "uring": no("ENOSYS")},
    # nobody listens in its own network namespace
    "warden": {**AF_UNIX_ONLY, "abstract": no("ECONNREFUSED")},
}
# Rows of /proc/PID/status: uid's place in the block (None: root), filters
# that are at least there, capabilities.
CAPS_NETD = 1 << 12
CAPS_SPAWNER = sum(1 << n for n in (0, 5, 6, 7, 8, 19, 21))
ROWS = {
    "mewsd": (None, 1, None),
    "orchd": (0, 2, 0),
    "apid": (1, 2, 0),
    "apid-admin": (2, 2, 0),
    "netd": (3, 2, CAPS_NETD),
    "launchd": (4, 2, 0),
    "spawner": (None, 2, CAPS_SPAWNER),
}
ROOT_OF = {"orchd": "%(root)s/lib/store", "apid": "%(root)s/run/empty",
           "apid-admin": "%(root)s/run/empty",
           "netd": "/", "launchd": "%(root)s/run/vm"}
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
CONNECTIONS, VMS = 100, 100
# what mewsd then asks for
NOFILE = 3 * CONNECTIONS + 8 * VMS + 256
ACTS, HELD = {}, {}
s = None


def text_of(pattern):
    out = ""
    for d, _, names in os.walk(suite.ROOT):
        for n in names:
            path = os.path.join(d, n)
            if re.search(pattern, n) and os.path.isfile(path):  # no FIFO
                with open(path, errors="replace") as f:
                    out += f.read()
    return out


def hold_logs(over):
    """A VM that is found wanting goes, and its log with it: not for us."""
    while not over.wait(0.005):
        for path in glob.glob(suite.ROOT + "/log/vm/*.log"):
            with contextlib.suppress(FileNotFoundError):
                if path not in HELD:
                    HELD[path] = open(path, errors="replace")


def gather():
    """{room: {act: outcome}} of all logs below ROOT."""
    for f in HELD.values():
        f.seek(0)
    for line in (text_of(r"\.log$") + "".join(
            f.read() for f in HELD.values())).splitlines():
        m = LINE.search(line)
        if m:
            ACTS.setdefault(m.group(1), {})[m.group(2)] = (
                m.group(3) + " " + m.group(4)).strip()
    return ACTS


def programs():
    """The programs' folder with each hostile room in its place."""
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    for n in os.listdir(HOSTILE):
        shutil.copy2(os.path.join(HOSTILE, n), PROGRAMS)
    shutil.copytree(os.path.join(suite.BUILD, "stage/current"), STAGE,
                    symlinks=True)
    off = os.environ.get("MEWS_PROGRAM")
    if off:
        shutil.copy2(off, PROGRAMS)
    for n in ("mews-keeper", "mews-warden"):
        shutil.copy2(os.path.join(PROGRAMS, n), STAGE + "/usr/bin")


def refused(room):
    def case():
        acts = dict(ACTS.get(room, {}))
        assert acts.pop("end", None) is not None, "it did not try: %r" % (
            sorted(ACTS))
        assert len(acts) > 20, acts
        wrong = {a: r for a, r in acts.items()
                 if r not in EXPECT[room].get(a, {KILLED})}
        assert not wrong, wrong
    return case


def limited(limits, what, most):
    assert limits[what] == str(most), "%s is %s, of %d" % (
        what, limits[what], most)


def rows(room):
    def case():
        place, filters, caps = ROWS[room]
        st = suite.status(s.rooms()[room])
        uid = 0 if place is None else s.uids + place
        assert st["Uid"].split() == [str(uid)] * 4, "Uid is " + st["Uid"]
        if place is not None:
            assert st["Gid"].split() == [str(uid)] * 4, "Gid is " + st["Gid"]
        if caps is not None:
            assert st["Groups"] == "", "Groups is " + st["Groups"]
            for name in ("CapPrm", "CapEff", "CapBnd"):
                assert int(st[name], 16) == caps, (name, st[name])
        for name in ("CapInh", "CapAmb"):
            assert int(st[name], 16) == 0, (name, st[name])
        for name, want in (("NoNewPrivs", "1"), ("Seccomp", "2")):
            assert st[name] == want, "%s is %s" % (name, st[name])
        proc = "/proc/%s/" % st["Pid"]
        # what is not dumpable is root's there
        assert os.stat(proc + "environ").st_uid == 0 or place is None
        if place is not None:
            assert os.readlink(proc + "root") == ROOT_OF[room] % {
                "root": suite.ROOT}, os.readlink(proc + "root")
        if place is not None or room == "spawner":
            with open(proc + "limits") as f:
                limits = {l[:25].strip(): l[26:].split()[1] for l in f}
            limited(limits, "Max core file size", 1)
            # what nothing lowered is the test's own
            assert NOFILE < HARD, "no room to lower a limit"
            limited(limits, "Max open files", NOFILE)
            if room in ("apid", "apid-admin", "netd"):
                limited(limits, "Max processes", 1)
        assert int(st["Seccomp_filters"]) >= filters, st["Seccomp_filters"]
    return case


def still_serves():
    """Nothing of it did the suite any harm."""
    vm = s.get("/api/v1/vms/web").json()
    assert vm["status"] in ("starting", "running"), vm
    assert not os.path.exists("/evil")
    found = [os.path.join(d, n) for d, _, names in os.walk(suite.ROOT)
             for n in names if n == "evil"]
    assert not found, found


def without_vsock():
    """mews.conf says off: the family is not launchd's either."""
    s.stop()
    s.conf["vsock"] = "off"
    s.start()
    s.wait_helpers()
    got = gather()["launchd"]["vsock"]
    assert got == KILLED, got


def main():
    global s
    suite.enter()
    programs()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0mews-test-abstract")
    listener.listen(64)
    os.setgroups([1, 2])  # that somebody must drop
    s = suite.Suite(programs=PROGRAMS, stage=STAGE,
                    max_connections=CONNECTIONS, max_vms=VMS,
                    vsock="auto").start()
    # a netd whose capabilities are wrong may not find all well
    s.wait_helpers(of=("launcher",))
    over = threading.Event()
    holder = threading.Thread(target=hold_logs, args=(over,))
    holder.start()
    with contextlib.suppress(OSError):
        s.create("web")  # its keeper and warden try whether it runs or not
    with contextlib.suppress(AssertionError):
        suite.wait_for(lambda: "end" in gather().get("warden", {}),
                       "acts of the warden", 10, 0.1)
    over.set()
    holder.join()
    cases = {"acts-" + r: refused(r) for r in EXPECT}
    cases.update({"rows-" + r: rows(r) for r in ROWS})
    cases["still-serves"] = still_serves
    cases["launchd-without-vsock"] = without_vsock
    bad = suite.run(cases)
    if bad and os.environ.get("TEST_VERBOSE"):
        print(s.logs())
    return bad


sys.exit(main())
