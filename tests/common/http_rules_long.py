#!/usr/bin/env python3
"""Each rule of the HTTP, URL, WebSocket and frame code, switched off alone.

The unit test that names the rule must then fail: a rule without such a test
is a rule that nobody would miss.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

CFLAGS = ["-std=gnu17", "-O0", "-D_GNU_SOURCE", "-I.", "-w"]
LIBS = ["common/err.c", "common/num.c", "tests/suite/t.c"]
UNITS = {  # unit test: its sources under test, what else it links
    "http": (sorted(glob.glob("common/http*.c")), []),
    "url": (["common/url.c"], []),
    "ws": (["common/ws.c"] + sorted(glob.glob("common/http*.c")), ["-lmd"]),
    "frame": (["common/frame.c"], []),
}


def rules(unit):
    prefix = unit.upper() + "_"
    for path in UNITS[unit][0]:
        with open(path, encoding="ascii") as f:
            for name in re.findall(r"RULE\((\w+)\)", f.read()):
                if name.startswith(prefix):
                    yield name


def run(unit, rule, tmp):
    """Exit status of the unit test with the rule off; None: all rules on."""
    out = os.path.join(tmp, "%s-%s" % (unit, rule))
    srcs, libs = UNITS[unit]
    off = ["-DRULE_OFF_%s=1" % rule] if rule else []
    subprocess.run(["cc", *CFLAGS, *off, "-o", out,
                    "tests/common/%s_test.c" % unit, *srcs, *LIBS, *libs],
                   check=True)
    # a crash is no answer: the rule must be missed by a check
    return subprocess.run([out], stdout=subprocess.DEVNULL, timeout=60,
                          check=False).returncode


def main():
    todo = [(u, r) for u in UNITS for r in [None] + sorted(set(rules(u)))]
    bad = 0
    with tempfile.TemporaryDirectory() as tmp, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda t: run(*t, tmp), todo)
        for (unit, rule), rc in zip(todo, results):
            good = rc == (1 if rule else 0)
            bad += not good
            print("%s rule off: %s %s%s" % (
                "ok" if good else "not ok", unit, rule or "none",
                "" if good else " (exit %d)" % rc), flush=True)
    return 1 if bad else 0


sys.exit(main())
