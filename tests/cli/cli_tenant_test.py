#!/usr/bin/env python3
"""The CLI against a stand-in for the API: tenants, and whose VMs are meant."""
import json
import os

from program import *  # noqa: F403

TEAM = {"name": "team", "status": "active", "role": "admin",
        "created_at": "2026-01-01T00:00:00Z",
        "quotas": {"vms": 4, "cpus": 0, "memory_mb": 2048},
        "used": {"vms": 1, "cpus": 2, "memory_mb": 512},
        "weight": 3,
        "members": [{"kind": "user", "id": 0, "role": "admin"},
                    {"kind": "group", "id": 4294967294, "role": "viewer"}]}


def team(**kw):
    return dict(TEAM, **kw)


@case
def chosen():
    """--tenant before the command, else $MEWS_TENANT, else nothing is said."""
    with Setup(lambda rq, n: answer(200, [])) as s:
        for args, env, want in (((), {}, None),
                                ((), {"MEWS_TENANT": ""}, None),
                                ((), {"MEWS_TENANT": "b"}, "b"),
                                (("--tenant", "a"), {"MEWS_TENANT": "b"}, "a"),
                                (("--tenant=a",), {}, "a")):
            r, out, err = s.run(*args, "ps", "-q", env=dict(os.environ, **env))
            same((r, out), (0, b""), err)
            same(s.fake.requests[-1].headers.get("x-mews-tenant"), want)
        sent = len(s.fake.requests)
        for name in ("../x", "a b", "", "x" * 64, "a\nb"):
            r, out, err = s.run("--tenant", name, "ps")
            same((r, out), (125, b""), name)
            has(err, "is no name of a tenant")
        same(len(s.fake.requests), sent)


@case
def chosen_for_a_stream():
    with Setup(lambda rq, n: answer(403, {"error": "you are viewer"})) as s:
        r, _, err = s.run("--tenant", "a", "exec", "web", "true")
        same(r, 125)
        has(err, "not allowed: you are viewer")
        same(s.fake.requests[-1].headers.get("x-mews-tenant"), "a")


@case
def changes():
    """What is said is asked for, and nothing else."""
    def handler(rq, n):
        name = json.loads(rq.body).get("name", "team") if rq.body else "team"
        if rq.method == "DELETE":
            return answer(204)
        return answer(201 if rq.method == "POST" else 200, team(name=name))
    with Setup(handler) as s:
        for args, line, body in (
                (("create", "a"), "POST /api/v1/tenants",
                 {"name": "a", "quotas": {}}),
                (("create", "--quota", "vms=3,memory=2g", "--suspend", "a"),
                 "POST /api/v1/tenants",
                 {"name": "a", "suspended": True,
                  "quotas": {"vms": 3, "memory_mb": 2048}}),
                (("set", "--quota", "cpus=0", "--quota=memory=0", "team"),
                 "PATCH /api/v1/tenants/team",
                 {"quotas": {"cpus": 0, "memory_mb": 0}}),
                (("set", "--user", "root", "--user", "7:none", "--group",
                  "root:viewer", "team"), "PATCH /api/v1/tenants/team",
                 {"members": [{"kind": "user", "id": 0, "role": "operator"},
                              {"kind": "user", "id": 7, "role": "none"},
                              {"kind": "group", "id": 0, "role": "viewer"}]}),
                (("create", "--weight", "100", "a"), "POST /api/v1/tenants",
                 {"name": "a", "quotas": {}, "weight": 100}),
                (("set", "--weight", "1", "team"), "PATCH /api/v1/tenants/team",
                 {"weight": 1}),
                (("set", "--resume", "team"), "PATCH /api/v1/tenants/team",
                 {"suspended": False}),
                (("rm", "team"), "DELETE /api/v1/tenants/team", None),
                (("rm", "-f", "team"), "DELETE /api/v1/tenants/team?force=1",
                 None)):
            same(s.ok("tenant", *args), args[-1] + "\n")
            rq = s.fake.requests[-1]
            same((rq.line, json.loads(rq.body) if rq.body else None),
                 (line, body))
            same(len(rq.key or ""), 32, "its Idempotency-Key")


