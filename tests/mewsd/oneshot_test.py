#!/usr/bin/env python3
"""One-shot rooms: started by mewsd's test build for an orchd that this test
plays, with descriptors that it hands over.

usage: oneshot_test.py [CASE...]
"""
import array
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402
from wire import (BOOT_NFDS, BOOT_ONESHOT, BOOT_ONESHOT_END,  # noqa: E402
                  BOOT_ONESHOT_FD, BOOT_READY, MSG_MAX, ONESHOT_BUSY,
                  ONESHOT_EXITED, ONESHOT_KILLED, ONESHOT_LATE, ROOM_MAX,
                  ROOM_MEWSD, ROOM_NETD, ROOM_ORCHD, ROOM_TRIAL, UIDS_ONESHOT,
                  UIDS_PLANES, boot_oneshot, boot_oneshot_end, boot_oneshot_fd,
                  msg_hdr)

BUILD = os.path.join(suite.TOP, "build-test")
PROGRAMS, STAGE = "/run/programs", os.path.join(BUILD, "stage-standin/current")
AT_ONCE, DEADLINE = 3, 3.0  # mewsd/table.c: the trial's row
S = None


def gone(pid):
    try:
        return suite.status(pid)["State"][0] in "ZX"
    except (OSError, KeyError):
        return True


def owned(uid):
    """Processes with this uid."""
    found = []
    for pid in suite.processes():
        with contextlib.suppress(OSError, KeyError):
            if suite.status(pid)["Uid"].split()[0] == str(uid):
                found.append(pid)
    return found


def message(typ, payload=b""):
    payload = bytes(payload)
    return bytes(msg_hdr(type=typ, len=len(payload))) + payload


