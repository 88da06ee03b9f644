#!/usr/bin/env python3
"""The CLI against a stand-in for the API: `mews run`."""
import json
import os
import re
import signal
import subprocess
import threading
import time

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


TAKEN = "orchestrator: vm already exists: %s"


@case
def run_conflict_is_not_a_name():
    """409 for another reason: there is one VM, not a second one."""
    for text in ("vm busybox-1 was deleted meanwhile",
                 "vm busybox-1 was stopped while it started"):
        with Setup(lambda rq, n: answer(409, {"error": text})) as s:
            r, _, err = s.run("run", "-d", "busybox")
            same((r, err), (125, "mews: %s\n" % text))
            same([q.method for q in s.fake.requests], ["POST"])


@case
def run_name_taken():
    tries = []

    def handler(rq, n):
        if rq.method == "POST":
            tries.append((json.loads(rq.body)["name"], rq.key))
            if len(tries) < 3:
                return answer(409, {"error": TAKEN % tries[-1][0]})
            return answer(201, vm(tries[-1][0]))
        return answer(200, vm(tries[-1][0]))
    with Setup(handler) as s:
        s.ok("run", "-d", "busybox")
        same(len({n for n, k in tries}), 3)
        same(len({k for n, k in tries}), 3, "another request, another key")
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same(r, 0)
    with Setup(lambda rq, n: answer(409, {"error": TAKEN % "web"})) as s:
        r, _, err = s.run("run", "-d", "--name", "web", "busybox")
        same((r, err), (125, "mews: the name web is taken: choose another "
                        "(--name)\n"))
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
        same(rq, {"cmd": ["sh", "-c", "x"], "stdin": True, "cwd": "/tmp"})
        # who is killed does not remove it
        same(json.loads(s.fake.requests[0].body)["temporary"], True)
        data, closed = drain(ws)
        ws.send(b"\x01" + data)
        ws.status(3)
        ws.close()
    with Setup(run_model(script, vms)) as s:
        r, out, err = s.run("run", "--rm", "-i", "--name", "w", "-w", "/tmp",
                            "busybox", "--", "sh", "-c", "x",
                            stdin=b"in\0put")
        same((r, out, err), (3, b"in\0put", ""))
        same(vms[0].vms, {}, "removed")
        has(s.fake.lines(), "GET /api/v1/vms/%s/exec" % UID)


@case
def run_leaves_input_alone():
    """Without -i the shell's loop keeps its lines."""
    def script(ws, rq):
        same(rq, {"cmd": ["true"]})
        ws.status(0)
        ws.close()
    with Setup(run_model(script, [])) as s:
        r, w = os.pipe()
        os.write(w, b"one\ntwo\n")
        os.close(w)
        p = s.start("run", "--rm", "busybox", "true", stdin=r)
        _, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, err), (0, b""))
        same(os.read(r, 100), b"one\ntwo\n")
        os.close(r)


def failing_create(status, text, made, began):
    """Refuses a create; the VM is there all the same, or not."""
    vms = {}

    def handler(rq, n):
        if rq.method == "POST":
            o = json.loads(rq.body)
            if made:
                vms["it"] = vm(o["name"], "crashed", False, created_at=began,
                               reason="no agent")
            return answer(status, {"error": text})
        if rq.method == "DELETE":
            vms.clear()
            return answer(204)
        if "it" not in vms:
            return answer(404, {"error": "vm not found"})
        return answer(200, vms["it"])
    return vms, handler


