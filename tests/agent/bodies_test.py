#!/usr/bin/env python3
"""What the agent holds of requests under way is bounded, all of them together."""
import json
import struct
import sys
import time

from guest import FRAME_STDIN, Exec, call, run, run_booted
from wire import SESS_AHEAD

MANY = 60
BODY = json.dumps({"cmd": ["sh", "-c", "echo in", "x" * 122000, "y" * 122000]}).encode()
MORE_MAX = 8 << 20  # of 15 MiB that they would be
HEAD = ("POST /v1/exec HTTP/1.1\r\nHost: guest\r\n%s"
        "Connection: Upgrade\r\nUpgrade: mews-exec\r\n\r\n")

M = None


def free():
    return call(M, "GET", "/v1/stats")[1]["mem_free_bytes"]


def answer(st):
    head = st.until(b"\r\n\r\n").decode()
    length = [int(l.split(":")[1]) for l in head.split("\r\n")
              if l.lower().startswith("content-length:")]
    return int(head.split()[1]), st.take(length[0]) if length else b""


def chunked():
    parts = [BODY[i:i + 8000] for i in range(0, len(BODY), 8000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def many(head, body):
    """All but the last bytes of each, then those."""
    before = free()
    held = [M.open() for _ in range(MANY)]
    for st in held:
        st.write(head.encode() + body[:-3])
    less = before - free()
    print("  %d KiB are held" % (less >> 10))
    assert less < MORE_MAX, less
    got = []
    for st in held:
        st.write(body[-3:])
        got.append(answer(st))
        st.rst()
    served = [g for g in got if g[0] == 101]
    refused = [g for g in got if g[0] == 503]
    assert len(served) + len(refused) == MANY, got
    assert len(served) >= 4, got
    assert refused and b"holds as much" in refused[0][1], refused[:1]


def t_by_length():
    many(HEAD % ("Content-Length: %d\r\n" % len(BODY)), BODY)


def t_chunked():
    many(HEAD % "Transfer-Encoding: chunked\r\n", chunked())


def t_all_comes_back():
    """Also from those that were broken off, and one after the other all are served."""
    for _ in range(3):
        held = [M.open() for _ in range(20)]
        for st in held:
            st.write((HEAD % "Content-Length: 200000\r\n").encode() + BODY[:150000])
            st.rst()
    for _ in range(30):
        assert run(M, *json.loads(BODY)["cmd"])[:2] == (0, b"in\n")


def t_silent():
    """What executes holds nothing, also if it never says a word."""
    held = [Exec(M, ["sh", "-c", "exec sleep 1000"] + [c * 122000 for c in "xy"])
            for _ in range(30)]
    assert all(e.status == 101 for e in held), [e.answer for e in held if e.status != 101]
    for e in held:
        e.st.rst()


def t_a_refusal_ends_nothing():
    """The connection goes on: its next request is answered."""
    held = [M.open() for _ in range(MANY)]
    for st in held:
        st.write((HEAD % ("Content-Length: %d\r\n" % len(BODY))).encode() + BODY[:-1])
    st = held[-1]
    st.write(BODY[-1:])
    assert answer(st)[0] == 503
    assert st.request("GET", "/healthz")[0] == 200
    for st in held:
        st.rst()
    assert run(M, *json.loads(BODY)["cmd"])[:2] == (0, b"in\n")


def fill():
    """Long requests that do not come to their ends: all that long ones may have."""
    st = M.open()
    st.write((HEAD % "Content-Length: 1000000\r\n").encode() + b"x")
    held = [st]
    for _ in range(MANY):
        st = M.open()
        st.write((HEAD % ("Content-Length: %d\r\n" % len(BODY))).encode() + BODY[:-1])
        held.append(st)
    held[-1].write(BODY[-1:])
    status, text = answer(held[-1])
    assert status == 503, status
    kib = int(text.split(b" KiB")[0].split()[-1])
    left = (kib << 10) - 1000001
    for st in held[1:]:
        st.rst()
    # and to the last byte
    held = held[:1]
    for n in [left // 8] * 8 + [1 << i for i in range(10, 0, -1)]:
        st = M.open()
        st.write((HEAD % ("Content-Length: %d\r\n" % (n - 1))).encode() + b"x")
        held.append(st)
    return held


def t_short_ones_get_in():
    """Whatever long requests hold: a command of ordinary length, many of them,
    a signal, the word to power off, the time, the key are heard."""
    held = fill()
    e = Exec(M, ["x" * 60000])
    assert e.status == 503 and b"holds as much" in e.answer, (e.status, e.answer)
    assert call(M, "POST", "/v1/kill", {"signal": "WINCH"})[0] in (200, 409)
    assert call(M, "POST", "/v1/power", {"action": "nap"})[0] == 400
    assert call(M, "PUT", "/v1/clock", {"offset_ns": 0})[0] == 200
    assert call(M, "PUT", "/v1/vsock", {"key": "no"})[0] == 400
    assert run(M, "sh", "-c", "echo in", "y" * 3000)[:2] == (0, b"in\n")
    some = [Exec(M, ["sh", "-c", "echo in", "z" * 2000]) for _ in range(30)]
    assert [e.wait() for e in some] == [0] * 30
    for st in held:
        st.rst()
    assert run(M, *json.loads(BODY)["cmd"])[:2] == (0, b"in\n")


def t_input():
    """What commands do not read of their input is little of each, sent as a warden
    and an apid send it."""
    held = [Exec(M, ["sleep", "1000"], stdin=True) for _ in range(62)]
    assert all(e.status == 101 for e in held)
    before = free()
    piece = struct.pack(">BI", FRAME_STDIN, 16384) + b"x" * 16384
    left = [piece * 20] * len(held)
    for _ in range(5):
        left = [e.st.ahead(d, SESS_AHEAD) for e, d in zip(held, left)]
        time.sleep(0.2)  # for what it acknowledges
    less = before - free()
    print("  %d KiB are held" % (less >> 10))
    assert less < 62 * (88 << 10), less
    for e in held:
        e.st.rst()


CASES = [t_by_length, t_chunked, t_all_comes_back, t_silent, t_a_refusal_ends_nothing,
         t_short_ones_get_in, t_input]


def begin(_, mux):
    global M
    M = mux


sys.exit(run_booted(CASES, begin))
