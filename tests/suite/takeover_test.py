#!/usr/bin/env python3
"""Takeover: a room of the running suite is somebody else's.

A VM runs under the suite as it ships.  Then the suite is started again with
one room linked with tests/hostile/evil_*.c: it serves on and says what its
peers must refuse.  Afterwards host and VM are what they were, and nothing of
what the VM was trusted with stands where others can read it (takeover.py).

usage: takeover_test.py [CASE...]   MEWS_PROGRAM: another room, evil or not
"""
import contextlib
import errno
import os
import random
import re
import shutil
import subprocess
import sys

import spawn
import suite
from takeover import (NOT, PROGRAMS, guest_says, host, message, mewsd_log,
                      programs, restarted, run, s, same, since)
from wire import (ACCEL_KVM, ACCEL_TCG, ACCEL_UNKNOWN, API_VM_STOP, BOOT_CONF,
                  BOOT_FAULT, JAIL_KEEPER, JAIL_VM, JAIL_VMM, JAIL_WARDEN,
                  KEEP_GO2, LAUNCH_ATTACH, LAUNCH_EVENT, LAUNCH_START,
                  MACHINE_MEM_MAX_MIB, MACHINE_PROBE, MACHINE_VCPUS_MAX,
                  MSG_MAX, NET_TAP_OPEN, NET_TEARDOWN, SPAWN_ACCEL, SPAWN_CAPS,
                  SPAWN_COUNT, SPAWN_COUNTED, SPAWN_DONE, SPAWN_ERR, SPAWN_HELD, SPAWN_KILL,
                  SPAWN_LIST, SPAWN_LIST_END, SPAWN_PREPARE, SPAWN_PREPARED,
                  SPAWN_RELEASE, SPAWN_VERIFIED, SPAWN_VERIFY, UIDS_PLANES,
                  UINT32_MAX, VM_SIGNALS_MAX, VM_STREAMS_MAX, VSOCK_OFF, launch_err, msg_hdr, spawn_accel, spawn_held,
                  spawn_jail, spawn_verify)

KEPT = VM_STREAMS_MAX + VM_SIGNALS_MAX + 8  # more than a VM has of streams
BACK = 5  # seconds until a room that was refused is replaced
ILLS = {  # of evil_orchd.c, one a life
    "netd": [message(t, NOT) for t in (BOOT_CONF, NET_TEARDOWN, SPAWN_KILL)]
            + [message(NET_TAP_OPEN, "wrong size"),
               message(NET_TAP_OPEN, "wrong descriptors")],
    "launchd": [message(t, NOT) for t in (BOOT_CONF, SPAWN_KILL, LAUNCH_EVENT)]
               + [message(LAUNCH_START, "wrong descriptors"),
                  message(KEEP_GO2, NOT)],
}
# What netd and launchd answer to what is well-formed, in evil_orchd.c's order.
NETD_SAYS = [
    "address is outside the subnet", "address is the gateway's",
    "address is the subnet's own", "address is the subnet's own",
    "address is outside the subnet", "slot 1000 is not below 200",
    "slot 65535 is not below 200", "slot is another VM's",
    "MAC is not locally administered unicast",
    "MAC is not locally administered unicast", "MAC is the gateway's",
    "address is another VM's", "MAC is another VM's", "address is another VM's",
    "slot is another VM's", "tap is held", "slot 0 is held with other numbers",
    "slot 0 is held with other numbers", "slot 0 is another VM's"]
LAUNCHD_SAYS = ["already started", "already started"]
EVIL = "6576696c657669"  # of the VMs that evil_orchd.c makes up


def pids(*rooms):
    now = s.rooms()
    return {r: now[r] for r in rooms}


def served(uid):
    try:
        return s.get("/api/v1/vms", uid=uid, timeout=2).status == 200
    except OSError:
        return False


def orchd():
    """I2, I3: orchd asks the helpers for what is not its own."""
    before, marks = restarted("mews-orchd")
    suite.wait_for(lambda: "hostile: netd" in since(marks, "orchd") and
                   "hostile: launchd" in since(marks, "orchd"),
                   "evil orchd", 60, 0.1)
    s.wait_up(30)
    s.wait_helpers(30)
    # every well-formed one has its refusal, none its effect.  Helpers answer
    # in order, and what orchd asks on its own account comes last.
    said = re.findall(r"orchd warn netd: (?!closed)(.*)",
                      since(marks, "orchd"))
    assert said == NETD_SAYS, "netd said %s" % said
    said = re.findall(r"orchd warn launchd: \w{16}: (.*)",
                      since(marks, "orchd"))
    assert said == LAUNCHD_SAYS, "launchd said %s" % said
    def prepared():  # or not: where each of orchd's own VMs went from there
        ends = dict(re.findall(r"vm (%s\w\w): prepare -> (?!prepare)(\w+)"
                               % EVIL, since(marks, "launchd")))
        return ends if len(ends) == 5 else None
    ends = suite.wait_for(prepared, "verdicts on orchd's VMs", 15)
    assert set(ends.values()) == {"gone"}, "orchd's VMs were made: %s" % ends
    same(before)
    # what was ill-formed was refused, each time, and cost orchd that life
    for room, ills in ILLS.items():
        said = re.findall(r"orchd: (message 0x\w+: .*)", since(marks, room))
        # a handler fails only where the asker was killed meanwhile
        said = [x for x in said if not x.endswith(": refused by its handler")]
        assert said == ills, (room, said)
        killed = mewsd_log().count("orchd: refused by %s: killed" % room)
        assert killed >= len(ills), (room, killed)
    guest_says("mine")


