#!/usr/bin/env python3
"""The spawner alone, asked over launchd's channel.

Its rows have one kind of jail more (side_rows.c), as a sidecar's would be: the
jail of a VM and that of its side are made, read back, killed and released each
by itself.
"""
import os
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
import callers  # noqa: E402
import spawn  # noqa: E402
from wire import (  # noqa: E402
    JAIL_KEEPER, JAIL_VM, JAIL_VMM, JAIL_WARDEN, SPAWN_DONE, SPAWN_ERR,
    SPAWN_HELD, SPAWN_KILL, SPAWN_LIST, SPAWN_LIST_END, SPAWN_PREPARE,
    SPAWN_PREPARED, SPAWN_RELEASE, SPAWN_VERIFIED, SPAWN_VERIFY, UIDS_PLANES,
    launch_count, launch_err, record, spawn_held, spawn_verified)

enter(os.path.abspath(__file__))
SIDE = 2  # kind, and the bit of its only program
SIDE_BIT = 1 << 3
KEEPER, WARDEN, VMM = (1 << r for r in (JAIL_KEEPER, JAIL_WARDEN, JAIL_VMM))
SLOTS = UID_COUNT // UIDS_PLANES
SPAWNER = BUILD + "/side/mews-spawner"


class Jails(callers.Suite):
    """A spawner on a tree of its own, without a launchd."""

    def __init__(self, side=True, env=(), files=(), **conf):
        self.side, self.env, self.files = side, dict(env), files
        super().__init__(spawner=None if PROGRAM else SPAWNER, **conf)

    def up(self):
        if self.side and not os.path.exists(self.stage + "/usr/bin/side"):
            shutil.copy(BUILD + "/standin/side", self.stage + "/usr/bin")
        os.makedirs(self.stage + "/boot", exist_ok=True)
        for f in self.files:
            with open(self.stage + "/boot/" + f, "w"):
                pass
        self.pid = -1
        try:
            self.sp = spawn.Spawner(
                self.programs[1], self.log, dict(
                    self.conf, uid=LAUNCH_UID, gid=LAUNCH_UID, state=self.state,
                    run=self.run, stage=self.stage), self.env)
        except (AssertionError, OSError):
            raise Fail("the spawner did not start")
        self.pid = self.sp.pid

    def kill(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        wait("end of the spawner", lambda: not alive(self.pid))

    def ask(self, verb, data, want=SPAWN_DONE):
        t, p = self.sp.ask(verb, data)
        if t == SPAWN_ERR:
            err = launch_err.of(p)
            if want != t:
                raise Fail("refused: %d %s" % (err.code, err.msg.decode()))
            return err.code, err.msg.decode()
        eq(t, want, "answer")
        return p

    def refused(self, verb, data, text):
        code, said = self.ask(verb, data, SPAWN_ERR)
        if text not in said:
            raise Fail("%r lacks %r" % (said, text))
        return code

    def prepare(self, vm=VM, kind=JAIL_VM, slot=3):
        h = spawn_held.of(self.ask(SPAWN_PREPARE, spawn.prepare(
            vm, 64, slot, 1, kind=kind), SPAWN_PREPARED))
        filters = str(int(status(self.pid)["Seccomp_filters"]) + 1)
        wait("its own filter", lambda: filters == status(h.pid)[
            "Seccomp_filters"] or self.files)
        return h

    def verify(self, what, kind, vm=VM):
        return spawn_verified.of(self.ask(
            SPAWN_VERIFY, spawn.verify(vm, what, kind=kind), SPAWN_VERIFIED))

    def list(self):
        """{(kind, id): spawn_held}."""
        self.sp.send(SPAWN_LIST, b"", 7)
        held, n = {}, 0
        while True:
            t, _, p = self.sp.recv()
            if t == SPAWN_LIST_END:
                eq(launch_count.of(p).n, n, "count")
                return held
            eq(t, SPAWN_HELD, "answer")
            h = spawn_held.of(p)
            held[h.jail.kind, h.jail.id] = h
            n += 1

    def record(self, vm=VM):
        with open("%s/%016x/record" % (self.run, vm), "rb") as f:
            return record.of(f.read())

    def write_record(self, rec, vm=VM):
        with open("%s/%016x/record" % (self.run, vm), "wb") as f:
            f.write(bytes(rec))

    def said(self, name):
        with open("%s/%s/vmm.log" % (self.state, name)) as f:
            return f.read()

    def side_ready(self):
        h = self.prepare(kind=SIDE)
        wait("the side", lambda: "side: here" in self.said("side-%016x" % VM))
        return h

    def all_released(self, *jails):
        for kind, vm in jails:
            self.ask(SPAWN_KILL, spawn.jail(vm, kind))
        for kind, vm in jails:
            wait("release", lambda: self.sp.ask(
                SPAWN_RELEASE, spawn.jail(vm, kind))[0] == SPAWN_DONE)
        eq(self.leaks(), [], "leaks")


def eq(got, want, what=""):
    if got != want:
        raise Fail("%s: got %r, want %r" % (what, got, want))


@contextlib.contextmanager
def jails(**kw):
    s = Jails(**kw)
    try:
        yield s
    except BaseException:
        print(s.tail())
        raise
    finally:
        s.close()


def namespaces(pid):
    return {n: os.readlink("/proc/%d/ns/%s" % (pid, n))
            for n in ("mnt", "pid", "net", "ipc", "uts")}


def side():
    """Its own uid, namespaces, root, name; no need of the VM's jail."""
    with jails() as s:
        vm, it = s.prepare(), s.side_ready()
        eq((vm.uid, it.uid), (UID_BASE + 3, UID_BASE + SLOTS + 3), "uids")
        eq((it.jail.kind, it.jail.id, it.slot, it.alive), (SIDE, VM, 3, 1))
        eq((exe(vm.pid), exe(it.pid)), ("mews-keeper", "side"))
        eq(status(it.pid)["Uid"].split(), [str(it.uid)] * 4)
        for name, ns in namespaces(it.pid).items():
            assert ns not in (namespaces(vm.pid)[name],
                              namespaces(os.getpid())[name]), name
        name = "side-%016x" % VM
        said = s.said(name).splitlines()[0]
        # in the order of its row, and nothing more
        eq(said, "side: 2 arguments, the last is 0; fds null null file file "
                 "listener" + " -" * 11)
        eq(sorted(os.listdir(s.run)), ["%016x" % VM, "lock", name])
        eq(sorted(os.listdir(s.run + "/" + name)), ["keeper.sock", "record"])
        eq(sorted(os.listdir(s.state + "/" + name)), ["console.log", "vmm.log"])
        got = s.verify(SIDE_BIT, SIDE)
        eq((got.confined.verified, got.confined.uid), (1, it.uid), "read-back")
        s.verify(KEEPER, JAIL_VM)
        # each by itself
        s.refused(SPAWN_RELEASE, spawn.jail(VM, SIDE), "it lives")
        s.ask(SPAWN_KILL, spawn.jail(VM, SIDE))
        wait("its end", lambda: not alive(it.pid))
        s.refused(SPAWN_VERIFY, spawn.verify(VM, SIDE_BIT, kind=SIDE),
                  "pid 1 is dead")
        wait("release", lambda: s.sp.ask(
            SPAWN_RELEASE, spawn.jail(VM, SIDE))[0] == SPAWN_DONE)
        eq(sorted(os.listdir(s.run)), ["%016x" % VM, "lock"])
        s.verify(KEEPER, JAIL_VM)
        s.all_released((JAIL_VM, VM))


def adopted():
    """The next spawner finds both by their records."""
    with jails() as s:
        vm, it = s.prepare(), s.side_ready()
        s.kill()
        s.up()
        held = s.list()
        eq({k: (h.pid, h.uid, h.alive) for k, h in held.items()},
           {(JAIL_VM, VM): (vm.pid, vm.uid, 1),
            (SIDE, VM): (it.pid, it.uid, 1)})
        eq(s.verify(SIDE_BIT, SIDE).confined.uid, it.uid)
        s.kill()
        os.unlink("%s/side-%016x/record" % (s.run, VM))
        s.up()
        held = s.list()  # what is left of it has a name, so it can be released
        eq((held[SIDE, VM].uid, held[SIDE, VM].alive), (0, 0))
        os.kill(it.pid, signal.SIGKILL)
        wait("its end", lambda: not alive(it.pid))
        s.ask(SPAWN_RELEASE, spawn.jail(VM, SIDE))
        s.all_released((JAIL_VM, VM))


def wrong():
    """What is not as its row says is not read back."""
    for wrong_, files, text in (
            ("uid", (), "is not \"Uid:"), ("caps", (), "is not \"Cap"),
            ("net", (), "net namespace"),
            ("", ("no-filter",), "is not \"Seccomp_filters:")):
        with jails(env={"MEWS_WRONG": wrong_}, files=files) as s:
            s.side_ready()
            s.refused(SPAWN_VERIFY, spawn.verify(VM, SIDE_BIT, kind=SIDE), text)
            s.all_released((SIDE, VM))


def ends(s, verb, data):
    """It is no message of that channel: that spawner ends."""
    s.sp.send(verb, data)
    try:
        t, _, _ = s.sp.recv()
    except (AssertionError, ConnectionResetError):
        wait("its end", lambda: not alive(s.pid))
        return
    raise Fail("answer %#x" % t)


def asked_for():
    """A kind's programs alone can be asked for."""
    with jails() as s:
        vm = s.prepare()
        s.refused(SPAWN_VERIFY, spawn.verify(VM, WARDEN), "no warden")
        s.refused(SPAWN_VERIFY, spawn.verify(VM, VMM), "no hypervisor")
        ends(s, SPAWN_VERIFY, spawn.verify(VM, SIDE_BIT))
        s.up()
        ends(s, SPAWN_VERIFY, spawn.verify(VM, KEEPER, kind=SIDE))
        s.up()
        ends(s, SPAWN_VERIFY, spawn.verify(VM, KEEPER, kind=SIDE + 1))
        s.up()
        # a record of before a role was in the rows lacks it
        s.kill()
        rec = s.record()
        rec.nprogs = 2
        s.write_record(rec)
        s.up()
        eq(s.list()[JAIL_VM, VM].pid, vm.pid)
        s.verify(KEEPER, JAIL_VM)
        s.refused(SPAWN_VERIFY, spawn.verify(VM, VMM),
                  "without a program that is asked for (roles 0x4)")
        s.all_released((JAIL_VM, VM))


def older_tree():
    """A staged tree of before that program: only what needs it is refused."""
    with jails(side=False) as s:
        s.refused(SPAWN_PREPARE, spawn.prepare(VM, 64, 3, 1, kind=SIDE),
                  "this staged tree has no /usr/bin/side")
        eq(s.leaks(), [], "leaks")
        s.prepare()
        s.all_released((JAIL_VM, VM))
        s.kill()
        os.unlink(s.stage + "/usr/bin/mews-warden")
        try:
            s.up()
        except Fail:
            pass
        else:
            raise Fail("a spawner without wardens serves")
        assert "mews-warden: No such file" in s.tail(), s.tail()


def rows():
    """Rows that make no sense are a fault at start, not a crash later."""
    for how, text in (("first", "it has no pid 1"),
                      ("plane", "no uid or no name of its own"),
                      ("prefix", "its names are too long")):
        try:
            with jails(env={"MEWS_ROWS": how}):
                raise Fail("%s: taken" % how)
        except Fail as e:
            if text not in str(e):
                raise Fail("%s: %r lacks %r" % (how, str(e), text))


def busy():
    """A uid that somebody still has is not given, and said by its number."""
    uid = UID_BASE + SLOTS + 3
    with jails() as s:
        it = s.side_ready()
        p = subprocess.Popen(["sleep", "60"], user=uid, group=uid)
        try:
            s.ask(SPAWN_KILL, spawn.jail(VM, SIDE))
            wait("its end", lambda: not alive(it.pid))
            code = s.refused(SPAWN_RELEASE, spawn.jail(VM, SIDE),
                             "uid %u still has a process" % uid)
            eq(code, -16)
            s.refused(SPAWN_PREPARE,
                      spawn.prepare(VM + 1, 64, 3, 1, kind=SIDE),
                      "slot 3 is in use: uid %u is jail side-%016x's" % (
                          uid, VM))
            # the VM's own uid of that slot is another
            s.prepare()
        finally:
            p.kill()
        wait("end of it", lambda: not alive(p.pid))
        s.all_released((JAIL_VM, VM), (SIDE, VM))


def older_slot():
    """A VM that an earlier suite gave a slot past today's keeps its uid, which
    is now another plane's: nobody else gets it."""
    with jails(uid_base=UID_BASE + SLOTS + 4) as s:
        vm = s.prepare(slot=0)
        s.kill()
        rec = s.record()
        eq((rec.pid, rec.uid, rec.slot), (vm.pid, vm.uid, 0), "record")
        rec.slot = SLOTS + 4
        s.write_record(rec)
        s.conf["uid_base"] = UID_BASE
        s.up()
        held = s.list()[JAIL_VM, VM]
        eq((held.pid, held.uid, held.slot, held.alive),
           (vm.pid, UID_BASE + SLOTS + 4, SLOTS + 4, 1))
        s.verify(KEEPER, JAIL_VM)
        s.refused(SPAWN_PREPARE, spawn.prepare(VM, 64, 4, 1, kind=SIDE),
                  "slot 4 is in use: uid %u is jail %016x's" % (vm.uid, VM))
        s.prepare(vm=VM + 1, slot=4)
        s.all_released((JAIL_VM, VM), (JAIL_VM, VM + 1))


def one_owner():
    """Of two records with a uid in common, be it one program's, one counts."""
    with jails() as s:
        vm = s.prepare()
        s.kill()
        rec, second = s.record(), "%s/%016x" % (s.run, VM + 1)
        os.mkdir(second)
        # uids of each one's programs, as offsets; the first is the jail's
        for both in (((0, 0, 0), (0, 0, 0)), ((0, 0, 5), (1, 1, 5)),
                     ((0, 5, 0), (1, 1, 5))):
            for i, uids in enumerate(both):
                other = record.of(bytes(rec))
                other.jail.id, other.uid = VM + i, vm.uid + uids[0]
                for prog, uid in zip(other.prog, uids):
                    prog.uid = vm.uid + uid
                s.write_record(other, VM + i)
            s.up()
            held = s.list()
            eq(sorted(h.uid == 0 for h in held.values()), [False, True], held)
            s.kill()
        s.write_record(rec)
        shutil.rmtree(second)
        s.up()
        s.all_released((JAIL_VM, VM))


run([(f.__name__.replace("_", "-"), f) for f in (
    side, adopted, wrong, asked_for, older_tree, rows, busy, older_slot,
    one_owner)])
