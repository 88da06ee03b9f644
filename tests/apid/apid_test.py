#!/usr/bin/env python3
"""apid alone: what reaches orchd, what comes back, what a hostile orchd can do;
the room.

usage: apid_test.py [CASE...]   MEWS_PROGRAM: another mews-apid, no controls
"""
import json
import os
import re
import socket
import sys
import time

from players import *  # noqa: F403
import tables  # found by players


# --- what reaches orchd, and what comes back ---

def round_trip(data, mtype, status, doc=NONE, tail=b"", out=b"", **kw):
    """One request, one message, one answer."""
    cl = H.client()
    cl.send(data)
    m = H.expect(mtype, cl)
    H.answer(m, status, doc, tail, **kw)
    got = cl.answer()
    want(got, (status, out), "answer")
    H.expect_nothing()
    cl.close()
    return m, cl


def t_health():
    healthy()


def t_openapi():
    cl = H.client().send(req("GET /openapi"))
    status, body = cl.answer()
    want(status, 200)
    doc = json.loads(body)
    want(doc["openapi"], "3.0.3")
    want(sorted(doc["paths"]["/api/v1/vms/{name}"]), ["delete", "get"])
    for path in doc["paths"].values():
        for op in path.values():
            for ref in re.findall(r"#/components/schemas/(\w+)",
                                  json.dumps(op)):
                want(ref in doc["components"]["schemas"], True, ref)


def t_get():
    m, _ = round_trip(name_get("web"), GET, 200, VM, vm_wire("web"),
                      vm_json("web"))
    want((m.name, m.key, m.tail), ("web", "", b""))
    m, _ = round_trip(name_get("0123456789abcdef"), GET, 200, VM,
                      vm_wire("web"), vm_json("web"))
    want(m.name, "0123456789abcdef", "a whole uid")


def t_get_error():
    round_trip(name_get("web"), GET, 404, ERROR, b"vm not found",
               b'{"error":"vm not found"}')
    round_trip(name_get("web"), GET, 403, NONE, b"",
               b'{"error":"Forbidden"}')
    _, cl = round_trip(name_get("web"), GET, 503, ERROR, b"busy",
                       b'{"error":"busy"}')
    want(cl.fields["retry-after"], "1")


def t_error_text():
    # a taken-over orchd cannot break the answer's JSON or head
    round_trip(name_get("web"), GET, 500, ERROR, b"a\r\n\"<\xff",
               b'{"error":"a\\r\\n\\"\\u003c\\ufffd"}')


def t_list():
    _, cl = round_trip(req("GET /api/v1/vms"), LIST, 200, VMS, pack_list([]),
                       b"[]", total=7)
    want(cl.fields["x-total-count"], "7")
    two = pack_list([vm_wire("a"), vm_wire("b", 2)])
    m, _ = round_trip(
        req("GET /api/v1/vms?status=running,STOPPED&limit=5&offset=1"
            "&sort=name&order=desc&q=w%20b&unknown=1"), LIST, 200, VMS, two,
        b"[" + vm_json("a") + b"," + vm_json("b", 2) + b"]", total=2)
    want(m.tail, pack("VMQuery", status=["running", "stopped"], q="w b",
                      limit=5, offset=1, sort="name", order="desc"))


def t_list_memfd():
    names = ["vm%d" % i for i in range(100)]
    wire = pack_list([vm_wire(n) for n in names])
    cl = H.client().send(req("GET /api/v1/vms"))
    H.answer(H.expect(LIST, cl), 200, VMS, fd=memfd(wire), total=100)
    status, body = cl.answer()
    want((status, [v["name"] for v in json.loads(body)]), (200, names))


def create(name, env=()):
    empty = {"bool": False, "int": 0}
    return {f["name"]: empty.get(f["type"], "")
            for f in tables.TABLES["VMCreate"]} | dict(
        name=name, image="busybox", cpu_cores=2, memory_mb=512, env=list(env))


def t_create():
    body = (b'{"NAME":"old","name":"web","image":"busybox","cpu_cores":2,'
            b'"memory_mb":512,"env":["A=1"],"volar_sends":{"x":[1]},'
            b'"temporary":true,"owner":5}')
    m, _ = round_trip(post(body, "Idempotency-Key: k-1"), CREATE, 201, VM,
                      vm_wire("web"), vm_json("web"))
    want((m.name, m.key), ("", "k-1"))
    # whose it is, is no key of a request
    want(unpack("VMCreate", m.tail),
         dict(create("web", ["A=1"]), temporary=True), "document")


