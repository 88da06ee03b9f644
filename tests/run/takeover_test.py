#!/usr/bin/env python3
"""Takeover: a room of the running suite is somebody else's.

A VM runs under the suite as it ships.  Then the suite is started again with
one room linked with tests/hostile/evil_*.c: it serves on and says what its
peers must refuse.  Afterwards host and VM are what they were.

usage: takeover_test.py [CASE...]   MEWS_PROGRAM: another evil room
"""
import concurrent.futures
import contextlib
import glob
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

PROGRAMS = "/run/programs"
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
        ("0603", NOT)],  # KEEP_GO
}
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


def guest_says(text):
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
    same(before)
    # what was ill-formed was refused, each time, and cost orchd that life
    for room, ills in ILLS.items():
        said = re.findall(r"orchd: message 0x(\w+): (.*)", since(marks, room))
        # a handler fails only where the asker was killed meanwhile
        said = [x for x in said if x[1] != "refused by its handler"]
        assert said == ills, (room, said)
        killed = mewsd_log().count("orchd: refused by %s: killed" % room)
        assert killed >= len(ills), (room, killed)
    # every well-formed one has its refusal, none its effect
    said = since(marks, "orchd")
    assert said.count("netd: ") >= 11, said
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
    stage = "/run/stage"
    shutil.copytree(os.path.realpath(suite.BUILD + "/stage/current"),
                    stage, symlinks=True)
    shutil.copy2(suite.BUILD + "/evil/mews-warden", stage + "/usr/bin")
    s.conf["stage"], s.programs = stage, PROGRAMS
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
    assert "warden: message 0x0781: bad field" in said, said
    assert "warden: message 0x0503: not yours to send" in said, said
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


def main():
    global s
    suite.enter()
    programs()
    s = suite.Suite(programs=PROGRAMS).start()
    s.wait_helpers()
    answer = s.create("web")
    assert answer.status in (200, 201), answer
    s.wait_ready("web", 100)
    p = s.cli("exec", "web", "sh", "-c", "echo mine > /tmp/mark")
    assert p.returncode == 0, p.stderr
    bad = suite.run({"orchd": orchd, "apid": apid, "warden": warden})
    if bad and os.environ.get("TEST_VERBOSE"):
        print(s.logs())
    return bad


sys.exit(main())
