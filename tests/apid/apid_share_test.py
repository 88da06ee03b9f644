#!/usr/bin/env python3
"""apid alone: what its callers share, and who is left when he takes nothing
(docs/operations.md, "What callers share").

usage: apid_share_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls
"""
import contextlib
import select
import sys
import time

from players import *  # noqa: F403

ASKS = 512
WRITE_MS = 600


@contextlib.contextmanager
def apid(**kw):
    h = Harness(**kw).start()
    try:
        yield h
        h.stop()
    finally:
        if h.pid:
            os.kill(h.pid, 9)
            h.dead(WAIT)
        h.clean()


def refused(cl, *words):
    status, body = cl.answer()
    want(status, 503, "not refused: %r" % body)
    for word in words:
        want(word in body.decode(), True, "%r in %r" % (word, body))
    want(cl.fields.get("retry-after"), "1")


def too_much(cl, has, most):
    refused(cl, "hold %d KiB" % has, "at most %d KiB" % most, "read or end",
            "limit")


# --- callers without a role ---

def t_stranger():
    # nothing of a body is read, nothing comes to orchd
    before = rss()
    cls = [H.client(role=ROLE_NONE) for _ in range(20)]
    for cl in cls:
        cl.send(post(b" " * 200000)[:-1])
    for cl in cls:
        status, body = cl.answer()
        want(status, 403, "not refused")
        want(b"not listed" in body, True, body)
        cl.end()
    used = rss() - before
    want(used < 1000 or not MEASURED, True, "%d KiB for 20 bodies" % used)
    for data in (req("GET /api/v1/vms"), req("GET /api/v1/events/vms"),
                 ws_request("/api/v1/vms/web/exec", K8S),
                 req("DELETE /api/v1/vms/web")):
        cl = H.client(role=ROLE_NONE).send(data)
        want(cl.answer()[0], 403, "not refused")
        cl.end()
    for path, status in (("/healthz", 200), ("/openapi", 403), ("/nope", 404)):
        cl = H.client(role=ROLE_NONE).send(req("GET " + path) * 2)
        want(cl.answer()[0], status, path)
        want(cl.fields["connection"], "close", "one request each")
        cl.end()
    H.expect_nothing()


def t_stranger_silent():
    # nor does one stay: not silent, not in the middle of a head, not unread
    start = time.monotonic()
    cls = [H.client(role=ROLE_NONE), H.client(role=ROLE_NONE)]
    cls[1].send(b"GET /healthz HTTP/1.1\r\nHost:")
    listed = H.client()
    for cl in cls:
        left = 5 - (time.monotonic() - start)
        if not select.select([cl.sock], [], [], left)[0]:
            raise Bad("still open after 5 s")
    want(cls[1].answer()[0], 408)
    want(time.monotonic() - start > 2.5, True, "not before 2.5 s")
    want(listed.send(req("GET /healthz")).answer()[0], 200)


# --- bytes ---

HEAD = BASE + "Content-Length: 250000\r\n\r\n{"


def t_bodies():
    with apid(held_max=1 << 20, nusers=2) as h:
        cls = [h.client().send(HEAD.encode()) for _ in range(3)]
        cl = h.client().send(HEAD.encode())
        too_much(cl, 732, 1024)
        cl.end()
        # the other user has what is kept for him
        other = h.client(uid=2).send(post(b" " * 100000 + b'{"name":"web"}'))
        h.answer(h.expect(CREATE, other), 201, VM, vm_wire("web"))
        want(other.answer()[0], 201)
        # and what was given back the first may have again
        cls[0].close()
        h.expect_closed(cls[0])
        cl = h.client().send(HEAD.encode() + b" " * 249985 + b'"name":"web"}'
                             .rjust(14))
        m = h.expect(CREATE, cl)
        # an answer that is awaited holds nothing any more
        more = h.client().send(HEAD.encode())
        h.answer(m, 201, VM, vm_wire("web"))
        want(cl.answer()[0], 201)
        want(select.select([more.sock], [], [], 0.1)[0], [])


def vm_list(n):
    data = pack_list([vm_wire("vm%d" % i, i) for i in range(n)])
    return memfd(data)


def ask_list(h, uid, n=1500):
    cl = h.client(uid=uid).send(req("GET /api/v1/vms"))
    fd = vm_list(n)
    h.answer(h.expect(LIST, cl), 200, VMS, fd=fd, total=n)
    os.close(fd)
    return cl


