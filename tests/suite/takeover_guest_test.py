#!/usr/bin/env python3
"""Takeover: wardens and guests of the running suite are somebody else's.

A VM runs under the suite as it ships, and beside it others, whose wardens
(tests/hostile/evil_warden.c) or agents (evil_agent.c) say what must be refused.
Only their own VMs suffer (takeover.py).

usage: takeover_guest_test.py [CASE...]   MEWS_PROGRAM: another room
"""
import concurrent.futures
import contextlib
import glob
import json
import os
import re
import subprocess
import sys

import suite
from takeover import (NOT, PROGRAMS, STAGE, guest_says, host, log_of, message,
                      programs, run, s, same, since, stage)
from wire import (BOOT_FAULT, KEEP_STATE, KEEP_STATE2, LAUNCH_EVENT,
                  NET_TAP_CLOSE, SPAWN_KILL, SPAWN_PREPARED, WARD_HELLO,
                  WARD_STATE, WARD_STREAM)

LIES = ("garbage", "foreign", "floods", "silent", "claims", "closes")


def warden():
    """I3, I9: wardens of other VMs lie; only their own VMs suffer."""
    s.stop()
    programs()
    stage((suite.BUILD + "/evil/mews-warden", "usr/bin"))
    s.start()
    s.wait_helpers()
    before, rooms = host(), s.rooms()
    marks = {"launchd": len(log_of("launchd"))}
    with concurrent.futures.ThreadPoolExecutor(len(LIES)) as pool:
        made = []
        for i, l in enumerate(LIES):  # one by one: the slot is the lie
            made.append(pool.submit(s.create, l))
            suite.wait_for(lambda: s.query(
                "SELECT count(*) FROM vm") == i + 2, l, 10)
        # a log goes with its VM: of those that end at once there is none
        said = suite.wait_for(lambda: (t := vm_logs()).count(
            "hostile: tried") >= 4 and t, "attempts from the jails", 10)
        assert "hostile: reached" not in said, said
        while not all(m.done() for m in made):
            guest_says("mine")
        for l in LIES:
            vm = suite.wait_for(lambda: settled(l), "end of " + l, 60, 0.2)
            print("# %s: %s: %s" % (l, vm["status"], vm.get("reason")))
            assert l == "claims" or not vm.get("ready"), vm
    guest_says("mine")
    said = since(marks, "launchd")
    for lie in (message(WARD_STATE, "bad field"), message(SPAWN_KILL, NOT)):
        assert "warden: " + lie in said, "not refused: %s\n%s" % (
            lie, said)
    assert s.rooms() == rooms
    for l in LIES:
        assert s.delete("/api/v1/vms/" + l, timeout=30).status == 204, l
    same(before)


def settled(name):
    vm = s.get("/api/v1/vms/" + name).json()
    return vm if vm["status"] in ("crashed", "running") else None


def vm_logs():
    text = ""
    for path in glob.glob(suite.ROOT + "/log/vm/*.log"):
        with contextlib.suppress(FileNotFoundError):
            with open(path, errors="replace") as f:
                text += f.read()
    return text


LATE = {  # of evil_warden.c: what launchd says to each, one a connection
    "shape": [message(WARD_STATE, "wrong size")] * 5
             + [message(WARD_STATE, "wrong descriptors")]
             + ["malformed packet"] * 4 + ["closed"],
    "says": [message(WARD_STATE, "bad field")] * 6
            + [message(t, NOT) for t in (
                WARD_HELLO, WARD_STREAM, SPAWN_KILL, SPAWN_PREPARED, KEEP_STATE,
                KEEP_STATE2, LAUNCH_EVENT, NET_TAP_CLOSE, BOOT_FAULT)],
    "well": [],
}


