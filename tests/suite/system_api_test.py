#!/usr/bin/env python3
"""The whole suite with real guests in emulation: what callers see of it.

usage: system_api_test.py [CASE...]
"""
import contextlib
import json
import os
import subprocess
import time

from vms import *  # noqa: F403

MARK = "marker-%s" % os.urandom(8).hex()


# -- connections --------------------------------------------------------

def connections():
    """As many silent connections as root may have: the newest is told so, all
    others go on, and who else is listed has what is kept for him."""
    ensure(*VMS)
    cap = int(S.conf["max_connections"]) - 16  # less those of strangers
    cap -= cap // 4  # and what is kept for users
    p = exec_open("a")
    mine = S.connect()
    mine.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
    eq(suite.recv_answer(mine).status, 200, "keep-alive")
    idle = [S.connect(timeout=2) for _ in range(cap - 3)]
    with contextlib.ExitStack() as stack:
        for s in idle:
            stack.enter_context(s)
        refused = None
        for _ in range(40):  # what other connections of ours are still open
            s = stack.enter_context(S.connect(timeout=suite.DEADLINE))
            with contextlib.suppress(BrokenPipeError):  # refused before
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
            a = suite.recv_answer(s)
            if a.status != 200:
                refused = a
                break
        assert refused is not None, "%d connections and no end" % (cap + 37)
        eq(refused.status, 503, "the newest")
        assert "too many connections" in refused.json()["error"], refused
        assert "retry-after" in refused.headers, refused.headers
        p2 = S.cli("ps")
        eq(p2.returncode, 125, "the CLI is told so, too")
        assert b"too many connections" in p2.stderr, p2
        mine.sendall(b"GET /api/v1/vms/a HTTP/1.1\r\nHost: m\r\n\r\n")
        eq(suite.recv_answer(mine).json()["status"], "running", "keep-alive")
        echo(p)
        for uid in (S.uids + suite.USER, S.uids + suite.STRANGER):
            other = stack.enter_context(S.connect(uid))
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
            eq(suite.recv_answer(other).status, 200, "another caller")
        # 64 requests at once on what is open
        for s in idle[:64]:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
        for s in idle[:64]:
            eq(suite.recv_answer(s).status, 200, "an idle one that wakes")
    wait_for(lambda: S.get("/healthz").status == 200, "service again")
    echo(p)
    p.stdin.close()
    eq(p.wait(suite.DEADLINE), 0, "exec's end")
    p.stdout.close()
    p.stderr.close()
    mine.close()


# -- identity -----------------------------------------------------------

