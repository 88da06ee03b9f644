"""What netd's tests need: a private host with an uplink, a world and a second
network, netd played from both of its channels, guests made of raw frames."""
import array
import contextlib
import ctypes
import fcntl
import glob
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import sanitized  # noqa: E402
from wire import (BOOT_CONF, BOOT_PEER, BOOT_READY, BOOT_STOP,  # noqa: E402
                  BOOT_VERSION, LOG_INFO, MSG_MAX, NET_ADOPT, NET_ERR, NET_HELD,
                  NET_LIST, NET_LIST_END, NET_TAP_CLOSE, NET_TAP_OPEN,
                  NET_TAP_READY, ROOM_NETD, ROOM_ORCHD, boot_common, boot_peer,
                  msg_hdr, net_conf, net_err, net_list_end, net_tap,
                  net_tap_close)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("B", "build")
UID = 4242
DEADLINE = 5.0

BRIDGE, UPLINK = "mews0", "up0"
NET, PREFIX, GW = "10.77.0.0", 24, "10.77.0.1"
UP_ADDR, WORLD = "10.99.0.1", "10.99.0.2"
LAN_ADDR, LAN = "10.98.0.1", "10.98.0.2"
METADATA = "169.254.169.254"
BRIDGE_MAC = b"\x02m" + socket.inet_aton(GW)
BROADCAST = b"\xff" * 6


def addr(text):
    """As messages have it: a number whose bytes are in network order."""
    return int.from_bytes(socket.inet_aton(text), sys.byteorder)


def sh(*argv, check=True):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    if check and p.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), p.stdout))
    return p.stdout


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w") as f:
        f.write(str(value))


# -- the host and what is around it ----------------------------------------

def make_host():
    sh("mount", "-t", "tmpfs", "run", "/run")
    os.mkdir("/run/netns")
    sh("ip", "link", "set", "lo", "up")
    for which in ("all", "default"):  # its addresses come when they like
        sysctl("ipv6/conf/%s/disable_ipv6" % which, 1)
    for ns, here, mine, theirs in (("world", UPLINK, UP_ADDR, WORLD),
                                   ("lan", "lan0", LAN_ADDR, LAN)):
        sh("ip", "netns", "add", ns)
        with inside(ns):
            sysctl("ipv6/conf/default/disable_ipv6", 1)
        sh("ip", "link", "add", here, "type", "veth", "peer", "eth0", "netns", ns)
        sh("ip", "addr", "add", mine + "/24", "dev", here)
        sh("ip", "link", "set", here, "up")
        sh("ip", "-n", ns, "addr", "add", theirs + "/24", "dev", "eth0")
        sh("ip", "-n", ns, "link", "set", "eth0", "up")
        sh("ip", "-n", ns, "link", "set", "lo", "up")
        # knows the way in, so that only rules keep it out
        sh("ip", "-n", ns, "route", "add", "10.64.0.0/10", "via", mine)
    sh("ip", "-n", "world", "addr", "add", METADATA + "/32", "dev", "lo")
    sh("ip", "route", "add", METADATA + "/32", "via", WORLD)
    sh("ip", "route", "add", "default", "via", WORLD)


def bridge_nf():
    """Sets br_netfilter on, then off, where the kernel has it; names it."""
    knobs = glob.glob("/proc/sys/net/bridge/bridge-nf-call-*tables")
    for value, name in ((1, " with br_netfilter"), (0, "")):
        if value and not knobs:
            continue
        for k in knobs:
            sysctl(k.removeprefix("/proc/sys/net/"), value)
        yield name


@contextlib.contextmanager
def inside(ns):
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if libc.setns(there, 0):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        if libc.setns(home, 0):
            os._exit(70)
        os.close(home)
        os.close(there)


def udp(addr="0.0.0.0", port=0, ns=None):
    with inside(ns) if ns else contextlib.nullcontext():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((addr, port))
        s.settimeout(DEADLINE)
        return s


def listener(addr, port, ns=None):
    with inside(ns) if ns else contextlib.nullcontext():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((addr, port))
        s.listen(16)
        return s


def state():
    """All that netd may change, as text without the clocks that run in it."""
    text = "\n".join(sh(*c.split(), check=False) for c in (
        "ip -d link", "ip addr", "ip route", "bridge -d link", "bridge fdb show",
        "nft -s list ruleset"))
    # nor what is counted in them
    text = re.sub(r"(?s)\n\s*elements = \{[^}]*(limit|ct count) [^}]*\}", "", text)
    return re.sub(r"(_timer|_timer_expires) +[0-9.]+", r"\1", text)


