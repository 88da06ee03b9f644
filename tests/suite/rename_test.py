#!/usr/bin/env python3
"""The whole suite with a real guest: it gets another name while it runs, and
what it said since a moment is told.

usage: rename_test.py [CASE...]
"""
import subprocess
import time

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


def since():
    """Of console and log, while it runs and when it has stopped."""
    ensure("a")
    mews("restart", "a")
    time.sleep(3)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(2)
    boot = mews("logs", "--console", "a")
    assert b"ready" in boot, boot
    eq(mews("logs", "--console", "--since", at, "a"), b"")
    eq(mews("logs", "--console", "--since", "1h", "a"), boot)
    log = mews("logs", "--vmm", "a")
    assert log, "nothing"
    mews("stop", "a")
    whole = mews("logs", "--console", "a")
    part = mews("logs", "--console", "--since", at, "a")
    note("console: %d bytes at its boot, %d since: %r" % (
        len(boot), len(part), part[-60:]))
    assert part and whole == boot + part, (whole[-400:], part)
    assert mews("logs", "--vmm", "a").startswith(log)
    assert len(mews("logs", "--vmm", "--since", at, "a")) < len(log) + 2000
    ensure("a")


if __name__ == "__main__":
    run(while_it_runs, since, all_gone)
