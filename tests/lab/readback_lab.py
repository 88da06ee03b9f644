#!/usr/bin/env python3
"""The read-back (I4) where every row is there: launchd's and the rooms'
confinement tests with cgroup v2 and /dev/kvm, and a jail that is wrong in one
row, which must not run, and does with that row's rule off.

usage: readback_lab.py [--rows|--launchd|--rooms [CASE...]]
"""
import functools
import os
import runpy
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TESTS = os.path.join(TOP, "tests")
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
sys.path[:0] = [TESTS + "/launchd", TESTS + "/suite"]
import callers as l  # noqa: E402
import suite  # noqa: E402

LAB = {"config": "bare", "deadline": 420}
# what is wrong, what the read-back says of it, without which rule it runs;
# and of those that stand in front of it, which must be off to get there
ROWS = (
    ("uid", "Uid:", "LINK_PEER+VERIFY_UID", "LINK_PEER"),
    ("gid", "Gid:", "VERIFY_GID"),
    ("groups", "Groups:", "VERIFY_GROUPS"),
    ("caps", "Cap", "VERIFY_CAPS"),
    ("bounding", "CapBnd:", "VERIFY_BOUNDING"),
    ("nnp", "NoNewPrivs:", "VERIFY_NNP"),
    ("seccomp", "Seccomp:", "VERIFY_FILTERS+VERIFY_SECCOMP", "VERIFY_FILTERS"),
    ("filters", "Seccomp_filters:", "VERIFY_FILTERS"),
    ("mnt", "mnt namespace", "VERIFY_NAMESPACES"),
    ("pid", "pid namespace", "VERIFY_NAMESPACES"),
    ("net", "net namespace", "VERIFY_NAMESPACES"),
    ("ipc", "ipc namespace", "VERIFY_NAMESPACES"),
    ("uts", "uts namespace", "VERIFY_NAMESPACES"),
    ("user", "user namespace",
     "VERIFY_BOUNDING+VERIFY_CAPS+VERIFY_NAMESPACES",
     "VERIFY_BOUNDING+VERIFY_CAPS"),
    ("cgroup", "cgroup is not", "VERIFY_CGROUP"),
)
# Keepers for them: one whose filter the wrong jail brings, without which it
# would set no_new_privs; one that speaks with whom it sees as nobody.
KEEPERS = {"nnp": "JAIL_KEEPER_FILTER", "seccomp": "JAIL_KEEPER_FILTER",
           "user": "KEEPER_PEER"}
# of these: what needs no compiler, on a host with all of it
SCRIPTS = ("launchd/launchd_test", "spawner/spawner_records_test",
           "spawner/spawner_readback_test", "spawner/spawner_policy_test")
LAUNCHD = ("=life", "exits", "kill-parts", "adoption", "kill-during-start",
           "pid-reuse", "bad-records", "=confinement", "=rows", "many",
           "host-refusals")
CGROUP = 1 if os.environ.get("LAB_CONFIG") else 0  # require, else auto
VM = 0x0123456789abcdef


def off(rules):
    """(launchd, spawner) with the rules off that are theirs."""
    launchd, spawner = "mews-launchd", "wrong/mews-spawner"
    if "LINK_PEER" in rules:
        launchd = "off/%s/%s" % (rules, launchd)
    if "VERIFY" in rules:
        spawner = "off/%s/%s" % (rules, spawner)
    return os.path.join(BUILD, launchd), os.path.join(BUILD, spawner)


def row(name, text, rules, before=None):
    """The wrong row is what the VM is refused for; without its rule it runs;
    and with nothing wrong the same program runs, read back."""
    on = off(before or "")
    keeper = KEEPERS.get(name) and os.path.join(
        BUILD, "off", KEEPERS[name], "mews-keeper")
    for programs, wrong, runs in ((on, name, False), (off(rules), name, True),
                                  (on, "", True)):
        os.environ["MEWS_WRONG"] = wrong
        s = l.Suite(*programs, keeper=keeper if wrong else None, cgroup=CGROUP)
        try:
            s.start(VM)
            e = s.o.event(VM, l.LE_RUNNING, l.LE_EXITED)
            got = e.kind == l.LE_RUNNING
            assert got == runs, "%r with %r: %r" % (programs, wrong, e)
            if not runs:
                assert e.reason == l.EXIT_START_FAILED, e
                assert text in e.detail.decode(), e
            s.release(VM)
            assert not s.leaks(), s.leaks()
        except BaseException:
            print(s.tail())
            raise
        finally:
            s.close()


def rows(cases):
    l.enter(__file__)
    sys.argv[1:] = cases
    l.run([(r[0], functools.partial(row, *r)) for r in ROWS])


def launchd(cases):
    """launchd's and the spawner's tests with groups required."""
    os.environ["MEWS_PROGRAM"] = os.path.join(BUILD, "mews-launchd")
    l.enter(__file__)
    plain = l.Suite.__init__

    def init(self, *a, **kw):
        kw.setdefault("cgroup", CGROUP)
        plain(self, *a, **kw)
    l.Suite.__init__ = init
    sys.argv[1:] = cases or LAUNCHD
    bad = 0
    for script in SCRIPTS:
        try:
            runpy.run_path("%s/%s.py" % (TESTS, script), run_name="__main__")
        except SystemExit as e:
            bad += e.code != 0
    sys.exit(bad != 0)


def rooms(cases):
    """tests/suite/confinement_test.py in the same way."""
    suite.enter()
    plain = suite.Suite.__init__

    def init(self, *a, **kw):
        kw.setdefault("cgroup", "require")
        plain(self, *a, **kw)
    suite.Suite.__init__ = init
    sys.argv[1:] = cases
    runpy.run_path(TESTS + "/suite/confinement_test.py", run_name="__main__")


PARTS = {"--rows": rows, "--launchd": launchd, "--rooms": rooms}


def main():
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]](sys.argv[2:])
        return 0
    # each has a private host of its own
    return any([subprocess.call([sys.executable, __file__, p]) for p in PARTS])


if __name__ == "__main__":
    sys.exit(main())