# -- netd --------------------------------------------------------------------

class Gone(Exception):
    """netd closed the channel."""


class Chan:
    def __init__(self, sock):
        self.sock, self.id = sock, 0
        sock.settimeout(DEADLINE)

    def send(self, kind, payload=b"", fds=(), lie=0):
        self.id += 1
        payload = bytes(payload)
        head = bytes(msg_hdr(type=kind, len=len(payload) + lie, id=self.id))
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            self.sock.sendmsg([head + payload], anc if fds else [])
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def recv(self):
        """-> kind, id, payload, descriptor or None"""
        try:
            data, anc, _, _ = self.sock.recvmsg(MSG_MAX, 64)
        except ConnectionResetError:
            raise Gone from None
        if not data:
            raise Gone
        head, data = msg_hdr.of(data[:msg_hdr.SIZE]), data[msg_hdr.SIZE:]
        assert head.len == len(data)
        fd = None
        for level, what, raw in anc:
            if (level, what) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fd = array.array("i", raw)[0]
        return head.type, head.id, data, fd

    def ask(self, kind, payload=b""):
        self.send(kind, payload)
        got = self.recv()
        assert got[1] == self.id
        return got


class Netd:
    p = None

    def start(self, program, **conf):
        """In the place of the one that runs, if one does."""
        if self.p is not None:
            self.kill()
        self.parent, sock = pair()
        self.orchd_end = None
        self.log = open("/run/netd.log", "ab+")
        sanitized.watch("/run/netd.log")
        lock = os.open("/dev/null", os.O_RDONLY)
        hi = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (sock.fileno(), lock)]
        self.p = subprocess.Popen(
            [os.path.join(TOP, program)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log, pass_fds=(3, 4),
            preexec_fn=lambda: (os.dup2(hi[0], 3), os.dup2(hi[1], 4)))
        for fd in hi + [lock]:
            os.close(fd)
        sock.close()
        self.parent = Chan(self.parent)
        common = boot_common(version=BOOT_VERSION, room=ROOM_NETD, uid=UID,
                             gid=UID, log_level=LOG_INFO, nofile=256,
                             root=b"/nowhere")
        own = dict(bridge=BRIDGE.encode(), uplink=UPLINK.encode(),
                   subnet=addr(NET), gateway=addr(GW), max_taps=16, prefix=PREFIX)
        self.parent.send(BOOT_CONF, bytes(common) +
                         bytes(net_conf(**{**own, **conf})))
        kind = self.parent.recv()[0]
        assert kind == BOOT_READY, hex(kind)
        self.connect()

    def connect(self):
        mine, theirs = pair()
        self.parent.send(BOOT_PEER, boot_peer(room=ROOM_ORCHD),
                         [theirs.fileno()])
        theirs.close()
        self.orchd = Chan(mine)

    def kill(self):
        self.p.kill()
        self.p.wait()

    def stop(self):
        self.parent.send(BOOT_STOP)
        assert self.p.wait(DEADLINE) == 0, self.p.returncode

    def open(self, g, flags=0):
        """-> None, or the error's errno"""
        kind, _, data, fd = self.orchd.ask(NET_TAP_OPEN, g.tap(flags=flags))
        if kind == NET_ERR:
            assert fd is None
            return -net_err.of(data).code
        assert kind == NET_TAP_READY, hex(kind)
        assert (fd is None) == bool(flags & NET_ADOPT)
        if fd is not None:
            g.attach(fd)
        return None

    def close(self, g, uid=None):
        return self.simple(NET_TAP_CLOSE, net_tap_close(
            vm=uid or g.uid, slot=g.slot))

    def list(self):
        self.orchd.send(NET_LIST)
        taps = []
        while True:
            kind, _, data, _ = self.orchd.recv()
            if kind == NET_LIST_END:
                assert net_list_end.of(data) == net_list_end(count=len(taps))
                return taps
            assert kind == NET_HELD, hex(kind)
            taps += net_tap.all(data)

    def simple(self, kind, payload=b"", chan=None):
        got, _, data, _ = (chan or self.orchd).ask(kind, payload)
        return -net_err.of(data).code if got == NET_ERR else None


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


# -- a guest -----------------------------------------------------------------

def csum(data):
    data += b"\0" * (len(data) & 1)
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return struct.pack("!H", ~s & 0xffff)


def ipv4(src, dst, proto, body):
    h = struct.pack("!BBHHHBB2x4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, proto,
                    socket.inet_aton(src), socket.inet_aton(dst))
    return h[:10] + csum(h) + h[12:] + body


def udp4(src, dst, sport, dport, data):
    return ipv4(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(data),
                                          0) + data)