def turncoat():
    """I3, I9: wardens that were read back and ran their guests lie then."""
    s.stop()
    programs()
    stage((suite.BUILD + "/evil/mews-warden", "usr/bin"))
    with open(STAGE + "/boot/late", "w"):
        pass
    s.start()
    s.wait_helpers()
    before, rooms = host(), s.rooms()
    marks = {"launchd": len(log_of("launchd"))}
    for l in LATE:  # one by one: the slot is the lie
        assert s.create(l).status == 201, l

    def told(name):
        """Of that VM's warden, once it has nothing more to say."""
        vm = s.get("/api/v1/vms/" + name).json()
        assert vm["status"] == "running", vm
        with open(suite.ROOT + "/log/vm/%s.log" % vm["uid"]) as f:
            said = re.findall("hostile: (.*)", f.read())
        # each lie in another shape than launchd's table has costs its
        # connection; when all are told, the last call hears the truth
        end = ["late"] * len(LATE[name]) + ["honest"]
        return said[:len(end)] == end if LATE[name] else said[:1] == ["late"]
    for l in LATE:
        s.wait_ready(l, 90)
    for l, want in LATE.items():
        with contextlib.suppress(AssertionError):  # what it said, says more
            suite.wait_for(lambda: told(l) or guest_says("mine"), l, 30, 0.1)
        vm = s.get("/api/v1/vms/" + l).json()
        said = re.findall(r"vm %s: warden: (.*)" % vm["uid"],
                          since(marks, "launchd"))
        assert said == want, "of %s launchd said %s" % (l, said)
    assert s.rooms() == rooms, (s.rooms(), rooms)
    for l in LATE:
        assert told(l), l
        vm = s.get("/api/v1/vms/" + l).json()
        # its guest was none the worse for it, and each new call verified
        assert vm["status"] == "running", vm
        assert s.cli("exec", l, "true").returncode == 0, l
    assert "\033" not in since(marks, "launchd") + since(marks, "orchd")
    for l in LATE:
        assert s.delete("/api/v1/vms/" + l, timeout=30).status == 204, l
    same(before)
    guest_says("mine")


# Of evil_agent.c: what every warden that calls gets to hear.
GUEST_LIES = ["version", "type", "flags", "huge-frame", "stream-0",
              "nobodys-stream", "unsolicited-stream", "our-streams-again",
              "huge-window", "pings", "go-away", "reset", "agent-garbage",
              "agent-window", "http-split", "http-endless", "http-interim",
              "http-body", "mute"]
OK = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" \
     "Upgrade: mews-exec\r\n\r\n"
X = "x" * 1000
# name, what the guest is made to say to an exec, exit status, on stderr
ANSWERS = [
    ("no HTTP", ["raw", "SSH-2.0-x\r\n\r\n"], 125, "HTTP|version"),
    ("another version", ["raw", "HTTP/9.9 101 x\r\n\r\n"], 125, ""),
    ("no status", ["raw", "HTTP/1.1 abc x\r\n\r\n"], 125, ""),
    ("status 999", ["raw", "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n"],
     125, ""),
    ("status 200", ["raw", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
     125, "502|{}"),
    ("redirect", ["raw", "HTTP/1.1 302 Found\r\nLocation: http://evil/\r\n"
                  "Set-Cookie: a=b\r\nContent-Length: 8\r\n\r\n\033[2Jevil"],
     125, "evil"),
    ("two lengths", ["raw", "HTTP/1.1 500 x\r\nContent-Length: 1\r\n"
                     "Content-Length: 2\r\n\r\nab"], 125, ""),
    ("upgrade unnamed", ["raw", "HTTP/1.1 101 x\r\n\r\n"], 125, ""),
    ("cut head", ["raw", "HTTP/1.1 101 x\r\nUpg"], 125, ""),
    ("long field", ["raw", "HTTP/1.1 500 x\r\nA: %s\r\n\r\n" % (X * 20)],
     125, ""),
    ("many fields", ["raw", "HTTP/1.1 500 x\r\n%s\r\n" % ("A: b\r\n" * 300)],
     125, ""),
    ("long body", ["raw", "HTTP/1.1 500 x\r\nContent-Length: 9999999\r\n\r\n"
                   + X], 125, ""),
    ("endless head", ["flood", "HTTP/1.1 500 x\r\n", "A: %s\r\n" % X], 125, ""),
    ("endless interim", ["flood", "HTTP/1.1 100 Continue\r\n\r\n",
                         "HTTP/1.1 100 Continue\r\n\r\n"], 125, ""),
    ("endless body", ["flood", "HTTP/1.1 500 x\r\nTransfer-Encoding: "
                      "chunked\r\n\r\n", "5\r\nabcde\r\n"], 125, ""),
    ("endless garbage", ["flood", OK, X], 125, "protocol"),
    ("a channel that is none", ["lie", "exec-channel"], 125, "protocol"),
    ("a frame of 4 GiB", ["lie", "exec-huge"], 125, "protocol"),
    ("a warden's frame", ["lie", "exec-opened"], 125, "protocol"),
    ("no status at the end", ["lie", "exec-cut"], 125, "without a status"),
    ("more after the status", ["lie", "exec-after"], 0, ""),
    ("status: no JSON", ["status", "evil"], 125, ""),
    ("status: empty", ["status", ""], 125, ""),
    ("status: nothing known", ["status", "{}"], 125, ""),
    ("status: an array", ["status", "[" * 60], 125, ""),
    ("status: exit 256", ["status", json.dumps(
        {"status": "Failure", "reason": "NonZeroExitCode", "details": {
            "causes": [{"reason": "ExitCode", "message": "256"}]}})], 125, ""),
    ("status: exit -1", ["status", json.dumps(
        {"status": "Failure", "reason": "NonZeroExitCode", "details": {
            "causes": [{"reason": "ExitCode", "message": "-1"}]}})], 125, ""),
    ("status: a claim", ["status", json.dumps(
        {"metadata": {}, "status": "Success"})], 0, ""),
    ("status: escapes", ["status", json.dumps(
        {"status": "Failure", "message": "\033]0;evil\7"})], 125, ""),
]


def wardens():
    """{uid: pid} of every VM's warden."""
    return {int(suite.status(pid)["Uid"].split()[0]): pid
            for pid, argv in suite.processes().items()
            if argv.startswith("/usr/bin/mews-warden ")
            or argv.startswith("mews-warden ")}


def pss_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(l.split()[1]) for l in f if l.startswith("Pss:"))


