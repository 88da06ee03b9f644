#!/usr/bin/env python3
"""mewsd and whoever starts it: mews.conf, the service manager."""
import contextlib
import os
import select
import socket
import subprocess
import sys

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402


def manager(name):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(name)
    s.settimeout(suite.DEADLINE)
    return s


@contextlib.contextmanager
def running(name="", wait=True, under=(), **conf):
    S = suite.Suite(**conf)
    S.start(wait, dict(os.environ, NOTIFY_SOCKET=name), under)
    try:
        yield S
    finally:
        S.stop()


def told():
    """READY=1 once, when every room serves; STOPPING=1 before the end."""
    path = suite.ROOT + "/notify"
    for name, bound in ((path, path), ("@mews-test", "\0mews-test")):
        with manager(bound) as s, running(name, wait=False) as S:
            assert s.recv(4096) == b"READY=1"
            rooms = S.rooms()
            missing = {"orchd", "apid", "apid-admin", "netd",
                       "launchd", "spawner"} - set(rooms)
            assert not missing, missing
            # a room's second life is no second start of the suite
            os.kill(rooms["netd"], 9)
            suite.wait_for(lambda: S.rooms().get("netd", rooms["netd"])
                           != rooms["netd"], "another netd")
            S.wait_helpers()
            assert not select.select([s], [], [], 0)[0], s.recv(4096)
            S.proc.terminate()
            assert s.recv(4096) == b"STOPPING=1"


def not_kept():
    """The rooms do not find the manager's socket in their environment."""
    name = suite.ROOT + "/notify2"
    with manager(name) as s, running(name, wait=False) as S:
        assert s.recv(4096) == b"READY=1"
        for room, pid in S.rooms().items():
            if room != "mewsd":
                with open("/proc/%d/environ" % pid, "rb") as f:
                    assert b"NOTIFY" not in f.read(), room


def nonsense():
    """A name that is no socket's is said, and changes nothing."""
    for name in ("relative", "/" + "x" * 200, suite.ROOT + "/nobody"):
        with running(name):
            pass
        with open(suite.ROOT + "/mewsd.log") as f:
            log = f.read()
        assert "told" in log, log
        os.unlink(suite.ROOT + "/mewsd.log")


# what stands in mews.conf beside what is good: what `mewsd -n` says of it
WRONG = [
    ("nonsense = 1", "no such option 'nonsense'"),
    ("max_vms = many", "line 1: "),
    ("max_vms = 0", "max_vms = 0: must be 1 to "),
    ("max_vms = 100000", "max_vms = 100000: must be 1 to "),
    ("max_vms = 200\nuid_count = 100",
     "max_vms = 200: uid_count must be at least 3216 (16 for each VM and as "
     "many for a probe); it is 100"),
    ("max_vms = 200\nuid_count = 3215", "must be at least 3216"),
    ("uid_count = 31", "uid_count = 31: must be 32 to "),
    ("user_net = \"116383\"\nuid_base = 100000", "include netd's"),
    ("subnet = \"10.0.0.0\"", "must be a.b.c.d/n"),
    ("subnet = \"10.0.0.0/31\"", "with n from 8 to 30"),
    ("subnet = \"10.0.0.1/24\"", "has bits set past its prefix"),
    ("subnet = \"10.0.0.0/28\"", "the subnet has room for 13"),
    ("bridge = \"\"", "bridge: must have a name"),
    ("bridge = \"mw3\"", "not beginning with mw"),
    ("bridge = \"a/b\"", "an interface name of at most"),
    ("bridge = \"br\"\nuplink = \"br\"", "and not the uplink's"),
    ("user_orch = \"0\"", "user_orch: must not be root"),
    ("user_orch = \"nobody-of-this-name\"", "there is no user nobody-of-this-"),
    ("user_orch = \"77\"\nuser_net = \"77\"", "one user for both"),
    ("user_net = \"100005\"\nuid_base = 100000", "include netd's"),
    ("admins = {\"100005\"}\nuid_base = 100000", "admins: uid 100005 is one"),
    ("users = {\"100005\"}\nuid_base = 100000", "users: uid 100005 is one"),
    ("cgroup = \"on\"", "must be auto, require or off"),
    ("cgroup_path = \"mews\"", "cgroup_path: mews is not absolute"),
    ("cgroup_path = \"/\"", "must not end in /"),
    ("cgroup_path = \"/%s\"" % ("x" * 200), "longer than 159 bytes"),
    ("accel = \"xen\"", "must be auto, tcg or kvm"),
    ("vsock = \"on\"", "must be auto or off"),
    ("vsock_cid_base = 2", "up to 2 they are the host's own"),
    ("vsock_cid_base = -1", "must be 0 to 2147483647"),
    ("instance = \"../x\"", "lower-case letters"),
    ("stage = \"here\"", "stage: here is not absolute"),
    ("x" * 70000, "larger than 65536 bytes"),
    ("# \0", "has a NUL byte"),
]


