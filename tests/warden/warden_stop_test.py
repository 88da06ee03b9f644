#!/usr/bin/env python3
"""An agent that is not there when its guest is to end hears of it when it is."""
import os
import re
import signal
import sys
import time

from standin import *  # noqa: F403
from wire import EXIT_GUEST_OFF, STOP_AGENT, WARD_RUNG, ward_rung

GRACE_MS = 20000


def away(grace_ms):
    """Said to a new warden whose agent does not answer yet; what it heard."""
    with vm() as v:
        v.boot()
        v.kill_warden()
        os.kill(v.vmm, signal.SIGSTOP)
        v.start_warden()
        v.hello()
        v.send(WARD_RUNG, ward_rung(rung=STOP_AGENT, grace_ms=grace_ms))
        time.sleep(0.5)
        os.kill(v.vmm, signal.SIGCONT)
        assert v.wait_vmm() == 0
        v.wait(lambda s: s.guest_event == EXIT_GUEST_OFF)
        v.take_out()
        with open(v.vmm_log) as f:
            return re.findall(r"^power (.*)", f.read(), re.M)


def without_time():
    assert away(0) == ['{"action":"off"}']


def with_time():
    """What is left of it."""
    heard = away(GRACE_MS)
    assert len(heard) == 1, heard
    ms = int(re.fullmatch(r'{"action":"off","grace_ms":(\d+)}', heard[0])[1])
    assert GRACE_MS - 5000 < ms <= GRACE_MS - 400, ms


def over():
    """Its time is over when it comes."""
    heard = away(100)
    assert heard == ['{"action":"off","grace_ms":1}'], heard


def in_time():
    """One that is there hears of all of it."""
    with vm() as v:
        v.boot()
        v.send(WARD_RUNG, ward_rung(rung=STOP_AGENT, grace_ms=5))
        assert v.wait_vmm() == 0
        v.take_out()
        with open(v.vmm_log) as f:
            heard = re.findall(r'power .*grace_ms":(\d+)', f.read())
        assert len(heard) == 1 and 1 <= int(heard[0]) <= 5, heard


def main():
    ok = True
    for fn in (without_time, with_time, over, in_time):
        ok &= w.run("stop: " + fn.__name__, fn)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
