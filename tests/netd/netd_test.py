#!/usr/bin/env python3
"""netd alone: mews-netd in a private network namespace, told what to do as
mewsd and orchd would, guests made of raw frames on the tap's descriptor.

usage: netd_test.py [CASE...]   MEWS_PROGRAM: another mews-netd, no controls

A case that shows something cannot happen has a control: the same with the
rule switched off (tests/rules), where it must happen.
"""
import contextlib
import difflib
import errno
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import traceback

import world
from world import Gone, Guest, Netd, Sniffer, sh

PROGRAM = os.environ.get("MEWS_PROGRAM", world.BUILD + "/mews-netd")
CONTROLS = "MEWS_PROGRAM" not in os.environ and not world.sanitized.ON

A, B = Guest(0), Guest(1)
netd = None


def start(program=PROGRAM, **kw):
    """Another netd in the place of the one that runs; guests keep theirs."""
    global netd
    if netd is not None:
        netd.kill()
    netd = Netd(program, **kw)
    for g in (A, B):
        err = netd.open(g, world.ADOPT if g.fd is not None else 0)
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


# -- what a guest must not be able to do: True when it happened --------------

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


def spoofed_ip_unknown():
    return seen_on_bridge(lambda: A.frame(
        world.udp4("0.0.0.0", world.GW, 1, 9, b"canary-0")), b"canary-0")


def spoofed_arp():
    """Both ways: another's address, and another's MAC inside."""
    took = world.arp(2, A.mac, B.ip, world.GW)
    lied = world.arp(2, B.mac, A.ip, world.GW)
    gw = world.arp(2, A.mac, world.GW, B.ip)
    return any([seen_on_bridge(lambda: A.frame(a, 0x806, dst=world.BROADCAST), a)
                for a in (took, lied, gw)])


def ipv6():
    solicit = b"\x60" + bytes(3) + struct.pack("!HBB", 8, 58, 255) + \
        b"\xfe\x80" + bytes(13) + b"\x01" + b"\xff\x02" + bytes(13) + b"\x02" + \
        b"canary-6"
    return seen_on_bridge(lambda: A.frame(
        solicit, 0x86dd, dst=b"\x33\x33\0\0\0\2"), b"canary-6")


def tagged():
    """A VLAN tag in front must not hide the type behind it."""
    inner = world.udp4(B.ip, world.GW, 1, 9, b"canary-tag")
    return any([seen_on_bridge(lambda: A.frame(
        struct.pack("!HH", tag, 0x800) + inner, kind), b"canary-tag")
        for kind in (0x8100, 0x88a8) for tag in (0, 5)])


def cut_short():
    """A packet without the field that a rule wants to read."""
    short = world.udp4(A.ip, world.GW, 1, 9, b"cut short")[:12]
    return seen_on_bridge(lambda: A.frame(short), A.mac + b"\x08\0" + short)


LLDP, GROUP = b"\x01\x80\xc2\0\0\x0e", b"\x01\x80\xc2\0\0\x03"


def beside_bridge_arp(dst):
    """Frames to these go around the bridge, to the tap itself, where the host
    would answer for all of its addresses."""
    A.frame(world.arp(1, A.mac, A.ip, world.UP_ADDR), 0x806, dst=dst)
    return A.pings(want=lambda f: f[12:14] == b"\x08\x06" and
                   f[28:32] == socket.inet_aton(world.UP_ADDR))


def beside_bridge_udp(dst):
    s = world.udp(world.UP_ADDR, 5353)
    s.setblocking(False)
    A.frame(world.udp4(A.ip, world.UP_ADDR, 1, 5353, b"canary"), dst=dst)
    A.pings()
    try:
        return s.recv(100) == b"canary"
    except BlockingIOError:
        return False
    finally:
        s.close()


def guest_to_guest():
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-b"), dst=B.mac)
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-b"), dst=world.BROADCAST)
    A.pings()
    return B.pings(want=lambda f: b"canary-b" in f)


def guest_to_guest_routed():
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-r"))
    A.pings()
    return B.pings(want=lambda f: b"canary-r" in f)


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