def tcp4(src, dst, sport, dport, flags, seq=1000, ack=0):
    h = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 8192, 0, 0)
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack(
        "!BBH", 0, 6, len(h))
    return ipv4(src, dst, 6, h[:16] + csum(pseudo + h) + h[18:])


def ping4(src, dst, ident):
    h = struct.pack("!BBHHH", 8, 0, 0, ident, 1) + b"mews"
    return ipv4(src, dst, 1, h[:2] + csum(h) + h[4:])


def arp(op, sha, spa, tpa, tha=b"\0" * 6):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, op, sha,
                       socket.inet_aton(spa), tha, socket.inet_aton(tpa))


class Guest:
    """Numbers of a VM, and what it can do with its end of the tap."""
    ports = iter(range(20000, 60000))

    def __init__(self, slot, ip=None, mac=None, uid=None):
        self.slot = slot
        self.ip = ip or "10.77.0.%d" % (10 + slot)
        self.mac = mac or bytes([0x52, 0x54, 0, 0, 1, slot & 255])
        self.uid = uid or 0xabcd000000000000 + slot
        self.fd = None

    def tap(self, **more):
        return net_tap(vm=self.uid, slot=self.slot, ipv4=addr(self.ip),
                       mac=self.mac, **more)

    def attach(self, fd):
        self.fd = fd
        os.set_blocking(fd, False)

    def detach(self):
        if self.fd is not None:
            os.close(self.fd)
        self.fd = None

    def frame(self, data, kind=0x800, dst=BRIDGE_MAC, src=None):
        os.write(self.fd, b"\0" * 10 + dst + (src or self.mac) +
                 struct.pack("!H", kind) + data)

    def frames(self, until):
        """Yields what arrives; answers ARP for its own address."""
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return
            f = os.read(self.fd, 70000)[10:]
            if (f[12:14] == b"\x08\x06" and f[20:22] == b"\0\1" and
                    f[38:42] == socket.inet_aton(self.ip)):
                self.frame(arp(2, self.mac, self.ip,
                               socket.inet_ntoa(f[28:32]), f[22:28]), 0x806,
                           dst=f[6:12])
            yield f

    def wait(self, want):
        """The first frame that want() likes, or a failure."""
        for f in self.frames(time.monotonic() + DEADLINE):
            if want(f):
                return f
        raise AssertionError("nothing came")

    def pings(self, dst=GW, want=None):
        """Sends an echo to dst and waits until it is answered.  What was sent
        before has then been dealt with: True if want() saw a frame."""
        ident, saw = next(self.ports), False
        self.frame(ping4(self.ip, dst, ident))

        def done(f):
            nonlocal saw
            saw = saw or bool(want and want(f))
            return (f[12:14] == b"\x08\0" and f[23] == 1 and f[34] == 0 and
                    f[38:40] == struct.pack("!H", ident))
        self.wait(done)
        return saw

    def connects(self, dst, port):
        """SYN; True when a SYN+ACK comes before the gateway's echo."""
        sport = next(self.ports)
        self.frame(tcp4(self.ip, dst, sport, port, 2))
        return self.pings(want=lambda f: is_tcp(f, dst, port, sport, 0x12))


def is_tcp(f, src, sport, dport, flags):
    return (f[12:14] == b"\x08\0" and f[23] == 6 and
            f[26:30] == socket.inet_aton(src) and
            f[34:38] == struct.pack("!HH", sport, dport) and
            f[47] & 0x3f == flags)


class Sniffer:
    """Frames as they come in on a link of the host."""

    def __init__(self, link):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                               socket.htons(3))
        self.s.bind((link, 0))
        self.s.settimeout(DEADLINE)

    def saw(self, canary, barrier):
        """Whether canary came before barrier did."""
        hit = False
        while True:
            data, _ = self.s.recvfrom(70000)
            hit = hit or canary in data
            if barrier in data:
                return hit

    def close(self):
        self.s.close()
