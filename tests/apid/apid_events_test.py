#!/usr/bin/env python3
"""apid alone: server-sent events.

usage: apid_events_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls
"""
import os
import socket
import sys

from players import *  # noqa: F403


def t_sse():
    cl, m = sse()
    want((m.after, m.name), (0, ""))
    H.answer(m, 200, EVENTS_DOC, pack_list([event_wire(5), event_wire(9)]),
             last=9)
    want(cl.chunk(), sse_text(5) + sse_text(9))
    m = H.expect(EVENTS, cl)
    want(m.after, 9)
    H.answer(m, 503, ERROR, b"x")
    want(cl.take(5), b"0\r\n\r\n")
    cl.end()
    H.expect_closed(cl)


def t_sse_resume():
    for fields, path, after in (
            (["Last-Event-ID: 41"], "", 41), ([], "?after=40", 40),
            (["Last-Event-ID: 0"], "?after=40", 0)):
        cl, m = sse(*fields, path="/api/v1/events/vms" + path, after=after,
                    last=after)
        want(m.after, after)
        cl.close()
        send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))
    cl, m = sse(last=77)
    want(m.after, 77, "from where orchd says now is")
    send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))
    cl, m = sse("Last-Event-ID: 41", after=41, first=[event_wire(42)], last=42)
    want(m.after, 42, "what came with the first answer")
    send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))


def t_sse_other_store():
    # a number that only another store has costs nobody anything (I16)
    cl, m = sse("Last-Event-ID: 4000", after=4000, last=7)
    want(m.after, 7)
    H.answer(m, 200, EVENTS_DOC, pack_list([event_wire(8)]), last=8)
    want(cl.chunk(), sse_text(8))
    want(H.expect(EVENTS, cl).after, 8)
    send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))
    want(H.dead(), None)


def gap_text(after, last, message):
    return (b'id: %d\nevent: GAP\ndata: {"type":"GAP","after":%d,"last":%d,'
            b'"message":"%s"}\n\n' % (last, after, last, message))


KEPT = b"events %d to %d are kept no more: list what there is"
ANEW = (b"the numbering of events begins again at %d: what came before is not "
        b"known, list what there is")


def t_sse_gap():
    for after, first, last, text in (
            (41, [], 99, KEPT % (42, 99)), (41, [100], 99, KEPT % (42, 99)),
            (4000, [], 7, ANEW % 7)):
        cl = H.client().send(req("GET /api/v1/events/vms",
                                 "Last-Event-ID: %d" % after))
        end = (first or [last])[-1]
        H.answer(H.expect(EVENTS, cl), 200, EVENTS_DOC,
                 list_wire([event_wire(n) for n in first]), last=end,
                 total=last + 1)
        want(cl.head(), 200)
        want(cl.chunk(), gap_text(after, last, text) +
             b"".join(sse_text(n) for n in first))
        m = H.expect(EVENTS, cl)
        want(m.after, end)
        send(H.chan, GONE, 0, struct.pack("=Q", cl.id))
    cl, m = sse(last=10)  # one who fell behind
    H.answer(m, 200, EVENTS_DOC, list_wire([event_wire(31)]), last=31,
             total=30 + 1)
    want(cl.chunk(), gap_text(10, 30, KEPT % (11, 30)) + sse_text(31))
    want(H.expect(EVENTS, cl).after, 31)
    send(H.chan, GONE, 0, struct.pack("=Q", cl.id))


def t_sse_gap_backwards():
    # orchd alone gave that number: behind it there is no gap
    cl, m = sse(last=10)
    H.answer(m, 200, EVENTS_DOC, list_wire([]), last=10, total=10 + 1)
    cl.end()
    want(os.WEXITSTATUS(H.dead(WAIT) or 0), 1)
    H.start()


def t_sse_denied():
    cl = H.client().send(req("GET /api/v1/events/vms"))
    H.answer(H.expect(EVENTS, cl), 403, ERROR, b"access denied")
    want(cl.answer(), (403, b'{"error":"access denied"}'))
    H.expect_nothing()


def t_sse_slow():
    # a client that reads nothing is asked nothing more for, and costs
    # no more memory than its last batch
    cl, m = sse()
    cl.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    seq, asked = 0, 0
    while asked < 200:
        batch = [event_wire(seq + i + 1, message="m" * 400)
                 for i in range(12)]
        seq += 12
        asked += 1
        H.answer(m, 200, EVENTS_DOC, pack_list(batch), last=seq)
        ping = H.client().send(req("GET /healthz"))
        want(ping.answer()[0], 200)  # it has handled the answer by now
        ping.close()
        m = None
        while (x := recv(H.chan, 0)) is not None:
            m = x if x.type == EVENTS else m
        if m is None:
            break
    want(asked < 200, True, "it stopped asking")
    want(rss() < 20000 or not MEASURED, True, "memory %d KiB" % rss())
    got = b""
    while got.count(b"id: ") < seq:
        got += cl.chunk()
    want(H.expect(EVENTS, cl).after, seq, "and went on")
    send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))


def t_sse_backwards():
    cl, m = sse("Last-Event-ID: 10", after=10, last=10)
    H.answer(m, 200, EVENTS_DOC, pack_list([event_wire(10)]), last=10)
    cl.end()
    want(os.WEXITSTATUS(H.dead(WAIT) or 0), 1)
    H.start()


def cases():
    named(globals())
    controls(__file__)


sys.exit(run(cases))
