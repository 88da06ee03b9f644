#!/usr/bin/env python3
"""A suite is replaced under a running VM.

The suite before is built from this tree's own history, at the last commit
whose keepers spoke version 1, and starts a real guest.  It stops, this one
starts on the same root: the VM goes on, is served, and can be stopped.
"""
import os
import shutil
import subprocess
import sys

import suite

COMMIT = "c7cb5c356961"  # the last with KEEP version 1
OLD = os.path.join(suite.BUILD, "upgrade", COMMIT)
# what that mewsd knows of mews.conf
KEYS = {"user_orch", "user_api", "user_api_admin", "user_net", "user_launch",
        "users", "uid_base", "uid_count", "max_vms", "bridge", "uplink",
        "subnet", "accel", "cgroup", "log_level", "stage", "ready_timeout"}


def build():
    """False: this clone does not go back that far."""
    if subprocess.run(["git", "-C", suite.TOP, "cat-file", "-e",
                       COMMIT + "^{commit}"], stderr=subprocess.DEVNULL
                      ).returncode:
        return False
    if not os.path.exists(OLD + "/GNUmakefile"):
        os.makedirs(OLD, exist_ok=True)
        tar = subprocess.run(["git", "-C", suite.TOP, "archive", COMMIT],
                             stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", OLD], input=tar, check=True)
    guest = OLD + "/build/guest"
    os.makedirs(guest, exist_ok=True)
    if not os.path.exists(guest + "/kernel.deb"):
        shutil.copy2("build/guest/kernel.deb", guest)
    env = {k: v for k, v in os.environ.items()
           if k not in ("B", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "EXTRA")}
    p = subprocess.run(["make", "-C", OLD, "all", "stage"], text=True, env=env,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        sys.exit(p.stdout)
    return True


def vm(s):
    return s.get("/api/v1/vms/old").json()


def said(s, *argv):
    p = s.cli("exec", "old", *argv)
    return p.returncode, p.stdout, p.stderr


def main():
    old = suite.Suite(programs=OLD + "/build",
                      stage=OLD + "/build/stage/current")
    old.conf = {k: v for k, v in old.conf.items() if k in KEYS}
    old.start()
    old.wait_helpers()
    assert old.create("old").status in (200, 201), old.logs()
    old.wait_ready("old")
    before = vm(old)
    assert said(old, "sh", "-c", "echo up > /tmp/x")[0] == 0
    old.stop()

    new = suite.Suite()

    def adopted():
        new.start()
        new.wait_helpers()
        new.wait_ready("old")
        now = vm(new)
        assert now["status"] == "running" and now["ready"], now
        assert now["pid"] == before["pid"], (before, now)

    def served():
        assert said(new, "cat", "/tmp/x") == (0, b"up\n", b""), said(
            new, "cat", "/tmp/x")

    def again():
        """A second change of suites, with nothing started in between."""
        new.stop()
        new.start()
        new.wait_helpers()
        new.wait_ready("old")
        assert vm(new)["pid"] == before["pid"], vm(new)
        served()

    def stopped():
        p = new.cli("stop", "old")
        assert p.returncode == 0, p.stderr
        assert vm(new)["status"] == "stopped", vm(new)

    def started():
        """The same VM under this suite's own keeper."""
        p = new.cli("start", "old")
        assert p.returncode == 0, p.stderr
        new.wait_ready("old")
        assert said(new, "true")[0] == 0
        new.delete("/api/v1/vms/old", timeout=60)

    return suite.run({"upgrade: adopted": adopted, "upgrade: served": served,
                      "upgrade: again": again, "upgrade: stopped": stopped,
                      "upgrade: started anew": started})


if __name__ == "__main__":
    if "MEWS_TEST_HOST" not in os.environ and not build():
        print("skip upgrade: no commit %s in this clone" % COMMIT)
        sys.exit(0)
    suite.enter()
    sys.exit(main())
