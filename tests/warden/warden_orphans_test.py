#!/usr/bin/env python3
"""Streams of an orchd that is no more end, whoever has their other ends."""
import os
import sys

from standin import *  # noqa: F403
from wire import STREAM_CONSOLE, STREAM_EXEC, STREAM_SIGNAL, WARD_ORPHANS


def ended(s):
    """Nothing can follow what was on its way."""
    s.sock.settimeout(5)
    try:
        while s.sock.recv(65536):
            pass
    except ConnectionResetError:
        pass


def all_kinds():
    """In every phase: not opened yet, running, full."""
    with vm() as v:
        v.boot()
        fds = len(os.listdir("/proc/%d/fd" % v.warden))
        silent = [v.stream(k, 0, None) for k in (STREAM_EXEC, STREAM_SIGNAL)]
        cat, full = v.exec("cat"), v.exec("fill", "9000000")
        mute = v.exec("mute")
        console = v.stream(STREAM_CONSOLE)
        for s in (cat, full, console):
            assert s.opened()[0] == 101
        cat.frame(0, b"abc")
        assert cat.next() == (1, b"abc")
        for _ in range(2):
            v.send(WARD_ORPHANS)
            for s in (*silent, mute, cat, full, console):
                ended(s)
            check_exec(v)
            silent = [v.stream(STREAM_EXEC, 0, None)]
        v.send(WARD_ORPHANS)
        ended(silent[0])
        check_exec(v)
        for s in (*silent, mute, cat, full, console):
            s.close()
        now = len(os.listdir("/proc/%d/fd" % v.warden))
        assert now <= fds, (now, fds)


def main():
    ok = w.run("orphans: all kinds", all_kinds)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
