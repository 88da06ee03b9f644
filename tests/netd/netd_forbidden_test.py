#!/usr/bin/env python3
"""netd alone: mews-netd in a private network namespace, told what to do as
mewsd and orchd would; what guests, made of raw frames on the tap's descriptor,
and orchd must not be able to do.

usage: netd_forbidden_test.py [CASE...]   MEWS_PROGRAM: another mews-netd, no controls
"""
import errno
import os
import socket
import struct
import time

from running import *  # noqa: F403
import rules  # found by running
from wire import NET_ADOPT, NET_ENSURE, NET_ERR, NET_TAP_OPEN


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


def guest_to_guest_routed():
    A.frame(world.udp4(A.ip, B.ip, 1, 9, b"canary-r"))
    A.pings()
    return B.pings(want=lambda f: b"canary-r" in f)


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
    return any([tried(Guest(0, uid=77), flags=NET_ADOPT),
                tried(Guest(0, ip="10.77.0.70"), flags=NET_ADOPT)])


def second_nic():
    kind, _, _, _ = netd.orchd.ask(NET_TAP_OPEN, Guest(5).tap(nic=1))
    return kind != NET_ERR


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
            assert netd.simple(NET_ENSURE) is None
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


def blocked(fn):
    assert not fn(), "it happened"


def control(fn, rule):
    start("build-off/%s/mews-netd" % rule)
    if "NET_PORT_ARP" in rule:  # the tap has it off from the netd before
        sh("ip", "link", "set", "mw0", "arp", "on")
    assert fn(), "with %s off it does not happen either" % rule


def cases(only, _):
    good = True
    # where the host's bridges hand frames to its IP rules, and where not
    for nf in world.bridge_nf():
        for name, fn, rule in FORBIDDEN:
            if not only or name in only:
                good &= case(name + nf, lambda: blocked(fn))
    for name, fn, rule in FORBIDDEN:
        if rule and CONTROLS and (not only or name in only):
            good &= case("%s without %s" % (name, rule),
                         lambda: control(fn, rule))
    return good


if CONTROLS and os.environ.get("MEWS_IN_NS") != "1":
    rules.build("B=" + world.BUILD, *{rules.off(rule, "mews-netd")
                                      for _, _, rule in FORBIDDEN if rule})
run(cases)
