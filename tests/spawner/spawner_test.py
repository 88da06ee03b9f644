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

enter(os.path.abspath(__file__))
VM = 0x0123456789abcdef
SIDE = 2  # kind, and the bit of its only program
SIDE_BIT = 1 << 3
SLOTS = UID_COUNT // 16
SPAWNER = BUILD + "/side/mews-spawner"
# in a record of version 3
REC_NPROGS, REC_ID, REC_PID, REC_UID, REC_SLOT, REC_PROG = 12, 24, 80, 84, 88, 368


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
                    self.conf, launchd=LAUNCH_UID, state=self.state,
                    run=self.run, stage=self.stage), self.env)
        except (AssertionError, OSError):
            raise Fail("the spawner did not start")
        self.pid = self.sp.pid

    def kill(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        wait("end of the spawner", lambda: not alive(self.pid))

    def ask(self, verb, data, want=spawn.DONE):
        t, p = self.sp.ask(verb, data)
        if t == spawn.REFUSED:
            code, text = struct.unpack_from("<i4x192s", p, 8)
            text = text.split(b"\0")[0].decode()
            if want != t:
                raise Fail("refused: %d %s" % (code, text))
            return code, text
        eq(t, want, "answer")
        return p

    def refused(self, verb, data, text):
        code, said = self.ask(verb, data, spawn.REFUSED)
        if text not in said:
            raise Fail("%r lacks %r" % (said, text))
        return code

    def prepare(self, vm=VM, kind=spawn.JAIL_VM, slot=3):
        h = Held(self.ask(spawn.PREPARE, spawn.prepare(
            vm, 64, slot, 1, kind=kind), spawn.PREPARED))
        filters = str(int(status(self.pid)["Seccomp_filters"]) + 1)
        wait("its own filter", lambda: filters == status(h.pid)[
            "Seccomp_filters"] or self.files)
        return h

    def verify(self, what, kind, vm=VM):
        return struct.unpack("<16xII" + CONFINED[1:], self.ask(
            spawn.VERIFY, spawn.verify(vm, what, kind=kind), spawn.VERIFIED))

    def list(self):
        """{(kind, id): Held}, and how many there were."""
        self.sp.send(spawn.LIST, b"", 7)
        held, n = {}, 0
        while True:
            t, _, p = self.sp.recv()
            if t == spawn.LIST_END:
                eq(struct.unpack_from("<I", p)[0], n, "count")
                return held
            h = Held(p)
            held[h.kind, h.id] = h
            n += 1

    def said(self, name):
        with open("%s/%s/vmm.log" % (self.state, name)) as f:
            return f.read()

    def side_ready(self):
        h = self.prepare(kind=SIDE)
        wait("the side", lambda: "side: here" in self.said("side-%016x" % VM))
        return h

    def all_released(self, *jails):
        for kind, vm in jails:
            self.ask(spawn.KILL, spawn.jail(vm, kind))
        for kind, vm in jails:
            wait("release", lambda: self.sp.ask(
                spawn.RELEASE, spawn.jail(vm, kind))[0] == spawn.DONE)
        eq(self.leaks(), [], "leaks")


class Held:
    def __init__(self, p):
        (self.kind, _, self.id, self.pid, self.uid, self.slot, self.alive,
         self.fault, self.cid) = struct.unpack("<IIQIIHBBI", p[:32])

    def __repr__(self):
        return repr(vars(self))


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
        eq((it.kind, it.id, it.slot, it.alive), (SIDE, VM, 3, 1))
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
        eq((got[2], got[6]), (1, it.uid), "read-back")
        s.verify(spawn.KEEPER, spawn.JAIL_VM)
        # each by itself
        s.refused(spawn.RELEASE, spawn.jail(VM, SIDE), "it lives")
        s.ask(spawn.KILL, spawn.jail(VM, SIDE))
        wait("its end", lambda: not alive(it.pid))
        s.refused(spawn.VERIFY, spawn.verify(VM, SIDE_BIT, kind=SIDE),
                  "pid 1 is dead")
        wait("release", lambda: s.sp.ask(
            spawn.RELEASE, spawn.jail(VM, SIDE))[0] == spawn.DONE)
        eq(sorted(os.listdir(s.run)), ["%016x" % VM, "lock"])
        s.verify(spawn.KEEPER, spawn.JAIL_VM)
        s.all_released((spawn.JAIL_VM, VM))


def adopted():
    """The next spawner finds both by their records."""
    with jails() as s:
        vm, it = s.prepare(), s.side_ready()
        s.kill()
        s.up()
        held = s.list()
        eq({k: (h.pid, h.uid, h.alive) for k, h in held.items()},
           {(1, VM): (vm.pid, vm.uid, 1), (SIDE, VM): (it.pid, it.uid, 1)})
        eq(s.verify(SIDE_BIT, SIDE)[6], it.uid)
        s.kill()
        os.unlink("%s/side-%016x/record" % (s.run, VM))
        s.up()
        held = s.list()  # who it is the kernel says, what it may hold nobody
        eq((held[SIDE, VM].uid, held[SIDE, VM].alive, held[SIDE, VM].fault),
           (it.uid, 1, 1))
        s.refused(spawn.VERIFY, spawn.verify(VM, SIDE_BIT, kind=SIDE),
                  "its record cannot be read")
        s.refused(spawn.RELEASE, spawn.jail(VM, SIDE), "it lives")
        s.ask(spawn.KILL, spawn.jail(VM, SIDE))
        wait("its end", lambda: not alive(it.pid))
        s.ask(spawn.RELEASE, spawn.jail(VM, SIDE))
        s.all_released((spawn.JAIL_VM, VM))


def wrong():
    """What is not as its row says is not read back."""
    for wrong_, files, text in (
            ("uid", (), "is not \"Uid:"), ("caps", (), "is not \"Cap"),
            ("net", (), "net namespace"),
            ("", ("no-filter",), "is not \"Seccomp_filters:")):
        with jails(env={"MEWS_WRONG": wrong_}, files=files) as s:
            s.side_ready()
            s.refused(spawn.VERIFY, spawn.verify(VM, SIDE_BIT, kind=SIDE), text)
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
        s.refused(spawn.VERIFY, spawn.verify(VM, spawn.WARDEN), "no warden")
        s.refused(spawn.VERIFY, spawn.verify(VM, spawn.VMM), "no hypervisor")
        ends(s, spawn.VERIFY, spawn.verify(VM, SIDE_BIT))
        s.up()
        ends(s, spawn.VERIFY, spawn.verify(VM, spawn.KEEPER, kind=SIDE))
        s.up()
        ends(s, spawn.VERIFY, spawn.verify(VM, 1, kind=3))
        s.up()
        # a record of before a role was in the rows lacks it
        s.kill()
        path = "%s/%016x/record" % (s.run, VM)
        with open(path, "r+b") as f:
            f.seek(REC_NPROGS)
            f.write(struct.pack("<I", 2))
        s.up()
        eq(s.list()[1, VM].pid, vm.pid)
        s.verify(spawn.KEEPER, spawn.JAIL_VM)
        s.refused(spawn.VERIFY, spawn.verify(VM, spawn.VMM),
                  "without a program that is asked for (roles 0x4)")
        s.all_released((1, VM))


def older_tree():
    """A staged tree of before that program: only what needs it is refused."""
    with jails(side=False) as s:
        s.refused(spawn.PREPARE, spawn.prepare(VM, 64, 3, 1, kind=SIDE),
                  "this staged tree has no /usr/bin/side")
        eq(s.leaks(), [], "leaks")
        s.prepare()
        s.all_released((1, VM))
        s.kill()
        os.unlink(s.stage + "/usr/bin/mews-warden")
        s.up()
        s.refused(spawn.PREPARE, spawn.prepare(VM, 64, 3, 1),
                  "mews-warden: No such file")


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
            s.ask(spawn.KILL, spawn.jail(VM, SIDE))
            wait("its end", lambda: not alive(it.pid))
            code = s.refused(spawn.RELEASE, spawn.jail(VM, SIDE),
                             "uid %u still has a process" % uid)
            eq(code, -16)
            s.refused(spawn.PREPARE,
                      spawn.prepare(VM + 1, 64, 3, 1, kind=SIDE),
                      "slot 3 is in use: uid %u is jail side-%016x's" % (
                          uid, VM))
            # the VM's own uid of that slot is another
            s.prepare()
        finally:
            p.kill()
        wait("end of it", lambda: not alive(p.pid))
        s.all_released((1, VM), (SIDE, VM))


def older_slot():
    """A VM that an earlier suite gave a slot past today's keeps its uid, which
    is now another plane's: nobody else gets it."""
    with jails(uid_base=UID_BASE + SLOTS + 4) as s:
        vm = s.prepare(slot=0)
        s.kill()
        path = "%s/%016x/record" % (s.run, VM)
        with open(path, "r+b") as f:
            rec = f.read()
            eq(struct.unpack_from("<IIH", rec, REC_PID),
               (vm.pid, vm.uid, 0), "record")
            f.seek(REC_SLOT)
            f.write(struct.pack("<H", SLOTS + 4))
        s.conf["uid_base"] = UID_BASE
        s.up()
        held = s.list()[1, VM]
        eq((held.pid, held.uid, held.slot, held.alive),
           (vm.pid, UID_BASE + SLOTS + 4, SLOTS + 4, 1))
        s.verify(spawn.KEEPER, spawn.JAIL_VM)
        s.refused(spawn.PREPARE, spawn.prepare(VM, 64, 4, 1, kind=SIDE),
                  "slot 4 is in use: uid %u is jail %016x's" % (vm.uid, VM))
        s.prepare(vm=VM + 1, slot=4)
        s.all_released((1, VM), (1, VM + 1))


def one_owner():
    """Of two records with a uid in common, be it one program's, one counts."""
    with jails() as s:
        vm = s.prepare()
        s.kill()
        paths = ["%s/%016x" % (s.run, VM + i) for i in range(2)]
        with open(paths[0] + "/record", "rb") as f:
            rec = f.read()
        os.mkdir(paths[1])
        # uids of each one's programs, as offsets; the first is the jail's
        for both in (((0, 0, 0), (0, 0, 0)), ((0, 0, 5), (1, 1, 5)),
                     ((0, 5, 0), (1, 1, 5))):
            for i, uids in enumerate(both):
                other = bytearray(rec)
                struct.pack_into("<Q", other, REC_ID, VM + i)
                struct.pack_into("<I", other, REC_UID, vm.uid + uids[0])
                for p, uid in enumerate(uids):
                    struct.pack_into("<I", other, REC_PROG + 32 * p + 4,
                                     vm.uid + uid)
                with open(paths[i] + "/record", "wb") as f:
                    f.write(other)
            s.up()
            held = s.list()
            eq(sorted(h.fault for h in held.values()), [0, 1], held)
            s.kill()
        with open(paths[0] + "/record", "wb") as f:
            f.write(rec)
        shutil.rmtree(paths[1])
        s.up()
        s.all_released((1, VM))


run([(f.__name__.replace("_", "-"), f) for f in (
    side, adopted, wrong, asked_for, older_tree, rows, busy, older_slot,
    one_owner)])
