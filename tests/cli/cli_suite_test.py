#!/usr/bin/env python3
"""The CLI against the real suite: what a person types, and what comes back."""
import os
import pty
import select
import subprocess
import sys
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
    assert p.returncode == want, "%r: %d %r" % (args, p.returncode, p.stderr)
    return p.stdout.decode(), p.stderr.decode()


def fresh():
    """A suite that has just started is well; no cgroups are a warning."""
    out, _ = mews("doctor")
    assert "network" in out and "NO" not in out.split(), out
    assert [l for l in out.splitlines() if l.startswith("cgroup")
            and " warn " in l], out


def verbs():
    eq(mews("run", "-d", "--name", "web", "-m", "96", "--hostname", "www",
            "busybox")[0], "web\n")
    eq(mews("exec", "-w", "/tmp", "web", "--", "sh", "-c", "hostname; pwd")[0],
       "www\n/tmp\n")
    before = mews("exec", "web", "cat", "/proc/sys/kernel/random/boot_id")
    eq(mews("restart", "web")[0], "web\n")
    assert mews("exec", "web", "cat",
                "/proc/sys/kernel/random/boot_id") != before
    eq(mews("wait", "--for", "ready", "web")[0], "web\n")
    _, err = mews("wait", "--timeout", "0", "web", want=125)
    assert "still running after 0 seconds" in err, err
    eq(mews("ps", "--format", "{name} {status} {ready}", "--filter",
            "name=w*")[0], "web running yes\n")
    up = mews("ps", "--format", "{up}")[0]
    assert "second" in up, up
    out, _ = mews("logs", "--console", "--tail", "1", "web")
    eq(out.count("\n"), 1, out)
    out, _ = mews("doctor")
    assert "vms           yes" in out, out


def words():
    for args, want in (
            (("run", "-d", "--cpus", "500", "busybox"), "--cpus must be 1 to"),
            (("run", "-d", "-m", "1", "busybox"), "--memory"),
            (("run", "-d", "alpine"), "there is no image alpine"),
            (("run", "-d", "--name", "web", "busybox"),
             "the name web is taken"),
            (("exec", "nobody", "ls"), "no such VM: nobody"),
            (("rm", "web"), "VM web is running: stop it first")):
        _, err = mews(*args, want=125)
        assert want in err and "orchestrator" not in err, err
    eq(len(S.get("/api/v1/vms").json()), 1, "nothing was made")


def input_stays():
    script = ("printf 'one\\ntwo\\n' | while read l; do echo $l; "
              "%s run --rm -m 96 busybox true; done" % (S.programs + "/mews"))
    p = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, timeout=90,
                       env=dict(os.environ, MEWS_API="unix://" + S.sock))
    eq(p.stdout, b"one\ntwo\n")
    eq(mews("run", "--rm", "-i", "-m", "96", "busybox", "sh",
            input=b"echo in; exit 3\n", want=3)[0], "in\n")
    eq(len(S.get("/api/v1/vms").json()), 1, "--rm")


def terminal(*args):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(S.programs + "/mews", ["mews", *args],
                  dict(os.environ, MEWS_API="unix://" + S.sock))
    return pid, fd


def read_until(fd, part):
    out, end = b"", time.monotonic() + 30
    while part not in out:
        assert select.select([fd], [], [], end - time.monotonic())[0], out
        try:
            out += os.read(fd, 65536)
        except OSError as e:
            raise AssertionError("%r ended: %s" % (out, e)) from e
    return out


def keys():
    """Ctrl-C reaches the program in the guest, and it may do something."""
    trap = "trap 'echo caught; exit 7' INT; echo here; while :; do sleep 1; done"
    for how in ("-t", "-it"):
        pid, fd = terminal("exec", how, "web", "sh", "-c", trap)
        read_until(fd, b"here")
        os.write(fd, b"\x03")
        read_until(fd, b"caught")
        eq(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7, how)
        os.close(fd)


def cannot_write():
    with open("/dev/full", "wb") as full:
        p = subprocess.run([S.programs + "/mews", "exec", "web", "yes"],
                           stdout=full, stderr=subprocess.PIPE, timeout=60,
                           env=dict(os.environ, MEWS_API="unix://" + S.sock))
    eq((p.returncode, p.stderr), (1, b"mews: cannot write to standard output: "
                                  b"no space left on device\n"))


def all_gone():
    eq(mews("rm", "-f", "web", "nobody")[0], "web\nnobody\n")
    eq(mews("wait", "--for", "gone", "web")[0], "web\n")
    S.stop()
    for args in (("rm", "-f", "web"), ("wait", "--for", "gone", "web")):
        _, err = mews(*args, want=125)
        assert "cannot reach the API" in err, err
    eq(suite.leaks(S), [])


S.start()
sys.exit(suite.run({"cli_suite_%s" % f.__name__: f for f in (
    fresh, verbs, words, input_stays, keys, cannot_write, all_gone)}))
