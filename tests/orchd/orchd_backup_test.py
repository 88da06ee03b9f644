#!/usr/bin/env python3
"""orchd alone: a backup of its store while that is used, and what is never in the way
of it or left by it.

usage: orchd_backup_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import os
import sqlite3
import struct
import threading
import time

from orchd_full_test import fill, small
from peers import *  # noqa: F403

OPENED, STDOUT, CLOSE = 0xfd, 1, 0xff
MIB = 1 << 20


def frames(data, cut=False):
    out, at = [], 0
    while at < len(data):
        left = len(data) - at
        ch, n = struct.unpack_from(">BI", data, at) if left >= 5 else (0, left)
        assert cut or left >= 5 + n, "a cut frame"
        out.append((ch, data[at + 5:at + 5 + n]))
        at += 5 + n
    return out


class Reader:
    """Takes a stream to its end, meanwhile."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.settimeout(DEADLINE)
        self.data = bytearray()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while b := self.sock.recv(65536):
            self.data += b

    def whole(self, any_=False):
        """The file; None when its end was not said, or any_ and nothing was."""
        self.thread.join(DEADLINE)
        f = frames(bytes(self.data), any_)
        if any_ and not f:
            return None
        eq(f[0], (OPENED, b"\0\x65"))
        rest = f[1:]
        if rest[-1:] != [(CLOSE, b"\1")]:
            return None
        assert all(ch == STDOUT for ch, _ in rest[:-1])
        return b"".join(d for _, d in rest[:-1])


def ask(l, c=None):
    l.root_is = c or l.client()
    return l.ask(l.root_is, API_STORE_BACKUP)


def backup(l):
    r = l.answer(ask(l))
    eq(r.status, 101)
    return Reader(r.fd)


def held(l):
    """Files without a name that it has open, and the folder's own."""
    fds = "/proc/%d/fd" % l.p.pid
    gone = []
    for f in os.listdir(fds):
        try:
            to = os.readlink(os.path.join(fds, f))
        except OSError:
            continue
        if "(deleted)" in to and "memfd" not in to:
            gone.append(to)
    return gone, sorted(n for n in os.listdir(l.store) if "backup" in n)


