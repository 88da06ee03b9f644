#!/usr/bin/env python3
"""What one VM's jail may cost the others: descriptors, news, verbs.

Each case has VMs whose wardens or keepers are stopped, flood or hang up, and one
beside them that lives as ever.
"""
import os
import re
import signal
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
from callers import *  # noqa: E402,F403
import spawn  # noqa: E402
from wire import (  # noqa: E402
    EXIT_STOPPED, JAIL_VMM, JAIL_WARDEN, LV_READY, LV_UNKNOWN, SPAWN_CAPS, SPAWN_DONE, SPAWN_ERR,
    SPAWN_KILL, SPAWN_RELEASE, SPAWN_VERBS_BURST, SPAWN_VERIFIED, SPAWN_VERIFY,
    STREAM_CONSOLE, STREAM_SIGNAL, VM_SIGNALS_MAX, VM_STREAMS_MAX)

enter(os.path.abspath(__file__))
BAD_KEEPER = BUILD + "/bad/mews-keeper"
ALL = VM_STREAMS_MAX + VM_SIGNALS_MAX
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    with open("/proc/%d/stat" % pid) as f:
        f = f.read().rpartition(")")[2].split()
    return (int(f[11]) + int(f[12])) / TICK


def hold(s, vm, kind, n):
    """Ends of streams that were taken."""
    ends = []
    for _ in range(n):
        a, b = socket.socketpair()
        t, _ = s.o.ask(LAUNCH_STREAM, bytes(launch_stream(vm=vm, kind=kind)), b.fileno())
        b.close()
        if t == LAUNCH_DONE:
            ends.append(a)
        else:
            a.close()
    return ends


def drop(s, vm, kind, n):
    """Streams whose caller has gone; how many were taken."""
    return sum(len(hold(s, vm, kind, 1)) for _ in range(n))


def stopped_wardens():
    """Their streams are dropped and asked for again: exec and start of another
    VM go on, whatever is in flight."""
    with suite(max_vms=20) as s:
        n = 12
        for i in range(n):
            s.ready(VM + i, slot=i)
        s.ready(VM + n, slot=n)
        for i in range(n):
            os.kill(s.procs(i)["warden"], signal.SIGSTOP)
        took = [hold(s, VM + i, STREAM_CONSOLE if i % 2 else STREAM_EXEC, 200)
                for i in range(n)]
        assert max(map(len, took)) <= 16 + ALL, [len(t) for t in took]
        del took
        eq(s.probe(VM + n, "passwd"), "ENOENT", "another's exec")
        s.ready(VM + n + 1, slot=n + 1)  # and a start
        eq(s.probe(VM + n + 1, "passwd"), "ENOENT")
        time.sleep(1.1)  # what waited is let go
        assert len(os.listdir("/proc/%d/fd" % s.pid)) < 8 * (n + 2) + 20
        assert max(drop(s, VM + i, STREAM_EXEC, 20) for i in range(n)) == 0
        for i in range(n):
            os.kill(s.procs(i)["warden"], signal.SIGCONT)
        wait("their execs", lambda: drop(s, VM, STREAM_EXEC, 1))
        for i in range(n + 2):
            s.release(VM + i)
        clean(s)


def many_execs():
    """A warden that reads gets as many at once as it can serve."""
    with suite() as s:
        s.ready(VM)
        ends = []
        for _ in range(60):
            a, b = socket.socketpair()
            s.o.send(LAUNCH_STREAM, bytes(launch_stream(vm=VM, kind=STREAM_EXEC)), b.fileno(), 0)
            b.close()
            a.sendall(b"pid\n")
            ends.append(a)
        for a in ends:
            a.settimeout(DEADLINE)
            assert a.recv(64).strip().isdigit()
            a.close()
        s.release(VM)
        clean(s)


