#!/usr/bin/env python3
"""The whole suite with real guests in emulation: what dies, what stays, and what
is not begun.

usage: system_test.py [CASE...]
"""
import contextlib
import os
import re
import select
import signal
import subprocess
import threading
import time

from vms import *  # noqa: F403


# -- kill -9 of each room -----------------------------------------------

def kill_each_room():
    ensure(*VMS)
    before = {n: (uptime(n), vm(n)["pid"]) for n in VMS}
    consistent()
    fds = descriptors()
    for room in ("orchd", "apid", "apid-admin", "netd", "launchd", "spawner",
                 "mewsd", "all"):
        t = kill_room(room)
        took = api_back(t)
        S.wait_helpers()
        for n in VMS:
            exec_again(n)
        up = {n: (uptime(n), vm(n)["pid"]) for n in VMS}
        note("kill -9 %-10s API after %4.0f ms, exec in all VMs after %4.0f ms"
             % (room, took, (time.monotonic() - t) * 1000))
        for n in VMS:
            assert up[n][0] > before[n][0], "%s was restarted" % n
            eq(up[n][1], before[n][1], "hypervisor of " + n)
        assert took < 1000, "%s: the API took %.0f ms" % (room, took)
        before = up
    consistent()

    def settled():
        now = descriptors()
        return set(now) == set(fds) and all(now[r] <= fds[r] for r in fds)
    try:
        wait_for(settled, "descriptors")
    except AssertionError:
        raise AssertionError("descriptors: %s, before %s" % (descriptors(), fds))


def titles():
    """What ps shows of the rooms."""
    ensure("a", "b")
    rooms = S.rooms()
    seen = {room: suite.processes()[pid] for room, pid in rooms.items()
            if room != "mewsd"}
    eq(seen, {"orchd": "mews: orchd [2 vms]", "netd": "mews: netd [2 taps]",
              "launchd": "mews: launchd [2 vms]", "spawner": "mews: spawner",
              "apid": seen.get("apid"), "apid-admin": seen.get("apid-admin")})
    for room in ("apid", "apid-admin"):
        assert seen[room].startswith("mews: %s" % room), seen


# -- parts of a VM ------------------------------------------------------

def kill_warden():
    ensure(*VMS)
    slot, pid, up = slot_of("a"), vm("a")["pid"], uptime("a")
    p = exec_open("a")
    console = websocket("/ws/v1/vms/a/console")
    old = parts(slot)["warden"]
    kill_hard(old)
    out, err = p.communicate(timeout=suite.DEADLINE)
    eq((out, p.returncode), (b"", 125), "exec's end: %r" % err)
    assert b"broke" in err or b"mews:" in err, err
    to_end(console)
    console.close()
    exec_again("a")
    assert parts(slot)["warden"] != old, "no new warden"
    eq(vm("a")["pid"], pid, "hypervisor")
    assert uptime("a") > up, "restarted"
    eq(vm("a")["confinement"]["verified"], True, "verified again")
    consistent()


