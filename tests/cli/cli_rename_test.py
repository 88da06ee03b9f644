#!/usr/bin/env python3
"""The CLI against a stand-in for the API: rename, and what came since."""
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


@case
def logs_since():
    with Setup(lambda rq, n: answer(200, raw=b"said\n")) as s:
        for args, query in (
                (("--console", "--since", "10m"), "console-log?since=10m"),
                (("--vmm", "--since=1h30m"), "vmm-log?since=1h30m"),
                (("--vmm",), "vmm-log"),
                (("--console", "-f", "--since", "2d"),
                 "console-log?follow=1&since=2d"),
                (("--console", "--since", "2023-11-14T23:13:20+01:00"),
                 "console-log?since=2023-11-14T23%3A13%3A20%2B01%3A00")):
            same(s.ok("logs", *args, "web"), "said\n")
            same(s.fake.requests[-1].line, "GET /api/v1/vms/web/" + query)
        sent = len(s.fake.requests)
        for args, want in (
                (("--console", "--since", "yesterday"),
                 "--since yesterday: it is how long ago (90s, 10m, 1h30m, 2d) "
                 "or a time (2026-11-29T07:30:00Z"),
                (("--console", "--since", "2261-01-01T00:00:00Z"),
                 "that is still to come"),
                (("--console", "--since", "1" * 70 + "m"), "too long"),
                (("--console", "--since"), "--since needs a value"),
                (("--console", "--vmm"), "one log at a time"),
                ((), "which log? --console is the guest's console, --vmm the")):
            r, out, err = s.run("logs", *args, *(["web"] if args[-1:] != (
                "--since",) else []))
            same((r, out), (125, b""), args)
            has(err, want)
        same(len(s.fake.requests), sent)


@case
def logs_since_of_an_older_suite():
    with Setup(lambda rq, n: answer(409, {"error": "an earlier suite"})) as s:
        r, out, err = s.run("logs", "--console", "--since", "1m", "web")
        same((r, out), (125, b""))
        has(err, "an earlier suite")


main()
