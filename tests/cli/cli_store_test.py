#!/usr/bin/env python3
"""The CLI against a stand-in for the API: a backup of the store, and the file it
becomes, or does not."""
import json
import os
import sqlite3
import stat

from program import *  # noqa: F403


def a_store(rows=50):
    path = os.path.join(DIR, "made.db")
    if os.path.exists(path):
        os.unlink(path)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (x)")
    db.executemany("INSERT INTO t VALUES (?)", (("x" * 1000,) for _ in range(rows)))
    db.execute("PRAGMA user_version = 5")
    db.commit()
    db.close()
    with open(path, "rb") as f:
        return f.read()


STORE = a_store()


def left(path):
    return sorted(n for n in os.listdir(os.path.dirname(path))
                  if n.startswith(os.path.basename(path)))


def target(name):
    d = os.path.join(DIR, name)
    os.mkdir(d)
    return os.path.join(d, "b.db")


@case
def whole():
    with Setup(lambda rq, n: answer(200, raw=STORE)) as s:
        path = target("whole")
        same(s.ok("store", "backup", path),
             "%s: %d bytes, store version 5\n" % (path, len(STORE)))
        same(s.fake.lines(), ["GET /api/v1/store/backup"])
        same(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, "rb") as f:
            same(f.read(), STORE)
        same(left(path), ["b.db"])
        # what is there stays, unless it is said
        r, _, err = s.run("store", "backup", path)
        same(r, 125)
        has(err, "is there already: --force overwrites it")
        same(len(s.fake.requests), 1)
        os.chmod(path, 0o644)
        same(json.loads(s.ok("--json", "store", "backup", "--force", path)),
             {"file": path, "bytes": len(STORE), "version": 5})
        same(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        same(left(path), ["b.db"])


@case
def not_whole():
    """What breaks off, what is no store, what is refused: no file is left."""
    cases = ((answer(200, raw=STORE)[:-100], "the connection broke"),
             (answer(200, raw=STORE[:-4096]), "is not whole"),
             (answer(200, raw=STORE + b"x"), "is not whole"),
             (answer(200, raw=b"x" * 5000), "is no store"),
             (answer(200, raw=b""), "is no store"),
             (answer(507, {"error": "as much room"}), "as much room"),
             (answer(403, {"error": "this is for host admins"}), "host admins"))
    for i, (said, want) in enumerate(cases):
        def handler(rq, n, said=said):
            rq.conn.sendall(said)  # and closes
        with Setup(handler) as s:
            path = target("cut%d" % i)
            r, out, err = s.run("store", "backup", path)
            same((r, out), (125, b""), want)
            has(err, want)
            same(left(path), [])
    with Setup(lambda rq, n: cases[1][0]) as s:
        path = target("kept")
        with open(path, "wb") as f:
            f.write(b"old")
        same(s.run("store", "backup", "-f", path)[0], 125)
        with open(path, "rb") as f:
            same(f.read(), b"old")
        same(left(path), ["b.db"])


@case
def other_ends():
    with Setup(lambda rq, n: answer(200, raw=STORE)) as s:
        path = target("other")
        with open(path + ".part", "wb"):
            pass
        r, _, err = s.run("store", "backup", path)
        same(r, 125)
        has(err, "another backup is under way, or was cut off")
        os.unlink(path + ".part")
        os.symlink("/dev/null", path + ".part")
        same(s.run("store", "backup", path)[0], 125)
        os.unlink(path + ".part")
        os.symlink("b2.db", path)
        same(s.run("store", "backup", path)[0], 125)
        same(len(s.fake.requests), 0)
        r, _, err = s.run("store", "backup", "/nowhere/at/all")
        same(r, 125)
        has(err, "/nowhere/at/all: cannot be made")
        for args in ((), ("restore", "x"), ("backup",), ("backup", "a", "b")):
            same(s.run("store", *args)[0], 125)
        # a disk that is full: /dev/full takes nothing
        same(len(s.fake.requests), 0)


main()
