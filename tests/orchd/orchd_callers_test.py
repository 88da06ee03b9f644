#!/usr/bin/env python3
"""orchd alone: who calls, and what callers and apids may not.

usage: orchd_callers_test.py [CASE...]   MEWS_PROGRAM: another mews-orchd, no controls
"""
import contextlib
import os
import random
import select
import socket

from peers import *  # noqa: F403


VERBS = (LIST, GET, CREATE, DELETE, START, STOP, API_VM_RENAME, STREAM, EVENTS,
         DOCTOR)


# -- who calls (I1) ----------------------------------------------------------

def identity():
    with up() as l:
        for uid, room in ((0, ROOM_ADMIN), (l.admin, ROOM_ADMIN),
                          (l.user, ROOM_API), (l.stranger, ROOM_API),
                          (l.uid, ROOM_API)):
            eq(l.client(uid).room, room)
        for uid in (0, l.admin, l.user):
            eq(l.call(l.client(uid), LIST, doc=vm_query()).status, 200)


def stranger():
    """403 on every verb, and nothing of it happens."""
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before = len(l.launch.log), len(l.net.log)
        for verb in VERBS:
            c = l.client(l.stranger)
            rid = l.ask(c, verb, "a", doc={CREATE: vm_create("x"),
                                           LIST: vm_query(),
                                           API_VM_RENAME: tables.pack(
                                               "VMRename", name="y"),
                                           }.get(verb, b""),
                        kind=2 if verb == STREAM else 0)
            eq(l.answer(rid, 3).status, 403)
        eq((len(l.launch.log), len(l.net.log)), before)
        eq([v["name"] for v in l.vms(root)], ["a"])


def connections():
    with up() as l:
        seen = set()
        for i in range(50):
            c = l.client(l.user)
            assert c.id not in seen
            seen.add(c.id)
            if i % 2:
                c.sock.close()
                l.until(lambda: c.id in l.gone, "API_GONE")
            else:
                l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=c.id)))
                l.until(c.hung_up, "hang-up")
            # its identity ended: nobody answers in its name
            rid = l.ask(c, GET, "a")
            l.settle()
            assert rid not in l.res
        l.restart()
        assert l.client(l.user).id not in seen


def half_closed():
    """SHUT_WR alone: the caller still wants its answer."""
    with up() as l:
        c = l.client(l.user)
        c.sock.shutdown(socket.SHUT_WR)
        l.settle(0.1)
        assert c.id not in l.gone
        eq(l.create(c, "a").status, 201)


def apid_dies():
    with up() as l:
        a, b = l.client(l.user), l.client(0)
        l.api[ROOM_API].close()
        l.until(a.hung_up, "hang-up")
        assert not b.hung_up()
        eq(l.create(b, "a").status, 201)
        late = l.connect(l.user)  # waits in the backlog till there are both
        l.settle(0.1)
        del l.api[ROOM_API]
        l.plumb(ROOM_API)
        l.until(lambda: any(r == ROOM_API and i != a.id
                            for i, (r, _) in l.conns.items()), "API_CONN")
        late.close()
        # a second one in the place of the first, which is still there
        c = l.client(l.user)
        l.plumb(ROOM_API)
        l.until(c.hung_up, "hang-up")


def busy(s):
    s.settimeout(DEADLINE)
    got = b""
    while True:
        data = s.recv(4096)
        if not data:
            break
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 "), got
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n", got
    assert body.startswith(b'{"error":"') and body.endswith(b'"}'), got


def connection_cap():
    with up(max_conns=20) as l:  # what is kept for others: 2, 4, 1
        cs = [l.client(0) for _ in range(13)]
        s = l.connect(0)
        with contextlib.suppress(BrokenPipeError):
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        eq(l.create(cs[0], "a").status, 201)
        cs[1].sock.close()
        l.until(lambda: cs[1].id in l.gone, "API_GONE")
        eq(l.get(l.client(0), "a").status, 200)


