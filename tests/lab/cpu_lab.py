#!/usr/bin/env python3
"""A VM gets the processors it was promised and no more, from the hypervisor's
place: two threads that compute in a lab with two processors."""
import os
import select
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import eq, note  # noqa: E402
from cgroup_lab import (PERIOD, alive, at, bomb, create, group, off,  # noqa: E402
                        running)
import suite  # noqa: E402

LAB = {"config": "smp", "deadline": 300}


def cpu_use(vm, periods=20):
    """Processors' worth that its group used over so many periods of its own
    quota, in which it was runnable."""
    def stat():
        return lab.events(at(vm), "cpu.stat"), time.monotonic()
    first, t0 = stat()
    end = t0 + lab.GUEST
    while True:
        now, t1 = stat()
        if now.get("nr_periods", 0) - first.get("nr_periods", 0) >= periods \
                or t1 - t0 > (periods + 10) * PERIOD / 1e6 and \
                now.get("nr_periods", 0) == first.get("nr_periods", 0):
            break
        assert t1 < end, "%d periods" % now["nr_periods"]
        select.select([], [], [], 0.02)
    used = (now["usage_usec"] - first["usage_usec"]) / 1e6
    return used / (t1 - t0), now["nr_throttled"] - first["nr_throttled"]


def cpu_hog():
    """Two threads that compute have one processor's worth if the VM has one
    vCPU; with the limit off they have more."""
    with group():
        with running() as s:
            create(s, "good")
            vm = create(s, "evil")
            eq(bomb(s, "evil", "spin", 2), (2, "ok"))
            used, throttled = cpu_use(vm)
            note("%.2f processors, throttled %d times" % (used, throttled))
            # a period more or less at both ends
            assert used < 1.25 and throttled > 0, (used, throttled)
            alive(s, "good")
        with running(off("CGROUP_CPU", "mews-spawner")) as s:
            vm = create(s, "evil")
            eq(bomb(s, "evil", "spin", 2), (2, "ok"))
            # its second thread runs when this machine gives the lab as much
            end = time.monotonic() + lab.GUEST
            used = throttled = 0
            while used < 1.3 and time.monotonic() < end:
                used, more = cpu_use(vm)
                throttled += more
            note("%.2f processors with the limit off" % used)
            assert used > 1.3 and throttled == 0, (used, throttled)


if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run({"cpu-hog": cpu_hog}))
