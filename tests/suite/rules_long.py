#!/usr/bin/env python3
"""Every line of tests/rules: its case passes, and fails with the rule off.

usage: rules_long.py [--sample] [--show] [RULE...]

A case that passes without its rule tests something else; one that fails
otherwise than its line says shows nothing either.  A program is relinked per
rule (mk/off.mk); the case runs it by MEWS_PROGRAM.  --show prints how each
case fails.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time

import rules
from rules import JOBS, TOP

DEADLINE = 300
# One of each kind, for `make check`: they take a second or two each.
SAMPLE = ("CONFINE_ROOT", "CONFINE_UID", "CONFINE_BOUNDING", "CONFINE_CAPS",
          "CONFINE_LANDLOCK", "API_FILTER", "ORCH_FILTER", "NET_FILTER",
          "WARDEN_FILTER", "MEWSD_FILTER")


def script(test):
    """Of all rooms' tests the one of that name."""
    path, = glob.glob("%s/tests/*/%s.py" % (TOP, test))
    return path


def verdict(test, case, program=None):
    """(True: passes, False: fails, None: neither; what it says)."""
    env = dict(os.environ)
    if program:
        env["MEWS_PROGRAM"] = program
    try:
        p = subprocess.run(
            [sys.executable, script(test), case], cwd=TOP, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        return None, "no end within %d s" % DEADLINE
    out = p.stdout.decode("utf-8", "replace")
    ends = [l for l in out.splitlines() if l.startswith(("ok ", "not ok "))]
    if not ends:
        return None, out[-2000:]
    # only the case itself may say no: what does not start tests nothing
    failed = [l for l in ends if l.startswith("not ok ")]
    return not failed and p.returncode == 0, rules.said(out)


def judge(line, on):
    """(good, why not) of a line whose case says on with all rules on."""
    rule, program, test, case, text = line
    good, out = on.result()
    if good is not True:
        return False, "with the rule on: " + out[-2000:]
    good, out = verdict(test, case, ":".join(
        os.path.join(TOP, rules.off(rule, p)) for p in program.split(",")))
    if good is not False:
        return False, "with the rule off: " + out[-2000:]
    if not re.search(text, out, re.M):
        return False, "with the rule off it fails, but not by /%s/: %s" % (
            text, out[-3000:])
    return True, out


def main(argv):
    sample, show = "--sample" in argv, "--show" in argv
    want = [a for a in argv if not a.startswith("-")]
    todo = [l for l in rules.lines() if (not sample or l[0] in SAMPLE)
            and (not want or l[0] in want)]
    rules.build(*sorted({rules.off(rule, p) for rule, programs, *_ in todo
                         for p in programs.split(",")}))
    start, bad = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        on = {c: None for c in [(l[2], l[3]) for l in todo]}
        on = {c: pool.submit(verdict, *c) for c in on}
        for line, (good, why) in zip(todo, pool.map(
                lambda l: judge(l, on[l[2], l[3]]), todo)):
            bad += not good
            print("%s %s %s:%s" % ("ok" if good else "not ok", line[0],
                                   line[2], line[3]), flush=True)
            if show or not good:
                print(why, flush=True)
    print("# %d lines in %d s" % (len(todo), time.monotonic() - start))
    return 1 if bad or not todo else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
