#!/usr/bin/env python3
"""apid alone: what is asked of a VM's agent by one question and one answer.

usage: apid_call_test.py [CASE...]
"""
import json
import sys

from players import *  # noqa: F403
from wire import STREAM_EXEC, STREAM_SIGNAL

KILL = "/api/v1/vms/web/kill"


def call(path, body, kind):
    cl = H.client().send(post(json.dumps(body).encode(), path=path))
    m = H.expect(STREAM, cl)
    want((m.name, m.kind, m.tail), ("web", kind, b""))
    return cl, Stream(m)


def t_kill():
    cl, st = call(KILL, {"signal": "HUP"}, STREAM_SIGNAL)
    want(st.frame(), (OPEN, b'{"signal":"HUP"}'))
    st.opened(200, b'{"signalled":2}')
    want(cl.answer(), (200, b'{"signalled":2}'))
    st.end()
    cl.end()


def t_kill_refused():
    """Before it leaves this room, by orchd, by the warden."""
    for body in (b"", b"{}", b'{"signal":"NO"}', b'{"signal":9}',
                 b'{"signal":"HUP","x":1}'):
        cl = H.client().send(post(body, path=KILL))
        want(cl.answer()[0], 400, body)
    H.expect_nothing()
    cl = H.client().send(post(b'{"signal":"HUP"}', path=KILL))
    H.answer(H.expect(STREAM, cl), 409, ERROR, b"vm not running")
    want(cl.answer(), (409, b'{"error":"vm not running"}'))
    # a call that was not made leaves its connection as it was
    cl.send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    for status, got in ((409, 409), (503, 503), (101, 502), (201, 502), (99, 502)):
        cl, st = call(KILL, {"signal": "HUP"}, STREAM_SIGNAL)
        st.frame()
        st.opened(status, b"so it is")
        want(cl.answer()[0], got, status)
        cl.end()


def t_kill_nonsense():
    """The answer is a guest's word."""
    for text in (b"", b"{}", b'{"signalled":-1}', b'{"signalled":2,"x":1}',
                 b"signalled", b'{"signalled":' + b"1" * 200 + b"}"):
        cl, st = call(KILL, {"signal": "HUP"}, STREAM_SIGNAL)
        st.frame()
        st.opened(200, text)
        status, body = cl.answer()
        want(status, 502, text)
        assert b"makes no sense" in body, body
        cl.end()
    cl, st = call(KILL, {"signal": "HUP"}, STREAM_SIGNAL)
    st.sock.close()
    want(cl.answer()[0], 502)


EXEC = "/api/v1/vms/web/exec"
OLDER = b"the vm was started by an earlier suite, whose guest does not know it"


def t_detached():
    cl, st = call(EXEC, {"cmd": ["httpd"], "env": ["A=1"], "user": "www:7"},
                  STREAM_EXEC)
    ch, body = st.frame()
    want((ch, json.loads(body)),
         (OPEN, {"cmd": ["httpd"], "env": ["A=1"], "user": "www:7",
                 "detach": True}))
    st.opened(201, b'{"pid":17}')
    want(cl.answer(), (201, b'{"pid":17}'))
    cl.end()
    for status, text, got in (
            (422, b"no user www", b"no user www"), (200, b'{"pid":1}', None),
            (101, b"", None), (201, b'{"pid":0}', None),
            (201, b'{"pid":17,"x":1}', None)):
        cl, st = call(EXEC, {"cmd": ["httpd"]}, STREAM_EXEC)
        st.frame()
        st.opened(status, text)
        answer = cl.answer()
        want(answer[0], 422 if got else 502, status)
        assert not got or got in answer[1], answer
        cl.end()
    for body in ({"cmd": ["a"], "tty": True}, {"cmd": ["a"], "stdin": True},
                 {"cmd": []}, {"cmd": ["a"], "user": ":x"},
                 {"cmd": ["a"], "user": "a b"}, {"cmd": ["a"], "user": "-x"},
                 {"cmd": ["a"], "user": "a:b:c"}, {"cmd": ["a"], "user": "x" * 128}):
        cl = H.client().send(post(json.dumps(body).encode(), path=EXEC))
        want(cl.answer()[0], 400, body)
    H.expect_nothing()


