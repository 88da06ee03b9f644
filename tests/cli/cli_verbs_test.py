#!/usr/bin/env python3
"""What a person does with VMs that run, against the real suite and its guests:
kill, stop -t, exec -u, exec -d."""
import os
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import suite  # noqa: E402

suite.enter()
S = suite.Suite(max_vms=8)


def eq(got, want, what=""):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


def mews(*args, want=0, **kw):
    p = S.cli(*args, **kw)
    assert p.returncode == want, "%.300r: %d %.300r" % (args, p.returncode,
                                                           p.stderr)
    return p.stdout.decode(), p.stderr.decode()


def begin(*args):
    """A command that goes on beside the case."""
    return subprocess.Popen(
        [S.programs + "/mews", *args], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=dict(os.environ, MEWS_API="unix://" + S.sock))


def wait_for(what, fn, deadline=30):
    end = time.monotonic() + deadline
    while not fn():
        assert time.monotonic() < end, "not in time: " + what
        time.sleep(0.05)


def guest_has(path):
    return S.cli("exec", "web", "test", "-e", path).returncode == 0


def kill():
    """Each command hears it once, whoever started it; KILL takes what they
    started along; the VM goes on."""
    _, err = mews("kill", "web", want=125)
    assert "no command runs in VM web: `mews stop web` ends the VM" in err, err
    script = ("n=0; trap 'n=$((n+1)); echo $n > /tmp/%s' HUP; touch /tmp/%s; "
              "while :; do sleep 0.1; done")
    ps = [begin("exec", "web", "sh", "-c", script % (w, w))
          for w in ("a", "b")]
    wait_for("commands", lambda: guest_has("/tmp/a") and guest_has("/tmp/b"))
    r = S.post("/api/v1/vms/web/kill", {"signal": "HUP"})
    eq((r.status, r.json()), (200, {"signalled": 2}))
    wait_for("HUP", lambda: mews("exec", "web", "cat", "/tmp/a", "/tmp/b")[0]
             == "1\n1\n")
    for n, word in enumerate(("hup", "SIGHUP", "1"), 2):
        eq(mews("kill", "-s", word, "web")[0], "web\n")
        wait_for(word, lambda n=n: mews("exec", "web", "cat", "/tmp/a")[0]
                 == "%d\n" % n)
    mews("kill", "web")
    eq([p.wait(30) for p in ps], [137, 137])
    eq(mews("exec", "web", "sh", "-c", "ps | grep -c '[s]leep 0.1'", want=1)[0],
       "0\n")
    for body, want in (({}, 400), ({"signal": "NONE"}, 400), ({"signal": ""}, 400),
                       ({"signal": "HUP", "x": 1}, 400)):
        r = S.post("/api/v1/vms/web/kill", body)
        eq(r.status, want, body)
    _, err = mews("kill", "-s", "NOSUCH", "web", want=125)
    assert "1 to 31" in err, err


def slow(seconds):
    """A command that takes so long to end; returns when it is there."""
    mews("exec", "web", "rm", "-f", "/tmp/slow")
    p = begin("exec", "web", "sh", "-c",
                    "trap 'sleep %s; exit 0' TERM; touch /tmp/slow; "
                    "while :; do sleep 0.1; done" % seconds)
    wait_for("slow", lambda: guest_has("/tmp/slow"))
    return p


def stop(*args):
    begun = time.monotonic()
    mews("stop", *args, "web")
    took = time.monotonic() - begun
    eq(mews("ps", "-a", "--format", "{status}")[0], "stopped\n")
    mews("start", "web")
    return took


def stop_time():
    """-t is how long the guest has: less than it needs, more than it would
    have without, nothing at all."""
    p = slow(30)
    took = stop("-t", "2")
    assert 0.8 < took < 8, took
    p.wait(30)
    p = slow(8)  # of itself a guest gives its programs five seconds
    took = stop("-t", "60")
    assert 8 < took < 20, took
    p.wait(30)
    p = slow(30)
    took = stop("-t", "0")
    assert took < 3, took
    p.wait(30)
    for word in ("3601", "-1", "x"):
        _, err = mews("stop", "-t", word, "web", want=125)
        assert "0 to 3600" in err, err
    for word in ("3601", "x"):
        r = S.post("/api/v1/vms/web/stop?timeout=" + word)
        eq((r.status, r.json()["error"]), (400, "invalid timeout: 0 to 3600"))


