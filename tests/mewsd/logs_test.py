#!/usr/bin/env python3
"""What rooms and mewsd say: bounded, and nobody waits for it.

usage: logs_test.py [CASE...]   MEWS_PROGRAM: another mewsd
"""
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402
from wire import BOOT_FAULT, BOOT_READY, boot_peer, ROOM_NETD  # noqa: E402

LOG = suite.ROOT + "/log"
PROGRAMS = "/run/programs"
MEWSD_LOG = suite.ROOT + "/mewsd.log"
BACK = 15  # seconds until a room must have been replaced
# mewsd/logs.h
FILE_MAX, RATE, BURST = 8 << 20, 64 << 10, 1 << 20
PIPE = 65536
libc = ctypes.CDLL(None, use_errno=True)


def take(pid, fd):
    """A descriptor of another process."""
    pidfd = os.pidfd_open(pid)
    try:
        got = libc.syscall(438, pidfd, fd, 0)  # pidfd_getfd
        if got < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return got
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def running(**kw):
    S = suite.Suite(programs=PROGRAMS, log_level="info")
    if not os.path.ismount(LOG):
        shutil.rmtree(LOG, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(MEWSD_LOG)
    if kw.pop("prepare", None):
        os.mkdir(LOG)
        os.mkfifo(LOG + "/apid-admin.log")
    S.start(**kw)
    try:
        yield S
    finally:
        S.stop()


def text(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def said(what, path=MEWSD_LOG):
    suite.wait_for(lambda: what in text(path), "\"%s\" in %s" % (what, path))


def replaced(S, room="netd"):
    """One that is killed is another soon."""
    old = S.rooms()[room]
    os.kill(old, signal.SIGKILL)
    suite.wait_for(lambda: S.rooms().get(room, old) != old,
                   "another " + room, BACK)


def unread():
    """Nobody reads mewsd's standard error: it goes on, and ends when told."""
    def pipe():
        r, w = os.pipe()
        return r, w

    def sock():
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return a.detach(), b.detach()
    for what, make in (("pipe", pipe), ("socket", sock)):
        r, w = make()
        fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(w, b"x" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(w, b"x")
        fcntl.fcntl(w, fcntl.F_SETFL, 0)
        S = suite.Suite(programs=PROGRAMS)
        S.write_conf()
        S.proc = subprocess.Popen(
            [S.programs + "/mewsd", "-f", suite.ROOT + "/mews.conf", "-r",
             suite.ROOT], stdin=subprocess.DEVNULL, stderr=w)
        try:
            S.wait_up()
            for _ in range(3):
                replaced(S)
            S.wait_up()
            S.stop()
            # whose it is finds it as it was
            assert not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK, what
        finally:
            if S.proc is not None:
                S.proc.kill()
                S.proc.wait()
            os.close(r)
            os.close(w)


def fifo():
    """A FIFO in place of a log: the start does not wait, and says so."""
    with running(prepare=True) as S:
        said("log/apid-admin.log: not a regular file: it must be moved away: "
             "what apid-admin says is lost until that is mended")
        replaced(S, "apid-admin")
        S.wait_up()
        os.unlink(LOG + "/apid-admin.log")
        said("log/apid-admin.log is written again")
        S.wait_up()
        said("healthz", LOG + "/apid-admin.log")
        assert text(MEWSD_LOG).count("must be moved away") == 1


def folder():
    """A folder that is gone, or read-only, keeps no room down."""
    with running() as S:
        shutil.rmtree(LOG)
        for room in ("netd", "orchd", "apid"):
            replaced(S, room)
        S.wait_up()
        suite.wait_for(lambda: S.get("/healthz").status == 200 and
                       "healthz" in text(LOG + "/apid-admin.log"),
                       "logs in a new folder")
        assert os.stat(LOG).st_mode & 0o7777 == 0o750
    shutil.rmtree(LOG)
    os.mkdir(LOG)
    suite.sh("mount", "-t", "tmpfs", "-o", "ro,mode=750", "log", LOG)
    try:
        with running() as S:
            said("Read-only file system")
            for room in ("netd", "orchd"):
                replaced(S, room)
            S.wait_up()
            suite.sh("mount", "-o", "remount,rw", LOG)
            said("log/apid-admin.log is written again")
            assert S.get("/healthz").status == 200
            said("healthz", LOG + "/apid-admin.log")
            said(" bytes lost: ", LOG + "/apid-admin.log")
    finally:
        suite.sh("umount", LOG)


def cpu(pid):
    """Seconds of a processor."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood():
    """A room that says too much: bounded in its file and in what it costs
    mewsd, which does its work beside it."""
    with running() as S:
        fd = take(S.rooms()["apid"], 2)
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
        line = b"y" * 99 + b"\n"
        took, refused, start = 0, 0, time.monotonic()
        used, other = cpu(S.proc.pid), False
        while time.monotonic() < start + 6:
            try:
                took += os.write(fd, line)
            except BlockingIOError:
                refused += 1
                time.sleep(0.001)
            if not other and time.monotonic() > start + 2:
                replaced(S)
                other = True
        spent = time.monotonic() - start
        used = cpu(S.proc.pid) - used
        size = os.path.getsize(LOG + "/apid.log")
        # what mewsd read: at most a pipe in each pause of it
        assert took <= BURST + (spent * 4 + 2) * PIPE * 2, took
        assert refused > 100, refused
        assert size <= BURST + RATE * spent + 4096, size
        assert used < 0.2 * spent, used
        said(" bytes lost: more than 65536 a second]", LOG + "/apid.log")
        os.close(fd)
        S.wait_up()


def rotated():
    """Two files, neither larger than it may be; nothing written is lost."""
    with running() as S:
        fd = take(S.rooms()["apid"], 2)
        S.proc.send_signal(signal.SIGSTOP)
        os.truncate(LOG + "/apid.log", FILE_MAX - 10)
        time.sleep(1.1)  # a look at the file is that old
        S.proc.send_signal(signal.SIGCONT)
        os.write(fd, b"the first line of another file\n")
        said("the first line", LOG + "/apid.log")
        assert text(LOG + "/apid.log").startswith("the first line")
        assert os.path.getsize(LOG + "/apid.log.1") == FILE_MAX - 10
        assert os.stat(LOG + "/apid.log").st_mode & 0o7777 == 0o640
        os.close(fd)


def last_words():
    """What a room said before its end is in its file."""
    with running() as S:
        for n in range(5):
            pid = S.rooms()["apid"]
            fd = take(pid, 2)
            os.write(fd, b"z\n" * 20000 + b"last words %d\n" % n)
            os.kill(pid, signal.SIGKILL)
            os.close(fd)
            said("last words %d" % n, LOG + "/apid.log")
            suite.wait_for(lambda: S.rooms().get("apid", pid) != pid,
                           "another apid", BACK)


def message(kind, data=b""):
    return struct.pack("<IIQ", kind, len(data), 0) + data


def ready_for_ever():
    """READY_ONCE: one that says again and again that it serves is replaced,
    and fills no log."""
    with running() as S:
        size, pid = os.path.getsize(MEWSD_LOG), S.rooms()["apid"]
        with socket.socket(fileno=take(pid, 3)) as s:
            s.setblocking(False)
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    s.send(message(BOOT_READY))
        suite.wait_for(lambda: S.rooms().get("apid", pid) != pid,
                       "another apid", BACK)
        S.wait_up()
        assert os.path.getsize(MEWSD_LOG) - size < 4000


def messages_for_ever():
    """SAYS_PACE: what mewsd may be told for ever costs it a bounded time."""
    with running() as S:
        S.wait_helpers()
        pid = S.rooms()["orchd"]
        size = os.path.getsize(MEWSD_LOG)
        with socket.socket(fileno=take(pid, 3)) as s:
            s.setblocking(False)
            data = message(BOOT_FAULT,
                           bytes(boot_peer(room=ROOM_NETD, life=77)))
            start, used, sent = time.monotonic(), cpu(S.proc.pid), 0
            while time.monotonic() < start + 5:
                try:
                    sent += s.send(data) > 0
                except BlockingIOError:
                    time.sleep(0.0002)
            used = cpu(S.proc.pid) - used
        assert sent < 1000 + 5 * 1000, "%d were taken" % sent
        assert used < 0.5, used
        assert os.path.getsize(MEWSD_LOG) == size, text(MEWSD_LOG)[size:]
        replaced(S)
        S.wait_up()


def main():
    suite.enter()
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    if "MEWS_PROGRAM" in os.environ:
        shutil.copy2(os.environ["MEWS_PROGRAM"], PROGRAMS)
    return suite.run({
        "unread": unread, "fifo": fifo, "folder": folder, "flood": flood,
        "rotated": rotated, "last-words": last_words,
        "ready-for-ever": ready_for_ever,
        "messages-for-ever": messages_for_ever})


sys.exit(main())
