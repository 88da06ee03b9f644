#!/usr/bin/env python3
"""Every line of tests/rules: its case passes, and fails with the rule off.

usage: rules_test.py [--sample] [RULE...]

A case that passes without its rule tests something else.  A program is
relinked per rule (mk/off.mk); the case runs it by MEWS_PROGRAM.
"""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEADLINE = 120
# One of each kind, for `make check`: they take a second or two each.
SAMPLE = ("CONFINE_ROOT", "CONFINE_UID", "CONFINE_BOUNDING", "CONFINE_CAPS",
          "CONFINE_LANDLOCK", "API_FILTER", "ORCH_FILTER", "NET_FILTER",
          "WARDEN_FILTER", "MEWSD_FILTER")


def lines():
    with open(os.path.join(TOP, "tests/rules"), encoding="ascii") as f:
        for line in f:
            words = line.split()
            if line.startswith("#") or len(words) != 4:
                continue
            rule, _, program, case = words
            yield (rule, program, *case.split(":", 1))


def verdict(test, case, program=None):
    """True: passes; False: fails by a case; None: neither, with the text."""
    env = dict(os.environ)
    if program:
        env["MEWS_PROGRAM"] = program
    try:
        p = subprocess.run(
            [sys.executable, "tests/run/%s.py" % test, case], cwd=TOP, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        return None, "no end within %d s" % DEADLINE
    out = p.stdout.decode("utf-8", "replace")
    said = [l for l in out.splitlines() if l.startswith(("ok ", "not ok "))]
    if not said:
        return None, out[-2000:]
    # only the case itself may say no: what does not start tests nothing
    failed = [l for l in said if l.startswith("not ok ")]
    return not failed and p.returncode == 0, out[-2000:]


def main(argv):
    sample = "--sample" in argv
    want = [a for a in argv if not a.startswith("-")]
    todo = [l for l in lines() if (not sample or l[0] in SAMPLE)
            and (not want or l[0] in want)]
    targets = sorted({"build-off/%s/%s" % (r, p) for r, p, _, _ in todo})
    env = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    subprocess.run(["make", *targets], cwd=TOP, check=True, env=env,
                   stdout=subprocess.DEVNULL)
    passes, bad = {}, 0
    for rule, program, test, case in todo:
        if (test, case) not in passes:
            passes[test, case] = verdict(test, case)
        on, text = passes[test, case]
        why = "with the rule on: %s" % text
        if on is True:
            off, text = verdict(test, case, os.path.join(
                TOP, "build-off", rule, program))
            why = "with the rule off: %s" % text
        good = on is True and off is False
        bad += not good
        print("%s %s %s:%s" % ("ok" if good else "not ok", rule, test, case),
              flush=True)
        if not good:
            print(why, flush=True)
    return 1 if bad or not todo else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
