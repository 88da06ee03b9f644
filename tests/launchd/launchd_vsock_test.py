#!/usr/bin/env python3
"""launchd, its spawner and the keeper on a kernel that has AF_VSOCK, played by
fake_vsock.c.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import contextlib
import os
import socket
import threading

from callers import *  # noqa: F403
from wire import AGENT_PORT_HTTP, WARD_DIALS_MAX

enter(os.path.abspath(__file__))


FAKE = dict(launchd=os.path.join(BUILD, "fake/mews-launchd"),
            spawner=os.path.join(BUILD, "fake/mews-spawner"))
CID = UID_BASE & ~15  # tests/launchd/fake_vsock.h looks at the last bits
LIES, HANGS, TAKEN = 3, 4, 5
ECONNREFUSED, EACCES, EPERM, EBUSY, ENODEV, ETIMEDOUT = (
    -111, -13, -1, -16, -19, -110)


def faked(**kw):
    """A launchd whose kernel has AF_VSOCK."""
    return suite(cid_base=CID, **FAKE, **kw)


@contextlib.contextmanager
def agent(s, slot, serves=True, port=AGENT_PORT_HTTP):
    """Listens where a guest's agent would."""
    l = socket.socket(socket.AF_UNIX)
    path = "%s/vsock-%d-%d" % (s.run, CID + slot, port)
    l.bind(path)
    os.chmod(path, 0o777)
    l.listen(32)
    end = threading.Event()

    def serve():
        l.settimeout(0.05)
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                c, _ = l.accept()
                c.settimeout(DEADLINE)
                if c.recv(4) == b"ward":
                    c.sendall(b"agent")
                c.close()
    t = threading.Thread(target=serve)
    if serves:
        t.start()
    try:
        yield l
    finally:
        end.set()
        if serves:
            t.join()
        l.close()
        os.unlink(path)


def dials(s, vm, port=AGENT_PORT_HTTP, n=1, reads=1):
    return [int(x) for x in s.stream(
        vm, "dial %d %d %d" % (port, n, reads)).split()]


def vsock_dial():
    """Connects to this VM's address and hands the socket down; holds nothing
    of it.  Adopted VMs keep their address."""
    with faked() as s, agent(s, 1):
        e = s.ready(VM, slot=1)
        eq(s.o.caps.vsock, 1, "caps")
        eq(e.confined.cid, CID + 1, "address")
        eq(dials(s, VM), [1])
        eq(dials(s, VM, n=20), [1] * 20)
        for name, pid in (("spawner", s.spawner()), ("launchd", s.pid),
                          ("keeper", s.procs(1)["keeper"])):
            fds = [os.readlink("/proc/%d/fd/%s" % (pid, f))
                   for f in os.listdir("/proc/%d/fd" % pid)]
            assert not [f for f in fds if "vhost" in f], (name, fds)
        if not PROGRAM:
            s.kill()
            s.up()
            eq(s.o.list()[VM].slot, 1)
            wait("answer", lambda: dials(s, VM) == [1])
        s.release(VM)


def vsock_nobody():
    with faked() as s:
        s.ready(VM)
        eq(dials(s, VM), [ECONNREFUSED])
        with agent(s, 0):
            eq(dials(s, VM), [1])


def vsock_port():
    """A warden reaches the agent and nothing else in its guest (DIAL_PORT)."""
    with faked() as s, agent(s, 0, port=22):
        s.ready(VM)
        eq(dials(s, VM, port=22), [EACCES])


def vsock_peer():
    """What answers has to be what was called (DIAL_PEER)."""
    with faked() as s, agent(s, LIES):
        s.ready(VM, slot=LIES)
        eq(dials(s, VM), [EPERM])


def vsock_own_address():
    """One VM's warden reaches its own guest."""
    with faked() as s, agent(s, 0), agent(s, 1, serves=False) as other:
        s.ready(VM, slot=0)
        s.ready(VM + 1, slot=1)
        eq(dials(s, VM, n=4), [1] * 4)
        other.settimeout(0)
        try:
            other.accept()
            raise Fail("another VM's guest was called")
        except BlockingIOError:
            pass


def vsock_hangs():
    """As many at once as one VM may have (DIAL_MAX), each with a deadline;
    a VM beside it does not wait."""
    with faked() as s, agent(s, HANGS, serves=False), agent(s, 0):
        s.ready(VM, slot=HANGS)
        s.ready(VM + 1, slot=0)
        a, _, _ = s.connect(VM)
        a.sendall(b"dial %d 10 2\n" % AGENT_PORT_HTTP)
        eq(dials(s, VM + 1), [1])
        a.settimeout(DEADLINE)
        eq(sorted(int(x) for x in a.recv(512).split()),
           [ETIMEDOUT] * WARD_DIALS_MAX + [EBUSY] * 2)
        a.close()


def vsock_hoard():
    """A warden that asks and does not read gets no more than its share of
    descriptors on their way, whatever it says to have seen (DIAL_MAX)."""
    with faked() as s, agent(s, 0):
        s.ready(VM)
        eq(sorted(dials(s, VM, n=20, reads=0)),
           [EBUSY] * 12 + [1] * WARD_DIALS_MAX)
        eq(dials(s, VM, n=9), [1] * 9)


def vsock_taken():
    """Somebody else has the address: no device, and nobody is called."""
    with faked() as s, agent(s, TAKEN):
        eq(s.ready(VM, slot=TAKEN).confined.cid, 0, "address")
        eq(dials(s, VM), [ENODEV])
        assert "no AF_VSOCK at %d" % (CID + TAKEN) in s.tail()


def vsock_off():
    with faked(vsock=1) as s, agent(s, 0):
        eq(s.ready(VM).confined.cid, 0, "address")
        eq(dials(s, VM), [ENODEV])


run([(f.__name__.replace("_", "-"), f) for f in (
    vsock_dial, vsock_nobody, vsock_port, vsock_peer, vsock_own_address,
    vsock_hangs, vsock_hoard, vsock_taken, vsock_off)])