def t_tenant():
    """Which one was chosen, as it was said; and a tenant's own documents."""
    for text, name in ((req("GET /api/v1/vms", "X-Mews-Tenant: team"), "team"),
                       (req("GET /api/v1/vms"), "")):
        cl = H.client().send(text)
        m = H.expect(LIST, cl)
        want(m.tenant, name)
        H.answer(m, 403, ERROR, b"you are nobody")
        want(cl.answer()[0], 403)
    body = (b'{"quotas":{"vms":0},"members":[{"kind":"group","id":7,'
            b'"role":"none"}]}')
    cl = H.client().send(req("PATCH /api/v1/tenants/team",
                             "Content-Length: %d" % len(body), body=body))
    m = H.expect(API_TENANT_CHANGE, cl)
    want((m.name, m.tenant), ("team", ""))
    d = unpack("TenantChange", m.tail)
    want((d["quotas"]["vms"], [(x["kind"], x["id"], x["role"])
                               for x in d["members"]]),
         (0, [("group", 7, "none")]))
    H.answer(m, 404, ERROR, b"there is no tenant team")
    want(cl.answer()[0], 404)


def t_create_chunked():
    body = b"5\r\n{\"nam\r\n15;x=y\r\ne\":\"web\",\"image\":\"b\"}\r\n0\r\n\r\n"
    cl = H.client().send(req("POST /api/v1/vms",
                             "Transfer-Encoding: chunked", body=body))
    m = H.expect(CREATE, cl)
    want(unpack("VMCreate", m.tail)["name"], "web", "document")
    H.answer(m, 409, ERROR, b"orchestrator: vm already exists: web")
    want(cl.answer()[0], 409)


def t_create_long():
    # 60 KiB of env do not fit a message: a sealed memfd carries them
    env = ["A%d=%s" % (i, "x" * 600) for i in range(100)]
    body = json.dumps({"name": "web", "image": "busybox", "cpu_cores": 2,
                       "memory_mb": 512, "env": env}).encode()
    cl = H.client().send(post(body, "Expect: 100-continue"))
    m = H.expect(CREATE, cl)
    want((len(m.fds), m.tail), (1, b""))
    data = os.pread(m.fds[0], 1 << 20, 0)
    want(unpack("VMCreate", data), create("web", env), "document")
    try:
        os.pwrite(m.fds[0], b"x", 0)
        raise Bad("the document is not sealed")
    except PermissionError:
        pass
    H.answer(m, 400, ERROR, b"no")
    want(cl.answer()[0], 400)


def t_continue():
    cl = H.client().send(req("POST /api/v1/vms", "Expect: 100-continue",
                             "Content-Length: 33"))
    want(cl.head(), 100)
    cl.send(b'{"name":"web","image":"busybox"} ')
    H.answer(H.expect(CREATE, cl), 201, VM, vm_wire("web"))
    want(cl.answer()[0], 201)


def t_verbs():
    for verb, mtype in (("start", START), ("stop", STOP)):
        m, _ = round_trip(post(b"ignored", "Idempotency-Key: " + "k" * 127,
                               path="/api/v1/vms/web/" + verb), mtype, 200,
                          VM, vm_wire("web"), vm_json("web"))
        want((m.name, m.key, m.tail), ("web", "k" * 127, b""))
    m, _ = round_trip(req("DELETE /api/v1/vms/web", "Idempotency-Key: a b"),
                      DELETE, 204)
    want((m.name, m.key), ("web", "a b"))
    m, _ = round_trip(req("GET /api/v1/vms/web", "Idempotency-Key: k"), GET,
                      200, VM, vm_wire("web"), vm_json("web"))
    want(m.key, "", "no key on GET")


