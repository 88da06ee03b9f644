#!/usr/bin/env python3
"""The CLI against a stand-in for the API: exec, console, logs, terminals."""
import json
import os
import select
import signal
import struct
import threading
import time

from program import *  # noqa: F403


# ---- exec ----

@case
def exec_request():
    got = {}

    def script(ws, rq):
        got.update(rq)
        ws.send(b"\x01out\x00\xff")
        ws.send(b"\x02err")
        ws.send(b"\x09what a newer suite says")
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "-w", "/tmp", "-e", "A=1", "web", "cat",
                            "-n", "--", "x")
        same((r, out, err), (0, b"out\x00\xff", "err"))
        same(got, {"cmd": ["cat", "-n", "--", "x"], "env": ["A=1"],
                   "cwd": "/tmp"})
        same(s.fake.lines(), ["GET /api/v1/vms/web/exec"])


@case
def exec_stdin_binary():
    blob = bytes(range(256)) * 4096

    def script(ws, rq):
        same(rq["stdin"], True)
        data, closed = drain(ws)
        same(closed, True)
        for i in range(0, len(data), 65000):
            ws.send(b"\x01" + data[i:i + 65000])
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "-i", "web", "cat", stdin=blob)
        same((r, err), (0, ""))
        same(out == blob, True, "1 MiB there and back")


@case
def exec_codes():
    for code in (0, 1, 3, 126, 127, 137, 255):
        def script(ws, rq):
            ws.status(code)
            ws.close()
        with Setup(exec_handler(script)) as s:
            same(s.run("exec", "web", "x")[0], code)


@case
def exec_never_ran():
    def script(ws, rq):
        ws.send(b"\x03" + json.dumps({
            "metadata": {}, "status": "Failure", "message": "too many",
            "reason": "InternalError"}).encode())
        ws.close()
    with Setup(exec_handler(script)) as s:
        r, _, err = s.run("exec", "web", "x")
        same((r, err), (125, "mews: too many\n"))


@case
def exec_status_without_close():
    """The status counts even when the server never hangs up."""
    hold = threading.Event()

    def script(ws, rq):
        ws.status(7)
        hold.wait(DEADLINE)
    with Setup(exec_handler(script)) as s:
        same(s.run("exec", "web", "x")[0], 7)
        hold.set()


@case
def exec_broken():
    def script(ws, rq):
        ws.send(b"\x01partial")
    with Setup(exec_handler(script)) as s:
        r, out, err = s.run("exec", "web", "x")
        same((r, out), (125, b"partial"))
        has(err, "the connection to VM web broke before the command ended")


@case
def exec_refusals():
    for status, text, want in (
            (404, "vm not found", "no such VM: web (see `mews ps -a`)"),
            (409, "vm not ready", "vm not ready"),
            (500, "\x1b[31mred", "answered 500: \\x1b[31mred"),
            (500, "wor\u009bse", "answered 500: ")):
        with Setup(lambda rq, n: answer(status, {"error": text})) as s:
            r, _, err = s.run("exec", "web", "x")
            same(r, 125)
            has(err, want)
            if "\x1b" in err or "\u009b" in err:
                raise Bad("raw control character in %r" % err)


@case
def exec_retries():
    def handler(rq, n):
        if n == 1:
            return b""
        if n == 2:
            return answer(503, {"error": "soon"}, [("Retry-After", "0")])
        ws = upgrade(rq, EXEC)
        ws.recv()
        ws.status(0)
        ws.close()
        return None
    with Setup(handler) as s:
        same(s.run("exec", "web", "x")[0], 0)
        same(len(s.fake.requests), 3)


@case
def frames_with_the_head():
    def handler(rq, n):
        ws = upgrade(rq, EXEC, extra=b"\x82\x04\x01abc")
        ws.recv()
        ws.status(0)
        ws.close()
        return None
    with Setup(handler) as s:
        same(s.run("exec", "web", "x")[:2], (0, b"abc"))


