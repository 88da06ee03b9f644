#!/usr/bin/env python3
"""What a developer sees of a missing row (EXTRA=-DSECCOMP_DEBUG).

A program in the hypervisor's place makes a call that its list lacks, after
the exec, where no handler of ours is left: the VM's log must name it.
"""
import os
import re
import shutil
import subprocess
import sys

os.environ["B"] = "build-dbg"
import sanitized  # noqa: E402
import suite  # noqa: E402

# the holder of logs, put to another use
sanitized.ON, sanitized.REPORT = True, re.compile("error seccomp: ")
STAGE = "/run/stage"
TRIES = 10
PROBES = {"socket": "socket (41)", "mkdir": "mkdir (83)",
          "ptrace": "deny-list"}


def build():
    p = subprocess.run(
        ["make", "B=build-dbg", "EXTRA=-DSECCOMP_DEBUG", "kill-build",
         "build-dbg/tests/mews-probe"], cwd=suite.TOP, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        sys.exit(p.stdout)


def named(s, probe, call):
    """A VM that cannot start takes its log along: whoever holds it by then
    reads on, and another try does no harm."""
    def case():
        for n in range(TRIES):
            name = "p%d-%s" % (n, probe)
            s.create(name, kernel_cmdline="probe=" + probe)
            s.delete("/api/v1/vms/" + name, timeout=60)
            text = "".join(sanitized.reports())
            if text:
                break
        assert call in text and "hypervisor" in text, text
    return case


def main():
    shutil.copytree(os.path.realpath(suite.BUILD + "/stage/current"), STAGE,
                    symlinks=True)
    shutil.copy2(suite.BUILD + "/tests/mews-probe",
                 STAGE + "/usr/bin/qemu-system-x86_64")
    s = suite.Suite(stage=STAGE).start()
    s.wait_helpers()
    return suite.run({"names " + p: named(s, p, c) for p, c in PROBES.items()})


if __name__ == "__main__":
    if "MEWS_TEST_HOST" not in os.environ:
        build()
    suite.enter()
    sys.exit(main())