def refused_late_writer():
    """Who is one too many and writes its request after the answer is there
    still gets to read it; and such callers cost a bounded number of
    descriptors, for a moment (I10)."""
    with up(max_conns=12) as l:
        cs = [l.client(0) for _ in range(8)]
        l.settle()  # what was on its way to apid is there
        fds = lambda: len(os.listdir("/proc/%d/fd" % l.p.pid))
        before = fds()
        s = l.connect(0)
        l.settle()
        eq(select.select([s], [], [], DEADLINE)[0], [s])
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        late = [l.connect(0) for _ in range(60)]
        for s in late:
            busy(s)
        assert before < fds() <= before + 16, (before, fds())
        l.until(lambda: fds() <= before, "end of the refused")
        eq(l.create(cs[0], "a").status, 201)


def connection_share():
    """One user cannot use up what all callers share; root is not held."""
    with up(max_conns=20) as l:
        cs = [l.client(l.user) for _ in range(16)]
        s = l.connect(l.user)
        with contextlib.suppress(BrokenPipeError):
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        busy(s)
        eq(l.create(l.client(0), "a").status, 201)
        eq(l.call(l.client(l.user + 1), LIST, doc=vm_query()).status, 403)
        cs[0].sock.close()
        l.until(lambda: cs[0].id in l.gone, "API_GONE")
        eq(l.get(l.client(l.user), "a").status, 200)


def descriptors_exhausted():
    """The limit reached below the cap: 503, and all else goes on."""
    with up(nofile=64, max_conns=500) as l:
        socks = [l.connect(0) for _ in range(70)]
        l.settle(0.2)
        assert 20 < len(l.conns) < 64, len(l.conns)
        hung = []
        for s in socks:
            with contextlib.suppress(BlockingIOError):
                if s.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK):
                    hung.append(s)
        eq(len(hung) + len(l.conns), 70)
        for s in hung:
            busy(s)
        ident, (room, peer) = next(iter(l.conns.items()))
        c = Client(None, ident, room, peer)
        eq(l.call(c, LIST, doc=vm_query()).status, 200)
        for s in socks:
            s.close()
        l.settle(0.2)
        eq(l.create(l.client(l.user), "a").status, 201)


# -- hostile apids (I1, I10) ---------------------------------------------------

def other_apids_connection():
    """An apid that names a connection it was not given."""
    with up() as l:
        victim = l.client(0)
        l.client(l.user)
        for send in (
                lambda ch: l.ask(victim, CREATE, doc=vm_create("x"),
                                 room=ROOM_API),
                lambda ch: ch.send(CLOSED, bytes(api_conn(conn=victim.id)))):
            refused(l, ROOM_API, send)
            assert not victim.hung_up()
        eq(l.vms(victim), [])


