#!/usr/bin/env python3
"""The suite on a host with KVM: the probe chooses it, a VM runs on it."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import eq, note  # noqa: E402
import suite  # noqa: E402

LAB = {"config": "bare", "deadline": 240, "check": True}
S = None
VMM = "usr/bin/qemu-system-x86_64-microvm"
# in Debian 13's lab
MICROVM = os.path.exists(suite.BUILD + "/stage/current/" + VMM)
# the kernel gives up when a group of processes is out of memory; it tells
# nobody: neither a device, nor the console
HUSHED = ("sysctl.vm.panic_on_oom=2 module_blacklist=pvpanic,pvpanic_mmio "
          "loglevel=0")


def doctor(what):
    checks = S.get("/api/v1/system/doctor").json()
    checks = checks["checks"] if isinstance(checks, dict) else checks
    return next(c for c in checks if c["name"] == what)


def side_by_side():
    """The lab's two QEMUs, bare: each boots a stock kernel.  Where one of them is
    not used there is nothing to compare."""
    if not MICROVM:
        return
    for program in ("qemu-system-x86_64", "qemu-system-x86_64-microvm"):
        took = []
        for _ in range(3):
            with lab.Guest(program=program, cmdline=suite.GUEST.get(
                    "kernel_cmdline", "")) as g:
                took += [(g.line("\n"), g.line("lab-guest: first line"))]
                assert took[-1][1], g.out
        took.sort()
        note("%s: first line of the console after %.0f ms, init after %.0f" % (
            program, took[1][0] * 1e3, took[1][1] * 1e3))


def chosen():
    """The probe booted the guest's kernel on KVM."""
    suite.wait_for(lambda: doctor("accelerator")["ok"], "verdict")
    eq(doctor("accelerator")["detail"],
       "kvm, by qemu-microvm" if MICROVM else "kvm")
    assert "kvm" in S.cli("doctor").stdout.decode()
    note("; ".join(re.findall("the probe took .*", S.logs())))


def runs():
    """A VM on KVM: verified, ready, does work, and its hypervisor holds
    /dev/kvm."""
    start = time.monotonic()
    a = S.create("a")
    eq(a.status, 201, a)
    S.wait_ready("a")
    note("VM ready after %.1f s" % (time.monotonic() - start))
    v = S.get("/api/v1/vms/a").json()
    eq((v["accel"], v["confinement"]["verified"], v["hypervisor"]),
       ("kvm", True, "qemu-microvm" if MICROVM else "qemu"))
    eq(os.readlink("/proc/%d/exe" % v["pid"]).endswith("microvm"), MICROVM)
    fds = "/proc/%d/fd" % v["pid"]
    held = {os.readlink("%s/%s" % (fds, n)) for n in os.listdir(fds)}
    assert any("kvm-vcpu" in h for h in held), held
    p = S.cli("exec", "a", "cat", "/proc/cpuinfo")
    assert b"hypervisor" in p.stdout, p


def ended(name, status, reason):
    def over():
        return S.get("/api/v1/vms/" + name).json()["status"] not in (
            "running", "stopping")
    suite.wait_for(over, "end of " + name)
    v = S.get("/api/v1/vms/" + name).json()
    assert v["status"] == status and reason in v["reason"], v


def ends():
    """Every way to end a VM on KVM that the hypervisor itself must do."""
    for how, reason in (("poweroff", "guest power-off"),
                        ("reboot", "guest reboot"), ("stop", "stopped")):
        if how != "poweroff":
            eq(S.post("/api/v1/vms/a/start", timeout=60).status, 200)
            S.wait_ready("a")
        if how == "stop":
            eq(S.cli("stop", "a").returncode, 0)
        else:
            S.cli("exec", "a", "sh", "-c", how)
        ended("a", "stopped", reason)
    eq(S.delete("/api/v1/vms/a", timeout=60).status, 204)


def panics():
    """A kernel that gives up is a crash: by its device where there is one, and
    where nothing tells by its agent's silence."""
    for name, args in (("p", HUSHED.split()[0]), ("h", HUSHED)):
        args = (suite.GUEST.get("kernel_cmdline", "") + " " + args).strip()
        eq(S.create(name, kernel_cmdline=args).status, 201)
        S.wait_ready(name)
        S.cli("exec", name, "tail", "/dev/zero")
        ended(name, "crashed", "guest panic")
        eq(S.delete("/api/v1/vms/" + name, timeout=60).status, 204)


def control():
    """The same suite told to emulate says so: the answer is no constant."""
    global S
    S.stop()
    eq(suite.leaks(S), [])
    S = suite.Suite(accel="tcg", log_level="info")
    S.start()
    eq(doctor("accelerator")["detail"].split()[0], "emulation")
    S.stop()


CASES = {f.__name__.replace("_", "-"): f for f in (
    chosen, runs, ends, panics, control, side_by_side)}


def main():
    global S
    suite.enter()
    S = suite.Suite(accel="auto", log_level="debug", ready_timeout=10)
    S.start()
    bad = suite.run(CASES)
    if bad:
        print(S.logs())
        print(lab.sh("dmesg", "--notime")[-3000:])
    return bad


if __name__ == "__main__":
    sys.exit(main())