def t_lists_unread():
    with apid(held_max=2 << 20, nusers=2) as h:
        first = [ask_list(h, 1) for _ in range(3)]
        cl = ask_list(h, 1)
        status, body = cl.answer()
        want(status, 503, "not refused")
        want(b"at most 2048 KiB" in body, True, body)
        want(ask_list(h, 2, 500).answer()[0], 200, "the other user")
        for cl in first:
            want(cl.answer()[0], 200)
        want(ask_list(h, 1).answer()[0], 200, "once they are read")


def t_streams():
    with apid(held_max=8 << 20, nusers=2) as h:
        held = [execute(h=h) for _ in range(12)]
        cl = h.client()
        cl.upgrade("/api/v1/vms/web/exec", K8S)
        st = Stream(h.expect(STREAM, cl), h)
        too_much(cl, 12 * 576, 8192)
        st.end()
        cl = h.client(uid=2)
        cl.upgrade("/api/v1/vms/web/exec", K8S)
        Stream(h.expect(STREAM, cl), h)
        cl.upgraded()
        held[0][0].close()
        held[0][1].end()
        h.expect_closed(held[0][0])
        held[0] = execute(h=h)
        # a long request holds more, until it is answered
        long = {"cmd": ["x"], "env": ["A=" + "x" * 131050]}
        cl, st = held[1]
        cl.frame(1, json.dumps(long).encode())
        _, data = cl.unframe()
        assert b"too much is under way" in data and b"8192 KiB" in data, data
        for cl, st in held[1:4]:
            cl.close()
            st.end()
            h.expect_closed(cl)
        cl, st = held[0]
        for _ in range(2):
            cl.frame(1, json.dumps(long).encode())
            want(st.frame()[0], OPEN)
            st.opened()
            st.send(1, b"x")
            want(cl.unframe(), (0x82, b"\1x"))
            cl.close()
            st.end()
            h.expect_closed(cl)
            cl, st = execute(h=h)


def t_calls():
    # of one that waits is held what the VM will get of it, no less and no more
    body = b'{"cmd":["true"]}'
    head = (BASE.replace("/api/v1/vms ", "/api/v1/vms/web/exec ")
            + "Transfer-Encoding: chunked\r\n\r\n").encode()
    with apid(held_max=1 << 20, nusers=2) as h:
        for _ in range(20):
            cl = h.client().send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            h.expect(STREAM, cl)
        long = json.dumps({"cmd": ["x" * 100000, "y" * 100000]}).encode()
        for _ in range(4):
            h.expect(STREAM, h.client().send(post(long, path="/api/v1/vms/web/exec")))
        too_much(h.client().send(post(long, path="/api/v1/vms/web/exec")), 781, 1024)


def t_readers_of_events():
    with apid(held_max=1 << 20, nusers=2) as h:
        held = [sse(h=h)[0] for _ in range(9)]
        cl = h.client().send(req("GET /api/v1/events/vms"))
        h.answer(h.expect(EVENTS, cl), 200, EVENTS_DOC, pack_list([]))
        too_much(cl, 9 * 96, 1024)
        cl = h.client(uid=2).send(req("GET /api/v1/events/vms"))
        h.answer(h.expect(EVENTS, cl), 200, EVENTS_DOC, pack_list([]))
        want(cl.head(), 200)
        for cl in held:
            cl.close()


# --- questions to orchd ---

def t_asks():
    most = ASKS - ASKS // 4 // 2
    with apid(max_conns=600, nusers=2) as h:
        cls, ms = [], []
        for _ in range(most):
            cls.append(h.client().send(name_get("web")))
            ms.append(h.expect(GET, cls[-1]))
        cl = h.client().send(name_get("web"))
        refused(cl, "your user has %d" % most, "at most %d" % ASKS,
                "wait for their answers")
        other = h.client(uid=2).send(name_get("web"))
        h.answer(h.expect(GET, other), 200, VM, vm_wire("web"))
        want(other.answer()[0], 200, "the other user")
        h.answer(ms[0], 200, VM, vm_wire("web"))
        want(cls[0].answer()[0], 200)
        cls[1].close()  # orchd sees that, and says so
        send(h.chan, GONE, 0, bytes(api_conn(conn=cls[1].id)))
        for _ in range(2):
            cl.send(name_get("web"))
            h.answer(h.expect(GET, cl), 404, ERROR, b"vm not found")
            want(cl.answer()[0], 404)


