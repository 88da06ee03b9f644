#!/usr/bin/env python3
"""A guest's clock is the host's: from its boot on, with several processors,
and where its kernel loses time."""
import os
import re
import subprocess
import sys
import time

import parents as w

w.enter("warden_clock")
stage = w.Stage()
PATIENCE = 120
NEAR_MS = 50.0
OLD_SPEC = re.sub(rb'"time_ns": \d+', b'"time_ns": %d' % (time.time_ns() - 3600 * 10**9),
                  w.SPEC_JSON)


def out_of(v, *cmd):
    s = v.exec(*cmd)
    assert s.opened(30)[0] == 101
    out, status = s.rest(60)
    assert w.code(status) == 0, status
    return out.decode()


def guest_ns(v):
    text = out_of(v, "adjtimex")
    word = dict(re.findall(r"(\S+):\s+(-?\d+)", text))
    # nanoseconds, if STA_NANO says so
    part = int(word["time.tv_usec"])
    if not int(word["status"]) & 0x2000:
        part *= 1000
    return int(word["time.tv_sec"]) * 10**9 + part


def off_ms(v):
    """Of several questions, that which was answered soonest."""
    best = (1e9, 0.0)
    for _ in range(8):
        a = time.time_ns()
        g = guest_ns(v)
        b = time.time_ns()
        best = min(best, (b - a, (g - (a + b) / 2) / 1e6))
    print("  %.1f ms off, asked in %.1f ms" % (best[1], best[0] / 1e6))
    return best[1]


def near(v, within_s):
    end = time.monotonic() + within_s
    while True:
        off = off_ms(v)
        if abs(off) < NEAR_MS:
            return
        assert time.monotonic() < end, off
        time.sleep(1)


def khz():
    return int(subprocess.check_output([w.B + "/tsc-khz"]))


def several():
    """With two processors the kernel keeps the counter, and the time."""
    with w.VM(stage, khz=khz(), vcpus=2) as v:
        v.boot(PATIENCE, OLD_SPEC)
        assert abs(off_ms(v)) < 1000, "the time of before the boot"
        near(v, 10)
        src = out_of(v, "cat", "/sys/devices/system/clocksource/clocksource0/"
                     "current_clocksource")
        assert src == "tsc\n", src
        time.sleep(10)
        near(v, 0)


def losing():
    """A kernel that counts ticks loses them; the clock is set again."""
    with w.VM(stage, b"tsc=unstable", khz=khz(), vcpus=2) as v:
        v.boot(PATIENCE, OLD_SPEC)
        time.sleep(35)
        near(v, 40)
        time.sleep(1)


def main():
    if not stage.guest():
        print("skip guests' clocks: no %s/guest (make guest)" % w.B)
        return 0
    ok = w.run("clock: " + several.__name__, several)
    ok &= w.run("clock: " + losing.__name__, losing)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
