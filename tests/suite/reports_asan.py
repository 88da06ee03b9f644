#!/usr/bin/env python3
"""A sanitizer's report leaves every room in its confinement (make asan).

Silence of a room that could not have spoken is worth nothing: each room of a
running suite is made to write past the end of a buffer (common/asan.c, SIGUSR2), and
must die of it with a report in its log.
"""
import contextlib
import os
import signal
import sys

import sanitized
import suite

STAGE = os.path.join(suite.BUILD, "stage-standin/current")


def reported(pid):
    os.kill(pid, signal.SIGUSR2)
    suite.wait_for(lambda: not os.path.exists("/proc/%d" % pid)
                   or suite.status(pid)["State"][0] in "ZX", "end")
    text = "\n".join(sanitized.reports())
    for word in ("heap-buffer-overflow", "ABORTING", "on_usr2"):
        assert word in text, "no %s in %s" % (word, text)


def room(s, name):
    reported(s.rooms()[name])


def jail(s, exe):
    a = s.create("a")
    assert a.status == 201, a
    s.wait_ready("a")
    pids = [p for p in suite.processes()
            if os.path.basename(os.readlink("/proc/%d/exe" % p)) == exe]
    assert len(pids) == 1, pids
    reported(pids[0])


def with_suite(fn, arg):
    def case():
        s = suite.Suite(stage=STAGE).start()
        try:
            s.wait_helpers()
            fn(s, arg)
        finally:
            s.proc.kill()
            s.proc.wait()
            s.start()
            with contextlib.suppress(AssertionError, OSError):
                s.delete("/api/v1/vms/a", timeout=60)
            s.stop()
    return case


def main():
    cases = {"report of " + n: with_suite(room, n) for n in
             ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner",
              "mewsd")}
    cases["report of warden"] = with_suite(jail, "mews-warden")
    cases["report of keeper"] = with_suite(jail, "mews-keeper")
    return suite.run(cases)


if __name__ == "__main__":
    if not sanitized.ON:
        print("skip asan: only of a build with sanitizers (make asan)")
        sys.exit(0)
    suite.enter()
    sys.exit(main())
