"""One netd that runs in the world, two guests of it, and what runs its tests.

A case that shows something cannot happen has a control: the same with the
rule switched off (tests/rules), where it must happen.
"""
import difflib
import os
import signal
import struct
import sys
import traceback

import world
from wire import NET_ADOPT
from world import Gone, Guest, Netd, Sniffer, sh

PROGRAM = os.environ.get("MEWS_PROGRAM", world.BUILD + "/mews-netd")
CONTROLS = "MEWS_PROGRAM" not in os.environ and not world.sanitized.ON

A, B = Guest(0), Guest(1)
netd = Netd()


def start(program=PROGRAM, **kw):
    """Another netd in the place of the one that runs; guests keep theirs."""
    netd.start(program, **kw)
    for g in (A, B):
        err = netd.open(g, NET_ADOPT if g.fd is not None else 0)
        assert err is None, os.strerror(err)
    sh("ip", "neigh", "flush", "dev", world.BRIDGE)
    A.pings()  # both neighbours know each other from here on
    B.pings()


def same(before):
    now = world.state()
    if now != before:
        print("\n".join(difflib.unified_diff(
            before.splitlines(), now.splitlines(), "before", "after", n=0)))
        raise AssertionError("host state changed")


# -- what a guest must not be able to do: True when it happened; what works is
# measured by these, too ---------------------------------------------------

def seen_on_bridge(send, canary):
    """What comes behind it shows that it was dealt with; no answer is needed,
    which a spoofed packet may lead astray."""
    s = Sniffer(world.BRIDGE)
    try:
        send()
        ident = next(A.ports)
        A.frame(world.ping4(A.ip, world.GW, ident))
        return s.saw(canary, struct.pack("!H", ident) + b"\0\1mews")
    finally:
        s.close()


def spoofed_mac():
    return seen_on_bridge(lambda: A.frame(
        world.udp4(A.ip, world.GW, 1, 9, b"canary-mac"), src=B.mac), b"canary-mac")


def spoofed_ip():
    return seen_on_bridge(lambda: A.frame(
        world.udp4(B.ip, world.GW, 1, 9, b"canary-ip")), b"canary-ip")


def guest_to_guest():
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-b"), dst=B.mac)
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-b"), dst=world.BROADCAST)
    A.pings()
    return B.pings(want=lambda f: b"canary-b" in f)


def host_services():
    """The worst case: a host that routes 127/8 in from the bridge."""
    reached = []
    world.sysctl("ipv4/conf/%s/route_localnet" % world.BRIDGE, 1)
    for i, addr in enumerate((world.GW, world.UP_ADDR, "127.0.0.1")):
        s = world.listener(addr, 7700 + i)
        if A.connects(addr, 7700 + i):
            reached.append(addr)
        s.close()
    world.sysctl("ipv4/conf/%s/route_localnet" % world.BRIDGE, 0)
    if 0 < len(reached) < 3:
        print("only %s" % reached)
    # the control has to reach all three, the rule none
    return len(reached) == 3 if PROGRAM != netd_program() else bool(reached)


def netd_program():
    return os.path.relpath(netd.p.args[0], world.TOP)


def case(name, fn):
    try:
        fn()
        world.sanitized.check()
        print("ok " + name, flush=True)
        return True
    except Exception:
        print("not ok " + name, flush=True)
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        return False


def run(cases):
    """In a private host: netd starts, then cases(names, state of the host before)
    runs those cases, or all, and says whether they are good."""
    if os.environ.get("MEWS_IN_NS") != "1":
        os.environ["MEWS_IN_NS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "-i", "-u", "-p", "-f",
                              "--kill-child", "--mount-proc", sys.executable,
                              *sys.argv])
    signal.alarm(200)
    world.make_host()
    clean = world.state()
    good = case("starts", start) and cases(sys.argv[1:], clean)
    if not good:
        print(open("/run/netd.log").read()[-6000:])
    sys.exit(0 if good else 1)