def came(sock, canary, src):
    """Whether canary came to the LAN's socket before a word of the host's
    own, sent behind it; both wait for the same ARP answer."""
    host = world.udp(src)
    host.sendto(b"barrier", (world.LAN, 7710))
    host.close()
    got = sock.recv(100)
    if got == canary:
        assert sock.recv(100) == b"barrier"
        return True
    assert got == b"barrier", got
    return False


def other_network():
    """Not the uplink, though the host has a way there."""
    there = world.udp(world.LAN, 7710, "lan")
    try:
        A.frame(world.udp4(A.ip, world.LAN, 1, 7710, b"canary-o"))
        A.pings()
        return came(there, b"canary-o", world.LAN_ADDR)
    finally:
        there.close()


def metadata():
    s = world.listener(world.METADATA, 7711, "world")
    try:
        return A.connects(world.METADATA, 7711)
    finally:
        s.close()


def world_unsolicited():
    w, h = world.udp(ns="world"), world.udp()
    w.sendto(b"canary-w", (A.ip, 9))
    h.sendto(b"host-says", (A.ip, 9))
    saw = False

    def done(f):
        nonlocal saw
        saw = saw or b"canary-w" in f
        return b"host-says" in f
    A.wait(done)
    w.close()
    h.close()
    return saw


def uplink_is_no_router():
    """Forwarding is on at the uplink for guests; the world gains nothing."""
    w, there, back = (world.udp(ns="world"), world.udp(world.LAN, 7710, "lan"),
                      world.udp(world.UP_ADDR, 7713))
    sh("ip", "-n", "world", "route", "replace", world.LAN + "/32", "via",
       world.UP_ADDR)
    try:
        w.sendto(b"canary-l", (world.LAN, 7710))
        w.sendto(b"barrier", (world.UP_ADDR, 7713))
        assert back.recv(100) == b"barrier"
        return came(there, b"canary-l", world.LAN_ADDR)
    finally:
        for s in (w, there, back):
            s.close()


# -- what orchd must not be able to do ---------------------------------------

def tried(g, **kw):
    """True when netd made the tap; everything is as before afterwards."""
    before = world.state()
    err = netd.open(g, **kw)
    if err is None:
        g.detach()
        netd.close(g)
        return True
    if err not in (errno.EPERM, errno.EEXIST, errno.EINVAL, errno.EBUSY):
        raise AssertionError(os.strerror(err))
    same(before)
    return False


def address_outside():
    return any([tried(Guest(5, ip=ip)) for ip in (
        "10.78.0.9", world.GW, world.NET, "10.77.0.255", "127.0.0.1")])


def slot_too_high():
    return any([tried(Guest(slot, ip="10.77.0.99")) for slot in (16, 900)])


def slot_impossible():
    return any([tried(Guest(slot, ip="10.77.0.99")) for slot in (
        1023, 4096, 65535)])


def mac_multicast():
    return any([tried(Guest(5, mac=mac)) for mac in (
        b"\x01\0\0\0\0\1", b"\x53\0\0\0\0\1", b"\0\x16\x3e\0\0\1", bytes(6))])


def mac_of_the_gateway():
    return tried(Guest(5, mac=world.BRIDGE_MAC))


def address_twice():
    return any([tried(Guest(5, ip=A.ip)), tried(Guest(5, mac=B.mac))])


def slot_twice():
    return any([tried(Guest(0, uid=77)), tried(Guest(0, ip="10.77.0.70")),
                tried(Guest(A.slot))])


def adopt_other_numbers():
    return any([tried(Guest(0, uid=77), flags=world.ADOPT),
                tried(Guest(0, ip="10.77.0.70"), flags=world.ADOPT)])


def second_nic():
    kind, _, _, _ = netd.orchd.ask(world.TAP_OPEN, Guest(5).wire(nic=1))
    return kind != world.ERR


def close_of_another():
    g = Guest(6)
    assert netd.open(g) is None
    took = netd.close(g, uid=g.uid + 1) is None
    g.detach()
    netd.close(g)
    return took


# name, what is tried, the rule that stands in the way ("" for what has none
# of its own: other rows' rules do it)
FLOODERS = iter(range(100, 250))
CONNS, CONN_RATE, CONN_BURST = 4096, 500, 6000  # netd/nft.c


