#!/usr/bin/env python3
"""The whole suite with a real guest: it gets another name while it runs.

usage: rename_test.py [CASE...]
"""
import subprocess

from vms import *  # noqa: F403


def mews(*args, rc=0):
    p = S.cli(*args, timeout=120)
    eq(p.returncode, rc, "mews %s: %r" % (" ".join(args), p))
    return p.stdout


def while_it_runs():
    """Its guest notices nothing until the next start; what is open goes on, and
    commands, logs and events go by the new name."""
    ensure("a")
    was, events = vm("a"), Events(last_event())
    p = subprocess.Popen(
        [S.programs + "/mews", "exec", "-i", "a", "sh", "-c",
         "echo here; read x; echo got $x"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={"MEWS_API": "unix://" + S.sock})
    eq(p.stdout.readline(), b"here\n")
    eq(mews("rename", "a", "b-c"), b"b-c\n")
    now = vm("b-c")
    eq(names(), ["b-c"])
    for k in ("uid", "pid", "ip_address", "mac_address", "status", "ready"):
        eq(now[k], was[k], k)
    out, _ = p.communicate(b"x\n", timeout=60)
    eq((p.returncode, out), (0, b"got x\n"))
    eq(guest("b-c", "hostname").strip(), "a")
    e = events.until("VM_RENAMED", "b-c")[-1][2]
    eq((e["old_name"], e["uid"], e["status"]), ("a", was["uid"], "running"))
    events.close()
    assert mews("logs", "--console", "b-c"), "no console"
    consistent()  # all that is held goes by its uid
    since = kill_room("all")
    api_back(since)
    S.wait_helpers()
    exec_again("b-c")
    eq((vm("b-c")["pid"], guest("b-c", "hostname").strip()), (was["pid"], "a"))
    mews("restart", "b-c")
    eq(guest("b-c", "hostname").strip(), "b-c")
    events = Events(last_event())
    mews("rename", "b-c", "a")
    eq(events.until("VM_RENAMED", "a")[-1][2]["old_name"], "b-c")
    events.close()
    mews("restart", "a")
    eq(guest("a", "hostname").strip(), "a")


if __name__ == "__main__":
    run(while_it_runs, all_gone)