# ---- terminals ----

@case
def exec_terminal():
    sizes, first = [], threading.Event()

    def script(ws, rq):
        same((rq["tty"], rq["stdin"]), (True, True))
        ws.send(b"\x01\x1b[1mraw\x1b[0m")
        while True:
            m = ws.recv()
            if m is None:
                return
            if m[1][0] == 4:
                sizes.append(json.loads(m[1][1:]))
                first.set()
            elif m[1] == b"\x00\x03":  # Ctrl-C is the guest's
                ws.status(42)
                ws.close()
                return
    with Setup(exec_handler(script)) as s:
        pid, fd = in_terminal(s, ["exec", "-it", "web", "sh"])
        has(read_until(fd, b"\x1b[0m"), b"\x1b[1mraw")
        import fcntl
        import termios
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        end = time.monotonic() + DEADLINE
        while {"Width": 132, "Height": 50} not in sizes:
            if time.monotonic() > end:
                raise Bad("no resize: %r" % sizes)
            select.select([], [], [], 0.01)
        os.write(fd, b"\x03")
        same(wait_status(pid), 42)
        os.close(fd)


@case
def console_detach():
    got = []

    def handler(rq, n):
        same(rq.path, "/ws/v1/vms/web/console")
        ws = upgrade(rq)
        ws.send(b"login: ")
        while True:
            m = ws.recv()
            if m is None or m[0] == 8:
                return None
            got.append(m[1])
    with Setup(handler) as s:
        pid, fd = in_terminal(s, ["console", "web"])
        read_until(fd, b"login: ")
        os.write(fd, b"root\r\x1d\x1dx\x1dy\x1d.")
        same(wait_status(pid), 0)
        end = time.monotonic() + DEADLINE
        while b"".join(got) != b"root\r\x1dx\x1dy":
            if time.monotonic() > end:
                raise Bad("got %r" % got)
            select.select([], [], [], 0.01)
        os.close(fd)


@case
def console_ends():
    def handler(rq, n):
        ws = upgrade(rq)
        ws.send(b"bye\x1b[2J")
        ws.close(1011 if n > 1 else 1000, b"the VM \x1bstopped")
        return None
    with Setup(handler) as s:
        same(s.run("console", "web"), (0, b"bye\x1b[2J", ""))
        r, _, err = s.run("console", "web")
        same(r, 125)
        has(err, "the console of VM web closed: the VM \\x1bstopped")


LOG = b"a\r\nb\x1b[31m\xff\xc2\x9b1m\xe2\x80\xae\xc3\xa4\n"


@case
def logs():
    def handler(rq, n):
        if rq.path == "/api/v1/vms/web/console-log":
            return answer(200, raw=LOG)
        if rq.path == "/api/v1/vms/web/console-log?follow=1":
            rq.conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                            b"\r\n\r\n")
            for b in LOG:
                rq.conn.sendall(b"1\r\n%c\r\n" % b)
            rq.conn.sendall(b"0\r\n\r\n")
            return b""
        return answer(404, {"error": "vm not found"})
    with Setup(handler) as s:
        same(s.run("logs", "--console", "web"), (0, LOG, ""))
        same(s.run("logs", "--console", "-f", "web"), (0, LOG, ""))
        same(s.run("logs", "--console", "nope")[0], 125)
        for args in (["-f"], []):
            pid, fd = in_terminal(s, ["logs", "--console", *args, "web"])
            same(read_until(fd, None).replace(b"\r\n", b"\n"),
                 b"a\nb\\x1b[31m\\xff\\u009b1m\\u202e\xc3\xa4\n")
            same(wait_status(pid), 0)
            os.close(fd)
        pid, fd = in_terminal(s, ["logs", "--console", "--raw", "web"])
        has(read_until(fd, None), b"\x1b[31m")
        same(wait_status(pid), 0)
        os.close(fd)


main()
