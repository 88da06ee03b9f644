#!/usr/bin/env python3
"""A staged tree that is missing, or not root's own: VMs that run are served, a
start says why it cannot be."""
import os
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
from wire import LV_READY  # noqa: E402

enter(os.path.abspath(__file__))


def moved(s):
    os.rename(s.stage, s.stage + ".away")
    return lambda: os.rename(s.stage + ".away", s.stage), \
        "No such file or directory"


def no_keeper(s):
    path = s.stage + "/usr/bin/mews-keeper"
    os.rename(path, path + ".away")
    return lambda: os.rename(path + ".away", path), "mews-keeper: No such file"


def writable(s):
    os.chmod(s.stage, 0o777)
    return lambda: os.chmod(s.stage, 0o755), "only root may write"


def cases():
    for spoil in (moved, no_keeper, writable):
        with suite() as s:
            vmm = s.ready(VM).pid
            s.down()
            mend, words = spoil(s)
            s.up()
            held = s.o.list()[VM]
            eq((held.state, held.pid), (LV_READY, vmm), spoil.__name__)
            eq(s.probe(VM, "passwd"), "ENOENT")
            s.start(VM + 1, slot=1)
            e = s.o.event(VM + 1, LE_EXITED)
            eq(e.reason, EXIT_START_FAILED)
            assert "staged tree" in e.detail.decode() and words in e.detail.decode(), e
            eq(s.o.caps.unstaged, 1, "unstaged, for doctor")
            s.release(VM + 1)
            s.down()
            mend()
            s.up()
            s.ready(VM + 1, slot=1)
            eq(s.o.caps.unstaged, 0)
            for i in range(2):
                s.release(VM + i)
            clean(s)


if __name__ == "__main__":
    run([("staged tree", cases)])