def t_rename():
    def ask(body):
        return post(body, "Idempotency-Key: k", path="/api/v1/vms/web/rename")
    m, _ = round_trip(ask(b'{"name":"db"}'), API_VM_RENAME, 200, VM,
                      vm_wire("db"), vm_json("db"))
    want((m.name, m.key, m.tail), ("web", "k", pack("VMRename", name="db")))
    for bad in (b"", b"{}", b'{"name":""}', b'{"name":"a..b"}', b'{"name":1}',
                b'{"name":"db","force":true}', b'{"name":"db"} x',
                b'{"name":"' + b"x" * 64 + b'"}', b'{"name":"0123456789abcdef"}'):
        cl = H.client().send(ask(bad))
        want(cl.answer()[0], 400, bad)
    H.expect_nothing()


def t_doctor():
    wire = pack_list([pack("Check", 0, name="accelerator", ok=True,
                           detail="kvm")])
    round_trip(req("GET /api/v1/system/doctor"), DOCTOR, 200, VMS, wire,
               b'[{"name":"accelerator","ok":true,"detail":"kvm"}]')


def t_redirect():
    for line, status, to in (
            ("GET /api/v1/vms/?limit=1", 301, "/api/v1/vms?limit=1"),
            ("DELETE /api/v1/vms/web/", 307, "/api/v1/vms/web"),
            ("POST /api/v1/vms/web/stop/", 307, "/api/v1/vms/web/stop")):
        cl = H.client().send(req(line))
        want(cl.answer()[0], status, line)
        want(cl.fields["location"], to)
    H.expect_nothing()


def t_head():
    cl = H.client().send(req("HEAD /healthz"))
    want(cl.answer(has_body=False)[0], 405)
    cl.send(req("GET /healthz"))
    want(cl.answer(), (200, b'{"status":"ok"}'), "no body came with HEAD")


def t_pipeline():
    cl = H.client().send(req("GET /healthz") * 3 + name_get("a")
                         + name_get("b"))
    for _ in range(3):
        want(cl.answer(), (200, b'{"status":"ok"}'))
    m = H.expect(GET, cl)
    want(m.name, "a")
    H.expect_nothing()  # the second waits for the first
    H.answer(m, 200, VM, vm_wire("a"))
    m = H.expect(GET, cl)
    want(m.name, "b")
    H.answer(m, 200, VM, vm_wire("b"))
    want(cl.answer()[1], vm_json("a"))
    want(cl.answer()[1], vm_json("b"))


def t_bytewise():
    cl = H.client()
    for b in name_get("web"):
        cl.send(bytes([b]))
    H.answer(H.expect(GET, cl), 200, VM, vm_wire("web"))
    want(cl.answer()[0], 200)


def t_body_then_request():
    # the rest of a refused body is never read as a request
    cl = H.client().send((BASE + "Content-Length: 300000\r\n\r\n").encode()
                         + req("DELETE /api/v1/vms/web"))
    want(cl.answer()[0], 413)
    cl.end()
    H.expect_closed(cl)
    H.expect_nothing()


def t_half_closed():
    # SHUT_WR after the request: the answer is still wanted
    cl = H.client().send(name_get("web"))
    cl.sock.shutdown(socket.SHUT_WR)
    H.answer(H.expect(GET, cl), 200, VM, vm_wire("web"))
    want(cl.answer()[0], 200)
    cl.end()
    H.expect_closed(cl)


def t_half_request():
    cl = H.client().send(b"GET /heal")
    cl.sock.shutdown(socket.SHUT_WR)
    want(cl.answer()[0], 400)
    cl.end()
    H.expect_closed(cl)
    cl = H.client()
    cl.sock.shutdown(socket.SHUT_WR)
    H.expect_closed(cl)


def t_gone():
    cl = H.client().send(name_get("web"))
    m = H.expect(GET, cl)
    send(H.chan, GONE, 0, bytes(api_conn(conn=cl.id)))
    cl.end()
    H.answer(m, 200, VM, vm_wire("web"))  # too late: nobody hears it
    healthy()
    want("GET /api/v1/vms/web 499 " in open(H.log).read(), True, "the log")


def t_end_is_seen():
    # orchd keeps a copy of the socket: the client must see the end anyway
    cl = H.client(keep=True).send(req("GET /healthz", "Connection: close"))
    want(cl.answer()[0], 200)
    want(cl.fields["connection"], "close")
    cl.end()


def t_swapped():
    # answers come in another order: each goes to its own connection
    a, b = H.client().send(name_get("a")), H.client().send(name_get("b"))
    ma, mb = H.next(CLOSED), H.next(CLOSED)
    if ma.conn != a.id:
        ma, mb = mb, ma
    H.answer(mb, 200, VM, vm_wire("b"))
    H.answer(ma, 200, VM, vm_wire("a"))
    want(a.answer()[1], vm_json("a"))
    want(b.answer()[1], vm_json("b"))


