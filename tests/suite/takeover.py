"""A suite with a VM that is honest, for tests in which a room or a guest is
somebody else's: what host and VM are before a case and must be again after it,
and where what the VM was trusted with stands.
"""
import contextlib
import glob
import os
import re
import shutil

import suite

suite.enter()
PROGRAMS, STAGE = "/run/programs", "/run/stage"
SECRET = "I11-" + os.urandom(12).hex()
NOT = "not yours to send"
# guests boot several at a time, on processors that others use too
s = suite.Suite(programs=PROGRAMS, ready_timeout=90)


def message(type_, why):
    """As who refuses one says it."""
    return "message 0x%04x: %s" % (type_, why)


def programs(evil=None, folder="evil"):
    """A fresh suite folder, with one room of it evil."""
    shutil.rmtree(PROGRAMS, ignore_errors=True)
    shutil.copytree(suite.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    off = os.environ.get("MEWS_PROGRAM", "")
    if off and (os.path.basename(off) == evil or "/evil/" not in off):
        shutil.copy2(off, PROGRAMS)
    if evil and os.path.basename(off) != evil:
        shutil.copy2(os.path.join(suite.BUILD, folder, evil), PROGRAMS)


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


def restarted(evil, folder="evil"):
    """The suite with one evil room; what it held before."""
    s.stop()
    programs(evil, folder)
    before = host()
    marks = {r: len(log_of(r)) for r in
             ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner")
             if os.path.exists(suite.ROOT + "/log/%s.log" % r)}
    s.programs = PROGRAMS
    s.start(wait=False)
    return before, marks


def since(marks, room):
    """With each line as often as it came (common/log.c counts them)."""
    lines = []
    for line in log_of(room)[marks.get(room, 0):].splitlines(True):
        more = re.search(r" the last line came (\d+) times more$", line)
        lines += lines[-1:] * int(more[1]) if more else [line]
    return "".join(lines)


def mewsd_log():
    with open(suite.ROOT + "/mewsd.log", errors="replace") as f:
        return f.read()


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


def run(cases):
    """Cases of a test; its exit status."""
    programs()
    s.start()
    s.wait_helpers()
    answer = s.create("web", env=["MEWS_SECRET=" + SECRET])
    assert answer.status in (200, 201), answer
    s.wait_ready("web", 100)
    p = s.cli("exec", "web", "sh", "-c", "echo mine > /tmp/mark")
    assert p.returncode == 0, p.stderr
    # whatever was taken over, the secret is not where it must not be
    cases = {f.__name__: lambda f=f: (f(), no_secret()) for f in cases}
    bad = suite.run({**cases, "secrets": secrets})
    if bad and os.environ.get("TEST_VERBOSE"):
        print(s.logs())
    return bad