def opened(l, data, name="copy.db"):
    path = os.path.join(l.root, name)
    with open(path, "wb") as f:
        f.write(data)
    db = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
    eq(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
    eq(db.execute("PRAGMA foreign_key_check").fetchall(), [])
    eq(db.execute("PRAGMA journal_mode").fetchall()[0][0], "delete")
    return db


def grow(l, mib):
    """The store has so much more, of another's events; orchd not running."""
    l.kill()
    db = sqlite3.connect(l.store + "/store.db")
    db.execute("INSERT INTO tenant (id, name) VALUES (77, 'big')")
    db.executemany("INSERT INTO event (tenant, seq, at_ns, body) VALUES (77, ?, 0, ?)",
                   ((i, os.urandom(1500).hex()) for i in range(mib * 330)))
    db.commit()
    db.close()
    for n in os.listdir(l.store):
        os.chown(os.path.join(l.store, n), l.uid, l.uid)
    l.start()


def whole():
    """It has what was answered before it was asked for, is a store, and orchd starts
    on it."""
    with up() as l:
        c = l.client(l.user)
        eq(l.create(c, "a", env=["SECRET=x"]).status, 201)
        for who in l.user, l.stranger:
            eq(l.call(l.client(who), API_STORE_BACKUP).status, 403)
        data = backup(l).whole()
        db = opened(l, data)
        eq(db.execute("SELECT name FROM vm").fetchall(), [("a",)])
        assert db.execute("SELECT count(*) FROM event").fetchone()[0] >= 3
        l.settle()
        eq(held(l), ([], []))
        eq(l.create(c, "b").status, 201)
        eq(l.call(c, DELETE, "b").status, 204)
        l.kill()
        for n in os.listdir(l.store):
            os.unlink(os.path.join(l.store, n))
        with open(l.store + "/store.db", "wb") as f:
            f.write(data)
        os.chmod(l.store + "/store.db", 0o600)
        os.chown(l.store + "/store.db", l.uid, l.uid)
        l.start()
        l.await_state(l.client(l.user), "a", "running")
        eq(l.leaks(l.client(l.user)), [])
        data = backup(l).whole()
        eq(opened(l, data).execute("SELECT name FROM vm").fetchall(), [("a",)])


def meanwhile():
    """Of a large store, with changes all the while: they are answered as ever, and
    what it has is one moment's."""
    with up(max_vms=900, prefix=16) as l:
        grow(l, 16)
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)

        rid = ask(l)
        t = time.monotonic()
        took, reads = [], []
        n = 0
        d = [l.client(l.user) for _ in range(2)]
        while rid not in l.res:
            u = time.monotonic()
            eq(l.create(d[0], "t%d" % n).status, 201)
            took.append(time.monotonic() - u)
            u = time.monotonic()
            eq(l.get(c, "a").status, 200)
            reads.append(time.monotonic() - u)
            n += 1
            assert n < 800, "it never ends"
        r = l.res[rid]
        eq(r.status, 101)
        copied = time.monotonic() - t
        read = Reader(r.fd)
        data = read.whole()
        base = []
        for i in range(60):
            u = time.monotonic()
            eq(l.create(d[0], "u%d" % i).status, 201)
            base.append(time.monotonic() - u)
        took.sort(), base.sort(), reads.sort()
        print("note %d MiB copied in %.2f s beside %d creates and reads: creates %.1f ms "
              "(at most %.0f), without it %.1f (%.0f); reads %.1f (%.0f)" % (
                  len(data) // MIB, copied, n, *(f(x) * 1000 for x in (
                      took, base, reads) for f in (lambda v: v[len(v) // 2], max))))
        db = opened(l, data)
        names = {n for n, in db.execute("SELECT name FROM vm")}
        assert "a" in names and "u0" not in names, names
        # a VM is there with the event of its making, or neither is
        made = [b for b, in db.execute("SELECT body FROM event WHERE tenant = 1")
                if "VM_CREATED" in b]
        eq(len(made), len(names))


def one_reader():
    """One that takes nothing: others are told, and have theirs when it goes."""
    with up() as l:
        grow(l, 8)
        c = l.client(l.user)
        rid = ask(l)
        r = l.answer(rid)
        first = l.root_is
        eq(r.status, 101)
        again = l.answer(l.ask(l.client(), API_STORE_BACKUP))
        eq(again.status, 503)
        assert "another backup is under way" in again.error(), again
        eq(l.create(c, "a").status, 201)
        os.close(r.fd)
        del first
        l.until(lambda: held(l) == ([], []), "its end")
        assert backup(l).whole() is not None
        # its caller goes while it is made
        ask(l)
        l.root_is = None
        l.until(lambda: held(l) == ([], []), "its end")
        l.settle(0.3)
        assert backup(l).whole() is not None


def killed():
    """kill -9, and a clean end, with one under way: nothing is left, and what came is
    not whole."""
    for end in "kill", "stop":
        with up() as l:
            grow(l, 8)
            r = l.answer(ask(l))
            eq(r.status, 101)
            if end == "kill":
                l.kill()
            else:
                l.boot.send(BOOT_STOP)
                l.p.wait(DEADLINE)
            assert Reader(r.fd).whole(any_=True) is None
            eq([n for n in os.listdir(l.store) if "backup" in n], [])
            l.kill()
            l.start()
            ask(l)
            l.kill()
            # killed while it had its name, for a moment
            with open(l.store + "/store.db-backup", "wb"):
                pass
            os.chown(l.store + "/store.db-backup", l.uid, l.uid)
            l.start()
            eq([n for n in os.listdir(l.store) if "backup" in n], [])


def no_room():
    """507, and nothing is taken: before it begins, and when room goes meanwhile."""
    l = Peers()
    with small(l):
        l.start()
        c = l.client(l.user)
        eq(l.create(c, "a").status, 201)
        assert backup(l).whole() is not None
        fill(l)
        before = os.statvfs(l.store).f_bavail
        r = l.answer(ask(l))
        eq(r.status, 507)
        assert "as much room again" in r.error(), r
        eq(os.statvfs(l.store).f_bavail, before)
        eq(held(l), ([], []))
        eq(l.call(c, STOP, "a").status, 200)
        os.unlink(l.store + "/fill")
        assert backup(l).whole() is not None


if __name__ == "__main__":
    run(__file__, whole, meanwhile, one_reader, killed, no_room)
