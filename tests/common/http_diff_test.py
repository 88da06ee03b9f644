#!/usr/bin/env python3
"""Differential test of the HTTP parser against h11, another strict one.

Where ours accepts a message, h11 must see the same end, method or status,
and body: a disagreement about where a message ends is a smuggled request.
Ours may refuse more; it may not accept what h11 refuses.
HTTP_DIFF_SEED repeats a run, HTTP_DIFF_CASES makes it longer.
"""
import os
import random
import struct
import subprocess
import sys
import time

# Debian's module, also where another python3 comes first in PATH
sys.path.append("/usr/lib/python3/dist-packages")
try:
    import h11
except ImportError:
    print("skip http_diff: python3-h11 is not installed")
    sys.exit(0)

PROBE = os.path.join(os.environ.get("B", "build"), "tests", "http_probe")
SEED = int(os.environ.get("HTTP_DIFF_SEED", str(int(time.time()))))
CASES = int(os.environ.get("HTTP_DIFF_CASES", "6000"))
TO_HEAD, TO_UPGRADE = 1, 2

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS"]
TARGETS = [b"/", b"/a?b=c", b"/%2e%2e/x", b"*", b"http://h/", b"h:80", b"/#f",
           b"/a b", b"/\x80"]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]
EOLS = [b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b"\n\r"]
FRAMING = [
    b"Content-Length: %d", b"Content-Length: %d", b"content-length:%d",
    b"Content-Length : %d", b"Content-Length: +%d", b"Content-Length: 0%d",
    b"Content-Length: %d, %d", b"Content-Length: 0x%d", b"Content-Length: %d.",
    b" Content-Length: %d", b"X: y\r\n Content-Length: %d",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding:chunked", b"transfer-encoding: chunked",
    b"Transfer-Encoding: Chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding:\r\n chunked",
    b"Transfer_Encoding: chunked",
]
OTHERS = [b"X: y", b"X:", b"X: \ty \t", b"Connection: close",
          b"Connection: keep-alive", b"Accept: */*", b"X\x00: y", b"X: \x00",
          b"X y: z", b"\x80: y", b"X: \x80", b": y", b"nocolon",
          b"Connection: Upgrade\r\nUpgrade: websocket", b"Host: b",
          b"Expect: 100-continue"]
CHUNK_SIZES = [b"%x"] * 20 + [b"%X", b"0%x", b"+%x", b"0x%x", b"%x ", b" %x",
                             b"%x;a=b", b"%x;a=\"b;c\"", b"", b"-%x", b"%xg",
                             b"0000000000000000%x", b"1000000000000000%x"]


def pick(rng, good, rest, odds):
    """Mostly what is good, so that whole messages come about."""
    return good if rng.random() < odds else rng.choice(rest)


def eol(rng):
    return pick(rng, b"\r\n", EOLS, 0.9)


def chunks(rng, body):
    out, at = b"", 0
    while at < len(body):
        n = rng.randint(1, len(body) - at)
        size = pick(rng, b"%x", CHUNK_SIZES, 0.85)
        out += (size % n if b"%" in size else size) + eol(rng)
        out += body[at:at + n] + eol(rng)
        at += n
    out += pick(rng, b"0", [b"00", b"0;x", b"", b"0 "], 0.9) + eol(rng)
    if rng.random() < 0.2:
        out += rng.choice([b"T: u", b"T:u", b" T: u", b"T : u",
                           b"Content-Length: 3", b"Host: z"]) + eol(rng)
    return out + eol(rng)


def one(rng, first):
    body = bytes(rng.choice(b"abc\r\n0: ") for _ in range(rng.randint(0, 12)))
    lines = [first]
    if rng.random() < 0.7:
        for _ in range(1 if rng.random() < 0.9 else 2):
            f = rng.choice(FRAMING[:2] + FRAMING[11:13]) \
                if rng.random() < 0.6 else rng.choice(FRAMING)
            lines.append(f % ((len(body),) * f.count(b"%d")))
    if rng.random() < 0.4:
        lines.insert(rng.randint(1, len(lines)), rng.choice(OTHERS))
    if rng.random() < 0.97 and not first.startswith(b"HTTP"):
        lines.insert(rng.randint(1, len(lines)), b"Host: a")
    head = b"".join(l + eol(rng) for l in lines) + eol(rng)
    low = head.lower()
    if b"chunked" in low and rng.random() < 0.95:
        return head + chunks(rng, body)
    if b"length" in low or rng.random() < 0.05:
        return head + body
    return head


