"""Wardens with the stand-in hypervisor: what their tests share."""
import os
import select

import parents as w

w.enter("warden")
STANDIN = os.path.join(w.B, "tests/mews-standin")
stage = w.Stage()
stage.vmm(STANDIN)


def vm(args=b"", **kw):
    return w.VM(stage, args, **kw)


def check_exec(v, word="hi"):
    s = v.exec("echo", word)
    assert s.opened() == (101, ""), "not opened"
    out, status = s.rest()
    assert out == word.encode() + b"\n" and w.code(status) == 0, (out, status)


def write_until_held(s, frame):
    """(what is left of the last frame, whole frames before it)"""
    s.sock.setblocking(False)
    todo, sent = b"", 0
    while select.select([], [s.sock], [], 0.5)[1]:
        todo = todo or frame
        todo = todo[s.sock.send(todo):]
        sent += not todo
        assert sent < 100, "nothing on the way has a bound"
    assert sent > 0
    return todo, sent
