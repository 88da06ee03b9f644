"""Documents of orchd's API, as proto/table_wire.c has them."""
import os
import struct

STATES = ["", "pending", "starting", "running", "stopped", "crashed",
          "paused", "stopping", "created", "deleting", "broken"]
EVENT_TYPES = ["VM_CREATED", "VM_RUNNING", "VM_STOPPED", "VM_CRASHED",
               "VM_DELETED", "VM_LOG", "VM_PAUSED", "VM_READY"]


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("=I", len(s)) + s


def vm_create(name="", image="busybox", cpu_cores=1, memory_mb=96, env=(),
              plugin="", runtime="", kernel_cmdline="", hostname="", has=None):
    packed = b"".join(e.encode() + b"\0" for e in env)
    given = [name, plugin, image, runtime, cpu_cores, memory_mb,
             kernel_cmdline, "", "", env, hostname]
    bits = sum(1 << i for i, v in enumerate(given) if v)
    return (struct.pack("=Q", bits if has is None else has) + text(name) +
            text(plugin) + text(image) + text(runtime) +
            struct.pack("=qq", cpu_cores, memory_mb) + text(kernel_cmdline) +
            text("") + text("") +
            struct.pack("=II", len(env), len(packed)) + packed + text(hostname))


def vm_query(status=None, runtime="", q="", limit=None, offset=0, sort=0,
             desc=False):
    bits, mid = 0, b""
    out = b""
    if status is not None:
        bits |= 1
        out += struct.pack("=I", sum(1 << STATES.index(s) for s in status))
    out += text(runtime) + text("") + text(q)
    for i, v in ((1, runtime), (3, q), (5, offset), (6, sort), (7, desc)):
        bits |= (1 << i) if v else 0
    if limit is not None:
        bits |= 1 << 4
        mid = struct.pack("=Q", limit)
    return (struct.pack("=Q", bits) + out + mid +
            struct.pack("=QII", offset, sort, desc))


class Cur:
    def __init__(self, b):
        self.b, self.at = b, 0

    def get(self, fmt):
        v = struct.unpack_from("=" + fmt, self.b, self.at)
        self.at += struct.calcsize("=" + fmt)
        return v[0]

    def text(self):
        n = self.get("I")
        s = self.b[self.at:self.at + n]
        assert len(s) == n, "cut short"
        self.at += n
        assert all(32 <= c < 127 for c in s), "not fit for a reader: %r" % s
        return s.decode()


def vm_view(b):
    """As apid would take it: what its tables refuse fails here too."""
    c, v = Cur(b), {}
    has = c.get("Q")
    v["id"], v["name"], v["status"] = c.get("q"), c.text(), STATES[c.get("I")]
    v["runtime"], v["pid"] = c.text(), c.get("q")
    assert 0 <= v["pid"] < 2**31, v["pid"]
    v["ip"], v["mac"] = c.text(), c.text()
    v["cpus"], v["mem"] = c.get("q"), c.get("q")
    v["cmdline"], v["serial"] = c.text(), c.text()
    v["created"], v["updated"] = c.get("q"), c.get("q")
    v["uid"], v["image"], v["tenant"] = c.get("Q"), c.text(), c.text()
    v["ready"], v["reason"] = bool(c.get("B")), c.text()
    if has & 1 << 18:
        v["exit"] = c.get("q")
        assert 0 <= v["exit"] <= 255
    v["accel"] = c.get("I")
    if has & 1 << 20:
        c.get("Q")
        v["verified"], v["filters"] = c.get("B"), c.get("q")
        assert 0 <= v["filters"] <= 1024
        v["cgroup"], v["cid"] = c.text(), c.get("q")
    assert c.at == len(b), "trailing bytes"
    return v


def event_view(b):
    c, v = Cur(b), {}
    v["id"] = c.get("Q")
    c.get("Q")
    v["type"], v["name"] = EVENT_TYPES[c.get("I")], c.text()
    v["status"], v["ip"], v["mac"] = STATES[c.get("I")], c.text(), c.text()
    v["pid"], v["at"], v["message"] = c.get("q"), c.get("q"), c.text()
    assert 0 <= v["pid"] < 2**31
    c.get("I"), c.text()
    v["uid"], v["seq"] = c.get("Q"), c.get("q")
    assert c.at == len(b) and v["seq"] == v["id"]
    return v


def check_view(b):
    c = Cur(b)
    c.get("Q")
    return c.text(), bool(c.get("B")), c.text()


def doc_list(b, item):
    n, at, out = struct.unpack_from("=I", b)[0], 4, []
    for _ in range(n):
        size, = struct.unpack_from("=I", b, at)
        out.append(item(b[at + 4:at + 4 + size]))
        at += 4 + size
    assert at == len(b)
    return out


def memfd(data, seals=0xf):
    import fcntl
    fd = os.memfd_create("doc", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    if seals:
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd
