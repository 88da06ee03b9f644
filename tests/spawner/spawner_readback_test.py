#!/usr/bin/env python3
"""Jails, read back (I4) and tried from the inside, with a stand-in warden and
hypervisor.

Each case starts a real mews-launchd and mews-spawner on a temporary root; rules
that can be switched off are, and their case must then see the difference.
"""
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../launchd"))
from callers import *  # noqa: E402,F403
from wire import KEEP_HELLO, KEEP_VERSION, LV_READY, keep_hello  # noqa: E402

enter(os.path.abspath(__file__))


def readback():
    """A jail that lacks one thing is refused by name; with the check off
    too, it would have run."""
    jail, verify = "spawner/jail.c", "spawner/verify.c"
    table = (
        ("JAIL_BOUNDING", jail, "VERIFY_BOUNDING", "CapBnd"),
        ("JAIL_GROUPS", jail, "VERIFY_GROUPS", "Groups"),
        ("JAIL_NET", "spawner/prepare.c", "VERIFY_NAMESPACES",
         "net namespace"),
    )
    for rule, src, check, text in table:
        with suite(spawner=relink("mews-spawner", [src], [rule])) as s:
            refused(s, text)
            clean(s)
        with suite(spawner=relink("mews-spawner", [src, verify],
                                  [rule, check])) as s:
            s.ready(VM)
    with suite(spawner=relink("mews-spawner", [jail], ["JAIL_UID"])) as s:
        refused(s, "not the recorded one")


def readback_filters():
    with suite() as s:
        refused(s, "Seccomp_filters", mem=NO_FILTER)
        refused(s, "", mem=EXTRA)
        clean(s)
    if not CONTROLS:
        return
    off = relink("mews-spawner", ["spawner/verify.c"],
                 ["VERIFY_FILTERS"])
    with suite(spawner=off) as s:
        s.ready(VM, mem=NO_FILTER)
    keeper = relink("mews-keeper", ["keeper/main.c"],
                    ["JAIL_KEEPER_FILTER"])
    with suite(keeper=keeper) as s:
        refused(s, "Seccomp_filters")
    with suite(spawner=relink("mews-spawner", ["spawner/confine.c"],
                              ["SPAWNER_FILTER"])) as s:
        # inherited by nobody, counted as none: still consistent
        eq(s.ready(VM).confined.filters, 3)


PROBES = (
    ("passwd", "ENOENT"), ("host-root", "ENOENT EACCES"),
    ("keeper-mem", "ENOENT EACCES"), ("warden-mem", "ENOENT EACCES"),
    ("warden-fd", "ENOENT EACCES"), ("sysctl", "ENOENT"), ("kvm", "ENOENT"),
    ("write-root", "EROFS EACCES"), ("write-stage", "EROFS"),
    ("chmod-stage", "EROFS"), ("remount", "SIGSYS"), ("mount", "SIGSYS"),
    ("chroot", "SIGSYS"), ("mknod", "SIGSYS"), ("inet", "EACCES"),
    ("vsock", "EACCES"), ("netlink", "EACCES"), ("packet", "EACCES"),
    ("keeper-sock", "ENOENT"), ("host-abstract", "ECONNREFUSED"),
    ("ptrace-keeper", "SIGSYS"), ("ptrace-warden", "SIGSYS"),
    ("vm-readv", "SIGSYS"), ("pidfd", "SIGSYS"), ("pidfd-getfd", "SIGSYS"),
    ("kill-keeper", "ok"), ("userns", "SIGSYS"), ("clone-ns", "SIGSYS"),
    ("clone3", "ENOSYS"), ("setns", "SIGSYS"), ("setuid", "SIGSYS"),
    ("bpf", "SIGSYS"), ("io-uring", "ENOSYS"), ("keyctl", "SIGSYS"),
    ("perf", "SIGSYS"), ("x32", "SIGSYS"), ("forks", "EAGAIN"),
    ("fill-log", "EFBIG"), ("fds", "ok"), ("proc", "ok"),
)


def probe_all(s):
    warden = s.stream(VM, "pid")
    return {n: s.probe(VM, n, warden) for n, _ in PROBES}


def confinement():
    canary = socket.socket(socket.AF_UNIX)
    canary.bind("\0mews-canary")
    canary.listen()
    with suite() as s:
        s.ready(VM)
        got = probe_all(s)
        bad = ["%s: %s" % (n, got[n]) for n, want in PROBES
               if got[n] not in want.split()]
        eq(bad, [], "from the hypervisor's place; " + s.said(VM))
        eq(s.o.list()[VM].state, LV_READY, "and the VM lives")
        s.release(VM)
        clean(s)
    canary.close()


