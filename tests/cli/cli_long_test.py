#!/usr/bin/env python3
"""The CLI against a stand-in for the API: what is long, as short as JSON can
say it."""
import json

from program import *  # noqa: F403

WORD = "<&>\u2028" * 10000


def compact(o):
    return json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode()


@case
def exec_by_websocket():
    got = []

    def handler(rq, n):
        if not rq.path.endswith("/exec"):
            return answer(200, vm("web"))
        ws = upgrade(rq, EXEC)
        got.append(ws.recv()[1])
        ws.status(0)
        ws.close()
        return None
    with Setup(handler) as s:
        s.ok("exec", "-e", "A=" + WORD, "web", "echo", WORD)
        same(got[0] == compact({"cmd": ["echo", WORD], "env": ["A=" + WORD]}), True,
             got[0][:100])


@case
def exec_by_post():
    def handler(rq, n):
        return answer(201, {"pid": 7}) if rq.method == "POST" else answer(
            200, vm("web"))
    with Setup(handler) as s:
        same(s.ok("exec", "-d", "-e", "A=" + WORD, "web", "echo", WORD), "7\n")
        rq = s.fake.requests[-1]
        same(rq.body == compact({"cmd": ["echo", WORD], "env": ["A=" + WORD]}), True,
             rq.body[:100])


@case
def run():
    with Setup(Vms()) as s:
        s.ok("run", "-d", "--name", "web", "-e", "A=" + WORD[:30000], "busybox")
        body = s.fake.requests[0].body
        same(b"\\u" in body, False, body[:100])
        same(json.loads(body)["env"], ["A=" + WORD[:30000]])


main()
