#!/usr/bin/env python3
"""orchd alone, on a disk without a byte left: what is new is refused, what ends
something is done, and it starts.

usage: orchd_full_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
       FULL_FS=ext4: on a loop device, where the machine has one
"""
import contextlib
import os
import signal

from peers import *  # noqa: F403

SIZE = 24 << 20
LOOP = os.environ.get("FULL_FS")


@contextlib.contextmanager
def small(l):
    own = "mode=700,uid=%d,gid=%d" % (l.uid, l.uid)
    if LOOP:
        image = l.root + "/disk"
        with open(image, "wb") as f:
            f.truncate(SIZE)
        suite.sh("mkfs." + LOOP, "-q", *(("-m", "0") if LOOP == "ext4" else ()),
                 image)
        suite.sh("mount", "-o", "loop", image, l.store)
        os.chown(l.store, l.uid, l.uid)
    else:
        suite.sh("mount", "-t", "tmpfs", "-o", "size=%d,%s" % (SIZE, own),
                 "store", l.store)
    try:
        with l:
            yield l
    finally:
        suite.sh("umount", "-l", l.store)


def fill(l):
    """To the last byte: all that is free now."""
    with open(l.store + "/fill", "ab", buffering=0) as f:
        size = 65536
        while size:
            try:
                f.write(b"x" * size)
            except OSError:
                size //= 2
        with contextlib.suppress(OSError):
            os.fsync(f.fileno())
    s = os.statvfs(l.store)
    assert s.f_bavail * s.f_frsize < 8192, s


def health(l, c):
    got, = [(ok, text) for n, ok, text in
            doc_list(l.call(c, DOCTOR).tail, check_view) if n == "store"]
    return got


def reserve(l):
    st = os.stat(l.store + "/store.db-reserve")
    assert st.st_blocks * 512 >= st.st_size, st
    return st.st_size


def refused(l, c, name):
    """Creates are, with words; and until one is, what is left may serve them."""
    for i in range(2000):
        r = l.create(c, "%s%d" % (name, i), env=["E=" + "x" * 30000])
        if r.status != 201:
            break
    eq(r.status, 507)
    assert "the store is full" in r.error(), r
    eq(l.get(c, "%s%d" % (name, i)).status, 404)
    return i


def ends_work():
    """Stop, delete and a start of its own, with kill -9 and after a clean end,
    after which all that is free is taken again."""
    for how in (signal.SIGKILL, signal.SIGTERM):
        l = Peers()
        with small(l):
            l.start()
            c = l.client(l.user)
            for n in "abcdef":
                eq(l.create(c, n).status, 201)
            eq(health(l, c)[0], True)
            whole = reserve(l)
            assert whole >= 1 << 20, whole
            fill(l)
            refused(l, c, "n")
            eq(l.call(c, STOP, "a").status, 200)
            eq(l.call(c, DELETE, "a").status, 204)
            eq(l.call(c, DELETE, "b").status, 204)
            eq(health(l, c)[0], False)
            for n in "cd":
                os.kill(l.p.pid, how)
                l.reap()
                fill(l)
                l.start()
                c = l.client(l.user)
                eq(l.state(c, n), "running")
                eq(l.create(c, "new").status, 507)
                eq(l.call(c, STOP, n).status, 200)
                eq(l.call(c, DELETE, n).status, 204)
            eq(l.leaks(c), [])
            os.unlink(l.store + "/fill")
            eq(l.create(c, "new").status, 201)
            eq(reserve(l), whole)
            eq(health(l, c)[0], True)
            l.restart()
            c = l.client(l.user)
            eq(l.state(c, "e"), "running")
            eq(l.leaks(c), [])


def many(hungry):
    l = Peers(max_vms=100)
    with small(l):
        l.start()
        c = l.client(l.user)
        for i in range(30):
            eq(l.create(c, "v%d" % i).status, 201)
        fill(l)
        refused(l, c, "n")
        for i in range(30):
            for verb, ok in ((STOP, 200), (DELETE, 204)):
                if hungry:
                    fill(l)
                eq(l.call(c, verb, "v%d" % i, key="%d-%d" % (verb, i)).status, ok)
        if hungry:
            fill(l)
        l.restart()
        c = l.client(l.user)
        eq(l.leaks(c), [])
        eq([v for v in l.vms(c) if v["name"][0] == "v"], [])


def many_ends():
    """As many as there are, on one reserve."""
    many(False)


def hungry():
    """And where another takes whatever is given back."""
    many(True)


def spend(l, ask):
    """Again and again, until it is refused; how often it was not."""
    for i in range(3000):
        r = ask(l.client(l.user), "%0100d" % i)
        if r.status == 507:
            assert "the store is full" in r.error(), r
            return i
        eq(r.status, 200)
    raise AssertionError("no end")


def others():
    """What one asks for that ends nothing does not use up what others' ends
    need: keys of what is so already, starts, tenants that stay as they are."""
    def again(l, verb, name):
        return lambda c, key: l.call(c, verb, name, key=key)

    def changed(l):
        doc = tables.pack("TenantChange", members=[
            {"kind": "user", "id": 9, "role": "none"}])
        return lambda c, key: l.call(l.client(), API_TENANT_CHANGE, "default",
                                     key=key, doc=doc)

    def up_and_down(l):
        def ask(c, key):
            r = l.call(c, START, "off")
            return l.call(c, STOP, "off") if r.status == 200 else r
        return ask
    for way in (lambda l: again(l, START, "on"), lambda l: again(l, STOP, "off"),
                changed, up_and_down):
        l = Peers()
        with small(l):
            l.start()
            c = l.client(l.user)
            for n in ("on", "off", "a", "b"):
                eq(l.create(c, n).status, 201)
            eq(l.call(c, STOP, "off").status, 200)
            fill(l)
            n = spend(l, way(l))
            left = reserve(l)
            print("%d times, %d KiB left" % (n, left >> 10))
            assert left >= 1 << 20, left
            fill(l)
            eq(l.call(l.client(), STOP, "a", key="k").status, 200)
            eq(l.call(l.client(), DELETE, "b", key="l").status, 204)
            eq(l.call(c, STOP, "on", key="m").status, 200)
            eq(l.call(c, DELETE, "off").status, 204)
            os.unlink(l.store + "/fill")  # and at once with room again
            eq(l.call(c, STOP, "a", key="n").status, 200)
            eq(l.call(c, START, "a", key="o").status, 200)
            eq(l.call(c, START, "a", key="p").status, 200)


if __name__ == "__main__":
    run(__file__, ends_work, many_ends, hungry, others)
