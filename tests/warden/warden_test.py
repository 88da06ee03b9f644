#!/usr/bin/env python3
"""The warden against the stand-in hypervisor: all that needs no guest."""
import json
import os
import random
import re
import select
import signal
import struct
import sys
import time

from standin import *  # noqa: F403
from wire import (ACCEL_TCG, EXIT_GUEST_OFF, EXIT_NONE, FD_ROLES,
                  FRAME_OPEN, MACHINE_ARGS_MAX, STOP_ACPI,
                  STOP_AGENT, STOP_QUIT, STREAM_CONSOLE, STREAM_CONSOLE_LOG,
                  STREAM_EXEC, STREAM_FOLLOW, STREAM_SIGNAL, WARD_RUN,
                  WARD_VERSION)

WENT_AWAY = "the agent went away"  # WARD_WENT_AWAY


def starts_stopped():
    with vm() as v:
        s = v.hello()
        v.wait(lambda s: s.qmp)
        assert not v.state.running and s.version == WARD_VERSION, s
        assert not select.select([v.sock], [], [], 0.05)[0]
        v.send(WARD_RUN)
        v.wait(lambda s: s.running)
        v.wait(lambda s: s.agent and s.need_spec)
        s = v.exec("echo")
        assert s.opened() == (503, "no boot spec yet")


def run_before_qmp():
    """A WARD_RUN that comes first is kept."""
    with vm() as v:
        v.hello()
        v.send(WARD_RUN)
        v.wait(lambda s: s.running)


def ready():
    with vm() as v:
        v.boot()
        print("  stand-in exec to ready: %.1f ms"
              % ((time.monotonic() - v.t0) * 1000))
        check_exec(v)
        assert not v.state.need_spec


def exec_cases():
    with vm() as v:
        v.boot()
        s = v.exec("exit", "3")
        assert s.opened()[0] == 101
        assert w.code(s.rest()[1]) == 3
        assert v.exec("nope").opened() == (500, "no such program")
        assert v.stream(STREAM_EXEC, 0, b"{}").opened() == (400, "cmd: missing")
        assert v.stream(STREAM_EXEC, 0, b"\0\xff").opened()[0] == 400
        s = v.exec("cat")
        assert s.opened()[0] == 101
        s.frame(0, b"abc")
        assert s.next() == (1, b"abc")
        s.frame(0, b"")
        assert s.next() == (1, b"")
        s.frame(4, b'{"Width":80,"Height":24}')
        s.close_stdin()
        assert s.rest() == (b"", {"metadata": {}, "status": "Success"})


def exec_long():
    """A request longer than a frame, up to its own limit; in as many pieces as
    it comes."""
    with vm() as v:
        v.boot()
        for n in (8, 9, 16, 32):
            words = ["x" * 8150] * n
            s = v.exec("echo", *words)
            assert s.opened()[0] == 101, n
            out, status = s.rest()
            assert out.decode().split() == words and w.code(status) == 0, n
        words = ["y" * 50000] * 2
        body = json.dumps({"cmd": ["echo", *words]}).encode()
        s = v.stream(STREAM_EXEC, 0, None)
        head = bytes([FRAME_OPEN]) + len(body).to_bytes(4, "big")
        for part in (head[:2], head[2:], body[:1], body[1:70000], body[70000:]):
            s.sock.sendall(part)
            time.sleep(0.02)
        assert s.opened()[0] == 101
        assert s.rest()[0].decode().split() == words
        # a client that goes in the middle of it, and what is too long
        s = v.stream(STREAM_EXEC, 0, None)
        s.sock.sendall(head + body[:90000])
        s.sock.close()
        s = v.stream(STREAM_EXEC, 0, None)
        s.sock.sendall(bytes([FRAME_OPEN]) + (262145).to_bytes(4, "big"))
        assert s.opened() == (400, "not an open frame")
        check_exec(v)


def exec_answered():
    """A command that is over with its first answer (detached, refused) takes no
    stream from others, however many there are."""
    def say(status, body):
        return v.exec("raw", "HTTP/1.1 %s\r\nContent-Length: %d\r\n"
                      "Connection: close\r\n\r\n%s" % (status, len(body), body))
    with vm() as v:
        v.boot()
        for i in range(70):
            s = say("201 Created", '{"pid":%d}' % i)
            assert s.opened() == (201, '{"pid":%d}' % i)
            assert s.next() is None
        for status, body, want in (
                ("422 x", '{"error":"no user bird"}', (422, "no user bird")),
                ("400 x", '{"error":"unknown key"}', (400, "unknown key")),
                ("202 Accepted", "{}", (502, "{}")),
                ("201 Created", '{"pid":\x01}', (201, '{"pid":?}'))):
            s = say(status, body)
            got = s.opened()
            assert got == want, got
            assert s.next() is None
        check_exec(v)


