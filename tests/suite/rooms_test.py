#!/usr/bin/env python3
"""mewsd and its rooms: whoever ends, or goes deaf and mute, is replaced.

A room that lives on without one of its channels is made from a room that
ships: its end is shut down, or sends what reads like an end, by a descriptor
taken from it (pidfd_getfd).  One VM runs through it all.

usage: rooms_test.py [CASE...]   MEWS_PROGRAM: another mewsd
"""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

PROGRAMS = "/run/programs"
ROOMS = ("apid", "apid-admin", "netd", "launchd", "spawner", "orchd")
TOGETHER = ("launchd", "spawner")  # neither meets another's former life
BACK = 15  # seconds until a room must have been replaced
SYS_PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)
s = None


def take(pid, fd):
    """A descriptor of another process, as a socket of ours."""
    pidfd = os.pidfd_open(pid)
    try:
        got = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        if got < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return socket.socket(fileno=got)
    finally:
        os.close(pidfd)


def sockets(pid):
    """{inode: fd}"""
    found = {}
    for fd in map(int, os.listdir("/proc/%d/fd" % pid)):
        with contextlib.suppress(OSError):
            to = os.readlink("/proc/%d/fd/%d" % (pid, fd))
            if to.startswith("socket:["):
                found[to[8:-1]] = fd
    return found


def channels(pid):
    """{"mewsd": fd, "orchd": fd, ...} of a room: mewsd made both ends."""
    owner = {inode: room for room, other in s.rooms().items()
             if other != pid for inode in sockets(other)}
    out = subprocess.run(["ss", "-xan"], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    peer = {f[5]: f[7] for f in map(str.split, out.splitlines()) if len(f) > 7}
    return {owner[peer[inode]]: fd for inode, fd in sockets(pid).items()
            if peer.get(inode) in owner}


def mewsd_log(mark=0):
    with open(suite.ROOT + "/mewsd.log", "rb") as f:
        f.seek(mark)
        return f.read().decode("utf-8", "replace")


def starts(mark):
    """{room: how often it began since}"""
    said = re.findall(r"(\S+) serves \(pid", mewsd_log(mark))
    return {r: said.count(r) for r in set(said)}


def works():
    """All rooms are there, the VM is as it was, and another comes and goes."""
    suite.wait_for(lambda: set(ROOMS) <= set(s.rooms()), "all rooms", BACK)

    def answers():
        try:
            for uid in (None, s.uids + suite.USER):
                if s.get("/api/v1/vms/web", uid=uid, timeout=2).status != 200:
                    return False
            return True
        except OSError:
            return False
    suite.wait_for(answers, "answers of both apids", BACK)
    s.wait_helpers(BACK)
    vm = s.get("/api/v1/vms/web").json()
    assert (vm["status"], vm["pid"]) == ("running", PID), vm


def life():
    """Every helper does its work."""
    a = s.create("other")
    assert a.status == 201, a
    a = s.delete("/api/v1/vms/other", timeout=60)
    assert a.status == 204, a


def replaced(room, act):
    """act(pid) makes it useless: then it, and it alone, is another one, or it
    and who lives with it."""
    new = TOGETHER if room in TOGETHER else (room,)
    before, mark = s.rooms(), os.path.getsize(suite.ROOT + "/mewsd.log")
    act(before[room])
    suite.wait_for(lambda: s.rooms().get(room, before[room]) != before[room],
                   "another " + room, BACK)
    works()
    after = s.rooms()
    for r in ROOMS:
        assert (after[r] == before[r]) == (r not in new), (r, before, after)
    # nor was the fresh one, which would have begun twice
    assert starts(mark) == {r: 1 for r in new}, mewsd_log(mark)


def shut(which):
    def act(pid):
        with take(pid, channels(pid)[which]) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    return act


def empty(which):
    def act(pid):
        with take(pid, channels(pid)[which]) as sock:
            sock.send(b"")
    return act


def closes(room):
    """Its channel to orchd, or the spawner's to launchd, ends while it lives
    on."""
    def case():
        other = "launchd" if room == "spawner" else "orchd"
        replaced(room, shut(other))
        replaced(room, empty(other))
        if room in ("netd", "launchd", "spawner"):
            life()
    return case


def hangs_up():
    """The channel to mewsd ends: an empty packet is no end to the sender."""
    for room in ("apid", "netd", "launchd", "spawner", "orchd"):
        replaced(room, empty("mewsd"))


def killed():
    """Both mewsd and orchd see it: started once, never killed afterwards."""
    for room in ROOMS:
        for _ in range(3):
            replaced(room, lambda pid: os.kill(pid, signal.SIGKILL))
    life()


def stopped():
    """A stop in order: nobody is taken for one that hung up."""
    mark = os.path.getsize(suite.ROOT + "/mewsd.log")
    s.stop()
    said = mewsd_log(mark)
    assert "killed" not in said and "by signal" not in said, said
    for r in ROOMS:
        assert re.search(r"\b%s \(pid \d+\) ended with 0" % r, said), said
    s.start()
    works()


def main():
    global s, PID
    suite.enter()
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    if "MEWS_PROGRAM" in os.environ:
        shutil.copy2(os.environ["MEWS_PROGRAM"], PROGRAMS)
    s = suite.Suite(programs=PROGRAMS).start()
    s.wait_helpers()
    a = s.create("web")
    assert a.status == 201, a
    PID = s.get("/api/v1/vms/web").json()["pid"]
    cases = {"%s-closes" % r: closes(r) for r in ROOMS if r != "orchd"}
    cases.update({"hangs-up": hangs_up, "killed": killed, "stopped": stopped})
    bad = suite.run(cases)
    if bad and os.environ.get("TEST_VERBOSE"):
        print(s.logs())
    return bad


sys.exit(main())
