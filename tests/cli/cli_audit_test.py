#!/usr/bin/env python3
"""The CLI against a stand-in for the API: the audit trail, and whether it is
whole."""

from program import *  # noqa: F403


def digest(n):
    return "%064x" % n


def row(n, number=1, intact=True, **entry):
    e = {"tenant": "default", "user": 0, "pid": 7, "role": "host admin",
         "credential": "unix", "action": "vm-create", "object": "web",
         "result": "allowed"}
    e.update(entry)
    return {"cursor": n, "number": number, "n": n,
            "at": "2026-01-01T00:00:00Z", "intact": intact,
            "prev": digest(n - 1 if n > 1 else 0), "hash": digest(n),
            "entry": e}


def head(last, number=1, first=1):
    return {"number": number, "tenant": "default", "first": first,
            "last": last, "hash": digest(last)}


def page(*rows, next=None, heads=()):
    p = {"rows": list(rows)}
    if next:
        p["next"] = next
    if heads:
        p["heads"] = list(heads)
    return p


@case
def shown():
    with Setup(lambda rq, n: answer(200, page(
            row(1), row(2, user=4294967294, role="viewer", result="refused",
                        room="orchd", status=403, detail="no"),
            row(3, intact=False, result="failed", room="netd")))) as s:
        r, out, err = s.run("audit", "--since", "1h")
        same(r, 0, err)
        text = out.decode()
        for want in ("TIME", "root as host admin", "vm-create", "web",
                     "4294967294 as viewer", "REFUSED", "orchd: no",
                     "FAILED", "NOT INTACT: netd"):
            has(text, want)
        same(s.fake.lines()[-1], "GET /api/v1/audit?after=0&since=1h")
        out = s.ok("--json", "audit")
        has(out, '"object": "web"')
        for args, want in ((("--since", "soon"), "--since soon"),
                           (("web",), "audit takes no names"),
                           (("--verify", "--since", "1h"), "not with --since"),
                           (("--head", "1:2"), "TENANT:ROW:HASH"),
                           (("--head", "1:0:" + digest(1)), "TENANT:ROW:HASH"),
                           (("--head", "1:1:" + "g" * 64), "TENANT:ROW:HASH")):
            r, out, err = s.run("audit", *args)
            same((r, out), (125, b""), args)
            has(err, want)


@case
def in_pages():
    pages = [page(row(1), row(2), next=2), page(next=9),
             page(row(10), heads=[head(10)])]
    with Setup(lambda rq, n: answer(200, pages[(n - 1) % 3])) as s:
        out = s.ok("audit")
        same(out.count("vm-create"), 3)
        same(s.fake.lines(), ["GET /api/v1/audit?after=%d" % n
                              for n in (0, 2, 9)])
    with Setup(lambda rq, n: answer(200, page(row(1), next=1))) as s:
        r, _, err = s.run("audit")
        same(r, 125)
        has(err, "round in circles")


@case
def whole():
    for pages, rc, want in (
            ([page(row(1), row(2), heads=[head(2)])], 0,
             "2 rows: each is what it was, none is missing"),
            ([page()], 0, "0 rows"),
            ([page(row(3), next=3), page(row(4), heads=[head(4, first=3)])], 0,
             "rows 3 to 4, hash " + digest(4)),
            ([page(row(1), row(2, intact=False), heads=[head(2)])], 1,
             "tenant 1: row 2 is not what it was"),
            ([page(row(1), row(3), heads=[head(3)])], 1,
             "tenant 1: rows are missing before 3"),
            ([page(row(1), heads=[head(2)])], 1, "rows up to 2 are missing"),
            ([page(row(2), heads=[head(2)])], 1,
             "rows from 1 on are missing"),
            ([page(heads=[head(2)])], 1, "rows from 1 on are missing"),
            ([page(row(1), row(2))], 1, "its head is missing"),
            ([page(row(1), heads=[dict(head(1), hash=digest(7))])], 1,
             "row 1 is not the one that was written last")):
        with Setup(lambda rq, n, pages=pages:
                   answer(200, pages[min(n, len(pages)) - 1])) as s:
            r, out, err = s.run("audit", "--verify")
            same(r, rc, want)
            has(out.decode(), want)
            if rc:
                has(err, "the trail is not whole")


@case
def held_against():
    """What the system journal has of it."""
    rows = page(row(1), row(2), heads=[head(2)])
    with Setup(lambda rq, n: answer(200, rows)) as s:
        for what, rc, want in (("1:1:" + digest(1), 0, "none is missing"),
                               ("1:1:" + digest(9), 1, "another hash"),
                               ("1:3:" + digest(3), 1, "is not there"),
                               ("2:1:" + digest(1), 1, "is not there")):
            r, out, _ = s.run("audit", "--head", what)
            same(r, rc, what)
            has(out.decode(), want)


@case
def refused():
    with Setup(lambda rq, n: answer(403, {"error": "you are viewer"})) as s:
        r, out, err = s.run("audit")
        same((r, out), (125, b""))
        has(err, "not allowed: you are viewer")
    with Setup(lambda rq, n: answer(200, {"rows": 7})) as s:
        r, _, err = s.run("audit", "--verify")
        same(r, 125)
        has(err, "makes no sense")


main()