def exec_agent_gone():
    """Of a request that it had got: apid knows the words."""
    with vm() as v:
        v.boot()
        s = v.exec("mute")
        assert not select.select([s.sock], [], [], 0.5)[0]
        os.kill(v.vmm, signal.SIGKILL)
        status, text = s.opened()
        assert (status, text) == (502, WENT_AWAY), (status, text)


def exec_bulk():
    """4 MiB there and back, with a client that writes first, then reads."""
    data = os.urandom(60000)
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        s.sock.setblocking(False)
        out, todo, got = b"", b"".join(
            struct.pack(">BI", 0, len(data)) + data for _ in range(70)), 0
        todo += struct.pack(">BIB", 255, 1, 0)
        end = time.monotonic() + 20
        while todo and time.monotonic() < end:
            r, wr, _ = select.select([s.sock], [s.sock], [], 1)
            if wr:
                try:
                    todo = todo[s.sock.send(todo[:1 << 20]):]
                except BlockingIOError:
                    pass
            if r:
                s.buf += s.sock.recv(1 << 20)
        s.sock.setblocking(True)
        out, status = s.rest(20)
        assert out == data * 70 and w.code(status) == 0, len(out)


def exec_turned_round():
    """A client that writes until nothing moves any more, and only then
    reads: every queue on the way is full at once, and all goes on."""
    data = os.urandom(60000)
    frame = struct.pack(">BI", 0, len(data)) + data
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        todo, sent = write_until_held(s, frame)
        whole = sent + bool(todo)
        # the rest of the last frame and the end go in while we read
        todo += struct.pack(">BIB", 255, 1, 0)
        end = time.monotonic() + w.DEADLINE
        while todo:
            left = max(0, end - time.monotonic())
            r, wr, _ = select.select([s.sock], [s.sock], [], left)
            assert r or wr, "it stopped for good"
            if r:
                s.buf += s.sock.recv(65536)
            if wr:
                todo = todo[s.sock.send(todo):]
        s.sock.setblocking(True)
        out, status = s.rest()
        assert out == data * whole and w.code(status) == 0, len(out)


def exec_back_pressure():
    """A client that does not read costs the warden next to nothing."""
    with vm() as v:
        v.boot()
        before = v.pss_kib()
        s = v.exec("fill", str(32 << 20))
        s.opened()
        # while it does not read, others are served
        for _ in range(20):
            check_exec(v)
        grown = v.pss_kib() - before
        assert grown < 1500 or not v.MEASURED, "%d KiB" % grown
        out, status = s.rest(30)
        assert len(out) == 32 << 20 and w.code(status) == 0


def exec_client_goes():
    with vm() as v:
        v.boot()
        for _ in range(200):
            s = v.exec("cat")
            s.opened()
            s.close()
        check_exec(v)


def exec_held_client_goes():
    """A client that goes while its input is not taken: the command hears of
    it, though nothing else moves on the agent's line."""
    with vm() as v:
        v.boot()
        s = v.exec("hold")
        assert s.opened()[0] == 101
        write_until_held(s, struct.pack(">BI", 0, 60000) + bytes(60000))
        s.close()
        v.hear(b"hold lost")


def client_rules():
    """What a client may not send ends its stream and nothing else."""
    bad = [b"\x01\0\0\0\1x", b"\x03\0\0\0\1x", b"\x4d\0\0\0\1x",
           b"\0\xff\xff\xff\xff", b"\xfd\0\0\0\2\0\0", b"\xff\0\0\0\1\1",
           b"\xfe\0\0\0\0"]
    with vm() as v:
        v.boot()
        for b in bad:
            s = v.exec("cat")
            assert s.opened()[0] == 101
            s.sock.sendall(b)
            assert s.next() is None, b
        for b in (b"\0\0\0\0\0", b"\xfe\xff\0\0\0", b"GET / HTTP/1.1\r\n"):
            s = v.stream(STREAM_EXEC, 0, None)
            s.sock.sendall(b)
            assert s.opened()[0] == 400 and s.next() is None, b
        assert v.stream(STREAM_CONSOLE, 0, b"{}").opened()[0] == 400
        check_exec(v)