def identity():
    ensure("a")
    user, stranger = S.uids + suite.USER, S.uids + suite.STRANGER
    routes = (("GET", "/api/v1/vms"), ("POST", "/api/v1/vms"),
              ("GET", "/api/v1/vms/a"), ("DELETE", "/api/v1/vms/a"),
              ("POST", "/api/v1/vms/a/start"), ("POST", "/api/v1/vms/a/stop"),
              ("GET", "/api/v1/vms/a/console-log"),
              ("GET", "/api/v1/events/vms"), ("GET", "/api/v1/system/doctor"))
    seq = last_event()
    for method, path in routes:
        body = {"name": "x", "image": "busybox"} if path.endswith("/vms") and \
            method == "POST" else None
        a = S.request(method, path, body, uid=stranger)
        eq(a.status, 403, "%s %s" % (method, path))
        assert "access denied" in a.json()["error"], a
    for path, protocol in (("/api/v1/vms/a/exec", "v5.channel.k8s.io"),
                           ("/ws/v1/vms/a/console", None)):
        with contextlib.closing(S.connect(stranger)) as s:
            s.sendall(("GET %s HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s\r\n"
                       % (path, "Sec-WebSocket-Protocol: %s\r\n" % protocol
                          if protocol else "")).encode())
            eq(suite.recv_answer(s).status, 403, path)
    eq(S.get("/healthz", uid=stranger).status, 200, "healthz")
    eq(S.get("/openapi", uid=stranger).status, 403, "openapi of a stranger")
    eq(S.get("/openapi", uid=user).status, 200, "openapi of a user")
    eq((last_event(), names()), (seq, ["a"]), "nothing changed")
    for uid in (0, user):
        eq(S.get("/api/v1/vms/a", uid=uid).status, 200, "uid %d" % uid)
    eq(S.get("/api/v1/system/doctor", uid=user).status, 200, "doctor")
    # which process serves whom shows when it goes
    for room, ends, stays in (("apid", user, 0), ("apid-admin", 0, user)):
        with contextlib.closing(S.connect(ends)) as e, \
                contextlib.closing(S.connect(stays)) as k:
            for s in (e, k):
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
                eq(suite.recv_answer(s).status, 200)
            kill_hard(S.rooms()[room])
            eq(to_end(e), b"", "connection of a dead " + room)
            k.sendall(b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n")
            eq(suite.recv_answer(k).status, 200, "the other kind of caller")
        for uid in (0, user):
            wait_for(lambda: S.get("/healthz", uid=uid).status == 200, "apid")


# -- idempotency --------------------------------------------------------


def again(method, path, key, body=None):
    """The client's retry: until there is an answer."""
    end = time.monotonic() + 60
    while True:
        try:
            return S.request(method, path, body,
                             headers=[("Idempotency-Key", key)], timeout=60)
        except OSError:
            assert time.monotonic() < end, "no answer to the retry"


def idempotency():
    """orchd dies between request and answer; the retry acts once."""
    ensure("a")
    logged = {}
    for i, moment in enumerate(("at once", "when it is in the store",
                                "when its jail is there")):
        name, key = "idem%d" % i, "key-%d-%s" % (i, os.urandom(4).hex())
        body = {"name": name, "image": "busybox", "cpu_cores": 1,
                "memory_mb": 96}
        runs = len(dirs("run/vm"))
        s = raw("POST", "/api/v1/vms", key, body)
        if i == 1:
            wait_for(lambda: S.query("SELECT count(*) FROM vm WHERE name = ?",
                                     name), "row", every=0.0005)
        if i == 2:
            wait_for(lambda: len(dirs("run/vm")) > runs, "jail", every=0.0005)
        kill_hard(S.rooms()["orchd"])
        s.close()
        a = again("POST", "/api/v1/vms", key, body)
        eq(a.status, 201, "%s: %r" % (moment, a))
        b = again("POST", "/api/v1/vms", key, body)
        eq((b.status, b.json()["uid"]), (201, a.json()["uid"]), moment)
        body["memory_mb"] = 97
        eq(again("POST", "/api/v1/vms", key, body).status, 422, "another body")
        eq(names(), ["a", name], moment)
        logged[moment] = a.status
        S.wait_helpers()
        s = raw("DELETE", "/api/v1/vms/" + name, key + "d")
        if i == 1:
            wait_for(lambda: vm_state(name) in ("deleting", None), "deleting",
                     every=0.0005)
        kill_hard(S.rooms()["orchd"])
        s.close()
        eq(again("DELETE", "/api/v1/vms/" + name, key + "d").status, 204,
           "delete, " + moment)
        eq(names(), ["a"], "delete, " + moment)
    consistent()


# -- many at once, the CLI ----------------------------------------------

def many_at_once():
    ensure("a")
    eight = ["m%d" % i for i in range(8)]
    t = time.monotonic()
    got = together([lambda n=n: S.create(n) for n in eight])
    eq([a.status for a in got], [201] * 8, "create: %s" % got)
    made = time.monotonic() - t
    for key in ("ip_address", "mac_address", "uid", "pid", "id"):
        eq(len({vm(n)[key] for n in eight}), 8, key)
    consistent()
    t = time.monotonic()
    got = together([lambda n=n: S.delete("/api/v1/vms/" + n, timeout=60)
                    for n in eight])
    eq([a.status for a in got], [204] * 8, "delete: %s" % got)
    note("8 VMs at once: made in %.2f s, deleted in %.2f s"
         % (made, time.monotonic() - t))
    eq(names(), ["a"])
    consistent()


def delete_while_starting():
    ensure("a")
    for stage in range(3):
        name = "s%d" % stage
        s = raw("POST", "/api/v1/vms", "start-%d-%s" % (stage, MARK[-8:]),
                {"name": name, "image": "busybox", "memory_mb": 96,
                 "cpu_cores": 1})
        want = ("pending", "starting", "running")[stage:]
        wait_for(lambda: vm_state(name) in want, "vm", every=0.001)
        eq(S.delete("/api/v1/vms/" + name, timeout=60).status, 204, name)
        a = suite.recv_answer(s)
        s.close()
        assert a.status in (201, 409), a
        if a.status == 409:
            assert "deleted" in a.json()["error"], a
        eq(names(), ["a"])
    consistent()


def cli():
    ensure("a")
    uid = vm("a")["uid"]
    for ref in ("a", uid, uid[:6]):
        p = S.cli("--json", "inspect", ref)
        eq(p.returncode, 0, "inspect %s: %r" % (ref, p))
        assert uid in p.stdout.decode(), p
    eq(S.cli("exec", uid[:6], "echo", "by prefix").stdout, b"by prefix\n")
    for what, argv, rc in (
            ("true", ["true"], 0), ("exit 3", ["sh", "-c", "exit 3"], 3),
            ("a directory", ["/etc"], 126), ("not there", ["nope"], 127),
            ("killed", ["sh", "-c", "kill -9 $$"], 137)):
        p = S.cli("exec", "a", *argv)
        eq(p.returncode, rc, "exec, %s: %r" % (what, p))
    p = S.cli("run", "--rm", "-m", "96", "--name", "once", "busybox", "sh", "-c",
              "echo out; echo err >&2; exit 3")
    eq((p.returncode, p.stdout), (3, b"out\n"), "run --rm: %r" % p)
    assert b"err\n" in p.stderr, p
    eq(names(), ["a"], "--rm")
    eq(S.cli("exec", "nobody", "true").returncode, 125, "unknown VM")
    eq(S.cli("rm", "a").returncode, 125, "rm of what runs")
    eq(names(), ["a"])
    consistent()


# -- secrets (I11) ------------------------------------------------------

def cmdlines_with(text):
    return [line for pid, line in suite.processes().items()
            if text in line and pid != os.getpid()]


def environs_with(text):
    found = []
    for pid in suite.processes():
        with contextlib.suppress(OSError):
            with open("/proc/%d/environ" % pid, "rb") as f:
                if text.encode() in f.read() and pid != os.getpid():
                    found.append(pid)
    return found


def files_with(text, top):
    found = []
    for d, _, files in os.walk(top):
        for path in (os.path.join(d, n) for n in files):
            with contextlib.suppress(OSError):
                if not os.path.isfile(path):
                    continue  # a FIFO would wait
                with open(path, "rb") as f:
                    if text.encode() in f.read():
                        found.append(os.path.relpath(path, top))
    return found


def secrets():
    """A value given by -e or --env-file arrives, and is nowhere else."""
    ensure("a")
    keyed, filed, late = MARK + "-e", MARK + "-f", MARK + "-x"
    with open("/tmp/env", "w") as f:
        f.write("# one\nFROM_FILE=%s\n" % filed)
    p = S.cli("run", "-d", "-m", "96", "--name", "sec", "-e", "BY_NAME",
              "--env-file", "/tmp/env", "busybox", env={"BY_NAME": keyed})
    os.unlink("/tmp/env")
    eq(p.returncode, 0, "run: %r" % p)
    eq(guest("sec", "echo $BY_NAME $FROM_FILE"), "%s %s\n" % (keyed, filed))
    p = exec_open("sec", "echo up; read x; echo $LATE")
    p.kill()
    p.communicate()
    q = subprocess.Popen(
        [S.programs + "/mews", "exec", "-i", "-e", "LATE", "sec", "sh", "-c",
         "echo up; cat; echo $LATE"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, bufsize=0,
        env=dict(os.environ, MEWS_API="unix://" + S.sock, LATE=late))
    eq(q.stdout.readline(), b"up\n")
    eq(cmdlines_with(MARK), [], "command lines")
    eq([p for p in environs_with(MARK) if p != q.pid], [], "environments")
    q.stdin.close()
    eq(q.stdout.read(), late.encode() + b"\n", "exec -e")
    q.wait()
    q.stdout.close()
    answers = [S.get(p) for p in ("/api/v1/vms", "/api/v1/vms/sec",
                                  "/api/v1/system/doctor")]
    answers.append(S.post("/api/v1/vms/sec/stop", timeout=60))
    answers.append(S.post("/api/v1/vms/sec/start", timeout=60))
    e = Events(0, header=False)
    seen = e.until("VM_STOPPED", "sec")
    e.close()
    for a in answers:
        assert MARK.encode() not in a.body, a
    assert MARK not in json.dumps([x[2] for x in seen]), "an event"
    S.wait_ready("sec")
    eq(guest("sec", "echo $BY_NAME"), keyed + "\n", "after stop and start")
    found = files_with(MARK, S.root)
    eq([f for f in found if not f.startswith("lib/store/")], [], "files")
    assert found, "the search does not find what is in the store"
    for d, want in (("lib/store", 0o700),):
        eq(os.stat(S.root + "/" + d).st_mode & 0o777, want, d)
    for n in os.listdir(S.root + "/lib/store"):
        eq(os.stat(S.root + "/lib/store/" + n).st_mode & 0o077, 0, n)
    ensure("a")


# -- events -------------------------------------------------------------

def events():
    """A whole life in order, and on after a kill -9 of everything."""
    ensure("a")
    e = Events(last_event())
    eq(S.create("e").status, 201)
    S.wait_ready("e")
    seen = e.until("VM_READY", "e")
    e.close()
    last = seen[-1][0]
    t = kill_room("all")
    api_back(t)
    S.wait_helpers()
    S.wait_ready("e")  # until it is known again a change of it is 503
    e = Events(last)
    eq(S.post("/api/v1/vms/e/stop", timeout=60).status, 200)
    eq(S.delete("/api/v1/vms/e", timeout=60).status, 204)
    seen += e.until("VM_DELETED", "e")
    e.close()
    mine = [x for x in seen if x[2]["name"] == "e"]
    eq([x[1] for x in mine],
       ["VM_CREATED", "VM_RUNNING", "VM_READY", "VM_STOPPED", "VM_DELETED"])
    ids = [x[0] for x in seen]
    eq(ids, list(range(ids[0], ids[0] + len(ids))), "ids")
    eq(len({x[2]["uid"] for x in mine}), 1, "uid")
    e = Events(ids[0] - 1, header=False)
    eq([e.next() for _ in ids], seen, "the same again by ?after=")
    e.close()


run(connections, identity, idempotency, delete_while_starting, many_at_once,
    cli, secrets, events, all_gone)
