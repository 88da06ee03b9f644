"""struct machine and struct ward_exec, as proto/machine.h and ward.h have them."""
import struct

HEAD, DEV = "<8H4I", "<HHIQQ"
NIC, VSOCK = 1, 2
TAP, SPEC, ARGS, FD_VSOCK, QMP, SERIAL, AGENT = range(1, 8)
DEVS_MAX, FDS_MAX = 64, 72
# where the head has what tests spoil
(VERSION, HEAD_LEN, BACKEND, ACCEL, NDEVS, VCPUS, VCPUS_MAX, PAD, FLAGS, MEM,
 MEM_MAX, TSC) = (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28)
FIRST_DEV = 32
MAC = 0x020000000001


def machine(mem=64, vcpus=1, accel=0, flags=0, tsc=0, devs=()):
    """devs: (kind, index, num0) each."""
    return struct.pack(HEAD, 1, 32, 1, accel, len(devs), vcpus, vcpus, 0,
                       flags, mem, mem, tsc) + b"".join(
        struct.pack(DEV, kind, index, 0, num, 0) for kind, index, num in devs)


def unpack(b):
    h = struct.unpack_from(HEAD, b)
    assert h[:3] == (1, 32, 1) and len(b) == 32 + 24 * h[4], b
    return dict(accel=h[3], vcpus=h[5], flags=h[8], mem=h[9], tsc=h[11],
                devs=[(d[0], d[1], d[3]) for d in struct.iter_unpack(DEV, b[32:])])


def ward_exec(fds, m):
    """fds: roles of the descriptors from 4 on."""
    ids = b"".join(struct.pack("<HH", role, 0) for role in fds)
    return struct.pack("<II", 1, len(fds)) + ids.ljust(4 * FDS_MAX, b"\0") + \
        m.ljust(32 + 24 * DEVS_MAX, b"\0")
