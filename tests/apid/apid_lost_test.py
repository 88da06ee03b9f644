#!/usr/bin/env python3
"""apid alone: what is said of a request whose answer got lost.  503 asks for it
again, so it is not said of what may have been done and would be done twice.

usage: apid_lost_test.py [CASE...]
"""
import contextlib
import json
import sys

from players import *  # noqa: F403

WEB = "/api/v1/vms/web"
EXEC = WEB + "/exec"
RUN = post(b'{"cmd":["httpd"]}', path=EXEC)
AGAIN = "the suite restarts: ask again"
MAYBE = "the suite restarts: it may have been done: look before you ask again"


def without_orchd(*asked):
    """(request, message or None, is it opened, answer): orchd ends meanwhile."""
    cls = []
    for data, kind, opens, answer in asked:
        cl = H.client().send(data)
        m = H.expect(kind, cl)
        cls.append((cl, Stream(m) if opens else None, answer))
        if opens:
            cls[-1][1].frame()
    H.chan.close()
    for cl, st, (status, text) in cls:
        want(cl.answer(), (status, b'{"error":"%s"}' % text.encode()))
        want(cl.fields.get("retry-after"), "1" if status == 503 else None)
        cl.end()
        if st:
            st.end()
    H.plumb()
    healthy()


def t_orchd():
    key = (503, AGAIN + ", with the same Idempotency-Key")
    without_orchd(
        (name_get("web"), GET, False, (503, AGAIN)),
        (post(b'{"name":"web"}'), CREATE, False, (503, AGAIN + "; an "
         "Idempotency-Key makes that safe")),
        (post(b'{"name":"web"}', "Idempotency-Key: a"), CREATE, False, key),
        (req("DELETE " + WEB, "Idempotency-Key: a"), DELETE, False, key),
        # no key makes these safe: one waits for a place, one is in the VM
        (RUN, STREAM, False, (503, AGAIN)),
        (post(b'{"cmd":["a"]}', "Idempotency-Key: a", path=EXEC), STREAM, False,
         (503, AGAIN)),
        (RUN, STREAM, True, (502, MAYBE)),
        (post(b'{"signal":"HUP"}', "Idempotency-Key: a", path=WEB + "/kill"),
         STREAM, True, (502, MAYBE)),
        (req("GET " + WEB + "/vmm-log"), STREAM, True, (503, AGAIN)),
        (req("GET " + WEB + "/vmm-log"), STREAM, False, (503, AGAIN)))


def t_agent():
    """A warden says it of what it had passed on, too; with 503, where an earlier
    suite started the VM."""
    gone = (b"the agent went away: it may have been done: look before you ask "
            b"again")
    for text, said, got, says in (
            (b"the agent went away", 502, 502, gone),
            (b"the agent went away", 503, 502, gone),
            (b"the agent does not answer yet", 503, 503,
             b"the agent does not answer yet")):
        cl = H.client().send(RUN)
        st = Stream(H.expect(STREAM, cl))
        st.frame()
        st.opened(said, text)
        want(cl.answer(), (got, b'{"error":"%s"}' % says))
        want(cl.fields.get("retry-after"), "1" if got == 503 else None)
        cl.end()


def t_no_room_for_the_answer():
    """Of a caller who holds all that he may."""
    h = Harness(held_max=1 << 20, nusers=2).start()
    try:
        cl = h.client().send(RUN)
        st = Stream(h.expect(STREAM, cl), h)
        st.frame()
        held = []
        for n in (200000, 100000, 30000, 10000, 3000, 1000, 300, 100, 30, 10, 3, 1):
            for _ in range(4):
                held.append(h.client().send(
                    ("POST /api/v1/vms HTTP/1.1\r\nHost: m\r\n"
                     "Content-Length: %d\r\nExpect: 100-continue\r\n\r\n"
                     % n).encode()))
                if not held[-1].take(12).endswith(b" 100"):
                    break
        st.opened(201, b'{"pid":17}')
        want(cl.answer(), (201, b'{"pid":17}'))
        h.stop()
    finally:
        if h.pid:
            os.kill(h.pid, 9)
            h.dead(WAIT)
        h.clean()


def cases():
    named(globals())


sys.exit(run(cases))
