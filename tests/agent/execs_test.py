#!/usr/bin/env python3
"""Commands whose clients are gone keep nobody out."""
import sys
import time

from guest import Exec, call, run, run_booted

M = None
EXECS_MAX = 128
DEAF = ["sh", "-c", "trap '' TERM; echo up; exec sleep 1000"]


def start(cmd, **more):
    e = Exec(M, cmd, **more)
    assert e.status == 101, (e.status, e.answer)
    while b"up" not in e.out[1]:
        e.step()
    return e


def leave(n):
    for e in [start(DEAF) for _ in range(n)]:
        e.st.rst()


def count():
    return call(M, "GET", "/v1/stats")[1]["execs"]


def t_gone_make_place():
    """All places are of such as do not end by themselves within their 5 s."""
    kept = [start(["sh", "-c", "trap '' TERM; echo up; read x </dev/null; exec sleep 1000"])
            for _ in range(8)]
    leave(EXECS_MAX - len(kept))
    assert count() == EXECS_MAX, count()
    assert run(M, "echo", "in")[:2] == (0, b"in\n")
    leave(16)
    assert run(M, "echo", "in")[:2] == (0, b"in\n")
    assert count() > EXECS_MAX // 2, count()  # no more were killed than had to be
    for e in kept:  # who has a client is nobody's place
        e.frame(5, bytes([9]))
        assert e.wait() == 137


def t_grace_while_there_is_room():
    end = time.monotonic() + 20
    while count() > 0:
        assert time.monotonic() < end, count()
        time.sleep(0.1)
    leave(4)
    time.sleep(3)
    assert count() == 4, count()


def t_stopped_at_birth():
    """Who is stopped before he is his program keeps no other's input open."""
    bad = start(["sh", "-c", "echo up; while :; do kill -STOP -1; done 2>/dev/null"],
                user="nobody")
    held = []
    for i in range(60):
        cat = Exec(M, ["cat"], stdin=True)
        held += [Exec(M, ["true"], user="nobody") for _ in range(4)]
        cat.end_stdin()
        try:
            assert cat.wait() == 0
        except TimeoutError:
            raise AssertionError("its input does not end (%d)" % i) from None
        while len(held) > 30:
            held.pop(0).st.rst()
    for e in [bad, *held]:
        e.st.rst()


CASES = [t_gone_make_place, t_grace_while_there_is_room, t_stopped_at_birth]


def begin(_, mux):
    global M
    M = mux


sys.exit(run_booted(CASES, begin, extra=("-m", "256")))
