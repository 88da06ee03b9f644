#!/usr/bin/env python3
"""A machine that resets itself: its agent said so before, or it has crashed."""
import sys

from standin import *  # noqa: F403
from wire import EXIT_GUEST_PANIC, EXIT_GUEST_REBOOT

PATIENCE = 120
# the kernel gives up when a group of processes is out of memory; it tells
# nobody: neither the device, nor the console
HUSHED = (b"sysctl.vm.panic_on_oom=2 module_blacklist=pvpanic,pvpanic_mmio "
          b"loglevel=0")


def ended(v, *cmd):
    s = v.exec(*cmd)
    assert s.opened(30)[0] == 101
    v.wait(lambda s: not s.qmp, 90)
    return v.state.guest_event


def fake(*cmd, mode=b"word", again=False):
    with vm(b"standin=" + mode) as v:
        v.boot()
        if again:
            v.kill_warden()
            v.start_warden()
            v.hello()
            v.wait(lambda s: s.ready and s.qmp)
        return ended(v, *cmd), bytes(v.state.detail)


def older():
    """An agent that promises nothing is believed as ever."""
    event, _ = fake("reset", mode=b"honest")
    assert event == EXIT_GUEST_REBOOT, event


def without():
    event, detail = fake("reset")
    assert event == EXIT_GUEST_PANIC, event
    assert detail.startswith(b"it reset itself, and not by its agent"), detail


def with_word():
    """Also when it comes at the same time."""
    for _ in range(20):
        event, detail = fake("reset", "word")
        assert event == EXIT_GUEST_REBOOT, (event, detail)


def new_warden():
    assert fake("reset", again=True)[0] == EXIT_GUEST_PANIC
    assert fake("reset", "word", again=True)[0] == EXIT_GUEST_REBOOT


def halted():
    """Its hypervisor stands: why, it says when it is asked, also to a new warden."""
    with vm(b"standin=word") as v:
        v.boot()
        assert not v.state.halted
        v.exec("halt")
        v.wait(lambda s: s.halted)
        assert v.state.qmp and not v.state.running, v.state
        v.kill_warden()
        v.start_warden()
        v.hello()
        v.wait(lambda s: s.qmp)
        assert v.state.halted and not v.state.running, v.state


def guest(*cmd, args=b""):
    with vm(args, khz=w.tsc_khz()) as v:
        v.boot(PATIENCE)
        return ended(v, *cmd), bytes(v.state.detail)


def reboot():
    event, detail = guest("reboot")
    assert event == EXIT_GUEST_REBOOT, (event, detail)


def hushed():
    event, detail = guest("tail", "/dev/zero", args=HUSHED)
    assert event == EXIT_GUEST_PANIC, (event, detail)
    assert detail.startswith(b"it reset itself"), detail


def main():
    ok = True
    for fn in (older, without, with_word, new_warden, halted):
        ok &= w.run("end: " + fn.__name__, fn)
    if stage.guest():
        stage.vmm(None)
        for fn in (reboot, hushed):
            ok &= w.run("end: a guest's " + fn.__name__, fn)
    else:
        print("skip ends of real guests: no %s/guest (make guest)" % w.B)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
