"""What of a VM launchd keeps, as who asks orchd for it gets it."""
import os
import socket

from callers import *  # noqa: F403
from wire import *  # noqa: F403


def knock(s, vm=VM, flags=0, since=0.0, kind=STREAM_CONSOLE_LOG):
    """Our end of a stream of its console's history.  since: time.time()."""
    a, b = socket.socketpair()
    t, p = s.o.ask(LAUNCH_LOG, launch_log(
        vm=vm, kind=kind, flags=flags, since_ns=int(since * 1e9)), b.fileno())
    b.close()
    eq(t, LAUNCH_DONE, "stream")
    a.settimeout(DEADLINE)
    with contextlib.suppress(BrokenPipeError):  # refused: the answer waits
        a.sendall(bytes([FRAME_OPEN, 0, 0, 0, 0]))
    return a


def frames(sock, until=None):
    """(status, what it said), to the end or until that was said."""
    buf, out, status = b"", b"", None
    while True:
        while len(buf) >= 5:
            size = int.from_bytes(buf[1:5], "big")
            if len(buf) < 5 + size:
                break
            kind, data, buf = buf[0], buf[5:5 + size], buf[5 + size:]
            if kind == FRAME_OPENED:
                status = int.from_bytes(data[:2], "big")
                data = data[2:]
            else:
                eq(kind, 1, "channel")
            out += data
        if until is not None and until in out:
            return status, out
        data = sock.recv(65536)
        if not data:
            eq(buf, b"", "cut inside a frame")
            return status, out
        buf += data


def history(s, vm=VM, flags=0, **kw):
    status, out = frames(knock(s, vm, flags, **kw))
    eq(status, 101)
    return out


def wait_said(s, text, vm=VM):
    wait("history", lambda: text in history(s, vm))


def files(s, vm=VM):
    return sorted(n for n in os.listdir(s.logs) if n.startswith("%016x" % vm))


def end(s, vm=VM):
    eq(s.stop(vm), LAUNCH_DONE)
    s.o.event(vm, LE_EXITED)
    s.release(vm)
