#!/usr/bin/env python3
"""The suite as `make install` leaves it, under systemd: what a start, a stop,
a crash and an upgrade of the unit do to the VMs that run (nothing), and what a
reboot of the host leaves (no VM that runs, none that is forgotten)."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import eq, note, wait_for  # noqa: E402
import suite  # noqa: E402

LAB = {"config": "systemd", "deadline": 600, "reboots": True}
REBOOT, CRASH = 90, 91  # tests/lab/run
GROUP = "/mews.slice/mews-vms.service"
DEADLINE = 60
DROPIN = "/run/systemd/system/mews.service.d/lab.conf"


def ctl(*args, want=0):
    p = subprocess.run(["systemctl", *args], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=DEADLINE)
    if want is not None and p.returncode != want:
        raise AssertionError("systemctl %s: %d\n%s%s" % (
            " ".join(args), p.returncode, p.stdout, journal()))
    return p.stdout.strip()


def journal():
    out = lab.sh("journalctl", "-b", "-u", "mews", "-u", "mews-vms", "-n", "40",
                 "--no-pager", "-o", "short-monotonic")
    for path in sorted(glob.glob("/var/log/mews/*.log")):
        with open(path, errors="replace") as f:
            out += "--- %s\n%s" % (path, f.read()[-2000:])
    return out


def mews(*args, want=0):
    p = subprocess.run(["mews", *suite.as_guest(args)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=DEADLINE)
    if want is not None and p.returncode != want:
        raise AssertionError("mews %s: %d %s%s\n%s" % (
            " ".join(args), p.returncode, p.stdout, p.stderr, journal()))
    return p.stdout


def vms():
    return {v["name"]: v for v in json.loads(mews("--json", "ps", "-a"))}


def main_pid():
    return int(ctl("show", "-P", "MainPID", "mews"))


def uptime(name):
    return float(mews("exec", name, "cat", "/proc/uptime").split()[0])


def group_of(pid):
    return lab.read("/proc/%d/cgroup" % pid).removeprefix("0::")


@contextlib.contextmanager
def dropin(text):
    os.makedirs(os.path.dirname(DROPIN), exist_ok=True)
    lab.write(DROPIN, text)
    ctl("daemon-reload")
    try:
        yield
    finally:
        os.unlink(DROPIN)
        ctl("daemon-reload")


def install():
    """`make install` brought what it takes; users and folders by systemd."""
    subprocess.run(["cp", "-a", lab.BUILD + "/installed/.", "/"], check=True)
    lab.sh("chown", "-R", "root:root", "/usr/libexec/mews", "/etc/mews",
           "/var/lib/mews")
    lab.sh("systemd-sysusers")
    lab.sh("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/mews.conf")
    eq(oct(os.stat("/run/mews").st_mode & 0o7777), "0o755")
    ctl("daemon-reload")
    lab.sh("systemd-analyze", "verify", "mews.service")
    ctl("start", "mews")
    eq(ctl("is-active", "mews", "mews-vms"), "active\nactive")


def told_when_ready():
    """Type=notify: a start that returns means an API that answers; one that
    cannot serve is a failed start, which says why."""
    ctl("restart", "mews")
    mews("ps")
    conf = lab.read("/etc/mews/mews.conf")
    lab.write("/etc/mews/mews.conf", conf + "\nmax_vms = 0\n")
    try:
        with dropin("[Service]\nRestart=no\n"):
            ctl("restart", "mews", want=1)
        assert "max_vms = 0: must be" in journal(), journal()
    finally:
        lab.write("/etc/mews/mews.conf", conf + "\n")
    ctl("reset-failed", "mews")
    ctl("start", "mews")


def told_when_ready_control():
    """That waited for READY=1: a service that never says so is not active."""
    with dropin("[Service]\nRestart=no\nTimeoutStartSec=3\nExecStart=\n"
                "ExecStart=/bin/sleep 60\n"):
        ctl("restart", "mews", want=1)
    ctl("reset-failed", "mews")
    ctl("start", "mews")


def groups():
    """Daemons in the unit, each VM's processes in a group of its own below
    the one that is delegated; `mews doctor` and the API say so."""
    mews("run", "-d", "--name", "a", "-m", "96", "busybox")
    vm = vms()["a"]
    eq(group_of(main_pid()), "/mews.slice/mews.service")
    doctor = json.loads(mews("--json", "doctor", want=None))
    line = [c for c in doctor if c["name"] == "cgroup"]
    assert line[0]["ok"], doctor
    want = "%s/vm/%s" % (GROUP, vm["uid"])
    pids = lab.members(lab.CGROUP + want)
    assert vm["pid"] in pids and len(pids) == 3, (vm, pids)
    eq(group_of(vm["pid"]), want)
    for limit in ("memory.max", "pids.max", "cpu.max"):
        assert not lab.read(lab.CGROUP + want + "/" + limit).startswith("max")


def stop_and_start():
    """The unit goes and comes; the VM does not notice, its records stay."""
    vm, up = vms()["a"], uptime("a")
    record = "/run/mews/vm/" + vm["uid"]
    for verb in (("stop", "start"), ("restart",)):
        for v in verb:
            ctl(v, "mews")
            assert os.path.isdir(record), "no record after " + v
            os.kill(vm["pid"], 0)
            ctl("is-active", "mews-vms")
        wait_for(lambda: vms()["a"]["ready"], "warden", DEADLINE)
        eq((vms()["a"]["pid"], vms()["a"]["status"]), (vm["pid"], "running"))
        now = uptime("a")
        assert now > up, (up, now)
        up = now


def crash():
    """mewsd dies: systemd starts it again, and the VM runs on."""
    vm, pid = vms()["a"], main_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: main_pid() not in (0, pid), "another mewsd", DEADLINE)
    ctl("start", "mews")  # waits for READY=1
    wait_for(lambda: vms()["a"]["ready"], "warden", DEADLINE)
    eq(vms()["a"]["pid"], vm["pid"])
    uptime("a")


def upgrade():
    """New programs and a new staged tree under a VM that runs."""
    vm = vms()["a"]
    subprocess.run(["cp", "-a", "--remove-destination",
                    lab.BUILD + "/installed/.", "/"], check=True)
    old = os.path.realpath("/var/lib/mews/stage/current")
    new = old[:-4] + "beef"
    shutil.copytree(old, new, symlinks=True)
    lab.sh("chown", "-R", "root:root", "/usr/libexec/mews", "/etc/mews",
           "/var/lib/mews/stage")
    lab.sh("ln", "-sfn", os.path.basename(new), "/var/lib/mews/stage/current")
    ctl("restart", "mews")
    wait_for(lambda: vms()["a"]["ready"], "warden", DEADLINE)
    eq(vms()["a"]["pid"], vm["pid"])
    uptime("a")
    mews("run", "--rm", "--name", "b", "-m", "96", "busybox", "true")


def runtime_directory_control():
    """Why /run/mews is tmpfiles' and not RuntimeDirectory=: a stop would take
    the records of running VMs with it."""
    vm = vms()["a"]
    record = "/run/mews/vm/" + vm["uid"]
    with dropin("[Service]\nRuntimeDirectory=mews\n"):
        ctl("stop", "mews")
        assert not os.path.exists(record), "the record is still there"
        os.kill(vm["pid"], 0)  # and runs on, unknown to everybody
    lab.sh("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/mews.conf")
    ctl("stop", "mews-vms")
    wait_for(lambda: not os.path.exists("/proc/%d" % vm["pid"]), "end of VMs")
    ctl("start", "mews")
    wait_for(lambda: vms()["a"]["status"] == "crashed", "that it is noticed",
             DEADLINE)
    mews("rm", "a")


def stop_all():
    """Stopping the VMs' group ends every VM, and the suite with them; after
    that all begins anew."""
    mews("run", "-d", "--name", "c", "-m", "96", "busybox")
    pid = vms()["c"]["pid"]
    ctl("stop", "mews-vms")
    assert not os.path.exists("/proc/%d" % pid), "the VM still runs"
    eq(ctl("is-active", "mews", want=3), "inactive")
    ctl("start", "mews")
    wait_for(lambda: vms()["c"]["status"] == "crashed", "crashed", DEADLINE)
    mews("start", "c")
    wait_for(lambda: vms()["c"]["ready"], "agent", DEADLINE)
    mews("rm", "-f", "c")


def kill_mode_control():
    """Why KillMode=process and a group of their own: VMs in the unit's own
    group, with systemd's default, end with a stop."""
    conf = lab.read("/etc/mews/mews.conf")
    lab.write("/etc/mews/mews.conf", re.sub(
        r"(?m)^cgroup_path.*", 'cgroup = "off"', conf) + "\n")
    try:
        with dropin("[Service]\nKillMode=control-group\n"
                    "TimeoutStopSec=2\n"):
            ctl("restart", "mews")
            mews("run", "-d", "--name", "d", "-m", "96", "busybox")
            pid = vms()["d"]["pid"]
            eq(group_of(pid), "/mews.slice/mews.service")
            ctl("stop", "mews")
            assert not os.path.exists("/proc/%d" % pid), "it still runs"
    finally:
        lab.write("/etc/mews/mews.conf", conf + "\n")
    ctl("start", "mews")
    mews("rm", "-f", "d")


