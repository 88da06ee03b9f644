#!/usr/bin/env python3
"""The CLI against a stand-in for the API: `mews run`."""
import json
import os
import re
import signal
import subprocess
import threading

from program import *  # noqa: F403


# ---- run ----

@case
def run_detached():
    with Setup(Vms()) as s:
        same(s.ok("run", "-d", "--name", "web", "--cpus", "2", "-m", "1g",
                  "-e", "A=b=c", "-e", "SECRET", "busybox",
                  env={"SECRET": "s3cret"}), "web\n")
        rq = s.fake.requests[0]
        same(rq.line, "POST /api/v1/vms")
        same(rq.headers["content-type"], "application/json")
        same(json.loads(rq.body), {
            "name": "web", "image": "busybox", "cpu_cores": 2,
            "memory_mb": 1024, "env": ["A=b=c", "SECRET=s3cret"]})
        same(s.fake.lines()[1], "GET /api/v1/vms/" + UID)


@case
def run_defaults_and_names():
    with Setup(Vms()) as s:
        name = s.ok("run", "reg.io/lib/my_app:1.2").strip()
        if not re.fullmatch("my-app-[0-9a-f]{4}", name):
            raise Bad(name)
        same(json.loads(s.fake.requests[0].body), {
            "name": name, "image": "reg.io/lib/my_app:1.2", "cpu_cores": 1,
            "memory_mb": 256})
    with Setup(Vms()) as s:
        same(json.loads(s.ok("--json", "run", "-d", "--name", "w",
                             "busybox"))["name"], "w")


@case
def run_name_taken():
    tries = []

    def handler(rq, n):
        if rq.method == "POST":
            tries.append((json.loads(rq.body)["name"], rq.key))
            if len(tries) < 3:
                return answer(409, {"error": "vm exists"})
            return answer(201, vm(tries[-1][0]))
        return answer(200, vm(tries[-1][0]))
    with Setup(handler) as s:
        s.ok("run", "-d", "busybox")
        same(len({n for n, k in tries}), 3)
        same(len({k for n, k in tries}), 3, "another request, another key")
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same(r, 0)
    with Setup(lambda rq, n: answer(409, {"error": "vm exists"})) as s:
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same((r, err), (125, "mews: vm exists\n"))
        same(len(s.fake.requests), 1)


@case
def run_kernel_cmdline():
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--kernel-cmdline", "quiet nopv", "busybox")
        same(json.loads(s.fake.requests[0].body)["kernel_cmdline"],
             "quiet nopv")
        r, _, err = s.run("run", "-d", "--kernel-cmdline", "x" * 5000,
                          "busybox")
        same(r, 125)
        has(err, "--kernel-cmdline: more than ")


@case
def run_env_file():
    path = os.path.join(DIR, "env")
    with open(path, "w") as f:
        f.write("# one\n\nA=1\nB=two words\nFROM_HERE\nA=3\n")
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--env-file", path, "-e", "B=4", "busybox",
             env={"FROM_HERE": "x"})
        same(json.loads(s.fake.requests[0].body)["env"],
             ["A=3", "B=4", "FROM_HERE=x"])
        with open(path, "w") as f:
            f.write("A=1\n\nnot a name=secretvalue\n")
        r, _, err = s.run("run", "-d", "--env-file", path, "busybox")
        same(r, 125)
        has(err, path + ":3: ")
        if "secretvalue" in err:
            raise Bad("a value is shown")


def run_model(script, vms):
    model = Vms()

    def handler(rq, n):
        vms.append(model)
        if rq.path.endswith("/exec"):
            ws = upgrade(rq, EXEC)
            script(ws, json.loads(ws.recv()[1]))
            return None
        return model(rq, n)
    return handler


@case
def run_command_rm():
    vms = []

    def script(ws, rq):
        same(rq, {"cmd": ["sh", "-c", "x"], "stdin": True})
        data, closed = drain(ws)
        ws.send(b"\x01" + data)
        ws.status(3)
        ws.close()
    with Setup(run_model(script, vms)) as s:
        r, out, err = s.run("run", "--rm", "--name", "w", "busybox", "sh",
                            "-c", "x", stdin=b"in\0put")
        same((r, out, err), (3, b"in\0put", ""))
        same(vms[0].vms, {}, "removed")
        has(s.fake.lines(), "GET /api/v1/vms/%s/exec" % UID)


@case
def run_command_stays():
    vms = []

    def script(ws, rq):
        ws.status(0)
        ws.close()
    with Setup(run_model(script, vms)) as s:
        same(s.ok("run", "--name", "w", "busybox", "true"), "")
        same(list(vms[0].vms), ["w"])


@case
def run_crashes_before_ready():
    def handler(rq, n):
        if rq.method == "POST":
            return answer(201, vm("w", "pending", False))
        return answer(200, vm("w", "crashed", False, reason="panic"))
    with Setup(handler) as s:
        r, out, err = s.run("run", "-d", "--name", "w", "busybox")
        same((r, out), (125, b""))
        has(err, "VM w is crashed before it was ready: panic (see `mews logs "
            "--console w`)")


def interrupted(sig, args, want, gone):
    vms, started = [], threading.Event()

    def script(ws, rq):
        started.set()
        drain(ws)
    with Setup(run_model(script, vms)) as s:
        p = s.start(*args, stdin=subprocess.PIPE)
        if not started.wait(DEADLINE):
            raise Bad("no exec")
        p.send_signal(sig)
        p.wait(DEADLINE)
        same(p.returncode, want)
        same(vms[0].vms == {}, gone, "removed")
        p.communicate()


@case
def interrupt_rm():
    interrupted(signal.SIGINT, ["run", "--rm", "busybox", "sleep", "9"], 130,
                True)


@case
def terminate_rm():
    interrupted(signal.SIGTERM, ["run", "--rm", "busybox", "sleep", "9"], 143,
                True)


@case
def interrupt_stays():
    interrupted(signal.SIGINT, ["run", "busybox", "sleep", "9"], 130, False)


@case
def second_interrupt_gives_up():
    deleting, go = threading.Event(), threading.Event()
    started = threading.Event()
    model = Vms()

    def handler(rq, n):
        if rq.path.endswith("/exec"):
            ws = upgrade(rq, EXEC)
            ws.recv()
            started.set()
            drain(ws)
            return None
        if rq.method == "DELETE":
            deleting.set()
            go.wait(DEADLINE)
            return b""
        return model(rq, n)
    with Setup(handler) as s:
        p = s.start("run", "--rm", "--name", "w", "busybox", "sleep", "9",
                    stdin=subprocess.PIPE)
        if not started.wait(DEADLINE):
            raise Bad("no exec")
        p.send_signal(signal.SIGINT)
        if not deleting.wait(DEADLINE):
            raise Bad("no DELETE")
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=DEADLINE)
        go.set()
        same(p.returncode, 130)
        has(err.decode(), "VM w may still be there")


@case
def closed_stdout_still_removes():
    vms = []

    def script(ws, rq):
        try:
            for _ in range(200):
                ws.send(b"\x01" + b"x" * 60000)
            ws.status(0)
        except OSError:
            pass
    with Setup(run_model(script, vms)) as s:
        r, w = os.pipe()
        p = s.start("run", "--rm", "busybox", "yes", stdout=w)
        os.close(w)
        os.close(r)
        p.communicate(timeout=DEADLINE)
        same(p.returncode, 141)
        same(vms[0].vms, {})


main()
