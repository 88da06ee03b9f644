#!/usr/bin/env python3
"""The warden asks whether an agent that is ready still is."""
import os
import signal
import sys

from standin import *  # noqa: F403
from wire import (WARD_BEAT_MS, WARD_HEARD, WARD_MUTE_NOT_READY,
                  WARD_MUTE_SILENT, WARD_VERSION, WARD_VERSION_DIAL)

ASKED, LATE = 20, 10  # seconds, warden/watch.h
BEAT = WARD_BEAT_MS / 1000


def pause():
    """A hypervisor that is stopped: its agent does not answer, the session and
    what runs in it stay, and it is ready when it goes on."""
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        assert s.opened()[0] == 101
        os.kill(v.vmm, signal.SIGSTOP)
        v.wait(lambda s: not s.ready, ASKED + LATE + 5)
        assert v.state.mute == WARD_MUTE_SILENT and v.state.agent, v.state
        os.kill(v.vmm, signal.SIGCONT)
        v.wait(lambda s: s.ready)
        assert v.state.mute == WARD_HEARD, v.state
        s.frame(0, b"still there")
        assert s.next() == (1, b"still there")
        check_exec(v)


def unready():
    with vm() as v:
        v.boot()
        assert v.exec("unready", "1").opened()[0] == 101
        v.wait(lambda s: not s.ready, ASKED + 5)
        assert v.state.mute == WARD_MUTE_NOT_READY, v.state
        assert v.exec("unready", "0").opened()[0] == 101
        v.wait(lambda s: s.ready, LATE + 5)


def beats():
    """A launchd that knows of it hears the same state now and then; one that
    does not hears nothing."""
    with vm() as v:
        v.boot()
        v.hello(version=WARD_VERSION)
        was = bytes(v.state)
        assert bytes(v.recv(BEAT + 2)) == was
        v.hello(version=WARD_VERSION_DIAL)
        try:
            v.recv(BEAT + 2)
        except TimeoutError:
            return
        raise AssertionError("it beats to an older one")


def main():
    ok = True
    for fn in (pause, unready, beats):
        ok &= w.run("watch: " + fn.__name__, fn)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
