#!/usr/bin/env python3
"""The CLI against a stand-in for the API: what it sends, shows and returns."""
import json
import os
import re
import socket
import threading

from program import *  # noqa: F403


# ---- lists, tables ----

def without_age(text):
    return re.sub(r"\d+ days?", "N days", text)


@case
def ps():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        golden("ps.txt", without_age(s.ok("ps")))
        golden("ps-a.txt", without_age(s.ok("ps", "-a")))
        same(s.ok("ps", "-aq"), UID + "\nfedcba9876543210\n")
        same(s.fake.lines(), ["GET /api/v1/vms?limit=250&offset=0"] * 3)
        same(s.fake.requests[0].key, None, "reading needs no key")


@case
def ps_none():
    with Setup(lambda rq, n: answer(200, [])) as s:
        golden("ps-none.txt", s.ok("ps"))
        same(json.loads(s.ok("--json", "ps")), [])


@case
def ps_json():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        got = json.loads(s.ok("--json", "ps", "-a"))
        same([o["name"] for o in got], ["web", "db"])
        same([o["name"] for o in json.loads(s.ok("ps", "--json"))], ["web"])


@case
def inspect():
    def handler(rq, n):
        if rq.path == "/api/v1/vms/web":
            return answer(200, vm(new_key={"of": "a newer suite"}))
        return answer(404, {"error": "vm not found"})
    with Setup(handler) as s:
        golden("inspect.json", s.ok("inspect", "web"))
        r, out, err = s.run("inspect", "nope", "web")
        same(r, 125)
        same([o["name"] for o in json.loads(out)], ["web"])
        same(err, "mews: no such VM: nope (see `mews ps -a`)\n")


@case
def inspect_encodes_names():
    with Setup(lambda rq, n: answer(404, {"error": "vm not found"})) as s:
        s.run("inspect", "a/../b c?d")
        same(s.fake.lines(), ["GET /api/v1/vms/a%2F..%2Fb%20c%3Fd"])
        for name in ("..", ".", "", "x" * 300):
            r, _, err = s.run("inspect", name)
            same(r, 125, name)
            has(err, "is no name of a VM")
        same(len(s.fake.requests), 1)


@case
def help_golden():
    with Setup() as s:
        golden("help.txt", s.ok("help"))
        same(s.ok(), s.ok("help"))
        same(s.ok("--help"), s.ok("help"))
        text = ""
        for c in re.findall(r"^  ([a-z]+)  ", s.ok("help"), re.M):
            text += s.ok("help", c) + "\n----\n"
            if c != "help":
                same(s.ok(c, "--help"), s.ok("help", c))
        golden("help-all.txt", text)


@case
def version():
    with Setup() as s:
        has(s.ok("version"), "mews ")
        has(json.loads(s.ok("--json", "version"))["version"], ".")


USAGE = [
    ("no such command", ["frobnicate"]), ("no such option", ["ps", "-x"]),
    ("no such long option", ["ps", "--frob"]), ("ps with a name", ["ps", "a"]),
    ("no image", ["run"]), ("no VM", ["stop"]), ("no command", ["exec", "web"]),
    ("bad memory", ["run", "-m", "12q", "busybox"]),
    ("no memory", ["run", "-m", "0", "busybox"]),
    ("bad cpus", ["run", "--cpus", "x", "busybox"]),
    ("bad name", ["run", "--name", "a b", "busybox"]),
    ("missing value", ["run", "-m"]), ("bad host", ["-H", "tcp://x", "ps"]),
    ("long path", ["-H", "unix:///" + "x" * 200, "ps"]),
    ("variable without a name", ["run", "-e", "=x", "busybox"]),
    ("variable that is not set", ["run", "-e", "NOT_SET_HERE", "busybox"]),
    ("no such file", ["run", "--env-file", "/nonexistent", "busybox"]),
    ("-d and a command", ["run", "-d", "busybox", "true"]),
    ("-d and --rm", ["run", "-d", "--rm", "busybox"]),
    ("-t without a terminal", ["run", "-t", "busybox", "sh"]),
    ("logs of the workload", ["logs", "web"]), ("bad image", ["run", "-d", "a b"]),
    ("--json before nothing", ["--json", "-x"]),
]


