"""The spawner's messages (proto/spawn.h), and a real spawner at the other end
of launchd's channel and mewsd's."""
import array
import os
import socket

import machine
from wire import (ACCEL_TCG, BOOT_CONF, BOOT_PEER, BOOT_VERSION, JAIL_VM,
                  ROOM_LAUNCHD, ROOM_SPAWNER, SPAWN_CAPS, boot_common, boot_peer,
                  jail_id, launchd_conf, msg_hdr, spawn_jail, spawn_prepare,
                  spawn_verify)


def jail_of(vm, kind=JAIL_VM, pad=0):
    return jail_id(kind=kind, pad=pad, id=vm)


def jail(vm, kind=JAIL_VM, pad=0):
    return bytes(spawn_jail(jail=jail_of(vm, kind, pad)))


def prepare(vm, mem, slot, vcpus, flags=0, accel=ACCEL_TCG, pad=(), **kw):
    return bytes(spawn_prepare(jail=jail_of(vm, **kw), slot=slot, pad=pad)) \
        + machine.machine(vcpus=vcpus, mem=mem, accel=accel, flags=flags)


def verify(vm, what, pad=0, **kw):
    return bytes(spawn_verify(jail=jail_of(vm, **kw), what=what, pad=pad))


def boot(room, conf, uid=0, root=""):
    """BOOT_CONF for launchd or the spawner.  conf: launchd_conf's fields."""
    def plain(v):
        return v.encode() if isinstance(v, str) else v
    return bytes(boot_common(
        version=BOOT_VERSION, room=room, uid=uid, gid=uid, log_level=3,
        nofile=512, root=plain(root))) + bytes(
        launchd_conf(**{name: plain(v) for name, v in conf.items()}))


class Spawner:
    """A real one, started as mewsd starts it; we are launchd, too.

    conf: launchd_conf's fields.
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
        self.send(BOOT_CONF, boot(ROOM_SPAWNER, conf))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.send(BOOT_PEER, boot_peer(room=ROOM_LAUNCHD, life=1),
                  fds=(theirs.fileno(),))
        theirs.close()
        self.s = ours
        self.s.settimeout(10)
        t, _, _ = self.recv()
        assert t == SPAWN_CAPS, hex(t)

    def send(self, typ, data=b"", mid=1, fds=(), ln=None):
        data = bytes(data)
        head = msg_hdr(type=typ, len=len(data) if ln is None else ln, id=mid)
        self.s.sendmsg([bytes(head), data], [(
            socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            if fds else [])

    def recv(self):
        data, fds, _, _ = socket.recv_fds(self.s, 20000, 4)
        for fd in fds:
            os.close(fd)
        assert data, "the spawner ended"
        head, data = msg_hdr.of(data[:msg_hdr.SIZE]), data[msg_hdr.SIZE:]
        assert head.len == len(data)
        return head.type, head.id, data

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
