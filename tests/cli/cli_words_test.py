#!/usr/bin/env python3
"""The CLI against a stand-in for the API: command lines, verbs, and words
that a caller can act on."""
import json
import os
import threading
import time

from program import *  # noqa: F403


@case
def did_you_mean():
    with Setup() as s:
        for args, want in (
                (["exce", "a"], "no command exce (did you mean exec?)"),
                (["rn"], "no command rn (did you mean run?)"),
                (["help", "cosnole"], "(did you mean console?)"),
                (["frobnicate"], "there is no command frobnicate (see"),
                (["ps", "--formt=x"], "no option --formt (did you mean "
                 "--format?)"),
                (["ps", "-format"], "-format begins with two dashes: "
                 "--format"),
                (["run", "-detach", "x"], "begins with two dashes: --detach"),
                (["run", "-env=A=1", "x"], "begins with two dashes: --env"),
                (["--hsot", "x", "ps"], "(did you mean --host?)"),
                (["run", "--e", "x"], "--e can be --env or --env-file"),
                (["run", "--zzzzzz"], "there is no option --zzzzzz (see"),
                (["ps", "-x"], "there is no option -x (see"),
                (["run", "--name"], "--name needs a value")):
            r, out, err = s.run(*args)
            same((r, out), (125, b""), args)
            has(err, want)


@case
def help_by_one_letter():
    with Setup() as s:
        same(s.ok("ps", "-h"), s.ok("help", "ps"))


@case
def flags_with_values():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        same(s.ok("ps", "--all=true", "-q"), s.ok("ps", "-aq"))
        same(s.ok("ps", "-a", "--all=false", "-q"), s.ok("ps", "-q"))
        same(json.loads(s.ok("ps", "--json=1"))[0]["name"], "web")
        same(s.ok("ps", "--json=false", "--help=0"), s.ok("ps"))
        r, _, err = s.run("ps", "--all=yes please")
        same(r, 125)
        has(err, "--all is true or false, not yes please")


@case
def exec_after_two_dashes():
    got = []

    def script(ws, rq):
        got.append(rq["cmd"])
        ws.status(0)
        ws.close()
    with Setup(exec_handler(script)) as s:
        s.ok("exec", "web", "--", "ls", "-l")
        s.ok("exec", "--", "web", "ls", "--", "-l")
        same(got, [["ls", "-l"], ["ls", "--", "-l"]])
        r, _, err = s.run("exec", "web", "--")
        same(r, 125)
        has(err, "which command?")


@case
def no_socket_is_no_missing_vm():
    """"There is no such socket" is not "there is no such VM"."""
    with Setup() as s:
        for args in (["rm", "-f", "a"], ["wait", "--for", "gone", "a"],
                     ["wait", "a"]):
            r, out, err = s.run(*args)
            same((r, out), (125, b""), args)
            has(err, "cannot reach the API at ")


@case
def gone_server_is_no_gone_vm():
    """The API goes away while a removal is awaited."""
    model = Vms(vm("a", "stopped", False))
    with Setup(model) as s:
        deleted = threading.Event()
        real = s.fake.handler

        def handler(rq, n):
            if deleted.is_set():
                return b""
            if rq.method == "DELETE":
                deleted.set()
                s.fake.close()
            return real(rq, n)
        s.fake.handler = handler
        r, out, err = s.run("rm", "a")
        same((r, out), (125, b""))
        has(err, "cannot reach the API at ")


@case
def words_of_limits():
    with Setup() as s:
        r, _, err = s.run("exec", "web", *["x"] * 16385)
        same(r, 125)
        has(err, "a command has at most 16384 words and 262144 bytes: send a "
            "longer one as a script (mews exec -i VM sh < FILE)")
        # what this system itself lets nobody pass goes by a file
        path = s.path + ".env"
        with open(path, "w") as f:
            f.write("A=" + "x" * 131070)
        r, _, err = s.run("exec", "--env-file", path, "web", "x")
        same(r, 125)
        has(err, "the line is longer than the 131071 bytes that Linux allows")
        big = [w for n in "ABC" for w in ("-e", n + "=" + "x" * 100000)]
        r, _, err = s.run("exec", *big, "web", "x")
        same(r, 125)
        has(err, "at most 256 variables and 262144 bytes: put the rest into a")
        r, _, err = s.run("run", *big[:2], "busybox")
        same(r, 125)
        has(err, "at most 256 variables and 65536 bytes: put the rest into a")
        for cwd, want in (("tmp", "-w tmp: must be an absolute path"),
                          ("/a\nb", "-w: there is a control character"),
                          ("/" + "x" * 1024, "longer than 1023 bytes")):
            r, _, err = s.run("exec", "-w", cwd, "web", "x")
            same(r, 125)
            has(err, want)


# as long as those of the suite get
MANY = ("too many streams of this vm are open: your user has 1234 of them, all "
        "users together have at most 1234, and some are kept for others; none "
        "ended within 30 s: end a command or console of yours, or try again "
        "later")