def apid():
    """I1: the users' apid names an admin's connection, and dead ones.

    orchd has it replaced, so users are soon served again: it would sit there
    for ever, without a channel.  What it asks mewsd itself ends only itself.
    """
    before, marks = restarted("mews-apid")
    s.wait_up()
    s.wait_helpers()
    user = s.uids + suite.USER
    admin = s.connect()  # its id is the one before the next
    helpers = pids("orchd", "netd", "launchd", "apid-admin")
    with contextlib.suppress(OSError):  # its apid loses every caller
        s.get("/api/v1/vms", uid=user, timeout=5)
    suite.wait_for(lambda: "hostile: admin" in since(marks, "apid"),
                   "evil apid", 5)
    suite.wait_for(lambda: "apid: " + message(API_VM_STOP, "refused") in
                   since(marks, "orchd"), "refusal", 5)
    suite.wait_for(lambda: served(user), "user service", BACK)
    assert "hostile: gone" not in since(marks, "apid")
    suite.wait_for(lambda: served(user) and
                   "hostile: gone" in since(marks, "apid"), "third caller", 5)
    # of nobody, and of callers who hung up: dropped, nothing lost
    assert since(marks, "orchd").count("apid: ") == 1, since(marks, "orchd")
    with contextlib.suppress(OSError):
        s.get("/api/v1/vms", uid=user, timeout=5)
    suite.wait_for(lambda: "apid: " + message(BOOT_FAULT, "refused") in
                   mewsd_log(), "mewsd's refusal", 5)
    suite.wait_for(lambda: served(user), "user service again", BACK)
    assert pids("orchd", "netd", "launchd", "apid-admin") == helpers

    admin.sendall(b"GET /api/v1/vms/web HTTP/1.1\r\nHost: m\r\n\r\n")
    vm = suite.recv_answer(admin).json()
    assert vm["status"] == "running", vm
    admin.close()
    same(before)
    guest_says("mine")


def kept():
    """I1, I13: the users' apid keeps its end of every stream and says that the
    caller has gone: nobody lacks one, and no command goes on."""
    before, marks = restarted("mews-apid", "keeps")
    s.wait_up()
    s.wait_helpers()
    s.wait_ready("web", 30)
    user = s.uids + suite.USER
    helpers = pids("orchd", "netd", "launchd", "apid-admin")
    for _ in range(KEPT):
        c = s.connect(user)
        assert c.recv(1) == b""  # orchd was told that it has gone
        c.close()
    # its log comes by mewsd
    suite.wait_for(lambda: since(marks, "apid").count("hostile: kept") == KEPT,
                   "each stream kept", 5)
    guest_says("mine")

    def left():
        return s.cli("exec", "web", "ps").stdout.count(b"sleep 1000")
    suite.wait_for(lambda: left() == 0, "end of their commands", 15, 0.2)
    assert pids("orchd", "netd", "launchd", "apid-admin") == helpers
    same(before)
    guest_says("mine")