def gone():
    """After the last VM a stop leaves nothing of ours."""
    ctl("stop", "mews")
    links = lab.sh("ip", "-o", "link")
    assert "mewsbr0" not in links and " mw" not in links, links
    eq(os.listdir("/run/mews/vm"), ["lock"])
    assert "mews" not in lab.sh("nft", "list", "tables")
    left = [d for d in os.listdir(lab.CGROUP + GROUP + "/vm")
            if os.path.isdir("%s%s/vm/%s" % (lab.CGROUP, GROUP, d))]
    eq(left, [])
    ctl("stop", "mews-vms")
    note("unit: %s" % ctl("show", "-P", "Result", "mews"))


# -- the host reboots, then loses its power

KEPT = "/var/kept"  # what /run/mews held, where a reboot does not wipe it


def before_reboot():
    """Two VMs run, one was stopped; the unit is enabled."""
    ctl("enable", "mews")
    ctl("start", "mews")
    for name in ("q", "r", "s"):
        mews("run", "-d", "--name", name, "-m", "96", "busybox")
    mews("stop", "s")
    os.makedirs(KEPT)
    for v in vms().values():
        lab.write("%s/%s" % (KEPT, v["name"]), v["uid"])
    shutil.copyfile("/run/mews/vm/%s/record" % vms()["r"]["uid"],
                    KEPT + "/record")


