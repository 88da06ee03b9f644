"""The spawner's messages (proto/spawn.h), and a real spawner at the other end
of launchd's channel and mewsd's."""
import array
import os
import socket

import machines
from wire import *  # noqa: F403

PREPARE, VERIFY, KILL = SPAWN_PREPARE, SPAWN_VERIFY, SPAWN_KILL
RELEASE, LIST, ACCEL = SPAWN_RELEASE, SPAWN_LIST, SPAWN_ACCEL
PREPARED, VERIFIED, DONE = SPAWN_PREPARED, SPAWN_VERIFIED, SPAWN_DONE
HELD, LIST_END, REFUSED = SPAWN_HELD, SPAWN_LIST_END, SPAWN_ERR
CAPS = SPAWN_CAPS
KEEPER, WARDEN, VMM = 1 << JAIL_KEEPER, 1 << JAIL_WARDEN, 1 << JAIL_VMM
TCG, KVM = ACCEL_TCG, ACCEL_KVM


def jail(vm, kind=JAIL_VM, pad=0):
    return bytes(spawn_jail(jail=jail_id(kind=kind, pad=pad, id=vm)))


def prepare(vm, mem, slot, vcpus, flags=0, accel=TCG, pad=0, kind=JAIL_VM):
    return bytes(spawn_prepare(
        jail=jail_id(kind=kind, id=vm), slot=slot,
        pad=[pad & 0xffff, pad >> 16])) + machines.pack(
            vcpus=vcpus, mem=mem, accel=accel, flags=flags)


def verify(vm, what, pad=0, kind=JAIL_VM):
    return bytes(spawn_verify(jail=jail_id(kind=kind, id=vm), what=what, pad=pad))


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
        self.send(BOOT_CONF, bytes(boot_common(
            version=BOOT_VERSION, room=ROOM_SPAWNER, log_level=3,
            nofile=512)) + bytes(launchd_conf(
                uid=c["launchd"], gid=c["launchd"], state=c["state"].encode(),
                run=c["run"].encode(), stage=c["stage"].encode(),
                **{n: c[n] for n in (
                    "uid_base", "uid_count", "max_vcpus", "max_mem_mib",
                    "max_vms", "cgroup", "accel", "vsock", "cid_base")})))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.send(BOOT_PEER, bytes(boot_peer(room=ROOM_LAUNCHD, life=1)),
                  fds=(theirs.fileno(),))
        theirs.close()
        self.s = ours
        self.s.settimeout(10)
        t, _, _ = self.recv()
        assert t == CAPS, hex(t)

    def send(self, typ, data=b"", mid=1, fds=(), ln=None):
        head = bytes(msg_hdr(type=typ, len=len(data) if ln is None else ln,
                             id=mid))
        self.s.sendmsg([head, data], [(
            socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            if fds else [])

    def recv(self):
        data, fds, _, _ = socket.recv_fds(self.s, 20000, 4)
        for fd in fds:
            os.close(fd)
        assert data, "the spawner ended"
        head = msg_hdr.at(data)
        assert head.len == len(data) - head.SIZE
        return head.type, head.id, data[head.SIZE:]

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
