"""Memory, and what must not grow with the number of VMs."""
import contextlib
import os
import signal
import time

import api
import boot
import host
import suite

IDLE_S = 10.0
ROOMS = ("mewsd", "orchd", "apid", "apid-admin", "netd", "launchd", "spawner")


def pss(pid):
    """KiB of a process, shared pages divided among those who share."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    raise AssertionError("no Pss of %d" % pid)


def by_program(sign):
    return [p for p, l in suite.processes().items() if l.startswith(sign)]


def idle_rooms(s, rep):
    rooms = s.rooms()
    got = {r: pss(rooms[r]) / 1024 for r in ROOMS}
    rep.row("PSS of all daemons, no VM", [sum(got.values())], "MiB", "16 MiB",
            limit=16, note=", ".join("%s %.2f" % i for i in got.items()))


def per_vm(s, rep, n):
    keepers, wardens = by_program("/usr/bin/mews-keeper"), by_program(
        "/usr/bin/mews-warden")
    if (len(keepers), len(wardens)) != (n, n):
        raise AssertionError("%d keepers, %d wardens" % (
            len(keepers), len(wardens)))
    k, w = [pss(p) for p in keepers], [pss(p) for p in wardens]
    both = [(a + b) / 1024 for a, b in zip(sorted(k), sorted(w))]
    rep.row("PSS of a VM: keeper and warden", both, "MiB", "1 MiB", limit=1,
            note="%d VMs" % n)
    rep.row("  of it the keeper", k, "KiB")
    rep.row("  of it the warden", w, "KiB")
    rooms = s.rooms()
    rep.row("PSS of all daemons with these VMs",
            [sum(pss(rooms[r]) for r in ROOMS) / 1024], "MiB")


def idle_cpu(s, rep, n):
    before = api.cpu_of(s, ROOMS)
    vms = by_program("/usr/bin/mews-keeper") + by_program("/usr/bin/mews-warden")
    vb = sum(api.cpu_ns(p) for p in vms)
    time.sleep(IDLE_S)  # the measurement itself: nothing happens
    after = api.cpu_of(s, ROOMS)
    va = sum(api.cpu_ns(p) for p in vms)
    used = {r: (after[r] - before[r]) / IDLE_S / 1e7 for r in ROOMS}
    total = sum(used.values()) + (va - vb) / IDLE_S / 1e7
    rep.row("idle CPU, %d VMs, daemons, keepers, wardens" % n, [total],
            "% of a core", "1 %", limit=1, note="%g s" % IDLE_S)


def restart(s, rep, n, runs):
    """kill -9 of all daemons, then mewsd again, until the API answers."""
    up, seen = [], []
    vmms = sorted(by_program("/usr/bin/qemu-system"))
    for _ in range(runs):
        for pid in s.rooms().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        s.proc.wait()
        t = time.monotonic()
        s.start()
        up.append((time.monotonic() - t) * 1e3)
        s.wait_helpers(60)
        suite.wait_for(lambda: all(v.get("ready") for v in s.get(
            "/api/v1/vms").json()), "every VM ready again", 60)
        seen.append((time.monotonic() - t) * 1e3)
    if sorted(by_program("/usr/bin/qemu-system")) != vmms or len(vmms) != n:
        raise AssertionError("a hypervisor was touched")
    rep.row("kill -9 of all, restart, API answers, %d VMs" % n, up, "ms",
            "1000 ms", limit=1000)
    rep.row("  until every VM is seen ready again", seen, "ms")


def remove(s, name):
    """A 503 says that the helpers are busy and that it goes on: ask again."""
    end = time.monotonic() + 120
    while (a := s.delete("/api/v1/vms/" + name, timeout=120)).status == 503:
        if time.monotonic() > end:
            break
    if a.status >= 300 and a.status != 404:
        raise AssertionError(a)


def all_of(rep, n, vms):
    if (fit := host.room_for(vms)) < vms:
        print("bench: memory for %d VMs, not for %d" % (fit, vms), flush=True)
        vms = fit
    s = host.many(vms).start()
    s.wait_helpers()
    idle_rooms(s, rep)
    k = host.Keep(s)
    took = []
    for i in range(vms):
        t = time.monotonic()
        a = k.ask("POST", "/api/v1/vms", dict(boot.BODY, name="v%d" % i))
        took.append((time.monotonic() - t) * 1e3)
        if a.status != 201:
            raise AssertionError(a)
    suite.wait_for(lambda: all(v.get("ready") for v in k.ask(
        "GET", "/api/v1/vms").json()), "every VM ready", 60)
    rep.row("create with up to %d others there" % vms, took, "ms")
    per_vm(s, rep, vms)
    idle_cpu(s, rep, vms)
    k.close()
    restart(s, rep, vms, n)
    # it waits behind the taps that netd makes good, one by one
    t = time.monotonic()
    remove(s, "v0")
    rep.row("  until the first delete is answered",
            [(time.monotonic() - t) * 1e3], "ms")
    t = time.monotonic()
    for i in range(1, vms):
        remove(s, "v%d" % i)
    suite.wait_for(lambda: s.get("/api/v1/vms").json() == [], "empty list", 60)
    rep.row("delete of %d running VMs, each" % vms,
            [(time.monotonic() - t) * 1e3 / (vms - 1)], "ms")
    s.stop()
    host.remove_state()
