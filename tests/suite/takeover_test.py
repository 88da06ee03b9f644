#!/usr/bin/env python3
"""Takeover: a room of the running suite is somebody else's.

A VM runs under the suite as it ships.  Then the suite is started again with
one room linked with tests/hostile/evil_*.c: it serves on and says what its
peers must refuse.  Afterwards host and VM are what they were, and nothing of
what the VM was trusted with stands where others can read it.

usage: takeover_test.py [CASE...]   MEWS_PROGRAM: another room, evil or not
"""
import concurrent.futures
import contextlib
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spawn  # noqa: E402
import suite  # noqa: E402
from spawn import *  # noqa: E402,F403

PROGRAMS, STAGE = "/run/programs", "/run/stage"
SECRET = "I11-" + os.urandom(12).hex()
BACK = 5  # seconds until a room that was refused is replaced
NOT = "not yours to send"
ILLS = {  # of evil_orchd.c, one a life
    "netd": [
        ("0101", NOT),  # BOOT_CONF
        ("0309", NOT),  # NET_TEARDOWN
        ("0503", NOT),  # SPAWN_KILL
        ("0301", "wrong size"),  # NET_TAP_OPEN
        ("0301", "wrong descriptors")],
    "launchd": [
        ("0101", NOT),
        ("0503", NOT),
        ("0485", NOT),  # LAUNCH_EVENT
        ("0402", "wrong descriptors"),  # LAUNCH_START
        ("0606", NOT)],  # KEEP_GO2
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
s = None


def programs(evil=None):
    """A fresh suite folder, with one room of it evil."""
    shutil.rmtree(PROGRAMS, ignore_errors=True)
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    off = os.environ.get("MEWS_PROGRAM", "")
    if off and (os.path.basename(off) == evil or "/evil/" not in off):
        shutil.copy2(off, PROGRAMS)
    if evil and os.path.basename(off) != evil:
        shutil.copy2(os.path.join(suite.BUILD, "evil", evil), PROGRAMS)


def files():
    """Folders of VMs and the suite: {path: (mode, uid, gid)}."""
    found = {}
    for d, dirs, names in os.walk(suite.ROOT):
        for n in dirs + names:
            st = os.lstat(os.path.join(d, n))
            if not re.search(r"\.log|store\.db", n):
                found[os.path.join(d, n)] = (st.st_mode, st.st_uid, st.st_gid)
    return found


def vm_processes():
    """{pid: (uid, start time)} of every process with a VM's uid."""
    found = {}
    for pid in suite.processes():
        try:
            uid = int(suite.status(pid)["Uid"].split()[0])
            with open("/proc/%d/stat" % pid) as f:
                start = f.read().rpartition(")")[2].split()[19]
        except OSError:
            continue
        if s.uids + suite.VM_FIRST <= uid < s.uids + suite.BLOCK_SIZE:
            found[pid] = (uid, start)
    return found


def mounts():
    with open("/proc/self/mounts") as f:
        return sorted(f)


def host():
    links = re.sub(r"\w+_timer +[0-9.]+", "", suite.sh("ip", "-d", "link"))
    return {"links": links, "rules": suite.sh("nft", "list", "ruleset"),
            "addresses": suite.sh("ip", "-o", "-4", "addr"),
            "routes": suite.sh("ip", "route"), "mounts": mounts(),
            "files": files(), "processes": vm_processes()}


def same(before):
    after = host()
    for what, want in before.items():
        assert after[what] == want, "%s\nwas %s\nis %s" % (
            what, want, after[what])


def log_of(room):
    with open(suite.ROOT + "/log/%s.log" % room, errors="replace") as f:
        return f.read()


def stage(*replaced):
    """A staged tree with other files: (file, path in it)."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(os.path.realpath(suite.BUILD + "/stage/current"),
                    STAGE, symlinks=True)
    off = os.environ.get("MEWS_PROGRAM", "")
    if os.path.basename(off) == "mews-warden" and "/evil/" not in off:
        replaced += ((off, "usr/bin/mews-warden"),)
    for src, dst in replaced:
        shutil.copy2(src, os.path.join(STAGE, dst))
    s.conf["stage"], s.programs = STAGE, PROGRAMS


def readable_secrets():
    """Where the VM's secret stands and others than its owner could read it,
    or people do who read logs."""
    found = []
    for d, _, names in os.walk(suite.ROOT):
        for path in (os.path.join(d, n) for n in names):
            with contextlib.suppress(OSError):
                mode = os.lstat(path).st_mode
                log = re.search(r"log$", path) is not None
                if (mode & 0o170000) == 0o100000 and (log or mode & 0o044):
                    with open(path, "rb") as f:
                        if SECRET.encode() in f.read():
                            found.append("%s %o" % (path, mode))
    found += ["argv of %d: %s" % (pid, argv) for pid, argv
              in suite.processes().items() if SECRET in argv]
    return found


def no_secret():
    found = readable_secrets()
    assert not found, "I11: the secret stands in %s" % found


def guest_says(text):
    """The honest VM's guest; None, so that waiting can be spent on it."""
    p = s.cli("exec", "web", "sh", "-c", "cat /tmp/mark")
    assert p.stdout.decode().strip() == text, (p.stdout, p.stderr)


def restarted(evil):
    """The suite with one evil room; what it held before."""
    s.stop()
    programs(evil)
    before = host()
    marks = {r: len(log_of(r)) for r in
             ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner")
             if os.path.exists(suite.ROOT + "/log/%s.log" % r)}
    s.programs = PROGRAMS
    s.start(wait=False)
    return before, marks


def since(marks, room):
    return log_of(room)[marks.get(room, 0):]


def mewsd_log():
    with open(suite.ROOT + "/mewsd.log", errors="replace") as f:
        return f.read()


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
    ends = suite.wait_for(prepared, "verdicts on orchd's VMs", 5)
    assert set(ends.values()) == {"gone"}, "orchd's VMs were made: %s" % ends
    same(before)
    # what was ill-formed was refused, each time, and cost orchd that life
    for room, ills in ILLS.items():
        said = re.findall(r"orchd: message 0x(\w+): (.*)", since(marks, room))
        # a handler fails only where the asker was killed meanwhile
        said = [x for x in said if x[1] != "refused by its handler"]
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
    suite.wait_for(lambda: re.search(
        r"apid: message 0x0216: refused", since(marks, "orchd")), "refusal", 5)
    suite.wait_for(lambda: served(user), "user service", BACK)
    assert "hostile: gone" not in since(marks, "apid")
    suite.wait_for(lambda: served(user) and
                   "hostile: gone" in since(marks, "apid"), "third caller", 5)
    # of nobody, and of callers who hung up: dropped, nothing lost
    assert since(marks, "orchd").count("apid: ") == 1, since(marks, "orchd")
    with contextlib.suppress(OSError):
        s.get("/api/v1/vms", uid=user, timeout=5)
    suite.wait_for(lambda: "apid: message 0x0106: refused" in
                   mewsd_log(), "mewsd's refusal", 5)
    suite.wait_for(lambda: served(user), "user service again", BACK)
    assert pids("orchd", "netd", "launchd", "apid-admin") == helpers

    admin.sendall(b"GET /api/v1/vms/web HTTP/1.1\r\nHost: m\r\n\r\n")
    vm = suite.recv_answer(admin).json()
    assert vm["status"] == "running", vm
    admin.close()
    same(before)
    guest_says("mine")


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
    for lie in ("0781: bad field", "0503: not yours to send"):
        assert "warden: message 0x" + lie in said, "not refused: %s\n%s" % (
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
    for path in glob.glob(suite.ROOT + "/lib/vm/*/vmm.log"):
        with contextlib.suppress(FileNotFoundError):
            with open(path, errors="replace") as f:
                text += f.read()
    return text


LATE = {  # of evil_warden.c: what launchd says to each, one a connection
    "shape": ["message 0x0781: wrong size"] * 5
             + ["message 0x0781: wrong descriptors"]
             + ["malformed packet"] * 4 + ["closed"],
    "says": ["message 0x0781: bad field"] * 6
            + ["message 0x%s: not yours to send" % m for m in (
                "0701", "0704", "0503", "0581", "0681", "0682", "0485", "0303",
                "0106")],
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
        with open(suite.ROOT + "/lib/vm/%s/vmm.log" % vm["uid"]) as f:
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
        with open(suite.ROOT + "/lib/vm/%s/console.log" % vm["uid"],
                  "rb") as f:
            said = re.findall(rb"hostile: (\S+)", f.read())
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


# -- the spawner's verbs, by whoever holds launchd's end of the channel

FUZZ, LIVES, SEED = 20000, 250, 0x6D657773
VCPUS, MEM = 2, 512  # host policy here


def start_spawner():
    """One on the suite's folders."""
    return spawn.Spawner(
        PROGRAMS + "/mews-spawner", suite.ROOT + "/log/spawner.log",
        dict(launchd=s.uids + suite.ROOMS["launchd"], max_vcpus=VCPUS,
             max_mem_mib=MEM, cgroup=2, accel=TCG, vsock=1,
             cid_base=s.conf["uid_base"], uid_base=s.conf["uid_base"],
             uid_count=s.conf["uid_count"], max_vms=s.conf["max_vms"],
             state=suite.ROOT + "/lib/vm", run=suite.ROOT + "/run/vm",
             stage=os.path.realpath(s.conf["stage"])))


def well_formed(r, web):
    """(verb, record, answers that are right): nothing in it is launchd's to
    have, though the shape is."""
    evil = r.getrandbits(64) | 1 << 63
    verb = r.choice((PREPARE, PREPARE, PREPARE, VERIFY, KILL, RELEASE))
    if verb == PREPARE:
        slots, uids = s.conf["max_vms"], s.conf["uid_count"] // 16
        vm, mem, slot, vcpus, flags, accel = evil, r.randint(64, MEM), \
            r.randint(1, slots - 1), r.randint(1, VCPUS), 0, TCG
        what = r.randrange(7)
        if what == 0:
            slot = r.choice((slots, uids - 1, uids, 0xffff,
                             r.randint(slots, 0xffff)))
        elif what == 1:
            slot = 0  # web's
        elif what == 2:
            vm = web
        elif what == 3:
            vcpus = r.randint(VCPUS + 1, 64)
        elif what == 4:
            mem = r.choice((MEM + 1, 1048576, r.randint(MEM + 1, 1048576)))
        elif what == 5:
            accel = r.choice((0, KVM))  # undecided; what this host has not
        else:
            flags, slot = 1, r.choice((slot, 0, uids, 0xffff))  # the probe's
        return verb, prepare(vm, mem, slot, vcpus, flags, accel), (REFUSED,)
    if verb == VERIFY:
        if r.randrange(8):
            return verb, verify(evil, r.randint(1, 7)), \
                (REFUSED,)
        what = r.randint(1, 7)  # to look is all it may do with web
        return verb, verify(web, what), \
            (VERIFIED,) if what & VMM else (REFUSED,)
    if verb == KILL:
        return verb, jail(evil), (REFUSED,)
    if r.randrange(2):
        return verb, jail(web), (REFUSED,)  # it lives
    return verb, jail(evil), (DONE,)  # there is no such thing


SHAPES = {PREPARE: len(prepare(1, 64, 5, 1, 0)), VERIFY: 24, KILL: 16,
          RELEASE: 16, LIST: 0, ACCEL: 8}


def ill_formed(r, web):
    """(what, arguments of send, or bytes as they are)"""
    verb = r.choice(sorted(SHAPES))
    _, data, _ = well_formed(r, web)
    data = (data + bytes(200))[:SHAPES[verb]]
    jails = (jail(0), jail(web, kind=0), jail(web, kind=2), jail(web, pad=1))
    fields = {  # each with one thing wrong
        PREPARE: (prepare(0, 64, 5, 1, 0), prepare(1, 63, 5, 1, 0),
                  prepare(1, 1048577, 5, 1, 0), prepare(1, 64, 5, 0, 0),
                  prepare(1, 64, 5, 65, 0), prepare(1, 64, 5, 1, 4),
                  prepare(1, 64, 5, 1, 1 << 31), prepare(1, 64, 5, 1, pad=1),
                  prepare(1, 64, 5, 1, pad=4 << 16),
                  prepare(1, 64, 5, 1, accel=3),
                  prepare(1, 64, 5, 1, 0, kind=2)),
        VERIFY: tuple(j + verify(1, 1)[len(j):] for j in jails) + tuple(
            verify(web, *v) for v in (
                (0, 0), (8, 0), (1 << 31, 0), (6, 1))),
        KILL: jails, RELEASE: jails,
        ACCEL: tuple(bytes(spawn_accel(accel=v[0], pad=v[1]))
                     for v in ((0, 0), (3, 0), (1 << 31, 0), (1, 1))),
        LIST: (b"",),
    }
    what = r.choice(("type", "longer", "shorter", "field", "descriptor",
                     "descriptors", "length", "header", "large"))
    if what == "type":
        t = r.choice((0, 0x500, 0x507, 0x401, 0x101, PREPARED, CAPS,
                      verb | 1 << 16, r.getrandbits(32) | 0x800))
        return what, dict(typ=t, data=data)
    if what == "longer" or (what in ("shorter", "field") and verb == LIST):
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
            (len(data) + 1, 0xffffffff, len(data) ^ 1 << 20)))
    if what == "header":
        return what, bytes(msg_hdr(type=verb, len=len(data), id=1))[
            :r.randint(1, 15)]
    return what, dict(typ=verb, data=data + bytes(16400))


def spawner():
    """I2, I3, I12: launchd, taken over, says anything to root."""
    s.stop()
    programs()
    web = int(s.query("SELECT uid FROM vm WHERE name = 'web'")) % (1 << 64)
    before = host()
    r = random.Random(SEED)
    print("# seed %#x" % SEED)
    sp = start_spawner()
    for n in range(FUZZ):
        verb, data, right = well_formed(r, web)
        mid = r.getrandbits(64)
        sp.send(verb, data, mid)
        typ, got, _ = sp.recv()
        assert got == mid and typ in right, "record %d, %#x %s: answer %#x" % (
            n, verb, data.hex(), typ)
        if n % 1000 == 0:
            sp.send(LIST, b"", 7)
            held = [sp.recv() for _ in range(2)]
            assert [h[0] for h in held] == [HELD, LIST_END], held
            assert held[0][2][:16] == jail(web)
    assert sp.end() == 0, "the spawner, at launchd's end"
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


def conf():
    """I2: root's config is root's, or there is no suite."""
    other = "/run/other.conf"
    for what, uid, mode, text in (
            ("owner", 1, 0o644, b"must belong to root"),
            ("group", 0, 0o664, b"can be written by others"),
            ("all", 0, 0o646, b"can be written by others")):
        shutil.copy(suite.ROOT + "/mews.conf", other)
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


def secrets():
    """I11: a VM's environment, where it may be and where not."""
    p = s.cli("exec", "web", "sh", "-c", "echo $MEWS_SECRET")
    assert p.stdout.decode().strip() == SECRET, p  # it is what we look for
    kept = b""
    for path in glob.glob(suite.ROOT + "/lib/store/store.db*"):
        with open(path, "rb") as f:
            kept += f.read()
    assert SECRET.encode() in kept, "not even in the store"
    no_secret()


def main():
    global s
    suite.enter()
    programs()
    # guests boot several at a time, on processors that others use too
    s = suite.Suite(programs=PROGRAMS, ready_timeout=90).start()
    s.wait_helpers()
    answer = s.create("web", env=["MEWS_SECRET=" + SECRET])
    assert answer.status in (200, 201), answer
    s.wait_ready("web", 100)
    p = s.cli("exec", "web", "sh", "-c", "echo mine > /tmp/mark")
    assert p.returncode == 0, p.stderr
    cases = {"conf": conf, "orchd": orchd, "apid": apid, "warden": warden,
             "turncoat": turncoat, "agent": agent, "spawner": spawner}
    # whatever was taken over, the secret is not where it must not be
    cases = {n: lambda f=f: (f(), no_secret()) for n, f in cases.items()}
    bad = suite.run({**cases, "secrets": secrets})
    if bad and os.environ.get("TEST_VERBOSE"):
        print(s.logs())
    return bad


sys.exit(main())