@case
def refuses():
    with Setup(lambda rq, n: answer(500)) as s:
        for args, want in (
                ((), "ls, show, create, set or rm?"),
                (("mk",), "tenant mk: it is ls, show, create, set or rm"),
                (("ls", "x"), "too many names"), (("rm",), "which one?"),
                (("rm", "--user", "root", "a"), "tenant rm changes nothing"),
                (("set", "a"), "what is to change?"),
                (("ls", "--weight", "2"), "tenant ls changes nothing"),
                (("set", "--weight", "0", "a"), "it is a number, 1 to 100"),
                (("create", "--weight", "101", "a"), "--weight 101: it is a"),
                (("set", "--weight", "x", "a"), "--weight x: it is a number"),
                (("set", "--quota", "disks=1", "a"), "it is vms=N, cpus=N, memory"),
                (("set", "--quota", "vms=-1", "a"), "vms=-1: it is a number"),
                (("set", "--quota", "vms=1,", "a"), "it is vms=N, cpus=N, "),
                (("set", "--quota", "memory=x", "a"), "x"),
                (("set", "--user", "nobody-here", "a"),
                 "there is no user nobody-here on this host"),
                (("set", "--group", "4294967295", "a"), "there is no group"),
                (("set", "--user", "root:king", "a"), "king is no role"),
                (("create", "x" * 64), "too long for a name"),
                (("show", ".."), "is no name")):
            r, out, err = s.run("tenant", *args)
            same((r, out), (125, b""), args)
            has(err, want)
        same(s.fake.requests, [])


@case
def shown():
    def handler(rq, n):
        if rq.path == "/api/v1/tenants":
            return answer(200, [TEAM, team(name="z", status="suspended",
                                           role="viewer", members=[])])
        name = rq.path.rpartition("/")[2]
        return answer(200, team(
            name=name, status="broken" if name == "old" else "active"))
    with Setup(handler) as s:
        out = s.ok("tenant", "show", "team")
        for want in ("team: active; you: admin; weight 3\n", "vms         1         4",
                     "[#####               ]", "cpus        2         -",
                     "memory      512 MiB   2 GiB", "user root         admin",
                     "group 4294967294  viewer"):
            has(out, want)
        same(s.ok("tenant", "show").split(":")[0], "default")
        has(s.ok("tenant", "show", "old"),
            "old: broken, mews doctor says why; you: admin; weight 3\n")
        same(s.ok("--tenant", "b", "tenant", "show").split(":")[0], "b")
        lines = s.ok("tenant", "ls").splitlines()
        same([l.split()[:3] for l in lines[1:]],
             [["team", "active", "admin"], ["z", "suspended", "viewer"]])
        same([l.split()[-1] for l in lines], ["WEIGHT", "3", "3"])
        same(json.loads(s.ok("--json", "tenant", "show", "team"))["members"],
             TEAM["members"])
        same(len(json.loads(s.ok("--json", "tenant", "ls"))), 2)


@case
def shown_of_a_liar():
    """Nothing of it reaches the terminal as it is."""
    bad = team(name="a", quotas={"vms": 4, "cpus": 0, "memory_mb": 2 ** 40},
               used={"vms": 2147483647, "cpus": 0, "memory_mb": 2 ** 40})
    for raw in (b"[]", b"{}", b'{"name":"\x1b[2J"}', b"nonsense"):
        with Setup(lambda rq, n: answer(200, raw=raw)) as s:
            r, out, err = s.run("tenant", "show", "team")
            same((r, out), (125, b""), raw)
            assert "\x1b" not in err, err
    with Setup(lambda rq, n: answer(200, bad)) as s:
        has(s.ok("tenant", "show", "a"), "[####################]")


main()