def stop_again():
    """Of one that stops already it counts from then on."""
    p = slow(60)
    q = begin("stop", "-t", "100", "web")
    wait_for("stopping", lambda: mews("ps", "--format", "{status}")[0]
             == "stopping\n")
    begun = time.monotonic()
    mews("stop", "-t", "3", "web")
    took = time.monotonic() - begun
    assert took < 8, took
    eq(q.wait(10), 0)
    p.wait(10)
    mews("start", "web")
    # and not longer than the one that asked last said, when that is nothing
    p = slow(60)
    q = begin("stop", "-t", "100", "web")
    wait_for("stopping", lambda: mews("ps", "--format", "{status}")[0]
             == "stopping\n")
    begun = time.monotonic()
    mews("stop", "-t", "0", "web")
    took = time.monotonic() - begun
    assert took < 3, took
    eq(q.wait(10), 0)
    p.wait(10)
    mews("start", "web")


def user():
    """Names and numbers, what they may do, and what is not there."""
    mews("exec", "web", "sh", "-c",
         "echo bird:x:1000:1000::/tmp/bird:/bin/sh >> /etc/passwd;"
         "echo x:x:1001:1001::/nowhere:/bin/sh >> /etc/passwd;"
         "printf 'bird:x:1000:\\nx:x:1001:\\nseed:x:2000:a,bird\\n' >> /etc/group;"
         "mkdir /tmp/bird; chown bird /tmp/bird")
    show = "id; echo $HOME; pwd"
    for who, want in (
            ("root", "uid=0(root) gid=0(root)\n/root\n/root\n"),
            ("bird", "uid=1000(bird) gid=1000(bird) groups=2000(seed)\n"
                     "/tmp/bird\n/tmp/bird\n"),
            ("1000", "uid=1000(bird) gid=1000(bird) groups=2000(seed)\n"
                     "/tmp/bird\n/tmp/bird\n"),
            ("bird:seed", "uid=1000(bird) gid=2000(seed)\n"
                          "/tmp/bird\n/tmp/bird\n"),
            ("x:0", "uid=1001(x) gid=0(root)\n/nowhere\n/\n"),
            ("4000:5000", "uid=4000 gid=5000\n/\n/\n"),
            ("4000", "uid=4000 gid=4000\n/\n/\n")):
        out = mews("exec", "-u", who, "web", "sh", "-c", show)[0]
        eq(out.replace("groups=1000(bird),", "groups="), want, who)
    # all of it, and nothing that its capabilities could still do
    out = mews("exec", "-u", "bird", "web", "sh", "-c",
               "grep -E '^(Uid|Gid|CapEff|CapPrm|CapAmb):' /proc/self/status")[0]
    eq([set(l.split()[1:]) for l in out.splitlines()],
       [{"1000"}, {"1000"}, {"0" * 16}, {"0" * 16}, {"0" * 16}])
    for cmd in ("cat /root/x", "kill -9 1", "chown root /tmp/bird",
                "echo > /etc/passwd"):
        p = S.cli("exec", "-u", "bird", "web", "sh", "-c", cmd)
        assert p.returncode != 0, cmd
    eq(mews("exec", "-u", "bird", "-w", "/tmp", "web", "pwd")[0], "/tmp\n")
    assert S.cli("exec", "-u", "bird", "-w", "/root", "web",
                 "pwd").returncode == 126
    # what it is given it may open by name, too
    eq(mews("exec", "-i", "-u", "bird", "web", "sh", "-c",
            "cat /dev/stdin > /dev/stdout; echo e > /dev/stderr",
            input=b"in\n"), ("in\n", "e\n"))
    for who, word in (("nosuch", "no user nosuch in the guest's /etc/passwd"),
                      ("bird:no", "no group no in the guest's /etc/group"),
                      ("a b", "-u: must be USER or USER:GROUP"),
                      ("bird:", "-u: must be USER or USER:GROUP")):
        _, err = mews("exec", "-u", who, "web", "true", want=125)
        assert word in err, err
    # those files are the guest's to spoil
    for spoil, word in (
            ("rm /etc/passwd; ln -s /proc/kmsg /etc/passwd", "etc/passwd"),
            ("rm /etc/passwd; mkfifo /etc/passwd", "is no regular file"),
            ("rm /etc/passwd; yes | head -c 300000 > /etc/passwd", "longer than"),
            ("rm /etc/passwd", "no user bird")):
        mews("exec", "web", "sh", "-c", spoil)
        _, err = mews("exec", "-u", "bird", "web", "true", want=125)
        assert word in err, err
    eq(mews("exec", "-u", "7", "web", "id", "-u")[0], "7\n")


