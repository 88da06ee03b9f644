#!/usr/bin/env python3
"""tests/check runs what has a source; it ends when it is told to, and takes its
tests along.

It runs here over a folder of its own, with tests that hang, each with a
program that holds a lock on a file: the locks' end is theirs.
"""
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

DEADLINE = 10.0
# a test with a program that outlives it, if nobody cares
HANGS = """import fcntl, os, signal
if os.fork():
    signal.pause()
f = open(%r, "w")
fcntl.flock(f, fcntl.LOCK_EX)
f.write("runs")
f.flush()
signal.pause()
"""
MAKE = "check:\n\t%s tests/check run\n\t@true\n" % sys.executable


def locked(path):
    with open(path) as f:
        try:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def runner(d):
    """tests/check, in a folder of its own."""
    os.makedirs(d + "/tests/suite")
    shutil.copy(suite.TOP + "/tests/check", d + "/tests/check")
    for n in ("suite.py", "sanitized.py"):
        shutil.copy(suite.TOP + "/tests/suite/" + n, d + "/tests/suite")


def ends_by(sig, group=False, make=False):
    def case():
        # of this private host; below /tmp the runner has one of its own
        with tempfile.TemporaryDirectory(dir="/run") as d:
            runner(d)
            marks = [d + "/a", d + "/b"]
            for m in marks:
                with open("%s/tests/suite/%s_test.py" % (d, m[-1]), "w") as f:
                    f.write(HANGS % m)
            # a terminal's processes have this signal at its default, those
            # of a job in a script's background may not
            with open(d + "/Makefile", "w") as f:
                f.write(MAKE)
            p = subprocess.Popen(
                ["make", "check"] if make else
                [sys.executable, d + "/tests/check", "run"], cwd=d,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
                env=dict(os.environ, TEST_JOBS="2"),
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            try:
                suite.wait_for(lambda: all(
                    os.path.exists(m) and os.path.getsize(m) for m in marks),
                    "tests that run", DEADLINE)
                (os.killpg if group else os.kill)(p.pid, sig)
                rc = p.wait(DEADLINE)
                assert rc != 0, rc
                suite.wait_for(lambda: not any(locked(m) for m in marks),
                               "end of the tests", DEADLINE)
            finally:
                p.kill()
                p.wait()
    return case


def without_a_source():
    """What a build left of a test that was moved is not run."""
    with tempfile.TemporaryDirectory(dir="/run") as d:
        runner(d)
        os.makedirs(d + "/build/unit/suite")
        for n in ("here", "gone"):
            path = "%s/build/unit/suite/%s_test" % (d, n)
            with open(path, "w") as f:
                f.write("#!/bin/sh\necho ok %s\n" % n)
            os.chmod(path, 0o755)
        with open(d + "/tests/suite/here_test.c", "w"):
            pass
        p = subprocess.run([sys.executable, d + "/tests/check", "unit"], cwd=d,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60)
        assert p.returncode == 0 and p.stdout.endswith(
            "1 passed, 0 failed, 0 skipped\n"), p.stdout
        assert "suite/here_test" in p.stdout, p.stdout


if __name__ == "__main__":
    suite.enter()
    # the inner has its own
    for n in ("B", "MEWS_CHECK", "MAKELEVEL", "MAKEFLAGS", "R"):
        os.environ.pop(n, None)
    sys.exit(suite.run({
        "without a source": without_a_source,
        "Ctrl-C": ends_by(signal.SIGINT, group=True),
        "Ctrl-C, make": ends_by(signal.SIGINT, group=True, make=True),
        "SIGTERM": ends_by(signal.SIGTERM),
        "kill -9": ends_by(signal.SIGKILL),
        "kill -9 of its make": ends_by(signal.SIGKILL, make=True),
    }))