def request(rng):
    out = b""
    for _ in range(rng.randint(1, 3)):
        first = b"%s %s %s" % (
            rng.choice(METHODS), pick(rng, b"/x", TARGETS, 0.8),
            pick(rng, b"HTTP/1.1", VERSIONS, 0.9))
        out += one(rng, first)
    if rng.random() < 0.1:
        i = rng.randrange(len(out))
        out = out[:i] + bytes([rng.randrange(256)]) + out[i + 1:]
    return out


def response(rng):
    status = pick(rng, b"200 OK", [b"204 No Content", b"304 Not Modified",
                                   b"200 ", b"200", b"404 Not Found",
                                   b"2x0 X", b"99 X"], 0.6)
    return one(rng, pick(rng, b"HTTP/1.1 ", [b"HTTP/2.0 ", b"HTTP/1.0 "],
                         0.95) + status)


def h11_messages(conn, data, ours_is_server, eof):
    """[(end, name, body)], and whether it stopped on a fault."""
    out, body, name, done = [], b"", None, False
    try:
        conn.receive_data(data)
        if eof:
            conn.receive_data(b"")
        while True:
            ev = conn.next_event()
            if isinstance(ev, (h11.Request, h11.Response)):
                body = b""
                name = ev.method.decode() if ours_is_server \
                    else str(ev.status_code)
            elif isinstance(ev, h11.Data):
                body += bytes(ev.data)
            elif isinstance(ev, h11.EndOfMessage):
                out.append((len(data) - len(conn.trailing_data[0]), name,
                            body.hex()))
                if not ours_is_server:
                    return out, False
                conn.send(h11.Response(status_code=200,
                                       headers=[("content-length", "0")]))
                conn.send(h11.EndOfMessage())
                if conn.our_state is not h11.DONE or \
                        conn.their_state is not h11.DONE:
                    return out, False
                conn.start_next_cycle()
            else:
                return out, False
    except h11.RemoteProtocolError:
        return out, True


def run_probe(cases):
    blob = b"".join(bytes([kind]) + struct.pack("<I", len(data)) + data
                    for kind, data in cases)
    p = subprocess.run([PROBE], input=blob, stdout=subprocess.PIPE,
                       timeout=60, check=True)
    lines = p.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(cases), "%d answers" % len(lines)
    for line in lines:
        *msgs, verdict = line.split("\t")
        yield [(int(e), n, b) for e, n, b in
               (m.split(" ") for m in msgs)], verdict


def compare(name, cases, check):
    bad = messages = refused = 0
    for (kind, data), (ours, verdict) in zip(cases, run_probe(cases)):
        why = check(kind, data, ours)
        messages += len(ours)
        refused += verdict not in ("ok", "more")
        if why:
            bad += 1
            if bad <= 5:
                print("# seed %d %r: %s (ours %r %s)"
                      % (SEED, data, why, ours, verdict))
    # a corpus in which nothing is accepted, or nothing refused, shows nothing
    thin = messages < len(cases) // 5 or refused < len(cases) // 20
    print("# %s: %d cases, %d messages agreed on, %d refused by ours"
          % (name, len(cases), messages, refused))
    print("%s %s" % ("not ok" if bad or thin else "ok", name))
    return bad or thin


def check_request(_, data, ours):
    theirs, _ = h11_messages(h11.Connection(h11.SERVER), data, True, False)
    if theirs[:len(ours)] != ours:
        return "h11 sees %r" % theirs
    return None


def check_response(_, data, ours):
    conn = h11.Connection(h11.CLIENT)
    conn.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    conn.send(h11.EndOfMessage())
    theirs, _ = h11_messages(conn, data, False, True)
    if theirs[:len(ours)] != ours:
        return "h11 sees %r" % theirs
    return None


def main():
    print("# HTTP_DIFF_SEED=%d" % SEED)
    rng = random.Random(SEED)
    bad = compare("http_diff requests",
                  [(ord("q"), request(rng)) for _ in range(CASES)],
                  check_request)
    bad |= compare("http_diff responses",
                   [(0, response(rng)) for _ in range(CASES)], check_response)
    return 1 if bad else 0


sys.exit(main())
