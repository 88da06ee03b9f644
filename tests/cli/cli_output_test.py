#!/usr/bin/env python3
"""The CLI against a stand-in for the API: what cannot be written, and ends
that always have words."""
import json
import os
import select
import signal
import subprocess
import threading
import time

from program import *  # noqa: F403

CHECKS = [{"name": "network", "ok": True, "detail": "it is there"},
          {"name": "launcher", "ok": False, "detail": "no answer"}]


def says(ws, rq):
    ws.send(b"\x01" + b"output " * 5000)
    ws.status(0)
    ws.close()


def answers(rq, n):
    """Whatever is asked has something to show."""
    if rq.path.endswith("/exec"):
        ws = upgrade(rq, EXEC)
        says(ws, json.loads(ws.recv()[1]))
        return None
    if "/console-log" in rq.path:
        return answer(200, raw=b"a line\n" * 5000)
    if rq.path.endswith("/doctor"):
        return answer(200, CHECKS)
    if rq.path.startswith("/api/v1/vms/"):
        return answer(200, vm())
    if rq.method == "POST":
        return answer(201, vm())
    if rq.path.startswith("/api/v1/events"):
        text = ("id: 1\ndata: %s\n\n" % json.dumps({
            "type": "VM_CREATED", "name": "web", "status": "created",
            "timestamp": "2026-01-02T03:04:05.5Z"})).encode()
        rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
                        b"\r\n\r\n" + text)
        rq.file.read()
        return b""
    return answer(200, [vm("v%d" % i, uid="%016x" % (i + 1))
                        for i in range(300)],
                  [("X-Total-Count", "300")])


SHOW = [["ps"], ["ps", "-aq"], ["--json", "ps"], ["inspect", "web"],
        ["doctor"], ["--json", "doctor"], ["logs", "--console", "web"],
        ["logs", "--console", "-f", "web"], ["start", "web"],
        ["--json", "start", "web"], ["exec", "web", "x"],
        ["run", "-d", "busybox"], ["run", "busybox", "x"], ["events"],
        ["--json", "events"], ["help"], ["help", "run"], ["version"],
        ["--json", "version"], ["ps", "--help"], []]


@case
def full():
    """/dev/full: one line that says so, and status 1."""
    with Setup(answers) as s:
        for args in SHOW:
            with open("/dev/full", "wb") as out:
                p = s.start(*args, stdout=out)
                _, err = p.communicate(timeout=DEADLINE)
            same((p.returncode, [l for l in err.decode().splitlines()
                                 if " stays (" not in l]), (1, [
                '{"error":"cannot write to standard output: no space left on '
                'device"}' if "--json" in args else
                "mews: cannot write to standard output: no space left on "
                "device"]), args)


@case
def closed():
    """>&-: the same."""
    with Setup(answers) as s:
        for args in SHOW:
            p = s.start(*args, stdout=None, preexec_fn=lambda: os.close(1))
            _, err = p.communicate(timeout=DEADLINE)
            same(p.returncode, 1, args)
            has(err.decode(), "cannot write: standard output is closed")


@case
def closed_and_silent():
    """What writes nothing does not care."""
    def script(ws, rq):
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        p = s.start("exec", "web", "true", stdout=None,
                    preexec_fn=lambda: os.close(1))
        _, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, err), (0, b""))


@case
def standard_error_full():
    def script(ws, rq):
        ws.send(b"\x02oops")
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        with open("/dev/full", "wb") as full:
            p = s.start("exec", "web", "x", stderr=full)
            p.communicate(timeout=DEADLINE)
        same(p.returncode, 1)


@case
def reader_had_enough():
    """A closed pipe is no fault: as if SIGPIPE had come, without a word."""
    with Setup(answers) as s:
        for args in (["ps"], ["exec", "web", "x"], ["run", "busybox", "x"],
                     ["run", "-d", "busybox"], ["logs", "--console", "web"],
                     ["events"]):
            r, w = os.pipe()
            os.close(r)
            p = s.start(*args, stdout=w)
            os.close(w)
            _, err = p.communicate(timeout=DEADLINE)
            if p.returncode not in (141, -13):
                raise Bad("%r: %d" % (args, p.returncode))
            same([l for l in err.splitlines() if b" stays (" not in l], [],
                 args)


@case
def failure_without_a_message():
    """A guest's status needs no words; the end has some."""
    for status in ({"status": "Failure"},
                   {"status": "Failure", "message": ""},
                   {"status": "Failure", "reason": "InternalError",
                    "message": ""}):
        def script(ws, rq):
            ws.send(b"\x03" + json.dumps(status).encode())
            ws.close()
        with Setup(exec_handler(script)) as s:
            for args in (["exec"], ["--json", "exec"]):
                r, _, err = s.run(*args, "web", "x")
                same(r, 125)
                has(err, "VM web did not run the command, and did not say "
                    "why")


@case
def errors_without_a_text():
    """Whatever the status, and whatever the answer lacks, there are words."""
    for status in (400, 401, 403, 404, 409, 410, 413, 429, 500, 502, 504,
                   507, 599, 200, 204, 301):
        for raw in (b"", b"{}", b'{"error":""}', b"null"):
            with Setup(lambda rq, n: answer(status, raw=raw)) as s:
                for args in (["ps"], ["inspect", "web"], ["rm", "web"],
                             ["run", "-d", "--name", "web", "busybox"],
                             ["exec", "web", "x"], ["doctor"]):
                    r, _, err = s.run(*args)
                    what = "%r %d %r" % (args, status, raw)
                    same(r, 125, what)
                    for line in err.splitlines():
                        if not line.startswith("mews: ") or len(line) < 16:
                            raise Bad("%s: %r" % (what, err))
                    if not err:
                        raise Bad(what + " says nothing")


@case
def events_that_always_break():
    """It is said after a few, and they become fewer."""
    times = []

    def handler(rq, n):
        times.append(time.monotonic())
        text = ("id: %d\ndata: %s\n\n" % (n, json.dumps({
            "type": "VM_CREATED", "name": "web", "status": "created",
            "timestamp": "2026-01-02T03:04:05.5Z"}))).encode()
        rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
                        b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n"
                        % (len(text), text))
        return b""
    with Setup(handler) as s:
        p = s.start("events")
        out = read_until(p.stderr.fileno(), b"broke 4 streams")
        read_until(p.stdout.fileno(), b"VM_CREATED")
        p.terminate()
        p.communicate(timeout=DEADLINE)
        has(out, b"broke 3 streams of events in a row: trying again in 0.4 "
            b"seconds")
        gaps = [b - a for a, b in zip(times, times[1:])]
        if len(times) > 5 or gaps[2] < 0.4:
            raise Bad("gaps %r" % gaps)
        same([q.headers.get("last-event-id") for q in s.fake.requests[:3]],
             [None, "1", "2"], "goes on where it was")


main()
