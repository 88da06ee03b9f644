#!/usr/bin/env python3
"""What a person does with VMs that run, against the real suite and its guests:
kill, stop -t."""
import os
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
    mews("run", "-d", "--name", "web", "-m", "96", "busybox")
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
    for word in ("hup", "SIGHUP", "1"):
        eq(mews("kill", "-s", word, "web")[0], "web\n")
    wait_for("HUP again", lambda: "4\n" in mews("exec", "web", "cat",
                                                "/tmp/a")[0])
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


def all_gone():
    mews("rm", "-f", "web")
    S.stop()
    eq(suite.leaks(S), [])


S.start()
sys.exit(suite.run({"cli_verbs_%s" % f.__name__: f for f in (
    kill, stop_time, stop_again, all_gone)}))