def check(text, path=suite.ROOT + "/n.conf", mode=0o644, uid=0, dir=None):
    """What `mewsd -n` says of a file with this in it."""
    rooms = "".join("%s = \"%d\"\n" % (k, 61000 + i) for i, k in enumerate((
        "user_orch", "user_api", "user_api_admin", "user_net", "user_launch"))
        if k not in text)
    with open(path, "w") as f:
        f.write(text + "\n" + rooms)
        if "stage" not in text:
            f.write("stage = \"%s\"\n" % (suite.BUILD + "/stage/current"))
    os.chmod(path, mode)
    os.chown(path, uid, uid)
    p = subprocess.run([suite.BUILD + "/mewsd", "-n", "-f", path,
                        *(["-r", dir] if dir else [])],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=suite.DEADLINE)
    return p.returncode, p.stdout.decode()


def conf():
    rc, said = check("")
    assert (rc, said) == (0, suite.ROOT + "/n.conf: good\n"), said
    rc, said = check("cgroup_path = \"/a.slice/b.service\"")
    assert rc == 0, said
    for fits in ("max_vms = 200\nuid_count = 3216",
                 "user_net = \"116384\"\nuid_base = 100000"):
        rc, said = check(fits)
        assert rc == 0, (fits, said)
    for text, want in WRONG:
        rc, said = check(text)
        assert rc == 1 and want in said, (text[:80], want, rc, said)


def conf_lines():
    """What is wrong is said with file and line, and what libconfuse would take
    for something else is refused."""
    path = suite.ROOT + "/n.conf"
    for text, line, want in (
            ("\n# x\nmax_vms = 0", 3, "max_vms = 0: must be"),
            ("/* a\nb */ max_vms = 0", 2, "max_vms = 0: must be"),
            ("instance = \"a\\\"b # \"\n\nuid_base = 1", 1, "instance = "),
            ("uid_count = 100\nmax_vms = 200", 2, "max_vms = 200: uid_count"),
            ("\nbridge = \"lo\"", 2, "bridge = lo: that name is"),
            ("max_vms = 3\nmax_vms = 4", 2,
             "max_vms is set a second time (first in line 1)"),
            ("users = {\"1\"}\nusers = {\"2\"}", 2, "users is set a second"),
            ("max_vms = 3\n/* no end\nx", 2, "a comment begins here and has"),
            ("instance = 'x\n", 1, "a text begins here and has no end"),
            ("max_vms = 010", 1, "max_vms = 010: numbers are decimal and do not begin with 0"),
            ("max_vms = 0x10", 1, "max_vms = 0x10: numbers are decimal")):
        rc, said = check(text)
        assert rc == 1 and "%s, line %d: %s" % (path, line, want) in said, (
            text, said)
    for text in ("users = {\"1\"}\nusers += {\"2\"}",
                 "# max_vms = 010\n// max_vms = 1\nmax_vms = 10",
                 "max_vms=9 # max_vms = 1"):
        rc, said = check(text)
        assert rc == 0, (text, said)