def flood(send, n, count):
    """How much n packets of a new guest add to count(guest), and how long it
    took to say them.  Whoever else is there is not harmed."""
    g = Guest(13, ip="10.77.0.%d" % next(FLOODERS))
    assert netd.open(g) is None
    try:
        before, start_s = count(g), time.monotonic()
        for i in range(n):
            g.frame(send(g, i))
        took = time.monotonic() - start_s
        B.pings()
        return count(g) - before, took
    finally:
        assert netd.close(g) is None
        g.detach()


def tracked(g):
    with open("/proc/net/nf_conntrack") as f:
        return sum(" src=%s " % g.ip in l for l in f)


def conntrack_open():
    n, _ = flood(lambda g, i: world.udp4(g.ip, world.WORLD, 10000 + i, 9, b"x"),
                 CONN_BURST - 500, tracked)
    assert n > CONNS - 500, "the flood did not arrive"
    return n > CONNS + 64


def conntrack_rate():
    """New ones that end at once, which are not counted as open."""
    def refused(_):
        with world.inside("world"), open("/proc/net/snmp") as f:
            names, values = [l.split() for l in f if l.startswith("Tcp:")]
            return int(values[names.index("OutRsts")])
    n, took = flood(lambda g, i: world.tcp4(g.ip, world.WORLD, 10000 + i, 9, 2),
                    2 * CONN_BURST, refused)
    assert n > CONN_BURST - 500, "the flood did not arrive"
    return n > CONN_BURST + CONN_RATE * took + 64


def conntrack_rebuilt():
    """What was counted before the rules were rebuilt still counts."""
    def send(g, i):
        if i == CONNS:
            sh("nft", "flush", "table", "inet", "mews")
            assert netd.simple(world.ENSURE) is None
        return world.udp4(g.ip, world.WORLD, 10000 + i, 9, b"x")
    n, _ = flood(send, CONN_BURST - 500, tracked)
    return n > CONNS + 64


FORBIDDEN = [
    ("conntrack-open", conntrack_open, "NET_CONN_COUNT"),
    ("conntrack-rate", conntrack_rate, "NET_CONN_RATE"),
    ("conntrack-rebuilt", conntrack_rebuilt, ""),
    ("spoofed-mac", spoofed_mac, "NET_SPOOF_MAC"),
    ("spoofed-ip", spoofed_ip, "NET_SPOOF_IP"),
    ("spoofed-ip-unknown", spoofed_ip_unknown, "NET_SPOOF_IP"),
    ("spoofed-arp", spoofed_arp, "NET_SPOOF_ARP"),
    ("ipv6", ipv6, "NET_ETHERTYPE"),
    ("vlan-tagged", tagged, "NET_ETHERTYPE"),
    ("cut-short", cut_short, "NET_ETHERTYPE"),
    ("lldp-address-arp", lambda: beside_bridge_arp(LLDP), "NET_PORT_ARP"),
    ("lldp-address-udp", lambda: beside_bridge_udp(LLDP), "NET_PORT_INPUT"),
    ("group-address-arp", lambda: beside_bridge_arp(GROUP),
     "NET_GROUP_ADDR+NET_PORT_ARP"),
    ("group-address-udp", lambda: beside_bridge_udp(GROUP),
     "NET_GROUP_ADDR+NET_PORT_INPUT"),
    ("guest-to-guest", guest_to_guest, "NET_ISOLATE"),
    ("guest-to-guest-routed", guest_to_guest_routed, "NET_FORWARD_ONLY_UPLINK"),
    ("host-services", host_services, "NET_HOST_INPUT"),
    ("other-network", other_network, "NET_FORWARD_ONLY_UPLINK"),
    ("metadata", metadata, "NET_LINK_LOCAL"),
    ("world-unsolicited", world_unsolicited, "NET_FORWARD_IN"),
    ("uplink-is-no-router", uplink_is_no_router, "NET_UPLINK_GUARD"),
    ("address-outside", address_outside, "NET_SUBNET"),
    ("slot-too-high", slot_too_high, "NET_SLOT"),
    ("slot-impossible", slot_impossible, ""),
    ("mac-multicast", mac_multicast, "NET_MAC"),
    ("mac-of-the-gateway", mac_of_the_gateway, ""),
    ("address-twice", address_twice, "NET_DUPLICATE"),
    ("slot-twice", slot_twice, ""),
    ("adopt-other-numbers", adopt_other_numbers, ""),
    ("second-nic", second_nic, ""),
    ("close-of-another", close_of_another, "NET_CLOSE_OWNER"),
]


