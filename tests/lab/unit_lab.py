#!/usr/bin/env python3
"""The suite as `make install` leaves it, under systemd: what a start, a stop,
a crash and an upgrade of the unit do to the VMs that run (nothing)."""
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

LAB = {"config": "systemd", "deadline": 600}
GROUP = "/mews.slice/mews-vms.service"
DEADLINE = 120
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
    p = subprocess.run(["mews", *args], stdin=subprocess.DEVNULL,
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
    line = [c for c in doctor["checks"] if c["name"] == "cgroup"]
    assert line[0]["ok"], doctor
    want = "%s/vm/%s" % (GROUP, vm["uid"])
    pids = lab.read(lab.CGROUP + want + "/cgroup.procs").split()
    assert str(vm["pid"]) in pids and len(pids) == 3, (vm, pids)
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
        ctl("restart", "mews")
        wait_for(lambda: vms()["a"]["ready"], "warden", DEADLINE)
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
        with dropin("[Service]\nKillMode=control-group\n"):
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


CASES = {f.__name__.replace("_", "-"): f for f in (
    install, told_when_ready, told_when_ready_control, groups, stop_and_start,
    crash, upgrade, runtime_directory_control, stop_all, kill_mode_control,
    gone)}

if __name__ == "__main__":
    sys.exit(lab.run(CASES))
