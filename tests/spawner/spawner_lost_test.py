#!/usr/bin/env python3
"""Jails that run while their record cannot be believed; asked through launchd.

None is forgotten: it keeps folder and slot, is told as one that cannot be asked
(LF_RECORD), and a release ends it before its folder goes.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
from wire import *  # noqa: E402,F403

enter(os.path.abspath(__file__))


def folder(s, vm=VM):
    return "%s/%016x" % (s.run, vm)


def rewrite(was, path, vm=VM + 7):
    with open(was, "rb") as f:
        rec = record.of(f.read())
    rec.jail.id = vm
    with open(path, "wb") as f:
        f.write(bytes(rec))


def cut(path):
    os.truncate(path, 392)


def group_writes(path):
    os.chmod(path, 0o620)


def not_roots(path):
    os.chown(path, UID_BASE, UID_BASE)


def link(path):
    os.rename(path, path + ".1")
    os.symlink("record.1", path)


def anothers(path):
    rewrite(path, path)


def others_uid(path):
    """The record of a jail that lives beside it."""
    rewrite(path.replace("%016x" % VM, "%016x" % (VM + 1)), path, VM)


def known():
    """Half a record, one that others may write, none: it lives on as it was,
    its slot is nobody else's, and a release ends it."""
    for spoil in (cut, group_writes, not_roots, link, anothers, others_uid,
                  os.unlink):
        with suite() as s:
            vmm = s.ready(VM).pid
            s.ready(VM + 1, slot=1)
            s.down()
            spoil(folder(s) + "/record")
            s.up()
            held = s.o.list()
            name = spoil.__name__
            eq(held[VM + 1].state, LV_READY, name)
            eq((held[VM].state, held[VM].fault, held[VM].slot),
               (LV_UNKNOWN, LF_RECORD, 0), name)
            eq(alive(vmm), True, name)
            refused(s, "slot 0 is in use", vm=VM + 2, slot=0)
            s.release(VM)
            eq(alive(vmm), False, name)
            eq(os.path.exists(folder(s)), False, name)
            s.ready(VM + 2, slot=0)
            eq(s.o.list()[VM + 1].state, LV_READY, name)
            for i in (1, 2):
                s.release(VM + i)
            clean(s)


def once_more():
    """What could not be read at one start can be at the next."""
    with suite() as s:
        vmm = s.ready(VM).pid
        s.down()
        os.chmod(folder(s) + "/record", 0o620)
        s.up()
        eq(s.o.list()[VM].state, LV_UNKNOWN)
        s.kill()
        os.chmod(folder(s) + "/record", 0o600)
        s.up()
        held = s.o.list()[VM]
        eq((held.state, held.pid), (LV_READY, vmm))
        s.release(VM)
        clean(s)


def nobody_answers():
    """Without a record and a socket: what lives and can only be its own."""
    def no_socket(s):
        os.unlink(folder(s) + "/record")
        os.unlink(folder(s) + "/keeper.sock")

    def no_folder(s):
        shutil.rmtree(folder(s))

    for spoil in (no_socket, no_folder):
        with suite() as s:
            vmm = s.ready(VM).pid
            s.ready(VM + 1, slot=1)
            s.down()
            spoil(s)
            s.up()
            held = s.o.list()
            eq(held[VM].state, LV_GONE, spoil.__name__)
            refused(s, "uid %d still has a process: " % UID_BASE, vm=VM + 2)
            s.release(VM)
            eq(alive(vmm), False, "ended with its folder")
            eq(s.o.list()[VM + 1].state, LV_READY)
            s.release(VM + 1)
            clean(s)


def two_of_them():
    """Whose is which nobody can say: neither is killed, and words say who."""
    with suite() as s:
        vmm = [s.ready(VM + i, slot=i).pid for i in range(2)]
        s.down()
        for i in range(2):
            os.unlink(folder(s, VM + i) + "/record")
            os.unlink(folder(s, VM + i) + "/keeper.sock")
        s.up()
        s.o.list()
        for i in range(2):
            s.o.send(LAUNCH_RELEASE, launch_vm(vm=VM + i), None, 50 + i)
        wait("words", lambda: "no record says whose process" in s.tail(), 15)
        eq([alive(p) for p in vmm], [True, True])
        for i in range(2):
            os.kill(s.procs(i)["keeper"], signal.SIGKILL)
        wait("release", lambda: not os.path.exists(folder(s))
             and not os.path.exists(folder(s, VM + 1)), 15)
        clean(s)


def not_ours():
    """A process of the host that has such a uid is no jail's."""
    with suite() as s:
        s.down()
        other = subprocess.Popen(["sleep", "60"], user=UID_BASE + 5)
        os.mkdir(folder(s))
        s.up()
        eq(s.o.list()[VM].state, LV_GONE)
        s.release(VM)
        eq(alive(other.pid), True)
        other.kill()
        wait("its end", lambda: not alive(other.pid))
        clean(s)


ZOMBIE = """
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
if os.fork() == 0:
    os.setresuid(*[int(sys.argv[1])] * 3)
    os._exit(0)
print("up", flush=True)
time.sleep(60)
"""


def zombies():
    """A pid 1 that reaps nobody: who has ended is gone all the same."""
    with suite() as s:
        p = subprocess.Popen([sys.executable, "-c", ZOMBIE, str(UID_BASE)],
                             stdout=subprocess.PIPE)
        p.stdout.readline()
        wait("zombie", lambda: any(map(zombie, pids())))
        s.ready(VM)
        s.release(VM)
        p.kill()
        clean(s)


def zombie(pid):
    try:
        st = status(pid)
        return st["State"][0] == "Z" and st["Uid"].split()[0] == str(UID_BASE)
    except (OSError, KeyError):
        return False


if __name__ == "__main__":
    run([(f.__name__.replace("_", "-"), f) for f in (
        known, once_more, nobody_answers, two_of_them, not_ours, zombies)])