@case
def run_rm_of_what_did_not_start():
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    old = "2020-01-01T00:00:00Z"
    for made, began, gone, methods in (
            (True, now, True, ["POST", "GET", "DELETE", "GET"]),
            (False, now, True, ["POST", "GET"]),
            (True, old, False, ["POST", "GET"])):
        vms, handler = failing_create(500, "vm w did not start: x", made,
                                      began)
        with Setup(handler) as s:
            r, _, err = s.run("run", "--rm", "--name", "w", "busybox", "x")
            same(r, 125)
            has(err, "vm w did not start: x")
            same([q.method for q in s.fake.requests], methods)
            same(vms == {}, gone)
    vms, handler = failing_create(500, "vm w did not start: x", True, now)
    with Setup(handler) as s:
        r, _, err = s.run("run", "--name", "w", "busybox", "x")
        same(r, 125)
        has(err, "VM w stays (`mews rm -f w` removes it)")
    vms, handler = failing_create(400, "no", True, now)
    with Setup(handler) as s:
        same(s.run("run", "--rm", "--name", "w", "busybox", "x")[0], 125)
        same(len(s.fake.requests), 1)


@case
def interrupt_while_it_starts():
    """A create that is answered late is not waited for after a signal, and
    what it made goes."""
    asked, go, vms = threading.Event(), threading.Event(), {}

    def handler(rq, n):
        if rq.method == "POST":
            vms["w"] = vm("w", "starting", False, created_at=time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            asked.set()
            go.wait(DEADLINE)
            return b""
        if rq.method == "DELETE":
            vms.clear()
            return answer(204)
        return answer(200, vms["w"]) if vms else answer(
            404, {"error": "vm not found"})
    for args, gone in ((["--rm"], True), ([], False)):
        asked.clear()
        go.clear()
        with Setup(handler) as s:
            p = s.start("run", *args, "--name", "w", "busybox", "x")
            asked.wait(DEADLINE)
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=10)
            same(p.returncode, 130)
            same(vms == {}, gone)
            same("VM w stays" in err.decode(), not gone)
            go.set()


@case
def run_words():
    """The caller's options, not the API's fields."""
    for status, text, want in (
            (400, "cpu_cores must be 1 to 4, memory_mb 84 to 2048 on this "
             "host", "--cpus must be 1 to 4, --memory 84 to 2048 on this "
             "host"),
            (400, "env[3]: must be NAME=value", "-e[3]: must be NAME=value"),
            (400, "the name is no image: say", "the name is no IMAGE: say"),
            (404, "image x not found", "there is no image x: `mews help run` "
             "names those that are there")):
        with Setup(lambda rq, n: answer(status, {"error": text})) as s:
            r, _, err = s.run("run", "-d", "x")
            same((r, err), (125, "mews: %s\n" % want))
    with Setup() as s:
        for args, want in (
                (["-d", "a b"], "IMAGE: not an image reference"),
                (["-d", "--hostname", "a_b", "x"], "--hostname: "),
                (["-w", "tmp", "x", "y"], "-w tmp: must be an absolute path"),
                (["-w", "/a\nb", "x", "y"], "-w: there is a control character"),
                (["-d", "--cpus", "0", "x"], "--cpus 0 is no number of CPUs")):
            r, _, err = s.run("run", *args)
            same(r, 125)
            has(err, want)


@case
def run_hostname():
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--hostname", "box", "busybox")
        same(json.loads(s.fake.requests[0].body)["hostname"], "box")


@case
def run_flags_with_values():
    with Setup(Vms()) as s:
        s.ok("run", "--detach=true", "--name", "a", "busybox")
        s.ok("run", "-d", "--rm=false", "--name", "b", "busybox")
        r, _, err = s.run("run", "--detach=maybe", "busybox")
        same(r, 125)
        has(err, "--detach is true or false, not maybe")


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
    interrupted(signal.SIGINT, ["run", "--rm", "-i", "busybox", "sleep", "9"], 130,
                True)


@case
def terminate_rm():
    interrupted(signal.SIGTERM, ["run", "--rm", "-i", "busybox", "sleep", "9"], 143,
                True)


@case
def interrupt_stays():
    interrupted(signal.SIGINT, ["run", "-i", "busybox", "sleep", "9"], 130, False)


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
        p = s.start("run", "--rm", "-i", "--name", "w", "busybox", "sleep", "9",
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