def log():
    return mews("logs", "--console", "web")[0].replace("\r", "")


def console_file():
    uid = mews("ps", "--filter", "name=web", "--format", "{uid}")[0].strip()
    return S.root + "/log/vm/%s.console" % uid


def detach():
    """It goes on; what it says and how it ends is in the log."""
    pid = int(mews("exec", "-d", "-e", "A=1", "web", "sh", "-c",
                   "echo out $A; echo err >&2; printf cut; touch /tmp/there; "
                   "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo; echo last; "
                   "exit 3")[0])
    wait_for("begin", lambda: guest_has("/tmp/there"))
    out = mews("exec", "web", "cat", "/proc/%d/cmdline" % pid)[0]
    assert "/tmp/there" in out, out
    mews("exec", "web", "touch", "/tmp/go")
    wait_for("end", lambda: "exec %d ended: status 3" % pid in log())
    lines = [l for l in log().splitlines() if l.startswith("exec %d:" % pid)]
    eq(lines, ["exec %d: %s" % (pid, w) for w in ("out 1", "err", "cut", "last")])
    r = S.post("/api/v1/vms/web/exec", {"cmd": ["sleep", "1000"], "user": "7"})
    eq(r.status, 201)
    pid = r.json()["pid"]
    eq(mews("exec", "web", "stat", "-c", "%u", "/proc/%d" % pid)[0], "7\n")
    # as any other command it hears signals, and the end of the VM
    mews("kill", "-s", "TERM", "web")
    wait_for("end", lambda: "exec %d ended: signal 15" % pid in log())
    for body, status, word in (
            ({"cmd": ["nosuch"]}, 422, "cannot run the command: No such file"),
            ({"cmd": ["true"], "user": "nosuch"}, 422, "no user nosuch"),
            ({"cmd": ["true"], "tty": True}, 400, "tty: not for"),
            ({"cmd": ["cat"], "stdin": True}, 400, "stdin: not for"),
            ({"cmd": []}, 400, "cmd")):
        r = S.post("/api/v1/vms/web/exec", body)
        assert (r.status, word in r.json()["error"]) == (status, True), r
    _, err = mews("exec", "-d", "web", "nosuch", want=125)
    assert "cannot run the command" in err, err
    _, err = mews("exec", "-di", "web", "cat", want=125)
    assert "do not go together" in err, err