def t_tenants():
    """A tenant's members together get more only while more is left than they
    have, and one of them while he has less than what is left beyond that."""
    common = ASKS - ASKS // 4 // 2 * 2
    with apid(max_conns=600, nusers=2) as h:
        cls, has = [], {}

        def gets(uid, tenant):
            mine = sum(n for (t, _), n in has.items() if t == tenant)
            over = common - sum(has.values()) - mine
            if over < has.get((tenant, uid), 0) + 1:
                return False
            cls.append(h.client(uid=uid, tenant=tenant).send(name_get("web")))
            h.expect(GET, cls[-1])
            has[tenant, uid] = has.get((tenant, uid), 0) + 1
            return True
        while any([gets(uid, 7) for uid in (10, 11, 12)]):
            pass
        seven = sum(has.values())
        assert common // 3 < seven <= common // 2, (seven, common)
        for uid in (10, 13):
            cl = h.client(uid=uid, tenant=7).send(name_get("web"))
            if uid == 13 and common - 2 * seven >= 1:
                h.expect(GET, cl)
                cls.append(cl)
                has[7, 13] = 1
                continue
            refused(cl, "your tenant %d" % seven, "at most %d" % ASKS)
        while gets(14, 8):
            pass
        assert has[8, 14] >= (common - seven) // 4, has
        refused(h.client(uid=14, tenant=8).send(name_get("web")), "your user has")


# --- who takes nothing ---

def left(h, cl):
    """It is closed: not at once, and soon enough."""
    start = time.monotonic()
    try:
        h.expect_closed(cl)
    except Bad:
        raise Bad("not closed") from None
    took = time.monotonic() - start
    want(took < 4, True, "closed after %g s" % took)


def flood(st, wait=0.1):
    """As much as there is room for, and then some."""
    st.sock.setblocking(False)
    st.at = getattr(st, "at", 0)
    data = struct.pack(">BI", 1, 60000) + b"z" * 60000
    while select.select([], [st.sock], [], wait)[1]:
        with contextlib.suppress(BlockingIOError):
            st.at += st.sock.send(data[st.at % len(data):])


def t_stalled_exec():
    with apid(write_ms=WRITE_MS) as h:
        cl, st = execute({"cmd": ["yes"]}, h)
        st.frame()
        st.opened()
        flood(st)
        left(h, cl)
        st.sock.settimeout(WAIT)
        with contextlib.suppress(ConnectionResetError):
            want(st.sock.recv(1), b"", "the command is ended")


def t_stalled_log():
    with apid(write_ms=WRITE_MS) as h:
        cl = h.client().send(req("GET /api/v1/vms/web/console-log?follow=1"))
        st = Stream(h.expect(STREAM, cl), h)
        st.frame()
        st.opened()
        flood(st)
        left(h, cl)


def t_stalled_answer():
    with apid(write_ms=WRITE_MS) as h:
        left(h, ask_list(h, 1))


def stuff(h, cl, m):
    """Events until it is not asked for more; how many."""
    seq = 0
    while m is not None and seq < 20000:
        m = None
        batch = [event_wire(seq + i + 1, message="m" * 400) for i in range(12)]
        h.answer(stuff.m, 200, EVENTS_DOC, pack_list(batch), last=seq + 12)
        seq += 12
        ping = h.client().send(req("GET /healthz"))
        want(ping.answer()[0], 200)  # it has handled the answer by now
        ping.close()
        while (x := recv(h.chan, 0)) is not None:
            if x.type == EVENTS:
                m = stuff.m = x
    want(m, None, "it is not asked for more")
    return seq


def t_stalled_events():
    with apid(write_ms=WRITE_MS) as h:
        cl, stuff.m = sse(h=h)
        stuff(h, cl, stuff.m)
        left(h, cl)


def t_slow_reader_lives():
    # one that takes a little in each such time goes on
    with apid(write_ms=WRITE_MS) as h:
        events, stuff.m = sse(h=h)
        stuff(h, events, stuff.m)
        cl, st = execute({"cmd": ["yes"]}, h)
        st.frame()
        st.opened()
        flood(st)
        end = time.monotonic() + 3 * WRITE_MS / 1000
        while time.monotonic() < end:
            for c in select.select([events.sock, cl.sock], [], [], 0)[0]:
                c.recv(20000)
            flood(st, 0)
            time.sleep(WRITE_MS / 4000)
        ids = {events.id, cl.id}
        while (m := recv(h.chan, 0)) is not None:
            want(m.type == CLOSED and m.conn in ids, False, "left")


def cases():
    named(globals())
    controls(__file__)


sys.exit(run(cases))
