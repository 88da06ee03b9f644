#!/usr/bin/env python3
"""mewsd begins with a state of its own, whatever it was started with.

usage: begin_test.py [CASE...]   MEWS_PROGRAM: another mewsd
"""
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402

PROGRAMS = "/run/programs"
MEWSD_LOG = suite.ROOT + "/mewsd.log"
BACK = 15


@contextlib.contextmanager
def running(how=None, line=None, **conf):
    """how: called between fork and exec; line: a shell's, which execs "$@"."""
    S = suite.Suite(programs=PROGRAMS, **conf)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(MEWSD_LOG)
    S.write_conf()
    argv = [PROGRAMS + "/mewsd", "-f", suite.ROOT + "/mews.conf", "-r",
            suite.ROOT]
    with open(MEWSD_LOG, "ab") as log:
        S.proc = subprocess.Popen(
            ["sh", "-c", line, "sh", *argv] if line else argv,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=how)
    try:
        yield S
        S.stop()
    finally:
        if S.proc is not None:
            S.proc.kill()
            S.proc.wait()


def works(S):
    S.wait_up()
    old = S.rooms()["netd"]
    os.kill(old, signal.SIGKILL)
    suite.wait_for(lambda: S.rooms().get("netd", old) != old, "another netd",
                   BACK)
    S.wait_up()


def signals():
    """Blocked and ignored by who started it: it hears them all the same, and so
    do its rooms, but for the two that none of them is to die of."""
    def how():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for sig in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)
    want = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
    with running(how) as S:
        works(S)
        for room, pid in S.rooms().items():
            st = suite.status(pid)
            assert int(st["SigBlk"], 16) == 0, (room, st)
            assert int(st["SigIgn"], 16) & want == want, (room, st)
            if room == "mewsd":  # 32 and 33 are libc's own: nptl(7)
                assert int(st["SigIgn"], 16) & ~(3 << 31) == want, st


def descriptors():
    """0 to 2 closed, others open."""
    with running(line="exec 5</proc/self/stat; exec \"$@\" <&- >&- 2>&-") as S:
        works(S)
        for fd in range(3):
            to = os.readlink("/proc/%d/fd/%d" % (S.proc.pid, fd))
            assert to == "/dev/null", (fd, to)
        open_ = [os.readlink("/proc/%d/fd/%s" % (S.proc.pid, fd))
                 for fd in os.listdir("/proc/%d/fd" % S.proc.pid)]
        assert not [to for to in open_ if to.endswith("/stat")], open_


def mask():
    """A mask of modes that takes all."""
    with running(lambda: os.umask(0o777)) as S:
        works(S)
        assert os.stat(suite.ROOT + "/log/netd.log").st_mode & 0o777 == 0o640


def limits():
    """ulimit -f 8: lifted where it may be, and said where not."""
    def soft():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))

    def hard():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    with running(soft) as S:
        works(S)
        for room, pid in S.rooms().items():
            with open("/proc/%d/limits" % pid) as f:
                size = next(l for l in f if l.startswith("Max file size"))
            assert size.split()[3] == "unlimited", (room, size)
    shutil.rmtree(suite.ROOT + "/lib")
    shutil.rmtree(suite.ROOT + "/log")
    with running(hard, "exec setpriv --bounding-set -sys_resource --inh-caps "
                 "-sys_resource \"$@\"") as S:
        suite.wait_for(lambda: "limit of 8192 bytes of a file (ulimit -Hf), "
                       "which it may not lift: store and logs cannot grow past "
                       "it" in open(MEWSD_LOG).read(), "words")
        # no room dies of it without a word
        suite.wait_for(lambda: "orchd error store: " in S.logs(), "words")
        assert "signal %d" % signal.SIGXFSZ not in open(MEWSD_LOG).read()


def orphans():
    """What a spawner that died has left is reaped by mewsd, whatever pid 1
    does: no zombie stays."""
    with running() as S:
        S.wait_up()
        S.wait_helpers()
        assert S.create("web").status == 201
        old = S.rooms()["spawner"]
        os.kill(old, signal.SIGKILL)
        suite.wait_for(lambda: S.rooms().get("spawner", old) != old, "another",
                       BACK)
        S.wait_helpers()
        assert S.delete("/api/v1/vms/web", timeout=60).status == 204

        def zombies():
            found = []
            for pid in suite.processes():
                with contextlib.suppress(OSError, KeyError):
                    st = suite.status(pid)
                    if st["State"][0] == "Z" and int(st["PPid"]) == S.proc.pid:
                        found.append(pid)
            return found
        suite.wait_for(lambda: not zombies(), "end of the zombies", 5)


def main():
    suite.enter()
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    if "MEWS_PROGRAM" in os.environ:
        shutil.copy2(os.environ["MEWS_PROGRAM"], PROGRAMS)
    return suite.run({"signals": signals, "descriptors": descriptors,
                      "mask": mask, "limits": limits, "orphans": orphans})


sys.exit(main())
