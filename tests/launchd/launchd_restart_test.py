#!/usr/bin/env python3
"""launchd starts anew beside VMs that do not answer: a keeper, a warden, a
hypervisor that is stopped, a guest without an agent.

The others are served meanwhile, and no deadline of a start ends one that ran
before.
"""
import os
import signal
import time

from callers import *  # noqa: F403
from wire import *  # noqa: F403

enter(os.path.abspath(__file__))
KEEPER_PATIENCE = 3.0  # of a start, launchd/keeplink.c


def again(s, **victims):
    """launchd and spawner anew, with those processes stopped: their pids."""
    pids = {slot: s.procs(int(slot[1:]))[who] for slot, who in victims.items()}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    s.kill()
    s.up()
    return pids


def stopped_keeper():
    """One VM does not answer: the others are there at once, and it lives on."""
    with suite() as s:
        vmm = [s.ready(VM + i, slot=i).pid for i in range(3)]
        began = time.monotonic()
        keeper = again(s, s0="keeper")["s0"]
        eq(s.o.list(settled=False)[VM].state, LV_UNKNOWN)
        wait("the others", lambda: [s.o.list(settled=False)[VM + i].state
                                    for i in (1, 2)] == [LV_READY, LV_READY])
        eq(s.probe(VM + 1, "passwd"), "ENOENT", "stream")
        assert time.monotonic() - began < 2, "served late"
        s.stop(VM + 2)
        eq(s.o.event(VM + 2, LE_EXITED).reason, EXIT_STOPPED)
        s.release(VM + 2)
        with socketpair() as (_, b):
            t, p = s.o.ask(LAUNCH_STREAM, bytes(launch_stream(vm=VM, kind=STREAM_EXEC)), b.fileno())
        eq((t, launch_err.of(p).msg), (LAUNCH_ERR, b"not yet"))
        select.select([], [], [], began + KEEPER_PATIENCE + 1 - time.monotonic())
        eq(alive(vmm[0]), True, "the VM of the stopped keeper")
        eq(s.o.list(settled=False)[VM].state, LV_UNKNOWN)
        os.kill(keeper, signal.SIGCONT)
        eq(s.o.event(VM, LE_RUNNING).pid, vmm[0], "settled")
        s.o.event(VM, LE_READY)
        eq(s.o.list()[VM].state, LV_READY)
        for i in range(2):
            s.release(VM + i)
        clean(s)


def stopped_keeper_lost_warden():
    """Nobody starts its warden again, and the VM runs on."""
    with suite() as s:
        vmm = s.ready(VM).pid
        warden = s.procs()["warden"]
        keeper = again(s, s0="keeper")["s0"]
        os.kill(warden, signal.SIGKILL)
        select.select([], [], [], KEEPER_PATIENCE + 0.5)
        eq(alive(vmm), True)
        os.kill(keeper, signal.SIGCONT)
        eq(s.o.event(VM, LE_RUNNING).pid, vmm)
        s.release(VM)
        clean(s)


def unknown_is_said():
    """What a VM waits for that is not known is in the log: a warden, a keeper."""
    with suite() as s:
        s.ready(VM)
        s.ready(VM + 1, slot=1)
        again(s, s0="warden", s1="keeper")
        wait("a line", lambda: "vm %016x: found again and not known after 5 s: "
             "its warden does not answer" % VM in s.tail())
        eq(s.o.list(settled=False)[VM].state, LV_UNKNOWN)
        # said already, after 3 s
        text = s.tail()
        assert "vm %016x: keeper does not answer" % (VM + 1) in text, text
        assert "vm %016x: found again" % (VM + 1) not in text, text
        s.release(VM)
        s.release(VM + 1)
        clean(s)


def stopped_hypervisor():
    """A VM that is paused stays so, and goes on."""
    with suite() as s:
        vmm = again(s, s0="vmm") if s.ready(VM) else None
        eq(s.o.list()[VM].state, LV_READY)
        os.kill(vmm["s0"], signal.SIGCONT)
        eq(s.probe(VM, "passwd"), "ENOENT", "stream")
        s.release(VM)
        clean(s)


def no_agent():
    """It was to be ready in time, of a launchd that is no more."""
    with suite() as s:
        s.start(VM, mem=NO_AGENT, ready_ms=1500)
        s.o.event(VM, LE_RUNNING)
        again(s)
        eq(s.o.list()[VM].state, LV_RUNNING)
        select.select([], [], [], 2)
        eq(s.o.list()[VM].state, LV_RUNNING)
        s.release(VM)
        clean(s)


def stop_of_unknown():
    """The ladder leads to the end whatever the VM says."""
    with suite() as s:
        s.ready(VM)
        keeper = again(s, s0="keeper")["s0"]
        s.stop(VM, 0, (50, 50, 50, 50, 0))
        e = s.o.event(VM, LE_EXITED)
        eq((e.reason, e.rung), (EXIT_STOPPED, STOP_KILL))
        eq(alive(keeper), False)
        s.release(VM)
        clean(s)


def release_of_unknown():
    with suite() as s:
        s.ready(VM)
        again(s, s0="keeper")
        s.release(VM)
        clean(s)


@contextlib.contextmanager
def socketpair():
    a, b = socket.socketpair()
    try:
        yield a, b
    finally:
        a.close()
        b.close()


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        stopped_keeper, stopped_keeper_lost_warden, unknown_is_said,
        stopped_hypervisor,
        no_agent, stop_of_unknown, release_of_unknown)])
