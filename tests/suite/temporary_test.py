#!/usr/bin/env python3
"""The whole suite with real guests: `mews run --rm` that is killed leaves no VM.

usage: temporary_test.py [CASE...]
"""
import subprocess
import time

from vms import *  # noqa: F403

AFTER = 10  # temporary_timeout, at its least
SLACK = 8  # to remove it, on a loaded machine
S.conf.update(temporary_timeout=AFTER)


def run_rm(name, *cmd):
    return subprocess.Popen(
        [S.programs + "/mews", "run", "--rm", "--name", name, "-m", "96",
         "busybox", *cmd], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={"MEWS_API": "unix://" + S.sock})


def kill_client(p):
    p.kill()
    p.communicate(timeout=suite.DEADLINE)
    return time.monotonic()


def goes(name, since):
    """Not at once, and in the time that is stated."""
    slot = slot_of(name) if vm(name).get("pid") else None
    wait_for(lambda: name not in names(), name + " gone", AFTER + SLACK)
    took = time.monotonic() - since
    note("%s was gone %.1f s after its client" % (name, took))
    assert took > AFTER - 1, "gone after %.1f s" % took
    if slot is not None:
        eq(parts(slot), {}, "processes of " + name)


def killed_in_command():
    """As long as the command runs it stays, however long; then it goes."""
    ensure("a")
    p = run_rm("t", "sh", "-c", "echo here; sleep 1000")
    eq(p.stdout.readline(), b"here\n")
    assert vm("t")["temporary"] and not vm("a").get("temporary")
    time.sleep(AFTER + 2)
    eq((vm("t")["status"], p.poll()), ("running", None))
    goes("t", kill_client(p))
    eq(vm("a")["status"], "running")


def killed_on_its_way_up():
    """Before anything could be asked of it."""
    ensure("a")
    p = run_rm("t", "true")
    wait_for(lambda: "t" in names(), "t")
    since = kill_client(p)
    wait_for(lambda: "t" not in names(), "t gone", 60 + AFTER + SLACK)
    took = time.monotonic() - since
    note("gone %.1f s after its client" % took)
    assert took > AFTER - 1, "gone after %.1f s" % took


def rooms_die_too():
    """The suite knows it also when all of it is killed meanwhile."""
    ensure("a")
    p = run_rm("t", "sh", "-c", "echo here; sleep 1000")
    eq(p.stdout.readline(), b"here\n")
    kill_client(p)
    since = kill_room("all")
    api_back(since)
    S.wait_helpers()
    goes("t", since)
    eq(vm("a")["status"], "running")
    exec_again("a")


def ends_as_ever():
    """Who lives removes it himself, at once; and the exit status is kept."""
    ensure("a")
    p = run_rm("t", "sh", "-c", "exit 7")
    p.communicate(timeout=60)
    eq(p.returncode, 7)
    eq(names(), ["a"])
    p = run_rm("t", "sh", "-c", "poweroff; sleep 60")
    out, err = p.communicate(timeout=60)
    assert p.returncode != 0, (out, err)
    eq(names(), ["a"])


if __name__ == "__main__":
    run(killed_in_command, killed_on_its_way_up, rooms_die_too, ends_as_ever,
        all_gone)
