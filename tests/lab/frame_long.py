#!/usr/bin/env python3
"""The lab's frame: what suites say is counted, and what hangs or dies in the
lab ends by a deadline, is a failure, and leaves its console."""
import os
import re
import subprocess
import sys
import xml.dom.minidom

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
B = os.environ.get("B", "build")
FRAME = os.path.join(TOP, "tests/lab/frame")
OUT = os.path.join(TOP, B, "lab/frame")  # another lab may run meanwhile


def lab(*names, **env):
    p = subprocess.run([sys.executable, TOP + "/tests/lab/lab.py", *names],
                       env=dict(os.environ, LAB_SUITES=FRAME, LAB_OUT=OUT,
                                **env),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    return p.returncode, p.stdout


def has(out, *texts):
    for t in texts:
        if not re.search(t, out, re.M):
            raise AssertionError("no %r in %s" % (t, out))


def counts():
    """Four suites in one boot, one of which ends by the runner's deadline."""
    rc, out = lab("good", "bad", "mute", "late")
    assert rc == 1, out
    has(out, r"^skipped: good: two: not today$", r"^failed: bad: <two>",
        r"^failed: mute: whole: no case$",
        r"^failed: late: whole: exit no end after 2 s$")
    has(out.splitlines()[-1], r"^3 passed, 3 failed, 1 skipped$")
    doc = xml.dom.minidom.parse(OUT + "/results.xml")
    got = {s.getAttribute("name"): s.getAttribute("failures")
           for s in doc.getElementsByTagName("testsuite")}
    assert got == {"good": "0", "bad": "1", "mute": "1", "late": "1"}, got


def good():
    rc, out = lab("good")
    assert rc == 0, out
    has(out.splitlines()[-1], r"^1 passed, 0 failed, 1 skipped$")


def panic():
    rc, out = lab("panic")
    assert rc == 1, out
    has(out, "suite panic: the lab ended; its console is in (.*)",
        "sysrq triggered crash")
    path = re.search("its console is in (.*)", out).group(1)
    with open(path, errors="replace") as f:
        assert "Kernel panic" in f.read(), path


def hangs():
    rc, out = lab("stuck", LAB_SLOW="1")
    assert rc == 1, out
    has(out, "suite stuck: not done in .*; its console is in ")


def over():
    """The time for all of it, by the clock, over with a suite in its midst."""
    rc, out = lab("-c", "-t", "90", "stuck")
    assert rc == 1, out
    has(out, "not ok lab stuck whole: suite stuck: not done when the lab's time "
        "was over", "lab: .*; its console is in ")


def unknown():
    rc, out = lab("nonsense")
    assert rc != 0 and "no suite nonsense" in out, out


os.makedirs(OUT, exist_ok=True)
CASES = {f.__name__: f for f in (unknown, good, counts, panic, hangs, over)}

sys.path.insert(0, os.path.join(TOP, "tests/suite"))
import suite  # noqa: E402
sys.exit(suite.run(CASES))