def t_older_guest():
    """One that refuses a key which it does not know, and what it calls that."""
    cl, st = call(EXEC, {"cmd": ["httpd"]}, STREAM_EXEC)
    st.frame()
    st.opened(400, b'unknown key "detach"')
    status, body = cl.answer()
    want(status, 409)
    assert b"detach: " + OLDER in body, body
    cl.end()
    for request, text in (({"cmd": ["id"], "user": "www"}, b"user: " + OLDER),
                          ({"cmd": ["id"]}, b'unknown key "x"')):
        cl, st = execute(request)
        st.frame()
        st.opened(400, b'unknown key "x"')
        _, data = cl.unframe()
        said = json.loads(data[1:])
        want((data[:1], said["status"]), (b"\3", "Failure"))
        assert text.decode() in said["message"], said
        cl.close()
        H.expect_closed(cl)


LONG = "A=" + "x" * 131068  # as long as Linux lets one be


def t_long():
    """What is longer than a frame reaches the VM whole, by either way; a guest
    or warden of before refuses it, and what it calls that."""
    request = {"cmd": ["cat", "y" * 100000], "env": [LONG]}
    for status in (101, 400):
        cl, st = execute(request)
        ch, body = st.frame()
        want((ch, json.loads(body)), (OPEN, request))
        st.opened(status, b"" if status == 101 else b"not an open frame")
        if status == 101:
            st.send(3, b'{"metadata":{},"status":"Success"}')
        _, data = cl.unframe()
        said = json.loads(data[1:])
        want(said["status"], "Success" if status == 101 else "Failure")
        assert status == 101 or said["message"].startswith(
            "a command and environment of more than 64 KiB: the vm was started "
            "by an earlier suite"), said
        cl.close()
        H.expect_closed(cl)
    cl, st = call(EXEC, request, STREAM_EXEC)
    want(json.loads(st.frame()[1]), dict(request, detach=True))
    st.opened(400, b"not an open frame")
    status, body = cl.answer()
    want(status, 409)
    assert b"more than 64 KiB" in body, body
    cl.end()
    request["env"].append(LONG)
    cl = H.client().send(post(json.dumps(request).encode(), path=EXEC))
    want(cl.answer()[0], 413)
    H.expect_nothing()


def t_as_long_as_it_came():
    """What the VM gets is no longer than what was asked for."""
    word = "<&>\b\f\"\u2028" * 10000
    request = {"cmd": ["cat", word], "env": ["A=" + word]}
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
    cl = H.client().send(post(text, path=EXEC))
    st = Stream(H.expect(STREAM, cl))
    want(json.loads(st.frame()[1]), dict(request, detach=True))
    st.opened(201, b'{"pid":17}')
    want(cl.answer(), (201, b'{"pid":17}'))
    cl.end()
    cl, st = execute(request)
    ch, body = st.frame()
    want((ch, body == text), (OPEN, True), body[:100])
    cl.close()
    H.expect_closed(cl)


def t_detach_by_websocket():
    cl, st = execute({"cmd": ["id"], "detach": True})
    _, data = cl.unframe()
    assert "POST it" in json.loads(data[1:])["message"], data
    cl.close()
    H.expect_closed(cl)


def t_stop_timeout():
    import tables
    for query, tail in (("", b""), ("?x=1", b""), ("?timeout=", b""),
                        ("?timeout=0", tables.pack("VMStop", timeout=0)),
                        ("?timeout=3600", tables.pack("VMStop", timeout=3600))):
        cl = H.client().send(post(b"", path="/api/v1/vms/web/stop" + query))
        m = H.expect(STOP, cl)
        want(m.tail, tail, query)
        H.answer(m, 200, VM, vm_wire("web"))
        want(cl.answer()[0], 200)
        assert "x-total-count" not in cl.fields, cl.fields
    for bad in ("3601", "-1", "x", "1.5"):
        cl = H.client().send(post(b"", path="/api/v1/vms/web/stop?timeout=" + bad))
        want(cl.answer(), (400, b'{"error":"invalid timeout: 0 to 3600"}'))
    H.expect_nothing()


def cases():
    named(globals())


sys.exit(run(cases))
