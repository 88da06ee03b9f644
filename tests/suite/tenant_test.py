#!/usr/bin/env python3
"""The whole suite with tenants: made, filled, seen and removed by the command,
as several people.

usage: tenant_test.py [CASE...]
"""
import json
import os
import re
import shutil
import signal
import subprocess

from vms import *  # noqa: F403

ALICE, BOB, CAROL = (S.uids + 20 + i for i in range(3))
GROUP = S.uids + 40


def program():
    """The command where anybody may run it: a checkout may be in a home."""
    path = S.root + "/mews"
    if not os.path.exists(path):
        shutil.copyfile(S.programs + "/mews", path)
        os.chmod(path, 0o755)
    return path


def mews(*args, uid=0, groups=(), rc=0, tenant=None):
    """As that user; what it wrote, to either."""
    env = dict(os.environ, MEWS_API="unix://" + S.sock)
    if tenant:
        env["MEWS_TENANT"] = tenant
    p = subprocess.run([program(), *suite.as_guest(args)], env=env,
                       user=uid, group=uid, extra_groups=list(groups),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=120, text=True)
    eq(p.returncode, rc, "mews %s: %s" % (" ".join(args), p.stdout))
    return p.stdout


def has(text, *words):
    for w in words:
        assert w in text, "no %r in %s" % (w, text)


def first_steps():
    """docs/operations.md, as it is written there."""
    has(mews("ps", uid=ALICE, rc=125), "is in no tenant")
    eq(mews("tenant", "create", "--quota", "vms=2,memory=1g", "--user",
            "%d:admin" % ALICE, "--group", str(GROUP), "team"), "team\n")
    eq(mews("run", "-d", "--name", "web", "-m", "96m", "busybox", uid=ALICE),
       "web\n")
    eq(mews("exec", "web", "hostname", uid=ALICE), "web\n")
    # his group may, too; others see nothing of it
    has(mews("ps", uid=BOB, groups=[GROUP]), "web", "running")
    has(mews("ps", uid=CAROL, rc=125), "not allowed: access denied")
    assert "web" not in mews("ps", "-a")
    has(mews("--tenant", "team", "ps"), "web")
    has(mews("ps", tenant="team"), "web")
    eq(mews("--tenant", "team", "exec", "web", "hostname"), "web\n")
    has(mews("inspect", "web", uid=CAROL, rc=125), "not allowed")
    has(mews("--tenant", "nope", "ps", rc=125),
        "there is no tenant nope, or you are not in it")
    has(mews("--tenant", "../x", "ps", rc=125), "is no name of a tenant")


def shown():
    text = mews("tenant", "show", "team")
    has(text, "team: active; you: host admin", "vms         1", "1 GiB",
        "[##########          ]", "user %d" % ALICE, "admin",
        "group %d" % GROUP, "operator")
    t = json.loads(mews("--json", "tenant", "show", "team", uid=ALICE))
    eq((t["name"], t["role"], t["used"]["vms"], t["quotas"]["memory_mb"]),
       ("team", "admin", 1, 1024))
    has(mews("tenant", "ls"), "NAME", "default", "team", "host admin")
    eq([t["name"] for t in json.loads(mews("--json", "tenant", "ls",
                                           uid=ALICE))], ["team"])


def quota():
    has(mews("run", "-d", "--name", "big", "-m", "2g", "busybox", uid=ALICE,
             rc=125), "quota memory of tenant team: it has 96 of 1024")
    eq(mews("tenant", "set", "--quota", "vms=1", "team"), "team\n")
    has(mews("run", "-d", "--name", "two", "-m", "96m", "busybox", uid=ALICE,
             rc=125), "quota vms of tenant team: it has 1 of 1")
    has(mews("tenant", "set", "--quota", "vms=9", "team", uid=ALICE, rc=125),
        "for host admins")
    mews("tenant", "set", "--quota", "vms=0,memory=0", "team")
    eq(mews("run", "-d", "--name", "two", "-m", "96m", "busybox", uid=ALICE),
       "two\n")
    mews("rm", "-f", "two", uid=ALICE)


