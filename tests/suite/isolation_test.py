#!/usr/bin/env python3
"""The whole suite: what is one tenant's, for those of another, for its own who may
less, and for strangers, on every route that there is.

usage: isolation_test.py [CASE...]
"""
import statistics
import time

from vms import *  # noqa: F403

ALICE, BOB, WATCH, STRANGER = (S.uids + 20 + i for i in range(4))
UPGRADE = (("Connection", "Upgrade"), ("Upgrade", "websocket"),
           ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
           ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"))
BODIES = {"adoptOrphan": {"name": "x"},
          "createVM": {"name": "x", "image": "busybox"},
          "renameVM": {"name": "y"}, "signalVM": {"signal": "HUP"},
          "vmExecDetached": {"cmd": ["true"]},
          "createTenant": {"name": "x"}, "adoptOrphan": {"name": "x"},
          "changeTenant": {"members": [
              {"kind": "group", "id": 9, "role": "viewer"}]}}
ORDER = ("anybody", "viewer", "operator", "admin", "host admin")
VM = {}


def routes():
    """(operation, method, path, least role) of all, as the suite tells them."""
    doc = S.get("/openapi").json()
    out = [(o["operationId"], m.upper(), p, o["x-role"])
           for p, ms in doc["paths"].items() for m, o in ms.items()]
    assert len(out) >= 22, out
    return out


def ask(op, method, path, name, uid, tenant=None, **more):
    path = path.replace("{name}", name).replace("{uid}", VM["uid"])
    headers = [*UPGRADE] if op.endswith("WebSocket") else []
    if tenant:
        headers.append(("X-Mews-Tenant", tenant))
    return S.request(method, path, BODIES.get(op), headers=headers, uid=uid,
                     timeout=30, **more)


def said(r, name):
    """Status and words, but for the name that was asked for."""
    return r.status, r.body.replace(name.encode(), b"NAME")


def made():
    """Tenants a and b, a VM in a."""
    for name, *who in (("a", (ALICE, "admin"), (WATCH, "viewer")),
                       ("b", (BOB, "admin"))):
        eq(S.post("/api/v1/tenants", {"name": name, "members": [
            {"kind": "user", "id": u, "role": r} for u, r in who]}).status, 201)
    a = S.request("POST", "/api/v1/vms", {
        "name": "secret", "image": "busybox", "cpu_cores": 1, "memory_mb": 96,
        **suite.GUEST}, uid=ALICE, timeout=60)
    eq(a.status, 201, a)
    VM.update(a.json())

    def ready():
        return S.get("/api/v1/vms/secret", uid=ALICE).json().get("ready")
    wait_for(ready, "agent", 100)


def others():
    """Whatever another tenant's people ask of a's VM, by its name, its uid, the
    beginning of that, with a's name or without: as if it were not there."""
    n = 0
    for op, method, path, _ in routes():
        if "/vms/{name}" not in path:
            continue
        for tenant in (None, "a", "b"):
            for real, none in (("secret", "no-such"),
                               (VM["uid"], "f" * 16 if VM["uid"][0] != "f"
                                else "e" * 16),
                               (VM["uid"][:8], "00000000")):
                got = ask(op, method, path, real, BOB, tenant)
                want = ask(op, method, path, none, BOB, tenant and (
                    "none" if tenant == "a" else tenant))
                got, want = said(got, real), said(want, none)
                want = want[0], want[1].replace(b"tenant none", b"tenant a")
                eq(got, want, "%s %s of %s as bob" % (op, real, tenant))
                eq(got[0], 404, op)
                n += 1
    for op, method, path, _ in routes():
        if "/tenants/{name}" in path and op != "deleteTenant":
            got, want = (ask(op, method, path, t, BOB) for t in ("a", "none"))
            eq(said(got, "a,")[0], 404, op)
            eq(got.body.replace(b" a,", b" none,"), want.body, op)
            n += 1
    note("%d requests" % n)


def each_route():
    """Every route with every kind of caller: who is less than it takes is
    refused, and nobody who may is."""
    who = {"anybody": STRANGER, "viewer": WATCH, "operator": None,
           "admin": ALICE, "host admin": 0}
    for op, method, path, least in routes():
        for role, uid in who.items():
            may = ORDER.index(role) >= ORDER.index(least)
            if uid is None or (may and method != "GET"):
                continue  # those who may change things do so elsewhere
            name = "a" if "tenants" in path else "secret"
            if op in ("streamVMEvents", "getVMConsoleLog", "getVMMLog"):
                if may:
                    continue  # a stream: below
            r = ask(op, method, path, name, uid, "a" if uid == 0 else None)
            assert (r.status == 403) == (not may), (op, role, r)
    for uid, status in ((STRANGER, 403), (WATCH, 200), (ALICE, 200)):
        for path in ("/api/v1/events/vms?after=0",
                     "/api/v1/vms/secret/console-log"):
            with S.connect(uid) as s:
                s.sendall(b"GET %s HTTP/1.1\r\nHost: m\r\n\r\n" % path.encode())
                eq(int(s.recv(4096).split()[1]), status, path)


def lists():
    eq([v["name"] for v in S.get("/api/v1/vms", uid=BOB).json()], [])
    eq([t["name"] for t in S.get("/api/v1/tenants", uid=BOB).json()], ["b"])
    for q in ("?q=secret", "?status=running", "?sort=name&limit=9",
              "?q=" + VM["ip_address"]):
        r = S.get("/api/v1/vms" + q, uid=BOB)
        eq((r.json(), r.headers.get("x-total-count")), ([], "0"), q)


def numbers():
    """Ids, events and keys count in the tenant; the same key of the same words is
    another tenant's own."""
    key = (("Idempotency-Key", "k-1"),)
    body = {"name": "same", "image": "busybox", "cpu_cores": 1,
            "memory_mb": 96, **suite.GUEST}
    made = [S.request("POST", "/api/v1/vms", body, headers=key, uid=u,
                      timeout=60) for u in (ALICE, BOB)]
    eq([m.status for m in made], [201, 201])
    a, b = (m.json() for m in made)
    eq((a["id"], b["id"], a["tenant"], b["tenant"]), (2, 1, "a", "b"))
    assert a["uid"] != b["uid"]
    with S.connect(BOB) as s:
        s.sendall(b"GET /api/v1/events/vms?after=0 HTTP/1.1\r\nHost: m\r\n\r\n")
        s.settimeout(3)
        text = b""
        with contextlib.suppress(TimeoutError):
            while True:
                text += s.recv(65536)
    assert b"id: 1\n" in text and b'"name":"same"' in text, text
    assert b"secret" not in text and a["uid"].encode() not in text, text
    for u in (ALICE, BOB):
        eq(S.delete("/api/v1/vms/same", uid=u, timeout=60).status, 204)
    eq(S.get("/api/v1/vms/secret", uid=ALICE).status, 200)


def host():
    """What `mews doctor` says of the host tells nothing of others' VMs."""
    def said(uid):
        return [(c["name"], c["ok"], c["detail"]) for c in
                S.get("/api/v1/system/doctor", uid=uid).json()]
    before, all_ = said(BOB), said(0)
    eq(S.request("POST", "/api/v1/vms", {
        "name": "more", "image": "busybox", "cpu_cores": 1, "memory_mb": 96,
        **suite.GUEST}, uid=ALICE, timeout=60).status, 201)
    eq(said(BOB), before)
    assert said(0) != all_, "a host admin is told"
    eq(S.delete("/api/v1/vms/more", uid=ALICE, timeout=60).status, 204)


def words():
    """What is said of a quota or a name is the caller's own tenant's."""
    eq(S.request("PATCH", "/api/v1/tenants/a",
                 {"quotas": {"vms": 1}}).status, 200)
    r = S.request("POST", "/api/v1/vms", {"name": "two", "image": "busybox"},
                  uid=ALICE)
    eq(r.status, 403)
    assert b"quota vms of tenant a: it has 1 of 1" in r.body, r
    r = S.request("POST", "/api/v1/vms", {"name": "secret", "image": "busybox",
                                          "memory_mb": 1}, uid=BOB)
    eq(r.status, 400)
    assert b"exists" not in r.body, r


def timing():
    """It takes as long to say that there is none, whether another has it."""
    took = {"secret": [], "no-such": []}
    for _ in range(150):
        for name, t in took.items():
            start = time.perf_counter()
            S.get("/api/v1/vms/" + name, uid=BOB)
            t.append(time.perf_counter() - start)
    a, b = (statistics.median(t) for t in took.values())
    note("%.0f us where another has it, %.0f us where nobody has" % (
        a * 1e6, b * 1e6))
    assert 0.67 < a / b < 1.5, (a, b)


def gone():
    for name in ("a", "b"):
        eq(S.delete("/api/v1/tenants/%s?force=1" % name, timeout=60).status,
           204)


if __name__ == "__main__":
    run(made, others, each_route, lists, numbers, host, words, timing, gone, all_gone)