@case
def usage():
    with Setup(lambda rq, n: answer(500, {"error": "x"})) as s:
        for name, args in USAGE:
            r, out, err = s.run(*args)
            same((r, out), (125, b""), name)
            if not err.startswith(("mews: ", '{"error"')):
                raise Bad("%s: %r" % (name, err))
        same(s.fake.lines(), [], "wrong command lines send nothing")


# ---- several names ----

@case
def stop_many():
    model = Vms(vm("a", uid="a" * 16), vm("b", uid="b" * 16))
    with Setup(model) as s:
        r, out, err = s.run("stop", "a", "nope", "b")
        same((r, out), (125, b"a\nb\n"))
        same(err, "mews: no such VM: nope (see `mews ps -a`)\n")
        same([v["status"] for v in model.vms.values()], ["stopped"] * 2)
        posts = [q for q in s.fake.requests if q.method == "POST"]
        same([q.path for q in posts], ["/api/v1/vms/%s/stop" % n
                                       for n in ("a", "nope", "b")])
        keys = [q.key for q in posts]
        same(len(set(keys)), 3, "a fresh key each")
        for k in keys:
            if not re.fullmatch("[0-9a-f]{32}", k or ""):
                raise Bad("key %r" % k)
        same([q.body for q in posts], [b""] * 3)


@case
def stop_json():
    with Setup(Vms(vm("a"))) as s:
        r, out, err = s.run("--json", "stop", "a", "nope")
        same(r, 125)
        lines = [json.loads(x) for x in out.decode().splitlines()]
        same(lines[0], {"name": "a", "ok": True})
        same(lines[1]["ok"], False)
        has(lines[1]["error"], "no such VM: nope")
        has(json.loads(err)["error"], "no such VM")


@case
def start_waits():
    model = Vms(vm("a", "stopped", False))
    with Setup(model) as s:
        same(s.ok("start", "a"), "a\n")
        same(model.vms["a"]["ready"], True)


@case
def start_no_wait():
    with Setup(Vms(vm("a", "stopped", False))) as s:
        same(s.ok("start", "--no-wait", "a"), "a\n")
        same(s.fake.lines(), ["POST /api/v1/vms/a/start"])


@case
def rm_by_uid():
    model = Vms(vm("a", "stopped", False))
    with Setup(model) as s:
        same(s.ok("rm", "a"), "a\n")
        same(model.vms, {})
        same(s.fake.lines()[:2],
             ["GET /api/v1/vms/a", "DELETE /api/v1/vms/" + UID])
        same(len(s.fake.requests[1].key), 32)


@case
def rm_running():
    model = Vms(vm("a"))
    with Setup(model) as s:
        r, out, err = s.run("rm", "a")
        same((r, out), (125, b""))
        has(err, "VM a is running: stop it first")
        same(s.fake.lines(), ["GET /api/v1/vms/a"])
        same(s.ok("rm", "-f", "a", "nope"), "a\nnope\n")
        same(model.vms, {})


# ---- connections ----

@case
def not_there():
    with Setup() as s:
        r, _, err = s.run("ps")
        same(r, 125)
        same(err, "mews: cannot reach the API at %s: there is no such socket "
             "(is mewsd running? is $MEWS_API right?)\n" % s.path)


@case
def refused():
    with Setup() as s:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(s.path)
        sock.close()
        for args in (["ps"], ["exec", "a", "b"]):
            r, _, err = s.run(*args)
            same(r, 125)
            has(err.lower(), "cannot reach the api at %s: connection refused "
                "(is mewsd running? is your user" % s.path.lower())


@case
def forbidden():
    with Setup(lambda rq, n: answer(403, {"error": "not you"})) as s:
        for args in (["ps"], ["exec", "a", "b"], ["doctor"], ["events"],
                     ["rm", "a"], ["logs", "--console", "a"]):
            r, _, err = s.run(*args)
            same(r, 125, args)
            same(err, "mews: not allowed: not you\n")


@case
def broken_connection_same_key():
    def handler(rq, n):
        if n == 2:
            rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        if n <= 3:
            return b""
        return answer(200, vm(status="stopping"))
    with Setup(handler) as s:
        s.ok("stop", "--no-wait", "web")
        same(s.fake.lines(), ["POST /api/v1/vms/web/stop"] * 4)
        same(len({q.key for q in s.fake.requests}), 1, "one key")