def hostile(fn):
    """A message of orchd's that ends apid: nobody gets an answer of it."""
    a, b = H.client().send(name_get("a")), H.client().send(name_get("b"))
    ma, mb = H.next(CLOSED), H.next(CLOSED)
    if ma.conn != a.id:
        ma, mb = mb, ma
    fn(ma, mb)
    for cl in (a, b):
        status, body = cl.answer()
        want(status, 503, "what the callers get")
        want(b"suite restarts" in body, True, body)
        cl.end()
    status = H.dead(WAIT)
    want(status is not None and os.WIFEXITED(status)
         and os.WEXITSTATUS(status) == 1, True,
         "an orderly end, status %r" % status)
    H.start()
    healthy()


HOSTILE = [
    ("answer with another's message id", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x"), mid=b.id)),
    ("answer with another's connection", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x"), conn=b.conn)),
    ("answer nobody asked for", lambda a, b: (
        H.answer(a, 200, VM, vm_wire("x"), mid=99999))),
    ("connection 0", lambda a, b: H.answer(a, 200, VM, conn=0)),
    ("list for an object", lambda a, b: H.answer(
        a, 200, VMS, pack_list([]))),
    ("no document", lambda a, b: H.answer(a, 200)),
    ("document cut", lambda a, b: H.answer(a, 200, VM, vm_wire("x")[:-1])),
    ("document and more", lambda a, b: H.answer(
        a, 200, VM, vm_wire("x") + b"x")),
    ("document of noise", lambda a, b: H.answer(a, 200, VM, os.urandom(500))),
    ("kind of document unknown", lambda a, b: H.answer(a, 200, 9)),
    ("status 99", lambda a, b: H.answer(a, 99, VM, vm_wire("x"))),
    ("status 302", lambda a, b: H.answer(a, 302, VM, vm_wire("x"))),
    ("a stream nobody asked for", lambda a, b: H.answer(
        a, 101, fd=H.boot.fileno())),
    ("memfd that is not sealed", lambda a, b: H.answer(
        a, 200, VM, fd=memfd(vm_wire("x"), False))),
    ("memfd and tail", lambda a, b: H.answer(
        a, 200, VM, b"x", fd=memfd(vm_wire("x")))),
    ("a connection twice", lambda a, b: send(
        H.chan, CONN, 0, bytes(api_caller(conn=a.conn)), H.boot.fileno())),
    ("a connection without a socket", lambda a, b: send(
        H.chan, CONN, 0, bytes(api_caller(conn=77)))),
    ("a question for apid", lambda a, b: send(
        H.chan, GET, 1, bytes(280))),
    ("message of noise", lambda a, b: H.chan.send(os.urandom(40))),
    ("message too short", lambda a, b: H.chan.send(b"abc")),
]


def t_no_socket():
    # a descriptor that is no socket: refused, and that is all
    fd = os.open("/dev/null", os.O_RDWR)
    send(H.chan, CONN, 0, bytes(api_caller(conn=5)), fd)
    os.close(fd)
    m = H.next()
    while m.conn != 5:
        want(m.type, CLOSED, "an older one's end")
        m = H.next()
    want(m.type, CLOSED)
    healthy()


def t_full():
    h = Harness(max_conns=3).start()
    cls = [h.client() for _ in range(4)]
    m = h.next()
    want((m.type, m.conn), (CLOSED, cls[3].id))
    cls[3].end()
    cls[0].close()
    h.expect_closed(cls[0])
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    h.stop()
    h.clean()


def t_idle():
    h = Harness(idle_ms=200).start()
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    cl.end()
    h.expect_closed(cl)
    h.stop()
    h.clean()


def t_silent_orchd():
    """As long as mewsd says, which knows what orchd itself may wait for."""
    h = Harness(ask_ms=1500).start()
    cl = h.client().send(name_get("web"))
    h.expect(GET, cl)
    start = time.monotonic()
    want(cl.answer()[0], 504)
    want(1.4 < time.monotonic() - start < 10, True, "its deadline")
    h.stop()
    h.clean()


def t_orchd_restart():
    cl = H.client().send(name_get("web"))
    idle = H.client().send(req("GET /healthz"))
    want(idle.answer()[0], 200)
    H.expect(GET, cl)
    H.chan.close()
    status, body = cl.answer()
    want(status, 503)
    want(cl.fields["connection"], "close")
    cl.end()
    idle.end()  # its identity died with orchd
    want(H.dead(), None, "apid waits")
    H.plumb()
    healthy()
    # replaced while it lives: the same
    cl = H.client().send(name_get("web"))
    H.expect(GET, cl)
    H.plumb()
    want(cl.answer()[0], 503)
    cl.end()
    healthy()


# --- the room ---

def t_confined():
    base = "/proc/%d/" % H.pid
    st = dict(line.rstrip("\n").split(":\t", 1)
              for line in open(base + "status") if ":\t" in line)
    ids = "\t".join([str(UID)] * 4)
    want((st["Uid"], st["Gid"], st["Groups"].strip()), (ids, ids, ""))
    for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        want(int(st[cap], 16), 0, cap)
    want((st["NoNewPrivs"], st["Seccomp"], st["Threads"]), ("1", "2", "1"))
    want(os.readlink(base + "root"), H.root)
    want(os.listdir(base + "root"), [], "an empty root")
    fds = [os.readlink(base + "fd/" + f) for f in os.listdir(base + "fd")]
    files = [f for f in fds if f.startswith("/") and f != "/dev/null"]
    want(set(files), {H.log}, "files it holds")


def t_title():
    cl = H.client().send(req("GET /healthz"))
    cl.answer()
    title = open("/proc/%d/cmdline" % H.pid).read()
    want(bool(re.match(r"mews: apid \[\d+ connections\]", title)), True, title)


def t_log_lines():
    cl = H.client().send(req("GET /api/v1/vms?q=hunter2",
                             "Cookie: hunter3"))
    H.answer(H.expect(LIST, cl), 200, VMS, pack_list([]))
    cl.answer()
    text = open(H.log).read()
    want(bool(re.search(r"conn [0-9a-f]{16} GET /api/v1/vms 200 \d+ ms\n",
                        text)), True, "access line")
    for secret in ("hunter2", "hunter3", "secret", "A=1", "k-1"):
        want(secret in text, False, secret)


def t_admin_room():
    h = Harness(room=3).start()
    cl = h.client().send(req("GET /healthz"))
    want(cl.answer()[0], 200)
    h.stop()
    h.clean()


def t_stop():
    h = Harness().start()
    cl = h.client()
    h.stop()
    cl.end()
    h.clean()
    h = Harness().start()
    h.boot.close()  # mewsd is gone
    want(h.dead(WAIT), 0, "exit without mewsd")
    h.clean()


# --- deadlines: begun first, looked at last ---

def slow_begin():
    h = Harness().start()
    slow = {"h": h, "at": time.monotonic()}
    slow["head"] = h.client().send(b"GET /healthz HT")
    slow["body"] = h.client().send((BASE + "Content-Length: 9\r\n\r\n{"
                                    ).encode())
    slow["sse"], _ = sse(h=h)
    slow["exec"], slow["stream"] = execute(h=h)
    return slow


def t_slow_head(slow):
    want(slow["head"].answer()[0], 408)
    took = time.monotonic() - slow["at"]
    want(took >= 9.5, True, "%.1f s" % took)
    slow["head"].end()


def t_slow_exec(slow):
    slow["exec"].expect_close(1008)


def t_slow_sse(slow):
    slow["sse"].sock.settimeout(20)
    want(slow["sse"].chunk(), b": still here\n\n")


def t_slow_body(slow):
    slow["body"].sock.settimeout(32)
    want(slow["body"].answer()[0], 408)
    slow["body"].end()


def cases():
    slow = None if ONLY else slow_begin()
    named(globals())
    for name, fn in HOSTILE:
        case("takeover: " + name, hostile, fn)
    controls(__file__)
    if ONLY:
        return
    case("deadline of a head", t_slow_head, slow)
    case("deadline of an exec request", t_slow_exec, slow)
    case("heartbeat of events", t_slow_sse, slow)
    case("deadline of a body", t_slow_body, slow)
    slow["h"].stop()
    slow["h"].clean()


sys.exit(run(cases))