def hostile_apid():
    with up() as l:
        root = l.client()
        eq(l.create(root, "a").status, 201)
        before = l.vms(root)
        user = lambda: l.client(l.user)
        head = lambda c, **kw: bytes(api_req(conn=c.id, **kw))

        def two(ch):
            c = user()
            waiting = held_up(l, l.launch, LAUNCH_START)
            l.ask(c, CREATE, doc=vm_create("b"))
            l.until(lambda: waiting, "START")
            try:
                l.ask(c, GET, "b")
                l.until(lambda: ch.closed, "refusal", 3)
            finally:
                let_go(l.launch, waiting)
        two.__name__ = "two requests on one connection"
        bad = [
            lambda ch, c: ch.send(GET, head(c), 0),
            lambda ch, c: ch.send(GET, head(c)[:-1], 9),
            lambda ch, c: ch.send(GET, head(c) + b"x", 9),
            lambda ch, c: ch.send(GET, b"", 9),
            lambda ch, c: ch.send(GET, head(c, kind=STREAM_VMM_LOG + 1), 9),
            lambda ch, c: ch.send(GET, head(c, since_ns=-1), 9),
            lambda ch, c: ch.send(GET, head(c, flags=2), 9),
            lambda ch, c: ch.send(GET, head(c, var=[b"x" * 64]), 9),
            lambda ch, c: ch.send(GET, head(c, key=b"x" * 128), 9),
            lambda ch, c: ch.send(GET, bytes(len(head(c))), 9),
            lambda ch, c: ch.send(GET, head(c), 9, [0]),
            lambda ch, c: ch.send(GET, head(c), 9, [0, 0]),
            lambda ch, c: ch.send(GET, head(c), 9, lie=1),
            lambda ch, c: ch.send(CREATE, head(c) + bytes(8193), 9),
            lambda ch, c: ch.send(CREATE, head(c), 9, [0]),
            lambda ch, c: ch.send(CREATE, head(c), 9, [memfd(b"x" * 99, 0)]),
            lambda ch, c: ch.send(CREATE, head(c), 9, [memfd(b"x" * 99, 8)]),
            lambda ch, c: ch.send(CREATE, head(c) + vm_create("z"), 9,
                                  [memfd(vm_create("y"))]),
            lambda ch, c: ch.send(CLOSED, bytes(8)),
            lambda ch, c: ch.send(CLOSED, bytes(api_conn(conn=c.id)) + bytes(8)),
            lambda ch, c: ch.send(API_CONN, bytes(api_conn(conn=c.id))),
            lambda ch, c: ch.send(API_RES, bytes(40)),
            lambda ch, c: ch.send(LAUNCH_RELEASE, bytes(8)),
            lambda ch, c: ch.send(0xffffffff, b""),
            lambda ch, c: ch.sock.send(b"x"),
        ]
        for i, b in enumerate(bad):
            try:
                refused(l, ROOM_API, lambda ch: b(ch, user()))
            except AssertionError as e:
                raise AssertionError("hostile message %d: %s" % (i, e)) from e
        refused(l, ROOM_API, two)
        # recvmsg(2) cannot tell it from the end: the room took its leave
        refused(l, ROOM_API, lambda ch: ch.sock.send(b""), told=False)
        # ids that nobody has: as if it had hung up that moment
        c = user()
        for conn in (1, c.id + 1, c.id - 1000, 2**64 - 1):
            c2 = Client(None, conn, ROOM_API, None)
            l.ask(c2, DELETE, "a")
            l.api[ROOM_API].send(CLOSED, bytes(api_conn(conn=conn)))
        l.settle()
        eq(l.call(c, GET, "a").status, 200)
        l.await_state(root, "b", "running")
        eq(l.call(root, DELETE, "b").status, 204)
        eq([v["uid"] for v in l.vms(root)], [v["uid"] for v in before])


def bad_documents():
    """Every truncation and 3,000 byte flips: an error or a good VM."""
    rnd = random.Random(7)
    with up() as l:
        c = l.client(l.user)
        good = vm_create("a", env=["A=1", "B=2"], kernel_cmdline="x", hostname="h")
        query = vm_query(status=["running"], q="a", limit=3, offset=1)
        for verb, doc in ((CREATE, good), (LIST, query)):
            for n in range(len(doc)):
                eq(l.call(c, verb, doc=doc[:n]).status, 400)
            eq(l.call(c, verb, doc=doc + b"\0").status, 400)
        eq(l.vms(c), [])
        eq(l.call(c, CREATE, fd=memfd(b"x" * 200000)).status, 413)
        made = 0
        for i in range(3000):
            d = bytearray(good if i % 4 else query)
            for _ in range(rnd.randint(1, 3)):
                d[rnd.randrange(len(d))] = rnd.choice((0, 1, 0x7f, 0x80, 0xff,
                                                       rnd.randrange(256)))
            r = l.call(c, CREATE if i % 4 else LIST, doc=bytes(d))
            if r.status == 201:
                made += 1
                eq(l.call(c, DELETE, r.vm()["name"]).status, 204)
            else:
                assert r.status in (200, 400, 404), r
        eq(l.vms(c), [])
        assert made


if __name__ == "__main__":
    run(__file__, identity, stranger, connections, half_closed, apid_dies,
        connection_cap, refused_late_writer, connection_share,
        descriptors_exhausted, other_apids_connection, hostile_apid,
        bad_documents)