def kill_keeper_hypervisor_and_guest_ends():
    """Each way a VM can end: state, reason, event; nothing of it stays;
    start brings it back."""
    ensure("a", "b", "c")
    rows = (  # name, how, state, reason, event
        ("a", "keeper", "crashed", "keeper killed", "VM_CRASHED"),
        ("b", "qemu", "crashed", "killed", "VM_CRASHED"),
        ("c", "poweroff", "stopped", "guest power-off", "VM_STOPPED"),
    )
    seq = last_event()
    old = {r[0]: (slot_of(r[0]), vm(r[0])["pid"]) for r in rows}
    for name, how, *_ in rows:
        if how in ("keeper", "qemu"):
            kill_hard(parts(old[name][0])[how])
        else:
            S.cli("exec", name, "sh", "-c", how)  # its end is not told
    for name, _, state, reason, event in rows:
        wait_for(lambda: vm(name)["status"] in ("crashed", "stopped"),
                 "end of " + name)
        v = vm(name)
        eq((v["status"], v.get("pid", 0)), (state, 0), "%s: %s" % (name, v))
        assert reason in v["reason"], "%s: reason %r" % (name, v["reason"])
        e = Events(seq)
        msg = e.until(event, name)[-1][2]["message"]
        e.close()
        assert reason in msg, "event says %r" % msg
        p = S.cli("exec", name, "true")
        eq(p.returncode, 125, "exec in what ended")
        wait_for(lambda: "mw%d" % old[name][0] not in taps(), "end of tap")
        eq(parts(old[name][0]), {}, "processes")
        uid = v["uid"]
        wait_for(lambda: uid not in dirs("run/vm"), "end of run/vm")
    eq(taps(), [], "taps")
    eq(elements(), [], "elements")
    ensure("a", "b", "c")
    for name, (_, pid) in old.items():
        assert vm(name).get("pid") != pid
        eq(guest(name, "echo again"), "again\n", name)
    ensure(*VMS)
    consistent()


# -- stop ladder --------------------------------------------------------

def rungs(name, since):
    """Rungs of a VM that orchd's log tells from offset since."""
    with open(S.root + "/log/orchd.log", errors="replace") as f:
        f.seek(since)
        return [int(n) for n in re.findall(
            r"vm %s: stop ladder at rung (\d)" % name, f.read())]


def guest_panics():
    """A workload cannot make its kernel panic; a kernel without an init does."""
    seq = last_event()
    assert S.create("p", kernel_cmdline="rdinit=/no/such init=/no/such").status \
        in (201, 500)
    wait_for(lambda: vm("p")["status"] == "crashed", "end of p", 60)
    v = vm("p")
    assert "guest panic: Kernel panic - not syncing" in v["reason"], v
    e = Events(seq)
    msg = e.until("VM_CRASHED", "p")[-1][2]["message"]
    e.close()
    assert "guest panic" in msg, msg
    eq(S.delete("/api/v1/vms/p", timeout=60).status, 204)


def stop_ladder():
    """What cannot answer is stopped by a lower rung, and that is told."""
    ensure(*VMS)
    rows = (  # name, whom to freeze, rungs
        ("a", None, [0]),
        ("b", "warden", [0, 1, 2, 3]),
        ("c", "qemu", [0, 1, 2, 3, 4]),
    )
    at, seq = os.path.getsize(S.root + "/log/orchd.log"), last_event()
    for name, frozen, _ in rows:
        if frozen:
            os.kill(parts(slot_of(name))[frozen], signal.SIGSTOP)

    def stop(name):
        t = time.monotonic()
        return S.cli("stop", name), time.monotonic() - t
    got = together([lambda n=n: stop(n) for n, _, _ in rows])
    for (name, frozen, want), one in zip(rows, got):
        assert isinstance(one, tuple), one
        p, took = one
        eq(p.returncode, 0, "mews stop %s: %r" % (name, p))
        v = vm(name)
        eq((v["status"], v["reason"]), ("stopped", "stopped"), name)
        eq(rungs(name, at), want, "rungs of " + name)
        e = Events(seq)
        eq(e.until("VM_STOPPED", name)[-1][2]["message"], "stopped", name)
        e.close()
        note("%s frozen: stopped after %.2f s at rung %d"
             % (frozen or "nothing", took, want[-1]))
    # a warden that dies in the middle of it: the next one is told
    ensure("b")
    pid = parts(slot_of("b"))["warden"]
    t = threading.Thread(target=lambda: os.kill(pid, signal.SIGKILL))
    t.start()
    p = S.cli("stop", "b")
    t.join()
    eq((p.returncode, vm("b")["status"]), (0, "stopped"), "warden killed")
    ensure(*VMS)
    consistent()


# -- refusals at the start ---------------------------------------------