def streams_limit():
    with vm() as v:
        v.boot()
        held = [v.stream(STREAM_CONSOLE) for _ in range(64)]
        for s in held:
            assert s.opened()[0] == 101
        s = v.exec("echo", "x")
        got = s.opened()
        assert got == (503, "all 64 streams of this VM are open: end a command "
                       "or console, or try again"), got
        assert s.next() is None
        # what comes in place of one that has just gone is not one too many
        for _ in range(200):
            held.pop(0).close()
            held.append(v.stream(STREAM_CONSOLE))
            got = held[-1].opened()
            assert got[0] == 101, got


def signals_limit():
    """Signals and streams take no places from each other."""
    said = (503, "8 signals to this VM are under way: wait for their answers, "
            "or try again")
    with vm() as v:
        v.boot()
        signals = [v.stream(STREAM_SIGNAL, 0, None) for _ in range(8)]
        more = v.stream(STREAM_SIGNAL)
        assert more.opened() == said
        held = [v.stream(STREAM_CONSOLE) for _ in range(64)]
        for s in held:
            assert s.opened()[0] == 101
        got = v.exec("echo", "x").opened()
        assert got[0] == 503 and "all 64 streams" in got[1], got
        for s in signals:
            s.close()
        signals = [v.stream(STREAM_SIGNAL, 0, None) for _ in range(8)]
        assert v.stream(STREAM_SIGNAL).opened() == said
        held.pop().close()
        held.append(v.stream(STREAM_CONSOLE))
        assert held[-1].opened()[0] == 101


def console():
    with vm(b"marker=42") as v:
        v.boot()
        out = v.hear(b"marker=42\r\n")
        assert b"stand-in guest: console=ttyS0" in out, out
        # its history is launchd's, in a file that is none of the jail's
        s = v.stream(STREAM_CONSOLE_LOG)
        assert s.opened() == (503, "the launcher has the console's log")
        assert s.next() is None
        a, b = v.stream(STREAM_CONSOLE), v.stream(STREAM_CONSOLE)
        a.opened(), b.opened()
        a.frame(0, b"typed by a\n")
        for s in (a, b):
            s.until(b"typed by a\n")
        b.frame(0, b"typed by b\n")
        for s in (a, b):
            s.until(b"typed by b\n")
        v.hear(b"typed by b\n")
        a.close()
        b.frame(0, b"again\n")
        b.until(b"again\n")


def console_bounded():
    """A flooding guest: what nobody takes out of the FIFO is left out with a
    mark, slow watchers are moved on with one, the warden does not grow, and
    not at all when nobody watches."""
    with vm(b"standin=serial-flood") as v:
        v.boot()
        left_out = rb"\r\n\[mews: (\d+) bytes left out\]\r\n"
        before = v.pss_kib()
        slow = v.stream(STREAM_CONSOLE)
        slow.opened()
        fast = v.stream(STREAM_CONSOLE)
        fast.opened()
        n = 0
        end = time.monotonic() + 30
        while n < 9 << 20:
            n += len(fast.next()[1])
            assert time.monotonic() < end, n
        grown = v.pss_kib() - before
        assert grown < 1000 or not v.MEASURED, grown
        assert re.search(left_out, slow.until(b"bytes left out]", 20) + b"\r\n")
        fast.close()
        slow.close()
        # the FIFO was full long ago: the count is of all that was not in it
        v.hear(b"bytes left out]\r\n")
        end = time.monotonic() + w.DEADLINE
        while sum(map(int, re.findall(left_out, v.heard()))) < 8 << 20:
            assert time.monotonic() < end, v.console[:65536]
        assert len(v.console) < 4 << 20, len(v.console)
        v.kill_warden()
        v.start_warden()
        v.hello()
        v.console = b""
        v.hear(b"flood")
        assert b"\0" not in v.heard()


def rungs():
    for rung, event in ((STOP_AGENT, EXIT_GUEST_OFF),
                        (STOP_ACPI, EXIT_GUEST_OFF), (STOP_QUIT, EXIT_NONE)):
        with vm() as v:
            v.boot()
            v.rung(rung)
            assert v.wait_vmm() == 0
            v.wait(lambda s: not s.qmp)
            assert v.state.guest_event == event, (rung, v.state)
            assert v.exec("echo").opened()[0] == 503


