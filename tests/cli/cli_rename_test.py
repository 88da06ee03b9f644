#!/usr/bin/env python3
"""The CLI against a stand-in for the API: rename."""
import json

from program import *  # noqa: F403


@case
def rename():
    def handler(rq, n):
        if rq.path != "/api/v1/vms/web/rename":
            return answer(404, {"error": "vm not found"})
        if rq.body == b'{"name":"taken"}':
            return answer(409, {"error": "vm already exists: taken"})
        if rq.body == b'{"name":"a b"}':
            return answer(400, {"error": "name: only letters"})
        return answer(200, vm(json.loads(rq.body)["name"]))
    with Setup(handler) as s:
        same(s.ok("rename", "web", "db"), "db\n")
        rq = s.fake.requests[-1]
        same((rq.line, rq.body), ("POST /api/v1/vms/web/rename", b'{"name":"db"}'))
        same(len(rq.key or ""), 32, "its Idempotency-Key")
        same(json.loads(s.ok("--json", "rename", "web", "db")),
             {"name": "db", "ok": True})
        for args, want in (
                (("web", "taken"), "vm already exists: taken"),
                (("web", "a b"), "name: only letters"),
                (("nope", "db"), "no such VM: nope (see `mews ps -a`)"),
                (("web", "x" * 64), "is too long for a name"),
                (("..", "db"), "is no name of a VM"),
                (("web",), "which VM, and what is it to be called?"),
                (("web", "a", "b"), "which VM, and what is it to be called?"),
                (("-f", "web", "a"), "there is no option -f")):
            r, out, err = s.run("rename", *args)
            same((r, out), (125, b""), args)
            has(err, want)


@case
def rename_again():
    """One that breaks is asked again, under the same key."""
    def handler(rq, n):
        return b"" if n == 1 else answer(200, vm("db"))
    with Setup(handler) as s:
        same(s.ok("rename", "web", "db"), "db\n")
        a, b = s.fake.requests
        same((a.key, a.body), (b.key, b.body))


main()
