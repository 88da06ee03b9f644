"""From the request to the guest, and to the hypervisor's exec."""
import os
import re
import time

import host
import suite

BODY = {"image": "busybox", "cpu_cores": 1, "memory_mb": 96}


def poll(fn, what, deadline=host.BOOT_DEADLINE):
    end = time.monotonic() + deadline
    while not (got := fn()):
        if time.monotonic() > end:
            raise AssertionError("no %s" % what)
        time.sleep(0.001)
    return got


def one(s, name):
    """(request to the agent's first line, request to ready:true)."""
    k = host.Keep(s)
    t0 = time.monotonic()
    a = k.ask("POST", "/api/v1/vms", dict(BODY, name=name))
    if a.status != 201:
        raise AssertionError(a)
    path = "%s/log/vm/%s.console" % (s.root, a.json()["uid"])

    def line():
        if not os.path.exists(path):
            return False
        with open(path, "rb") as f:
            return host.READY in f.read()

    poll(line, "line of the agent")
    t1 = time.monotonic()
    poll(lambda: k.ask("GET", "/api/v1/vms/" + name).json()["ready"], "ready")
    t2 = time.monotonic()
    k.close()
    return t1 - t0, t2 - t0


def gone(s, k, name):
    if (a := k.ask("DELETE", "/api/v1/vms/" + name)).status >= 300:
        raise AssertionError(a)
    suite.wait_for(lambda: k.ask("GET", "/api/v1/vms/" + name).status == 404,
                   "end of " + name, every=0.002)


def against_bare(rep, n):
    """A, B, A, B: noise of the machine meets both alike."""
    s = suite.Suite(log_level="info").start()
    s.wait_helpers()
    line, ready, bare, stop, delete = [], [], [], [], []
    argv = None
    for i in range(n + 1):
        a = one(s, "web")
        argv = host.argv_of(s, "web")
        k = host.Keep(s)
        t = time.monotonic()
        if (got := k.ask("POST", "/api/v1/vms/web/stop")).status != 200:
            raise AssertionError(got)
        t1 = time.monotonic()
        gone(s, k, "web")
        t2 = time.monotonic()
        k.close()
        b = host.Bare(argv)
        took = b.wait_ready()
        b.close()
        if i == 0:
            continue  # the caches' run
        line.append(a[0] * 1e3)
        ready.append(a[1] * 1e3)
        bare.append(took * 1e3)
        stop.append((t1 - t) * 1e3)
        delete.append((t2 - t1) * 1e3)
    s.stop()
    host.remove_state()
    rep.row("create -> agent's first line", line, "ms", "1.10 x bare", bare, 1.10)
    rep.row("create -> ready:true", ready, "ms", None, bare)
    rep.row("stop of a ready VM (guest shuts down)", stop, "ms")
    rep.row("delete of a stopped VM, until 404", delete, "ms")
    return argv


PHASES = re.compile(r"vm ([0-9a-f]{16}): runs after (\d+) us: jail (\d+), "
                    r"keeper (\d+), hypervisor (\d+), read-back (\d+)")


def control_plane(rep, n):
    """Request in -> hypervisor exec, said by a stand-in hypervisor."""
    s = host.many(n + 1).start()
    s.wait_helpers()
    k = host.Keep(s)
    share, answer, gone_ms, stage = [], [], [], {}
    for i in range(n + 1):
        t = time.monotonic()
        a = k.ask("POST", "/api/v1/vms", dict(BODY, name="v"))
        t1 = time.monotonic()
        if a.status != 201:
            raise AssertionError(a)
        uid = a.json()["uid"]
        path = "%s/log/vm/%s.log" % (s.root, uid)
        at = float(poll(lambda: os.path.exists(path) and re.search(
            r"exec at ([0-9.]+)", open(path).read()), "exec").group(1))
        t2 = time.monotonic()
        gone(s, k, "v")
        if i > 0:
            share.append((at - t) * 1e3)
            answer.append((t1 - t) * 1e3)
            gone_ms.append((time.monotonic() - t2) * 1e3)
            stage[uid] = None
    k.close()
    s.stop()
    with open(s.root + "/log/launchd.log") as f:
        for m in PHASES.finditer(f.read()):
            if m.group(1) in stage:
                stage[m.group(1)] = [int(x) / 1e3 for x in m.groups()[1:]]
    host.remove_state()
    rep.row("request -> hypervisor's exec (stand-in)", share, "ms", "5 ms",
            limit=5)
    found = [p for p in stage.values() if p]
    if found:
        for at, what in ((1, "jail (clone, mounts, record)"),
                         (2, "keeper exec'ed, connected"),
                         (3, "go -> QMP up (exec of warden -x and VM)"),
                         (4, "read-back of every thread")):
            rep.row("  of a start: " + what, [p[at] for p in found], "ms")
        rep.row("  of a start: launchd's whole part", [p[0] for p in found], "ms")
    rep.row("request -> 201 (stand-in, runs and verified)", answer, "ms")
    rep.row("delete of a running VM (stand-in), until 404", gone_ms, "ms")
