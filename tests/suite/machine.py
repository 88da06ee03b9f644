"""Machines as they travel: the head of struct machine and its devices."""
import wire
from wire import (BACKEND_QEMU, DEV_NIC, MACHINE_VERSION, WARD_EXEC_VERSION,
                  machine_dev, machine_fd)

HEAD = wire.machine.dev.offset
MAC = 0x020000000001
NIC = DEV_NIC


def machine(mem=64, vcpus=1, accel=0, flags=0, tsc=0, devs=()):
    """devs: (kind, index, num0) each."""
    return bytes(wire.machine(
        version=MACHINE_VERSION, head_len=HEAD, backend=BACKEND_QEMU,
        accel=accel, ndevs=len(devs), vcpus=vcpus, vcpus_max=vcpus, flags=flags,
        mem_mib=mem, mem_max_mib=mem, tsc_khz=tsc,
        dev=[machine_dev(kind=kind, index=index, num=[num])
             for kind, index, num in devs]))[:HEAD + machine_dev.SIZE * len(devs)]


def whole(b):
    """The struct of one that travelled."""
    return wire.machine.of(b.ljust(wire.machine.SIZE, b"\0"))


def unpack(b):
    m = whole(b)
    assert (m.version, m.head_len, m.backend) == (
        MACHINE_VERSION, HEAD, BACKEND_QEMU), m
    assert len(b) == HEAD + machine_dev.SIZE * m.ndevs, b
    return dict(accel=m.accel, vcpus=m.vcpus, flags=m.flags, mem=m.mem_mib,
                tsc=m.tsc_khz, devs=[(d.kind, d.index, d.num[0])
                                     for d in m.dev[:m.ndevs]])


def ward_exec(fds, m):
    """fds: roles of the descriptors from 4 on."""
    return bytes(wire.ward_exec(
        version=WARD_EXEC_VERSION, nfds=len(fds),
        fd=[machine_fd(role=role) for role in fds], machine=whole(m)))