def conf_host():
    """What this host has to say to it."""
    for name, text in (("subuid", "alice:200000:65536\n"),
                       ("subgid", "bob:400000:65536\n"),
                       ("passwd", "root:x:0:0::/:/bin/sh\n"
                                  "carol:x:300007:1::/:/bin/sh\n")):
        with open("/run/" + name, "w") as f:
            f.write(text)
        if os.path.exists("/etc/" + name):
            suite.sh("mount", "--bind", "/run/" + name, "/etc/" + name)
    touch = "touches "
    for text, want in (
            ("uid_base = 65000", touch + "nobody's"),
            ("uid_base = 62000\nuid_count = 1000\nmax_vms = 60",
             touch + "systemd's dynamic"),
            ("uid_base = 300000", touch + "uid 300007 of carol"),
            ("user_api = \"65534\"", "user_api: must not be nobody's"),
            ("users = {\"61003\"}", "users: uid 61003 is netd's, which is no"),
            ("admins = {\"61000\"}", "admins: uid 61000 is orchd's"),
            ("subnet = \"127.0.0.0/24\"", "no host can have an address"),
            ("subnet = \"0.0.0.0/24\"", "no host can have an address"),
            ("subnet = \"224.0.0.0/24\"", "no host can have an address"),
            ("subnet = \"255.255.255.0/24\"", "no host can have an address"),
            ("bridge = \"lo\"", "the kernel's own"),
            ("uplink = \"lo\"", "the kernel's own"),
            ("cgroup_path = \"/a/../b\"", "no component that is empty, . or"),
            ("cgroup_path = \"/..\"", "no component that is empty, . or"),
            ("cgroup_path = \"/a/./b\"", "no component that is empty, . or"),
            ("cgroup_path = \"/a//b\"", "no component that is empty, . or"),
            ("stage = \"/nowhere\"", "stage = /nowhere: no VM starts without"),
            ("stage = \"/tmp\"", "only root can write")):
        rc, said = check(text)
        assert rc == 1 and want in said, (text, rc, said)
    for sub, base in (("subuid", 200000), ("subgid", 400000)):
        rc, said = check("uid_base = %d" % base)
        assert (rc == 1 and sub in said) or not os.path.exists("/etc/" + sub), \
            (rc, said)
    for fits in ("subnet = \"126.0.0.0/8\"", "cgroup_path = \"/a..b/.c\"",
                 "uid_base = 500000"):
        rc, said = check(fits)
        assert rc == 0, (fits, said)
    own = suite.ROOT + "/own"
    os.mkdir(own)
    for mode, uid, want in ((0o777, 0, "by others than root"),
                            (0o1777, 0, "by others than root"),
                            (0o775, 0, "by others than root"),
                            (0o755, 61000, "it must be root's")):
        os.chown(own, uid, 0)
        os.chmod(own, mode)
        rc, said = check("", dir=own)
        assert rc == 1 and want in said, (oct(mode), said)
        rc, said = check("", dir=own + "/a/b")
        assert (rc == 1 and want in said) or mode == 0o1777, (oct(mode), said)
    os.chown(own, 0, 0)
    os.chmod(own, 0o755)
    assert check("", dir=own)[0] == 0
    rc, said = check("", dir=own + "/" + "x" * 100)
    assert rc == 1 and "longer than a socket's path may be (107)" in said, said
    rc, said = check("", dir=own + "/" + "x" * 150)
    assert rc == 1 and "longer than" in said, said


