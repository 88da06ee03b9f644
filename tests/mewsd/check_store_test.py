#!/usr/bin/env python3
"""mewsd --check-store: a store, or a backup of one, looked at by orchd's program as
orchd's user, whether a suite runs on it or not."""
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402


def eq(got, want):
    assert got == want, "%r, not %r" % (got, want)


def check(S, file=None, conf=None):
    arg = "--check-store" + ("=" + file if file else "")
    p = subprocess.run([suite.BUILD + "/mewsd", arg, "-f", conf or S.root + "/mews.conf",
                        "-r", S.root], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60)
    return p.returncode, p.stdout.splitlines(), p.stderr


def store(S):
    return S.root + "/lib/store/store.db"


def change(S, path, *sql):
    owner = os.stat(path)
    db = sqlite3.connect(path, isolation_level=None)
    for s in sql:
        db.execute(s)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for n in os.listdir(os.path.dirname(path)):
        if n.startswith("store.db"):
            os.chown(os.path.join(os.path.dirname(path), n), owner.st_uid,
                     owner.st_gid)


def good():
    """While a suite runs on it, and when none does; nothing is changed by it."""
    S = suite.Suite()
    S.start()
    try:
        r, out, err = check(S)
        eq((r, out[-1], err), (0, "good", ""))
        eq(out[0], "version 6: 1 tenants, 0 vms, 0 events, 0 keys, "
           "0 rows of the trail")
    finally:
        S.stop()
    with open(store(S), "rb") as f:
        before = f.read()
    eq(check(S)[0], 0)
    with open(store(S), "rb") as f:
        eq(f.read(), before)
    copy = S.root + "/copy.db"
    shutil.copy(store(S), copy)
    os.chmod(copy, 0o600)  # root's alone: orchd's user has its descriptor
    r, out, err = check(S, copy)
    eq((r, out[-1], err), (0, "good", ""))


def wrong():
    """What is wrong is named, the row with it; a file that is none as well."""
    S = suite.Suite()
    S.start()
    S.stop()
    db = store(S)
    keep = S.root + "/keep.db"
    shutil.copy(db, keep)
    rows = (
        (("INSERT INTO vm (uid, tenant, id, name, state, reason, exit_status, slot, "
          "ipv4, mac, detail, created_ns, updated_ns, request, request_v) VALUES "
          "(1000, 1, 1, 'web', 99, 0, 0, 0, 1, x'020000000001', '', 0, 0, "
          "'{\"name\":\"web\"}', 4)",),
         "vm uid 00000000000003e8 name web: state: 99 cannot be"),
        (("UPDATE tenant SET spec = '{\"nonsense\":1}' WHERE id = 1",),
         "tenant id 1 name default: "),
        (("UPDATE tenant SET name = 'other'",), "there is no tenant default"),
        (("PRAGMA foreign_keys = OFF",
          "INSERT INTO event (tenant, seq, at_ns, body) VALUES (9, 1, 0, '{}')"),
         "event: row ? is of no tenant"),
        (("INSERT INTO audit_head VALUES (1, 1, 2, zeroblob(32))",),
         "audit: row 2 of tenant 1 is missing"),
        (("INSERT INTO audit (tenant, n, at_ns, entry, entry_v, prev, hash) "
          "VALUES (1, 1, 0, '{}', 1, zeroblob(32), zeroblob(32))",),
         "audit seq 1 tenant 1 n 1: it is not what it was"),
        (("PRAGMA user_version = 99",), "it is of a later mews than this one"),
        (("PRAGMA user_version = 0",), "it is no store of mews"),
    )
    for sql, want in rows:
        shutil.copyfile(keep, db)
        change(S, db, *sql)
        for file in None, db:
            r, out, err = check(S, file)
            assert r == 1 and any(want in line for line in out), (want, r, out, err)
            assert out[-1].endswith("faults"), out
    # a page that is damaged; what prints on a terminal is safe
    shutil.copyfile(keep, db)
    with open(db, "r+b") as f:
        f.seek(4096)
        f.write(b"\x1b[31m" * 500)
    for file in None, db:
        eq(check(S, file)[0], 1)
    shutil.copyfile(keep, db)
    change(S, db, "UPDATE tenant SET name = 'a\x1b[31m'")
    for file in None, db:
        r, out, err = check(S, file)
        eq((r, out[0]), (1, "tenant id 1 name a?[31m: name: only letters, digits "
                         "and \"._-\""))
        assert "\x1b" not in "".join(out), out
    for name, data in (("empty", b""), ("text", b"x" * 10000)):
        path = S.root + "/" + name
        with open(path, "wb") as f:
            f.write(data)
        r, out, err = check(S, path)
        eq((r, out[-1]), (1, "1 faults"))
    os.mkfifo(S.root + "/fifo")
    eq(check(S, S.root + "/fifo")[0], 1)
    r, out, err = check(S, S.root + "/nowhere")
    assert r != 0 and "/nowhere: No such file" in err, err
    # many faults are few lines
    shutil.copyfile(keep, db)
    change(S, db, "PRAGMA foreign_keys = OFF",
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
           "i < 5000) INSERT INTO event (tenant, seq, at_ns, body) SELECT 9, i, 0, "
           "'x' FROM n")
    r, out, err = check(S)
    eq(r, 1)
    assert len(out) < 120 and out[-2].startswith("and "), out[-3:]
    os.unlink(db)
    r, out, err = check(S)
    eq((r, out[-1]), (1, "1 faults"))


def as_whom():
    """It is orchd's user who reads, without a capability, behind its filter."""
    S = suite.Suite()
    S.start()
    S.stop()
    db = sqlite3.connect(store(S), isolation_level=None)
    db.executemany("INSERT INTO event (tenant, seq, at_ns, body, body_v) VALUES "
                   "(1, ?, 0, '{}', 3)", ((i,) for i in range(200000)))
    db.close()
    seen = {}

    def look():
        while not seen.get("over"):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open("/proc/%s/comm" % pid) as f:
                        if f.read() != "mews-orchd\n":
                            continue
                    with open("/proc/%s/status" % pid) as f:
                        st = dict(line.split(":\t") for line in f if ":\t" in line)
                    if st["Seccomp_filters"].strip() != "1":
                        seen[pid] = (st["Uid"].split()[0], st["CapEff"].strip(),
                                     st["NoNewPrivs"].strip(),
                                     os.readlink("/proc/%s/root" % pid))
                except (OSError, KeyError):
                    pass
    t = threading.Thread(target=look)
    t.start()
    try:
        eq(check(S)[0], 1)
    finally:
        seen["over"] = True
        t.join()
    got = {v for k, v in seen.items() if k != "over"}
    want = (str(os.stat(store(S)).st_uid), "0" * 16, "1", S.root + "/lib/store")
    assert want in got and all(v[0] == want[0] for v in got), (want, seen)


if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run({"good": good, "wrong": wrong, "as-whom": as_whom}))