@case
def cut_body_same_key():
    def handler(rq, n):
        if n == 1:
            return answer(200, vm())[:-20] + b""
        return answer(200, vm(status="stopping"))

    def cut(rq, n):
        out = handler(rq, n)
        rq.conn.sendall(out)
        return b"" if n == 1 else None
    with Setup(cut) as s:
        s.ok("stop", "--no-wait", "web")
        same(len(s.fake.requests), 2)
        same(len({q.key for q in s.fake.requests}), 1, "one key")


@case
def answered_before_it_wrote():
    """A server that refuses and closes before the request is written: what it
    said is shown, or, where the library did not read it, all is tried again."""
    said = answer(503, {"error": "too many connections"})
    # on one processor, where a waking server stops an idle-class client in
    # the middle of connect(2)
    cpu = {min(os.sched_getaffinity(0))}
    left = [0]

    def serve(l):
        os.sched_setaffinity(0, cpu)
        while True:
            try:
                c, _ = l.accept()
            except OSError:
                return
            with c:
                left[0] -= 1
                if left[0] < 0:
                    c.recv(4096)
                c.send(said if left[0] >= 0 else answer(200, []))

    def behind():
        os.sched_setaffinity(0, cpu)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    with Setup() as s, socket.socket(socket.AF_UNIX) as l:
        l.bind(s.path)
        l.listen(64)
        t = threading.Thread(target=serve, args=(l,), daemon=True)
        t.start()
        try:
            for args, times in ((["exec", "web", "true"], 1), (["ps"], 3)):
                for n in range(10):
                    left[0] = times
                    p = s.start(*args, preexec_fn=behind)
                    _, err = p.communicate(timeout=DEADLINE)
                    if args == ["ps"] and p.returncode == 0:
                        continue
                    same(p.returncode, 125, "%s, try %d: %r" % (args, n, err))
                    has(err.decode(), "too many connections")
        finally:
            l.shutdown(socket.SHUT_RDWR)
            t.join(DEADLINE)


@case
def retry_after():
    def handler(rq, n):
        if n == 1:
            return answer(503, {"error": "busy"}, [("Retry-After", "0")])
        return answer(200, vm(status="stopping"))
    with Setup(handler) as s:
        s.ok("stop", "--no-wait", "web")
        same(len({q.key for q in s.fake.requests}), 1, "one key")
        same(len(s.fake.requests), 2)


@case
def unavailable_for_good():
    with Setup(lambda rq, n: answer(503, {"error": "no room"})) as s:
        r, _, err = s.run("stop", "web")
        same(r, 125)
        has(err, "answered 503: no room")
        same(len(s.fake.requests), 1, "no Retry-After, no retry")


@case
def restart_in_the_middle():
    """The API goes away while a command waits, and comes back."""
    model = Vms(vm("a"))
    gone = threading.Event()

    def handler(rq, n):
        if n == 3:
            gone.set()
            return b""
        return model(rq, n)
    with Setup(handler) as s:
        p = s.start("stop", "a")
        if not gone.wait(DEADLINE):
            raise Bad("no third request")
        s.fake.close()
        s.fake.listen()
        out, err = p.communicate(timeout=DEADLINE)
        same((p.returncode, out, err), (0, b"a\n", b""))


# ---- events, doctor ----

def event(kind, name, status, **kw):
    o = {"type": kind, "name": name, "status": status,
         "timestamp": "2026-01-02T03:04:05.5Z"}
    o.update(kw)
    return json.dumps(o)