def behind():
    """Callers who go at once, without a pause, and a warden that is late: what
    waits and is nobody's any more takes no place, and the VM is another's as
    ever; the same where all places are taken by who stays."""
    with suite() as s:
        s.ready(VM)
        warden = s.procs()["warden"]
        for kind in (STREAM_EXEC, STREAM_CONSOLE, STREAM_SIGNAL):
            os.kill(warden, signal.SIGSTOP)
            eq(drop(s, VM, kind, 300), 300)
            fds = len(os.listdir("/proc/%d/fd" % s.pid))
            assert fds < ALL, fds
            a, t, _ = s.connect(VM)
            eq(t, LAUNCH_DONE)
            os.kill(warden, signal.SIGCONT)
            a.sendall(b"pid\n")
            a.settimeout(DEADLINE)
            assert a.recv(64).strip().isdigit()
            a.close()
        os.kill(warden, signal.SIGSTOP)
        ends = hold(s, VM, STREAM_CONSOLE, 200)
        assert ALL <= len(ends) <= 16 + ALL, len(ends)
        ends.pop().close()
        eq(len(hold(s, VM, STREAM_SIGNAL, 1)), 1)
        os.kill(warden, signal.SIGCONT)
        s.release(VM)
        clean(s)


def again(s):
    s.kill()
    s.up()
    s.o.list()


def flooding_keeper():
    """It says its state without end: a share of a processor, and no more."""
    with suite(keeper=BAD_KEEPER) as s:
        s.ready(VM)
        s.ready(VM + 1, slot=2)
        again(s)
        began, used = time.monotonic(), cpu(s.pid)
        s.ready(VM + 2, slot=4)
        s.stop(VM + 2)
        s.o.event(VM + 2, LE_EXITED)
        s.release(VM + 2)
        time.sleep(max(0, began + 2 - time.monotonic()))
        used = cpu(s.pid) - used
        assert used < 0.3, "%.2f s of 2" % used
        eq(s.probe(VM, "passwd"), "ENOENT")
        s.release(VM)
        s.release(VM + 1)
        clean(s)


def beside_a_flood():
    """A warden that answers later than its keeper begins to flood is heard."""
    with suite(keeper=BAD_KEEPER) as s:
        s.ready(VM)
        warden = s.procs()["warden"]
        s.kill()
        os.kill(warden, signal.SIGSTOP)
        s.up()
        wait("the flood", lambda: s.o.listed()[VM].state == LV_UNKNOWN)
        time.sleep(1.2)  # two times that launchd's budget counts for
        os.kill(warden, signal.SIGCONT)
        eq(s.o.list()[VM].state, LV_READY)
        s.release(VM)
        clean(s)


def lost_keeper():
    """It hangs up on whoever asks: asked more and more rarely, and its VM runs
    on."""
    with suite(keeper=BAD_KEEPER) as s:
        vmm = s.ready(VM, slot=1).pid
        s.kill()
        s.up()
        time.sleep(3.5)
        eq(alive(vmm), True)
        asked = len(re.findall("^h$", s.said(VM), re.M))
        assert 3 <= asked <= 14, asked
        s.release(VM)
        clean(s)


def verbs():
    """A warden that comes and goes is read back each time, and not without
    end: launchd keeps the budget."""
    both = 1 << JAIL_WARDEN | 1 << JAIL_VMM
    with suite() as s:
        s.ready(VM)
        jail = spawn.jail(VM)
        with asked_by_us(s) as sp:
            got = [sp(SPAWN_VERIFY, spawn.verify(VM, both)) for _ in range(200)]
            n = got.count(SPAWN_VERIFIED)
            assert 2 * SPAWN_VERBS_BURST <= n < 100, n  # twice launchd's burst, and what came since
            eq(sp(SPAWN_KILL, jail), SPAWN_ERR)
            # another's is its own
            eq(sp(SPAWN_RELEASE, spawn.jail(VM + 1)), SPAWN_DONE)


@contextlib.contextmanager
def asked_by_us(s):
    """A spawner whose launchd we play: fn(type, payload) gives the type of the
    answer."""
    s.kill()
    s.root, s.above = s.exec(ROOM_SPAWNER, s.programs[1], 0)
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.above.send(BOOT_PEER, bytes(boot_peer(room=ROOM_LAUNCHD, life=1)), b.fileno())
    b.close()
    chan = Chan(a)
    eq(chan.recv()[0], SPAWN_CAPS)

    def ask(type_, payload):
        chan.id += 1
        chan.send(type_, payload, None, chan.id)
        return chan.recv()[0]
    try:
        yield ask
    finally:
        a.close()
        wait("end of the spawner", lambda: not alive(s.root))


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        stopped_wardens, many_execs, behind, flooding_keeper, beside_a_flood,
        lost_keeper, verbs)])