# -- what must work -----------------------------------------------------------

def pings_gateway():
    A.pings()
    ident = next(A.ports)  # no other address of the host answers
    A.frame(world.ping4(A.ip, world.UP_ADDR, ident))
    assert not A.pings(want=lambda f: f[38:40] == struct.pack("!H", ident))


def world_through_nat():
    w = world.udp(world.WORLD, 7720, "world")
    A.frame(world.udp4(A.ip, world.WORLD, 4000, 7720, b"hello"))
    data, peer = w.recvfrom(100)
    assert (data, peer[0]) == (b"hello", world.UP_ADDR), (data, peer)
    w.sendto(b"welcome", peer)
    A.wait(lambda f: b"welcome" in f)
    w.close()
    s = world.listener(world.WORLD, 7721, "world")
    sport = next(A.ports)
    A.frame(world.tcp4(A.ip, world.WORLD, sport, 7721, 2))
    A.wait(lambda f: world.is_tcp(f, world.WORLD, 7721, sport, 0x12))
    s.close()


def host_to_guest():
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((A.ip, 80))
    syn = A.wait(lambda f: f[12:14] == b"\x08\0" and f[23] == 6 and
                 f[36:38] == b"\0\x50" and f[47] == 2)
    port, seq = struct.unpack("!H2xI", syn[34:42])
    A.frame(world.tcp4(A.ip, world.GW, 80, port, 0x12, 5000, seq + 1))
    A.wait(lambda f: f[12:14] == b"\x08\0" and f[23] == 6 and f[47] == 0x10)
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    s.getpeername()
    s.close()


def confined():
    st = dict(l.split(":", 1) for l in open("/proc/%d/status" % netd.p.pid))
    st = {k: v.split() for k, v in st.items()}
    uid = [str(world.UID)] * 4
    net_admin = "%016x" % (1 << 12)
    assert st["Uid"] == uid and st["Gid"] == uid and st["Groups"] == []
    for k in ("CapPrm", "CapEff", "CapBnd"):
        assert st[k] == [net_admin], k
    for k in ("CapInh", "CapAmb"):
        assert st[k] == ["%016x" % 0], k
    assert st["NoNewPrivs"] == ["1"] and st["Seccomp"] == ["2"]
    mounts = open("/proc/%d/mountinfo" % netd.p.pid).read().splitlines()
    assert len(mounts) == 1 and " ro," in mounts[0], mounts
    root = "/proc/%d/root" % netd.p.pid
    assert os.listdir(root) == ["tun"]
    assert os.stat(root + "/tun").st_mode & 0o7777 == 0o600
    assert os.listdir(root + "/..") == ["tun"]


def refused_messages():
    """Each ends the channel it came on, and nothing else happens."""
    null = os.open("/dev/null", os.O_RDONLY)
    good = Guest(7).wire()
    for name, kind, payload, kw in (
            ("unknown", 0x3ff, b"", {}),
            ("an answer", world.TAP_READY, bytes(16), {}),
            ("mewsd's", world.TEARDOWN, b"", {}),
            ("mewsd's own", world.BOOT_STOP, b"", {}),
            ("short", world.TAP_OPEN, good[:-1], {}),
            ("long", world.TAP_OPEN, good + b"\0", {}),
            ("lying", world.TAP_OPEN, good, {"lie": 4}),
            ("flags", world.TAP_OPEN, Guest(7).wire(flags=2), {}),
            ("descriptor", world.TAP_OPEN, good, {"fds": [null]}),
            ("two descriptors", world.TAP_OPEN, good, {"fds": [null, null]}),
            ("padding", world.TAP_CLOSE, struct.pack("<QHHI", 1, 0, 0, 1), {}),
            ("payload", world.LIST, b"x", {})):
        before = world.state()
        netd.orchd.send(kind, payload, **kw)
        try:
            got = netd.orchd.recv()
            raise AssertionError("%s: answered %r" % (name, got))
        except Gone:
            pass
        netd.connect()
        assert len(netd.list()) == 2, name
        same(before)
    os.close(null)