def warden_killed():
    """In the middle of an exec: its stream ends, a new warden serves."""
    with vm() as v:
        v.boot()
        s = v.exec("cat")
        s.opened()
        s.frame(0, b"x" * 1000)
        v.kill_warden()
        while s.next() is not None:
            pass
        v.start_warden()
        t = time.monotonic()
        st = v.hello()
        v.wait(lambda s: s.ready and s.running)
        print("  new warden to ready: %.1f ms"
              % ((time.monotonic() - t) * 1000))
        assert not st.need_spec
        check_exec(v)


def warden_killed_20():
    seed = random.randrange(1 << 30)
    rnd = random.Random(seed)
    try:
        with vm() as v:
            v.boot()
            for _ in range(20):
                s = v.exec("cat")
                t = v.exec("fill", str(8 << 20))
                deadline = time.monotonic() + rnd.random() * 0.03
                n = 0
                while time.monotonic() < deadline:
                    if n < 40:  # what fits between us: nobody reads it
                        s.frame(0, rnd.randbytes(rnd.randrange(2000)))
                    n += 1
                    select.select([], [], [], 0.0005)
                v.kill_warden()
                v.start_warden()
                v.hello()
                v.wait(lambda s: s.ready)
                check_exec(v)
                s.close()
                t.close()
    except Exception:
        print("  seed %d" % seed)
        raise


def new_launchd():
    with vm() as v:
        v.boot()
        old = v.sock
        v.sock = None
        s = v.hello()
        assert s.ready and s.running and s.qmp, s
        assert old.recv(100) == b"", "the old one was kept"
        check_exec(v)


def args_refused():
    rows = [(b"a\nb", "byte 2 is not printable"),
            (b"x" * 2048, "kernel arguments: File too large|too long|Arg"),
            (b"x" * (MACHINE_ARGS_MAX + 1), "Argument list too long"),
            (b"\x7f", "not printable"), (b"a\0b", "not printable"),
            (b"\xc3\xa9", "not printable")]
    for args, why in rows:
        with vm(args) as v:
            assert v.wait_vmm() == 1 << 8, args[:10]
            assert re.search(why, v.said()), (args[:10], v.said())


def args_whole():
    """Commas, quotes, dashes and spaces stay one argument."""
    args = b"a=b,c -S -incoming exec:id,server=on \"q' $(x) %s \\"
    with vm(args) as v:
        v.boot()
        v.hear(args + b"\r\n")


def spec_refused():
    m = w.machine.machine(accel=ACCEL_TCG)
    good = w.machine.ward_exec((), m)
    for spec in (b"", b"\0" * 31, b"\0" * 32, b"\xff" * 32, b"\1" * 33,
                 good[:-1], good + b"\0", bytes(len(good)),
                 b"\2" + good[1:], w.machine.ward_exec((FD_ROLES,), m),
                 good[:4] + b"\xff" + good[5:],
                 w.machine.ward_exec((), w.machine.machine())):
        s = w.memfd(spec)
        null = os.open("/dev/null", os.O_RDWR)
        r, wr = os.pipe()
        pid = w.start(["/boot/mews-warden", "-x"], dict.fromkeys(
            range(4, 10), null) | {3: s}, wr)
        assert os.waitpid(pid, 0)[1] == 1 << 8, spec
        assert b"machine: " in os.read(r, 500)
        for fd in (s, null, r, wr):
            os.close(fd)


def idle_memory():
    with vm() as v:
        v.boot()
        check_exec(v)
        own = v.own_kib()
        print("  idle warden: %d KiB of its own" % own)
        assert 0 < own < 512 or not v.MEASURED, own


def main():
    ok = True
    for fn in (starts_stopped, run_before_qmp, ready, exec_cases, exec_long,
               exec_answered, exec_agent_gone, exec_bulk, exec_turned_round,
               exec_back_pressure, exec_client_goes, exec_held_client_goes,
               client_rules, streams_limit, signals_limit, console,
               console_bounded, rungs, warden_killed, warden_killed_20,
               new_launchd, args_refused, args_whole, spec_refused, idle_memory):
        ok &= w.run("warden: " + fn.__name__, fn)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