def after_reboot():
    """The unit comes by itself; VMs that ran are known to have ended and start
    again, also one whose record of the last boot is still there."""
    eq(ctl("is-active", "mews", want=3), "inactive")
    old = "/run/mews/vm/" + lab.read(KEPT + "/r")
    os.makedirs(old, mode=0o711)
    shutil.copyfile(KEPT + "/record", old + "/record")
    ctl("start", "multi-user.target")
    wait_for(lambda: ctl("is-active", "mews", want=None) == "active",
             "unit at boot", DEADLINE)
    wait_for(lambda: {n: v["status"] for n, v in vms().items()} ==
             {"q": "crashed", "r": "crashed", "s": "stopped"},
             "q and r, crashed", DEADLINE)
    eq(vms()["q"]["reason"], "was gone after a restart of the host")
    eq(vms()["r"]["reason"], "keeper killed: found dead after a restart")
    wait_for(lambda: not os.path.exists(old), "end of the record")
    mews("rm", "-f", "q")
    for name in ("r", "s"):
        mews("start", name)
        wait_for(lambda: vms()[name]["ready"], "agent", DEADLINE)
    eq(mews("exec", "r", "echo", "again").strip(), "again")
    mews("rm", "-f", "s")


def before_power_cut():
    """What the API has answered is the truth from then on."""
    ctl("disable", "mews")
    mews("run", "-d", "--name", "t", "-m", "96", "busybox")


def after_power_cut():
    """Control of after_reboot: a unit that is not enabled does not come.  And
    the store has all that was answered a moment before."""
    ctl("start", "multi-user.target")
    eq(ctl("is-active", "mews", want=3), "inactive")
    ctl("start", "mews")
    wait_for(lambda: {n: v["status"] for n, v in vms().items()} ==
             {"r": "crashed", "t": "crashed"}, "r and t, crashed", DEADLINE)
    mews("start", "t")
    wait_for(lambda: vms()["t"]["ready"], "agent", DEADLINE)
    mews("rm", "-f", "r", "t")
    eq(vms(), {})


# What each boot does, and how it ends.
BOOTS = (
    ((install, told_when_ready, told_when_ready_control, groups,
      stop_and_start, crash, upgrade, runtime_directory_control, stop_all,
      kill_mode_control, gone, before_reboot), REBOOT),
    ((after_reboot, before_power_cut), CRASH),
    ((after_power_cut, gone), 0),
)


def main():
    cases, end = BOOTS[int(os.environ.get("LAB_BOOT", "1")) - 1]
    return lab.run({f.__name__.replace("_", "-"): f for f in cases}) or end


if __name__ == "__main__":
    sys.exit(main())
