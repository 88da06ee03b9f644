#!/usr/bin/env python3
"""The CLI against a stand-in for the API: VMs that the store does not know."""
import json

from program import *  # noqa: F403

SEEN = {"uid": "00000000000000a1", "status": "running", "pid": 4711,
        "ip_address": "192.168.127.2", "mac_address": "02:00:00:00:00:01",
        "cpu_cores": 2, "memory_mb": 512,
        "found_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z"}
UNSEEN = {"uid": "00000000000000a2", "status": "running", "ip_address": "",
          "mac_address": "", "found_at": "2026-01-01T00:00:00Z",
          "ends_at": "2126-01-02T00:00:00Z",
          "reason": "the launcher has not heard\x1b of it"}


@case
def shown():
    with Setup(lambda rq, n: answer(200, [SEEN, dict(UNSEEN, reason="why")])) as s:
        lines = s.ok("orphan", "ls").splitlines()
        same(lines[0].split(), ["UID", "STATUS", "PID", "CPUS", "MEMORY", "IP",
                                "ENDS", "ADOPTION"])
        has(lines[1], "00000000000000a1  running  4711  2     512 MiB")
        has(lines[1], "can be adopted")
        has(lines[2], "00000000000000a2  running  -     -     -")
        has(lines[2], "why")
        same(json.loads(s.ok("--json", "orphan", "ls"))[0], SEEN)
        same(s.fake.lines(), ["GET /api/v1/orphans"] * 2)
    with Setup(lambda rq, n: answer(200, [UNSEEN])) as s:
        r, _, err = s.run("orphan", "ls")
        same(r, 125)
        has(err, "makes no sense")


@case
def adopted():
    with Setup(lambda rq, n: answer(200, vm("web"))) as s:
        same(s.ok("--tenant", "team", "orphan", "adopt", "--name", "web", "a1"),
             "web\n")
        rq = s.fake.requests[-1]
        same((rq.method, rq.path, json.loads(rq.body)),
             ("POST", "/api/v1/orphans/a1/adopt", {"name": "web"}))
        same(rq.headers.get("x-mews-tenant"), "team")
        assert rq.headers.get("idempotency-key")
        same(json.loads(s.ok("--json", "orphan", "adopt", "--name=web", "a1"))
             ["name"], "web")


@case
def ended():
    def handler(rq, n):
        return answer(204) if rq.path.endswith("a1") else \
            answer(404, {"error": "no orphan has the uid b"})
    with Setup(handler) as s:
        r, out, err = s.run("orphan", "rm", "b", "a1")
        same((r, out), (125, b"a1\n"))
        has(err, "no orphan has the uid b")
        assert all(q.headers.get("idempotency-key") for q in s.fake.requests)


@case
def said_wrong():
    with Setup(lambda rq, n: answer(500, {})) as s:
        for args, want in (((), "it is ls, adopt or rm"), (("show",), "it is ls"),
                           (("adopt", "a1"), "--name"),
                           (("adopt", "--name", "x"), "which one?"),
                           (("rm",), "which one?"), (("ls", "a1"), "no arguments"),
                           (("rm", "--name", "x", "a1"), "for orphan adopt"),
                           (("adopt", "--name", "x" * 64, "a1"), "too long")):
            r, _, err = s.run("orphan", *args)
            same(r, 125, args)
            has(err, want)
        same(s.fake.requests, [])


main()
