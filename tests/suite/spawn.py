"""The spawner's messages (proto/spawn.h), and a real spawner at the other end
of launchd's channel and mewsd's."""
import array
import os
import socket
import struct

import machine

(PREPARE, VERIFY, KILL, RELEASE, LIST, ACCEL) = range(0x501, 0x507)
(PREPARED, VERIFIED, DONE, HELD, LIST_END, REFUSED, CAPS) = range(0x581, 0x588)
BOOT_CONF, BOOT_PEER = 0x101, 0x102
ROOM_LAUNCHD, ROOM_SPAWNER = 5, 6
JAIL_VM = 1
KEEPER, WARDEN, VMM = 1 << 0, 1 << 1, 1 << 2  # JAIL_ROLE_BIT()
TCG, KVM = 1, 2  # enum machine_accel


def jail(vm, kind=JAIL_VM, pad=0):
    return struct.pack("<IIQ", kind, pad, vm)


def prepare(vm, mem, slot, vcpus, flags=0, accel=TCG, pad=0, **kw):
    return jail(vm, **kw) + struct.pack("<HHI", slot, pad & 0xffff, pad >> 16) \
        + machine.machine(vcpus=vcpus, mem=mem, accel=accel, flags=flags)


def verify(vm, what, pad=0, **kw):
    return jail(vm, **kw) + struct.pack("<II", what, pad)


class Spawner:
    """A real one, started as mewsd starts it; we are launchd, too.

    conf: launchd, state, run, stage, and mews.conf's numbers.
    """

    def __init__(self, program, log, conf, env=()):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        null = os.open("/dev/null", os.O_RDWR)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                high = [os.dup2(fd, 100 + i) for i, fd in enumerate(
                    (null, null, log, theirs.fileno(), null))]
                for i, fd in enumerate(high):
                    os.dup2(fd, i)
                os.execve(program, ["mews-spawner"],
                          dict(env, _=" " * 60))
            finally:
                os._exit(127)
        for fd in (log, null):
            os.close(fd)
        theirs.close()
        self.above = self.s = ours
        self.s.settimeout(10)
        c = conf
        self.send(BOOT_CONF, struct.pack(
            "<6I16x160s11I160s160s160s160s", 1, ROOM_SPAWNER, 0, 0, 3, 512, b"",
            c["uid_base"], c["uid_count"], c["max_vcpus"], c["max_mem_mib"],
            c["max_vms"], c["cgroup"], c["accel"], c["vsock"], c["cid_base"],
            c["launchd"], c["launchd"], c["state"].encode(), c["run"].encode(),
            c["stage"].encode(), b""))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.send(BOOT_PEER, struct.pack("<II", ROOM_LAUNCHD, 1),
                  fds=(theirs.fileno(),))
        theirs.close()
        self.s = ours
        self.s.settimeout(10)
        t, _, _ = self.recv()
        assert t == CAPS, hex(t)

    def send(self, typ, data=b"", mid=1, fds=(), ln=None):
        head = struct.pack("<IIQ", typ, len(data) if ln is None else ln, mid)
        self.s.sendmsg([head, data], [(
            socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            if fds else [])

    def recv(self):
        data, fds, _, _ = socket.recv_fds(self.s, 20000, 4)
        for fd in fds:
            os.close(fd)
        assert data, "the spawner ended"
        typ, ln, mid = struct.unpack_from("<IIQ", data)
        assert ln == len(data) - 16
        return typ, mid, data[16:]

    def ask(self, typ, data):
        """(type, payload) of the one answer."""
        self.send(typ, data)
        t, _, p = self.recv()
        return t, p

    def end(self):
        """Exit status, after launchd's end (or its own refusal)."""
        self.s.close()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.above.close()
        return status