def agent():
    """I6, I9: guests whose agents are somebody else's."""
    s.stop()
    programs()
    stage((suite.BUILD + "/evil/initramfs", "boot/initramfs"))
    s.start()
    s.wait_helpers()
    before, rooms = host(), s.rooms()
    marks = {"launchd": len(log_of("launchd")), "orchd": len(log_of("orchd"))}
    boots = ["boot%d" % n for n in range(3)]
    assert s.create("evil", kernel_cmdline="evil=exec").status == 201
    s.wait_ready("evil")
    pids = wardens()

    for name, words, want, text in ANSWERS:
        p = s.cli("exec", "evil", *words, timeout=30)
        err = p.stderr.decode("utf-8", "backslashreplace")
        assert (p.returncode, re.search(text, err) is not None) == (
            want, True), "%s: exit %d, %s %s" % (
            name, p.returncode, p.stdout[:200], err)
        assert "\033" not in err and (want == 0 or err.strip()), (name, err)
    # one that is never answered holds nobody but who asked
    held = subprocess.Popen(
        [PROGRAMS + "/mews", "exec", "evil", "mute"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, MEWS_API="unix://" + s.sock))
    guest_says("mine")
    p = s.cli("exec", "evil", "echo", "yes")
    assert p.stdout == b"yes\n", p

    def told(name):
        vm = s.get("/api/v1/vms/" + name).json()
        assert vm["status"] == "running" and not vm.get("ready"), vm
        try:
            with open(suite.ROOT + "/log/vm/%s.console" % vm["uid"],
                      "rb") as f:
                said = re.findall(rb"hostile: (\S+)", f.read())
        except FileNotFoundError:
            return None  # it has said nothing yet
        said = [x.decode() for x in said if x != b"here"]
        return said if "mute" in said else guest_says("mine")
    # one after the other: a warden dials for so long, and then no more
    for n, l in enumerate(boots):
        assert s.create(l, kernel_cmdline="evil=" + l).status == 201, l
        mine = wardens()
        said = suite.wait_for(lambda: told(l), "last lie of " + l, 90, 0.2)
        assert said == GUEST_LIES[n:-1:3] + ["mute"], (l, said)
        p = s.cli("exec", l, "true")
        assert p.returncode == 125 and p.stderr, p
        # the wardens bore it, and did not grow
        assert wardens() == mine, (wardens(), mine)
        for pid in mine.values():
            assert pss_kib(pid) < 4096, "warden of %d KiB" % pss_kib(pid)
        assert s.delete("/api/v1/vms/" + l, timeout=30).status == 204, l

    assert wardens() == pids, (wardens(), pids)
    assert s.rooms() == rooms, (s.rooms(), rooms)
    for room in marks:
        assert "refused" not in since(marks, room), since(marks, room)
    assert s.delete("/api/v1/vms/evil", timeout=30).status == 204
    assert held.wait(10) == 125, held.stderr.read()
    held.stdout.close()
    held.stderr.close()
    same(before)
    guest_says("mine")


sys.exit(run((warden, turncoat, agent)))