def detach_alone():
    """Its client may go before it is answered, and nothing of that is seen in
    the guest; one that says more than the console takes is no burden to others."""
    body = b'{"cmd":["sh","-c","sleep 2; touch /tmp/alone; exec sleep 1000"]}'
    s = socket.socket(socket.AF_UNIX)
    s.connect(S.sock)
    s.sendall(b"POST /api/v1/vms/web/exec HTTP/1.1\r\nHost: mews\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    wait_for("begin", lambda: "sleep 2" in mews("exec", "web", "ps")[0])
    s.close()
    wait_for("its work", lambda: guest_has("/tmp/alone"))
    flood = int(mews("exec", "-d", "web", "yes")[0])
    began = time.monotonic()
    for _ in range(5):
        eq(mews("exec", "web", "echo", "in")[0], "in\n")
    took = time.monotonic() - began
    assert took < 15, "%g s for 5 commands beside a flood" % took
    # within what a console may say at all
    size = os.path.getsize(console_file())
    assert size <= 1 << 20, size
    mews("exec", "web", "kill", str(flood))
    wait_for("end", lambda: not guest_has("/proc/%d" % flood))
    mews("kill", "web")


def waits():
    """More commands at once than a VM has streams: all of them run."""
    began = time.monotonic()
    ps = [begin("exec", "web", "sh", "-c", "sleep 3; exit 7")
          for _ in range(80)]
    eq([p.wait(60) for p in ps], [7] * 80)
    assert time.monotonic() - began > 6, "all at once"


def long_words():
    """As long as Linux lets a word be, by a command and beside it."""
    long = "x" * 131071
    eq(mews("exec", "-e", "A=" + long[2:], "web", "sh", "-c", "echo ${#A}")[0],
       "131069\n")
    eq(mews("exec", "web", "sh", "-c", "echo ${#1}", "sh", long)[0], "131071\n")
    pid = int(mews("exec", "-d", "-e", "A=" + long[2:], "web", "sh", "-c",
                   "echo ${#A}")[0])
    wait_for("its word", lambda: "exec %d: 131069" % pid in log())
    _, err = mews("exec", "-e", "A=" + long[2:], "web", "echo", long, want=125)
    assert "longer than 256 KiB together: use standard input or a file" in err, err
    _, err = mews("exec", "-d", "-e", "A=" + long[2:], "web", "echo", long, want=125)
    assert "the body may have 262144 bytes here" in err, err


def files():
    """There and back by tar, as docs/cli.md has it."""
    data = os.urandom(300000)
    with tempfile.TemporaryDirectory() as d:
        os.makedirs(d + "/site")
        with open(d + "/site/a", "wb") as f:
            f.write(data)
        tar = subprocess.run(["tar", "-c", "site"], cwd=d, check=True,
                             stdout=subprocess.PIPE).stdout
        mews("exec", "-i", "web", "tar", "-x", "-C", "/tmp", input=tar)
        back = S.cli("exec", "web", "tar", "-c", "-C", "/tmp", "site").stdout
        subprocess.run(["tar", "-x"], cwd=d, check=True, input=back)
        with open(d + "/site/a", "rb") as f:
            assert f.read() == data


def detach_much():
    """Output beyond what the console takes is not lost in the guest, nor are
    what others say; a child left behind does not keep it."""
    n = 3000
    pid = int(mews("exec", "-d", "web", "sh", "-c",
                   "seq 1 %d; sleep 1000 & echo bye" % n)[0])
    wait_for("end", lambda: "exec %d: bye" % pid in log())
    got = [l for l in log().splitlines() if l.startswith("exec %d:" % pid)]
    eq([l.split(": ")[1] for l in got], [str(i) for i in range(1, n + 1)] + ["bye"])
    assert "lines lost" not in log(), "agent's own"
    eq(mews("exec", "web", "sh", "-c", "ps | grep -c '[s]leep 1000'")[0], "1\n")
    mews("exec", "web", "sh", "-c",
         "kill $(ps | grep '[s]leep 1000' | awk '{print $1}')")
    # no more of them than it can hold
    for i in range(64):
        mews("exec", "-d", "web", "sleep", "1000")
    _, err = mews("exec", "-d", "web", "sleep", "1000", want=125)
    assert "64 detached commands run in this vm already: end one" in err, err
    eq(mews("exec", "web", "echo", "in")[0], "in\n")
    r = S.post("/api/v1/vms/web/kill", {"signal": "KILL"})
    eq(r.json(), {"signalled": 64})
    wait_for("ends", lambda: S.cli("exec", "-d", "web", "true").returncode == 0)


def all_gone():
    mews("rm", "-f", "web")
    S.stop()
    eq(suite.leaks(S), [])


S.start()
mews("run", "-d", "--name", "web", "-m", "192", "busybox")
sys.exit(suite.run({"cli_verbs_%s" % f.__name__: f for f in (
    kill, stop_time, stop_again, user, detach, detach_alone, waits, long_words,
    files, detach_much, all_gone)}))
