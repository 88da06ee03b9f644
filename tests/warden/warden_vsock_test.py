#!/usr/bin/env python3
"""The warden against the stand-in hypervisor: exec by AF_VSOCK."""
import os
import struct
import sys
import threading

from standin import *  # noqa: F403
from suite import wait_for as suite_wait
from wire import AGENT_PORT_HTTP, WARD_DIALLED, ward_dialled

VSOCK = b"standin=vsock"
HEAD = (b"CONNECT %d\nPOST /v1/exec HTTP/1.1\r\n" % AGENT_PORT_HTTP)
YES = (b"OK %d\nHTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
       b"Upgrade: mews-exec\r\n\r\n" % AGENT_PORT_HTTP)
OVER = struct.pack(">BI", 3, 35) + b'{"metadata":{},"status":"Success"} '


def read_until(sock, end):
    got = b""
    while not got.endswith(end):
        data = sock.recv(65536)
        assert data, got
        got += data
    return got


def vsock_agent(v, s, mid):
    """Plays the agent on the socket that the warden asked for."""
    a = v.dialled(mid)
    got = b""
    while b"}" not in got[32:]:  # the key may have one, too
        got += a.recv(100)
    assert got[:32] == v.key() and got[32:].startswith(HEAD), got
    a.sendall(YES)
    assert s.opened() == (101, "")
    return a


def vsock():
    """exec goes over the socket that launchd hands in, key first."""
    with vm(VSOCK) as v:
        v.boot()
        assert not v.dials
        s = v.exec("cat")
        mid, port = v.dial()
        assert port == AGENT_PORT_HTTP and mid != 0
        a = vsock_agent(v, s, mid)
        s.frame(0, b"in")
        assert read_until(a, b"in") == struct.pack(">BI", 0, 2) + b"in"
        a.sendall(struct.pack(">BI", 1, 3) + b"out" + OVER)
        out, status = s.rest()
        assert out == b"out" and w.code(status) == 0, (out, status)
        assert a.recv(100) == b"", "the socket outlives its stream"
        # the other stream's client goes: so does its socket
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        s.close()
        assert a.recv(100) == b""
        # and one whose guest breaks the rules ends with a status
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        a.sendall(struct.pack(">BI", 9, 1) + b"x")
        assert s.rest()[1]["status"] == "Failure"


def vsock_bulk():
    """Both directions are held back by whoever does not read."""
    data = os.urandom(60000)
    frame = struct.pack(">BI", 0, len(data)) + data
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        todo, sent = write_until_held(s, frame)
        s.sock.setblocking(True)
        t = threading.Thread(target=lambda: s.sock.sendall(todo))
        t.start()
        want, got = (sent + (1 if todo else 0)) * len(frame), 0
        while got < want:
            got += len(a.recv(1 << 20))
        t.join()
        out = struct.pack(">BI", 1, len(data)) + data
        t = threading.Thread(target=lambda: a.sendall(out * 70 + OVER))
        t.start()
        got, status = s.rest(30)
        t.join()
        assert got == data * 70 and w.code(status) == 0, len(got)


def vsock_fallback():
    """No connection, no launchd that dials, a socket that leads to nobody:
    the session on virtio-serial serves, and the log says so once."""
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("echo", "one")
        v.dialled(v.dial()[0], -111)
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"one\n"
        # it rests for a while: no more questions
        check_exec(v)
        assert not v.dials
        said = v.said().count("using virtio-serial")
        assert said == 1, v.said()
        # a new warden, a new key; what was dialled closes unheard
        old = v.key()
        v.kill_warden()
        v.start_warden()
        v.hello()
        v.wait(lambda s: s.ready)
        assert v.key() != old
        s = v.exec("echo", "two")
        v.dialled(v.dial()[0]).close()
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"two\n"


def vsock_old_launchd():
    """One of a suite before this one is not asked what it cannot answer."""
    with vm(VSOCK) as v:
        v.boot()
        v.hello(version=1)
        check_exec(v)
        assert not v.dials


def vsock_launchd_goes():
    """In the middle of a question: the stream goes on by the other way."""
    with vm(VSOCK) as v:
        v.boot()
        s = v.exec("echo", "hi")
        v.dial()
        v.sock.close()
        v.sock = None
        assert s.opened() == (101, "")
        assert s.rest()[0] == b"hi\n"
        # and what runs over a socket does not mind
        v.hello()
        s = v.exec("cat")
        a = vsock_agent(v, s, v.dial()[0])
        v.hello()
        a.sendall(struct.pack(">BI", 1, 1) + b"x" + OVER)
        assert s.rest()[0] == b"x"


def vsock_lies():
    """Answers nobody waits for, with and without descriptors."""
    with vm(VSOCK) as v:
        v.boot()
        n = len(os.listdir("/proc/%d/fd" % v.warden))
        for _ in range(20):
            v.dialled(99).close()
        s = v.exec("cat")
        mid, _ = v.dial()
        v.dialled(mid + 1).close()
        a = vsock_agent(v, s, mid)
        v.dialled(mid).close()  # twice
        a.sendall(OVER)
        s.rest()
        a.close()
        s.close()
        suite_wait(lambda: len(os.listdir("/proc/%d/fd" % v.warden)) <= n,
                   "end of the descriptors")
        for code, fd in ((5, None), (0, None)):
            v.hello()
            s = v.exec("echo", "hi")
            mid, _ = v.dial()
            v.send(WARD_DIALLED, ward_dialled(code=code), mid=mid)
            if code > 0:
                assert v.sock.recv(100) == b"", "believed"
                v.sock = None
            assert s.opened()[0] == 101
            s.rest()


def main():
    ok = True
    for fn in (vsock, vsock_bulk, vsock_fallback, vsock_old_launchd,
               vsock_launchd_goes, vsock_lies):
        ok &= w.run("warden: " + fn.__name__, fn)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