@case
def events():
    done = threading.Event()

    def handler(rq, n):
        if n == 1:
            rq.conn.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n")
            text = (": hello\n\nid: 7\nevent: VM_CREATED\ndata: %s\n\n"
                    "data: {\"type\":1}\n\nid: 8\ndata: %s\n\n" % (
                        event("VM_CREATED", "web", "created"),
                        event("VM_CRASHED", "web", "crashed",
                              message="panic"))).encode()
            rq.conn.sendall(b"%x\r\n%s\r\n" % (len(text), text))
            return b""  # broken in the middle
        same(rq.headers.get("last-event-id"), "8", "goes on")
        text = ("id: 9\ndata: %s\n\n" % event(
            "VM_DELETED", "web", "")).encode()
        rq.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"
                        b"\r\n\r\n" + text)
        done.wait(DEADLINE)
        return b""
    for args, want in ((["events"], b"VM_DELETED"),
                       (["--json", "events"], b"VM_DELETED")):
        with Setup(handler) as s:
            done.clear()
            p = s.start(*args)
            out = read_until(p.stdout.fileno(), want)
            if b"\n" not in out[out.index(want):]:
                out += read_until(p.stdout.fileno(), b"\n")
            p.terminate()
            _, err = p.communicate(timeout=DEADLINE)
            done.set()
            has(err, b"an event that makes no sense")
            if args[0] == "events":
                golden("events.txt", out.decode())
            else:
                same([json.loads(x)["type"] for x in out.splitlines()],
                     ["VM_CREATED", "VM_CRASHED", "VM_DELETED"])


def doctor_handler(checks, vms=()):
    def handler(rq, n):
        if rq.path.endswith("/doctor"):
            return answer(200, checks(n) if callable(checks) else checks)
        return answer(200, list(vms))
    return handler


def check(name, ok, detail):
    return {"name": name, "ok": ok, "detail": detail}


def without_memory(text):
    return re.sub(r"this host has \d+", "this host has N", text)


@case
def doctor():
    good = [check("kvm", True, "it boots")]
    bad = good + [check("cgroup\x1b[2J", False, "no v2")]
    with Setup(doctor_handler(good)) as s:
        golden("doctor-ok.txt", without_memory(s.ok("doctor")))
    with Setup(doctor_handler(bad)) as s:
        r, out, err = s.run("doctor")
        same((r, err), (1, ""))
        golden("doctor.txt", without_memory(out.decode()))
        r, out, _ = s.run("--json", "doctor")
        same(r, 1, "with --json, too")
        same(json.loads(out)[:2], [
            {"name": "kvm", "ok": True, "stops_vms": True,
             "detail": "it boots"},
            {"name": "cgroup\x1b[2J", "ok": False, "stops_vms": True,
             "detail": "no v2"}])


@case
def doctor_of_a_fresh_host():
    """What comes by itself is awaited; what stops no VM is a warning."""
    def checks(n):
        return [check("accelerator", n > 3, "still being probed"),
                check("cgroup", False, "no limits"),
                check("launcher", n > 2, "has not answered")]
    with Setup(doctor_handler(checks)) as s:
        out = s.ok("doctor")
        has(out, "cgroup       warn  no limits\n")
        has(out, "accelerator  yes   ")
        same(len(s.fake.requests), 5)
    with Setup(doctor_handler(checks)) as s:
        r, out, _ = s.run("doctor", "--no-wait")
        same((r, len(s.fake.requests)), (1, 2))
        has(out.decode(), "accelerator  NO    still being probed")
    full = [check("room for vms", False, "9 of 9")]
    with Setup(doctor_handler(full)) as s:
        same(s.run("doctor")[0], 1)
        same(len(s.fake.requests), 2, "waiting makes no room")


@case
def doctor_compares():
    held = {"verified": True, "seccomp_filters": 2}
    vms = [vm("a", updated_at="2026-01-01T00:00:00Z", confinement=held),
           vm("b", ready=False, updated_at="2026-01-01T00:00:00Z"),
           vm("c", "crashed", False), vm("d", confinement={"verified": False, "seccomp_filters": 0}),
           vm("e", memory_mb=16777216)]
    with Setup(doctor_handler([], vms)) as s:
        out = s.ok("doctor")
        has(out, "warn  b is not ready, and 1 more are not as they should be")
        has(out, "warn  d is not held as it should be")
        has(out, "warn  the 4 vms that run may use 16777984 MiB")


@case
def full_stdout():
    with Setup(lambda rq, n: answer(200, TWO)) as s:
        with open("/dev/full", "wb") as full:
            p = s.start("ps", stdout=full)
            _, err = p.communicate(timeout=DEADLINE)
        same(p.returncode, 1)
        has(err.decode(), "cannot write")


main()