def mewsd(*args):
    return subprocess.Popen([S.programs + "/mewsd", *args],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def refusals():
    """A conf that others could write, or a DIR that is another suite's."""
    conf, other = S.root + "/mews.conf", "/run/refused.conf"
    with open(conf) as f:
        text = f.read()
    for what, prepare, says in (
            ("owner", lambda: os.chown(other, 1, 1), b"must belong to root"),
            ("group", lambda: os.chmod(other, 0o664), b"written by others"),
            ("others", lambda: os.chmod(other, 0o646), b"written by others"),
            ("symlink", lambda: (os.unlink(other), os.symlink(conf, other)),
             b"refused.conf"),
            ("directory", lambda: (os.unlink(other), os.mkdir(other)),
             b"not a regular file"),
            ("absent", lambda: os.rmdir(other), b"No such file")):
        if what not in ("absent",):
            with contextlib.suppress(OSError):
                os.unlink(other)
            with open(other, "w") as f:
                f.write(text)
            os.chmod(other, 0o644)
        prepare()
        p = mewsd("-f", other, "-r", "/run/refused")
        out, _ = p.communicate(timeout=suite.DEADLINE)
        assert p.returncode not in (0, None), what
        assert says in out, "%s: %r" % (what, out)
        assert not os.path.exists("/run/refused"), what + " made files"
    # and a second suite on the same DIR waits, then begins when we end
    ensure("a")
    pid, sock = vm("a")["pid"], os.stat(S.sock).st_ino
    second = mewsd("-f", conf, "-r", S.root)
    r, _, _ = select.select([second.stdout], [], [], suite.DEADLINE)
    assert b"waiting for an earlier suite" in second.stdout.readline()
    eq(second.poll(), None, "the second waits")
    eq(os.stat(S.sock).st_ino, sock, "the API's socket stays")
    eq(guest("a", "echo first"), "first\n", "the first serves")
    first, S.proc = S.proc, second
    first.terminate()
    eq(first.wait(suite.DEADLINE), 0, "the first ends")
    S.wait_up()
    S.wait_helpers()
    eq((vm("a")["pid"], os.stat(S.sock).st_ino != sock), (pid, True))
    exec_again("a")
    S.drain(second)


def no_launcher():
    """A launcher that dies and dies: a clear answer, and the wish stays."""
    S.conf.update(ready_timeout=4)
    S.start()
    run = S.root + "/run/vm"
    os.chmod(run, 0o777)  # which its spawner does not work in
    os.kill(S.rooms()["launchd"], signal.SIGKILL)
    wait_for(lambda: "spawner" not in S.rooms(), "the end of both")
    t = time.monotonic()
    a = S.create("late")
    eq(a.status, 503, "create: %r" % a)
    assert "the launcher is not there" in a.json()["error"], a
    assert "retry-after" in a.headers, a.headers
    note("create without a launcher: 503 after %.1f s"
         % (time.monotonic() - t))
    eq(vm("late")["status"], "pending")
    os.chmod(run, 0o755)
    wait_for(lambda: vm("late")["status"] == "running", "the VM, by itself")
    all_gone()


def no_stage():
    """Without a staged tree the launcher serves, and says what a start lacks."""
    stage = "/run/stage"
    S.stop()
    S.conf.update(stage=stage)
    S.start()
    p = S.cli("run", "--name", "never", "busybox", "true")
    assert p.returncode != 0 and b"staged tree: /run/stage" in p.stderr, p
    p = S.cli("doctor")
    assert p.returncode == 1 and b"no vm can be started" in p.stdout, p
    S.stop()
    os.symlink(os.path.realpath(suite.BUILD + "/stage/current"), stage)
    S.start()
    eq(S.post("/api/v1/vms/never/start").status, 200)
    all_gone()


run(titles, kill_each_room, kill_warden,
    kill_keeper_hypervisor_and_guest_ends,
    guest_panics, stop_ladder, refusals, all_gone,
    no_launcher, no_stage)
