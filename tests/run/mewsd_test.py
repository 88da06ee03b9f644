#!/usr/bin/env python3
"""mewsd and whoever starts it: what a service manager is told."""
import contextlib
import os
import select
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402


def manager(name):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(name)
    s.settimeout(suite.DEADLINE)
    return s


@contextlib.contextmanager
def running(name, **kw):
    S = suite.Suite()
    S.start(env=dict(os.environ, NOTIFY_SOCKET=name), **kw)
    try:
        yield S
    finally:
        S.stop()


def told():
    """READY=1 once, when every room serves; STOPPING=1 before the end."""
    path = suite.ROOT + "/notify"
    for name, bound in ((path, path), ("@mews-test", "\0mews-test")):
        with manager(bound) as s, running(name, wait=False) as S:
            assert s.recv(4096) == b"READY=1"
            rooms = S.rooms()
            missing = {"orchd", "apid", "apid-admin", "netd",
                       "launchd"} - set(rooms)
            assert not missing, missing
            # a room's second life is no second start of the suite
            os.kill(rooms["netd"], 9)
            suite.wait_for(lambda: S.rooms().get("netd", rooms["netd"])
                           != rooms["netd"], "another netd")
            S.wait_helpers()
            assert not select.select([s], [], [], 0)[0], s.recv(4096)
            S.proc.terminate()
            assert s.recv(4096) == b"STOPPING=1"


def not_kept():
    """The rooms do not find the manager's socket in their environment."""
    name = suite.ROOT + "/notify2"
    with manager(name) as s, running(name, wait=False) as S:
        assert s.recv(4096) == b"READY=1"
        for room, pid in S.rooms().items():
            if room != "mewsd":
                with open("/proc/%d/environ" % pid, "rb") as f:
                    assert b"NOTIFY" not in f.read(), room


def nonsense():
    """A name that is no socket's is said, and changes nothing."""
    for name in ("relative", "/" + "x" * 200, suite.ROOT + "/nobody"):
        with running(name):
            pass
        with open(suite.ROOT + "/mewsd.log") as f:
            log = f.read()
        assert "told" in log, log
        os.unlink(suite.ROOT + "/mewsd.log")


def main():
    suite.enter()
    return suite.run(dict(told=told, not_kept=not_kept, nonsense=nonsense))


sys.exit(main())