def killed():
    before = world.state()
    netd.kill()
    same(before)  # nobody notices
    A.pings()
    assert not spoofed_mac() and not guest_to_guest() and not host_services()
    start()
    same(before)
    assert sorted(netd.list()) == [A.held(), B.held()]


def dead_vm():
    """The tap goes with its last descriptor, without a word to netd."""
    g = Guest(8)
    assert netd.open(g) is None
    assert len(netd.list()) == 3
    assert '"mw8"' in sh("nft", "list", "ruleset")
    g.detach()
    assert g.held() not in netd.list()
    assert '"mw8"' not in sh("nft", "list", "ruleset")  # nor its rules
    again = Guest(9, ip=g.ip, mac=g.mac)  # same address, no close between
    assert netd.open(again) is None
    assert netd.close(g) is None
    again.pings()
    assert netd.close(again) is None
    again.detach()
    assert netd.close(again) is None  # once more does no harm


def closed_under_vm():
    g = Guest(10)
    assert netd.open(g) is None
    assert netd.close(g) is None
    assert "mw10" not in world.state()
    g2 = Guest(12)  # closed and opened again in one breath
    assert netd.open(g2) is None
    g2.detach()
    netd.orchd.send(world.TAP_CLOSE, struct.pack("<QHHI", g2.uid, 12, 0, 0))
    netd.orchd.send(world.TAP_OPEN, g2.wire())
    assert netd.orchd.recv()[0] == world.DONE
    kind, _, _, fd = netd.orchd.recv()
    assert kind == world.TAP_READY
    g2.attach(fd)
    g2.pings()
    assert netd.close(g2) is None
    g2.detach()
    try:
        g.frame(b"x" * 60)
        raise AssertionError("still speaks")
    except OSError:
        g.detach()
    assert netd.open(Guest(10, uid=g.uid), world.ADOPT) == errno.ENOENT


def repaired():
    before = world.state().replace(sh("ip", "-d", "link"), "")
    sh("nft", "flush", "ruleset")
    links = sh("ip", "-d", "link")
    assert netd.open(Guest(5)) == errno.EIO  # no rules, no tap
    assert sh("ip", "-d", "link").count("mw") == links.count("mw")
    sh("ip", "link", "del", world.BRIDGE)
    assert netd.simple(world.ENSURE) is None
    assert "masquerade" in sh("nft", "list", "ruleset")
    A.pings()
    B.pings()
    assert not spoofed_ip() and not guest_to_guest()
    now = world.state()
    for words in ("isolated on", "learning off", "mcast_snooping 0"):
        assert words in now and words in before + now, words
    assert netd.simple(world.ENSURE, netd.parent) is None
    same(now)


def foreign_tap():
    """A tap of somebody else's in our name is left alone, and says nothing."""
    sh("ip", "tuntap", "add", "mw11", "mode", "tap")
    sh("ip", "link", "set", "mw11", "up", "master", world.BRIDGE)
    assert len(netd.list()) == 2
    assert netd.open(Guest(11)) == errno.EBUSY
    assert netd.close(Guest(11)) is None
    assert netd.simple(world.ENSURE) is None
    assert "mw11" in sh("ip", "link")
    assert "mw11" not in sh("nft", "list", "ruleset")
    sh("ip", "link", "del", "mw11")


