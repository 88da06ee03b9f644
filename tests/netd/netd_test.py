#!/usr/bin/env python3
"""netd alone: mews-netd in a private network namespace, told what to do as
mewsd and orchd would, guests made of raw frames on the tap's descriptor.

usage: netd_test.py [CASE...]   MEWS_PROGRAM: another mews-netd, no controls
"""
import contextlib
import errno
import os
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time

from running import *  # noqa: F403
from wire import NET_ERR_UPLINK, net_err  # noqa: E402


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
            ("padding", world.TAP_CLOSE, world.closing(1, 0, pad=1), {}),
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
    netd.orchd.send(world.TAP_CLOSE, world.closing(g2.uid, 12))
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
        netd.orchd.send(world.TAP_CLOSE, world.closing(g.uid, g.slot))
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
    netd.kill()
    sh("ip", "link", "add", "br7", "type", "bridge")
    before = world.state()
    netd.start(PROGRAM, conf=world.config(bridge="br7", uplink=""))
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
    got, _, data, _ = netd.orchd.ask(world.ENSURE)
    err = net_err.of(data)
    assert (got, err.code, err.flags) == (world.ERR, -errno.ENODEV,
                                          NET_ERR_UPLINK), err
    assert err.msg.startswith(b"uplink none0: "), err
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
        before = world.state()
        try:
            Netd().start(PROGRAM, conf=world.config(*c))
            raise AssertionError("started with %r" % bad)
        except Gone:
            pass
        same(before)


def mewsd_dies():
    netd.parent.sock.close()
    assert netd.p.wait(world.DEADLINE) == 0
    start()


def teardown(clean):
    """Refused while a tap is held; afterwards nothing is left."""
    assert netd.simple(world.TEARDOWN, netd.parent) == errno.EBUSY
    for g in (A, B):
        assert netd.close(g) is None
        g.detach()
    assert netd.simple(world.TEARDOWN, netd.parent) is None
    same(clean)
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


def cases(only, clean):
    good = True
    for name, fn in WORKS:
        if not only or name in only:
            good &= case(name, fn)
    if not only or "teardown" in only:
        good &= case("teardown", lambda: teardown(clean))
    return good


run(cases)
