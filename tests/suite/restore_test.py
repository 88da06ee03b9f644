#!/usr/bin/env python3
"""The whole suite, with a hypervisor that is none: a backup is made, and put back by
the steps of docs/operations.md; what was made since runs on, is adopted or ended.

usage: restore_test.py [CASE...]
"""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kills as k  # noqa: E402
import suite  # noqa: E402

DOC = os.path.join(suite.TOP, "docs/operations.md")
S = None


def eq(got, want, what=""):
    assert got == want, "%s: %r, not %r" % (what, got, want)


def mews(*args, rc=0):
    p = S.cli(*args)
    eq(p.returncode, rc, "mews %s: %r" % (" ".join(args), p))
    return p.stdout.decode() if rc == 0 else p.stderr.decode()


def steps(heading):
    """The first commands below that heading, as they are written there."""
    with open(DOC) as f:
        part = f.read().split("### %s\n" % heading)[1]
    block = re.search(r"((?:^    .*\n)+)", part, re.M).group(1)
    return [line.strip() for line in block.splitlines()]


def put_back(backup):
    """Each step, with this host's own names in it."""
    uid = S.conf["user_orch"]
    said = []
    for line in steps("To put one back"):
        for a, b in (("/root/mews.db", backup), ("CONF", S.root + "/mews.conf"),
                     ("USER_ORCH", uid), ("DIR", S.root)):
            line = line.replace(a, b)
        if line == "systemctl stop mews":
            S.stop()
        elif line == "systemctl start mews":
            S.start()
            S.wait_helpers()
        else:
            p = subprocess.run(
                ["sh", "-ec", line], text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=60, env=dict(
                    os.environ, MEWS_API="unix://" + S.sock,
                    PATH="%s:%s" % (S.programs, os.environ["PATH"])))
            eq(p.returncode, 0, "%s: %s" % (line, p.stdout))
            said.append(p.stdout)
    return said


def ready(*names):
    for n in names:
        eq(S.create(n).status, 201, n)
        S.wait_ready(n)


def vm(name):
    a = S.get("/api/v1/vms/" + name)
    eq(a.status, 200, name)
    return a.json()


def says(name, text):
    eq(mews("exec", name, "echo", text), text + "\n")


def orphans():
    return {o["uid"]: o for o in json.loads(mews("--json", "orphan", "ls"))}


def up(**conf):
    global S
    subprocess.run("rm -rf %s/lib %s/run %s/log %s/*.db" % ((suite.ROOT,) * 4),
                   shell=True, check=True)
    S = suite.Suite(programs=k.BUILD, stage=k.STANDIN, stop_agent_timeout=1, **conf)
    S.start()
    S.wait_helpers()


def down():
    for v in S.get("/api/v1/vms").json():
        mews("rm", "-f", v["name"])
    for uid in orphans():
        mews("orphan", "rm", uid)
    eq(suite.leaks(S), [])
    S.stop()


def restored():
    up()
    backup = S.root + "/mews.db"
    ready("same", "gone", "down")
    mews("stop", "down")
    out = mews("store", "backup", backup)
    assert "store version 6" in out, out
    eq(os.stat(backup).st_mode & 0o7777, 0o600)
    was = vm("same")
    # meanwhile the world goes on
    mews("rm", "-f", "gone")
    mews("start", "down")
    S.wait_ready("down")
    ready("kept", "ended")  # one has the place of what was removed
    made = {n: vm(n) for n in ("kept", "ended")}
    said = put_back(backup)
    assert said[0].endswith("good\n"), said
    eq((vm("same")["pid"], vm("same")["status"]), (was["pid"], "running"))
    says("same", "here")
    suite.wait_for(lambda: vm("gone")["status"] == "crashed", "gone: crashed")
    suite.wait_for(lambda: not vm("down").get("pid"), "down: ended")
    eq(vm("down")["status"], "stopped")
    found = orphans()
    eq(sorted(found), sorted(m["uid"] for m in made.values()))
    for m in made.values():
        o = found[m["uid"]]
        for key in "pid", "ip_address", "mac_address", "cpu_cores", "memory_mb":
            eq(o[key], m[key], key)
        assert suite.status(m["pid"]), "it does not run"
    assert "orphans" in mews("doctor"), "doctor"
    # the place of one that was removed is taken till it, or the orphan, is gone
    stuck = [o for o in found.values() if o.get("reason")]
    eq(len(stuck), 1, "in the way")
    assert "vm gone of tenant default has its slot" in stuck[0]["reason"], stuck
    assert "mews orphan rm" in mews("start", "gone", rc=125)
    assert "in the store" in mews("orphan", "adopt", "--name", "kept",
                                  made["kept"]["uid"], rc=125) or \
        "in the store" in mews("orphan", "adopt", "--name", "ended",
                               made["ended"]["uid"], rc=125)
    mews("rm", "gone")
    # one is adopted, and is what it was
    eq(mews("orphan", "adopt", "--name", "kept", made["kept"]["uid"][:6]), "kept\n")
    now = vm("kept")
    for key in ("uid", "pid", "ip_address", "mac_address", "cpu_cores", "memory_mb",
                "status"):
        eq(now[key], made["kept"][key], key)
    assert now["adopted"] and not vm("same").get("adopted")
    says("kept", "still")
    # through the death of everybody
    for pid in [S.proc.pid, *S.rooms().values()]:
        os.kill(pid, signal.SIGKILL)
    S.proc.wait()
    S.start()
    S.wait_helpers()
    S.wait_ready("kept")
    eq(vm("kept")["pid"], made["kept"]["pid"])
    says("kept", "again")
    eq(list(orphans()), [made["ended"]["uid"]])
    mews("restart", "kept")
    S.wait_ready("kept")
    says("kept", "anew")
    # and one is ended
    eq(mews("orphan", "rm", made["ended"]["uid"]), made["ended"]["uid"] + "\n")
    eq(orphans(), {})
    down()


def in_time():
    """A store that is lost: all that runs is an orphan, till its time is over."""
    up(orphan_timeout=4)
    ready("a", "b")
    pids = [vm(n)["pid"] for n in ("a", "b")]
    S.stop()
    for n in os.listdir(S.root + "/lib/store"):
        os.unlink(S.root + "/lib/store/" + n)
    S.start()
    S.wait_helpers()
    eq(len(orphans()), 2)
    eq(S.get("/api/v1/vms").json(), [])
    ready("c")  # beside them
    assert vm("c")["ip_address"] not in [o["ip_address"] for o in orphans().values()]
    suite.wait_for(lambda: orphans() == {}, "their end", 15)
    for pid in pids:
        assert not os.path.exists("/proc/%d" % pid) or \
            suite.status(pid)["State"].startswith("Z"), pid
    down()


if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run({"restored": restored, "in-time": in_time}))
