"""tests/rules: its lines, and programs with a rule switched off (mk/off.mk)."""
import fcntl
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = int(os.environ.get("TEST_JOBS", "2"))


def lines():
    """(rule, programs, test, case, how it must fail) of each line."""
    with open(os.path.join(TOP, "tests/rules"), encoding="ascii") as f:
        for n, line in enumerate(f, 1):
            if line.startswith("#") or not line.strip():
                continue
            words = line.split(None, 4)
            if len(words) != 5 or ":" not in words[3]:
                raise SystemExit("tests/rules:%d: not a rule" % n)
            rule, _, program, case, text = words
            yield (rule, program, *case.split(":", 1), text.strip())


def of(path, program):
    """[(rule, case)] of the test at that path, where program alone is another."""
    test = os.path.basename(path).removesuffix(".py")
    return [(rule, case) for rule, p, t, case, _ in lines()
            if (t, p) == (test, program)]


def said(out):
    """What a test says of its failure: no frame of a traceback, for those
    quote the case's own source."""
    keep, frames = [], False
    for line in out.splitlines():
        if line.startswith("Traceback "):
            frames = True
        elif not frames or not line.startswith(" "):
            frames = False
            keep.append(line)
    return "\n".join(keep)


def proof(rule, program, test, case, out):
    """The case failed with the rule off, and said out: in the way its line says,
    or it shows nothing."""
    text, = [t for r, p, f, c, t in lines() if (r, p, f, c) == (
        rule, program, os.path.basename(test).removesuffix(".py"), case)]
    if not re.search(text, said(out), re.M):
        raise AssertionError("with %s off it fails, but not by /%s/: %s" % (
            rule, text, said(out)[-1000:]))


def off(rule, program):
    """Path of a program without a rule, from the tree's top."""
    return "build-off/%s/%s" % (rule, program)


def build(*argv):
    """make, one at a time: tests that run at once may want the same."""
    os.makedirs(os.path.join(TOP, "build-off"), exist_ok=True)
    env = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    with open(os.path.join(TOP, "build-off/.lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        p = subprocess.run(["make", "-s", "-j%d" % JOBS, *argv], cwd=TOP,
                           env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        sys.exit(p.stdout)