def measured():
    """Full house: times, and a list longer than one message."""
    start(max_taps=512)
    guests = [Guest(s, ip="10.77.0.%d" % (s - 8), mac=b"\x52\x54\0\2" +
                    struct.pack("!H", s)) for s in range(40, 240)]
    took = []
    for g in guests:
        t = time.monotonic()
        assert netd.open(g) is None
        took.append((time.monotonic() - t) * 1000)
    assert len(netd.list()) == 202
    t = time.monotonic()
    assert netd.simple(world.ENSURE) is None
    ensure = (time.monotonic() - t) * 1000
    t = time.monotonic()
    netd.kill()
    start(max_taps=512)
    restart = (time.monotonic() - t) * 1000
    assert len(netd.list()) == 202
    adopted = []
    for g in guests:
        t = time.monotonic()
        assert netd.open(g, world.ADOPT) is None
        adopted.append((time.monotonic() - t) * 1000)
    gone = []
    for g in guests[:10]:
        t = time.monotonic()
        assert netd.close(g) is None
        gone.append((time.monotonic() - t) * 1000)
        g.detach()
    t = time.monotonic()
    for g in guests[10:]:
        netd.orchd.send(world.TAP_CLOSE, struct.pack("<QHHI", g.uid, g.slot, 0, 0))
    for _ in guests[10:]:
        assert netd.orchd.recv()[0] == world.DONE
    many = (time.monotonic() - t) * 1000
    for g in guests[10:]:
        g.detach()
    assert len(netd.list()) == 2
    print("open %.2f ms (first 20 %.2f, last 20 %.2f), adopt %.2f ms, close %.2f ms, "
          "190 closes %.1f ms, ensure with 202 taps %.1f ms, restart %.1f ms" % (
              statistics.median(took), statistics.median(took[:20]),
              statistics.median(took[-20:]), statistics.median(adopted),
              statistics.median(gone), many, ensure,
              restart))
    start()


def busy_ruleset():
    """Somebody else's rules, many and always changing."""
    before = world.state()
    addrs = ", ".join("10.%d.%d.1" % (i >> 8, i & 255) for i in range(3000))
    sh("nft", "add table ip other; add set ip other s { type ipv4_addr; "
       "elements = { %s } }; add chain ip other c; "
       "add rule ip other c ip saddr @s counter" % addrs)
    churn = "".join("add table ip churn%d\n" % i for i in range(20)) + "".join(
        "delete table ip churn%d\n" % i for i in range(20))
    noise = subprocess.Popen(
        ["sh", "-c", "for i in $(seq 99999); do printf '%s' \"$0\" | nft -f -; "
         "nft add table ip churn; nft delete table ip churn; done", churn],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    try:
        for i in range(40):
            g = Guest(2 + i % 12)
            assert netd.open(g) is None
            g.detach()
            assert netd.close(g) is None
            assert netd.simple(world.ENSURE) is None
        assert noise.poll() is None, "the noise ended early"
    finally:
        os.killpg(noise.pid, signal.SIGKILL)
        noise.wait()
        with contextlib.suppress(ChildProcessError):
            while True:  # what it had started is ours now: we are pid 1
                os.waitpid(-noise.pid, 0)
    for name in ("other", "churn", *("churn%d" % i for i in range(20))):
        sh("nft", "delete", "table", "ip", name, check=False)
    same(before)


def busy_links():
    """Links that come and go while netd asks what there is."""
    before = world.state()
    many = "".join("link add d%d type bridge\n" % i for i in range(200))
    subprocess.run(["ip", "-batch", "-"], input=many.encode(), check=True)
    churn = "".join("link add c%d type bridge\nlink del c%d\n" % (i, i)
                    for i in range(5000))
    noise = subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE)
    feed = threading.Thread(target=noise.communicate, args=(churn.encode(),),
                            daemon=True)
    feed.start()
    try:
        for i in range(60):
            assert len(netd.list()) == 2, i
        assert noise.poll() is None, "the noise ended early"
    finally:
        noise.kill()
        feed.join()
    left = "".join("link del %s\n" % n for _, n in socket.if_nameindex()
                   if n[0] in "cd" and n[1:].isdigit())
    subprocess.run(["ip", "-batch", "-"], input=left.encode(), check=True)
    same(before)


def foreign_bridge():
    """A bridge that was there before is somebody's: no port, no rule."""
    global netd
    netd.kill()
    sh("ip", "link", "add", "br7", "type", "bridge")
    before = world.state()
    conf = struct.pack("<16s16s4s4sHBB", b"br7", b"", socket.inet_aton(world.NET),
                       socket.inet_aton(world.GW), 16, 24, 0)
    netd = Netd(PROGRAM, conf=conf)
    assert netd.simple(world.ENSURE) == errno.EEXIST
    assert netd.open(Guest(5)) == errno.EEXIST
    same(before)
    sh("ip", "link", "del", "br7")
    start()


