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

LAB = {"config": "bare", "deadline": 120, "check": True}
S = None


def doctor(what):
    checks = S.get("/api/v1/system/doctor").json()
    checks = checks["checks"] if isinstance(checks, dict) else checks
    return next(c for c in checks if c["name"] == what)


def chosen():
    """The probe booted the guest's kernel on KVM."""
    suite.wait_for(lambda: doctor("accelerator")["ok"], "verdict")
    eq(doctor("accelerator")["detail"], "kvm")
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
    eq((v["accel"], v["confinement"]["verified"]), ("kvm", True))
    fds = "/proc/%d/fd" % v["pid"]
    held = {os.readlink("%s/%s" % (fds, n)) for n in os.listdir(fds)}
    assert any("kvm-vcpu" in h for h in held), held
    p = S.cli("exec", "a", "cat", "/proc/cpuinfo")
    assert b"hypervisor" in p.stdout, p


def ends():
    """Every way to end a VM on KVM that the hypervisor itself must do."""
    for how, state in (("poweroff", "stopped"), ("stop", "stopped")):
        if how == "stop":
            eq(S.post("/api/v1/vms/a/start", timeout=60).status, 200)
            S.wait_ready("a")
            eq(S.cli("stop", "a").returncode, 0)
        else:
            S.cli("exec", "a", "sh", "-c", how)
        suite.wait_for(lambda: S.get("/api/v1/vms/a").json()["status"] == state,
                       "end by " + how)
    eq(S.delete("/api/v1/vms/a", timeout=60).status, 204)


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
    chosen, runs, ends, control)}


def main():
    global S
    suite.enter()
    S = suite.Suite(accel="auto", log_level="debug", ready_timeout=60)
    S.start()
    bad = suite.run(CASES)
    if bad:
        print(S.logs())
        print(lab.sh("dmesg", "--notime")[-3000:])
    return bad


if __name__ == "__main__":
    sys.exit(main())