class Orchd:
    """Whoever has descriptor 3 of the process that mewsd takes for orchd."""

    def __init__(self, listener):
        self.alive, _ = listener.accept()
        _, fds, _, _ = socket.recv_fds(self.alive, 64, 1)
        self.s = socket.socket(fileno=fds[0])
        self.s.settimeout(suite.DEADLINE)
        self.ends = {}
        self.peers = []  # a closed one would be a fault of ours
        self.send(BOOT_READY)

    def send(self, typ, payload=b"", fds=()):
        self.s.sendmsg([message(typ, payload)], [(
            socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            if fds else [])

    def ask(self, mid, room=ROOM_TRIAL, pad=0):
        self.send(BOOT_ONESHOT, boot_oneshot(id=mid, room=room, pad=pad))

    def attach(self, mid, index, fd):
        self.send(BOOT_ONESHOT_FD, boot_oneshot_fd(id=mid, index=index), (fd,))

    def end(self, mid, wait=suite.DEADLINE):
        """(how, status) of one."""
        until = time.monotonic() + wait
        while mid not in self.ends:
            left = until - time.monotonic()
            assert left > 0 and select.select([self.s], [], [], left)[0], \
                "no end of %d" % mid
            data, fds, _, _ = socket.recv_fds(self.s, MSG_MAX, 4)
            self.peers += fds
            assert data, "mewsd hung up"
            head, data = data[:msg_hdr.SIZE], data[msg_hdr.SIZE:]
            if msg_hdr.of(head).type == BOOT_ONESHOT_END:
                end = boot_oneshot_end.of(data)
                assert end.id not in self.ends, "told twice"
                self.ends[end.id] = end.how, end.status
        return self.ends.pop(mid)

    def hangs_up(self):
        """mewsd refused what was said: it ends this one."""
        with contextlib.suppress(ConnectionResetError):
            while True:
                data, fds, _, _ = socket.recv_fds(self.s, MSG_MAX, 4)
                self.peers += fds
                if not data:
                    break
        self.close()

    def close(self):
        for fd in self.peers:
            os.close(fd)
        self.s.close()
        self.alive.close()


class Trial:
    """A room that runs."""

    def __init__(self, orchd, mid, text="hello"):
        self.orders, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.orders.settimeout(suite.DEADLINE)
        fd = os.memfd_create("text")
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        orchd.ask(mid)
        orchd.attach(mid, 0, theirs.fileno())
        orchd.attach(mid, 1, fd)
        theirs.close()
        os.close(fd)
        self.orchd, self.mid = orchd, mid
        uid, gid, pid, self.text = self.orders.recv(200).decode().split()
        self.uid, self.gid, self.pid = int(uid), int(gid), int(pid)

    def obey(self, order):
        self.orders.send(order.encode())
        return self.orchd.end(self.mid)


def pool(place=0):
    return S.conf["uid_base"] + UIDS_ONESHOT * (
        S.conf["uid_count"] // UIDS_PLANES) + place


@contextlib.contextmanager
def running(programs=PROGRAMS):
    """A suite with an orchd to play: next() is the one that mewsd started."""
    global S
    S = suite.Suite(programs=programs, stage=STAGE)
    folder = suite.ROOT + "/lib/store"
    os.makedirs(folder, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder + "/played")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(folder + "/played")
        listener.listen(4)
        listener.settimeout(suite.DEADLINE)
        S.start(wait=False)
        try:
            yield iter(lambda: Orchd(listener), None)
        finally:
            listener.close()  # and with it who waits to be heard
            S.stop()


def copy_programs(to, build):
    shutil.copytree(build, to, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    for n in ("mews-trial", "played/mews-orchd"):
        shutil.copy2(os.path.join(BUILD, "tests", n), to)


def life():
    """It is what its row and its asker say, and its end is told once."""
    with running() as orchds:
        o = next(orchds)
        t = Trial(o, 0x1234)
        proc = "/proc/%d/" % t.pid
        st = suite.status(t.pid)
        assert (t.text, t.uid, t.gid) == ("hello", pool(), pool()), vars(t)
        assert st["Uid"].split() == st["Gid"].split() == [str(pool())] * 4, st
        assert st["Groups"].strip() == "" and int(st["CapEff"], 16) == 0, st
        assert os.readlink(proc + "root") == suite.ROOT + "/run/empty"
        assert sorted(map(int, os.listdir(proc + "fd"))) == list(range(
            BOOT_NFDS + 2))
        with open(proc + "environ", "rb") as f:
            assert f.read().strip(b"\0_= ") == b""
        assert t.obey("7") == (ONESHOT_EXITED, 7)
        # and its place is free again, for whom a signal ends
        t = Trial(o, 0x1234, "again")
        assert (t.text, t.uid) == ("again", pool()), vars(t)
        os.kill(t.pid, signal.SIGTERM)
        assert o.end(0x1234) == (ONESHOT_KILLED, signal.SIGTERM)
        assert not [n for n in suite.processes().values() if "trial" in n]
        o.close()


def at_once():
    """Each has a uid of its own, and no more run than may."""
    with running() as orchds:
        o = next(orchds)
        trials = [Trial(o, i + 1) for i in range(AT_ONCE)]
        assert sorted(t.uid for t in trials) == [
            pool(i) for i in range(AT_ONCE)], [t.uid for t in trials]
        o.ask(9)
        assert o.end(9) == (ONESHOT_BUSY, 0)
        # descriptors that were on their way are dropped
        o.attach(9, 0, o.s.fileno())
        assert trials[1].obey("0") == (ONESHOT_EXITED, 0)
        t = Trial(o, 9)
        assert t.uid == pool(1), t.uid
        o.close()


def deadline():
    """It runs, or waits for its descriptors, no longer than its row says."""
    with running() as orchds:
        o = next(orchds)
        start = time.monotonic()
        t = Trial(o, 1)
        o.ask(2)
        o.attach(2, 0, o.s.fileno())
        for mid in (1, 2):
            assert o.end(mid) == (ONESHOT_LATE, 0)
        took = time.monotonic() - start
        assert DEADLINE - 0.1 < took < DEADLINE + 5, took
        assert gone(t.pid)
        assert Trial(o, 3).uid == pool(), "its place is free"
        o.close()


def uid_in_use():
    """A uid is given when no process has it, whoever's that is."""
    with running() as orchds:
        o = next(orchds)
        stranger = subprocess.Popen(["sleep", "1000"], user=pool())
        try:
            t = Trial(o, 1)
            assert t.uid == pool(1), t.uid
        finally:
            stranger.kill()
            stranger.wait()
        with open("/proc/%d/task/%d/children" % (t.pid, t.pid)) as f:
            assert f.read() == ""
        # what one leaves behind ends with it
        assert t.obey("leave a child") == (ONESHOT_EXITED, 0)
        suite.wait_for(lambda: not owned(t.uid), "end of the child")
        assert Trial(o, 2).uid == pool(), "the stranger's is free"
        assert Trial(o, 3).uid == pool(1), "and the child's"
        o.close()


def refused():
    """What orchd may not ask for costs it its life, and starts nothing."""
    def twice(o):
        Trial(o, 1)
        o.ask(1)

    def too_many(o):
        t = Trial(o, 1)
        o.attach(1, 2, t.orders.fileno())

    def out_of_order(o):
        o.ask(1)
        o.attach(1, 1, o.s.fileno())
    with running() as orchds:
        for what, act in (
                ("a room that stays", lambda o: o.ask(1, ROOM_NETD)),
                ("itself", lambda o: o.ask(1, ROOM_ORCHD)),
                ("mewsd", lambda o: o.ask(1, ROOM_MEWSD)),
                ("unknown", lambda o: o.ask(1, ROOM_MAX)),
                ("far out", lambda o: o.ask(1, 0xffffffff)),
                ("padding", lambda o: o.ask(1, ROOM_TRIAL, 1)),
                ("twice", twice), ("one too many", too_many),
                ("out of order", out_of_order),
                ("no descriptor", lambda o: o.send(
                    BOOT_ONESHOT_FD, boot_oneshot_fd())),
                ("its answer", lambda o: o.send(
                    BOOT_ONESHOT_END, boot_oneshot_end()))):
            o = next(orchds)
            act(o)
            try:
                o.hangs_up()
            except TimeoutError as e:
                raise AssertionError(what + " was taken") from e
            suite.wait_for(lambda: not [
                n for n in suite.processes().values() if "trial" in n],
                "end of what began before " + what)
        next(orchds).close()


def only_orchd():
    """Nobody else may ask."""
    with running() as orchds:
        o = next(orchds)
        suite.wait_for(lambda: "netd" in S.rooms(), "netd")
        netd = S.rooms()["netd"]
        pidfd = os.pidfd_open(netd)
        import ctypes
        fd = ctypes.CDLL(None).syscall(438, pidfd, 3, 0)  # pidfd_getfd
        os.close(pidfd)
        with socket.socket(fileno=fd) as s:
            s.send(message(BOOT_ONESHOT, boot_oneshot(id=1, room=ROOM_TRIAL)))
        suite.wait_for(lambda: gone(netd), "end of netd")
        o.ask(1)  # the id is free
        o.attach(1, 0, o.s.fileno())
        assert o.end(1) == (ONESHOT_LATE, 0)
        o.close()


def orchd_ends():
    """Its rooms end with it, and its successor hears nothing of them."""
    with running() as orchds:
        o = next(orchds)
        old = Trial(o, 1)
        o.ask(2)  # its descriptors never come
        o.close()
        o = next(orchds)
        suite.wait_for(lambda: gone(old.pid), "end of the room")
        trials = [Trial(o, i + 1) for i in range(AT_ONCE)]
        assert trials[0].obey("3") == (ONESHOT_EXITED, 3)
        assert not o.ends, o.ends
        o.close()


def mewsd_ends():
    """In order or by SIGKILL: no one-shot room outlives mewsd."""
    with running() as orchds:
        o = next(orchds)
        t = Trial(o, 1)
        S.proc.terminate()
        suite.wait_for(lambda: gone(t.pid), "end of the room", 2)
        assert S.proc.poll() is None, "orchd is still there"
        o.close()
        S.stop()
        S.start(wait=False)
        o = next(orchds)
        t = Trial(o, 1)
        S.proc.kill()
        S.proc.wait()
        suite.wait_for(lambda: gone(t.pid), "end of the room", 2)
        o.close()
        S.start(wait=False)
        next(orchds).close()


def release():
    """A build that ships has no such room."""
    with running("/run/release") as orchds:
        o = next(orchds)
        o.ask(1)
        o.hangs_up()
        next(orchds).close()


def main():
    suite.enter()
    copy_programs(PROGRAMS, BUILD)
    copy_programs("/run/release", suite.BUILD)
    return suite.run({
        "life": life, "at-once": at_once, "deadline": deadline,
        "uid-in-use": uid_in_use, "refused": refused,
        "only-orchd": only_orchd, "orchd-ends": orchd_ends,
        "mewsd-ends": mewsd_ends, "release": release})


if __name__ == "__main__":
    sys.exit(main())