def second():
    """A suite with another DIR and a bridge or uids that one here has."""
    with running() as S:
        other = suite.ROOT + "/other"
        for change, want in (
                ({"uid_base": 0x60000000}, "bridge = %s: another suite has it in this network "
                     "namespace (process %d, %s/run)" % (
                         suite.BRIDGE, S.proc.pid, suite.ROOT)),
                ({"bridge": "other0"}, "uid_base = %d: another suite has uids"
                 % S.conf["uid_base"]),
                ({"bridge": "other0", "uid_base": S.conf["uid_base"] + 4000,
                  "uid_count": 4096}, "another suite has uids")):
            T = suite.Suite(**change)
            T.write_conf()
            p = subprocess.run(
                [suite.BUILD + "/mewsd", "-f", suite.ROOT + "/mews.conf", "-r",
                 other], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=suite.DEADLINE)
            assert p.returncode == 1 and want in p.stdout, p
        S.wait_helpers()
        S.proc.kill()  # what it had is free at once
        S.proc.wait()
        S.start()
    assert len(os.listdir("/run/mews-claims")) == 2


def conf_owner():
    """CONF_OWNER: whoever can write mews.conf is root on this host."""
    for mode, uid, want in ((0o664, 0, "by others than root"),
                            (0o646, 0, "by others than root"),
                            (0o644, 61000, "it must belong to root")):
        rc, said = check("", mode=mode, uid=uid)
        assert rc == 1 and want in said, (oct(mode), uid, rc, said)
    link = suite.ROOT + "/link.conf"
    os.symlink(suite.ROOT + "/n.conf", link)
    for path in (link, suite.ROOT):
        p = subprocess.run([suite.BUILD + "/mewsd", "-n", "-f", path],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == 1, p
        assert path != link or b"is a symbolic link: name the" in p.stdout, p


def unit_caps():
    """The bounding set of etc/mews.service, from the file itself."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    with open(top + "/etc/mews.service") as f:
        lines = [l.split("=", 1)[1] for l in f
                 if l.startswith("CapabilityBoundingSet=")]
    return {c[4:].lower() for l in lines for c in l.split()}


def under(caps):
    return ["setpriv", "--no-new-privs", "--bounding-set",
            ",".join(["-all"] + ["+" + c for c in sorted(caps)])]


def bounded():
    """The suite works within what etc/mews.service leaves it, a VM included,
    and does not come up without any one of that."""
    caps = unit_caps()
    assert len(caps) > 5, caps
    with running(under=under(caps)) as S:
        S.wait_helpers()
        assert S.create("web").status == 201
        S.wait_ready("web")
        assert S.cli("exec", "web", "true").returncode == 0
        assert S.delete("/api/v1/vms/web").status == 204
    for c in sorted(caps):
        S = suite.Suite()
        for d in ("log", "lib", "run"):
            subprocess.run(["rm", "-rf", suite.ROOT + "/" + d], check=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(suite.ROOT + "/mewsd.log")
        S.start(wait=False, under=under(caps - {c}))
        try:
            suite.wait_for(lambda: "ermitted" in S.logs() or
                           "denied" in S.logs(), "refusal without " + c)
        finally:
            S.stop()


def descriptors():
    """Every room may hold what max_vms and max_connections cost it: launchd
    has seven descriptors for each VM, orchd three for each connection."""
    with running(max_vms=200, max_connections=4) as S:
        for room, pid in S.rooms().items():
            if room == "mewsd":
                continue
            with open("/proc/%d/limits" % pid) as f:
                files = next(l for l in f if l.startswith("Max open files"))
            assert int(files.split()[3]) >= 7 * 200 + 3 * 4 + 100, (room, files)
    # and a host that cannot give them is told so
    path = suite.ROOT + "/n.conf"
    check("max_vms = 1000\nuid_count = 16384\nsubnet = \"10.0.0.0/16\"")
    for limit, rc in ((6000, 1), (9000, 0)):
        p = subprocess.run(["prlimit", "--nofile=%d:%d" % (limit, limit),
                            suite.BUILD + "/mewsd", "-n", "-f", path],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert p.returncode == rc, (limit, p)
        assert rc == 0 or b"max_vms = 1000: " in p.stdout, p


def main():
    suite.enter()
    return suite.run(dict(
        conf=conf, conf_lines=conf_lines, conf_host=conf_host,
        second=second, conf_owner=conf_owner, bounded=bounded,
        descriptors=descriptors, told=told, not_kept=not_kept, nonsense=nonsense))


sys.exit(main())