def no_uplink():
    """Without one, and with one that is not there."""
    start(uplink="")
    s = world.listener(world.WORLD, 7730, "world")
    assert not A.connects(world.WORLD, 7730)
    start(uplink="none0")
    assert netd.simple(world.ENSURE) == errno.ENODEV
    assert not A.connects(world.WORLD, 7730)
    assert not spoofed_mac() and not host_services()
    s.close()
    start()


def bad_config():
    good = [world.BRIDGE, world.UPLINK, world.NET, world.GW, 16, 24]
    for i, bad in ((0, ""), (0, "a b"), (0, 'x";flush'), (0, "mw1"),
                   (1, "mews0"), (1, "x" * 16), (2, "10.77.0.1"),
                   (3, "10.78.0.1"), (3, "10.77.0.0"), (4, 0), (4, 1024),
                   (5, 31), (5, 7), (5, 33)):
        c = list(good)
        c[i] = bad
        conf = struct.pack("<16s16s4s4sHBB", c[0].encode(), c[1].encode(),
                           socket.inet_aton(c[2]), socket.inet_aton(c[3]),
                           c[4], c[5], 0)
        before = world.state()
        try:
            Netd(PROGRAM, conf=conf)
            raise AssertionError("started with %r" % bad)
        except Gone:
            pass
        same(before)


def mewsd_dies():
    netd.parent.sock.close()
    assert netd.p.wait(world.DEADLINE) == 0
    start()


def teardown():
    """Refused while a tap is held; afterwards nothing is left."""
    assert netd.simple(world.TEARDOWN, netd.parent) == errno.EBUSY
    for g in (A, B):
        assert netd.close(g) is None
        g.detach()
    assert netd.simple(world.TEARDOWN, netd.parent) is None
    same(CLEAN)
    netd.stop()
    assert open("/proc/sys/net/ipv4/conf/%s/forwarding" %
                world.UPLINK).read() == "0\n"


WORKS = [("pings-the-gateway", pings_gateway), ("world-by-nat", world_through_nat),
         ("host-to-guest", host_to_guest), ("confined", confined),
         ("refused-messages", refused_messages), ("kill-9", killed),
         ("dead-vm", dead_vm), ("closed-under-vm", closed_under_vm),
         ("repaired", repaired), ("foreign-tap", foreign_tap),
         ("busy-ruleset", busy_ruleset), ("busy-links", busy_links),
         ("foreign-bridge", foreign_bridge), ("no-uplink", no_uplink), ("bad-config", bad_config),
         ("mewsd-dies", mewsd_dies), ("measured", measured)]


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


def blocked(fn):
    assert not fn(), "it happened"


def control(fn, rule):
    start("build-off/%s/mews-netd" % rule)
    if "NET_PORT_ARP" in rule:  # the tap has it off from the netd before
        sh("ip", "link", "set", "mw0", "arp", "on")
    assert fn(), "with %s off it does not happen either" % rule


def main(only):
    global CLEAN
    world.make_host()
    CLEAN = world.state()
    good = case("starts", start)
    if not good:
        print(open("/run/netd.log").read())
        return 1
    for name, fn in WORKS:
        if not only or name in only:
            good &= case(name, fn)
    # where the host's bridges hand frames to its IP rules, and where not
    for nf in world.bridge_nf():
        for name, fn, rule in FORBIDDEN:
            if not only or name in only:
                good &= case(name + nf, lambda: blocked(fn))
    for name, fn, rule in FORBIDDEN:
        if rule and CONTROLS and (not only or name in only):
            good &= case("%s without %s" % (name, rule),
                         lambda: control(fn, rule))
    if not only or "teardown" in only:
        if CONTROLS:
            start()
        good &= case("teardown", teardown)
    if not good:
        print(open("/run/netd.log").read()[-6000:])
    return 0 if good else 1


if __name__ == "__main__":
    if os.environ.get("MEWS_IN_NS") != "1":
        if CONTROLS:
            built = subprocess.run(
                ["make", "B=" + world.BUILD, "off-mews-netd"], cwd=world.TOP,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if built.returncode:
                sys.exit(built.stdout)
        os.environ["MEWS_IN_NS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "-i", "-u", "-p", "-f",
                              "--kill-child", "--mount-proc", sys.executable,
                              os.path.abspath(__file__)] + sys.argv[1:])
    signal.alarm(200)
    sys.exit(main(sys.argv[1:]))