@case
def words_of_refusals():
    for status, text, want in (
            (409, "vm not running", "VM web is not running: `mews start web` "
             "starts it"),
            (503, "vm not ready yet", "VM web is not ready yet: `mews wait "
             "--for ready web` waits until it is"),
            (503, MANY, "mews: " + MANY + "\n"),
            (409, "orchestrator: vm is odd", "mews: vm is odd\n"),
            (410, "vm web is being deleted", "mews: vm web is being deleted")):
        with Setup(lambda rq, n: answer(status, {"error": text})) as s:
            r, _, err = s.run("exec", "web", "x")
            same(r, 125)
            has(err, want)


@case
def restart():
    model = Vms(vm("a", uid="a" * 16), vm("b", "crashed", False,
                                          uid="b" * 16))
    with Setup(model) as s:
        same(s.ok("restart", "a", "b"), "a\nb\n")
        same([v["ready"] for v in model.vms.values()], [True, True])
        same([q.line for q in s.fake.requests if q.method == "POST"],
             ["POST /api/v1/vms/%s/stop" % ("a" * 16),
              "POST /api/v1/vms/%s/start" % ("a" * 16),
              "POST /api/v1/vms/%s/start" % ("b" * 16)])
    with Setup(Vms()) as s:
        r, _, err = s.run("restart", "a")
        same((r, err), (125, "mews: no such VM: a (see `mews ps -a`)\n"))


@case
def wait():
    model = Vms(vm("a", "stopping", False), vm("b", "starting", False,
                                               uid="b" * 16))
    with Setup(model) as s:
        same(s.ok("wait", "a"), "a\n")
        same(model.vms["a"]["status"], "stopped")
        same(s.ok("wait", "--for", "ready", "b"), "b\n")
        same(model.vms["b"]["ready"], True)
        r, _, err = s.run("wait", "--timeout", "0", "b")
        same(r, 125)
        has(err, "VM b is still running after 0 seconds")
        model.vms["b"]["status"] = "deleting"
        same(s.ok("wait", "--for", "gone", "b", "nope"), "b\nnope\n")
        for args, want in ((["--for", "x", "a"], "it is down, ready or gone"),
                           (["--timeout", "x", "a"], "a number of seconds")):
            r, _, err = s.run("wait", *args)
            same(r, 125)
            has(err, want)


@case
def wait_asks_less_and_less():
    times = []

    def handler(rq, n):
        times.append(time.monotonic())
        return answer(200, vm())
    with Setup(handler) as s:
        r, _, err = s.run("wait", "--timeout", "4", "web")
        same(r, 125)
        if len(times) > 40:
            raise Bad("asked %d times in 4 s" % len(times))


@case
def slow_start():
    """A start is answered when the VM runs, a minute later by default."""
    def handler(rq, n):
        if rq.method == "POST":
            threading.Event().wait(31)
        return answer(200, vm("a"))
    with Setup(handler) as s:
        p = s.start("start", "a")
        out, err = p.communicate(timeout=2 * DEADLINE)
        same((p.returncode, out, err), (0, b"a\n", b""))
        same([q.method for q in s.fake.requests], ["POST", "GET"])


LINES = b"".join(b"line %d\n" % i for i in range(20000))


@case
def logs_tail():
    def handler(rq, n):
        if rq.path == "/api/v1/vms/web/console-log":
            return answer(200, raw=LINES + b"last")
        return answer(404, {"error": "vm not found"})
    with Setup(handler) as s:
        for n, want in (("0", b""), ("1", b"last"),
                        ("2", b"line 19999\nlast"),
                        ("1000000", LINES + b"last")):
            same(s.run("logs", "--console", "--tail", n, "web"),
                 (0, want, ""), n)
        same(s.run("logs", "--console", "-n", "x", "web")[0], 125)
        r, out, err = s.run("logs", "--console", "-n", "5", "nope")
        same((r, out, err), (125, b"", "mews: no such VM: nope (see `mews "
                             "ps -a`)\n"))


@case
def logs_tail_follow():
    """The last lines of what was, and then all that comes."""
    more = threading.Event()

    def handler(rq, n):
        same(rq.path, "/api/v1/vms/web/console-log?follow=1")
        rq.conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                        b"\r\n\r\n")
        rq.conn.sendall(b"%x\r\n%s\r\n" % (len(LINES), LINES))
        more.wait(DEADLINE)
        rq.conn.sendall(b"4\r\nnew\n\r\n0\r\n\r\n")
        return b""
    with Setup(handler) as s:
        p = s.start("logs", "--console", "-f", "-n", "2", "web")
        same(read_until(p.stdout.fileno(), b"19999\n"),
             b"line 19998\nline 19999\n")
        more.set()
        out, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, out, err), (0, b"new\n", b""))


main()
