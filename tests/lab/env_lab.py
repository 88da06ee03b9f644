#!/usr/bin/env python3
"""The lab is what it promises: each case has its control, which fails where
the thing is not there."""
import fcntl
import os
import re
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import eq, note  # noqa: E402

LAB = {"config": ["bare", "systemd"], "deadline": 240}
PORT, CID = 5000, 7
NOBODY = 65534
# linux/vfio.h: VFIO_TYPE is ';', VFIO_BASE 100
VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER = 0x3b67, 0x3b68
VFIO_GROUP_GET_DEVICE_FD, VFIO_DEVICE_GET_INFO = 0x3b6a, 0x3b6b
VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU = 0x3b66, 1
VIABLE = 1


def pid_1():
    want = {"bare": "init", "systemd": "systemd"}[lab.CONFIG]
    eq(lab.read("/proc/1/comm"), want)
    if lab.CONFIG == "systemd":
        assert lab.sh("systemctl", "is-active", "basic.target") == "active\n"


def kvm():
    """A stock kernel boots to its init on /dev/kvm."""
    with lab.Guest() as g:
        took = g.line("lab-guest: first line")
        assert took, g.out
        note("KVM guest at its init after %.1f s" % took)
        assert g.line("lab-guest: end"), g.out


def kvm_control():
    """That was /dev/kvm: who may not open it boots nothing, and a kernel
    that is none says nothing."""
    os.chmod("/dev/kvm", 0o600)
    with lab.Guest(uid=NOBODY) as g:
        eq(g.line("lab-guest: first line"), None)
        assert b"ermission denied" in g.out, g.out
    with open("/tmp/none", "wb") as f:
        f.truncate(1 << 20)
    with lab.Guest(kernel="/tmp/none") as g:
        eq(g.line("lab-guest: first line", 10), None)
    os.unlink("/tmp/none")


def iommu():
    eq(lab.group(lab.LONE_NIC)[1], {lab.LONE_NIC}, "lone NIC")
    eq(lab.group(lab.SHARED_NIC)[1], {lab.SHARED_NIC, lab.SIBLING}, "shared")
    eq(lab.group(lab.NVME)[1], {lab.NVME}, "NVMe")
    for nic in (lab.LONE_NIC, lab.SHARED_NIC):
        eq(lab.read("/sys/bus/pci/devices/%s/class" % nic), "0x020000", nic)
    at = "/sys/bus/pci/devices/%s/nvme/nvme0/serial" % lab.NVME
    eq(lab.read(at), "lab-nvme")


def viable(device):
    """Whether the whole group is in vfio's hand."""
    with open("/dev/vfio/%d" % lab.group(device)[0], "rb+", buffering=0) as g:
        buf = bytearray(struct.pack("=II", 8, 0))
        fcntl.ioctl(g, VFIO_GROUP_GET_STATUS, buf)
        return struct.unpack("=II", buf)[1] & VIABLE == VIABLE


def vfio():
    """The lone NIC, wholly: its registers can be reached through an IOMMU
    domain of ours."""
    with lab.bound(lab.LONE_NIC):
        assert viable(lab.LONE_NIC)
        with open("/dev/vfio/vfio", "rb+", buffering=0) as container, \
                open("/dev/vfio/%d" % lab.group(lab.LONE_NIC)[0], "rb+",
                     buffering=0) as g:
            fcntl.ioctl(g, VFIO_GROUP_SET_CONTAINER,
                        struct.pack("=i", container.fileno()))
            fcntl.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)
            # only with a buffer that may change does ioctl return the number
            device = fcntl.ioctl(g, VFIO_GROUP_GET_DEVICE_FD,
                                 bytearray(lab.LONE_NIC.encode() + b"\0"))
            try:
                info = fcntl.ioctl(device, VFIO_DEVICE_GET_INFO,
                                   struct.pack("=IIIIII", 24, 0, 0, 0, 0, 0))
            finally:
                os.close(device)
            flags, regions = struct.unpack("=IIIIII", info)[1:3]
            assert flags & 2 and regions >= 9, info  # a PCI device
    eq(lab.driver(lab.LONE_NIC), "e1000e", "back with its driver")


def vfio_control():
    """A NIC whose sibling has a driver of the host cannot be given away."""
    with lab.bound(lab.SHARED_NIC):
        eq(lab.driver(lab.SIBLING), "virtio-pci", "sibling")
        assert not viable(lab.SHARED_NIC), "half a group is viable"
        with lab.bound(lab.SIBLING):
            assert viable(lab.SHARED_NIC), "a whole group is not"
    eq(lab.driver(lab.SHARED_NIC), "e1000", "back with its driver")


def vsock():
    """The guest dials its host, and the host the guest."""
    with socket.socket(socket.AF_VSOCK) as l:
        l.bind((socket.VMADDR_CID_ANY, PORT))
        l.listen(1)
        l.settimeout(lab.GUEST)
        with lab.Guest("-device", "vhost-vsock-device,guest-cid=%d" % CID,
                       cmdline="vsock=%d" % PORT) as g:
            with l.accept()[0] as s:
                eq((s.getpeername()[0], s.recv(100)), (CID, b"dialled"))
            with socket.socket(socket.AF_VSOCK) as s:
                s.settimeout(lab.GUEST)
                s.connect((CID, PORT))
                s.sendall(b"there and back")
                eq(s.recv(100), b"there and back")
            assert g.line("lab-guest: spoke both ways"), g.out


def vsock_control():
    """Without the device, neither."""
    with lab.Guest(cmdline="vsock=%d" % PORT) as g:
        assert g.line("lab-guest: dial: "), g.out
        with socket.socket(socket.AF_VSOCK) as s:
            try:
                s.connect((CID, PORT))
                raise AssertionError("connected to nobody")
            except OSError:
                pass


def cgroup2():
    """Unified, nothing of version 1, and the controllers that mews uses."""
    kinds = re.findall(r" - (cgroup2?) ", lab.read("/proc/self/mountinfo"))
    eq(kinds, ["cgroup2"], "mounts")
    have = lab.read(lab.CGROUP + "/cgroup.controllers").split()
    assert {"memory", "pids", "cpu"} <= set(have), have


EAT = "x = bytearray(64 << 20)"  # touched: it is all zeros, written


def memory_max():
    with lab.cgroup("lab-env", memory_max="32M", memory_swap_max="0") as cg:
        eq(lab.in_cgroup(cg, sys.executable, "-c", EAT), -signal.SIGKILL)
        eq(lab.events(cg)["oom_kill"], 1)


def memory_max_control():
    with lab.cgroup("lab-env", memory_max="max") as cg:
        eq(lab.in_cgroup(cg, sys.executable, "-c", EAT), 0)
        eq(lab.events(cg)["oom_kill"], 0)


def no_network():
    """Nothing leads outside: no card but the two of the hub."""
    eq(sorted(os.listdir("/sys/class/net")), ["eth0", "eth1", "lo"])
    for nic in ("eth0", "eth1"):
        where = os.path.realpath("/sys/class/net/%s/device" % nic)
        assert os.path.basename(where) in (lab.LONE_NIC, lab.SHARED_NIC), where


CASES = {f.__name__.replace("_", "-"): f for f in (
    pid_1, kvm, kvm_control, iommu, no_network, vfio, vfio_control, vsock,
    vsock_control, cgroup2, memory_max, memory_max_control)}

if __name__ == "__main__":
    sys.exit(lab.run(CASES))
