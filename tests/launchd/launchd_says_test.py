#!/usr/bin/env python3
"""What a jail writes as log and console: FIFOs that launchd empties into bounded
files of its own, and the history of a console that it serves from them.
"""
import os
import re
import struct
import subprocess
import time

from said import *  # noqa: F403

enter(os.path.abspath(__file__))
MAX = 1024 * 1024  # of a file, launchd/jaillog.h
OTHER = VM + 1


def fifos():
    """Root's folder, launchd's to read, and nothing in the jail to fill, to
    measure out or to map."""
    with suite() as s:
        s.ready(VM)
        run = "%s/%016x" % (s.run, VM)
        for name in ("log", "console"):
            st = os.lstat(run + "/" + name)
            eq((st.st_mode, st.st_uid), (0o010400, LAUNCH_UID), name)
        eq(os.listdir("%s/%016x" % (s.state, VM)), [], "files of the jail")
        eq(s.stream(VM, "abuse"), "1")
        for name, pid in s.procs().items():
            soft = re.search(r"Max file size +(\d+)", open(
                "/proc/%d/limits" % pid).read()).group(1)
            assert int(soft) <= 65536, (name, soft)
            for fd in os.listdir("/proc/%d/fd" % pid):
                st = os.stat("/proc/%d/fd/%s" % (pid, fd))
                assert st.st_mode & 0o170000 != 0o100000 or st.st_nlink == 0, \
                    "%s has a file as %s" % (name, fd)
        release(s)


def hypervisors_own():
    """What it sets on its log's description no other process has."""
    with suite() as s:
        s.ready(VM)
        pids = s.procs()

        def flags(pid, fd=2):
            with open("/proc/%d/fdinfo/%d" % (pid, fd)) as f:
                return int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8)
        assert s.stream(VM, "abuse") == "1"  # the warden's, and the keeper's
        assert not flags(pids["warden"]) & os.O_NONBLOCK
        assert flags(pids["vmm"]) & os.O_NONBLOCK
        release(s)


def release(s, *vms):
    for vm in vms or (VM,):
        s.release(vm)
    clean(s)


def stopped():
    """Its history is read while it runs, when it stopped, when nothing of its
    jail is left; it goes when it starts again, and when it is forgotten."""
    with suite() as s:
        eq(history(s), b"", "of nobody")
        s.ready(VM)
        s.stream(VM, "says first life")
        s.stream(VM, "logs a warden's words")
        live = knock(s, flags=STREAM_FOLLOW)
        frames(live, b"first life\n")
        end(s)
        eq(frames(live)[1], b"", "the end of who follows")
        eq(history(s, flags=STREAM_FOLLOW), b"first life\n")
        assert "a warden's words" in s.said(VM)
        s.kill()
        s.up()
        eq((s.o.list(), s.o.kept), ({}, [VM]))
        eq(history(s), b"first life\n")
        s.ready(VM)
        s.stream(VM, "says second life")
        wait_said(s, b"second life\n")
        eq(history(s), b"second life\n")
        end(s)
        s.o.send(LAUNCH_FORGET, launch_vm(vm=VM))
        eq(history(s), b"")
        eq(files(s), [])
        clean(s)


def forgotten_while_held():
    """The files go with the jail, and do not come again."""
    with suite() as s:
        s.ready(VM)
        s.stream(VM, "says x")
        wait_said(s, b"x\n")
        s.o.send(LAUNCH_FORGET, launch_vm(vm=VM))
        s.stream(VM, "says y")
        s.release(VM)
        wait("the end of its files", lambda: not files(s))
        clean(s)


def restart():
    """What it says while there is no launchd is told when there is, and no
    byte twice."""
    with suite() as s:
        s.ready(VM)
        n = 0
        for _ in range(4):
            for _ in range(3):
                n += 1
                s.stream(VM, "says line %d" % n)
            # what only the FIFO has
            fd = "/proc/%d/fd/4" % s.procs()["warden"]
            s.kill()
            with open(os.open(fd, os.O_WRONLY), "wb") as f:
                for _ in range(100):
                    n += 1
                    f.write(b"line %d\n" % n)
            s.up()
            s.o.list()
        want = b"".join(b"line %d\n" % i for i in range(1, n + 1))
        wait_said(s, b"line %d\n" % n)
        eq(history(s), want)
        release(s)


def flood():
    """It fills its own two files of each kind and nothing else; another VM
    starts as fast as ever, and reads what it reads."""
    with suite() as s:
        s.ready(VM)
        began = time.monotonic()
        s.ready(OTHER, slot=1)
        quiet = time.monotonic() - began
        end(s, OTHER)
        a, t, _ = s.connect(VM)
        eq(t, LAUNCH_DONE)
        a.sendall(b"floods 6000\n")
        cpu = ticks(s.pid)
        began = time.monotonic()
        while time.monotonic() - began < 5:
            at = time.monotonic()
            s.ready(OTHER, slot=1)
            took = time.monotonic() - at
            assert took < 5 * quiet + 0.3, "a start took %.3f s" % took
            s.stream(OTHER, "says honest")
            wait_said(s, b"honest\n", OTHER)
            end(s, OTHER)
            for name in files(s):
                assert os.stat(s.logs + "/" + name).st_size <= MAX, name
        used = (ticks(s.pid) - cpu) / os.sysconf("SC_CLK_TCK")
        print("  launchd used %.2f s in 5 s, a start took %.3f s, quiet %.3f s"
              % (used, took, quiet))
        assert used < 1, "launchd: %.2f s" % used
        a.settimeout(20)
        a.recv(10)
        # one pause for both: the console's share may have been enough
        wait("the count", lambda: any(
            b" bytes lost: more than 65536 a second]" in open(
                s.logs + "/" + n, "rb").read() for n in files(s)), 15)
        release(s, VM)


def ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])


def full_disk():
    """Only what is said is lost; a VM starts, stops and goes."""
    with suite() as s:
        s.down()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0750,"
                        "uid=%d,gid=%d" % (LAUNCH_UID, LAUNCH_UID), "full",
                        s.logs], check=True)
        with open(s.logs + "/fill", "wb") as f:
            with contextlib.suppress(OSError):
                f.write(bytes(65536))
        s.up()
        s.ready(VM)
        s.stream(VM, "says lost")
        eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        eq(history(s), b"")
        os.unlink(s.logs + "/fill")
        wait("room", lambda: b"bytes lost" in (
            s.stream(VM, "says again"), history(s))[1])
        wait_said(s, b"again\n")
        end(s)
        s.o.send(LAUNCH_FORGET, launch_vm(vm=VM))
        eq(history(s), b"")
        s.down()
        # whoever looks for a sanitizer's words still holds a VM's log
        subprocess.run(["umount", "-l", s.logs], check=True)
        clean(s)


def no_folder():
    """Without a place for what VMs say they run all the same."""
    with suite() as s:
        s.down()
        os.rmdir(s.logs)
        s.up()
        s.ready(VM)
        s.stream(VM, "says nothing")
        eq(history(s), b"")
        s.o.send(LAUNCH_FORGET, launch_vm(vm=OTHER))
        release(s)


def readers():
    """As many as orchd shares out, who may be slow; they cost nobody else a
    thing, and those who go leave their places at once."""
    with suite() as s:
        s.ready(VM)
        s.ready(OTHER, slot=1)
        for _ in range(8):
            s.stream(VM, "says " + "x" * 400)
        wait_said(s, b"x\n")
        held = [knock(s, flags=STREAM_FOLLOW) for _ in range(LOGS_MAX)]
        for sock in held:
            frames(sock, b"x\n")
        status, text = frames(knock(s))
        eq(status, 503)
        assert b"64 read logs of VMs on this host already" in text, text
        s.stream(OTHER, "says mine")
        held.pop().close()
        wait_said(s, b"mine\n", OTHER)
        for sock in held[:32]:
            sock.close()
        fresh = [knock(s, flags=STREAM_FOLLOW) for _ in range(32)]
        for sock in fresh:
            eq(frames(sock, b"x\n")[0], 101)
            sock.close()
        for sock in held:
            sock.close()
        release(s, VM, OTHER)


def strangers():
    """What is no VM's, and no file, is left alone and not followed."""
    with suite() as s:
        s.ready(VM)
        s.stream(VM, "says x")
        wait_said(s, b"x\n")
        with open(s.dir + "/secret", "w") as f:
            f.write("secret\n")
        os.chmod(s.dir + "/secret", 0o644)
        os.symlink(s.dir + "/secret", s.logs + "/%016x.console" % OTHER)
        open(s.logs + "/README", "w").close()
        os.mkfifo(s.logs + "/%016x.console" % (OTHER + 1))
        eq(history(s, OTHER), b"")
        s.o.list()
        eq(sorted(s.o.kept), [VM, OTHER, OTHER + 1])
        s.release(VM)
        clean(s)


def many():
    """Of more than may wait for it at once orchd hears, however late it reads."""
    with suite() as s:
        names = range(OTHER, OTHER + 5000)
        for i in names:
            open(s.logs + "/%016x.log" % i, "w").close()
        s.o.id += 1
        s.o.send(LAUNCH_LIST, b"", None, s.o.id)
        time.sleep(0.5)
        kept = []
        while (m := s.o.recv())[0] != LAUNCH_LIST_END:
            if m[0] != LAUNCH_KEPT:
                continue
            kept += struct.unpack("=%dQ" % (len(m[2]) // 8), m[2])
        eq(sorted(kept), list(names))
        for i in names:
            os.unlink(s.logs + "/%016x.log" % i)
        clean(s)


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        fifos, hypervisors_own, stopped, forgotten_while_held, restart, flood,
        full_disk, no_folder, readers, strangers, many)])
