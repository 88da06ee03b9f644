#!/usr/bin/env python3
"""The CLI against a stand-in for the API: lists in parts, formats, filters."""
import json
import urllib.parse

from program import *  # noqa: F403

MANY = 600


def pages(vms, change=None):
    """A server that knows limit and offset; change(n) before the n-th."""
    def handler(rq, n):
        if change is not None:
            change(n)
        q = urllib.parse.parse_qs(urllib.parse.urlsplit(rq.path).query)
        first, limit = int(q["offset"][0]), int(q["limit"][0])
        return answer(200, vms[first:first + limit],
                      [("X-Total-Count", str(len(vms)))])
    return handler


def many(n):
    return [vm("v%d" % i, uid="%016x" % (i + 1)) for i in range(n)]


@case
def long_list():
    """In parts that an answer can hold, each VM once, in its order."""
    for n in (0, 1, 249, 250, 251, 499, 500, MANY):
        vms = many(n)
        with Setup(pages(vms)) as s:
            same(s.ok("ps", "-aq").split(), [v["uid"] for v in vms], n)
            for line in s.fake.lines():
                has(line, "limit=250")
            if n == MANY:
                same(len(s.fake.requests), 3)


@case
def list_that_changes():
    """One that goes while the list is read hides no other."""
    vms = many(MANY)
    with Setup(pages(vms, lambda n: n == 2 and vms.pop(0))) as s:
        same(s.ok("ps", "-aq").split(), [v["uid"] for v in vms])
    vms = many(MANY)
    with Setup(pages(vms, lambda n: n > 1 and vms.pop(0))) as s:
        r, out, err = s.run("ps", "-aq")
        same((r, out), (125, b""))
        has(err, "changed 8 times while it was read")


@case
def list_without_parts():
    """A server that sends all at once is not asked again and again."""
    vms = many(300)
    with Setup(lambda rq, n: answer(200, vms)) as s:
        same(len(s.ok("ps", "-aq").split()), 300)
        same(len(s.fake.requests), 1)


SOME = [vm("a1", uid="%016x" % 1, ip_address="10.0.0.1"),
        vm("a2", "crashed", False, uid="%016x" % 2, reason="panic"),
        vm("b1", "stopped", False, uid="%016x" % 3, exit_status=3),
        vm("b2", uid="%016x" % 4, accel="kvm", pid=42)]


@case
def formats():
    with Setup(lambda rq, n: answer(200, SOME)) as s:
        same(s.ok("ps", "--format", "{name}\\t{ip}"),
             "a1\t10.0.0.1\nb2\t10.0.0.2\n")
        same(s.ok("ps", "-a", "--format", "{name} {state}|{exit}|{pid}"),
             "a1 running||\na2 crashed (panic)||\nb1 stopped|3|\n"
             "b2 running||42\n")
        same(s.ok("ps", "-n", "1", "--format", "{{x}} \\\\ \\n{uid} {short}"),
             "{x}} \\ \n0000000000000004 000000000000\n")
        n = len(s.fake.requests)
        for text, want in (
                ("{nmae}", "there is no column nmae (did you mean name?): "
                 "there are name uid "),
                ("{name", "a { without its }"), ("a\\q", "after a backslash"),
                ("{}", "there is no column :")):
            r, out, err = s.run("ps", "--format", text)
            same((r, out), (125, b""), text)
            has(err, want)
        same(s.run("ps", "-q", "--format", "{name}")[0], 125)
        same(len(s.fake.requests), n, "checked before anything is asked")
    evil = [vm("web", reason="a\u009b31mb")]
    with Setup(lambda rq, n: answer(200, evil)) as s:
        same(s.ok("ps", "--format", "{reason}"), "a\\u009b31mb\n")


@case
def filters():
    with Setup(lambda rq, n: answer(200, SOME)) as s:
        for args, want in (
                (["--filter", "name=a*"], ["a1"]),
                (["-a", "--filter", "name=a*"], ["a1", "a2"]),
                (["--filter", "status=crashed"], ["a2"]),
                (["--filter", "status=crashed", "--filter",
                  "status=stopped"], ["a2", "b1"]),
                (["--filter", "status=crashed", "--filter", "name=b?"], []),
                (["-a", "--filter", "exit=3"], ["b1"]),
                (["--filter", "accel=kvm"], ["b2"]),
                (["-n", "2"], ["b1", "b2"]), (["-n", "0"], []),
                (["-n", "9"], ["a1", "a2", "b1", "b2"]),
                (["-n", "1", "--filter", "name=a*"], ["a2"])):
            got = s.ok("ps", "--format", "{name}", *args).split()
            same(got, want, args)
        same([o["name"] for o in json.loads(s.ok(
            "--json", "ps", "--filter", "status=stopped"))], ["b1"])
        for args, want in ((["--filter", "name"], "is no COLUMN=PATTERN"),
                           (["--filter", "stauts=x"], "did you mean status?"),
                           (["-n", "x"], "-n x: it is a number")):
            r, _, err = s.run("ps", *args)
            same(r, 125)
            has(err, want)


@case
def uptime():
    old = vm("a", updated_at="2020-01-01T00:00:00Z")
    down = vm("b", "stopped", False, updated_at="2020-01-01T00:00:00Z")
    with Setup(lambda rq, n: answer(200, [old, down])) as s:
        lines = s.ok("ps", "-a", "--format", "{name}={up}").splitlines()
        has(lines[0], " days")
        same(lines[1], "b=")


main()
