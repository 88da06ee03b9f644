"""A machine as it travels (proto/machine.h): its head, and as many devices as it
has; and struct ward_exec, which has one."""
from wire import *  # noqa: F403

HEAD = machine.dev.offset


def pack(mem=64, vcpus=1, accel=ACCEL_UNKNOWN, flags=0, tsc=0, devs=()):
    """devs: (kind, index, num0) each."""
    m = machine(version=MACHINE_VERSION, head_len=HEAD, backend=BACKEND_QEMU,
                accel=accel, ndevs=len(devs), vcpus=vcpus, vcpus_max=vcpus,
                flags=flags, mem_mib=mem, mem_max_mib=mem, tsc_khz=tsc)
    for i, (kind, index, num) in enumerate(devs):
        m.dev[i] = machine_dev(kind=kind, index=index, num=[num])
    return bytes(m)[:HEAD + len(devs) * machine_dev.SIZE]


def unpack(b):
    m = machine.of(b.ljust(machine.SIZE, b"\0"))
    assert (m.version, m.head_len, m.backend) == (
        MACHINE_VERSION, HEAD, BACKEND_QEMU), m
    assert len(b) == HEAD + m.ndevs * machine_dev.SIZE, b
    return dict(accel=m.accel, vcpus=m.vcpus, flags=m.flags, mem=m.mem_mib,
                tsc=m.tsc_khz, devs=[(d.kind, d.index, d.num[0])
                                     for d in m.dev[:m.ndevs]])


def exec_of(fds, packed):
    """fds: roles of the descriptors from WARD_EXEC_FD_FIRST on."""
    return bytes(ward_exec(
        version=WARD_EXEC_VERSION, nfds=len(fds),
        fd=[machine_fd(role=role) for role in fds],
        machine=machine.of(packed.ljust(machine.SIZE, b"\0"))))