def confinement_off():
    """The probes that a rule stops succeed, or get further, without it."""
    verify = "spawner/verify.c"
    canary = socket.socket(socket.AF_UNIX)
    canary.bind("\0mews-canary")
    canary.listen()
    for rules, src, keeper, expect in (
            (["JAIL_NET", "VERIFY_NAMESPACES"],
             ["spawner/prepare.c", verify], None,
             {"host-abstract": "ok"}),
            (["JAIL_STAGE_RO"], ["spawner/jail.c"], None,
             {"write-stage": "EACCES", "chmod-stage": "EPERM"}),
            (["SPAWNER_FILTER", "VERIFY_FILTERS", "VERIFY_SECCOMP"],
             ["spawner/confine.c", verify], ["JAIL_KEEPER_FILTER"],
             {"inet": "ok", "vsock": "ok", "ptrace-keeper": "EPERM",
              "ptrace-warden": "EPERM", "mount": "EPERM", "clone3": "EINVAL",
              "setuid": "EPERM", "pidfd": "ok"}),
            (["VERIFY_FILTERS"], [verify], ["KEEPER_DUMPABLE"],
             {"keeper-mem": "ok"})):
        with suite(spawner=relink("mews-spawner", src, rules),
                   keeper=keeper and relink(
                       "mews-keeper", ["keeper/main.c"],
                       keeper)) as s:
            s.ready(VM)
            warden = s.stream(VM, "pid")
            for name, want in expect.items():
                eq(s.probe(VM, name, warden), want, "%s without %s"
                   % (name, rules + (keeper or [])))
    canary.close()


def sockets():
    """Who may connect to a keeper: launchd's uid; the keeper asks again."""
    hello = bytes(msg_hdr(type=KEEP_HELLO, len=keep_hello.SIZE, id=1)) \
        + bytes(keep_hello(version=KEEP_VERSION))

    def try_as(s, uid):
        r = os.fork()
        if r:
            return r
        os.setgid(uid)
        os.setuid(uid)
        c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = 0
        try:
            c.connect("%s/%016x/keeper.sock" % (s.run, VM))
            c.send(hello)
            c.settimeout(5)
            code = 2 if c.recv(1000) else 1
        except PermissionError:
            code = 3
        except OSError:
            code = 1
        os._exit(code)

    def result(s, uid):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(try_as(s, uid), 0)[1])
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    with suite() as s:
        s.ready(VM)
        for uid, want in ((65534, 3), (UID_BASE, 3), (UID_BASE + 1, 3), (0, 1)):
            eq(result(s, uid), want, "uid %d" % uid)
        # the newest caller is served: launchd may call again before the answer
        wait("answer to launchd's uid", lambda: result(s, LAUNCH_UID) == 2)
        eq(s.probe(VM, "passwd"), "ENOENT", "launchd came back")
    if not CONTROLS:
        return
    with suite(keeper=relink("mews-keeper", ["keeper/main.c"],
                             ["KEEPER_PEER"])) as s:
        s.ready(VM)
        eq(result(s, 0), 2, "without KEEPER_PEER")


def caps(*bits):
    return "%016x" % sum(1 << b for b in bits)


def rows():
    """Every process as the kernel sees it."""
    with suite() as s:
        s.ready(VM)
        p = s.procs()
        root = caps(0, 5, 6, 7, 8, 19, 21)
        none = caps()
        for name, pid, uid, cap, n in (
                ("launchd", s.pid, LAUNCH_UID, none, 1),
                ("spawner", s.spawner(), 0, root, 1),
                ("keeper", p["keeper"], UID_BASE, none, 2),
                ("warden", p["warden"], UID_BASE, none, 3),
                ("vmm", p["vmm"], UID_BASE, none, 4)):
            st = status(pid)
            print("%-8s uid %s CapEff %s CapBnd %s NNP %s Seccomp %s/%s" % (
                name, st["Uid"].split()[0], st["CapEff"], st["CapBnd"],
                st["NoNewPrivs"], st["Seccomp"], st["Seccomp_filters"]))
            eq(st["Uid"].split(), [str(uid)] * 4, name)
            eq(st["Groups"].split(), [], name)
            for c in ("CapPrm", "CapEff", "CapBnd"):
                eq(st[c], cap, "%s %s" % (name, c))
            for c in ("CapInh", "CapAmb"):
                eq(st[c], none, "%s %s" % (name, c))
            eq((st["NoNewPrivs"], st["Seccomp"], st["Seccomp_filters"]),
               ("1", "2", str(n)), name)
        eq(os.readlink("/proc/%d/root" % s.pid), s.run, "launchd's root")
        with open("/proc/%d/mountinfo" % p["vmm"]) as f:
            mounts = [l.split() for l in f]
        eq([(m[4], m[5].split(",")[0]) for m in mounts],
           [("/", "ro"), ("/usr", "ro"), ("/proc", "ro")], "the jail's mounts")
        for sp in (s.spawner(), s.pid):
            fds = os.listdir("/proc/%d/fd" % sp)
            if len(fds) > 16:
                raise Fail("%d descriptors" % len(fds))


CASES = [
    readback_filters, confinement, sockets, rows]
if CONTROLS:  # these are nothing but controls
    CASES += [readback, confinement_off]
run([(f.__name__.replace("_", "-"), f) for f in CASES])