def conf():
    """I2: root's config is root's, or there is no suite."""
    other = "/run/other.conf"
    for what, uid, mode, text in (
            ("owner", 1, 0o644, b"must belong to root"),
            ("group", 0, 0o664, b"can be written by others"),
            ("all", 0, 0o646, b"can be written by others")):
        with open(suite.ROOT + "/mews.conf") as f, open(other, "w") as to:
            # nothing else of it is refused: what the suite here has is its own
            to.write(re.sub(r"(?m)^uid_base = .*", "uid_base = %d" % 0x60000000,
                            f.read()).replace(suite.BRIDGE, "other0"))
        os.chmod(other, mode)
        os.chown(other, uid, uid)
        p = subprocess.Popen([PROGRAMS + "/mewsd", "-f", other, "-r",
                              "/run/other"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, _ = p.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            out, p.returncode = b"", 0
        finally:
            p.kill()
            p.wait()
        assert p.returncode != 0, "%s: a suite was started" % what
        assert text in out, "%s: %r" % (what, out)
        assert not os.path.exists("/run/other"), what


# -- the spawner's verbs, by whoever holds launchd's end of the channel

FUZZ, LIVES, SEED = 20000, 250, 0x6D657773
VCPUS, MEM = 2, 512  # host policy here
ROLES = 1 << JAIL_KEEPER | 1 << JAIL_WARDEN | 1 << JAIL_VMM  # that a VM has


def start_spawner():
    """One on the suite's folders."""
    launchd = s.uids + suite.ROOMS["launchd"]
    return spawn.Spawner(
        PROGRAMS + "/mews-spawner", suite.ROOT + "/log/spawner.log",
        dict(uid=launchd, gid=launchd, max_vcpus=VCPUS, max_mem_mib=MEM,
             cgroup=2, accel=ACCEL_TCG, vsock=VSOCK_OFF,
             cid_base=s.conf["uid_base"], uid_base=s.conf["uid_base"],
             uid_count=s.conf["uid_count"], max_vms=s.conf["max_vms"],
             state=suite.ROOT + "/lib/vm", run=suite.ROOT + "/run/vm",
             stage=os.path.realpath(s.conf["stage"])))


def well_formed(r, web):
    """(verb, record, answers that are right): nothing in it is launchd's to
    have, though the shape is."""
    evil = r.getrandbits(64) | 1 << 63
    verb = r.choice((SPAWN_PREPARE, SPAWN_PREPARE, SPAWN_PREPARE, SPAWN_VERIFY,
                     SPAWN_KILL, SPAWN_RELEASE, SPAWN_COUNT))
    if verb == SPAWN_PREPARE:
        slots, uids = s.conf["max_vms"], s.conf["uid_count"] // UIDS_PLANES
        vm, mem, slot, vcpus, flags, accel = evil, r.randint(64, MEM), \
            r.randint(1, slots - 1), r.randint(1, VCPUS), 0, ACCEL_TCG
        what = r.randrange(7)
        if what == 0:
            slot = r.choice((slots, uids - 1, uids, 0xffff,
                             r.randint(slots, 0xffff)))
        elif what == 1:
            slot = 0  # web's
        elif what == 2:
            vm = web
        elif what == 3:
            vcpus = r.randint(VCPUS + 1, MACHINE_VCPUS_MAX)
        elif what == 4:
            mem = r.choice((MEM + 1, MACHINE_MEM_MAX_MIB,
                            r.randint(MEM + 1, MACHINE_MEM_MAX_MIB)))
        elif what == 5:  # undecided; what this host has not
            accel = r.choice((ACCEL_UNKNOWN, ACCEL_KVM))
        else:  # the probe's
            flags, slot = MACHINE_PROBE, r.choice((slot, 0, uids, 0xffff))
        return verb, spawn.prepare(vm, mem, slot, vcpus, flags, accel), \
            (SPAWN_ERR,)
    if verb == SPAWN_VERIFY:
        if r.randrange(8):
            return verb, spawn.verify(evil, r.randint(1, ROLES)), (SPAWN_ERR,)
        what = r.randint(1, ROLES)  # to look is all it may do with web
        return verb, spawn.verify(web, what), \
            (SPAWN_VERIFIED,) if what >> JAIL_VMM & 1 else (SPAWN_ERR,)
    if verb == SPAWN_COUNT:  # of whatever it is
        return verb, spawn.jail(r.choice((web, evil))), (SPAWN_COUNTED,)
    if verb == SPAWN_KILL:
        return verb, spawn.jail(evil), (SPAWN_ERR,)
    if r.randrange(2):
        return verb, spawn.jail(web), (SPAWN_ERR,)  # it lives
    return verb, spawn.jail(evil), (SPAWN_DONE,)  # there is no such thing


SHAPES = {SPAWN_PREPARE: len(spawn.prepare(1, 64, 5, 1)),
          SPAWN_VERIFY: spawn_verify.SIZE, SPAWN_KILL: spawn_jail.SIZE,
          SPAWN_RELEASE: spawn_jail.SIZE, SPAWN_LIST: 0,
          SPAWN_ACCEL: spawn_accel.SIZE, SPAWN_COUNT: spawn_jail.SIZE}


def ill_formed(r, web):
    """(what, arguments of send, or bytes as they are)"""
    verb = r.choice(sorted(SHAPES))
    _, data, _ = well_formed(r, web)
    data = (data + bytes(200))[:SHAPES[verb]]
    jails = [spawn.jail(0), spawn.jail(web, kind=0),
             spawn.jail(web, kind=JAIL_VM + 1), spawn.jail(web, pad=1)]
    machines = [  # mem, slot, vcpus
        (63, 5, 1), (MACHINE_MEM_MAX_MIB + 1, 5, 1), (64, 5, 0),
        (64, 5, MACHINE_VCPUS_MAX + 1)]
    prepares = [dict(flags=4), dict(flags=1 << 31), dict(pad=[1]),
                dict(pad=[0, 4]), dict(accel=ACCEL_KVM + 1),
                dict(kind=JAIL_VM + 1)]
    fields = {  # each with one thing wrong
        SPAWN_PREPARE: [spawn.prepare(0, 64, 5, 1)]
        + [spawn.prepare(1, *m) for m in machines]
        + [spawn.prepare(1, 64, 5, 1, **kw) for kw in prepares],
        SPAWN_VERIFY: [j + spawn.verify(web, 1)[len(j):] for j in jails]
        + [spawn.verify(web, *v) for v in (
            (0, 0), (ROLES + 1, 0), (1 << 31, 0), (ROLES - 1, 1))],
        SPAWN_KILL: jails, SPAWN_RELEASE: jails, SPAWN_COUNT: jails,
        SPAWN_ACCEL: [bytes(spawn_accel(accel=a, pad=pad)) for a, pad in (
            (ACCEL_UNKNOWN, 0), (ACCEL_KVM + 1, 0), (1 << 31, 0),
            (ACCEL_TCG, 1))],
        SPAWN_LIST: [b""],
    }
    what = r.choice(("type", "longer", "shorter", "field", "descriptor",
                     "descriptors", "length", "header", "large"))
    if what == "type":
        t = r.choice((0, SPAWN_PREPARE - 1, SPAWN_COUNT + 1, LAUNCH_ATTACH,
                      BOOT_CONF, SPAWN_PREPARED, SPAWN_CAPS, verb | 1 << 16,
                      r.getrandbits(32) | 0x800))
        return what, dict(typ=t, data=data)
    if what == "longer" or (what in ("shorter", "field") and
                            verb == SPAWN_LIST):
        return what, dict(typ=verb, data=data + r.randbytes(
            r.choice((1, 8, 4000))))
    if what == "shorter":
        return what, dict(typ=verb, data=data[:r.randrange(len(data))])
    if what == "field":
        return what, dict(typ=verb, data=r.choice(fields[verb]))
    if what.startswith("descriptor"):
        return what, dict(typ=verb, data=data,
                          fds=(0,) if what == "descriptor" else (0, 0, 0))
    if what == "length":
        return what, dict(typ=verb, data=data, ln=r.choice(
            (len(data) + 1, UINT32_MAX, len(data) ^ 1 << 20)))
    if what == "header":
        return what, bytes(msg_hdr(type=verb, len=len(data), id=1)
                           )[:r.randint(1, msg_hdr.SIZE - 1)]
    return what, dict(typ=verb, data=data + bytes(MSG_MAX + 16))


def spawner():
    """I2, I3, I12: launchd, taken over, says anything to root."""
    s.stop()
    programs()
    web = int(s.query("SELECT uid FROM vm WHERE name = 'web'")) % (1 << 64)
    before = host()
    r = random.Random(SEED)
    print("# seed %#x" % SEED)
    sp = start_spawner()
    often = 0
    for n in range(FUZZ):
        verb, data, right = well_formed(r, web)
        mid = r.getrandbits(64)
        sp.send(verb, data, mid)
        typ, got, answer = sp.recv()
        if typ == SPAWN_ERR and launch_err.of(answer).code == -errno.EAGAIN:
            # web's share of the spawner's time is used up: that too is held
            assert got == mid and spawn.jail(web) == data[:spawn_jail.SIZE]
            often += 1
            continue
        assert got == mid and typ in right, "record %d, %#x %s: answer %#x" % (
            n, verb, data.hex(), typ)
        if n % 1000 == 0:
            sp.send(SPAWN_LIST, b"", 7)
            held = [sp.recv() for _ in range(2)]
            assert [h[0] for h in held] == [SPAWN_HELD, SPAWN_LIST_END], held
            assert spawn_held.of(held[0][2]).jail == spawn.jail_of(web)
    assert sp.end() == 0, "the spawner, at launchd's end"
    assert 0 < often < FUZZ / 2, often
    same(before)
    # what launchd never says: that spawner ends, and nothing else happens
    for n in range(LIVES):
        what, args = ill_formed(r, web)
        sp = start_spawner()
        if isinstance(args, bytes):
            sp.s.send(args)
        else:
            sp.send(**args)
        try:
            answer = sp.recv()
        except (AssertionError, ConnectionResetError):
            answer = None
        status = sp.end()
        assert answer is None and status > 0, "%s, life %d, %s: %s, exit %d" % (
            what, n, args, answer and hex(answer[0]), status)
    same(before)
    s.start()
    s.wait_helpers()
    guest_says("mine")


sys.exit(run((conf, orchd, apid, kept, spawner)))