def members():
    has(mews("tenant", "set", "--user", "%d:king" % BOB, "team", uid=ALICE,
             rc=125), "king is no role: viewer, operator, admin, none")
    has(mews("tenant", "set", "--user", "no-such-user", "team", uid=ALICE,
             rc=125), "there is no user no-such-user on this host")
    mews("tenant", "set", "--user", "%d:viewer" % BOB, "team", uid=ALICE)
    has(mews("ps", uid=BOB), "web")
    has(mews("stop", "web", uid=BOB, rc=125),
        "you are viewer of tenant team, and this takes operator")
    has(mews("exec", "web", "true", uid=BOB, rc=125), "you are viewer")
    assert mews("logs", "--console", "web", uid=BOB)
    p = subprocess.Popen(
        [program(), "exec", "-i", "web", "sh", "-c",
         "echo here; sleep 600"], user=CAROL, group=GROUP, extra_groups=[GROUP],
        env={"MEWS_API": "unix://" + S.sock}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eq(p.stdout.readline(), b"here\n")
    mews("tenant", "set", "--group", "%d:none" % GROUP, "team", uid=ALICE)
    _, err = p.communicate(timeout=30)  # his group is out: so is what he does
    assert p.returncode == 125 and err, (p.returncode, err)
    has(mews("tenant", "show", "team", uid=CAROL, rc=125), "is in no tenant")


def suspended():
    mews("tenant", "set", "--suspend", "team")
    has(mews("tenant", "show", "team", uid=ALICE), "team: suspended; you: viewer")
    has(mews("exec", "web", "true", uid=ALICE, rc=125),
        "tenant team is suspended: its members may only look")
    has(mews("ps", uid=ALICE), "web", "running")
    kill_room("orchd")
    has(mews("exec", "web", "true", uid=ALICE, rc=125), "suspended")
    mews("tenant", "set", "--resume", "team")
    eq(mews("exec", "web", "hostname", uid=ALICE), "web\n")


def trail():
    """docs/operations.md: who did what, whether that is so, and what the journal
    (here: mewsd's standard error) has of it."""
    text = mews("audit", uid=ALICE)
    has(text, "tenant-change", "%d as admin" % ALICE, "exec", "web",
        "REFUSED", "orchd: you are viewer of tenant team")
    assert "tenant-create" not in text
    has(mews("audit"), "(host)", "tenant-create", "exec")
    has(mews("audit", uid=CAROL, rc=125), "not allowed")
    has(mews("audit", "--verify"), "none is missing")
    has(mews("--tenant", "team", "audit", "--verify"), "(team): rows 1 to ")
    os.kill(S.rooms()["orchd"], signal.SIGTERM)  # tells its heads
    wait_for(lambda: "audit: tenant 2" in open(S.log.name).read(), "heads")
    mews("ps")
    with open(S.log.name, encoding="utf-8") as f:
        head = re.findall(r"audit: tenant (2) row (\d+) hash (\w+)", f.read())
    has(mews("audit", "--head", ":".join(head[-1])), "none is missing")
    wrong = head[-1][:2] + (head[-1][2][::-1],)
    has(mews("audit", "--head", ":".join(wrong), rc=1), "another hash",
        "the trail is not whole")


def removed():
    has(mews("tenant", "rm", "team", rc=125), "still has 1 vms")
    eq(mews("tenant", "rm", "--force", "team"), "team\n")
    has(mews("ps", uid=ALICE, rc=125), "is in no tenant")
    has(mews("tenant", "rm", "default", rc=125), "stays")
    eq([t["name"] for t in json.loads(mews("--json", "tenant", "ls"))],
       ["default"])


if __name__ == "__main__":
    run(first_steps, shown, quota, members, suspended, trail, removed, all_gone)
